//! Searching decoded text (RFC 9051 §6.4.4: BODY, TEXT, HEADER and the address and subject keys).
//!
//! Text is compared as [`crate::collate`] does. The quick way, which most mail takes: an ASCII needle in ASCII bytes that need no
//! decoding is looked for where they are. All else is decoded, converted, stripped of HTML and folded first.

use crate::charset::{self, Converter};
use crate::collate;
use crate::decode::{self, Decoder};
use crate::fields;
use crate::html::{self, Stripper};
use crate::limits;
use crate::param;
use crate::rfc2047;
use crate::summary::{Encoding, Part, PartKind};
use crate::summary_ref::SummaryRef;
use memchr::memmem;
use std::ops::Range;

/// Bytes that are read of a large message at a time.
const PIECE: u64 = 64 * 1024;

/// A string to look for, without regard to case. Make one for each search, not for each message.
#[derive(Debug)]
pub struct Matcher {
    /// The needle's key.
    folded: memmem::Finder<'static>,
    length: usize,
    ascii: Option<Ascii>,
    /// The needle has white space or controls, so that a folded header may hide it.
    spaced: bool,
}

impl Matcher {
    /// An empty needle matches wherever the field or text exists.
    pub fn new(needle: &str) -> Matcher {
        let key = collate::key(needle);
        Matcher {
            folded: memmem::Finder::new(key.as_bytes()).into_owned(),
            length: key.len(),
            ascii: (key.is_ascii() && !key.is_empty()).then(|| Ascii::new(key.as_bytes())),
            spaced: key.bytes().any(|b| b <= b' '),
        }
    }

    /// Whether a decoded text, such as [`SummaryRef::subject`], has it.
    pub fn matches_str(&self, text: &str) -> bool {
        if self.length == 0 {
            return true;
        }
        match self.quick(text.as_bytes()) {
            Some(answer) => answer,
            None => self.folded.find(collate::key(text).as_bytes()).is_some(),
        }
    }

    /// The answer for bytes in which ASCII is ASCII, when it can be told without decoding.
    fn quick(&self, bytes: &[u8]) -> Option<bool> {
        match &self.ascii {
            Some(ascii) if ascii.is_in(bytes) => Some(true),
            // Folding never makes ASCII into anything else, but other characters may become ASCII.
            _ => bytes.is_ascii().then_some(false),
        }
    }

    /// SEARCH BODY: text parts, and the headers of messages within.
    pub fn matches_body(&self, summary: &SummaryRef<'_>, message: &[u8]) -> bool {
        self.matches_parts(&summary.parts(), summary, message, false)
    }

    /// SEARCH TEXT: all headers, and the body.
    pub fn matches_text(&self, summary: &SummaryRef<'_>, message: &[u8]) -> bool {
        self.matches_parts(&summary.parts(), summary, message, true)
    }

    fn matches_parts(&self, parts: &[Part], summary: &SummaryRef<'_>, message: &[u8], headers: bool) -> bool {
        if self.length == 0 {
            return true;
        }
        let opaque = summary.facts.structure_partial();
        parts.iter().any(|part| {
            let header = searches_header(parts, part, headers)
                && self.matches_header_block(slice(message, &part.header));
            header || (searches_body(part, opaque) && self.matches_leaf(part, slice(message, &part.body)))
        })
    }

    /// SEARCH HEADER: any top-level field of that name. `header` is the message, or at least its header.
    pub fn matches_header(&self, name: &[u8], summary: &SummaryRef<'_>, header: &[u8]) -> bool {
        let block = slice(header, &summary.header());
        fields::iter(block).any(|f| f.name.eq_ignore_ascii_case(name) && self.matches_value(f.name, f.value))
    }

    /// All fields of a header, names included.
    fn matches_header_block(&self, block: &[u8]) -> bool {
        if !self.spaced && self.ascii.is_some() && is_plain(block) {
            return self.quick(block) == Some(true);
        }
        if self.ascii.is_none() && is_plain(block) {
            return false;
        }
        fields::iter(block).any(|f| {
            if f.name.is_empty() {
                return self.matches_value(b"", f.value);
            }
            let line = [f.name, b": ", &fields::unfold(f.value)].concat();
            self.matches_value(f.name, &line)
        })
    }

