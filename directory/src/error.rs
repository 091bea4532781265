//! Why a change was not made, and why the directory did not open.

use thiserror::Error;
use waypost_store::{CommitError, ReadError};

/// Why a change was not made. Nothing of it has happened, except where the store says that it does not know.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChangeError {
    #[error("there is no {what} {name:?}")]
    NotFound { what: &'static str, name: String },
    /// Names and addresses belong to one owner.
    #[error("{what} {name:?} belongs to {owner} already")]
    Exists { what: &'static str, name: String, owner: String },
    #[error("{field}: {why}")]
    Invalid { field: &'static str, why: String },
    #[error("{what} is still in use by {by}")]
    InUse { what: String, by: String },
    /// Somebody else changed the same thing. The directory was read again; try again.
    #[error("somebody else changed it at the same time; try again")]
    Conflict,
    /// This server has a copy only.
    #[error("the directory is changed on the server that keeps it, {0}, and this one has a copy")]
    Copy(String),
    #[error(transparent)]
    Store(#[from] CommitError),
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Too many passwords are being hashed. Retry.
    #[error("too much is going on; try again")]
    Busy,
}

impl ChangeError {
    pub(crate) fn invalid(field: &'static str, why: impl ToString) -> ChangeError {
        ChangeError::Invalid { field, why: why.to_string() }
    }

    pub(crate) fn missing(what: &'static str, name: impl ToString) -> ChangeError {
        ChangeError::NotFound { what, name: name.to_string() }
    }

    /// Whether the same call may succeed later.
    pub fn retry(&self) -> bool {
        match self {
            ChangeError::Conflict | ChangeError::Busy => true,
            ChangeError::Store(e) => e.retry(),
            ChangeError::Read(ReadError::Unavailable(_)) => true,
            _ => false,
        }
    }
}

/// Why the directory did not open.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] CommitError),
    /// Rows that cannot be read. They are named; nobody guesses what stood in them.
    #[error("damaged directory row {key}: {why}")]
    Damaged { key: String, why: String },
}
