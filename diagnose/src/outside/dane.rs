//! DNSSEC and what rests on it: TLSA records between mail servers (RFC 7672), matched against the chain that was met.

use super::seen::{Certificate, Door, Kind, Proof, Seen, Speaks, Upgrade};
use super::words::covers;
use super::{Found, causes};

pub fn judge(seen: &Seen, out: &mut Vec<Found>) {
    broken(seen, out);
    for door in seen.doors.iter().filter(|d| d.speaks == Speaks::Smtp) {
        at_door(seen, door, out);
    }
}

/// What could not be checked, each reason once. Clients do not check DNSSEC; servers that send do.
pub fn unchecked(seen: &Seen) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    if !matches!(seen.kind, Kind::Smtp | Kind::Mail) {
        return all;
    }
    for lookup in &seen.lookups {
        let Some(dnssec) = lookup.dnssec.as_ref().filter(|d| d.proof == Proof::Indeterminate) else {
            continue;
        };
        let text = format!(
            "DNSSEC was not checked: {}. Repeat with --dns ADDRESS of another name server.",
            dnssec.why
        );
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all.truncate(4);
    all
}

/// Each zone at fault once, with every answer that suffers.
fn broken(seen: &Seen, out: &mut Vec<Found>) {
    for lookup in &seen.lookups {
        let Some(dnssec) = lookup.broken() else { continue };
        let zone = dnssec.zone.trim_end_matches('.');
        let zone = if zone.is_empty() { "." } else { zone };
        let mut so = format!("DNSSEC of {zone} is broken: {}.", dnssec.why);
        if lookup.kind == "TLSA" {
            so.push_str(
                " Senders that keep to DANE do not deliver to a server whose TLSA records they cannot check.",
            );
        }
        let found = Found::new(&causes::DNSSEC_BOGUS, 0.95, "name → address", zone)
            .seen(format!("DNS {} {}", lookup.name, lookup.kind), dnssec.why.clone())
            .so(so);
        out.push(found);
    }
}

fn tlsa_name(door: &Door) -> String {
    format!("_{}._tcp.{}", door.port, door.host)
}

/// How records and a chain go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    Fits,
    Differs,
    /// No record is of a kind that senders use.
    Unusable,
    /// No chain was met.
    NotSeen,
}

/// Whether the chain fits the TLSA records that DNSSEC proved. `None` where there are none that count.
pub fn dane_fits(seen: &Seen, door: &Door) -> Option<bool> {
    let lookup = seen.lookup(&tlsa_name(door), "TLSA").filter(|l| l.secure() == Some(true))?;
    match fit(lookup.records(), door, seen) {
        Fit::Fits => Some(true),
        Fit::Differs => Some(false),
        Fit::Unusable | Fit::NotSeen => None,
    }
}

/// A TLSA record in its four parts.
struct Tlsa<'a> {
    usage: &'a str,
    selector: &'a str,
    matching: &'a str,
    data: &'a str,
}

