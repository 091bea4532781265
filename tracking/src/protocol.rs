//! Lines of the protocol logs (IMAP4, POP3, SMTP receive and send) and of the connectivity log, read back: each as who spoke
//! to whom, what was asked and how it was answered. Fields are found by the names of the `#Fields` line.

use crate::files;
use crate::layout::{parse_time, split};
use memchr::memmem;
use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use waypost_base::Timestamp;

/// Which log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Log {
    Imap,
    Pop,
    SmtpReceive,
    SmtpSend,
    Connectivity,
}

impl Log {
    pub const ALL: [Log; 5] = [Log::Imap, Log::Pop, Log::SmtpReceive, Log::SmtpSend, Log::Connectivity];

    /// First part of its files' names.
    pub const fn prefix(self) -> &'static str {
        match self {
            Log::Imap => "IMAP4",
            Log::Pop => "POP3",
            Log::SmtpReceive => "RECV",
            Log::SmtpSend => "SEND",
            Log::Connectivity => "CONNECTLOG",
        }
    }

    /// As people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Log::Imap => "IMAP4 protocol log",
            Log::Pop => "POP3 protocol log",
            Log::SmtpReceive => "SMTP receive protocol log",
            Log::SmtpSend => "SMTP send protocol log",
            Log::Connectivity => "connectivity log",
        }
    }

    /// The service that writes it.
    pub const fn service(self) -> &'static str {
        match self {
            Log::Imap => "imap",
            Log::Pop => "pop",
            Log::SmtpReceive => "smtp",
            Log::SmtpSend | Log::Connectivity => "send",
        }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub time: Timestamp,
    pub log: Log,
    pub session: String,
    /// The other side: a client's or a server's address and port, or the destination.
    pub peer: String,
    pub local: String,
    /// Who had signed in.
    pub user: String,
    /// What was asked: `login amy`, `> 250 Ok`.
    pub said: String,
    /// How it was answered, as the log has it.
    pub answer: String,
}

impl Line {
    /// Whether a service of ours, or a peer, refused or could not do what was asked.
    pub fn is_bad(&self) -> bool {
        let answer = self.verdict();
        // How a client goes is its own affair.
        if self.said.starts_with("CloseSession") {
            return false;
        }
        match self.log {
            Log::Imap => {
                answer.starts_with("NO") || answer.starts_with("BAD") || self.answer.contains("ErrMsg=")
            }
            Log::Pop => answer.starts_with("-ERR") || self.answer.contains("ErrMsg="),
            Log::SmtpReceive | Log::SmtpSend => {
                let rest = self.said.trim_start_matches(['>', '<', ' ']);
                (self.said.starts_with('>') == (self.log == Log::SmtpReceive))
                    && rest.starts_with(['4', '5'])
                    && rest.as_bytes().iter().take(3).all(u8::is_ascii_digit)
                    && matches!(rest.as_bytes().get(3), Some(b' ' | b'-'))
            }
            Log::Connectivity => {
                let lower = self.said.to_ascii_lowercase();
                lower.contains("failed") || lower.contains("refused") || lower.contains("timed out")
            }
        }
    }

    /// The answer as it was given, in IMAP without the client's tag.
    pub fn verdict(&self) -> &str {
        let answer = self.answer.strip_prefix("R=").unwrap_or(&self.answer).trim_matches('"');
        if self.log != Log::Imap {
            return answer;
        }
        let rest = answer.split_once(' ').map_or("", |(_, rest)| rest);
        let first = |text: &str| matches!(text.split(' ').next(), Some("OK" | "NO" | "BAD"));
        if !first(answer) && first(rest) { rest } else { answer }
    }

    /// Whether what was refused is the client's or a peer's own doing: a wrong password, a recipient that is nobody's. What we
    /// could not do, or what others refused us, is not.
    pub fn is_refusal(&self) -> bool {
        let said = self.said.trim_start_matches(['>', ' ']);
        match self.log {
            Log::Imap | Log::Pop => {
                let upper = self.answer.to_ascii_uppercase();
                !["UNAVAILABLE", "SERVERBUG", "CONTACTADMIN", "SYS/", "INUSE", "LIMIT"]
                    .iter()
                    .any(|w| upper.contains(w))
            }
            Log::SmtpReceive => said.starts_with('5'),
            Log::SmtpSend | Log::Connectivity => false,
        }
    }

    /// In a line.
    pub fn shown(&self) -> String {
        let mut text = self.said.clone();
        if !self.user.is_empty() && !text.contains(&self.user) {
            text.push_str(&format!(" ({})", self.user));
        }
        if !self.answer.is_empty() {
            text.push_str(&format!(" → {}", self.answer));
        }
        text
    }
}

