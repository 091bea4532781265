//! The rows of a folder as of one modseq: chunks that snapshots share until one of them changes.
//!
//! Sessions hold the snapshot that their client knows, the view holds the newest. What a session has to be told is the
//! difference of the two, and chunks that both share are skipped, so it costs what has changed, not what is there.
//! A chunk, once made, keeps its range of UIDs: it may shrink and disappear, and only the last one grows.

use crate::flags::{Flags, Mark};
use crate::uidset::UidSet;
use crate::view::{Row, Status};
use std::sync::Arc;

/// Messages of a chunk: what is copied when a session still holds the old one.
const CHUNK: usize = 256;

#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    chunks: Vec<Chunk>,
    pub(crate) uid_next: u32,
    /// The last change that is in it: HIGHESTMODSEQ.
    pub(crate) modseq: u64,
    messages: u32,
    unseen: u32,
    deleted: u32,
    size: u64,
}

#[derive(Clone, Debug)]
struct Chunk {
    /// Messages in the chunks before.
    start: u32,
    unseen: u32,
    /// Never empty.
    rows: Arc<Vec<Row>>,
}

/// What one commit did to a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// By ascending UID.
    pub(crate) appended: Vec<Row>,
    /// By ascending UID.
    pub(crate) flags: Vec<(u32, Mark)>,
    pub(crate) vanished: UidSet,
}

/// What differs between an older snapshot and a newer one, by ascending UID each.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) expunged: Vec<Row>,
    pub(crate) changed: Vec<Row>,
    pub(crate) appended: u32,
}

impl Snapshot {
    /// From all rows in order of UID.
    pub(crate) fn build(rows: impl IntoIterator<Item = Row>, uid_next: u32, modseq: u64) -> Snapshot {
        let mut snapshot = Snapshot { uid_next: uid_next.max(1), modseq, ..Snapshot::default() };
        let mut chunk: Vec<Row> = Vec::new();
        for row in rows {
            snapshot.count(&row);
            chunk.push(row);
            if chunk.len() == CHUNK {
                snapshot.push_chunk(std::mem::take(&mut chunk));
                chunk.reserve_exact(CHUNK);
            }
        }
        if !chunk.is_empty() {
            chunk.shrink_to_fit();
            snapshot.push_chunk(chunk);
        }
        snapshot
    }

    fn push_chunk(&mut self, rows: Vec<Row>) {
        let start = self.chunks.last().map_or(0, |c| c.start + c.rows.len() as u32);
        self.chunks.push(Chunk { start, unseen: unseen(&rows), rows: Arc::new(rows) });
    }

    fn count(&mut self, row: &Row) {
        self.messages += 1;
        self.unseen += u32::from(!row.flags.has(Flags::SEEN));
        self.deleted += u32::from(row.flags.has(Flags::DELETED));
        self.size += u64::from(row.size);
    }

    fn uncount(&mut self, row: &Row) {
        self.messages -= 1;
        self.unseen -= u32::from(!row.flags.has(Flags::SEEN));
        self.deleted -= u32::from(row.flags.has(Flags::DELETED));
        self.size -= u64::from(row.size);
    }

    pub(crate) fn status(&self, uid_validity: u32) -> Status {
        Status {
            messages: self.messages,
            unseen: self.unseen,
            deleted: self.deleted,
            size: self.size,
            uid_next: self.uid_next,
            uid_validity,
            highest_modseq: self.modseq,
        }
    }

    pub(crate) fn len(&self) -> u32 {
        self.messages
    }

    pub(crate) fn last_uid(&self) -> u32 {
        self.chunks.last().and_then(|c| c.rows.last()).map_or(0, |r| r.uid)
    }

