//! RFC 4180, with what spreadsheets really write: `;` or tab instead of the comma (seen from the first line), bare LF,
//! and no quotes where none are needed.

/// The lines of a file: the number of the first physical line of each, and its fields.
pub(super) struct Table<'a> {
    rest: &'a str,
    line: u64,
    separator: char,
}

impl<'a> Table<'a> {
    pub fn new(text: &'a str) -> Table<'a> {
        let first = text.lines().next().unwrap_or_default();
        let count = |c: char| first.matches(c).count();
        let separator = [',', ';', '\t'].into_iter().rev().max_by_key(|c| count(*c)).unwrap_or(',');
        Table { rest: text, line: 1, separator }
    }
}

impl Iterator for Table<'_> {
    type Item = (u64, Vec<String>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let number = self.line;
        let mut fields = Vec::new();
        let mut field = String::new();
        let mut quoted = false;
        let mut used = 0;
        let mut chars = self.rest.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            used = at + c.len_utf8();
            if c == '\n' {
                self.line += 1;
            }
            match c {
                '"' if quoted => {
                    if chars.next_if(|(_, next)| *next == '"').is_some() {
                        field.push('"');
                    } else {
                        quoted = false;
                    }
                }
                '"' if field.is_empty() => quoted = true,
                c if quoted => field.push(c),
                '\n' => break,
                '\r' => {}
                c if c == self.separator => fields.push(std::mem::take(&mut field)),
                c => field.push(c),
            }
        }
        fields.push(field);
        self.rest = self.rest.get(used..).unwrap_or_default();
        Some((number, fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(u64, Vec<String>)> {
        Table::new(text).collect()
    }

    #[test]
    fn reads_quotes_and_line_ends() {
        let rows = read("a,b\r\n\"x, \"\"y\"\"\nz\",2\nlast,\"\"");
        assert_eq!(rows[0], (1, vec!["a".into(), "b".into()]));
        assert_eq!(rows[1], (2, vec!["x, \"y\"\nz".into(), "2".into()]));
        assert_eq!(rows[2], (4, vec!["last".into(), String::new()]));
    }

    #[test]
    fn sees_the_separator() {
        assert_eq!(read("a;b\n1,5;2").pop(), Some((2, vec!["1,5".into(), "2".into()])));
        assert_eq!(read("a\tb\n1\t2").pop(), Some((2, vec!["1".into(), "2".into()])));
        assert_eq!(read(""), vec![]);
    }

    proptest::proptest! {
        #[test]
        fn reads_what_was_written(rows in proptest::collection::vec(proptest::collection::vec("[a-z\",;\n\r ]{0,6}", 1..4), 1..5)) {
            let quote = |f: &String| format!("\"{}\"", f.replace('"', "\"\""));
            let text: String = rows.iter().map(|r| r.iter().map(quote).collect::<Vec<_>>().join(",") + "\r\n").collect();
            // A header without the other separators, so that the comma is seen.
            let text = format!("a,b,c\n{text}");
            let read: Vec<Vec<String>> = Table::new(&text).skip(1).map(|(_, fields)| fields).collect();
            proptest::prop_assert_eq!(read, rows);
        }
    }

    #[test]
    fn an_open_quote_ends_with_the_file() {
        assert_eq!(read("a\n\"never"), vec![(1, vec!["a".into()]), (2, vec!["never".into()])]);
    }
}
