//! TLS as the server side, with certificates that can be replaced while connections stand.
//!
//! One [`Public`] per process holds the certificate that clients are shown. Replacing it affects handshakes from then
//! on, and nothing else: established sessions keep theirs, and inner trust does not pass through here.

use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio_rustls::TlsAcceptor;
use waypost_trust::channel::{Accepting, BoxStream, TlsAccept, TlsFacts};

/// A client that has not finished its handshake by then is let go.
const HANDSHAKE_MAX: Duration = Duration::from_secs(30);

/// The certificate that clients are shown, and the machinery around it.
pub struct Public {
    shown: Arc<Shown>,
    config: Arc<ServerConfig>,
}

#[derive(Debug)]
struct Shown(RwLock<Pair>);

/// A certificate with its key, and the channel binding that follows from it.
#[derive(Debug, Clone)]
struct Pair {
    key: Arc<CertifiedKey>,
    end_point: Option<Vec<u8>>,
}

impl Shown {
    fn current(&self) -> Pair {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current().key)
    }
}

impl Public {
    /// From a PEM chain, leaf first, and its PEM private key.
    pub fn new(chain: &[u8], key: &[u8]) -> io::Result<Public> {
        let shown = Arc::new(Shown(RwLock::new(certified(chain, key)?)));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        // Stateless tickets: a resumed session costs the server no memory between connections.
        config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(io::Error::other)?;
        config.send_tls13_tickets = 1;
        Ok(Public { shown, config: Arc::new(config) })
    }

    /// Shows another certificate from the next handshake on. The old one stays if the new one cannot be used.
    pub fn replace(&self, chain: &[u8], key: &[u8]) -> io::Result<()> {
        let fresh = certified(chain, key)?;
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }
}

/// Reads a chain and its key, and proves that they belong together.
fn certified(chain: &[u8], key: &[u8]) -> io::Result<Pair> {
    let invalid = |e: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidData, e.to_string());
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(|e| invalid(&e))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| invalid(&e))?;
    let signer = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|e| invalid(&e))?;
    let certified = CertifiedKey::new(chain, signer);
    certified.keys_match().map_err(|e| invalid(&e))?;
    let end_point = certified.cert.first().and_then(|leaf| waypost_trust::end_point::binding(leaf));
    Ok(Pair { key: Arc::new(certified), end_point })
}

impl TlsAccept for Public {
    fn accept(&self, plain: BoxStream) -> Accepting {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        let end_point = self.shown.current().end_point;
        Box::pin(async move {
            let stream = tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(plain))
                .await
                .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "TLS handshake took too long"))??;
            let facts = facts(stream.get_ref().1, end_point);
            Ok((Box::new(stream) as BoxStream, facts))
        })
    }
}

fn facts(connection: &rustls::ServerConnection, end_point: Option<Vec<u8>>) -> TlsFacts {
    let version = connection.protocol_version();
    let exporter = match version {
        // RFC 9266 §3: only unique without the extended master secret from TLS 1.3 on.
        Some(rustls::ProtocolVersion::TLSv1_3) => {
            connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None).ok()
        }
        _ => None,
    };
    TlsFacts {
        version: match version {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        },
        cipher: connection.negotiated_cipher_suite().map_or("unknown", |s| cipher_name(s.suite())),
        server_name: connection.server_name().map(str::to_owned),
        exporter,
        end_point,
        client: None,
    }
}

/// Names of the IANA registry for the suites that rustls with ring offers.
pub fn cipher_name(suite: rustls::CipherSuite) -> &'static str {
    use rustls::CipherSuite as S;
    match suite {
        S::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        S::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        S::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        S::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        S::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        S::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        S::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        S::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        S::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        _ => "unknown",
    }
}
