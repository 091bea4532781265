//! Where evidence comes from: a folder, a file, a zip, pasted text. Each part is opened with care, read once, and handed to
//! the readers; what cannot be read is told with its reason.
//!
//! Nothing here trusts what it opens: names, sizes, encodings and nesting are bounded by [`Limits`]; links are not followed,
//! devices and pipes are not opened, nothing is written to disk. Small files are read before long logs, and the facts are
//! joined in that order whatever thread has read them, so that the same evidence always yields the same case.

mod archive;
mod at;
mod blocks;
mod cfb;
mod decode;
mod gauge;
mod html;
mod inner;
mod known;
mod limits;
mod magic;
mod mail;
mod msg;
mod names;
mod office;
mod one;
mod page;
mod plan;
mod tar;
mod walk;

pub(crate) use decode::text;
pub use gauge::{Progress, Watcher};
pub use limits::Limits;
pub(crate) use mail::base64;

use crate::case::Case;
use crate::fact::FileId;
use crate::phrases::Phrases;
use gauge::Gauge;
use one::{Outcome, With};
use plan::{Plan, Unit};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use waypost_base::Timestamp;

/// Entries of the list of unread files; the rest are counted.
const UNREAD_MAX: usize = 2000;
/// Parts that may be read ahead of one that takes long: bounds what waits to be joined.
const AHEAD_MAX: usize = 12;

/// One kind of artefact that was understood in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReadFile {
    /// Its path within the evidence, with `/`; parts of archives follow `!/`.
    pub file: String,
    /// What it is, such as `IMAP4 protocol log`.
    pub kind: String,
    /// Lines or records of it.
    pub count: u64,
    pub server: Option<String>,
}

/// A file, or a part of one, that was not read, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnreadFile {
    pub file: String,
    pub reason: String,
}

/// What [`collect`] yields.
pub type Collected = (Case, Vec<ReadFile>, Vec<UnreadFile>);

/// Reads a folder (with all below it), a file or a zip. `clock` is the time now, for evidence that has none of its own.
///
/// # Errors
/// Only when `path` itself cannot be opened; trouble with what is in it is told in the list of unread files.
pub fn collect(path: &Path, limits: &Limits, phrases: &Phrases, clock: Timestamp) -> io::Result<Collected> {
    collect_watched(path, limits, phrases, clock, None)
}

/// The same, while somebody watches how far it is.
///
/// # Errors
/// As [`collect`].
pub fn collect_watched(
    path: &Path,
    limits: &Limits,
    phrases: &Phrases,
    clock: Timestamp,
    watcher: Option<Watcher>,
) -> io::Result<Collected> {
    let mut plan = Plan::new(limits);
    plan.path(path)?;
    Ok(read(plan, limits, phrases, clock, watcher))
}

/// Reads one text, such as standard input. `name` is what it is called in the report.
pub fn collect_text(name: &str, text: &str, phrases: &Phrases, clock: Timestamp) -> Collected {
    collect_files(&[(name, text.as_bytes())], phrases, clock)
}

/// Reads files that are in memory: names with their bytes. Archives among them are opened too.
pub fn collect_files(files: &[(&str, &[u8])], phrases: &Phrases, clock: Timestamp) -> Collected {
    let limits = Limits { threads: 1, ..Limits::default() };
    let mut plan = Plan::new(&limits);
    for (name, bytes) in files {
        plan.memory(name, Arc::from(*bytes));
    }
    read(plan, &limits, phrases, clock, None)
}

/// What all threads share.
struct Work<'a> {
    units: &'a [Unit],
    with: With<'a>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The next unit that nobody has begun.
    next: usize,
    /// Units joined so far, in order.
    joined: usize,
    done: BTreeMap<usize, Outcome>,
}

impl Work<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits; whoever watches is told meanwhile.
    fn watch<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        if !self.with.gauge.is_watched() {
            return self.wait(state);
        }
        let waited = self.changed.wait_timeout(state, gauge::PAUSE);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        self.with.gauge.tell();
        state
    }

    /// A thread: takes units in order until there are none.
    fn run(&self) {
        loop {
            let mut state = self.state();
            while state.next < self.units.len() && state.next >= state.joined + AHEAD_MAX {
                state = self.wait(state);
            }
            let index = state.next;
            let Some(unit) = self.units.get(index) else { return };
            state.next += 1;
            drop(state);
            let outcome = one::read(unit, self.with);
            self.state().done.insert(index, outcome);
            self.changed.notify_all();
        }
    }

    /// Joins what the threads yield, in order.
    fn join(&self, gathered: &mut Gathered) {
        for (index, unit) in self.units.iter().enumerate() {
            let outcome = {
                let mut state = self.state();
                loop {
                    if let Some(outcome) = state.done.remove(&index) {
                        break outcome;
                    }
                    state = self.watch(state);
                }
            };
            gathered.take(unit, outcome);
            self.state().joined = index + 1;
            self.changed.notify_all();
        }
    }
}

