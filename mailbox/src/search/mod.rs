//! SEARCH, SORT and THREAD over a session's folder (RFC 9051 §6.4.4, RFC 5256, RFC 5032, RFC 8474).

use crate::account::Account;
use crate::error::AccountError;
use crate::flags::Flags;
use crate::session::Session;
use crate::uidset::UidSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use thiserror::Error;
use waypost_base::{MessageId, ThreadId};
use waypost_mime::thread::Thread;

/// A search as a tree. Strings are UTF-8; days are days since 1970-01-01 in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    All,
    And(Vec<Query>),
    Or(Box<Query>, Box<Query>),
    Not(Box<Query>),
    /// Sequence numbers of the session, `*` already replaced.
    Seqs(UidSet),
    Uids(UidSet),
    Has(Flags),
    Lacks(Flags),
    /// By name; a keyword that the account does not know matches nothing.
    Keyword(String),
    Unkeyword(String),
    /// Internal date's day: before, on, since.
    Before(i64),
    On(i64),
    Since(i64),
    SentBefore(i64),
    SentOn(i64),
    SentSince(i64),
    SavedBefore(i64),
    SavedOn(i64),
    SavedSince(i64),
    /// RFC 5032: internal date at least / less than so many seconds ago.
    Older(u32),
    Younger(u32),
    Larger(u64),
    Smaller(u64),
    /// RFC 7162: modseq at least.
    Modseq(u64),
    Subject(String),
    From(String),
    To(String),
    Cc(String),
    Bcc(String),
    /// Field name and substring; an empty substring asks whether the field is there.
    Header(String, String),
    Body(String),
    Text(String),
    EmailId(MessageId),
    ThreadId(ThreadId),
}

/// RFC 5256 §3, RFC 5957.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortKey {
    Arrival,
    Cc,
    Date,
    DisplayFrom,
    DisplayTo,
    From,
    Size,
    Subject,
    To,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortOrder {
    pub key: SortKey,
    pub reverse: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadKind {
    References,
    OrderedSubject,
}

/// Stops a search: set it when the client has gone.
#[derive(Clone, Debug, Default)]
pub struct Cancel(pub(crate) Arc<AtomicBool>);

impl Cancel {
    pub fn new() -> Cancel {
        Cancel::default()
    }

    pub fn cancel(&self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SearchError {
    #[error("cancelled")]
    Cancelled,
    #[error(transparent)]
    Account(#[from] AccountError),
}

impl Account {
    /// The messages of the session that match, as sequence number and UID, ascending. Damaged messages match nothing
    /// that would need their damaged part.
    pub async fn search(
        &self,
        session: &Session,
        query: &Query,
        cancel: &Cancel,
    ) -> Result<Vec<(u32, u32)>, SearchError> {
        let _ = (session, query, cancel);
        todo!()
    }

    /// The same in the order asked for.
    pub async fn sort(
        &self,
        session: &Session,
        query: &Query,
        order: &[SortOrder],
        cancel: &Cancel,
    ) -> Result<Vec<(u32, u32)>, SearchError> {
        let _ = (session, query, order, cancel);
        todo!()
    }

    /// The same as threads of sequence numbers, or of UIDs.
    pub async fn thread(
        &self,
        session: &Session,
        query: &Query,
        kind: ThreadKind,
        by_uid: bool,
        cancel: &Cancel,
    ) -> Result<Vec<Thread>, SearchError> {
        let _ = (session, query, kind, by_uid, cancel);
        todo!()
    }
}
