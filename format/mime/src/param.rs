//! `value; name=value; …` of Content-Type and Content-Disposition (RFC 2045 §5.1, RFC 2183), tolerantly.

use crate::limits;
use crate::rfc2231;

/// A parameterised header value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameterised {
    /// Up to the first semicolon, without comments: `text/plain`, `attachment`.
    pub value: Vec<u8>,
    /// In order, as written but unquoted; RFC 2231 continuations joined (RFC 2231 §6 asks IMAP servers to).
    pub params: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Parameterised {
    /// A parameter's raw value, name without case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.params.iter().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, v)| v.as_slice())
    }

    /// A parameter as text: RFC 2231 form first, then the plain one, in which encoded words are decoded, as mailers write them.
    pub fn text(&self, name: &str) -> Option<String> {
        if let Some(extended) = self.get(&format!("{name}*")) {
            return Some(rfc2231::decode(extended));
        }
        self.get(name).map(crate::rfc2047::decode)
    }

    /// Type and subtype of a Content-Type; None when there is no valid one.
    pub fn media(&self) -> Option<(&[u8], &[u8])> {
        let slash = memchr::memchr(b'/', &self.value)?;
        let (kind, sub) = (self.value[..slash].trim_ascii(), self.value[slash + 1..].trim_ascii());
        (is_token(kind) && is_token(sub)).then_some((kind, sub))
    }
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| *b > b' ' && *b != 127 && !b"()<>@,;:\\\"/[]?=".contains(b))
}

/// Reads an unfolded value.
pub fn parse(value: &[u8]) -> Parameterised {
    let mut input = Input { rest: value };
    let head = input.until_semicolon();
    let mut params = Vec::new();
    while !input.rest.is_empty() && params.len() < limits::PARAMETERS {
        if let Some(param) = input.param() {
            params.push(param);
        }
    }
    Parameterised { value: head, params: rfc2231::join(params) }
}

struct Input<'a> {
    rest: &'a [u8],
}

impl Input<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&b, tail) = self.rest.split_first()?;
        self.rest = tail;
        Some(b)
    }

    /// Takes up to a semicolon, or the end, leaving out comments; the semicolon is taken too.
    fn until_semicolon(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(b) = self.next() {
            match b {
                b';' => break,
                b'(' => self.comment(),
                b => out.push(b),
            }
        }
        out.trim_ascii().to_vec()
    }

    /// The rest of a comment whose parenthesis was just taken. One that never ends takes all.
    fn comment(&mut self) {
        let mut depth = 1;
        while let Some(b) = self.next() {
            match b {
                b'\\' => _ = self.next(),
                b'(' => depth += 1,
                b')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// One `name=value` with its semicolon.
    fn param(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut name = Vec::new();
        loop {
            match self.next() {
                Some(b'=') => break,
                Some(b'(') => self.comment(),
                Some(b';') | None => return None,
                Some(b) => name.push(b),
            }
        }
        let name = name.trim_ascii().to_vec();
        self.rest = self.rest.trim_ascii_start();
        let value = if self.rest.first() == Some(&b'"') {
            self.next();
            let value = self.quoted();
            self.until_semicolon();
            value
        } else {
            self.unquoted()
        };
        (!name.is_empty()).then_some((name, value))
    }

    fn quoted(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(b) = self.next() {
            match b {
                b'"' => break,
                b'\\' => out.extend(self.next()),
                b => out.push(b),
            }
        }
        out
    }

    /// A token, or what a careless mailer put for one (`filename=My file (1).doc`): only a comment at the very end is one.
    fn unquoted(&mut self) -> Vec<u8> {
        let end = memchr::memchr(b';', self.rest).unwrap_or(self.rest.len());
        let (value, tail) = self.rest.split_at(end);
        self.rest = tail.get(1..).unwrap_or_default();
        let value = value.trim_ascii();
        if value.ends_with(b")")
            && let Some(open) = memchr::memmem::find(value, b" (")
        {
            return value[..open].trim_ascii().to_vec();
        }
        value.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(value: &str) -> (String, Vec<(String, String)>) {
        let p = parse(value.as_bytes());
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        (text(&p.value), p.params.iter().map(|(n, v)| (text(n), text(v))).collect())
    }

    #[test]
    fn good_and_bad() {
        type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)]);
        let cases: [Case; 10] = [
            ("text/plain; charset=us-ascii (Plain text)", "text/plain", &[("charset", "us-ascii")]),
            ("text/plain; charset=\"us-ascii\"", "text/plain", &[("charset", "us-ascii")]),
            ("text/plain (a;b) ; a=b", "text/plain", &[("a", "b")]),
            ("attachment; filename=My file.doc", "attachment", &[("filename", "My file.doc")]),
            ("a/b; x=\"q\\\"uo;te\" junk; y=2", "a/b", &[("x", "q\"uo;te"), ("y", "2")]),
            ("a/b; x=\"never ends", "a/b", &[("x", "never ends")]),
            (";;;=;a=", "", &[("a", "")]),
            ("multipart/mixed; boundary=a=b", "multipart/mixed", &[("boundary", "a=b")]),
            ("a/b; filename*0=one; filename*1=\"two\"; q=1", "a/b", &[("filename", "onetwo"), ("q", "1")]),
            ("a/b; (never", "a/b", &[]),
        ];
        for (raw, value, params) in cases {
            let (v, p) = show(raw);
            assert_eq!(v, value, "{raw}");
            assert_eq!(p.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect::<Vec<_>>(), params, "{raw}");
        }
    }

    #[test]
    fn media_and_text() {
        assert_eq!(parse(b"TEXT / Plain").media(), Some((&b"TEXT"[..], &b"Plain"[..])));
        assert_eq!(parse(b"text").media(), None);
        assert_eq!(parse(b"a/b/c").media(), None);
        let p = parse(b"x; filename*=utf-8''%e2%82%ac%20rates; name==?utf-8?Q?=C3=A9?=");
        assert_eq!(p.text("filename").as_deref(), Some("€ rates"));
        assert_eq!(p.text("name").as_deref(), Some("é"));
    }
}
