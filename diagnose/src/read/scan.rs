//! Small helpers by which readers look at lines.

/// Bytes of a value that is put together from several lines.
pub const JOINED_MAX: usize = 8 * 1024;

/// `Name : value`, `Name: value`, `Name .... : value`: the name has letters in it, at most 64 bytes and no strange marks.
pub fn pair(line: &str) -> Option<(&str, &str)> {
    let at = line.find(':')?;
    let (name, value) = (line.get(..at)?.trim(), line.get(at + 1..)?);
    // A drive, a URL or a time of day is no name.
    if value.starts_with(['\\', '/']) || value.starts_with("//") {
        return None;
    }
    is_name(name).then_some((name, value.trim()))
}

/// Whether this may be the name of a property or of a line of a report.
pub fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_alphanumeric() || " _-.()/#'’&%$[]".contains(c);
    !name.is_empty() && name.len() <= 64 && name.starts_with(char::is_alphabetic) && name.chars().all(good)
}

/// The columns by which a line is indented.
pub fn indent(line: &str) -> usize {
    let mut columns = 0;
    for c in line.chars() {
        match c {
            ' ' => columns += 1,
            '\t' => columns = (columns / 8 + 1) * 8,
            _ => break,
        }
    }
    columns
}

/// Adds a line to a text, within [`JOINED_MAX`].
pub fn add(text: &mut String, line: &str, between: &str) {
    if text.len() + line.len() + between.len() > JOINED_MAX {
        return;
    }
    if !text.is_empty() {
        text.push_str(between);
    }
    text.push_str(line);
}

/// Lines put together for a fact's text.
pub fn join<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for line in lines {
        add(&mut text, line.trim_end(), "\n");
    }
    text
}

/// What follows a phrase in a line, in any case of ASCII letters.
pub fn after<'a>(line: &'a str, phrase: &str) -> Option<&'a str> {
    let (bytes, wanted) = (line.as_bytes(), phrase.as_bytes());
    if wanted.is_empty() || bytes.len() < wanted.len() {
        return None;
    }
    let at = (0..=bytes.len() - wanted.len())
        .find(|at| bytes.get(*at..at + wanted.len()).is_some_and(|part| part.eq_ignore_ascii_case(wanted)))?;
    line.get(at + wanted.len()..)
}

/// Whether a line begins with a phrase, in any case of ASCII letters, after blanks.
pub fn starts(line: &str, phrase: &str) -> bool {
    let line = line.trim_start();
    line.get(..phrase.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(phrase))
}

/// Base64 without blanks, up to its padding.
pub fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0_u32);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => break,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs() {
        assert_eq!(pair("LoginType   : PlainTextLogin"), Some(("LoginType", "PlainTextLogin")));
        assert_eq!(pair("  Banner :"), Some(("Banner", "")));
        assert_eq!(pair("C:\\Windows"), None);
        assert_eq!(pair("http://x"), None);
        assert_eq!(pair("12:30"), None);
        assert_eq!(after("Current LogonId is 0:0x3e7", "logonid IS "), Some("0:0x3e7"));
        assert_eq!(indent("\t  x"), 10);
        assert!(starts("  Host Name: x", "host name"));
    }
}
