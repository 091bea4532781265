//! Names of principals and of encryption types, as MIT's `klist` writes them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// `smtp/hub.example.org@EXAMPLE.ORG`. Names are compared byte by byte, as the library does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Principal {
    pub parts: Vec<String>,
    /// Empty where it was not said.
    pub realm: String,
}

impl Principal {
    /// Backslash escapes the next character; without `@` there is no realm. `None` for an empty name.
    pub fn parse(text: &str) -> Option<Principal> {
        let mut parts = vec![String::new()];
        let mut realm: Option<String> = None;
        let mut characters = text.chars();
        while let Some(c) = characters.next() {
            let plain = match c {
                '\\' => characters.next()?,
                '@' if realm.is_none() => {
                    realm = Some(String::new());
                    continue;
                }
                '/' if realm.is_none() => {
                    parts.push(String::new());
                    continue;
                }
                c => c,
            };
            match realm.as_mut() {
                Some(realm) => realm.push(plain),
                None => parts.last_mut()?.push(plain),
            }
        }
        let named = parts.iter().all(|p| !p.is_empty());
        named.then(|| Principal { parts, realm: realm.unwrap_or_default() })
    }

    /// Made of what a stranger or a file says: what is not UTF-8 shows as replacement characters.
    pub(super) fn from_bytes<'a>(parts: impl IntoIterator<Item = &'a [u8]>, realm: &[u8]) -> Principal {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Principal { parts: parts.into_iter().map(text).collect(), realm: text(realm) }
    }

    /// The same name but for the case of letters: Windows does not tell them apart, MIT's library does.
    pub fn same_but_for_case(&self, other: &Principal) -> bool {
        self.to_string().eq_ignore_ascii_case(&other.to_string())
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.parts.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { "/" })?;
            escaped(part, f)?;
        }
        if !self.realm.is_empty() {
            f.write_str("@")?;
            escaped(&self.realm, f)?;
        }
        Ok(())
    }
}

/// Separators get a backslash; control characters, which would spoil logs, are replaced.
fn escaped(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use fmt::Write as _;
    for c in text.chars() {
        match c {
            '/' | '@' | '\\' => write!(f, "\\{c}")?,
            c if c.is_control() => f.write_char(char::REPLACEMENT_CHARACTER)?,
            c => f.write_char(c)?,
        }
    }
    Ok(())
}

/// The number of an encryption type (RFC 3961 §8 and the registry of IANA).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Enctype(pub i32);

impl Enctype {
    pub const AES128: Enctype = Enctype(17);
    pub const AES256: Enctype = Enctype(18);
    pub const AES128_SHA2: Enctype = Enctype(19);
    pub const AES256_SHA2: Enctype = Enctype(20);
    pub const RC4: Enctype = Enctype(23);

    /// Known to be broken or about to be: DES, triple DES and RC4.
    pub const fn is_weak(self) -> bool {
        matches!(self.0, 1..=3 | 5 | 7 | 16 | 23 | 24)
    }
}

impl fmt::Display for Enctype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            1 => "des-cbc-crc",
            3 => "des-cbc-md5",
            16 => "des3-cbc-sha1",
            17 => "aes128-cts",
            18 => "aes256-cts",
            19 => "aes128-sha2",
            20 => "aes256-sha2",
            23 => "arcfour-hmac",
            24 => "arcfour-hmac-exp",
            25 => "camellia128-cts",
            26 => "camellia256-cts",
            other => return write!(f, "enctype {other}"),
        })
    }
}

/// `aes256-cts kvno 2`
pub(super) struct KeyName(pub Enctype, pub Option<u32>);

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(kvno) => write!(f, "{} kvno {kvno}", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_as_they_went() {
        for text in ["smtp/hub.example.org@EXAMPLE.ORG", "alice@A.B", r"odd\/one\@x/y@R", "alice"] {
            assert_eq!(Principal::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "/x@R", "x/@R", "x\\"] {
            assert_eq!(Principal::parse(text), None, "{text}");
        }
        let upper = Principal::parse("SMTP/hub@R").unwrap();
        assert!(upper.same_but_for_case(&Principal::parse("smtp/hub@r").unwrap()));
    }

    #[test]
    fn strangers_cannot_write_lines_into_logs() {
        let name = Principal::from_bytes([&b"a\nb\xff"[..]], b"R\x1b[0m");
        assert!(!name.to_string().contains(char::is_control), "{name}");
    }
}
