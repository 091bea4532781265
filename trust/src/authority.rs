//! The inner CA: one for the organisation, made once. Every server holds a short-lived certificate of it, in the name
//! of its server id, and renews it by itself. Host names, public certificates and DNS play no part in inner trust.

use crate::certificate::{Facts, KeyedCertificate, TrustError, chain, new_key, set_validity};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use std::fmt;
use thiserror::Error;
use waypost_base::Timestamp;
use x509_parser::prelude::{FromDer, X509Certificate};

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// Life of the CA itself: longer than any server is likely to live, since changing it means touching every server.
pub const CA_DAYS: i64 = 20 * 365;

/// Life of a server's inner certificate. Short, because there is no revocation: a lost key is worthless in a month.
pub const SERVER_DAYS: i64 = 30;

/// Renewed when less than this is left, so that a server may be off for a week and a half and still be let in.
pub const RENEW_DAYS_LEFT: i64 = 20;

/// The domain under which server ids are DNS names, since TLS libraries compare DNS names. `internal` is reserved for
/// private use by ICANN, so it can be nobody's public name.
pub const INNER_DOMAIN: &str = "waypost.internal";

/// The name of a server within the organisation: 1 to 40 of `a-z`, `0-9` and `-`, as a DNS label has them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(String);

impl ServerId {
    pub fn parse(text: &str) -> Result<ServerId, TrustError> {
        let text = text.to_ascii_lowercase();
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fits = (1..=40).contains(&text.len()) && text.bytes().all(plain);
        if fits && !text.starts_with('-') && !text.ends_with('-') {
            Ok(ServerId(text))
        } else {
            Err(TrustError::BadName(text))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name that TLS clients of inner legs ask for and verify.
    pub fn dns_name(&self) -> String {
        format!("{}.{INNER_DOMAIN}", self.0)
    }

    /// The same as a URI, which cannot be taken for a host.
    pub fn uri(&self) -> String {
        format!("waypost://server/{}", self.0)
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerId({})", self.0)
    }
}

/// The CA with its key.
pub struct InnerCa {
    certificate_pem: String,
    certificate_der: Vec<u8>,
    key: KeyPair,
}

impl fmt::Debug for InnerCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InnerCa")
    }
}

/// Why a certificate is not one of ours. Each says something else about what went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VerifyError {
    #[error("not a certificate: {0}")]
    Malformed(String),
    #[error("signed by {0:?}, not by this organisation's inner CA")]
    OtherIssuer(String),
    #[error("the signature is not by this organisation's inner CA")]
    Signature,
    #[error("not valid before {0}")]
    NotYet(Timestamp),
    #[error("expired at {0}")]
    Expired(Timestamp),
    #[error("it names no server")]
    NoServer,
}

impl InnerCa {
    /// Makes a new CA. `organisation` is for people who look at certificates.
    pub fn create(organisation: &str, now: Timestamp) -> Result<InnerCa, TrustError> {
        let key = new_key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, organisation);
        params.distinguished_name.push(DnType::CommonName, "Waypost inner CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, now, CA_DAYS * DAY_MILLIS);
        let certificate = params.self_signed(&key)?;
        Ok(InnerCa { certificate_pem: certificate.pem(), certificate_der: certificate.der().to_vec(), key })
    }

