//! The room's handle, and accounts.

use crate::error::{AccountError, Fault};
use crate::flags::Keywords;
use crate::folders::{FolderTree, Role};
use crate::keys::{self, Keys, u32_at};
use crate::limits::{Limits, SEARCH_WORKERS};
use crate::moving::{Passage, Stage};
use crate::quota::{Quota, Usage};
use crate::rows::{AccountRow, FolderRow, counter, damaged, decode_names, encode_names};
use crate::statistics::Figures;
use crate::view::FolderState;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use tokio::sync::Notify;
use waypost_base::{AccountId, Clock, FolderId, MessageId, Timestamp};
use waypost_store::{Batch, Blob, CommitError, Expect, Pending, Store};

/// All mailboxes of a store. Cheap to clone.
#[derive(Clone)]
pub struct Mailboxes {
    pub(crate) room: Arc<Room>,
}

pub(crate) struct Room {
    pub(crate) core: Arc<Core>,
    accounts: Mutex<HashMap<AccountId, Arc<AccountState>>>,
}

/// What all accounts and folders share.
pub(crate) struct Core {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    pub(crate) figures: Figures,
    pub(crate) searching: tokio::sync::Semaphore,
    /// Orders uses of views, for throwing out the one that was used longest ago.
    ticks: AtomicU64,
    /// Every folder state that there is, and a few that were.
    folders: Mutex<Vec<Weak<FolderState>>>,
    /// Bytes of views at the last count, and of those loaded since.
    view_bytes: AtomicUsize,
    /// See [`Mailboxes::keep_nothing_of`].
    transient: Mutex<BTreeSet<AccountId>>,
}

/// What an account begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountOptions {
    pub quota: Quota,
}

/// The folders that every account begins with.
const SPECIAL: [(&str, Role); 6] = [
    ("INBOX", Role::Inbox),
    ("Drafts", Role::Drafts),
    ("Sent", Role::Sent),
    ("Trash", Role::Trash),
    ("Junk", Role::Junk),
    ("Archive", Role::Archive),
];

/// The keywords that clients agree on (RFC 9051 §2.3.2), given their bits at once.
const KEYWORDS: [&str; 7] =
    ["$Forwarded", "$MDNSent", "$Junk", "$NotJunk", "$Phishing", "$Important", "$SubmitPending"];

