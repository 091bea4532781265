//! Lines of Exchange's setup log: `[03/03/2026 08:15:20.0114] [1] [ERROR] text`.

use waypost_base::Timestamp;

/// Lines of one entry that are taken.
pub const LINES_MAX: usize = 12;

/// A line of it, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub time: Option<Timestamp>,
    pub depth: &'a str,
    /// `ERROR`, `WARNING`, `REQUIRED`, or empty.
    pub level: &'a str,
    pub message: &'a str,
}

pub fn take(line: &str) -> Option<Entry<'_>> {
    let (time, rest) = bracketed(line.trim_start())?;
    let stamp = |c: char| c.is_ascii_digit() || matches!(c, '/' | '.' | '-' | ':' | ' ');
    if time.len() < 16 || !time.chars().all(stamp) || !time.contains(':') {
        return None;
    }
    let (depth, rest) = bracketed(rest.trim_start())?;
    if depth.is_empty() || depth.len() > 3 || !depth.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let rest = rest.trim_start();
    let level =
        bracketed(rest).filter(|(word, _)| !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase()));
    let (level, message) = level.map_or(("", rest), |(level, rest)| (level, rest.trim_start()));
    Some(Entry { time: crate::read::when::parse(time), depth, level, message })
}

/// Whether a line belongs to the entry before it.
pub fn goes_on(line: &str) -> bool {
    !line.trim().is_empty() && take(line).is_none()
}

fn bracketed(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('[')?.split_once(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let entry = take("[03/03/2026 08:15:20.0114] [1] [ERROR] The certificate is expired.").unwrap();
        assert_eq!((entry.depth, entry.level, entry.message), ("1", "ERROR", "The certificate is expired."));
        assert!(entry.time.is_some());
        let plain = take("[03/03/2026 08:15:20.0114] [0] Starting Microsoft Exchange Server Setup").unwrap();
        assert_eq!((plain.level, plain.message), ("", "Starting Microsoft Exchange Server Setup"));
        for other in ["[1] [2] x", "[note: see 3] [1] y", "", "[", "[]", "[03/03/2026 08:15:20] x"] {
            assert_eq!(take(other), None, "{other}");
        }
        assert!(goes_on("   at Some.Method()") && !goes_on(""));
    }
}
