//! The commands, by noun. Each file defines its commands and does their work.

mod app_password;
mod cas;
mod domain;
mod export;
mod group;
mod help;
mod import;
pub(crate) mod mailbox;
mod permission;
mod property;
mod protocol;
mod recipients;
mod setting;
mod statistics;
mod store;

pub use store::RESTORED;

use crate::catalogue::Command;
use waypost_base::Timestamp;

/// Every command, by noun, then verb.
pub(crate) fn all() -> Vec<&'static Command> {
    let tables: [&'static [Command]; 14] = [
        mailbox::COMMANDS,
        cas::COMMANDS,
        permission::COMMANDS,
        statistics::COMMANDS,
        domain::COMMANDS,
        group::COMMANDS,
        protocol::COMMANDS,
        app_password::COMMANDS,
        recipients::COMMANDS,
        import::COMMANDS,
        export::COMMANDS,
        store::COMMANDS,
        setting::COMMANDS,
        help::COMMANDS,
    ];
    let mut all: Vec<&'static Command> = tables.into_iter().flatten().collect();
    all.sort_by_key(|c| (c.noun, c.verb));
    all
}

/// What every object of Exchange's ends with.
fn ending(record: crate::Record, identity: &str, created: Timestamp, changed: Timestamp) -> crate::Record {
    record
        .with("WhenCreatedUTC", created)
        .with("WhenChangedUTC", changed)
        .with("Identity", identity)
        .with("IsValid", true)
        .with("ObjectState", "Unchanged")
}
