//! Get-MessageTrackingLog, Get-MessageTrace and Get-MessageTraceDetail: what the logs say of messages.
//!
//! They read the files of the data folder, so that they work on a stopped server too, and never hold up a running one.

use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Category, Failure, Outcome};
use crate::output::Record;
use crate::run::Call;
use crate::settings::{self, Bytes, Span};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use waypost_base::Timestamp;
use waypost_tracking::trace::{self, Row, Status};
use waypost_tracking::{EventId, Filter, NetworkId, Record as Line, Source, layout, legs, search};

/// Without -ResultSize, as Exchange.
const RESULTS: usize = 1000;
/// `-ResultSize Unlimited` still has to fit into memory: a record is about a KiB.
const RESULTS_MAX: usize = 500_000;
/// Get-MessageTrace looks back this far unless told otherwise, as Exchange Online.
const TRACE_MILLIS: i64 = 48 * 3_600_000;
/// Legs of one message that a detail shows.
const LEGS_MAX: usize = 1000;

const TIMES: &str =
    "2026-03-03, 2026-03-03 08:15, 2026-03-03T08:15:20Z (UTC), or a span before now such as 2h.";

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Get",
        noun: "MessageTrackingLog",
        about: "Shows what happened to messages, event by event.",
        detail: "The newest events that fit are shown, in order of time. Event ids and sources are Exchange's: a message from \
outside that is delivered here has RECEIVE and DELIVER, one that leaves has RECEIVE and SEND, between them DEFER for each attempt \
that was put off, and FAIL with the reason in RecipientStatus where it could not be delivered. The files are kept for the time of \
log.message_tracking_log_max_age.",
        params: &[
            Param::new("MessageId", Kind::Text, "Only this Message-ID, with or without angle brackets.")
                .at(0),
            Param::new("Start", Kind::Text, TIMES),
            Param::new("End", Kind::Text, "Likewise."),
            Param::new("Sender", Kind::Text, "Only from this address; * stands for any text."),
            Param::new("Recipients", Kind::List, "Only to one of these addresses; * stands for any text."),
            Param::new(
                "EventId",
                Kind::Text,
                "Only this event: RECEIVE, DELIVER, SEND, DEFER, FAIL, EXPAND…",
            ),
            Param::new(
                "Source",
                Kind::Text,
                "Only from this source: SMTP, STOREDRIVER, ROUTING, RESOLVER, DSN…",
            ),
            Param::new("InternalMessageId", Kind::Text, "Only this queue item."),
            Param::new("NetworkMessageId", Kind::Text, "Only this message, whichever way it was split."),
            Param::new("MessageSubject", Kind::Text, "Only with this in the subject."),
            Param::new(
                "Reference",
                Kind::Text,
                "Only with this in the reference, such as the message that a report is about.",
            ),
            Param::new("ResultSize", Kind::Text, "At most so many, or Unlimited. 1000 if not given."),
            Param::new("Server", Kind::Text, "The server.").without_effect("there is one server"),
        ],
        columns: &["EventId", "Source", "Sender", "Recipients", "MessageSubject"],
        examples: &[
            Example {
                line: "Get-MessageTrackingLog -Sender amy@contoso.test -Start 2h",
                about: "The last two hours of Amy's mail.",
            },
            Example {
                line: "Get-MessageTrackingLog -EventId FAIL -Property Timestamp,Recipients,RecipientStatus",
                about: "What failed, and why.",
            },
        ],
        needs: Needs::Nothing,
        changes: false,
        confirm: false,
        run: |call| Box::pin(log(call)),
    },
    Command {
        verb: "Get",
        noun: "MessageTrace",
        about: "Shows messages with their state, one line for each recipient.",
        detail: "Status is Delivered (in a mailbox, or with the next server), Pending (waits to be tried again), Failed, Expanded \
(a group, or forwarded), FilteredAsSpam, Quarantined, or GettingStatus where the log tells nothing yet: it may wait for a server that \
cannot be reached, which Get-Message shows.",
        params: &[
            Param::new("MessageId", Kind::Text, "Only this Message-ID.").at(0),
            Param::new("MessageTraceId", Kind::Text, "Only the message with this id."),
            Param::new("SenderAddress", Kind::Text, "Only from this address; * stands for any text.")
                .alias(&["Sender"]),
            Param::new("RecipientAddress", Kind::List, "Only to one of these; * stands for any text.")
                .alias(&["Recipient"]),
            Param::new(
                "StartDate",
                Kind::Text,
                "48 hours ago if not given. 2026-03-03, 2026-03-03T08:15:20Z, 2h…",
            )
            .alias(&["Start"]),
            Param::new("EndDate", Kind::Text, "Now if not given.").alias(&["End"]),
            Param::new("Subject", Kind::Text, "Only with this in the subject."),
            Param::new("Status", Kind::Choice(Status::ALL), "Only in this state."),
            Param::new("FromIP", Kind::Text, "Only from this address of a client or server."),
            Param::new("ToIP", Kind::Text, "Only what this server took."),
            Param::new("ResultSize", Kind::Text, "At most so many, or Unlimited. 1000 if not given."),
        ],
        columns: &["Received", "SenderAddress", "RecipientAddress", "Subject", "Status"],
        examples: &[Example {
            line: "Get-MessageTrace -RecipientAddress bob@contoso.test",
            about: "Bob's mail of the last two days.",
        }],
        needs: Needs::Nothing,
        changes: false,
        confirm: false,
        run: |call| Box::pin(trace_rows(call)),
    },
    Command {
        verb: "Get",
        noun: "MessageTraceDetail",
        about: "Shows the events of a message and each hop between two parties with its result.",
        detail: "`waypost why MESSAGE-ID` tells the same as a story.",
        params: &[
            Param::new("MessageId", Kind::Text, "Which message.").at(0),
            Param::new("MessageTraceId", Kind::Text, "Which message, by the id that Get-MessageTrace shows."),
            Param::new("RecipientAddress", Kind::Text, "Only what is about this recipient, and about all."),
        ],
        columns: &["Date", "Event", "Action", "Detail"],
        examples: &[Example {
            line: "Get-MessageTraceDetail '<q3@contoso.test>'",
            about: "Everything that the logs have.",
        }],
        needs: Needs::Nothing,
        changes: false,
        confirm: false,
        run: |call| Box::pin(detail(call)),
    },
];

