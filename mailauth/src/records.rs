//! What the DNS should show for a domain of ours, what it shows, and what to do about the difference.

use crate::check::{Authenticator, Word};
use crate::keys::{DomainKeys, KeyError, KeyFolder, KeyInfo, KeyState};
use std::net::IpAddr;
use waypost_base::Timestamp;
use waypost_trust::dns::{Dns, DnsError, Mx};

/// Mail that was signed with a key may be under way, or be looked at again, for so long after another took over.
pub const RETIRING_DAYS: i64 = 7;
const DAY_MILLIS: i64 = 86_400_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordState {
    Ok,
    /// It works; somebody may want it otherwise.
    Advice,
    Missing,
    Wrong,
    /// The name servers did not answer.
    Unknown,
}

impl RecordState {
    pub const fn as_str(self) -> &'static str {
        match self {
            RecordState::Ok => "Ok",
            RecordState::Advice => "Advice",
            RecordState::Missing => "Missing",
            RecordState::Wrong => "Wrong",
            RecordState::Unknown => "Unknown",
        }
    }
}

/// A record, wanted and found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// `MX`, `SPF`, `DKIM`, `DMARC`.
    pub purpose: &'static str,
    pub name: String,
    /// `MX` or `TXT`.
    pub kind: &'static str,
    /// What to publish, as one text.
    pub wanted: String,
    pub found: Vec<String>,
    pub state: RecordState,
    /// What to do, in words; empty where nothing is to be done.
    pub advice: String,
}

impl Line {
    /// The wanted record as a line of a zone file.
    pub fn zone(&self) -> String {
        match self.kind {
            "TXT" => format!("{}. IN TXT {}", self.name, strings(&self.wanted)),
            kind => format!("{}. IN {kind} {}", self.name, self.wanted),
        }
    }
}

/// A text as TXT records hold it: strings of at most 255 octets (RFC 1035 §3.3).
fn strings(text: &str) -> String {
    let quoted = |piece: &[u8]| format!("\"{}\"", String::from_utf8_lossy(piece).replace('"', "\\\""));
    let pieces: Vec<String> = text.as_bytes().chunks(255).map(quoted).collect();
    if pieces.len() > 1 { format!("( {} )", pieces.join(" ")) } else { pieces.concat() }
}

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Ours<'a> {
    pub domain: &'a str,
    /// The name that mail for the domain should be sent to.
    pub host: &'a str,
    /// Addresses that our mail leaves from; the host's if none are given.
    pub addresses: &'a [IpAddr],
    pub keys: Option<&'a DomainKeys>,
}

/// Asks for everything that a domain should have. Answers may be as old as their TTL; [`crate::Names::forget`] helps.
pub async fn state(authenticator: &Authenticator, ours: Ours<'_>) -> Vec<Line> {
    let names = authenticator.names();
    let (mx, spf, dmarc) =
        tokio::join!(mx_line(names, ours), spf_line(authenticator, ours), dmarc_line(names, ours.domain));
    let mut lines = vec![mx, spf];
    match ours.keys {
        None => lines.push(Line {
            purpose: "DKIM",
            name: format!("SELECTOR._domainkey.{}", ours.domain),
            kind: "TXT",
            wanted: String::new(),
            found: Vec::new(),
            state: RecordState::Advice,
            advice: format!("Mail is not signed. New-DkimSigningConfig {} makes keys.", ours.domain),
        }),
        Some(keys) => {
            for key in &keys.keys {
                lines.push(key_line(names, ours.domain, key).await);
            }
        }
    }
    lines.push(dmarc);
    lines
}

async fn mx_line(dns: &dyn Dns, ours: Ours<'_>) -> Line {
    let line = Line {
        purpose: "MX",
        name: ours.domain.to_owned(),
        kind: "MX",
        wanted: format!("10 {}.", ours.host),
        found: Vec::new(),
        state: RecordState::Ok,
        advice: String::new(),
    };
    let mut found: Vec<Mx> = match dns.mx(ours.domain).await {
        Ok(found) => found,
        Err(e) => return not_found(line, &e, "Publish it, so that others find this server."),
    };
    found.sort();
    let at_all = found.iter().any(|mx| mx.host.eq_ignore_ascii_case(ours.host));
    let first = found.first().is_some_and(|mx| mx.host.eq_ignore_ascii_case(ours.host));
    let line =
        Line { found: found.iter().map(|mx| format!("{} {}.", mx.preference, mx.host)).collect(), ..line };
    if first {
        return line;
    }
    let advice = if at_all {
        "Mail goes to another server first. That is right if it hands the mail on to this one."
    } else {
        "Mail goes to other servers. That is right if they hand it on to this one."
    };
    Line { state: RecordState::Advice, advice: advice.into(), ..line }
}

