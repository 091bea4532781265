//! The scanner: a message in pieces in, a [`Summary`] out.
//!
//! It works by lines where structure can change (headers, lines that begin with `--`) and skips all else with memchr.

use crate::digest;
use crate::fields;
use crate::limits::{self, Limits};
use crate::preview::Capture;
use crate::render;
use crate::summary::{Facts, Field, PartKind, Summary};
use crate::tree::{Envelope, Node};
use memchr::{memchr, memchr_iter, memmem};

/// The longest line that may be a delimiter: `--`, boundary, `--`, padding, line end.
const DELIMITER_BYTES: usize = limits::BOUNDARY_BYTES + limits::BOUNDARY_PADDING + 6;

/// Reads a message in one pass. Memory is bounded by [`Limits`], not by the message.
#[derive(Debug)]
pub struct Scanner {
    limits: Limits,
    state: State,
    /// Bytes and line ends consumed.
    pos: u64,
    lf: u64,
    /// The last two bytes consumed: tells which line end stands before a delimiter.
    tail: [u8; 2],
    /// Beginning of the line whose end has not come (headers and possible delimiters), and its length so far.
    line: Vec<u8>,
    line_len: u64,
    line_tail: [u8; 2],
    /// The next body byte begins a line.
    line_start: bool,
    /// Beginning of the header field being read, its place and length.
    field: Vec<u8>,
    field_start: u64,
    field_len: u64,
    /// Multiparts whose delimiters count, outermost first.
    bounds: Vec<Bound>,
    nodes: Vec<Node>,
    current: usize,
    /// Bytes kept for the structure.
    kept: usize,
    facts: Facts,
    /// A value that ENVELOPE or BODYSTRUCTURE shows has 8-bit bytes.
    shown_8bit: bool,
    fields: Vec<Field>,
    captures: Vec<Capture>,
    capture: Option<usize>,
    out: Summary,
    delimiters: memmem::Finder<'static>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Header,
    Body,
    /// At the start of a body line that may be a delimiter.
    Delimiter,
}

#[derive(Debug)]
struct Bound {
    node: usize,
    boundary: Vec<u8>,
}

impl Default for Scanner {
    fn default() -> Self {
        Scanner::new(Limits::stored())
    }
}

impl Scanner {
    pub fn new(limits: Limits) -> Scanner {
        Scanner {
            limits,
            state: State::Header,
            pos: 0,
            lf: 0,
            tail: [0; 2],
            line: Vec::new(),
            line_len: 0,
            line_tail: [0; 2],
            line_start: true,
            field: Vec::new(),
            field_start: 0,
            field_len: 0,
            bounds: Vec::new(),
            nodes: vec![Node { number: 1, ..Node::default() }],
            current: 0,
            kept: 0,
            facts: Facts::default(),
            shown_8bit: false,
            fields: Vec::new(),
            captures: Vec::new(),
            capture: None,
            out: Summary::default(),
            delimiters: memmem::Finder::new(b"\n--"),
        }
    }

    /// The next bytes of the message, as stored; pieces may end anywhere.
    pub fn feed(&mut self, piece: &[u8]) {
        if !self.facts.has_nul() && memchr(0, piece).is_some() {
            self.facts.set_has_nul();
        }
        if !self.facts.has_8bit() && !piece.is_ascii() {
            self.facts.set_has_8bit();
        }
        let mut rest = piece;
        while !rest.is_empty() {
            rest = match self.state {
                State::Header => self.feed_header(rest),
                State::Body => self.feed_body(rest),
                State::Delimiter => self.feed_delimiter(rest),
            };
        }
    }

