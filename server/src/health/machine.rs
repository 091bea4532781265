//! The machine below: disks, folders of logs, memory, clock; and the store on it.

use super::cause;
use super::ground::{Ground, Tried};
use super::refine::store_fault;
use crate::probe::{Done, Fault};
use crate::resources;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use waypost_base::explain::Party;
use waypost_health::Subject;
use waypost_store::{Batch, Partition};

/// Rows of probes in the store: one, which is there for a moment.
const PREFIX: u8 = 0x42;
/// Per cent of a disk (of its first 64 GiB at most) after which it is told of.
const DISK_USED_MAX: u32 = 95;
/// Per cent of a file system's files that must be free.
const INODES_FREE_MIN: u64 = 3;
/// Per cent of the memory that the process may have.
const MEMORY_MAX: u32 = 90;
/// The wall clock may go away from the steady one by so much between two looks.
const JUMP_MILLIS: i64 = 5_000;
/// Probes may be so late, however short the interval: a busy machine is no fault.
const LATE_MIN_MILLIS: u64 = 30_000;
/// A jump is told of for three intervals, and no shorter than this.
const JUMP_TOLD_MIN: Duration = Duration::from_secs(10);

fn result(ground: &Ground, what: &str, subject: Subject, begun: Instant, done: Done) -> Tried {
    let looked = ground.looked(what, Party::new("server", ground.here()), begun, done);
    Tried { culprit: Some(subject.clone()), ..Tried::of(vec![subject]) }.with(looked)
}

/// Folders that must be writable: the data folder and every folder of logs.
fn folders(ground: &Ground) -> Vec<PathBuf> {
    let root = ground.services.organisation.place.root();
    let settings = ground.services.settings.current();
    let (s, i, p, l) = (&settings.smtp, &settings.imap, &settings.pop, &settings.log);
    let named = [
        &s.log_file_location,
        &l.send_protocol_log_path,
        &l.connectivity_log_path,
        &i.log_file_location,
        &p.log_file_location,
        &l.message_tracking_log_path,
        &l.leg_log_path,
    ];
    let mut all: Vec<PathBuf> = named.into_iter().map(|p| root.join(p)).collect();
    all.sort();
    all.dedup();
    all
}

pub fn disk_space(ground: &Ground) -> Tried {
    let begun = Instant::now();
    let root = ground.services.organisation.place.root().to_owned();
    let mut done = Ok(());
    for folder in [root.join("store"), root.clone()].into_iter().chain(folders(ground)).filter(|f| f.exists())
    {
        done = done.and_then(|()| room(&folder));
    }
    result(ground, "disk.space", Subject::Disk(ground.here()), begun, done)
}

fn room(folder: &Path) -> Done {
    let Ok(facts) = rustix::fs::statvfs(folder) else { return Ok(()) };
    let shown = folder.display();
    if facts.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        return Err(Fault::new(
            cause::DISK_READ_ONLY,
            format!("the file system of {shown} is mounted read-only"),
        ));
    }
    if facts.f_files > 0 && facts.f_favail * 100 < facts.f_files * INODES_FREE_MIN {
        let text =
            format!("the file system of {shown} has room for {} of {} files", facts.f_favail, facts.f_files);
        return Err(Fault::new(cause::DISK_INODES, text));
    }
    match resources::disk_used_percent(folder) {
        Ok(used) if used >= DISK_USED_MAX => {
            let free = facts.f_bavail.saturating_mul(facts.f_frsize) >> 20;
            let text = format!("the disk of {shown} is full to {used} %: {free} MiB are free");
            Err(Fault::new(cause::DISK_FULL, text))
        }
        _ => Ok(()),
    }
}

/// A small file in the data folder and in each folder of logs: written, synced, removed.
pub async fn disk_write(ground: &Ground) -> Tried {
    let begun = Instant::now();
    let root = ground.services.organisation.place.root().to_owned();
    let logs = folders(ground);
    let work = tokio::task::spawn_blocking(move || {
        write(&root.join("run"), true).map_err(|e| fault(&root, &e, false))?;
        for folder in logs.iter().filter(|f| f.exists()) {
            write(folder, false).map_err(|e| fault(folder, &e, true))?;
        }
        Ok(())
    });
    let done = work
        .await
        .unwrap_or_else(|_| Err(Fault::new(cause::PROBE_STUCK, "the look at the disk ended with a defect")));
    result(ground, "disk.write", Subject::Disk(ground.here()), begun, done)
}

