//! What can go wrong, by whose fault, and whether asking again helps.

use thiserror::Error;
use waypost_base::{AccountId, FolderId, MessageId};
use waypost_store::{BlobError, CommitError, ReadError};

/// Why an operation on an account or its messages was not done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AccountError {
    #[error("no account {0}")]
    NoAccount(AccountId),
    #[error("account {0} exists")]
    Exists(AccountId),
    /// Another server holds it, or is about to.
    #[error("the mailbox of account {0} is on another server")]
    Elsewhere(AccountId),
    /// Deleted meanwhile, or never there.
    #[error("no folder {0}")]
    NoFolder(FolderId),
    /// All 64 keyword places of the account are taken (answer `NO [LIMIT]`).
    #[error("the account has {0} keywords, no more fit")]
    KeywordsFull(usize),
    /// Not a keyword: empty, too long, or with characters that an IMAP atom cannot have.
    #[error("{0:?} cannot be a keyword")]
    BadKeyword(String),
    /// A recoverable item that was restored or swept meanwhile.
    #[error("the item is no longer there")]
    ItemGone,
    /// Other writers were faster eight times in a row. Retry.
    #[error("too many conflicts with other writers")]
    Contention,
    /// Chunks before it may have been done: what is in the view is what happened.
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A row of ours that does not decode. The text names it.
    #[error("damaged row: {0}")]
    Damaged(String),
}

impl AccountError {
    /// Whether the same call may succeed later (answer `NO [UNAVAILABLE]`, or a 4xx).
    pub fn retry(&self) -> bool {
        match self {
            AccountError::Contention | AccountError::Elsewhere(_) => true,
            AccountError::Commit(e) => e.retry(),
            AccountError::Read(e) => matches!(e, ReadError::Unavailable(_)),
            AccountError::Blob(e) => e.retry(),
            _ => false,
        }
    }
}

/// Why a message was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DeliverError {
    /// The account's limit of bytes or messages would be passed (552 5.2.2, `NO [OVERQUOTA]`).
    #[error("the account is over its quota")]
    OverQuota,
    /// The folder was deleted meanwhile, or was never there (`NO [TRYCREATE]`).
    #[error("no folder {0}")]
    NoFolder(FolderId),
    #[error(transparent)]
    Account(#[from] AccountError),
}

impl DeliverError {
    /// Whether the same delivery may succeed later (with its token it cannot happen twice).
    pub fn retry(&self) -> bool {
        matches!(self, DeliverError::Account(e) if e.retry())
    }

    /// Whether the disk is full: 452 4.3.1.
    pub fn disk_full(&self) -> bool {
        matches!(
            self,
            DeliverError::Account(
                AccountError::Commit(CommitError::Full(_)) | AccountError::Blob(BlobError::Full(_))
            )
        )
    }
}

impl From<CommitError> for DeliverError {
    fn from(e: CommitError) -> Self {
        DeliverError::Account(e.into())
    }
}

impl From<ReadError> for DeliverError {
    fn from(e: ReadError) -> Self {
        DeliverError::Account(e.into())
    }
}

impl From<BlobError> for DeliverError {
    fn from(e: BlobError) -> Self {
        DeliverError::Account(e.into())
    }
}

/// Why the tree of folders was not changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FolderError {
    /// `NO [ALREADYEXISTS]`
    #[error("the folder exists")]
    Exists,
    /// `NO [NONEXISTENT]`
    #[error("no such folder")]
    NotFound,
    /// `NO [CANNOT]`: empty level, control character, too long, too deep, or a name that is reserved.
    #[error("the name cannot be used: {0}")]
    BadName(&'static str),
    /// `NO [LIMIT]`
    #[error("the account has too many folders")]
    TooMany,
    /// INBOX cannot be deleted; a folder cannot be moved into itself (`NO [CANNOT]`).
    #[error("not possible: {0}")]
    Forbidden(&'static str),
    /// `NO [HASCHILDREN]` is not used: a folder with children becomes a place without messages. This is for deleting
    /// such a place that still has children.
    #[error("the folder has inferior names and no messages of its own")]
    HasChildren,
    /// Another folder has this role (`NO [USEATTR]`).
    #[error("another folder has this role")]
    RoleTaken,
    #[error(transparent)]
    Account(#[from] AccountError),
}

impl From<CommitError> for FolderError {
    fn from(e: CommitError) -> Self {
        FolderError::Account(e.into())
    }
}

impl From<ReadError> for FolderError {
    fn from(e: ReadError) -> Self {
        FolderError::Account(e.into())
    }
}

/// Why one message of many could not be served. The others are.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("message {message}: {kind}")]
pub struct Fault {
    pub message: MessageId,
    pub kind: FaultKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FaultKind {
    /// Expunged for good meanwhile (`NO [EXPUNGEISSUED]`).
    #[error("it is gone")]
    Gone,
    /// A row or bytes of it are damaged. Quarantined: named in [`crate::Account::quarantined`], and not read again.
    #[error("damaged: {0}")]
    Damaged(String),
    /// The store could not be read now. Retry later.
    #[error("unavailable: {0}")]
    Unavailable(String),
}
