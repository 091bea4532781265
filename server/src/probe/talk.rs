//! A conversation with a service as a client has it, step by step, with a bound on the time of each answer.

use super::Manner;
use crate::machine;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpSocket;
use waypost_base::explain::{Cause, Step};
use waypost_sasl::{Bindings, ClientExchange, Credentials, Mechanism, Salted};
use waypost_trust::channel::{BoxStream, PeerCertificate, TlsConnect, TlsFacts, TlsWish, Verify};

/// Longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(4);
/// How long a goodbye is waited for.
const PARTING: Duration = Duration::from_secs(1);
/// Longest line that is read; replies of ours are shorter.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Lines of one answer.
const LINES_MAX: usize = 1_000;
/// Rounds of a sign-in.
const ROUNDS_MAX: usize = 8;

/// What went wrong, and what was seen of it.
#[derive(Clone, Debug)]
pub struct Fault {
    pub cause: Cause,
    pub text: String,
    pub evidence: Vec<String>,
}

impl Fault {
    pub fn new(cause: Cause, text: impl Into<String>) -> Fault {
        Fault { cause, text: text.into(), evidence: Vec::new() }
    }

    pub fn seen(mut self, fact: impl Into<String>) -> Fault {
        self.evidence.push(fact.into());
        self
    }
}

pub type Done<T = ()> = Result<T, Fault>;

/// An answer of a service: its last line first decides.
#[derive(Debug)]
pub struct Said {
    pub lines: Vec<String>,
}

impl Said {
    pub fn last(&self) -> &str {
        self.lines.last().map_or("", String::as_str)
    }

    /// Whether any line has this word, whatever the case.
    pub fn has(&self, word: &str) -> bool {
        self.words().any(|w| w.eq_ignore_ascii_case(word))
    }

    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().flat_map(|l| l.split([' ', '-', '[', ']', '=']))
    }
}

/// How a protocol wraps the messages of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Imap,
    Pop,
    Smtp,
}

