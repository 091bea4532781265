//! Checks for causes of the area `directory`: DNS, network cards, domain controllers.

use super::{Check, Hit};
use crate::case::Case;
use crate::fact::Fact;
use crate::words;
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::LazyLock;
use waypost_base::Timestamp;

pub const ALL: &[(&str, Check)] = &[
    ("dns_query_failed_outside", dns_query_failed_outside),
    ("dns_query_failed_inside", dns_query_failed_inside),
    ("dns_aaaa_fails", dns_aaaa_fails),
    ("nic_registration_off", nic_registration_off),
    ("public_dns_on_nic", public_dns_on_nic),
    ("topology_sacl_zero", topology_sacl_zero),
    ("topology_no_usable_dc", topology_no_usable_dc),
    ("peaks_every_four_hours", peaks_every_four_hours),
    ("many_directory_sites", many_directory_sites),
    ("sid_on_two_objects", sid_on_two_objects),
];

/// An address that only a network of one's own has.
pub(super) fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => {
            let [first, ..] = v6.segments();
            // Unique local, link-local and the old site-local addresses, which Windows shows for unset DNS servers.
            v6.is_loopback()
                || v6.is_unspecified()
                || (first & 0xfe00) == 0xfc00
                || (first & 0xffc0) == 0xfe80
                || (first & 0xffc0) == 0xfec0
        }
    }
}

/// Addresses that stand in texts for real ones, and say nothing by themselves of who owns them.
fn is_example(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(v4) if v4.is_documentation())
        || matches!(ip, IpAddr::V6(v6) if v6.segments().starts_with(&[0x2001, 0xdb8]))
}

/// A host's name of the organisation itself, as far as its form tells.
pub(super) fn looks_internal(name: &str) -> bool {
    let name = name.trim().trim_end_matches('.').to_ascii_lowercase();
    if name.is_empty() {
        return false;
    }
    if let Ok(ip) = name.parse::<IpAddr>() {
        return is_private(ip);
    }
    !name.contains('.')
        || [".local", ".lan", ".internal", ".intern", ".intra", ".corp"].iter().any(|end| name.ends_with(end))
        || name.contains(".corp.")
        || name.contains(".ad.")
}

/// A failed DNS query, and whether the next hop is one of the organisation's own.
fn dns_failures(case: &Case) -> Vec<(&Fact, Option<bool>)> {
    let failed = |f: &&Fact| {
        (f.mentions("DNS query failed") || f.mentions("ErrorRetry")) && !f.mentions("NonExistentDomain")
    };
    case.all().filter(failed).map(|fact| (fact, next_hop_inside(fact))).collect()
}

fn next_hop_inside(fact: &Fact) -> Option<bool> {
    let kind =
        fact.get("deliverytype").or(fact.get("nexthopcategory")).unwrap_or_default().to_ascii_lowercase();
    if ["smtpdeliverytomailbox", "mapidelivery", "smtprelay", "internal", "shadow"]
        .iter()
        .any(|k| kind.contains(k))
    {
        return Some(true);
    }
    if ["dnsconnector", "smarthost", "external"].iter().any(|k| kind.contains(k)) {
        return Some(false);
    }
    let hop = ["nexthopdomain", "destination", "nexthop", "recipientaddress", "recipients"]
        .iter()
        .find_map(|n| fact.get(n))?;
    let hop = hop.rsplit('@').next().unwrap_or(hop);
    if hop.contains("internalproxy") || hop.contains("mailboxtransport") {
        return Some(true);
    }
    Some(looks_internal(hop))
}

fn dns_query_failed_outside(case: &Case) -> Vec<Hit> {
    let failures = dns_failures(case);
    let outside = failures.iter().filter(|(_, inside)| *inside == Some(false));
    outside
        .map(|(f, _)| Hit::of(format!("The next hop outside cannot be resolved: {}", hop_of(f)), &[f]))
        .collect()
}

