//! What a domain promises in the DNS and whether it keeps it: SPF, DKIM, DMARC, MTA-STS, reports about TLS. DANE is in `dane`.
//!
//! A promise that is not made is only a fault where others count on it (SPF, DMARC). MTA-STS and reports about TLS
//! are judged where they are there.

use super::names::mx_host;
use super::seen::{Answer, Door, Kind, Seen, Speaks, Upgrade};
use super::words::{covers, tag, tags};
use super::{Found, causes, spf};

/// RSA keys of DKIM below this verify nowhere (RFC 8301 §3.2).
const DKIM_BASE64_MIN: usize = 200;

pub fn judge(seen: &Seen, out: &mut Vec<Found>) {
    if !seen.domain.is_empty() {
        if seen.kind == Kind::Mail {
            sender(seen, out);
        }
        dkim(seen, out);
        mta_sts(seen, out);
        tls_reports(seen, out);
    }
}

fn found(cause: &'static causes::OutsideCause, confidence: f64, seen: &Seen) -> Found {
    Found::new(cause, confidence, "others → domain", &seen.domain)
}

fn sender(seen: &Seen, out: &mut Vec<Found>) {
    let domain = &seen.domain;
    let at = format!("DNS {domain} TXT");
    let records: Vec<String> =
        seen.records(domain, "TXT").iter().filter(|r| spf::is_spf(r)).cloned().collect();
    match spf::judge(seen, domain) {
        spf::Verdict::Missing => {
            let text = "none of its TXT records begins with v=spf1";
            out.push(
                found(&causes::SPF_MISSING, 0.9, seen)
                    .seen(at, text)
                    .so(format!("{domain} has no SPF record.")),
            );
        }
        spf::Verdict::Invalid(why) => {
            let so = format!("The SPF record of {domain} is of no use: {why}.");
            out.push(found(&causes::SPF_INVALID, 0.93, seen).seen(at, records.join(" | ")).so(so));
        }
        spf::Verdict::Sound { ends: Some(ends) } if matches!(ends.as_str(), "+all" | "all") => {
            let so = format!("Everybody may send in the name of {domain}.");
            out.push(found(&causes::SPF_OPEN, 0.95, seen).seen(at, records.join(" | ")).so(so));
        }
        spf::Verdict::Sound { .. } | spf::Verdict::NotKnown => {}
    }
    dmarc(seen, out);
}

/// The domain's own record counts, else that of a domain above it.
fn dmarc(seen: &Seen, out: &mut Vec<Found>) {
    let mut name = seen.domain.as_str();
    loop {
        let full = format!("_dmarc.{name}");
        let at = format!("DNS {full} TXT");
        let Some(lookup) = seen.lookup(&full, "TXT") else { return };
        if matches!(lookup.answer, Answer::Timeout | Answer::Failed(_)) {
            return;
        }
        let all = lookup.records();
        let records: Vec<&String> =
            all.iter().filter(|r| r.to_ascii_lowercase().starts_with("v=dmarc1")).collect();
        match records.as_slice() {
            [] => {}
            [one] => {
                if let Some(why) = dmarc_fault(one) {
                    let so = format!("The DMARC record of {name} is of no use: {why}.");
                    out.push(found(&causes::DMARC_INVALID, 0.92, seen).seen(at, one.as_str()).so(so));
                }
                return;
            }
            several => {
                let so = format!("{name} has {} DMARC records; receivers take none of them.", several.len());
                out.push(found(&causes::DMARC_INVALID, 0.95, seen).seen(at, all.join(" | ")).so(so));
                return;
            }
        }
        match name.split_once('.') {
            Some((_, above)) if above.contains('.') => name = above,
            _ => break,
        }
    }
    let text = format!("there is none at _dmarc.{} or above", seen.domain);
    let so = format!("{} has no DMARC record.", seen.domain);
    out.push(
        found(&causes::DMARC_MISSING, 0.85, seen)
            .seen(format!("DNS _dmarc.{} TXT", seen.domain), text)
            .so(so),
    );
}

fn dmarc_fault(record: &str) -> Option<String> {
    let all = tags(record);
    if all.first().is_none_or(|(n, v)| n != "v" || v != "DMARC1") {
        return Some("it does not begin with v=DMARC1".into());
    }
    let known = |p: &str| matches!(p.to_ascii_lowercase().as_str(), "none" | "quarantine" | "reject");
    match tag(&all, "p") {
        None => Some("it has no p=".into()),
        Some(p) if !known(p) => Some(format!("p={p} is none of none, quarantine, reject")),
        Some(_) => None,
    }
}

