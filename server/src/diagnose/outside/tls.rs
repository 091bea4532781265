//! TLS as a client that looks: any certificate is taken, the whole chain is kept, and what a careful client would have said
//! of it is noted. Old versions are asked for by a hand-made greeting, since the library rightly does not speak them.

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use waypost_base::Timestamp;
use waypost_diagnose::outside::seen::{Certificate, Tls};
use waypost_sasl::Bindings;
use waypost_trust::certificate::Facts;
use waypost_trust::channel::BoxStream;

/// Certificates of a chain that are looked at.
const CHAIN_MAX: usize = 10;
/// Bytes of a CA file.
const CA_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Looks at servers' TLS. Made once for a diagnosis.
pub struct Looker {
    provider: Arc<CryptoProvider>,
    authorities: Option<Arc<WebPkiServerVerifier>>,
    now: Timestamp,
}

/// TLS that stands.
pub struct Secured {
    pub stream: BoxStream,
    pub tls: Tls,
    pub bindings: Bindings,
}

impl Looker {
    /// With the authorities of this machine (SSL_CERT_FILE and SSL_CERT_DIR are heeded) and those of a file.
    ///
    /// # Errors
    /// When the file cannot be read or has no certificate.
    pub fn new(ca: Option<&Path>, now: Timestamp) -> io::Result<Looker> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = ca {
            let told = |e: &dyn std::fmt::Display| io::Error::other(format!("{}: {e}", path.display()));
            if std::fs::metadata(path).map_err(|e| told(&e))?.len() > CA_BYTES_MAX {
                return Err(told(&"is larger than 4 MiB"));
            }
            let bytes = std::fs::read(path).map_err(|e| told(&e))?;
            let (added, _) =
                roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bytes).flatten());
            if added == 0 {
                return Err(told(&"holds no certificate in PEM"));
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let authorities =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().ok();
        Ok(Looker { provider, authorities, now })
    }

    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// A handshake in which any certificate will do.
    pub async fn connect(&self, plain: BoxStream, name: &str) -> io::Result<Secured> {
        let server = ServerName::try_from(name.to_owned())
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, format!("{name}: {e}")))?;
        let witness = Arc::new(Witness { provider: Arc::clone(&self.provider), chain: Mutex::default() });
        let config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        let stream = TlsConnector::from(Arc::new(config)).connect(server, plain).await?;
        let connection = stream.get_ref().1;
        let modern = connection.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3);
        let exporter = || connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None).ok();
        let chain = witness.chain.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let bindings = Bindings {
            exporter: modern.then(exporter).flatten(),
            end_point: chain.first().and_then(|leaf| waypost_trust::end_point::binding(leaf)),
        };
        let cipher = connection.negotiated_cipher_suite();
        let tls = Tls {
            version: if modern { "TLSv1.3" } else { "TLSv1.2" }.into(),
            cipher: cipher.map_or("unknown", |s| crate::tls::cipher_name(s.suite())).into(),
            distrust: self.distrust(&chain),
            chain: self.told(&chain),
        };
        Ok(Secured { stream: Box::new(stream), tls, bindings })
    }

    fn told(&self, chain: &[CertificateDer<'static>]) -> Vec<Certificate> {
        let one = |(n, der): (usize, &CertificateDer<'static>)| {
            let told = certificate(der)?;
            Some(Certificate { vouches: n > 0 && self.vouches(der, chain), ..told })
        };
        chain.iter().take(CHAIN_MAX).enumerate().filter_map(one).collect()
    }

    /// Whether the chain holds for those who trust this certificate as an authority, and no other.
    fn vouches(&self, authority: &CertificateDer<'static>, chain: &[CertificateDer<'static>]) -> bool {
        let mut roots = RootCertStore::empty();
        if roots.add(authority.clone()).is_err() {
            return false;
        }
        let alone =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider)).build();
        alone.is_ok_and(|alone| self.refused_by(&alone, chain).is_none())
    }

    /// Why no authority stands behind the chain.
    fn distrust(&self, chain: &[CertificateDer<'static>]) -> Option<String> {
        match &self.authorities {
            Some(authorities) => self.refused_by(authorities, chain),
            None => Some("this machine trusts no certificate authority".into()),
        }
    }

    /// Its time and names are looked at elsewhere, so it is asked about a moment at which all of it was valid, and for a name
    /// that it has.
    fn refused_by(
        &self,
        authorities: &WebPkiServerVerifier,
        chain: &[CertificateDer<'static>],
    ) -> Option<String> {
        let (leaf, between) = chain.split_first()?;
        let facts: Vec<Facts> = chain.iter().filter_map(|c| Facts::of_der(c).ok()).collect();
        let own = facts.first()?;
        let begin = facts.iter().map(|f| f.not_before).max()?;
        let end = facts.iter().map(|f| f.not_after).min()?;
        let at = if self.now >= begin && self.now <= end {
            self.now
        } else if begin < end {
            end.plus_millis(-1000)
        } else {
            own.not_after.plus_millis(-1000)
        };
        let name = own.names.first().map_or("example.org".to_owned(), |n| n.replacen("*.", "any.", 1));
        let name = ServerName::try_from(name).ok()?;
        let seconds = u64::try_from(at.as_seconds()).unwrap_or(0);
        let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        use rustls::Error::InvalidCertificate;
        match authorities.verify_server_cert(leaf, between, &name, &[], at) {
            Ok(_) => None,
            Err(InvalidCertificate(
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. }
                | CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            )) => None,
            Err(InvalidCertificate(CertificateError::UnknownIssuer)) => {
                Some("no authority that this machine trusts has issued it".into())
            }
            Err(e) => Some(e.to_string()),
        }
    }
}

