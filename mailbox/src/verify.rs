//! Every invariant of this room that we can name, looked at row by row. Runs when a test closes a store, and on command.
//!
//! An account that is changed while it is looked at is looked at again; one that never rests is left out, and logged.

use crate::account::Mailboxes;
use crate::error::AccountError;
use crate::keys::{self, Keys, PREFIX, last_u32, last_u64, u32_at};
use crate::moving::Passage;
use crate::recover::Recoverable;
use crate::rows::{
    AccountRow, FolderRow, LogRow, MessageRow, counter, decode_names, decode_row, decode_small,
};
use crate::view::Row;
use std::collections::{BTreeMap, BTreeSet};
use waypost_base::{AccountId, FolderId, MessageId};
use waypost_mime::SummaryRef;
use waypost_store::{BlobId, Check, Key, Report, Store, prefix_range};

const NAME: &str = "mailbox";

/// Times that a busy account is looked at.
const LOOKS: usize = 3;

impl Mailboxes {
    /// Checks this room's invariants (and the store's) and says what it found.
    pub async fn verify(&self) -> Report {
        self.store().verify(&[self]).await
    }

    async fn verify_account(&self, id: AccountId, report: &mut Report) -> Result<(), AccountError> {
        let keys = Keys::new(id);
        for _ in 0..LOOKS {
            let before = self.pulse(keys).await?;
            let mut look = Look::new(keys);
            look.read(self.store()).await?;
            look.check();
            self.check_stored(&mut look).await?;
            self.check_views(id, &mut look);
            if self.pulse(keys).await? == before {
                for (place, text) in look.problems {
                    report.problem(NAME, format!("account {id}: {place}"), text);
                }
                return Ok(());
            }
        }
        tracing::warn!(account = id.0, "the account was too busy to be verified");
        Ok(())
    }

    /// Counters that every change moves.
    async fn pulse(&self, keys: Keys) -> Result<Vec<(Key, Vec<u8>)>, AccountError> {
        let mut all = Vec::new();
        let ends = [keys::ACCOUNT, keys::BYTES, keys::MESSAGE_IDS, keys::FOLDER_IDS, keys::MESSAGES];
        for range in ends.map(|k| keys.all(k)).into_iter().chain([keys.all(keys::MODSEQ)]) {
            self.store()
                .each(range, |k, v| {
                    all.push((k.to_vec(), v.to_vec()));
                    true
                })
                .await?;
        }
        Ok(all)
    }

    /// Stored bytes that messages refer to are held for this account.
    async fn check_stored(&self, look: &mut Look) -> Result<(), AccountError> {
        let wanted: Vec<(BlobId, u64)> = look.stored.iter().map(|(id, n)| (*id, *n)).collect();
        for (blob, messages) in wanted {
            let counted = look.blob_refs.remove(&blob).unwrap_or(0);
            if counted != messages {
                look.problem("stored bytes", format!("{blob}: {messages} messages, counted {counted}"));
            }
            if let Err(e) = self.store().blobs().stored(blob, look.keys.partition()).await {
                look.problem("stored bytes", format!("{blob}: {e}"));
            }
        }
        for (blob, n) in std::mem::take(&mut look.blob_refs) {
            look.problem("stored bytes", format!("{blob}: counted {n} times, no message has it"));
        }
        Ok(())
    }

    /// Warm views say what the rows say.
    fn check_views(&self, id: AccountId, look: &mut Look) {
        let Some(account) = self.loaded(id) else { return };
        let folders: Vec<FolderId> =
            account.folders().iter().filter(|f| f.selectable).map(|f| f.id).collect();
        for folder in folders {
            let Ok(state) = account.state.folder_state(folder) else { continue };
            let Some(view) = state.current() else { continue };
            let stored = look.folders.get(&folder).map(|f| f.modseq).unwrap_or_default();
            if view.modseq != stored {
                let text = format!("the view is at modseq {}, the store at {stored}", view.modseq);
                look.problem(format!("folder {folder}"), text);
            } else if !view.iter().eq(look.rows.get(&folder).into_iter().flatten()) {
                look.problem(format!("folder {folder}"), "the view differs from the rows");
            }
        }
        let usage = account.usage();
        if (usage.bytes, usage.messages) != (look.bytes, look.messages) {
            let text = format!("in memory {} bytes in {} messages", usage.bytes, usage.messages);
            look.problem("usage", text);
        }
    }
}

