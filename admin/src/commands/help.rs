//! Get-Command and Get-Help.

use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Category, Failure, Outcome};
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
        columns: &["Text"],
        examples: &[Example { line: "Get-Help Set-ImapSettings", about: "All its parameters." }],
        needs: Needs::Nothing,
        changes: false,
        confirm: false,
        run: |call| Box::pin(help(call)),
    },
    Command {
        verb: "Get",
        noun: "ShellCompletion",
        about: "Prints the completions for a shell.",
        detail: "",
        params: &[Param::new("Shell", Kind::Choice(&["bash", "zsh", "fish"]), "Which.").mandatory().at(0)],
        columns: &["Text"],
        examples: &[Example {
            line: "Get-ShellCompletion bash",
            about: "In ~/.bashrc: source <(waypost Get-ShellCompletion bash)",
        }],
        needs: Needs::Nothing,
        changes: false,
        confirm: false,
        run: |call| Box::pin(completion(call)),
    },
    Command {
        verb: "Export",
        noun: "ManualPage",
        about: "Writes the manual pages of all commands into a folder.",
        detail: "",
        params: &[Param::new("Path", Kind::Path, "The folder, such as /usr/local/share/man/man1.")
            .mandatory()
            .at(0)],
        columns: &["Path"],
        examples: &[],
        needs: Needs::Nothing,
        changes: false,
        confirm: false,
        run: |call| Box::pin(manual(call)),
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

async fn help(call: &Call<'_>) -> Outcome {
    let name = call.required("Name")?;
    let command = call.catalogue.find(name).ok_or_else(|| Failure::not_found("command", name))?;
    call.record(Record::new().with("Name", command.name()).with("Text", command.help())).await;
    Ok(())
}

async fn completion(call: &Call<'_>) -> Outcome {
    let text = match call.required("Shell")? {
        "zsh" => call.catalogue.zsh(),
        "fish" => call.catalogue.fish(),
        _ => call.catalogue.bash(),
    };
    call.record(Record::new().with("Text", text)).await;
    Ok(())
}

async fn manual(call: &Call<'_>) -> Outcome {
    let folder = std::path::PathBuf::from(call.required("Path")?);
    let failed = |e: std::io::Error| {
        let text = format!("{} cannot be written: {e}.", folder.display());
        Failure::new(Category::WriteError, folder.display(), text)
    };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    for (name, page) in call.catalogue.man_pages() {
        let path = folder.join(name);
        std::fs::write(&path, page).map_err(failed)?;
        call.record(Record::new().with("Path", &path)).await;
    }
    Ok(())
}
