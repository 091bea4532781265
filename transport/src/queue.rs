//! The queue's rows: what makes a message for several accounts durable before its 250, and brings it on after a
//! restart.
//!
//! All in partition `[0x20]`; numbers are big-endian, `id` is eight bytes:
//!
//! ```text
//! [0x20] 01 [id]                 the item: version, times, envelope, where the bytes are
//! [0x20] 02 [id]                 the message's bytes (zstd), where they are small
//! [0x20] 03 [id] [page u32]      recipients as accepted, for reports
//! [0x20] 04 [id] [page u32]      the accounts that get it
//! [0x20] 05 [id] [account][place] an account that has it already; only written when an item stays
//! ```
//!
//! An item whose accounts all have it is removed whole. Larger bytes are kept alive by the holder `[0x20][id]`.

use crate::categorize::{Place, Target};
use crate::limits::QUEUE_PAGE;
use std::collections::BTreeSet;
use waypost_base::id::Correlation;
use waypost_base::{AccountId, Timestamp};
use waypost_smtp::{MailParams, Mailbox, RcptParams, Return};
use waypost_store::{
    Batch, Blob, BlobError, BlobId, Body, CommitError, Committed, Expect, Holder, Partition, ReadError,
    Store, prefix_range,
};

/// First byte of the queue's keys.
pub const QUEUE_PREFIX: u8 = 0x20;
const VERSION: u8 = 1;
const ITEM: u8 = 1;
const BYTES: u8 = 2;
const RECIPIENTS: u8 = 3;
const TARGETS: u8 = 4;
const DONE: u8 = 5;

/// Rows of one batch of marks; a batch takes 2 000.
const MARKS: usize = 1000;

const PARTITION: Partition = Partition::tag(QUEUE_PREFIX);

/// A message in the queue, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub id: u64,
    /// When it was accepted.
    pub accepted: Timestamp,
    pub session: Correlation,
    pub from: Option<Mailbox>,
    pub ret: Option<Return>,
    pub envid: Option<String>,
    pub utf8: bool,
    pub blob: BlobId,
    pub size: u64,
    /// The bytes are in segments rather than beside the item.
    pub stored: bool,
    /// A recipient asked to be told of success.
    pub reports: bool,
}

/// A recipient as it was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub to: Mailbox,
    pub params: RcptParams,
}

/// Why the queue could not be read.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error("queue item {0} is damaged")]
    Damaged(u64),
}

impl Item {
    pub fn new(
        id: u64,
        accepted: Timestamp,
        session: Correlation,
        from: Option<Mailbox>,
        params: &MailParams,
        blob: &Blob,
    ) -> Item {
        Item {
            id,
            accepted,
            session,
            from,
            ret: params.ret,
            envid: params.envid.clone(),
            utf8: params.utf8,
            blob: blob.id,
            size: blob.size,
            stored: matches!(blob.body, Body::Stored(_)),
            reports: false,
        }
    }

    /// Keeps the bytes in segments alive.
    pub fn holder(&self) -> Holder {
        let mut bytes = [QUEUE_PREFIX, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes[1..].copy_from_slice(&self.id.to_be_bytes());
        Partition::new(&bytes)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.accepted.as_millis().to_be_bytes());
        out.extend_from_slice(&self.session.0.to_be_bytes());
        let ret = match self.ret {
            None => 0,
            Some(Return::Full) => 1,
            Some(Return::Headers) => 2,
        };
        out.push(
            ret | u8::from(self.utf8) << 4
                | u8::from(self.stored) << 5
                | u8::from(self.from.is_some()) << 6
                | u8::from(self.reports) << 7,
        );
        out.extend_from_slice(&self.blob.0);
        out.extend_from_slice(&self.size.to_be_bytes());
        put_mailbox(&mut out, self.from.as_ref());
        put_text(&mut out, self.envid.as_deref().unwrap_or_default());
        out
    }

