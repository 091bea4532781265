//! A message as it goes behind DATA: lines that begin with a dot get another (RFC 5321 §4.5.2), and every line ends
//! with CRLF. A lone CR or LF becomes CRLF, so that no server can see the end of a message where another sees none.

use memchr::memchr2;

/// Where in the message we are.
#[derive(Debug)]
pub(crate) struct Stuffing {
    line_start: bool,
    /// The last piece ended with a CR, which is not written yet: its LF may be on the way.
    cr: bool,
}

impl Stuffing {
    pub(crate) fn new() -> Stuffing {
        Stuffing { line_start: true, cr: false }
    }

    /// Appends `piece`. Stretches that need no change are copied whole.
    pub(crate) fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let mut piece = piece;
        if self.cr && !piece.is_empty() {
            out.extend_from_slice(b"\r\n");
            self.line_start = true;
            self.cr = false;
            piece = piece.strip_prefix(b"\n").unwrap_or(piece);
        }
        out.reserve(piece.len() + 64);
        let (mut run, mut at) = (0, 0);
        let copy = |out: &mut Vec<u8>, from: usize, to: usize| {
            out.extend_from_slice(piece.get(from..to).unwrap_or_default());
        };
        while let Some(first) = piece.get(at) {
            if self.line_start && *first == b'.' {
                copy(out, run, at);
                out.push(b'.');
                run = at;
            }
            let Some(found) = memchr2(b'\r', b'\n', piece.get(at..).unwrap_or_default()) else {
                self.line_start = false;
                at = piece.len();
                break;
            };
            let end = at + found;
            self.line_start = true;
            match (piece.get(end), piece.get(end + 1)) {
                (Some(b'\r'), Some(b'\n')) => at = end + 2,
                (Some(b'\r'), None) => {
                    copy(out, run, end);
                    self.line_start = false;
                    self.cr = true;
                    return;
                }
                _ => {
                    copy(out, run, end);
                    out.extend_from_slice(b"\r\n");
                    at = end + 1;
                    run = at;
                }
            }
        }
        copy(out, run, at);
    }

    /// Appends the end of the message.
    pub(crate) fn end(&mut self, out: &mut Vec<u8>) {
        if self.cr || !self.line_start {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
        *self = Stuffing::new();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::body::Dots;
    use crate::types::BareEnds;
    use proptest::prelude::*;

    fn stuffed(message: &[u8], size: usize) -> Vec<u8> {
        let (mut stuffing, mut wire) = (Stuffing::new(), Vec::new());
        message.chunks(size.max(1)).for_each(|piece| stuffing.write(piece, &mut wire));
        stuffing.end(&mut wire);
        wire
    }

    /// The slow and plain way: every line with CRLF, the last one too.
    pub(crate) fn normalised(message: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut bytes = message.iter().copied().peekable();
        while let Some(b) = bytes.next() {
            match b {
                b'\r' => {
                    bytes.next_if_eq(&b'\n');
                    out.extend_from_slice(b"\r\n");
                }
                b'\n' => out.extend_from_slice(b"\r\n"),
                b => out.push(b),
            }
        }
        if !out.is_empty() && !out.ends_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    #[test]
    fn examples() {
        for (message, wire) in [
            ("", ".\r\n"),
            ("a", "a\r\n.\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            (".", "..\r\n.\r\n"),
            ("a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n.\r\n"),
            ("..a\r\n", "...a\r\n.\r\n"),
            ("a\n.\nb", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\r.\rb", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\r\r\n.\r", "a\r\n\r\n..\r\n.\r\n"),
            ("\n", "\r\n.\r\n"),
            ("a.b\r\nc.\r\n", "a.b\r\nc.\r\n.\r\n"),
        ] {
            for size in 1..=message.len().max(1) {
                let got = stuffed(message.as_bytes(), size);
                assert_eq!(String::from_utf8_lossy(&got), wire, "{message:?} by {size}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn the_other_side_reads_what_was_meant(message in proptest::collection::vec(
            prop_oneof![Just(b'.'), Just(b'\r'), Just(b'\n'), Just(b'x'), any::<u8>()], 0..80), size in 1usize..12)
        {
            let wire = stuffed(&message, size);
            let mut dots = Dots::new(BareEnds::Refuse);
            let (mut body, mut at) = (Vec::new(), 0);
            loop {
                let mut ranges = Vec::new();
                let rest = &wire[at..];
                let scan = dots.scan(rest, &mut ranges);
                ranges.into_iter().for_each(|range| body.extend_from_slice(&rest[range]));
                at += scan.used;
                if scan.done {
                    break;
                }
                prop_assert!(scan.used > 0, "the end is there");
            }
            prop_assert_eq!(at, wire.len());
            prop_assert!(!dots.bare);
            prop_assert_eq!(body, normalised(&message));
        }
    }
}
