//! The one thread that writes. It takes what waits, works it out in memory batch by batch, writes the sum of it in one
//! transaction (keys in order, each counter once), waits for the one fsync and then answers everybody.

use super::layer::{Change, Layer};
use super::row::{self, Stored};
use super::shared::{Answer, Job, Reply, Shared, Work};
use crate::batch::{Batch, Committed, Expect, Key, Op};
use crate::disk;
use crate::error::CommitError;
use crate::limits::TOKEN_MILLIS;
use rusqlite::{Connection, ErrorCode, Statement};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Pages in the log (4 KiB each) at which it is folded into the database between two groups. Large, so that a page
/// that is written again and again is copied once.
const FOLD_PAGES: i64 = 8_192;

/// Rows that one statement writes: to start and to end it costs as much as a row.
const PUT_ROWS: usize = 32;

/// Rows that are stepped over before the next key is searched for from the root.
const WALK_STEPS: usize = 8;

/// Tokens are kept in buckets of an hour: `[0x7F][1][hour u32][token 16]`.
const TOKEN_PREFIX: [u8; 2] = [0x7F, 1];

pub(super) fn start(mut conn: Connection, shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    let watcher = shared.clone();
    // An error here would only mean that the log is folded when idle and at the end alone.
    let hooked = conn.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: std::ffi::c_int| {
        watcher.figures.wal_pages.set(i64::from(pages));
        Ok(())
    }));
    if let Err(error) = hooked {
        tracing::warn!(%error, "the length of the log cannot be watched");
    }
    std::thread::Builder::new().name("store-commit".into()).spawn(move || {
        match Committer::new(&conn, &shared) {
            Ok(mut committer) => committer.run(),
            Err(error) => shared.die(&format!("preparing statements: {error}")),
        }
        refuse_rest(&shared);
    })
}

/// Answers whatever may still come in until the handle is closed.
fn refuse_rest(shared: &Shared) {
    let reason = shared.read_only().unwrap_or_else(|| "the store is closed".into());
    while let Work::Group(jobs, _) = shared.next(false) {
        for job in jobs {
            let _ = job.reply.send(Err(CommitError::ReadOnly(reason.clone())));
        }
    }
}

struct Committer<'c> {
    shared: &'c Shared,
    conn: &'c Connection,
    begin: Statement<'c>,
    end: Statement<'c>,
    get: Statement<'c>,
    walk: Statement<'c>,
    put: Statement<'c>,
    put_many: Statement<'c>,
    del: Statement<'c>,
    del_range: Statement<'c>,
    refs: Statement<'c>,
    big: Statement<'c>,
    put_big: Statement<'c>,
    del_big: Statement<'c>,
    fold_at: i64,
    swept_hour: u32,
}

/// Why a batch did not pass: by its own fault or bad luck, or because the database failed under everybody.
enum Fail {
    Own(CommitError),
    Sql(rusqlite::Error),
}

impl From<CommitError> for Fail {
    fn from(e: CommitError) -> Fail {
        Fail::Own(e)
    }
}

impl From<rusqlite::Error> for Fail {
    fn from(e: rusqlite::Error) -> Fail {
        Fail::Sql(e)
    }
}

