//! Certificates as values: a chain with its key, facts for people and for checks, and self-signed ones to begin with.

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use ring::digest;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;
use thiserror::Error;
use waypost_base::Timestamp;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};
use x509_parser::public_key::PublicKey;

/// Certificates of a chain that are read; real ones have two to four.
const CHAIN_MAX: usize = 16;

/// A clock may be this far behind ours and still find a fresh certificate valid.
pub(crate) const BACKDATE_MILLIS: i64 = 60 * 60 * 1000;

/// id-ad-ocsp (RFC 5280 §4.2.2.1).
const OCSP: &str = "1.3.6.1.5.5.7.48.1";
/// id-pe-tlsfeature (RFC 7633 §6); the only feature that it is used for is the stapled answer.
const TLS_FEATURE: &str = "1.3.6.1.5.5.7.1.24";

#[derive(Debug, Error)]
pub enum TrustError {
    #[error("no certificate in the PEM text")]
    NoCertificate,
    #[error("not readable as PEM: {0}")]
    Pem(String),
    #[error("not a certificate: {0}")]
    Malformed(String),
    #[error("the private key belongs to another certificate")]
    KeyMismatch,
    #[error("the certificate is not a CA's")]
    NotCa,
    #[error("{0:?} cannot be a name in a certificate")]
    BadName(String),
    #[error("{0}")]
    Make(#[from] rcgen::Error),
}

/// A chain in PEM, the server's own certificate first, and the private key that belongs to it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyedCertificate {
    pub chain_pem: String,
    pub key_pem: String,
}

impl fmt::Debug for KeyedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedCertificate").field("chain_pem", &self.chain_pem).finish_non_exhaustive()
    }
}

impl KeyedCertificate {
    /// Whether the key belongs to the first certificate; gives the facts about that one.
    pub fn check(&self) -> Result<Facts, TrustError> {
        let first = chain(&self.chain_pem)?.remove(0);
        let key = crate::public::key::key_pair(&self.key_pem)?;
        let (_, certificate) =
            X509Certificate::from_der(&first).map_err(|e| TrustError::Malformed(e.to_string()))?;
        // Only the key's own bits are compared: RSA keys are written with differing algorithm parameters.
        let theirs: &[u8] = certificate.public_key().subject_public_key.data.as_ref();
        if theirs != key.der_bytes() {
            return Err(TrustError::KeyMismatch);
        }
        Facts::of_der(&first)
    }
}

/// What a certificate says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub subject: String,
    pub issuer: String,
    /// DNS names and IP addresses of the subjectAltName, as written.
    pub names: Vec<String>,
    pub uris: Vec<String>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub serial: String,
    /// SHA-256 of the DER form, upper-case hexadecimal.
    pub fingerprint: String,
    /// SHA-1 of the same: what Exchange and Windows call the thumbprint.
    pub thumbprint: String,
    /// Such as `ECDSA 256` or `RSA 2048`.
    pub key: String,
    /// Bits of the public key; 0 where the kind is not known.
    pub key_bits: usize,
    /// Such as `sha256RSA` or `sha256ECDSA`, as Windows says it; else the identifier.
    pub signature: String,
    /// Extended key usages, by name or identifier.
    pub usages: Vec<String>,
    /// Subject key identifier, upper-case hexadecimal; may be empty.
    pub key_identifier: String,
    pub version: u32,
    /// Where to ask for its revocation state (OCSP), `http://…`.
    pub ocsp: Vec<String>,
    /// It promises that servers which show it staple an OCSP answer (RFC 7633).
    pub must_staple: bool,
    pub is_ca: bool,
    pub self_signed: bool,
}

impl Facts {
    /// About the first certificate in a PEM text.
    pub fn of_pem(pem: &str) -> Result<Facts, TrustError> {
        Facts::of_der(&chain(pem)?.remove(0))
    }

