//! DATA (RFC 5321 §4.1.1.4).

use super::NO_PARAMETERS;
use crate::body::Dots;
use crate::reply::{Reply, Status};
use crate::session::{Open, Phase, Session, refusal};
use crate::types::{Answer, BodyKind, Question};
use waypost_base::Timestamp;

pub(crate) const NO_RECIPIENTS: Reply = Reply::new(554, Status(5, 5, 1), "No valid recipients");
pub(crate) const NO_MAIL: Reply = Reply::new(503, Status(5, 5, 1), "MAIL and RCPT come first");

pub(crate) fn run(s: &mut Session, arg: &str) {
    if !arg.is_empty() {
        s.error(NO_PARAMETERS);
        return;
    }
    match s.mail.as_deref() {
        Some(mail) if mail.chunked => {
            s.error(Reply::new(503, Status(5, 5, 1), "BDAT has begun, DATA cannot follow"));
        }
        Some(mail) if mail.body == BodyKind::Binary => {
            s.error(Reply::new(503, Status(5, 5, 1), "BODY=BINARYMIME needs BDAT"));
        }
        Some(mail) if mail.accepted > 0 => s.ask(Open::Data, Question::Begin),
        // LMTP wants 503 (RFC 2033 §4.2); so does SMTP where RCPT was never tried.
        Some(mail) if mail.tried && s.config.flavour != crate::Flavour::Lmtp => s.error(NO_RECIPIENTS),
        _ => s.error(NO_MAIL),
    }
}

pub(crate) fn answered(s: &mut Session, _now: Timestamp, answer: Answer) {
    match answer {
        Answer::Ok | Answer::Accept(_) => {
            let dots = Dots::new(s.config.bare_ends);
            if let Some(mail) = &mut s.mail {
                mail.begun = true;
            }
            s.say(Reply::plain(354, "Send the message, end with <CRLF>.<CRLF>"));
            s.enter(Phase::Data(dots));
        }
        answer => {
            s.say(refusal(answer));
            s.abandon();
        }
    }
}
