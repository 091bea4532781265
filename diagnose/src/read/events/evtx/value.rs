//! Values of binary XML: their types, and how they are shown.

use std::fmt::Write as _;
use waypost_base::Timestamp;

/// Bytes of one value that are shown.
const SHOWN_MAX: usize = 16 * 1024;
/// Items of one array.
const ITEMS_MAX: usize = 256;
/// Bytes of a binary value that are shown.
const BINARY_MAX: usize = 64;

/// A value whose type is this one is nothing.
pub const NULL: u8 = 0;
/// Binary XML inside of binary XML.
pub const BINXML: u8 = 0x21;
/// Set for arrays.
const ARRAY: u8 = 0x80;

/// The value as text; an array has several items.
pub fn show(kind: u8, bytes: &[u8]) -> Vec<String> {
    if kind & ARRAY == 0 {
        return vec![one(kind, bytes)];
    }
    let kind = kind & !ARRAY;
    match kind {
        1 => {
            // Each ends with a zero.
            let text = utf16(bytes);
            let mut items: Vec<String> = text.split('\0').take(ITEMS_MAX).map(str::to_owned).collect();
            if items.last().is_some_and(String::is_empty) {
                items.pop();
            }
            items
        }
        2 => bytes
            .split(|b| *b == 0)
            .take(ITEMS_MAX)
            .map(|b| String::from_utf8_lossy(b).into_owned())
            .collect(),
        _ => match width(kind) {
            Some(width) => bytes.chunks_exact(width).take(ITEMS_MAX).map(|item| one(kind, item)).collect(),
            None => vec![one(14, bytes)],
        },
    }
}

/// Octets of a value of this kind; `None`: it says itself how long it is, or is of no known kind.
pub(super) fn width(kind: u8) -> Option<usize> {
    Some(match kind {
        3 | 4 => 1,
        5 | 6 => 2,
        7 | 8 | 11 | 13 | 20 => 4,
        9 | 10 | 12 | 16 | 17 | 21 => 8,
        15 | 18 => 16,
        _ => return None,
    })
}

fn one(kind: u8, bytes: &[u8]) -> String {
    let bytes = bytes.get(..bytes.len().min(SHOWN_MAX)).unwrap_or(bytes);
    let unsigned = || little(bytes);
    match kind {
        NULL => String::new(),
        1 => utf16(bytes).trim_end_matches('\0').to_owned(),
        2 => String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned(),
        3 | 5 | 7 | 9 => signed(bytes).to_string(),
        4 | 6 | 8 | 10 => unsigned().to_string(),
        11 => bytes.try_into().map(f32::from_le_bytes).map(|n| n.to_string()).unwrap_or_default(),
        12 => bytes.try_into().map(f64::from_le_bytes).map(|n| n.to_string()).unwrap_or_default(),
        13 => if unsigned() == 0 { "false" } else { "true" }.to_owned(),
        15 => guid(bytes),
        16 | 20 | 21 => format!("{:#x}", unsigned()),
        17 => filetime(bytes).map(|time| time.to_string()).unwrap_or_default(),
        18 => systemtime(bytes).unwrap_or_default(),
        19 => sid(bytes).unwrap_or_default(),
        _ => {
            let mut text = String::new();
            for byte in bytes.iter().take(BINARY_MAX) {
                let _ = write!(text, "{byte:02X}");
            }
            text
        }
    }
}

fn little(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn signed(bytes: &[u8]) -> i64 {
    let bits = bytes.len().clamp(1, 8) * 8;
    let shift = 64 - u32::try_from(bits).unwrap_or(64);
    (little(bytes) << shift).cast_signed() >> shift
}

/// UTF-16, little-endian.
pub fn utf16(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|pair| match pair {
        [low, high] => u16::from_le_bytes([*low, *high]),
        _ => 0,
    });
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

fn guid(bytes: &[u8]) -> String {
    let Ok(b): Result<[u8; 16], _> = bytes.try_into() else { return String::new() };
    let mut text = format!("{{{:08x}-", u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let _ =
        write!(text, "{:04x}-{:04x}-", u16::from_le_bytes([b[4], b[5]]), u16::from_le_bytes([b[6], b[7]]));
    for (index, byte) in b.iter().enumerate().skip(8) {
        if index == 10 {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text.push('}');
    text
}

/// Tenths of a microsecond since 1601.
pub fn filetime(bytes: &[u8]) -> Option<Timestamp> {
    const TO_1970: i64 = 11_644_473_600_000;
    if bytes.len() < 8 {
        return None;
    }
    let millis = i64::try_from(little(bytes) / 10_000).ok()?;
    (millis > 0).then(|| Timestamp(millis.saturating_sub(TO_1970)))
}

fn systemtime(bytes: &[u8]) -> Option<String> {
    let part = |at: usize| bytes.get(at..at + 2).map(little);
    Some(format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        part(0)?,
        part(2)?,
        part(6)?,
        part(8)?,
        part(10)?,
        part(12)?,
        part(14)?
    ))
}

fn sid(bytes: &[u8]) -> Option<String> {
    let (revision, count) = (*bytes.first()?, usize::from(*bytes.get(1)?));
    let authority = bytes.get(2..8)?.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let mut text = format!("S-{revision}-{authority}");
    for part in bytes.get(8..)?.chunks_exact(4).take(count.min(15)) {
        let _ = write!(text, "-{}", little(part));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_each_type() {
        let text = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        assert_eq!(show(1, &text("abc\0")), ["abc"]);
        assert_eq!(show(0x81, &text("a\0b\0")), ["a", "b"]);
        assert_eq!(show(7, &(-5_i32).to_le_bytes()), ["-5"]);
        assert_eq!(show(8, &5_u32.to_le_bytes()), ["5"]);
        assert_eq!(show(0x86, &[1, 0, 2, 0]), ["1", "2"]);
        assert_eq!(show(20, &0xc000_006d_u32.to_le_bytes()), ["0xc000006d"]);
        assert_eq!(show(13, &[1, 0, 0, 0]), ["true"]);
        assert_eq!(show(19, &[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0]), ["S-1-5-18"]);
        assert_eq!(show(19, &[1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), ["S-1-0-0"]);
        assert_eq!(
            show(15, &[0x67, 0x45, 0x23, 0x01, 0xab, 0x89, 0xef, 0xcd, 1, 2, 3, 4, 5, 6, 7, 8]),
            ["{01234567-89ab-cdef-0102-030405060708}"]
        );
        let ticks = (1_772_525_051_000_u64 + 11_644_473_600_000) * 10_000;
        assert_eq!(show(17, &ticks.to_le_bytes()), ["2026-03-03T08:04:11.000Z"]);
        for kind in 0..=255 {
            for size in 0..40 {
                let _ = show(kind, &vec![0xff; size]);
            }
        }
    }
}
