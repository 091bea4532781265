//! What a batch, or a group of them, has changed and not yet written: rows and deleted ranges over the database.
//! Because nothing reaches SQLite before a batch is known to pass, a batch that fails drops out without a trace.

use crate::batch::Key;
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Layer {
    /// `None` is deleted. Takes precedence over `ranges`.
    pub rows: BTreeMap<Key, Option<Vec<u8>>>,
    /// Deleted ranges, from (included) and to (excluded).
    pub ranges: Vec<(Key, Key)>,
}

impl Layer {
    /// `None` if this layer says nothing about the key; `Some(None)` if it deletes it.
    pub fn look(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        if let Some(value) = self.rows.get(key) {
            return Some(value.as_deref());
        }
        let deleted = self.ranges.iter().any(|(from, to)| from.as_slice() <= key && key < to.as_slice());
        deleted.then_some(None)
    }

    pub fn delete_range(&mut self, from: Key, to: Key) {
        if from >= to {
            return;
        }
        for (_, value) in self.rows.range_mut::<Key, _>(&from..&to) {
            *value = None;
        }
        self.ranges.push((from, to));
    }

    /// Puts a later layer over this one.
    pub fn merge(&mut self, later: Layer) {
        for (from, to) in later.ranges {
            self.delete_range(from, to);
        }
        self.rows.extend(later.rows);
    }
}
