//! Checks for causes of the area `network`: what devices between servers do, ports, and who listens where.

use super::directory::{is_private, looks_internal};
use super::{Check, Hit};
use crate::case::Case;
use crate::fact::Fact;
use crate::words;
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::LazyLock;

pub const ALL: &[(&str, Check)] = &[
    ("ehlo_stripped", ehlo_stripped),
    ("ehlo_differs_by_place", ehlo_differs_by_place),
    ("ehlo_without_exps", ehlo_without_exps),
    ("custom_connector_covers_servers", custom_connector_covers_servers),
    ("many_hosts_time_out", many_hosts_time_out),
    ("tcp_25_fails", tcp_25_fails),
    ("connected_outside_meanwhile", connected_outside_meanwhile),
    ("hub_connector_on_port_25", hub_connector_on_port_25),
    ("hub_process_on_port_25", hub_process_on_port_25),
    ("front_end_lost_port_25", front_end_lost_port_25),
    ("sessions_end_at_the_same_age", sessions_end_at_the_same_age),
    ("keepalive_above_device_timeout", keepalive_above_device_timeout),
    ("sessions_to_one_hub", sessions_to_one_hub),
];

/// An answer to EHLO: the verbs that were offered.
struct Offer<'a> {
    verbs: BTreeSet<String>,
    server: String,
    first: &'a Fact,
}

/// The answers to EHLO of pasted conversations and protocol logs, by file and session.
fn offers(case: &Case) -> Vec<Offer<'_>> {
    let mut found: BTreeMap<(u32, String, usize), Offer<'_>> = BTreeMap::new();
    let mut round: BTreeMap<u32, usize> = BTreeMap::new();
    let lines = case.of("conversation").chain(case.of("smtp-send")).chain(case.of("smtp-receive"));
    for fact in lines {
        let data = fact.get("data").unwrap_or(&fact.text);
        let data = data.trim().trim_start_matches(['<', '>', '"']).trim();
        if data.get(..3) == Some("220") {
            *round.entry(fact.at.file).or_default() += 1;
            continue;
        }
        let Some(rest) = data.strip_prefix("250-").or_else(|| data.strip_prefix("250 ")) else { continue };
        let session = fact.get("session").unwrap_or_default().to_owned();
        let turn = if session.is_empty() { round.get(&fact.at.file).copied().unwrap_or_default() } else { 0 };
        let offer = found.entry((fact.at.file, session, turn)).or_insert_with(|| Offer {
            verbs: BTreeSet::new(),
            server: String::new(),
            first: fact,
        });
        let mut words = rest.split_whitespace();
        let verb = words.next().unwrap_or_default().to_ascii_uppercase();
        // The first line is the greeting, and "250 2.1.0 …" answers something else.
        if words.next().is_some_and(|w| w.eq_ignore_ascii_case("hello")) {
            offer.server = verb;
        } else if verb.starts_with(|c: char| c.is_ascii_alphabetic()) {
            offer.verbs.extend(rest.split_whitespace().take(40).map(str::to_ascii_uppercase));
        }
    }
    found.into_values().filter(|o| o.verbs.len() >= 2).collect()
}

const GUARDED: [&str; 4] = ["STARTTLS", "AUTH", "X-EXPS", "X-ANONYMOUSTLS"];

fn ehlo_stripped(case: &Case) -> Vec<Hit> {
    let bare = offers(case).into_iter().filter(|o| !GUARDED.iter().any(|verb| o.verbs.contains(*verb)));
    bare.map(|o| Hit::of("EHLO offers neither STARTTLS nor AUTH nor X-EXPS", &[o.first])).collect()
}

/// The same server offers more to one asker than to another.
fn ehlo_differs_by_place(case: &Case) -> Vec<Hit> {
    let offers = offers(case);
    let mut hits = Vec::new();
    for less in offers.iter().filter(|o| !o.server.is_empty()) {
        let hidden = |more: &&Offer<'_>| {
            more.server == less.server
                && GUARDED.iter().filter(|v| more.verbs.contains(**v) && !less.verbs.contains(**v)).count()
                    >= 2
        };
        if let Some(more) = offers.iter().find(hidden) {
            hits.push(Hit::of(
                format!("{} offers more to one asker than to the other", less.server),
                &[less.first, more.first],
            ));
        }
    }
    hits
}

