//! mbox (RFC 4155, in the reading of mboxrd): messages after lines `From SENDER DATE`, body lines that begin with `From `
//! (after any number of `>`) escaped by one `>` more.

use super::{Emit, PIECE_BYTES, Piece, Start, to_crlf};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use waypost_base::Timestamp;
use waypost_base::time::{MONTHS, WEEKDAYS, days_from_civil};
use waypost_mailbox::Flags;

/// Bytes of a header that are looked at for status fields before the message is passed on.
const HEAD_BYTES_MAX: usize = 64 * 1024;

pub(super) fn read(path: &Path, emit: Emit<'_>) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(PIECE_BYTES, File::open(path)?);
    let mut parser = Parser { emit, message: None, blank: Vec::new(), at: 0 };
    let mut line = Vec::new();
    let mut line_start = true;
    let mut after_blank = true;
    loop {
        line.clear();
        let n = (&mut reader).take(PIECE_BYTES as u64).read_until(b'\n', &mut line)?;
        if n == 0 {
            break;
        }
        let is_separator = line_start && after_blank && line.starts_with(b"From ");
        let go_on = if is_separator {
            parser.separator(&line)
        } else if parser.message.is_none() {
            let why =
                "text before the first line that begins with \"From \"; this is not an mbox file".to_owned();
            parser.skip(why)
        } else {
            parser.line(&line, line_start)
        };
        if !go_on {
            return Ok(());
        }
        after_blank = line_start && matches!(line.as_slice(), b"\n" | b"\r\n");
        line_start = line.ends_with(b"\n");
        parser.at += n as u64;
        if !(parser.emit)(Piece::Progress(n as u64)) {
            return Ok(());
        }
    }
    parser.end();
    Ok(())
}

struct Parser<'a> {
    emit: Emit<'a>,
    message: Option<Message>,
    /// The blank line before a separator belongs to the format, so it waits here until it is known what follows.
    blank: Vec<u8>,
    /// Place in the file.
    at: u64,
}

struct Message {
    start: Start,
    /// The header until its end, or `None` when it has been passed on.
    head: Option<Vec<u8>>,
    last: u8,
    any: bool,
}

impl Parser<'_> {
    fn separator(&mut self, line: &[u8]) -> bool {
        let go_on = self.end();
        let start = Start { key: format!("{}", self.at), internal: from_date(line), ..Start::default() };
        self.message = Some(Message { start, head: Some(Vec::new()), last: 0, any: false });
        go_on
    }

    fn skip(&mut self, why: String) -> bool {
        let what = format!("byte {}", self.at);
        // Said once; the rest up to the first message is passed over by the same rule, silently.
        let first = self.at == 0;
        !first || (self.emit)(Piece::Skip { what, why })
    }

    fn line(&mut self, line: &[u8], line_start: bool) -> bool {
        let held = std::mem::take(&mut self.blank);
        // A blank line that is not the separator's ends the header, if it is the first.
        if !held.is_empty() {
            let go_on = self.bytes(&held) && self.head_ends();
            if !go_on {
                return false;
            }
        }
        if line_start && matches!(line, b"\n" | b"\r\n") {
            self.blank = line.to_vec();
            return true;
        }
        let unescaped = line.iter().position(|b| *b != b'>').and_then(|n| line.get(n..)).unwrap_or_default();
        let escaped = line_start && line.starts_with(b">") && unescaped.starts_with(b"From ");
        self.bytes(if escaped { line.get(1..).unwrap_or_default() } else { line })
    }

    fn bytes(&mut self, bytes: &[u8]) -> bool {
        let Some(message) = &mut self.message else { return true };
        message.any = true;
        let crlf = to_crlf(bytes, &mut message.last);
        match &mut message.head {
            Some(head) => {
                head.extend_from_slice(&crlf);
                head.len() < HEAD_BYTES_MAX || self.head_ends()
            }
            None => (self.emit)(Piece::Bytes(crlf)),
        }
    }

    /// Looks for status fields, then lets the message go.
    fn head_ends(&mut self) -> bool {
        let Some(message) = &mut self.message else { return true };
        let Some(head) = message.head.take() else { return true };
        let mut start = message.start.clone();
        let fields = String::from_utf8_lossy(&head);
        for line in fields.lines() {
            let Some((name, value)) = line.split_once(':') else { continue };
            match name.to_ascii_lowercase().as_str() {
                "status" | "x-status" => start.flags = status(start.flags, value),
                "x-keywords" => start.keywords.extend(value.split_whitespace().map(str::to_owned)),
                _ => {}
            }
        }
        (self.emit)(Piece::Start(start)) && (self.emit)(Piece::Bytes(head))
    }

    fn end(&mut self) -> bool {
        self.blank.clear();
        let Some(message) = &self.message else { return true };
        if !message.any {
            let what = format!("message at byte {}", message.start.key);
            self.message = None;
            return (self.emit)(Piece::Skip { what, why: "is empty".into() });
        }
        let go_on = self.head_ends() && (self.emit)(Piece::End);
        self.message = None;
        go_on
    }
}

