//! The `tls-server-end-point` channel binding (RFC 5929 §4.1) of a certificate.

use ring::digest;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The hash of the certificate by the hash function of its own signature, SHA-256 where that is MD5 or SHA-1.
///
/// `None` where the RFC leaves it undefined (Ed25519 and other signatures without one hash) or the certificate cannot be
/// read: no binding is better than a wrong one.
pub fn binding(certificate_der: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(certificate_der).ok()?;
    let algorithm = match certificate.signature_algorithm.algorithm.to_id_string().as_str() {
        // md5, sha1 and sha256 with RSA; sha1 and sha256 with ECDSA.
        "1.2.840.113549.1.1.4" | "1.2.840.113549.1.1.5" | "1.2.840.113549.1.1.11" => &digest::SHA256,
        "1.2.840.10045.4.1" | "1.2.840.10045.4.3.2" => &digest::SHA256,
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => &digest::SHA384,
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => &digest::SHA512,
        _ => return None,
    };
    Some(digest::digest(algorithm, certificate_der).as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    #[test]
    fn ecdsa_with_sha256_uses_sha256() {
        let made = rcgen::generate_simple_self_signed(vec!["mail.example.net".into()]).unwrap();
        let der = made.cert.der();
        let expected = ring::digest::digest(&ring::digest::SHA256, der);
        assert_eq!(super::binding(der).unwrap(), expected.as_ref());
        assert_eq!(super::binding(b"no certificate"), None);
    }
}
