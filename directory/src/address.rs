//! Addresses as they are compared: local part in lower case, domain in lower-case ASCII (IDNA, UTS #46).
//!
//! `"John Doe"@Example.ORG` and `john doe@example.org` are the same address here. RFC 5321 §2.4 lets only the owner of
//! a domain decide whether case matters in its local parts; for accepted domains that is us, and it does not.

use crate::limits::{DOMAIN_BYTES_MAX, LOCAL_BYTES_MAX};
use std::borrow::Cow;
use std::fmt;
use thiserror::Error;

/// A canonical address: `local@domain`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    text: Box<str>,
    /// Where the `@` is.
    at: u16,
}

/// Why a text is not an address that we can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    #[error("there is no @ in the address")]
    NoAt,
    #[error("nothing stands before the @")]
    NoLocal,
    #[error("the part before the @ is longer than 64 octets")]
    LocalTooLong,
    #[error("the part before the @ holds a character that is not allowed there")]
    BadLocal,
    #[error("the domain is not a valid name")]
    BadDomain,
}

impl Address {
    /// Reads and normalises an address. Quotes around the local part are taken off.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        let canonical = canonical(text)?;
        // The last @ is the separator: a quoted local part may hold others, a domain none.
        let at = canonical.rfind('@').ok_or(AddressError::NoAt)?;
        Ok(Address { at: at as u16, text: canonical.into_owned().into_boxed_str() })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn local(&self) -> &str {
        self.text.get(..usize::from(self.at)).unwrap_or_default()
    }

    /// The domain in ASCII.
    pub fn domain(&self) -> &str {
        self.text.get(usize::from(self.at) + 1..).unwrap_or_default()
    }

    /// True where the local part can only be written in SMTP with SMTPUTF8 (RFC 6531).
    pub fn needs_utf8(&self) -> bool {
        !self.text.is_ascii()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.text)
    }
}

impl std::str::FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        Address::parse(text)
    }
}

impl serde::Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.text)
    }
}

impl<'de> serde::Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Address, D::Error> {
        let text = <Cow<'de, str>>::deserialize(d)?;
        Address::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// The canonical form of `local@domain`; borrowed where the text has it already, which is the common case.
pub fn canonical(text: &str) -> Result<Cow<'_, str>, AddressError> {
    let at = text.rfind('@').ok_or(AddressError::NoAt)?;
    let (local, domain) = (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default());
    let new_local = canonical_local(local)?;
    let new_domain = canonical_domain(domain)?;
    // Borrowed parts may still be shorter than the text: without quotes, without the trailing dot.
    if let (Cow::Borrowed(l), Cow::Borrowed(d)) = (&new_local, &new_domain)
        && l.len() == local.len()
        && d.len() == domain.len()
    {
        return Ok(Cow::Borrowed(text));
    }
    Ok(Cow::Owned(format!("{new_local}@{new_domain}")))
}

/// A local part without quotes, in lower case.
pub fn canonical_local(local: &str) -> Result<Cow<'_, str>, AddressError> {
    let inner = match local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) if quoted.contains('\\') => Cow::Owned(unescape(quoted)?),
        Some(quoted) => Cow::Borrowed(quoted),
        None => Cow::Borrowed(local),
    };
    if inner.is_empty() {
        return Err(AddressError::NoLocal);
    }
    if inner.len() > LOCAL_BYTES_MAX {
        return Err(AddressError::LocalTooLong);
    }
    if inner.chars().any(|c| c.is_control() || c == '"' || c == '\\') {
        return Err(AddressError::BadLocal);
    }
    if inner.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) {
        return Ok(inner);
    }
    // Some letters get longer by it, and may get further in a second round; what is stored must be read again as it is.
    let lower = inner.to_lowercase();
    let settled = lower.to_lowercase() == lower;
    match lower.len() {
        _ if !settled => Err(AddressError::BadLocal),
        0..=LOCAL_BYTES_MAX => Ok(Cow::Owned(lower)),
        _ => Err(AddressError::LocalTooLong),
    }
}

