//! What a message may make us keep. A message that goes beyond a limit is not refused: the rest of it is opaque, and the
//! summary says so ([`crate::Summary::reparse`]), so that a reader who needs all can scan again with [`Limits::full`].

/// Limits of one scan. [`Limits::stored`] is for delivery; [`Limits::full`] is for the rare FETCH of a message that was too
/// much for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes kept of one header field; longer ones are cut. 64 KiB is about 1 500 addresses.
    pub field_bytes: usize,
    /// Body parts, counting every node of the tree. Mailers agree on 1 000 as the end of reason (Dovecot: 10 000).
    pub parts: usize,
    /// Levels of multipart and message nesting. Real mail has under 10; more is an attack on recursive readers.
    pub depth: usize,
    /// Bytes of rendered or renderable strings kept for ENVELOPE and BODYSTRUCTURE, together.
    pub structure_bytes: usize,
    /// Addresses in one header field.
    pub addresses: usize,
    /// Entries in the index of top-level header fields.
    pub fields: usize,
    /// Bytes of the encoded summary. The store takes values up to 64 KiB, and the row around it wants some.
    pub summary_bytes: usize,
}

impl Limits {
    /// For delivery: the summary always fits a row of the store.
    pub const fn stored() -> Limits {
        Limits {
            field_bytes: 64 * 1024,
            parts: 1000,
            depth: 50,
            structure_bytes: 40 * 1024,
            addresses: 2000,
            fields: 512,
            summary_bytes: 56 * 1024,
        }
    }

    /// For answering one FETCH from the bytes, when the stored summary had to leave something out.
    pub const fn full() -> Limits {
        Limits {
            field_bytes: 1024 * 1024,
            parts: 10_000,
            depth: 100,
            structure_bytes: 8 * 1024 * 1024,
            addresses: 50_000,
            fields: 20_000,
            summary_bytes: 32 * 1024 * 1024,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits::stored()
    }
}

/// A boundary is at most 70 characters (RFC 2046 §5.1.1); mailers exceed that, none exceeds this.
pub const BOUNDARY_BYTES: usize = 256;
/// Transport padding after a boundary that we still take for a delimiter line.
pub const BOUNDARY_PADDING: usize = 256;
/// Bytes of one decoded text (subject, list of addresses) kept for searching and sorting.
pub const TEXT_BYTES: usize = 4 * 1024;
/// Message ids kept from References: the first (the root) and the newest.
pub const REFERENCES: usize = 40;
/// Bytes of one message id; a longer one is not an id.
pub const MESSAGE_ID_BYTES: usize = 512;
/// Characters of a preview (RFC 8970 §3.1 asks for at most 256, and 200 as the usual size).
pub const PREVIEW_CHARS: usize = 200;
/// Raw bytes of a text part kept to make the preview of: plain text, and HTML, which begins with style sheets.
pub const PREVIEW_PLAIN_BYTES: usize = 2 * 1024;
pub const PREVIEW_HTML_BYTES: usize = 16 * 1024;
/// Parameters of one structured field (RFC 2231 continuations count one each).
pub const PARAMETERS: usize = 64;
/// Links from a message up to its thread's root. Real threads end at some hundreds; a chain without end would make each new link
/// walk all of it.
pub const THREAD_DEPTH: usize = 1000;
/// Separate pieces of one HEADER.FIELDS; the rest of such a header is left out.
pub const SECTION_RANGES: usize = 20_000;
/// Bytes of one part's header that a search of a large message looks into.
pub const SEARCH_HEADER_BYTES: u64 = 1024 * 1024;
