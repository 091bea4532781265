//! The house rules as checks: who may use whom, how many crates we stand on and under which licences, how long a
//! function may grow, and that documents name things that exist.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The rooms, each with the rooms it may use. An edge that is not here does not exist. (ARCHITECTURE.md, "Floors")
const ROOMS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("mime", &["base"]),
    ("sasl", &["base"]),
    ("imap", &["base"]),
    ("smtp", &["base", "sasl"]),
    ("pop3", &["base", "sasl"]),
    ("store", &["base"]),
    ("directory", &["base", "sasl", "store"]),
    ("trust", &["base"]),
    ("mailbox", &["base", "mime", "store"]),
    ("milter", &["base"]),
    ("queue", &["base", "smtp", "store"]),
    ("tracking", &["base"]),
    ("mailauth", &["base", "trust"]),
    (
        "transport",
        &[
            "base",
            "mime",
            "smtp",
            "milter",
            "sasl",
            "store",
            "directory",
            "trust",
            "mailbox",
            "queue",
            "tracking",
            "mailauth",
        ],
    ),
    ("access", &["base", "mime", "imap", "pop3", "sasl", "store", "directory", "trust", "mailbox"]),
    ("health", &["base"]),
    ("diagnose", &["base"]),
    (
        "admin",
        &[
            "base",
            "health",
            "diagnose",
            "mime",
            "store",
            "directory",
            "trust",
            "mailbox",
            "queue",
            "tracking",
            "mailauth",
            "transport",
            "access",
            "sasl",
            "smtp",
        ],
    ),
];

/// The binary and the workshop may use every room; nothing may use them.
const TOP: &[&str] = &["waypost-server", "waypost-testkit", "waypost-tests", "xtask"];

/// Third-party crates that only some rooms may name in their manifests.
const RESTRICTED: &[(&str, &[&str])] = &[
    ("rusqlite", &["waypost-store"]),
    ("rustls", &["waypost-server"]),
    ("rustls-native-certs", &["waypost-server"]),
    ("hickory-resolver", &["waypost-server", "waypost-mailauth"]),
    ("mail-auth", &["waypost-mailauth"]),
    ("rsa", &["waypost-mailauth"]),
    ("tokio-rustls", &["waypost-server"]),
    ("ldap3", &["waypost-server"]),
    ("axum", &["waypost-server"]),
    ("clap", &["waypost-server", "waypost-admin"]),
    (
        "tokio",
        &[
            "waypost-store",
            "waypost-directory",
            "waypost-trust",
            "waypost-mailbox",
            "waypost-queue",
            "waypost-mailauth",
            "waypost-transport",
            "waypost-access",
            "waypost-admin",
            "waypost-server",
            "waypost-testkit",
            "waypost-tests",
        ],
    ),
];

const CRATES_MAX: usize = 350;
const LOCK_MAX: usize = 500;
/// A file that is longer has to be listed with its reason.
const FILE_LINES_MAX: usize = 1000;
const FUNCTION_LINES_WALL: usize = 300;
/// Functions over 100 lines, in per cent of all.
const LONG_FUNCTIONS_MAX: f64 = 2.0;
const LONG_FILES: &[(&str, &str)] = &[];

pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(Path::to_path_buf).unwrap_or_default()
}

pub fn check(root: &Path) -> Vec<String> {
    let mut problems = Vec::new();
    match metadata(root) {
        Ok(meta) => {
            edges(&meta, &mut problems);
            third_parties(&meta, &mut problems);
            crates_in_the_build(root, &mut problems);
        }
        Err(e) => problems.push(format!("cargo metadata: {e}")),
    }
    lock_size(root, &mut problems);
    let sources = sources(root);
    lengths(root, &sources, &mut problems);
    problems.extend(crate::causes::check(root, &sources));
    forbidden_words(root, &mut problems);
    documents(root, &mut problems);
    problems
}

fn metadata(root: &Path) -> Result<Value, String> {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root)
        .output()
        .map_err(|e| e.to_string())?;
    if !out.status.success() {
        return Err(String::from_utf8_lossy(&out.stderr).into_owned());
    }
    serde_json::from_slice(&out.stdout).map_err(|e| e.to_string())
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn members(meta: &Value) -> impl Iterator<Item = &Value> {
    list(meta, "packages").iter().filter(|p| p["source"].is_null())
}

