//! Content-Transfer-Encodings (RFC 2045 §6), decoded in pieces. Damage is passed over, never an error.

use crate::summary::Encoding;
use memchr::memchr;

/// A quoted-printable line is held until its end is seen, because white space before it does not count; but not for longer.
const QP_LINE: usize = 4096;

/// Decodes one body. Memory: a few KiB.
#[derive(Debug)]
pub struct Decoder {
    encoding: Encoding,
    /// Base64: bits gathered so far, and how many characters they came from.
    bits: u32,
    have: u8,
    /// Quoted-printable: the line whose end has not come yet.
    line: Vec<u8>,
}

impl Decoder {
    pub fn new(encoding: Encoding) -> Decoder {
        Decoder { encoding, bits: 0, have: 0, line: Vec::new() }
    }

    /// Decodes the next bytes, appending to `out`.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        match self.encoding {
            Encoding::Base64 => self.base64(piece, out),
            Encoding::QuotedPrintable => self.quoted_printable(piece, out),
            _ => out.extend_from_slice(piece),
        }
    }

    /// What was held back until the end.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.end_of_base64_group(out);
        if !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            qp_line(&line, b"", out);
        }
    }

    fn base64(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        out.reserve(piece.len() / 4 * 3 + 3);
        let mut rest = piece;
        while !rest.is_empty() {
            if self.have == 0 {
                rest = base64_groups(rest, out);
            }
            let Some((&b, tail)) = rest.split_first() else { return };
            rest = tail;
            match BASE64[usize::from(b)] {
                PAD => self.end_of_base64_group(out),
                SKIP => {}
                value => {
                    self.bits = self.bits << 6 | u32::from(value);
                    self.have += 1;
                    if self.have == 4 {
                        out.extend_from_slice(&self.bits.to_be_bytes()[1..]);
                        self.bits = 0;
                        self.have = 0;
                    }
                }
            }
        }
    }

    fn end_of_base64_group(&mut self, out: &mut Vec<u8>) {
        match self.have {
            2 => out.push((self.bits >> 4) as u8),
            3 => out.extend_from_slice(&[(self.bits >> 10) as u8, (self.bits >> 2) as u8]),
            _ => {}
        }
        self.bits = 0;
        self.have = 0;
    }

    fn quoted_printable(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let mut rest = piece;
        while let Some(end) = memchr(b'\n', rest) {
            let (line, tail) = rest.split_at(end + 1);
            rest = tail;
            if self.line.is_empty() {
                qp_whole_line(line, out);
            } else {
                let mut held = std::mem::take(&mut self.line);
                held.extend_from_slice(line);
                qp_whole_line(&held, out);
                held.clear();
                self.line = held;
            }
        }
        self.line.extend_from_slice(rest);
        if self.line.len() > QP_LINE {
            // Keep what might belong to the next bytes: an escape cut in two, or the line's trailing white space.
            let mut safe = self.line.len() - 3;
            while safe > QP_LINE / 2 && matches!(self.line[safe - 1], b' ' | b'\t' | b'\r') {
                safe -= 1;
            }
            while safe < self.line.len() && self.line[safe - 1] == b'=' {
                safe -= 1;
            }
            if safe >= 2 && self.line[safe - 2] == b'=' {
                safe -= 2;
            }
            let tail = self.line.split_off(safe);
            let line = std::mem::replace(&mut self.line, tail);
            qp_text(&line, out);
        }
    }
}

/// Decodes groups of four characters for as long as all are of the alphabet; gives what is left.
fn base64_groups<'a>(bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let (groups, _) = bytes.as_chunks::<4>();
    for (i, g) in groups.iter().enumerate() {
        let v = g.map(|b| BASE64[usize::from(b)]);
        if (v[0] | v[1] | v[2] | v[3]) & 0xC0 != 0 {
            return &bytes[i * 4..];
        }
        let bits = u32::from(v[0]) << 18 | u32::from(v[1]) << 12 | u32::from(v[2]) << 6 | u32::from(v[3]);
        out.extend_from_slice(&bits.to_be_bytes()[1..]);
    }
    &bytes[groups.len() * 4..]
}

