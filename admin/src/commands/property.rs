//! Properties of commands that are settings: how the two meet.
//!
//! A property and its setting have the same name in two spellings: `MaxConnectionsPerUser`, `max_connections_per_user`.

use crate::catalogue::{Kind, Value};
use crate::failure::{Category, Failure, Outcome};
use crate::output::Cell;
use crate::run::Call;
use crate::settings::{
    AddressSpace, Bytes, Edit, FilterAddress, IpRange, Kind as _, Settings, SettingsError, SmartHost, Span,
};
use crate::words::kebab;

/// `MaxConnectionsPerUser` → `max_connections_per_user`
pub(super) fn snake(property: &str) -> String {
    kebab(property).replace('-', "_")
}

/// The value that holds for a key now.
pub(super) fn current(settings: &Settings, key: &str) -> Option<toml_edit::Value> {
    settings.entries().into_iter().find(|(place, f, _)| place.key(f.name) == key).map(|(_, _, value)| value)
}

fn strings(value: &toml_edit::Value) -> Vec<String> {
    let items = value.as_array().into_iter().flat_map(|a| a.iter());
    items.filter_map(|v| v.as_str()).map(str::to_owned).collect()
}

/// Whether a name means this server.
pub(super) fn is_us(settings: &Settings, name: &str) -> bool {
    name.eq_ignore_ascii_case(&settings.server.id) || name.eq_ignore_ascii_case(&settings.server.name)
}

/// -Server may be given, but only as this one.
pub(super) fn right_server(call: &Call<'_>, settings: &Settings) -> Outcome {
    match call.text("Server") {
        Some(name) if !is_us(settings, name) => Err(Failure::not_found("server", name)),
        _ => Ok(()),
    }
}

/// A setting as commands show it.
pub(super) fn cell(kind: Kind, value: &toml_edit::Value) -> Cell {
    let text = value.as_str().unwrap_or_default();
    match kind {
        Kind::Bool => Cell::Flag(value.as_bool().unwrap_or_default()),
        Kind::Int => Cell::Number(value.as_integer().unwrap_or_default()),
        Kind::Span => Span::parse(text).into(),
        Kind::Size => Bytes::parse(text).into(),
        Kind::Quota => Cell::Size(Bytes::parse(text).map(|bytes| bytes.0)),
        Kind::List | Kind::Edit => Cell::List(strings(value)),
        _ => Cell::Text(text.to_owned()),
    }
}

/// The changes that the given parameters come to. `key` says which setting each is; `None` where it is none.
pub(super) fn changes(
    call: &Call<'_>,
    settings: &Settings,
    key: impl Fn(&str) -> Option<String>,
) -> Outcome<Vec<Edit>> {
    let mut edits = Vec::new();
    for (name, value) in &call.invocation.args {
        let Some(key) = key(name) else { continue };
        let value = match value {
            Value::Edit { add, remove } => {
                let old = current(settings, &key).map(|v| strings(&v)).unwrap_or_default();
                let value = Value::Edit { add: canonical(name, add)?, remove: canonical(name, remove)? };
                Some(Value::List(value.apply(&old)))
            }
            Value::List(items) => Some(Value::List(canonical(name, items)?)),
            Value::Null => None,
            other => Some(other.clone()),
        };
        edits.push(Edit { key, value: value.as_ref().and_then(written) });
    }
    Ok(edits)
}

/// Items of lists as the settings document writes them, so that one can be found again to be removed.
fn canonical(property: &str, items: &[String]) -> Outcome<Vec<String>> {
    let one = |item: &String| -> Outcome<String> {
        let (text, what) = match property {
            "AddressSpaces" => (AddressSpace::parse(item).map(|a| a.to_string()), AddressSpace::WHAT),
            "SmartHosts" => (SmartHost::parse(item).map(|h| h.to_string()), SmartHost::WHAT),
            "RemoteIPRanges" | "SkipIPRanges" => (IpRange::parse(item).map(|r| r.to_string()), IpRange::WHAT),
            "Address" => (FilterAddress::parse(item).map(|a| a.to_string()), FilterAddress::WHAT),
            _ => return Ok(item.clone()),
        };
        text.ok_or_else(|| Failure::invalid(property, format!("{item:?} is not {what}.")))
    };
    items.iter().map(one).collect()
}

/// As the settings document has it.
fn written(value: &Value) -> Option<toml_edit::Value> {
    use crate::settings::Kind as _;
    Some(match value {
        Value::Text(text) => text.as_str().into(),
        Value::Flag(on) => (*on).into(),
        Value::Int(n) => (*n).into(),
        Value::Size(Some(bytes)) => Bytes(*bytes).write(),
        Value::Size(None) => "unlimited".into(),
        Value::Span(millis) => Span(*millis).write(),
        Value::List(items) => toml_edit::Value::Array(items.iter().map(String::as_str).collect()),
        Value::Edit { .. } | Value::Null => return None,
    })
}

/// Changes the settings, or says what would come of it.
pub(super) async fn apply(call: &Call<'_>, edits: Vec<Edit>) -> Outcome {
    let store = &call.world()?.settings;
    if edits.is_empty() {
        call.warn("Nothing was given to be changed.").await;
        return Ok(());
    }
    store.rehearse(&edits).map_err(refused)?;
    let said = || {
        let one = |e: &Edit| match &e.value {
            Some(value) => format!("{} = {}", e.key, crate::settings::value::shown(value)),
            None => format!("{} to its default", e.key),
        };
        format!("Setting {}.", edits.iter().map(one).collect::<Vec<_>>().join(", "))
    };
    if call.only_said(said).await {
        return Ok(());
    }
    let saved = store.change(&edits, &call.author()).map_err(refused)?;
    if saved.version.is_none() {
        call.warn("The command completed successfully but no settings have been modified.").await;
    } else if edits.iter().any(|e| e.key.starts_with("listeners.")) {
        call.warn("The bindings take effect when the server is started again.").await;
    }
    if edits.iter().any(|e| e.key.starts_with("mailboxes.") && e.key.ends_with("_quota")) {
        spread_quotas(call, &saved.settings).await?;
    }
    Ok(())
}

/// Mailboxes keep the quota that holds for them in their own rows: those without one of their own get the new default.
async fn spread_quotas(call: &Call<'_>, settings: &Settings) -> Outcome {
    let now = call.directory()?.snapshot();
    let total = now.accounts().count() as u64;
    for (done, account) in now.accounts().enumerate() {
        let quota = super::mailbox::quota_of(account, settings);
        let mailbox = call.mailbox(account).await?;
        if mailbox.usage().quota != quota {
            mailbox.set_quota(quota).await?;
        }
        if done % 100 == 99 {
            call.progress("Setting quotas", done as u64, Some(total), "mailboxes").await;
        }
    }
    Ok(())
}

pub(super) fn refused(e: SettingsError) -> Failure {
    match &e {
        SettingsError::Io { path, .. } => Failure::new(Category::WriteError, path.display(), &e),
        SettingsError::Mistakes { mistakes, .. } => {
            let first = mistakes.first().map(|m| m.key.clone()).unwrap_or_default();
            let text = mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            Failure::invalid(first, format!("The settings would not be valid: {text}."))
        }
    }
}
