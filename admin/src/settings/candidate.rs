//! A document that may become the one that holds: what it means, and what it would change, key by key.

use super::document::Document;
use super::fields::Settings;
use super::value::shown;
use super::versions::Scope;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Checked, but not in place.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub scope: Scope,
    /// The document of this scope as it would be written.
    pub text: String,
    /// What would hold, both documents together.
    pub after: Arc<Settings>,
    /// What holds.
    pub before: Arc<Settings>,
}

/// One key that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    pub key: String,
    /// As the document writes it; `None` where the section is not there.
    pub old: Option<String>,
    pub new: Option<String>,
}

/// What a client or server can reach us by. A change that touches one of these is rehearsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touched {
    Imap,
    Pop,
    Smtp,
    /// Between servers of ours.
    Inner,
}

impl Touched {
    pub const CLIENTS: [Touched; 3] = [Touched::Imap, Touched::Pop, Touched::Smtp];

    /// By the name that Exchange has for the service.
    pub const fn service(self) -> &'static str {
        match self {
            Touched::Imap => "MSExchangeIMAP4",
            Touched::Pop => "MSExchangePOP3",
            Touched::Smtp => "MSExchangeTransport",
            Touched::Inner => "WaypostInner",
        }
    }
}

/// Fields that have nothing to do with how anybody reaches us.
const HARMLESS: &[&str] = &[
    "protocol_log_enabled",
    "log_file_location",
    "log_file_roll_over_settings",
    "log_per_file_size_quota",
    "comment",
    "protocol_logging_level",
];

impl Candidate {
    /// Every key whose value differs, in the order of the document's sections.
    pub fn changes(&self) -> Vec<KeyChange> {
        changes(&self.before, &self.after)
    }

    /// Whom the change concerns.
    pub fn touched(&self) -> BTreeSet<Touched> {
        self.changes().iter().flat_map(|c| touched(&c.key)).copied().collect()
    }

    /// Listeners that would be opened or closed, by the names of the section.
    pub fn rebound(&self) -> Vec<String> {
        let changes = self.changes();
        changes.iter().filter_map(|c| c.key.strip_prefix("listeners.")).map(str::to_owned).collect()
    }

    pub fn is_same(&self) -> bool {
        self.before == self.after
    }
}

/// Every key that differs between two settings.
pub fn changes(before: &Settings, after: &Settings) -> Vec<KeyChange> {
    let entries = |s: &Settings| -> Vec<(String, String)> {
        s.entries().into_iter().map(|(place, field, value)| (place.key(field.name), shown(&value))).collect()
    };
    let (old, new) = (entries(before), entries(after));
    let was: BTreeMap<&str, &str> = old.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let is: BTreeMap<&str, &str> = new.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let mut keys: Vec<&str> = new.iter().map(|(k, _)| k.as_str()).collect();
    keys.extend(old.iter().map(|(k, _)| k.as_str()).filter(|k| !is.contains_key(k)));
    keys.into_iter()
        .filter(|key| was.get(key) != is.get(key))
        .map(|key| KeyChange {
            key: key.to_owned(),
            old: was.get(key).map(|v| (*v).to_owned()),
            new: is.get(key).map(|v| (*v).to_owned()),
        })
        .collect()
}

/// Whom a key concerns.
pub(crate) fn touched(key: &str) -> &'static [Touched] {
    let (section, rest) = key.split_once('.').unwrap_or((key, ""));
    let field = rest.rsplit('.').next().unwrap_or(rest);
    if HARMLESS.contains(&field) {
        return &[];
    }
    match (section, field) {
        ("imap", _) | ("listeners", "imap" | "imaps") => &[Touched::Imap],
        ("pop", _) | ("listeners", "pop3" | "pop3s") => &[Touched::Pop],
        ("smtp" | "receive_connectors", _)
        | ("listeners", "smtp" | "submission" | "submissions" | "lmtp") => &[Touched::Smtp],
        ("legs" | "kerberos", _) | ("listeners", "inner") => {
            &[Touched::Imap, Touched::Pop, Touched::Smtp, Touched::Inner]
        }
        ("tls" | "certificates" | "sign_in" | "oauth" | "ldap", _) | ("server", "name") => &Touched::CLIENTS,
        ("acme", _) => &[],
        _ => &[],
    }
}

/// The organisation's document with this server's own laid over it.
pub(super) fn together(organisation: &Document, server: &Document) -> Document {
    let mut both = organisation.clone();
    both.lay_over(server);
    both
}