/// The letters of Status and X-Status, as Unix mail programs write them.
fn status(flags: Flags, letters: &str) -> Flags {
    letters.chars().fold(flags, |flags, letter| match letter {
        'R' => flags.with(Flags::SEEN),
        'A' => flags.with(Flags::ANSWERED),
        'F' => flags.with(Flags::FLAGGED),
        'D' => flags.with(Flags::DELETED),
        'T' => flags.with(Flags::DRAFT),
        _ => flags,
    })
}

/// The date of `From sender Tue Mar  3 08:15:20 2026`, which is taken as UTC (RFC 4155).
fn from_date(line: &[u8]) -> Option<Timestamp> {
    let line = std::str::from_utf8(line).ok()?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|w| MONTHS.contains(w))?;
    let month = MONTHS.iter().position(|m| Some(m) == words.get(at))? as u8 + 1;
    let day: u8 = words.get(at + 1)?.parse().ok().filter(|d| (1..=31).contains(d))?;
    let mut time = words.get(at + 2)?.split(':').map(|n| n.parse::<i64>().ok());
    let (hour, minute) = (time.next()??, time.next()??);
    let second = time.next().flatten().unwrap_or(0);
    // A time zone may stand before the year.
    let year: i32 =
        words.get(at + 3..)?.iter().find_map(|w| w.parse().ok().filter(|y| (1970..=9999).contains(y)))?;
    if !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..=60).contains(&second) {
        return None;
    }
    let days = days_from_civil(year, month, day);
    Some(Timestamp::from_seconds(days * 86_400 + hour * 3_600 + minute * 60 + second))
}

/// Writes an mbox file.
#[derive(Debug)]
pub struct MboxWriter<W> {
    out: W,
    line: Vec<u8>,
    line_start: bool,
}

impl<W: Write> MboxWriter<W> {
    pub fn new(out: W) -> MboxWriter<W> {
        MboxWriter { out, line: Vec::new(), line_start: true }
    }

    /// Begins a message.
    pub fn start(&mut self, internal: Timestamp) -> io::Result<()> {
        let c = internal.civil();
        let weekday = WEEKDAYS.get(usize::from(c.weekday)).copied().unwrap_or("Thu");
        let month = usize::from(c.month).checked_sub(1).and_then(|m| MONTHS.get(m)).copied().unwrap_or("Jan");
        self.line_start = true;
        writeln!(
            self.out,
            "From MAILER-DAEMON {weekday} {month} {:2} {:02}:{:02}:{:02} {}",
            c.day, c.hour, c.minute, c.second, c.year
        )
    }

    /// Bytes of the message, with LF line ends.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            // Only the beginning of a line has to be seen whole; a long line goes on as it comes.
            if self.line_start || !self.line.is_empty() {
                self.line.extend_from_slice(part);
                if self.line.len() < 4096 && !part.ends_with(b"\n") {
                    self.line_start = false;
                    continue;
                }
                self.flush_line()?;
            } else {
                self.out.write_all(part)?;
            }
            self.line_start = part.ends_with(b"\n");
        }
        Ok(())
    }

    fn flush_line(&mut self) -> io::Result<()> {
        let after =
            self.line.iter().position(|b| *b != b'>').and_then(|n| self.line.get(n..)).unwrap_or_default();
        if after.starts_with(b"From ") {
            self.out.write_all(b">")?;
        }
        self.out.write_all(&self.line)?;
        self.line.clear();
        Ok(())
    }

    /// Ends a message: its last line gets an end if it has none, and a blank line follows.
    pub fn end(&mut self) -> io::Result<()> {
        let open = !self.line.is_empty() || !self.line_start;
        self.flush_line()?;
        self.out.write_all(if open { b"\n\n" } else { b"\n" })
    }

    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}
