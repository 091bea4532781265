//! What this process knows of itself, for the commands: its legs, and what the system denied to it.

use super::board::{Board, Key, State};
use super::dial::Inside;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use waypost_admin::service::{Denial, LegState, ServiceFacts};
use waypost_base::Timestamp;

/// Denials that are remembered, one for each path and operation.
const DENIALS_MAX: usize = 128;

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

/// What commands ask the running server for.
pub struct Facts(pub Arc<Inside>);

impl ServiceFacts for Facts {
    fn legs(&self) -> Vec<LegState> {
        states(&self.0.board)
    }

    fn faults(&self) -> Vec<LegState> {
        faults(&self.0.board)
    }

    fn denials(&self) -> Vec<Denial> {
        denials()
    }
}

fn states(board: &Board) -> Vec<LegState> {
    let state = |(key, state): (Key, State)| {
        let Key { from, to, service } = key;
        let State { leg, finding, since, legs, well, unwell } = state;
        LegState { from, to, service, leg, finding, since, legs, well, unwell }
    };
    board.rows().into_iter().map(state).collect()
}

fn faults(board: &Board) -> Vec<LegState> {
    let fault = |seen: super::board::Seen| LegState {
        from: seen.key.from,
        to: seen.key.to,
        service: seen.key.service,
        since: seen.leg.started,
        leg: seen.leg,
        finding: Some(seen.finding),
        legs: 1,
        well: 0,
        unwell: 1,
    };
    board.faults().into_iter().map(fault).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denials_are_counted_by_path_and_operation() {
        let path = Path::new("/nowhere/waypost.keytab");
        for at in 1..=3 {
            note(path, "read", Timestamp(at));
        }
        note(path, "write", Timestamp(4));
        let mine: Vec<Denial> = denials().into_iter().filter(|d| d.path == path).collect();
        assert_eq!(mine.len(), 2);
        assert_eq!((mine[0].first, mine[0].last, mine[0].times), (Timestamp(1), Timestamp(3), 3));
        for n in 0..2 * DENIALS_MAX {
            note(Path::new(&format!("/many/{n}")), "read", Timestamp(9));
        }
        assert_eq!(denials().len(), DENIALS_MAX);
    }
}
