//! Taking messages in: delivery, APPEND, import.
//!
//! An ordinary mail is one batch without reads: UID, modseq and message id are given inside it. Bytes over 16 KiB are
//! durable before, and their holder's row is put in line right before the batch, so that both share an fsync.

use crate::account::{Account, Mailboxes};
use crate::changes::{Appended, Changes, Effect, Plan, Settle};
use crate::error::{AccountError, DeliverError};
use crate::flags::{Flags, Mark};
use crate::keys;
use crate::limits::{APPEND_BYTES, APPEND_CHUNK, APPEND_WINDOW};
use crate::rows::{LogRow, MessageRow, counter, encode_small, new_row};
use crate::snapshot::Record;
use crate::uidset::UidSet;
use crate::view::{FolderState, Row};
use crate::writing::{expect_folder, missing_folder};
use std::collections::VecDeque;
use std::sync::Arc;
use waypost_base::{FolderId, MessageId, ThreadId, Timestamp};
use waypost_mime::{Scanner, Summary};
use waypost_store::{Batch, Blob, BlobError, BlobWriter, Body, CommitError, Expect, Template};

/// The bytes of a message, durable or small, and what is to be remembered of them. Cheap to clone, so that one message
/// can be delivered to several accounts.
#[derive(Clone, Debug)]
pub struct Content {
    pub blob: Blob,
    pub summary: Arc<Summary>,
}

/// Takes a message piece by piece: bytes go to the store, the scanner reads along. Memory stays bounded.
pub struct Writer {
    bytes: BlobWriter,
    scanner: Scanner,
}

impl Mailboxes {
    pub fn writer(&self) -> Writer {
        Writer { bytes: self.store().blobs().writer(), scanner: Scanner::new(waypost_mime::Limits::stored()) }
    }
}

impl Writer {
    /// Bytes as they are to be stored (CRLF line ends).
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.scanner.feed(bytes);
        self.bytes.write(bytes).await
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.bytes.size()
    }

    /// Ends the message; what goes to segments is durable when this returns.
    pub async fn finish(self) -> Result<Content, BlobError> {
        let summary = Arc::new(self.scanner.finish());
        Ok(Content { blob: self.bytes.finish().await?, summary })
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Writer({} bytes)", self.size())
    }
}

/// A message to be put into a folder.
#[derive(Clone, Debug)]
pub struct NewMessage {
    pub content: Content,
    /// INTERNALDATE; now when None.
    pub internal: Option<Timestamp>,
    /// From [`Account::mark`] when there are keywords.
    pub mark: Mark,
}

impl NewMessage {
    /// Without flags, as of now.
    pub fn new(content: Content) -> NewMessage {
        NewMessage { content, internal: None, mark: Mark { flags: Flags::NONE, keywords: 0 } }
    }
}

/// One mail for one folder, as transport has it.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub folder: FolderId,
    pub message: NewMessage,
    /// The same token again does nothing, and gives the first answer, for eight days from the hour that is its first four
    /// bytes, also after the account has moved to another server.
    pub token: Option<[u8; 16]>,
    /// Deliver even over quota.
    pub ignore_quota: bool,
}

/// A message that is ready for its batch.
struct Prepared {
    row: Row,
    message: Vec<u8>,
    /// Compressed bytes of a small message, with their head.
    small: Option<Vec<u8>>,
    /// Bytes in segments.
    stored: Option<Blob>,
    thread: ThreadId,
    /// Where replies find the thread, if their own references do not say it.
    thread_row: Option<u64>,
}

impl Prepared {
    fn bytes(&self) -> usize {
        self.message.len() + self.small.as_ref().map_or(0, Vec::len) + 160
    }
}

