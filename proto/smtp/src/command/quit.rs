//! QUIT (RFC 5321 §4.1.1.10).

use super::NO_PARAMETERS;
use crate::reply::{Reply, Status};
use crate::session::Session;

pub(crate) fn run(s: &mut Session, arg: &str) {
    if !arg.is_empty() {
        s.error(NO_PARAMETERS);
        return;
    }
    s.abandon();
    s.say(Reply::new(221, Status(2, 0, 0), "Goodbye"));
    s.close();
}
