//! The vocabulary of explanation: what happened on a hop between two parties, what was seen, what follows from it.
//!
//! Evidence, conclusion and guess are three types, so that they cannot be mixed up on the way to a reader.
//! This module has no IO. Rooms keep their own error types; `trust`, `transport` and `access` turn them into
//! [`Outcome`]s at the place where the leg is known.

use crate::id::Correlation;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

type Text = Cow<'static, str>;

/// One hop between two parties: who called whom, how each proved itself, which steps were taken, how it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leg {
    /// What the hop was for, such as `smtp.receive`, `deliver` or `imap.read`.
    pub operation: Text,
    pub initiator: Party,
    pub acceptor: Party,
    /// How the initiator proved who it is: `anonymous`, `PLAIN`, `SCRAM-SHA-256-PLUS`, `mtls`, `in-process`…
    pub mechanism: Text,
    /// The key, certificate or ticket that the proof rests on, by a name that an administrator can look up.
    pub key: Option<String>,
    pub started: Timestamp,
    pub steps: Vec<Step>,
    pub outcome: Outcome,
    pub correlation: Option<Correlation>,
}

/// One end of a leg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// The role or client as people call it: `client`, `front end`, `hub`, `mailbox`.
    pub role: Text,
    /// Server id, host name or address and port.
    pub name: String,
}

impl Party {
    pub fn new(role: impl Into<Text>, name: impl Into<String>) -> Party {
        Party { role: role.into(), name: name.into() }
    }
}

/// One step on a leg, with the time that it took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub name: Text,
    /// Microseconds from the start of the step to its end.
    pub micros: u64,
    /// What the other side said or what was found, in a line.
    pub note: Option<String>,
}

/// How a leg ended. `Degraded` worked, but not in the way that was wanted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "lowercase")]
pub enum Outcome {
    Open,
    Ok,
    Degraded { cause: Cause, text: String },
    Failed { cause: Cause, text: String, retry: bool },
}

impl Leg {
    pub fn start(operation: impl Into<Text>, initiator: Party, acceptor: Party, now: Timestamp) -> Leg {
        Leg {
            operation: operation.into(),
            initiator,
            acceptor,
            mechanism: Cow::Borrowed("anonymous"),
            key: None,
            started: now,
            steps: Vec::new(),
            outcome: Outcome::Open,
            correlation: None,
        }
    }

    pub fn step(&mut self, name: impl Into<Text>, micros: u64, note: Option<String>) {
        self.steps.push(Step { name: name.into(), micros, note });
    }

    /// Microseconds of all steps together.
    pub fn micros(&self) -> u64 {
        self.steps.iter().map(|s| s.micros).sum()
    }
}

/// `client 127.0.0.1:51877 → front end 127.0.0.1:2025  smtp.receive  anonymous  ok  1.9 ms (ehlo 0.1, data 1.8)`
impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} → {} {}  {}  {}  {}  {:.1} ms",
            self.initiator.role,
            self.initiator.name,
            self.acceptor.role,
            self.acceptor.name,
            self.operation,
            self.mechanism,
            self.outcome,
            self.micros() as f64 / 1000.0
        )?;
        if !self.steps.is_empty() {
            f.write_str(" (")?;
            for (i, step) in self.steps.iter().enumerate() {
                let comma = if i == 0 { "" } else { ", " };
                write!(f, "{comma}{} {:.1}", step.name, step.micros as f64 / 1000.0)?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Open => f.write_str("open"),
            Outcome::Ok => f.write_str("ok"),
            Outcome::Degraded { cause, text } => write!(f, "degraded [{}] {text}", cause.code),
            Outcome::Failed { cause, text, .. } => write!(f, "failed [{}] {text}", cause.code),
        }
    }
}

/// A reason that has a name: the code stays the same for ever, so that scripts and documents can refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// Stable code, such as `KRB-NOKEY` or `STORE-READONLY`.
    pub code: &'static str,
    pub meaning: &'static str,
    pub remedy: &'static str,
    /// The section of a standard or of our documents that says more.
    pub reference: &'static str,
}

/// Something that was seen, by whom, and when. It claims nothing beyond itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Log, file, counter or party that the fact comes from.
    pub source: String,
    pub time: Option<Timestamp>,
    pub fact: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Fits, but so might others.
    Possible,
    /// Fits better than every rival that was looked at.
    Likely,
    /// Follows from the evidence.
    Certain,
}

/// A conclusion, with what it rests on and what would settle the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub cause: Cause,
    pub confidence: Confidence,
    pub evidence: Vec<Evidence>,
    /// Commands or actions, most likely first.
    pub remedy: Vec<String>,
    /// What was not looked at, and the test that would.
    pub untested: Vec<String>,
}
