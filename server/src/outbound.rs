//! Connections that we open: TCP, and TLS as the client side.
//!
//! Whether a certificate is good enough is decided during the handshake, by the wish that came with it; what it said
//! is handed back in every case, so that a log can tell even where any certificate would do.

use crate::tls::cipher_name;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use waypost_transport::agents::milter::{MilterAddress, OpenMilter, Opening};
use waypost_trust::certificate::Facts;
use waypost_trust::channel::{
    BoxStream, Connecting, Dial, Dialed, Dialing, PeerCertificate, TlsConnect, TlsFacts, TlsWish, Verify,
};

/// A server that has not finished its handshake by then is given up.
const HANDSHAKE_MAX: Duration = Duration::from_secs(60);

/// Opens TCP connections.
#[derive(Debug, Default)]
pub struct Tcp;

impl Dial for Tcp {
    fn dial(&self, to: SocketAddr, from: Option<IpAddr>) -> Dialing {
        Box::pin(async move {
            let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            if let Some(from) = from {
                socket.bind(SocketAddr::new(from, 0))?;
            }
            let stream = socket.connect(to).await?;
            stream.set_nodelay(true)?;
            let (local, peer) = (stream.local_addr()?, stream.peer_addr()?);
            Ok(Dialed { stream: Box::new(stream), local, peer })
        })
    }
}

/// Opens connections to mail filters.
#[derive(Debug, Default)]
pub struct MilterOpener;

impl OpenMilter for MilterOpener {
    fn open(&self, address: MilterAddress) -> Opening {
        Box::pin(async move {
            match address {
                MilterAddress::Tcp { host, port } => {
                    let stream = TcpStream::connect((host.as_str(), port)).await?;
                    stream.set_nodelay(true)?;
                    Ok(Box::new(stream) as BoxStream)
                }
                MilterAddress::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?) as BoxStream),
            }
        })
    }
}

/// TLS towards other servers, with the certificate authorities that this machine trusts.
pub struct TlsClient {
    provider: Arc<CryptoProvider>,
    /// Read at first use: a server that never sends never reads them.
    authorities: OnceLock<Option<Arc<WebPkiServerVerifier>>>,
}

impl Default for TlsClient {
    fn default() -> TlsClient {
        TlsClient {
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            authorities: OnceLock::new(),
        }
    }
}

impl TlsClient {
    /// `None` where the machine trusts nobody; SSL_CERT_FILE and SSL_CERT_DIR are heeded.
    fn authorities(&self) -> Option<Arc<WebPkiServerVerifier>> {
        let read = || {
            let found = rustls_native_certs::load_native_certs();
            for e in &found.errors {
                tracing::warn!(error = %e, "certificate authorities of this machine not read");
            }
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(found.certs);
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
                .build()
                .ok()
        };
        self.authorities.get_or_init(read).clone()
    }
}

impl TlsConnect for TlsClient {
    fn connect(&self, plain: BoxStream, wish: TlsWish) -> Connecting {
        let judge = Arc::new(Judge {
            provider: Arc::clone(&self.provider),
            authorities: self.authorities(),
            verify: wish.verify,
            seen: Mutex::default(),
        });
        let provider = Arc::clone(&self.provider);
        Box::pin(async move {
            let name = ServerName::try_from(bare(&wish.name).to_owned())
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {e}", wish.name)))?;
            let config = ClientConfig::builder_with_provider(provider)
                .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
                .map_err(io::Error::other)?
                .dangerous()
                .with_custom_certificate_verifier(Arc::clone(&judge) as Arc<dyn ServerCertVerifier>)
                .with_no_client_auth();
            let handshake = TlsConnector::from(Arc::new(config)).connect(name, plain);
            let done = tokio::time::timeout(HANDSHAKE_MAX, handshake)
                .await
                .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "TLS handshake took too long"))?;
            let shown = judge.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let stream = match done {
                Ok(stream) => stream,
                // A certificate that did not come up to the wish: said with its own name.
                Err(e) => match &shown.fault {
                    Some(fault) if wish.verify != Verify::Any => {
                        let text = format!("certificate of {} not accepted: {fault}", wish.name);
                        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
                    }
                    _ => return Err(e),
                },
            };
            let facts = facts(stream.get_ref().1);
            Ok((Box::new(stream) as BoxStream, facts, shown))
        })
    }
}

/// A certificate names an address without the brackets and the tag of an address literal (RFC 5321 §4.1.3).
fn bare(name: &str) -> &str {
    let Some(inner) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) else { return name };
    match inner.split_at_checked(5) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => address,
        _ => inner,
    }
}

