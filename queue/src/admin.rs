//! What administrators do to queues and messages. Each change is durable before it is answered; it works the same
//! whether the server runs or a command has the store open by itself.
//!
//! A hop that is being sent is not changed under its holder's hands: it is noted, and done when the hop is put off.

use crate::lease::{Lease, blob_damage, get, read_item};
use crate::live::{Queue, QueueError, State};
use crate::model::{Envelope, NextHop, Priority, Rest, Route};
use crate::rows::{self, BYTES, HopState, ITEM, PARTITION, STATE};
use crate::schedule::{Entry, Line, flag};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use waypost_base::{AccountId, Timestamp};
use waypost_store::{Batch, Blob, limits::BATCH_BYTES};

/// Rows of one batch of states.
const STATES: usize = 1000;

/// What a recall has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recall {
    /// Targets that will not get the message.
    pub recalled: u64,
    /// Targets being sent to at this moment; what is put off of them is taken back.
    pub in_flight: u64,
}

/// What is being sent at this moment.
#[derive(Clone, Copy, Debug, Default)]
struct Busy {
    hops: u64,
    targets: u64,
}

impl Queue {
    /// Holds a queue: no new connections, none of its messages is handed out. Outlives a restart.
    pub async fn suspend_queue(&self, identity: &str) -> Result<(), QueueError> {
        self.change_queue(identity, |line| line.suspended = true).await.map(drop)
    }

    pub async fn resume_queue(&self, identity: &str) -> Result<(), QueueError> {
        self.change_queue(identity, |line| line.suspended = false).await.map(drop)
    }

    /// Forgets that it could not connect, and makes its messages due now.
    pub async fn retry_queue(&self, identity: &str) -> Result<(), QueueError> {
        let line = self
            .change_queue(identity, |line| {
                line.retry = None;
                line.pause = Timestamp(i64::MIN);
            })
            .await?;
        let now = self.clock.now();
        self.lock().schedule.hurry(line, now);
        self.wake.notify_one();
        Ok(())
    }

    async fn change_queue(&self, identity: &str, change: impl FnOnce(&mut Line)) -> Result<u32, QueueError> {
        let (number, pending) = {
            let mut state = self.lock();
            let number =
                state.find_queue(identity).ok_or_else(|| QueueError::NoQueue(identity.to_owned()))?;
            let hop = state.schedule.line(number).map(|line| line.hop.clone());
            state.schedule.change_line(number, self.clock.now(), change);
            self.tell_line(&state, number);
            self.drop_forgotten(&mut state);
            // An empty queue may be forgotten by what was changed; its row must not outlive it.
            let known = state.schedule.line(number).map(|line| line.state()).unwrap_or_default();
            (number, hop.map(|hop| self.write_line(&hop, &known)))
        };
        if let Some(pending) = pending {
            pending.await?;
        }
        self.wake.notify_one();
        Ok(number)
    }

    /// Holds all hops of an item; those being sent are held when they are put off. Gives how many that makes.
    pub async fn suspend(self: &Arc<Self>, item: u64) -> Result<u64, QueueError> {
        let (leases, busy) = self.take(item, flag::PENDING_SUSPEND);
        let done = self.change_of(item, leases, |known, _| {
            known.suspended = true;
            true
        });
        self.some(item, done.await? + busy.hops)
    }

    /// Lets suspended hops go on; also takes them out of the poison queue, for another chance.
    pub async fn resume(self: &Arc<Self>, item: u64) -> Result<u64, QueueError> {
        let busy = self.unmark(item, flag::PENDING_SUSPEND);
        let done = self.change(item, |known, _| {
            (known.suspended, known.poison, known.suspicions) = (false, None, 0);
            true
        });
        self.some(item, done.await? + busy)
    }

    /// Makes all its hops due now.
    pub async fn retry(self: &Arc<Self>, item: u64) -> Result<u64, QueueError> {
        let now = self.clock.now();
        let done = self.change(item, |known, _| {
            known.due = now;
            true
        });
        self.some(item, done.await?)
    }

