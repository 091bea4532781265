//! Back pressure: from readings of what is used up, to whose mail is still taken. Pure: the server measures every few
//! seconds and hands the readings in; sessions ask what to answer.
//!
//! Each resource has a level with hysteresis: it rises at one mark and falls at a lower one, so that it does not flutter. The
//! marks are Exchange's, except for the length of the queues: a million waiting messages are no trouble here.
//!
//! | level | mail from outside | submission by our own people | from our servers |
//! | --- | --- | --- | --- |
//! | Normal | taken | taken | taken |
//! | Medium | 452 4.3.1 | taken slowly | taken |
//! | High | 452 4.3.1 | 452 4.3.1 | 452 4.3.1 |
//!
//! SystemMemory alone refuses nothing: other programs may be what uses it.

use std::fmt;
use waypost_smtp::{Reply, Status};

/// What can be used up, named as Exchange's ResourceThrottling names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Per cent of the file system that has the store.
    UsedDiskSpace,
    /// Per cent of the memory that this process may use (the machine's, or its control group's).
    PrivateBytes,
    /// Per cent of the machine's memory.
    SystemMemory,
    /// Messages that are being taken in and have no place in a delivery queue yet.
    SubmissionQueue,
    /// Hops in all delivery queues.
    DeliveryQueues,
}

impl Resource {
    pub const ALL: [Resource; 5] = [
        Resource::UsedDiskSpace,
        Resource::PrivateBytes,
        Resource::SystemMemory,
        Resource::SubmissionQueue,
        Resource::DeliveryQueues,
    ];

    /// Whether mail is refused for its sake.
    pub const fn refuses(self) -> bool {
        !matches!(self, Resource::SystemMemory)
    }

    const fn index(self) -> usize {
        match self {
            Resource::UsedDiskSpace => 0,
            Resource::PrivateBytes => 1,
            Resource::SystemMemory => 2,
            Resource::SubmissionQueue => 3,
            Resource::DeliveryQueues => 4,
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Resource::UsedDiskSpace => "UsedDiskSpace[store]",
            Resource::PrivateBytes => "PrivateBytes",
            Resource::SystemMemory => "SystemMemory",
            Resource::SubmissionQueue => "QueueLength[SubmissionQueue]",
            Resource::DeliveryQueues => "QueueLength[DeliveryQueues]",
        })
    }
}

/// How much of a resource is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    #[default]
    Normal,
    Medium,
    High,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Normal => "Normal",
            Level::Medium => "Medium",
            Level::High => "High",
        })
    }
}

/// Where a level changes; in the resource's own unit. `medium_to_normal <= normal_to_medium`, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Above it the level is at least Medium.
    pub normal_to_medium: u64,
    /// Above it the level is High.
    pub medium_to_high: u64,
    /// Below it High falls to Medium.
    pub high_to_medium: u64,
    /// Below it Medium falls to Normal.
    pub medium_to_normal: u64,
}

impl Marks {
    /// Exchange's, for those that it has.
    pub const fn of(resource: Resource) -> Marks {
        let (normal_to_medium, medium_to_high, high_to_medium, medium_to_normal) = match resource {
            Resource::UsedDiskSpace => (89, 99, 90, 80),
            Resource::PrivateBytes => (72, 75, 73, 71),
            Resource::SystemMemory => (88, 94, 89, 84),
            Resource::SubmissionQueue => (9_999, 15_000, 10_000, 2_000),
            Resource::DeliveryQueues => (3_000_000, 5_000_000, 4_000_000, 2_500_000),
        };
        Marks { normal_to_medium, medium_to_high, high_to_medium, medium_to_normal }
    }

    /// The level after a reading, from the level before it.
    pub const fn step(&self, level: Level, value: u64) -> Level {
        if value > self.medium_to_high {
            return Level::High;
        }
        match level {
            Level::High if value >= self.high_to_medium => Level::High,
            Level::Medium | Level::High if value >= self.medium_to_normal => Level::Medium,
            _ if value > self.normal_to_medium => Level::Medium,
            _ => Level::Normal,
        }
    }
}

/// A resource's state, as Get-ExchangeDiagnosticInfo shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meter {
    pub resource: Resource,
    pub marks: Marks,
    pub current: u64,
    pub previous: u64,
    pub level: Level,
    /// Changes of level since the start.
    pub transitions: u64,
}

/// A change of level, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    pub resource: Resource,
    pub from: Level,
    pub to: Level,
    pub value: u64,
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} went from {} to {} at {}", self.resource, self.from, self.to, self.value)
    }
}

/// Who brings a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// Anybody.
    Outside,
    /// Somebody who has signed in, or an application of ours.
    Submission,
    /// A server of ours.
    Server,
}

/// What a session is to do with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Take,
    /// Take it, after so many milliseconds.
    Slow {
        millis: u64,
        resource: Resource,
    },
    /// Refuse it with this reply, which names the resource.
    Refuse {
        reply: Reply,
        resource: Resource,
    },
}

/// Milliseconds of the first slow answer, how it grows with each reading, and the longest.
const SLOW: (u64, u64, u64) = (10_000, 5_000, 55_000);

/// All resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pressure {
    meters: [Meter; 5],
    /// Readings since the level was Normal.
    slow: u64,
}

