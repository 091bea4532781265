//! The tag that a client puts before a command and finds again in the answer.

use std::fmt;

/// `1*<any ASTRING-CHAR except "+">` (RFC 9051 §9).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Box<str>);

impl Tag {
    /// `None` if the text is empty, too long ([`crate::limits::TAG_MAX`]) or not a tag.
    pub fn new(text: &[u8]) -> Option<Tag> {
        let fits = !text.is_empty() && text.len() <= crate::limits::TAG_MAX;
        if !fits || !text.iter().all(|&b| crate::wire::is_astring_char(b) && b != b'+') {
            return None;
        }
        std::str::from_utf8(text).ok().map(|t| Tag(t.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({})", self.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
