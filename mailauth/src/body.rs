//! Hashes of a message's body as DKIM and ARC want them (RFC 6376 §3.4.3, §3.4.4), from pieces of any size.

use mail_auth::dkim::Canonicalization;
use ring::digest::{Context, SHA256};

/// SHA-256 of a body in both canonical forms; `None` where nobody needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyHashes {
    pub simple: Option<[u8; 32]>,
    pub relaxed: Option<[u8; 32]>,
}

impl BodyHashes {
    /// Of a whole body.
    pub fn of(body: &[u8]) -> BodyHashes {
        let mut hasher = BodyHasher::both();
        hasher.update(body);
        hasher.finish()
    }

    pub(crate) fn get(&self, form: Canonicalization) -> Option<&[u8; 32]> {
        match form {
            Canonicalization::Simple => self.simple.as_ref(),
            Canonicalization::Relaxed => self.relaxed.as_ref(),
        }
    }
}

/// Takes a body piece by piece. Line ends are CRLF.
pub struct BodyHasher {
    simple: Option<Form>,
    relaxed: Option<Form>,
}

impl std::fmt::Debug for BodyHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyHasher").finish_non_exhaustive()
    }
}

impl BodyHasher {
    pub fn both() -> BodyHasher {
        BodyHasher { simple: Some(Form::new(false)), relaxed: Some(Form::new(true)) }
    }

    /// What we sign with.
    pub fn relaxed() -> BodyHasher {
        BodyHasher { simple: None, relaxed: Some(Form::new(true)) }
    }

    /// What verifying a message with this header takes: often nothing.
    pub fn wanted(header: &[u8]) -> BodyHasher {
        let signed = crate::sign::fields(header)
            .any(|field| field.is("dkim-signature") || field.is("arc-message-signature"));
        if signed { BodyHasher::both() } else { BodyHasher { simple: None, relaxed: None } }
    }

    /// Whether the body has to be read at all.
    pub fn needed(&self) -> bool {
        self.simple.is_some() || self.relaxed.is_some()
    }

    pub fn update(&mut self, piece: &[u8]) {
        for form in [&mut self.simple, &mut self.relaxed].into_iter().flatten() {
            form.update(piece);
        }
    }

    pub fn finish(self) -> BodyHashes {
        BodyHashes {
            simple: self.simple.and_then(Form::finish),
            relaxed: self.relaxed.and_then(Form::finish),
        }
    }
}

/// One canonical form under way. Line ends and blanks are held back until it is known that something follows.
struct Form {
    hash: Context,
    relaxed: bool,
    /// Line ends seen since the last content.
    ends: u64,
    /// A run of blanks is open (relaxed).
    blank: bool,
    /// A CR whose LF has not come yet.
    cr: bool,
    /// Something other than line ends has been hashed.
    any: bool,
}

impl Form {
    fn new(relaxed: bool) -> Form {
        Form { hash: Context::new(&SHA256), relaxed, ends: 0, blank: false, cr: false, any: false }
    }

    fn update(&mut self, mut piece: &[u8]) {
        while let Some(&first) = piece.first() {
            // Whatever is neither a line end nor a blank goes through as it is.
            let plain = piece.iter().position(|b| self.special(*b)).unwrap_or(piece.len());
            if plain > 0 {
                let (content, rest) = piece.split_at(plain);
                self.content(content);
                piece = rest;
                continue;
            }
            match first {
                b'\n' if self.cr => {
                    self.cr = false;
                    // Blanks at the end of a line are no part of it.
                    self.blank = false;
                    self.ends += 1;
                }
                b'\r' => {
                    self.bare_cr();
                    self.cr = true;
                }
                b' ' | b'\t' if self.relaxed => {
                    self.bare_cr();
                    self.blank = true;
                }
                other => self.content(&[other]),
            }
            piece = piece.get(1..).unwrap_or_default();
        }
    }

    fn special(&self, byte: u8) -> bool {
        byte == b'\r' || byte == b'\n' || (self.relaxed && (byte == b' ' || byte == b'\t'))
    }

    /// A CR that was not the beginning of a line end is content.
    fn bare_cr(&mut self) {
        if std::mem::take(&mut self.cr) {
            self.pending();
            self.hash.update(b"\r");
        }
    }

    fn pending(&mut self) {
        for _ in 0..std::mem::take(&mut self.ends) {
            self.hash.update(b"\r\n");
        }
        if std::mem::take(&mut self.blank) {
            self.hash.update(b" ");
        }
        self.any = true;
    }

    fn content(&mut self, bytes: &[u8]) {
        self.bare_cr();
        self.pending();
        self.hash.update(bytes);
    }

    fn finish(mut self) -> Option<[u8; 32]> {
        self.bare_cr();
        // An empty body is CRLF in the simple form and nothing in the relaxed one.
        if self.any || !self.relaxed {
            self.hash.update(b"\r\n");
        }
        self.hash.finish().as_ref().try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hash(text: &[u8]) -> [u8; 32] {
        ring::digest::digest(&SHA256, text).as_ref().try_into().unwrap()
    }

    #[test]
    fn forms() {
        let cases: &[(&str, &str, &str)] = &[
            ("", "\r\n", ""),
            ("\r\n\r\n", "\r\n", ""),
            (" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n"),
            ("no end", "no end\r\n", "no end\r\n"),
            ("a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n"),
            (" \r\n\t\r\n", " \r\n\t\r\n", ""),
            (" \r\n \t\r\nx", " \r\n \t\r\nx\r\n", "\r\n\r\nx\r\n"),
            ("a\rb\n c\r", "a\rb\n c\r\r\n", "a\rb\n c\r\r\n"),
        ];
        for (body, simple, relaxed) in cases {
            let hashes = BodyHashes::of(body.as_bytes());
            assert_eq!(hashes.simple, Some(hash(simple.as_bytes())), "simple {body:?}");
            assert_eq!(hashes.relaxed, Some(hash(relaxed.as_bytes())), "relaxed {body:?}");
        }
    }

    /// RFC 6376 §3.4.3 and §3.4.4, word by word.
    fn plainly(body: &str, relaxed: bool) -> String {
        let mut lines: Vec<String> = body.split("\r\n").map(str::to_owned).collect();
        if relaxed {
            for line in &mut lines {
                let mut words = line.split([' ', '\t']).filter(|w| !w.is_empty());
                let begins_blank = line.starts_with([' ', '\t']) && line.contains(|c| c != ' ' && c != '\t');
                let joined = words.by_ref().collect::<Vec<_>>().join(" ");
                *line = if begins_blank { format!(" {joined}") } else { joined };
            }
        }
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines.push(String::new());
        if lines.len() == 1 && !relaxed { "\r\n".into() } else { lines.join("\r\n") }
    }

    proptest! {
        /// Where the pieces end makes no difference.
        #[test]
        fn pieces(body in "([a-b \t]|\r\n){0,40}", at in 0usize..40) {
            let whole = BodyHashes::of(body.as_bytes());
            let mut hasher = BodyHasher::both();
            let (a, b) = body.as_bytes().split_at(at.min(body.len()));
            hasher.update(a);
            hasher.update(b);
            prop_assert_eq!(&hasher.finish(), &whole);
            prop_assert_eq!(whole.simple, Some(hash(plainly(&body, false).as_bytes())));
            prop_assert_eq!(whole.relaxed, Some(hash(plainly(&body, true).as_bytes())));
        }
    }
}