impl Default for Pressure {
    fn default() -> Pressure {
        let meter = |resource| Meter {
            resource,
            marks: Marks::of(resource),
            current: 0,
            previous: 0,
            level: Level::Normal,
            transitions: 0,
        };
        Pressure { meters: Resource::ALL.map(meter), slow: 0 }
    }
}

impl Pressure {
    /// Sets other marks for a resource.
    pub fn set_marks(&mut self, resource: Resource, marks: Marks) {
        self.meters[resource.index()].marks = marks;
    }

    /// Enters what was measured at one time; gives the changes of level.
    pub fn update(&mut self, readings: &[(Resource, u64)]) -> Vec<Transition> {
        let mut transitions = Vec::new();
        for (resource, value) in readings {
            let meter = &mut self.meters[resource.index()];
            (meter.previous, meter.current) = (meter.current, *value);
            let to = meter.marks.step(meter.level, *value);
            if to != meter.level {
                transitions.push(Transition { resource: *resource, from: meter.level, to, value: *value });
                meter.level = to;
                meter.transitions += 1;
            }
        }
        self.slow = if self.level() == Level::Normal { 0 } else { self.slow.saturating_add(1) };
        transitions
    }

    pub fn meters(&self) -> &[Meter] {
        &self.meters
    }

    /// The highest level of those that refuse mail.
    pub fn level(&self) -> Level {
        self.worst().map_or(Level::Normal, |meter| meter.level)
    }

    fn worst(&self) -> Option<&Meter> {
        let tight = self.meters.iter().filter(|m| m.resource.refuses() && m.level > Level::Normal);
        // The first of the highest.
        tight.fold(None, |worst: Option<&Meter>, m| match worst {
            Some(known) if known.level >= m.level => Some(known),
            _ => Some(m),
        })
    }

    /// What to do with a message of this origin now.
    pub fn answer(&self, origin: Origin) -> Answer {
        let Some(meter) = self.worst() else { return Answer::Take };
        let resource = meter.resource;
        match (meter.level, origin) {
            (Level::High, _) | (Level::Medium, Origin::Outside) => {
                let text = format!("Insufficient system resources ({resource}); try again later");
                Answer::Refuse { reply: Reply::with(452, Status(4, 3, 1), text), resource }
            }
            (Level::Medium, Origin::Submission) => {
                let (first, step, most) = SLOW;
                let millis = first.saturating_add(self.slow.saturating_sub(1).saturating_mul(step)).min(most);
                Answer::Slow { millis, resource }
            }
            _ => Answer::Take,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_disk_fills_and_is_emptied() {
        let mut pressure = Pressure::default();
        let levels: Vec<Level> = [50, 89, 90, 85, 99, 100, 95, 90, 89, 80, 79]
            .into_iter()
            .map(|used| {
                pressure.update(&[(Resource::UsedDiskSpace, used)]);
                pressure.level()
            })
            .collect();
        use Level::*;
        assert_eq!(
            levels,
            [Normal, Normal, Medium, Medium, Medium, High, High, High, Medium, Medium, Normal]
        );
        assert_eq!(pressure.meters()[0].transitions, 4);
    }

    #[test]
    fn the_reply_names_the_resource_and_our_own_people_are_slowed() {
        let mut pressure = Pressure::default();
        assert_eq!(pressure.answer(Origin::Outside), Answer::Take);
        let changes = pressure.update(&[(Resource::PrivateBytes, 73), (Resource::SystemMemory, 99)]);
        assert_eq!(changes[0].to_string(), "PrivateBytes went from Normal to Medium at 73");
        let Answer::Refuse { reply, .. } = pressure.answer(Origin::Outside) else { panic!("taken") };
        assert_eq!(
            reply.to_bytes(),
            b"452 4.3.1 Insufficient system resources (PrivateBytes); try again later\r\n"
        );
        let slow = |pressure: &Pressure| pressure.answer(Origin::Submission);
        let resource = Resource::PrivateBytes;
        assert_eq!(slow(&pressure), Answer::Slow { millis: 10_000, resource });
        pressure.update(&[]);
        assert_eq!(slow(&pressure), Answer::Slow { millis: 15_000, resource });
        (0..100).for_each(|_| drop(pressure.update(&[])));
        assert_eq!(slow(&pressure), Answer::Slow { millis: 55_000, resource });
        assert_eq!(pressure.answer(Origin::Server), Answer::Take);
        pressure.update(&[(Resource::PrivateBytes, 76)]);
        assert!(matches!(pressure.answer(Origin::Server), Answer::Refuse { .. }));
    }

    proptest! {
        #[test]
        fn levels_rise_at_their_marks_and_fall_only_below_the_lower_ones(
            values in proptest::collection::vec(0u64..110, 1..50),
            which in 0usize..3,
        ) {
            let resource = Resource::ALL[which];
            let marks = Marks::of(resource);
            let mut level = Level::Normal;
            for value in values {
                let next = marks.step(level, value);
                if value > marks.medium_to_high { prop_assert_eq!(next, Level::High); }
                if value < marks.medium_to_normal { prop_assert_eq!(next, Level::Normal); }
                if next < level {
                    let below = if level == Level::High { marks.high_to_medium } else { marks.medium_to_normal };
                    prop_assert!(value < below);
                }
                if next > level { prop_assert!(value > marks.normal_to_medium); }
                // The same reading again changes nothing.
                prop_assert_eq!(marks.step(next, value), next);
                level = next;
            }
        }
    }
}