/// Locks without regard to poisoning: what we guard so is whole after every step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mailboxes {
    /// From now on nothing that is expunged in these accounts can be restored: they are nobody's, and their messages are
    /// made and removed all day long.
    pub fn keep_nothing_of(&self, accounts: BTreeSet<AccountId>) {
        *lock(&self.room.core.transient) = accounts;
    }

    /// Touches nothing: accounts are read when they are asked for.
    pub fn open(store: Store, clock: Clock, limits: Limits) -> Mailboxes {
        let core = Core {
            store,
            clock,
            limits,
            figures: Figures::default(),
            searching: tokio::sync::Semaphore::new(SEARCH_WORKERS),
            ticks: AtomicU64::new(1),
            folders: Mutex::default(),
            view_bytes: AtomicUsize::new(0),
            transient: Mutex::default(),
        };
        Mailboxes { room: Arc::new(Room { core: Arc::new(core), accounts: Mutex::default() }) }
    }

    pub fn store(&self) -> &Store {
        &self.room.core.store
    }

    pub fn clock(&self) -> &Clock {
        &self.room.core.clock
    }

    pub fn limits(&self) -> &Limits {
        &self.room.core.limits
    }

    /// Makes the account with its special-use folders: INBOX, Drafts, Sent, Trash, Junk, Archive.
    pub async fn create_account(
        &self,
        id: AccountId,
        options: AccountOptions,
    ) -> Result<Account, AccountError> {
        let keys = Keys::new(id);
        let now = self.clock().now();
        let first = u32::try_from(now.as_seconds()).unwrap_or(1).max(1);
        let row = AccountRow {
            version: 1,
            removed: false,
            created: now,
            uid_validity: first + SPECIAL.len() as u32 - 1,
            quota: options.quota,
        };
        let mut batch = Batch::new(keys.partition());
        batch.expect(keys.one(keys::ACCOUNT), Expect::Absent);
        batch.expect(keys.one(keys::MOVING), Expect::Absent);
        batch.put(keys.one(keys::ACCOUNT), row.encode());
        batch.put(keys.one(keys::FOLDER_IDS), (SPECIAL.len() as u64).to_be_bytes().to_vec());
        let names: Vec<String> = KEYWORDS.iter().map(|k| (*k).to_owned()).collect();
        batch.put(keys.one(keys::KEYWORDS), encode_names(1, &names));
        for (i, (name, role)) in SPECIAL.into_iter().enumerate() {
            let folder = FolderId(i as u32 + 1);
            let row = FolderRow {
                version: 1,
                parent: FolderId(0),
                uid_validity: first + i as u32,
                role: Some(role),
                subscribed: true,
                selectable: true,
                name: name.to_owned(),
                access: Vec::new(),
            };
            put_new_folder(&mut batch, keys, folder, &row);
        }
        match self.store().commit(batch).await {
            Ok(_) => self.account(id).await,
            Err(CommitError::Conflict(keys)) if keys.iter().any(|k| k.last() == Some(&keys::MOVING)) => {
                Err(AccountError::Elsewhere(id))
            }
            Err(CommitError::Conflict(_)) => Err(AccountError::Exists(id)),
            Err(e) => Err(e.into()),
        }
    }

    /// Marks the account as removed: it is gone at once for everybody, its rows go with [`Mailboxes::sweep`].
    pub async fn remove_account(&self, id: AccountId) -> Result<(), AccountError> {
        let account = self.account(id).await?;
        account.state.change_row(|row| row.removed = true).await?;
        lock(&self.room.accounts).remove(&id);
        account.state.gone();
        Ok(())
    }

    /// The account; from memory when it was used before.
    pub async fn account(&self, id: AccountId) -> Result<Account, AccountError> {
        if let Some(state) = lock(&self.room.accounts).get(&id) {
            return Ok(Account { state: state.clone() });
        }
        let state = AccountState::load(self.room.core.clone(), id).await?;
        let mut accounts = lock(&self.room.accounts);
        if accounts.len() >= self.limits().accounts {
            accounts.retain(|_, a| Arc::strong_count(a) > 1);
        }
        // Whoever came first has the state that others may have changed already.
        let state = accounts.entry(id).or_insert_with(|| Arc::new(state)).clone();
        Ok(Account { state })
    }

    /// Forgets an account whoever uses it, and ends that.
    pub(crate) fn forget(&self, id: AccountId) {
        let state = lock(&self.room.accounts).remove(&id);
        if let Some(state) = state {
            state.left.store(true, Relaxed);
            state.gone();
        }
    }

    /// Forgets an account that nobody uses.
    pub(crate) fn unload(&self, account: Account) {
        let mut accounts = lock(&self.room.accounts);
        let id = account.id();
        drop(account);
        if accounts.get(&id).is_some_and(|a| Arc::strong_count(a) == 1) {
            accounts.remove(&id);
        }
    }

    /// The account, made without a quota if it has never been used: for those whom the directory has just let in.
    pub async fn account_or_new(&self, id: AccountId) -> Result<Account, AccountError> {
        match self.account(id).await {
            Err(AccountError::NoAccount(_)) => {}
            answer => return answer,
        }
        match self.create_account(id, AccountOptions::default()).await {
            Err(AccountError::Exists(_)) => self.account(id).await,
            answer => answer,
        }
    }

    /// The account if it is in memory.
    pub(crate) fn loaded(&self, id: AccountId) -> Option<Account> {
        lock(&self.room.accounts).get(&id).map(|state| Account { state: state.clone() })
    }

    pub(crate) fn loaded_count(&self) -> usize {
        lock(&self.room.accounts).len()
    }

    /// All accounts that are not removed, ascending.
    pub async fn accounts(&self) -> Result<Vec<AccountId>, AccountError> {
        Ok(self.account_rows().await?.into_iter().filter(|(_, row)| !row.removed).map(|(id, _)| id).collect())
    }

    /// All accounts, removed ones too: one seek each.
    pub(crate) async fn account_rows(&self) -> Result<Vec<(AccountId, AccountRow)>, AccountError> {
        let mut found = Vec::new();
        let mut next = Some(0u32);
        while let Some(from) = next {
            let start = Keys::new(AccountId(from)).one(keys::ACCOUNT);
            let page = self.store().scan_page(start..vec![keys::ACCOUNTS + 1], false, 1, 4096).await?;
            let Some((key, value)) = page.row(0) else { break };
            let id = u32_at(key, 1);
            if key.get(keys::PREFIX) == Some(&keys::ACCOUNT) && key.len() == keys::PREFIX + 1 {
                let row = AccountRow::decode(value).ok_or_else(|| damaged(key))?;
                found.push((AccountId(id), row));
            }
            next = id.checked_add(1);
        }
        Ok(found)
    }

    /// Accounts that have left, or are arriving: they have no account row here. One seek for each account.
    pub(crate) async fn passages(&self) -> Result<Vec<(AccountId, Passage)>, AccountError> {
        let mut found = Vec::new();
        let mut next = Some(0u32);
        while let Some(from) = next {
            let start = Keys::new(AccountId(from)).one(keys::ACCOUNT);
            let page = self.store().scan_page(start..vec![keys::ACCOUNTS + 1], false, 1, 4096).await?;
            let Some((key, value)) = page.row(0) else { break };
            let id = u32_at(key, 1);
            if key.get(keys::PREFIX) == Some(&keys::MOVING) && key.len() == keys::PREFIX + 1 {
                let passage = Passage::decode(value).ok_or_else(|| damaged(key))?;
                found.push((AccountId(id), passage));
            }
            next = id.checked_add(1);
        }
        Ok(found)
    }
}

