//! The schedule against its laws, over random lives.

use super::*;
use crate::model::NullRouter;
use proptest::prelude::*;
use waypost_smtp::Status;

const NOW: i64 = 1_772_525_720_000;

fn route(domain: u32) -> Route {
    if domain == 0 { Route::Mailbox } else { Route::Domain(format!("d{domain}.example")) }
}

fn put(schedule: &mut Schedule, id: u64, hop: u32, domain: u32, flags: u32, now: i64, due: i64) -> u32 {
    let new = NewEntry {
        id,
        hop,
        route: &route(domain),
        targets: 1,
        owner: None,
        due: Timestamp(due),
        expires: Timestamp(now + 172_800_000),
        warn: Some(Timestamp(now + 14_400_000)),
        flags,
    };
    schedule.insert(&new, &NullRouter, Timestamp(now))
}

fn reason() -> Reason {
    Reason::temporary(Status(4, 4, 1), "refused")
}

/// Two connections for everybody, three items for the mailboxes.
struct Two;

impl Router for Two {
    fn next_hop(&self, route: &Route) -> NextHop {
        NullRouter.next_hop(route)
    }

    fn connections(&self, hop: &NextHop) -> u32 {
        if *hop == NextHop::Mailbox { 3 } else { 2 }
    }
}

/// Everything that can happen to a schedule.
#[derive(Clone, Debug)]
enum Step {
    Put { hops: Vec<u32>, priority: u32, later: i64 },
    Poll,
    Next(usize),
    Ok(usize),
    Failed(usize),
    Hang(usize),
    GiveBack(usize),
    PutOff(usize, i64),
    Remove(usize),
    Suspend(usize),
    Time(i64),
    Reroute(bool),
    Back(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (proptest::collection::vec(0u32..5, 1..4), 0u32..3, prop_oneof![Just(0i64), 0..100_000i64])
            .prop_map(|(hops, priority, later)| Step::Put { hops, priority, later }),
        6 => Just(Step::Poll),
        6 => (0usize..8).prop_map(Step::Next),
        3 => (0usize..8).prop_map(Step::Ok),
        1 => (0usize..8).prop_map(Step::Failed),
        2 => (0usize..8).prop_map(Step::Hang),
        2 => (0usize..8).prop_map(Step::GiveBack),
        2 => (0usize..8, 0i64..400_000).prop_map(|(i, t)| Step::PutOff(i, t)),
        4 => (0usize..8).prop_map(Step::Remove),
        1 => (0usize..8).prop_map(Step::Suspend),
        2 => prop_oneof![0i64..100, 0..200_000i64, Just(20_000_000i64)].prop_map(Step::Time),
        1 => any::<bool>().prop_map(Step::Reroute),
        1 => (0i64..100_000).prop_map(Step::Back),
    ]
}

struct Connection {
    line: u32,
    connecting: bool,
    failed: bool,
}

/// A schedule with those who use it, and what must be true of it.
struct World {
    schedule: Schedule,
    now: i64,
    next: u64,
    /// What is in it, by (id, hop).
    known: BTreeSet<(u64, u32)>,
    leased: Vec<u32>,
    connections: Vec<Connection>,
}

struct Elsewhere;

impl Router for Elsewhere {
    fn next_hop(&self, route: &Route) -> NextHop {
        match route {
            Route::Mailbox => NextHop::Mailbox,
            Route::Domain(d) if d.starts_with("d1") => NextHop::Unreachable,
            _ => NextHop::Connector { connector: "all".into(), domain: None },
        }
    }

    fn connections(&self, hop: &NextHop) -> u32 {
        Two.connections(hop)
    }
}

impl World {
    fn new() -> World {
        World {
            schedule: Schedule::new(3, 1),
            now: NOW,
            next: 1,
            known: BTreeSet::new(),
            leased: Vec::new(),
            connections: Vec::new(),
        }
    }

    fn pick<T>(of: &mut Vec<T>, i: usize) -> Option<T> {
        (!of.is_empty()).then(|| i % of.len()).map(|i| of.swap_remove(i))
    }

    fn lease(&mut self, slot: u32) {
        assert!(self.schedule.entry(slot).is(flag::LEASED));
        assert!(!self.leased.contains(&slot), "leased twice");
        self.leased.push(slot);
    }

