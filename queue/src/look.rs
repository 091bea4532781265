//! Looking at queues and messages: what Get-Queue, Get-Message and a sender's Outbox show.

use crate::lease::{get, read_item};
use crate::live::{Queue, QueueError, State as Memory};
use crate::model::{
    ItemState, MessageInfo, MessageStatus, NextHop, QueueInfo, QueueStatus, Reason, State, TargetState,
};
use crate::rows::{self, HopState, ITEM, Item, STATE};
use crate::schedule::{Entry, Line, NONE, flag};
use crate::{QUEUE_PREFIX, limits};
use std::collections::BTreeMap;
use waypost_base::{AccountId, Timestamp};
use waypost_store::{Key, ReadError, prefix_range};

/// A part of Get-Message's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub messages: Vec<MessageInfo>,
    /// Where to go on; `None` at the end.
    pub next: Option<u64>,
}

/// Which messages Get-Message reads at all. Further conditions are the caller's closure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Identity of a queue.
    pub queue: Option<String>,
    pub item: Option<u64>,
    pub owner: Option<AccountId>,
}

/// A hop as memory has it.
#[derive(Clone)]
struct Seen {
    entry: Entry,
    next_hop: NextHop,
    /// Its queue could not connect: why, and when it tries again.
    retry: Option<(Reason, Timestamp, u32)>,
    suspended: bool,
    evidence: Option<String>,
}

/// Rows of one read for Get-Message.
const ROWS: u32 = 512;

impl Queue {
    /// Why a queue could not do its work the last time, and when it is tried again. Looks at this queue alone, where
    /// [`Queue::list_queues`] looks at every message.
    pub fn last_error(&self, hop: &NextHop) -> Option<(Reason, Option<Timestamp>)> {
        let state = self.lock();
        let line = state.schedule.line(state.schedule.find_line(hop)?)?;
        match &line.retry {
            Some(retry) => Some((retry.reason.clone(), Some(retry.next))),
            None => Some((line.last_error.clone()?, None)),
        }
    }

    /// Items that go where only the server's own probes go, oldest first.
    pub fn probes(&self) -> Vec<u64> {
        let state = self.lock();
        let lines: Vec<u32> = state
            .schedule
            .lines()
            .filter(|line| line.hop.is_probe())
            .filter_map(|line| state.schedule.find_line(&line.hop))
            .collect();
        if lines.is_empty() {
            return Vec::new();
        }
        let of = |entry: &Entry| lines.contains(&entry.line);
        let mut items: Vec<u64> =
            state.schedule.all().filter(|(_, entry)| of(entry)).map(|(_, entry)| entry.id).collect();
        items.sort_unstable();
        items.dedup();
        items
    }

    /// The queues that fit, by next hop. Without that of the server's own probes.
    pub fn list_queues(&self, fits: impl Fn(&QueueInfo) -> bool) -> Vec<QueueInfo> {
        let now = self.clock.now();
        let state = self.lock();
        let oldest = state.schedule.oldest();
        let infos = state.schedule.lines().filter(|line| !line.hop.is_probe()).map(|line| {
            let number = state.schedule.find_line(&line.hop).unwrap_or(NONE);
            queue_info(line, oldest.get(number as usize).copied().flatten(), now)
        });
        infos.filter(|info| fits(info)).collect()
    }

    /// Everything that is known of an item; `None` when it is not (or no more) in the queues.
    pub async fn story(&self, item: u64) -> Result<Option<ItemState>, QueueError> {
        let Some(row) = get(&self.store, item, vec![rows::key(ITEM, item)]).await?.pop().flatten() else {
            return Ok(None);
        };
        let whole = read_item(&self.store, item, &row).await?;
        let mut states = BTreeMap::new();
        self.store
            .each(prefix_range(&rows::key(STATE, item)), |key, row| {
                states.extend(rows::number_of(key).zip(HopState::decode(row)));
                true
            })
            .await?;
        let seen: BTreeMap<u32, Seen> = {
            let state = self.lock();
            state
                .schedule
                .slots(item)
                .into_iter()
                .map(|slot| state.see(slot))
                .map(|s| (s.entry.hop, s))
                .collect()
        };
        let mut targets = Vec::new();
        for hop in &whole.hops {
            let known = states.get(&hop.number).cloned().unwrap_or_default();
            let seen = seen.get(&hop.number);
            for (index, target) in (0u32..).zip(&hop.targets) {
                let state = match (known.done.get(index), seen) {
                    (Some(done), _) => State::Settled(done, known.failed.clone()),
                    (None, Some(seen)) => seen.state(&known, self.clock.now()),
                    // It has ended, and its row is about to go.
                    (None, None) => continue,
                };
                targets.push(TargetState {
                    hop: hop.number,
                    index,
                    target: target.clone(),
                    queue: seen.map(|seen| seen.next_hop.to_string()).unwrap_or_default(),
                    state,
                });
            }
        }
        if seen.is_empty() {
            return Ok(None);
        }
        let Item { head, envelope, recipients, .. } = whole;
        Ok(Some(ItemState { id: item, size: head.size, envelope, recipients, targets }))
    }

