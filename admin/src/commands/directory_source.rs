//! New-, Get-, Set-, Remove- and Test-DirectorySource, Start-DirectorySync: LDAP directories and Active Directory.

use super::named::{Collection, ending};
use super::property::apply;
use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Category, Failure, Outcome};
use crate::output::Record;
use crate::run::Call;
use crate::settings::secret::{Holder, set_password};
use crate::settings::{Settings, SourceKind};

const KIND: Collection =
    Collection { section: "directory_sources", what: "directory source", others: &["BindPassword"] };

macro_rules! properties {
    ($($first:expr),* $(,)?) => {
        &[
            $($first,)*
            Param::new("Kind", Kind::Choice(SourceKind::NAMES), "Ldap or ActiveDirectory."),
            Param::new("StartTls", Kind::Bool, "STARTTLS on ldap:// before anything is said."),
            Param::new("CaFile", Kind::Text, "PEM file of the CA that has signed the directory's certificate."),
            Param::new("BindDn", Kind::Text, "Who we look things up as; anonymous if not given."),
            Param::new("BindPassword", Kind::Secret, "The password of -BindDn; - reads it from standard input."),
            Param::new("Domains", Kind::List, "Mail domains whose people's passwords are checked there."),
            Param::new("UserFilter", Kind::Text, "How a person is found: {user} is the name, {local} what is before the @."),
            Param::new("Timeout", Kind::Span, "How long a question may take."),
            Param::new("Sync", Kind::Bool, "$true: accounts and groups are made as the directory has them."),
            Param::new("SyncInterval", Kind::Span, "How often."),
            Param::new("SyncFilter", Kind::Text, "Which people get an account."),
            Param::new("GroupFilter", Kind::Text, "Which groups become distribution groups."),
            Param::new("Enabled", Kind::Bool, "$false: it is not asked."),
            Param::new("Comment", Kind::Text, "For people."),
        ]
    };
}

const URLS: Param =
    Param::new("Urls", Kind::List, "ldaps://dc1.example.org, ldap://… with -StartTls; tried in turn.").at(1);
