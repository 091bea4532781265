//! Get-, Suspend-, Resume- and Retry-Queue, Get-QueueDigest.

use super::mailbox::result_size;
use super::property::is_us;
use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Category, Failure, Outcome};
use crate::filter::Filter;
use crate::output::{Cell, Record};
use crate::run::Call;
use crate::settings::Settings;
use std::collections::BTreeMap;
use std::sync::Arc;
use waypost_queue::{NextHop, Queue, QueueInfo, QueueStatus};

/// Properties of a queue, for -Filter and -SortOrder; a test holds them against the records.
const PROPERTIES: &[&str] = &[
    "Identity",
    "DeliveryType",
    "Status",
    "MessageCount",
    "Velocity",
    "NextHopDomain",
    "NextHopCategory",
    "NextHopConnector",
    "LastError",
    "FirstRetryTime",
    "LastRetryTime",
    "NextRetryTime",
    "RetryCount",
    "DeferredMessageCount",
    "LockedMessageCount",
    "SuspendedMessageCount",
    "MessageCountsPerPriority",
    "PriorityDescriptions",
    "IncomingRate",
    "OutgoingRate",
    "ActiveConnections",
    "OldestMessage",
];

const IDENTITY: Param = Param::new(
    "Identity",
    Kind::Text,
    "A queue as Get-Queue shows it, with or without the server's name before it, or its next hop; * stands for any text.",
)
.at(0);
const FILTER: Param = Param::new(
    "Filter",
    Kind::Text,
    "Only those that fit, such as {Status -eq \"Retry\"} or {MessageCount -gt 10 -and NextHopDomain -like \"*.net\"}.",
);
const SERVER: Param = Param::new("Server", Kind::Text, "This server; others cannot be reached from here.");
const RESULT_SIZE: Param =
    Param::new("ResultSize", Kind::Text, "At most so many, or Unlimited. 1000 if not given.");

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Get",
        noun: "Queue",
        about: "Shows where messages wait, and why.",
        detail: "There is a queue for the mailboxes of this server, one for those of each other server, one for all hubs together \
                 on a server that is none, one for each domain that is reached by MX, one for each \
                 connector with smart hosts, and Unreachable for what no connector takes. Poison holds messages that are \
                 damaged or broke the server; it never empties itself.",
        params: &[
            IDENTITY,
            FILTER,
            Param::new("Include", Kind::List, "Only these: Internal, External, Empty, or delivery types."),
            Param::new("Exclude", Kind::List, "All but these."),
            Param::new(
                "SortOrder",
                Kind::List,
                "Properties with + or - before them: +NextHopDomain,-MessageCount.",
            ),
            RESULT_SIZE,
            SERVER,
        ],
        columns: &[
            "Identity",
            "DeliveryType",
            "Status",
            "MessageCount",
            "Velocity",
            "NextHopDomain",
            "LastError",
        ],
        examples: &[
            Example { line: "Get-Queue -Filter '{MessageCount -gt 0}'", about: "Where anything waits." },
            Example {
                line: "Get-Queue sink -FormatList",
                about: "All about one queue, with LastError and NextRetryTime.",
            },
        ],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(get(call)),
    },
    Command {
        verb: "Suspend",
        noun: "Queue",
        about: "Holds a queue: its messages stay until Resume-Queue, also over a restart.",
        detail: "What is being sent at this moment is sent.",
        params: &[IDENTITY, FILTER, SERVER],
        columns: &[],
        examples: &[Example {
            line: "Suspend-Queue sink -Confirm:$false",
            about: "Nothing goes there for now.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: true,
        run: |call| Box::pin(suspend(call)),
    },
    Command {
        verb: "Resume",
        noun: "Queue",
        about: "Lets a suspended queue go on.",
        detail: "",
        params: &[IDENTITY, FILTER, SERVER],
        columns: &[],
        examples: &[],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(resume(call)),
    },
    Command {
        verb: "Retry",
        noun: "Queue",
        about: "Tries a queue now rather than at its next time.",
        detail: "For the poison queue -Resubmit is needed: it lets every message there have another try.",
        params: &[
            IDENTITY,
            FILTER,
            SERVER,
            Param::new(
                "Resubmit",
                Kind::Bool,
                "Let the messages find their way anew. Routes always are looked up anew, so it \
                makes a difference for the poison queue only.",
            ),
        ],
        columns: &[],
        examples: &[Example {
            line: "Retry-Queue -Filter '{Status -eq \"Retry\"}'",
            about: "Everything that waits for its next attempt.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(retry(call)),
    },
    Command {
        verb: "Get",
        noun: "QueueDigest",
        about: "Sums queues up.",
        detail: "",
        params: &[
            Param::new("GroupBy", Kind::Choice(GROUPS), "By what. NextHopDomain if not given."),
            Param::new(
                "DetailsLevel",
                Kind::Choice(&["None", "Normal", "Verbose"]),
                "Normal names the queues of each group.",
            ),
            FILTER,
            RESULT_SIZE,
            SERVER,
            Param::new("Forest", Kind::Switch, "Kept for scripts.").without_effect("there is one server"),
            Param::new("Dag", Kind::Text, "Kept for scripts.").without_effect("there is one server"),
            Param::new("Site", Kind::Text, "Kept for scripts.").without_effect("there is one server"),
        ],
        columns: &["GroupByValue", "MessageCount", "DeferredMessageCount", "LockedMessageCount", "Details"],
        examples: &[Example { line: "Get-QueueDigest -GroupBy LastError", about: "What goes wrong most." }],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(digest(call)),
    },
];

const GROUPS: &[&str] = &[
    "NextHopDomain",
    "NextHopCategory",
    "NextHopConnector",
    "DeliveryType",
    "Status",
    "LastError",
    "ServerName",
];

/// Exchange's words for where a queue leads.
const fn delivery_type(hop: &NextHop) -> &'static str {
    match hop {
        NextHop::Mailbox => "SmtpDeliveryToMailbox",
        NextHop::Connector { domain: Some(_), .. } => "DnsConnectorDelivery",
        NextHop::Connector { domain: None, .. } => "SmartHostConnectorDelivery",
        NextHop::Server { .. } | NextHop::Hub => "SmtpRelayToServers",
        NextHop::Home(_) => "SmtpDeliveryToMailbox",
        NextHop::Unreachable => "Unreachable",
        NextHop::Poison => "Undefined",
    }
}

/// Domain, connector, and whether it leaves the organisation.
fn names(hop: &NextHop, settings: &Settings) -> (String, String, &'static str) {
    match hop {
        NextHop::Mailbox => (settings.server.id.clone(), String::new(), "Internal"),
        NextHop::Connector { connector, domain } => {
            let hosts = || {
                let known = settings.send_connectors.get(connector);
                let hosts = known.map(|c| c.smart_hosts.iter().map(ToString::to_string).collect::<Vec<_>>());
                hosts.filter(|h| !h.is_empty()).map_or_else(|| connector.clone(), |h| h.join(","))
            };
            (domain.clone().unwrap_or_else(hosts), connector.clone(), "External")
        }
        NextHop::Server { host, port } => (format!("{host}:{port}"), String::new(), "Internal"),
        NextHop::Home(server) => (server.clone(), String::new(), "Internal"),
        NextHop::Hub => ("hubs".into(), String::new(), "Internal"),
        NextHop::Unreachable => ("Unreachable Domain".into(), String::new(), "External"),
        NextHop::Poison => ("Poison Message".into(), String::new(), "Internal"),
    }
}

/// `server-1\sink`
pub(super) fn identity(settings: &Settings, queue: &str) -> String {
    format!("{}\\{queue}", settings.server.id)
}

/// Two digits behind the point, as Exchange has it.
fn rate(rate: f64) -> Cell {
    let rounded = (rate * 100.0).round() / 100.0;
    let whole = rounded == rounded.trunc();
    Cell::Tree(if whole { (rounded as i64).into() } else { rounded.into() })
}

fn record(info: &QueueInfo, settings: &Settings) -> Record {
    let (domain, connector, category) = names(&info.next_hop, settings);
    let [high, normal, low] = info.count_per_priority;
    let status = if info.next_hop == NextHop::Unreachable && info.status != QueueStatus::Suspended {
        // Nothing is tried there, so there is no next time either.
        "Ready".to_owned()
    } else {
        format!("{:?}", info.status)
    };
    Record::new()
        .with("Identity", identity(settings, &info.identity))
        .with("DeliveryType", delivery_type(&info.next_hop))
        .with("Status", status)
        .with("MessageCount", info.message_count)
        .with("Velocity", rate(info.velocity()))
        .with("NextHopDomain", domain)
        .with("NextHopCategory", category)
        .with("NextHopConnector", connector)
        .with("LastError", info.last_error.as_ref().map(ToString::to_string))
        .with("FirstRetryTime", info.first_retry)
        .with("LastRetryTime", info.last_retry)
        .with("NextRetryTime", info.next_retry)
        .with("RetryCount", info.retry_count)
        .with("DeferredMessageCount", info.deferred_count)
        .with("LockedMessageCount", info.locked_count)
        .with("SuspendedMessageCount", info.suspended_count)
        .with("MessageCountsPerPriority", vec![high.to_string(), normal.to_string(), low.to_string()])
        .with("PriorityDescriptions", vec!["High".to_owned(), "Normal".to_owned(), "Low".to_owned()])
        .with("IncomingRate", rate(info.incoming_rate))
        .with("OutgoingRate", rate(info.outgoing_rate))
        .with("ActiveConnections", info.connections)
        .with("OldestMessage", info.oldest)
}

/// Without the server's name before it.
pub(super) fn bare<'a>(text: &'a str, settings: &Settings) -> Outcome<&'a str> {
    match text.split_once('\\') {
        Some((server, rest)) if is_us(settings, server) => Ok(rest),
        Some((server, _)) => Err(Failure::not_found("server", server)),
        None => Ok(text),
    }
}