/// Where the tracking log and the legs are, by the settings of the data folder.
pub(super) fn folders(call: &Call<'_>) -> Outcome<(PathBuf, PathBuf)> {
    folders_of(&call.context.data)
}

pub(super) fn folders_of(data: &Path) -> Outcome<(PathBuf, PathBuf)> {
    let unusable = |e: settings::SettingsError| Failure::new(Category::ReadError, data.display(), e);
    let log = settings::load(data).map_err(unusable)?.log;
    Ok((data.join(log.message_tracking_log_path), data.join(log.leg_log_path)))
}

/// Reads files where that may take its time.
pub(super) async fn reading<T: Send + 'static>(
    read: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Outcome<T> {
    let failed = |e: &dyn std::fmt::Display| {
        let text = format!(
            "The logs cannot be read: {e}. They belong to the server's user: run this as that user or root."
        );
        Failure::new(Category::ReadError, "logs", text)
    };
    match tokio::task::spawn_blocking(read).await {
        Ok(outcome) => outcome.map_err(|e| failed(&e)),
        Err(e) => Err(failed(&e)),
    }
}

async fn log(call: &Call<'_>) -> Outcome {
    let (folder, _) = folders(call)?;
    let max = result_size(call)?;
    let filter = Filter {
        start: time(call, "Start")?,
        end: time(call, "End")?,
        sender: owned(call, "Sender"),
        recipients: call.list("Recipients").unwrap_or_default().to_vec(),
        event_id: named::<EventId>(call, "EventId")?,
        source: named::<Source>(call, "Source")?,
        message_id: owned(call, "MessageId"),
        about: None,
        internal_message_id: item(call)?,
        network_message_id: owned(call, "NetworkMessageId"),
        subject: owned(call, "MessageSubject"),
        reference: owned(call, "Reference"),
    };
    let found = reading(move || search::newest(&folder, &filter, max)).await?;
    for line in found.records {
        if call.sink.is_closed() {
            return Ok(());
        }
        call.record(shown(line)).await;
    }
    if found.more {
        call.warn(more(max)).await;
    }
    Ok(())
}

