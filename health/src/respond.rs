//! What may be done about a fault besides telling people, and how often.

use serde::{Deserialize, Serialize};
use waypost_base::Timestamp;

/// A version of the settings that was put in place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsChange {
    pub version: u32,
    pub at: Timestamp,
    pub by: String,
    /// The keys that it changed.
    pub keys: Vec<String>,
    /// It was put in place although its rehearsal failed.
    pub forced: bool,
    /// By a responder: never undone.
    pub by_responder: bool,
}

impl SettingsChange {
    /// `version 17 by amy at …: imap.x509_certificate_name (forced)`
    pub fn line(&self) -> String {
        let forced = if self.forced { " (put in place although its rehearsal failed)" } else { "" };
        format!("version {} by {} at {}: {}{forced}", self.version, self.by, self.at, self.keys.join(", "))
    }
}

/// What a responder can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    RestartRole,
    Drain,
    UndoSettings,
    RenewCertificate,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::RestartRole, Kind::Drain, Kind::UndoSettings, Kind::RenewCertificate];

    /// As the setting `health.may` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::RestartRole => "restart-role",
            Kind::Drain => "drain-server",
            Kind::UndoSettings => "undo-settings",
            Kind::RenewCertificate => "renew-certificate",
        }
    }

    pub fn parse(text: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(text.trim()))
    }
}

/// What the settings allow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Responders {
    /// Nothing is done but alerting where this is empty.
    pub may: Vec<Kind>,
    /// Milliseconds from one action on the same target to the next.
    pub pause: u64,
    /// Actions in 24 hours, in the whole organisation.
    pub daily: u32,
}
