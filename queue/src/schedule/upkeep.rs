//! What touches every hop at once: after the start, when routes change, when the clock is set back. A pass over a million
//! hops takes some tens of milliseconds.

use super::{NONE, Schedule, flag};
use crate::model::Router;
use waypost_base::Timestamp;

impl Schedule {
    /// Lets the hops that were found at start wait for their turn.
    pub(crate) fn release_found(&mut self, now: Timestamp) {
        for slot in 0..self.entries.len() as u32 {
            if self.entry(slot).line != NONE && self.entry(slot).is(flag::FOUND) {
                self.entries[slot as usize].flags &= !flag::FOUND;
                self.put(slot);
            }
        }
        for line in 0..self.lines.len() as u32 {
            self.refresh(line, now);
        }
    }

    /// The clock was set back by so much: whatever was to wait waits no longer for that.
    pub(crate) fn clock_went_back(&mut self, millis: i64, now: Timestamp) {
        // All alike, so that their order stays.
        for entry in self.entries.iter_mut().filter(|entry| entry.line != NONE) {
            entry.due = entry.due.saturating_sub(millis);
        }
        for number in 0..self.lines.len() as u32 {
            self.change_line(number, now, |line| {
                for time in [&mut line.pause, &mut line.crowded, &mut line.idle_since] {
                    *time = time.plus_millis(-millis);
                }
                if let Some(retry) = &mut line.retry {
                    retry.next = retry.next.plus_millis(-millis);
                }
            });
        }
    }

    /// Forgets what was found at start, so that it can be looked for again.
    pub(crate) fn drop_found(&mut self, now: Timestamp) {
        for slot in 0..self.entries.len() as u32 {
            if self.entry(slot).line != NONE && self.entry(slot).is(flag::FOUND) {
                self.remove(slot, now);
            }
        }
    }

    /// Makes every hop of a line due now.
    pub(crate) fn hurry(&mut self, number: u32, now: Timestamp) {
        for slot in 0..self.entries.len() as u32 {
            if self.entry(slot).line == number && self.entry(slot).due > now.as_millis() {
                self.change(slot, now, |entry| entry.due = now.as_millis());
            }
        }
    }

    /// Asks for every route anew where it leads, and moves the hops whose queue has changed. Gives how many were moved.
    pub(crate) fn reroute(&mut self, router: &dyn Router, now: Timestamp) -> u64 {
        let mut moved_ways = Vec::new();
        for way in 0..self.ways.len() {
            let Some(known) = &self.ways[way] else { continue };
            let (hop, was) = (router.next_hop(&known.route), known.line);
            let connections = router.connections(&hop);
            let line = self.open_line(hop, connections, now);
            if line != was {
                self.hold_line(line);
                if let Some(known) = self.ways[way].as_mut() {
                    known.line = line;
                }
                moved_ways.push(was);
            }
        }
        let mut moved = 0;
        for slot in 0..self.entries.len() as u32 {
            let entry = self.entry(slot);
            if entry.line == NONE || entry.is(flag::POISON) {
                continue;
            }
            let line = self.ways[entry.route as usize].as_ref().map_or(entry.line, |way| way.line);
            if line != entry.line {
                self.pull(slot);
                self.count(slot, false);
                self.entries[slot as usize].line = line;
                self.count(slot, true);
                self.put(slot);
                moved += 1;
            }
        }
        for line in moved_ways {
            self.release_line(line, now);
        }
        for line in 0..self.lines.len() as u32 {
            self.refresh(line, now);
        }
        moved
    }
}
