//! The files of one log in their folder, and their lines.
//!
//! Files are named `PREFIXyyyyMMdd[HH]-n.LOG`. They are read in pieces of bounded size; a piece in which none of the wanted
//! bytes occur is passed over without looking at its lines. The file that is being written may end in a torn line, which
//! is left for the next reader.

use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use waypost_base::Timestamp;

/// Bytes read at a time.
const PIECE: usize = 256 * 1024;
/// A line that is longer is no line of ours; what does not fit is passed over.
const LINE_MAX: usize = 4 * 1024 * 1024;
/// Lines may be written a little after what they tell.
const SLACK_MILLIS: i64 = 60_000;

/// A file of a log. The order is that of time: by period, then by number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogFile {
    /// `yyyyMMdd` or `yyyyMMddHH`
    pub period: String,
    pub number: u32,
    pub bytes: u64,
    pub path: PathBuf,
}

impl LogFile {
    /// When its period begins and ends, if the name says so.
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let digits = |from: usize, to: usize| self.period.get(from..to)?.parse::<i32>().ok();
        let (year, month, day) = (digits(0, 4)?, digits(4, 6)?, digits(6, 8)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let days = waypost_base::time::days_from_civil(year, month as u8, day as u8);
        let (hour, hours) = match self.period.len() {
            8 => (0, 24),
            10 => (digits(8, 10)?, 1),
            _ => return None,
        };
        let start = Timestamp::from_seconds(days * 86_400 + i64::from(hour) * 3600);
        Some((start, start.plus_millis(hours * 3_600_000)))
    }

    /// Whether it may have lines of this time. A file that rolls by day or week may be one of many hours.
    fn may_hold(&self, from: Option<Timestamp>, to: Option<Timestamp>) -> bool {
        let Some((start, end)) = self.span() else { return true };
        from.is_none_or(|from| end.plus_millis(SLACK_MILLIS) >= from)
            && to.is_none_or(|to| start.plus_millis(-SLACK_MILLIS) <= to)
    }
}

/// The files of one log, oldest first. A folder that is not there has none.
pub fn list(folder: &Path, prefix: &str) -> io::Result<Vec<LogFile>> {
    let mut files = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(files),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(middle) = name.to_str().and_then(|n| n.strip_prefix(prefix)) else { continue };
        let Some(middle) = middle.strip_suffix(".LOG").or_else(|| middle.strip_suffix(".log")) else {
            continue;
        };
        let Some((period, number)) = middle.split_once('-') else { continue };
        let Ok(number) = number.parse() else { continue };
        if !period.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        // One that was removed meanwhile is no file of the log any more.
        let Ok(about) = entry.metadata() else { continue };
        files.push(LogFile { period: period.to_owned(), number, bytes: about.len(), path: entry.path() });
    }
    files.sort();
    Ok(files)
}

/// The files that may have lines of this time, newest first.
pub fn newest_first(
    folder: &Path,
    prefix: &str,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> io::Result<Vec<LogFile>> {
    let mut files = list(folder, prefix)?;
    files.retain(|file| file.may_hold(from, to));
    files.reverse();
    Ok(files)
}

/// Hands over each line of a file, without its end; header lines (`#`) always, others only where `wanted` says that the
/// piece around them is worth looking at.
pub fn lines(
    path: &Path,
    wanted: impl Fn(&[u8]) -> bool,
    mut line: impl FnMut(&str) -> ControlFlow<()>,
) -> io::Result<()> {
    let file = match File::open(path) {
        // Aged out between the listing and now.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    read_lines(file, wanted, &mut line)
}

fn read_lines(
    mut input: impl Read,
    wanted: impl Fn(&[u8]) -> bool,
    line: &mut impl FnMut(&str) -> ControlFlow<()>,
) -> io::Result<()> {
    let mut buffer: Vec<u8> = Vec::with_capacity(PIECE);
    let mut passing_over = false;
    loop {
        let had = buffer.len();
        buffer.resize(had + PIECE, 0);
        let n = match input.read(buffer.get_mut(had..).unwrap_or_default()) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => 0,
            Err(e) => return Err(e),
            Ok(0) => return Ok(()),
            Ok(n) => n,
        };
        buffer.truncate(had + n);
        let Some(end) = memchr::memrchr(b'\n', &buffer) else {
            if buffer.len() > LINE_MAX {
                buffer.clear();
                passing_over = true;
            }
            continue;
        };
        let mut whole = buffer.get(..end).unwrap_or_default();
        if std::mem::take(&mut passing_over) {
            let skip = memchr::memchr(b'\n', whole).map_or(whole.len(), |at| at + 1);
            whole = whole.get(skip..).unwrap_or_default();
        }
        if each(whole, wanted(whole), line).is_break() {
            return Ok(());
        }
        buffer.drain(..=end);
    }
}

fn each(whole: &[u8], wanted: bool, line: &mut impl FnMut(&str) -> ControlFlow<()>) -> ControlFlow<()> {
    // A piece that is not wanted can still begin a file, and so have its header.
    if !wanted && !whole.starts_with(b"#") && !whole.starts_with(b"\xEF\xBB\xBF#") {
        return ControlFlow::Continue(());
    }
    for bytes in whole.split(|b| *b == b'\n') {
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        if bytes.is_empty() || !(wanted || bytes.starts_with(b"#")) {
            continue;
        }
        line(&String::from_utf8_lossy(bytes))?;
    }
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str, wanted: bool) -> Vec<String> {
        let mut seen = Vec::new();
        let mut line = |l: &str| {
            seen.push(l.to_owned());
            ControlFlow::Continue(())
        };
        read_lines(text.as_bytes(), |_| wanted, &mut line).unwrap();
        seen
    }

    #[test]
    fn a_torn_last_line_is_left_out() {
        assert_eq!(all("\u{FEFF}#a\r\none\r\n\r\ntwo\nthr", true), ["#a", "one", "two"]);
        assert_eq!(all("#a\r\none\r\n", false), ["#a"]);
        assert!(all("torn", true).is_empty());
    }

    #[test]
    fn lines_longer_than_a_piece_are_whole_and_endless_ones_passed_over() {
        let long = "x".repeat(PIECE * 2);
        assert_eq!(all(&format!("{long}\nshort\n"), true), [long.as_str(), "short"]);
        let endless = "y".repeat(LINE_MAX + PIECE + 1);
        assert_eq!(all(&format!("a\n{endless}\nshort\n"), true), ["a", "short"]);
    }

    #[test]
    fn names_say_the_time() {
        let file =
            |period: &str| LogFile { period: period.into(), number: 1, bytes: 0, path: PathBuf::new() };
        let (start, end) = file("2026030308").span().unwrap();
        assert_eq!(start.to_string(), "2026-03-03T08:00:00.000Z");
        assert_eq!(end.since(start), 3_600_000);
        let (start, end) = file("20260303").span().unwrap();
        assert_eq!(end.since(start), 86_400_000);
        assert!(file("20260303").may_hold(Some(start.plus_millis(5)), None));
        assert!(!file("20260303").may_hold(Some(end.plus_millis(100_000)), None));
        assert!(!file("20260303").may_hold(None, Some(start.plus_millis(-100_000))));
        assert_eq!(file("2026").span(), None);
    }
}
