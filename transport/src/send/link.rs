//! One connection to another server: bytes between its stream and the SMTP client, with the lines for the log and the
//! times for the leg.
//!
//! Time is counted from the connection's beginning by tokio's clock, so a machine whose clock jumps loses no session.

use super::Network;
use super::log::Lines;
use super::mx::Stop;
use crate::deliver::micros;
use crate::limits::{HANDSHAKE_MILLIS, MESSAGE_BUFFER};
use crate::sink::Event as Line;
use bytes::Bytes;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use waypost_base::explain::Step;
use waypost_base::{Clock, Timestamp};
use waypost_smtp::client::{Client, Config, Delivery, Failure, Out, Outgoing, Stage};
use waypost_store::{BlobError, BlobReader};
use waypost_trust::channel::{BoxStream, Dialed, PeerCertificate, TlsFacts, TlsWish};

/// Octets that wait to be written before more of the message is read.
const AHEAD: usize = 128 * 1024;

/// What the conversation has come to.
#[derive(Debug)]
pub(crate) enum Event {
    /// Messages may be sent.
    Ready,
    /// What became of the message.
    Done(Box<Delivery>),
    /// The connection is of no use.
    Failed(Failure),
    /// The handshake did not work, and why.
    NoTls(String),
    Closed,
    /// Nothing happened until the time that was given to [`Link::idle`].
    Quiet,
}

/// A message's octets, with what was read of them already.
pub(crate) struct Body {
    pub(crate) first: Option<Bytes>,
    pub(crate) rest: BlobReader,
}

impl Body {
    /// As it is sent: the Return-Path field that we put on top for local delivery is no business of other servers (RFC 5321
    /// §4.4). Gives the octets that are left.
    pub(crate) async fn of(mut rest: BlobReader) -> Result<(Body, u64), BlobError> {
        let first = rest.next().await?;
        let first = first.map(without_return_path);
        let size = rest.left() + first.as_ref().map_or(0, |piece| piece.len() as u64);
        Ok((Body { first, rest }, size))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        match self.first.take() {
            Some(piece) if !piece.is_empty() => Ok(Some(piece)),
            _ => self.rest.next().await,
        }
    }
}

fn without_return_path(mut piece: Bytes) -> Bytes {
    const NAME: &[u8] = b"return-path:";
    if piece.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)) {
        let folded = |at: usize| matches!(piece.get(at + 2), Some(b' ' | b'\t'));
        let end = memchr::memmem::find_iter(&piece, b"\r\n").find(|at| !folded(*at));
        if let Some(end) = end {
            return piece.split_off(end + 2);
        }
    }
    piece
}

/// What happened to the stream.
enum Io {
    Read(usize),
    Written,
    End,
    Late,
}

pub(crate) struct Link {
    client: Client,
    /// Absent only during a handshake, and after one that failed.
    stream: Option<BoxStream>,
    pub(crate) stop: Stop,
    network: Network,
    wish: TlsWish,
    pub(crate) tls: Option<(TlsFacts, PeerCertificate)>,
    clock: Clock,
    begun: Instant,
    base: Timestamp,
    out: Vec<u8>,
    written: usize,
    buffer: Vec<u8>,
    pub(crate) lines: Lines,
    /// What was done since somebody last took them away.
    pub(crate) steps: Vec<Step>,
    since: Instant,
    stage: Stage,
    closed: bool,
    /// Messages that the peer has taken over this connection, and their octets.
    pub(crate) messages: u32,
    pub(crate) octets: u64,
}

impl Link {
    pub(crate) fn new(
        dialed: Dialed,
        stop: Stop,
        config: Arc<Config>,
        wish: TlsWish,
        lines: Lines,
        network: Network,
        clock: Clock,
    ) -> Link {
        let base = clock.now();
        Link {
            client: Client::new(config, false, base),
            stream: Some(dialed.stream),
            stop,
            network,
            wish,
            tls: None,
            clock,
            begun: Instant::now(),
            base,
            out: Vec::new(),
            written: 0,
            buffer: Vec::new(),
            lines,
            steps: Vec::new(),
            since: Instant::now(),
            stage: Stage::Connect,
            closed: false,
            messages: 0,
            octets: 0,
        }
    }

    /// The first line of the log.
    pub(crate) fn begin(&mut self) {
        self.lines.write(self.clock.now(), Line::Connect, "", "");
    }

    /// The last line of the log.
    pub(crate) fn end(&mut self, how: &str) {
        self.lines.write(self.clock.now(), Line::Disconnect, "", how);
    }

    /// Greeting, EHLO, TLS and AUTH.
    pub(crate) async fn open(&mut self) -> Event {
        self.run(None, None).await
    }

    /// One message. `body`: its octets.
    pub(crate) async fn deliver(&mut self, outgoing: Outgoing, body: Body) -> Event {
        self.since = Instant::now();
        let now = self.now();
        self.client.send(now, outgoing);
        self.stage = self.client.stage();
        self.run(Some(body), None).await
    }

    /// Hears whether the peer hangs up, for as long as there is nothing to say.
    pub(crate) async fn idle(&mut self, millis: u64) -> Event {
        self.run(None, Some(Instant::now() + Duration::from_millis(millis))).await
    }

