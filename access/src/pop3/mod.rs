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
use crate::proxy::{self, Offered};
use crate::signin::Entrance;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use waypost_base::Clock;
use waypost_base::id::Correlation;
use waypost_base::metrics::Figure;
use waypost_directory::{Protocol, Snapshot};
use waypost_trust::channel::Channel;
use waypost_trust::leg::Arrived;
use waypost_trust::proxy::{Alone, Homes, No, POP_PROXY};

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
    /// Of the sessions that began since the last restart.
    stop: Mutex<watch::Sender<Option<Instant>>>,
    homes: OnceLock<Arc<dyn Homes>>,
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
            stop: Mutex::new(watch::Sender::new(None)),
            homes: OnceLock::new(),
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

    /// Where accounts are, in an organisation of several servers. Said once, before the first session; without it all
    /// accounts are here.
    pub fn set_homes(&self, homes: Arc<dyn Homes>) {
        let _ = self.homes.set(homes);
    }

    fn homes(&self) -> &dyn Homes {
        self.homes.get().map_or(&Alone, |homes| homes.as_ref())
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
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        stop.send_if_modified(|at| at.is_none() && at.replace(Instant::now()).is_none());
    }

    /// The same, but sessions that begin from now on go on.
    pub fn restart(&self) {
        self.stop();
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = watch::Sender::new(None);
    }

    fn stopping(&self) -> watch::Receiver<Option<Instant>> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).subscribe()
    }

    pub fn metrics(&self) -> Vec<Figure> {
        let mut figures = self.figures.figures();
        figures.extend(self.entrance.figures());
        figures
    }
}

/// Holds one conversation, from the greeting to the end of the channel. Returns when it is over; it cannot fail. A client
/// whose account is at another server is handed over there after its sign-in.
pub async fn serve(channel: Channel, service: Arc<Service>, correlation: Correlation) {
    if let Some(state) = service.homes().out_of_service(POP_PROXY) {
        let text = format!("-ERR [SYS/TEMP] {}\r\n", proxy::closed_text(&state));
        return proxy::turn_away(channel, text.as_bytes()).await;
    }
    // In a box of its own, which is gone when the session has been handed over.
    let talk = async {
        service.figures.sessions_total.one();
        let _inside = service.figures.sessions.hold();
        conversation::Conversation::new(channel, &service, correlation).run().await
    };
    if let Some(handed) = Box::pin(talk).await {
        let stopped = conversation::stopped(service.stopping(), service.settings().stop_grace);
        handed.carry(service.legs.as_ref(), &service.clock, stopped).await;
    }
}

/// Takes over a session that another server of the organisation has signed in, and serves it to its end.
pub async fn resume(arrived: Arrived, service: Arc<Service>, now: Arc<Snapshot>) {
    let offered = Offered::look(arrived, &now, Protocol::Pop).await;
    drop(now);
    let Some(offered) = offered else { return };
    let id = offered.detail.account;
    let Some(place) = service.entrance.seat(id) else {
        return offered.refuse(&No::TooMany, "as many sessions as the account may have").await;
    };
    let Some(lock) = service.locks.try_lock(id) else {
        service.figures.in_use.one();
        return offered.refuse(&No::InUse, "another session has this mailbox").await;
    };
    let opened = match service.drops.open(id).await {
        Ok(opened) => opened,
        Err(trouble) => {
            return offered.refuse(&No::Unavailable { lasting: !trouble.retry }, &trouble.text).await;
        }
    };
    let Some(taken) = offered.welcome().await else { return };
    service.figures.sessions_total.one();
    let _inside = service.figures.sessions.hold();
    let conversation = conversation::Conversation::taken_over(taken, &service, place, lock, opened);
    Box::pin(conversation.run_on()).await;
}