fn dns_query_failed_inside(case: &Case) -> Vec<Hit> {
    let failures = dns_failures(case);
    let inside = failures.iter().filter(|(_, inside)| *inside == Some(true));
    inside
        .map(|(f, _)| {
            Hit::of(format!("A server of the organisation cannot be resolved: {}", hop_of(f)), &[f])
        })
        .collect()
}

fn hop_of(fact: &Fact) -> &str {
    ["nexthopdomain", "destination", "nexthop", "identity"]
        .iter()
        .find_map(|n| fact.get(n))
        .unwrap_or("the next hop")
}

/// A question for AAAA that failed, where the same name has an A record or nothing else is known.
fn dns_aaaa_fails(case: &Case) -> Vec<Hit> {
    let failed = |f: &&Fact| {
        let asked = f.get("type").is_some_and(|t| t.to_ascii_uppercase().contains("AAAA") || t == "28");
        let error = f.get("error").or(f.get("status")).unwrap_or_default().to_ascii_lowercase();
        asked
            && ["serv", "fail", "time", "refused", "notimp", "formerr", "no response", "unreachable"]
                .iter()
                .any(|e| error.contains(e))
    };
    case.of("dns")
        .filter(failed)
        .map(|f| {
            Hit::of(
                format!(
                    "AAAA of {}: {}",
                    f.get("name").unwrap_or("the name"),
                    f.get("error").unwrap_or("no answer")
                ),
                &[f],
            )
        })
        .collect()
}

/// A card that clients and other servers do not use: its name tells.
fn beside_the_network(fact: &Fact) -> bool {
    const KINDS: [&str; 9] =
        ["loopback", "isatap", "teredo", "bluetooth", "repl", "iscsi", "backup", "heartbeat", "cluster"];
    let name = ["interfacealias", "description", "name", "interfacedescription"];
    name.iter().find_map(|n| fact.get(n)).is_some_and(|n| KINDS.iter().any(|k| words::contains(n, k)))
}

fn nic_registration_off(case: &Case) -> Vec<Hit> {
    let off = |f: &&Fact| {
        f.is("registerthisconnectionsaddress", "False")
            || f.is("fulldnsregistrationenabled", "False")
            || (f.kind == "registry"
                && (registry_is(f, "RegistrationEnabled", 0.0)
                    || registry_is(f, "DisableDynamicUpdate", 1.0)))
    };
    // A card for replication or storage beside one that registers is as it should be.
    let registers = |f: &&Fact| {
        (f.is("registerthisconnectionsaddress", "True") || f.is("fulldnsregistrationenabled", "True"))
            && !beside_the_network(f)
    };
    if case.all().any(|f| registers(&f)) {
        return Vec::new();
    }
    case.all()
        .filter(off)
        .filter(|f| !beside_the_network(f))
        .map(|f| Hit::of("The network card does not register its addresses in DNS", &[f]))
        .collect()
}

fn registry_is(fact: &Fact, name: &str, value: f64) -> bool {
    let number = fact.number("number").or_else(|| fact.number("data"));
    fact.is("name", name) && number == Some(value)
}

static DNS_SERVERS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?i)(dns[ -]?servers?|serveurs? dns|nameservers?|dnsserversearchorder)[ .\u{a0}]*[:={]+\s*(.+)",
    )
    .ok()
});

