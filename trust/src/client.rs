//! Certificates of clients: may this one be used to sign in, and whose names are in it?
//!
//! That the client holds the key is proved by TLS. Names are believed only where one of the authorities that an
//! administrator named has signed the certificate itself; an intermediate authority has to be named too.

use crate::files::FileError;
use std::path::Path;
use waypost_base::Timestamp;
use x509_parser::prelude::*;

/// Authorities whose word about names counts.
#[derive(Clone, Debug, Default)]
pub struct ClientAuthorities {
    /// In DER.
    certificates: Vec<Vec<u8>>,
}

/// Why a certificate cannot be used, in words that its owner may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientFault {
    Unreadable,
    NotYet,
    Expired,
    /// Its extended key usage speaks of other things.
    NotForClients,
}

impl std::fmt::Display for ClientFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ClientFault::Unreadable => "the certificate cannot be read",
            ClientFault::NotYet => "the certificate is not yet valid",
            ClientFault::Expired => "the certificate has expired",
            ClientFault::NotForClients => "the certificate is not for clients",
        })
    }
}

/// Name of a user, in a SAN of Active Directory (szOID_NT_PRINCIPAL_NAME).
const PRINCIPAL_NAME: &str = "1.3.6.1.4.1.311.20.2.3";

/// Names that are read of one certificate.
const NAMES_MAX: usize = 32;

impl ClientAuthorities {
    /// Reads files in PEM, each with one certificate or several.
    pub fn load<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<ClientAuthorities, FileError> {
        let mut certificates = Vec::new();
        for path in files {
            let text = crate::files::read(path)?;
            for pem in
                Pem::iter_from_buffer(text.as_bytes()).flatten().filter(|pem| pem.label == "CERTIFICATE")
            {
                certificates.push(pem.contents);
            }
        }
        Ok(ClientAuthorities { certificates })
    }

    /// The mail addresses and principal names of a certificate that one of the authorities has signed; none of others.
    pub fn names(&self, der: &[u8], now: Timestamp) -> Result<Vec<String>, ClientFault> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| ClientFault::Unreadable)?;
        let at = now.0.div_euclid(1000);
        if at < certificate.validity().not_before.timestamp() {
            return Err(ClientFault::NotYet);
        }
        if at > certificate.validity().not_after.timestamp() {
            return Err(ClientFault::Expired);
        }
        if let Ok(Some(usage)) = certificate.extended_key_usage()
            && !(usage.value.any || usage.value.client_auth)
        {
            return Err(ClientFault::NotForClients);
        }
        if !self.certificates.iter().any(|ca| signed_by(&certificate, ca, at)) {
            return Ok(Vec::new());
        }
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
        Ok(names.iter().filter_map(name).take(NAMES_MAX).collect())
    }
}

fn signed_by(certificate: &X509Certificate<'_>, ca: &[u8], at: i64) -> bool {
    let Ok((_, ca)) = X509Certificate::from_der(ca) else { return false };
    let valid = (ca.validity().not_before.timestamp()..=ca.validity().not_after.timestamp()).contains(&at);
    let may = ca.basic_constraints().ok().flatten().is_some_and(|c| c.value.ca);
    valid
        && may
        && ca.subject() == certificate.issuer()
        && certificate.verify_signature(Some(ca.public_key())).is_ok()
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::RFC822Name(address) => Some((*address).to_owned()),
        GeneralName::OtherName(kind, value) if kind.to_id_string() == PRINCIPAL_NAME => {
            utf8_inside(value).map(str::to_owned)
        }
        _ => None,
    }
}

/// `[0] EXPLICIT UTF8String`, or the string alone, as parsers differ in how much they take off. Short lengths only.
fn utf8_inside(value: &[u8]) -> Option<&str> {
    let item = |tag: u8, bytes: &'_ [u8]| -> Option<usize> {
        let [first, len, ..] = bytes else { return None };
        (*first == tag && *len < 0x80).then_some(usize::from(*len))
    };
    let inner = match item(0xa0, value) {
        Some(len) => value.get(2..2 + len)?,
        None => value,
    };
    let len = item(0x0c, inner)?;
    std::str::from_utf8(inner.get(2..2 + len)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
    };

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn authority(name: &str) -> (Issuer<'static, KeyPair>, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let der = params.self_signed(&key).unwrap().der().to_vec();
        (Issuer::new(params, key), der)
    }

    fn client(issuer: &Issuer<'static, KeyPair>, usage: ExtendedKeyUsagePurpose) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let san = SanType::OtherName((
            vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3],
            rcgen::OtherNameValue::Utf8String("adele@corp.contoso.test".into()),
        ));
        let mail = SanType::Rfc822Name("adele@contoso.test".try_into().unwrap());
        params.subject_alt_names = vec![mail, san];
        params.extended_key_usages = vec![usage];
        params.signed_by(&key, issuer).unwrap().der().to_vec()
    }

    #[test]
    fn names_are_those_that_a_named_authority_has_signed() {
        let (ours, ca) = authority("ours");
        let (others, _) = authority("others");
        // The same name, and another key.
        let (pretender, _) = authority("ours");
        let trusted = ClientAuthorities { certificates: vec![ca] };
        let good = client(&ours, ExtendedKeyUsagePurpose::ClientAuth);
        assert_eq!(trusted.names(&good, NOW).unwrap(), ["adele@contoso.test", "adele@corp.contoso.test"]);
        for issuer in [&others, &pretender] {
            let foreign = client(issuer, ExtendedKeyUsagePurpose::ClientAuth);
            assert_eq!(trusted.names(&foreign, NOW), Ok(Vec::new()));
        }
        let server = client(&ours, ExtendedKeyUsagePurpose::ServerAuth);
        assert_eq!(trusted.names(&server, NOW), Err(ClientFault::NotForClients));
        assert_eq!(trusted.names(&good, Timestamp(0)), Err(ClientFault::NotYet));
        assert_eq!(trusted.names(&good, Timestamp(99_999_999_999_000)), Err(ClientFault::Expired));
        assert_eq!(trusted.names(b"nonsense", NOW), Err(ClientFault::Unreadable));
    }
}
