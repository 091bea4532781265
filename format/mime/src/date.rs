//! Dates of mail (RFC 5322 §3.3 and §4.3), and the other shapes that are found where they should be.

use crate::summary::SentDate;
use waypost_base::Timestamp;
use waypost_base::time::{MONTHS, days_from_civil};

/// Reads a date. None when day, month, year or time cannot be told.
///
/// Understood: RFC 5322 with and without weekday and seconds, two- and three-digit years, named, military and missing zones,
/// comments anywhere; `asctime` order; `3-Mar-2026`; ISO 8601.
pub fn parse(value: &[u8]) -> Option<SentDate> {
    let text = closed_up(&without_comments(value.get(..value.len().min(512))?));
    if let Some(date) = iso_8601(&text) {
        return Some(date);
    }
    let mut found = Found::default();
    for word in text.split(|b| b.is_ascii_whitespace() || *b == b',').filter(|w| !w.is_empty()) {
        found.word(word);
    }
    found.finish()
}

fn without_comments(value: &[u8]) -> Vec<u8> {
    let mut depth = 0usize;
    let mut out = Vec::with_capacity(value.len());
    for &b in value {
        match b {
            b'(' => {
                depth += 1;
                out.push(b' ');
            }
            b')' => depth = depth.saturating_sub(1),
            b if depth == 0 => out.push(b),
            _ => {}
        }
    }
    out
}

/// Without white space around colons, which obsolete syntax allows (RFC 5322 §4.3).
fn closed_up(text: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    for &b in text {
        if b == b':' {
            while out.last().is_some_and(u8::is_ascii_whitespace) {
                out.pop();
            }
        } else if b.is_ascii_whitespace() && out.last() == Some(&b':') {
            continue;
        }
        out.push(b);
    }
    out
}

#[derive(Default)]
struct Found {
    day: Option<u8>,
    month: Option<u8>,
    year: Option<i32>,
    /// Seconds of the day.
    time: Option<i64>,
    zone: Option<i16>,
}

impl Found {
    fn word(&mut self, word: &[u8]) {
        if self.time.is_none() && (word.contains(&b':') || (self.year.is_some() && dotted(word))) {
            self.time_and_zone(word);
        } else if word.contains(&b'-') && word.first().is_some_and(u8::is_ascii_digit) && self.day.is_none() {
            word.split(|b| *b == b'-').for_each(|w| self.word(w));
        } else if self.time.is_some() && matches!(word.first(), Some(b'+' | b'-')) {
            self.zone = self.zone.or_else(|| numeric_zone(word));
        } else if let Some(n) = number(word) {
            self.number(n, word.len());
        } else if let Some(m) = month(word)
            && self.month.is_none()
        {
            self.month = Some(m);
        } else if self.time.is_some() && self.zone.is_none() {
            self.zone = named_zone(word);
        }
    }

    fn number(&mut self, n: u32, digits: usize) {
        if self.day.is_none() && digits <= 2 && (1..=31).contains(&n) {
            self.day = Some(n as u8);
        } else if self.year.is_none() && digits <= 4 {
            self.year = Some(full_year(n, digits));
        }
    }

    /// `08:15:20`, and `08:15:20+0100` or `08:15Z` with the space forgotten.
    fn time_and_zone(&mut self, word: &[u8]) {
        let end =
            word.iter().position(|b| !(b.is_ascii_digit() || matches!(b, b':' | b'.'))).unwrap_or(word.len());
        let (time, zone) = word.split_at(end);
        let mut parts = time.split(|b| matches!(b, b':' | b'.')).map(number);
        let (Some(Some(h)), Some(Some(m))) = (parts.next(), parts.next()) else { return };
        let s = parts.next().flatten().unwrap_or(0);
        if h < 25 && m < 60 && s < 62 {
            self.time = Some(i64::from(h) * 3600 + i64::from(m) * 60 + i64::from(s.min(59)));
        }
        if !zone.is_empty() {
            self.zone = numeric_zone(zone).or_else(|| named_zone(zone));
        }
    }

    fn finish(self) -> Option<SentDate> {
        let days = days_from_civil(self.year?, self.month?, self.day?);
        let offset = self.zone.unwrap_or(0);
        let seconds = days * 86_400 + self.time.unwrap_or(0) - i64::from(offset) * 60;
        Some(SentDate { at: Timestamp::from_seconds(seconds), offset })
    }
}

fn dotted(word: &[u8]) -> bool {
    word.len() <= 8 && word.contains(&b'.') && word.iter().all(|b| b.is_ascii_digit() || *b == b'.')
}

fn number(word: &[u8]) -> Option<u32> {
    if word.is_empty() || word.len() > 8 || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(word.iter().fold(0, |n, d| n * 10 + u32::from(d - b'0')))
}

/// RFC 5322 §4.3: 00 to 49 are of this century, 50 to 999 count from 1900.
fn full_year(n: u32, digits: usize) -> i32 {
    let n = n as i32;
    match digits {
        0..=2 if n < 50 => n + 2000,
        0..=3 => n + 1900,
        _ => n,
    }
}

