//! The table form: a line of names, a line of dashes, rows below; cut with dots, wrapped, or with columns that touch. Tables that
//! forums and tickets draw with bars are read too.

use super::emit::Object;
use crate::read::Doc;
use crate::read::scan;

/// Columns of a table.
const COLUMNS_MAX: usize = 64;
/// Columns in characters of one line that are looked at.
const WIDTH_MAX: usize = 16 * 1024;
/// Lines of a header.
const HEADER_MAX: usize = 3;

/// A column: its name, where its dashes begin and end, and whether values stand at its right edge.
#[derive(Debug)]
struct Column {
    name: String,
    begin: usize,
    end: usize,
    right: bool,
}

/// Whether a line is the dashes below the names of a table.
pub fn is_dashes(line: &str) -> bool {
    let line = line.trim();
    line.starts_with('-')
        && line.len() <= WIDTH_MAX
        && line.bytes().all(|b| b == b'-' || b == b' ' || b == b'\t')
        && line.split_whitespace().all(|word| word.len() >= 2)
}

/// The table whose dashes stand at this line: its objects, its first line and the line after it.
pub fn read(doc: &Doc<'_>, dashes: usize) -> Option<(Vec<Object>, usize, usize)> {
    let rule = doc.free(dashes)?;
    let mut columns: Vec<Column> = runs(rule)
        .into_iter()
        .take(COLUMNS_MAX)
        .map(|(begin, end)| Column { name: String::new(), begin, end, right: false })
        .collect();
    let first = header(doc, dashes, &mut columns)?;
    let mut rows: Vec<usize> = Vec::new();
    let mut at = dashes + 1;
    while let Some(line) = doc.free(at) {
        let ends = line.trim().is_empty()
            || super::command::is_prompt(line)
            || doc.free(at + 1).is_some_and(is_dashes);
        if ends {
            break;
        }
        rows.push(at);
        at += 1;
    }
    align(doc, &rows, &mut columns);
    let mut objects: Vec<Object> = Vec::new();
    for row in rows {
        let Some(line) = doc.free(row) else { continue };
        let cells = cells(line, &columns);
        let filled = cells.iter().filter(|c| !c.is_empty()).count();
        let wrapped =
            cells.first().is_some_and(String::is_empty) && filled < columns.len() && columns.len() > 1;
        match objects.last_mut() {
            Some(object) if wrapped => go_on(object, &cells, &columns, line),
            _ => {
                let mut object = Object::new(doc.place(row));
                for (column, cell) in columns.iter().zip(cells) {
                    object.put(&column.name, cell);
                }
                object.text = line.trim_end().to_owned();
                objects.push(object);
            }
        }
    }
    Some((objects, first, at))
}

/// Where words of a line begin and end, in characters.
fn runs(line: &str) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    let mut open = false;
    for (at, c) in line.chars().enumerate().take(WIDTH_MAX) {
        match (c.is_whitespace(), open) {
            (false, false) => {
                runs.push((at, at + 1));
                open = true;
            }
            (false, true) => {
                if let Some(last) = runs.last_mut() {
                    last.1 = at + 1;
                }
            }
            (true, _) => open = false,
        }
    }
    runs
}

/// Fills in the names of the columns; the header's first line.
fn header(doc: &Doc<'_>, dashes: usize, columns: &mut [Column]) -> Option<usize> {
    let mut first = dashes.checked_sub(1)?;
    let line = doc.free(first)?;
    if line.trim().is_empty() {
        return None;
    }
    // Words that go on below the first line of names leave the first column empty.
    let mut lines = vec![line];
    let column_is_empty =
        |line: &str| columns.first().is_some_and(|c| part(line, c.begin, c.end).trim().is_empty());
    while lines.len() < HEADER_MAX && column_is_empty(doc.free(first)?) {
        let Some(above) = first.checked_sub(1) else { break };
        match doc.free(above) {
            Some(line) if !line.trim().is_empty() => {
                lines.insert(0, line);
                first = above;
            }
            _ => break,
        }
    }
    if columns.len() == 1 && lines.first().is_some_and(|l| l.split_whitespace().count() > 3) {
        return None;
    }
    for line in lines {
        for (column, cell) in cells_by_overlap(line, columns) {
            if let Some(column) = columns.get_mut(column) {
                column.name.push_str(&cell);
            }
        }
    }
    // Names that were collapsed do not stand over their dashes: then they come in order.
    if columns.iter().any(|c| c.name.is_empty())
        && let Some(line) = doc.free(dashes - 1)
    {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.len() == columns.len() {
            for (column, word) in columns.iter_mut().zip(words) {
                word.clone_into(&mut column.name);
            }
        }
    }
    columns.iter().any(|c| !c.name.is_empty()).then_some(first)
}

