//! Entering what became of a hop: one batch for the outcome and the reports about it.
//!
//! An item goes when its last hop has ended and every other end is durable; until then an ended hop leaves a state row.
//! When the store does not take a batch, it is kept, and its hop is handled by nobody, until it does.

use crate::lease::Lease;
use crate::limits::UNSETTLED_MILLIS;
use crate::live::{Meta, Queue, State};
use crate::model::{Done, Fate, NewItem, Reason, Rest, Route};
use crate::plan::mix;
use crate::rows::{self, ATTEMPT, HopState, PARTITION, STATE};
use crate::schedule::flag;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use waypost_base::{AccountId, Timestamp};
use waypost_store::{Batch, BlobId, CommitError, Committed, Pending};

/// The outcome of [`Queue::settle`], which is in line already. If it is an error, what has happened is kept in memory and
/// written as soon as the store takes it ([`Queue::work`] sees to that): nothing is done twice meanwhile. Dropped, it
/// goes on by itself.
#[must_use = "whether it is durable would be unknown"]
pub struct Settling {
    pending: Option<Pending>,
    after: Option<After>,
}

impl fmt::Debug for Settling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Settling")
    }
}

/// What is to be done once the batches are durable.
pub(crate) struct After {
    queue: Arc<Queue>,
    slot: u32,
    item: u64,
    hop: u32,
    owner: Option<AccountId>,
    end: End,
    /// To be committed again if the store refuses.
    batches: Vec<Batch>,
    /// The same without reports, should these be what is refused.
    bare: Option<Batch>,
    reports: Vec<Meta>,
    /// Bytes in segments that nobody needs when the item is gone.
    release: Option<BlobId>,
}

/// How a hop comes out of being settled.
enum End {
    /// It has ended. `removes`: its item's rows go in the same batch.
    Ended { removes: bool },
    /// It stays, with this state.
    Stays { due: Timestamp, targets: u32, tried: bool, warned: bool, wrote: bool },
}

/// An outcome that the store has not taken yet.
pub(crate) struct Unsettled {
    after: After,
    /// An earlier try may have been done.
    maybe: bool,
}

impl Queue {
    /// Enters what became of a lease's targets, and what is to be told about it, in one batch. It is in line when this
    /// returns. `fates` go by the indices of [`Loaded::targets`](crate::Loaded::targets); `rest` is about those that got
    /// none. Reports are items like others, with small bytes.
    pub fn settle(
        self: &Arc<Self>,
        mut lease: Lease,
        fates: Vec<(u32, Fate)>,
        rest: Rest,
        reports: Vec<NewItem>,
    ) -> Settling {
        let mut metas = Vec::with_capacity(reports.len());
        let mut items = Vec::with_capacity(reports.len());
        for mut report in reports {
            match self.prepare(&mut report) {
                Ok(meta) => {
                    metas.push(meta);
                    items.push(report);
                }
                Err(e) => {
                    tracing::error!(item = lease.item(), error = %e, "a report that cannot be queued is dropped")
                }
            }
        }
        let now = self.clock.now();
        let mut state = self.lock();
        let Some(known) = lease.known.take() else {
            drop(state);
            // The lease goes back by itself.
            return Settling::ready(Err(CommitError::Invalid("a lease that was not loaded")));
        };
        let mut batch = Batch::new(PARTITION);
        let slot = lease.slot;
        let end = self.decide(&mut state, &lease, known, &fates, rest, &mut batch, now);
        if lease.marked {
            batch.del(rows::key2(ATTEMPT, lease.item(), lease.hop()));
        }
        let release = lease.blob.filter(|_| matches!(end, End::Ended { .. }));
        lease.over = true;
        let mut after = After {
            queue: self.clone(),
            slot,
            item: lease.item(),
            hop: lease.hop(),
            owner: lease.owner(),
            end,
            batches: Vec::new(),
            bare: None,
            reports: metas,
            release,
        };
        if batch.count() == 0 && items.is_empty() {
            drop(state);
            after.done();
            return Settling::ready(Ok(()));
        }
        if !items.is_empty() {
            after.bare = Some(batch.clone());
        }
        for (item, meta) in items.iter().zip(&mut after.reports) {
            after.batches.extend(self.store.blobs().hold_batches(&item.blob, &[rows::holder(item.id)]));
            let pages = rows::new_item(item, &mut batch);
            meta.has_pages(!pages.is_empty());
            after.batches.extend(pages);
        }
        after.batches.push(batch);
        // Under the lock, so that batches about one item are in line in the order in which they were decided.
        let pending = after.commit();
        drop(state);
        Settling { pending: Some(pending), after: Some(after) }
    }

