//! The certificates of one service, ready for handshakes: loaded, proved, and chosen from by what a client asks for.

use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ProducesTickets, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::{DistinguishedName, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use std::io;
use std::sync::Arc;
use waypost_base::Timestamp;
use waypost_trust::KeyedCertificate;
use waypost_trust::certificate::Facts;

/// What configurations of all certificates have in common.
#[derive(Clone)]
pub(super) struct Makings {
    pub provider: Arc<CryptoProvider>,
    /// Stateless tickets: a resumed session costs the server no memory between connections.
    pub ticketer: Arc<dyn ProducesTickets>,
    /// Clients are asked for a certificate; they need not have one.
    pub ask_clients: bool,
}

impl Makings {
    pub fn new(ask_clients: bool) -> io::Result<Makings> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let ticketer = rustls::crypto::ring::Ticketer::new().map_err(io::Error::other)?;
        Ok(Makings { provider, ticketer, ask_clients })
    }

    /// A configuration that shows one certificate, whatever is asked for.
    pub fn config(&self, key: Arc<CertifiedKey>, alpn: &[&[u8]]) -> io::Result<Arc<ServerConfig>> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(io::Error::other)?;
        let builder = if self.ask_clients {
            builder.with_client_cert_verifier(Arc::new(AnyClient(Arc::clone(&self.provider))))
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_cert_resolver(Arc::new(Fixed(key)));
        config.ticketer = Arc::clone(&self.ticketer);
        config.send_tls13_tickets = 1;
        config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

/// A certificate with its key, and what follows from it.
#[derive(Clone)]
pub(super) struct Pair {
    pub facts: Arc<Facts>,
    /// The chain as DER, leaf first, for questions to its authority.
    pub key: Arc<CertifiedKey>,
    /// Channel binding `tls-server-end-point`.
    pub end_point: Option<Vec<u8>>,
    pub config: Arc<ServerConfig>,
}

impl Pair {
    /// Reads a chain and its key, and proves that they belong together.
    pub fn load(chain: &[u8], key: &[u8], staple: Option<Vec<u8>>, makings: &Makings) -> io::Result<Pair> {
        let invalid = |e: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidData, e.to_string());
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(|e| invalid(&e))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| invalid(&e))?;
        let signer = makings.provider.key_provider.load_private_key(key).map_err(|e| invalid(&e))?;
        let mut certified = CertifiedKey::new(chain, signer);
        certified.keys_match().map_err(|e| invalid(&e))?;
        certified.ocsp = staple;
        let leaf = certified.cert.first().ok_or_else(|| invalid(&"no certificate in the file"))?;
        let facts = Arc::new(Facts::of_der(leaf).map_err(|e| invalid(&e))?);
        let end_point = waypost_trust::end_point::binding(leaf);
        let key = Arc::new(certified);
        let config = makings.config(Arc::clone(&key), &[])?;
        Ok(Pair { facts, key, end_point, config })
    }

    fn signs(&self, schemes: &[SignatureScheme]) -> bool {
        self.key.key.choose_scheme(schemes).is_some()
    }
}

/// A pair that was made here, taken as it is: the certificate of an ACME challenge has a critical extension that TLS
/// libraries do not know, as it should (RFC 8737 §3).
pub(super) fn certified(pair: &KeyedCertificate, makings: &Makings) -> io::Result<Arc<CertifiedKey>> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pair.chain_pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).map_err(io::Error::other)?;
    let signer = makings.provider.key_provider.load_private_key(key).map_err(io::Error::other)?;
    Ok(Arc::new(CertifiedKey::new(chain, signer)))
}

/// What one service has to show.
#[derive(Clone, Default)]
pub(super) struct Shelf {
    /// The bound ones that can be used, in the order of the settings.
    pub bound: Vec<Arc<Pair>>,
    /// The pair of the section tls, shown where nothing is bound, or nothing bound can be used.
    pub default: Option<Arc<Pair>>,
    /// X509CertificateName: chooses where several fit, or none.
    pub preferred: String,
}

