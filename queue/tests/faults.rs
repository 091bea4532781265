//! A store that refuses, loses its answer, or fills up: nothing is lost, nothing is done twice.
#![allow(clippy::unwrap_used)] // The helpers of a test may fail it as the test itself may.

mod tools;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tools::{NOW, Rig, item, permanent, relayed, temporary};
use waypost_base::metrics::Figure;
use waypost_base::{Clock, Timestamp};
use waypost_queue::*;
use waypost_store::disk::Memory;
use waypost_store::{
    BackupError, BackupInfo, Batch, CommitError, Engine, Health, Key, Limits, Model, Options, Pending,
    ReadError, Report, Store,
};

/// An engine that, while it is told so, does what it is asked and says that it does not know, or refuses.
struct Doubtful {
    model: Arc<Model>,
    lie: AtomicU32,
}

const HONEST: u32 = 0;
const DONE_BUT_UNKNOWN: u32 = 1;
const UNDONE_AND_UNKNOWN: u32 = 2;

impl Doubtful {
    fn answer(&self, pending: impl FnOnce() -> Pending) -> Pending {
        let unknown = || Pending::ready(Err(CommitError::Unknown("the line went dead".into())));
        match self.lie.load(Ordering::Relaxed) {
            HONEST => pending(),
            DONE_BUT_UNKNOWN => {
                drop(pending());
                unknown()
            }
            _ => unknown(),
        }
    }
}

#[async_trait::async_trait]
impl Engine for Doubtful {
    async fn get(&self, keys: Vec<Key>) -> Result<Vec<Option<bytes::Bytes>>, ReadError> {
        self.model.get(keys).await
    }
    async fn scan(
        &self,
        r: Range<Key>,
        rev: bool,
        rows: u32,
        b: u32,
    ) -> Result<waypost_store::Page, ReadError> {
        self.model.scan(r, rev, rows, b).await
    }
    fn commit(&self, batch: Batch) -> Pending {
        self.answer(|| self.model.commit(batch))
    }
    fn commit_chain(&self, batches: Vec<Batch>) -> Pending {
        self.answer(|| self.model.commit_chain(batches))
    }
    async fn backup(&self, to: &Path) -> Result<BackupInfo, BackupError> {
        self.model.backup(to).await
    }
    async fn verify(&self, report: &mut Report) {
        self.model.verify(report).await;
    }
    fn limits(&self) -> Limits {
        self.model.limits()
    }
    fn clock(&self) -> Timestamp {
        self.model.clock()
    }
    fn health(&self) -> Health {
        self.model.health()
    }
    fn figures(&self) -> Vec<Figure> {
        Vec::new()
    }
    async fn close(&self) {
        self.model.close().await;
    }
}

async fn world() -> (Arc<Doubtful>, Rig) {
    let clock = Clock::fixed(Timestamp(NOW));
    let model = Arc::new(Model::new(clock.clone()));
    let engine = Arc::new(Doubtful { model, lie: AtomicU32::new(HONEST) });
    let options = Options::new([7; 32], clock);
    let store = Store::assemble(engine.clone(), Arc::new(Memory::default()), options).unwrap();
    (engine, Rig::new(store).await)
}

async fn take(rig: &Rig) -> (Ticket, Lease) {
    let Work::Connect(ticket) = rig.work().await else { panic!("nothing to connect to") };
    ticket.ok();
    let mut lease = ticket.next().unwrap();
    lease.load().await.unwrap();
    (ticket, lease)
}