    /// Reads what [`certificate_pem`](InnerCa::certificate_pem) and [`key_pem`](InnerCa::key_pem) gave.
    pub fn load(certificate_pem: &str, key_pem: &str) -> Result<InnerCa, TrustError> {
        let both = KeyedCertificate { chain_pem: certificate_pem.to_owned(), key_pem: key_pem.to_owned() };
        both.check()?;
        let certificate_der = chain(certificate_pem)?.remove(0);
        if !Facts::of_der(&certificate_der)?.is_ca {
            return Err(TrustError::NotCa);
        }
        let key = KeyPair::from_pem(key_pem)?;
        Ok(InnerCa { certificate_pem: certificate_pem.to_owned(), certificate_der, key })
    }

    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate_der
    }

    /// The private key, in PKCS #8. For [`files::write_private`](crate::files::write_private) only.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// A certificate for a server, with a new key, good for [`SERVER_DAYS`]; as a client's and as a server's.
    pub fn issue(&self, server: &ServerId, now: Timestamp) -> Result<KeyedCertificate, TrustError> {
        let key = new_key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, server.as_str());
        let ia5 = |text: String| text.try_into().map_err(|_| TrustError::BadName(server.to_string()));
        params.subject_alt_names =
            vec![SanType::DnsName(ia5(server.dns_name())?), SanType::URI(ia5(server.uri())?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, now, SERVER_DAYS * DAY_MILLIS);
        let der = self.certificate_der.as_slice().into();
        let issuer = Issuer::from_ca_cert_der(&der, &self.key)?;
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(KeyedCertificate { chain_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// Whether a server's inner certificate should be replaced now: too little of its life is left, or it is not ours.
    pub fn should_renew(&self, chain_pem: &str, now: Timestamp) -> bool {
        let Ok(facts) = Facts::of_pem(chain_pem) else { return true };
        let left = facts.not_after.since(now);
        let der = chain(chain_pem).map(|mut c| c.remove(0)).unwrap_or_default();
        left < RENEW_DAYS_LEFT * DAY_MILLIS || self.verify(&der, now).is_err()
    }

    /// Which server this certificate (DER) is of. Only certificates that this CA signed, and that are valid now, are of any.
    pub fn verify(&self, der: &[u8], now: Timestamp) -> Result<ServerId, VerifyError> {
        let malformed = |e: &dyn fmt::Display| VerifyError::Malformed(e.to_string());
        let (_, own) = X509Certificate::from_der(&self.certificate_der).map_err(|e| malformed(&e))?;
        let (rest, theirs) = X509Certificate::from_der(der).map_err(|e| malformed(&e))?;
        if !rest.is_empty() {
            return Err(VerifyError::Malformed("bytes after the certificate".into()));
        }
        if theirs.issuer().as_raw() != own.subject().as_raw() {
            return Err(VerifyError::OtherIssuer(theirs.issuer().to_string()));
        }
        theirs.verify_signature(Some(own.public_key())).map_err(|_| VerifyError::Signature)?;
        let facts = Facts::of_der(der).map_err(|e| malformed(&e))?;
        if now < facts.not_before {
            return Err(VerifyError::NotYet(facts.not_before));
        }
        if now > facts.not_after {
            return Err(VerifyError::Expired(facts.not_after));
        }
        // The CA's own certificate is signed by it too, but it is no server's.
        let uri = facts.uris.iter().find_map(|u| u.strip_prefix("waypost://server/"));
        uri.and_then(|id| ServerId::parse(id).ok()).filter(|_| !facts.is_ca).ok_or(VerifyError::NoServer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_772_525_720_000);

    fn der(certificate: &KeyedCertificate) -> Vec<u8> {
        chain(&certificate.chain_pem).unwrap().remove(0)
    }

    #[test]
    fn issues_and_verifies() {
        let ca = InnerCa::create("Contoso", NOW).unwrap();
        let ca = InnerCa::load(ca.certificate_pem(), &ca.key_pem()).unwrap();
        let id = ServerId::parse("MBX01").unwrap();
        let issued = ca.issue(&id, NOW).unwrap();
        issued.check().unwrap();
        assert_eq!(ca.verify(&der(&issued), NOW), Ok(id));
        let facts = Facts::of_pem(&issued.chain_pem).unwrap();
        assert_eq!(facts.names, ["mbx01.waypost.internal"]);
        assert_eq!(facts.uris, ["waypost://server/mbx01"]);
        assert!(!ca.should_renew(&issued.chain_pem, NOW));
        assert!(ca.should_renew(&issued.chain_pem, NOW.plus_millis(11 * DAY_MILLIS)));
        assert!(ca.should_renew("nonsense", NOW));
    }

    #[test]
    fn each_refusal_says_why() {
        let ca = InnerCa::create("Contoso", NOW).unwrap();
        let twin = InnerCa::create("Contoso", NOW).unwrap();
        let other = InnerCa::create("Fabrikam", NOW).unwrap();
        let id = ServerId::parse("mbx01").unwrap();
        let issued = der(&ca.issue(&id, NOW).unwrap());
        assert_eq!(twin.verify(&issued, NOW), Err(VerifyError::Signature));
        assert!(matches!(other.verify(&issued, NOW), Err(VerifyError::OtherIssuer(_))));
        let late = NOW.plus_millis((SERVER_DAYS + 1) * DAY_MILLIS);
        assert!(matches!(ca.verify(&issued, late), Err(VerifyError::Expired(_))));
        let early = NOW.plus_millis(-DAY_MILLIS);
        assert!(matches!(ca.verify(&issued, early), Err(VerifyError::NotYet(_))));
        assert_eq!(ca.verify(ca.certificate_der(), NOW), Err(VerifyError::NoServer));
        assert!(matches!(ca.verify(b"x", NOW), Err(VerifyError::Malformed(_))));
        let public = crate::self_signed(&["mail.contoso.test"], 90, NOW).unwrap();
        assert!(matches!(ca.verify(&der(&public), NOW), Err(VerifyError::OtherIssuer(_))));
        assert!(matches!(InnerCa::load(&public.chain_pem, &public.key_pem), Err(TrustError::NotCa)));
        assert!(matches!(InnerCa::load(ca.certificate_pem(), &twin.key_pem()), Err(TrustError::KeyMismatch)));
    }

    #[test]
    fn server_ids_are_labels() {
        for bad in ["", "-a", "a-", "a.b", "a_b", "ä", &"a".repeat(41)] {
            assert!(ServerId::parse(bad).is_err(), "{bad}");
        }
    }
}