    /// Gives how many hops have been changed; those being sent keep theirs.
    pub async fn set_priority(self: &Arc<Self>, item: u64, priority: Priority) -> Result<u64, QueueError> {
        let done = self.change(item, |known, _| {
            known.priority = Some(priority);
            true
        });
        self.some(item, done.await?)
    }

    /// Sends all remote hops of an item elsewhere: to a server, or as if they were for another domain. Gives how many.
    pub async fn redirect(self: &Arc<Self>, item: u64, to: Route) -> Result<u64, QueueError> {
        let now = self.clock.now();
        let done = self.change(item, |known, route| {
            let remote = *route != Route::Mailbox;
            if remote {
                known.route = Some(to.clone());
                known.due = now;
            }
            remote
        });
        self.some(item, done.await?)
    }

    /// Sends every message of a queue to another server; gives how many hops. For Redirect-Message and for draining.
    pub async fn redirect_queue(self: &Arc<Self>, identity: &str, to: Route) -> Result<u64, QueueError> {
        let mut items: Vec<u64> = {
            let state = self.lock();
            let line = state.find_queue(identity).ok_or_else(|| QueueError::NoQueue(identity.to_owned()))?;
            state.schedule.all().filter(|(_, e)| e.line == line).map(|(_, e)| e.id).collect()
        };
        items.sort_unstable();
        items.dedup();
        let mut moved = 0;
        for item in items {
            let to = to.clone();
            moved += self
                .change(item, |known, route| {
                    let remote = *route != Route::Mailbox;
                    if remote {
                        known.route = Some(to.clone());
                    }
                    remote
                })
                .await?;
        }
        Ok(moved)
    }

    /// Takes an item away without a report; hops being sent go when they are put off. Gives how many hops.
    pub async fn remove(self: &Arc<Self>, item: u64) -> Result<u64, QueueError> {
        let (leases, busy) = self.take(item, flag::PENDING_REMOVE);
        let removed = self.end(leases, flag::PENDING_REMOVE).await?.0;
        self.some(item, removed + busy.hops)
    }

    /// Takes back what has not been sent.
    pub async fn recall(self: &Arc<Self>, item: u64) -> Result<Recall, QueueError> {
        let (leases, busy) = self.take(item, flag::PENDING_RECALL);
        let recalled = self.end(leases, flag::PENDING_RECALL).await?.1;
        Ok(Recall { recalled, in_flight: busy.targets })
    }

    /// Leases all hops of an item that nobody handles, whatever they wait for: to remove them with a report, load each and
    /// settle its targets as failed. An item whose rows are damaged does not load; [`Queue::remove`] takes it away.
    pub fn claim(self: &Arc<Self>, item: u64) -> Vec<Lease> {
        let now = self.clock.now();
        let mut state = self.lock();
        let mut leases = Vec::new();
        for slot in state.schedule.slots(item) {
            if state.schedule.claim(slot, now) {
                leases.push(Lease::new(self, &state, slot));
            }
        }
        leases
    }

    /// The message's envelope and bytes, for Export-Message; read them with [`waypost_store::Blobs::reader`].
    pub async fn export(&self, item: u64) -> Result<(Envelope, Blob), QueueError> {
        let keys = vec![rows::key(ITEM, item), rows::key(BYTES, item)];
        let mut found = get(&self.store, item, keys).await?.into_iter();
        let (row, bytes) = (found.next().flatten(), found.next().flatten());
        let row = row.ok_or(QueueError::NoMessage(item))?;
        let whole = read_item(&self.store, item, &row).await?;
        let blobs = self.store.blobs();
        let blob = match bytes {
            Some(bytes) => blobs.inline(whole.head.blob, whole.head.size, bytes),
            None => {
                let stored = blobs.stored(whole.head.blob, rows::holder(item)).await;
                stored.map_err(|e| blob_damage(item, e))?
            }
        };
        Ok((whole.envelope, blob))
    }

