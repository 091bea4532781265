//! One delivery queue in memory.

use super::heap::{ByDue, Heap};
use super::{Entry, flag};
use crate::limits::IDLE_MILLIS;
use crate::model::{NextHop, QueueStatus, Reason};
use crate::rows::{QueueState, Retry};
use waypost_base::Timestamp;

/// When a line has something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    Now,
    At(Timestamp),
    /// Not before something about it changes.
    Never,
    /// It has been empty for long.
    Forget,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) hop: NextHop,
    /// Hops that wait, by priority.
    pub(crate) ready: [Heap<ByDue>; 3],
    /// All hops: waiting, leased and held ones.
    pub(crate) hops: u64,
    pub(crate) per_priority: [u64; 3],
    pub(crate) deferred: u64,
    pub(crate) held: u64,
    pub(crate) leased: u64,
    /// Routes that lead here.
    pub(crate) ways: u32,
    pub(crate) max: u32,
    pub(crate) connections: u32,
    /// Of these, those that have not proved good yet.
    pub(crate) connecting: u32,
    /// A connection of those that are open was good: others may be opened beside it.
    pub(crate) proven: bool,
    pub(crate) suspended: bool,
    pub(crate) retry: Option<Retry>,
    pub(crate) last_error: Option<Reason>,
    pub(crate) pause: Timestamp,
    /// The server refused one connection more while others were good: so long no more are opened beside them.
    pub(crate) crowded: Timestamp,
    pub(crate) idle_since: Timestamp,
    pub(super) timer: Option<i64>,
    pub(super) in_turn: bool,
    pub(crate) rates: Rates,
}

impl Line {
    pub(crate) fn new(hop: NextHop, max: u32, now: Timestamp) -> Line {
        Line {
            hop,
            ready: Default::default(),
            hops: 0,
            per_priority: [0; 3],
            deferred: 0,
            held: 0,
            leased: 0,
            ways: 0,
            max,
            connections: 0,
            connecting: 0,
            proven: false,
            suspended: false,
            retry: None,
            last_error: None,
            pause: Timestamp(i64::MIN),
            crowded: Timestamp(i64::MIN),
            idle_since: now,
            timer: None,
            in_turn: false,
            rates: Rates::default(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.ready.iter().map(Heap::bytes).sum()
    }

    pub(super) fn count(&mut self, entry: &Entry, up: bool) {
        let by = |figure: &mut u64, counts: bool| {
            if counts {
                *figure = if up { *figure + 1 } else { *figure - 1 };
            }
        };
        by(&mut self.hops, true);
        by(&mut self.per_priority[entry.rank()], true);
        by(&mut self.deferred, entry.is(flag::DEFERRED));
        by(&mut self.held, entry.is(flag::SUSPENDED));
        by(&mut self.leased, entry.is(flag::LEASED));
    }

    /// The first hop that is due, if any may be handed out.
    pub(super) fn due(&self, now: Timestamp, entries: &[Entry]) -> Option<u32> {
        let waits = self.retry.as_ref().is_some_and(|retry| retry.next > now);
        if self.suspended || waits || matches!(self.hop, NextHop::Unreachable | NextHop::Poison) {
            return None;
        }
        let mut heads = self.ready.iter().filter_map(Heap::peek);
        heads.find(|slot| entries[*slot as usize].due <= now.as_millis())
    }

    pub(super) fn wake(&self, now: Timestamp, per_connection: u32, entries: &[Entry]) -> Wake {
        if self.hops == 0 && self.connections == 0 && self.ways == 0 && !self.suspended {
            let at = self.idle_since.plus_millis(IDLE_MILLIS);
            return if at <= now { Wake::Forget } else { Wake::At(at) };
        }
        if self.suspended || matches!(self.hop, NextHop::Unreachable | NextHop::Poison) {
            return Wake::Never;
        }
        let Some(first) =
            self.ready.iter().filter_map(Heap::peek).map(|slot| entries[slot as usize].due).min()
        else {
            return Wake::Never;
        };
        let mut at = Timestamp(first).max(self.pause);
        if let Some(retry) = &self.retry {
            at = at.max(retry.next);
        }
        if at > now {
            return Wake::At(at);
        }
        let more = if self.hop == NextHop::Mailbox {
            self.leased < u64::from(self.max)
        } else if self.connections >= self.max || (self.connections > 0 && self.crowded > now) {
            false
        } else if self.proven && self.retry.is_none() {
            let waiting: usize = self.ready.iter().map(Heap::len).sum();
            waiting as u64 >= u64::from(self.connections) * u64::from(per_connection.max(1))
        } else {
            // One looks whether the server is there.
            self.connections == 0
        };
        if more { Wake::Now } else { Wake::Never }
    }

    /// `connecting`: the connection had not proved good.
    pub(super) fn failed(
        &mut self,
        reason: Reason,
        connecting: bool,
        now: Timestamp,
        wait: impl FnOnce(u32) -> i64,
    ) -> bool {
        self.last_error = Some(reason.clone());
        let good = self.connections - self.connecting;
        if connecting && good > 0 {
            self.crowded = now.plus_millis(wait(1));
            return false;
        }
        self.proven = false;
        match &mut self.retry {
            // Others of the same try: they say nothing new.
            Some(retry) if retry.next > now => {
                retry.reason = reason;
                false
            }
            Some(retry) => {
                retry.count = retry.count.saturating_add(1);
                (retry.last, retry.next, retry.reason) = (now, now.plus_millis(wait(retry.count)), reason);
                true
            }
            none => {
                *none =
                    Some(Retry { count: 1, first: now, last: now, next: now.plus_millis(wait(1)), reason });
                true
            }
        }
    }

    pub(crate) fn status(&self, now: Timestamp) -> QueueStatus {
        if self.suspended {
            QueueStatus::Suspended
        } else if self.connections > self.connecting || (self.hop == NextHop::Mailbox && self.leased > 0) {
            QueueStatus::Active
        } else if self.connecting > 0 {
            QueueStatus::Connecting
        } else if self.retry.as_ref().is_some_and(|retry| retry.next > now) {
            QueueStatus::Retry
        } else {
            QueueStatus::Ready
        }
    }

    pub(crate) fn state(&self) -> QueueState {
        QueueState { suspended: self.suspended, retry: self.retry.clone() }
    }
}

/// Counts of this minute and the one before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rates {
    minute: i64,
    now: [u32; 2],
    before: [u32; 2],
}

impl Rates {
    fn turn(&mut self, now: Timestamp) {
        let minute = now.as_millis().div_euclid(60_000);
        if minute != self.minute {
            self.before = if minute == self.minute + 1 { self.now } else { [0; 2] };
            (self.minute, self.now) = (minute, [0; 2]);
        }
    }

    pub(super) fn arrived(&mut self, now: Timestamp) {
        self.turn(now);
        self.now[0] = self.now[0].saturating_add(1);
    }

    pub(super) fn left(&mut self, now: Timestamp) {
        self.turn(now);
        self.now[1] = self.now[1].saturating_add(1);
    }

    /// Arrived and left a second.
    pub(crate) fn per_second(mut self, now: Timestamp) -> (f64, f64) {
        self.turn(now);
        let millis = 60_000 + now.as_millis().rem_euclid(60_000);
        let rate = |i: usize| f64::from(self.now[i] + self.before[i]) * 1000.0 / millis as f64;
        (rate(0), rate(1))
    }
}
