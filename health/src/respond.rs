//! What may be done about a fault besides telling people, and how often.
//!
//! Nothing is done unless the settings allow it. Each action has a pause before it is done again to the same target, all
//! together have a number for a day, and one fault has one action at a time: what did not help is followed by the next
//! rung (restart, drain), never by the same one. A change of the settings is undone only when everything that fails was well
//! under the version before, has not been well since, and nothing newer was put in place.
//!
//! Nobody is acted on because of what one other member says: a server is restarted, drained or given a certificate only for
//! what its own probes report or two servers at least; the settings are put back only for what the keeper itself sees, or
//! two servers. The last server that does something is never drained.

use crate::alert::{Alert, Decision, Member, Severity};
use crate::cause;
use crate::probe::Subject;
use crate::timing::Moment;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use waypost_base::Timestamp;

const DAY: u64 = 86_400_000;

/// A version of the settings that was put in place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsChange {
    pub version: u32,
    pub at: Timestamp,
    pub by: String,
    /// The keys that it changed.
    pub keys: Vec<String>,
    /// It was put in place although its rehearsal failed.
    pub forced: bool,
    /// By a responder: never undone.
    pub by_responder: bool,
}

impl SettingsChange {
    /// `version 17 by amy at …: imap.x509_certificate_name (forced)`
    pub fn line(&self) -> String {
        let forced = if self.forced { " (put in place although its rehearsal failed)" } else { "" };
        format!("version {} by {} at {}: {}{forced}", self.version, self.by, self.at, self.keys.join(", "))
    }
}

/// What a responder can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    RestartRole,
    Drain,
    UndoSettings,
    RenewCertificate,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::RestartRole, Kind::Drain, Kind::UndoSettings, Kind::RenewCertificate];

    /// As the setting `health.may` has it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::RestartRole => "restart-role",
            Kind::Drain => "drain-server",
            Kind::UndoSettings => "undo-settings",
            Kind::RenewCertificate => "renew-certificate",
        }
    }

    pub fn parse(text: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(text.trim()))
    }
}

/// What the settings allow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Responders {
    /// Nothing is done but alerting where this is empty.
    pub may: Vec<Kind>,
    /// Milliseconds from one action on the same target to the next.
    pub pause: u64,
    /// Actions in 24 hours, in the whole organisation.
    pub daily: u32,
}

/// What a decision needs to know of an open alert.
pub(crate) struct Facts<'a> {
    pub(crate) alert: &'a Alert,
    /// Milliseconds since it was raised, and since the last action ended.
    pub(crate) age: u64,
    /// No other part explains it as well.
    pub(crate) sure: bool,
    /// The version at the last good try of each monitor that fails; `None`: it has not been well yet.
    pub(crate) good_versions: &'a [Option<u32>],
    /// The newest version of the settings, where one was put in place lately.
    pub(crate) newest: Option<&'a SettingsChange>,
    /// Whether another server does the same, takes work and is well.
    pub(crate) others: bool,
    /// Servers whose own probes fail now for what the alert says is at fault.
    pub(crate) observers: &'a BTreeSet<String>,
    /// The server that decides.
    pub(crate) keeper: &'a str,
    /// Of the observers, those that get certificates by themselves and tell of this one.
    pub(crate) renewing: Option<&'a str>,
    /// For how long an action is given time to help.
    pub(crate) patience: u64,
}

/// What was done, and when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) allowed: Responders,
    last: BTreeMap<(Kind, String), u64>,
    day: VecDeque<u64>,
    /// Rungs that an alert has behind it, with the time of the last one.
    tried: BTreeMap<String, (Vec<Kind>, u64)>,
    /// What was told to be held back for want of a second observer, by alert.
    doubted: BTreeSet<(String, Kind)>,
}

