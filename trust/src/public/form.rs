//! The forms in which certificates travel: PEM, one in DER, and PKCS #7 bundles (RFC 5652 §5, without signatures).

use super::der::{self, Item};
use crate::certificate::{Facts, TrustError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::{PemObject, SectionKind};

/// Certificates of one import. Bundles of a CA's whole history have a dozen.
const CERTIFICATES_MAX: usize = 64;

const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];

/// A PEM section (RFC 7468 §3): lines of 64.
pub fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// A chain in PEM, in this order.
pub fn chain_pem(chain: &[Vec<u8>]) -> String {
    chain.iter().map(|der| pem("CERTIFICATE", der)).collect()
}

/// What came with an import: certificates in DER, in the order of the file, and a private key in PKCS #8, if there was
/// one.
#[derive(Default)]
pub struct Found {
    pub certificates: Vec<Vec<u8>>,
    pub key: Option<Vec<u8>>,
}

/// Reads PEM (certificates, PKCS #7, a private key beside them), a certificate in DER, or PKCS #7 in DER.
pub fn read(bytes: &[u8]) -> Result<Found, TrustError> {
    let mut found = Found::default();
    if bytes.windows(11).any(|w| w == b"-----BEGIN ") {
        read_pem(bytes, &mut found)?;
    } else if let Some(certificates) = pkcs7(bytes) {
        found.certificates = certificates;
    } else {
        Facts::of_der(bytes)?;
        found.certificates.push(bytes.to_vec());
    }
    if found.certificates.len() > CERTIFICATES_MAX {
        return Err(TrustError::Malformed(format!("more than {CERTIFICATES_MAX} certificates")));
    }
    if found.certificates.is_empty() {
        return Err(TrustError::NoCertificate);
    }
    for der in &found.certificates {
        Facts::of_der(der)?;
    }
    Ok(found)
}

fn read_pem(bytes: &[u8], found: &mut Found) -> Result<(), TrustError> {
    let text = String::from_utf8_lossy(bytes);
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
        let (kind, der) = section.map_err(|e| TrustError::Pem(e.to_string()))?;
        match kind {
            SectionKind::Certificate => found.certificates.push(der),
            SectionKind::PrivateKey => found.key = Some(der),
            SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                found.key = Some(super::key::pkcs8(&text)?);
            }
            _ => {}
        }
    }
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") {
        found.key = Some(super::key::pkcs8(&text)?);
    }
    // The reader of PEM sections leaves out what it has no name for.
    for label in ["PKCS7", "CMS"] {
        let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
        let inner = text.split_once(begin.as_str()).and_then(|(_, rest)| rest.split_once(end.as_str()));
        let Some((inner, _)) = inner else { continue };
        let packed: String = inner.split_whitespace().collect();
        let der = STANDARD.decode(packed).map_err(|e| TrustError::Pem(e.to_string()))?;
        let more = pkcs7(&der).ok_or_else(|| TrustError::Malformed("not a PKCS #7 bundle".into()))?;
        found.certificates.extend(more);
    }
    Ok(())
}

/// The certificates of a PKCS #7 bundle; `None` where it is none.
fn pkcs7(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut outer = Item::only(bytes)?.of(der::SEQUENCE)?.items();
    let kind = outer.grab(der::OID)?;
    if kind.content != SIGNED_DATA {
        return None;
    }
    let signed = outer.grab(0xa0)?.items().next()?.of(der::SEQUENCE)?;
    let certificates = signed.items().find(|i| i.tag == 0xa0)?;
    let all = certificates.items().filter(|i| i.tag == der::SEQUENCE);
    Some(all.map(|i| i.whole.to_vec()).collect())
}

/// Certificates as a chain: `leaf` first, then whoever issued the one before. What belongs to no link is left out, and
/// so is a root behind others, which clients have or do not want.
pub fn in_order(leaf: usize, certificates: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let facts: Vec<Option<Facts>> = certificates.iter().map(|der| Facts::of_der(der).ok()).collect();
    let mut chain = Vec::new();
    let mut at = Some(leaf);
    let mut used = vec![false; certificates.len()];
    while let Some(index) = at {
        let (Some(der), Some(Some(own))) = (certificates.get(index), facts.get(index)) else { break };
        used[index] = true;
        if own.self_signed && !chain.is_empty() {
            break;
        }
        chain.push(der.clone());
        let issued_by = |n: &usize| {
            let other = facts.get(*n).and_then(Option::as_ref);
            !used.get(*n).copied().unwrap_or(true)
                && other.is_some_and(|o| o.subject == own.issuer && o.is_ca)
        };
        at = if own.self_signed { None } else { (0..certificates.len()).find(issued_by) };
    }
    chain
}

/// The certificate that none of the others was issued by: a server's own.
pub fn leaf_of(certificates: &[Vec<u8>]) -> usize {
    let facts: Vec<Facts> = certificates.iter().filter_map(|der| Facts::of_der(der).ok()).collect();
    facts.iter().position(|f| !f.is_ca).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::{InnerCa, ServerId};
    use crate::certificate::chain;
    use waypost_base::Timestamp;

    const NOW: Timestamp = Timestamp(1_772_525_720_000);

    #[test]
    fn bundles_in_any_form() {
        let ca = InnerCa::create("Contoso", NOW).unwrap();
        let issued = ca.issue(&ServerId::parse("a").unwrap(), NOW).unwrap();
        let leaf = chain(&issued.chain_pem).unwrap().remove(0);
        let root = ca.certificate_der().to_vec();
        let text = format!("{}{}{}", pem("CERTIFICATE", &root), issued.key_pem, pem("CERTIFICATE", &leaf));
        let found = read(text.as_bytes()).unwrap();
        assert_eq!(found.certificates, [root.clone(), leaf.clone()]);
        assert_eq!(found.key.unwrap(), super::super::key::pkcs8(&issued.key_pem).unwrap());
        assert_eq!(leaf_of(&found.certificates), 1);
        assert_eq!(in_order(1, &found.certificates), std::slice::from_ref(&leaf), "the root stays at home");
        assert_eq!(read(&leaf).unwrap().certificates, std::slice::from_ref(&leaf));

        // SignedData without signers, as `openssl crl2pkcs7 -nocrl` makes it.
        let both = [root.clone(), leaf.clone()].concat();
        let data = der::item(der::OID, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01]);
        let signed = der::sequence(&[
            der::item(der::INTEGER, &[1]),
            der::item(0x31, &[]),
            der::sequence(&[data]),
            der::item(0xa0, &both),
            der::item(0x31, &[]),
        ]);
        let bundle = der::sequence(&[der::item(der::OID, SIGNED_DATA), der::item(0xa0, &signed)]);
        assert_eq!(read(&bundle).unwrap().certificates, [root.clone(), leaf.clone()]);
        assert_eq!(read(pem("PKCS7", &bundle).as_bytes()).unwrap().certificates, [root, leaf]);
        assert!(read(b"nothing").is_err());
        assert!(matches!(read(issued.key_pem.as_bytes()), Err(TrustError::NoCertificate)));
    }
}