/// Which crate may name which in its manifest (dev-dependencies are free: tests may use what they like).
fn edges(meta: &Value, problems: &mut Vec<String>) {
    let table: BTreeMap<String, BTreeSet<String>> = ROOMS
        .iter()
        .map(|(room, uses)| {
            (format!("waypost-{room}"), uses.iter().map(|u| format!("waypost-{u}")).collect())
        })
        .collect();
    for package in members(meta) {
        let name = text(package, "name");
        let allowed = table.get(name);
        if allowed.is_none() && !TOP.contains(&name) {
            problems.push(format!("{name} is not a room of the table in xtask/src/tidy.rs"));
        }
        for dependency in list(package, "dependencies").iter().filter(|d| d["kind"].is_null()) {
            let uses = text(dependency, "name");
            if uses.starts_with("waypost-") && allowed.is_some_and(|a| !a.contains(uses)) {
                problems.push(format!("{name} may not use {uses}"));
            }
            for (restricted, who) in RESTRICTED {
                if uses == *restricted && !who.contains(&name) {
                    problems.push(format!("{name} may not use {uses}: it is reached through {who:?}"));
                }
            }
        }
    }
}

/// Every crate that we build on has an allowed licence, and there are not too many of them.
fn third_parties(meta: &Value, problems: &mut Vec<String>) {
    let reached = reached(meta);
    for package in list(meta, "packages").iter().filter(|p| !p["source"].is_null()) {
        let (name, licence) = (text(package, "name"), text(package, "license"));
        if reached.contains(text(package, "id")) && !crate::licence::acceptable(licence) {
            problems.push(format!("{name}: licence {licence:?} is not on our list"));
        }
    }
}

/// What `cargo tree -e normal --workspace` lists: the crates that are in the program on this platform.
fn crates_in_the_build(root: &Path, problems: &mut Vec<String>) {
    let words = ["tree", "-e", "normal", "--workspace", "--locked", "--prefix", "none", "--format", "{p}"];
    let out = match Command::new(env!("CARGO")).args(words).current_dir(root).output() {
        Ok(out) if out.status.success() => out,
        Ok(out) => return problems.push(format!("cargo tree: {}", String::from_utf8_lossy(&out.stderr))),
        Err(e) => return problems.push(format!("cargo tree: {e}")),
    };
    let text = String::from_utf8_lossy(&out.stdout);
    let crates: BTreeSet<&str> =
        text.lines().map(|l| l.trim_end_matches(" (*)")).filter(|l| !l.is_empty()).collect();
    if crates.len() > CRATES_MAX {
        problems.push(format!("{} crates in the default build; the limit is {CRATES_MAX}", crates.len()));
    }
}

/// Package ids that the workspace reaches over normal and build dependencies on any platform.
fn reached(meta: &Value) -> BTreeSet<String> {
    let nodes: BTreeMap<&str, &Value> =
        list(&meta["resolve"], "nodes").iter().map(|n| (text(n, "id"), n)).collect();
    let mut waiting: Vec<&str> = members(meta).map(|p| text(p, "id")).collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !seen.insert(id.to_owned()) {
            continue;
        }
        let Some(node) = nodes.get(id) else { continue };
        for dependency in list(node, "deps") {
            let wanted =
                |k: &&Value| k["kind"].as_str() != Some("dev") && !text(k, "target").contains("windows");
            if list(dependency, "dep_kinds").iter().any(|k| wanted(&k)) {
                waiting.push(text(dependency, "pkg"));
            }
        }
    }
    seen
}

fn lock_size(root: &Path, problems: &mut Vec<String>) {
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    let count = lock.lines().filter(|l| *l == "[[package]]").count();
    if count > LOCK_MAX {
        problems.push(format!("Cargo.lock names {count} packages; the limit is {LOCK_MAX}"));
    }
}

/// Files that git knows, so that build output is never looked at.
fn tracked(root: &Path) -> Vec<PathBuf> {
    let out = Command::new("git").args(["ls-files", "-co", "--exclude-standard"]).current_dir(root).output();
    let listing = out.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    listing.lines().map(|l| root.join(l)).filter(|p| p.is_file()).collect()
}

pub fn sources(root: &Path) -> Vec<PathBuf> {
    tracked(root).into_iter().filter(|p| p.extension().is_some_and(|e| e == "rs")).collect()
}

fn shown<'a>(root: &Path, path: &'a Path) -> std::borrow::Cow<'a, str> {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy()
}

