//! What a client missed while it was away (RFC 7162 §3.1.4, §3.2.5).

use crate::account::Account;
use crate::error::AccountError;
use crate::session::Session;
use crate::uidset::UidSet;
use crate::view::Row;

/// The changes since a modseq.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Since {
    /// Messages with a higher modseq, with their sequence numbers, ascending.
    pub changed: Vec<(u32, Row)>,
    /// UIDs that were expunged. When the log does not reach back far enough, all UIDs below UIDNEXT that do not exist, which
    /// RFC 7162 §3.2.5.2 allows.
    pub vanished: UidSet,
    /// Whether `vanished` comes from the log, and is exact.
    pub exact: bool,
}

impl Account {
    /// What changed in the session's folder since `modseq`, among the `known` UIDs, as of what the session has been told.
    pub async fn changes_since(
        &self,
        session: &Session,
        modseq: u64,
        known: Option<&UidSet>,
    ) -> Result<Since, AccountError> {
        let _ = (session, modseq, known);
        todo!()
    }
}
