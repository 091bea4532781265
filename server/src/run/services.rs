//! What this process has to offer, by its roles: the services behind the public doors and behind the inner one.
//!
//! This is where the parts of a server meet. A part that wants to be reached from another server registers itself in
//! [`Services::handlers`]; one that wants to reach another server takes [`Services::inner`].

use super::hub::Works;
use super::organisation::Organisation;
use super::settings;
use crate::inner::{self, Handlers};
use crate::legs::LegBook;
use crate::listen::{self, Session};
use crate::logs::all::Logs;
use crate::{metrics, tls};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use waypost_access::imap::ImapService;
use waypost_access::pop3::Service as Pop3Service;
use waypost_access::signin::Entrance;
use waypost_admin::settings::SettingsStore;
use waypost_base::metrics::Figure;
use waypost_directory::Roles;
use waypost_directory::signin::SignIn;
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
    pub public: &'a Arc<tls::Public>,
    pub logs: &'a Logs,
    /// Our own addresses, where mail must not be sent back to.
    pub own: Vec<SocketAddr>,
}

/// The services of this process. One for its whole life; shared by all sessions.
pub struct Services {
    pub organisation: Organisation,
    pub settings: Arc<SettingsStore>,
    pub roles: Roles,
    pub public: Arc<tls::Public>,
    pub sign_in: Arc<SignIn>,
    pub works: Works,
    pub imap: Arc<ImapService>,
    pub imap_entrance: Arc<Entrance>,
    pub pop3: Arc<Pop3Service>,
    pub legs: LegBook,
    /// Opens legs to the other servers of the organisation.
    pub inner: Arc<dyn Inner>,
}

impl Services {
    pub fn new(makings: Makings<'_>) -> io::Result<Services> {
        let Makings { organisation, settings: store, roles, public, logs, own } = makings;
        let settings = &*store.current();
        let legs = LegBook::with_log(Arc::clone(&logs.legs));
        let (directory, clock) = (Arc::clone(&organisation.directory), organisation.clock.clone());
        let inner: Arc<dyn Inner> = Arc::new(inner::Nowhere { clock: clock.clone() });
        let sign_in = Arc::new(SignIn::new(Arc::clone(&directory), clock.clone(), settings.sign_in.rules()));
        let works = Works::new(organisation, settings, sign_in.clone(), logs, &legs, own)?;
        let imap_entrance = settings::imap_entrance(settings, &sign_in);
        let imap = settings::imap_service(settings, organisation, &imap_entrance, &legs, logs.imap.clone());
        let pop3 = settings::pop3_service(settings, organisation, &sign_in, &legs, logs.pop3.clone());
        Ok(Services {
            organisation: organisation.clone(),
            settings: Arc::clone(store),
            roles,
            public: Arc::clone(public),
            sign_in,
            works,
            imap,
            imap_entrance,
            pop3,
            legs,
            inner,
        })
    }

    /// What other servers of the organisation may ask of this one. Each part registers its services here, in one line.
    pub fn handlers(self: &Arc<Self>) -> Handlers {
        Handlers::default()
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
        all.extend(self.works.hub.figures());
        all.extend(self.imap.figures());
        all.extend(self.pop3.metrics());
        all.extend(self.sign_in.figures());
        all.extend(self.organisation.mailboxes.figures());
        all.extend(self.organisation.store.figures());
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
