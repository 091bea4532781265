//! The queue alive: what is in memory behind one short lock, what is in rows, and those who wait for work. The lock is
//! never held while something is awaited.

use crate::lease::{Lease, Ticket};
use crate::limits::{CHANGES, TAKEN_HOURS, TARGETS, TARGETS_PER_HOP, TOLD, UNSETTLED};
use crate::model::{Change, DeliveryId, Hop, NewItem, NextHop, Route, Router};
use crate::plan::RetryPlan;
use crate::rows::{self, ITEM, PARTITION, RUN};
use crate::schedule::{NewEntry, Schedule, Todo, flag, priority_flag};
use crate::settle::Unsettled;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OnceCell, Semaphore, broadcast};
use waypost_base::metrics::{Figure, Kind};
use waypost_base::{AccountId, Clock, Timestamp};
use waypost_store::{Batch, BlobError, CommitError, Expect, Pending, ReadError, Store};

/// Why the queue could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// It is in the poison queue now, with the evidence.
    #[error("queue item {item} is damaged: {what}")]
    Damaged { item: u64, what: String },
    #[error("there is no message {0} in the queues")]
    NoMessage(u64),
    #[error("there is no queue {0}")]
    NoQueue(String),
    /// Nothing can be changed while it is being sent.
    #[error("message {0} is being sent at this moment; try again when it has ended")]
    Busy(u64),
}

/// See the crate. Commands on a stopped server use one without calling [`Queue::work`].
pub struct Queue {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) state: Mutex<State>,
    pub(crate) wake: Notify,
    changes: broadcast::Sender<Change>,
    last_id: AtomicU64,
    /// Items of this run have greater numbers.
    pub(crate) start: u64,
    stopped: AtomicBool,
    begun: AtomicBool,
    /// Two runs have ended without saying so: what is begun is written down before it is.
    pub(crate) careful: AtomicBool,
    /// How often that was before this one.
    unclean: OnceCell<u8>,
    /// Whoever handles a hop has one while the queue is careful; a suspect has all.
    pub(crate) turns: Arc<Semaphore>,
    found_poison: Notify,
    /// When old rows about deliveries of other servers were last taken away.
    swept_hour: AtomicU32,
}

/// More than hops that are handled at the same time.
pub(crate) const TURNS: u32 = 1 << 20;

pub(crate) struct State {
    pub(crate) schedule: Schedule,
    pub(crate) router: Arc<dyn Router>,
    pub(crate) plan: Arc<RetryPlan>,
    /// Items submitted while [`Queue::recover`] reads: it leaves them alone.
    pub(crate) fresh: Option<BTreeSet<u64>>,
    /// What is known of poisoned hops.
    pub(crate) evidence: BTreeMap<(u64, u32), String>,
    /// What has become poison, and why, until somebody asks.
    poisoned: VecDeque<(u64, String)>,
    /// Outcomes that the store has not taken yet.
    pub(crate) unsettled: VecDeque<Unsettled>,
    pub(crate) try_again: Option<Timestamp>,
    /// Nothing new is begun while what has happened cannot be written.
    pub(crate) blocked: bool,
    /// When a run without trouble counts as such.
    trusted: Option<Timestamp>,
    /// When work was last looked for.
    looked: Option<Timestamp>,
}

impl State {
    /// Whether so much could not be written that nothing new should be begun.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked || self.unsettled.len() >= UNSETTLED
    }

    pub(crate) fn insert(&mut self, new: &NewEntry<'_>, now: Timestamp) -> u32 {
        self.schedule.insert(new, &*self.router, now)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("hops", &self.len()).finish_non_exhaustive()
    }
}

