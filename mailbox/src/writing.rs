//! What all writers of a folder share: the lock, the writer counter, chunks that follow each other without waiting.

use crate::account::AccountState;
use crate::changes::{Changes, Plan, Settle};
use crate::error::AccountError;
use crate::keys::{self, Keys, u32_at};
use crate::view::FolderState;
use std::collections::VecDeque;
use std::sync::Arc;
use waypost_base::FolderId;
use waypost_store::{Batch, CommitError, Expect, Key};

/// Most batches of one operation that wait for the disk at the same time: enough to fill two groups of the committer, and a
/// tenth of what may wait in all.
pub(crate) const WINDOW: usize = 48;

/// How far a row of chunks came.
pub(crate) struct Progress {
    pub(crate) changes: Changes,
    /// Chunks that were committed, from the first.
    pub(crate) done: usize,
    pub(crate) error: Option<CommitError>,
}

/// Commits chunks in order, with up to `window` in line at the same time. More than one is only for chunks that expect what
/// the one before has written, so that after a failure the later ones fail too.
pub(crate) async fn pipeline(
    account: &AccountState,
    window: usize,
    chunks: impl Iterator<Item = (Batch, Plan)>,
) -> Progress {
    let mut progress = Progress { changes: Changes::default(), done: 0, error: None };
    let mut waiting: VecDeque<Settle> = VecDeque::new();
    for (batch, plan) in chunks {
        if waiting.len() >= window
            && let Some(first) = waiting.pop_front()
        {
            progress.take(first.await);
        }
        if progress.error.is_some() {
            break;
        }
        waiting.push_back(Settle::new(account.commit(batch), plan));
    }
    for settle in waiting {
        progress.take(settle.await);
    }
    progress
}

impl Progress {
    fn take(&mut self, answer: Result<Changes, CommitError>) {
        match answer {
            Ok(changes) => {
                self.changes.join(changes);
                self.done += usize::from(self.error.is_none());
            }
            Err(e) => {
                self.error.get_or_insert(e);
            }
        }
    }
}

/// Expects that the folder is there, which is all that a delivery wants to know.
pub(crate) fn expect_folder(batch: &mut Batch, keys: Keys, folder: FolderId) {
    batch.expect(keys.of_folder(keys::FOLDER, folder), Expect::Present);
}

/// Expects the writer counter at `at`.
pub(crate) fn expect_writer(batch: &mut Batch, keys: Keys, folder: FolderId, at: u64) {
    let what = if at == 0 { Expect::Absent } else { Expect::Value(at.to_be_bytes().to_vec()) };
    batch.expect(keys.of_folder(keys::WRITER, folder), what);
}

/// The folder whose row was missed, if that is what a conflict is about.
pub(crate) fn missing_folder(conflict: &[Key]) -> Option<FolderId> {
    conflict
        .iter()
        .find(|k| k.get(keys::PREFIX) == Some(&keys::FOLDER))
        .map(|k| FolderId(u32_at(k, keys::PREFIX + 1)))
}

/// After a failed batch of a writer: nothing to do but pass the error on, or look at what others have done and try again.
pub(crate) async fn after_failure(
    account: &AccountState,
    folder: &Arc<FolderState>,
    error: CommitError,
) -> Result<(), AccountError> {
    let CommitError::Conflict(conflict) = error else { return Err(error.into()) };
    if let Some(missing) = missing_folder(&conflict) {
        // If another process has deleted it, our tree does not know yet.
        account.reload().await?;
        return Err(AccountError::NoFolder(missing));
    }
    account.core.figures.conflicts.one();
    folder.heal().await
}
