//! Signing with DKIM (RFC 6376), with RSA (RFC 8301) and Ed25519 (RFC 8463) side by side.
//!
//! Both canonical forms are relaxed, `l=` is never used, and the fields that a reader sees are signed once more than
//! there are of them, so that none can be added. The time comes from outside.

use crate::body::BodyHashes;
use crate::keys::{KeyAlgorithm, KeyError, KeyFolder, KeyState, Secret};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use waypost_base::{Clock, Timestamp};
use waypost_trust::dns::Dns;

/// What is signed where it is present, and one more of it than there is: nobody may add one.
const CLOSED: &[&str] = &[
    "From",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "To",
    "Cc",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];
/// What is signed where it is present.
const OPEN: &[&str] = &[
    "Sender",
    "In-Reply-To",
    "References",
    "Content-ID",
    "Content-Description",
    "Resent-Date",
    "Resent-From",
    "Resent-To",
    "Resent-Cc",
    "Resent-Message-ID",
    "List-Id",
    "List-Help",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Subscribe",
    "List-Post",
    "List-Owner",
    "List-Archive",
    "Autocrypt",
];
/// Octets of a signature or of a list on one line.
const LINE: usize = 70;

/// A field of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    pub name: &'a [u8],
    /// Behind the colon, folded as it came.
    pub value: &'a [u8],
    /// All of it, with its line end.
    pub raw: &'a [u8],
}

impl Field<'_> {
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The fields of a header, up to a blank line if there is one.
pub fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = header;
    std::iter::from_fn(move || {
        if rest.is_empty() || rest.starts_with(b"\r\n") || rest.starts_with(b"\n") {
            return None;
        }
        let mut end = line_end(rest, 0);
        while rest.get(end).is_some_and(|next| *next == b' ' || *next == b'\t') {
            end = line_end(rest, end);
        }
        let (raw, after) = rest.split_at(end);
        rest = after;
        let colon = raw.iter().position(|b| *b == b':').unwrap_or(raw.len());
        let value = raw.get(colon + 1..).unwrap_or_default();
        Some(Field { name: raw.get(..colon).unwrap_or_default().trim_ascii_end(), value, raw })
    })
}

fn line_end(text: &[u8], from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    rest.iter().position(|b| *b == b'\n').map_or(text.len(), |at| from + at + 1)
}

/// A key that can sign.
pub(crate) struct SigningKey {
    selector: String,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl SigningKey {
    pub(crate) fn new(
        algorithm: KeyAlgorithm,
        selector: &str,
        secret: &Secret,
    ) -> Result<SigningKey, String> {
        let pair = match algorithm {
            KeyAlgorithm::Rsa => RsaKeyPair::from_der(secret.der())
                .map(|pair| Pair::Rsa(Box::new(pair)))
                .map_err(|e| e.to_string())?,
            KeyAlgorithm::Ed25519 => Ed25519KeyPair::from_pkcs8_maybe_unchecked(secret.der())
                .map(|pair| Pair::Ed25519(Box::new(pair)))
                .map_err(|e| e.to_string())?,
        };
        Ok(SigningKey { selector: selector.to_owned(), pair })
    }

    fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "rsa-sha256",
            Pair::Ed25519(_) => "ed25519-sha256",
        }
    }

    /// `None`: the signing itself failed, which takes a broken key.
    fn sign(&self, data: &[u8]) -> Option<Vec<u8>> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), data, &mut signature).ok()?;
                Some(signature)
            }
            Pair::Ed25519(pair) => Some(pair.sign(digest(&SHA256, data).as_ref()).as_ref().to_vec()),
        }
    }

    /// The value of a DKIM-Signature field.
    fn field(&self, domain: &str, header: &[u8], body: &[u8; 32], now: Timestamp) -> Option<String> {
        let present: Vec<Field<'_>> = fields(header).collect();
        let (names, mut data) = chosen(&present);
        let unsigned = format!(
            "v=1; a={}; c=relaxed/relaxed; d={domain};\r\n\ts={}; t={};\r\n\th={};\r\n\tbh={};\r\n\tb=",
            self.algorithm(),
            self.selector,
            now.as_seconds(),
            folded(&names.join(":"), ':'),
            STANDARD.encode(body),
        );
        relaxed("dkim-signature", unsigned.as_bytes(), &mut data);
        // The signature's own field goes in without its line end (RFC 6376 §3.7).
        data.truncate(data.len().saturating_sub(2));
        let signature = STANDARD.encode(self.sign(&data)?);
        Some(format!("{unsigned}{}", broken(&signature)))
    }
}