fn more(max: usize) -> String {
    format!(
        "There are more than {max}: these are the newest. -ResultSize Unlimited shows all, -Start and -End a part."
    )
}

/// Exchange's properties, in its order.
fn shown(line: Line) -> Record {
    let ip = |ip: Option<IpAddr>| ip.map(|ip| ip.to_string());
    Record::new()
        .with("Timestamp", line.time)
        .with("ClientIp", ip(line.client_ip))
        .with("ClientHostname", line.client_hostname)
        .with("ServerIp", ip(line.server_ip))
        .with("ServerHostname", line.server_hostname)
        .with("SourceContext", line.source_context)
        .with("ConnectorId", line.connector_id)
        .with("Source", line.source)
        .with("EventId", line.event_id)
        .with("InternalMessageId", line.internal_message_id)
        .with("MessageId", line.message_id)
        .with("NetworkMessageId", line.network_message_id)
        .with("Recipients", line.recipients)
        .with("RecipientStatus", line.recipient_status)
        .with("TotalBytes", line.total_bytes)
        .with("RecipientCount", line.recipient_count)
        .with("RelatedRecipientAddress", line.related_recipient_address)
        .with("Reference", line.reference)
        .with("MessageSubject", line.message_subject)
        .with("Sender", line.sender)
        .with("ReturnPath", line.return_path)
        .with("Directionality", line.directionality)
        .with("TenantId", line.tenant_id)
        .with("OriginalClientIp", ip(line.original_client_ip))
        .with("MessageInfo", line.message_info)
        .with("EventData", line.custom_data)
        .with("TransportTrafficType", line.transport_traffic_type)
        .with("SchemaVersion", line.schema_version)
}

async fn trace_rows(call: &Call<'_>) -> Outcome {
    let (folder, _) = folders(call)?;
    let max = result_size(call)?;
    let now = call.context.clock.now();
    let filter = Filter {
        start: Some(time(call, "StartDate")?.unwrap_or(now.plus_millis(-TRACE_MILLIS))),
        end: time(call, "EndDate")?,
        sender: owned(call, "SenderAddress"),
        recipients: call.list("RecipientAddress").unwrap_or_default().to_vec(),
        message_id: owned(call, "MessageId"),
        network_message_id: owned(call, "MessageTraceId"),
        subject: owned(call, "Subject"),
        ..Filter::default()
    };
    let wanted = trace::Wanted {
        filter,
        status: owned(call, "Status"),
        from_ip: ip(call, "FromIP")?,
        to_ip: ip(call, "ToIP")?,
    };
    let (rows, cut) = reading(move || trace::rows(&folder, &wanted, max)).await?;
    for row in rows {
        if call.sink.is_closed() {
            return Ok(());
        }
        call.record(row_shown(row)).await;
    }
    if cut {
        call.warn(more(max)).await;
    }
    Ok(())
}

fn row_shown(row: Row) -> Record {
    Record::new()
        .with("Received", row.received)
        .with("SenderAddress", row.sender)
        .with("RecipientAddress", row.recipient)
        .with("Subject", row.subject)
        .with("Status", row.status.name())
        .with("FromIP", row.from_ip.map(|ip| ip.to_string()))
        .with("ToIP", row.to_ip.map(|ip| ip.to_string()))
        .with("Size", Bytes(row.size))
        .with("MessageId", row.message_id)
        .with("MessageTraceId", row.trace_id)
        .with("InternalMessageId", row.item)
}

