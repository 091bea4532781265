//! The engine: rules against facts. What is found is named with its evidence; what fits as well is shown beside it; what
//! would settle the rest is asked for.
//!
//! Confidence is earned by signs that are there, each of which alone would make so sure; evidence against takes away; a
//! rule whose required signs are not all there stays a suspicion.

mod index;
mod tell;

use crate::case::Case;
use crate::checks;
use crate::fact::{Fact, Place};
use crate::report::{Confused, Evidence, Finding, Needed, Noise, Report};
use crate::rule::{Need, Rule};
use index::{Index, Matched};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use waypost_base::Timestamp;

/// A suspicion that lacks required signs stays below this.
const SUSPECTED_MAX: f64 = 0.45;
/// From here on something is asked for that would settle it.
const SUSPECTED: f64 = 0.2;
/// From here on a rival is told of.
const RIVAL: f64 = 0.3;
/// What is only the consequence of something else that was found.
const CONSEQUENCE: f64 = 0.6;
/// Pieces of evidence that are told for one finding.
const EVIDENCE_MAX: usize = 14;
/// Pieces of evidence that are told for one sign.
const EACH_MAX: usize = 3;
/// From here on other suspicions are not asked after, and from here on nothing is.
const SURE: f64 = 0.8;
const CERTAIN: f64 = 0.9;
/// Findings of a report.
const FINDINGS_MAX: usize = 24;

/// How a rule stands against the facts.
struct Stand<'a> {
    rule: &'a Rule,
    confidence: f64,
    /// Whether all required signs are there.
    whole: bool,
    evidence: Vec<(f64, Evidence)>,
    server: Option<Arc<str>>,
    signs: usize,
}

/// Weighs all rules against a case.
pub fn judge(case: &Case, rules: &[Rule]) -> Report {
    let index = Index::new(case, rules);
    let mut benign = BTreeSet::new();
    let mut noise = Vec::new();
    for rule in rules.iter().filter(|rule| rule.noise) {
        if let Some(seen) = index.noise(case, rule, &mut benign) {
            noise.push(seen);
        }
    }
    let mut stands: Vec<Stand<'_>> =
        rules.iter().filter(|rule| !rule.noise).map(|rule| stand(case, &index, &benign, rule)).collect();
    yield_to_others(&mut stands);
    stands.retain(|stand| stand.confidence >= SUSPECTED);
    stands.sort_by(|a, b| {
        let by = |s: &Stand<'_>| (s.whole && s.confidence >= s.rule.threshold, s.confidence, s.signs);
        by(b)
            .partial_cmp(&by(a))
            .unwrap_or(std::cmp::Ordering::Equal)
            .then_with(|| a.rule.code.cmp(&b.rule.code))
    });
    let named: Vec<&Stand<'_>> =
        stands.iter().filter(|s| s.whole && s.confidence >= s.rule.threshold).take(FINDINGS_MAX).collect();
    let mut findings: Vec<Finding> = named.iter().map(|s| finding(case, s, &stands)).collect();
    // Rivals of what is named that fit nearly as well are shown, though they would not be named alone.
    let codes: BTreeSet<&str> = named.iter().map(|s| s.rule.code.as_str()).collect();
    let fits_nearly = |s: &&Stand<'_>| {
        s.confidence >= RIVAL
            && !codes.contains(s.rule.code.as_str())
            && named.iter().any(|n| rival_test(n.rule, &s.rule.code).is_some())
    };
    let rivals: Vec<Finding> = stands.iter().filter(fits_nearly).map(|s| finding(case, s, &stands)).collect();
    findings.extend(rivals);
    findings.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let needed = needed(case, &stands);
    let timeline = tell::timeline(case, &findings);
    Report { findings, noise, needed, timeline, ..Report::default() }
}

