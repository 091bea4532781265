//! A log block by block. Most lines are never taken apart: the phrases of all rules are looked for in the whole block at once,
//! and so are a few words by which each kind of log shows trouble.

use super::facts;
use super::format::{Format, Header, Setup};
use super::row;
use crate::fact::{Fact, FileId, Place, server_name};
use crate::sink::Sink;
use aho_corasick::AhoCorasick;
use memchr::memchr;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Sessions that are followed at a time; a busy front end has some thousand open.
const SESSIONS_MAX: usize = 8192;
/// Bytes of the greeting's extensions that are kept.
const EXTENSIONS_MAX: usize = 1500;

fn automaton(words: &[&str]) -> Option<AhoCorasick> {
    AhoCorasick::new(words).ok()
}

static CLIENT: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    automaton(&[
        " NO",
        " BAD",
        "-ERR",
        "ErrMsg",
        "Error=",
        ",login,",
        ",authenticate,",
        ",pass,",
        ",auth,",
        "LOGIN",
        "AUTHENTICATE",
    ])
});
static SMTP: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    automaton(&[
        ",>,4",
        ",>,5",
        ",<,4",
        ",<,5",
        ",>,\"4",
        ",>,\"5",
        ",<,\"4",
        ",<,\"5",
        ",*,",
        ",>,220 ",
        ",>,\"220 ",
        ",<,220 ",
        ",250-",
        ",250 ",
        ",\"250 ",
        ",\"250-",
        "SocketError",
    ])
});
static TRACKING: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    automaton(&[
        "FAIL,",
        "DEFER,",
        ",BADMAIL,",
        ",POISONMESSAGE,",
        ",DROP,",
        ",THROTTLE,",
        ",MODERATIONEXPIRE,",
    ])
});
static CONNECTIVITY: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    automaton(&[
        "ailed",
        "Retry",
        "rror",
        "nreachable",
        "imed out",
        "imeout",
        "HResult",
        "ot active",
        "efused",
        "xception",
    ])
});
static OTHER: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    automaton(&[
        "rror",
        "xception",
        "ailed",
        "ailure",
        "enied",
        "imeout",
        "imed out",
        "nreachable",
        "WARN",
        "ejected",
    ])
});
static SETUP: LazyLock<Option<AhoCorasick>> =
    LazyLock::new(|| automaton(&["[ERROR]", "[WARNING]", "[REQUIRED]"]));
static WAYPOST: LazyLock<Option<AhoCorasick>> =
    LazyLock::new(|| automaton(&["ERROR", "WARN", "\"failed\"", "\"degraded\"", "\"cause\"", "\"finding\""]));

/// The next place in a block where one of many words occurs, so that each line only compares numbers.
struct Marks {
    at: usize,
    known: bool,
}

impl Marks {
    fn new() -> Marks {
        Marks { at: 0, known: false }
    }

    /// Whether a word begins in `from..to` of the block; `find` looks for the first one in a text.
    fn within(
        &mut self,
        block: &[u8],
        from: usize,
        to: usize,
        find: impl Fn(&[u8]) -> Option<usize>,
    ) -> bool {
        if !self.known || self.at < from {
            let found = block.get(from..).and_then(find);
            self.at = found.map_or(usize::MAX, |at| from + at);
            self.known = true;
        }
        self.at < to
    }
}

/// What is known of a session of IMAP or POP.
struct Opened {
    line: u32,
    commands: u32,
    time: Option<waypost_base::Timestamp>,
    server: String,
    client: String,
}

/// A log being read.
pub struct Stream {
    setup: Setup,
    odd: &'static Option<AhoCorasick>,
    /// Every line becomes a fact: it is short.
    all: bool,
    lines: u64,
    sessions: HashMap<Vec<u8>, Opened>,
    header: Header,
    /// Columns of the status that clients got and of the one behind it.
    status: Option<usize>,
    behind: Option<usize>,
    greeting: Option<Greeting>,
    /// The error of a setup log whose further lines are being gathered.
    entry: Option<(u32, String)>,
}

/// A reply to EHLO whose lines are being gathered.
struct Greeting {
    session: String,
    lines: String,
    first: Fact,
}

