//! Modified UTF-7 of folder names (RFC 3501 §5.1.3).

use base64::Engine;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::borrow::Cow;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &IMAP_MUTF7,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// `None` if it is not valid: eight-bit bytes, an open shift, half a surrogate pair, or printable ASCII in base64.
pub(crate) fn decode(bytes: &[u8]) -> Option<String> {
    if !bytes.is_ascii() {
        return None;
    }
    let mut out = String::with_capacity(bytes.len());
    let mut rest = std::str::from_utf8(bytes).ok()?;
    while let Some((plain, shifted)) = rest.split_once('&') {
        out.push_str(plain);
        let (code, after) = shifted.split_once('-')?;
        if code.is_empty() {
            out.push('&');
        } else {
            let octets = BASE64.decode(code).ok()?;
            if octets.len() % 2 != 0 {
                return None;
            }
            let units = octets.chunks_exact(2).map(|pair| pair.iter().fold(0, |n, b| n << 8 | u16::from(*b)));
            for c in char::decode_utf16(units) {
                out.push(c.ok().filter(|c| !(' '..='~').contains(c))?);
            }
        }
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

/// Borrowed when the name is printable ASCII without `&`, as most are.
pub(crate) fn encode(name: &str) -> Cow<'_, str> {
    let plain = |c: char| (' '..='~').contains(&c);
    if name.chars().all(|c| plain(c) && c != '&') {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len() + 8);
    let mut pending: Vec<u8> = Vec::new();
    let flush = |out: &mut String, pending: &mut Vec<u8>| {
        if !pending.is_empty() {
            out.push('&');
            BASE64.encode_string(&pending, out);
            out.push('-');
            pending.clear();
        }
    };
    for c in name.chars() {
        if plain(c) {
            flush(&mut out, &mut pending);
            out.push(c);
            if c == '&' {
                out.push('-');
            }
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                pending.extend_from_slice(&unit.to_be_bytes());
            }
        }
    }
    flush(&mut out, &mut pending);
    Cow::Owned(out)
}
