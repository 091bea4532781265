//! How a next hop is reached, from the settings of the moment.

use super::mx::Goal;
use super::route::RoutingTable;
use crate::connector::{SendConnector, SmartHost, TlsLevel};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use waypost_queue::NextHop;
use waypost_smtp::Flavour;
use waypost_smtp::client::{Config, Credentials, StartTls, Timeouts};
use waypost_trust::channel::{TlsWish, Verify};

/// A server of ours that says nothing for so long is held up: others may be better off.
const INNER_INACTIVITY: Duration = Duration::from_secs(120);

/// The connector, and what there is to find by it.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) connector: Arc<SendConnector>,
    /// Set where it goes by MX.
    domain: Option<String>,
    /// As the connectivity log names it.
    pub(crate) destination: String,
    /// Set where it goes over inner legs: to no address, but to a server of ours.
    pub(crate) inside: Option<Inside>,
}

/// What there is to reach within the organisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inside {
    /// The server with this id, for the accounts that it holds.
    Home(String),
    /// One of the hubs.
    Hub,
}

impl Way {
    /// `None`: no connector leads there (any more).
    pub(crate) fn to(hop: &NextHop, routes: &RoutingTable) -> Option<Way> {
        match hop {
            NextHop::Connector { connector, domain } => {
                let connector = routes.named(connector).filter(|c| c.enabled)?;
                let names =
                    || connector.smart_hosts.iter().map(|h| h.host.as_str()).collect::<Vec<_>>().join(";");
                let destination = domain.clone().unwrap_or_else(names);
                Some(Way { connector, domain: domain.clone(), destination, inside: None })
            }
            NextHop::Server { host, port } => {
                let mut connector = SendConnector::new("Redirect", Vec::new());
                connector.smart_hosts = vec![SmartHost { host: host.clone(), port: Some(*port) }];
                let destination = host.clone();
                Some(Way { connector: Arc::new(connector), domain: None, destination, inside: None })
            }
            NextHop::Home(server) => Some(Way::inner(Inside::Home(server.clone()), server.clone())),
            NextHop::Hub => Some(Way::inner(Inside::Hub, "hubs".to_owned())),
            NextHop::Mailbox | NextHop::Unreachable | NextHop::Poison => None,
        }
    }

    fn inner(inside: Inside, destination: String) -> Way {
        let name = match inside {
            Inside::Home(_) => "Intra-Organization delivery",
            Inside::Hub => "Intra-Organization relay",
        };
        let mut connector = SendConnector::new(name, Vec::new());
        connector.tls.level = TlsLevel::None;
        connector.protocol_log = true;
        connector.inactivity = INNER_INACTIVITY;
        Way { connector: Arc::new(connector), domain: None, destination, inside: Some(inside) }
    }

    /// What is spoken: where accounts are, each of them answers for itself.
    fn flavour(&self) -> Flavour {
        if matches!(self.inside, Some(Inside::Home(_))) { Flavour::Lmtp } else { Flavour::Smtp }
    }

    pub(crate) fn goal(&self) -> Goal<'_> {
        let port = self.connector.port;
        match &self.domain {
            Some(domain) => Goal::Domain { domain, port },
            None => Goal::SmartHosts { hosts: &self.connector.smart_hosts, port },
        }
    }

    /// `clear`: TLS was tried with this address, and failed.
    pub(crate) fn config(&self, host: &str, address: IpAddr, clear: bool) -> Arc<Config> {
        let connector = &self.connector;
        let mut config = Config::new(self.flavour(), connector.fqdn.as_deref().unwrap_or(host));
        config.starttls = match connector.tls.level {
            TlsLevel::None => StartTls::Never,
            TlsLevel::Opportunistic if clear => StartTls::Never,
            TlsLevel::Opportunistic => StartTls::IfOffered,
            TlsLevel::Required => StartTls::Required,
        };
        config.credentials = connector
            .credentials
            .as_ref()
            .map(|c| Credentials { user: c.user.clone(), password: c.password.clone() });
        config.auth_in_clear = address.is_loopback();
        // Practically every server takes them, said or not; returning the mail would help nobody.
        config.eight_bit_anyway = true;
        config.log = connector.protocol_log;
        let most = i64::try_from(connector.inactivity.as_millis()).unwrap_or(i64::MAX).max(1000);
        let usual = Timeouts::default();
        config.timeouts = Timeouts {
            greeting: usual.greeting.min(most),
            command: usual.command.min(most),
            mail: usual.mail.min(most),
            rcpt: usual.rcpt.min(most),
            data: usual.data.min(most),
            block: usual.block.min(most),
            last: usual.last.min(most),
            quit: usual.quit.min(most),
        };
        Arc::new(config)
    }

    /// Without a must, any certificate is better than clear text: then nothing is asked of it, and what is wrong with it
    /// is said on the leg.
    pub(crate) fn wish(&self, host: &str) -> TlsWish {
        let tls = &self.connector.tls;
        let verify = if tls.level == TlsLevel::Required { tls.verify } else { Verify::Any };
        TlsWish { name: tls.name.clone().unwrap_or_else(|| host.to_owned()), verify }
    }
}
