//! Test-Mailflow, Test-ServiceHealth, Test-ServiceAuthentication: messages, services, legs.

use super::{SERVER, explained, health, here, named};
use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Category, Failure, Outcome};
use crate::health::{Authenticated, Flown, Mailflow};
use crate::output::Record;
use crate::run::{Call, Service};
use crate::settings::Span;
use waypost_base::explain::{Confidence, Evidence, Finding};
use waypost_health::cause;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Test",
        noun: "Mailflow",
        about: "Sends a message from the health mailbox of a server and waits until it has arrived.",
        detail: "To the health mailbox of this server, of another one, of every one, or to an address. A message to an address \
                 elsewhere is well when the next server has taken it. Exit code 5 when it did not arrive in time.",
        params: &[
            Param::new("Identity", Kind::Text, "The server that sends; this one if not given.")
                .at(0)
                .alias(&["Server"]),
            Param::new("TargetMailboxServer", Kind::Text, "To the health mailbox of this server.")
                .alias(&["TargetDatabase"]),
            Param::new("TargetEmailAddress", Kind::Text, "To this address."),
            Param::new(
                "AutoDiscoverTargetMailboxServer",
                Kind::Switch,
                "To the health mailbox of every server.",
            ),
            Param::new("ErrorLatency", Kind::Int, "Seconds after which it is late."),
            Param::new("ExecutionTimeout", Kind::Int, "Seconds after which it is given up."),
            Param::new("CrossPremises", Kind::Bool, "To the cloud and back.")
                .without_effect("there is no other half"),
            Param::new("MonitoringContext", Kind::Bool, "Also for a monitoring system.")
                .without_effect("monitors are there by themselves"),
        ],
        columns: &["TestMailflowResult", "MessageLatencyTime", "IsRemoteTest", "Target", "Error", "Cause"],
        examples: &[
            Example { line: "Test-Mailflow", about: "From this server to itself." },
            Example {
                line: "Test-Mailflow mbx-1 -TargetMailboxServer mbx-2",
                about: "From one home to another.",
            },
        ],
        needs: Needs::Server,
        changes: true,
        confirm: false,
        run: |call| Box::pin(mailflow(call)),
    },
    Command {
        verb: "Test",
        noun: "ServiceHealth",
        about: "Shows whether the services that the roles of a server need are running.",
        detail: "Exit code 5 when one is not.",
        params: &[SERVER],
        columns: &["Role", "RequiredServicesRunning", "ServicesRunning", "ServicesNotRunning"],
        examples: &[Example {
            line: "Test-ServiceHealth -Server fe-1",
            about: "The services of a front end.",
        }],
        needs: Needs::Server,
        changes: false,
        confirm: false,
        run: |call| Box::pin(services(call)),
    },
    Command {
        verb: "Test",
        noun: "ServiceAuthentication",
        about: "Opens legs between two servers and shows by what they proved themselves to each other.",
        detail: "For one service or for each that the other server offers. A leg that works by the second choice of legs.policy is \
                 Degraded, with the reason. Both ends' evidence is shown. Exit code 5 when a leg cannot be opened.",
        params: &[
            Param::new("From", Kind::Text, "The server that calls; this one if not given.").at(0),
            Param::new("To", Kind::Text, "The server that is called; every other one if not given.").at(1),
            Param::new("Service", Kind::Text, "Only legs for this: imap, pop3, submission, hub, delivery…"),
        ],
        columns: &["From", "To", "Service", "Mechanism", "Result", "Milliseconds", "Cause"],
        examples: &[Example {
            line: "Test-ServiceAuthentication -From fe-1 -To mbx-1 -FormatList",
            about: "Why a front end cannot reach a home.",
        }],
        needs: Needs::Server,
        changes: false,
        confirm: false,
        run: |call| Box::pin(authentication(call)),
    },
];

async fn mailflow(call: &Call<'_>) -> Outcome {
    let health = health(call)?;
    let seconds =
        |name: &str| call.int(name).and_then(|n| u64::try_from(n).ok()).map(|n| n.saturating_mul(1000));
    let one = Mailflow {
        server: named(call, "TargetMailboxServer")?,
        address: call.text("TargetEmailAddress").map(str::to_owned),
        error_latency: seconds("ErrorLatency"),
        timeout: seconds("ExecutionTimeout"),
    };
    let mut asked = vec![one];
    if call.switch("AutoDiscoverTargetMailboxServer") {
        let now = call.directory()?.snapshot();
        let homes = now.servers().filter(|s| s.roles.mailbox && s.revoked.is_none());
        let base = asked.remove(0);
        asked.extend(homes.map(|s| Mailflow { server: Some(s.id.clone()), ..base.clone() }));
    }
    if call.only_said(|| "Sending a message and waiting for it.".into()).await {
        return Ok(());
    }
    let mut flown = Vec::new();
    for asked in &asked {
        for one in health.mailflow(asked).await? {
            call.record(flow(&one)).await;
            flown.push(one);
        }
    }
    super::failed("messages", flown.len(), flown.iter().map(|f| &f.result).filter(|r| r.failed()))
}

