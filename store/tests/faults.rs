//! Opening, refusing to open, damage, full disks, dead disks, backup, and kill -9 of a process that delivers.
#![allow(clippy::unwrap_used)] // The helpers of a test may fail it as the test itself may.

mod tools;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use tools::{Folder, noise, options, runtime, store};
use waypost_store::disk::Crashing;
use waypost_store::{
    BackupError, Batch, CommitError, OpenError, Options, Partition, ReadError, Store, Template, prefix_range,
    restore,
};

const P: Partition = Partition::numbered(0x10, 1);

async fn put(store: &Store, rest: &[u8], value: &[u8]) -> Result<(), CommitError> {
    let mut batch = Batch::new(P);
    batch.put(P.key(rest), value);
    store.commit(batch).await.map(|_| ())
}

async fn get(store: &Store, rest: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
    Ok(store.get_one(P.key(rest)).await?.map(|v| v.to_vec()))
}

#[test]
fn a_store_opens_again_and_only_once_at_a_time() {
    let folder = Folder::new();
    runtime().block_on(async {
        let first = store(folder.path());
        put(&first, b"x", b"1").await.unwrap();
        assert!(matches!(Store::open(folder.path(), options()), Err(OpenError::Locked)));
        first.close().await;
        // A closed store lets go of the folder, even while somebody keeps the handle.
        let second = store(folder.path());
        assert_eq!(get(&second, b"x").await.unwrap().as_deref(), Some(&b"1"[..]));
        assert!(
            !folder.join("main.db-wal").exists()
                || std::fs::metadata(folder.join("main.db-wal")).unwrap().len() == 0
        );
        drop(second);
        let other = Options { key: [4; 32], ..options() };
        assert!(matches!(Store::open(folder.path(), other), Err(OpenError::WrongKey)));
        drop(store(folder.path()));
    });
}

/// Large values lie apart from their keys. Whatever mixture replaces them, near or far from each other, none is left behind.
#[test]
fn replaced_large_values_leave_nothing_behind() {
    let folder = Folder::new();
    runtime().block_on(async {
        let store = store(folder.path());
        let value = |n: u32, large: bool| noise(u64::from(n), if large { 900 } else { 40 });
        let mut model = BTreeMap::new();
        for (round, stride) in [1u32, 1, 2, 7, 9, 10, 40, 3, 1].into_iter().enumerate() {
            let round = round as u32;
            let mut batch = Batch::new(P);
            for n in (round % 2..400).step_by(stride as usize) {
                let key = P.key(&n.to_be_bytes());
                if (n + round) % 5 == 4 {
                    batch.del(key.clone());
                    model.remove(&key);
                } else {
                    let value = value(n + round, (n * 7 + round).is_multiple_of(3));
                    batch.put(key.clone(), value.clone());
                    model.insert(key, value);
                }
            }
            store.commit(batch).await.unwrap();
            let report = store.verify(&[]).await;
            assert!(report.is_clean(), "{report:?}");
        }
        for (key, value) in model {
            assert_eq!(store.get_one(key).await.unwrap().as_deref(), Some(&value[..]));
        }
    });
}

#[test]
fn a_newer_store_is_refused() {
    let folder = Folder::new();
    drop(store(folder.path()));
    std::fs::write(folder.join("format"), "waypost store 2\n").unwrap();
    let newer = Store::open(folder.path(), options());
    assert!(matches!(newer, Err(OpenError::Newer { found: 2, known: 1 })));
    // The same said by the database.
    std::fs::write(folder.join("format"), "waypost store 1\n").unwrap();
    let conn = rusqlite::Connection::open(folder.join("main.db")).unwrap();
    conn.pragma_update(None, "user_version", 7).unwrap();
    drop(conn);
    let newer = Store::open(folder.path(), options());
    assert!(matches!(newer, Err(OpenError::Newer { found: 7, known: 1 })));
    std::fs::write(folder.join("format"), "something else entirely\n").unwrap();
    assert!(matches!(Store::open(folder.path(), options()), Err(OpenError::Damaged(_))));
}

