//! The audit log: every command that changes something, with who, when, from where, what was before and after, and what
//! came of it. One file a day in `logs/audit` of the data folder, a JSON object a line, for the owner alone.
//!
//! A change that cannot be written down is made all the same, and the failure is logged: a full disk must not keep an
//! administrator from making room.

use crate::catalogue::{Catalogue, Command, Invocation, Kind, Value};
use crate::failure::Failure;
use crate::output::Event;
use crate::run::Context;
use crate::settings::{Settings, candidate};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use waypost_base::Timestamp;

/// Files that are older go, as Exchange's AdminAuditLogAgeLimit has it.
const KEPT_DAYS: i64 = 90;
/// Bytes of one value; lists of thousands are cut.
const VALUE_BYTES_MAX: usize = 4 * 1024;
/// Bytes of a line that is read.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Properties that change by themselves.
const RESTLESS: &[&str] =
    &["WhenChanged", "WhenChangedUTC", "LastLogonTime", "ItemCount", "TotalItemSize", "Sessions"];

/// One change, under Exchange's names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Entry {
    pub run_date: String,
    pub caller: String,
    /// The console, or the address that the command came from.
    #[serde(default)]
    pub from: String,
    pub cmdlet_name: String,
    pub cmdlet_parameters: Vec<Parameter>,
    #[serde(default)]
    pub object_modified: String,
    #[serde(default)]
    pub modified_properties: Vec<Modified>,
    pub succeeded: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    #[serde(default)]
    pub originating_server: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Parameter {
    pub name: String,
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Modified {
    pub name: String,
    pub old_value: Option<String>,
    pub new_value: Option<String>,
}

/// What a change found before it was made.
pub(crate) struct Watched {
    settings: Option<Arc<Settings>>,
    object: BTreeMap<String, String>,
}

impl Watched {
    /// `None` for what changes nothing.
    pub(crate) async fn begin(
        catalogue: &Catalogue,
        context: &Context,
        command: &Command,
        invocation: &Invocation,
    ) -> Option<Watched> {
        if !command.changes || invocation.what_if {
            return None;
        }
        let settings = context.world.as_ref().map(|w| w.settings.current());
        Some(Watched { settings, object: object(catalogue, context, command, invocation).await })
    }

    /// Writes what came of it.
    pub(crate) async fn end(
        self,
        catalogue: &Catalogue,
        context: &Context,
        command: &Command,
        invocation: &Invocation,
        error: Option<String>,
    ) {
        let after = object(catalogue, context, command, invocation).await;
        let mut modified = differences(&self.object, &after);
        if let (Some(before), Some(world)) = (&self.settings, &context.world) {
            let changes = candidate::changes(before, &world.settings.current());
            modified.extend(changes.into_iter().map(|c| Modified {
                name: c.key,
                old_value: c.old,
                new_value: c.new,
            }));
        }
        note(context, Entry { modified_properties: modified, ..entry(context, command, invocation, error) });
    }
}

/// Somebody asked for what they may not.
pub(crate) fn denied(context: &Context, command: &Command, invocation: &Invocation, failure: &Failure) {
    if command.changes {
        note(context, entry(context, command, invocation, Some(failure.message.clone())));
    }
}

fn entry(context: &Context, command: &Command, invocation: &Invocation, error: Option<String>) -> Entry {
    let secret = |name: &str| command.param(name).is_some_and(|p| p.kind == Kind::Secret);
    let parameters = invocation.args.iter().map(|(name, value)| Parameter {
        name: name.clone(),
        value: if secret(name) { "********".to_owned() } else { cut(value.shown()) },
    });
    let id = context.world.as_ref().map(|w| w.settings.current().server.id.clone()).unwrap_or_default();
    Entry {
        run_date: context.clock.now().to_string(),
        caller: context.caller.clone(),
        from: context.from.clone(),
        cmdlet_name: command.name(),
        cmdlet_parameters: parameters.collect(),
        object_modified: identity(invocation).unwrap_or_else(|| command.noun.to_owned()),
        modified_properties: Vec::new(),
        succeeded: error.is_none(),
        error,
        why: invocation.why.clone(),
        originating_server: id,
    }
}

fn identity(invocation: &Invocation) -> Option<String> {
    let named =
        ["Identity", "Name", "Key", "Thumbprint"].iter().find_map(|name| invocation.args.get(*name))?;
    match named {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    }
}

fn cut(mut text: String) -> String {
    if text.len() > VALUE_BYTES_MAX {
        let mut end = VALUE_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The object as `Get-` shows it: the one that is named, or the only one of its kind. Nothing where that is not clear.
async fn object(
    catalogue: &Catalogue,
    context: &Context,
    command: &Command,
    invocation: &Invocation,
) -> BTreeMap<String, String> {
    let nothing = BTreeMap::new;
    let Some(get) = catalogue.find(&format!("Get-{}", command.noun)).filter(|g| !g.changes) else {
        return nothing();
    };
    if context.world.is_none() {
        return nothing();
    }
    let mut looking = Invocation { command: get.name(), ..Invocation::default() };
    let place = get.params.iter().find(|p| p.position == Some(0) && p.kind == Kind::Text);
    match (place, identity(invocation)) {
        (Some(place), Some(identity)) => {
            // A name with a star in it would be a pattern.
            if identity.contains('*') {
                return nothing();
            }
            looking.args.insert(place.name.to_owned(), Value::Text(identity));
        }
        (Some(place), None) if place.name != "Server" => return nothing(),
        _ => {}
    }
    let mut records = Vec::new();
    let tell = |event: Event| {
        if let Event::Record(record) = event {
            records.push(record);
        }
    };
    // A look, which is not watched itself.
    Box::pin(catalogue.run_here(context, &looking, tell)).await;
    let mut records = records.into_iter();
    match (records.next(), records.next()) {
        (Some(record), None) => record.0.into_iter().map(|(name, cell)| (name, cut(cell.shown()))).collect(),
        _ => nothing(),
    }
}

fn differences(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<Modified> {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name) && !RESTLESS.contains(&name.as_str()))
        .map(|name| Modified {
            name: name.clone(),
            old_value: before.get(name).cloned(),
            new_value: after.get(name).cloned(),
        })
        .collect()
}

pub fn folder(data: &Path) -> PathBuf {
    data.join("logs/audit")
}

fn note(context: &Context, entry: Entry) {
    if let Err(e) = write(&context.data, context.clock.now(), &entry) {
        tracing::error!(error = %e, command = entry.cmdlet_name, caller = entry.caller, "audit log not written");
    }
}

fn write(data: &Path, now: Timestamp, entry: &Entry) -> io::Result<()> {
    let folder = folder(data);
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let path = folder.join(format!("{}.LOG", stem(now)));
    if !path.exists() {
        tidy(&folder, now);
    }
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
    file.write_all(&line)?;
    file.sync_data()
}

/// `AUDIT20260303`
fn stem(at: Timestamp) -> String {
    let c = at.civil();
    format!("AUDIT{:04}{:02}{:02}", c.year, c.month, c.day)
}

fn tidy(folder: &Path, now: Timestamp) {
    let oldest = stem(Timestamp(now.as_millis() - KEPT_DAYS * 86_400_000));
    for path in files(folder) {
        let old = path.file_stem().and_then(|s| s.to_str()).is_some_and(|s| s < oldest.as_str());
        if old && let Err(e) = fs::remove_file(&path) {
            tracing::warn!(error = %e, path = %path.display(), "old audit log not removed");
        }
    }
}

/// Oldest first.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path());
    let ours = |p: &PathBuf| {
        p.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with("AUDIT") && n.ends_with(".LOG"))
    };
    let mut all: Vec<PathBuf> = entries.filter(ours).collect();
    all.sort();
    all
}