impl Stream {
    pub fn new(setup: Setup, all: bool) -> Stream {
        let odd: &'static LazyLock<Option<AhoCorasick>> = match setup.format {
            Format::Imap | Format::Pop => &CLIENT,
            Format::SmtpReceive | Format::SmtpSend => &SMTP,
            Format::Tracking => &TRACKING,
            Format::Connectivity => &CONNECTIVITY,
            Format::Setup => &SETUP,
            Format::Waypost => &WAYPOST,
            Format::HttpProxy | Format::MapiHttp | Format::Iis | Format::Other(_) => &OTHER,
        };
        let place = |names: [&str; 3]| names.iter().find_map(|name| setup.columns.place(name));
        Stream {
            status: place(["httpstatus", "scstatus", "httpstatuscode"]),
            behind: place(["backendstatus", "", ""]),
            setup,
            odd,
            all,
            lines: 0,
            sessions: HashMap::new(),
            header: Header::default(),
            greeting: None,
            entry: None,
        }
    }

    /// Reads whole lines; `first` is the number of the first one. Returns the number of the line after the last.
    pub fn block(&mut self, block: &[u8], first: u32, sink: &mut Sink<'_>) -> u32 {
        let (mut phrases, mut odd) = (Marks::new(), Marks::new());
        let mut number = first;
        let mut from = 0;
        let mut last_line: &[u8] = &[];
        while let Some(rest) = block.get(from..).filter(|rest| !rest.is_empty()) {
            let len = memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let raw = rest.get(..len).unwrap_or(rest);
            let line = raw.trim_ascii_end();
            let to = from + len;
            if line.first() == Some(&b'#') {
                self.header_line(line, sink);
            } else if !line.is_empty() {
                self.lines += 1;
                last_line = line;
                self.session(line, number, sink);
                let told = self.all
                    || phrases.within(block, from, to, |text| sink.find_in_logs(text).map(|hit| hit.start));
                let strange =
                    odd.within(block, from, to, |text| self.odd.as_ref()?.find(text).map(|hit| hit.start()));
                if told || (strange || self.status.is_some()) && self.worth(line, strange) {
                    self.keep(line, number, told, sink);
                } else if self.entry.is_some() {
                    self.entry_goes_on(line, sink);
                }
            }
            number = number.saturating_add(1);
            from = to;
        }
        let stamp =
            last_line.get(..last_line.len().min(24)).and_then(|start| std::str::from_utf8(start).ok());
        if let Some(time) = stamp.and_then(row::time) {
            sink.saw_time(time);
        }
        self.went_well(block, sink);
        number
    }

    /// Counts mail that was handed on and TLS that came about; these lines are mostly no facts.
    fn went_well(&self, block: &[u8], sink: &mut Sink<'_>) {
        let marks: &[&[u8]] = match self.setup.format {
            Format::SmtpReceive => &[b"Queued mail for delivery", b"_SERVER negotiation succeeded"],
            Format::Connectivity => &[b"Messages: "],
            Format::Tracking => &[b",DELIVER,", b",SMTP,SEND,"],
            _ => return,
        };
        for (index, mark) in marks.iter().enumerate() {
            for at in memchr::memmem::find_iter(block, mark) {
                let start = block.get(..at).and_then(|b| memchr::memrchr(b'\n', b)).map_or(0, |b| b + 1);
                let line = block.get(start..at).and_then(|line| std::str::from_utf8(line).ok());
                let Some((line, time)) = line.and_then(|line| Some((line, facts::stamp(line)?))) else {
                    continue;
                };
                let connector = line.split(',').nth(1).filter(|_| self.setup.format == Format::SmtpReceive);
                if index > 0
                    && let Some(connector) = connector
                {
                    sink.encrypted(connector, time);
                    continue;
                }
                let none = block.get(at + mark.len()) == Some(&b'0');
                if self.setup.format != Format::Connectivity || !none {
                    let server =
                        connector.and_then(|id| id.split_once('\\')).and_then(|(name, _)| server_name(name));
                    sink.handed_on(server, time);
                }
            }
        }
    }

    /// The end of the log.
    pub fn finish(mut self, sink: &mut Sink<'_>) {
        self.end_entry(sink);
        self.end_greeting(sink);
        sink.understood(self.setup.format.title(), self.lines);
    }

    /// A header in the middle: the file was rolled, or several were joined.
    fn header_line(&mut self, line: &[u8], sink: &mut Sink<'_>) {
        let text = crate::read::logs::decoded(line);
        if !self.header.line(&text) {
            return;
        }
        if let Some(host) = self.header.host.take() {
            sink.set_server(server_name(&host));
        }
        if text.to_ascii_lowercase().starts_with("#fields")
            && let Some(columns) = self.header.fields.clone()
            && columns.names.len() >= 3
        {
            let hints = self.setup.hints.clone();
            if let Some(setup) = self.header.setup(&hints) {
                let (all, lines) = (self.all, self.lines);
                let header = std::mem::take(&mut self.header);
                self.end_greeting(sink);
                *self = Stream { lines, header, ..Stream::new(setup, all) };
            }
        }
    }

    /// Whether a line that is odd at first glance is worth a fact.
    fn worth(&self, line: &[u8], strange: bool) -> bool {
        match self.setup.format {
            Format::HttpProxy | Format::MapiHttp | Format::Iis => {
                let status = self.status.and_then(|at| code_at(line, at, self.setup.columns.separator));
                let behind = self.behind.and_then(|at| code_at(line, at, self.setup.columns.separator));
                let server = status.is_some_and(|s| s >= 500) || behind.is_some_and(|s| s >= 500);
                // A challenge (401) without a status behind it is how signing in begins.
                let apart =
                    self.behind.is_some() && status.is_some_and(|s| s >= 400 && s != 401) && behind != status;
                server || apart
            }
            Format::SmtpReceive | Format::SmtpSend => smtp_worth(line),
            _ => strange,
        }
    }

    fn keep(&mut self, line: &[u8], number: u32, told: bool, sink: &mut Sink<'_>) {
        let text = crate::read::logs::decoded(line);
        let place = Place { file: sink.file, line: number };
        match self.setup.format {
            Format::SmtpReceive | Format::SmtpSend if is_greeting(line) => {
                self.greeting(&text, place, sink);
                if told {
                    facts::emit(&self.setup, &text, place, sink);
                }
            }
            Format::Setup => {
                if self.entry.is_some() && super::setup::goes_on(&text) {
                    self.entry_goes_on(line, sink);
                } else {
                    self.end_entry(sink);
                    self.entry = Some((number, text.into_owned()));
                }
            }
            _ => facts::emit(&self.setup, &text, place, sink),
        }
    }

    fn entry_goes_on(&mut self, line: &[u8], sink: &mut Sink<'_>) {
        let text = crate::read::logs::decoded(line);
        let done = super::setup::take(&text).is_some();
        match &mut self.entry {
            Some((_, entry)) if !done && entry.len() < 4096 => {
                entry.push('\n');
                entry.push_str(&text);
            }
            _ => self.end_entry(sink),
        }
    }

    fn end_entry(&mut self, sink: &mut Sink<'_>) {
        if let Some((number, text)) = self.entry.take() {
            facts::emit(&self.setup, &text, Place { file: sink.file, line: number }, sink);
        }
    }

    /// A line of a reply to EHLO: together they say what the server offers, and what it does not.
    fn greeting(&mut self, text: &str, place: Place, sink: &mut Sink<'_>) {
        let Some(fact) = facts::of(&self.setup, text, place) else { return };
        let session = fact.get("session").unwrap_or_default().to_owned();
        let data = fact.get("data").unwrap_or_default().to_owned();
        if self.greeting.as_ref().is_some_and(|greeting| greeting.session != session) {
            self.end_greeting(sink);
        }
        let greeting =
            self.greeting.get_or_insert_with(|| Greeting { session, lines: String::new(), first: fact });
        if greeting.lines.len() < EXTENSIONS_MAX {
            greeting.lines.push(' ');
            greeting.lines.push_str(data.get(4..).unwrap_or_default().trim());
        }
        if !data.starts_with("250-") {
            self.end_greeting(sink);
        }
    }

    fn end_greeting(&mut self, sink: &mut Sink<'_>) {
        let Some(Greeting { lines, mut first, .. }) = self.greeting.take() else { return };
        let has = |word: &str| lines.split_whitespace().any(|w| w.eq_ignore_ascii_case(word));
        // Other replies with 250 are answers to MAIL and RCPT.
        if !["SIZE", "PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"].iter().any(|word| has(word)) {
            return;
        }
        let yes = |word: &str| if has(word) { "yes" } else { "no" };
        first.fields.retain(|(name, _)| name != "data" && name != "command");
        first.put("command", "ehlo");
        first.put("data", format!("250{lines}"));
        first.put("starttls", yes("STARTTLS"));
        first.put("xanonymoustls", yes("X-ANONYMOUSTLS"));
        let shown = format!("reply to EHLO: 250{lines}");
        sink.fact(first.text(&shown));
    }

    /// Follows sessions of IMAP and POP: one that ends without a command says that the other end turned away.
    pub(super) fn session(&mut self, line: &[u8], number: u32, sink: &mut Sink<'_>) {
        if !matches!(self.setup.format, Format::Imap | Format::Pop) || self.setup.columns.names.len() < 10 {
            return;
        }
        let mut parts = line.split(|b| *b == b',');
        let (time, Some(id)) = (parts.next(), parts.next()) else { return };
        let (Some(server), Some(client)) = (parts.nth(1), parts.next()) else { return };
        let Some(command) = parts.nth(4) else { return };
        if command == b"OpenSession" {
            if self.sessions.len() >= SESSIONS_MAX {
                self.sessions.clear();
            }
            let time = time.and_then(|t| std::str::from_utf8(t).ok()).and_then(row::time);
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let opened =
                Opened { line: number, commands: 0, time, server: text(server), client: text(client) };
            self.sessions.insert(id.to_vec(), opened);
        } else if command == b"CloseSession" {
            if let Some(opened) = self.sessions.remove(id).filter(|opened| opened.commands == 0) {
                sink.fact(self.silent(id, &opened, sink.file));
            }
        } else if let Some(opened) = self.sessions.get_mut(id) {
            opened.commands += 1;
        }
    }

    /// A session that was opened and closed with nothing in between.
    fn silent(&self, id: &[u8], opened: &Opened, file: FileId) -> Fact {
        let be =
            super::shape::port(&opened.server).is_some_and(|port| matches!(port, 1993 | 1143 | 1995 | 1110));
        let end = if be { "be" } else { self.setup.hints.end.unwrap_or("fe") };
        let session = String::from_utf8_lossy(id);
        let text = format!(
            "session {session} from {} to {}: opened and closed without a command",
            opened.client, opened.server
        );
        Fact::new(self.setup.format.kind().to_owned(), Place { file, line: opened.line })
            .with("end", end)
            .with("session", session)
            .with("sip", &opened.server)
            .with("cip", &opened.client)
            .with("command", "session")
            .with("commands", "0")
            .with("result", "closed")
            .time(opened.time)
            .text(&text)
    }
}

