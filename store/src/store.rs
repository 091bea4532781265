//! The handle that rooms above use: an engine, the message bytes, and what both count.

use crate::batch::{Batch, Committed, Key};
use crate::blob::{Blob, BlobOptions, Blobs, Holder};
use crate::disk::{self, Disk, Memory, Real};
use crate::engine::{BackupInfo, Engine, Health, Page, Pending};
use crate::error::{BackupError, CommitError, OpenError, ReadError};
use crate::limits;
use crate::model::Model;
use crate::sqlite::{self, Sqlite, SqliteOptions};
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
    /// A segment is closed beyond this; smaller only in tests.
    pub segment_bytes: u64,
    /// Whom the engine asks for free space and for leave to commit, instead of the real disk: for tests of faults.
    pub gate: Option<Arc<dyn Disk>>,
}

impl Options {
    pub fn new(key: [u8; 32], clock: Clock) -> Options {
        let (free_floor, segment_bytes) = (limits::FREE_FLOOR, limits::SEGMENT_BYTES);
        Options { key, clock, free_floor, readers: 3, segment_bytes, gate: None }
    }
}

/// An open store. Cheap to clone; all clones are the same store.
#[derive(Clone)]
pub struct Store {
    engine: Arc<dyn Engine>,
    blobs: Blobs,
    /// Where it lies; `None` in memory.
    dir: Option<Arc<Path>>,
}

/// Says what the folder is and which program can read it: `waypost store 1`.
const FORMAT_FILE: &str = "format";
const SEGMENTS: &str = "segments";

impl Store {
    /// Opens the store in the folder `dir`, or makes a new one there. Blocks for as long as the disk takes, so call
    /// it before serving. Only one process can have a store open.
    pub fn open(dir: &Path, options: Options) -> Result<Store, OpenError> {
        let real: Arc<dyn Disk> = Arc::new(Real::new(dir)?);
        let known = read_format(dir)?;
        let engine = Sqlite::open(
            dir,
            SqliteOptions {
                clock: options.clock.clone(),
                disk: options.gate.clone().unwrap_or(real),
                free_floor: options.free_floor,
                readers: options.readers,
                key_check: key_check(&options.key),
            },
        )?;
        let segments = Arc::new(Real::new(&dir.join(SEGMENTS))?);
        let mut store = Store::assemble(Arc::new(engine), segments, options)?;
        if !known {
            write_format(dir)?;
        }
        store.dir = Some(dir.into());
        Ok(store)
    }

    /// An empty store in memory, for tests: its clock stands at the epoch. Nothing in it needs a runtime's threads
    /// or real time.
    pub fn memory() -> Store {
        Store::memory_with(Options::new([7; 32], Clock::fixed(Timestamp(0))))
    }

    /// The same with other options.
    pub fn memory_with(options: Options) -> Store {
        let engine: Arc<dyn Engine> = Arc::new(Model::new(options.clock.clone()));
        let opened = Store::assemble(engine, Arc::new(Memory::default()), options);
        opened.expect("an empty folder in memory can always be opened")
    }

    /// A store of any engine and any disk.
    pub fn assemble(
        engine: Arc<dyn Engine>,
        segments: Arc<dyn Disk>,
        options: Options,
    ) -> Result<Store, OpenError> {
        let Options { key, clock, free_floor, segment_bytes, .. } = options;
        let options = BlobOptions { key, clock, free_floor, segment_bytes };
        let blobs = Blobs::open(engine.clone(), segments, options)?;
        Ok(Store { engine, blobs, dir: None })
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
        match self.blobs.read_only() {
            Some(reason) => Pending::ready(Err(CommitError::ReadOnly(reason))),
            None => self.engine.commit(batch),
        }
    }

    /// See [`Engine::commit_chain`].
    pub fn commit_chain(&self, batches: Vec<Batch>) -> Pending {
        match self.blobs.read_only() {
            Some(reason) => Pending::ready(Err(CommitError::ReadOnly(reason))),
            None => self.engine.commit_chain(batches),
        }
    }

