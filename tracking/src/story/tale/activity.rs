//! Silence: when a service of a steady kind said nothing for much longer than before.

use waypost_base::Timestamp;

/// Signs of life before a silence that make it one. Less says nothing about what is usual.
const BEFORE_MIN: usize = 4;
/// Shorter pauses are nobody's business.
const SILENCE_MIN: i64 = 120_000;
/// So many times the usual pause.
const TIMES_USUAL: i64 = 6;
/// A habit is one that was kept for a while: a few messages at once and nothing after are no service that stopped. At
/// least so long, and for a part of the silence's own length.
const HABIT_MIN: i64 = 180_000;
const HABIT_PART: i64 = 5;

/// Nothing was said from the first time to the second, while before there was something each so many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    pub from: Timestamp,
    /// `None`: it lasts.
    pub to: Option<Timestamp>,
    pub usual: i64,
}

/// The longest silence in a service's times, which are in order, up to `end`.
pub fn silence(times: &[Timestamp], end: Timestamp) -> Option<Silence> {
    let mut found: Option<(i64, Silence)> = None;
    let nexts = times.iter().skip(1).copied().map(Some).chain([None]);
    for (n, (from, to)) in times.iter().zip(nexts).enumerate() {
        let length = to.unwrap_or(end).since(*from);
        if n + 1 < BEFORE_MIN || length < SILENCE_MIN {
            continue;
        }
        let before = times.get(..=n).unwrap_or_default();
        let usual = usual(before);
        let habit = times.first().map_or(0, |first| from.since(*first));
        if habit < HABIT_MIN.max(length / HABIT_PART) {
            continue;
        }
        if length >= usual.saturating_mul(TIMES_USUAL) && found.is_none_or(|(longest, _)| length > longest) {
            found = Some((length, Silence { from: *from, to, usual }));
        }
    }
    found.map(|(_, silence)| silence)
}

/// The longest pause that was met, but the longest of many: one long pause in twenty is no measure.
fn usual(times: &[Timestamp]) -> i64 {
    let mut pauses: Vec<i64> =
        times.iter().zip(times.iter().skip(1)).map(|(a, b)| b.since(*a).max(1)).collect();
    pauses.sort_unstable();
    let at = pauses.len().saturating_sub(1) * 9 / 10;
    pauses.get(at).copied().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(seconds: &[i64]) -> Vec<Timestamp> {
        seconds.iter().map(|s| Timestamp::from_seconds(*s)).collect()
    }

    #[test]
    fn silence_is_told_from_rare_mail() {
        let steady: Vec<i64> = (0..20).map(|n| n * 10).chain((0..5).map(|n| 1000 + n * 10)).collect();
        let found = silence(&times(&steady), Timestamp::from_seconds(1100)).unwrap();
        assert_eq!(found.from, Timestamp::from_seconds(190));
        assert_eq!(found.to, Some(Timestamp::from_seconds(1000)));
        let lasting = silence(&times(&[0, 60, 120, 180, 240]), Timestamp::from_seconds(900)).unwrap();
        assert_eq!((lasting.from, lasting.to), (Timestamp::from_seconds(240), None));
        // Five at once are no habit, and four minutes say nothing of half a day.
        assert_eq!(silence(&times(&[0, 10, 20, 30, 40]), Timestamp::from_seconds(900)), None);
        assert_eq!(silence(&times(&[0, 60, 120, 180, 240]), Timestamp::from_seconds(43_200)), None);
        // Once in a quarter of an hour is usual here.
        assert_eq!(silence(&times(&[0, 900, 1900, 2700, 3800]), Timestamp::from_seconds(4500)), None);
        assert_eq!(silence(&times(&[0, 10]), Timestamp::from_seconds(4500)), None);
    }
}
