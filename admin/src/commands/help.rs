//! Get-Command and Get-Help.

use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Failure, Outcome};
use crate::output::Record;
use crate::run::Call;

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Get",
        noun: "Command",
        about: "Lists the commands.",
        detail: "",
        params: &[
            Param::new("Name", Kind::Text, "Only these; * stands for any text.").at(0),
            Param::new("Verb", Kind::Text, "Only this verb."),
            Param::new("Noun", Kind::Text, "Only this noun; * stands for any text."),
        ],
        columns: &["Name", "Description"],
        examples: &[Example { line: "Get-Command *mailbox*", about: "What can be done with mailboxes." }],
        needs: Needs::Nothing,
        changes: false,
        confirm: false,
        run: |call| Box::pin(commands(call)),
    },
    Command {
        verb: "Get",
        noun: "Help",
        about: "Explains a command.",
        detail: "",
        params: &[Param::new("Name", Kind::Text, "Which.").mandatory().at(0)],
        columns: &["Help"],
        examples: &[Example { line: "Get-Help Set-ImapSettings", about: "All its parameters." }],
        needs: Needs::Nothing,
        changes: false,
        confirm: false,
        run: |call| Box::pin(help(call)),
    },
];

async fn commands(call: &Call<'_>) -> Outcome {
    let fits = |param: &str, text: &str| call.text(param).is_none_or(|p| crate::output::wildcard(p, text));
    for command in call.catalogue.commands() {
        if !fits("Name", &command.name()) || !fits("Verb", command.verb) || !fits("Noun", command.noun) {
            continue;
        }
        let record = Record::new()
            .with("Name", command.name())
            .with("GnuName", command.gnu())
            .with("Description", command.about)
            .with("Needs", format!("{:?}", command.needs))
            .with("Changes", command.changes)
            .with("Parameters", command.all_params().map(|p| p.name.to_owned()).collect::<Vec<_>>());
        call.record(record).await;
    }
    Ok(())
}

/// The page is one text in one record; whoever shows it prints it as it is.
async fn help(call: &Call<'_>) -> Outcome {
    let name = call.required("Name")?;
    let command = call.catalogue.find(name).ok_or_else(|| Failure::not_found("command", name))?;
    call.record(Record::new().with("Name", command.name()).with("Help", command.help())).await;
    Ok(())
}
