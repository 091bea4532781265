//! The keeper of an organisation's alerts: one of its servers, to which all others report.
//!
//! It holds what each server reported last, folds what fails ([`crate::fold`]), and keeps one alert for each cause from the
//! first failure until everything that it explains has been well for a while. Another server can take its place at any
//! time: it is given the open alerts ([`Keeper::adopt`]) and goes on with them.

use crate::alert::{Alert, Decision};
use crate::event::Event;
use crate::monitor::ServerReport;
use crate::probe::ProbeResult;
use crate::respond::{Responders, SettingsChange};
use crate::timing::{Moment, Timing};

/// What goes on in the organisation.
#[derive(Clone, Debug)]
pub struct Keeper {
    server: String,
    timing: Timing,
    events: Vec<Event>,
}

impl Keeper {
    /// `server`: the id of the server on which it runs.
    pub fn new(server: impl Into<String>, timing: Timing) -> Keeper {
        Keeper { server: server.into(), timing, events: Vec::new() }
    }

    pub fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// What may be done besides alerting.
    pub fn set_responders(&mut self, _responders: Responders) {}

    /// Slow answers and lost tries alert, too.
    pub fn set_alert_slow(&mut self, _on: bool) {}

    /// Open alerts of the keeper before this one.
    pub fn adopt(&mut self, _alerts: Vec<Alert>, _now: Moment) {}

    /// A server's report, the keeper's own included.
    pub fn hear(&mut self, _report: ServerReport, _now: Moment) {}

    /// A try of the keeper to ask a server failed: `result` is of `RemoteMonitoring\ServerReportProbe\SERVER`, its subject
    /// the leg to it. Call it for each try that fails; a report ends it.
    pub fn unheard(&mut self, _server: &str, _result: ProbeResult, _now: Moment) {}

    /// The servers of the organisation; what others said is forgotten.
    pub fn servers(&mut self, _ids: &[String]) {}

    /// A version of the settings was put in place.
    pub fn settings_changed(&mut self, _change: SettingsChange) {}

    /// What came of an action that was decided on.
    pub fn acted(&mut self, _decision: &Decision, _result: Result<String, String>, _now: Moment) {}

    /// Looks at everything and decides. To be called after each report, and each [`Timing::gather`].
    pub fn judge(&mut self, _now: Moment) -> Vec<Decision> {
        Vec::new()
    }

    /// Open alerts, the oldest first; and with `past` those that are over, newest first, after them.
    pub fn alerts(&self, _past: bool) -> Vec<Alert> {
        Vec::new()
    }

    /// Events of the keeper since the last call, for the log of the server on which it runs.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    pub fn server(&self) -> &str {
        &self.server
    }
}