fn facts(connection: &rustls::ClientConnection) -> TlsFacts {
    let modern = connection.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3);
    // RFC 9266 §3: only unique without the extended master secret from TLS 1.3 on.
    let exporter = || connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None).ok();
    let leaf = connection.peer_certificates().and_then(|chain| chain.first());
    TlsFacts {
        version: match connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        },
        cipher: connection.negotiated_cipher_suite().map_or("unknown", |s| cipher_name(s.suite())),
        server_name: None,
        exporter: modern.then(exporter).flatten(),
        end_point: leaf.and_then(|leaf| waypost_trust::end_point::binding(leaf)),
        client: None,
    }
}

/// Looks at the certificate of one handshake.
#[derive(Debug)]
struct Judge {
    provider: Arc<CryptoProvider>,
    authorities: Option<Arc<WebPkiServerVerifier>>,
    verify: Verify,
    seen: Mutex<PeerCertificate>,
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let judged = match &self.authorities {
            Some(web) => web.verify_server_cert(end_entity, intermediates, server_name, ocsp, now).map(drop),
            None => Err(rustls::Error::General("this machine trusts no certificate authority".into())),
        };
        let mut shown = described(end_entity);
        shown.fault = judged.as_ref().err().map(crate::tls::said);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = shown;
        match (self.verify, judged) {
            (_, Ok(())) | (Verify::Any, Err(_)) => Ok(ServerCertVerified::assertion()),
            // webpki looks at the chain before the name, so a wrong name means that the chain was good.
            (Verify::Chain, Err(rustls::Error::InvalidCertificate(e))) if is_name(&e) => {
                Ok(ServerCertVerified::assertion())
            }
            (_, Err(e)) => Err(e),
        }
    }

    crate::tls::signatures_by!(provider);
}

fn is_name(e: &CertificateError) -> bool {
    matches!(e, CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. })
}

fn described(certificate: &CertificateDer<'_>) -> PeerCertificate {
    match Facts::of_der(certificate) {
        Ok(facts) => PeerCertificate {
            subject: facts.subject,
            issuer: facts.issuer,
            serial: facts.serial,
            fingerprint: facts.fingerprint,
            names: facts.names,
            not_before: facts.not_before.to_string(),
            not_after: facts.not_after.to_string(),
            fault: None,
        },
        Err(_) => PeerCertificate { subject: "unreadable".into(), ..PeerCertificate::default() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_base::Timestamp;

    async fn handshake(verify: Verify) -> io::Result<(TlsFacts, PeerCertificate)> {
        let now = crate::machine::clock().now();
        let made = waypost_trust::self_signed(&["mx.example.net"], 30, now).unwrap();
        let acceptor = crate::tls::show_only(&made).unwrap();
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let server = tokio::spawn(acceptor.accept(Box::new(theirs)));
        let client = TlsClient::default();
        let wish = TlsWish { name: "mx.example.net".into(), verify };
        let done = client.connect(Box::new(ours), wish).await;
        let _ = server.await.unwrap();
        done.map(|(_, facts, shown)| (facts, shown))
    }

    #[tokio::test]
    async fn any_certificate_will_do_where_nobody_asks() {
        let (facts, shown) = handshake(Verify::Any).await.unwrap();
        assert_eq!(facts.version, "TLSv1.3");
        assert_eq!(shown.names, ["mx.example.net"]);
        assert!(shown.fault.is_some(), "it is self-signed");
        assert!(shown.not_after > Timestamp(0).to_string());
    }

    #[test]
    fn names_of_address_literals() {
        for (name, plain) in [
            ("mx.example.net", "mx.example.net"),
            ("192.0.2.1", "192.0.2.1"),
            ("[192.0.2.1]", "192.0.2.1"),
            ("[IPv6:2001:db8::1]", "2001:db8::1"),
            ("[ipv6:2001:db8::1]", "2001:db8::1"),
            ("[x]", "x"),
        ] {
            assert_eq!(bare(name), plain);
            assert!(ServerName::try_from(bare(name)).is_ok(), "{name}");
        }
    }

    #[tokio::test]
    async fn a_self_signed_one_is_refused_where_the_chain_matters() {
        for verify in [Verify::Chain, Verify::Name] {
            let e = handshake(verify).await.unwrap_err();
            assert_eq!(e.kind(), io::ErrorKind::PermissionDenied);
            assert!(e.to_string().starts_with("certificate of mx.example.net not accepted: "), "{e}");
        }
    }
}
