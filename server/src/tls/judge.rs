//! Whether clients would accept a chain: the verdict of a client's TLS library, with the certificate authorities that
//! this machine trusts.

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;
use std::time::Duration;
use waypost_admin::certificates::ChainJudge;
use waypost_base::Clock;
use waypost_trust::certificate::Facts;

/// Judges by the authorities of this machine at the time of the question; SSL_CERT_FILE and SSL_CERT_DIR are heeded.
pub fn chain_judge(clock: Clock) -> ChainJudge {
    Arc::new(move |chain_pem| judge(chain_pem, &clock))
}

fn judge(chain_pem: &str, clock: &Clock) -> Result<(), String> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain_pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|e| e.to_string())?;
    let (leaf, between) = chain.split_first().ok_or("there is no certificate")?;
    let facts = Facts::of_der(leaf).map_err(|e| e.to_string())?;
    let own = facts.names.first().ok_or("it holds no name")?;
    // Any name that it holds will do: names are looked at elsewhere.
    let name = ServerName::try_from(own.replacen("*.", "any.", 1)).map_err(|e| e.to_string())?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("this machine trusts no certificate authority".into());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|e| e.to_string())?;
    let seconds = u64::try_from(clock.now().0 / 1000).unwrap_or(0);
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    match verifier.verify_server_cert(leaf, between, &name, &[], now) {
        Ok(_) => Ok(()),
        Err(e) => Err(said(&e)),
    }
}

/// In words for people. A signature that does not belong to the authority of that name is as good as none: some machines
/// trust authorities that are called like a host.
pub fn said(error: &rustls::Error) -> String {
    use rustls::CertificateError as E;
    match error {
        rustls::Error::InvalidCertificate(
            E::UnknownIssuer | E::BadSignature | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
        ) => "no certificate authority that this machine trusts stands behind it, or certificates in between are missing".into(),
        other => other.to_string(),
    }
}
