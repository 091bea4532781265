//! Copying and moving between folders of one account (RFC 9051 §6.4.7, §6.4.8). Copies share message id and bytes.

use crate::account::Account;
use crate::changes::Changes;
use crate::error::DeliverError;
use crate::uidset::UidSet;
use waypost_base::FolderId;

#[derive(Debug)]
pub struct Copied {
    pub changes: Changes,
    pub uid_validity: u32,
    /// Old and new UID, ascending: COPYUID.
    pub uids: Vec<(u32, u32)>,
}

impl Account {
    /// Copies the messages that exist, atomically up to [`crate::limits::COPY_CHUNK`]; of larger sets all or none stay.
    pub async fn copy(&self, from: FolderId, uids: &UidSet, to: FolderId) -> Result<Copied, DeliverError> {
        let _ = (from, uids, to);
        todo!()
    }

    /// Moves, in chunks that are atomic each. Moved messages do not become recoverable items.
    pub async fn move_to(&self, from: FolderId, uids: &UidSet, to: FolderId) -> Result<Copied, DeliverError> {
        let _ = (from, uids, to);
        todo!()
    }
}
