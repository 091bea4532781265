//! The inner CA: one for the organisation, made once. Every server holds a short-lived certificate of it, in the name
//! of its server id, and renews it by itself. Host names, public certificates and DNS play no part in inner trust.
//!
//! Servers trust a [`Bundle`] of CAs: the one that issues, the next one before it begins to, the last one until nothing of
//! it is left. That is how the CA is changed without an outage ([`Rotation`]). A server's key is made on the server and
//! stays there: what travels is a [`request`](new_request) and the certificate that comes back.

use crate::certificate::{
    BACKDATE_MILLIS, Facts, KeyedCertificate, TrustError, chain, new_key, set_validity,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;
use waypost_base::Timestamp;
use x509_parser::prelude::{FromDer, X509Certificate};

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// Life of the CA itself: longer than any server is likely to live, since changing it means touching every server.
pub const CA_DAYS: i64 = 20 * 365;

/// Life of a server's inner certificate. Short, so that a lost key that nobody has noticed is worthless in a month.
pub const SERVER_DAYS: i64 = 30;

/// Bytes of a request in PEM; ours have 400.
const REQUEST_BYTES_MAX: usize = 16 * 1024;

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
        let der = self.certificate_der.as_slice().into();
        let issuer = Issuer::from_ca_cert_der(&der, &self.key)?;
        let certificate = server_params(server, now)?.signed_by(&key, &issuer)?;
        Ok(KeyedCertificate { chain_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// A certificate (PEM) for a server that has kept its key to itself and sent a request ([`new_request`]). Of the request
    /// only the public key is used, once its signature has proved that the sender has the private one: who the server is
    /// and what it may do is for us to say.
    pub fn issue_for(
        &self,
        server: &ServerId,
        request_pem: &str,
        now: Timestamp,
    ) -> Result<String, TrustError> {
        if request_pem.len() > REQUEST_BYTES_MAX {
            return Err(TrustError::Malformed("the request is too large".into()));
        }
        // rcgen verifies the request's own signature while it reads.
        let mut request = CertificateSigningRequestParams::from_pem(request_pem)
            .map_err(|e| TrustError::Malformed(format!("request: {e}")))?;
        request.params = server_params(server, now)?;
        let der = self.certificate_der.as_slice().into();
        let issuer = Issuer::from_ca_cert_der(&der, &self.key)?;
        Ok(request.signed_by(&issuer)?.pem())
    }

    /// Whether a server's inner certificate should be replaced now: too little of its life is left, or it is not ours.
    pub fn should_renew(&self, chain_pem: &str, now: Timestamp) -> bool {
        let Ok(facts) = Facts::of_pem(chain_pem) else { return true };
        let left = facts.not_after.since(now);
        let der = chain(chain_pem).map(|mut c| c.remove(0)).unwrap_or_default();
        left < RENEW_DAYS_LEFT * DAY_MILLIS || self.verify(&der, now).is_err()
    }

    /// SHA-256 of the CA's certificate, upper-case hexadecimal: what a token carries, and a bundle calls it by.
    pub fn fingerprint(&self) -> Result<String, TrustError> {
        Ok(Facts::of_der(&self.certificate_der)?.fingerprint)
    }

    /// Which server this certificate (DER) is of. Only certificates that this CA signed, and that are valid now, are of any.
    pub fn verify(&self, der: &[u8], now: Timestamp) -> Result<ServerId, VerifyError> {
        verified(&self.certificate_der, der, now).map(|issued| issued.server)
    }
}

/// What servers say of themselves in certificates, and no more.
fn server_params(server: &ServerId, now: Timestamp) -> Result<CertificateParams, TrustError> {
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
    Ok(params)
}

/// A new key and a request for a certificate of it, both PEM. The key is for the requester's own disk
/// ([`files::write_private`](crate::files::write_private)).
pub fn new_request(server: &ServerId) -> Result<Request, TrustError> {
    let key = new_key()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, server.as_str());
    let request_pem = params.serialize_request(&key)?.pem()?;
    Ok(Request { request_pem, key_pem: key.serialize_pem() })
}

/// What [`new_request`] makes.
#[derive(Clone)]
pub struct Request {
    pub request_pem: String,
    pub key_pem: String,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("request_pem", &self.request_pem).finish_non_exhaustive()
    }
}

