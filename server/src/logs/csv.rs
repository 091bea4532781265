//! Protocol logs as Exchange lays them out: `#` header lines, comma-separated fields with doubled quotes, CRLF, UTC.
//!
//! Lines go to a thread of their own through a bounded queue. When the disk cannot keep up, lines are dropped and
//! counted, never a session held up. A file is closed at the hour (or day) or at its size limit; the oldest files of the
//! same log go when the folder's share is used up.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;
use waypost_base::metrics::Counter;
use waypost_base::{Clock, Timestamp};

/// Lines dropped since the start, over all logs.
pub static DROPPED: Counter = Counter::new();

/// Lines that may wait for the disk.
const QUEUE_LINES: usize = 8192;
/// A crash loses at most this much of a protocol log.
const FLUSH_EVERY: Duration = Duration::from_millis(500);

/// How long lines gather after some have been taken.
const GATHER: Duration = Duration::from_millis(2);

/// What a log looks like and how much of it is kept.
#[derive(Clone, Debug)]
pub struct Layout {
    pub folder: PathBuf,
    /// First part of the file names: `IMAP4`, `POP3`, `RECV`.
    pub prefix: &'static str,
    pub log_type: &'static str,
    pub fields: &'static str,
    pub hourly: bool,
    /// Bytes after which a file is closed; 0 closes by time only.
    pub file_bytes_max: u64,
    /// Bytes that all files of this log may take together.
    pub folder_bytes_max: u64,
}

/// A handle to write lines by. Dropping the last one ends the log's thread after its last line.
#[derive(Clone)]
pub struct CsvLog {
    lines: SyncSender<String>,
}

impl CsvLog {
    pub fn start(layout: Layout, clock: Clock) -> io::Result<CsvLog> {
        fs::create_dir_all(&layout.folder)?;
        let (lines, waiting) = sync_channel(QUEUE_LINES);
        let writer = Writer { layout, clock, open: None };
        std::thread::Builder::new().name("protocol-log".into()).spawn(move || writer.run(&waiting))?;
        Ok(CsvLog { lines })
    }

    /// Appends one line, given without its CRLF (see [`join`]).
    pub fn write(&self, line: String) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.lines.try_send(line) {
            DROPPED.one();
        }
    }
}

/// Joins fields with commas, quoting those that need it.
pub fn join<'a>(fields: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = String::with_capacity(128);
    for (i, field) in fields.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        quote(field, &mut out);
    }
    out
}

