//! What happened to the health of a server, in order: what Get-HealthEvent shows, as Get-EventLog does elsewhere.

use crate::probe::ProbeId;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use waypost_base::Timestamp;
use waypost_base::explain::Finding;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    Information,
    Warning,
    Error,
}

impl Level {
    pub const ALL: [Level; 3] = [Level::Information, Level::Warning, Level::Error];

    pub const fn name(self) -> &'static str {
        match self {
            Level::Information => "Information",
            Level::Warning => "Warning",
            Level::Error => "Error",
        }
    }

    pub fn parse(text: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(text))
    }
}

/// Kinds of events by number; the numbers stay.
pub mod id {
    pub const PROBE_REPEATED: u32 = 1001;
    pub const MONITOR_CHANGED: u32 = 1002;
    pub const ALERT_RAISED: u32 = 2001;
    pub const ALERT_CHANGED: u32 = 2002;
    pub const ALERT_MENDED: u32 = 2003;
    pub const RESPONDER_ACTED: u32 = 3001;
    pub const RESPONDER_HELD_BACK: u32 = 3002;
    pub const ALERT_SENT: u32 = 3003;
    pub const ALERT_NOT_SENT: u32 = 3004;
    pub const CLOCK_JUMPED: u32 = 4001;
    pub const KEEPER_CHANGED: u32 = 4002;
    pub const SETTINGS_CHANGED: u32 = 4003;
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Counts up on each server from its start.
    pub index: u64,
    pub time: Timestamp,
    pub level: Level,
    /// A health set, `Keeper` or `Responder`.
    pub source: String,
    /// One of [`id`].
    pub id: u32,
    pub server: String,
    pub message: String,
    pub probe: Option<ProbeId>,
    /// The alert's id.
    pub alert: Option<String>,
    pub finding: Option<Finding>,
}

impl Event {
    pub fn new(time: Timestamp, level: Level, source: &str, id: u32, message: impl Into<String>) -> Event {
        Event {
            index: 0,
            time,
            level,
            source: source.to_owned(),
            id,
            server: String::new(),
            message: message.into(),
            probe: None,
            alert: None,
            finding: None,
        }
    }
}

/// What is asked of the events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EventQuery {
    pub after: Option<Timestamp>,
    pub before: Option<Timestamp>,
    pub level: Option<Level>,
    /// A set or another source; case does not matter, `*` at the end stands for any text.
    pub source: Option<String>,
    /// At most so many, the newest.
    pub newest: Option<usize>,
}

impl EventQuery {
    pub fn fits(&self, event: &Event) -> bool {
        let source = |wanted: &String| match wanted.strip_suffix('*') {
            Some(start) => event.source.to_lowercase().starts_with(&start.to_lowercase()),
            None => event.source.eq_ignore_ascii_case(wanted),
        };
        self.after.is_none_or(|at| event.time >= at)
            && self.before.is_none_or(|at| event.time <= at)
            && self.level.is_none_or(|level| event.level == level)
            && self.source.as_ref().is_none_or(source)
    }
}

/// The latest events.
#[derive(Clone, Debug, Default)]
pub struct Events {
    kept: VecDeque<Event>,
    next: u64,
}

impl Events {
    pub fn put(&mut self, server: &str, mut event: Event) {
        event.index = self.next;
        self.next += 1;
        if event.server.is_empty() {
            server.clone_into(&mut event.server);
        }
        if self.kept.len() >= crate::limits::EVENTS_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(event);
    }

    /// Those that fit, newest first.
    pub fn find(&self, query: &EventQuery) -> Vec<Event> {
        let fitting = self.kept.iter().rev().filter(|event| query.fits(event));
        fitting.take(query.newest.unwrap_or(usize::MAX)).cloned().collect()
    }

    /// Those with an index of at least `from`, oldest first.
    pub fn since(&self, from: u64) -> Vec<Event> {
        self.kept.iter().filter(|event| event.index >= from).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for() {
        let mut events = Events::default();
        for (n, level) in [Level::Information, Level::Error, Level::Warning].into_iter().enumerate() {
            let time = Timestamp::from_seconds(n as i64);
            events.put("a", Event::new(time, level, "IMAP.Proxy", id::MONITOR_CHANGED, "m"));
        }
        let find = |query: EventQuery| events.find(&query).iter().map(|e| e.index).collect::<Vec<_>>();
        assert_eq!(find(EventQuery::default()), [2, 1, 0]);
        assert_eq!(find(EventQuery { newest: Some(1), ..EventQuery::default() }), [2]);
        assert_eq!(find(EventQuery { level: Some(Level::Error), ..EventQuery::default() }), [1]);
        assert_eq!(find(EventQuery { after: Some(Timestamp(1000)), ..EventQuery::default() }), [2, 1]);
        assert_eq!(find(EventQuery { source: Some("imap*".into()), ..EventQuery::default() }), [2, 1, 0]);
        assert_eq!(find(EventQuery { source: Some("imap".into()), ..EventQuery::default() }), []);
    }
}
