//! Kerberos for this process: the library when it is first needed, identities from the settings as they are at that moment.
//!
//! A server without the library, or without a keytab, runs all the same; legs and clients that ask for Kerberos are told why
//! there is none.

use crate::inner::dial;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use waypost_admin::settings::SettingsStore;
use waypost_base::Clock;
use waypost_base::metrics::{Figure, Kind};
use waypost_directory::Roles;
use waypost_trust::kerberos::Principal;
use waypost_trust::kerberos::gss::{Acceptor, Gss, Identity, Initiator, NoLibrary};
use waypost_trust::kerberos::keytab::{self, Keytab};
use waypost_trust::leg::fault::Fault;
use waypost_trust::leg::kerberos::{Admitted, Begun, Doing, KerberosAcceptor, KerberosInitiator};

/// First parts of the service principals that mail programs get tickets for; the last ones are Windows' own.
const CLIENT_SERVICES: [&str; 9] =
    ["smtp", "imap", "pop", "host", "SMTPSVC", "exchangeMDB", "exchangeRFR", "exchangeAB", "IMAP4SVC"];

fn is_for_clients(service: &str) -> bool {
    CLIENT_SERVICES.iter().any(|s| s.eq_ignore_ascii_case(service))
}

/// One for the process.
pub struct Kerberos {
    settings: Arc<SettingsStore>,
    /// The data folder.
    data: PathBuf,
    roles: Roles,
    clock: Clock,
    gss: OnceLock<Result<Gss, NoLibrary>>,
}

impl Kerberos {
    pub fn new(settings: Arc<SettingsStore>, data: &Path, roles: Roles, clock: Clock) -> Arc<Kerberos> {
        Arc::new(Kerberos { settings, data: data.to_owned(), roles, clock, gss: OnceLock::new() })
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

    /// Whether clients can be offered Kerberos: there is a key for a service that clients get tickets for, and the library.
    /// Offered without, it would be chosen by programs that then fail instead of sending a password.
    pub fn ready(&self) -> bool {
        let path = self.settings.current().kerberos.keytab_file(&self.data);
        // Most servers have none, which is found out without a word in the log.
        let for_clients = |keytab: Keytab| {
            let named =
                |p: &&Principal| p.parts.len() > 1 && p.parts.first().is_some_and(|s| is_for_clients(s));
            keytab.principals().iter().any(named)
        };
        path.exists() && keytab::load(&path).is_ok_and(for_clients) && self.gss().is_ok()
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
