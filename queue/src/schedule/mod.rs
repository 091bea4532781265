//! What is to be done next, and when: pure decisions over what is in memory. Time comes in, leases and connections go out;
//! no clock, no rows.
//!
//! Laws, which the tests at the end look at:
//! - A hop is leased to one holder at a time, and a leased hop is taken away by its holder alone.
//! - A hop that was put in stays until it is taken away.
//! - Within a queue the order is priority, then due time, then age; a hop that is not due holds up nobody.
//! - A queue has at most its number of connections, all queues together at most the plan's.
//! - Queues take turns: one that has much, or whose server is slow, does not keep others from their turn.
//!
//! A hop costs about 80 bytes, wherever it waits.

mod heap;
mod index;
mod line;
#[cfg(test)]
mod tests;
mod upkeep;

use crate::limits::ALARMS_OUT;
use crate::model::{NextHop, Priority, Reason, Route, Router};
use heap::{ByAlarm, Heap};
use index::Index;
pub(crate) use line::Line;
use line::Wake;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use waypost_base::{AccountId, Timestamp};

pub(crate) const NONE: u32 = u32::MAX;

/// What an entry is just now.
pub(crate) mod flag {
    /// Somebody handles it.
    pub(crate) const LEASED: u32 = 1;
    /// An administrator holds it.
    pub(crate) const SUSPENDED: u32 = 1 << 1;
    /// To be held, taken away or recalled when whoever handles it puts it off.
    pub(crate) const PENDING_SUSPEND: u32 = 1 << 2;
    pub(crate) const PENDING_REMOVE: u32 = 1 << 3;
    pub(crate) const PENDING_RECALL: u32 = 1 << 4;
    /// It has a state row.
    pub(crate) const STATE: u32 = 1 << 5;
    /// Some hop of the item has, or had, a state row.
    pub(crate) const STATES: u32 = 1 << 6;
    /// The item's recipients are in pages; its bytes in segments.
    pub(crate) const PAGED: u32 = 1 << 7;
    pub(crate) const STORED: u32 = 1 << 8;
    pub(crate) const POISON: u32 = 1 << 9;
    /// Found at start; waits until everything has been found.
    pub(crate) const FOUND: u32 = 1 << 10;
    /// It was tried and put off.
    pub(crate) const DEFERRED: u32 = 1 << 11;
    /// Leased because of its alarm.
    pub(crate) const ALARM: u32 = 1 << 12;
    /// Every target is settled; only until the item is taken away at start.
    pub(crate) const FINISHED: u32 = 1 << 13;
    /// Ended badly so often: two bits.
    pub(crate) const SUSPICION_SHIFT: u32 = 14;
    pub(crate) const SUSPICION: u32 = 3 << SUSPICION_SHIFT;
    pub(crate) const PRIORITY_SHIFT: u32 = 16;
    pub(crate) const PRIORITY: u32 = 3 << PRIORITY_SHIFT;
    /// It was being handled, with others, when an earlier run crashed: it is tried alone.
    pub(crate) const SUSPECT: u32 = 1 << 18;
    /// Has none of these: it may be handed out.
    pub(crate) const AT_REST: u32 = LEASED | SUSPENDED | POISON | FOUND | FINISHED;
}

/// A hop in memory.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    /// Milliseconds since 1970.
    pub(crate) due: i64,
    /// Seconds since 1970, rounded up; [`NONE`] is never.
    pub(crate) expires: u32,
    /// The next of: telling of the delay, expiring.
    pub(crate) alarm: u32,
    pub(crate) hop: u32,
    pub(crate) line: u32,
    pub(crate) route: u32,
    /// Outstanding ones.
    pub(crate) targets: u32,
    /// [`NONE`] is nobody.
    pub(crate) owner: u32,
    pub(crate) due_place: u32,
    pub(crate) alarm_place: u32,
    /// The next hop of the same item; [`NONE`] at the end, and in an unused entry the next unused one.
    pub(crate) next: u32,
    pub(crate) flags: u32,
}

impl Entry {
    pub(crate) fn is(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }

    pub(crate) fn priority(&self) -> Priority {
        match (self.flags & flag::PRIORITY) >> flag::PRIORITY_SHIFT {
            0 => Priority::High,
            1 => Priority::Normal,
            _ => Priority::Low,
        }
    }

    pub(crate) fn owner(&self) -> Option<AccountId> {
        (self.owner != NONE).then_some(AccountId(self.owner))
    }