    fn matches_value(&self, name: &[u8], value: &[u8]) -> bool {
        if self.length == 0 {
            return true;
        }
        let value = fields::unfold(value);
        if self.matches_str(&rfc2047::decode(&value)) {
            return true;
        }
        // File names in the form of RFC 2231 hide what they say.
        let parameters = name.get(..8).is_some_and(|n| n.eq_ignore_ascii_case(b"content-"));
        parameters
            && memchr::memchr(b'*', &value).is_some()
            && ["filename", "name"]
                .iter()
                .any(|p| param::parse(&value).text(p).is_some_and(|t| self.matches_str(&t)))
    }

    /// A text part that is at hand as a whole.
    fn matches_leaf(&self, part: &Part, raw: &[u8]) -> bool {
        let html = is_html(part);
        let quick = !html && charset::ascii_compatible(&part.charset);
        let plain = !matches!(part.encoding, Encoding::Base64 | Encoding::QuotedPrintable);
        if plain
            && quick
            && let Some(answer) = self.quick(raw)
        {
            return answer;
        }
        let decoded;
        let bytes = if plain {
            raw
        } else {
            decoded = decode::whole(part.encoding, raw);
            if quick && let Some(answer) = self.quick(&decoded) {
                return answer;
            }
            &decoded
        };
        let text = charset::decode(&part.charset, bytes);
        if html { self.matches_str(&html::to_text(&text)) } else { self.matches_str(&text) }
    }

    /// SEARCH BODY (`headers` false) or TEXT in bounded memory: reads pieces of at most 64 KiB, and headers of at most
    /// [`limits::SEARCH_HEADER_BYTES`].
    pub fn matches_large<E>(
        &self,
        summary: &SummaryRef<'_>,
        headers: bool,
        mut read: impl FnMut(Range<u64>) -> Result<Vec<u8>, E>,
    ) -> Result<bool, E> {
        if self.length == 0 {
            return Ok(true);
        }
        let parts = summary.parts();
        let opaque = summary.facts.structure_partial();
        for part in &parts {
            if searches_header(&parts, part, headers) {
                let end = part.header.end.min(part.header.start.saturating_add(limits::SEARCH_HEADER_BYTES));
                if self.matches_header_block(&read(part.header.start..end)?) {
                    return Ok(true);
                }
            }
            if searches_body(part, opaque) && self.matches_pieces(part, &mut read)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn matches_pieces<E>(
        &self,
        part: &Part,
        read: &mut impl FnMut(Range<u64>) -> Result<Vec<u8>, E>,
    ) -> Result<bool, E> {
        let mut stream = Stream::new(part);
        let mut window = String::new();
        let mut at = part.body.start;
        loop {
            let end = part.body.end.min(at + PIECE);
            let raw = if at < end { read(at..end)? } else { Vec::new() };
            let last = end >= part.body.end;
            collate::fold(stream.push(&raw, last), &mut window);
            if self.folded.find(window.as_bytes()).is_some() {
                return Ok(true);
            }
            if last {
                return Ok(false);
            }
            // What may be the beginning of a match that goes on in the next piece.
            let keep = window.len().saturating_sub(self.length.saturating_sub(1));
            window.drain(..window.floor_char_boundary(keep));
            at = end;
        }
    }
}

fn slice<'m>(message: &'m [u8], range: &Range<u64>) -> &'m [u8] {
    let end = (range.end as usize).min(message.len());
    message.get(range.start as usize..end).unwrap_or_default()
}

/// For BODY, the header of the message itself does not count, nor do those of its parts, but those of messages within.
fn searches_header(parts: &[Part], part: &Part, all: bool) -> bool {
    all || part.parent.and_then(|p| parts.get(p as usize)).is_some_and(|p| p.kind == PartKind::Message)
}

fn searches_body(part: &Part, opaque: bool) -> bool {
    part.kind == PartKind::Leaf
        && (opaque || part.media.starts_with("text/") || part.media.starts_with("message/"))
}

/// Nothing in the header is encoded, so that it says what it says.
fn is_plain(block: &[u8]) -> bool {
    block.is_ascii() && memmem::find(block, b"=?").is_none() && memmem::find(block, b"*=").is_none()
}

