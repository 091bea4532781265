//! What a document looks like as plain text: a line for each paragraph, tables as the readers know them. A table of names and
//! values becomes a list, a wider one CSV in quotes, so that what was pasted into a document is read as if it had not been.

use crate::read::scan;

/// Tables in one another; what is deeper is put into the cell.
const TABLES_MAX: usize = 8;
/// Cells that stand for one that is repeated: spreadsheets repeat empty ones to their edge.
const REPEATED_MAX: usize = 64;
/// Cells of a row.
const CELLS_MAX: usize = 400;

/// A text as it grows.
#[derive(Debug)]
pub struct Page {
    out: String,
    line: String,
    tables: Vec<Table>,
    /// Bytes that may still come.
    room: usize,
    /// More came than there was room for.
    pub full: bool,
}

#[derive(Debug, Default)]
struct Table {
    rows: Vec<Vec<String>>,
    in_cell: bool,
}

impl Page {
    pub fn new(room: usize) -> Page {
        Page { out: String::new(), line: String::new(), tables: Vec::new(), room, full: false }
    }

    pub fn text(&mut self, text: &str) {
        match self.room.checked_sub(text.len()) {
            Some(room) => {
                self.room = room;
                self.line.push_str(text);
            }
            None => self.full = true,
        }
    }

    /// The end of a paragraph or of a line in one.
    pub fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        self.put(&line);
    }

    /// Ends a line only if something stands in it.
    pub fn fresh_line(&mut self) {
        if !self.line.trim().is_empty() {
            self.end_line();
        }
        self.line.clear();
    }

    fn put(&mut self, line: &str) {
        if self.room == 0 {
            self.full = true;
            return;
        }
        self.room -= 1;
        let open = self.tables.iter_mut().rev().find(|table| table.in_cell);
        match open.and_then(|table| table.rows.last_mut()).and_then(|row| row.last_mut()) {
            Some(cell) => {
                if !cell.is_empty() {
                    cell.push('\n');
                }
                cell.push_str(line.trim_end());
            }
            None => {
                self.out.push_str(line.trim_end());
                self.out.push('\n');
            }
        }
    }

    pub fn open_table(&mut self) {
        self.fresh_line();
        if self.tables.len() < TABLES_MAX {
            self.tables.push(Table::default());
        }
    }

    pub fn row(&mut self) {
        self.end_cell();
        if let Some(table) = self.tables.last_mut() {
            table.rows.push(Vec::new());
        }
    }

    pub fn cell(&mut self) {
        self.end_cell();
        if let Some(table) = self.tables.last_mut() {
            if table.rows.is_empty() {
                table.rows.push(Vec::new());
            }
            if let Some(row) = table.rows.last_mut().filter(|row| row.len() < CELLS_MAX) {
                row.push(String::new());
                table.in_cell = true;
            }
        }
    }

    /// Ends the open cell, which stands there so many times.
    pub fn end_cell_times(&mut self, times: usize) {
        self.end_cell();
        let Some(row) = self.tables.last_mut().and_then(|table| table.rows.last_mut()) else { return };
        let Some(last) = row.last().cloned() else { return };
        let more = times.clamp(1, REPEATED_MAX) - 1;
        let most = CELLS_MAX.saturating_sub(row.len());
        row.extend(std::iter::repeat_n(last, more.min(most)));
    }

    pub fn end_cell(&mut self) {
        if self.tables.last().is_some_and(|table| table.in_cell) {
            self.fresh_line();
            if let Some(table) = self.tables.last_mut() {
                table.in_cell = false;
            }
        }
    }

    pub fn close_table(&mut self) {
        self.end_cell();
        let Some(table) = self.tables.pop() else { return };
        for line in shown(table.rows) {
            self.put(&line);
        }
        // What follows is no row of it.
        if self.tables.is_empty() {
            self.put("");
        }
    }

    pub fn finish(mut self) -> String {
        while !self.tables.is_empty() {
            self.close_table();
        }
        self.fresh_line();
        self.out
    }
}

/// The lines of a table.
fn shown(mut rows: Vec<Vec<String>>) -> Vec<String> {
    for row in &mut rows {
        while row.last().is_some_and(|cell| cell.trim().is_empty()) {
            row.pop();
        }
    }
    rows.retain(|row| !row.is_empty());
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    if columns <= 1 {
        // A frame about something.
        return rows.into_iter().flatten().collect();
    }
    let single = |row: &[String]| !row.iter().any(|cell| cell.contains('\n'));
    let list = columns == 2
        && rows.iter().all(|row| {
            single(row) && row.first().is_some_and(|name| scan::is_name(name.trim().trim_end_matches(':')))
        });
    if list {
        let pair = |row: &Vec<String>| {
            let name = row.first().map(|n| n.trim().trim_end_matches(':').trim()).unwrap_or_default();
            format!("{name} : {}", row.get(1).map(|v| v.trim()).unwrap_or_default())
        };
        return rows.iter().map(pair).collect();
    }
    let mut out = Vec::new();
    let mut begun = false;
    for mut row in rows {
        // A title above the headings.
        if !begun && row.len() == 1 {
            out.extend(row);
            continue;
        }
        if !begun {
            out.push(String::new());
            begun = true;
        }
        row.resize(columns, String::new());
        let cells: Vec<String> =
            row.iter().map(|cell| format!("\"{}\"", cell.trim().replace('"', "\"\""))).collect();
        out.push(cells.join(","));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[&[&str]]) -> String {
        let mut page = Page::new(1000);
        page.text("before");
        page.open_table();
        for row in rows {
            page.row();
            for cell in *row {
                page.cell();
                page.text(cell);
                page.end_line();
            }
        }
        page.close_table();
        page.text("after");
        page.finish()
    }

    #[test]
    fn tables_become_what_readers_know() {
        assert_eq!(
            table(&[&["LoginType", "SecureLogin"], &["Name:", "1"]]),
            "before\nLoginType : SecureLogin\nName : 1\n\nafter\n"
        );
        assert_eq!(table(&[&["one cell"]]), "before\none cell\n\nafter\n");
        assert_eq!(
            table(&[&["Queues"], &["Identity", "Status", "LastError"], &["MBX01\\3", "Retry", "say \"no\""]]),
            "before\nQueues\n\n\"Identity\",\"Status\",\"LastError\"\n\"MBX01\\3\",\"Retry\",\"say \"\"no\"\"\"\n\nafter\n"
        );
    }

    #[test]
    fn there_is_an_end_to_it() {
        let mut page = Page::new(10);
        for _ in 0..100 {
            page.open_table();
            page.cell();
            page.text("words");
        }
        assert!(page.full);
        assert!(page.finish().len() < 40);
    }
}