    fn rank(&self) -> usize {
        (((self.flags & flag::PRIORITY) >> flag::PRIORITY_SHIFT) as usize).min(2)
    }
}

pub(crate) fn priority_flag(priority: Priority) -> u32 {
    u32::from(crate::codec::priority_code(priority)) << flag::PRIORITY_SHIFT
}

/// Seconds since 1970, rounded up.
pub(crate) fn seconds(time: Timestamp) -> u32 {
    u32::try_from(time.as_millis().saturating_add(999).div_euclid(1000).max(0)).unwrap_or(NONE)
}

/// Room for one more, by a quarter at a time: a million entries never cost the memory of two.
pub(crate) fn make_room<T>(of: &mut Vec<T>) {
    if of.len() == of.capacity() {
        of.reserve_exact((of.len() / 4).max(4));
    }
}

/// A hop to be put in.
#[derive(Clone, Debug)]
pub(crate) struct NewEntry<'a> {
    pub(crate) id: u64,
    pub(crate) hop: u32,
    pub(crate) route: &'a Route,
    pub(crate) targets: u32,
    pub(crate) owner: Option<AccountId>,
    pub(crate) due: Timestamp,
    pub(crate) expires: Timestamp,
    /// When the sender is to be told of a delay, if so.
    pub(crate) warn: Option<Timestamp>,
    /// Of [`flag`], with the priority.
    pub(crate) flags: u32,
}

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Todo {
    /// Open a connection of this line.
    Connect(u32),
    /// These entries have been leased.
    Deliver(u32),
    Expired(u32),
    Warn(u32),
}

/// A route and the line that it leads to now.
#[derive(Debug)]
struct Way {
    route: Route,
    line: u32,
    uses: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    pub(crate) entries: Vec<Entry>,
    free: u32,
    used: usize,
    index: Index,
    alarms: Heap<ByAlarm>,
    alarms_out: u32,
    ways: Vec<Option<Way>>,
    free_ways: Vec<u32>,
    way_of: HashMap<Route, u32>,
    lines: Vec<Option<Box<Line>>>,
    free_lines: Vec<u32>,
    line_of: BTreeMap<NextHop, u32>,
    /// Lines that may have something now, in the order of their turns: to connect, and to the mailboxes here.
    turns: [VecDeque<u32>; 2],
    /// Which of the two was asked last.
    last_turn: usize,
    timers: BTreeSet<(i64, u32)>,
    connections: u32,
    pub(crate) connections_max: u32,
    pub(crate) messages_per_connection: u32,
    /// Queues that were forgotten although they had a state row.
    pub(crate) forgotten: Vec<NextHop>,
    /// Hops put in and taken away since the start.
    pub(crate) arrived: u64,
    pub(crate) ended: u64,
}

impl Schedule {
    pub(crate) fn new(connections_max: u32, messages_per_connection: u32) -> Schedule {
        Schedule { free: NONE, connections_max, messages_per_connection, ..Schedule::default() }
    }

    /// Hops, held ones included.
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    pub(crate) fn connections(&self) -> u32 {
        self.connections
    }

    /// Bytes that the entries and what orders them hold.
    pub(crate) fn bytes(&self) -> usize {
        let heaps: usize = self.lines.iter().flatten().map(|l| l.bytes()).sum();
        self.entries.capacity() * size_of::<Entry>() + self.index.bytes() + self.alarms.bytes() + heaps
    }

    pub(crate) fn entry(&self, slot: u32) -> &Entry {
        &self.entries[slot as usize]
    }

