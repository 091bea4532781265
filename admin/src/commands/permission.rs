//! Add-, Get- and Remove-MailboxPermission: who else may use a mailbox.

use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Category, Failure, Outcome};
use crate::output::Record;
use crate::run::Call;
use waypost_directory::{Permission, Right};

const RIGHTS: &[&str] = &["FullAccess", "SendAs", "SendOnBehalf"];
const USER: Param = Param::new("User", Kind::Text, "Who gets the right.").mandatory().at(1);
const ACCESS: Param =
    Param::new("AccessRights", Kind::Choice(RIGHTS), "FullAccess opens it; SendAs and SendOnBehalf send.")
        .mandatory();

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Add",
        noun: "MailboxPermission",
        about: "Lets somebody use another mailbox.",
        detail: "With FullAccess they sign in with their own password and the other mailbox as authorization identity.",
        params: &[Param::identity("The mailbox."), USER, ACCESS],
        columns: &["Identity", "User", "AccessRights"],
        examples: &[Example {
            line: "Add-MailboxPermission reception -User adele -AccessRights FullAccess",
            about: "Adele may open the shared mailbox.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(add(call)),
    },
    Command {
        verb: "Get",
        noun: "MailboxPermission",
        about: "Shows who may use a mailbox.",
        detail: "",
        params: &[Param::identity("The mailbox.")],
        columns: &["Identity", "User", "AccessRights"],
        examples: &[],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(get(call)),
    },
    Command {
        verb: "Remove",
        noun: "MailboxPermission",
        about: "Takes a right to a mailbox away.",
        detail: "",
        params: &[Param::identity("The mailbox."), USER, ACCESS],
        columns: &[],
        examples: &[],
        needs: Needs::Store,
        changes: true,
        confirm: true,
        run: |call| Box::pin(remove(call)),
    },
];

fn wanted(call: &Call<'_>) -> Outcome<(std::sync::Arc<waypost_directory::Account>, Permission, String)> {
    let account = call.account(call.required("Identity")?)?;
    let user = call.account(call.required("User")?)?;
    let right = match call.required("AccessRights")? {
        "SendAs" => Right::SendAs,
        "SendOnBehalf" => Right::SendOnBehalf,
        _ => Right::FullAccess,
    };
    Ok((account, Permission { who: user.id, right }, user.name.clone()))
}

fn record(mailbox: &str, user: &str, right: Right) -> Record {
    Record::new()
        .with("Identity", mailbox)
        .with("User", user)
        .with("AccessRights", vec![format!("{right:?}")])
        .with("IsInherited", false)
        .with("Deny", false)
}

async fn add(call: &Call<'_>) -> Outcome {
    let (account, permission, user) = wanted(call)?;
    if call.only_said(|| format!("Giving {user:?} {:?} on {:?}.", permission.right, account.name)).await {
        return Ok(());
    }
    if account.permissions.contains(&permission) {
        call.warn("The permission was there already.").await;
    } else {
        call.directory()?.update_account(account.id, |a| a.permissions.push(permission)).await?;
    }
    call.record(record(&account.name, &user, permission.right)).await;
    Ok(())
}

async fn get(call: &Call<'_>) -> Outcome {
    let account = call.account(call.required("Identity")?)?;
    let now = call.directory()?.snapshot();
    for permission in &account.permissions {
        if let Some(user) = now.account(permission.who) {
            call.record(record(&account.name, &user.name, permission.right)).await;
        }
    }
    Ok(())
}

async fn remove(call: &Call<'_>) -> Outcome {
    let (account, permission, user) = wanted(call)?;
    if !account.permissions.contains(&permission) {
        let text = format!("{user:?} has no {:?} on {:?}.", permission.right, account.name);
        return Err(Failure::new(Category::ObjectNotFound, user, text));
    }
    if call.only_said(|| format!("Taking {:?} on {:?} from {user:?}.", permission.right, account.name)).await
    {
        return Ok(());
    }
    call.directory()?.update_account(account.id, |a| a.permissions.retain(|p| *p != permission)).await?;
    Ok(())
}
