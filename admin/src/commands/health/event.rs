//! Get-HealthEvent and Get-HealthAlert: what happened, and what is wrong in the organisation.

use super::{SERVER, explained, health};
use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Failure, Outcome};
use crate::output::Record;
use crate::run::Call;
use crate::settings::parse_time;
use waypost_base::Timestamp;
use waypost_health::event::{EventQuery, Level};
use waypost_health::{Alert, Event};

const LEVELS: &[&str] = &["Information", "Warning", "Error"];
/// Where -Newest is not given.
const NEWEST: usize = 1_000;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Get",
        noun: "HealthEvent",
        about: "Shows what happened to the health of a server, newest first: monitors, alerts, responders, clocks.",
        detail: "Like Get-EventLog. Sources are health sets, Keeper and Responder. 1001: a probe is repeated; 1002: a monitor changed; \
                 2001, 2002, 2003: an alert was raised, more is known, it is over; 3001, 3002: a responder acted or was held back; \
                 3003, 3004: an alert was sent or could not be; 4001: the clock was set; 4003: the settings changed.",
        params: &[
            Param::new(
                "After",
                Kind::Text,
                "Not before this time: 2026-03-03 10:00, in UTC unless it says otherwise.",
            ),
            Param::new("Before", Kind::Text, "Not after this time."),
            Param::new("Level", Kind::Choice(LEVELS), "Only of this level.").alias(&["EntryType"]),
            Param::new("Source", Kind::Text, "Only from this source; * at the end stands for any text."),
            Param::new("Newest", Kind::Int, "At most so many, the newest; 1000 if not given."),
            SERVER.alias(&["ComputerName"]),
        ],
        columns: &["Index", "TimeGenerated", "EntryType", "Source", "InstanceId", "Message"],
        examples: &[Example {
            line: "Get-HealthEvent -Level Error -Newest 10",
            about: "The last ten things that went wrong.",
        }],
        needs: Needs::Server,
        changes: false,
        confirm: false,
        run: |call| Box::pin(events(call)),
    },
    Command {
        verb: "Get",
        noun: "HealthAlert",
        about: "Shows what is wrong in the whole organisation: one alert for each cause, with everything that fails for it.",
        detail: "An alert names the leg and the cause, what was seen at both ends, what to do, the change of the settings that came \
                 just before, and what responders did. It ends when everything that it explains has been well for a while.",
        params: &[
            Param::new("Identity", Kind::Text, "Only this one.").at(0),
            Param::new("IncludePast", Kind::Switch, "Also those that are over.").alias(&["All"]),
        ],
        columns: &["Since", "Severity", "State", "Leg", "Cause", "HealthSets", "ProbeCount"],
        examples: &[Example { line: "Get-HealthAlert -FormatList", about: "What is wrong, and what to do." }],
        needs: Needs::Server,
        changes: false,
        confirm: false,
        run: |call| Box::pin(alerts(call)),
    },
];

fn time(call: &Call<'_>, name: &str) -> Outcome<Option<Timestamp>> {
    let parse =
        |text| parse_time(text).ok_or_else(|| Failure::invalid(name, format!("{text:?} is not a time.")));
    call.text(name).map(parse).transpose()
}

async fn events(call: &Call<'_>) -> Outcome {
    let newest = call.int("Newest").and_then(|n| usize::try_from(n).ok()).unwrap_or(NEWEST);
    let query = EventQuery {
        after: time(call, "After")?,
        before: time(call, "Before")?,
        level: call.text("Level").and_then(Level::parse),
        source: call.text("Source").map(str::to_owned),
        newest: Some(newest),
    };
    for event in health(call)?.events(&query) {
        call.record(event_record(&event)).await;
    }
    Ok(())
}

fn event_record(event: &Event) -> Record {
    let record = Record::new()
        .with("Index", event.index)
        .with("TimeGenerated", event.time)
        .with("EntryType", event.level.name())
        .with("Source", event.source.as_str())
        .with("InstanceId", event.id)
        .with("Message", event.message.as_str())
        .with("MachineName", event.server.as_str())
        .with("Probe", event.probe.as_ref().map(ToString::to_string))
        .with("Alert", event.alert.clone());
    explained(record, event.finding.as_ref())
}

async fn alerts(call: &Call<'_>) -> Outcome {
    let wanted = call.text("Identity");
    let past = call.switch("IncludePast") || wanted.is_some();
    let all = health(call)?.alerts(past).await?;
    let found: Vec<&Alert> = all.iter().filter(|a| wanted.is_none_or(|id| id == a.id)).collect();
    for alert in &found {
        call.record(alert_record(alert)).await;
    }
    match wanted {
        Some(id) if found.is_empty() => Err(Failure::not_found("alert", id)),
        _ => Ok(()),
    }
}

fn alert_record(alert: &Alert) -> Record {
    let actions = alert.actions.iter().map(|a| {
        let result = a.result.as_deref().unwrap_or("under way");
        format!("{} {}: {result}", a.at, a.what)
    });
    let record = Record::new()
        .with("Since", alert.since)
        .with("Severity", format!("{:?}", alert.severity))
        .with("State", if alert.is_open() { "Open" } else { "Over" })
        .with("Leg", alert.leg.as_str());
    explained(record, Some(&alert.finding))
        .with("Subject", alert.subject.to_string())
        .with("HealthSets", alert.sets.clone())
        .with("Servers", alert.servers.clone())
        .with("Probes", alert.folded.iter().map(|m| format!("{}: {}", m.server, m.probe)).collect::<Vec<_>>())
        .with("ProbeCount", alert.folded.len())
        .with("Raised", alert.raised)
        .with("Until", alert.until)
        .with("Relapses", alert.relapses)
        .with("SettingsChange", alert.change.as_ref().map(waypost_health::SettingsChange::line))
        .with("Actions", actions.collect::<Vec<_>>())
        .with("Identity", alert.id.as_str())
}