/// An inner certificate that has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub server: ServerId,
    /// When the CA made it: certificates are dated back an hour, for clocks that are behind.
    pub made: Timestamp,
    pub not_after: Timestamp,
    pub serial: String,
    /// SHA-256 of the certificate of the CA that made it.
    pub authority: String,
}

impl Issued {
    /// Whether it was made before `since`, as a stolen one would have been. Certificates have no milliseconds.
    pub fn is_before(&self, since: Timestamp) -> bool {
        self.made.as_seconds() < since.as_seconds()
    }
}

fn verified(authority_der: &[u8], der: &[u8], now: Timestamp) -> Result<Issued, VerifyError> {
    let malformed = |e: &dyn fmt::Display| VerifyError::Malformed(e.to_string());
    let (_, own) = X509Certificate::from_der(authority_der).map_err(|e| malformed(&e))?;
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
    let server =
        uri.and_then(|id| ServerId::parse(id).ok()).filter(|_| !facts.is_ca).ok_or(VerifyError::NoServer)?;
    Ok(Issued {
        server,
        made: facts.not_before.plus_millis(BACKDATE_MILLIS),
        not_after: facts.not_after,
        serial: facts.serial,
        authority: Facts::of_der(authority_der).map_err(|e| malformed(&e))?.fingerprint,
    })
}

/// The CAs whose certificates are believed: the one that issues, beside it the next or the last one while it is changed.
/// In PEM the certificates one after another.
#[derive(Clone, PartialEq, Eq)]
pub struct Bundle {
    authorities: Vec<Vec<u8>>,
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.facts().into_iter().map(|f| f.fingerprint).collect();
        f.debug_tuple("Bundle").field(&names).finish()
    }
}

impl Bundle {
    /// CAs of a bundle: current, next, previous, and one that somebody forgot.
    pub const MAX: usize = 4;

    pub fn of(ca: &InnerCa) -> Bundle {
        Bundle { authorities: vec![ca.certificate_der.clone()] }
    }

    /// Certificates that are no CA's are an error, as is none at all.
    pub fn parse(pem: &str) -> Result<Bundle, TrustError> {
        let mut authorities = chain(pem)?;
        authorities.truncate(Bundle::MAX);
        for der in &authorities {
            if !Facts::of_der(der)?.is_ca {
                return Err(TrustError::NotCa);
            }
        }
        Ok(Bundle { authorities })
    }

    pub fn pem(&self) -> String {
        self.authorities.iter().map(|der| pem("CERTIFICATE", der)).collect()
    }

    /// One more; the same again changes nothing. The last one added stands last.
    pub fn with(mut self, ca_pem: &str) -> Result<Bundle, TrustError> {
        for der in Bundle::parse(ca_pem)?.authorities {
            if !self.authorities.contains(&der) {
                self.authorities.push(der);
            }
        }
        if self.authorities.len() > Bundle::MAX {
            return Err(TrustError::Malformed(format!("more than {} inner CAs", Bundle::MAX)));
        }
        Ok(self)
    }

    /// Without the CA of that fingerprint; the only one stays.
    pub fn without(mut self, fingerprint: &str) -> Bundle {
        let is =
            |der: &Vec<u8>| Facts::of_der(der).is_ok_and(|f| f.fingerprint.eq_ignore_ascii_case(fingerprint));
        if self.authorities.len() > 1 {
            self.authorities.retain(|der| !is(der));
        }
        self
    }

    pub fn facts(&self) -> Vec<Facts> {
        self.authorities.iter().filter_map(|der| Facts::of_der(der).ok()).collect()
    }

    pub fn trusts(&self, fingerprint: &str) -> bool {
        self.facts().iter().any(|f| f.fingerprint.eq_ignore_ascii_case(fingerprint))
    }

