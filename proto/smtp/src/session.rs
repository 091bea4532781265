//! The session: what was said so far, what is allowed next, what is being waited for.
//!
//! Holds no input. `input` takes one step at a time (one command line, or one run of body), so that ranges in
//! [`Out::Body`] and [`Out::Heard`] always point into the slice of that call.

use crate::body::Dots;
use crate::command;
use crate::limits::REFUSED_CHUNKS;
use crate::reply::{Reply, Status};
use crate::types::{Answer, AskId, BareEnds, BodyKind, Config, Flavour, Mechanism, Out, Question, Tls};
use memchr::memchr;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use waypost_base::Timestamp;

/// One connection's worth of SMTP or LMTP, the server's side.
#[derive(Debug)]
pub struct Session {
    pub(crate) config: Arc<Config>,
    pub(crate) helo: Option<Helo>,
    pub(crate) tls: Option<Tls>,
    pub(crate) user: Option<String>,
    pub(crate) mail: Option<Box<Transaction>>,
    pub(crate) tally: Tally,
    phase: Phase,
    open: Option<(AskId, Open)>,
    outs: VecDeque<Out>,
    ranges: Vec<Range<usize>>,
    asked: u64,
    /// Octets at the beginning of the next input that were searched for a line end already.
    scanned: usize,
    deadline: Timestamp,
    announced: Timestamp,
    shutting_down: bool,
}

/// What the peer called itself, and by which command.
#[derive(Debug)]
pub(crate) struct Helo {
    pub(crate) name: String,
    /// EHLO or LHLO, so that extensions may be used.
    pub(crate) extended: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) errors: u32,
    pub(crate) idle: u32,
    pub(crate) auth_failures: u32,
    pub(crate) messages: u32,
    /// Refused in a row, since the last MAIL.
    pub(crate) refused_chunks: u32,
}

/// From MAIL to the end of the message.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) body: BodyKind,
    pub(crate) utf8: bool,
    /// Recipients accepted.
    pub(crate) accepted: u32,
    /// RCPT was tried, with whatever success.
    pub(crate) tried: bool,
    /// Lower-case domains of the accepted, kept only where they are limited.
    pub(crate) domains: Vec<String>,
    /// BDAT was used; DATA, MAIL and RCPT are over.
    pub(crate) chunked: bool,
    /// The caller said yes to `Begin`.
    pub(crate) begun: bool,
    /// Octets of the message so far.
    pub(crate) size: u64,
    /// The message is refused already; the rest of it is thrown away as it comes.
    pub(crate) failed: Option<Reply>,
    pub(crate) must_end: Timestamp,
}

#[derive(Debug)]
pub(crate) enum Phase {
    Command,
    /// Throwing away the rest of an overlong line.
    Skipping {
        auth: bool,
    },
    /// The next line is a SASL response.
    Auth,
    Data(Dots),
    Chunk(Chunk),
    Handshake,
    Closed,
}

/// A BDAT chunk on its way.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) left: u64,
    pub(crate) last: bool,
    /// What to say at its end instead of taking it.
    pub(crate) verdict: Option<Reply>,
}

/// What the open question was for.
#[derive(Debug)]
pub(crate) enum Open {
    Mail(Box<Transaction>),
    Rcpt { domain: String },
    Data,
    Chunk { left: u64, last: bool },
    Finish,
    Auth,
    Verify,
    Expand,
    Why,
}

const OUR_FAULT: Reply = Reply::new(451, Status(4, 3, 0), "Internal error, please try again later");

