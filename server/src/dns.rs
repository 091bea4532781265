//! Name servers, and what mail authentication is made of. One set of cached answers serves routing and authentication.
//!
//! Nothing is asked when the server starts: a machine without network starts as quickly as any.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use waypost_admin::settings::{self, Settings};
use waypost_base::Clock;
use waypost_mailauth::{AuthSettings, Authenticator, KeyFolder, Names, Signer};
use waypost_transport::agents::auth::{AuthAgent, AuthRules};
use waypost_transport::agents::sign::SignAgent;

/// What asks names, and the agents that stand on it.
pub struct MailAuth {
    pub names: Names,
    pub check: Arc<AuthAgent>,
    pub sign: Arc<SignAgent>,
    signer: Arc<Signer>,
}

impl MailAuth {
    /// `data` is the data folder. Within a runtime only.
    pub fn open(settings: &Settings, data: &Path) -> io::Result<MailAuth> {
        let options = waypost_admin::commands::names_options(&settings.dns);
        let names = Names::open(&options).map_err(io::Error::other)?;
        let check = AuthAgent::new(Authenticator::new(names.clone()), rules(&settings.mail_authentication));
        let signer = Arc::new(Signer::open(KeyFolder::new(data)));
        let sign = SignAgent::new(signer.clone(), settings.mail_authentication.dkim_signing_enabled);
        Ok(MailAuth { names, check: Arc::new(check), sign: Arc::new(sign), signer })
    }

    /// Lets signing keys come and go. Never ends.
    pub fn tend(&self, clock: Clock) -> impl Future<Output = ()> + Send + 'static {
        self.signer.clone().tend(Arc::new(self.names.clone()), clock)
    }

    /// What can be changed while the server runs: all of it. Other name servers are asked from the next question on.
    pub fn apply(&self, settings: &Settings) {
        match self.names.set(&waypost_admin::commands::names_options(&settings.dns)) {
            Ok(true) => {
                tracing::info!(servers = ?settings.dns.servers, "names are asked of other servers from now on")
            }
            Ok(false) => {}
            Err(e) => {
                tracing::error!(error = %e, "the new name servers cannot be used; the old ones are asked on")
            }
        }
        self.check.set_rules(rules(&settings.mail_authentication));
        self.sign.set_enabled(settings.mail_authentication.dkim_signing_enabled);
    }
}

fn rules(chosen: &settings::MailAuthentication) -> AuthRules {
    let id = chosen.authserv_id.as_str();
    AuthRules {
        rules: AuthSettings {
            enabled: chosen.enabled,
            authserv_id: (!id.is_empty()).then(|| id.to_owned()),
            dmarc: chosen.dmarc.into(),
            spf_fail: chosen.spf_fail.into(),
            trusted_sealers: chosen.arc_trusted_sealers.clone(),
        },
        skip: chosen.skip_ip_ranges.clone(),
        check_private: chosen.check_private_addresses,
        limit: Duration::from_millis(chosen.timeout.0),
    }
}
