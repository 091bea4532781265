//! Counting guesses. Failures are kept per (name, client network): who guesses is slowed down and then not listened to
//! for a while, whatever they send, while the owner signs in from elsewhere undisturbed.
//!
//! Two more counts only slow down and never refuse: one per network, for those who try one password on many names; one per
//! name over all *unknown* networks, for those who guess from many places.
//!
//! A network from which the account has signed in lately is a home. Homes are never refused and are not slowed down by what
//! happens elsewhere, so that nobody can lock people out of their own office: not from outside, and not by a telephone
//! inside of it that still has the old password.

use crate::limits::{
    CHECKS_PER_NETWORK_MAX, HOME_MILLIS, HOME_NETWORKS_MAX, HOMES_MAX, THROTTLE_ENTRIES_MAX,
};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use waypost_base::Timestamp;

/// How guesses are slowed down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Failures that cost nothing: people mistype, and phones with an old password ask a few times.
    pub free: u32,
    /// From this many on nothing is looked at, and the answer says so.
    pub refuse_from: u32,
    /// The same as `free` for one network and all names together.
    pub network_free: u32,
    /// The first wait; it doubles with each failure.
    pub wait_millis: u64,
    /// The longest wait.
    pub wait_millis_max: u64,
    /// Failures are forgotten this long after the last one.
    pub window_millis: i64,
    /// The same as `free` for one name and all networks together that are not its homes.
    pub name_free: u32,
    /// The longest wait at home.
    pub home_wait_millis_max: u64,
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
            name_free: 50,
            home_wait_millis_max: 1_000,
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
    /// All that are not homes, together.
    Unknown,
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

/// Where somebody signs in from, the latest last.
type Homes = Vec<(Network, Timestamp)>;

#[derive(Debug)]
pub(super) struct Throttle {
    rules: Rules,
    entries: Mutex<HashMap<Key, Entry>>,
    homes: Mutex<HashMap<Box<str>, Homes>>,
    /// Passwords under way, by network.
    busy: Arc<Mutex<HashMap<Network, u32>>>,
}

/// A password under way. Given back when dropped.
pub(super) struct Busy {
    network: Network,
    busy: Arc<Mutex<HashMap<Network, u32>>>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut busy = lock(&self.busy);
        if let Some(count) = busy.get_mut(&self.network) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                busy.remove(&self.network);
            }
        }
    }
}

impl Throttle {
    pub fn new(rules: Rules) -> Throttle {
        Throttle { rules, entries: Mutex::default(), homes: Mutex::default(), busy: Arc::default() }
    }

    pub fn verdict(&self, name: &str, peer: IpAddr, now: Timestamp) -> Verdict {
        let network = Network::of(peer);
        let home = self.is_home(name, network, now);
        let entries = lock(&self.entries);
        if entries.is_empty() {
            return Verdict::Go;
        }
        let rules = &self.rules;
        let live = |name: &str, network: Network| {
            let entry = entries.get(&(name.into(), network)).copied().unwrap_or_default();
            let old = now.since(entry.last) > rules.window_millis;
            if old { Entry::default() } else { entry }
        };
        let own = live(name, network);
        let failures = own.failures.saturating_add(own.open.saturating_sub(rules.open_free));
        let wait = |over: u32, most: u64| match over {
            0 => Verdict::Go,
            n => Verdict::Wait(rules.wait_millis.saturating_mul(1 << (n - 1).min(16)).min(most)),
        };
        let own_over = failures.saturating_sub(rules.free);
        if home {
            return wait(own_over, rules.home_wait_millis_max.min(rules.wait_millis_max));
        }
        if failures >= rules.refuse_from {
            return Verdict::Refuse(rules.wait_millis_max);
        }
        let everybody = live("", network).failures.saturating_sub(rules.network_free);
        let everywhere = live(name, Network::Unknown).failures.saturating_sub(rules.name_free);
        wait(own_over.max(everybody).max(everywhere), rules.wait_millis_max)
    }

    pub fn failed(&self, name: &str, peer: IpAddr, now: Timestamp) {
        let network = Network::of(peer);
        let one = |e: &mut Entry| e.failures = e.failures.saturating_add(1);
        self.raise(name, network, now, one);
        self.raise("", network, now, one);
        if !self.is_home(name, network, now) {
            self.raise(name, Network::Unknown, now, one);
        }
    }

    /// A SCRAM exchange has begun.
    pub fn opened(&self, name: &str, peer: IpAddr, now: Timestamp) {
        self.raise(name, Network::of(peer), now, |e| e.open = e.open.saturating_add(1));
    }

    /// The right password was shown: failures of this name from here are forgotten, those of the network are not. It is a
    /// home from now on.
    pub fn proved(&self, name: &str, peer: IpAddr, now: Timestamp) {
        let network = Network::of(peer);
        {
            let mut entries = lock(&self.entries);
            let key = (name.into(), network);
            if let Some(entry) = entries.get_mut(&key) {
                entry.failures = 0;
                entry.open = entry.open.saturating_sub(1);
                if entry.open == 0 {
                    entries.remove(&key);
                }
            }
        }
        self.seen(name, peer, now);
    }