fn damage_row(folder: &Folder, key: &[u8]) {
    let conn = rusqlite::Connection::open(folder.join("main.db")).unwrap();
    let mut value: Vec<u8> = conn.query_row("SELECT v FROM kv WHERE k = ?1", [key], |r| r.get(0)).unwrap();
    value[0] ^= 0x40;
    assert_eq!(conn.execute("UPDATE kv SET v = ?2 WHERE k = ?1", (key, value)).unwrap(), 1);
}

#[test]
fn a_damaged_row_is_named_and_the_rest_is_served() {
    let folder = Folder::new();
    runtime().block_on(async {
        let s = store(folder.path());
        for c in b'a'..=b'e' {
            put(&s, &[c], &[c; 8]).await.unwrap();
        }
        s.close().await;
        drop(s);
        damage_row(&folder, &P.key(b"c"));

        let s = store(folder.path());
        assert_eq!(get(&s, b"b").await.unwrap(), Some(vec![b'b'; 8]));
        assert_eq!(get(&s, b"c").await, Err(ReadError::Corrupt(P.key(b"c"))));
        let page = s.scan(prefix_range(P.as_bytes()), false).await.unwrap();
        assert_eq!((page.len(), page.corrupt), (4, vec![P.key(b"c")]));
        let looked = s.look(prefix_range(&[]), 0).await.unwrap();
        assert_eq!((looked.damaged, looked.next), (vec![P.key(b"c")], None));
        assert_eq!(s.health().corrupt, 1, "counted once");
        let report = s.verify(&[]).await;
        assert_eq!(report.problem_count, 1, "{report}");
        // A batch that needs it says so; one that overwrites it heals it.
        let mut add = Batch::new(P);
        add.add(P.key(b"c"), 1);
        assert_eq!(s.commit(add).await, Err(CommitError::Corrupt(P.key(b"c"))));
        put(&s, b"c", b"healed").await.unwrap();
        assert_eq!(get(&s, b"c").await.unwrap().as_deref(), Some(&b"healed"[..]));
        s.close().await;
        let conn = rusqlite::Connection::open(folder.join("main.db")).unwrap();
        let kept: Vec<u8> = conn.query_row("SELECT k FROM quarantine", [], |r| r.get(0)).unwrap();
        assert_eq!(kept, P.key(b"c"), "the damaged bytes are kept as evidence");
    });
}

#[test]
fn a_damaged_large_value_is_named_too() {
    let folder = Folder::new();
    runtime().block_on(async {
        let s = store(folder.path());
        for c in b'a'..=b'c' {
            put(&s, &[c], &[c; 5000]).await.unwrap();
        }
        s.close().await;
        drop(s);
        let conn = rusqlite::Connection::open(folder.join("main.db")).unwrap();
        conn.execute("UPDATE big SET v = zeroblob(5004) WHERE id = 2", []).unwrap();
        conn.execute("DELETE FROM big WHERE id = 3", []).unwrap();
        drop(conn);

        let s = store(folder.path());
        let page = s.scan(prefix_range(P.as_bytes()), false).await.unwrap();
        assert_eq!((page.len(), page.corrupt), (1, vec![P.key(b"b"), P.key(b"c")]));
        assert_eq!(get(&s, b"b").await, Err(ReadError::Corrupt(P.key(b"b"))));
        assert_eq!(s.verify(&[]).await.problem_count, 2);
        put(&s, b"b", &[1; 3000]).await.unwrap();
        let mut all = Batch::new(P);
        all.del(P.key(b"c"));
        s.commit(all).await.unwrap();
        assert!(s.verify(&[]).await.is_clean());
        assert_eq!(get(&s, b"b").await.unwrap(), Some(vec![1; 3000]));
    });
}

/// A small file system of memory, if we may mount one.
struct SmallDisk(Folder);

impl SmallDisk {
    fn mount() -> Option<SmallDisk> {
        let disk = SmallDisk(Folder::new());
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(disk.0.path()).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then_some(disk)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).stderr(Stdio::null()).status();
    }
}

