//! Which failures are one fault.
//!
//! Each failure has suspects: what its finding says is at fault, else the parts of its way that its cause can be about, less
//! those that something else has gone through well since. A definite cause makes a group of the failures that tell of it
//! and share a suspect; groups whose part rests on the part of another group are its consequences; a failure that only
//! says that something does not work goes with a group whose part is on its way. What is left is explained by as few
//! parts as do. So one broken disk, server or certificate is one fault, and two faults that share nothing stay two.

use crate::alert::{Member, Severity};
use crate::cause::{self, About};
use crate::probe::{ProbeResult, Subject};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// A monitor that is not well.
#[derive(Clone, Debug)]
pub struct Failure {
    pub member: Member,
    /// The try that tells most; it has a finding.
    pub result: ProbeResult,
    pub severity: Severity,
    /// When it began, on the keeper's clock that only goes forward.
    pub since: u64,
}

/// What went well, and when last.
#[derive(Clone, Debug, Default)]
pub struct Well {
    parts: BTreeMap<Subject, u64>,
    /// Servers that do not report.
    silent: BTreeSet<String>,
}

impl Well {
    /// Something went this way, and it was well.
    pub fn went(&mut self, path: &[Subject], at: u64) {
        for subject in path {
            match self.parts.get_mut(subject) {
                Some(last) => *last = at.max(*last),
                None => drop(self.parts.insert(subject.clone(), at)),
            }
        }
    }

    /// What went well went well through everything below, too. To be called when all is told.
    pub fn settle(&mut self) {
        for (subject, at) in std::mem::take(&mut self.parts) {
            // Whoever opens a leg does not pass by his own door: others may look for it at a wrong address.
            let own = match &subject {
                Subject::Leg { from, to } if from != to => Some(Subject::Inner(from.clone())),
                _ => None,
            };
            for part in subject.closure().into_iter().filter(|part| Some(part) != own.as_ref()) {
                let last = self.parts.entry(part).or_default();
                *last = at.max(*last);
            }
        }
    }

    /// A server was heard of: its process runs.
    pub fn heard(&mut self, server: &str, at: u64) {
        let last = self.parts.entry(Subject::Server(server.to_owned())).or_default();
        *last = at.max(*last);
    }

    pub fn silent(&mut self, server: &str) {
        self.silent.insert(server.to_owned());
    }

    fn since(&self, subject: &Subject, at: u64) -> bool {
        self.parts.get(subject).is_some_and(|last| *last > at)
    }
}

/// One fault: what is at fault, which failure tells of it, and all that it explains.
#[derive(Clone, Debug)]
pub struct Group {
    pub subject: Subject,
    /// All parts that would explain it as well; the subject is the first.
    pub parts: Vec<Subject>,
    /// No other part would.
    pub sure: bool,
    pub root: Failure,
    /// The root too.
    pub members: Vec<Failure>,
}

impl Group {
    pub fn code(&self) -> &'static str {
        code(&self.root.result)
    }

    pub fn rank(&self) -> u8 {
        cause::rank(self.code())
    }

    pub fn severity(&self) -> Severity {
        self.members.iter().map(|f| f.severity).max().unwrap_or(Severity::Warning)
    }
}

fn code(result: &ProbeResult) -> &'static str {
    result.finding.as_ref().map_or("", |f| f.cause.code)
}

/// A failure with what is derived of it.
struct Case {
    failure: Failure,
    code: &'static str,
    rank: u8,
    way: BTreeSet<Subject>,
    suspects: BTreeSet<Subject>,
}

impl Case {
    fn of(failure: Failure, well: &Well) -> Case {
        let result = &failure.result;
        let code = code(result);
        let mut way: BTreeSet<Subject> = result.subject.iter().flat_map(Subject::closure).collect();
        way.insert(Subject::Server(failure.member.server.clone()));
        let suspects = match (&result.culprit, result.subject.as_slice()) {
            (Some(culprit), _) => {
                way.extend(culprit.closure());
                BTreeSet::from([culprit.clone()])
            }
            (None, [only]) if !matches!(only, Subject::Leg { .. }) => BTreeSet::from([only.clone()]),
            _ => suspects(code, &way, failure.since, well),
        };
        Case { code, rank: cause::rank(code), way, suspects, failure }
    }

    fn is_definite(&self) -> bool {
        self.rank >= 2
    }

    /// It is about one part, and says so.
    fn is_direct(&self) -> bool {
        self.failure.result.culprit.is_some() || self.failure.result.subject.len() == 1
    }

