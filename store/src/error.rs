//! What can go wrong, by whose fault, and whether asking again helps.

use crate::batch::{Hex, Key};
use std::io;
use thiserror::Error;

/// Why a batch was not done (or, for [`Unknown`](CommitError::Unknown), may have been).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommitError {
    /// These preconditions did not hold. Read again, build a new batch, try again.
    #[error("conflict on {}", keys(.0))]
    Conflict(Vec<Key>),
    /// Over a limit of [`limits`](crate::limits). The caller's fault; never retry.
    #[error("the batch is over a limit of the store")]
    TooLarge,
    /// A batch that contradicts itself, such as a slot without allocation. The caller's fault; never retry.
    #[error("the batch is not well formed: {0}")]
    Invalid(&'static str),
    /// A counter has no more numbers of the asked width (a folder has used up its UIDs).
    #[error("a counter is exhausted")]
    Exhausted,
    /// A row that the batch had to read is damaged. It is quarantined; a batch that only overwrites it will pass.
    #[error("the row {} is damaged", Hex(.0))]
    Corrupt(Key),
    /// More waits for the disk than may wait. Retry later.
    #[error("too much waits to be committed")]
    Busy,
    /// The disk is (nearly) full. Retry when there is room; the store lives on, and deletions pass.
    #[error("the disk is full: {0}")]
    Full(String),
    /// The store has gone read-only after an I/O error, or was closed. Retry after it was opened again.
    #[error("the store is read-only: {0}")]
    ReadOnly(String),
    /// The engine cannot be reached now. Nothing was done; retry.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// Nobody can say whether it happened. Retry with the same token.
    #[error("the outcome of the commit is unknown: {0}")]
    Unknown(String),
}

impl CommitError {
    /// Whether the same batch (with its token) may succeed later without anybody changing it.
    pub fn retry(&self) -> bool {
        matches!(
            self,
            CommitError::Busy
                | CommitError::Full(_)
                | CommitError::ReadOnly(_)
                | CommitError::Unavailable(_)
                | CommitError::Unknown(_)
        )
    }
}

fn keys(keys: &[Key]) -> String {
    let mut text = String::new();
    for (i, key) in keys.iter().take(4).enumerate() {
        if i > 0 {
            text.push_str(", ");
        }
        text.push_str(&Hex(key).to_string());
    }
    if keys.len() > 4 {
        text.push_str(", …");
    }
    text
}

/// Why a read gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The row's checksum does not fit. It is quarantined and counted; other rows are served.
    #[error("the row {} is damaged", Hex(.0))]
    Corrupt(Key),
    /// Over a limit of [`limits`](crate::limits). The caller's fault.
    #[error("the read is over a limit of the store")]
    TooLarge,
    /// The engine cannot be reached, or was closed. Retry later.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
}

/// Why message bytes could not be written or read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BlobError {
    /// Longer than [`BLOB_BYTES`](crate::limits::BLOB_BYTES).
    #[error("the message is larger than the store takes")]
    TooLarge,
    /// The disk is (nearly) full. Retry when there is room.
    #[error("the disk is full: {0}")]
    Full(String),
    /// The segments have gone read-only after an I/O error, or the store was closed.
    #[error("the store is read-only: {0}")]
    ReadOnly(String),
    /// A chunk is damaged: wrong checksum, wrong length, or not where it should be. Named, counted, not served.
    #[error("damaged message bytes in segment {segment} at {offset}: {what}")]
    Corrupt { segment: u32, offset: u64, what: &'static str },
    /// The bytes are not in the store.
    #[error("no such message bytes")]
    Missing,
    /// Reading failed.
    #[error("reading message bytes: {0}")]
    Io(String),
    /// The rows about these bytes could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The rows about these bytes could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl BlobError {
    /// Whether the same call may succeed later.
    pub fn retry(&self) -> bool {
        match self {
            BlobError::Full(_) | BlobError::ReadOnly(_) | BlobError::Io(_) => true,
            BlobError::Read(ReadError::Unavailable(_)) => true,
            BlobError::Commit(e) => e.retry(),
            _ => false,
        }
    }
}

/// Why a store did not open.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Written by a newer version of the program. Nothing was touched.
    #[error("the store has format {found}, this program knows up to {known}")]
    Newer { found: u64, known: u64 },
    /// Another process has it open.
    #[error("the store is in use by another process")]
    Locked,
    /// The organisation's key is not the one that the store was made with.
    #[error("the store belongs to another organisation (its key differs)")]
    WrongKey,
    /// The format row is missing or not readable in a store that has rows.
    #[error("not a store, or damaged beyond opening: {0}")]
    Damaged(String),
    /// The bundled SQLite is older than 3.51.3 (its WAL-reset bug can corrupt).
    #[error("SQLite {0} is too old, 3.51.3 is needed")]
    OldSqlite(&'static str),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// Why a backup or restore did not finish. What it has written so far must not be used.
#[derive(Debug, Error)]
pub enum BackupError {
    /// This engine has its own ways (a database server's tools).
    #[error("this engine has no backup of its own")]
    Unsupported,
    /// The target exists and is not an empty folder.
    #[error("the target folder is not empty")]
    NotEmpty,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the store is closed")]
    Closed,
}
