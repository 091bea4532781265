//! What is kept of a password, and how one is checked.
//!
//! The main password: Argon2id as OWASP's password storage cheat sheet has it (19 MiB, 2 passes, 1 lane), and the keys
//! of SCRAM, made at the same time. App passwords are made by us from 100 random bits, so that a plain keyed
//! hash keeps them as safe and a sign-in with one costs microseconds.
//!
//! Everything here takes passwords prepared by [`waypost_sasl::prep::password`].

use crate::error::ChangeError;
use crate::limits::{HASHING_AT_ONCE, HASHING_WAITING_MAX, PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN};
use crate::model::Protocol;
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use subtle::ConstantTimeEq;
use waypost_base::Timestamp;
use waypost_sasl::{Hash, ScramKeys, Secret};
use zeroize::Zeroizing;

/// Memory (KiB), passes and lanes of new hashes.
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);

/// Highest cost that is read from a stored (perhaps imported) hash: 256 MiB, 16 passes, 16 lanes.
const COST_MAX: (u32, u32, u32) = (256 * 1024, 16, 16);

/// Characters of an app password: no vowels (no words), nothing that looks like something else. 32 of them: 5 bits each.
const LETTERS: &[u8; 32] = b"23456789bcdfghjkmnpqrstvwxyzBCDF";

/// One credential of an account, as it is stored. It holds no secret that could be used to sign in as it stands.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    #[serde(skip)]
    pub id: u32,
    #[serde(skip)]
    pub version: u64,
    pub kind: CredentialKind,
    pub created: Timestamp,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match &self.kind {
            CredentialKind::Main { .. } => "main",
            CredentialKind::App { name, .. } | CredentialKind::Certificate { name, .. } => name,
        };
        f.debug_struct("Credential").field("id", &self.id).field("kind", &kind).finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialKind {
    /// The account's own password. At most one.
    Main {
        /// `$argon2id$v=19$m=…,t=…,p=…$salt$hash`
        argon2: String,
        /// `SCRAM-SHA-256$rounds:salt$StoredKey:ServerKey` (RFC 5803)
        scram: Option<String>,
        /// The same of SCRAM-SHA-1; passwords that were set before it was kept get it when they are next used.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scram1: Option<String>,
        /// The NT hash in base64, only while NTLM is checked by us: who reads it can sign in by NTLM.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nt: Option<String>,
    },
    /// A password for one device or program.
    App {
        name: String,
        /// Empty means every protocol that the account may use.
        protocols: Vec<Protocol>,
        /// `salt$hash` in base64: BLAKE3 keyed with the salt.
        hash: String,
    },
    /// A certificate of a client, for EXTERNAL.
    Certificate {
        name: String,
        /// SHA-256 over the certificate in DER, in lower-case hexadecimal.
        fingerprint: String,
    },
}

impl CredentialKind {
    /// The keys of SCRAM over this hash, as text.
    pub fn scram_keys(&self, hash: Hash) -> Option<&str> {
        match self {
            CredentialKind::Main { scram, .. } if hash == Hash::Sha256 => scram.as_deref(),
            CredentialKind::Main { scram1, .. } if hash == Hash::Sha1 => scram1.as_deref(),
            _ => None,
        }
    }
}

impl Credential {
    pub fn is_main(&self) -> bool {
        matches!(self.kind, CredentialKind::Main { .. })
    }
}

/// An app password as administrators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppPassword {
    pub id: u32,
    pub name: String,
    pub protocols: Vec<Protocol>,
    pub created: Timestamp,
}

impl AppPassword {
    pub(crate) fn of(credential: &Credential) -> Option<AppPassword> {
        match &credential.kind {
            CredentialKind::App { name, protocols, .. } => Some(AppPassword {
                id: credential.id,
                name: name.clone(),
                protocols: protocols.clone(),
                created: credential.created,
            }),
            CredentialKind::Main { .. } | CredentialKind::Certificate { .. } => None,
        }
    }
}

/// A certificate of a client as administrators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    pub id: u32,
    pub name: String,
    /// SHA-256 in lower-case hexadecimal.
    pub fingerprint: String,
    pub created: Timestamp,
}

impl ClientCertificate {
    pub(crate) fn of(credential: &Credential) -> Option<ClientCertificate> {
        match &credential.kind {
            CredentialKind::Certificate { name, fingerprint } => Some(ClientCertificate {
                id: credential.id,
                name: name.clone(),
                fingerprint: fingerprint.clone(),
                created: credential.created,
            }),
            _ => None,
        }
    }
}

