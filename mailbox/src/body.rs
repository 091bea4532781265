//! Message bytes on their way out.

use crate::account::Account;
use crate::error::Fault;
use bytes::Bytes;
use std::ops::Range;
use waypost_base::MessageId;
use waypost_store::Blob;

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
        let _ = ids;
        todo!()
    }

    /// One body.
    pub async fn body(&self, id: MessageId) -> Result<MessageBody, Fault> {
        let _ = id;
        todo!()
    }

    /// A range of a body, cut to its size, in one piece.
    pub async fn read(&self, body: &MessageBody, range: Range<u64>) -> Result<Bytes, Fault> {
        let _ = (body, range);
        todo!()
    }
}