const SKIP: u8 = 0x80;
const PAD: u8 = 0x40;

static BASE64: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut table = [SKIP; 256];
    let mut i = 0;
    while i < 64 {
        table[alphabet[i] as usize] = i as u8;
        i += 1;
    }
    table[b'=' as usize] = PAD;
    table
};

/// Decodes base64 text that is at hand as a whole.
pub fn base64(text: &[u8]) -> Vec<u8> {
    whole(Encoding::Base64, text)
}

/// Decodes a body that is at hand as a whole.
pub fn whole(encoding: Encoding, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut decoder = Decoder::new(encoding);
    decoder.push(body, &mut out);
    decoder.finish(&mut out);
    out
}

fn qp_whole_line(line: &[u8], out: &mut Vec<u8>) {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    qp_line(text, &line[text.len()..], out);
}

/// A line without its end, and that end.
fn qp_line(line: &[u8], end: &[u8], out: &mut Vec<u8>) {
    let mut text = line;
    while let [head @ .., b' ' | b'\t'] = text {
        text = head;
    }
    if let [head @ .., b'='] = text {
        qp_text(head, out);
    } else {
        qp_text(text, out);
        out.extend_from_slice(end);
    }
}

fn qp_text(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr(b'=', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        match rest {
            [_, a, b, tail @ ..] if hex(*a).is_some() && hex(*b).is_some() => {
                out.push(hex(*a).unwrap_or(0) << 4 | hex(*b).unwrap_or(0));
                rest = tail;
            }
            _ => {
                out.push(b'=');
                rest = &rest[1..];
            }
        }
    }
    out.extend_from_slice(rest);
}

/// The value of a hexadecimal digit.
pub(crate) fn hex(b: u8) -> Option<u8> {
    match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn qp(s: &[u8]) -> Vec<u8> {
        whole(Encoding::QuotedPrintable, s)
    }

    #[test]
    fn base64_whole_and_damaged() {
        assert_eq!(base64(b"aGVsbG8="), b"hello");
        assert_eq!(base64(b"aGVs\r\nbG8"), b"hello");
        assert_eq!(base64(b"aGVsbG8=aGVsbG8="), b"hellohello");
        assert_eq!(base64(b"a*G!V?sbG8= "), b"hello");
        assert_eq!(base64(b"a"), b"");
        assert_eq!(base64(b"===="), b"");
    }

    #[test]
    fn quoted_printable_whole_and_damaged() {
        assert_eq!(qp(b"caf=C3=A9 =\r\nau lait  \r\nend"), "café au lait\r\nend".as_bytes());
        assert_eq!(qp(b"1=2 =zz =4"), b"1=2 =zz =4");
        assert_eq!(qp(b"soft=  \r\nnext=\nlf=3d"), b"softnextlf=");
        assert_eq!(qp(b"end="), b"end");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn pieces_do_not_matter(body in "([a-zA-Z0-9+/= \t\r\n]|=[0-9A-F]{2}){0,200}", cut in 1usize..7) {
            for encoding in [Encoding::Base64, Encoding::QuotedPrintable, Encoding::SevenBit] {
                let mut out = Vec::new();
                let mut decoder = Decoder::new(encoding);
                for piece in body.as_bytes().chunks(cut) {
                    decoder.push(piece, &mut out);
                }
                decoder.finish(&mut out);
                prop_assert_eq!(out, whole(encoding, body.as_bytes()));
            }
        }
    }

    #[test]
    fn a_line_without_end_is_not_held() {
        let mut text = b"x=41".repeat(5000);
        text.extend_from_slice(b" =");
        let mut out = Vec::new();
        let mut decoder = Decoder::new(Encoding::QuotedPrintable);
        for piece in text.chunks(999) {
            decoder.push(piece, &mut out);
            assert!(decoder.line.len() <= QP_LINE);
        }
        decoder.finish(&mut out);
        assert_eq!(out, [b"xA".repeat(5000), b" ".to_vec()].concat());
    }
}
