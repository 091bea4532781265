//! `waypost diagnose`: the live organisation, artefacts of Exchange and of others, a mail server seen from outside, and the
//! page of a cause. What is found is told in one form: on the terminal, as JSON, as a page of HTML.

mod line;
mod outside;

pub use line::{WORDS, command};

use crate::machine;
use crate::place::Place;
use clap::ArgMatches;
use indicatif::{ProgressBar, ProgressStyle};
use outside::Question;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use waypost_admin::output::Cell;
use waypost_diagnose::outside::causes;
use waypost_diagnose::outside::seen::{Kind, Seen};
use waypost_diagnose::report::{Colours, Mask};
use waypost_diagnose::source::Watcher;
use waypost_diagnose::{Options, Report, report, rule};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Bytes of pasted text that are read: a log of that size belongs into a file.
const PASTED_MAX: u64 = 64 * 1024 * 1024;

/// What is wanted, by the words of the command line.
#[derive(Debug)]
enum What {
    /// The organisation of the data folder.
    Live,
    Path(PathBuf),
    Pasted,
    Explain(String),
    Outside(Box<Question>),
}

/// How it is told.
#[derive(Clone, Debug, Default)]
struct Telling {
    json: bool,
    html: Option<PathBuf>,
    bare: bool,
    /// Exit code 1 where something is found.
    check: bool,
}

/// Runs it. 0: done, whatever was found; 1: it could not be done, or `--check` and something was found; 2: wrong usage.
///
/// # Errors
/// What is in the way, for people.
pub fn run(
    given: &ArgMatches,
    place: &Place,
    runtime: &tokio::runtime::Runtime,
) -> Result<ExitCode, Failure> {
    let telling = line::telling(given);
    let what = match line::what(given) {
        Ok(what) => what,
        Err(text) => {
            eprintln!("waypost diagnose: {text}");
            return Ok(ExitCode::from(2));
        }
    };
    match what {
        What::Live => runtime.block_on(live(place, &telling)),
        What::Explain(code) => explain(&code),
        What::Path(path) => {
            let report = of_path(&path, &telling)?;
            tell(&report, None, &telling, &format!("Diagnosis of {}", path.display()))
        }
        What::Pasted => {
            let mut text = Vec::new();
            io::stdin().lock().take(PASTED_MAX).read_to_end(&mut text)?;
            let cut = text.len() as u64 == PASTED_MAX;
            // As bytes: what PowerShell redirects is UTF-16, and an archive may come through a pipe.
            let mut report = waypost_diagnose::files(&[("(standard input)", &text)], &options(&telling));
            if cut {
                let reason =
                    format!("only the first {} MiB were read: put the rest into a file", PASTED_MAX >> 20);
                report.unread.push(report::Unread { file: "(standard input)".into(), reason });
            }
            tell(&report, None, &telling, "Diagnosis of pasted text")
        }
        What::Outside(question) => {
            let title = format!("{} at {} from outside", question.kind.name(), question.host);
            let seen = runtime.block_on(watched(*question))?;
            let mut report = waypost_diagnose::outside::report(&seen);
            if !telling.bare {
                report.mask();
            }
            tell(&report, Some(&seen), &telling, &title)
        }
    }
}

fn options(telling: &Telling) -> Options {
    let mut options = Options::new(machine::clock().now());
    options.mask = if telling.bare { Mask::Off } else { Mask::On };
    options
}

/// A sign of life on a terminal; nothing elsewhere.
fn spinner(text: String) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
    let bar =
        ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.set_message(text);
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// Bytes that are read before anybody wonders.
const LONG: u64 = 32 << 20;

fn of_path(path: &Path, telling: &Telling) -> io::Result<Report> {
    // Who reads JSON through a pipe is a program.
    let wanted = !telling.json || io::stdout().is_terminal();
    let bar = if wanted { progress(path) } else { ProgressBar::hidden() };
    let mut options = options(telling);
    if !bar.is_hidden() {
        let shown = bar.clone();
        options.watcher = Some(Watcher::new(move |progress| {
            shown.set_length(progress.total);
            shown.set_position(progress.read);
            // The end of a long name tells more.
            let skip = progress.file.chars().count().saturating_sub(48);
            shown.set_message(progress.file.chars().skip(skip).collect::<String>());
        }));
    }
    let report = waypost_diagnose::path(path, &options)
        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())));
    bar.finish_and_clear();
    report
}

