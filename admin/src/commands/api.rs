//! New-, Get- and Remove-ApiToken; Get-RoleGroup, and who is in one.

use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Category, Failure, Outcome};
use crate::output::Record;
use crate::rights::RoleGroup;
use crate::run::Call;
use waypost_directory::ApiToken;

const TOKEN_COLUMNS: &[&str] = &["Name", "RoleGroups", "Expires", "CreatedBy", "WhenCreatedUTC"];

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "New",
        noun: "ApiToken",
        about: "Makes a token for a program that administers over HTTP.",
        detail: "It is shown once. It may do what its role groups may (Get-RoleGroup), and is sent as \
                 `Authorization: Bearer TOKEN`.",
        params: &[
            Param::new("Name", Kind::Text, "Lower-case letters, digits and hyphens.").mandatory().at(0),
            Param::new(
                "RoleGroup",
                Kind::List,
                "What it may do. View-Only Organization Management if not given.",
            ),
            Param::new(
                "ExpiresIn",
                Kind::Span,
                "How long it is good, such as 90d. Until it is removed if not given.",
            ),
        ],
        columns: &["Name", "Token", "RoleGroups", "Expires"],
        examples: &[Example {
            line: "New-ApiToken monitoring -RoleGroup 'View-Only Organization Management' -ExpiresIn 365d",
            about: "For a program that watches.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(new(call)),
    },
    Command {
        verb: "Get",
        noun: "ApiToken",
        about: "Shows which tokens there are. The tokens themselves are kept nowhere.",
        detail: "",
        params: &[Param::new("Name", Kind::Text, "Only this one.").at(0)],
        columns: TOKEN_COLUMNS,
        examples: &[],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(get(call)),
    },
    Command {
        verb: "Remove",
        noun: "ApiToken",
        about: "Takes a token back; it is refused from the next request on.",
        detail: "",
        params: &[Param::new("Name", Kind::Text, "Which.").mandatory().at(0)],
        columns: &[],
        examples: &[],
        needs: Needs::Store,
        changes: true,
        confirm: true,
        run: |call| Box::pin(remove(call)),
    },
    Command {
        verb: "Get",
        noun: "RoleGroup",
        about: "Shows the role groups, what they are for and who is in them.",
        detail: "Whoever can reach the control socket (root and the server's own user) may do everything. Over HTTP a \
                 person may do what their groups may, and a token what its groups may.",
        params: &[Param::new("Identity", Kind::Text, "Only this one.").at(0)],
        columns: &["Name", "Description", "Members"],
        examples: &[],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(groups(call)),
    },
    Command {
        verb: "Add",
        noun: "RoleGroupMember",
        about: "Lets somebody administer.",
        detail: "",
        params: &[
            Param::identity("The role group."),
            Param::new("Member", Kind::Text, "Whose account.").mandatory().at(1),
        ],
        columns: &[],
        examples: &[Example {
            line: "Add-RoleGroupMember RecipientManagement -Member adele",
            about: "Adele may make mailboxes.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(member(call, true)),
    },
    Command {
        verb: "Remove",
        noun: "RoleGroupMember",
        about: "Lets somebody administer no more.",
        detail: "",
        params: &[
            Param::identity("The role group."),
            Param::new("Member", Kind::Text, "Whose account.").mandatory().at(1),
        ],
        columns: &[],
        examples: &[],
        needs: Needs::Store,
        changes: true,
        confirm: true,
        run: |call| Box::pin(member(call, false)),
    },
];

fn group(text: &str) -> Outcome<RoleGroup> {
    RoleGroup::parse(text).ok_or_else(|| Failure::not_found("role group", text))
}

fn record(token: &ApiToken) -> Record {
    Record::new()
        .with("Name", token.name.as_str())
        .with("RoleGroups", token.groups.clone())
        .with("Expires", token.expires)
        .with("CreatedBy", token.by.as_str())
        .with("WhenCreatedUTC", token.created)
}

async fn new(call: &Call<'_>) -> Outcome {
    let name = call.required("Name")?;
    let default = [RoleGroup::ViewOnlyOrganizationManagement.name().to_owned()];
    let wanted = call.list("RoleGroup").unwrap_or(&default);
    let groups: Vec<String> =
        wanted.iter().map(|g| group(g).map(|g| g.name().to_owned())).collect::<Outcome<_>>()?;
    let expires = call.span("ExpiresIn").map(|millis| {
        let millis = i64::try_from(millis).unwrap_or(i64::MAX);
        call.context.clock.now().plus_millis(millis)
    });
    if call.only_said(|| format!("Making token {name:?} for {}.", groups.join(", "))).await {
        return Ok(());
    }
    let by = &call.context.caller;
    let (token, secret) = call.directory()?.add_api_token(name, groups, by, expires).await?;
    call.record(record(&token).with("Token", secret.expose_str().unwrap_or_default())).await;
    Ok(())
}

async fn get(call: &Call<'_>) -> Outcome {
    let now = call.directory()?.snapshot();
    let name = call.text("Name");
    let mut found = false;
    for token in now.api_tokens().filter(|t| name.is_none_or(|n| n.eq_ignore_ascii_case(&t.name))) {
        found = true;
        call.record(record(token)).await;
    }
    match name {
        Some(name) if !found => Err(Failure::not_found("token", name)),
        _ => Ok(()),
    }
}

async fn remove(call: &Call<'_>) -> Outcome {
    let name = call.required("Name")?.to_ascii_lowercase();
    if call.only_said(|| format!("Taking back token {name:?}.")).await {
        return Ok(());
    }
    call.directory()?.remove_api_token(&name).await?;
    Ok(())
}

async fn groups(call: &Call<'_>) -> Outcome {
    let only = call.text("Identity").map(group).transpose()?;
    let now = call.directory()?.snapshot();
    for group in RoleGroup::ALL.into_iter().filter(|g| only.is_none_or(|o| o == *g)) {
        let is_in = |groups: &[String]| groups.iter().any(|g| RoleGroup::parse(g) == Some(group));
        let members = now.accounts().filter(|a| is_in(&a.role_groups)).map(|a| a.primary.to_string());
        let tokens = now.api_tokens().filter(|t| is_in(&t.groups)).map(|t| t.name.clone());
        let record = Record::new()
            .with("Name", group.name())
            .with("Description", group.about())
            .with("Members", members.collect::<Vec<_>>())
            .with("Tokens", tokens.collect::<Vec<_>>());
        call.record(record).await;
    }
    Ok(())
}

async fn member(call: &Call<'_>, add: bool) -> Outcome {
    let group = group(call.required("Identity")?)?;
    let account = call.account(call.required("Member")?)?;
    let is_in = account.role_groups.iter().any(|g| RoleGroup::parse(g) == Some(group));
    if add == is_in {
        let (category, text) = match add {
            true => {
                (Category::ResourceExists, format!("{} is a member of {group} already.", account.primary))
            }
            false => (Category::ObjectNotFound, format!("{} is no member of {group}.", account.primary)),
        };
        return Err(Failure::new(category, &account.name, text));
    }
    let what = if add { "Adding" } else { "Taking out" };
    if call.only_said(|| format!("{what} {} ({group}).", account.primary)).await {
        return Ok(());
    }
    let change = |account: &mut waypost_directory::Account| {
        account.role_groups.retain(|g| RoleGroup::parse(g) != Some(group));
        if add {
            account.role_groups.push(group.name().to_owned());
        }
    };
    call.directory()?.update_account(account.id, change).await?;
    Ok(())
}
