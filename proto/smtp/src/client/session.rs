//! The client: what was said and what is waited for, how a reply finds its command, how a connection ends.

use super::extensions::Extensions;
use super::message::Job;
use super::replies::{NoReply, Replies};
use super::types::{Config, Failure, Fault, Out, Stage, Why};
use crate::reply::Reply;
use std::collections::VecDeque;
use std::sync::Arc;
use waypost_base::Timestamp;

const NEVER: Timestamp = Timestamp(i64::MAX);

/// One connection's worth of SMTP or LMTP, the sending side.
#[derive(Debug)]
pub struct Client {
    pub(super) config: Arc<Config>,
    pub(super) tls: bool,
    pub(super) signed_in: bool,
    pub(super) extensions: Extensions,
    pub(super) job: Option<Box<Job>>,
    pub(super) phase: Phase,
    /// The server has a transaction open that came to nothing: RSET goes before the next one.
    pub(super) needs_reset: bool,
    pub(super) messages: u32,
    expected: VecDeque<Pending>,
    /// Octets of the commands in `expected`.
    octets: usize,
    outs: VecDeque<Out>,
    replies: Replies,
    deadline: Timestamp,
    /// How long was waited when the deadline comes.
    span: i64,
    announced: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Greeting, EHLO, STARTTLS, AUTH.
    Hello,
    Handshake,
    Idle,
    /// `job` is there.
    Message,
    Quitting,
    Closed,
}

/// Whose reply comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    /// AUTH PLAIN; `true`: the response was asked for once more.
    Plain(bool),
    /// AUTH LOGIN, waiting for the question for the name, for the password, for the result.
    Login,
    LoginUser,
    Secret,
    Rset,
    Mail,
    /// With the recipient's number in the message.
    Rcpt(usize),
    Data,
    /// A chunk that is not the last.
    Chunk,
    /// The final dot or the last chunk. LMTP: for accepted recipients from this number on.
    Final(usize),
    /// A lone dot behind a DATA that was answered although nobody is to get the message.
    Nobody,
    Noop,
    Quit,
}

#[derive(Debug)]
struct Pending {
    expect: Expect,
    octets: usize,
}

impl Expect {
    pub(super) fn stage(self) -> Stage {
        match self {
            Expect::Greeting => Stage::Connect,
            Expect::Ehlo | Expect::Helo => Stage::Hello,
            Expect::StartTls => Stage::StartTls,
            Expect::Plain(_) | Expect::Login | Expect::LoginUser | Expect::Secret => Stage::Auth,
            Expect::Rset | Expect::Mail => Stage::Mail,
            Expect::Rcpt(_) => Stage::Rcpt,
            Expect::Data => Stage::Data,
            Expect::Chunk | Expect::Nobody => Stage::Body,
            Expect::Final(_) => Stage::Final,
            Expect::Noop | Expect::Quit => Stage::Idle,
        }
    }
}

impl Client {
    /// A client on a fresh connection, which waits for the greeting. `tls`: the connection is under TLS already.
    pub fn new(config: Arc<Config>, tls: bool, now: Timestamp) -> Client {
        let mut client = Client {
            config,
            tls,
            signed_in: false,
            extensions: Extensions::default(),
            job: None,
            phase: Phase::Hello,
            needs_reset: false,
            messages: 0,
            expected: VecDeque::new(),
            octets: 0,
            outs: VecDeque::new(),
            replies: Replies::default(),
            deadline: NEVER,
            span: 0,
            announced: NEVER,
        };
        client.expect(Expect::Greeting, 0);
        client.arm(now);
        client
    }

