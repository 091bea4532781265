//! The world outside as the simulation has it: name servers and mail servers that do, by chance, everything that they
//! should not; and a ledger of what was really taken.

use crate::internet::{Random, certificate, tls_facts};
use crate::site::Hands;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::time::sleep;
use waypost_trust::channel::{BoxStream, Connecting, Dial, Dialed, Dialing, TlsConnect, TlsWish};
use waypost_trust::dns::{Asking, Dns, DnsError, Mx};

/// A message as another server took it.
#[derive(Clone, Debug)]
pub struct Taken {
    pub at: i64,
    /// The server never came to say 250.
    pub unsaid: bool,
}

#[derive(Default)]
pub struct Ledger {
    /// By the number of the message and the recipient.
    pub taken: BTreeMap<(u32, String), Vec<Taken>>,
    /// Reports to senders elsewhere: to whom, and the text.
    pub reports: Vec<(String, String)>,
    pub trace: Vec<String>,
    pub wrong: Vec<String>,
}

pub struct Outside {
    pub random: Random,
    pub hands: Hands,
    pub ledger: Mutex<Ledger>,
    pub faults: AtomicBool,
}

/// Who is where.
const HOSTS: &[(&str, &str)] = &[
    ("mx1.far.example", "192.0.2.1"),
    ("mx1.far.example", "2001:db8::1"),
    ("mx2.far.example", "192.0.2.2"),
    ("near.example", "192.0.2.3"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Temporary,
    Permanent,
    Bye,
    Drop,
    Hang,
    Garbage,
    /// At the end of a message: taken, and then the connection breaks.
    TakenDrop,
    TakenHang,
}

/// The verbs at which a server may misbehave.
const VERBS: &[&str] = &["GREETING", "EHLO", "STARTTLS", "MAIL", "RCPT", "DATA", "BODY", "FINAL", "QUIT"];

impl Outside {
    pub fn say(&self, text: impl Into<String>) {
        let at = self.hands.straight().civil();
        let line =
            format!("{:02}:{:02}:{:02}.{:03} {}", at.hour, at.minute, at.second, at.millis, text.into());
        self.ledger.lock().unwrap().trace.push(line);
    }

    /// In so many of a hundred cases.
    pub fn chance(&self, per_cent: u64) -> bool {
        (self.random)() % 100 < per_cent
    }

    pub fn below(&self, n: u64) -> u64 {
        (self.random)() % n
    }

    fn faulty(&self, per_cent: u64) -> bool {
        self.faults.load(Ordering::Relaxed) && self.chance(per_cent)
    }

    fn trouble(&self) -> Option<(&'static str, What)> {
        if !self.faulty(55) {
            return None;
        }
        let verb = VERBS[usize::try_from(self.below(VERBS.len() as u64)).unwrap()];
        let what = match self.below(if verb == "FINAL" { 9 } else { 6 }) {
            0 | 8 => What::Temporary,
            1 => What::Permanent,
            2 => What::Bye,
            3 => What::Drop,
            4 => What::Hang,
            5 => What::Garbage,
            6 => What::TakenDrop,
            _ => What::TakenHang,
        };
        Some((verb, what))
    }

    async fn asked<T>(&self, name: &str, answer: Result<Vec<T>, DnsError>) -> Result<Vec<T>, DnsError> {
        if self.faulty(15) {
            let kind = self.below(4);
            self.say(format!("dns fault {kind} for {name}"));
            match kind {
                0 => {
                    sleep(Duration::from_secs(1 + self.below(20))).await;
                    return Err(DnsError::Timeout(name.into()));
                }
                1 | 2 => return Err(DnsError::Failed(name.into(), "SERVFAIL".into())),
                _ => {
                    sleep(Duration::from_secs(300)).await;
                    return Err(DnsError::Timeout(name.into()));
                }
            }
        }
        answer
    }
}

/// A handle on the outside, for those whose traits it fulfils.
#[derive(Clone)]
pub struct Net(pub Arc<Outside>);

impl Dns for Net {
    fn mx<'a>(&'a self, domain: &'a str) -> Asking<'a, Vec<Mx>> {
        let mx = |preference, host: &str| Mx { preference, host: host.to_owned() };
        let answer = match domain {
            "far.example" => Ok(vec![mx(20, "mx2.far.example"), mx(10, "mx1.far.example")]),
            "null.example" => Ok(vec![mx(0, "")]),
            "near.example" => Err(DnsError::NoRecord(domain.into())),
            "loop.example" => Ok(vec![mx(5, "mx.contoso.test")]),
            _ => Err(DnsError::NoName(domain.into())),
        };
        Box::pin(async move { self.0.asked(domain, answer).await })
    }

    fn addresses<'a>(&'a self, host: &'a str) -> Asking<'a, Vec<IpAddr>> {
        let found: Vec<IpAddr> =
            HOSTS.iter().filter(|(name, _)| *name == host).map(|(_, a)| a.parse().unwrap()).collect();
        let answer = if found.is_empty() { Err(DnsError::NoName(host.into())) } else { Ok(found) };
        Box::pin(async move { self.0.asked(host, answer).await })
    }

    fn txt<'a>(&'a self, name: &'a str) -> Asking<'a, Vec<String>> {
        Box::pin(async move { Err(DnsError::NoName(name.into())) })
    }

    fn names(&self, address: IpAddr) -> Asking<'_, Vec<String>> {
        Box::pin(async move { Err(DnsError::NoName(address.to_string())) })
    }
}

