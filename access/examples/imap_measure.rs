//! Prints how long an IMAP client waits for the main commands, over loopback, with the embedded engine in a folder under
//! the system's temporary folder.
//!
//! `cargo run --release -p waypost-access --example imap_measure [messages]`

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use waypost_access::imap::{ImapService, ImapSettings, serve};
use waypost_access::log::Nowhere;
use waypost_access::signin::{Answering, Authority, Entrance, LoginType, Policy};
use waypost_base::id::Correlation;
use waypost_base::{AccountId, Clock, Timestamp};
use waypost_directory::Protocol;
use waypost_directory::signin::Asking;
use waypost_mailbox::{AccountOptions, Limits, Mailboxes};
use waypost_sasl::{Answer, Bindings, Identity, Question, Setup};
use waypost_store::{Options, Store};
use waypost_trust::channel::Channel;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Lets everybody in as account 1.
struct Open;

impl Authority for Open {
    fn setup(&self, bindings: Bindings) -> Result<Setup, String> {
        Ok(Setup::new(bindings, [5; 18], [6; 32]))
    }

    fn answer<'a>(&'a self, _: Question, _: &'a Asking) -> Answering<'a> {
        let identity = Identity { account: AccountId(1), address: "anna@contoso.test".into(), by: None };
        Box::pin(async move { Answer::Accepted(identity) })
    }
}

fn text(i: u64) -> String {
    let body = "It was a bright cold day in April and the clocks were striking.\r\n".repeat(58);
    format!(
        "From: Ada Number{i} <ada{i}@contoso.test>\r\nTo: Ben <ben@fabrikam.test>\r\nSubject: Subject {i}\r\n\
         Date: Tue, 3 Mar 2026 08:15:20 +0000\r\nMessage-ID: <{i}@contoso.test>\r\n\r\nLine {i}\r\n{body}"
    )
}

struct Client {
    stream: TcpStream,
    /// The end of what was read last.
    tail: Vec<u8>,
    space: Vec<u8>,
}

impl Client {
    async fn connect(address: std::net::SocketAddr) -> Outcome<Client> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut client = Client { stream, tail: Vec::new(), space: vec![0; 256 * 1024] };
        client.read_to(b"* OK").await?;
        client.ask("LOGIN anna secret").await?;
        Ok(client)
    }

    /// Sends a command and reads to the end of its answer; gives the bytes of it.
    async fn ask(&mut self, command: &str) -> Outcome<u64> {
        self.stream.write_all(format!("zz9 {command}\r\n").as_bytes()).await?;
        self.read_to(b"zz9 OK").await
    }

    async fn read_to(&mut self, end: &[u8]) -> Outcome<u64> {
        let mut bytes = 0;
        self.tail.clear();
        loop {
            let n = self.stream.read(&mut self.space).await?;
            if n == 0 {
                return Err("closed".into());
            }
            bytes += n as u64;
            self.tail.extend_from_slice(self.space.get(n.saturating_sub(4000)..n).unwrap_or_default());
            let line = self.tail.windows(end.len()).rposition(|w| w == end);
            if line.is_some() && self.tail.ends_with(b"\r\n") {
                return Ok(bytes);
            }
            let excess = self.tail.len().saturating_sub(4000);
            self.tail.drain(..excess);
        }
    }
}

fn report(what: &str, start: Instant, count: u64, bytes: u64) {
    let time = start.elapsed().as_secs_f64();
    let each = time * 1e6 / count.max(1) as f64;
    let rate = bytes as f64 / 1e6 / time;
    println!("{what:<52} {:>9.2} ms {each:>9.2} us each {rate:>8.1} MB/s", time * 1000.0);
}

fn resident() -> Outcome<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    Ok(statm.split(' ').nth(1).unwrap_or("0").parse::<u64>()? * 4096)
}

