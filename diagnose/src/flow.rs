//! What went well, as far as it is worth knowing: when mail was handed on, and on which receive connectors TLS came about.
//! It is counted from log lines that are too dull to be facts, and says that a fault of the days before is over.

use crate::fact::server_name;
use std::collections::BTreeMap;
use std::sync::Arc;
use waypost_base::Timestamp;

const HOUR: i64 = 3_600_000;
/// Hours of servers that are kept: a year of a large organisation's logs.
const HOURS_MAX: usize = 100_000;
/// Receive connectors that are kept.
const CONNECTORS_MAX: usize = 1024;

/// Counts by hour and server; times of the last success by connector.
#[derive(Debug, Default)]
pub struct Flow {
    hours: BTreeMap<(Option<Arc<str>>, i64), u64>,
    encrypted: BTreeMap<Box<str>, Timestamp>,
}

impl Flow {
    /// A message was handed on by this server.
    pub fn handed_on(&mut self, server: Option<Arc<str>>, time: Timestamp) {
        let key = (server, time.0.div_euclid(HOUR));
        if self.hours.len() < HOURS_MAX || self.hours.contains_key(&key) {
            *self.hours.entry(key).or_default() += 1;
        }
    }

    /// TLS came about on a receive connector, which is named as in the log: `MBX01\Default Frontend MBX01`.
    pub fn encrypted(&mut self, connector: &str, time: Timestamp) {
        let name = connector.to_ascii_lowercase();
        if let Some(last) = self.encrypted.get_mut(name.as_str()) {
            *last = time.max(*last);
        } else if self.encrypted.len() < CONNECTORS_MAX {
            self.encrypted.insert(name.into(), time);
        }
    }

    pub fn join(&mut self, other: Flow) {
        for (key, count) in other.hours {
            if self.hours.len() < HOURS_MAX || self.hours.contains_key(&key) {
                *self.hours.entry(key).or_default() += count;
            }
        }
        for (connector, time) in other.encrypted {
            self.encrypted(&connector, time);
        }
    }

    /// Gives servers their better names.
    pub fn rename(&mut self, better: impl Fn(&str) -> Option<Arc<str>>) {
        let known = std::mem::take(&mut self.hours);
        for ((server, hour), count) in known {
            let server = server.map(|name| better(&name).unwrap_or(name));
            *self.hours.entry((server, hour)).or_default() += count;
        }
    }

    /// Messages that were handed on in whole hours after this time, by this server; by any where `server` is `None`.
    pub fn since(&self, server: Option<&str>, after: Timestamp) -> u64 {
        let later = |hour: i64| hour.saturating_mul(HOUR) > after.0;
        let by = |name: &Option<Arc<str>>| server.is_none() || name.as_deref() == server;
        self.hours.iter().filter(|((name, hour), _)| later(*hour) && by(name)).map(|(_, count)| count).sum()
    }

    /// When TLS came about last on a server's connector of this name.
    pub fn encrypted_last(&self, server: &str, connector: &str) -> Option<Timestamp> {
        let named = |id: &str| {
            id.split_once('\\').is_some_and(|(host, name)| {
                name.eq_ignore_ascii_case(connector.trim())
                    && server_name(host).is_some_and(|host| host.eq_ignore_ascii_case(server))
            })
        };
        self.encrypted.iter().filter(|(id, _)| named(id)).map(|(_, time)| *time).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_later_counts() {
        let mut flow = Flow::default();
        let time = |hours: i64| Timestamp(hours * HOUR + 60_000);
        flow.handed_on(Some("EX1".into()), time(2));
        flow.handed_on(Some("EX1".into()), time(9));
        flow.handed_on(Some("EX2".into()), time(9));
        assert_eq!((flow.since(Some("EX1"), time(3)), flow.since(None, time(3))), (1, 2));
        flow.encrypted("EX1\\Default Frontend EX1", time(4));
        flow.encrypted("EX1\\Default Frontend EX1", time(3));
        assert_eq!(flow.encrypted_last("EX1", "default frontend ex1"), Some(time(4)));
        assert_eq!(flow.encrypted_last("EX2", "Default Frontend EX1"), None);
    }
}
