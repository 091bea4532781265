//! Get- and Set-WaypostSetting: any key of the settings document. Get-WaypostSettingHistory and Undo-WaypostSetting: its
//! versions.

use super::property::{apply, refused};
use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Failure, Outcome};
use crate::output::Record;
use crate::run::Call;
use crate::settings::value::shown;
use crate::settings::{Edit, document::Document, store};

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Get",
        noun: "WaypostSetting",
        about: "Shows settings, their defaults and what they are for.",
        detail: "",
        params: &[
            Param::new("Key", Kind::Text, "Such as smtp.max_message_size; * stands for any text.").at(0)
        ],
        columns: &["Key", "Value", "Default"],
        examples: &[Example { line: "Get-WaypostSetting 'smtp.*'", about: "Everything about SMTP." }],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(get(call)),
    },
    Command {
        verb: "Set",
        noun: "WaypostSetting",
        about: "Changes a setting.",
        detail: "The value is written as in TOML; the quotes around texts may be left out.",
        params: &[
            Param::new("Key", Kind::Text, "Such as smtp.max_message_size.").mandatory().at(0),
            Param::new("Value", Kind::Text, "The value; $null for the default.").mandatory().at(1),
        ],
        columns: &[],
        examples: &[Example { line: "Set-WaypostSetting smtp.max_message_size '50 MB'", about: "A limit." }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(set(call)),
    },
    Command {
        verb: "Get",
        noun: "WaypostSettingHistory",
        about: "Shows every change of the settings: who made it, when, and by which command.",
        detail: "Version 0 is what stood there before the first command. The documents are in settings.d of the data folder.",
        params: &[Param::new(
            "ResultSize",
            Kind::Text,
            "The newest so many, or Unlimited. 1000 if not given.",
        )],
        columns: &["Version", "When", "Who", "Command"],
        examples: &[],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(history(call)),
    },
    Command {
        verb: "Undo",
        noun: "WaypostSetting",
        about: "Puts an earlier version of the settings in place of the present one.",
        detail: "Without -Version the last change is taken back. What is put back is a version of its own, so that an undo can \
                 be undone. Passwords of connectors are no part of the settings and stay as they are.",
        params: &[Param::new("Version", Kind::Int, "Which, as Get-WaypostSettingHistory shows it.").at(0)],
        columns: &[],
        examples: &[Example {
            line: "Undo-WaypostSetting -Confirm:$false",
            about: "The last change is taken back.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: true,
        run: |call| Box::pin(undo(call)),
    },
];

async fn history(call: &Call<'_>) -> Outcome {
    let data = call.world()?.settings.data().to_owned();
    let versions = store::versions(&data).map_err(refused)?;
    let skipped = versions.len().saturating_sub(super::mailbox::result_size(call)?);
    for version in versions.into_iter().skip(skipped) {
        let head = version.head();
        let of = |name: &str| head.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        let record = Record::new()
            .with("Version", version.number)
            .with("When", of("when"))
            .with("Who", of("who"))
            .with("Command", of("command"))
            .with("Path", &version.path);
        call.record(record).await;
    }
    Ok(())
}

async fn undo(call: &Call<'_>) -> Outcome {
    let settings = &call.world()?.settings;
    let versions = store::versions(settings.data()).map_err(refused)?;
    let wanted = match call.int("Version") {
        Some(n) => u32::try_from(n).ok(),
        // The one before the last.
        None => versions.iter().rev().nth(1).map(|v| v.number),
    };
    let found = wanted.filter(|n| versions.iter().any(|v| v.number == *n));
    let Some(number) = found else {
        let name = call.int("Version").map_or_else(|| "before the last".to_owned(), |n| n.to_string());
        return Err(Failure::not_found("version of the settings", name));
    };
    if call.only_said(|| format!("Putting version {number} of the settings in place.")).await {
        return Ok(());
    }
    let saved = settings.restore(number, &call.author()).map_err(refused)?;
    match saved.version {
        Some(version) => call.warn(format!("Version {number} holds again, as version {version}.")).await,
        None => call.warn("The command completed successfully but no settings have been modified.").await,
    }
    Ok(())
}

async fn get(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    let pattern = call.text("Key").unwrap_or("*");
    let mut any = false;
    for (place, field, value) in settings.entries() {
        let key = place.key(field.name);
        if !crate::output::wildcard(pattern, &key) {
            continue;
        }
        any = true;
        let about: Vec<&str> = field.about.iter().map(|l| l.trim()).collect();
        let record = Record::new()
            .with("Key", key)
            .with("Value", shown(&value))
            .with("Default", shown(&field.default))
            .with("Description", about.join(" "));
        call.record(record).await;
    }
    if any { Ok(()) } else { Err(Failure::not_found("setting", pattern)) }
}

async fn set(call: &Call<'_>) -> Outcome {
    let key = call.required("Key")?;
    let value = call.text("Value").map(read);
    let edits = vec![Edit { key: key.to_owned(), value }];
    // A key that does not exist is the commonest mistake, and has its own error.
    let mut document = Document::default();
    document.edit(&edits).map_err(|m| {
        refused(crate::settings::SettingsError::Mistakes { path: "settings.toml".into(), mistakes: vec![m] })
    })?;
    apply(call, edits).await
}

/// TOML where it is TOML, else a text.
fn read(text: &str) -> toml_edit::Value {
    match text.parse::<toml_edit::Value>() {
        // No setting is a date or a time of day; `00:00:10` is a span of time, which is written as text.
        Ok(toml_edit::Value::Datetime(_)) | Err(_) => text.into(),
        Ok(value) => value,
    }
}
