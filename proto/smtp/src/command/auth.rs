//! AUTH (RFC 4954). Here: when it may be used, base64, cancelling, counting. The mechanisms are the caller's.

use super::SYNTAX;
use crate::reply::{Reply, Status};
use crate::session::{Open, Phase, Session, refusal};
use crate::types::{Answer, AuthStep, Out, Question};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub(crate) const SIGNED_IN: Reply = Reply::new(235, Status(2, 7, 0), "Authentication successful");
const BAD_BASE64: Reply = Reply::new(501, Status(5, 5, 2), "Not base64");

pub(crate) fn run(s: &mut Session, arg: &str) {
    if s.config.auth.is_empty() {
        s.error(Reply::new(502, Status(5, 5, 1), "Authentication is not available here"));
        return;
    }
    if !s.helo.as_ref().is_some_and(|h| h.extended) {
        s.error(Reply::new(503, Status(5, 5, 1), "Say EHLO first"));
        return;
    }
    if s.user.is_some() || s.mail.is_some() {
        let text = if s.user.is_some() { "Authenticated already" } else { "Not within a message" };
        s.error(Reply::new(503, Status(5, 5, 1), text));
        return;
    }
    let (name, initial) = match arg.split_once(' ') {
        Some((name, initial)) => (name, Some(initial.trim())),
        None => (arg, None),
    };
    if name.is_empty() {
        s.error(SYNTAX);
        return;
    }
    let usable = s.mechanisms().find(|m| m.name.eq_ignore_ascii_case(name)).map(|m| m.name);
    let Some(mechanism) = usable else {
        let known = s.config.auth.iter().any(|m| m.name.eq_ignore_ascii_case(name));
        s.error(if known && s.tls.is_none() {
            Reply::new(538, Status(5, 7, 11), "This mechanism needs TLS, use STARTTLS first")
        } else {
            Reply::new(504, Status(5, 5, 4), "Mechanism is not known here")
        });
        return;
    };
    let initial = match initial {
        None => None,
        // RFC 4954 §4: an initial response that is there but empty.
        Some("=") => Some(Vec::new()),
        Some(text) => match STANDARD.decode(text) {
            Ok(bytes) => Some(bytes),
            Err(_) => {
                s.error(BAD_BASE64);
                return;
            }
        },
    };
    s.ask(Open::Auth, Question::Auth(AuthStep::Start { mechanism, initial }));
}

/// A line of the exchange.
pub(crate) fn response(s: &mut Session, line: &[u8]) {
    s.enter(Phase::Command);
    if line == b"*" {
        s.error(Reply::new(501, Status(5, 7, 0), "Authentication cancelled"));
        return;
    }
    match STANDARD.decode(line) {
        Ok(bytes) => s.ask(Open::Auth, Question::Auth(AuthStep::Next(bytes))),
        Err(_) => s.error(BAD_BASE64),
    }
}

pub(crate) fn answered(s: &mut Session, answer: Answer) {
    match answer {
        Answer::Challenge(bytes) => {
            let mut line = String::with_capacity(8 + bytes.len() * 4 / 3);
            line.push_str("334 ");
            STANDARD.encode_string(&bytes, &mut line);
            line.push_str("\r\n");
            s.push(Out::Send(line.into_bytes()));
            s.enter(Phase::Auth);
        }
        Answer::SignedIn(user) => {
            s.user = Some(user);
            s.tally.idle = 0;
            s.say(SIGNED_IN);
        }
        answer => {
            let reply = refusal(answer);
            if reply.is_transient() {
                s.say(reply);
                return;
            }
            s.tally.auth_failures += 1;
            s.error(reply);
            if s.tally.auth_failures >= s.config.limits.auth_failures && !s.is_closed() {
                s.say(Reply::new(421, Status(4, 7, 0), "Too many failed sign-ins, closing the connection"));
                s.close();
            }
        }
    }
}
