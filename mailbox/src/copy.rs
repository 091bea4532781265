//! Copying and moving between folders of one account (RFC 9051 §6.4.7, §6.4.8). Copies share message id and bytes.

use crate::account::Account;
use crate::changes::{Changes, Effect, Plan};
use crate::error::{AccountError, DeliverError};
use crate::keys;
use crate::limits::{COPY_CHUNK, RETRIES};
use crate::rows::{LogRow, new_row};
use crate::snapshot::Record;
use crate::uidset::UidSet;
use crate::view::{FolderState, Row};
use crate::writing::{WINDOW, after_failure, expect_folder, expect_writer, pipeline};
use std::sync::Arc;
use waypost_base::FolderId;
use waypost_store::Batch;

#[derive(Debug)]
pub struct Copied {
    pub changes: Changes,
    pub uid_validity: u32,
    /// Old and new UID, ascending: COPYUID.
    pub uids: Vec<(u32, u32)>,
}

impl Account {
    /// Copies the messages that exist, atomically up to [`crate::limits::COPY_CHUNK`]; of larger sets all or none stay
    /// (what was copied before a failure becomes recoverable items).
    pub async fn copy(&self, from: FolderId, uids: &UidSet, to: FolderId) -> Result<Copied, DeliverError> {
        self.transfer(from, uids, to, false).await
    }

    /// Moves, in chunks that are atomic each. Moved messages do not become recoverable items.
    pub async fn move_to(&self, from: FolderId, uids: &UidSet, to: FolderId) -> Result<Copied, DeliverError> {
        self.transfer(from, uids, to, true).await
    }

    async fn transfer(
        &self,
        from: FolderId,
        uids: &UidSet,
        to: FolderId,
        moving: bool,
    ) -> Result<Copied, DeliverError> {
        let source = self.state.folder_state(from)?;
        let target = self.target(to)?;
        let one = source.writing.lock().await;
        let mut changes = Changes::default();
        let mut old: Vec<u32> = Vec::new();
        let mut failed = None;
        // Of what is in the folder now: moving within a folder must not move what it has moved before.
        let limit = source.warm().await?.last_uid();
        for _ in 0..RETRIES {
            let (snapshot, writer) = source.for_writing().await?;
            let todo = UidSet::from_ranges([(old.last().map_or(1, |u| u.saturating_add(1)), limit)]);
            let rows: Vec<Row> = snapshot.of(&uids.intersection(&todo)).copied().collect();
            if rows.is_empty() {
                break;
            }
            if !moving {
                let size = rows.iter().map(|r| u64::from(r.size)).sum();
                self.check_quota(rows.len() as u64, size).await?;
            }
            let batches = rows.chunks(COPY_CHUNK).enumerate().map(|(i, rows)| {
                let at = if moving { writer + i as u64 } else { writer };
                self.transfer_batch(&source, &target, rows, at, moving)
            });
            // Copies do not raise the writer counter, so a later chunk could pass where an earlier one failed.
            let window = if moving { WINDOW } else { 1 };
            let progress = pipeline(&self.state, window, batches).await;
            old.extend(rows.iter().take(progress.done * COPY_CHUNK).map(|r| r.uid));
            let last = progress.changes.modseqs.first().copied();
            changes.join(progress.changes);
            if moving && let Some(last) = last {
                source.catch_up(last).await?;
            }
            failed = match progress.error {
                None => break,
                Some(e) => after_failure(&self.state, &source, e).await.err(),
            };
            if failed.is_some() {
                break;
            }
        }
        drop(one);
        if let Some(e) = failed {
            let e = match e {
                AccountError::NoFolder(id) if id == to => DeliverError::NoFolder(to),
                e => e.into(),
            };
            return Err(if moving { e } else { self.take_back(to, changes, e).await });
        }
        changes.shown().await;
        self.state.core.figures.copied.add(old.len() as u64);
        let uids = old.into_iter().zip(changes.appended().iter().map(|a| a.uid)).collect();
        Ok(Copied { changes, uid_validity: target.uid_validity, uids })
    }

    fn transfer_batch(
        &self,
        source: &Arc<FolderState>,
        target: &Arc<FolderState>,
        rows: &[Row],
        writer: u64,
        moving: bool,
    ) -> (Batch, Plan) {
        let keys = self.state.keys;
        let now = self.state.core.clock.now();
        let count = rows.len() as u32;
        let within = source.id == target.id;
        let mut batch = Batch::new(keys.partition());
        expect_folder(&mut batch, keys, source.id);
        expect_folder(&mut batch, keys, target.id);
        expect_writer(&mut batch, keys, source.id, writer);
        let uid = batch.alloc(keys.of_folder(keys::UID, target.id), count);
        let modseq = batch.alloc(keys.of_folder(keys::MODSEQ, target.id), 1);
        let mut plan = Plan::new(&self.state);
        let mut came = Record::default();
        for (row, i) in rows.iter().zip(0..) {
            let new = Row { uid: i, saved: now, ..*row };
            batch.put(keys.new_row(target.id, uid, i), new_row(&new, modseq, None));
            if moving {
                batch.del(keys.row(source.id, row.uid));
            } else {
                batch.add(keys.message(keys::REFS, row.message), 1);
                plan.bytes += i64::from(row.size);
            }
            came.appended.push(new);
        }
        let came_log = LogRow { time: now, appended: Some((0, count)), ..LogRow::default() };
        let arrival = |record| {
            let folder = target.clone();
            Effect { folder, modseq, writer: None, uid: Some(uid), message: None, record }
        };
        if !moving {
            plan.messages = i64::from(count);
            batch.add(keys.one(keys::BYTES), plan.bytes);
            batch.add(keys.one(keys::MESSAGES), plan.messages);
            batch.put(keys.new_log(target.id, modseq), came_log.encode(Some(uid)));
            plan.effects.push(arrival(came));
            return (batch, plan);
        }
        let next_writer = batch.alloc(keys.of_folder(keys::WRITER, source.id), 1);
        let vanished: UidSet = rows.iter().map(|r| r.uid).collect();
        if within {
            // One batch, one modseq, one row of the log: both sides of it together.
            let log = LogRow { vanished: vanished.clone(), ..came_log };
            batch.put(keys.new_log(target.id, modseq), log.encode(Some(uid)));
            came.vanished = vanished;
            plan.effects.push(Effect { writer: Some(next_writer), ..arrival(came) });
            return (batch, plan);
        }
        let left = batch.alloc(keys.of_folder(keys::MODSEQ, source.id), 1);
        let left_log = LogRow { time: now, vanished: vanished.clone(), ..LogRow::default() };
        batch.put(keys.new_log(source.id, left), left_log.encode(None));
        batch.put(keys.new_log(target.id, modseq), came_log.encode(Some(uid)));
        plan.effects.push(Effect {
            folder: source.clone(),
            modseq: left,
            writer: Some(next_writer),
            uid: None,
            message: None,
            record: Record { vanished, ..Record::default() },
        });
        plan.effects.push(arrival(came));
        (batch, plan)
    }
}