    fn decode(id: u64, bytes: &[u8]) -> Option<Item> {
        let mut input = Input(bytes);
        if input.byte()? != VERSION {
            return None;
        }
        let accepted = Timestamp(input.number()?.cast_signed());
        let session = Correlation(input.number()?);
        let flags = input.byte()?;
        let blob = BlobId(input.take(32)?.try_into().ok()?);
        let size = input.number()?;
        let mailbox = input.mailbox()?;
        let envid = input.text()?;
        Some(Item {
            id,
            accepted,
            session,
            from: (flags & 64 != 0).then_some(mailbox),
            ret: match flags & 15 {
                1 => Some(Return::Full),
                2 => Some(Return::Headers),
                _ => None,
            },
            envid: (!envid.is_empty()).then(|| envid.to_owned()),
            utf8: flags & 16 != 0,
            blob,
            size,
            stored: flags & 32 != 0,
            reports: flags & 128 != 0,
        })
    }
}

/// Makes an item durable. `Ok` means that the message may get its 250.
pub async fn put(
    store: &Store,
    item: &Item,
    blob: &Blob,
    recipients: &[Accepted],
    targets: &[Target],
) -> Result<Committed, CommitError> {
    let mut batch = Batch::new(PARTITION);
    batch.expect(key(ITEM, item.id), Expect::Absent);
    batch.put(key(ITEM, item.id), item.encode());
    if let Body::Inline(bytes) = &blob.body {
        batch.put(key(BYTES, item.id), bytes.to_vec());
    }
    for (number, page) in pages(recipients, put_recipient).into_iter().enumerate() {
        batch.put(numbered(RECIPIENTS, item.id, number), page);
    }
    for (number, page) in pages(targets, put_target).into_iter().enumerate() {
        batch.put(numbered(TARGETS, item.id, number), page);
    }
    // The item is never there without its bytes: a chain under one fsync.
    store.commit_with(&[blob], item.holder(), batch).await
}

/// Notes the accounts that have the message, when the item has to stay for others.
pub async fn mark(store: &Store, id: u64, done: &[Target]) -> Result<(), CommitError> {
    for some in done.chunks(MARKS) {
        let mut batch = Batch::new(PARTITION);
        for target in some {
            let mut row = key(DONE, id);
            put_target(&mut row, target);
            batch.put(row, Vec::new());
        }
        store.commit(batch).await?;
    }
    Ok(())
}

/// Whether the item is still there.
pub async fn exists(store: &Store, id: u64) -> Result<bool, ReadError> {
    Ok(store.get_one(key(ITEM, id)).await?.is_some())
}

/// Takes an item out of the queue.
pub async fn remove(store: &Store, item: &Item) -> Result<(), CommitError> {
    let mut batch = Batch::new(PARTITION);
    batch.del(key(ITEM, item.id)).del(key(BYTES, item.id));
    for kind in [RECIPIENTS, TARGETS, DONE] {
        batch.del_range(prefix_range(&key(kind, item.id)));
    }
    store.commit(batch).await?;
    if item.stored {
        // If this fails, compaction finds out that nobody holds the bytes.
        let _ = store.blobs().release(item.blob, item.holder()).await;
    }
    Ok(())
}

/// All items, oldest first. Damaged ones are named and left alone.
pub async fn list(store: &Store) -> Result<(Vec<Item>, Vec<u64>), QueueError> {
    let mut items = Vec::new();
    let mut damaged = Vec::new();
    let corrupt = store
        .each(prefix_range(&[QUEUE_PREFIX, ITEM]), |row, value| {
            let id = id_of(row);
            match Item::decode(id, value) {
                Some(item) => items.push(item),
                None => damaged.push(id),
            }
            true
        })
        .await?;
    damaged.extend(corrupt.iter().map(|row| id_of(row)));
    Ok((items, damaged))
}

