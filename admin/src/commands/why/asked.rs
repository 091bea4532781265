//! What `waypost why` is asked about, read from what people write: a Message-ID, a session, an address, a probe, a server,
//! a time or a span of time, with words around it.

use crate::settings::parse_time;
use waypost_base::Timestamp;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Before and after a moment that is asked about.
const AROUND: i64 = 30 * MINUTE;
/// Longest text; nobody asks in more words.
pub const BYTES_MAX: usize = 2000;

/// A question, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub what: What,
    pub span: Option<Span>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Certainly a Message-ID.
    Message(String),
    /// With an at sign: a Message-ID or an address.
    MessageOrAddress(String),
    Session(String),
    Probe(String),
    /// One word that may be a server.
    Server(String),
    Time,
}

/// The time that is meant, and the moment in it where one was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: Timestamp,
    pub to: Timestamp,
    pub at: Option<Timestamp>,
}

impl Span {
    pub fn around(at: Timestamp, now: Timestamp) -> Span {
        Span { from: at.plus_millis(-AROUND), to: at.plus_millis(AROUND).min(now), at: Some(at) }
    }

    fn last(millis: i64, now: Timestamp) -> Span {
        Span { from: now.plus_millis(-millis), to: now, at: None }
    }
}

/// Reads a question. `is_server` says whether a word is a server of the organisation. `None`: nothing in it is understood.
pub fn read(text: &str, now: Timestamp, is_server: impl Fn(&str) -> bool) -> Option<Asked> {
    let text = text.trim().trim_end_matches('?').trim();
    let words: Vec<&str> = text
        .split_whitespace()
        .map(|w| w.trim_matches(|c: char| matches!(c, ',' | ';' | '"' | '\'' | '?' | '(' | ')')))
        .filter(|w| !w.is_empty())
        .collect();
    let (span, used) = span(&words, now);
    let rest: Vec<&str> =
        words.iter().enumerate().filter(|(n, _)| !used.contains(n)).map(|(_, w)| *w).collect();
    let what = rest.iter().find_map(|word| thing(word)).or_else(|| {
        let server = rest.iter().find(|w| is_server(w.trim_end_matches('.')));
        server.map(|w| What::Server(w.trim_end_matches('.').to_ascii_lowercase()))
    });
    match (what, span, rest.as_slice()) {
        (Some(what), span, _) => Some(Asked { what, span }),
        (None, Some(span), _) => Some(Asked { what: What::Time, span: Some(span) }),
        // One word alone is a name that nobody here knows; the answer says so.
        (None, None, [only]) => Some(Asked { what: What::Server((*only).to_ascii_lowercase()), span: None }),
        (None, None, _) => None,
    }
}

/// What a word names by its look alone.
fn thing(word: &str) -> Option<What> {
    if let Some(id) = word.strip_prefix('<').and_then(|w| w.strip_suffix('>')) {
        return (!id.is_empty()).then(|| What::Message(id.to_owned()));
    }
    if word.len() == 16 && word.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Some(What::Session(word.to_ascii_uppercase()));
    }
    if word.contains('\\') {
        return Some(What::Probe(word.to_owned()));
    }
    let (local, domain) = word.rsplit_once('@')?;
    (!local.is_empty() && !domain.is_empty()).then(|| What::MessageOrAddress(word.to_owned()))
}

/// The time among the words, and which words say it.
fn span(words: &[&str], now: Timestamp) -> (Option<Span>, Vec<usize>) {
    let mut used = Vec::new();
    let lower: Vec<String> = words.iter().map(|w| w.to_ascii_lowercase()).collect();
    let mut day = None;
    let mut times: Vec<(usize, Timestamp, bool)> = Vec::new();
    for (n, word) in lower.iter().enumerate() {
        match word.as_str() {
            "yesterday" => {
                day = Some(midnight(now).plus_millis(-DAY));
                used.push(n);
            }
            "today" => {
                day = Some(midnight(now));
                used.push(n);
            }
            "now" => {
                used.push(n);
                times.push((n, now, true));
            }
            _ if word.len() == 10 && word.as_bytes().get(4) == Some(&b'-') => {
                if let Some(found) = parse_time(word) {
                    day = Some(found);
                    used.push(n);
                }
            }
            _ => {}
        }
    }
    for (n, word) in lower.iter().enumerate() {
        if used.contains(&n) {
            continue;
        }
        if word.len() > 10
            && let Some(at) = parse_time(words.get(n).copied().unwrap_or_default())
        {
            times.push((n, at, true));
        } else if let Some((a, b)) =
            word.split_once('-').and_then(|(a, b)| Some((time_of_day(a)?, time_of_day(b)?)))
        {
            times.extend([(n, of_day(a, day, now), true), (n, of_day(b, day, now), true)]);
        } else if let Some(millis) = time_of_day(word) {
            times.push((n, of_day(millis, day, now), true));
        } else if let Some(length) = length(&lower, n) {
            used.extend(length.used);
            let span = if length.ago {
                Span::around(now.plus_millis(-length.millis), now)
            } else {
                Span::last(length.millis, now)
            };
            return (Some(span), used);
        }
    }
    used.extend(times.iter().map(|(n, ..)| *n));
    let span = match times.as_slice() {
        [] => day.map(|d| Span { from: d, to: d.plus_millis(DAY).min(now), at: None }),
        [(_, at, _)] => Some(Span::around(*at, now)),
        [(_, a, _), (_, b, _), ..] => Some(Span { from: *a.min(b), to: *a.max(b), at: None }),
    };
    (span, used)
}

fn midnight(time: Timestamp) -> Timestamp {
    Timestamp(time.as_millis().div_euclid(DAY) * DAY)
}

