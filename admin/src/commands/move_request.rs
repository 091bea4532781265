//! New-, Get- and Remove-MoveRequest, and Move-Mailbox: accounts from one server to another while they are in use.

use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::elsewhere::find_server;
use crate::failure::{Category, Failure, Outcome};
use crate::moves::{MoveRequest, MoveStatus, Moves};
use crate::output::Record;
use crate::run::Call;
use std::sync::Arc;
use tokio::sync::watch;
use waypost_directory::Account;

const COLUMNS: &[&str] = &["DisplayName", "Status", "SourceServer", "TargetServer", "PercentComplete"];

const MAILBOX: Param =
    Param::new("Identity", Kind::Text, "The mailbox: address, alias or name.").mandatory().at(0);
const TARGET: Param =
    Param::new("TargetServer", Kind::Text, "Id or host name of the server that it goes to.").mandatory();

const DETAIL: &str = "Mail comes and goes meanwhile, clients stay connected, UIDs stay what they are. At the end nothing can \
     be written for a moment, what is left is copied, both ends are compared, and the directory says where the mailbox is \
     now; sessions are ended and find it there when they reconnect. A move that is interrupted goes on by itself. What it \
     leaves behind is removed after a day.";

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Move",
        noun: "Mailbox",
        about: "Moves a mailbox to another server while it is in use, and shows how it goes.",
        detail: DETAIL,
        params: &[MAILBOX, TARGET],
        columns: COLUMNS,
        examples: &[Example {
            line: "Move-Mailbox amy -TargetServer server-2",
            about: "Ends when it is there.",
        }],
        needs: Needs::Server,
        changes: true,
        confirm: true,
        run: |call| Box::pin(move_mailbox(call)),
    },
    Command {
        verb: "New",
        noun: "MoveRequest",
        about: "Begins to move a mailbox to another server; Get-MoveRequest shows how it goes.",
        detail: DETAIL,
        params: &[
            MAILBOX,
            TARGET,
            Param::new("BadItemLimit", Kind::Int, "Kept for scripts.").without_effect(
                "rows are copied as they are; what is damaged is named, and nothing is left out",
            ),
        ],
        columns: COLUMNS,
        examples: &[Example {
            line: "New-MoveRequest amy -TargetServer server-2",
            about: "Goes on by itself.",
        }],
        needs: Needs::Server,
        changes: true,
        confirm: false,
        run: |call| Box::pin(new(call)),
    },
    Command {
        verb: "Get",
        noun: "MoveRequest",
        about: "Shows mailboxes on their way from one server to another, and those that have arrived.",
        detail: "",
        params: &[Param::new("Identity", Kind::Text, "Only this mailbox.").at(0)],
        columns: COLUMNS,
        examples: &[],
        needs: Needs::Server,
        changes: false,
        confirm: false,
        run: |call| Box::pin(get(call)),
    },
    Command {
        verb: "Remove",
        noun: "MoveRequest",
        about: "Stops a move; the mailbox stays where it is. One that has ended is only forgotten.",
        detail: "A move that is about to switch the mailbox over ends first.",
        params: &[MAILBOX],
        columns: &[],
        examples: &[],
        needs: Needs::Server,
        changes: true,
        confirm: true,
        run: |call| Box::pin(remove(call)),
    },
];

fn moves<'a>(call: &Call<'a>) -> Outcome<&'a Arc<dyn Moves>> {
    call.world()?.moves.as_ref().ok_or_else(|| {
        let text = "Mailboxes are moved by the running server that keeps the directory.";
        Failure::new(Category::ResourceUnavailable, "server", text)
    })
}

