//! The first look at the rows: what an earlier run has left becomes the schedule. Rows are read page by page; a damaged
//! one is named and kept, and the rest goes on.

use crate::lease::read_pages;
use crate::limits::{SUSPECT_MILLIS, SUSPECTS, SUSPICIONS};
use crate::live::{BACK_MILLIS, Queue, QueueError, State};
use crate::model::{Recovered, Route};
use crate::rows::{
    self, ATTEMPT, Head, HopHead, HopState, ITEM, PAGES, PARTITION, QUEUE, QueueState, Retry, STATE,
};
use crate::schedule::{NewEntry, flag, priority_flag};
use crate::{QUEUE_PREFIX, codec};
use std::collections::{BTreeMap, BTreeSet};
use waypost_base::Timestamp;
use waypost_store::{Batch, Page, prefix_range};

/// Items removed by one batch at the end.
const CLEAN: usize = 200;

/// What was found of an item.
enum Found {
    Sound(Head, Vec<HopHead>),
    /// Its hops stand in pages.
    Paged(Vec<u8>),
    Damaged(&'static str),
}

impl Queue {
    /// Reads the rows that an earlier run has left. Once, at start; items may be submitted meanwhile. After it has
    /// succeeded, a second call does nothing. Damaged items go into the poison queue.
    pub async fn recover(&self) -> Result<Recovered, QueueError> {
        let mut found = Recovered::default();
        {
            let mut state = self.lock();
            if state.fresh.is_none() {
                return Ok(found);
            }
            // What a call that failed has left.
            state.schedule.drop_found(self.clock.now());
        }
        let mut rest = Some(prefix_range(&[QUEUE_PREFIX, ITEM]));
        while let Some(range) = rest {
            let page = self.store.scan(range, false).await?;
            self.take_page(&page, &mut found).await?;
            rest = page.next;
        }
        let finished = self.read_states(&mut found).await?;
        self.read_attempts().await?;
        self.read_queues().await?;
        self.drop_orphans(&mut found).await?;
        self.clean(finished, &mut found).await;
        let now = self.clock.now();
        let mut state = self.lock();
        found.hops = state.schedule.all().filter(|(_, entry)| entry.is(flag::FOUND)).count() as u64;
        state.fresh = None;
        state.schedule.release_found(now);
        drop(state);
        self.wake.notify_one();
        Ok(found)
    }

    async fn take_page(&self, page: &Page, found: &mut Recovered) -> Result<(), QueueError> {
        let mut large = Vec::new();
        {
            let now = self.clock.now();
            let mut state = self.lock();
            for (key, row) in page.rows() {
                let Some(id) = rows::id_of(key) else { continue };
                match look(row) {
                    Found::Paged(row) => large.push((id, row)),
                    Found::Sound(head, hops) => self.found(&mut state, id, &head, &hops, found, now),
                    Found::Damaged(why) => self.damaged(&mut state, id, why, found, now),
                }
            }
            for id in page.corrupt.iter().filter_map(|key| rows::id_of(key)) {
                self.damaged(&mut state, id, "the store found its row damaged", found, now);
            }
        }
        for (id, row) in large {
            let pages = match read_pages(&self.store, id, &row).await {
                Ok(pages) => pages,
                Err(QueueError::Damaged { .. }) => Vec::new(),
                Err(e) => return Err(e),
            };
            let now = self.clock.now();
            let mut state = self.lock();
            let head = Head::read(&mut codec::Input(&row));
            let hops = head.as_ref().and_then(|head| head.hop_heads(&mut codec::Input(&pages)));
            match (head, hops) {
                (Some(head), Some(hops)) => self.found(&mut state, id, &head, &hops, found, now),
                _ => self.damaged(&mut state, id, "some of its pages are damaged or gone", found, now),
            }
        }
        Ok(())
    }

