//! One line taken apart: comma-separated with doubled quotes, or by spaces (IIS), and the names of its columns.

use crate::fact::plain;
use std::borrow::Cow;
use waypost_base::Timestamp;
use waypost_base::time::days_from_civil;

/// Columns that are looked at; Exchange's widest log has about ninety.
const COLUMNS_MAX: usize = 160;

/// The names of a log's columns, normalised, and what stands between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    pub names: Vec<String>,
    pub separator: u8,
}

impl Columns {
    /// Of a `#Fields:` line without that word, or of a header row.
    pub fn of(list: &str) -> Columns {
        let list = list.trim();
        let separator = if list.contains(',') {
            b','
        } else if list.contains('\t') {
            b'\t'
        } else {
            b' '
        };
        let names = list.split(char::from(separator)).filter(|name| separator != b' ' || !name.is_empty());
        let names =
            names.take(COLUMNS_MAX).map(|name| plain(Cow::Owned(name.to_owned())).into_owned()).collect();
        Columns { names, separator }
    }

    pub fn has(&self, name: &str) -> bool {
        self.place(name).is_some()
    }

    pub fn place(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n == name)
    }
}

/// The fields of a line. Quotes that are never closed, as in a line that was cut off, take the rest.
pub fn split(line: &str, separator: u8) -> Vec<Cow<'_, str>> {
    let mut out = Vec::with_capacity(16);
    if separator != b',' {
        out.extend(line.split(char::from(separator)).take(COLUMNS_MAX).map(Cow::Borrowed));
        return out;
    }
    let mut rest = line;
    loop {
        if out.len() >= COLUMNS_MAX {
            return out;
        }
        let (field, after) = if rest.starts_with(['"', '“', '”']) { quoted(rest) } else { bare(rest) };
        out.push(field);
        match after {
            Some(after) => rest = after,
            None => return out,
        }
    }
}

fn bare(text: &str) -> (Cow<'_, str>, Option<&str>) {
    match text.split_once(',') {
        Some((field, rest)) => (Cow::Borrowed(field), Some(rest)),
        None => (Cow::Borrowed(text), None),
    }
}

fn quoted(text: &str) -> (Cow<'_, str>, Option<&str>) {
    let mut chars = text.char_indices().skip(1).peekable();
    let mut out = String::new();
    let quote = |c: char| matches!(c, '"' | '“' | '”');
    while let Some((at, c)) = chars.next() {
        if !quote(c) {
            out.push(c);
            continue;
        }
        match chars.peek() {
            Some((_, next)) if quote(*next) => {
                out.push('"');
                chars.next();
            }
            Some((_, ',')) => return (Cow::Owned(out), text.get(at + c.len_utf8() + 1..)),
            None => return (Cow::Owned(out), None),
            // A quote within a field that should have been doubled.
            Some(_) => out.push('"'),
        }
    }
    (Cow::Owned(out), None)
}

/// Whether quotes are open at the end of the line: it goes on in the next one, or was cut off.
pub fn open_quotes(line: &str) -> bool {
    line.chars().filter(|c| matches!(c, '"' | '“' | '”')).count() % 2 == 1
}

/// A time as logs have it: `2026-03-03T08:15:20.114Z`, with a space for the `T`, with or without parts of a second.
pub fn time(text: &str) -> Option<Timestamp> {
    let bytes = text.trim().as_bytes();
    let number = |at: usize, len: usize| -> Option<i64> {
        let part = bytes.get(at..at + len)?;
        part.iter().try_fold(0, |sum, b| b.is_ascii_digit().then(|| sum * 10 + i64::from(b - b'0')))
    };
    let is = |at: usize, any: &[u8]| bytes.get(at).is_some_and(|b| any.contains(b));
    if !(is(4, b"-") && is(7, b"-") && is(10, b"T ") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut millis = 0;
    if is(19, b".,") {
        let digits = bytes.get(20..).unwrap_or_default().iter().take_while(|b| b.is_ascii_digit());
        let mut scale = 100;
        for digit in digits.take(3) {
            millis += i64::from(digit - b'0') * scale;
            scale /= 10;
        }
    }
    let days = days_from_civil(i32::try_from(year).ok()?, u8::try_from(month).ok()?, u8::try_from(day).ok()?);
    Some(Timestamp((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_doubled_cut_and_curled() {
        let fields = |line| split(line, b',').into_iter().map(Cow::into_owned).collect::<Vec<_>>();
        assert_eq!(fields(r#"a,"b ""c"", d",,e"#), ["a", "b \"c\", d", "", "e"]);
        assert_eq!(fields(r#"a,"R=""1 NO [Err"#), ["a", "R=\"1 NO [Err"]);
        assert_eq!(fields(r#"a,"half" quoted",z"#), ["a", "half\" quoted", "z"]);
        assert_eq!(fields("x,“R=””z NO””;E=1”,"), ["x", "R=\"z NO\";E=1", ""]);
        assert_eq!(fields(""), [""]);
        assert_eq!(split("1 2 3", b' ').len(), 3);
    }

    #[test]
    fn times_of_logs() {
        assert_eq!(time("2026-03-03T08:15:20.114Z"), Some(Timestamp(1_772_525_720_114)));
        assert_eq!(time("2026-03-03 08:15:20"), Some(Timestamp(1_772_525_720_000)));
        for bad in ["", "22T07:30:46.994Z", "2026-13-03T08:15:20Z", "2026-03-03", "2026-03-0éT08:15:20Z"] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }
}