    pub fn of_der(der: &[u8]) -> Result<Facts, TrustError> {
        let malformed = |e: &dyn fmt::Display| TrustError::Malformed(e.to_string());
        let (_, certificate) = X509Certificate::from_der(der).map_err(|e| malformed(&e))?;
        let mut names = Vec::new();
        let mut uris = Vec::new();
        let alternative = certificate.subject_alternative_name().map_err(|e| malformed(&e))?;
        for name in alternative.iter().flat_map(|a| &a.value.general_names) {
            match name {
                GeneralName::DNSName(name) => names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => names.extend(ip(bytes).map(|ip| ip.to_string())),
                GeneralName::URI(uri) => uris.push((*uri).to_owned()),
                _ => {}
            }
        }
        let (kind, key_bits) = match certificate.public_key().parsed() {
            Ok(PublicKey::RSA(rsa)) => ("RSA", rsa.key_size()),
            Ok(PublicKey::EC(point)) => ("ECDSA", point.key_size()),
            _ => ("other", 0),
        };
        let more = more_of(&certificate);
        let seconds = |t: x509_parser::time::ASN1Time| Timestamp::from_seconds(t.timestamp());
        Ok(Facts {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            names,
            uris,
            not_before: seconds(certificate.validity().not_before),
            not_after: seconds(certificate.validity().not_after),
            serial: certificate.raw_serial_as_string().to_uppercase().replace(':', ""),
            fingerprint: hex(digest::digest(&digest::SHA256, der).as_ref()),
            thumbprint: fingerprint_sha1(der),
            key: if key_bits > 0 { format!("{kind} {key_bits}") } else { kind.to_owned() },
            key_bits,
            signature: signature_name(&certificate),
            usages: more.usages,
            key_identifier: more.key_identifier,
            version: certificate.version().0.saturating_add(1),
            ocsp: more.ocsp,
            must_staple: more.must_staple,
            is_ca: certificate.is_ca(),
            self_signed: certificate.subject().as_raw() == certificate.issuer().as_raw(),
        })
    }

    /// Whether a client that asked for `name` accepts it: RFC 6125 §6.4, the wildcard being a whole left-most label.
    pub fn covers(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        if let Ok(wanted) = name.parse::<IpAddr>() {
            return self.names.iter().any(|n| n.parse() == Ok(wanted));
        }
        self.names.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(parent) => name
                .split_once('.')
                .is_some_and(|(first, rest)| !first.is_empty() && rest.eq_ignore_ascii_case(parent)),
            None => pattern.eq_ignore_ascii_case(name),
        })
    }

    pub fn valid_at(&self, now: Timestamp) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }
}

/// What stands in extensions that not every certificate has.
#[derive(Default)]
struct More {
    usages: Vec<String>,
    key_identifier: String,
    ocsp: Vec<String>,
    must_staple: bool,
}

fn more_of(certificate: &X509Certificate<'_>) -> More {
    let mut more = More::default();
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::ExtendedKeyUsage(usage) => {
                let named = [
                    (usage.any, "Any"),
                    (usage.server_auth, "Server Authentication"),
                    (usage.client_auth, "Client Authentication"),
                    (usage.email_protection, "Secure Email"),
                    (usage.ocsp_signing, "OCSP Signing"),
                ];
                more.usages.extend(named.iter().filter(|(on, _)| *on).map(|(_, name)| (*name).to_owned()));
                more.usages.extend(usage.other.iter().map(|oid| oid.to_id_string()));
            }
            ParsedExtension::SubjectKeyIdentifier(id) => more.key_identifier = hex(id.0),
            ParsedExtension::AuthorityInfoAccess(access) => {
                for at in &access.accessdescs {
                    if let (OCSP, GeneralName::URI(uri)) =
                        (at.access_method.to_id_string().as_str(), &at.access_location)
                    {
                        more.ocsp.push((*uri).to_owned());
                    }
                }
            }
            _ => more.must_staple |= extension.oid.to_id_string() == TLS_FEATURE,
        }
    }
    more
}

fn signature_name(certificate: &X509Certificate<'_>) -> String {
    let oid = certificate.signature_algorithm.algorithm.to_id_string();
    let name = match oid.as_str() {
        "1.2.840.113549.1.1.4" => "md5RSA",
        "1.2.840.113549.1.1.5" => "sha1RSA",
        "1.2.840.113549.1.1.10" => "RSASSA-PSS",
        "1.2.840.113549.1.1.11" => "sha256RSA",
        "1.2.840.113549.1.1.12" => "sha384RSA",
        "1.2.840.113549.1.1.13" => "sha512RSA",
        "1.2.840.10045.4.1" => "sha1ECDSA",
        "1.2.840.10045.4.3.2" => "sha256ECDSA",
        "1.2.840.10045.4.3.3" => "sha384ECDSA",
        "1.2.840.10045.4.3.4" => "sha512ECDSA",
        "1.3.101.112" => "Ed25519",
        _ => return oid,
    };
    name.to_owned()
}

