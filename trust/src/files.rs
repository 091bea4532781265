//! Certificates and keys on disk. Private keys are readable by their owner only, from the first moment on; a file is
//! either the old one or the new one, never half of each.

use crate::certificate::{KeyedCertificate, TrustError};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;
use waypost_base::denials::report_in;

#[derive(Debug, Error)]
pub enum FileError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Content { path: PathBuf, source: TrustError },
}

/// Writes a private key: mode 0600.
pub fn write_private(path: &Path, text: &str) -> Result<(), FileError> {
    report_in(path, "write", replace(path, text, 0o600))
        .map_err(|source| FileError::Io { path: path.to_owned(), source })
}

/// Writes something that everybody may read: mode 0644.
pub fn write_public(path: &Path, text: &str) -> Result<(), FileError> {
    report_in(path, "write", replace(path, text, 0o644))
        .map_err(|source| FileError::Io { path: path.to_owned(), source })
}

pub fn read(path: &Path) -> Result<String, FileError> {
    report_in(path, "read", fs::read_to_string(path))
        .map_err(|source| FileError::Io { path: path.to_owned(), source })
}

/// Reads `NAME.crt` and `NAME.key` in a folder, and looks whether they belong together.
pub fn load(folder: &Path, name: &str) -> Result<KeyedCertificate, FileError> {
    let (chain, key) = paths(folder, name);
    let both = KeyedCertificate { chain_pem: read(&chain)?, key_pem: read(&key)? };
    both.check().map_err(|source| FileError::Content { path: chain, source })?;
    Ok(both)
}

/// Writes `NAME.key`, then `NAME.crt`: a reader that comes between finds that they do not fit, and keeps the old pair.
pub fn save(folder: &Path, name: &str, certificate: &KeyedCertificate) -> Result<(), FileError> {
    let (chain, key) = paths(folder, name);
    write_private(&key, &certificate.key_pem)?;
    write_public(&chain, &certificate.chain_pem)
}

fn paths(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")))
}

fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    replace_bytes(path, text.as_bytes(), mode)
}

pub(crate) fn replace_bytes(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = folder.join(name);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let mut file = options.open(&beside)?;
    // A file left over from a crash keeps the mode that it had.
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::self_signed;
    use waypost_base::Timestamp;

    #[test]
    fn keys_are_private_and_pairs_must_fit() {
        let folder = std::env::temp_dir().join(format!("waypost-trust-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let a = self_signed(&["a.test"], 1, Timestamp(0)).unwrap();
        save(&folder, "public", &a).unwrap();
        assert_eq!(load(&folder, "public").unwrap(), a);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(folder.join("public.key")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let b = self_signed(&["b.test"], 1, Timestamp(0)).unwrap();
        write_private(&folder.join("public.key"), &b.key_pem).unwrap();
        assert!(matches!(load(&folder, "public"), Err(FileError::Content { .. })));
        assert!(matches!(load(&folder, "missing"), Err(FileError::Io { .. })));
        fs::remove_dir_all(&folder).unwrap();
    }
}
