//! Logs: lines of fields. Long ones are streamed, block by block, and a line is only taken apart when a phrase of a rule occurs
//! in it or something cheap says that it is odd; lines within prose are recognised by their shape.
//!
//! Columns are bound by the names of the header, never by place; a log that has lost its header is read by the usual order.

mod facts;
mod format;
mod row;
mod setup;
mod shape;
mod stream;
pub mod waypost;

pub use format::{Format, Hints, Setup, detect};
pub use row::time;
pub use stream::Stream;

use super::Doc;
use crate::sink::Sink;
use format::Header;
use std::collections::BTreeMap;

/// Lines that a wrapped one is joined with.
const WRAPPED_MAX: usize = 3;

/// Log lines anywhere in a text, with their header or without.
pub fn reader(doc: &mut Doc<'_>, sink: &mut Sink<'_>) {
    let hints = Hints::of(&sink.name());
    let mut header: Option<Header> = None;
    let mut sessions: Option<Stream> = None;
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut index = 0;
    while index < doc.lines.len() {
        let Some(line) = doc.free(index) else {
            index += 1;
            continue;
        };
        if line.starts_with('#') {
            if header.get_or_insert_default().line(line) {
                doc.claim(index..index + 1);
            }
        } else if let Some(columns) = format::header_row(line) {
            header = Some(Header { fields: Some(columns), ..Header::default() });
            doc.claim(index..index + 1);
        } else if let Some((setup, text, used)) = taken(doc, index, line, header.as_ref(), &hints) {
            let lines = used.max(setup_lines(doc, index, &setup));
            let text = if lines > used { joined(doc, index, lines, "\n") } else { text };
            let place = doc.place(index);
            facts::emit(&setup, &text, place, sink);
            if matches!(setup.format, Format::Imap | Format::Pop) {
                let sessions = sessions.get_or_insert_with(|| Stream::new(setup.clone(), true));
                sessions.session(text.as_bytes(), place.line, sink);
            }
            *counts.entry(setup.format.title()).or_default() += 1;
            doc.claim(index..index + lines);
            index += lines;
            continue;
        }
        index += 1;
    }
    for (what, count) in counts {
        sink.understood(what, count);
    }
}

/// The log line that begins here: how to read it, its text, and the lines of the document that it takes.
fn taken(
    doc: &Doc<'_>,
    index: usize,
    line: &str,
    header: Option<&Header>,
    hints: &Hints,
) -> Option<(Setup, String, usize)> {
    if !promising(line) {
        return None;
    }
    let by_header = |text: &str| header.and_then(|h| h.setup(hints)).filter(|s| fits(s, text));
    if let Some(setup) = by_header(line) {
        return Some((setup, line.to_owned(), 1));
    }
    for used in 1..=WRAPPED_MAX {
        // A mail program breaks lines at spaces, a terminal anywhere.
        for between in ["", " "] {
            let text = joined(doc, index, used, between);
            let Some(found) = shape::of(&text) else { continue };
            let setup = facts::shaped(&found, hints);
            let (used, text) = rest_of(doc, index, used, text, &setup);
            return Some((setup, text, used));
        }
        let next = doc.free(index + used)?;
        if next.trim().is_empty() || !next.contains(',') {
            return None;
        }
    }
    None
}

/// What of a line stands in the next ones: a mail program has broken it before all of its columns had come.
fn rest_of(doc: &Doc<'_>, index: usize, used: usize, text: String, setup: &Setup) -> (usize, String) {
    let (mut used, mut text) = (used, text);
    let columns = setup.columns.names.len();
    while used < WRAPPED_MAX + 1 && columns > 0 {
        let short = row::split(&text, setup.columns.separator).len() + 1 < columns;
        let next = doc.free(index + used).map(str::trim).unwrap_or_default();
        let like_more = next.ends_with(',') || next.contains(['"', '“', '”', '=']) || next.starts_with("***");
        let another = promising(next) && shape::of(next).is_some();
        if !(short || row::open_quotes(&text)) || !like_more || another || next.starts_with('#') {
            break;
        }
        if !text.ends_with([',', ' ']) {
            text.push(' ');
        }
        text.push_str(next);
        used += 1;
    }
    (used, text)
}

/// Cheap: whether a line may be one of a log.
fn promising(line: &str) -> bool {
    let line = line.trim_start();
    let digits = line.bytes().take(4).filter(u8::is_ascii_digit).count();
    line.starts_with("{\"")
        || line.starts_with('[')
        || digits >= 2 && (line.contains(',') || line.contains(' '))
}

/// Whether a line has the columns that the header told.
fn fits(setup: &Setup, line: &str) -> bool {
    let fields = row::split(line, setup.columns.separator);
    let dated = fields.first().is_some_and(|first| {
        row::time(first).is_some() || first.len() == 10 && row::time(&format!("{first}T00:00:00Z")).is_some()
    });
    let count = setup.columns.names.len();
    dated && fields.len() + 3 > count && fields.len() <= count + 2
}

/// Lines of a setup log's entry: what follows an error without a time of its own.
fn setup_lines(doc: &Doc<'_>, index: usize, setup: &Setup) -> usize {
    if setup.format != Format::Setup {
        return 1;
    }
    let more = (index + 1..doc.lines.len().min(index + setup::LINES_MAX))
        .take_while(|at| doc.free(*at).is_some_and(setup::goes_on))
        .count();
    more + 1
}

fn joined(doc: &Doc<'_>, index: usize, lines: usize, between: &str) -> String {
    let parts: Vec<&str> =
        (index..index + lines).filter_map(|at| doc.lines.get(at)).map(|l| l.trim_end()).collect();
    parts.join(between)
}

/// For fuzzing and tests: a log, as it stands in a file of this name.
pub fn read_text(name: &str, text: &str, sink: &mut Sink<'_>) -> bool {
    let Some(setup) = detect(text, &Hints::of(name)) else { return false };
    let mut stream = Stream::new(setup, true);
    stream.block(text.as_bytes(), 1, sink);
    stream.finish(sink);
    true
}

pub(crate) fn decoded(line: &[u8]) -> std::borrow::Cow<'_, str> {
    crate::source::text(line)
}