/// SHA-256 over a certificate in DER, in lower-case hexadecimal.
pub fn fingerprint(der: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// Reads a fingerprint as people copy it: with colons or spaces, in capitals.
pub fn parse_fingerprint(text: &str) -> Option<String> {
    let hex: String = text.chars().filter(|c| !matches!(c, ':' | ' ' | '-')).collect();
    let sound = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    sound.then(|| hex.to_ascii_lowercase())
}

/// Computes password hashes: few at once, on threads of their own that give way to everything else, and with a bounded
/// line of waiters. A storm of sign-ins then costs what nobody else wants.
#[derive(Clone, Debug, Default)]
pub struct Hasher {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: AtomicUsize,
    /// Made at the first hash, so that many directories in one process (tests) cost nothing.
    jobs: OnceLock<Option<std::sync::mpsc::SyncSender<Job>>>,
}

type Job = Box<dyn FnOnce() + Send>;

/// Too many wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overloaded;

/// The niceness of the hashing threads: they get what is left, yet not nothing.
const NICENESS: i32 = 10;

fn start_threads() -> Option<std::sync::mpsc::SyncSender<Job>> {
    let (send, take) = std::sync::mpsc::sync_channel::<Job>(HASHING_WAITING_MAX);
    let take = Arc::new(Mutex::new(take));
    for number in 0..HASHING_AT_ONCE {
        let take = take.clone();
        let work = move || {
            // Of this thread alone, on Linux. Where it fails, hashing is as urgent as the rest.
            let _ = rustix::process::nice(NICENESS);
            loop {
                let next = take.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(job) = next else { return };
                // A job that panics drops its sender; whoever waits sees that.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
            }
        };
        let thread = std::thread::Builder::new().name(format!("hash-{number}")).spawn(work);
        if let Err(error) = thread {
            tracing::error!(%error, "no thread for password hashes");
            return None;
        }
    }
    Some(send)
}

impl Hasher {
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Overloaded> {
        let inner = &self.inner;
        if inner.waiting.fetch_add(1, Ordering::Relaxed) >= HASHING_WAITING_MAX {
            inner.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Overloaded);
        }
        // In the job, so that work which nobody waits for any more is still counted.
        let waits = Waits(inner.clone());
        let (done, finished) = tokio::sync::oneshot::channel();
        let job: Job = Box::new(move || {
            let _waits = waits;
            if !done.is_closed() {
                let _ = done.send(work());
            }
        });
        let jobs = inner.jobs.get_or_init(start_threads).as_ref().ok_or(Overloaded)?;
        jobs.try_send(job).map_err(|_| Overloaded)?;
        finished.await.map_err(|_| Overloaded)
    }

    /// Does the password fit this Argon2 hash?
    pub async fn verify(&self, hash: String, password: Secret) -> Result<bool, Overloaded> {
        self.run(move || verify_argon2(&hash, &password)).await
    }

    /// Takes as long as [`verify`](Hasher::verify) and fits never: for users that do not exist.
    pub async fn pretend(&self, password: Secret) -> Result<(), Overloaded> {
        let work = move || {
            let fits = argon2(&password, b"no such account!", COST).is_some_and(|h| h.is_empty());
            std::hint::black_box(fits);
        };
        self.run(work).await
    }

    /// Makes what is kept of a main password.
    pub async fn main(&self, password: Secret, nt: bool) -> Result<CredentialKind, ChangeError> {
        self.run(move || main_credential(&password, nt)).await.map_err(|Overloaded| ChangeError::Busy)?
    }

    /// A main credential with what it lacks, and without what it should not have, now that its password is known.
    pub(crate) async fn completed(
        &self,
        kind: CredentialKind,
        password: Secret,
        nt: bool,
    ) -> Option<CredentialKind> {
        self.run(move || completed(kind, &password, nt)).await.ok().flatten()
    }
}

