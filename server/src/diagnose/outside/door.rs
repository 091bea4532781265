//! One door, spoken to as a client would: connect, greeting, what it can do, TLS, what it can do then, a sign-in where one
//! was wished, a recipient elsewhere. Facts only; never DATA, never a password without TLS.

use super::tls::{Looker, old_version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use waypost_diagnose::outside::seen::{Door, SignIn, Speaks, Step, Upgrade};
use waypost_sasl::{Bindings, ClientExchange, Credentials, Mechanism};
use waypost_trust::channel::BoxStream;

/// Longest wait for a connection or an answer. Some servers hold their greeting back for some seconds on purpose.
const ANSWER: Duration = Duration::from_secs(8);
/// How long a greeting is waited for where it is not known whether TLS comes first.
const SILENCE: Duration = Duration::from_millis(2500);
const LINE_BYTES_MAX: usize = 16 * 1024;
const LINES_MAX: usize = 200;
/// Rounds of a sign-in.
const ROUNDS_MAX: usize = 8;
/// From and to nobody, in domains that are kept for examples (RFC 2606).
const STRANGER: &str = "postmaster@example.com";
const ELSEWHERE: &str = "relay-test@example.net";

/// What is wanted of one door.
#[derive(Clone, Debug)]
pub struct Wish {
    pub speaks: Speaks,
    pub host: String,
    pub address: IpAddr,
    pub port: u16,
    /// `None`: found out by listening whether it greets first.
    pub implicit: Option<bool>,
    pub promised: bool,
    pub user: Option<(String, String)>,
    /// Look for old versions of TLS too; once for each port is enough.
    pub old: bool,
}

/// Speaks to a door. Whatever happens is in the answer.
pub async fn look(wish: &Wish, looker: &Looker) -> Door {
    let mut door = Door {
        speaks: wish.speaks,
        host: wish.host.clone(),
        address: Some(wish.address),
        port: wish.port,
        implicit: wish.implicit.unwrap_or(false),
        promised: wish.promised,
        ..Door::default()
    };
    let begun = Instant::now();
    let stream = match connect(wish).await {
        Ok(stream) => stream,
        Err(e) => {
            let why = e.to_string();
            note(&mut door, "connect", begun, &why);
            door.refused = Some(why);
            return door;
        }
    };
    note(&mut door, "connect", begun, "");
    let mut talk = Talk { stream: Some(BufStream::new(stream)), speaks: wish.speaks, tag: 0 };
    if let Err(e) = converse(wish, looker, &mut door, &mut talk).await {
        door.broke = Some(e.to_string());
    }
    talk.leave().await;
    if wish.old && (door.implicit || matches!(door.upgrade, Upgrade::Done)) {
        let begun = Instant::now();
        match tokio::time::timeout(ANSWER, old(wish, door.implicit)).await {
            Ok(Ok(Some(version))) => {
                note(&mut door, "old TLS", begun, version);
                door.old_tls.push(version.into());
            }
            _ => note(&mut door, "old TLS", begun, "refused"),
        }
    }
    door
}

fn note(door: &mut Door, name: &str, begun: Instant, text: &str) {
    let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    let text = text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect();
    door.steps.push(Step { name: name.into(), micros, note: text });
}

async fn connect(wish: &Wish) -> io::Result<BoxStream> {
    let to = SocketAddr::new(wish.address, wish.port);
    match tokio::time::timeout(ANSWER, TcpStream::connect(to)).await {
        Ok(stream) => {
            let stream = stream?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream))
        }
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer in time ({} s)", ANSWER.as_secs()),
        )),
    }
}