impl<'a> Tlsa<'a> {
    /// `None`: between mail servers it is of no use (RFC 7672 §3.1.3), or of a kind that nobody knows.
    fn usable(record: &'a str) -> Option<Tlsa<'a>> {
        let mut words = record.split_whitespace();
        let one = Tlsa {
            usage: words.next()?,
            selector: words.next()?,
            matching: words.next()?,
            data: words.next()?,
        };
        let known = matches!(one.usage, "2" | "3")
            && matches!(one.selector, "0" | "1")
            && matches!(one.matching, "0" | "1" | "2");
        known.then_some(one)
    }

    fn is(&self, certificate: &Certificate) -> bool {
        let of = match (self.selector, self.matching) {
            ("0", "1") => certificate.sha256.clone(),
            ("0", "2") => certificate.sha512.clone(),
            ("1", "1") => certificate.key_sha256.clone(),
            ("1", "2") => certificate.key_sha512.clone(),
            ("0", _) => hex(&certificate.der),
            _ => hex(&certificate.key_der),
        };
        !of.is_empty() && of.eq_ignore_ascii_case(self.data)
    }

    fn holds(&self, door: &Door, chain: &[Certificate], seen: &Seen) -> bool {
        let Some((own, above)) = chain.split_first() else { return false };
        if self.usage == "3" {
            // Neither its names nor its time count (RFC 7672 §3.1.1).
            return self.is(own);
        }
        let named = own.names.iter().any(|n| covers(n, &door.host) || covers(n, &seen.domain));
        let timely = chain.iter().all(|c| c.not_before <= seen.now && seen.now <= c.not_after);
        named && timely && above.iter().any(|c| c.vouches && self.is(c))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn fit(records: &[String], door: &Door, seen: &Seen) -> Fit {
    let usable: Vec<Tlsa<'_>> = records.iter().filter_map(|r| Tlsa::usable(r)).collect();
    match &door.tls {
        _ if usable.is_empty() => Fit::Unusable,
        None => Fit::NotSeen,
        Some(tls) if usable.iter().any(|r| r.holds(door, &tls.chain, seen)) => Fit::Fits,
        Some(_) => Fit::Differs,
    }
}

fn at_door(seen: &Seen, door: &Door, out: &mut Vec<Found>) {
    let name = tlsa_name(door);
    let Some(lookup) = seen.lookup(&name, "TLSA").filter(|l| !l.records().is_empty()) else { return };
    let at = format!("DNS {name} TLSA");
    let records = lookup.records().join(" | ");
    let leg = format!("sender → {}", door.place());
    let fit = fit(lookup.records(), door, seen);
    let proof = lookup.dnssec.as_ref();
    if let Some(dnssec) = proof.filter(|d| d.proof == Proof::Insecure) {
        let mut found = Found::new(&causes::DANE_INSECURE, 0.85, leg, &door.host)
            .seen(at.clone(), records)
            .seen(at.clone(), dnssec.why.clone())
            .so(format!("The TLSA records of {} have no effect: {}.", door.host, dnssec.why));
        if fit == Fit::Differs {
            found = found.seen(at, "none of them fits the certificate that is shown");
        }
        out.push(found);
        return;
    }
    let sure = lookup.secure() == Some(true);
    // A zone that is broken is told as that.
    if lookup.broken().is_some() {
        return;
    }
    match fit {
        Fit::Unusable if sure => {
            let so = format!("The TLSA records of {} are of no use to senders.", door.host);
            out.push(Found::new(&causes::DANE_UNUSABLE, 0.85, leg, &door.host).seen(at, records).so(so));
        }
        Fit::Differs => out.push(mismatch(seen, door, at, &records, sure, leg)),
        Fit::NotSeen if door.upgrade == Upgrade::NotOffered => {
            out.push(mismatch(seen, door, at, &records, sure, leg));
        }
        _ => {}
    }
}

fn mismatch(seen: &Seen, door: &Door, at: String, records: &str, sure: bool, leg: String) -> Found {
    let own = door.tls.as_ref().and_then(|t| t.chain.first());
    let shows = own.map_or("no TLS".to_owned(), |c| format!("a key of SHA-256 {}", c.key_sha256));
    let mut found = Found::new(&causes::DANE_MISMATCH, if sure { 0.97 } else { 0.6 }, leg, &door.host)
        .seen(at, records)
        .seen(door.place(), format!("shows {shows}"))
        .so(format!("{} shows {shows}, which is not what its TLSA records promise.", door.place()));
    if !sure {
        found = found.untested(
            "Whether DNSSEC proves the records could not be checked; where it does not, senders ignore them.",
        );
    }
    let Some(own) = own else { return found };
    for record in records.split(" | ").filter_map(Tlsa::usable).filter(|r| r.usage == "2") {
        let chain = door.tls.as_ref().map(|t| t.chain.as_slice()).unwrap_or_default();
        let why = if record.is(own) {
            "a record of usage 2 names the server's own certificate, not an authority above it: that is usage 3"
        } else if !chain.iter().any(|c| record.is(c)) {
            "the authority that a record of usage 2 names is not in the chain that the server sends"
        } else if !own.names.iter().any(|n| covers(n, &door.host) || covers(n, &seen.domain)) {
            "the authority fits, but with usage 2 the certificate has to be for this name, too"
        } else {
            "the authority is in the chain, but the chain does not hold from it down, or a part of it is out of its time"
        };
        found = found.seen(door.place(), why);
    }
    found.remedy(format!(
        "Add the record that fits: _{}._tcp.{}. IN TLSA 3 1 1 {}",
        door.port, door.host, own.key_sha256
    ))
}
