//! Who each role of this process is, and what it was denied.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use waypost_base::Timestamp;

/// Denials that are remembered, one for each path and operation.
const DENIALS_MAX: usize = 128;

/// A path that the system did not let this process have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    pub path: PathBuf,
    pub operation: &'static str,
    pub first: Timestamp,
    pub last: Timestamp,
    pub times: u64,
}

static DENIALS: Mutex<VecDeque<Denial>> = Mutex::new(VecDeque::new());

/// Notes denials from now on. Called once, when the process starts.
pub fn watch_denials() {
    waypost_base::denials::observe(|path, operation| note(path, operation, crate::machine::clock().now()));
}

fn note(path: &Path, operation: &'static str, now: Timestamp) {
    let mut all = DENIALS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = all.iter_mut().find(|d| d.path == path && d.operation == operation) {
        known.last = now;
        known.times += 1;
        return;
    }
    if all.len() == DENIALS_MAX {
        all.pop_front();
    }
    all.push_back(Denial { path: path.to_owned(), operation, first: now, last: now, times: 1 });
}

/// The latest last.
pub fn denials() -> Vec<Denial> {
    DENIALS.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
}