impl Dial for Net {
    fn dial(&self, to: SocketAddr, _from: Option<IpAddr>) -> Dialing {
        let outside = self.0.clone();
        Box::pin(async move {
            let host = HOSTS.iter().find(|(_, a)| a.parse::<IpAddr>().unwrap() == to.ip() && to.port() == 25);
            let Some((host, _)) = host else { return Err(io::ErrorKind::ConnectionRefused.into()) };
            if outside.faulty(20) {
                let hangs = outside.chance(40);
                outside
                    .say(format!("{host} {}", if hangs { "does not answer" } else { "refuses connections" }));
                if hangs {
                    std::future::pending::<()>().await;
                }
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            sleep(Duration::from_millis(1 + outside.below(300))).await;
            let (ours, theirs) = tokio::io::duplex(1 << (6 + outside.below(11)));
            let server = Server::new(outside.clone(), host, theirs);
            tokio::spawn(server.serve());
            let local = SocketAddr::from(([192, 0, 2, 25], 40_000));
            Ok(Dialed { stream: Box::new(ours), local, peer: to })
        })
    }
}

impl TlsConnect for Net {
    fn connect(&self, plain: BoxStream, wish: TlsWish) -> Connecting {
        let outside = self.0.clone();
        Box::pin(async move {
            if outside.faulty(30) {
                outside.say(format!("TLS fails with {}", wish.name));
                sleep(Duration::from_millis(outside.below(2000))).await;
                return Err(io::Error::other("handshake failure"));
            }
            Ok((plain, tls_facts(&wish.name), certificate(&wish.name, None)))
        })
    }
}

/// One connection, from the other side.
struct Server {
    outside: Arc<Outside>,
    host: &'static str,
    stream: BufReader<DuplexStream>,
    trouble: Option<(&'static str, What)>,
    from: Option<String>,
    to: Vec<String>,
    body: Vec<u8>,
    tls: bool,
}

/// The conversation is over.
struct Over;

impl Server {
    fn new(outside: Arc<Outside>, host: &'static str, stream: DuplexStream) -> Server {
        let trouble = outside.trouble();
        if let Some((verb, what)) = trouble {
            outside.say(format!("{host} will do {what:?} at {verb}"));
        }
        let stream = BufReader::new(stream);
        Server { outside, host, stream, trouble, from: None, to: Vec::new(), body: Vec::new(), tls: false }
    }

