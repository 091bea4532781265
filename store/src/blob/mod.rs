//! Message bytes. Small ones come back compressed, to travel inside the caller's batch; larger ones go in chunks
//! of 64 KiB to append-only segments, and a row per holder in partition `0x50` says where they lie.
//!
//! The order that makes a delivery safe: bytes durable ([`BlobWriter::finish`]), holder row committed, the account's
//! batch committed, acknowledged. [`Store::commit_with`](crate::Store::commit_with) does the last two as a chain under one
//! fsync, so the account's rows can never be there without the holder's. A crash in between leaves a holder that does not
//! hold; [`Blobs::compact`] asks and removes it.

mod codec;
mod compact;
mod place;
mod record;
mod segments;
mod writer;

use crate::batch::{Batch, Partition, prefix_range};
use crate::disk::Disk;
use crate::engine::{Engine, Pending};
use crate::error::{BlobError, CommitError, ReadError};
use crate::limits::{BATCH_BYTES, BATCH_OPS, CHUNK_BYTES, KEY_BYTES};
use bytes::Bytes;
use codec::Codec;
use place::Place;
use segments::{Pin, Segments};
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use waypost_base::Clock;
use waypost_base::metrics::{Figure, Kind};

pub use compact::{Compacted, Holders};
pub use place::Chunk;
pub(crate) use record::header as segment_header;
#[cfg(test)]
pub(crate) use record::record as segment_record;
pub use writer::BlobWriter;

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

/// What a look at a holder's row came to.
pub(crate) struct Seen {
    pub chunks: usize,
    pub sound: bool,
}

/// Whoever needs the bytes: an account (`Partition::numbered(0x10, account)`), an item of the queue.
pub type Holder = Partition;

/// Message bytes that are durable, or about to travel inside a batch. As long as a stored one lives, its segments stay.
#[derive(Clone, Debug)]
pub struct Blob {
    pub id: BlobId,
    /// Uncompressed bytes.
    pub size: u64,
    pub body: Body,
    /// Keeps compaction away; `None` for inline bytes.
    _pin: Option<Arc<Pin>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// zstd, at most [`INLINE_BYTES`](crate::limits::INLINE_BYTES): the caller puts it into a row of its own batch and
    /// hands it back to [`Blobs::inline`] for reading.
    Inline(Bytes),
    /// In segments; the store's own holder row says where.
    Stored(Vec<Chunk>),
}

impl Blob {
    /// The compressed bytes, if they are to travel inside the caller's batch.
    pub fn inline_bytes(&self) -> Option<&Bytes> {
        match &self.body {
            Body::Inline(bytes) => Some(bytes),
            Body::Stored(_) => None,
        }
    }

    pub fn is_stored(&self) -> bool {
        matches!(self.body, Body::Stored(_))
    }
}

/// The message bytes of a store. Cheap to clone.
#[derive(Clone)]
pub struct Blobs {
    inner: Arc<Inner>,
}

struct Inner {
    key: [u8; 32],
    engine: Arc<dyn Engine>,
    segments: Segments,
    codec: Codec,
    clock: Clock,
    /// Held by compaction and by backup, which must not meet.
    quiet: tokio::sync::Mutex<()>,
}

/// How message bytes are kept.
#[derive(Clone, Debug)]
pub struct BlobOptions {
    pub key: [u8; 32],
    pub clock: Clock,
    pub free_floor: u64,
    /// A segment is closed beyond this; at most [`SEGMENT_BYTES`](crate::limits::SEGMENT_BYTES).
    pub segment_bytes: u64,
}

impl Blobs {
    pub(crate) fn open(
        engine: Arc<dyn Engine>,
        disk: Arc<dyn Disk>,
        options: BlobOptions,
    ) -> io::Result<Blobs> {
        let BlobOptions { key, clock, free_floor, segment_bytes } = options;
        let segments = Segments::open(disk, clock.clone(), free_floor, segment_bytes)?;
        let (codec, quiet) = (Codec::default(), tokio::sync::Mutex::default());
        Ok(Blobs { inner: Arc::new(Inner { key, engine, segments, codec, clock, quiet }) })
    }

    /// A new message. Nothing is written before more than 64 KiB have come.
    pub fn writer(&self) -> BlobWriter {
        BlobWriter::new(self.clone())
    }

    /// Writes a message that is in memory already.
    pub async fn write(&self, bytes: &[u8]) -> Result<Blob, BlobError> {
        let mut writer = self.writer();
        writer.write(bytes).await?;
        writer.finish().await
    }

    /// The id that these bytes have or would have.
    pub fn id(&self, bytes: &[u8]) -> BlobId {
        BlobId(*blake3::keyed_hash(&self.inner.key, bytes).as_bytes())
    }

    /// Puts the rows in line that keep `blob` alive for these holders. Needed for [`Body::Stored`] alone; answers at
    /// once for inline bytes. Has no conditions, so it cannot conflict; keep `blob` until it has answered.
    /// To commit something that depends on it, use [`Store::commit_with`](crate::Store::commit_with).
    pub fn hold(&self, blob: &Blob, holders: &[Holder]) -> Pending {
        Pending::all(self.hold_batches(blob, holders).into_iter().map(|batch| self.commit(batch)).collect())
    }