/// What sign-ins by SCRAM have worked out of passwords, by mechanism and user: thousands of hashes for each, which whoever
/// signs in again and again need not do again (RFC 5802 §5.1 lets clients keep it).
pub type Salts = Arc<Mutex<BTreeMap<(&'static str, String), Salted>>>;

/// Connections of this process that are probes, by their ports here, while they last: doors that are drained let them in, so
/// that it is seen when what stands behind is well again.
static OURS: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port of [`OURS`].
struct Ours(u16);

impl Ours {
    fn hold(port: u16) -> Ours {
        OURS.lock().unwrap_or_else(PoisonError::into_inner).insert(port);
        Ours(port)
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        OURS.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

/// Whether a connection that has come in is a probe of this process: from this machine, by a port that one has now.
pub fn is_ours(local: SocketAddr, peer: SocketAddr) -> bool {
    local.ip() == peer.ip() && OURS.lock().unwrap_or_else(PoisonError::into_inner).contains(&peer.port())
}

/// One connection.
pub struct Talk {
    dialect: Dialect,
    pub manner: &'static Manner,
    stream: Option<BufStream<BoxStream>>,
    pub steps: Vec<Step>,
    pub tls: Option<TlsFacts>,
    pub shown: Option<PeerCertificate>,
    pub mechanism: Option<String>,
    pub salts: Option<Salts>,
    ours: Option<Ours>,
    tag: u32,
}

impl Talk {
    /// Faults are named by `manner`.
    pub async fn connect(to: SocketAddr, dialect: Dialect, manner: &'static Manner) -> Done<Talk> {
        let connected = async {
            let (socket, any) = match to {
                SocketAddr::V4(_) => (TcpSocket::new_v4()?, IpAddr::from(Ipv4Addr::UNSPECIFIED)),
                SocketAddr::V6(_) => (TcpSocket::new_v6()?, IpAddr::from(Ipv6Addr::UNSPECIFIED)),
            };
            // The port is known before the other end can see it.
            socket.bind(SocketAddr::new(any, 0))?;
            let ours = Ours::hold(socket.local_addr()?.port());
            let stream = socket.connect(to).await?;
            stream.set_nodelay(true)?;
            io::Result::Ok((stream, ours))
        };
        let begun = Instant::now();
        let (stream, ours) = match tokio::time::timeout(ANSWER, connected).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(e)) => return Err(Fault::new(manner.connect, format!("it takes no connection: {e}"))),
            Err(_) => {
                let text = format!("no connection in {} seconds", ANSWER.as_secs());
                return Err(Fault::new(manner.time, text));
            }
        };
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut talk = Talk::over(Box::new(stream), dialect, manner);
        talk.ours = Some(ours);
        talk.steps.push(Step { name: "connect".into(), micros, note: None });
        Ok(talk)
    }

    /// Over a stream that is there.
    pub fn over(stream: BoxStream, dialect: Dialect, manner: &'static Manner) -> Talk {
        Talk {
            dialect,
            manner,
            stream: Some(BufStream::new(stream)),
            steps: Vec::new(),
            tls: None,
            shown: None,
            mechanism: None,
            salts: None,
            ours: None,
            tag: 0,
        }
    }

    /// Notes a step that began at `begun`, with what is known of it.
    pub fn note<T>(&mut self, name: &'static str, begun: Instant, done: Done<T>) -> Done<T> {
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let note = match (&done, name) {
            (Err(fault), _) => Some(fault.text.clone()),
            (Ok(_), "tls") => self.tls_note(),
            (Ok(_), "sign-in") => self.mechanism.clone(),
            (Ok(_), _) => None,
        };
        self.steps.push(Step { name: name.into(), micros, note });
        done
    }

    async fn within<T>(&mut self, work: impl Future<Output = io::Result<T>>, what: &str) -> Done<T> {
        match tokio::time::timeout(ANSWER, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(e)) => {
                Err(Fault::new(self.manner.greeting, format!("the connection broke at {what}: {e}")))
            }
            Err(_) => {
                let text = format!("no answer to {what} in {} seconds", ANSWER.as_secs());
                Err(Fault::new(self.manner.time, text))
            }
        }
    }

    pub async fn send(&mut self, text: &str) -> Done {
        let Some(mut stream) = self.stream.take() else {
            return Err(Fault::new(self.manner.greeting, "the connection is closed"));
        };
        let work = async {
            stream.write_all(text.as_bytes()).await?;
            stream.write_all(b"\r\n").await?;
            stream.flush().await
        };
        // What follows a command's name may be a password.
        let what = text.split(' ').next().unwrap_or_default().to_owned();
        let sent = self.within(work, &what).await;
        self.stream = Some(stream);
        sent
    }

    pub async fn line(&mut self, what: &str) -> Done<String> {
        let Some(mut stream) = self.stream.take() else {
            return Err(Fault::new(self.manner.greeting, "the connection is closed"));
        };
        let read = self.within(read_line(&mut stream), what).await;
        self.stream = Some(stream);
        read
    }

    /// The whole answer to what was sent.
    pub async fn answer(&mut self, what: &str) -> Done<Said> {
        let tag = format!("r{} ", self.tag);
        let mut lines = Vec::new();
        loop {
            let line = self.line(what).await?;
            let last = match self.dialect {
                Dialect::Smtp => line.as_bytes().get(3) != Some(&b'-'),
                Dialect::Imap => line.starts_with(&tag) || line.starts_with("+ ") || line == "+",
                Dialect::Pop => true,
            };
            let line = match line.strip_prefix(&tag) {
                Some(rest) => rest.to_owned(),
                None => line,
            };
            lines.push(line);
            if last {
                return Ok(Said { lines });
            }
            if lines.len() > LINES_MAX {
                return Err(Fault::new(self.manner.greeting, format!("the answer to {what} does not end")));
            }
        }
    }

    /// Sends a command and reads its answer.
    pub async fn ask(&mut self, command: &str) -> Done<Said> {
        let what = command.split(' ').next().unwrap_or_default().to_owned();
        if self.dialect == Dialect::Imap {
            self.tag += 1;
            self.send(&format!("r{} {command}", self.tag)).await?;
        } else {
            self.send(command).await?;
        }
        self.answer(&what).await
    }

    /// The lines of a POP3 answer up to its dot.
    pub async fn rest(&mut self, what: &str) -> Done<Said> {
        let mut lines = Vec::new();
        loop {
            let line = self.line(what).await?;
            if line == "." || lines.len() > LINES_MAX {
                return Ok(Said { lines });
            }
            lines.push(line);
        }
    }

    pub fn is_good(&self, said: &Said) -> bool {
        match self.dialect {
            Dialect::Imap => said.last().starts_with("OK"),
            Dialect::Pop => said.last().starts_with("+OK"),
            Dialect::Smtp => said.last().starts_with('2'),
        }
    }

    /// TLS as the client side; any certificate will do, and is looked at afterwards.
    pub async fn start_tls(&mut self, client: &dyn TlsConnect, name: &str) -> Done {
        let Some(stream) = self.stream.take() else {
            return Err(Fault::new(self.manner.tls, "the connection is closed"));
        };
        let wish = TlsWish { name: name.to_owned(), verify: Verify::Any };
        let connecting = client.connect(stream.into_inner(), wish);
        match tokio::time::timeout(ANSWER, connecting).await {
            Ok(Ok((stream, facts, shown))) => {
                self.stream = Some(BufStream::new(stream));
                self.tls = Some(facts);
                self.shown = Some(shown);
                Ok(())
            }
            Ok(Err(e)) => Err(Fault::new(self.manner.tls, format!("the TLS handshake fails: {e}"))),
            Err(_) => Err(Fault::new(self.manner.time, "the TLS handshake takes too long")),
        }
    }

    /// `TLSv1.3, CN=mail.example.org`
    pub fn tls_note(&self) -> Option<String> {
        let version = self.tls.as_ref().map(|facts| facts.version)?;
        let subject = self.shown.as_ref().map(|c| c.subject.clone()).unwrap_or_default();
        Some(format!("{version}, {subject}"))
    }

    /// Says goodbye and waits until the other side has closed, so that nothing of this session is left behind.
    pub async fn leave(&mut self) {
        let goodbye = if self.dialect == Dialect::Imap { "bye LOGOUT" } else { "QUIT" };
        let parting = async {
            // After a goodbye of the probe's own this is one too many, and nobody minds.
            if self.send(goodbye).await.is_ok() {
                while self.line(goodbye).await.is_ok() {}
            }
        };
        let _ = tokio::time::timeout(PARTING, parting).await;
    }

    fn bindings(&self) -> Bindings {
        self.tls.as_ref().map_or_else(Bindings::default, |facts| Bindings {
            exporter: facts.exporter,
            end_point: facts.end_point.clone(),
        })
    }

    /// A sign-in by a mechanism. The answer says whether it worked.
    pub async fn authenticate(&mut self, mechanism: Mechanism, user: &str, password: &str) -> Done<Said> {
        self.mechanism = Some(mechanism.name().to_owned());
        let nonce = machine::random::<18>();
        let credentials = Credentials::new(user, password);
        let sign_in = self.manner.sign_in;
        let refused = |text: String| Fault::new(sign_in, text);
        let mut exchange = ClientExchange::start(mechanism, credentials, &self.bindings(), &nonce)
            .map_err(|_| refused(format!("{} cannot be used here", mechanism.name())))?;
        let key = (mechanism.name().trim_end_matches("-PLUS"), user.to_owned());
        if let Some(salts) = &self.salts {
            let known = salts.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
            exchange = exchange.recalling(known);
        }
        let verb = if self.dialect == Dialect::Imap { "AUTHENTICATE" } else { "AUTH" };
        let mut said = self.ask(&format!("{verb} {}", mechanism.name())).await?;
        let mut first = exchange.initial();
        let mut salted = None;
        for _ in 0..ROUNDS_MAX {
            let challenge = match self.dialect {
                Dialect::Smtp => said.last().strip_prefix("334"),
                _ => said.last().strip_prefix('+').filter(|rest| !rest.starts_with("OK")),
            };
            let Some(challenge) = challenge else {
                if let (Some(salts), Some(salted)) = (&self.salts, salted) {
                    salts.lock().unwrap_or_else(PoisonError::into_inner).insert(key, salted);
                }
                return Ok(said);
            };
            let challenge = STANDARD.decode(challenge.trim()).unwrap_or_default();
            let reply = match first.take() {
                Some(initial) => initial,
                None => exchange.step(&challenge).map_err(|e| refused(e.to_string()))?,
            };
            salted = exchange.salted().or(salted);
            self.send(&STANDARD.encode(reply.expose())).await?;
            said = self.answer(verb).await?;
        }
        Err(refused(format!("{} does not come to an end", mechanism.name())))
    }
}

async fn read_line(stream: &mut BufStream<BoxStream>) -> io::Result<String> {
    let mut line = Vec::new();
    loop {
        let available = stream.fill_buf().await?;
        if available.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = available.iter().position(|b| *b == b'\n');
        let taken = end.map_or(available.len(), |at| at + 1);
        line.extend_from_slice(available.get(..taken).unwrap_or_default());
        stream.consume(taken);
        if end.is_some() {
            let text = String::from_utf8_lossy(&line);
            return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(io::Error::other("a line without an end"));
        }
    }
}