    async fn serve(mut self) {
        let _ = self.converse().await;
    }

    async fn say(&mut self, text: &str) {
        let _ = self.stream.get_mut().write_all(format!("{text}\r\n").as_bytes()).await;
    }

    /// Says `ok`, or misbehaves if it is time to. Answers whether it was `ok`.
    async fn answer(&mut self, verb: &str, ok: &str) -> Result<bool, Over> {
        let Some((_, what)) = self.trouble.filter(|(at, _)| *at == verb) else {
            self.say(ok).await;
            return Ok(true);
        };
        // Reports have nobody to be returned to: the simulation wants to see them arrive.
        let report = self.from.as_deref() == Some("");
        match what {
            What::Permanent if !report => self.say("550 5.7.1 never").await,
            What::Temporary | What::Permanent => self.say("451 4.3.0 later").await,
            What::Bye => {
                self.say("421 4.3.2 going down").await;
                return Err(Over);
            }
            What::Garbage => {
                self.say("\u{7f}what?").await;
                return Err(Over);
            }
            What::Hang | What::TakenHang => {
                // Deaf, until whoever waits has had enough.
                sleep(Duration::from_secs(3600)).await;
                return Err(Over);
            }
            What::Drop | What::TakenDrop => return Err(Over),
        }
        if verb != "RCPT" {
            self.trouble = None;
        }
        Ok(false)
    }

    async fn line(&mut self) -> Result<String, Over> {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line).await {
            Ok(n) if n > 0 && line.ends_with(b"\n") => {
                Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
            }
            _ => Err(Over),
        }
    }

    async fn converse(&mut self) -> Result<(), Over> {
        let greeting = format!("220 {} ESMTP", self.host);
        if !self.answer("GREETING", &greeting).await? {
            return Err(Over);
        }
        loop {
            let line = self.line().await?;
            let verb = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => self.ehlo().await?,
                "HELO" => self.say("250 hi").await,
                "STARTTLS" => {
                    if self.answer("STARTTLS", "220 go").await? {
                        self.tls = true;
                    }
                }
                "MAIL" => {
                    self.from = Some(path(&line));
                    if !self.answer("MAIL", "250 2.1.0 ok").await? {
                        self.from = None;
                    }
                }
                "RCPT" if self.from.is_some() => self.rcpt(path(&line)).await?,
                "DATA" if !self.to.is_empty() => {
                    if self.answer("DATA", "354 go").await? {
                        self.data().await?;
                    }
                }
                "BDAT" => self.bdat(&line).await?,
                "RSET" => {
                    self.reset();
                    self.say("250 2.0.0 ok").await;
                }
                "NOOP" => self.say("250 2.0.0 ok").await,
                "QUIT" => {
                    self.answer("QUIT", "221 2.0.0 bye").await?;
                    return Ok(());
                }
                _ => self.say("503 5.5.1 not now").await,
            }
        }
    }

    fn reset(&mut self) {
        self.from = None;
        self.to.clear();
        self.body.clear();
    }

    async fn ehlo(&mut self) -> Result<(), Over> {
        let mut words = vec![self.host.to_owned()];
        for word in
            ["8BITMIME", "PIPELINING", "CHUNKING", "ENHANCEDSTATUSCODES", "SIZE 1000000", "LIMITS RCPTMAX=2"]
        {
            if self.outside.chance(60) {
                words.push(word.to_owned());
            }
        }
        if !self.tls && self.outside.chance(50) {
            words.push("STARTTLS".to_owned());
        }
        let last = words.len() - 1;
        let lines: Vec<String> = words
            .iter()
            .enumerate()
            .map(|(i, w)| format!("250{}{w}", if i == last { ' ' } else { '-' }))
            .collect();
        self.answer("EHLO", &lines.join("\r\n")).await?;
        Ok(())
    }

