//! An account's rows in blocks, each with a hash, by which two servers find what differs.

use super::MoveError;
use crate::error::AccountError;
use crate::keys::{self, Keys};
use crate::limits::{BLOCK_BYTES, BLOCK_ROWS};
use std::ops::Range;
use waypost_base::AccountId;
use waypost_store::{BlobId, Key, Store, prefix_range};

/// Keys and values.
pub type Rows = Vec<(Key, Vec<u8>)>;

/// A run of an account's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub start: Key,
    /// The first key behind it.
    pub end: Key,
    pub rows: u32,
    /// Of keys and values.
    pub bytes: u64,
    /// Of keys and values in their order.
    pub hash: [u8; 16],
}

impl Block {
    pub fn range(&self) -> Range<Key> {
        self.start.clone()..self.end.clone()
    }
}

/// Everything but the account's own row and its passage, which say where it is.
pub(super) fn everything(account: AccountId) -> Range<Key> {
    let keys = Keys::new(account);
    keys.one(keys::MOVING + 1)..prefix_range(keys.partition().as_bytes()).end
}

/// Collects rows into one hash.
#[derive(Default)]
struct Sum {
    hasher: blake3::Hasher,
    rows: u32,
    bytes: u64,
}

impl Sum {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        for part in [key, value] {
            self.hasher.update(&(part.len() as u64).to_be_bytes());
            self.hasher.update(part);
        }
        self.rows += 1;
        self.bytes += (key.len() + value.len()) as u64;
    }

    fn block(&mut self, start: Key, end: Key) -> Block {
        let sum = std::mem::take(self);
        let mut hash = [0; 16];
        sum.hasher.finalize_xof().fill(&mut hash);
        Block { start, end, rows: sum.rows, bytes: sum.bytes, hash }
    }
}

/// The account's rows in blocks that follow each other without a gap.
pub(super) async fn blocks(store: &Store, account: AccountId) -> Result<Vec<Block>, MoveError> {
    let all = everything(account);
    let mut found = Vec::new();
    let mut start = all.start.clone();
    let mut sum = Sum::default();
    let corrupt = store
        .each(all.clone(), |key, value| {
            if sum.rows >= BLOCK_ROWS || sum.bytes >= BLOCK_BYTES {
                let begun = std::mem::replace(&mut start, key.to_vec());
                found.push(sum.block(begun, key.to_vec()));
            }
            sum.add(key, value);
            true
        })
        .await?;
    whole(&corrupt)?;
    found.push(sum.block(start, all.end));
    Ok(found)
}

/// Numbers of those blocks whose rows are others here.
pub(super) async fn differing(
    store: &Store,
    account: AccountId,
    blocks: &[Block],
) -> Result<Vec<u32>, MoveError> {
    let mut different = Vec::new();
    let mut sum = Sum::default();
    let mut left = (0u32..).zip(blocks).peekable();
    let close = |sum: &mut Sum, (number, block): (u32, &Block), different: &mut Vec<u32>| {
        let own = sum.block(Key::new(), Key::new());
        if (own.rows, own.hash) != (block.rows, block.hash) {
            different.push(number);
        }
    };
    let corrupt = store
        .each(everything(account), |key, value| {
            while let Some(done) = left.next_if(|(_, block)| block.end.as_slice() <= key) {
                close(&mut sum, done, &mut different);
            }
            sum.add(key, value);
            true
        })
        .await?;
    whole(&corrupt)?;
    for done in left {
        close(&mut sum, done, &mut different);
    }
    Ok(different)
}

/// The rows of a block as they are now.
pub(super) async fn rows(store: &Store, block: &Block) -> Result<Rows, MoveError> {
    let mut rows = Rows::new();
    let corrupt = store
        .each(block.range(), |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            true
        })
        .await?;
    whole(&corrupt)?;
    Ok(rows)
}

/// A row that cannot be read cannot be moved either.
fn whole(corrupt: &[Key]) -> Result<(), MoveError> {
    match corrupt.first() {
        Some(key) => Err(AccountError::Damaged(format!("row {}", waypost_store::Hex(key))).into()),
        None => Ok(()),
    }
}

/// Bytes in segments that rows refer to.
pub(super) fn blobs(rows: &Rows) -> Vec<BlobId> {
    let blob = |key: &Key| {
        let id = key.get(keys::PREFIX + 1..)?;
        (key.get(keys::PREFIX) == Some(&keys::BLOB_REFS)).then_some(())?;
        Some(BlobId(id.try_into().ok()?))
    };
    rows.iter().filter_map(|(key, _)| blob(key)).collect()
}
