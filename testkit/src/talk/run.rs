//! Plays a script.

use super::pattern::{Pattern, Variables};
use super::script::{Action, Protocol, Script};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Anything that a conversation can be held over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub type BoxStream = Box<dyn Stream>;

/// How long a server may take for an answer. In virtual time it passes at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// Lines of the conversation that a failure shows.
const SHOWN: usize = 30;

/// A response longer than this is a server gone mad.
const RESPONSE_MAX: usize = 16 * 1024 * 1024;

/// Where a conversation went wrong.
#[derive(Debug)]
pub struct Failure {
    pub script: String,
    /// Of the script, from 1.
    pub line: usize,
    pub problem: String,
    /// The end of what was said.
    pub transcript: Vec<String>,
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.transcript {
            writeln!(f, "    {line}")?;
        }
        write!(f, "{}:{}: {}", self.script, self.line, self.problem)
    }
}

/// Plays the script. `connect` opens a connection for a client's name, which is empty for the only one; it is called at the
/// client's first line. `observe` is given every response, with its newline.
///
/// # Errors
/// The first line that was not kept to, by the server or by the connection.
pub async fn run(
    script: &Script,
    mut variables: Variables,
    mut connect: impl AsyncFnMut(&str) -> io::Result<BoxStream>,
    observe: impl FnMut(&[u8]),
) -> Result<Variables, Failure> {
    variables.extend(script.texts.iter().map(|(name, text)| (name.clone(), text.clone())));
    let mut stage = Stage { script, variables, transcript: VecDeque::new(), observe };
    let mut clients: BTreeMap<&str, Client> = BTreeMap::new();
    for step in &script.steps {
        let played = match clients.get_mut(step.client.as_str()) {
            Some(client) => stage.play(client, &step.client, &step.action).await,
            None => match connect(&step.client).await {
                Ok(stream) => {
                    let client = clients.entry(&step.client).or_insert(Client::new(stream));
                    stage.play(client, &step.client, &step.action).await
                }
                Err(error) => Err(format!("no connection: {error}")),
            },
        };
        match played {
            Ok(Next::Stays) => {}
            Ok(Next::Leaves) => {
                clients.remove(step.client.as_str());
            }
            Err(problem) => {
                let transcript = stage.transcript.into_iter().collect();
                return Err(Failure { script: script.name.clone(), line: step.line, problem, transcript });
            }
        }
    }
    Ok(stage.variables)
}

/// Whether a client is still there after a step.
enum Next {
    Stays,
    Leaves,
}

/// What all clients of a conversation share.
struct Stage<'s, O> {
    script: &'s Script,
    variables: Variables,
    transcript: VecDeque<String>,
    observe: O,
}

impl<O: FnMut(&[u8])> Stage<'_, O> {
    async fn play(&mut self, client: &mut Client, name: &str, action: &Action) -> Result<Next, String> {
        match action {
            Action::Say(pattern) => {
                let mut said = pattern.fill(&self.variables)?;
                if pattern.newline {
                    said.extend_from_slice(b"\r\n");
                }
                self.note("C", name, &said);
                client.stream.write_all(&said).await.map_err(|e| format!("cannot send: {e}"))?;
                client.stream.flush().await.map_err(|e| format!("cannot send: {e}"))?;
            }
            Action::Expect(patterns) => self.expect(client, name, patterns).await?,
            Action::Until { wanted, forbidden } => loop {
                let response = self.response(client, name).await?;
                if wanted.matches(&response, &mut self.variables)? {
                    break;
                }
                for pattern in forbidden {
                    if pattern.matches(&response, &mut self.variables)? {
                        return Err(format!("forbidden here: {}", shown(&response)));
                    }
                }
            },
            Action::ExpectEnd => match client.response(self.script.protocol_of(name)).await? {
                None => return Ok(Next::Leaves),
                Some(response) => return Err(format!("not closed, but: {}", shown(&response))),
            },
            Action::HangUp => return Ok(Next::Leaves),
        }
        Ok(Next::Stays)
    }

    /// As many responses as patterns, in any order.
    async fn expect(&mut self, client: &mut Client, name: &str, patterns: &[Pattern]) -> Result<(), String> {
        let mut open: Vec<&Pattern> = patterns.iter().collect();
        while !open.is_empty() {
            let response = self.response(client, name).await?;
            let mut met = None;
            for (at, pattern) in open.iter().enumerate() {
                if pattern.matches(&response, &mut self.variables)? {
                    met = Some(at);
                    break;
                }
            }
            match met {
                Some(at) => drop(open.remove(at)),
                None => return Err(format!("unexpected: {}", shown(&response))),
            }
        }
        Ok(())
    }

    /// The next response, without its newline.
    async fn response(&mut self, client: &mut Client, name: &str) -> Result<Vec<u8>, String> {
        let mut response = client
            .response(self.script.protocol_of(name))
            .await?
            .ok_or("the server closed the connection")?;
        (self.observe)(&response);
        self.note("S", name, &response);
        let kept = response.strip_suffix(b"\r\n").ok_or("a line without CR before its LF")?.len();
        response.truncate(kept);
        Ok(response)
    }

    fn note(&mut self, kind: &str, name: &str, bytes: &[u8]) {
        let name = if name.is_empty() { String::new() } else { format!("({name})") };
        self.transcript.push_back(format!("{kind}{name}: {}", shown(bytes)));
        if self.transcript.len() > SHOWN {
            self.transcript.pop_front();
        }
    }
}

