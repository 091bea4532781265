//! Checks that speak against causes of all areas: what frightens at first sight passes, or is what every server sees.

use super::directory::{is_private, looks_internal};
use super::{Check, Hit};
use crate::case::Case;
use crate::fact::Fact;
use crate::words;
use regex::Regex;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::LazyLock;

pub const ALL: &[(&str, Check)] = &[
    ("other_domains_are_served", other_domains_are_served),
    ("certificate_renewed_since", certificate_renewed_since),
    ("only_strangers_meet_limits", only_strangers_meet_limits),
    ("stalled_moves_went_on", stalled_moves_went_on),
];

/// Messages that wait for one domain which nobody reads: mistyped addresses, hosts that are gone.
const FEW: f64 = 3.0;
/// Domains that are served beside them, from which the server's own way out is in order.
const SERVED: usize = 2;
/// Sessions of strangers that were turned away, which say nothing yet.
const TURNED_AWAY: u64 = 5;

const FAILED: [&str; 11] = [
    "DNS query failed",
    "ErrorRetry",
    "ServerFailure",
    "DNS server returned",
    "DNS query for",
    "InfoNoRecords",
    "TimedOut",
    "timed out",
    "10060",
    "0000274C",
    "4.4.1 ",
];

/// The domain outside that a queue or a connection is for.
fn domain_outside(fact: &Fact) -> Option<String> {
    let kind = fact.get("deliverytype").or(fact.get("nexthopcategory")).unwrap_or_default();
    if ["SmtpDelivery", "SmtpRelay", "Mapi", "Shadow", "Internal"].iter().any(|k| words::contains(kind, k)) {
        return None;
    }
    let domain = fact.get("nexthopdomain").or_else(|| fact.get("destination"))?.to_ascii_lowercase();
    (domain.contains('.') && !looks_internal(&domain)).then_some(domain)
}

/// Mail for a few domains waits, a message or three each, while other domains are served: those have nobody to take it.
fn other_domains_are_served(case: &Case) -> Vec<Hit> {
    let complaint =
        |f: &Fact| f.kind != "object" && f.kind != "connectivity" && FAILED.iter().any(|w| f.mentions(w));
    // Somebody who looks into it, or complains of it, has a reason to.
    let looked_into = case.of("dns").chain(case.of("port")).any(|f| f.get("error").is_some());
    if looked_into || case.of("text").chain(case.of("ndr")).chain(case.of("event")).any(complaint) {
        return Vec::new();
    }
    let (mut failed, mut served) = (BTreeMap::new(), BTreeMap::new());
    for fact in case.of("object").chain(case.of("connectivity")) {
        let Some(domain) = domain_outside(fact) else { continue };
        let told = fact.get("description").or_else(|| fact.get("lasterror")).unwrap_or_default();
        let waiting = fact.number("messagecount").or_else(|| queue_length(told));
        if FAILED.iter().any(|word| words::contains(told, word)) || fact.is("status", "Retry") {
            failed.insert(domain, fact);
        } else if sent(fact, told) {
            served.insert(domain, fact);
            continue;
        }
        if waiting.is_some_and(|n| n > FEW) {
            return Vec::new();
        }
    }
    served.retain(|domain, _| !failed.contains_key(domain));
    if failed.is_empty() || served.len() < SERVED || failed.len() > 2 * served.len() {
        return Vec::new();
    }
    let names: Vec<&str> = served.keys().map(String::as_str).take(3).collect();
    let facts: Vec<&Fact> = served.values().copied().take(3).collect();
    vec![Hit::of(format!("Other domains are served meanwhile: {}", names.join(", ")), &facts)]
}

fn queue_length(description: &str) -> Option<f64> {
    words::number(description.split_once("QueueLength=")?.1)
}

/// A queue that moves or is empty without an error, or a connection over which mail went.
fn sent(fact: &Fact, told: &str) -> bool {
    let queue = fact.get("messagecount").is_some() && told.is_empty();
    let moves = ["Active", "Ready", "Connecting"].iter().any(|s| fact.is("status", s));
    let messages = told.strip_prefix("Messages: ").and_then(words::number);
    queue && moves || messages.is_some_and(|n| n > 0.0)
}

static RENEWED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)enable-exchangecertificate\b.*\bsmtp|certificate\b.{0,120}\benabled for (the )?services?\b.{0,60}\bsmtp|\bsmtp\b.{0,80}\benable-exchangecertificate").ok()
});

/// After the last warning that the certificate for STARTTLS runs out, another one took its place.
fn certificate_renewed_since(case: &Case) -> Vec<Hit> {
    let warns = |f: &&Fact| matches!(f.get("id"), Some("12016" | "12018"));
    let Some(last) = case.of("event").filter(warns).map(|f| f.time).max().flatten() else {
        return Vec::new();
    };
    let Some(renewed) = RENEWED.as_ref() else { return Vec::new() };
    let later = |f: &&Fact| f.time.is_some_and(|t| t > last);
    let says = |f: &&Fact| {
        let message = f.get("message").unwrap_or(&f.text);
        renewed.is_match(message) && !words::contains(message, "fail")
    };
    let found = case.of("event").filter(later).find(says);
    found
        .map(|f| Hit::of("A certificate was enabled for SMTP after the last warning", &[f]))
        .into_iter()
        .collect()
}

