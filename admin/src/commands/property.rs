//! Properties of commands that are settings: how the two meet.
//!
//! A property and its setting have the same name in two spellings: `MaxConnectionsPerUser`, `max_connections_per_user`.

use crate::catalogue::{Kind, Value};
use crate::failure::{Category, Failure, Outcome};
use crate::output::Cell;
use crate::run::Call;
use crate::settings::{
    AddressSpace, Bytes, Candidate, Edit, FilterAddress, IpRange, KeyChange, Kind as _, Probe, Report, Saved,
    Scope, Settings, SettingsError, SmartHost, Span, Verdict,
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

/// Which document a command means. A server that does not keep the organisation changes its own only; the one that
/// does has a document for itself where -Server names it and there are others.
pub(super) fn scope(call: &Call<'_>) -> Outcome<Scope> {
    let Ok(directory) = call.directory() else { return Ok(Scope::Organisation) };
    let now = directory.snapshot();
    let elsewhere = now.primary().zip(now.here()).is_some_and(|(primary, here)| primary.id != here);
    let named = call.command.param("Server").is_some() && call.text("Server").is_some();
    let own = elsewhere || (named && now.servers().count() > 1);
    Ok(if own { Scope::Server } else { Scope::Organisation })
}

/// Changes the settings, or says what would come of it: checked, rehearsed, then put in place.
pub(super) async fn apply(call: &Call<'_>, edits: Vec<Edit>) -> Outcome {
    let store = &call.world()?.settings;
    if edits.is_empty() {
        call.warn("Nothing was given to be changed.").await;
        return Ok(());
    }
    let _turn = store.turn().await;
    let candidate = store.plan(scope(call)?, &edits).map_err(refused)?;
    let one = |e: &Edit| match &e.value {
        Some(value) => format!("{} = {}", e.key, crate::settings::value::shown(value)),
        None => format!("{} to its default", e.key),
    };
    let what = format!("Setting {}.", edits.iter().map(one).collect::<Vec<_>>().join(", "));
    settle(call, &candidate, &what).await.map(drop)
}

/// Rehearses a candidate and puts it in place, or says under -WhatIf what would come of it (`what`, and the verdict).
/// The caller holds [`SettingsStore::turn`](crate::settings::SettingsStore::turn). `None`: nothing was put in place.
pub(super) async fn settle(call: &Call<'_>, candidate: &Candidate, what: &str) -> Outcome<Option<Saved>> {
    settle_forced(call, candidate, what, None).await
}

/// The same where something else than the rehearsal was against it, and was overruled by -Force.
pub(super) async fn settle_forced(
    call: &Call<'_>,
    candidate: &Candidate,
    what: &str,
    forced: Option<String>,
) -> Outcome<Option<Saved>> {
    let world = call.world()?;
    let report = rehearsed(call, candidate).await?;
    tell(call, &report).await;
    let verdict = report.verdict();
    let said = || match verdict {
        Verdict::Untouched => what.to_owned(),
        Verdict::Failed => format!("{what} Rehearsal {}: the change would be refused.", report.line()),
        _ => format!("{what} Rehearsal {}.", report.line()),
    };
    if call.only_said(said).await {
        return Ok(None);
    }
    let mut author = call.author();
    author.rehearsal = (verdict != Verdict::Untouched).then(|| report.line());
    author.forced = forced;
    if let Some(probe) = report.refusal() {
        if !call.invocation.force {
            return Err(refusal(probe));
        }
        author.forced.get_or_insert_with(|| refused_by(probe));
        call.warn(format!(
            "Put in place by -Force, although its rehearsal fails: {}. Undo-WaypostSetting takes it back.",
            refused_by(probe)
        ))
        .await;
    }
    let saved = world.settings.put(candidate, &author).map_err(refused)?;
    if saved.version.is_none() {
        call.warn("The command completed successfully but no settings have been modified.").await;
        return Ok(Some(saved));
    }
    if candidate.is_same() && candidate.scope == Scope::Organisation {
        call.warn("Nothing changes for this server: what it has for itself in server.toml goes before.")
            .await;
    }
    match &world.rehearse {
        Some(roles) => {
            for trouble in roles.taken_over(saved.settings.clone()).await {
                call.warn(trouble).await;
            }
        }
        None if !candidate.rebound().is_empty() => {
            call.warn("The listeners are opened when the server is started.").await;
        }
        None => {}
    }
    let quota = |c: &KeyChange| c.key.starts_with("mailboxes.") && c.key.ends_with("_quota");
    if candidate.changes().iter().any(quota) {
        spread_quotas(call, &saved.settings).await?;
    }
    Ok(Some(saved))
}

/// What the rehearsal says; nothing where nothing is touched or no server runs.
pub(super) async fn rehearsed(call: &Call<'_>, candidate: &Candidate) -> Outcome<Report> {
    let world = call.world()?;
    match &world.rehearse {
        Some(roles) if !candidate.touched().is_empty() => Ok(roles.rehearse(candidate).await),
        _ => Ok(Report::default()),
    }
}

/// What is worth knowing but refuses nothing.
pub(super) async fn tell(call: &Call<'_>, report: &Report) {
    for warning in &report.warnings {
        call.warn(warning.as_str()).await;
    }
    for probe in report.probes.iter().filter(|p| p.failed_before) {
        call.warn(format!("{} This was so before the change.", refused_by(probe))).await;
    }
}

/// `imaps: [REHEARSAL-TLS] …`
fn refused_by(probe: &Probe) -> String {
    match &probe.fault {
        Some((text, finding)) => format!("{}: [{}] {text}", probe.name, finding.cause.code),
        None => probe.name.clone(),
    }
}

/// The finding as an error: what was seen, what it means, what to do.
fn refusal(probe: &Probe) -> Failure {
    let mut text =
        format!("The change was rehearsed and is refused; nothing was put in place. {}", refused_by(probe));
    let Some((_, finding)) = &probe.fault else {
        return Failure::new(Category::InvalidOperation, &probe.name, text);
    };
    for evidence in &finding.evidence {
        text.push_str(&format!("\n    Seen by {}: {}", evidence.source, evidence.fact));
    }
    for remedy in &finding.remedy {
        text.push_str(&format!("\n    Remedy: {remedy}"));
    }
    text.push_str(
        "\n    -Force puts it in place all the same; that is noted, and Undo-WaypostSetting takes it back.",
    );
    let finding = serde_json::to_value(finding).ok().map(Box::new);
    Failure { finding, ..Failure::new(Category::InvalidOperation, &probe.name, text) }
}

/// Mailboxes keep the quota that holds for them in their own rows: those without one of their own get the new default.
async fn spread_quotas(call: &Call<'_>, settings: &Settings) -> Outcome {
    let now = call.directory()?.snapshot();
    let total = now.accounts().count() as u64;
    for (done, account) in now.accounts().filter(|a| now.is_here(a)).enumerate() {
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
