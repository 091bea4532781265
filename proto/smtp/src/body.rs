//! Message data on the wire: dot-stuffed lines behind DATA (RFC 5321 §4.5.2), counted octets behind BDAT (RFC 3030).
//!
//! Nothing is copied: the scanner answers ranges of what it was given. What could still become a line end or the
//! final dot is left unconsumed, so no octets are held between calls.

use crate::limits;
use crate::types::BareEnds;
use memchr::memchr2;
use std::ops::Range;

/// Where in dot-stuffed data we are.
#[derive(Debug)]
pub(crate) struct Dots {
    line_start: bool,
    bare_ends: BareEnds,
    /// A CR or LF stood alone although that is refused. What follows is read and thrown away.
    pub(crate) bare: bool,
}

/// What one look at the data gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    pub(crate) used: usize,
    /// The final dot was seen.
    pub(crate) done: bool,
}

impl Dots {
    pub(crate) fn new(bare_ends: BareEnds) -> Dots {
        Dots { line_start: true, bare_ends, bare: false }
    }

    /// Takes what it can of `data` and appends the ranges that belong to the message. Stops early when
    /// [`limits::RANGES`] are found.
    pub(crate) fn scan(&mut self, data: &[u8], ranges: &mut Vec<Range<usize>>) -> Scan {
        let mut run = 0;
        let mut at = 0;
        let mut keep = |run: usize, end: usize| {
            if end > run {
                ranges.push(run..end);
            }
            ranges.len() >= limits::RANGES
        };
        loop {
            let rest = data.get(at..).unwrap_or_default();
            if self.line_start {
                match rest {
                    [b'.', b'\r', b'\n', ..] => {
                        keep(run, at);
                        return Scan { used: at + 3, done: true };
                    }
                    // It may still become the final dot.
                    [b'.'] | [b'.', b'\r'] | [] => {
                        keep(run, at);
                        return Scan { used: at, done: false };
                    }
                    [b'.', ..] => {
                        let full = keep(run, at);
                        run = at + 1;
                        at += 1;
                        self.line_start = false;
                        if full {
                            return Scan { used: at, done: false };
                        }
                        continue;
                    }
                    _ => self.line_start = false,
                }
            }
            let Some(found) = memchr2(b'\r', b'\n', rest) else {
                keep(run, data.len());
                return Scan { used: data.len(), done: false };
            };
            let end = at + found;
            match (data.get(end), data.get(end + 1)) {
                (Some(b'\r'), Some(b'\n')) => {
                    at = end + 2;
                    self.line_start = true;
                }
                // Its LF may be on its way.
                (Some(b'\r'), None) => {
                    keep(run, end);
                    return Scan { used: end, done: false };
                }
                _ => {
                    at = end + 1;
                    self.bare |= self.bare_ends == BareEnds::Refuse;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds pieces of `size` octets, keeping what is left over; answers body, bytes after the end, bare.
    fn feed(wire: &[u8], size: usize, bare_ends: BareEnds) -> (Vec<u8>, Option<Vec<u8>>, bool) {
        let mut dots = Dots::new(bare_ends);
        let (mut body, mut buffer, mut given) = (Vec::new(), Vec::new(), 0);
        loop {
            let mut ranges = Vec::new();
            let scan = dots.scan(&buffer, &mut ranges);
            assert!(ranges.len() <= limits::RANGES + 1);
            for range in ranges {
                assert!(range.end <= scan.used);
                body.extend_from_slice(&buffer[range]);
            }
            buffer.drain(..scan.used);
            if scan.done {
                buffer.extend_from_slice(&wire[given..]);
                return (body, Some(buffer), dots.bare);
            }
            if scan.used == 0 {
                if given == wire.len() {
                    return (body, None, dots.bare);
                }
                let end = (given + size).min(wire.len());
                buffer.extend_from_slice(&wire[given..end]);
                given = end;
            }
        }
    }

    /// The slow and plain way.
    fn oracle(wire: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
        let mut body = Vec::new();
        let (mut at, mut start) = (0, true);
        while at < wire.len() {
            if start && wire[at..].starts_with(b".\r\n") {
                return (body, Some(wire[at + 3..].to_vec()));
            }
            if start && wire[at] == b'.' {
                at += 1;
                start = false;
                continue;
            }
            start = wire[at..].starts_with(b"\r\n");
            let n = if start { 2 } else { 1 };
            body.extend_from_slice(&wire[at..at + n]);
            at += n;
        }
        (body, None)
    }

    #[test]
    fn examples() {
        for (wire, body, after) in [
            (".\r\n", "", Some("")),
            ("a\r\n.\r\nNEXT", "a\r\n", Some("NEXT")),
            ("..\r\n...\r\n.a\r\n.\r\n", ".\r\n..\r\na\r\n", Some("")),
            ("a\r\n.\n.\r\n\r\n.\r\n", "a\r\n\n.\r\n\r\n", Some("")),
            ("a\n.\nb\r\n.\rc\r\n.\r\n", "a\n.\nb\r\n\rc\r\n", Some("")),
            ("a\r.\r\n.\r\n", "a\r.\r\n", Some("")),
            ("a.\r\n", "a.\r\n", None),
        ] {
            for size in 1..wire.len() + 1 {
                let (got, rest, _) = feed(wire.as_bytes(), size, BareEnds::Keep);
                assert_eq!(String::from_utf8_lossy(&got), body, "{wire:?} by {size}");
                assert_eq!(rest.as_deref(), after.map(str::as_bytes));
            }
        }
    }

    #[test]
    fn bare_ends_never_end_a_message() {
        for wire in ["a\n.\n", "a\n.\r\n", "a\r.\r", "a\r.\r\n", "\r\n.\n", "\r\n.\r", "a\r\r\n"] {
            let (_, rest, bare) = feed(wire.as_bytes(), 1, BareEnds::Refuse);
            assert_eq!(rest, None, "{wire:?}");
            // What may still become CRLF is not judged yet.
            assert!(bare || wire.ends_with("\r\n.\r"), "{wire:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn agrees_with_the_slow_way(wire in proptest::collection::vec(
            prop_oneof![Just(b'.'), Just(b'\r'), Just(b'\n'), Just(b'x')], 0..60), size in 1usize..12)
        {
            // With an end, so that nothing is held back.
            let mut wire = wire;
            wire.extend_from_slice(b"\r\n.\r\n");
            let (body, rest, _) = feed(&wire, size, BareEnds::Keep);
            let (want, after) = oracle(&wire);
            prop_assert_eq!(body, want);
            prop_assert_eq!(rest, after);
        }
    }
}
