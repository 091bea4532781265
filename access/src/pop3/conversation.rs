//! The loop of a session: a line, its command, its answer, its record.

use super::causes;
use super::locks::Lock;
use super::retrieve::{Ahead, Retrieved};
use super::source::{Drop as OpenDrop, Opened};
use super::wire::{Input, Wire};
use super::{Service, Settings};
use crate::log::{Context, Entry, Scribe};
use crate::proxy::{Detail, HandedOver, Taken};
use crate::signin::{Caller, Place, SignedIn};
use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use waypost_base::explain::{Cause, Leg, Outcome, Party};
use waypost_base::id::Correlation;
use waypost_base::{MessageId, Timestamp};
use waypost_pop3::reply::{self, Code};
use waypost_pop3::{Command, Maildrop, Session, State};
use waypost_trust::channel::{BoxStream, Channel, TlsAccept};
use waypost_trust::leg::{ClientTls, Service as Inner};

/// Strangers have this long to sign in, however busy they look, so that connections cannot be hoarded with CAPA.
const SIGN_IN_WITHIN: Duration = Duration::from_secs(600);

/// Whether the conversation goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Go,
    /// Send what waits, then close.
    Close,
    /// Close without another word: an answer broke off in the middle.
    Break,
    /// It goes on at another server: see [`Conversation::handed`].
    Leave,
}

/// The drop of a session that has signed in.
pub(super) struct Open {
    /// Keeps the account's place among its sessions.
    pub _signed: SignedIn,
    pub maildrop: Maildrop,
    /// By number, from 1.
    pub messages: Vec<MessageId>,
    pub drop: Box<dyn OpenDrop>,
    pub ahead: Ahead,
    /// Given back after everything else.
    pub _lock: Lock,
}

/// A session that goes on at another server.
pub(super) struct Handed {
    pub server: BoxStream,
    /// That server's id.
    pub to: String,
    pub place: Place,
}

pub(super) struct Conversation<'s> {
    pub service: &'s Service,
    pub settings: Arc<Settings>,
    pub wire: Wire,
    pub caller: Caller,
    pub upgrade: Option<Arc<dyn TlsAccept>>,
    pub session: Session,
    pub open: Option<Open>,
    pub handed: Option<Handed>,
    /// The client's address, and ours that it came to.
    pub ends: (SocketAddr, SocketAddr),
    /// What TLS settled, for the server that the session may be handed over to.
    pub tls: Option<ClientTls>,
    pub id: Correlation,
    pub line: Vec<u8>,
    pub scribe: Scribe,
    pub leg: Leg,
    pub retrieved: Retrieved,
    began: Instant,
    /// The text of the last -ERR, for the log.
    said: Option<String>,
    pub stop: watch::Receiver<Option<Instant>>,
}

impl<'s> Conversation<'s> {
    pub fn new(channel: Channel, service: &'s Service, correlation: Correlation) -> Conversation<'s> {
        let settings = service.settings();
        let scribe = Scribe::new(service.log.clone(), correlation, channel.local, channel.peer);
        let initiator = Party::new("client", channel.peer.to_string());
        let acceptor = Party::new("front end", channel.local.to_string());
        let mut leg = Leg::start("pop3.read", initiator, acceptor, service.clock.now());
        leg.correlation = Some(correlation);
        Conversation {
            service,
            caller: service.entrance.caller(&channel),
            session: Session::new(channel.tls.is_some(), channel.upgrade.is_some()),
            wire: Wire::new(channel.stream, settings.write_timeout),
            settings,
            upgrade: channel.upgrade,
            open: None,
            handed: None,
            ends: (channel.peer, channel.local),
            tls: channel.tls.as_ref().map(ClientTls::from),
            id: correlation,
            line: Vec::new(),
            scribe,
            leg,
            retrieved: Retrieved::default(),
            began: Instant::now(),
            said: None,
            stop: service.stopping(),
        }
    }

    /// A session that has signed in at another server, of whose command the answer is still due.
    pub fn taken_over(
        taken: Taken,
        service: &'s Service,
        place: Place,
        lock: Lock,
        opened: Opened,
    ) -> Conversation<'s> {
        let Taken { channel, detail, session, from, .. } = taken;
        let mut conversation = Conversation::new(channel, service, session);
        conversation.leg.mechanism = detail.mechanism().into();
        conversation.leg.key = detail.by.clone();
        conversation.scribe.user(&detail.address);
        conversation.session.utf8 = detail.utf8;
        let context = Context::default().with("Msg", &format!("ProxiedBy:{from}"));
        let entry = Entry { command: "OpenSession", context: context.as_str(), ..Entry::default() };
        conversation.scribe.record(service.clock.now(), entry);
        let mechanism = detail.mechanism();
        let Detail { account, address, by, .. } = detail;
        conversation.opened(SignedIn { account, address, by, mechanism, place }, lock, opened);
        conversation.say_opened();
        conversation
    }

