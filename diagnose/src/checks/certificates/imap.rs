//! IMAP and POP: the settings' name, the proxy leg, and who may read the key.

use super::super::Hit;
use super::{Cert, certs, certs_of, common_name, covers, port_of};
use crate::case::Case;
use crate::fact::{Fact, server_name};
use crate::words;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Settings of IMAP and POP, with the server's short name.
fn settings(case: &Case) -> impl Iterator<Item = (&Fact, Option<Arc<str>>)> {
    case.objects("ImapSettings").chain(case.objects("PopSettings")).map(|fact| {
        let named = fact.get("server").or_else(|| fact.get("identity").filter(|id| id.contains('\\')));
        (fact, named.and_then(server_name).or_else(|| fact.server.clone()))
    })
}

fn protocol(settings: &Fact) -> &'static str {
    let pop = settings.is("type", "PopSettings")
        || settings.get("protocolname").is_some_and(|p| p.starts_with("POP"));
    if pop { "POP" } else { "IMAP" }
}

/// Full names under which a front end dials its back end.
fn dialled(case: &Case) -> Vec<String> {
    let mut hosts = Vec::new();
    for fact in case.of("imap").chain(case.of("pop")).chain(case.of("text")) {
        let texts =
            [fact.get("proxy").unwrap_or_default(), fact.get("context").unwrap_or_default(), &fact.text];
        for text in texts {
            for after in text.split("Proxy").skip(1) {
                let host = after.trim_start_matches([':', '=', ' ']);
                let host: String = host
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
                    .collect();
                if host.contains('.') && !hosts.contains(&host.to_lowercase()) {
                    hosts.push(host.to_lowercase());
                }
            }
        }
    }
    hosts
}

/// Host names of `{mbx01.corp.example:993:SSL, …}`.
fn connection_hosts(list: Option<&str>) -> Vec<String> {
    let items = list.into_iter().flat_map(words::items);
    items.filter_map(|item| item.split(':').next()).filter(|h| !h.is_empty()).map(str::to_lowercase).collect()
}

/// Whether the name that the settings hold is the server's own; `None` when nothing tells.
fn is_own_name(case: &Case, fact: &Fact, server: Option<&str>) -> Option<bool> {
    let name = fact.get("x509certificatename")?.to_lowercase();
    let first = name.split('.').next().unwrap_or_default();
    if server.is_some_and(|server| server.eq_ignore_ascii_case(first)) {
        return Some(true);
    }
    let dialled = dialled(case);
    if dialled.contains(&name) {
        return Some(true);
    }
    let internal = connection_hosts(fact.get("internalconnectionsettings"));
    if server.is_none() && dialled.is_empty() {
        return (!internal.is_empty()).then(|| internal.contains(&name));
    }
    Some(false)
}

/// The certificate that the settings' name selects also carries the server's own name.
fn selected_covers_server(case: &Case, name: &str, server: Option<&str>, internal: &[String]) -> bool {
    let own = dialled(case).into_iter().chain(internal.iter().cloned());
    let own: Vec<String> = own
        .filter(|host| {
            server.is_none_or(|s| host.split('.').next().is_some_and(|f| f.eq_ignore_ascii_case(s)))
        })
        .collect();
    let all = certs(case);
    certs_of(&all, server)
        .into_iter()
        .filter(|cert| cert.covers(name) && cert.knows_names())
        .any(|cert| own.iter().any(|host| cert.covers(host)))
}

pub fn name_is_not_the_server(case: &Case) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (fact, server) in settings(case) {
        let Some(name) = fact.get("x509certificatename") else { continue };
        let internal = connection_hosts(fact.get("internalconnectionsettings"));
        if is_own_name(case, fact, server.as_deref()) != Some(false)
            || selected_covers_server(case, name, server.as_deref(), &internal)
        {
            continue;
        }
        let of = server.as_deref().unwrap_or("the server");
        let login = fact.get("logintype").map_or(String::new(), |l| format!("; LoginType is {l}"));
        let text = format!(
            "{} of {of} has X509CertificateName {name}, which is not {of}'s own name{login}",
            protocol(fact)
        );
        hits.push(Hit { server, ..Hit::of(text, &[fact]) });
    }
    hits
}

/// As [`name_is_not_the_server`], where clients may sign in without TLS.
pub fn name_is_not_the_server_and_plain_text(case: &Case) -> Vec<Hit> {
    if name_is_not_the_server(case).is_empty() {
        return Vec::new();
    }
    let plain = settings(case).filter(|(fact, _)| {
        fact.get("logintype")
            .is_none_or(|login| words::contains(login, "PlainText") || login == "1" || login == "2")
    });
    plain
        .take(1)
        .map(|(fact, _)| {
            let login = fact.get("logintype").unwrap_or("not told");
            Hit::of(
                format!("LoginType is {login}; with SecureLogin the name does no harm, as far as is known"),
                &[fact],
            )
        })
        .collect()
}

