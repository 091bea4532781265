//! Accounts on their way from one server to another, as commands see them.

use crate::run::Answer;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use waypost_base::{AccountId, Timestamp};

/// How far a move is. Exchange: Status of Get-MoveRequest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MoveStatus {
    Queued,
    InProgress,
    /// Frozen: the last of it is copied, and the home is switched.
    CompletionInProgress,
    Completed,
    /// Given up; the account is where it was.
    Failed,
    /// Taken back by Remove-MoveRequest.
    Cancelled,
}

impl MoveStatus {
    /// Nothing more happens by itself.
    pub const fn is_over(self) -> bool {
        matches!(self, MoveStatus::Completed | MoveStatus::Failed | MoveStatus::Cancelled)
    }
}

/// One move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveRequest {
    pub account: AccountId,
    /// The account's primary address when it began.
    pub name: String,
    pub from: String,
    pub to: String,
    pub status: MoveStatus,
    pub by: String,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
    /// Rows of the account, and those known to be the same at the target.
    pub rows: u64,
    pub rows_done: u64,
    pub bytes_copied: u64,
    /// Passes over what differs.
    pub pass: u32,
    /// Milliseconds for which nothing could be written to the mailbox.
    pub frozen_millis: u64,
    /// Why the last attempt did not succeed.
    pub message: Option<String>,
    pub attempts: u32,
}

impl MoveRequest {
    pub fn percent(&self) -> u64 {
        match self.status {
            MoveStatus::Completed => 100,
            _ if self.rows == 0 => 0,
            _ => (self.rows_done.saturating_mul(95) / self.rows).min(95),
        }
    }
}

/// The mover of the server that keeps the directory.
pub trait Moves: Send + Sync {
    /// Begins a move, which goes on by itself, also after a restart. An account that is on its way already stays on it.
    fn begin(&self, account: AccountId, to: String, by: String) -> Answer<'_, watch::Receiver<MoveRequest>>;

    /// Every move that is known.
    fn list(&self) -> Vec<MoveRequest>;

    /// Stops a move, if it can still be stopped, and forgets it.
    fn remove(&self, account: AccountId) -> Answer<'_, ()>;
}