struct Waits(Arc<Inner>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether [`Hasher::completed`] would change anything.
pub(crate) fn is_complete(kind: &CredentialKind, keep_nt: bool) -> bool {
    match kind {
        CredentialKind::Main { scram, scram1, nt, .. } => {
            scram.is_some() && scram1.is_some() && nt.is_some() == keep_nt
        }
        _ => true,
    }
}

fn completed(kind: CredentialKind, password: &Secret, keep_nt: bool) -> Option<CredentialKind> {
    let CredentialKind::Main { argon2, scram, scram1, nt } = kind else { return None };
    let scram = scram.or_else(|| scram_text(Hash::Sha256, password).ok().flatten());
    let scram1 = scram1.or_else(|| scram_text(Hash::Sha1, password).ok().flatten());
    let nt = keep_nt.then(|| nt.unwrap_or_else(|| nt_text(password)));
    Some(CredentialKind::Main { argon2, scram, scram1, nt })
}

fn scram_text(hash: Hash, password: &Secret) -> Result<Option<String>, ChangeError> {
    let salt: [u8; waypost_sasl::limits::SALT_BYTES] = random()?;
    let keys = ScramKeys::derive_with(hash, password, &salt, waypost_sasl::limits::SCRAM_ROUNDS);
    Ok(keys.to_text().expose_str().map(str::to_owned))
}

fn nt_text(password: &Secret) -> String {
    STANDARD_NO_PAD.encode(waypost_sasl::ntlm::nt_hash(password).expose())
}

/// Reads what is kept of an NT hash.
pub(crate) fn parse_nt(text: &str) -> Option<Secret> {
    STANDARD_NO_PAD.decode(text).ok().filter(|hash| hash.len() == 16).map(Secret::new)
}

/// Is this (unprepared) password fit to be set by an administrator?
pub fn check_strength(password: &str) -> Result<(), ChangeError> {
    if password.chars().count() < PASSWORD_CHARS_MIN {
        return Err(ChangeError::invalid(
            "password",
            format!("needs {PASSWORD_CHARS_MIN} characters at least"),
        ));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(ChangeError::invalid("password", format!("at most {PASSWORD_BYTES_MAX} bytes")));
    }
    Ok(())
}

fn main_credential(password: &Secret, keep_nt: bool) -> Result<CredentialKind, ChangeError> {
    let salt: [u8; 16] = random()?;
    let hash =
        argon2(password, &salt, COST).ok_or_else(|| ChangeError::invalid("password", "cannot be hashed"))?;
    let (m, t, p) = COST;
    let argon2 = format!(
        "$argon2id$v=19$m={m},t={t},p={p}${}${}",
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(hash.as_slice())
    );
    let (scram, scram1) = (scram_text(Hash::Sha256, password)?, scram_text(Hash::Sha1, password)?);
    Ok(CredentialKind::Main { argon2, scram, scram1, nt: keep_nt.then(|| nt_text(password)) })
}

fn argon2(password: &Secret, salt: &[u8], (m, t, p): (u32, u32, u32)) -> Option<Zeroizing<Vec<u8>>> {
    let params = Params::new(m, t, p, Some(32)).ok()?;
    let mut out = Zeroizing::new(vec![0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.expose(), salt, &mut out)
        .ok()?;
    Some(out)
}

fn verify_argon2(text: &str, password: &Secret) -> bool {
    let Some((cost, salt, wanted)) = parse_argon2(text) else { return false };
    argon2(password, &salt, cost).is_some_and(|hash| bool::from(hash.ct_eq(&wanted)))
}

type Parsed = ((u32, u32, u32), Vec<u8>, Vec<u8>);

/// Reads the string format of the PHC for Argon2id with 32 bytes of hash.
pub(crate) fn parse_argon2(text: &str) -> Option<Parsed> {
    let mut parts = text.strip_prefix("$argon2id$v=19$")?.split('$');
    let (cost, salt, hash, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    let mut numbers = cost.split(',');
    let mut number = |name: &str, max: u32| {
        let value: u32 = numbers.next()?.strip_prefix(name)?.parse().ok()?;
        (1..=max).contains(&value).then_some(value)
    };
    let cost = (number("m=", COST_MAX.0)?, number("t=", COST_MAX.1)?, number("p=", COST_MAX.2)?);
    let salt = STANDARD_NO_PAD.decode(salt).ok()?;
    let hash = STANDARD_NO_PAD.decode(hash).ok()?;
    (hash.len() == 32 && salt.len() >= 8).then_some((cost, salt, hash))
}

/// Makes an app password: the secret to be shown once, in five groups of four, and what is kept of it.
pub(crate) fn app_credential(
    name: &str,
    protocols: &[Protocol],
) -> Result<(Secret, CredentialKind), ChangeError> {
    let random: Zeroizing<[u8; 20]> = Zeroizing::new(random()?);
    let mut text = Zeroizing::new(String::with_capacity(24));
    for (i, byte) in random.iter().enumerate() {
        if i > 0 && i % 4 == 0 {
            text.push('-');
        }
        let letter = LETTERS.get(usize::from(byte % 32)).copied().unwrap_or(b'2');
        text.push(char::from(letter));
    }
    let salt: [u8; 32] = self::random()?;
    let hash = blake3::keyed_hash(&salt, text.as_bytes());
    let hash = format!("{}${}", STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash.as_bytes()));
    let kind = CredentialKind::App { name: name.to_owned(), protocols: protocols.to_vec(), hash };
    Ok((Secret::from(text.as_str()), kind))
}

/// Does the password fit this app password's hash? Constant time in the password.
pub(crate) fn verify_app(hash: &str, password: &Secret) -> bool {
    let parsed = hash.split_once('$').and_then(|(salt, hash)| {
        let salt: [u8; 32] = STANDARD_NO_PAD.decode(salt).ok()?.try_into().ok()?;
        let hash: [u8; 32] = STANDARD_NO_PAD.decode(hash).ok()?.try_into().ok()?;
        Some((salt, hash))
    });
    // blake3's comparison of hashes is constant-time.
    parsed
        .is_some_and(|(salt, hash)| blake3::keyed_hash(&salt, password.expose()) == blake3::Hash::from(hash))
}

/// A password that a machine made up, for a person to use: the form of an app password.
pub fn generate_password() -> Result<Secret, ChangeError> {
    app_credential("", &[]).map(|(secret, _)| secret)
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], ChangeError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| {
        ChangeError::Store(waypost_store::CommitError::Unavailable(format!("no random bytes: {e}")))
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn main_password() {
        let password = Secret::from("correct horse");
        let kind = main_credential(&password, false).unwrap();
        assert!(is_complete(&kind, false) && !is_complete(&kind, true));
        let CredentialKind::Main { argon2, scram, scram1, nt } = kind else { panic!() };
        assert_eq!(nt, None);
        let keys = ScramKeys::parse(&scram1.unwrap()).unwrap();
        assert_eq!(keys.hash, Hash::Sha1);
        assert!(keys.fits(&password));
        assert!(argon2.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(verify_argon2(&argon2, &password));
        assert!(!verify_argon2(&argon2, &Secret::from("correct horsE")));
        assert!(ScramKeys::parse(&scram.unwrap()).unwrap().fits(&password));
    }

    #[test]
    fn what_is_missing_is_added_and_what_should_not_be_goes() {
        let password = Secret::from("Password");
        let old = r#"{"kind":{"main":{"argon2":"x","scram":null}},"created":0}"#;
        let old: Credential = serde_json::from_str(old).unwrap();
        let with = completed(old.kind, &password, true).unwrap();
        assert!(is_complete(&with, true));
        let CredentialKind::Main { nt: Some(nt), .. } = &with else { panic!() };
        assert_eq!(parse_nt(nt).unwrap(), waypost_sasl::ntlm::nt_hash(&password));
        let without = completed(with, &password, false).unwrap();
        assert!(is_complete(&without, false));
    }

    #[test]
    fn fingerprints_as_people_copy_them() {
        let fingerprint = fingerprint(b"der");
        assert_eq!(parse_fingerprint(&fingerprint.to_uppercase()), Some(fingerprint.clone()));
        let pairs: Vec<&str> = (0..32).map(|i| &fingerprint[2 * i..2 * i + 2]).collect();
        assert_eq!(parse_fingerprint(&pairs.join(":")), Some(fingerprint));
        assert_eq!(parse_fingerprint("abc"), None);
    }

    #[test]
    fn app_password() {
        let (secret, kind) = app_credential("phone", &[Protocol::Imap]).unwrap();
        let CredentialKind::App { hash, .. } = kind else { panic!() };
        assert_eq!(secret.expose().len(), 24);
        assert!(verify_app(&hash, &secret));
        assert!(!verify_app(&hash, &Secret::from("2222-2222-2222-2222-2222")));
        assert!(!verify_app("nonsense", &secret));
    }

    #[test]
    fn refuses_hashes_that_would_cost_too_much() {
        assert!(parse_argon2("$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AA").is_none());
        let big = format!("$argon2id$v=19$m=99999999,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA${}", "A".repeat(43));
        assert!(parse_argon2(&big).is_none());
        assert!(!verify_argon2("", &Secret::from("x")));
    }
}