    /// Until the end, or until the client is handed over.
    pub async fn run(mut self) -> Option<HandedOver> {
        let banner = self.settings.banner.clone();
        reply::ok(&mut self.wire.out, &banner);
        let greeting =
            Entry { command: "OpenSession", response_bytes: self.wire.answered(), ..Entry::default() };
        self.scribe.record(self.service.clock.now(), greeting);
        self.run_on().await
    }

    /// The same, without greeting.
    pub async fn run_on(mut self) -> Option<HandedOver> {
        let started = self.service.clock.now();
        while self.turn().await == Next::Go {}
        if let Some(handed) = self.handed.take() {
            // What is still to be said goes before what the other server says.
            if self.wire.flush().await.is_err() {
                return None;
            }
            return Some(self.leave(handed));
        }
        // The lock goes before the client sees the end, so that it can come back at once.
        let open = self.open.take();
        drop(open);
        self.finish(started);
        self.wire.close().await;
        None
    }

    /// Gives the client to the server that serves it from here on.
    fn leave(mut self, handed: Handed) -> HandedOver {
        self.tell();
        let Handed { server, to, place } = handed;
        let Conversation { wire, scribe, id, ends, .. } = self;
        let first = wire.pending().to_vec();
        HandedOver {
            client: wire.into_stream(),
            server,
            first,
            to,
            service: Inner::Pop3,
            session: id,
            peer: ends.0,
            scribe,
            _place: place,
        }
    }

    /// One line and its answer.
    async fn turn(&mut self) -> Next {
        let limit = self.settings.command_bytes_max;
        let input = self.next_line(limit).await;
        let next = match input {
            Input::Line => self.obey().await,
            Input::TooLong => self.bad("Line too long"),
            Input::Closed => Next::Break,
            Input::Timeout => {
                // RFC 1939 §3: no answer, and nothing is removed.
                self.service.figures.timeouts.one();
                Next::Break
            }
            Input::Stopping => {
                reply::err_code(&mut self.wire.out, Code::SysTemp, "Server is shutting down");
                Next::Close
            }
        };
        let gone = next == Next::Go && self.wire.flush_if_full().await.is_err();
        if gone || next == Next::Break {
            self.wire.out.clear();
            return Next::Break;
        }
        next
    }

    pub async fn next_line(&mut self, limit: usize) -> Input {
        let signed_in = self.session.state() != State::Authorization;
        let (idle, grace) = if signed_in {
            (self.settings.authenticated_timeout, self.settings.stop_grace)
        } else {
            let left = (self.began + SIGN_IN_WITHIN).saturating_duration_since(Instant::now());
            (self.settings.pre_authenticated_timeout.min(left), Duration::ZERO)
        };
        let stop = stopped(self.stop.clone(), grace);
        self.wire.line(&mut self.line, limit, idle, stop).await
    }

    async fn obey(&mut self) -> Next {
        let line = std::mem::take(&mut self.line);
        self.service.figures.commands.one();
        let next = match Command::parse(&line) {
            Err(bad) => self.bad(&bad.to_string()),
            Ok(command) => {
                let logged = self.scribe.enabled().then(|| (Instant::now(), self.service.clock.now()));
                let before = self.wire.answered();
                let next = match self.session.admit(&command) {
                    Err(refused) => self.err(refused.text()),
                    Ok(()) => self.dispatch(&command).await,
                };
                if let Some((started, at)) = logged {
                    self.record(&command, line.len() as u64 + 2, before, started, at);
                }
                self.said = None;
                if self.session.judged(true) { Next::Close } else { next }
            }
        };
        self.line = line;
        // A password may have been in it.
        self.line.fill(0);
        next
    }

    async fn dispatch(&mut self, command: &Command<'_>) -> Next {
        match *command {
            Command::User(name) => self.user(name),
            Command::Pass(password) => self.pass(password).await,
            Command::Auth(None) => self.mechanisms(),
            Command::Auth(Some((mechanism, initial))) => self.auth(mechanism, initial).await,
            Command::Stls => self.stls().await,
            Command::Utf8 => {
                self.session.utf8 = true;
                self.ok("")
            }
            Command::Capa => self.capa(),
            Command::Quit => self.quit().await,
            Command::Noop => self.ok(""),
            Command::Stat => self.stat(),
            Command::List(number) => self.list(number),
            Command::Uidl(number) => self.uidl(number),
            Command::Dele(number) => self.dele(number),
            Command::Rset => self.rset(),
            Command::Retr(number) => self.retr(number).await,
            Command::Top { message, lines } => self.top(message, lines).await,
        }
    }

    fn record(&mut self, command: &Command<'_>, request: u64, before: u64, started: Instant, at: Timestamp) {
        let context = match &self.said {
            None => match &self.handed {
                None => Context::ok(),
                Some(handed) => Context::ok().with("Msg", &format!("Proxy:{};ProxySuccess", handed.to)),
            },
            Some(text) => Context::answer(text),
        };
        let entry = Entry {
            duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            request_bytes: request,
            response_bytes: self.wire.answered().saturating_sub(before),
            command: command.name(),
            parameters: &command.parameters(),
            context: context.as_str(),
        };
        self.scribe.record(at, entry);
    }