impl std::fmt::Debug for Mailboxes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mailboxes")
    }
}

/// The rows of a new folder: its modseq begins at 1, since 0 is no modseq (RFC 7162 §3.1).
pub(crate) fn put_new_folder(batch: &mut Batch, keys: Keys, id: FolderId, row: &FolderRow) {
    batch.put(keys.of_folder(keys::FOLDER, id), row.encode());
    batch.put(keys.of_folder(keys::MODSEQ, id), 1u64.to_be_bytes().to_vec());
}

impl Core {
    /// Whether what is expunged in an account goes for good.
    pub(crate) fn is_transient(&self, account: AccountId) -> bool {
        lock(&self.transient).contains(&account)
    }

    pub(crate) fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Relaxed)
    }

    /// Notes the memory of a view, and throws the views out that were used longest ago when there is too much.
    pub(crate) fn view_loaded(&self, bytes: usize) {
        self.figures.views_loaded.one();
        let total = self.view_bytes.fetch_add(bytes, Relaxed) + bytes;
        if total <= self.limits.view_bytes {
            return;
        }
        let mut folders = lock(&self.folders);
        folders.retain(|f| f.strong_count() > 0);
        let all: Vec<Arc<FolderState>> = folders.iter().filter_map(Weak::upgrade).collect();
        drop(folders);
        let mut held: usize = all.iter().map(|f| f.bytes()).sum();
        let mut idle: Vec<(u64, usize, &Arc<FolderState>)> =
            all.iter().filter_map(|f| f.evictable().map(|(used, bytes)| (used, bytes, f))).collect();
        idle.sort_unstable_by_key(|(used, ..)| *used);
        // The newest is the one that was just asked for.
        idle.pop();
        let enough = self.limits.view_bytes / 8 * 7;
        for (_, bytes, folder) in idle {
            if held <= enough {
                break;
            }
            folder.evict();
            self.figures.views_evicted.one();
            held = held.saturating_sub(bytes);
        }
        self.view_bytes.store(held, Relaxed);
    }

    /// Counted when the next view is loaded.
    pub(crate) fn view_grew(&self, bytes: usize) {
        self.view_bytes.fetch_add(bytes, Relaxed);
    }

    /// Bytes of all views now.
    pub(crate) fn view_bytes(&self) -> usize {
        lock(&self.folders).iter().filter_map(Weak::upgrade).map(|f| f.bytes()).sum()
    }

    pub(crate) fn sessions(&self) -> usize {
        lock(&self.folders).iter().filter_map(Weak::upgrade).map(|f| f.sessions.load(Relaxed)).sum()
    }
}