/// Which lines. Everything that is set must hold.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// Sixteen hexadecimal digits.
    pub session: Option<String>,
    /// Only lines that name one of these, in any case of letters and not as a part of another name: addresses, names of
    /// users, hosts. None: all lines.
    pub names: Vec<String>,
    /// Only lines that tell of something refused or failed.
    pub bad: bool,
}

/// The newest `max` lines that are wanted, oldest first.
///
/// # Errors
/// When the folder or a file cannot be read. Damaged lines are passed over.
pub fn find(folder: &Path, log: Log, wanted: &Wanted, max: usize) -> io::Result<Vec<Line>> {
    let mut found: VecDeque<Line> = VecDeque::new();
    let session = wanted.session.as_deref().map(|s| memmem::Finder::new(s.as_bytes()).into_owned());
    let names: Vec<String> = wanted.names.iter().map(|name| name.to_lowercase()).collect();
    for file in files::newest_first(folder, log.prefix(), wanted.from, wanted.to)? {
        let room = max.saturating_sub(found.len());
        if room == 0 {
            break;
        }
        let mut here = VecDeque::new();
        let mut columns = Columns::default();
        let piece = |bytes: &[u8]| session.as_ref().is_none_or(|s| s.find(bytes).is_some());
        files::lines(&file.path, piece, |line| {
            if let Some(names) = line.strip_prefix("#Fields:") {
                columns = Columns::of(names);
                return ControlFlow::Continue(());
            }
            if line.starts_with('#') || !(names.is_empty() || mentions(&line.to_lowercase(), &names)) {
                return ControlFlow::Continue(());
            }
            if let Some(read) = columns.read(log, line).filter(|l| holds(wanted, l)) {
                if here.len() >= room {
                    here.pop_front();
                }
                here.push_back(read);
            }
            ControlFlow::Continue(())
        })?;
        while let Some(line) = here.pop_back() {
            found.push_front(line);
        }
    }
    Ok(found.into())
}

/// Whether one of the names, all in lower case as the line is, stands in it by itself: `amy` not in `amy@other.test` or `amyl`, but in `CONTOSO\\amy`.
pub fn mentions(line: &str, names: &[String]) -> bool {
    let inside = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '+');
    let alone = |name: &String, at: usize| {
        let (before, after) = (line.get(..at).unwrap_or_default(), line.get(at + name.len()..));
        let after = after.unwrap_or_default().trim_start_matches('.');
        !before.ends_with(inside) && !after.starts_with(inside)
    };
    names.iter().any(|name| line.match_indices(name.as_str()).any(|(at, _)| alone(name, at)))
}

fn holds(wanted: &Wanted, line: &Line) -> bool {
    wanted.from.is_none_or(|from| line.time >= from)
        && wanted.to.is_none_or(|to| line.time <= to)
        && wanted.session.as_ref().is_none_or(|s| line.session.eq_ignore_ascii_case(s))
        && (!wanted.bad || line.is_bad())
}

/// When lines were written and by which log, without what they say: for seeing silence. At most `max`, the newest.
///
/// # Errors
/// When the folder or a file cannot be read.
pub fn times(
    folder: &Path,
    log: Log,
    from: Timestamp,
    to: Timestamp,
    max: usize,
) -> io::Result<Vec<Timestamp>> {
    let mut all: VecDeque<Timestamp> = VecDeque::new();
    let mut files = files::newest_first(folder, log.prefix(), Some(from), Some(to))?;
    files.reverse();
    for file in files {
        files::lines(
            &file.path,
            |_| true,
            |line| {
                // The time is the first field of each of these logs.
                let time = line.split(',').next().and_then(parse_time);
                if let Some(time) = time.filter(|t| *t >= from && *t <= to) {
                    if all.len() >= max {
                        all.pop_front();
                    }
                    all.push_back(time);
                }
                ControlFlow::Continue(())
            },
        )?;
    }
    Ok(all.into())
}

/// Where each field stands.
#[derive(Clone, Debug, Default)]
struct Columns(Vec<String>);

impl Columns {
    fn of(names: &str) -> Columns {
        Columns(names.trim().split(',').map(|n| n.trim().to_ascii_lowercase()).collect())
    }