pub fn name_is_the_server(case: &Case) -> Vec<Hit> {
    let all: Vec<_> = settings(case).filter(|(fact, _)| fact.get("x509certificatename").is_some()).collect();
    let own =
        |(fact, server): &(&Fact, Option<Arc<str>>)| is_own_name(case, fact, server.as_deref()) == Some(true);
    if all.is_empty() || !all.iter().all(own) {
        return Vec::new();
    }
    all.iter()
        .map(|(fact, _)| {
            Hit::of(format!("X509CertificateName of {} is the server's own name", protocol(fact)), &[fact])
        })
        .collect()
}

/// A certificate was bound to IMAP or POP, and the settings' name is no longer the server's.
pub fn name_rewritten(case: &Case) -> Vec<Hit> {
    if name_is_not_the_server(case).is_empty() && !failing(case) {
        return Vec::new();
    }
    let told = case.all().filter(|fact| matches!(&*fact.kind, "object" | "text" | "event" | "error"));
    let bound = told.filter(|fact| fact.mentions("Enable-ExchangeCertificate")).filter(|fact| {
        let audit = fact.is("type", "AdminAuditLog");
        audit && !fact.mentions("Federation") || fact.mentions("IMAP") || fact.mentions("POP")
    });
    bound
        .take(3)
        .map(|fact| Hit::of("A certificate was bound, which rewrites X509CertificateName", &[fact]))
        .collect()
}

fn failing(case: &Case) -> bool {
    case.all().any(|fact| fact.mentions("ProxyNotAuthenticated"))
}

pub fn name_selects_no_certificate(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let mut hits = Vec::new();
    for (fact, server) in settings(case) {
        let Some(name) = fact.get("x509certificatename") else { continue };
        let here = certs_of(&all, server.as_deref());
        if here.len() < 2 || !here.iter().all(|cert| cert.knows_names()) {
            continue;
        }
        let good = here.iter().any(|cert| cert.covers(name) && !cert.expired(case) && !cert.is_pending());
        if !good {
            let text = format!(
                "{} asks for a certificate named {name}; no valid one with that name is installed",
                protocol(fact)
            );
            hits.push(Hit { server, ..Hit::of(text, &[fact]) });
        }
    }
    hits
}

pub fn name_fits_several_certificates(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let mut hits = Vec::new();
    for (fact, server) in settings(case) {
        let Some(name) = fact.get("x509certificatename") else { continue };
        let fit: Vec<_> =
            certs_of(&all, server.as_deref()).into_iter().filter(|cert| cert.covers(name)).collect();
        if let [one, other, ..] = fit.as_slice() {
            let text = format!(
                "{} asks for a certificate named {name}; {} carry it, {} and {} among them",
                protocol(fact),
                fit.len(),
                one.shown(),
                other.shown()
            );
            hits.push(Hit { server, ..Hit::of(text, &[fact, one.first(), other.first()]) });
        }
    }
    hits
}

pub fn external_settings_empty(case: &Case) -> Vec<Hit> {
    settings(case)
        .filter(|(fact, _)| {
            // Printed as empty, or left out of a list of which the rest is there.
            fact.get("internalconnectionsettings").is_some()
                || fact.get("externalconnectionsettings").is_some()
        })
        .filter(|(fact, _)| connection_hosts(fact.get("externalconnectionsettings")).is_empty())
        .map(|(fact, _)| {
            Hit::of(format!("ExternalConnectionSettings of {} is empty", protocol(fact)), &[fact])
        })
        .collect()
}

pub fn every_sign_in_fails_at_proxy(case: &Case) -> Vec<Hit> {
    let failed = case.all().filter(|fact| fact.mentions("ProxyNotAuthenticated"));
    failed
        .take(1)
        .map(|fact| Hit::of("Sign-ins fail at the proxy leg, not in the handshake", &[fact]))
        .collect()
}

/// Sign-ins pass through the proxy leg, and none failed there later.
pub fn proxy_works_again(case: &Case) -> Vec<Hit> {
    let logs = || case.of("imap").chain(case.of("pop"));
    let last_failed = logs().filter(|f| f.mentions("ProxyNotAuthenticated")).filter_map(|f| f.time).max();
    let passed = logs().filter(|f| f.mentions("ProxySuccess")).max_by_key(|f| f.time);
    let Some(passed) = passed.filter(|fact| fact.time > last_failed) else { return Vec::new() };
    if last_failed.is_none() && failing(case) {
        return Vec::new();
    }
    vec![Hit::of("Sign-ins pass through the proxy leg", &[passed])]
}

