//! Import-Recipient: accounts from a CSV file.

use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Category, Failure, Outcome};
use crate::output::{Event, Record};
use crate::run::Call;
use waypost_directory::import::{Action, import};

pub(super) static COMMANDS: &[Command] = &[Command {
    verb: "Import",
    noun: "Recipient",
    about: "Makes and changes mailboxes from a CSV file.",
    detail: "The first line names the columns: Name, DisplayName, Alias, PrimarySmtpAddress, EmailAddresses, Type, Enabled, \
             ImapEnabled, PopEnabled, SmtpEnabled, WebEnabled, ProhibitSendReceiveQuota, Password, PasswordHash, Groups. Name or \
             an address is needed; the others may be missing. Several addresses or groups are separated by semicolons.\n\n\
             Every line is a change of its own and is reported. Running the same file again changes nothing. -WhatIf says what \
             would be done.",
    params: &[Param::new("Path", Kind::Path, "The file.").mandatory().at(0).alias(&["FileName", "CSV"])],
    columns: &["Line", "Who", "Action", "Detail"],
    examples: &[Example { line: "Import-Recipient people.csv -WhatIf", about: "Look first." }],
    needs: Needs::Store,
    changes: true,
    confirm: false,
    run: |call| Box::pin(run(call)),
}];

async fn run(call: &Call<'_>) -> Outcome {
    let path = call.required("Path")?;
    let unreadable = |e: &dyn std::fmt::Display| {
        Failure::new(Category::ReadError, path, format!("{path} cannot be read by the server: {e}."))
    };
    let file = path.to_owned();
    let read = tokio::task::spawn_blocking(move || std::fs::read(file)).await;
    let bytes = read.map_err(|e| unreadable(&e))?.map_err(|e| unreadable(&e))?;
    let total = bytes.iter().filter(|b| **b == b'\n').count() as u64;
    let (tell, mut lines) = tokio::sync::mpsc::unbounded_channel();
    let directory = call.directory()?;
    let work = import(directory, &bytes, call.invocation.what_if, move |line| drop(tell.send(line)));
    tokio::pin!(work);
    let mut outcome = None;
    let mut failed = 0u64;
    loop {
        tokio::select! {
            biased;
            line = lines.recv() => match line {
                Some(line) => {
                    let record = Record::new()
                        .with("Line", line.line)
                        .with("Who", line.who.as_str())
                        .with("Action", format!("{:?}", line.action))
                        .with("Detail", line.detail);
                    call.record(record).await;
                    if line.action == Action::Created && !call.invocation.what_if
                        && let Ok(account) = call.account(&line.who)
                        && call.is_here(&account)?
                    {
                        // With the quota of the settings; a mailbox made at its first use would have none.
                        call.mailbox(&account).await?;
                    }
                    failed += u64::from(line.action == Action::Failed);
                    if line.line % 50 == 0 {
                        call.progress("Importing", line.line, Some(total), "lines").await;
                    }
                }
                None => break,
            },
            done = &mut work, if outcome.is_none() => outcome = Some(done),
        }
    }
    if let Some(Err(e)) = outcome {
        return Err(Failure::invalid(path, format!("{path}: {e}.")));
    }
    if call.invocation.what_if {
        call.sink.send(Event::WhatIf("What if: nothing was done.".into())).await;
    }
    if failed > 0 {
        let text = format!("{failed} lines failed; the others were done.");
        return Err(Failure::new(Category::OperationIncomplete, path, text));
    }
    Ok(())
}
