//! Diagnoses a path without the server: for those who write rules and readers.
//!
//!     cargo run -q -p waypost-diagnose --example diagnose -- PATH [--json | --html | --facts]

use std::io::Read;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use waypost_base::Timestamp;
use waypost_diagnose::{Options, phrases::Phrases, report, rule, source};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| words.iter().any(|w| w == flag);
    let path = words.iter().find(|w| !w.starts_with("--")).ok_or("which PATH?")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let options = Options::new(Timestamp(i64::try_from(now.as_millis())?));
    if has("--facts") {
        let phrases = Phrases::new(rule::phrases(rule::all()));
        let (case, read, unread) =
            source::collect(&PathBuf::from(path), &options.limits, &phrases, options.clock)?;
        for fact in case.all() {
            let server = fact.server.as_deref().unwrap_or("-");
            println!(
                "{} {} {server} x{} {:?}\n    {}",
                case.show(fact.at),
                fact.kind,
                fact.count,
                fact.fields,
                fact.text
            );
        }
        println!("{read:#?}\n{unread:#?}");
        return Ok(());
    }
    let found = if path == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        waypost_diagnose::pasted("(standard input)", &text, &options)
    } else {
        waypost_diagnose::path(&PathBuf::from(path), &options)?
    };
    match () {
        () if has("--json") => print!("{}", found.json()),
        () if has("--html") => print!("{}", report::page(&found, "Diagnosis", "")),
        () => print!("{}", report::text(&found, report::Colours::Off)),
    }
    Ok(())
}
