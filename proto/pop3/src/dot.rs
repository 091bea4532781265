//! Messages on their way out: dot-stuffing (RFC 1939 §3) in a stream, and the part of a message that TOP shows.
//!
//! Bytes are sent as they are stored, a bare LF too. A dot is doubled after every LF, bare or not: clients that
//! split lines at LF would else take a line of one dot for the end, and someone could put words into our mouth.

use memchr::{memchr, memmem};

/// Writes one message, in pieces, and its end.
#[derive(Clone, Copy, Debug)]
pub struct DotWriter {
    /// The last two bytes that went out, to see line starts and the end over the seams of pieces.
    last: [u8; 2],
}

impl Default for DotWriter {
    fn default() -> DotWriter {
        DotWriter { last: *b"\r\n" }
    }
}

impl DotWriter {
    pub fn new() -> DotWriter {
        DotWriter::default()
    }

    /// Adds a piece to `out`.
    pub fn piece(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        out.reserve(piece.len() + 64);
        if self.last[1] == b'\n' && piece.first() == Some(&b'.') {
            out.push(b'.');
        }
        let mut rest = piece;
        // A line that begins with a dot is rare, so that nearly everything is one search and one copy.
        while let Some((line, after)) =
            memmem::find(rest, b"\n.").and_then(|at| rest.split_at_checked(at + 1))
        {
            out.extend_from_slice(line);
            out.push(b'.');
            rest = after;
        }
        out.extend_from_slice(rest);
        match piece {
            [.., a, b] => self.last = [*a, *b],
            [b] => self.last = [self.last[1], *b],
            [] => {}
        }
    }

    /// Ends the message: with a line end where it has none, and the line of one dot.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.last != *b"\r\n" {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

/// How much of a message TOP shows: its header, the empty line, and a number of lines of the body.
#[derive(Clone, Copy, Debug)]
pub struct Top {
    lines_left: u32,
    in_header: bool,
    /// Nothing but CR has been seen on this line yet.
    line_empty: bool,
    done: bool,
}

impl Top {
    pub fn new(lines: u32) -> Top {
        Top { lines_left: lines, in_header: true, line_empty: true, done: false }
    }

    /// True when nothing more is wanted.
    pub fn done(&self) -> bool {
        self.done
    }

    /// How many bytes of the next piece to send.
    pub fn take(&mut self, piece: &[u8]) -> usize {
        let mut taken = 0;
        while !self.done {
            let rest = piece.get(taken..).unwrap_or_default();
            let Some(at) = memchr(b'\n', rest) else {
                self.line_empty &= rest.iter().all(|b| *b == b'\r');
                return piece.len();
            };
            let line = rest.get(..at).unwrap_or_default();
            taken += at + 1;
            if !self.in_header {
                self.lines_left -= 1;
            } else if self.line_empty && line.iter().all(|b| *b == b'\r') {
                self.in_header = false;
            }
            self.line_empty = true;
            self.done = !self.in_header && self.lines_left == 0;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stuffed(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut writer, mut out) = (DotWriter::new(), Vec::new());
        for piece in pieces {
            writer.piece(piece, &mut out);
        }
        writer.finish(&mut out);
        out
    }

    fn topped(message: &[u8], lines: u32, size: usize) -> Vec<u8> {
        let (mut top, mut out) = (Top::new(lines), Vec::new());
        for piece in message.chunks(size) {
            out.extend_from_slice(&piece[..top.take(piece)]);
        }
        out
    }

    /// What a client does with the answer: splits at LF, takes off a dot, stops at the line of one dot.
    fn unstuffed(answer: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for line in answer.split_inclusive(|b| *b == b'\n') {
            if line == b".\r\n" {
                return out;
            }
            out.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
        panic!("no end");
    }

    #[test]
    fn stuffs() {
        assert_eq!(stuffed(&[b"a\r\n.\r\n..b\r\n"]), b"a\r\n..\r\n...b\r\n.\r\n");
        assert_eq!(stuffed(&[b".a"]), b"..a\r\n.\r\n");
        assert_eq!(stuffed(&[b"a\n.\r\n"]), b"a\n..\r\n.\r\n");
        assert_eq!(stuffed(&[b"a\n"]), b"a\n\r\n.\r\n");
        assert_eq!(stuffed(&[b"a\r\n", b".b\r", b"\n", b".", b""]), b"a\r\n..b\r\n..\r\n.\r\n");
        assert_eq!(stuffed(&[]), b".\r\n");
    }

    #[test]
    fn shows_the_top() {
        let message = b"A: b\r\nC: d\r\n\r\none\r\ntwo\r\n\r\nfour";
        for size in [1, 2, 3, 1000] {
            assert_eq!(topped(message, 0, size), b"A: b\r\nC: d\r\n\r\n");
            assert_eq!(topped(message, 2, size), b"A: b\r\nC: d\r\n\r\none\r\ntwo\r\n");
            assert_eq!(topped(message, u32::MAX, size), message);
        }
        assert_eq!(topped(b"A: b\r\n", 0, 9), b"A: b\r\n");
        assert_eq!(topped(b"\r\nbody\r\nmore", 1, 9), b"\r\nbody\r\n");
        assert_eq!(topped(b"A: b\n\nbody\n", 0, 9), b"A: b\n\n");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_message_comes_back(message in "[.a\r\n]{0,40}", cut in 0usize..40) {
            let message = message.as_bytes();
            let (a, b) = message.split_at(cut.min(message.len()));
            let answer = stuffed(&[a, b]);
            prop_assert_eq!(&answer, &stuffed(&[message]));
            let back = unstuffed(&answer);
            prop_assert!(back == message || back.strip_suffix(b"\r\n") == Some(message));
        }

        #[test]
        fn pieces_do_not_matter_to_top(message in "[a:\r\n]{0,40}", lines in 0u32..4, size in 1usize..8) {
            prop_assert_eq!(topped(message.as_bytes(), lines, size), topped(message.as_bytes(), lines, 100));
        }
    }
}
