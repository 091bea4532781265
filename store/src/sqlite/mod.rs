//! The embedded engine: SQLite as one table of keys and values. One thread commits, in groups under one fsync; a few
//! threads read, each on its own read-only connection. Callers never touch SQLite themselves.
//!
//! After an I/O error of a commit the handle is dead: reads go on, commits are refused. An fsync is never retried.

mod committer;
mod layer;
mod maintain;
mod readers;
mod row;
mod shared;

use crate::batch::{Batch, Key};
use crate::disk::Disk;
use crate::engine::{BackupInfo, Engine, Health, Limits, Page, Pending};
use crate::error::{BackupError, OpenError, ReadError};
use crate::limits::{GET_KEYS, KEY_BYTES, PAGE_BYTES, PAGE_ROWS};
use crate::verify::Report;
use bytes::Bytes;
use readers::{Readers, Request};
use rusqlite::{Connection, OpenFlags};
use shared::Shared;
use std::fs::{File, TryLockError};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;
use waypost_base::metrics::{Figure, Kind};
use waypost_base::{Clock, Timestamp};

/// Format of the store as a whole; see docs/store.md. Raised when an older program could not read it.
pub const FORMAT: u64 = 1;

/// `WPST`, in SQLite's header.
const APPLICATION_ID: i64 = 0x5750_5354;

/// 3.51.3: the first without the WAL-reset bug.
const OLDEST_SQLITE: i32 = 3_051_003;

pub(crate) const DATABASE: &str = "main.db";
const LOCK: &str = "lock";

/// See the module.
pub struct Sqlite {
    shared: Arc<Shared>,
    readers: Readers,
    committer: Mutex<Option<JoinHandle<()>>>,
    lock: Mutex<Option<File>>,
}

/// How to open the engine.
#[derive(Debug)]
pub struct SqliteOptions {
    pub clock: Clock,
    /// Asked for free space and for leave to commit.
    pub disk: Arc<dyn Disk>,
    pub free_floor: u64,
    /// Most reader threads.
    pub readers: usize,
    /// The check value of the organisation's key; a store keeps the first that it was opened with.
    pub key_check: [u8; 32],
}

impl Sqlite {
    /// Opens or makes the database in the existing folder `dir`.
    pub fn open(dir: &Path, options: SqliteOptions) -> Result<Sqlite, OpenError> {
        if rusqlite::version_number() < OLDEST_SQLITE {
            return Err(OpenError::OldSqlite(rusqlite::version()));
        }
        let lock = take_lock(&dir.join(LOCK))?;
        let path = dir.join(DATABASE);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&path, flags)?;
        prepare(&conn, &options.key_check)?;
        crate::disk::sync_dir(dir)?;
        let shared = Arc::new(Shared::new(options.clock, options.disk, options.free_floor));
        let committer = committer::start(conn, shared.clone())?;
        let readers = Readers::new(path, shared.clone(), options.readers);
        Ok(Sqlite { shared, readers, committer: Mutex::new(Some(committer)), lock: Mutex::new(Some(lock)) })
    }

    /// Tells the threads to finish what waits; gives what must be waited for.
    fn shut(&self) -> Ending {
        self.shared.close();
        let mut threads = self.readers.end();
        threads.extend(self.committer.lock().unwrap_or_else(PoisonError::into_inner).take());
        Ending { threads, lock: self.lock.lock().unwrap_or_else(PoisonError::into_inner).take() }
    }
}

/// Threads that are finishing, and the lock that must be held until they have.
struct Ending {
    threads: Vec<JoinHandle<()>>,
    lock: Option<File>,
}

impl Ending {
    fn wait(self) {
        for thread in self.threads {
            // A panic of the thread has been reported by the panic hook already.
            let _ = thread.join();
        }
        if let Some(lock) = self.lock {
            // In so many words: a child process that is just being started may hold a copy of the file.
            let _ = lock.unlock();
        }
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.shut().wait();
    }
}

fn take_lock(path: &Path) -> Result<File, OpenError> {
    let lock = File::options().create(true).truncate(false).write(true).open(path)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked),
        Err(TryLockError::Error(e)) => Err(e.into()),
    }
}

