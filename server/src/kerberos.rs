//! Kerberos for this process: the library when it is first needed, identities from the settings as they are at that moment.
//!
//! A server without the library, or without a keytab, runs all the same; legs and clients that ask for Kerberos are told why
//! there is none.

mod clients;

use crate::inner::dial;
use clients::Contexts;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use waypost_admin::settings::SettingsStore;
use waypost_base::Clock;
use waypost_base::metrics::{Figure, Kind};
use waypost_directory::Roles;
use waypost_trust::kerberos::gss::{Acceptor, Gss, Identity, Initiator, NoLibrary};
use waypost_trust::kerberos::keytab;
use waypost_trust::leg::fault::Fault;
use waypost_trust::leg::kerberos::{Admitted, Begun, Doing, KerberosAcceptor, KerberosInitiator};

/// One for the process.
pub struct Kerberos {
    settings: Arc<SettingsStore>,
    /// The data folder.
    data: PathBuf,
    roles: Roles,
    clock: Clock,
    gss: OnceLock<Result<Gss, NoLibrary>>,
    /// Exchanges with clients.
    contexts: Contexts,
}

impl Kerberos {
    pub fn new(settings: Arc<SettingsStore>, data: &Path, roles: Roles, clock: Clock) -> Arc<Kerberos> {
        let (gss, contexts) = (OnceLock::new(), Contexts::default());
        Arc::new(Kerberos { settings, data: data.to_owned(), roles, clock, gss, contexts })
    }

    /// For inner legs.
    pub fn for_legs(self: &Arc<Self>) -> dial::Kerberos {
        dial::Kerberos {
            initiator: Some(Arc::clone(self) as Arc<dyn KerberosInitiator>),
            acceptor: Some(Arc::clone(self) as Arc<dyn KerberosAcceptor>),
        }
    }

    /// Loads the library at the first call.
    fn gss(&self) -> Result<Gss, Fault> {
        let load = || {
            let set = &self.settings.current().kerberos;
            let loaded = Gss::load_from(&set.library, set.limit(), self.clock.clone());
            if let Err(e) = &loaded {
                tracing::warn!(error = %e, "Kerberos is asked for and cannot be had");
            }
            loaded
        };
        self.gss.get_or_init(load).clone().map_err(|no| no.fault())
    }

    fn identity(&self, role: &str) -> Identity {
        let settings = self.settings.current();
        settings.kerberos.identity(&self.data, &settings.server.id, role)
    }

    /// The role that takes legs from other servers and sessions from clients, where a process has several.
    fn accepting_role(&self) -> &'static str {
        match self.roles {
            Roles { transport: true, .. } => "transport",
            Roles { mailbox: true, .. } => "mailbox",
            _ => "frontend",
        }
    }

    fn initiating_role(&self) -> &'static str {
        match self.roles {
            Roles { mailbox: true, .. } => "mailbox",
            Roles { transport: true, .. } => "transport",
            _ => "frontend",
        }
    }

    /// What takes tickets, of servers and of clients, by every key of the keytab.
    pub fn acceptor(&self) -> Result<Acceptor, Fault> {
        Ok(Acceptor::new(self.gss()?, self.identity(self.accepting_role())))
    }

    pub fn initiator(&self) -> Result<Initiator, Fault> {
        Ok(Initiator::new(self.gss()?, self.identity(self.initiating_role())))
    }

    /// Whether clients can be offered Kerberos: there is a keytab with a key, and the library.
    pub fn ready(&self) -> bool {
        let path = self.settings.current().kerberos.keytab_file(&self.data);
        // Most servers have none, which is found out without a word in the log.
        path.exists() && keytab::load(&path).is_ok_and(|k| !k.entries.is_empty()) && self.gss().is_ok()
    }

    pub fn figures(&self) -> Vec<Figure> {
        let hanging = match self.gss.get() {
            Some(Ok(gss)) => gss.hanging() as f64,
            _ => 0.0,
        };
        vec![Figure {
            name: "kerberos_calls_hanging",
            help: "Calls of the Kerberos library that were given up and have not come back: a KDC does not answer.",
            kind: Kind::Gauge,
            value: hanging,
        }]
    }
}

impl KerberosInitiator for Kerberos {
    fn begin<'a>(&'a self, target: &'a str, exporter: &'a [u8; 32]) -> Doing<'a, Begun> {
        Box::pin(async move {
            let initiator = self.initiator()?;
            KerberosInitiator::begin(&initiator, target, exporter).await
        })
    }
}

impl KerberosAcceptor for Kerberos {
    fn accept<'a>(&'a self, token: &'a [u8], exporter: &'a [u8; 32]) -> Doing<'a, Admitted> {
        Box::pin(async move {
            let acceptor = self.acceptor()?;
            acceptor.accept(token, exporter).await
        })
    }
}
