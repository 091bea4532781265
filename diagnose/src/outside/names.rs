//! What name servers said about hosts: names that lead nowhere, records that name them, addresses without a name.

use super::causes;
use super::seen::{Answer, Host, Kind, NamedBy, Proof, Seen, Speaks};
use super::words::{is_full_name, is_inside};
use super::{Found, Seen as All};

pub fn judge(seen: &Seen, out: &mut Vec<Found>) {
    trouble(seen, out);
    for host in &seen.hosts {
        if let Some(found) = nowhere(seen, host) {
            out.push(found);
        }
    }
    mx(seen, out);
    reverse(seen, out);
    greetings(seen, out);
}

/// How the two questions about a host's addresses ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leads {
    Somewhere,
    Nowhere,
    NotKnown,
}

pub fn leads(seen: &All, host: &str) -> Leads {
    if host.parse::<std::net::IpAddr>().is_ok() {
        return Leads::Somewhere;
    }
    let answers = ["A", "AAAA"].map(|kind| seen.lookup(host, kind).map(|l| &l.answer));
    if answers.iter().flatten().any(|a| matches!(a, Answer::Records(r) if !r.is_empty())) {
        return Leads::Somewhere;
    }
    let none = |a: &&Answer| matches!(a, Answer::NoName | Answer::NoRecord);
    let sure = answers.iter().flatten().count() == 2 && answers.iter().flatten().all(none);
    let no_name = answers.iter().flatten().any(|a| **a == Answer::NoName);
    if sure || no_name { Leads::Nowhere } else { Leads::NotKnown }
}

fn said(answer: &Answer) -> String {
    match answer {
        Answer::Records(records) => records.join(", "),
        Answer::NoName => "the name does not exist (NXDOMAIN)".into(),
        Answer::NoRecord => "there is no such record".into(),
        Answer::Timeout => "no answer in time".into(),
        Answer::Failed(why) => why.clone(),
    }
}

/// An answer in a line, with the time that it took.
pub fn told(lookup: &super::seen::Lookup) -> String {
    let secure = match &lookup.dnssec {
        Some(dnssec) => match dnssec.proof {
            Proof::Secure => format!(", DNSSEC: {}", dnssec.why),
            Proof::Insecure => format!(", no DNSSEC: {}", dnssec.why),
            Proof::Bogus => format!(", DNSSEC is broken: {}", dnssec.why),
            Proof::Indeterminate => ", DNSSEC could not be checked".into(),
        },
        None => String::new(),
    };
    format!("{} ({:.1} ms{secure})", said(&lookup.answer), lookup.micros as f64 / 1000.0)
}

fn nowhere(seen: &Seen, host: &Host) -> Option<Found> {
    if leads(seen, &host.name) != Leads::Nowhere {
        return None;
    }
    let (cause, confidence, text) = match &host.by {
        NamedBy::Asked => (
            &causes::NO_ADDRESS,
            0.97,
            format!("{} leads nowhere: clients that use this name find no server.", host.name),
        ),
        NamedBy::Mx => {
            (&causes::MX_BROKEN, 0.95, format!("The MX record names {}, which leads nowhere.", host.name))
        }
        NamedBy::Srv(record) => {
            (&causes::SRV_BROKEN, 0.95, format!("{record} names {}, which leads nowhere.", host.name))
        }
        NamedBy::Autoconfig(url) => {
            (&causes::AUTOCONFIG, 0.9, format!("{url} names {}, which leads nowhere.", host.name))
        }
        // Judged with the greeting, and with the address.
        NamedBy::Greeting | NamedBy::Reverse(_) => return None,
    };
    let mut found = Found::new(cause, confidence, "name → address", &host.name).so(text);
    for kind in ["A", "AAAA"] {
        if let Some(lookup) = seen.lookup(&host.name, kind) {
            found = found.seen(format!("DNS {} {kind}", host.name), said(&lookup.answer));
        }
    }
    Some(found)
}

