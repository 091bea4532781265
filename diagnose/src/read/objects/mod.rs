//! PowerShell objects in every form in which they are printed or saved: lists, tables, CSV, JSON, CLIXML, HTML. One pass over a
//! document, which keeps in mind the command that was echoed last.

mod also;
pub mod checker;
pub mod clixml;
pub mod command;
pub mod csv;
pub mod emit;
pub mod errors;
pub mod json;
pub mod kind;
mod list;
mod markup;
mod rehydrate;
mod table;

pub use also::{common_name, date, disk_fact};
pub use emit::Object;

use crate::fact::Fact;
use crate::read::{Doc, scan};
use crate::sink::Sink;
use command::Command;
use std::ops::Range;

/// Lines after a command within which objects without a known set of properties are taken for its output.
const OUTPUT_LINES: usize = 400;
/// How often text that looks like JSON or XML is tried in vain; each try may look at all that follows.
const TRIES_MAX: usize = 24;

/// Reads the objects of a document in every form.
pub fn read(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let mut state = State::default();
    let mut at = 0;
    while at < doc.lines.len() {
        at = state.step(doc, at, sink);
    }
    sink.understood("objects in list form", state.lists);
    sink.understood("objects in table form", state.tables);
    sink.understood("objects as CSV", state.rows);
}

#[derive(Default)]
struct State {
    command: Option<(usize, Command)>,
    /// All lines as one text, with the byte at which each begins; made when it is first needed.
    whole: Option<(String, Vec<usize>)>,
    tries: usize,
    lists: u64,
    tables: u64,
    rows: u64,
}

impl State {
    /// Reads what stands at this line; where to go on.
    fn step(&mut self, doc: &mut Doc<'_>, at: usize, sink: &mut Sink<'_>) -> usize {
        let Some(line) = doc.free(at) else { return at + 1 };
        let trimmed = line.trim_start();
        let Some(first) = trimmed.chars().next() else { return at + 1 };
        if let Some(command) = command::of(line) {
            self.command = Some((at, command));
            // Its line is no property: `[PS] C:\>Get-Queue | fl Identity`, and what is asked says nothing yet.
            if !line.contains(" : ") {
                if command::is_prompt(line) || command::begins(line) {
                    // As whom a test signs in stands in its command alone.
                    if crate::words::contains(line, "Test-") && sink.hits(line) {
                        sink.fact(Fact::new("command", doc.place(at)).text(line));
                    }
                    doc.claim(at..at + 1);
                }
                return at + 1;
            }
        } else if command::is_prompt(line) {
            self.command = None;
            return at + 1;
        }
        if is_frame(line, doc.free(at + 1), sink) {
            doc.claim(at..at + 1);
            return at + 1;
        }
        match first {
            '<' => return self.xml(doc, at, sink).unwrap_or(at + 1),
            '{' | '[' => {
                if let Some(next) = self.json(doc, at, sink) {
                    return next;
                }
            }
            _ => {}
        }
        let quoted = first == '"' || trimmed.starts_with("#TYPE ") || line.matches([',', ';']).count() >= 2;
        if quoted && let Some((objects, end)) = csv::read(doc, at) {
            self.rows += self.give(objects, at..end, doc, sink);
            return end;
        }
        if line.contains('|')
            && let Some((objects, end)) = table::read_bars(doc, at)
        {
            self.tables += self.give(objects, at..end, doc, sink);
            return end;
        }
        if table::is_dashes(line)
            && let Some((objects, begin, end)) = table::read(doc, at)
        {
            if !objects.is_empty() && self.is_plausible(at, &objects, sink) {
                let mut objects = objects;
                if let Some(provider) = group(doc, begin) {
                    objects.iter_mut().for_each(|o| o.put("ProviderName", provider));
                }
                self.tables += self.give(objects, begin..end, doc, sink);
            }
            return end.max(at + 1);
        }
        if let Some(end) = self.bare(doc, at, sink) {
            return end;
        }
        self.list(doc, at, sink).unwrap_or(at + 1)
    }

    /// A table without its dashes, if its names are known or its command was just echoed.
    fn bare(&mut self, doc: &mut Doc<'_>, at: usize, sink: &mut Sink<'_>) -> Option<usize> {
        let line = doc.free(at)?;
        if !table::is_names(line) || doc.free(at + 1).is_none_or(table::is_dashes) {
            return None;
        }
        let names: Vec<String> = line.split_whitespace().map(str::to_lowercase).collect();
        let has = |name: &str| names.iter().any(|n| n == name);
        let near = self.command.as_ref().filter(|(line, _)| at - (*line).min(at) <= 3);
        let known = !kind::of_properties(has).is_empty() || has("component") && has("state");
        if !known && near.is_none() {
            return None;
        }
        let (objects, end) = table::read_bare(doc, at)?;
        self.tables += self.give(objects, at..end, doc, sink);
        Some(end)
    }

    fn list(&mut self, doc: &mut Doc<'_>, at: usize, sink: &mut Sink<'_>) -> Option<usize> {
        if let Some((objects, end)) = list::read(doc, at) {
            if self.is_plausible(at, &objects, sink) {
                self.lists += self.give(objects, at..end, doc, sink);
                return Some(end);
            }
            // Its first line was none, but others may be.
            return Some(if end > at + 200 { end } else { at + 1 });
        }
        let (object, end) = list::read_loose(doc, at)?;
        let known = !kind::of_properties(|name| object.has(name)).is_empty();
        if known {
            self.lists += self.give(vec![object], at..end, doc, sink);
        }
        Some(end)
    }

