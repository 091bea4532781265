//! The right to handle a hop, and to have a connection. Both give back what they stand for when they are dropped.

use crate::limits::{ALONE_MILLIS, ASIDE_MILLIS, UNREAD_MILLIS};
use crate::live::{Queue, QueueError, State, TURNS};
use crate::model::{Accepted, Envelope, NextHop, Reason, Route, Target};
use crate::rows::{self, ATTEMPT, BYTES, HopState, ITEM, Item, PAGES, PARTITION, STATE};
use crate::schedule::flag;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use waypost_base::{AccountId, Timestamp};
use waypost_store::{Batch, Blob, BlobError, BlobId, Key, ReadError, Store, prefix_range};

/// A connection's slot in its queue; given back when dropped.
pub struct Ticket {
    queue: Arc<Queue>,
    line: u32,
    hop: NextHop,
    connecting: AtomicBool,
    failed: AtomicBool,
    used: AtomicBool,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ticket").field(&self.hop).finish()
    }
}

impl Ticket {
    pub(crate) fn new(queue: &Arc<Queue>, line: u32, hop: NextHop) -> Ticket {
        let (queue, connecting) = (queue.clone(), AtomicBool::new(true));
        Ticket { queue, line, hop, connecting, failed: AtomicBool::new(false), used: AtomicBool::new(false) }
    }

    pub fn next_hop(&self) -> &NextHop {
        &self.hop
    }

    /// The next hop of this queue that is due; `None` when there is nothing (more) for this connection now.
    pub fn next(&self) -> Option<Lease> {
        if self.failed.load(Ordering::Relaxed) || self.queue.stopping() {
            return None;
        }
        let now = self.queue.clock.now();
        let mut state = self.queue.lock();
        if state.is_blocked() {
            return None;
        }
        let slot = state.schedule.lease(self.line, now)?;
        self.used.store(true, Ordering::Relaxed);
        Some(Lease::new(&self.queue, &state, slot))
    }

    /// The connection is good: others may be opened beside it, and the queue leaves Retry. May be said again.
    pub fn ok(&self) {
        let first = self.connecting.swap(false, Ordering::Relaxed);
        let mut state = self.queue.lock();
        let changed = state.schedule.connected(self.line, first, self.queue.clock.now());
        if changed && let Some(line) = state.schedule.line(self.line) {
            drop(self.queue.write_line(&line.hop, &line.state()));
            self.queue.tell_line(&state, self.line);
        }
        drop(state);
        self.queue.wake.notify_one();
    }

    /// It could not be used (no connection, greeting refused, TLS required and not there), or was lost: the queue waits
    /// (Retry), with this as its LastError. While other connections of the queue are good, a new one that fails only keeps
    /// more from being opened for a while. Leases of this ticket that are still out should be dropped, or settled as they
    /// ended.
    pub fn failed(&self, reason: Reason) {
        self.failed.store(true, Ordering::Relaxed);
        let now = self.queue.clock.now();
        let mut state = self.queue.lock();
        let (plan, seed) = (state.plan.clone(), seed_of(&self.hop, now));
        let connecting = self.connecting.load(Ordering::Relaxed);
        let wait = |failures| plan.queue_wait(failures, seed);
        let news = state.schedule.failed(self.line, reason, connecting, now, wait);
        if news && let Some(line) = state.schedule.line(self.line) {
            drop(self.queue.write_line(&line.hop, &line.state()));
            self.queue.tell_line(&state, self.line);
        }
        drop(state);
        self.queue.wake.notify_one();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let connecting = self.connecting.load(Ordering::Relaxed);
        let quiet = !self.failed.load(Ordering::Relaxed) && connecting && !self.used.load(Ordering::Relaxed);
        self.queue.lock().schedule.disconnected(self.line, connecting, quiet, self.queue.clock.now());
        self.queue.wake.notify_one();
    }
}

/// Different for different queues and times, the same for the same.
fn seed_of(hop: &NextHop, now: Timestamp) -> u64 {
    hop.to_string()
        .bytes()
        .fold(now.as_millis().cast_unsigned(), |seed, byte| crate::plan::mix(seed ^ u64::from(byte)))
}

