//! Encoded words in headers (RFC 2047), both ways. Decoding is generous: words that touch, spaces inside, wrong lengths.

use crate::{charset, decode};
use memchr::memmem;

/// Header text as people read it: encoded words decoded, raw 8-bit taken as UTF-8 or else windows-1252 (see [`charset`]).
pub fn decode(value: &[u8]) -> String {
    if memmem::find(value, b"=?").is_none() {
        return charset::unlabelled(value).into_owned();
    }
    let mut out = String::with_capacity(value.len());
    let mut run = Run::default();
    let mut rest = value;
    while let Some(at) = memmem::find(rest, b"=?") {
        let (before, from) = rest.split_at(at);
        let Some((word, after)) = encoded_word(from) else {
            run.flush(&mut out);
            out.push_str(&charset::unlabelled(&rest[..at + 2]));
            rest = &from[2..];
            continue;
        };
        // White space between two encoded words is not part of the text (RFC 2047 §6.2).
        if !(run.active && before.iter().all(|b| b.is_ascii_whitespace())) {
            run.flush(&mut out);
            out.push_str(&charset::unlabelled(before));
        }
        run.add(word, &mut out);
        rest = after;
    }
    run.flush(&mut out);
    out.push_str(&charset::unlabelled(rest));
    out
}

/// Neighbouring words of one charset are joined before conversion: mailers cut words within characters.
#[derive(Default)]
struct Run<'a> {
    active: bool,
    charset: &'a [u8],
    bytes: Vec<u8>,
}

impl<'a> Run<'a> {
    fn add(&mut self, word: Word<'a>, out: &mut String) {
        if self.active && !self.charset.eq_ignore_ascii_case(word.charset) {
            self.flush(out);
        }
        self.active = true;
        self.charset = word.charset;
        self.bytes.extend_from_slice(&word.bytes);
    }

    fn flush(&mut self, out: &mut String) {
        if self.active {
            let label = std::str::from_utf8(self.charset).unwrap_or_default();
            out.extend(charset::decode(label, &self.bytes).chars().map(|c| match c {
                '\r' | '\n' | '\0' => ' ',
                c => c,
            }));
            self.bytes.clear();
            self.active = false;
        }
    }
}

struct Word<'a> {
    charset: &'a [u8],
    bytes: Vec<u8>,
}

/// `=?charset*language?Q?text?=` at the start of `from`, and what follows it.
fn encoded_word(from: &[u8]) -> Option<(Word<'_>, &[u8])> {
    let body = from.strip_prefix(b"=?")?;
    let q1 = memchr::memchr(b'?', body)?;
    let charset = &body[..q1];
    if charset.is_empty() || charset.len() > 64 || charset.iter().any(|b| *b <= b' ' || *b == b'=') {
        return None;
    }
    let charset = charset.split(|b| *b == b'*').next().unwrap_or(charset);
    let [encoding, b'?', text @ ..] = &body[q1 + 1..] else { return None };
    // The text cannot have a question mark, but Q text from careless mailers does: only `?=` ends it.
    let end = memmem::find(text, b"?=")?;
    // `=?utf-8?Q??=` is empty, and `=?utf-8?Q?=41?=` begins with an equals sign; neither is an early end.
    let (text, after) = (&text[..end], &text[end + 2..]);
    let bytes = match encoding {
        b'B' | b'b' => decode::base64(text),
        b'Q' | b'q' => q_text(text),
        _ => return None,
    };
    Some((Word { charset, bytes }, after))
}

fn q_text(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&b, tail)) = rest.split_first() {
        rest = tail;
        match (b, tail) {
            (b'_', _) => out.push(b' '),
            (b'=', [a, b, more @ ..]) => match (decode::hex(*a), decode::hex(*b)) {
                (Some(x), Some(y)) => {
                    out.push(x << 4 | y);
                    rest = more;
                }
                _ => out.push(b'='),
            },
            _ => out.push(b),
        }
    }
    out
}

/// Text for a header: itself when it is printable ASCII, else UTF-8 encoded words of at most 75 characters, apart by one space.
pub fn encode(text: &str) -> String {
    if text.bytes().all(|b| (b' '..127).contains(&b)) && !text.contains("=?") {
        return text.to_string();
    }
    let mut out = String::new();
    let mut word = String::new();
    for c in text.chars() {
        let mut buf = [0; 4];
        let escaped: String = match c {
            ' ' => "_".into(),
            c if c.is_ascii_alphanumeric() => c.to_string(),
            c => c.encode_utf8(&mut buf).bytes().map(|b| format!("={b:02X}")).collect(),
        };
        // "=?utf-8?Q?" and "?=" take twelve of the 75.
        if word.len() + escaped.len() > 63 {
            push_word(&mut out, &word);
            word.clear();
        }
        word.push_str(&escaped);
    }
    push_word(&mut out, &word);
    out
}

fn push_word(out: &mut String, word: &str) {
    if !out.is_empty() {
        out.push(' ');
    }
    out.push_str("=?utf-8?Q?");
    out.push_str(word);
    out.push_str("?=");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn examples_of_rfc_2047() {
        for (raw, text) in [
            ("=?ISO-8859-1?Q?a?=", "a"),
            ("=?ISO-8859-1?Q?a?= b", "a b"),
            ("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a_b?=", "a b"),
            ("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"),
            ("=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>"),
            (
                "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?= =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
                "If you can read this you understand the example.",
            ),
        ] {
            assert_eq!(decode(raw.as_bytes()), text, "{raw}");
        }
    }

    #[test]
    fn nasty_ones() {
        for (raw, text) in [
            ("=?utf-8?B?w6k=?=", "é"),
            // One character cut in two words.
            ("=?utf-8?B?ww==?= =?utf-8?B?qQ==?=", "é"),
            ("=?utf-8*en?q?=C3=A9?=", "é"),
            ("=?utf-8?Q?a b?= c", "a b c"),
            ("x=?utf-8?Q?=41?=y", "xAy"),
            ("=?utf-8?X?abc?=", "=?utf-8?X?abc?="),
            ("=?utf-8?Q?unfinished", "=?utf-8?Q?unfinished"),
            ("=?", "=?"),
            ("=?utf-8?Q??=", ""),
            ("a =? b", "a =? b"),
            ("caf\u{e9}", "café"),
            ("=?nonsense?Q?=C3=A9?=", "é"),
            ("=?utf-8?Q?a=0D=0Ab?=", "a  b"),
        ] {
            assert_eq!(decode(raw.as_bytes()), text, "{raw}");
        }
        assert_eq!(decode(b"caf\xe9"), "café");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn comes_back(text in "[ -~\u{e0}-\u{17f}\u{4e00}-\u{4e20}]{0,100}") {
            let encoded = encode(&text);
            prop_assert!(encoded.is_ascii());
            prop_assert!(encoded == text || encoded.split(' ').all(|w| w.len() <= 75));
            prop_assert_eq!(decode(encoded.as_bytes()), text);
        }
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            decode(&bytes);
        }
    }
}
