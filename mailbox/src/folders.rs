//! The tree of folders: names, roles, subscriptions (RFC 9051 §6.3.4–§6.3.8, RFC 6154, RFC 8474).
//!
//! The tree is small and in memory as a whole. Every change expects the version of the account's row and raises it, so
//! changes follow each other, whichever process makes them.

use crate::account::{Account, AccountState, Mailboxes, lock, put_new_folder};
use crate::error::{AccountError, FolderError};
use crate::keys::{self, Keys, last_u32};
use crate::limits::{DEPTH, EXPUNGE_CHUNK, FOLDERS, NAME_BYTES, RETRIES};
use crate::rows::{FolderRow, counter, damaged, decode_names, encode_names};
use crate::uidset::UidSet;
use std::collections::BTreeMap;
use std::sync::Arc;
use waypost_base::FolderId;
use waypost_store::{Batch, CommitError, Expect, Store};

/// What a folder is for (RFC 6154, RFC 8457). At most one folder of an account has each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    Inbox,
    Drafts,
    Sent,
    Trash,
    Junk,
    Archive,
    /// \Flagged, \All and \Important are views in most servers; we let a client set \Important alone.
    Important,
    /// What the account sent and is still under way. IANA knows no attribute for it; transport keeps it true.
    Outbox,
}

impl Role {
    /// The attribute that LIST shows; INBOX and the outbox have none.
    pub const fn attribute(self) -> Option<&'static str> {
        match self {
            Role::Inbox | Role::Outbox => None,
            Role::Drafts => Some("\\Drafts"),
            Role::Sent => Some("\\Sent"),
            Role::Trash => Some("\\Trash"),
            Role::Junk => Some("\\Junk"),
            Role::Archive => Some("\\Archive"),
            Role::Important => Some("\\Important"),
        }
    }

    /// From an attribute, without case.
    pub fn from_attribute(name: &str) -> Option<Role> {
        [Role::Drafts, Role::Sent, Role::Trash, Role::Junk, Role::Archive, Role::Important]
            .into_iter()
            .find(|r| r.attribute().is_some_and(|a| a.eq_ignore_ascii_case(name)))
    }
}

/// A folder as it is in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    pub id: FolderId,
    /// Levels joined by '/'; the inbox is `INBOX`.
    pub path: String,
    pub uid_validity: u32,
    pub role: Option<Role>,
    pub subscribed: bool,
    /// False for a name that only holds others (`\Noselect`): the folder was deleted while it had inferiors.
    pub selectable: bool,
    pub has_children: bool,
}

impl Folder {
    /// MAILBOXID (RFC 8474): stays through renames, never reused.
    pub fn object_id(&self) -> String {
        format!("F{}", self.id.0)
    }
}

/// The folders of an account as of one moment.
#[derive(Clone, Debug, Default)]
pub struct FolderTree {
    pub(crate) by_path: BTreeMap<String, Arc<Folder>>,
    pub(crate) by_id: BTreeMap<FolderId, Arc<Folder>>,
    /// Subscribed names that are no folders (any more); RFC 9051 §6.3.7 keeps them.
    pub(crate) subscribed_only: Vec<String>,
    subscribed_version: u64,
    rows: BTreeMap<FolderId, FolderRow>,
}

impl FolderTree {
    /// By path; INBOX in any case.
    pub fn find(&self, path: &str) -> Option<&Arc<Folder>> {
        if let Some(folder) = self.by_path.get(path) {
            return Some(folder);
        }
        self.by_path.get(&canonical(path)?)
    }

    pub fn by_id(&self, id: FolderId) -> Option<&Arc<Folder>> {
        self.by_id.get(&id)
    }

    pub fn with_role(&self, role: Role) -> Option<&Arc<Folder>> {
        self.by_id.values().find(|f| f.role == Some(role))
    }