impl Account {
    /// Delivers in one batch, without reads.
    pub async fn deliver(&self, delivery: Delivery) -> Result<Changes, DeliverError> {
        let folder = self.target(delivery.folder)?;
        if !delivery.ignore_quota {
            self.check_quota(1, delivery.message.content.blob.size).await?;
        }
        let prepared = vec![self.prepare(delivery.message).await?];
        let changes = match self.put(&folder, &prepared, delivery.token).await {
            Err(e) => return self.delivered_before(delivery.token, e).await,
            Ok(changes) => changes,
        };
        changes.shown().await;
        self.state.core.figures.delivered.one();
        Ok(changes)
    }

    /// Appends messages to a folder, all or none: one batch as far as the store's limits go (about 450 small ones); of a
    /// larger list the earlier batches are taken back (as recoverable items) when a later one fails.
    pub async fn append(
        &self,
        folder: FolderId,
        messages: Vec<NewMessage>,
        token: Option<[u8; 16]>,
    ) -> Result<Changes, DeliverError> {
        let target = self.target(folder)?;
        let bytes = messages.iter().map(|m| m.content.blob.size).sum();
        self.check_quota(messages.len() as u64, bytes).await?;
        let mut line = VecDeque::new();
        let mut chunk: Vec<Prepared> = Vec::new();
        let mut size = 0;
        let mut number = 0;
        let mut messages = messages.into_iter().peekable();
        let mut failure = None;
        let mut changes = Changes::default();
        while let Some(message) = messages.next() {
            let prepared = match self.prepare(message).await {
                Ok(prepared) => prepared,
                Err(e) => {
                    failure = Some(e);
                    break;
                }
            };
            size += prepared.bytes();
            chunk.push(prepared);
            // The next one may be as large as a message in rows can be: 64 KiB of summary and 16 KiB of bytes.
            if chunk.len() >= APPEND_CHUNK || size >= APPEND_BYTES || messages.peek().is_none() {
                // Whoever holds the gate may not wait for it again: somebody else may want it closed in between.
                let window = if chunk.iter().any(|m| m.stored.is_some()) { 1 } else { APPEND_WINDOW };
                while line.len() >= window
                    && failure.is_none()
                    && let Some(first) = line.pop_front()
                {
                    match self.settle(&target, first).await {
                        Ok(one) => changes.join(one),
                        Err(e) => failure = Some(e),
                    }
                }
                if failure.is_some() {
                    break;
                }
                line.push_back(self.start(&target, &chunk, token.map(|t| numbered(t, number)), None).await);
                chunk.clear();
                (size, number) = (0, number + 1);
            }
        }
        for settle in line {
            match self.settle(&target, settle).await {
                Ok(one) => changes.join(one),
                Err(e) => failure = failure.or(Some(e)),
            }
        }
        if let Some(e) = failure {
            return Err(self.take_back(folder, changes, e).await);
        }
        changes.shown().await;
        self.state.core.figures.appended.add(changes.appended().len() as u64);
        Ok(changes)
    }

    /// Removes what earlier batches of a failed operation have put into a folder.
    pub(crate) async fn take_back(
        &self,
        folder: FolderId,
        changes: Changes,
        e: DeliverError,
    ) -> DeliverError {
        let uids: UidSet = changes.appended().iter().filter(|a| a.folder == folder).map(|a| a.uid).collect();
        if !uids.is_empty() && !changes.replayed() {
            match self.remove(folder, &uids).await {
                Ok(removed) => removed.changes.announce(),
                Err(error) => {
                    tracing::error!(account = self.state.id.0, %uids, %error, "a failed append could not be taken back");
                }
            }
        }
        e
    }

    pub(crate) fn target(&self, folder: FolderId) -> Result<Arc<FolderState>, DeliverError> {
        self.state.folder_state(folder).map_err(|e| match e {
            AccountError::NoFolder(id) => DeliverError::NoFolder(id),
            e => e.into(),
        })
    }