/// Back-end sessions that are opened and closed without a sign-in: the front end gave up after the handshake.
pub fn back_end_opens_and_closes(case: &Case) -> Vec<Hit> {
    let mut sessions: BTreeMap<(u32, &str), (Vec<&Fact>, bool, bool)> = BTreeMap::new();
    for fact in case.of("imap").chain(case.of("pop")).filter(|fact| fact.is("end", "be")) {
        let (Some(session), Some(command)) = (fact.get("session"), fact.get("command")) else { continue };
        let entry = sessions.entry((fact.at.file, session)).or_default();
        entry.0.push(fact);
        entry.1 |= command.eq_ignore_ascii_case("closesession");
        entry.2 |= !command.to_ascii_lowercase().ends_with("session");
    }
    if sessions.values().any(|(_, _, more)| *more) {
        return Vec::new();
    }
    let found = sessions.into_values().filter(|(_, closed, _)| *closed);
    found
        .take(2)
        .map(|(facts, ..)| Hit::of("The back end's session is opened and closed without a sign-in", &facts))
        .collect()
}

/// Names of the certificate that was shown: of its fields, else of the lines of openssl.
fn shown_names(fact: &Fact) -> Vec<String> {
    let mut names: Vec<String> =
        fact.get("names").into_iter().flat_map(words::items).map(str::to_lowercase).collect();
    names.extend(fact.get("subject").and_then(common_name));
    if names.is_empty() {
        let leaf = |line: &&str| {
            let line = line.trim_start();
            line.starts_with("depth=0") || line.starts_with("0 s:") || line.starts_with("subject=")
        };
        names.extend(fact.text.lines().find(leaf).and_then(common_name));
    }
    names
}

pub fn inner_certificate_wrong_name(case: &Case) -> Vec<Hit> {
    let mut hits = Vec::new();
    for fact in case.of("tls").filter(|f| matches!(port_of(f), Some("1993" | "1995"))) {
        let Some(host) = fact.get("host").map(|h| h.split(':').next().unwrap_or(h)) else { continue };
        let names = shown_names(fact);
        let short = host.split('.').next().unwrap_or(host);
        let own = |name: &String| covers(name, host) || name.split('.').next() == Some(&short.to_lowercase());
        if !names.is_empty() && !names.iter().any(own) {
            let text = format!("The back end on {host} shows a certificate for {}", names.join(", "));
            hits.push(Hit::of(text, &[fact]));
        }
    }
    hits
}

const HANDSHAKE: &[&str] = &[
    "handshake failure",
    "no peer certificate",
    "handshake failed",
    "ssl handshake has read 0",
    "connection reset",
    "unexpected eof",
    "errno=104",
    "errno=0",
    "write:errno",
    "handshake",
];

fn handshake_failed(fact: &Fact) -> bool {
    let said = HANDSHAKE.iter().any(|phrase| fact.mentions(phrase));
    match &*fact.kind {
        "tls" => {
            fact.get("error").is_some() && fact.get("subject").is_none()
                || said && fact.get("subject").is_none()
        }
        _ => {
            let words = ["fail", "reset", "no peer", "dies", "stirbt", "bricht", "échou", "eof", "abort"];
            said && words.iter().any(|word| fact.mentions(word))
        }
    }
}

pub fn back_end_handshake_fails(case: &Case) -> Vec<Hit> {
    let on = |fact: &&Fact| match &*fact.kind {
        "tls" => {
            matches!(port_of(fact), Some("1993" | "1995")) || fact.mentions(":1993") || fact.mentions(":1995")
        }
        _ => fact.mentions("1993") || fact.mentions("1995"),
    };
    let seen = case.of("tls").chain(case.of("text")).chain(case.of("port"));
    let failed = seen.filter(on).filter(|fact| handshake_failed(fact));
    failed.take(2).map(|fact| Hit::of("The TLS handshake with the back end fails", &[fact])).collect()
}

pub fn fail_differently(case: &Case) -> Vec<Hit> {
    let Some(imap) = case.of("imap").find(|fact| fact.mentions("ProxyNotAuthenticated")) else {
        return Vec::new();
    };
    let on = |fact: &&Fact| match &*fact.kind {
        "tls" => matches!(port_of(fact), Some("995")),
        _ => fact.mentions("995") && !fact.mentions("1995"),
    };
    let failed = case.of("tls").chain(case.of("text")).filter(on).find(|fact| handshake_failed(fact));
    let text = "POP dies in the client's handshake while IMAP reaches the sign-in";
    failed.map(|fact| Hit::of(text, &[imap, fact])).into_iter().collect()
}