    fn step(&mut self, step: Step) {
        let now = Timestamp(self.now);
        match step {
            Step::Put { hops, priority, later } => {
                for (hop, domain) in (0u32..).zip(hops) {
                    let new = NewEntry {
                        id: self.next,
                        hop,
                        route: &route(domain),
                        targets: 1,
                        owner: None,
                        due: Timestamp(self.now + later),
                        expires: Timestamp(self.now + 30_000_000),
                        warn: Some(Timestamp(self.now + 15_000_000)),
                        flags: priority << flag::PRIORITY_SHIFT,
                    };
                    self.schedule.insert(&new, &Two, now);
                    self.known.insert((self.next, hop));
                }
                self.next += 1;
            }
            Step::Poll => match self.schedule.poll(now) {
                Some(Todo::Connect(line)) => {
                    self.connections.push(Connection { line, connecting: true, failed: false });
                }
                Some(Todo::Deliver(slot)) => {
                    assert!(self.schedule.entry(slot).due <= self.now);
                    self.lease(slot);
                }
                Some(Todo::Expired(slot) | Todo::Warn(slot)) => self.lease(slot),
                None => {}
            },
            Step::Next(i) => {
                let Some(c) = self.connections.get(i) else { return };
                if c.failed {
                    return;
                }
                let line = c.line;
                let best = self.best(line);
                let slot = self.schedule.lease(line, now);
                assert_eq!(slot, best, "the first by priority, due time, age");
                if let Some(slot) = slot {
                    self.lease(slot);
                }
            }
            Step::Ok(i) => {
                let Some(c) = self.connections.get_mut(i) else { return };
                self.schedule.connected(c.line, std::mem::take(&mut c.connecting), now);
            }
            Step::Failed(i) => {
                let Some(c) = self.connections.get_mut(i) else { return };
                c.failed = true;
                self.schedule.failed(c.line, reason(), c.connecting, now, |n| 1000 * i64::from(n));
            }
            Step::Hang(i) => {
                let Some(c) = World::pick(&mut self.connections, i) else { return };
                self.schedule.disconnected(c.line, c.connecting, c.connecting && !c.failed, now);
            }
            Step::GiveBack(i) => {
                let Some(slot) = World::pick(&mut self.leased, i) else { return };
                self.schedule.give_back(slot, None, now);
            }
            Step::PutOff(i, later) => {
                let Some(slot) = World::pick(&mut self.leased, i) else { return };
                self.schedule.change(slot, now, |entry| entry.flags |= flag::DEFERRED);
                self.schedule.settled(slot, Timestamp(self.now + later), now);
            }
            Step::Remove(i) => {
                let Some(slot) = World::pick(&mut self.leased, i) else { return };
                let entry = self.schedule.entry(slot).clone();
                assert!(self.known.remove(&(entry.id, entry.hop)));
                let others = self.known.range((entry.id, 0)..=(entry.id, u32::MAX)).next().is_some();
                assert_eq!(self.schedule.remove(slot, now), others);
                assert_eq!(self.schedule.has(entry.id), others);
            }
            Step::Suspend(i) => {
                let slots: Vec<u32> = self.schedule.all().map(|(slot, _)| slot).collect();
                let Some(slot) = slots.get(i) else { return };
                if self.schedule.claim(*slot, now) {
                    self.schedule.change(*slot, now, |entry| entry.flags ^= flag::SUSPENDED);
                    self.schedule.give_back(*slot, None, now);
                }
            }
            Step::Time(millis) => self.now += millis,
            Step::Back(millis) => {
                self.now -= millis;
                self.schedule.clock_went_back(millis, Timestamp(self.now));
            }
            Step::Reroute(away) => {
                let router: &dyn Router = if away { &Elsewhere } else { &Two };
                self.schedule.reroute(router, now);
            }
        }
        self.check();
    }

    /// What a line should hand out, found the slow way.
    fn best(&self, number: u32) -> Option<u32> {
        let line = self.schedule.line(number)?;
        let waits = line.retry.as_ref().is_some_and(|r| r.next.as_millis() > self.now);
        if waits || line.hop == NextHop::Unreachable {
            return None;
        }
        let due = self
            .schedule
            .all()
            .filter(|(_, e)| e.line == number && !e.is(flag::AT_REST) && e.due <= self.now);
        due.min_by_key(|(_, e)| (e.rank(), e.due, e.id, e.hop)).map(|(slot, _)| slot)
    }

