//! The state of a certificate as its authority says it (OCSP, RFC 6960): the question as bytes, and the answer looked at
//! until nothing is left to doubt. Fetching, keeping and stapling are `server`'s.

use super::der::{self, Item, Reader};
use ring::digest;
use thiserror::Error;
use waypost_base::Timestamp;
use waypost_base::time::days_from_civil;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::AlgorithmIdentifier;

/// Bytes of an answer; real ones have 0.5 to 3 KB.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Clocks of certificate authorities may be ahead of ours by so much.
const SKEW_MILLIS: i64 = 5 * 60 * 1000;
/// An answer that does not say until when it holds is not used for longer.
const NO_NEXT_MILLIS: i64 = 24 * 60 * 60 * 1000;

const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

/// What the authority says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Good,
    Revoked(Timestamp),
    Unknown,
}

/// An answer that was proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub state: State,
    pub this_update: Timestamp,
    /// It may be shown until then.
    pub next_update: Timestamp,
}

impl Answer {
    /// When to ask again: at half of its life.
    pub fn refresh_at(&self) -> Timestamp {
        self.this_update.plus_millis(self.next_update.since(self.this_update) / 2)
    }
}

/// Why an answer is not used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OcspError {
    #[error("not an OCSP answer")]
    Malformed,
    #[error("the certificate or its issuer cannot be read")]
    Certificate,
    #[error("the responder says {0}")]
    Refused(&'static str),
    #[error("the answer is about another certificate")]
    Other,
    #[error("the answer is signed by nobody whom the issuer has charged with it")]
    Signer,
    #[error("the answer's signature is wrong")]
    Signature,
    #[error("the answer holds from {0} on")]
    NotYet(Timestamp),
    #[error("the answer held until {0}")]
    Old(Timestamp),
}

/// Which certificate is meant (RFC 6960 §4.1.1): hashes of its issuer's name and key, and its serial number.
struct CertId {
    name: [u8; 20],
    key: [u8; 20],
    serial: Vec<u8>,
}

impl CertId {
    fn of(leaf: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> CertId {
        CertId {
            name: sha1(leaf.issuer().as_raw()),
            key: sha1(&issuer.public_key().subject_public_key.data),
            serial: leaf.tbs_certificate.raw_serial().to_vec(),
        }
    }

    fn write(&self) -> Vec<u8> {
        let algorithm = der::sequence(&[der::item(der::OID, SHA1), der::item(der::NULL, &[])]);
        der::sequence(&[
            algorithm,
            der::item(der::OCTETS, &self.name),
            der::item(der::OCTETS, &self.key),
            der::item(der::INTEGER, &self.serial),
        ])
    }

    fn is(&self, item: Item<'_>) -> Option<bool> {
        let mut items = item.items();
        let algorithm = items.grab(der::SEQUENCE)?.items().next()?;
        let (name, key) = (items.grab(der::OCTETS)?, items.grab(der::OCTETS)?);
        let serial = items.grab(der::INTEGER)?;
        let same = algorithm.content == SHA1 && name.content == self.name && key.content == self.key;
        Some(same && serial.content == self.serial)
    }
}

fn sha1(bytes: &[u8]) -> [u8; 20] {
    let mut out = [0; 20];
    out.copy_from_slice(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref());
    out
}

fn read(der: &[u8]) -> Result<X509Certificate<'_>, OcspError> {
    X509Certificate::from_der(der).map(|(_, c)| c).map_err(|_| OcspError::Certificate)
}

/// The question about `leaf` (DER), which `issuer` (DER) has issued.
pub fn question(leaf: &[u8], issuer: &[u8]) -> Result<Vec<u8>, OcspError> {
    let id = CertId::of(&read(leaf)?, &read(issuer)?);
    // OCSPRequest { tbsRequest { requestList { Request { reqCert } } } }: three wrappings of one.
    let request = der::sequence(&[id.write()]);
    let list = der::sequence(&[request]);
    Ok(der::sequence(&[der::sequence(&[list])]))
}

/// Looks at an answer: whole, about this certificate, signed by its issuer or on its behalf, in date.
pub fn verify(answer: &[u8], leaf: &[u8], issuer: &[u8], now: Timestamp) -> Result<Answer, OcspError> {
    let (leaf, issuer) = (read(leaf)?, read(issuer)?);
    let basic = basic(answer)?;
    let mut parts = basic.items();
    let malformed = || OcspError::Malformed;
    let data = parts.grab(der::SEQUENCE).ok_or_else(malformed)?;
    let algorithm = parts.grab(der::SEQUENCE).ok_or_else(malformed)?;
    let signature = parts.grab(0x03).ok_or_else(malformed)?;
    let signature =
        signature.content.split_first().filter(|(unused, _)| **unused == 0).ok_or_else(malformed)?.1;
    let (_, algorithm) = AlgorithmIdentifier::from_der(algorithm.whole).map_err(|_| OcspError::Malformed)?;
    let certificates: Vec<&[u8]> = match parts.grab(0xa0).and_then(|c| c.items().next()) {
        Some(list) => list.items().take(8).map(|i| i.whole).collect(),
        None => Vec::new(),
    };
    signed(&issuer, &certificates, &algorithm, data.whole, signature, now)?;
    let single = single(data, &CertId::of(&leaf, &issuer))?;
    if single.this_update > now.plus_millis(SKEW_MILLIS) {
        return Err(OcspError::NotYet(single.this_update));
    }
    if single.next_update < now {
        return Err(OcspError::Old(single.next_update));
    }
    Ok(single)
}

