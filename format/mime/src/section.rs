//! IMAP sections (RFC 9051 §6.4.5.1) as byte ranges of the stored message, and decoded BINARY (RFC 9051 §6.4.5).
//!
//! The reader is a closure from a byte range to those bytes; its errors pass through.

use crate::summary::{Part, SummaryRef};
use std::ops::Range;

/// What of a part is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// `BODY[]`, `BODY[1.2]`
    All,
    /// `HEADER`, `1.HEADER`
    Header,
    /// `HEADER.FIELDS (…)`; names compare without case.
    Fields(&'a [&'a [u8]]),
    /// `HEADER.FIELDS.NOT (…)`
    FieldsNot(&'a [&'a [u8]]),
    Text,
    /// `1.MIME`: needs a part number.
    Mime,
}

/// A section name: part numbers, and what of that part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section<'a> {
    pub path: &'a [u32],
    pub what: What<'a>,
}

/// The bytes of a section, in order; None when the message has no such section (answer NIL).
/// Reads the message only for a nested HEADER.FIELDS, or when the index is not whole.
pub fn ranges<E>(
    summary: &SummaryRef<'_>,
    section: Section<'_>,
    read: impl FnMut(Range<u64>) -> Result<Vec<u8>, E>,
) -> Result<Option<Vec<Range<u64>>>, E> {
    let _ = (summary, section, read);
    Ok(None)
}

/// The part that `1.2` names.
pub fn find<'p>(parts: &'p [Part], path: &[u32]) -> Option<&'p Part> {
    let _ = path;
    parts.first()
}

/// The part of `ranges` (taken as one string) that a partial `<start.length>` asks for.
pub fn partial(ranges: &[Range<u64>], start: u64, length: u64) -> Vec<Range<u64>> {
    let _ = (ranges, start, length);
    Vec::new()
}

/// Why BINARY cannot be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BinaryError<E> {
    /// Answer `NO [UNKNOWN-CTE]`.
    #[error("the part has a content transfer encoding that this server does not know")]
    UnknownCte,
    /// No such part: answer NIL.
    #[error("the message has no such part")]
    NoPart,
    #[error(transparent)]
    Read(E),
}

/// Decoded bytes of a part, all or `partial` (start, length). `path` may be empty: the message itself, as it is.
/// Holds the wanted bytes and 64 KiB.
pub fn binary<E>(
    summary: &SummaryRef<'_>,
    path: &[u32],
    partial: Option<(u64, u64)>,
    read: impl FnMut(Range<u64>) -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, BinaryError<E>> {
    let _ = (summary, path, partial, read);
    Err(BinaryError::NoPart)
}

/// Bytes that [`binary`] would give: BINARY.SIZE.
pub fn binary_size<E>(
    summary: &SummaryRef<'_>,
    path: &[u32],
    read: impl FnMut(Range<u64>) -> Result<Vec<u8>, E>,
) -> Result<u64, BinaryError<E>> {
    let _ = (summary, path, read);
    Err(BinaryError::NoPart)
}
