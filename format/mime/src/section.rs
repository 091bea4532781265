//! IMAP sections (RFC 9051 §6.4.5.1) as byte ranges of the stored message, and decoded BINARY (RFC 9051 §6.4.5).
//!
//! The reader is a closure from a byte range to those bytes; its errors pass through.

use crate::decode::Decoder;
use crate::fields;
use crate::summary::{Encoding, Part, PartKind};
use crate::summary_ref::SummaryRef;
use std::ops::Range;

/// Bytes that are read at a time while decoding.
const PIECE: u64 = 64 * 1024;

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
/// Reads the message only for a nested HEADER.FIELDS, or when the index of fields is not whole.
pub fn ranges<E>(
    summary: &SummaryRef<'_>,
    section: Section<'_>,
    mut read: impl FnMut(Range<u64>) -> Result<Vec<u8>, E>,
) -> Result<Option<Vec<Range<u64>>>, E> {
    let whole = |range: Range<u64>| Ok(Some(vec![range]));
    if section.path.is_empty() {
        match section.what {
            What::All => return whole(0..summary.size),
            What::Header => return whole(summary.header()),
            What::Text => return whole(summary.header().end..summary.size),
            What::Mime => return Ok(None),
            What::Fields(names) if !summary.facts.fields_partial() => {
                return Ok(Some(indexed(summary, names, false)));
            }
            What::FieldsNot(names) if !summary.facts.fields_partial() => {
                return Ok(Some(indexed(summary, names, true)));
            }
            What::Fields(_) | What::FieldsNot(_) => {}
        }
    }
    let parts = summary.parts();
    let Some(found) = find(&parts, section.path) else { return Ok(None) };
    let header = match section.what {
        What::All => return whole(found.body.clone()),
        What::Mime => return whole(found.header.clone()),
        _ if section.path.is_empty() => found,
        // HEADER and TEXT of a part are those of the message in it, so it must be one (RFC 9051 §6.4.5.1).
        _ => match child(&parts, found, 1).filter(|_| found.kind == PartKind::Message) {
            Some(message) => message,
            None => return Ok(None),
        },
    };
    match section.what {
        What::Text => whole(header.body.clone()),
        What::Fields(names) => fields_of(header, names, false, &mut read).map(Some),
        What::FieldsNot(names) => fields_of(header, names, true, &mut read).map(Some),
        _ => whole(header.header.clone()),
    }
}

/// Fields by the stored index, and the blank line.
fn indexed(summary: &SummaryRef<'_>, names: &[&[u8]], not: bool) -> Vec<Range<u64>> {
    let mut out = Vec::new();
    let mut end = 0;
    for (name, range) in summary.fields() {
        end = range.end;
        if fields::wanted(name.as_bytes(), names, not) {
            fields::push(&mut out, range);
        }
    }
    fields::push(&mut out, end..summary.header().end);
    out
}

fn fields_of<E>(
    part: &Part,
    names: &[&[u8]],
    not: bool,
    read: &mut impl FnMut(Range<u64>) -> Result<Vec<u8>, E>,
) -> Result<Vec<Range<u64>>, E> {
    let mut selector = fields::Selector::new(part.header.start, names, not);
    let mut at = part.header.start;
    while at < part.header.end {
        let end = part.header.end.min(at + PIECE);
        selector.push(&read(at..end)?);
        at = end;
    }
    Ok(selector.finish())
}

/// The part that numbers such as `1.2` name; the message itself for none.
///
/// A message that is not a multipart has one part, number 1, which is its body (RFC 9051 §6.4.5.1).
pub fn find<'p>(parts: &'p [Part], path: &[u32]) -> Option<&'p Part> {
    let mut at = parts.first()?;
    // Whether `at` is a part that a number named, rather than a message.
    let mut part = false;
    for &number in path {
        let message = match at.kind {
            _ if !part => at,
            PartKind::Multipart => at,
            PartKind::Message => child(parts, at, 1)?,
            PartKind::Leaf => return None,
        };
        at = match message.kind {
            PartKind::Multipart => child(parts, message, number)?,
            _ if number == 1 => message,
            _ => return None,
        };
        part = true;
    }
    Some(at)
}

