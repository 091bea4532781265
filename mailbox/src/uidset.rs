//! Sets of UIDs as sorted ranges, and which messages of a folder an operation is about.

use std::fmt;

/// A set of UIDs: ascending ranges that neither touch nor overlap, both ends included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UidSet {
    ranges: Vec<(u32, u32)>,
}

impl UidSet {
    pub fn new() -> UidSet {
        UidSet::default()
    }

    /// All UIDs: 1 to 4 294 967 295.
    pub fn all() -> UidSet {
        UidSet { ranges: vec![(1, u32::MAX)] }
    }

    /// From ranges in any order, either end first.
    pub fn from_ranges(ranges: impl IntoIterator<Item = (u32, u32)>) -> UidSet {
        let mut list: Vec<(u32, u32)> = ranges.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
        list.sort_unstable();
        let mut set = UidSet { ranges: Vec::with_capacity(list.len()) };
        for (from, to) in list {
            set.push_range(from, to);
        }
        set
    }

    /// Appends a UID that is not below any in the set; others are put in order at a cost.
    pub fn push(&mut self, uid: u32) {
        self.push_range(uid, uid);
    }

    pub fn push_range(&mut self, from: u32, to: u32) {
        match self.ranges.last_mut() {
            Some(last) if from >= last.0 => {
                if from <= last.1.saturating_add(1) {
                    last.1 = last.1.max(to);
                } else {
                    self.ranges.push((from, to));
                }
            }
            Some(_) => {
                let all = std::mem::take(&mut self.ranges).into_iter().chain([(from, to)]);
                *self = UidSet::from_ranges(all);
            }
            None => self.ranges.push((from, to)),
        }
    }

    pub fn contains(&self, uid: u32) -> bool {
        let at = self.ranges.partition_point(|r| r.1 < uid);
        self.ranges.get(at).is_some_and(|r| r.0 <= uid)
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Number of UIDs.
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|(a, b)| u64::from(b - a) + 1).sum()
    }

    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.ranges
    }

    /// Every UID, ascending. Mind [`UidSet::all`].
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranges.iter().flat_map(|&(a, b)| a..=b)
    }

    /// The UIDs that both have.
    pub fn intersection(&self, other: &UidSet) -> UidSet {
        let (mut i, mut j) = (0, 0);
        let mut out = UidSet::new();
        while let (Some(a), Some(b)) = (self.ranges.get(i), other.ranges.get(j)) {
            let (from, to) = (a.0.max(b.0), a.1.min(b.1));
            if from <= to {
                out.push_range(from, to);
            }
            if a.1 < b.1 { i += 1 } else { j += 1 }
        }
        out
    }
}

impl FromIterator<u32> for UidSet {
    fn from_iter<I: IntoIterator<Item = u32>>(uids: I) -> UidSet {
        let mut set = UidSet::new();
        let mut unsorted = Vec::new();
        for uid in uids {
            if set.ranges.last().is_none_or(|r| uid >= r.0) {
                set.push(uid);
            } else {
                unsorted.push((uid, uid));
            }
        }
        if !unsorted.is_empty() {
            unsorted.append(&mut set.ranges);
            set = UidSet::from_ranges(unsorted);
        }
        set
    }
}

/// As IMAP writes it: `1:3,7`. An empty set prints nothing.
impl fmt::Display for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (from, to)) in self.ranges.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            if from == to { write!(f, "{from}")? } else { write!(f, "{from}:{to}")? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_and_prints() {
        let set: UidSet = [5, 1, 2, 3, 9, 4].into_iter().collect();
        assert_eq!(set.to_string(), "1:5,9");
        assert_eq!(set.len(), 6);
        assert!(set.contains(4) && !set.contains(6));
        assert_eq!(UidSet::from_ranges([(9, 7), (1, 2), (3, 3)]).to_string(), "1:3,7:9");
        assert_eq!(UidSet::all().intersection(&set), set);
        let odd: UidSet = [1, 3, 5, 7, 9].into_iter().collect();
        assert_eq!(odd.intersection(&set).to_string(), "1,3,5,9");
    }
}
