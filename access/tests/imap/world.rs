//! A mail server in memory, and clients that talk to it by transcript.
//!
//! In a transcript `C:` is what the client sends and `S:` a line that it must get, in order; `…` in such a line stands for
//! anything. `C~` sends without a line end, and there `\r`, `\n` and `\0` mean what they mean in Rust. Lines of a literal stand by themselves, as lines. Time is virtual: a server
//! that says nothing fails the test at once.

use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use waypost_access::imap::{ImapService, ImapSettings, serve};
use waypost_access::log::{LegSink, ProtocolLog, Record};
use waypost_access::signin::{Answering, Authority, Entrance, LoginType, Policy};
use waypost_base::explain::Leg;
use waypost_base::id::Correlation;
use waypost_base::{AccountId, Clock, Timestamp};
use waypost_directory::Protocol;
use waypost_directory::signin::Asking;
use waypost_mailbox::{AccountOptions, Limits, Mailboxes, Quota};
use waypost_sasl::{Answer, Bindings, Hash, Identity, Question, ScramKeys, Setup, Why};
use waypost_store::disk::Memory;
use waypost_store::{Model, Options, Store};
use waypost_trust::channel::{Accepting, BoxStream, Channel, TlsAccept, TlsFacts};

/// 2026-03-03T08:15:20Z
pub const NOW: i64 = 1_772_525_720_000;

pub struct World {
    pub service: Arc<ImapService>,
    pub model: Arc<Model>,
    pub told: Arc<Told>,
    tls: bool,
}

/// What the service told about itself.
#[derive(Default)]
pub struct Told {
    pub lines: Mutex<Vec<String>>,
    pub legs: Mutex<Vec<Leg>>,
}

impl ProtocolLog for Told {
    fn record(&self, record: &Record<'_>) {
        self.lines.lock().unwrap().push(record.fields().join(","));
    }
}

impl LegSink for Told {
    fn leg(&self, leg: Leg) {
        self.legs.lock().unwrap().push(leg);
    }
}

/// A directory of four: anna and ben sign in by `secret`, carol may not use IMAP, dora's row cannot be read.
struct Directory;

impl Authority for Directory {
    fn setup(&self, bindings: Bindings) -> Result<Setup, String> {
        Ok(Setup::new(bindings, [5; 18], [6; 32]))
    }

    fn answer<'a>(&'a self, question: Question, _: &'a Asking) -> Answering<'a> {
        Box::pin(async move {
            match question {
                Question::CheckPassword { authcid, password, .. } => {
                    if authcid == "dora" {
                        return Answer::Unavailable("the directory is down".into());
                    }
                    if password.expose() != b"secret" { Answer::Wrong } else { who(&authcid) }
                }
                Question::ScramKeys { authcid, hash: Hash::Sha256 } => match who(&authcid) {
                    Answer::Accepted(_) => {
                        Answer::Keys(ScramKeys::derive("secret", b"salt-of-tests-16", 4096))
                    }
                    other => other,
                },
                Question::Authorize { authcid, .. } => who(&authcid),
                _ => Answer::Wrong,
            }
        })
    }
}

fn who(name: &str) -> Answer {
    let account = match name {
        "anna" => 1,
        "ben" => 2,
        "carol" => return Answer::NotAllowed(Why::Protocol),
        "emil" => return Answer::NotAllowed(Why::Disabled),
        _ => return Answer::Wrong,
    };
    Answer::Accepted(Identity {
        account: AccountId(account),
        address: format!("{name}@contoso.test"),
        by: None,
    })
}

/// "TLS" that leaves the bytes as they are but says what TLS would say.
struct NoTls;

pub fn facts() -> TlsFacts {
    TlsFacts {
        version: "TLSv1.3",
        cipher: "TLS_AES_256_GCM_SHA384",
        server_name: None,
        exporter: Some([9; 32]),
        end_point: None,
        client: None,
    }
}

impl TlsAccept for NoTls {
    fn accept(&self, plain: BoxStream) -> Accepting {
        Box::pin(async move { Ok((plain, facts())) })
    }
}

impl World {
    /// Passwords in clear are allowed, so that transcripts need no TLS.
    pub async fn new() -> World {
        let policy = Policy { login_type: LoginType::PlainTextLogin, ..Policy::default() };
        World::with(policy, ImapSettings::default(), Quota::default()).await
    }

    pub async fn with(policy: Policy, settings: ImapSettings, quota: Quota) -> World {
        let clock = Clock::fixed(Timestamp(NOW));
        let model = Arc::new(Model::new(clock.clone()));
        let options = Options::new([7; 32], clock.clone());
        let store = Store::assemble(model.clone(), Arc::new(Memory::default()), options).unwrap();
        let mailboxes = Mailboxes::open(store, clock, Limits::default());
        for id in [1, 2] {
            let options = AccountOptions { quota };
            mailboxes.create_account(AccountId(id), options).await.unwrap();
        }
        let told = Arc::new(Told::default());
        let entrance = Entrance::new(Protocol::Imap, Arc::new(Directory), policy);
        let service = ImapService::new(mailboxes, entrance, told.clone(), told.clone(), settings);
        World { service, model, told, tls: false }
    }

    /// Clients come over TLS from now on.
    pub fn over_tls(mut self) -> World {
        self.tls = true;
        self
    }

    /// The two ends of a new connection, which holds so many bytes in each direction.
    pub fn channel(&self, bytes: usize) -> (DuplexStream, Channel) {
        let (near, far) = tokio::io::duplex(bytes);
        let channel = Channel {
            stream: Box::new(far),
            local: "127.0.0.1:143".parse().unwrap(),
            peer: "127.0.0.1:51877".parse().unwrap(),
            tls: self.tls.then(facts),
            upgrade: Some(Arc::new(NoTls)),
        };
        (near, channel)
    }