fn ehlo_without_exps(case: &Case) -> Vec<Hit> {
    let without = offers(case)
        .into_iter()
        .filter(|o| !o.verbs.contains("X-EXPS") && !o.verbs.contains("X-ANONYMOUSTLS"));
    without.map(|o| Hit::of("EHLO does not offer X-EXPS", &[o.first])).collect()
}

/// A connector without ExchangeServer authentication whose ranges cover other servers.
fn custom_connector_covers_servers(case: &Case) -> Vec<Hit> {
    let wide = |ranges: &str| {
        words::items(ranges).any(|range| {
            let narrow = range.split_once('/').is_none_or(|(_, bits)| {
                bits.trim().parse::<u8>().is_ok_and(|b| b > 24 && !range.contains(':'))
            });
            let span = range.split_once('-').is_some_and(|(a, b)| a.trim() != b.trim() && a.contains('.'));
            span || !narrow
        })
    };
    case.objects("ReceiveConnector")
        .filter(|f| f.get("authmechanism").is_some_and(|a| !words::contains(a, "ExchangeServer")))
        .filter(|f| f.get("remoteipranges").is_some_and(wide))
        .filter(|f| f.get("bindings").is_none_or(|b| has_port(b, "25") || has_port(b, "2525")))
        .map(|f| {
            let name = f.get("identity").or(f.get("name")).unwrap_or("A connector");
            Hit::of(
                format!(
                    "{name} covers {} and lacks ExchangeServer authentication",
                    f.get("remoteipranges").unwrap_or_default()
                ),
                &[f],
            )
        })
        .collect()
}

fn has_port(bindings: &str, port: &str) -> bool {
    words::items(bindings).any(|binding| binding.rsplit_once(':').is_some_and(|(_, p)| p.trim() == port))
}

const TIMED_OUT: [&str; 8] =
    ["10060", "0000274C", "TimedOut", "timed out", "4.4.1 ", "WSAETIMEDOUT", "4.4.316", "4.4.315"];
const NOT_A_TIMEOUT: [&str; 5] =
    ["UnknownCredentials", "NoCredentials", "TLS negotiation", "DNS query", "5.7.3"];

/// Connections to several hosts outside time out.
fn many_hosts_time_out(case: &Case) -> Vec<Hit> {
    let mut hosts: BTreeMap<String, &Fact> = BTreeMap::new();
    for fact in case.all().filter(|f| {
        matches!(&*f.kind, "object" | "connectivity" | "smtp-send" | "tracking" | "event" | "text")
    }) {
        if !TIMED_OUT.iter().any(|p| fact.mentions(p)) || NOT_A_TIMEOUT.iter().any(|p| fact.mentions(p)) {
            continue;
        }
        let kind = fact.get("deliverytype").unwrap_or_default();
        if ["SmtpDelivery", "SmtpRelay", "Mapi", "Shadow"].iter().any(|k| words::contains(kind, k)) {
            continue;
        }
        let named = ["nexthopdomain", "destination", "remote", "host"]
            .iter()
            .find_map(|n| fact.get(n))
            .map(str::to_owned);
        let Some(host) = named.or_else(|| address_with_port_25(&fact.text)) else { continue };
        let host = host.trim_end_matches(":25").to_ascii_lowercase();
        if host.contains('.') && !looks_internal(&host) && !host.contains("internalproxy") {
            hosts.entry(host).or_insert(fact);
        }
    }
    if hosts.len() < 2 {
        return Vec::new();
    }
    let names: Vec<&str> = hosts.keys().map(String::as_str).take(5).collect();
    let facts: Vec<&Fact> = hosts.values().copied().take(5).collect();
    vec![Hit::of(format!("No connection to {} hosts outside: {}", hosts.len(), names.join(", ")), &facts)]
}

static PORT_25: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\b(\d{1,3}(?:\.\d{1,3}){3}):25\b").ok());

fn address_with_port_25(text: &str) -> Option<String> {
    PORT_25.as_ref()?.captures(text)?.get(1).map(|m| m.as_str().to_owned())
}