fn write(folder: &Path, sync: bool) -> io::Result<()> {
    let path = folder.join(".health-probe");
    let mut file = fs::File::create(&path)?;
    file.write_all(b"waypost\n")?;
    if sync {
        file.sync_data()?;
    }
    drop(file);
    fs::remove_file(&path)
}

fn fault(folder: &Path, e: &io::Error, logs: bool) -> Fault {
    let text = format!("{} cannot be written: {e}", folder.display());
    let cause = match e.kind() {
        io::ErrorKind::ReadOnlyFilesystem => cause::DISK_READ_ONLY,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => cause::DISK_FULL,
        io::ErrorKind::PermissionDenied if !logs => cause::PERMISSION,
        _ if logs => cause::LOGS,
        _ => cause::DISK_READ_ONLY,
    };
    Fault::new(cause, text)
}

pub fn memory(ground: &Ground) -> Tried {
    let begun = Instant::now();
    let done = match resources::memory_used_percent() {
        Ok(used) if used >= MEMORY_MAX => {
            Err(Fault::new(cause::MEMORY, format!("the process has {used} % of the memory that it may have")))
        }
        _ => Ok(()),
    };
    result(ground, "memory", Subject::Memory(ground.here()), begun, done)
}

/// A row of the probe's own: written durably, read, removed.
pub async fn store(ground: &Ground, limit: Duration) -> Tried {
    let begun = Instant::now();
    let store = &ground.services.organisation.store;
    let key = vec![PREFIX, 1];
    let value = ground.now().as_millis().to_be_bytes().to_vec();
    let work = async {
        let failed =
            |what: &str, e: String| Fault::new(cause::STORE_FAILED, format!("the row was not {what}: {e}"));
        let mut batch = Batch::new(Partition::tag(PREFIX));
        batch.put(key.clone(), value.clone());
        store.commit(batch).await.map_err(|e| failed("written", e.to_string()))?;
        let read = store.get_one(key.clone()).await.map_err(|e| failed("read", e.to_string()))?;
        if read.as_deref() != Some(value.as_slice()) {
            return Err(failed("read", "it is another than was written".into()));
        }
        let mut batch = Batch::new(Partition::tag(PREFIX));
        batch.del(key.clone());
        store.commit(batch).await.map(drop).map_err(|e| failed("removed", e.to_string()))
    };
    let done = match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(Fault::new(
            cause::DISK_SLOW,
            format!("a row is not on disk after {:.1} s", limit.as_secs_f64()),
        )),
    };
    let health = store.health();
    let done = match (done, store_fault(&health)) {
        (Err(seen), Some(fault)) => Err(fault.seen(seen.text)),
        (Ok(()), Some(fault)) => Err(fault),
        (done, None) => done,
    };
    result(ground, "store.row", Subject::Store(ground.here()), begun, done)
}

/// The wall clock beside the steady one, and beside those of other servers.
#[derive(Debug, Default)]
pub struct Clocks {
    last: Mutex<Option<(Instant, i64)>>,
    jumped: Mutex<Option<(Instant, i64)>>,
    /// By server: how far its clock is before ours, in milliseconds, with the time of the answer's way.
    others: Mutex<std::collections::BTreeMap<String, (i64, i64)>>,
}

impl Clocks {
    /// What another server said its time is; `way` is how long the question took.
    pub fn heard(&self, server: &str, offset: i64, way: i64) {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.insert(server.to_owned(), (offset, way));
    }