fn flow(one: &Flown) -> Record {
    let record = Record::new()
        .with("TestMailflowResult", if one.result.failed() { "*FAILURE*" } else { "Success" })
        .with("MessageLatencyTime", one.latency.map(Span))
        .with("IsRemoteTest", one.remote)
        .with("Target", one.target.as_str())
        .with("MessageLatencyMilliseconds", one.latency)
        .with("MessageId", one.message_id.as_str())
        .with("Error", one.result.error());
    let record = explained(record, one.result.finding.as_ref()).with("Legs", super::legs(&one.result));
    crate::commands::named::ending(record, &one.message_id)
}

/// Exchange's roles, each with the services that it needs.
const ROLES: &[(&str, &[&str])] = &[
    ("Client Access Server Role", &["imap", "pop", "api"]),
    ("Hub Transport Server Role", &["transport"]),
    ("Mailbox Server Role", &["imap", "pop", "transport"]),
];

async fn services(call: &Call<'_>) -> Outcome {
    let services = call.world()?.services.as_ref();
    let all = services.map(|s| s.all()).ok_or_else(|| {
        Failure::new(Category::ResourceUnavailable, "services", "The server is not running.")
    })?;
    let has = roles(call)?;
    let mut stopped = 0;
    for (role, needed) in ROLES.iter().filter(|(role, _)| has(role)) {
        let (running, not): (Vec<&Service>, Vec<&Service>) =
            all.iter().filter(|s| needed.contains(&s.short)).partition(|s| s.running);
        stopped += not.len();
        let names = |list: &[&Service]| list.iter().map(|s| s.name.to_owned()).collect::<Vec<_>>();
        let record = Record::new()
            .with("Role", *role)
            .with("RequiredServicesRunning", not.is_empty())
            .with("ServicesRunning", names(&running))
            .with("ServicesNotRunning", names(&not));
        call.record(explained(record, closed(&not).as_ref())).await;
    }
    if stopped == 0 {
        return Ok(());
    }
    Err(Failure::new(Category::OperationIncomplete, here(call)?, "Services that are needed are not running."))
}

fn closed(not: &[&Service]) -> Option<Finding> {
    let first = not.first()?;
    let fact = |s: &&Service| Evidence {
        source: s.name.to_owned(),
        time: None,
        fact: "it takes no connections".into(),
    };
    Some(Finding {
        cause: cause::LISTENER,
        confidence: Confidence::Certain,
        evidence: not.iter().map(fact).collect(),
        remedy: vec![format!("Start-Service {}", first.name), "Get-Service".into()],
        untested: Vec::new(),
    })
}

/// Whether this server has one of Exchange's roles; one that the directory does not know has all.
fn roles(call: &Call<'_>) -> Outcome<impl Fn(&str) -> bool> {
    let now = call.directory()?.snapshot();
    let server = now.here().and_then(|id| now.server(id)).cloned();
    Ok(move |role: &str| {
        let Some(server) = &server else { return true };
        match role {
            "Client Access Server Role" => server.roles.has("frontend"),
            "Hub Transport Server Role" => server.roles.has("transport"),
            _ => server.roles.has("mailbox"),
        }
    })
}

async fn authentication(call: &Call<'_>) -> Outcome {
    let (health, here) = (health(call)?, here(call)?);
    let to = match named(call, "To")? {
        Some(to) => vec![to],
        None => {
            let now = call.directory()?.snapshot();
            now.servers().filter(|s| s.id != here && s.revoked.is_none()).map(|s| s.id.clone()).collect()
        }
    };
    let mut all = Vec::new();
    for to in &to {
        for one in health.authenticate(to, call.text("Service")).await? {
            call.record(proof(&one)).await;
            all.push(one);
        }
    }
    super::failed("legs", all.len(), all.iter().map(|a| &a.result).filter(|r| r.failed()))
}

fn proof(one: &Authenticated) -> Record {
    let leg = one.result.legs.last();
    let result = match super::result_type(&one.result) {
        "Succeeded" => "Success",
        "Failed" => "Failure",
        other => other,
    };
    let record = Record::new()
        .with("From", one.from.as_str())
        .with("To", one.to.as_str())
        .with("Service", one.service.as_str())
        .with("Mechanism", leg.map(|l| l.mechanism.as_ref()))
        .with("Result", result)
        .with("Milliseconds", one.result.millis)
        .with("Key", leg.and_then(|l| l.key.clone()))
        .with("Error", one.result.error());
    let record = explained(record, one.result.finding.as_ref());
    let identity = format!("{}/{}/{}", one.from, one.to, one.service);
    record.with("Legs", super::legs(&one.result)).with("Identity", identity)
}
