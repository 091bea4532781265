//! The segment files: append-only, 256 MiB each, group fdatasync. Nothing is ever renamed or overwritten in place.
//!
//! An append happens under the lock, so the file grows in order and one fdatasync covers everything before it. On
//! opening, the last file is walked through; a torn tail, which nobody was promised, is cut off.

use super::place::Chunk;
use super::record::{self, HEADER_BYTES, Met, RECORD_BYTES};
use crate::disk::{self, Disk, DiskFile};
use crate::error::BlobError;
use crate::limits::SEGMENT_BYTES;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;
use waypost_base::metrics::Counter;
use waypost_base::{Clock, Timestamp};

/// Most open files; beyond, all but the one being written are closed and opened again when needed.
const OPEN_FILES: usize = 256;

pub(super) struct Segments {
    core: Arc<Core>,
    syncer: Mutex<Option<JoinHandle<()>>>,
}

pub(super) struct Core {
    disk: Arc<dyn Disk>,
    clock: Clock,
    free_floor: u64,
    segment_bytes: u64,
    state: Mutex<State>,
    /// Set once `State::read_only` is, to be asked without waiting for a write.
    dead: AtomicBool,
    waiting: Condvar,
    pub figures: Figures,
}

#[derive(Default)]
pub(super) struct Figures {
    pub chunks: Counter,
    pub bytes: Counter,
    pub syncs: Counter,
    pub corrupt: Counter,
}

type Answer = Result<(), BlobError>;

/// Why a chunk was not read.
enum Bad {
    Damaged(&'static str),
    Io(String),
}

#[derive(Default)]
struct State {
    segments: BTreeMap<u32, Segment>,
    /// The one that grows; `None` until the first append.
    active: Option<u32>,
    read_only: Option<String>,
    open: usize,
    waiters: Vec<oneshot::Sender<Answer>>,
    closed: bool,
}

#[derive(Default)]
struct Segment {
    file: Option<Arc<dyn DiskFile>>,
    size: u64,
    synced: u64,
    pins: u32,
    last_append: Option<Timestamp>,
}

/// What is known of a segment, for compaction and backup.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub number: u32,
    pub size: u64,
    pub active: bool,
    pub pins: u32,
    pub last_append: Option<Timestamp>,
}

pub(super) fn file_name(segment: u32) -> String {
    format!("{segment:08}.seg")
}

fn parse_name(name: &str) -> Option<u32> {
    name.strip_suffix(".seg").filter(|digits| digits.len() == 8)?.parse().ok()
}

/// Keeps segments from being removed while somebody means to refer to them.
pub(super) struct Pin {
    core: Arc<Core>,
    held: Vec<u32>,
}

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pin({:?})", self.held)
    }
}

impl Pin {
    pub fn none(core: &Arc<Core>) -> Pin {
        Pin { core: core.clone(), held: Vec::new() }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let mut state = self.core.lock();
        for number in &self.held {
            if let Some(segment) = state.segments.get_mut(number) {
                segment.pins = segment.pins.saturating_sub(1);
            }
        }
    }
}

impl Segments {
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Clock,
        free_floor: u64,
        segment_bytes: u64,
    ) -> io::Result<Segments> {
        let mut state = State::default();
        let mut numbers: Vec<u32> = disk.list()?.iter().filter_map(|name| parse_name(name)).collect();
        numbers.sort_unstable();
        let last = numbers.last().copied();
        for number in numbers {
            let mut segment = Segment::default();
            if last == Some(number) {
                if !recover(&*disk, number, &mut segment)? {
                    continue;
                }
                state.active = Some(number).filter(|_| segment.file.is_some());
                state.open += usize::from(segment.file.is_some());
            }
            state.segments.insert(number, segment);
        }
        let core = Core {
            disk,
            clock,
            free_floor,
            segment_bytes: segment_bytes.min(SEGMENT_BYTES),
            state: Mutex::new(state),
            dead: AtomicBool::new(false),
            waiting: Condvar::new(),
            figures: Figures::default(),
        };
        Ok(Segments { core: Arc::new(core), syncer: Mutex::default() })
    }

    pub fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Everything appended before the call is durable when this returns.
    pub async fn sync(&self) -> Answer {
        if !self.core.disk.waits() {
            return self.core.sync_all();
        }
        let (reply, answer) = oneshot::channel();
        {
            let mut state = self.core.lock();
            if let Some(reason) = &state.read_only {
                return Err(BlobError::ReadOnly(reason.clone()));
            }
            if state.closed {
                return Err(BlobError::ReadOnly("the store is closed".into()));
            }
            state.waiters.push(reply);
        }
        self.start_syncer()?;
        self.core.waiting.notify_one();
        answer.await.unwrap_or_else(|_| Err(BlobError::ReadOnly("the store is closed".into())))
    }

    fn start_syncer(&self) -> Answer {
        let mut syncer = self.syncer.lock().unwrap_or_else(PoisonError::into_inner);
        if syncer.is_none() {
            let core = self.core.clone();
            let thread =
                std::thread::Builder::new().name("store-sync".into()).spawn(move || core.serve_syncs());
            *syncer = Some(thread.map_err(|e| BlobError::Io(e.to_string()))?);
        }
        Ok(())
    }

    /// Refuses appends from now on; gives the thread to wait for.
    pub fn close(&self) -> Option<JoinHandle<()>> {
        self.core.lock().closed = true;
        self.core.waiting.notify_all();
        self.syncer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        if let Some(thread) = self.close() {
            let _ = thread.join();
        }
    }
}

