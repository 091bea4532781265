//! The session's loop: bytes from the stream to the session, its wishes done, its replies gathered and written once.

use super::gate::Gate;
use super::handover::{Carried, Detail, Handed, out_of_service};
use super::intake::Intake;
use super::log::Log;
use super::policy::blob_failed;
use super::resume::Taken;
use super::{Kind, Service, line_between};
use crate::agent::{About, Verdict};
use crate::categorize::Meaning;
use crate::deliver::micros;
use crate::hub::Settings;
use crate::limits::{
    GRACE_MILLIS, IDLE_BUFFER, LINGER_BYTES, LINGER_MILLIS, MESSAGE_BUFFER, READ_BUFFER, WRITE_BUFFER,
    WRITE_MILLIS,
};
use crate::send::inside::Told;
use crate::sink::Event;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use waypost_base::Timestamp;
use waypost_base::explain::{Leg, Party, Step};
use waypost_base::id::Correlation;
use waypost_directory::Address;
use waypost_directory::signin::is_loopback;
use waypost_queue::{Accepted, Place};
use waypost_sasl::{Exchange, Identity};
use waypost_smtp::{Answer, Begun, MailParams, Mailbox, Out, Question, Reply, Session, Tls};
use waypost_trust::channel::{BoxStream, Channel, TlsAccept, TlsFacts};

/// One connection.
pub(super) struct Conn {
    pub(super) service: Arc<Service>,
    pub(super) correlation: Correlation,
    pub(super) session: Session,
    pub(super) gate: Gate,
    /// As they were when the session began.
    pub(super) settings: Arc<Settings>,
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    /// Absent only during a handshake, and after one that failed.
    stream: Option<BoxStream>,
    upgrade: Option<Arc<dyn TlsAccept>>,
    pub(super) tls: Option<TlsFacts>,
    /// What was read; `start` is the first octet not yet used, `base` where the last input began.
    buffer: Vec<u8>,
    start: usize,
    base: usize,
    /// The last read took all the room there was.
    filled: bool,
    out: Vec<u8>,
    deadline: Timestamp,
    pub(super) exchange: Option<Exchange>,
    pub(super) mechanism: &'static str,
    pub(super) auth_micros: u64,
    pub(super) identity: Option<Identity>,
    pub(super) message: Option<Box<Message>>,
    /// Messages begun.
    pub(super) messages: u32,
    log: Log,
    /// What the session did before its first message: these steps are on that one's leg.
    pub(super) steps: Vec<Step>,
    since: Instant,
    greeted: bool,
    closing: bool,
    /// A 421 was said.
    leaving: bool,
    /// The session goes on at another server.
    pub(super) handed: Option<Box<Handed>>,
    /// How the leg came about, where the peer is a server of ours.
    inner: Option<Box<Leg>>,
}

/// A message on its way in.
pub(super) struct Message {
    /// Names it in the trace, in logs and in the reply.
    pub(super) id: String,
    pub(super) from: Option<Mailbox>,
    /// The same, as the directory compares it.
    pub(super) address: Option<Address>,
    pub(super) params: MailParams,
    pub(super) recipients: Vec<Recipient>,
    /// Accounts and addresses that the recipients come to, groups opened.
    pub(super) reach: usize,
    pub(super) intake: Option<Intake>,
    /// Copies are made at each stage.
    pub(super) traced: bool,
    /// Which of the agents want it, and what they are told.
    pub(super) wanted: Vec<bool>,
    pub(super) about: Option<Box<About>>,
    pub(super) accepted: Timestamp,
    pub(super) leg: Leg,
    pub(super) rcpt_micros: u64,
    pub(super) data_begun: Instant,
    /// What a server of ours says about it.
    pub(super) told: Option<Told>,
}

pub(super) struct Recipient {
    pub(super) accepted: Accepted,
    pub(super) meaning: Meaning,
    /// Where in the account it goes, where a hub of ours has decided that.
    pub(super) place: Option<Place>,
}

impl Message {
    pub(super) fn new(
        id: String,
        from: Option<Mailbox>,
        address: Option<Address>,
        params: MailParams,
        leg: Leg,
    ) -> Message {
        Message {
            id,
            from,
            address,
            params,
            recipients: Vec::new(),
            reach: 0,
            intake: None,
            traced: false,
            wanted: Vec::new(),
            about: None,
            accepted: Timestamp::default(),
            leg,
            rcpt_micros: 0,
            data_begun: Instant::now(),
            told: None,
        }
    }
}

