//! Certificates of clients, read by `waypost_trust::client`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use waypost_admin::settings::Settings;
use waypost_base::Clock;
use waypost_directory::signin::Certificates;
use waypost_sasl::Why;
use waypost_trust::client::ClientAuthorities;

struct Reader {
    /// Or why they cannot be read: certificates that were entered by their fingerprint go on working.
    authorities: ClientAuthorities,
    clock: Clock,
}

/// `None` where clients are not asked for certificates.
pub(super) fn reader(settings: &Settings, data: &Path, clock: &Clock) -> Option<Arc<dyn Certificates>> {
    if !settings.sign_in.client_certificates {
        return None;
    }
    let files: Vec<PathBuf> = settings.sign_in.client_ca.iter().map(|file| data.join(file)).collect();
    let authorities = ClientAuthorities::load(files.iter().map(PathBuf::as_path)).unwrap_or_else(|e| {
        tracing::error!(error = %e, "authorities of clients' certificates not read: no names are believed");
        ClientAuthorities::default()
    });
    Some(Arc::new(Reader { authorities, clock: clock.clone() }))
}

impl Certificates for Reader {
    fn names(&self, der: &[u8]) -> Result<Vec<String>, Why> {
        self.authorities.names(der, self.clock.now()).map_err(|fault| Why::Other(fault.to_string()))
    }
}
