//! Monitors: when failed tries become a fault, and when good ones end it.
//!
//! One lost packet alerts nobody: a failed try is repeated at once, and only the third failure in a row counts. A monitor
//! is well again after two good tries; one that keeps coming back has to stay well for longer each time. Slow answers and
//! tries that fail now and then make it Degraded, which is shown and, unless settings say otherwise, alerts nobody.

use crate::cause;
use crate::probe::{ProbeId, ProbeResult, Subject};
use crate::timing::{Moment, Timing};
use serde::{Deserialize, Serialize};
use std::fmt;
use waypost_base::Timestamp;
use waypost_base::explain::{Confidence, Evidence, Finding};

/// Failures in a row that make a fault: the first and two quick repetitions.
pub const FAILURES: u32 = 3;
/// Good tries in a row that end one.
pub const GOODS: u32 = 2;
/// Slow answers in a row that make a monitor Degraded, and quick ones that end it.
pub const SLOWS: u32 = 3;
/// Of the last [`WINDOW`] runs, so many lost tries are told of.
const LOSSES: u32 = 6;
const WINDOW: u32 = 20;

/// How a monitor or a set stands, in Exchange's words; the worst of several is the greatest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AlertValue {
    /// Switched off by an override or by the settings.
    Disabled,
    /// No result yet.
    #[default]
    Uninitialized,
    Healthy,
    /// No result for too long.
    Unavailable,
    /// An administrator or a responder is at it.
    Repairing,
    /// It works, slowly or not in the way that was wanted.
    Degraded,
    Unhealthy,
}

impl AlertValue {
    pub const fn name(self) -> &'static str {
        match self {
            AlertValue::Disabled => "Disabled",
            AlertValue::Uninitialized => "Uninitialized",
            AlertValue::Healthy => "Healthy",
            AlertValue::Unavailable => "Unavailable",
            AlertValue::Repairing => "Repairing",
            AlertValue::Degraded => "Degraded",
            AlertValue::Unhealthy => "Unhealthy",
        }
    }

    /// Something is wrong that somebody should look at.
    pub const fn is_bad(self) -> bool {
        matches!(self, AlertValue::Degraded | AlertValue::Unhealthy)
    }
}

impl fmt::Display for AlertValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A monitor as others see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MonitorState {
    pub probe: ProbeId,
    pub value: AlertValue,
    /// When it got this value, and how many milliseconds ago that was when this was told.
    pub since: Timestamp,
    pub since_ago: u64,
    /// When the first try of this fault failed.
    pub failing: Option<Timestamp>,
    pub failing_ago: Option<u64>,
    /// Since how many milliseconds its tries tell of the cause that they tell of now.
    #[serde(default)]
    pub cause_ago: Option<u64>,
    /// Milliseconds since the last good try.
    pub good_ago: Option<u64>,
    /// Milliseconds since that try began: what broke since may not have been on its way any more.
    #[serde(default)]
    pub good_began_ago: Option<u64>,
    /// What the last good try went through, where the last try was none.
    #[serde(default)]
    pub good_path: Vec<Subject>,
    /// Milliseconds since the last try ended.
    #[serde(default)]
    pub tried_ago: Option<u64>,
    /// Milliseconds since the try that tells most of its fault.
    #[serde(default)]
    pub told_ago: Option<u64>,
    /// It is bad still, and its last try was good.
    #[serde(default)]
    pub recovering: bool,
    /// The last try.
    pub last: Option<ProbeResult>,
    /// Of the tries of this fault, the one that tells most.
    pub fault: Option<ProbeResult>,
    /// The version of the settings at the last good try.
    pub good_version: Option<u32>,
    /// Tries that failed lately, and out of how many.
    pub losses: u32,
    pub runs: u32,
    /// How often it came back lately.
    pub relapses: u32,
}

impl MonitorState {
    /// What it goes through, by its last try.
    pub fn path(&self) -> &[Subject] {
        self.last.as_ref().map_or(&[], |r| r.subject.as_slice())
    }

    /// What its last good try went through: one that fails may have gone another way, and know more of it.
    pub fn good_path(&self) -> &[Subject] {
        match &self.last {
            Some(last) if !last.succeeded() => &self.good_path,
            _ => self.path(),
        }
    }
}

/// What a server tells the keeper, and what Get-ServerHealth shows of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerReport {
    pub server: String,
    pub at: Timestamp,
    pub monitors: Vec<MonitorState>,
    /// Open alerts that this server heard of from the last keeper, for the next one.
    #[serde(default)]
    pub alerts: Vec<crate::alert::Alert>,
    /// Open alerts that this server has kept itself until another one came (back), for that one.
    #[serde(default)]
    pub handed: Vec<crate::alert::Alert>,
}

/// What taking a result leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The value before, where it changed.
    pub from: Option<AlertValue>,
    /// The probe is to be run again, after the gap.
    pub again: bool,
    /// The first failure of what may become a fault: what shares its way is worth a look.
    pub first: bool,
}