    fn read(&self, log: Log, line: &str) -> Option<Line> {
        let fields = split(line);
        let usual: &[&str] = match log {
            Log::Imap | Log::Pop => &[
                "datetime",
                "sessionid",
                "seqnumber",
                "sip",
                "cip",
                "user",
                "duration",
                "rqsize",
                "rpsize",
                "command",
                "parameters",
                "context",
            ],
            Log::SmtpReceive | Log::SmtpSend => &[
                "date-time",
                "connector-id",
                "session-id",
                "sequence-number",
                "local-endpoint",
                "remote-endpoint",
                "event",
                "data",
                "context",
            ],
            Log::Connectivity => {
                &["date-time", "session", "source", "destination", "direction", "description"]
            }
        };
        let of = |name: &str| {
            let place = match self.0.iter().position(|n| n == name) {
                Some(place) => Some(place),
                // A file that has lost its header.
                None if self.0.is_empty() => usual.iter().position(|n| *n == name),
                None => None,
            };
            place.and_then(|p| fields.get(p)).map(|f| f.to_string()).unwrap_or_default()
        };
        let joined = |a: String, b: String| if b.is_empty() { a } else { format!("{a} {b}") };
        let line = match log {
            Log::Imap | Log::Pop => Line {
                time: parse_time(&of("datetime"))?,
                log,
                session: of("sessionid"),
                peer: of("cip"),
                local: of("sip"),
                user: of("user"),
                said: joined(of("command"), of("parameters")),
                answer: of("context"),
            },
            Log::SmtpReceive | Log::SmtpSend => Line {
                time: parse_time(&of("date-time"))?,
                log,
                session: of("session-id"),
                peer: of("remote-endpoint"),
                local: of("local-endpoint"),
                user: String::new(),
                said: joined(of("event"), of("data")),
                answer: of("context"),
            },
            Log::Connectivity => Line {
                time: parse_time(&of("date-time"))?,
                log,
                session: of("session"),
                peer: of("destination"),
                local: String::new(),
                user: String::new(),
                said: joined(of("direction"), of("description")),
                answer: String::new(),
            },
        };
        Some(line)
    }
}

pub(crate) fn fuzz_one(text: &str) {
    for log in Log::ALL {
        let mut columns = Columns::default();
        for line in text.lines() {
            match line.strip_prefix("#Fields:") {
                Some(names) => columns = Columns::of(names),
                None => {
                    let _ = columns.read(log, line).map(|l| (l.is_bad(), l.shown()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_by_the_names_of_their_fields() {
        let folder = std::env::temp_dir().join(format!("waypost-protocol-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let imap = "#Software: Waypost\r\n#Fields: dateTime,sessionId,seqNumber,sIp,cIp,user,duration,rqsize,rpsize,command,parameters,context,puid\r\n\
            2026-03-03T08:15:20.114Z,000000000000001A,0,127.0.0.1:143,192.0.2.7:50000,,0,0,0,OpenSession,,,\r\n\
            2026-03-03T08:15:21.114Z,000000000000001A,1,127.0.0.1:143,192.0.2.7:50000,amy,1,2,3,login,amy *****,\"R=\"\"a1 NO [UNAVAILABLE] later\"\"\",\r\n\
            2026-03-03T08:15:22.114Z,000000000000001B,1,127.0.0.1:143,192.0.2.8:50000,ben,1,2,3,select,INBOX,R=OK,\r\n";
        std::fs::write(folder.join("IMAP42026030308-1.LOG"), imap).unwrap();
        let smtp = "2026-03-03T08:15:20.114Z,mx\\smtp,000000000000002A,3,127.0.0.1:25,192.0.2.9:1,>,451 4.3.2 busy,\r\n\
            2026-03-03T08:15:20.115Z,mx\\smtp,000000000000002A,4,127.0.0.1:25,192.0.2.9:1,<,550 is not a command,\r\n";
        std::fs::write(folder.join("RECV2026030308-1.LOG"), smtp).unwrap();
        let all = find(&folder, Log::Imap, &Wanted::default(), 10).unwrap();
        assert_eq!(all.len(), 3);
        let session = Wanted { session: Some("000000000000001A".into()), ..Wanted::default() };
        let of_one = find(&folder, Log::Imap, &session, 10).unwrap();
        assert_eq!(of_one.len(), 2);
        assert!(of_one[1].is_bad() && !of_one[0].is_bad());
        assert_eq!(of_one[1].verdict(), "NO [UNAVAILABLE] later");
        assert_eq!(of_one[1].shown(), "login amy ***** → R=\"a1 NO [UNAVAILABLE] later\"");
        let ben = Wanted { names: vec!["BEN".into()], ..Wanted::default() };
        assert_eq!(find(&folder, Log::Imap, &ben, 10).unwrap()[0].user, "ben");
        let names = ["amy".to_owned(), "ben@contoso.test".to_owned()];
        for (line, named) in [
            ("login amy *****", true),
            ("login contoso\\amy", true),
            ("amy@other.test", false),
            ("amyl", false),
            ("sammy", false),
            ("to:<ben@contoso.test>", true),
            ("by ben@contoso.test.", true),
            ("to:<ben@contoso.test.other>", false),
            ("to:<big-ben@contoso.test>", false),
        ] {
            assert_eq!(mentions(line, &names), named, "{line}");
        }
        let bad = Wanted { bad: true, ..Wanted::default() };
        assert_eq!(find(&folder, Log::SmtpReceive, &bad, 10).unwrap().len(), 1);
        let (from, to) = (Timestamp(0), Timestamp(i64::MAX / 2));
        assert_eq!(times(&folder, Log::Imap, from, to, 2).unwrap().len(), 2);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
