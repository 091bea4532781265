//! What the keeper has done about alerts, and what of it outlives a restart.

use super::{Keeper, Standing};
use crate::alert::{Action, Alert, Decision, Member};
use crate::event::{Level, id};
use crate::fold::Failure;
use crate::monitor::MonitorState;
use crate::probe::Subject;
use crate::respond::{Facts, Kind, component, service};
use crate::timing::Moment;
use std::collections::{BTreeMap, BTreeSet};

/// Alerts that are over and kept over a restart: those that may come back, and those about which something was done.
const KEPT_MAX: usize = 100;
const DAY: u64 = 86_400_000;

/// A failure's monitor with all that it may be about.
pub(super) type Seen = (Member, BTreeSet<Subject>);

impl Keeper {
    /// The services that responders have taken out of service, by what the directory says: server and service.
    pub fn set_drained(&mut self, drained: BTreeSet<(String, String)>) {
        self.returning.retain(|at, _| drained.contains(at));
        self.drained = drained;
    }

    /// Grows with each change of what [`Keeper::remember`] gives.
    pub fn changes(&self) -> u64 {
        self.changed
    }

    /// What the keeper has to know after a restart: open alerts, those that may come back, and those that tell of what was
    /// done within a day.
    pub fn remember(&self, now: Moment) -> Vec<Alert> {
        let acted = |alert: &Alert| !alert.actions.is_empty();
        let worth = |(alert, at): &&(Alert, Moment)| {
            let age = now.since(*at);
            age <= self.timing.relapse() || (acted(alert) && age <= DAY)
        };
        let mut past: Vec<Alert> =
            self.past.iter().rev().filter(worth).take(KEPT_MAX).map(|(alert, _)| alert.clone()).collect();
        past.reverse();
        self.open.iter().map(|o| o.alert.clone()).chain(past).collect()
    }

    /// Goes on with what [`Keeper::remember`] gave before a restart: the alerts stay the same ones, and what was done counts.
    /// How long ago that was only the wall clock knows; the other one is to have run for a day already when it is called,
    /// or all of it was just now.
    pub fn recall(&mut self, alerts: Vec<Alert>, now: Moment) {
        let (open, past): (Vec<Alert>, Vec<Alert>) = alerts.into_iter().partition(Alert::is_open);
        for alert in past {
            let Some(until) = alert.until.filter(|_| !self.knows(&alert.id)) else { continue };
            self.ledger.recall(&alert, now);
            let ago = u64::try_from(now.wall.since(until)).unwrap_or(0);
            let at = Moment { mono: now.mono.saturating_sub(ago), wall: until };
            if ago <= DAY {
                self.past.push_back((alert, at));
            }
        }
        self.adopt(open, now);
    }

    /// What came of an action that was decided on.
    pub fn acted(&mut self, decision: &Decision, result: Result<String, String>, now: Moment) {
        let (level, text) = match result {
            Ok(text) => (Level::Information, text),
            Err(text) => (Level::Error, format!("failed: {text}")),
        };
        let (what, alert) = (decision.what(), decision.alert().to_owned());
        let open = self.open.iter_mut().map(|o| &mut o.alert);
        // It may be over already: what was done stays with it.
        let past = self.past.iter_mut().rev().map(|(alert, _)| alert);
        if let Some(known) = open.chain(past).find(|known| known.id == alert) {
            let under_way = known.actions.iter_mut().rev().find(|a| a.what == what && a.result.is_none());
            if let Some(action) = under_way {
                action.result = Some(text.clone());
            }
        }
        self.changed += 1;
        self.event(level, "Responder", id::RESPONDER_ACTED, &format!("{what}: {text}"), Some(alert), now);
    }