/// How the conversation ended.
enum End {
    Local,
    Remote,
    Broken(io::Error),
    /// It goes on at another server.
    Handed,
}

pub(super) async fn run(
    channel: Channel,
    service: Arc<Service>,
    correlation: Correlation,
    inner: Option<Box<Leg>>,
) {
    // In a box of its own, which is gone when the session has been handed over.
    if let Some(carried) = Box::pin(begin(channel, service, correlation, inner)).await {
        carried.carry().await;
    }
}

/// A session from its greeting.
async fn begin(
    channel: Channel,
    service: Arc<Service>,
    correlation: Correlation,
    inner: Option<Box<Leg>>,
) -> Option<Carried> {
    let hub = service.hub.clone();
    hub.metrics.sessions.one();
    let _open = hub.metrics.sessions_open.hold();
    let settings = hub.settings();
    let gate = Gate::choose(&settings, service.kind, channel.peer.ip());
    let closed = out_of_service(&hub, service.kind);
    let gate = match (gate, closed) {
        (Some(gate), None) => gate,
        (_, closed) => {
            let text = closed.unwrap_or("this server takes no connections from your address");
            turn_away(channel, &format!("421 4.3.2 {} Service not available: {text}\r\n", settings.host))
                .await;
            return None;
        }
    };
    let mut conn = Conn::new(channel, service, settings, gate, correlation, None);
    if let Some(leg) = inner {
        conn.steps.clone_from(&leg.steps);
        conn.inner = Some(leg);
    }
    conn.hold().await
}

/// A session that another server has begun.
pub(super) async fn go_on(taken: Taken, service: Arc<Service>, correlation: Correlation) {
    let hub = service.hub.clone();
    hub.metrics.sessions.one();
    let _open = hub.metrics.sessions_open.hold();
    let settings = hub.settings();
    let Taken { channel, detail, from } = taken;
    let Some(gate) = Gate::choose(&settings, service.kind, channel.peer.ip()) else {
        let text = "this server takes no connections from your address";
        return turn_away(channel, &format!("421 4.3.2 {} Service not available: {text}\r\n", settings.host))
            .await;
    };
    let mut conn = Conn::new(channel, service, settings, gate, correlation, Some(detail));
    conn.info(&format!("Proxied session from {from}"));
    // It is not handed on once more: it was asked whether it belongs here.
    let _ = conn.hold().await;
}

/// Says why there is no conversation. A greeting may be 421 (RFC 5321 §3.1 and §4.3.2).
async fn turn_away(channel: Channel, text: &str) {
    let mut stream = channel.stream;
    let say = async {
        stream.write_all(text.as_bytes()).await?;
        part(stream, true).await
    };
    let _ = tokio::time::timeout(Duration::from_millis(LINGER_MILLIS), say).await;
}

/// Says goodbye, and takes what the peer still has to say: closing on unread bytes would reset the connection, and the
/// last reply could be lost with it.
async fn part(mut stream: BoxStream, linger: bool) -> io::Result<()> {
    stream.shutdown().await?;
    let mut scrap = [0; 1024];
    let mut left = LINGER_BYTES;
    while linger && left > 0 {
        match stream.read(&mut scrap).await? {
            0 => break,
            n => left = left.saturating_sub(n),
        }
    }
    Ok(())
}

impl Conn {
    /// `begun`: how far another server has come with it.
    fn new(
        channel: Channel,
        service: Arc<Service>,
        settings: Arc<Settings>,
        gate: Gate,
        correlation: Correlation,
        begun: Option<Detail>,
    ) -> Conn {
        let Channel { ref tls, peer, local, .. } = channel;
        let tls = tls.as_ref().map(|tls| Tls { binding: has_binding(tls) });
        let now = service.hub.clock.now();
        let config = service.config(&channel, &settings, &gate);
        let greeted = begun.is_some();
        let signed = begun.as_ref().and_then(|begun| begun.signed.clone());
        let session = match begun {
            None => Session::new(config, tls, now),
            Some(Detail { helo, signed, .. }) => {
                Session::resumed(config, Begun { helo, tls, user: signed.map(|s| s.address) }, now)
            }
        };
        Conn {
            log: Log::new(service.clone(), &settings.host, &gate, correlation, (local, peer)),
            service,
            settings,
            gate,
            correlation,
            session,
            peer,
            local,
            stream: Some(channel.stream),
            upgrade: channel.upgrade,
            tls: channel.tls,
            buffer: Vec::new(),
            start: 0,
            base: 0,
            filled: false,
            out: Vec::new(),
            deadline: now,
            exchange: None,
            mechanism: signed.as_ref().map_or("anonymous", |signed| signed.mechanism()),
            auth_micros: 0,
            identity: signed.as_ref().map(|signed| signed.identity()),
            message: None,
            messages: 0,
            steps: Vec::new(),
            since: Instant::now(),
            greeted,
            closing: false,
            leaving: false,
            handed: None,
            inner: None,
        }
    }