    async fn prepare(&self, message: NewMessage) -> Result<Prepared, DeliverError> {
        let Content { blob, summary } = message.content;
        let now = self.state.core.clock.now();
        let (thread, thread_row) = self.thread_of(&summary, &blob).await?;
        let row = Row {
            message: MessageId(0),
            keywords: message.mark.keywords,
            modseq: 0,
            internal: message.internal.unwrap_or(now),
            saved: now,
            uid: 0,
            size: u32::try_from(blob.size).map_err(|_| BlobError::TooLarge)?,
            flags: message.mark.flags,
        };
        let inline = matches!(blob.body, Body::Inline(_));
        let encoded = summary.encode();
        let body = MessageRow { thread, blob: blob.id, size: blob.size, inline, summary: &encoded }.encode();
        let (small, stored) = match &blob.body {
            Body::Inline(bytes) => (Some(encode_small(blob.id, blob.size, bytes)), None),
            Body::Stored(_) => (None, Some(blob)),
        };
        Ok(Prepared { row, message: body, small, stored, thread, thread_row })
    }

    /// The thread of a message, and under which hash its replies must find it. A thread is named by its root's Message-ID, which
    /// References begins with, so concurrent deliveries agree without a look at each other. Only a reply without References
    /// has to be looked up.
    async fn thread_of(
        &self,
        summary: &Summary,
        blob: &Blob,
    ) -> Result<(ThreadId, Option<u64>), DeliverError> {
        let own = (!summary.message_id.is_empty()).then(|| self.hash(&summary.message_id));
        let parent = summary.in_reply_to.first();
        let thread = match (summary.references.first(), parent) {
            (Some(root), _) => self.hash(root),
            (None, Some(parent)) => {
                let hash = self.hash(parent);
                let known = self.state.core.store.get_one(self.state.keys.thread(hash)).await?;
                known.map_or(hash, |v| counter(Some(&v)))
            }
            // Without any id the bytes themselves name it.
            (None, None) => own.unwrap_or_else(|| keys::u64_at(&blob.id.0, 0)),
        };
        Ok((ThreadId(thread), own.filter(|own| *own != thread)))
    }

    /// Keyed, so that a sender cannot aim at another thread's number.
    pub(crate) fn hash(&self, message_id: &str) -> u64 {
        let mut named = Vec::with_capacity(message_id.len() + 7);
        named.extend_from_slice(b"thread ");
        named.extend_from_slice(message_id.as_bytes());
        keys::u64_at(&self.state.core.store.blobs().id(&named).0, 0)
    }

    /// One batch of new messages.
    async fn put(
        &self,
        folder: &Arc<FolderState>,
        messages: &[Prepared],
        token: Option<[u8; 16]>,
    ) -> Result<Changes, DeliverError> {
        let settle = self.start(folder, messages, None, token).await;
        self.settle(folder, settle).await
    }

    /// Puts a batch of new messages in line.
    async fn start(
        &self,
        folder: &Arc<FolderState>,
        messages: &[Prepared],
        token: Option<[u8; 16]>,
        once: Option<[u8; 16]>,
    ) -> Settle {
        let stored: Vec<&Blob> = messages.iter().filter_map(|m| m.stored.as_ref()).collect();
        let gate =
            if stored.is_empty() { None } else { Some(self.state.blob_gate.clone().read_owned().await) };
        let (mut batch, mut plan) = self.put_batch(folder, messages, token);
        if let Some(once) = once {
            self.note_delivered(&mut batch, folder.id, &once);
        }
        plan.gate = gate;
        Settle::new(self.state.commit_with(&stored, batch), plan)
    }

    async fn settle(&self, folder: &Arc<FolderState>, settle: Settle) -> Result<Changes, DeliverError> {
        match settle.await {
            Ok(changes) => Ok(changes),
            Err(CommitError::Conflict(conflict)) => {
                let id = missing_folder(&conflict).unwrap_or(folder.id);
                self.state.reload().await?;
                Err(DeliverError::NoFolder(id))
            }
            Err(e) => Err(e.into()),
        }
    }

