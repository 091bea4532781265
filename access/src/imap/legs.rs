//! What a session tells of itself as legs (DESIGN §5): one for the way in, one for what was read. A leg keeps the first
//! step of each name, so that a session of days stays as small as one of seconds.

use super::ImapService;
use super::session::Session;
use std::time::Duration;
use waypost_base::explain::{Cause, Leg, Outcome, Party};
use waypost_base::id::Correlation;
use waypost_sasl::Failure;
use waypost_trust::channel::Channel;
use waypost_trust::leg::NotOpened;

const WRONG: Cause = Cause {
    code: "IMAP-CREDENTIALS",
    meaning: "The client's user name or password is wrong.",
    remedy: "Check the credentials saved in the client; a password changed lately is the usual reason.",
    reference: "RFC 5530 §3 AUTHENTICATIONFAILED",
};
const NOT_ALLOWED: Cause = Cause {
    code: "IMAP-NOTALLOWED",
    meaning: "The credentials are good, but policy does not let this client in.",
    remedy: "Look at the account's state and protocols, and at the login type of the IMAP service.",
    reference: "RFC 5530 §3 AUTHORIZATIONFAILED",
};
const UNAVAILABLE: Cause = Cause {
    code: "IMAP-UNAVAILABLE",
    meaning: "The server could not tell whether the client may come in, or could not open its account.",
    remedy: "Look at the health of the store and of the directory.",
    reference: "RFC 5530 §3 UNAVAILABLE",
};
const PROTOCOL: Cause = Cause {
    code: "IMAP-EXCHANGE",
    meaning: "The client broke off the authentication exchange or broke its grammar.",
    remedy: "Look at the client's version and at the mechanism it used.",
    reference: "RFC 9051 §6.2.2",
};
const TLS: Cause = Cause {
    code: "IMAP-TLS",
    meaning: "TLS could not be started after STARTTLS.",
    remedy: "Look at what the client says of the certificate, and at the certificate bound to the IMAP service.",
    reference: "RFC 9051 §6.2.1",
};

/// Steps kept of one leg.
const STEPS_MAX: usize = 12;

pub(crate) fn begin(channel: &Channel, svc: &ImapService, id: Correlation) -> Leg {
    let client = Party::new("client", channel.peer.to_string());
    let server = Party::new("mailbox", channel.local.to_string());
    let mut leg = Leg::start("imap.sign-in", client, server, svc.clock.now());
    leg.correlation = Some(id);
    let note = channel.tls.as_ref().map(|tls| format!("{} {}", tls.version, tls.cipher));
    leg.step("connect", 0, note);
    leg
}

/// Notes a step, if it is the first of its name.
pub(crate) fn step(session: &mut Session, name: &'static str, took: Duration) {
    if let Some(leg) = &mut session.leg
        && leg.steps.len() < STEPS_MAX
        && !leg.steps.iter().any(|s| s.name == name)
    {
        leg.step(name, u64::try_from(took.as_micros()).unwrap_or(u64::MAX), None);
    }
}

/// The way in is done; what follows is another leg.
pub(crate) fn signed_in(session: &mut Session, mechanism: &'static str, key: &str) {
    let Some(mut leg) = session.leg.take() else { return };
    leg.mechanism = mechanism.into();
    leg.key = Some(key.to_owned());
    leg.outcome = Outcome::Ok;
    let mut next =
        Leg::start("imap.read", leg.initiator.clone(), leg.acceptor.clone(), session.svc.clock.now());
    next.mechanism = leg.mechanism.clone();
    next.key = leg.key.clone();
    next.correlation = leg.correlation;
    session.svc.legs.leg(*leg);
    session.leg = Some(Box::new(next));
}

/// The way in was another server's; what follows is a leg of ours.
pub(crate) fn taken_over(session: &mut Session, mechanism: &'static str, key: &str) {
    if let Some(leg) = &mut session.leg {
        leg.operation = "imap.read".into();
        leg.mechanism = mechanism.into();
        leg.key = Some(key.to_owned());
        leg.steps.clear();
    }
}

pub(crate) fn sign_in_failed(session: &mut Session, failure: &Failure) {
    let (cause, text, retry) = match failure {
        Failure::Wrong => (WRONG, "wrong credentials".to_owned(), false),
        Failure::Binding(why) => (crate::signin::cause(failure).0, (*why).to_owned(), false),
        Failure::NotAllowed(why) => (NOT_ALLOWED, why.to_string(), false),
        Failure::Unavailable(why) => (UNAVAILABLE, why.clone(), true),
        Failure::Malformed(why) => (PROTOCOL, (*why).to_owned(), false),
    };
    failed(session, cause, text, retry);
}

/// The way in ends here, since the server that holds the account did not open: with that one's reason.
pub(crate) fn not_handed_over(session: &mut Session, why: &NotOpened) {
    failed(session, why.finding.cause, why.text.clone(), true);
}

pub(crate) fn tls_failed(session: &mut Session, why: &str) {
    failed(session, TLS, why.to_owned(), true);
}

fn failed(session: &mut Session, cause: Cause, text: String, retry: bool) {
    if let Some(leg) = &session.leg {
        let mut told = leg.clone();
        told.outcome = Outcome::Failed { cause, text, retry };
        session.svc.legs.leg(*told);
    }
}

/// The session is over, or goes to rest: whatever has been done so far is told.
pub(crate) fn end(session: &mut Session) {
    if let Some(mut leg) = session.leg.take()
        && session.login.is_some()
        && !leg.steps.is_empty()
    {
        leg.outcome = Outcome::Ok;
        session.svc.legs.leg(*leg);
    }
}
