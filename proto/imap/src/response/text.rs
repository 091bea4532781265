//! Strings, flag lists and number sets.

use super::number::decimal;
use crate::value::Flag;
use crate::wire::is_astring_char;

/// Longer values go as literals, which a client reads without looking at each byte.
const QUOTED_MAX: usize = 1000;

/// A human-readable line: CR, LF and NUL cannot stand in one.
pub(crate) fn plain(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().map(|b| if matches!(b, 0 | b'\r' | b'\n') { b' ' } else { b }));
}

/// ```abnf
/// string = quoted / literal
/// quoted = DQUOTE *QUOTED-CHAR DQUOTE
/// ```
/// Eight-bit text is quoted only for clients that accept UTF-8, and only if it is UTF-8. NUL, which no string can hold, is left out.
pub(crate) fn string(out: &mut Vec<u8>, bytes: &[u8], utf8: bool) {
    let mut quotable = bytes.len() <= QUOTED_MAX;
    let (mut escapes, mut eight_bit, mut nul) = (false, false, false);
    for &b in bytes {
        quotable &= !matches!(b, 0..=0x1f | 0x7f);
        escapes |= matches!(b, b'"' | b'\\');
        eight_bit |= b >= 0x80;
        nul |= b == 0;
    }
    if quotable && (!eight_bit || (utf8 && std::str::from_utf8(bytes).is_ok())) {
        out.push(b'"');
        if escapes {
            for &b in bytes {
                if matches!(b, b'"' | b'\\') {
                    out.push(b'\\');
                }
                out.push(b);
            }
        } else {
            out.extend_from_slice(bytes);
        }
        return out.push(b'"');
    }
    out.push(b'{');
    if nul {
        decimal(out, bytes.iter().filter(|b| **b != 0).count() as u64);
        out.extend_from_slice(b"}\r\n");
        out.extend(bytes.iter().filter(|b| **b != 0));
    } else {
        decimal(out, bytes.len() as u64);
        out.extend_from_slice(b"}\r\n");
        out.extend_from_slice(bytes);
    }
}

/// ```abnf
/// astring = 1*ASTRING-CHAR / string
/// ```
/// `NIL` is quoted, since some clients take the atom for none.
pub(crate) fn astring(out: &mut Vec<u8>, bytes: &[u8], utf8: bool) {
    let atom = !bytes.is_empty()
        && bytes.len() <= QUOTED_MAX
        && bytes.iter().all(|&b| is_astring_char(b))
        && !bytes.eq_ignore_ascii_case(b"NIL");
    if atom { out.extend_from_slice(bytes) } else { string(out, bytes, utf8) }
}

/// `(\Seen $Forwarded)`; with `any`, `\*` at the end.
pub(crate) fn flag_list<'f>(out: &mut Vec<u8>, flags: impl IntoIterator<Item = &'f Flag>, any: bool) {
    out.push(b'(');
    let mut first = true;
    for flag in flags {
        if !std::mem::take(&mut first) {
            out.push(b' ');
        }
        if flag.is_backslashed() {
            out.push(b'\\');
        }
        out.extend_from_slice(flag.name().as_bytes());
    }
    if any {
        out.extend_from_slice(if first { b"\\*" } else { b" \\*" });
    }
    out.push(b')');
}

/// `2:4,7`
pub(crate) fn number_set(out: &mut Vec<u8>, ranges: &[(u32, u32)]) {
    for (i, &(low, high)) in ranges.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        decimal(out, u64::from(low));
        if high != low {
            out.push(b':');
            decimal(out, u64::from(high));
        }
    }
}

/// Joins neighbours of an ascending sequence into ranges, both ends included: what COPYUID, ESEARCH and VANISHED want.
pub fn ranges(ascending: impl IntoIterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut out: Vec<(u32, u32)> = Vec::new();
    for n in ascending {
        match out.last_mut() {
            Some(last) if last.1.checked_add(1) == Some(n) => last.1 = n,
            _ => out.push((n, n)),
        }
    }
    out
}
