//! The text report of the Exchange Health Checker script: names and values in sections, one fact for each line.

use crate::fact::{Fact, server_name};
use crate::read::Doc;
use crate::read::scan;
use crate::sink::Sink;
use crate::words;

/// Words that only this report has.
const MARKS: [&str; 4] = [
    "Exchange Health Checker version",
    "Valid Internal Transport Certificate Found",
    "Exchange Server Membership Details",
    "Processor/Hardware Information",
];

/// Reads a report, wherever it stands.
pub fn read(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let marked = |line: &str| MARKS.iter().any(|mark| words::contains(line, mark));
    let Some(mark) = doc.lines.iter().position(|line| marked(line)) else { return };
    let mut section = String::new();
    let mut heading = String::new();
    let mut server = None;
    let mut found = 0;
    let begin =
        mark.saturating_sub(if words::contains(doc.lines.get(mark).copied().unwrap_or_default(), MARKS[0]) {
            0
        } else {
            200
        });
    for at in begin..doc.lines.len() {
        let Some(line) = doc.free(at) else { continue };
        if super::command::is_prompt(line) {
            break;
        }
        let below = doc.free(at + 1).unwrap_or_default();
        if !line.trim().is_empty() && super::table::is_dashes(below) && below.trim().split(' ').count() == 1 {
            line.trim().clone_into(&mut section);
            heading.clear();
            doc.claim(at..at + 2);
            continue;
        }
        let Some((name, value)) = scan::pair(line) else {
            if scan::indent(line) > 0 && line.len() < 80 {
                line.trim().clone_into(&mut heading);
            }
            continue;
        };
        if value.is_empty() {
            name.clone_into(&mut heading);
            continue;
        }
        if (name.eq_ignore_ascii_case("name") && section.contains("Exchange Information")
            || name == "Server Name")
            && server.is_none()
        {
            server = server_name(value);
        }
        let mut fact = Fact::new("object", doc.place(at)).with("type", "HealthChecker").text(line.trim());
        fact.server.clone_from(&server);
        fact.put("name", name);
        fact.put("value", value);
        fact.put("section", &section);
        fact.put("heading", &heading);
        sink.fact(fact);
        doc.claim(at..at + 1);
        found += 1;
    }
    sink.understood("Health Checker report", found);
}
