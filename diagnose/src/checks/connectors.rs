//! Checks for causes of the area `connectors`: which Receive connector takes a host, and what it grants.

use super::{Check, Hit};
use crate::case::Case;
use crate::fact::Fact;
use crate::words;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

pub const ALL: &[(&str, Check)] = &[
    ("private_host_may_not_relay", private_host_may_not_relay),
    ("relay_connector_lacks_any_recipient", relay_connector_lacks_any_recipient),
    ("private_host_is_not_authenticated", private_host_is_not_authenticated),
    ("host_meets_the_hub_port", host_meets_the_hub_port),
    ("connector_has_no_anonymous", connector_has_no_anonymous),
    ("internal_connector_without_exchange_auth", internal_connector_without_exchange_auth),
    ("internal_verb_not_recognised", internal_verb_not_recognised),
    ("submit_is_denied", submit_is_denied),
    ("narrower_connector_took_the_host", narrower_connector_took_the_host),
    ("connector_has_a_thousand_ranges", connector_has_a_thousand_ranges),
];

/// Ranges of one connector from which the directory's limit is near. A field's value is cut long before a thousand fit.
const MANY: usize = 250;

/// The address of `10.20.9.77:33190`, `[::1]:25`, `10.20.9.77`.
fn address(endpoint: &str) -> Option<IpAddr> {
    let endpoint = endpoint.trim();
    endpoint.parse::<SocketAddr>().map(|s| s.ip()).ok().or_else(|| endpoint.parse().ok())
}

fn port(endpoint: &str) -> Option<u16> {
    endpoint.rsplit(':').next().and_then(|p| p.trim().parse().ok())
}

fn private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// First and last address of `10.0.0.1`, `10.0.0.0/24`, `10.0.0.0(255.255.255.0)`, `10.0.0.1-10.0.0.9`.
fn range(text: &str) -> Option<(IpAddr, IpAddr)> {
    let text = text.trim();
    if let Some((first, last)) = text.split_once('-') {
        let (first, last) = (first.trim().parse::<IpAddr>().ok()?, last.trim().parse::<IpAddr>().ok()?);
        return (first.is_ipv4() == last.is_ipv4()).then_some((first, last));
    }
    let (first, bits) = match text.split_once('/') {
        Some((first, bits)) => (first.trim().parse::<IpAddr>().ok()?, bits.trim().parse::<u32>().ok()?),
        None => match text.split_once('(') {
            Some((first, mask)) => {
                let mask: std::net::Ipv4Addr = mask.trim_end_matches(')').trim().parse().ok()?;
                (first.trim().parse::<IpAddr>().ok()?, u32::from(mask).count_ones())
            }
            None => {
                let one: IpAddr = text.parse().ok()?;
                return Some((one, one));
            }
        },
    };
    let IpAddr::V4(v4) = first else { return Some((first, first)) };
    let host = u32::MAX.checked_shr(bits.min(32)).unwrap_or(0);
    let start = u32::from(v4) & !host;
    Some((IpAddr::V4(start.into()), IpAddr::V4((start | host).into())))
}

/// How many addresses the narrowest fitting range of the list has, if one fits.
fn narrowest(ranges: &str, host: IpAddr) -> Option<u128> {
    words::items(ranges)
        .filter_map(range)
        .filter(|(first, last)| {
            first.is_ipv4() == host.is_ipv4() && (number(*first)..=number(*last)).contains(&number(host))
        })
        .map(|(first, last)| number(last) - number(first))
        .min()
}

fn receive_connectors(case: &Case) -> impl Iterator<Item = &Fact> {
    case.of("object").filter(|f| {
        f.is("type", "ReceiveConnector")
            || (f.get("permissiongroups").is_some()
                && (f.get("identity").is_some() || f.get("name").is_some()))
            || (f.get("remoteipranges").is_some())
    })
}

fn name_of(connector: &Fact) -> &str {
    let full = connector.get("identity").or(connector.get("name")).unwrap_or_default();
    full.rsplit('\\').next().unwrap_or(full)
}

fn is_called(connector: &Fact, logged: &str) -> bool {
    let logged_name = logged.rsplit('\\').next().unwrap_or(logged);
    let servers = (connector.get("identity").and_then(|i| i.split_once('\\')), logged.split_once('\\'));
    let same_server = match servers {
        (Some((a, _)), Some((b, _))) => a.eq_ignore_ascii_case(b),
        _ => true,
    };
    same_server && name_of(connector).eq_ignore_ascii_case(logged_name)
}

