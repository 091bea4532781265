//! Clients of the laboratory: curl where it is there, as anybody's program would be, and lines over a socket for the rest.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A server that says nothing for so long is not there.
const PATIENCE: Duration = Duration::from_secs(30);

/// A conversation in lines.
pub struct Talk(BufReader<TcpStream>);

impl Talk {
    pub fn to(address: SocketAddr) -> io::Result<Talk> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Talk(BufReader::new(stream)))
    }

    pub fn send(&mut self, text: &str) -> io::Result<()> {
        self.0.get_mut().write_all(text.as_bytes())
    }

    /// The next line; an end of the connection is an error.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    /// The last line of an SMTP reply.
    pub fn reply(&mut self) -> io::Result<String> {
        loop {
            let line = self.line()?;
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line);
            }
        }
    }

    fn say(&mut self, text: &str) -> io::Result<String> {
        self.send(&format!("{text}\r\n"))?;
        self.reply()
    }

    /// The tagged answer to an IMAP command.
    pub fn imap(&mut self, command: &str) -> io::Result<(Vec<String>, String)> {
        self.send(&format!("x {command}\r\n"))?;
        let mut before = Vec::new();
        loop {
            let line = self.line()?;
            if line.starts_with("x ") {
                return Ok((before, line));
            }
            before.push(line);
        }
    }
}

/// Hands a message to port 25 as a stranger from the internet would; the last reply.
pub fn from_internet(smtp: SocketAddr, to: &str, subject: &str) -> io::Result<String> {
    let mut talk = Talk::to(smtp)?;
    talk.reply()?;
    talk.say("EHLO internet.example")?;
    let mut last = talk.say("MAIL FROM:<stranger@internet.example>")?;
    for command in [format!("RCPT TO:<{to}>"), "DATA".to_owned()] {
        if !last.starts_with('2') {
            return Ok(last);
        }
        last = talk.say(&command)?;
    }
    if !last.starts_with("354") {
        return Ok(last);
    }
    talk.say(&format!("From: stranger@internet.example\r\nTo: {to}\r\nSubject: {subject}\r\n\r\nHello.\r\n."))
}

/// Subjects of the messages in a folder.
pub fn subjects(imap: SocketAddr, user: &str, password: &str, folder: &str) -> io::Result<Vec<String>> {
    let mut talk = Talk::to(imap)?;
    talk.line()?;
    let (_, answer) = talk.imap(&format!("LOGIN \"{user}\" \"{password}\""))?;
    if !answer.starts_with("x OK") {
        return Err(io::Error::other(answer));
    }
    let (_, selected) = talk.imap(&format!("SELECT \"{folder}\""))?;
    if !selected.starts_with("x OK") {
        return Ok(Vec::new());
    }
    let (lines, _) = talk.imap("FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]")?;
    Ok(lines.iter().filter_map(|l| l.strip_prefix("Subject: ")).map(str::to_owned).collect())
}

/// The Message-ID that [`submit`] gives a message with this subject.
pub fn message_id(subject: &str) -> String {
    format!("<{}@lab.client>", subject.replace(' ', "."))
}

/// Submits a message with curl over STARTTLS, signed in; curl's own words where it fails.
pub fn submit(port: u16, from: &str, password: &str, to: &str, subject: &str) -> Result<(), String> {
    let url = format!("smtp://127.0.0.1:{port}/lab.client");
    let login = format!("{from}:{password}");
    let words =
        ["-sS", "-k", "--ssl-reqd", "--max-time", "60", "--url", &url, "--user", &login, "--mail-from", from];
    let mut command = Command::new("curl");
    command.args(words).args(["--mail-rcpt", to, "-T", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("curl: {e}"))?;
    if let Some(mut input) = child.stdin.take() {
        let id = message_id(subject);
        let message =
            format!("From: {from}\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: {id}\r\n\r\nHello.\r\n");
        input.write_all(message.as_bytes()).map_err(|e| format!("curl: {e}"))?;
    }
    let out = child.wait_with_output().map_err(|e| format!("curl: {e}"))?;
    if out.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&out.stderr).trim().to_owned()) }
}

/// Signs in with curl over IMAP or POP3; `Ok` is what it listed, `Err` its exit code and words. 67 is curl's code for a login
/// that was denied.
pub fn curl_imap(url: &str, user: &str, password: &str, more: &[&str]) -> Result<String, (i32, String)> {
    let words = ["-sS", "-k", "-v", "--max-time", "60", "--user", &format!("{user}:{password}"), url];
    let out = Command::new("curl").args(words).args(more).stdin(Stdio::null()).output();
    let out = out.map_err(|e| (-1, format!("curl: {e}")))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match out.status.success() {
        true => Ok(said(&out.stdout)),
        false => Err((out.status.code().unwrap_or(-1), said(&out.stderr))),
    }
}
