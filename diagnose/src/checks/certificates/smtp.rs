//! SMTP: connectors, STARTTLS and the internal transport certificate.

use super::super::Hit;
use super::{Cert, certs, certs_of, dated, plain_name, port_of};
use crate::case::Case;
use crate::fact::{Fact, server_name};
use crate::read::when;
use crate::words;
use regex::Regex;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// A certificate that lasts at least this much longer took the place of one that was about to end.
const LASTS_MILLIS: i64 = 14 * 86_400_000;

static WARNED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let before = "domain name|FQDN (?:parameter )?of|FQDN-Parameter|Domänennamen|nom de domaine|nombre de dominio|subject:";
    Regex::new(&format!(r"(?i)(?:{before}) +(?:CN=)?(?P<name>[a-z0-9*][a-z0-9-]*(?:\.[a-z0-9-]+)+)")).ok()
});

/// `<I>issuer<S>subject`, without the spaces that programs set as they like.
fn pair(text: &str) -> Option<(String, String)> {
    let lower = text.replace("&lt;", "<").replace("&gt;", ">");
    let (_, rest) = lower.split_once("<I>").or_else(|| lower.split_once("<i>"))?;
    let (issuer, subject) = rest.split_once("<S>").or_else(|| rest.split_once("<s>"))?;
    Some((plain_name(issuer), plain_name(subject)))
}

fn connectors(case: &Case) -> impl Iterator<Item = (&Fact, Option<Arc<str>>)> {
    // A pasted excerpt may not tell its type; these properties are of connectors only.
    let is = |fact: &&Fact| {
        let typed = fact.is("type", "ReceiveConnector") || fact.is("type", "SendConnector");
        typed
            || fact.get("tlscertificatename").is_some()
            || fact.get("fqdn").is_some() && fact.get("bindings").is_some()
    };
    case.of("object").filter(is).map(|fact| {
        let id = fact.get("identity").and_then(|id| id.split_once('\\')).map(|(server, _)| server);
        (fact, fact.get("server").or(id).and_then(server_name))
    })
}

fn connector_name(fact: &Fact) -> &str {
    fact.get("identity").or_else(|| fact.get("name")).unwrap_or("a connector")
}

/// Connectors that name a certificate, and whether one of the listed ones is it.
fn connector_certificates(case: &Case) -> Vec<(&Fact, Option<Arc<str>>, String, bool)> {
    let all = certs(case);
    let mut found = Vec::new();
    for (fact, server) in connectors(case) {
        let Some((issuer, subject)) = fact.get("tlscertificatename").and_then(pair) else { continue };
        let mut here = certs_of(&all, server.as_deref());
        here.retain(|cert| cert.get("issuer").is_some() && cert.get("subject").is_some());
        if here.is_empty() || (here.len() < 2 && !here.iter().any(|cert| cert.serves("SMTP"))) {
            continue;
        }
        let is = |cert: &&&Cert<'_>| {
            cert.get("issuer").map(plain_name).as_deref() == Some(&issuer)
                && cert.get("subject").map(plain_name).as_deref() == Some(&subject)
        };
        found.push((fact, server, format!("{subject} from {issuer}"), here.iter().any(|cert| is(&cert))));
    }
    found
}

pub fn connector_certificate_absent(case: &Case) -> Vec<Hit> {
    let absent = connector_certificates(case).into_iter().filter(|(.., there)| !there);
    absent
        .map(|(fact, server, name, _)| {
            let text =
                format!("{} names the certificate {name}, which is not installed", connector_name(fact));
            Hit { server: server.or_else(|| fact.server.clone()), ..Hit::of(text, &[fact]) }
        })
        .collect()
}

pub fn connector_certificate_present(case: &Case) -> Vec<Hit> {
    let all = connector_certificates(case);
    if all.is_empty() || all.iter().any(|(.., there)| !there) {
        return Vec::new();
    }
    all.iter()
        .map(|(fact, _, name, _)| {
            Hit::of(
                format!("{} names the certificate {name}, which is installed", connector_name(fact)),
                &[fact],
            )
        })
        .collect()
}

