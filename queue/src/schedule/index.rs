//! From an item's number to its first entry: open addressing over four-byte slots, the numbers themselves being in the
//! entries.

use super::{Entry, NONE};
use crate::plan::mix;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Index {
    table: Vec<u32>,
    len: usize,
}

impl Index {
    pub(crate) fn bytes(&self) -> usize {
        self.table.capacity() * size_of::<u32>()
    }

    pub(crate) fn get(&self, entries: &[Entry], id: u64) -> Option<u32> {
        let at = self.find(entries, id)?;
        Some(self.table[at]).filter(|slot| *slot != NONE)
    }

    /// Enters an item, or gives it another first entry.
    pub(crate) fn set(&mut self, entries: &[Entry], id: u64, slot: u32) {
        if (self.len + 1) * 4 > self.table.len() * 3 {
            self.grow(entries);
        }
        if let Some(at) = self.find(entries, id) {
            self.len += usize::from(self.table[at] == NONE);
            self.table[at] = slot;
        }
    }

    /// Takes an item out. Its entry must still be there.
    pub(crate) fn remove(&mut self, entries: &[Entry], id: u64) {
        let Some(mut hole) = self.find(entries, id).filter(|at| self.table[*at] != NONE) else { return };
        self.len -= 1;
        self.table[hole] = NONE;
        let mask = self.table.len() - 1;
        let mut at = (hole + 1) & mask;
        // Those behind move up, if they would be looked for at the hole.
        while self.table[at] != NONE {
            let home = self.home(entries[self.table[at] as usize].id);
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                self.table[hole] = self.table[at];
                self.table[at] = NONE;
                hole = at;
            }
            at = (at + 1) & mask;
        }
    }

    fn home(&self, id: u64) -> usize {
        mix(id) as usize & (self.table.len() - 1)
    }

    /// Where the item is, or where it would be put.
    fn find(&self, entries: &[Entry], id: u64) -> Option<usize> {
        if self.table.is_empty() {
            return None;
        }
        let mut at = self.home(id);
        while self.table[at] != NONE && entries[self.table[at] as usize].id != id {
            at = (at + 1) & (self.table.len() - 1);
        }
        Some(at)
    }

    fn grow(&mut self, entries: &[Entry]) {
        let size = (self.table.len() * 2).max(64);
        let old = std::mem::replace(&mut self.table, vec![NONE; size]);
        for slot in old.into_iter().filter(|slot| *slot != NONE) {
            if let Some(at) = self.find(entries, entries[slot as usize].id) {
                self.table[at] = slot;
            }
        }
    }
}