/// A time of day on a day; without one the last time that it was so late.
fn of_day(millis: i64, day: Option<Timestamp>, now: Timestamp) -> Timestamp {
    match day {
        Some(day) => day.plus_millis(millis),
        None => {
            let today = midnight(now).plus_millis(millis);
            if today > now { today.plus_millis(-DAY) } else { today }
        }
    }
}

/// `10:05`, `10:05:30`
fn time_of_day(word: &str) -> Option<i64> {
    let word = word.strip_suffix('z').unwrap_or(word);
    let mut parts = word.split(':');
    let hours: i64 = number(parts.next()?)?;
    let minutes: i64 = number(parts.next()?)?;
    let seconds: i64 = parts.next().map_or(Some(0), number)?;
    let sound = parts.next().is_none() && hours < 24 && minutes < 60 && seconds < 60;
    sound.then_some(hours * HOUR + minutes * MINUTE + seconds * 1000)
}

fn number(text: &str) -> Option<i64> {
    let good = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    good.then(|| text.parse().ok()).flatten()
}

struct Length {
    millis: i64,
    ago: bool,
    used: Vec<usize>,
}

/// `2h`, `90m`, `30 minutes ago`, `last hour`, `last 3 hours`
fn length(words: &[String], n: usize) -> Option<Length> {
    let word = words.get(n)?;
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let (count, rest) = word.split_at(digits);
    let mut used = vec![n];
    let before = n.checked_sub(1).and_then(|b| words.get(b)).map(String::as_str);
    let (count, unit): (i64, &str) = if count.is_empty() {
        // `last hour`
        matches!(before, Some("last" | "past")).then_some((1, word.as_str()))?
    } else if rest.is_empty() {
        used.push(n + 1);
        (count.parse().ok()?, words.get(n + 1)?.as_str())
    } else {
        (count.parse().ok()?, rest)
    };
    let unit = match unit {
        "m" | "min" | "mins" | "minute" | "minutes" => MINUTE,
        "h" | "hour" | "hours" => HOUR,
        "d" | "day" | "days" => DAY,
        _ => return None,
    };
    let last = used.last().copied().unwrap_or(n);
    let ago = words.get(last + 1).is_some_and(|w| w == "ago");
    if ago {
        used.push(last + 1);
    }
    // A year: older logs are gone.
    let millis = count.checked_mul(unit).filter(|m| (1..=366 * DAY).contains(m))?;
    Some(Length { millis, ago, used })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A Sunday, 12:00.
    fn now() -> Timestamp {
        parse_time("2026-11-22T12:00:00Z").unwrap()
    }

    fn asked(text: &str) -> Asked {
        read(text, now(), |w| w.eq_ignore_ascii_case("server-2") || w == "mbx1.contoso.test")
            .unwrap_or_else(|| panic!("{text}"))
    }

    fn at(text: &str) -> String {
        asked(text).span.and_then(|s| s.at).map(|t| t.to_string()).unwrap_or_default()
    }

    #[test]
    fn things() {
        for (text, what) in [
            ("<a@b>", What::Message("a@b".into())),
            ("amy@contoso.test", What::MessageOrAddress("amy@contoso.test".into())),
            ("why did amy@contoso.test get nothing?", What::MessageOrAddress("amy@contoso.test".into())),
            ("00000000000000af", What::Session("00000000000000AF".into())),
            ("IMAP\\ImapCTPProbe", What::Probe("IMAP\\ImapCTPProbe".into())),
            ("server-2", What::Server("server-2".into())),
            (
                "what is wrong with MBX1.contoso.test.".to_lowercase().as_str(),
                What::Server("mbx1.contoso.test".into()),
            ),
            ("nobody", What::Server("nobody".into())),
        ] {
            assert_eq!(asked(text).what, what, "{text}");
        }
        assert_eq!(read("what is wrong here", now(), |_| false), None);
    }

    #[test]
    fn times() {
        for (text, moment) in [
            ("10:05", "2026-11-22T10:05:00.000Z"),
            ("why did mail stop at 10:05?", "2026-11-22T10:05:00.000Z"),
            ("yesterday 10:05", "2026-11-21T10:05:00.000Z"),
            ("10:05 yesterday", "2026-11-21T10:05:00.000Z"),
            ("2026-11-20T10:05", "2026-11-20T10:05:00.000Z"),
            ("2026-11-20 10:05:30", "2026-11-20T10:05:30.000Z"),
            ("at 23:50", "2026-11-21T23:50:00.000Z"),
            ("30 minutes ago", "2026-11-22T11:30:00.000Z"),
            ("what happened 2h ago", "2026-11-22T10:00:00.000Z"),
            ("server-2 at 10:05", "2026-11-22T10:05:00.000Z"),
            ("now", "2026-11-22T12:00:00.000Z"),
        ] {
            assert_eq!(at(text), moment, "{text}");
        }
        assert_eq!(asked("why did mail stop at 10:05?").what, What::Time);
    }

    #[test]
    fn spans() {
        for (text, from, to) in [
            ("between 10:00 and 10:30", "10:00", "10:30"),
            ("10:00-10:30", "10:00", "10:30"),
            ("last hour", "11:00", "12:00"),
            ("the last 3 hours", "09:00", "12:00"),
            ("2h", "10:00", "12:00"),
            ("today", "00:00", "12:00"),
        ] {
            let span = asked(text).span.unwrap();
            assert_eq!(span.from, parse_time(&format!("2026-11-22T{from}")).unwrap(), "{text}");
            assert_eq!(span.to, parse_time(&format!("2026-11-22T{to}")).unwrap(), "{text}");
            assert_eq!(span.at, None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn anything_is_read(text in "[ -~é]{0,60}") {
            let _ = read(&text, now(), |_| false);
        }
    }
}