fn lengths(root: &Path, sources: &[PathBuf], problems: &mut Vec<String>) {
    let (mut functions, mut long) = (0usize, Vec::new());
    for path in sources {
        let Ok(code) = fs::read_to_string(path) else { continue };
        let name = shown(root, path);
        let code = without_tests(&code);
        let lines = code.lines().count();
        if lines > FILE_LINES_MAX && !LONG_FILES.iter().any(|(f, _)| *f == name) {
            problems
                .push(format!("{name} has {lines} lines; {FILE_LINES_MAX} is the limit without a reason"));
        }
        for (function, line, length) in function_lengths(code) {
            functions += 1;
            if length > 100 {
                long.push(format!("{name}:{line} {function} ({length})"));
            }
            if length > FUNCTION_LINES_WALL {
                problems.push(format!("{name}:{line}: {function} has {length} lines"));
            }
        }
    }
    let share = 100.0 * long.len() as f64 / functions.max(1) as f64;
    if share > LONG_FUNCTIONS_MAX {
        problems.push(format!("{share:.1} % of functions are over 100 lines: {}", long.join(", ")));
    }
}

/// The part of a file before its unit tests, which stand last by our rule.
fn without_tests(code: &str) -> &str {
    code.find("\n#[cfg(test)]\nmod tests").map_or(code, |at| code.get(..at).unwrap_or(code))
}

/// Relies on rustfmt: a function ends at the first `}` that stands at its own indentation.
fn function_lengths(code: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let body = line.trim_start();
        let indent = line.len() - body.len();
        let Some(name) = function_name(body) else { continue };
        let closing = format!("{}}}", " ".repeat(indent));
        let rest = lines.get(start..).unwrap_or_default();
        if rest.first().is_some_and(|l| l.ends_with('}') || l.ends_with(';')) {
            found.push((name.to_owned(), start + 1, 1));
        } else if let Some(length) = rest.iter().position(|l| **l == closing) {
            found.push((name.to_owned(), start + 1, length + 1));
        }
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let mut rest = line;
    loop {
        if let Some(after) = rest.strip_prefix("fn ") {
            return after.split(['(', '<']).next();
        }
        let (word, after) = rest.split_once(' ')?;
        let modifier =
            word.starts_with("pub") || ["async", "const", "unsafe", "extern", "\"C\""].contains(&word);
        if !modifier {
            return None;
        }
        rest = after;
    }
}

/// The project speaks of itself alone.
fn forbidden_words(root: &Path, problems: &mut Vec<String>) {
    // Split so that this file does not contain what it looks for.
    let words = [concat!("/wo", "rk/"), concat!("farm", "-"), concat!("FIX", "ME"), concat!("claude", "")];
    for path in tracked(root) {
        let Ok(content) = fs::read_to_string(&path) else { continue };
        if path.ends_with("xtask/src/tidy.rs") || path.ends_with("Cargo.lock") || content.len() > 1 << 20 {
            continue;
        }
        for word in words {
            if content.contains(word) {
                problems.push(format!("{} contains {word:?}", shown(root, &path)));
            }
        }
    }
}

/// Every path that a document names in backticks exists.
fn documents(root: &Path, problems: &mut Vec<String>) {
    let documents = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/spec-status.tsv"];
    for document in documents {
        let Ok(content) = fs::read_to_string(root.join(document)) else {
            problems.push(format!("{document} is missing"));
            continue;
        };
        for named in content.split('`').skip(1).step_by(2) {
            let looks_like_path = named.contains('/')
                && [".rs", ".md", ".tsv", ".py", ".toml"].iter().any(|e| named.ends_with(e));
            let plain = named.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            if looks_like_path && plain && !named.starts_with('/') && !root.join(named).exists() {
                problems.push(format!("{document} names {named}, which does not exist"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_is_tidy() {
        let problems = check(&root());
        assert!(problems.is_empty(), "\n{}", problems.join("\n"));
    }

    #[test]
    fn measures_functions() {
        let code = "pub async fn a(x: u8) -> u8 {\n    x\n}\n\nfn b() {}\nimpl X {\n    fn c() {\n        1\n    }\n}\n";
        let lengths: Vec<usize> = function_lengths(code).into_iter().map(|f| f.2).collect();
        assert_eq!(lengths, [3, 1, 3]);
    }
}
