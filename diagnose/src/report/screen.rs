//! The report for a terminal: what was found, why, what to do; then the time line and what is missing.

use super::{Evidence, Finding, Report};
use crate::words;
use std::fmt::Write as _;
use waypost_base::Timestamp;

/// Whether the reader sees colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    On,
    Off,
}

/// Columns that text is wrapped at.
const WIDTH: usize = 110;

struct Page {
    colours: Colours,
    text: String,
}

/// The report as text.
pub fn text(report: &Report, colours: Colours) -> String {
    let mut page = Page { colours, text: String::new() };
    match report.findings.len() {
        0 => page.line(&page.bold("No cause was found.")),
        1 => page.line(&page.bold("One cause was found.")),
        n => page.line(&page.bold(&format!("{n} causes were found, the surest first."))),
    }
    for (n, finding) in report.findings.iter().enumerate() {
        page.finding(n + 1, finding);
    }
    page.timeline(report);
    if !report.noise.is_empty() {
        page.head("Benign");
        for noise in &report.noise {
            page.wrapped(
                "  ",
                &format!("{} ({}): {} [{}]", noise.title, times(noise.count), noise.why, noise.cause),
            );
        }
    }
    if !report.needed.is_empty() {
        page.head("What would settle it");
        for need in &report.needed {
            let from = if need.server.is_empty() { String::new() } else { format!(", from {}", need.server) };
            page.wrapped("  ", &format!("{}{from}: {}", need.what, need.how));
            page.wrapped("      ", &format!("settles {}", need.settles.join(", ")));
        }
    }
    page.read(report);
    page.text
}

fn times(count: u64) -> String {
    if count == 1 { "once".into() } else { format!("{count} times") }
}

/// How sure, in a word.
pub(super) fn sure(confidence: f64) -> &'static str {
    match confidence {
        c if c >= 0.9 => "certain",
        c if c >= 0.7 => "very likely",
        c if c >= 0.5 => "likely",
        _ => "possible",
    }
}

pub(super) fn clock(time: Timestamp) -> String {
    let text = time.to_string();
    text.replace('T', " ").trim_end_matches('Z').to_owned()
}

impl Page {
    fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn painted(&self, code: &str, text: &str) -> String {
        let text = words::harmless(text);
        match self.colours {
            Colours::On => format!("\x1b[{code}m{text}\x1b[0m"),
            Colours::Off => text.into_owned(),
        }
    }

    fn bold(&self, text: &str) -> String {
        self.painted("1", text)
    }

    fn head(&mut self, text: &str) {
        let head = self.bold(text);
        self.line("");
        self.line(&head);
    }

