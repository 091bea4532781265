//! What this process has to offer, by its roles: the services behind the public doors and behind the inner one.
//!
//! This is where the parts of a server meet. A part that wants to be reached from another server registers itself in
//! [`Services::handlers`]; one that wants to reach another server takes [`Services::inner`].

use super::hub::Works;
use super::organisation::Organisation;
use super::settings;
use crate::health::{self, Health};
use crate::inner::ask::RemoteSignIn;
use crate::inner::dial::Inside;
use crate::inner::front::Front;
use crate::inner::renew::{Following, RotationBook};
use crate::inner::{self, Handlers};
use crate::kerberos::Kerberos;
use crate::legs::LegBook;
use crate::listen::{self, Session};
use crate::logs::all::Logs;
use crate::rehearse::LentFirst;
use crate::signin::Seams;
use crate::{metrics, tls};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use waypost_access::imap::ImapService;
use waypost_access::pop3::Service as Pop3Service;
use waypost_access::signin::Entrance;
use waypost_admin::settings::SettingsStore;
use waypost_base::metrics::Figure;
use waypost_directory::signin::{Authority, SignIn};
use waypost_directory::{Directory, Roles};
use waypost_mailbox::Mailboxes;
use waypost_queue::holders::QueueHolders;
use waypost_store::{BlobId, Holders, ReadError};
use waypost_transport::accept::Kind;
use waypost_trust::channel::Channel;
use waypost_trust::leg::Inner;

/// What the services are made of.
pub struct Makings<'a> {
    pub organisation: &'a Organisation,
    pub settings: &'a Arc<SettingsStore>,
    /// What this server does.
    pub roles: Roles,
    pub public: &'a tls::Publics,
    pub logs: &'a Logs,
    /// Our own addresses, where mail must not be sent back to.
    pub own: Vec<SocketAddr>,
}

/// The services of this process. One for its whole life; shared by all sessions.
pub struct Services {
    pub organisation: Organisation,
    pub settings: Arc<SettingsStore>,
    pub roles: Roles,
    pub public: tls::Publics,
    pub sign_in: Arc<SignIn>,
    /// Knows the health mailboxes' password, and nothing else; asked first.
    pub lent: Arc<SignIn>,
    /// What signing in is helped by.
    pub seams: Seams,
    pub works: Works,
    pub imap: Arc<ImapService>,
    pub imap_entrance: Arc<Entrance>,
    pub pop3: Arc<Pop3Service>,
    pub legs: LegBook,
    /// Opens legs to the other servers of the organisation.
    pub inner: Arc<dyn Inner>,
    /// The same, with this server's inner identity and the board of legs.
    pub inside: Arc<Inside>,
    pub kerberos: Arc<Kerberos>,
    /// Accounts on their way from one server to another.
    pub moving: Arc<inner::moving::Mover>,
    /// What the servers believe of each other, and how far a change of it has come.
    pub rotation: RotationBook,
    /// How a copy stands with the server that keeps the directory.
    pub following: Following,
    /// What commands that arrive from other servers work on.
    pub context: OnceLock<waypost_admin::Context>,
    /// The probes and what they say, once they run.
    pub health: OnceLock<Weak<Health>>,
    pub stop: watch::Sender<bool>,
}

impl Services {
    pub fn new(makings: Makings<'_>) -> io::Result<Services> {
        let Makings { organisation, settings: store, roles, public, logs, own } = makings;
        let settings = &*store.current();
        let legs = LegBook::with_log(Arc::clone(&logs.legs));
        let (directory, clock) = (Arc::clone(&organisation.directory), organisation.clock.clone());
        let inside = Arc::new(Inside::new(
            organisation.place.trust(),
            Arc::clone(&directory),
            Arc::clone(store),
            clock.clone(),
            legs.clone(),
        )?);
        let kerberos = Kerberos::new(Arc::clone(store), organisation.place.root(), roles, clock.clone());
        inside.set_kerberos(kerberos.for_legs());
        let inner: Arc<dyn Inner> = Arc::clone(&inside) as Arc<dyn Inner>;
        let sign_in = Arc::new(SignIn::new(Arc::clone(&directory), clock.clone(), settings.sign_in.rules()));
        let seams = Seams::new(organisation.place.root(), Arc::clone(&kerberos), clock.clone());
        seams.provide(settings, &sign_in);
        let front = Arc::new(Front::new(Arc::clone(&directory), Arc::clone(&inner)));
        let mut authority = Arc::clone(&sign_in) as Arc<dyn Authority>;
        if !holds_proofs(roles, &directory) {
            let remote = RemoteSignIn::new(authority, Arc::clone(&directory), Arc::clone(&inner));
            authority = Arc::new(LentFirst::new(Arc::clone(&sign_in), Arc::new(remote)));
        }
        let lent = Arc::new(SignIn::new(Arc::clone(&directory), clock.clone(), settings.sign_in.rules()));
        authority = Arc::new(LentFirst::new(Arc::clone(&lent), authority));
        let works =
            Works::new(organisation, settings, Arc::clone(&authority), logs, &legs, own, Arc::clone(&inner))?;
        works.hub.set_homes(front.clone());
        let imap_entrance = settings::imap_entrance(settings, &authority);
        let imap = settings::imap_service(settings, organisation, &imap_entrance, &legs, logs.imap.clone());
        let pop3 = settings::pop3_service(settings, organisation, &authority, &legs, logs.pop3.clone());
        imap.set_homes(front.clone());
        pop3.set_homes(front);
        Ok(Services {
            organisation: organisation.clone(),
            settings: Arc::clone(store),
            roles,
            public: public.clone(),
            sign_in,
            lent,
            seams,
            works,
            imap,
            imap_entrance,
            pop3,
            legs,
            inner,
            inside,
            kerberos,
            moving: Arc::default(),
            rotation: RotationBook::open(&organisation.place),
            following: Following::default(),
            context: OnceLock::new(),
            health: OnceLock::new(),
            stop: watch::Sender::new(false),
        })
    }