    /// Commits `batch`, whose rows refer to these blobs for this holder: the holder's rows first, `batch` only if they
    /// are there, and all of it under one fsync. For inline bytes it is a plain commit.
    pub fn commit_with(&self, blobs: &[&Blob], holder: Holder, batch: Batch) -> Pending {
        if !blobs.iter().any(|blob| blob.is_stored()) {
            return self.commit(batch);
        }
        let mut chain: Vec<Batch> =
            blobs.iter().flat_map(|b| self.blobs.hold_batches(b, &[holder])).collect();
        chain.push(batch);
        self.commit_chain(chain)
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

    /// Whether the store can do its work. Asks the disk for its free space.
    pub fn health(&self) -> Health {
        let mut health = self.engine.health();
        health.read_only = health.read_only.or_else(|| self.blobs.read_only());
        health.corrupt += self.blobs.corrupt();
        health
    }

    pub fn figures(&self) -> Vec<Figure> {
        let mut figures = self.engine.figures();
        figures.extend(self.blobs.figures());
        figures
    }

    /// Looks at everything: rows, chunks, places, the engine's structures, and what `checks` look at. It reads every
    /// byte of the store.
    pub async fn verify(&self, checks: &[&dyn Check]) -> Report {
        let mut report = Report::default();
        self.engine.verify(&mut report).await;
        {
            let _quiet = self.blobs.quiet().await;
            self.blobs.verify(&mut report).await;
        }
        for check in checks {
            check.check(self, &mut report).await;
        }
        report
    }

    /// Copies everything into the empty or new folder `to` while work goes on. The copy is a store, as of one
    /// moment; [`BackupInfo`] counts it. Closed segments are hard links where the file system allows.
    pub async fn backup(&self, to: &Path) -> Result<BackupInfo, BackupError> {
        let Some(dir) = &self.dir else { return Err(BackupError::Unsupported) };
        make_empty(to)?;
        // Rows first: everything that they refer to is in the segments already, and stays while compaction waits.
        let _quiet = self.blobs.quiet().await;
        let mut info = self.engine.backup(to).await?;
        let segments = to.join(SEGMENTS);
        disk::make_dir(&segments)?;
        let (files, bytes) = self.blobs.copy_to(&dir.join(SEGMENTS), &segments).await?;
        info.files += files + 1;
        info.bytes += bytes;
        disk::sync_dir(&segments)?;
        // Last, so that a folder with this file is a whole backup.
        write_format(to)?;
        Ok(info)
    }

    /// Finishes what waits and closes. Later calls are refused.
    pub async fn close(&self) {
        self.blobs.close().await;
        self.engine.close().await;
    }
}

/// Makes a store in the empty or new folder `to` from the backup in `from`, leaving the backup as it is. Blocks.
/// Opening a backup directly works as well, but then it is a backup no more.
pub fn restore(from: &Path, to: &Path) -> Result<BackupInfo, BackupError> {
    if !read_format(from)? {
        return Err(OpenError::Damaged("the folder has no whole backup".into()).into());
    }
    make_empty(to)?;
    let mut info = BackupInfo::default();
    let mut copy = |from: &Path, to: &Path| -> Result<(), BackupError> {
        info.bytes += std::fs::copy(from, to)?;
        info.files += 1;
        Ok(std::fs::File::open(to)?.sync_all()?)
    };
    copy(&from.join(sqlite::DATABASE), &to.join(sqlite::DATABASE))?;
    // A store that was opened, and not closed, has a part of itself in the log.
    let log = format!("{}-wal", sqlite::DATABASE);
    if from.join(&log).exists() {
        copy(&from.join(&log), &to.join(&log))?;
    }
    let segments = to.join(SEGMENTS);
    disk::make_dir(&segments)?;
    for entry in std::fs::read_dir(from.join(SEGMENTS))? {
        let entry = entry?;
        copy(&entry.path(), &segments.join(entry.file_name()))?;
    }
    disk::sync_dir(&segments)?;
    write_format(to)?;
    info.files += 1;
    Ok(info)
}

fn make_empty(dir: &Path) -> Result<(), BackupError> {
    disk::make_dir(dir)?;
    if std::fs::read_dir(dir)?.next().is_some() { Err(BackupError::NotEmpty) } else { Ok(()) }
}

/// Whether the folder says that it is a store; an error if it is one of a newer program.
fn read_format(dir: &Path) -> Result<bool, OpenError> {
    let text = match std::fs::read_to_string(dir.join(FORMAT_FILE)) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e.into()),
    };
    let number = text.trim_end().strip_prefix("waypost store ").and_then(|n| n.parse::<u64>().ok());
    match number {
        Some(found) if found > sqlite::FORMAT => Err(OpenError::Newer { found, known: sqlite::FORMAT }),
        Some(_) => Ok(true),
        // Torn while the store was made: nothing has been promised then, and it is written again.
        None if text.len() < 16 && "waypost store 1".starts_with(text.trim_end()) => Ok(false),
        None => Err(OpenError::Damaged("the file `format` is not ours".into())),
    }
}

fn write_format(dir: &Path) -> std::io::Result<()> {
    use std::io::Write;
    let mut file = std::fs::File::create(dir.join(FORMAT_FILE))?;
    writeln!(file, "waypost store {}", sqlite::FORMAT)?;
    file.sync_all()?;
    disk::sync_dir(dir)
}

/// What the store keeps of the organisation's key: enough to know it again, useless to anybody else.
fn key_check(key: &[u8; 32]) -> [u8; 32] {
    *blake3::keyed_hash(key, b"waypost store key").as_bytes()
}
