//! POP3 sessions: the conversation of `proto/pop3` over a channel, with the INBOX of an account as its drop.
//!
//! Laws:
//! - One session has a drop at a time ([`locks`]); the lock is given back however the session ends.
//! - What a session sees is fixed when the drop is opened. Messages are removed at QUIT and only then, durably before
//!   the answer.
//! - Answers are gathered and sent when nothing more of the client's waits to be answered, or when there are enough of
//!   them; messages that are asked for in a row are read from the store together ([`retrieve`]).
//! - Between commands a session holds a small buffer, and of the drop 32 bytes a message.
//! - A failure of ours is `-ERR [SYS/TEMP]` or `[SYS/PERM]`, never a failed sign-in.
//!
//! RETR leaves \Seen alone: what a program fetches, nobody has read.

mod causes;
mod commands;
mod conversation;
mod figures;
mod locks;
mod retrieve;
mod source;
#[cfg(test)]
mod tests;
mod wire;

use crate::log::{LegSink, ProtocolLog};
use crate::signin::Entrance;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use waypost_base::Clock;
use waypost_base::id::Correlation;
use waypost_base::metrics::Figure;
use waypost_trust::channel::Channel;

pub use figures::Figures;
pub use locks::Locks;
pub use source::{Drop, Drops, Item, Opened, Pending, Trouble};

/// What an administrator may set, under the names of Get-PopSettings where it has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The greeting's text (Banner).
    pub banner: String,
    /// Bytes of a command line (MaxCommandSize), 40 to 1024.
    pub command_bytes_max: usize,
    /// How long a client may be silent before it has signed in (PreAuthenticatedConnectionTimeout).
    pub pre_authenticated_timeout: Duration,
    /// And after (AuthenticatedConnectionTimeout). RFC 1939 §3: at least ten minutes.
    pub authenticated_timeout: Duration,
    /// How long an answer may wait for the client to take it.
    pub write_timeout: Duration,
    /// Newest message first (MessageRetrievalSortOrder Descending).
    pub newest_first: bool,
    /// What IMPLEMENTATION tells those who have signed in.
    pub implementation: String,
    /// How long signed-in sessions may go on after [`Service::stop`].
    pub stop_grace: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            banner: "Waypost POP3 service is ready.".into(),
            command_bytes_max: waypost_pop3::limits::COMMAND_BYTES,
            pre_authenticated_timeout: Duration::from_secs(60),
            authenticated_timeout: Duration::from_secs(600),
            write_timeout: Duration::from_secs(300),
            newest_first: false,
            implementation: "Waypost".into(),
            stop_grace: Duration::from_secs(10),
        }
    }
}

/// What all POP3 sessions share.
pub struct Service {
    settings: Mutex<Arc<Settings>>,
    entrance: Arc<Entrance>,
    drops: Arc<dyn Drops>,
    locks: Locks,
    log: Arc<dyn ProtocolLog>,
    legs: Arc<dyn LegSink>,
    clock: Clock,
    pub figures: Figures,
    stop: watch::Sender<Option<Instant>>,
}

impl Service {
    /// `drops` is a [`waypost_mailbox::Mailboxes`] in an `Arc`, or something else in tests.
    pub fn new(settings: Settings, entrance: Arc<Entrance>, drops: Arc<dyn Drops>, clock: Clock) -> Service {
        Service {
            settings: Mutex::new(Arc::new(settings)),
            entrance,
            drops,
            locks: Locks::default(),
            log: Arc::new(crate::log::Nowhere),
            legs: Arc::new(crate::log::Nowhere),
            clock,
            figures: Figures::default(),
            stop: watch::Sender::new(None),
        }
    }

    /// Where lines of the protocol log go.
    pub fn with_log(self, log: Arc<dyn ProtocolLog>) -> Service {
        Service { log, ..self }
    }

    /// Where legs go.
    pub fn with_legs(self, legs: Arc<dyn LegSink>) -> Service {
        Service { legs, ..self }
    }

    pub fn settings(&self) -> Arc<Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes effect for new sessions.
    pub fn set_settings(&self, settings: Settings) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    pub fn entrance(&self) -> &Arc<Entrance> {
        &self.entrance
    }

    /// Asks every session to end: those not signed in at once, the others when their grace is over, each between two commands.
    pub fn stop(&self) {
        self.stop.send_if_modified(|at| at.is_none() && at.replace(Instant::now()).is_none());
    }

    pub fn metrics(&self) -> Vec<Figure> {
        let mut figures = self.figures.figures();
        figures.extend(self.entrance.figures());
        figures
    }
}

/// Holds one conversation, from the greeting to the end of the channel. Returns when it is over; it cannot fail.
pub async fn serve(channel: Channel, service: Arc<Service>, correlation: Correlation) {
    service.figures.sessions_total.one();
    let _inside = service.figures.sessions.hold();
    conversation::Conversation::new(channel, &service, correlation).run().await;
}
