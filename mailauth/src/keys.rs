//! Signing keys in files: `secret/dkim/DOMAIN/SELECTOR.key`, mode 0600, each with what is known about it above the key
//! in PEM. The private part is in memory only while it is read into the signer, and wiped behind it.
//!
//! A key's way: **pending** until its record is in the DNS; **active**; **retiring** when another has taken over, while
//! mail signed with it may still be under way; **retired**: its private part is gone, its record may go.

use crate::limits;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::pkcs8::EncodePublicKey;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use waypost_base::Timestamp;
use waypost_trust::files;
use zeroize::Zeroizing;

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{0}")]
    File(#[from] files::FileError),
    #[error("{} is not a key file: {why}", path.display())]
    Content { path: PathBuf, why: &'static str },
    #[error("the key could not be made: {0}")]
    Making(String),
    #[error("{0:?} is not a domain name")]
    Domain(String),
    #[error("{0:?} is not a selector: letters, digits and hyphens, at most 63")]
    Selector(String),
    #[error("{0} has the selector {1} already")]
    Taken(String, String),
    #[error("{0} has no signing keys")]
    NoDomain(String),
    #[error("{0} has no key {1}")]
    NoKey(String, String),
    #[error("RSA keys have 2048 to 4096 bits")]
    Bits,
    #[error("{0} has {max} keys; remove retired ones", max = limits::KEYS)]
    TooMany(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyAlgorithm {
    Rsa,
    Ed25519,
}

impl KeyAlgorithm {
    /// As signatures name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeyAlgorithm::Rsa => "rsa-sha256",
            KeyAlgorithm::Ed25519 => "ed25519-sha256",
        }
    }

    fn parse(text: &str) -> Option<KeyAlgorithm> {
        [KeyAlgorithm::Rsa, KeyAlgorithm::Ed25519].into_iter().find(|a| a.as_str() == text)
    }
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyState {
    Pending,
    Active,
    Retiring,
    Retired,
}

impl KeyState {
    pub const fn as_str(self) -> &'static str {
        match self {
            KeyState::Pending => "Pending",
            KeyState::Active => "Active",
            KeyState::Retiring => "Retiring",
            KeyState::Retired => "Retired",
        }
    }

    fn parse(text: &str) -> Option<KeyState> {
        use KeyState::{Active, Pending, Retired, Retiring};
        [Pending, Active, Retiring, Retired].into_iter().find(|s| s.as_str() == text)
    }
}

/// A key without its private part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    pub selector: String,
    pub algorithm: KeyAlgorithm,
    pub bits: u32,
    pub state: KeyState,
    pub created: Timestamp,
    /// When it came into this state.
    pub since: Timestamp,
    /// As it stands behind `p=` in its record.
    pub public: String,
}

impl KeyInfo {
    /// What the DNS should show at [`name`](KeyInfo::name).
    pub fn record(&self) -> String {
        let kind = match self.algorithm {
            KeyAlgorithm::Rsa => "rsa",
            KeyAlgorithm::Ed25519 => "ed25519",
        };
        format!("v=DKIM1; k={kind}; p={}", self.public)
    }

    /// `SELECTOR._domainkey.DOMAIN`
    pub fn name(&self, domain: &str) -> String {
        format!("{}._domainkey.{domain}", self.selector)
    }
}

/// The keys of a domain, by selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainKeys {
    pub domain: String,
    /// Whether its messages are signed.
    pub enabled: bool,
    pub keys: Vec<KeyInfo>,
}