pub(super) fn filter(call: &Call<'_>, properties: &[&str]) -> Outcome<Option<Filter>> {
    let Some(text) = call.text("Filter") else { return Ok(None) };
    let parsed = Filter::parse(text, properties);
    parsed.map(Some).map_err(|why| Failure::invalid("Filter", format!("The filter {why}.")))
}

/// The queues that -Identity and -Filter choose, with their records. An identity without * that fits none is an error.
async fn chosen(call: &Call<'_>, queue: &Queue) -> Outcome<Vec<(QueueInfo, Record)>> {
    let settings = call.world()?.settings.current();
    super::property::right_server(call, &settings)?;
    let filter = filter(call, PROPERTIES)?;
    let wanted = call.text("Identity").map(|text| bare(text, &settings)).transpose()?;
    let mut out = Vec::new();
    for info in queue.list_queues(|_| true) {
        let record = record(&info, &settings);
        let domain = record.cell("NextHopDomain").map(Cell::shown).unwrap_or_default();
        let is = |w: &str| crate::output::wildcard(w, &info.identity) || crate::output::wildcard(w, &domain);
        if wanted.is_none_or(is) && filter.as_ref().is_none_or(|f| f.fits(&record)) {
            out.push((info, record));
        }
    }
    match wanted {
        Some(name) if out.is_empty() && !name.contains('*') && filter.is_none() => {
            Err(Failure::not_found("queue", name))
        }
        _ => Ok(out),
    }
}

