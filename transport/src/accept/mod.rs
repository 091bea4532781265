//! Taking mail in: SMTP from strangers, submission from our own people, LMTP from a server beside us.
//!
//! [`serve`] drives one session from its first byte to its last: the words are `waypost_smtp`'s, the answers are given
//! here: [`gate`] (which receive connector it is), [`policy`] (may they, is it ours, is there room), [`sign_in`],
//! [`authorship`] (whom it says it is from), [`intake`] (bytes on their way to the store), [`finish`] (agents, durable, then
//! 250). A session does one thing at a time, and writes each batch of replies once.

mod authorship;
mod driver;
mod envelope;
mod finish;
mod gate;
mod handover;
mod inner;
mod intake;
mod log;
mod policy;
#[cfg(test)]
mod proxied;
mod resume;
#[cfg(test)]
mod rules;
mod sign_in;
#[cfg(test)]
mod tests;
mod told;
mod trace;
mod why;

pub use resume::resume;
pub use why::WhySource;

use crate::hub::{Hub, Settings};
use gate::Gate;
use std::net::IpAddr;
use std::sync::Arc;
use waypost_base::explain::Leg;
use waypost_base::id::Correlation;
use waypost_directory::signin::{Line, NotNow, Terms, is_loopback};
use waypost_sasl::{Bindings, Mechanism as Sasl};
use waypost_smtp::{Config, Flavour, Mechanism};
use waypost_trust::channel::{BoxStream, Channel, TlsFacts};

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
    /// Whole messages from a server of ours that is no hub, over an inner leg.
    Hub,
    /// Messages for accounts that are here, from a hub of ours, over an inner leg. An answer for each of them.
    Delivery,
}

impl Kind {
    pub const fn is_submission(self) -> bool {
        matches!(self, Kind::Submission | Kind::Submissions)
    }

    /// The peer is a server of ours, proved.
    pub const fn is_inner(self) -> bool {
        matches!(self, Kind::Hub | Kind::Delivery)
    }

    /// Each recipient gets an answer of its own.
    pub(crate) const fn answers_each(self) -> bool {
        matches!(self, Kind::Lmtp | Kind::Delivery)
    }

    /// What its legs are called.
    pub(crate) const fn operation(self) -> &'static str {
        match self {
            Kind::Smtp => "smtp.receive",
            Kind::Submission | Kind::Submissions => "smtp.submit",
            Kind::Lmtp => "lmtp.receive",
            Kind::Hub => "inner.hub",
            Kind::Delivery => "inner.delivery",
        }
    }

    const fn flavour(self) -> Flavour {
        match self {
            Kind::Smtp | Kind::Hub => Flavour::Smtp,
            Kind::Submission | Kind::Submissions => Flavour::Submission,
            Kind::Lmtp | Kind::Delivery => Flavour::Lmtp,
        }
    }
}

/// What stands behind a listener. Made by [`Hub::service`].
#[derive(Debug)]
pub struct Service {
    pub(crate) hub: Arc<Hub>,
    pub(crate) kind: Kind,
}

impl Service {
    pub(crate) fn new(hub: Arc<Hub>, kind: Kind) -> Service {
        Service { hub, kind }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// The mechanisms for a session on this channel: those that can be used, and in clear those that TLS would make usable,
    /// which are refused with that reason.
    fn mechanisms(&self, terms: &Terms, line: &Line) -> Vec<Mechanism> {
        let abilities = self.hub.sign_in.abilities();
        let mechanism = |m: Sasl| {
            let judged = terms.judge(m, line, abilities);
            let listed = Mechanism { name: m.name(), in_clear: judged.is_ok(), binding: m.binds_channel() };
            (judged != Err(NotNow::Never)).then_some(listed)
        };
        Sasl::ALL.into_iter().filter_map(mechanism).collect()
    }

    fn config(&self, channel: &Channel, settings: &Settings, gate: &Gate) -> Arc<Config> {
        let starttls = channel.upgrade.is_some() && channel.tls.is_none();
        // Made anew, so that a change of the settings is there at the next connection.
        let mut config = Config::new(self.kind.flavour(), settings.host.clone());
        config.starttls = starttls;
        config.inner = self.kind.is_inner();
        config.tls_required = gate.require_tls;
        config.auth_required = gate.needs_sign_in();
        if gate.auth {
            let line = line(channel.tls.as_ref(), channel);
            config.auth = self.mechanisms(&settings.terms, &line);
        }
        config.bare_ends = settings.bare_ends;
        config.why = self.hub.tells_stories() && self.kind.is_submission();
        config.heard = gate.log && self.hub.log.is_some();
        config.limits = settings.limits.clone();
        if let Some(most) = gate.max_message {
            config.limits.message = config.limits.message.min(most);
        }
        if let Some(most) = gate.max_recipients {
            config.limits.recipients = config.limits.recipients.min(most);
        }
        Arc::new(config)
    }
}

/// A channel as the terms of signing in look at it.
fn line(tls: Option<&TlsFacts>, ends: &Channel) -> Line {
    line_between(tls, ends.peer.ip(), ends.local.ip())
}

fn line_between(tls: Option<&TlsFacts>, peer: IpAddr, local: IpAddr) -> Line {
    Line {
        tls: tls.is_some(),
        loopback: is_loopback(peer) && is_loopback(local),
        bindings: tls.map(bindings).unwrap_or_default(),
        certificate: tls.is_some_and(|tls| tls.client.is_some()),
    }
}

fn bindings(tls: &TlsFacts) -> Bindings {
    Bindings { exporter: tls.exporter, end_point: tls.end_point.clone() }
}

/// Speaks with the peer until either side has had enough. `correlation` names the session in logs and traces.
pub async fn serve(channel: Channel, service: Arc<Service>, correlation: Correlation) {
    driver::run(channel, service, correlation, None).await;
}

/// The same with a server of ours, whose leg has been let in. `correlation` is the leg's own.
pub async fn serve_inner(arrived: (BoxStream, Leg), service: Arc<Service>, correlation: Correlation) {
    let (stream, leg) = arrived;
    let nowhere = crate::send::inside::NO_ADDRESS;
    let channel = Channel { stream, local: nowhere, peer: nowhere, tls: None, upgrade: None };
    driver::run(channel, service, correlation, Some(Box::new(leg))).await;
}