async fn converse(wish: &Wish, looker: &Looker, door: &mut Door, talk: &mut Talk) -> io::Result<()> {
    let mut bindings = Bindings::default();
    let begun = Instant::now();
    match wish.implicit {
        Some(true) => {}
        Some(false) => door.greeting = talk.greeting(ANSWER).await?,
        None => match talk.greeting(SILENCE).await {
            Ok(greeting) => door.greeting = greeting,
            Err(e) if e.kind() == io::ErrorKind::TimedOut => door.implicit = true,
            Err(e) => return Err(e),
        },
    }
    if !door.greeting.is_empty() {
        note(door, "greeting", begun, door.greeting.first().cloned().unwrap_or_default().as_str());
    }
    if door.implicit {
        bindings = secure(looker, door, talk).await?;
        if wish.speaks == Speaks::Web {
            return web(wish, door, talk).await;
        }
        let begun = Instant::now();
        door.greeting = talk.greeting(ANSWER).await?;
        note(door, "greeting", begun, door.greeting.first().cloned().unwrap_or_default().as_str());
    } else {
        door.plain = able(door, talk).await?;
        let word = wish.speaks.upgrade();
        // Without CAPA nobody can tell; POP3 servers of old knew STLS and not CAPA.
        let offered = has(&door.plain, word) || (wish.speaks == Speaks::Pop && door.plain.is_empty());
        if offered {
            let answer = talk.ask(word).await?;
            if !talk.is_good(&answer) {
                let text = answer.last().cloned().unwrap_or_default();
                door.upgrade =
                    if has(&door.plain, word) { Upgrade::Refused(text) } else { Upgrade::NotOffered };
            } else {
                bindings = secure(looker, door, talk).await?;
                door.upgrade = Upgrade::Done;
            }
        } else {
            door.upgrade = Upgrade::NotOffered;
        }
    }
    if door.tls.is_some() {
        door.secure = able(door, talk).await?;
    }
    if let Some((user, password)) = &wish.user {
        sign_in(door, talk, user, password, &bindings).await?;
    } else if matches!(wish.speaks, Speaks::Smtp | Speaks::Submission) {
        relay(door, talk).await?;
    }
    Ok(())
}

/// Whether a word stands among capabilities.
fn has(able: &[String], word: &str) -> bool {
    able.iter().any(|l| l.split_whitespace().any(|w| w.eq_ignore_ascii_case(word)))
}

async fn secure(looker: &Looker, door: &mut Door, talk: &mut Talk) -> io::Result<Bindings> {
    let begun = Instant::now();
    let plain = talk.take()?;
    match tokio::time::timeout(ANSWER, looker.connect(plain, &door.host)).await {
        Ok(Ok(secured)) => {
            let subject = secured.tls.chain.first().map_or("", |c| c.subject.as_str());
            let text = format!("{}, {}, {subject}", secured.tls.version, secured.tls.cipher);
            note(door, "TLS", begun, &text);
            door.tls = Some(secured.tls);
            talk.stream = Some(BufStream::new(secured.stream));
            Ok(secured.bindings)
        }
        Ok(Err(e)) => {
            note(door, "TLS", begun, &e.to_string());
            door.tls_fault = Some(e.to_string());
            Err(e)
        }
        Err(_) => {
            let text = format!("no handshake in {} s", ANSWER.as_secs());
            note(door, "TLS", begun, &text);
            door.tls_fault = Some(text.clone());
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        }
    }
}

/// What the server says it can do.
async fn able(door: &mut Door, talk: &mut Talk) -> io::Result<Vec<String>> {
    let begun = Instant::now();
    let lines = match talk.speaks {
        Speaks::Imap => {
            let answer = talk.ask("CAPABILITY").await?;
            let mine = |l: &String| Some(l.strip_prefix("* CAPABILITY ")?.trim().to_owned());
            answer.iter().filter_map(mine).collect()
        }
        Speaks::Pop => {
            let answer = talk.ask("CAPA").await?;
            if talk.is_good(&answer) { talk.dotted().await? } else { Vec::new() }
        }
        _ => {
            let answer = talk.ask("EHLO waypost-diagnose.invalid").await?;
            let good = talk.is_good(&answer);
            if !good {
                // Older than 1995, or a firewall that looks into SMTP.
                let _ = talk.ask("HELO waypost-diagnose.invalid").await?;
            }
            let rest = answer.iter().skip(1).map(|l| l.get(4..).unwrap_or_default().to_owned());
            if good { rest.collect() } else { Vec::new() }
        }
    };
    note(door, "capabilities", begun, &lines.join(" "));
    Ok(lines)
}

async fn relay(door: &mut Door, talk: &mut Talk) -> io::Result<()> {
    let begun = Instant::now();
    let from = talk.ask(&format!("MAIL FROM:<{STRANGER}>")).await?;
    let text = if talk.is_good(&from) {
        let to = talk.ask(&format!("RCPT TO:<{ELSEWHERE}>")).await?;
        let text = to.join(" / ");
        // Nothing is ever sent.
        talk.ask("RSET").await?;
        text
    } else {
        format!("MAIL FROM refused: {}", from.join(" / "))
    };
    note(door, "recipient elsewhere", begun, &text);
    door.relay = Some(text);
    Ok(())
}

async fn web(wish: &Wish, door: &mut Door, talk: &mut Talk) -> io::Result<()> {
    let begun = Instant::now();
    let host = &wish.host;
    talk.send(&format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: waypost-diagnose\r\nConnection: close\r\n"
    ))
    .await?;
    let line = talk.line(ANSWER).await?;
    note(door, "GET /", begun, &line);
    door.http_status = line.split(' ').nth(1).and_then(|s| s.parse().ok());
    Ok(())
}