/// The account, and the server that it is to go to.
fn wanted(call: &Call<'_>) -> Outcome<(Arc<Account>, String)> {
    let account = call.account(call.required("Identity")?)?;
    let now = call.directory()?.snapshot();
    let name = call.required("TargetServer")?;
    let to = find_server(&now, name).ok_or_else(|| Failure::not_found("server", name))?;
    let server = now.server(&to).ok_or_else(|| Failure::not_found("server", name))?;
    if !server.roles.mailbox || server.revoked.is_some() {
        let text = format!("{to} holds no mailboxes; Get-ExchangeServer shows the roles of each server.");
        return Err(Failure::invalid("TargetServer", text));
    }
    if now.home_of(&account).eq_ignore_ascii_case(&to) {
        let text = format!("The mailbox <{}> is on {to} already.", account.primary);
        return Err(Failure::new(Category::InvalidOperation, account.primary.as_str(), text));
    }
    Ok((account, to))
}

fn record(request: &MoveRequest) -> Record {
    let status = format!("{:?}", request.status);
    Record::new()
        .with("DisplayName", request.name.as_str())
        .with("Status", status)
        .with("SourceServer", request.from.as_str())
        .with("TargetServer", request.to.as_str())
        .with("PercentComplete", request.percent())
        .with("ItemsTransferred", request.rows_done)
        .with("BytesTransferred", request.bytes_copied)
        .with("Passes", u64::from(request.pass))
        .with("FrozenMilliseconds", request.frozen_millis)
        .with("Attempts", u64::from(request.attempts))
        .with("QueuedTimestamp", request.started)
        .with("CompletionTimestamp", request.ended)
        .with("RequestedBy", request.by.as_str())
        .with("Message", request.message.clone())
        .with("Identity", request.name.as_str())
}

async fn begin(call: &Call<'_>) -> Outcome<Option<watch::Receiver<MoveRequest>>> {
    let (account, to) = wanted(call)?;
    if call.only_said(|| format!("Moving the mailbox <{}> to {to}.", account.primary)).await {
        return Ok(None);
    }
    moves(call)?.begin(account.id, to, call.context.caller.clone()).await.map(Some)
}

async fn new(call: &Call<'_>) -> Outcome {
    if let Some(request) = begin(call).await? {
        let now = request.borrow().clone();
        call.record(record(&now)).await;
    }
    Ok(())
}

async fn move_mailbox(call: &Call<'_>) -> Outcome {
    let Some(mut request) = begin(call).await? else { return Ok(()) };
    let activity = format!("Moving <{}>", request.borrow().name);
    let mut said = None;
    loop {
        let now = request.borrow_and_update().clone();
        call.progress(&activity, now.rows_done, Some(now.rows), "rows").await;
        if now.message.is_some() && now.message != said && !now.status.is_over() {
            said.clone_from(&now.message);
            call.warn(format!("{} It is tried again.", now.message.clone().unwrap_or_default())).await;
        }
        match now.status {
            MoveStatus::Completed => {
                call.record(record(&now)).await;
                return Ok(());
            }
            MoveStatus::Failed | MoveStatus::Cancelled => {
                let why = now.message.clone().unwrap_or_else(|| "It was cancelled.".into());
                let text = format!("The mailbox <{}> stays on {}: {why}", now.name, now.from);
                return Err(Failure::new(Category::OperationIncomplete, &now.name, text));
            }
            _ => {}
        }
        if call.sink.is_closed() || request.changed().await.is_err() {
            // It goes on without being watched.
            return Ok(());
        }
    }
}

async fn get(call: &Call<'_>) -> Outcome {
    let only = call.text("Identity").map(|identity| call.account(identity)).transpose()?;
    for request in moves(call)?.list() {
        if only.as_ref().is_none_or(|account| account.id == request.account) {
            call.record(record(&request)).await;
        }
    }
    Ok(())
}

async fn remove(call: &Call<'_>) -> Outcome {
    let account = call.account(call.required("Identity")?)?;
    if call.only_said(|| format!("Stopping the move of <{}>.", account.primary)).await {
        return Ok(());
    }
    moves(call)?.remove(account.id).await
}