fn stand<'a>(case: &Case, index: &Index, benign: &BTreeSet<u32>, rule: &'a Rule) -> Stand<'a> {
    let (mut doubt, mut against) = (1.0, 1.0);
    let mut present = BTreeSet::new();
    let mut evidence = Vec::new();
    let mut servers: BTreeMap<Arc<str>, f64> = BTreeMap::new();
    for sign in &rule.signs {
        let matched = index.matches(case, sign, benign);
        if matched.is_empty() || matched.iter().map(|m| u64::from(m.fact.count)).sum::<u64>() < sign.min {
            continue;
        }
        present.insert(sign.id.as_str());
        if sign.contrary {
            against *= 1.0 - sign.weight;
        } else {
            doubt *= 1.0 - sign.weight;
            for server in matched.iter().filter_map(|m| m.fact.server.clone()) {
                *servers.entry(server).or_default() += sign.weight;
            }
        }
        let (first, last) = (matched.first().map(|m| m.at), matched.last().map(|m| m.at));
        let told = matched.iter().filter(|m| Some(m.at) == first || Some(m.at) == last).take(EACH_MAX);
        let total = matched.iter().map(|m| u64::from(m.fact.count)).sum();
        evidence.extend(told.enumerate().map(|(n, m)| {
            let count = if n == 0 { total } else { 1 };
            (sign.weight, tell::evidence(case, sign, m, count))
        }));
    }
    for used in &rule.checks {
        let hits = checks::find(&used.name).map(|check| check(case)).unwrap_or_default();
        if hits.is_empty() {
            continue;
        }
        present.insert(used.name.as_str());
        if used.contrary {
            against *= 1.0 - used.weight;
        } else {
            doubt *= 1.0 - used.weight;
        }
        for hit in hits.into_iter().take(EACH_MAX) {
            if let Some(server) = hit.server.clone().filter(|_| !used.contrary) {
                *servers.entry(server).or_default() += used.weight;
            }
            evidence.push((used.weight, tell::hit(case, used, hit)));
        }
    }
    let whole = rule.requires.iter().all(|group| group.iter().any(|id| present.contains(id.as_str())));
    let mut confidence = (1.0 - doubt) * against;
    if !whole {
        confidence = confidence.min(SUSPECTED_MAX) * 0.9;
    }
    evidence.sort_by(|a, b| b.0.total_cmp(&a.0));
    let server = servers.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(server, _)| server);
    Stand { rule, confidence, whole, evidence, server, signs: present.len() }
}

/// What is the consequence of something that was found goes after it.
fn yield_to_others(stands: &mut [Stand<'_>]) {
    let found: BTreeMap<&str, f64> = stands
        .iter()
        .filter(|s| s.whole && s.confidence >= s.rule.threshold)
        .map(|s| (s.rule.code.as_str(), s.confidence))
        .collect();
    let mut lower = Vec::new();
    for (at, stand) in stands.iter().enumerate() {
        let over = stand.rule.yields_to.iter().filter_map(|code| found.get(code.as_str())).copied();
        if let Some(over) = over.fold(None, |most: Option<f64>, c| Some(most.map_or(c, |m| m.max(c)))) {
            lower.push((at, (stand.confidence * CONSEQUENCE).min(over - 0.05)));
        }
    }
    for (at, confidence) in lower {
        if let Some(stand) = stands.get_mut(at) {
            stand.confidence = confidence;
        }
    }
}

fn rival_test<'a>(rule: &'a Rule, code: &str) -> Option<&'a str> {
    rule.confused_with.iter().find(|rival| rival.code == code).map(|rival| rival.test.as_str())
}