    /// Whether what this says can come of that part.
    fn can_be(&self, part: &Subject) -> bool {
        let kinds = cause::about(self.code);
        let about = |s: &Subject| kinds.iter().any(|kind| is_of(s, *kind));
        kinds.is_empty() || self.way.iter().any(|s| about(s) && s.closure().contains(part))
    }
}

fn suspects(code: &str, way: &BTreeSet<Subject>, since: u64, well: &Well) -> BTreeSet<Subject> {
    let kinds = cause::about(code);
    let mut fitting: BTreeSet<Subject> =
        way.iter().filter(|s| kinds.is_empty() || kinds.iter().any(|k| is_of(s, *k))).cloned().collect();
    if fitting.is_empty() {
        fitting.clone_from(way);
    }
    let left: BTreeSet<Subject> = fitting.iter().filter(|s| !well.since(s, since)).cloned().collect();
    if left.is_empty() { fitting } else { left }
}

fn is_of(subject: &Subject, kind: About) -> bool {
    match kind {
        About::Listener => matches!(subject, Subject::Listener { .. }),
        About::Leg => matches!(subject, Subject::Leg { .. } | Subject::Inner(_)),
        About::Certificate => matches!(subject, Subject::Certificate(_)),
        About::Kerberos => matches!(subject, Subject::Kerberos(_)),
        About::Peer => matches!(subject, Subject::Peer(_)),
        About::Filter => matches!(subject, Subject::Filter(_)),
        About::Queue => matches!(subject, Subject::Queue(_)),
        About::Directory => matches!(subject, Subject::Directory(_)),
        About::Store => matches!(subject, Subject::Store(_)),
        About::Dns => matches!(subject, Subject::Dns(_)),
        About::Clock => matches!(subject, Subject::Clock(_)),
        About::Memory => matches!(subject, Subject::Memory(_)),
        About::Disk => matches!(subject, Subject::Disk(_)),
        About::Server => matches!(subject, Subject::Server(_)),
    }
}

/// A group while it grows.
struct Growing {
    /// Parts that would explain it equally well; the first is the one that is named.
    parts: Vec<Subject>,
    /// Those that tell of it.
    cases: Vec<Case>,
    /// Those that are its consequences.
    under: Vec<Case>,
}

impl Growing {
    fn severity(&self) -> Severity {
        self.cases.iter().map(|c| c.failure.severity).max().unwrap_or(Severity::Warning)
    }

    fn rank(&self) -> u8 {
        self.cases.iter().map(|c| c.rank).max().unwrap_or(0)
    }

    /// The part that is named.
    fn subject(&self) -> &Subject {
        self.parts.first().expect("a group has a part that explains it")
    }

    /// Those of the parts that would be behind that failure, too; none: this fault does not explain it.
    fn behind(&self, case: &Case) -> Vec<Subject> {
        // What only works badly is not why something else does not work at all.
        if self.severity() < case.failure.severity {
            return Vec::new();
        }
        let higher = self.rank() > case.rank;
        let fits = |part: &&Subject| {
            if !case.is_definite() {
                return higher && case.way.contains(*part) && (case.can_be(part) || self.is_proved());
            }
            let below = || case.suspects.iter().any(|s| s != *part && s.closure().contains(*part));
            let clock = || {
                let Subject::Clock(server) = part else { return false };
                cause::is_about_time(case.code) && case.way.iter().any(|s| s.server() == Some(server))
            };
            (higher && case.suspects.contains(*part)) || below() || clock()
        };
        self.parts.iter().filter(fits).cloned().collect()
    }

    /// A probe of this part alone says so.
    fn is_proved(&self) -> bool {
        self.parts.len() == 1 && self.cases.iter().any(Case::is_direct)
    }

    fn explains(&self, case: &Case) -> bool {
        !self.behind(case).is_empty()
    }

    /// Takes a consequence in, which may tell which of the parts it is.
    fn take(&mut self, case: Case) {
        let left = self.behind(&case);
        if !left.is_empty() {
            self.parts = left;
        }
        self.under.push(case);
    }

    /// The parts that this and another group have in common.
    fn common(&self, other: &Growing) -> Vec<Subject> {
        self.parts.iter().filter(|part| other.parts.contains(part)).cloned().collect()
    }

    fn finish(self) -> Group {
        let (subject, sure) = (self.subject().clone(), self.parts.len() == 1);
        let Growing { parts, mut cases, under } = self;
        // The first tells of it: the most definite, then what is about this part alone, then the earliest.
        cases.sort_by_key(|c| {
            let order = (Reverse(c.rank), Reverse(c.failure.severity), !c.is_direct());
            (order, c.failure.since, c.failure.member.clone())
        });
        let members: Vec<Failure> = cases.into_iter().chain(under).map(|c| c.failure).collect();
        let root = members.first().cloned();
        Group { subject, sure, parts, root: root.expect("a group is made of at least one failure"), members }
    }
}

