//! Checks for causes of the area `store`: copies of a database, networks of a group.

use super::{Check, Hit};
use crate::case::Case;
use crate::fact::Fact;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

pub const ALL: &[(&str, Check)] = &[
    ("no_passive_copy_is_healthy", no_passive_copy_is_healthy),
    ("two_cards_in_one_subnet", two_cards_in_one_subnet),
    ("moves_are_done", moves_are_done),
];

/// All moves that are listed have come to their end; their reports still tell of every wait on the way.
fn moves_are_done(case: &Case) -> Vec<Hit> {
    let state = |f: &Fact| f.get("statusdetail").or(f.get("status")).map(str::to_lowercase);
    let moves: Vec<&Fact> = case.of("object").filter(|f| f.get("percentcomplete").is_some()).collect();
    let done = moves.iter().all(|f| state(f).is_some_and(|s| s.starts_with("completed")));
    match moves.first() {
        Some(first) if done => vec![Hit::of("The moves that are listed are completed", &[first])],
        _ => Vec::new(),
    }
}

fn no_passive_copy_is_healthy(case: &Case) -> Vec<Hit> {
    let mut copies: BTreeMap<String, Vec<&Fact>> = BTreeMap::new();
    for fact in case.of("object").filter(|f| f.get("copyqueuelength").is_some()) {
        let name = fact.get("name").or(fact.get("identity")).unwrap_or_default();
        if let Some((database, _)) = name.split_once('\\') {
            copies.entry(database.to_lowercase()).or_default().push(fact);
        }
    }
    let mut hits = Vec::new();
    for (database, copies) in copies {
        let passive: Vec<&Fact> = copies.into_iter().filter(|f| !f.is("status", "Mounted")).collect();
        let healthy =
            passive.iter().any(|f| f.get("status").is_some_and(|s| s.to_lowercase().contains("healthy")));
        if !passive.is_empty() && !healthy {
            hits.push(Hit::of(format!("No passive copy of {database} is healthy"), &passive));
        }
    }
    hits
}

/// Addresses of cards, by server and net.
fn two_cards_in_one_subnet(case: &Case) -> Vec<Hit> {
    let mut nets: BTreeMap<(String, u32), Vec<(&Fact, String)>> = BTreeMap::new();
    for fact in case.of("object").filter(|f| f.get("interfacealias").is_some()) {
        let Some(address) = fact.get("ipv4address").or(fact.get("ipaddress")) else { continue };
        let Ok(address) = address.trim_matches(['{', '}']).parse::<Ipv4Addr>() else { continue };
        let bits = fact.number("prefixlength").filter(|b| (8.0..=32.0).contains(b)).map_or(24, |b| b as u32);
        let net = u32::from(address) & !u32::MAX.checked_shr(bits).unwrap_or(0);
        let server = fact.server.as_deref().unwrap_or_default().to_owned();
        let card = fact.get("interfacealias").unwrap_or_default().to_lowercase();
        nets.entry((server, net)).or_default().push((fact, card));
    }
    let mut hits = Vec::new();
    for cards in nets.into_values() {
        let Some((_, first)) = cards.first() else { continue };
        if cards.iter().any(|(_, card)| card != first) {
            let facts: Vec<&Fact> = cards.iter().map(|(fact, _)| *fact).collect();
            hits.push(Hit::of("Two network cards have addresses of one subnet", &facts));
        }
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Place;
    use waypost_base::Timestamp;

    #[test]
    fn copies_and_cards() {
        let copy = |name: &str, status: &str| {
            Fact::new("object", Place::default())
                .with("name", name)
                .with("status", status)
                .with("copyqueuelength", "0")
        };
        let mut case = Case::new(Timestamp(0));
        case.add(copy("DB01\\MBX01", "Mounted"));
        case.add(copy("DB01\\MBX02", "FailedAndSuspended"));
        assert_eq!(no_passive_copy_is_healthy(&case).len(), 1);
        case.add(copy("DB01\\MBX03", "Healthy"));
        assert!(no_passive_copy_is_healthy(&case).is_empty());
        let card = |name: &str, address: &str| {
            Fact::new("object", Place::default()).with("interfacealias", name).with("ipv4address", address)
        };
        case.add(card("MAPI", "10.20.0.11"));
        case.add(card("Replication", "10.30.0.11"));
        assert!(two_cards_in_one_subnet(&case).is_empty());
        case.add(card("Replication2", "10.20.0.111"));
        assert_eq!(two_cards_in_one_subnet(&case).len(), 1);
    }
}
