//! The names that clients ask for (SNI), counted per service: what a certificate has to hold.
//!
//! Bounded, and kept as a file beside the certificates, so that commands see it while the server is stopped.

use super::PublicService;
use super::check::Wanted;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use waypost_base::Timestamp;

/// Names kept per service. Scanners ask for arbitrary ones; those that were asked for the longest ago go first.
const NAMES_MAX: usize = 500;
/// A name that nobody asked for in so long is not used any more.
const USED_MILLIS: i64 = 30 * 24 * 60 * 60 * 1000;
/// Once may be a scanner's guess.
const USED_TIMES: u64 = 2;

/// How often a name was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    pub times: u64,
    pub last: Timestamp,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen(BTreeMap<String, BTreeMap<String, Tally>>);

impl Seen {
    pub fn file(data: &Path) -> PathBuf {
        data.join("public/names.json")
    }

    /// What was kept; nothing where that cannot be read: it is only a tally.
    pub fn load(data: &Path) -> Seen {
        let text = std::fs::read(Seen::file(data)).ok();
        text.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    pub fn save(&self, data: &Path) -> Result<(), crate::files::FileError> {
        let path = Seen::file(data);
        let text = serde_json::to_string(self).unwrap_or_default();
        crate::files::write_public(&path, &text)
    }

    /// Counts a name that a client asked for. TLS libraries have looked at its form.
    pub fn note(&mut self, service: PublicService, name: &str, now: Timestamp) {
        let names = self.0.entry(service.name().to_owned()).or_default();
        let name = name.to_ascii_lowercase();
        if !names.contains_key(&name) && names.len() >= NAMES_MAX {
            let oldest = names.iter().min_by_key(|(_, tally)| tally.last).map(|(name, _)| name.clone());
            names.retain(|name, _| Some(name) != oldest.as_ref());
        }
        let tally = names.entry(name).or_default();
        tally.times = tally.times.saturating_add(1);
        tally.last = now;
    }

    /// The names that clients of a service use.
    pub fn used(&self, service: PublicService, now: Timestamp) -> Vec<Wanted> {
        let names = self.0.get(service.name()).into_iter().flatten();
        let used = names.filter(|(_, t)| t.times >= USED_TIMES && now.since(t.last) < USED_MILLIS);
        used.map(|(name, t)| Wanted {
            name: name.clone(),
            source: format!("asked for by clients {} times, last {}", t.times, t.last),
            must: false,
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_and_bounded() {
        let now = Timestamp(1_772_525_720_000);
        let mut seen = Seen::default();
        seen.note(PublicService::Imap, "Mail.Contoso.test", now);
        assert_eq!(seen.used(PublicService::Imap, now), []);
        seen.note(PublicService::Imap, "mail.contoso.test", now.plus_millis(1));
        let used = seen.used(PublicService::Imap, now);
        assert_eq!(used[0].name, "mail.contoso.test");
        assert!(used[0].source.starts_with("asked for by clients 2 times, last 2026-03-03"));
        assert_eq!(seen.used(PublicService::Pop, now), []);
        assert_eq!(seen.used(PublicService::Imap, now.plus_millis(USED_MILLIS + 1)), []);
        for n in 0..NAMES_MAX + 10 {
            seen.note(PublicService::Imap, &format!("{n}.test"), now.plus_millis(n as i64 + 2));
        }
        assert_eq!(seen.0["imap"].len(), NAMES_MAX);
        assert_eq!(seen.used(PublicService::Imap, now), []);
        let text = serde_json::to_string(&seen).unwrap();
        assert_eq!(serde_json::from_str::<Seen>(&text).unwrap(), seen);
    }
}
