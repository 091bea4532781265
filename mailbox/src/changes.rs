//! What a commit changed: how its answer becomes rows of views, and who is to be told.

use crate::account::{AccountState, UnderWay};
use crate::snapshot::Record;
use crate::view::FolderState;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::OwnedRwLockReadGuard;
use waypost_base::{FolderId, MessageId};
use waypost_store::{CommitError, Committed, Pending};

/// A message that came into a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub folder: FolderId,
    pub uid_validity: u32,
    pub uid: u32,
    pub message: MessageId,
}

/// What was committed. The views have it already; [`Changes::announce`] wakes the sessions that wait for it. A value that
/// is dropped announces itself, so forgetting loses nothing but the reader's ease.
#[must_use = "sessions in IDLE learn of it when it is announced"]
#[derive(Debug, Default)]
pub struct Changes {
    pub(crate) appended: Vec<Appended>,
    pub(crate) replayed: bool,
    /// Folders whose sessions are to be woken.
    pub(crate) folders: Vec<Arc<FolderState>>,
    /// The last modseq given, by the order of effects: for writers that have to wait for their view.
    pub(crate) modseqs: Vec<u64>,
}

impl Changes {
    /// Wakes every session that waits on a folder that was changed.
    pub fn announce(self) {
        drop(self);
    }

    /// The messages that came in, in the order they were given.
    pub fn appended(&self) -> &[Appended] {
        &self.appended
    }

    /// The token had been seen before: nothing was done now, this is the first answer.
    pub fn replayed(&self) -> bool {
        self.replayed
    }

    /// Waits until every session that asks from now on sees the change.
    pub(crate) async fn shown(&self) {
        if let (Some(folder), Some(modseq)) = (self.folders.last(), self.modseqs.last())
            && let Err(e) = folder.catch_up(*modseq).await
        {
            // It is durable all the same; the view is built anew by whoever looks next.
            tracing::warn!(folder = folder.id.0, error = %e, "a view could not read the changes it lacks");
        }
    }

    /// Joins what a later batch of the same operation did.
    pub(crate) fn join(&mut self, mut later: Changes) {
        self.appended.append(&mut later.appended);
        self.replayed |= later.replayed;
        self.modseqs = std::mem::take(&mut later.modseqs);
        for folder in std::mem::take(&mut later.folders) {
            if !self.folders.iter().any(|f| Arc::ptr_eq(f, &folder)) {
                self.folders.push(folder);
            }
        }
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        for folder in &self.folders {
            folder.changed.notify_waiters();
        }
    }
}

/// What a batch will have done to a folder. The indexes are those of the batch's allocations.
pub(crate) struct Effect {
    pub(crate) folder: Arc<FolderState>,
    pub(crate) modseq: u16,
    pub(crate) writer: Option<u16>,
    /// Appended rows count their UIDs from this allocation…
    pub(crate) uid: Option<u16>,
    /// …and their message ids from this one, if they are new messages.
    pub(crate) message: Option<u16>,
    pub(crate) record: Record,
}

/// What to do when a batch has been committed.
pub(crate) struct Plan {
    account: UnderWay,
    pub(crate) effects: Vec<Effect>,
    pub(crate) bytes: i64,
    pub(crate) messages: i64,
    /// Keeps the release of stored bytes away until the batch is through.
    pub(crate) gate: Option<OwnedRwLockReadGuard<()>>,
}

impl Plan {
    pub(crate) fn new(account: &Arc<AccountState>) -> Plan {
        Plan { account: UnderWay::new(account), effects: Vec::new(), bytes: 0, messages: 0, gate: None }
    }

    /// Carries the commit into memory.
    fn done(self, committed: &Committed) -> Changes {
        let given = |i: u16| committed.allocated.get(usize::from(i)).copied().unwrap_or(0);
        if committed.replayed {
            self.account.0.usage_is_stale();
        } else {
            self.account.0.used(self.bytes, self.messages);
        }
        let mut changes = Changes::default();
        changes.replayed = committed.replayed;
        for effect in self.effects {
            let modseq = given(effect.modseq);
            let uid = effect.uid.map_or(0, given) as u32;
            let message = effect.message.map_or(0, given);
            let mut record = effect.record;
            for row in &mut record.appended {
                row.uid = row.uid.wrapping_add(uid);
                row.message.0 = row.message.0.wrapping_add(message);
                row.modseq = modseq;
                changes.appended.push(Appended {
                    folder: effect.folder.id,
                    uid_validity: effect.folder.uid_validity,
                    uid: row.uid,
                    message: row.message,
                });
            }
            effect.folder.apply(modseq, effect.writer.map(given), record);
            changes.modseqs.push(modseq);
            changes.folders.push(effect.folder);
        }
        changes
    }

    /// Nobody knows whether it happened: the views have to look.
    fn doubt(self) {
        self.account.0.usage_is_stale();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            for effect in self.effects {
                runtime.spawn(async move {
                    if let Err(e) = effect.folder.heal().await {
                        tracing::warn!(folder = effect.folder.id.0, error = %e, "a view could not look again");
                    }
                });
            }
        }
    }
}

/// Waits for a commit and carries it into memory. If whoever waits goes away, the rest is done without them, since the
/// batch is committed all the same.
pub(crate) struct Settle {
    pending: Option<Pending>,
    plan: Option<Plan>,
}

impl Settle {
    pub(crate) fn new(pending: Pending, plan: Plan) -> Settle {
        Settle { pending: Some(pending), plan: Some(plan) }
    }
}

impl Future for Settle {
    type Output = Result<Changes, CommitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(pending) = self.pending.as_mut() else {
            return Poll::Ready(Err(CommitError::Unknown("asked twice".into())));
        };
        let answer = std::task::ready!(Pin::new(pending).poll(cx));
        self.pending = None;
        let Some(plan) = self.plan.take() else {
            return Poll::Ready(Err(CommitError::Unknown("asked twice".into())));
        };
        Poll::Ready(match answer {
            Ok(committed) => Ok(plan.done(&committed)),
            Err(e) => {
                if matches!(e, CommitError::Unknown(_)) {
                    plan.doubt();
                }
                Err(e)
            }
        })
    }
}

impl Drop for Settle {
    fn drop(&mut self) {
        if let (Some(pending), Some(plan)) = (self.pending.take(), self.plan.take())
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                if let Ok(changes) = Settle::new(pending, plan).await {
                    changes.announce();
                }
            });
        }
    }
}
