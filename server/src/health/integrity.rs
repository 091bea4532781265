//! A walk through the whole store, a page at each run of the probe: damage is found before somebody needs what is damaged,
//! and what was restored or removed is no longer told of.

use super::cause;
use super::ground::{Ground, Tried};
use crate::probe::{Done, Fault};
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::{Duration, Instant};
use waypost_base::explain::Party;
use waypost_health::Subject;
use waypost_store::{Hex, Looked, ReadError, Store, prefix_range};

type Key = Vec<u8>;

/// Damaged keys that are kept in mind; more of them are one fault just as well.
const KEPT_MAX: usize = 64;
/// Pages in one run while damage is known of and its place is not.
const PAGES_EAGER: usize = 16;
/// Keys that a finding names.
const NAMED_MAX: usize = 5;

/// Where the walk is, and what it met.
#[derive(Debug, Default)]
pub struct Walk {
    rest: Option<Range<Key>>,
    /// Of this walk, since it began at the first row: something damaged was met.
    spotted: bool,
    /// What readers had met when this walk began.
    met: u64,
    /// What readers had met when the last clean walk began: it is no longer there.
    settled: u64,
    damaged: BTreeSet<Key>,
    /// Of walks: long messages are looked at in other places each time.
    turn: usize,
}

impl Walk {
    fn range(&mut self, met: u64) -> Range<Key> {
        if let Some(rest) = self.rest.take() {
            return rest;
        }
        (self.spotted, self.met) = (false, met);
        self.turn = self.turn.wrapping_add(1);
        prefix_range(&[])
    }

    fn take(&mut self, looked: Looked) {
        self.spotted |= !looked.damaged.is_empty();
        let room = KEPT_MAX.saturating_sub(self.damaged.len());
        self.damaged.extend(looked.damaged.into_iter().take(room));
        self.rest = looked.next;
        if self.rest.is_none() && !self.spotted {
            self.settled = self.met;
        }
    }

    /// Keys that were damaged and are still so.
    async fn look_again(&mut self, store: &Store) -> Result<(), ReadError> {
        for key in self.damaged.clone() {
            let end = [key.as_slice(), &[0]].concat();
            if store.look(key.clone()..end, self.turn).await?.damaged.is_empty() {
                self.damaged.remove(&key);
            }
        }
        Ok(())
    }

    async fn go(&mut self, store: &Store) -> Result<(), ReadError> {
        self.look_again(store).await?;
        let unknown = |walk: &Walk| walk.damaged.is_empty() && store.health().corrupt > walk.settled;
        for _ in 0..PAGES_EAGER {
            let range = self.range(store.health().corrupt);
            let looked = store.look(range, self.turn).await?;
            self.take(looked);
            if !unknown(self) {
                break;
            }
        }
        Ok(())
    }

    fn verdict(&self, met: u64) -> Done {
        if let Some(first) = self.damaged.first() {
            let text =
                format!("{} damaged rows are in the store, the first is {}", self.damaged.len(), Hex(first));
            let names = self.damaged.iter().take(NAMED_MAX).map(|key| format!("damaged row {}", Hex(key)));
            return Err(Fault { evidence: names.collect(), ..Fault::new(cause::STORE_DAMAGED, text) });
        }
        if met > self.settled {
            let text = format!("{} damaged rows or chunks were met since the start", met - self.settled);
            return Err(Fault::new(cause::STORE_DAMAGED, text));
        }
        Ok(())
    }
}

pub async fn store(ground: &Ground, walk: &tokio::sync::Mutex<Walk>, limit: Duration) -> Tried {
    let begun = Instant::now();
    let store = &ground.services.organisation.store;
    let here = ground.here();
    let mut walk = walk.lock().await;
    // Broken off, it begins anew: what it had in hand is not lost sight of. A slow disk is told of by another probe.
    let went = tokio::time::timeout(limit, walk.go(store)).await;
    let done = match went {
        Ok(Err(ReadError::Unavailable(e))) => {
            Err(Fault::new(cause::STORE_FAILED, format!("rows cannot be read: {e}")))
        }
        _ => walk.verdict(store.health().corrupt),
    };
    let looked = ground.looked("store.integrity", Party::new("server", here.clone()), begun, done);
    let subject = Subject::Store(here);
    Tried { culprit: Some(subject.clone()), ..Tried::of(vec![subject]) }.with(looked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(damaged: &[&[u8]], more: bool) -> Looked {
        let next = more.then(|| b"m".to_vec()..b"z".to_vec());
        Looked { damaged: damaged.iter().map(|k| k.to_vec()).collect(), next, ..Looked::default() }
    }

    #[test]
    fn what_was_met_is_told_until_a_whole_walk_finds_nothing() {
        let mut walk = Walk::default();
        walk.range(0);
        walk.take(page(&[], true));
        assert!(walk.verdict(0).is_ok());
        // A reader meets something in what the walk has passed already.
        assert_eq!(walk.verdict(1).unwrap_err().cause.code, "HEALTH-STORE-DAMAGED");
        walk.range(1);
        walk.take(page(&[], false));
        assert!(walk.verdict(1).is_err(), "the walk began before that");
        assert_eq!(walk.range(1), prefix_range(&[]));
        walk.take(page(&[b"key"], true));
        walk.range(1);
        walk.take(page(&[], false));
        let told = walk.verdict(1).unwrap_err();
        assert_eq!(told.evidence, ["damaged row 6b6579"]);
        walk.damaged.clear();
        assert!(walk.verdict(1).is_err());
        walk.range(1);
        walk.take(page(&[], false));
        assert!(walk.verdict(1).is_ok(), "restored or removed");
        assert!(walk.verdict(2).is_err());
    }

    #[test]
    fn few_of_many_are_kept() {
        let keys: Vec<[u8; 2]> = (0..100).map(|n| [n, 0]).collect();
        let keys: Vec<&[u8]> = keys.iter().map(|k| k.as_slice()).collect();
        let mut walk = Walk::default();
        walk.range(0);
        walk.take(page(&keys, false));
        assert_eq!(walk.damaged.len(), KEPT_MAX);
    }
}