/// A private key: RSA in PKCS#1, Ed25519 in PKCS#8. Wiped when it is dropped.
pub(crate) struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub(crate) fn der(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Where the keys are.
#[derive(Clone, Debug)]
pub struct KeyFolder {
    root: PathBuf,
}

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
/// Touched by every change, so that a running server sees it.
const CHANGED: &str = "changed";
const SIGNING: &str = "signing";

impl KeyFolder {
    /// `data` is the data folder. Nothing need be there yet.
    pub fn new(data: &Path) -> KeyFolder {
        KeyFolder { root: data.join("secret").join("dkim") }
    }

    /// When something was last changed by this program.
    pub fn changed(&self) -> Option<SystemTime> {
        fs::metadata(self.root.join(CHANGED)).and_then(|m| m.modified()).ok()
    }

    /// Every domain that has keys, by name.
    pub fn domains(&self) -> Result<Vec<DomainKeys>, KeyError> {
        let mut names = Vec::new();
        for entry in listed(&self.root)? {
            if entry.is_dir()
                && let Some(name) = entry.file_name().and_then(|n| n.to_str())
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        names.iter().filter_map(|name| self.domain(name).transpose()).collect()
    }

    /// The keys of a domain; `None` where it has none.
    pub fn domain(&self, domain: &str) -> Result<Option<DomainKeys>, KeyError> {
        let folder = self.folder(domain)?;
        let mut keys = Vec::new();
        for path in listed(&folder)? {
            if path.extension().is_some_and(|e| e == "key") {
                keys.push(read_key(&path)?.0);
            }
        }
        if keys.is_empty() {
            return Ok(None);
        }
        keys.sort_by(|a, b| (a.created, &a.selector).cmp(&(b.created, &b.selector)));
        let switch = folder.join(SIGNING);
        let enabled = match fs::read_to_string(&switch) {
            Ok(text) => text.trim() != "off",
            Err(e) if e.kind() == io::ErrorKind::NotFound => true,
            Err(source) => return Err(KeyError::Io { path: switch, source }),
        };
        Ok(Some(DomainKeys { domain: domain.to_owned(), enabled, keys }))
    }

    /// Makes an RSA and an Ed25519 key, pending. It takes up to seconds of computing. `selector` is what both selectors
    /// begin with; the date if not given.
    pub fn make(
        &self,
        domain: &str,
        bits: u32,
        selector: Option<&str>,
        now: Timestamp,
    ) -> Result<Vec<KeyInfo>, KeyError> {
        let folder = self.folder(domain)?;
        if !(2048..=4096).contains(&bits) {
            return Err(KeyError::Bits);
        }
        let known = self.domain(domain)?.map(|d| d.keys).unwrap_or_default();
        if known.len() + 2 > limits::KEYS {
            return Err(KeyError::TooMany(domain.to_owned()));
        }
        let base = self.base(domain, selector, &known, now)?;
        let mut made = Vec::new();
        for (algorithm, ending) in [(KeyAlgorithm::Rsa, "r"), (KeyAlgorithm::Ed25519, "e")] {
            let (secret, public, bits) = match algorithm {
                KeyAlgorithm::Rsa => make_rsa(bits)?,
                KeyAlgorithm::Ed25519 => make_ed25519()?,
            };
            let selector = format!("{base}{ending}");
            let key = KeyInfo {
                selector,
                algorithm,
                bits,
                state: KeyState::Pending,
                created: now,
                since: now,
                public,
            };
            made.push((key, secret));
        }
        make_folder(&self.root)?;
        make_folder(&folder)?;
        for (key, secret) in &made {
            write_key(&folder, key, Some(secret))?;
        }
        self.touch()?;
        Ok(made.into_iter().map(|(key, _)| key).collect())
    }

    /// What the selectors begin with: as wished, or by the date, with a letter when the day has some already.
    fn base(
        &self,
        domain: &str,
        wished: Option<&str>,
        known: &[KeyInfo],
        now: Timestamp,
    ) -> Result<String, KeyError> {
        let taken = |base: &str| {
            known.iter().any(|k| k.selector == format!("{base}r") || k.selector == format!("{base}e"))
        };
        if let Some(wished) = wished {
            let wished = wished.to_ascii_lowercase();
            if !is_selector(&format!("{wished}-e")) {
                return Err(KeyError::Selector(wished));
            }
            let base = format!("{wished}-");
            return if taken(&base) { Err(KeyError::Taken(domain.to_owned(), wished)) } else { Ok(base) };
        }
        let day = now.civil();
        let day = format!("{:04}{:02}{:02}", day.year, day.month, day.day);
        let bases =
            std::iter::once(format!("{day}-")).chain(('b'..='z').map(|letter| format!("{day}{letter}-")));
        let mut free = bases.filter(|base| !taken(base));
        free.next().ok_or_else(|| KeyError::TooMany(domain.to_owned()))
    }

    /// Switches signing for a domain.
    pub fn enable(&self, domain: &str, on: bool) -> Result<(), KeyError> {
        self.existing(domain)?;
        files::write_private(&self.folder(domain)?.join(SIGNING), if on { "on\n" } else { "off\n" })?;
        self.touch()
    }

    /// Lets a key sign from now on, and those of its kind before it retire.
    pub fn activate(&self, domain: &str, selector: &str, now: Timestamp) -> Result<(), KeyError> {
        let all = self.existing(domain)?;
        let key = all
            .keys
            .iter()
            .find(|k| k.selector == selector && matches!(k.state, KeyState::Pending | KeyState::Retiring));
        let Some(key) = key else {
            return Err(KeyError::NoKey(domain.to_owned(), selector.to_owned()));
        };
        self.put_state(domain, selector, KeyState::Active, now)?;
        for old in all.keys.iter().filter(|k| k.algorithm == key.algorithm && k.state == KeyState::Active) {
            self.put_state(domain, &old.selector, KeyState::Retiring, now)?;
        }
        self.touch()
    }

    /// Takes a key's private part away; its record may leave the DNS.
    pub fn retire(&self, domain: &str, selector: &str, now: Timestamp) -> Result<(), KeyError> {
        self.put_state(domain, selector, KeyState::Retired, now)?;
        self.touch()
    }

    /// Forgets one key.
    pub fn forget(&self, domain: &str, selector: &str) -> Result<(), KeyError> {
        let path = self.key_path(domain, selector)?;
        fs::remove_file(&path).map_err(|source| KeyError::Io { path, source })?;
        self.touch()
    }

    /// Forgets all keys of a domain.
    pub fn remove(&self, domain: &str) -> Result<(), KeyError> {
        self.existing(domain)?;
        let path = self.folder(domain)?;
        fs::remove_dir_all(&path).map_err(|source| KeyError::Io { path, source })?;
        self.touch()
    }

    pub(crate) fn secret(&self, domain: &str, selector: &str) -> Result<Secret, KeyError> {
        let path = self.key_path(domain, selector)?;
        read_key(&path)?.1.ok_or(KeyError::Content { path, why: "it has no private key" })
    }

    fn existing(&self, domain: &str) -> Result<DomainKeys, KeyError> {
        self.domain(domain)?.ok_or_else(|| KeyError::NoDomain(domain.to_owned()))
    }

    fn put_state(
        &self,
        domain: &str,
        selector: &str,
        state: KeyState,
        now: Timestamp,
    ) -> Result<(), KeyError> {
        let path = self.key_path(domain, selector)?;
        let (key, secret) = read_key(&path)?;
        let secret = secret.filter(|_| state != KeyState::Retired);
        write_key(&self.folder(domain)?, &KeyInfo { state, since: now, ..key }, secret.as_ref())
    }

    fn touch(&self) -> Result<(), KeyError> {
        Ok(files::write_private(&self.root.join(CHANGED), "")?)
    }

    fn folder(&self, domain: &str) -> Result<PathBuf, KeyError> {
        let sound = domain.len() <= 253
            && domain.split('.').all(is_selector)
            && domain.chars().all(|c| !c.is_ascii_uppercase());
        if sound { Ok(self.root.join(domain)) } else { Err(KeyError::Domain(domain.to_owned())) }
    }

    fn key_path(&self, domain: &str, selector: &str) -> Result<PathBuf, KeyError> {
        let path = self.folder(domain)?.join(format!("{selector}.key"));
        if is_selector(selector) && path.exists() {
            Ok(path)
        } else {
            Err(KeyError::NoKey(domain.to_owned(), selector.to_owned()))
        }
    }
}

fn is_selector(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// A new RSA key in PKCS #1, for whoever needs one besides signing mail. Takes up to seconds.
pub fn rsa_key(bits: u32) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    if !(2_048..=4_096).contains(&bits) {
        return Err(KeyError::Bits);
    }
    let (secret, ..) = make_rsa(bits)?;
    Ok(secret.0)
}

fn make_rsa(bits: u32) -> Result<(Secret, String, u32), KeyError> {
    let making = |e: &dyn fmt::Display| KeyError::Making(e.to_string());
    // Only made here: signing is ring's, whose arithmetic takes the same time for every key.
    let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, bits as usize).map_err(|e| making(&e))?;
    let public = key.to_public_key().to_public_key_der().map_err(|e| making(&e))?;
    let secret = key.to_pkcs1_der().map_err(|e| making(&e))?;
    let secret = Secret(Zeroizing::new(secret.as_bytes().to_vec()));
    Ok((secret, STANDARD.encode(public.as_bytes()), bits))
}

fn make_ed25519() -> Result<(Secret, String, u32), KeyError> {
    let failed = || KeyError::Making("no random numbers".into());
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| failed())?;
    let secret = Secret(Zeroizing::new(document.as_ref().to_vec()));
    let pair = Ed25519KeyPair::from_pkcs8(secret.der()).map_err(|_| failed())?;
    Ok((secret, STANDARD.encode(pair.public_key().as_ref()), 256))
}

