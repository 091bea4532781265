//! Passwords that settings need but that are not in the document: files in `secret` of the data folder, readable by the
//! server's user alone. They are kept by what they are for, so that the document can be shown to anybody.

use super::document::sound_name;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Bytes of a password; RFC 4616 has no bound, servers have less.
const BYTES_MAX: usize = 1024;

/// Whose password it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder<'a> {
    /// A send connector's, at its smart hosts.
    Connector(&'a str),
    /// A directory source's, for the account that looks things up.
    Source(&'a str),
}

/// The password with which a send connector signs in.
pub fn connector_password(data: &Path, connector: &str) -> io::Result<Option<String>> {
    password(data, Holder::Connector(connector))
}

/// Keeps a password, or forgets it: whole and synced under its name, or not there at all.
pub fn set_connector_password(data: &Path, connector: &str, password: Option<&str>) -> io::Result<()> {
    set_password(data, Holder::Connector(connector), password)
}

pub fn password(data: &Path, holder: Holder<'_>) -> io::Result<Option<String>> {
    match fs::read_to_string(file(data, holder)?) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Keeps a password, or forgets it: whole and synced under its name, or not there at all.
pub fn set_password(data: &Path, holder: Holder<'_>, password: Option<&str>) -> io::Result<()> {
    let path = file(data, holder)?;
    let folder = data.join("secret");
    match password {
        Some(password) if password.len() > BYTES_MAX => {
            return Err(io::Error::other("the password is longer than 1024 bytes"));
        }
        Some(password) => {
            fs::create_dir_all(&folder)?;
            let fresh = path.with_extension("new");
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(password.as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
        }
        None => match fs::remove_file(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            done => done?,
        },
    }
    File::open(&folder)?.sync_all()
}

fn file(data: &Path, holder: Holder<'_>) -> io::Result<PathBuf> {
    let (kind, name) = match holder {
        Holder::Connector(name) => ("send-connector", name),
        Holder::Source(name) => ("directory-source", name),
    };
    sound_name(name).map_err(|text| io::Error::new(io::ErrorKind::InvalidInput, text))?;
    Ok(data.join("secret").join(format!("{kind}-{}.password", name.to_lowercase())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn passwords_are_kept_for_the_owner_alone() {
        let data = std::env::temp_dir().join(format!("waypost-secret-{}", std::process::id()));
        let _ = fs::remove_dir_all(&data);
        assert_eq!(connector_password(&data, "Relay").unwrap(), None);
        set_connector_password(&data, "Relay", Some("hush")).unwrap();
        assert_eq!(connector_password(&data, "relay").unwrap().as_deref(), Some("hush"));
        let mode =
            fs::metadata(file(&data, Holder::Connector("relay")).unwrap()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        set_connector_password(&data, "relay", None).unwrap();
        set_connector_password(&data, "relay", None).unwrap();
        assert_eq!(connector_password(&data, "Relay").unwrap(), None);
        assert!(connector_password(&data, "../x").is_err());
        assert!(set_connector_password(&data, "x", Some(&"y".repeat(2000))).is_err());
        fs::remove_dir_all(&data).unwrap();
    }
}