/// What is to be done next.
#[derive(Debug)]
pub enum Work {
    /// Open a connection to this next hop, and then ask the ticket for hops.
    Connect(Ticket),
    /// Deliver to mailboxes of this server.
    Deliver(Lease),
    /// Its time is over: settle the outstanding targets as failed (4.4.7), with a report.
    Expired(Lease),
    /// The sender is to be told of the delay: settle with [`Rest::Warned`](crate::Rest::Warned) and a report.
    Warn(Lease),
    /// [`Queue::stop`] was called.
    Stop,
}

/// An accepted item.
#[derive(Debug)]
pub struct Submitted {
    pub id: u64,
    /// The hop to this server's mailboxes, if it was claimed and there is one.
    pub local: Option<Lease>,
}

/// What became of an item that is to be taken once.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the common one is the large one")]
pub enum Put {
    New(Submitted),
    /// It was there before: the number that it got then.
    Before(u64),
}

/// What the schedule needs of an item that becomes durable.
#[derive(Debug)]
pub(crate) struct Meta {
    pub(crate) id: u64,
    owner: Option<AccountId>,
    expires: Timestamp,
    warn: Option<Timestamp>,
    flags: u32,
    hops: Vec<(u32, Route, u32)>,
}

impl Meta {
    pub(crate) fn has_pages(&mut self, pages: bool) {
        if pages {
            self.flags |= flag::PAGED;
        }
    }
}

/// A run that has lasted so long is not one of those that crash at once.
const TRUSTED_MILLIS: i64 = 10 * 60_000;

/// A clock that is set back by less is waited for.
pub(crate) const BACK_MILLIS: i64 = 10_000;

