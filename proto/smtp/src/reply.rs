//! Replies: three digits (RFC 5321 §4.2), an enhanced status code (RFC 3463, RFC 2034) and text.

use crate::limits;
use std::borrow::Cow;
use std::fmt;

/// `class.subject.detail` of RFC 3463.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u8, pub u16, pub u16);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// A reply. Lines of `text` are separated by LF and become a multi-line reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    pub status: Option<Status>,
    pub text: Cow<'static, str>,
}

impl Reply {
    pub const fn new(code: u16, status: Status, text: &'static str) -> Reply {
        Reply { code, status: Some(status), text: Cow::Borrowed(text) }
    }

    /// Without an enhanced code, as the greeting, 354 and 334 have none.
    pub const fn plain(code: u16, text: &'static str) -> Reply {
        Reply { code, status: None, text: Cow::Borrowed(text) }
    }

    pub fn with(code: u16, status: Status, text: impl Into<String>) -> Reply {
        Reply { code, status: Some(status), text: Cow::Owned(text.into()) }
    }

    pub fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// 4yz: trying again later may work.
    pub fn is_transient(&self) -> bool {
        (400..500).contains(&self.code)
    }

    /// Appends the reply as it goes over the wire. Control characters become `?`, lines are cut at 512 octets.
    pub fn render(&self, out: &mut Vec<u8>) {
        let mut lines = self.text.split('\n').peekable();
        while let Some(line) = lines.next() {
            let more = lines.peek().is_some();
            let begin = out.len();
            push_code(out, self.code);
            out.push(if more { b'-' } else { b' ' });
            if let Some(Status(class, subject, detail)) = self.status {
                push_number(out, u16::from(class));
                out.push(b'.');
                push_number(out, subject);
                out.push(b'.');
                push_number(out, detail);
                out.push(b' ');
            }
            let room = limits::REPLY_LINE - 2 - (out.len() - begin).min(64);
            let mut cut = line.len().min(room);
            while !line.is_char_boundary(cut) {
                cut -= 1;
            }
            let text = &line.as_bytes()[..cut];
            if text.iter().any(u8::is_ascii_control) {
                out.extend(text.iter().map(|&b| if b.is_ascii_control() { b'?' } else { b }));
            } else {
                out.extend_from_slice(text);
            }
            out.extend_from_slice(b"\r\n");
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.text.len() + 20);
        self.render(&mut out);
        out
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(status) = self.status {
            write!(f, " {status}")?;
        }
        write!(f, " {}", self.text)
    }
}

fn push_code(out: &mut Vec<u8>, code: u16) {
    let code = code % 1000;
    out.extend_from_slice(&[
        b'0' + (code / 100) as u8,
        b'0' + (code / 10 % 10) as u8,
        b'0' + (code % 10) as u8,
    ]);
}

fn push_number(out: &mut Vec<u8>, n: u16) {
    if n >= 10 {
        push_number(out, n / 10);
    }
    out.push(b'0' + (n % 10) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(reply: &Reply) -> String {
        String::from_utf8(reply.to_bytes()).unwrap()
    }

    #[test]
    fn lines() {
        assert_eq!(text(&Reply::plain(354, "Go ahead")), "354 Go ahead\r\n");
        assert_eq!(
            text(&Reply::with(550, Status(5, 7, 10), "no\nnever")),
            "550-5.7.10 no\r\n550 5.7.10 never\r\n"
        );
    }

    #[test]
    fn nothing_of_the_peers_breaks_out_of_its_line() {
        let reply = Reply::with(501, Status(5, 5, 4), "what is \r250 this\0");
        assert_eq!(text(&reply), "501 5.5.4 what is ?250 this?\r\n");
        let long = Reply::with(501, Status(5, 5, 4), "é".repeat(600));
        assert!(long.to_bytes().len() <= 512);
        assert!(String::from_utf8(long.to_bytes()).is_ok());
    }
}
