//! The messages that a command is about, walked in pages.

use waypost_imap::response::ranges;
use waypost_mailbox::{Row, Session, UidSet};

/// Ascending ranges of message numbers. They stay right through a command, since numbers only change when it ends.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    ranges: Vec<(u32, u32)>,
    /// The range under way, and the number in it to go on with (0: its first).
    at: usize,
    next: u32,
}

impl Targets {
    pub fn of_seqs(ranges: Vec<(u32, u32)>) -> Targets {
        Targets { ranges, at: 0, next: 0 }
    }

    pub fn of_uids(folder: &Session, uids: &UidSet) -> Targets {
        Targets::of_seqs(ranges(folder.rows_of(uids).map(|(seq, _)| seq)))
    }

    /// The UIDs of all of them.
    pub fn uids(&self, folder: &Session) -> UidSet {
        if self.ranges.is_empty() {
            return UidSet::new();
        }
        folder.uids_of(&UidSet::from_ranges(self.ranges.iter().copied()))
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Appends the next rows, as long as `more` says so of the row just taken. False at the end.
    pub fn fill(
        &mut self,
        folder: &Session,
        page: &mut Vec<(u32, Row)>,
        mut more: impl FnMut(&Row) -> bool,
    ) -> bool {
        while let Some(&(from, to)) = self.ranges.get(self.at) {
            for (seq, row) in folder.rows(from.max(self.next), to) {
                page.push((seq, row));
                if !more(&row) {
                    self.next = seq + 1;
                    return true;
                }
            }
            self.at += 1;
            self.next = 0;
        }
        false
    }
}