async fn spf_line(authenticator: &Authenticator, ours: Ours<'_>) -> Line {
    let names = authenticator.names();
    let line = Line {
        purpose: "SPF",
        name: ours.domain.to_owned(),
        kind: "TXT",
        wanted: "v=spf1 mx -all".into(),
        found: Vec::new(),
        state: RecordState::Ok,
        advice: String::new(),
    };
    const PUBLISH: &str =
        "Publish it, so that others know which servers send your mail; add those that do besides this one.";
    let found: Vec<String> = match names.txt(ours.domain).await {
        Ok(texts) => texts.into_iter().filter(|t| t.to_ascii_lowercase().starts_with("v=spf1")).collect(),
        Err(e) => return not_found(line, &e, PUBLISH),
    };
    match found.len() {
        0 => return Line { state: RecordState::Missing, advice: PUBLISH.into(), ..line },
        1 => {}
        _ => {
            let advice = "A domain may have one SPF record: put them together into one.".into();
            return Line { state: RecordState::Wrong, advice, found, ..line };
        }
    }
    let line = Line { found, ..line };
    let mut addresses = ours.addresses.to_vec();
    if addresses.is_empty() {
        addresses = names.addresses(ours.host).await.unwrap_or_default();
    }
    if addresses.is_empty() {
        let advice = format!(
            "{} has no address in the DNS, so it was not looked whether the record has it.",
            ours.host
        );
        return Line { state: RecordState::Advice, advice, ..line };
    }
    for address in addresses {
        let spf = authenticator.spf_of(address, ours.domain, ours.host).await;
        let (state, advice) = match spf.word {
            Word::Pass => continue,
            Word::TempError => (RecordState::Unknown, spf.why),
            Word::PermError => (RecordState::Wrong, format!("The record cannot be used: {}", spf.why)),
            word => (
                RecordState::Wrong,
                format!(
                    "The record says {word} of {address}, which mail leaves from. Add mx, or the address."
                ),
            ),
        };
        return Line { state, advice, ..line };
    }
    line
}

async fn dmarc_line(dns: &dyn Dns, domain: &str) -> Line {
    let line = Line {
        purpose: "DMARC",
        name: format!("_dmarc.{domain}"),
        kind: "TXT",
        wanted: format!("v=DMARC1; p=none; rua=mailto:postmaster@{domain}"),
        found: Vec::new(),
        state: RecordState::Ok,
        advice: String::new(),
    };
    const PUBLISH: &str =
        "Publish it; when the reports show that your mail passes, ask for p=quarantine, then p=reject.";
    let found: Vec<String> = match dns.txt(&line.name).await {
        Ok(texts) => texts.into_iter().filter(|t| t.starts_with("v=DMARC1")).collect(),
        Err(e) => return not_found(line, &e, PUBLISH),
    };
    match found.as_slice() {
        [] => Line { state: RecordState::Missing, advice: PUBLISH.into(), ..line },
        [one] => {
            let none = tag(one, "p").is_none_or(|p| p.eq_ignore_ascii_case("none"));
            let advice = "Others are asked to do nothing about mail forged in your name; p=quarantine or p=reject asks for it.";
            let (state, advice) = if none {
                (RecordState::Advice, advice.to_owned())
            } else {
                (RecordState::Ok, String::new())
            };
            Line { state, advice, found, ..line }
        }
        _ => {
            let advice = "A domain may have one DMARC record; with several, none counts.".into();
            Line { state: RecordState::Wrong, advice, found, ..line }
        }
    }
}

