//! Numbers and dates without the formatting machinery.

use waypost_base::time::{MONTHS, Timestamp, civil_from_days};

/// `00` to `99`, so that two digits are written at a time.
static PAIRS: [[u8; 2]; 100] = pairs();

const fn pairs() -> [[u8; 2]; 100] {
    let mut table = [[0; 2]; 100];
    let mut n = 0;
    while n < 100 {
        table[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
        n += 1;
    }
    table
}

fn pair(n: u32) -> [u8; 2] {
    // The remainder is below 100, so the table always has it.
    PAIRS[(n % 100) as usize]
}

/// Appends a number in decimal.
pub(crate) fn decimal(out: &mut Vec<u8>, mut n: u64) {
    if n < 10 {
        return out.push(b'0' + n as u8);
    }
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    while n >= 10 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&pair((n % 100) as u32));
        n /= 100;
    }
    if n > 0 {
        at -= 1;
        digits[at] = b'0' + n as u8;
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends `"dd-Mon-yyyy hh:mm:ss +zzzz"` (RFC 9051 §9 `date-time`). Years outside of 0 to 9999 are clamped.
pub(crate) fn date_time(out: &mut Vec<u8>, at: Timestamp, zone_minutes: i16) {
    let local = at.as_millis().saturating_add(i64::from(zone_minutes) * 60_000).div_euclid(1000);
    let (days, second) = (local.div_euclid(86_400), local.rem_euclid(86_400) as u32);
    let (year, month, day) = match u32::try_from(days) {
        Ok(days) if days < 50_000 => civil(days),
        _ => {
            let (year, month, day) = civil_from_days(days);
            (year.clamp(0, 9999).unsigned_abs(), u32::from(month), u32::from(day))
        }
    };
    let month = MONTHS.get(month.wrapping_sub(1) as usize).map_or("Jan", |m| m).as_bytes();
    let &[m1, m2, m3] = month else { return };
    let zone = u32::from(zone_minutes.unsigned_abs());
    let [d1, d2] = pair(day);
    let ([y1, y2], [y3, y4]) = (pair(year / 100), pair(year));
    let ([h1, h2], [n1, n2]) = (pair(second / 3600), pair(second / 60 % 60));
    let ([s1, s2], [z1, z2], [z3, z4]) = (pair(second % 60), pair(zone / 60), pair(zone % 60));
    let d1 = if d1 == b'0' { b' ' } else { d1 };
    let sign = if zone_minutes < 0 { b'-' } else { b'+' };
    out.extend_from_slice(&[
        b'"', d1, d2, b'-', m1, m2, m3, b'-', y1, y2, y3, y4, b' ', h1, h2, b':', n1, n2, b':', s1, s2, b' ',
        sign, z1, z2, z3, z4, b'"',
    ]);
}

/// Year, month and day of a day since 1970-01-01, in 32-bit arithmetic for the century and more in which mail is dated: a
/// FETCH of many messages spends most of its time on dates otherwise. The method is that of Neri and Schneider (2021): years
/// begin in March, so that the leap day is the last.
fn civil(days: u32) -> (u32, u32, u32) {
    let n = 4 * (days + 719_468) + 3;
    let (century, day_of_century) = (n / 146_097, n % 146_097 / 4);
    let product = 2_939_745 * u64::from(4 * day_of_century + 3);
    let (year_of_century, day_of_year) = ((product >> 32) as u32, product as u32 / 2_939_745 / 4);
    let month_and_day = 2_141 * day_of_year + 197_913;
    let (month, day) = (month_and_day >> 16, (month_and_day & 0xffff) / 2_141 + 1);
    let after_december = u32::from(day_of_year >= 306);
    (100 * century + year_of_century + after_december, month - 12 * after_december, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals() {
        let powers = (0..20).map(|e| 10u64.pow(e));
        for n in
            powers.flat_map(|p| [p - 1, p, p + 1, p.wrapping_mul(7)]).chain([u64::MAX, u64::from(u32::MAX)])
        {
            let mut out = Vec::new();
            decimal(&mut out, n);
            assert_eq!(out, n.to_string().into_bytes());
        }
    }

    #[test]
    fn dates() {
        let mut out = Vec::new();
        date_time(&mut out, Timestamp::from_seconds(837_596_665), -420);
        assert_eq!(String::from_utf8_lossy(&out), "\"17-Jul-1996 02:44:25 -0700\"");
        out.clear();
        date_time(&mut out, Timestamp(0), 330);
        assert_eq!(String::from_utf8_lossy(&out), "\" 1-Jan-1970 05:30:00 +0530\"");
    }

    #[test]
    fn days_agree() {
        for days in 0..50_000 {
            let (year, month, day) = civil_from_days(days);
            let quick = civil(u32::try_from(days).expect("small"));
            assert_eq!(quick, (year.unsigned_abs(), u32::from(month), u32::from(day)), "day {days}");
        }
    }
}
