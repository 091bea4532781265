//! What the tests of this room share: a queue with a clock that is set by hand.
#![allow(dead_code)] // Each test file uses a part of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;
use waypost_base::id::Correlation;
use waypost_base::{AccountId, Clock, Timestamp};
use waypost_queue::*;
use waypost_smtp::{Mailbox, RcptParams, Status};
use waypost_store::{Options, Store, prefix_range};

pub const NOW: i64 = 1_772_525_720_114;

/// Runs a test on the store in memory and on SQLite.
pub async fn both(test: impl AsyncFn(Store)) {
    test(Store::memory()).await;
    let folder = Folder::new();
    let options = Options { free_floor: 0, ..Options::new([3; 32], Clock::fixed(Timestamp(NOW))) };
    let store = Store::open(&folder.0, options).unwrap();
    test(store.clone()).await;
    store.close().await;
}

/// A folder that goes when the test does.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("waypost-queue-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub struct Rig {
    pub queue: Arc<Queue>,
    time: Arc<AtomicI64>,
}

impl Rig {
    pub async fn new(store: Store) -> Rig {
        let time = Arc::new(AtomicI64::new(NOW));
        Rig::start(store, time, |_| {}).await
    }

    async fn start(store: Store, time: Arc<AtomicI64>, check: impl FnOnce(&Recovered)) -> Rig {
        let now = time.clone();
        let clock = Clock::new(move || Timestamp(now.load(Ordering::Relaxed)));
        let queue = Queue::new(store, clock, RetryPlan::default(), Arc::new(NullRouter));
        check(&queue.recover().await.unwrap());
        Rig { queue, time }
    }

    /// What a restart finds.
    pub async fn restart(self) -> Rig {
        self.restart_with(|_| {}).await
    }

    pub async fn restart_with(self, check: impl FnOnce(&Recovered)) -> Rig {
        let store = self.queue.store().clone();
        let time = self.time.clone();
        drop(self);
        Rig::start(store, time, check).await
    }

    pub fn now(&self) -> Timestamp {
        Timestamp(self.time.load(Ordering::Relaxed))
    }

    pub fn advance(&self, millis: i64) {
        self.time.fetch_add(millis, Ordering::Relaxed);
    }

    pub async fn submit(&self, to: &[(&str, Option<u32>)], text: &[u8]) -> u64 {
        let new = item(self, to, text).await;
        self.queue.submit(new, false).await.unwrap().id
    }

    pub async fn work(&self) -> Work {
        self.maybe_work().await.expect("nothing to do")
    }

    /// What there is to do at this moment.
    pub async fn maybe_work(&self) -> Option<Work> {
        tokio::time::timeout(Duration::from_millis(50), self.queue.work()).await.ok()
    }

    pub async fn nothing(&self) -> bool {
        self.maybe_work().await.is_none()
    }

    /// Lets commits that nobody waits for come to their end.
    pub async fn quiet(&self) {
        let mut batch = waypost_store::Batch::new(waypost_store::Partition::tag(0x21));
        batch.del(vec![0x21]);
        self.queue.store().commit(batch).await.unwrap();
        tokio::task::yield_now().await;
        let mut batch = waypost_store::Batch::new(waypost_store::Partition::tag(0x21));
        batch.del(vec![0x21]);
        self.queue.store().commit(batch).await.unwrap();
    }

    /// Rows of the queue, without the note that it runs.
    pub async fn rows(&self) -> usize {
        self.quiet().await;
        let mut count = 0;
        let store = self.queue.store();
        store
            .each(prefix_range(&[0x20]), |key, _| {
                count += usize::from(key[1] != 6);
                true
            })
            .await
            .unwrap();
        count
    }

    /// Nothing is left, in memory or in rows, and the rows that there were are sound.
    pub async fn check_empty(&self) {
        assert_eq!(self.rows().await, 0);
        assert!(self.queue.is_empty());
        let store = self.queue.store();
        let mut held = 0;
        store
            .each(prefix_range(&[0x50]), |_, _| {
                held += 1;
                true
            })
            .await
            .unwrap();
        assert_eq!(held, 0, "bytes that nobody needs are held");
        let report = store.verify(&[&QueueCheck]).await;
        assert!(report.is_clean(), "{report}");
    }
}

/// An item from a@a.example of account 9: those with a number are accounts here.
pub async fn item(rig: &Rig, to: &[(&str, Option<u32>)], text: &[u8]) -> NewItem {
    let blob = rig.queue.store().blobs().write(text).await.unwrap();
    let mut envelope = Envelope::new(Some(Mailbox::parse("a@a.example").unwrap()), rig.now(), Correlation(7));
    envelope.owner = Some(AccountId(9));
    envelope.subject = "Über x".into();
    envelope.client.ip = Some("2001:db8::1".parse().unwrap());
    let mut recipients = Vec::new();
    let mut hops: Vec<Hop> = Vec::new();
    for (of, (address, account)) in (0u32..).zip(to) {
        let mailbox = Mailbox::parse(address).unwrap();
        let (route, local) = match account {
            Some(account) => {
                (Route::Mailbox, Some(Local { account: AccountId(*account), place: Place::Inbox }))
            }
            None => (Route::Domain(mailbox.domain.clone()), None),
        };
        recipients.push(Accepted { to: mailbox.clone(), params: RcptParams::default() });
        let target = Target { to: mailbox, of, local };
        match hops.iter_mut().find(|hop| hop.route == route) {
            Some(hop) => hop.targets.push(target),
            None => {
                let number = hops.len() as u32;
                hops.push(Hop { number, route, targets: vec![target] });
            }
        }
    }
    NewItem { id: rig.queue.next_id(), envelope, blob, recipients, hops }
}

pub fn relayed() -> Fate {
    Fate::Relayed { server: "mx.b.example".into(), text: "250 ok".into(), dsn: false }
}

pub fn temporary(text: &str) -> Reason {
    let server = Some("mx.b.example".into());
    Reason { code: Some(451), server, ..Reason::temporary(Status(4, 7, 1), text) }
}

pub fn permanent() -> Reason {
    Reason::permanent(Status(5, 1, 1), "no such user")
}

/// Bytes that do not compress.
pub fn noise(len: usize) -> Vec<u8> {
    let mut x = 0x9E37_79B9_7F4A_7C15u64;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        out.extend_from_slice(&x.to_le_bytes());
    }
    out.truncate(len);
    out
}