/// The DNS servers of network cards, by the fact that tells them.
fn card_resolvers(case: &Case) -> Vec<(&Fact, Vec<IpAddr>)> {
    let mut found = Vec::new();
    for fact in case.all() {
        // Resolvers of the transport service's own settings, and answers of nslookup, are not those of a card.
        if fact.kind == "dns"
            || fact.fields.iter().any(|(n, _)| n.starts_with("externaldns") || n.starts_with("internaldns"))
        {
            continue;
        }
        let mut addresses = Vec::new();
        for (name, value) in &fact.fields {
            let names_resolvers =
                ["serveraddresses", "dnsserver", "nameserver", "serveursdns", "dhcpnameserver"];
            let registry =
                fact.kind == "registry" && matches!(&**name, "data") && fact.is("name", "NameServer");
            let pair = matches!(&**name, "value" | "data")
                && fact.get("name").is_some_and(|n| {
                    names_resolvers.iter().any(|r| crate::fact::plain(n.to_owned().into()).contains(r))
                });
            if registry || pair || names_resolvers.iter().any(|r| name.contains(r)) {
                addresses.extend(ips(value));
            }
        }
        if matches!(&*fact.kind, "text" | "ipconfig" | "netsh" | "object")
            && let Some(regex) = DNS_SERVERS.as_ref()
        {
            addresses.extend(
                regex.captures_iter(&fact.text).filter_map(|c| c.get(2)).flat_map(|m| ips(m.as_str())),
            );
        }
        addresses.sort();
        addresses.dedup();
        if !addresses.is_empty() {
            found.push((fact, addresses));
        }
    }
    found
}

fn ips(text: &str) -> Vec<IpAddr> {
    let parts = text.split(|c: char| !(c.is_ascii_hexdigit() || c == '.' || c == ':'));
    parts.filter(|p| p.len() >= 4).filter_map(|p| p.trim_matches('.').parse().ok()).collect()
}

/// Resolvers on the internet, among those of the cards.
///
/// Addresses of examples count only beside private ones: then they stand for something outside.
fn public_dns_on_nic(case: &Case) -> Vec<Hit> {
    let cards = card_resolvers(case);
    let some_private = cards.iter().flat_map(|(_, ips)| ips).any(|ip| is_private(*ip) && !ip.is_loopback());
    let own_private = case.all().any(|f| {
        f.fields.iter().any(|(n, v)| n.starts_with("ipv4address") && ips(v).iter().any(|ip| is_private(*ip)))
    });
    let mut hits = Vec::new();
    for (fact, addresses) in &cards {
        let outside = |ip: &&IpAddr| !is_private(**ip) && (!is_example(**ip) || some_private || own_private);
        for ip in addresses.iter().filter(outside) {
            hits.push(Hit::of(format!("A network card asks the public DNS server {ip}"), &[fact]));
        }
    }
    hits
}

static ROW: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?i)(\S+)\s+([C-][D-][G-])\s+([01])\s+(\d)\s+(\d)\s+([01])\s+([01])\s+([01])\s+([01])\s+(\d)\b",
    )
    .ok()
});

/// A row of event 2080.
struct Controller<'a> {
    name: String,
    enabled: bool,
    reachability: u8,
    sacl: bool,
    fact: &'a Fact,
}

fn controllers(case: &Case) -> Vec<Controller<'_>> {
    let Some(regex) = ROW.as_ref() else { return Vec::new() };
    let mut rows: BTreeMap<(String, String), Controller<'_>> = BTreeMap::new();
    for fact in case
        .all()
        .filter(|f| f.mentions("CDG") || f.mentions("CD-") || f.mentions("-DG") || f.mentions("--G"))
    {
        let texts = std::iter::once(&*fact.text).chain(fact.fields.iter().map(|(_, v)| &**v));
        for text in texts {
            for found in regex.captures_iter(text) {
                let group = |n: usize| found.get(n).map_or("", |m| m.as_str());
                let row = Controller {
                    name: group(1).to_owned(),
                    enabled: group(3) != "0",
                    reachability: group(4).parse().unwrap_or_default(),
                    sacl: group(8) != "0",
                    fact,
                };
                // The newest word on a controller counts.
                let server = fact.server.as_deref().unwrap_or_default().to_owned();
                rows.insert((server, group(1).to_ascii_lowercase()), row);
            }
        }
    }
    rows.into_values().collect()
}

fn topology_sacl_zero(case: &Case) -> Vec<Hit> {
    let rows = controllers(case);
    let bad = rows.iter().filter(|row| !row.sacl && row.reachability > 0);
    bad.map(|row| Hit::of(format!("{}: SACL right is 0, the controller is reachable", row.name), &[row.fact]))
        .collect()
}