/// A field with a comma, quote or control character stands in quotes. Control characters become spaces, so that one record
/// is one line, the file stays text, and no peer can paint on the terminal of whoever reads it.
fn quote(field: &str, out: &mut String) {
    if !field.contains(|c: char| c == ',' || c == '"' || c.is_control()) {
        out.push_str(field);
        return;
    }
    out.push('"');
    for c in field.chars() {
        match c {
            '"' => out.push_str("\"\""),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
}

struct Writer {
    layout: Layout,
    clock: Clock,
    open: Option<Open>,
}

struct Open {
    file: BufWriter<File>,
    period: String,
    bytes: u64,
}

impl Writer {
    fn run(mut self, waiting: &Receiver<String>) {
        loop {
            match waiting.recv_timeout(FLUSH_EVERY) {
                Ok(line) => {
                    self.take(&line);
                    for line in waiting.try_iter() {
                        self.take(&line);
                    }
                    // To be woken for each line would cost the sessions more than the line.
                    std::thread::sleep(GATHER);
                }
                Err(RecvTimeoutError::Timeout) => self.flush(),
                Err(RecvTimeoutError::Disconnected) => return self.flush(),
            }
        }
    }

    fn take(&mut self, line: &str) {
        if let Err(e) = self.append(line) {
            DROPPED.one();
            self.open = None;
            tracing::warn!(error = %e, folder = %self.layout.folder.display(), "protocol log not written");
        }
    }

    fn flush(&mut self) {
        if let Some(open) = &mut self.open {
            // A line that cannot be flushed is met again, as an error, by the next append.
            let _ = open.file.flush();
        }
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        let now = self.clock.now();
        let period = period(now, self.layout.hourly);
        let full = |o: &Open| self.layout.file_bytes_max > 0 && o.bytes >= self.layout.file_bytes_max;
        let open = match self.open.take() {
            Some(open) if open.period == period && !full(&open) => open,
            finished => {
                drop(finished);
                let open = open_file(&self.layout, &period, now)?;
                trim(&self.layout)?;
                open
            }
        };
        let open = self.open.insert(open);
        open.bytes += line.len() as u64 + 2;
        open.file.write_all(line.as_bytes())?;
        open.file.write_all(b"\r\n")
    }
}

/// `yyyyMMdd` or `yyyyMMddHH`.
fn period(now: Timestamp, hourly: bool) -> String {
    let c = now.civil();
    let day = format!("{:04}{:02}{:02}", c.year, c.month, c.day);
    if hourly { format!("{day}{:02}", c.hour) } else { day }
}

/// Opens the file after the last of the period, so that names go up with time; a restart begins a file of its own.
fn open_file(layout: &Layout, period: &str, now: Timestamp) -> io::Result<Open> {
    let files = own_files(&layout.folder, layout.prefix)?;
    let last = files.iter().filter(|f| f.period == period).map(|f| f.number).max().unwrap_or(0);
    let path = layout.folder.join(format!("{}{period}-{}.LOG", layout.prefix, last + 1));
    let mut file = BufWriter::new(OpenOptions::new().append(true).create_new(true).open(path)?);
    write!(
        file,
        "#Software: Waypost\r\n#Version: {}\r\n#Log-type: {}\r\n#Date: {now}\r\n#Fields: {}\r\n",
        env!("CARGO_PKG_VERSION"),
        layout.log_type,
        layout.fields
    )?;
    Ok(Open { file, period: period.to_owned(), bytes: 0 })
}

/// Removes the oldest files of this log until the rest fits its share.
fn trim(layout: &Layout) -> io::Result<()> {
    let mut files = own_files(&layout.folder, layout.prefix)?;
    let mut total: u64 = files.iter().map(|f| f.bytes).sum();
    // The newest one is being written.
    files.pop();
    for file in files {
        if total <= layout.folder_bytes_max {
            break;
        }
        fs::remove_file(&file.path)?;
        total -= file.bytes;
    }
    Ok(())
}

/// A file of a log. The order is that of time.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Own {
    period: String,
    number: u32,
    bytes: u64,
    path: PathBuf,
}

/// The files of one log, oldest first. Hourly and daily names sort well beside each other.
fn own_files(folder: &Path, prefix: &str) -> io::Result<Vec<Own>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let middle = name.to_str().and_then(|n| n.strip_prefix(prefix)?.strip_suffix(".LOG"));
        let Some((period, number)) = middle.and_then(|m| m.split_once('-')) else { continue };
        if let Ok(number) = number.parse() {
            let bytes = entry.metadata()?.len();
            files.push(Own { period: period.to_owned(), number, bytes, path: entry.path() });
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_what_needs_it() {
        assert_eq!(
            join(["a", "b,c", "say \"hi\"", "x\r\ny", "\0\x1b[2J", ""]),
            "a,\"b,c\",\"say \"\"hi\"\"\",\"x  y\",\"  [2J\","
        );
    }

    #[test]
    fn rolls_by_size_and_keeps_its_share() {
        let folder = std::env::temp_dir().join(format!("waypost-csv-{}", std::process::id()));
        let layout = Layout {
            folder: folder.clone(),
            prefix: "IMAP4",
            log_type: "IMAP4 Protocol Log",
            fields: "dateTime,sessionId",
            hourly: true,
            file_bytes_max: 10,
            folder_bytes_max: 400,
        };
        fs::create_dir_all(&folder).unwrap();
        let mut writer = Writer { layout, clock: Clock::fixed(Timestamp(1_772_525_720_114)), open: None };
        for _ in 0..20 {
            writer.append("0123456789,x").unwrap();
        }
        writer.flush();
        let files = own_files(&folder, "IMAP4").unwrap();
        assert!(files.len() < 5, "{files:?}");
        assert_eq!(files.last().unwrap().number, 20);
        let text = fs::read_to_string(folder.join("IMAP42026030308-20.LOG")).unwrap();
        assert!(text.starts_with("#Software: Waypost\r\n"), "{text}");
        assert!(text.ends_with("#Fields: dateTime,sessionId\r\n0123456789,x\r\n"), "{text}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