    /// Bytes in memory, sharing disregarded.
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.len() * (size_of::<Chunk>() + 40) + self.messages as usize * size_of::<Row>()
    }

    /// Number of messages with a lower UID.
    pub(crate) fn rank(&self, uid: u32) -> u32 {
        let at = self.chunk_of(uid);
        self.chunks
            .get(at)
            .map_or(self.messages, |c| c.start + c.rows.partition_point(|r| r.uid < uid) as u32)
    }

    /// Index of the first chunk that ends at or after `uid`.
    fn chunk_of(&self, uid: u32) -> usize {
        self.chunks.partition_point(|c| c.rows.last().is_none_or(|r| r.uid < uid))
    }

    /// The message before which there are `index` others.
    pub(crate) fn row(&self, index: u32) -> Option<&Row> {
        let at = self.chunks.partition_point(|c| c.start <= index).checked_sub(1)?;
        let chunk = self.chunks.get(at)?;
        chunk.rows.get((index - chunk.start) as usize)
    }

    pub(crate) fn by_uid(&self, uid: u32) -> Option<&Row> {
        self.row(self.rank(uid)).filter(|r| r.uid == uid)
    }

    /// From the message before which there are `index` others to the end.
    pub(crate) fn from(&self, index: u32) -> impl Iterator<Item = &Row> {
        let at = self.chunks.partition_point(|c| c.start + (c.rows.len() as u32) <= index);
        let rest = self.chunks.get(at..).unwrap_or_default();
        let skip = rest.first().map_or(0, |c| index.saturating_sub(c.start)) as usize;
        rest.iter().flat_map(|c| c.rows.iter()).skip(skip)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Row> {
        self.chunks.iter().flat_map(|c| c.rows.iter())
    }

    /// The messages of a set of UIDs, ascending.
    pub(crate) fn of<'a>(&'a self, uids: &'a UidSet) -> impl Iterator<Item = &'a Row> {
        uids.ranges()
            .iter()
            .flat_map(|&(from, to)| self.from(self.rank(from)).take_while(move |r| r.uid <= to))
    }

    /// How many messages come before the first without \Seen.
    pub(crate) fn first_unseen(&self) -> Option<u32> {
        let chunk = self.chunks.iter().find(|c| c.unseen > 0)?;
        chunk.rows.iter().position(|r| !r.flags.has(Flags::SEEN)).map(|i| chunk.start + i as u32)
    }

    /// Takes a change over. What it already knows is not counted twice, so that a change may be half in the rows that a
    /// snapshot was built from.
    pub(crate) fn apply(&mut self, modseq: u64, record: &Record) {
        if !record.vanished.is_empty() {
            self.remove(&record.vanished);
        }
        if !record.flags.is_empty() {
            self.mark(modseq, &record.flags);
        }
        for row in &record.appended {
            self.append(*row);
        }
        self.modseq = self.modseq.max(modseq);
    }

    fn append(&mut self, row: Row) {
        self.uid_next = self.uid_next.max(row.uid.saturating_add(1));
        if row.uid <= self.last_uid() {
            return;
        }
        self.count(&row);
        match self.chunks.last_mut() {
            Some(last) if last.rows.len() < CHUNK => {
                last.unseen += u32::from(!row.flags.has(Flags::SEEN));
                Arc::make_mut(&mut last.rows).push(row);
            }
            _ => self.push_chunk(vec![row]),
        }
    }

    fn mark(&mut self, modseq: u64, marks: &[(u32, Mark)]) {
        let mut rest = marks;
        while let Some(&(uid, _)) = rest.first() {
            let at = self.chunk_of(uid);
            let Some(chunk) = self.chunks.get_mut(at) else { return };
            let last = chunk.rows.last().map_or(u32::MAX, |r| r.uid);
            let (these, later) = rest.split_at(rest.partition_point(|(u, _)| *u <= last));
            rest = later;
            let rows = Arc::make_mut(&mut chunk.rows);
            let (mut seen, mut deleted) = (0i64, 0i64);
            for (uid, mark) in these {
                let Ok(i) = rows.binary_search_by_key(uid, |r| r.uid) else { continue };
                let row = &mut rows[i];
                if row.modseq >= modseq {
                    continue;
                }
                seen += i64::from(mark.flags.has(Flags::SEEN)) - i64::from(row.flags.has(Flags::SEEN));
                deleted +=
                    i64::from(mark.flags.has(Flags::DELETED)) - i64::from(row.flags.has(Flags::DELETED));
                (row.flags, row.keywords, row.modseq) = (mark.flags, mark.keywords, modseq);
            }
            chunk.unseen = (i64::from(chunk.unseen) - seen) as u32;
            self.unseen = (i64::from(self.unseen) - seen) as u32;
            self.deleted = (i64::from(self.deleted) + deleted) as u32;
        }
    }

    fn remove(&mut self, uids: &UidSet) {
        let mut first = self.chunks.len();
        for &(from, to) in uids.ranges() {
            let mut at = self.chunk_of(from);
            while let Some(chunk) = self.chunks.get(at) {
                let begin = chunk.rows.partition_point(|r| r.uid < from);
                let end = chunk.rows.partition_point(|r| r.uid <= to);
                if begin == end {
                    break;
                }
                let gone: Vec<Row> = chunk.rows[begin..end].to_vec();
                for row in &gone {
                    self.uncount(row);
                }
                first = first.min(at);
                if gone.len() == self.chunks[at].rows.len() {
                    self.chunks.remove(at);
                } else {
                    let chunk = &mut self.chunks[at];
                    Arc::make_mut(&mut chunk.rows).drain(begin..end);
                    chunk.unseen -= unseen(&gone);
                    at += 1;
                }
            }
        }
        let mut start = first
            .checked_sub(1)
            .and_then(|i| self.chunks.get(i))
            .map_or(0, |c| c.start + c.rows.len() as u32);
        for chunk in self.chunks.iter_mut().skip(first) {
            chunk.start = start;
            start += chunk.rows.len() as u32;
        }
    }

    /// What `newer` has that `self` has not.
    pub(crate) fn difference(&self, newer: &Snapshot) -> Difference {
        let mut diff = Difference::default();
        let (mut old, mut new) = (Place::default(), Place::default());
        loop {
            match (old.row(self), new.row(newer)) {
                (None, None) => return diff,
                (None, Some(_)) => {
                    diff.appended = newer.messages - new.index(newer);
                    return diff;
                }
                (Some(was), None) => {
                    diff.expunged.push(*was);
                    old.next(self);
                }
                (Some(was), Some(is)) => {
                    if old.row == 0 && new.row == 0 && self.same_chunk(old.chunk, newer, new.chunk) {
                        old.skip_chunk();
                        new.skip_chunk();
                    } else if was.uid < is.uid {
                        diff.expunged.push(*was);
                        old.next(self);
                    } else {
                        // A UID that the old one lacks below its last cannot be: UIDs only grow.
                        if was.uid == is.uid {
                            if was.modseq != is.modseq {
                                diff.changed.push(*is);
                            }
                            old.next(self);
                        }
                        new.next(newer);
                    }
                }
            }
        }
    }

    fn same_chunk(&self, mine: usize, newer: &Snapshot, its: usize) -> bool {
        match (self.chunks.get(mine), newer.chunks.get(its)) {
            (Some(a), Some(b)) => Arc::ptr_eq(&a.rows, &b.rows),
            _ => false,
        }
    }
}