pub fn connector_name_not_covered(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let mut hits = Vec::new();
    for (fact, server) in
        connectors(case).filter(|(f, _)| f.is("type", "ReceiveConnector") || f.get("bindings").is_some())
    {
        let Some(host) = fact.get("fqdn").filter(|_| fact.get("tlscertificatename").and_then(pair).is_none())
        else {
            continue;
        };
        let here = certs_of(&all, server.as_deref());
        let known =
            here.len() > 1 && here.iter().all(|cert| cert.knows_names() && cert.get("services").is_some());
        if known && !here.iter().any(|cert| cert.serves("SMTP") && cert.covers(host)) {
            let text =
                format!("{} answers as {host}, which no certificate for SMTP carries", connector_name(fact));
            hits.push(Hit { server, ..Hit::of(text, &[fact]) });
        }
    }
    hits
}

/// Facts that tell of event 12014, with the name that it looked for.
fn events_12014(case: &Case) -> impl Iterator<Item = (&Fact, bool)> {
    let told = case.all().filter(|fact| {
        fact.is("id", "12014") && fact.kind == "event"
            || fact.mentions("certificate that contains the domain name")
    });
    // Web pages take the pair for tags and drop it; a host name would have stayed.
    const PAIR: [&str; 4] = [
        "<I>",
        "&lt;I&gt;",
        "contains the domain name in the personal",
        "contains the domain name  in the personal",
    ];
    told.map(|fact| (fact, PAIR.iter().any(|form| fact.mentions(form))))
}

pub fn event_12014_names_a_pair(case: &Case) -> Vec<Hit> {
    let pairs = events_12014(case).filter(|(_, pair)| *pair);
    pairs.take(1).map(|(fact, _)| Hit::of("Event 12014 names an issuer and a subject", &[fact])).collect()
}

pub fn event_12014_names_a_host(case: &Case) -> Vec<Hit> {
    if events_12014(case).any(|(_, pair)| pair) {
        return Vec::new();
    }
    let hosts = events_12014(case).filter(|(fact, _)| fact.mentions("domain name"));
    hosts
        .take(1)
        .map(|(fact, _)| Hit::of("Event 12014 names a host, not an issuer and a subject", &[fact]))
        .collect()
}

/// Every name that events 12014, 12016 and 12018 missed a certificate for is covered by one that is enabled for SMTP.
pub fn warned_names_are_covered(case: &Case) -> Vec<Hit> {
    let Some(warned) = WARNED.as_ref().filter(|_| dated(case)) else { return Vec::new() };
    let all = certs(case);
    let lasts = |cert: &&&Cert<'_>| {
        let end = cert.get("notafter").and_then(when::parse);
        cert.serves("SMTP")
            && cert.get("hasprivatekey").is_none_or(|has| has.eq_ignore_ascii_case("true"))
            && !cert.expired(case)
            && end.is_some_and(|end| end > case.now().plus_millis(LASTS_MILLIS))
    };
    let mut hits = Vec::new();
    let warns = |f: &&Fact| f.kind == "event" && matches!(f.get("id"), Some("12014" | "12016" | "12018"));
    for fact in case.of("event").filter(warns) {
        let message = fact.get("message").unwrap_or(&fact.text);
        let here = certs_of(&all, fact.server.as_deref());
        let names: Vec<&str> =
            warned.captures_iter(message).filter_map(|c| c.name("name")).map(|m| m.as_str()).collect();
        let cert = here.iter().filter(lasts).find(|cert| names.iter().all(|name| cert.covers(name)));
        match cert {
            Some(cert) if !names.is_empty() => {
                hits.push(Hit::of(format!("{} covers the name by now", cert.shown()), &[fact]));
            }
            _ => return Vec::new(),
        }
    }
    hits.truncate(1);
    hits
}

