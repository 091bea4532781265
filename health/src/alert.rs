//! Alerts: one for each cause, for the whole organisation; and what is decided besides.

use crate::probe::{ProbeId, ProbeResult, Subject};
use crate::respond::SettingsChange;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use waypost_base::Timestamp;
use waypost_base::explain::{Finding, Leg};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// It works, but not as it should.
    Warning,
    /// It does not work.
    Error,
}

/// A monitor that an alert explains.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    pub server: String,
    pub probe: ProbeId,
}

/// Something that was done about an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    pub at: Timestamp,
    /// `restart imap of fe-1`
    pub what: String,
    /// What came of it; `None` while it is under way.
    pub result: Option<String>,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Unique over keepers and restarts.
    pub id: String,
    pub severity: Severity,
    /// What is at fault, as far as is known.
    pub subject: Subject,
    /// The hop, in words: `front end fe-1 → mailbox mbx-1 (inner.imap)`.
    pub leg: String,
    pub finding: Finding,
    /// When the first try failed.
    pub since: Timestamp,
    pub raised: Timestamp,
    /// When it was over.
    pub until: Option<Timestamp>,
    /// Servers that see it.
    pub servers: Vec<String>,
    /// Health sets that it makes unhealthy.
    pub sets: Vec<String>,
    /// The monitors that it explains, at most [`crate::limits::FOLDED_MAX`].
    pub folded: Vec<Member>,
    pub actions: Vec<Action>,
    /// How often it came back after it seemed to be over.
    pub relapses: u32,
    /// The change of the settings that came just before it.
    pub change: Option<SettingsChange>,
}

impl Alert {
    pub fn is_open(&self) -> bool {
        self.until.is_none()
    }

    /// One line: `Error: front end fe-1 → mailbox mbx-1: an inner certificate has expired [INNER-EXPIRED]`
    pub fn line(&self) -> String {
        let word = if self.severity == Severity::Error { "Error" } else { "Warning" };
        format!("{word}: {}: {} [{}]", self.leg, self.finding.cause.meaning, self.finding.cause.code)
    }

    /// As it is mailed and given to commands.
    pub fn text(&self) -> String {
        let mut out = format!("{}\n\nSince:   {}\n", self.line(), self.since);
        if let Some(until) = self.until {
            let _ = writeln!(out, "Until:   {until}");
        }
        let _ = writeln!(out, "Leg:     {}\nAt:      {}", self.leg, self.subject);
        let _ = writeln!(out, "Servers: {}\nSets:    {}", self.servers.join(", "), self.sets.join(", "));
        if !self.finding.evidence.is_empty() {
            out.push_str("\nSeen:\n");
            for evidence in &self.finding.evidence {
                let _ = writeln!(out, "  {}: {}", evidence.source, evidence.fact);
            }
        }
        if let Some(change) = &self.change {
            let _ = writeln!(out, "\nJust before: {}", change.line());
        }
        if !self.finding.remedy.is_empty() {
            out.push_str("\nWhat to do:\n");
            for remedy in &self.finding.remedy {
                let _ = writeln!(out, "  {remedy}");
            }
        }
        for action in &self.actions {
            let result = action.result.as_deref().unwrap_or("under way");
            let _ = writeln!(out, "\nDone by the health responder: {} {}: {result}", action.at, action.what);
        }
        let _ = writeln!(out, "\n{} probes fail for this. Alert {}", self.folded.len(), self.id);
        out
    }
}

/// A leg as alerts name it.
pub fn words(leg: &Leg) -> String {
    format!(
        "{} {} → {} {} ({})",
        leg.initiator.role, leg.initiator.name, leg.acceptor.role, leg.acceptor.name, leg.operation
    )
}

/// The hop that a failed result names.
pub(crate) fn leg_of(result: &ProbeResult) -> String {
    match result.bad_leg().or(result.legs.last()) {
        Some(leg) => words(leg),
        None => match &result.culprit.as_ref().or(result.subject.last()) {
            Some(subject) => subject.to_string(),
            None => format!("server {}", result.server),
        },
    }
}

/// What is to be done. The server does it, and tells the keeper of actions what came of them
/// ([`crate::Keeper::acted`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Decision {
    /// A new fault: tell people.
    Alert(Alert),
    /// More is known of an open one. People are not told again.
    Changed(Alert),
    /// It is over: tell those who were told.
    Mended(Alert),
    /// Restart a service of a server; `service` is a listener's or service's short name: `imap`, `pop`, `transport`.
    RestartRole { alert: String, server: String, service: String },
    /// Take a service of a server out of service: whoever comes is sent to others.
    Drain { alert: String, server: String, service: String },
    /// What was drained is well: it takes new work again.
    Restore { alert: String, server: String, service: String },
    /// Put the settings back to what they were before this version.
    UndoSettings { alert: String, version: u32 },
    /// Have a certificate made anew where one is made by itself (ACME).
    RenewCertificate { alert: String, server: String, thumbprint: String },
}

impl Decision {
    /// The alert that it is about.
    pub fn alert(&self) -> &str {
        match self {
            Decision::Alert(alert) | Decision::Changed(alert) | Decision::Mended(alert) => &alert.id,
            Decision::RestartRole { alert, .. }
            | Decision::Drain { alert, .. }
            | Decision::Restore { alert, .. }
            | Decision::UndoSettings { alert, .. }
            | Decision::RenewCertificate { alert, .. } => alert,
        }
    }

    /// For an action: what is done, in words.
    pub fn what(&self) -> String {
        match self {
            Decision::Alert(a) | Decision::Changed(a) | Decision::Mended(a) => a.line(),
            Decision::RestartRole { server, service, .. } => format!("restart {service} of {server}"),
            Decision::Drain { server, service, .. } => format!("drain {service} of {server}"),
            Decision::Restore { server, service, .. } => format!("return {service} of {server} to service"),
            Decision::UndoSettings { version, .. } => format!("undo version {version} of the settings"),
            Decision::RenewCertificate { server, thumbprint, .. } => {
                format!("renew certificate {thumbprint} of {server}")
            }
        }
    }
}