    async fn rcpt(&mut self, to: String) -> Result<(), Over> {
        if self.outside.faults.load(Ordering::Relaxed) && self.to.len() >= 2 && self.outside.chance(50) {
            self.say("452 4.5.3 too many recipients").await;
        } else if self.answer("RCPT", "250 2.1.5 ok").await? {
            self.to.push(to);
        }
        Ok(())
    }

    async fn data(&mut self) -> Result<(), Over> {
        let mut lines = 0;
        loop {
            let mut line = Vec::new();
            let n = self.stream.read_until(b'\n', &mut line).await.map_err(|_| Over)?;
            if n == 0 || !line.ends_with(b"\r\n") {
                return Err(Over);
            }
            if line == b".\r\n" {
                return self.done().await;
            }
            let line = line.strip_prefix(b".").unwrap_or(&line);
            self.body.extend_from_slice(line);
            lines += 1;
            if lines == 3
                && self.trouble.is_some_and(|(verb, _)| verb == "BODY")
                && !self.answer("BODY", "").await?
            {
                return Err(Over);
            }
        }
    }

    async fn bdat(&mut self, line: &str) -> Result<(), Over> {
        let mut words = line.split(' ').skip(1);
        let size: usize = words.next().and_then(|w| w.parse().ok()).unwrap_or(0);
        let last = words.next().is_some();
        let mut chunk = vec![0; size];
        self.stream.read_exact(&mut chunk).await.map_err(|_| Over)?;
        if self.to.is_empty() {
            self.say("503 5.5.1 nobody").await;
            return Ok(());
        }
        self.body.extend_from_slice(&chunk);
        if self.trouble.is_some_and(|(verb, _)| verb == "BODY" || verb == "DATA") {
            let (verb, _) = self.trouble.unwrap_or(("BODY", What::Drop));
            self.answer(verb, "250 ok").await?;
            self.reset();
            return Ok(());
        }
        if last {
            return self.done().await;
        }
        self.say("250 2.0.0 more").await;
        Ok(())
    }

    /// The message is whole.
    async fn done(&mut self) -> Result<(), Over> {
        if self.outside.chance(30) {
            sleep(Duration::from_millis(self.outside.below(5000))).await;
        }
        let trouble = self.trouble.filter(|(verb, _)| *verb == "FINAL").map(|(_, what)| what);
        let unsaid = matches!(trouble, Some(What::TakenDrop | What::TakenHang));
        if trouble.is_none() || unsaid {
            self.take(unsaid);
        }
        self.answer("FINAL", "250 2.0.0 taken").await?;
        self.reset();
        Ok(())
    }

    fn take(&mut self, unsaid: bool) {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        let at = self.outside.hands.straight().as_millis();
        self.outside.say(format!("{} takes {:?} unsaid: {unsaid}", self.host, self.to));
        let mut ledger = self.outside.ledger.lock().unwrap();
        if self.from.as_deref() == Some("") && text.contains("report-type=delivery-status") {
            for to in &self.to {
                ledger.reports.push((to.clone(), text.clone()));
            }
            return;
        }
        let Some(number) = crate::lives::number_of(&text) else {
            ledger.wrong.push(format!("a message without a number was sent: {text}"));
            return;
        };
        if !text.ends_with(crate::lives::text(number)) {
            ledger.wrong.push(format!("message {number} arrived changed: {text}"));
        }
        for to in &self.to {
            if !to.ends_with(if self.host == "near.example" { "@near.example" } else { "@far.example" }) {
                ledger.wrong.push(format!("{to} was sent to {}", self.host));
            }
            ledger.taken.entry((number, to.clone())).or_default().push(Taken { at, unsaid });
        }
    }
}

fn path(line: &str) -> String {
    let inner = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map(|(path, _)| path.to_owned()).unwrap_or_default()
}
