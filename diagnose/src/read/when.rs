//! Dates and times as programs print them, in the forms of several languages. What has no zone is taken for UTC: the order of
//! what one machine prints is right then, and what is off by a zone is seen as a jump.

use waypost_base::Timestamp;
use waypost_base::time::days_from_civil;

const MONTHS: [&[&str]; 12] = [
    &["jan", "janv"],
    &["feb", "fev", "fév", "févr"],
    &["mar", "mär", "mrz", "mars"],
    &["apr", "avr"],
    &["may", "mai"],
    &["jun", "juin"],
    &["jul", "juil"],
    &["aug", "août", "aou"],
    &["sep", "sept"],
    &["oct", "okt"],
    &["nov"],
    &["dec", "dez", "déc"],
];

/// The first date with a time in the text, whatever stands after it.
///
/// ISO 8601 (`2026-03-03T08:15:20.114Z`, `+01:00`), `3/3/2026 9:04:11 AM`, `03.03.2026 09:04:11`, `03/03/2026 09:04:11`,
/// `Tuesday, March 3, 2026 9:04 AM`, `3. März 2026 09:04:11`, `3 mars 2026 09:04:11`, `/Date(1772525051000)/`.
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim().trim_start_matches(['"', '\'', '(', '[']);
    if let Some(rest) = text.strip_prefix("/Date(").or_else(|| text.strip_prefix("\\/Date(")) {
        let digits: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '-').collect();
        return digits.parse().ok().map(Timestamp);
    }
    if text.len() > 400 {
        return None;
    }
    let parts = split(text);
    date(&parts)
}

#[derive(Debug, Clone, PartialEq)]
enum Part<'a> {
    /// A number, with how many digits it had and the mark after it.
    Number(i64, usize, char),
    Word(&'a str),
}

fn split(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if parts.len() >= 24 {
            break;
        }
        let end_of = |test: fn(char) -> bool| rest.find(|c| !test(c)).unwrap_or(rest.len());
        if c.is_ascii_digit() {
            let end = end_of(|c| c.is_ascii_digit());
            let (digits, after) = rest.split_at(end);
            let mark = after.chars().next().unwrap_or(' ');
            let Ok(value) = digits.get(..digits.len().min(18)).unwrap_or_default().parse() else { break };
            parts.push(Part::Number(value, digits.len(), mark));
            rest = after;
        } else if c.is_alphabetic() {
            let end = end_of(char::is_alphabetic);
            let (word, after) = rest.split_at(end);
            parts.push(Part::Word(word));
            rest = after;
        } else {
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        }
    }
    parts
}

fn month(word: &str) -> Option<u8> {
    let word = word.to_lowercase();
    let at = MONTHS.iter().position(|names| {
        names.iter().any(|name| word == *name || (word.len() >= 4 && word.starts_with(name)))
    })?;
    u8::try_from(at + 1).ok()
}

