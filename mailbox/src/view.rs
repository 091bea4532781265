//! A folder's messages in memory: what FETCH of flags, STATUS and SELECT are answered from.
//!
//! A view is cold (nothing in memory), being loaded, or warm. A warm view takes changes strictly in the order of their
//! modseqs. A change that comes before its predecessor is held back; if the predecessor does not come soon (its task was
//! stopped, or another process made it), the missing ones are read from the change log.

use crate::account::{Account, Core};
use crate::error::AccountError;
use crate::flags::{Flags, Mark};
use crate::keys::{self, Keys, last_u32, last_u64};
use crate::limits::{GAP_MILLIS, LOAD_PARTS_FROM};
use crate::rows::{LogRow, counter, damaged, decode_row};
use crate::snapshot::{Record, Snapshot};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use waypost_base::{FolderId, MessageId, Timestamp};
use waypost_store::Key;

/// A message in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub message: MessageId,
    /// Bits of [`crate::Keywords`].
    pub keywords: u64,
    pub modseq: u64,
    /// INTERNALDATE
    pub internal: Timestamp,
    /// SAVEDATE: when it came into this folder.
    pub saved: Timestamp,
    pub uid: u32,
    /// Bytes of the message (RFC822.SIZE).
    pub size: u32,
    pub flags: Flags,
}

impl Row {
    pub fn mark(&self) -> Mark {
        Mark { flags: self.flags, keywords: self.keywords }
    }
}

/// What STATUS tells, all from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    pub messages: u32,
    pub unseen: u32,
    pub deleted: u32,
    /// Bytes of all messages.
    pub size: u64,
    /// The next UID will be at least this.
    pub uid_next: u32,
    pub uid_validity: u32,
    pub highest_modseq: u64,
}

impl Account {
    /// Loads the folder's view if it is cold.
    pub async fn status(&self, folder: FolderId) -> Result<Status, AccountError> {
        let state = self.state.folder_state(folder)?;
        Ok(state.warm().await?.status(state.uid_validity))
    }
}

/// A folder as this process knows it. One for each folder that was used, for as long as its account is in memory.
pub(crate) struct FolderState {
    pub(crate) id: FolderId,
    pub(crate) uid_validity: u32,
    pub(crate) keys: Keys,
    core: Arc<Core>,
    /// Held by whoever changes or removes messages; never by deliveries.
    pub(crate) writing: tokio::sync::Mutex<()>,
    /// Held by whoever loads or heals the view.
    loading: tokio::sync::Mutex<()>,
    view: Mutex<View>,
    /// Wakes the sessions that wait.
    pub(crate) changed: Notify,
    pub(crate) sessions: AtomicUsize,
    pub(crate) deleted: AtomicBool,
    used: AtomicU64,
    healing: AtomicBool,
}

#[derive(Default)]
struct View {
    phase: Phase,
    /// The writer counter's value; see [`crate::keys`].
    writer: u64,
    /// Changes that wait for the ones before them.
    held: BTreeMap<u64, Record>,
}

#[derive(Default)]
enum Phase {
    #[default]
    Cold,
    Loading,
    Warm(Arc<Snapshot>),
}

impl FolderState {
    pub(crate) fn new(core: Arc<Core>, keys: Keys, id: FolderId, uid_validity: u32) -> FolderState {
        FolderState {
            id,
            uid_validity,
            keys,
            core,
            writing: tokio::sync::Mutex::new(()),
            loading: tokio::sync::Mutex::new(()),
            view: Mutex::default(),
            changed: Notify::new(),
            sessions: AtomicUsize::new(0),
            deleted: AtomicBool::new(false),
            used: AtomicU64::new(0),
            healing: AtomicBool::new(false),
        }
    }

    fn view(&self) -> MutexGuard<'_, View> {
        // Nothing that can panic is done under the lock but arithmetic on rows; a poisoned view is still a view.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest snapshot, if the view is warm.
    pub(crate) fn current(&self) -> Option<Arc<Snapshot>> {
        match &self.view().phase {
            Phase::Warm(snapshot) => Some(snapshot.clone()),
            _ => None,
        }
    }