    pub(crate) fn line(&self, line: u32) -> Option<&Line> {
        self.lines.get(line as usize)?.as_deref()
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = &Line> {
        self.line_of.values().filter_map(|line| self.line(*line))
    }

    pub(crate) fn find_line(&self, hop: &NextHop) -> Option<u32> {
        self.line_of.get(hop).copied()
    }

    pub(crate) fn route(&self, slot: u32) -> &Route {
        let way = self.ways.get(self.entry(slot).route as usize).and_then(Option::as_ref);
        way.map_or(&Route::Mailbox, |way| &way.route)
    }

    pub(crate) fn next_hop(&self, slot: u32) -> NextHop {
        self.line(self.entry(slot).line).map_or(NextHop::Unreachable, |line| line.hop.clone())
    }

    /// The entries of an item.
    pub(crate) fn slots(&self, id: u64) -> Vec<u32> {
        let mut slots = Vec::new();
        let mut next = self.index.get(&self.entries, id).unwrap_or(NONE);
        while next != NONE {
            slots.push(next);
            next = self.entry(next).next;
        }
        slots.sort_by_key(|slot| self.entry(*slot).hop);
        slots
    }

    pub(crate) fn has(&self, id: u64) -> bool {
        self.index.get(&self.entries, id).is_some()
    }

    pub(crate) fn slot(&self, id: u64, hop: u32) -> Option<u32> {
        let mut next = self.index.get(&self.entries, id).unwrap_or(NONE);
        while next != NONE {
            if self.entry(next).hop == hop {
                return Some(next);
            }
            next = self.entry(next).next;
        }
        None
    }

    /// Items of somebody's that wait in a line; one with several hops there may come several times.
    pub(crate) fn waiting(&self, line: u32) -> impl Iterator<Item = (AccountId, u64)> {
        let heaps = self.line(line).into_iter().flat_map(|line| &line.ready);
        let entries = heaps.flat_map(Heap::slots).map(|slot| self.entry(*slot));
        entries.filter_map(|entry| Some((entry.owner()?, entry.id)))
    }

    /// All entries, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u32, &Entry)> {
        (0u32..).zip(&self.entries).filter(|(_, e)| e.line != NONE)
    }

    /// Puts a hop in.
    pub(crate) fn insert(&mut self, new: &NewEntry<'_>, router: &dyn Router, now: Timestamp) -> u32 {
        let route = self.way(new.route, router, now);
        let line = self.line_for(route, new.flags, now);
        let expires = seconds(new.expires);
        let warn = new.warn.map_or(NONE, seconds);
        let entry = Entry {
            id: new.id,
            due: new.due.as_millis(),
            expires,
            alarm: warn.min(expires),
            hop: new.hop,
            line,
            route,
            targets: new.targets,
            owner: new.owner.map_or(NONE, |o| o.0),
            due_place: NONE,
            alarm_place: NONE,
            next: self.index.get(&self.entries, new.id).unwrap_or(NONE),
            flags: new.flags,
        };
        let slot = if self.free == NONE {
            make_room(&mut self.entries);
            self.entries.push(entry);
            self.entries.len() as u32 - 1
        } else {
            let slot = self.free;
            self.free = std::mem::replace(&mut self.entries[slot as usize], entry).next;
            slot
        };
        self.used += 1;
        self.arrived += 1;
        self.index.set(&self.entries, new.id, slot);
        self.count(slot, true);
        if let Some(line) = self.lines[line as usize].as_deref_mut() {
            line.rates.arrived(now);
        }
        self.put(slot);
        self.refresh(line, now);
        slot
    }

    /// The line of a route; poisoned hops have their own.
    fn line_for(&mut self, way: u32, flags: u32, now: Timestamp) -> u32 {
        if flags & flag::POISON != 0 {
            return self.open_line(NextHop::Poison, 1, now);
        }
        self.ways.get(way as usize).and_then(Option::as_ref).map_or(0, |way| way.line)
    }

    fn way(&mut self, route: &Route, router: &dyn Router, now: Timestamp) -> u32 {
        if let Some(way) = self.way_of.get(route).copied() {
            if let Some(known) = self.ways[way as usize].as_mut() {
                known.uses += 1;
            }
            return way;
        }
        let hop = router.next_hop(route);
        let connections = router.connections(&hop);
        let line = self.open_line(hop, connections, now);
        self.hold_line(line);
        let way = Some(Way { route: route.clone(), line, uses: 1 });
        let number = match self.free_ways.pop() {
            Some(number) => {
                self.ways[number as usize] = way;
                number
            }
            None => {
                self.ways.push(way);
                self.ways.len() as u32 - 1
            }
        };
        self.way_of.insert(route.clone(), number);
        number
    }

    fn leave_way(&mut self, number: u32, now: Timestamp) {
        let Some(way) = self.ways[number as usize].as_mut() else { return };
        way.uses -= 1;
        if way.uses == 0 {
            let line = way.line;
            self.way_of.remove(&way.route);
            self.ways[number as usize] = None;
            self.free_ways.push(number);
            self.release_line(line, now);
        }
    }

    /// A line that routes lead to is not forgotten.
    fn hold_line(&mut self, line: u32) {
        if let Some(line) = self.lines[line as usize].as_deref_mut() {
            line.ways += 1;
        }
    }

    fn release_line(&mut self, line: u32, now: Timestamp) {
        if let Some(line) = self.lines[line as usize].as_deref_mut() {
            line.ways -= 1;
        }
        self.refresh(line, now);
    }