    /// Whether these are objects rather than lines of a letter with colons in them: by a command just before, by the file's
    /// name, by properties that are known, or by their number.
    fn is_plausible(&self, at: usize, objects: &[Object], sink: &Sink<'_>) -> bool {
        let near = self.command.as_ref().is_some_and(|(line, _)| at - (*line).min(at) <= OUTPUT_LINES);
        let known = |o: &Object| o.properties.len() >= 2 || !kind::of_properties(|n| o.has(n)).is_empty();
        // A queue's last error with its stamps is pasted alone as well.
        let stamped =
            |o: &Object| o.get("lasterror").is_some_and(|e| e.contains("{LED=") || e.contains("{LRT="));
        near || objects.iter().any(|o| known(o) || stamped(o)) || kind::of_file(&sink.name()).is_some()
    }

    fn give(
        &mut self,
        objects: Vec<Object>,
        lines: Range<usize>,
        doc: &mut Doc<'_>,
        sink: &mut Sink<'_>,
    ) -> u64 {
        let command = self.near(lines.start);
        let mut count = 0;
        for object in &objects {
            emit::emit(object, command.as_ref(), sink);
            count += 1;
        }
        doc.claim(lines);
        count
    }

    fn near(&self, at: usize) -> Option<Command> {
        let (line, command) = self.command.as_ref()?;
        (at - (*line).min(at) <= OUTPUT_LINES * 50).then(|| command.clone())
    }

    fn json(&mut self, doc: &mut Doc<'_>, at: usize, sink: &mut Sink<'_>) -> Option<usize> {
        let line = doc.free(at)?.trim();
        let begins = line.starts_with("{\"") || line.starts_with("[{") || line == "{" || line == "[";
        if !begins || self.tries >= TRIES_MAX {
            return None;
        }
        let command = self.near(at);
        let number = doc.place(at).line;
        let (from, rest) = self.rest(doc, at)?;
        let (found, end) = json::read_at(rest, number, command.as_ref(), sink);
        let end = from + end.unwrap_or(0);
        if found == 0 {
            self.tries += 1;
            return None;
        }
        self.claim(doc, at, end)
    }

    fn xml(&mut self, doc: &mut Doc<'_>, at: usize, sink: &mut Sink<'_>) -> Option<usize> {
        const BEGINNINGS: [&str; 11] = [
            "<objs",
            "<obj ",
            "<?xml",
            "<resource",
            "<diagnostics",
            "<table",
            "<!doctype html",
            "<html",
            "<objects",
            "<resourcethrottling",
            "<components",
        ];
        let line = doc.free(at)?.trim_start().to_ascii_lowercase();
        if self.tries >= TRIES_MAX || !BEGINNINGS.iter().any(|b| line.starts_with(b)) {
            return None;
        }
        let command = self.near(at);
        let number = doc.place(at).line;
        let (from, rest) = self.rest(doc, at)?;
        let (mut found, mut broken) = clixml::read_at(rest, number, command.as_ref(), sink);
        if found == 0 {
            (found, broken) = markup::read_at(rest, number, command.as_ref(), sink);
        }
        let whole = rest.len();
        // Prose after it breaks nothing: the elements end where the last mark does.
        let marks = rest.get(..broken.unwrap_or(whole).min(whole)).unwrap_or(rest).rfind('>').unwrap_or(0);
        if found == 0 {
            self.tries += 1;
            return None;
        }
        self.claim(doc, at, from + marks)
    }

    /// The text from a line on, and the byte at which it begins.
    fn rest<'a>(&'a mut self, doc: &Doc<'_>, at: usize) -> Option<(usize, &'a str)> {
        let (text, starts) = self.whole.get_or_insert_with(|| {
            let mut text = String::with_capacity(doc.lines.iter().map(|l| l.len() + 1).sum());
            let mut starts = Vec::with_capacity(doc.lines.len());
            for line in &doc.lines {
                starts.push(text.len());
                text.push_str(line);
                text.push('\n');
            }
            (text, starts)
        });
        let from = *starts.get(at)?;
        Some((from, text.get(from..)?))
    }

    /// Claims the lines from one to that in which a byte stands; the line after.
    fn claim(&self, doc: &mut Doc<'_>, at: usize, end: usize) -> Option<usize> {
        let (_, starts) = self.whole.as_ref()?;
        let last = starts.partition_point(|start| *start <= end).saturating_sub(1).max(at);
        doc.claim(at..last + 1);
        Some(last + 1)
    }
}

/// Lines around a transcript, which tell the machine: `Machine: MBX01 (Microsoft Windows NT 10.0.17763.0)`.
fn is_frame(line: &str, below: Option<&str>, sink: &mut Sink<'_>) -> bool {
    let trimmed = line.trim();
    if trimmed.len() >= 20 && trimmed.bytes().all(|b| b == b'*') {
        // A banner of asterisks has its number before it.
        return below.is_none_or(|b| !b.trim_start().starts_with("250"));
    }
    if let Some((_, value)) = scan::pair(trimmed).filter(|(_, value)| value.contains("(Microsoft Windows NT"))
        && let Some(name) = value.split_whitespace().next()
    {
        sink.set_server(crate::fact::server_name(name));
        return true;
    }
    false
}

/// What a line above a table says of all its rows: `   ProviderName: MSExchangeTransport`.
fn group<'a>(doc: &Doc<'a>, header: usize) -> Option<&'a str> {
    (1..4).find_map(|above| match scan::pair(doc.free(header.checked_sub(above)?)?) {
        Some(("ProviderName", name)) => Some(name),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
