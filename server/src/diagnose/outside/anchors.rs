//! Trust anchors that a user gives for signed zones of an organisation's own: DS or DNSKEY records as a zone file has them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hickory_resolver::proto::dnssec::rdata::{DNSKEY, DS};
use hickory_resolver::proto::dnssec::{Algorithm, DigestType, PublicKeyBuf, TrustAnchors};
use hickory_resolver::proto::rr::Name;
use std::io;
use std::path::Path;

/// Bytes of the file: some hundred keys.
const FILE_MAX: u64 = 256 * 1024;
const ANCHORS_MAX: usize = 64;

/// A key that is trusted for a zone, or the digest of one.
#[derive(Clone)]
pub struct Anchor {
    pub zone: Name,
    is: Is,
}

#[derive(Clone)]
enum Is {
    Key(DNSKEY),
    Digest(DS),
    /// One of the root's keys that everybody has.
    Root(TrustAnchors),
}

impl Anchor {
    /// The keys of the root zone (IANA, 2017 and 2024).
    pub fn root() -> Anchor {
        Anchor { zone: Name::root(), is: Is::Root(TrustAnchors::default()) }
    }

    /// Whether this is the key that is trusted.
    pub fn fits(&self, key: &DNSKEY) -> bool {
        match &self.is {
            Is::Key(trusted) => trusted.public_key() == key.public_key(),
            Is::Digest(ds) => ds.covers(&self.zone, key).unwrap_or(false),
            Is::Root(keys) => keys.contains(key.public_key()),
        }
    }
}

/// Reads a file of them.
///
/// # Errors
/// Where the file cannot be read, is too large, or a line of it is neither DS nor DNSKEY.
pub fn of_file(path: &Path) -> io::Result<Vec<Anchor>> {
    let told = |e: &dyn std::fmt::Display| io::Error::other(format!("{}: {e}", path.display()));
    if std::fs::metadata(path).map_err(|e| told(&e))?.len() > FILE_MAX {
        return Err(told(&"is larger than 256 KiB"));
    }
    let text = std::fs::read_to_string(path).map_err(|e| told(&e))?;
    of_text(&text).map_err(|why| told(&why))
}

fn of_text(text: &str) -> Result<Vec<Anchor>, String> {
    let mut all = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.split(';').next().unwrap_or_default();
        if line.trim().is_empty() {
            continue;
        }
        // One that goes over several lines would be read as a shorter key.
        let whole = line.contains('(') == line.contains(')');
        let one = anchor(&line.replace(['(', ')'], " ")).filter(|_| whole).ok_or_else(|| {
            format!(
                "line {} is no DS or DNSKEY record on one line, such as corp.example. DS 12345 13 2 49FD…",
                n + 1
            )
        })?;
        all.push(one);
    }
    match all.len() {
        0 => Err("holds no DS or DNSKEY record".into()),
        n if n > ANCHORS_MAX => Err(format!("holds more than {ANCHORS_MAX} records")),
        _ => Ok(all),
    }
}

fn anchor(line: &str) -> Option<Anchor> {
    let mut words = line.split_whitespace();
    let mut zone = Name::from_ascii(words.next()?).ok()?;
    zone.set_fqdn(true);
    // Time to live and class may be left out.
    let kind = words.find(|w| !w.eq_ignore_ascii_case("IN") && w.parse::<u32>().is_err())?;
    let first: u16 = words.next()?.parse().ok()?;
    let second: u8 = words.next()?.parse().ok()?;
    let third: u8 = words.next()?.parse().ok()?;
    let rest: String = words.collect();
    let is = match kind.to_ascii_uppercase().as_str() {
        "DS" => {
            Is::Digest(DS::new(first, Algorithm::from_u8(second), DigestType::from(third), unhex(&rest)?))
        }
        "DNSKEY" if second == 3 => {
            let key = PublicKeyBuf::new(STANDARD.decode(rest).ok()?, Algorithm::from_u8(third));
            Is::Key(DNSKEY::with_flags(first, key))
        }
        _ => return None,
    };
    Some(Anchor { zone, is })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    digits.chunks_exact(2).map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read() {
        // RFC 4034 §5.4: a key of dskey.example.com. and the digest of it.
        let key = "dskey.example.com. 86400 IN DNSKEY 256 3 5 ( AQOeiiR0GOMYkDshWoSKz9Xz\n";
        assert!(of_text(key).is_err(), "a record that goes over lines");
        let key = "dskey.example.com. 86400 IN DNSKEY 256 3 5 AQOeiiR0GOMYkDshWoSKz9XzfwJr1AYtsmx3TGkJaNXVbfi/2pHm822aJ5iI9BMzNXxeYCmZDRD99WYwYqUSdjMmmAphXdvxegXd/M5+X7OrzKBaMbCVdFLUUh6DhweJBjEVv5f2wwjM9XzcnOf+EPbtG9DMBmADjFDc2w/rljwvFw== ; key id = 60485";
        let ds = "dskey.example.com DS 60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118";
        let (keys, digests) = (of_text(key).unwrap(), of_text(&format!("; ours\n\n{ds}\n")).unwrap());
        let Is::Key(trusted) = &keys[0].is else { panic!("no key") };
        assert!(keys[0].fits(trusted));
        assert_eq!(digests[0].zone, keys[0].zone);
        assert!(!Anchor::root().fits(trusted));
        for bad in
            ["", "a. MX 10 b.", "a. DS 1 2", "a. DS 1 5 1 ABC", "a. DS 1 5 1 zz", "a. DNSKEY 256 4 5 AAAA"]
        {
            assert!(of_text(bad).is_err(), "{bad}");
        }
    }
}
