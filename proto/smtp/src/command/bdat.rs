//! BDAT (RFC 3030 §2). The octets of a refused chunk are still read, or they would be taken for commands.

use super::data::{NO_MAIL, NO_RECIPIENTS};
use crate::reply::{Reply, Status};
use crate::session::{Chunk, Open, Phase, Session, refusal, too_big};
use crate::types::{Answer, Question};
use waypost_base::Timestamp;

pub(crate) fn run(s: &mut Session, now: Timestamp, arg: &str) {
    let Some((left, last)) = parse(arg) else {
        // How much follows is unknown, so nothing that follows can be trusted to be a command.
        s.abandon();
        s.say(Reply::new(501, Status(5, 5, 4), "BDAT needs a size, and LAST or nothing"));
        s.close();
        return;
    };
    let extended = s.helo.as_ref().is_some_and(|h| h.extended);
    let limit = s.config.limits.message;
    let verdict = match s.mail.as_deref() {
        _ if !extended => Some(Reply::new(503, Status(5, 5, 1), "BDAT needs EHLO")),
        None => Some(NO_MAIL),
        Some(mail) if mail.accepted == 0 && mail.tried => Some(NO_RECIPIENTS),
        Some(mail) if mail.accepted == 0 => Some(NO_MAIL),
        Some(mail) if mail.failed.is_some() => {
            Some(Reply::new(503, Status(5, 5, 1), "An earlier chunk was refused, use RSET"))
        }
        Some(mail) if mail.size.saturating_add(left) > limit => Some(too_big(limit)),
        Some(mail) if !mail.begun => {
            if let Some(mail) = &mut s.mail {
                mail.chunked = true;
            }
            s.ask(Open::Chunk { left, last }, Question::Begin);
            return;
        }
        Some(_) => None,
    };
    if let Some(mail) = &mut s.mail {
        mail.chunked = mail.accepted > 0;
    }
    begin(s, now, left, last, verdict);
}

pub(crate) fn answered(s: &mut Session, now: Timestamp, left: u64, last: bool, answer: Answer) {
    let verdict = match answer {
        Answer::Ok | Answer::Accept(_) => {
            if let Some(mail) = &mut s.mail {
                mail.begun = true;
            }
            None
        }
        answer => Some(refusal(answer)),
    };
    begin(s, now, left, last, verdict);
}

fn begin(s: &mut Session, now: Timestamp, left: u64, last: bool, verdict: Option<Reply>) {
    if let Some(reply) = &verdict
        && s.mail.as_ref().is_some_and(|mail| mail.accepted > 0)
    {
        s.refuse_body(reply.clone());
    }
    s.enter(Phase::Chunk(Chunk { left, last, verdict }));
    if left == 0 {
        s.chunk_ended(now);
    }
}

fn parse(arg: &str) -> Option<(u64, bool)> {
    let (size, rest) = arg.split_once(' ').map_or((arg, ""), |(size, rest)| (size, rest.trim()));
    let good = !size.is_empty() && size.len() <= 18 && size.bytes().all(|b| b.is_ascii_digit());
    let last = rest.eq_ignore_ascii_case("LAST");
    (good && (last || rest.is_empty())).then(|| size.parse().ok().map(|size| (size, last))).flatten()
}
