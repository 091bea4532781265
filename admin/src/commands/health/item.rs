//! Invoke-MonitoringProbe, Get-MonitoringItemIdentity, Get-MonitoringItemHelp: what is probed, and probing at once.

use super::{SERVER, explained, health, here, result_type};
use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Failure, Outcome};
use crate::health::Item;
use crate::output::Record;
use crate::run::Call;
use crate::settings::Span;
use waypost_health::{ProbeId, ProbeResult, sets};

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Invoke",
        noun: "MonitoringProbe",
        about: "Runs a probe at once and shows what came of it, with every leg and step.",
        detail: "IMAP\\ImapCTPProbe runs all of that name, IMAP\\ImapCTPProbe\\TARGET one of them; Get-MonitoringItemIdentity lists \
                 them. The monitor hears of the result as of any other. Exit code 5 when it fails.",
        params: &[
            Param::identity("SET\\PROBE or SET\\PROBE\\TARGET."),
            SERVER,
            Param::new("ItemTargetExtension", Kind::Text, "Data for the probe.")
                .without_effect("probes take none"),
            Param::new("TimeOutSeconds", Kind::Int, "The longest time.").without_effect(super::TIMEOUT),
        ],
        columns: &["Server", "ResultName", "ResultType", "Milliseconds", "Error", "Cause"],
        examples: &[Example {
            line: "Invoke-MonitoringProbe 'IMAP\\ImapCTPProbe' -Server fe-1 -FormatList",
            about: "IMAP as a person uses it, now.",
        }],
        needs: Needs::Server,
        changes: false,
        confirm: false,
        run: |call| Box::pin(invoke(call)),
    },
    Command {
        verb: "Get",
        noun: "MonitoringItemIdentity",
        about: "Lists the probes and monitors of a server.",
        detail: "",
        params: &[
            Param::new("Identity", Kind::Text, "Only this health set; * stands for any text.").at(0),
            SERVER,
        ],
        columns: &["Identity", "ItemType", "Name", "TargetResource"],
        examples: &[Example {
            line: "Get-MonitoringItemIdentity IMAP.Proxy",
            about: "What a set is made of.",
        }],
        needs: Needs::Server,
        changes: false,
        confirm: false,
        run: |call| Box::pin(identities(call)),
    },
    Command {
        verb: "Get",
        noun: "MonitoringItemHelp",
        about: "Tells what a probe does, by which way, and where to look when it fails.",
        detail: "",
        params: &[Param::identity("SET\\PROBE or SET\\MONITOR, with or without \\TARGET."), SERVER],
        columns: &["Identity", "Description", "Help"],
        examples: &[Example {
            line: "Get-MonitoringItemHelp 'IMAP\\ImapCTPProbe' -FormatList",
            about: "About one probe.",
        }],
        needs: Needs::Server,
        changes: false,
        confirm: false,
        run: |call| Box::pin(help(call)),
    },
];

fn asked(call: &Call<'_>) -> Outcome<ProbeId> {
    let text = call.required("Identity")?;
    ProbeId::parse(text).ok_or_else(|| {
        Failure::invalid(
            "Identity",
            format!("{text:?} is not SET\\PROBE or SET\\PROBE\\TARGET, such as IMAP\\ImapCTPProbe."),
        )
    })
}

async fn invoke(call: &Call<'_>) -> Outcome {
    let (health, asked, server) = (health(call)?, asked(call)?, here(call)?);
    let results = health.run(&asked).await?;
    if results.is_empty() {
        return Err(Failure::not_found("probe", &asked));
    }
    for result in &results {
        call.record(record(&server, result)).await;
    }
    super::failed("probes", results.len(), results.iter().filter(|r| r.failed()))
}

fn record(server: &str, result: &ProbeResult) -> Record {
    let end = result.started.plus_millis(result.millis.into());
    let context = result.bad_leg().map(waypost_health::alert::words);
    let record = Record::new()
        .with("Server", server)
        .with("MonitorIdentity", result.probe.to_string())
        .with("ResultName", result.probe.result_name())
        .with("ResultType", result_type(result))
        .with("ServiceName", result.probe.set.as_str())
        .with("ExecutionStartTime", result.started)
        .with("ExecutionEndTime", end)
        .with("Milliseconds", result.millis)
        .with("Error", result.error())
        .with("Exception", None::<String>)
        .with("FailureContext", context);
    let way: Vec<String> = result.subject.iter().map(ToString::to_string).collect();
    explained(record, result.finding.as_ref())
        .with("Legs", super::legs(result))
        .with("GoesThrough", way)
        .with("Identity", format!("{server}\\{}", result.probe))
}

async fn identities(call: &Call<'_>) -> Outcome {
    let items = health(call)?.items();
    let wanted = call.text("Identity").unwrap_or("*");
    let set = wanted.split('\\').next().unwrap_or(wanted);
    let mut any = false;
    for item in items.iter().filter(|i| crate::output::wildcard(set, &i.probe.set)) {
        any = true;
        let monitor = ProbeId { name: item.probe.monitor(), ..item.probe.clone() };
        for (kind, id) in [("Probe", &item.probe), ("Monitor", &monitor)] {
            call.record(identity(kind, id, item)).await;
        }
    }
    if any || wanted.contains('*') { Ok(()) } else { Err(Failure::not_found("health set", wanted)) }
}

fn identity(kind: &str, id: &ProbeId, item: &Item) -> Record {
    Record::new()
        .with("Identity", id.to_string())
        .with("ItemType", kind)
        .with("Name", id.name.as_str())
        .with("TargetResource", id.target.as_str())
        .with("HealthSetName", id.set.as_str())
        .with("Enabled", item.enabled)
}

async fn help(call: &Call<'_>) -> Outcome {
    let (items, asked) = (health(call)?.items(), asked(call)?);
    let found: Vec<&Item> = items.iter().filter(|i| i.probe.is(&asked)).collect();
    for item in &found {
        let spec = sets::probe(&item.probe.name);
        let record = Record::new()
            .with("Identity", item.probe.to_string())
            .with("Description", spec.map_or("", |s| s.about))
            .with("Help", spec.map_or("", |s| s.help))
            .with("HealthSet", item.probe.set.as_str())
            .with("HealthSetDescription", sets::set_named(&item.probe.set).map_or("", |s| s.about))
            .with("Monitor", item.probe.monitor())
            .with("RecurrenceInterval", Span(item.recurrence))
            .with("Timeout", Span(item.timeout))
            .with("LatencyBudgetMilliseconds", item.budget)
            .with("Enabled", item.enabled);
        call.record(record).await;
    }
    if found.is_empty() { Err(Failure::not_found("probe", &asked)) } else { Ok(()) }
}