    /// The batches of [`Blobs::hold`], for a chain: one, unless there are very many holders; none for inline bytes.
    pub fn hold_batches(&self, blob: &Blob, holders: &[Holder]) -> Vec<Batch> {
        let Body::Stored(chunks) = &blob.body else { return Vec::new() };
        let written = self.inner.clock.now();
        let value = Place { written, size: blob.size, chunks: chunks.clone() }.encode();
        let most = (BATCH_BYTES / (value.len() + KEY_BYTES)).clamp(1, BATCH_OPS);
        let batch = |holders: &[Holder]| {
            let mut batch = Batch::new(place::PARTITION);
            for holder in holders {
                batch.put(place::key(blob.id, holder.as_bytes()), value.clone());
            }
            batch
        };
        holders.chunks(most).map(batch).collect()
    }

    /// Takes a holder's row away, after the holder's last reference has gone. The bytes go with the last holder.
    pub fn release(&self, id: BlobId, holder: Holder) -> Pending {
        let mut batch = Batch::new(place::PARTITION);
        batch.del(place::key(id, holder.as_bytes()));
        self.commit(batch)
    }

    fn commit(&self, batch: Batch) -> Pending {
        match self.read_only() {
            Some(reason) => Pending::ready(Err(CommitError::ReadOnly(reason))),
            None => self.inner.engine.commit(batch),
        }
    }

    /// Bytes that the caller kept in its own rows.
    pub fn inline(&self, id: BlobId, size: u64, compressed: Bytes) -> Blob {
        Blob { id, size, body: Body::Inline(compressed), _pin: None }
    }

    /// Looks up where stored bytes lie. [`BlobError::Missing`] if this holder does not hold them.
    pub async fn stored(&self, id: BlobId, holder: Holder) -> Result<Blob, BlobError> {
        let key = place::key(id, holder.as_bytes());
        // Compaction may move the bytes between the look and the pin: then the row has changed, and is read again.
        for _ in 0..4 {
            let found = self.inner.engine.get(vec![key.clone()]).await?.pop().flatten();
            let row = found.ok_or(BlobError::Missing)?;
            let place = Place::decode(&row).ok_or_else(|| crate::ReadError::Corrupt(key.clone()))?;
            if let Some(blob) = self.pinned(id, place) {
                return Ok(blob);
            }
        }
        Err(BlobError::Missing)
    }

    fn pinned(&self, id: BlobId, place: Place) -> Option<Blob> {
        let pin = self.inner.segments.core().pin(&place.chunks)?;
        Some(Blob { id, size: place.size, body: Body::Stored(place.chunks), _pin: Some(Arc::new(pin)) })
    }

    /// The same bytes as somebody else holds them.
    async fn find(&self, id: BlobId, size: u64) -> Result<Option<Blob>, BlobError> {
        let page = self.inner.engine.scan(prefix_range(&place::prefix(id)), false, 1, 1).await?;
        let place = page.row(0).and_then(|(_, value)| Place::decode(value)).filter(|p| p.size == size);
        Ok(place.and_then(|place| self.pinned(id, place)))
    }

