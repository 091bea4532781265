//! Recoverable items: expunged messages that can be restored for a time, and their end.

use crate::account::{Account, AccountState};
use crate::changes::{Changes, Effect, Plan, Settle};
use crate::error::{AccountError, DeliverError};
use crate::expunge::DISCARDED;
use crate::flags::Flags;
use crate::keys::{self, Keys, u32_at, u64_at};
use crate::limits::DELIVERED_HOURS;
use crate::rows::{LogRow, MessageRow, counter, decode_row, new_row};
use crate::snapshot::Record;
use crate::view::Row;
use crate::writing::{expect_folder, missing_folder};
use std::collections::BTreeMap;
use waypost_base::{FolderId, MessageId, Timestamp};
use waypost_mime::SummaryRef;
use waypost_store::{Batch, BlobId, CommitError, Expect, Key};

/// Recoverable items in one batch of the sweep: up to nine preconditions and operations each.
const SWEEP_CHUNK: u32 = 200;

/// An expunged message that is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recoverable {
    pub deleted: Timestamp,
    /// The folder it was in, and what it was there.
    pub folder: FolderId,
    pub row: Row,
}

impl Recoverable {
    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Option<Recoverable> {
        let at = keys::PREFIX + 1;
        let deleted = Timestamp(u64_at(key, at) as i64);
        let row = decode_row(u32_at(key, at + 12), value)?;
        Some(Recoverable { deleted, folder: FolderId(u32_at(key, at + 8)), row })
    }

    fn key(&self, keys: Keys) -> Key {
        keys.deleted(self.deleted, self.folder, self.row.uid)
    }
}

impl Account {
    /// All recoverable items, newest first, at most `max`.
    pub async fn recoverable_items(&self, max: usize) -> Result<Vec<Recoverable>, AccountError> {
        let mut items = Vec::new();
        let mut rest = Some(self.state.keys.all(keys::DELETED));
        while let Some(range) = rest.filter(|_| items.len() < max) {
            let page = self.state.core.store.scan(range, true).await?;
            let items_of_page = page.rows().filter_map(|(key, value)| Recoverable::decode(key, value));
            items.extend(items_of_page.filter(|item| item.deleted != DISCARDED));
            rest = page.next;
        }
        items.truncate(max);
        Ok(items)
    }

    /// Puts an item back into a folder, without \Deleted, under a new UID.
    pub async fn restore_item(&self, item: &Recoverable, to: FolderId) -> Result<Changes, DeliverError> {
        let folder = self.target(to)?;
        self.check_quota(1, u64::from(item.row.size)).await?;
        let keys = self.state.keys;
        let now = self.state.core.clock.now();
        let row = Row { flags: item.row.flags.without(Flags::DELETED), saved: now, uid: 0, ..item.row };
        let mut batch = Batch::new(keys.partition());
        expect_folder(&mut batch, keys, to);
        batch.expect(item.key(keys), Expect::Present);
        let uid = batch.alloc(keys.of_folder(keys::UID, to), 1);
        let modseq = batch.alloc(keys.of_folder(keys::MODSEQ, to), 1);
        batch.del(item.key(keys));
        batch.put(keys.new_row(to, uid, 0), new_row(&row, modseq, None));
        let log = LogRow { time: now, appended: Some((0, 1)), ..LogRow::default() };
        batch.put(keys.new_log(to, modseq), log.encode(Some(uid)));
        batch.add(keys.one(keys::BYTES), i64::from(row.size));
        batch.add(keys.one(keys::MESSAGES), 1);
        let mut plan = Plan::new(&self.state);
        (plan.bytes, plan.messages) = (i64::from(row.size), 1);
        let record = Record { appended: vec![row], ..Record::default() };
        plan.effects.push(Effect { folder, modseq, writer: None, uid: Some(uid), message: None, record });
        match Settle::new(self.state.commit(batch), plan).await {
            Ok(changes) => {
                changes.shown().await;
                Ok(changes)
            }
            Err(CommitError::Conflict(conflict)) => match missing_folder(&conflict) {
                Some(id) => Err(DeliverError::NoFolder(id)),
                // Swept or restored meanwhile.
                None => Err(AccountError::ItemGone.into()),
            },
            Err(e) => Err(e.into()),
        }
    }
}

