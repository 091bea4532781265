//! What the evidence as a whole says about names: facts that were seen on an address get the name of the server that has it.

use crate::case::Case;
use crate::fact::server_name;
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
