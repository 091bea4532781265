//! Figures for commands, and the work of quiet hours.

use crate::account::{Account, Mailboxes};
use crate::error::AccountError;
use waypost_base::{FolderId, Timestamp};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderStatistics {
    pub folder: FolderId,
    pub path: String,
    pub messages: u32,
    pub unseen: u32,
    pub deleted: u32,
    pub size: u64,
    /// Internal dates.
    pub oldest: Option<Timestamp>,
    pub newest: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountStatistics {
    pub created: Timestamp,
    pub messages: u64,
    pub bytes: u64,
    pub recoverable_messages: u64,
    pub recoverable_bytes: u64,
    pub folders: usize,
    pub last_sign_in: Option<Timestamp>,
}

/// What [`Mailboxes::sweep`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Recoverable items whose time was over.
    pub expired: u64,
    /// Messages removed for good.
    pub messages: u64,
    /// Rows of the change log beyond the horizon.
    pub log_rows: u64,
    /// Accounts whose last rows went.
    pub accounts: u64,
}

impl Account {
    /// One entry a folder, by path. Loads every view.
    pub async fn folder_statistics(&self) -> Result<Vec<FolderStatistics>, AccountError> {
        todo!()
    }

    pub async fn statistics(&self) -> Result<AccountStatistics, AccountError> {
        todo!()
    }
}

impl Mailboxes {
    /// Removes what has passed its time: recoverable items, old change-log rows, removed accounts. In small batches, safe at
    /// any time.
    pub async fn sweep(&self, now: Timestamp) -> Result<Swept, AccountError> {
        let _ = now;
        todo!()
    }
}