static CONNECTED_TO: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)established connection to \[?([0-9a-f.:]+)").ok());

/// Another host outside was reached while connections failed: the network lets mail through.
fn connected_outside_meanwhile(case: &Case) -> Vec<Hit> {
    let failed = |f: &&Fact| f.mentions("TimedOut") || f.mentions("10060") || f.mentions("0000274C");
    let Some(first) = case.of("connectivity").filter(failed).filter_map(|f| f.time).min() else {
        return Vec::new();
    };
    let outside = |f: &&Fact| {
        let address = CONNECTED_TO.as_ref().and_then(|r| r.captures(&f.text)).and_then(|c| c.get(1));
        let ip = address.and_then(|m| m.as_str().trim_end_matches('.').parse::<IpAddr>().ok());
        ip.is_some_and(|ip| !is_private(ip)) && f.time.is_some_and(|t| t >= first)
    };
    let reached = case.of("connectivity").find(outside);
    reached.map(|f| Hit::of("Another host outside was reached meanwhile", &[f])).into_iter().collect()
}

/// A test of port 25 of a host outside that got no connection.
fn tcp_25_fails(case: &Case) -> Vec<Hit> {
    let mut hits = Vec::new();
    for fact in case.of("port").chain(case.of("object")).chain(case.of("error")) {
        let port = fact.get("port").or(fact.get("remoteport")).unwrap_or_default();
        let tested = fact.get("tcptestsucceeded").map(|t| t.eq_ignore_ascii_case("false"));
        let error = fact.get("error").or(fact.get("state")).unwrap_or_default().to_ascii_lowercase();
        let failed = tested.unwrap_or_else(|| {
            [
                "fail",
                "timed",
                "timeout",
                "10060",
                "could not open",
                "unreachable",
                "filtered",
                "syn_sent",
                "no answer",
            ]
            .iter()
            .any(|w| error.contains(w))
        });
        let host =
            ["remoteaddress", "host", "computername"].iter().find_map(|n| fact.get(n)).unwrap_or_default();
        let outside = host.parse::<IpAddr>().map_or_else(|_| !looks_internal(host), |ip| !is_private(ip));
        if port == "25" && failed && outside && !host.is_empty() {
            hits.push(Hit::of(format!("Port 25 of {host} cannot be reached"), &[fact]));
        }
    }
    hits
}

fn hub_connector_on_port_25(case: &Case) -> Vec<Hit> {
    case.of("object")
        .filter(|f| f.is("transportrole", "HubTransport") && !f.is("enabled", "False"))
        .filter(|f| f.get("bindings").is_some_and(|b| has_port(b, "25")))
        .map(|f| {
            let name = f.get("identity").or(f.get("name")).unwrap_or("A receive connector");
            Hit::of(format!("{name} has port 25 and the role HubTransport"), &[f])
        })
        .collect()
}

static LISTENS_25: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i):25\s.*(listen|abh|écoute)|\b25\b.*listen.*edgetransport|edgetransport.*\b25\b").ok()
});

/// EdgeTransport.exe has port 25 on a server that has a front end transport service, whose port it is.
fn front_end_lost_port_25(case: &Case) -> Vec<Hit> {
    let held = hub_process_on_port_25(case);
    let front_end = case.all().any(|f| f.mentions("FrontEndTransport"));
    if front_end { held } else { Vec::new() }
}

/// EdgeTransport.exe, the hub transport service, listens on port 25.
fn hub_process_on_port_25(case: &Case) -> Vec<Hit> {
    let listens = |f: &&Fact| {
        let port = f.get("localport").or(f.get("port")) == Some("25")
            && f.get("state").is_none_or(|s| words::contains(s, "listen"));
        f.mentions("EdgeTransport") && (port || LISTENS_25.as_ref().is_some_and(|r| r.is_match(&f.text)))
    };
    let facts = case.of("port").chain(case.of("object")).chain(case.of("text"));
    facts.filter(listens).map(|f| Hit::of("EdgeTransport.exe listens on port 25", &[f])).collect()
}

const AGES: [&str; 6] =
    ["duration", "sessionlength", "sessionage", "sessionduration", "timetaken", "elapsed"];

