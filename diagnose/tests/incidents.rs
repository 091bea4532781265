//! The corpus: bundles as administrators would collect them, each with its known cause.
//!
//! `BUNDLE=certificates/… cargo test …` looks at some of them; the measure is over all: the right cause first in 95 %, within
//! the first three in all, and nothing named where nothing is wrong.

use std::fs;
use std::path::{Path, PathBuf};
use waypost_base::Timestamp;
use waypost_base::time::days_from_civil;
use waypost_diagnose::{Options, Report};

const FIRST: f64 = 0.95;

struct Expect {
    causes: Vec<String>,
    healthy: bool,
}

fn expect(folder: &Path) -> Option<Expect> {
    let text = fs::read_to_string(folder.join("expect.toml")).ok()?;
    let document: toml_edit::DocumentMut =
        text.parse().unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut causes: Vec<String> =
        document.get("cause").and_then(|c| c.as_str()).map(str::to_owned).into_iter().collect();
    if let Some(list) = document.get("causes").and_then(|c| c.as_array()) {
        causes.extend(list.iter().filter_map(|c| c.as_str()).map(str::to_owned));
    }
    let healthy = document.get("healthy").and_then(toml_edit::Item::as_bool).unwrap_or(false);
    Some(Expect { causes, healthy })
}

fn bundles(folder: &Path, found: &mut Vec<PathBuf>) {
    if folder.join("expect.toml").exists() {
        found.push(folder.to_owned());
        return;
    }
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut folders: Vec<PathBuf> =
        entries.filter_map(|e| e.ok().map(|e| e.path())).filter(|p| p.is_dir()).collect();
    folders.sort();
    for folder in folders {
        bundles(&folder, found);
    }
}

/// Place of a cause among the findings, from 0.
fn place(report: &Report, cause: &str) -> Option<usize> {
    report
        .findings
        .iter()
        .position(|f| f.cause.eq_ignore_ascii_case(cause) || f.catalogue.eq_ignore_ascii_case(cause))
}

#[test]
fn the_right_cause_is_found() {
    let root = std::env::var("INCIDENTS")
        .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/incidents"), PathBuf::from);
    let mut all = Vec::new();
    bundles(&root, &mut all);
    let only = std::env::var("BUNDLE").ok();
    all.retain(|b| only.as_ref().is_none_or(|o| b.to_string_lossy().contains(o.as_str())));
    assert!(!all.is_empty(), "no bundles in {}", root.display());
    let options = Options::new(Timestamp(days_from_civil(2026, 11, 22) * 86_400_000));
    let (mut first, mut faulty, mut lost, mut later) = (0_u32, 0_u32, Vec::new(), Vec::new());
    for bundle in &all {
        let Some(expect) = expect(bundle) else { continue };
        let name = bundle.strip_prefix(&root).unwrap_or(bundle).display().to_string();
        let report = waypost_diagnose::path(bundle, &options).unwrap_or_else(|e| panic!("{name}: {e}"));
        let found: Vec<String> =
            report.findings.iter().take(5).map(|f| format!("{} {:.2}", f.cause, f.confidence)).collect();
        if expect.healthy {
            if !report.findings.is_empty() {
                lost.push(format!("{name}: healthy, but {found:?}"));
            }
            continue;
        }
        faulty += 1;
        let noted = |cause: &str| report.noise.iter().any(|n| n.catalogue.eq_ignore_ascii_case(cause));
        let places: Vec<Option<usize>> = expect.causes.iter().map(|c| place(&report, c)).collect();
        if places.contains(&Some(0)) || (report.findings.is_empty() && expect.causes.iter().any(|c| noted(c)))
        {
            first += 1;
        } else {
            later.push(format!("{name}: wanted {:?} first, found {found:?}", expect.causes));
        }
        for (cause, place) in expect.causes.iter().zip(&places) {
            if !place.is_some_and(|p| p < 3) && !noted(cause) {
                lost.push(format!("{name}: {cause} is not within the first three: {found:?}"));
            }
        }
    }
    let share = f64::from(first) / f64::from(faulty.max(1));
    println!(
        "{} bundles, {faulty} with faults, right cause first in {first} ({:.1} %)",
        all.len(),
        share * 100.0
    );
    let good = lost.is_empty() && share >= FIRST;
    let told = format!("not first:\n  {}\nlost:\n  {}", later.join("\n  "), lost.join("\n  "));
    println!("{told}");
    assert!(good, "{:.1} % first, {} lost\n{told}", share * 100.0, lost.len());
}
