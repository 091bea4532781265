//! Get-ServerHealth, Get-HealthReport, Set-ServerMonitor: how monitors and health sets stand.

use super::{explained, health, here};
use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Failure, Outcome};
use crate::output::Record;
use crate::run::Call;
use waypost_health::sets::{self, Group, SetState};
use waypost_health::{AlertValue, MonitorState};

const IDENTITY: Param =
    Param::new("Identity", Kind::Text, "Id or host name of a server; this one if not given.")
        .at(0)
        .alias(&["Server"]);
const HEALTH_SET: Param = Param::new("HealthSet", Kind::Text, "Only this set; * stands for any text.");
const HA_ONLY: Param = Param::new("HaImpactingOnly", Kind::Switch, "Only what decides about failovers.")
    .without_effect("no monitor here moves databases");

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Get",
        noun: "ServerHealth",
        about: "Shows every monitor of a server: what it watches, and whether it is well.",
        detail: "AlertValue is Healthy, Degraded (it works, slowly or not as it should), Unhealthy, Repairing, Disabled, \
                 Unavailable (no result for too long) or Uninitialized. A probe that fails is repeated at once; its monitor turns \
                 Unhealthy after three failures and Healthy after two good tries. FormatList adds times, the last try with its \
                 legs and steps, and cause, evidence and remedy.",
        params: &[
            IDENTITY,
            HEALTH_SET,
            Param::new("AlertValue", Kind::Choice(VALUES), "Only monitors that stand so."),
            HA_ONLY,
        ],
        columns: &[
            "Server",
            "State",
            "Name",
            "TargetResource",
            "HealthSetName",
            "AlertValue",
            "ServerComponent",
            "Cause",
        ],
        examples: &[
            Example {
                line: "Get-ServerHealth mbx-1 -HealthSet IMAP*",
                about: "All monitors of IMAP at a server.",
            },
            Example {
                line: "Get-ServerHealth -AlertValue Unhealthy -FormatList",
                about: "What is wrong, and why.",
            },
        ],
        needs: Needs::Server,
        changes: false,
        confirm: false,
        run: |call| Box::pin(monitors(call)),
    },
    Command {
        verb: "Get",
        noun: "HealthReport",
        about: "Shows the health sets of a server: each is as well as its worst monitor.",
        detail: "For a protocol X, X.Protocol is the home of the mailboxes, X.Proxy the front end alone, and X the whole way \
                 from the one to the other; which of them are unhealthy says where the fault is. FormatList adds the monitors \
                 (Entries) and what is wrong.",
        params: &[
            IDENTITY,
            HEALTH_SET,
            Param::new("RollupGroup", Kind::Switch, "One line for each group of sets."),
            Param::new("GroupSize", Kind::Int, "Servers of a group.")
                .without_effect("a report is about one server"),
            Param::new("MinimumOnlinePercent", Kind::Int, "How many of them must be in service.")
                .without_effect("a report is about one server"),
            HA_ONLY,
        ],
        columns: &["Server", "State", "HealthSet", "AlertValue", "LastTransitionTime", "MonitorCount"],
        examples: &[
            Example { line: "Get-HealthReport", about: "This server at a glance." },
            Example { line: "Get-HealthReport mbx-1 -RollupGroup", about: "By group." },
        ],
        needs: Needs::Server,
        changes: false,
        confirm: false,
        run: |call| Box::pin(report(call)),
    },
    Command {
        verb: "Set",
        noun: "ServerMonitor",
        about: "Says that somebody is at a health set: what is bad there shows as Repairing, and alerts nobody.",
        detail: "It lasts until it is taken back or the server restarts.",
        params: &[
            Param::new("Name", Kind::Text, "The health set.").mandatory().at(0).alias(&["HealthSet"]),
            Param::new("Repairing", Kind::Bool, "Whether somebody is at it.").mandatory(),
            super::SERVER,
        ],
        columns: &["Server", "HealthSet", "AlertValue"],
        examples: &[Example {
            line: "Set-ServerMonitor IMAP.Proxy -Repairing $true",
            about: "While you work on it.",
        }],
        needs: Needs::Server,
        changes: true,
        confirm: false,
        run: |call| Box::pin(repairing(call)),
    },
];