/// Sessions that broke off did so at the same age, beyond what chance gives.
fn sessions_end_at_the_same_age(case: &Case) -> Vec<Hit> {
    let broken = |f: &&Fact| {
        ["SocketError", "10053", "10054", "aborted", "reset", "forcibly closed", "disconnect", "dropped"]
            .iter()
            .any(|p| f.mentions(p))
    };
    let mut ages: Vec<(f64, &Fact)> =
        case.all().filter(broken).filter_map(|f| Some((AGES.iter().find_map(|n| f.number(n))?, f))).collect();
    ages.sort_by(|a, b| a.0.total_cmp(&b.0));
    let Some((middle, _)) = ages.get(ages.len() / 2).copied() else { return Vec::new() };
    let near: Vec<&Fact> =
        ages.iter().filter(|(age, _)| (age - middle).abs() <= middle * 0.03).map(|(_, f)| *f).collect();
    if near.len() < 4 || near.len() * 4 < ages.len() * 3 || middle < 60.0 {
        return Vec::new();
    }
    vec![Hit::of(
        format!("{} of {} broken sessions ended at the same age, {middle}", near.len(), ages.len()),
        &near,
    )]
}

static DEVICE_TIMEOUT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let what = r"timeout conn|idle[ -]?time[ -]?out|session[ -]?(?:ttl|time[ -]?out)|tcp[ -]?(?:idle[ -]?)?time[ -]?out|timeout (?:client|server)|leerlaufzeit\w*|délai d.inactivité";
    Regex::new(&format!(r#"(?i)(?:{what})[^0-9\n]{{0,40}}(\d+:\d+:\d+|\d+)\s*(ms|milli|sec|s\b|min|m\b|h\b|hour|stund|heure)?"#)).ok()
});

/// The idle timeout of a device, in seconds, where the text tells.
fn device_timeout(text: &str) -> Option<f64> {
    let found = DEVICE_TIMEOUT.as_ref()?.captures(text)?;
    let value = words::number(found.get(1)?.as_str())?;
    if found.get(1)?.as_str().contains(':') {
        return Some(value);
    }
    let unit = found.get(2).map_or("s", |m| m.as_str()).to_ascii_lowercase();
    Some(match unit.as_str() {
        "ms" | "milli" => value / 1000.0,
        "min" | "m" => value * 60.0,
        "h" | "hour" | "stund" | "heure" => value * 3600.0,
        _ => value,
    })
}

/// Keep-alives come later than the device's patience ends.
fn keepalive_above_device_timeout(case: &Case) -> Vec<Hit> {
    let value =
        |f: &&Fact| f.is("name", "KeepAliveTime") || f.fields.iter().any(|(n, _)| n == "keepalivetime");
    let millis =
        |f: &Fact| f.number("number").or_else(|| f.number("data")).or_else(|| f.number("keepalivetime"));
    let devices: Vec<(f64, &Fact)> = case
        .all()
        .filter(|f| matches!(&*f.kind, "text" | "object"))
        .filter_map(|f| device_timeout(&f.text).map(|t| (t, f)))
        .filter(|(t, _)| *t >= 10.0)
        .collect();
    let mut hits = Vec::new();
    for fact in case.all().filter(value) {
        let Some(keep_alive) = millis(fact).map(|m| m / 1000.0) else { continue };
        // 0 stands for what Windows does without the value: two hours.
        let keep_alive = if keep_alive == 0.0 { 7200.0 } else { keep_alive };
        for (timeout, device) in devices.iter().filter(|(t, _)| *t < keep_alive) {
            hits.push(Hit::of(
                format!(
                    "Keep-alive after {keep_alive} s, but the device drops idle sessions after {timeout} s"
                ),
                &[fact, device],
            ));
        }
    }
    hits
}

static PROXIED_TO: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)(?:proxy\w*|forward\w*|destination)[^\n]{0,120}?\b([a-z][a-z0-9-]*(?:\.[a-z0-9-]+)+)(?:\[|:465|:2525|,|;|\s|$)").ok()
});