#[async_trait::async_trait]
impl Check for Mailboxes {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn check(&self, _store: &Store, report: &mut Report) {
        let accounts = match self.account_rows().await {
            Ok(accounts) => accounts,
            Err(e) => return report.problem(NAME, "accounts", e.to_string()),
        };
        for (id, row) in accounts {
            // What is left of a removed account is on its way out.
            if row.removed {
                continue;
            }
            if let Err(e) = self.verify_account(id, report).await {
                report.problem(NAME, format!("account {id}"), e.to_string());
            }
        }
    }
}

#[derive(Default)]
struct FolderLook {
    uid: u64,
    modseq: u64,
    floor: u64,
    log: Vec<u64>,
    deleting: bool,
}

/// What one pass over an account's rows has seen.
struct Look {
    keys: Keys,
    problems: Vec<(String, String)>,
    tree: BTreeMap<FolderId, FolderRow>,
    folders: BTreeMap<FolderId, FolderLook>,
    rows: BTreeMap<FolderId, Vec<Row>>,
    last_message: u64,
    last_folder: u64,
    bytes: u64,
    messages: u64,
    /// Whether the bytes are in a row.
    bodies: BTreeMap<MessageId, bool>,
    small: BTreeSet<MessageId>,
    /// Further references, as counted.
    refs: BTreeMap<MessageId, u64>,
    /// References seen: rows and recoverable items.
    seen: BTreeMap<MessageId, u64>,
    /// Messages by stored blob.
    stored: BTreeMap<BlobId, u64>,
    blob_refs: BTreeMap<BlobId, u64>,
}

impl Look {
    fn new(keys: Keys) -> Look {
        Look {
            keys,
            problems: Vec::new(),
            tree: BTreeMap::new(),
            folders: BTreeMap::new(),
            rows: BTreeMap::new(),
            last_message: 0,
            last_folder: 0,
            bytes: 0,
            messages: 0,
            bodies: BTreeMap::new(),
            small: BTreeSet::new(),
            refs: BTreeMap::new(),
            seen: BTreeMap::new(),
            stored: BTreeMap::new(),
            blob_refs: BTreeMap::new(),
        }
    }

    fn problem(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.problems.push((place.into(), text.into()));
    }

    async fn read(&mut self, store: &Store) -> Result<(), AccountError> {
        let range = prefix_range(self.keys.partition().as_bytes());
        let corrupt = store
            .each(range, |key, value| {
                if self.row(key, value).is_none() {
                    self.problem(format!("row {}", waypost_store::Hex(key)), "does not decode");
                }
                true
            })
            .await?;
        for key in corrupt {
            self.problem(format!("row {}", waypost_store::Hex(&key)), "is damaged");
        }
        Ok(())
    }

    /// Notes a row; None if it does not decode.
    fn row(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let folder = FolderId(u32_at(key, PREFIX + 1));
        let message = MessageId(u64_at_key(key));
        let number = counter(Some(value));
        match *key.get(PREFIX)? {
            keys::ACCOUNT => AccountRow::decode(value).map(|_| ())?,
            keys::KEYWORDS | keys::SUBSCRIBED => drop(decode_names(value)?),
            keys::MOVING => drop(Passage::decode(value)?),
            keys::DELIVERED => (key.len() == PREFIX + 17 && value.len() == 17).then_some(())?,
            keys::BYTES => self.bytes = number,
            keys::MESSAGES => self.messages = number,
            keys::MESSAGE_IDS => self.last_message = number,
            keys::FOLDER_IDS => self.last_folder = number,
            keys::SIGN_IN | keys::THREAD => (value.len() == 8).then_some(())?,
            keys::FOLDER => drop(self.tree.insert(folder, FolderRow::decode(value)?)),
            keys::UID => self.folders.entry(folder).or_default().uid = number,
            keys::MODSEQ => self.folders.entry(folder).or_default().modseq = number,
            keys::WRITER => drop(self.folders.entry(folder).or_default()),
            keys::LOG_FLOOR => self.folders.entry(folder).or_default().floor = number,
            keys::DELETING => self.folders.entry(folder).or_default().deleting = true,
            keys::ROW => {
                let row = decode_row(last_u32(key), value)?;
                *self.seen.entry(row.message).or_default() += 1;
                self.rows.entry(folder).or_default().push(row);
            }
            keys::LOG => {
                LogRow::decode(value)?;
                self.folders.entry(folder).or_default().log.push(last_u64(key));
            }
            keys::MESSAGE => {
                let row = MessageRow::decode(value)?;
                SummaryRef::new(row.summary).ok()?;
                self.bodies.insert(message, row.inline);
                if !row.inline {
                    *self.stored.entry(row.blob).or_default() += 1;
                }
            }
            keys::SMALL => {
                decode_small(value)?;
                self.small.insert(message);
            }
            keys::REFS => drop(self.refs.insert(message, number)),
            keys::DELETED => {
                let item = Recoverable::decode(key, value)?;
                *self.seen.entry(item.row.message).or_default() += 1;
            }
            keys::BLOB_REFS => {
                let id = key.get(PREFIX + 1..)?.try_into().ok()?;
                self.blob_refs.insert(BlobId(id), number);
            }
            _ => return None,
        }
        Some(())
    }