/// The BasicOCSPResponse in an OCSPResponse.
fn basic(answer: &[u8]) -> Result<Item<'_>, OcspError> {
    let malformed = || OcspError::Malformed;
    let mut outer = Item::only(answer).and_then(|i| i.of(der::SEQUENCE)).ok_or_else(malformed)?.items();
    let status = outer.grab(der::ENUMERATED).ok_or_else(malformed)?;
    match status.content {
        [0] => {}
        [1] => return Err(OcspError::Refused("malformedRequest")),
        [2] => return Err(OcspError::Refused("internalError")),
        [3] => return Err(OcspError::Refused("tryLater")),
        [5] => return Err(OcspError::Refused("sigRequired")),
        [6] => return Err(OcspError::Refused("unauthorized")),
        _ => return Err(OcspError::Malformed),
    }
    let bytes = outer.grab(0xa0).and_then(|i| i.items().next()).ok_or_else(malformed)?;
    let mut bytes = bytes.items();
    let kind = bytes.grab(der::OID).ok_or_else(malformed)?;
    if kind.content != BASIC {
        return Err(OcspError::Malformed);
    }
    let inner = bytes.grab(der::OCTETS).ok_or_else(malformed)?;
    Item::only(inner.content).and_then(|i| i.of(der::SEQUENCE)).ok_or_else(malformed)
}

/// The issuer itself, or one whom it has charged with it (RFC 6960 §4.2.2.2).
fn signed(
    issuer: &X509Certificate<'_>,
    certificates: &[&[u8]],
    algorithm: &AlgorithmIdentifier<'_>,
    data: &[u8],
    signature: &[u8],
    now: Timestamp,
) -> Result<(), OcspError> {
    let by = |signer: &X509Certificate<'_>| {
        let bits = x509_parser::asn1_rs::BitString::new(0, signature);
        x509_parser::verify::verify_signature(signer.public_key(), algorithm, &bits, data).is_ok()
    };
    if by(issuer) {
        return Ok(());
    }
    let mut charged = false;
    for der in certificates {
        let Ok((_, signer)) = X509Certificate::from_der(der) else { continue };
        let usage = signer.extended_key_usage().ok().flatten();
        let in_date = crate::certificate::Facts::of_der(der).is_ok_and(|f| f.valid_at(now));
        let ours = signer.issuer().as_raw() == issuer.subject().as_raw()
            && signer.verify_signature(Some(issuer.public_key())).is_ok();
        if ours && in_date && usage.is_some_and(|u| u.value.ocsp_signing) {
            charged = true;
            if by(&signer) {
                return Ok(());
            }
        }
    }
    Err(if charged { OcspError::Signature } else { OcspError::Signer })
}

/// The SingleResponse about a certificate.
fn single(data: Item<'_>, id: &CertId) -> Result<Answer, OcspError> {
    let malformed = || OcspError::Malformed;
    let mut parts = data.items();
    let _version = parts.grab(0xa0);
    let _responder = parts.next().ok_or_else(malformed)?;
    let _produced = parts.grab(der::GENERALIZED_TIME).ok_or_else(malformed)?;
    let responses = parts.grab(der::SEQUENCE).ok_or_else(malformed)?;
    for response in responses.items().take(64) {
        let mut parts = response.items();
        let about = parts.grab(der::SEQUENCE).ok_or_else(malformed)?;
        if !id.is(about).ok_or_else(malformed)? {
            continue;
        }
        let state = parts.next().ok_or_else(malformed)?;
        let state = match state.tag {
            0x80 => State::Good,
            0xa1 => State::Revoked(time(state.items().next()).ok_or_else(malformed)?),
            0x82 => State::Unknown,
            _ => return Err(OcspError::Malformed),
        };
        let this_update = time(parts.grab(der::GENERALIZED_TIME)).ok_or_else(malformed)?;
        let next_update = match parts.grab(0xa0) {
            Some(next) => time(Reader(next.content).grab(der::GENERALIZED_TIME)).ok_or_else(malformed)?,
            None => this_update.plus_millis(NO_NEXT_MILLIS),
        };
        return Ok(Answer { state, this_update, next_update });
    }
    Err(OcspError::Other)
}