/// Looks through the last segment. `false`: it holds nothing that anybody was promised, and was removed. It stays
/// without its file, so that nothing is appended to it, if there is a hole with whole records behind it.
fn recover(disk: &dyn Disk, number: u32, segment: &mut Segment) -> io::Result<bool> {
    let file = disk.open(&file_name(number))?;
    let mut good = 0;
    let mut holes = false;
    let mut bad_tail = None;
    record::walk(&*file, number, |met| match met {
        Met::Record(chunk) => {
            holes |= bad_tail.take().is_some();
            good = chunk.offset + RECORD_BYTES as u64 + u64::from(chunk.stored_len);
        }
        Met::Bad { offset, end, what } => {
            tracing::warn!(segment = number, offset, end, what, "bytes that are no record");
            bad_tail = bad_tail.or(Some(offset));
        }
    })?;
    if bad_tail.is_some_and(|offset| offset < HEADER_BYTES as u64) && good == 0 {
        tracing::warn!(segment = number, "a segment that was never begun is removed");
        disk.remove(&file_name(number))?;
        disk.sync_names()?;
        return Ok(false);
    }
    if holes {
        tracing::error!(segment = number, "damaged records within the last segment; it is left as it is");
        segment.size = file.size()?;
        segment.synced = segment.size;
        return Ok(true);
    }
    if let Some(tail) = bad_tail {
        tracing::warn!(segment = number, offset = tail, "a torn tail is cut off");
        file.truncate(tail)?;
    }
    segment.size = good.max(HEADER_BYTES as u64);
    // Records without a promise may lie here unsynced: the next fdatasync covers them.
    segment.synced = 0;
    segment.file = Some(file);
    Ok(true)
}

impl Core {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn waits(&self) -> bool {
        self.disk.waits()
    }

    pub fn read_only(&self) -> Option<String> {
        if !self.dead.load(Ordering::Acquire) {
            return None;
        }
        self.lock().read_only.clone()
    }

    /// Ends writing for this handle.
    fn die(&self, state: &mut State, reason: String) -> BlobError {
        tracing::error!(reason, "the segments have gone read-only");
        state.read_only.get_or_insert_with(|| reason.clone());
        self.dead.store(true, Ordering::Release);
        BlobError::ReadOnly(reason)
    }

    /// Appends a record and pins its segment. The bytes are durable after the next [`Segments::sync`].
    pub fn append(&self, body: &[u8], raw_len: u32, pin: &mut Pin) -> Result<Chunk, BlobError> {
        let room = self.disk.free().unwrap_or(u64::MAX);
        if room < self.free_floor.saturating_add(body.len() as u64) {
            return Err(BlobError::Full(format!("{room} bytes free, {} are kept back", self.free_floor)));
        }
        let mut state = self.lock();
        if let Some(reason) = &state.read_only {
            return Err(BlobError::ReadOnly(reason.clone()));
        }
        if state.closed {
            return Err(BlobError::ReadOnly("the store is closed".into()));
        }
        let written = self.append_locked(&mut state, body, raw_len, pin);
        written.map_err(|e| self.failed(&mut state, "writing message bytes", &e))
    }

