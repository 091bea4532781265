//! A folder's messages in memory: what FETCH of flags, STATUS and SELECT are answered from.

use crate::account::Account;
use crate::error::AccountError;
use crate::flags::{Flags, Mark};
use waypost_base::{FolderId, MessageId, Timestamp};

/// A message in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub message: MessageId,
    /// Bits of [`crate::Keywords`].
    pub keywords: u64,
    pub modseq: u64,
    /// INTERNALDATE
    pub internal: Timestamp,
    /// SAVEDATE: when it came into this folder.
    pub saved: Timestamp,
    pub uid: u32,
    /// Bytes of the message (RFC822.SIZE).
    pub size: u32,
    pub flags: Flags,
}

impl Row {
    pub fn mark(&self) -> Mark {
        Mark { flags: self.flags, keywords: self.keywords }
    }
}

/// What STATUS tells, all from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    pub messages: u32,
    pub unseen: u32,
    pub deleted: u32,
    /// Bytes of all messages.
    pub size: u64,
    /// The next UID will be at least this.
    pub uid_next: u32,
    pub uid_validity: u32,
    pub highest_modseq: u64,
}

impl Account {
    /// Loads the folder's view if it is cold.
    pub async fn status(&self, folder: FolderId) -> Result<Status, AccountError> {
        let _ = folder;
        todo!()
    }
}
