//! The keeper of an organisation's alerts: one of its servers, to which all others report.
//!
//! It holds what each server reported last, folds what fails ([`crate::fold`]), and keeps one alert for each cause from the
//! first failure until everything that it explains has been well for a while. Another server can take its place at any
//! time: it is given the open alerts ([`Keeper::adopt`]) and goes on with them.

use crate::alert::{self, Alert, Decision, Member, Severity};
use crate::cause;
use crate::event::{Event, Level, id};
use crate::fold::{Failure, Group, Well, fold};
use crate::limits::{FOLDED_MAX, PAST_ALERTS_MAX, SERVERS_MAX};
use crate::monitor::{AlertValue, MonitorState, ServerReport};
use crate::probe::{ProbeId, ProbeResult, Subject};
use crate::respond::{Ledger, Responders, SettingsChange, seen_at};
use crate::timing::{Moment, Timing};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use waypost_base::explain::{Confidence, Evidence, Finding};

mod acting;

use acting::{Seen, sees};

/// Evidence that an alert has of other failures than the one that tells of it.
const FURTHER_EVIDENCE: usize = 5;
/// A change of the settings so many intervals before a fault is told of with it.
const CHANGE_INTERVALS: u64 = 10;

/// A server as it was heard of last.
#[derive(Clone, Debug, Default)]
struct Server {
    report: Option<(ServerReport, Moment)>,
    /// Tries to ask it that failed since: the last one, the time of the first, how many.
    unheard: Option<(ProbeResult, Moment, u32)>,
    /// When it was let in, or let in again, where that was while this keeper looked on.
    joined: Option<Moment>,
}

/// An alert that is open.
#[derive(Clone, Debug)]
struct Open {
    alert: Alert,
    members: BTreeSet<Member>,
    root: Member,
    sure: bool,
    raised: Moment,
    /// Since when everything is well.
    calm: Option<Moment>,
    /// Since when what told of it is well, while other things still fail.
    root_well: Option<Moment>,
}

/// What goes on in the organisation.
#[derive(Clone, Debug)]
pub struct Keeper {
    server: String,
    timing: Timing,
    alert_slow: bool,
    began: Option<Moment>,
    servers: BTreeMap<String, Server>,
    /// The servers that there are, and those of them that are there anew and were not heard of yet.
    listed: BTreeSet<String>,
    new: BTreeSet<String>,
    open: Vec<Open>,
    /// With the time when they were over.
    past: VecDeque<(Alert, Moment)>,
    /// Since when a monitor fails without an alert that explains it.
    pending: BTreeMap<Member, Moment>,
    changes: VecDeque<(SettingsChange, Moment)>,
    ledger: Ledger,
    /// Services that are drained by a responder: server, service.
    drained: BTreeSet<(String, String)>,
    /// Those that are being returned to service, and since when.
    returning: BTreeMap<(String, String), Moment>,
    events: Vec<Event>,
    next: u64,
    /// Counts what a restart should not forget.
    changed: u64,
}

/// What is known of a monitor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Well,
    Failing,
    /// Its last try was good, and one is not enough.
    Recovering,
    /// Nobody knows now: its server is silent, or it has no result.
    Unknown,
}

impl Keeper {
    /// `server`: the id of the server on which it runs.
    pub fn new(server: impl Into<String>, timing: Timing) -> Keeper {
        Keeper {
            server: server.into(),
            timing,
            alert_slow: false,
            began: None,
            servers: BTreeMap::new(),
            listed: BTreeSet::new(),
            new: BTreeSet::new(),
            open: Vec::new(),
            past: VecDeque::new(),
            pending: BTreeMap::new(),
            changes: VecDeque::new(),
            ledger: Ledger::default(),
            drained: BTreeSet::new(),
            returning: BTreeMap::new(),
            events: Vec::new(),
            next: 1,
            changed: 0,
        }
    }

    pub fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// What may be done besides alerting.
    pub fn set_responders(&mut self, responders: Responders) {
        self.ledger.allowed = responders;
    }

