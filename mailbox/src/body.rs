//! Message bytes on their way out.

use crate::account::Account;
use crate::error::{Fault, FaultKind};
use crate::keys;
use crate::limits::BODY_PAGE;
use crate::message::Read;
use crate::rows::{MessageRow, SMALL_HEAD, decode_small};
use bytes::Bytes;
use std::collections::HashMap;
use std::ops::Range;
use waypost_base::MessageId;
use waypost_store::{Blob, BlobError, ReadError};

/// Where a message's bytes are.
#[derive(Clone, Debug)]
pub enum MessageBody {
    /// Kept beside the summary: all of it, uncompressed.
    Small(Bytes),
    /// In segments: to be read in ranges.
    Large(BodyReader),
}

/// Reads ranges of a large message; decompresses only the 64 KiB chunks that a range touches.
#[derive(Clone, Debug)]
pub struct BodyReader {
    pub(crate) message: MessageId,
    pub(crate) blob: Blob,
}

impl MessageBody {
    pub fn size(&self) -> u64 {
        match self {
            MessageBody::Small(bytes) => bytes.len() as u64,
            MessageBody::Large(reader) => reader.blob.size,
        }
    }
}

impl Account {
    /// The bodies of these messages, in their order; small ones come from one read. Give at most
    /// [`crate::limits::BODY_PAGE`] at a time to bound memory.
    pub async fn bodies(&self, ids: &[MessageId]) -> Vec<Result<MessageBody, Fault>> {
        let mut out = Vec::with_capacity(ids.len());
        for page in ids.chunks(BODY_PAGE) {
            let small = self.rows_by_message(keys::SMALL, page).await;
            let others: Vec<MessageId> = page.iter().copied().filter(|id| !small.contains_key(id)).collect();
            let rows = if others.is_empty() {
                HashMap::new()
            } else {
                self.rows_by_message(keys::MESSAGE, &others).await
            };
            for id in page {
                out.push(match small.get(id) {
                    Some(read) => self.small(*id, read.clone()).await,
                    None => self.large(*id, rows.get(id).cloned()).await,
                });
            }
        }
        out
    }

    /// One body.
    pub async fn body(&self, id: MessageId) -> Result<MessageBody, Fault> {
        self.bodies(&[id]).await.pop().unwrap_or(Err(Fault { message: id, kind: FaultKind::Gone }))
    }

    /// A range of a body, cut to its size, in one piece.
    pub async fn read(&self, body: &MessageBody, range: Range<u64>) -> Result<Bytes, Fault> {
        match body {
            MessageBody::Small(bytes) => {
                let cut = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(bytes.len());
                let (start, end) = (cut(range.start), cut(range.end));
                Ok(if start < end { bytes.slice(start..end) } else { Bytes::new() })
            }
            MessageBody::Large(reader) => {
                let read = self.state.core.store.blobs().read(&reader.blob, range).await;
                read.map_err(|e| self.blob_fault(reader.message, e))
            }
        }
    }

    async fn small(&self, id: MessageId, read: Read) -> Result<MessageBody, Fault> {
        let value = self.present(keys::SMALL, id, Some(read))?;
        let (blob, size) = decode_small(&value)
            .ok_or_else(|| self.quarantine(keys::SMALL, id, FaultKind::Damaged("row of bytes".into())))?;
        let blobs = self.state.core.store.blobs();
        let blob = blobs.inline(blob, size, value.slice(SMALL_HEAD..));
        let bytes = blobs.read(&blob, 0..size).await.map_err(|e| self.blob_fault(id, e))?;
        Ok(MessageBody::Small(bytes))
    }

    async fn large(&self, id: MessageId, read: Option<Read>) -> Result<MessageBody, Fault> {
        let value = self.present(keys::MESSAGE, id, read)?;
        let damaged = |what: &str| self.quarantine(keys::SMALL, id, FaultKind::Damaged(what.into()));
        let row = MessageRow::decode(&value).ok_or_else(|| damaged("message row"))?;
        if row.inline {
            return Err(damaged("its bytes are missing"));
        }
        let found = self.state.core.store.blobs().stored(row.blob, self.state.keys.partition()).await;
        let blob = found.map_err(|e| self.blob_fault(id, e))?;
        Ok(MessageBody::Large(BodyReader { message: id, blob }))
    }

    fn blob_fault(&self, id: MessageId, e: BlobError) -> Fault {
        let kind = match e {
            BlobError::Corrupt { .. } | BlobError::Missing | BlobError::Read(ReadError::Corrupt(_)) => {
                FaultKind::Damaged(e.to_string())
            }
            e => FaultKind::Unavailable(e.to_string()),
        };
        self.quarantine(keys::SMALL, id, kind)
    }
}
