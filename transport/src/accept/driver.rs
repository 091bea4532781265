//! The session's loop: bytes from the stream to the session, its wishes done, its replies gathered and written once.

use super::intake::Intake;
use super::log::Log;
use super::policy::blob_failed;
use super::{Kind, Service};
use crate::categorize::Route;
use crate::deliver::micros;
use crate::limits::{
    GRACE_MILLIS, IDLE_BUFFER, LINGER_BYTES, LINGER_MILLIS, MESSAGE_BUFFER, READ_BUFFER, WRITE_BUFFER,
    WRITE_MILLIS,
};
use crate::queue::Accepted;
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
use waypost_sasl::{Exchange, Identity};
use waypost_smtp::{Answer, MailParams, Mailbox, Out, Question, Session, Tls};
use waypost_trust::channel::{BoxStream, Channel, TlsAccept, TlsFacts};

/// One connection.
pub(super) struct Conn {
    pub(super) service: Arc<Service>,
    pub(super) correlation: Correlation,
    pub(super) session: Session,
    pub(super) peer: SocketAddr,
    local: SocketAddr,
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
    pub(super) intake: Option<Intake>,
    pub(super) accepted: Timestamp,
    pub(super) leg: Leg,
    pub(super) rcpt_micros: u64,
    pub(super) data_begun: Instant,
}

pub(super) struct Recipient {
    pub(super) accepted: Accepted,
    pub(super) route: Route,
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
            intake: None,
            accepted: Timestamp::default(),
            leg,
            rcpt_micros: 0,
            data_begun: Instant::now(),
        }
    }
}

/// How the conversation ended.
enum End {
    Local,
    Remote,
    Broken(io::Error),
}

pub(super) async fn run(channel: Channel, service: Arc<Service>, correlation: Correlation) {
    let hub = service.hub.clone();
    hub.metrics.sessions.one();
    let _open = hub.metrics.sessions_open.hold();
    let mut conn = Conn::new(channel, service, correlation);
    conn.log.write(Event::Connect, "", "");
    let end = match conn.converse().await {
        Ok(end) => end,
        Err(e) => End::Broken(e),
    };
    let how = match &end {
        End::Local => "Local",
        End::Remote => "Remote",
        End::Broken(_) => "Remote(SocketError)",
    };
    conn.log.write(Event::Disconnect, "", how);
    if let End::Broken(e) = &end {
        tracing::debug!(session = %correlation, error = %e, "connection broken");
    }
    if let Some(stream) = conn.stream.take() {
        drop(conn);
        let linger = part(stream, matches!(end, End::Local));
        let _ = tokio::time::timeout(Duration::from_millis(LINGER_MILLIS), linger).await;
    }
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
    fn new(channel: Channel, service: Arc<Service>, correlation: Correlation) -> Conn {
        let Channel { ref tls, peer, local, .. } = channel;
        let binding = tls.as_ref().map(|tls| Tls { binding: has_binding(tls) });
        let now = service.hub.clock.now();
        let session = Session::new(service.config(&channel), binding, now);
        Conn {
            log: Log::new(service.clone(), correlation, local, peer),
            service,
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
            mechanism: "anonymous",
            auth_micros: 0,
            identity: None,
            message: None,
            messages: 0,
            steps: Vec::new(),
            since: Instant::now(),
            greeted: false,
            closing: false,
        }
    }

    async fn converse(&mut self) -> io::Result<End> {
        let mut stopping = self.service.hub.stopping();
        let mut grace: Option<Instant> = None;
        loop {
            let now = self.service.hub.clock.now();
            while let Some(out) = self.session.poll(now) {
                self.act(out).await?;
            }
            if self.closing {
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
                _ = stopping.changed(), if grace.is_none() => {}
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
                self.session.reply(self.service.hub.clock.now(), id, answer);
            }
            Out::Body(range) => self.body(range).await,
            Out::Heard { line, secret } => {
                let line = self.base + line.start..self.base + line.end;
                self.log.received(self.buffer.get(line).unwrap_or_default(), secret);
            }
            Out::Reset => self.message = None,
            Out::StartTls => self.start_tls().await?,
            Out::WakeAt(at) => self.deadline = at,
            Out::Close => self.closing = true,
        }
        Ok(())
    }

    async fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::Mail { from, params } => self.mail(from, *params).await,
            Question::Rcpt { to, params } => self.rcpt(to, *params).await,
            Question::Begin => self.begin().await,
            Question::Finish { .. } => self.finish().await,
            Question::Auth(step) => self.auth(step).await,
            Question::Verify(name) => self.verify(&name),
            Question::Expand(_) => Answer::Ok,
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
            Kind::Lmtp => ("server", "mailbox"),
        };
        let initiator = Party::new(role, self.peer.to_string());
        let acceptor = Party::new(helper, self.local.to_string());
        let mut leg = Leg::start(self.service.kind.operation(), initiator, acceptor, hub.clock.now());
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
