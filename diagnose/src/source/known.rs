//! What the evidence as a whole says: facts that were seen on an address get the name of the server that has it, and outputs of
//! Waypost's own commands are known by the cause that they name.

use crate::case::Case;
use crate::fact::{Fact, server_name};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Addresses that are remembered.
const MAX: usize = 10_000;

/// Gives a server's name to facts that only know its address.
pub fn name_addresses(case: &mut Case) {
    let mut names: BTreeMap<IpAddr, Arc<str>> = BTreeMap::new();
    let mut learn = |address: &str, name: &str| {
        let host =
            address.rsplit_once(':').filter(|(host, _)| !host.contains(':')).map_or(address, |(h, _)| h);
        if let Ok(ip) = host.trim_matches(['[', ']']).parse::<IpAddr>()
            && !ip.is_loopback()
            && names.len() < MAX
            && let Some(name) = server_name(name).filter(|n| n.parse::<IpAddr>().is_err())
        {
            names.entry(ip).or_insert(name);
        }
    };
    for fact in case.of("tracking") {
        if let (Some(ip), Some(name)) = (fact.get("serverip"), fact.get("serverhostname")) {
            learn(ip, name);
        }
    }
    for fact in case.of("smtp-receive") {
        let banner = fact.get("data").and_then(|data| data.strip_prefix("220 "));
        if let (Some(local), Some(name)) = (fact.get("local"), banner.and_then(|b| b.split(' ').next())) {
            learn(local, name);
        }
    }
    for kind in ["imap", "pop", "smtp-receive", "smtp-send"] {
        for fact in case.of(kind) {
            let local = fact.get("sip").or_else(|| fact.get("local"));
            if let (Some(local), Some(server)) = (local, &fact.server)
                && kind != "smtp-send"
            {
                learn(local, server);
            }
        }
    }
    case.rename_servers(|name| name.parse::<IpAddr>().ok().and_then(|ip| names.get(&ip).cloned()));
}

/// Facts that are made of commands' outputs.
const CAUSES_MAX: usize = 1000;

/// Waypost's commands add a cause, by its code, to what fails: such an output says what our logs say.
pub fn own_causes(case: &mut Case) {
    let found: Vec<Fact> = case
        .of("object")
        .filter_map(|fact| {
            let code = code(fact.get("cause")?)?.to_owned();
            let mut own = fact.clone();
            own.kind = "waypost".into();
            own.fields.retain(|(name, _)| name != "cause" && name != "type");
            own.put("cause", code);
            Some(own)
        })
        .take(CAUSES_MAX)
        .collect();
    for fact in found {
        case.add(fact);
    }
}

/// `KRB-NOKEY` of `KRB-NOKEY: the key is gone`: capitals and digits with hyphens between.
fn code(cause: &str) -> Option<&str> {
    let word = cause.split([' ', ':', ',', ';', '(']).next()?;
    let part =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let good =
        word.contains('-') && word.starts_with(|c: char| c.is_ascii_uppercase()) && word.split('-').all(part);
    good.then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Place;
    use waypost_base::Timestamp;

    #[test]
    fn an_output_that_names_a_cause_is_ours() {
        let mut case = Case::new(Timestamp(0));
        for (name, cause) in [("a", "KRB-NOKEY: no key"), ("b", "Healthy"), ("c", "see the log"), ("d", "-")]
        {
            case.add(Fact::new("object", Place::default()).with("name", name).with("cause", cause));
        }
        own_causes(&mut case);
        let causes: Vec<_> = case.of("waypost").map(|f| (f.get("name"), f.get("cause"))).collect();
        assert_eq!(causes, [(Some("a"), Some("KRB-NOKEY"))]);
    }
}