    /// All folders by path, parents before children.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Folder>> {
        self.by_path.values()
    }

    pub fn len(&self) -> usize {
        self.by_path.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }

    /// Subscribed names that are no folders, sorted.
    pub fn subscribed_only(&self) -> &[String] {
        &self.subscribed_only
    }

    /// Reads all folder rows of an account.
    pub(crate) async fn read(store: &Store, keys: Keys) -> Result<FolderTree, AccountError> {
        let mut rows = BTreeMap::new();
        let mut bad = None;
        let corrupt = store
            .each(keys.all(keys::FOLDER), |key, value| {
                match FolderRow::decode(value) {
                    Some(row) => {
                        rows.insert(FolderId(last_u32(key)), row);
                    }
                    None => bad = Some(key.to_vec()),
                }
                true
            })
            .await?;
        for key in corrupt.iter().chain(&bad) {
            tracing::error!(folder = last_u32(key), "damaged folder row is left out");
        }
        let key = keys.one(keys::SUBSCRIBED);
        let (version, names) = match store.get_one(key.clone()).await? {
            Some(value) => decode_names(&value).ok_or_else(|| damaged(&key))?,
            None => (0, Vec::new()),
        };
        Ok(FolderTree::build(rows, version, names))
    }

    fn build(rows: BTreeMap<FolderId, FolderRow>, version: u64, subscribed: Vec<String>) -> FolderTree {
        let mut tree = FolderTree { subscribed_version: version, ..FolderTree::default() };
        let parents: std::collections::BTreeSet<FolderId> = rows.values().map(|r| r.parent).collect();
        for (id, row) in &rows {
            let folder = Arc::new(Folder {
                id: *id,
                path: path_of(&rows, *id),
                uid_validity: row.uid_validity,
                role: row.role,
                subscribed: row.subscribed,
                selectable: row.selectable,
                has_children: parents.contains(id),
            });
            tree.by_id.insert(*id, folder.clone());
            tree.by_path.insert(folder.path.clone(), folder);
        }
        tree.subscribed_only = subscribed.into_iter().filter(|n| !tree.by_path.contains_key(n)).collect();
        tree.rows = rows;
        tree
    }

    /// Levels below and including a folder.
    fn height(&self, path: &str) -> usize {
        let prefix = format!("{path}/");
        let below = self.by_path.range(prefix.clone()..).take_while(|(p, _)| p.starts_with(&prefix));
        below.map(|(p, _)| p[prefix.len()..].split('/').count()).max().unwrap_or(0) + 1
    }
}

/// The path of a folder; the depth stops a circle that only damage could make.
fn path_of(rows: &BTreeMap<FolderId, FolderRow>, id: FolderId) -> String {
    let mut levels = Vec::new();
    let mut at = id;
    while let Some(row) = rows.get(&at).filter(|_| levels.len() <= DEPTH) {
        levels.push(row.name.as_str());
        at = row.parent;
    }
    levels.reverse();
    levels.join("/")
}

/// A path as we keep it: INBOX in capitals, no '/' at the end. None if a level is empty.
fn canonical(path: &str) -> Option<String> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let (first, rest) = path.split_once('/').map_or((path, None), |(a, b)| (a, Some(b)));
    let first = if first.eq_ignore_ascii_case("INBOX") { "INBOX" } else { first };
    let whole = rest.map_or_else(|| first.to_owned(), |rest| format!("{first}/{rest}"));
    whole.split('/').all(|l| !l.is_empty()).then_some(whole)
}

fn checked(path: &str) -> Result<String, FolderError> {
    let path = canonical(path).ok_or(FolderError::BadName("a level of the name is empty"))?;
    if path.split('/').count() > DEPTH {
        return Err(FolderError::BadName("too many levels"));
    }
    if path.split('/').any(|l| l.len() > NAME_BYTES) {
        return Err(FolderError::BadName("a level of the name is too long"));
    }
    // RFC 9051 §5.1: no control characters, nor the separators of Unicode that display as line ends.
    if path.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        return Err(FolderError::BadName("control characters"));
    }
    Ok(path)
}

/// A change of the tree in the making.
struct Change {
    tree: Arc<FolderTree>,
    rows: BTreeMap<FolderId, FolderRow>,
    subscribed: Vec<String>,
    /// The list of names without a folder has changed.
    resubscribed: bool,
    batch: Batch,
    keys: Keys,
    next_folder: u32,
    uid_validity: u32,
    /// The folder that it is all about.
    result: FolderId,
}