/// A hop that nobody else handles as long as this lives. Dropped without being settled it is available again; if its
/// holder panics, that is held against the item, and twice makes it poison.
pub struct Lease {
    pub(crate) queue: Arc<Queue>,
    pub(crate) slot: u32,
    item: u64,
    hop: u32,
    route: Route,
    next_hop: NextHop,
    owner: Option<AccountId>,
    /// What the state row says; nothing if there is none.
    pub(crate) known: Option<HopState>,
    /// Of bytes in segments, so that they can be let go.
    pub(crate) blob: Option<BlobId>,
    /// Was being handled when an earlier run crashed.
    suspect: bool,
    /// A row says so, or that its handling has begun.
    pub(crate) marked: bool,
    /// A row says that its handling has begun, in this run.
    begun: bool,
    /// While runs crash: a suspect has all turns, everything else one.
    turn: Option<OwnedSemaphorePermit>,
    damage: Option<String>,
    /// It could not be read just now: others go first.
    pub(crate) unread: bool,
    pub(crate) over: bool,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lease { item, hop, route, .. } = self;
        f.debug_struct("Lease")
            .field("item", item)
            .field("hop", hop)
            .field("route", route)
            .finish_non_exhaustive()
    }
}

/// What a lease stands for.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub envelope: Envelope,
    pub blob: Blob,
    /// As they were accepted, for reports; [`Target::of`] counts in them.
    pub recipients: Vec<Accepted>,
    /// The outstanding ones, each with its index, by which it is settled.
    pub targets: Vec<(u32, Target)>,
    /// Attempts before this one.
    pub attempts: u32,
    /// Why the last one was put off; for a message that never was, why its queue could not connect.
    pub last_error: Option<Reason>,
}

impl Lease {
    pub(crate) fn new(queue: &Arc<Queue>, state: &State, slot: u32) -> Lease {
        let entry = state.schedule.entry(slot);
        Lease {
            queue: queue.clone(),
            slot,
            item: entry.id,
            hop: entry.hop,
            route: state.schedule.route(slot).clone(),
            next_hop: state.schedule.next_hop(slot),
            owner: entry.owner(),
            known: (!entry.is(flag::STATE)).then(HopState::default),
            blob: None,
            suspect: entry.is(flag::SUSPECT),
            marked: entry.is(flag::SUSPECT),
            begun: false,
            turn: None,
            damage: None,
            unread: false,
            over: false,
        }
    }

    pub fn item(&self) -> u64 {
        self.item
    }

    /// Number of the hop within its item.
    pub fn hop(&self) -> u32 {
        self.hop
    }

    pub fn route(&self) -> &Route {
        &self.route
    }

    /// The queue that it was taken from.
    pub fn next_hop(&self) -> &NextHop {
        &self.next_hop
    }

    /// The account that submitted it.
    pub fn owner(&self) -> Option<AccountId> {
        self.owner
    }

    /// Everything that is needed to handle it. Needed before settling, too, except for a lease from
    /// [`Queue::submit`](crate::Queue::submit). A damaged item goes into the poison queue when the lease is dropped.
    pub async fn load(&mut self) -> Result<Loaded, QueueError> {
        if self.queue.careful.load(Ordering::Relaxed) && !self.begun {
            self.note().await?;
        }
        let loaded = self.read().await;
        match &loaded {
            Err(QueueError::Damaged { what, .. }) => self.damage = Some(what.clone()),
            other => self.unread = other.is_err(),
        }
        loaded
    }

    /// Waits for its turn, and notes that its handling begins.
    async fn note(&mut self) -> Result<(), QueueError> {
        let (turns, wait) = if self.suspect { (TURNS, ALONE_MILLIS) } else { (1, ASIDE_MILLIS) };
        let turn = Arc::clone(&self.queue.turns).acquire_many_owned(turns);
        // Nobody is held up for ever: who has waited long enough goes beside the others, and the rows say so.
        let turn = tokio::time::timeout(Duration::from_millis(wait), turn).await;
        self.turn = turn.ok().and_then(Result::ok);
        let mut batch = Batch::new(PARTITION);
        batch.put(rows::key2(ATTEMPT, self.item, self.hop), vec![rows::VERSION, rows::BEGUN]);
        (self.marked, self.begun) = (true, true);
        self.queue.store.commit(batch).await?;
        Ok(())
    }

