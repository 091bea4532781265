//! The log of health: events and alerts, a JSON object a line, in `logs/health`, in files as the other logs have them.
//!
//! Each line is `{"event": …}` or `{"alert": …}`. What earlier runs have written is read at the start, so that events and
//! alerts of before a restart can be shown.

use crate::logs::csv::{CsvLog, Kept, Layout};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use waypost_admin::settings::Settings;
use waypost_base::Clock;
use waypost_health::{Alert, Event, Watch};
use waypost_tracking::files;

pub const FOLDER: &str = "logs/health";
pub const PREFIX: &str = "HEALTH";
/// Bytes of all its files: weeks of bad days.
const BYTES_MAX: u64 = 64 << 20;
const FILE_BYTES_MAX: u64 = 8 << 20;
/// Events of earlier runs that are read at the start, and bytes that are looked through for them.
const EARLIER_MAX: usize = 2_000;
const EARLIER_BYTES_MAX: u64 = 8 << 20;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Event(Box<Event>),
    Alert(Box<Alert>),
}

pub struct HealthLog {
    log: CsvLog,
    folder: PathBuf,
    /// The index of the next event that is not written yet.
    next: AtomicU64,
}

impl HealthLog {
    pub fn start(settings: &Settings, root: &Path, clock: Clock) -> io::Result<HealthLog> {
        let folder = root.join(FOLDER);
        let age = Some(Duration::from_millis(settings.log.leg_log_max_age.0));
        let layout = Layout {
            folder: folder.clone(),
            prefix: PREFIX,
            log_type: "",
            fields: "",
            hourly: false,
            file_bytes_max: FILE_BYTES_MAX,
            kept: Kept { bytes: BYTES_MAX, age },
        };
        Ok(HealthLog { log: CsvLog::start(layout, clock)?, folder, next: AtomicU64::new(0) })
    }

    fn put(&self, line: &Line) {
        // These types have no maps with keys that are not text.
        if let Ok(text) = serde_json::to_string(line) {
            self.log.write(&text);
        }
    }

    pub fn alert(&self, alert: &Alert) {
        self.put(&Line::Alert(Box::new(alert.clone())));
    }

    /// What the monitors noted since the last call.
    pub fn write_events(&self, watch: &Watch) {
        let from = self.next.load(Ordering::Relaxed);
        let fresh = watch.events_since(from);
        if let Some(last) = fresh.last() {
            self.next.store(last.index + 1, Ordering::Relaxed);
        }
        fresh.into_iter().for_each(|event| self.put(&Line::Event(Box::new(event))));
    }

    /// Events below this index are in files already.
    pub fn written_up_to(&self, index: u64) {
        self.next.store(index, Ordering::Relaxed);
    }

    fn lines(&self) -> Vec<Line> {
        let mut found = Vec::new();
        let mut left = EARLIER_BYTES_MAX;
        let files = files::list(&self.folder, PREFIX).unwrap_or_default();
        for file in files.iter().rev() {
            if file.bytes > left {
                break;
            }
            left -= file.bytes;
            let Ok(open) = fs::File::open(&file.path) else { continue };
            let lines = io::BufReader::new(open).lines().map_while(Result::ok);
            let mut these: Vec<Line> = lines.filter_map(|line| serde_json::from_str(&line).ok()).collect();
            these.append(&mut found);
            found = these;
        }
        found
    }

    /// Events of earlier runs, oldest first.
    pub fn earlier(&self) -> Vec<Event> {
        let events = self.lines().into_iter().filter_map(|line| match line {
            Line::Event(event) => Some(*event),
            Line::Alert(_) => None,
        });
        let mut events: Vec<Event> = events.collect();
        let skipped = events.len().saturating_sub(EARLIER_MAX);
        events.split_off(skipped)
    }

    /// The last that was written of each alert that is open.
    pub fn open_alerts(&self) -> Vec<Alert> {
        let mut last: std::collections::BTreeMap<String, Alert> = Default::default();
        for line in self.lines() {
            if let Line::Alert(alert) = line {
                last.insert(alert.id.clone(), *alert);
            }
        }
        last.into_values().filter(Alert::is_open).collect()
    }
}