/// The accounts that still lack the message.
pub async fn outstanding(store: &Store, item: &Item) -> Result<Vec<Target>, QueueError> {
    let mut targets = Vec::new();
    let mut sound = true;
    let mut corrupt = store
        .each(prefix_range(&key(TARGETS, item.id)), |_, value| {
            let mut input = Input(value);
            while !input.0.is_empty() {
                match input.target() {
                    Some(target) => targets.push(target),
                    None => {
                        sound = false;
                        return false;
                    }
                }
            }
            true
        })
        .await?;
    let mut done = BTreeSet::new();
    let prefix = key(DONE, item.id);
    corrupt.extend(
        store
            .each(prefix_range(&prefix), |row, _| {
                done.extend(row.get(prefix.len()..).and_then(|rest| Input(rest).target()));
                true
            })
            .await?,
    );
    if !sound || !corrupt.is_empty() {
        return Err(QueueError::Damaged(item.id));
    }
    targets.retain(|target| !done.contains(target));
    Ok(targets)
}

/// The recipients as they were accepted.
pub async fn recipients(store: &Store, item: &Item) -> Result<Vec<Accepted>, QueueError> {
    let mut recipients = Vec::new();
    let mut sound = true;
    let corrupt = store
        .each(prefix_range(&key(RECIPIENTS, item.id)), |_, value| {
            let mut input = Input(value);
            while !input.0.is_empty() {
                match input.recipient() {
                    Some(recipient) => recipients.push(recipient),
                    None => {
                        sound = false;
                        return false;
                    }
                }
            }
            true
        })
        .await?;
    if sound && corrupt.is_empty() { Ok(recipients) } else { Err(QueueError::Damaged(item.id)) }
}

/// The message's bytes, wherever they are.
pub async fn blob(store: &Store, item: &Item) -> Result<Blob, QueueError> {
    if item.stored {
        return Ok(store.blobs().stored(item.blob, item.holder()).await?);
    }
    let bytes = store.get_one(key(BYTES, item.id)).await?.ok_or(QueueError::Damaged(item.id))?;
    Ok(store.blobs().inline(item.blob, item.size, bytes))
}

fn key(kind: u8, id: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(16);
    key.extend_from_slice(&[QUEUE_PREFIX, kind]);
    key.extend_from_slice(&id.to_be_bytes());
    key
}

fn numbered(kind: u8, id: u64, page: usize) -> Vec<u8> {
    let mut key = key(kind, id);
    key.extend_from_slice(&u32::try_from(page).unwrap_or(u32::MAX).to_be_bytes());
    key
}

fn id_of(row: &[u8]) -> u64 {
    row.get(2..10).and_then(|b| b.try_into().ok()).map_or(0, u64::from_be_bytes)
}

fn pages<T>(all: &[T], put: fn(&mut Vec<u8>, &T)) -> Vec<Vec<u8>> {
    let mut pages = Vec::new();
    let mut page = Vec::new();
    for one in all {
        put(&mut page, one);
        if page.len() >= QUEUE_PAGE {
            pages.push(std::mem::take(&mut page));
        }
    }
    if !page.is_empty() {
        pages.push(page);
    }
    pages
}

fn put_target(out: &mut Vec<u8>, target: &Target) {
    out.extend_from_slice(&target.account.0.to_be_bytes());
    out.push(match target.place {
        Place::Inbox => 0,
        Place::Sent => 1,
    });
}

fn put_recipient(out: &mut Vec<u8>, one: &Accepted) {
    put_mailbox(out, Some(&one.to));
    let notify = one
        .params
        .notify
        .map_or(0, |n| 8 | u8::from(n.success) | u8::from(n.failure) << 1 | u8::from(n.delay) << 2);
    out.push(notify | u8::from(one.params.orcpt.is_some()) << 4);
    if let Some(original) = &one.params.orcpt {
        put_text(out, &original.kind);
        put_text(out, &original.address);
    }
}

fn put_mailbox(out: &mut Vec<u8>, mailbox: Option<&Mailbox>) {
    put_text(out, mailbox.map_or("", |m| &m.local));
    put_text(out, mailbox.map_or("", |m| &m.domain));
}

