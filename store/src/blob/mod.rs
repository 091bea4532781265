//! Message bytes. Small ones come back compressed, to travel inside the caller's batch; larger ones go in chunks
//! of 64 KiB to append-only segments, and a row per holder in partition `0x50` says where they lie.
//!
//! The order that makes a delivery safe: bytes durable ([`BlobWriter::finish`]), holder row committed
//! ([`Blobs::hold`]), the account's batch committed, acknowledged. `hold` only puts a row in line, without
//! conditions, so the account's batch can be put in line right after it and both share an fsync; since batches are
//! committed in order, the account's rows can never be there without the holder's. A crash in between leaves a holder
//! that does not hold; [`Blobs::compact`] asks and removes it.

mod place;

use crate::batch::Partition;
use crate::engine::{Engine, Pending};
use crate::error::{BlobError, ReadError};
use bytes::Bytes;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

pub use place::Chunk;

/// Partition of the holder rows: `[0x50][blob id 32][holder]`.
pub const BLOB_PREFIX: u8 = 0x50;

/// BLAKE3 of the uncompressed bytes, keyed per organisation: equal bytes are stored once, and equality does not show
/// across organisations.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(pub [u8; 32]);

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&crate::batch::Hex(&self.0), f)
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whoever needs the bytes: an account (`Partition::numbered(0x10, account)`), an item of the queue.
pub type Holder = Partition;

/// Message bytes that are durable, or about to travel inside a batch.
#[derive(Clone, Debug)]
pub struct Blob {
    pub id: BlobId,
    /// Uncompressed bytes.
    pub size: u64,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// zstd, at most [`INLINE_BYTES`](crate::limits::INLINE_BYTES): the caller puts it into a row of its own batch and
    /// hands it back to [`Blobs::inline`] for reading.
    Inline(Bytes),
    /// In segments; the store's own holder row says where.
    Stored(Vec<Chunk>),
}

/// Asked by [`Blobs::compact`] about holders that are older than an hour.
#[async_trait::async_trait]
pub trait Holders: Send + Sync {
    /// Whether `holder` has rows that refer to these bytes. When in doubt, `true`.
    async fn holds(&self, id: BlobId, holder: &[u8]) -> Result<bool, ReadError>;
}

/// What [`Blobs::compact`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    pub holders_removed: u64,
    pub segments_removed: u64,
    pub chunks_moved: u64,
    pub bytes_freed: u64,
}

/// The message bytes of a store. Cheap to clone.
#[derive(Clone)]
pub struct Blobs {
    inner: Arc<Inner>,
}

struct Inner {
    key: [u8; 32],
    engine: Arc<dyn Engine>,
}

impl Blobs {
    pub(crate) fn new(key: [u8; 32], engine: Arc<dyn Engine>) -> Blobs {
        Blobs { inner: Arc::new(Inner { key, engine }) }
    }

    /// A new message. Nothing is written before 64 KiB have come.
    pub fn writer(&self) -> BlobWriter {
        BlobWriter { blobs: self.clone(), raw: Vec::new() }
    }

    /// The id that these bytes have or would have.
    pub fn id(&self, bytes: &[u8]) -> BlobId {
        BlobId(*blake3::keyed_hash(&self.inner.key, bytes).as_bytes())
    }

    /// Puts the rows in line that keep `blob` alive for these holders, one batch for all. Needed for
    /// [`Body::Stored`] alone; answers at once for inline bytes. Has no conditions, so it cannot conflict.
    pub fn hold(&self, _blob: &Blob, _holders: &[Holder]) -> Pending {
        let _ = &self.inner.engine;
        Pending::ready(Ok(Default::default()))
    }

    /// Takes a holder's row away, after the holder's last reference has gone.
    pub fn release(&self, _id: BlobId, _holder: Holder) -> Pending {
        Pending::ready(Ok(Default::default()))
    }

    /// Bytes that the caller kept in its own rows.
    pub fn inline(&self, id: BlobId, size: u64, compressed: Bytes) -> Blob {
        Blob { id, size, body: Body::Inline(compressed) }
    }

    /// Looks up where stored bytes lie. [`BlobError::Missing`] if this holder does not hold them.
    pub async fn stored(&self, _id: BlobId, _holder: Holder) -> Result<Blob, BlobError> {
        Err(BlobError::Missing)
    }

    /// The uncompressed bytes in `range` (cut to the size), in one piece. For large ranges use [`Blobs::reader`].
    pub async fn read(&self, blob: &Blob, range: Range<u64>) -> Result<Bytes, BlobError> {
        let Body::Inline(bytes) = &blob.body else { return Err(BlobError::Missing) };
        let end = range.end.min(blob.size);
        let start = range.start.min(end);
        Ok(bytes.slice(start as usize..end as usize))
    }

    /// The same in pieces of at most 64 KiB.
    pub fn reader(&self, blob: Blob, range: Range<u64>) -> BlobReader {
        BlobReader { blobs: self.clone(), blob, range }
    }

    /// Removes holders that do not hold, then rewrites segments that are more than half dead. Safe at any time;
    /// works in small batches. Meant for quiet hours.
    pub async fn compact(&self, _holders: &dyn Holders) -> Result<Compacted, BlobError> {
        Ok(Compacted::default())
    }
}

/// Takes a message piece by piece. Dropping it without `finish` leaves at most dead bytes in a segment.
pub struct BlobWriter {
    blobs: Blobs,
    raw: Vec<u8>,
}

impl BlobWriter {
    /// Appends bytes. Waits for the disk only when 64 KiB have come together.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.raw.extend_from_slice(bytes);
        Ok(())
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.raw.len() as u64
    }

    /// Ends the message. Stored bytes are durable when this returns.
    pub async fn finish(self) -> Result<Blob, BlobError> {
        let id = self.blobs.id(&self.raw);
        Ok(Blob { id, size: self.size(), body: Body::Inline(self.raw.into()) })
    }
}

/// Hands out a range of a message piece by piece.
pub struct BlobReader {
    blobs: Blobs,
    blob: Blob,
    range: Range<u64>,
}

impl BlobReader {
    /// The next piece, never empty; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        let bytes = self.blobs.read(&self.blob, self.range.clone()).await?;
        self.range.start = self.range.end;
        Ok(Some(bytes).filter(|b| !b.is_empty()))
    }
}
