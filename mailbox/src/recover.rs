//! Recoverable items: expunged messages that can be restored for a time.

use crate::account::Account;
use crate::changes::Changes;
use crate::error::{AccountError, DeliverError};
use crate::view::Row;
use waypost_base::{FolderId, Timestamp};

/// An expunged message that is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recoverable {
    pub deleted: Timestamp,
    /// The folder it was in, and what it was there.
    pub folder: FolderId,
    pub row: Row,
}

impl Account {
    /// All recoverable items, newest first, at most `max`.
    pub async fn recoverable_items(&self, max: usize) -> Result<Vec<Recoverable>, AccountError> {
        let _ = max;
        todo!()
    }

    /// Puts an item back into a folder, without \Deleted, under a new UID.
    pub async fn restore_item(&self, item: &Recoverable, to: FolderId) -> Result<Changes, DeliverError> {
        let _ = (item, to);
        todo!()
    }
}