    /// The row by which a delivery is known again. UID and message id are the first that its batch allocates.
    fn note_delivered(&self, batch: &mut Batch, folder: FolderId, token: &[u8; 16]) {
        let key = self.state.keys.delivered(token);
        batch.expect(key.clone(), Expect::Absent);
        let value = Template::new([&[1], folder.0.to_be_bytes().as_slice()].concat());
        batch.put(key, value.slot4(UID_ALLOC, 0).slot8(IDS_ALLOC, 0));
    }

    /// The answer of the first delivery under a token, if that is why this one was refused.
    async fn delivered_before(
        &self,
        token: Option<[u8; 16]>,
        e: DeliverError,
    ) -> Result<Changes, DeliverError> {
        let DeliverError::NoFolder(_) = &e else { return Err(e) };
        let Some(token) = token else { return Err(e) };
        let row = self.state.core.store.get_one(self.state.keys.delivered(&token)).await?;
        let Some(row) = row else { return Err(e) };
        let folder = FolderId(keys::u32_at(&row, 1));
        let uid_validity = self.folders().by_id(folder).map_or(0, |folder| folder.uid_validity);
        let mut changes = Changes::default();
        changes.replayed = true;
        let (uid, message) = (keys::u32_at(&row, 5), MessageId(keys::u64_at(&row, 9)));
        changes.appended.push(Appended { folder, uid_validity, uid, message });
        Ok(changes)
    }

    fn put_batch(
        &self,
        folder: &Arc<FolderState>,
        messages: &[Prepared],
        token: Option<[u8; 16]>,
    ) -> (Batch, Plan) {
        let keys = self.state.keys;
        let count = messages.len() as u32;
        let mut batch = Batch::new(keys.partition());
        batch.token = token;
        expect_folder(&mut batch, keys, folder.id);
        let uid = batch.alloc(keys.of_folder(keys::UID, folder.id), count);
        let modseq = batch.alloc(keys.of_folder(keys::MODSEQ, folder.id), 1);
        let ids = batch.alloc(keys.one(keys::MESSAGE_IDS), count);
        let mut plan = Plan::new(&self.state);
        let mut record = Record::default();
        for (message, i) in messages.iter().zip(0..) {
            batch.put(keys.new_row(folder.id, uid, i), new_row(&message.row, modseq, Some((ids, i))));
            batch.put(keys.new_message(keys::MESSAGE, ids, i), message.message.clone());
            if let Some(small) = &message.small {
                batch.put(keys.new_message(keys::SMALL, ids, i), small.clone());
            }
            if let Some(blob) = &message.stored {
                batch.add(keys.blob_refs(blob.id), 1);
            }
            if let Some(hash) = message.thread_row {
                batch.put(keys.thread(hash), message.thread.0.to_be_bytes().to_vec());
            }
            plan.bytes += i64::from(message.row.size);
            // Offsets, until the commit says from which numbers.
            record.appended.push(Row { uid: i, message: MessageId(u64::from(i)), ..message.row });
        }
        plan.messages = i64::from(count);
        batch.add(keys.one(keys::BYTES), plan.bytes);
        batch.add(keys.one(keys::MESSAGES), plan.messages);
        let log =
            LogRow { time: self.state.core.clock.now(), appended: Some((0, count)), ..LogRow::default() };
        batch.put(keys.new_log(folder.id, modseq), log.encode(Some(uid)));
        let folder = folder.clone();
        plan.effects.push(Effect {
            folder,
            modseq,
            writer: None,
            uid: Some(uid),
            message: Some(ids),
            record,
        });
        (batch, plan)
    }
}

/// Where the UIDs and the message ids stand among the allocations of a batch of new messages.
const UID_ALLOC: u16 = 0;
const IDS_ALLOC: u16 = 2;

/// The token of the `number`-th batch of an operation.
fn numbered(mut token: [u8; 16], number: u32) -> [u8; 16] {
    for (byte, n) in token.iter_mut().rev().zip(number.to_le_bytes()) {
        *byte ^= n;
    }
    token
}