/// Whether one of the words of -Include or -Exclude means this queue.
fn means(words: &[String], record: &Record) -> Outcome<bool> {
    let text = |name: &str| record.cell(name).map(Cell::shown).unwrap_or_default();
    for word in words {
        let types = [
            "SmtpDeliveryToMailbox",
            "DnsConnectorDelivery",
            "SmartHostConnectorDelivery",
            "SmtpRelayToServers",
            "Unreachable",
            "Undefined",
        ];
        let hit = match word.to_ascii_lowercase().as_str() {
            "internal" | "external" => text("NextHopCategory").eq_ignore_ascii_case(word),
            "empty" => text("MessageCount") == "0",
            _ if types.iter().any(|t| t.eq_ignore_ascii_case(word)) => {
                text("DeliveryType").eq_ignore_ascii_case(word)
            }
            _ => {
                let text = format!("{word:?} is none of Internal, External, Empty, {}.", types.join(", "));
                return Err(Failure::invalid("Include", text));
            }
        };
        if hit {
            return Ok(true);
        }
    }
    Ok(false)
}

/// By `-SortOrder`: the last key first, since sorting is stable.
pub(super) fn sort(call: &Call<'_>, properties: &[&str], records: &mut [Record]) -> Outcome {
    for key in call.list("SortOrder").unwrap_or_default().iter().rev() {
        let (down, name) = match key.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, key.strip_prefix('+').unwrap_or(key)),
        };
        if !properties.iter().any(|p| p.eq_ignore_ascii_case(name)) {
            return Err(Failure::invalid("SortOrder", format!("{name:?} is no property.")));
        }
        records.sort_by(|a, b| {
            let order = compare(a.cell(name), b.cell(name));
            if down { order.reverse() } else { order }
        });
    }
    Ok(())
}