/// One monitor.
#[derive(Clone, Debug)]
pub(crate) struct Monitor {
    pub(crate) value: AlertValue,
    since: Moment,
    failing: Option<Moment>,
    good: Option<Moment>,
    /// When the last good try began, by the clock that only goes forward, and what it went through.
    good_way: (u64, Vec<Subject>),
    last: Option<ProbeResult>,
    heard: Option<Moment>,
    fault: Option<ProbeResult>,
    /// When the try that tells most was made, and when its cause was first told of.
    told: Option<Moment>,
    cause: Option<Moment>,
    good_version: Option<u32>,
    /// The failures were enough to make a fault.
    confirmed: bool,
    failures: u32,
    goods: u32,
    good_since: Option<Moment>,
    slows: u32,
    quicks: u32,
    /// One bit for each of the last runs: whether its first try was lost.
    lost: u32,
    runs: u32,
    relapses: u32,
    mended: Option<Moment>,
    pub(crate) disabled: bool,
    pub(crate) repairing: bool,
}

impl Monitor {
    pub(crate) fn new(now: Moment, repairing: bool) -> Monitor {
        Monitor {
            value: AlertValue::Uninitialized,
            since: now,
            failing: None,
            good: None,
            good_way: (0, Vec::new()),
            last: None,
            heard: None,
            fault: None,
            told: None,
            cause: None,
            good_version: None,
            confirmed: false,
            failures: 0,
            goods: 0,
            good_since: None,
            slows: 0,
            quicks: 0,
            lost: 0,
            runs: 0,
            relapses: 0,
            mended: None,
            disabled: false,
            repairing,
        }
    }

    /// Takes the next try. `budget`: milliseconds after which a good answer is slow.
    pub(crate) fn take(&mut self, result: ProbeResult, budget: u32, timing: Timing, now: Moment) -> Taken {
        let before = self.value;
        let quick_repetition = self.failures > 0 && self.failures < FAILURES;
        // What does not work at all is not lossy: a fault is told of as what it is.
        if !quick_repetition && !self.is_fault() {
            self.lost = (self.lost << 1) | u32::from(result.finding.is_some());
            self.runs = (self.runs + 1).min(WINDOW);
        }
        let mut taken = Taken::default();
        if result.finding.is_some() {
            self.bad(&result, timing, now, &mut taken);
        } else {
            self.fine(&result, budget, timing, now, &mut taken);
        }
        self.heard = Some(now);
        self.last = Some(result);
        if self.value != before {
            self.since = now;
            taken.from = Some(before);
        }
        taken
    }

    fn bad(&mut self, result: &ProbeResult, timing: Timing, now: Moment, taken: &mut Taken) {
        self.goods = 0;
        self.good_since = None;
        self.failures = self.failures.saturating_add(1);
        if self.failures == 1 {
            taken.first = !self.is_fault();
            self.failing = self.failing.or(Some(now));
        }
        let rank = |r: &ProbeResult| r.finding.as_ref().map_or(0, |f| cause::rank(f.cause.code));
        // Of what several tries say the most definite is kept, of two as definite ones the later; for as long as it is of
        // this fault, and not of one that was before it.
        let old = self.told.is_some_and(|at| now.since(at) > timing.interval);
        if old || self.fault.as_ref().is_none_or(|fault| rank(result) >= rank(fault)) {
            let code = |r: &ProbeResult| r.finding.as_ref().map(|f| f.cause.code);
            if self.fault.as_ref().map(code) != Some(code(result)) {
                self.cause = Some(now);
            }
            self.fault = Some(result.clone());
            self.told = Some(now);
        }
        if self.failures < FAILURES && !self.is_fault() {
            taken.again = true;
            return;
        }
        if !self.is_fault() && self.mended.is_some_and(|at| now.since(at) <= timing.relapse()) {
            self.relapses = self.relapses.saturating_add(1);
        }
        if !self.is_fault() {
            self.lost &= !1;
        }
        self.confirmed = true;
        self.value = if result.degraded { AlertValue::Degraded } else { AlertValue::Unhealthy };
    }

    fn fine(&mut self, result: &ProbeResult, budget: u32, timing: Timing, now: Moment, taken: &mut Taken) {
        self.good = Some(now);
        self.good_way.0 = now.mono.saturating_sub(u64::from(result.took.max(result.millis)));
        self.good_way.1.clone_from(&result.subject);
        self.good_version = result.version.or(self.good_version);
        let was_fault = self.is_fault();
        self.failures = 0;
        if was_fault {
            self.goods += 1;
            let since = *self.good_since.get_or_insert(now);
            if self.goods < GOODS {
                taken.again = true;
                return;
            }
            if now.since(since) < self.hold(timing) {
                return;
            }
            self.mended = Some(now);
            self.confirmed = false;
            self.value = AlertValue::Healthy;
        }
        self.goods = 0;
        self.failing = None;
        self.fault = None;
        self.told = None;
        self.cause = None;
        if self.mended.is_none_or(|at| now.since(at) > timing.relapse()) {
            self.relapses = 0;
        }
        self.speed(result, budget, taken);
    }

