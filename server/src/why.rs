//! `waypost why` for people without a shell here: the hub answers XWHY from the logs and the queue, and the command line
//! asks it over the submission listener.

use crate::outbound::TlsClient;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use waypost_admin::catalogue::Value;
use waypost_admin::{Category, Event, Failure, Invocation, Record};
use waypost_base::{AccountId, Clock};
use waypost_directory::Directory;
use waypost_queue::Queue;
use waypost_transport::accept::WhySource;
use waypost_trust::channel::{BoxStream, TlsConnect, TlsWish, Verify};

/// Stories told at the same time: each may read a gigabyte of logs.
const AT_ONCE: usize = 2;
/// The server reads its logs before it answers.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of one reply that are taken.
const REPLY_MAX: usize = 256 * 1024;

/// Answers users of this server.
pub struct Stories {
    data: PathBuf,
    directory: Arc<Directory>,
    queue: Arc<Queue>,
    clock: Clock,
    turns: Semaphore,
}

impl Stories {
    /// `data` is the data folder, whose settings say where the logs are.
    pub fn new(data: PathBuf, directory: Arc<Directory>, queue: Arc<Queue>, clock: Clock) -> Stories {
        Stories { data, directory, queue, clock, turns: Semaphore::new(AT_ONCE) }
    }
}

#[async_trait::async_trait]
impl WhySource for Stories {
    async fn why(&self, account: AccountId, message_id: &str) -> Result<Option<String>, String> {
        let addresses: Vec<String> = match self.directory.snapshot().account(account) {
            Some(account) => account.addresses().map(ToString::to_string).collect(),
            None => return Ok(None),
        };
        let _turn = self.turns.acquire().await.map_err(|e| e.to_string())?;
        let now = self.clock.now();
        let told = waypost_admin::why::for_user(&self.data, &self.queue, &addresses, message_id, now).await;
        told.map_err(|e| e.message)
    }
}

/// Whether the command line itself has to ask, since another server was named.
pub fn is_remote(invocation: &Invocation) -> bool {
    invocation.command == waypost_admin::why::NAME && invocation.args.contains_key("Server")
}

/// Asks the server that the command line names.
pub async fn ask(invocation: &Invocation) -> Result<Event, Failure> {
    let text = |name: &str| match invocation.args.get(name) {
        Some(Value::Text(text)) => Ok(text.as_str()),
        _ => Err(Failure::usage(name, format!("-{name} is needed with -Server."))),
    };
    let (server, user, password) = (text("Server")?, text("Credential")?, text("Password")?);
    let id = text("MessageId")?;
    let id = id.trim().trim_start_matches('<').trim_end_matches('>');
    if id.is_empty() || id.contains(char::is_control) {
        return Err(Failure::usage("MessageId", "That is no Message-ID."));
    }
    let story = tokio::time::timeout(PATIENCE, dialogue(server, user, password, id)).await;
    let lines = match story {
        Ok(Ok(lines)) => lines,
        Ok(Err(e)) => return Err(e.failure(server, id)),
        Err(_) => return Err(Trouble::Io(io::ErrorKind::TimedOut.into()).failure(server, id)),
    };
    let record = Record::new().with("MessageId", format!("<{id}>")).with("Text", lines.join("\n") + "\n");
    Ok(Event::Record(record))
}

enum Trouble {
    Io(io::Error),
    /// The server's refusal.
    Said {
        code: u16,
        text: String,
    },
    /// It cannot do what is needed.
    Lacks(&'static str),
}

impl From<io::Error> for Trouble {
    fn from(e: io::Error) -> Trouble {
        Trouble::Io(e)
    }
}

impl Trouble {
    fn failure(self, server: &str, id: &str) -> Failure {
        match self {
            Trouble::Io(e) => {
                Failure::new(Category::ResourceUnavailable, server, format!("{server} cannot be asked: {e}."))
            }
            Trouble::Said { code: 550, text } => Failure::new(Category::ObjectNotFound, id, text),
            Trouble::Said { code: 535 | 530, text } => Failure::new(Category::PermissionDenied, server, text),
            Trouble::Said { code, text } => {
                Failure::new(Category::ResourceUnavailable, server, format!("{server} said {code} {text}"))
            }
            Trouble::Lacks(what) => {
                Failure::new(Category::InvalidOperation, server, format!("{server} {what}."))
            }
        }
    }
}

/// Host and port of `host`, `host:port`, `[v6]:port`.
fn place(server: &str) -> (String, u16) {
    let bare = |host: &str| host.trim_start_matches('[').trim_end_matches(']').to_owned();
    match server.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (bare(host), port),
            Err(_) => (bare(server), 587),
        },
        _ => (bare(server), 587),
    }
}

