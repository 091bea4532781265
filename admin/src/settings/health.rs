//! The section `health`: probes, alerts, responders.

#![allow(clippy::ptr_arg, reason = "checks are handed what was read, a Vec or a String")]

use super::checks::*;
use super::fields::section_types;
use super::value::Span;
use waypost_health::respond::{Kind, Responders};
use waypost_health::{ProbeId, Timing};

section_types! {
    /// The section `health`.
    Health {
        /// Whether the server tries itself out as its users would, and watches what comes of it.
        enabled: bool = true;
        /// Within this time after a fault begins there is an alert. Every probe runs twice in it.
        probe_interval: Span = Span::seconds(60), |n| span_in(1, 3_600, n);
        /// Answers that take longer than a probe's budget make its monitor Degraded: "ImapCTPProbe=2000" in milliseconds, 0 for
        /// none. Probes that are not here have the budgets that Get-MonitoringItemHelp shows.
        latency_budgets: Vec<String> = Vec::new(), budgets;
        /// Whether slow answers and lost tries alert as well.
        alert_slow: bool = false;
        /// Addresses that get a message for each alert, and one when it is over.
        alert_mail: Vec<String> = Vec::new(), addresses_list;
        /// A web address to which each alert is posted as JSON; empty for none.
        alert_webhook: String = String::new(), web_address;
        /// A program with its arguments that is run for each alert, with the alert as JSON on its standard input; empty for none.
        /// It is a file in the folder hooks of the data folder, so that only who has a shell there decides what is run.
        alert_command: Vec<String> = Vec::new(), command;
        /// "alert": nothing is done but alerting. "mend": what is in may is done, too.
        responders: String = "alert".into(), mode;
        /// What responders may do: restart-role, drain-server, undo-settings, renew-certificate.
        may: Vec<String> = Kind::ALL.iter().map(|kind| kind.name().to_owned()).collect(), kinds;
        /// At least this time is between two actions on the same server, certificate or settings.
        action_pause: Span = Span::seconds(3_600), |n| span_in(60, 86_400, n);
        /// Actions of responders in 24 hours, in the whole organisation.
        actions_per_day: u32 = 4, |n| number_in(0, 100, n);
        /// Monitors that are switched off: "IMAP\ImapCTPProbe\imaps", until a time where one stands behind it:
        /// "POP\PopCTPProbe until 2026-12-31T18:00:00Z". Add-ServerMonitoringOverride writes this.
        overrides: Vec<String> = Vec::new(), overrides;
    }
}

impl Health {
    pub fn timing(&self) -> Timing {
        Timing::new(self.probe_interval.0)
    }

    /// Probe names with their budgets in milliseconds.
    pub fn budgets(&self) -> Vec<(String, u32)> {
        self.latency_budgets.iter().filter_map(|text| budget(text)).collect()
    }

    pub fn responders(&self) -> Responders {
        let mends = self.responders == "mend";
        let may =
            if mends { self.may.iter().filter_map(|text| Kind::parse(text)).collect() } else { Vec::new() };
        Responders { may, pause: self.action_pause.0, daily: self.actions_per_day }
    }

    /// The monitors that are switched off at this time.
    pub fn switched_off(&self, now: waypost_base::Timestamp) -> Vec<ProbeId> {
        let holds = |text: &String| {
            let (probe, until) = parse_override(text)?;
            until.is_none_or(|at| now < at).then_some(probe)
        };
        self.overrides.iter().filter_map(holds).collect()
    }
}

/// `IMAP\ImapCTPProbe\imaps until TIME`
pub fn parse_override(text: &str) -> Option<(ProbeId, Option<waypost_base::Timestamp>)> {
    match text.split_once(" until ") {
        Some((probe, until)) => Some((ProbeId::parse(probe)?, Some(super::time::parse_time(until)?))),
        None => Some((ProbeId::parse(text)?, None)),
    }
}

fn budget(text: &str) -> Option<(String, u32)> {
    let (name, millis) = text.split_once('=')?;
    let name = name.trim();
    (!name.is_empty()).then_some(())?;
    Some((name.to_owned(), millis.trim().parse().ok()?))
}

fn all_are(list: &[String], what: &str, sound: impl Fn(&String) -> bool) -> Result<(), String> {
    if list.len() > 200 {
        return Err("has more than 200 items".into());
    }
    match list.iter().find(|text| !sound(text)) {
        Some(bad) => Err(format!("has {bad:?}, which is not {what}")),
        None => Ok(()),
    }
}

fn budgets(list: &Vec<String>) -> Result<(), String> {
    all_are(list, "PROBE=MILLISECONDS", |text| budget(text).is_some())
}

fn addresses_list(list: &Vec<String>) -> Result<(), String> {
    all_are(list, "an address", |text| waypost_directory::Address::parse(text).is_ok())
}

fn kinds(list: &Vec<String>) -> Result<(), String> {
    let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    all_are(list, &format!("one of {}", names.join(", ")), |text| Kind::parse(text).is_some())
}

fn overrides(list: &Vec<String>) -> Result<(), String> {
    all_are(list, r"SET\PROBE\TARGET, with or without: until TIME", |text| parse_override(text).is_some())
}

fn command(list: &Vec<String>) -> Result<(), String> {
    all_are(list, "a word of a command", |text| !text.contains('\0'))?;
    // Who may change settings is not for that reason allowed to run anything as the server's user.
    match list.first() {
        Some(program) if program.contains('/') || program.starts_with('.') || program.is_empty() => {
            Err("must begin with the name of a file in the folder hooks of the data folder".into())
        }
        _ => Ok(()),
    }
}

fn web_address(text: &String) -> Result<(), String> {
    line(text)?;
    let sound = text.is_empty() || text.starts_with("https://") || text.starts_with("http://");
    if sound { Ok(()) } else { Err("must begin with https:// or http://".into()) }
}

fn mode(text: &String) -> Result<(), String> {
    if matches!(text.as_str(), "alert" | "mend") {
        Ok(())
    } else {
        Err("must be \"alert\" or \"mend\"".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_base::Timestamp;

    #[test]
    fn what_may_be_done() {
        assert!(Health::default().responders().may.is_empty());
        let mends =
            Health { responders: "mend".into(), may: vec!["undo-settings".into()], ..Health::default() };
        assert_eq!(mends.responders().may, [Kind::UndoSettings]);
        assert!(kinds(&vec!["reboot".into()]).is_err());
    }

    #[test]
    fn overrides_end() {
        let text = r"POP\PopCTPProbe until 2026-03-03T08:00:00Z".to_owned();
        let health = Health { overrides: vec![text, r"IMAP\ImapCTPProbe\imaps".into()], ..Health::default() };
        assert_eq!(health.switched_off(Timestamp(0)).len(), 2);
        assert_eq!(health.switched_off(Timestamp(2_000_000_000_000)).len(), 1);
        assert!(overrides(&vec!["POP".into()]).is_err());
        assert!(command(&vec!["page".into()]).is_ok());
        for bad in ["/bin/true", "../x", ".", ""] {
            assert!(command(&vec![bad.into()]).is_err(), "{bad}");
        }
        assert!(budgets(&vec!["X=ten".into()]).is_err() && budgets(&vec!["X=10".into()]).is_ok());
    }
}
