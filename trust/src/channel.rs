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
}

pub type Accepting = Pin<Box<dyn Future<Output = std::io::Result<(BoxStream, TlsFacts)>> + Send>>;

/// Starts TLS as the server side.
pub trait TlsAccept: Send + Sync + 'static {
    fn accept(&self, plain: BoxStream) -> Accepting;
}