    async fn read(&mut self) -> Result<Loaded, QueueError> {
        let id = self.item;
        let damaged = |what: &str| QueueError::Damaged { item: id, what: what.to_owned() };
        let (has_state, line_error) = {
            let state = self.queue.lock();
            let line = state.schedule.line(state.schedule.entry(self.slot).line);
            let error = line.and_then(|line| line.retry.as_ref().map(|retry| retry.reason.clone()));
            (state.schedule.entry(self.slot).is(flag::STATE), error)
        };
        let mut keys = vec![rows::key(ITEM, id), rows::key(BYTES, id)];
        if has_state {
            keys.push(rows::key2(STATE, id, self.hop));
        }
        let mut found = get(&self.queue.store, id, keys).await?.into_iter();
        let (row, bytes, state_row) =
            (found.next().flatten(), found.next().flatten(), found.next().flatten());
        let row = row.ok_or_else(|| damaged("its row is gone"))?;
        let item = read_item(&self.queue.store, id, &row).await?;
        let state = match state_row {
            None if has_state => return Err(damaged("its state is gone")),
            None => self.known.clone().unwrap_or_default(),
            Some(row) => HopState::decode(&row).ok_or_else(|| damaged("its state cannot be read"))?,
        };
        let blobs = self.queue.store.blobs();
        let blob = if item.head.stored {
            let stored = blobs.stored(item.head.blob, rows::holder(id)).await;
            self.blob = Some(item.head.blob);
            stored.map_err(|e| blob_damage(id, e))?
        } else {
            let bytes = bytes.ok_or_else(|| damaged("its bytes are gone"))?;
            blobs.inline(item.head.blob, item.head.size, bytes)
        };
        let hop = item.hops.into_iter().find(|hop| hop.number == self.hop);
        let hop = hop.ok_or_else(|| damaged("its row does not have this hop"))?;
        let targets =
            (0u32..).zip(hop.targets).filter(|(index, _)| state.done.get(*index).is_none()).collect();
        let loaded = Loaded {
            envelope: item.envelope,
            blob,
            recipients: item.recipients,
            targets,
            attempts: state.attempts,
            last_error: state.last.clone().or(line_error),
        };
        self.known = Some(state);
        Ok(loaded)
    }
}

/// Damaged bytes are the item's fault, everything else the moment's.
pub(crate) fn blob_damage(item: u64, e: BlobError) -> QueueError {
    match e {
        BlobError::Corrupt { .. } | BlobError::Missing => QueueError::Damaged { item, what: e.to_string() },
        BlobError::Read(ReadError::Corrupt(_)) => QueueError::Damaged { item, what: e.to_string() },
        e => QueueError::Blob(e),
    }
}

/// Rows of an item; a damaged one is the item's damage.
pub(crate) async fn get(
    store: &Store,
    item: u64,
    keys: Vec<Key>,
) -> Result<Vec<Option<bytes::Bytes>>, QueueError> {
    store.get(keys).await.map_err(|e| match e {
        ReadError::Corrupt(_) => QueueError::Damaged { item, what: e.to_string() },
        e => QueueError::Read(e),
    })
}

/// An item of its row, and of its pages if it has some.
pub(crate) async fn read_item(store: &Store, id: u64, row: &[u8]) -> Result<Item, QueueError> {
    let pages = read_pages(store, id, row).await?;
    Item::decode(row, &pages)
        .ok_or_else(|| QueueError::Damaged { item: id, what: "its row cannot be read".to_owned() })
}