/// Whether access rules name Network Service; `None` where they only print the type of each rule.
fn network_service_reads(rules: &str) -> Option<bool> {
    let known = [
        "SYSTEM",
        "Administrat",
        "NT AUTHORITY",
        "BUILTIN",
        "S-1-5-",
        "SERVICE",
        "NT-AUTORITÄT",
        "VORDEFINIERT",
    ];
    if !known.iter().any(|word| words::contains(rules, word))
        || words::contains(rules, "System.Security.AccessControl")
    {
        let listed = words::contains(rules, "NETWORK SERVICE");
        return listed.then_some(true);
    }
    let names = [
        "NETWORK SERVICE",
        "NetworkService",
        "S-1-5-20",
        "NETZWERKDIENST",
        "SERVICE RÉSEAU",
        "SERVICE RESEAU",
    ];
    Some(names.iter().any(|name| words::contains(rules, name)))
}

fn chosen_for_mail(case: &Case, cert: &Cert<'_>) -> bool {
    if cert.is_auth() || cert.is_federation() {
        return false;
    }
    let named =
        settings(case).any(|(fact, _)| fact.get("x509certificatename").is_some_and(|name| cert.covers(name)));
    named
        || ["IMAP", "POP", "SMTP"].iter().any(|service| cert.serves(service))
        || cert.get("services").is_none()
}

pub fn key_unreadable(case: &Case) -> Vec<Hit> {
    let mut hits = Vec::new();
    for cert in certs(case) {
        let keyless = cert.get("hasprivatekey").is_some_and(|has| has.eq_ignore_ascii_case("false"));
        let Some(rules) = cert.get("accessrules").filter(|_| !keyless) else { continue };
        if network_service_reads(rules) == Some(false) && chosen_for_mail(case, &cert) {
            let text = format!(
                "The key of {} may be read by {rules}: Network Service is not among them",
                cert.shown()
            );
            hits.push(Hit::of(text, &[cert.first()]));
        }
    }
    hits
}

pub fn key_readable(case: &Case) -> Vec<Hit> {
    let mut hits = Vec::new();
    for cert in certs(case).iter().filter(|cert| chosen_for_mail(case, cert)) {
        match cert.get("accessrules").and_then(network_service_reads) {
            Some(true) => hits.push(Hit::of(
                format!("Network Service may read the key of {}", cert.shown()),
                &[cert.first()],
            )),
            Some(false) => return Vec::new(),
            None => {}
        }
    }
    hits
}

/// The access rules of a key, listed one by one, without Network Service.
pub fn key_rules_lack_network_service(case: &Case) -> Vec<Hit> {
    let mut files: BTreeMap<u32, Vec<&Fact>> = BTreeMap::new();
    for fact in case.of("object").filter(|f| f.get("identityreference").is_some()) {
        let key = fact.get("cryptokeyrights").is_some()
            || fact.is("type", "ExchangeCertificate")
            || words::contains(case.file(fact.at.file), "cert")
            || words::contains(case.file(fact.at.file), "key");
        if key {
            files.entry(fact.at.file).or_default().push(fact);
        }
    }
    let mut hits = Vec::new();
    for rules in files.into_values() {
        let all: Vec<&str> = rules.iter().filter_map(|fact| fact.get("identityreference")).collect();
        if network_service_reads(&all.join(", ")) == Some(false) {
            hits.push(Hit::of(
                format!("The key may be read by {}: Network Service is not among them", all.join(", ")),
                &rules,
            ));
        }
    }
    hits
}

pub fn for_imap_not_for_smtp(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let fits = |cert: &&Cert<'_>| {
        (cert.serves("IMAP") || cert.serves("POP"))
            && !cert.serves("SMTP")
            && !cert.self_signed()
            && cert.get("accessrules").and_then(network_service_reads).is_none()
    };
    all.iter()
        .filter(fits)
        .map(|cert| {
            let text = format!(
                "{} is bound to IMAP or POP and not to SMTP, so nothing gave Network Service its key",
                cert.shown()
            );
            Hit::of(text, &[cert.first()])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_rules_are_judged_only_where_they_name_somebody() {
        assert_eq!(network_service_reads("{System.Security.AccessControl.CryptoKeyAccessRule}"), None);
        assert_eq!(network_service_reads("{NT AUTHORITY\\SYSTEM, BUILTIN\\Administrators}"), Some(false));
        assert_eq!(network_service_reads("{NT AUTHORITY\\NETWORK SERVICE}"), Some(true));
    }
}
