//! RSET (RFC 5321 §4.1.1.5).

use super::NO_PARAMETERS;
use crate::reply::{Reply, Status};
use crate::session::Session;

pub(crate) fn run(s: &mut Session, arg: &str) {
    if !arg.is_empty() {
        s.error(NO_PARAMETERS);
        return;
    }
    s.abandon();
    s.idle_command();
    s.say(Reply::new(250, Status(2, 0, 0), "OK"));
}