fn compare(a: Option<&Cell>, b: Option<&Cell>) -> std::cmp::Ordering {
    let number = |cell: Option<&Cell>| match cell {
        Some(Cell::Number(n)) => Some(*n),
        Some(Cell::Size(bytes)) => Some(bytes.map_or(i64::MAX, |b| i64::try_from(b).unwrap_or(i64::MAX))),
        Some(Cell::Time(at)) => Some(at.0),
        _ => None,
    };
    let text = |cell: Option<&Cell>| cell.map(Cell::shown).unwrap_or_default().to_lowercase();
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => text(a).cmp(&text(b)),
    }
}

async fn get(call: &Call<'_>) -> Outcome {
    let queue = call.queue().await?;
    let max = result_size(call)?;
    let mut records = Vec::new();
    for (_, record) in chosen(call, &queue).await? {
        let included = call.list("Include").map(|w| means(w, &record)).transpose()?.unwrap_or(true);
        let excluded = call.list("Exclude").map(|w| means(w, &record)).transpose()?.unwrap_or(false);
        if included && !excluded {
            records.push(record);
        }
    }
    sort(call, PROPERTIES, &mut records)?;
    let total = records.len();
    for record in records.into_iter().take(max) {
        call.record(record).await;
    }
    if total > max {
        call.warn(format!("There are more than {max} queues. -ResultSize Unlimited shows all of them."))
            .await;
    }
    Ok(())
}

/// -Identity or -Filter must say which.
fn says_which(call: &Call<'_>) -> Outcome {
    match (call.text("Identity"), call.text("Filter")) {
        (None, None) => Err(Failure::usage("Identity", "Which queues? Give -Identity or -Filter.")),
        (Some(_), Some(_)) => Err(Failure::usage("Filter", "Either -Identity or -Filter can be given.")),
        _ => Ok(()),
    }
}

async fn suspend(call: &Call<'_>) -> Outcome {
    says_which(call)?;
    let queue = call.queue().await?;
    for (info, _) in chosen(call, &queue).await? {
        if !call.only_said(|| format!("Suspending queue {:?}.", info.identity)).await {
            queue.suspend_queue(&info.identity).await?;
        }
    }
    Ok(())
}

async fn resume(call: &Call<'_>) -> Outcome {
    says_which(call)?;
    let queue = call.queue().await?;
    for (info, _) in chosen(call, &queue).await? {
        if !call.only_said(|| format!("Resuming queue {:?}.", info.identity)).await {
            queue.resume_queue(&info.identity).await?;
        }
    }
    Ok(())
}

async fn retry(call: &Call<'_>) -> Outcome {
    says_which(call)?;
    let queue = call.queue().await?;
    for (info, _) in chosen(call, &queue).await? {
        if info.next_hop == NextHop::Poison {
            release(call, &queue, &info).await?;
        } else if info.status == QueueStatus::Suspended {
            let text = format!("The queue {:?} is suspended; Resume-Queue lets it go on.", info.identity);
            call.error(Failure::new(Category::InvalidOperation, &info.identity, text)).await;
        } else if !call.only_said(|| format!("Retrying queue {:?}.", info.identity)).await {
            queue.retry_queue(&info.identity).await?;
        }
    }
    Ok(())
}