fn date(parts: &[Part<'_>]) -> Option<Timestamp> {
    for at in 0..parts.len() {
        let Some((year, month, day, used)) = parts.get(at..).and_then(day_of) else { continue };
        return Some(clock(parts.get(at + used..).unwrap_or_default(), year, month, day));
    }
    None
}

/// Year, month, day and how many parts they took.
fn day_of(parts: &[Part<'_>]) -> Option<(i32, u8, u8, usize)> {
    let good =
        |year: i64, month: i64, day: i64| {
            let year = if (0..100).contains(&year) { year + 2000 } else { year };
            ((1970..2400).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day))
                .then_some((year as i32, month as u8, day as u8))
        };
    let three = match parts {
        [
            Part::Number(y, 4, '-' | '/' | '.'),
            Part::Number(m, _, '-' | '/' | '.'),
            Part::Number(d, ..),
            ..,
        ] => good(*y, *m, *d).map(|d| (d, 3)),
        [
            Part::Number(d, 1..=2, '.' | '-'),
            Part::Number(m, 1..=2, '.' | '-'),
            Part::Number(y, 4 | 2, _),
            ..,
        ] => good(*y, *m, *d).map(|d| (d, 3)),
        [Part::Number(a, 1..=2, '/'), Part::Number(b, 1..=2, '/'), Part::Number(y, 4 | 2, _), rest @ ..] => {
            // The American order, unless the first cannot be a month, or two digits and no AM or PM tell of the other.
            let half = rest.iter().take(6).any(|p| matches!(p, Part::Word(w) if half_of(w).is_some()));
            let european = matches!(parts.first(), Some(Part::Number(_, 2, _))) && !half && *b <= 12;
            match *a > 12 || european && *b <= 12 && a != b && looks_padded(parts) {
                true => good(*y, *b, *a).map(|d| (d, 3)),
                false => good(*y, *a, *b).map(|d| (d, 3)),
            }
        }
        [Part::Number(d, 1..=2, _), Part::Word(m), Part::Number(y, 4, _), ..] => {
            month(m).and_then(|m| good(*y, i64::from(m), *d)).map(|d| (d, 3))
        }
        [Part::Word(m), Part::Number(d, 1..=2, _), Part::Number(y, 4, _), ..] => {
            month(m).and_then(|m| good(*y, i64::from(m), *d)).map(|d| (d, 3))
        }
        _ => None,
    };
    let ((year, month, day), used) = three?;
    Some((year, month, day, used))
}

/// `03/04/2026 09:04`: both padded, on a clock of 24 hours.
fn looks_padded(parts: &[Part<'_>]) -> bool {
    matches!(
        parts,
        [Part::Number(_, 2, _), Part::Number(_, 2, _), Part::Number(_, 4, _), Part::Number(_, 2, ':'), ..]
    )
}

fn half_of(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "am" => Some(false),
        "pm" => Some(true),
        _ => None,
    }
}

fn clock(parts: &[Part<'_>], year: i32, month: u8, day: u8) -> Timestamp {
    let days = days_from_civil(year, month, day);
    let mut rest = parts;
    // A `T`, `um`, `at`, `à` may stand between.
    if let Some((Part::Word(word), after)) = rest.split_first()
        && half_of(word).is_none()
    {
        rest = after;
    }
    let mut millis = days * 86_400_000;
    let mut zone = 0;
    let (mut hours, minutes, mut seconds, mut thousandths) = match rest {
        [
            Part::Number(h, 1..=2, ':'),
            Part::Number(m, 1..=2, ':'),
            Part::Number(s, 1..=2, after),
            tail @ ..,
        ] => {
            rest = tail;
            let (mut thousandths, mut after) = (0, *after);
            if matches!(after, '.' | ',')
                && let Some((Part::Number(value, digits, mark), tail)) = tail.split_first()
            {
                thousandths = fraction(*value, *digits);
                (rest, after) = (tail, *mark);
            }
            if let ('+' | '-', [Part::Number(h, 2, ':'), Part::Number(m, 2, _), ..]) = (after, rest) {
                zone = (*h * 60 + *m) * if after == '-' { -60_000 } else { 60_000 };
            }
            (*h, *m, *s, thousandths)
        }
        [Part::Number(h, 1..=2, ':'), Part::Number(m, 1..=2, _), tail @ ..] => {
            rest = tail;
            (*h, *m, 0, 0)
        }
        _ => return Timestamp(millis),
    };
    if !(0..24).contains(&hours) || !(0..60).contains(&minutes) {
        return Timestamp(millis);
    }
    seconds = seconds.clamp(0, 59);
    thousandths = thousandths.clamp(0, 999);
    if let Some(Part::Word(word)) = rest.first() {
        match half_of(word) {
            Some(true) if hours < 12 => hours += 12,
            Some(false) if hours == 12 => hours = 0,
            _ => {}
        }
    }
    millis += ((hours * 60 + minutes) * 60 + seconds) * 1000 + thousandths;
    Timestamp(millis - zone)
}

fn fraction(value: i64, digits: usize) -> i64 {
    let digits = u32::try_from(digits.min(18)).unwrap_or(18);
    if digits >= 3 { value / 10_i64.pow(digits - 3) } else { value * 10_i64.pow(3 - digits) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_of_many_programs() {
        for (text, shown) in [
            ("2026-03-03T08:15:20.114Z", "2026-03-03T08:15:20.114Z"),
            ("2026-03-03T08:15:20.1140000+01:00", "2026-03-03T07:15:20.114Z"),
            ("2026-03-03 08:15:20", "2026-03-03T08:15:20.000Z"),
            ("3/3/2026 9:04:11 PM", "2026-03-03T21:04:11.000Z"),
            ("3/14/2026 12:04:11 AM", "2026-03-14T00:04:11.000Z"),
            ("14.03.2026 09:04:11", "2026-03-14T09:04:11.000Z"),
            ("14/03/2026 09:04", "2026-03-14T09:04:00.000Z"),
            ("Tuesday, March 3, 2026 9:04 AM", "2026-03-03T09:04:00.000Z"),
            ("Dienstag, 3. März 2026 09:04:11", "2026-03-03T09:04:11.000Z"),
            ("mardi 3 mars 2026 09:04:11", "2026-03-03T09:04:11.000Z"),
            ("/Date(1772525051000)/", "2026-03-03T08:04:11.000Z"),
            ("3/3/2026", "2026-03-03T00:00:00.000Z"),
        ] {
            assert_eq!(parse(text).map(|t| t.to_string()).as_deref(), Some(shown), "{text}");
        }
        assert_eq!(parse("Default Frontend MBX01"), None);
        assert_eq!(parse("10.20.0.11:993"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn never_panics(text in "\\PC{0,80}") {
            let _ = parse(&text);
        }

        #[test]
        fn never_panics_on_dates(text in "[0-9/:. APMZT+-]{0,40}") {
            let _ = parse(&text);
        }
    }
}