fn month(word: &[u8]) -> Option<u8> {
    let head = word.get(..3)?;
    let index = MONTHS.iter().position(|m| m.as_bytes().eq_ignore_ascii_case(head))?;
    word.iter().all(|b| b.is_ascii_alphabetic() || *b == b'.').then_some(index as u8 + 1)
}

/// `+0100`, `-05:30`, `+1`; minutes east of UTC.
fn numeric_zone(word: &[u8]) -> Option<i16> {
    let (sign, digits) = match word {
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let digits: Vec<u8> =
        digits.iter().copied().filter(|b| *b != b':').take_while(u8::is_ascii_digit).collect();
    let n = number(&digits)?;
    let minutes = match digits.len() {
        1 | 2 => n * 60,
        3 | 4 => n / 100 * 60 + n % 100,
        _ => return None,
    };
    // Zones reach from -12 to +14; a day is the most that makes sense.
    (minutes < 24 * 60).then_some(sign * minutes as i16)
}

/// Names of RFC 5322 §4.3 and the European ones that mailers used. Military letters were defined the wrong way round in
/// RFC 822, so they say nothing, as do unknown names.
fn named_zone(word: &[u8]) -> Option<i16> {
    let hours = match word.to_ascii_uppercase().as_slice() {
        b"EDT" => -4,
        b"EST" | b"CDT" => -5,
        b"CST" | b"MDT" => -6,
        b"MST" | b"PDT" => -7,
        b"PST" => -8,
        b"BST" | b"WEST" | b"CET" | b"MET" => 1,
        b"CEST" | b"MEST" | b"EET" => 2,
        b"EEST" | b"MSK" => 3,
        b"JST" | b"KST" => 9,
        b"UT" | b"UTC" | b"GMT" | b"Z" | b"WET" => 0,
        w if w.len() == 1 => 0,
        _ => return None,
    };
    Some(hours * 60)
}

/// `2026-03-03T08:15:20.5+01:00`, or with a space.
fn iso_8601(text: &[u8]) -> Option<SentDate> {
    let text = text.trim_ascii();
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, rest @ ..] = text else { return None };
    let year = number(&[*y1, *y2, *y3, *y4])? as i32;
    let month = number(&[*m1, *m2]).filter(|m| (1..=12).contains(m))? as u8;
    let day = number(&[*d1, *d2]).filter(|d| (1..=31).contains(d))? as u8;
    let mut found = Found { day: Some(day), month: Some(month), year: Some(year), ..Found::default() };
    let rest = rest.strip_prefix(b"T").or_else(|| rest.strip_prefix(b"t")).unwrap_or(rest);
    for word in rest.split(|b| b.is_ascii_whitespace()).filter(|w| !w.is_empty()) {
        // Fractions of a second: `08:15:20.5`.
        found.word(word);
    }
    found.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn many_shapes() {
        for (raw, utc, offset) in [
            ("Fri, 21 Nov 1997 09:55:06 -0600", "1997-11-21T15:55:06", -360),
            ("Tue, 1 Jul 2003 10:52:37 +0200", "2003-07-01T08:52:37", 120),
            (
                "Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n               -0330 (Newfoundland Time)",
                "1969-02-14T03:02:00",
                -210,
            ),
            ("21 Nov 97 09:55:06 GMT", "1997-11-21T09:55:06", 0),
            ("Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", "1997-11-21T15:55:06", -360),
            ("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)", "1996-07-17T09:23:25", -420),
            ("Mon, 7 Feb 94 21:52:25 PST", "1994-02-08T05:52:25", -480),
            ("1 Jan 100 00:00 Z", "2000-01-01T00:00:00", 0),
            ("1 Jan 05 00:00:60 EST", "2005-01-01T05:00:59", -300),
            ("Tue Mar  3 08:15:20 2026", "2026-03-03T08:15:20", 0),
            ("3-Mar-2026 08:15:20 +0530", "2026-03-03T02:45:20", 330),
            ("2026-03-03T08:15:20.114Z", "2026-03-03T08:15:20", 0),
            ("2026-03-03 08:15:20+01:00", "2026-03-03T07:15:20", 60),
            ("Tue, 03 March 2026 08:15:20+0100", "2026-03-03T07:15:20", 60),
            ("3 Mar 2026 08:15 XYZ", "2026-03-03T08:15:00", 0),
            ("3 Mar 2026", "2026-03-03T00:00:00", 0),
            ("Sat, 24 Jan 98 03:33:23 A", "1998-01-24T03:33:23", 0),
        ] {
            let date = parse(raw.as_bytes()).expect(raw);
            assert_eq!(date.at.to_string(), format!("{utc}.000Z"), "{raw}");
            assert_eq!(date.offset, offset, "{raw}");
        }
    }

    #[test]
    fn not_dates() {
        for raw in ["", "yesterday", "Mon", "99 99 99", "-", ":", "32 Foo 2020 10:00", "(", "Jan"] {
            assert_eq!(parse(raw.as_bytes()), None, "{raw}");
        }
    }

    #[test]
    fn the_day_is_the_senders() {
        let date = parse(b"Tue, 3 Mar 2026 23:30:00 -0800").expect("a date");
        assert_eq!(date.day(), days_from_civil(2026, 3, 3));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[0-9A-Za-z :,.+()-]{0,40}") {
            parse(text.as_bytes());
        }
    }
}
