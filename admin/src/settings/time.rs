//! Points in time as people write them.

use waypost_base::Timestamp;
use waypost_base::time::days_from_civil;

/// `2026-03-03`, `2026-03-03 08:15`, `2026-03-03T08:15:20.114Z`, `2026-03-03T08:15:20+01:00`, and Exchange's
/// `03/31/2026 08:15:20` (month first). Without an offset it is UTC.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let end = text.find(['T', 't', ' ']).unwrap_or(text.len());
    let (date, time) = text.split_at(end);
    let (year, month, day) = parse_date(date)?;
    let time = time.get(1..).unwrap_or_default().trim();
    let (clock, offset_minutes) = split_offset(time)?;
    let millis = if clock.is_empty() { 0 } else { parse_clock(clock)? };
    let days = days_from_civil(year, month, day);
    let at = days.checked_mul(86_400_000)?.checked_add(millis)?;
    Some(Timestamp(at.checked_sub(offset_minutes * 60_000)?))
}

fn parse_date(text: &str) -> Option<(i32, u8, u8)> {
    let slashes = text.contains('/');
    let mut parts = text.split(if slashes { '/' } else { '-' });
    let (a, b, c) = (parts.next()?, parts.next()?, parts.next()?);
    let (year, month, day) = if slashes { (c, a, b) } else { (a, b, c) };
    let year: i32 = (year.len() == 4).then(|| year.parse().ok()).flatten()?;
    let (month, day): (u8, u8) = (month.parse().ok()?, day.parse().ok()?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (parts.next().is_none() && (1..=days).contains(&day)).then_some((year, month, day))
}

/// The time of day, and how many minutes it is ahead of UTC.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(at) = text.rfind(['+', '-']) else { return Some((text, 0)) };
    let (clock, offset) = text.split_at(at);
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let digits: String = offset.chars().filter(char::is_ascii_digit).collect();
    let (hours, minutes) = (digits.get(..2)?.parse::<i64>().ok()?, digits.get(2..).unwrap_or_default());
    let minutes: i64 = if minutes.is_empty() { 0 } else { minutes.parse().ok()? };
    (hours <= 14 && minutes <= 59).then_some((clock, sign * (hours * 60 + minutes)))
}

fn parse_clock(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let (hours, minutes): (i64, i64) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let seconds: f64 = parts.next().unwrap_or("0").parse().ok()?;
    let sound = parts.next().is_none()
        && (0..24).contains(&hours)
        && (0..60).contains(&minutes)
        && (0.0..60.0).contains(&seconds);
    sound.then(|| (hours * 60 + minutes) * 60_000 + (seconds * 1000.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, shown) in [
            ("2026-03-03", "2026-03-03T00:00:00.000Z"),
            ("2026-03-03 08:15", "2026-03-03T08:15:00.000Z"),
            ("2026-03-03T08:15:20.114Z", "2026-03-03T08:15:20.114Z"),
            ("2026-03-03T08:15:20+01:00", "2026-03-03T07:15:20.000Z"),
            ("2026-03-03T08:15:20-0530", "2026-03-03T13:45:20.000Z"),
            ("03/31/2026 08:15:20", "2026-03-31T08:15:20.000Z"),
            ("2024-02-29", "2024-02-29T00:00:00.000Z"),
        ] {
            assert_eq!(parse_time(text).map(|t| t.to_string()).as_deref(), Some(shown), "{text}");
        }
        for bad in ["", "soon", "2026-13-01", "2026-02-30", "26-01-01", "2026-01-01T25:00", "2026-01-01T1"] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn survives_anything(text in "[0-9TZ:+./ -]{0,30}", n in 0i64..4_000_000_000_000) {
            let _ = parse_time(&text);
            proptest::prop_assert_eq!(parse_time(&Timestamp(n).to_string()), Some(Timestamp(n)));
        }
    }
}