fn grants_anonymous(connector: &Fact) -> Option<bool> {
    connector.get("permissiongroups").map(|groups| words::contains(groups, "AnonymousUsers"))
}

fn refused_relay(fact: &Fact) -> bool {
    fact.mentions("Unable to relay") || fact.mentions("5.7.54")
}

fn refused_anonymous(fact: &Fact) -> bool {
    fact.mentions("Client was not authenticated") || fact.mentions("5.7.57")
}

fn private_host_may_not_relay(case: &Case) -> Vec<Hit> {
    private_hosts(case, refused_relay, "does not let relay")
}

fn private_host_is_not_authenticated(case: &Case) -> Vec<Hit> {
    private_hosts(case, refused_anonymous, "takes no anonymous mail from")
}

/// Our own hosts that a connector refused so. Strangers from outside are refused rightly.
fn private_hosts(case: &Case, refused: fn(&Fact) -> bool, how: &str) -> Vec<Hit> {
    case.of("smtp-receive")
        .filter(|f| refused(f))
        .filter_map(|f| {
            let host = address(f.get("remote")?).filter(|a| private(*a))?;
            let connector = f.get("connector").unwrap_or("The connector");
            Some(Hit::of(format!("{connector} {how} our own host {host}"), &[f]))
        })
        .collect()
}

fn relay_connector_lacks_any_recipient(case: &Case) -> Vec<Hit> {
    let rights: Vec<&Fact> = case
        .of("object")
        .filter(|f| {
            f.get("extendedrights").is_some()
                && f.get("user").is_some_and(|u| words::contains(u, "ANONYMOUS"))
        })
        .collect();
    let has = rights.iter().any(|f| {
        f.get("extendedrights").is_some_and(|r| words::contains(r, "Accept-Any-Recipient"))
            && !f.is("deny", "True")
    });
    if rights.is_empty() || has {
        return Vec::new();
    }
    vec![Hit::of(
        "ANONYMOUS LOGON has rights on the connector, but not ms-Exch-SMTP-Accept-Any-Recipient",
        &rights,
    )]
}

fn host_meets_the_hub_port(case: &Case) -> Vec<Hit> {
    let logged = case.of("smtp-receive").filter(|f| refused_anonymous(f));
    let mut hits: Vec<Hit> = logged
        .filter(|f| f.get("local").and_then(port).is_some_and(|p| matches!(p, 2525 | 465 | 587 | 717)))
        .map(|f| {
            Hit::of(
                format!("The host talks to {}, which is not for it", f.get("local").unwrap_or_default()),
                &[f],
            )
        })
        .collect();
    let told = case.of("text").chain(case.of("conversation")).find(|f| f.mentions("2525"));
    hits.extend(told.map(|f| Hit::of("Port 2525 is used, which is for Exchange servers", &[f])));
    hits
}

fn connector_has_no_anonymous(case: &Case) -> Vec<Hit> {
    let mut hits = Vec::new();
    let refused: Vec<&Fact> = case.all().filter(|f| f.kind != "object" && refused_anonymous(f)).collect();
    for fact in &refused {
        let Some(logged) = fact.get("connector") else { continue };
        let met =
            receive_connectors(case).find(|c| is_called(c, logged) && grants_anonymous(c) == Some(false));
        if let Some(connector) = met {
            hits.push(Hit::of(format!("{logged} does not have AnonymousUsers"), &[connector, fact]));
        }
    }
    hits
}

/// Connectors that servers of the organisation meet, as they are named at installation.
fn is_internal(connector: &Fact) -> bool {
    let name = name_of(connector).to_lowercase();
    let by_name = name.starts_with("default ")
        || name.starts_with("client proxy ")
        || name.starts_with("outbound proxy frontend");
    let by_port = connector.get("bindings").is_some_and(|b| words::items(b).any(|b| port(b) == Some(2525)));
    by_name || by_port
}

