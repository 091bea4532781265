//! Character sets to UTF-8. Nothing fails: what a label does not explain is read as UTF-8 for as long as it is, then as
//! windows-1252.

use encoding_rs::{Encoding, REPLACEMENT, UTF_8, WINDOWS_1252};
use std::borrow::Cow;

/// The encoding that a charset label stands for. None: unknown, absent, or US-ASCII, whose 8-bit bytes are a mistake.
pub(crate) fn lookup(label: &str) -> Option<&'static Encoding> {
    let label = label.trim();
    if label.eq_ignore_ascii_case("us-ascii") || label.eq_ignore_ascii_case("ascii") {
        return None;
    }
    let found = Encoding::for_label(label.as_bytes()).or_else(|| alias(label))?;
    // WHATWG maps what it thinks dangerous to a decoder that gives nothing.
    (found != REPLACEMENT).then_some(found)
}

/// Names that mail uses and web pages do not.
fn alias(label: &str) -> Option<&'static Encoding> {
    let lower = label.to_ascii_lowercase();
    let lower = lower.as_str();
    if let Some(page) = lower.strip_prefix("cp").or_else(|| lower.strip_prefix("windows")) {
        let page = page.trim_start_matches(['-', '_']);
        return Encoding::for_label(format!("windows-{page}").as_bytes());
    }
    if lower.starts_with("utf8") || lower.starts_with("utf-8") {
        return Some(UTF_8);
    }
    if lower == "gb18030" || lower.starts_with("gb") {
        return Some(encoding_rs::GB18030);
    }
    lower
        .strip_prefix("iso8859")
        .map(|rest| rest.trim_start_matches(['-', '_']))
        .and_then(|number| Encoding::for_label(format!("iso-8859-{number}").as_bytes()))
}

/// Whether every byte below 128 in text of that charset is the ASCII character it looks like.
pub fn ascii_compatible(label: &str) -> bool {
    match lookup(label) {
        None => true,
        // Of the others, only EUC-JP has no second bytes that look like ASCII letters.
        Some(e) => e.is_single_byte() || e == UTF_8 || e == encoding_rs::EUC_JP,
    }
}

/// Text with a charset label, which may be empty or wrong.
pub fn decode<'a>(label: &str, bytes: &'a [u8]) -> Cow<'a, str> {
    if bytes.is_ascii() && ascii_compatible(label) {
        return unlabelled(bytes);
    }
    match lookup(label) {
        Some(encoding) => encoding.decode_without_bom_handling(bytes).0,
        None => unlabelled(bytes),
    }
}

/// Text without a label: UTF-8 up to the first byte that cannot be, from there windows-1252, which has a character for every
/// byte.
pub fn unlabelled(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            let mut out = String::with_capacity(bytes.len() * 2);
            Converter::new("").push(bytes, true, &mut out);
            Cow::Owned(out)
        }
    }
}

/// Conversion in pieces, which may end anywhere.
pub struct Converter {
    /// None: without a label, and UTF-8 so far.
    decoder: Option<encoding_rs::Decoder>,
    /// The beginning of a UTF-8 character whose end has not come.
    held: Vec<u8>,
}

impl Converter {
    pub fn new(label: &str) -> Converter {
        let decoder = lookup(label).map(|e| e.new_decoder_without_bom_handling());
        Converter { decoder, held: Vec::new() }
    }

    /// Converts the next bytes, appending to `out`; `last` when no more come.
    pub fn push(&mut self, bytes: &[u8], last: bool, out: &mut String) {
        if self.decoder.is_some() {
            self.run(bytes, last, out);
        } else if self.held.is_empty() {
            self.guess(bytes, last, out);
        } else {
            let mut all = std::mem::take(&mut self.held);
            all.extend_from_slice(bytes);
            self.guess(&all, last, out);
        }
    }

    fn guess(&mut self, bytes: &[u8], last: bool, out: &mut String) {
        let error = match std::str::from_utf8(bytes) {
            Ok(text) => return out.push_str(text),
            Err(error) => error,
        };
        let (good, rest) = bytes.split_at(error.valid_up_to());
        out.push_str(std::str::from_utf8(good).unwrap_or_default());
        if error.error_len().is_none() && !last {
            self.held = rest.to_vec();
            return;
        }
        self.decoder = Some(WINDOWS_1252.new_decoder_without_bom_handling());
        self.run(rest, last, out);
    }

    fn run(&mut self, mut bytes: &[u8], last: bool, out: &mut String) {
        let Some(decoder) = &mut self.decoder else { return };
        loop {
            let room = decoder.max_utf8_buffer_length(bytes.len()).unwrap_or(bytes.len() * 3 + 16);
            out.reserve(room.max(16));
            let (result, read, _) = decoder.decode_to_string(bytes, out, last);
            bytes = bytes.get(read..).unwrap_or_default();
            if result == encoding_rs::CoderResult::InputEmpty {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_mail_uses() {
        assert_eq!(decode("iso-8859-1", b"caf\xe9"), "café");
        assert_eq!(decode("ISO8859-15", b"\xa4"), "€");
        assert_eq!(decode("cp-1252", b"\x80"), "€");
        assert_eq!(decode("utf-8", "żółw".as_bytes()), "żółw");
        assert_eq!(decode("iso-2022-jp", b"\x1b$B%F%9%H\x1b(B"), "テスト");
        assert_eq!(decode("gb2312", b"\xc4\xe3"), "你");
        assert_eq!(decode("us-ascii", b"caf\xe9"), "café");
        assert_eq!(decode("x-unknown", "é".as_bytes()), "é");
        assert_eq!(decode("iso-2022-kr", b"plain"), "plain");
    }

    #[test]
    fn in_pieces() {
        let mut out = String::new();
        let mut c = Converter::new("utf-8");
        for b in "aé€z".as_bytes() {
            c.push(&[*b], false, &mut out);
        }
        c.push(b"", true, &mut out);
        assert_eq!(out, "aé€z");
        for bytes in [&b"caf\xe9 \xc3\xa9"[..], "aé€z".as_bytes(), b"\xe2\x82", b"\xc3\xa9\xc3"] {
            let mut out = String::new();
            let mut c = Converter::new("");
            bytes.iter().for_each(|b| c.push(&[*b], false, &mut out));
            c.push(b"", true, &mut out);
            assert_eq!(out, unlabelled(bytes));
        }
        assert_eq!(unlabelled(b"caf\xe9 \xe9"), "café é");
    }
}