impl Change {
    fn add(&mut self, parent: FolderId, name: &str, role: Option<Role>) -> Result<FolderId, FolderError> {
        if self.rows.len() >= FOLDERS {
            return Err(FolderError::TooMany);
        }
        let id = FolderId(self.next_folder);
        self.next_folder += 1;
        // Never given before in this account, even if the clock was set back; and the time, so that a restored backup
        // does not give a number again that its future had given.
        let above = path_of(&self.rows, parent);
        let path = if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") };
        // A name that was subscribed before the folder was made.
        let known = self.subscribed.iter().position(|n| *n == path);
        if let Some(at) = known {
            self.subscribed.remove(at);
            self.resubscribed = true;
        }
        let row = FolderRow {
            version: 1,
            parent,
            uid_validity: self.uid_validity,
            role,
            subscribed: known.is_some(),
            selectable: true,
            name: name.to_owned(),
            access: Vec::new(),
        };
        self.uid_validity += 1;
        put_new_folder(&mut self.batch, self.keys, id, &row);
        self.rows.insert(id, row);
        Ok(id)
    }

    /// Makes the levels of `path` that are missing; gives the last.
    fn add_path(&mut self, path: &str, role: Option<Role>) -> Result<FolderId, FolderError> {
        let mut parent = FolderId(0);
        let mut levels = path.split('/').peekable();
        while let Some(name) = levels.next() {
            let role = if levels.peek().is_none() { role } else { None };
            let known =
                self.rows.iter().find(|(_, r)| r.parent == parent && r.name == name).map(|(id, _)| *id);
            parent = match known {
                Some(id) => id,
                None => self.add(parent, name, role)?,
            };
        }
        Ok(parent)
    }

    fn write_subscribed(&mut self) -> Result<(), FolderError> {
        if self.resubscribed {
            self.subscribed.sort_unstable();
            let value = encode_names(self.tree.subscribed_version + 1, &self.subscribed);
            if value.len() > waypost_store::limits::VALUE_BYTES {
                return Err(FolderError::TooMany);
            }
            self.batch.put(self.keys.one(keys::SUBSCRIBED), value);
        }
        Ok(())
    }

    fn edit(&mut self, id: FolderId, edit: impl FnOnce(&mut FolderRow)) {
        if let Some(row) = self.rows.get_mut(&id) {
            edit(row);
            row.version += 1;
            self.batch.put(self.keys.of_folder(keys::FOLDER, id), row.encode());
        }
    }

    /// The folder's row goes; its messages follow from the note that it is being deleted. The name stays subscribed, as
    /// RFC 9051 §6.3.7 asks.
    fn drop_folder(&mut self, id: FolderId) {
        let path = path_of(&self.rows, id);
        if self.rows.remove(&id).is_some_and(|row| row.subscribed) {
            self.subscribed.push(path);
            self.resubscribed = true;
        }
        self.batch.del(self.keys.of_folder(keys::FOLDER, id));
        self.batch.put(self.keys.of_folder(keys::DELETING, id), 0u64.to_be_bytes().to_vec());
    }
}

impl Account {
    /// The tree as it is now; from memory.
    pub fn folders(&self) -> Arc<FolderTree> {
        self.state.tree()
    }

    /// Returns when the tree is no longer `seen`, or the account was removed.
    pub async fn folders_changed(&self, seen: &Arc<FolderTree>) {
        loop {
            let changed = self.state.tree_changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if !Arc::ptr_eq(&self.state.tree(), seen) || self.state.is_removed() {
                return;
            }
            changed.await;
        }
    }

    /// The inbox.
    pub fn inbox(&self) -> FolderId {
        // Made first of all folders of an account, never deleted nor renamed.
        FolderId(1)
    }

    /// Makes a folder, and the levels above that are missing. A trailing '/' is ignored. A name that only held others
    /// becomes a folder (with a new id and UIDVALIDITY).
    pub async fn create_folder(&self, path: &str, role: Option<Role>) -> Result<Arc<Folder>, FolderError> {
        let path = checked(path)?;
        let id = self
            .change_tree(|change| {
                if role.is_some_and(|r| change.tree.with_role(r).is_some()) {
                    return Err(FolderError::RoleTaken);
                }
                match change.tree.find(&path).cloned() {
                    Some(folder) if folder.selectable => return Err(FolderError::Exists),
                    Some(folder) => change.result = replace(change, &folder, role, true)?,
                    None => change.result = change.add_path(&path, role)?,
                }
                Ok(())
            })
            .await?;
        self.state.tree().by_id(id).cloned().ok_or(FolderError::NotFound)
    }