/// An account. Cheap to clone.
#[derive(Clone)]
pub struct Account {
    pub(crate) state: Arc<AccountState>,
}

pub(crate) struct AccountState {
    pub(crate) id: AccountId,
    pub(crate) keys: Keys,
    pub(crate) core: Arc<Core>,
    pub(crate) row: Mutex<AccountRow>,
    tree: RwLock<Arc<FolderTree>>,
    pub(crate) tree_changed: Notify,
    /// Held by whoever changes the account's row or the tree.
    pub(crate) changing: tokio::sync::Mutex<()>,
    keywords: RwLock<(u64, Arc<Keywords>)>,
    bytes: AtomicI64,
    messages: AtomicI64,
    usage_stale: AtomicBool,
    /// Commits whose answer is not yet carried into memory, and all that ever began.
    under_way: AtomicU64,
    begun: AtomicU64,
    folders: RwLock<BTreeMap<FolderId, Arc<FolderState>>>,
    /// Read by deliveries of stored bytes, written by their release: a release must not fall between a new holder's row and
    /// its references.
    pub(crate) blob_gate: Arc<tokio::sync::RwLock<()>>,
    /// Damaged messages, by the kind of row whose reading found it.
    pub(crate) quarantine: Mutex<BTreeMap<(MessageId, u8), Fault>>,
    /// Last sign-in that was written; 0 when unknown.
    pub(crate) sign_in: AtomicI64,
    removed: AtomicBool,
    /// It was removed from here because it went to another server.
    left: AtomicBool,
    /// Nothing is written: the account is about to leave. Read by whoever puts something in line, written by the move.
    frozen: RwLock<bool>,
}

impl AccountState {
    async fn load(core: Arc<Core>, id: AccountId) -> Result<AccountState, AccountError> {
        let keys = Keys::new(id);
        let kinds = [keys::ACCOUNT, keys::BYTES, keys::MESSAGES, keys::KEYWORDS, keys::SIGN_IN, keys::MOVING];
        let values = core.store.get(kinds.map(|k| keys.one(k)).to_vec()).await?;
        let value = |i: usize| values.get(i).and_then(|v| v.as_deref());
        let away = value(5)
            .map(|v| Passage::decode(v).ok_or_else(|| damaged(&keys.one(keys::MOVING))))
            .transpose()?;
        let row = match (value(0), &away) {
            (Some(row), None | Some(Passage { state: Stage::Sealed, .. })) => row,
            (_, Some(_)) => return Err(AccountError::Elsewhere(id)),
            (None, None) => return Err(AccountError::NoAccount(id)),
        };
        let row = AccountRow::decode(row).ok_or_else(|| damaged(&keys.one(keys::ACCOUNT)))?;
        if row.removed {
            return Err(AccountError::NoAccount(id));
        }
        let (version, names) = match value(3) {
            Some(v) => decode_names(v).ok_or_else(|| damaged(&keys.one(keys::KEYWORDS)))?,
            None => (0, Vec::new()),
        };
        let tree = FolderTree::read(&core.store, keys).await?;
        Ok(AccountState {
            id,
            keys,
            row: Mutex::new(row),
            tree: RwLock::new(Arc::new(tree)),
            tree_changed: Notify::new(),
            changing: tokio::sync::Mutex::new(()),
            keywords: RwLock::new((version, Arc::new(Keywords::new(names)))),
            bytes: AtomicI64::new(counter(value(1)) as i64),
            messages: AtomicI64::new(counter(value(2)) as i64),
            usage_stale: AtomicBool::new(false),
            under_way: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            folders: RwLock::default(),
            blob_gate: Arc::default(),
            quarantine: Mutex::default(),
            sign_in: AtomicI64::new(counter(value(4)) as i64),
            removed: AtomicBool::new(false),
            left: AtomicBool::new(false),
            frozen: RwLock::new(away.is_some()),
            core,
        })
    }