const VALUES: &[&str] =
    &["Healthy", "Degraded", "Unhealthy", "Repairing", "Disabled", "Unavailable", "Uninitialized"];

/// Whether the component that a set belongs to takes work: Exchange's words for it.
fn component_state(call: &Call<'_>, set: &str) -> Outcome<&'static str> {
    let component = sets::set_named(set).map_or("", |s| s.component);
    let now = call.directory()?.snapshot();
    let server = now.here().and_then(|id| now.server(id));
    Ok(match server.and_then(|s| s.components.get(component)).map(String::as_str) {
        _ if component.is_empty() => "NotApplicable",
        Some("Inactive") => "Offline",
        Some("Draining") => "Partially Online",
        _ => "Online",
    })
}

fn chosen<'a>(call: &Call<'_>, all: &'a [MonitorState]) -> Vec<&'a MonitorState> {
    let wanted = call.text("HealthSet").unwrap_or("*");
    all.iter().filter(|m| crate::output::wildcard(wanted, &m.probe.set)).collect()
}

async fn monitors(call: &Call<'_>) -> Outcome {
    let (all, server) = (health(call)?.monitors(), here(call)?);
    let sets = sets::roll_up(&all);
    for monitor in chosen(call, &all) {
        let set = sets.iter().find(|s| s.name == monitor.probe.set);
        if call.text("AlertValue").is_none_or(|wanted| wanted == monitor.value.name()) {
            call.record(record(call, &server, monitor, set)?).await;
        }
    }
    none_known(call, &all)
}

/// A set that is named and that nobody watches is a mistake; one with a star is not.
fn none_known(call: &Call<'_>, all: &[MonitorState]) -> Outcome {
    match call.text("HealthSet") {
        Some(name) if !name.contains('*') && chosen(call, all).is_empty() => {
            Err(Failure::not_found("health set", name))
        }
        _ => Ok(()),
    }
}

fn record(call: &Call<'_>, server: &str, monitor: &MonitorState, set: Option<&SetState>) -> Outcome<Record> {
    let spec = sets::probe(&monitor.probe.name);
    let of_set = sets::set_named(&monitor.probe.set);
    let component = of_set.map(|s| s.component).filter(|c| !c.is_empty()).unwrap_or("None");
    let last = monitor.last.as_ref();
    let finding = monitor.fault.as_ref().or(last).and_then(|r| r.finding.as_ref());
    let result = last.map(|r| if r.failed() { "Failed" } else { "Succeeded" });
    let record = Record::new()
        .with("Server", server)
        .with("State", component_state(call, &monitor.probe.set)?)
        .with("Name", monitor.probe.monitor())
        .with("TargetResource", monitor.probe.target.as_str())
        .with("HealthSetName", monitor.probe.set.as_str())
        .with("AlertValue", monitor.value.name())
        .with("ServerComponent", component)
        .with("CurrentHealthSetState", set.map(|s| s.value.name()))
        .with("HealthGroupName", of_set.map_or("", |s| s.group.name()))
        .with("Description", spec.map_or("", |s| s.about))
        .with("IsHaImpacting", false)
        .with("FirstAlertObservedTime", monitor.failing)
        .with("LastTransitionTime", monitor.since)
        .with("LastExecutionTime", last.map(|r| r.started))
        .with("LastExecutionResult", result)
        .with("LastExecutionMilliseconds", last.map(|r| r.millis))
        .with("IsStale", monitor.value == AlertValue::Unavailable)
        .with("Error", monitor.fault.as_ref().and_then(waypost_health::ProbeResult::error))
        .with("IsNotified", monitor.value.is_bad())
        .with("LastFailedProbeId", monitor.fault.as_ref().map(|f| f.probe.to_string()))
        .with("Relapses", monitor.relapses);
    let legs = monitor.fault.as_ref().or(last).map(super::legs).unwrap_or_default();
    let way = monitor.path().iter().map(ToString::to_string).collect::<Vec<_>>();
    Ok(explained(record, finding)
        .with("Legs", legs)
        .with("GoesThrough", way)
        .with("Identity", format!("{server}\\{}", monitor.probe)))
}

async fn report(call: &Call<'_>) -> Outcome {
    let (all, server) = (health(call)?.monitors(), here(call)?);
    let wanted: Vec<MonitorState> = chosen(call, &all).into_iter().cloned().collect();
    let sets = sets::roll_up(&wanted);
    if call.switch("RollupGroup") {
        for group in Group::ALL {
            let inside: Vec<&SetState> = sets
                .iter()
                .filter(|s| sets::set_named(&s.name).is_some_and(|spec| spec.group == group))
                .collect();
            if !inside.is_empty() {
                call.record(rolled(call, &server, group.name(), &inside)?).await;
            }
        }
        return none_known(call, &all);
    }
    for set in &sets {
        call.record(rolled(call, &server, &set.name, &[set])?).await;
    }
    none_known(call, &all)
}

/// One line for sets together.
fn rolled(call: &Call<'_>, server: &str, name: &str, sets: &[&SetState]) -> Outcome<Record> {
    let worst = sets.iter().map(|s| s.value).max().unwrap_or_default();
    let changed = sets.iter().map(|s| s.last_transition).max();
    let monitors = || sets.iter().flat_map(|s| s.monitors.iter());
    let entry = |m: &MonitorState| match m.probe.target.as_str() {
        "" => format!("{} {}", m.probe.monitor(), m.value),
        target => format!("{} {target} {}", m.probe.monitor(), m.value),
    };
    let bad = monitors().filter(|m| m.value.is_bad());
    let told = bad.max_by_key(|m| {
        let rank = m
            .fault
            .as_ref()
            .and_then(|f| f.finding.as_ref())
            .map(|f| waypost_health::cause::rank(f.cause.code));
        (m.value, rank)
    });
    let finding = told.and_then(|m| m.fault.as_ref()).and_then(|f| f.finding.as_ref());
    let mut states = Vec::new();
    for set in sets {
        states.push(component_state(call, &set.name)?);
    }
    let state = ["Offline", "Partially Online", "Online"].into_iter().find(|s| states.contains(s));
    let record = Record::new()
        .with("Server", server)
        .with("State", state.unwrap_or("NotApplicable"))
        .with("HealthSet", name)
        .with("AlertValue", worst.name())
        .with("LastTransitionTime", changed)
        .with("MonitorCount", monitors().count())
        .with("UnhealthyMonitorCount", monitors().filter(|m| m.value == AlertValue::Unhealthy).count())
        .with(
            "HealthGroupName",
            sets.first().and_then(|s| sets::set_named(&s.name)).map_or("", |s| s.group.name()),
        )
        .with("Entries", monitors().map(entry).collect::<Vec<_>>());
    Ok(explained(record, finding).with("Identity", format!("{server}\\{name}")))
}

async fn repairing(call: &Call<'_>) -> Outcome {
    let (health, name) = (health(call)?, call.required("Name")?);
    let on = call.flag("Repairing").unwrap_or_default();
    let known = |m: &MonitorState| m.probe.set.eq_ignore_ascii_case(name);
    if !health.monitors().iter().any(known) {
        return Err(Failure::not_found("health set", name));
    }
    if call.only_said(|| format!("Setting Repairing of {name} to {on}.")).await {
        return Ok(());
    }
    health.repairing(name, on);
    let server = here(call)?;
    let wanted: Vec<MonitorState> = health.monitors().into_iter().filter(known).collect();
    for set in sets::roll_up(&wanted) {
        call.record(rolled(call, &server, &set.name, &[&set])?).await;
    }
    Ok(())
}