    fn feed_header<'p>(&mut self, piece: &'p [u8]) -> &'p [u8] {
        let end = memchr(b'\n', piece).map(|lf| lf + 1);
        let (part, rest) = piece.split_at(end.unwrap_or(piece.len()));
        if end.is_some() && self.line_len == 0 {
            let tail = last_two([0; 2], part);
            self.header_line(part, part.len() as u64, tail);
            return rest;
        }
        let room = self.limits.field_bytes.saturating_sub(self.line.len());
        self.line.extend_from_slice(&part[..part.len().min(room)]);
        self.line_len += part.len() as u64;
        self.line_tail = last_two(self.line_tail, part);
        if end.is_some() {
            let mut line = std::mem::take(&mut self.line);
            let length = std::mem::take(&mut self.line_len);
            self.header_line(&line, length, self.line_tail);
            line.clear();
            self.line = line;
            self.line_tail = [0; 2];
        }
        rest
    }

    /// A whole header line (of which only the beginning may be at hand), at `pos`.
    fn header_line(&mut self, line: &[u8], length: u64, tail: [u8; 2]) {
        if line == b"\r\n" || line == b"\n" {
            self.flush_field();
            self.consume_line(length, tail);
            self.end_header();
            return;
        }
        if length == line.len() as u64
            && let Some((bound, close)) = self.delimiter_of(line)
        {
            self.end_headers();
            self.delimiter(bound, close, line);
            return;
        }
        if !(matches!(line.first(), Some(b' ' | b'\t')) && self.field_len > 0) {
            self.flush_field();
            self.field_start = self.pos;
        }
        let room = self.limits.field_bytes.saturating_sub(self.field.len());
        // A cut field is cut for good: nothing of its later lines may follow the gap.
        if self.field.len() as u64 == self.field_len {
            self.field.extend_from_slice(&line[..line.len().min(room)]);
        }
        self.field_len += length;
        self.consume_line(length, tail);
    }

    fn consume_line(&mut self, length: u64, tail: [u8; 2]) {
        self.pos += length;
        self.lf += u64::from(tail[1] == b'\n');
        self.tail = tail;
    }

    /// Takes in the field that was gathered.
    fn flush_field(&mut self) {
        if self.field_len == 0 {
            return;
        }
        let field = std::mem::take(&mut self.field);
        let cut = (field.len() as u64) < self.field_len;
        let (name, value) = fields::split(&field);
        let eight_bit = !field.is_ascii();
        if self.current == 0 {
            if eight_bit {
                self.facts.set_header_8bit();
            }
            if self.fields.len() < self.limits.fields {
                let range = self.field_start..self.field_start + self.field_len;
                self.fields.push(Field { name: String::from_utf8_lossy(name).into_owned(), range });
            } else {
                self.facts.set_fields_partial();
            }
        }
        self.shown_8bit |= eight_bit;
        let is_message = self.current_is_message();
        let kept = self.nodes[self.current].field(name, value, is_message, cut, &self.limits);
        self.kept += kept;
        if self.kept > self.limits.structure_bytes || (cut && kept > 0) {
            self.facts.set_structure_partial();
        }
        self.field = field;
        self.field.clear();
        self.field_len = 0;
    }

    fn current_is_message(&self) -> bool {
        let node = &self.nodes[self.current];
        node.is_message(node.parent.and_then(|p| self.nodes.get(p as usize)))
    }

    /// Ends the header that the bytes or a delimiter cut off. A message within may begin right there, and a message within that:
    /// each turn is one level deeper, and the last is a text.
    fn end_headers(&mut self) {
        while self.state == State::Header {
            self.flush_field();
            self.end_header();
        }
    }

    /// The header of the current node ended at `pos`: what is its body?
    fn end_header(&mut self) {
        let index = self.current;
        self.state = State::Body;
        self.line_start = true;
        if self.current_is_message() {
            self.finish_head(index);
        }
        let node = &mut self.nodes[index];
        node.body_start = self.pos;
        node.lines_before = self.lf;
        let room = node.depth + 1 < self.limits.depth;
        let message = node.media_is("message", "rfc822") || node.media_is("message", "global");
        if let Some(boundary) = node.boundary().map(<[u8]>::to_vec) {
            node.kind = Some(if room { PartKind::Multipart } else { PartKind::Leaf });
            if room {
                self.bounds.push(Bound { node: index, boundary });
            } else {
                self.facts.set_structure_partial();
            }
        } else if message {
            node.kind = Some(PartKind::Leaf);
            if !room {
                self.facts.set_structure_partial();
            } else if self.may_open() {
                self.nodes[index].kind = Some(PartKind::Message);
                self.open_child(index);
            }
        } else {
            node.kind = Some(PartKind::Leaf);
            self.capture = Capture::wanted(node, &self.captures).map(|capture| {
                self.captures.push(capture);
                self.captures.len() - 1
            });
        }
    }

    /// Renders the envelope of a message whose header has been read.
    fn finish_head(&mut self, index: usize) {
        let head = self.nodes[index].head.take().unwrap_or_default();
        let cap = self.limits.structure_bytes / 4;
        let (rev1, mut partial) = render::envelope(&head, false, cap, &self.limits);
        partial |= head.cut;
        let utf8 = (!rev1.is_ascii()).then(|| render::envelope(&head, true, cap, &self.limits).0);
        if index == 0 {
            if partial {
                self.facts.set_envelope_partial();
            }
            digest::fill(&mut self.out, &head, &self.limits, &mut self.facts);
            self.out.envelope = rev1;
            self.out.envelope_utf8 = utf8;
        } else {
            self.kept += rev1.len() + utf8.as_ref().map_or(0, Vec::len);
            if partial || self.kept > self.limits.structure_bytes {
                self.facts.set_structure_partial();
            }
            self.nodes[index].envelope = Some(Envelope { rev1, utf8 });
        }
    }

    /// Whether another part may be kept; from the first refusal on, all the rest is opaque.
    fn may_open(&mut self) -> bool {
        if self.nodes.len() >= self.limits.parts {
            self.facts.set_structure_partial();
        }
        !self.facts.structure_partial()
    }

    fn open_child(&mut self, parent: usize) {
        let owner = &mut self.nodes[parent];
        owner.children += 1;
        let child = Node {
            parent: Some(parent as u32),
            number: owner.children,
            depth: owner.depth + 1,
            header_start: self.pos,
            in_digest: owner.kind == Some(PartKind::Multipart) && owner.media_is("multipart", "digest"),
            ..Node::default()
        };
        self.current = self.nodes.len();
        self.nodes.push(child);
        self.state = State::Header;
    }

    fn feed_body<'p>(&mut self, piece: &'p [u8]) -> &'p [u8] {
        if self.bounds.is_empty() {
            self.take(piece);
            return &[];
        }
        if self.line_start && piece[0] == b'-' {
            self.state = State::Delimiter;
            return piece;
        }
        self.line_start = false;
        let end = match self.delimiters.find(piece) {
            Some(at) => at + 1,
            // The hyphens may be in the next piece.
            None if piece.ends_with(b"\n-") => piece.len() - 1,
            None => piece.len(),
        };
        let (body, rest) = piece.split_at(end);
        self.take(body);
        self.line_start = body.ends_with(b"\n");
        rest
    }

    fn feed_delimiter<'p>(&mut self, piece: &'p [u8]) -> &'p [u8] {
        let room = DELIMITER_BYTES - self.line.len();
        let window = &piece[..piece.len().min(room)];
        let Some(lf) = memchr(b'\n', window) else {
            self.line.extend_from_slice(window);
            if window.len() == room {
                self.line_start = false;
                self.not_a_delimiter();
            }
            return &piece[window.len()..];
        };
        let (line, rest) = piece.split_at(lf + 1);
        if self.line.is_empty() {
            self.delimiter_line(line);
        } else {
            let mut whole = std::mem::take(&mut self.line);
            whole.extend_from_slice(line);
            self.delimiter_line(&whole);
        }
        rest
    }

    fn delimiter_line(&mut self, line: &[u8]) {
        match self.delimiter_of(line) {
            Some((bound, close)) => self.delimiter(bound, close, line),
            None => {
                self.state = State::Body;
                self.take(line);
                self.line_start = true;
            }
        }
    }

    fn not_a_delimiter(&mut self) {
        let line = std::mem::take(&mut self.line);
        self.state = State::Body;
        self.take(&line);
    }

    /// Body bytes that have no structure.
    fn take(&mut self, bytes: &[u8]) {
        self.pos += bytes.len() as u64;
        self.lf += memchr_iter(b'\n', bytes).count() as u64;
        self.tail = last_two(self.tail, bytes);
        if let Some(capture) = self.capture.and_then(|i| self.captures.get_mut(i))
            && !capture.push(bytes)
        {
            self.capture = None;
        }
    }

    /// Which multipart's delimiter a line is, innermost first, and whether it closes it (RFC 2046 §5.1.1).
    fn delimiter_of(&self, line: &[u8]) -> Option<(usize, bool)> {
        if self.bounds.is_empty() {
            return None;
        }
        let text = line.strip_prefix(b"--")?.trim_ascii_end();
        let closing = text.strip_suffix(b"--");
        self.bounds.iter().enumerate().rev().find_map(|(i, bound)| {
            if text == bound.boundary {
                Some((i, false))
            } else if closing == Some(bound.boundary.as_slice()) {
                Some((i, true))
            } else {
                None
            }
        })
    }

    /// A delimiter line at `pos`: everything within that multipart ends before it, and before the line end that precedes it.
    fn delimiter(&mut self, bound: usize, close: bool, line: &[u8]) {
        let owner = self.bounds[bound].node;
        let line_end = match self.tail {
            [b'\r', b'\n'] => 2,
            [_, b'\n'] => 1,
            _ => 0,
        };
        self.close_below(owner, self.pos - line_end, self.lf - u64::from(line_end > 0));
        self.bounds.truncate(bound + 1);
        self.consume_line(line.len() as u64, last_two([0; 2], line));
        self.state = State::Body;
        self.line_start = true;
        if close {
            self.bounds.pop();
        } else if self.may_open() {
            self.open_child(owner);
        }
    }

    /// Ends all open nodes within `owner`.
    fn close_below(&mut self, owner: usize, end: u64, lines: u64) {
        let (mut end, mut lines) = (end, lines);
        while self.current != owner {
            let Some(node) = self.nodes.get_mut(self.current) else { return };
            // When a header reaches up to the delimiter, the line end belongs to it: parents contain their children.
            if end < node.body_start {
                end = node.body_start;
                lines = self.lf;
            }
            node.end = end;
            node.lines = lines.saturating_sub(node.lines_before);
            self.current = node.parent.map_or(owner, |p| p as usize);
        }
        self.capture = None;
    }

    /// No more bytes come.
    pub fn finish(mut self) -> Summary {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            match self.state {
                State::Header => self.header_line(&line, self.line_len, self.line_tail),
                State::Body | State::Delimiter => self.delimiter_line(&line),
            }
        }
        self.end_headers();
        let (end, lines) = (self.pos, self.lf);
        self.close_below(0, end, lines);
        if let Some(root) = self.nodes.first_mut() {
            root.end = end;
            root.lines = lines.saturating_sub(root.lines_before);
        }
        self.out.size = self.pos;
        self.out.facts = Facts(self.out.facts.0 | self.facts.0);
        self.out.fields = self.fields;
        digest::finish(self.out, &self.nodes, &self.captures, self.shown_8bit, &self.limits)
    }
}

fn last_two(before: [u8; 2], bytes: &[u8]) -> [u8; 2] {
    match bytes {
        [] => before,
        [b] => [before[1], *b],
        [.., a, b] => [*a, *b],
    }
}

/// Scans a message that is at hand as a whole.
pub fn scan(message: &[u8], limits: Limits) -> Summary {
    let mut scanner = Scanner::new(limits);
    scanner.feed(message);
    scanner.finish()
}