/// Bytes as a person can read them, not too many.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\\r\\n");
    match text.char_indices().nth(600) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

struct Client {
    stream: BoxStream,
    received: Vec<u8>,
}

impl Client {
    fn new(stream: BoxStream) -> Client {
        Client { stream, received: Vec::new() }
    }

    /// The next response with its newline; `None` when the server has closed.
    async fn response(&mut self, protocol: Protocol) -> Result<Option<Vec<u8>>, String> {
        loop {
            if let Some(length) = response_length(&self.received, protocol) {
                let rest = self.received.split_off(length);
                return Ok(Some(std::mem::replace(&mut self.received, rest)));
            }
            if self.received.len() > RESPONSE_MAX {
                return Err("an endless response".into());
            }
            let mut piece = [0; 8192];
            match timeout(PATIENCE, self.stream.read(&mut piece)).await {
                Err(_) => return Err(format!("no answer; received so far: {}", shown(&self.received))),
                Ok(Err(error)) => return Err(format!("cannot read: {error}")),
                Ok(Ok(0)) if self.received.is_empty() => return Ok(None),
                Ok(Ok(0)) => return Err(format!("closed in the middle of: {}", shown(&self.received))),
                Ok(Ok(n)) => self.received.extend_from_slice(piece.get(..n).unwrap_or_default()),
            }
        }
    }
}

/// Where the first response ends, if all of it is there. In IMAP a line that ends in `{n}` goes on after n bytes.
fn response_length(received: &[u8], protocol: Protocol) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = received.get(at..)?;
        let length = line.iter().position(|&b| b == b'\n')? + 1;
        at += length;
        match literal(line.get(..length)?) {
            Some(literal) if protocol == Protocol::Imap => at += literal,
            _ => return Some(at),
        }
    }
}

fn literal(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"}\r\n")?;
    let open = line.iter().rposition(|&b| b == b'{')?;
    std::str::from_utf8(line.get(open + 1..)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\
talk imap
= mail
| Subject: x
|
| y
S: * OK ${*}
C: a FETCH 1 BODY[] ${name}
S~: a OK ${*}
S~: * 1 FETCH (BODY[] {${#mail}}\\r\\n${mail})
C(bob): b LOGOUT
S!(bob): * NO ${*}
S...(bob): b OK ${*}
S(bob): ${closed}
";

    async fn play(greeting: &'static str, answers: &[&str]) -> Result<Variables, Failure> {
        let script = Script::parse("test", SCRIPT).expect("a script");
        let variables = Variables::from([("name".to_owned(), b"joe".to_vec())]);
        let answers = greeting.to_owned() + &answers.concat();
        let connect = async |name: &str| {
            let (ours, mut theirs) = tokio::io::duplex(4096);
            let said = if name == "bob" { "* x\r\nb OK bye\r\n".to_owned() } else { answers.clone() };
            theirs.write_all(said.as_bytes()).await?;
            if name.is_empty() {
                // Kept open, as a server would.
                tokio::spawn(async move { tokio::io::copy(&mut theirs, &mut tokio::io::sink()).await });
            } else {
                tokio::spawn(async move {
                    let mut line = [0; 10];
                    theirs.read_exact(&mut line).await
                });
            }
            Ok(Box::new(ours) as BoxStream)
        };
        run(&script, variables, connect, |_| {}).await
    }

    #[tokio::test]
    async fn conversations() {
        let fetched = "* 1 FETCH (BODY[] {17}\r\nSubject: x\r\n\r\ny\r\n)\r\n";
        play("* OK hello\r\n", &[fetched, "a OK done\r\n"]).await.expect("kept to the script");
        let failure = play("* OK hello\r\n", &["a NO done\r\n"]).await.expect_err("NO is not OK");
        assert_eq!((failure.line, failure.problem.as_str()), (8, "unexpected: a NO done"));
        assert!(failure.to_string().contains("C: a FETCH 1 BODY[] joe"));
        let failure = play("* BYE\r\n", &[]).await.expect_err("not the greeting");
        assert_eq!(failure.line, 6);
    }
}
