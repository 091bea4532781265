//! New-, Get- and Remove-AppPassword.

use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Failure, Outcome};
use crate::output::Record;
use crate::run::Call;
use waypost_directory::{AppPassword, Protocol};

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "New",
        noun: "AppPassword",
        about: "Makes a password for one device or program.",
        detail: "It is shown once. It can be limited to protocols, and taken back without touching the others.",
        params: &[
            Param::identity("Whose."),
            Param::new("Name", Kind::Text, "What it is for.").mandatory().at(1),
            Param::new(
                "Protocols",
                Kind::List,
                "Only for these: imap, pop, submission, web. All if not given.",
            ),
        ],
        columns: &["Identity", "Name", "Password", "Protocols"],
        examples: &[Example {
            line: "New-AppPassword adele -Name phone -Protocols imap,submission",
            about: "For a telephone.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(new(call)),
    },
    Command {
        verb: "Get",
        noun: "AppPassword",
        about: "Shows which app passwords somebody has.",
        detail: "",
        params: &[Param::identity("Whose.")],
        columns: &["Identity", "Name", "Protocols", "WhenCreatedUTC"],
        examples: &[],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(get(call)),
    },
    Command {
        verb: "Remove",
        noun: "AppPassword",
        about: "Takes an app password back.",
        detail: "",
        params: &[Param::identity("Whose."), Param::new("Name", Kind::Text, "Which.").mandatory().at(1)],
        columns: &[],
        examples: &[],
        needs: Needs::Store,
        changes: true,
        confirm: true,
        run: |call| Box::pin(remove(call)),
    },
];

fn record(identity: &str, app: &AppPassword) -> Record {
    let protocols: Vec<String> = app.protocols.iter().map(|p| p.name().to_owned()).collect();
    Record::new()
        .with("Identity", identity)
        .with("Name", app.name.as_str())
        .with("Protocols", protocols)
        .with("WhenCreatedUTC", app.created)
}

async fn new(call: &Call<'_>) -> Outcome {
    let account = call.account(call.required("Identity")?)?;
    let name = call.required("Name")?;
    let protocol = |text: &String| {
        Protocol::parse(text)
            .ok_or_else(|| Failure::invalid("Protocols", format!("{text:?} is not a protocol.")))
    };
    let protocols =
        call.list("Protocols").unwrap_or_default().iter().map(protocol).collect::<Outcome<Vec<_>>>()?;
    if call.only_said(|| format!("Making app password {name:?} for {:?}.", account.name)).await {
        return Ok(());
    }
    let (app, secret) = call.directory()?.add_app_password(account.id, name, &protocols).await?;
    call.record(record(&account.name, &app).with("Password", secret.expose_str().unwrap_or_default())).await;
    Ok(())
}

async fn get(call: &Call<'_>) -> Outcome {
    let account = call.account(call.required("Identity")?)?;
    for app in call.directory()?.app_passwords(account.id) {
        call.record(record(&account.name, &app)).await;
    }
    Ok(())
}

async fn remove(call: &Call<'_>) -> Outcome {
    let account = call.account(call.required("Identity")?)?;
    let name = call.required("Name")?;
    let all = call.directory()?.app_passwords(account.id);
    let app = all
        .iter()
        .find(|a| a.name.eq_ignore_ascii_case(name))
        .ok_or_else(|| Failure::not_found("app password", name))?;
    if call.only_said(|| format!("Taking back app password {:?} of {:?}.", app.name, account.name)).await {
        return Ok(());
    }
    call.directory()?.remove_app_password(account.id, app.id).await?;
    Ok(())
}