#[test]
fn a_disk_that_is_really_full_leaves_the_store_alive() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: mounting needs root");
        return;
    };
    runtime().block_on(async {
        // No floor: SQLite and the segments meet the end of the disk themselves.
        let s = store(&disk.0.join("store"));
        let filler = disk.0.join("filler");
        std::fs::write(&filler, vec![0; 2 << 20]).unwrap();
        let (mut rows, mut refused) = (0u32, None);
        while refused.is_none() && rows < 10_000 {
            match put(&s, &rows.to_be_bytes(), &noise(rows.into(), 20_000)).await {
                Ok(()) => rows += 1,
                Err(e) => refused = Some(e),
            }
        }
        assert!(matches!(refused, Some(CommitError::Full(_))), "{refused:?} after {rows}");
        let blob = s.blobs().write(&noise(1, 3 << 20)).await;
        assert!(matches!(blob, Err(waypost_store::BlobError::Full(_))), "{blob:?}");
        assert!(s.health().read_only.is_none());
        std::fs::remove_file(&filler).unwrap();
        put(&s, b"later", b"1").await.unwrap();
        let blob = s.blobs().write(&noise(2, 100_000)).await.unwrap();
        s.blobs().hold(&blob, &[P]).await.unwrap();
        s.close().await;
        drop(s);
        let s = store(&disk.0.join("store"));
        for row in 0..rows {
            assert_eq!(get(&s, &row.to_be_bytes()).await.unwrap(), Some(noise(row.into(), 20_000)));
        }
        let report = s.verify(&[]).await;
        assert!(report.is_clean(), "{report}");
        s.close().await;
    });
}

#[test]
fn a_full_disk_refuses_growth_and_lets_deletions_pass() {
    let folder = Folder::new();
    runtime().block_on(async {
        let gate = Crashing::default();
        let options = Options { free_floor: 1000, gate: Some(Arc::new(gate.clone())), ..options() };
        let s = Store::open(folder.path(), options).unwrap();
        put(&s, b"x", b"1").await.unwrap();
        gate.set_free(Some(999));
        let error = put(&s, b"y", b"1").await.unwrap_err();
        assert!(matches!(error, CommitError::Full(_)) && error.retry());
        assert!(s.health().full.is_some() && !s.health().writable());
        let mut del = Batch::new(P);
        del.del(P.key(b"x"));
        s.commit(del).await.unwrap();
        assert_eq!(get(&s, b"x").await.unwrap(), None);
        gate.set_free(None);
        put(&s, b"y", b"1").await.unwrap();
        assert!(s.health().writable());
    });
}

#[test]
fn a_failed_commit_makes_the_handle_read_only() {
    let folder = Folder::new();
    runtime().block_on(async {
        let gate = Crashing::default();
        let options = Options { gate: Some(Arc::new(gate.clone())), ..options() };
        let s = Store::open(folder.path(), options).unwrap();
        put(&s, b"x", b"1").await.unwrap();
        gate.refuse_commits(Some(std::io::ErrorKind::Other));
        assert!(matches!(put(&s, b"y", b"1").await, Err(CommitError::Unknown(_))));
        gate.refuse_commits(None);
        // Dead is dead, though the disk is well again.
        assert!(matches!(put(&s, b"z", b"1").await, Err(CommitError::ReadOnly(_))));
        assert!(s.health().read_only.is_some() && !s.health().writable());
        assert_eq!(get(&s, b"x").await.unwrap().as_deref(), Some(&b"1"[..]), "reads go on");
        s.close().await;
        drop(s);
        let s = store(folder.path());
        assert!(s.health().writable() && get(&s, b"x").await.unwrap().is_some());
        put(&s, b"z", b"1").await.unwrap();
    });
}