/// A number of three digits in a column, without taking the line apart; columns after a quoted comma are not found.
fn code_at(line: &[u8], column: usize, separator: u8) -> Option<u16> {
    let field = if memchr(b'"', line).is_none() {
        line.split(|b| *b == separator).nth(column)?.to_vec()
    } else {
        let text = String::from_utf8_lossy(line);
        row::split(&text, separator).get(column)?.as_bytes().to_vec()
    };
    std::str::from_utf8(&field).ok()?.trim().parse().ok().filter(|status| (100..1000).contains(status))
}

fn has(line: &[u8], word: &str) -> bool {
    memchr::memmem::find(line, word.as_bytes()).is_some()
}

/// Of SMTP: refusals, what `*` lines say of TLS and signing in, greetings.
fn smtp_worth(line: &[u8]) -> bool {
    if has(line, ",*,") {
        return ["TLS", "ertificate", "uthent", "egotiation", "ailed", "rror", "imed out", "roxy"]
            .iter()
            .any(|w| has(line, w));
    }
    let refusal = [
        ",>,4",
        ",>,5",
        ",<,4",
        ",<,5",
        ",>,\"4",
        ",>,\"5",
        ",<,\"4",
        ",<,\"5",
        ",220 ",
        ",\"220 ",
        "SocketError",
    ];
    refusal.iter().any(|word| has(line, word)) || is_greeting(line)
}

/// Whether a line is one of a reply to EHLO.
fn is_greeting(line: &[u8]) -> bool {
    if [",250-", ",\"250-"].iter().any(|word| has(line, word)) {
        return true;
    }
    [",250 ", ",\"250 "].iter().any(|word| has(line, word))
        && ["SIZE", "PIPELINING", "8BITMIME", "CHUNKING", "XRDST", "XSHADOW", "STARTTLS"]
            .iter()
            .any(|word| has(line, word))
}
