//! The engine: an ordered key-value store with atomic, declarative batches. SQLite and the in-memory model are its
//! two bodies here; PostgreSQL will be the next. There are no interactive transactions, on purpose.

use crate::batch::{Batch, Committed, Key};
use crate::error::{BackupError, CommitError, ReadError};
use crate::verify::Report;
use bytes::Bytes;
use std::future::Future;
use std::ops::Range;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use waypost_base::Timestamp;
use waypost_base::metrics::Figure;

/// What every engine does. All reads see every batch whose commit has been answered before they began.
#[async_trait::async_trait]
pub trait Engine: Send + Sync + 'static {
    /// The values of these keys, in their order, from one snapshot. A damaged row fails the call by name.
    async fn get(&self, keys: Vec<Key>) -> Result<Vec<Option<Bytes>>, ReadError>;

    /// A page of the rows in `range`, backwards if `rev`, from one snapshot. Damaged rows are left out and named.
    ///
    /// A page ends after `max_rows` rows or when `max_bytes` are passed (both are capped by
    /// [`PAGE_ROWS`](crate::limits::PAGE_ROWS) and [`PAGE_BYTES`](crate::limits::PAGE_BYTES)). Two pages are not one snapshot.
    async fn scan(
        &self,
        range: Range<Key>,
        rev: bool,
        max_rows: u32,
        max_bytes: u32,
    ) -> Result<Page, ReadError>;

    /// Hands the batch in. It is in line when this returns, before the answer is polled: batches of one caller are
    /// committed in the order of the calls, and several may be under way. `Ok` means atomic **and durable**.
    /// Dropping the answer does not take the batch back.
    fn commit(&self, batch: Batch) -> Pending;

    /// Hands in several batches, each of which is done only if those before it were. The answer is the last one's, or
    /// the first error; what stood before the failing batch is done. They are not one transaction, but the embedded
    /// engine puts them under one fsync. They may be of different partitions.
    fn commit_chain(&self, batches: Vec<Batch>) -> Pending;

    /// Copies everything, as of one moment, into the folder `to`, while work goes on.
    async fn backup(&self, to: &Path) -> Result<BackupInfo, BackupError>;

    /// Looks at every row and at the engine's own structures; adds what it counted and found to the report.
    async fn verify(&self, report: &mut Report);

    fn limits(&self) -> Limits;

    /// The engine's clock, which leases go by.
    fn clock(&self) -> Timestamp;

    fn health(&self) -> Health;

    /// Counters and gauges, for the metrics page.
    fn figures(&self) -> Vec<Figure>;

    /// Finishes what waits, folds the log into the main file and closes. Later calls are refused.
    async fn close(&self);
}

/// An answer that will come. The batch is already in line.
#[must_use = "the batch is committed anyway, but nobody would know whether it succeeded"]
#[derive(Debug)]
pub struct Pending(State);

#[derive(Debug)]
enum State {
    Ready(Option<Result<Committed, CommitError>>),
    Waiting(oneshot::Receiver<Result<Committed, CommitError>>),
    /// Several; the answer is the last one's, or the first error.
    All(Vec<Pending>, Result<Committed, CommitError>),
}

impl Pending {
    /// An answer that is there already.
    pub fn ready(answer: Result<Committed, CommitError>) -> Pending {
        Pending(State::Ready(Some(answer)))
    }

    /// An answer that another task or thread will send.
    pub fn waiting(receiver: oneshot::Receiver<Result<Committed, CommitError>>) -> Pending {
        Pending(State::Waiting(receiver))
    }

    /// All of these together: the first error, if there is one.
    pub(crate) fn all(mut pending: Vec<Pending>) -> Pending {
        match pending.pop() {
            Some(only) if pending.is_empty() => only,
            Some(last) => {
                pending.insert(0, last);
                Pending(State::All(pending, Ok(Committed::default())))
            }
            None => Pending::ready(Ok(Committed::default())),
        }
    }
}

impl Future for Pending {
    type Output = Result<Committed, CommitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let lost = || CommitError::Unknown("the committer went away".into());
        match &mut self.0 {
            State::Ready(answer) => Poll::Ready(answer.take().unwrap_or_else(|| Err(lost()))),
            State::All(pending, answer) => {
                while let Some(next) = pending.last_mut() {
                    let Poll::Ready(got) = Pin::new(next).poll(cx) else { return Poll::Pending };
                    pending.pop();
                    if answer.is_ok() {
                        *answer = got;
                    }
                }
                Poll::Ready(std::mem::replace(answer, Err(lost())))
            }
            State::Waiting(receiver) => {
                Pin::new(receiver).poll(cx).map(|sent| sent.unwrap_or_else(|_| Err(lost())))
            }
        }
    }
}

/// A page of a scan: all its keys and values lie in one buffer, so that a long scan costs few allocations.
#[derive(Clone, Debug, Default)]
pub struct Page {
    bytes: Vec<u8>,
    /// For each row the ends of its key and of its value in `bytes`.
    ends: Vec<(u32, u32)>,
    /// What is left of the range, to be handed to the next scan as it is; `None` at the end.
    pub next: Option<Range<Key>>,
    /// Rows of this page that are damaged and therefore missing from it.
    pub corrupt: Vec<Key>,
}

impl Page {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of keys and values.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The row with this number, as key and value.
    pub fn row(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let &(key_end, value_end) = self.ends.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => self.ends.get(before)?.1,
            None => 0,
        };
        let key = self.bytes.get(start as usize..key_end as usize)?;
        let value = self.bytes.get(key_end as usize..value_end as usize)?;
        Some((key, value))
    }

    /// Keys and values in the order of the scan.
    pub fn rows(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        (0..self.ends.len()).filter_map(|i| self.row(i))
    }

    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len() as u32;
        self.bytes.extend_from_slice(value);
        self.ends.push((key_end, self.bytes.len() as u32));
    }
}

/// What is left of a range when `key` is the first row that a page did not take.
pub(crate) fn rest(range: &Range<Key>, key: &[u8], rev: bool) -> Range<Key> {
    if rev {
        let mut end = key.to_vec();
        end.push(0);
        range.start.clone()..end
    } else {
        key.to_vec()..range.end.clone()
    }
}

/// The bounds that this engine enforces; the same for all engines today (see [`limits`](crate::limits)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub key_bytes: usize,
    pub value_bytes: usize,
    pub batch_bytes: usize,
    pub batch_ops: usize,
    pub page_rows: u32,
    pub page_bytes: u32,
}

impl Limits {
    pub const ALL: Limits = Limits {
        key_bytes: crate::limits::KEY_BYTES,
        value_bytes: crate::limits::VALUE_BYTES,
        batch_bytes: crate::limits::BATCH_BYTES,
        batch_ops: crate::limits::BATCH_OPS,
        page_rows: crate::limits::PAGE_ROWS,
        page_bytes: crate::limits::PAGE_BYTES,
    };
}

/// Whether the store can do its work, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Health {
    /// Set when the handle is dead: an I/O error of a commit or fsync. Reads go on; only opening again helps.
    pub read_only: Option<String>,
    /// Set while the disk is too full to write.
    pub full: Option<String>,
    /// Damaged rows and chunks met since the store was opened.
    pub corrupt: u64,
    pub closed: bool,
}

impl Health {
    /// Whether mail can be taken now.
    pub fn writable(&self) -> bool {
        self.read_only.is_none() && self.full.is_none() && !self.closed
    }
}

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct BackupInfo {
    pub files: u64,
    pub bytes: u64,
}