/// A certificate for `names` (DNS names or IP addresses), ECDSA P-256, signed by itself: it encrypts, and clients have
/// to be told to trust it.
pub fn self_signed(names: &[&str], days: i64, now: Timestamp) -> Result<KeyedCertificate, TrustError> {
    let first = names.first().ok_or_else(|| TrustError::BadName(String::new()))?;
    let key = new_key()?;
    let owned: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let mut params = CertificateParams::new(owned)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, *first);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    set_validity(&mut params, now, days.clamp(1, 36_500) * 24 * 60 * 60 * 1000);
    let certificate = params.self_signed(&key)?;
    Ok(KeyedCertificate { chain_pem: certificate.pem(), key_pem: key.serialize_pem() })
}

pub(crate) fn new_key() -> Result<KeyPair, TrustError> {
    Ok(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?)
}

/// Sets from when to when a certificate is good. The year is kept within four digits.
pub(crate) fn set_validity(params: &mut CertificateParams, now: Timestamp, millis: i64) {
    let last = 253_402_214_400_000;
    let moment = |at: Timestamp| {
        let millis = at.0.clamp(0, last).unsigned_abs();
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(millis / 1000)
    };
    params.not_before = moment(now.plus_millis(-BACKDATE_MILLIS));
    params.not_after = moment(now.plus_millis(millis));
}

/// The DER forms of all certificates in a PEM text; at least one.
pub(crate) fn chain(pem: &str) -> Result<Vec<Vec<u8>>, TrustError> {
    let mut out = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()).take(CHAIN_MAX) {
        out.push(certificate.map_err(|e| TrustError::Pem(e.to_string()))?.to_vec());
    }
    if out.is_empty() { Err(TrustError::NoCertificate) } else { Ok(out) }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// SHA-1 in upper-case hexadecimal: a thumbprint.
pub(crate) fn fingerprint_sha1(der: &[u8]) -> String {
    hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, der).as_ref())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_772_525_720_000);

    #[test]
    fn self_signed_facts() {
        let made =
            self_signed(&["mail.contoso.test", "*.contoso.test", "127.0.0.1", "::1"], 90, NOW).unwrap();
        let facts = made.check().unwrap();
        assert_eq!(facts.names, ["mail.contoso.test", "*.contoso.test", "127.0.0.1", "::1"]);
        assert_eq!(facts.subject, "CN=mail.contoso.test");
        assert_eq!(facts.key, "ECDSA 256");
        assert!(facts.self_signed && !facts.is_ca);
        assert_eq!((facts.fingerprint.len(), facts.thumbprint.len()), (64, 40));
        assert!(facts.valid_at(NOW));
        assert!(!facts.valid_at(NOW.plus_millis(91 * 24 * 60 * 60 * 1000)));
        for (name, covered) in [
            ("MAIL.contoso.test", true),
            ("imap.contoso.test.", true),
            ("a.b.contoso.test", false),
            ("contoso.test", false),
            ("127.0.0.1", true),
            ("0:0:0:0:0:0:0:1", true),
            ("127.0.0.2", false),
        ] {
            assert_eq!(facts.covers(name), covered, "{name}");
        }
    }

    #[test]
    fn key_of_another() {
        let a = self_signed(&["a.test"], 1, NOW).unwrap();
        let b = self_signed(&["b.test"], 1, NOW).unwrap();
        let mixed = KeyedCertificate { chain_pem: a.chain_pem.clone(), key_pem: b.key_pem };
        assert!(matches!(mixed.check(), Err(TrustError::KeyMismatch)));
        assert!(matches!(Facts::of_pem("nothing"), Err(TrustError::NoCertificate)));
        assert!(matches!(self_signed(&[], 1, NOW), Err(TrustError::BadName(_))));
        assert!(!format!("{mixed:?}").contains("PRIVATE"));
    }
}
