//! What all sessions of this room share.

use crate::accept::Kind;
use crate::agent::Agent;
use crate::connector::{ReceiveConnector, SendConnector};
use crate::limits;
use crate::metrics::Metrics;
use crate::pipeline::{PipelineTrace, Tracing};
use crate::send::Network;
use crate::send::route::RoutingTable;
use crate::sink::{LegSink, ProtocolLog};
use crate::state::ComponentState;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::{Semaphore, watch};
use waypost_base::AccountId;
use waypost_base::metrics::Figure;
use waypost_base::{Clock, Timestamp};
use waypost_directory::Directory;
use waypost_directory::signin::SignIn;
use waypost_mailbox::{Account, AccountError, AccountOptions, Mailboxes, Quota};
use waypost_queue::{NextHop, Queue, RetryPlan, Route, Router};
use waypost_smtp::{BareEnds, Limits};
use waypost_tracking::TrackSink;

/// What an administrator may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Our name in greetings and Received fields.
    pub host: String,
    /// Limits of sessions, and so the largest message.
    pub limits: Limits,
    pub bare_ends: BareEnds,
    /// Passwords may cross the wire without TLS even from other machines. From this one they always may.
    pub passwords_in_clear: bool,
    /// A recipient over quota is put off (452) rather than refused (552).
    pub over_quota_is_temporary: bool,
    /// AUTH is offered on the `smtp` listener too, by connectors that are not configured.
    pub auth_on_smtp: bool,
    /// For accounts that have no quota of their own.
    pub quota: Quota,
    /// Octets beyond which an account that has no such quota of its own may not send. Exchange: ProhibitSendQuota.
    pub prohibit_send: Option<u64>,
    /// Octets of a message that accounts without a limit of their own may send. Exchange: MaxSendSize.
    pub max_send: Option<u64>,
    /// Octets of a message that accounts without a limit of their own may get. Exchange: MaxReceiveSize.
    pub max_receive: Option<u64>,
    /// Recipients of a message, groups opened, that accounts without a limit of their own may send to. Exchange:
    /// MaxRecipientEnvelopeLimit.
    pub max_recipients: Option<u64>,
    /// Users may write any address into From, not only their own and those they were given rights to.
    pub any_header_from: bool,
    /// Strangers who claim to be somebody of ours (MAIL FROM in an authoritative domain) are refused. Off, as in
    /// Exchange: mail authentication judges them.
    pub refuse_own_senders_from_outside: bool,
    /// The tag of `user+tag` names the folder that a message goes to, where the account has one of that name.
    pub tag_is_folder: bool,
    /// Where reports come from and where mail for the administrators goes; `postmaster` of the default domain where
    /// it is not said.
    pub postmaster: Option<String>,
    pub send: Vec<SendConnector>,
    /// When something is tried again, and when it is given up.
    pub retry: RetryPlan,
    /// Empty: the three that Exchange makes.
    pub receive: Vec<ReceiveConnector>,
    /// Whose messages are copied at each stage, and until when.
    pub tracing: Option<Tracing>,
}

impl Settings {
    pub fn new(host: impl Into<String>) -> Settings {
        Settings {
            host: host.into(),
            limits: Limits::default(),
            bare_ends: BareEnds::Refuse,
            passwords_in_clear: false,
            over_quota_is_temporary: true,
            auth_on_smtp: false,
            quota: Quota::default(),
            prohibit_send: None,
            max_send: None,
            max_receive: None,
            max_recipients: None,
            any_header_from: false,
            refuse_own_senders_from_outside: false,
            tag_is_folder: false,
            postmaster: None,
            send: Vec::new(),
            retry: RetryPlan::default(),
            receive: Vec::new(),
            tracing: None,
        }
    }
}

