//! What was changed: versions of the settings with what each changed, and commands from the audit log.

use crate::audit::{self, Entry};
use crate::settings::candidate;
use crate::settings::document::Document;
use crate::settings::store::versions_of;
use crate::settings::{Scope, parse_time};
use std::collections::BTreeMap;
use std::path::Path;
use waypost_base::Timestamp;
use waypost_tracking::story::tale::Change;

/// Commands of the audit log that are looked at.
const ENTRIES_MAX: usize = 500;
/// Keys of one change that are named.
const KEYS_MAX: usize = 6;
/// A version and the command that made it are written at nearly the same time.
const SAME_MILLIS: i64 = 5_000;

/// Everything that was changed between two times, oldest first, and what could not be read.
pub fn changes(data: &Path, from: Timestamp, to: Timestamp) -> (Vec<Change>, Vec<String>) {
    let (mut all, mut unread) = (Vec::new(), Vec::new());
    for scope in Scope::ALL {
        match of_settings(data, scope, from, to) {
            Ok(found) => all.extend(found),
            Err(e) => unread.push(format!("The history of the settings could not be read: {e}")),
        }
    }
    match audit::search(data, Some(from), Some(to), ENTRIES_MAX, |_| true) {
        Ok(entries) => {
            let own: Vec<Change> =
                entries.iter().filter_map(of_entry).filter(|c| !is_version(c, &all)).collect();
            all.extend(own);
        }
        Err(e) => unread.push(format!("The audit log could not be read: {e}")),
    }
    all.sort_by_key(|c| c.time);
    (all, unread)
}

fn is_version(change: &Change, versions: &[Change]) -> bool {
    let verb = change.command.split(' ').next().unwrap_or_default().to_ascii_lowercase();
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "");
    change.failed.is_none()
        && versions.iter().any(|v| {
            v.time.since(change.time).abs() <= SAME_MILLIS
                && (plain(&v.command).contains(&plain(&verb)) || v.command.starts_with("settings"))
        })
}

fn of_settings(data: &Path, scope: Scope, from: Timestamp, to: Timestamp) -> Result<Vec<Change>, String> {
    let versions = versions_of(data, scope).map_err(|e| e.to_string())?;
    let mut changes = Vec::new();
    for (n, version) in versions.iter().enumerate() {
        let head: BTreeMap<String, String> = version.head().into_iter().collect();
        let Some(time) = head.get("when").and_then(|w| parse_time(w)) else { continue };
        // Version 0 is what stood there before anybody changed anything.
        if version.number == 0 || time < from || time > to {
            continue;
        }
        let meant = |v: &crate::settings::store::Version| Document::parse(&v.text().ok()?).ok()?.meant().ok();
        let before = n.checked_sub(1).and_then(|b| versions.get(b));
        let keys = match (before.and_then(meant), meant(version)) {
            (Some(before), Some(after)) => candidate::changes(&before, &after),
            _ => Vec::new(),
        };
        let services = keys.iter().flat_map(|k| services_of(&k.key)).map(|s| (*s).to_owned()).collect();
        let of = |name: &str| head.get(name).cloned();
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "the default".into());
        let mut told: Vec<String> = keys
            .iter()
            .take(KEYS_MAX)
            .map(|k| format!("{}: {} → {}", k.key, shown(&k.old), shown(&k.new)))
            .collect();
        if keys.len() > KEYS_MAX {
            told.push(format!("and {} more", keys.len() - KEYS_MAX));
        }
        let own = if scope == Scope::Server { " -Server HERE" } else { "" };
        let undo = before.map(|b| format!("Undo-WaypostSetting -Version {}{own}", b.number));
        changes.push(Change {
            time,
            who: of("who").unwrap_or_default(),
            command: of("command").unwrap_or_default(),
            why: of("why"),
            version: Some((version.number, scope.name().to_lowercase())),
            keys: told,
            services,
            stops: keys.iter().any(|k| k.key.starts_with("listeners.") && k.new.is_none()),
            forced: of("forced"),
            failed: None,
            undo: undo.into_iter().collect(),
        });
    }
    Ok(changes)
}

/// The services whose work a key has a part in.
fn services_of(key: &str) -> &'static [&'static str] {
    let (section, rest) = key.split_once('.').unwrap_or((key, ""));
    match section {
        "imap" => &["imap"],
        "pop" => &["pop"],
        "smtp" | "receive_connectors" => &["smtp"],
        "send_connectors" | "queue" | "transport" | "dns" | "mail_authentication" => &["send"],
        "listeners" if rest.starts_with("imap") => &["imap"],
        "listeners" if rest.starts_with("pop") => &["pop"],
        "listeners" => &["smtp", "inner"],
        "legs" | "kerberos" => &["imap", "pop", "smtp", "send", "inner"],
        "tls" | "certificates" | "sign_in" | "oauth" | "ldap" => &["imap", "pop", "smtp"],
        _ => &[],
    }
}

