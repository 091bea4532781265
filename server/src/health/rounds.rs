//! The rounds of a server's probes: each in its slot of the interval, a failed one again at once, few at a time.

use super::gather::Keeping;
use super::ground::Ground;
use super::log::HealthLog;
use super::memory::Memory;
use super::plan::{self, Planned, Shared};
use crate::doors::Doors;
use crate::machine;
use crate::run::services::Services;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use waypost_admin::settings::{Scope, Settings};
use waypost_base::metrics::{Counter, Figure, Kind};
use waypost_health::{AlertValue, Moment, ProbeId, ProbeResult, Timing, Watch, Wish};

/// Probes under way at a time.
const AT_ONCE: usize = 6;
/// How often it is looked which probes there are.
const LOOK: Duration = Duration::from_millis(500);
/// The first round begins so soon, and takes at most so long.
const FIRST: Duration = Duration::from_millis(300);
const FIRST_ROUND_MAX: Duration = Duration::from_secs(5);
/// Making and cleaning mailboxes may take so long; then the rounds go on without.
const TEND_MAX: Duration = Duration::from_secs(10);
/// A slot moves by up to so many per cent each time, so that servers do not keep step with each other.
const JITTER: u64 = 5;

/// Milliseconds at which the clock of health begins: what was done in the day before a restart has a place on it.
const BEFORE: u64 = 2 * 86_400_000;

static RUNS: Counter = Counter::new();
static FAILS: Counter = Counter::new();
/// Milliseconds that probes took, waiting included.
static MILLIS: Counter = Counter::new();

/// One for the process.
pub struct Health {
    pub ground: Arc<Ground>,
    pub shared: Shared,
    pub keeping: Keeping,
    watch: Mutex<Watch>,
    plan: Mutex<Vec<Planned>>,
    begun: Instant,
    /// Something has changed that the keeper should hear of.
    pub changed: watch::Sender<u64>,
    log: HealthLog,
    /// What outlives a restart.
    pub memory: Memory,
    /// The version of the settings that holds.
    version: Mutex<Option<u32>>,
}

/// When a probe is next run.
struct Due {
    at: Instant,
    running: bool,
    /// It is wanted again as soon as it has ended, after so many milliseconds.
    again: Option<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Health {
    pub fn new(services: Arc<Services>, doors: Arc<Doors>) -> std::io::Result<Arc<Health>> {
        let settings = services.settings.current();
        let (root, clock) =
            (services.organisation.place.root().to_owned(), services.organisation.clock.clone());
        let ground = Arc::new(Ground::new(services, doors));
        let here = ground.here();
        let log = HealthLog::start(&settings, &root, clock)?;
        let mut watch = Watch::new(here.clone(), settings.health.timing());
        log.earlier().into_iter().for_each(|event| watch.event(event));
        log.written_up_to(watch.events_since(0).last().map_or(0, |e| e.index + 1));
        let memory = Memory::open(&root);
        memory.repairing().iter().for_each(|set| watch.repairing(set, true));
        Ok(Arc::new(Health {
            ground,
            shared: Shared::default(),
            keeping: Keeping::new(here, settings.health.timing()),
            watch: Mutex::new(watch),
            plan: Mutex::default(),
            begun: Instant::now(),
            changed: watch::Sender::new(0),
            log,
            memory,
            version: Mutex::new(None),
        }))
    }

    pub fn moment(&self) -> Moment {
        let mono = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Moment::new(mono.saturating_add(BEFORE), self.ground.now())
    }

    pub fn settings(&self) -> Arc<Settings> {
        self.ground.services.settings.current()
    }

    pub fn timing(&self) -> Timing {
        self.settings().health.timing()
    }

    /// For one try.
    pub fn limit(&self) -> Duration {
        Duration::from_millis(self.timing().timeout())
    }

    /// The monitors, to be looked at for a moment.
    pub fn with_watch<T>(&self, look: impl FnOnce(&mut Watch) -> T) -> T {
        let mut watch = lock(&self.watch);
        let found = look(&mut watch);
        self.log.write_events(&watch);
        found
    }

    pub fn planned(&self) -> Vec<Planned> {
        lock(&self.plan).clone()
    }

    pub fn log(&self) -> &HealthLog {
        &self.log
    }

    pub fn version(&self) -> Option<u32> {
        *lock(&self.version)
    }

    /// Runs until the server stops.
    pub fn start(self: &Arc<Self>) -> Vec<JoinHandle<()>> {
        self.note_version();
        let stop = self.ground.services.stopping();
        vec![
            tokio::spawn(Arc::clone(self).rounds(stop.clone())),
            tokio::spawn(Arc::clone(self).tend(stop.clone())),
            tokio::spawn(super::gather::keep(Arc::clone(self), stop.clone())),
            tokio::spawn(super::act::follow_settings(Arc::clone(self), stop)),
        ]
    }

    async fn tend(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut tended = Instant::now();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            self.ground.doors.retry().await;
            if !self.settings().health.enabled {
                continue;
            }
            // What the directory says now holds for the mailboxes of probes, too.
            self.ground.lend_again().await;
            if tended.elapsed() >= Duration::from_millis(self.timing().recurrence()) {
                // A store that hangs is found by the probes.
                let _ = tokio::time::timeout(TEND_MAX, self.ground.tend()).await;
                tended = Instant::now();
            }
        }
    }

