//! An organisation's data, opened: store, directory, mailboxes, certificates.

use super::settings::mailbox_limits;
use crate::machine;
use crate::place::Place;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use waypost_admin::run::World;
use waypost_admin::settings::{Settings, SettingsStore};
use waypost_base::Clock;
use waypost_directory::Directory;
use waypost_mailbox::Mailboxes;
use waypost_store::Store;
use waypost_trust::files::{self, FileError};
use waypost_trust::{InnerCa, KeyedCertificate, ServerId, self_signed};

/// The self-signed certificate that a new organisation begins with is good for so long.
const SELF_SIGNED_DAYS: i64 = 825;
/// The name of this server inside the organisation. Servers that join later get the next numbers.
const FIRST_SERVER: &str = "server-1";

/// Everything that outlives a session.
#[derive(Clone)]
pub struct Organisation {
    pub place: Place,
    pub clock: Clock,
    pub store: Store,
    pub directory: Arc<Directory>,
    pub mailboxes: Mailboxes,
    pub public: KeyedCertificate,
}

/// Why an organisation could not be opened: each names the part, so that the reader knows where to look.
#[derive(Debug)]
pub enum OpenFault {
    Folder(io::Error),
    Store(PathBuf, waypost_store::OpenError),
    Directory(waypost_directory::OpenError),
    Trust(FileError),
    Certificate(waypost_trust::TrustError),
    Restored(waypost_mailbox::FolderError),
}

impl fmt::Display for OpenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenFault::Folder(e) => write!(f, "the data folder cannot be used: {e}"),
            OpenFault::Store(folder, e) => {
                write!(f, "the store in {} cannot be opened: {e}", folder.display())
            }
            OpenFault::Directory(e) => write!(f, "the directory cannot be read: {e}"),
            OpenFault::Trust(e) => write!(f, "a certificate file cannot be used: {e}"),
            OpenFault::Certificate(e) => write!(f, "a certificate cannot be made: {e}"),
            OpenFault::Restored(e) => write!(f, "the restored mailboxes cannot be opened: {e}"),
        }
    }
}

impl std::error::Error for OpenFault {}

impl Organisation {
    /// Opens the organisation in a folder, and makes there what is missing: the key, the inner CA, certificates.
    ///
    /// `names` go into the self-signed certificate, if one has to be made.
    pub async fn open(place: &Place, names: &[&str], settings: &Settings) -> Result<Organisation, OpenFault> {
        place.create().map_err(OpenFault::Folder)?;
        let clock = machine::clock();
        let key = place.organisation_key().map_err(OpenFault::Folder)?;
        inner_trust(place, &clock)?;
        let public = public_certificate(place, settings, names, &clock)?;
        let options = waypost_store::Options::new(key, clock.clone());
        let store = Store::open(&place.store(), options).map_err(|e| OpenFault::Store(place.store(), e))?;
        let directory =
            Directory::open(Arc::clone(store.engine()), clock.clone()).await.map_err(OpenFault::Directory)?;
        let limits = mailbox_limits(settings);
        let mailboxes = Mailboxes::open(store.clone(), clock.clone(), limits);
        after_restore(place, &mailboxes).await?;
        Ok(Organisation { place: place.clone(), clock, store, directory, mailboxes, public })
    }

    /// What commands work on.
    pub fn world(&self, settings: Arc<SettingsStore>) -> World {
        let Organisation { store, directory, mailboxes, .. } = self.clone();
        World::new(store, directory, mailboxes, settings)
    }

    /// Writes what is only in memory and closes the store. No session may be left.
    pub async fn close(self) {
        if let Err(e) = self.directory.flush_sign_ins().await {
            tracing::warn!(error = %e, "the times of the last sign-ins were not written");
        }
        self.store.close().await;
    }
}

/// After a restore, clients must not take new messages for those whose UIDs they have seen.
async fn after_restore(place: &Place, mailboxes: &Mailboxes) -> Result<(), OpenFault> {
    let note = place.restored();
    if !note.exists() {
        return Ok(());
    }
    mailboxes.renew_uid_validity().await.map_err(OpenFault::Restored)?;
    std::fs::remove_file(&note).map_err(OpenFault::Folder)?;
    tracing::info!("restored from a backup: all folders have new UIDVALIDITYs");
    Ok(())
}

/// The inner CA and this server's certificate by it, made or renewed when needed. Public certificates play no part here.
fn inner_trust(place: &Place, clock: &Clock) -> Result<(), OpenFault> {
    let folder = place.trust();
    let now = clock.now();
    let ca = if folder.join("inner-ca.crt").exists() {
        let both = files::load(&folder, "inner-ca").map_err(OpenFault::Trust)?;
        InnerCa::load(&both.chain_pem, &both.key_pem).map_err(OpenFault::Certificate)?
    } else {
        let ca = InnerCa::create("Waypost organisation", now).map_err(OpenFault::Certificate)?;
        let both = KeyedCertificate { chain_pem: ca.certificate_pem().to_owned(), key_pem: ca.key_pem() };
        files::save(&folder, "inner-ca", &both).map_err(OpenFault::Trust)?;
        ca
    };
    let renew = match files::load(&folder, "server") {
        Ok(own) => ca.should_renew(&own.chain_pem, now),
        Err(_) => true,
    };
    if renew {
        let id = ServerId::parse(FIRST_SERVER).map_err(OpenFault::Certificate)?;
        let own = ca.issue(&id, now).map_err(OpenFault::Certificate)?;
        files::save(&folder, "server", &own).map_err(OpenFault::Trust)?;
    }
    Ok(())
}

/// Whatever certificate the settings name, or a self-signed one in its place where there is none.
fn public_certificate(
    place: &Place,
    settings: &Settings,
    names: &[&str],
    clock: &Clock,
) -> Result<KeyedCertificate, OpenFault> {
    let (chain, key) = certificate_files(place, settings);
    if !chain.exists() && !key.exists() {
        let made = self_signed(names, SELF_SIGNED_DAYS, clock.now()).map_err(OpenFault::Certificate)?;
        for folder in [&chain, &key].into_iter().filter_map(|f| f.parent()) {
            std::fs::create_dir_all(folder).map_err(OpenFault::Folder)?;
        }
        files::write_private(&key, &made.key_pem).map_err(OpenFault::Trust)?;
        files::write_public(&chain, &made.chain_pem).map_err(OpenFault::Trust)?;
    }
    shown_certificate(place, settings).map_err(OpenFault::Folder)
}

fn certificate_files(place: &Place, settings: &Settings) -> (PathBuf, PathBuf) {
    (place.root().join(&settings.tls.certificate), place.root().join(&settings.tls.key))
}

/// The certificate that clients are to be shown, read anew; chain and key must belong together.
pub fn shown_certificate(place: &Place, settings: &Settings) -> io::Result<KeyedCertificate> {
    let (chain, key) = certificate_files(place, settings);
    let both = KeyedCertificate {
        chain_pem: files::read(&chain).map_err(io::Error::other)?,
        key_pem: files::read(&key).map_err(io::Error::other)?,
    };
    both.check().map_err(|e| io::Error::other(format!("{}: {e}", chain.display())))?;
    Ok(both)
}
