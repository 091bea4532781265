//! Figures for commands and metrics, and the work of quiet hours.

use crate::account::{Account, Mailboxes, lock};
use crate::error::AccountError;
use crate::keys::{self, Keys, last_u32};
use crate::recover::Recoverable;
use std::sync::atomic::Ordering::Relaxed;
use waypost_base::metrics::{Counter, Figure, Kind};
use waypost_base::{AccountId, FolderId, Timestamp};
use waypost_store::{Batch, BlobId, Holders, ReadError};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderStatistics {
    pub folder: FolderId,
    pub path: String,
    pub messages: u32,
    pub unseen: u32,
    pub deleted: u32,
    pub size: u64,
    /// Internal dates.
    pub oldest: Option<Timestamp>,
    pub newest: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountStatistics {
    pub created: Timestamp,
    pub messages: u64,
    pub bytes: u64,
    pub recoverable_messages: u64,
    pub recoverable_bytes: u64,
    pub folders: usize,
    pub last_sign_in: Option<Timestamp>,
}

/// What [`Mailboxes::sweep`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Recoverable items whose time was over.
    pub expired: u64,
    /// Messages removed for good.
    pub messages: u64,
    /// Rows of the change log beyond the horizon.
    pub log_rows: u64,
    /// Accounts whose last rows went.
    pub accounts: u64,
}

/// Counters of the room.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) delivered: Counter,
    pub(crate) appended: Counter,
    pub(crate) copied: Counter,
    pub(crate) flags_changed: Counter,
    pub(crate) expunged: Counter,
    pub(crate) conflicts: Counter,
    pub(crate) heals: Counter,
    pub(crate) damaged: Counter,
    pub(crate) over_quota: Counter,
    pub(crate) views_loaded: Counter,
    pub(crate) views_evicted: Counter,
    pub(crate) searches: Counter,
}

impl Account {
    /// One entry a folder, by path. Loads every view.
    pub async fn folder_statistics(&self) -> Result<Vec<FolderStatistics>, AccountError> {
        let mut all = Vec::new();
        for folder in self.folders().iter().filter(|f| f.selectable) {
            let state = match self.state.folder_state(folder.id) {
                Ok(state) => state,
                // Deleted meanwhile.
                Err(AccountError::NoFolder(_)) => continue,
                Err(e) => return Err(e),
            };
            let view = state.warm().await?;
            let status = view.status(folder.uid_validity);
            all.push(FolderStatistics {
                folder: folder.id,
                path: folder.path.clone(),
                messages: status.messages,
                unseen: status.unseen,
                deleted: status.deleted,
                size: status.size,
                oldest: view.iter().map(|r| r.internal).min(),
                newest: view.iter().map(|r| r.internal).max(),
            });
        }
        Ok(all)
    }

    pub async fn statistics(&self) -> Result<AccountStatistics, AccountError> {
        self.state.refresh_usage().await?;
        let usage = self.usage();
        let (mut recoverable_messages, mut recoverable_bytes) = (0, 0);
        self.state
            .core
            .store
            .each(self.state.keys.all(keys::DELETED), |key, value| {
                recoverable_messages += 1;
                recoverable_bytes += Recoverable::decode(key, value).map_or(0, |i| u64::from(i.row.size));
                true
            })
            .await?;
        let sign_in = self.state.sign_in.load(Relaxed);
        Ok(AccountStatistics {
            created: lock(&self.state.row).created,
            messages: usage.messages,
            bytes: usage.bytes,
            recoverable_messages,
            recoverable_bytes,
            folders: self.folders().len(),
            last_sign_in: (sign_in != 0).then_some(Timestamp(sign_in)),
        })
    }
}

impl Mailboxes {
    /// Removes what has passed its time: recoverable items, old change-log rows, removed accounts. In small batches, safe at
    /// any time.
    pub async fn sweep(&self, now: Timestamp) -> Result<Swept, AccountError> {
        let mut swept = Swept::default();
        for (id, row) in self.account_rows().await? {
            if row.removed {
                self.erase_account(id).await?;
                swept.accounts += 1;
                continue;
            }
            // An account that nobody has used since the start is not kept in memory afterwards.
            let known = self.loaded(id).is_some();
            match self.account(id).await {
                // What leaves is left as it is.
                Ok(account) if account.is_frozen() => {}
                Ok(account) => {
                    self.sweep_account(&account, now, &mut swept).await?;
                    if !known {
                        self.unload(account);
                    }
                }
                Err(AccountError::NoAccount(_) | AccountError::Elsewhere(_)) => {}
                Err(e) => return Err(e),
            }
        }
        swept.accounts += self.sweep_passages(now).await?;
        Ok(swept)
    }

