//! The tale for people.

use super::Tale;
use crate::legs::PastLeg;
use std::fmt::Write;
use waypost_base::Timestamp;
use waypost_base::explain::Confidence;

/// Facts and legs that a text shows; the structured form has all.
const SHOWN_MAX: usize = 60;

/// `2026-03-03 10:05:12`, UTC.
pub(super) fn clock(time: Timestamp) -> String {
    let c = time.civil();
    format!("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", c.year, c.month, c.day, c.hour, c.minute, c.second)
}

pub(super) fn span(from: Timestamp, to: Timestamp) -> String {
    let (from, to) = (clock(from), clock(to));
    let same_day = from.get(..10) == to.get(..10);
    let end = if same_day { to.get(11..).unwrap_or_default().to_owned() } else { to };
    format!("from {from} to {end} UTC")
}

pub(super) fn within(a: Timestamp, b: Timestamp, millis: i64) -> bool {
    a.since(b).abs() <= millis
}

fn sure(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Certain => "",
        Confidence::Likely => "(likely) ",
        Confidence::Possible => "(possible) ",
    }
}

pub(super) fn text(tale: &Tale) -> String {
    let mut out = format!("{}\n", tale.title);
    for line in &tale.summary {
        let _ = writeln!(out, "  {line}");
    }
    section(
        &mut out,
        "What follows",
        tale.follows.iter().map(|c| format!("{}{}", sure(c.confidence), c.text)),
    );
    section(
        &mut out,
        "What is only suspected",
        tale.suspected.iter().map(|s| format!("{}{}\n      Test: {}", sure(s.confidence), s.text, s.test)),
    );
    section(&mut out, "What is not known", tale.not_known.iter().cloned());
    section(&mut out, "What can be done", tale.remedy.iter().cloned());
    let seen = tale.seen.iter().map(|e| {
        let time = e.time.map_or_else(|| "now                ".to_owned(), clock);
        format!("{time}  {}: {}", e.source, e.fact)
    });
    section(&mut out, "What was seen", newest(tale.seen.len(), seen));
    section(&mut out, "Legs", newest(tale.legs.len(), tale.legs.iter().map(PastLeg::shown)));
    out.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

fn newest(len: usize, lines: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let skipped = len.saturating_sub(SHOWN_MAX);
    let note = (skipped > 0).then(|| format!("… {skipped} earlier ones (--json has all)"));
    note.into_iter().chain(lines.skip(skipped))
}

fn section(out: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let mut lines = lines.peekable();
    if lines.peek().is_some() {
        let _ = writeln!(out, "\n{title}");
        for line in lines {
            // What others said stays in its line.
            let line = line.replace("\r", " ");
            let _ = writeln!(out, "  {line}");
        }
    }
}
