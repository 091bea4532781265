//! Diagnosis: evidence read from artefacts, rules over facts, findings with their evidence.
//!
//! Facts are what was seen ([`fact`]); rules are data, one file for each cause ([`rule`]); what joins facts is a typed check
//! ([`checks`]); the engine weighs ([`engine`]). Nothing here opens a socket or asks a clock.

pub mod case;
pub mod checks;
pub mod engine;
pub mod fact;
pub mod flow;
pub mod outside;
pub mod phrases;
pub mod read;
pub mod report;
pub mod rule;
pub mod sink;
pub mod source;
pub mod words;

pub use case::Case;
pub use fact::{Fact, FileId, Place};
pub use report::Report;
pub use sink::Sink;

use phrases::Phrases;
use rule::Rule;
use std::io;
use std::path::Path;
use std::sync::OnceLock;
use waypost_base::Timestamp;

/// What a diagnosis may take, and what it may show.
#[derive(Clone, Debug)]
pub struct Options {
    /// The time now; evidence that has times of its own goes by those.
    pub clock: Timestamp,
    pub limits: source::Limits,
    pub mask: report::Mask,
    /// Is told how far reading is.
    pub watcher: Option<source::Watcher>,
}

impl Options {
    pub fn new(clock: Timestamp) -> Options {
        Options { clock, limits: source::Limits::default(), mask: report::Mask::On, watcher: None }
    }
}

/// Diagnoses a folder, a file or a zip.
///
/// # Errors
/// When `path` itself cannot be opened.
pub fn path(path: &Path, options: &Options) -> io::Result<Report> {
    let watcher = options.watcher.clone();
    let collected =
        source::collect_watched(path, &options.limits, phrases_of_rules(), options.clock, watcher)?;
    Ok(report_of(collected, options))
}

/// Diagnoses a text, such as what was pasted.
pub fn pasted(name: &str, text: &str, options: &Options) -> Report {
    report_of(source::collect_text(name, text, phrases_of_rules(), options.clock), options)
}

/// Diagnoses files that are in memory: names with their bytes.
pub fn files(files: &[(&str, &[u8])], options: &Options) -> Report {
    report_of(source::collect_files(files, phrases_of_rules(), options.clock), options)
}

fn phrases_of_rules() -> &'static Phrases {
    static PHRASES: OnceLock<Phrases> = OnceLock::new();
    PHRASES.get_or_init(|| {
        Phrases::new(rule::phrases(rule::all())).with_logs(rule::phrases_of_logs(rule::all()))
    })
}

fn report_of((case, read, unread): source::Collected, options: &Options) -> Report {
    let mut report = judge(&case, rule::all());
    report.read = read
        .into_iter()
        .map(|r| report::Read { file: r.file, kind: r.kind, count: r.count, server: r.server })
        .collect();
    report.unread = unread.into_iter().map(|u| report::Unread { file: u.file, reason: u.reason }).collect();
    if case.dropped > 0 {
        let reason = format!("{} lines more like these were not kept: there were too many", case.dropped);
        report.unread.push(report::Unread { file: "(all)".into(), reason });
    }
    if options.mask == report::Mask::On {
        report.mask();
    }
    report
}

/// Weighs rules against facts that were gathered elsewhere.
pub fn judge(case: &Case, rules: &[Rule]) -> Report {
    engine::judge(case, rules)
}
