//! Message bytes: what comes back, what a crash leaves, what damage does, what upkeep removes.
#![allow(clippy::unwrap_used)] // The helpers of a test may fail it as the test itself may.

mod tools;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tools::{Folder, noise, options, runtime, store};
use waypost_base::{Clock, Timestamp};
use waypost_store::disk::{Crashing, Disk};
use waypost_store::limits::{CHUNK_BYTES, INLINE_BYTES};
use waypost_store::{
    Batch, Blob, BlobError, BlobId, Body, CommitError, Engine, Holder, Holders, Model, Options, Partition,
    ReadError, Store, prefix_range,
};

const HOLDER: Holder = Partition::numbered(0x10, 1);
const OTHER: Holder = Partition::numbered(0x10, 2);

async fn write(store: &Store, bytes: &[u8], piece: usize) -> Result<Blob, BlobError> {
    let mut writer = store.blobs().writer();
    for piece in bytes.chunks(piece.max(1)) {
        writer.write(piece).await?;
    }
    writer.finish().await
}

/// Written, held, looked up again: as a delivery does it.
async fn deliver(store: &Store, bytes: &[u8], holder: Holder) -> Result<BlobId, BlobError> {
    let blob = write(store, bytes, 50_000).await?;
    store.blobs().hold(&blob, &[holder]).await?;
    Ok(blob.id)
}

async fn fetch(store: &Store, id: BlobId, holder: Holder) -> Result<Vec<u8>, BlobError> {
    let blob = store.blobs().stored(id, holder).await?;
    Ok(store.blobs().read(&blob, 0..u64::MAX).await?.to_vec())
}

async fn sizes_and_ranges(store: &Store) {
    let chunk = CHUNK_BYTES;
    for len in [0, 1, 4_000, INLINE_BYTES, 20_000, chunk - 1, chunk, chunk + 1, 2 * chunk, 5 * chunk + 77] {
        for (kind, bytes) in [("noise", noise(len as u64, len)), ("text", vec![b'x'; len])] {
            let blob = write(store, &bytes, len / 3 + 1).await.unwrap();
            assert_eq!(blob.size, len as u64);
            assert_eq!(blob.id, store.blobs().id(&bytes), "{kind} {len}");
            let inline = len <= chunk && (kind == "text" || len < INLINE_BYTES);
            assert_eq!(!blob.is_stored(), inline, "{kind} {len}");
            store.blobs().hold(&blob, &[HOLDER, OTHER]).await.unwrap();
            let again = match &blob.body {
                Body::Inline(bytes) => {
                    assert!(bytes.len() <= INLINE_BYTES);
                    store.blobs().inline(blob.id, blob.size, bytes.clone())
                }
                Body::Stored(chunks) => {
                    assert_eq!(chunks.len(), len.div_ceil(chunk));
                    store.blobs().stored(blob.id, OTHER).await.unwrap()
                }
            };
            let whole = store.blobs().read(&again, 0..u64::MAX).await.unwrap();
            assert_eq!(whole, bytes, "{kind} {len}");
            for range in [0..1, 1..len, len / 2..len / 2 + 70_000, len..len + 5, chunk - 1..chunk + 1] {
                let expected = &bytes[range.start.min(len)..range.end.min(len)];
                let got = store.blobs().read(&again, range.start as u64..range.end as u64).await.unwrap();
                assert_eq!(got, expected, "{kind} {len} {range:?}");
            }
        }
    }
}

#[test]
fn every_size_and_range_comes_back() {
    let folder = Folder::new();
    runtime().block_on(async {
        sizes_and_ranges(&Store::memory()).await;
        let real = store(folder.path());
        sizes_and_ranges(&real).await;
        let report = real.verify(&[]).await;
        assert!(report.is_clean() && report.chunks > 0, "{report}");
        real.close().await;
        assert!(write(&real, &noise(1, 100_000), 100_000).await.is_err());
    });
}

#[test]
fn equal_bytes_are_stored_once() {
    runtime().block_on(async {
        let store = Store::memory();
        let bytes = noise(1, 200_000);
        let first = write(&store, &bytes, 1000).await.unwrap();
        store.blobs().hold(&first, &[HOLDER]).await.unwrap();
        let second = write(&store, &bytes, 99_999).await.unwrap();
        assert_eq!(first.body, second.body);
        store.blobs().hold(&second, &[OTHER]).await.unwrap();
        store.blobs().release(first.id, HOLDER).await.unwrap();
        assert_eq!(fetch(&store, first.id, HOLDER).await, Err(BlobError::Missing));
        assert_eq!(fetch(&store, first.id, OTHER).await.unwrap(), bytes);
        let mut other = Options::new([9; 32], Clock::fixed(Timestamp(0)));
        other.free_floor = 0;
        assert_ne!(Store::memory_with(other).blobs().id(&bytes), first.id, "ids are keyed");
    });
}