    /// Whether there is a newer snapshot than this one.
    pub(crate) fn is_newer(&self, seen: &Arc<Snapshot>) -> bool {
        match &self.view().phase {
            Phase::Warm(snapshot) => !Arc::ptr_eq(snapshot, seen),
            _ => false,
        }
    }

    /// Snapshot and writer counter; for those who hold `writing`.
    pub(crate) async fn for_writing(&self) -> Result<(Arc<Snapshot>, u64), AccountError> {
        loop {
            self.warm().await?;
            let view = self.view();
            if let Phase::Warm(snapshot) = &view.phase {
                return Ok((snapshot.clone(), view.writer));
            }
        }
    }

    /// The newest snapshot; loads the view if it is cold.
    pub(crate) async fn warm(&self) -> Result<Arc<Snapshot>, AccountError> {
        self.used.store(self.core.tick(), Relaxed);
        if let Some(snapshot) = self.current() {
            return Ok(snapshot);
        }
        let _one = self.loading.lock().await;
        if let Some(snapshot) = self.current() {
            return Ok(snapshot);
        }
        if self.deleted.load(Relaxed) {
            return Err(AccountError::NoFolder(self.id));
        }
        let snapshot = self.load().await?;
        self.core.view_loaded(snapshot.bytes());
        Ok(snapshot)
    }

    /// Builds the view: counters, rows, counters again, and then the changes in between from the log, which make up for the
    /// pages not being one snapshot.
    async fn load(&self) -> Result<Arc<Snapshot>, AccountError> {
        self.view().phase = Phase::Loading;
        let guard = Unload(self);
        let (from, uid_next, _) = self.counters().await?;
        let rows = self.read_rows(uid_next).await?;
        let (to, uid_next, writer) = self.counters().await?;
        let mut snapshot = Snapshot::build(rows, uid_next, from);
        for (modseq, record) in self.read_log(from, to, &snapshot).await? {
            snapshot.apply(modseq, &record);
        }
        snapshot.modseq = snapshot.modseq.max(to);
        std::mem::forget(guard);
        let mut view = self.view();
        view.writer = view.writer.max(writer);
        view.phase = Phase::Warm(Arc::new(snapshot));
        self.take_held(&mut view);
        match &view.phase {
            Phase::Warm(snapshot) => Ok(snapshot.clone()),
            _ => Err(AccountError::NoFolder(self.id)),
        }
    }

    /// All rows below `uid_next` and what came after it, in order; a large folder is read in parts at the same time.
    async fn read_rows(&self, uid_next: u32) -> Result<Vec<Row>, AccountError> {
        let all = self.keys.all_of_folder(keys::ROW, self.id);
        if uid_next < LOAD_PARTS_FROM {
            return self.read_part(all).await;
        }
        let third = uid_next / 3;
        let (one, two) = (self.keys.row(self.id, third), self.keys.row(self.id, 2 * third));
        let (first, second, last) = tokio::try_join!(
            self.read_part(all.start..one.clone()),
            self.read_part(one..two.clone()),
            self.read_part(two..all.end)
        )?;
        let mut rows = first;
        rows.reserve_exact(second.len() + last.len());
        rows.extend(second);
        rows.extend(last);
        Ok(rows)
    }

    async fn read_part(&self, range: Range<Key>) -> Result<Vec<Row>, AccountError> {
        let mut rows = Vec::new();
        let mut bad = None;
        let corrupt = self
            .core
            .store
            .each(range, |key, value| {
                match decode_row(last_u32(key), value) {
                    Some(row) => rows.push(row),
                    None => bad = Some(key.to_vec()),
                }
                true
            })
            .await?;
        for key in corrupt.iter().chain(&bad) {
            // One damaged row does not take the folder away: the others are served, this one is named.
            tracing::error!(folder = self.id.0, uid = last_u32(key), "damaged flag row is left out");
            self.core.figures.damaged.one();
        }
        Ok(rows)
    }

