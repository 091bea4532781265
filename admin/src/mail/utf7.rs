//! Modified UTF-7 (RFC 3501 §5.1.3), which Maildir++ writes folder names in.

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/// Text that is not well formed stays as it is: a strange name is better than no folder.
pub(super) fn decode(text: &str) -> String {
    try_decode(text).unwrap_or_else(|| text.to_owned())
}

fn try_decode(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, coded)) = rest.split_once('&') {
        out.push_str(plain);
        let (coded, after) = coded.split_once('-')?;
        if coded.is_empty() {
            out.push('&');
        } else {
            let (mut bits, mut count, mut units) = (0u32, 0, Vec::new());
            for b in coded.bytes() {
                let value = LETTERS.iter().position(|l| *l == b)? as u32;
                bits = (bits << 6 | value) & 0x3F_FFFF;
                count += 6;
                if count >= 16 {
                    count -= 16;
                    units.push((bits >> count) as u16);
                }
            }
            out.push_str(&String::from_utf16(&units).ok()?);
        }
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

/// Dots are written in code as well, since Maildir++ separates levels by them.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut pending: Vec<u16> = Vec::new();
    for c in text.chars() {
        let plain = (' '..='~').contains(&c) && c != '.' && c != '/';
        if plain {
            flush(&mut pending, &mut out);
            out.push(c);
            if c == '&' {
                out.push('-');
            }
        } else {
            pending.extend_from_slice(c.encode_utf16(&mut [0; 2]));
        }
    }
    flush(&mut pending, &mut out);
    out
}

fn flush(units: &mut Vec<u16>, out: &mut String) {
    if units.is_empty() {
        return;
    }
    out.push('&');
    let (mut bits, mut count) = (0u32, 0);
    let letter = |value: u32| LETTERS.get((value & 63) as usize).map_or('A', |b| char::from(*b));
    for unit in units.drain(..) {
        bits = bits << 16 | u32::from(unit);
        count += 16;
        while count >= 6 {
            count -= 6;
            out.push(letter(bits >> count));
        }
        bits &= 63;
    }
    if count > 0 {
        out.push(letter(bits << (6 - count)));
    }
    out.push('-');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first is from RFC 3501 §5.1.3.
    #[test]
    fn round_trip() {
        assert_eq!(decode("~peter/mail/&U,BTFw-/&ZeVnLIqe-"), "~peter/mail/台北/日本語");
        assert_eq!(encode("台北"), "&U,BTFw-");
        for text in ["Entwürfe", "A & B", "v1.2/x", "🦀🦀🦀", "", "plain"] {
            assert_eq!(decode(&encode(text)), text);
        }
        assert_eq!(decode("a&b"), "a&b");
        assert_eq!(decode("&!-"), "&!-");
    }
}
