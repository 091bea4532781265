//! Bytes into lines, before any grammar.

use memchr::memchr;

/// What stands at the start of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A line without its end, and the bytes that it takes of the buffer with its end.
    Line { line: &'a [u8], used: usize },
    /// More bytes are needed.
    Incomplete,
    /// A line longer than the limit. Drop `used` bytes. `ended` says that its end was among them; else the rest is still to come and is
    /// skipped with [`skip`].
    TooLong { used: usize, ended: bool },
}

/// Finds the first line. Lines end with CRLF; a bare LF is taken too, since people type at telnet and nothing follows
/// from it here. `limit` counts the line's end.
pub fn next(buffer: &[u8], limit: usize) -> Frame<'_> {
    match memchr(b'\n', buffer) {
        Some(at) if at < limit => {
            let line = buffer.get(..at).unwrap_or_default();
            Frame::Line { line: line.strip_suffix(b"\r").unwrap_or(line), used: at + 1 }
        }
        Some(at) => Frame::TooLong { used: at + 1, ended: true },
        None if buffer.len() >= limit => Frame::TooLong { used: buffer.len(), ended: false },
        None => Frame::Incomplete,
    }
}

/// Skips the rest of a line that was too long: the bytes to drop, and whether its end was among them.
pub fn skip(buffer: &[u8]) -> (usize, bool) {
    match memchr(b'\n', buffer) {
        Some(at) => (at + 1, true),
        None => (buffer.len(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_lines() {
        assert_eq!(next(b"NOOP\r\nQUIT\r\n", 512), Frame::Line { line: b"NOOP", used: 6 });
        assert_eq!(next(b"NOOP\nQ", 512), Frame::Line { line: b"NOOP", used: 5 });
        assert_eq!(next(b"\r\n", 512), Frame::Line { line: b"", used: 2 });
        assert_eq!(next(b"NOOP\r", 512), Frame::Incomplete);
        assert_eq!(next(b"", 512), Frame::Incomplete);
    }

    #[test]
    fn bounds_lines() {
        assert_eq!(next(b"123456\r\n", 8), Frame::Line { line: b"123456", used: 8 });
        assert_eq!(next(b"1234567\r\nx", 8), Frame::TooLong { used: 9, ended: true });
        assert_eq!(next(b"12345678", 8), Frame::TooLong { used: 8, ended: false });
        assert_eq!(skip(b"901\r\nNOOP"), (5, true));
        assert_eq!(skip(b"901"), (3, false));
    }
}
