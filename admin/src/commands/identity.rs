//! Get-ServiceIdentity, Test-ServicePermission, Get-ServiceLeg: as whom the roles run, what they may touch, and how the legs
//! between servers stand.

use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Category, Failure, Outcome};
use crate::filter::Filter;
use crate::output::{Cell, Record};
use crate::run::Call;
use crate::service::identity::{Host, ROLES};
use crate::service::permission::{self, Result as Verdict};
use crate::service::{LegState, ServiceFacts};
use crate::settings::{self, Settings};
use std::sync::Arc;
use waypost_base::explain::{Evidence, Outcome as Ended, Step};

const ROLE_NAMES: &[&str] = &["frontend", "transport", "mailbox"];
const RESULTS: &[&str] = &["Ok", "Degraded", "Failed"];
const VERDICTS: &[&str] = &["Ok", "Warning", "Failed"];
const ROLE: Param = Param::new("Role", Kind::Choice(ROLE_NAMES), "Only this role.").at(0);
const SERVER: Param =
    Param::new("Server", Kind::Text, "Another server of the organisation; this one if not given.");
const FILTER: Param = Param::new("Filter", Kind::Text, "Only those that fit, such as {Result -ne \"Ok\"}.");

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Get",
        noun: "ServiceIdentity",
        about: "Shows as whom each role of a server runs, and by what it proves itself.",
        detail: "For each role: the Linux user, its groups and capabilities, the systemd unit and control group, the inner \
                 certificate by which other servers know it, the public certificates that clients see, the keytab with its \
                 principals, key versions and encryption types, and the tickets that it holds. No key is shown. On a stopped \
                 server: for the user who owns the data folder.",
        params: &[ROLE, SERVER],
        columns: &[
            "Role",
            "User",
            "Rights",
            "InnerCertificate",
            "InnerCertificateNotAfter",
            "Keytab",
            "Tickets",
        ],
        examples: &[Example {
            line: "Get-ServiceIdentity transport -FormatList",
            about: "All about the hub of this server.",
        }],
        needs: Needs::Files,
        changes: false,
        confirm: false,
        run: |call| Box::pin(identities(call)),
    },
    Command {
        verb: "Test",
        noun: "ServicePermission",
        about: "Proves that a server has the rights that it needs, and no more; tells what was denied to it lately.",
        detail: "Each file that the roles need, as the server's user; ports and the capability for them; capabilities, groups and \
                 a user that give more than a mail server needs; keys, keytabs and secrets that others could read; system \
                 folders and others' secrets that it could touch; and every path that the system denied to it, with the \
                 operation. On a stopped server everything is judged for the user who owns the data folder.",
        params: &[
            Param::new("Result", Kind::Choice(VERDICTS), "Only checks with this result."),
            FILTER,
            SERVER,
        ],
        columns: &["Check", "Subject", "Result", "Evidence", "Remedy"],
        examples: &[Example {
            line: "Test-ServicePermission -Filter '{Result -ne \"Ok\"}' -FormatList",
            about: "What is wrong, and how to mend it.",
        }],
        needs: Needs::Files,
        changes: false,
        confirm: false,
        run: |call| Box::pin(permissions(call)),
    },
    Command {
        verb: "Get",
        noun: "ServiceLeg",
        about: "Shows how legs between the servers of the organisation stand: the last one of each pair and service.",
        detail: "A leg that works, but not in the way that was wanted, is Degraded; it stays here until a later leg of the same \
                 pair and service is well. FormatList adds the evidence of both ends, what to do, and the steps. -Faults shows the \
                 latest faults instead, those that are mended too. Also: Get-Leg.",
        params: &[
            Param::new("From", Kind::Text, "Only legs from this server."),
            Param::new("To", Kind::Text, "Only legs to this server."),
            Param::new(
                "Service",
                Kind::Text,
                "Only legs for this: imap, pop3, submission, smtp, hub, delivery…",
            ),
            Param::new("Result", Kind::Choice(RESULTS), "Only legs with this result."),
            Param::new("Session", Kind::Text, "Only legs that were taken for this session."),
            Param::new("Faults", Kind::Switch, "The latest faults, newest first."),
            FILTER,
            SERVER,
        ],
        columns: &["From", "To", "Service", "Mechanism", "Result", "Since", "Cause"],
        examples: &[
            Example { line: "Get-ServiceLeg -Result Degraded -FormatList", about: "What has to be mended." },
            Example { line: "Get-Leg -Faults", about: "What went wrong lately." },
        ],
        needs: Needs::Server,
        changes: false,
        confirm: false,
        run: |call| Box::pin(legs(call)),
    },
];

