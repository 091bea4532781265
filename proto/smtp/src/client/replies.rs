//! Reading a server's replies (RFC 5321 §4.2): lines that may come in any pieces, lines that belong together.

use super::limits;
use crate::reply::{Reply, Status};
use memchr::memchr;

/// Collects octets until a reply is whole. Holds at most one line and one reply.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    line: Vec<u8>,
    text: String,
    lines: usize,
    status: Option<Status>,
}

/// Why what came is no reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoReply(pub(crate) String);

impl Replies {
    pub(crate) fn clear(&mut self) {
        *self = Replies::default();
    }

    /// Takes octets of `data` up to the end of one reply; answers how many, and the reply, if it is whole.
    pub(crate) fn take(&mut self, data: &[u8]) -> Result<(usize, Option<Reply>), NoReply> {
        let mut used = 0;
        while let Some(rest) = data.get(used..).filter(|rest| !rest.is_empty()) {
            let found = memchr(b'\n', rest);
            let end = found.map_or(rest.len(), |at| at + 1);
            if self.line.len() + end > limits::REPLY_LINE {
                return Err(NoReply(format!("a reply line of more than {} octets", limits::REPLY_LINE)));
            }
            self.line.extend_from_slice(rest.get(..end).unwrap_or_default());
            used += end;
            if found.is_some() {
                let line = std::mem::take(&mut self.line);
                let reply = self.line(line.trim_ascii_end())?;
                self.line = line;
                self.line.clear();
                if reply.is_some() {
                    return Ok((used, reply));
                }
            }
        }
        Ok((used, None))
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<Reply>, NoReply> {
        let (code, more, text) = split(line)
            .ok_or_else(|| NoReply(format!("not a reply: {:?}", shown(line.get(..80).unwrap_or(line)))))?;
        self.lines += 1;
        if self.lines > limits::REPLY_LINES || self.text.len() + text.len() > limits::REPLY {
            return Err(NoReply("a reply without end".to_owned()));
        }
        let text = shown(text);
        let (status, text) = enhanced(code, &text);
        if self.lines > 1 {
            self.text.push('\n');
        }
        self.text.push_str(text);
        self.status = status.or(self.status);
        if more {
            return Ok(None);
        }
        let reply = Reply { code, status: self.status.take(), text: std::mem::take(&mut self.text).into() };
        self.lines = 0;
        Ok(Some(reply))
    }
}

/// Code, whether more lines follow, text. Where the codes of a reply's lines differ, the last one counts.
fn split(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    let good = digits.iter().all(u8::is_ascii_digit) && matches!(digits.first(), Some(b'2'..=b'5'));
    let code = digits.iter().fold(0, |n, d| n * 10 + u16::from(d.wrapping_sub(b'0')));
    if !good {
        return None;
    }
    match rest.split_first() {
        None => Some((code, false, rest)),
        Some((b' ', text)) => Some((code, false, text)),
        Some((b'-', text)) => Some((code, true, text)),
        Some(_) => None,
    }
}

/// Text that can be shown and logged: no control characters, whatever the peer's charset was.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| if c.is_control() && c != '\t' { '?' } else { c })
        .collect()
}

/// Takes the enhanced status code off a line's text, if it has one that goes with `code` (RFC 2034 §4).
fn enhanced(code: u16, text: &str) -> (Option<Status>, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut parts = word.split('.');
    let mut number = || {
        let part = parts.next()?;
        (part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse::<u16>().ok())?
    };
    let (Some(class), Some(subject), Some(detail)) = (number(), number(), number()) else {
        return (None, text);
    };
    if parts.next().is_some() || class != code / 100 || !matches!(class, 2 | 4 | 5) {
        return (None, text);
    }
    (u8::try_from(class).ok().map(|class| Status(class, subject, detail)), rest.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All replies of `wire`, handed over in pieces of `size`.
    fn read(wire: &[u8], size: usize) -> Result<Vec<Reply>, NoReply> {
        let (mut replies, mut found) = (Replies::default(), Vec::new());
        for piece in wire.chunks(size) {
            let mut rest = piece;
            while !rest.is_empty() {
                let (used, reply) = replies.take(rest)?;
                rest = &rest[used..];
                found.extend(reply);
            }
        }
        Ok(found)
    }

    #[test]
    fn replies_in_pieces() {
        let wire = b"220 mx.example.net ESMTP\r\n250-2.1.0 one\r\n250-two\r\n250 2.1.0 three\r\n354\r\n\
            550 5.1.1 No such user\n451 5.1.1 odd\r\n250 2.0.0\r\n550 1.2.3.4 is listed\r\n452-4.5.3 a\r\n452 b\xFF\x01\r\n";
        for size in 1..wire.len() {
            let got = read(wire, size).unwrap();
            let want = [
                Reply::plain(220, "mx.example.net ESMTP"),
                Reply::new(250, Status(2, 1, 0), "one\ntwo\nthree"),
                Reply::plain(354, ""),
                Reply::new(550, Status(5, 1, 1), "No such user"),
                Reply::plain(451, "5.1.1 odd"),
                Reply::new(250, Status(2, 0, 0), ""),
                Reply::plain(550, "1.2.3.4 is listed"),
                Reply::new(452, Status(4, 5, 3), "a\nb\u{FFFD}?"),
            ];
            assert_eq!(got, want);
        }
    }

    #[test]
    fn what_is_no_reply() {
        for wire in [
            "HTTP/1.1 400 Bad Request\r\n",
            "\r\n",
            "25\r\n",
            "250_x\r\n",
            "150 x\r\n",
            "650 x\r\n",
            "+OK\r\n",
        ] {
            assert!(read(wire.as_bytes(), 3).is_err(), "{wire:?}");
        }
        assert!(read(&[b'2'; 5000], 100).is_err());
        assert!(read(&b"250-x\r\n".repeat(101), 100).is_err());
        assert!(read(&[&b"250-"[..], &[b'x'; 4000], b"\r\n"].concat().repeat(20), 100).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn our_own_come_back(code in 200u16..600, detail in 0u16..20, has in any::<bool>(),
            lines in proptest::collection::vec("[a-zA-Zé ,]{0,30}[a-z]", 1..5), size in 1usize..40)
        {
            let class = u8::try_from(code / 100).unwrap();
            let status = (has && class != 3).then_some(Status(class, 7, detail));
            let reply = Reply { code, status, text: lines.join("\n").into() };
            let got = read(&reply.to_bytes(), size).unwrap();
            let trimmed: Vec<&str> = lines.iter().map(|l| if status.is_some() { l.trim_start() } else { l }).collect();
            prop_assert_eq!(got, vec![Reply { code, status, text: trimmed.join("\n").into() }]);
        }

        #[test]
        fn garbage(wire in proptest::collection::vec(any::<u8>(), 0..200), size in 1usize..40) {
            let _ = read(&wire, size);
        }
    }
}