/// An EHLO answer that lists other things than STARTTLS.
pub fn ehlo_without_starttls(case: &Case) -> Vec<Hit> {
    let mut files: BTreeMap<u32, Vec<&Fact>> = BTreeMap::new();
    for fact in case.of("conversation") {
        files.entry(fact.at.file).or_default().push(fact);
    }
    let mut hits = Vec::new();
    for facts in files.values() {
        let has = |word: &str| facts.iter().any(|fact| fact.mentions(word));
        let listed = ["SIZE", "PIPELINING", "8BITMIME", "CHUNKING"].iter().filter(|word| has(word)).count();
        if has("EHLO") && listed >= 2 && !has("STARTTLS") && !has("****") && !has("XXXX") {
            let ehlo = facts.iter().find(|fact| fact.mentions("EHLO")).copied();
            hits.extend(ehlo.map(|fact| Hit::of("The answer to EHLO does not offer STARTTLS", &[fact])));
        }
    }
    hits
}

pub fn smtp_certificate_expired(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let mut hits = Vec::new();
    for cert in
        all.iter().filter(|c| c.serves("SMTP") && !c.self_signed() && !c.is_auth() && !c.is_federation())
    {
        let names = cert.names();
        let replaced = all.iter().any(|other| {
            other.serves("SMTP") && !other.expired(case) && names.iter().any(|name| other.covers(name))
        });
        if cert.expired(case) && !replaced {
            let end = cert.get("notafter").unwrap_or("its last day");
            hits.push(Hit::of(format!("{}, enabled for SMTP, is past {end}", cert.shown()), &[cert.first()]));
        }
    }
    hits
}

pub fn peer_shows_expired(case: &Case) -> Vec<Hit> {
    let on = |fact: &&Fact| matches!(port_of(fact), Some("25" | "587" | "465" | "2525"));
    let over = |fact: &&Fact| {
        fact.mentions("certificate has expired")
            || dated(case) && fact.get("notafter").and_then(when::parse).is_some_and(|end| end < case.now())
    };
    let seen = case.of("tls").filter(on).filter(over);
    seen.take(2).map(|fact| Hit::of("The certificate shown on the SMTP port has expired", &[fact])).collect()
}

/// The internal transport certificate by the thumbprint that the directory holds.
fn internal_thumbs(case: &Case) -> Vec<(&Fact, String)> {
    let services = case.objects("TransportService").chain(case.objects("TransportServer"));
    let more = case.objects("FrontendTransportService").chain(case.objects("ExchangeServer"));
    let named = services.chain(more);
    named
        .filter_map(|f| Some((f, f.get("internaltransportcertificatethumbprint")?.to_ascii_uppercase())))
        .filter(|(_, thumb)| thumb.len() >= 20)
        .collect()
}

pub fn internal_absent(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let mut hits = Vec::new();
    for (fact, thumb) in internal_thumbs(case) {
        let server = fact.get("name").and_then(server_name).or_else(|| fact.server.clone());
        let mut here = certs_of(&all, server.as_deref());
        here.retain(|cert| cert.get("thumbprint").is_some());
        let there =
            here.iter().any(|cert| cert.get("thumbprint").is_some_and(|t| t.eq_ignore_ascii_case(&thumb)));
        if here.len() >= 2 && !there {
            let text = format!("The internal transport certificate {thumb} is not among the installed ones");
            hits.push(Hit { server, ..Hit::of(text, &[fact]) });
        }
    }
    hits
}

pub fn internal_expired(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let thumbs: Vec<String> = internal_thumbs(case).into_iter().map(|(_, thumb)| thumb).collect();
    let mut hits = Vec::new();
    for cert in all.iter().filter(|cert| cert.expired(case) && !cert.is_auth() && !cert.is_federation()) {
        let thumb = cert.get("thumbprint").unwrap_or_default().to_ascii_uppercase();
        let named = thumbs.contains(&thumb);
        let other_valid =
            all.iter().any(|o| o.self_signed() && o.serves("SMTP") && !o.expired(case) && !o.is_auth());
        if named || thumbs.is_empty() && cert.self_signed() && cert.serves("SMTP") && !other_valid {
            let text = format!("{}, which encrypts mail between servers, has expired", cert.shown());
            hits.push(Hit::of(text, &[cert.first()]));
        }
    }
    hits
}