#[tokio::test(start_paused = true)]
async fn an_unknown_submission_is_found_out_by_looking() {
    let (engine, rig) = world().await;
    let new = item(&rig, &[("b@b.example", None)], b"one").await;
    engine.lie.store(DONE_BUT_UNKNOWN, Ordering::Relaxed);
    rig.queue.submit(new, false).await.unwrap();
    assert_eq!(rig.queue.len(), 1);
    let new = item(&rig, &[("b@b.example", None)], b"two").await;
    engine.lie.store(UNDONE_AND_UNKNOWN, Ordering::Relaxed);
    assert!(matches!(rig.queue.submit(new, false).await, Err(CommitError::Unknown(_))));
    assert_eq!(rig.queue.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_cannot_be_written_is_kept_and_nothing_is_begun_meanwhile() {
    for lie in [DONE_BUT_UNKNOWN, UNDONE_AND_UNKNOWN] {
        let (engine, rig) = world().await;
        rig.submit(&[("b@b.example", None)], b"one").await;
        rig.submit(&[("b@b.example", None)], b"two").await;
        let (ticket, lease) = take(&rig).await;
        let report = item(&rig, &[("a@a.example", None)], b"it failed").await;
        engine.lie.store(lie, Ordering::Relaxed);
        let fate = vec![(0, Fate::Failed(permanent()))];
        let answer = rig.queue.settle(lease, fate, Rest::Done, vec![report]).await;
        assert!(matches!(answer, Err(CommitError::Unknown(_))));
        assert!(ticket.next().is_none(), "nothing new is begun");
        assert!(rig.nothing().await);
        rig.advance(3000);
        assert!(rig.nothing().await, "still in doubt");
        engine.lie.store(HONEST, Ordering::Relaxed);
        rig.advance(3000);
        let mut seen = Vec::new();
        drop(ticket);
        while let Some(Work::Connect(ticket)) = rig.maybe_work().await {
            ticket.ok();
            while let Some(mut lease) = ticket.next() {
                let loaded = lease.load().await.unwrap();
                seen.push(rig.queue.store().blobs().read(&loaded.blob, 0..99).await.unwrap());
                rig.queue.settle(lease, vec![(0, relayed())], Rest::Done, vec![]).await.unwrap();
            }
        }
        seen.sort();
        assert_eq!(seen, ["it failed", "two"], "the report came once, the settled one never again");
        rig.check_empty().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_keeps_what_was_put_off_in_memory_and_lets_the_rest_go() {
    let (engine, rig) = world().await;
    rig.submit(&[("b@b.example", None)], b"one").await;
    rig.submit(&[("b@b.example", None)], b"two").await;
    let (ticket, lease) = take(&rig).await;
    engine.model.set_full(Some("no space"));
    let rest = Rest::Retry { reason: temporary("later"), at: None };
    assert!(matches!(rig.queue.settle(lease, vec![], rest, vec![]).await, Err(CommitError::Full(_))));
    let mut lease = ticket.next().unwrap();
    lease.load().await.unwrap();
    rig.queue.settle(lease, vec![(0, relayed())], Rest::Done, vec![]).await.unwrap();
    assert!(ticket.next().is_none());
    let new = item(&rig, &[("b@b.example", None)], b"three").await;
    assert!(matches!(rig.queue.submit(new, false).await, Err(CommitError::Full(_))));
    engine.model.set_full(None);
    rig.advance(3000);
    assert!(rig.nothing().await);
    assert_eq!(rig.queue.list_queues(|_| true)[0].deferred_count, 1);
    rig.advance(6 * 60_000);
    let lease = ticket.next().unwrap();
    drop(lease);
    assert_eq!(rig.queue.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_settling_that_nobody_awaits_goes_on() {
    let (engine, rig) = world().await;
    rig.submit(&[("b@b.example", None), ("c@c.example", None)], b"one").await;
    let (_t1, one) = take(&rig).await;
    let (_t2, two) = take(&rig).await;
    engine.lie.store(UNDONE_AND_UNKNOWN, Ordering::Relaxed);
    drop(rig.queue.settle(one, vec![(0, relayed())], Rest::Done, vec![]));
    tokio::task::yield_now().await;
    engine.lie.store(HONEST, Ordering::Relaxed);
    rig.queue.settle(two, vec![(0, relayed())], Rest::Done, vec![]).await.unwrap();
    assert_eq!(rig.queue.len(), 1, "the first end is not durable yet, so the item stays");
    rig.advance(3000);
    assert!(rig.nothing().await);
    rig.check_empty().await;
}

/// The rows as they are after every number of commits: each time everything is delivered once, or still to be.
#[tokio::test(start_paused = true)]
async fn a_crash_at_any_step_neither_loses_nor_doubles() {
    let targets =
        [("ann@here", Some(1)), ("b@b.example", None), ("c@c.example", None), ("d@c.example", None)];
    for stop in 0..12 {
        let (engine, rig) = world().await;
        let names: Vec<&str> = targets.iter().map(|(name, _)| *name).collect();
        rig.submit(&targets, b"hello").await;
        let mut settled: Vec<String> = Vec::new();
        let mut steps = 0;
        'run: while let Some(work) = rig.maybe_work().await {
            let (_ticket, mut lease) = match work {
                Work::Connect(ticket) => {
                    ticket.ok();
                    match ticket.next() {
                        Some(lease) => (Some(ticket), lease),
                        None => continue,
                    }
                }
                Work::Deliver(lease) => (None, lease),
                other => panic!("{other:?}"),
            };
            let loaded = lease.load().await.unwrap();
            // One target at a time, so that every kind of row comes about.
            let (index, target) = loaded.targets[0].clone();
            let rest = Rest::Retry { reason: temporary("one at a time"), at: Some(rig.now()) };
            if steps == stop {
                break 'run;
            }
            steps += 1;
            rig.queue.settle(lease, vec![(index, relayed())], rest, vec![]).await.unwrap();
            settled.push(target.to.to_string());
        }
        // The power goes; what the rows say is what there is.
        let copy = Arc::new(engine.model.copy());
        let options = Options::new([7; 32], Clock::fixed(Timestamp(NOW)));
        let store = Store::assemble(copy, Arc::new(Memory::default()), options).unwrap();
        let rig = Rig::new(store).await;
        while let Some(work) = rig.maybe_work().await {
            let (_ticket, mut lease) = match work {
                Work::Connect(ticket) => {
                    ticket.ok();
                    match ticket.next() {
                        Some(lease) => (Some(ticket), lease),
                        None => continue,
                    }
                }
                Work::Deliver(lease) => (None, lease),
                other => panic!("{other:?}"),
            };
            let loaded = lease.load().await.unwrap();
            settled.extend(loaded.targets.iter().map(|(_, target)| target.to.to_string()));
            let fates = loaded.targets.iter().map(|(index, _)| (*index, relayed())).collect();
            rig.queue.settle(lease, fates, Rest::Done, vec![]).await.unwrap();
        }
        settled.sort();
        assert_eq!(settled, names, "after {stop} steps");
        rig.check_empty().await;
    }
}