fn certificate(der: &CertificateDer<'static>) -> Option<Certificate> {
    let facts = Facts::of_der(der).ok()?;
    let key = ParsedCertificate::try_from(der).ok().map(|p| p.subject_public_key_info());
    let of_key = |algorithm| key.as_ref().map(|k| digest(algorithm, k.as_ref())).unwrap_or_default();
    Some(Certificate {
        subject: facts.subject,
        issuer: facts.issuer,
        names: facts.names,
        not_before: facts.not_before,
        not_after: facts.not_after,
        key: facts.key,
        signature: facts.signature,
        self_signed: facts.self_signed,
        sha256: digest(&ring::digest::SHA256, der),
        sha512: digest(&ring::digest::SHA512, der),
        key_sha256: of_key(&ring::digest::SHA256),
        key_sha512: of_key(&ring::digest::SHA512),
        der: der.to_vec(),
        key_der: key.as_ref().map(|k| k.to_vec()).unwrap_or_default(),
        vouches: false,
    })
}

fn digest(algorithm: &'static ring::digest::Algorithm, bytes: &[u8]) -> String {
    hex(ring::digest::digest(algorithm, bytes).as_ref())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to memory does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Keeps the chain of one handshake.
#[derive(Debug)]
struct Witness {
    provider: Arc<CryptoProvider>,
    chain: Mutex<Vec<CertificateDer<'static>>>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let all = std::iter::once(end_entity).chain(intermediates).take(CHAIN_MAX);
        let all: Vec<CertificateDer<'static>> = all.map(|c| c.clone().into_owned()).collect();
        *self.chain.lock().unwrap_or_else(PoisonError::into_inner) = all;
        Ok(ServerCertVerified::assertion())
    }

    crate::tls::signatures_by!(provider);
}

/// Whether the server answers to TLS 1.1 at most, and by which version. Nothing is agreed on: the first answer is read and
/// the connection dropped.
pub async fn old_version(mut stream: BoxStream, name: &str) -> io::Result<Option<&'static str>> {
    stream.write_all(&old_hello(name)).await?;
    stream.flush().await?;
    let mut head = [0u8; 11];
    stream.read_exact(&mut head).await?;
    Ok(match head {
        // A record of the handshake with a ServerHello in it, whose version follows its length.
        [22, _, _, _, _, 2, _, _, _, 3, 2] => Some("TLSv1.1"),
        [22, _, _, _, _, 2, _, _, _, 3, 1] => Some("TLSv1.0"),
        [22, _, _, _, _, 2, _, _, _, 3, 0] => Some("SSLv3"),
        _ => None,
    })
}

