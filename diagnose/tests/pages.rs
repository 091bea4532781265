//! `docs/causes` is made from the rules; this holds it to them. `UPDATE_GOLDEN=1` writes it again.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use waypost_diagnose::rule;

#[test]
fn pages_are_as_the_rules_are() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/causes");
    let mut pages: Vec<(String, String)> =
        rule::all().iter().map(|r| (format!("{}.md", r.code), r.page())).collect();
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