async fn dialogue(server: &str, user: &str, password: &str, id: &str) -> Result<Vec<String>, Trouble> {
    let (host, port) = place(server);
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    let loopback = stream.peer_addr()?.ip().to_canonical().is_loopback();
    let verify = if loopback { Verify::Any } else { Verify::Name };
    let secure = |plain: BoxStream| {
        let wish = TlsWish { name: host.clone(), verify };
        async move { Ok::<_, io::Error>(Line::new(TlsClient::default().connect(plain, wish).await?.0)) }
    };
    let mut line = Line::new(Box::new(stream));
    let implicit = port == 465;
    if implicit {
        line = secure(line.into_inner()).await?;
    }
    line.reply().await?;
    let mut able = line.say("EHLO waypost.localhost").await?;
    let offers = |able: &[String], word: &str| able.iter().any(|l| l.split(' ').next() == Some(word));
    if !implicit && offers(&able, "STARTTLS") {
        line.say("STARTTLS").await?;
        line = secure(line.into_inner()).await?;
        able = line.say("EHLO waypost.localhost").await?;
    } else if !implicit && !loopback {
        return Err(Trouble::Lacks("offers no TLS, so no password is sent there"));
    }
    let plain =
        able.iter().any(|l| l.strip_prefix("AUTH ").is_some_and(|m| m.split(' ').any(|m| m == "PLAIN")));
    if !plain {
        return Err(Trouble::Lacks("takes no sign-in by PLAIN here"));
    }
    line.say(&format!("AUTH PLAIN {}", plain_response(user, password))).await?;
    if !offers(&line.say("EHLO waypost.localhost").await?, "XWHY") {
        return Err(Trouble::Lacks(
            "does not tell what became of messages (XWHY); its submission listener does",
        ));
    }
    let story = line.say(&format!("XWHY <{id}>")).await?;
    // The story is told; how the connection ends is of no interest.
    let _ = line.say("QUIT").await;
    Ok(story)
}

/// RFC 4616 §2.
fn plain_response(user: &str, password: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(format!("\0{user}\0{password}"))
}

/// Commands and replies on a connection.
struct Line {
    stream: BufStream<BoxStream>,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}

impl Line {
    fn new(stream: BoxStream) -> Line {
        Line { stream: BufStream::new(stream) }
    }

    fn into_inner(self) -> BoxStream {
        self.stream.into_inner()
    }

    async fn say(&mut self, command: &str) -> Result<Vec<String>, Trouble> {
        self.stream.write_all(format!("{command}\r\n").as_bytes()).await?;
        self.stream.flush().await?;
        self.reply().await
    }

    /// The lines of a positive reply, without code and enhanced status.
    async fn reply(&mut self) -> Result<Vec<String>, Trouble> {
        let (mut lines, mut size) = (Vec::new(), 0);
        loop {
            let mut raw = Vec::new();
            if self.stream.read_until(b'\n', &mut raw).await? == 0 {
                return Err(Trouble::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            size += raw.len();
            if size > REPLY_MAX {
                return Err(Trouble::Io(io::Error::other("the reply is too long")));
            }
            let text = String::from_utf8_lossy(&raw);
            let text: String =
                text.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            let code: u16 = text.get(..3).and_then(|c| c.parse().ok()).unwrap_or(0);
            let more = text.as_bytes().get(3) == Some(&b'-');
            lines.push(without_status(text.get(4..).unwrap_or_default()).to_owned());
            if more {
                continue;
            }
            return match code {
                200..400 => Ok(lines),
                0 => Err(Trouble::Lacks("does not speak SMTP")),
                code => Err(Trouble::Said { code, text: lines.join(" ") }),
            };
        }
    }
}

/// `2.0.0 text` → `text`
fn without_status(text: &str) -> &str {
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    let numbers = first.split('.').filter(|part| part.parse::<u16>().is_ok()).count();
    if numbers == 3 && first.split('.').count() == 3 { rest } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_replies() {
        assert_eq!(place("mail.x"), ("mail.x".into(), 587));
        assert_eq!(place("mail.x:2587"), ("mail.x".into(), 2587));
        assert_eq!(place("[::1]:465"), ("::1".into(), 465));
        assert_eq!(place("::1"), ("::1".into(), 587));
        assert_eq!(without_status("2.0.0   Came from x"), "  Came from x");
        assert_eq!(without_status("SIZE 1000"), "SIZE 1000");
        assert_eq!(without_status("192.0.2.7 said"), "192.0.2.7 said");
    }

    #[tokio::test]
    async fn asks_in_the_users_name() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut line = BufStream::new(stream);
            let mut heard = Vec::new();
            let answers = [
                "220 mail.test ESMTP\r\n",
                "250-mail.test\r\n250 AUTH SCRAM-SHA-256 PLAIN\r\n",
                "235 2.7.0 Authentication successful\r\n",
                "250-mail.test\r\n250 XWHY\r\n",
                "250-2.0.0 Message <q@x>\r\n250 2.0.0   It is in the mailbox.\r\n",
                "221 2.0.0 Bye\r\n",
            ];
            for (n, answer) in answers.into_iter().enumerate() {
                if n > 0 {
                    let mut command = String::new();
                    line.read_line(&mut command).await.unwrap();
                    heard.push(command.trim_end().to_owned());
                }
                line.write_all(answer.as_bytes()).await.unwrap();
                line.flush().await.unwrap();
            }
            heard
        });
        let text = |t: &str| Value::Text(t.to_owned());
        let args = [
            ("Server", text(&address.to_string())),
            ("Credential", text("amy")),
            ("Password", text("secret")),
            ("MessageId", text("<q@x>")),
        ];
        let args = args.into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
        let invocation =
            Invocation { command: waypost_admin::why::NAME.into(), args, ..Invocation::default() };
        assert!(is_remote(&invocation));
        let Ok(Event::Record(record)) = ask(&invocation).await else { panic!("no story") };
        assert_eq!(record.cell("Text").unwrap().shown(), "Message <q@x>\n  It is in the mailbox.\n");
        let heard = server.await.unwrap();
        assert_eq!(heard[1], "AUTH PLAIN AGFteQBzZWNyZXQ=");
        assert_eq!(heard[3], "XWHY <q@x>");
    }
}
