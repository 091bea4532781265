//! What a batch, or a group of them, has changed and not yet written: rows and deleted ranges over the database.
//! Because nothing reaches SQLite before a batch is known to pass, a batch that fails drops out without a trace.

use crate::batch::Key;
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Layer {
    /// Take precedence over `ranges`.
    pub rows: BTreeMap<Key, Change>,
    /// Deleted ranges, from (included) and to (excluded).
    pub ranges: Vec<(Key, Key)>,
}

pub(super) enum Change {
    Put(Vec<u8>),
    /// A counter that was one before, or was absent: nothing large is overwritten.
    Count([u8; 8]),
    Del,
}

impl Change {
    pub fn value(&self) -> Option<&[u8]> {
        match self {
            Change::Put(value) => Some(value),
            Change::Count(number) => Some(number),
            Change::Del => None,
        }
    }
}

impl Layer {
    /// `None` if this layer says nothing about the key; `Some(None)` if it deletes it.
    pub fn look(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        if let Some(change) = self.rows.get(key) {
            return Some(change.value());
        }
        let deleted = self.ranges.iter().any(|(from, to)| from.as_slice() <= key && key < to.as_slice());
        deleted.then_some(None)
    }

    /// Whether what lies in the database under this key is known to be small or absent, as far as this layer can
    /// tell: `None` if it says nothing about the key.
    pub fn counts(&self, key: &[u8]) -> Option<bool> {
        match self.rows.get(key) {
            Some(change) => Some(matches!(change, Change::Count(_))),
            // The range will have been deleted, and with it what was large in it.
            None => self.look(key).map(|_| true),
        }
    }

    pub fn delete_range(&mut self, from: Key, to: Key) {
        if from >= to {
            return;
        }
        for (_, change) in self.rows.range_mut::<Key, _>(&from..&to) {
            *change = Change::Del;
        }
        self.ranges.push((from, to));
    }

    /// Puts a later layer over this one.
    pub fn merge(&mut self, later: Layer) {
        for (from, to) in later.ranges {
            self.delete_range(from, to);
        }
        if self.rows.is_empty() {
            self.rows = later.rows;
        } else {
            self.rows.extend(later.rows);
        }
    }
}