/// Messages out of the poison queue, for another try.
async fn release(call: &Call<'_>, queue: &Arc<Queue>, info: &QueueInfo) -> Outcome {
    if call.flag("Resubmit") != Some(true) {
        let text =
            "The poison queue is not retried; -Resubmit $true lets every message there have another try.";
        call.error(Failure::new(Category::InvalidOperation, &info.identity, text)).await;
        return Ok(());
    }
    let only = waypost_queue::Filter { queue: Some(info.identity.clone()), ..Default::default() };
    let mut after = None;
    loop {
        let page = queue.get_messages(&only, |_| true, after, super::message::PAGE).await?;
        for message in &page.messages {
            if call.only_said(|| format!("Resubmitting message {}.", message.id)).await {
                continue;
            }
            if let Err(e) = queue.resume(message.id).await {
                call.error(e.into()).await;
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

#[derive(Default)]
struct Sum {
    messages: i64,
    deferred: i64,
    locked: i64,
    queues: Vec<String>,
}

async fn digest(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    super::property::right_server(call, &settings)?;
    let queue = call.queue().await?;
    let by = call.text("GroupBy").unwrap_or("NextHopDomain");
    let filter = filter(call, PROPERTIES)?;
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for info in queue.list_queues(|_| true) {
        let record = record(&info, &settings);
        if !filter.as_ref().is_none_or(|f| f.fits(&record)) || info.message_count == 0 {
            continue;
        }
        let text = |name: &str| record.cell(name).map(Cell::shown).unwrap_or_default();
        let number = |name: &str| match record.cell(name) {
            Some(Cell::Number(n)) => *n,
            _ => 0,
        };
        let value = if by == "ServerName" { settings.server.id.clone() } else { text(by) };
        let sum = sums.entry(value).or_default();
        sum.messages += number("MessageCount");
        sum.deferred += number("DeferredMessageCount");
        sum.locked += number("LockedMessageCount");
        sum.queues.push(match call.text("DetailsLevel") {
            Some("None") => continue,
            Some("Verbose") => format!(
                "{} {} {} {}",
                text("Identity"),
                text("Status"),
                text("MessageCount"),
                text("LastError")
            ),
            _ => text("Identity"),
        });
    }
    let mut sums: Vec<(String, Sum)> = sums.into_iter().collect();
    sums.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.messages));
    for (value, sum) in sums.into_iter().take(result_size(call)?) {
        let record = Record::new()
            .with("GroupByValue", value)
            .with("MessageCount", sum.messages)
            .with("DeferredMessageCount", sum.deferred)
            .with("LockedMessageCount", sum.locked)
            .with("Details", sum.queues.iter().map(|q| q.trim().to_owned()).collect::<Vec<_>>());
        call.record(record).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_queue::Reason;
    use waypost_smtp::Status;

    fn info(hop: NextHop) -> QueueInfo {
        QueueInfo {
            identity: hop.to_string(),
            next_hop: hop,
            status: QueueStatus::Retry,
            message_count: 3,
            deferred_count: 1,
            suspended_count: 0,
            locked_count: 0,
            count_per_priority: [0, 3, 0],
            connections: 0,
            last_error: Some(Reason::temporary(Status(4, 4, 1), "connection refused")),
            first_retry: None,
            last_retry: None,
            next_retry: None,
            retry_count: 2,
            incoming_rate: 0.5,
            outgoing_rate: 0.0,
            oldest: None,
        }
    }

    #[test]
    fn filters_know_every_property() {
        let shown = record(&info(NextHop::Unreachable), &Settings::default());
        let names: Vec<&str> = shown.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, PROPERTIES);
    }

    #[test]
    fn exchange_has_words_for_them() {
        let settings = Settings::default();
        let mx = NextHop::Connector { connector: "Internet".into(), domain: Some("example.net".into()) };
        let shown = record(&info(mx), &settings);
        let text = |name: &str| shown.cell(name).unwrap().shown();
        assert_eq!(text("Identity"), "server-1\\Internet/example.net");
        assert_eq!(text("DeliveryType"), "DnsConnectorDelivery");
        assert_eq!(text("NextHopDomain"), "example.net");
        assert_eq!(text("NextHopConnector"), "Internet");
        assert_eq!(text("LastError"), "4.4.1 connection refused");
        assert_eq!(text("Velocity"), "-0.5");
        assert_eq!(means(&["external".into()], &shown), Ok(true));
        assert_eq!(means(&["Empty".into(), "Internal".into()], &shown), Ok(false));
        assert!(means(&["Odd".into()], &shown).is_err());
    }
}