fn internal_connector_without_exchange_auth(case: &Case) -> Vec<Hit> {
    receive_connectors(case)
        .filter(|f| is_internal(f) && !f.is("enabled", "False"))
        .filter(|f| {
            let mechanisms = f.get("authmechanism");
            mechanisms.is_some_and(|m| {
                !words::contains(m, "ExchangeServer") && !m.ends_with("...") && !m.ends_with('…')
            })
        })
        .map(|f| {
            let fact = format!("{} has no ExchangeServer in its AuthMechanism", name_of(f));
            Hit::of(fact, &[f])
        })
        .collect()
}

/// Verbs that only servers of one organisation use.
const INTERNAL_VERBS: &[&str] =
    &["X-EXPS", "X-ANONYMOUSTLS", "XPROXY", "XSHADOW", "XEXCH50", "XSESSIONPARAMS"];

fn internal_verb_not_recognised(case: &Case) -> Vec<Hit> {
    let lines = || case.of("smtp-receive").chain(case.of("smtp-send"));
    let mut hits = Vec::new();
    for answer in lines().filter(|f| f.mentions("Unrecognized command") || f.mentions("5.3.3")) {
        let Some(session) = answer.get("session") else { continue };
        let verb = lines().find(|f| {
            f.get("session") == Some(session)
                && f.kind == answer.kind
                && f.get("data").is_some_and(|d| {
                    INTERNAL_VERBS.iter().any(|v| {
                        d.len() >= v.len() && words::contains(d.get(..v.len()).unwrap_or_default(), v)
                    })
                })
        });
        if let Some(verb) = verb {
            let fact = format!("{} is answered as an unknown command", verb.get("data").unwrap_or_default());
            hits.push(Hit::of(fact, &[answer, verb]));
        }
    }
    hits
}

fn submit_is_denied(case: &Case) -> Vec<Hit> {
    case.of("object")
        .filter(|f| {
            f.is("deny", "True") && f.get("extendedrights").is_some_and(|r| words::contains(r, "SMTP-Submit"))
        })
        .map(|f| {
            Hit::of(format!("{} is denied ms-Exch-SMTP-Submit", f.get("user").unwrap_or("An account")), &[f])
        })
        .collect()
}

/// An answer that refuses for want of a right: 5xx with 5.7.x.
fn refused_by_right(fact: &Fact) -> bool {
    let answer = fact.get("data").unwrap_or_default();
    answer.starts_with('5') && answer.contains("5.7.") && !answer.contains("5.7.3 ")
}

/// The host was refused by a connector that took it only since its range is narrower than that of another that fits.
fn narrower_connector_took_the_host(case: &Case) -> Vec<Hit> {
    let connectors: Vec<&Fact> = receive_connectors(case).filter(|c| !c.is("enabled", "False")).collect();
    let mut hits = Vec::new();
    let mut told: BTreeSet<(String, IpAddr)> = BTreeSet::new();
    for refused in case.of("smtp-receive").filter(|f| refused_by_right(f)) {
        let (Some(logged), Some(host)) = (refused.get("connector"), refused.get("remote").and_then(address))
        else {
            continue;
        };
        let session = refused.get("session");
        let server_talks = session.is_some()
            && case.of("smtp-receive").any(|f| {
                f.get("session") == session
                    && f.is("event", "<")
                    && INTERNAL_VERBS.iter().any(|v| f.mentions(v))
            });
        let Some(chosen) = connectors.iter().copied().find(|c| is_called(c, logged)) else { continue };
        let fits = |c: &Fact| c.get("remoteipranges").and_then(|r| narrowest(r, host));
        let Some(width) = fits(chosen).filter(|_| !server_talks) else { continue };
        let wider = connectors.iter().copied().find(|c| {
            !std::ptr::eq(*c, chosen)
                && fits(c).is_some_and(|w| w > width)
                && same_door(refused, c, logged)
                && would_help(c, chosen, refused)
        });
        if let Some(wider) = wider
            && told.insert((logged.to_lowercase(), host))
        {
            let fact = format!(
                "{host} also fits connector {}, but {logged} has the narrower range and took it",
                name_of(wider)
            );
            hits.push(Hit::of(fact, &[refused, chosen, wider]));
        }
    }
    hits
}

/// On the server and the port where the session was.
fn same_door(refused: &Fact, connector: &Fact, logged: &str) -> bool {
    let same_port = match (refused.get("local").and_then(port), connector.get("bindings")) {
        (Some(met), Some(bindings)) => words::items(bindings).any(|b| port(b) == Some(met)),
        _ => true,
    };
    let servers = (connector.get("identity").and_then(|i| i.split_once('\\')), logged.split_once('\\'));
    same_port && !matches!(servers, (Some((a, _)), Some((b, _))) if !a.eq_ignore_ascii_case(b))
}