#[test]
fn too_large_is_refused_on_the_way() {
    runtime().block_on(async {
        let store = Store::memory();
        let mut writer = store.blobs().writer();
        let piece = vec![0; 1 << 20];
        for _ in 0..256 {
            writer.write(&piece).await.unwrap();
        }
        assert_eq!(writer.write(b"x").await, Err(BlobError::TooLarge));
        assert!(writer.write(b"x").await.is_err());
        assert!(writer.finish().await.is_err());
    });
}

fn on(disk: &Crashing, model: Model, segment_bytes: u64) -> Store {
    let options = Options { segment_bytes, ..options() };
    Store::assemble(Arc::new(model), Arc::new(disk.clone()), options).unwrap()
}

fn now() -> Model {
    Model::new(tools::clock())
}

/// What the first delivery that fails says, and what was acknowledged before.
async fn deliver_until_it_fails(store: &Store) -> (Vec<(BlobId, Vec<u8>)>, Option<BlobError>) {
    let mut acknowledged = Vec::new();
    for i in 0..6 {
        let bytes = noise(i, 30_000 + 25_000 * i as usize);
        match deliver(store, &bytes, HOLDER).await {
            Ok(id) => acknowledged.push((id, bytes)),
            Err(error) => return (acknowledged, Some(error)),
        }
    }
    (acknowledged, None)
}

/// The disk fails at its n-th operation, for every n, and then the power goes: what was acknowledged is there.
#[test]
fn what_was_acknowledged_survives_a_crash_at_every_operation() {
    runtime().block_on(async {
        let mut failures = 0;
        for n in 0.. {
            let disk = Crashing::default();
            let model = Arc::new(now());
            let options = Options { segment_bytes: 150_000, ..options() };
            let store = Store::assemble(model.clone(), Arc::new(disk.clone()), options).unwrap();
            disk.fail_after(n, std::io::ErrorKind::Other);
            let (acknowledged, error) = deliver_until_it_fails(&store).await;
            if error.is_some() {
                failures += 1;
                assert!(matches!(error, Some(BlobError::ReadOnly(_))), "{error:?}");
                assert!(store.health().read_only.is_some());
                let late = store.commit(Batch::new(Partition::tag(1))).await;
                assert!(matches!(late, Err(CommitError::ReadOnly(_))));
            }
            for seed in 1..6 {
                let after = disk.crash(seed * 0x1234_5677);
                let store = on(&after, model.copy(), 150_000);
                for (id, bytes) in &acknowledged {
                    assert_eq!(
                        &fetch(&store, *id, HOLDER).await.unwrap(),
                        bytes,
                        "operation {n}, seed {seed}"
                    );
                }
                let report = store.verify(&[]).await;
                assert!(report.is_clean(), "operation {n}, seed {seed}: {report}");
                // And it goes on.
                let bytes = noise(99, 120_000);
                let id = deliver(&store, &bytes, HOLDER).await.unwrap();
                assert_eq!(fetch(&store, id, HOLDER).await.unwrap(), bytes);
            }
            if error.is_none() {
                break;
            }
        }
        assert!(failures > 20, "the fault was met only {failures} times");
    });
}

/// The control: if the bytes are not synced before the batch, the same test must find them missing.
#[test]
fn the_crash_test_would_notice_a_missing_sync() {
    let disk = Crashing::default();
    let file = disk.create("00000001.seg").unwrap();
    file.write_at(0, &[1; 5000]).unwrap();
    let survived = |seed| {
        let after = disk.crash(seed);
        after.open("00000001.seg").and_then(|f| f.read_at(0, &mut [0; 5000])).is_ok()
    };
    assert!((1..50).any(|seed| !survived(seed * 77)));
    file.sync().unwrap();
    disk.sync_names().unwrap();
    assert!((1..50).all(|seed| survived(seed * 77)));
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    runtime().block_on(async {
        let disk = Crashing::default();
        let store = on(&disk, now(), u64::MAX);
        let bytes = noise(1, 100_000);
        // Between chunks, before SQLite or anybody else could meet it.
        for free in [0, 10_000, 70_000, 100_000] {
            disk.set_free(Some(free));
            let error = deliver(&store, &bytes, HOLDER).await.unwrap_err();
            assert!(matches!(error, BlobError::Full(_)) && error.retry(), "{error:?}");
        }
        disk.set_free(None);
        let id = deliver(&store, &bytes, HOLDER).await.unwrap();
        assert_eq!(fetch(&store, id, HOLDER).await.unwrap(), bytes);
        assert!(store.health().writable());
        assert!(store.verify(&[]).await.is_clean());
    });
}

