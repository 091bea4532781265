//! Searching decoded text (RFC 9051 §6.4.4: BODY, TEXT, HEADER and the address and subject keys).

use crate::summary::SummaryRef;
use std::ops::Range;

/// A string to look for, without regard to case.
#[derive(Debug)]
pub struct Matcher {
    needle: Vec<u8>,
}

impl Matcher {
    /// `needle` is UTF-8. An empty one matches wherever the field or text exists.
    pub fn new(needle: &str) -> Matcher {
        Matcher { needle: needle.as_bytes().to_vec() }
    }

    /// Whether a decoded text, such as [`SummaryRef::subject`], has it.
    pub fn matches_str(&self, text: &str) -> bool {
        let _ = text;
        self.needle.is_empty()
    }

    /// SEARCH BODY: text parts of the body, decoded.
    pub fn matches_body(&self, summary: &SummaryRef<'_>, message: &[u8]) -> bool {
        let _ = (summary, message);
        false
    }

    /// SEARCH TEXT: header and body.
    pub fn matches_text(&self, summary: &SummaryRef<'_>, message: &[u8]) -> bool {
        let _ = (summary, message);
        false
    }

    /// SEARCH HEADER: any top-level field of that name; `header` is at least the message's header.
    pub fn matches_header(&self, name: &[u8], summary: &SummaryRef<'_>, header: &[u8]) -> bool {
        let _ = (name, summary, header);
        false
    }

    /// SEARCH BODY (`headers` false) or TEXT in bounded memory: reads pieces of at most 64 KiB.
    pub fn matches_large<E>(
        &self,
        summary: &SummaryRef<'_>,
        headers: bool,
        read: impl FnMut(Range<u64>) -> Result<Vec<u8>, E>,
    ) -> Result<bool, E> {
        let _ = (summary, headers, read);
        Ok(false)
    }
}
