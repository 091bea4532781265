//! XWHY (our own, as the X says): `XWHY <message-id>` tells a signed-in user what became of a message of theirs, in plain
//! words. Offered after sign-in only, and only where the caller can answer.

use super::SYNTAX;
use crate::reply::{Reply, Status};
use crate::session::{Open, Session, refusal};
use crate::types::{Answer, Question};

/// Longer ones are no Message-ID that a line of a header could hold (RFC 5322 §2.1.1).
const ID_MAX: usize = 998;
const NOT_FOUND: Reply =
    Reply::new(550, Status(5, 1, 0), "No message of yours by that Message-ID is known here");
const SIGN_IN: Reply = Reply::new(530, Status(5, 7, 0), "Sign in first");

pub(crate) fn run(s: &mut Session, arg: &str) {
    s.idle_command();
    if s.user.is_none() {
        return s.error(SIGN_IN);
    }
    let id = arg.trim();
    let id = id.strip_prefix('<').and_then(|id| id.strip_suffix('>')).unwrap_or(id);
    if id.is_empty() || id.len() > ID_MAX || id.contains(char::is_control) {
        return s.error(SYNTAX);
    }
    s.ask(Open::Why, Question::Why(id.to_owned()));
}

/// [`Answer::Ok`] stands for "nothing is known that this user may know".
pub(crate) fn answered(s: &mut Session, answer: Answer) {
    match answer {
        Answer::Ok => s.error(NOT_FOUND),
        Answer::Accept(reply) => s.say(reply),
        answer => s.error(refusal(answer)),
    }
}
