//! Bytes to text: UTF-8, UTF-16 in both orders, with a mark at the beginning or without; code pages of Windows and of its command line.

use encoding_rs::{Decoder, Encoding, IBM866, UTF_16BE, UTF_16LE, WINDOWS_1251, WINDOWS_1252};
use std::borrow::Cow;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is, or nearly: what is not UTF-8 in it is in a code page.
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
    if let Some(form) = other_letters(sample) {
        return (form, 0);
    }
    let odd_ones = sample.iter().filter(|b| **b < 9 || (14..32).contains(*b) && **b != 27).count();
    if odd_ones * 50 > sample.len() { (Form::Binary, 0) } else { (Form::Bytes, 0) }
}

/// UTF-16 of other letters than Latin ones: every second byte is zero (digits, spaces, marks) or the number of one alphabet.
fn other_letters(sample: &[u8]) -> Option<Form> {
    for (parity, encoding) in [(1, UTF_16LE), (0, UTF_16BE)] {
        let mut counts = [0_usize; 8];
        let every = sample.iter().skip(parity).step_by(2);
        let all = every.clone().count();
        for byte in every {
            if let Some(count) = counts.get_mut(usize::from(*byte)) {
                *count += 1;
            }
        }
        let zeros = counts.first().copied().unwrap_or(0);
        let letters = counts.iter().skip(1).max().copied().unwrap_or(0);
        let others = sample.iter().skip(1 - parity).step_by(2).filter(|b| **b == 0).count();
        if all >= 8 && zeros * 20 >= all && (zeros + letters) * 10 >= all * 9 && others * 50 < all {
            return Some(Form::Utf16(encoding));
        }
    }
    None
}

/// Bytes of one or several lines as text.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        // A few bad bytes in UTF-8 are cut characters; else it is a code page of Windows.
        Err(e) if e.valid_up_to() > 0 && valid_share(bytes) => String::from_utf8_lossy(bytes),
        Err(_) => match page(bytes) {
            Page::Ansi(encoding) => encoding.decode_without_bom_handling(bytes).0,
            Page::Oem(high) => Cow::Owned(oem(bytes, high)),
        },
    }
}

/// The upper half of the code pages of the command line: western, and of central Europe.
const OEM_850: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}";
const OEM_852: &str = "ÇüéâäůćçłëŐőîŹÄĆÉĹĺôöĽľŚśÖÜŤťŁ×čáíóúĄąŽžĘę¬źČş«»░▒▓│┤ÁÂĚŞ╣║╗╝Żż┐└┴┬├─┼Ăă╚╔╩╦╠═╬¤đĐĎËďŇÍÎě┘┌█▄ŢŮ▀ÓßÔŃńňŠšŔÚŕŰýÝţ´\u{ad}˝˛ˇ˘§÷¸°¨˙űŘř■\u{a0}";

