//! `docs/causes` is made from the rules; this holds it to them. `UPDATE_GOLDEN=1` writes it again.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use waypost_diagnose::outside::causes;
use waypost_diagnose::rule;

#[test]
fn pages_are_as_the_rules_are() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/causes");
    let mut pages: Vec<(String, String)> =
        rule::all().iter().map(|r| (format!("{}.md", r.code), r.page())).collect();
    pages.extend(causes::ALL.iter().map(|c| (format!("{}.md", c.code), c.page())));
    pages.push(("README.md".into(), rule::index()));
    let wanted: BTreeSet<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(&folder).expect("docs/causes");
        for entry in fs::read_dir(&folder).expect("docs/causes").flatten() {
            if !wanted.contains(entry.file_name().to_string_lossy().as_ref()) {
                fs::remove_file(entry.path()).expect("an old page");
            }
        }
        for (name, page) in &pages {
            fs::write(folder.join(name), page).expect("a page");
        }
        return;
    }
    let stale: Vec<&str> = pages
        .iter()
        .filter(|(name, page)| fs::read_to_string(folder.join(name)).ok().as_ref() != Some(page))
        .map(|(name, _)| name.as_str())
        .collect();
    assert!(
        stale.is_empty(),
        "docs/causes is not as the rules are (UPDATE_GOLDEN=1 makes it again): {stale:?}"
    );
    let there = fs::read_dir(&folder).expect("docs/causes").flatten().count();
    assert_eq!(there, wanted.len(), "docs/causes has pages of causes that are gone");
}

/// A code that the sources write into a finding, whoever finds it, is one that people look up.
#[test]
fn every_code_that_people_meet_has_a_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let known: BTreeSet<&str> =
        rule::all().iter().map(|r| r.code.as_str()).chain(causes::ALL.iter().map(|c| c.code)).collect();
    let (mut met, mut without) = (0, Vec::new());
    for room in ["admin", "server", "health", "access", "transport", "trust", "queue", "tracking", "mailbox"]
    {
        for path in sources(&root.join(room).join("src"), 0) {
            let Ok(text) = fs::read_to_string(&path) else { continue };
            // Tests compose what they like.
            let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            for code in codes(text) {
                met += 1;
                if !known.contains(code) {
                    without.push(format!("{}: {code}", path.display()));
                }
            }
        }
    }
    assert!(without.is_empty(), "codes without a page in docs/causes: {without:#?}");
    assert!(met > 100, "only {met} codes were met");
}

fn sources(folder: &Path, depth: usize) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && depth < 8 {
            all.extend(sources(&path, depth + 1));
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            all.push(path);
        }
    }
    all
}

/// Literals in capitals with a dash, where a field `code` or `cause` takes them or a table of causes has them.
fn codes(text: &str) -> Vec<&str> {
    let shaped = |code: &&str| {
        code.contains('-')
            && code.len() > 4
            && code.starts_with(|c: char| c.is_ascii_uppercase())
            && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-')
    };
    let table = text.contains("causes! {");
    let mut all = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('"') {
        let Some((literal, next)) = after.split_once('"') else { break };
        let before = before.trim_end();
        let named = before.ends_with("code:") || before.ends_with("cause:");
        let row = table && before.ends_with(" =") && !before.contains("const ");
        if (named || row) && shaped(&literal) {
            all.push(literal);
        }
        rest = next;
    }
    all
}
