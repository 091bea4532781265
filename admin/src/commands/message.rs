//! Get-, Suspend-, Resume-, Remove-, Redirect-, Export- and Set-Message: the messages in the queues.

use super::mailbox::result_size;
use super::queue::{bare, filter, identity, sort};
use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Category, Failure, Outcome};
use crate::output::Record;
use crate::run::Call;
use crate::settings::{Bytes, Settings, SmartHost};
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use waypost_queue::{Filter as Rows, MessageInfo, Priority, Queue, Route};
use waypost_store::Blob;

/// Messages that are read at a time.
pub(super) const PAGE: usize = 500;

/// Properties of a message, for -Filter and -SortOrder; a test holds them against the records.
const PROPERTIES: &[&str] = &[
    "Identity",
    "FromAddress",
    "Status",
    "Queue",
    "Subject",
    "InternetMessageId",
    "Size",
    "DateReceived",
    "ExpirationTime",
    "Priority",
    "LastError",
    "RetryCount",
    "NextRetryTime",
    "SourceIP",
    "MessageSourceName",
    "RecipientCount",
    "Recipients",
];

const IDENTITY: Param = Param::new(
    "Identity",
    Kind::Text,
    "The message as Get-Message shows it (SERVER\\QUEUE\\NUMBER), or its number alone. What is done is done to all its \
     recipients that still wait, in whichever queue.",
)
.at(0);
const FILTER: Param = Param::new(
    "Filter",
    Kind::Text,
    "Only those that fit, such as {FromAddress -like \"*@example.net\" -and Size -gt 1MB}.",
);
const QUEUE: Param = Param::new("Queue", Kind::Text, "Only those in this queue.");
const SERVER: Param = Param::new("Server", Kind::Text, "This server; others cannot be reached from here.");
const WHICH: [Param; 4] = [IDENTITY, FILTER, QUEUE, SERVER];

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Get",
        noun: "Message",
        about: "Shows messages in the queues.",
        detail: "A message whose recipients wait in several queues is shown for each.",
        params: &[
            IDENTITY,
            QUEUE,
            FILTER,
            Param::new("IncludeRecipientInfo", Kind::Switch, "Show the recipients, and where each stands."),
            Param::new("SortOrder", Kind::List, "Properties with + or - before them: -DateReceived."),
            Param::new("ResultSize", Kind::Text, "At most so many, or Unlimited. 1000 if not given."),
            SERVER,
        ],
        columns: &["Identity", "FromAddress", "Status", "Queue", "Subject"],
        examples: &[
            Example { line: "Get-Message -Queue sink", about: "What waits there." },
            Example {
                line: "Get-Message -Filter '{FromAddress -eq \"adele@contoso.test\"}' -IncludeRecipientInfo -FormatList",
                about: "All about the mail of one sender.",
            },
        ],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(get(call)),
    },
    Command {
        verb: "Suspend",
        noun: "Message",
        about: "Holds messages until Resume-Message, also over a restart.",
        detail: "",
        params: &WHICH,
        columns: &[],
        examples: &[Example {
            line: "Suspend-Message -Filter '{Subject -like \"*invoice*\"}' -Confirm:$false",
            about: "All that fit.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: true,
        run: |call| Box::pin(act(call, Act::Suspend)),
    },
    Command {
        verb: "Resume",
        noun: "Message",
        about: "Lets suspended messages go on; those in the poison queue get another try.",
        detail: "",
        params: &WHICH,
        columns: &[],
        examples: &[],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(act(call, Act::Resume)),
    },
    Command {
        verb: "Remove",
        noun: "Message",
        about: "Takes messages out of the queues, with a report to the sender or without.",
        detail: "What is being sent at this moment may still arrive.",
        params: &[
            IDENTITY,
            FILTER,
            QUEUE,
            Param::new("WithNDR", Kind::Bool, "$true, the default: the sender gets a delivery report."),
            SERVER,
        ],
        columns: &[],
        examples: &[Example {
            line: "Remove-Message 'server-1\\sink\\42' -WithNDR false -Confirm:$false",
            about: "Without a word.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: true,
        run: |call| Box::pin(act(call, Act::Remove)),
    },
    Command {
        verb: "Redirect",
        noun: "Message",
        about: "Sends what waits for other servers to a server of your choice instead.",
        detail: "As when a server is taken out of service: that one brings the mail on. What is for mailboxes of this server \
                 stays.",
        params: &[
            IDENTITY,
            FILTER,
            QUEUE,
            Param::new(
                "Target",
                Kind::Text,
                "The server that gets them: relay.example.net, [192.0.2.1]:2525. Port 25 if not given.",
            )
            .mandatory(),
            SERVER,
        ],
        columns: &[],
        examples: &[Example {
            line: "Redirect-Message -Server server-1 -Target hub2.example.net",
            about: "Everything that waits.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: true,
        run: |call| Box::pin(act(call, Act::Redirect)),
    },
    Command {
        verb: "Set",
        noun: "Message",
        about: "Changes the priority of messages in the queues.",
        detail: "",
        params: &[
            IDENTITY,
            FILTER,
            QUEUE,
            Param::new(
                "Priority",
                Kind::Choice(&["High", "Normal", "Low"]),
                "Which goes first within a queue.",
            )
            .mandatory(),
            SERVER,
        ],
        columns: &[],
        examples: &[],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(act(call, Act::Priority)),
    },
    Command {
        verb: "Export",
        noun: "Message",
        about: "Writes a message in a queue into a file, or shows it.",
        detail: "The message stays where it is. The server writes the file, so it must be allowed to; it is readable by the \
                 server's user alone.",
        params: &[
            Param::identity("The message as Get-Message shows it, or its number alone."),
            Param::new("Path", Kind::Path, "A new file; - or nothing shows the message."),
        ],
        columns: &["Text"],
        examples: &[Example { line: "Export-Message 42 -Path /tmp/42.eml", about: "Into a file." }],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(export(call)),
    },
];

fn record(info: &MessageInfo, settings: &Settings, recipients: bool) -> Record {
    let envelope = info.envelope.as_ref();
    let from = envelope.map(|e| e.from.as_ref().map_or_else(|| "<>".to_owned(), ToString::to_string));
    let source = envelope.and_then(|e| e.client.ip).map(|ip| ip.to_string());
    let made_by = envelope.map(|e| match e.kind {
        waypost_queue::Kind::Report => "DSN".to_owned(),
        waypost_queue::Kind::Mail => match e.client.connector.as_str() {
            "" => "Waypost".to_owned(),
            connector => format!("SMTP:{connector}"),
        },
    });
    let status = format!("{:?}", info.status);
    let all = info.targets.iter().map(|(target, done)| match done {
        Some(done) => format!("{};{done:?}", target.to),
        None => format!("{};{status}", target.to),
    });
    let open = info.targets.iter().filter(|(_, done)| done.is_none()).count();
    Record::new()
        .with("Identity", identity(settings, &info.identity()))
        .with("FromAddress", from)
        .with("Status", status.as_str())
        .with("Queue", identity(settings, &info.queue))
        .with("Subject", envelope.map(|e| e.subject.clone()))
        .with("InternetMessageId", envelope.map(|e| e.message_id.clone()))
        .with("Size", Bytes(info.size))
        .with("DateReceived", envelope.map(|e| e.accepted))
        .with("ExpirationTime", envelope.map(|e| e.expires))
        .with("Priority", format!("{:?}", info.priority))
        .with("LastError", info.last_error.clone())
        .with("RetryCount", info.retry_count)
        .with("NextRetryTime", info.next_retry)
        .with("SourceIP", source)
        .with("MessageSourceName", made_by)
        .with("RecipientCount", open)
        .with("Recipients", if recipients { all.collect() } else { Vec::new() })
}

/// The queue and the number that an identity means; either may be left open.
fn parse_identity(text: &str, settings: &Settings) -> Outcome<(Option<String>, Option<u64>)> {
    let wrong = || Failure::not_found("message", text);
    if let Ok(id) = text.parse() {
        return Ok((None, Some(id)));
    }
    let rest = bare(text, settings)?;
    let (queue, id) = match rest.rsplit_once('\\') {
        Some((queue, id)) => (Some(queue), id),
        None => (None, rest),
    };
    let queue = queue.filter(|q| *q != "*").map(str::to_owned);
    match id {
        "*" => Ok((queue, None)),
        id => Ok((queue, Some(id.parse().map_err(|_| wrong())?))),
    }
}

/// What is read of the rows, and the queue that it must be in.
fn rows(call: &Call<'_>, queue: &Queue, settings: &Settings) -> Outcome<Rows> {
    let mut rows = Rows::default();
    if let Some(text) = call.text("Identity") {
        (rows.queue, rows.item) = parse_identity(text, settings)?;
    }
    if call.command.param("Queue").is_some()
        && let Some(text) = call.text("Queue")
    {
        rows.queue = Some(bare(text, settings)?.to_owned());
    }
    if let Some(name) = &rows.queue {
        let same = |info: &waypost_queue::QueueInfo| info.identity.eq_ignore_ascii_case(name);
        let found = queue.list_queues(same).into_iter().next();
        rows.queue = Some(found.ok_or_else(|| Failure::not_found("queue", name))?.identity);
    }
    Ok(rows)
}

async fn get(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    super::property::right_server(call, &settings)?;
    let queue = call.queue().await?;
    let filter = filter(call, PROPERTIES)?;
    let rows = rows(call, &queue, &settings)?;
    let max = result_size(call)?;
    let recipients = call.switch("IncludeRecipientInfo");
    let sorted = call.list("SortOrder").is_some();
    let (mut after, mut shown, mut held) = (None, 0usize, Vec::new());
    'pages: loop {
        let page = queue.get_messages(&rows, |_| true, after, PAGE).await?;
        for info in &page.messages {
            let record = record(info, &settings, true);
            if !filter.as_ref().is_none_or(|f| f.fits(&record)) {
                continue;
            }
            let record = if recipients { record } else { without_recipients(record) };
            if sorted {
                held.push(record);
            } else if shown < max {
                shown += 1;
                call.record(record).await;
            } else {
                let text =
                    format!("There are more than {max} messages. -ResultSize Unlimited shows all of them.");
                call.warn(text).await;
                break 'pages;
            }
        }
        match page.next {
            Some(next) if !call.sink.is_closed() => after = Some(next),
            _ => break,
        }
    }
    sort(call, PROPERTIES, &mut held)?;
    let many = held.len() > max;
    shown += held.len();
    for record in held.into_iter().take(max) {
        call.record(record).await;
    }
    if many {
        call.warn(format!("There are more than {max} messages. -ResultSize Unlimited shows all of them."))
            .await;
    }
    match (shown, rows.item) {
        (0, Some(item)) if filter.is_none() => Err(Failure::not_found("message", item)),
        _ => Ok(()),
    }
}

fn without_recipients(mut record: Record) -> Record {
    for (name, cell) in &mut record.0 {
        if name == "Recipients" {
            *cell = crate::output::Cell::List(Vec::new());
        }
    }
    record
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Suspend,
    Resume,
    Remove,
    Redirect,
    Priority,
}

/// The items that were chosen, each once.
async fn chosen(call: &Call<'_>, queue: &Queue, everything: bool) -> Outcome<BTreeSet<u64>> {
    let settings = call.world()?.settings.current();
    super::property::right_server(call, &settings)?;
    let filter = filter(call, PROPERTIES)?;
    let given = ["Identity", "Queue"].into_iter().any(|p| call.text(p).is_some()) || filter.is_some();
    if !given && !everything {
        return Err(Failure::usage("Identity", "Which messages? Give -Identity, -Queue or -Filter."));
    }
    let rows = rows(call, queue, &settings)?;
    let mut items = BTreeSet::new();
    let mut after = None;
    loop {
        let page = queue.get_messages(&rows, |_| true, after, PAGE).await?;
        for info in &page.messages {
            if filter.as_ref().is_none_or(|f| f.fits(&record(info, &settings, true))) {
                items.insert(info.id);
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    match (items.is_empty(), rows.item) {
        (true, Some(item)) if filter.is_none() => Err(Failure::not_found("message", item)),
        _ => Ok(items),
    }
}

async fn act(call: &Call<'_>, act: Act) -> Outcome {
    let queue = call.queue().await?;
    let target = if act == Act::Redirect { Some(target(call)?) } else { None };
    let with_report = act == Act::Remove && call.flag("WithNDR") != Some(false);
    if with_report && call.world()?.hub.is_none() && !call.invocation.what_if {
        let text = "Only a running server writes delivery reports. Start it, or give -WithNDR $false.";
        return Err(Failure::new(Category::ResourceUnavailable, "WithNDR", text));
    }
    let items = chosen(call, &queue, act == Act::Redirect).await?;
    let total = items.len() as u64;
    for (done, item) in items.into_iter().enumerate() {
        if call.only_said(|| said(act, item)).await {
            continue;
        }
        let outcome = match act {
            Act::Suspend => queue.suspend(item).await.map(drop).map_err(Failure::from),
            Act::Resume => queue.resume(item).await.map(drop).map_err(Failure::from),
            Act::Priority => queue.set_priority(item, priority(call)).await.map(drop).map_err(Failure::from),
            Act::Redirect => match &target {
                Some(route) => queue.redirect(item, route.clone()).await.map(drop).map_err(Failure::from),
                None => Ok(()),
            },
            Act::Remove if with_report => give_up(call, item).await,
            Act::Remove => queue.remove(item).await.map(drop).map_err(Failure::from),
        };
        if let Err(failure) = outcome {
            // What has just been sent needs nothing more.
            if failure.category != Category::ObjectNotFound {
                call.error(failure).await;
            }
        }
        if done % 100 == 99 {
            call.progress("Messages", done as u64, Some(total), "messages").await;
        }
    }
    Ok(())
}

async fn give_up(call: &Call<'_>, item: u64) -> Outcome {
    match &call.world()?.hub {
        Some(hub) => hub.give_up(item, &call.context.caller).await.map(drop),
        None => Ok(()),
    }
}

fn said(act: Act, item: u64) -> String {
    match act {
        Act::Suspend => format!("Suspending message {item}."),
        Act::Resume => format!("Resuming message {item}."),
        Act::Remove => format!("Removing message {item}."),
        Act::Redirect => format!("Redirecting message {item}."),
        Act::Priority => format!("Changing the priority of message {item}."),
    }
}

fn priority(call: &Call<'_>) -> Priority {
    match call.text("Priority") {
        Some("High") => Priority::High,
        Some("Low") => Priority::Low,
        _ => Priority::Normal,
    }
}

fn target(call: &Call<'_>) -> Outcome<Route> {
    let text = call.required("Target")?;
    let host = SmartHost::parse(text).ok_or_else(|| {
        Failure::invalid("Target", format!("{text:?} is no host, such as relay.example.net."))
    })?;
    Ok(Route::Server { host: host.host, port: host.port.unwrap_or(25) })
}

async fn export(call: &Call<'_>) -> Outcome {
    let world = call.world()?;
    let settings = world.settings.current();
    let text = call.required("Identity")?;
    let (_, Some(item)) = parse_identity(text, &settings)? else {
        return Err(Failure::invalid("Identity", "One message at a time can be exported."));
    };
    let queue = call.queue().await?;
    let (_, blob) = queue.export(item).await?;
    match call.text("Path") {
        None | Some("-") => {
            let mut bytes = Vec::new();
            copy(call, &blob, |piece| bytes.extend_from_slice(piece)).await?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            call.record(Record::new().with("Identity", item).with("Text", text)).await;
        }
        Some(path) => {
            let wrote = |e: std::io::Error| {
                let text = format!("{path} cannot be written by the server: {e}.");
                Failure::new(Category::WriteError, path, text)
            };
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            let mut file = file.map_err(wrote)?;
            let mut failed = None;
            copy(call, &blob, |piece| {
                if failed.is_none() {
                    failed = file.write_all(piece).err();
                }
            })
            .await?;
            let done = failed.map_or(Ok(()), Err).and_then(|()| file.sync_all());
            done.map_err(wrote)?;
        }
    }
    Ok(())
}

/// The message as it is kept, in pieces.
async fn copy(call: &Call<'_>, blob: &Blob, mut put: impl FnMut(&[u8])) -> Outcome {
    let size = blob.size;
    let mut reader = call.world()?.store.blobs().reader(blob.clone(), 0..size);
    loop {
        match reader.next().await {
            Ok(Some(piece)) => put(&piece),
            Ok(None) => return Ok(()),
            Err(e) => return Err(Failure::new(Category::ReadError, "message", e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_base::Timestamp;
    use waypost_queue::{Envelope, MessageStatus, NextHop};

    #[test]
    fn filters_know_every_property() {
        let session = waypost_base::id::Correlation(1);
        let info = MessageInfo {
            id: 42,
            hop: 0,
            queue: "sink".into(),
            next_hop: NextHop::Connector { connector: "sink".into(), domain: None },
            status: MessageStatus::Retry,
            size: 1000,
            envelope: Some(Envelope::new(None, Timestamp(0), session)),
            targets: Vec::new(),
            priority: Priority::Normal,
            retry_count: 1,
            next_retry: None,
            last_error: Some("451 later".into()),
        };
        let shown = record(&info, &Settings::default(), true);
        let names: Vec<&str> = shown.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, PROPERTIES);
        assert_eq!(shown.cell("Identity").unwrap().shown(), "server-1\\sink\\42");
        assert_eq!(shown.cell("FromAddress").unwrap().shown(), "<>");
    }

    #[test]
    fn identities() {
        let settings = Settings::default();
        let read = |text: &str| parse_identity(text, &settings).ok();
        assert_eq!(read("42"), Some((None, Some(42))));
        assert_eq!(read("server-1\\sink\\42"), Some((Some("sink".into()), Some(42))));
        assert_eq!(read("server-1\\*\\42"), Some((None, Some(42))));
        assert_eq!(read("SERVER-1\\mx/example.net\\*"), Some((Some("mx/example.net".into()), None)));
        assert_eq!(read("server-1\\42"), Some((None, Some(42))));
        assert_eq!(read("elsewhere\\sink\\42"), None);
        assert_eq!(read("server-1\\sink\\x"), None);
    }
}