impl Queue {
    pub fn new(store: Store, clock: Clock, plan: RetryPlan, router: Arc<dyn Router>) -> Arc<Queue> {
        let state = State {
            schedule: Schedule::new(plan.connections, plan.messages_per_connection),
            router,
            plan: Arc::new(plan),
            fresh: Some(BTreeSet::new()),
            evidence: BTreeMap::new(),
            poisoned: VecDeque::new(),
            unsettled: VecDeque::new(),
            try_again: None,
            blocked: false,
            trusted: None,
            looked: None,
        };
        let start = u64::try_from(clock.now().as_millis()).unwrap_or(0) << 20;
        Arc::new(Queue {
            store,
            start,
            clock,
            state: Mutex::new(state),
            wake: Notify::new(),
            changes: broadcast::Sender::new(CHANGES),
            last_id: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            careful: AtomicBool::new(false),
            unclean: OnceCell::new(),
            turns: Arc::new(Semaphore::new(TURNS as usize)),
            found_poison: Notify::new(),
            swept_hour: AtomicU32::new(0),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic is done to the schedule in part; a holder's panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Replaces the routing table and moves every message to the queue that it belongs in now.
    pub fn reroute(&self, router: Arc<dyn Router>) {
        let now = self.clock.now();
        let mut state = self.lock();
        state.router = router;
        let State { schedule, router, .. } = &mut *state;
        schedule.reroute(&**router, now);
        if let Some(line) = state.schedule.find_line(&NextHop::Unreachable) {
            self.tell_line(&state, line);
        }
        self.drop_forgotten(&mut state);
        drop(state);
        self.wake.notify_one();
    }

    /// Waits that begin from now on follow it.
    pub fn set_plan(&self, plan: RetryPlan) {
        let mut state = self.lock();
        state.schedule.connections_max = plan.connections;
        state.schedule.messages_per_connection = plan.messages_per_connection;
        state.plan = Arc::new(plan);
        drop(state);
        self.wake.notify_one();
    }

    pub fn plan(&self) -> RetryPlan {
        RetryPlan::clone(&self.lock().plan)
    }

    /// A number for an item: greater than all before it in this process and than every item that [`Queue::recover`] has
    /// found, and, as long as the clock does not go back, than those of earlier runs. Its upper 44 bits are the time in
    /// milliseconds.
    pub fn next_id(&self) -> u64 {
        let floor = u64::try_from(self.clock.now().as_millis()).unwrap_or(0) << 20;
        let step = |last: u64| Some(last.saturating_add(1).max(floor));
        match self.last_id.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step) {
            Ok(last) | Err(last) => last.saturating_add(1).max(floor),
        }
    }

    /// Later numbers are greater than this one.
    pub(crate) fn saw_id(&self, id: u64) {
        self.last_id.fetch_max(id, Ordering::Relaxed);
    }

    /// Makes an item durable: `Ok` means that it may get its 250. With `claim_local` the hop to this server's mailboxes
    /// comes back leased. An outcome that the store cannot tell is found out by looking.
    pub async fn submit(
        self: &Arc<Self>,
        item: NewItem,
        claim_local: bool,
    ) -> Result<Submitted, CommitError> {
        match self.put(item, claim_local, None).await? {
            Put::New(submitted) => Ok(submitted),
            Put::Before(_) => Err(CommitError::Invalid("an item that is there already")),
        }
    }

    /// The same for what another server of ours hands over: with the same [`Envelope::delivery`](crate::Envelope) again
    /// nothing is done, also after a restart, for eight days. Gives the number of the item that it became then.
    pub async fn submit_once(self: &Arc<Self>, item: NewItem, claim_local: bool) -> Result<Put, CommitError> {
        let delivery = item.envelope.delivery;
        self.put(item, claim_local, delivery).await
    }

    async fn put(
        self: &Arc<Self>,
        mut item: NewItem,
        claim_local: bool,
        once: Option<DeliveryId>,
    ) -> Result<Put, CommitError> {
        let mut meta = self.prepare(&mut item)?;
        let mut batch = Batch::new(PARTITION);
        if let Some(delivery) = once {
            self.note_taken(&mut batch, delivery, item.id);
        }
        let mut chain = rows::new_item(&item, &mut batch);
        meta.has_pages(!chain.is_empty());
        let pending = if chain.is_empty() {
            self.store.commit_with(&[&item.blob], rows::holder(item.id), batch)
        } else {
            chain.splice(0..0, self.store.blobs().hold_batches(&item.blob, &[rows::holder(item.id)]));
            chain.push(batch);
            self.store.commit_chain(chain)
        };
        match pending.await {
            Ok(_) => {}
            Err(CommitError::Unknown(why)) => {
                if !matches!(self.store.get_one(rows::key(ITEM, item.id)).await, Ok(Some(_))) {
                    return Err(CommitError::Unknown(why));
                }
            }
            Err(CommitError::Conflict(keys)) => {
                let before = match once {
                    Some(delivery) => {
                        self.taken(delivery).await.map_err(|e| CommitError::Unavailable(e.to_string()))?
                    }
                    None => None,
                };
                return before.map(Put::Before).ok_or(CommitError::Conflict(keys));
            }
            Err(e) => return Err(e),
        }
        let mut submitted = self.enter(&meta, claim_local);
        if let Some(local) = submitted.local.as_mut().filter(|_| item.blob.is_stored()) {
            local.blob = Some(item.blob.id);
        }
        Ok(Put::New(submitted))
    }

    /// Notes what a delivery became, and now and then forgets what is older than any message.
    fn note_taken(&self, batch: &mut Batch, delivery: DeliveryId, item: u64) {
        let key = rows::taken_key(delivery);
        batch.expect(key.clone(), Expect::Absent).put(key, item.to_be_bytes().to_vec());
        let hour = u32::try_from(self.clock.now().as_millis() / 3_600_000).unwrap_or(0);
        if self.swept_hour.swap(hour, Ordering::Relaxed) != hour {
            let old = rows::taken_before(hour.saturating_sub(TAKEN_HOURS));
            batch.del_range(rows::taken_before(0)..old);
        }
    }

    /// The item that another server's delivery became here, if it was ever taken.
    pub async fn taken(&self, delivery: DeliveryId) -> Result<Option<u64>, ReadError> {
        let row = self.store.get_one(rows::taken_key(delivery)).await?;
        Ok(row.and_then(|row| Some(u64::from_be_bytes(row.get(..8)?.try_into().ok()?))))
    }

    /// Brings an item into the form that is written; gives what the schedule needs of it.
    pub(crate) fn prepare(&self, item: &mut NewItem) -> Result<Meta, CommitError> {
        item.envelope.trim();
        divide(&mut item.hops);
        let targets: usize = item.hops.iter().map(|hop| hop.targets.len()).sum();
        if targets == 0 {
            return Err(CommitError::Invalid("an item that leads nowhere"));
        }
        if targets > TARGETS {
            return Err(CommitError::TooLarge);
        }
        let e = &item.envelope;
        let notice = self.lock().plan.delay_notice_millis;
        Ok(Meta {
            id: item.id,
            owner: e.owner,
            expires: e.expires,
            // Nobody is told of a delay where there is nobody to tell.
            warn: e.from.as_ref().and(notice).map(|after| e.accepted.plus_millis(after)),
            flags: priority_flag(e.priority) | if item.blob.is_stored() { flag::STORED } else { 0 },
            hops: item
                .hops
                .iter()
                .map(|hop| {
                    (hop.number, hop.route.clone(), u32::try_from(hop.targets.len()).unwrap_or(u32::MAX))
                })
                .collect(),
        })
    }

    /// Puts a durable item into the schedule.
    pub(crate) fn enter(self: &Arc<Self>, meta: &Meta, claim_local: bool) -> Submitted {
        let now = self.clock.now();
        let mut state = self.lock();
        if let Some(fresh) = &mut state.fresh {
            fresh.insert(meta.id);
        }
        let mut local = None;
        for (hop, route, targets) in &meta.hops {
            let claim = claim_local && local.is_none() && *route == Route::Mailbox;
            let slot = state.insert(
                &NewEntry {
                    id: meta.id,
                    hop: *hop,
                    route,
                    targets: *targets,
                    owner: meta.owner,
                    due: now,
                    expires: meta.expires,
                    warn: meta.warn,
                    flags: meta.flags | if claim { flag::LEASED } else { 0 },
                },
                now,
            );
            if claim {
                local = Some(slot);
            }
        }
        let local = local.map(|slot| Lease::new(self, &state, slot));
        self.drop_forgotten(&mut state);
        drop(state);
        self.wake.notify_one();
        self.tell(meta.owner, meta.id);
        Submitted { id: meta.id, local }
    }

    /// Waits until there is something to do. Several tasks may wait.
    pub async fn work(self: &Arc<Self>) -> Work {
        if !self.begun.swap(true, Ordering::Relaxed) {
            self.begin().await;
        }
        loop {
            if self.stopped.load(Ordering::Relaxed) {
                self.wake.notify_one();
                return Work::Stop;
            }
            self.write_unsettled().await;
            let (work, next) = self.look();
            if let Some(work) = work {
                // There may be more, for whoever else waits.
                self.wake.notify_one();
                return work;
            }
            // The clock may be set while we sleep: at least once a minute it is looked at.
            let wait = next.map_or(60_000, |at| at.since(self.clock.now()).clamp(1, 60_000));
            let wait = Duration::from_millis(wait.unsigned_abs());
            let _ = tokio::time::timeout(wait, self.wake.notified()).await;
        }
    }

    /// What is to be done now, or else when to look again.
    fn look(self: &Arc<Self>) -> (Option<Work>, Option<Timestamp>) {
        let now = self.clock.now();
        let mut state = self.lock();
        if self.careful.load(Ordering::Relaxed) && state.trusted.is_some_and(|at| at <= now) {
            self.careful.store(false, Ordering::Relaxed);
            state.trusted = None;
            drop(self.store.commit(run_row(1, now)));
        }
        if let Some(before) =
            state.looked.replace(now).map(|looked| looked.since(now)).filter(|b| *b > BACK_MILLIS)
        {
            tracing::warn!(
                seconds = before / 1000,
                "the clock was set back; what waits does not wait for that"
            );
            state.schedule.clock_went_back(before, now);
            let State { try_again, trusted, .. } = &mut *state;
            for time in [try_again, trusted] {
                *time = time.map(|at| at.plus_millis(-before));
            }
        }
        if state.is_blocked() {
            return (None, state.try_again);
        }
        let todo = state.schedule.poll(now);
        self.drop_forgotten(&mut state);
        let work = todo.map(|todo| match todo {
            Todo::Connect(line) => {
                let hop = state.schedule.line(line).map_or(NextHop::Unreachable, |line| line.hop.clone());
                Work::Connect(Ticket::new(self, line, hop))
            }
            Todo::Deliver(slot) => Work::Deliver(Lease::new(self, &state, slot)),
            Todo::Expired(slot) => Work::Expired(Lease::new(self, &state, slot)),
            Todo::Warn(slot) => Work::Warn(Lease::new(self, &state, slot)),
        });
        let next = state.schedule.next_time().into_iter().chain(state.try_again).min();
        (work, next)
    }

    /// How many runs before this one have ended, one after the other, without saying so.
    pub(crate) async fn unclean(&self) -> u8 {
        let read = async || {
            let row = self.store.get_one(vec![crate::QUEUE_PREFIX, RUN]).await.ok().flatten();
            row.and_then(|row| row.get(1).copied()).unwrap_or(0)
        };
        *self.unclean.get_or_init(read).await
    }

    pub(crate) fn tell_poisoned(&self, state: &mut State, item: u64, evidence: String) {
        if state.poisoned.len() < TOLD {
            state.poisoned.push_back((item, evidence));
            self.found_poison.notify_one();
        }
    }

    /// Waits for an item that has become poison, by what it did or by damage found while it was handled, and gives the
    /// evidence. For the one who tells of it.
    pub async fn poisoned(&self) -> (u64, String) {
        loop {
            let found = self.lock().poisoned.pop_front();
            if let Some(found) = found {
                return found;
            }
            self.found_poison.notified().await;
        }
    }

    /// Notes that work goes on, and learns how the last run ended.
    async fn begin(&self) {
        let now = self.clock.now();
        let before = self.unclean().await;
        if before >= crate::limits::SUSPICIONS {
            tracing::warn!(
                times = before,
                "earlier runs have ended without saying so: what is begun is noted first"
            );
            self.careful.store(true, Ordering::Relaxed);
        }
        self.lock().trusted = Some(now.plus_millis(TRUSTED_MILLIS));
        let row = run_row(before.saturating_add(1), now);
        if let Err(e) = self.store.commit(row).await {
            tracing::warn!(error = %e, "the beginning of the queue's work could not be noted");
        }
    }

    /// From now on [`Queue::work`] answers [`Work::Stop`] and tickets have no more. What is leased may still be settled.
    pub fn stop(&self) {
        if !self.stopped.swap(true, Ordering::Relaxed) && self.begun.load(Ordering::Relaxed) {
            let mut batch = Batch::new(PARTITION);
            batch.del(vec![crate::QUEUE_PREFIX, RUN]);
            // In line before whatever closes the store; if it is lost, the next start is a little more careful.
            drop(self.store.commit(batch));
        }
        self.wake.notify_one();
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// In line when this returns. Often nobody waits for it: a queue's state that is lost in a crash costs one try.
    pub(crate) fn write_line(&self, hop: &NextHop, line: &rows::QueueState) -> Pending {
        let Some(key) = rows::queue_key(hop) else {
            return Pending::ready(Err(CommitError::Invalid("a queue's name longer than a key")));
        };
        let mut batch = Batch::new(PARTITION);
        if *line == rows::QueueState::default() {
            batch.del(key);
        } else {
            batch.put(key, line.encode());
        }
        self.store.commit(batch)
    }

    /// Takes away the rows of forgotten queues: a queue of the same name that is opened later has failed at nothing, and
    /// must not be found waiting after a restart.
    pub(crate) fn drop_forgotten(&self, state: &mut State) {
        for hop in std::mem::take(&mut state.schedule.forgotten) {
            drop(self.write_line(&hop, &rows::QueueState::default()));
        }
    }

    /// Hops in all queues.
    pub fn len(&self) -> u64 {
        self.lock().schedule.len() as u64
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What changes from now on. Whoever lags behind is told so by the channel, and should look at everything again.
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    pub(crate) fn tell(&self, owner: Option<AccountId>, item: u64) {
        if self.changes.receiver_count() > 0 {
            // Without receivers there is nobody to miss it.
            let _ = self.changes.send(Change { owner, item });
        }
    }

    /// Tells of the items that wait in a queue whose state has changed: of the first thousand. More would only make those
    /// who listen lag behind.
    pub(crate) fn tell_line(&self, state: &State, line: u32) {
        if self.changes.receiver_count() > 0 {
            for (owner, item) in state.schedule.waiting(line).take(TOLD) {
                self.tell(Some(owner), item);
            }
        }
    }

    /// When something is to be done next, as far as is known.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.lock().schedule.next_time()
    }

    pub fn figures(&self) -> Vec<Figure> {
        let state = self.lock();
        let schedule = &state.schedule;
        let figure = |name, help, kind, value: f64| Figure { name, help, kind, value };
        let count = |hop: &NextHop| {
            schedule.find_line(hop).and_then(|line| schedule.line(line)).map_or(0.0, |line| line.hops as f64)
        };
        let deferred: u64 = schedule.lines().map(|line| line.deferred).sum();
        vec![
            figure("queue_hops", "Hops of messages in all queues", Kind::Gauge, schedule.len() as f64),
            figure("queue_deferred_hops", "Hops that were tried and put off", Kind::Gauge, deferred as f64),
            figure("queue_poison_hops", "Hops in the poison queue", Kind::Gauge, count(&NextHop::Poison)),
            figure(
                "queue_unreachable_hops",
                "Hops without a connector",
                Kind::Gauge,
                count(&NextHop::Unreachable),
            ),
            figure("queue_queues", "Delivery queues", Kind::Gauge, schedule.lines().count() as f64),
            figure(
                "queue_connections",
                "Connections to next hops",
                Kind::Gauge,
                f64::from(schedule.connections()),
            ),
            figure("queue_unsettled", "Outcomes not written yet", Kind::Gauge, state.unsettled.len() as f64),
            figure("queue_arrived_total", "Hops put into queues", Kind::Counter, schedule.arrived as f64),
            figure("queue_ended_total", "Hops brought to their end", Kind::Counter, schedule.ended as f64),
            figure("queue_schedule_bytes", "Memory of the schedule", Kind::Gauge, schedule.bytes() as f64),
        ]
    }
}

fn run_row(starts: u8, now: Timestamp) -> Batch {
    let mut row = vec![rows::VERSION, starts];
    row.extend_from_slice(&now.as_millis().to_be_bytes());
    let mut batch = Batch::new(PARTITION);
    batch.put(vec![crate::QUEUE_PREFIX, RUN], row);
    batch
}

/// Divides hops with more targets than one may have; drops those that have none.
fn divide(hops: &mut Vec<Hop>) {
    hops.retain(|hop| !hop.targets.is_empty());
    let mut next = hops.iter().map(|hop| hop.number).max().unwrap_or(0);
    let mut more = Vec::new();
    for hop in hops.iter_mut() {
        while hop.targets.len() > TARGETS_PER_HOP {
            next += 1;
            let targets = hop.targets.split_off(hop.targets.len() - TARGETS_PER_HOP);
            more.push(Hop { number: next, route: hop.route.clone(), targets });
        }
    }
    hops.extend(more);
}