    /// The version of the settings that is in place, by what is kept on disk.
    pub fn note_version(&self) {
        let data = self.ground.services.settings.data().to_owned();
        let versions = waypost_admin::settings::store::versions_of(&data, Scope::Organisation);
        *lock(&self.version) = versions.ok().and_then(|mut v| v.pop()).map(|v| v.number);
    }

    /// Which probes there are, and how they are watched.
    fn replan(&self) -> Vec<Planned> {
        let settings = self.settings();
        let planned = if settings.health.enabled { plan::plan(&self.ground) } else { Vec::new() };
        let off = settings.health.switched_off(self.ground.now());
        let now = self.moment();
        let mut watch = lock(&self.watch);
        watch.set_timing(settings.health.timing());
        for (name, millis) in settings.health.budgets() {
            watch.set_budget(&name, millis);
        }
        watch.expect(planned.iter().map(|p| p.id.clone()), now);
        for probe in planned.iter().map(|p| &p.id) {
            watch.disable(probe, off.iter().any(|asked| probe.is(asked)));
        }
        drop(watch);
        *lock(&self.plan) = planned.clone();
        planned
    }

    /// Runs a probe and lets its monitor hear of it.
    pub async fn try_one(&self, planned: &Planned) -> (ProbeResult, Vec<Wish>) {
        let (begun, version) = (Instant::now(), self.version());
        let mut result = plan::run(&self.ground, &self.shared, planned, self.limit()).await;
        result.version = version;
        RUNS.one();
        MILLIS.add(u64::try_from(begun.elapsed().as_millis()).unwrap_or(0));
        if result.finding.is_some() {
            FAILS.one();
        }
        let wishes = self.take(result.clone());
        (result, wishes)
    }

    fn take(&self, result: ProbeResult) -> Vec<Wish> {
        // What fails while everything is being closed is no news.
        if *self.ground.services.stopping().borrow() {
            return Vec::new();
        }
        if let Some(error) = result.error() {
            tracing::debug!(probe = %result.probe, error, "a probe failed");
        }
        let now = self.moment();
        let wishes = self.with_watch(|watch| watch.take(result, now));
        if wishes.contains(&Wish::Tell) {
            self.changed.send_modify(|n| *n += 1);
        }
        wishes
    }