fn dkim(seen: &Seen, out: &mut Vec<Found>) {
    let below = format!("._domainkey.{}", seen.domain);
    for lookup in seen.lookups.iter().filter(|l| l.kind == "TXT" && l.name.ends_with(&below)) {
        let selector = lookup.name.trim_end_matches(&below);
        let given = seen.selectors.iter().any(|s| s.eq_ignore_ascii_case(selector));
        let at = format!("DNS {} TXT", lookup.name);
        let why = match &lookup.answer {
            Answer::Records(records) => dkim_fault(&records.concat()),
            Answer::NoName | Answer::NoRecord if given => Some("there is no record".to_owned()),
            _ => None,
        };
        // A selector that many use and that has been withdrawn here is a turned key, no fault.
        let Some(why) = why.filter(|w| given || !w.contains("withdrawn")) else { continue };
        let so = format!("The DKIM key {selector} of {} cannot be used: {why}.", seen.domain);
        let confidence = if given { 0.93 } else { 0.8 };
        out.push(found(&causes::DKIM_KEY, confidence, seen).seen(at, lookup.records().concat()).so(so));
    }
}

fn dkim_fault(record: &str) -> Option<String> {
    let all = tags(record);
    if tag(&all, "v").is_some_and(|v| v != "DKIM1") {
        return Some("it is no DKIM record".into());
    }
    let Some(key) = tag(&all, "p") else { return Some("it has no p=".into()) };
    let key: String = key.chars().filter(|c| !c.is_whitespace()).collect();
    if key.is_empty() {
        return Some("it has been withdrawn (p= is empty)".into());
    }
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    if !key.bytes().all(good) {
        return Some("p= is no base64".into());
    }
    let rsa = tag(&all, "k").is_none_or(|k| k.eq_ignore_ascii_case("rsa"));
    // 1024 bits take 216 characters.
    (rsa && key.len() < DKIM_BASE64_MIN).then(|| "its RSA key has less than 1024 bits".into())
}

/// A policy of MTA-STS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Policy {
    mode: String,
    mx: Vec<String>,
}

fn policy_url(domain: &str) -> String {
    format!("https://mta-sts.{domain}/.well-known/mta-sts.txt")
}

fn policy(body: &str) -> Result<Policy, String> {
    let mut policy = Policy::default();
    let (mut version, mut age) = (false, false);
    for line in body.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let Some((name, value)) = line.split_once(':') else {
            return Err(format!("{line:?} is no line of a policy"));
        };
        match (name.trim(), value.trim()) {
            ("version", value) => version = value == "STSv1",
            ("mode", value) => policy.mode = value.to_owned(),
            ("mx", value) => policy.mx.push(value.trim_end_matches('.').to_owned()),
            ("max_age", value) => age = value.parse::<u64>().is_ok_and(|n| n <= 31_557_600),
            _ => {}
        }
    }
    match policy.mode.as_str() {
        _ if !version => Err("it has no line version: STSv1".into()),
        "enforce" | "testing" if policy.mx.is_empty() => Err("it names no mx".into()),
        "enforce" | "testing" | "none" if age => Ok(policy),
        "enforce" | "testing" | "none" => Err("its max_age is no number of seconds up to a year".into()),
        mode => Err(format!("mode: {mode:?} is none of enforce, testing, none")),
    }
}

fn announced(seen: &Seen) -> Vec<&String> {
    let records = seen.records(&format!("_mta-sts.{}", seen.domain), "TXT");
    records.iter().filter(|r| r.starts_with("v=STSv1")).collect()
}

/// Whether senders that keep to MTA-STS would refuse a server that does not.
pub fn enforces(seen: &Seen) -> bool {
    let page = seen.fetch(&policy_url(&seen.domain)).and_then(|f| f.outcome.as_ref().ok());
    !announced(seen).is_empty()
        && page
            .filter(|p| p.status == 200)
            .and_then(|p| policy(&p.body).ok())
            .is_some_and(|p| p.mode == "enforce")
}

