//! TLS between servers of the organisation: 1.3 only, inner certificates on both ends, nothing else.
//!
//! The initiator verifies strictly, by the bundle of inner CAs, the server id and the directory, during the handshake. The
//! acceptor takes any certificate whose key the other end proves to hold, or none, and judges afterwards
//! ([`waypost_trust::leg::accept`]), where a refusal can say why. No session is resumed: who somebody is gets verified
//! each time, so that a revocation holds at once.

use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, DistinguishedName};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use waypost_base::Clock;
use waypost_trust::channel::BoxStream;
use waypost_trust::files::{self, FileError};
use waypost_trust::leg::accept::{authorities, certificate_fault, described, standing};
use waypost_trust::leg::cause;
use waypost_trust::leg::fault::Fault;
use waypost_trust::leg::limits::TLS_MAX;
use waypost_trust::leg::member::Member;
use waypost_trust::{Bundle, Facts, KeyedCertificate, ServerId};

/// What inner doors say they speak, so that no other TLS service is taken for one.
const ALPN: &[u8] = b"waypost-inner/1";
/// Every CA that is believed, in the trust folder. Where it is missing, `inner-ca.crt` alone.
pub const BUNDLE_FILE: &str = "trusted.crt";

/// What this server is known by to the others, and what it believes of them.
pub struct Own {
    pub id: ServerId,
    pub facts: Facts,
    pub bundle: Bundle,
    client: Arc<SingleCertAndKey>,
    server: Arc<ServerConfig>,
    provider: Arc<CryptoProvider>,
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Own").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Own {
    pub fn new(certificate: &KeyedCertificate, bundle: Bundle) -> io::Result<Own> {
        let invalid = |e: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidData, e.to_string());
        let facts = certificate.check().map_err(|e| invalid(&e))?;
        let uri = facts.uris.iter().find_map(|u| u.strip_prefix("waypost://server/"));
        let id = uri.and_then(|id| ServerId::parse(id).ok());
        let id = id.ok_or_else(|| invalid(&"the inner certificate names no server"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes())
                .collect::<Result<_, _>>()
                .map_err(|e| invalid(&e))?;
        let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).map_err(|e| invalid(&e))?;
        let signer = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|e| invalid(&e))?;
        let pair = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, signer)));
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(io::Error::other)?
            .with_client_cert_verifier(Arc::new(Anybody { provider: Arc::clone(&provider) }))
            .with_cert_resolver(Arc::clone(&pair) as Arc<dyn rustls::server::ResolvesServerCert>);
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.alpn_protocols = vec![ALPN.to_vec(), JOIN_ALPN.to_vec()];
        Ok(Own { id, facts, bundle, client: pair, server: Arc::new(server), provider })
    }

    /// From the trust folder: `server.crt` with its key, and the bundle.
    pub fn load(folder: &Path) -> io::Result<Own> {
        let error = |e: FileError| match e {
            FileError::Io { path, source } => {
                waypost_base::denials::report(&path, "read", &source);
                io::Error::new(source.kind(), format!("{}: {source}", path.display()))
            }
            e => io::Error::new(io::ErrorKind::InvalidData, e.to_string()),
        };
        let certificate = files::load(folder, "server").map_err(error)?;
        let bundle = match files::read(&folder.join(BUNDLE_FILE)) {
            Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                files::read(&folder.join("inner-ca.crt")).map_err(error)?
            }
            read => read.map_err(error)?,
        };
        let bundle =
            Bundle::parse(&bundle).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
        Own::new(&certificate, bundle)
    }

    /// For legs: what TLS knows us by.
    pub fn key(&self) -> String {
        format!("inner certificate {}", self.facts.serial)
    }
}

/// The identity in use; it can be replaced while legs stand.
#[derive(Debug)]
pub struct Identity(RwLock<Arc<Own>>);

impl Identity {
    pub fn new(own: Own) -> Identity {
        Identity(RwLock::new(Arc::new(own)))
    }

