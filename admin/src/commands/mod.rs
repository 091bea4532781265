//! The commands, by noun. Each file defines its commands and does their work.

mod api;
mod app_password;
mod audit;
mod cas;
mod certificate;
mod client_certificate;
mod component;
mod diagnosis;
mod directory_source;
mod dkim;
mod domain;
mod export;
mod group;
mod health;
mod help;
mod identity;
mod import;
mod kerberos;
mod mail_filter;
pub(crate) mod mailbox;
mod message;
mod move_request;
mod named;
mod permission;
mod property;
mod protocol;
mod queue;
mod receive_connector;
mod recipients;
mod send_connector;
pub(crate) mod server;
mod service;
mod setting;
mod settings_history;
mod statistics;
mod store;
mod tracking;
mod transport;

pub use dkim::names_options;
pub use mailbox::quota_of;
pub use store::RESTORED;

pub mod why;

use crate::catalogue::Command;
use waypost_base::Timestamp;

/// Every command, by noun, then verb.
pub(crate) fn all() -> Vec<&'static Command> {
    let tables: &[&'static [Command]] = &[
        mailbox::COMMANDS,
        api::COMMANDS,
        cas::COMMANDS,
        certificate::COMMANDS,
        permission::COMMANDS,
        statistics::COMMANDS,
        dkim::COMMANDS,
        domain::COMMANDS,
        group::COMMANDS,
        identity::COMMANDS,
        protocol::COMMANDS,
        app_password::COMMANDS,
        audit::COMMANDS,
        client_certificate::COMMANDS,
        recipients::COMMANDS,
        import::COMMANDS,
        kerberos::COMMANDS,
        export::COMMANDS,
        store::COMMANDS,
        service::COMMANDS,
        setting::COMMANDS,
        settings_history::COMMANDS,
        send_connector::COMMANDS,
        receive_connector::COMMANDS,
        mail_filter::COMMANDS,
        directory_source::COMMANDS,
        queue::COMMANDS,
        move_request::COMMANDS,
        message::COMMANDS,
        transport::COMMANDS,
        transport::SERVICE_COMMANDS,
        component::COMMANDS,
        server::COMMANDS,
        tracking::COMMANDS,
        why::COMMANDS,
        diagnosis::COMMANDS,
        help::COMMANDS,
    ];
    let mut all: Vec<&'static Command> = tables.iter().copied().chain(health::tables()).flatten().collect();
    all.sort_by_key(|c| (c.noun, c.verb));
    all
}

/// `settings plan FILE` and the like: the command that is meant, and what is left of the words. `None` where the first
/// word is not such a short one.
pub(crate) fn short<'w>(
    name: &'w str,
    rest: &'w [String],
) -> Result<Option<(&'w str, &'w [String])>, crate::failure::Failure> {
    if name.eq_ignore_ascii_case("settings") { setting::short(rest).map(Some) } else { Ok(None) }
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