impl Ledger {
    /// What to do now. `Err`: what would be done and is held back, with the reason.
    pub(crate) fn decide(&mut self, facts: &Facts<'_>, now: Moment) -> Result<Option<Decision>, String> {
        let alert = facts.alert;
        if self.allowed.may.is_empty() || alert.actions.iter().any(|a| a.result.is_none()) {
            return Ok(None);
        }
        let (tried, last) = self.tried.get(&alert.id).cloned().unwrap_or_default();
        if !tried.is_empty() && now.mono.saturating_sub(last) < facts.patience {
            return Ok(None);
        }
        let (mut behind, mut held) = (tried, None);
        let (kind, target, decision) = loop {
            let Some((kind, target, decision)) = next(facts, &behind) else {
                return held.map_or(Ok(None), Err);
            };
            // What may not be done does not stand in the way of what may.
            behind.push(kind);
            if !self.allowed.may.contains(&kind) {
                continue;
            }
            if is_believed(facts, &decision) {
                break (kind, target, decision);
            }
            let seen: Vec<&str> = facts.observers.iter().map(String::as_str).collect();
            // Whoever else says so later is heard.
            if !seen.is_empty() && self.doubted.insert((alert.id.clone(), kind)) {
                held = Some(format!("{} is held back: only {} says so", decision.what(), seen.join(", ")));
            }
            // Only what is done to all leaves something that may be done to one.
            if kind != Kind::UndoSettings {
                return held.map_or(Ok(None), Err);
            }
        };
        let rungs = self.tried.entry(alert.id.clone()).or_default();
        rungs.0.push(kind);
        rungs.1 = now.mono;
        self.throttle(kind, &target, now)
            .map_err(|why| format!("{} is held back: {why}", decision.what()))?;
        self.last.insert((kind, target), now.mono);
        self.day.push_back(now.mono);
        Ok(Some(decision))
    }

    fn throttle(&mut self, kind: Kind, target: &str, now: Moment) -> Result<(), String> {
        while self.day.front().is_some_and(|at| now.mono.saturating_sub(*at) >= DAY) {
            self.day.pop_front();
        }
        let last = self.last.get(&(kind, target.to_owned()));
        if let Some(last) = last.filter(|at| now.mono.saturating_sub(**at) < self.allowed.pause) {
            let minutes = now.mono.saturating_sub(*last) / 60_000;
            return Err(format!("it was done {minutes} min ago (health.action_pause)"));
        }
        if self.day.len() >= self.allowed.daily as usize {
            return Err(format!("{} actions were done in 24 hours (health.actions_per_day)", self.day.len()));
        }
        Ok(())
    }

    /// What was done about an alert before this keeper began: its rungs, pauses and the number of a day go on, so that a
    /// keeper that is restarted again and again does not restart others each time.
    pub(crate) fn recall(&mut self, alert: &Alert, now: Moment) {
        for action in &alert.actions {
            let Some((kind, target)) = done(&action.what) else { continue };
            let ago = u64::try_from(now.wall.since(action.at)).unwrap_or(0);
            let at = now.mono.saturating_sub(ago);
            if alert.is_open() {
                let tried = self.tried.entry(alert.id.clone()).or_default();
                tried.0.push(kind);
                tried.1 = tried.1.max(at);
            }
            if ago < DAY {
                let last = self.last.entry((kind, target)).or_default();
                *last = (*last).max(at);
                self.day.push_back(at);
            }
        }
        self.day.make_contiguous().sort_unstable();
    }

    /// An alert is there again: what was done about it before is not done once more.
    pub(crate) fn came_back(&mut self, alert: &Alert, now: Moment) {
        let done: Vec<Kind> =
            alert.actions.iter().filter_map(|a| done(&a.what)).map(|(kind, _)| kind).collect();
        if !done.is_empty() {
            self.tried.insert(alert.id.clone(), (done, now.mono));
        }
    }

    /// An alert is over.
    pub(crate) fn forget(&mut self, alert: &str) {
        self.tried.remove(alert);
        self.doubted.retain(|(id, _)| id != alert);
    }
}

/// Kind and target of an action, by [`Decision::what`].
fn done(what: &str) -> Option<(Kind, String)> {
    let (verb, rest) = what.split_once(' ')?;
    let target = |text: &str| Some(text.to_owned());
    match verb {
        "restart" => Some((Kind::RestartRole, target(rest.split_once(" of ")?.1)?)),
        "drain" => Some((Kind::Drain, target(rest.split_once(" of ")?.1)?)),
        "undo" => Some((Kind::UndoSettings, "settings".to_owned())),
        "renew" => Some((Kind::RenewCertificate, target(rest.split(' ').nth(1)?)?)),
        _ => None,
    }
}