    /// At most `limit` messages (never more than 1000) that fit both filters, oldest first, from after `after`. A page
    /// ends with a whole item, so it may be a little longer. What the server's own probes send is shown only to who names
    /// the item.
    pub async fn get_messages(
        &self,
        filter: &Filter,
        fits: impl Fn(&MessageInfo) -> bool + Send,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Page, QueueError> {
        let limit = limit.clamp(1, limits::MESSAGES);
        let line = match &filter.queue {
            None => None,
            Some(name) => {
                Some(self.lock().find_queue(name).ok_or_else(|| QueueError::NoQueue(name.clone()))?)
            }
        };
        let mut range = match filter.item {
            Some(item) => prefix_range(&rows::key(ITEM, item)),
            None => prefix_range(&[QUEUE_PREFIX, ITEM]),
        };
        if let Some(after) = after.and_then(|after| after.checked_add(1)) {
            range.start = range.start.max(rows::key(ITEM, after));
        }
        let mut page = Page::default();
        let mut rest = Some(range);
        while let Some(range) = rest {
            let found = self.store.scan_page(range, false, ROWS, waypost_store::limits::PAGE_BYTES).await?;
            rest = found.next.clone();
            let damaged: Vec<&Key> = found.corrupt.iter().collect();
            let mut all: Vec<(u64, Option<&[u8]>)> = found
                .rows()
                .filter_map(|(key, row)| Some((rows::id_of(key)?, Some(row))))
                .chain(damaged.iter().filter_map(|key| Some((rows::id_of(key)?, None))))
                .collect();
            all.sort_by_key(|(id, _)| *id);
            let many = all.len();
            for (number, (id, row)) in all.into_iter().enumerate() {
                let mut hops = self.see(id, line, filter.owner);
                hops.retain(|hop| filter.item.is_some() || !hop.next_hop.is_probe());
                if hops.is_empty() {
                    continue;
                }
                let infos = self.describe(id, row, hops).await?;
                page.messages.extend(infos.into_iter().filter(|info| fits(info)));
                if page.messages.len() >= limit {
                    page.next = (rest.is_some() || number + 1 < many).then_some(id);
                    return Ok(page);
                }
            }
        }
        Ok(page)
    }

    fn see(&self, id: u64, line: Option<u32>, owner: Option<AccountId>) -> Vec<Seen> {
        let state = self.lock();
        let fits = |entry: &Entry| {
            line.is_none_or(|line| entry.line == line)
                && owner.is_none_or(|owner| entry.owner() == Some(owner))
        };
        let slots = state.schedule.slots(id);
        slots
            .into_iter()
            .filter(|slot| fits(state.schedule.entry(*slot)))
            .map(|slot| state.see(slot))
            .collect()
    }

    async fn describe(
        &self,
        id: u64,
        row: Option<&[u8]>,
        hops: Vec<Seen>,
    ) -> Result<Vec<MessageInfo>, QueueError> {
        let item = match row {
            None => None,
            Some(row) => match read_item(&self.store, id, row).await {
                Ok(item) => Some(item),
                Err(QueueError::Damaged { .. }) => None,
                Err(e) => return Err(e),
            },
        };
        let now = self.clock.now();
        let mut infos = Vec::with_capacity(hops.len());
        for seen in hops {
            let mut known = HopState::default();
            if seen.entry.is(flag::STATE) {
                let row = match self.store.get_one(rows::key2(STATE, id, seen.entry.hop)).await {
                    Ok(row) => row,
                    Err(ReadError::Corrupt(_)) => None,
                    Err(e) => return Err(e.into()),
                };
                known = row.and_then(|row| HopState::decode(&row)).unwrap_or_default();
            }
            infos.push(seen.info(id, item.as_ref(), &known, now));
        }
        Ok(infos)
    }
}

impl Memory {
    fn see(&self, slot: u32) -> Seen {
        let entry = self.schedule.entry(slot).clone();
        let line = self.schedule.line(entry.line);
        Seen {
            next_hop: self.schedule.next_hop(slot),
            retry: line
                .and_then(|line| line.retry.as_ref())
                .map(|retry| (retry.reason.clone(), retry.next, retry.count)),
            suspended: line.is_some_and(|line| line.suspended),
            evidence: self.evidence.get(&(entry.id, entry.hop)).cloned(),
            entry,
        }
    }
}

impl Seen {
    /// When it is tried again, if it waits for that.
    fn next(&self, now: Timestamp) -> Timestamp {
        let next = Timestamp(self.entry.due);
        self.retry.as_ref().map_or(next, |(_, at, _)| next.max(*at)).max(now)
    }

