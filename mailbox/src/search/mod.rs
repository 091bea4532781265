//! SEARCH, SORT and THREAD over a session's folder (RFC 9051 §6.4.4, RFC 5256, RFC 5032, RFC 8474).
//!
//! A query is asked of each message three times at most: with its row, with its summary, with its bytes. Each time it says
//! yes, no, or that it needs more, so only messages whose fate hangs on their bytes are read. Pages give way to other
//! tasks, and bytes are looked through on blocking threads, two searches at a time.

mod evaluate;
mod order;

use crate::account::Account;
use crate::body::MessageBody;
use crate::error::AccountError;
use crate::flags::Flags;
use crate::limits::{BODY_PAGE, SEARCH_WORKERS, SUMMARY_PAGE};
use crate::message::Stored;
use crate::session::Session;
use crate::uidset::UidSet;
use crate::view::Row;
use evaluate::{Bytes, Prepared};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use thiserror::Error;
use tokio::task::JoinSet;
use waypost_base::{MessageId, ThreadId};

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
        self.0.store(true, Relaxed);
    }

    fn check(&self) -> Result<(), SearchError> {
        if self.0.load(Relaxed) { Err(SearchError::Cancelled) } else { Ok(()) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SearchError {
    #[error("cancelled")]
    Cancelled,
    #[error(transparent)]
    Account(#[from] AccountError),
}

/// Rows looked at before other tasks get their turn.
const ROW_PAGE: usize = 8192;

/// A message and its sequence number.
type Numbered = (u32, Row);

impl Account {
    /// The messages of the session that match, as sequence number and UID, ascending. Damaged messages match nothing
    /// that would need their damaged part.
    pub async fn search(
        &self,
        session: &Session,
        query: &Query,
        cancel: &Cancel,
    ) -> Result<Vec<(u32, u32)>, SearchError> {
        let found = self.find(session, query, cancel).await?;
        Ok(found.into_iter().map(|(seq, row)| (seq, row.uid)).collect())
    }

    async fn find(
        &self,
        session: &Session,
        query: &Query,
        cancel: &Cancel,
    ) -> Result<Vec<Numbered>, SearchError> {
        self.state.core.figures.searches.one();
        let prepared = Arc::new(Prepared::new(query, &self.keywords(), self.state.core.clock.now()));
        let mut found = Vec::new();
        let mut open = Vec::new();
        // One page after the other, so that a session on a huge folder does not hold the others up.
        let mut next = 1;
        loop {
            let mut seen = 0;
            for (seq, row) in session.rows(next, u32::MAX).take(ROW_PAGE) {
                match prepared.row(seq, &row) {
                    Some(true) => found.push((seq, row)),
                    Some(false) => {}
                    None => open.push((seq, row)),
                }
                seen += 1;
                next = seq + 1;
            }
            cancel.check()?;
            if seen < ROW_PAGE {
                break;
            }
            tokio::task::yield_now().await;
        }
        if !open.is_empty() {
            self.find_in_summaries(&prepared, open, &mut found, cancel).await?;
            found.sort_unstable_by_key(|(seq, _)| *seq);
        }
        Ok(found)
    }

    /// Two pages are under way at the same time, so that one is looked through while the other is read.
    async fn find_in_summaries(
        &self,
        prepared: &Arc<Prepared>,
        open: Vec<Numbered>,
        found: &mut Vec<Numbered>,
        cancel: &Cancel,
    ) -> Result<(), SearchError> {
        let mut pages = JoinSet::new();
        for page in open.chunks(SUMMARY_PAGE) {
            if pages.len() >= SEARCH_WORKERS
                && let Some(done) = pages.join_next().await
            {
                found.extend(finished(done)?);
            }
            cancel.check()?;
            let (account, prepared, cancel) = (self.clone(), prepared.clone(), cancel.clone());
            let page = page.to_vec();
            pages.spawn(async move { account.find_in_page(&prepared, page, &cancel).await });
        }
        while let Some(done) = pages.join_next().await {
            found.extend(finished(done)?);
        }
        cancel.check()
    }

    async fn find_in_page(
        &self,
        prepared: &Arc<Prepared>,
        page: Vec<Numbered>,
        cancel: &Cancel,
    ) -> Result<Vec<Numbered>, SearchError> {
        let ids: Vec<MessageId> = page.iter().map(|(_, row)| row.message).collect();
        let summaries = self.summaries(&ids).await;
        let mut found = Vec::new();
        let mut undecided: Vec<(Numbered, Stored)> = Vec::new();
        for (numbered, stored) in page.iter().zip(summaries) {
            let Ok(stored) = stored else { continue };
            match prepared.summary(numbered.0, &numbered.1, &stored) {
                Some(true) => found.push(*numbered),
                Some(false) => {}
                None => undecided.push((*numbered, stored)),
            }
        }
        while !undecided.is_empty() {
            cancel.check()?;
            let rest = undecided.split_off(undecided.len().min(BODY_PAGE));
            found.extend(self.find_in_bodies(prepared, undecided, cancel).await?);
            undecided = rest;
        }
        Ok(found)
    }

    /// Looks through the bytes of a page of messages, on a blocking thread.
    async fn find_in_bodies(
        &self,
        prepared: &Arc<Prepared>,
        page: Vec<(Numbered, Stored)>,
        cancel: &Cancel,
    ) -> Result<Vec<Numbered>, SearchError> {
        let ids: Vec<MessageId> = page.iter().map(|(_, stored)| stored.id).collect();
        // A closed semaphore cannot be: nobody closes it.
        let Ok(_worker) = self.state.core.searching.acquire().await else { return Ok(Vec::new()) };
        let bodies = self.bodies(&ids).await;
        let (prepared, account, cancel) = (prepared.clone(), self.clone(), cancel.clone());
        let runtime = tokio::runtime::Handle::current();
        let look = move || {
            let mut found = Vec::new();
            for ((numbered, stored), body) in page.into_iter().zip(bodies) {
                let Ok(body) = body else { continue };
                if cancel.check().is_err() {
                    break;
                }
                let bytes = Bytes { account: &account, body: &body, runtime: &runtime };
                if prepared.bytes(numbered.0, &numbered.1, &stored, &bytes) {
                    found.push(numbered);
                }
            }
            found
        };
        Ok(tokio::task::spawn_blocking(look).await.unwrap_or_else(|e| {
            tracing::error!(error = %e, "a search worker failed");
            Vec::new()
        }))
    }
}

/// The answer of a page's task.
fn finished<T>(done: Result<Result<T, SearchError>, tokio::task::JoinError>) -> Result<T, SearchError> {
    // A task that ended otherwise was stopped together with the runtime, or panicked, which is counted elsewhere.
    done.unwrap_or(Err(SearchError::Cancelled))
}

/// The bytes of a small message; None of a large one.
fn whole(body: &MessageBody) -> Option<&[u8]> {
    match body {
        MessageBody::Small(bytes) => Some(bytes),
        MessageBody::Large(_) => None,
    }
}