/// Client sessions are proxied to one hub nearly always, though there are others.
fn sessions_to_one_hub(case: &Case) -> Vec<Hit> {
    let mut hubs: BTreeMap<String, (u64, &Fact)> = BTreeMap::new();
    for fact in case.all().filter(|f| matches!(&*f.kind, "smtp-receive" | "smtp-send" | "connectivity")) {
        let client = fact.mentions("client proxy")
            || fact.mentions("Proxy session was successfully set up")
            || fact.mentions("will now be proxied");
        if !client {
            continue;
        }
        let target = PROXIED_TO
            .as_ref()
            .and_then(|r| r.captures(&fact.text))
            .and_then(|c| c.get(1))
            .map(|m| m.as_str().to_ascii_lowercase());
        let Some(target) = target.or_else(|| fact.get("destination").map(str::to_ascii_lowercase)) else {
            continue;
        };
        let entry = hubs.entry(target).or_insert((0, fact));
        entry.0 += u64::from(fact.count);
    }
    let all: u64 = hubs.values().map(|(n, _)| n).sum();
    match hubs.iter().max_by_key(|(_, (n, _))| *n) {
        Some((hub, (n, fact))) if all >= 8 && hubs.len() > 1 && n * 10 >= all * 8 => {
            vec![Hit::of(format!("{n} of {all} client sessions are proxied to {hub}"), &[fact])]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Place;
    use waypost_base::Timestamp;

    fn case(facts: Vec<Fact>) -> Case {
        let mut case = Case::new(Timestamp(0));
        case.file_named("a");
        for fact in facts {
            case.add(fact);
        }
        case
    }

    fn fact(kind: &'static str) -> Fact {
        Fact::new(kind, Place { file: 0, line: 1 })
    }

    fn ehlo(lines: &[&str]) -> Vec<Fact> {
        lines.iter().map(|l| fact("conversation").with("side", "s").with("data", l).text(l)).collect()
    }

    #[test]
    fn what_ehlo_offers() {
        let bare =
            case(ehlo(&["220 ****", "250-mail.example.net Hello [192.0.2.1]", "250-SIZE 1", "250 8BITMIME"]));
        assert_eq!((ehlo_stripped(&bare).len(), ehlo_without_exps(&bare).len()), (1, 1));
        let full = case(ehlo(&[
            "220 x",
            "250-mail.example.net Hello [192.0.2.1]",
            "250-STARTTLS",
            "250 X-EXPS GSSAPI",
        ]));
        assert!(ehlo_stripped(&full).is_empty() && ehlo_without_exps(&full).is_empty());
    }

    #[test]
    fn who_has_port_25() {
        let of = |role: &str, bindings: &str| {
            case(vec![
                fact("object")
                    .with("type", "ReceiveConnector")
                    .with("TransportRole", role)
                    .with("Bindings", bindings),
            ])
        };
        assert_eq!(hub_connector_on_port_25(&of("HubTransport", "{[::]:25, 0.0.0.0:25}")).len(), 1);
        assert!(hub_connector_on_port_25(&of("HubTransport", "{0.0.0.0:2525}")).is_empty());
        assert!(hub_connector_on_port_25(&of("FrontendTransport", "{0.0.0.0:25}")).is_empty());
    }

    #[test]
    fn timeouts_of_devices() {
        assert_eq!(device_timeout("timeout conn 0:05:00 half-closed 0:10:00"), Some(300.0));
        assert_eq!(device_timeout("TCP idle timeout: 15 min"), Some(900.0));
        assert_eq!(device_timeout("session-ttl 300"), Some(300.0));
        assert_eq!(device_timeout("nothing"), None);
        let facts = vec![
            fact("registry").with("name", "KeepAliveTime").with("number", "7200000"),
            fact("text").text("idle timeout 300"),
        ];
        assert_eq!(keepalive_above_device_timeout(&case(facts)).len(), 1);
    }

    #[test]
    fn several_hosts_outside() {
        let queue = |hop: &str| {
            fact("object")
                .with("type", "Queue")
                .with("NextHopDomain", hop)
                .with("LastError", "421 4.4.1 Connection timed out")
        };
        assert_eq!(many_hosts_time_out(&case(vec![queue("a.example"), queue("b.example")])).len(), 1);
        assert!(many_hosts_time_out(&case(vec![queue("a.example"), queue("ex2.corp.example")])).is_empty());
    }
}