    fn check(&self) {
        let there: BTreeSet<(u64, u32)> = self.schedule.all().map(|(_, e)| (e.id, e.hop)).collect();
        assert_eq!(there, self.known, "nothing is lost, nothing is made up");
        assert_eq!(self.schedule.len(), self.known.len());
        for (id, hop) in &self.known {
            let slot = self.schedule.slot(*id, *hop).expect("found by its number");
            assert_eq!((self.schedule.entry(slot).id, self.schedule.entry(slot).hop), (*id, *hop));
        }
        let leased = self.schedule.all().filter(|(_, e)| e.is(flag::LEASED)).count();
        assert_eq!(leased, self.leased.len());
        assert_eq!(self.schedule.connections() as usize, self.connections.len());
        assert!(self.connections.len() <= 3);
        for line in self.schedule.lines() {
            let number = self.schedule.find_line(&line.hop).expect("it is listed");
            let all: Vec<&Entry> =
                self.schedule.all().filter(|(_, e)| e.line == number).map(|(_, e)| e).collect();
            let count = |flag| all.iter().filter(|e| e.is(flag)).count() as u64;
            assert_eq!(line.hops, all.len() as u64);
            assert_eq!(line.leased, count(flag::LEASED));
            assert_eq!(line.deferred, count(flag::DEFERRED));
            assert_eq!(line.held, count(flag::SUSPENDED));
            assert_eq!(line.per_priority.iter().sum::<u64>(), line.hops);
            let open = self.connections.iter().filter(|c| c.line == number).count();
            assert_eq!(line.connections as usize, open);
            assert!(line.connections <= line.max);
            let waiting: usize = line.ready.iter().map(Heap::len).sum();
            assert_eq!(waiting, all.iter().filter(|e| !e.is(flag::AT_REST)).count());
        }
    }

