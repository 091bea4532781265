//! Self-signed certificates, requests to a certificate authority (PKCS #10, RFC 2986), and the certificates that answer
//! ACME's TLS-ALPN-01 challenge (RFC 8737 §3).

use super::form::pem;
use super::key;
use crate::certificate::{KeyedCertificate, TrustError, new_key, set_validity};
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use waypost_base::Timestamp;

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// The key of a certificate to be made.
#[derive(Clone, Default)]
pub enum KeyKind {
    #[default]
    EcdsaP256,
    EcdsaP384,
    /// One that was made elsewhere, such as an RSA key, in PKCS #8.
    Given(Vec<u8>),
}

impl KeyKind {
    fn pair(&self) -> Result<KeyPair, TrustError> {
        match self {
            KeyKind::EcdsaP256 => new_key(),
            KeyKind::EcdsaP384 => Ok(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384)?),
            KeyKind::Given(pkcs8) => Ok(KeyPair::try_from(pkcs8.clone())?),
        }
    }
}

/// What a certificate is to say.
#[derive(Clone, Default)]
pub struct Wish {
    /// `CN=mail.contoso.test, O=Contoso`; empty for `CN=` and the first name.
    pub subject: String,
    /// DNS names and IP addresses, at least one.
    pub names: Vec<String>,
    pub key: KeyKind,
}

/// A certificate signed by its own key: it encrypts, and clients have to be told to trust it.
pub fn self_signed(wish: &Wish, days: i64, now: Timestamp) -> Result<KeyedCertificate, TrustError> {
    let key = wish.key.pair()?;
    let mut params = params(wish)?;
    set_validity(&mut params, now, days.clamp(1, 36_500) * DAY_MILLIS);
    let certificate = params.self_signed(&key)?;
    Ok(KeyedCertificate { chain_pem: certificate.pem(), key_pem: key::pkcs8_pem(key.serialized_der()) })
}

/// A request and its key, each in PEM.
#[derive(Clone)]
pub struct Request {
    pub csr_der: Vec<u8>,
    pub csr_pem: String,
    pub key_pem: String,
}

pub fn request(wish: &Wish) -> Result<Request, TrustError> {
    let key = wish.key.pair()?;
    let mut params = params(wish)?;
    // Who signs it says whether it is a CA and for how long it is good.
    params.is_ca = IsCa::NoCa;
    let csr = params.serialize_request(&key)?;
    let csr_der = csr.der().to_vec();
    let csr_pem = pem("CERTIFICATE REQUEST", &csr_der);
    Ok(Request { csr_der, csr_pem, key_pem: key::pkcs8_pem(key.serialized_der()) })
}

/// The certificate that answers the TLS-ALPN-01 challenge for a name: it holds the digest of the key authorisation.
pub fn challenge(name: &str, digest: &[u8], now: Timestamp) -> Result<KeyedCertificate, TrustError> {
    // Another length makes the maker of the extension panic.
    if digest.len() != 32 {
        return Err(TrustError::Malformed("the challenge's digest has not 32 bytes".into()));
    }
    let key = new_key()?;
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    set_validity(&mut params, now, 7 * DAY_MILLIS);
    let certificate = params.self_signed(&key)?;
    Ok(KeyedCertificate { chain_pem: certificate.pem(), key_pem: key.serialize_pem() })
}

fn params(wish: &Wish) -> Result<CertificateParams, TrustError> {
    let first = wish.names.first().ok_or_else(|| TrustError::BadName(String::new()))?;
    let mut params = CertificateParams::new(wish.names.clone())?;
    params.distinguished_name = if wish.subject.trim().is_empty() {
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, first.as_str());
        name
    } else {
        subject(&wish.subject)?
    };
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

/// A distinguished name as people write it (RFC 4514 §3): `CN=mail.contoso.test, O="Contoso, Inc.", C=AT`.
fn subject(text: &str) -> Result<DistinguishedName, TrustError> {
    let mut name = DistinguishedName::new();
    for part in parts(text) {
        let (kind, value) = part.split_once('=').ok_or_else(|| TrustError::BadName(text.to_owned()))?;
        let value = value.trim();
        let kind = match kind.trim().to_ascii_uppercase().as_str() {
            "CN" => DnType::CommonName,
            "O" => DnType::OrganizationName,
            "OU" => DnType::OrganizationalUnitName,
            "L" => DnType::LocalityName,
            "S" | "ST" => DnType::StateOrProvinceName,
            "C" => DnType::CountryName,
            _ => return Err(TrustError::BadName(part)),
        };
        if value.is_empty() || (kind == DnType::CountryName && value.len() != 2) {
            return Err(TrustError::BadName(part.clone()));
        }
        name.push(kind, DnValue::Utf8String(value.to_owned()));
    }
    Ok(name)
}

/// Splits at commas that stand neither behind a backslash nor between quotes; takes both away.
fn parts(text: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        match c {
            _ if escaped => {
                escaped = false;
                out.last_mut().into_iter().for_each(|part| part.push(c));
            }
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => out.push(String::new()),
            _ => out.last_mut().into_iter().for_each(|part| part.push(c)),
        }
    }
    out.retain(|part| !part.trim().is_empty());
    out
}

/// The common name of a subject as people write it.
pub fn common_name(text: &str) -> Option<String> {
    parts(text).iter().find_map(|part| {
        let (kind, value) = part.split_once('=')?;
        kind.trim().eq_ignore_ascii_case("CN").then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::prelude::{FromDer, X509CertificationRequest};

    const NOW: Timestamp = Timestamp(1_772_525_720_000);

    #[test]
    fn says_what_was_wished() {
        let wish = Wish {
            subject: r#"CN=mail.contoso.test, O="Contoso, Inc.", L=Wien\, Mitte, C=AT"#.into(),
            names: vec!["mail.contoso.test".into(), "192.0.2.1".into()],
            key: KeyKind::EcdsaP384,
        };
        let made = self_signed(&wish, 365, NOW).unwrap();
        let facts = made.check().unwrap();
        assert_eq!(facts.names, wish.names);
        assert_eq!(facts.key, "ECDSA 384");
        assert!(
            facts.subject.contains("Contoso, Inc.") && facts.subject.contains("Wien, Mitte"),
            "{}",
            facts.subject
        );
        assert_eq!(common_name(&wish.subject).as_deref(), Some("mail.contoso.test"));
        for bad in ["mail", "CN=", "X=1", "C=Austria"] {
            let wish = Wish { subject: bad.into(), ..wish.clone() };
            assert!(self_signed(&wish, 1, NOW).is_err(), "{bad}");
        }
        assert!(self_signed(&Wish::default(), 1, NOW).is_err());
    }

    #[test]
    fn requests_and_challenges() {
        let wish = Wish { names: vec!["mail.contoso.test".into()], ..Wish::default() };
        let made = request(&wish).unwrap();
        let (_, csr) = X509CertificationRequest::from_der(&made.csr_der).unwrap();
        csr.verify_signature().unwrap();
        assert_eq!(csr.certification_request_info.subject.to_string(), "CN=mail.contoso.test");
        let answer = challenge("mail.contoso.test", &[7; 32], NOW).unwrap();
        assert!(answer.check().unwrap().covers("mail.contoso.test"));
        assert!(challenge("mail.contoso.test", &[7; 31], NOW).is_err());
    }
}
