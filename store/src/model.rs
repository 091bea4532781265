//! The in-memory engine: a `BTreeMap` behind a lock, written for clarity. It is the oracle that the others are
//! compared with, and the engine of other rooms' tests. Everything happens inside the call, so it works in paused
//! virtual time.

use crate::batch::{Batch, Committed, Expect, Key, Op};
use crate::engine::{BackupInfo, Engine, Health, Limits, Page, Pending};
use crate::error::{BackupError, CommitError, ReadError};
use crate::limits::{GET_KEYS, KEY_BYTES, PAGE_BYTES, PAGE_ROWS, TOKEN_MILLIS};
use crate::verify::Report;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use waypost_base::metrics::Figure;
use waypost_base::{Clock, Timestamp};

type Rows = BTreeMap<Key, Vec<u8>>;

/// See the module.
pub struct Model {
    clock: Clock,
    state: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    rows: Rows,
    tokens: BTreeMap<[u8; 16], (Timestamp, Vec<u64>)>,
    read_only: Option<String>,
    full: Option<String>,
    closed: bool,
}

impl Model {
    pub fn new(clock: Clock) -> Model {
        Model { clock, state: Mutex::default() }
    }

    /// A copy with the same rows and tokens: what a restart would find.
    pub fn copy(&self) -> Model {
        let state = self.lock();
        let copy = Inner { rows: state.rows.clone(), tokens: state.tokens.clone(), ..Inner::default() };
        Model { clock: self.clock.clone(), state: Mutex::new(copy) }
    }

    /// From now on every commit is refused as after an I/O error, until `None`.
    pub fn set_read_only(&self, reason: Option<&str>) {
        self.lock().read_only = reason.map(str::to_owned);
    }

    /// From now on every commit that could grow the store is refused as on a full disk, until `None`.
    pub fn set_full(&self, reason: Option<&str>) {
        self.lock().full = reason.map(str::to_owned);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, batch: Batch) -> Result<Committed, CommitError> {
        batch.check()?;
        let now = self.clock.now();
        let mut state = self.lock();
        if state.closed {
            return Err(CommitError::ReadOnly("closed".into()));
        }
        if let Some(reason) = &state.read_only {
            return Err(CommitError::ReadOnly(reason.clone()));
        }
        if let Some(reason) = state.full.as_ref().filter(|_| batch.grows()) {
            return Err(CommitError::Full(reason.clone()));
        }
        if let Some((_, allocated)) = batch.token.and_then(|t| state.tokens.get(&t)) {
            return Ok(Committed { allocated: allocated.clone(), replayed: true });
        }
        check_expects(&state.rows, &batch)?;
        // Work on what changes only, so that a batch that fails on the way leaves nothing behind.
        let mut changes = Changes { rows: &state.rows, new: BTreeMap::new() };
        let allocated = allocate(&mut changes, &batch)?;
        for op in batch.ops {
            changes.apply(op, &allocated)?;
        }
        for (key, value) in changes.new {
            match value {
                Some(value) => state.rows.insert(key, value),
                None => state.rows.remove(&key),
            };
        }
        if let Some(token) = batch.token {
            state.tokens.retain(|_, (at, _)| now.since(*at) < 2 * TOKEN_MILLIS);
            state.tokens.insert(token, (now, allocated.clone()));
        }
        Ok(Committed { allocated, replayed: false })
    }
}

struct Changes<'a> {
    rows: &'a Rows,
    new: BTreeMap<Key, Option<Vec<u8>>>,
}

impl Changes<'_> {
    fn get(&self, key: &[u8]) -> Option<&Vec<u8>> {
        match self.new.get(key) {
            Some(value) => value.as_ref(),
            None => self.rows.get(key),
        }
    }

    fn counter(&self, key: &[u8]) -> Result<[u8; 8], CommitError> {
        match self.get(key) {
            None => Ok([0; 8]),
            Some(v) => v[..].try_into().map_err(|_| CommitError::Invalid("not a counter row")),
        }
    }

    fn apply(&mut self, op: Op, allocated: &[u64]) -> Result<(), CommitError> {
        match op {
            Op::Put(key, value) => {
                self.new.insert(key.fill(allocated)?, Some(value.fill(allocated)?));
            }
            Op::Del(key) => {
                self.new.insert(key, None);
            }
            Op::DelRange(from, to) => {
                if from < to {
                    let mut gone: Vec<Key> =
                        self.rows.range(from.clone()..to.clone()).map(|(k, _)| k.clone()).collect();
                    gone.extend(self.new.range(from..to).map(|(k, _)| k.clone()));
                    self.new.extend(gone.into_iter().map(|k| (k, None)));
                }
            }
            Op::Add(key, amount) => {
                let sum = i64::from_be_bytes(self.counter(&key)?).checked_add(amount);
                let sum = sum.ok_or(CommitError::Exhausted)?;
                self.new.insert(key, Some(sum.to_be_bytes().to_vec()));
            }
        }
        Ok(())
    }
}