/// An item's pages put together; nothing if it has none.
pub(crate) async fn read_pages(store: &Store, id: u64, row: &[u8]) -> Result<Vec<u8>, QueueError> {
    let mut pages = Vec::new();
    let head = rows::Head::read(&mut crate::codec::Input(row));
    let Some(head) = head.filter(|head| head.paged) else { return Ok(pages) };
    let mut count = 0;
    let corrupt = store
        .each(prefix_range(&rows::key(PAGES, id)), |key, value| {
            let right = rows::number_of(key) == Some(count);
            count += 1;
            pages.extend_from_slice(value);
            right
        })
        .await?;
    if !corrupt.is_empty() || count != head.pages {
        let what = "some of its pages are damaged or gone".to_owned();
        return Err(QueueError::Damaged { item: id, what });
    }
    Ok(pages)
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let panicked = std::thread::panicking();
        let queue = self.queue.clone();
        let now = queue.clock.now();
        let mut state = queue.lock();
        let mut batch = Batch::new(PARTITION);
        if self.begun || self.damage.is_some() && self.marked {
            batch.del(rows::key2(ATTEMPT, self.item, self.hop));
            // It got here without a crash.
            state.schedule.change(self.slot, now, |entry| entry.flags &= !flag::SUSPECT);
        }
        if let Some(evidence) = self.damage.take() {
            queue.poison(&mut state, self.slot, self.known.take(), evidence, &mut batch);
        } else if panicked {
            let entry = state.schedule.entry(self.slot);
            let suspicions = ((entry.flags & flag::SUSPICION) >> flag::SUSPICION_SHIFT) as u8 + 1;
            tracing::error!(
                item = self.item,
                hop = self.hop,
                suspicions,
                "handling a message ended in a panic"
            );
            if suspicions >= crate::limits::SUSPICIONS {
                let evidence = format!("handling it ended in a panic {suspicions} times");
                queue.poison(&mut state, self.slot, self.known.take(), evidence, &mut batch);
            } else {
                queue.suspect(&mut state, self.slot, self.known.take(), suspicions, now, &mut batch);
            }
        } else {
            let entry = state.schedule.entry(self.slot);
            let pending = entry.flags & (flag::PENDING_REMOVE | flag::PENDING_RECALL);
            let due = (self.unread || pending != 0)
                .then(|| Timestamp(entry.due).max(now.plus_millis(UNREAD_MILLIS)));
            state.schedule.give_back(self.slot, due, now);
            if pending != 0 {
                queue.end_soon(self.item, pending);
            }
        }
        if batch.count() > 0 {
            // Without a runtime to wait in; if it is lost, so is one suspicion.
            drop(queue.store.commit(batch));
        }
        drop(state);
        queue.wake.notify_one();
    }
}

impl Queue {
    /// Ends a lease: the hop goes into the poison queue, with the evidence.
    pub(crate) fn poison(
        &self,
        state: &mut State,
        slot: u32,
        known: Option<HopState>,
        evidence: String,
        batch: &mut Batch,
    ) {
        let now = self.clock.now();
        let (id, hop) = (state.schedule.entry(slot).id, state.schedule.entry(slot).hop);
        tracing::error!(item = id, hop, %evidence, "message put into the poison queue");
        // A state that could not be read is left as it is: it is evidence, too.
        if let Some(mut known) = known {
            known.poison = Some(evidence.clone());
            known.due = Timestamp(state.schedule.entry(slot).due);
            // Nobody waits for this row, so memory does not count on it: it is only to be taken away with the item.
            batch.put(rows::key2(STATE, id, hop), known.encode());
            state.schedule.note_states(id);
        }
        state.evidence.insert((id, hop), evidence.clone());
        self.tell_poisoned(state, id, evidence);
        state.schedule.change(slot, now, |entry| entry.flags |= flag::POISON);
        state.schedule.give_back(slot, None, now);
        let State { schedule, router, .. } = state;
        schedule.reassign(slot, None, &**router, now);
    }

    /// Ends a lease that ended badly, but not often enough.
    fn suspect(
        &self,
        state: &mut State,
        slot: u32,
        known: Option<HopState>,
        suspicions: u8,
        now: Timestamp,
        batch: &mut Batch,
    ) {
        let (id, hop) = (state.schedule.entry(slot).id, state.schedule.entry(slot).hop);
        let later = now.plus_millis(10_000);
        if let Some(mut known) = known {
            known.suspicions = suspicions;
            known.due = later;
            batch.put(rows::key2(STATE, id, hop), known.encode());
            state.schedule.note_states(id);
        }
        state.schedule.change(slot, now, |entry| {
            entry.flags = entry.flags & !flag::SUSPICION | u32::from(suspicions) << flag::SUSPICION_SHIFT;
        });
        state.schedule.give_back(slot, Some(later), now);
    }
}