    fn append_locked(
        &self,
        state: &mut State,
        body: &[u8],
        raw_len: u32,
        pin: &mut Pin,
    ) -> io::Result<Chunk> {
        let number = self.active(state)?;
        let file = self.file(state, number)?;
        let segment = state.segments.entry(number).or_default();
        let offset = segment.size;
        let bytes = record::record(number, offset, body, raw_len);
        // After an error the tail may hold a part of it; the size has not moved, so the next record goes there.
        file.write_at(offset, &bytes)?;
        segment.size += bytes.len() as u64;
        segment.last_append = Some(self.clock.now());
        if !pin.held.contains(&number) {
            pin.held.push(number);
            segment.pins += 1;
        }
        self.figures.chunks.one();
        self.figures.bytes.add(bytes.len() as u64);
        Ok(Chunk { segment: number, offset, stored_len: body.len() as u32, raw_len })
    }

    /// The segment to append to; a new one if there is none or it is full.
    fn active(&self, state: &mut State) -> io::Result<u32> {
        if let Some(number) = state.active {
            let file = self.file(state, number)?;
            let segment = state.segments.entry(number).or_default();
            if segment.size < self.segment_bytes {
                return Ok(number);
            }
            // Only the last segment may have an unsynced tail.
            if segment.synced < segment.size {
                self.figures.syncs.one();
                file.sync()?;
                segment.synced = segment.size;
            }
            state.active = None;
        }
        let number = state.segments.last_key_value().map_or(1, |(last, _)| last + 1);
        let name = file_name(number);
        let file = match self.disk.create(&name) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => self.disk.open(&name)?,
            created => created?,
        };
        // Durable with its header before anything is promised in it.
        file.write_at(0, &record::header(number))?;
        file.sync()?;
        self.disk.sync_names()?;
        let size = HEADER_BYTES as u64;
        state.segments.insert(number, Segment { file: Some(file), size, synced: size, ..Segment::default() });
        state.open += 1;
        state.active = Some(number);
        Ok(number)
    }

    fn file(&self, state: &mut State, number: u32) -> io::Result<Arc<dyn DiskFile>> {
        let Some(segment) = state.segments.get(&number) else { return Err(io::ErrorKind::NotFound.into()) };
        if let Some(file) = &segment.file {
            return Ok(file.clone());
        }
        if state.open >= OPEN_FILES {
            let active = state.active;
            for (_, other) in state.segments.iter_mut().filter(|(n, _)| Some(**n) != active) {
                other.file = None;
            }
            state.open = usize::from(active.is_some());
        }
        let file = self.disk.open(&file_name(number))?;
        if let Some(segment) = state.segments.get_mut(&number) {
            segment.file = Some(file.clone());
            state.open += 1;
        }
        Ok(file)
    }

    /// A full disk is the caller's news; any other error ends writing for this handle.
    fn failed(&self, state: &mut State, doing: &str, error: &io::Error) -> BlobError {
        let text = format!("{doing}: {error}");
        if disk::is_full(error) {
            return BlobError::Full(text);
        }
        self.die(state, text)
    }

    /// One fdatasync for every file that has grown since its last.
    fn sync_all(&self) -> Answer {
        let mut state = self.lock();
        if let Some(reason) = &state.read_only {
            return Err(BlobError::ReadOnly(reason.clone()));
        }
        let Some(number) = state.active else { return Ok(()) };
        let Some(segment) = state.segments.get(&number) else { return Ok(()) };
        let (size, synced) = (segment.size, segment.synced);
        if synced >= size {
            return Ok(());
        }
        let file = match self.file(&mut state, number) {
            Ok(file) => file,
            Err(e) => return Err(self.failed(&mut state, "syncing message bytes", &e)),
        };
        // Others append meanwhile; what they append is covered by the next one.
        drop(state);
        self.figures.syncs.one();
        let done = file.sync();
        let mut state = self.lock();
        match done {
            Ok(()) => {
                if let Some(segment) = state.segments.get_mut(&number) {
                    segment.synced = segment.synced.max(size);
                }
                Ok(())
            }
            // Never tried again: nobody could say what became of the pages. A full disk is no excuse here.
            Err(e) => Err(self.die(&mut state, format!("fdatasync of message bytes: {e}"))),
        }
    }

    fn serve_syncs(&self) {
        loop {
            let mut state = self.lock();
            while state.waiters.is_empty() {
                if state.closed {
                    return;
                }
                state = self.waiting.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let waiters = std::mem::take(&mut state.waiters);
            drop(state);
            let answer = self.sync_all();
            for waiter in waiters {
                let _ = waiter.send(answer.clone());
            }
        }
    }

    /// Pins the segments of these chunks; `None` if one of them is gone.
    pub fn pin(self: &Arc<Core>, chunks: &[Chunk]) -> Option<Pin> {
        let mut pin = Pin::none(self);
        let mut state = self.lock();
        for chunk in chunks {
            if pin.held.contains(&chunk.segment) {
                continue;
            }
            match state.segments.get_mut(&chunk.segment) {
                Some(segment) => {
                    segment.pins += 1;
                    pin.held.push(chunk.segment);
                }
                None => {
                    drop(state);
                    return None;
                }
            }
        }
        drop(state);
        Some(pin)
    }

    /// The compressed bytes of a chunk, checked.
    pub fn read(&self, chunk: &Chunk) -> Result<Vec<u8>, BlobError> {
        match self.load(chunk) {
            Ok(bytes) => Ok(bytes),
            Err(Bad::Damaged(what)) => Err(self.damaged(chunk, what)),
            Err(Bad::Io(e)) => Err(BlobError::Io(e)),
        }
    }

    /// Whether a chunk can be read; nothing is logged or counted.
    pub fn is_sound(&self, chunk: &Chunk) -> bool {
        self.load(chunk).is_ok()
    }

    fn load(&self, chunk: &Chunk) -> Result<Vec<u8>, Bad> {
        let file = {
            let mut state = self.lock();
            self.file(&mut state, chunk.segment)
        };
        let file = match file {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Bad::Damaged("the segment is missing"));
            }
            Err(e) => return Err(Bad::Io(e.to_string())),
        };
        let mut bytes =
            vec![0; RECORD_BYTES + (chunk.stored_len as usize).min(2 * crate::limits::CHUNK_BYTES)];
        match file.read_at(chunk.offset, &mut bytes) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(Bad::Damaged("cut off")),
            Err(e) => return Err(Bad::Io(e.to_string())),
        }
        record::body(&bytes, chunk).map_err(Bad::Damaged)?;
        bytes.drain(..RECORD_BYTES);
        Ok(bytes)
    }

    pub fn damaged(&self, chunk: &Chunk, what: &'static str) -> BlobError {
        self.figures.corrupt.one();
        tracing::error!(segment = chunk.segment, offset = chunk.offset, what, "damaged message bytes");
        BlobError::Corrupt { segment: chunk.segment, offset: chunk.offset, what }
    }

    pub fn facts(&self) -> Vec<Facts> {
        let mut state = self.lock();
        let numbers: Vec<u32> = state.segments.keys().copied().collect();
        for number in numbers {
            // Sizes of files that were not touched since opening are asked for now.
            if state.segments.get(&number).is_some_and(|s| s.size == 0)
                && let Ok(size) = self.file(&mut state, number).and_then(|file| file.size())
                && let Some(segment) = state.segments.get_mut(&number)
            {
                (segment.size, segment.synced) = (size, size);
            }
        }
        let active = state.active;
        let facts = |(&number, s): (&u32, &Segment)| Facts {
            number,
            size: s.size,
            active: active == Some(number),
            pins: s.pins,
            last_append: s.last_append,
        };
        state.segments.iter().map(facts).collect()
    }

    /// Removes a segment that nothing refers to, unless somebody has pinned it meanwhile.
    pub fn remove(&self, number: u32) -> Result<bool, BlobError> {
        let mut state = self.lock();
        match state.segments.get(&number) {
            Some(segment) if segment.pins == 0 && state.active != Some(number) => {}
            _ => return Ok(false),
        }
        if let Some(Segment { file: Some(_), .. }) = state.segments.remove(&number) {
            state.open = state.open.saturating_sub(1);
        }
        let removed = self.disk.remove(&file_name(number)).and_then(|()| self.disk.sync_names());
        removed.map_err(|e| BlobError::Io(e.to_string()))?;
        Ok(true)
    }

    /// Walks through a segment; gives its records and the number of damaged places.
    pub fn walk(&self, number: u32) -> io::Result<(Vec<Chunk>, u64)> {
        let file = {
            let mut state = self.lock();
            self.file(&mut state, number)?
        };
        let (mut records, mut bad) = (Vec::new(), 0);
        record::walk(&*file, number, |met| match met {
            Met::Record(chunk) => records.push(chunk),
            Met::Bad { .. } => bad += 1,
        })?;
        Ok((records, bad))
    }
}
