//! Sets of message numbers or UIDs.

/// A number of a message, or `*`, the largest in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bound(u32);

impl Bound {
    /// `*`. Held as 0, which is no message's number.
    pub const STAR: Bound = Bound(0);

    /// `None` for 0.
    pub const fn new(number: u32) -> Option<Bound> {
        if number == 0 { None } else { Some(Bound(number)) }
    }

    pub const fn is_star(self) -> bool {
        self.0 == 0
    }

    /// The number; `largest` for `*`.
    pub const fn resolve(self, largest: u32) -> u32 {
        if self.0 == 0 { largest } else { self.0 }
    }

    /// The number; `None` for `*`.
    pub const fn number(self) -> Option<u32> {
        if self.0 == 0 { None } else { Some(self.0) }
    }
}

/// `a:b` as it was sent, in either order; a single number has equal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    pub start: Bound,
    pub end: Bound,
}

/// `sequence-set` (RFC 9051 §9), including `$` of SEARCHRES.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SequenceSet {
    /// `$`: the saved result of the last SEARCH.
    Saved,
    /// As sent, never empty.
    Ranges(Box<[Range]>),
}

impl SequenceSet {
    pub fn is_saved(&self) -> bool {
        matches!(self, SequenceSet::Saved)
    }

    /// The set as ascending, disjoint, not adjacent ranges, both ends included. `largest` is what `*` stands for: the
    /// number of messages, or the largest UID; with 0 (an empty folder) `*` is nothing. `$` gives nothing: resolve it
    /// before. Numbers above `largest` are kept: with UIDs they are simply absent, with message numbers they are an
    /// error that the caller finds at the last range's end.
    pub fn resolve(&self, largest: u32) -> Vec<(u32, u32)> {
        let SequenceSet::Ranges(ranges) = self else { return Vec::new() };
        let mut out: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for range in ranges {
            let (a, b) = (range.start.resolve(largest), range.end.resolve(largest));
            let (low, high) = (a.min(b).max(1), a.max(b));
            if high != 0 {
                out.push((low, high));
            }
        }
        out.sort_unstable();
        out.dedup_by(|next, kept| {
            let joins = next.0 <= kept.1.saturating_add(1);
            if joins {
                kept.1 = kept.1.max(next.1);
            }
            joins
        });
        out
    }

    /// A set of plain ascending numbers, as compactly as it can be written; `None` of nothing.
    pub fn from_sorted(numbers: impl IntoIterator<Item = u32>) -> Option<SequenceSet> {
        let mut ranges: Vec<Range> = Vec::new();
        for n in numbers {
            let bound = Bound::new(n)?;
            match ranges.last_mut() {
                Some(last) if last.end.0.checked_add(1) == Some(n) => last.end = bound,
                _ => ranges.push(Range { start: bound, end: bound }),
            }
        }
        (!ranges.is_empty()).then(|| SequenceSet::Ranges(ranges.into()))
    }
}
