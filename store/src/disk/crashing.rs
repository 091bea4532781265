//! A folder in memory that knows what is durable: after [`Crashing::crash`] only that is sure to be there, and of
//! what was written since the last sync any part, in any order, torn at any sector.
//! It can also be told to fail: at a chosen operation, or by being full.

use super::memory::{read_from, write_to};
use super::{Disk, DiskFile};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Devices write whole sectors.
const SECTOR: usize = 512;

/// See the module. Clones are the same folder.
#[derive(Clone, Debug, Default)]
pub struct Crashing {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, usize>,
    /// Names as of the last `sync_names`.
    durable_names: BTreeMap<String, usize>,
    bodies: Vec<Body>,
    free: Option<u64>,
    /// Counts down at each write, sync and creation; the one that finds 0 fails with the error.
    fault: Option<(u32, io::ErrorKind)>,
    refuse_commit: Option<io::ErrorKind>,
    operations: u32,
}

#[derive(Debug, Default, Clone)]
struct Body {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Writes since the last sync.
    pending: Vec<(u64, Vec<u8>)>,
}

impl Crashing {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a power cut now would leave. `seed` decides which of the unsynced bytes made it.
    pub fn crash(&self, seed: u64) -> Crashing {
        let state = self.lock();
        let mut random = seed | 1;
        let mut next = move || {
            // xorshift64: enough to pick survivors, and the same everywhere.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let mut after = State::default();
        let mut names = state.durable_names.clone();
        for (name, body) in &state.files {
            // A name that was not made durable may be there all the same.
            if !names.contains_key(name) && next() % 2 == 0 {
                names.insert(name.clone(), *body);
            }
        }
        for (name, body) in names {
            let body = &state.bodies[body];
            let mut kept = body.durable.clone();
            for (offset, bytes) in &body.pending {
                match next() % 4 {
                    0 => {}
                    1 => write_to(&mut kept, *offset, bytes),
                    // The length of the file may be durable before its bytes are.
                    2 => {
                        let end = *offset as usize + bytes.len();
                        kept.resize(kept.len().max(end), 0);
                    }
                    _ => {
                        let sectors = bytes.len() / SECTOR + 1;
                        let cut = (next() as usize % sectors * SECTOR).min(bytes.len());
                        write_to(&mut kept, *offset, &bytes[..cut]);
                    }
                }
            }
            after.files.insert(name, after.bodies.len());
            after.bodies.push(Body { live: kept.clone(), durable: kept, pending: Vec::new() });
        }
        after.durable_names = after.files.clone();
        Crashing { state: Arc::new(Mutex::new(after)) }
    }

    /// The operation (write, sync, creation, removal) after `skip` others fails.
    pub fn fail_after(&self, skip: u32, error: io::ErrorKind) {
        self.lock().fault = Some((skip, error));
    }

    /// Commits of the engine fail, as if its fsync had, until `None`.
    pub fn refuse_commits(&self, error: Option<io::ErrorKind>) {
        self.lock().refuse_commit = error;
    }

    /// Sets the free space; `None` is without end.
    pub fn set_free(&self, free: Option<u64>) {
        self.lock().free = free;
    }

    /// Writes, syncs, creations and removals so far.
    pub fn operations(&self) -> u32 {
        self.lock().operations
    }

    /// Changes stored bytes, as a rotting disk does.
    pub fn damage(&self, name: &str, offset: u64, bytes: &[u8]) {
        let mut state = self.lock();
        if let Some(&body) = state.files.get(name) {
            write_to(&mut state.bodies[body].live, offset, bytes);
            write_to(&mut state.bodies[body].durable, offset, bytes);
        }
    }

    fn file(&self, body: usize) -> Arc<dyn DiskFile> {
        Arc::new(CrashingFile { disk: self.clone(), body })
    }
}

impl State {
    fn step(&mut self) -> io::Result<()> {
        self.operations += 1;
        match &mut self.fault {
            Some((0, error)) => {
                let error = *error;
                self.fault = None;
                Err(error.into())
            }
            Some((left, _)) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Disk for Crashing {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().files.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        state.step()?;
        if state.files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let body = state.bodies.len();
        state.bodies.push(Body::default());
        state.files.insert(name.to_owned(), body);
        drop(state);
        Ok(self.file(body))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let body = self.lock().files.get(name).copied();
        body.map(|body| self.file(body)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        state.files.remove(name).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.step()?;
        state.durable_names = state.files.clone();
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(self.lock().free.unwrap_or(u64::MAX))
    }

    fn may_commit(&self) -> io::Result<()> {
        match self.lock().refuse_commit {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    fn waits(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct CrashingFile {
    disk: Crashing,
    body: usize,
}

impl DiskFile for CrashingFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.lock().bodies[self.body].live.len() as u64)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        read_from(&self.disk.lock().bodies[self.body].live, offset, buf)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.lock();
        if let Err(error) = state.step() {
            // Half of it got there before the error.
            let half = bytes[..bytes.len() / 2].to_vec();
            let body = &mut state.bodies[self.body];
            write_to(&mut body.live, offset, &half);
            body.pending.push((offset, half));
            return Err(error);
        }
        if let Some(free) = &mut state.free {
            *free = free.checked_sub(bytes.len() as u64).ok_or(io::ErrorKind::StorageFull)?;
        }
        let body = &mut state.bodies[self.body];
        write_to(&mut body.live, offset, bytes);
        body.pending.push((offset, bytes.to_vec()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.step()?;
        let body = &mut state.bodies[self.body];
        body.durable = body.live.clone();
        body.pending.clear();
        Ok(())
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.step()?;
        let body = &mut state.bodies[self.body];
        body.live.resize(size as usize, 0);
        body.durable = body.live.clone();
        body.pending.clear();
        Ok(())
    }
}