    /// What the server said to the last EHLO; empty before it.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Nothing is under way: `send`, `keep_alive` and `quit` can be called.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Idle && self.expected.is_empty()
    }

    /// Idle, and the server's limit on messages (MAILMAX of RFC 9422) is not reached.
    pub fn takes_another(&self) -> bool {
        self.is_idle() && self.extensions.mail_max.is_none_or(|most| self.messages < most)
    }

    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// When `poll` is to be called at the latest. Far away while nothing is waited for (and during the TLS handshake,
    /// whose time is the caller's).
    pub fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// Where the session is.
    pub fn stage(&self) -> Stage {
        match (self.expected.front(), self.phase) {
            (_, Phase::Handshake) => Stage::StartTls,
            (Some(pending), _) => pending.expect.stage(),
            (None, Phase::Message) => Stage::Body,
            (None, _) => Stage::Idle,
        }
    }

    /// What to do next. `None`: see `wants_body`; otherwise nothing until there is input, or the deadline.
    pub fn poll(&mut self, now: Timestamp) -> Option<Out> {
        if let Some(out) = self.outs.pop_front() {
            return Some(out);
        }
        if now >= self.deadline && !self.is_closed() {
            self.broken(Fault::Timeout(self.span));
            return self.outs.pop_front();
        }
        if self.announced == self.deadline || self.deadline == NEVER {
            return None;
        }
        self.announced = self.deadline;
        Some(Out::WakeAt(self.deadline))
    }

    /// Takes all of `data`.
    pub fn input(&mut self, now: Timestamp, data: &[u8]) {
        let (mut rest, mut heard) = (data, false);
        while !rest.is_empty() && !self.is_closed() {
            if self.phase == Phase::Handshake {
                // Said before TLS and to be believed after it: somebody in between wants to be heard (RFC 3207 §6).
                self.outs.retain(|out| *out != Out::StartTls);
                self.broken(Fault::Protocol(
                    "something was sent between STARTTLS and the handshake".to_owned(),
                ));
                return;
            }
            match self.replies.take(rest) {
                Ok((used, reply)) => {
                    rest = rest.get(used..).unwrap_or_default();
                    if let Some(reply) = reply {
                        self.reply(reply);
                        heard = true;
                    }
                }
                Err(NoReply(text)) => self.broken(Fault::Protocol(text)),
            }
        }
        // Half a line buys no time.
        if heard {
            self.pump();
            self.arm(now);
        }
    }

    /// The connection ended, or broke.
    pub fn lost(&mut self, why: impl Into<String>) {
        self.broken(Fault::Lost(why.into()));
    }

    /// The handshake that [`Out::StartTls`] asked for is done: all that the server said before it is forgotten.
    pub fn tls_started(&mut self, now: Timestamp) {
        if self.phase == Phase::Handshake {
            self.tls = true;
            self.extensions = Extensions::default();
            self.phase = Phase::Hello;
            self.hello();
            self.arm(now);
        }
    }

    /// NOOP, so that the server does not give up on a connection that is kept. Only while idle.
    pub fn keep_alive(&mut self, now: Timestamp) {
        if self.is_idle() {
            self.say("NOOP", Expect::Noop);
            self.arm(now);
        }
    }

    /// Ends the session: QUIT while idle, and `Close` after its answer; otherwise `Close` at once.
    pub fn quit(&mut self, now: Timestamp) {
        if self.is_idle() {
            self.phase = Phase::Quitting;
            self.say("QUIT", Expect::Quit);
            self.arm(now);
        } else if !self.is_closed() && self.phase != Phase::Quitting {
            self.broken(Fault::Source("given up".to_owned()));
        }
    }

    pub(super) fn reply(&mut self, reply: Reply) {
        if self.config.log {
            self.outs.push_back(Out::Heard(reply.to_string()));
        }
        let Some(pending) = self.expected.pop_front() else {
            self.unasked(reply);
            return;
        };
        self.octets = self.octets.saturating_sub(pending.octets);
        let expect = pending.expect;
        if reply.code == 421 {
            self.dismissed(expect.stage(), reply);
            return;
        }
        if reply.code >= 300
            && reply.code < 400
            && !matches!(expect, Expect::Data)
            && expect.stage() != Stage::Auth
        {
            self.broken_at(
                expect.stage(),
                Fault::Protocol(format!("{} in answer to {}", reply.code, expect.stage())),
            );
            return;
        }
        match expect {
            Expect::Greeting
            | Expect::Ehlo
            | Expect::Helo
            | Expect::StartTls
            | Expect::Plain(_)
            | Expect::Login
            | Expect::LoginUser
            | Expect::Secret => self.hello_reply(expect, reply),
            Expect::Mail | Expect::Rcpt(_) | Expect::Data | Expect::Chunk | Expect::Final(_) => {
                self.message_reply(expect, reply)
            }
            Expect::Rset | Expect::Nobody | Expect::Noop => {}
            Expect::Quit => self.close(),
        }
    }

    /// A reply that answers nothing.
    fn unasked(&mut self, reply: Reply) {
        let stage = self.stage();
        let midway = self.job.as_ref().is_some_and(|job| job.is_open());
        if reply.code == 421 || (midway && !reply.is_positive()) {
            self.dismissed(stage, reply);
        } else {
            self.broken(Fault::Protocol(format!("an answer without a question: {}", reply.code)));
        }
    }

    /// The server will not hear any more.
    fn dismissed(&mut self, stage: Stage, reply: Reply) {
        if self.job.is_some() {
            self.conclude_refused(stage, &reply);
        } else if self.phase != Phase::Quitting {
            self.outs.push_back(Out::Failed(Failure { stage, why: Why::Refused(reply) }));
        }
        self.close();
    }

    /// The server lacks or refuses what a session needs. It is told that we go.
    pub(super) fn fail(&mut self, stage: Stage, why: Why) {
        if self.config.log {
            self.outs.push_back(Out::Said("QUIT".to_owned()));
        }
        self.outs.push_back(Out::Send(b"QUIT\r\n".to_vec()));
        self.outs.push_back(Out::Failed(Failure { stage, why }));
        self.close();
    }

    fn broken(&mut self, fault: Fault) {
        self.broken_at(self.stage(), fault);
    }

    pub(super) fn broken_at(&mut self, stage: Stage, fault: Fault) {
        if self.is_closed() {
            return;
        }
        if self.job.is_some() {
            self.conclude_broken(stage, &fault);
        } else if self.phase != Phase::Quitting {
            self.outs.push_back(Out::Failed(Failure { stage, why: Why::Fault(fault) }));
        }
        self.close();
    }

    pub(super) fn close(&mut self) {
        if !self.is_closed() {
            self.phase = Phase::Closed;
            self.expected.clear();
            self.octets = 0;
            self.replies.clear();
            self.deadline = NEVER;
            self.outs.push_back(Out::Close);
        }
    }

    /// Sends a line and waits for its reply.
    pub(super) fn say(&mut self, line: &str, expect: Expect) {
        if self.config.log {
            self.outs.push_back(Out::Said(line.to_owned()));
        }
        self.send_line(line, expect);
    }

    /// The same for a line with credentials: `shown` is what a log gets.
    pub(super) fn say_secret(&mut self, line: &str, shown: &str, expect: Expect) {
        if self.config.log {
            self.outs.push_back(Out::Said(shown.to_owned()));
        }
        self.send_line(line, expect);
    }

    fn send_line(&mut self, line: &str, expect: Expect) {
        self.expect(expect, line.len() + 2);
        // Commands that go together are one write.
        if let Some(Out::Send(bytes)) = self.outs.iter_mut().rev().find(|out| !matches!(out, Out::Said(_))) {
            bytes.extend_from_slice(line.as_bytes());
            bytes.extend_from_slice(b"\r\n");
            return;
        }
        self.outs.push_back(Out::Send([line.as_bytes(), b"\r\n"].concat()));
    }

    pub(super) fn note(&mut self, said: impl FnOnce() -> String) {
        if self.config.log {
            self.outs.push_back(Out::Said(said()));
        }
    }

    pub(super) fn push(&mut self, out: Out) {
        self.outs.push_back(out);
    }

    pub(super) fn has_outs(&self) -> bool {
        self.outs.iter().any(|out| !matches!(out, Out::Said(_) | Out::Heard(_)))
    }

    pub(super) fn expect(&mut self, expect: Expect, octets: usize) {
        self.octets += octets;
        self.expected.push_back(Pending { expect, octets });
    }

    /// LMTP: the next reply is for the next recipient.
    pub(super) fn expect_next(&mut self, expect: Expect) {
        self.expected.push_front(Pending { expect, octets: 0 });
    }

    /// Replies that are waited for, and the octets of their commands.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.expected.len(), self.octets)
    }

    /// Sets the deadline by what is waited for now.
    pub(super) fn arm(&mut self, now: Timestamp) {
        let times = &self.config.timeouts;
        let body = self.job.as_ref().is_some_and(|job| job.is_open());
        self.span = match self.expected.front().map(|pending| pending.expect) {
            _ if matches!(self.phase, Phase::Closed | Phase::Handshake) => i64::MAX,
            _ if body => times.block,
            None => i64::MAX,
            Some(Expect::Greeting) => times.greeting,
            Some(Expect::Mail) => times.mail,
            Some(Expect::Rcpt(_)) => times.rcpt,
            Some(Expect::Data) => times.data,
            Some(Expect::Chunk) => times.block,
            Some(Expect::Final(_) | Expect::Nobody) => times.last,
            Some(Expect::Quit) => times.quit,
            Some(_) => times.command,
        };
        self.deadline = if self.span == i64::MAX { NEVER } else { now.plus_millis(self.span) };
    }
}
