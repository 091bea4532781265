//! The monitors of one server. It takes what the probes of this server found, and asks for repetitions.

use crate::event::{Event, EventQuery, Events, Level, id};
use crate::limits::{MONITORS_MAX, RERUN_MAX};
use crate::monitor::{AlertValue, Monitor, MonitorState, ServerReport, Taken};
use crate::probe::{ProbeId, ProbeResult, Subject};
use crate::sets;
use crate::timing::{Moment, Timing};
use std::collections::{BTreeMap, BTreeSet};

/// What the scheduler is asked to do besides its rounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Run this probe again after so many milliseconds, before its next round.
    Again(ProbeId, u64),
    /// A monitor has changed: the keeper should hear of it at once.
    Tell,
}

/// One server's monitors and events.
#[derive(Clone, Debug)]
pub struct Watch {
    server: String,
    timing: Timing,
    monitors: BTreeMap<ProbeId, Monitor>,
    /// Budgets of latency that settings or overrides give, by set and probe name.
    budgets: BTreeMap<String, u32>,
    /// Sets that somebody is at, in lower case: they stay so when probes come and go.
    repairing: BTreeSet<String>,
    events: Events,
    last: Option<Moment>,
}

impl Watch {
    pub fn new(server: impl Into<String>, timing: Timing) -> Watch {
        Watch {
            server: server.into(),
            timing,
            monitors: BTreeMap::new(),
            budgets: BTreeMap::new(),
            repairing: BTreeSet::new(),
            events: Events::default(),
            last: None,
        }
    }

    pub fn server(&self) -> &str {
        &self.server
    }

    /// The settings have changed.
    pub fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// Milliseconds after which a good answer is slow, for probes of this name; 0: never.
    pub fn set_budget(&mut self, name: &str, millis: u32) {
        self.budgets.insert(name.to_lowercase(), millis);
    }

    /// The probes that there are from now on; monitors of others go. New ones are Uninitialized.
    pub fn expect(&mut self, probes: impl IntoIterator<Item = ProbeId>, now: Moment) {
        let wanted: BTreeSet<ProbeId> = probes.into_iter().take(MONITORS_MAX).collect();
        self.monitors.retain(|probe, _| wanted.contains(probe));
        for probe in wanted {
            let repairing = self.repairing.contains(&probe.set.to_lowercase());
            self.monitors.entry(probe).or_insert_with(|| Monitor::new(now, repairing));
        }
    }

    /// Switches a monitor off, or on again (Add- and Remove-ServerMonitoringOverride).
    pub fn disable(&mut self, probe: &ProbeId, off: bool) {
        for (_, monitor) in self.monitors.iter_mut().filter(|(known, _)| known.is(probe)) {
            monitor.disabled = off;
        }
    }

    /// Somebody is at a set: what is bad there shows as Repairing and alerts nobody.
    pub fn repairing(&mut self, set: &str, on: bool) {
        let known = set.to_lowercase();
        if !on {
            self.repairing.remove(&known);
        } else if self.repairing.len() < MONITORS_MAX {
            self.repairing.insert(known);
        }
        for (_, monitor) in self.monitors.iter_mut().filter(|(probe, _)| probe.set.eq_ignore_ascii_case(set))
        {
            monitor.repairing = on;
        }
    }

    /// The sets that somebody is at, for whoever keeps them over a restart.
    pub fn under_repair(&self) -> Vec<String> {
        self.repairing.iter().cloned().collect()
    }

    /// Takes what a try came to.
    pub fn take(&mut self, result: ProbeResult, now: Moment) -> Vec<Wish> {
        self.look_at_clock(now);
        let probe = result.probe.clone();
        if !self.monitors.contains_key(&probe) && self.monitors.len() >= MONITORS_MAX {
            return Vec::new();
        }
        let (budget, timing) = (self.budget(&probe), self.timing);
        let repairing = self.repairing.contains(&probe.set.to_lowercase());
        let monitor = self.monitors.entry(probe.clone()).or_insert_with(|| Monitor::new(now, repairing));
        let result = result.bounded();
        let taken = monitor.take(result.clone(), budget, timing, now);
        let value = monitor.value;
        self.note(&probe, &result, taken, value, now);
        let mut wishes = Vec::new();
        if taken.again {
            wishes.push(Wish::Again(probe.clone(), timing.gap()));
        }
        if taken.first {
            wishes.extend(self.related(&result).into_iter().map(|other| Wish::Again(other, 0)));
        }
        if taken.from.is_some() && (value.is_bad() || taken.from.is_some_and(AlertValue::is_bad)) {
            wishes.push(Wish::Tell);
            // What failed with it is perhaps well again, too.
            if value == AlertValue::Healthy {
                let others = self.related(&result);
                let bad = |p: &ProbeId| self.monitors.get(p).is_some_and(|m| m.value.is_bad());
                wishes.extend(others.into_iter().filter(bad).map(|other| Wish::Again(other, 0)));
            }
        }
        wishes
    }

