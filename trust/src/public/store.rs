//! The certificates that a server has, with their keys and what was said about each. Files with fixed names in one
//! folder; everything else is read out of the certificates themselves.

use super::key::{self, KeyFile};
use crate::certificate::{Facts, KeyedCertificate, TrustError, chain, fingerprint_sha1};
use crate::files::{self, FileError};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;
use waypost_base::Timestamp;

/// Certificates in the store. Old ones may be kept for long; more than this is a script gone wrong.
const ENTRIES_MAX: usize = 1_000;
/// Bytes of a chain; see also the limit of certificates in one.
const CHAIN_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Debug, Error)]
pub enum StoreError {
    #[error("{0}")]
    File(#[from] FileError),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Content(#[from] TrustError),
    #[error("there is no certificate {0}")]
    NotFound(String),
    #[error("the certificate {0} is here already")]
    Exists(String),
    #[error("the store holds {ENTRIES_MAX} certificates: remove old ones first")]
    Full,
    #[error("{0} came without its key, and no request that waits here was made with it")]
    NoKey(String),
}

/// What people said about a certificate; everything else it says by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Note {
    pub friendly_name: String,
    /// Export- gives the key away.
    pub exportable: bool,
    pub created: Timestamp,
    /// `New-ExchangeCertificate`, `acme https://…`
    pub origin: String,
    /// Of a request: its subject and names, for lists.
    pub subject: String,
    pub names: Vec<String>,
}

/// A certificate in the store, or a request whose certificate has not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// SHA-1 of the certificate, or of the request, in upper-case hexadecimal.
    pub thumbprint: String,
    pub note: Note,
    /// `None` where this is a request.
    pub facts: Option<Facts>,
    /// The chain, or the request, in PEM.
    pub pem: String,
    /// There is a key file; who can read it is another question ([`PublicStore::key`]).
    pub has_key: bool,
}

impl Entry {
    pub fn is_request(&self) -> bool {
        self.facts.is_none()
    }
}

/// A thumbprint as it is written here: upper case, without spaces and colons. `None` where it is none.
pub fn thumbprint(text: &str) -> Option<String> {
    // Copied out of a Windows dialogue it may begin with an invisible mark.
    let plain: String = text.chars().filter(|c| !" :\u{200e}\u{200f}".contains(*c)).collect();
    let sound = plain.len() == 40 && plain.bytes().all(|b| b.is_ascii_hexdigit());
    sound.then(|| plain.to_ascii_uppercase())
}

/// See the module.
#[derive(Clone, Debug)]
pub struct PublicStore {
    folder: PathBuf,
}