/// Looks whether the database is ours and not newer than we are, then sets it up.
fn prepare(conn: &Connection, key_check: &[u8; 32]) -> Result<(), OpenError> {
    let pragma = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let fresh = tables == 0;
    if !fresh && application != APPLICATION_ID {
        return Err(OpenError::Damaged("main.db is somebody else's database".into()));
    }
    if version > FORMAT as i64 {
        return Err(OpenError::Newer { found: version as u64, known: FORMAT });
    }
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    // Grows with use only: a small store stays small.
    conn.pragma_update(None, "cache_size", -16384)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    // The committer folds the log back itself, between groups.
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    if fresh {
        // One transaction: a crash leaves either no table or all of it.
        conn.execute_batch(&format!(
            "BEGIN IMMEDIATE;
             CREATE TABLE kv(k BLOB PRIMARY KEY NOT NULL, v BLOB NOT NULL) WITHOUT ROWID;
             CREATE TABLE big(id INTEGER PRIMARY KEY NOT NULL, v BLOB NOT NULL);
             CREATE TABLE quarantine(k BLOB PRIMARY KEY NOT NULL, v BLOB NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
             PRAGMA application_id = {APPLICATION_ID};
             PRAGMA user_version = {FORMAT};
             COMMIT"
        ))?;
    }
    engine_row(conn, b"\x7F\0format", &FORMAT.to_be_bytes(), |found| {
        let found = found.try_into().map(u64::from_be_bytes).unwrap_or(u64::MAX);
        (found <= FORMAT).then_some(()).ok_or(OpenError::Newer { found, known: FORMAT })
    })?;
    engine_row(conn, b"\x7F\0key", key_check, |found| {
        (found == key_check).then_some(()).ok_or(OpenError::WrongKey)
    })
}

/// Reads and checks one of the engine's own rows, or writes it if it is not there.
fn engine_row(
    conn: &Connection,
    key: &[u8],
    value: &[u8],
    check: impl FnOnce(&[u8]) -> Result<(), OpenError>,
) -> Result<(), OpenError> {
    use rusqlite::OptionalExtension;
    let stored: Option<Vec<u8>> =
        conn.query_row("SELECT v FROM kv WHERE k = ?1", [key], |row| row.get(0)).optional()?;
    match stored {
        Some(stored) => {
            let found = row::unseal(key, &stored);
            match found {
                Some(row::Stored::Value(value)) => check(value),
                _ => Err(OpenError::Damaged("one of the engine's own rows".into())),
            }
        }
        None => {
            let mut sealed = value.to_vec();
            row::seal(key, &mut sealed);
            conn.execute("INSERT INTO kv(k, v) VALUES(?1, ?2)", (key, sealed))?;
            Ok(())
        }
    }
}

#[async_trait::async_trait]
impl Engine for Sqlite {
    async fn get(&self, keys: Vec<Key>) -> Result<Vec<Option<Bytes>>, ReadError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        if keys.len() > GET_KEYS || keys.iter().any(|k| k.len() > KEY_BYTES) {
            return Err(ReadError::TooLarge);
        }
        let (reply, answer) = oneshot::channel();
        self.readers.ask(Request::Get { keys, reply })?;
        answer.await.unwrap_or_else(|_| Err(readers::gone()))
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
        let (reply, answer) = oneshot::channel();
        self.readers.ask(Request::Scan { range, rev, max_rows, max_bytes, reply })?;
        answer.await.unwrap_or_else(|_| Err(readers::gone()))
    }

    fn commit(&self, batch: Batch) -> Pending {
        self.shared.submit(batch, Vec::new())
    }

    fn commit_chain(&self, mut batches: Vec<Batch>) -> Pending {
        if batches.is_empty() {
            return Pending::ready(Ok(Default::default()));
        }
        let then = batches.split_off(1);
        match batches.pop() {
            Some(first) => self.shared.submit(first, then),
            None => Pending::ready(Ok(Default::default())),
        }
    }

    async fn backup(&self, to: &Path) -> Result<BackupInfo, BackupError> {
        let (from, to) = (self.readers.path().to_owned(), to.join(DATABASE));
        tokio::task::spawn_blocking(move || maintain::backup(&from, &to))
            .await
            .map_err(|_| BackupError::Closed)?
    }

    async fn verify(&self, report: &mut Report) {
        let path = self.readers.path().to_owned();
        let own = std::mem::take(report);
        let done = tokio::task::spawn_blocking(move || maintain::verify(&path, own)).await;
        match done {
            Ok(found) => *report = found,
            Err(_) => report.problem("sqlite", DATABASE, "the check did not finish"),
        }
    }

    fn limits(&self) -> Limits {
        Limits::ALL
    }

    fn clock(&self) -> Timestamp {
        self.shared.clock.now()
    }

    fn health(&self) -> Health {
        self.shared.health()
    }

    fn figures(&self) -> Vec<Figure> {
        let s = &self.shared.figures;
        let counter =
            |name, help, value: u64| Figure { name, help, kind: Kind::Counter, value: value as f64 };
        let gauge = |name, help, value: u64| Figure { name, help, kind: Kind::Gauge, value: value as f64 };
        vec![
            counter("store_batches_total", "Batches committed", s.batches.value()),
            counter("store_groups_total", "Transactions that carried them, one fsync each", s.groups.value()),
            counter(
                "store_conflicts_total",
                "Batches refused because a precondition failed",
                s.conflicts.value(),
            ),
            counter("store_refused_total", "Batches refused for other reasons", s.refused.value()),
            counter("store_rows_written_total", "Rows written or deleted", s.rows.value()),
            counter("store_bytes_written_total", "Bytes of the rows written", s.bytes.value()),
            counter("store_reads_total", "Multi-gets and pages read", s.reads.value()),
            counter(
                "store_checkpoints_total",
                "Times the log was folded into the database",
                s.checkpoints.value(),
            ),
            counter("store_corrupt_rows_total", "Damaged rows met", s.corrupt.value()),
            gauge("store_wal_pages", "Pages in the log", s.wal_pages.value().max(0) as u64),
        ]
    }

    async fn close(&self) {
        let ending = self.shut();
        // Nothing is lost if the runtime ends before: the threads finish by themselves.
        let _ = tokio::task::spawn_blocking(move || ending.wait()).await;
    }
}