    fn check(&mut self) {
        self.check_tree();
        self.check_folders();
        self.check_messages();
        let (mut bytes, mut messages) = (0, 0);
        for row in self.rows.values().flatten() {
            bytes += u64::from(row.size);
            messages += 1;
        }
        if (bytes, messages) != (self.bytes, self.messages) {
            let text =
                format!("{bytes} bytes in {messages} messages, counted {} in {}", self.bytes, self.messages);
            self.problem("usage", text);
        }
    }

    fn check_tree(&mut self) {
        let mut names = BTreeSet::new();
        let mut roles = BTreeSet::new();
        let mut found = Vec::new();
        for (id, row) in &self.tree {
            let place = format!("folder {id}");
            if u64::from(id.0) > self.last_folder {
                found.push((place.clone(), "its id was never given".to_owned()));
            }
            if row.parent != FolderId(0) && !self.tree.contains_key(&row.parent) {
                found.push((place.clone(), format!("its parent {} is not there", row.parent)));
            }
            if !names.insert((row.parent, row.name.clone())) {
                found.push((place.clone(), format!("another has its name {:?}", row.name)));
            }
            if row.role.is_some_and(|r| !roles.insert(r)) {
                found.push((place.clone(), "another has its role".to_owned()));
            }
            if !self.folders.contains_key(id) {
                found.push((place, "it has no modseq".to_owned()));
            }
        }
        self.problems.append(&mut found);
    }

    fn check_folders(&mut self) {
        let mut found = Vec::new();
        for (id, folder) in &self.folders {
            let place = format!("folder {id}");
            if folder.deleting {
                continue;
            }
            if !self.tree.contains_key(id) {
                found.push((place, "rows without a folder".to_owned()));
                continue;
            }
            // Modseq 1 is the empty folder's; every commit after it has a row, down to the floor.
            let expected = folder.floor.max(1) + 1..folder.modseq + 1;
            if !folder.log.iter().copied().eq(expected.clone()) {
                let text = format!("change log has {} rows, expected modseq {expected:?}", folder.log.len());
                found.push((place.clone(), text));
            }
            for row in self.rows.get(id).into_iter().flatten() {
                if u64::from(row.uid) > folder.uid || row.modseq > folder.modseq {
                    let text = format!("uid {} modseq {}: not given yet", row.uid, row.modseq);
                    found.push((place.clone(), text));
                }
            }
        }
        for id in self.rows.keys().filter(|id| !self.folders.contains_key(id)) {
            found.push((format!("folder {id}"), "messages without a folder".to_owned()));
        }
        self.problems.append(&mut found);
    }

    fn check_messages(&mut self) {
        let mut found = Vec::new();
        for (id, inline) in &self.bodies {
            let place = format!("message {id}");
            let seen = self.seen.remove(id).unwrap_or(0);
            let counted = self.refs.remove(id).unwrap_or(0) + 1;
            if seen != counted {
                found.push((place.clone(), format!("{seen} references, counted {counted}")));
            }
            if self.small.remove(id) != *inline {
                found.push((place.clone(), "its bytes are missing, or in two places".to_owned()));
            }
            if id.0 > self.last_message {
                found.push((place, "its id was never given".to_owned()));
            }
        }
        let orphans = self.seen.keys().map(|id| (id, "referred to, but not there"));
        let orphans = orphans.chain(self.refs.keys().map(|id| (id, "counted, but not there")));
        let orphans = orphans.chain(self.small.iter().map(|id| (id, "bytes without a message")));
        found.extend(orphans.map(|(id, text)| (format!("message {id}"), text.to_owned())));
        self.problems.append(&mut found);
    }
}

fn u64_at_key(key: &[u8]) -> u64 {
    keys::u64_at(key, PREFIX + 1)
}
