//! The settings document: `settings.toml` in the data folder, written by people and by commands alike.
//!
//! Two steps: as written ([`Document`], comments and order kept) and as meant ([`Settings`], checked, defaults filled
//! in). Nothing derived is stored beside what was read. A document with a mistake is refused as a whole, with every
//! mistake named, and what holds goes on holding.
//!
//! Every change made by a command is kept: `settings.d/NNNN-TIME.toml` is the document after change number NNNN, headed
//! by who, when, why and by which command. `0000` is what stood there before the first command.
//!
//! What one server has for itself is in its own `server.toml`, which goes before the organisation's document, key by key;
//! its versions are in `server.d`.
//!
//! A change is a [`Candidate`] first: checked, and, where it touches how anybody reaches us, rehearsed ([`Rehearse`]).

pub mod candidate;
mod checks;
pub mod connector;
pub mod document;
pub mod example;
mod fields;
mod health;
mod hub;
mod kerberos;
mod legs;
pub mod merge;
mod named;
mod oauth;
pub mod rehearse;
pub mod secret;
mod source;
pub mod store;
mod time;
pub mod value;
mod versions;

pub use candidate::{Candidate, KeyChange, Touched};
pub use connector::{
    AddressSpace, AuthMechanism, ComponentState, DmarcMode, FilterAddress, FilterFailure, FilterScope,
    IpRange, Listener, PermissionGroup, ProtocolLogging, SmartHost, SmartHostAuthMechanism, SpfFail,
    TlsAuthLevel,
};
pub use document::{Document, Edit, Mistake};
pub use fields::{
    Acme, AcmeChallenge, CalendarOption, Certificates, ExtendedProtection, Field, Imap, Listeners, Log,
    LoginType, Mailboxes, MimeFormat, Place, Pop, RollOver, Server, Settings, SignIn, Smtp, SortOrder, Tls,
};
pub use health::{Health, parse_override};
pub use hub::{BackPressure, Dns, MailAuthentication, Transport};
pub use kerberos::{Kerberos, tickets as kerberos_tickets};
pub use legs::Legs;
pub use named::{MailFilter, ReceiveConnector, STANDING, SendConnector};
pub use oauth::OAuth;
pub use rehearse::{Probe, Rehearse, Report, Verdict};
pub use source::{DirectorySource, SourceKind};
pub use store::{
    Author, Saved, Scope, SettingsError, SettingsStore, Version, load, save_change, save_change_in,
};
pub use time::parse_time;
pub use value::{Bytes, Kind, Span, Unlimited};
