//! Checks that speak against causes whose marks are old: what was broken then has gone well for hours since. They stay
//! silent where anything undated tells of the fault, since that may be of today.

use super::certificates::warned_names_are_covered;
use super::{Check, Hit};
use crate::case::Case;
use crate::fact::Fact;
use crate::words;
use regex::Regex;
use std::sync::LazyLock;
use waypost_base::Timestamp;

pub const ALL: &[(&str, Check)] = &[
    ("mail_flows_since_inactive", mail_flows_since_inactive),
    ("mail_flows_since_scan_engine_failed", mail_flows_since_scan_engine_failed),
    ("starttls_came_back", starttls_came_back),
    ("warned_names_are_covered", warned_names_are_covered),
    ("most_recipients_are_known", most_recipients_are_known),
];

/// How long after its last mark a fault has to be gone: mail that was held back is retried meanwhile.
const QUIET_MILLIS: i64 = 6 * 3_600_000;
/// The same for one connector's TLS, which nothing retries.
const SETTLED_MILLIS: i64 = 3_600_000;
/// Messages that make a flow.
const FLOW: u64 = 5;
/// Messages that were taken for each recipient that was refused, from which the refused are the usual strays.
const TAKEN_FOR_ONE: u64 = 5;

/// The last of these facts; none where one of them has no time, or where there are none.
fn last<'a>(bad: &[&'a Fact]) -> Option<(&'a Fact, Timestamp)> {
    if bad.iter().any(|fact| fact.time.is_none()) {
        return None;
    }
    let dated = bad.iter().filter_map(|fact| Some((*fact, fact.last()?)));
    dated.max_by_key(|(_, time)| *time)
}

/// Mail was handed on for hours after the last of these facts, by the servers that they are of.
fn mail_flows_since(case: &Case, bad: &[&Fact]) -> Vec<Hit> {
    let Some((fact, time)) = last(bad) else { return Vec::new() };
    let alone = case.servers().len() <= 1;
    let quiet = time.plus_millis(QUIET_MILLIS);
    let flows = |fact: &&Fact| match fact.server.as_deref() {
        _ if alone => case.flow.since(None, quiet) >= FLOW,
        Some(server) => case.flow.since(Some(server), quiet) >= FLOW,
        None => false,
    };
    if !bad.iter().all(flows) {
        return Vec::new();
    }
    vec![Hit::of(format!("Mail has been handed on again for hours since the last mark of {time}"), &[fact])]
}

fn mail_flows_since_inactive(case: &Case) -> Vec<Hit> {
    let state = |f: &&Fact| {
        f.kind == "object"
            && f.is("state", "Inactive")
            && f.get("component").is_some_and(|c| words::contains(c, "Transport"))
    };
    if case.all().any(|f| state(&f)) {
        return Vec::new();
    }
    let bad: Vec<&Fact> = case
        .all()
        .filter(|f| f.mentions("Service not active") || f.kind == "event" && f.is("id", "7009"))
        .collect();
    mail_flows_since(case, &bad)
}

fn mail_flows_since_scan_engine_failed(case: &Case) -> Vec<Hit> {
    let engine = |f: &&Fact| {
        f.kind == "event"
            && matches!(f.get("id"), Some("5300" | "1106"))
            && f.get("source").is_some_and(|s| words::contains(s, "FIP"))
    };
    let told =
        |f: &&Fact| ["convert", "Scan Engine failed", "Scan Process failed"].iter().any(|w| f.mentions(w));
    let bad: Vec<&Fact> = case.all().filter(|f| engine(f) || told(f)).collect();
    mail_flows_since(case, &bad)
}

static CONNECTOR: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)(?:for the connector|for connector|connector:?) (?P<name>[^\r\n]{1,120}?) (?:with|mit|avec|con)\b").ok()
});

/// Event 12014 names a connector on which TLS came about later.
fn starttls_came_back(case: &Case) -> Vec<Hit> {
    let Some(connector) = CONNECTOR.as_ref() else { return Vec::new() };
    let told: Vec<&Fact> = case
        .all()
        .filter(|f| {
            f.kind == "event" && f.is("id", "12014")
                || f.mentions("certificate that contains the domain name")
        })
        .collect();
    let came_back = |fact: &&Fact| {
        let message = fact.get("message").unwrap_or(&fact.text);
        let name = connector.captures(message)?.name("name")?.as_str();
        let seen = case.flow.encrypted_last(fact.server.as_deref()?, name)?;
        (seen > last(&[*fact])?.1.plus_millis(SETTLED_MILLIS)).then_some(seen)
    };
    let again: Vec<Timestamp> = told.iter().filter_map(came_back).collect();
    match (again.len() == told.len(), again.iter().max(), told.first()) {
        (true, Some(time), Some(fact)) => {
            vec![Hit::of(format!("TLS came about on this connector again, last at {time}"), &[fact])]
        }
        _ => Vec::new(),
    }
}

/// The refused recipients are few beside the mail that was taken, and nobody says that they exist.
fn most_recipients_are_known(case: &Case) -> Vec<Hit> {
    let sync = |f: &&Fact| f.get("syncstatus").is_some_and(|s| !s.eq_ignore_ascii_case("Normal"));
    let said = |f: &&Fact| {
        matches!(&*f.kind, "text" | "ndr")
            && ["EdgeSync", "exist", "RecipientNotFound", "5.1.10"].iter().any(|w| f.mentions(w))
            || f.kind == "event" && f.get("source").is_some_and(|s| words::contains(s, "EdgeSync"))
    };
    if case.all().any(|f| sync(&f) || said(&f)) {
        return Vec::new();
    }
    let refused: Vec<&Fact> =
        case.of("smtp-receive").filter(|f| f.mentions("5.1.10") || f.mentions("RecipientNotFound")).collect();
    let count: u64 = refused.iter().map(|f| u64::from(f.count)).sum();
    let taken = case.flow.since(None, Timestamp(0));
    if count == 0 || taken < count.saturating_mul(TAKEN_FOR_ONE) {
        return Vec::new();
    }
    vec![Hit::of(
        format!("{count} recipients were refused while {taken} messages were taken"),
        refused.get(..1).unwrap_or(&[]),
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Place;

    #[test]
    fn only_what_is_over_is_over() {
        let at = |hour: i64| Timestamp(hour * 3_600_000);
        let line =
            |time| Fact::new("connectivity", Place::default()).text("Retry : Service not active").time(time);
        let mut case = Case::new(at(100));
        case.add(line(Some(at(1))));
        assert!(mail_flows_since_inactive(&case).is_empty());
        for _ in 0..FLOW {
            case.flow.handed_on(None, at(20));
        }
        assert_eq!(mail_flows_since_inactive(&case).len(), 1);
        case.add(line(Some(at(18))));
        assert!(mail_flows_since_inactive(&case).is_empty());
    }
}