/// A ClientHello of TLS 1.1 (RFC 4346 §7.4.1.2) with the cipher suites that servers of its time had.
fn old_hello(name: &str) -> Vec<u8> {
    let suites: [u16; 9] = [0xC014, 0xC013, 0xC00A, 0xC009, 0x0039, 0x0033, 0x0035, 0x002F, 0x000A];
    let mut extensions = Vec::new();
    if name.parse::<std::net::IpAddr>().is_err() {
        let host = name.as_bytes();
        let mut list = vec![0];
        put(&mut list, host.len());
        list.extend_from_slice(host);
        let mut body = Vec::new();
        put(&mut body, list.len());
        body.extend_from_slice(&list);
        extension(&mut extensions, 0, &body);
    }
    // secp256r1, secp384r1; uncompressed points.
    extension(&mut extensions, 10, &[0, 4, 0, 23, 0, 24]);
    extension(&mut extensions, 11, &[1, 0]);
    let mut body = vec![3, 2];
    body.extend_from_slice(&crate::machine::random::<32>());
    body.push(0);
    put(&mut body, suites.len() * 2);
    for suite in suites {
        body.extend_from_slice(&suite.to_be_bytes());
    }
    body.extend_from_slice(&[1, 0]);
    put(&mut body, extensions.len());
    body.extend_from_slice(&extensions);
    let mut message = vec![1, 0];
    put(&mut message, body.len());
    message.extend_from_slice(&body);
    let mut record = vec![22, 3, 1];
    put(&mut record, message.len());
    record.extend_from_slice(&message);
    record
}

fn extension(to: &mut Vec<u8>, kind: usize, body: &[u8]) {
    put(to, kind);
    put(to, body.len());
    to.extend_from_slice(body);
}

/// Two bytes. Names are below 256 bytes and the rest is fixed, so everything fits.
fn put(to: &mut Vec<u8>, number: usize) {
    to.extend_from_slice(&u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_greeting_is_well_formed() {
        let hello = old_hello("mail.example.org");
        let length = |at: usize| usize::from(u16::from_be_bytes([hello[at], hello[at + 1]]));
        assert_eq!(length(3) + 5, hello.len());
        assert_eq!(length(7) + 9, hello.len());
        assert!(hello.windows(16).any(|w| w == b"mail.example.org"));
        assert!(old_hello("192.0.2.1").len() < hello.len());
    }

    #[tokio::test]
    async fn a_server_of_today_refuses_it() {
        let now = crate::machine::clock().now();
        let made = waypost_trust::self_signed(&["mx.example.net"], 30, now).unwrap();
        let acceptor = crate::tls::show_only(&made).unwrap();
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let server = tokio::spawn(acceptor.accept(Box::new(theirs)));
        let answer = old_version(Box::new(ours), "mx.example.net").await;
        assert!(!matches!(answer, Ok(Some(_))), "{answer:?}");
        assert!(server.await.unwrap().is_err());
    }

    #[tokio::test]
    async fn the_chain_is_kept_and_judged() {
        let now = crate::machine::clock().now();
        let made = waypost_trust::self_signed(&["mx.example.net"], 30, now).unwrap();
        let acceptor = crate::tls::show_only(&made).unwrap();
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let server = tokio::spawn(acceptor.accept(Box::new(theirs)));
        let looker = Looker::new(None, now).unwrap();
        let secured = looker.connect(Box::new(ours), "other.example.net").await.unwrap();
        let _ = server.await.unwrap();
        let own = &secured.tls.chain[0];
        assert!(own.self_signed && own.names == ["mx.example.net"] && secured.tls.distrust.is_some());
        assert_eq!((own.sha256.len(), own.key_sha512.len()), (64, 128));
    }
}