fn listed(folder: &Path) -> Result<Vec<PathBuf>, KeyError> {
    let fault = |source| KeyError::Io { path: folder.to_owned(), source };
    match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(fault(e)),
        Ok(entries) => entries.map(|entry| entry.map(|e| e.path()).map_err(fault)).collect(),
    }
}

fn make_folder(path: &Path) -> Result<(), KeyError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|source| KeyError::Io { path: path.to_owned(), source })
}

fn write_key(folder: &Path, key: &KeyInfo, secret: Option<&Secret>) -> Result<(), KeyError> {
    let mut text = Zeroizing::new(format!(
        "Algorithm: {}\nBits: {}\nState: {}\nCreated: {}\nSince: {}\nPublic: {}\n",
        key.algorithm.as_str(),
        key.bits,
        key.state.as_str(),
        key.created.as_millis(),
        key.since.as_millis(),
        key.public
    ));
    if let Some(secret) = secret {
        let base64 = Zeroizing::new(STANDARD.encode(secret.der()));
        text.reserve(base64.len() + base64.len() / 64 + 64);
        text.push_str(BEGIN);
        for (at, c) in base64.chars().enumerate() {
            if at % 64 == 0 {
                text.push('\n');
            }
            text.push(c);
        }
        text.push('\n');
        text.push_str(END);
        text.push('\n');
    }
    Ok(files::write_private(&folder.join(format!("{}.key", key.selector)), &text)?)
}