    fn found(
        &self,
        state: &mut State,
        id: u64,
        head: &Head,
        hops: &[HopHead],
        found: &mut Recovered,
        now: Timestamp,
    ) {
        self.saw_id(id);
        if state.fresh.as_ref().is_some_and(|fresh| fresh.contains(&id)) {
            return;
        }
        found.items += 1;
        let notice = state.plan.delay_notice_millis.filter(|_| !head.null_sender);
        for hop in hops {
            let new = NewEntry {
                id,
                hop: hop.number,
                route: &hop.route,
                targets: hop.targets,
                owner: head.owner,
                due: now,
                expires: head.expires,
                warn: notice.map(|after| head.accepted.plus_millis(after)),
                flags: flag::FOUND
                    | priority_flag(head.priority)
                    | if head.stored { flag::STORED } else { 0 }
                    | if head.paged { flag::PAGED } else { 0 },
            };
            state.insert(&new, now);
        }
    }

    fn damaged(&self, state: &mut State, id: u64, why: &str, found: &mut Recovered, now: Timestamp) {
        self.saw_id(id);
        tracing::error!(item = id, why, "queue item is damaged");
        found.items += 1;
        found.damaged.push(id);
        state.evidence.insert((id, 0), why.to_owned());
        let new = NewEntry {
            id,
            hop: 0,
            route: &Route::Mailbox,
            targets: 1,
            owner: None,
            due: now,
            expires: Timestamp(i64::MAX),
            warn: None,
            // Removing it takes away whatever it may have.
            flags: flag::FOUND | flag::POISON | flag::PAGED | flag::STATES,
        };
        state.insert(&new, now);
    }

    /// The states of hops; gives the items whose hops have all ended.
    async fn read_states(&self, found: &mut Recovered) -> Result<Vec<(u64, u32)>, QueueError> {
        let mut finished = Vec::new();
        let mut rest = Some(prefix_range(&[QUEUE_PREFIX, STATE]));
        while let Some(range) = rest {
            let page = self.store.scan(range, false).await?;
            let now = self.clock.now();
            let mut state = self.lock();
            for (key, row) in page.rows() {
                let (Some(id), Some(hop)) = (rows::id_of(key), rows::number_of(key)) else { continue };
                let Some(slot) = state.found_slot(id, hop) else { continue };
                match HopState::decode(row) {
                    Some(known) if known.finished => {
                        finished.push((id, state.schedule.entry(slot).flags));
                        state.schedule.note_states(id);
                        state.schedule.remove(slot, now);
                        state.schedule.ended -= 1;
                        state.schedule.arrived -= 1;
                    }
                    Some(known) => state.apply(slot, &known, now),
                    None => self.spoil(&mut state, slot, "its state cannot be read", found, now),
                }
            }
            for key in &page.corrupt {
                let slot = rows::id_of(key).zip(rows::number_of(key));
                if let Some(slot) = slot.and_then(|(id, hop)| state.found_slot(id, hop)) {
                    self.spoil(&mut state, slot, "the store found its state damaged", found, now);
                }
            }
            rest = page.next;
        }
        let state = self.lock();
        finished.retain(|(id, _)| !state.schedule.has(*id));
        finished.sort_unstable();
        finished.dedup_by_key(|(id, _)| *id);
        Ok(finished)
    }

    /// A hop whose state is damaged: who has it already is not known, so it waits for a person.
    fn spoil(&self, state: &mut State, slot: u32, why: &str, found: &mut Recovered, now: Timestamp) {
        let (id, hop) = (state.schedule.entry(slot).id, state.schedule.entry(slot).hop);
        tracing::error!(item = id, hop, why, "queue item is damaged");
        found.damaged.push(id);
        state.evidence.insert((id, hop), why.to_owned());
        state.schedule.note_states(id);
        state.schedule.change(slot, now, |entry| entry.flags |= flag::STATE | flag::POISON);
        let State { schedule, router, .. } = state;
        schedule.reassign(slot, None, &**router, now);
    }

