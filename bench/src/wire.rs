//! A line-oriented client connection, in clear or over TLS, that trusts any certificate (the servers are our own).

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub struct Wire {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    start: usize,
}

/// Takes whatever certificate comes: a load test measures work, not trust.
#[derive(Debug)]
struct Any(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

pub fn tls_config() -> Arc<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Any(provider)))
        .with_no_client_auth();
    // Every handshake is a full one.
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

impl Wire {
    pub async fn connect(port: u16, tls: Option<&Arc<rustls::ClientConfig>>) -> io::Result<Wire> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        let plain: TcpStream = socket.connect(([127, 0, 0, 1], port).into()).await?;
        plain.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(plain),
            Some(config) => {
                let name = ServerName::try_from("localhost").expect("a DNS name");
                Box::new(tokio_rustls::TlsConnector::from(Arc::clone(config)).connect(name, plain).await?)
            }
        };
        Ok(Wire { stream, buffer: Vec::new(), start: 0 })
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    async fn fill(&mut self) -> io::Result<()> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let old = self.buffer.len();
        self.buffer.resize(old + 65536, 0);
        let read = self.stream.read(&mut self.buffer[old..]).await?;
        self.buffer.truncate(old + read);
        if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// The next line without its end.
    pub async fn line(&mut self) -> io::Result<String> {
        let mut looked = 0;
        loop {
            let waiting = &self.buffer[self.start..];
            if let Some(at) = waiting[looked..].iter().position(|b| *b == b'\n') {
                let end = looked + at;
                let line = String::from_utf8_lossy(&waiting[..end]).trim_end().to_owned();
                self.start += end + 1;
                return Ok(line);
            }
            looked = waiting.len();
            self.fill().await?;
        }
    }

    /// Gives back the buffer of a connection that will be idle, so that the client's memory is not in the way.
    pub fn rest(&mut self) {
        if self.start == self.buffer.len() {
            self.buffer = Vec::new();
            self.start = 0;
        }
    }

    /// Reads until a line begins with `prefix`; returns it and the bytes that passed.
    pub async fn until(&mut self, prefix: &str) -> io::Result<(String, usize)> {
        let mut bytes = 0;
        let mark = prefix.as_bytes();
        loop {
            let mut at = self.start;
            while let Some(end) = self.buffer[at..].iter().position(|b| *b == b'\n') {
                let line = &self.buffer[at..at + end];
                if line.starts_with(mark) {
                    let text = String::from_utf8_lossy(line).trim_end().to_owned();
                    bytes += at + end + 1 - self.start;
                    self.start = at + end + 1;
                    return Ok((text, bytes));
                }
                at += end + 1;
            }
            bytes += at - self.start;
            self.start = at;
            self.fill().await?;
        }
    }

    /// SMTP: the code of the next whole reply.
    pub async fn reply(&mut self) -> io::Result<u16> {
        loop {
            let line = self.line().await?;
            if line.as_bytes().get(3) != Some(&b'-') {
                let code = line.get(..3).and_then(|c| c.parse().ok()).unwrap_or(0);
                if code >= 400 || code == 0 {
                    return Err(io::Error::other(line));
                }
                return Ok(code);
            }
        }
    }

    /// IMAP: sends a command and waits for its OK; returns the bytes of the answer.
    pub async fn command(&mut self, tag: &str, command: &str) -> io::Result<usize> {
        self.send(format!("{tag} {command}\r\n").as_bytes()).await?;
        self.ok(tag).await
    }

    pub async fn ok(&mut self, tag: &str) -> io::Result<usize> {
        let (line, bytes) = self.until(&format!("{tag} ")).await?;
        if line.get(tag.len() + 1..).is_some_and(|r| r.starts_with("OK")) {
            Ok(bytes)
        } else {
            Err(io::Error::other(line))
        }
    }

    pub async fn imap_login(
        port: u16,
        tls: Option<&Arc<rustls::ClientConfig>>,
        user: &str,
        password: &str,
    ) -> io::Result<Wire> {
        let mut wire = Wire::connect(port, tls).await?;
        wire.line().await?;
        wire.command("l", &format!("LOGIN {user} {password}")).await?;
        Ok(wire)
    }
}
