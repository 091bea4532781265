//! The threads that read, each with its own read-only connection and a small cache. They start when there is work
//! for them, so an idle server has none.

use super::row::{self, Stored};
use super::shared::Shared;
use crate::batch::Key;
use crate::engine::Page;
use crate::error::ReadError;
use bytes::Bytes;
use rusqlite::{Connection, OpenFlags, Statement};
use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// Most requests that wait; beyond, reads are refused rather than piled up.
const WAITING: usize = 65_536;

pub(super) enum Request {
    Get {
        keys: Vec<Key>,
        reply: oneshot::Sender<Result<Vec<Option<Bytes>>, ReadError>>,
    },
    Scan {
        range: Range<Key>,
        rev: bool,
        max_rows: usize,
        max_bytes: usize,
        reply: oneshot::Sender<Result<Page, ReadError>>,
    },
}

pub(super) fn gone() -> ReadError {
    ReadError::Unavailable("the reader went away".into())
}

pub(super) struct Readers {
    pool: Arc<Pool>,
    most: usize,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Pool {
    path: PathBuf,
    shared: Arc<Shared>,
    line: Mutex<Line>,
    work: Condvar,
}

#[derive(Default)]
struct Line {
    requests: VecDeque<Request>,
    idle: usize,
    closed: bool,
}

impl Pool {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readers {
    pub fn new(path: PathBuf, shared: Arc<Shared>, most: usize) -> Readers {
        let pool = Arc::new(Pool { path, shared, line: Mutex::default(), work: Condvar::new() });
        Readers { pool, most: most.max(1), threads: Mutex::default() }
    }

    pub fn path(&self) -> &Path {
        &self.pool.path
    }

    pub fn ask(&self, request: Request) -> Result<(), ReadError> {
        if self.pool.shared.is_closed() {
            return Err(ReadError::Unavailable("the store is closed".into()));
        }
        let mut line = self.pool.line();
        if line.closed || line.requests.len() >= WAITING {
            return Err(ReadError::Unavailable("too many reads wait".into()));
        }
        line.requests.push_back(request);
        let short = line.requests.len() > line.idle;
        drop(line);
        if short {
            self.grow()?;
        }
        self.pool.work.notify_one();
        Ok(())
    }

    fn grow(&self) -> Result<(), ReadError> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if threads.len() >= self.most {
            return Ok(());
        }
        let pool = self.pool.clone();
        let name = format!("store-read-{}", threads.len());
        match std::thread::Builder::new().name(name).spawn(move || run(&pool)) {
            Ok(thread) => threads.push(thread),
            // Another reader will do it, if there is one.
            Err(e) if threads.is_empty() => return Err(ReadError::Unavailable(e.to_string())),
            Err(_) => {}
        }
        Ok(())
    }

    /// Tells the threads to end once nothing waits.
    pub fn end(&self) -> Vec<JoinHandle<()>> {
        self.pool.line().closed = true;
        self.pool.work.notify_all();
        std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A connection that cannot write.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(Duration::from_secs(5))?;
    conn.pragma_update(None, "cache_size", -2048)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(conn)
}

fn run(pool: &Pool) {
    let conn = connect(&pool.path);
    let opened = match &conn {
        Ok(conn) => Reader::new(conn, &pool.shared),
        Err(e) => Err(rusqlite::Error::InvalidParameterName(e.to_string())),
    };
    match opened {
        Ok(mut reader) => work(pool, |request| reader.serve(request)),
        Err(error) => {
            let text = format!("opening a reader: {error}");
            work(pool, |request| request.refuse(&text));
        }
    }
}

fn work(pool: &Pool, mut serve: impl FnMut(Request)) {
    loop {
        let mut line = pool.line();
        let request = loop {
            if let Some(request) = line.requests.pop_front() {
                break request;
            }
            if line.closed {
                return;
            }
            line.idle += 1;
            line = pool.work.wait(line).unwrap_or_else(PoisonError::into_inner);
            line.idle -= 1;
        };
        drop(line);
        serve(request);
    }
}

impl Request {
    fn refuse(self, text: &str) {
        let error = ReadError::Unavailable(text.to_owned());
        // Whoever no longer listens has chosen so.
        match self {
            Request::Get { reply, .. } => drop(reply.send(Err(error))),
            Request::Scan { reply, .. } => drop(reply.send(Err(error))),
        }
    }
}

struct Reader<'c> {
    shared: &'c Shared,
    begin: Statement<'c>,
    end: Statement<'c>,
    get: Statement<'c>,
    big: Statement<'c>,
    forward: Statement<'c>,
    backward: Statement<'c>,
}

impl<'c> Reader<'c> {
    fn new(conn: &'c Connection, shared: &'c Shared) -> rusqlite::Result<Reader<'c>> {
        Ok(Reader {
            shared,
            begin: conn.prepare("BEGIN")?,
            end: conn.prepare("COMMIT")?,
            get: conn.prepare("SELECT v FROM kv WHERE k = ?1")?,
            big: conn.prepare("SELECT v FROM big WHERE id = ?1")?,
            forward: conn.prepare("SELECT k, v FROM kv WHERE k >= ?1 AND k < ?2 ORDER BY k")?,
            backward: conn.prepare("SELECT k, v FROM kv WHERE k >= ?1 AND k < ?2 ORDER BY k DESC")?,
        })
    }