    /// What was being handled when earlier runs ended without saying so. All of it is suspected; only what was alone in
    /// that is held to have done it.
    async fn read_attempts(&self) -> Result<(), QueueError> {
        let mut noted = BTreeMap::new();
        self.store
            .each(prefix_range(&[QUEUE_PREFIX, ATTEMPT]), |key, row| {
                let begun = row.get(1).is_none_or(|kind| *kind == rows::BEGUN);
                noted.extend(rows::id_of(key).zip(rows::number_of(key)).map(|key| (key, begun)));
                true
            })
            .await?;
        if noted.is_empty() {
            return Ok(());
        }
        let crashed = self.unclean().await > 0;
        let alone = noted.values().filter(|begun| **begun).count() == 1;
        let noted: Vec<((u64, u32), bool)> = noted.into_iter().collect();
        for some in noted.chunks(SUSPECTS) {
            let mut batch = Batch::new(PARTITION);
            for ((id, hop), begun) in some {
                let known = if alone && *begun && crashed {
                    let row = self.store.get_one(rows::key2(STATE, *id, *hop)).await.ok().flatten();
                    Some(row.and_then(|row| HopState::decode(&row)))
                } else {
                    None
                };
                let mut state = self.lock();
                match state.found_slot(*id, *hop).filter(|_| crashed) {
                    Some(slot) => self.suspected(&mut state, slot, known, &mut batch),
                    None => {
                        batch.del(rows::key2(ATTEMPT, *id, *hop));
                    }
                }
            }
            self.store.commit(batch).await?;
        }
        Ok(())
    }

    /// To be tried by itself, when the others are gone. `known` is the state, if there is one, of what was alone when a run
    /// crashed: often enough, and it is poison.
    fn suspected(&self, state: &mut State, slot: u32, known: Option<Option<HopState>>, batch: &mut Batch) {
        let now = self.clock.now();
        let (id, hop) = (state.schedule.entry(slot).id, state.schedule.entry(slot).hop);
        if let Some(known) = known {
            let due = Timestamp(state.schedule.entry(slot).due);
            let mut known = known.unwrap_or_else(|| HopState { due, ..HopState::default() });
            known.suspicions = known.suspicions.saturating_add(1);
            tracing::warn!(
                item = id,
                hop,
                times = known.suspicions,
                "the server ended while this alone was handled"
            );
            if known.suspicions >= SUSPICIONS {
                let times = known.suspicions;
                let evidence = format!("the server ended {times} times while it was being handled");
                self.tell_poisoned(state, id, evidence.clone());
                known.poison = Some(evidence);
            }
            batch.put(rows::key2(STATE, id, hop), known.encode());
            state.schedule.note_states(id);
            state.apply(slot, &known, now);
        }
        if state.schedule.entry(slot).is(flag::POISON) {
            batch.del(rows::key2(ATTEMPT, id, hop));
            return;
        }
        batch.put(rows::key2(ATTEMPT, id, hop), vec![rows::VERSION, rows::SUSPECT]);
        // So that the row goes with the item, whoever removes it.
        state.schedule.note_states(id);
        state.schedule.change(slot, now, |entry| {
            entry.flags |= flag::SUSPECT;
            entry.due = entry.due.max(now.plus_millis(SUSPECT_MILLIS).as_millis());
        });
    }

    async fn read_queues(&self) -> Result<(), QueueError> {
        let mut queues = BTreeMap::new();
        let corrupt = self
            .store
            .each(prefix_range(&[QUEUE_PREFIX, QUEUE]), |key, row| {
                queues.extend(rows::queue_of(key).zip(QueueState::decode(row)));
                true
            })
            .await?;
        for key in corrupt {
            // Whether it was held is not known; a held queue is seen and held again sooner than a silent one is found.
            tracing::error!(queue = ?rows::queue_of(&key), "the state of a queue is damaged; it goes on");
        }
        let now = self.clock.now();
        let mut state = self.lock();
        for (hop, known) in queues {
            let connections = state.router.connections(&hop);
            let line = state.schedule.open_line(hop, connections, now);
            state.schedule.change_line(line, now, |line| {
                line.suspended = known.suspended;
                line.last_error = known.retry.as_ref().map(|retry| retry.reason.clone());
                line.retry =
                    known.retry.map(|retry| Retry { next: as_of(retry.next, retry.last, now), ..retry });
            });
        }
        Ok(())
    }

