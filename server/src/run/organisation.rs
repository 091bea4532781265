//! An organisation's data, opened: store, directory, mailboxes, certificates.

use super::settings::mailbox_limits;
use crate::machine;
use crate::place::Place;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use waypost_admin::run::World;
use waypost_admin::settings::{Settings, SettingsStore};
use waypost_base::Clock;
use waypost_directory::{AccountKind, ChangeError, Directory, Roles, Server};
use waypost_mailbox::Mailboxes;
use waypost_store::Store;
use waypost_trust::files::{self, FileError};
use waypost_trust::{Facts, InnerCa, KeyedCertificate, ServerId, self_signed};

/// The self-signed certificate that a new organisation begins with is good for so long.
const SELF_SIGNED_DAYS: i64 = 825;
/// Everything that outlives a session.
#[derive(Clone)]
pub struct Organisation {
    pub place: Place,
    pub clock: Clock,
    pub store: Store,
    pub directory: Arc<Directory>,
    pub mailboxes: Mailboxes,
}

/// Why an organisation could not be opened: each names the part, so that the reader knows where to look.
#[derive(Debug)]
pub enum OpenFault {
    Folder(io::Error),
    Store(PathBuf, waypost_store::OpenError),
    Directory(waypost_directory::OpenError),
    Trust(FileError),
    Certificate(waypost_trust::TrustError),
    /// There was an inner CA that other servers believe, and its files are gone: the folder, and the bundle of those that are
    /// believed.
    NoAuthority(PathBuf, PathBuf),
    Restored(waypost_mailbox::FolderError),
    Row(ChangeError),
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
            OpenFault::NoAuthority(folder, bundle) => write!(
                f,
                "the inner CA that the other servers of the organisation believe is gone: {0}/inner-ca.crt and {0}/inner-ca.key are \
                 not there. Put both back from a backup. Without one, move {1} away to have a new CA made at the next start; \
                 every other server has to join again then (New-ServerToken here, `waypost join` there)",
                folder.display(),
                bundle.display()
            ),
            OpenFault::Row(e) => write!(f, "this server cannot be put into the directory: {e}"),
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
        let keeps = !place.joined().exists();
        public_certificate(place, settings, names, &clock);
        let options = waypost_store::Options::new(key, clock.clone());
        let store = Store::open(&place.store(), options).map_err(|e| OpenFault::Store(place.store(), e))?;
        let engine = Arc::clone(store.engine());
        let directory = if keeps {
            Directory::open(engine, clock.clone()).await
        } else {
            Directory::open_copy(engine, clock.clone()).await
        };
        let directory = directory.map_err(OpenFault::Directory)?;
        directory.set_here(&settings.server.id.to_ascii_lowercase());
        if keeps {
            own_row(&directory, settings, &clock).await.map_err(OpenFault::Row)?;
            let alone = directory.snapshot().servers().count() <= 1;
            inner_trust(place, &clock, &settings.server.id, alone)?;
        }
        let limits = mailbox_limits(settings);
        let mailboxes = Mailboxes::open(store.clone(), clock.clone(), limits);
        after_restore(place, &mailboxes, &directory).await?;
        Ok(Organisation { place: place.clone(), clock, store, directory, mailboxes })
    }

    /// Whether this server keeps the organisation: directory, settings, inner CA.
    pub fn is_primary(&self) -> bool {
        !self.directory.is_copy()
    }

    /// What this server does, as far as the directory knows it; everything where it does not.
    pub fn roles(&self) -> Roles {
        let now = self.directory.snapshot();
        now.here().and_then(|id| now.server(id)).map_or(Roles::ALL, |server| server.roles)
    }

    /// Whether this server can do with these roles: whoever has the mail of accounts has to hold mailboxes.
    pub fn may_be(&self, roles: Roles) -> Result<(), String> {
        let now = self.directory.snapshot();
        let here = now.accounts().filter(|a| now.is_here(a) && a.kind != AccountKind::Monitoring).count();
        let keyless = || self.place.read_joined().is_ok_and(|joined| !joined.has_key);
        if roles.mailbox && !self.is_primary() && keyless() {
            return Err("this server joined without the role mailbox and has not got the organisation's key, without which it \
                        cannot hold mail: join with an empty folder and a token for that role"
                .into());
        }
        if roles.mailbox || here == 0 {
            return Ok(());
        }
        Err(format!(
            "this server holds {here} mailboxes and cannot be {roles} alone: move them to another one first (Move-Mailbox)"
        ))
    }

    /// Takes note of what this server was told to do, and of where its inner door is. On the server that keeps the directory
    /// the others learn of it; elsewhere the directory says, and a difference is told of.
    pub async fn take_note(&self, roles: Roles, inner: Option<SocketAddr>) -> Result<(), ChangeError> {
        let now = self.directory.snapshot();
        let Some(own) = now.here().and_then(|id| now.server(id)) else { return Ok(()) };
        let inner = inner.filter(|_| follows_listener(own)).map(|at| advertised(at, &own.host));
        let inner = inner.unwrap_or_else(|| own.inner.clone());
        if own.roles == roles && own.inner == inner {
            return Ok(());
        }
        if !self.is_primary() {
            if own.roles != roles {
                let id = own.id.as_str();
                tracing::warn!(
                    given = %roles,
                    directory = %own.roles,
                    "other servers go by the directory: Set-ExchangeServer {id} -Roles {roles} tells them"
                );
            }
            return Ok(());
        }
        let change = |server: &mut Server| {
            server.roles = roles;
            server.inner = inner;
        };
        self.directory.update_server(&own.id, change).await.map(drop)
    }

    /// What commands work on.
    pub fn world(&self, settings: Arc<SettingsStore>) -> World {
        let Organisation { store, directory, mailboxes, .. } = self.clone();
        let chain_judge = Some(crate::tls::chain_judge(self.clock.clone()));
        World { chain_judge, ..World::new(store, directory, mailboxes, settings) }
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
async fn after_restore(place: &Place, mailboxes: &Mailboxes, directory: &Directory) -> Result<(), OpenFault> {
    let note = place.restored();
    if !note.exists() {
        return Ok(());
    }
    mailboxes.renew_uid_validity().await.map_err(OpenFault::Restored)?;
    if !directory.is_copy() {
        // Copies on other servers are ahead of what was restored, or on another way.
        directory.new_epoch().await.map_err(OpenFault::Directory)?;
    }
    std::fs::remove_file(&note).map_err(OpenFault::Folder)?;
    tracing::info!("restored from a backup: all folders have new UIDVALIDITYs");
    Ok(())
}

/// Whether a server's inner address is where its door is, rather than what an administrator has put there.
fn follows_listener(server: &Server) -> bool {
    let host = server.inner.rsplit_once(':').map_or("", |(host, _)| host);
    let loopback = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    host.is_empty() || host == server.host || host == "localhost" || loopback
}

/// Where others find an inner door: at its address, or at the host's name where it is open at every address.
fn advertised(at: SocketAddr, host: &str) -> String {
    if at.ip().is_unspecified() { format!("{host}:{}", at.port()) } else { at.to_string() }
}

/// The row of the server that keeps the directory, made at its first start; later ones correct what the settings say
/// otherwise.
async fn own_row(directory: &Directory, settings: &Settings, clock: &Clock) -> Result<(), ChangeError> {
    let now = directory.snapshot();
    let (id, host) = (settings.server.id.to_ascii_lowercase(), settings.server.name.clone());
    if let Some(own) = now.server(&id) {
        if own.host != host {
            let at = follows_listener(own).then(|| own.inner.replacen(&own.host, &host, 1));
            let change = |server: &mut Server| {
                server.inner = at.unwrap_or_else(|| server.inner.clone());
                server.host = host;
            };
            directory.update_server(&id, change).await?;
        }
        return Ok(());
    }
    if now.primary().is_some() {
        // The settings give this server another id than it had.
        return directory.rename_only_server(&id).await.map(drop);
    }
    let at = settings.listeners.inner.first().copied().unwrap_or(([127, 0, 0, 1], 0).into());
    let joined = clock.now();
    let server = Server {
        version: 0,
        id,
        inner: advertised(at, &host),
        host,
        roles: Roles::ALL,
        primary: true,
        components: Default::default(),
        requesters: Default::default(),
        principals: Vec::new(),
        revoked: None,
        certificates_since: None,
        joined,
        changed: joined,
    };
    directory.add_server(server).await.map(drop)
}

/// The inner CA, and this server's certificate by it where there is none yet; it is renewed while the server runs. Public
/// certificates play no part here. A CA that others believe is never replaced by a new one without a word: none of them would
/// be believed, or believe, any more.
fn inner_trust(place: &Place, clock: &Clock, id: &str, alone: bool) -> Result<(), OpenFault> {
    let folder = place.trust();
    let now = clock.now();
    if !folder.join("inner-ca.crt").exists() && place.bundle().exists() {
        if !alone {
            return Err(OpenFault::NoAuthority(folder, place.bundle()));
        }
        tracing::warn!(folder = %folder.display(), "the inner CA was gone; no other server knows it, so a new one is made");
        std::fs::remove_file(place.bundle()).map_err(OpenFault::Folder)?;
    }
    let ca = if folder.join("inner-ca.crt").exists() {
        let both = files::load(&folder, "inner-ca").map_err(OpenFault::Trust)?;
        InnerCa::load(&both.chain_pem, &both.key_pem).map_err(OpenFault::Certificate)?
    } else {
        let ca = InnerCa::create("Waypost organisation", now).map_err(OpenFault::Certificate)?;
        let both = KeyedCertificate { chain_pem: ca.certificate_pem().to_owned(), key_pem: ca.key_pem() };
        files::save(&folder, "inner-ca", &both).map_err(OpenFault::Trust)?;
        ca
    };
    if !place.bundle().exists() {
        files::write_public(&place.bundle(), ca.certificate_pem()).map_err(OpenFault::Trust)?;
    }
    let id = ServerId::parse(id).map_err(OpenFault::Certificate)?;
    let renew = match files::load(&folder, "server") {
        Ok(own) => ca.should_renew(&own.chain_pem, now) || !is_of(&own.chain_pem, &id),
        Err(_) => true,
    };
    if renew {
        let own = ca.issue(&id, now).map_err(OpenFault::Certificate)?;
        files::save(&folder, "server", &own).map_err(OpenFault::Trust)?;
    }
    Ok(())
}

/// Whether a certificate is this server's.
fn is_of(pem: &str, id: &ServerId) -> bool {
    Facts::of_pem(pem).is_ok_and(|facts| facts.uris.contains(&id.uri()))
}

/// Makes a self-signed certificate where the settings name one and there is none. What goes wrong with it is told of,
/// and stops nothing: it is for clients only.
fn public_certificate(place: &Place, settings: &Settings, names: &[&str], clock: &Clock) {
    let (chain, key) = certificate_files(place, settings);
    if chain.exists() || key.exists() {
        return;
    }
    let make = || -> Result<(), OpenFault> {
        let made = self_signed(names, SELF_SIGNED_DAYS, clock.now()).map_err(OpenFault::Certificate)?;
        for folder in [&chain, &key].into_iter().filter_map(|f| f.parent()) {
            std::fs::create_dir_all(folder).map_err(OpenFault::Folder)?;
        }
        files::write_private(&key, &made.key_pem).map_err(OpenFault::Trust)?;
        files::write_public(&chain, &made.chain_pem).map_err(OpenFault::Trust)
    };
    if let Err(e) = make() {
        tracing::warn!(error = %e, "no certificate for clients was made");
    }
}

fn certificate_files(place: &Place, settings: &Settings) -> (PathBuf, PathBuf) {
    (place.root().join(&settings.tls.certificate), place.root().join(&settings.tls.key))
}
