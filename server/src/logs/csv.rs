//! Logs as Exchange lays them out: `#` header lines, comma-separated fields with doubled quotes, CRLF, UTC. Lines of another
//! form (JSON) may stand in such files too; they have no header.
//!
//! Lines gather in memory, and a thread of each log's own writes what has gathered, in one call, a few milliseconds after the
//! first of it: a process that is killed loses no more than that. When the disk cannot keep up for long, lines are dropped
//! and counted, never a session held up. [`CsvLog::flush`] waits until everything is with the system; stopping calls it.
//!
//! A file is closed at the hour (or day) or at its size limit; the oldest files of the same log go when the folder's share is
//! used up or they are too old.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use waypost_base::metrics::Counter;
use waypost_base::{Clock, Timestamp};
use waypost_tracking::files;

/// Lines dropped since the start, over all logs.
pub static DROPPED: Counter = Counter::new();

/// Bytes that may wait for the disk in one log: tens of thousands of lines, so seconds of a busy server.
const WAITING_MAX: usize = 16 * 1024 * 1024;
/// Memory that a log keeps between batches.
const KEPT_CAPACITY: usize = 256 * 1024;
/// How long lines gather after some have been written. A crash loses at most this much.
const GATHER: Duration = Duration::from_millis(10);
/// A log that nobody writes to looks this often for files that have become too old.
const TIDY: Duration = Duration::from_secs(600);
/// [`CsvLog::flush`] waits no longer: a disk that hangs must not keep the server from stopping.
const FLUSH_MAX: Duration = Duration::from_secs(5);

/// What a log looks like and how much of it is kept.
#[derive(Clone, Debug)]
pub struct Layout {
    pub folder: PathBuf,
    /// First part of the file names: `IMAP4`, `POP3`, `RECV`.
    pub prefix: &'static str,
    pub log_type: &'static str,
    /// Empty for files without header lines.
    pub fields: &'static str,
    pub hourly: bool,
    /// Bytes after which a file is closed; 0 closes by time only.
    pub file_bytes_max: u64,
    pub kept: Kept,
}

/// How much of a log is kept. The file that is being written always is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Bytes that all files of this log may take together.
    pub bytes: u64,
    /// Files whose last line may be older than this go. `None` goes by size alone.
    pub age: Option<Duration>,
}

/// A handle to write lines by. Dropping the last one ends the log's thread after its last line.
pub struct CsvLog {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// For the thread: there is something to do.
    wake: Condvar,
    /// For those who wait in [`CsvLog::flush`].
    written: Condvar,
}

struct State {
    waiting: Vec<u8>,
    /// Batches that were begun and ended.
    begun: u64,
    ended: u64,
    /// The thread waits for `wake`.
    asleep: bool,
    closing: bool,
    kept: Kept,
    /// Where lines go from the next batch on, if that has changed.
    moved: Option<Where>,
}

/// Where a log is and when its next file begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Where {
    pub folder: PathBuf,
    pub hourly: bool,
    pub file_bytes_max: u64,
}

impl Layout {
    pub fn place(&self) -> Where {
        Where { folder: self.folder.clone(), hourly: self.hourly, file_bytes_max: self.file_bytes_max }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CsvLog {
    pub fn start(layout: Layout, clock: Clock) -> io::Result<CsvLog> {
        fs::create_dir_all(&layout.folder)?;
        let state = State {
            waiting: Vec::new(),
            begun: 0,
            ended: 0,
            asleep: false,
            closing: false,
            kept: layout.kept,
            moved: None,
        };
        let shared =
            Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new(), written: Condvar::new() });
        let writer = Writer { layout, clock, open: None, failing: false, moved: false };
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new().name("log".into()).spawn(move || writer.run(&theirs))?;
        Ok(CsvLog { shared })
    }

    /// Appends one line, given without its CRLF (see [`join`]).
    pub fn write(&self, line: &str) {
        self.append(|out| {
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        });
    }

    /// Lets `lines` append one whole line with its CRLF to what waits.
    pub fn append(&self, line: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.shared.lock();
        if state.waiting.len() > WAITING_MAX {
            DROPPED.one();
            return;
        }
        line(&mut state.waiting);
        if std::mem::take(&mut state.asleep) {
            self.shared.wake.notify_one();
        }
    }