    /// Pages of items whose own row was never written, or is gone.
    async fn drop_orphans(&self, found: &mut Recovered) -> Result<(), QueueError> {
        let mut orphans = BTreeSet::new();
        self.store
            .each(prefix_range(&[QUEUE_PREFIX, PAGES]), |key, _| {
                orphans.extend(rows::id_of(key));
                true
            })
            .await?;
        for id in orphans {
            let known = {
                let state = self.lock();
                state.schedule.has(id) || state.fresh.as_ref().is_some_and(|fresh| fresh.contains(&id))
            };
            // Somebody may be writing it just now: only what is older than this run is looked at, and looked at again.
            if known || id > self.start || self.store.get_one(rows::key(ITEM, id)).await?.is_some() {
                continue;
            }
            let mut batch = Batch::new(PARTITION);
            rows::remove_item(&mut batch, id, false, true, true);
            self.store.commit(batch).await?;
            found.cleaned += 1;
        }
        Ok(())
    }

    /// Takes away items whose hops have all ended.
    async fn clean(&self, finished: Vec<(u64, u32)>, found: &mut Recovered) {
        for some in finished.chunks(CLEAN) {
            let mut batch = Batch::new(PARTITION);
            for (id, flags) in some {
                rows::remove_item(&mut batch, *id, flags & flag::STORED != 0, flags & flag::PAGED != 0, true);
            }
            match self.store.commit(batch).await {
                Ok(_) => found.cleaned += some.len() as u64,
                Err(e) => tracing::warn!(error = %e, "items that have ended stay until the next start"),
            }
        }
        found.items = found.items.saturating_sub(finished.len() as u64);
    }
}

impl State {
    /// The entry of a hop that was found at start.
    fn found_slot(&self, id: u64, hop: u32) -> Option<u32> {
        let slot = self.schedule.slot(id, hop)?;
        self.schedule.entry(slot).is(flag::FOUND).then_some(slot)
    }

    /// Brings an entry to the state that its row has.
    pub(crate) fn apply(&mut self, slot: u32, known: &HopState, now: Timestamp) {
        let (id, hop) = (self.schedule.entry(slot).id, self.schedule.entry(slot).hop);
        let found = self.schedule.entry(slot).is(flag::FOUND);
        self.schedule.change(slot, now, |entry| {
            entry.flags &= !(flag::SUSPENDED | flag::POISON | flag::DEFERRED | flag::SUSPICION);
            entry.flags |= flag::STATE;
            let mut set = |flag: u32, on: bool| {
                if on {
                    entry.flags |= flag;
                }
            };
            set(flag::SUSPENDED, known.suspended);
            set(flag::POISON, known.poison.is_some());
            set(flag::DEFERRED, known.attempts > 0);
            entry.flags |= u32::from(known.suspicions.min(3)) << flag::SUSPICION_SHIFT;
            entry.due = as_of(known.due, known.last_attempt, now).as_millis();
            if known.warned {
                entry.alarm = entry.expires;
            }
            if let Some(priority) = known.priority {
                entry.flags = entry.flags & !flag::PRIORITY | priority_flag(priority);
            }
            if found {
                entry.targets = entry.targets.saturating_sub(known.done.count());
            }
        });
        // The item's other hops may have come before.
        self.schedule.note_states(id);
        match &known.poison {
            Some(evidence) => drop(self.evidence.insert((id, hop), evidence.clone())),
            None => drop(self.evidence.remove(&(id, hop))),
        }
        let State { schedule, router, .. } = self;
        schedule.reassign(slot, known.route.as_ref(), &**router, now);
    }
}

/// A time that was set at `then`. If that lies ahead, the clock has been set back meanwhile, and what is to wait does not
/// wait for that.
fn as_of(due: Timestamp, then: Timestamp, now: Timestamp) -> Timestamp {
    let ahead = then.since(now);
    if ahead > BACK_MILLIS { due.plus_millis(-ahead) } else { due }
}

/// A row of an item as far as the schedule needs it.
fn look(row: &[u8]) -> Found {
    let mut input = codec::Input(row);
    let Some(head) = Head::read(&mut input) else { return Found::Damaged("its row cannot be read") };
    if head.paged {
        return Found::Paged(row.to_vec());
    }
    match head.hop_heads(&mut input) {
        Some(hops) if !hops.is_empty() => Found::Sound(head, hops),
        _ => Found::Damaged("its hops cannot be read"),
    }
}