    /// With everybody at work, everything comes to its end.
    fn drain(&mut self) {
        for (slot, _) in self.schedule.entries.clone().iter().enumerate() {
            let slot = slot as u32;
            if self.schedule.entry(slot).line != NONE && self.schedule.entry(slot).is(flag::SUSPENDED) {
                self.schedule.change(slot, Timestamp(self.now), |entry| entry.flags &= !flag::SUSPENDED);
            }
        }
        self.step(Step::Reroute(false));
        for _ in 0..20_000 {
            if self.known.is_empty() {
                return;
            }
            self.step(Step::Poll);
            for i in 0..self.connections.len() {
                self.step(Step::Ok(i));
                self.step(Step::Next(i));
            }
            self.step(Step::Remove(0));
            if self.leased.is_empty() {
                self.step(Step::Hang(0));
                self.step(Step::Time(1000));
            }
        }
        panic!("{} hops are never handed out", self.known.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn the_laws_hold_in_any_life(steps in proptest::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.drain();
    }
}

#[test]
fn queues_take_turns_and_a_slow_one_holds_up_nobody() {
    let mut schedule = Schedule::new(4, 1);
    for id in 1..=1000 {
        put(&mut schedule, id, 0, 1, 0, NOW, NOW);
    }
    for id in 1001..=1003 {
        put(&mut schedule, id, 0, (id - 999) as u32, 0, NOW, NOW);
    }
    let now = Timestamp(NOW);
    let mut lines = BTreeSet::new();
    while let Some(Todo::Connect(line)) = schedule.poll(now) {
        lines.insert(line);
        schedule.connected(line, true, now);
    }
    assert_eq!(lines.len(), 4, "each of the four queues has its connection before the long one has two");
    assert_eq!(schedule.connections(), 4);
}

#[test]
fn one_connection_looks_whether_a_server_is_there() {
    let mut schedule = Schedule::new(100, 1);
    let now = Timestamp(NOW);
    for id in 1..=50 {
        put(&mut schedule, id, 0, 1, 0, NOW, NOW);
    }
    let Some(Todo::Connect(line)) = schedule.poll(now) else { panic!() };
    assert_eq!(schedule.poll(now), None, "one at first");
    schedule.failed(line, reason(), true, now, |_| 60_000);
    schedule.disconnected(line, true, false, now);
    assert_eq!(schedule.poll(now), None);
    assert_eq!(schedule.next_time(), Some(Timestamp(NOW + 60_000)));
    let later = Timestamp(NOW + 60_000);
    let Some(Todo::Connect(line)) = schedule.poll(later) else { panic!() };
    assert!(schedule.connected(line, true, later), "it leaves Retry");
    let mut more = 0;
    while let Some(Todo::Connect(_)) = schedule.poll(later) {
        more += 1;
    }
    assert_eq!(more, 19, "then as many as the router allows");
}

#[test]
fn a_server_that_wants_fewer_connections_gets_fewer() {
    let mut schedule = Schedule::new(100, 1);
    let now = Timestamp(NOW);
    for id in 1..=50 {
        put(&mut schedule, id, 0, 1, 0, NOW, NOW);
    }
    let Some(Todo::Connect(line)) = schedule.poll(now) else { panic!() };
    schedule.connected(line, true, now);
    assert_eq!(schedule.poll(now), Some(Todo::Connect(line)));
    assert!(!schedule.failed(line, reason(), true, now, |_| 60_000), "the queue is not in Retry");
    schedule.disconnected(line, true, false, now);
    assert_eq!(schedule.poll(now), None, "no more for now");
    assert!(schedule.lease(line, now).is_some(), "the good one goes on");
    assert!(schedule.failed(line, reason(), false, now, |_| 60_000), "when it is lost, the queue waits");
    assert_eq!(schedule.lease(line, now), None);
}

#[test]
fn a_clock_that_goes_back_holds_up_nothing() {
    let mut schedule = Schedule::new(100, 1);
    put(&mut schedule, 1, 0, 1, 0, NOW, NOW + 60_000);
    put(&mut schedule, 2, 0, 2, 0, NOW, NOW);
    let Some(Todo::Connect(line)) = schedule.poll(Timestamp(NOW)) else { panic!() };
    schedule.failed(line, reason(), true, Timestamp(NOW), |_| 60_000);
    schedule.disconnected(line, true, false, Timestamp(NOW));
    let back = 86_400_000;
    schedule.clock_went_back(back, Timestamp(NOW - back));
    assert_eq!(schedule.poll(Timestamp(NOW - back + 59_999)), None);
    let mut connected = 0;
    while let Some(Todo::Connect(_)) = schedule.poll(Timestamp(NOW - back + 60_000)) {
        connected += 1;
    }
    assert_eq!(connected, 2);
}

#[test]
fn what_is_urgent_goes_first_but_waits_for_its_time() {
    let mut schedule = Schedule::new(10, 1);
    let high = priority_flag(Priority::High);
    let normal = priority_flag(Priority::Normal);
    put(&mut schedule, 1, 0, 1, normal, NOW, NOW);
    put(&mut schedule, 2, 0, 1, normal, NOW, NOW - 5);
    put(&mut schedule, 3, 0, 1, high, NOW, NOW);
    put(&mut schedule, 4, 0, 1, high, NOW, NOW + 1000);
    let Some(Todo::Connect(line)) = schedule.poll(Timestamp(NOW)) else { panic!() };
    let mut order = Vec::new();
    while let Some(slot) = schedule.lease(line, Timestamp(NOW)) {
        order.push(schedule.entry(slot).id);
    }
    assert_eq!(order, [3, 2, 1]);
}

#[test]
fn a_million_hops_cost_less_than_a_hundred_bytes_each() {
    let mut schedule = Schedule::new(1000, 2);
    const COUNT: u64 = 1_000_000;
    for id in 0..COUNT {
        put(&mut schedule, id << 12, 0, (id % 100) as u32, 0, NOW, NOW + (id % 977) as i64);
    }
    let each = schedule.bytes() as f64 / COUNT as f64;
    assert!(each < 110.0, "{each} bytes");
    assert_eq!(size_of::<Entry>(), 64);
    for id in 0..10_000 {
        let slot = schedule.slot(id << 12, 0).unwrap();
        schedule.remove(slot, Timestamp(NOW));
    }
    assert_eq!(schedule.len(), 990_000);
    assert!(!schedule.has(1 << 12) && schedule.has(10_000 << 12));
}