impl Session {
    /// A session on a fresh connection; the greeting is the first thing that `poll` gives. `tls`: the connection is
    /// under TLS already.
    pub fn new(config: Arc<Config>, tls: Option<Tls>, now: Timestamp) -> Session {
        let name = if config.flavour == Flavour::Lmtp { "LMTP" } else { "ESMTP" };
        let greeting = format!("220 {} {name} Waypost\r\n", config.host);
        let deadline = now.plus_millis(config.limits.command_millis);
        Session {
            config,
            helo: None,
            tls,
            user: None,
            mail: None,
            tally: Tally::default(),
            phase: Phase::Command,
            open: None,
            outs: VecDeque::from([Out::Send(greeting.into_bytes())]),
            ranges: Vec::new(),
            asked: 0,
            scanned: 0,
            deadline,
            announced: Timestamp(i64::MIN),
            shutting_down: false,
        }
    }

    /// The peer's name as it gave it, and whether by EHLO (or LHLO).
    pub fn helo(&self) -> Option<(&str, bool)> {
        self.helo.as_ref().map(|h| (h.name.as_str(), h.extended))
    }

    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// A message is under way: MAIL was accepted and the transaction is not over.
    pub fn in_transaction(&self) -> bool {
        self.mail.is_some()
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// A question waits for its answer.
    pub fn is_waiting(&self) -> bool {
        self.open.is_some()
    }

    /// Takes one step: a command line, or a run of the message. Answers how many octets of `data` were used up; the
    /// rest must come again, at the beginning of the next `input`, and 0 means that more is needed (or that outs or
    /// an open question wait).
    pub fn input(&mut self, now: Timestamp, data: &[u8]) -> usize {
        if self.open.is_some() || !self.outs.is_empty() || data.is_empty() {
            return 0;
        }
        let used = match self.phase {
            Phase::Command | Phase::Auth => self.line(now, data),
            Phase::Skipping { auth } => self.skip(auth, data),
            Phase::Data(_) => self.data(now, data),
            Phase::Chunk(_) => self.chunk(now, data),
            Phase::Handshake | Phase::Closed => return 0,
        };
        if used > 0 {
            self.touch(now);
        }
        self.settle();
        used
    }

    /// What to do next. `None`: nothing, until there is input, an answer, or the time announced last.
    pub fn poll(&mut self, now: Timestamp) -> Option<Out> {
        if let Some(out) = self.outs.pop_front() {
            if self.outs.is_empty() && self.outs.capacity() > 8 {
                self.outs = VecDeque::new();
            }
            return Some(out);
        }
        if self.open.is_some() || matches!(self.phase, Phase::Handshake | Phase::Closed) {
            return None;
        }
        if now >= self.deadline {
            self.abandon();
            self.say(Reply::new(421, Status(4, 4, 2), "Timeout, closing the connection"));
            self.close();
            return self.outs.pop_front();
        }
        if self.announced == self.deadline {
            return None;
        }
        self.announced = self.deadline;
        Some(Out::WakeAt(self.deadline))
    }

    /// Answers a question. An answer to a question that is not open any more is ignored.
    pub fn reply(&mut self, now: Timestamp, id: AskId, answer: Answer) {
        if !self.open.as_ref().is_some_and(|(open, _)| *open == id) {
            return;
        }
        let Some((_, open)) = self.open.take() else { return };
        match open {
            Open::Mail(transaction) => command::mail::answered(self, transaction, answer),
            Open::Rcpt { domain } => command::rcpt::answered(self, domain, answer),
            Open::Data => command::data::answered(self, now, answer),
            Open::Chunk { left, last } => command::bdat::answered(self, now, left, last, answer),
            Open::Finish => self.finished(answer),
            Open::Auth => command::auth::answered(self, answer),
            Open::Verify => command::vrfy::answered(self, answer),
            Open::Expand => command::expn::answered(self, answer),
            Open::Why => command::xwhy::answered(self, answer),
        }
        self.touch(now);
        self.settle();
    }

    /// The handshake that [`Out::StartTls`] asked for is done: the peer begins anew with EHLO (RFC 3207 §4.2).
    pub fn tls_started(&mut self, now: Timestamp, tls: Tls) {
        if matches!(self.phase, Phase::Handshake) {
            self.tls = Some(tls);
            self.helo = None;
            self.user = None;
            self.mail = None;
            self.phase = Phase::Command;
            self.touch(now);
        }
    }

    /// The caller cannot take the message any further (disk full, say): no more `Body` is handed out, and at the
    /// message's end the peer hears `reply`.
    pub fn fail_body(&mut self, reply: Reply) {
        if let Some(mail) = &mut self.mail
            && mail.begun
            && mail.failed.is_none()
        {
            mail.failed = Some(reply);
            self.outs.retain(|out| !matches!(out, Out::Body(_)));
        }
    }

    /// The server is about to stop: finish what is under way, then say 421. At once when nothing is.
    pub fn shutdown(&mut self) {
        self.shutting_down = true;
        self.settle();
    }

    fn settle(&mut self) {
        let idle = self.mail.is_none() && self.open.is_none() && matches!(self.phase, Phase::Command);
        if self.shutting_down && idle {
            self.say(Reply::with(
                421,
                Status(4, 3, 2),
                format!("{} Service is shutting down, please reconnect", self.config.host),
            ));
            self.close();
        }
    }

    fn touch(&mut self, now: Timestamp) {
        let limits = &self.config.limits;
        self.deadline = match (&self.phase, &self.mail) {
            (Phase::Data(_) | Phase::Chunk(_), Some(mail)) => {
                now.plus_millis(limits.data_millis).min(mail.must_end)
            }
            _ => now.plus_millis(limits.command_millis),
        };
    }

    /// The longest line that may begin with `data`.
    fn line_limit(&self, data: &[u8]) -> usize {
        let limits = &self.config.limits;
        let verb = data.get(..4).unwrap_or_default();
        if matches!(self.phase, Phase::Auth) || verb.eq_ignore_ascii_case(b"AUTH") {
            limits.line_auth
        } else if self.helo.as_ref().is_some_and(|h| h.extended) {
            limits.line_extended
        } else {
            limits.line
        }
    }

    fn line(&mut self, now: Timestamp, data: &[u8]) -> usize {
        let auth = matches!(self.phase, Phase::Auth);
        let limit = self.line_limit(data);
        let from = self.scanned.min(data.len());
        let Some(found) = memchr(b'\n', data.get(from..).unwrap_or_default()) else {
            if data.len() < limit {
                self.scanned = data.len();
                return 0;
            }
            self.scanned = 0;
            self.phase = Phase::Skipping { auth };
            return data.len();
        };
        self.scanned = 0;
        let end = from + found;
        let used = end + 1;
        if used > limit {
            self.overlong(auth);
            return used;
        }
        let with_cr = data.get(..end).unwrap_or_default();
        let line = match (with_cr.strip_suffix(b"\r"), self.config.bare_ends) {
            (Some(line), _) => line,
            (None, BareEnds::Keep) => with_cr,
            (None, BareEnds::Refuse) => {
                self.phase = Phase::Command;
                self.error(Reply::new(500, Status(5, 5, 2), "Lines must end with CRLF"));
                return used;
            }
        };
        if self.config.heard {
            let secret = if auth { Some(0) } else { command::secret(line) };
            self.outs.push_back(Out::Heard { line: 0..line.len(), secret });
        }
        if memchr(b'\r', line).is_some() || memchr(0, line).is_some() {
            self.phase = Phase::Command;
            self.error(Reply::new(500, Status(5, 5, 2), "Lines must not contain CR or NUL"));
        } else if auth {
            command::auth::response(self, line);
        } else if command::starttls::wanted(line) {
            // Whatever came with it in one piece was not protected by TLS, so it never happened.
            command::starttls::run(self, line);
            return if matches!(self.phase, Phase::Handshake) { data.len() } else { used };
        } else {
            command::run(self, now, line);
        }
        used
    }

    fn skip(&mut self, auth: bool, data: &[u8]) -> usize {
        match memchr(b'\n', data) {
            Some(end) => {
                self.overlong(auth);
                end + 1
            }
            None => data.len(),
        }
    }

    fn overlong(&mut self, auth: bool) {
        self.phase = Phase::Command;
        let detail = if auth { 6 } else { 2 };
        self.error(Reply::new(500, Status(5, 5, detail), "Line is too long"));
    }

    fn data(&mut self, now: Timestamp, data: &[u8]) -> usize {
        let Phase::Data(dots) = &mut self.phase else { return 0 };
        let mut ranges = std::mem::take(&mut self.ranges);
        let scan = dots.scan(data, &mut ranges);
        let bare = dots.bare;
        self.take_body(&ranges);
        ranges.clear();
        self.ranges = ranges;
        if bare {
            self.refuse_body(Reply::new(
                550,
                Status(5, 6, 11),
                "Message has a bare CR or LF; lines must end with CRLF",
            ));
        }
        if scan.done {
            self.phase = Phase::Command;
            self.body_ended(now);
        }
        scan.used
    }

    fn chunk(&mut self, now: Timestamp, data: &[u8]) -> usize {
        let Phase::Chunk(chunk) = &mut self.phase else { return 0 };
        let used = usize::try_from(chunk.left).map_or(data.len(), |left| left.min(data.len()));
        chunk.left -= used as u64;
        if chunk.verdict.is_none() {
            self.take_body(std::slice::from_ref(&(0..used)));
        }
        if matches!(&self.phase, Phase::Chunk(chunk) if chunk.left == 0) {
            self.chunk_ended(now);
        }
        used
    }

    /// Counts and hands out body, unless the message is refused already.
    fn take_body(&mut self, ranges: &[Range<usize>]) {
        let limit = self.config.limits.message;
        let Some(mail) = &mut self.mail else { return };
        if mail.failed.is_some() {
            return;
        }
        mail.size += ranges.iter().map(|r| r.len() as u64).sum::<u64>();
        if mail.size > limit {
            self.refuse_body(too_big(limit));
            return;
        }
        self.outs.extend(ranges.iter().cloned().map(Out::Body));
    }

    /// The rest of the message is read and thrown away.
    pub(crate) fn refuse_body(&mut self, reply: Reply) {
        let Some(mail) = &mut self.mail else { return };
        if mail.failed.is_none() {
            mail.failed = Some(reply);
            if mail.begun {
                self.outs.retain(|out| !matches!(out, Out::Body(_)));
                self.outs.push_back(Out::Reset);
            }
        }
    }

    /// DATA's final dot, or the end of the LAST chunk.
    pub(crate) fn body_ended(&mut self, _now: Timestamp) {
        let Some(mail) = &mut self.mail else { return };
        match mail.failed.take() {
            None => {
                let size = mail.size;
                self.ask(Open::Finish, Question::Finish { size });
            }
            Some(reply) => self.finished(Answer::Refuse(reply)),
        }
    }

    /// The end of any chunk.
    pub(crate) fn chunk_ended(&mut self, now: Timestamp) {
        let Phase::Chunk(chunk) = std::mem::replace(&mut self.phase, Phase::Command) else { return };
        let failed = self.mail.as_ref().and_then(|mail| mail.failed.clone());
        match chunk.verdict.or(failed) {
            Some(reply) if chunk.last && self.mail.as_ref().is_some_and(|m| m.accepted > 0) => {
                self.finished(Answer::Refuse(reply));
            }
            Some(reply) => self.chunk_refused(reply),
            None if chunk.last => self.body_ended(now),
            None => {
                let size = self.mail.as_ref().map_or(0, |mail| mail.size);
                self.say(Reply::with(250, Status(2, 0, 0), format!("{size} octets received")));
            }
        }
    }

    /// Clients send all chunks of a message before they hear that its sender was refused (RFC 3030 §4.2): together they are
    /// one error.
    fn chunk_refused(&mut self, reply: Reply) {
        self.tally.refused_chunks = self.tally.refused_chunks.saturating_add(1);
        if (2..=REFUSED_CHUNKS).contains(&self.tally.refused_chunks) {
            self.say(reply)
        } else {
            self.error(reply)
        }
    }

    /// The fate of the whole message is known: say it, and end the transaction.
    fn finished(&mut self, answer: Answer) {
        let Some(mail) = self.mail.take() else { return };
        self.tally.messages += 1;
        self.tally.idle = 0;
        let lmtp = self.config.flavour == Flavour::Lmtp;
        let accepted = mail.accepted as usize;
        let reply = match answer {
            Answer::Ok => Reply::new(250, Status(2, 0, 0), "Message accepted"),
            Answer::Accept(reply) | Answer::Refuse(reply) => reply,
            Answer::Each(replies) if lmtp => {
                let missing = accepted.saturating_sub(replies.len());
                let padding = std::iter::repeat_n(OUR_FAULT, missing);
                let mut bytes = Vec::new();
                replies.into_iter().take(accepted).chain(padding).for_each(|reply| reply.render(&mut bytes));
                self.outs.push_back(Out::Send(bytes));
                return;
            }
            _ => OUR_FAULT,
        };
        let mut bytes = Vec::new();
        for _ in 0..if lmtp { accepted } else { 1 } {
            reply.render(&mut bytes);
        }
        self.outs.push_back(Out::Send(bytes));
    }

    pub(crate) fn ask(&mut self, open: Open, question: Question) {
        self.asked += 1;
        let id = AskId(self.asked);
        self.open = Some((id, open));
        self.outs.push_back(Out::Ask(id, question));
    }

    pub(crate) fn push(&mut self, out: Out) {
        self.outs.push_back(out);
    }

    pub(crate) fn say(&mut self, reply: Reply) {
        self.outs.push_back(Out::Send(reply.to_bytes()));
    }

    /// A reply that counts against the peer.
    pub(crate) fn error(&mut self, reply: Reply) {
        self.say(reply);
        self.tally.errors += 1;
        if self.tally.errors > self.config.limits.errors {
            self.abandon();
            self.say(Reply::new(421, Status(4, 7, 0), "Too many errors, closing the connection"));
            self.close();
        }
    }

    /// NOOP and its like, which are free only for so long.
    pub(crate) fn idle_command(&mut self) {
        self.tally.idle += 1;
        if self.tally.idle > self.config.limits.idle_commands {
            self.tally.errors += 1;
        }
    }

    /// Ends the transaction without a word.
    pub(crate) fn abandon(&mut self) {
        if self.mail.take().is_some() {
            self.outs.push_back(Out::Reset);
        }
    }

    pub(crate) fn enter(&mut self, phase: Phase) {
        self.phase = phase;
    }

    pub(crate) fn close(&mut self) {
        if !self.is_closed() {
            self.phase = Phase::Closed;
            self.outs.push_back(Out::Close);
        }
    }

    /// Other mechanisms than the configuration had, from here on: what TLS brought was not known before it stood.
    pub fn offer(&mut self, auth: Vec<Mechanism>) {
        Arc::make_mut(&mut self.config).auth = auth;
    }

    /// The mechanisms that can be used on the connection as it is now.
    pub(crate) fn mechanisms(&self) -> impl Iterator<Item = &Mechanism> {
        self.config.auth.iter().filter(|m| match self.tls {
            Some(tls) => tls.binding || !m.binding,
            None => m.in_clear && !m.binding,
        })
    }
}

pub(crate) fn too_big(limit: u64) -> Reply {
    Reply::with(552, Status(5, 3, 4), format!("Message is larger than the {limit} octets allowed"))
}

/// What an answer of the wrong kind, or a plain refusal, comes to.
pub(crate) fn refusal(answer: Answer) -> Reply {
    match answer {
        Answer::Refuse(reply) => reply,
        _ => OUR_FAULT,
    }
}