async fn detail(call: &Call<'_>) -> Outcome {
    let (folder, leg_folder) = folders(call)?;
    let (id, trace_id) = (owned(call, "MessageId"), owned(call, "MessageTraceId"));
    if id.is_none() && trace_id.is_none() {
        return Err(Failure::usage("MessageId", "-MessageId or -MessageTraceId says which message."));
    }
    let filter = Filter { message_id: id.clone(), network_message_id: trace_id, ..Filter::default() };
    let found = reading(move || search::newest(&folder, &filter, RESULTS_MAX)).await?;
    let mut ids: Vec<String> = found.records.iter().map(|r| search::bare(&r.message_id).to_owned()).collect();
    ids.extend(id.as_deref().map(|id| search::bare(id).to_owned()));
    ids.sort();
    ids.dedup();
    ids.retain(|id| !id.is_empty());
    let wanted = legs::Wanted { message_ids: ids.clone(), ..legs::Wanted::default() };
    let legs = match ids.is_empty() {
        true => Vec::new(),
        false => reading(move || legs::find(&leg_folder, &wanted, LEGS_MAX)).await?,
    };
    if found.records.is_empty() && legs.is_empty() {
        let name = id.or(owned(call, "MessageTraceId")).unwrap_or_default();
        return Err(Failure::not_found("message", name));
    }
    let about = call.text("RecipientAddress");
    let concerns = |line: &Line| {
        about.is_none_or(|to| {
            line.recipients.is_empty() || line.recipients.iter().any(|r| search::matches(to, r))
        })
    };
    let mut rows: Vec<(Timestamp, Record)> =
        found.records.iter().filter(|line| concerns(line)).map(|line| (line.time, event_row(line))).collect();
    rows.extend(legs.iter().map(|leg| (leg.leg.started, leg_row(leg))));
    rows.sort_by_key(|(time, _)| *time);
    for (_, row) in rows {
        call.record(row).await;
    }
    Ok(())
}

fn event_row(line: &Line) -> Record {
    let trace = match line.network_message_id.as_str() {
        "" => NetworkId::of(line.internal_message_id).to_string(),
        id => id.to_owned(),
    };
    let mut detail: Vec<String> = Vec::new();
    for recipient in line.each_recipient().take(20) {
        let said =
            if recipient.status.is_empty() { String::new() } else { format!(" ({})", recipient.status) };
        detail.push(format!("{}{said}", recipient.address));
    }
    if line.recipients.len() > 20 {
        detail.push(format!("and {} others", line.recipients.len() - 20));
    }
    let mut detail = detail.join("; ");
    for (what, text) in [
        (" for ", &line.related_recipient_address),
        (" server ", &line.server_hostname),
        (" connector ", &line.connector_id),
        (" context ", &line.source_context),
        (" info ", &line.message_info),
        (" reference ", &line.reference),
    ] {
        if !text.is_empty() {
            detail.push_str(&format!("{what}{text}"));
        }
    }
    Record::new()
        .with("Date", line.time)
        .with("Event", line.event_id.as_str())
        .with("Action", line.source.as_str())
        .with("Detail", detail.trim())
        .with("Data", line.custom_data.as_str())
        .with("MessageId", line.message_id.as_str())
        .with("MessageTraceId", trace)
        .with("Steps", Vec::<String>::new())
}

fn leg_row(leg: &legs::PastLeg) -> Record {
    let steps = leg.leg.steps.iter().map(|step| {
        let note = step.note.as_deref().map(|note| format!(": {note}")).unwrap_or_default();
        format!("{} {:.1} ms{note}", step.name, step.micros as f64 / 1000.0)
    });
    Record::new()
        .with("Date", leg.leg.started)
        .with("Event", "Leg")
        .with("Action", leg.leg.outcome.result.as_str())
        .with("Detail", leg.shown())
        .with("Data", leg.leg.correlation.clone().unwrap_or_default())
        .with("MessageId", format!("<{}>", leg.message_id))
        .with("MessageTraceId", String::new())
        .with("Steps", steps.collect::<Vec<_>>())
}

