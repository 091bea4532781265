//! NOOP (RFC 5321 §4.1.1.9). It may have a parameter, which means nothing.

use crate::reply::{Reply, Status};
use crate::session::Session;

pub(crate) fn run(s: &mut Session) {
    s.idle_command();
    let reply = Reply::new(250, Status(2, 0, 0), "OK");
    if s.tally.errors > s.config.limits.errors { s.error(reply) } else { s.say(reply) }
}