/// Words of a header line by the column whose dashes they stand over.
fn cells_by_overlap(line: &str, columns: &[Column]) -> Vec<(usize, String)> {
    runs(line)
        .into_iter()
        .filter_map(|(begin, end)| {
            let over = columns.iter().position(|c| begin < c.end && c.begin < end)?;
            Some((over, part(line, begin, end)))
        })
        .collect()
}

fn part(line: &str, begin: usize, end: usize) -> String {
    line.chars().skip(begin).take(end.saturating_sub(begin)).collect()
}

/// Finds columns whose values stand at the right edge: numbers do.
fn align(doc: &Doc<'_>, rows: &[usize], columns: &mut [Column]) {
    let lines: Vec<Vec<char>> = rows
        .iter()
        .take(50)
        .filter_map(|row| doc.free(*row))
        .map(|l| l.chars().take(WIDTH_MAX).collect())
        .collect();
    let blank = |line: &[char], at: usize| line.get(at).is_none_or(|c| c.is_whitespace());
    for column in columns.iter_mut() {
        let (mut left, mut right) = (0_usize, 0_usize);
        for line in &lines {
            let before = column.begin == 0 || blank(line, column.begin - 1);
            left += usize::from(!blank(line, column.begin) && before);
            right += usize::from(!blank(line, column.end - 1) && blank(line, column.end));
        }
        column.right = right > left;
    }
}

/// The cells of a row.
fn cells(line: &str, columns: &[Column]) -> Vec<String> {
    if line.contains('\t') {
        let parts: Vec<String> = line.split('\t').map(|c| c.trim().to_owned()).collect();
        if parts.len() >= columns.len() {
            return parts;
        }
    }
    let chars: Vec<char> = line.chars().take(WIDTH_MAX).collect();
    let blank = |at: usize| chars.get(at).is_none_or(|c| c.is_whitespace());
    let mut cuts: Vec<usize> = vec![0];
    let mut clean = true;
    for pair in columns.windows(2) {
        let [column, next] = pair else { continue };
        let mut cut = next.begin;
        if next.right {
            // The word that reaches the right edge begins further left.
            while cut > column.begin && !blank(cut - 1) && !blank(cut) {
                cut -= 1;
            }
        }
        clean &= cut == 0 || blank(cut - 1) || blank(cut);
        cuts.push(cut);
    }
    if !clean {
        // The row does not stand under its header: it was pasted through something that collapses blanks.
        for parts in [wide_parts(line), line.split_whitespace().map(str::to_owned).collect()] {
            if parts.len() == columns.len() {
                return parts;
            }
        }
    }
    if !clean {
        snap(&mut cuts, columns, blank);
    }
    cuts.push(chars.len().max(cuts.last().copied().unwrap_or(0)));
    cuts.windows(2)
        .map(|pair| match pair {
            [begin, end] => {
                chars.get(*begin..(*end).min(chars.len())).unwrap_or_default().iter().collect::<String>()
            }
            _ => String::new(),
        })
        .map(|cell| cell.trim().to_owned())
        .collect()
}

/// Moves cuts that go through a word to its beginning: columns that are set to the right in some programs only.
fn snap(cuts: &mut [usize], columns: &[Column], blank: impl Fn(usize) -> bool) {
    for (cut, column) in cuts.iter_mut().skip(1).zip(columns) {
        let mut begin = *cut;
        while begin > column.begin && !blank(begin) && !blank(begin - 1) {
            begin -= 1;
        }
        if begin > column.begin {
            *cut = begin;
        }
    }
}