fn owned(call: &Call<'_>, name: &str) -> Option<String> {
    call.text(name).map(str::to_owned)
}

fn result_size(call: &Call<'_>) -> Outcome<usize> {
    match call.text("ResultSize") {
        None => Ok(RESULTS),
        Some(text) if text.eq_ignore_ascii_case("unlimited") => Ok(RESULTS_MAX),
        Some(text) => match text.parse::<usize>() {
            Ok(n) if (1..=RESULTS_MAX).contains(&n) => Ok(n),
            _ => Err(Failure::invalid(
                "ResultSize",
                format!("{text:?} is not a number of 1 to {RESULTS_MAX}."),
            )),
        },
    }
}

fn item(call: &Call<'_>) -> Outcome<Option<u64>> {
    let Some(text) = call.text("InternalMessageId") else { return Ok(None) };
    // Get-Message shows items as QUEUE\NUMBER.
    let number = text.rsplit('\\').next().unwrap_or(text);
    let parsed = number.parse().map(Some);
    parsed.map_err(|_| Failure::invalid("InternalMessageId", format!("{text:?} is not a number.")))
}

fn named<T: std::str::FromStr<Err = String> + std::fmt::Display>(
    call: &Call<'_>,
    name: &str,
) -> Outcome<Option<String>> {
    let Some(text) = call.text(name) else { return Ok(None) };
    match text.parse::<T>() {
        Ok(value) => Ok(Some(value.to_string())),
        Err(known) => Err(Failure::invalid(name, format!("{text:?} is none of {known}."))),
    }
}

fn ip(call: &Call<'_>, name: &str) -> Outcome<Option<IpAddr>> {
    let Some(text) = call.text(name) else { return Ok(None) };
    let parsed = text.parse().map(Some);
    parsed.map_err(|_| Failure::invalid(name, format!("{text:?} is not an IP address.")))
}

fn time(call: &Call<'_>, name: &str) -> Outcome<Option<Timestamp>> {
    let Some(text) = call.text(name) else { return Ok(None) };
    let read = parse_time(text, call.context.clock.now());
    read.map(Some).ok_or_else(|| Failure::invalid(name, format!("{text:?} is no time. Write {TIMES}")))
}

fn parse_time(text: &str, now: Timestamp) -> Option<Timestamp> {
    let text = text.trim();
    let whole = layout::parse_time(text);
    let with_minutes = || layout::parse_time(&format!("{}:00", text.trim_end_matches('Z')));
    let with_day = || layout::parse_time(&format!("{text}T00:00:00"));
    let before_now = || {
        let millis = i64::try_from(Span::parse(text.strip_suffix("ago").unwrap_or(text).trim())?.0).ok()?;
        Some(now.plus_millis(millis.checked_neg()?))
    };
    whole.or_else(with_minutes).or_else(with_day).or_else(before_now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_write_them() {
        let now = Timestamp(1_772_525_720_000);
        for (text, shown) in [
            ("2026-03-03", "2026-03-03T00:00:00.000Z"),
            ("2026-03-03 08:15", "2026-03-03T08:15:00.000Z"),
            ("2026-03-03T08:15:20Z", "2026-03-03T08:15:20.000Z"),
            ("2026-03-03T08:15Z", "2026-03-03T08:15:00.000Z"),
            ("2h", "2026-03-03T06:15:20.000Z"),
            ("02:00:00", "2026-03-03T06:15:20.000Z"),
            ("30m ago", "2026-03-03T07:45:20.000Z"),
        ] {
            assert_eq!(parse_time(text, now).map(|t| t.to_string()).as_deref(), Some(shown), "{text}");
        }
        assert_eq!(parse_time("yesterday", now), None);
    }
}
