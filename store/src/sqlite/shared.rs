//! What the committer, the readers and the callers share: the line of batches, the state of the handle, counters.

use crate::batch::{Batch, Committed, Hex, Key};
use crate::disk::Disk;
use crate::engine::{Health, Pending};
use crate::error::CommitError;
use crate::limits::{GROUP_BATCHES, GROUP_BYTES, WAITING_BATCHES, WAITING_BYTES};
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use waypost_base::Clock;
use waypost_base::metrics::{Counter, Gauge};

/// After this long without work the committer folds the log into the database.
const IDLE: Duration = Duration::from_millis(500);

/// Most damaged keys that are kept apart from each other; beyond they are only counted.
const CORRUPT_KEYS: usize = 10_000;

pub(super) type Answer = Result<Committed, CommitError>;
pub(super) type Reply = oneshot::Sender<Answer>;

pub(super) struct Job {
    pub batch: Batch,
    /// The rest of a chain, mostly empty.
    pub then: Vec<Batch>,
    pub reply: Reply,
}

#[derive(Default)]
pub(super) struct Figures {
    pub batches: Counter,
    pub groups: Counter,
    pub conflicts: Counter,
    pub refused: Counter,
    pub rows: Counter,
    pub bytes: Counter,
    pub reads: Counter,
    pub checkpoints: Counter,
    pub corrupt: Counter,
    pub wal_pages: Gauge,
}

pub(super) struct Shared {
    pub clock: Clock,
    pub disk: Arc<dyn Disk>,
    pub free_floor: u64,
    pub figures: Figures,
    line: Mutex<Line>,
    work: Condvar,
}

#[derive(Default)]
struct Line {
    jobs: VecDeque<(usize, Job)>,
    bytes: usize,
    /// Rows found damaged, to be copied into quarantine: key and bytes as stored.
    evidence: Vec<(Key, Vec<u8>)>,
    damaged: BTreeSet<Key>,
    read_only: Option<String>,
    closed: bool,
    committer_waits: bool,
}

/// What the committer should do next.
pub(super) enum Work {
    Group(Vec<Job>, Vec<(Key, Vec<u8>)>),
    Idle,
    End,
}

impl Shared {
    pub fn new(clock: Clock, disk: Arc<dyn Disk>, free_floor: u64) -> Shared {
        Shared {
            clock,
            disk,
            free_floor,
            figures: Figures::default(),
            line: Mutex::default(),
            work: Condvar::new(),
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a batch and what depends on it in line, or refuses all at once.
    pub fn submit(&self, batch: Batch, then: Vec<Batch>) -> Pending {
        let mut size = 0;
        for batch in std::iter::once(&batch).chain(&then) {
            match batch.check() {
                Ok(bytes) => size += bytes,
                Err(e) => return self.refuse(e),
            }
        }
        let (reply, answer) = oneshot::channel();
        let mut line = self.line();
        if line.closed {
            return self.refuse(CommitError::ReadOnly("the store is closed".into()));
        }
        if let Some(reason) = &line.read_only {
            return self.refuse(CommitError::ReadOnly(reason.clone()));
        }
        if line.bytes > WAITING_BYTES || line.jobs.len() >= WAITING_BATCHES {
            return self.refuse(CommitError::Busy);
        }
        line.bytes += size;
        line.jobs.push_back((size, Job { batch, then, reply }));
        if line.committer_waits {
            line.committer_waits = false;
            self.work.notify_one();
        }
        Pending::waiting(answer)
    }

    fn refuse(&self, error: CommitError) -> Pending {
        self.figures.refused.one();
        Pending::ready(Err(error))
    }

    /// Waits for work. `unfolded`: whether the log holds anything, so that there is something to do when idle.
    pub fn next(&self, unfolded: bool) -> Work {
        let mut line = self.line();
        loop {
            if !line.jobs.is_empty() || !line.evidence.is_empty() {
                return line.take_group();
            }
            if line.closed {
                return Work::End;
            }
            line.committer_waits = true;
            if unfolded {
                let (guard, waited) =
                    self.work.wait_timeout(line, IDLE).unwrap_or_else(PoisonError::into_inner);
                line = guard;
                if waited.timed_out() && line.jobs.is_empty() && !line.closed {
                    line.committer_waits = false;
                    return Work::Idle;
                }
            } else {
                line = self.work.wait(line).unwrap_or_else(PoisonError::into_inner);
            }
            line.committer_waits = false;
        }
    }

    /// The handle is dead. What waits, and whatever comes, is refused; what was under way is answered by the caller.
    pub fn die(&self, reason: &str) {
        tracing::error!(reason, "the store has gone read-only");
        let mut line = self.line();
        line.read_only.get_or_insert_with(|| reason.to_owned());
        line.bytes = 0;
        line.evidence.clear();
        let jobs = std::mem::take(&mut line.jobs);
        drop(line);
        for (_, job) in jobs {
            self.figures.refused.one();
            let _ = job.reply.send(Err(CommitError::ReadOnly(reason.to_owned())));
        }
    }

    pub fn read_only(&self) -> Option<String> {
        self.line().read_only.clone()
    }

    pub fn is_closed(&self) -> bool {
        self.line().closed
    }

    pub fn close(&self) {
        self.line().closed = true;
        self.work.notify_all();
    }

    /// Notes a damaged row: named in the log and counted once, its bytes kept in quarantine as evidence.
    pub fn corrupt(&self, key: &[u8], stored: &[u8]) {
        let mut line = self.line();
        if line.damaged.contains(key) || line.damaged.len() >= CORRUPT_KEYS {
            return;
        }
        self.figures.corrupt.one();
        tracing::error!(key = %Hex(key), "a damaged row is quarantined");
        line.damaged.insert(key.to_vec());
        if line.read_only.is_none() && !line.closed {
            line.evidence.push((key.to_vec(), stored.to_vec()));
            self.work.notify_one();
        }
    }

    /// Why the disk counts as full now, if it does.
    pub fn full(&self) -> Option<String> {
        match self.disk.free() {
            Ok(free) if free < self.free_floor => {
                Some(format!("{free} bytes free, {} are kept back", self.free_floor))
            }
            _ => None,
        }
    }

    pub fn health(&self) -> Health {
        let full = self.full();
        let line = self.line();
        Health {
            read_only: line.read_only.clone(),
            full,
            corrupt: self.figures.corrupt.value(),
            closed: line.closed,
        }
    }
}

impl Line {
    fn take_group(&mut self) -> Work {
        let (mut group, mut bytes) = (Vec::with_capacity(self.jobs.len().min(GROUP_BATCHES)), 0);
        while group.len() < GROUP_BATCHES {
            let Some((size, _)) = self.jobs.front() else { break };
            if bytes > 0 && bytes + size > GROUP_BYTES {
                break;
            }
            if let Some((size, job)) = self.jobs.pop_front() {
                bytes += size;
                self.bytes = self.bytes.saturating_sub(size);
                group.push(job);
            }
        }
        Work::Group(group, std::mem::take(&mut self.evidence))
    }
}