    /// The line of a next hop, made if there is none.
    pub(crate) fn open_line(&mut self, hop: NextHop, connections: u32, now: Timestamp) -> u32 {
        if let Some(line) = self.line_of.get(&hop).copied() {
            if let Some(line) = self.lines[line as usize].as_deref_mut() {
                line.max = connections.max(1);
            }
            return line;
        }
        let line = Some(Box::new(Line::new(hop.clone(), connections.max(1), now)));
        let number = match self.free_lines.pop() {
            Some(number) => {
                self.lines[number as usize] = line;
                number
            }
            None => {
                self.lines.push(line);
                self.lines.len() as u32 - 1
            }
        };
        self.line_of.insert(hop, number);
        number
    }

    /// Brings an entry's line's counts up or down by it.
    fn count(&mut self, slot: u32, up: bool) {
        let entry = &self.entries[slot as usize];
        if let Some(line) = self.lines[entry.line as usize].as_deref_mut() {
            line.count(entry, up);
        }
    }

    /// Into the heaps that it belongs in, by its flags.
    fn put(&mut self, slot: u32) {
        let entry = &self.entries[slot as usize];
        if entry.is(flag::AT_REST) {
            return;
        }
        let (line, rank, alarm) = (entry.line, entry.rank(), entry.alarm);
        if let Some(line) = self.lines[line as usize].as_deref_mut() {
            line.ready[rank].push(&mut self.entries, slot);
        }
        if alarm != NONE {
            self.alarms.push(&mut self.entries, slot);
        }
    }

    /// Out of all heaps.
    fn pull(&mut self, slot: u32) {
        let entry = &self.entries[slot as usize];
        let (line, rank) = (entry.line, entry.rank());
        if let Some(line) = self.lines[line as usize].as_deref_mut() {
            line.ready[rank].remove(&mut self.entries, slot);
        }
        self.alarms.remove(&mut self.entries, slot);
    }

    /// Changes an entry, and puts it where it belongs then.
    pub(crate) fn change(&mut self, slot: u32, now: Timestamp, change: impl FnOnce(&mut Entry)) {
        self.pull(slot);
        self.count(slot, false);
        change(&mut self.entries[slot as usize]);
        self.count(slot, true);
        self.put(slot);
        self.refresh(self.entry(slot).line, now);
    }

    /// Leases an entry that nobody has, whatever it waits for.
    pub(crate) fn claim(&mut self, slot: u32, now: Timestamp) -> bool {
        if self.entry(slot).is(flag::LEASED | flag::FOUND) {
            return false;
        }
        self.change(slot, now, |entry| entry.flags |= flag::LEASED);
        true
    }

    /// Ends a lease; the entry is due again at `due`, or when it was.
    pub(crate) fn give_back(&mut self, slot: u32, due: Option<Timestamp>, now: Timestamp) {
        self.end_alarm(slot);
        self.change(slot, now, |entry| {
            if entry.is(flag::ALARM) && entry.alarm != NONE {
                // Whoever could not do it now is not asked again at once.
                entry.alarm = entry.alarm.max(seconds(now.plus_millis(60_000)));
            }
            entry.flags &= !(flag::LEASED | flag::ALARM);
            if let Some(due) = due {
                entry.due = due.as_millis();
            }
            if entry.is(flag::PENDING_SUSPEND) {
                entry.flags = entry.flags & !flag::PENDING_SUSPEND | flag::SUSPENDED;
            }
        });
    }

    /// Ends a lease whose holder did what it was to do: also an alarm, which may come again at its time.
    pub(crate) fn settled(&mut self, slot: u32, due: Timestamp, now: Timestamp) {
        self.end_alarm(slot);
        self.entries[slot as usize].flags &= !flag::ALARM;
        self.give_back(slot, Some(due), now);
    }

    fn end_alarm(&mut self, slot: u32) {
        if self.entry(slot).is(flag::ALARM) {
            self.alarms_out -= 1;
        }
    }

    /// Moves a hop to another route, or, poisoned or healed, from or to the poison queue.
    pub(crate) fn reassign(&mut self, slot: u32, route: Option<&Route>, router: &dyn Router, now: Timestamp) {
        self.pull(slot);
        self.count(slot, false);
        let (was_line, was_way) = (self.entry(slot).line, self.entry(slot).route);
        if let Some(route) = route {
            let way = self.way(route, router, now);
            self.entries[slot as usize].route = way;
            self.leave_way(was_way, now);
        }
        let line = self.line_for(self.entry(slot).route, self.entry(slot).flags, now);
        self.entries[slot as usize].line = line;
        self.count(slot, true);
        self.put(slot);
        self.refresh(was_line, now);
        self.refresh(line, now);
    }