/// The case as it grows.
struct Gathered {
    case: Case,
    /// By file and kind: count, server.
    read: BTreeMap<(FileId, &'static str), (u64, Option<String>)>,
    unread: Vec<UnreadFile>,
    unread_more: usize,
    /// Lines of a file in the parts that were joined.
    lines: BTreeMap<FileId, u32>,
    /// Text files in which nothing was known so far.
    nothing: BTreeMap<FileId, String>,
}

impl Gathered {
    fn unread(&mut self, file: String, reason: String) {
        let entry = UnreadFile { file, reason };
        if self.unread.len() >= UNREAD_MAX {
            self.unread_more += 1;
        } else if !self.unread.contains(&entry) {
            self.unread.push(entry);
        }
    }

    fn take(&mut self, unit: &Unit, outcome: Outcome) {
        let before = self.lines.entry(unit.file).or_default();
        self.case.join_after(outcome.case, *before);
        *before = before.saturating_add(outcome.lines);
        for told in outcome.told {
            let server = told.server.map(|s| s.to_string());
            for (kind, count) in told.understood {
                let entry = self.read.entry((told.file, kind)).or_default();
                entry.0 += count;
                if entry.1.is_none() {
                    entry.1.clone_from(&server);
                }
            }
            if told.nothing {
                self.nothing.insert(told.file, told.name.clone());
            }
            for reason in told.troubles {
                self.unread(told.name.clone(), reason);
            }
        }
    }

    fn finish(mut self) -> Collected {
        let known: std::collections::BTreeSet<FileId> = self.read.keys().map(|(file, _)| *file).collect();
        for (file, name) in std::mem::take(&mut self.nothing) {
            let told = self.unread.iter().any(|u| u.file == name);
            if !known.contains(&file) && !told {
                self.unread(name, "nothing in it is known here".to_owned());
            }
        }
        known::name_addresses(&mut self.case);
        known::own_causes(&mut self.case);
        let case = self.case;
        let named = |(file, kind): (FileId, &str), count, server: Option<String>| ReadFile {
            file: case.file(file).to_owned(),
            kind: kind.to_owned(),
            count,
            server,
        };
        let read = self.read.into_iter().map(|(key, (count, server))| named(key, count, server)).collect();
        self.unread.sort_by(|a, b| a.file.cmp(&b.file));
        if self.unread_more > 0 {
            let reason = format!("and {} more files", self.unread_more);
            self.unread.push(UnreadFile { file: "…".to_owned(), reason });
        }
        (case, read, self.unread)
    }
}

fn read(
    plan: Plan<'_>,
    limits: &Limits,
    phrases: &Phrases,
    clock: Timestamp,
    watcher: Option<Watcher>,
) -> Collected {
    let mut case = Case::new(clock);
    let (units, passed) = plan.finish(&mut case);
    let mut gathered = Gathered {
        case,
        read: BTreeMap::new(),
        unread: Vec::new(),
        unread_more: 0,
        lines: BTreeMap::new(),
        nothing: BTreeMap::new(),
    };
    for (file, reason) in passed {
        gathered.unread(file, reason);
    }
    let total = units.iter().map(Unit::size).fold(0, u64::saturating_add);
    let gauge = Gauge::new(total, watcher);
    let with = With { limits, phrases, clock, gauge: &gauge };
    let threads = limits.threads.clamp(1, 16).min(units.len());
    if threads <= 1 {
        for unit in &units {
            let outcome = one::read(unit, with);
            gathered.take(unit, outcome);
            gauge.tell();
        }
        return gathered.finish();
    }
    let work = Work { units: &units, with, state: Mutex::new(State::default()), changed: Condvar::new() };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work.run());
        }
        work.join(&mut gathered);
    });
    gathered.finish()
}