    /// What the fates and the rest come to; their rows go into the batch.
    #[expect(clippy::too_many_arguments, reason = "they are what it decides from")]
    fn decide(
        &self,
        state: &mut State,
        lease: &Lease,
        mut known: HopState,
        fates: &[(u32, Fate)],
        rest: Rest,
        batch: &mut Batch,
        now: Timestamp,
    ) -> End {
        let entry = state.schedule.entry(lease.slot).clone();
        let (id, hop) = (entry.id, entry.hop);
        let total = entry.targets + known.done.count();
        let mut settled: Vec<(u32, Done)> = fates
            .iter()
            .filter(|(index, _)| *index < total)
            .map(|(index, fate)| (*index, fate.done()))
            .collect();
        if known.failed.is_none() {
            known.failed = fates.iter().find_map(|(_, fate)| match fate {
                Fate::Failed(reason) => Some(reason.clone()),
                _ => None,
            });
        }
        // What was to be taken away meanwhile is, unless it has got through.
        let taken = if entry.is(flag::PENDING_RECALL) {
            Some(Done::Recalled)
        } else {
            entry.is(flag::PENDING_REMOVE).then_some(Done::Dropped)
        };
        if let Some(done) = taken {
            settled
                .extend((0..total).filter(|i| !fates.iter().any(|(f, _)| f == i)).map(|index| (index, done)));
        }
        let before = known.done.count();
        known.done.add(&settled);
        let targets = total.saturating_sub(known.done.count());
        if targets == 0 {
            let removes = state.schedule.is_only(lease.slot);
            if removes {
                rows::remove_item(
                    batch,
                    id,
                    entry.is(flag::STORED),
                    entry.is(flag::PAGED),
                    entry.is(flag::STATES),
                );
            } else {
                known.finished = true;
                batch.put(rows::key2(STATE, id, hop), known.encode());
                // Whoever removes the item has to look for it.
                state.schedule.note_states(id);
            }
            return End::Ended { removes };
        }
        known.suspended |= entry.is(flag::PENDING_SUSPEND);
        let suspected = std::mem::take(&mut known.suspicions) > 0;
        let local = matches!(state.schedule.route(lease.slot), Route::Mailbox);
        let mut due = Timestamp(entry.due);
        let mut last_error = None;
        let mut tried = false;
        let mut wrote = known.done.count() != before || entry.is(flag::PENDING_SUSPEND) || suspected;
        let put_off = |known: &mut HopState, reason: Option<Reason>, at: Option<Timestamp>| {
            known.attempts = known.attempts.saturating_add(1);
            known.last_attempt = now;
            let seed = mix(id ^ u64::from(hop)) ^ u64::from(known.attempts);
            known.last = reason.or(known.last.take());
            at.unwrap_or_else(|| now.plus_millis(state.plan.message_wait(local, seed)))
        };
        match rest {
            Rest::Retry { reason, at } => {
                last_error = Some(reason.clone());
                (due, tried, wrote) = (put_off(&mut known, Some(reason), at), true, true);
            }
            Rest::Done => {
                tracing::error!(item = id, hop, targets, "targets without a fate stay in the queue");
                (due, tried, wrote) = (put_off(&mut known, None, None), true, true);
            }
            Rest::Warned => (known.warned, wrote) = (true, true),
            Rest::Back => {}
        }
        if last_error.is_some() {
            state.schedule.change_line(entry.line, now, |line| line.last_error = last_error);
        }
        if wrote {
            known.due = due;
            batch.put(rows::key2(STATE, id, hop), known.encode());
        }
        let warned = known.warned;
        End::Stays { due, targets, tried, warned, wrote }
    }

    /// Commits again what the store did not take, if it is time.
    pub(crate) async fn write_unsettled(&self) {
        let now = self.clock.now();
        let some = {
            let mut state = self.lock();
            if state.try_again.is_none_or(|at| at > now) {
                return;
            }
            state.try_again = None;
            state.blocked = false;
            std::mem::take(&mut state.unsettled)
        };
        for mut one in some {
            let answer = one.after.commit().await;
            match answer {
                Ok(_) => one.after.done(),
                // The earlier try was done after all: its reports are there.
                Err(CommitError::Conflict(_)) if one.maybe => one.after.done(),
                Err(e) => one.after.refused(e, one.maybe),
            }
        }
    }
}