/// What a hub is made of; the binary and the tests put it together.
pub struct Parts {
    pub directory: Arc<Directory>,
    pub sign_in: Arc<SignIn>,
    pub mailboxes: Mailboxes,
    pub clock: Clock,
    pub settings: Settings,
    /// Which way mail takes, made of `settings.send`; the queue asks it too.
    pub routes: Arc<RoutingTable>,
    /// What waits; over the mailboxes' store. `recover` is the hub's affair: it is called when it begins to work.
    pub queue: Arc<Queue>,
    /// `None`: nothing can be sent, what is for elsewhere waits.
    pub network: Option<Network>,
    pub agents: Vec<Arc<dyn Agent>>,
    pub tracking: Option<Arc<dyn TrackSink>>,
    pub tracing: Option<Arc<dyn PipelineTrace>>,
    pub legs: Option<Arc<dyn LegSink>>,
    pub log: Option<Arc<dyn ProtocolLog>>,
}

impl Parts {
    /// A hub without network, agents and sinks, over the mailboxes' store; whoever has these puts them in.
    pub fn new(
        directory: Arc<Directory>,
        sign_in: Arc<SignIn>,
        mailboxes: Mailboxes,
        clock: Clock,
        settings: Settings,
    ) -> Parts {
        let routes = Arc::new(RoutingTable::new(settings.send.clone()));
        let router = routes.clone() as Arc<dyn Router>;
        let queue = Queue::new(mailboxes.store().clone(), clock.clone(), settings.retry.clone(), router);
        Parts {
            directory,
            sign_in,
            mailboxes,
            clock,
            settings,
            routes,
            queue,
            network: None,
            agents: Vec::new(),
            tracking: None,
            tracing: None,
            legs: None,
            log: None,
        }
    }
}

/// The transport role of a server: everything between a socket and the mailboxes.
pub struct Hub {
    pub(crate) directory: Arc<Directory>,
    pub(crate) sign_in: Arc<SignIn>,
    pub(crate) mailboxes: Mailboxes,
    pub(crate) clock: Clock,
    settings: RwLock<Arc<Settings>>,
    pub(crate) routes: Arc<RoutingTable>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) network: Option<Network>,
    pub(crate) agents: Vec<Arc<dyn Agent>>,
    pub(crate) tracking: Option<Arc<dyn TrackSink>>,
    pub(crate) tracing: Option<Arc<dyn PipelineTrace>>,
    pub(crate) legs: Option<Arc<dyn LegSink>>,
    pub(crate) log: Option<Arc<dyn ProtocolLog>>,
    pub(crate) metrics: Metrics,
    /// Permits of messages on their way to several accounts.
    pub(crate) delivering: Arc<Semaphore>,
    /// Memory of all drafts, in pieces of 64 KiB.
    pub(crate) drafts: Arc<Semaphore>,
    in_flight: Mutex<BTreeSet<u64>>,
    last_id: AtomicU64,
    stop: watch::Sender<bool>,
    state: watch::Sender<ComponentState>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("settings", &self.settings()).finish_non_exhaustive()
    }
}

impl Hub {
    pub fn new(parts: Parts) -> Arc<Hub> {
        let Parts { directory, sign_in, mailboxes, clock, settings, .. } = parts;
        Arc::new(Hub {
            directory,
            sign_in,
            mailboxes,
            clock,
            settings: RwLock::new(Arc::new(settings)),
            routes: parts.routes,
            queue: parts.queue,
            network: parts.network,
            agents: parts.agents,
            tracking: parts.tracking,
            tracing: parts.tracing,
            legs: parts.legs,
            log: parts.log,
            metrics: Metrics::default(),
            delivering: Arc::new(Semaphore::new(limits::DELIVERING)),
            drafts: Arc::new(Semaphore::new(limits::DRAFTS_MEMORY / crate::draft::PERMIT)),
            in_flight: Mutex::default(),
            last_id: AtomicU64::new(0),
            stop: watch::Sender::new(false),
            state: watch::Sender::new(ComponentState::Active),
        })
    }

    /// Whether messages are taken and sent. Exchange: Set-ServerComponentState -Component HubTransport.
    pub fn state(&self) -> ComponentState {
        *self.state.borrow()
    }