/// A place in the chunks of a snapshot.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    chunk: usize,
    row: usize,
}

impl Place {
    fn row(self, snapshot: &Snapshot) -> Option<&Row> {
        snapshot.chunks.get(self.chunk)?.rows.get(self.row)
    }

    fn index(self, snapshot: &Snapshot) -> u32 {
        snapshot.chunks.get(self.chunk).map_or(snapshot.messages, |c| c.start + self.row as u32)
    }

    fn next(&mut self, snapshot: &Snapshot) {
        self.row += 1;
        if snapshot.chunks.get(self.chunk).is_none_or(|c| self.row >= c.rows.len()) {
            self.skip_chunk();
        }
    }

    fn skip_chunk(&mut self) {
        (self.chunk, self.row) = (self.chunk + 1, 0);
    }
}

fn unseen(rows: &[Row]) -> u32 {
    rows.iter().filter(|r| !r.flags.has(Flags::SEEN)).count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use waypost_base::{MessageId, Timestamp};

    fn row(uid: u32, modseq: u64) -> Row {
        Row {
            message: MessageId(u64::from(uid)),
            keywords: 0,
            modseq,
            internal: Timestamp(0),
            saved: Timestamp(0),
            uid,
            size: 10,
            flags: if uid.is_multiple_of(3) { Flags::SEEN } else { Flags::NONE },
        }
    }

    /// Counts and ranks agree with the rows.
    fn check(s: &Snapshot) {
        let rows: Vec<Row> = s.iter().copied().collect();
        assert_eq!(rows.len() as u32, s.len());
        assert!(rows.windows(2).all(|w| w[0].uid < w[1].uid));
        assert_eq!(unseen(&rows), s.unseen);
        assert_eq!(rows.iter().filter(|r| r.flags.has(Flags::DELETED)).count() as u32, s.deleted);
        assert_eq!(rows.iter().map(|r| u64::from(r.size)).sum::<u64>(), s.size);
        for (i, r) in rows.iter().enumerate() {
            assert_eq!(s.rank(r.uid), i as u32);
            assert_eq!(s.row(i as u32), Some(r));
        }
        assert_eq!(s.from(rows.len() as u32 / 2).count(), rows.len() - rows.len() / 2);
        assert_eq!(s.first_unseen(), rows.iter().position(|r| !r.flags.has(Flags::SEEN)).map(|i| i as u32));
    }

    #[test]
    fn a_big_folder_shrinks_and_grows() {
        let mut s = Snapshot::build((1..=2000).map(|u| row(u, 1)), 2001, 1);
        check(&s);
        let before = s.clone();
        s.apply(
            2,
            &Record { vanished: UidSet::from_ranges([(200, 900), (1000, 1000)]), ..Record::default() },
        );
        s.apply(3, &Record { appended: (2001..2300).map(|u| row(u, 3)).collect(), ..Record::default() });
        let mark = Mark { flags: Flags::DELETED, keywords: 1 };
        s.apply(4, &Record { flags: vec![(5, mark), (950, mark), (2100, mark)], ..Record::default() });
        check(&s);
        let d = before.difference(&s);
        assert_eq!((d.expunged.len(), d.changed.len(), d.appended), (702, 2, 299));
        assert_eq!(s.difference(&s), Difference::default());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn differences_lead_from_old_to_new(ops in prop::collection::vec((0u8..3, 1u32..1200, 1u32..200), 1..20)) {
            let mut s = Snapshot::build((1..=600).map(|u| row(u, 1)), 601, 1);
            let old = s.clone();
            for (i, (op, at, n)) in ops.into_iter().enumerate() {
                let modseq = i as u64 + 2;
                let mut record = Record::default();
                match op {
                    0 => record.vanished = UidSet::from_ranges([(at, at + n)]),
                    1 => record.appended = (s.uid_next..s.uid_next + n).map(|u| row(u, modseq)).collect(),
                    _ => record.flags = (at..at + n).step_by(7).map(|u| (u, Mark { flags: Flags::SEEN, keywords: 0 })).collect(),
                }
                s.apply(modseq, &record);
            }
            check(&s);
            let d = old.difference(&s);
            let gone: Vec<u32> = d.expunged.iter().map(|r| r.uid).collect();
            let mut list: Vec<Row> = old.iter().copied().filter(|r| !gone.contains(&r.uid)).collect();
            for r in &d.changed {
                *list.iter_mut().find(|x| x.uid == r.uid).unwrap() = *r;
            }
            prop_assert_eq!(list.len() as u32 + d.appended, s.len());
            list.extend(s.from(list.len() as u32));
            prop_assert_eq!(list, s.iter().copied().collect::<Vec<_>>());
        }
    }
}
