//! Get- and Set-TransportConfig and -TransportService (in older scripts -TransportServer), Get-TransportPressure.

use super::property::{apply, cell, changes, current, snake};
use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Category, Failure, Outcome};
use crate::output::Record;
use crate::run::Call;
use crate::settings::{RollOver, Settings};

const CONFIG: &[Param] = &[
    Param::new("MaxSendSize", Kind::Quota, "Largest message that one of our users sends."),
    Param::new("MaxReceiveSize", Kind::Quota, "Largest message that one of our recipients receives."),
    Param::new(
        "MaxRecipientEnvelopeLimit",
        Kind::Int,
        "Recipients of one message of our users; 0 leaves it to the settings of SMTP.",
    ),
    Param::new(
        "ExternalPostmasterAddress",
        Kind::Text,
        "Who delivery reports are from; $null is postmaster of the default domain.",
    ),
    Param::new("AnyHeaderFrom", Kind::Bool, "Users may write any address into From."),
    Param::new(
        "RefuseOwnSendersFromOutside",
        Kind::Bool,
        "Refuse strangers whose MAIL FROM is in a domain of ours.",
    ),
    Param::new(
        "TagIsFolder",
        Kind::Bool,
        "Mail for user+tag goes to the folder of that name, where there is one.",
    ),
    Param::new("Identity", Kind::Text, "Kept for scripts: there is one organisation.").at(0),
];

const SERVICE: &[Param] = &[
    Param::new(
        "MessageExpirationTimeout",
        Kind::Span,
        "A message that could not be brought on for so long is returned.",
    ),
    Param::new("DelayNotificationTimeout", Kind::Span, "Its sender is told after this that it is late."),
    Param::new(
        "MessageRetryInterval",
        Kind::Span,
        "A message that its receiver put off is tried again after this.",
    ),
    Param::new("MailboxDeliveryQueueRetryInterval", Kind::Span, "The same for a mailbox of this server."),
    Param::new("QueueGlitchRetryCount", Kind::Int, "First tries of a destination that could not be reached."),
    Param::new("QueueGlitchRetryInterval", Kind::Span, "Between these."),
    Param::new("TransientFailureRetryCount", Kind::Int, "Tries that follow them."),
    Param::new("TransientFailureRetryInterval", Kind::Span, "Between these."),
    Param::new("OutboundConnectionFailureRetryInterval", Kind::Span, "Between all tries after these."),
    Param::new("MaxOutboundConnections", Kind::Int, "Connections to other servers at a time."),
    Param::new("MaxPerDomainOutboundConnections", Kind::Int, "Connections to one destination at a time."),
    Param::new(
        "PipelineTracingEnabled",
        Kind::Bool,
        "Keep a copy of each message of one sender at each stage.",
    ),
    Param::new("PipelineTracingSenderAddress", Kind::Text, "Whose; <> is mail without a sender."),
    Param::new("PipelineTracingPath", Kind::Text, "Where; relative to the data folder."),
    Param::new("PipelineTracingUntil", Kind::Text, "When it ends by itself, such as 2026-03-03T18:00:00Z."),
    Param::new("ConnectivityLogEnabled", Kind::Bool, "Write the connectivity log."),
    Param::new("ConnectivityLogPath", Kind::Text, "Where; relative to the data folder."),
    Param::new("SendProtocolLogPath", Kind::Text, "Where the SMTP send protocol log is."),
    Param::new("ReceiveProtocolLogPath", Kind::Text, "Where the SMTP receive protocol log is."),
    Param::new(
        "ReceiveProtocolLogRollOver",
        Kind::Choice(RollOver::NAMES),
        "When a new file of it is begun.",
    ),
    Param::new(
        "ReceiveProtocolLogMaxAge",
        Kind::Span,
        "Older files of it, of the send log and of the connectivity log go.",
    )
    .alias(&["SendProtocolLogMaxAge", "ConnectivityLogMaxAge"]),
    Param::new(
        "ReceiveProtocolLogMaxDirectorySize",
        Kind::Size,
        "The oldest files of each protocol log go beyond this.",
    )
    .alias(&["SendProtocolLogMaxDirectorySize", "ConnectivityLogMaxDirectorySize"]),
    Param::new("MessageTrackingLogMaxFileSize", Kind::Size, "A larger file is continued in the next."),
    Param::new("MessageTrackingLogEnabled", Kind::Bool, "Write the message tracking log."),
    Param::new("MessageTrackingLogSubjectLoggingEnabled", Kind::Bool, "Subjects are written into it."),
    Param::new("MessageTrackingLogPath", Kind::Text, "Where; relative to the data folder."),
    Param::new("MessageTrackingLogMaxAge", Kind::Span, "Older files go."),
    Param::new("MessageTrackingLogMaxDirectorySize", Kind::Size, "The oldest files go beyond this."),
    Param::new("ExternalDNSServers", Kind::Edit, "Name servers to ask; $null is the system's.")
        .alias(&["InternalDNSServers"]),
    Param::new("Identity", Kind::Text, "This server; others cannot be reached from here.")
        .at(0)
        .alias(&["Server"]),
];
const GET_CONFIG: &[Param] = &[Param::new("Identity", Kind::Text, "Kept for scripts.").at(0)];
const GET_SERVICE: &[Param] =
    &[Param::new("Identity", Kind::Text, "This server; others cannot be reached from here.")
        .at(0)
        .alias(&["Server"])];
