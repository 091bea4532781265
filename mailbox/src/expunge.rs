//! Expunging: for good from the folder, kept among the recoverable items for a time.

use crate::account::Account;
use crate::changes::{Changes, Effect, Plan};
use crate::error::AccountError;
use crate::flags::Flags;
use crate::keys;
use crate::limits::{EXPUNGE_CHUNK, RETRIES};
use crate::rows::{LogRow, encode_row};
use crate::snapshot::Record;
use crate::uidset::UidSet;
use crate::view::{FolderState, Row};
use crate::writing::{WINDOW, after_failure, expect_folder, expect_writer, pipeline};
use std::sync::Arc;
use waypost_base::{FolderId, Timestamp};
use waypost_store::Batch;

/// When discarded messages are said to have been deleted: so long ago that every sweep takes them.
pub(crate) const DISCARDED: Timestamp = Timestamp(0);

#[derive(Debug)]
pub struct Expunged {
    pub changes: Changes,
    pub uids: UidSet,
    /// HIGHESTMODSEQ after it.
    pub highest_modseq: u64,
}

impl Account {
    /// Expunges the messages of `uids` that have \Deleted (EXPUNGE: [`UidSet::all`]; UID EXPUNGE).
    pub async fn expunge(&self, folder: FolderId, uids: &UidSet) -> Result<Expunged, AccountError> {
        self.expunge_if(folder, uids, false, |row| row.flags.has(Flags::DELETED)).await
    }

    /// Expunges the messages of `uids`, with \Deleted or without (POP3, commands).
    pub async fn remove(&self, folder: FolderId, uids: &UidSet) -> Result<Expunged, AccountError> {
        self.expunge_if(folder, uids, false, |_| true).await
    }

    /// Expunges what the server itself had put there, such as an item of the outbox: nobody can restore it, and the next
    /// sweep removes it for good.
    pub async fn discard(&self, folder: FolderId, uids: &UidSet) -> Result<Expunged, AccountError> {
        self.expunge_if(folder, uids, true, |_| true).await
    }

    async fn expunge_if(
        &self,
        folder: FolderId,
        uids: &UidSet,
        for_good: bool,
        wanted: impl Fn(&Row) -> bool,
    ) -> Result<Expunged, AccountError> {
        let folder = self.state.folder_state(folder)?;
        let _one = folder.writing.lock().await;
        let mut changes = Changes::default();
        let mut gone = Vec::new();
        for _ in 0..RETRIES {
            let (snapshot, writer) = folder.for_writing().await?;
            let rows: Vec<Row> = snapshot.of(uids).filter(|row| wanted(row)).copied().collect();
            if rows.is_empty() {
                break;
            }
            let batches = rows
                .chunks(EXPUNGE_CHUNK)
                .zip(writer..)
                .map(|(rows, at)| self.expunge_batch(&folder, rows, at, for_good));
            let progress = pipeline(&self.state, WINDOW, batches).await;
            gone.extend(rows.iter().take(progress.done * EXPUNGE_CHUNK).map(|r| (r.uid, r.uid)));
            let last = progress.changes.modseqs.last().copied();
            changes.join(progress.changes);
            if let Some(last) = last {
                folder.catch_up(last).await?;
            }
            match progress.error {
                None => break,
                Some(e) => after_failure(&self.state, &folder, e).await?,
            }
        }
        self.state.core.figures.expunged.add(gone.len() as u64);
        let highest_modseq = folder.warm().await?.modseq;
        Ok(Expunged { changes, uids: UidSet::from_ranges(gone), highest_modseq })
    }

    fn expunge_batch(
        &self,
        folder: &Arc<FolderState>,
        rows: &[Row],
        writer: u64,
        for_good: bool,
    ) -> (Batch, Plan) {
        let keys = self.state.keys;
        let now = self.state.core.clock.now();
        let for_good = for_good || self.state.core.is_transient(self.id());
        let deleted = if for_good { DISCARDED } else { now };
        let mut batch = Batch::new(keys.partition());
        expect_folder(&mut batch, keys, folder.id);
        expect_writer(&mut batch, keys, folder.id, writer);
        let next_writer = batch.alloc(keys.of_folder(keys::WRITER, folder.id), 1);
        let modseq = batch.alloc(keys.of_folder(keys::MODSEQ, folder.id), 1);
        let mut plan = Plan::new(&self.state);
        for row in rows {
            batch.del(keys.row(folder.id, row.uid));
            batch.put(keys.deleted(deleted, folder.id, row.uid), encode_row(row));
            plan.bytes -= i64::from(row.size);
        }
        plan.messages = -(rows.len() as i64);
        batch.add(keys.one(keys::BYTES), plan.bytes);
        batch.add(keys.one(keys::MESSAGES), plan.messages);
        let vanished: UidSet = rows.iter().map(|r| r.uid).collect();
        let log = LogRow { time: now, vanished: vanished.clone(), ..LogRow::default() };
        batch.put(keys.new_log(folder.id, modseq), log.encode(None));
        plan.effects.push(Effect {
            folder: folder.clone(),
            modseq,
            writer: Some(next_writer),
            uid: None,
            message: None,
            record: Record { vanished, ..Record::default() },
        });
        (batch, plan)
    }
}