async fn start(dir: &std::path::Path) -> Outcome<std::net::SocketAddr> {
    let now = || Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64));
    let clock = Clock::new(now);
    let store = Store::open(dir, Options::new([7; 32], clock.clone()))?;
    let mailboxes = Mailboxes::open(store, clock, Limits::default());
    mailboxes.create_account(AccountId(1), AccountOptions::default()).await?;
    let policy = Policy { login_type: LoginType::PlainTextLogin, ..Policy::default() };
    let entrance = Entrance::new(Protocol::Imap, Arc::new(Open), policy);
    let nowhere = Arc::new(Nowhere);
    let service = ImapService::new(mailboxes, entrance, nowhere.clone(), nowhere, ImapSettings::default());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let channel =
                Channel { stream: Box::new(stream), local: address, peer, tls: None, upgrade: None };
            tokio::spawn(serve(channel, service.clone(), Correlation(1)));
        }
    });
    Ok(address)
}

async fn append(address: std::net::SocketAddr, clients: u64, each: u64) -> Outcome {
    let begin = Instant::now();
    let mut tasks = Vec::new();
    for c in 0..clients {
        tasks.push(tokio::spawn(async move {
            let mut client = Client::connect(address).await?;
            for i in 0..each {
                let text = text(c * 1_000_000 + i);
                client.ask(&format!("APPEND INBOX {{{}+}}\r\n{text}", text.len())).await?;
            }
            Outcome::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    report(&format!("APPEND of 4 KiB, {clients} at a time"), begin, clients * each, clients * each * 4000);
    Ok(())
}

async fn import(client: &mut Client, messages: u64) -> Outcome {
    let begin = Instant::now();
    for from in (0..messages).step_by(500) {
        let mut command = String::from("APPEND Archive");
        for i in from..messages.min(from + 500) {
            let text = text(i);
            command.push_str(&format!(" {{{}+}}\r\n{text}", text.len()));
        }
        client.ask(&command).await?;
    }
    report("MULTIAPPEND in commands of 500", begin, messages, messages * 4000);
    Ok(())
}

async fn idle(address: std::net::SocketAddr, count: u64) -> Outcome {
    let before = resident()?;
    let mut held = Vec::new();
    for _ in 0..count {
        let mut client = Client::connect(address).await?;
        client.ask("SELECT Drafts").await?;
        client.stream.write_all(b"i IDLE\r\n").await?;
        client.read_to(b"+ Idling").await?;
        held.push(client.stream);
    }
    let each = resident()?.saturating_sub(before) / count;
    println!("{:<52} {each:>9} bytes each, both ends", format!("{count} connections in IDLE"));
    Ok(())
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Outcome {
    let messages: u64 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let dir = std::env::temp_dir().join(format!("waypost-access-measure-{}", std::process::id()));
    let address = start(&dir).await?;
    let mut client = Client::connect(address).await?;
    append(address, 1, 200).await?;
    append(address, 10, 300).await?;
    import(&mut client, messages).await?;
    for (command, what) in [
        ("SELECT Archive", "SELECT"),
        ("SELECT Archive", "SELECT again"),
        ("FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)", "FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)"),
        ("FETCH 1:* (ENVELOPE BODYSTRUCTURE)", "FETCH 1:* (ENVELOPE BODYSTRUCTURE)"),
        ("FETCH 1:* (ENVELOPE BODYSTRUCTURE)", "the same again"),
        (
            "FETCH 1:* (BODY.PEEK[HEADER.FIELDS (From Subject)])",
            "FETCH 1:* (BODY.PEEK[HEADER.FIELDS (From Subject)])",
        ),
        ("FETCH 1:* (BODY.PEEK[])", "FETCH 1:* (BODY.PEEK[])"),
        ("STORE 1:* +FLAGS (\\Flagged)", "STORE 1:* +FLAGS"),
        ("STORE 1:* -FLAGS.SILENT (\\Flagged)", "STORE 1:* -FLAGS.SILENT"),
        ("FETCH 1:* (BODY[])", "FETCH 1:* (BODY[]), marking as read"),
        ("SEARCH FLAGGED", "SEARCH FLAGGED"),
        ("SEARCH SUBJECT nowhere", "SEARCH SUBJECT nowhere"),
        ("SEARCH BODY quixotic", "SEARCH BODY quixotic"),
        ("UID SEARCH ALL", "UID SEARCH ALL"),
    ] {
        let begin = Instant::now();
        let bytes = client.ask(command).await?;
        report(what, begin, messages, bytes);
    }
    let begin = Instant::now();
    for _ in 0..2000 {
        client.ask("NOOP").await?;
    }
    report("NOOP", begin, 2000, 0);
    idle(address, 5000).await?;
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