    /// Somebody has signed in from here.
    pub fn seen(&self, name: &str, peer: IpAddr, now: Timestamp) {
        let network = Network::of(peer);
        let mut homes = lock(&self.homes);
        if homes.len() >= HOMES_MAX && !homes.contains_key(name) {
            homes.retain(|_, nets| nets.last().is_some_and(|(_, at)| now.since(*at) <= HOME_MILLIS));
            if homes.len() >= HOMES_MAX {
                return;
            }
        }
        let nets = homes.entry(name.into()).or_default();
        nets.retain(|(n, at)| *n != network && now.since(*at) <= HOME_MILLIS);
        if nets.len() >= HOME_NETWORKS_MAX {
            nets.remove(0);
        }
        nets.push((network, now));
    }

    fn is_home(&self, name: &str, network: Network, now: Timestamp) -> bool {
        let homes = lock(&self.homes);
        homes
            .get(name)
            .is_some_and(|nets| nets.iter().any(|(n, at)| *n == network && now.since(*at) <= HOME_MILLIS))
    }

    /// A place for a password that is to be checked; `None` where too many of this network are under way.
    pub fn enter(&self, peer: IpAddr) -> Option<Busy> {
        let network = Network::of(peer);
        let mut busy = lock(&self.busy);
        let count = busy.entry(network).or_default();
        if *count >= CHECKS_PER_NETWORK_MAX {
            return None;
        }
        *count += 1;
        drop(busy);
        Some(Busy { network, busy: self.busy.clone() })
    }

    fn raise(&self, name: &str, network: Network, now: Timestamp, change: impl FnOnce(&mut Entry)) {
        let mut entries = lock(&self.entries);
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
        let entry = entries.entry((name.into(), network)).or_default();
        if now.since(entry.last) > self.rules.window_millis {
            *entry = Entry::default();
        }
        entry.last = now;
        change(entry);
    }
}

/// A panic elsewhere must not lock everybody out; each of these maps is whole between statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        throttle.proved("adele", peer, T);
        assert_eq!(throttle.verdict("adele", peer, T), Verdict::Go);
        (0..64).for_each(|_| throttle.opened("lee", peer, T));
        assert_eq!(throttle.verdict("lee", peer, T), Verdict::Go);
        (0..25).for_each(|_| throttle.opened("lee", peer, T));
        assert_eq!(throttle.verdict("lee", peer, T), Verdict::Refuse(5000));
    }

    /// Somebody guesses from everywhere, and inside of the office a telephone has the old password.
    #[test]
    fn nobody_is_locked_out_of_their_office() {
        let throttle = Throttle::new(Rules::default());
        let office = ip("198.51.100.1");
        throttle.proved("adele", office, T);
        for n in 0..200 {
            throttle.failed("adele", ip(&format!("203.0.{n}.9")), T);
        }
        // One guess from each network costs nothing there, so that all together have to.
        assert_eq!(throttle.verdict("adele", ip("192.0.2.9"), T), Verdict::Wait(5000));
        assert_eq!(throttle.verdict("adele", office, T), Verdict::Go);
        (0..100).for_each(|_| throttle.failed("adele", office, T));
        assert_eq!(throttle.verdict("adele", office, T), Verdict::Wait(1000));
        // Other names of the office are slowed down by what the network does, as before.
        assert!(matches!(throttle.verdict("lee", office, T), Verdict::Wait(_)));
        let later = T.plus_millis(HOME_MILLIS + 1);
        (0..20).for_each(|_| throttle.failed("adele", office, later));
        assert_eq!(throttle.verdict("adele", office, later), Verdict::Refuse(5000));
    }

    #[test]
    fn one_network_leaves_room_for_the_others() {
        let throttle = Throttle::new(Rules::default());
        let places: Vec<_> =
            (0..CHECKS_PER_NETWORK_MAX).map(|_| throttle.enter(ip("192.0.2.7")).unwrap()).collect();
        assert!(throttle.enter(ip("192.0.2.8")).is_none());
        assert!(throttle.enter(ip("198.51.100.1")).is_some());
        drop(places);
        assert!(throttle.enter(ip("192.0.2.8")).is_some());
        assert!(lock(&throttle.busy).len() <= 1);
    }

    #[test]
    fn stays_bounded() {
        let throttle = Throttle::new(Rules::default());
        for n in 0..(THROTTLE_ENTRIES_MAX + 10) {
            throttle.failed(&format!("user{n}"), ip("192.0.2.7"), T);
        }
        assert!(lock(&throttle.entries).len() <= THROTTLE_ENTRIES_MAX);
    }
}
