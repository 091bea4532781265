//! What copies of the directory on other servers live by: the feed of changes where it is kept, and taking it over where
//! it is copied.

use super::Directory;
use crate::credential::random;
use crate::error::{ChangeError, OpenError};
use crate::load;
use crate::replica::{DELTA_BYTES_MAX, DELTAS_MAX, Delta, Extent, Mark, PAGE_ROWS, Page};
use crate::rows;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use waypost_store::limits::{BATCH_BYTES, BATCH_OPS};
use waypost_store::{Batch, CommitError, Committed, Engine, Expect, Key, Op, prefix_range};

/// Changes lately made, and where the directory stands.
pub(super) struct Feed {
    ring: Mutex<Ring>,
    now: watch::Sender<Mark>,
}

#[derive(Default)]
struct Ring {
    deltas: VecDeque<Arc<Delta>>,
    bytes: usize,
}

impl Feed {
    pub fn at(mark: Mark) -> Feed {
        Feed { ring: Mutex::default(), now: watch::Sender::new(mark) }
    }

    /// Something has changed that is not known row by row: whoever is behind takes a whole copy.
    fn lost(&self, mark: Mark) {
        *self.ring.lock().unwrap_or_else(PoisonError::into_inner) = Ring::default();
        self.now.send_replace(mark);
    }

    fn add(&self, epoch: u64, delta: Delta) {
        let number = delta.number;
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.bytes += delta.size();
        ring.deltas.push_back(Arc::new(delta));
        while ring.deltas.len() > DELTAS_MAX || ring.bytes > DELTA_BYTES_MAX {
            let Some(old) = ring.deltas.pop_front() else { break };
            ring.bytes -= old.size();
        }
        drop(ring);
        self.now.send_replace(Mark { epoch, number });
    }
}

/// Where the rows say that they stand; `None` before the first epoch.
pub(super) async fn read_mark(engine: &dyn Engine) -> Result<Option<Mark>, OpenError> {
    let rows = engine.get(vec![rows::single(rows::EPOCH), rows::single(rows::NUMBER)]).await?;
    let mut numbers = rows.into_iter().map(|row| row.and_then(|v| number_of(&v)));
    let (epoch, number) = (numbers.next().flatten(), numbers.next().flatten());
    Ok(epoch.map(|epoch| Mark { epoch, number: number.unwrap_or(0) }))
}

fn number_of(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_be_bytes)
}

/// Begins an epoch: the first one, or a new one after the rows have changed in ways that nobody noted.
pub(super) async fn begin_epoch(engine: &dyn Engine) -> Result<Mark, OpenError> {
    let epoch = u64::from_be_bytes(random().map_err(|_| CommitError::Unavailable("no random bytes".into()))?);
    let mut batch = Batch::new(rows::PARTITION);
    batch.put(rows::single(rows::EPOCH), epoch.to_be_bytes().to_vec());
    batch.put(rows::single(rows::NUMBER), 0u64.to_be_bytes().to_vec());
    engine.commit(batch).await?;
    Ok(Mark { epoch, number: 0 })
}

/// Where the directory is kept.
impl Directory {
    /// Where the directory stands.
    pub fn mark(&self) -> Mark {
        *self.feed.now.borrow()
    }

    /// Woken at each change with where the directory stands from then on.
    pub fn marks(&self) -> watch::Receiver<Mark> {
        self.feed.now.subscribe()
    }

    /// The changes after `mark`, oldest first, at most `bytes` of them and at least one; `None` for whoever is too far
    /// behind, or elsewhere, and has to take a whole copy.
    pub fn deltas_since(&self, mark: Mark, bytes: usize) -> Option<Vec<Arc<Delta>>> {
        let ring = self.feed.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let now = *self.feed.now.borrow();
        if mark.epoch != now.epoch || mark.number > now.number {
            return None;
        }
        if mark.number == now.number {
            return Some(Vec::new());
        }
        let first = ring.deltas.front()?.number;
        if first > mark.number + 1 {
            return None;
        }
        let mut left = bytes;
        let news = ring.deltas.iter().skip_while(|d| d.number <= mark.number);
        let mut out: Vec<Arc<Delta>> = Vec::new();
        for delta in news {
            if !out.is_empty() && delta.size() > left {
                break;
            }
            left = left.saturating_sub(delta.size());
            out.push(Arc::clone(delta));
        }
        Some(out)
    }