    /// The conversation, to its end or until it goes on elsewhere.
    async fn hold(mut self) -> Option<Carried> {
        self.log.write(Event::Connect, "", "");
        let end = match self.welcome().await {
            Some(reply) => {
                self.out.extend_from_slice(&reply.to_bytes());
                self.flush().await.map(|()| End::Local)
            }
            None => self.converse().await,
        };
        let end = end.unwrap_or_else(End::Broken);
        let hub = self.service.hub.clone();
        hub.agents.iter().for_each(|agent| agent.disconnect(self.correlation));
        let how = match &end {
            End::Handed => return self.leave(),
            End::Local => "Local",
            End::Remote => "Remote",
            End::Broken(_) => "Remote(SocketError)",
        };
        self.log.write(Event::Disconnect, "", how);
        if let End::Broken(e) = &end {
            tracing::debug!(session = %self.correlation, error = %e, "connection broken");
        }
        if let Some(stream) = self.stream.take() {
            drop(self);
            let linger = part(stream, matches!(end, End::Local));
            let _ = tokio::time::timeout(Duration::from_millis(LINGER_MILLIS), linger).await;
        }
        None
    }

    /// What is left of the session here when it goes on elsewhere.
    fn leave(self) -> Option<Carried> {
        let Handed { server, to, whole_command } = *self.handed?;
        let from = if whole_command { self.base } else { self.start };
        Some(Carried {
            client: self.stream?,
            server,
            first: self.buffer.get(from..).unwrap_or_default().to_vec(),
            to,
            service: self.service,
            log: self.log,
            hello: (self.correlation, self.peer),
        })
    }

    async fn converse(&mut self) -> io::Result<End> {
        let mut stopping = self.service.hub.session_stopping();
        let mut grace: Option<Instant> = None;
        loop {
            let now = self.service.hub.clock.now();
            while let Some(out) = self.session.poll(now) {
                self.act(out).await?;
                if self.handed.is_some() {
                    self.flush().await?;
                    return Ok(End::Handed);
                }
            }
            if self.closing || self.leaving {
                self.flush().await?;
                return Ok(End::Local);
            }
            if grace.is_none() && *stopping.borrow_and_update() {
                grace = Some(Instant::now() + Duration::from_millis(GRACE_MILLIS));
                self.session.shutdown();
                continue;
            }
            let rest = self.buffer.get(self.start..).unwrap_or_default();
            let used = self.session.input(now, rest);
            if used > 0 {
                self.base = self.start;
                self.start += used;
                self.note_hello();
                continue;
            }
            self.flush().await?;
            self.make_room();
            let wait = Duration::from_millis(u64::try_from(self.deadline.since(now)).unwrap_or(0));
            let wake = Instant::now() + wait;
            let wake = grace.map_or(wake, |grace| grace.min(wake));
            let Some(stream) = &mut self.stream else { return Ok(End::Local) };
            tokio::select! {
                read = stream.read_buf(&mut self.buffer) => {
                    if read? == 0 {
                        return Ok(End::Remote);
                    }
                    self.filled = self.buffer.len() == self.buffer.capacity();
                }
                _ = tokio::time::sleep_until(wake) => {
                    if grace.is_some_and(|grace| Instant::now() >= grace) {
                        self.out.extend_from_slice(b"421 4.3.2 Service is shutting down\r\n");
                        self.flush().await?;
                        return Ok(End::Local);
                    }
                }
                Ok(()) = stopping.changed(), if grace.is_none() => {}
            }
        }
    }

    async fn act(&mut self, out: Out) -> io::Result<()> {
        match out {
            Out::Send(bytes) => {
                self.log.sent(&bytes);
                self.out.extend_from_slice(&bytes);
                if !self.greeted {
                    self.greeted = true;
                    self.step("connect", None);
                }
                if self.out.len() > WRITE_BUFFER {
                    self.flush().await?;
                }
            }
            Out::Ask(id, question) => {
                let answer = self.answer(question).await;
                if self.handed.is_some() {
                    return Ok(());
                }
                let refusal = match &answer {
                    Answer::Refuse(reply) => Some(reply.code),
                    _ => None,
                };
                if let Some(wait) = self.tarpit(refusal) {
                    tokio::time::sleep(wait).await;
                }
                self.session.reply(self.service.hub.clock.now(), id, answer);
                // 421 says that the connection ends (RFC 5321 §3.8).
                self.leaving |= refusal == Some(421);
            }
            Out::Body(range) => self.body(range).await,
            Out::Heard { line, secret } => {
                let line = self.base + line.start..self.base + line.end;
                self.log.received(self.buffer.get(line).unwrap_or_default(), secret);
            }
            Out::Reset => self.reset(),
            Out::StartTls => self.start_tls().await?,
            Out::WakeAt(at) => self.deadline = at,
            Out::Close => self.closing = true,
        }
        Ok(())
    }

