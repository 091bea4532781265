//! A client that sends lines and reads lines, for the tests that speak the protocols themselves.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub struct Line {
    stream: BufReader<TcpStream>,
}

impl Line {
    pub fn connect(to: SocketAddr) -> io::Result<Line> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Line { stream: BufReader::with_capacity(64 * 1024, stream) })
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// The next line without its end.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        if self.stream.read_until(b'\n', &mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
    }

    pub fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// SMTP: sends a line and returns the last line of the reply.
    pub fn smtp(&mut self, command: &str) -> io::Result<String> {
        self.send(format!("{command}\r\n").as_bytes())?;
        self.reply()
    }

    pub fn reply(&mut self) -> io::Result<String> {
        loop {
            let line = self.line()?;
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line);
            }
        }
    }

    /// An SMTP conversation up to and including EHLO.
    pub fn smtp_hello(to: SocketAddr) -> io::Result<Line> {
        let mut line = Line::connect(to)?;
        line.reply()?;
        line.smtp("EHLO test.example")?;
        Ok(line)
    }

    /// One message; the reply to its final dot, or the first refusal.
    pub fn deliver(&mut self, from: &str, to: &str, message: &[u8]) -> io::Result<String> {
        for command in [format!("MAIL FROM:<{from}>"), format!("RCPT TO:<{to}>"), "DATA".into()] {
            let reply = self.smtp(&command)?;
            if !reply.starts_with(['2', '3']) {
                return Ok(reply);
            }
        }
        self.send(&[message, b".\r\n"].concat())?;
        self.reply()
    }

    /// IMAP: sends a command and returns all lines up to its tagged one. Literals arrive as lines.
    pub fn imap(&mut self, tag: &str, command: &str) -> io::Result<Vec<String>> {
        self.send(format!("{tag} {command}\r\n").as_bytes())?;
        self.imap_answer(tag)
    }

    pub fn imap_answer(&mut self, tag: &str) -> io::Result<Vec<String>> {
        let end = format!("{tag} ");
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            let last = line.starts_with(&end);
            lines.push(line);
            if last {
                return Ok(lines);
            }
        }
    }

    pub fn imap_login(to: SocketAddr, account: &(String, String)) -> io::Result<Line> {
        let mut line = Line::connect(to)?;
        line.line()?;
        let answer = line.imap("login", &format!("LOGIN {} {}", account.0, account.1))?;
        match answer.last() {
            Some(last) if last.starts_with("login OK") => Ok(line),
            other => Err(io::Error::other(format!("login: {other:?}"))),
        }
    }
}