impl Settling {
    fn ready(answer: Result<(), CommitError>) -> Settling {
        Settling { pending: Some(Pending::ready(answer.map(|()| Committed::default()))), after: None }
    }
}

impl Future for Settling {
    type Output = Result<(), CommitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(pending) = &mut self.pending else { return Poll::Ready(Ok(())) };
        let Poll::Ready(answer) = Pin::new(pending).poll(cx) else { return Poll::Pending };
        self.pending = None;
        let after = self.after.take();
        Poll::Ready(match (answer, after) {
            (Ok(_), after) => {
                if let Some(mut after) = after {
                    after.done();
                }
                Ok(())
            }
            (Err(e), after) => {
                if let Some(after) = after {
                    after.refused(e.clone(), false);
                }
                Err(e)
            }
        })
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        let (Some(pending), Some(mut after)) = (self.pending.take(), self.after.take()) else { return };
        // Where the runtime is gone, or goes while this waits, the schedule goes too: the rows are what counts.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        drop(runtime.spawn(async move {
            match pending.await {
                Ok(_) => after.done(),
                Err(e) => after.refused(e, false),
            }
        }));
    }
}

impl After {
    fn commit(&self) -> Pending {
        let store = &self.queue.store;
        match self.batches.as_slice() {
            [only] => store.commit(only.clone()),
            chain => store.commit_chain(chain.to_vec()),
        }
    }

    /// The batches are durable: the schedule follows.
    fn done(&mut self) {
        let queue = self.queue.clone();
        let now = queue.clock.now();
        let mut state = queue.lock();
        match self.end {
            End::Ended { removes } => {
                let entry = state.schedule.entry(self.slot).clone();
                state.evidence.remove(&(self.item, self.hop));
                let others = state.schedule.remove(self.slot, now);
                if !removes && !others {
                    // The others have ended while this end was on its way to the disk.
                    let mut batch = Batch::new(PARTITION);
                    rows::remove_item(
                        &mut batch,
                        self.item,
                        entry.is(flag::STORED),
                        entry.is(flag::PAGED),
                        true,
                    );
                    // If it is lost, the next start takes the rows away; the hops' ends are durable.
                    drop(queue.store.commit(batch));
                }
                if let (Some(blob), false) = (self.release, others) {
                    // If this fails, compaction finds out that nobody holds the bytes.
                    drop(queue.store.blobs().release(blob, rows::holder(self.item)));
                }
            }
            End::Stays { due, targets, tried, warned, wrote } => {
                if wrote {
                    state.schedule.note_states(self.item);
                }
                state.schedule.change(self.slot, now, |entry| {
                    entry.targets = targets;
                    if wrote {
                        entry.flags |= flag::STATE;
                    }
                    if tried {
                        entry.flags |= flag::DEFERRED;
                    }
                    entry.flags &= !(flag::SUSPICION | flag::SUSPECT);
                    if warned {
                        entry.alarm = entry.expires;
                    }
                });
                state.schedule.settled(self.slot, due, now);
            }
        }
        drop(state);
        for meta in &self.reports {
            queue.enter(meta, false);
        }
        queue.wake.notify_one();
        queue.tell(self.owner, self.item);
    }

    /// The store did not take the batches: they are kept.
    fn refused(mut self, e: CommitError, maybe: bool) {
        let queue = self.queue.clone();
        tracing::warn!(item = self.item, hop = self.hop, error = %e, "an outcome could not be written; it is kept");
        if !e.retry()
            && let Some(bare) = self.bare.take()
        {
            tracing::error!(item = self.item, error = %e, "the reports about a message could not be queued");
            self.batches = vec![bare];
            self.reports = Vec::new();
        }
        let maybe = maybe || matches!(e, CommitError::Unknown(_));
        let mut state = queue.lock();
        // A full disk takes what makes room; a store that takes nothing must not be given more to lose.
        state.blocked |= !matches!(e, CommitError::Full(_) | CommitError::Busy);
        state.unsettled.push_back(Unsettled { after: self, maybe });
        let at = queue.clock.now().plus_millis(UNSETTLED_MILLIS);
        state.try_again = Some(state.try_again.map_or(at, |before| before.min(at)));
        drop(state);
        queue.wake.notify_one();
    }
}