/// Groups failures by fault. The order does not depend on the order of the failures.
pub fn fold(failures: Vec<Failure>, well: &Well) -> Vec<Group> {
    let cases = failures.into_iter().filter(|f| f.result.finding.is_some()).map(|f| Case::of(f, well));
    let (definite, vague): (Vec<Case>, Vec<Case>) = cases.partition(Case::is_definite);
    let mut groups = consequences(definite_groups(definite, well));
    let mut rest = Vec::new();
    for case in vague {
        let behind = groups.iter_mut().filter(|g| g.explains(&case));
        match behind.max_by(|a, b| (a.rank(), a.subject()).cmp(&(b.rank(), b.subject()))) {
            Some(group) => group.take(case),
            None => rest.push(case),
        }
    }
    groups.extend(cover(rest, well));
    let mut groups: Vec<Group> = groups.into_iter().map(Growing::finish).collect();
    groups.sort_by(|a, b| a.root.member.cmp(&b.root.member));
    groups
}

/// Of each cause its groups; groups of several causes about the same part are one.
fn definite_groups(cases: Vec<Case>, well: &Well) -> Vec<Growing> {
    let mut by_code: BTreeMap<&str, Vec<Case>> = BTreeMap::new();
    for case in cases {
        by_code.entry(case.code).or_default().push(case);
    }
    let mut groups: Vec<Growing> = Vec::new();
    for group in by_code.into_values().flat_map(|cases| cover(cases, well)) {
        let same = |g: &&mut Growing| !g.common(&group).is_empty() && g.severity() == group.severity();
        match groups.iter_mut().find(same) {
            Some(same) => {
                same.parts = same.common(&group);
                same.cases.extend(group.cases);
            }
            None => groups.push(group),
        }
    }
    groups
}

/// Puts groups under those that explain all of them.
fn consequences(mut groups: Vec<Growing>) -> Vec<Growing> {
    // Each step takes one group away, so it ends; the deepest part is looked at first, so that chains end at their root.
    loop {
        let mut found = None;
        for (at, group) in groups.iter().enumerate() {
            let behind = groups.iter().enumerate().filter(|(other, g)| {
                *other != at
                    && group.cases.iter().all(|c| g.explains(c))
                    && !(mutual(g, group) && *other > at)
            });
            if let Some((root, _)) = behind.max_by(|a, b| (a.1.subject(), a.0).cmp(&(b.1.subject(), b.0))) {
                found = Some((at, root));
                break;
            }
        }
        let Some((at, root)) = found else { return groups };
        let Growing { cases, under, .. } = groups.remove(at);
        let root = if root > at { root - 1 } else { root };
        if let Some(root) = groups.get_mut(root) {
            for case in cases.into_iter().chain(under) {
                root.take(case);
            }
        }
    }
}

/// Two that explain each other: the first stays.
fn mutual(a: &Growing, b: &Growing) -> bool {
    b.cases.iter().all(|c| a.explains(c)) && a.cases.iter().all(|c| b.explains(c))
}

/// As few parts as explain all of it, the one that explains most first.
fn cover(mut cases: Vec<Case>, well: &Well) -> Vec<Growing> {
    let mut groups = Vec::new();
    while !cases.is_empty() {
        let mut counts: BTreeMap<&Subject, usize> = BTreeMap::new();
        for subject in cases.iter().flat_map(|c| c.suspects.iter()) {
            *counts.entry(subject).or_default() += 1;
        }
        let most = counts.values().copied().max().unwrap_or(0);
        let best: Vec<&Subject> = counts.iter().filter(|(_, n)| **n == most).map(|(s, _)| *s).collect();
        let silent = |s: &&&Subject| matches!(s, Subject::Server(id) if well.silent.contains(id));
        let Some(subject) = best.iter().find(silent).or(best.first()).map(|s| (*s).clone()) else { break };
        let mut parts: Vec<Subject> = best.into_iter().cloned().collect();
        let (members, rest): (Vec<Case>, Vec<Case>) =
            cases.into_iter().partition(|c| c.suspects.contains(&subject));
        // Others may explain as many, but not the same ones.
        parts.retain(|part| members.iter().all(|c| c.suspects.contains(part)));
        parts.sort_by_key(|part| *part != subject);
        groups.push(Growing { parts, cases: members, under: Vec::new() });
        cases = rest;
    }
    groups
}
