//! Taking a message piece by piece: at most 64 KiB of it are in memory at any time.

use super::segments::Pin;
use super::{Blob, BlobId, Blobs, Body, Chunk, Inner};
use crate::error::BlobError;
use crate::limits::{BLOB_BYTES, CHUNK_BYTES, INLINE_BYTES};
use std::sync::Arc;

/// Takes a message piece by piece. Dropping it without `finish` leaves at most dead bytes in a segment.
pub struct BlobWriter {
    blobs: Blobs,
    /// `None` only after an error on the way: the message is lost then, and so says every later call.
    draft: Option<Draft>,
}

/// What a message is made of so far. It travels to the thread that compresses and writes, and back.
struct Draft {
    raw: Vec<u8>,
    /// Made when the message turns out to be longer than a chunk; a shorter one is hashed at once.
    hasher: Option<Box<blake3::Hasher>>,
    chunks: Vec<Chunk>,
    size: u64,
    pin: Pin,
}

impl Draft {
    /// Compresses and appends what is in `raw`.
    fn flush(&mut self, inner: &Inner) -> Result<(), BlobError> {
        let hasher = self.hasher.get_or_insert_with(|| Box::new(blake3::Hasher::new_keyed(&inner.key)));
        hasher.update(&self.raw);
        let compressed = inner.codec.compress(&self.raw).map_err(|e| BlobError::Io(e.to_string()))?;
        self.append(inner, &compressed)
    }

    fn append(&mut self, inner: &Inner, compressed: &[u8]) -> Result<(), BlobError> {
        let chunk = inner.segments.core().append(compressed, self.raw.len() as u32, &mut self.pin)?;
        self.chunks.push(chunk);
        self.raw.clear();
        Ok(())
    }
}

fn lost() -> BlobError {
    BlobError::Io("an earlier piece of this message could not be written".into())
}

impl BlobWriter {
    pub(super) fn new(blobs: Blobs) -> BlobWriter {
        let draft = Draft {
            raw: Vec::new(),
            hasher: None,
            chunks: Vec::new(),
            size: 0,
            pin: Pin::none(blobs.inner.segments.core()),
        };
        BlobWriter { blobs, draft: Some(draft) }
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.draft.as_ref().map_or(0, |d| d.size)
    }

    /// Appends bytes. Waits for the disk only when 64 KiB have come together.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), BlobError> {
        while !bytes.is_empty() {
            let draft = self.draft.as_mut().ok_or_else(lost)?;
            if draft.raw.len() == CHUNK_BYTES {
                self.flush().await?;
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK_BYTES - draft.raw.len()));
            if draft.size + now.len() as u64 > BLOB_BYTES {
                self.draft = None;
                return Err(BlobError::TooLarge);
            }
            draft.raw.extend_from_slice(now);
            draft.size += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), BlobError> {
        let mut draft = self.draft.take().ok_or_else(lost)?;
        let work = move |inner: &Inner| draft.flush(inner).map(|()| draft);
        self.draft = Some(self.blobs.off(work).await?);
        Ok(())
    }

    /// Ends the message. Stored bytes are durable when this returns.
    pub async fn finish(mut self) -> Result<Blob, BlobError> {
        let mut draft = self.draft.take().ok_or_else(lost)?;
        let inner = &self.blobs.inner;
        if draft.chunks.is_empty() {
            let id = self.blobs.id(&draft.raw);
            let compressed = inner.codec.compress(&draft.raw).map_err(|e| BlobError::Io(e.to_string()))?;
            if compressed.len() <= INLINE_BYTES {
                return Ok(self.blobs.inline(id, draft.size, compressed.into()));
            }
            if let Some(known) = self.blobs.find(id, draft.size).await? {
                return Ok(known);
            }
            let append = move |inner: &Inner| draft.append(inner, &compressed).map(|()| draft);
            let draft = self.blobs.off(append).await?;
            return self.durable(id, draft).await;
        }
        if !draft.raw.is_empty() {
            let flush = move |inner: &Inner| draft.flush(inner).map(|()| draft);
            draft = self.blobs.off(flush).await?;
        }
        // A chunk was written, so there is a hasher.
        let hasher = draft.hasher.as_ref().ok_or_else(lost)?;
        let id = BlobId(*hasher.finalize().as_bytes());
        // Somebody else may have the same bytes already; what was written here is dead then.
        if let Some(known) = self.blobs.find(id, draft.size).await? {
            return Ok(known);
        }
        self.durable(id, draft).await
    }

    /// The same, but never to travel inside a batch: for bytes that another store has in segments, so that rows say the
    /// same here.
    pub async fn finish_stored(mut self) -> Result<Blob, BlobError> {
        let Some(draft) = self.draft.as_mut() else { return Err(lost()) };
        if draft.chunks.is_empty() {
            self.flush().await?;
        }
        self.finish().await
    }

    async fn durable(&self, id: BlobId, draft: Draft) -> Result<Blob, BlobError> {
        self.blobs.inner.segments.sync().await?;
        let Draft { chunks, size, pin, .. } = draft;
        Ok(Blob { id, size, body: Body::Stored(chunks), _pin: Some(Arc::new(pin)) })
    }
}
