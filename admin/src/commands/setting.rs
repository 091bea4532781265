//! Get- and Set-WaypostSetting: any key of the settings document; and the short words, `waypost settings …`.

use super::property::{apply, refused};
use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Failure, Outcome};
use crate::output::Record;
use crate::run::Call;
use crate::settings::value::shown;
use crate::settings::{Edit, document::Document};

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
];

/// What the words after `waypost settings` mean, and what is left of them.
pub(crate) fn short(words: &[String]) -> Outcome<(&'static str, &[String])> {
    let (verb, rest) = words.split_first().map_or(("show", words), |(verb, rest)| (verb.as_str(), rest));
    let long = match verb.to_ascii_lowercase().as_str() {
        "show" | "get" => "Get-WaypostSetting",
        "set" => "Set-WaypostSetting",
        "plan" => "Compare-WaypostSetting",
        "apply" => "Import-WaypostSetting",
        "undo" => "Undo-WaypostSetting",
        "history" => "Get-WaypostSettingHistory",
        "why" => "Get-WaypostSettingReason",
        // `waypost settings --json`
        option if option.starts_with('-') => return Ok(("Get-WaypostSetting", words)),
        other => {
            let text = format!("settings {other}: one of show, set, plan, apply, undo, history, why.");
            return Err(crate::failure::Failure::usage(other, text));
        }
    };
    Ok((long, rest))
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
