//! Where the chunks of a message lie, and how that is written down in a holder's row.

/// A chunk of at most 64 KiB of a message, compressed by itself, in one segment record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub segment: u32,
    /// Of the record's header within the segment.
    pub offset: u64,
    /// Compressed bytes, without the record's header.
    pub stored_len: u32,
    pub raw_len: u32,
}
