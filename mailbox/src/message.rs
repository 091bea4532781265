//! What is remembered of a message besides its place in folders: summary, thread, where the bytes are.

use crate::account::Account;
use crate::error::Fault;
use bytes::Bytes;
use waypost_base::{MessageId, ThreadId};
use waypost_mime::{DecodeError, SummaryRef};
use waypost_store::BlobId;

/// A message's row, as read from the store.
#[derive(Clone, Debug)]
pub struct Stored {
    pub id: MessageId,
    pub thread: ThreadId,
    pub blob: BlobId,
    pub size: u64,
    pub(crate) summary: Bytes,
    pub(crate) inline: bool,
}

impl Stored {
    /// Reads the summary in place. It was checked when the row was read, so this fails on damage in memory alone.
    pub fn summary(&self) -> Result<SummaryRef<'_>, DecodeError> {
        SummaryRef::new(&self.summary)
    }
}

impl Account {
    /// The rows of these messages, in their order. Give up to [`crate::limits::SUMMARY_PAGE`] at a time; more are read in
    /// several pages.
    pub async fn summaries(&self, ids: &[MessageId]) -> Vec<Result<Stored, Fault>> {
        let _ = ids;
        todo!()
    }

    /// Messages found damaged since the start.
    pub fn quarantined(&self) -> Vec<Fault> {
        todo!()
    }
}