/// Certificates that the send log shows as its own: by thumbprint or subject.
fn sent_with<'a>(case: &'a Case, cert: &Cert<'_>) -> Option<&'a Fact> {
    let thumb = cert.get("thumbprint").unwrap_or("-none-");
    let subject = cert.get("subject").unwrap_or("-none-");
    case.of("smtp-send").find(|fact| {
        let data = fact.get("data").unwrap_or(&fact.text);
        words::contains(data, thumb)
            || fact.mentions("Certificate subject") && plain_name(data) == plain_name(subject)
    })
}

pub fn sending_not_for_smtp(case: &Case) -> Vec<Hit> {
    let mut hits = Vec::new();
    for cert in certs(case).iter().filter(|cert| cert.get("services").is_some() && !cert.serves("SMTP")) {
        let named = connectors(case)
            .filter_map(|(fact, _)| Some((fact, fact.get("tlscertificatename").and_then(pair)?)))
            .find(|(_, (_, subject))| cert.get("subject").map(plain_name).as_ref() == Some(subject))
            .map(|(fact, _)| fact);
        if let Some(fact) = sent_with(case, cert).or(named) {
            let text = format!("{} is used for sending and not enabled for SMTP", cert.shown());
            hits.push(Hit::of(text, &[cert.first(), fact]));
        }
    }
    hits
}

pub fn sending_without_key(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let keyless =
        all.iter().filter(|c| c.get("hasprivatekey").is_some_and(|has| has.eq_ignore_ascii_case("false")));
    let mine = keyless.filter(|cert| !cert.is_pending());
    mine.map(|cert| Hit::of(format!("{} has no private key", cert.shown()), &[cert.first()])).collect()
}

pub fn two_for_one_name(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let good: Vec<_> = all
        .iter()
        .filter(|c| {
            c.serves("SMTP") && !c.expired(case) && !c.is_auth() && !c.is_federation() && !c.self_signed()
        })
        .collect();
    let mut hits = Vec::new();
    for (at, one) in good.iter().enumerate() {
        for other in good.iter().skip(at + 1) {
            let issuers = one.get("issuer").map(plain_name) != other.get("issuer").map(plain_name);
            let names = other.names();
            let shared = one.names().into_iter().find(|name| names.contains(name));
            let one_server = one.server() == other.server();
            if let Some(name) = shared.filter(|_| issuers && one_server) {
                let text = format!(
                    "{} and {} are both enabled for SMTP and carry {name}",
                    one.shown(),
                    other.shown()
                );
                hits.push(Hit::of(text, &[one.first(), other.first()]));
            }
        }
    }
    hits
}

pub fn two_of_one_issuer_and_subject(case: &Case) -> Vec<Hit> {
    let all = certs(case);
    let mut hits = Vec::new();
    for (at, one) in all.iter().enumerate() {
        let key = |c: &Cert<'_>| {
            Some((c.server().cloned(), plain_name(c.get("issuer")?), plain_name(c.get("subject")?)))
        };
        let same = all.iter().skip(at + 1).find(|other| {
            key(one).is_some()
                && key(one) == key(other)
                && !one.self_signed()
                && one.get("thumbprint") != other.get("thumbprint")
        });
        if let Some(other) = same {
            let text = format!("{} and {} have the same issuer and subject", one.shown(), other.shown());
            hits.push(Hit::of(text, &[one.first(), other.first()]));
        }
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_issuer_and_subject() {
        assert_eq!(pair("<I>CN=A, O=B<S>CN=c").as_ref().map(|p| p.1.as_str()), Some("cn=c"));
        assert!(pair("mail.example.org").is_none());
    }
}
