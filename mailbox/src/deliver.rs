//! Taking messages in: delivery, APPEND, import.

use crate::account::{Account, Mailboxes};
use crate::changes::Changes;
use crate::error::DeliverError;
use crate::flags::{Flags, Mark};
use std::sync::Arc;
use waypost_base::{FolderId, Timestamp};
use waypost_mime::Summary;
use waypost_store::{Blob, BlobError};

/// The bytes of a message, durable or small, and what is to be remembered of them. Cheap to clone, so that one message
/// can be delivered to several accounts.
#[derive(Clone, Debug)]
pub struct Content {
    pub blob: Blob,
    pub summary: Arc<Summary>,
}

/// Takes a message piece by piece: bytes go to the store, the scanner reads along. Memory stays bounded.
pub struct Writer {}

impl Mailboxes {
    pub fn writer(&self) -> Writer {
        todo!()
    }
}

impl Writer {
    /// Bytes as they are to be stored (CRLF line ends).
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        let _ = bytes;
        todo!()
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        todo!()
    }

    /// Ends the message; what goes to segments is durable when this returns.
    pub async fn finish(self) -> Result<Content, BlobError> {
        todo!()
    }
}

/// A message to be put into a folder.
#[derive(Clone, Debug)]
pub struct NewMessage {
    pub content: Content,
    /// INTERNALDATE; now when None.
    pub internal: Option<Timestamp>,
    /// From [`Account::mark`] when there are keywords.
    pub mark: Mark,
}

impl NewMessage {
    /// Without flags, as of now.
    pub fn new(content: Content) -> NewMessage {
        NewMessage { content, internal: None, mark: Mark { flags: Flags::NONE, keywords: 0 } }
    }
}

/// One mail for one folder, as transport has it.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub folder: FolderId,
    pub message: NewMessage,
    /// The same token again does nothing, and gives the first answer, for at least an hour.
    pub token: Option<[u8; 16]>,
    /// Deliver even over quota.
    pub ignore_quota: bool,
}

impl Account {
    /// Delivers in one batch, without reads.
    pub async fn deliver(&self, delivery: Delivery) -> Result<Changes, DeliverError> {
        let _ = delivery;
        todo!()
    }

    /// Appends messages to a folder, all or none: one batch as far as the store's limits go (about 250 small ones); of a
    /// larger list the earlier batches are taken back when a later one fails.
    pub async fn append(
        &self,
        folder: FolderId,
        messages: Vec<NewMessage>,
        token: Option<[u8; 16]>,
    ) -> Result<Changes, DeliverError> {
        let _ = (folder, messages, token);
        todo!()
    }
}