fn allocate(changes: &mut Changes<'_>, batch: &Batch) -> Result<Vec<u64>, CommitError> {
    let mut allocated = Vec::with_capacity(batch.alloc.len());
    for (key, count) in &batch.alloc {
        let old = u64::from_be_bytes(changes.counter(key)?);
        let new = old.checked_add(u64::from(*count)).ok_or(CommitError::Exhausted)?;
        allocated.push(old.checked_add(1).ok_or(CommitError::Exhausted)?);
        changes.new.insert(key.clone(), Some(new.to_be_bytes().to_vec()));
    }
    Ok(allocated)
}

fn check_expects(rows: &Rows, batch: &Batch) -> Result<(), CommitError> {
    let holds = |key: &Key, expect: &Expect| match (expect, rows.get(key)) {
        (Expect::Absent, found) => found.is_none(),
        (Expect::Present, found) => found.is_some(),
        (Expect::Version(version), Some(value)) => value.starts_with(&version.to_be_bytes()),
        (Expect::Value(expected), Some(value)) => expected == value,
        (Expect::Version(_) | Expect::Value(_), None) => false,
    };
    let failed: Vec<Key> =
        batch.expect.iter().filter(|(k, e)| !holds(k, e)).map(|(k, _)| k.clone()).collect();
    if failed.is_empty() { Ok(()) } else { Err(CommitError::Conflict(failed)) }
}

#[async_trait::async_trait]
impl Engine for Model {
    async fn get(&self, keys: Vec<Key>) -> Result<Vec<Option<Bytes>>, ReadError> {
        if keys.len() > GET_KEYS || keys.iter().any(|k| k.len() > KEY_BYTES) {
            return Err(ReadError::TooLarge);
        }
        let state = self.lock();
        if state.closed {
            return Err(ReadError::Unavailable("closed".into()));
        }
        Ok(keys.iter().map(|k| state.rows.get(k).map(|v| Bytes::copy_from_slice(v))).collect())
    }

    async fn scan(
        &self,
        range: Range<Key>,
        rev: bool,
        max_rows: u32,
        max_bytes: u32,
    ) -> Result<Page, ReadError> {
        let max_rows = max_rows.clamp(1, PAGE_ROWS) as usize;
        let max_bytes = max_bytes.clamp(1, PAGE_BYTES) as usize;
        let state = self.lock();
        if state.closed {
            return Err(ReadError::Unavailable("closed".into()));
        }
        let mut page = Page::default();
        if range.start >= range.end {
            return Ok(page);
        }
        let mut rows = state.rows.range(range.clone());
        while let Some((key, value)) = if rev { rows.next_back() } else { rows.next() } {
            if page.len() >= max_rows || page.size() >= max_bytes {
                page.next = Some(crate::engine::rest(&range, key, rev));
                break;
            }
            page.push(key, value);
        }
        Ok(page)
    }

    fn commit(&self, batch: Batch) -> Pending {
        Pending::ready(self.apply(batch))
    }

    fn commit_chain(&self, batches: Vec<Batch>) -> Pending {
        if let Some(error) = batches.iter().find_map(|b| b.check().err()) {
            return Pending::ready(Err(error));
        }
        let mut answer = Ok(Committed::default());
        for batch in batches {
            answer = self.apply(batch);
            if answer.is_err() {
                break;
            }
        }
        Pending::ready(answer)
    }

    async fn backup(&self, _to: &Path) -> Result<BackupInfo, BackupError> {
        Err(BackupError::Unsupported)
    }

    async fn verify(&self, report: &mut Report) {
        let state = self.lock();
        report.rows += state.rows.len() as u64;
        report.row_bytes += state.rows.iter().map(|(k, v)| (k.len() + v.len()) as u64).sum::<u64>();
    }

    fn limits(&self) -> Limits {
        Limits::ALL
    }

    fn clock(&self) -> Timestamp {
        self.clock.now()
    }

    fn health(&self) -> Health {
        let state = self.lock();
        Health {
            read_only: state.read_only.clone(),
            full: state.full.clone(),
            corrupt: 0,
            closed: state.closed,
        }
    }

    fn figures(&self) -> Vec<Figure> {
        Vec::new()
    }

    async fn close(&self) {
        self.lock().closed = true;
    }
}