/// Name servers that did not answer, told once.
fn trouble(seen: &Seen, out: &mut Vec<Found>) {
    let bad = |a: &Answer| matches!(a, Answer::Timeout | Answer::Failed(_));
    // Where DNSSEC is broken, name servers that check refuse to answer: that is told as what it is.
    let zones: Vec<&str> =
        seen.lookups.iter().filter_map(|l| l.broken()).map(|d| d.zone.trim_end_matches('.')).collect();
    let below = |name: &str| {
        let end = |zone: &&&str| {
            name.strip_suffix(**zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        zones.iter().any(|zone| end(&zone))
    };
    let mut failing = seen.lookups.iter().filter(|l| bad(&l.answer) && !below(&l.name)).peekable();
    if failing.peek().is_none() {
        return;
    }
    let all = seen.lookups.iter().all(|l| bad(&l.answer));
    let mut found =
        Found::new(&causes::DNS_FAILS, if all { 0.6 } else { 0.85 }, "name → address", &seen.asked);
    let mut what = Vec::new();
    for lookup in failing {
        found = found.seen(format!("DNS {} {}", lookup.name, lookup.kind), said(&lookup.answer));
        what.push(format!("{} {}", lookup.name, lookup.kind));
    }
    what.truncate(4);
    found = found.so(format!(
        "Name servers have no answer about {}. It is not known what they would say.",
        what.join(", ")
    ));
    if all {
        found = found.untested("No question was answered at all: it may be this machine's name server. Repeat with --dns ADDRESS of another one.");
    }
    out.push(found);
}

/// `10 mail.example.org` → host.
pub fn mx_host(record: &str) -> Option<&str> {
    record.split_whitespace().nth(1).map(|host| host.trim_end_matches('.'))
}

fn mx(seen: &Seen, out: &mut Vec<Found>) {
    if seen.domain.is_empty() {
        return;
    }
    let at = format!("DNS {} MX", seen.domain);
    let records = seen.records(&seen.domain, "MX");
    let hosts: Vec<&str> = records.iter().filter_map(|r| mx_host(r)).collect();
    if !hosts.is_empty() && hosts.iter().all(|h| h.is_empty()) && matches!(seen.kind, Kind::Mail | Kind::Smtp)
    {
        let found = Found::new(&causes::NULL_MX, 0.9, "sender → domain", &seen.domain)
            .seen(at, records.join(", "))
            .so(format!("{} says that it takes no mail.", seen.domain));
        out.push(found);
        return;
    }
    for host in hosts.into_iter().filter(|h| !h.is_empty()) {
        if host.parse::<std::net::IpAddr>().is_ok() {
            let found = Found::new(&causes::MX_BROKEN, 0.95, "sender → domain", host)
                .seen(at.clone(), format!("names the address {host}"))
                .so(format!(
                    "The MX record of {} has an address where a host's name has to be.",
                    seen.domain
                ));
            out.push(found);
        } else if let Some(alias) = seen.lookup(host, "CNAME").filter(|l| !l.records().is_empty()) {
            let found = Found::new(&causes::MX_BROKEN, 0.7, "sender → domain", host)
                .seen(format!("DNS {host} CNAME"), alias.records().join(", "))
                .so(format!(
                    "The MX record of {} names {host}, which is an alias; some senders refuse that.",
                    seen.domain
                ));
            out.push(found);
        }
    }
}

/// Addresses of MX hosts without a name of their own.
fn reverse(seen: &Seen, out: &mut Vec<Found>) {
    let doors = seen.doors.iter().filter(|d| d.speaks == Speaks::Smtp && d.refused.is_none());
    let mut known = std::collections::BTreeSet::new();
    for door in doors {
        let Some(address) = door.address.filter(|a| !is_inside(*a)) else { continue };
        if !known.insert(address) {
            continue;
        }
        let text = address.to_string();
        let Some(lookup) = seen.lookup(&text, "PTR") else { continue };
        let at = format!("DNS {text} PTR");
        let found = Found::new(&causes::REVERSE, 0.6, "server → others", &door.host)
            .untested("Whether this server also sends from this address was not looked at.");
        let names = lookup.records();
        let back = |name: &String| {
            let name = name.trim_end_matches('.');
            ["A", "AAAA"].iter().any(|k| seen.records(name, k).contains(&text))
        };
        let not_known = |name: &String| leads(seen, name.trim_end_matches('.')) == Leads::NotKnown;
        match &lookup.answer {
            Answer::NoName | Answer::NoRecord => {
                out.push(found.seen(at, said(&lookup.answer)).so(format!("{text} has no name of its own.")));
            }
            Answer::Records(_) if !names.iter().any(back) && !names.iter().any(not_known) => {
                let text =
                    format!("{text} is called {}, and that name does not lead back to it.", names.join(", "));
                out.push(found.seen(at, names.join(", ")).so(text));
            }
            _ => {}
        }
    }
}

/// The name in the greeting of an SMTP server.
pub fn greeted_as(greeting: &[String]) -> Option<&str> {
    let first = greeting.first()?;
    let rest = first.strip_prefix("220 ").or_else(|| first.strip_prefix("220-"))?;
    rest.split_whitespace().next()
}

fn greetings(seen: &Seen, out: &mut Vec<Found>) {
    for door in seen.doors.iter().filter(|d| d.speaks == Speaks::Smtp) {
        let outside = door.address.is_some_and(|a| !is_inside(a));
        let Some(name) = greeted_as(&door.greeting).filter(|_| outside) else { continue };
        let found = Found::new(&causes::GREETING_NAME, 0.7, format!("sender → {}", door.place()), &door.host)
            .seen(door.place(), format!("greets with {:?}", super::words::said(&door.greeting)));
        if !is_full_name(name) {
            out.push(found.so(format!("{name:?} is no full name of a host.")));
        } else if leads(seen, name) == Leads::Nowhere {
            out.push(found.so(format!("{name} does not exist in the DNS.")));
        }
    }
}
