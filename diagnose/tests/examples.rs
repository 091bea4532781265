//! Every rule's own examples through the whole way: readers, facts, engine.

use waypost_base::Timestamp;
use waypost_base::time::days_from_civil;
use waypost_diagnose::{Options, rule};

/// One rule can be looked at by `RULE=CODE cargo test …`.
#[test]
fn examples_of_rules_hold() {
    let only = std::env::var("RULE").ok();
    let options = Options::new(Timestamp(days_from_civil(2026, 11, 22) * 86_400_000));
    let (mut problems, mut tried) = (Vec::new(), 0);
    for rule in rule::all() {
        if only.as_ref().is_some_and(|o| !rule.code.contains(o.as_str()) && rule.area != *o) {
            continue;
        }
        for example in &rule.examples {
            tried += 1;
            let files: Vec<(&str, &[u8])> =
                example.files.iter().map(|(n, t)| (n.as_str(), t.as_bytes())).collect();
            let report = waypost_diagnose::files(&files, &options);
            let found: Vec<String> =
                report.findings.iter().map(|f| format!("{} {:.2}", f.cause, f.confidence)).collect();
            let benign = report.noise.iter().any(|n| n.cause == rule.code);
            let first = report.findings.first().is_some_and(|f| f.cause == rule.code);
            let named =
                report.findings.iter().any(|f| f.cause == rule.code && f.confidence >= rule.threshold);
            let good = match (rule.noise, example.fires) {
                (true, fires) => benign == fires && (!fires || report.findings.is_empty()),
                (false, true) => first,
                (false, false) => !named,
            };
            if !good {
                problems.push(format!(
                    "{} example {:?} should{} fire; found {found:?}",
                    rule.code,
                    example.name,
                    if example.fires { "" } else { " not" }
                ));
            }
        }
    }
    assert!(problems.is_empty(), "{} of {tried} examples fail:\n{}", problems.len(), problems.join("\n"));
}
