//! Counting guesses. Failures are kept per (name, client network): who guesses is slowed down and then told "wrong"
//! whatever they send, while the owner signs in from elsewhere undisturbed. A second count per network alone slows
//! down those who try one password on many names.

use crate::limits::THROTTLE_ENTRIES_MAX;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use waypost_base::Timestamp;

/// How guesses are slowed down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Failures that cost nothing: people mistype, and phones with an old password ask a few times.
    pub free: u32,
    /// From this many on, the answer is "wrong" without looking.
    pub refuse_from: u32,
    /// The same as `free` for one network and all names together.
    pub network_free: u32,
    /// The first wait; it doubles with each failure.
    pub wait_millis: u64,
    /// The longest wait.
    pub wait_millis_max: u64,
    /// Failures are forgotten this long after the last one.
    pub window_millis: i64,
    /// SCRAM exchanges of one name that may be open at a time before they count as failures: an exchange that fails is
    /// never heard of again.
    pub open_free: u32,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            free: 5,
            refuse_from: 20,
            network_free: 50,
            wait_millis: 250,
            wait_millis_max: 5_000,
            window_millis: 15 * 60 * 1000,
            open_free: 64,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Go,
    Wait(u64),
    Refuse(u64),
}

/// Networks are counted, not addresses: a client has a whole /64 of IPv6 to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Network {
    V4([u8; 3]),
    V6([u8; 8]),
}

impl Network {
    fn of(peer: IpAddr) -> Network {
        match peer.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                Network::V4([a, b, c])
            }
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h, ..] = v6.octets();
                Network::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    failures: u32,
    open: u32,
    last: Timestamp,
}

type Key = (Box<str>, Network);

#[derive(Debug)]
pub(super) struct Throttle {
    rules: Rules,
    entries: Mutex<HashMap<Key, Entry>>,
}

impl Throttle {
    pub fn new(rules: Rules) -> Throttle {
        Throttle { rules, entries: Mutex::default() }
    }

    pub fn verdict(&self, name: &str, peer: IpAddr, now: Timestamp) -> Verdict {
        let network = Network::of(peer);
        let entries = self.lock();
        if entries.is_empty() {
            return Verdict::Go;
        }
        let rules = &self.rules;
        let live = |name: &str| {
            let entry = entries.get(&(name.into(), network)).copied().unwrap_or_default();
            let old = now.since(entry.last) > rules.window_millis;
            if old { Entry::default() } else { entry }
        };
        let own = live(name);
        let failures = own.failures.saturating_add(own.open.saturating_sub(rules.open_free));
        let everybody = live("").failures;
        if failures >= rules.refuse_from {
            return Verdict::Refuse(rules.wait_millis_max);
        }
        let over = failures.saturating_sub(rules.free).max(everybody.saturating_sub(rules.network_free));
        match over {
            0 => Verdict::Go,
            n => Verdict::Wait(
                rules.wait_millis.saturating_mul(1 << (n - 1).min(16)).min(rules.wait_millis_max),
            ),
        }
    }

    pub fn failed(&self, name: &str, peer: IpAddr, now: Timestamp) {
        self.raise(name, peer, now, |e| e.failures = e.failures.saturating_add(1));
        self.raise("", peer, now, |e| e.failures = e.failures.saturating_add(1));
    }

    /// A SCRAM exchange has begun.
    pub fn opened(&self, name: &str, peer: IpAddr, now: Timestamp) {
        self.raise(name, peer, now, |e| e.open = e.open.saturating_add(1));
    }

    /// The right password was shown: failures of this name from here are forgotten, those of the network are not.
    pub fn proved(&self, name: &str, peer: IpAddr) {
        let mut entries = self.lock();
        let key = (name.into(), Network::of(peer));
        if let Some(entry) = entries.get_mut(&key) {
            entry.failures = 0;
            entry.open = entry.open.saturating_sub(1);
            if entry.open == 0 {
                entries.remove(&key);
            }
        }
    }

    fn raise(&self, name: &str, peer: IpAddr, now: Timestamp, change: impl FnOnce(&mut Entry)) {
        let mut entries = self.lock();
        if entries.len() >= THROTTLE_ENTRIES_MAX {
            entries.retain(|_, e| now.since(e.last) <= self.rules.window_millis);
        }
        if entries.len() >= THROTTLE_ENTRIES_MAX {
            // A flood of invented names: those with one failure carry the least information.
            entries.retain(|_, e| e.failures > 1);
        }
        if entries.len() >= THROTTLE_ENTRIES_MAX {
            entries.clear();
        }
        let entry = entries.entry((name.into(), Network::of(peer))).or_default();
        if now.since(entry.last) > self.rules.window_millis {
            *entry = Entry::default();
        }
        entry.last = now;
        change(entry);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp(1_000_000_000);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn slows_down_then_refuses_one_network_only() {
        let throttle = Throttle::new(Rules::default());
        let (guesser, owner) = (ip("192.0.2.7"), ip("198.51.100.1"));
        for n in 0..20 {
            let verdict = throttle.verdict("adele", guesser, T);
            match n {
                0..=5 => assert_eq!(verdict, Verdict::Go, "{n}"),
                6 => assert_eq!(verdict, Verdict::Wait(250)),
                7 => assert_eq!(verdict, Verdict::Wait(500)),
                _ => assert!(matches!(verdict, Verdict::Wait(1000..=5000)), "{n} {verdict:?}"),
            }
            throttle.failed("adele", guesser, T);
        }
        // The neighbour in the same /24 is the same guesser.
        assert_eq!(throttle.verdict("adele", ip("192.0.2.200"), T), Verdict::Refuse(5000));
        assert_eq!(throttle.verdict("adele", owner, T), Verdict::Go);
        assert_eq!(throttle.verdict("lee", guesser, T), Verdict::Go);
        let later = T.plus_millis(Rules::default().window_millis + 1);
        assert_eq!(throttle.verdict("adele", guesser, later), Verdict::Go);
    }

    #[test]
    fn slows_down_one_password_for_many_names() {
        let throttle = Throttle::new(Rules::default());
        for n in 0..60 {
            throttle.failed(&format!("user{n}"), ip("2001:db8::1"), T);
        }
        assert!(matches!(throttle.verdict("fresh", ip("2001:db8::2"), T), Verdict::Wait(_)));
        assert_eq!(throttle.verdict("fresh", ip("2001:db8:0:1::2"), T), Verdict::Go);
    }

    #[test]
    fn success_forgets_and_open_exchanges_count_late() {
        let throttle = Throttle::new(Rules::default());
        let peer = ip("::ffff:192.0.2.7");
        (0..6).for_each(|_| throttle.failed("adele", peer, T));
        throttle.proved("adele", peer);
        assert_eq!(throttle.verdict("adele", peer, T), Verdict::Go);
        (0..64).for_each(|_| throttle.opened("lee", peer, T));
        assert_eq!(throttle.verdict("lee", peer, T), Verdict::Go);
        (0..25).for_each(|_| throttle.opened("lee", peer, T));
        assert_eq!(throttle.verdict("lee", peer, T), Verdict::Refuse(5000));
    }

    #[test]
    fn stays_bounded() {
        let throttle = Throttle::new(Rules::default());
        for n in 0..(THROTTLE_ENTRIES_MAX + 10) {
            throttle.failed(&format!("user{n}"), ip("192.0.2.7"), T);
        }
        assert!(throttle.lock().len() <= THROTTLE_ENTRIES_MAX);
    }
}