    /// Items that this account has submitted and that are still under way, oldest first.
    pub fn items_of(&self, owner: AccountId) -> Vec<u64> {
        let state = self.lock();
        let mut items: Vec<u64> =
            state.schedule.all().filter(|(_, e)| e.owner() == Some(owner)).map(|(_, e)| e.id).collect();
        items.sort_unstable();
        items.dedup();
        items
    }

    /// Accounts that have items under way, with the oldest `most` of each and how many there are: what the outbox begins
    /// with after a start, and after it has lagged behind. One look at everything.
    pub fn owners(&self, most: usize) -> BTreeMap<AccountId, (Vec<u64>, u64)> {
        let mut owners: BTreeMap<AccountId, (BTreeSet<u64>, u64)> = BTreeMap::new();
        let state = self.lock();
        // Hops of one item stand side by side often enough; counting a few twice does no harm.
        let mut last = None;
        for (_, entry) in state.schedule.all() {
            let Some(owner) = entry.owner() else { continue };
            let (oldest, count) = owners.entry(owner).or_default();
            *count += u64::from(last.replace(entry.id) != Some(entry.id));
            oldest.insert(entry.id);
            if oldest.len() > most {
                oldest.pop_last();
            }
        }
        drop(state);
        owners
            .into_iter()
            .map(|(owner, (oldest, count))| (owner, (oldest.into_iter().collect(), count)))
            .collect()
    }

    /// Whether something of the item is still under way; from memory.
    pub fn has(&self, item: u64) -> bool {
        self.lock().schedule.has(item)
    }

    fn some(&self, item: u64, changed: u64) -> Result<u64, QueueError> {
        if changed > 0 {
            return Ok(changed);
        }
        let there = self.lock().schedule.has(item);
        Err(if there { QueueError::Busy(item) } else { QueueError::NoMessage(item) })
    }

    /// Leases the hops of an item that nobody handles, and notes for the others what is to become of them: in one step, so
    /// that none slips through by being handed out, or put off, in between.
    fn take(self: &Arc<Self>, item: u64, pending: u32) -> (Vec<Lease>, Busy) {
        let now = self.clock.now();
        let mut state = self.lock();
        let (mut leases, mut busy) = (Vec::new(), Busy::default());
        for slot in state.schedule.slots(item) {
            if state.schedule.claim(slot, now) {
                leases.push(Lease::new(self, &state, slot));
            } else if state.schedule.entry(slot).is(flag::LEASED) {
                state.schedule.change(slot, now, |entry| entry.flags |= pending);
                busy.hops += 1;
                busy.targets += u64::from(state.schedule.entry(slot).targets);
            }
        }
        (leases, busy)
    }

    fn unmark(&self, item: u64, flags: u32) -> u64 {
        self.change_busy(item, |entry| entry.flags &= !flags)
    }

    fn change_busy(&self, item: u64, change: impl Fn(&mut Entry)) -> u64 {
        let now = self.clock.now();
        let mut state = self.lock();
        let mut count = 0;
        for slot in state.schedule.slots(item) {
            if state.schedule.entry(slot).is(flag::LEASED) {
                state.schedule.change(slot, now, &change);
                count += 1;
            }
        }
        count
    }

    /// Changes the states of the hops that nobody handles, first in rows, then in memory. `change` says whether it has.
    async fn change(
        self: &Arc<Self>,
        item: u64,
        change: impl Fn(&mut HopState, &Route) -> bool + Send,
    ) -> Result<u64, QueueError> {
        self.change_of(item, self.claim(item), change).await
    }