    /// A page of a whole copy, from `from` on. Take [`mark`](Directory::mark) before the first one: what changes while
    /// pages are read is in the deltas after it.
    pub async fn copy_page(&self, from: Option<Key>, extent: Extent) -> Result<Page, ChangeError> {
        let whole = prefix_range(rows::PARTITION.as_bytes());
        let from = from.filter(|key| whole.contains(key)).unwrap_or(whole.start);
        let page = self.engine.scan(from.clone()..whole.end, false, PAGE_ROWS, u32::MAX).await?;
        let copied = |key: &[u8]| extent.has(key) && !is_mark(key);
        let rows =
            page.rows().filter(|(key, _)| copied(key)).map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
        Ok(Page { from, to: page.next.map(|range| range.start), rows })
    }

    /// Notes for the feed what a committed batch has done. The caller holds the writer's lock.
    pub(super) async fn fed(&self, batch: Batch, committed: &Committed) {
        let before = self.mark();
        match self.delta(batch, &committed.allocated).await {
            Some(delta) if delta.number > before.number => self.feed.add(before.epoch, delta),
            _ => {
                let mark = read_mark(self.engine.as_ref()).await.ok().flatten();
                // A number that nobody has makes all of them take a whole copy.
                self.feed.lost(mark.unwrap_or(Mark { number: before.number + 1, ..before }));
            }
        }
    }

    /// The rows that a batch has touched, as they are now.
    async fn delta(&self, batch: Batch, allocated: &[u64]) -> Option<Delta> {
        let mut keys: Vec<Key> = batch.alloc.into_iter().map(|(key, _)| key).collect();
        let mut ranges = Vec::new();
        for op in batch.ops {
            match op {
                Op::Put(key, _) => keys.push(key.fill(allocated).ok()?),
                Op::Del(key) | Op::Add(key, _) => keys.push(key),
                Op::DelRange(from, to) => ranges.push((from, to)),
            }
        }
        keys.sort();
        keys.dedup();
        let values = self.engine.get(keys.clone()).await.ok()?;
        let mut delta = Delta { ranges, ..Delta::default() };
        for (key, value) in keys.into_iter().zip(values) {
            match value {
                Some(value) if key == rows::single(rows::NUMBER) => {
                    delta.number = number_of(&value)?;
                    delta.puts.push((key, value.to_vec()));
                }
                Some(value) => delta.puts.push((key, value.to_vec())),
                None => delta.dels.push(key),
            }
        }
        Some(delta)
    }

    /// The rows are not what they were when copies of them were made: after a restore from a backup.
    pub async fn new_epoch(&self) -> Result<(), OpenError> {
        let _writer = self.writer.lock().await;
        let mark = begin_epoch(self.engine.as_ref()).await?;
        self.feed.lost(mark);
        Ok(())
    }
}

fn is_mark(key: &[u8]) -> bool {
    matches!(key.get(1), Some(&(rows::EPOCH | rows::NUMBER)))
}

fn is_proof(key: &[u8]) -> bool {
    matches!(key.get(1), Some(&(rows::CREDENTIAL | rows::API_TOKEN)))
}

/// Where it is copied.
impl Directory {
    /// Takes over changes in order, each in a batch of its own. Where one cannot be taken over, those before it are, and
    /// the mark says so.
    pub async fn apply(&self, deltas: &[Delta]) -> Result<(), OpenError> {
        let _writer = self.writer.lock().await;
        for delta in deltas {
            let mut ops = Vec::new();
            ops.extend(delta.ranges.iter().map(|(from, to)| Op::DelRange(from.clone(), to.clone())));
            ops.extend(delta.dels.iter().cloned().map(Op::Del));
            ops.extend(delta.puts.iter().map(|(k, v)| Op::Put(k.clone().into(), v.clone().into())));
            commit_all(self.engine.as_ref(), ops).await?;
            self.edit(|s| load::turn(s, delta)).map_err(|(key, why)| OpenError::Damaged {
                key: waypost_store::Hex(&key).to_string(),
                why,
            })?;
            self.feed.now.send_modify(|mark| mark.number = delta.number);
        }
        Ok(())
    }

    /// Ends the taking over of a whole copy: from here on this one stands at `mark`, and what it has is what is looked
    /// things up in.
    pub async fn copied(&self, mark: Mark) -> Result<(), OpenError> {
        let _writer = self.writer.lock().await;
        end_copy(self.engine.as_ref(), mark).await?;
        self.reread().await?;
        self.feed.lost(mark);
        Ok(())
    }

