//! VRFY (RFC 5321 §3.5, §4.1.1.6): strangers learn nothing by it.

use super::SYNTAX;
use crate::reply::{Reply, Status};
use crate::session::{Open, Session, refusal};
use crate::types::{Answer, Question};

pub(crate) fn run(s: &mut Session, arg: &str) {
    s.idle_command();
    match name(arg) {
        Some(name) => s.ask(Open::Verify, Question::Verify(name)),
        None => s.error(SYNTAX),
    }
}

/// The argument without the SMTPUTF8 parameter of RFC 6531 §3.7.4.2.
pub(super) fn name(arg: &str) -> Option<String> {
    let name = match arg.rsplit_once(' ') {
        Some((name, last)) if last.eq_ignore_ascii_case("SMTPUTF8") => name,
        _ => arg,
    };
    let name = name.trim();
    (!name.is_empty() && !name.contains(char::is_control)).then(|| name.to_owned())
}

pub(crate) fn answered(s: &mut Session, answer: Answer) {
    match answer {
        Answer::Ok => s.say(Reply::new(252, Status(2, 5, 2), "Cannot verify, send some mail and see")),
        Answer::Accept(reply) => s.say(reply),
        answer => s.error(refusal(answer)),
    }
}
