//! A mail server judged from outside: from what was seen ([`seen`]) to findings, each with its evidence and remedy.
//!
//! This half has no socket and no clock. A fault is named only where what was seen shows it; what could not be looked at is
//! said. Findings of the same cause at several doors of one host are one finding.

pub mod causes;
mod certificate;
mod dane;
mod discover;
mod doors;
pub mod names;
mod promises;
pub mod seen;
pub mod spf;
mod words;

pub use causes::OutsideCause;
pub use seen::Seen;
pub use words::{covers, is_inside, is_link_local};

use crate::report::{self, Report};
use std::collections::BTreeMap;

/// Findings that a report names; a domain with more faults has the surest of them told.
const FINDINGS_MAX: usize = 50;
/// Facts under one finding.
const EVIDENCE_MAX: usize = 20;

/// A cause that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub cause: &'static OutsideCause,
    /// From 0 to 1.
    pub confidence: f64,
    /// Which hop: `client → mail.example.org:993`.
    pub leg: String,
    pub server: String,
    pub evidence: Vec<Fact>,
    /// What follows, for this server.
    pub conclusion: String,
    /// Commands for this case, before those that the cause always has.
    pub remedy: Vec<String>,
    /// Other causes that would look the same, each with the test that tells them apart.
    pub rivals: Vec<(&'static str, String)>,
    /// What was not looked at and would make it surer.
    pub untested: Vec<String>,
}

/// Something that was seen, and where: a door, or a question to name servers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fact {
    pub at: String,
    pub text: String,
}

impl Fact {
    fn new(at: impl Into<String>, text: impl Into<String>) -> Fact {
        Fact { at: at.into(), text: text.into() }
    }
}

impl Found {
    fn new(cause: &'static OutsideCause, confidence: f64, leg: impl Into<String>, server: &str) -> Found {
        Found {
            cause,
            confidence,
            leg: leg.into(),
            server: server.to_owned(),
            evidence: Vec::new(),
            conclusion: String::new(),
            remedy: Vec::new(),
            rivals: Vec::new(),
            untested: Vec::new(),
        }
    }

    fn seen(mut self, at: impl Into<String>, text: impl Into<String>) -> Found {
        self.evidence.push(Fact::new(at, text));
        self
    }

    fn so(mut self, conclusion: impl Into<String>) -> Found {
        self.conclusion = conclusion.into();
        self
    }

    fn remedy(mut self, step: impl Into<String>) -> Found {
        self.remedy.push(step.into());
        self
    }

    fn rival(mut self, code: &'static str, test: impl Into<String>) -> Found {
        self.rivals.push((code, test.into()));
        self
    }

    fn untested(mut self, what: impl Into<String>) -> Found {
        self.untested.push(what.into());
        self
    }
}

/// Everything that follows from what was seen, the surest first.
pub fn judge(seen: &Seen) -> Vec<Found> {
    let mut all = Vec::new();
    names::judge(seen, &mut all);
    doors::judge(seen, &mut all);
    promises::judge(seen, &mut all);
    dane::judge(seen, &mut all);
    discover::judge(seen, &mut all);
    let mut folded: BTreeMap<(&'static str, String), Found> = BTreeMap::new();
    for found in all {
        let key = (found.cause.code, found.server.clone());
        match folded.remove(&key) {
            None => folded.insert(key, found),
            Some(before) => folded.insert(key, join(before, found)),
        };
    }
    let mut all: Vec<Found> = folded.into_values().collect();
    // At equal confidence what keeps everything else from working comes first.
    let rank = |f: &Found| causes::ALL.iter().position(|c| *c == f.cause).unwrap_or(usize::MAX);
    all.sort_by(|a, b| b.confidence.total_cmp(&a.confidence).then_with(|| rank(a).cmp(&rank(b))));
    all.truncate(FINDINGS_MAX);
    for found in &mut all {
        found.evidence.dedup();
        found.evidence.truncate(EVIDENCE_MAX);
        found.remedy.extend(found.cause.remedy.iter().map(|r| (*r).to_owned()));
        let mut known = std::collections::BTreeSet::new();
        found.remedy.retain(|step| known.insert(step.clone()));
    }
    all
}

/// The report of a look from outside: what was spoken to, what was not, and what follows. Each door is a line of `read`,
/// with its steps and their times.
pub fn report(seen: &Seen) -> Report {
    let mut out = Report::default();
    for lookup in &seen.lookups {
        out.read.push(report::Read {
            file: format!("DNS {} {}", lookup.name, lookup.kind),
            kind: format!("DNS {} {}: {}", lookup.name, lookup.kind, names::told(lookup)),
            count: lookup.records().len() as u64,
            server: None,
        });
    }
    for fetch in &seen.fetches {
        let (kind, count) = match &fetch.outcome {
            Ok(page) => (format!("{}: status {}, {} ms", fetch.url, page.status, fetch.micros / 1000), 1),
            Err(why) => (format!("{}: {why}", fetch.url), 0),
        };
        out.read.push(report::Read { file: fetch.url.clone(), kind, count, server: None });
    }
    out.read.extend(discover::told(seen));
    for door in &seen.doors {
        let steps = door.steps.iter().map(doors::step).collect::<Vec<_>>().join(", ");
        let kind = format!("{} at {}: {steps}", door.speaks.name(), door.place());
        let (file, count) = (door.place(), door.steps.len() as u64);
        out.read.push(report::Read { file, kind, count, server: Some(door.host.clone()) });
    }
    for text in &seen.left_out {
        out.unread.push(report::Unread { file: seen.asked.clone(), reason: text.clone() });
    }
    for reason in dane::unchecked(seen) {
        out.unread.push(report::Unread { file: seen.asked.clone(), reason });
    }
    out.findings = judge(seen).into_iter().map(|found| told(found, seen)).collect();
    out
}

fn told(found: Found, seen: &Seen) -> report::Finding {
    let evidence = found.evidence.into_iter().map(|fact| report::Evidence {
        file: fact.at,
        time: Some(seen.now),
        fact: fact.text,
        ..report::Evidence::default()
    });
    let rivals = found.rivals.into_iter().map(|(code, test)| report::Confused {
        cause: code.to_owned(),
        title: causes::find(code).map_or(code, |c| c.title).to_owned(),
        confidence: 0.3,
        test,
    });
    report::Finding {
        cause: found.cause.code.to_owned(),
        catalogue: String::new(),
        title: found.cause.title.to_owned(),
        confidence: found.confidence,
        leg: found.leg,
        server: Some(found.server),
        evidence: evidence.collect(),
        conclusion: format!("{} {}", found.conclusion, found.cause.meaning),
        remedy: found.remedy,
        rivals: rivals.collect(),
        untested: found.untested,
        reference: found.cause.reference.to_owned(),
    }
}

/// The same cause at another door of the same host.
fn join(mut a: Found, b: Found) -> Found {
    if b.confidence > a.confidence {
        a.confidence = b.confidence;
        a.conclusion.clone_from(&b.conclusion);
        a.leg.clone_from(&b.leg);
    }
    a.evidence.extend(b.evidence);
    a.remedy.extend(b.remedy);
    a.rivals.extend(b.rivals.into_iter().filter(|r| !a.rivals.contains(r)).collect::<Vec<_>>());
    a.untested.extend(b.untested.into_iter().filter(|u| !a.untested.contains(u)).collect::<Vec<_>>());
    a
}

#[cfg(test)]
mod tests;
