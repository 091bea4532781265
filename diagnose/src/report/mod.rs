//! What is told at the end: what was read, what was found, what would settle the rest.

mod html;
mod mask;
mod screen;

pub use html::page;
pub use mask::{Mask, masked};
pub use screen::{Colours, text};

use crate::words;
use serde::{Serialize, Serializer};
use std::fmt::Write as _;
use waypost_base::Timestamp;

/// The whole of a diagnosis. Its JSON form is what programs get.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    pub read: Vec<Read>,
    pub unread: Vec<Unread>,
    /// In order of confidence.
    pub findings: Vec<Finding>,
    /// What looks bad and is not.
    pub noise: Vec<Noise>,
    pub timeline: Vec<Moment>,
    pub needed: Vec<Needed>,
}

/// A file that was read.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Read {
    pub file: String,
    /// What was found in it.
    pub kind: String,
    /// Lines, records, events.
    pub count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Unread {
    pub file: String,
    pub reason: String,
}

/// A cause that the evidence names.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Finding {
    pub cause: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub catalogue: String,
    pub title: String,
    /// From 0 to 1.
    pub confidence: f64,
    pub leg: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    pub evidence: Vec<Evidence>,
    /// What follows from the evidence.
    pub conclusion: String,
    pub remedy: Vec<String>,
    /// What fits as well or nearly, and the test that tells them apart.
    pub rivals: Vec<Confused>,
    /// What was not looked at, and the test that would.
    pub untested: Vec<String>,
    pub reference: String,
}

/// What was seen, where.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Evidence {
    pub file: String,
    /// From 1; 0 for the file as a whole.
    pub line: u32,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "time")]
    pub time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The end of the leg: `initiator`, `acceptor`…
    #[serde(skip_serializing_if = "String::is_empty")]
    pub end: String,
    /// It speaks against the cause.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub against: bool,
    pub fact: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Confused {
    pub cause: String,
    pub title: String,
    pub confidence: f64,
    pub test: String,
}

/// Something benign that looks like a fault.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Noise {
    pub cause: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub catalogue: String,
    pub title: String,
    pub why: String,
    pub count: u64,
    pub file: String,
    pub line: u32,
}

/// A moment of the time line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moment {
    #[serde(serialize_with = "moment")]
    pub time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    pub what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    pub file: String,
    pub line: u32,
}

/// What to get, from where, how, and what it would settle.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Needed {
    pub what: String,
    pub server: String,
    pub how: String,
    pub settles: Vec<String>,
}

impl Report {
    /// One document, ending in a new line.
    pub fn json(&self) -> String {
        // Texts and numbers only: there is nothing that could fail.
        json(self)
    }
}

/// JSON that can be printed to a terminal: what could command it is escaped, as JSON allows in every text.
pub fn json(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let mut out = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if c != '\n' && words::is_unsafe(c) {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out.push('\n');
    out
}

fn time<S: Serializer>(time: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => moment(time, to),
        None => to.serialize_none(),
    }
}

fn moment<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(time)
}
