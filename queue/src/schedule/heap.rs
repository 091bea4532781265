//! Binary heaps of entries' numbers that know where each entry stands, so that any can be taken out: eight bytes an
//! entry in all, and nothing else to keep in order.

use super::{Entry, NONE};
use std::marker::PhantomData;

/// What a heap is ordered by, and where an entry remembers its place in it.
pub(crate) trait Order {
    fn before(a: &Entry, b: &Entry) -> bool;
    fn place(entry: &mut Entry) -> &mut u32;
}

/// By due time, then by age.
#[derive(Debug)]
pub(crate) struct ByDue;

impl Order for ByDue {
    fn before(a: &Entry, b: &Entry) -> bool {
        (a.due, a.id, a.hop) < (b.due, b.id, b.hop)
    }

    fn place(entry: &mut Entry) -> &mut u32 {
        &mut entry.due_place
    }
}

/// By the time of the next alarm, then by age.
#[derive(Debug)]
pub(crate) struct ByAlarm;

impl Order for ByAlarm {
    fn before(a: &Entry, b: &Entry) -> bool {
        (a.alarm, a.id, a.hop) < (b.alarm, b.id, b.hop)
    }

    fn place(entry: &mut Entry) -> &mut u32 {
        &mut entry.alarm_place
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Heap<O> {
    slots: Vec<u32>,
    order: PhantomData<O>,
}

impl<O> Default for Heap<O> {
    fn default() -> Heap<O> {
        Heap { slots: Vec::new(), order: PhantomData }
    }
}

impl<O: Order> Heap<O> {
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn peek(&self) -> Option<u32> {
        self.slots.first().copied()
    }

    /// Everything in it; the first is the first, the others are in no order.
    pub(crate) fn slots(&self) -> &[u32] {
        &self.slots
    }

    pub(crate) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u32>()
    }

    pub(crate) fn push(&mut self, entries: &mut [Entry], slot: u32) {
        super::make_room(&mut self.slots);
        self.slots.push(slot);
        self.up(entries, self.slots.len() - 1);
    }

    /// Takes an entry out, if it is in this heap.
    pub(crate) fn remove(&mut self, entries: &mut [Entry], slot: u32) {
        let place = std::mem::replace(O::place(&mut entries[slot as usize]), NONE);
        if place == NONE {
            return;
        }
        let at = place as usize;
        self.slots.swap_remove(at);
        if at < self.slots.len() {
            let at = self.up(entries, at);
            self.down(entries, at);
        }
        // An empty heap of a quiet queue holds no memory.
        if self.slots.is_empty() && self.slots.capacity() > 64 {
            self.slots = Vec::new();
        }
    }

    fn up(&mut self, entries: &mut [Entry], mut at: usize) -> usize {
        let slot = self.slots[at];
        while at > 0 {
            let parent = (at - 1) / 2;
            let above = self.slots[parent];
            if !O::before(&entries[slot as usize], &entries[above as usize]) {
                break;
            }
            self.set(entries, at, above);
            at = parent;
        }
        self.set(entries, at, slot);
        at
    }

    fn down(&mut self, entries: &mut [Entry], mut at: usize) {
        let slot = self.slots[at];
        loop {
            let mut child = 2 * at + 1;
            if child >= self.slots.len() {
                break;
            }
            let other = child + 1;
            if other < self.slots.len()
                && O::before(&entries[self.slots[other] as usize], &entries[self.slots[child] as usize])
            {
                child = other;
            }
            let below = self.slots[child];
            if !O::before(&entries[below as usize], &entries[slot as usize]) {
                break;
            }
            self.set(entries, at, below);
            at = child;
        }
        self.set(entries, at, slot);
    }

    fn set(&mut self, entries: &mut [Entry], at: usize, slot: u32) {
        self.slots[at] = slot;
        *O::place(&mut entries[slot as usize]) = at as u32;
    }
}
