//! Which items are shown: the rows by which a deletion that nobody was awake to see is told from an item that was never
//! shown (docs/store.md, queue: `[0x20] F0 [account u32][item u64]`, empty).
//!
//! A row is written after the copy is in the folder, and goes before the copy does. So a row without a copy means that
//! its owner has deleted the copy.

use std::collections::{BTreeMap, BTreeSet};
use waypost_base::AccountId;
use waypost_queue::{OUTBOX_ROWS, QUEUE_PREFIX};
use waypost_store::{Batch, CommitError, Key, Partition, ReadError, Store, prefix_range};

const PARTITION: Partition = Partition::tag(QUEUE_PREFIX);
/// Rows in one batch; a batch takes 2 000 operations.
const CHUNK: usize = 1_000;

fn key(account: AccountId, item: u64) -> Key {
    let mut key = vec![QUEUE_PREFIX, OUTBOX_ROWS];
    key.extend_from_slice(&account.0.to_be_bytes());
    key.extend_from_slice(&item.to_be_bytes());
    key
}

/// All shown items, by account.
pub(super) async fn all(store: &Store) -> Result<BTreeMap<AccountId, BTreeSet<u64>>, ReadError> {
    read(store, &[QUEUE_PREFIX, OUTBOX_ROWS]).await
}

/// The shown items of one account.
pub(super) async fn of(store: &Store, account: AccountId) -> Result<BTreeSet<u64>, ReadError> {
    let mut prefix = vec![QUEUE_PREFIX, OUTBOX_ROWS];
    prefix.extend_from_slice(&account.0.to_be_bytes());
    Ok(read(store, &prefix).await?.remove(&account).unwrap_or_default())
}

async fn read(store: &Store, prefix: &[u8]) -> Result<BTreeMap<AccountId, BTreeSet<u64>>, ReadError> {
    let mut found: BTreeMap<AccountId, BTreeSet<u64>> = BTreeMap::new();
    let number = |key: &[u8]| {
        let account = u32::from_be_bytes(key.get(2..6)?.try_into().ok()?);
        let item = u64::from_be_bytes(key.get(6..14)?.try_into().ok()?);
        Some((AccountId(account), item))
    };
    store
        .each(prefix_range(prefix), |key, _| {
            if let Some((account, item)) = number(key) {
                found.entry(account).or_default().insert(item);
            }
            true
        })
        .await?;
    Ok(found)
}

pub(super) async fn shown(store: &Store, account: AccountId, item: u64) -> Result<(), CommitError> {
    let mut batch = Batch::new(PARTITION);
    batch.put(key(account, item), Vec::new());
    store.commit(batch).await.map(|_| ())
}

pub(super) async fn gone(store: &Store, account: AccountId, items: &[u64]) -> Result<(), CommitError> {
    for some in items.chunks(CHUNK) {
        let mut batch = Batch::new(PARTITION);
        for item in some {
            batch.del(key(account, *item));
        }
        store.commit(batch).await?;
    }
    Ok(())
}