/// The names for `h=`, and what they stand for in canonical form. Of several fields of a name the last comes first.
fn chosen(present: &[Field<'_>]) -> (Vec<&'static str>, Vec<u8>) {
    let (mut names, mut data) = (Vec::new(), Vec::new());
    for (list, closed) in [(CLOSED, true), (OPEN, false)] {
        for name in list {
            for field in present.iter().rev().filter(|f| f.is(name)) {
                names.push(*name);
                relaxed(name, field.value, &mut data);
            }
            if closed {
                names.push(*name);
            }
        }
    }
    (names, data)
}

/// A field in relaxed form (RFC 6376 §3.4.2), with its line end.
fn relaxed(name: &str, value: &[u8], into: &mut Vec<u8>) {
    into.extend(name.bytes().map(|b| b.to_ascii_lowercase()));
    into.push(b':');
    let begin = into.len();
    let mut blank = false;
    for byte in value {
        match byte {
            b'\r' | b'\n' => {}
            b' ' | b'\t' => blank = true,
            other => {
                if std::mem::take(&mut blank) && into.len() > begin {
                    into.push(b' ');
                }
                into.push(*other);
            }
        }
    }
    into.extend_from_slice(b"\r\n");
}

/// Breaks a list into lines behind its separators.
fn folded(list: &str, separator: char) -> String {
    let mut folded = String::with_capacity(list.len() + 16);
    let mut line = 0;
    for item in list.split_inclusive(separator) {
        if line + item.len() > LINE && line > 0 {
            folded.push_str("\r\n\t ");
            line = 0;
        }
        folded.push_str(item);
        line += item.len();
    }
    folded
}

fn broken(base64: &str) -> String {
    let mut broken = String::with_capacity(base64.len() + 16);
    for (at, c) in base64.chars().enumerate() {
        if at > 0 && at % LINE == 0 {
            broken.push_str("\r\n\t ");
        }
        broken.push(c);
    }
    broken
}

type Ring = BTreeMap<String, Vec<SigningKey>>;

/// The keys that sign now, by domain. What is on disk is looked at again when it changed.
pub struct Signer {
    folder: KeyFolder,
    ring: RwLock<Arc<Ring>>,
    seen: RwLock<Option<SystemTime>>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// How often the folder is looked at for changes that commands made.
const LOOK: Duration = Duration::from_secs(1);
/// How often the DNS is asked about keys that wait for it: in looks.
const ASK: u64 = 60;

impl Signer {
    /// Keys that cannot be read are told in the log; the others sign.
    pub fn open(folder: KeyFolder) -> Signer {
        let signer = Signer { folder, ring: RwLock::default(), seen: RwLock::default() };
        signer.reload();
        signer
    }

    pub fn folder(&self) -> &KeyFolder {
        &self.folder
    }

    pub fn reload(&self) {
        let changed = self.folder.changed();
        let ring = match self.read() {
            Ok(ring) => ring,
            Err(e) => {
                tracing::error!(error = %e, "signing keys cannot be read; those known before stay in use");
                return;
            }
        };
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = changed;
    }

    fn read(&self) -> Result<Ring, KeyError> {
        let mut ring = Ring::new();
        for domain in self.folder.domains()?.into_iter().filter(|d| d.enabled) {
            let mut keys = Vec::new();
            let mut active: Vec<_> = domain.keys.iter().filter(|k| k.state == KeyState::Active).collect();
            active.sort_by_key(|key| key.algorithm);
            for key in active {
                let secret = self.folder.secret(&domain.domain, &key.selector)?;
                match SigningKey::new(key.algorithm, &key.selector, &secret) {
                    Ok(key) => keys.push(key),
                    Err(why) => {
                        tracing::error!(
                            domain = domain.domain,
                            selector = key.selector,
                            why,
                            "signing key cannot be used"
                        );
                    }
                }
            }
            if !keys.is_empty() {
                ring.insert(domain.domain, keys);
            }
        }
        Ok(ring)
    }

    fn ring(&self) -> Arc<Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether messages of this domain are signed. Lower-case ASCII.
    pub fn signs(&self, domain: &str) -> bool {
        self.ring().contains_key(domain)
    }

    /// Whether anything is signed at all.
    pub fn is_empty(&self) -> bool {
        self.ring().is_empty()
    }

    /// Values of DKIM-Signature fields to be put above the header, one for each key of the domain.
    pub fn sign(&self, domain: &str, header: &[u8], body: &BodyHashes, now: Timestamp) -> Vec<String> {
        let ring = self.ring();
        let (Some(keys), Some(body)) = (ring.get(domain), &body.relaxed) else { return Vec::new() };
        keys.iter().filter_map(|key| key.field(domain, header, body, now)).collect()
    }

    /// Signs a whole message for the domain of its From field: what is to stand before it, line ends included; empty
    /// where it is not ours to sign.
    pub fn sign_message(&self, message: &[u8], now: Timestamp) -> String {
        let end = message.windows(4).position(|w| w == b"\r\n\r\n").map_or(message.len(), |at| at + 2);
        let (header, rest) = message.split_at(end);
        let Some(domain) = from_domain(header).filter(|domain| self.signs(domain)) else {
            return String::new();
        };
        let body = BodyHashes::of(rest.get(2..).unwrap_or_default());
        let one = |value: String| format!("DKIM-Signature: {value}\r\n");
        self.sign(&domain, header, &body, now).into_iter().map(one).collect()
    }

    /// Follows the folder, and lets keys come and go by what the DNS shows and by the clock. Never ends.
    pub async fn tend(self: Arc<Signer>, dns: Arc<dyn Dns>, clock: Clock) {
        for look in 0u64.. {
            let changed = self.folder.changed();
            let seen = *self.seen.read().unwrap_or_else(PoisonError::into_inner);
            if changed != seen {
                self.reload();
            }
            if look.is_multiple_of(ASK) || changed != seen {
                match crate::records::turn_over(&self.folder, dns.as_ref(), clock.now()).await {
                    Ok(false) => {}
                    Ok(true) => self.reload(),
                    Err(e) => tracing::error!(error = %e, "signing keys cannot be turned over"),
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// The domain of the one author, in lower-case ASCII; `None` where there is no such thing.
pub fn from_domain(header: &[u8]) -> Option<String> {
    let mut from = fields(header).filter(|f| f.is("from"));
    let field = from.next()?;
    if from.next().is_some() {
        return None;
    }
    let mut one = b"From:".to_vec();
    one.extend_from_slice(field.value);
    one.extend_from_slice(b"\r\n\r\n");
    let parsed = mail_auth::AuthenticatedMessage::parse(&one)?;
    let domain = |address: &String| address.rsplit_once('@').map(|(_, domain)| crate::names::ascii(domain));
    let mut domains = parsed.from.iter().map(domain);
    let first = domains.next()??;
    domains.all(|d| d.as_ref() == Some(&first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relaxed_fields() {
        let mut out = Vec::new();
        relaxed("SUBJect", b" AbC\t\r\n\t  x \r\n", &mut out);
        assert_eq!(out, b"subject:AbC x\r\n");
    }

    #[test]
    fn header_into_fields() {
        let header = b"From: a@b\r\nSubject : x\r\n y\r\nodd\r\n\r\nTo: not this\r\n";
        let found: Vec<(String, String)> = fields(header)
            .map(|f| (String::from_utf8_lossy(f.name).into(), String::from_utf8_lossy(f.value).into()))
            .collect();
        let expected = [("From", " a@b\r\n"), ("Subject", " x\r\n y\r\n"), ("odd\r\n", "")];
        let found: Vec<(&str, &str)> =
            found.iter().map(|(a, b)| (a.trim_end_matches('\u{0}'), b.as_str())).collect();
        assert_eq!(found[..2], expected[..2]);
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn the_author() {
        let of = |header: &str| from_domain(header.as_bytes());
        assert_eq!(of("From: \"x@evil.example\" <a@B.example>\r\n").as_deref(), Some("b.example"));
        assert_eq!(of("From: a@b.example, c@B.example\r\n").as_deref(), Some("b.example"));
        assert_eq!(
            of("From: J\u{f6}rg <j@b\u{fc}cher.example>\r\n").as_deref(),
            Some("xn--bcher-kva.example")
        );
        assert_eq!(of("From: a@b.example, c@d.example\r\n"), None);
        assert_eq!(of("From: a@b.example\r\nFrom: a@b.example\r\n"), None);
        assert_eq!(of("Subject: x\r\n"), None);
    }

    #[test]
    fn lines_stay_short() {
        let text = folded(&["Subject"; 60].join(":"), ':');
        assert!(text.split("\r\n").all(|line| line.len() < 78));
        assert_eq!(text.replace("\r\n\t ", ""), ["Subject"; 60].join(":"));
        assert_eq!(broken(&"A".repeat(141)).matches("\r\n").count(), 2);
    }
}