    /// Puts a batch in line. While the account is frozen it is refused as unavailable: whatever is in line before is done
    /// before the move looks.
    pub(crate) fn commit(&self, batch: Batch) -> Pending {
        let frozen = self.frozen.read().unwrap_or_else(PoisonError::into_inner);
        if *frozen { moving() } else { self.core.store.commit(batch) }
    }

    /// The same with stored bytes that its rows refer to.
    pub(crate) fn commit_with(&self, blobs: &[&Blob], batch: Batch) -> Pending {
        let frozen = self.frozen.read().unwrap_or_else(PoisonError::into_inner);
        if *frozen { moving() } else { self.core.store.commit_with(blobs, self.keys.partition(), batch) }
    }

    pub(crate) fn set_frozen(&self, frozen: bool) {
        *self.frozen.write().unwrap_or_else(PoisonError::into_inner) = frozen;
    }

    pub(crate) fn tree(&self) -> Arc<FolderTree> {
        self.tree.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_tree(&self, tree: FolderTree) {
        let old = std::mem::replace(
            &mut *self.tree.write().unwrap_or_else(PoisonError::into_inner),
            Arc::new(tree),
        );
        let new = self.tree();
        let mut folders = self.folders.write().unwrap_or_else(PoisonError::into_inner);
        for (id, was) in &old.by_id {
            // Gone, or to its clients as good as gone.
            let stays = new.by_id(*id).is_some_and(|f| f.selectable && f.uid_validity == was.uid_validity);
            if !stays && let Some(folder) = folders.remove(id) {
                folder.gone();
            }
        }
        drop(folders);
        self.tree_changed.notify_waiters();
    }

    /// The folder as this process knows it.
    pub(crate) fn folder_state(&self, id: FolderId) -> Result<Arc<FolderState>, AccountError> {
        let missing = || AccountError::NoFolder(id);
        if self.removed.load(Relaxed) {
            return Err(if self.has_left() {
                AccountError::Elsewhere(self.id)
            } else {
                AccountError::NoAccount(self.id)
            });
        }
        if let Some(state) = self.folders.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(state.clone());
        }
        let mut folders = self.folders.write().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that a folder that is just being deleted does not come back.
        let tree = self.tree();
        let folder = tree.by_id(id).filter(|f| f.selectable).ok_or_else(missing)?;
        let state = folders.entry(id).or_insert_with(|| {
            let state = Arc::new(FolderState::new(self.core.clone(), self.keys, id, folder.uid_validity));
            lock(&self.core.folders).push(Arc::downgrade(&state));
            state
        });
        Ok(state.clone())
    }