fn mta_sts(seen: &Seen, out: &mut Vec<Found>) {
    let records = announced(seen);
    let at = format!("DNS _mta-sts.{} TXT", seen.domain);
    let Some(record) = records.first() else { return };
    let id = tags(record).into_iter().find(|(n, _)| n == "id").map(|(_, v)| v).unwrap_or_default();
    let fault = match id.len() {
        _ if records.len() > 1 => Some("there are several records".to_owned()),
        1..=32 if id.bytes().all(|b| b.is_ascii_alphanumeric()) => None,
        _ => Some(format!("id={id} is not up to 32 letters and digits")),
    };
    if let Some(fault) = fault {
        let so = format!("The MTA-STS record of {} is of no use: {fault}.", seen.domain);
        out.push(found(&causes::MTA_STS_SYNTAX, 0.92, seen).seen(at, record.as_str()).so(so));
        return;
    }
    let url = policy_url(&seen.domain);
    let Some(fetch) = seen.fetch(&url) else { return };
    let page = match &fetch.outcome {
        Err(why) => {
            let so = format!("The policy of {} cannot be fetched: {why}.", seen.domain);
            out.push(
                found(&causes::MTA_STS_FETCH, 0.93, seen)
                    .seen(at, record.as_str())
                    .seen(url, why.as_str())
                    .so(so),
            );
            return;
        }
        Ok(page) if page.status != 200 => {
            let so = format!("The web server answers {} where the policy has to be.", page.status);
            let text = format!("status {}", page.status);
            out.push(
                found(&causes::MTA_STS_FETCH, 0.93, seen).seen(at, record.as_str()).seen(url, text).so(so),
            );
            return;
        }
        Ok(page) => page,
    };
    match policy(&page.body) {
        Err(why) => {
            let so = format!("The MTA-STS policy of {} is of no use: {why}.", seen.domain);
            let body = super::words::said(&page.body.lines().map(str::to_owned).collect::<Vec<_>>());
            out.push(found(&causes::MTA_STS_SYNTAX, 0.92, seen).seen(url, body).so(so));
        }
        Ok(policy) => kept(seen, &policy, &url, out),
    }
}

/// Whether each MX is in the policy, and has the TLS that it promises.
fn kept(seen: &Seen, policy: &Policy, url: &str, out: &mut Vec<Found>) {
    if policy.mode == "none" {
        return;
    }
    let enforce = policy.mode == "enforce";
    for record in seen.records(&seen.domain, "MX") {
        let Some(host) = mx_host(record).filter(|h| !h.is_empty()) else { continue };
        if !policy.mx.iter().any(|p| covers(p, host)) {
            let so = format!(
                "The policy (mode {}) does not name {host}, which takes mail for {}.",
                policy.mode, seen.domain
            );
            let found = found(&causes::MTA_STS_MISMATCH, if enforce { 0.97 } else { 0.85 }, seen)
                .seen(format!("DNS {} MX", seen.domain), record.as_str())
                .seen(url, format!("mode: {}, mx: {}", policy.mode, policy.mx.join(", ")))
                .so(so);
            out.push(found);
        }
        for door in
            seen.doors.iter().filter(|d| d.speaks == Speaks::Smtp && d.host.eq_ignore_ascii_case(host))
        {
            let Some(fault) = tls_fault(seen, door) else { continue };
            let so = format!(
                "{host} does not have the TLS that the policy (mode {}) promises: {fault}.",
                policy.mode
            );
            // A consequence: the fault itself is told before it.
            let found = found(&causes::MTA_STS_BROKEN, if enforce { 0.65 } else { 0.55 }, seen)
                .seen(url, format!("mode: {}", policy.mode))
                .seen(door.place(), fault)
                .so(so);
            out.push(found);
        }
    }
}

/// Why a sender that looks closely would not deliver at this door.
fn tls_fault(seen: &Seen, door: &Door) -> Option<String> {
    if door.upgrade == Upgrade::NotOffered {
        return Some("it offers no STARTTLS".into());
    }
    let tls = door.tls.as_ref()?;
    let own = tls.chain.first()?;
    if own.not_after.since(seen.now) < 0 {
        Some(format!("its certificate was valid until {}", own.not_after))
    } else if !own.names.iter().any(|n| covers(n, &door.host)) {
        Some(format!("its certificate is for {}", own.names.join(", ")))
    } else {
        tls.distrust.as_ref().map(|why| format!("its certificate is not trusted ({why})"))
    }
}

fn tls_reports(seen: &Seen, out: &mut Vec<Found>) {
    let name = format!("_smtp._tls.{}", seen.domain);
    let records: Vec<&String> =
        seen.records(&name, "TXT").iter().filter(|r| r.starts_with("v=TLSRPT")).collect();
    let good = |record: &String| {
        let all = tags(record);
        let rua = tag(&all, "rua").unwrap_or_default();
        tag(&all, "v") == Some("TLSRPTv1")
            && rua.split(',').all(|r| r.trim().starts_with("mailto:") || r.trim().starts_with("https:"))
    };
    let why = match records.as_slice() {
        [] => return,
        [one] if good(one) => return,
        [_] => "it has no rua=mailto:… or https:…",
        _ => "there are several",
    };
    let text = records.iter().map(|r| r.as_str()).collect::<Vec<_>>().join(" | ");
    let so = format!("The record for TLS reports of {} is of no use: {why}.", seen.domain);
    out.push(found(&causes::TLSRPT_INVALID, 0.9, seen).seen(format!("DNS {name} TXT"), text).so(so));
}
