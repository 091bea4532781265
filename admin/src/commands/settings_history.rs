//! What a change of the settings would do, what changes there were, and the way back: `waypost settings plan`, `apply`,
//! `undo`, `history` and `why`.

use super::property::{refused, rehearsed, settle, tell};
use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Category, Failure, Outcome};
use crate::output::{Cell, Record};
use crate::run::Call;
use crate::settings::document::Document;
use crate::settings::store::{Version, versions_of};
use crate::settings::value::shown;
use crate::settings::{Candidate, Report, Scope, Verdict};
use std::collections::BTreeMap;
use std::path::Path;

/// Bytes of a document that is read from a file; see `Document::parse`.
const BYTES_MAX: u64 = 1024 * 1024;

const SERVER: Param =
    Param::new("Server", Kind::Text, "What holds for this server alone, where there are several.");

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Compare",
        noun: "WaypostSetting",
        about: "Shows what a settings document would change, key by key, and rehearses it; nothing is put in place.",
        detail: "Short: `waypost settings plan FILE`. The last line says whom it touches and what its rehearsal came to: the \
                 services are brought up beside the running ones with the new settings and are spoken to as clients would.",
        params: &[
            Param::new("Path", Kind::Path, "The whole document, as settings.toml is written.")
                .mandatory()
                .at(0),
            SERVER,
        ],
        columns: &["Key", "Old", "New", "Services"],
        examples: &[Example { line: "settings plan new.toml", about: "What would it do?" }],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(plan(call)),
    },
    Command {
        verb: "Import",
        noun: "WaypostSetting",
        about: "Puts a settings document in place, after its rehearsal.",
        detail: "Short: `waypost settings apply FILE`. A document with a mistake is refused as a whole, and so is one whose \
                 rehearsal fails, unless -Force is given; that is kept in the history.",
        params: &[
            Param::new("Path", Kind::Path, "The whole document, as settings.toml is written.")
                .mandatory()
                .at(0),
            SERVER,
        ],
        columns: &["Version", "Rehearsal"],
        examples: &[Example {
            line: "settings apply new.toml -Why 'new certificate'",
            about: "Planned, rehearsed, put in place.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(import(call)),
    },
    Command {
        verb: "Get",
        noun: "WaypostSettingHistory",
        about: "Shows every change of the settings: who made it, when, why, by which command, and how it was rehearsed.",
        detail: "Short: `waypost settings history`. Version 0 is what stood there before the first change. The documents are in \
                 settings.d of the data folder.",
        params: &[
            Param::new("ResultSize", Kind::Text, "The newest so many, or Unlimited. 1000 if not given."),
            SERVER,
        ],
        columns: &["Version", "When", "Who", "Forced", "Command"],
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
        detail: "Short: `waypost settings undo`. Without -Version the last change is taken back. What is put back is a version \
                 of its own, so that an undo can be undone. It is rehearsed as every change is, and put in place also when \
                 something fails then: it held before. Passwords of connectors are no part of the settings and stay as they \
                 are.",
        params: &[
            Param::new("Version", Kind::Int, "Which, as Get-WaypostSettingHistory shows it.").at(0),
            SERVER,
        ],
        columns: &["Version", "Restored", "Rehearsal"],
        examples: &[Example { line: "settings undo", about: "The last change is taken back." }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(undo(call)),
    },
    Command {
        verb: "Get",
        noun: "WaypostSettingReason",
        about: "Tells why a setting is as it is: which change set it last, who made that, when and by which command.",
        detail: "Short: `waypost settings why KEY`.",
        params: &[Param::new("Key", Kind::Text, "Such as imap.login_type; * stands for any text.")
            .mandatory()
            .at(0)],
        columns: &["Text"],
        examples: &[Example { line: "settings why imap.login_type", about: "Who did that?" }],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(why(call)),
    },
];

/// A document from a file, which may not be on the server's disk: the command line makes the path absolute.
fn document(path: &Path) -> Outcome<String> {
    let failed = |e: std::io::Error| {
        Failure::new(Category::ReadError, path.display(), format!("{}: {e}", path.display()))
    };
    let meta = std::fs::metadata(path).map_err(failed)?;
    if meta.len() > BYTES_MAX {
        return Err(failed(std::io::Error::other("is larger than 1 MB")));
    }
    std::fs::read_to_string(path).map_err(failed)
}

async fn plan(call: &Call<'_>) -> Outcome {
    let store = &call.world()?.settings;
    let _turn = store.turn().await;
    let path = call.path("Path").ok_or_else(|| Failure::usage("Path", "-Path is missing."))?;
    let candidate = store.plan_text(super::property::scope(call)?, document(path)?).map_err(refused)?;
    let report = rehearsed(call, &candidate).await?;
    for change in candidate.changes() {
        let services: Vec<String> =
            crate::settings::candidate::touched(&change.key).iter().map(|t| t.service().to_owned()).collect();
        let record = Record::new()
            .with("Key", change.key)
            .with("Old", change.old)
            .with("New", change.new)
            .with("Services", services);
        call.record(record).await;
    }
    tell(call, &report).await;
    call.record(verdict(&candidate, &report)).await;
    Ok(())
}

/// The last line of a plan.
fn verdict(candidate: &Candidate, report: &Report) -> Record {
    let services: Vec<String> = candidate.touched().iter().map(|t| t.service().to_owned()).collect();
    let finding = report.refusal().and_then(|p| p.fault.as_ref());
    let finding = finding.and_then(|(_, finding)| serde_json::to_value(finding).ok());
    let probes: Vec<String> = report.probes.iter().map(|p| format!("{}: {}", p.name, p.leg)).collect();
    let (changes, state) = (candidate.changes().len(), report.verdict());
    let summary = match (changes, state) {
        (0, _) => "nothing changes".to_owned(),
        (n, Verdict::Untouched) => format!("{n} changed; rehearsal not needed"),
        (n, Verdict::Failed) => format!("{n} changed; refused: rehearsal {}", report.line()),
        (n, _) => format!("{n} changed; rehearsal {}", report.line()),
    };
    Record::new()
        .with("Key", "(all)")
        .with("Old", Cell::Null)
        .with("New", summary)
        .with("Services", services)
        .with("Listeners", candidate.rebound())
        .with("RestartNeeded", false)
        .with("Rehearsal", state.name())
        .with("Probes", probes)
        .with("Finding", finding.map_or(Cell::Null, Cell::Tree))
}

async fn import(call: &Call<'_>) -> Outcome {
    let store = &call.world()?.settings;
    let _turn = store.turn().await;
    let path = call.path("Path").ok_or_else(|| Failure::usage("Path", "-Path is missing."))?;
    let candidate = store.plan_text(super::property::scope(call)?, document(path)?).map_err(refused)?;
    let keys: Vec<String> = candidate.changes().into_iter().map(|c| c.key).collect();
    let what = format!("Putting {} in place, which changes {}.", path.display(), named(&keys));
    settle(call, &candidate, &what).await.map(drop)
}

fn named(keys: &[String]) -> String {
    match keys {
        [] => "nothing".into(),
        keys => keys.join(", "),
    }
}

async fn undo(call: &Call<'_>) -> Outcome {
    let store = &call.world()?.settings;
    let _turn = store.turn().await;
    let scope = super::property::scope(call)?;
    let versions = versions_of(store.data(), scope).map_err(refused)?;
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
    let candidate = store.plan_version(scope, number).map_err(refused)?;
    let keys: Vec<String> = candidate.changes().into_iter().map(|c| c.key).collect();
    let what = format!("Putting version {number} of the settings in place, which changes {}.", named(&keys));
    let forced = crate::Invocation { force: true, ..call.invocation.clone() };
    let call = &Call { invocation: &forced, ..*call };
    if let Some(version) = settle(call, &candidate, &what).await?.and_then(|saved| saved.version) {
        call.warn(format!("Version {number} holds again, as version {version}.")).await;
    }
    Ok(())
}

async fn history(call: &Call<'_>) -> Outcome {
    let data = call.world()?.settings.data().to_owned();
    let scope = super::property::scope(call)?;
    let versions = versions_of(&data, scope).map_err(refused)?;
    let skipped = versions.len().saturating_sub(super::mailbox::result_size(call)?);
    for version in versions.into_iter().skip(skipped) {
        call.record(told(&version, scope)).await;
    }
    Ok(())
}

/// A version as the history shows it.
fn told(version: &Version, scope: Scope) -> Record {
    let head: BTreeMap<String, String> = version.head().into_iter().collect();
    let of = |name: &str| head.get(name).cloned();
    Record::new()
        .with("Version", version.number)
        .with("When", of("when"))
        .with("Who", of("who"))
        .with("Why", of("why"))
        .with("Forced", head.contains_key("forced"))
        .with("Command", of("command"))
        .with("Rehearsal", of("rehearsal"))
        .with("Finding", of("forced"))
        .with("Scope", scope.name())
        .with("Path", &version.path)
}

async fn why(call: &Call<'_>) -> Outcome {
    let store = &call.world()?.settings;
    let settings = store.current();
    let pattern = call.required("Key")?;
    let keys: Vec<(String, String, String)> = settings
        .entries()
        .into_iter()
        .map(|(place, field, value)| (place.key(field.name), shown(&value), shown(&field.default)))
        .filter(|(key, ..)| crate::output::wildcard(pattern, key))
        .collect();
    if keys.is_empty() {
        return Err(Failure::not_found("setting", pattern));
    }
    let books = [Book::read(store.data(), Scope::Server)?, Book::read(store.data(), Scope::Organisation)?];
    for (key, value, default) in keys {
        // What this server has for itself goes before what the organisation has.
        let book = books.iter().find(|b| b.written(&key)).or_else(|| books.last());
        call.record(reason(book, &key, &value, &default)).await;
    }
    Ok(())
}

/// All versions of a document.
struct Book {
    scope: Scope,
    now: Option<Document>,
    versions: Vec<(Version, Document)>,
}

impl Book {
    fn read(data: &Path, scope: Scope) -> Outcome<Book> {
        let mut versions = Vec::new();
        for version in versions_of(data, scope).map_err(refused)? {
            // One that cannot be read any more says nothing, and hides nothing of the others.
            if let Some(document) = version.text().ok().and_then(|text| Document::parse(&text).ok()) {
                versions.push((version, document));
            }
        }
        let now = std::fs::read_to_string(scope.document(data)).unwrap_or_default();
        Ok(Book { scope, now: Document::parse(&now).ok(), versions })
    }

    fn written(&self, key: &str) -> bool {
        self.now.as_ref().is_some_and(|d| d.written(key).is_some())
    }

    /// The version that made the key what it is in the last one; `None` where it always was so.
    fn last_change(&self, key: &str) -> Option<&Version> {
        let value = |document: &Document| document.written(key).map(|v| shown(&v));
        let mut pairs: Vec<_> = self.versions.iter().zip(self.versions.iter().skip(1)).collect();
        pairs.reverse();
        pairs.into_iter().find(|((_, old), (_, new))| value(old) != value(new)).map(|(_, (v, _))| v)
    }
}

fn reason(book: Option<&Book>, key: &str, value: &str, default: &str) -> Record {
    let written = book.is_some_and(|b| b.written(key));
    let version = book.and_then(|b| b.last_change(key));
    let head: BTreeMap<String, String> = version.map(Version::head).unwrap_or_default().into_iter().collect();
    let of = |name: &str| head.get(name).cloned();
    let by = || {
        let mut text = format!(
            "by {} at {} with {:?}",
            of("who").unwrap_or_default(),
            of("when").unwrap_or_default(),
            of("command").unwrap_or_default()
        );
        if let Some(why) = of("why") {
            text.push_str(&format!(", because: {why}"));
        }
        if let Some(forced) = of("forced") {
            text.push_str(&format!(". It was forced against {forced}"));
        }
        text
    };
    let text = match (written, version) {
        (true, Some(v)) => format!("{key} = {value}, set in version {} {}", v.number, by()),
        (true, None) => format!("{key} = {value}, as it stood before the first change that was kept"),
        (false, Some(v)) => format!("{key} = {value}, the default, since version {} {}", v.number, by()),
        (false, None) => format!("{key} = {value}, the default; nobody has set it"),
    };
    Record::new()
        .with("Key", key)
        .with("Value", value)
        .with("Default", default)
        .with("IsDefault", !written)
        .with("Version", version.map(|v| v.number))
        .with("When", of("when"))
        .with("Who", of("who"))
        .with("Why", of("why"))
        .with("Command", of("command"))
        .with("Forced", head.contains_key("forced"))
        .with("Finding", of("forced"))
        .with("Scope", book.map_or(Scope::Organisation, |b| b.scope).name())
        .with("Text", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Author, Edit, Settings, save_change};
    use waypost_base::Timestamp;

    fn author(who: &str, why: Option<&str>) -> Author {
        Author {
            who: who.into(),
            when: Timestamp(1_772_525_720_114),
            why: why.map(str::to_owned),
            command: "Set-ImapSettings".into(),
            ..Author::default()
        }
    }

    #[test]
    fn a_key_knows_who_set_it() {
        let data = std::env::temp_dir().join(format!("waypost-reason-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&data);
        std::fs::create_dir_all(&data).unwrap();
        let set = |who: &str, why: Option<&str>, edit: Edit| {
            save_change(&data, &[edit], &author(who, why)).unwrap();
        };
        set("amy", Some("a greeting"), Edit::set("imap.banner", &"Hi".to_owned()));
        set("ben", None, Edit::set("imap.max_connections", &7u32));
        let told = |key: &str| {
            let book = Book::read(&data, Scope::Organisation).unwrap();
            reason(Some(&book), key, "V", "D").cell("Text").map(Cell::shown).unwrap()
        };
        assert!(told("imap.banner").contains("version 1 by amy"), "{}", told("imap.banner"));
        assert!(told("imap.banner").ends_with("because: a greeting"));
        assert!(told("imap.max_connections").contains("version 2 by ben"));
        assert!(told("pop.banner").ends_with("nobody has set it"));
        set("carla", None, Edit { key: "imap.banner".into(), value: None });
        assert!(told("imap.banner").contains("the default, since version 3 by carla"));
        std::fs::remove_dir_all(&data).unwrap();
    }

    #[test]
    fn the_last_line_of_a_plan_tells_the_verdict() {
        let before = std::sync::Arc::new(Settings::default());
        let mut after = Settings::default();
        after.imap.banner = "x".into();
        let candidate =
            Candidate { scope: Scope::Organisation, text: String::new(), before, after: after.into() };
        let record = verdict(&candidate, &Report::default());
        let text = record.cell("New").map(Cell::shown).unwrap();
        assert_eq!(text, "1 changed; rehearsal not needed");
        assert_eq!(record.cell("Services").map(Cell::shown).unwrap(), "{MSExchangeIMAP4}");
    }
}
