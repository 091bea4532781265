//! The commands of health, under the names that Exchange has for them. What fails carries Cause, Evidence and Remedy after
//! the familiar properties, and ends the command with exit code 5.

mod connectivity;
mod event;
mod flow;
mod item;
mod overrides;
mod state;

use crate::catalogue::{Command, Kind, Param};
use crate::elsewhere::find_server;
use crate::failure::{Category, Failure, Outcome};
use crate::health::Health;
use crate::output::{Cell, Record};
use crate::run::Call;
use std::sync::Arc;
use waypost_base::explain::{Evidence, Finding, Step};
use waypost_health::ProbeResult;

pub(super) fn tables() -> [&'static [Command]; 6] {
    [
        state::COMMANDS,
        item::COMMANDS,
        overrides::COMMANDS,
        connectivity::COMMANDS,
        flow::COMMANDS,
        event::COMMANDS,
    ]
}

const SERVER: Param = Param::new("Server", Kind::Text, "Id or host name of a server; this one if not given.");
const TIMEOUT: &str = "the longest time is the setting's";

fn health(call: &Call<'_>) -> Outcome<Arc<dyn Health>> {
    let health = call.world()?.health.clone();
    health.ok_or_else(|| {
        let text = "Health is not watched here: the server is stopped, or health.enabled is false.";
        Failure::new(Category::ResourceUnavailable, "health", text)
    })
}

/// The id of this server.
fn here(call: &Call<'_>) -> Outcome<String> {
    let world = call.world()?;
    let now = world.directory.snapshot();
    Ok(now.here().map_or_else(|| world.settings.current().server.id.clone(), str::to_owned))
}

/// The id of the server that a parameter names; it must be known.
fn named(call: &Call<'_>, name: &str) -> Outcome<Option<String>> {
    let Some(text) = call.text(name) else { return Ok(None) };
    let world = call.world()?;
    if super::property::is_us(&world.settings.current(), text) {
        return here(call).map(Some);
    }
    let found = find_server(&world.directory.snapshot(), text);
    found.map(Some).ok_or_else(|| Failure::not_found("server", text))
}

/// Cause, Evidence and Remedy.
fn explained(record: Record, finding: Option<&Finding>) -> Record {
    let lines = |f: fn(&Finding) -> Vec<String>| Cell::List(finding.map(f).unwrap_or_default());
    record
        .with("Cause", finding.map(|f| f.cause.code))
        .with("Meaning", finding.map(|f| f.cause.meaning))
        .with("Evidence", lines(|f| f.evidence.iter().map(evidence).collect()))
        .with("Remedy", lines(|f| f.remedy.clone()))
        .with("Untested", lines(|f| f.untested.clone()))
}

fn evidence(evidence: &Evidence) -> String {
    match evidence.time {
        Some(time) => format!("{} ({time}): {}", evidence.source, evidence.fact),
        None => format!("{}: {}", evidence.source, evidence.fact),
    }
}

/// The hops of a try, each with its steps.
fn legs(result: &ProbeResult) -> Vec<String> {
    let mut lines = Vec::new();
    for leg in &result.legs {
        lines.push(leg.to_string());
        lines.extend(leg.steps.iter().filter(|s| s.note.is_some()).map(step));
    }
    lines
}

fn step(step: &Step) -> String {
    let note = step.note.as_deref().unwrap_or_default();
    format!("  {} {:.1} ms: {note}", step.name, step.micros as f64 / 1000.0)
}

/// What a test that failed ends with: how many, and the finding of the first.
fn failed<'a>(what: &str, all: usize, wrong: impl Iterator<Item = &'a ProbeResult>) -> Outcome {
    let wrong: Vec<&ProbeResult> = wrong.collect();
    let Some(first) = wrong.first() else { return Ok(()) };
    let text = format!("{} of {all} {what} failed.", wrong.len());
    let mut failure = Failure::new(Category::OperationIncomplete, &first.server, text);
    let finding = first.finding.as_ref().and_then(|f| serde_json::to_value(f).ok());
    failure.finding = finding.map(Box::new);
    Err(failure)
}

/// `Succeeded`, `Degraded`, `Failed`
fn result_type(result: &ProbeResult) -> &'static str {
    match &result.finding {
        None => "Succeeded",
        Some(_) if result.degraded => "Degraded",
        Some(_) => "Failed",
    }
}
