//! Expunging: for good from the folder, kept among the recoverable items for a time.

use crate::account::Account;
use crate::changes::Changes;
use crate::error::AccountError;
use crate::uidset::UidSet;
use waypost_base::FolderId;

#[derive(Debug)]
pub struct Expunged {
    pub changes: Changes,
    pub uids: UidSet,
    /// HIGHESTMODSEQ after it.
    pub highest_modseq: u64,
}

impl Account {
    /// Expunges the messages of `uids` that have \Deleted (EXPUNGE: [`UidSet::all`]; UID EXPUNGE).
    pub async fn expunge(&self, folder: FolderId, uids: &UidSet) -> Result<Expunged, AccountError> {
        let _ = (folder, uids);
        todo!()
    }

    /// Expunges the messages of `uids`, with \Deleted or without (POP3, commands).
    pub async fn remove(&self, folder: FolderId, uids: &UidSet) -> Result<Expunged, AccountError> {
        let _ = (folder, uids);
        todo!()
    }
}