    fn wrapped(&mut self, indent: &str, text: &str) {
        let mut line = String::new();
        let mut first = true;
        let text = words::harmless(text);
        for word in text.split_whitespace() {
            let length = line.chars().count() + word.chars().count() + 1 + indent.len();
            if length > WIDTH && !line.is_empty() {
                let lead = if first { "" } else { "  " };
                let _ = writeln!(self.text, "{indent}{lead}{line}");
                line.clear();
                first = false;
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        let lead = if first { "" } else { "  " };
        let _ = writeln!(self.text, "{indent}{lead}{line}");
    }

    fn finding(&mut self, n: usize, finding: &Finding) {
        let colour = if finding.confidence >= 0.5 { "31;1" } else { "33;1" };
        let title = self.painted(colour, &format!("{n}. {}", finding.title));
        self.line("");
        self.line(&title);
        let server = finding.server.as_ref().map(|s| format!(", seen on {s}")).unwrap_or_default();
        let leg = if finding.leg.is_empty() { String::new() } else { format!(", leg {}", finding.leg) };
        let code = self.painted(
            "2",
            &format!(
                "   {}, {} ({:.2}){leg}{server}",
                finding.cause,
                sure(finding.confidence),
                finding.confidence
            ),
        );
        self.line(&code);
        self.part("Seen");
        for piece in &finding.evidence {
            self.piece(piece);
        }
        self.part("What follows");
        self.wrapped("     ", &finding.conclusion);
        self.part("What to do");
        for (n, step) in finding.remedy.iter().enumerate() {
            self.wrapped("     ", &format!("{}. {step}", n + 1));
        }
        if !finding.rivals.is_empty() {
            self.part("Fits as well");
            for rival in &finding.rivals {
                self.wrapped("     ", &format!("{} ({}, {:.2})", rival.title, rival.cause, rival.confidence));
                self.wrapped("       ", &format!("test: {}", rival.test));
            }
        }
        let open: Vec<&String> = finding
            .untested
            .iter()
            .filter(|u| !finding.rivals.iter().any(|r| u.starts_with(&r.cause)))
            .collect();
        if !open.is_empty() {
            self.part("Not looked at");
            for one in open {
                self.wrapped("     ", one);
            }
        }
        if !finding.reference.is_empty() {
            let reference = self.painted("2", &format!("   More: {}", finding.reference));
            self.line(&reference);
        }
    }

    fn part(&mut self, name: &str) {
        let name = self.painted("36", &format!("   {name}"));
        self.line(&name);
    }

    fn piece(&mut self, piece: &Evidence) {
        let place =
            if piece.line == 0 { piece.file.clone() } else { format!("{}:{}", piece.file, piece.line) };
        let against = if piece.against { "against it: " } else { "" };
        let end = if piece.end.is_empty() { String::new() } else { format!("{}: ", piece.end) };
        let time = piece.time.map(|t| format!("{} ", clock(t))).unwrap_or_default();
        self.wrapped("     ", &format!("{time}{against}{end}{}", words::one_line(&piece.fact)));
        let place = self.painted("2", &format!("       {place}"));
        self.line(&place);
    }

    fn timeline(&mut self, report: &Report) {
        if report.timeline.len() < 2 {
            return;
        }
        self.head("Time line (UTC)");
        for moment in &report.timeline {
            let server = moment.server.as_deref().unwrap_or("");
            let what = words::one_line(&moment.what);
            let mark = if moment.cause.is_none() { "changed: " } else { "" };
            self.wrapped("  ", &format!("{}  {server}  {mark}{what}", clock(moment.time)));
        }
    }

    fn read(&mut self, report: &Report) {
        self.head("Read");
        let mut kinds: std::collections::BTreeMap<&str, (u64, u64)> = std::collections::BTreeMap::new();
        for read in &report.read {
            let entry = kinds.entry(&read.kind).or_default();
            entry.0 += 1;
            entry.1 += read.count;
        }
        for (kind, (files, count)) in kinds {
            let files = if files == 1 { "1 file".into() } else { format!("{files} files") };
            self.wrapped("  ", &format!("{kind}: {count} in {files}"));
        }
        if !report.unread.is_empty() {
            self.head("Not read");
            for unread in &report.unread {
                self.wrapped("  ", &format!("{}: {}", unread.file, unread.reason));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Noise, Read, Unread};

    #[test]
    fn evidence_commands_no_terminal() {
        let bad = "\u{1b}]52;c;eA==\u{7}\u{9b}31m\r";
        let evidence =
            Evidence { file: bad.into(), line: 1, fact: bad.into(), end: bad.into(), ..Evidence::default() };
        let finding = Finding {
            title: bad.into(),
            server: Some(bad.into()),
            leg: bad.into(),
            evidence: vec![evidence],
            untested: vec![bad.into()],
            ..Finding::default()
        };
        let report = Report {
            findings: vec![finding],
            read: vec![Read { file: bad.into(), kind: bad.into(), ..Read::default() }],
            unread: vec![Unread { file: bad.into(), reason: bad.into() }],
            noise: vec![Noise { why: bad.into(), ..Noise::default() }],
            ..Report::default()
        };
        let text = text(&report, Colours::Off);
        assert!(!text.contains(|c: char| c != '\n' && words::is_unsafe(c)), "{text:?}");
        assert!(!report.json().contains(|c: char| c != '\n' && words::is_unsafe(c)));
    }
}