/// `20260303T…`: `YYYYMMDDHHMMSSZ`, the only form that RFC 5280 §4.1.2.5.2 allows.
fn time(item: Option<Item<'_>>) -> Option<Timestamp> {
    let text = std::str::from_utf8(item?.of(der::GENERALIZED_TIME)?.content).ok()?;
    let digits = text.strip_suffix('Z').filter(|d| d.len() == 14 && d.bytes().all(|b| b.is_ascii_digit()))?;
    let part = |range: std::ops::Range<usize>| digits.get(range)?.parse::<u32>().ok();
    let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
    let (hour, minute, second) = (part(8..10)?, part(10..12)?, part(12..14)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_from_civil(i32::try_from(year).ok()?, month as u8, day as u8);
    Some(Timestamp::from_seconds(days * 86_400 + i64::from(hour * 3_600 + minute * 60 + second)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::{InnerCa, ServerId};
    use crate::certificate::chain;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

    const NOW: Timestamp = Timestamp(1_772_525_720_000);
    const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

    struct World {
        leaf: Vec<u8>,
        issuer: Vec<u8>,
        key: EcdsaKeyPair,
    }

    fn world() -> World {
        let ca = InnerCa::create("Contoso", NOW).unwrap();
        let issued = ca.issue(&ServerId::parse("a").unwrap(), NOW).unwrap();
        let pkcs8 = crate::public::key::pkcs8(&ca.key_pem()).unwrap();
        let random = ring::rand::SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8, &random).unwrap();
        let leaf = chain(&issued.chain_pem).unwrap().remove(0);
        World { leaf, issuer: ca.certificate_der().to_vec(), key }
    }

    /// An answer from 2026-03-03 (NOW) to the given end, signed by the CA's key.
    fn answer(world: &World, state: Vec<u8>, from: &str, until: &str) -> Vec<u8> {
        let id = CertId::of(&read(&world.leaf).unwrap(), &read(&world.issuer).unwrap());
        let at = |text: &str| der::item(der::GENERALIZED_TIME, text.as_bytes());
        let single = der::sequence(&[id.write(), state, at(from), der::item(0xa0, &at(until))]);
        let responder = der::item(0xa2, &der::item(der::OCTETS, &id.key));
        let data = der::sequence(&[responder, at(from), der::sequence(&[single])]);
        let random = ring::rand::SystemRandom::new();
        let signature = world.key.sign(&random, &data).unwrap();
        let bits = der::item(0x03, &[&[0], signature.as_ref()].concat());
        let basic = der::sequence(&[data, der::sequence(&[der::item(der::OID, ECDSA_SHA256)]), bits]);
        let bytes = der::sequence(&[der::item(der::OID, BASIC), der::item(der::OCTETS, &basic)]);
        der::sequence(&[der::item(der::ENUMERATED, &[0]), der::item(0xa0, &bytes)])
    }

    #[test]
    fn good_revoked_old_and_forged() {
        let world = world();
        let good = || vec![0x80, 0];
        let ask = |bytes: &[u8]| verify(bytes, &world.leaf, &world.issuer, NOW);
        let fine = ask(&answer(&world, good(), "20260303070000Z", "20260310070000Z")).unwrap();
        assert_eq!(fine.state, State::Good);
        assert_eq!(fine.refresh_at().to_string().get(..10), Some("2026-03-06"));
        let revoked = der::item(0xa1, &der::item(der::GENERALIZED_TIME, b"20260302000000Z"));
        let gone = ask(&answer(&world, revoked, "20260303070000Z", "20260310070000Z")).unwrap();
        assert!(matches!(gone.state, State::Revoked(at) if at < NOW));
        let old = ask(&answer(&world, good(), "20260220070000Z", "20260301070000Z"));
        assert!(matches!(old, Err(OcspError::Old(_))));
        let early = ask(&answer(&world, good(), "20260304070000Z", "20260310070000Z"));
        assert!(matches!(early, Err(OcspError::NotYet(_))));
        let mut forged = answer(&world, good(), "20260303070000Z", "20260310070000Z");
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert_eq!(ask(&forged), Err(OcspError::Signer));
        let other = self::world();
        let stranger = answer(&other, good(), "20260303070000Z", "20260310070000Z");
        assert!(ask(&stranger).is_err());
        assert_eq!(ask(&[0x30, 0x03, 0x0a, 0x01, 0x06]), Err(OcspError::Refused("unauthorized")));
        assert_eq!(ask(b"nothing"), Err(OcspError::Malformed));
        assert!(question(&world.leaf, &world.issuer).unwrap().len() > 60);
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = basic(&bytes);
            let _ = Item::only(&bytes).map(|i| single(i, &CertId { name: [0; 20], key: [0; 20], serial: vec![1] }));
        }
    }
}