    /// Other probes that share a part of the way: those about one subject first.
    fn related(&self, result: &ProbeResult) -> Vec<ProbeId> {
        let below = |path: &[Subject]| path.iter().flat_map(Subject::closure).collect::<BTreeSet<Subject>>();
        let way = below(&result.subject);
        let shares = |m: &Monitor| below(m.path()).intersection(&way).next().is_some();
        let others =
            self.monitors.iter().filter(|(probe, m)| **probe != result.probe && !m.disabled && shares(m));
        let mut found: Vec<(usize, &ProbeId)> = others.map(|(probe, m)| (m.path().len(), probe)).collect();
        found.sort();
        found.into_iter().take(RERUN_MAX).map(|(_, probe)| probe.clone()).collect()
    }

    fn budget(&self, probe: &ProbeId) -> u32 {
        let given = self.budgets.get(&probe.name.to_lowercase());
        given.copied().unwrap_or_else(|| sets::probe(&probe.name).map_or(sets::BUDGET, |spec| spec.budget))
    }

    fn look_at_clock(&mut self, now: Moment) {
        if let Some(last) = self.last {
            let wall = now.wall.since(last.wall);
            let off = wall.saturating_sub(i64::try_from(now.since(last)).unwrap_or(i64::MAX));
            if off.abs() > 5_000 {
                let text = format!("The clock of this machine was set by {:+.1} s.", off as f64 / 1000.0);
                self.events
                    .put(&self.server, Event::new(now.wall, Level::Warning, "Clock", id::CLOCK_JUMPED, text));
            }
        }
        self.last = Some(now);
    }

    fn note(&mut self, probe: &ProbeId, result: &ProbeResult, taken: Taken, value: AlertValue, now: Moment) {
        let (level, kind, text) = match taken.from {
            Some(from) => {
                let level = match value {
                    AlertValue::Unhealthy => Level::Error,
                    AlertValue::Degraded => Level::Warning,
                    _ => Level::Information,
                };
                let error = result.error().map(|e| format!(": {e}")).unwrap_or_default();
                (level, id::MONITOR_CHANGED, format!("{} was {from} and is {value}{error}", probe.monitor()))
            }
            None if taken.first => {
                let text = format!(
                    "{} failed and is repeated: {}",
                    probe.result_name(),
                    result.error().unwrap_or_default()
                );
                (Level::Information, id::PROBE_REPEATED, text)
            }
            None => return,
        };
        let mut event = Event::new(now.wall, level, &probe.set, kind, text);
        event.probe = Some(probe.clone());
        event.finding = result.finding.clone();
        self.events.put(&self.server, event);
    }

    /// Notes something that this room does not see itself.
    pub fn event(&mut self, event: Event) {
        self.events.put(&self.server, event);
    }

    /// Newest first.
    pub fn events(&self, query: &EventQuery) -> Vec<Event> {
        self.events.find(query)
    }

    /// For whoever writes them to a file: those from this index on, oldest first.
    pub fn events_since(&self, index: u64) -> Vec<Event> {
        self.events.since(index)
    }

    /// Every monitor, by set, name and target.
    pub fn state(&self, now: Moment) -> Vec<MonitorState> {
        let state = |(probe, m): (&ProbeId, &Monitor)| m.state(probe, self.budget(probe), self.timing, now);
        self.monitors.iter().map(state).collect()
    }

    /// For the keeper: legs of what is well are left out.
    pub fn report(&self, now: Moment) -> ServerReport {
        let mut monitors = self.state(now);
        for monitor in &mut monitors {
            if let Some(last) = &mut monitor.last {
                last.legs.clear();
            }
        }
        let server = self.server.clone();
        ServerReport { server, at: now.wall, monitors, alerts: Vec::new(), handed: Vec::new() }
    }
}