fn is_html(part: &Part) -> bool {
    part.media == "text/html"
}

/// The text of a part, piece by piece: raw bytes, transfer encoding, charset, markup.
struct Stream {
    decoder: Decoder,
    converter: Converter,
    stripper: Option<Stripper>,
    bytes: Vec<u8>,
    text: String,
    plain: String,
}

impl Stream {
    fn new(part: &Part) -> Stream {
        Stream {
            decoder: Decoder::new(part.encoding),
            converter: Converter::new(&part.charset),
            stripper: is_html(part).then(Stripper::default),
            bytes: Vec::new(),
            text: String::new(),
            plain: String::new(),
        }
    }

    fn push(&mut self, raw: &[u8], last: bool) -> &str {
        self.bytes.clear();
        self.decoder.push(raw, &mut self.bytes);
        if last {
            self.decoder.finish(&mut self.bytes);
        }
        self.text.clear();
        self.converter.push(&self.bytes, last, &mut self.text);
        let Some(stripper) = &mut self.stripper else { return &self.text };
        self.plain.clear();
        stripper.push(&self.text, &mut self.plain);
        if last {
            stripper.finish(&mut self.plain);
        }
        &self.plain
    }
}

/// Finds an ASCII needle without regard to case, a block of places at a time, by its two rarest letters.
#[derive(Debug)]
struct Ascii {
    needle: Vec<u8>,
    /// Places in the needle of the two letters, and the letters with the case bit set.
    at: [usize; 2],
    bytes: [u8; 2],
}

/// Places compared at once; the compiler makes vector instructions of it.
const BLOCK: usize = 32;

impl Ascii {
    fn new(needle: &[u8]) -> Ascii {
        let mut places: Vec<usize> = (0..needle.len()).collect();
        places.sort_by_key(|i| needle.get(*i).map(|b| commonness(*b)));
        let first = places.first().copied().unwrap_or(0);
        // Two different letters say more than one twice.
        let second = places.iter().copied().find(|i| needle[*i] != needle[first]).unwrap_or(first);
        let at = [first, second];
        Ascii { needle: needle.to_vec(), at, bytes: at.map(|i| needle.get(i).copied().unwrap_or(0) | 0x20) }
    }

    fn is_in(&self, hay: &[u8]) -> bool {
        let Some(last) = hay.len().checked_sub(self.needle.len()) else { return false };
        let places = last + 1;
        let [a, b] = self.at.map(|i| hay.get(i..i + places).unwrap_or_default());
        let [x, y] = self.bytes;
        let (blocks_a, rest_a) = a.as_chunks::<BLOCK>();
        let (blocks_b, rest_b) = b.as_chunks::<BLOCK>();
        for (n, (a, b)) in blocks_a.iter().zip(blocks_b).enumerate() {
            if candidates(a, b, x, y) && self.verify(hay, n * BLOCK, BLOCK) {
                return true;
            }
        }
        let done = blocks_a.len() * BLOCK;
        !rest_a.is_empty() && !rest_b.is_empty() && self.verify(hay, done, rest_a.len())
    }

    fn verify(&self, hay: &[u8], from: usize, count: usize) -> bool {
        let length = self.needle.len();
        (from..from + count)
            .any(|i| hay.get(i..i + length).is_some_and(|window| window.eq_ignore_ascii_case(&self.needle)))
    }
}

#[inline]
fn candidates(a: &[u8; BLOCK], b: &[u8; BLOCK], x: u8, y: u8) -> bool {
    let mut hit = 0u8;
    for i in 0..BLOCK {
        hit |= u8::from(a[i] | 0x20 == x) & u8::from(b[i] | 0x20 == y);
    }
    hit != 0
}

/// How often a byte is met in mail, roughly; the higher the more often.
fn commonness(b: u8) -> usize {
    let order = b"zqxjkvbpygfwmucldrhsnioate";
    match order.iter().position(|o| *o == b.to_ascii_lowercase()) {
        Some(place) => 10 + place,
        None if b == b' ' => 40,
        None if b.is_ascii_digit() || b"-=.,<>/".contains(&b) => 18,
        None => 5,
    }
}