fn of_entry(entry: &Entry) -> Option<Change> {
    // Tests are in the log since they send something; they change nothing.
    if entry.cmdlet_name.starts_with("Test-") {
        return None;
    }
    let time = parse_time(&entry.run_date)?;
    let mut command = entry.cmdlet_name.clone();
    for parameter in &entry.cmdlet_parameters {
        command.push_str(&format!(" -{} {}", parameter.name, parameter.value));
    }
    let value = |name: &str| {
        let found = entry.cmdlet_parameters.iter().find(|p| p.name.eq_ignore_ascii_case(name));
        found.map(|p| p.value.as_str()).unwrap_or_default()
    };
    let (verb, _) = entry.cmdlet_name.split_once('-').unwrap_or((&entry.cmdlet_name, ""));
    let inactive =
        value("State").eq_ignore_ascii_case("Inactive") || value("State").eq_ignore_ascii_case("Draining");
    let (stops, undo) = match (verb, entry.cmdlet_name.as_str()) {
        ("Stop", _) => (true, vec![command.replacen("Stop-", "Start-", 1)]),
        ("Suspend", _) => (true, vec![command.replacen("Suspend-", "Resume-", 1)]),
        (_, "Set-ServerComponentState") if inactive => {
            (true, vec![command.replace(value("State"), "Active")])
        }
        ("Remove" | "Revoke" | "Disable" | "Restart", _) => (true, Vec::new()),
        _ => (false, Vec::new()),
    };
    let modified = entry.modified_properties.iter().take(KEYS_MAX);
    let shown = |v: &Option<String>| v.clone().unwrap_or_else(|| "nothing".into());
    let words = format!("{} {} {}", entry.object_modified, value("Component"), value("Name"));
    Some(Change {
        time,
        who: entry.caller.clone(),
        command,
        why: entry.why.clone(),
        version: None,
        keys: modified
            .map(|m| format!("{}: {} → {}", m.name, shown(&m.old_value), shown(&m.new_value)))
            .collect(),
        services: services_named(&words),
        stops,
        forced: None,
        failed: (!entry.succeeded).then(|| entry.error.clone().unwrap_or_else(|| "it failed".into())),
        undo,
    })
}

fn services_named(words: &str) -> Vec<String> {
    let lower = words.to_ascii_lowercase();
    let table: [(&str, &[&str]); 6] = [
        ("imap", &["imap"]),
        ("pop", &["pop"]),
        ("transport", &["send", "smtp"]),
        ("smtp", &["smtp"]),
        ("serverwideoffline", &["imap", "pop", "smtp", "send"]),
        ("queue", &["send"]),
    ];
    let fitting = table.into_iter().filter(|(word, _)| lower.contains(word));
    fitting.flat_map(|(_, services)| services.iter().map(|s| (*s).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Parameter;
    use crate::settings::{Author, Edit, save_change};

    #[test]
    fn versions_tell_what_they_changed() {
        let data = std::env::temp_dir().join(format!("waypost-why-history-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&data);
        std::fs::create_dir_all(&data).unwrap();
        let when = parse_time("2026-11-22T10:04:00Z").unwrap();
        let author = Author {
            who: "amy".into(),
            when,
            why: Some("audit".into()),
            command: "Set-ImapSettings -Banner Hi".into(),
            ..Author::default()
        };
        save_change(&data, &[Edit::set("imap.banner", &"Hi".to_owned())], &author).unwrap();
        let (found, unread) = changes(&data, when.plus_millis(-1000), when.plus_millis(1000));
        assert!(unread.is_empty(), "{unread:?}");
        let [change] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(change.version, Some((1, "organisation".into())));
        assert_eq!(change.services, ["imap"]);
        assert!(
            change.keys[0].starts_with("imap.banner: ") && change.keys[0].ends_with("→ \"Hi\""),
            "{:?}",
            change.keys
        );
        assert_eq!(change.undo, ["Undo-WaypostSetting -Version 0"]);
        assert!(changes(&data, when.plus_millis(1), when.plus_millis(1000)).0.is_empty());
        std::fs::remove_dir_all(&data).unwrap();
    }

    #[test]
    fn commands_tell_how_to_take_them_back() {
        let entry = |cmdlet: &str, parameters: &[(&str, &str)]| Entry {
            run_date: "2026-11-22T10:04:00.000Z".into(),
            cmdlet_name: cmdlet.into(),
            cmdlet_parameters: parameters
                .iter()
                .map(|(n, v)| Parameter { name: (*n).into(), value: (*v).into() })
                .collect(),
            succeeded: true,
            ..Entry::default()
        };
        let stopped = of_entry(&entry("Stop-Service", &[("Name", "imap")])).unwrap();
        assert!(stopped.stops);
        assert_eq!(
            (stopped.undo, stopped.services),
            (vec!["Start-Service -Name imap".to_owned()], vec!["imap".to_owned()])
        );
        let state = [("Identity", "mbx-1"), ("Component", "HubTransport"), ("State", "Inactive")];
        let set = of_entry(&entry("Set-ServerComponentState", &state)).unwrap();
        assert_eq!(
            set.undo,
            ["Set-ServerComponentState -Identity mbx-1 -Component HubTransport -State Active"]
        );
        assert!(!of_entry(&entry("Set-Mailbox", &[("Identity", "amy")])).unwrap().stops);
    }
}
