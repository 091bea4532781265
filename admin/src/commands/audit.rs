//! Search-AdminAuditLog: who changed what, when, and what was before and after.

use crate::audit::{self, Entry};
use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Category, Failure, Outcome};
use crate::output::{Cell, Record};
use crate::run::Call;
use waypost_base::Timestamp;

pub(super) static COMMANDS: &[Command] = &[Command {
    verb: "Search",
    noun: "AdminAuditLog",
    about: "Finds changes: who made them, when, from where, by which command, what was before and after, what came of it.",
    detail: "The newest first. Every command that changes something is written down, also one that failed or was denied; \
             passwords are not. The log is kept for 90 days, in logs/audit of the data folder.",
    params: &[
        Param::new(
            "StartDate",
            Kind::Text,
            "Not before this time, such as 2026-03-03 or 2026-03-03T18:00:00Z.",
        ),
        Param::new("EndDate", Kind::Text, "Not after this time."),
        Param::new("Cmdlets", Kind::List, "Only these commands; * stands for any text."),
        Param::new("Parameters", Kind::List, "Only where one of these parameters was given."),
        Param::new("UserIds", Kind::List, "Only what these people did."),
        Param::new("ObjectIds", Kind::List, "Only what was done to these."),
        Param::new("IsSuccess", Kind::Bool, "Only what succeeded, or only what failed."),
        Param::new("ResultSize", Kind::Text, "At most so many, or Unlimited. 1000 if not given."),
    ],
    columns: &["RunDate", "Caller", "CmdletName", "ObjectModified", "Succeeded"],
    examples: &[
        Example { line: "Search-AdminAuditLog -Cmdlets Set-ImapSettings", about: "Who touched IMAP?" },
        Example { line: "Search-AdminAuditLog -UserIds amy@contoso.test --json", about: "For programs." },
    ],
    needs: Needs::Store,
    changes: false,
    confirm: false,
    run: |call| Box::pin(search(call)),
}];

fn time(call: &Call<'_>, name: &str) -> Outcome<Option<Timestamp>> {
    let Some(text) = call.text(name) else { return Ok(None) };
    // A day is its beginning, or its end where it is the last.
    let day = text.len() == 10;
    let whole = match (day, name) {
        (true, "EndDate") => format!("{text}T23:59:59Z"),
        (true, _) => format!("{text}T00:00:00Z"),
        (false, _) => text.to_owned(),
    };
    crate::settings::parse_time(&whole).map(Some).ok_or_else(|| {
        Failure::invalid(name, format!("{text:?} is not a time such as 2026-03-03T18:00:00Z."))
    })
}

async fn search(call: &Call<'_>) -> Outcome {
    let (from, to) = (time(call, "StartDate")?, time(call, "EndDate")?);
    let max = super::mailbox::result_size(call)?;
    let among = |name: &str, text: &str| {
        call.list(name).is_none_or(|l| l.iter().any(|p| crate::output::wildcard(p, text)))
    };
    let success = call.flag("IsSuccess");
    let fits = |e: &Entry| {
        let parameters = call.list("Parameters").is_none_or(|wanted| {
            e.cmdlet_parameters.iter().any(|p| wanted.iter().any(|w| w.eq_ignore_ascii_case(&p.name)))
        });
        among("Cmdlets", &e.cmdlet_name)
            && among("UserIds", &e.caller)
            && among("ObjectIds", &e.object_modified)
            && parameters
            && success.is_none_or(|s| s == e.succeeded)
    };
    let found = audit::search(&call.context.data, from, to, max, fits);
    let found = found.map_err(|e| Failure::new(Category::ReadError, "audit log", e))?;
    for entry in found {
        call.record(record(&entry)).await;
    }
    Ok(())
}

fn record(entry: &Entry) -> Record {
    let tree = |value: serde_json::Result<serde_json::Value>| value.map_or(Cell::Null, Cell::Tree);
    Record::new()
        .with("RunDate", entry.run_date.as_str())
        .with("Caller", entry.caller.as_str())
        .with("From", entry.from.as_str())
        .with("CmdletName", entry.cmdlet_name.as_str())
        .with("CmdletParameters", tree(serde_json::to_value(&entry.cmdlet_parameters)))
        .with("ObjectModified", entry.object_modified.as_str())
        .with("ModifiedProperties", tree(serde_json::to_value(&entry.modified_properties)))
        .with("Succeeded", entry.succeeded)
        .with("Error", entry.error.clone())
        .with("Why", entry.why.clone())
        .with("OriginatingServer", entry.originating_server.as_str())
        .with("IsValid", true)
        .with("ObjectState", "Unchanged")
}