    /// Whether there is a fault now, not only something slow.
    const fn is_fault(&self) -> bool {
        self.confirmed
    }

    /// For how long it has to be well: not at all at first, then an interval, two, four, eight.
    fn hold(&self, timing: Timing) -> u64 {
        match self.relapses {
            0 => 0,
            n => timing.interval << (n - 1).min(3),
        }
    }

    fn speed(&mut self, result: &ProbeResult, budget: u32, taken: &mut Taken) {
        let slow = budget > 0 && result.millis > budget;
        let lossy = self.runs >= WINDOW && (self.lost & ((1 << WINDOW) - 1)).count_ones() >= LOSSES;
        if slow {
            self.slows = self.slows.saturating_add(1);
            self.quicks = 0;
            taken.again = self.slows < SLOWS && self.value != AlertValue::Degraded;
        } else {
            self.quicks = self.quicks.saturating_add(1);
            if self.quicks >= SLOWS || self.value != AlertValue::Degraded {
                self.slows = 0;
            }
        }
        let slow_for_long = self.slows >= SLOWS;
        self.value = if slow_for_long || lossy { AlertValue::Degraded } else { AlertValue::Healthy };
    }

    /// What it shows, overrides and lateness included.
    pub(crate) fn shown(&self, timing: Timing, now: Moment) -> AlertValue {
        let late = self.heard.is_some_and(|at| now.since(at) > timing.stale());
        match self.value {
            _ if self.disabled => AlertValue::Disabled,
            value if self.repairing && value.is_bad() => AlertValue::Repairing,
            _ if late => AlertValue::Unavailable,
            value => value,
        }
    }

    pub(crate) fn path(&self) -> &[Subject] {
        self.last.as_ref().map_or(&[], |r| r.subject.as_slice())
    }

    pub(crate) fn state(&self, probe: &ProbeId, budget: u32, timing: Timing, now: Moment) -> MonitorState {
        let value = self.shown(timing, now);
        let mut fault = self.fault.clone().filter(|_| self.is_fault());
        if fault.is_none() && value == AlertValue::Degraded {
            fault = self.last.clone().map(|last| self.slow_or_lossy(last, budget));
        }
        MonitorState {
            probe: probe.clone(),
            value,
            since: self.since.wall,
            since_ago: now.since(self.since),
            failing: self.failing.map(|at| at.wall),
            failing_ago: self.failing.map(|at| now.since(at)),
            cause_ago: self.cause.map(|at| now.since(at)),
            good_ago: self.good.map(|at| now.since(at)),
            good_began_ago: self.good.map(|_| now.mono.saturating_sub(self.good_way.0)),
            good_path: self
                .last
                .as_ref()
                .filter(|l| !l.succeeded())
                .map_or_else(Vec::new, |_| self.good_way.1.clone()),
            tried_ago: self.heard.map(|at| now.since(at)),
            told_ago: self.told.map(|at| now.since(at)),
            recovering: self.confirmed && self.goods > 0,
            last: self.last.clone(),
            fault,
            good_version: self.good_version,
            losses: (self.lost & ((1 << WINDOW) - 1)).count_ones(),
            runs: self.runs,
            relapses: self.relapses,
        }
    }

    /// The finding of a monitor that is Degraded although its tries succeed.
    fn slow_or_lossy(&self, mut last: ProbeResult, budget: u32) -> ProbeResult {
        let slow = self.slows >= SLOWS;
        let (cause, fact) = if slow {
            (cause::SLOW, format!("{} ms, more than {budget} ms; {}", last.millis, slowest(&last)))
        } else {
            let lost = (self.lost & ((1 << WINDOW) - 1)).count_ones();
            (cause::LOSSY, format!("{lost} of the last {} runs had to be repeated", self.runs))
        };
        last.finding = Some(Finding {
            cause,
            confidence: Confidence::Certain,
            evidence: vec![Evidence { source: last.probe.to_string(), time: Some(last.started), fact }],
            remedy: vec![cause.remedy.to_owned()],
            untested: Vec::new(),
        });
        last.degraded = true;
        last
    }
}

/// The step that took most of the time, with its leg.
fn slowest(result: &ProbeResult) -> String {
    let steps = result.legs.iter().flat_map(|leg| leg.steps.iter().map(move |step| (leg, step)));
    match steps.max_by_key(|(_, step)| step.micros) {
        Some((leg, step)) => {
            format!(
                "most of it in step {} of {} to {}: {} ms",
                step.name,
                leg.operation,
                leg.acceptor.name,
                step.micros / 1000
            )
        }
        None => "its steps were not timed".to_owned(),
    }
}
