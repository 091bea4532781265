//! HELP (RFC 5321 §4.1.1.8).

use crate::reply::{Reply, Status};
use crate::session::Session;
use crate::types::Flavour;

pub(crate) fn run(s: &mut Session) {
    s.idle_command();
    let text = if s.config.flavour == Flavour::Lmtp {
        "Commands:\nLHLO MAIL RCPT DATA BDAT RSET NOOP VRFY EXPN HELP STARTTLS AUTH QUIT"
    } else {
        "Commands:\nEHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY EXPN HELP STARTTLS AUTH QUIT"
    };
    s.say(Reply::new(214, Status(2, 0, 0), text));
}