    /// The uncompressed bytes in `range` (cut to the size), in one piece. For large ranges use [`Blobs::reader`].
    pub async fn read(&self, blob: &Blob, range: Range<u64>) -> Result<Bytes, BlobError> {
        let mut reader = self.reader(blob.clone(), range);
        let Some(first) = reader.next().await? else { return Ok(Bytes::new()) };
        if reader.range.is_empty() {
            return Ok(first);
        }
        let left = reader.range.end - reader.range.start;
        let mut whole = Vec::with_capacity(first.len() + left as usize);
        whole.extend_from_slice(&first);
        while let Some(piece) = reader.next().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.into())
    }

    /// The same in pieces of at most 64 KiB.
    pub fn reader(&self, blob: Blob, range: Range<u64>) -> BlobReader {
        let end = range.end.min(blob.size);
        let range = range.start.min(end)..end;
        BlobReader { blobs: self.clone(), blob, range }
    }

    /// Runs work on segments away from the threads that run tasks, unless the disk never waits.
    async fn off<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, BlobError> + Send + 'static,
    ) -> Result<T, BlobError> {
        if !self.inner.segments.core().waits() {
            return work(&self.inner);
        }
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.unwrap_or_else(|e| Err(BlobError::Io(e.to_string())))
    }

    pub(crate) fn read_only(&self) -> Option<String> {
        self.inner.segments.core().read_only()
    }

    pub(crate) fn corrupt(&self) -> u64 {
        self.inner.segments.core().figures.corrupt.value()
    }

    pub(crate) fn figures(&self) -> Vec<Figure> {
        let f = &self.inner.segments.core().figures;
        let counter =
            |name, help, value: u64| Figure { name, help, kind: Kind::Counter, value: value as f64 };
        vec![
            counter(
                "store_chunks_written_total",
                "Chunks of messages appended to segments",
                f.chunks.value(),
            ),
            counter("store_segment_bytes_written_total", "Bytes appended to segments", f.bytes.value()),
            counter("store_segment_syncs_total", "fdatasyncs of segments", f.syncs.value()),
            counter("store_corrupt_chunks_total", "Damaged chunks met", f.corrupt.value()),
        ]
    }

    /// Whether the chunks that a holder's row names are as they were written: `count` of them, others with each `turn`.
    /// Other rows are sound.
    pub(crate) async fn look(
        &self,
        key: &[u8],
        value: &[u8],
        turn: usize,
        count: usize,
    ) -> Result<Seen, ReadError> {
        if place::parse_key(key).is_none() {
            return Ok(Seen { chunks: 0, sound: true });
        }
        let Some(place) = Place::decode(value) else { return Ok(Seen { chunks: 0, sound: false }) };
        let Some(pin) = self.inner.segments.core().pin(&place.chunks) else {
            // Compaction has moved the bytes since the row was read, or the segment is gone.
            let row = self.inner.engine.get(vec![key.to_vec()]).await?.pop().flatten();
            return Ok(Seen { chunks: 0, sound: row.as_deref() != Some(value) });
        };
        let pieces = place.chunks.len().div_ceil(count.max(1)).max(1);
        let some: Vec<Chunk> = place.chunks.into_iter().skip(turn % pieces * count).take(count).collect();
        let chunks = some.len();
        let sound = self.off(move |inner| {
            let _pin = pin;
            Ok(some.iter().all(|chunk| inner.segments.core().is_sound(chunk)))
        });
        Ok(Seen { chunks, sound: sound.await.unwrap_or(true) })
    }

    /// Keeps compaction away for as long as the guard lives.
    pub(crate) async fn quiet(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.inner.quiet.lock().await
    }

    /// Copies the segments as they are now: closed ones by hard link where that works, the growing one byte by byte.
    pub(crate) async fn copy_to(&self, from: &Path, to: &Path) -> Result<(u64, u64), BlobError> {
        self.inner.segments.sync().await?;
        let (from, to) = (from.to_owned(), to.to_owned());
        self.off(move |inner| {
            let (mut files, mut bytes) = (0, 0);
            for facts in inner.segments.core().facts() {
                let name = segments::file_name(facts.number);
                let copied = copy_file(&from.join(&name), &to.join(&name), !facts.active);
                bytes += copied.map_err(|e| BlobError::Io(format!("{name}: {e}")))?;
                files += 1;
            }
            Ok((files, bytes))
        })
        .await
    }

    pub(crate) async fn close(&self) {
        if let Some(thread) = self.inner.segments.close() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

fn copy_file(from: &Path, to: &Path, link: bool) -> io::Result<u64> {
    if link && std::fs::hard_link(from, to).is_ok() {
        return Ok(std::fs::metadata(to)?.len());
    }
    let bytes = std::fs::copy(from, to)?;
    std::fs::File::open(to)?.sync_all()?;
    Ok(bytes)
}

impl Inner {
    /// A chunk's uncompressed bytes.
    fn chunk(&self, chunk: &Chunk) -> Result<Vec<u8>, BlobError> {
        let core = self.segments.core();
        let stored = core.read(chunk)?;
        let raw = self.codec.decompress(&stored, chunk.raw_len as usize);
        raw.map_err(|_| core.damaged(chunk, "not decompressible"))
    }
}

/// Hands out a range of a message piece by piece.
pub struct BlobReader {
    blobs: Blobs,
    blob: Blob,
    range: Range<u64>,
}

impl BlobReader {
    /// Bytes that are still to come.
    pub fn left(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// The next piece, never empty; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        if self.range.is_empty() {
            return Ok(None);
        }
        let (raw, begin) = match &self.blob.body {
            Body::Inline(compressed) => {
                let size = usize::try_from(self.blob.size).unwrap_or(usize::MAX);
                let raw = self.blobs.inner.codec.decompress(compressed, size);
                let damaged =
                    BlobError::Corrupt { segment: 0, offset: 0, what: "inline bytes do not decompress" };
                (raw.map_err(|_| damaged)?, 0)
            }
            Body::Stored(chunks) => {
                let index = self.range.start / CHUNK_BYTES as u64;
                let chunk = *chunks.get(index as usize).ok_or(BlobError::Missing)?;
                (self.blobs.off(move |inner| inner.chunk(&chunk)).await?, index * CHUNK_BYTES as u64)
            }
        };
        let from = (self.range.start - begin) as usize;
        let to = ((self.range.end - begin).min(raw.len() as u64)) as usize;
        if from >= to {
            return Err(BlobError::Corrupt { segment: 0, offset: 0, what: "shorter than its row says" });
        }
        self.range.start = begin + to as u64;
        Ok(Some(Bytes::from(raw).slice(from..to)))
    }
}