/// What one batch of the sweep did.
#[derive(Default)]
pub(crate) struct Expired {
    pub(crate) items: u64,
    pub(crate) messages: u64,
    pub(crate) more: bool,
}

/// A message whose last reference goes.
struct Last {
    id: MessageId,
    /// Stored bytes that it refers to.
    blob: Option<BlobId>,
    /// Message-ID, under which its thread may be noted.
    thread: Option<u64>,
}

impl Account {
    /// Removes some of the items deleted before `before`, with their messages if these were the last references.
    pub(crate) async fn expire(&self, before: Timestamp) -> Result<Expired, AccountError> {
        let state = &self.state;
        let keys = state.keys;
        let range = keys.all(keys::DELETED).start..keys.deleted_until(before);
        let page = state.core.store.scan_page(range, false, SWEEP_CHUNK, u32::MAX).await?;
        let mut items: Vec<(Key, MessageId)> = Vec::new();
        let mut batch = Batch::new(keys.partition());
        for (key, value) in page.rows() {
            batch.expect(key.to_vec(), Expect::Present);
            batch.del(key.to_vec());
            if let Some(item) = Recoverable::decode(key, value) {
                items.push((key.to_vec(), item.row.message));
            }
        }
        for key in &page.corrupt {
            batch.del(key.clone());
        }
        let mut expired = Expired { items: page.len() as u64, messages: 0, more: page.next.is_some() };
        if batch.ops.is_empty() {
            return Ok(expired);
        }
        let last = self.drop_references(&mut batch, &items).await?;
        expired.messages = last.len() as u64;
        let blobs = self.drop_blobs(&mut batch, &last).await?;
        // The release must not fall between a delivery's holder row and its reference to the same bytes.
        let gate = if blobs.is_empty() { None } else { Some(state.blob_gate.write().await) };
        match state.commit(batch).await {
            Ok(_) => {}
            // Somebody copied or restored one meanwhile: look again.
            Err(CommitError::Conflict(_)) => return Ok(Expired { more: true, ..Expired::default() }),
            Err(e) => return Err(e.into()),
        }
        for blob in blobs {
            state.core.store.blobs().release(blob, keys.partition()).await?;
        }
        drop(gate);
        Ok(expired)
    }

    /// Lowers the reference counts of these items' messages, and gives the messages that have none left.
    async fn drop_references(
        &self,
        batch: &mut Batch,
        items: &[(Key, MessageId)],
    ) -> Result<Vec<Last>, AccountError> {
        let keys = self.state.keys;
        let mut dropped: BTreeMap<MessageId, u64> = BTreeMap::new();
        for (_, id) in items {
            *dropped.entry(*id).or_default() += 1;
        }
        let wanted: Vec<Key> = dropped.keys().map(|id| keys.message(keys::REFS, *id)).collect();
        let values = self.state.core.store.get(wanted.clone()).await?;
        let mut last_ids = Vec::new();
        for (((id, n), key), value) in dropped.iter().zip(wanted).zip(values) {
            let further = counter(value.as_deref());
            batch.expect(key.clone(), value.map_or(Expect::Absent, |v| Expect::Value(v.to_vec())));
            if further >= *n {
                batch.add(key, -(*n as i64));
            } else {
                batch.del(key);
                last_ids.push(*id);
            }
        }
        let rows = self.rows_by_message(keys::MESSAGE, &last_ids).await;
        let mut last = Vec::with_capacity(last_ids.len());
        for id in last_ids {
            batch.del(keys.message(keys::MESSAGE, id));
            batch.del(keys.message(keys::SMALL, id));
            let value = rows.get(&id).cloned();
            let value = self.present(keys::MESSAGE, id, value).ok();
            let row = value.as_deref().and_then(MessageRow::decode);
            last.push(Last {
                id,
                blob: row.as_ref().filter(|r| !r.inline).map(|r| r.blob),
                thread: row.and_then(|r| {
                    let summary = SummaryRef::new(r.summary).ok()?;
                    (!summary.message_id.is_empty()).then(|| self.hash(summary.message_id))
                }),
            });
        }
        for hash in last.iter().filter_map(|l| l.thread) {
            batch.del(keys.thread(hash));
        }
        Ok(last)
    }