/// No controller of the list can be used.
fn topology_no_usable_dc(case: &Case) -> Vec<Hit> {
    let rows = controllers(case);
    if rows.is_empty() || rows.iter().any(|row| row.enabled && row.sacl && row.reachability & 2 != 0) {
        return Vec::new();
    }
    rows.iter()
        .map(|row| {
            Hit::of(
                format!(
                    "{}: not usable (reachability {}, SACL right {})",
                    row.name,
                    row.reachability,
                    u8::from(row.sacl)
                ),
                &[row.fact],
            )
        })
        .collect()
}

const FOUR_HOURS: i64 = 4 * 3_600_000;
/// Peaks may be off by a sampling interval or two.
const NEAR: i64 = 15 * 60_000;

/// When a sample was taken: tables of counters are no logs, their time is a column.
fn sampled(fact: &Fact) -> Option<Timestamp> {
    let column =
        || fact.fields.iter().find(|(n, _)| n.contains("time") || n.contains("date") || n.starts_with("pdh"));
    fact.time.or_else(|| column().and_then(|(_, value)| crate::read::when::parse(value)))
}

/// Peaks of Autodiscover's load that are four hours apart, twice at least.
fn peaks_every_four_hours(case: &Case) -> Vec<Hit> {
    let busy = |f: &&Fact| {
        let loaded = f.fields.iter().any(|(name, value)| {
            let load = name.contains("cpu")
                || name.contains("processor")
                || name.contains("percent")
                || name.contains("cookedvalue");
            load && words::number(value).is_some_and(|n| (80.0..6400.0).contains(&n))
        });
        loaded
            && (f.mentions("autodiscover")
                || f.mentions("w3wp")
                || f.fields.iter().any(|(n, _)| n.contains("w3wp") || n.contains("autodiscover")))
    };
    let mut peaks: Vec<(i64, &Fact)> = Vec::new();
    let mut seen: Vec<(i64, &Fact)> =
        case.all().filter(busy).filter_map(|f| Some((sampled(f)?.as_millis(), f))).collect();
    seen.sort_by_key(|(time, _)| *time);
    for (time, fact) in seen {
        if peaks.last().is_none_or(|(last, _)| time - last > 3_600_000) {
            peaks.push((time, fact));
        }
    }
    let gaps = peaks
        .windows(2)
        .filter(|w| matches!(w, [(a, _), (b, _)] if (b - a - FOUR_HOURS).abs() <= NEAR))
        .count();
    if gaps < 2 {
        return Vec::new();
    }
    let facts: Vec<&Fact> = peaks.iter().map(|(_, f)| *f).collect();
    vec![Hit::of(format!("{} peaks of load, four hours apart", peaks.len()), &facts)]
}

fn many_directory_sites(case: &Case) -> Vec<Hit> {
    let sites: Vec<&Fact> = case
        .of("object")
        .filter(|f| {
            f.get("type").is_some_and(|t| matches!(&*t.to_ascii_lowercase(), "adsite" | "adreplicationsite"))
        })
        .collect();
    let named: BTreeSet<&str> = sites.iter().filter_map(|f| f.get("name")).collect();
    match sites.first() {
        Some(first) if named.len() >= 100 => {
            vec![Hit::of(format!("{} directory sites", named.len()), &[first])]
        }
        _ => Vec::new(),
    }
}