/// The next rung for an alert, with its kind and target.
fn next(facts: &Facts<'_>, tried: &[Kind]) -> Option<(Kind, String, Decision)> {
    let alert = facts.alert;
    let id = || alert.id.clone();
    if let Some(version) = undo(facts).filter(|_| !tried.contains(&Kind::UndoSettings)) {
        let decision = Decision::UndoSettings { alert: id(), version };
        return Some((Kind::UndoSettings, "settings".to_owned(), decision));
    }
    if let (Subject::Certificate(thumbprint), true) = (&alert.subject, is_renewable(alert)) {
        let server = facts.renewing?.to_owned();
        let decision = Decision::RenewCertificate { alert: id(), server, thumbprint: thumbprint.clone() };
        let first = !tried.contains(&Kind::RenewCertificate);
        return first.then(|| (Kind::RenewCertificate, thumbprint.clone(), decision));
    }
    let Subject::Listener { server, name } = &alert.subject else { return None };
    if !facts.sure
        || alert.severity != Severity::Error
        || !cause::is_helped_by_restart(alert.finding.cause.code)
    {
        return None;
    }
    let service = service(name)?;
    let of = || (server.clone(), service.to_owned());
    if !tried.contains(&Kind::RestartRole) {
        let (server, service) = of();
        let decision = Decision::RestartRole { alert: id(), server: server.clone(), service };
        return Some((Kind::RestartRole, server, decision));
    }
    let drain = facts.others && facts.age >= facts.patience && !tried.contains(&Kind::Drain);
    let (server, service) = of();
    drain.then(|| (Kind::Drain, server.clone(), Decision::Drain { alert: id(), server, service }))
}

/// Whether enough servers say so.
fn is_believed(facts: &Facts<'_>, decision: &Decision) -> bool {
    let concerned = match decision {
        Decision::RestartRole { server, .. }
        | Decision::Drain { server, .. }
        | Decision::RenewCertificate { server, .. } => server.as_str(),
        _ => facts.keeper,
    };
    facts.observers.contains(concerned) || facts.observers.len() >= 2
}

/// The short name of the service that a listener belongs to; `None`: one that nobody restarts by itself.
pub fn service(listener: &str) -> Option<&'static str> {
    match listener {
        "imap" | "imaps" => Some("imap"),
        "pop3" | "pop3s" | "pop" => Some("pop"),
        "smtp" | "submission" | "submissions" | "lmtp" | "transport" => Some("transport"),
        _ => None,
    }
}

/// The component that is taken out of service with a service, by Exchange's name.
pub fn component(service: &str) -> Option<&'static str> {
    match service {
        "imap" => Some("ImapProxy"),
        "pop" => Some("PopProxy"),
        "transport" => Some("FrontendTransport"),
        _ => None,
    }
}

fn is_renewable(alert: &Alert) -> bool {
    matches!(alert.finding.cause.code, "CERT-EXPIRED" | "CERT-EXPIRES-SOON" | "CERT-REVOKED")
}

/// The version to be undone, where it is to blame.
fn undo(facts: &Facts<'_>) -> Option<u32> {
    let change = facts.alert.change.as_ref()?;
    let newest = facts.newest.is_some_and(|n| n.version == change.version);
    let was_well = |good: &Option<u32>| good.is_some_and(|version| version < change.version);
    let all = !facts.good_versions.is_empty() && facts.good_versions.iter().all(was_well);
    let hard = facts.alert.severity == Severity::Error;
    // How it is watched breaks nothing that is watched.
    let of_health = change.keys.iter().all(|key| key.starts_with("health."));
    (newest && all && hard && !of_health && !change.by_responder).then_some(change.version)
}

/// For tests and for those who show what an alert is made of.
pub(crate) fn seen_at(members: &[Member]) -> Vec<String> {
    let mut servers: Vec<String> = members.iter().map(|m| m.server.clone()).collect();
    servers.sort();
    servers.dedup();
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_known_by_their_words() {
        let (alert, server) = (String::new(), "fe-1".to_owned());
        let thumbprint = "AB12".to_owned();
        for (decision, kind, target) in [
            (
                Decision::RestartRole {
                    alert: alert.clone(),
                    server: server.clone(),
                    service: "imap".into(),
                },
                Kind::RestartRole,
                "fe-1",
            ),
            (
                Decision::Drain { alert: alert.clone(), server: server.clone(), service: "imap".into() },
                Kind::Drain,
                "fe-1",
            ),
            (Decision::UndoSettings { alert: alert.clone(), version: 7 }, Kind::UndoSettings, "settings"),
            (Decision::RenewCertificate { alert, server, thumbprint }, Kind::RenewCertificate, "AB12"),
        ] {
            assert_eq!(done(&decision.what()), Some((kind, target.to_owned())));
        }
        assert_eq!(done("Error: it does not work"), None);
    }
}
