//! One client's look at one folder: sequence numbers that change only when the client has been told.

use crate::account::Account;
use crate::error::AccountError;
use crate::uidset::UidSet;
use crate::view::{Row, Status};
use waypost_base::FolderId;

/// Something the client has to be told, in order. Sequence numbers are those after the deltas before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delta {
    /// `* n EXPUNGE` (or VANISHED by UID)
    Expunged { seq: u32, uid: u32 },
    /// `* n EXISTS`
    Exists(u32),
    /// `* n FETCH (FLAGS …)`: of changed messages, never of new ones.
    Flags { seq: u32, row: Row },
}

/// A selected folder. Costs some words while nothing changes; all sessions on a folder share its rows.
///
/// A message that another session expunges stays under its sequence number, with its last known row, until a
/// [`Session::poll_changes`] that may tell of it (RFC 9051 §7.5.1).
#[derive(Debug)]
pub struct Session {}

impl Account {
    /// Opens a session on a folder. Warm, it costs a few reference counts.
    pub async fn select(&self, folder: FolderId) -> Result<Session, AccountError> {
        let _ = folder;
        todo!()
    }
}

impl Session {
    pub fn folder(&self) -> FolderId {
        todo!()
    }

    pub fn uid_validity(&self) -> u32 {
        todo!()
    }

    /// Counts, UIDNEXT and HIGHESTMODSEQ of what this session has been told (messages still includes untold expunges).
    pub fn status(&self) -> Status {
        todo!()
    }

    /// Messages, that is the highest sequence number.
    pub fn len(&self) -> u32 {
        todo!()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The UID of the last message (`*`); 0 if there is none.
    pub fn last_uid(&self) -> u32 {
        todo!()
    }

    /// Sequence number of the first message without \Seen.
    pub fn first_unseen(&self) -> Option<u32> {
        todo!()
    }

    /// The message with this sequence number.
    pub fn row(&self, seq: u32) -> Option<Row> {
        let _ = seq;
        todo!()
    }

    /// Sequence number and row of this UID.
    pub fn by_uid(&self, uid: u32) -> Option<(u32, Row)> {
        let _ = uid;
        todo!()
    }

    /// Messages of these sequence numbers (both ends included, cut to what is there), ascending.
    pub fn rows(&self, from: u32, to: u32) -> impl Iterator<Item = (u32, Row)> + '_ {
        let _ = (from, to);
        std::iter::empty()
    }

    /// The messages of these UIDs, ascending.
    pub fn rows_of<'a>(&'a self, uids: &'a UidSet) -> impl Iterator<Item = (u32, Row)> + 'a {
        let _ = uids;
        std::iter::empty()
    }

    /// The UIDs of these sequence numbers; ranges as in [`UidSet::ranges`], numbers that do not exist are left out.
    pub fn uids_of(&self, seqs: &UidSet) -> UidSet {
        let _ = seqs;
        todo!()
    }

    /// Whether the message was expunged by somebody, and this session has not been told yet.
    pub fn is_expunged(&self, uid: u32) -> bool {
        let _ = uid;
        todo!()
    }

    /// Whether [`Session::poll_changes`] could have something to tell. Costs a pointer comparison.
    pub fn has_changes(&self) -> bool {
        todo!()
    }

    /// Takes over what has happened since, and says what the client is to be told, in this order: expunges, EXISTS, flags.
    /// Without `allow_expunge` expunges wait for a later call. New flags of own changes are among them.
    pub fn poll_changes(&mut self, allow_expunge: bool) -> Vec<Delta> {
        let _ = allow_expunge;
        todo!()
    }

    /// Returns when there is something to tell; at once when there is already. Also returns when the folder was deleted
    /// ([`Session::is_deleted`]).
    pub async fn wait_changes(&self) {
        todo!()
    }

    /// The folder was deleted: send BYE or unselect.
    pub fn is_deleted(&self) -> bool {
        todo!()
    }
}
