//! One account's outbox: a task for as long as something of it is shown or about to be.

use super::{item, rows};
use crate::hub::Hub;
use crate::limits::{
    OUTBOX_AFTER_MILLIS, OUTBOX_BYTES, OUTBOX_ITEMS, OUTBOX_KEEP_MILLIS, OUTBOX_LOOK_MILLIS, OUTBOX_WHOLE,
    REPORT_HEADER,
};
use crate::report::header;
use crate::report::paper::Original;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use waypost_base::{AccountId, FolderId, Timestamp};
use waypost_mailbox::{
    Account, AccountError, DeliverError, Delivery, Delta, Flags, FolderError, NewMessage, Row, Session,
    UidSet,
};
use waypost_queue::{ItemState, QueueError};
use waypost_store::{Blob, BlobError, CommitError, ReadError};
use waypost_tracking::{Event, Message, Recipient, Source};

/// Items looked at in one go, so that what the owner does is noticed in between.
const AT_ONCE: usize = 32;
/// Milliseconds between two counts of what is not shown.
const COUNT_MILLIS: u64 = 60_000;
/// Milliseconds after which something is tried again that the store refused.
const REFUSED_MILLIS: u64 = 30_000;
/// Milliseconds after the next attempt when its outcome is looked at.
const OUTCOME_MILLIS: i64 = 5_000;