    fn state(&self, known: &HopState, now: Timestamp) -> State {
        if self.entry.is(flag::POISON) {
            return State::Poison(self.evidence.clone().or(known.poison.clone()).unwrap_or_default());
        }
        if self.entry.is(flag::SUSPENDED) || self.suspended {
            return State::Suspended;
        }
        if self.entry.is(flag::LEASED) {
            return State::Waiting { active: true };
        }
        if self.next_hop == NextHop::Unreachable {
            return State::Unreachable;
        }
        let next = self.next(now);
        match (&self.retry, &known.last) {
            (Some((reason, _, attempts)), _) => {
                State::Deferred { reason: reason.clone(), next, attempts: *attempts }
            }
            (None, Some(reason)) => {
                State::Deferred { reason: reason.clone(), next, attempts: known.attempts }
            }
            (None, None) => State::Waiting { active: false },
        }
    }

    fn info(&self, id: u64, item: Option<&Item>, known: &HopState, now: Timestamp) -> MessageInfo {
        let entry = &self.entry;
        let waits = self.retry.is_some() || entry.is(flag::DEFERRED);
        let hop = item.and_then(|item| item.hops.iter().find(|hop| hop.number == entry.hop));
        let targets = hop.map_or_else(Vec::new, |hop| {
            (0u32..).zip(&hop.targets).map(|(index, t)| (t.clone(), known.done.get(index))).collect()
        });
        let unreachable = (self.next_hop == NextHop::Unreachable)
            .then(|| "no send connector leads to the recipient's domain".to_owned());
        let reason = self.retry.as_ref().map(|(reason, ..)| reason).or(known.last.as_ref());
        let evidence = self.evidence.clone().or(known.poison.clone());
        MessageInfo {
            id,
            hop: entry.hop,
            queue: self.next_hop.to_string(),
            next_hop: self.next_hop.clone(),
            status: message_status(entry, waits),
            size: item.map_or(0, |item| item.head.size),
            envelope: item.map(|item| item.envelope.clone()),
            targets,
            priority: entry.priority(),
            retry_count: known.attempts.max(self.retry.as_ref().map_or(0, |(_, _, count)| *count)),
            next_retry: (waits && !entry.is(flag::AT_REST)).then(|| self.next(now)),
            last_error: evidence.or(reason.map(ToString::to_string)).or(unreachable),
        }
    }
}

fn message_status(entry: &Entry, waits: bool) -> MessageStatus {
    if entry.is(flag::PENDING_REMOVE | flag::PENDING_RECALL) {
        MessageStatus::PendingRemove
    } else if entry.is(flag::PENDING_SUSPEND) {
        MessageStatus::PendingSuspend
    } else if entry.is(flag::LEASED) {
        MessageStatus::Active
    } else if entry.is(flag::SUSPENDED | flag::POISON) {
        MessageStatus::Suspended
    } else if waits {
        MessageStatus::Retry
    } else {
        MessageStatus::Ready
    }
}

fn queue_info(line: &Line, oldest: Option<u64>, now: Timestamp) -> QueueInfo {
    let (incoming_rate, outgoing_rate) = line.rates.per_second(now);
    let retry = line.retry.as_ref();
    let unreachable = || {
        let status = waypost_smtp::Status(4, 4, 4);
        Reason::temporary(
            status,
            "no send connector leads to the recipients' domains; New-SendConnector makes one",
        )
    };
    QueueInfo {
        identity: line.hop.to_string(),
        next_hop: line.hop.clone(),
        status: match line.status(now) {
            QueueStatus::Ready if line.hop == NextHop::Poison => QueueStatus::Suspended,
            status => status,
        },
        message_count: line.hops,
        deferred_count: line.deferred,
        suspended_count: line.held,
        locked_count: line.leased,
        count_per_priority: line.per_priority,
        connections: line.connections,
        last_error: retry
            .map(|r| r.reason.clone())
            .or(line.last_error.clone())
            .or_else(|| (line.hop == NextHop::Unreachable).then(unreachable)),
        first_retry: retry.map(|r| r.first),
        last_retry: retry.map(|r| r.last),
        next_retry: retry.map(|r| r.next),
        retry_count: retry.map_or(0, |r| r.count),
        incoming_rate,
        outgoing_rate,
        oldest: oldest.map(|id| Timestamp((id >> 20).cast_signed())),
    }
}