const BASE: Param = Param::new("BaseDn", Kind::Text, "Where to look.").at(2);
const NEW: &[Param] = properties![
    Param::new("Name", Kind::Text, "Its name.").mandatory().at(0),
    URLS.mandatory(),
    BASE.mandatory(),
];
const SET: &[Param] = properties![Param::identity("Its name."), URLS, BASE];
const COLUMNS: &[&str] = &["Name", "Kind", "Urls", "Domains", "Sync", "Enabled"];

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Get",
        noun: "DirectorySource",
        about: "Shows the directories that passwords are checked at and that accounts come from.",
        detail: "",
        params: &[Param::new("Identity", Kind::Text, "Its name; * stands for any text.").at(0)],
        columns: COLUMNS,
        examples: &[],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(get(call)),
    },
    Command {
        verb: "New",
        noun: "DirectorySource",
        about: "Lets people sign in with the password that an LDAP directory or Active Directory has for them.",
        detail: "The password is checked by a simple bind over TLS, as the person that the filter finds. A directory that does \
                 not answer makes sign-ins unavailable, never wrong. App passwords go on working meanwhile. Accounts that \
                 were made here keep their own passwords unless their domain is in -Domains.",
        params: NEW,
        columns: COLUMNS,
        examples: &[Example {
            line: "New-DirectorySource ad ldaps://dc1.example.org dc=example,dc=org -Kind ActiveDirectory -BindDn \
                   svc@example.org -Domains example.org",
            about: "Active Directory, with its people and groups.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(new(call)),
    },
    Command {
        verb: "Set",
        noun: "DirectorySource",
        about: "Changes a directory source.",
        detail: "",
        params: SET,
        columns: &[],
        examples: &[],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(set(call)),
    },
    Command {
        verb: "Remove",
        noun: "DirectorySource",
        about: "Removes a directory source. Accounts that came from it stay.",
        detail: "",
        params: &[Param::identity("Its name.")],
        columns: &[],
        examples: &[],
        needs: Needs::Store,
        changes: true,
        confirm: true,
        run: |call| Box::pin(remove(call)),
    },
    Command {
        verb: "Test",
        noun: "DirectorySource",
        about: "Asks a directory source, and says what it answers.",
        detail: "Each step by itself: connection, TLS, our own bind, finding somebody, and their password where one is given.",
        params: &[
            Param::identity("Its name."),
            Param::new("User", Kind::Text, "Somebody to find."),
            Param::new("Password", Kind::Secret, "Their password; - reads it from standard input."),
        ],
        columns: &["Source", "Server", "Result", "User", "Password"],
        examples: &[],
        needs: Needs::Server,
        changes: false,
        confirm: false,
        run: |call| Box::pin(test(call)),
    },
    Command {
        verb: "Start",
        noun: "DirectorySync",
        about: "Makes accounts and groups as a directory source has them, now.",
        detail: "People get accounts, people who are gone or disabled there are disabled here; nothing is removed. -WhatIf says \
                 what would be done.",
        params: &[Param::identity("The source.")],
        columns: &["Change"],
        examples: &[],
        needs: Needs::Server,
        changes: true,
        confirm: false,
        run: |call| Box::pin(sync(call)),
    },
];

fn record(settings: &Settings, name: &str) -> Record {
    let record = Record::new().with("Name", name);
    ending(KIND.record(record, settings, name, SET), name)
}

async fn get(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    for name in KIND.chosen(call, &settings, KIND.names(&settings))? {
        call.record(record(&settings, &name)).await;
    }
    Ok(())
}

fn keep_password(call: &Call<'_>, name: &str) -> Outcome {
    let Some(password) = call.text("BindPassword").filter(|_| !call.invocation.what_if) else {
        return Ok(());
    };
    let password = (!password.is_empty()).then_some(password);
    set_password(&call.context.data, Holder::Source(name), password)
        .map_err(|e| Failure::new(Category::WriteError, name, format!("The password was not kept: {e}.")))
}

async fn new(call: &Call<'_>) -> Outcome {
    let store = &call.world()?.settings;
    let settings = store.current();
    let name = KIND.fresh(call, &settings)?;
    let edits = KIND.edits(call, &settings, &name)?;
    keep_password(call, &name)?;
    apply(call, edits).await?;
    if !call.invocation.what_if {
        call.record(record(&store.current(), &name)).await;
    }
    Ok(())
}

async fn set(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    let name = KIND.found(call, &settings, &KIND.names(&settings))?;
    let edits = KIND.edits(call, &settings, &name)?;
    keep_password(call, &name)?;
    apply(call, edits).await
}

async fn remove(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    let name = KIND.found(call, &settings, &KIND.names(&settings))?;
    KIND.remove(call, &name).await
}

async fn test(call: &Call<'_>) -> Outcome {
    let world = call.world()?;
    let settings = world.settings.current();
    let name = KIND.found(call, &settings, &KIND.names(&settings))?;
    let sources = world.sources.as_ref().ok_or_else(|| not_running(&name))?;
    let found = sources.test(&name, call.text("User"), call.text("Password")).await?;
    let mut record = Record::new().with("Source", name.as_str());
    for (property, value) in found {
        record = record.with(property, value);
    }
    call.record(record).await;
    Ok(())
}

async fn sync(call: &Call<'_>) -> Outcome {
    let world = call.world()?;
    let settings = world.settings.current();
    let name = KIND.found(call, &settings, &KIND.names(&settings))?;
    let sources = world.sources.as_ref().ok_or_else(|| not_running(&name))?;
    for line in sources.sync(&name, call.invocation.what_if).await? {
        call.record(Record::new().with("Change", line)).await;
    }
    Ok(())
}

fn not_running(name: &str) -> Failure {
    Failure::new(Category::ResourceUnavailable, name, "The server has to be running.")
}