    /// Takes over a page of a whole copy: what differs in its range is changed, what is not in it goes. The directory in
    /// memory stays as it was until [`copied`](Directory::copied).
    pub async fn take_page(&self, page: &Page, extent: Extent) -> Result<(), OpenError> {
        let _writer = self.writer.lock().await;
        take_page(self.engine.as_ref(), page, extent).await
    }
}

/// [`Directory::take_page`] on a store whose directory is not open yet.
pub async fn take_page(engine: &dyn Engine, page: &Page, extent: Extent) -> Result<(), OpenError> {
    let whole = prefix_range(rows::PARTITION.as_bytes());
    let mut theirs: BTreeMap<&[u8], &[u8]> =
        page.rows.iter().map(|(k, v)| (k.as_slice(), v.as_slice())).collect();
    let end = page.to.clone().unwrap_or(whole.end);
    let mut range = Some(page.from.clone()..end);
    let mut ops = Vec::new();
    while let Some(part) = range {
        let ours = engine.scan(part, false, PAGE_ROWS, u32::MAX).await?;
        for (key, value) in ours.rows().filter(|(key, _)| !is_mark(key)) {
            if !extent.has(key) {
                // Our own stay; what proves who somebody is goes when this copy becomes a thin one.
                if is_proof(key) {
                    ops.push(Op::Del(key.to_vec()));
                }
                continue;
            }
            match theirs.remove(key) {
                Some(same) if same == value => {}
                Some(other) => ops.push(Op::Put(key.to_vec().into(), other.to_vec().into())),
                None => ops.push(Op::Del(key.to_vec())),
            }
        }
        // Damaged ones are written again, if they are still there.
        ops.extend(ours.corrupt.iter().filter(|key| !is_mark(key)).cloned().map(Op::Del));
        range = ours.next;
    }
    ops.extend(theirs.into_iter().map(|(k, v)| Op::Put(k.to_vec().into(), v.to_vec().into())));
    commit_all(engine, ops).await
}

/// [`Directory::copied`] on a store whose directory is not open yet.
pub async fn end_copy(engine: &dyn Engine, mark: Mark) -> Result<(), OpenError> {
    let mut batch = Batch::new(rows::PARTITION);
    batch.put(rows::single(rows::EPOCH), mark.epoch.to_be_bytes().to_vec());
    batch.put(rows::single(rows::NUMBER), mark.number.to_be_bytes().to_vec());
    engine.commit(batch).await?;
    Ok(())
}

/// In as few batches as their limits allow. The rows of a delta are one batch, as they were at the keeper.
async fn commit_all(engine: &dyn Engine, ops: Vec<Op>) -> Result<(), OpenError> {
    let mut batch = Batch::new(rows::PARTITION);
    let mut bytes = 0;
    for op in ops {
        let size = size_of(&op);
        if batch.ops.len() >= BATCH_OPS || bytes + size > BATCH_BYTES {
            engine.commit(std::mem::replace(&mut batch, Batch::new(rows::PARTITION))).await?;
            bytes = 0;
        }
        bytes += size;
        batch.ops.push(op);
    }
    if !batch.ops.is_empty() {
        engine.commit(batch).await?;
    }
    Ok(())
}

fn size_of(op: &Op) -> usize {
    match op {
        Op::Put(key, value) => key.bytes.len() + value.bytes.len(),
        Op::Del(key) | Op::Add(key, _) => key.len() + 8,
        Op::DelRange(from, to) => from.len() + to.len(),
    }
}

/// Whether the first epoch has been begun; begins it where not. Two who try at once agree.
pub(super) async fn first_mark(engine: &dyn Engine) -> Result<Mark, OpenError> {
    if let Some(mark) = read_mark(engine).await? {
        return Ok(mark);
    }
    let epoch: u64 =
        u64::from_be_bytes(random().map_err(|_| CommitError::Unavailable("no random bytes".into()))?);
    let key = rows::single(rows::EPOCH);
    let mut batch = Batch::new(rows::PARTITION);
    batch.expect(key.clone(), Expect::Absent).put(key, epoch.to_be_bytes().to_vec());
    match engine.commit(batch).await {
        Ok(_) | Err(CommitError::Conflict(_)) => Ok(read_mark(engine).await?.unwrap_or_default()),
        Err(e) => Err(e.into()),
    }
}