#[test]
fn a_backup_is_a_store_of_one_moment() {
    let (folder, target) = (Folder::new(), Folder::new());
    runtime().block_on(async {
        let s = Store::open(folder.path(), Options { segment_bytes: 200_000, ..options() }).unwrap();
        let holder = P;
        let mut ids = Vec::new();
        for i in 0..8u8 {
            put(&s, &[i], &[i; 100]).await.unwrap();
            let blob = s.blobs().write(&noise(i.into(), 90_000)).await.unwrap();
            s.blobs().hold(&blob, &[holder]).await.unwrap();
            ids.push(blob.id);
        }
        // Work goes on meanwhile.
        let writer = {
            let s = s.clone();
            tokio::spawn(async move {
                for i in 0..300u32 {
                    let mut batch = Batch::new(P);
                    batch
                        .put(P.key(b"pair1"), &i.to_be_bytes()[..])
                        .put(P.key(b"pair2"), &i.to_be_bytes()[..]);
                    s.commit(batch).await.unwrap();
                }
            })
        };
        let backup = target.join("backup");
        let info = s.backup(&backup).await.unwrap();
        assert!(info.files >= 4 && info.bytes > 8 * 90_000, "{info:?}");
        assert!(matches!(s.backup(&backup).await, Err(BackupError::NotEmpty)));
        writer.await.unwrap();
        let late = s.blobs().write(&noise(100, 90_000)).await.unwrap();
        s.blobs().hold(&late, &[holder]).await.unwrap();

        restore(&backup, &target.join("restored")).unwrap();
        for dir in ["restored", "backup"] {
            let copy = store(&target.join(dir));
            let report = copy.verify(&[]).await;
            assert!(report.is_clean(), "{report}");
            for (i, id) in ids.iter().enumerate() {
                let blob = copy.blobs().stored(*id, holder).await.unwrap();
                let bytes = copy.blobs().read(&blob, 0..u64::MAX).await.unwrap();
                assert_eq!(bytes, noise(i as u64, 90_000));
            }
            assert_eq!(get(&copy, b"pair1").await.unwrap(), get(&copy, b"pair2").await.unwrap());
            put(&copy, b"new", b"1").await.unwrap();
            let blob = copy.blobs().write(&noise(7, 90_000)).await.unwrap();
            copy.blobs().hold(&blob, &[holder]).await.unwrap();
            copy.close().await;
        }
        assert!(s.verify(&[]).await.is_clean(), "what was done to the copies did not touch the store");
        assert!(matches!(Store::memory().backup(&target.join("m")).await, Err(BackupError::Unsupported)));
    });
}

/// The power goes while the log is being written: wherever it is cut, what is left is the batches up to some point, each
/// whole.
#[test]
fn a_log_cut_anywhere_gives_the_batches_before_the_cut() {
    let (folder, copies) = (Folder::new(), Folder::new());
    runtime().block_on(async {
        let s = store(folder.path());
        let before = std::fs::read(folder.join("main.db")).unwrap();
        for i in 0..40u32 {
            let mut batch = Batch::new(P);
            let n = batch.alloc(P.key(b"n"), 1);
            batch
                .put(Template::new(P.key(b"row")).slot4(n, 0), noise(i.into(), 100 + 200 * (i as usize % 8)));
            batch.add(P.key(b"count"), 1);
            s.commit(batch).await.unwrap();
        }
        let log = std::fs::read(folder.join("main.db-wal")).unwrap();
        if std::fs::read(folder.join("main.db")).unwrap() != before {
            eprintln!("skipped: so slow that the log was folded meanwhile");
            return;
        }
        let mut most = 0;
        for step in 0..30 {
            let copy = copies.join(&step.to_string());
            std::fs::create_dir(&copy).unwrap();
            std::fs::write(copy.join("main.db"), &before).unwrap();
            std::fs::write(copy.join("main.db-wal"), &log[..log.len() * step / 29]).unwrap();
            let Ok(s) = Store::open(&copy, options()) else {
                assert!(most == 0, "what had opened once opens with more of the log");
                continue;
            };
            let page = s.scan(prefix_range(&P.key(b"row")), false).await.unwrap();
            for (i, (key, value)) in page.rows().enumerate() {
                assert_eq!(key, P.key(&[&b"row"[..], &(i as u32 + 1).to_be_bytes()].concat()));
                assert_eq!(value, noise(i as u64, 100 + 200 * (i % 8)));
            }
            let count = get(&s, b"count").await.unwrap().map_or(0, |n| n[7]);
            assert_eq!(usize::from(count), page.len(), "whole or not at all");
            assert!(page.len() >= most);
            most = page.len();
            assert!(s.verify(&[]).await.is_clean());
        }
        assert_eq!(most, 40);
    });
}

const CHILD: &str = "WAYPOST_STORE_CRASH_FOLDER";

