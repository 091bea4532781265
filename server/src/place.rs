//! The data folder: what lies where, and who may read it.
//!
//! ```text
//! DIR/settings.toml       the settings document; earlier versions in settings.d/
//! DIR/secret/             organisation.key: keys message ids and fake salts; lost, the store cannot be opened
//! DIR/server.toml         what holds for this server alone
//! DIR/trust/              inner trust: server.crt and .key are this server's inner certificate, trusted.crt the CAs that
//!                         are believed; on the primary also inner-ca.crt and .key, and inner-next.crt and .key while the CA
//!                         is changed; on other servers joined.json, which says how they joined
//! DIR/public/             the certificate that clients are shown, unless the settings name another place
//! DIR/store/              database and segments (docs/store.md)
//! DIR/logs/               protocol logs
//! DIR/run/control.sock    where commands reach the running server
//! ```

use crate::machine;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use waypost_base::denials::report_in;

/// Bytes of a socket's name without its closing NUL (unix(7)).
const SOCKET_NAME_MAX: usize = 107;

/// A data folder by its parts.
#[derive(Clone, Debug)]
pub struct Place {
    root: PathBuf,
}

impl Place {
    /// The folder need not exist yet. Relative paths are made absolute, so that a later `cd` changes nothing.
    pub fn at(root: &Path) -> io::Result<Place> {
        Ok(Place { root: std::path::absolute(root)? })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    pub fn trust(&self) -> PathBuf {
        self.root.join("trust")
    }

    /// The inner CAs that are believed, in PEM; every server has it.
    pub fn bundle(&self) -> PathBuf {
        self.trust().join("trusted.crt")
    }

    /// How this server joined the organisation; not there on the server that keeps it.
    pub fn joined(&self) -> PathBuf {
        self.trust().join("joined.json")
    }

    pub fn control(&self) -> PathBuf {
        self.root.join("run/control.sock")
    }

    /// Left by a restore for whoever opens the folder next.
    pub fn restored(&self) -> PathBuf {
        self.root.join(waypost_admin::RESTORED)
    }

    /// Calls `with` with a name of the control socket that is short enough for the kernel, which takes 107 bytes: a deep
    /// folder is reached through an open descriptor of it.
    pub fn at_control<T>(&self, with: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
        let path = self.control();
        if path.as_os_str().len() <= SOCKET_NAME_MAX {
            return with(&path);
        }
        let folder = File::open(self.root.join("run"))?;
        with(Path::new(&format!("/proc/self/fd/{}/control.sock", folder.as_raw_fd())))
    }

    /// The passwords that quickstart made up, so that its second start can print them again.
    pub fn demonstration(&self) -> PathBuf {
        self.root.join("secret/quickstart.json")
    }

    /// True when the folder was set up before.
    pub fn is_set_up(&self) -> bool {
        self.organisation_key_file().exists()
    }

    fn organisation_key_file(&self) -> PathBuf {
        self.root.join("secret/organisation.key")
    }

    /// Makes the folders that are missing, for the owner alone.
    pub fn create(&self) -> io::Result<()> {
        for folder in ["", "store", "secret", "trust", "public", "logs", "run"] {
            let folder = self.root.join(folder);
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
            report_in(&folder, "create", made)?;
        }
        Ok(())
    }

    /// The organisation's key, made at the first call. It is synced before use: rows made with a key that a power cut
    /// forgot could never be read again.
    pub fn organisation_key(&self) -> io::Result<[u8; 32]> {
        let path = self.organisation_key_file();
        match report_in(&path, "read", fs::read(&path)) {
            Ok(bytes) => <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| {
                let text = format!("{} should hold 32 bytes, not {}", path.display(), bytes.len());
                io::Error::new(io::ErrorKind::InvalidData, text)
            }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let key = machine::random::<32>();
                write_secret(&path, &key)?;
                Ok(key)
            }
            Err(e) => Err(e),
        }
    }

    /// Takes the organisation's key over from the server that keeps it. Another one that is there already is never
    /// replaced: rows were made with it.
    pub fn take_organisation_key(&self, key: &[u8; 32]) -> io::Result<()> {
        let path = self.organisation_key_file();
        if !path.exists() {
            return write_secret(&path, key);
        }
        if self.organisation_key()? == *key {
            return Ok(());
        }
        Err(io::Error::other(format!("{} is another organisation's, or of another role", path.display())))
    }
}

/// Writes a file that only its owner may read: whole and synced under its name, or not there at all.
pub fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh);
    let mut file = report_in(path, "write", opened)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    let folder = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    File::open(folder)?.sync_all()
}