    /// Takes a hop away; whether its item has others.
    pub(crate) fn remove(&mut self, slot: u32, now: Timestamp) -> bool {
        self.pull(slot);
        self.end_alarm(slot);
        self.count(slot, false);
        let (id, line, way, next) = {
            let e = self.entry(slot);
            (e.id, e.line, e.route, e.next)
        };
        if let Some(line) = self.lines[line as usize].as_deref_mut() {
            line.rates.left(now);
            if line.hops == 0 {
                line.idle_since = now;
            }
        }
        let first = self.index.get(&self.entries, id).unwrap_or(NONE);
        let others = if first == slot {
            if next == NONE {
                self.index.remove(&self.entries, id);
            } else {
                self.index.set(&self.entries, id, next);
            }
            next != NONE
        } else {
            let mut before = first;
            while before != NONE && self.entry(before).next != slot {
                before = self.entry(before).next;
            }
            if before != NONE {
                self.entries[before as usize].next = next;
            }
            true
        };
        let entry = &mut self.entries[slot as usize];
        (entry.line, entry.next) = (NONE, self.free);
        self.free = slot;
        self.used -= 1;
        self.ended += 1;
        self.leave_way(way, now);
        self.refresh(line, now);
        others
    }

    /// Whether its item has no other hop.
    pub(crate) fn is_only(&self, slot: u32) -> bool {
        let entry = self.entry(slot);
        entry.next == NONE && self.index.get(&self.entries, entry.id) == Some(slot)
    }

    /// Notes for an item's hops that there are state rows. Either all of them have the note or none.
    pub(crate) fn note_states(&mut self, id: u64) {
        let mut next = self.index.get(&self.entries, id).unwrap_or(NONE);
        while next != NONE && !self.entry(next).is(flag::STATES) {
            let entry = &mut self.entries[next as usize];
            entry.flags |= flag::STATES;
            next = entry.next;
        }
    }

    /// The oldest item of each line that has one, by the line's number.
    pub(crate) fn oldest(&self) -> Vec<Option<u64>> {
        let mut oldest: Vec<Option<u64>> = vec![None; self.lines.len()];
        for (_, entry) in self.all() {
            let id = &mut oldest[entry.line as usize];
            *id = Some(id.map_or(entry.id, |known| known.min(entry.id)));
        }
        oldest
    }

    /// Something to do now, if there is.
    pub(crate) fn poll(&mut self, now: Timestamp) -> Option<Todo> {
        if let Some(todo) = self.alarm(now) {
            return Some(todo);
        }
        while let Some(&(at, line)) = self.timers.first() {
            if at > now.as_millis() {
                break;
            }
            self.timers.pop_first();
            if let Some(line) = self.lines[line as usize].as_deref_mut() {
                line.timer = None;
            }
            self.refresh(line, now);
        }
        // Mailboxes and connections take turns, too: neither waits for the other's limits.
        for _ in 0..2 {
            self.last_turn ^= 1;
            if let Some(todo) = self.turn(self.last_turn, now) {
                return Some(todo);
            }
        }
        None
    }

    fn turn(&mut self, kind: usize, now: Timestamp) -> Option<Todo> {
        for _ in 0..self.turns[kind].len() {
            let number = self.turns[kind].pop_front()?;
            let Some(line) = self.lines[number as usize].as_deref_mut() else { continue };
            line.in_turn = false;
            if !matches!(line.wake(now, self.messages_per_connection, &self.entries), Wake::Now) {
                self.refresh(number, now);
                continue;
            }
            if line.hop == NextHop::Mailbox {
                match self.lease(number, now) {
                    Some(slot) => return Some(Todo::Deliver(slot)),
                    None => continue,
                }
            }
            if self.connections >= self.connections_max {
                // It keeps its turn: the next connection that ends is its.
                line.in_turn = true;
                self.turns[kind].push_front(number);
                return None;
            }
            line.connections += 1;
            line.connecting += 1;
            self.connections += 1;
            self.refresh(number, now);
            return Some(Todo::Connect(number));
        }
        None
    }