    pub fn current(&self) -> Arc<Own> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From the next leg on. Legs that stand keep what they have proved.
    pub fn replace(&self, own: Own) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(own);
    }
}

/// What newcomers ask for, who have no certificate yet. They are handed to [`super::Handlers::join`] unjudged.
const JOIN_ALPN: &[u8] = b"waypost-join/1";

/// A channel whose ends have shown their certificates.
pub struct Secured {
    pub stream: BoxStream,
    pub exporter: [u8; 32],
    /// What the other end has shown (DER).
    pub certificate: Option<Vec<u8>>,
    /// It wants to join rather than to open a leg.
    pub joins: bool,
}

/// TLS as the initiator: stands only if the other end is `member`.
pub async fn connect(own: &Own, member: &Member, plain: BoxStream, clock: &Clock) -> Result<Secured, Fault> {
    let to = &member.id;
    let id = ServerId::parse(to).map_err(|e| Fault::new(cause::UNKNOWN_SERVER, e.to_string()))?;
    let judge = Arc::new(Judge {
        own: own.id.to_string(),
        id: id.clone(),
        member: member.clone(),
        bundle: own.bundle.clone(),
        clock: clock.clone(),
        provider: Arc::clone(&own.provider),
        fault: Mutex::default(),
    });
    let unusable = |e: &dyn std::fmt::Display| Fault::new(cause::TLS, format!("TLS with {to}: {e}"));
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&own.provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| unusable(&e))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&judge) as Arc<dyn ServerCertVerifier>)
        .with_client_cert_resolver(Arc::clone(&own.client) as Arc<dyn rustls::client::ResolvesClientCert>);
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![ALPN.to_vec()];
    let name = ServerName::try_from(id.dns_name()).map_err(|e| unusable(&e))?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, plain);
    let done = tokio::time::timeout(TLS_MAX, handshake).await;
    let told = judge.fault.lock().unwrap_or_else(PoisonError::into_inner).take();
    let stream = match done {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => return Err(told.unwrap_or_else(|| tls_fault(to, &e))),
        Err(_) => {
            let text = format!("{to} did not finish TLS within {} s", TLS_MAX.as_secs());
            return Err(Fault::new(cause::TIMEOUT, text));
        }
    };
    let connection = stream.get_ref().1;
    let exporter = connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None);
    let exporter = exporter.map_err(|e| unusable(&e))?;
    let certificate = connection.peer_certificates().and_then(|c| c.first()).map(|c| c.to_vec());
    Ok(Secured { stream: Box::new(stream), exporter, certificate, joins: false })
}

fn tls_fault(to: &str, e: &io::Error) -> Fault {
    let text = match e.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            format!("what answers for {to} closed the connection during TLS")
        }
        _ => format!("what answers for {to} does not speak inner TLS: {e}"),
    };
    Fault::new(cause::TLS, text)
}

/// TLS as the acceptor.
pub async fn accept(own: &Own, plain: BoxStream) -> io::Result<Secured> {
    let acceptor = TlsAcceptor::from(Arc::clone(&own.server));
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "TLS handshake took too long");
    let stream = tokio::time::timeout(TLS_MAX, acceptor.accept(plain)).await.map_err(late)??;
    let connection = stream.get_ref().1;
    let exporter = connection
        .export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None)
        .map_err(io::Error::other)?;
    let certificate = connection.peer_certificates().and_then(|c| c.first()).map(|c| c.to_vec());
    let joins = connection.alpn_protocol() == Some(JOIN_ALPN);
    Ok(Secured { stream: Box::new(stream), exporter, certificate, joins })
}

/// The initiator's judgement of the acceptor's certificate. TLS libraries say "bad certificate"; the fault says which and why.
#[derive(Debug)]
struct Judge {
    own: String,
    id: ServerId,
    member: Member,
    bundle: Bundle,
    clock: Clock,
    provider: Arc<CryptoProvider>,
    fault: Mutex<Option<Fault>>,
}

