//! What the README shows of the founding incidents is what comes out.

use std::fs;
use std::path::Path;
use waypost_base::Timestamp;
use waypost_base::time::days_from_civil;
use waypost_diagnose::{Options, report};

#[test]
fn the_readme_shows_what_comes_out() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = fs::read_to_string(root.join("README.md")).expect("README.md");
    let options = Options::new(Timestamp(days_from_civil(2026, 11, 22) * 86_400_000));
    for (bundle, cause) in [("examples/incident-a", "B1"), ("examples/incident-b", "A1")] {
        let found = waypost_diagnose::path(&root.join(bundle), &options).expect("a bundle");
        assert_eq!(found.findings.first().map(|f| f.catalogue.as_str()), Some(cause), "{bundle}");
        let told = report::text(&found, report::Colours::Off);
        let (_, after) =
            readme.split_once(&format!("    $ waypost diagnose {bundle}\n")).expect("it is shown");
        let shown =
            after.lines().take_while(|line| line.starts_with("    ")).filter(|line| line.trim() != "…");
        let missing: Vec<&str> =
            shown.filter(|line| !told.lines().any(|l| Some(l) == line.get(4..))).collect();
        assert!(missing.is_empty(), "{bundle} does not say {missing:#?}\nbut\n{told}");
    }
}