impl Shelf {
    /// The certificate for a client: of those that hold the name it asks for and whose signatures it can check, the
    /// preferred one, then one in date, then one with the exact name, then the one that is good for longest.
    pub fn choose(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
        now: Timestamp,
    ) -> Option<Arc<Pair>> {
        let all = || self.bound.iter().chain(&self.default);
        let fits = |pair: &&Arc<Pair>| name.is_some_and(|n| pair.facts.covers(n));
        let rank = |pair: &&Arc<Pair>| {
            let exact = name.is_some_and(|n| pair.facts.names.iter().any(|own| own.eq_ignore_ascii_case(n)));
            (
                pair.signs(schemes),
                pair.facts.valid_at(now),
                !self.preferred.is_empty() && pair.facts.covers(&self.preferred),
                exact,
                pair.facts.not_after,
            )
        };
        if let Some(best) = all().filter(fits).max_by_key(rank) {
            return Some(Arc::clone(best));
        }
        // Nothing holds the name, or there is none: the first that is bound, unless another has the preferred name.
        let plain = |(place, pair): &(usize, &Arc<Pair>)| {
            let preferred = !self.preferred.is_empty() && pair.facts.covers(&self.preferred);
            (pair.signs(schemes), pair.facts.valid_at(now), preferred, std::cmp::Reverse(*place))
        };
        let among = if self.bound.is_empty() || self.bound.iter().all(|p| !p.signs(schemes)) {
            all().collect::<Vec<_>>()
        } else if self.preferred_default() {
            all().collect()
        } else {
            self.bound.iter().collect()
        };
        among.into_iter().enumerate().max_by_key(plain).map(|(_, pair)| Arc::clone(pair))
    }

    /// X509CertificateName points at the default pair and at nothing that is bound.
    fn preferred_default(&self) -> bool {
        let holds = |pair: &Arc<Pair>| pair.facts.covers(&self.preferred);
        !self.preferred.is_empty()
            && self.default.as_ref().is_some_and(holds)
            && !self.bound.iter().any(holds)
    }

    pub fn is_empty(&self) -> bool {
        self.bound.is_empty() && self.default.is_none()
    }
}

/// Shows one certificate.
#[derive(Debug)]
struct Fixed(Arc<CertifiedKey>);

impl ResolvesServerCert for Fixed {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Takes any certificate of a client whose key the client holds. Whose it is, and who issued it, is looked at by whoever
/// signs somebody in with it.
#[derive(Debug)]
struct AnyClient(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyClient {
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

    crate::tls::signatures_by!(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_trust::self_signed;

    const NOW: Timestamp = Timestamp(1_772_525_720_000);
    const ANY: &[SignatureScheme] = &[SignatureScheme::ECDSA_NISTP256_SHA256];

    fn pair(names: &[&str], days: i64) -> Arc<Pair> {
        let made = self_signed(names, days, NOW).unwrap();
        let makings = Makings::new(false).unwrap();
        Arc::new(Pair::load(made.chain_pem.as_bytes(), made.key_pem.as_bytes(), None, &makings).unwrap())
    }

    fn chosen(shelf: &Shelf, name: Option<&str>) -> String {
        shelf.choose(name, ANY, NOW).map(|p| p.facts.subject.clone()).unwrap_or_default()
    }

    #[test]
    fn by_the_name_that_is_asked_for() {
        let mut shelf = Shelf {
            bound: vec![pair(&["mail.a.test"], 90), pair(&["wild.b.test", "*.b.test"], 90)],
            default: Some(pair(&["localhost"], 90)),
            preferred: String::new(),
        };
        assert_eq!(chosen(&shelf, Some("mail.a.test")), "CN=mail.a.test");
        assert_eq!(chosen(&shelf, Some("imap.b.test")), "CN=wild.b.test");
        assert_eq!(chosen(&shelf, Some("localhost")), "CN=localhost");
        assert_eq!(chosen(&shelf, Some("other.test")), "CN=mail.a.test");
        assert_eq!(chosen(&shelf, None), "CN=mail.a.test");
        shelf.preferred = "imap.b.test".into();
        assert_eq!(chosen(&shelf, None), "CN=wild.b.test");
        assert_eq!(
            chosen(&shelf, Some("mail.a.test")),
            "CN=mail.a.test",
            "it only chooses where several fit"
        );
        shelf.preferred = "localhost".into();
        assert_eq!(chosen(&shelf, None), "CN=localhost");
        shelf.bound.clear();
        assert_eq!(chosen(&shelf, Some("mail.a.test")), "CN=localhost");
        assert!(Shelf::default().choose(None, ANY, NOW).is_none());
    }

    #[test]
    fn of_two_with_the_name_the_one_in_date() {
        let old = pair(&["mail.a.test"], 1);
        let shelf = Shelf { bound: vec![old, pair(&["mail.a.test", "new.a.test"], 90)], ..Shelf::default() };
        let later = NOW.plus_millis(2 * 24 * 60 * 60 * 1000);
        let found = shelf.choose(Some("mail.a.test"), ANY, later).unwrap();
        assert!(found.facts.covers("new.a.test"));
        let found = shelf.choose(None, ANY, later).unwrap();
        assert!(found.facts.covers("new.a.test"));
    }
}