    fn finish(&mut self, started: Timestamp) {
        let now = self.service.clock.now();
        let answered = self.wire.answered();
        self.scribe.record(
            now,
            Entry {
                command: "CloseSession",
                duration_ms: u64::try_from(now.since(started)).unwrap_or_default(),
                request_bytes: self.wire.bytes_in,
                response_bytes: answered,
                ..Entry::default()
            },
        );
        self.tell();
    }

    /// The counts, and the leg.
    fn tell(&mut self) {
        let now = self.service.clock.now();
        self.service.figures.bytes_in.add(self.wire.bytes_in);
        self.service.figures.bytes_out.add(self.wire.answered());
        if self.leg.outcome == Outcome::Open {
            self.leg.outcome = Outcome::Ok;
        }
        let Retrieved { messages, bytes, micros } = self.retrieved;
        if messages > 0 {
            self.leg.step("retrieve", micros, Some(format!("{messages} messages, {bytes} octets")));
        }
        let empty = Party::new("", "");
        let leg = std::mem::replace(&mut self.leg, Leg::start("", empty.clone(), empty, now));
        self.service.legs.leg(leg);
    }

    pub fn ok(&mut self, text: &str) -> Next {
        reply::ok(&mut self.wire.out, text);
        Next::Go
    }

    pub fn err(&mut self, text: &str) -> Next {
        self.service.figures.errors.one();
        reply::err(&mut self.wire.out, text);
        self.said(format_args!("-ERR {text}"));
        Next::Go
    }

    pub fn err_code(&mut self, code: Code, text: &str) -> Next {
        self.service.figures.errors.one();
        if matches!(code, Code::SysTemp | Code::SysPerm) {
            self.service.figures.unavailable.one();
        }
        reply::err_code(&mut self.wire.out, code, text);
        self.said(format_args!("-ERR {} {text}", code.text()));
        Next::Go
    }

    fn said(&mut self, text: std::fmt::Arguments<'_>) {
        if self.scribe.enabled() {
            self.said = Some(text.to_string());
        }
    }

    /// A line that is no command. Too many of them in a row end the session.
    fn bad(&mut self, text: &str) -> Next {
        self.err(text);
        self.said = None;
        if self.session.judged(false) { Next::Close } else { Next::Go }
    }

    /// Notes on the leg what went wrong by our fault, and says so in the log.
    pub fn failed(&mut self, cause: Cause, text: impl Into<String>, retry: bool) {
        let text = text.into();
        tracing::warn!(code = cause.code, session = ?self.leg.correlation, %text, "POP3");
        self.note(cause, text, retry);
    }

    /// Notes on the leg what went wrong. The first such thing is the outcome.
    pub fn note(&mut self, cause: Cause, text: impl Into<String>, retry: bool) {
        if self.leg.outcome == Outcome::Open {
            self.leg.outcome = Outcome::Failed { cause, text: text.into(), retry };
        }
    }

    pub fn step(&mut self, name: &'static str, started: Instant, note: Option<String>) {
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.leg.step(Cow::Borrowed(name), micros, note);
    }

    /// Starts TLS (RFC 2595 §4). Both sides begin anew afterwards.
    async fn stls(&mut self) -> Next {
        let Some(upgrade) = self.upgrade.clone() else { return self.err("TLS is not available") };
        self.ok("Begin TLS negotiation");
        if self.wire.flush().await.is_err() {
            return Next::Break;
        }
        let started = Instant::now();
        let (nothing, _) = tokio::io::duplex(1);
        let empty = Wire::new(Box::new(nothing), self.settings.write_timeout);
        let plain = std::mem::replace(&mut self.wire, empty);
        let (bytes_in, answered) = (plain.bytes_in, plain.answered());
        let accepting = upgrade.accept(plain.into_stream());
        let result = tokio::time::timeout(self.settings.pre_authenticated_timeout, accepting).await;
        match result {
            Ok(Ok((stream, facts))) => {
                self.wire = Wire::resumed(stream, self.settings.write_timeout, bytes_in, answered);
                self.step("tls", started, Some(format!("{} {}", facts.version, facts.cipher)));
                self.tls = Some(ClientTls::from(&facts));
                self.caller.secured(&facts);
                self.session.secured();
                Next::Go
            }
            Ok(Err(e)) => {
                self.failed(causes::TLS_FAILED, e.to_string(), true);
                Next::Break
            }
            Err(_) => {
                self.failed(causes::TLS_FAILED, "no handshake in time", true);
                Next::Break
            }
        }
    }
}

/// Returns when the service has been asked to stop and the grace is over.
pub(super) async fn stopped(mut stop: watch::Receiver<Option<Instant>>, grace: Duration) {
    let asked = match stop.wait_for(Option::is_some).await {
        Ok(at) => *at,
        // The service has gone, which it cannot while sessions borrow it.
        Err(_) => None,
    };
    if let Some(at) = asked {
        tokio::time::sleep_until(at + grace).await;
    }
}
