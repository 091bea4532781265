//! The chain that a door shows: time, names, who stands behind it, how strong it is.

use super::causes::{self, OutsideCause};
use super::seen::{Certificate, Door, Seen, Speaks, Tls};
use super::words::covers;
use super::{Fact, Found};
use super::{dane, promises};
use std::net::IpAddr;

const DAY_MILLIS: i64 = 86_400_000;
/// Days before its end from which what renews a certificate should have done so. Authorities of today issue for 47 to 90
/// days, some for 6; what is issued for less than a month is told of later.
const SOON_DAYS: i64 = 7;
/// RSA keys below this are refused by clients.
const RSA_BITS_MIN: u32 = 2048;

/// A problem of a certificate, before anybody asks who minds it.
struct Problem {
    cause: &'static OutsideCause,
    confidence: f64,
    fact: String,
    so: String,
    untested: Option<&'static str>,
}

pub fn judge(seen: &Seen, door: &Door, tls: &Tls, out: &mut Vec<Found>) {
    // Where a TLSA record proved by DNSSEC says which certificate it is, names, time and authorities do not matter.
    if door.speaks == Speaks::Smtp && dane::dane_fits(seen, door) == Some(true) {
        return;
    }
    for problem in problems(seen, door, tls) {
        // Few senders look at the certificate of an MX; those that keep to MTA-STS do.
        let confidence = if door.speaks == Speaks::Smtp && !promises::enforces(seen) {
            problem.confidence.min(0.7)
        } else {
            problem.confidence
        };
        let leg = format!("{} → {}", party(door.speaks), door.place());
        let mut found = Found::new(problem.cause, confidence, leg, &door.host).so(problem.so);
        found.evidence.push(Fact { at: door.place(), text: problem.fact });
        if let Some(untested) = problem.untested {
            found = found.untested(untested);
        }
        if problem.cause == &causes::CHAIN {
            found = found.rival(
                causes::UNTRUSTED.code,
                "Fetch the issuer's certificate and repeat with --ca FILE: if the chain holds then, and clients do not know the issuer's root, the authority is the cause.",
            );
        }
        out.push(found);
    }
}

pub(super) fn party(speaks: Speaks) -> &'static str {
    match speaks {
        Speaks::Smtp => "sender",
        _ => "client",
    }
}

fn problems(seen: &Seen, door: &Door, tls: &Tls) -> Vec<Problem> {
    let Some(own) = tls.chain.first() else { return Vec::new() };
    let mut all = Vec::new();
    let mut add = |cause, confidence, fact: String, so: String| {
        all.push(Problem { cause, confidence, fact, so, untested: None });
    };
    for (n, certificate) in tls.chain.iter().enumerate() {
        // A root that is sent along is not looked at by anybody.
        if n > 0 && certificate.self_signed {
            continue;
        }
        time(seen, certificate, n == 0, &mut add);
    }
    if own.self_signed {
        let fact = format!("{} is its own issuer", own.subject);
        let so = format!("The certificate of {} was made by the server itself.", door.host);
        add(&causes::SELF_SIGNED, 0.95, fact, so);
    } else if let Some(why) = &tls.distrust {
        let fact = format!(
            "shows {} (issuer {}): {why}",
            count(tls.chain.len()),
            tls.chain.last().map_or("", |c| c.issuer.as_str())
        );
        if tls.chain.len() == 1 {
            let so = format!("The server does not send the certificate of its issuer, {}.", own.issuer);
            add(&causes::CHAIN, 0.8, fact, so);
        } else {
            let issuer = tls.chain.last().map_or("", |c| c.issuer.as_str());
            add(
                &causes::UNTRUSTED,
                0.85,
                fact,
                format!("The chain ends in {issuer}, which this machine does not trust."),
            );
        }
    }
    // Asked for by address nobody expects a name.
    let by_address = door.host.parse::<IpAddr>().is_ok();
    if !by_address && !own.names.iter().any(|n| covers(n, &door.host)) {
        let names = if own.names.is_empty() { "no name at all".to_owned() } else { own.names.join(", ") };
        let so = format!("{} is not among the names of its certificate.", door.host);
        add(&causes::NAME, 0.95, format!("asked for {}, the certificate is for {names}", door.host), so);
    }
    if let Some(weak) = weak(own) {
        add(&causes::WEAK, 0.9, weak.clone(), format!("The certificate of {} has {weak}.", door.host));
    }
    all
}

fn count(n: usize) -> String {
    if n == 1 { "one certificate".into() } else { format!("{n} certificates") }
}

fn time(
    seen: &Seen,
    certificate: &Certificate,
    own: bool,
    add: &mut impl FnMut(&'static OutsideCause, f64, String, String),
) {
    let whose = if own { "The certificate" } else { "A certificate of the chain" };
    let left = certificate.not_after.since(seen.now);
    let whole = certificate.not_after.since(certificate.not_before);
    let Certificate { subject, not_after, not_before, .. } = certificate;
    if left < 0 {
        let so = format!("{whose}, {subject}, ended {}.", days(-left, "ago"));
        add(&causes::EXPIRED, 0.98, format!("{subject} was valid until {not_after}"), so);
    } else if not_before.since(seen.now) > 0 {
        let so = format!("{whose}, {subject}, is valid from {not_before} only.");
        add(
            &causes::NOT_YET,
            0.95,
            format!("{subject} is valid from {not_before}; here it is {}", seen.now),
            so,
        );
    } else if left < SOON_DAYS * DAY_MILLIS && left < whole / 3 {
        let so = format!("{whose}, {subject}, ends {}.", days(left, "from now"));
        add(&causes::EXPIRES_SOON, 0.85, format!("{subject} is valid until {not_after}"), so);
    }
}

fn days(millis: i64, which: &str) -> String {
    match millis / DAY_MILLIS {
        0 => format!("{} hours {which}", millis / 3_600_000),
        1 => format!("one day {which}"),
        n => format!("{n} days {which}"),
    }
}

fn weak(own: &Certificate) -> Option<String> {
    let (kind, bits) = own.key.split_once(' ').unwrap_or((own.key.as_str(), ""));
    let bits: u32 = bits.parse().unwrap_or(0);
    if kind == "RSA" && bits > 0 && bits < RSA_BITS_MIN {
        return Some(format!("a key of RSA {bits}"));
    }
    let signature = own.signature.to_ascii_lowercase();
    (signature.starts_with("sha1") || signature.starts_with("md5"))
        .then(|| format!("a signature by {}", own.signature))
}