/// Two bytes of length; the session's limits keep every text far below that.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes().get(..usize::from(length)).unwrap_or_default());
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        std::str::from_utf8(self.take(usize::from(length))?).ok()
    }

    fn mailbox(&mut self) -> Option<Mailbox> {
        let local = self.text()?;
        Some(Mailbox::new(local, self.text()?))
    }

    fn target(&mut self) -> Option<Target> {
        let account = AccountId(u32::from_be_bytes(self.take(4)?.try_into().ok()?));
        let place = match self.byte()? {
            0 => Place::Inbox,
            1 => Place::Sent,
            _ => return None,
        };
        Some(Target { account, place })
    }

    fn recipient(&mut self) -> Option<Accepted> {
        let to = self.mailbox()?;
        let flags = self.byte()?;
        let mut params = RcptParams::default();
        if flags & 8 != 0 {
            params.notify = Some(waypost_smtp::Notify {
                success: flags & 1 != 0,
                failure: flags & 2 != 0,
                delay: flags & 4 != 0,
            });
        }
        if flags & 16 != 0 {
            let kind = self.text()?.to_owned();
            let address = self.text()?.to_owned();
            params.orcpt = Some(waypost_smtp::OriginalRecipient { kind, address });
        }
        Some(Accepted { to, params })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_smtp::{Notify, OriginalRecipient};

    fn item(id: u64) -> Item {
        Item {
            id,
            accepted: Timestamp(1_772_525_720_114),
            session: Correlation(7),
            from: Some(Mailbox::new("a b", "x.example")),
            ret: Some(Return::Headers),
            envid: Some("Q1".into()),
            utf8: true,
            blob: BlobId([9; 32]),
            size: 5,
            stored: false,
            reports: true,
        }
    }

    #[tokio::test]
    async fn rows_come_back_and_go() {
        let store = Store::memory();
        let mut writer = store.blobs().writer();
        writer.write(b"hello").await.unwrap();
        let blob = writer.finish().await.unwrap();
        let one = Item { blob: blob.id, ..item(5) };
        let null = Item { from: None, ret: None, envid: None, utf8: false, blob: blob.id, ..item(6) };
        let recipients_in: Vec<Accepted> = (0..2000)
            .map(|i| Accepted {
                to: Mailbox::new(format!("r{i}"), "x.example"),
                params: RcptParams {
                    notify: (i % 2 == 0).then_some(Notify { success: true, failure: false, delay: true }),
                    orcpt: (i % 3 == 0)
                        .then(|| OriginalRecipient { kind: "rfc822".into(), address: "o".into() }),
                },
            })
            .collect();
        let targets: Vec<Target> = (0..20_000).map(|i| Target::inbox(AccountId(i))).collect();
        put(&store, &one, &blob, &recipients_in, &targets).await.unwrap();
        put(&store, &null, &blob, &[], &targets[..2]).await.unwrap();
        assert!(put(&store, &one, &blob, &[], &[]).await.is_err(), "an item is never overwritten");

        assert_eq!(list(&store).await.unwrap(), (vec![one.clone(), null.clone()], vec![]));
        assert_eq!(recipients(&store, &one).await.unwrap(), recipients_in);
        assert_eq!(outstanding(&store, &one).await.unwrap(), targets);
        let again = super::blob(&store, &one).await.unwrap();
        assert_eq!(store.blobs().read(&again, 0..100).await.unwrap().as_ref(), b"hello");

        mark(&store, 6, &targets[..1]).await.unwrap();
        assert_eq!(outstanding(&store, &null).await.unwrap(), &targets[1..2]);

        remove(&store, &one).await.unwrap();
        assert_eq!(list(&store).await.unwrap(), (vec![null.clone()], vec![]));
        remove(&store, &null).await.unwrap();
        let mut rows = 0;
        store
            .each(prefix_range(&[QUEUE_PREFIX]), |_, _| {
                rows += 1;
                true
            })
            .await
            .unwrap();
        assert_eq!(rows, 0, "nothing is left behind");
    }

    #[test]
    fn damage_is_told_from_sound_rows() {
        let bytes = item(5).encode();
        assert_eq!(Item::decode(5, &bytes), Some(item(5)));
        for cut in 0..bytes.len() {
            assert_eq!(Item::decode(5, &bytes[..cut]), None, "{cut}");
        }
    }
}