/// A table whose dashes were lost on the way: a line of known names, rows of as many words, the last of which may go on. The
/// caller tells whether the names are known.
pub fn read_bare(doc: &Doc<'_>, from: usize) -> Option<(Vec<Object>, usize)> {
    let header = doc.free(from)?;
    let names: Vec<&str> = header.split_whitespace().collect();
    let mut objects = Vec::new();
    let mut at = from + 1;
    while let Some(line) = doc.free(at).filter(|l| !l.trim().is_empty() && !super::command::is_prompt(l)) {
        let wide = wide_parts(line);
        let cells: Vec<String> = match (wide.len() == names.len(), cells_under(header, line)) {
            (true, _) => wide,
            (false, Some(cells)) => cells,
            (false, None) => {
                let words: Vec<&str> = line.split_whitespace().collect();
                let Some((head, tail)) = words.split_at_checked(names.len().saturating_sub(1)) else { break };
                if tail.is_empty() {
                    break;
                }
                head.iter().map(|w| (*w).to_owned()).chain([tail.join(" ")]).collect()
            }
        };
        let mut object = Object::new(doc.place(at));
        for (name, cell) in names.iter().zip(cells) {
            object.put(name, cell);
        }
        object.text = line.trim().to_owned();
        objects.push(object);
        at += 1;
    }
    (!objects.is_empty()).then_some((objects, at))
}

/// Cells by where the names begin, as wmic prints them: all columns begin after a blank, so an empty cell stays empty.
fn cells_under(header: &str, line: &str) -> Option<Vec<String>> {
    let (header, line) = (header.trim_end(), line.trim_end());
    let mut begins = Vec::new();
    for (at, c) in header.char_indices() {
        let before = header.get(..at).unwrap_or_default();
        if !c.is_whitespace() && (before.is_empty() || before.ends_with("  ")) {
            begins.push(at);
        } else if !c.is_whitespace() && before.ends_with(' ') {
            return None;
        }
    }
    let ends = begins.iter().skip(1).copied().chain([line.len()]);
    let mut cells = Vec::new();
    for (begin, end) in begins.iter().copied().zip(ends) {
        let end = end.min(line.len());
        if begin > 0 && begin < line.len() && !line.get(..begin)?.ends_with(' ') {
            return None;
        }
        cells.push(if begin < end { line.get(begin..end)?.trim().to_owned() } else { String::new() });
    }
    // A drive without a disk has its letter alone.
    let drive = cells.first().is_some_and(|cell| cell.len() == 2 && cell.ends_with(':'));
    (drive || cells.iter().filter(|cell| !cell.is_empty()).count() >= 2).then_some(cells)
}

/// Whether a line may be the names of a table: words of letters that begin with a capital, three at least or two.
pub fn is_names(line: &str) -> bool {
    let mut words = line.split_whitespace();
    line.len() < 200
        && (2..=12).contains(&words.clone().count())
        && words.all(|w| {
            w.len() >= 2
                && w.starts_with(|c: char| c.is_ascii_uppercase())
                && w.chars().all(|c| c.is_ascii_alphanumeric())
        })
}

/// Parts with two blanks or more between them.
fn wide_parts(line: &str) -> Vec<String> {
    line.split("  ").map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()).collect()
}

/// Adds a wrapped line to the row above it.
fn go_on(object: &mut Object, cells: &[String], columns: &[Column], line: &str) {
    for (index, cell) in cells.iter().enumerate().filter(|(_, cell)| !cell.is_empty()) {
        let Some((_, value)) = object.properties.get_mut(index) else { continue };
        let width = columns
            .get(index + 1)
            .zip(columns.get(index))
            .map_or(usize::MAX, |(next, this)| next.begin - this.begin - 1);
        let full = value.chars().count() % width.max(1) == 0 && !value.is_empty();
        scan::add(value, cell, if full { "" } else { " " });
    }
    scan::add(&mut object.text, line.trim_end(), "\n");
}