    fn serve(&mut self, request: Request) {
        self.shared.figures.reads.one();
        match request {
            Request::Get { keys, reply } => {
                let found = self.snapshot(|r| keys.iter().map(|key| r.get_one(key)).collect());
                drop(reply.send(found));
            }
            Request::Scan { range, rev, max_rows, max_bytes, reply } => {
                let page = self.snapshot(|r| r.scan(range, rev, max_rows, max_bytes).map_err(unavailable));
                drop(reply.send(page));
            }
        }
    }

    /// One transaction: all that is read in it is as of one moment.
    fn snapshot<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, ReadError>) -> Result<T, ReadError> {
        if self.begin.execute([]).is_err() {
            // An earlier one could not be ended; without this the reader would be stuck in it.
            let _ = self.end.execute([]);
            self.begin.execute([]).map_err(unavailable)?;
        }
        let found = read(self);
        self.end.execute([]).map_err(unavailable)?;
        found
    }

    fn get_one(&mut self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let mut rows = self.get.query([key]).map_err(unavailable)?;
        let Some(row) = rows.next().map_err(unavailable)? else { return Ok(None) };
        let stored = row.get_ref(0).map_err(unavailable)?.as_blob().unwrap_or_default();
        let mut found = None;
        show(self.shared, &mut self.big, key, stored, |value| found = Some(Bytes::copy_from_slice(value)))
            .map_err(unavailable)?;
        found.map(Some).ok_or_else(|| ReadError::Corrupt(key.to_vec()))
    }

    fn scan(
        &mut self,
        range: Range<Key>,
        rev: bool,
        max_rows: usize,
        max_bytes: usize,
    ) -> rusqlite::Result<Page> {
        let statement = if rev { &mut self.backward } else { &mut self.forward };
        let mut rows = statement.query((&range.start, &range.end))?;
        let mut page = Page::default();
        while let Some(row) = rows.next()? {
            let key = row.get_ref(0)?.as_blob().unwrap_or_default();
            if page.len() + page.corrupt.len() >= max_rows || page.size() >= max_bytes {
                page.next = Some(crate::engine::rest(&range, key, rev));
                break;
            }
            let stored = row.get_ref(1)?.as_blob().unwrap_or_default();
            if !show(self.shared, &mut self.big, key, stored, |value| page.push(key, value))? {
                page.corrupt.push(key.to_vec());
            }
        }
        Ok(page)
    }
}

/// Shows the value of a row, wherever it lies. `false` if it is damaged, which has been noted then.
fn show(
    shared: &Shared,
    big: &mut Statement<'_>,
    key: &[u8],
    stored: &[u8],
    show: impl FnOnce(&[u8]),
) -> rusqlite::Result<bool> {
    match row::unseal(key, stored) {
        Some(Stored::Value(value)) => {
            show(value);
            return Ok(true);
        }
        Some(Stored::Big { id, len }) => {
            let mut rows = big.query([id])?;
            let stored = match rows.next()? {
                Some(row) => row.get_ref(0)?.as_blob().unwrap_or_default(),
                None => &[],
            };
            if let Some(value) = row::unseal_big(key, stored, len) {
                show(value);
                return Ok(true);
            }
            shared.corrupt(key, stored);
        }
        None => shared.corrupt(key, stored),
    }
    Ok(false)
}

fn unavailable(error: rusqlite::Error) -> ReadError {
    ReadError::Unavailable(error.to_string())
}