impl Judge {
    fn judge(&self, der: &[u8]) -> Result<(), Fault> {
        let now = self.clock.now();
        let to = self.id.as_str();
        let issued = self.bundle.verify(der, now).map_err(|why| {
            authorities(certificate_fault(to, &why, now, None), &self.own, &self.bundle, &why, now)
        })?;
        if issued.server != self.id {
            let text = format!("{} answers at the address of {to}", issued.server);
            return Err(Fault::new(cause::WRONG_SERVER, text));
        }
        standing(&self.member, &issued, now)
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Err(fault) = self.judge(end_entity) else { return Ok(ServerCertVerified::assertion()) };
        let code = fault.cause.code;
        let fault = fault.seen(self.own.clone(), self.clock.now(), described(end_entity));
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
        // The alert, which the acceptor logs.
        Err(rustls::Error::InvalidCertificate(match code {
            "INNER-EXPIRED" => CertificateError::Expired,
            "INNER-NOTYET" => CertificateError::NotValidYet,
            "INNER-REVOKED" => CertificateError::Revoked,
            "INNER-OTHER-CA" => CertificateError::UnknownIssuer,
            _ => CertificateError::ApplicationVerificationFailure,
        }))
    }

    crate::tls::signatures_by!(provider);
}

/// Takes any certificate, or none; that its key is there is proved by the handshake's signature.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Anybody {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    crate::tls::signatures_by!(provider);
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use waypost_base::Timestamp;
    use waypost_trust::InnerCa;
    use waypost_trust::authority::SERVER_DAYS;

    const NOW: Timestamp = Timestamp(1_772_525_720_000);
    const DAY: i64 = 86_400_000;

    fn own(ca: &InnerCa, id: &str, at: Timestamp) -> Own {
        Own::new(&ca.issue(&ServerId::parse(id).unwrap(), at).unwrap(), Bundle::of(ca)).unwrap()
    }

    fn member(id: &str) -> Member {
        Member { id: id.into(), mailbox: true, ..Member::default() }
    }

    async fn meet(
        initiator: &Own,
        acceptor: &Own,
        member: &Member,
    ) -> (Result<Secured, Fault>, io::Result<Secured>) {
        let (ours, theirs) = duplex(64 * 1024);
        let clock = Clock::fixed(NOW);
        tokio::join!(connect(initiator, member, Box::new(ours), &clock), accept(acceptor, Box::new(theirs)))
    }

    async fn refused(initiator: &Own, acceptor: &Own, member: &Member) -> (&'static str, String) {
        let fault = meet(initiator, acceptor, member).await.0.err().unwrap();
        assert!(fault.evidence.iter().any(|e| e.fact.starts_with("certificate ")), "{fault:?}");
        (fault.cause.code, fault.text)
    }

    #[tokio::test]
    async fn both_ends_know_each_other_and_their_channel() {
        let ca = InnerCa::create("Contoso", NOW).unwrap();
        let (front, mbx) = (own(&ca, "front", NOW), own(&ca, "mbx", NOW));
        let (ours, theirs) = meet(&front, &mbx, &member("mbx")).await;
        let (mut ours, mut theirs) = (ours.ok().unwrap(), theirs.unwrap());
        assert_eq!(ours.exporter, theirs.exporter);
        assert_ne!(ours.exporter, [0; 32]);
        let shown = front.bundle.verify(&theirs.certificate.unwrap(), NOW).unwrap();
        assert_eq!(shown.server.as_str(), "front");
        ours.stream.write_all(b"hi").await.unwrap();
        ours.stream.shutdown().await.unwrap();
        let mut said = String::new();
        theirs.stream.read_to_string(&mut said).await.unwrap();
        assert_eq!((said.as_str(), theirs.joins), ("hi", false));
    }

    #[tokio::test]
    async fn an_initiator_verifies_strictly_and_says_why_not() {
        let ca = InnerCa::create("Contoso", NOW).unwrap();
        let other = InnerCa::create("Fabrikam", NOW).unwrap();
        let (front, mbx) = (own(&ca, "front", NOW), member("mbx"));

        let (code, text) = refused(&front, &own(&other, "mbx", NOW), &mbx).await;
        assert_eq!(code, "INNER-OTHER-CA");
        assert!(
            text.starts_with("the inner certificate of mbx is by a CA that is not trusted here"),
            "{text}"
        );

        let (code, text) = refused(&front, &own(&ca, "mbx2", NOW), &mbx).await;
        assert_eq!((code, text.as_str()), ("INNER-WRONG-SERVER", "mbx2 answers at the address of mbx"));

        let old = own(&ca, "mbx", NOW.plus_millis(-(SERVER_DAYS + 1) * DAY));
        assert_eq!(refused(&front, &old, &mbx).await.0, "INNER-EXPIRED");
        assert_eq!(refused(&front, &own(&ca, "mbx", NOW.plus_millis(DAY)), &mbx).await.0, "INNER-NOTYET");

        let now = own(&ca, "mbx", NOW);
        let revoked = Member { revoked: Some(NOW), ..member("mbx") };
        assert_eq!(refused(&front, &now, &revoked).await.0, "INNER-REVOKED");
        let stolen = Member { certificates_since: Some(NOW.plus_millis(60_000)), ..member("mbx") };
        assert_eq!(refused(&front, &now, &stolen).await.0, "INNER-REVOKED");
        let renewed = Member { certificates_since: Some(NOW), ..member("mbx") };
        assert!(meet(&front, &now, &renewed).await.0.is_ok());
    }

    #[tokio::test]
    async fn an_acceptor_takes_any_certificate_so_that_it_can_say_why_not() {
        let ca = InnerCa::create("Contoso", NOW).unwrap();
        let other = InnerCa::create("Fabrikam", NOW).unwrap();
        let mut thief = own(&other, "front", NOW);
        thief.bundle = Bundle::of(&ca);
        let (ours, theirs) = meet(&thief, &own(&ca, "mbx", NOW), &member("mbx")).await;
        assert!(ours.is_ok());
        let shown = theirs.unwrap().certificate.unwrap();
        assert!(Bundle::of(&ca).verify(&shown, NOW).is_err());
    }

    #[tokio::test]
    async fn what_is_no_tls_is_told_as_such() {
        let ca = InnerCa::create("Contoso", NOW).unwrap();
        let front = own(&ca, "front", NOW);
        let (ours, mut theirs) = duplex(1024);
        theirs.write_all(b"* OK IMAP4 ready\r\n").await.unwrap();
        let clock = Clock::fixed(NOW);
        let fault = connect(&front, &member("mbx"), Box::new(ours), &clock).await.err().unwrap();
        assert_eq!(fault.cause.code, "INNER-TLS");
        let (ours, theirs) = duplex(1024);
        drop(theirs);
        let fault = connect(&front, &member("mbx"), Box::new(ours), &clock).await.err().unwrap();
        assert_eq!(fault.text, "what answers for mbx closed the connection during TLS");
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_given_up() {
        let ca = InnerCa::create("Contoso", NOW).unwrap();
        let front = own(&ca, "front", NOW);
        let (ours, _theirs) = duplex(1024);
        let fault = connect(&front, &member("mbx"), Box::new(ours), &Clock::fixed(NOW)).await.err().unwrap();
        assert_eq!(
            (fault.cause.code, fault.text.as_str()),
            ("INNER-TIMEOUT", "mbx did not finish TLS within 5 s")
        );
        let (_ours, theirs) = duplex(1024);
        let late = accept(&front, Box::new(theirs)).await.err().unwrap();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }
}