    /// Lowers the counts of stored bytes, and gives those that the account no longer needs.
    async fn drop_blobs(&self, batch: &mut Batch, last: &[Last]) -> Result<Vec<BlobId>, AccountError> {
        let keys = self.state.keys;
        let mut dropped: BTreeMap<BlobId, u64> = BTreeMap::new();
        for blob in last.iter().filter_map(|l| l.blob) {
            *dropped.entry(blob).or_default() += 1;
        }
        let wanted: Vec<Key> = dropped.keys().map(|id| keys.blob_refs(*id)).collect();
        let values = self.state.core.store.get(wanted.clone()).await?;
        let mut free = Vec::new();
        for (((blob, n), key), value) in dropped.into_iter().zip(wanted).zip(values) {
            let count = counter(value.as_deref());
            batch.expect(key.clone(), value.map_or(Expect::Absent, |v| Expect::Value(v.to_vec())));
            if count > n {
                batch.add(key, -(n as i64));
            } else {
                batch.del(key);
                free.push(blob);
            }
        }
        tracing::debug!(
            messages = last.len(),
            newest = last.last().map(|l| l.id.0),
            "messages removed for good"
        );
        Ok(free)
    }
}

impl Account {
    /// Forgets deliveries that nobody can repeat any more.
    pub(crate) async fn trim_delivered(&self, now: Timestamp) -> Result<(), AccountError> {
        let state = &self.state;
        let first = state.keys.delivered(&[]);
        let hour = u32::try_from(now.as_millis() / 3_600_000).unwrap_or(0).saturating_sub(DELIVERED_HOURS);
        let before = state.keys.delivered(&hour.to_be_bytes());
        let old = state.core.store.scan_page(first.clone()..before.clone(), false, 1, 1).await?;
        if old.is_empty() && old.corrupt.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new(state.keys.partition());
        batch.del_range(first..before);
        state.commit(batch).await?;
        Ok(())
    }
}

impl AccountState {
    /// Removes change-log rows from before `before`, at most a page for each call; gives how many.
    pub(crate) async fn trim_log(&self, folder: FolderId, before: Timestamp) -> Result<u64, AccountError> {
        let keys = self.keys;
        let page = self.core.store.scan(keys.all_of_folder(keys::LOG, folder), false).await?;
        let old = |value: &[u8]| LogRow::decode(value).is_none_or(|log| log.time < before);
        let mut last = None;
        let mut count = 0;
        for (key, _) in page.rows().take_while(|(_, value)| old(value)) {
            last = Some(key.to_vec());
            count += 1;
        }
        let Some(last) = last else { return Ok(0) };
        let modseq = keys::last_u64(&last);
        let mut batch = Batch::new(keys.partition());
        expect_folder(&mut batch, keys, folder);
        batch.del_range(keys.log(folder, 0)..keys.log(folder, modseq + 1));
        batch.put(keys.of_folder(keys::LOG_FLOOR, folder), modseq.to_be_bytes().to_vec());
        match self.commit(batch).await {
            Ok(_) => Ok(count),
            Err(CommitError::Conflict(_)) => Ok(0),
            Err(e) => Err(e.into()),
        }
    }
}