    /// Slow answers and lost tries alert, too.
    pub fn set_alert_slow(&mut self, on: bool) {
        self.alert_slow = on;
    }

    pub fn server(&self) -> &str {
        &self.server
    }

    fn knows(&self, id: &str) -> bool {
        self.open.iter().any(|o| o.alert.id == id) || self.past.iter().any(|(a, _)| a.id == id)
    }

    /// Open alerts of the keeper before this one.
    pub fn adopt(&mut self, alerts: Vec<Alert>, now: Moment) {
        for mut alert in alerts.into_iter().filter(Alert::is_open) {
            let known = self.knows(&alert.id);
            let Some(root) = alert.folded.first().cloned().filter(|_| !known) else { continue };
            self.changed += 1;
            let members = alert.folded.iter().cloned().collect();
            self.ledger.recall(&alert, now);
            for action in alert.actions.iter_mut().filter(|a| a.result.is_none()) {
                action.result = Some("it is not known what came of it: the keeper stopped meanwhile".into());
            }
            self.open.push(Open {
                alert,
                members,
                root,
                sure: false,
                raised: now,
                calm: None,
                root_well: None,
            });
        }
    }

    /// Another server keeps the alerts from now on. What is open is for it; what servers said is forgotten.
    pub fn hand_over(&mut self) -> Vec<Alert> {
        self.began = None;
        self.servers.clear();
        self.listed.clear();
        self.new.clear();
        self.pending.clear();
        self.open.drain(..).map(|open| open.alert).collect()
    }

    /// A server's report, the keeper's own included.
    pub fn hear(&mut self, report: ServerReport, now: Moment) {
        let began = *self.began.get_or_insert(now);
        if now.since(began) <= self.timing.stale() {
            self.adopt(report.alerts.clone(), now);
        }
        // Whoever kept the alerts meanwhile gives them back at any time.
        self.adopt(report.handed.clone(), now);
        if self.servers.len() < SERVERS_MAX || self.servers.contains_key(&report.server) {
            let name = report.server.clone();
            let joined = self.joined(&name, now);
            self.servers.insert(name, Server { report: Some((report, now)), unheard: None, joined });
        }
    }

    /// A try of the keeper to ask a server failed: `result` is of `RemoteMonitoring\ServerReportProbe\SERVER`, its subject
    /// the leg to it. Call it for each try that fails; a report ends it.
    pub fn unheard(&mut self, server: &str, result: ProbeResult, now: Moment) {
        self.began.get_or_insert(now);
        let joined = self.joined(server, now);
        let entry = self.servers.entry(server.to_owned()).or_default();
        entry.joined = joined;
        let (first, count) = entry.unheard.as_ref().map_or((now, 0), |(_, first, count)| (*first, *count));
        entry.unheard = Some((result.bounded(), first, count.saturating_add(1)));
    }

    /// The servers of the organisation; what others said is forgotten.
    pub fn servers(&mut self, ids: &[String]) {
        self.servers.retain(|id, _| ids.contains(id));
        if !self.listed.is_empty() {
            let new = ids.iter().filter(|id| !self.listed.contains(*id));
            self.new.extend(new.cloned());
        }
        self.listed = ids.iter().cloned().collect();
    }

    fn joined(&mut self, server: &str, now: Moment) -> Option<Moment> {
        match self.new.remove(server) {
            true => Some(now),
            false => self.servers.get(server).and_then(|s| s.joined),
        }
    }

    /// A version of the settings was put in place.
    pub fn settings_changed(&mut self, change: SettingsChange, now: Moment) {
        self.event(
            Level::Information,
            "Keeper",
            id::SETTINGS_CHANGED,
            &format!("Settings: {}", change.line()),
            None,
            now,
        );
        self.changes.push_back((change, now));
        if self.changes.len() > 50 {
            self.changes.pop_front();
        }
    }

    /// Open alerts, the oldest first; and with `past` those that are over, newest first, after them.
    pub fn alerts(&self, past: bool) -> Vec<Alert> {
        let mut all: Vec<Alert> = self.open.iter().map(|o| o.alert.clone()).collect();
        if past {
            all.extend(self.past.iter().rev().map(|(alert, _)| alert.clone()));
        }
        all
    }