    /// Waits until all lines so far are with the system, so that they outlive this process.
    pub fn flush(&self) {
        let mut state = self.shared.lock();
        let last = state.begun + u64::from(!state.waiting.is_empty());
        while state.ended < last {
            let waited = self.shared.written.wait_timeout(state, FLUSH_MAX);
            let (now, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
            state = now;
            if outcome.timed_out() {
                return tracing::warn!("a log could not be written to its end");
            }
        }
    }

    /// From the next line on it is written elsewhere, or in other pieces. What was written stays where it is.
    pub fn move_to(&self, place: Where) {
        self.shared.lock().moved = Some(place);
    }

    /// From the next file on, this much is kept.
    pub fn keep(&self, kept: Kept) {
        self.shared.lock().kept = kept;
    }
}

impl Drop for CsvLog {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.wake.notify_one();
    }
}

/// Joins fields with commas, quoting those that need it.
pub fn join<'a>(fields: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = Vec::with_capacity(160);
    for (i, field) in fields.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        waypost_tracking::layout::quote(field, &mut out);
    }
    String::from_utf8(out).unwrap_or_default()
}

struct Writer {
    layout: Layout,
    clock: Clock,
    open: Option<Open>,
    /// The last batch could not be written, which has been said.
    failing: bool,
    /// The folder may not be there yet.
    moved: bool,
}

struct Open {
    file: File,
    period: String,
    bytes: u64,
}

impl Writer {
    fn run(mut self, shared: &Shared) {
        let mut batch = Vec::new();
        // What was left by earlier runs may be too old already.
        self.tidy();
        loop {
            match self.next(shared, &mut batch) {
                Next::Lines => {}
                Next::Nothing => {
                    self.tidy();
                    continue;
                }
                Next::End => return,
            }
            self.take(&batch);
            batch.clear();
            batch.shrink_to(KEPT_CAPACITY);
            shared.lock().ended += 1;
            shared.written.notify_all();
            // To be woken for each line would cost the sessions more than the line.
            std::thread::sleep(GATHER);
        }
    }

    /// Waits for lines and swaps them into the empty `batch`.
    fn next(&mut self, shared: &Shared, batch: &mut Vec<u8>) -> Next {
        let mut state = shared.lock();
        while state.waiting.is_empty() {
            if state.closing {
                return Next::End;
            }
            state.asleep = true;
            let waited = shared.wake.wait_timeout(state, TIDY);
            let (now, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
            state = now;
            state.asleep = false;
            if outcome.timed_out() && state.waiting.is_empty() {
                self.layout.kept = state.kept;
                return Next::Nothing;
            }
        }
        self.layout.kept = state.kept;
        if let Some(place) = state.moved.take().filter(|place| *place != self.layout.place()) {
            let Where { folder, hourly, file_bytes_max } = place;
            self.layout = Layout { folder, hourly, file_bytes_max, ..self.layout.clone() };
            self.open = None;
            self.moved = true;
        }
        state.begun += 1;
        std::mem::swap(&mut state.waiting, batch);
        Next::Lines
    }

    fn take(&mut self, batch: &[u8]) {
        match self.append(batch) {
            Ok(()) => self.failing = false,
            Err(e) => {
                DROPPED.add(batch.iter().filter(|b| **b == b'\n').count() as u64);
                self.open = None;
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(error = %e, folder = %self.layout.folder.display(), "log not written");
                }
            }
        }
    }

    fn append(&mut self, batch: &[u8]) -> io::Result<()> {
        let now = self.clock.now();
        let period = period(now, self.layout.hourly);
        let full = |o: &Open| self.layout.file_bytes_max > 0 && o.bytes >= self.layout.file_bytes_max;
        let open = match self.open.take() {
            Some(open) if open.period == period && !full(&open) => open,
            finished => {
                drop(finished);
                if std::mem::take(&mut self.moved) {
                    fs::create_dir_all(&self.layout.folder)?;
                }
                let open = open_file(&self.layout, &period, now)?;
                self.tidy();
                open
            }
        };
        let open = self.open.insert(open);
        open.bytes += batch.len() as u64;
        open.file.write_all(batch)
    }

    fn tidy(&self) {
        if let Err(e) = trim(&self.layout, self.clock.now()) {
            tracing::warn!(error = %e, folder = %self.layout.folder.display(), "old log files not removed");
        }
    }
}

enum Next {
    Lines,
    Nothing,
    End,
}

/// `yyyyMMdd` or `yyyyMMddHH`.
fn period(now: Timestamp, hourly: bool) -> String {
    let c = now.civil();
    let day = format!("{:04}{:02}{:02}", c.year, c.month, c.day);
    if hourly { format!("{day}{:02}", c.hour) } else { day }
}