impl PublicStore {
    /// Of a data folder. Nothing is made or read.
    pub fn of(data: &Path) -> PublicStore {
        PublicStore { folder: data.join("public/certificates") }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn file(&self, thumbprint: &str, end: &str) -> PathBuf {
        self.folder.join(format!("{thumbprint}.{end}"))
    }

    pub fn chain_file(&self, thumbprint: &str) -> PathBuf {
        self.file(thumbprint, "crt")
    }

    pub fn key_file(&self, thumbprint: &str) -> PathBuf {
        self.file(thumbprint, "key")
    }

    /// The key as the user of this process finds it.
    pub fn key(&self, thumbprint: &str) -> KeyFile {
        KeyFile::look(&self.key_file(thumbprint))
    }

    /// Everything that is here, by thumbprint. Files that cannot be read are passed over, each with its reason.
    pub fn list(&self) -> Result<(Vec<Entry>, Vec<StoreError>), StoreError> {
        let at = |source| StoreError::Io { path: self.folder.clone(), source };
        let found = match fs::read_dir(&self.folder) {
            Ok(found) => found,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), Vec::new())),
            Err(e) => return Err(at(e)),
        };
        let mut names: Vec<String> = Vec::new();
        for file in found {
            let name = file.map_err(at)?.file_name();
            let Some((stem, end)) = name.to_str().and_then(|n| n.split_once('.')) else { continue };
            if matches!(end, "crt" | "csr") && thumbprint(stem).as_deref() == Some(stem) {
                names.push(stem.to_owned());
            }
        }
        names.sort();
        names.dedup();
        let (mut entries, mut faults) = (Vec::new(), Vec::new());
        for name in names.iter().take(ENTRIES_MAX) {
            match self.get(name) {
                Ok(entry) => entries.push(entry),
                Err(e) => faults.push(e),
            }
        }
        Ok((entries, faults))
    }

    /// One by its thumbprint, in whatever spelling.
    pub fn get(&self, wanted: &str) -> Result<Entry, StoreError> {
        let name = thumbprint(wanted).ok_or_else(|| StoreError::NotFound(wanted.to_owned()))?;
        let note = fs::read(self.file(&name, "json")).ok();
        let note: Note = note.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        let has_key = self.key_file(&name).exists();
        let path = self.chain_file(&name);
        if path.exists() {
            let pem = read_bounded(&path)?;
            let facts = Some(Facts::of_pem(&pem)?);
            return Ok(Entry { thumbprint: name, note, facts, pem, has_key });
        }
        let path = self.file(&name, "csr");
        if path.exists() {
            let pem = read_bounded(&path)?;
            return Ok(Entry { thumbprint: name, note, facts: None, pem, has_key });
        }
        Err(StoreError::NotFound(wanted.to_owned()))
    }

    /// Chain and key, proved to belong together.
    pub fn load(&self, thumbprint: &str) -> Result<KeyedCertificate, FileError> {
        files::load(&self.folder, thumbprint)
    }

    /// Puts a certificate in. The key is kept as PKCS #8, whatever form it came in. Gives the thumbprint.
    pub fn add(&self, certificate: &KeyedCertificate, note: &Note) -> Result<String, StoreError> {
        let facts = certificate.check()?;
        let name = facts.thumbprint;
        if self.chain_file(&name).exists() && self.key_file(&name).exists() {
            return Err(StoreError::Exists(name));
        }
        self.room()?;
        let key_pem = key::pkcs8_pem(&key::pkcs8(&certificate.key_pem)?);
        self.note(&name, note)?;
        files::write_private(&self.key_file(&name), &key_pem)?;
        files::write_public(&self.chain_file(&name), &certificate.chain_pem)?;
        self.hand_over(&name)?;
        Ok(name)
    }

    /// Keeps a request with its key until the certificate comes. Gives the thumbprint of the request.
    pub fn add_request(&self, request: &super::make::Request, note: &Note) -> Result<String, StoreError> {
        self.room()?;
        let name = fingerprint_sha1(&request.csr_der);
        self.note(&name, note)?;
        files::write_private(&self.key_file(&name), &request.key_pem)?;
        files::write_public(&self.file(&name, "csr"), &request.csr_pem)?;
        self.hand_over(&name)?;
        Ok(name)
    }

    /// A certificate that came without a key: the answer to one of our requests. Gives the thumbprint of the certificate,
    /// and that of the request, which is gone.
    pub fn complete(&self, chain_pem: &str, friendly: Option<&str>) -> Result<(String, String), StoreError> {
        let facts = Facts::of_pem(chain_pem)?;
        let (entries, _) = self.list()?;
        for request in entries.iter().filter(|e| e.is_request()) {
            let Ok(key_pem) = files::read(&self.key_file(&request.thumbprint)) else { continue };
            let both = KeyedCertificate { chain_pem: chain_pem.to_owned(), key_pem };
            if both.check().is_err() {
                continue;
            }
            let mut note = request.note.clone();
            if let Some(name) = friendly {
                note.friendly_name = name.to_owned();
            }
            let done = self.add(&both, &note)?;
            self.remove(&request.thumbprint)?;
            return Ok((done, request.thumbprint.clone()));
        }
        Err(StoreError::NoKey(facts.subject))
    }

    /// Takes a certificate or request away with its key. Whether it is bound is for the caller to know.
    pub fn remove(&self, wanted: &str) -> Result<(), StoreError> {
        let name = thumbprint(wanted).ok_or_else(|| StoreError::NotFound(wanted.to_owned()))?;
        let mut any = false;
        // What makes it visible goes first: half of it is never listed.
        for end in ["crt", "csr", "key", "json"] {
            let path = self.file(&name, end);
            match fs::remove_file(&path) {
                Ok(()) => any = true,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(StoreError::Io { path, source }),
            }
        }
        if any { Ok(()) } else { Err(StoreError::NotFound(wanted.to_owned())) }
    }

    /// Changes what was said about a certificate.
    pub fn note(&self, thumbprint: &str, note: &Note) -> Result<(), StoreError> {
        let path = self.file(thumbprint, "json");
        let text = serde_json::to_string_pretty(note)
            .map_err(|e| StoreError::Io { path: path.clone(), source: io::Error::other(e) })?;
        Ok(files::write_public(&path, &text)?)
    }

    fn room(&self) -> Result<(), StoreError> {
        let at = |source| StoreError::Io { path: self.folder.clone(), source };
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(&self.folder).map_err(at)?;
        self.give(&self.folder)?;
        let count = fs::read_dir(&self.folder).map_err(at)?.count();
        if count >= ENTRIES_MAX * 3 { Err(StoreError::Full) } else { Ok(()) }
    }

    /// Files that root makes on a stopped server belong to whoever the data folder belongs to: the role's user has to
    /// read them.
    fn hand_over(&self, name: &str) -> Result<(), StoreError> {
        for end in ["crt", "csr", "key", "json"] {
            let path = self.file(name, end);
            if path.exists() {
                self.give(&path)?;
            }
        }
        Ok(())
    }

    fn give(&self, path: &Path) -> Result<(), StoreError> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let at = |source| StoreError::Io { path: path.to_owned(), source };
            let Some(data) = self.folder.ancestors().nth(2) else { return Ok(()) };
            let (wanted, is) = (fs::metadata(data).map_err(at)?, fs::metadata(path).map_err(at)?);
            if wanted.uid() != is.uid() {
                std::os::unix::fs::chown(path, Some(wanted.uid()), Some(wanted.gid())).map_err(at)?;
            }
        }
        Ok(())
    }
}

