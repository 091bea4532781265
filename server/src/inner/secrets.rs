//! Secrets that belong to settings rather than to a machine: DKIM keys, passwords of send connectors and of directory
//! sources. They are files in the folder `secret`, and servers that send mail or check passwords need them as the primary
//! has them. Nothing else of that folder ever leaves a machine.

use crate::place::{Place, write_secret};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use waypost_directory::Roles;

/// Bytes of all of them; keys have a few thousand, and a thousand domains are many.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What tells a running server that its DKIM keys have changed.
const CHANGED: &str = "dkim/changed";

/// Path below `secret`, with `/`, and content.
pub type Secrets = BTreeMap<String, Vec<u8>>;

/// Whether a server with these roles has a use for them.
pub fn wanted(roles: Roles) -> bool {
    roles.transport || roles.mailbox
}

/// Whether a path below `secret` is one of those that all servers share. Whatever tries to lead out of the folder is not.
fn is_shared(path: &str) -> bool {
    let parts: Vec<Component<'_>> = Path::new(path).components().collect();
    let plain = parts.iter().all(|part| matches!(part, Component::Normal(_)));
    let password = path.starts_with("send-connector-") || path.starts_with("directory-source-");
    let single = parts.len() == 1 && password && path.ends_with(".password");
    let dkim = parts.len() == 3 && path.starts_with("dkim/");
    plain && (single || dkim) && !path.contains('\\') && !path.ends_with(".new")
}

/// Those that are there.
pub fn read(place: &Place) -> io::Result<Secrets> {
    let root = place.root().join("secret");
    let mut found = Secrets::new();
    let mut left = BYTES_MAX;
    walk(&root, &root, 0, &mut |relative, path| {
        if !is_shared(relative) {
            return Ok(());
        }
        let size = fs::metadata(path)?.len();
        left = left.checked_sub(size).ok_or_else(|| io::Error::other("the secrets are too large"))?;
        found.insert(relative.to_owned(), fs::read(path)?);
        Ok(())
    })?;
    Ok(found)
}

fn walk(
    root: &Path,
    folder: &Path,
    depth: u8,
    take: &mut dyn FnMut(&str, &Path) -> io::Result<()>,
) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() && depth < 2 {
            walk(root, &path, depth + 1, take)?;
        } else if kind.is_file()
            && let Some(relative) = path.strip_prefix(root).ok().and_then(Path::to_str)
        {
            take(relative, &path)?;
        }
    }
    Ok(())
}

/// Makes those that are here what they are at the primary. Says whether anything has changed.
pub fn take(place: &Place, theirs: &Secrets) -> io::Result<bool> {
    let root = place.root().join("secret");
    let ours = read(place)?;
    let mut changed = false;
    for (path, content) in theirs.iter().filter(|(path, _)| is_shared(path)) {
        if ours.get(path) == Some(content) {
            continue;
        }
        let file = root.join(path);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        write_secret(&file, content)?;
        changed = true;
    }
    for path in ours.keys().filter(|path| !theirs.contains_key(*path)) {
        let file: PathBuf = root.join(path);
        fs::remove_file(&file)?;
        // Empty folders of domains mean nothing; one that is not empty stays.
        if let Some(folder) = file.parent().filter(|folder| *folder != root) {
            let _ = fs::remove_dir(folder);
        }
        changed = true;
    }
    if changed && root.join("dkim").is_dir() {
        write_secret(&root.join(CHANGED), b"")?;
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_shared_travels() {
        for (path, shared) in [
            ("organisation.key", false),
            ("quickstart.json", false),
            ("waypost.keytab", false),
            ("acme.json", false),
            ("send-connector-relay.password", true),
            ("directory-source-ad.password", true),
            ("dkim/contoso.test/s1.key", true),
            ("dkim/changed", false),
            ("../settings.toml", false),
            ("/etc/passwd", false),
            ("dkim/../organisation.key", false),
            ("dkim/contoso.test/../../organisation.key", false),
        ] {
            assert_eq!(is_shared(path), shared, "{path}");
        }
    }

    #[test]
    fn what_is_gone_there_goes_here() {
        let base = std::env::temp_dir().join(format!("waypost-secrets-{}", std::process::id()));
        let _ = fs::remove_dir_all(&base);
        let place = Place::at(&base).unwrap();
        place.create().unwrap();
        fs::write(base.join("secret/organisation.key"), "ours").unwrap();
        let mut theirs = Secrets::new();
        theirs.insert("dkim/a.test/s1.key".into(), b"one".to_vec());
        theirs.insert("send-connector-x.password".into(), b"hush".to_vec());
        theirs.insert("organisation.key".into(), b"theirs".to_vec());
        assert!(take(&place, &theirs).unwrap());
        assert!(!take(&place, &theirs).unwrap());
        assert_eq!(fs::read(base.join("secret/organisation.key")).unwrap(), b"ours");
        theirs.remove("organisation.key");
        assert_eq!(read(&place).unwrap(), theirs);
        theirs.remove("dkim/a.test/s1.key");
        assert!(take(&place, &theirs).unwrap());
        assert_eq!(read(&place).unwrap(), theirs);
        fs::remove_dir_all(&base).unwrap();
    }
}