/// How far reading is, on a terminal and for what takes a while; nothing elsewhere.
fn progress(path: &Path) -> ProgressBar {
    if !io::stderr().is_terminal() || size_of(path, 0) < LONG {
        return ProgressBar::hidden();
    }
    let form = "{bar:24} {percent:>3} % of {total_bytes}, {bytes_per_sec} {wide_msg}";
    let style = ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

/// Bytes below a path, for the sign of life alone: what cannot be read is told by the diagnosis itself.
fn size_of(path: &Path, depth: usize) -> u64 {
    let Ok(about) = std::fs::symlink_metadata(path) else { return 0 };
    if !about.is_dir() || depth > 8 {
        return about.len();
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.take(10_000).map(|entry| size_of(&entry.path(), depth + 1)).sum()
}

async fn watched(question: Question) -> io::Result<Seen> {
    let bar = spinner(format!("looking at {}", question.host));
    let seen = outside::look(question, &machine::clock()).await;
    bar.finish_and_clear();
    seen
}

/// Prints or writes what was found.
fn tell(report: &Report, seen: Option<&Seen>, telling: &Telling, title: &str) -> Result<ExitCode, Failure> {
    if let Some(path) = &telling.html {
        let made = format!("Made by waypost {} at {}", env!("CARGO_PKG_VERSION"), machine::clock().now());
        written(path, &report::page(report, title, &made))?;
    }
    let text = if telling.json {
        json(report, seen, telling)
    } else {
        report::text(report, if coloured() { Colours::On } else { Colours::Off })
    };
    if telling.json || telling.html.is_none() {
        print(&text);
    }
    let found = telling.check && !report.findings.is_empty();
    Ok(if found { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The report; with a look from outside also everything that was seen, as `seen`.
fn json(report: &Report, seen: Option<&Seen>, telling: &Telling) -> String {
    let Some(seen) = seen else { return report.json() };
    let mut whole = serde_json::to_value(report).unwrap_or_default();
    let mut facts = serde_json::to_value(seen).unwrap_or_default();
    if !telling.bare {
        mask(&mut facts);
    }
    if let Some(object) = whole.as_object_mut() {
        object.insert("seen".into(), facts);
    }
    report::json(&whole)
}

fn mask(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => *text = report::masked(text),
        serde_json::Value::Array(items) => items.iter_mut().for_each(mask),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(mask),
        _ => {}
    }
}

fn print(text: &str) {
    // A reader that has had enough (`| head`) is no failure of ours.
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// The page of a cause.
fn explain(code: &str) -> Result<ExitCode, Failure> {
    if let Some(rule) = rule::find(code) {
        print(&rule.page());
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(cause) = causes::find(code) {
        print(&cause.page());
        return Ok(ExitCode::SUCCESS);
    }
    let wanted = code.to_uppercase();
    let codes = rule::all().iter().map(|r| r.code.as_str()).chain(causes::ALL.iter().map(|c| c.code));
    let near: Vec<&str> = codes.filter(|c| c.contains(wanted.as_str())).take(12).collect();
    let hint = match near.as_slice() {
        [] => "Reports name codes, such as KRB-SKEW or OUTSIDE-CERT-EXPIRED.".to_owned(),
        near => format!("There are {}.", near.join(", ")),
    };
    eprintln!("waypost diagnose: there is no cause {code}. {hint}");
    Ok(ExitCode::from(3))
}

/// The live organisation: the command of the catalogue, which the running server answers, or the files of a stopped one.
async fn live(place: &Place, telling: &Telling) -> Result<ExitCode, Failure> {
    let mut words = vec!["Get-Diagnosis".to_owned()];
    if telling.bare {
        words.push("-NoMask".into());
    }
    if telling.html.is_some() {
        words.push("-Page".into());
    }
    if coloured() && !telling.json {
        words.push("-Colours".into());
    }
    let (exit, records) = crate::command::collect(place, &words).await;
    let Some(record) = records.first() else { return Ok(ExitCode::from(exit.0.max(1))) };
    let text = |name: &str| record.cell(name).map(Cell::shown).unwrap_or_default();
    if let Some(path) = &telling.html {
        written(path, &text("Html"))?;
    }
    if telling.json {
        let report = match record.cell("Report") {
            Some(Cell::Tree(report)) => report.clone(),
            _ => serde_json::Value::Null,
        };
        print(&report::json(&report));
    } else if telling.html.is_none() {
        print(&text("Text"));
    }
    let found = telling.check && text("Findings") != "0";
    Ok(if found { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn coloured() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

fn written(path: &Path, page: &str) -> Result<(), Failure> {
    std::fs::write(path, page).map_err(|e| format!("{}: {e}", path.display()))?;
    eprintln!("written: {}", path.display());
    Ok(())
}

/// What the question about a server is, once it has a kind and a host.
fn question(kind: Kind, host: &str) -> Question {
    Question {
        kind,
        host: host.trim_end_matches('.').to_ascii_lowercase(),
        https_port: 443,
        http_port: 80,
        ..Question::default()
    }
}