    async fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::Mail { from, params } => match self.hand_over_to_hub().await {
                Some(answer) => answer,
                None => self.mail(from, *params).await,
            },
            Question::Rcpt { to, params } => self.rcpt(to, *params).await,
            Question::Begin => self.begin().await,
            Question::Finish { .. } => self.finish().await,
            Question::Auth(step) => self.auth(step).await,
            Question::Verify(name) => self.verify(&name),
            Question::Expand(_) => Answer::Ok,
            Question::Why(id) => self.why(&id).await,
        }
    }

    /// The agents that look at connections. `Some`: there is no conversation.
    async fn welcome(&mut self) -> Option<Reply> {
        let hub = self.service.hub.clone();
        if !self.staged() {
            return None;
        }
        let about = self.about(None);
        for agent in hub.agents.iter().filter(|agent| agent.stages().connect) {
            if let Verdict::Reject(reply) | Verdict::Defer(reply) = agent.connect(&about).await {
                self.info(&format!("{} refused the connection: {reply}", agent.name()));
                return Some(reply);
            }
        }
        None
    }

    /// What agents are told.
    pub(super) fn about(&self, message: Option<&Message>) -> About {
        let hub = &self.service.hub;
        let (helo, _) = self.session.helo().unwrap_or_default();
        let recipients = message.map(|m| m.recipients.as_slice()).unwrap_or_default();
        let told = message.and_then(|message| message.told.as_ref());
        About {
            session: self.correlation,
            id: message.map(|m| m.id.clone()).unwrap_or_default(),
            peer: told.and_then(|told| told.client.ip).map_or(self.peer, |ip| SocketAddr::new(ip, 0)),
            local: self.local,
            host: self.settings.host.clone(),
            helo: told.map_or(helo, |told| told.client.helo.as_str()).to_owned(),
            tls: self.tls.as_ref().map(|tls| format!("{} {}", tls.version, tls.cipher)),
            connector: self.gate.name.clone(),
            account: self.author(message),
            mechanism: if self.identity.is_some() { self.mechanism } else { "" },
            trusted: self.is_trusted(),
            submission: self.service.kind.is_submission()
                || self.identity.is_some()
                || told.is_some_and(|told| told.owner.is_some()),
            from: message.and_then(|m| m.from.clone()),
            params: message.map(|m| m.params.clone()).unwrap_or_default(),
            recipients: recipients.iter().map(|r| r.accepted.to.clone()).collect(),
            has_remote: recipients.iter().any(|r| r.meaning.may_leave()),
            now: hub.clock.now(),
        }
    }

    /// A server of ours, known by its address.
    pub(super) fn is_trusted(&self) -> bool {
        self.gate.permissions.servers && self.identity.is_none()
    }

    /// Refusals come slowly to strangers, so that guessing addresses takes its time.
    fn tarpit(&self, refusal: Option<u16>) -> Option<Duration> {
        let slow = refusal.is_some_and(|code| code >= 500) && self.identity.is_none();
        let patient = self.is_trusted() || is_loopback(self.peer.ip()) || self.gate.tarpit.is_zero();
        (slow && !patient).then_some(self.gate.tarpit)
    }

    fn reset(&mut self) {
        let hub = &self.service.hub;
        if self.message.take().is_some() {
            hub.agents.iter().for_each(|agent| agent.reset(self.correlation));
        }
    }

    async fn body(&mut self, range: Range<usize>) {
        let range = self.base + range.start..self.base + range.end;
        let bytes = self.buffer.get(range).unwrap_or_default();
        let Some(intake) = self.message.as_mut().and_then(|message| message.intake.as_mut()) else { return };
        if let Err(e) = intake.take(bytes).await {
            tracing::warn!(session = %self.correlation, error = %e, "message bytes not taken");
            self.session.fail_body(blob_failed(&e));
            if let Some(message) = &mut self.message {
                message.intake = None;
            }
        }
    }

    async fn start_tls(&mut self) -> io::Result<()> {
        self.flush().await?;
        let (Some(plain), Some(upgrade)) = (self.stream.take(), self.upgrade.take()) else {
            return Err(io::Error::other("no TLS to start"));
        };
        self.since = Instant::now();
        let (stream, facts) = match upgrade.accept(plain).await {
            Ok(accepted) => accepted,
            Err(e) => {
                self.info(&format!("TLS negotiation failed with error {e}"));
                return Err(e);
            }
        };
        self.info(&format!("TLS protocol {} negotiation succeeded using {}", facts.version, facts.cipher));
        self.step("tls", Some(format!("{} {}", facts.version, facts.cipher)));
        self.buffer.clear();
        self.start = 0;
        self.stream = Some(stream);
        let binding = has_binding(&facts);
        if self.gate.auth {
            // A certificate, a channel to bind to: what TLS brought was not known before.
            let line = line_between(Some(&facts), self.peer.ip(), self.local.ip());
            self.session.offer(self.service.mechanisms(&self.settings.terms, &line));
        }
        self.tls = Some(facts);
        self.session.tls_started(self.service.hub.clock.now(), Tls { binding });
        Ok(())
    }

    /// Writes what was gathered, in one piece.
    async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let out = &self.out;
        let write = async {
            stream.write_all(out).await?;
            stream.flush().await
        };
        match tokio::time::timeout(Duration::from_millis(WRITE_MILLIS), write).await {
            Ok(written) => written?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
        self.out.clear();
        if self.out.capacity() > WRITE_BUFFER {
            self.out = Vec::new();
        }
        Ok(())
    }

    /// Throws away what was used, and makes the buffer as large as what is coming deserves.
    fn make_room(&mut self) {
        if self.start > 0 {
            self.buffer.drain(..self.start.min(self.buffer.len()));
            self.start = 0;
        }
        let receiving = self.message.as_ref().is_some_and(|message| message.intake.is_some());
        let capacity = self.buffer.capacity();
        let wanted = match (receiving, self.session.in_transaction()) {
            // Only who sends much gets a large buffer.
            (true, _) if self.filled => (capacity * 2).clamp(MESSAGE_BUFFER, READ_BUFFER),
            (true, _) => capacity.max(MESSAGE_BUFFER),
            (false, true) => MESSAGE_BUFFER,
            (false, false) => IDLE_BUFFER,
        };
        if self.buffer.is_empty() {
            // A new one rather than a longer one: there is nothing in it to be copied.
            if capacity < wanted || (!receiving && capacity > MESSAGE_BUFFER) {
                self.buffer = Vec::with_capacity(wanted);
            }
        } else if capacity - self.buffer.len() < IDLE_BUFFER / 2 {
            self.buffer.reserve_exact(wanted);
        }
    }

    pub(super) fn info(&mut self, context: &str) {
        self.log.write(Event::Information, "", context);
    }

    fn step(&mut self, name: &'static str, note: Option<String>) {
        self.steps.push(Step { name: name.into(), micros: micros(self.since), note });
        self.since = Instant::now();
    }

    fn note_hello(&mut self) {
        if !self.steps.iter().any(|step| step.name == "ehlo")
            && self.messages == 0
            && let Some((name, _)) = self.session.helo()
        {
            let note = Some(name.to_owned());
            self.step("ehlo", note);
        }
    }

    /// A leg for one more message.
    pub(super) fn leg(&mut self) -> Leg {
        let hub = &self.service.hub;
        let (role, helper) = match self.service.kind {
            Kind::Smtp => ("server", "front end"),
            Kind::Submission | Kind::Submissions => ("client", "front end"),
            Kind::Lmtp | Kind::Hub | Kind::Delivery => ("server", "mailbox"),
        };
        let initiator = Party::new(role, self.peer.to_string());
        let acceptor = Party::new(helper, self.local.to_string());
        let now = hub.clock.now();
        let mut leg = match &self.inner {
            Some(leg) => Leg { started: now, ..Leg::clone(leg) },
            None => Leg::start(self.service.kind.operation(), initiator, acceptor, now),
        };
        leg.correlation = Some(self.correlation);
        leg.steps = std::mem::take(&mut self.steps);
        if let Some(identity) = &self.identity {
            leg.mechanism = self.mechanism.into();
            leg.key = Some(identity.by.clone().unwrap_or_else(|| identity.address.clone()));
        }
        leg
    }
}

fn has_binding(tls: &TlsFacts) -> bool {
    tls.exporter.is_some() || tls.end_point.is_some()
}