fn finding(case: &Case, stand: &Stand<'_>, stands: &[Stand<'_>]) -> Finding {
    let rule = stand.rule;
    let rivals: Vec<Confused> = stands
        .iter()
        .filter(|other| other.rule.code != rule.code && other.confidence >= SUSPECTED)
        .filter_map(|other| {
            let test = rival_test(rule, &other.rule.code).or_else(|| rival_test(other.rule, &rule.code))?;
            Some(Confused {
                cause: other.rule.code.clone(),
                title: other.rule.title.clone(),
                confidence: round(other.confidence),
                test: test.to_owned(),
            })
        })
        .collect();
    let mut untested: Vec<String> = rivals.iter().map(|r| format!("{}: {}", r.cause, r.test)).collect();
    let missing = rule.needs.iter().filter(|need| !has(case, need));
    untested.extend(missing.map(|need| format!("{}: {}", need.what, need.how)));
    let mut evidence: Vec<Evidence> = Vec::new();
    for (_, piece) in &stand.evidence {
        if evidence.len() < EVIDENCE_MAX && !evidence.contains(piece) {
            evidence.push(piece.clone());
        }
    }
    Finding {
        cause: rule.code.clone(),
        catalogue: rule.catalogue.clone(),
        title: rule.title.clone(),
        confidence: round(stand.confidence),
        leg: rule.leg.clone(),
        server: stand.server.as_deref().map(str::to_owned),
        evidence,
        conclusion: rule.meaning.clone(),
        remedy: rule.remedy.iter().map(|step| with_server(step, stand.server.as_deref())).collect(),
        rivals,
        untested,
        reference: rule.reference.clone(),
    }
}

/// A step with the server's name where it has to be filled in.
fn with_server(step: &str, server: Option<&str>) -> String {
    server.map_or_else(|| step.to_owned(), |name| step.replace("<server>", name))
}

fn round(confidence: f64) -> f64 {
    (confidence.clamp(0.0, 0.99) * 100.0).round() / 100.0
}

fn has(case: &Case, need: &Need) -> bool {
    need.kinds.iter().any(|kind| case.of(kind).any(|fact| need.conditions.iter().all(|c| c.holds(fact))))
}

/// What would settle the suspicions, most wanted first.
fn needed(case: &Case, stands: &[Stand<'_>]) -> Vec<Needed> {
    let mut wanted: Vec<Needed> = Vec::new();
    // Beside something that is as good as sure only its rivals are worth a question.
    let sure: Vec<&Stand<'_>> =
        stands.iter().filter(|s| s.whole && s.confidence >= SURE.max(s.rule.threshold)).collect();
    let asked = |s: &&Stand<'_>| {
        let named = s.whole && s.confidence >= s.rule.threshold;
        let rival =
            |n: &&Stand<'_>| rival_test(n.rule, &s.rule.code).or(rival_test(s.rule, &n.rule.code)).is_some();
        s.confidence < CERTAIN && (sure.is_empty() || named || sure.iter().any(rival))
    };
    for stand in stands.iter().filter(asked) {
        for need in stand.rule.needs.iter().filter(|need| !has(case, need)) {
            match wanted.iter_mut().find(|w| w.what == need.what && w.how == need.how) {
                Some(known) => known.settles.push(stand.rule.code.clone()),
                None => wanted.push(Needed {
                    what: need.what.clone(),
                    server: need.server.clone(),
                    how: need.how.clone(),
                    settles: vec![stand.rule.code.clone()],
                }),
            }
        }
    }
    wanted.truncate(12);
    wanted
}

/// A place as reports have it.
fn place(case: &Case, at: Place) -> (String, u32) {
    (case.file(at.file).to_owned(), at.line)
}

/// The facts that a matched sign rests on.
impl Matched<'_> {
    fn time(&self) -> Option<Timestamp> {
        let fact: &Fact = self.fact;
        fact.time
    }
}

impl Index {
    /// What a noise rule matches, which is benign from here on.
    fn noise(&self, case: &Case, rule: &Rule, benign: &mut BTreeSet<u32>) -> Option<Noise> {
        let mut count = 0;
        let mut example = None;
        for sign in &rule.signs {
            for matched in self.matches(case, sign, &BTreeSet::new()) {
                count += u64::from(matched.fact.count);
                benign.insert(matched.index);
                example.get_or_insert(matched.at);
            }
        }
        let (file, line) = place(case, example?);
        Some(Noise {
            cause: rule.code.clone(),
            catalogue: rule.catalogue.clone(),
            title: rule.title.clone(),
            why: rule.meaning.clone(),
            count,
            file,
            line,
        })
    }
}