const CONFIG_COLUMNS: &[&str] =
    &["MaxSendSize", "MaxReceiveSize", "MaxRecipientEnvelopeLimit", "ExternalPostmasterAddress"];
const SERVICE_COLUMNS: &[&str] =
    &["Name", "MessageExpirationTimeout", "DelayNotificationTimeout", "MaxOutboundConnections"];

macro_rules! service_commands {
    ($($noun:literal, $about:literal, $set:literal;)*) => { [$(
        Command {
            verb: "Get",
            noun: $noun,
            about: $about,
            detail: "",
            params: GET_SERVICE,
            columns: SERVICE_COLUMNS,
            examples: &[],
            needs: Needs::Store,
            changes: false,
            confirm: false,
            run: |call| Box::pin(get_service(call)),
        },
        Command {
            verb: "Set",
            noun: $noun,
            about: $set,
            detail: "Retry intervals and limits take effect at once; where logs are kept when the server is started again.",
            params: SERVICE,
            columns: &[],
            examples: &[Example {
                line: concat!("Set-", $noun, " -MessageExpirationTimeout 5.00:00:00"),
                about: "Five days before a message is returned.",
            }],
            needs: Needs::Store,
            changes: true,
            confirm: false,
            run: |call| Box::pin(set_service(call)),
        },
    )*] };
}

static SERVICES: [Command; 4] = service_commands! {
    "TransportService", "Shows how this server brings mail on: retries, limits, logs.", "Changes how this server brings mail on.";
    "TransportServer", "The same as Get-TransportService, for older scripts.", "The same as Set-TransportService, for older scripts.";
};
pub(super) static SERVICE_COMMANDS: &[Command] = &SERVICES;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Get",
        noun: "TransportConfig",
        about: "Shows what holds for all mail of the organisation.",
        detail: "",
        params: GET_CONFIG,
        columns: CONFIG_COLUMNS,
        examples: &[],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(get_config(call)),
    },
    Command {
        verb: "Set",
        noun: "TransportConfig",
        about: "Changes what holds for all mail of the organisation.",
        detail: "",
        params: CONFIG,
        columns: &[],
        examples: &[Example { line: "Set-TransportConfig -MaxSendSize 25MB", about: "A limit." }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(set_config(call)),
    },
    Command {
        verb: "Get",
        noun: "TransportPressure",
        about: "Shows how full disk, memory and queues are, and whether mail is refused for it.",
        detail: "Exchange: Get-ExchangeDiagnosticInfo -Process EdgeTransport -Component ResourceThrottling. From Medium on mail \
                 from outside is refused (452 4.3.1), from High on all mail is. The thresholds are settings: \
                 Get-WaypostSetting 'back_pressure.*'.",
        params: &[],
        columns: &["Resource", "Pressure", "CurrentResourceUse", "LowToMedium", "MediumToHigh"],
        examples: &[],
        needs: Needs::Server,
        changes: false,
        confirm: false,
        run: |call| Box::pin(pressure(call)),
    },
];