/// Why the outbox could not be kept. It is tried again.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutboxError {
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Deliver(#[from] DeliverError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// An item that is shown, or will be if it is still there when it is looked at.
struct Entry {
    uid: Option<u32>,
    /// Of what it says, with and without the times.
    says: (u64, u64),
    /// When it was shown last; before that, when it is shown even if nothing is in its way.
    shown: Instant,
    look: Instant,
    /// Octets attached.
    attached: u64,
    /// Its row says that it is shown.
    marked: bool,
    /// Its owner has deleted it.
    recalled: bool,
}

impl Entry {
    fn new(look: Instant) -> Entry {
        Entry { uid: None, says: (0, 0), shown: look, look, attached: 0, marked: false, recalled: false }
    }
}

pub(super) struct Outbox {
    hub: Arc<Hub>,
    account: Account,
    /// Held while something is written.
    writers: Arc<Semaphore>,
    /// Open as long as something is in the folder.
    session: Option<Session>,
    entries: BTreeMap<u64, Entry>,
    /// UIDs that this task has taken away itself.
    taken: BTreeSet<u32>,
    /// The note that there are more: its UID and the number that it says.
    note: Option<(u32, u64)>,
    more: u64,
    /// When the account's items are counted again.
    count: Instant,
}

fn after(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}

impl Outbox {
    /// Finds what an earlier run has shown, drops what is not true any more, and recalls what the owner deleted meanwhile.
    pub(super) async fn open(
        hub: Arc<Hub>,
        id: AccountId,
        writers: Arc<Semaphore>,
    ) -> Result<Outbox, OutboxError> {
        let account = hub.mailbox(id).await?;
        let now = Instant::now();
        let mut outbox = Outbox {
            hub,
            account,
            writers,
            session: None,
            entries: BTreeMap::new(),
            taken: BTreeSet::new(),
            note: None,
            more: 0,
            count: now,
        };
        let marked = rows::of(outbox.hub.mailboxes.store(), id).await?;
        let mut stale: BTreeSet<u32> = BTreeSet::new();
        for (item, says, uid, deleted) in outbox.found().await? {
            if deleted {
                // Its row stays, without a copy.
                stale.insert(uid);
                continue;
            }
            if item == 0 {
                stale.extend(outbox.note.replace((uid, u64::MAX)).map(|(uid, _)| uid));
                continue;
            }
            let entry = outbox.entries.entry(item).or_insert_with(|| Entry::new(now));
            entry.says = says;
            // Of two copies the later one is newer: a crash came between putting it there and taking the other away.
            stale.extend(entry.uid.replace(uid));
        }
        outbox.discard(&stale).await?;
        for item in marked {
            let entry = outbox.entries.entry(item).or_insert_with(|| Entry::new(now));
            (entry.marked, entry.recalled) = (true, entry.uid.is_none());
        }
        Ok(outbox)
    }

    /// These are under way, the oldest of `all`; what still is there is shown `at` that time, or earlier if it is held up.
    pub(super) fn take_up(&mut self, items: &[u64], all: u64, at: Instant) {
        for item in items {
            if self.entries.len() < OUTBOX_ITEMS || self.entries.contains_key(item) {
                let entry = self.entries.entry(*item).or_insert_with(|| Entry::new(at));
                entry.look = Instant::now();
            }
        }
        self.more = all.saturating_sub(u64::try_from(self.entries.len()).unwrap_or(u64::MAX));
    }

    /// Takes up as much as there is room for, the oldest first.
    fn fill(&mut self, look: Instant) {
        let all = self.hub.queue.items_of(self.account.id());
        for item in &all {
            if self.entries.len() >= OUTBOX_ITEMS {
                break;
            }
            self.entries.entry(*item).or_insert_with(|| Entry::new(look));
        }
        let known = all.iter().filter(|item| self.entries.contains_key(item)).count();
        self.more = u64::try_from(all.len() - known).unwrap_or(u64::MAX);
    }

    /// The items in the folder, what they say, their UIDs in ascending order, and whether they have \Deleted; opens the session if the folder is there.
    async fn found(&mut self) -> Result<Vec<(u64, (u64, u64), u32, bool)>, OutboxError> {
        let folder = self.account.folders().with_role(waypost_mailbox::Role::Outbox).map(|folder| folder.id);
        let Some(folder) = folder else { return Ok(Vec::new()) };
        let session = self.account.select(folder).await?;
        let all: Vec<Row> = session.rows(1, session.len()).map(|(_, row)| row).collect();
        let ids: Vec<_> = all.iter().map(|row| row.message).collect();
        let mut found = Vec::new();
        for (row, stored) in all.iter().zip(self.account.summaries(&ids).await) {
            let item = stored.ok().and_then(|stored| item::item_of(stored.summary().ok()?.message_id));
            let deleted = row.flags.has(Flags::DELETED);
            found.extend(item.map(|(item, says)| (item, says, row.uid, deleted)));
        }
        self.session = Some(session);
        Ok(found)
    }

    /// Keeps the outbox until there is nothing in it. `news` are items of which something has changed.
    pub(super) async fn keep(&mut self, news: &mut mpsc::UnboundedReceiver<u64>) -> Result<(), OutboxError> {
        loop {
            self.owner_did().await?;
            self.look().await?;
            self.count().await?;
            if self.entries.is_empty() && self.note.is_none() && self.more == 0 {
                return Ok(());
            }
            let wake = self.entries.values().map(|entry| entry.look).min();
            let counted = (self.more > 0 || self.note.is_some()).then_some(self.count);
            let wake = wake.into_iter().chain(counted).min().unwrap_or_else(|| after(OUTBOX_LOOK_MILLIS));
            tokio::select! {
                item = news.recv() => {
                    let Some(item) = item else { return Ok(()) };
                    self.changed(item);
                    while let Ok(item) = news.try_recv() {
                        self.changed(item);
                    }
                }
                () = changes(self.session.as_ref()) => {}
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// Something of this item has changed: it is looked at now, or, if it is new, when it has waited a while. 0: something
    /// of any.
    fn changed(&mut self, item: u64) {
        if item == 0 {
            return self.fill(after(OUTBOX_AFTER_MILLIS));
        }
        let full = self.entries.len() >= OUTBOX_ITEMS;
        match self.entries.get_mut(&item) {
            Some(entry) => entry.look = Instant::now(),
            None if full => self.more = self.more.max(1),
            None => {
                self.entries.insert(item, Entry::new(after(OUTBOX_AFTER_MILLIS)));
            }
        }
    }

    /// Recalls what the owner has expunged, moved away, or marked as deleted.
    async fn owner_did(&mut self) -> Result<(), OutboxError> {
        let Some(session) = &mut self.session else { return Ok(()) };
        if session.is_deleted() {
            // The folder itself: nothing is recalled by that; it is made anew.
            self.session = None;
            self.note = None;
            self.taken.clear();
            let marked = self.entries.iter_mut().filter(|(_, entry)| entry.marked && !entry.recalled);
            let mut items = Vec::new();
            for (item, entry) in marked {
                (entry.uid, entry.marked, entry.look) = (None, false, after(OUTBOX_AFTER_MILLIS));
                items.push(*item);
            }
            return Ok(rows::gone(self.hub.mailboxes.store(), self.account.id(), &items).await?);
        }
        let mut gone = BTreeSet::new();
        let mut marked = BTreeSet::new();
        for delta in session.poll_changes(true) {
            match delta {
                Delta::Expunged { uid, .. } if self.taken.remove(&uid) => {}
                Delta::Expunged { uid, .. } => {
                    gone.insert(uid);
                }
                Delta::Flags { row, .. } if row.flags.has(Flags::DELETED) => {
                    marked.insert(row.uid);
                }
                Delta::Flags { .. } | Delta::Exists(_) => {}
            }
        }
        if self.note.is_some_and(|(uid, _)| gone.contains(&uid)) {
            self.note = None;
        }
        let deleted: Vec<u64> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.uid.is_some_and(|uid| gone.contains(&uid) || marked.contains(&uid)))
            .map(|(item, _)| *item)
            .collect();
        for item in deleted {
            let uid = self.entries.get_mut(&item).and_then(|entry| {
                entry.recalled = true;
                entry.look = Instant::now();
                entry.uid.take()
            });
            self.recall(item).await?;
            self.discard(&uid.into_iter().filter(|uid| marked.contains(uid)).collect()).await?;
        }
        Ok(())
    }

    /// Takes back what has not left, if it is the account's own.
    async fn recall(&mut self, item: u64) -> Result<(), OutboxError> {
        let Some(state) = self.hub.queue.story(item).await? else { return Ok(()) };
        if state.envelope.owner != Some(self.account.id()) {
            return Ok(());
        }
        let done = self.hub.queue.recall(item).await?;
        tracing::info!(
            item,
            recalled = done.recalled,
            in_flight = done.in_flight,
            "taken back by its sender"
        );
        self.track_recall(&state);
        Ok(())
    }

    fn track_recall(&self, state: &ItemState) {
        let Some(sink) = &self.hub.tracking else { return };
        let envelope = &state.envelope;
        let from = envelope.from.as_ref().map(ToString::to_string).unwrap_or_default();
        let message = Message {
            item: state.id,
            message_id: &envelope.message_id,
            subject: &envelope.subject,
            sender: &envelope.headers_from,
            return_path: &from,
            size: state.size,
            originating: true,
            client_ip: envelope.client.ip,
        };
        let open =
            |target: &&waypost_queue::TargetState| !matches!(target.state, waypost_queue::State::Settled(..));
        let names: Vec<String> = state.targets.iter().filter(open).map(|t| t.target.to.to_string()).collect();
        let recipients: Vec<Recipient<'_>> =
            names.iter().map(|name| Recipient::new(name, "taken back by the sender")).collect();
        let event = Event::fail(self.hub.clock.now(), &message, Source::StoreDriver, &recipients);
        sink.track(&event.context("Recalled from the outbox"));
    }

    /// Looks at the items whose time it is.
    async fn look(&mut self) -> Result<(), OutboxError> {
        let now = Instant::now();
        let due: Vec<u64> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.look <= now)
            .map(|(item, _)| *item)
            .take(AT_ONCE)
            .collect();
        for item in due {
            if let Err(error) = self.look_at(item).await {
                tracing::warn!(account = %self.account.id(), item, %error, "an outbox item could not be kept");
                if let Some(entry) = self.entries.get_mut(&item) {
                    entry.look = after(REFUSED_MILLIS);
                }
            }
        }
        Ok(())
    }

    async fn look_at(&mut self, item: u64) -> Result<(), OutboxError> {
        if !self.hub.queue.has(item) {
            return self.drop_item(item).await;
        }
        let state = self.hub.queue.story(item).await?;
        let id = self.account.id();
        let state = state.filter(|state| state.envelope.owner == Some(id) && item::waits(state));
        let Some(state) = state else { return self.drop_item(item).await };
        let Some(entry) = self.entries.get_mut(&item) else { return Ok(()) };
        entry.look = when_next(&state, self.hub.clock.now());
        if entry.recalled {
            // Deleted while nobody watched, or being sent when it was recalled.
            self.recall(item).await?;
            return Ok(());
        }
        let says = item::digest(&state);
        if entry.uid.is_none() && !item::is_held_up(&state) && Instant::now() < entry.shown {
            entry.look = entry.shown;
            return Ok(());
        }
        if entry.uid.is_some() {
            if says == entry.says {
                return Ok(());
            }
            // What is large is not written again for a new time alone; and nothing is while it is being tried.
            let slow = says.1 == entry.says.1 || !item::is_held_up(&state);
            let keep = OUTBOX_KEEP_MILLIS * if slow { 1 + entry.attached / (32 * 1024) } else { 1 };
            let free = entry.shown + Duration::from_millis(keep);
            if Instant::now() < free {
                entry.look = entry.look.max(free).min(free + Duration::from_millis(1));
                return Ok(());
            }
        }
        self.write(&state, says).await
    }

    /// Puts the item into the folder, and takes its earlier copy away.
    async fn write(&mut self, state: &ItemState, says: (u64, u64)) -> Result<(), OutboxError> {
        let writers = self.writers.clone();
        // Never closed, so this cannot fail.
        let _one = writers.acquire().await;
        let folder = self.account.outbox().await?;
        let (bytes, attached) = match self.message(state, says).await {
            // It has left meanwhile.
            Err(OutboxError::Queue(QueueError::NoMessage(_))) => return self.drop_item(state.id).await,
            answer => answer?,
        };
        let uid = self.append(folder, &bytes).await?;
        let store = self.hub.mailboxes.store().clone();
        let Some(entry) = self.entries.get_mut(&state.id) else { return Ok(()) };
        (entry.says, entry.shown, entry.attached) = (says, Instant::now(), attached);
        let old = entry.uid.replace(uid);
        if !entry.marked {
            entry.marked = true;
            rows::shown(&store, self.account.id(), state.id).await?;
        }
        let Some(old) = old else { return Ok(()) };
        if !self.discard(&BTreeSet::from([old])).await? {
            // The owner was faster, and has deleted the copy that is gone now.
            if let Some(entry) = self.entries.get_mut(&state.id) {
                entry.recalled = true;
                entry.uid = None;
            }
            self.recall(state.id).await?;
            self.discard(&BTreeSet::from([uid])).await?;
        }
        Ok(())
    }

    async fn append(&mut self, folder: FolderId, bytes: &[u8]) -> Result<u32, OutboxError> {
        let mut writer = self.hub.mailboxes.writer();
        writer.write(bytes).await?;
        let mut message = NewMessage::new(writer.finish().await?);
        message.mark = self.account.mark(Flags::SEEN, &["$SubmitPending"]).await?;
        let delivery = Delivery { folder, message, token: None, ignore_quota: true };
        let changes = self.account.deliver(delivery).await?;
        let uid = changes.appended().first().map_or(0, |appended| appended.uid);
        changes.announce();
        if self.session.as_ref().is_none_or(|session| session.folder() != folder) {
            self.session = Some(self.account.select(folder).await?);
        }
        Ok(uid)
    }

    /// The item's bytes, and how much of them is the message itself.
    async fn message(&self, state: &ItemState, says: (u64, u64)) -> Result<(Vec<u8>, u64), OutboxError> {
        let (_, blob) = self.hub.queue.export(state.id).await?;
        let others: u64 =
            self.entries.iter().filter(|(id, _)| **id != state.id).map(|(_, e)| e.attached).sum();
        let whole = blob.size <= OUTBOX_WHOLE && others.saturating_add(blob.size) <= OUTBOX_BYTES;
        let bytes = self.bytes(&blob, if whole { blob.size } else { blob.size.min(REPORT_HEADER) }).await?;
        let head = header(&bytes).to_vec();
        let original = if whole { Original::Message(bytes) } else { Original::Header(head.clone()) };
        let attached = if whole { blob.size } else { 0 };
        let host = &self.hub.settings().host;
        Ok((item::compose(host, state, says, self.hub.clock.now(), &head, &original), attached))
    }

    async fn bytes(&self, blob: &Blob, end: u64) -> Result<Vec<u8>, OutboxError> {
        Ok(self.hub.mailboxes.store().blobs().read(blob, 0..end).await?.to_vec())
    }

    /// Nothing of the item waits any more.
    async fn drop_item(&mut self, item: u64) -> Result<(), OutboxError> {
        let Some(entry) = self.entries.remove(&item) else { return Ok(()) };
        if entry.marked {
            rows::gone(self.hub.mailboxes.store(), self.account.id(), &[item]).await?;
        }
        self.discard(&entry.uid.into_iter().collect()).await?;
        Ok(())
    }

    /// Takes copies away; says whether all of them were there.
    async fn discard(&mut self, uids: &BTreeSet<u32>) -> Result<bool, OutboxError> {
        let Some(folder) = self.session.as_ref().map(Session::folder).filter(|_| !uids.is_empty()) else {
            return Ok(true);
        };
        self.taken.extend(uids);
        let set = UidSet::from_ranges(uids.iter().map(|uid| (*uid, *uid)));
        let done = match self.account.discard(folder, &set).await {
            Ok(done) => done,
            // The folder was deleted with all that was in it.
            Err(AccountError::NoFolder(_)) => return Ok(true),
            Err(e) => {
                self.taken.retain(|uid| !uids.contains(uid));
                return Err(e.into());
            }
        };
        let all = done.uids.len() == set.len();
        if !all {
            self.taken.retain(|uid| !uids.contains(uid) || done.uids.contains(*uid));
        }
        done.changes.announce();
        Ok(all)
    }

    /// Takes up what there was no room for, and keeps the note that tells how many more there are.
    async fn count(&mut self) -> Result<(), OutboxError> {
        if self.more == 0 && self.note.is_none() || Instant::now() < self.count {
            return Ok(());
        }
        self.count = after(COUNT_MILLIS);
        self.fill(Instant::now());
        if self.note.map_or(0, |(_, said)| said) == self.more {
            return Ok(());
        }
        let old: BTreeSet<u32> = self.note.take().map(|(uid, _)| uid).into_iter().collect();
        if self.more > 0 {
            let to = self.hub.directory.snapshot().account(self.account.id()).map(|a| a.primary.to_string());
            let settings = self.hub.settings();
            let bytes =
                item::compose_more(&settings.host, &to.unwrap_or_default(), self.more, self.hub.clock.now());
            let folder = self.account.outbox().await?;
            self.note = Some((self.append(folder, &bytes).await?, self.more));
        }
        self.discard(&old).await?;
        Ok(())
    }
}

/// When an item is looked at again without anybody saying anything.
fn when_next(state: &ItemState, now: Timestamp) -> Instant {
    let usual = i64::try_from(OUTBOX_LOOK_MILLIS).unwrap_or(i64::MAX);
    let wait = match item::next(state) {
        Some(next) => next.since(now).max(0).saturating_add(OUTCOME_MILLIS).min(usual),
        None if item::is_held_up(state) => usual,
        // Being tried, or in line.
        None => i64::try_from(OUTBOX_AFTER_MILLIS).unwrap_or(i64::MAX),
    };
    after(u64::try_from(wait).unwrap_or(OUTBOX_LOOK_MILLIS))
}

async fn changes(session: Option<&Session>) {
    match session {
        Some(session) => session.wait_changes().await,
        None => std::future::pending().await,
    }
}