    async fn rounds(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        tokio::time::sleep(FIRST).await;
        let _ = tokio::time::timeout(TEND_MAX, self.ground.tend()).await;
        let (sender, mut ended) = mpsc::channel::<(ProbeId, Vec<Wish>)>(256);
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let mut due: BTreeMap<ProbeId, Due> = BTreeMap::new();
        let mut looked: Option<Instant> = None;
        let mut planned: BTreeMap<ProbeId, Planned> = BTreeMap::new();
        loop {
            let now = Instant::now();
            if looked.is_none_or(|at| now.duration_since(at) >= LOOK) {
                let first = looked.is_none();
                looked = Some(now);
                planned = self.replan().into_iter().map(|p| (p.id.clone(), p)).collect();
                self.slots(&planned, &mut due, now, first);
            }
            for (id, slot) in due.iter_mut().filter(|(_, slot)| !slot.running && slot.at <= now) {
                let Some(one) = planned.get(id) else { continue };
                slot.running = true;
                let wanted = slot.at;
                slot.at = now + self.next_pause();
                let (health, one, turns, sender) =
                    (Arc::clone(&self), one.clone(), Arc::clone(&turns), sender.clone());
                tokio::spawn(async move {
                    // It is never closed.
                    let _turn = turns.acquire().await;
                    if *health.ground.services.stopping().borrow() {
                        return;
                    }
                    let late = u64::try_from(wanted.elapsed().as_millis()).unwrap_or(u64::MAX);
                    health.shared.lag.store(late, Ordering::Relaxed);
                    let (_, wishes) = health.try_one(&one).await;
                    // Nobody waits for it when the server stops.
                    let _ = sender.send((one.id, wishes)).await;
                });
            }
            let next = due.values().filter(|d| !d.running).map(|d| d.at).min().unwrap_or(now + LOOK);
            let pause = next.saturating_duration_since(Instant::now()).min(LOOK);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                Some((id, wishes)) = ended.recv() => after(&mut due, &id, wishes),
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// A place in the round for each probe that is new; those that are gone lose theirs.
    fn slots(
        &self,
        planned: &BTreeMap<ProbeId, Planned>,
        due: &mut BTreeMap<ProbeId, Due>,
        now: Instant,
        first: bool,
    ) {
        due.retain(|id, _| planned.contains_key(id));
        let fresh: Vec<&ProbeId> = planned.keys().filter(|id| !due.contains_key(id)).collect();
        let round = Duration::from_millis(self.timing().recurrence()).min(FIRST_ROUND_MAX);
        let count = u32::try_from(fresh.len()).unwrap_or(u32::MAX).max(1);
        for (at, id) in (0u32..).zip(fresh) {
            let slot = if first { round * at / count } else { Duration::ZERO };
            due.insert(id.clone(), Due { at: now + slot, running: false, again: None });
        }
        // A shorter interval holds from now on, not from the next round on.
        let latest = now + Duration::from_millis(self.timing().recurrence() * (100 + JITTER) / 100);
        for slot in due.values_mut().filter(|slot| slot.at > latest) {
            slot.at = latest;
        }
    }

    fn next_pause(&self) -> Duration {
        let recurrence = self.timing().recurrence();
        let jitter = (recurrence * JITTER / 100).max(1);
        let by = u64::from(u16::from_be_bytes(machine::random())) % (2 * jitter);
        Duration::from_millis((recurrence + by).saturating_sub(jitter))
    }

    pub fn figures(&self) -> Vec<Figure> {
        let now = self.moment();
        let states = lock(&self.watch).state(now);
        let count = |value: AlertValue| states.iter().filter(|m| m.value == value).count() as f64;
        let gauge = |name, help, value| Figure { name, help, kind: Kind::Gauge, value };
        let counter =
            |name, help, value: u64| Figure { name, help, kind: Kind::Counter, value: value as f64 };
        let monitors = "Monitors of this server, by how they stand.";
        vec![
            gauge("health_monitors{value=\"Healthy\"}", monitors, count(AlertValue::Healthy)),
            gauge("health_monitors{value=\"Degraded\"}", monitors, count(AlertValue::Degraded)),
            gauge("health_monitors{value=\"Unhealthy\"}", monitors, count(AlertValue::Unhealthy)),
            gauge("health_monitors{value=\"Unavailable\"}", monitors, count(AlertValue::Unavailable)),
            gauge(
                "health_alerts_open",
                "Open alerts of the organisation, where this server keeps them.",
                self.keeping.open() as f64,
            ),
            counter("health_probes_total", "Probes that were run.", RUNS.value()),
            counter("health_probes_failed_total", "Probes that failed, repetitions included.", FAILS.value()),
            counter(
                "health_probe_milliseconds_total",
                "Time that probes took, waiting included.",
                MILLIS.value(),
            ),
        ]
    }
}

/// A probe has ended: its own slot is free again, and those that are wanted again have theirs moved.
fn after(due: &mut BTreeMap<ProbeId, Due>, id: &ProbeId, wishes: Vec<Wish>) {
    let now = Instant::now();
    if let Some(slot) = due.get_mut(id) {
        slot.running = false;
        if let Some(millis) = slot.again.take() {
            slot.at = slot.at.min(now + Duration::from_millis(millis));
        }
    }
    for wish in wishes {
        let Wish::Again(probe, millis) = wish else { continue };
        let Some(slot) = due.get_mut(&probe) else { continue };
        if slot.running {
            slot.again = Some(millis);
        } else {
            slot.at = slot.at.min(now + Duration::from_millis(millis));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_again_comes_before_its_round() {
        let now = Instant::now();
        let later = now + Duration::from_secs(30);
        let (a, b) = (ProbeId::new("A", "AProbe", ""), ProbeId::new("B", "BProbe", ""));
        let mut due = BTreeMap::from([
            (a.clone(), Due { at: later, running: true, again: None }),
            (b.clone(), Due { at: later, running: true, again: None }),
        ]);
        after(&mut due, &a, vec![Wish::Again(a.clone(), 10), Wish::Again(b.clone(), 0), Wish::Tell]);
        assert!(!due[&a].running && due[&a].at < later);
        assert!(due[&b].running && due[&b].at == later);
        after(&mut due, &b, Vec::new());
        assert!(due[&b].at < later, "it was wanted while it ran");
    }
}