    /// Events of the keeper since the last call, for the log of the server on which it runs.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn event(
        &mut self,
        level: Level,
        source: &str,
        kind: u32,
        text: &str,
        alert: Option<String>,
        now: Moment,
    ) {
        let mut event = Event::new(now.wall, level, source, kind, text);
        event.server.clone_from(&self.server);
        event.alert = alert;
        self.events.push(event);
    }

    /// Looks at everything and decides. To be called after each report, and each [`Timing::gather`].
    pub fn judge(&mut self, now: Moment) -> Vec<Decision> {
        self.began.get_or_insert(now);
        if self.is_quiet() {
            self.pending.clear();
            return Vec::new();
        }
        let (failures, well, standing) = self.look(now);
        let failing: BTreeSet<Member> = failures.iter().map(|f| f.member.clone()).collect();
        let seen: Vec<Seen> = failures.iter().map(sees).collect();
        let late = self.late();
        let groups = fold(failures.into_iter().filter(|f| !late.contains(&f.member)).collect(), &well);
        let mut decisions = Vec::new();
        let unassigned = self.assign(groups, &standing, &mut decisions, now);
        self.pending.retain(|member, _| failing.contains(member));
        for group in unassigned {
            self.consider(group, &mut decisions, now);
        }
        self.end(&failing, &standing, &mut decisions, now);
        self.respond(&seen, &mut decisions, now);
        self.give_back(&standing, &mut decisions, now);
        self.changed += u64::from(!decisions.is_empty());
        for decision in &decisions {
            self.tell(decision, now);
        }
        decisions
    }

    /// Whether there is anything to be judged at all, which is seldom.
    fn is_quiet(&self) -> bool {
        let well = |m: &MonitorState| matches!(self.stands(m), Standing::Well | Standing::Unknown);
        let quiet = |s: &Server| {
            s.unheard.is_none()
                && s.report.as_ref().is_none_or(|(report, _)| report.monitors.iter().all(well))
        };
        self.open.is_empty() && self.drained.is_empty() && self.servers.values().all(quiet)
    }

    /// What fails, what is well, and how each monitor stands.
    fn look(&self, now: Moment) -> (Vec<Failure>, Well, BTreeMap<Member, Standing>) {
        let (mut failures, mut well, mut standing) = (Vec::new(), Well::default(), BTreeMap::new());
        for (name, server) in &self.servers {
            let silent = self.is_silent(server, now);
            if silent {
                well.silent(name);
            }
            if let Some(failure) = self.silence(name, server, silent) {
                standing.insert(failure.member.clone(), Standing::Failing);
                failures.push(failure);
            }
            let Some((report, heard)) = &server.report else { continue };
            if !silent {
                well.heard(name, heard.mono);
                let asked = ProbeId::new("RemoteMonitoring", "ServerReportProbe", name.as_str());
                standing.insert(Member { server: self.server.clone(), probe: asked }, Standing::Well);
            }
            for monitor in &report.monitors {
                let member = Member { server: name.clone(), probe: monitor.probe.clone() };
                if silent {
                    standing.entry(member).or_insert(Standing::Unknown);
                    continue;
                }
                if let Some(good) = monitor.good_began_ago.or(monitor.good_ago) {
                    well.went(monitor.good_path(), heard.mono.saturating_sub(good));
                }
                // Who was shown out, or not known yet, found every door shut. That counts only where it is still so.
                let tried = heard.mono.saturating_sub(monitor.tried_ago.unwrap_or(u64::MAX));
                let before = server.joined.is_some_and(|at| tried <= at.mono + self.timing.timeout());
                let stands = match self.stands(monitor) {
                    Standing::Failing if before => Standing::Unknown,
                    stands => stands,
                };
                if stands == Standing::Failing
                    && let Some(failure) = failure(&member, monitor, *heard)
                {
                    failures.push(failure);
                }
                standing.entry(member).or_insert(stands);
            }
        }
        well.settle();
        (failures, well, standing)
    }

    /// Monitors that an alert explains and that were not tried again since what told of it is well: they say nothing new.
    fn late(&self) -> BTreeSet<Member> {
        let mut late = BTreeSet::new();
        for open in &self.open {
            let Some((root, heard)) =
                self.monitor(&open.root).filter(|(m, _)| self.stands(m) == Standing::Well)
            else {
                continue;
            };
            // What was under way then may end a little later.
            let well = heard.mono.saturating_sub(root.since_ago) + self.timing.timeout();
            let before = |member: &&Member| {
                // A later try that says less does not make what was said before true again.
                let tried = self
                    .monitor(member)
                    .and_then(|(m, at)| Some(at.mono.saturating_sub(m.told_ago.or(m.tried_ago)?)));
                tried.is_some_and(|at| at <= well)
            };
            late.extend(open.members.iter().filter(before).cloned());
        }
        late
    }

    /// A monitor as its server told of it, and when.
    fn monitor(&self, member: &Member) -> Option<(&MonitorState, Moment)> {
        let (report, at) = self.servers.get(&member.server)?.report.as_ref()?;
        let found = report.monitors.iter().find(|m| m.probe == member.probe)?;
        Some((found, *at))
    }

    fn is_silent(&self, server: &Server, now: Moment) -> bool {
        let (Some((_, first, count)), since) = (&server.unheard, server.report.as_ref().map(|(_, at)| *at))
        else {
            return false;
        };
        *count >= 2 && now.since(since.unwrap_or(*first)) >= self.timing.silent()
    }

    /// The failure that a server's silence is.
    fn silence(&self, name: &str, server: &Server, silent: bool) -> Option<Failure> {
        let (result, first, _) = server.unheard.as_ref().filter(|_| silent)?;
        let mut result = result.clone();
        let probe = ProbeId::new("RemoteMonitoring", "ServerReportProbe", name);
        result.probe = probe.clone();
        if result.subject.is_empty() {
            result.subject.push(Subject::leg(&self.server, name));
        }
        result.finding.get_or_insert_with(|| Finding {
            cause: cause::SILENT,
            confidence: Confidence::Likely,
            evidence: vec![Evidence {
                source: self.server.clone(),
                time: Some(first.wall),
                fact: format!("{name} does not answer the question how it is"),
            }],
            remedy: vec![cause::SILENT.remedy.to_owned()],
            untested: Vec::new(),
        });
        let member = Member { server: self.server.clone(), probe };
        Some(Failure { member, result, severity: Severity::Error, since: first.mono })
    }

    fn stands(&self, monitor: &MonitorState) -> Standing {
        let code = monitor.fault.as_ref().and_then(|f| f.finding.as_ref()).map_or("", |f| f.cause.code);
        let only_slow = code == cause::SLOW.code || code == cause::LOSSY.code;
        match monitor.value {
            AlertValue::Unhealthy | AlertValue::Degraded if monitor.recovering => Standing::Recovering,
            AlertValue::Unhealthy => Standing::Failing,
            AlertValue::Degraded if only_slow && !self.alert_slow => Standing::Well,
            AlertValue::Degraded => Standing::Failing,
            AlertValue::Healthy | AlertValue::Disabled => Standing::Well,
            AlertValue::Repairing | AlertValue::Unavailable | AlertValue::Uninitialized => Standing::Unknown,
        }
    }

    /// Gives groups to the open alerts that they belong to, and gives back the others.
    fn assign(
        &mut self,
        groups: Vec<Group>,
        standing: &BTreeMap<Member, Standing>,
        decisions: &mut Vec<Decision>,
        now: Moment,
    ) -> Vec<Group> {
        let mut pairs: Vec<(bool, usize, usize, usize)> = Vec::new();
        for (at, open) in self.open.iter().enumerate() {
            // What told of it is well: something else that is definite is another fault.
            let well = standing.get(&open.root) == Some(&Standing::Well);
            for (number, group) in groups.iter().enumerate() {
                let shared = group.members.iter().filter(|f| open.members.contains(&f.member)).count();
                let same =
                    open.alert.finding.cause.code == group.code() && open.alert.subject == group.subject;
                if (shared > 0 && !(well && group.rank() >= 2)) || same {
                    pairs.push((same, shared, at, number));
                }
            }
        }
        // The same fault before the greatest overlap, the older alert before the younger.
        pairs.sort_by_key(|(same, shared, at, number)| (!same, usize::MAX - shared, *at, *number));
        let (mut alerts, mut taken) = (BTreeMap::new(), BTreeSet::new());
        for (_, _, at, number) in pairs {
            if !alerts.contains_key(&at) && taken.insert(number) {
                alerts.insert(at, number);
            }
        }
        let mut left: BTreeMap<usize, Group> = groups.into_iter().enumerate().collect();
        let mut over = Vec::new();
        for (at, number) in alerts {
            let Some(group) = left.remove(&number) else { continue };
            if self.is_another(at, &group, standing, now) {
                over.push(at);
                left.insert(number, group);
            } else if let Some(changed) = self.refine(at, group, standing, now) {
                decisions.push(Decision::Changed(changed));
            }
        }
        for at in over.into_iter().rev() {
            let open = self.open.remove(at);
            decisions.push(Decision::Mended(self.close(open, now)));
        }
        left.into_values().collect()
    }

    /// Whether what told of an alert has been well for so long that what still fails is another fault.
    fn is_another(
        &mut self,
        at: usize,
        group: &Group,
        standing: &BTreeMap<Member, Standing>,
        now: Moment,
    ) -> bool {
        let grace = self.timing.calm();
        let Some(open) = self.open.get_mut(at) else { return false };
        if standing.get(&open.root) != Some(&Standing::Well) || group.code() == open.alert.finding.cause.code
        {
            open.root_well = None;
            return false;
        }
        let since = *open.root_well.get_or_insert(now);
        // Failures from before may only be late; those that began or go on after the grace are not.
        now.since(since) >= grace
    }

    /// Takes over what a group tells that the alert did not know. Gives the alert where it says something else now.
    fn refine(
        &mut self,
        at: usize,
        group: Group,
        standing: &BTreeMap<Member, Standing>,
        now: Moment,
    ) -> Option<Alert> {
        let change = self.change_before(&group, now);
        let open = self.open.get_mut(at)?;
        open.calm = None;
        let members = group.members.iter().map(|f| f.member.clone());
        open.members.extend(members);
        for member in &open.members {
            self.pending.remove(member);
        }
        open.alert.servers = seen_at(&open.members.iter().cloned().collect::<Vec<_>>());
        open.alert.sets = sets_of(&open.members);
        open.alert.folded = folded(&open.root, &open.members);
        let known = cause::rank(open.alert.finding.cause.code);
        let severer = group.severity() > open.alert.severity;
        let root_fails = standing.get(&open.root) != Some(&Standing::Well);
        let better = group.rank() > known || (severer && group.rank() >= known);
        let narrower =
            group.sure && !open.sure && group.rank() >= known && group.subject != open.alert.subject;
        // What was named at first does not explain all that fails by now.
        let elsewhere = !open.sure && group.rank() >= known && !group.parts.contains(&open.alert.subject);
        let same = group.code() == open.alert.finding.cause.code && group.subject == open.alert.subject;
        open.sure |= same && group.sure;
        // What told of it is well again: what is more definite now may be another fault, which is looked at later.
        if same || !root_fails || !(better || narrower || elsewhere) {
            return None;
        }
        open.alert.subject = group.subject.clone();
        open.alert.severity = open.alert.severity.max(group.severity());
        open.alert.leg = alert::leg_of(&group.root.result);
        open.alert.finding = finding(&group);
        open.alert.change = open.alert.change.take().or(change);
        open.root = group.root.member.clone();
        open.alert.folded = folded(&open.root, &open.members);
        open.sure = group.sure;
        Some(open.alert.clone())
    }

    /// A fault without an alert: raised once it has been there for a moment, so that what else fails can be folded in.
    fn consider(&mut self, group: Group, decisions: &mut Vec<Decision>, now: Moment) {
        for failure in &group.members {
            self.pending.entry(failure.member.clone()).or_insert(now);
        }
        let oldest =
            group.members.iter().filter_map(|f| self.pending.get(&f.member)).map(|at| now.since(*at)).max();
        let explained = |f: &Failure| self.open.iter().any(|o| o.members.contains(&f.member));
        let wait = match group.members.iter().all(explained) {
            // An alert is open that explained all of it until now: perhaps it is only late in being well.
            true => self.timing.calm(),
            false if group.rank() >= 3 => self.timing.settle() / 2,
            false => self.timing.settle(),
        };
        if oldest.unwrap_or(0) < wait {
            return;
        }
        let alert = self.raise(group, now);
        decisions.push(Decision::Alert(alert));
    }

    fn raise(&mut self, group: Group, now: Moment) -> Alert {
        let members: BTreeSet<Member> = group.members.iter().map(|f| f.member.clone()).collect();
        let root = group.root.member.clone();
        for member in &members {
            self.pending.remove(member);
        }
        // Only one alert explains a monitor.
        for open in &mut self.open {
            open.members.retain(|m| !members.contains(m) || *m == open.root);
        }
        let began = group.members.iter().map(|f| f.since).min().unwrap_or(now.mono);
        let since = now.ago(now.mono.saturating_sub(began)).wall;
        let mut alert = Alert {
            id: format!("{:x}-{}-{}", now.wall.as_seconds(), self.server, self.next),
            severity: group.severity(),
            subject: group.subject.clone(),
            leg: alert::leg_of(&group.root.result),
            finding: finding(&group),
            since,
            raised: now.wall,
            until: None,
            servers: seen_at(&members.iter().cloned().collect::<Vec<_>>()),
            sets: sets_of(&members),
            folded: folded(&root, &members),
            actions: Vec::new(),
            relapses: 0,
            change: self.change_before(&group, now),
        };
        self.next += 1;
        if let Some(before) = self.came_back(&alert, now) {
            alert.id = before.id;
            alert.relapses = before.relapses + 1;
            alert.actions = before.actions;
            self.ledger.came_back(&alert, now);
        }
        let open = Open {
            alert: alert.clone(),
            members,
            root,
            sure: group.sure,
            raised: now,
            calm: None,
            root_well: None,
        };
        self.open.push(open);
        alert
    }

    /// The same fault, over for a short while only.
    fn came_back(&mut self, alert: &Alert, now: Moment) -> Option<Alert> {
        let same = |(past, at): &(Alert, Moment)| {
            past.finding.cause.code == alert.finding.cause.code
                && past.subject == alert.subject
                && now.since(*at) <= self.timing.relapse()
        };
        let at = self.past.iter().rposition(same)?;
        self.past.remove(at).map(|(past, _)| past)
    }

    fn change_before(&self, group: &Group, now: Moment) -> Option<SettingsChange> {
        let began = group.members.iter().map(|f| f.since).min().unwrap_or(now.mono);
        let window = self.timing.interval * CHANGE_INTERVALS;
        // A probe that was under way may have failed a moment before the change was told of.
        let near =
            |at: &Moment| at.mono <= began + self.timing.interval && began.saturating_sub(at.mono) <= window;
        self.changes.iter().rev().find(|(_, at)| near(at)).map(|(change, _)| change.clone())
    }

    /// Ends alerts of which everything has been well for long enough.
    fn end(
        &mut self,
        failing: &BTreeSet<Member>,
        standing: &BTreeMap<Member, Standing>,
        decisions: &mut Vec<Decision>,
        now: Moment,
    ) {
        let mut over = Vec::new();
        for (at, open) in self.open.iter_mut().enumerate() {
            let fails = open.members.iter().any(|m| failing.contains(m));
            let unknown = |m: &Member| {
                // One that has only begun does not watch anything yet.
                let silent = self
                    .servers
                    .get(&m.server)
                    .is_some_and(|s| s.report.as_ref().is_none_or(|(report, _)| report.monitors.is_empty()));
                standing.get(m).map_or(silent, |s| *s != Standing::Well)
            };
            if fails || open.members.iter().any(unknown) {
                open.calm = None;
                continue;
            }
            let calm = *open.calm.get_or_insert(now);
            if now.since(calm) >= self.timing.calm() << open.alert.relapses.min(3) {
                over.push(at);
            }
        }
        for at in over.into_iter().rev() {
            let open = self.open.remove(at);
            decisions.push(Decision::Mended(self.close(open, now)));
        }
    }

    fn close(&mut self, open: Open, now: Moment) -> Alert {
        let mut alert = open.alert;
        let ended = open.calm.or(open.root_well).unwrap_or(now);
        alert.until = Some(ended.wall);
        self.ledger.forget(&alert.id);
        self.past.push_back((alert.clone(), now));
        if self.past.len() > PAST_ALERTS_MAX {
            self.past.pop_front();
        }
        alert
    }

    fn tell(&mut self, decision: &Decision, now: Moment) {
        let (level, kind, text) = match decision {
            Decision::Alert(alert) => {
                let level = if alert.severity == Severity::Error { Level::Error } else { Level::Warning };
                (level, id::ALERT_RAISED, alert.line())
            }
            Decision::Changed(alert) => {
                (Level::Warning, id::ALERT_CHANGED, format!("More is known: {}", alert.line()))
            }
            Decision::Mended(alert) => {
                (Level::Information, id::ALERT_MENDED, format!("Over: {}", alert.line()))
            }
            other => {
                let open = self.open.iter().map(|o| &o.alert);
                let why = open.chain(self.past.iter().rev().map(|(alert, _)| alert));
                let why = why.into_iter().find(|alert| alert.id == other.alert());
                let why = match (other, why) {
                    (Decision::Restore { .. }, _) => ": nothing fails there any more".to_owned(),
                    (_, Some(alert)) => format!(", because of {}", alert.line()),
                    (_, None) => String::new(),
                };
                (Level::Warning, id::RESPONDER_ACTED, format!("Decided: {}{why}", other.what()))
            }
        };
        let source = if kind == id::RESPONDER_ACTED { "Responder" } else { "Keeper" };
        self.event(level, source, kind, &text, Some(decision.alert().to_owned()), now);
        if let (Decision::Alert(alert) | Decision::Changed(alert), Some(event)) =
            (decision, self.events.last_mut())
        {
            event.finding = Some(alert.finding.clone());
        }
    }
}

