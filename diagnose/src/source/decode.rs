//! Bytes to text: UTF-8, UTF-16 in both orders, Windows-1252; with a mark at the beginning or without.

use encoding_rs::{Decoder, Encoding, UTF_16BE, UTF_16LE, WINDOWS_1252};
use std::borrow::Cow;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is, or nearly: what is not UTF-8 in it is read as Windows-1252, line by line.
    Bytes,
    Utf16(&'static Encoding),
    /// Not text.
    Binary,
}

/// Judges by the first bytes; also says how many of them are the mark.
pub fn form(head: &[u8]) -> (Form, usize) {
    if head.starts_with(&[0xEF, 0xBB, 0xBF]) {
        return (Form::Bytes, 3);
    }
    if head.starts_with(&[0xFF, 0xFE]) {
        return (Form::Utf16(UTF_16LE), 2);
    }
    if head.starts_with(&[0xFE, 0xFF]) {
        return (Form::Utf16(UTF_16BE), 2);
    }
    let sample = head.get(..head.len().min(4096)).unwrap_or(head);
    let zeros = |parity: usize| sample.iter().skip(parity).step_by(2).filter(|b| **b == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    // Text of Latin letters has a zero in every second byte.
    let half = sample.len() / 2;
    if half >= 2 && odd * 10 >= half * 6 && even * 10 < half {
        return (Form::Utf16(UTF_16LE), 0);
    }
    if half >= 2 && even * 10 >= half * 6 && odd * 10 < half {
        return (Form::Utf16(UTF_16BE), 0);
    }
    let odd_ones = sample.iter().filter(|b| **b < 9 || (14..32).contains(*b) && **b != 27).count();
    if odd_ones * 50 > sample.len() { (Form::Binary, 0) } else { (Form::Bytes, 0) }
}

/// Bytes of one or several lines as text.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        // A few bad bytes in UTF-8 are cut characters; else it is the code page of western Windows.
        Err(e) if e.valid_up_to() > 0 && valid_share(bytes) => String::from_utf8_lossy(bytes),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0,
    }
}

/// Whether what is not ASCII is mostly good UTF-8.
fn valid_share(bytes: &[u8]) -> bool {
    let (mut good, mut bad) = (0usize, 0usize);
    for chunk in bytes.utf8_chunks() {
        good += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        bad += usize::from(!chunk.invalid().is_empty());
    }
    good > bad * 4
}

/// Turns UTF-16 into UTF-8, piece by piece.
pub struct Converter {
    decoder: Decoder,
}

impl Converter {
    pub fn new(encoding: &'static Encoding) -> Converter {
        Converter { decoder: encoding.new_decoder_without_bom_handling() }
    }

    /// Appends the piece to `out`. `last` ends the text.
    pub fn append(&mut self, piece: &[u8], last: bool, out: &mut Vec<u8>) {
        let need = self.decoder.max_utf8_buffer_length(piece.len()).unwrap_or(piece.len() * 3 + 16);
        let start = out.len();
        out.resize(start + need, 0);
        let room = out.get_mut(start..).unwrap_or_default();
        let (_, _, written, _) = self.decoder.decode_to_utf8(piece, room, last);
        out.truncate(start + written);
    }
}

/// A whole small text.
pub fn whole(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let (form, mark) = form(bytes);
    let rest = bytes.get(mark..).unwrap_or_default();
    match form {
        Form::Binary => None,
        Form::Bytes => Some(text(rest)),
        Form::Utf16(encoding) => Some(encoding.decode_without_bom_handling(rest).0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, big: bool) -> Vec<u8> {
        text.encode_utf16().flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect()
    }

    #[test]
    fn every_form_that_windows_writes() {
        let words = "Fehler: Prüfung des Zertifikats, 100 % fertig\r\n";
        assert_eq!(whole(words.as_bytes()).as_deref(), Some(words));
        assert_eq!(whole(&[b"\xEF\xBB\xBF", words.as_bytes()].concat()).as_deref(), Some(words));
        for big in [false, true] {
            assert_eq!(whole(&utf16(words, big)).as_deref(), Some(words), "{big}");
            assert_eq!(whole(&utf16(&format!("\u{feff}{words}"), big)).as_deref(), Some(words), "{big}");
        }
        assert_eq!(whole(&WINDOWS_1252.encode(words).0).as_deref(), Some(words));
        assert_eq!(whole(&[0, 1, 2, 3, 200, 0, 7, 7, 7]), None);
        assert_eq!(whole(b"").as_deref(), Some(""));
    }

    #[test]
    fn a_cut_character_does_not_turn_the_rest() {
        let bytes = [b"\xC3", "Größe ändern öäü".as_bytes()].concat();
        assert!(whole(&[b"x", bytes.as_slice()].concat()).is_some_and(|t| t.contains("Größe")));
    }

    #[test]
    fn pieces_of_utf_16_join() {
        let words = "ein Größenvergleich 😀".repeat(50);
        let bytes = utf16(&words, false);
        let mut converter = Converter::new(UTF_16LE);
        let mut out = Vec::new();
        for piece in bytes.chunks(7) {
            converter.append(piece, false, &mut out);
        }
        converter.append(&[], true, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), words);
    }
}
