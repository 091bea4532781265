//! A stream cut into blocks of whole lines, in UTF-8 or nearly; memory stays bounded whatever the stream holds.

use super::decode::{Converter, Form};
use memchr::{memchr, memrchr};
use std::io::{self, Read};

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// Yields blocks that end with a line's end (the last one may not).
pub struct Blocks<R> {
    input: R,
    converter: Option<Converter>,
    /// Bytes not yet handed out; those from `taken` on.
    held: Vec<u8>,
    taken: usize,
    raw: Vec<u8>,
    line_max: usize,
    ended: bool,
    /// The rest of a line that is too long is being passed over.
    skipping: bool,
    /// Lines that were cut.
    pub cut: u64,
}

impl<R: Read> Blocks<R> {
    pub fn new(input: R, form: Form, line_max: usize) -> Blocks<R> {
        let converter = match form {
            Form::Utf16(encoding) => Some(Converter::new(encoding)),
            _ => None,
        };
        Blocks {
            input,
            converter,
            held: Vec::new(),
            taken: 0,
            raw: Vec::new(),
            line_max: line_max.max(1),
            ended: false,
            skipping: false,
            cut: 0,
        }
    }

    /// The next block of at most about `size` bytes; empty at the end.
    ///
    /// # Errors
    /// What the stream answers; blocks before it were good.
    pub fn next(&mut self, size: usize) -> io::Result<&[u8]> {
        self.held.drain(..self.taken);
        self.taken = 0;
        let mut end = None;
        while !self.ended && (self.held.len() < size || end.is_none()) {
            self.fill()?;
            end = memrchr(b'\n', &self.held);
        }
        self.taken = if self.ended { self.held.len() } else { end.map_or(0, |at| at + 1) };
        Ok(self.held.get(..self.taken).unwrap_or_default())
    }

    fn fill(&mut self) -> io::Result<()> {
        self.raw.resize(PIECE, 0);
        let count = loop {
            match self.input.read(&mut self.raw) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.ended = count == 0;
        let start = self.held.len();
        let piece = self.raw.get(..count).unwrap_or_default();
        match &mut self.converter {
            Some(converter) => converter.append(piece, self.ended, &mut self.held),
            None => self.held.extend_from_slice(piece),
        }
        self.bound_lines(start);
        Ok(())
    }

    /// Cuts lines that are too long, those that go on from what was held before included.
    fn bound_lines(&mut self, from: usize) {
        let line_start = match self.skipping {
            true => from,
            false => self.held.get(..from).and_then(|h| memrchr(b'\n', h)).map_or(0, |at| at + 1),
        };
        let new = self.held.get(line_start..).unwrap_or_default();
        // Most blocks have no such line; finding that out must cost little.
        let mut longest_from = 0;
        let mut long = self.skipping;
        while !long {
            let Some(rest) = new.get(longest_from..).filter(|rest| rest.len() > self.line_max) else {
                return;
            };
            let window = rest.get(..self.line_max).unwrap_or(rest);
            match memrchr(b'\n', window) {
                Some(at) => longest_from += at + 1,
                None => long = true,
            }
        }
        let mut kept: Vec<u8> = Vec::with_capacity(new.len());
        let mut at = 0;
        while let Some(rest) = new.get(at..).filter(|rest| !rest.is_empty()) {
            let end = memchr(b'\n', rest);
            let line = rest.get(..end.map_or(rest.len(), |e| e + 1)).unwrap_or(rest);
            at += line.len();
            if self.skipping {
                // A piece of the line that was cut: only its end matters.
                if end.is_some() {
                    kept.push(b'\n');
                    self.skipping = false;
                }
                continue;
            }
            if line.len() <= self.line_max {
                kept.extend_from_slice(line);
                continue;
            }
            self.cut += 1;
            kept.extend_from_slice(line.get(..self.line_max).unwrap_or_default());
            match end {
                Some(_) => kept.push(b'\n'),
                None => self.skipping = true,
            }
        }
        self.held.truncate(line_start);
        self.held.append(&mut kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::decode::form;

    fn lines(bytes: &[u8], size: usize, line_max: usize) -> (Vec<String>, u64) {
        let (form, mark) = form(bytes);
        let mut blocks = Blocks::new(&bytes[mark..], form, line_max);
        let mut out = Vec::new();
        loop {
            let block = blocks.next(size).unwrap();
            if block.is_empty() {
                return (out, blocks.cut);
            }
            out.extend(String::from_utf8_lossy(block).lines().map(str::to_owned));
        }
    }

    #[test]
    fn blocks_hold_whole_lines() {
        let text: String = (0..5000).map(|n| format!("line {n}\r\n")).collect();
        for size in [1, 100, 4096, 1 << 22] {
            let (read, cut) = lines(text.as_bytes(), size, 1000);
            assert_eq!((read.len(), cut), (5000, 0), "{size}");
            assert_eq!(read[4999], "line 4999");
        }
        assert_eq!(lines(b"no end", 10, 1000).0, ["no end"]);
        assert!(lines(b"", 10, 1000).0.is_empty());
    }

    #[test]
    fn a_line_without_end_is_cut_and_what_follows_is_read() {
        let mut bytes = b"first\n".to_vec();
        bytes.extend(std::iter::repeat_n(b'x', 5 << 20));
        bytes.extend(b"\nlast\n");
        let (read, cut) = lines(&bytes, 1 << 20, 1000);
        assert_eq!((read.len(), cut), (3, 1));
        assert_eq!((read[0].as_str(), read[1].len(), read[2].as_str()), ("first", 1000, "last"));
    }
}
