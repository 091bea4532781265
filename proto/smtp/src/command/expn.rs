//! EXPN (RFC 5321 §3.5, §4.1.1.7).

use super::SYNTAX;
use super::vrfy::name;
use crate::reply::{Reply, Status};
use crate::session::{Open, Session, refusal};
use crate::types::{Answer, Question};

pub(crate) fn run(s: &mut Session, arg: &str) {
    s.idle_command();
    match name(arg) {
        Some(name) => s.ask(Open::Expand, Question::Expand(name)),
        None => s.error(SYNTAX),
    }
}

pub(crate) fn answered(s: &mut Session, answer: Answer) {
    match answer {
        Answer::Ok => s.say(Reply::new(252, Status(2, 5, 1), "Lists are not expanded here")),
        Answer::Accept(reply) => s.say(reply),
        answer => s.error(refusal(answer)),
    }
}