    /// The outbox, under whatever name it has now; made as `Outbox`, subscribed, if there is none. A folder of that name
    /// without a role becomes it: what a client has put there stays.
    pub async fn outbox(&self) -> Result<FolderId, FolderError> {
        const NAME: &str = "Outbox";
        for _ in 0..RETRIES {
            let tree = self.folders();
            if let Some(folder) = tree.with_role(Role::Outbox).filter(|folder| folder.selectable) {
                return Ok(folder.id);
            }
            let found = tree.find(NAME).filter(|folder| folder.selectable);
            let made = match found {
                Some(folder) if folder.role.is_none() => self.set_role(folder.id, Some(Role::Outbox)).await,
                Some(_) => self.create_folder("Outbox (sending)", Some(Role::Outbox)).await.map(|_| ()),
                None => self.create_folder(NAME, Some(Role::Outbox)).await.map(|_| ()),
            };
            match made {
                Ok(()) => {}
                // Another session, or another process, was faster.
                Err(FolderError::Exists | FolderError::RoleTaken | FolderError::NotFound) => continue,
                Err(e) => return Err(e),
            }
            let path = self.folders().with_role(Role::Outbox).map(|folder| folder.path.clone());
            if let Some(path) = path {
                self.subscribe(&path, true).await?;
            }
        }
        Err(AccountError::Contention.into())
    }