    /// What may be done about what is open. `seen`: what fails now, each with what it tells of.
    pub(super) fn respond(&mut self, seen: &[Seen], decisions: &mut Vec<Decision>, now: Moment) {
        for at in 0..self.open.len() {
            let Some(open) = self.open.get(at).filter(|o| o.calm.is_none()) else { continue };
            let versions = self.good_versions(&open.members);
            let of_it = |(member, tells): &&Seen| {
                open.members.contains(member) && tells.contains(&open.alert.subject)
            };
            let observers: BTreeSet<String> =
                seen.iter().filter(of_it).map(|(member, _)| member.server.clone()).collect();
            let facts = Facts {
                alert: &open.alert,
                age: now.since(open.raised),
                sure: open.sure,
                good_versions: &versions,
                newest: self.changes.back().map(|(change, _)| change),
                others: self.others(&open.alert.subject, now),
                patience: self.timing.interval * 2,
                renewing: observers.iter().map(String::as_str).find(|server| self.renews(server)),
                observers: &observers,
                keeper: &self.server,
            };
            let decided = self.ledger.decide(&facts, now);
            let Some(open) = self.open.get_mut(at) else { continue };
            match decided {
                Ok(Some(decision)) => {
                    open.alert.actions.push(Action { at: now.wall, what: decision.what(), result: None });
                    decisions.push(decision);
                }
                Ok(None) => {}
                Err(why) => {
                    let id = open.alert.id.clone();
                    self.event(Level::Warning, "Responder", id::RESPONDER_HELD_BACK, &why, Some(id), now);
                }
            }
        }
    }

    /// Returns to service what responders have drained, once nothing fails there any more.
    pub(super) fn give_back(
        &mut self,
        standing: &BTreeMap<Member, Standing>,
        decisions: &mut Vec<Decision>,
        now: Moment,
    ) {
        if !self.ledger.allowed.may.contains(&Kind::Drain) {
            return;
        }
        for (server, of) in self.drained.clone() {
            let here = |s: &Subject| matches!(s, Subject::Listener { server: at, name } if *at == server && service(name) == Some(&of));
            let about = |alert: &Alert| here(&alert.subject);
            let Some(known) = self.servers.get(&server) else { continue };
            let Some((report, _)) = known.report.as_ref().filter(|_| !self.is_silent(known, now)) else {
                continue;
            };
            let mut through = report.monitors.iter().filter(|m| m.path().iter().any(here)).peekable();
            let tried = through.peek().is_some();
            let well = |m: &MonitorState| {
                let member = Member { server: server.clone(), probe: m.probe.clone() };
                standing.get(&member) == Some(&Standing::Well)
            };
            if !tried || !through.all(well) || self.open.iter().any(|o| about(&o.alert)) {
                continue;
            }
            let at = (server.clone(), of.clone());
            if self.returning.get(&at).is_some_and(|since| now.since(*since) < self.timing.interval) {
                continue;
            }
            self.returning.insert(at, now);
            let drain = format!("drain {of} of {server}");
            let drained = |alert: &Alert| alert.actions.iter().any(|a| a.what == drain);
            let cause = self.past.iter_mut().rev().map(|(alert, _)| alert).find(|alert| drained(alert));
            let alert = cause.as_ref().map(|alert| alert.id.clone()).unwrap_or_default();
            let decision = Decision::Restore { alert, server, service: of };
            if let Some(cause) = cause {
                cause.actions.push(Action { at: now.wall, what: decision.what(), result: None });
            }
            decisions.push(decision);
        }
    }

    /// Whether a server gets certificates by itself: then it watches how it stands with the authority.
    fn renews(&self, server: &str) -> bool {
        let report = self.servers.get(server).and_then(|s| s.report.as_ref());
        report.is_some_and(|(report, _)| report.monitors.iter().any(|m| m.probe.name == "AcmeProbe"))
    }

    /// The settings under which each of these was well last.
    fn good_versions(&self, members: &BTreeSet<Member>) -> Vec<Option<u32>> {
        let found = members.iter().filter_map(|member| self.monitor(member));
        found.filter(|(m, _)| m.value.is_bad()).map(|(m, _)| m.good_version).collect()
    }

    /// Whether another server has a listener of this name that takes people, and through which its own probes go well.
    fn others(&self, subject: &Subject, now: Moment) -> bool {
        let Subject::Listener { server, name } = subject else { return false };
        let Some(of) = service(name).filter(|of| component(of).is_some()) else { return false };
        self.servers.iter().any(|(id, other)| {
            let takes = id != server && !self.drained.contains(&(id.clone(), of.to_owned()));
            let Some((report, _)) = other.report.as_ref().filter(|_| takes && !self.is_silent(other, now))
            else {
                return false;
            };
            let listener = Subject::listener(id, name);
            let mut through = report.monitors.iter().filter(|m| m.path().contains(&listener)).peekable();
            through.peek().is_some() && through.all(|m| self.stands(m) == Standing::Well)
        })
    }
}

/// A failure's monitor, and all that it may be about.
pub(super) fn sees(failure: &Failure) -> Seen {
    let result = &failure.result;
    let parts = result.culprit.iter().chain(&result.subject).flat_map(Subject::closure).collect();
    (failure.member.clone(), parts)
}
