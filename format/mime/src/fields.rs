//! Header blocks taken apart into fields (RFC 5322 §2.2), whatever state they are in.

use crate::limits;
use memchr::memchr;
use std::ops::Range;

/// A field of a header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawField<'a> {
    /// Without the colon and the white space before it. Empty for a line that is no field.
    pub name: &'a [u8],
    /// All after the colon, still folded, with its line end.
    pub value: &'a [u8],
    /// Where in the block the whole field is.
    pub start: usize,
    pub end: usize,
}

/// The fields of a header block, up to the blank line.
pub fn iter(block: &[u8]) -> impl Iterator<Item = RawField<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = block.get(at..)?;
        if rest.is_empty() || rest.starts_with(b"\n") || rest.starts_with(b"\r\n") {
            return None;
        }
        let length = field_length(rest);
        let field = &rest[..length];
        let (name, value) = split(field);
        let start = at;
        at += length;
        Some(RawField { name, value, start, end: at })
    })
}

fn field_length(bytes: &[u8]) -> usize {
    let mut end = 0;
    loop {
        let rest = bytes.get(end..).unwrap_or_default();
        match memchr(b'\n', rest) {
            None => return bytes.len(),
            Some(lf) => end += lf + 1,
        }
        if !matches!(bytes.get(end), Some(b' ' | b'\t')) {
            return end;
        }
    }
}

/// A whole field into name and value; the name is empty when there is no colon or what is before it cannot be a name.
pub fn split(field: &[u8]) -> (&[u8], &[u8]) {
    let Some(colon) = memchr(b':', field) else { return (b"", field) };
    let name = field[..colon].trim_ascii_end();
    if name.is_empty() || name.iter().any(|b| *b <= b' ' || *b == 127) {
        return (b"", field);
    }
    (name, &field[colon + 1..])
}

/// A value on one line: without line ends, NUL bytes and the white space around it (RFC 5322 §2.2.3).
pub fn unfold(value: &[u8]) -> Vec<u8> {
    let value = value.trim_ascii();
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = memchr::memchr3(b'\r', b'\n', 0, rest) {
        out.extend_from_slice(&rest[..at]);
        if rest[at] == b'\r' && rest.get(at + 1) != Some(&b'\n') {
            out.push(b' ');
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out
}

/// Finds the fields of a header, fed in pieces, that have (or, with `not`, have not) one of some names, and the blank line.
/// Gives their ranges, at most [`limits::SECTION_RANGES`] of them.
pub(crate) struct Selector<'n> {
    names: &'n [&'n [u8]],
    not: bool,
    out: Vec<Range<u64>>,
    /// Beginning of the line being read, and where it and its field begin.
    line: Vec<u8>,
    line_start: u64,
    field_start: u64,
    at: u64,
    /// Whether the field that the line may continue is wanted; None before the first.
    field: Option<bool>,
}

/// What is looked at of a line: more than any name that a client asks for.
const NAME_BYTES: usize = 1024;

impl<'n> Selector<'n> {
    pub fn new(start: u64, names: &'n [&'n [u8]], not: bool) -> Selector<'n> {
        let (line_start, field_start, at) = (start, start, start);
        Selector { names, not, out: Vec::new(), line: Vec::new(), line_start, field_start, at, field: None }
    }

    pub fn push(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while !rest.is_empty() {
            let end = memchr(b'\n', rest).map(|lf| lf + 1);
            let (part, tail) = rest.split_at(end.unwrap_or(rest.len()));
            let room = NAME_BYTES.saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            self.at += part.len() as u64;
            if end.is_some() {
                self.end_line();
            }
            rest = tail;
        }
    }

    fn end_line(&mut self) {
        let continues = matches!(self.line.first(), Some(b' ' | b'\t')) && self.field.is_some();
        if !continues {
            self.end_field();
            let blank = self.line == b"\n" || self.line == b"\r\n";
            self.field = Some(blank || wanted(split(&self.line).0, self.names, self.not));
        }
        self.line.clear();
        self.line_start = self.at;
    }

    fn end_field(&mut self) {
        if self.field == Some(true) && self.out.len() < limits::SECTION_RANGES {
            push(&mut self.out, self.field_start..self.line_start);
        }
        self.field_start = self.line_start;
    }

    pub fn finish(mut self) -> Vec<Range<u64>> {
        if !self.line.is_empty() {
            self.end_line();
        }
        self.end_field();
        self.out
    }
}

pub(crate) fn wanted(name: &[u8], names: &[&[u8]], not: bool) -> bool {
    names.iter().any(|n| n.eq_ignore_ascii_case(name)) != not
}

/// Appends a range, joining it to the last when they touch.
pub(crate) fn push(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    if range.is_empty() {
        return;
    }
    match ranges.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_any_shape() {
        let block = b"From junk line\r\nA: 1\r\nB : two\r\n  more\r\nno colon\nC:\n\r\nbody: no\r\n";
        let found: Vec<_> =
            iter(block).map(|f| (f.name, String::from_utf8(unfold(f.value)).unwrap())).collect();
        assert_eq!(
            found,
            [
                (&b""[..], "From junk line".to_string()),
                (b"A", "1".into()),
                (b"B", "two  more".into()),
                (b"", "no colon".into()),
                (b"C", "".into()),
            ]
        );
    }

    #[test]
    fn selects_with_the_blank_line() {
        let block = b"A: 1\r\nB: 2\r\na: 3\r\n\r\n";
        fn text_of(block: &[u8], r: Vec<Range<u64>>) -> Vec<u8> {
            r.iter().flat_map(|r| block[r.start as usize..r.end as usize].to_vec()).collect()
        }
        let select = |block: &[u8], names: &[&[u8]], not: bool| {
            let mut whole = Selector::new(0, names, not);
            whole.push(block);
            let whole = whole.finish();
            let mut pieces = Selector::new(0, names, not);
            block.iter().for_each(|b| pieces.push(&[*b]));
            assert_eq!(pieces.finish(), whole);
            whole
        };
        assert_eq!(text_of(block, select(block, &[b"a"], false)), b"A: 1\r\na: 3\r\n\r\n");
        assert_eq!(text_of(block, select(block, &[b"A"], true)), b"B: 2\r\n\r\n");
        assert_eq!(text_of(block, select(block, &[b"x"], false)), b"\r\n");
        let block = b"A: 1\n two\nnone\nB:\nA: 3";
        assert_eq!(text_of(block, select(block, &[b"a"], false)), b"A: 1\n two\nA: 3");
        assert_eq!(text_of(block, select(block, &[b"a"], true)), b"none\nB:\n");
    }
}