/// Takes the backslashes out of the inside of a quoted string (RFC 5321 §4.1.2, quoted-pairSMTP).
fn unescape(quoted: &str) -> Result<String, AddressError> {
    let mut out = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next().ok_or(AddressError::BadLocal)?),
            c => out.push(c),
        }
    }
    Ok(out)
}

/// A domain name in lower-case ASCII, without the trailing dot. Address literals (`[192.0.2.1]`) are not names.
pub fn canonical_domain(domain: &str) -> Result<Cow<'_, str>, AddressError> {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let ascii = if domain.bytes().all(plain) && !domain.contains("xn--") {
        Cow::Borrowed(domain)
    } else {
        Cow::Owned(idna::domain_to_ascii(domain).map_err(|_| AddressError::BadDomain)?)
    };
    let label_ok = |l: &str| !l.is_empty() && l.len() <= 63 && !l.starts_with('-') && !l.ends_with('-');
    let name_ok = ascii.len() <= DOMAIN_BYTES_MAX && ascii.split('.').all(label_ok);
    if name_ok && ascii.bytes().all(|b| plain(b) || b == b'_') {
        Ok(ascii)
    } else {
        Err(AddressError::BadDomain)
    }
}

/// The domain as people write it: `xn--` labels in Unicode where they are sound.
pub fn shown_domain(ascii: &str) -> String {
    match idna::domain_to_unicode(ascii) {
        (text, Ok(())) => text,
        _ => ascii.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises() {
        for (given, wanted) in [
            ("adele@contoso.test", "adele@contoso.test"),
            ("Adele.Vance@CONTOSO.Test", "adele.vance@contoso.test"),
            ("\"John Doe\"@x.test", "john doe@x.test"),
            ("\"a\\@b\"@x.test", "a@b@x.test"),
            ("info@BÜCHER.example", "info@xn--bcher-kva.example"),
            ("info@xn--bcher-kva.example.", "info@xn--bcher-kva.example"),
            ("ПОЧТА@пример.test", "почта@xn--e1afmkfd.test"),
        ] {
            assert_eq!(Address::parse(given).unwrap().as_str(), wanted, "{given}");
        }
        assert!(matches!(canonical("a@b.test"), Ok(Cow::Borrowed("a@b.test"))));
        let odd = Address::parse("\"a@b\"@x.test").unwrap();
        assert_eq!((odd.local(), odd.domain()), ("a@b", "x.test"));
    }

    #[test]
    fn refuses() {
        for (given, wanted) in [
            ("adele", AddressError::NoAt),
            ("@x.test", AddressError::NoLocal),
            ("a@", AddressError::BadDomain),
            ("a@x..test", AddressError::BadDomain),
            ("a@[192.0.2.1]", AddressError::BadDomain),
            ("a@-x.test", AddressError::BadDomain),
            ("a\r\nb@x.test", AddressError::BadLocal),
            ("\"a\\\"@x.test", AddressError::BadLocal),
        ] {
            assert_eq!(Address::parse(given).unwrap_err(), wanted, "{given:?}");
        }
        let long = format!("{}@x.test", "a".repeat(65));
        assert_eq!(Address::parse(&long).unwrap_err(), AddressError::LocalTooLong);
    }

    proptest::proptest! {
        #[test]
        fn canonical_is_canonical(text in "[\\PC]{0,20}@?[\\PC]{0,20}") {
            if let Ok(address) = Address::parse(&text) {
                let again = Address::parse(address.as_str());
                proptest::prop_assert_eq!(again.as_ref(), Ok(&address));
                proptest::prop_assert_eq!(format!("{}@{}", address.local(), address.domain()), address.as_str());
            }
        }
    }

    #[test]
    fn shows_unicode() {
        assert_eq!(shown_domain("xn--bcher-kva.example"), "bücher.example");
        assert_eq!(shown_domain("contoso.test"), "contoso.test");
    }
}
