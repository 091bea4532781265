//! The little of SMTP and IMAP as a client that the demonstration needs, over the server's own listeners.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;

/// Longer than anything on loopback should take; the demonstration must not hang.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Client {
    stream: BufStream<TcpStream>,
}

fn unexpected(sent: &str, line: &str) -> io::Error {
    io::Error::other(format!("after {sent:?} the server said {line:?}"))
}

impl Client {
    pub async fn connect(to: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Client { stream: BufStream::new(stream) })
    }

    async fn send(&mut self, text: &[u8]) -> io::Result<()> {
        self.stream.write_all(text).await?;
        self.stream.flush().await
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, self.stream.read_line(&mut line));
        if read.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    /// Reads an SMTP reply whole and wants its code to begin with `class`.
    async fn reply(&mut self, sent: &str, class: char) -> io::Result<String> {
        loop {
            let line = self.line().await?;
            if line.as_bytes().get(3) != Some(&b'-') {
                return if line.starts_with(class) { Ok(line) } else { Err(unexpected(sent, &line)) };
            }
        }
    }

    async fn smtp(&mut self, command: &str, class: char) -> io::Result<String> {
        self.send(format!("{command}\r\n").as_bytes()).await?;
        // What follows AUTH PLAIN is a password.
        let shown = command.split_inclusive("PLAIN ").next().unwrap_or_default();
        self.reply(shown, class).await
    }

    /// One message in one SMTP conversation. `login` is the base64 of a PLAIN response.
    pub async fn submit(
        &mut self,
        login: Option<&str>,
        from: &str,
        to: &[&str],
        message: &[u8],
    ) -> io::Result<String> {
        self.reply("", '2').await?;
        self.smtp("EHLO quickstart.localhost", '2').await?;
        if let Some(login) = login {
            self.smtp(&format!("AUTH PLAIN {login}"), '2').await?;
        }
        self.smtp(&format!("MAIL FROM:<{from}>"), '2').await?;
        for address in to {
            self.smtp(&format!("RCPT TO:<{address}>"), '2').await?;
        }
        self.smtp("DATA", '3').await?;
        self.send(&[message, b".\r\n"].concat()).await?;
        let accepted = self.reply("the message", '2').await?;
        self.smtp("QUIT", '2').await?;
        Ok(accepted)
    }

    async fn imap(&mut self, command: &str) -> io::Result<Vec<String>> {
        self.send(format!("q {command}\r\n").as_bytes()).await?;
        let mut lines = Vec::new();
        loop {
            let line = self.line().await?;
            if let Some(result) = line.strip_prefix("q ") {
                let shown = command.split(' ').next().unwrap_or_default();
                return if result.starts_with("OK") { Ok(lines) } else { Err(unexpected(shown, &line)) };
            }
            lines.push(line);
        }
    }

    /// Signs in over IMAP, opens INBOX, and reads the newest message whole.
    pub async fn read_newest(&mut self, user: &str, password: &str) -> io::Result<Vec<u8>> {
        self.line().await?;
        self.imap(&format!("LOGIN {user} {password}")).await?;
        self.imap("SELECT INBOX").await?;
        self.send(b"q FETCH * BODY.PEEK[]\r\n").await?;
        let first = self.line().await?;
        let size = first.rsplit_once('{').and_then(|(_, n)| n.trim_end_matches('}').parse().ok());
        let size: usize = size.ok_or_else(|| unexpected("FETCH", &first))?;
        let mut message = vec![0; size];
        let read = tokio::time::timeout(PATIENCE, self.stream.read_exact(&mut message));
        read.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        while !self.line().await?.starts_with("q OK") {}
        self.imap("LOGOUT").await?;
        Ok(message)
    }
}