/// Entries that `fits` chooses, newest first, at most `max`. Lines that cannot be read are left out.
pub fn search(
    data: &Path,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    max: usize,
    fits: impl Fn(&Entry) -> bool,
) -> io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    let (first, last) = (from.map(stem), to.map(stem));
    for path in files(&folder(data)).into_iter().rev() {
        let name = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        if first.as_deref().is_some_and(|f| name < f) || last.as_deref().is_some_and(|l| name > l) {
            continue;
        }
        let mut of_day: Vec<Entry> = BufReader::new(fs::File::open(&path)?)
            .split(b'\n')
            .map_while(Result::ok)
            .filter(|line| line.len() <= LINE_BYTES_MAX)
            .filter_map(|line| serde_json::from_slice(&line).ok())
            .filter(|entry: &Entry| within(entry, from, to) && fits(entry))
            .collect();
        of_day.reverse();
        found.extend(of_day);
        if found.len() >= max {
            break;
        }
    }
    found.truncate(max);
    Ok(found)
}

/// Times are written so that they sort as texts.
fn within(entry: &Entry, from: Option<Timestamp>, to: Option<Timestamp>) -> bool {
    from.is_none_or(|f| entry.run_date >= f.to_string()) && to.is_none_or(|t| entry.run_date <= t.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_found() {
        let data = std::env::temp_dir().join(format!("waypost-audit-{}", std::process::id()));
        let _ = fs::remove_dir_all(&data);
        let at = |day: i64| Timestamp(1_772_525_720_114 + day * 86_400_000);
        for day in 0..3 {
            let entry = Entry {
                run_date: at(day).to_string(),
                caller: format!("admin{day}"),
                cmdlet_name: "Set-Mailbox".into(),
                succeeded: true,
                ..Entry::default()
            };
            write(&data, at(day), &entry).unwrap();
        }
        let callers = |from, to, max| -> Vec<String> {
            search(&data, from, to, max, |_| true).unwrap().into_iter().map(|e| e.caller).collect()
        };
        assert_eq!(callers(None, None, 10), ["admin2", "admin1", "admin0"]);
        assert_eq!(callers(Some(at(1)), Some(at(1)), 10), ["admin1"]);
        assert_eq!(callers(None, None, 1), ["admin2"]);
        // A line that a crash has cut is left out, and a day that is too old goes.
        fs::write(folder(&data).join("AUDIT20260303.LOG"), "{\"RunDate\":").unwrap();
        assert_eq!(callers(None, None, 10), ["admin2", "admin1"]);
        write(&data, at(92), &Entry { caller: "later".into(), ..Entry::default() }).unwrap();
        assert_eq!(files(&folder(&data)).len(), 2);
        fs::remove_dir_all(&data).unwrap();
    }

    #[test]
    fn only_what_differs_is_told() {
        let of = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let told = differences(
            &of(&[("A", "1"), ("B", "2"), ("WhenChangedUTC", "x")]),
            &of(&[("A", "1"), ("B", "3"), ("C", "4"), ("WhenChangedUTC", "y")]),
        );
        let told: Vec<_> =
            told.iter().map(|m| (m.name.as_str(), m.old_value.as_deref(), m.new_value.as_deref())).collect();
        assert_eq!(told, [("B", Some("2"), Some("3")), ("C", None, Some("4"))]);
    }
}