async fn key_line(dns: &dyn Dns, domain: &str, key: &KeyInfo) -> Line {
    let line = Line {
        purpose: "DKIM",
        name: key.name(domain),
        kind: "TXT",
        wanted: key.record(),
        found: Vec::new(),
        state: RecordState::Ok,
        advice: String::new(),
    };
    let texts = dns.txt(&line.name).await;
    if key.state == KeyState::Retired {
        let (state, advice) = match &texts {
            Ok(_) => (RecordState::Advice, "No longer needed: take it out of the DNS."),
            Err(e) if e.retry() => (RecordState::Unknown, ""),
            Err(_) => (RecordState::Ok, ""),
        };
        return Line { found: texts.unwrap_or_default(), state, advice: advice.into(), ..line };
    }
    match texts {
        Err(e) => not_found(line, &e, "Publish it; the key signs once it is seen."),
        Ok(found) => {
            let right = found.iter().any(|text| shows(text, key));
            let (state, advice) = match (right, key.state) {
                (false, _) => (RecordState::Wrong, "Another key stands there: replace it.".to_owned()),
                (true, KeyState::Pending) => {
                    (RecordState::Ok, "The key will sign within a minute.".to_owned())
                }
                (true, KeyState::Retiring) => {
                    (RecordState::Ok, format!("Leave it for {RETIRING_DAYS} days after the change of keys."))
                }
                (true, _) => (RecordState::Ok, String::new()),
            };
            Line { found, state, advice, ..line }
        }
    }
}

fn not_found(line: Line, e: &DnsError, publish: &str) -> Line {
    if e.retry() {
        Line { state: RecordState::Unknown, advice: format!("Ask again later: {e}."), ..line }
    } else {
        Line { state: RecordState::Missing, advice: publish.to_owned(), ..line }
    }
}

/// Whether a key record has this key.
fn shows(text: &str, key: &KeyInfo) -> bool {
    tag(text, "p").is_some_and(|p| p.split_ascii_whitespace().collect::<String>() == key.public)
}

/// A value of a list of tags (RFC 6376 §3.2).
fn tag<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split(';').find_map(|part| {
        let (tag, value) = part.split_once('=')?;
        (tag.trim() == name).then(|| value.trim())
    })
}

/// Lets pending keys sign whose records are there, and ends the time of retiring ones. `true`: something changed.
pub async fn turn_over(folder: &KeyFolder, dns: &dyn Dns, now: Timestamp) -> Result<bool, KeyError> {
    let mut changed = false;
    for domain in folder.domains()? {
        for key in &domain.keys {
            match key.state {
                KeyState::Pending => {
                    let Ok(texts) = dns.txt(&key.name(&domain.domain)).await else { continue };
                    if texts.iter().any(|text| shows(text, key)) {
                        folder.activate(&domain.domain, &key.selector, now)?;
                        tracing::info!(domain = domain.domain, selector = key.selector, "signing key in use");
                        changed = true;
                    }
                }
                KeyState::Retiring if now.since(key.since) > RETIRING_DAYS * DAY_MILLIS => {
                    folder.retire(&domain.domain, &key.selector, now)?;
                    tracing::info!(domain = domain.domain, selector = key.selector, "signing key retired");
                    changed = true;
                }
                _ => {}
            }
        }
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zone_lines() {
        let line = Line {
            purpose: "DKIM",
            name: "s._domainkey.a.example".into(),
            kind: "TXT",
            wanted: format!("v=DKIM1; k=rsa; p={}", "A".repeat(300)),
            found: Vec::new(),
            state: RecordState::Missing,
            advice: String::new(),
        };
        let zone = line.zone();
        assert!(zone.starts_with("s._domainkey.a.example. IN TXT ( \"v=DKIM1; k=rsa; p=AAA"));
        assert!(zone.split('"').all(|piece| piece.len() <= 255));
        let short = Line { kind: "MX", wanted: "10 mx.a.example.".into(), name: "a.example".into(), ..line };
        assert_eq!(short.zone(), "a.example. IN MX 10 mx.a.example.");
    }

    #[test]
    fn tags() {
        assert_eq!(tag("v=DMARC1; p = reject ;sp=none", "p"), Some("reject"));
        assert_eq!(tag("v=DKIM1; k=rsa; p=AB CD", "p"), Some("AB CD"));
        assert_eq!(tag("v=DKIM1", "p"), None);
    }
}