/// One SID on two objects of the directory.
fn sid_on_two_objects(case: &Case) -> Vec<Hit> {
    let mut owners: BTreeMap<String, BTreeMap<String, &Fact>> = BTreeMap::new();
    for fact in case.of("object") {
        let owner = ["distinguishedname", "samaccountname", "userprincipalname", "name", "displayname"]
            .iter()
            .find_map(|n| fact.get(n));
        let Some(owner) = owner else { continue };
        for (name, value) in &fact.fields {
            if !matches!(
                &**name,
                "objectsid" | "sid" | "sidhistory" | "msexchmasteraccountsid" | "masteraccountsid"
            ) {
                continue;
            }
            for sid in words::items(value).filter(|s| s.to_ascii_uppercase().starts_with("S-1-5-21-")) {
                owners.entry(sid.to_ascii_uppercase()).or_default().insert(owner.to_ascii_lowercase(), fact);
            }
        }
    }
    owners
        .iter()
        .filter(|(_, who)| who.len() > 1)
        .map(|(sid, who)| {
            let names: Vec<&str> = who.keys().map(String::as_str).collect();
            let facts: Vec<&Fact> = who.values().copied().collect();
            Hit::of(format!("{sid} is on {}", names.join(" and ")), &facts)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Place;

    fn case(facts: Vec<Fact>) -> Case {
        let mut case = Case::new(Timestamp(0));
        case.file_named("a");
        for fact in facts {
            case.add(fact);
        }
        case
    }

    fn object() -> Fact {
        Fact::new("object", Place::default())
    }

    #[test]
    fn resolvers_outside_are_told_from_those_inside() {
        let inside = case(vec![object().with("ServerAddresses", "{10.0.0.5, 10.0.0.6}")]);
        assert!(public_dns_on_nic(&inside).is_empty());
        let mixed = case(vec![object().with("ServerAddresses", "{10.0.0.5, 8.8.8.8}")]);
        assert_eq!(public_dns_on_nic(&mixed).len(), 1);
        let example = case(vec![object().with("ServerAddresses", "{192.0.2.5}")]);
        assert!(public_dns_on_nic(&example).is_empty());
        let beside = case(vec![object().with("ServerAddresses", "{10.0.0.5, 203.0.113.53}")]);
        assert_eq!(public_dns_on_nic(&beside).len(), 1);
        let transport = case(vec![object().with("ExternalDNSServers", "{8.8.8.8}")]);
        assert!(public_dns_on_nic(&transport).is_empty());
    }

    #[test]
    fn rows_of_2080() {
        let bad = "dc1.corp.example\tCDG 1 7 7 1 0 0 1 7 1";
        let good = "dc2.corp.example\tCDG 1 7 7 1 0 1 1 7 1";
        let of = |text: &str| case(vec![Fact::new("text", Place::default()).text(text)]);
        assert_eq!(topology_sacl_zero(&of(bad)).len(), 1);
        assert_eq!(topology_no_usable_dc(&of(bad)).len(), 1);
        assert!(topology_sacl_zero(&of(good)).is_empty() && topology_no_usable_dc(&of(good)).is_empty());
    }

    #[test]
    fn the_same_sid_twice() {
        let sid = "S-1-5-21-1-2-3-500";
        let two = vec![
            object().with("SamAccountName", "a").with("ObjectSid", sid),
            object().with("SamAccountName", "b").with("msExchMasterAccountSid", sid),
        ];
        assert_eq!(sid_on_two_objects(&case(two)).len(), 1);
        let one = vec![
            object().with("SamAccountName", "a").with("ObjectSid", sid),
            object().with("SamAccountName", "A").with("ObjectSid", sid),
        ];
        assert!(sid_on_two_objects(&case(one)).is_empty());
    }

    #[test]
    fn next_hops() {
        let queue = |kind: &str, hop: &str| {
            object()
                .with("DeliveryType", kind)
                .with("NextHopDomain", hop)
                .with("LastError", "451 4.4.0 DNS query failed")
        };
        let facts = vec![
            queue("SmtpDeliveryToMailbox", "db01"),
            queue("DnsConnectorDelivery", "example.org"),
            queue("", "mbx01.corp.example"),
        ];
        let case = case(facts);
        assert_eq!((dns_query_failed_inside(&case).len(), dns_query_failed_outside(&case).len()), (2, 1));
    }
}
