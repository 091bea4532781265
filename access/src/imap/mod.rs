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
use crate::signin::Entrance;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;
use waypost_base::Clock;
use waypost_base::id::Correlation;
use waypost_base::metrics::Figure;
use waypost_mailbox::Mailboxes;
use waypost_trust::channel::Channel;

/// What all sessions of the service share.
pub struct ImapService {
    pub(crate) mailboxes: Mailboxes,
    pub(crate) entrance: Arc<Entrance>,
    pub(crate) clock: Clock,
    pub(crate) log: Arc<dyn ProtocolLog>,
    pub(crate) legs: Arc<dyn LegSink>,
    pub(crate) figures: ImapFigures,
    pub(crate) stop: watch::Sender<bool>,
    settings: RwLock<Arc<ImapSettings>>,
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
            stop: watch::Sender::new(false),
            settings: RwLock::new(Arc::new(settings)),
        })
    }

    pub fn settings(&self) -> Arc<ImapSettings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes effect for running sessions too, with their next command.
    pub fn set_settings(&self, settings: ImapSettings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// Ends every session with BYE as soon as it has answered the command at hand.
    pub fn stop(&self) {
        self.stop.send_replace(true);
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

/// Serves one client until it leaves, is sent away, or the service stops.
pub async fn serve(channel: Channel, service: Arc<ImapService>, correlation: Correlation) {
    Box::new(session::Session::new(channel, service, correlation)).run().await;
}
