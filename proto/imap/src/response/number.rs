//! Numbers and dates without the formatting machinery.

use waypost_base::time::{MONTHS, Timestamp};

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

fn pair(n: u64) -> [u8; 2] {
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
        digits[at..at + 2].copy_from_slice(&pair(n));
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
    let local = Timestamp(at.as_millis().saturating_add(i64::from(zone_minutes) * 60_000)).civil();
    let year = u64::from(local.year.clamp(0, 9999).unsigned_abs());
    let zone = u64::from(zone_minutes.unsigned_abs());
    let [d1, d2] = pair(u64::from(local.day));
    let month = MONTHS.get(usize::from(local.month).wrapping_sub(1)).map_or("Jan", |m| m).as_bytes();
    let &[m1, m2, m3] = month else { return };
    let ([y1, y2], [y3, y4]) = (pair(year / 100), pair(year));
    let ([h1, h2], [n1, n2]) = (pair(u64::from(local.hour)), pair(u64::from(local.minute)));
    let ([s1, s2], [z1, z2], [z3, z4]) = (pair(u64::from(local.second)), pair(zone / 60), pair(zone % 60));
    let d1 = if d1 == b'0' { b' ' } else { d1 };
    let sign = if zone_minutes < 0 { b'-' } else { b'+' };
    out.extend_from_slice(&[
        b'"', d1, d2, b'-', m1, m2, m3, b'-', y1, y2, y3, y4, b' ', h1, h2, b':', n1, n2, b':', s1, s2, b' ',
        sign, z1, z2, z3, z4, b'"',
    ]);
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
}