/// Whether the other connector may well have taken what this one refused: the default one takes anonymous mail, but relays
/// for nobody.
fn would_help(other: &Fact, chosen: &Fact, refused: &Fact) -> bool {
    if !name_of(other).to_lowercase().starts_with("default") {
        return true;
    }
    !refused_relay(refused) && grants_anonymous(other) == Some(true) && grants_anonymous(chosen) != Some(true)
}

fn connector_has_a_thousand_ranges(case: &Case) -> Vec<Hit> {
    receive_connectors(case)
        .filter_map(|f| {
            let count = words::items(f.get("remoteipranges")?).count();
            (count >= MANY).then(|| Hit::of(format!("{} has {count} or more ranges", name_of(f)), &[f]))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Place;
    use waypost_base::Timestamp;

    fn connector(name: &str, ranges: &str, groups: &str) -> Fact {
        Fact::new("object", Place::default())
            .with("type", "ReceiveConnector")
            .with("identity", name)
            .with("bindings", "{0.0.0.0:25}")
            .with("remoteipranges", ranges)
            .with("permissiongroups", groups)
    }

    fn refused(connector: &str, remote: &str) -> Fact {
        Fact::new("smtp-receive", Place::default())
            .with("connector", connector)
            .with("session", "08DE")
            .with("local", "10.20.0.11:25")
            .with("remote", remote)
            .with("data", "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain")
    }

    #[test]
    fn ranges_in_every_form() {
        let host: IpAddr = "10.20.9.40".parse().unwrap();
        assert_eq!(narrowest("{10.20.9.40}", host), Some(0));
        assert_eq!(narrowest("{10.20.0.0/16, 10.20.9.0/24}", host), Some(255));
        assert_eq!(narrowest("{10.20.9.1-10.20.9.99}", host), Some(98));
        assert_eq!(narrowest("{10.20.9.0(255.255.255.0)}", host), Some(255));
        assert_eq!(narrowest("{0.0.0.0-255.255.255.255}", host), Some(u128::from(u32::MAX)));
        assert_eq!(narrowest("{10.21.0.0/16}", host), None);
        assert_eq!(narrowest("{nonsense, 1.2.3.4/99, -, /}", host), None);
    }

    #[test]
    fn the_narrower_range_takes_the_host() {
        let mut case = Case::new(Timestamp(0));
        case.add(connector("MBX01\\Relay", "{10.20.0.0/16}", "AnonymousUsers"));
        case.add(connector("MBX01\\Printers", "{10.20.9.0/24}", "AnonymousUsers"));
        case.add(connector("MBX01\\Default Frontend MBX01", "{0.0.0.0-255.255.255.255}", "AnonymousUsers"));
        case.add(refused("MBX01\\Printers", "10.20.9.40:33190"));
        assert_eq!(narrower_connector_took_the_host(&case).len(), 1);
        assert_eq!(private_host_may_not_relay(&case).len(), 1);
        let mut other = Case::new(Timestamp(0));
        other.add(connector("MBX01\\Relay", "{10.20.9.40}", "AnonymousUsers"));
        other.add(connector("MBX01\\Default Frontend MBX01", "{0.0.0.0-255.255.255.255}", "AnonymousUsers"));
        other.add(refused("MBX01\\Relay", "10.20.9.40:33190"));
        assert!(narrower_connector_took_the_host(&other).is_empty());
    }

    #[test]
    fn connectors_for_users_need_no_exchange_auth() {
        let with = |name: &str, auth: &str| {
            let mut case = Case::new(Timestamp(0));
            case.add(connector(name, "{10.0.0.0/8}", "ExchangeServers").with("authmechanism", auth));
            internal_connector_without_exchange_auth(&case).len()
        };
        assert_eq!(with("MBX01\\Default MBX01", "Tls, Integrated"), 1);
        assert_eq!(with("MBX01\\Default MBX01", "Tls, Integrated, ExchangeServer"), 0);
        assert_eq!(with("MBX01\\Client Frontend MBX01", "Tls, Integrated"), 0);
    }
}
