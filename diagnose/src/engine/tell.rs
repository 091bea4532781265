//! Evidence in words, and the time line.

use super::index::{Matched, fill};
use crate::case::Case;
use crate::checks::Hit;
use crate::report::{Evidence, Finding, Moment};
use crate::rule::{CheckUse, Sign};

/// Moments of a time line.
const MOMENTS_MAX: usize = 40;

pub(super) fn evidence(case: &Case, sign: &Sign, matched: &Matched<'_>, count: u64) -> Evidence {
    let (file, line) = super::place(case, matched.at);
    let mut fact = fill(&sign.fact, sign, matched.fact, count);
    if count > 1 && !sign.fact.contains("{count}") {
        fact.push_str(&format!(" ({count} times)"));
    }
    Evidence {
        file,
        line,
        time: matched.time(),
        server: matched.fact.server.as_deref().map(str::to_owned),
        end: sign.end.clone(),
        against: sign.contrary,
        fact,
    }
}

pub(super) fn hit(case: &Case, used: &CheckUse, hit: Hit) -> Evidence {
    let (file, line) = hit.at.first().map(|at| super::place(case, *at)).unwrap_or_default();
    Evidence {
        file,
        line,
        time: hit.time,
        server: hit.server.as_deref().map(str::to_owned),
        end: used.end.clone(),
        against: used.contrary,
        fact: hit.fact,
    }
}

/// What happened when: the evidence of all findings, and who changed what around it.
pub(super) fn timeline(case: &Case, findings: &[Finding]) -> Vec<Moment> {
    let mut moments: Vec<Moment> = Vec::new();
    for finding in findings {
        for piece in &finding.evidence {
            let Some(time) = piece.time else { continue };
            let moment = Moment {
                time,
                server: piece.server.clone(),
                what: piece.fact.clone(),
                cause: Some(finding.cause.clone()),
                file: piece.file.clone(),
                line: piece.line,
            };
            if !moments.iter().any(|m| m.time == moment.time && m.what == moment.what) {
                moments.push(moment);
            }
        }
    }
    for change in case.objects("AdminAuditLog") {
        let Some(time) = change.time else { continue };
        let get = |name: &str| change.get(name).unwrap_or_default();
        let (file, line) = super::place(case, change.at);
        let what = format!("{} ran {} {}", get("caller"), get("cmdletname"), get("cmdletparameters"));
        let server = change.server.as_deref().map(str::to_owned);
        moments.push(Moment { time, server, what: what.trim().to_owned(), cause: None, file, line });
    }
    moments.sort_by(|a, b| a.time.cmp(&b.time).then_with(|| a.what.cmp(&b.what)));
    moments.truncate(MOMENTS_MAX);
    moments
}