    /// Verifies against each; of several refusals the one that says most is told: an expired certificate of ours is
    /// expired, not another's.
    pub fn verify(&self, der: &[u8], now: Timestamp) -> Result<Issued, VerifyError> {
        let mut why = VerifyError::Malformed("no inner CA is known".into());
        let mut telling = 0;
        for authority in &self.authorities {
            match verified(authority, der, now) {
                Ok(issued) => return Ok(issued),
                Err(e) if e.telling() > telling => {
                    telling = e.telling();
                    why = e;
                }
                Err(_) => {}
            }
        }
        Err(why)
    }
}

impl VerifyError {
    /// How far verification came: the further, the more it says.
    fn telling(&self) -> u8 {
        match self {
            VerifyError::Malformed(_) => 1,
            VerifyError::OtherIssuer(_) => 2,
            VerifyError::Signature => 3,
            VerifyError::NotYet(_) | VerifyError::Expired(_) => 4,
            VerifyError::NoServer => 5,
        }
    }
}

/// The step of a change of the CA that is due next. Every step waits until all servers have made the last one, so that at
/// no time two servers fail to trust each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// Make the next CA and give its certificate to all, beside the current one.
    Announce,
    /// Some server does not trust the next CA yet.
    WaitForTrust,
    /// All trust it: let it issue, and renew every server's certificate.
    Switch,
    /// Some server has a certificate of the old CA still.
    WaitForRenewal,
    /// Nothing of the old CA is left: take it out of the bundle.
    Drop,
}

/// How far one server has come, as it reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub server: String,
    /// Fingerprints of the CAs that it trusts.
    pub trusts: Vec<String>,
    /// Fingerprint of the CA that made its certificate.
    pub certificate_by: String,
}