    /// Renames with all inferiors. Renaming INBOX moves its messages to a new folder and leaves it empty, inferiors stay
    /// (RFC 9051 §6.3.6).
    pub async fn rename_folder(&self, from: &str, to: &str) -> Result<(), FolderError> {
        let (from, to) = (canonical(from).ok_or(FolderError::NotFound)?, checked(to)?);
        if self.state.tree().find(&from).is_none() {
            return Err(FolderError::NotFound);
        }
        if from == "INBOX" {
            let new = self.create_folder(&to, None).await?;
            let moved = self.move_to(self.inbox(), &UidSet::all(), new.id).await;
            return match moved {
                Ok(copied) => {
                    copied.changes.announce();
                    Ok(())
                }
                Err(crate::DeliverError::Account(e)) => Err(e.into()),
                Err(_) => Err(FolderError::NotFound),
            };
        }
        if to == "INBOX" {
            return Err(FolderError::Exists);
        }
        self.change_tree(|change| {
            let folder = change.tree.find(&from).cloned().ok_or(FolderError::NotFound)?;
            if change.tree.find(&to).is_some() {
                return Err(FolderError::Exists);
            }
            if to.strip_prefix(&folder.path).is_some_and(|rest| rest.starts_with('/')) {
                return Err(FolderError::Forbidden("a folder cannot be moved into itself"));
            }
            if to.split('/').count() + change.tree.height(&folder.path) > DEPTH + 1 {
                return Err(FolderError::BadName("too many levels"));
            }
            let (above, name) = to.rsplit_once('/').map_or((None, to.as_str()), |(a, n)| (Some(a), n));
            let parent = match above {
                Some(above) => change.add_path(above, None)?,
                None => FolderId(0),
            };
            change.edit(folder.id, |row| {
                row.parent = parent;
                row.name = name.to_owned();
            });
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Deletes a folder; its messages become recoverable items. With inferiors it stays as a name that cannot be selected.
    pub async fn delete_folder(&self, path: &str) -> Result<(), FolderError> {
        let path = canonical(path).ok_or(FolderError::NotFound)?;
        let id = self
            .change_tree(|change| {
                let folder = change.tree.find(&path).cloned().ok_or(FolderError::NotFound)?;
                if folder.role == Some(Role::Inbox) {
                    return Err(FolderError::Forbidden("INBOX cannot be deleted"));
                }
                change.result = folder.id;
                match (folder.has_children, folder.selectable) {
                    (false, _) => change.drop_folder(folder.id),
                    (true, false) => return Err(FolderError::HasChildren),
                    (true, true) => {
                        replace(change, &folder, None, false)?;
                    }
                }
                Ok(())
            })
            .await?;
        // From here on a crash or an impatient caller leaves the rest to the sweep.
        self.state.finish_deletion(id).await?;
        Ok(())
    }

    /// Subscribes a name or takes the subscription away. The name need not exist.
    pub async fn subscribe(&self, path: &str, subscribed: bool) -> Result<(), FolderError> {
        let path = checked(path)?;
        if self.state.tree().find(&path).is_some_and(|f| f.subscribed == subscribed) {
            return Ok(());
        }
        self.change_tree(|change| {
            if let Some(folder) = change.tree.find(&path).cloned() {
                change.edit(folder.id, |row| row.subscribed = subscribed);
                return Ok(());
            }
            let known = change.subscribed.iter().position(|n| *n == path);
            match (known, subscribed) {
                (None, true) if change.subscribed.len() >= FOLDERS / 10 => return Err(FolderError::TooMany),
                (None, true) => change.subscribed.push(path.clone()),
                (Some(at), false) => {
                    change.subscribed.remove(at);
                }
                _ => return Ok(()),
            }
            change.resubscribed = true;
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Gives a folder a role or takes it away.
    pub async fn set_role(&self, folder: FolderId, role: Option<Role>) -> Result<(), FolderError> {
        self.change_tree(|change| {
            let now = change.tree.by_id(folder).cloned().ok_or(FolderError::NotFound)?;
            if now.role == Some(Role::Inbox) || role == Some(Role::Inbox) {
                return Err(FolderError::Forbidden("INBOX keeps its role"));
            }
            let taken = role.and_then(|r| change.tree.with_role(r)).is_some_and(|f| f.id != folder);
            if taken {
                return Err(FolderError::RoleTaken);
            }
            change.edit(folder, |row| row.role = role);
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// The folder with this id.
    pub fn folder(&self, id: FolderId) -> Result<Arc<Folder>, AccountError> {
        self.state.tree().by_id(id).cloned().ok_or(AccountError::NoFolder(id))
    }

    /// Makes a change of the tree and commits it; when another process was faster, makes it anew from what is then.
    async fn change_tree(
        &self,
        make: impl Fn(&mut Change) -> Result<(), FolderError>,
    ) -> Result<FolderId, FolderError> {
        let state = &self.state;
        let _one = state.changing.lock().await;
        for _ in 0..RETRIES {
            let tree = state.tree();
            let mut row = lock(&state.row).clone();
            let counter_key = state.keys.one(keys::FOLDER_IDS);
            let last = counter(state.core.store.get_one(counter_key.clone()).await?.as_deref());
            let now = u32::try_from(state.core.clock.now().as_seconds()).unwrap_or(0);
            let mut change = Change {
                rows: tree.rows.clone(),
                subscribed: tree.subscribed_only.clone(),
                resubscribed: false,
                tree,
                batch: Batch::new(state.keys.partition()),
                keys: state.keys,
                next_folder: u32::try_from(last).unwrap_or(u32::MAX - 1) + 1,
                uid_validity: row.uid_validity.saturating_add(1).max(now),
                result: FolderId(0),
            };
            make(&mut change)?;
            change.write_subscribed()?;
            if change.batch.ops.is_empty() {
                return Ok(change.result);
            }
            // The folder counter is only ever changed together with the account's version.
            change.batch.expect(state.keys.one(keys::ACCOUNT), Expect::Version(row.version));
            change.batch.put(counter_key, u64::from(change.next_folder - 1).to_be_bytes().to_vec());
            row.version += 1;
            row.uid_validity = change.uid_validity - 1;
            change.batch.put(state.keys.one(keys::ACCOUNT), row.encode());
            match state.commit(change.batch).await {
                Ok(_) => {
                    *lock(&state.row) = row;
                    let version = change.tree.subscribed_version + 1;
                    state.set_tree(FolderTree::build(change.rows, version, change.subscribed));
                    return Ok(change.result);
                }
                Err(CommitError::Conflict(_)) => state.reload().await?,
                Err(CommitError::TooLarge) => {
                    return Err(FolderError::Forbidden("too many inferior names at once"));
                }
                Err(e) => return Err(e.into()),
            }
        }
        Err(AccountError::Contention.into())
    }
}

impl Mailboxes {
    /// Gives every folder a new UIDVALIDITY. To be called once after a store was restored from a backup: UIDs that were given
    /// after the backup will be given again, and clients must not take the new messages for the old.
    pub async fn renew_uid_validity(&self) -> Result<(), FolderError> {
        for id in self.accounts().await? {
            let account = self.account(id).await?;
            let folders: Vec<FolderId> = account.folders().by_id.keys().copied().collect();
            for some in folders.chunks(EXPUNGE_CHUNK) {
                let renew = |change: &mut Change| {
                    for folder in some {
                        let new = change.uid_validity;
                        change.uid_validity += 1;
                        change.edit(*folder, |row| row.uid_validity = new);
                    }
                    Ok(())
                };
                account.change_tree(renew).await?;
            }
        }
        Ok(())
    }
}

/// Puts a new folder, or a name that cannot be selected, into the place of one that has inferiors; they move over.
fn replace(
    change: &mut Change,
    old: &Folder,
    role: Option<Role>,
    selectable: bool,
) -> Result<FolderId, FolderError> {
    let Some(row) = change.rows.get(&old.id).cloned() else { return Err(FolderError::NotFound) };
    if old.selectable {
        change.drop_folder(old.id);
    } else {
        change.rows.remove(&old.id);
        change.batch.del(change.keys.of_folder(keys::FOLDER, old.id));
        change.batch.del(change.keys.of_folder(keys::MODSEQ, old.id));
    }
    let new = change.add(row.parent, &row.name, role)?;
    change.edit(new, |r| {
        r.selectable = selectable;
        r.subscribed |= row.subscribed;
    });
    let children: Vec<FolderId> =
        change.rows.iter().filter(|(_, r)| r.parent == old.id).map(|(id, _)| *id).collect();
    for child in children {
        change.edit(child, |r| r.parent = new);
    }
    Ok(new)
}

impl AccountState {
    /// Moves the messages of a deleted folder to the recoverable items, then removes what is left of it. May be called again
    /// and again, by several at once: each step expects the number of the one before.
    pub(crate) async fn finish_deletion(&self, folder: FolderId) -> Result<(), AccountError> {
        let mark = self.keys.of_folder(keys::DELETING, folder);
        while let Some(step) = self.core.store.get_one(mark.clone()).await? {
            let (batch, bytes, messages) = self.deletion_step(folder, &mark, counter(Some(&step))).await?;
            match self.commit(batch).await {
                Ok(_) => self.used(bytes, messages),
                // Somebody else has done this step.
                Err(CommitError::Conflict(_)) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// The next messages, and after the last of them the folder's other rows. Gives also what it takes from the usage.
    async fn deletion_step(
        &self,
        folder: FolderId,
        mark: &[u8],
        step: u64,
    ) -> Result<(Batch, i64, i64), AccountError> {
        let keys = self.keys;
        let range = keys.all_of_folder(keys::ROW, folder);
        let page = self.core.store.scan_page(range, false, EXPUNGE_CHUNK as u32, u32::MAX).await?;
        let mut batch = Batch::new(keys.partition());
        batch.expect(mark, Expect::Version(step));
        let (mut bytes, mut messages) = (0, 0);
        for (key, value) in page.rows() {
            if let Some(row) = crate::rows::decode_row(last_u32(key), value) {
                batch.put(keys.deleted(self.core.clock.now(), folder, row.uid), value.to_vec());
                bytes -= i64::from(row.size);
            }
            messages -= 1;
            batch.del(key.to_vec());
        }
        for key in &page.corrupt {
            messages -= 1;
            batch.del(key.clone());
        }
        batch.add(keys.one(keys::BYTES), bytes);
        batch.add(keys.one(keys::MESSAGES), messages);
        if page.next.is_some() {
            batch.put(mark, (step + 1).to_be_bytes().to_vec());
            return Ok((batch, bytes, messages));
        }
        for kind in [keys::UID, keys::MODSEQ, keys::WRITER, keys::LOG_FLOOR] {
            batch.del(keys.of_folder(kind, folder));
        }
        batch.del_range(keys.all_of_folder(keys::LOG, folder));
        batch.del(mark);
        Ok((batch, bytes, messages))
    }
}
