//! Small judgements about words and numbers as people and programs print them.

use regex::Regex;
use std::borrow::Cow;
use std::sync::OnceLock;

/// The number at the beginning of `10,485,760 bytes`, `12 %`, `0x1f`, `-3.5`; `hh:mm:ss` and `d.hh:mm:ss` as seconds.
pub fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let digits: String = hex.chars().take_while(char::is_ascii_hexdigit).collect();
        return u64::from_str_radix(&digits, 16).ok().map(|n| n as f64);
    }
    if let Some(seconds) = span(text) {
        return Some(seconds);
    }
    let mut digits = String::new();
    for (at, c) in text.char_indices() {
        match c {
            '0'..='9' | '.' => digits.push(c),
            '-' | '+' if at == 0 => digits.push(c),
            ',' if text[at + 1..].starts_with(|d: char| d.is_ascii_digit()) => {}
            _ => break,
        }
    }
    digits.trim_end_matches('.').parse().ok()
}

/// Seconds of `00:05:10`, `1.02:03:04`, `-00:00:07.25`.
pub fn span(text: &str) -> Option<f64> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let word = rest.split_whitespace().next()?;
    let mut parts = word.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let (days, hours) = match hours.split_once('.') {
        Some((days, hours)) => (days.parse::<f64>().ok()?, hours),
        None => (0.0, hours),
    };
    let (hours, minutes) = (hours.parse::<f64>().ok()?, minutes.parse::<f64>().ok()?);
    let seconds = seconds.parse::<f64>().ok()?;
    Some(sign * (((days * 24.0 + hours) * 60.0 + minutes) * 60.0 + seconds))
}

/// Bytes of `4.883 GB (5,242,880,000 bytes)`, `512 KB`, `10485760`.
pub fn bytes(text: &str) -> Option<f64> {
    if let Some(inner) = text.split_once('(').map(|(_, rest)| rest)
        && inner.contains("bytes")
    {
        return number(inner);
    }
    let value = number(text)?;
    let unit: String =
        text.chars().filter(char::is_ascii_alphabetic).take(2).collect::<String>().to_uppercase();
    let factor = match unit.as_str() {
        "KB" | "KI" => 1024.0,
        "MB" | "MI" => 1024.0 * 1024.0,
        "GB" | "GI" => 1024.0 * 1024.0 * 1024.0,
        "TB" | "TI" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => 1.0,
    };
    Some(value * factor)
}

/// Whether `phrase` occurs in `text`, in any case of ASCII letters.
pub fn contains(text: &str, phrase: &str) -> bool {
    let (text, phrase) = (text.as_bytes(), phrase.as_bytes());
    let Some((first, _)) = phrase.split_first() else { return true };
    if text.len() < phrase.len() {
        return false;
    }
    let (low, up) = (first.to_ascii_lowercase(), first.to_ascii_uppercase());
    let end = text.len() - phrase.len();
    memchr::memchr2_iter(low, up, &text[..=end])
        .any(|at| text[at..at + phrase.len()].eq_ignore_ascii_case(phrase))
}

/// Whether `text` fits `pattern`, where `*` stands for anything; in any case of letters.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    let parts: Vec<&str> = pattern.split('*').collect();
    let [first, middle @ .., last] = parts.as_slice() else { return pattern == text };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

/// The items of `{a, b}`, `a;b`, `a, b`.
pub fn items(list: &str) -> impl Iterator<Item = &str> {
    let inner = list.trim().trim_start_matches('{').trim_end_matches('}');
    inner.split([',', ';']).map(str::trim).filter(|item| !item.is_empty())
}

/// Whether somebody says that something was looked for and is not there: `no event 12014`, `event 12014 was not logged`.
pub fn denied(text: &str) -> bool {
    static DENIED: OnceLock<Option<Regex>> = OnceLock::new();
    const PATTERN: &str = r"(?ix)
        \b (?: no | zero | not\ a\ single | keine? | keinen | keinerlei | aucune? ) \s (?: (?: such | single | matching | related | error | warning ) \s )?
            (?: events? | entry | entries | ereignis(?:se)? | eintr(?:ag|äge) | événements? ) \s? (?: ids? )? \s? \d{3,5} \b
      | \b (?: event | ereignis | événement ) \s? (?: id )? \s? \d{3,5} \s
            (?: (?: was | is | were | has ) \s (?: not | never ) \s (?: been \s )? (?: found | there | logged | present | seen )
              | does \s not \s appear | never \s (?: appeared | showed )
              | (?: wurde | ist ) \s nicht \s (?: gefunden | vorhanden | protokolliert ) )
      | \b (?: looked | searched | checked | grepped ) \s for \b [^.]{1,80} \b (?: found \s (?: none | nothing ) | none \s found | nothing \s found )";
    let pattern = DENIED.get_or_init(|| Regex::new(PATTERN).ok());
    text.len() < 1000 && pattern.as_ref().is_some_and(|p| p.is_match(text))
}

/// With every run of spaces, tabs and line ends as one space.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a character would do something to a terminal or to the order of what is read: control characters, and those that
/// turn the direction of text or cannot be seen.
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Text of evidence as a terminal may get it: whatever commands a terminal or hides is shown as `·`.
pub fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| match c {
        '\n' | '\t' | '\r' => ' ',
        c if is_unsafe(c) => '·',
        c => c,
    };
    Cow::Owned(text.chars().map(shown).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_they_are_printed() {
        for (text, value) in [
            ("10,485,760 bytes", 10_485_760.0),
            ("12 %", 12.0),
            ("12%", 12.0),
            ("-3.5s", -3.5),
            ("0x17", 23.0),
            ("00:05:10", 310.0),
            ("1.02:03:04", 93_784.0),
            ("-00:00:07.5", -7.5),
        ] {
            assert_eq!(number(text), Some(value), "{text}");
        }
        assert_eq!(number("none"), None);
        assert_eq!(bytes("10 MB (10,485,760 bytes)"), Some(10_485_760.0));
        assert_eq!(bytes("1.5 KB"), Some(1536.0));
    }

    #[test]
    fn denials_are_told_from_reports() {
        for text in [
            "We looked for event 12014 and found none.",
            "There is no event ID 1035 on either server",
            "Event 12014 was never logged.",
            "Es gibt keine Ereignisse 1035 im Log",
        ] {
            assert!(denied(text), "{text}");
        }
        for text in [
            "Event 12014: no certificate contains the name",
            "Event 5300: the file was not found",
            "no mail since event 15006",
            "event 1035 was logged 200 times, no mail since",
        ] {
            assert!(!denied(text), "{text}");
        }
    }

    #[test]
    fn nothing_commands_a_terminal() {
        assert_eq!(harmless("a\u{1b}]0;x\u{7}b\u{9b}2J\u{202e}c\td"), "a·]0;x·b·2J·c d");
        assert!(matches!(harmless("Zürich → 日本"), Cow::Borrowed(_)));
    }

    #[test]
    fn globs_and_phrases() {
        assert!(glob("*.corp.example", "mbx01.CORP.example") && glob("a*c", "abc") && glob("abc", "ABC"));
        assert!(!glob("a*c", "ab") && !glob("ab", "abc") && !glob("a*a", "a"));
        assert!(
            contains("Inbound ExchangeAuth", "exchangeauth") && !contains("x", "xy") && contains("x", "")
        );
        assert_eq!(items("{[::]:143, 0.0.0.0:143}").count(), 2);
    }
}