fn facts(call: &Call<'_>) -> Option<Arc<dyn ServiceFacts>> {
    call.context.world.as_ref().and_then(|world| world.facts.clone())
}

fn host(call: &Call<'_>) -> Outcome<(Host, Arc<Settings>)> {
    let context = call.context;
    let settings = match &context.world {
        Some(world) => world.settings.current(),
        None => {
            let loaded = settings::load(&context.data).map_err(|e| {
                Failure::new(
                    Category::ResourceUnavailable,
                    "settings",
                    format!("The settings cannot be read: {e}."),
                )
            })?;
            Arc::new(loaded)
        }
    };
    let facts = facts(call);
    Ok((Host::look(&context.data, &settings, roles(call), facts.as_deref()), settings))
}

/// By the directory, else by how the server joined; one that did neither has all.
fn roles(call: &Call<'_>) -> Vec<String> {
    let all = || ROLES.iter().map(|(name, _)| (*name).to_owned()).collect();
    if let Some(world) = &call.context.world {
        let now = world.directory.snapshot();
        let Some(server) = now.here().and_then(|id| now.server(id)) else { return all() };
        return ROLES
            .iter()
            .filter(|(name, _)| server.roles.has(name))
            .map(|(name, _)| (*name).to_owned())
            .collect();
    }
    let joined = std::fs::read(call.context.data.join("trust/joined.json")).unwrap_or_default();
    let joined: serde_json::Value = serde_json::from_slice(&joined).unwrap_or_default();
    match joined.get("roles") {
        Some(roles) => {
            let has = |name: &str| roles.get(name).and_then(serde_json::Value::as_bool) == Some(true);
            ROLES.iter().filter(|(name, _)| has(name)).map(|(name, _)| (*name).to_owned()).collect()
        }
        None => all(),
    }
}

async fn identities(call: &Call<'_>) -> Outcome {
    let (mut host, settings) = host(call)?;
    if let Some(role) = call.text("Role") {
        host.roles.retain(|r| r == role);
    }
    for record in host.records(&settings, call.context.clock.now()) {
        call.record(record).await;
    }
    Ok(())
}

/// What the server's user may and may not do, as Test-ServicePermission looks at it.
pub(super) fn checked(call: &Call<'_>) -> Outcome<Vec<permission::Check>> {
    let (host, settings) = host(call)?;
    let denials = facts(call).map(|f| f.denials()).unwrap_or_default();
    Ok(permission::checks(&host, &settings, permission::lowest_port(), &denials))
}

async fn permissions(call: &Call<'_>) -> Outcome {
    let (host, settings) = host(call)?;
    let denials = facts(call).map(|f| f.denials()).unwrap_or_default();
    let filter = filter(call, &["Check", "Subject", "Result", "Evidence", "Remedy", "Server", "User"])?;
    let user = crate::service::process::user_name(host.process.uid);
    let checks = permission::checks(&host, &settings, permission::lowest_port(), &denials);
    let worst = checks.iter().map(|c| c.result).max().unwrap_or(Verdict::Ok);
    for check in &checks {
        let record = check.record(&host.server, &user);
        let fits = call.text("Result").is_none_or(|wanted| wanted == check.result.name());
        if fits && filter.as_ref().is_none_or(|f| f.fits(&record)) {
            call.record(record).await;
        }
    }
    if worst == Verdict::Failed {
        let failed = checks.iter().filter(|c| c.result == Verdict::Failed).count();
        call.warn(format!("{failed} of {} checks failed; -FormatList shows what to do.", checks.len())).await;
    }
    Ok(())
}

