//! Dates of SEARCH and date-times of APPEND and INTERNALDATE.

use waypost_base::time::{MONTHS, Timestamp, days_from_civil};

/// A day, as days since 1970-01-01. SEARCH disregards times and zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(pub i64);

/// An instant and the zone it was written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateTime {
    /// Whole seconds.
    pub at: Timestamp,
    /// Minutes east of UTC.
    pub zone_minutes: i16,
}

impl Date {
    /// `date-text = date-day "-" date-month "-" date-year` with `date-day = 1*2DIGIT` (RFC 9051 §9).
    pub fn from_wire(text: &[u8]) -> Option<Date> {
        let mut parts = text.splitn(3, |&b| b == b'-');
        let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
        if day.len() > 2 || year.len() != 4 {
            return None;
        }
        days(number(year)?, month_number(month)?, number(day)?).map(Date)
    }
}

impl DateTime {
    /// `date-time` without its quotes: `dd-Mon-yyyy hh:mm:ss +zzzz`, the day padded with a space.
    pub fn from_wire(text: &[u8]) -> Option<DateTime> {
        let text: &[u8; 26] = text.try_into().ok()?;
        let [d1, d2, b'-', m1, m2, m3, b'-', y1, y2, y3, y4, b' ', time @ .., b' ', sign, z1, z2, z3, z4] =
            text
        else {
            return None;
        };
        let [h1, h2, b':', n1, n2, b':', s1, s2] = time else { return None };
        let day = number(&[if *d1 == b' ' { b'0' } else { *d1 }, *d2])?;
        let days = days(number(&[*y1, *y2, *y3, *y4])?, month_number(&[*m1, *m2, *m3])?, day)?;
        let (hour, minute, second) = (number(&[*h1, *h2])?, number(&[*n1, *n2])?, number(&[*s1, *s2])?);
        let (zone_hour, zone_minute) = (number(&[*z1, *z2])?, number(&[*z3, *z4])?);
        // A leap second is real in the world and becomes the next second here.
        if hour > 23 || minute > 59 || second > 60 || zone_hour > 23 || zone_minute > 59 {
            return None;
        }
        let zone = zone_hour * 60 + zone_minute;
        let zone_minutes = match sign {
            b'+' => zone as i16,
            b'-' => -(zone as i16),
            _ => return None,
        };
        let seconds = days * 86_400 + i64::from(hour * 3600 + minute * 60 + second);
        Some(DateTime { at: Timestamp::from_seconds(seconds - i64::from(zone_minutes) * 60), zone_minutes })
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 4 {
        return None;
    }
    digits.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0')))
}

fn month_number(name: &[u8]) -> Option<u8> {
    let at = MONTHS.iter().position(|m| m.as_bytes().eq_ignore_ascii_case(name))?;
    u8::try_from(at + 1).ok()
}

fn days(year: u32, month: u8, day: u32) -> Option<i64> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 31,
    };
    if day == 0 || day > last {
        return None;
    }
    Some(days_from_civil(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?))
}
