//! Copies of the directory on other servers: what changed as rows, in order, and where a copy stands.
//!
//! The server that keeps the directory numbers its commits within an epoch; both are rows (`06`, `07`), so a copy that
//! has all rows knows by itself where it stands. Lately made changes are kept in memory as [`Delta`]s; who is further
//! behind takes a whole copy, page by page, and then what has changed meanwhile. Applying a delta twice does no harm.
//!
//! Some rows stay where they are made: last sign-ins everywhere, invitations at the keeper. A thin copy also has no
//! credentials and no secret for disguising unknown users: a server that holds no mail has no use for them, and whoever
//! breaks into it shall not find them.

use crate::rows;
use std::sync::Arc;
use waypost_store::Key;

/// Changes that are kept for those who are behind: of a busy day.
pub const DELTAS_MAX: usize = 10_000;

/// Bytes that they may take up together.
pub(crate) const DELTA_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Rows of a page of a whole copy.
pub const PAGE_ROWS: u32 = 1_000;

/// Where a copy stands: after which change of which epoch. An epoch ends when the directory is restored from a backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    pub epoch: u64,
    pub number: u64,
}

/// What one commit has done to the rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    pub number: u64,
    pub puts: Vec<(Key, Vec<u8>)>,
    pub dels: Vec<Key>,
    /// From, up to but without.
    pub ranges: Vec<(Key, Key)>,
}

/// A part of a whole copy: all rows from `from` (included) up to `to`; the last part has no `to`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub from: Key,
    pub to: Option<Key>,
    pub rows: Vec<(Key, Vec<u8>)>,
}

/// How much of the directory a copy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    Full,
    /// Without what proves who somebody is.
    Thin,
}

impl Extent {
    /// Whether a copy has this row.
    pub(crate) fn has(self, key: &[u8]) -> bool {
        match key.get(1) {
            Some(&(rows::LAST | rows::INVITATION)) | None => false,
            Some(&(rows::CREDENTIAL | rows::DISGUISE | rows::API_TOKEN)) => self == Extent::Full,
            Some(_) => true,
        }
    }
}

impl Delta {
    /// What of it is for such a copy.
    pub fn for_copy(self: &Arc<Self>, extent: Extent) -> Arc<Delta> {
        let for_all =
            self.puts.iter().all(|(key, _)| extent.has(key)) && self.dels.iter().all(|k| extent.has(k));
        if for_all {
            return Arc::clone(self);
        }
        Arc::new(Delta {
            number: self.number,
            puts: self.puts.iter().filter(|(key, _)| extent.has(key)).cloned().collect(),
            dels: self.dels.iter().filter(|key| extent.has(key)).cloned().collect(),
            ranges: self.ranges.clone(),
        })
    }

    pub(crate) fn size(&self) -> usize {
        let puts: usize = self.puts.iter().map(|(k, v)| k.len() + v.len() + 48).sum();
        let dels: usize = self.dels.iter().map(|k| k.len() + 24).sum();
        puts + dels + self.ranges.len() * 64 + 64
    }

    /// Its bytes on the way to another server; [`Delta::read`] takes them.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.number.to_be_bytes());
        pairs(out, &self.puts);
        put_count(out, self.dels.len());
        self.dels.iter().for_each(|key| put_bytes(out, key));
        pairs(out, &self.ranges);
    }

    /// Takes one from the front of `input`; `None` if it is not whole.
    pub fn read(input: &mut &[u8]) -> Option<Delta> {
        let number = u64::from_be_bytes(take(input)?);
        let puts = read_pairs(input)?;
        let dels = (0..count(input)?).map(|_| read_bytes(input)).collect::<Option<_>>()?;
        Some(Delta { number, puts, dels, ranges: read_pairs(input)? })
    }
}

impl Page {
    pub fn write(&self, out: &mut Vec<u8>) {
        put_bytes(out, &self.from);
        // No key is empty.
        put_bytes(out, self.to.as_deref().unwrap_or_default());
        pairs(out, &self.rows);
    }

    pub fn read(input: &mut &[u8]) -> Option<Page> {
        let from = read_bytes(input)?;
        let to = Some(read_bytes(input)?).filter(|key| !key.is_empty());
        Some(Page { from, to, rows: read_pairs(input)? })
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn pairs(out: &mut Vec<u8>, pairs: &[(Key, Vec<u8>)]) {
    put_count(out, pairs.len());
    for (key, value) in pairs {
        put_bytes(out, key);
        put_bytes(out, value);
    }
}

fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = input.split_first_chunk::<N>()?;
    *input = rest;
    Some(*taken)
}

/// A count that the rest of the input could hold: each thing that is counted takes four bytes at least.
fn count(input: &mut &[u8]) -> Option<usize> {
    let count = u32::from_be_bytes(take(input)?) as usize;
    (count <= input.len() / 4).then_some(count)
}

fn read_bytes(input: &mut &[u8]) -> Option<Vec<u8>> {
    let length = u32::from_be_bytes(take(input)?) as usize;
    let (taken, rest) = input.split_at_checked(length)?;
    *input = rest;
    Some(taken.to_vec())
}

fn read_pairs(input: &mut &[u8]) -> Option<Vec<(Key, Vec<u8>)>> {
    (0..count(input)?).map(|_| Some((read_bytes(input)?, read_bytes(input)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

        #[test]
        fn deltas_and_pages_survive_the_way(
            number: u64,
            puts: Vec<(Vec<u8>, Vec<u8>)>,
            dels: Vec<Vec<u8>>,
            cut in 0usize..64,
        ) {
            let delta = Delta { number, ranges: puts.clone(), puts, dels };
            let mut bytes = Vec::new();
            delta.write(&mut bytes);
            let page = Page { from: vec![1], to: None, rows: delta.puts.clone() };
            page.write(&mut bytes);
            let mut input = bytes.as_slice();
            proptest::prop_assert_eq!(Delta::read(&mut input), Some(delta));
            proptest::prop_assert_eq!(Page::read(&mut input), Some(page));
            proptest::prop_assert!(input.is_empty());
            // Whatever is cut off is found out, never misread as whole.
            let short = bytes.len().saturating_sub(cut + 1);
            let mut input = bytes.get(..short).unwrap();
            let both = Delta::read(&mut input).and_then(|_| Page::read(&mut input));
            proptest::prop_assert_eq!(both, None);
        }
    }

    #[test]
    fn thin_copies_have_no_secrets() {
        for (kind, full, thin) in [
            (rows::CREDENTIAL, true, false),
            (rows::DISGUISE, true, false),
            (rows::API_TOKEN, true, false),
            (rows::LAST, false, false),
            (rows::INVITATION, false, false),
            (rows::ACCOUNT, true, true),
            (rows::SERVER, true, true),
        ] {
            let key = rows::single(kind);
            assert_eq!((Extent::Full.has(&key), Extent::Thin.has(&key)), (full, thin), "{kind:02x}");
        }
    }
}
