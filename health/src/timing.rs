//! When things are done, all of it derived from one setting: within one probe interval after a fault there is an alert.
//!
//! A probe runs twice in an interval; a failed one is repeated at once, twice; what failed is told to the keeper, which
//! waits a moment for what else fails. The longest way, half an interval until the next run, three tries that time out and
//! the wait, is shorter than the interval, where that is 20 s or more; shorter ones, for trials, have floors.

use serde::{Deserialize, Serialize};
use waypost_base::Timestamp;

/// A point in time twice over: durations are measured by the first, people are shown the second. Nothing is ever decided by
/// the wall clock, which may be set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Milliseconds of a clock that only goes forward, since any beginning.
    pub mono: u64,
    pub wall: Timestamp,
}

impl Moment {
    pub const fn new(mono: u64, wall: Timestamp) -> Moment {
        Moment { mono, wall }
    }

    /// Milliseconds since an earlier one; never negative.
    pub const fn since(self, earlier: Moment) -> u64 {
        self.mono.saturating_sub(earlier.mono)
    }

    /// The moment so many milliseconds ago.
    pub fn ago(self, millis: u64) -> Moment {
        let back = i64::try_from(millis).unwrap_or(i64::MAX);
        Moment { mono: self.mono.saturating_sub(millis), wall: self.wall.plus_millis(-back) }
    }
}

/// All times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Within this time after a fault begins there is an alert. `health.probe_interval`
    pub interval: u64,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing { interval: 60_000 }
    }
}

impl Timing {
    pub fn new(interval_millis: u64) -> Timing {
        Timing { interval: interval_millis.clamp(500, 86_400_000) }
    }

    /// From one run of a probe to the next.
    pub const fn recurrence(self) -> u64 {
        self.interval / 2
    }

    /// The longest time of one try; one that takes longer has failed.
    pub fn timeout(self) -> u64 {
        (self.interval / 12).clamp(2_000, 10_000)
    }

    /// From a failed try to the next one.
    pub fn gap(self) -> u64 {
        (self.interval / 60).clamp(20, 1_000)
    }

    /// From one gathering of the servers' reports to the next. A server also tells of a change by itself.
    pub fn gather(self) -> u64 {
        (self.interval / 24).max(100)
    }

    /// For how long the keeper waits for what else fails before it alerts.
    pub fn settle(self) -> u64 {
        (self.interval / 12).max(1_000)
    }

    /// For how long everything has to be well before an alert is over.
    pub const fn calm(self) -> u64 {
        self.interval
    }

    /// A monitor without a result for so long is of no use.
    pub const fn stale(self) -> u64 {
        self.interval * 3
    }

    /// A server that does not report for so long is silent.
    pub fn silent(self) -> u64 {
        (self.interval / 6).max(500)
    }

    /// What fails again within this time is the same fault, coming back.
    pub const fn relapse(self) -> u64 {
        self.interval * 10
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_comes_within_the_interval() {
        for seconds in [20, 60, 120, 600, 3600] {
            let t = Timing::new(seconds * 1000);
            let worst = t.recurrence() + 3 * t.timeout() + 2 * t.gap() + t.gather() + t.settle();
            assert!(worst < t.interval, "{seconds} s: {worst}");
        }
    }

    #[test]
    fn a_clock_that_goes_back_is_no_negative_time() {
        let late = Moment::new(5, Timestamp(0));
        assert_eq!(late.since(Moment::new(9, Timestamp(99))), 0);
    }
}