fn child<'p>(parts: &'p [Part], owner: &Part, number: u32) -> Option<&'p Part> {
    let index = parts.iter().position(|p| std::ptr::eq(p, owner))? as u32;
    parts.iter().find(|p| p.parent == Some(index) && p.number == number)
}

/// The piece of `ranges` (taken as one string) that a partial `<start.length>` asks for; empty when it begins past the end.
pub fn partial(ranges: &[Range<u64>], start: u64, length: u64) -> Vec<Range<u64>> {
    let mut out = Vec::new();
    let (mut skip, mut left) = (start, length);
    for range in ranges {
        let size = range.end.saturating_sub(range.start);
        if skip >= size {
            skip -= size;
            continue;
        }
        let from = range.start + skip;
        let to = range.end.min(from.saturating_add(left));
        left -= to - from;
        skip = 0;
        fields::push(&mut out, from..to);
        if left == 0 {
            break;
        }
    }
    out
}

/// Bytes of `ranges` together.
pub fn size(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|r| r.end.saturating_sub(r.start)).sum()
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
/// Holds the wanted bytes and some 64 KiB more.
pub fn binary<E>(
    summary: &SummaryRef<'_>,
    path: &[u32],
    partial: Option<(u64, u64)>,
    mut read: impl FnMut(Range<u64>) -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, BinaryError<E>> {
    let (body, encoding) = source(summary, path)?;
    let (start, length) = partial.unwrap_or((0, u64::MAX));
    if identity(encoding) {
        let wanted = self::partial(std::slice::from_ref(&body), start, length);
        return match wanted.into_iter().next() {
            Some(range) => read(range).map_err(BinaryError::Read),
            None => Ok(Vec::new()),
        };
    }
    let mut out = Vec::new();
    let mut skip = start;
    decode_all(body, encoding, &mut read, |bytes| {
        let from = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
        skip -= from as u64;
        let bytes = &bytes[from..];
        let left = usize::try_from(length - out.len() as u64).unwrap_or(usize::MAX).min(bytes.len());
        out.extend_from_slice(&bytes[..left]);
        (out.len() as u64) < length
    })
    .map_err(BinaryError::Read)?;
    Ok(out)
}

/// How many bytes [`binary`] would give: BINARY.SIZE.
pub fn binary_size<E>(
    summary: &SummaryRef<'_>,
    path: &[u32],
    mut read: impl FnMut(Range<u64>) -> Result<Vec<u8>, E>,
) -> Result<u64, BinaryError<E>> {
    let (body, encoding) = source(summary, path)?;
    if identity(encoding) {
        return Ok(body.end - body.start);
    }
    let mut size = 0;
    decode_all(body, encoding, &mut read, |bytes| {
        size += bytes.len() as u64;
        true
    })
    .map_err(BinaryError::Read)?;
    Ok(size)
}

/// Where the bytes of a part are and how they are encoded, for those who decode piece by piece with [`Decoder`].
pub fn source<E>(summary: &SummaryRef<'_>, path: &[u32]) -> Result<(Range<u64>, Encoding), BinaryError<E>> {
    if path.is_empty() {
        return Ok((0..summary.size, Encoding::Binary));
    }
    let parts = summary.parts();
    let part = find(&parts, path).ok_or(BinaryError::NoPart)?;
    match part.encoding {
        Encoding::Unknown => Err(BinaryError::UnknownCte),
        encoding => Ok((part.body.clone(), encoding)),
    }
}

fn identity(encoding: Encoding) -> bool {
    !matches!(encoding, Encoding::Base64 | Encoding::QuotedPrintable)
}

/// Decodes a body piece by piece, until `sink` wants no more.
fn decode_all<E>(
    body: Range<u64>,
    encoding: Encoding,
    read: &mut impl FnMut(Range<u64>) -> Result<Vec<u8>, E>,
    mut sink: impl FnMut(&[u8]) -> bool,
) -> Result<(), E> {
    let mut decoder = Decoder::new(encoding);
    let mut out = Vec::new();
    let mut at = body.start;
    while at < body.end {
        let end = body.end.min(at + PIECE);
        decoder.push(&read(at..end)?, &mut out);
        if !sink(&out) {
            return Ok(());
        }
        out.clear();
        at = end;
    }
    decoder.finish(&mut out);
    sink(&out);
    Ok(())
}