    /// Whether this server knows who somebody is by itself; others ask one that does.
    pub fn holds_proofs(&self) -> bool {
        holds_proofs(self.roles, &self.organisation.directory)
    }

    /// What other servers of the organisation may ask of this one. Each part registers its services here, in one line.
    pub fn handlers(self: &Arc<Self>) -> Handlers {
        let mut handlers = Handlers::default();
        inner::back::register(&mut handlers, self);
        inner::replicate::register(&mut handlers, self);
        inner::join::register(&mut handlers, self);
        inner::hub::register(&mut handlers, self);
        inner::moving::register(&mut handlers, self);
        health::gather::register(&mut handlers, self);
        if let Some(context) = self.context.get() {
            inner::command::register(&mut handlers, context);
        }
        handlers
    }

    /// Woken when the server stops.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// What runs beside the sessions, until the server stops.
    pub fn tasks(self: &Arc<Self>) -> Vec<JoinHandle<()>> {
        vec![
            tokio::spawn(inner::replicate::follow(Arc::clone(self))),
            tokio::spawn(inner::renew::keep(Arc::clone(self))),
            tokio::spawn(super::homes::keep(Arc::clone(self))),
            tokio::spawn(inner::moving::keep(Arc::clone(self))),
            tokio::spawn(super::components::keep(Arc::clone(self))),
            tokio::spawn(crate::ldap::keep(
                Arc::clone(&self.settings),
                Arc::clone(&self.organisation.directory),
                self.organisation.place.root().to_owned(),
                self.stopping(),
            )),
        ]
    }

    /// What a connection at this door becomes.
    pub fn serve(&self, name: &'static str) -> listen::Serve {
        let kind = match name {
            "smtp" => Kind::Smtp,
            "submission" => Kind::Submission,
            "submissions" => Kind::Submissions,
            "lmtp" => Kind::Lmtp,
            "pop3" | "pop3s" => {
                let service = Arc::clone(&self.pop3);
                return Arc::new(move |channel: Channel, correlation| {
                    Box::pin(waypost_access::pop3::serve(channel, Arc::clone(&service), correlation))
                        as Session
                });
            }
            _ => {
                let service = Arc::clone(&self.imap);
                return Arc::new(move |channel: Channel, correlation| {
                    Box::pin(waypost_access::imap::serve(channel, Arc::clone(&service), correlation))
                        as Session
                });
            }
        };
        let service = self.works.hub.service(kind);
        Arc::new(move |channel: Channel, correlation| {
            Box::pin(waypost_transport::accept::serve(channel, Arc::clone(&service), correlation)) as Session
        })
    }

    pub fn figures(&self) -> Vec<Figure> {
        let mut all = metrics::own();
        all.extend(self.inside.figures());
        all.extend(self.works.hub.figures());
        all.extend(self.public.figures());
        all.extend(self.imap.figures());
        all.extend(self.pop3.metrics());
        all.extend(waypost_trust::proxy::figures());
        all.extend(self.sign_in.figures());
        all.extend(self.kerberos.figures());
        all.extend(self.organisation.mailboxes.figures());
        all.extend(self.organisation.store.figures());
        all.extend(self.health.get().and_then(Weak::upgrade).map(|h| h.figures()).unwrap_or_default());
        all
    }

    pub async fn compact(&self) {
        let Organisation { store, mailboxes, .. } = &self.organisation;
        let holders = AllHolders { mailboxes: mailboxes.clone(), queue: QueueHolders(store.clone()) };
        match store.blobs().compact(&holders).await {
            Ok(done) => tracing::info!(
                segments = done.segments_removed,
                chunks = done.chunks_moved,
                bytes = done.bytes_freed,
                holders = done.holders_removed,
                "segments compacted"
            ),
            Err(e) => tracing::warn!(error = %e, "segments were not compacted"),
        }
    }

    pub async fn sweep(&self) {
        let organisation = &self.organisation;
        if let Err(e) = organisation.mailboxes.sweep(organisation.clock.now()).await {
            tracing::warn!(error = %e, "expired items were not swept");
        }
        if let Err(e) = organisation.directory.flush_sign_ins().await {
            tracing::warn!(error = %e, "the times of the last sign-ins were not written");
        }
    }
}

/// A server without mailboxes has a copy of the directory without credentials, unless it keeps the directory.
fn holds_proofs(roles: Roles, directory: &Directory) -> bool {
    let now = directory.snapshot();
    let own = now.here().and_then(|here| now.server(here));
    own.map_or(roles.keep_credentials(), |own| own.primary || own.roles.keep_credentials())
}

/// Whoever keeps stored bytes alive: accounts, and the queue until it has delivered.
struct AllHolders {
    mailboxes: Mailboxes,
    queue: QueueHolders,
}

#[async_trait::async_trait]
impl Holders for AllHolders {
    async fn holds(&self, id: BlobId, holder: &[u8]) -> Result<bool, ReadError> {
        // Each says yes to what it does not know, so one no is by the room whose holder it is.
        Ok(self.mailboxes.holds(id, holder).await? && self.queue.holds(id, holder).await?)
    }
}
