//! CSV as Export-Csv and the Event Viewer write it: a `#TYPE` line or none, quotes or none; commas, semicolons or tabs.

use super::emit::Object;
use crate::read::Doc;
use crate::read::scan;

/// Columns of a row.
const COLUMNS_MAX: usize = 400;
/// Lines of one row: messages have line ends in them.
const ROW_LINES_MAX: usize = 400;

/// The objects of a table that begins at this line, and the line after them.
pub fn read(doc: &Doc<'_>, from: usize) -> Option<(Vec<Object>, usize)> {
    let mut at = from;
    let mut dotnet = None;
    if let Some(name) = doc.free(at)?.trim().strip_prefix("#TYPE ") {
        dotnet = Some(name.trim().to_owned());
        at += 1;
    }
    let header = doc.free(at)?.trim_start_matches('\u{feff}');
    let mark = delimiter(header)?;
    let names = split(header, mark)?;
    let quoted = header.trim_start().starts_with('"');
    if names.len() < 2 || !names.iter().all(|n| scan::is_name(n) && n.len() <= 64) {
        return None;
    }
    // Without quotes or a type, the row below has to agree, for sentences have commas too.
    if !quoted && dotnet.is_none() {
        let (row, _) = row(doc, at + 1, mark)?;
        let agrees = row.len() == names.len() || row.len() == names.len() + 1;
        let headings = names.iter().all(|n| n.split_whitespace().count() <= 3) && names.len() >= 3;
        if !agrees || !headings || names.iter().any(|n| n.contains(['.', '\''])) {
            return None;
        }
    }
    let mut objects = Vec::new();
    at += 1;
    while let Some((cells, end)) = row(doc, at, mark) {
        let fits = cells.len() == names.len() || cells.len() == names.len() + 1 || quoted && cells.len() > 1;
        if !fits || cells.len() > names.len() + 1 && !quoted {
            break;
        }
        let mut object = Object::new(doc.place(at));
        object.dotnet.clone_from(&dotnet);
        for (index, cell) in cells.into_iter().enumerate() {
            // The Event Viewer gives its last column no name.
            object.put(names.get(index).map_or("message", String::as_str), cell);
        }
        object.text = scan::join(doc.lines.get(at..end).unwrap_or_default().iter().copied());
        objects.push(object);
        at = end;
    }
    (!objects.is_empty()).then_some((objects, at))
}

/// The mark between the columns of a header.
fn delimiter(header: &str) -> Option<char> {
    let count = |mark: char| header.chars().filter(|c| *c == mark).count();
    [',', ';', '\t']
        .into_iter()
        .map(|mark| (count(mark), mark))
        .filter(|(n, _)| *n > 0)
        .max_by_key(|(n, _)| *n)
        .map(|(_, m)| m)
}

/// A row from this line on, over several lines where a quote is open; the line after it.
fn row(doc: &Doc<'_>, from: usize, mark: char) -> Option<(Vec<String>, usize)> {
    let first = doc.free(from)?;
    if first.trim().is_empty() {
        return None;
    }
    if let Some(cells) = split(first, mark) {
        return Some((cells, from + 1));
    }
    let mut text = first.to_owned();
    for at in from + 1..from + ROW_LINES_MAX {
        let line = doc.free(at)?;
        text.push('\n');
        text.push_str(line);
        // Only a line with a quote in it can close one.
        if line.contains('"')
            && let Some(cells) = split(&text, mark)
        {
            return Some((cells, at + 1));
        }
        if text.len() > 256 * 1024 {
            return None;
        }
    }
    None
}

/// The cells of a row; nothing, if a quote is left open.
pub fn split(line: &str, mark: char) -> Option<Vec<String>> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(c) = letters.next() {
        let cell = cells.last_mut()?;
        match c {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                cell.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if cell.trim().is_empty() => {
                cell.clear();
                quoted = true;
            }
            c if c == mark && !quoted => {
                if cells.len() >= COLUMNS_MAX {
                    return Some(cells);
                }
                cells.push(String::new());
            }
            c => cell.push(c),
        }
    }
    (!quoted).then_some(cells)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(text: &str) -> Vec<Object> {
        let doc = Doc::new(0, text.lines().collect(), 1);
        read(&doc, 0).map(|(o, _)| o).unwrap_or_default()
    }

    #[test]
    fn typed_quoted_and_european() {
        let found =
            rows("#TYPE Microsoft.Exchange.X\n\"Name\",\"Text\"\n\"a\",\"one\ntwo \"\"x\"\"\"\n\"b\",\n");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].get("text"), Some("one\ntwo \"x\""));
        assert_eq!(found[0].dotnet.as_deref(), Some("Microsoft.Exchange.X"));
        assert_eq!(rows("\"Name\";\"State\"\n\"a\";\"b\"\n")[0].get("state"), Some("b"));
    }

    #[test]
    fn the_event_viewer_names_five_of_six() {
        let found = rows(
            "Level,Date and Time,Source,Event ID,Task Category\nError,3/3/2026 9:04:11 AM,MSExchangeTransport,12014,TransportService,\"No certificate,\nreally\"\n",
        );
        assert_eq!(found[0].get("eventid"), Some("12014"));
        assert_eq!(found[0].get("message"), Some("No certificate,\nreally"));
    }

    #[test]
    fn sentences_are_no_tables() {
        assert!(rows("Hello, dear all, we have a problem\nmail, calendars, and more, are gone\n").is_empty());
        assert!(rows("We see this, that\nand, well\n").is_empty());
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a-c,;\"\t\n#TYPE ü]{0,80}") {
            let _ = rows(&text);
        }
    }
}