fn read_key(path: &Path) -> Result<(KeyInfo, Option<Secret>), KeyError> {
    let fault = |source| KeyError::Io { path: path.to_owned(), source };
    let mut text = Zeroizing::new(String::new());
    let file = fs::File::open(path).map_err(fault)?;
    file.take(limits::KEY_FILE).read_to_string(&mut text).map_err(fault)?;
    let why = |why: &'static str| KeyError::Content { path: path.to_owned(), why };
    let (head, pem) = match text.split_once(BEGIN) {
        Some((head, pem)) => (head, pem.split_once(END).map(|(base64, _)| base64)),
        None => (text.as_str(), None),
    };
    let value = |name: &'static str| {
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).ok_or_else(|| why(name))
    };
    let number = |name: &'static str| value(name)?.parse::<i64>().map_err(|_| why(name));
    let selector = path.file_stem().and_then(|s| s.to_str()).ok_or_else(|| why("its name"))?.to_owned();
    let key = KeyInfo {
        selector,
        algorithm: KeyAlgorithm::parse(value("Algorithm")?).ok_or_else(|| why("Algorithm"))?,
        bits: u32::try_from(number("Bits")?).map_err(|_| why("Bits"))?,
        state: KeyState::parse(value("State")?).ok_or_else(|| why("State"))?,
        created: Timestamp(number("Created")?),
        since: Timestamp(number("Since")?),
        public: value("Public")?.to_owned(),
    };
    let Some(base64) = pem else { return Ok((key, None)) };
    let base64: Zeroizing<String> = Zeroizing::new(base64.split_ascii_whitespace().collect());
    let der = STANDARD.decode(base64.as_bytes()).map_err(|_| why("the private key"))?;
    Ok((key, Some(Secret(Zeroizing::new(der)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("waypost-dkim-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_key_comes_and_goes() {
        let data = Folder::new("life");
        let keys = KeyFolder::new(&data.0);
        assert_eq!(keys.domains().unwrap(), []);
        let now = Timestamp::from_seconds(1_767_225_600);
        let made = keys.make("a.example", 2048, None, now).unwrap();
        let selectors: Vec<&str> = made.iter().map(|k| k.selector.as_str()).collect();
        assert_eq!(selectors, ["20260101-r", "20260101-e"]);
        assert!(made[0].record().starts_with("v=DKIM1; k=rsa; p=MIIB"));
        assert_eq!(made[1].record().len(), "v=DKIM1; k=ed25519; p=".len() + 44);
        for key in &made {
            let secret = keys.secret("a.example", &key.selector).unwrap();
            crate::sign::SigningKey::new(key.algorithm, &key.selector, &secret).unwrap();
            keys.activate("a.example", &key.selector, now).unwrap();
        }
        let next = keys.make("a.example", 2048, Some("Next"), now.plus_millis(1)).unwrap();
        assert!(matches!(keys.make("a.example", 2048, Some("next"), now), Err(KeyError::Taken(..))));
        assert_eq!(next[0].selector, "next-r");
        keys.activate("a.example", "next-r", now.plus_millis(2)).unwrap();
        let states = |keys: &KeyFolder| -> Vec<(String, KeyState)> {
            let all = keys.domain("a.example").unwrap().unwrap();
            all.keys.into_iter().map(|k| (k.selector, k.state)).collect()
        };
        let expected = [
            ("20260101-e".to_owned(), KeyState::Active),
            ("20260101-r".to_owned(), KeyState::Retiring),
            ("next-e".to_owned(), KeyState::Pending),
            ("next-r".to_owned(), KeyState::Active),
        ];
        assert_eq!(states(&keys), expected);
        keys.retire("a.example", "20260101-r", now).unwrap();
        assert!(keys.secret("a.example", "20260101-r").is_err(), "its private part is gone");
        keys.enable("a.example", false).unwrap();
        assert!(!keys.domain("a.example").unwrap().unwrap().enabled);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let path = data.0.join("secret/dkim/a.example/next-r.key");
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        keys.remove("a.example").unwrap();
        assert_eq!(keys.domain("a.example").unwrap(), None);
    }

    #[test]
    fn names_stay_inside_the_folder() {
        let keys = KeyFolder::new(Path::new("/nonexistent"));
        for bad in ["..", "a/b", "", "A.example", "a..b", "-a", "a.example."] {
            assert!(matches!(keys.domain(bad), Err(KeyError::Domain(_))), "{bad}");
        }
        let now = Timestamp(0);
        assert!(matches!(keys.make("a.example", 2048, Some("../x"), now), Err(KeyError::Selector(_))));
        assert!(matches!(keys.make("a.example", 1024, None, now), Err(KeyError::Bits)));
    }
}