    async fn sweep_account(
        &self,
        account: &Account,
        now: Timestamp,
        swept: &mut Swept,
    ) -> Result<(), AccountError> {
        let keys = account.state.keys;
        let mut unfinished = Vec::new();
        let deleting = keys.all(keys::DELETING);
        self.store()
            .each(deleting, |key, _| {
                unfinished.push(FolderId(last_u32(key)));
                true
            })
            .await?;
        for folder in unfinished {
            account.state.finish_deletion(folder).await?;
        }
        loop {
            let expired = account.expire(now.plus_millis(-self.limits().recoverable_millis)).await?;
            swept.expired += expired.items;
            swept.messages += expired.messages;
            if !expired.more {
                break;
            }
        }
        account.trim_delivered(now).await?;
        let horizon = now.plus_millis(-self.limits().log_millis);
        for folder in account.folders().iter() {
            loop {
                let rows = account.state.trim_log(folder.id, horizon).await?;
                swept.log_rows += rows;
                if rows == 0 {
                    break;
                }
            }
        }
        account.state.refresh_usage().await
    }

    /// Removes the rows of a removed account, its own row last, so that a crash in between only leaves work for later.
    pub(crate) async fn erase_account(&self, id: AccountId) -> Result<(), AccountError> {
        let keys = Keys::new(id);
        let mut held = Vec::new();
        self.store()
            .each(keys.all(keys::BLOB_REFS), |key, _| {
                held.extend(key.get(keys::PREFIX + 1..).and_then(|b| b.try_into().ok()).map(BlobId));
                true
            })
            .await?;
        for blob in held {
            self.store().blobs().release(blob, keys.partition()).await?;
        }
        let first = keys.one(keys::ACCOUNT + 1);
        let end = waypost_store::prefix_range(keys.partition().as_bytes()).end;
        loop {
            let page = self.store().scan(first.clone()..end.clone(), false).await?;
            let mut batch = Batch::new(keys.partition());
            match &page.next {
                Some(next) => batch.del_range(first.clone()..next.start.clone()),
                None => batch.del_range(first.clone()..end.clone()).del(keys.one(keys::ACCOUNT)),
            };
            self.store().commit(batch).await?;
            if page.next.is_none() {
                return Ok(());
            }
        }
    }

    pub fn figures(&self) -> Vec<Figure> {
        let core = &self.room.core;
        let f = &core.figures;
        let counters = [
            ("messages_delivered", "Messages delivered.", &f.delivered),
            ("messages_appended", "Messages appended by clients and imports.", &f.appended),
            ("messages_copied", "Messages copied or moved.", &f.copied),
            ("messages_flagged", "Messages whose flags were changed.", &f.flags_changed),
            ("messages_expunged", "Messages expunged.", &f.expunged),
            ("mailbox_conflicts", "Batches that met another process's changes.", &f.conflicts),
            ("mailbox_heals", "Times that a view read changes from the log.", &f.heals),
            ("mailbox_damaged", "Damaged rows and messages met.", &f.damaged),
            ("mailbox_over_quota", "Messages refused for quota.", &f.over_quota),
            ("mailbox_views_loaded", "Folder views built.", &f.views_loaded),
            ("mailbox_views_evicted", "Folder views dropped for memory.", &f.views_evicted),
            ("mailbox_searches", "Searches.", &f.searches),
        ];
        let mut all: Vec<Figure> = counters
            .into_iter()
            .map(|(name, help, c)| Figure { name, help, kind: Kind::Counter, value: c.value() as f64 })
            .collect();
        let gauges = [
            ("mailbox_view_bytes", "Bytes of folder views in memory.", core.view_bytes()),
            ("mailbox_sessions", "Selected folders.", core.sessions()),
            ("mailbox_accounts_loaded", "Accounts in memory.", self.loaded_count()),
        ];
        all.extend(gauges.into_iter().map(|(name, help, n)| Figure {
            name,
            help,
            kind: Kind::Gauge,
            value: n as f64,
        }));
        all
    }
}

/// Tells the store's compaction which stored bytes accounts still need. Other holders are others' business.
#[async_trait::async_trait]
impl Holders for Mailboxes {
    async fn holds(&self, id: BlobId, holder: &[u8]) -> Result<bool, ReadError> {
        if holder.len() != keys::PREFIX || holder.first() != Some(&keys::ACCOUNTS) {
            return Ok(true);
        }
        let key = Keys::new(AccountId(keys::u32_at(holder, 1))).blob_refs(id);
        Ok(self.store().get_one(key).await?.is_some())
    }
}