/// Where a property lives; `None` for -Identity.
fn key(property: &str) -> Option<String> {
    Some(match property {
        "Identity" => return None,
        "ExternalDNSServers" => "dns.servers".into(),
        "ReceiveProtocolLogPath" => "smtp.log_file_location".into(),
        "ReceiveProtocolLogRollOver" => "smtp.log_file_roll_over_settings".into(),
        "ReceiveProtocolLogMaxAge" => "log.protocol_log_max_age".into(),
        "ReceiveProtocolLogMaxDirectorySize" => "log.directory_size_max".into(),
        _ if property.contains("Log") => format!("log.{}", snake(property)),
        _ => format!("transport.{}", snake(property)),
    })
}

fn record(settings: &Settings, mut record: Record, params: &[Param]) -> Record {
    for param in params {
        let value = key(param.name).and_then(|key| current(settings, &key));
        let Some(value) = value else { continue };
        record = record.with(param.name, cell(param.kind, &value));
    }
    record
}

async fn get_config(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    let record = record(&settings, Record::new().with("Name", "Transport Settings"), CONFIG);
    call.record(super::named::ending(record, "Transport Settings")).await;
    Ok(())
}

async fn set_config(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    let edits = changes(call, &settings, key)?;
    apply(call, edits).await
}

fn this_server(call: &Call<'_>, settings: &Settings) -> Outcome {
    match call.text("Identity") {
        Some(name) if !super::property::is_us(settings, name) => Err(Failure::not_found("server", name)),
        _ => Ok(()),
    }
}

async fn get_service(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    this_server(call, &settings)?;
    let id = settings.server.id.as_str();
    let record = record(&settings, Record::new().with("Name", id), SERVICE);
    let record = record.with("HubTransportState", settings.transport.hub_transport_state.name());
    call.record(super::named::ending(record, id)).await;
    Ok(())
}

async fn set_service(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    this_server(call, &settings)?;
    let edits = changes(call, &settings, key)?;
    let restart = edits.iter().any(|e| e.key.ends_with("_path") || e.key == "smtp.log_file_location");
    let lasting = edits.iter().any(|e| e.key == "transport.pipeline_tracing_enabled")
        && call.flag("PipelineTracingEnabled") == Some(true)
        && call.value("PipelineTracingUntil").is_none()
        && settings.transport.pipeline_tracing_until.is_empty();
    apply(call, edits).await?;
    if restart && !call.invocation.what_if {
        call.warn("Where logs are kept takes effect when the server is started again.").await;
    }
    if lasting {
        call.warn("Pipeline tracing keeps copies of mail until you switch it off; -PipelineTracingUntil ends it by itself.")
            .await;
    }
    Ok(())
}

async fn pressure(call: &Call<'_>) -> Outcome {
    let world = call.world()?;
    let hub = world.hub.as_ref().ok_or_else(|| {
        Failure::new(Category::ResourceUnavailable, "server", "Only a running server measures its resources.")
    })?;
    for resource in hub.pressure() {
        let record = Record::new()
            .with("Resource", resource.resource.to_string())
            .with("Pressure", resource.level.to_string())
            .with("CurrentResourceUse", resource.current)
            .with("PreviousResourceUse", resource.previous)
            .with("PressureTransitions", resource.transitions)
            .with("LowToMedium", resource.marks.normal_to_medium)
            .with("MediumToHigh", resource.marks.medium_to_high)
            .with("HighToMedium", resource.marks.high_to_medium)
            .with("MediumToLow", resource.marks.medium_to_normal);
        call.record(record).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_property_is_a_setting() {
        let settings = Settings::default();
        for param in CONFIG.iter().chain(SERVICE).filter(|p| p.name != "Identity") {
            let key = key(param.name).unwrap();
            assert!(current(&settings, &key).is_some(), "{key}");
        }
        // Every setting of the section can be changed by one of the two, or by Set-ServerComponentState.
        for field in Settings::fields().iter().filter(|f| f.section == "transport") {
            let mut keys = CONFIG.iter().chain(SERVICE).filter_map(|p| key(p.name));
            let state = field.name == "hub_transport_state";
            assert!(state || keys.any(|k| k == field.key()), "{}", field.name);
        }
    }
}
