//! What all sessions of this room share.

use crate::accept::{Kind, WhySource};
use crate::agent::{Agent, Stages};
use crate::connector::{ReceiveConnector, SendConnector};
use crate::limits;
use crate::metrics::Metrics;
use crate::pipeline::{PipelineTrace, Tracing};
use crate::send::Network;
use crate::send::route::RoutingTable;
use crate::sink::{LegSink, ProtocolLog};
use crate::state::ComponentState;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use tokio::sync::{Semaphore, watch};
use waypost_base::AccountId;
use waypost_base::Clock;
use waypost_base::metrics::Figure;
use waypost_directory::signin::{Authority, Terms};
use waypost_directory::{Account as Person, Directory};
use waypost_mailbox::{Account, AccountError, AccountOptions, Mailboxes, Quota};
use waypost_queue::pressure::{
    Answer as PressureAnswer, Level, Marks, Origin, Pressure, Resource, Transition,
};
use waypost_queue::{Queue, RetryPlan, Router};
use waypost_smtp::{BareEnds, Limits};
use waypost_tracking::TrackSink;
use waypost_trust::proxy::{Alone, Homes};

/// What an administrator may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Our name in greetings and Received fields.
    pub host: String,
    /// Limits of sessions, and so the largest message.
    pub limits: Limits,
    pub bare_ends: BareEnds,
    /// Which mechanisms are offered on which channels.
    pub terms: Terms,
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
            terms: Terms::default(),
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
    pub sign_in: Arc<dyn Authority>,
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
        sign_in: Arc<dyn Authority>,
        mailboxes: Mailboxes,
        clock: Clock,
        settings: Settings,
    ) -> Parts {
        let routes = Arc::new(RoutingTable::new(settings.send.clone()).at(&directory));
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
    pub(crate) sign_in: Arc<dyn Authority>,
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
    pressure: RwLock<Pressure>,
    /// Its level is not Normal.
    pressed: AtomicBool,
    /// Messages of this minute, by address.
    rates: Mutex<BTreeMap<IpAddr, (i64, u32)>>,
    stop: watch::Sender<bool>,
    /// Of the sessions that began since the last restart of the doors.
    sessions_stop: RwLock<watch::Sender<bool>>,
    state: watch::Sender<ComponentState>,
    /// Where accounts and hubs are, once it is known; before that everything is here.
    homes: OnceLock<Arc<dyn Homes>>,
    /// Set once the server is up; XWHY is offered from then on.
    why: OnceLock<Arc<dyn WhySource>>,
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
            pressure: RwLock::default(),
            pressed: AtomicBool::new(false),
            rates: Mutex::default(),
            stop: watch::Sender::new(false),
            sessions_stop: RwLock::new(watch::Sender::new(false)),
            state: watch::Sender::new(ComponentState::Active),
            homes: OnceLock::new(),
            why: OnceLock::new(),
        })
    }

    /// Some agents want to be asked before the message. That changes with their settings.
    pub(crate) fn staged(&self) -> bool {
        self.agents.iter().any(|agent| agent.stages() != Stages::default())
    }

    /// Where accounts and hubs are, in an organisation of several servers. Said once, before the first session.
    pub fn set_homes(&self, homes: Arc<dyn Homes>) {
        let _ = self.homes.set(homes);
    }

    pub(crate) fn homes(&self) -> &dyn Homes {
        self.homes.get().map_or(&Alone, |homes| homes.as_ref())
    }

    /// From now on users can ask what became of their mail (XWHY). The first source stays.
    pub fn set_why(&self, source: Arc<dyn WhySource>) {
        let _ = self.why.set(source);
    }

    pub(crate) fn tells_stories(&self) -> bool {
        self.why.get().is_some()
    }

    pub(crate) fn why_source(&self) -> Option<Arc<dyn WhySource>> {
        self.why.get().cloned()
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

    /// What stands behind one of the four listeners.
    pub fn service(self: &Arc<Hub>, kind: Kind) -> Arc<crate::accept::Service> {
        Arc::new(crate::accept::Service::new(self.clone(), kind))
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

    /// Where messages of the route [`waypost_queue::PROBE`] go from now on; nobody else's go there.
    pub fn set_probe_way(&self, connector: Option<crate::connector::SendConnector>) {
        self.routes.set_probe(connector);
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
        let mut figures = self.metrics.figures();
        figures.extend(self.queue.figures());
        figures
    }

    /// Tells every session to finish its message and go (421), and new ones to go at once. Cannot be taken back.
    pub fn stop(&self) {
        self.stop.send_replace(true);
        self.sessions_stop.read().unwrap_or_else(PoisonError::into_inner).send_replace(true);
    }

    /// Tells every session that stands to finish its message and go (421). Sessions that begin from now on go on, and so
    /// does everything that is sent.
    pub fn end_sessions(&self) {
        let mut stop = self.sessions_stop.write().unwrap_or_else(PoisonError::into_inner);
        let stopped = *self.stop.borrow();
        stop.send_replace(true);
        *stop = watch::Sender::new(stopped);
    }

    pub(crate) fn session_stopping(&self) -> watch::Receiver<bool> {
        self.sessions_stop.read().unwrap_or_else(PoisonError::into_inner).subscribe()
    }

    /// Resolves when [`Hub::stop`] was called.
    pub async fn stopped(&self) {
        // Fails only when the hub is gone, which is as good.
        let _ = self.stopping().wait_for(|stop| *stop).await;
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
        let known = self.directory.snapshot().account(id).cloned().ok_or(AccountError::NoAccount(id))?;
        self.mailbox_of(&known).await
    }

    /// Whether groups are opened here, mail is sent to others from here, and agents look at it. A server that does not hands
    /// what it has accepted to one that does.
    pub(crate) fn is_transport(&self) -> bool {
        let directory = self.directory.snapshot();
        directory.here().and_then(|here| directory.server(here)).is_none_or(|server| server.roles.transport)
    }

    /// The same, for an account that was looked up. Those of other servers are not to be had here.
    pub(crate) async fn mailbox_of(&self, known: &Person) -> Result<Account, AccountError> {
        let id = known.id;
        if !self.directory.snapshot().is_here(known) {
            return Err(AccountError::Elsewhere(id));
        }
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

    /// What is used up of the machine, as it was measured last.
    pub fn pressure(&self) -> Pressure {
        self.pressure.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Other marks for a resource; they take effect at the next measurement.
    pub fn set_marks(&self, resource: Resource, marks: Marks) {
        self.pressure.write().unwrap_or_else(PoisonError::into_inner).set_marks(resource, marks);
    }

    /// Enters what was measured; sessions follow at once. The changes of level are for the log.
    pub fn measured(&self, readings: &[(Resource, u64)]) -> Vec<Transition> {
        let mut pressure = self.pressure.write().unwrap_or_else(PoisonError::into_inner);
        let changes = pressure.update(readings);
        self.pressed.store(pressure.level() != Level::Normal, Ordering::Relaxed);
        changes
    }

    /// Whether a message of this origin is taken now.
    pub(crate) fn pressed(&self, origin: Origin) -> PressureAnswer {
        if !self.pressed.load(Ordering::Relaxed) {
            return PressureAnswer::Take;
        }
        self.pressure.read().unwrap_or_else(PoisonError::into_inner).answer(origin)
    }

    /// Counts a message from an address; `false` where it has had its share of this minute.
    pub(crate) fn within_rate(&self, peer: IpAddr, most: u32) -> bool {
        let minute = self.clock.now().as_millis() / 60_000;
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        if rates.len() >= limits::RATES {
            rates.retain(|_, (when, _)| *when == minute);
        }
        let (when, count) = rates.entry(peer).or_insert((minute, 0));
        if *when != minute {
            (*when, *count) = (minute, 0);
        }
        *count = count.saturating_add(1);
        *count <= most
    }
}