impl<'c> Committer<'c> {
    fn new(conn: &'c Connection, shared: &'c Shared) -> rusqlite::Result<Committer<'c>> {
        Ok(Committer {
            shared,
            conn,
            begin: conn.prepare("BEGIN IMMEDIATE")?,
            end: conn.prepare("COMMIT")?,
            get: conn.prepare("SELECT v FROM kv WHERE k = ?1")?,
            walk: conn.prepare("SELECT k, v FROM kv WHERE k >= ?1 ORDER BY k")?,
            put: conn.prepare("INSERT OR REPLACE INTO kv(k, v) VALUES(?1, ?2)")?,
            put_many: conn.prepare(&format!(
                "INSERT OR REPLACE INTO kv(k, v) VALUES{}(?, ?)",
                "(?, ?), ".repeat(PUT_ROWS - 1)
            ))?,
            del: conn.prepare("DELETE FROM kv WHERE k = ?1")?,
            del_range: conn.prepare("DELETE FROM kv WHERE k >= ?1 AND k < ?2")?,
            refs: conn.prepare("SELECT k, v FROM kv WHERE k >= ?1 AND k < ?2 AND length(v) = ?3")?,
            big: conn.prepare("SELECT v FROM big WHERE id = ?1")?,
            put_big: conn.prepare("INSERT INTO big(v) VALUES(?1)")?,
            del_big: conn.prepare("DELETE FROM big WHERE id = ?1")?,
            fold_at: FOLD_PAGES,
            swept_hour: 0,
        })
    }

    fn run(&mut self) {
        loop {
            let pages = self.shared.figures.wal_pages.value();
            match self.shared.next(pages > 0) {
                Work::Group(jobs, evidence) => {
                    if self.group(jobs, evidence).is_err() {
                        return;
                    }
                    let pages = self.shared.figures.wal_pages.value();
                    if pages >= self.fold_at {
                        self.fold("PASSIVE");
                        // A reader may have kept the log from starting over: do not try again at once.
                        self.fold_at = pages + FOLD_PAGES;
                    } else if pages < FOLD_PAGES {
                        self.fold_at = FOLD_PAGES;
                    }
                }
                Work::Idle => {
                    // The file keeps its length: writing over old blocks costs less than growing anew.
                    self.fold("PASSIVE");
                    // Even if a reader was in the way: not again before something new is written.
                    self.shared.figures.wal_pages.set(0);
                }
                Work::End => {
                    self.fold("TRUNCATE");
                    return;
                }
            }
            if self.shared.read_only().is_some() {
                return;
            }
        }
    }

    /// Copies the log into the database.
    fn fold(&mut self, how: &str) {
        self.shared.figures.checkpoints.one();
        let done = self.conn.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |_| Ok(()));
        match done {
            Err(error) if is_full(&error) || is_busy(&error) => {
                tracing::warn!(%error, "the log could not be folded into the database yet");
            }
            Err(error) => self.shared.die(&format!("checkpoint: {error}")),
            Ok(()) => {}
        }
    }

    /// One transaction. `Err` means that the handle is dead; everybody has been answered in any case.
    fn group(&mut self, jobs: Vec<Job>, evidence: Vec<(Key, Vec<u8>)>) -> Result<(), ()> {
        let full = self.shared.full();
        let mut answers = Vec::with_capacity(jobs.len());
        let mut layer = Layer::default();
        let mut broken = self.begin.execute([]).err();
        for Job { batch, then, reply } in jobs {
            let answer = match &broken {
                Some(_) => Ok(Committed::default()),
                None => match self.chain(batch, then, &mut layer, full.as_deref()) {
                    Ok(committed) => Ok(committed),
                    Err(Fail::Own(e)) => Err(e),
                    Err(Fail::Sql(e)) => {
                        broken = Some(e);
                        Ok(Committed::default())
                    }
                },
            };
            answers.push((reply, answer));
        }
        let mut failure = broken.map(|e| self.failed(&e, false));
        if failure.is_none() {
            failure = self.write(layer, &evidence, full.is_none()).err();
        }
        if failure.is_some() && !self.conn.is_autocommit() && self.conn.execute_batch("ROLLBACK").is_err() {
            self.shared.die("a transaction could not be rolled back");
        }
        self.answer(answers, failure);
        if self.shared.read_only().is_some() { Err(()) } else { Ok(()) }
    }

    /// Sends the answers; a failure of the transaction replaces every success.
    fn answer(&self, answers: Vec<(Reply, Answer)>, failure: Option<CommitError>) {
        let figures = &self.shared.figures;
        figures.groups.one();
        for (reply, answer) in answers {
            let answer = match (&failure, answer) {
                (Some(failure), Ok(_)) => Err(failure.clone()),
                (_, answer) => answer,
            };
            match &answer {
                Ok(_) => figures.batches.one(),
                Err(CommitError::Conflict(_)) => figures.conflicts.one(),
                Err(_) => figures.refused.one(),
            }
            // A caller who no longer listens has chosen so.
            let _ = reply.send(answer);
        }
    }

    /// Works out a batch and what depends on it; gives the last answer.
    fn chain(
        &mut self,
        batch: Batch,
        then: Vec<Batch>,
        group: &mut Layer,
        full: Option<&str>,
    ) -> Result<Committed, Fail> {
        let mut answer = Committed::default();
        for batch in std::iter::once(batch).chain(then) {
            if let Some(reason) = full.filter(|_| batch.grows()) {
                return Err(CommitError::Full(reason.to_owned()).into());
            }
            let (committed, later) = self.batch(batch, group)?;
            group.merge(later);
            answer = committed;
        }
        Ok(answer)
    }

    /// Works a batch out over the database and what the group has changed so far.
    fn batch(&mut self, batch: Batch, group: &Layer) -> Result<(Committed, Layer), Fail> {
        let mut own = Layer::default();
        let hour = (self.shared.clock.now().as_millis().max(0) / TOKEN_MILLIS) as u32;
        if let Some(token) = batch.token
            && let Some(allocated) = self.replay(hour, &token, group)?
        {
            return Ok((Committed { allocated, replayed: true }, own));
        }
        let mut failed = Vec::new();
        for (key, expect) in batch.expect {
            let holds = self.look(&key, group, &own, |found| match (&expect, found) {
                (Expect::Absent, found) => found.is_none(),
                (Expect::Present, found) => found.is_some(),
                (Expect::Version(v), Some(value)) => value.starts_with(&v.to_be_bytes()),
                (Expect::Value(v), Some(value)) => v == value,
                (_, None) => false,
            })?;
            if !holds {
                failed.push(key);
            }
        }
        if !failed.is_empty() {
            return Err(CommitError::Conflict(failed).into());
        }
        let mut allocated = Vec::with_capacity(batch.alloc.len());
        for (key, count) in batch.alloc {
            let (old, counts) = self.counter(&key, group, &own)?;
            let old = u64::from_be_bytes(old);
            let new = old.checked_add(u64::from(count)).ok_or(CommitError::Exhausted)?;
            allocated.push(old.checked_add(1).ok_or(CommitError::Exhausted)?);
            own.rows.insert(key, count_change(new.to_be_bytes(), counts));
        }
        for op in batch.ops {
            match op {
                Op::Put(key, value) => {
                    own.rows.insert(key.fill(&allocated)?, Change::Put(value.fill(&allocated)?));
                }
                Op::Del(key) => {
                    own.rows.insert(key, Change::Del);
                }
                Op::DelRange(from, to) => own.delete_range(from, to),
                Op::Add(key, amount) => {
                    let (old, counts) = self.counter(&key, group, &own)?;
                    let new = i64::from_be_bytes(old).checked_add(amount).ok_or(CommitError::Exhausted)?;
                    own.rows.insert(key, count_change(new.to_be_bytes(), counts));
                }
            }
        }
        if let Some(token) = batch.token {
            let value = allocated.iter().flat_map(|n| n.to_be_bytes()).collect();
            own.rows.insert(token_key(hour, &token), Change::Put(value));
            self.sweep(hour, &mut own);
        }
        Ok((Committed { allocated, replayed: false }, own))
    }

    /// The first answer to this token, if it is known.
    fn replay(&mut self, hour: u32, token: &[u8; 16], group: &Layer) -> Result<Option<Vec<u64>>, Fail> {
        let none = Layer::default();
        for hour in [hour, hour.saturating_sub(1)] {
            let key = token_key(hour, token);
            let found = self.look(&key, group, &none, |found| {
                let numbers = |v: &[u8]| -> Vec<u64> {
                    v.as_chunks::<8>().0.iter().map(|c| u64::from_be_bytes(*c)).collect()
                };
                found.map(numbers)
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Once an hour: forgets the tokens that are older than the previous hour.
    fn sweep(&mut self, hour: u32, own: &mut Layer) {
        if self.swept_hour == hour || hour == 0 {
            return;
        }
        self.swept_hour = hour;
        own.ranges.push((token_key(0, &[]), token_key(hour - 1, &[])));
    }

    /// A counter's bytes, and whether nothing large lies under its key in the database.
    fn counter(&mut self, key: &[u8], group: &Layer, own: &Layer) -> Result<([u8; 8], bool), Fail> {
        let number = self.look(key, group, own, |found| match found {
            None => Some([0; 8]),
            Some(value) => value.try_into().ok(),
        })?;
        let counts = own.counts(key).or_else(|| group.counts(key)).unwrap_or(true);
        Ok((number.ok_or(CommitError::Invalid("not a counter row"))?, counts))
    }

    /// Shows a row as it is now: by the batch, else by the group, else by the database.
    fn look<R>(
        &mut self,
        key: &[u8],
        group: &Layer,
        own: &Layer,
        show: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<R, Fail> {
        if let Some(found) = own.look(key).or_else(|| group.look(key)) {
            return Ok(show(found));
        }
        let mut rows = self.get.query([key])?;
        let Some(row) = rows.next()? else { return Ok(show(None)) };
        let stored = row.get_ref(0)?.as_blob().unwrap_or_default();
        match row::unseal(key, stored) {
            Some(Stored::Value(value)) => return Ok(show(Some(value))),
            Some(Stored::Big { id, len }) => {
                let mut rows = self.big.query([id])?;
                let big = match rows.next()? {
                    Some(row) => row.get_ref(0)?.as_blob().unwrap_or_default(),
                    None => &[],
                };
                if let Some(value) = row::unseal_big(key, big, len) {
                    return Ok(show(Some(value)));
                }
                self.shared.corrupt(key, big);
            }
            None => self.shared.corrupt(key, stored),
        }
        Err(CommitError::Corrupt(key.to_vec()).into())
    }

    /// Writes the group's changes and commits.
    fn write(&mut self, layer: Layer, evidence: &[(Key, Vec<u8>)], room: bool) -> Result<(), CommitError> {
        if let Err(e) = self.write_rows(layer, evidence, room) {
            return Err(self.failed(&e, false));
        }
        if let Err(e) = self.shared.disk.may_commit() {
            let text = format!("commit: {e}");
            if disk::is_full(&e) {
                return Err(CommitError::Full(text));
            }
            self.shared.die(&text);
            return Err(CommitError::Unknown(text));
        }
        self.end.execute([]).map_err(|e| self.failed(&e, true)).map(|_| ())
    }

    fn write_rows(&mut self, layer: Layer, evidence: &[(Key, Vec<u8>)], room: bool) -> rusqlite::Result<()> {
        if room && !evidence.is_empty() {
            let at = self.shared.clock.now().as_millis();
            let mut keep =
                self.conn.prepare_cached("INSERT OR IGNORE INTO quarantine(k, v, at) VALUES(?1, ?2, ?3)")?;
            for (key, stored) in evidence {
                keep.execute((key, stored, at))?;
            }
        }
        for (from, to) in &layer.ranges {
            for id in self.big_in(from, to)? {
                self.del_big.execute([id])?;
            }
            self.del_range.execute((from, to))?;
        }
        for id in self.big_under(&layer)? {
            self.del_big.execute([id])?;
        }
        let mut bytes = 0;
        let mut sealed = Vec::with_capacity(PUT_ROWS);
        self.shared.figures.rows.add(layer.rows.len() as u64);
        for (key, change) in layer.rows {
            bytes += key.len() + change.value().map_or(0, <[u8]>::len);
            match change {
                Change::Count(number) => {
                    self.put.execute((&key, &row::seal_counter(&key, number)[..]))?;
                }
                Change::Put(value) => {
                    let value = self.seal(&key, value)?;
                    sealed.push((key, value));
                    if sealed.len() == PUT_ROWS {
                        let fields = sealed.iter().flat_map(|(key, value)| [key, value]);
                        self.put_many.execute(rusqlite::params_from_iter(fields))?;
                        sealed.clear();
                    }
                }
                Change::Del => {
                    self.del.execute([&key])?;
                }
            }
        }
        for (key, value) in &sealed {
            self.put.execute((key, value))?;
        }
        self.shared.figures.bytes.add(bytes as u64);
        Ok(())
    }

    /// What is to be written under the key; a large value itself is written here.
    fn seal(&mut self, key: &[u8], mut value: Vec<u8>) -> rusqlite::Result<Vec<u8>> {
        if value.len() <= row::LOCAL_BYTES {
            row::seal(key, &mut value);
            return Ok(value);
        }
        let len = value.len() as u32;
        row::seal_big(key, &mut value);
        self.put_big.execute([&value])?;
        Ok(row::seal_ref(key, self.conn.last_insert_rowid(), len).to_vec())
    }

    /// Numbers of all large values under keys that are about to be replaced or deleted. Walks the table along with the
    /// keys, both in order: rows that lie side by side, and new rows at the end of their kind, cost no search each.
    fn big_under(&mut self, layer: &Layer) -> rusqlite::Result<Vec<i64>> {
        let mut ids = Vec::new();
        let mut keys =
            layer.rows.iter().filter(|(_, change)| !matches!(change, Change::Count(_))).map(|(key, _)| key);
        let mut next = keys.next();
        while let Some(sought) = next {
            let mut rows = self.walk.query([sought])?;
            // Rows in a row that were not asked for; beyond a few a new search is cheaper.
            let mut strange = 0;
            while strange < WALK_STEPS {
                let Some(row) = rows.next()? else { return Ok(ids) };
                let found = row.get_ref(0)?.as_blob().unwrap_or_default();
                while next.is_some_and(|key| key.as_slice() < found) {
                    next = keys.next();
                }
                match next {
                    None => return Ok(ids),
                    Some(key) if key == found => {
                        ids.extend(big_id(found, row.get_ref(1)?.as_blob().unwrap_or_default()));
                        next = keys.next();
                        strange = 0;
                    }
                    Some(_) => strange += 1,
                }
            }
        }
        Ok(ids)
    }

    /// Numbers of all large values in a range.
    fn big_in(&mut self, from: &[u8], to: &[u8]) -> rusqlite::Result<Vec<i64>> {
        let mut ids = Vec::new();
        let mut rows = self.refs.query((from, to, row::REF_BYTES as i64))?;
        while let Some(row) = rows.next()? {
            let key = row.get_ref(0)?.as_blob().unwrap_or_default();
            ids.extend(big_id(key, row.get_ref(1)?.as_blob().unwrap_or_default()));
        }
        Ok(ids)
    }

    /// What an error of the database means for the batches and for the handle.
    fn failed(&self, error: &rusqlite::Error, committing: bool) -> CommitError {
        let text = error.to_string();
        if is_full(error) {
            return CommitError::Full(text);
        }
        if is_busy(error) {
            return CommitError::Unavailable(text);
        }
        self.shared.die(&text);
        if committing { CommitError::Unknown(text) } else { CommitError::ReadOnly(text) }
    }
}

fn count_change(number: [u8; 8], counts: bool) -> Change {
    if counts { Change::Count(number) } else { Change::Put(number.to_vec()) }
}

fn big_id(key: &[u8], stored: &[u8]) -> Option<i64> {
    if stored.len() != row::REF_BYTES {
        return None;
    }
    match row::unseal(key, stored) {
        Some(Stored::Big { id, .. }) => Some(id),
        _ => None,
    }
}

fn token_key(hour: u32, token: &[u8]) -> Key {
    let mut key = Vec::with_capacity(22);
    key.extend_from_slice(&TOKEN_PREFIX);
    key.extend_from_slice(&hour.to_be_bytes());
    key.extend_from_slice(token);
    key
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}
