//! An account on its way from one server to another, while it is in use.
//!
//! Rows are copied as they are: UIDs, modseqs and change logs stay, so clients find everything as they left it. [`Source`]
//! and [`Target`] are the two ends, [`run`] drives them: pass after pass over what differs, while mail comes and flags
//! change; then the account is frozen for a moment, the rest is copied, both ends are compared, and the caller switches
//! the directory.
//!
//! Laws:
//! - An account is in the memory of one server at most: the other has no account row, and a [`Passage`] row in its place.
//! - Before the directory is switched the source is sealed: it stays frozen over a restart until it is told how it went.
//! - The directory's word decides after a crash: [`Source::leave`] if it says that the account has moved,
//!   [`Source::unseal`] if not.

mod block;
mod drive;
mod source;
mod target;

pub use block::{Block, Rows};
pub use drive::{End, Here, Stand, Stop, run};
pub use source::Source;
pub use target::Target;

use crate::account::Mailboxes;
use crate::error::AccountError;
use crate::limits::LEFT_MILLIS;
use crate::rows::Cursor;
use waypost_base::Timestamp;
use waypost_store::{BlobError, BlobId};

/// Why a step of a move was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MoveError {
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The other server, in its words or ours. Trying again may work.
    #[error("{0}")]
    Peer(String),
    /// It began anew, or somebody else moves it.
    #[error("the account is not held for this move any more")]
    NotFrozen,
    /// Bytes are not those that their name says.
    #[error("the bytes of {0} arrived damaged")]
    Damaged(BlobId),
    /// Both ends were compared, and are not the same.
    #[error("the copy differs from the original in {0} places")]
    Differs(usize),
    #[error("the move was stopped")]
    Stopped,
    /// The directory could not be switched.
    #[error("the account's home could not be changed: {0}")]
    Switch(String),
}

impl MoveError {
    pub fn retry(&self) -> bool {
        match self {
            MoveError::Account(e) => e.retry(),
            MoveError::Peer(_) | MoveError::NotFrozen | MoveError::Differs(_) => true,
            MoveError::Switch(_) | MoveError::Damaged(_) => true,
            MoveError::Stopped => false,
        }
    }
}

impl From<waypost_store::ReadError> for MoveError {
    fn from(e: waypost_store::ReadError) -> MoveError {
        MoveError::Account(e.into())
    }
}

impl From<waypost_store::CommitError> for MoveError {
    fn from(e: waypost_store::CommitError) -> MoveError {
        MoveError::Account(e.into())
    }
}

impl From<BlobError> for MoveError {
    fn from(e: BlobError) -> MoveError {
        MoveError::Account(e.into())
    }
}

/// Where an account is that is not wholly here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// About to leave: here and frozen, until it is known whether it has left.
    Sealed,
    /// On another server. What is left here is never served, and goes after a day.
    Left,
    /// A copy that is not whole.
    Arriving,
}

/// Row 02 of an account: format (1), stage (1), time (8), then the other server's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    pub(crate) state: Stage,
    pub(crate) at: Timestamp,
    pub(crate) other: String,
}

impl Passage {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let stage = match self.state {
            Stage::Sealed => 1,
            Stage::Left => 2,
            Stage::Arriving => 3,
        };
        let mut row = vec![1, stage];
        row.extend_from_slice(&self.at.0.to_be_bytes());
        row.extend_from_slice(self.other.as_bytes());
        row
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Passage> {
        let mut row = Cursor::new(row);
        if row.u8()? != 1 {
            return None;
        }
        let state = match row.u8()? {
            1 => Stage::Sealed,
            2 => Stage::Left,
            3 => Stage::Arriving,
            _ => return None,
        };
        let at = Timestamp(row.u64()?.cast_signed());
        Some(Passage { state, at, other: String::from_utf8(row.rest().to_vec()).ok()? })
    }
}

impl Mailboxes {
    /// Takes away what accounts left behind a day ago. Gives how many.
    pub(crate) async fn sweep_passages(&self, now: Timestamp) -> Result<u64, AccountError> {
        let mut swept = 0;
        for (id, passage) in self.passages().await? {
            if passage.state == Stage::Left && now.since(passage.at) > LEFT_MILLIS {
                self.erase_account(id).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }
}