    pub(crate) fn keyword_table(&self) -> (u64, Arc<Keywords>) {
        self.keywords.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_keywords(&self, version: u64, names: Vec<String>) {
        let mut table = self.keywords.write().unwrap_or_else(PoisonError::into_inner);
        if version > table.0 {
            *table = (version, Arc::new(Keywords::new(names)));
        }
    }

    pub(crate) fn used(&self, bytes: i64, messages: i64) {
        self.bytes.fetch_add(bytes, Relaxed);
        self.messages.fetch_add(messages, Relaxed);
    }

    /// The figures in memory may be wrong: the next who cares reads them again.
    pub(crate) fn usage_is_stale(&self) {
        self.usage_stale.store(true, Relaxed);
    }

    pub(crate) fn usage(&self) -> Usage {
        let count = |n: &AtomicI64| u64::try_from(n.load(Relaxed)).unwrap_or(0);
        Usage { bytes: count(&self.bytes), messages: count(&self.messages), quota: lock(&self.row).quota }
    }

    /// Reads the usage again if it is in doubt, and no commit is under way that would be counted twice.
    pub(crate) async fn refresh_usage(&self) -> Result<(), AccountError> {
        let begun = self.begun.load(SeqCst);
        let quiet = || self.under_way.load(SeqCst) == 0 && self.begun.load(SeqCst) == begun;
        if !self.usage_stale.load(Relaxed) || !quiet() {
            return Ok(());
        }
        let keys = [keys::BYTES, keys::MESSAGES].map(|k| self.keys.one(k));
        let values = self.core.store.get(keys.to_vec()).await?;
        let number = |i: usize| counter(values.get(i).and_then(|v| v.as_deref())) as i64;
        if quiet() {
            self.bytes.store(number(0), Relaxed);
            self.messages.store(number(1), Relaxed);
            self.usage_stale.store(false, Relaxed);
        }
        Ok(())
    }

    /// Changes the account's row; reads it again and retries when another process was faster.
    pub(crate) async fn change_row(&self, change: impl Fn(&mut AccountRow)) -> Result<(), AccountError> {
        let _one = self.changing.lock().await;
        for _ in 0..crate::limits::RETRIES {
            let mut row = lock(&self.row).clone();
            let mut batch = Batch::new(self.keys.partition());
            batch.expect(self.keys.one(keys::ACCOUNT), Expect::Version(row.version));
            row.version += 1;
            change(&mut row);
            batch.put(self.keys.one(keys::ACCOUNT), row.encode());
            match self.commit(batch).await {
                Ok(_) => {
                    *lock(&self.row) = row;
                    return Ok(());
                }
                Err(CommitError::Conflict(_)) => self.reload().await?,
                Err(e) => return Err(e.into()),
            }
        }
        Err(AccountError::Contention)
    }

    /// Reads row and tree again, after another process has changed them.
    pub(crate) async fn reload(&self) -> Result<(), AccountError> {
        self.core.figures.conflicts.one();
        let key = self.keys.one(keys::ACCOUNT);
        let value = self.core.store.get_one(key.clone()).await?.ok_or(AccountError::NoAccount(self.id))?;
        let row = AccountRow::decode(&value).ok_or_else(|| damaged(&key))?;
        if row.removed {
            return Err(AccountError::NoAccount(self.id));
        }
        *lock(&self.row) = row;
        self.set_tree(FolderTree::read(&self.core.store, self.keys).await?);
        Ok(())
    }

    pub(crate) fn has_left(&self) -> bool {
        self.left.load(Relaxed)
    }

    pub(crate) fn gone(&self) {
        self.removed.store(true, Relaxed);
        let folders = std::mem::take(&mut *self.folders.write().unwrap_or_else(PoisonError::into_inner));
        folders.values().for_each(|f| f.gone());
        self.tree_changed.notify_waiters();
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.removed.load(Relaxed)
    }
}

fn moving() -> Pending {
    Pending::ready(Err(CommitError::Unavailable("the mailbox is on its way to another server".into())))
}

/// A commit that is under way.
pub(crate) struct UnderWay(pub(crate) Arc<AccountState>);

impl UnderWay {
    pub(crate) fn new(account: &Arc<AccountState>) -> UnderWay {
        account.under_way.fetch_add(1, SeqCst);
        account.begun.fetch_add(1, SeqCst);
        UnderWay(account.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, SeqCst);
    }
}

impl Account {
    pub fn id(&self) -> AccountId {
        self.state.id
    }

    /// It is on another server now: nothing can be done with it here any more.
    pub fn has_left(&self) -> bool {
        self.state.has_left()
    }

    /// Returns when it has left for another server.
    pub async fn left(&self) {
        loop {
            let mut changed = std::pin::pin!(self.state.tree_changed.notified());
            changed.as_mut().enable();
            if self.has_left() {
                return;
            }
            changed.await;
        }
    }

    /// Nothing can be written for a moment: it is about to leave for another server.
    pub fn is_frozen(&self) -> bool {
        *self.state.frozen.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a sign-in, for statistics; written at most once a minute.
    pub async fn signed_in(&self, at: Timestamp) -> Result<(), AccountError> {
        let last = self.state.sign_in.load(Relaxed);
        if at.0.saturating_sub(last) < 60_000 {
            return Ok(());
        }
        self.state.sign_in.store(at.0, Relaxed);
        let mut batch = Batch::new(self.state.keys.partition());
        batch.expect(self.state.keys.one(keys::ACCOUNT), Expect::Present);
        batch.put(self.state.keys.one(keys::SIGN_IN), at.0.to_be_bytes().to_vec());
        self.state.commit(batch).await?;
        Ok(())
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Account({})", self.state.id)
    }
}
