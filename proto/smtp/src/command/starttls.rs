//! STARTTLS (RFC 3207).

use super::NO_PARAMETERS;
use crate::reply::{Reply, Status};
use crate::session::{Phase, Session};
use crate::types::Out;

pub(crate) fn wanted(line: &[u8]) -> bool {
    super::split(line).0.eq_ignore_ascii_case(b"STARTTLS")
}

pub(crate) fn run(s: &mut Session, line: &[u8]) {
    if !super::split(line).1.is_empty() {
        s.error(NO_PARAMETERS);
    } else if s.tls.is_some() {
        s.error(Reply::new(503, Status(5, 5, 1), "TLS is up already"));
    } else if !s.config.starttls {
        s.error(Reply::new(502, Status(5, 5, 1), "TLS is not available here"));
    } else if s.helo.is_none() {
        s.error(Reply::new(503, Status(5, 5, 1), "Say hello first"));
    } else {
        s.abandon();
        s.say(Reply::new(220, Status(2, 0, 0), "Begin TLS now"));
        s.enter(Phase::Handshake);
        s.push(Out::StartTls);
    }
}
