//! The board of inner legs: how the last leg of each pair of servers and service went, and since when it is so.
//!
//! What is wrong stays on the board until a later leg of the same pair and service is well. Findings are logged once for each
//! change. Beside the last states the latest faults are kept, so that those of a thief do not vanish behind the rightful
//! server's next leg.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use waypost_base::Timestamp;
use waypost_base::explain::{Finding, Leg, Outcome};

/// Pairs and services that are remembered: a hundred servers with every service between them would be more, and no
/// organisation of ours is like that.
const ROWS_MAX: usize = 4096;
/// Faults that are remembered.
const FAULTS_MAX: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub from: String,
    pub to: String,
    /// `imap`, `hub`…
    pub service: String,
}

/// The last state.
#[derive(Clone, Debug)]
pub struct State {
    /// The last leg, with its steps and outcome.
    pub leg: Leg,
    pub finding: Option<Finding>,
    /// Since when it is as it is: the same result by the same cause.
    pub since: Timestamp,
    /// Legs since then.
    pub legs: u64,
    /// Legs that were well, and that were not, since this process started.
    pub well: u64,
    pub unwell: u64,
}

/// A fault that was seen lately.
#[derive(Clone, Debug)]
pub struct Seen {
    pub key: Key,
    pub leg: Leg,
    pub finding: Finding,
}

#[derive(Default)]
pub struct Board(Mutex<Rows>);

#[derive(Default)]
struct Rows {
    states: BTreeMap<Key, State>,
    faults: VecDeque<Seen>,
}

impl Board {
    /// Notes how a leg began or failed to.
    pub fn note(&self, leg: &Leg, finding: Option<&Finding>, now: Timestamp) {
        let service = leg.operation.strip_prefix("inner.").unwrap_or(&leg.operation);
        let key = Key {
            from: leg.initiator.name.clone(),
            to: leg.acceptor.name.clone(),
            service: service.to_owned(),
        };
        if key.from == key.to {
            // A server that tries its own door is no pair.
            return;
        }
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(finding) = finding {
            if rows.faults.len() == FAULTS_MAX {
                rows.faults.pop_front();
            }
            rows.faults.push_back(Seen { key: key.clone(), leg: leg.clone(), finding: finding.clone() });
        }
        let unwell = finding.is_some();
        let Some(state) = rows.states.get_mut(&key) else {
            if rows.states.len() < ROWS_MAX {
                let (leg, finding) = (leg.clone(), finding.cloned());
                tell(&key, &leg, finding.as_ref(), None);
                let (well, unwell) = (u64::from(!unwell), u64::from(unwell));
                rows.states.insert(key, State { leg, finding, since: now, legs: 1, well, unwell });
            }
            return;
        };
        let changed = what(&state.leg.outcome) != what(&leg.outcome);
        if changed {
            tell(&key, leg, finding, Some(state));
            state.since = now;
            state.legs = 0;
        }
        state.legs += 1;
        if unwell {
            state.unwell += 1;
        } else {
            state.well += 1;
        }
        state.leg = leg.clone();
        state.finding = finding.cloned();
    }

    /// All states, by initiator, acceptor, service.
    pub fn rows(&self) -> Vec<(Key, State)> {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.states.iter().map(|(key, state)| (key.clone(), state.clone())).collect()
    }

    /// Latest faults first.
    pub fn faults(&self) -> Vec<Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).faults.iter().rev().cloned().collect()
    }

    /// How many pairs and services are degraded, and how many fail.
    pub fn unwell(&self) -> (u64, u64) {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count =
            |f: fn(&Outcome) -> bool| rows.states.values().filter(|s| f(&s.leg.outcome)).count() as u64;
        (count(|o| matches!(o, Outcome::Degraded { .. })), count(|o| matches!(o, Outcome::Failed { .. })))
    }
}

/// `Ok`, `Degraded`, `Failed`, with the cause: what makes a difference.
fn what(outcome: &Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Open | Outcome::Ok => ("Ok", ""),
        Outcome::Degraded { cause, .. } => ("Degraded", cause.code),
        Outcome::Failed { cause, .. } => ("Failed", cause.code),
    }
}

fn tell(key: &Key, leg: &Leg, finding: Option<&Finding>, before: Option<&State>) {
    let Key { from, to, service } = key;
    match (&leg.outcome, finding) {
        (Outcome::Degraded { cause, text }, _) => {
            tracing::warn!(%from, %to, %service, cause = cause.code, "an inner leg is degraded: {text}");
        }
        (Outcome::Failed { cause, text, .. }, _) => {
            tracing::warn!(%from, %to, %service, cause = cause.code, "an inner leg fails: {text}");
        }
        _ if before.is_some() => tracing::info!(%from, %to, %service, "the inner leg is well again"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_base::explain::Party;
    use waypost_base::id::Correlation;
    use waypost_trust::leg::cause;
    use waypost_trust::leg::fault::Fault;

    fn leg(service: &str) -> Leg {
        let mut leg = Leg::start(
            format!("inner.{service}"),
            Party::new("front end", "front"),
            Party::new("mailbox", "mbx"),
            Timestamp(0),
        );
        leg.outcome = Outcome::Ok;
        leg.correlation = Some(Correlation(7));
        leg
    }

    fn bad(service: &str, cause: waypost_base::explain::Cause) -> (Leg, Finding) {
        let mut leg = leg(service);
        leg.outcome = Outcome::Degraded { cause, text: "t".into() };
        (leg, Fault::new(cause, "t").finding())
    }

    #[test]
    fn degraded_until_a_later_leg_is_well() {
        let board = Board::default();
        board.note(&leg("imap"), None, Timestamp(1));
        let (worse, finding) = bad("imap", cause::CLOCK);
        for at in 2..5 {
            board.note(&worse, Some(&finding), Timestamp(at));
        }
        let (key, state) = board.rows().remove(0);
        assert_eq!((key.from.as_str(), key.to.as_str(), key.service.as_str()), ("front", "mbx", "imap"));
        assert_eq!((what(&state.leg.outcome).0, state.since, state.legs), ("Degraded", Timestamp(2), 3));
        assert_eq!(board.unwell(), (1, 0));
        // Another cause is a change; another service is another row.
        let (other, why) = bad("imap", cause::POLICY);
        board.note(&other, Some(&why), Timestamp(6));
        board.note(&leg("pop3"), None, Timestamp(6));
        let rows = board.rows();
        assert_eq!((rows[0].1.since, rows[0].1.legs, rows.len()), (Timestamp(6), 1, 2));
        // Mended: the row is well, the faults are still told.
        board.note(&leg("imap"), None, Timestamp(7));
        let (_, state) = board.rows().remove(0);
        assert_eq!((what(&state.leg.outcome).0, state.well, state.unwell), ("Ok", 2, 4));
        assert!(state.finding.is_none());
        assert_eq!((board.unwell(), board.faults().len()), ((0, 0), 4));
        assert_eq!(board.faults()[0].finding.cause, cause::POLICY);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let board = Board::default();
        for n in 0..ROWS_MAX + 10 {
            let (leg, finding) = bad(&n.to_string(), cause::CLOCK);
            board.note(&leg, Some(&finding), Timestamp(0));
        }
        assert_eq!((board.rows().len(), board.faults().len()), (ROWS_MAX, FAULTS_MAX));
    }
}