    /// A connection that has not said anything.
    pub fn connect(&self) -> Client {
        self.connect_over(256 * 1024)
    }

    fn connect_over(&self, bytes: usize) -> Client {
        let (near, channel) = self.channel(bytes);
        tokio::spawn(serve(channel, self.service.clone(), Correlation(0x1a)));
        Client { stream: near, buffer: Vec::new(), story: String::new() }
    }

    /// A client that is signed in as anna, over a pipe of that size.
    pub async fn anna_over(&self, bytes: usize) -> Client {
        let mut client = self.connect_over(bytes);
        client
            .talk("S: * OK [CAPABILITY …] …\nC: l LOGIN anna secret\nS: l OK [CAPABILITY …] Signed in")
            .await;
        client
    }

    /// A client past its greeting.
    pub async fn client(&self) -> Client {
        let mut client = self.connect();
        client.talk("S: * OK [CAPABILITY …] …").await;
        client
    }

    /// A client that is signed in as anna.
    pub async fn anna(&self) -> Client {
        let mut client = self.client().await;
        client.talk("C: l LOGIN anna secret\nS: l OK [CAPABILITY …] Signed in").await;
        client
    }

    /// A client of anna's with INBOX selected, its answers read.
    pub async fn selected(&self) -> Client {
        let mut client = self.anna().await;
        client.send("s SELECT INBOX\r\n").await;
        client.until("s OK [READ-WRITE]").await;
        client
    }

    /// Puts messages into anna's INBOX through a connection of their own.
    pub async fn fill(&self, messages: &[&str]) {
        let mut client = self.anna().await;
        for message in messages {
            client.append("INBOX", "", message).await;
        }
    }
}

/// A small message with this subject.
pub fn mail(subject: &str) -> String {
    format!(
        "From: Anna <anna@contoso.test>\r\nTo: ben@fabrikam.test\r\nSubject: {subject}\r\n\
         Date: Tue, 3 Mar 2026 08:00:00 +0000\r\nMessage-ID: <{}@contoso.test>\r\n\r\nHello from {subject}\r\n",
        subject.replace(' ', ".")
    )
}

pub struct Client {
    pub stream: DuplexStream,
    buffer: Vec<u8>,
    /// Everything that was said, for whoever reads a failure.
    story: String,
}

impl Client {
    pub async fn send(&mut self, text: &str) {
        self.story.push_str(&format!("C: {}\n", text.trim_end()));
        self.bytes(text.as_bytes()).await;
    }

    pub async fn bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the server reads");
    }

    /// The next line, without its end; `None` when the server has closed.
    pub async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=at).collect();
                let line = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
                self.story.push_str(&format!("S: {line}\n"));
                return Some(line);
            }
            let reading =
                tokio::time::timeout(Duration::from_secs(20), self.stream.read_buf(&mut self.buffer));
            match reading.await {
                Ok(Ok(0)) => return None,
                Ok(Ok(_)) => {}
                Ok(Err(e)) => panic!("{e} after:\n{}", self.story),
                Err(_) => panic!("the server is silent after:\n{}", self.story),
            }
        }
    }

    /// Reads lines up to the one that starts so; gives them all.
    pub async fn until(&mut self, start: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let Some(line) = self.line().await else { panic!("closed before {start:?}:\n{}", self.story) };
            let found = line.starts_with(start);
            lines.push(line);
            if found {
                return lines;
            }
        }
    }

    /// Sends a command with the tag `x` and gives all lines of its answer.
    pub async fn ask(&mut self, command: &str) -> Vec<String> {
        self.send(&format!("x {command}\r\n")).await;
        self.until("x ").await
    }

    pub async fn talk(&mut self, transcript: &str) {
        for line in transcript.lines().map(str::trim_start).filter(|l| !l.is_empty()) {
            if let Some(text) = line.strip_prefix("C: ").or(line.strip_prefix("C:")) {
                self.send(&format!("{text}\r\n")).await;
            } else if let Some(text) = line.strip_prefix("C~ ") {
                let text = text.replace("\\r", "\r").replace("\\n", "\n").replace("\\0", "\0");
                self.send(&text).await;
            } else {
                let want = line
                    .strip_prefix("S: ")
                    .or(line.strip_prefix("S:"))
                    .unwrap_or_else(|| panic!("{line:?}"));
                match self.line().await {
                    Some(got) if fits(want, &got) => {}
                    Some(got) => panic!("wanted {want:?}\n   got {got:?}\nin:\n{}", self.story),
                    None => panic!("closed instead of {want:?}:\n{}", self.story),
                }
            }
        }
    }

    /// The connection alone, without what the client remembers.
    pub fn shrink(self) -> DuplexStream {
        self.stream
    }

    pub async fn closed(&mut self) {
        if let Some(line) = self.line().await {
            panic!("{line:?} instead of the end:\n{}", self.story);
        }
    }

    pub async fn append(&mut self, folder: &str, flags: &str, message: &str) {
        let head = format!("p APPEND {folder} {flags}{{{}+}}\r\n", message.len());
        self.send(&head).await;
        self.bytes(message.as_bytes()).await;
        self.bytes(b"\r\n").await;
        self.until("p OK [APPENDUID").await;
    }
}

/// `…` fits anything.
pub fn fits(want: &str, got: &str) -> bool {
    let mut parts = want.split('…');
    let Some(mut rest) = parts.next().and_then(|first| got.strip_prefix(first)) else { return false };
    let mut last = None;
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
        last = Some(part);
    }
    match last {
        None => rest.is_empty(),
        Some(part) => part.is_empty() || rest.is_empty() || got.ends_with(part),
    }
}
