//! What a protocol session gets to speak over: a byte stream, who is at its ends, and what TLS proved.
//!
//! `server` makes these from sockets; tests make them from in-memory pipes. The rooms above neither open sockets
//! nor know which TLS library stands behind [`TlsAccept`].

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// A connected byte stream in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

pub type BoxStream = Box<dyn Stream>;

/// A connection as a session finds it.
pub struct Channel {
    pub stream: BoxStream,
    pub local: SocketAddr,
    pub peer: SocketAddr,
    /// Present when TLS stands already (implicit TLS).
    pub tls: Option<TlsFacts>,
    /// How to start TLS on this connection; `None` where no certificate is bound to the service.
    pub upgrade: Option<Arc<dyn TlsAccept>>,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("local", &self.local)
            .field("peer", &self.peer)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// What the handshake settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1.3`, as RFC 8314 §4.3 wants it in Received fields.
    pub version: &'static str,
    /// Name in the IANA registry, such as `TLS_AES_256_GCM_SHA384`.
    pub cipher: &'static str,
    /// The name that the client asked for (SNI).
    pub server_name: Option<String>,
    /// Channel binding `tls-exporter` (RFC 9266); only offered where it is unique (TLS 1.3).
    pub exporter: Option<[u8; 32]>,
    /// Channel binding `tls-server-end-point` (RFC 5929 §4): hash of the certificate that was shown.
    pub end_point: Option<Vec<u8>>,
    /// The certificate (DER) that the client has shown, if the service asks for one. That the client holds its key is
    /// proved; who issued it is for whoever uses it to look at.
    pub client: Option<Arc<[u8]>>,
}

pub type Accepting = Pin<Box<dyn Future<Output = std::io::Result<(BoxStream, TlsFacts)>> + Send>>;

/// Starts TLS as the server side.
pub trait TlsAccept: Send + Sync + 'static {
    fn accept(&self, plain: BoxStream) -> Accepting;

    /// Whether there is a certificate to show. Where there is none, TLS is not offered.
    fn available(&self) -> bool {
        true
    }
}

/// How far the other side's certificate is looked at when we are the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verify {
    /// Any certificate will do: encryption against those who only listen (RFC 7435).
    Any,
    /// A chain to a certificate authority that this machine trusts, in date; for whatever name.
    Chain,
    /// The same, and for the name that was asked for.
    Name,
}

/// What a client wants of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsWish {
    /// The name to ask for (SNI), and to compare with where `verify` says so. May be an address.
    pub name: String,
    pub verify: Verify,
}

/// What the server side showed. Filled in whatever was asked for, so that a log can tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerCertificate {
    pub subject: String,
    pub issuer: String,
    pub serial: String,
    /// SHA-256 in hexadecimal.
    pub fingerprint: String,
    pub names: Vec<String>,
    pub not_before: String,
    pub not_after: String,
    /// Why it would not be trusted for the name, if it would not.
    pub fault: Option<String>,
}

pub type Connecting =
    Pin<Box<dyn Future<Output = std::io::Result<(BoxStream, TlsFacts, PeerCertificate)>> + Send>>;

/// Starts TLS as the client side. A certificate that does not come up to the wish is an error that says why.
pub trait TlsConnect: Send + Sync + 'static {
    fn connect(&self, plain: BoxStream, wish: TlsWish) -> Connecting;
}

/// A connection that was opened by us.
pub struct Dialed {
    pub stream: BoxStream,
    pub local: SocketAddr,
    pub peer: SocketAddr,
}

pub type Dialing = Pin<Box<dyn Future<Output = std::io::Result<Dialed>> + Send>>;

/// Opens connections to other servers. Callers put their own bound on the time.
pub trait Dial: Send + Sync + 'static {
    /// `from`: the address of ours to use, where it matters.
    fn dial(&self, to: SocketAddr, from: Option<std::net::IpAddr>) -> Dialing;
}