    /// Another message may follow.
    pub(crate) fn is_idle(&self) -> bool {
        !self.closed && self.client.is_idle()
    }

    /// Says goodbye, if anybody is there to hear it.
    pub(crate) async fn quit(&mut self) {
        if !self.closed {
            let now = self.now();
            self.client.quit(now);
            while !matches!(self.run(None, None).await, Event::Closed | Event::NoTls(_)) {}
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The steps since the last call.
    pub(crate) fn take_steps(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.steps)
    }

    pub(crate) fn step(&mut self, name: &'static str, note: Option<String>) {
        self.steps.push(Step { name: name.into(), micros: micros(self.since), note });
        self.since = Instant::now();
    }

    /// A step ends when another is waited for.
    pub(crate) fn watch(&mut self) {
        let stage = self.client.stage();
        if stage == self.stage {
            return;
        }
        let (before, after) = (step_name(self.stage), step_name(stage));
        self.stage = stage;
        if let Some(name) = before.filter(|_| before != after) {
            self.step(name, None);
        }
    }

    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.base.plus_millis(passed)
    }

    fn at(&self, deadline: Timestamp) -> Instant {
        let millis = u64::try_from(deadline.since(self.base)).unwrap_or(0);
        // A day is longer than every wait, and what cannot be reckoned is as good.
        self.begun.checked_add(Duration::from_millis(millis.min(86_400_000))).unwrap_or(self.begun)
    }

    async fn run(&mut self, mut body: Option<Body>, until: Option<Instant>) -> Event {
        loop {
            while let Some(out) = self.client.poll(self.now()) {
                if let Some(event) = self.act(out).await {
                    return event;
                }
            }
            if self.closed {
                return Event::Closed;
            }
            while self.client.wants_body() && self.out.len() < AHEAD {
                self.more(&mut body).await;
            }
            let mut deadline = self.at(self.client.deadline());
            if let Some(until) = until {
                deadline = deadline.min(until);
            }
            let why = match self.io(deadline).await {
                Ok(Io::Late) if until.is_some_and(|until| Instant::now() >= until) => return Event::Quiet,
                Ok(Io::Written | Io::Late) => continue,
                Ok(Io::Read(n)) => {
                    let now = self.now();
                    self.client.input(now, self.buffer.get(..n).unwrap_or_default());
                    self.watch();
                    continue;
                }
                Ok(Io::End) => "the other side closed the connection".to_owned(),
                Err(e) => e.to_string(),
            };
            self.out.clear();
            self.written = 0;
            self.client.lost(why);
        }
    }

    async fn more(&mut self, body: &mut Option<Body>) {
        let piece = match body {
            Some(body) => body.next().await,
            None => Ok(None),
        };
        let now = self.now();
        match piece {
            Ok(Some(piece)) => self.client.body(now, &piece, &mut self.out),
            Ok(None) => self.client.body_end(now, &mut self.out),
            Err(e) => self.client.abort(e.to_string()),
        }
    }

    async fn act(&mut self, out: Out) -> Option<Event> {
        match out {
            Out::Send(bytes) if self.out.is_empty() => self.out = bytes,
            Out::Send(bytes) => self.out.extend_from_slice(&bytes),
            Out::Said(line) => self.lines.write(self.clock.now(), Line::Sent, &line, ""),
            Out::Heard(reply) => self.heard(&reply),
            Out::StartTls => return self.handshake().await.err().map(Event::NoTls),
            Out::Ready => return Some(Event::Ready),
            Out::Done(delivery) => return Some(Event::Done(delivery)),
            Out::Failed(failure) => return Some(Event::Failed(failure)),
            Out::WakeAt(_) => {}
            Out::Close => self.close().await,
        }
        None
    }

    fn heard(&mut self, reply: &str) {
        if self.lines.is_wanted() {
            let line = if reply.contains('\n') { reply.replace('\n', " ") } else { reply.to_owned() };
            self.lines.write(self.clock.now(), Line::Received, &line, "");
        }
    }

    async fn close(&mut self) {
        // What cannot be said any more is not missed.
        let _ = self.flush(Duration::from_secs(10)).await;
        self.closed = true;
        self.stream = None;
    }

