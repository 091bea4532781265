//! Events as text: a table with few columns, a list with all, or JSON lines.

use super::{Event, PlainRecord, Record};
use std::fmt::Write;

/// How records are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Table,
    /// Every property on a line of its own, as Format-List.
    List,
    /// One object a line.
    Json,
}

/// Format and columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    pub format: Format,
    /// Properties asked for; `*` stands for any text. Empty takes the command's own columns, or all in lists.
    pub properties: Vec<String>,
}

/// Rows of a table that are looked at before its widths are settled; later rows may be wider.
const ROWS_MAX: usize = 10_000;

/// Collects what a table needs; lists and JSON go out at once.
#[derive(Debug)]
pub struct Renderer {
    layout: Layout,
    columns: Vec<String>,
    rows: Vec<Record>,
    first: bool,
}

impl Renderer {
    /// `columns` are the command's own.
    pub fn new(layout: Layout, columns: &[&str]) -> Renderer {
        let columns = columns.iter().map(|c| (*c).to_owned()).collect();
        Renderer { layout, columns, rows: Vec::new(), first: true }
    }

    /// Text for standard output, at once. Warnings, errors and progress are the caller's, for standard error.
    pub fn event(&mut self, event: &Event) -> String {
        let Event::Record(record) = event else { return String::new() };
        match self.layout.format {
            Format::Json => {
                let picked = self.picked(record);
                let mut line = serde_json::to_string(&PlainRecord(&picked)).unwrap_or_default();
                line.push('\n');
                line
            }
            Format::List => {
                let text = list(&self.picked(record), self.first);
                self.first = false;
                text
            }
            // A text of its own, such as help: printed as it is.
            Format::Table if self.columns == ["Text"] && self.layout.properties.is_empty() => {
                record.cell("Text").map(super::Cell::shown).unwrap_or_default()
            }
            Format::Table => {
                self.rows.push(record.clone());
                if self.rows.len() >= ROWS_MAX { self.flush() } else { String::new() }
            }
        }
    }

    /// What is left at the end.
    pub fn end(&mut self) -> String {
        let text = self.flush();
        if self.layout.format == Format::List && !self.first { "\n".into() } else { text }
    }

    fn picked(&self, record: &Record) -> Record {
        if self.layout.properties.is_empty() {
            return record.clone();
        }
        let wanted = |name: &str| self.layout.properties.iter().any(|p| wildcard(p, name));
        Record(record.0.iter().filter(|(name, _)| wanted(name)).cloned().collect())
    }

    fn flush(&mut self) -> String {
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return String::new();
        }
        let columns = self.table_columns(&rows);
        table(&rows, &columns)
    }

    fn table_columns(&self, rows: &[Record]) -> Vec<String> {
        let all = || rows.first().map(|r| r.0.iter().map(|(n, _)| n.clone()).collect()).unwrap_or_default();
        if !self.layout.properties.is_empty() {
            let names: Vec<String> = all();
            let chosen = |p: &String| names.iter().filter(|n| wildcard(p, n)).cloned().collect::<Vec<_>>();
            return self.layout.properties.iter().flat_map(chosen).collect();
        }
        if self.columns.is_empty() { all() } else { self.columns.clone() }
    }
}

fn list(record: &Record, first: bool) -> String {
    let width = record.0.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
    let mut out = String::from(if first { "\n" } else { "\n\n" });
    for (i, (name, cell)) in record.0.iter().enumerate() {
        let pad = " ".repeat(width.saturating_sub(self::width(name)));
        let end = if i + 1 == record.0.len() { "" } else { "\n" };
        let _ = write!(out, "{name}{pad} : {}{end}", one_line(&cell.shown()));
    }
    out
}

fn table(rows: &[Record], columns: &[String]) -> String {
    let text =
        |row: &Record, column: &str| row.cell(column).map(|c| one_line(&c.shown())).unwrap_or_default();
    let right: Vec<bool> =
        columns.iter().map(|c| rows.iter().any(|r| r.cell(c).is_some_and(super::Cell::is_number))).collect();
    let widths: Vec<usize> = columns
        .iter()
        .map(|c| rows.iter().map(|r| width(&text(r, c))).chain([width(c)]).max().unwrap_or(0))
        .collect();
    let mut out = String::from("\n");
    let mut line = |cells: Vec<String>| {
        let mut line = String::new();
        for ((cell, wide), right) in cells.iter().zip(&widths).zip(&right) {
            let pad = " ".repeat(wide.saturating_sub(width(cell)));
            let _ = if *right { write!(line, "{pad}{cell} ") } else { write!(line, "{cell}{pad} ") };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    };
    line(columns.to_vec());
    line(columns.iter().map(|c| "-".repeat(width(c))).collect());
    for row in rows {
        line(columns.iter().map(|c| text(row, c)).collect());
    }
    out.push('\n');
    out
}

/// Control characters would let a subject move the cursor of whoever looks at it.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Places on a terminal, roughly: wide East Asian characters take two.
fn width(text: &str) -> usize {
    let wide = |c: char| matches!(u32::from(c), 0x1100..=0x115F | 0x2E80..=0xA4CF | 0xAC00..=0xD7A3 | 0xF900..=0xFAFF | 0xFE30..=0xFE6F | 0xFF00..=0xFF60 | 0xFFE0..=0xFFE6 | 0x1F300..=0x1FAFF);
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}

/// `*` stands for any text; case does not matter.
pub(crate) fn wildcard(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Bytes;

    fn records() -> Vec<Event> {
        let one = Record::new().with("Name", "Adele").with("Items", 7u32).with("Size", Bytes::mb(1));
        let two = Record::new().with("Name", "Ян\u{7}").with("Items", 1234u32).with("Size", Bytes(0));
        vec![Event::Record(one), Event::Record(two)]
    }

    fn render(format: Format, properties: &[&str]) -> String {
        let properties = properties.iter().map(|p| (*p).to_owned()).collect();
        let mut renderer = Renderer::new(Layout { format, properties }, &["Name", "Items"]);
        let mut out: String = records().iter().map(|e| renderer.event(e)).collect();
        out.push_str(&renderer.end());
        out
    }

    #[test]
    fn tables() {
        assert_eq!(render(Format::Table, &[]), "\nName  Items\n----  -----\nAdele     7\nЯн     1234\n\n");
        assert_eq!(render(Format::Table, &["n*"]), "\nName\n----\nAdele\nЯн\n\n");
    }

    #[test]
    fn lists() {
        let text = render(Format::List, &["Name", "size"]);
        assert_eq!(
            text,
            "\nName : Adele\nSize : 1 MB (1,048,576 bytes)\n\nName : Ян \nSize : 0 B (0 bytes)\n"
        );
    }

    #[test]
    fn json() {
        let text = render(Format::Json, &[]);
        assert_eq!(text.lines().next(), Some(r#"{"Name":"Adele","Items":7,"Size":1048576}"#));
    }

    #[test]
    fn wildcards() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("a*", "Adele", true),
            ("*e*e", "adele", true),
            ("a*x", "adele", false),
            ("adele", "adele", true),
            ("a", "adele", false),
            ("*le", "adele", true),
        ] {
            assert_eq!(wildcard(pattern, text), fits, "{pattern} {text}");
        }
    }
}