/// A table drawn with bars: `| Name | State |`, a line of dashes, rows.
pub fn read_bars(doc: &Doc<'_>, from: usize) -> Option<(Vec<Object>, usize)> {
    let split = |line: &str| -> Vec<String> {
        line.trim().trim_matches('|').split('|').take(COLUMNS_MAX).map(|c| c.trim().to_owned()).collect()
    };
    let names = split(doc.free(from)?);
    let rule = doc.free(from + 1)?;
    let drawn = rule.contains("--") && rule.chars().all(|c| "|+-: \t".contains(c));
    if names.len() < 2 || !drawn || !names.iter().all(|n| scan::is_name(n)) {
        return None;
    }
    let mut objects = Vec::new();
    let mut at = from + 2;
    while let Some(line) = doc.free(at).filter(|l| l.contains('|')) {
        let mut object = Object::new(doc.place(at));
        for (name, cell) in names.iter().zip(split(line)) {
            object.put(name, cell.trim_matches('`'));
        }
        object.text = line.trim().to_owned();
        objects.push(object);
        at += 1;
    }
    Some((objects, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(text: &str) -> Vec<Object> {
        let doc = Doc::new(0, text.lines().collect(), 1);
        let dashes = doc.lines.iter().position(|l| is_dashes(l)).unwrap_or(0);
        read(&doc, dashes).map(|(o, _, _)| o).unwrap_or_default()
    }

    #[test]
    fn columns_with_empty_cells_and_numbers_at_the_right() {
        let found = rows(
            "Server  State          Name            TargetResource  HealthSetName  AlertValue Count\n------  -----          ----            --------------  -------------  ---------- -----\nMBX01   NotApplicable  ImapCTPMonitor                  IMAP           Unhealthy     12\n",
        );
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].get("targetresource"), None);
        assert_eq!(found[0].get("healthsetname"), Some("IMAP"));
        assert_eq!((found[0].get("alertvalue"), found[0].get("count")), (Some("Unhealthy"), Some("12")));
    }

    #[test]
    fn names_of_two_lines_and_wrapped_rows() {
        let found = rows(
            "Name        Status          CopyQueue ReplayQueue ContentIndex\n                            Length    Length      State       \n----        ------          --------- ----------- ------------\nDB1\\MBX01   Mounted         0         0           Healthy     \nDB1\\MBX02   FailedAndSuspen 3012      0           Failed      \n            ded                                              \n",
        );
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].get("copyqueuelength"), Some("3012"));
        assert_eq!(found[1].get("status"), Some("FailedAndSuspended"));
        assert_eq!(found[1].get("contentindexstate"), Some("Failed"));
    }

    #[test]
    fn collapsed_blanks() {
        let found =
            rows("Server Component State\n------ --------- -----\nMBX01.corp.example ImapProxy Inactive\n");
        assert_eq!(found[0].get("component"), Some("ImapProxy"));
        assert_eq!(found[0].get("state"), Some("Inactive"));
    }

    #[test]
    fn empty_cells_of_a_table_without_dashes() {
        let text = "DeviceID  FreeSpace   ProviderName  Size          VolumeName\nC:        612000000                 128000000000  System\nD:";
        let doc = Doc::new(0, text.lines().collect(), 1);
        let (found, _) = read_bare(&doc, 0).unwrap_or_default();
        assert_eq!(found[0].get("size"), Some("128000000000"), "{found:?}");
        assert_eq!((found[0].get("providername"), found[0].get("volumename")), (None, Some("System")));
    }

    #[test]
    fn bars() {
        let doc = Doc::new(
            0,
            "| Component | State |\n|---|:---:|\n| ImapProxy | `Inactive` |".lines().collect(),
            1,
        );
        let (found, end) = read_bars(&doc, 0).unwrap();
        assert_eq!((found[0].get("state"), end), (Some("Inactive"), 3));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a-z \\-\t|ü\\.]{0,60}\n[ \\-]{0,40}\n([a-zü \t]{0,40}\n){0,4}") {
            for at in 0..4 {
                let doc = Doc::new(0, text.lines().collect(), 1);
                let _ = read(&doc, at);
                let _ = read_bars(&doc, at);
            }
        }
    }
}