    /// Writes everything that waits.
    async fn flush(&mut self, within: Duration) -> io::Result<()> {
        let deadline = Instant::now() + within;
        while !self.out.is_empty() {
            let Some(stream) = &mut self.stream else { return Err(io::ErrorKind::NotConnected.into()) };
            let (out, written) = (&mut self.out, &mut self.written);
            let writing = poll_fn(|cx| write_out(Pin::new(&mut *stream), cx, out, written));
            match tokio::time::timeout_at(deadline, writing).await {
                Ok(done) => done?,
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
        Ok(())
    }

    async fn handshake(&mut self) -> Result<(), String> {
        let within = Duration::from_millis(HANDSHAKE_MILLIS);
        self.flush(within).await.map_err(|e| e.to_string())?;
        let Some(plain) = self.stream.take() else { return Err("the connection is closed".to_owned()) };
        let connecting = self.network.tls.connect(plain, self.wish.clone());
        let (stream, facts, certificate) = match tokio::time::timeout(within, connecting).await {
            Ok(Ok(done)) => done,
            Ok(Err(e)) => {
                self.closed = true;
                let why = format!("TLS negotiation failed with error {e}");
                self.lines.write(self.clock.now(), Line::Information, "", &why);
                return Err(e.to_string());
            }
            Err(_) => {
                self.closed = true;
                return Err("the handshake took too long".to_owned());
            }
        };
        self.certificate_lines(&facts, &certificate);
        self.step("tls", Some(format!("{} {}", facts.version, facts.cipher)));
        self.stream = Some(stream);
        self.tls = Some((facts, certificate));
        let now = self.now();
        self.client.tls_started(now);
        Ok(())
    }

    fn certificate_lines(&mut self, facts: &TlsFacts, certificate: &PeerCertificate) {
        if !self.lines.is_wanted() {
            return;
        }
        let now = self.clock.now();
        let how = format!("TLS protocol {} negotiation succeeded using {}", facts.version, facts.cipher);
        self.lines.write(now, Line::Information, "", &how);
        let names = certificate.names.join(";");
        for (value, label) in [
            (&certificate.subject, "Certificate subject"),
            (&certificate.issuer, "Certificate issuer name"),
            (&certificate.serial, "Certificate serial number"),
            (&certificate.fingerprint, "Certificate thumbprint"),
            (&names, "Certificate alternate names"),
        ] {
            self.lines.write(now, Line::Information, value, label);
        }
        if let Some(fault) = &certificate.fault {
            self.lines.write(now, Line::Information, fault, "Certificate not trusted");
        }
    }

    /// Writes what waits, and reads: a peer that answers before it has heard everything is heard, whoever is stuck.
    async fn io(&mut self, deadline: Instant) -> io::Result<Io> {
        let Link { stream, out, written, buffer, client, .. } = self;
        let Some(stream) = stream else { return Ok(Io::End) };
        let more = client.wants_body();
        buffer.resize(MESSAGE_BUFFER, 0);
        let doing = poll_fn(|cx| {
            let mut stream = Pin::new(&mut *stream);
            if !out.is_empty() {
                match write_out(stream.as_mut(), cx, out, written) {
                    Poll::Ready(Ok(())) if more => return Poll::Ready(Ok(Io::Written)),
                    Poll::Ready(Ok(())) | Poll::Pending => {}
                    // What the peer said before it hung up matters more than that it did.
                    Poll::Ready(Err(e)) => match read_in(stream, cx, buffer) {
                        Poll::Ready(Ok(Io::Read(n))) => return Poll::Ready(Ok(Io::Read(n))),
                        _ => return Poll::Ready(Err(e)),
                    },
                }
            }
            read_in(stream, cx, buffer)
        });
        tokio::time::timeout_at(deadline, doing).await.unwrap_or(Ok(Io::Late))
    }
}

/// What a stage is called on a leg; the handshake tells of itself.
fn step_name(stage: Stage) -> Option<&'static str> {
    match stage {
        Stage::Connect => Some("greeting"),
        Stage::Hello => Some("ehlo"),
        Stage::Auth => Some("auth"),
        Stage::Mail => Some("mail"),
        Stage::Rcpt => Some("rcpt"),
        Stage::Data | Stage::Body | Stage::Final => Some("data"),
        Stage::StartTls | Stage::Idle => None,
    }
}

fn read_in(stream: Pin<&mut BoxStream>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Io>> {
    let mut read = ReadBuf::new(buffer);
    match stream.poll_read(cx, &mut read) {
        Poll::Ready(Ok(())) if read.filled().is_empty() => Poll::Ready(Ok(Io::End)),
        Poll::Ready(Ok(())) => Poll::Ready(Ok(Io::Read(read.filled().len()))),
        Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
        Poll::Pending => Poll::Pending,
    }
}

/// Ready when everything is written and flushed; `out` is empty then.
fn write_out(
    mut stream: Pin<&mut BoxStream>,
    cx: &mut Context<'_>,
    out: &mut Vec<u8>,
    written: &mut usize,
) -> Poll<io::Result<()>> {
    while let Some(rest) = out.get(*written..).filter(|rest| !rest.is_empty()) {
        match stream.as_mut().poll_write(cx, rest) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(n)) => *written += n,
            Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
            Poll::Pending => return Poll::Pending,
        }
    }
    match stream.poll_flush(cx) {
        Poll::Ready(Ok(())) => {
            out.clear();
            *written = 0;
            Poll::Ready(Ok(()))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_for_local_delivery_is_not_sent() {
        let sent = |text: &'static str| without_return_path(Bytes::from(text));
        assert_eq!(sent("Return-Path: <a@b>\r\nSubject: x\r\n"), "Subject: x\r\n");
        assert_eq!(sent("return-path:\r\n <a@b>\r\nSubject: x\r\n"), "Subject: x\r\n");
        for same in ["Subject: x\r\nReturn-Path: <a@b>\r\n", "Return-Path: <a@b>", ""] {
            assert_eq!(sent(same), same);
        }
    }
}