    /// Highest modseq, next UID, writer counter, as of one moment.
    async fn counters(&self) -> Result<(u64, u32, u64), AccountError> {
        let keys = [keys::MODSEQ, keys::UID, keys::WRITER].map(|k| self.keys.of_folder(k, self.id));
        let values = self.core.store.get(keys.to_vec()).await?;
        let number = |i: usize| counter(values.get(i).and_then(|v| v.as_deref()));
        Ok((number(0), u32::try_from(number(1)).unwrap_or(u32::MAX).saturating_add(1), number(2)))
    }

    /// The changes after `from` up to `to`, with the rows of the messages that `snapshot` lacks. A message that came and went
    /// in between has no row any more, and is as if it had never come.
    async fn read_log(
        &self,
        from: u64,
        to: u64,
        snapshot: &Snapshot,
    ) -> Result<Vec<(u64, Record)>, AccountError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let range = self.keys.log(self.id, from + 1)..self.keys.log(self.id, to.saturating_add(1));
        let mut logs = Vec::new();
        let mut bad = None;
        self.core
            .store
            .each(range, |key, value| {
                match LogRow::decode(value) {
                    Some(row) => logs.push((last_u64(key), row)),
                    None => bad = Some(damaged(key)),
                }
                true
            })
            .await?;
        if let Some(bad) = bad {
            return Err(bad);
        }
        let mut records = Vec::with_capacity(logs.len());
        for (modseq, log) in logs {
            let mut record = Record { appended: Vec::new(), flags: log.flags, vanished: log.vanished };
            if let Some((first, count)) = log.appended {
                record.appended = self.read_new(first, count, snapshot).await?;
            }
            records.push((modseq, record));
        }
        Ok(records)
    }

    async fn read_new(&self, first: u32, count: u32, snapshot: &Snapshot) -> Result<Vec<Row>, AccountError> {
        let last = snapshot.last_uid();
        let end = first.saturating_add(count);
        if end <= last.saturating_add(1) || count == 0 {
            return Ok(Vec::new());
        }
        let range = self.keys.row(self.id, first.max(last + 1))..self.keys.row(self.id, end);
        let mut rows = Vec::new();
        self.core
            .store
            .each(range, |key, value| {
                rows.extend(decode_row(last_u32(key), value));
                true
            })
            .await?;
        Ok(rows)
    }

    /// Takes a committed change over, or holds it back until those before it have come.
    pub(crate) fn apply(self: &Arc<Self>, modseq: u64, writer: Option<u64>, record: Record) {
        let mut view = self.view();
        if let Some(writer) = writer {
            view.writer = view.writer.max(writer);
        }
        match &view.phase {
            Phase::Cold => return,
            Phase::Warm(snapshot) if modseq <= snapshot.modseq => return,
            _ => {}
        }
        // What waited for this one was announced when nobody could see it yet.
        let waiting = view.held.len();
        let grown = record.appended.len() * size_of::<Row>();
        view.held.insert(modseq, record);
        self.take_held(&mut view);
        let warm = matches!(view.phase, Phase::Warm(_));
        let gap = warm && !view.held.is_empty();
        let others = waiting > view.held.len();
        drop(view);
        if warm {
            self.core.view_grew(grown);
        }
        if others {
            self.changed.notify_waiters();
        }
        if gap && !self.healing.swap(true, Relaxed) {
            self.heal_soon();
        }
    }

    /// Applies what is next in line, and forgets what is known.
    fn take_held(&self, view: &mut View) {
        let Phase::Warm(snapshot) = &mut view.phase else { return };
        while let Some(entry) = view.held.first_entry() {
            if *entry.key() > snapshot.modseq + 1 {
                return;
            }
            let (modseq, record) = entry.remove_entry();
            if modseq == snapshot.modseq + 1 {
                Arc::make_mut(snapshot).apply(modseq, &record);
            }
        }
    }

    /// Gives the missing change a moment to arrive, then reads it.
    fn heal_soon(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            self.healing.store(false, Relaxed);
            return;
        };
        let state = self.clone();
        runtime.spawn(async move {
            tokio::time::sleep(std::time::Duration::from_millis(GAP_MILLIS)).await;
            state.healing.store(false, Relaxed);
            let missing = !state.view().held.is_empty();
            if missing && let Err(e) = state.heal().await {
                tracing::warn!(folder = state.id.0, error = %e, "a view could not read the changes it lacks");
            }
        });
    }

    /// Reads what the store has and the view lacks.
    pub(crate) async fn heal(&self) -> Result<(), AccountError> {
        let _one = self.loading.lock().await;
        let Some(snapshot) = self.current() else { return Ok(()) };
        self.core.figures.heals.one();
        let (to, _, writer) = self.counters().await?;
        let records = self.read_log(snapshot.modseq, to, &snapshot).await?;
        if !self.take_read(records, to, writer) {
            // The log does not have what is missing (its row is damaged): build the view anew.
            self.load().await?;
        }
        // What came to light was announced when nobody could see it.
        self.changed.notify_waiters();
        Ok(())
    }

    /// Takes over what was read from the log; says whether the view is now as new as that was.
    fn take_read(&self, records: Vec<(u64, Record)>, to: u64, writer: u64) -> bool {
        let mut view = self.view();
        view.writer = view.writer.max(writer);
        for (modseq, record) in records {
            view.held.entry(modseq).or_insert(record);
        }
        self.take_held(&mut view);
        match &view.phase {
            Phase::Warm(now) => now.modseq >= to,
            _ => true,
        }
    }

    /// Waits until the view has this change: for writers, who hold `writing`, and for whoever acknowledges it, because a
    /// client that has its OK may ask for the message on any connection. What is before it is on its way, so that this
    /// is a matter of microseconds; what is late is read from the log.
    pub(crate) async fn catch_up(&self, modseq: u64) -> Result<(), AccountError> {
        let there = || self.current().is_none_or(|snapshot| snapshot.modseq >= modseq);
        while !there() {
            let told = self.changed.notified();
            tokio::pin!(told);
            // Before the second look at the view, so that nothing is missed in between.
            told.as_mut().enable();
            if there() {
                break;
            }
            let patience = std::time::Duration::from_millis(GAP_MILLIS);
            if tokio::time::timeout(patience, told).await.is_err() {
                return self.heal().await;
            }
        }
        Ok(())
    }

    /// Marks the folder as gone and wakes everybody.
    pub(crate) fn gone(&self) {
        self.deleted.store(true, Relaxed);
        self.changed.notify_waiters();
    }

    /// When it was last used, and the bytes it holds; None while it is cold or sessions look at it.
    pub(crate) fn evictable(&self) -> Option<(u64, usize)> {
        if self.sessions.load(Relaxed) > 0 {
            return None;
        }
        match &self.view().phase {
            Phase::Warm(snapshot) => Some((self.used.load(Relaxed), snapshot.bytes())),
            _ => None,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match &self.view().phase {
            Phase::Warm(snapshot) => snapshot.bytes(),
            _ => 0,
        }
    }

    /// Drops the view unless a session has come.
    pub(crate) fn evict(&self) {
        let mut view = self.view();
        if self.sessions.load(Relaxed) == 0 && matches!(view.phase, Phase::Warm(_)) {
            view.phase = Phase::Cold;
            view.held.clear();
        }
    }

    /// A session's first look: counts it before it takes the snapshot, so that the view is not thrown out in between.
    pub(crate) async fn enter(self: &Arc<Self>) -> Result<(Presence, Arc<Snapshot>), AccountError> {
        self.sessions.fetch_add(1, Relaxed);
        let presence = Presence(self.clone());
        let snapshot = self.warm().await?;
        Ok((presence, snapshot))
    }
}

/// A session that looks at the folder.
pub(crate) struct Presence(pub(crate) Arc<FolderState>);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Relaxed);
    }
}

/// Makes a view cold again whose loading was given up.
struct Unload<'a>(&'a FolderState);

impl Drop for Unload<'_> {
    fn drop(&mut self) {
        let mut view = self.0.view();
        view.phase = Phase::Cold;
        view.held.clear();
    }
}

impl std::fmt::Debug for FolderState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FolderState({})", self.id)
    }
}