fn read_bounded(path: &Path) -> Result<String, StoreError> {
    let at = |source| StoreError::Io { path: path.to_owned(), source };
    if fs::metadata(path).map_err(at)?.len() > CHAIN_BYTES_MAX {
        return Err(at(io::Error::other("larger than 1 MB")));
    }
    waypost_base::denials::report_in(path, "read", fs::read_to_string(path)).map_err(at)
}

/// A certificate as it came, made whole: the leaf found, the chain in order, the key beside it if one came.
pub struct Import {
    pub chain_pem: String,
    pub key_pem: Option<String>,
    pub facts: Facts,
}

impl Import {
    pub fn of(found: super::form::Found) -> Result<Import, TrustError> {
        let super::form::Found { certificates, key } = found;
        let key_pem = key.as_deref().map(key::pkcs8_pem);
        let fits = |der: &Vec<u8>| {
            let both = KeyedCertificate {
                chain_pem: super::form::chain_pem(std::slice::from_ref(der)),
                key_pem: key_pem.clone().unwrap_or_default(),
            };
            both.check().is_ok()
        };
        let leaf = match &key_pem {
            Some(_) => certificates.iter().position(fits).ok_or(TrustError::KeyMismatch)?,
            None => super::form::leaf_of(&certificates),
        };
        let chain_pem = super::form::chain_pem(&super::form::in_order(leaf, &certificates));
        let facts = Facts::of_der(&chain(&chain_pem)?.remove(0))?;
        Ok(Import { chain_pem, key_pem, facts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::self_signed;
    use crate::public::make::{Wish, request};

    const NOW: Timestamp = Timestamp(1_772_525_720_000);

    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("waypost-public-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn kept_and_removed() {
        let data = scratch("kept");
        let store = PublicStore::of(&data);
        assert_eq!(store.list().unwrap().0, []);
        let made = self_signed(&["a.test"], 90, NOW).unwrap();
        let note = Note { friendly_name: "first".into(), created: NOW, ..Note::default() };
        let name = store.add(&made, &note).unwrap();
        assert!(matches!(store.add(&made, &note), Err(StoreError::Exists(_))));
        let entry = store.get(&name.to_lowercase()).unwrap();
        assert_eq!((entry.note.friendly_name.as_str(), entry.has_key), ("first", true));
        store.load(&name).unwrap().check().unwrap();
        assert_eq!(store.list().unwrap().0, [entry]);
        fs::write(store.folder().join(format!("{}.crt", "A".repeat(40))), "nothing").unwrap();
        let (entries, faults) = store.list().unwrap();
        assert_eq!((entries.len(), faults.len()), (1, 1));
        store.remove(&name).unwrap();
        assert!(matches!(store.remove(&name), Err(StoreError::NotFound(_))));
        assert!(matches!(store.get("../../etc/passwd"), Err(StoreError::NotFound(_))));
        fs::remove_dir_all(&data).unwrap();
    }

    #[test]
    fn a_request_is_completed() {
        let data = scratch("request");
        let store = PublicStore::of(&data);
        let wish = Wish { names: vec!["mail.contoso.test".into()], ..Wish::default() };
        let asked = request(&wish).unwrap();
        let pending = store.add_request(&asked, &Note::default()).unwrap();
        assert!(store.get(&pending).unwrap().is_request());
        // Whoever signs it needs the request only; here the key does.
        let given =
            Wish { key: crate::public::make::KeyKind::Given(key::pkcs8(&asked.key_pem).unwrap()), ..wish };
        let signed = crate::public::make::self_signed(&given, 90, NOW).unwrap();
        let stranger = self_signed(&["mail.contoso.test"], 90, NOW).unwrap();
        assert!(matches!(store.complete(&stranger.chain_pem, None), Err(StoreError::NoKey(_))));
        let (done, request) = store.complete(&signed.chain_pem, Some("renewed")).unwrap();
        assert_eq!(request, pending);
        assert_eq!(store.list().unwrap().0.len(), 1);
        assert_eq!(store.get(&done).unwrap().note.friendly_name, "renewed");
        fs::remove_dir_all(&data).unwrap();
    }

    #[test]
    fn thumbprints_in_any_spelling() {
        let plain = "0123456789ABCDEF0123456789ABCDEF01234567";
        assert_eq!(
            thumbprint("\u{200e}01 23 45 67 89 ab cd ef 01 23 45 67 89 ab cd ef 01 23 45 67").as_deref(),
            Some(plain)
        );
        assert_eq!(thumbprint("0123"), None);
    }
}