/// Whether a password may be given away here as it is: TLS stands, and whoever shows the certificate is who they say.
fn may_be_told(door: &Door) -> bool {
    let named = |name: &String| waypost_diagnose::outside::covers(name, &door.host);
    door.tls
        .as_ref()
        .is_some_and(|t| t.distrust.is_none() && t.chain.first().is_some_and(|c| c.names.iter().any(named)))
}

async fn sign_in(
    door: &mut Door,
    talk: &mut Talk,
    user: &str,
    password: &str,
    bindings: &Bindings,
) -> io::Result<()> {
    let begun = Instant::now();
    let offers = |m: &str| {
        door.secure.iter().any(|l| {
            let l = l.to_ascii_uppercase();
            l.split([' ', '=']).any(|w| w == m)
        })
    };
    let tried = |mechanism: &str, worked, said: String| SignIn {
        user: user.into(),
        mechanism: mechanism.into(),
        worked,
        said,
    };
    let scram = offers("SCRAM-SHA-256");
    if door.tls.is_none() || (!scram && !may_be_told(door)) {
        note(door, "sign-in", begun, "not tried: the password would go to whoever is there");
        return Ok(());
    }
    let mechanism = match (scram, offers("PLAIN")) {
        (true, _) => "SCRAM-SHA-256",
        (false, true) => "PLAIN",
        _ => "LOGIN",
    };
    let parsed = Mechanism::parse(mechanism.as_bytes());
    let said = match (door.speaks, parsed) {
        (Speaks::Imap, _) if mechanism == "LOGIN" => {
            talk.ask(&format!("LOGIN {} {}", quoted(user)?, quoted(password)?)).await?
        }
        (Speaks::Pop, _) if mechanism == "LOGIN" => {
            plain_line(user)?;
            plain_line(password)?;
            let first = talk.ask(&format!("USER {user}")).await?;
            if talk.is_good(&first) { talk.ask(&format!("PASS {password}")).await? } else { first }
        }
        (_, Some(parsed)) => exchange(talk, parsed, user, password, bindings).await?,
        _ => return Ok(()),
    };
    let (worked, text) = (talk.is_good(&said), said.last().cloned().unwrap_or_default());
    note(door, "sign-in", begun, &format!("{mechanism}: {text}"));
    door.sign_in = Some(tried(mechanism, worked, text));
    Ok(())
}

fn plain_line(text: &str) -> io::Result<()> {
    let bad = text.chars().any(char::is_control);
    if bad { Err(io::Error::other("control characters in a name or password")) } else { Ok(()) }
}

fn quoted(text: &str) -> io::Result<String> {
    plain_line(text)?;
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

async fn exchange(
    talk: &mut Talk,
    mechanism: Mechanism,
    user: &str,
    password: &str,
    bindings: &Bindings,
) -> io::Result<Vec<String>> {
    let nonce = crate::machine::random::<18>();
    let credentials = Credentials::new(user, password);
    let mut exchange = ClientExchange::start(mechanism, credentials, bindings, &nonce)
        .map_err(|_| io::Error::other(format!("{} cannot be used here", mechanism.name())))?;
    let verb = if talk.speaks == Speaks::Imap { "AUTHENTICATE" } else { "AUTH" };
    let mut said = talk.ask(&format!("{verb} {}", mechanism.name())).await?;
    let mut first = exchange.initial();
    for _ in 0..ROUNDS_MAX {
        let last = said.last().map(String::as_str).unwrap_or_default();
        let challenge = match talk.speaks {
            Speaks::Smtp | Speaks::Submission => last.strip_prefix("334"),
            _ => last.strip_prefix('+').filter(|rest| !rest.starts_with("OK")),
        };
        let Some(challenge) = challenge else { return Ok(said) };
        let challenge = STANDARD.decode(challenge.trim()).unwrap_or_default();
        let reply = match first.take() {
            Some(initial) => initial,
            None => exchange.step(&challenge).map_err(|e| io::Error::other(e.to_string()))?,
        };
        talk.send(&STANDARD.encode(reply.expose())).await?;
        said = talk.answer().await?;
    }
    Err(io::Error::other("the sign-in does not come to an end"))
}

/// Asks for TLS 1.1 over a connection of its own.
async fn old(wish: &Wish, implicit: bool) -> io::Result<Option<&'static str>> {
    let stream = connect(wish).await?;
    let mut talk = Talk { stream: Some(BufStream::new(stream)), speaks: wish.speaks, tag: 0 };
    if !implicit {
        talk.greeting(ANSWER).await?;
        if matches!(wish.speaks, Speaks::Smtp | Speaks::Submission) {
            talk.ask("EHLO waypost-diagnose.invalid").await?;
        }
        let answer = talk.ask(wish.speaks.upgrade()).await?;
        if !talk.is_good(&answer) {
            return Ok(None);
        }
    }
    old_version(talk.take()?, &wish.host).await
}