impl Rotation {
    /// `current` issues now; `next` is the one it is changed for, once made. `None` where nothing is under way or due.
    /// `servers`: all that are not revoked.
    pub fn due(current: &str, next: Option<&str>, bundle: &Bundle, servers: &[Progress]) -> Option<Rotation> {
        let trusted_by_all =
            |ca: &str| servers.iter().all(|s| s.trusts.iter().any(|t| t.eq_ignore_ascii_case(ca)));
        match next {
            Some(next) if !bundle.trusts(next) => Some(Rotation::Announce),
            Some(next) if !trusted_by_all(next) => Some(Rotation::WaitForTrust),
            Some(_) => Some(Rotation::Switch),
            None if bundle.facts().len() < 2 => None,
            None if servers.iter().all(|s| s.certificate_by.eq_ignore_ascii_case(current)) => {
                Some(Rotation::Drop)
            }
            None => Some(Rotation::WaitForRenewal),
        }
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = more;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
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
    fn a_request_gets_a_certificate_and_keeps_its_key() {
        let ca = InnerCa::create("Contoso", NOW).unwrap();
        let id = ServerId::parse("mbx02").unwrap();
        let request = new_request(&ServerId::parse("primary").unwrap()).unwrap();
        let chain_pem = ca.issue_for(&id, &request.request_pem, NOW).unwrap();
        let both = KeyedCertificate { chain_pem, key_pem: request.key_pem.clone() };
        both.check().unwrap();
        // What the request called itself does not count.
        let issued = Bundle::of(&ca).verify(&der(&both), NOW).unwrap();
        assert_eq!(issued.server, id);
        assert_eq!(issued.made, Timestamp::from_seconds(NOW.as_seconds()));
        assert!(!issued.is_before(NOW) && issued.is_before(NOW.plus_millis(1000)));
        assert!(!format!("{request:?}").contains("PRIVATE"));

        assert!(ca.issue_for(&id, "nonsense", NOW).is_err());
        assert!(ca.issue_for(&id, &request.key_pem, NOW).is_err());
        assert!(ca.issue_for(&id, &"x".repeat(REQUEST_BYTES_MAX + 1), NOW).is_err());
    }

    #[test]
    fn a_request_whose_signature_is_another_s_is_refused() {
        let ca = InnerCa::create("Contoso", NOW).unwrap();
        let id = ServerId::parse("mbx02").unwrap();
        let request = new_request(&id).unwrap();
        let (_, block) = x509_parser::pem::parse_x509_pem(request.request_pem.as_bytes()).unwrap();
        let mut bytes = block.contents.clone();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert!(ca.issue_for(&id, &pem("CERTIFICATE REQUEST", &bytes), NOW).is_err());
        assert!(ca.issue_for(&id, &pem("CERTIFICATE REQUEST", &block.contents), NOW).is_ok());
    }

    #[test]
    fn a_bundle_verifies_by_any_of_its_authorities() {
        let old = InnerCa::create("Contoso", NOW).unwrap();
        let next = InnerCa::create("Contoso", NOW).unwrap();
        let id = ServerId::parse("mbx01").unwrap();
        let both =
            Bundle::of(&old).with(next.certificate_pem()).unwrap().with(old.certificate_pem()).unwrap();
        assert_eq!(Bundle::parse(&both.pem()).unwrap(), both);
        for ca in [&old, &next] {
            let issued = both.verify(&der(&ca.issue(&id, NOW).unwrap()), NOW).unwrap();
            assert_eq!(issued.authority, ca.fingerprint().unwrap());
        }
        let dropped = both.clone().without(&old.fingerprint().unwrap());
        let of_old = der(&old.issue(&id, NOW).unwrap());
        assert_eq!(dropped.verify(&of_old, NOW), Err(VerifyError::Signature));
        let late = NOW.plus_millis((SERVER_DAYS + 1) * DAY_MILLIS);
        assert!(matches!(both.verify(&of_old, late), Err(VerifyError::Expired(_))));
        // The last one stays whatever is asked.
        assert_eq!(dropped.clone().without(&next.fingerprint().unwrap()), dropped);
        let server = old.issue(&id, NOW).unwrap();
        assert!(matches!(Bundle::parse(&server.chain_pem), Err(TrustError::NotCa)));
    }

    /// At every step every server trusts every other's certificate.
    #[test]
    fn the_authority_is_changed_without_an_outage() {
        let old = InnerCa::create("Contoso", NOW).unwrap();
        let next = InnerCa::create("Contoso", NOW).unwrap();
        let (was, is) = (old.fingerprint().unwrap(), next.fingerprint().unwrap());
        let mut bundle = Bundle::of(&old);
        let server = |trusts: &[&String], by: &String| Progress {
            server: "mbx01".into(),
            trusts: trusts.iter().map(|t| (*t).clone()).collect(),
            certificate_by: by.clone(),
        };
        let before = [server(&[&was], &was)];
        assert_eq!(Rotation::due(&was, None, &bundle, &before), None);
        assert_eq!(Rotation::due(&was, Some(&is), &bundle, &before), Some(Rotation::Announce));
        bundle = bundle.with(next.certificate_pem()).unwrap();
        assert_eq!(Rotation::due(&was, Some(&is), &bundle, &before), Some(Rotation::WaitForTrust));
        let trusting = [server(&[&was, &is], &was)];
        assert_eq!(Rotation::due(&was, Some(&is), &bundle, &trusting), Some(Rotation::Switch));
        assert_eq!(Rotation::due(&is, None, &bundle, &trusting), Some(Rotation::WaitForRenewal));
        let renewed = [server(&[&was, &is], &is)];
        assert_eq!(Rotation::due(&is, None, &bundle, &renewed), Some(Rotation::Drop));
        bundle = bundle.without(&was);
        assert_eq!(Rotation::due(&is, None, &bundle, &renewed), None);
    }

    #[test]
    fn server_ids_are_labels() {
        for bad in ["", "-a", "a-", "a.b", "a_b", "ä", &"a".repeat(41)] {
            assert!(ServerId::parse(bad).is_err(), "{bad}");
        }
    }
}
