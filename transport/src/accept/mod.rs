//! Taking mail in: SMTP from strangers, submission from our own people, LMTP from a server beside us.
//!
//! [`serve`] drives one session from its first byte to its last: the words are `waypost_smtp`'s, the answers are given
//! here: [`policy`] (may they, is it ours, is there room), [`sign_in`], [`intake`] (bytes on their way to the
//! store), [`finish`] (durable, then 250). A session does one thing at a time, and writes each batch of replies once.

mod driver;
mod finish;
mod intake;
mod log;
mod policy;
mod sign_in;
#[cfg(test)]
mod tests;
mod trace;

use crate::hub::Hub;
use std::net::IpAddr;
use std::sync::Arc;
use waypost_base::id::Correlation;
use waypost_sasl::Mechanism as Sasl;
use waypost_smtp::{Config, Flavour, Mechanism};
use waypost_trust::channel::Channel;

/// Which listener it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Port 25: anybody, for our recipients only.
    Smtp,
    /// Port 587: our own people, TLS by STARTTLS.
    Submission,
    /// Port 465: our own people, TLS from the first byte.
    Submissions,
    /// Local delivery by a server that we trust.
    Lmtp,
}

impl Kind {
    pub const fn is_submission(self) -> bool {
        matches!(self, Kind::Submission | Kind::Submissions)
    }

    /// What its legs are called.
    pub(crate) const fn operation(self) -> &'static str {
        match self {
            Kind::Smtp => "smtp.receive",
            Kind::Submission | Kind::Submissions => "smtp.submit",
            Kind::Lmtp => "lmtp.receive",
        }
    }

    const fn flavour(self) -> Flavour {
        match self {
            Kind::Smtp => Flavour::Smtp,
            Kind::Submission | Kind::Submissions => Flavour::Submission,
            Kind::Lmtp => Flavour::Lmtp,
        }
    }
}

/// What stands behind a listener. Made by [`Hub::service`].
#[derive(Debug)]
pub struct Service {
    pub(crate) hub: Arc<Hub>,
    pub(crate) kind: Kind,
    /// `server\listener`, for the protocol log.
    pub(crate) connector: String,
}

impl Service {
    pub(crate) fn new(hub: Arc<Hub>, kind: Kind, name: String) -> Service {
        let connector = format!("{}\\{name}", hub.settings().host);
        Service { hub, kind, connector }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    fn config(&self, channel: &Channel) -> Arc<Config> {
        let starttls = channel.upgrade.is_some() && channel.tls.is_none();
        let clear = self.hub.settings().passwords_in_clear || is_loopback(channel.peer.ip());
        // Made anew, so that a change of the settings is there at the next connection.
        Arc::new(config(&self.hub, self.kind, starttls, clear))
    }
}

fn is_loopback(peer: IpAddr) -> bool {
    peer.to_canonical().is_loopback()
}

fn config(hub: &Hub, kind: Kind, starttls: bool, clear: bool) -> Config {
    let settings = hub.settings();
    let mut config = Config::new(kind.flavour(), settings.host.clone());
    config.starttls = starttls;
    config.auth_required = kind.is_submission();
    if kind.is_submission() || (kind == Kind::Smtp && settings.auth_on_smtp) {
        let mechanism = |m: &Sasl| Mechanism {
            name: m.name(),
            in_clear: !m.reveals_password() || clear,
            binding: m.binds_channel(),
        };
        config.auth = Sasl::ALL.iter().map(mechanism).collect();
    }
    config.bare_ends = settings.bare_ends;
    config.heard = hub.log.is_some();
    config.limits = settings.limits.clone();
    config
}

/// Speaks with the peer until either side has had enough. `correlation` names the session in logs and traces.
pub async fn serve(channel: Channel, service: Arc<Service>, correlation: Correlation) {
    driver::run(channel, service, correlation).await;
}
