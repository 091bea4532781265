//! Where the chunks of a message lie, and how that is written down in a holder's row.
//!
//! Value of the row `[0x50][blob id 32][holder]`: format (1), time of writing (8, milliseconds, big-endian), then
//! varints: size, number of chunks, and for each chunk segment, offset and stored length. Raw lengths follow from the
//! size: all chunks but the last have 64 KiB.

use super::{BLOB_PREFIX, BlobId};
use crate::batch::{Key, Partition};
use crate::limits::{BLOB_BYTES, CHUNK_BYTES};
use waypost_base::Timestamp;

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

/// Format of the value.
const FORMAT: u8 = 1;

/// A holder's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub written: Timestamp,
    pub size: u64,
    pub chunks: Vec<Chunk>,
}

pub(super) const PARTITION: Partition = Partition::tag(BLOB_PREFIX);

/// `[0x50][blob id]`: the common first bytes of all holders of a blob.
pub(super) fn prefix(id: BlobId) -> Key {
    PARTITION.key(&id.0)
}

pub(super) fn key(id: BlobId, holder: &[u8]) -> Key {
    let mut key = prefix(id);
    key.extend_from_slice(holder);
    key
}

/// The blob and the holder of a row.
pub(super) fn parse_key(key: &[u8]) -> Option<(BlobId, &[u8])> {
    let (id, holder) = key.strip_prefix(&[BLOB_PREFIX])?.split_first_chunk::<32>()?;
    (!holder.is_empty()).then_some((BlobId(*id), holder))
}

impl Place {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(20 + self.chunks.len() * 12);
        out.push(FORMAT);
        out.extend_from_slice(&self.written.as_millis().to_be_bytes());
        put_varint(&mut out, self.size);
        put_varint(&mut out, self.chunks.len() as u64);
        for chunk in &self.chunks {
            put_varint(&mut out, u64::from(chunk.segment));
            put_varint(&mut out, chunk.offset);
            put_varint(&mut out, u64::from(chunk.stored_len));
        }
        out
    }

    /// `None` if the bytes are not such a value.
    pub fn decode(value: &[u8]) -> Option<Place> {
        let (&format, rest) = value.split_first()?;
        let (written, mut rest) = rest.split_first_chunk::<8>()?;
        if format != FORMAT {
            return None;
        }
        let size = varint(&mut rest)?;
        let count = varint(&mut rest)?;
        if size > BLOB_BYTES || count != size.div_ceil(CHUNK_BYTES as u64) {
            return None;
        }
        let mut left = size;
        let mut chunks = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let raw_len = left.min(CHUNK_BYTES as u64);
            left -= raw_len;
            chunks.push(Chunk {
                segment: u32::try_from(varint(&mut rest)?).ok()?,
                offset: varint(&mut rest)?,
                stored_len: u32::try_from(varint(&mut rest)?).ok()?,
                raw_len: raw_len as u32,
            });
        }
        let written = Timestamp(i64::from_be_bytes(*written));
        rest.is_empty().then_some(Place { written, size, chunks })
    }
}

/// Seven bits a byte, lowest first; the high bit says that more follow.
fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut n = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        n |= u64::from(byte & 0x7F).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_round_trip(size in 0u64..20 * CHUNK_BYTES as u64, at in any::<u32>(), millis in any::<i64>()) {
            let count = size.div_ceil(CHUNK_BYTES as u64);
            let chunks = (0..count).map(|i| Chunk {
                segment: at.wrapping_mul(i as u32 + 1),
                offset: u64::from(at) * i,
                stored_len: at % 70_000,
                raw_len: (size - i * CHUNK_BYTES as u64).min(CHUNK_BYTES as u64) as u32,
            });
            let place = Place { written: Timestamp(millis), size, chunks: chunks.collect() };
            let value = place.encode();
            prop_assert_eq!(Place::decode(&value), Some(place));
            for end in 0..value.len() {
                prop_assert_eq!(Place::decode(&value[..end]), None);
            }
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Place::decode(&bytes);
            let _ = parse_key(&bytes);
        }
    }
}