    /// Takes effect at once: `Draining` and `Inactive` take nothing more, `Inactive` sends nothing more either.
    pub fn set_state(&self, state: ComponentState) {
        self.state.send_replace(state);
    }

    /// For whoever has to do something when the state changes.
    pub fn watch_state(&self) -> watch::Receiver<ComponentState> {
        self.state.subscribe()
    }

    /// What stands behind one of the four listeners. `name` is the connector's in the protocol log.
    pub fn service(self: &Arc<Hub>, kind: Kind, name: impl Into<String>) -> Arc<crate::accept::Service> {
        Arc::new(crate::accept::Service::new(self.clone(), kind, name.into()))
    }

    pub fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sessions that begin from now on follow these; those under way keep what they were told at EHLO.
    pub fn set_settings(&self, settings: Settings) {
        let rerouted = self.routes.set(settings.send.clone());
        self.queue.set_plan(settings.retry.clone());
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        if rerouted {
            self.queue.reroute(self.routes.clone());
        }
    }

    /// What waits to be delivered or sent; for commands.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    pub fn figures(&self) -> Vec<Figure> {
        self.metrics.figures()
    }

    /// Tells every session to finish its message and go (421), and new ones to go at once. Cannot be taken back.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Resolves when no message is on its way to several accounts any more.
    pub async fn idle(&self) {
        let all = u32::try_from(limits::DELIVERING).unwrap_or(u32::MAX);
        // The semaphore is never closed, so waiting cannot fail.
        let _ = self.delivering.acquire_many(all).await;
    }

    /// The mailbox of an account; made at its first use, if the directory knows the account.
    pub(crate) async fn mailbox(&self, id: AccountId) -> Result<Account, AccountError> {
        let Some(known) = self.directory.snapshot().account(id).cloned() else {
            return Err(AccountError::NoAccount(id));
        };
        match self.mailboxes.account(id).await {
            Err(AccountError::NoAccount(_)) => {}
            answer => return answer,
        }
        let usual = self.settings().quota;
        let quota = Quota {
            prohibit_bytes: known.quotas.prohibit_send_receive.or(usual.prohibit_bytes),
            warn_bytes: known.quotas.warn.or(usual.warn_bytes),
            messages: usual.messages,
        };
        match self.mailboxes.create_account(id, AccountOptions { quota }).await {
            Err(AccountError::Exists(_)) => self.mailboxes.account(id).await,
            answer => answer,
        }
    }

    /// A number for a queue item: greater than all before it in this process, and, as long as the clock does not go
    /// back, than those of earlier runs.
    pub(crate) fn next_id(&self, now: Timestamp) -> u64 {
        let floor = u64::try_from(now.as_millis()).unwrap_or(0) << 20;
        let step = |last: u64| Some(last.saturating_add(1).max(floor));
        match self.last_id.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step) {
            Ok(last) | Err(last) => last.saturating_add(1).max(floor),
        }
    }

    /// Claims a queue item for whoever delivers it; `None` when somebody does already.
    pub(crate) fn claim(self: &Arc<Hub>, id: u64) -> Option<Claim> {
        let fresh = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        fresh.then(|| Claim { hub: self.clone(), id })
    }
}

/// Nobody else delivers this item as long as this lives.
pub(crate) struct Claim {
    hub: Arc<Hub>,
    id: u64,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.hub.in_flight.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Router for RoutingTable {
    fn next_hop(&self, route: &Route) -> NextHop {
        match route {
            Route::Mailbox => NextHop::Mailbox,
            Route::Server { host, port } => NextHop::Server { host: host.clone(), port: *port },
            Route::Domain(domain) => match self.connector_for(domain) {
                None => NextHop::Unreachable,
                Some(connector) => NextHop::Connector {
                    connector: connector.name.clone(),
                    domain: connector.smart_hosts.is_empty().then(|| domain.clone()),
                },
            },
        }
    }
}
