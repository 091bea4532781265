//! The IMAP service: IMAP4rev2 (RFC 9051) and IMAP4rev1 (RFC 3501) in one session, joined to mailboxes.
//!
//! [`serve`] takes a channel to its end. It uses tokio's io traits and time alone, so that a conversation runs in memory
//! and in virtual time. What is said on the wire is `waypost-imap`'s business, what is remembered `waypost-mailbox`'s; here
//! is what a command means: one file per command, or per group of commands that share their work.
//!
//! Laws: a failure of ours is told as such (`NO [UNAVAILABLE]`), never as the client's; an OK means durable; message
//! numbers change only when RFC 9051 §7.5.1 lets them; nothing that a client sends makes the session hold more than the
//! limits of `waypost-imap` and one page of messages.

mod append;
mod capability;
mod compress;
mod copy;
mod deflate;
mod fetch;
mod figures;
mod folders;
mod idle;
mod ids;
mod inbox;
mod legs;
mod list;
mod login;
mod marks;
mod names;
mod outcome;
mod plain;
mod search;
mod select;
mod session;
mod settings;
mod store;
mod sync;
mod wire;

pub use figures::{Commands, ImapFigures};
pub use settings::ImapSettings;

use crate::log::{LegSink, ProtocolLog};
use crate::proxy::{self, Offered};
use crate::signin::Entrance;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use tokio::sync::watch;
use waypost_base::Clock;
use waypost_base::id::Correlation;
use waypost_base::metrics::Figure;
use waypost_directory::{Protocol, Snapshot};
use waypost_mailbox::Mailboxes;
use waypost_trust::channel::Channel;
use waypost_trust::leg::Arrived;
use waypost_trust::proxy::{Alone, Homes, IMAP_PROXY, No};

/// What all sessions of the service share.
pub struct ImapService {
    pub(crate) mailboxes: Mailboxes,
    pub(crate) entrance: Arc<Entrance>,
    pub(crate) clock: Clock,
    pub(crate) log: Arc<dyn ProtocolLog>,
    pub(crate) legs: Arc<dyn LegSink>,
    pub(crate) figures: ImapFigures,
    /// Of the sessions that began since the last restart.
    stop: RwLock<watch::Sender<bool>>,
    settings: RwLock<Arc<ImapSettings>>,
    homes: OnceLock<Arc<dyn Homes>>,
}

impl ImapService {
    pub fn new(
        mailboxes: Mailboxes,
        entrance: Arc<Entrance>,
        log: Arc<dyn ProtocolLog>,
        legs: Arc<dyn LegSink>,
        settings: ImapSettings,
    ) -> Arc<ImapService> {
        let clock = mailboxes.clock().clone();
        Arc::new(ImapService {
            mailboxes,
            entrance,
            clock,
            log,
            legs,
            figures: ImapFigures::default(),
            stop: RwLock::new(watch::Sender::new(false)),
            settings: RwLock::new(Arc::new(settings)),
            homes: OnceLock::new(),
        })
    }

    pub fn settings(&self) -> Arc<ImapSettings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes effect for running sessions too, with their next command.
    pub fn set_settings(&self, settings: ImapSettings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// Where accounts are, in an organisation of several servers. Said once, before the first session; without it all
    /// accounts are here.
    pub fn set_homes(&self, homes: Arc<dyn Homes>) {
        let _ = self.homes.set(homes);
    }

    pub(crate) fn homes(&self) -> &dyn Homes {
        self.homes.get().map_or(&Alone, |homes| homes.as_ref())
    }

    /// Ends every session with BYE as soon as it has answered the command at hand.
    pub fn stop(&self) {
        self.stop.read().unwrap_or_else(PoisonError::into_inner).send_replace(true);
    }

    /// The same, but sessions that begin from now on go on.
    pub fn restart(&self) {
        let mut stop = self.stop.write().unwrap_or_else(PoisonError::into_inner);
        stop.send_replace(true);
        *stop = watch::Sender::new(false);
    }

    /// True when a session that begins now is to end.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.read().unwrap_or_else(PoisonError::into_inner).subscribe()
    }

    /// Counters and gauges, those of sign-in included.
    pub fn figures(&self) -> Vec<Figure> {
        let mut figures = self.figures.figures();
        figures.extend(self.entrance.figures());
        figures
    }

    pub(crate) fn logs(&self) -> bool {
        self.log.enabled()
    }
}

impl std::fmt::Debug for ImapService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImapService").field("settings", &self.settings()).finish_non_exhaustive()
    }
}

/// Serves one client until it leaves, is sent away, or the service stops. A client whose account is at another server is
/// handed over there after its sign-in.
pub async fn serve(channel: Channel, service: Arc<ImapService>, correlation: Correlation) {
    if let Some(state) = service.homes().out_of_service(IMAP_PROXY) {
        let text = format!("* BYE [UNAVAILABLE] {}\r\n", proxy::closed_text(&state));
        return proxy::turn_away(channel, text.as_bytes()).await;
    }
    // In a box of its own, which is gone when the session has been handed over.
    let session = Box::new(session::Session::new(channel, Arc::clone(&service), correlation));
    if let Some(handed) = Box::pin(session.run()).await {
        let mut stop = service.stopping();
        let stopped = async move {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        handed.carry(service.legs.as_ref(), &service.clock, stopped).await;
    }
}

/// Takes over a session that another server of the organisation has signed in, and serves it to its end.
pub async fn resume(arrived: Arrived, service: Arc<ImapService>, now: Arc<Snapshot>) {
    let offered = Offered::look(arrived, &now, Protocol::Imap).await;
    drop(now);
    let Some(offered) = offered else { return };
    let id = offered.detail.account;
    let Some(place) = service.entrance.seat(id) else {
        return offered.refuse(&No::TooMany, "as many sessions as the account may have").await;
    };
    let account = match service.mailboxes.account_or_new(id).await {
        Ok(account) => account,
        Err(e) => {
            let no = No::Unavailable { lasting: !e.retry() };
            return offered.refuse(&no, &e.to_string()).await;
        }
    };
    let Some(taken) = offered.welcome().await else { return };
    let session = session::Session::taken_over(taken, account, place, service);
    Box::pin(Box::new(session).run_on()).await;
}
