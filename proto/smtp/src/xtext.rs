//! `xtext` of RFC 3461 §4: visible ASCII, with `+XX` for everything else, and for `+` and `=`.
//! Also `utf-8-addr-xtext` of RFC 6533 §3, whose `\x{HEX}` stands for a character beyond ASCII.

use std::fmt::Write;

/// `None` where the text is not xtext, or does not decode to UTF-8.
pub fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        match b {
            b'+' => {
                let high = hex(bytes.next()?)?;
                let low = hex(bytes.next()?)?;
                out.push(high << 4 | low);
            }
            b'=' => return None,
            b'!'..=b'~' | 0x80.. => out.push(b),
            _ => return None,
        }
    }
    String::from_utf8(out).ok()
}

pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if matches!(b, b'!'..=b'~') && b != b'+' && b != b'=' {
            out.push(char::from(b));
        } else {
            out.push('+');
            out.push(char::from(DIGITS[usize::from(b >> 4)]));
            out.push(char::from(DIGITS[usize::from(b & 15)]));
        }
    }
    out
}

/// An address of type `utf-8`: `\x{E9}` becomes `é`.
pub fn decode_utf8_address(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x{") {
        out.push_str(before);
        let (digits, tail) = after.split_once('}')?;
        if digits.len() > 6 {
            return None;
        }
        out.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
        rest = tail;
    }
    out.push_str(rest);
    Some(out)
}

/// The other way: what `utf-8-addr-xtext` cannot have becomes `\\x{HEX}`, so the result is visible ASCII.
pub fn encode_utf8_address(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '!'..='~') && !matches!(c, '+' | '=' | '\\') {
            out.push(c);
        } else {
            let _ = write!(out, "\\x{{{:X}}}", u32::from(c));
        }
    }
    out
}

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// RFC 3461 asks for upper case; lower case is understood as well.
fn hex(b: u8) -> Option<u8> {
    char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn examples() {
        assert_eq!(decode("QQ314159").as_deref(), Some("QQ314159"));
        assert_eq!(decode("a+2Bb+3Dc").as_deref(), Some("a+b=c"));
        assert_eq!(decode("a+2"), None);
        assert_eq!(decode("a+G0"), None);
        assert_eq!(decode("a b"), None);
        assert_eq!(decode("a=b"), None);
        assert_eq!(decode("+FF"), None);
        assert_eq!(decode_utf8_address("h\\x{E5}kon@x").as_deref(), Some("håkon@x"));
        assert_eq!(decode_utf8_address("\\x{D800}"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn comes_back(text in ".{0,80}") {
            let wire = encode(&text);
            prop_assert!(wire.bytes().all(|b| (b'!'..=b'~').contains(&b)));
            prop_assert_eq!(decode(&wire), Some(text.clone()));
            let wire = encode_utf8_address(&text);
            prop_assert!(wire.bytes().all(|b| (b'!'..=b'~').contains(&b)));
            prop_assert_eq!(decode(&wire).and_then(|text| decode_utf8_address(&text)), Some(text));
        }
    }
}
