//! Trying settings out before they hold: what is asked, and what comes of it. The running server does the work.
//!
//! The services that a change touches are brought up beside the running ones, on private listeners, with the new
//! settings, and are spoken to as clients would. A probe that fails refuses the change; one that failed before it as
//! well is told of, and does not.

use super::candidate::Candidate;
use super::fields::Settings;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use waypost_base::explain::{Finding, Leg};

/// One way in that was tried.
#[derive(Clone, Debug)]
pub struct Probe {
    /// `imaps`, `submission AUTH PLAIN`…
    pub name: String,
    pub leg: Leg,
    /// What is wrong, in a sentence, and what it means.
    pub fault: Option<(String, Finding)>,
    /// It failed with the running settings as well.
    pub failed_before: bool,
}

/// What a rehearsal came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub probes: Vec<Probe>,
    /// Worth knowing, but no reason to refuse: a name that clients use and the certificate has not.
    pub warnings: Vec<String>,
    pub millis: u64,
}

/// Whether a change may be put in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There was nothing to be tried.
    Untouched,
    Passed,
    /// Something fails that failed before, too.
    NoWorse,
    Failed,
}

impl Verdict {
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Untouched => "not needed",
            Verdict::Passed => "passed",
            Verdict::NoWorse => "no worse than before",
            Verdict::Failed => "failed",
        }
    }
}

impl Report {
    pub fn verdict(&self) -> Verdict {
        let failed = || self.probes.iter().filter(|p| p.fault.is_some());
        match () {
            () if self.probes.is_empty() => Verdict::Untouched,
            () if failed().any(|p| !p.failed_before) => Verdict::Failed,
            () if failed().next().is_some() => Verdict::NoWorse,
            () => Verdict::Passed,
        }
    }

    /// The first probe that refuses the change.
    pub fn refusal(&self) -> Option<&Probe> {
        self.probes.iter().find(|p| p.fault.is_some() && !p.failed_before)
    }

    /// For the head of a version, in one line.
    pub fn line(&self) -> String {
        let names: Vec<&str> = self.probes.iter().map(|p| p.name.as_str()).collect();
        let verdict = self.verdict();
        match self.refusal().and_then(|p| p.fault.as_ref().map(|(text, finding)| (p, text, finding))) {
            Some((probe, text, finding)) => {
                format!("{}: {} [{}] {text}", verdict.name(), probe.name, finding.cause.code)
            }
            None => format!("{} in {} ms: {}", verdict.name(), self.millis, names.join(", ")),
        }
    }
}

pub type Rehearsing<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Implemented by the running server.
pub trait Rehearse: Send + Sync {
    /// Tries the candidate. Ends within [`BUDGET`]; disturbs nobody's session.
    fn rehearse<'a>(&'a self, candidate: &'a Candidate) -> Rehearsing<'a, Report>;

    /// Waits until the roles have taken over what was put in place; what could not be done comes back as texts.
    fn taken_over(&self, settings: Arc<Settings>) -> Rehearsing<'_, Vec<String>>;
}

/// Longest time of a rehearsal.
pub const BUDGET: std::time::Duration = std::time::Duration::from_secs(10);
