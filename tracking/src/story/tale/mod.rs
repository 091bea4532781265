//! The tale of a time, a session, an address, a server or a probe: what the logs, the histories and the health saw, what
//! follows from it, what is only suspected and which test would settle it, and what can be done.
//!
//! Evidence, conclusion and suspicion are kept apart: a change that came just before a fault is a suspicion, however near
//! it was, with the way to try it. What could not be looked at is said.

mod activity;
mod failures;
mod judge;
mod text;

use super::{Conclusion, evidence};
use crate::legs::PastLeg;
use crate::protocol::Line;
use crate::record::Record;
use serde::Serialize;
use waypost_base::Timestamp;
use waypost_base::explain::{Confidence, Evidence};

pub use judge::tell;

/// What was asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// The moment, where one was named; the span is in [`Known`].
    Time(Option<Timestamp>),
    /// A correlation id.
    Session(String),
    Address(String),
    Server(String),
    /// `IMAP\ImapCTPProbe`
    Probe(String),
}

/// What is known.
#[derive(Clone, Debug)]
pub struct Known {
    pub about: About,
    pub from: Timestamp,
    pub to: Timestamp,
    pub now: Timestamp,
    pub legs: Vec<PastLeg>,
    pub events: Vec<Record>,
    pub lines: Vec<Line>,
    /// When anything was said in each log, for seeing silence: the service's name with its times, in order.
    pub activity: Vec<(String, Vec<Timestamp>)>,
    pub changes: Vec<Change>,
    pub certificates: Vec<CertificateFact>,
    pub health: Vec<HealthFact>,
    pub standing: Vec<Standing>,
    /// Every address that belongs to the one that was asked about; empty: it alone.
    pub addresses: Vec<String>,
    /// Further facts that stand for themselves: an account, a component.
    pub facts: Vec<Evidence>,
    /// What could not be looked at, and why.
    pub not_looked: Vec<String>,
}

impl Known {
    pub fn new(about: About, from: Timestamp, to: Timestamp, now: Timestamp) -> Known {
        Known {
            about,
            from,
            to,
            now,
            legs: Vec::new(),
            events: Vec::new(),
            lines: Vec::new(),
            activity: Vec::new(),
            changes: Vec::new(),
            certificates: Vec::new(),
            health: Vec::new(),
            standing: Vec::new(),
            addresses: Vec::new(),
            facts: Vec::new(),
            not_looked: Vec::new(),
        }
    }
}

/// Something that somebody changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub time: Timestamp,
    pub who: String,
    /// The command line.
    pub command: String,
    pub why: Option<String>,
    /// Number of the settings' version, and whose settings they are.
    pub version: Option<(u32, String)>,
    /// `imap.login_type: "A" → "B"`
    pub keys: Vec<String>,
    /// Short names of the services that it touches; empty where it is not known.
    pub services: Vec<String>,
    /// It takes something out of service by its nature: Stop-Service, a component set inactive.
    pub stops: bool,
    /// Forced against its rehearsal's finding.
    pub forced: Option<String>,
    /// Why it was not done.
    pub failed: Option<String>,
    /// Commands that take it back.
    pub undo: Vec<String>,
}

/// A certificate that is bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFact {
    pub subject: String,
    pub thumbprint: String,
    pub services: Vec<String>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

/// An event of the health of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthFact {
    pub time: Timestamp,
    pub server: String,
    /// The health set.
    pub source: String,
    /// `IMAP\ImapCTPProbe\imaps`; empty where it is about none.
    pub probe: String,
    pub bad: bool,
    pub message: String,
    /// Code of the cause.
    pub cause: String,
    pub confidence: Option<Confidence>,
    pub remedy: Vec<String>,
}

/// Something that is wrong at this moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub since: Option<Timestamp>,
    /// Code of the cause; empty where it says all by itself.
    pub code: String,
    /// A sentence.
    pub text: String,
    pub confidence: Confidence,
    pub evidence: Vec<Evidence>,
    pub remedy: Vec<String>,
}

/// Something that may be the reason, and how to find out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Suspicion {
    pub confidence: Confidence,
    pub text: String,
    pub test: String,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tale {
    /// `Between 2026-03-03 10:00 and 10:30 (UTC)`, `Session 000000000000001A`…
    pub title: String,
    /// Short: what happened.
    pub summary: Vec<String>,
    #[serde(serialize_with = "evidence")]
    pub seen: Vec<Evidence>,
    pub follows: Vec<Conclusion>,
    pub suspected: Vec<Suspicion>,
    pub not_known: Vec<String>,
    pub remedy: Vec<String>,
    pub legs: Vec<PastLeg>,
}

impl Tale {
    /// For a terminal, ending in a newline. Control characters that peers put in are spaces.
    pub fn text(&self) -> String {
        text::text(self)
    }

    /// Nothing was seen at all.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty() && self.follows.is_empty() && self.legs.is_empty()
    }
}

#[cfg(test)]
mod tests;