#[test]
fn damage_is_named_and_the_rest_is_served() {
    runtime().block_on(async {
        let disk = Crashing::default();
        let model = Arc::new(now());
        let store = Store::assemble(model.clone(), Arc::new(disk.clone()), options()).unwrap();
        let messages: Vec<Vec<u8>> = (0..3).map(|i| noise(i, 60_000)).collect();
        let mut ids = Vec::new();
        for bytes in &messages {
            ids.push(deliver(&store, bytes, HOLDER).await.unwrap());
        }
        // In the middle of the second record.
        disk.damage("00000001.seg", 60_000 + 500, b"rot");
        for reopened in [false, true] {
            let store = if reopened { on(&disk, model.copy(), u64::MAX) } else { store.clone() };
            assert_eq!(fetch(&store, ids[0], HOLDER).await.unwrap(), messages[0]);
            let error = fetch(&store, ids[1], HOLDER).await.unwrap_err();
            assert!(matches!(error, BlobError::Corrupt { segment: 1, .. }), "{error:?}");
            assert_eq!(fetch(&store, ids[2], HOLDER).await.unwrap(), messages[2]);
            assert!(store.health().corrupt >= 1 && store.health().writable());
            let report = store.verify(&[]).await;
            assert_eq!(report.problem_count, 1, "{report}");
            let met = store.health().corrupt;
            let looked = store.look(prefix_range(&[]), 7).await.unwrap();
            assert!(looked.damaged.len() == 1 && looked.chunks >= 3 && looked.next.is_none(), "{looked:?}");
            assert!(looked.damaged[0].windows(32).any(|part| part == ids[1].0), "the message is named");
            assert_eq!(store.health().corrupt, met, "a look counts no chunk");
            // A damaged segment is never cut or appended to.
            let id = deliver(&store, &noise(50, 70_000), HOLDER).await.unwrap();
            assert!(fetch(&store, id, HOLDER).await.is_ok());
        }
    });
}

struct Nobody;

#[async_trait::async_trait]
impl Holders for Nobody {
    async fn holds(&self, _: BlobId, holder: &[u8]) -> Result<bool, ReadError> {
        Ok(holder != OTHER.as_bytes())
    }
}

#[test]
fn compaction_removes_the_dead_and_keeps_the_living() {
    let folder = Folder::new();
    let hours = Arc::new(AtomicI64::new(0));
    let clock = {
        let hours = hours.clone();
        Clock::new(move || Timestamp(1_772_525_720_114 + hours.load(Ordering::Relaxed) * 3_600_000))
    };
    runtime().block_on(async {
        let options = Options { segment_bytes: 300_000, clock, ..options() };
        let store = Store::open(folder.path(), options.clone()).unwrap();
        let mut living = Vec::new();
        for i in 0..20 {
            let bytes = noise(i, 100_000);
            let holder = if i % 4 == 0 { HOLDER } else { OTHER };
            let id = deliver(&store, &bytes, holder).await.unwrap();
            if holder == HOLDER {
                living.push((id, bytes));
            }
        }
        let nothing = store.blobs().compact(&Nobody).await.unwrap();
        assert_eq!(nothing, Default::default(), "all of it is younger than an hour");
        hours.store(2, Ordering::Relaxed);
        let held = store.blobs().stored(living[0].0, HOLDER).await.unwrap();
        let done = store.blobs().compact(&Nobody).await.unwrap();
        assert_eq!(done.holders_removed, 15);
        assert!(done.segments_removed >= 3 && done.chunks_moved >= 4, "{done:?}");
        // Whoever had looked up the place before goes on reading.
        assert_eq!(store.blobs().read(&held, 0..u64::MAX).await.unwrap(), living[0].1);
        drop(held);
        for (id, bytes) in &living {
            assert_eq!(&fetch(&store, *id, HOLDER).await.unwrap(), bytes);
        }
        assert!(store.verify(&[]).await.is_clean());
        store.close().await;
        drop(store);
        let store = Store::open(folder.path(), options).unwrap();
        for (id, bytes) in &living {
            assert_eq!(&fetch(&store, *id, HOLDER).await.unwrap(), bytes);
        }
        assert!(store.verify(&[]).await.is_clean());
    });
}

/// The holder's row is in line before the account's rows, so the latter are never there alone.
#[test]
fn a_holder_is_committed_before_what_follows_it() {
    runtime().block_on(async {
        let model = Arc::new(now());
        let store = Store::assemble(model.clone(), Arc::new(Crashing::default()), options()).unwrap();
        let blob = write(&store, &noise(1, 100_000), 10_000).await.unwrap();
        let mut batch = Batch::new(HOLDER);
        batch.put(HOLDER.key(b"row"), &blob.id.0[..]);
        // A disk that is full for the holder's row is full for what depends on it.
        model.set_full(Some("full"));
        let refused = store.commit_with(&[&blob], HOLDER, batch.clone()).await;
        assert!(matches!(refused, Err(CommitError::Full(_))));
        model.set_full(None);
        store.commit_with(&[&blob], HOLDER, batch).await.unwrap();
        let copy: Arc<dyn Engine> = Arc::new(model.copy());
        assert!(copy.get(vec![HOLDER.key(b"row")]).await.unwrap()[0].is_some());
        assert!(fetch(&store, blob.id, HOLDER).await.is_ok());
    });
}