/// A code page.
enum Page {
    Ansi(&'static Encoding),
    Oem(&'static str),
}

/// Guesses by the bytes that stand within words: what tools print on the command line is in another code page than what Windows
/// writes to files.
fn page(bytes: &[u8]) -> Page {
    let sample = bytes.get(..bytes.len().min(64 << 10)).unwrap_or(bytes);
    if let Some(cyrillic) = cyrillic(sample) {
        return Page::Ansi(cyrillic);
    }
    let (mut oem, mut central, mut ansi) = (0_usize, 0_usize, 0_usize);
    for three in sample.windows(3) {
        let [before, byte, after] = three else { continue };
        let letter = |b: &u8| b.is_ascii_alphabetic() || *b >= 0x80;
        let latin = before.is_ascii_alphabetic() || after.is_ascii_alphabetic();
        if !latin || !letter(before) || !letter(after) {
            continue;
        }
        match byte {
            // ü é â ä à ç ê ë è ï î ô ö á í ó ú ñ there, marks of punctuation in Windows-1252.
            0x81..=0x85 | 0x87..=0x8C | 0x93 | 0x94 | 0xA0..=0xA4 => oem += 1,
            // ś ą ž ę ź ż there.
            0x98 | 0xA5 | 0xA7 | 0xA9 | 0xAB | 0xBE => central += 1,
            // The sharp s there, an a with an accent here.
            0xE1 => {}
            0xC0..=0xFF => ansi += 1,
            _ => {}
        }
    }
    match oem + central > ansi {
        true if central > 0 => Page::Oem(OEM_852),
        true => Page::Oem(OEM_850),
        false => Page::Ansi(WINDOWS_1252),
    }
}

/// Words of nothing but high bytes are Cyrillic.
fn cyrillic(sample: &[u8]) -> Option<&'static Encoding> {
    let (mut all, mut oem, mut ansi) = (0_usize, 0_usize, 0_usize);
    for word in sample.split(|b| !matches!(b, 0x80..=0xFF)).filter(|word| word.len() >= 3) {
        // Lines are drawn with one and the same.
        if word.iter().collect::<std::collections::BTreeSet<_>>().len() < 3 {
            continue;
        }
        all += word.len();
        oem += word.iter().filter(|b| matches!(b, 0x80..=0xAF | 0xE0..=0xF1)).count();
        ansi += word.iter().filter(|b| matches!(b, 0xC0..=0xFF | 0xA8 | 0xB8)).count();
    }
    let most = all - all / 20;
    match all >= 3 {
        true if oem >= most && oem > ansi => Some(IBM866),
        true if ansi >= most => Some(WINDOWS_1251),
        _ => None,
    }
}

fn oem(bytes: &[u8], high: &str) -> String {
    let high: Vec<char> = high.chars().collect();
    let shown = |byte: &u8| match byte.checked_sub(128) {
        Some(at) => high.get(usize::from(at)).copied().unwrap_or(char::REPLACEMENT_CHARACTER),
        None => char::from(*byte),
    };
    bytes.iter().map(shown).collect()
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
        // All that can come at the end is the sign for half a character: the file was cut there.
        out.truncate(if last && piece.is_empty() { start } else { start + written });
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
    fn code_pages_of_the_command_line() {
        // As cmd prints it with the pages 850 (or 437), 852 and 866, and as Windows writes it with 1251.
        for (bytes, wanted) in [
            (
                b"Der Dienst l\x84uft, \x9Aberpr\x81fung gr\x94\xE1er\r\n".as_slice(),
                "Der Dienst läuft, Überprüfung größer\r\n",
            ),
            (
                b"La op\x82ration a r\x82ussi, acc\x8As refus\x82\r\n",
                "La opération a réussi, accès refusé\r\n",
            ),
            (
                b"Us\x88uga zosta\x88a uruchomiona, b\x88\xA9dy po\x88\xA5cze\xE4\r\n",
                "Usługa została uruchomiona, błędy połączeń\r\n",
            ),
            (
                b"\x91\xAB\xE3\xA6\xA1\xA0 \xAE\xE1\xE2\xA0\xAD\xAE\xA2\xAB\xA5\xAD\xA0\r\n",
                "Служба остановлена\r\n",
            ),
            (
                b"\xD1\xEB\xF3\xE6\xE1\xE0 \xEE\xF1\xF2\xE0\xED\xEE\xE2\xEB\xE5\xED\xE0\r\n",
                "Служба остановлена\r\n",
            ),
            (b"\x84Fehler\x93 \x96 don\x92t, Pr\xFCfung \x80\r\n", "„Fehler“ – don’t, Prüfung €\r\n"),
            (b"\xC4\xC4\xC4\xC4\xC4\xC4 l\x84uft\r\n", "────── läuft\r\n"),
        ] {
            assert_eq!(whole(bytes).as_deref(), Some(wanted));
        }
        for big in [false, true] {
            let words = "Служба остановлена, код 5: отказано в доступе\r\n";
            assert_eq!(whole(&utf16(words, big)).as_deref(), Some(words), "{big}");
        }
        assert_eq!(form(&[4, 0, 4, 0, 1, 0, 4, 0, 2, 0, 3, 0, 1, 0, 0, 0, 200, 9, 17, 0]).0, Form::Binary);
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
