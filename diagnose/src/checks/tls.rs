//! Checks for causes of the area `tls`: switches of Schannel and .NET, Extended Protection.

use super::{Check, Hit};
use crate::case::Case;
use crate::fact::Fact;
use crate::words;
use std::collections::BTreeMap;

pub const ALL: &[(&str, Check)] = &[
    ("tls_sides_disagree", tls_sides_disagree),
    ("dotnet_ignores_schannel", dotnet_ignores_schannel),
    ("dotnet_switch_is_not_set", dotnet_switch_is_not_set),
    ("extended_protection_with_offloading", extended_protection_with_offloading),
    ("server_has_no_tls12", server_has_no_tls12),
];

/// What is set for one TLS version on one side of one server.
#[derive(Clone, Copy, Default)]
struct Side<'a> {
    enabled: Option<bool>,
    disabled_by_default: Option<bool>,
    seen: Option<&'a Fact>,
}

impl Side<'_> {
    fn on(&self) -> Option<bool> {
        self.enabled.or(self.disabled_by_default.map(|off| !off))
    }

    /// Enabled and yet disabled by default, or the reverse.
    fn half(&self) -> bool {
        matches!((self.enabled, self.disabled_by_default), (Some(a), Some(b)) if a == b)
    }
}

fn value(fact: &Fact) -> Option<f64> {
    fact.number("number").or_else(|| fact.number("data"))
}

/// (server, `TLS 1.2`) → client's side, server's side.
fn sides(case: &Case) -> BTreeMap<(String, String), [Side<'_>; 2]> {
    let mut all: BTreeMap<(String, String), [Side<'_>; 2]> = BTreeMap::new();
    for fact in case.of("registry") {
        let Some(key) = fact.get("key") else { continue };
        let mut parts = key.trim_end_matches('\\').rsplit('\\');
        let (Some(side), Some(version), Some(parent)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let at = match side.to_lowercase().as_str() {
            "client" => 0,
            "server" => 1,
            _ => continue,
        };
        let on = value(fact).map(|n| n != 0.0);
        let (Some(on), true) = (on, parent.eq_ignore_ascii_case("Protocols")) else { continue };
        let server = fact.server.as_deref().unwrap_or_default().to_owned();
        let [client, acceptor] = all.entry((server, version.to_uppercase())).or_default();
        let side = if at == 0 { client } else { acceptor };
        side.seen = Some(fact);
        if fact.is("name", "Enabled") {
            side.enabled = Some(on);
        } else if fact.is("name", "DisabledByDefault") {
            side.disabled_by_default = Some(on);
        }
    }
    all
}

fn tls_sides_disagree(case: &Case) -> Vec<Hit> {
    let mut hits = Vec::new();
    for ((_, version), [client, server]) in sides(case) {
        let seen: Vec<&Fact> = [client.seen, server.seen].into_iter().flatten().collect();
        let say = |on: bool| if on { "on" } else { "off" };
        if let (Some(c), Some(s)) = (client.on(), server.on())
            && c != s
        {
            hits.push(Hit::of(
                format!("{version} is {} for the client side and {} for the server side", say(c), say(s)),
                &seen,
            ));
        } else if version.starts_with("TLS") && (client.half() || server.half()) {
            hits.push(Hit::of(
                format!("{version} is half disabled: Enabled and DisabledByDefault contradict each other"),
                &seen,
            ));
        }
    }
    hits
}

fn dotnet_ignores_schannel(case: &Case) -> Vec<Hit> {
    let framework = |f: &&Fact| f.get("key").is_some_and(|k| words::contains(k, ".NETFramework\\v"));
    let switch = |f: &Fact| f.is("name", "SystemDefaultTlsVersions") || f.is("name", "SchUseStrongCrypto");
    let off = case.of("registry").filter(framework).filter(|f| switch(f) && value(f) == Some(0.0));
    off.map(|f| {
        Hit::of(
            format!("{} is 0 in {}", f.get("name").unwrap_or_default(), f.get("key").unwrap_or_default()),
            &[f],
        )
    })
    .collect()
}

/// The switches were asked for and are not there, so .NET goes by its own list of versions.
fn dotnet_switch_is_not_set(case: &Case) -> Vec<Hit> {
    let switch = |f: &&Fact| {
        (f.is("name", "SystemDefaultTlsVersions") || f.is("name", "SchUseStrongCrypto"))
            && f.get("key").is_some_and(|key| words::contains(key, ".NETFramework\\v"))
    };
    let absent = case.of("registry-absent").filter(switch);
    absent.map(|f| Hit::of(format!("{} is not set", f.get("name").unwrap_or_default()), &[f])).collect()
}

fn extended_protection_with_offloading(case: &Case) -> Vec<Hit> {
    let demanded = case.of("object").find(|f| {
        f.get("extendedprotectiontokenchecking")
            .is_some_and(|v| v.eq_ignore_ascii_case("Require") || v.eq_ignore_ascii_case("Allow"))
    });
    let offloaded = case.of("object").find(|f| f.is("ssloffloading", "True"));
    match (demanded, offloaded) {
        (Some(demanded), Some(offloaded)) => {
            vec![Hit::of("Extended Protection is on and so is SSLOffloading", &[offloaded, demanded])]
        }
        _ => Vec::new(),
    }
}

fn server_has_no_tls12(case: &Case) -> Vec<Hit> {
    let mut hits = Vec::new();
    for ((_, version), [_, server]) in sides(case) {
        if version == "TLS 1.2" && server.on() == Some(false) {
            let seen: Vec<&Fact> = server.seen.into_iter().collect();
            hits.push(Hit::of("TLS 1.2 is switched off for the server's side", &seen));
        }
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Place;
    use waypost_base::Timestamp;

    fn switch(version: &str, side: &str, name: &str, number: &str) -> Fact {
        let key = format!(
            "HKLM\\SYSTEM\\CurrentControlSet\\Control\\SecurityProviders\\SCHANNEL\\Protocols\\{version}\\{side}"
        );
        Fact::new("registry", Place::default()).with("key", key).with("name", name).with("number", number)
    }

    #[test]
    fn sides_are_compared() {
        let mut case = Case::new(Timestamp(0));
        case.add(switch("TLS 1.0", "Client", "Enabled", "0"));
        case.add(switch("TLS 1.0", "Server", "Enabled", "0"));
        case.add(switch("TLS 1.0", "Server", "DisabledByDefault", "1"));
        case.add(switch("TLS 1.2", "Server", "Enabled", "1"));
        assert!(tls_sides_disagree(&case).is_empty() && server_has_no_tls12(&case).is_empty());
        case.add(switch("TLS 1.2", "Client", "Enabled", "0"));
        assert_eq!(tls_sides_disagree(&case).len(), 1);
        case.add(switch("TLS 1.2", "Server", "Enabled", "0"));
        assert_eq!(server_has_no_tls12(&case).len(), 1);
    }

    #[test]
    fn half_is_told() {
        let mut case = Case::new(Timestamp(0));
        case.add(switch("TLS 1.2", "Server", "Enabled", "1"));
        case.add(switch("TLS 1.2", "Server", "DisabledByDefault", "1"));
        assert_eq!(tls_sides_disagree(&case).len(), 1);
    }
}