fn filter(call: &Call<'_>, properties: &[&str]) -> Outcome<Option<Filter>> {
    let parse = |text| Filter::parse(text, properties).map_err(|e| Failure::invalid("Filter", e));
    call.text("Filter").map(parse).transpose()
}

async fn legs(call: &Call<'_>) -> Outcome {
    let facts = facts(call).ok_or_else(|| {
        Failure::new(Category::ResourceUnavailable, "server", "Only a running server knows of its legs.")
    })?;
    let states = if call.switch("Faults") { facts.faults() } else { facts.legs() };
    let filter =
        filter(call, &["From", "To", "Service", "Mechanism", "Result", "Since", "Cause", "Text", "Session"])?;
    for state in &states {
        let record = record(state);
        let is = |name: &str| call.text(name).is_none_or(|wanted| equal(&record, name, wanted));
        let fits = ["From", "To", "Service", "Result", "Session"].into_iter().all(is);
        if fits && filter.as_ref().is_none_or(|f| f.fits(&record)) {
            call.record(record).await;
        }
    }
    Ok(())
}

fn equal(record: &Record, name: &str, wanted: &str) -> bool {
    record.cell(name).is_some_and(|cell| cell.shown().eq_ignore_ascii_case(wanted))
}

fn record(state: &LegState) -> Record {
    let LegState { from, to, service, leg, finding, since, legs, well, unwell } = state;
    let (result, text) = match &leg.outcome {
        Ended::Open | Ended::Ok => ("Ok", None),
        Ended::Degraded { text, .. } => ("Degraded", Some(text.clone())),
        Ended::Failed { text, .. } => ("Failed", Some(text.clone())),
    };
    let cause = finding.as_ref().map(|f| f.cause);
    let lines = |f: fn(&waypost_base::explain::Finding) -> Vec<String>| {
        finding.as_ref().map(f).map_or(Cell::List(Vec::new()), Cell::List)
    };
    Record::new()
        .with("From", from.as_str())
        .with("To", to.as_str())
        .with("Service", service.as_str())
        .with("Mechanism", leg.mechanism.as_ref())
        .with("Result", result)
        .with("Since", *since)
        .with("Cause", cause.map(|c| c.code))
        .with("Text", text)
        .with("Meaning", cause.map(|c| c.meaning))
        .with("Evidence", lines(|f| f.evidence.iter().map(evidence).collect()))
        .with("Remedy", lines(|f| f.remedy.clone()))
        .with("Steps", leg.steps.iter().map(step).collect::<Vec<String>>())
        .with("Key", leg.key.clone())
        .with("LastLeg", leg.started)
        .with("Session", leg.correlation.map(|c| c.to_string()))
        .with("Legs", *legs)
        .with("LegsWell", *well)
        .with("LegsUnwell", *unwell)
        .with("FromRole", leg.initiator.role.as_ref())
        .with("ToRole", leg.acceptor.role.as_ref())
        .with("Reference", cause.map(|c| c.reference))
        .with("Identity", format!("{from}/{to}/{service}"))
}

fn evidence(evidence: &Evidence) -> String {
    match evidence.time {
        Some(time) => format!("{} ({time}): {}", evidence.source, evidence.fact),
        None => format!("{}: {}", evidence.source, evidence.fact),
    }
}

fn step(step: &Step) -> String {
    let note = step.note.as_ref().map(|n| format!(": {n}")).unwrap_or_default();
    format!("{} {:.1} ms{note}", step.name, step.micros as f64 / 1000.0)
}