/// Not a test of its own: the process that is killed. Eight tasks deliver; each delivery's number is printed when it
/// was acknowledged.
#[test]
fn child_that_delivers() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    runtime().block_on(async {
        let s = store(Path::new(&folder));
        let tasks: Vec<_> = (0..8u32).map(|task| tokio::spawn(deliver_for_ever(s.clone(), task))).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

async fn deliver_for_ever(s: Store, task: u32) {
    let p = Partition::numbered(0x20, task);
    let given = s.get_one(p.key(b"uid")).await.unwrap();
    let start = given.map_or(0, |n| u64::from_be_bytes(n[..].try_into().unwrap()));
    for n in start.. {
        let big = n % 5 == 0;
        let seed = u64::from(task) << 32 | n;
        let mut batch = Batch::new(p);
        let uid = batch.alloc(p.key(b"uid"), 1);
        let mut held = None;
        if big {
            let blob = s.blobs().write(&noise(seed, 70_000)).await.unwrap();
            batch.put(Template::new(p.key(b"row")).slot4(uid, 0), blob.id.0.to_vec());
            held = Some(blob);
        } else {
            batch.put(Template::new(p.key(b"row")).slot4(uid, 0), noise(seed, 3000));
        }
        batch.add(p.key(b"count"), 1);
        let held: Vec<&waypost_store::Blob> = held.iter().collect();
        let pending = s.commit_with(&held, p, batch);
        let uid = pending.await.unwrap().allocated[0];
        assert_eq!(uid, n + 1);
        println!("acknowledged {task} {uid}");
    }
}

fn spawn_child(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_delivers", "--nocapture"])
        .env(CHILD, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn kill_9_loses_nothing_that_was_acknowledged() {
    let folder = Folder::new();
    let mut acknowledged: BTreeMap<u32, u64> = BTreeMap::new();
    for round in 0..4 {
        let mut child = spawn_child(folder.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut count = 0;
        let mut note = |line: &str| {
            // The harness prints its own words without a newline before our first line.
            let Some((_, numbers)) = line.split_once("acknowledged ") else { return };
            let mut words = numbers.split(' ').map_while(|w| w.parse::<u64>().ok());
            if let (Some(task), Some(uid)) = (words.next(), words.next()) {
                let last = acknowledged.entry(task as u32).or_default();
                *last = uid.max(*last);
                count += 1;
            }
        };
        for line in lines.by_ref().take(300 + 211 * round) {
            note(&line.unwrap());
        }
        child.kill().unwrap();
        // What it had said before it died counts as well. The last line may be torn.
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        for line in rest.iter().take(rest.len().saturating_sub(1)) {
            note(line);
        }
        child.wait().unwrap();
        assert!(count > 200, "the child delivered {count} only");
        check(folder.path(), &acknowledged);
    }
}

fn check(folder: &Path, acknowledged: &BTreeMap<u32, u64>) {
    runtime().block_on(async {
        let s = store(folder);
        for (&task, &last) in acknowledged {
            let p = Partition::numbered(0x20, task);
            let mut rows = Vec::new();
            s.each(prefix_range(&p.key(b"row")), |key, value| {
                rows.push((key.to_vec(), value.to_vec()));
                true
            })
            .await
            .unwrap();
            assert!(rows.len() as u64 >= last, "task {task}: {last} acknowledged, {} there", rows.len());
            for (n, (key, value)) in rows.iter().enumerate() {
                assert_eq!(key, &p.key(&[&b"row"[..], &(n as u32 + 1).to_be_bytes()].concat()), "each once");
                let seed = u64::from(task) << 32 | n as u64;
                if n % 5 == 0 {
                    let id = waypost_store::BlobId(value[..].try_into().unwrap());
                    let blob = s.blobs().stored(id, p).await.unwrap();
                    assert_eq!(s.blobs().read(&blob, 0..u64::MAX).await.unwrap(), noise(seed, 70_000));
                } else {
                    assert_eq!(value, &noise(seed, 3000));
                }
            }
            let count = s.get_one(p.key(b"count")).await.unwrap().unwrap();
            assert_eq!(count[..], (rows.len() as u64).to_be_bytes(), "a batch happens whole");
        }
        let report = s.verify(&[]).await;
        assert!(report.is_clean(), "{report}");
        s.close().await;
    });
}