static ADDRESS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\b\d{1,3}(?:\.\d{1,3}){3}\b").ok());

/// What met the limits of a connector came from addresses outside, a few times: scanners and senders of rubbish do.
fn only_strangers_meet_limits(case: &Case) -> Vec<Hit> {
    const LIMITS: [&str; 4] = [
        "maximum number of con",
        "concurrent connections",
        "connections per source",
        "submission rate for this client",
    ];
    let Some(address) = ADDRESS.as_ref() else { return Vec::new() };
    let met: Vec<&Fact> = case
        .of("event")
        .chain(case.of("smtp-receive"))
        .filter(|f| LIMITS.iter().any(|word| f.mentions(word)))
        .collect();
    let strange = |f: &&Fact| {
        let told = f
            .get("remoteendpoint")
            .or_else(|| f.get("remote"))
            .or_else(|| f.get("message"))
            .unwrap_or(&f.text);
        let all: Vec<IpAddr> = address.find_iter(told).filter_map(|m| m.as_str().parse().ok()).collect();
        !all.is_empty() && all.iter().all(|ip| !is_private(*ip))
    };
    let often: u64 = met.iter().map(|f| u64::from(f.count)).sum();
    if met.is_empty() || often >= TURNED_AWAY || !met.iter().all(strange) {
        return Vec::new();
    }
    vec![Hit::of("Only strangers met the limit, a few times", &met)]
}

/// Moves that stood still at one look had gone on at the next.
fn stalled_moves_went_on(case: &Case) -> Vec<Hit> {
    let moves: Vec<&Fact> = case.of("object").filter(|f| f.get("statusdetail").is_some()).collect();
    let name = |f: &Fact| f.get("displayname").or_else(|| f.get("identity")).map(str::to_owned);
    let stalled = |f: &&&Fact| f.get("statusdetail").is_some_and(|s| words::contains(s, "Stalled"));
    let mut hits = Vec::new();
    for still in moves.iter().filter(stalled) {
        let later = |f: &&&Fact| {
            f.at.file == still.at.file && f.at.line > still.at.line && name(f) == name(still) && !stalled(f)
        };
        // What stands still at the last look is what counts.
        let Some(on) = moves.iter().find(later) else { return Vec::new() };
        hits.push(Hit::of("The move had gone on at the next look", &[still, on]));
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Place;
    use waypost_base::Timestamp;

    fn queue(domain: &str, status: &str, count: &str, error: &str) -> Fact {
        Fact::new("object", Place::default())
            .with("deliverytype", "DnsConnectorDelivery")
            .with("nexthopdomain", domain)
            .with("status", status)
            .with("messagecount", count)
            .with("lasterror", error)
    }

    fn case(facts: Vec<Fact>) -> Case {
        let mut case = Case::new(Timestamp(0));
        facts.into_iter().for_each(|fact| case.add(fact));
        case
    }

    #[test]
    fn a_dead_domain_among_living_ones() {
        let living = || [queue("a.example", "Active", "2", ""), queue("b.example", "Ready", "0", "")];
        let dead = queue("gmial.example", "Retry", "1", "451 4.4.0 DNS query failed");
        let with = |more: Fact| case(living().into_iter().chain([more]).collect());
        assert_eq!(other_domains_are_served(&with(dead.clone())).len(), 1);
        assert!(other_domains_are_served(&case(vec![dead])).is_empty(), "nothing else is served");
        let many = queue("partner.example", "Retry", "12", "451 4.4.0 DNS query failed");
        assert!(other_domains_are_served(&with(many)).is_empty(), "mail that somebody reads");
        let told = Fact::new("text", Place::default()).text("we get 451 4.4.0 DNS query failed");
        let mut complaint = with(queue("gmial.example", "Retry", "1", "451 4.4.0 DNS query failed"));
        complaint.add(told);
        assert!(other_domains_are_served(&complaint).is_empty(), "somebody complains");
    }

    #[test]
    fn limits_for_strangers() {
        let event = |ip: &str| {
            Fact::new("event", Place::default()).with(
                "message",
                format!("rejected a connection from {ip}. The maximum number of connections per source"),
            )
        };
        assert_eq!(only_strangers_meet_limits(&case(vec![event("193.32.162.14")])).len(), 1);
        assert!(
            only_strangers_meet_limits(&case(vec![event("193.32.162.14"), event("10.1.2.3")])).is_empty()
        );
    }

    #[test]
    fn a_move_that_goes_on() {
        let at = |line, detail: &str| {
            Fact::new("object", Place { file: 0, line })
                .with("displayname", "Ott")
                .with("statusdetail", detail)
        };
        let on = case(vec![at(3, "StalledDueToTarget_DiskLatency"), at(9, "CopyingMessages")]);
        assert_eq!(stalled_moves_went_on(&on).len(), 1);
        let still = case(vec![at(3, "CopyingMessages"), at(9, "StalledDueToTarget_DiskLatency")]);
        assert!(stalled_moves_went_on(&still).is_empty());
    }
}
