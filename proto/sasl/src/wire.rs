//! How IMAP, POP3 and SMTP carry the messages of SASL: base64 on a line, `*` to cancel, `=` for an empty initial response.

use crate::limits::MESSAGE_BYTES_MAX;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A client's line in the middle of an exchange, without the line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    Response(Vec<u8>),
    /// The client gave up: BAD, 501, -ERR.
    Cancelled,
}

/// The line is neither base64 nor `*`, or is longer than any mechanism needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadLine;

/// Reads a response line.
pub fn line(bytes: &[u8]) -> Result<Line, BadLine> {
    if bytes == b"*" { Ok(Line::Cancelled) } else { decode(bytes).map(Line::Response) }
}

/// Reads the initial response that came with the command; `=` means that it is there and empty.
pub fn initial(bytes: &[u8]) -> Result<Vec<u8>, BadLine> {
    if bytes == b"=" { Ok(Vec::new()) } else { decode(bytes) }
}

/// A challenge as it stands after `+ ` or `334 `.
pub fn challenge(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn decode(bytes: &[u8]) -> Result<Vec<u8>, BadLine> {
    if bytes.len() > MESSAGE_BYTES_MAX.div_ceil(3) * 4 {
        return Err(BadLine);
    }
    STANDARD.decode(bytes).map_err(|_| BadLine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        assert_eq!(line(b"*"), Ok(Line::Cancelled));
        assert_eq!(line(b""), Ok(Line::Response(vec![])));
        assert_eq!(line(b"dGVzdA=="), Ok(Line::Response(b"test".to_vec())));
        assert_eq!(line(b"dGVzdA"), Err(BadLine));
        assert_eq!(line(b"d G"), Err(BadLine));
        assert_eq!(initial(b"="), Ok(vec![]));
        assert_eq!(initial(b"AHQ="), Ok(b"\0t".to_vec()));
        assert_eq!(line(&vec![b'A'; 1 << 20]), Err(BadLine));
    }
}