    fn alarm(&mut self, now: Timestamp) -> Option<Todo> {
        if self.alarms_out >= ALARMS_OUT {
            return None;
        }
        let slot = self.alarms.peek()?;
        let entry = self.entry(slot);
        if i64::from(entry.alarm).saturating_mul(1000) > now.as_millis() {
            return None;
        }
        let warn =
            entry.alarm < entry.expires && i64::from(entry.expires).saturating_mul(1000) > now.as_millis();
        self.alarms_out += 1;
        self.change(slot, now, |entry| entry.flags |= flag::LEASED | flag::ALARM);
        Some(if warn { Todo::Warn(slot) } else { Todo::Expired(slot) })
    }

    /// When [`Schedule::poll`] may have something that it has not now.
    pub(crate) fn next_time(&self) -> Option<Timestamp> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let alarm = self
            .alarms
            .peek()
            .filter(|_| self.alarms_out < ALARMS_OUT)
            .map(|slot| i64::from(self.entry(slot).alarm).saturating_mul(1000));
        timer.into_iter().chain(alarm).min().map(Timestamp)
    }

    /// The next hop of a line that is due.
    pub(crate) fn lease(&mut self, line: u32, now: Timestamp) -> Option<u32> {
        let slot = self.line(line)?.due(now, &self.entries)?;
        self.change(slot, now, |entry| entry.flags |= flag::LEASED);
        Some(slot)
    }

    /// A connection of a line is good. Whether its retry state has gone with that.
    pub(crate) fn connected(&mut self, number: u32, first: bool, now: Timestamp) -> bool {
        let Some(line) = self.lines[number as usize].as_deref_mut() else { return false };
        if first {
            line.connecting -= 1;
        }
        line.proven = true;
        let changed = line.retry.take().is_some();
        self.refresh(number, now);
        changed
    }

    /// A line could not connect, or lost a connection: it waits `wait(failures)`, unless others are good. Whether its
    /// retry state has changed.
    pub(crate) fn failed(
        &mut self,
        number: u32,
        reason: Reason,
        connecting: bool,
        now: Timestamp,
        wait: impl FnOnce(u32) -> i64,
    ) -> bool {
        let Some(line) = self.lines[number as usize].as_deref_mut() else { return false };
        let changed = line.failed(reason, connecting, now, wait);
        self.refresh(number, now);
        changed
    }

    /// A connection has ended. `connecting`: it was never good. `quiet`: nobody said why.
    pub(crate) fn disconnected(&mut self, number: u32, connecting: bool, quiet: bool, now: Timestamp) {
        let Some(line) = self.lines[number as usize].as_deref_mut() else { return };
        line.connections -= 1;
        self.connections -= 1;
        if connecting {
            line.connecting -= 1;
        }
        if quiet {
            // Somebody who only takes and drops tickets does not spin.
            line.pause = now.plus_millis(1000);
        }
        if line.connections == 0 {
            line.proven = false;
            line.idle_since = now;
        }
        self.refresh(number, now);
    }

    /// Changes what an administrator changes of a line.
    pub(crate) fn change_line(&mut self, number: u32, now: Timestamp, change: impl FnOnce(&mut Line)) {
        if let Some(line) = self.lines[number as usize].as_deref_mut() {
            change(line);
        }
        self.refresh(number, now);
    }

    /// Brings a line's turn and timer up to date after anything about it has changed.
    fn refresh(&mut self, number: u32, now: Timestamp) {
        let Some(line) = self.lines.get_mut(number as usize).and_then(|l| l.as_deref_mut()) else { return };
        let mut timer = None;
        match line.wake(now, self.messages_per_connection, &self.entries) {
            Wake::Now => {
                if !line.in_turn {
                    line.in_turn = true;
                    self.turns[usize::from(line.hop == NextHop::Mailbox)].push_back(number);
                }
            }
            Wake::At(at) => timer = Some(at.as_millis()),
            Wake::Forget => {
                if let Some(at) = line.timer {
                    self.timers.remove(&(at, number));
                }
                if line.retry.is_some() {
                    self.forgotten.push(line.hop.clone());
                }
                if line.in_turn {
                    self.turns[usize::from(line.hop == NextHop::Mailbox)].retain(|turn| *turn != number);
                }
                self.line_of.remove(&line.hop);
                self.lines[number as usize] = None;
                self.free_lines.push(number);
                return;
            }
            Wake::Never => {}
        }
        if timer != line.timer {
            if let Some(at) = line.timer {
                self.timers.remove(&(at, number));
            }
            if let Some(at) = timer {
                self.timers.insert((at, number));
            }
            line.timer = timer;
        }
    }
}