/// Lines to and from a server.
struct Talk {
    stream: Option<BufStream<BoxStream>>,
    speaks: Speaks,
    tag: u32,
}

impl Talk {
    fn take(&mut self) -> io::Result<BoxStream> {
        self.stream.take().map(BufStream::into_inner).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    async fn send(&mut self, text: &str) -> io::Result<()> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let work = async {
            stream.write_all(text.as_bytes()).await?;
            stream.write_all(b"\r\n").await?;
            stream.flush().await
        };
        tokio::time::timeout(ANSWER, work).await.map_err(|_| silent())?
    }

    async fn line(&mut self, within: Duration) -> io::Result<String> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        tokio::time::timeout(within, read_line(stream)).await.map_err(|_| silent())?
    }

    /// The first line, in SMTP all of them.
    async fn greeting(&mut self, within: Duration) -> io::Result<Vec<String>> {
        let mut lines = vec![self.line(within).await?];
        while self.is_smtp() && lines.last().is_some_and(|l| l.as_bytes().get(3) == Some(&b'-')) {
            lines.push(self.line(ANSWER).await?);
            if lines.len() > LINES_MAX {
                return Err(io::Error::other("the greeting does not end"));
            }
        }
        Ok(lines)
    }

    fn is_smtp(&self) -> bool {
        matches!(self.speaks, Speaks::Smtp | Speaks::Submission)
    }

    async fn ask(&mut self, command: &str) -> io::Result<Vec<String>> {
        if self.speaks == Speaks::Imap {
            self.tag += 1;
            self.send(&format!("d{} {command}", self.tag)).await?;
        } else {
            self.send(command).await?;
        }
        self.answer().await
    }

    /// The whole answer; in IMAP the last line comes without its tag.
    async fn answer(&mut self) -> io::Result<Vec<String>> {
        let tag = format!("d{} ", self.tag);
        let mut lines = Vec::new();
        loop {
            let line = self.line(ANSWER).await?;
            let last = match self.speaks {
                Speaks::Imap => line.starts_with(&tag) || line.starts_with("+ ") || line == "+",
                Speaks::Smtp | Speaks::Submission => line.as_bytes().get(3) != Some(&b'-'),
                Speaks::Pop | Speaks::Web => true,
            };
            lines.push(line.strip_prefix(&tag).map(str::to_owned).unwrap_or(line));
            if last {
                return Ok(lines);
            }
            if lines.len() > LINES_MAX {
                return Err(io::Error::other("an answer does not end"));
            }
        }
    }

    /// The lines of a POP3 answer up to its dot.
    async fn dotted(&mut self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let line = self.line(ANSWER).await?;
            if line == "." || lines.len() > LINES_MAX {
                return Ok(lines);
            }
            lines.push(line);
        }
    }

    fn is_good(&self, answer: &[String]) -> bool {
        let last = answer.last().map(String::as_str).unwrap_or_default();
        match self.speaks {
            Speaks::Imap => last.to_ascii_uppercase().starts_with("OK"),
            Speaks::Pop => last.starts_with("+OK"),
            _ => last.starts_with('2'),
        }
    }

    async fn leave(&mut self) {
        let goodbye = match self.speaks {
            Speaks::Imap => "bye LOGOUT",
            Speaks::Web => return,
            _ => "QUIT",
        };
        // How it ends is of no interest.
        if self.stream.is_some() && self.send(goodbye).await.is_ok() {
            let _ = self.line(Duration::from_millis(500)).await;
        }
    }
}

fn silent() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

async fn read_line(stream: &mut BufStream<BoxStream>) -> io::Result<String> {
    let mut line = Vec::new();
    loop {
        let available = stream.fill_buf().await?;
        if available.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        let end = available.iter().position(|b| *b == b'\n');
        let taken = end.map_or(available.len(), |at| at + 1);
        line.extend_from_slice(available.get(..taken).unwrap_or_default());
        stream.consume(taken);
        if end.is_some() {
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches(['\r', '\n']);
            return Ok(text
                .chars()
                .map(|c| if c.is_control() && c != '\t' { '\u{FFFD}' } else { c })
                .collect());
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(io::Error::other("a line without an end"));
        }
    }
}
