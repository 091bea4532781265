//! Private keys: read whatever form they come in, kept as PKCS #8, and looked at as files: who may read them, and why
//! the role's user cannot.

use super::der::{self, Item};
use crate::certificate::TrustError;
use rcgen::KeyPair;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes of a key file; an RSA key of 4096 bits has 3.2 KB.
const KEY_BYTES_MAX: u64 = 64 * 1024;

const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// The key in a PEM text (PKCS #8, PKCS #1 or SEC 1; not encrypted) as PKCS #8 in DER.
pub fn pkcs8(pem: &str) -> Result<Vec<u8>, TrustError> {
    if pem.contains("ENCRYPTED") {
        return Err(TrustError::Pem(
            "the private key is encrypted; decrypt it (openssl pkey -in KEY), or import a PFX file with its password"
                .into(),
        ));
    }
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| TrustError::Pem(e.to_string()))?;
    match &key {
        PrivateKeyDer::Pkcs8(key) => Ok(key.secret_pkcs8_der().to_vec()),
        PrivateKeyDer::Pkcs1(key) => Ok(pkcs8_of_pkcs1(key.secret_pkcs1_der())),
        PrivateKeyDer::Sec1(key) => pkcs8_of_sec1(key.secret_sec1_der())
            .ok_or_else(|| TrustError::Pem("the EC key does not name its curve".into())),
        _ => Err(TrustError::Pem("a private key of an unknown kind".into())),
    }
}

/// An RSA key (RFC 8017 §A.1.2) wrapped up (RFC 5208 §5).
pub fn pkcs8_of_pkcs1(key: &[u8]) -> Vec<u8> {
    let algorithm = der::sequence(&[der::item(der::OID, RSA_ENCRYPTION), der::item(der::NULL, &[])]);
    der::sequence(&[der::item(der::INTEGER, &[0]), algorithm, der::item(der::OCTETS, key)])
}

/// RFC 5915 §3: the curve stands in the parameters, tagged [0].
fn pkcs8_of_sec1(key: &[u8]) -> Option<Vec<u8>> {
    let mut items = Item::only(key)?.of(der::SEQUENCE)?.items();
    let curve = items.find(|i| i.tag == 0xa0)?.items().next()?.of(der::OID)?;
    let algorithm = der::sequence(&[der::item(der::OID, EC_PUBLIC_KEY), curve.whole.to_vec()]);
    Some(der::sequence(&[der::item(der::INTEGER, &[0]), algorithm, der::item(der::OCTETS, key)]))
}

/// The same key as PKCS #8 in PEM, as the store keeps it.
pub fn pkcs8_pem(pkcs8: &[u8]) -> String {
    super::form::pem("PRIVATE KEY", pkcs8)
}

/// The key, ready to sign.
pub(crate) fn key_pair(pem: &str) -> Result<KeyPair, TrustError> {
    Ok(KeyPair::try_from(pkcs8(pem)?)?)
}

/// A key file as the role's user finds it.
#[derive(Clone, PartialEq, Eq)]
pub enum KeyFile {
    /// Its text, and whether others than its owner may read it.
    Readable {
        path: PathBuf,
        pem: String,
        exposed: Option<u32>,
    },
    Missing(PathBuf),
    /// Not for us: the operating system's answer, and who may.
    Unreadable {
        path: PathBuf,
        error: String,
        owner: String,
        group: String,
        mode: u32,
        user: String,
    },
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyFile::Readable { path, exposed, .. } => f
                .debug_struct("Readable")
                .field("path", path)
                .field("exposed", exposed)
                .finish_non_exhaustive(),
            KeyFile::Missing(path) => f.debug_tuple("Missing").field(path).finish(),
            KeyFile::Unreadable { path, error, .. } => {
                f.debug_struct("Unreadable").field("path", path).field("error", error).finish_non_exhaustive()
            }
        }
    }
}

impl KeyFile {
    /// Tries to read it, as the user that this process runs as.
    pub fn look(path: &Path) -> KeyFile {
        let read = || -> io::Result<String> {
            if fs::metadata(path)?.len() > KEY_BYTES_MAX {
                return Err(io::Error::other("larger than 64 KB: not a key"));
            }
            fs::read_to_string(path)
        };
        match read() {
            Ok(pem) => {
                let mode = rights(path).map(|r| r.mode);
                let exposed = mode.filter(|mode| mode & 0o007 != 0);
                KeyFile::Readable { path: path.to_owned(), pem, exposed }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => KeyFile::Missing(path.to_owned()),
            Err(e) => {
                // A folder above may be what keeps us out: it is the last that can be looked at.
                let rights = path.ancestors().find_map(rights).unwrap_or_default();
                KeyFile::Unreadable {
                    path: path.to_owned(),
                    error: e.to_string(),
                    owner: name_of("/etc/passwd", rights.owner),
                    group: name_of("/etc/group", rights.group),
                    mode: rights.mode,
                    user: own_user(),
                }
            }
        }
    }

    pub fn path(&self) -> &Path {
        match self {
            KeyFile::Readable { path, .. } | KeyFile::Missing(path) | KeyFile::Unreadable { path, .. } => {
                path
            }
        }
    }

    pub fn pem(&self) -> Option<&str> {
        match self {
            KeyFile::Readable { pem, .. } => Some(pem),
            _ => None,
        }
    }
}

/// Owner, group and permission bits of a file.
#[derive(Clone, Copy, Debug, Default)]
struct Rights {
    owner: u32,
    group: u32,
    mode: u32,
}

fn rights(path: &Path) -> Option<Rights> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let meta = fs::metadata(path).ok()?;
        Some(Rights { owner: meta.uid(), group: meta.gid(), mode: meta.mode() & 0o7777 })
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// The user that this process runs as, by name where there is one.
pub fn own_user() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    // Real, effective, saved, file system: the second opens files.
    match line.split_whitespace().nth(1).and_then(|uid| uid.parse().ok()) {
        Some(uid) => name_of("/etc/passwd", uid),
        None => "unknown".to_owned(),
    }
}

/// A number by its name in `/etc/passwd` or `/etc/group`.
fn name_of(file: &str, id: u32) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let named = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::self_signed;
    use waypost_base::Timestamp;

    #[test]
    fn every_form_of_a_key() {
        let made = self_signed(&["a.test"], 1, Timestamp(0)).unwrap();
        let inner = pkcs8(&made.key_pem).unwrap();
        // The PKCS #8 that ring makes holds a SEC 1 key without the curve.
        let sec1 = Item::only(&inner).unwrap().items().nth(2).unwrap().content;
        assert_eq!(pkcs8_of_sec1(sec1), None);
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert!(pkcs8(encrypted).unwrap_err().to_string().contains("encrypted"));
        assert!(pkcs8("nothing").is_err());
        assert_eq!(pkcs8(&pkcs8_pem(&inner)).unwrap(), inner);
    }

    #[test]
    fn files_are_looked_at() {
        let folder = std::env::temp_dir().join(format!("waypost-key-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.key");
        assert_eq!(KeyFile::look(&path), KeyFile::Missing(path.clone()));
        crate::files::write_private(&path, "text").unwrap();
        assert_eq!(
            KeyFile::look(&path),
            KeyFile::Readable { path: path.clone(), pem: "text".into(), exposed: None }
        );
        crate::files::write_public(&path, "text").unwrap();
        assert!(matches!(KeyFile::look(&path), KeyFile::Readable { exposed: Some(0o644), .. }));
        fs::remove_dir_all(&folder).unwrap();
    }
}