/// Opens the file after the last of the period, so that names go up with time; a restart begins a file of its own.
fn open_file(layout: &Layout, period: &str, now: Timestamp) -> io::Result<Open> {
    let files = files::list(&layout.folder, layout.prefix)?;
    let last = files.iter().filter(|f| f.period == period).map(|f| f.number).max().unwrap_or(0);
    let path = layout.folder.join(format!("{}{period}-{}.LOG", layout.prefix, last.saturating_add(1)));
    let opened = OpenOptions::new().append(true).create_new(true).open(&path);
    let mut file = waypost_base::denials::report_in(&path, "write", opened)?;
    if !layout.fields.is_empty() {
        let header = format!(
            "#Software: Waypost\r\n#Version: {}\r\n#Log-type: {}\r\n#Date: {now}\r\n#Fields: {}\r\n",
            env!("CARGO_PKG_VERSION"),
            layout.log_type,
            layout.fields
        );
        file.write_all(header.as_bytes())?;
    }
    Ok(Open { file, period: period.to_owned(), bytes: 0 })
}

/// Removes what is too old, then the oldest files of this log until the rest fits its share.
fn trim(layout: &Layout, now: Timestamp) -> io::Result<()> {
    let mut files = files::list(&layout.folder, layout.prefix)?;
    let mut total: u64 = files.iter().map(|f| f.bytes).sum();
    // The newest one may be the one that is being written.
    files.pop();
    let age = layout.kept.age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
    let too_old = |file: &files::LogFile| match (age, file.span()) {
        (Some(age), Some((_, end))) => now.since(end) > age,
        _ => false,
    };
    for file in files {
        if total <= layout.kept.bytes && !too_old(&file) {
            continue;
        }
        fs::remove_file(&file.path)?;
        total -= file.bytes;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_772_525_720_114);

    fn layout(name: &str) -> Layout {
        let folder = std::env::temp_dir().join(format!("waypost-csv-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Layout {
            folder,
            prefix: "IMAP4",
            log_type: "IMAP4 Protocol Log",
            fields: "dateTime,sessionId",
            hourly: true,
            file_bytes_max: 10,
            kept: Kept { bytes: 400, age: None },
        }
    }

    #[test]
    fn quotes_what_needs_it() {
        assert_eq!(
            join(["a", "b,c", "say \"hi\"", "x\r\ny", "\0\x1b[2J", ""]),
            "a,\"b,c\",\"say \"\"hi\"\"\",\"x  y\",\"  [2J\","
        );
    }

    #[test]
    fn rolls_by_size_and_keeps_its_share() {
        let layout = layout("share");
        let folder = layout.folder.clone();
        let mut writer =
            Writer { layout, clock: Clock::fixed(NOW), open: None, failing: false, moved: false };
        for _ in 0..20 {
            writer.append(b"0123456789,x\r\n").unwrap();
        }
        let files = files::list(&folder, "IMAP4").unwrap();
        assert!(files.len() < 5, "{files:?}");
        assert_eq!(files.last().unwrap().number, 20);
        let text = fs::read_to_string(folder.join("IMAP42026030308-20.LOG")).unwrap();
        assert!(text.starts_with("#Software: Waypost\r\n"), "{text}");
        assert!(text.ends_with("#Fields: dateTime,sessionId\r\n0123456789,x\r\n"), "{text}");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_is_too_old_goes() {
        let layout = layout("age");
        let kept = Kept { bytes: u64::MAX, age: Some(Duration::from_secs(30 * 86_400)) };
        let layout = Layout { kept, ..layout };
        for period in ["20260131", "2026020107", "2026020109", "2026030307", "2026030308"] {
            fs::write(layout.folder.join(format!("IMAP4{period}-1.LOG")), "x").unwrap();
        }
        trim(&layout, NOW).unwrap();
        let left = files::list(&layout.folder, "IMAP4").unwrap();
        let left: Vec<&str> = left.iter().map(|f| f.period.as_str()).collect();
        assert_eq!(left, ["2026020109", "2026030307", "2026030308"]);
        fs::remove_dir_all(&layout.folder).unwrap();
    }

    #[test]
    fn a_flush_leaves_nothing_in_memory() {
        let layout = Layout { file_bytes_max: 0, fields: "", ..layout("flush") };
        let folder = layout.folder.clone();
        let log = CsvLog::start(layout, Clock::fixed(NOW)).unwrap();
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let log = CsvLog { shared: Arc::clone(&log.shared) };
                std::thread::spawn(move || {
                    (0..500).for_each(|i| log.write(&format!("{n},{i}")));
                    std::mem::forget(log);
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        log.flush();
        let text = fs::read_to_string(folder.join("IMAP42026030308-1.LOG")).unwrap();
        assert_eq!(text.lines().count(), 2000);
        log.flush();
        drop(log);
        fs::remove_dir_all(&folder).unwrap();
    }
}