fn failure(member: &Member, monitor: &MonitorState, heard: Moment) -> Option<Failure> {
    let result = monitor.fault.clone().filter(|f| f.finding.is_some())?;
    let severity = if monitor.value == AlertValue::Degraded { Severity::Warning } else { Severity::Error };
    let ago = monitor.cause_ago.or(monitor.failing_ago).unwrap_or(monitor.since_ago);
    Some(Failure { member: member.clone(), result, severity, since: heard.mono.saturating_sub(ago) })
}

/// What the root found, with what the others saw.
fn finding(group: &Group) -> Finding {
    let root = &group.root.result;
    let mut finding = root.finding.clone().expect("fold takes failures with a finding only");
    let mut seen: BTreeSet<&str> = BTreeSet::from([group.code()]);
    for failure in &group.members {
        let Some(other) = &failure.result.finding else { continue };
        if seen.len() > FURTHER_EVIDENCE || !seen.insert(other.cause.code) {
            continue;
        }
        finding.evidence.push(Evidence {
            source: format!("{} at {}", failure.member.probe, failure.member.server),
            time: Some(failure.result.started),
            fact: failure.result.error().unwrap_or_default(),
        });
    }
    finding
}

fn sets_of(members: &BTreeSet<Member>) -> Vec<String> {
    let sets: BTreeSet<&String> = members.iter().map(|m| &m.probe.set).collect();
    sets.into_iter().cloned().collect()
}

/// The root first.
fn folded(root: &Member, members: &BTreeSet<Member>) -> Vec<Member> {
    let others = members.iter().filter(|m| *m != root);
    std::iter::once(root).chain(others).take(FOLDED_MAX).cloned().collect()
}