    pub fn keep_only(&self, servers: &[String]) {
        self.others.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| servers.contains(id));
    }

    /// By how much the clock was set within the time `told`.
    fn jump(&self, now: Instant, wall: i64, told: Duration) -> Option<i64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut jumped = self.jumped.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((then, was)) = *last {
            let steady = i64::try_from(now.duration_since(then).as_millis()).unwrap_or(i64::MAX);
            let off = wall.saturating_sub(was).saturating_sub(steady);
            if off.abs() > JUMP_MILLIS {
                *jumped = Some((now, off));
            }
        }
        *last = Some((now, wall));
        jumped.filter(|(at, _)| now.duration_since(*at) < told).map(|(_, off)| off)
    }

    /// Whether most of the others say that ours is wrong, by how much.
    /// The keeper cannot know who of two is wrong: the other one says so of itself.
    fn off(&self, keeper: bool) -> Option<(i64, Vec<String>)> {
        const OFF_MILLIS: i64 = 60_000;
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let away: Vec<(&String, i64)> = others
            .iter()
            .filter(|(_, (off, way))| off.abs() > OFF_MILLIS + way)
            .map(|(id, (off, _))| (id, *off))
            .collect();
        let most = away.len() * 2 > others.len() && (!keeper || others.len() > 1);
        let median = away.get(away.len() / 2).map(|(_, off)| *off)?;
        most.then(|| {
            (
                median,
                away.iter()
                    .map(|(id, off)| format!("{id} is {:+.1} s from ours", *off as f64 / 1000.0))
                    .collect(),
            )
        })
    }
}

pub fn clock(ground: &Ground, clocks: &Clocks) -> Tried {
    let keeper = ground.services.organisation.is_primary();
    let begun = Instant::now();
    let stale = ground.services.settings.current().health.timing().stale();
    let told = Duration::from_millis(stale).max(JUMP_TOLD_MIN);
    let jump = clocks.jump(begun, ground.now().as_millis(), told);
    let done = match (jump, clocks.off(keeper)) {
        (Some(off), _) => Err(Fault::new(
            cause::CLOCK_JUMPED,
            format!("the clock was set by {:+.1} s", off as f64 / 1000.0),
        )),
        (None, Some((off, seen))) => {
            let text =
                format!("the clocks of the other servers are {:+.1} s from this one's", off as f64 / 1000.0);
            Err(Fault { evidence: seen, ..Fault::new(cause::CLOCK_OFF, text) })
        }
        (None, None) => Ok(()),
    };
    result(ground, "clock", Subject::Clock(ground.here()), begun, done)
}

/// Whether the probes come to their turn: `lag` is by how many milliseconds the latest of them was late.
pub fn heartbeat(ground: &Ground, lag: u64) -> Tried {
    let begun = Instant::now();
    let stale = ground.services.settings.current().health.timing().stale().max(LATE_MIN_MILLIS);
    let done = match lag > stale {
        true => Err(Fault::new(cause::PROBE_STUCK, format!("probes run {:.1} s late", lag as f64 / 1000.0))),
        false => Ok(()),
    };
    result(ground, "probe.heartbeat", Subject::Server(ground.here()), begun, done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_and_differences() {
        let clocks = Clocks::default();
        let begin = Instant::now();
        let jump = |at, wall| clocks.jump(at, wall, Duration::from_secs(60));
        assert_eq!(jump(begin, 1_000_000), None);
        assert_eq!(jump(begin + Duration::from_secs(10), 1_010_000), None);
        assert_eq!(jump(begin + Duration::from_secs(20), 1_620_000), Some(600_000));
        assert_eq!(jump(begin + Duration::from_secs(30), 1_630_000), Some(600_000), "told of for a while");
        assert_eq!(jump(begin + Duration::from_secs(90), 1_690_000), None);
        clocks.heard("a", 10, 1);
        assert_eq!(clocks.off(true), None);
        clocks.heard("b", 400_000, 1);
        assert_eq!(clocks.off(true), None, "one of two is not most");
        clocks.heard("a", 400_100, 1);
        assert_eq!(clocks.off(true).unwrap().0, 400_000);
    }

    #[test]
    fn what_cannot_be_written_has_its_cause() {
        let of = |kind: io::ErrorKind, logs| fault(Path::new("/x"), &kind.into(), logs).cause.code;
        assert_eq!(of(io::ErrorKind::PermissionDenied, true), "HEALTH-LOGS");
        assert_eq!(of(io::ErrorKind::StorageFull, true), "HEALTH-DISK-FULL");
        assert_eq!(of(io::ErrorKind::PermissionDenied, false), "HEALTH-PERMISSION");
    }
}