    async fn change_of(
        self: &Arc<Self>,
        item: u64,
        mut leases: Vec<Lease>,
        change: impl Fn(&mut HopState, &Route) -> bool + Send,
    ) -> Result<u64, QueueError> {
        let mut changed = 0;
        while !leases.is_empty() {
            let mut some: Vec<Lease> = leases.drain(..leases.len().min(STATES)).collect();
            let mut batch = Batch::new(PARTITION);
            let mut states = Vec::new();
            for lease in &mut some {
                let mut known = lease.state().await?;
                if change(&mut known, lease.route()) {
                    batch.put(rows::key2(STATE, item, lease.hop()), known.encode());
                    states.push((lease.slot, known));
                }
                if batch.size() > BATCH_BYTES / 2 {
                    self.store.commit(std::mem::replace(&mut batch, Batch::new(PARTITION))).await?;
                }
            }
            if batch.count() > 0 {
                self.store.commit(batch).await?;
            }
            let now = self.clock.now();
            let mut state = self.lock();
            for (slot, known) in &states {
                state.apply(*slot, known, now);
            }
            self.drop_forgotten(&mut state);
            changed += states.len() as u64;
            drop(state);
            // Their leases end here, and they wait for their turn again.
            drop(some);
        }
        let owner = {
            let state = self.lock();
            state.schedule.slots(item).first().and_then(|slot| state.schedule.entry(*slot).owner())
        };
        self.tell(owner, item);
        Ok(changed)
    }

    /// What was to be taken away was given back instead of being put off: it is taken away now.
    pub(crate) fn end_soon(self: &Arc<Self>, item: u64, how: u32) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let queue = self.clone();
        drop(runtime.spawn(async move {
            // Whoever gave it back may give back others; and a store that cannot be read is not asked without end.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let leases = queue.claim(item);
            if let Err(e) = queue.end(leases, how).await {
                tracing::warn!(item, error = %e, "a message that is to go could not be taken away yet");
            }
        }));
    }

    /// Ends these hops, all their targets as the flag says; gives hops and targets.
    async fn end(self: &Arc<Self>, leases: Vec<Lease>, how: u32) -> Result<(u64, u64), QueueError> {
        let (mut hops, mut targets) = (0, 0);
        for mut lease in leases {
            let known = lease.state().await?;
            lease.known = Some(known);
            let now = self.clock.now();
            {
                let mut state = self.lock();
                targets += u64::from(state.schedule.entry(lease.slot).targets);
                state.schedule.change(lease.slot, now, |entry| entry.flags |= how);
            }
            self.settle(lease, Vec::new(), Rest::Back, Vec::new()).await?;
            hops += 1;
        }
        Ok((hops, targets))
    }
}

impl Lease {
    /// The state as its row has it; a damaged one is begun anew, since a person has decided to go on.
    async fn state(&mut self) -> Result<HopState, QueueError> {
        if let Some(known) = &self.known {
            let due = Timestamp(self.queue.lock().schedule.entry(self.slot).due);
            return Ok(HopState { due, ..known.clone() });
        }
        let key = rows::key2(STATE, self.item(), self.hop());
        let row = match get(&self.queue.store, self.item(), vec![key]).await {
            Ok(mut rows) => rows.pop().flatten(),
            Err(QueueError::Damaged { .. }) => None,
            Err(e) => return Err(e),
        };
        Ok(row.and_then(|row| HopState::decode(&row)).unwrap_or_default())
    }
}

impl State {
    /// A queue by its identity, with or without a server's name before it, or by its domain where only one has it.
    pub(crate) fn find_queue(&self, identity: &str) -> Option<u32> {
        let name = identity.rsplit_once('\\').map_or(identity, |(_, name)| name);
        let find = |fits: &dyn Fn(&NextHop) -> bool| {
            let mut lines = self.schedule.lines().filter(|line| fits(&line.hop));
            let first = lines.next()?;
            lines.next().is_none().then(|| self.schedule.find_line(&first.hop)).flatten()
        };
        find(&|hop| hop.to_string().eq_ignore_ascii_case(name)).or_else(|| {
            find(&|hop| {
                matches!(hop, NextHop::Connector { domain: Some(domain), .. } | NextHop::Home(domain)
                    if domain.eq_ignore_ascii_case(name))
            })
        })
    }
}
