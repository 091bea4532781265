//! All logs of the roles in one place: where each is by the settings, which are on, and how long each is kept.

use super::csv::{Kept, Layout, Where};
use super::sinks::{Legs, Switched, Tracking};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use waypost_admin::settings::{self as written, Settings, Span};
use waypost_base::Clock;

/// Each can be switched while sessions run.
#[derive(Clone)]
pub struct Logs {
    /// The data folder, where places that the settings name begin.
    root: PathBuf,
    pub smtp: Arc<Switched>,
    pub smtp_send: Arc<Switched>,
    pub connectivity: Arc<Switched>,
    pub imap: Arc<Switched>,
    pub pop3: Arc<Switched>,
    pub tracking: Arc<Tracking>,
    pub legs: Arc<Legs>,
}

impl Logs {
    /// Opens the logs of the data folder `root`. Weekly and monthly files are daily ones: smaller pieces of the same log.
    pub fn start(settings: &Settings, root: &Path, clock: &Clock) -> io::Result<Logs> {
        let (places, kept) = (Places::of(settings, root), Keeping::of(settings));
        let layout = |place: &Where, prefix, kept| Layout {
            folder: place.folder.clone(),
            prefix,
            log_type: "",
            fields: "",
            hourly: place.hourly,
            file_bytes_max: place.file_bytes_max,
            kept,
        };
        let logs = Logs {
            root: root.to_owned(),
            smtp: Arc::new(Switched::smtp(layout(&places.smtp, "RECV", kept.smtp), clock.clone())?),
            smtp_send: Arc::new(Switched::smtp_send(
                layout(&places.smtp_send, "SEND", kept.smtp),
                clock.clone(),
            )?),
            connectivity: Arc::new(Switched::connectivity(
                layout(&places.connectivity, "CONNECTLOG", kept.smtp),
                clock.clone(),
            )?),
            imap: Arc::new(Switched::imap(layout(&places.imap, "IMAP4", kept.clients), clock.clone())?),
            pop3: Arc::new(Switched::pop3(layout(&places.pop3, "POP3", kept.clients), clock.clone())?),
            tracking: Arc::new(Tracking::start(layout(&places.tracking, "", kept.tracking), clock.clone())?),
            legs: Arc::new(Legs::start(layout(&places.legs, "", kept.legs), clock.clone())?),
        };
        logs.apply(settings);
        Ok(logs)
    }

    /// What can be changed while they are written: where they are, which are on and how much is kept.
    pub fn apply(&self, settings: &Settings) {
        let (places, kept) = (Places::of(settings, &self.root), Keeping::of(settings));
        let l = &settings.log;
        // One connector is enough; each session asks its own.
        let verbose = |level| level == written::ProtocolLogging::Verbose;
        let receives = settings.receive_connectors.values().any(|c| verbose(c.protocol_logging_level));
        let sends = settings.send_connectors.values().any(|c| verbose(c.protocol_logging_level));
        for (log, place, on, kept) in [
            (&self.smtp, places.smtp, settings.smtp.protocol_log_enabled || receives, kept.smtp),
            (&self.smtp_send, places.smtp_send, l.send_protocol_log_enabled || sends, kept.smtp),
            (&self.connectivity, places.connectivity, l.connectivity_log_enabled, kept.smtp),
            (&self.imap, places.imap, settings.imap.protocol_log_enabled, kept.clients),
            (&self.pop3, places.pop3, settings.pop.protocol_log_enabled, kept.clients),
        ] {
            log.switch(on);
            log.keep(kept);
            log.move_to(place);
        }
        let subjects = l.message_tracking_log_subject_logging_enabled;
        self.tracking.set(l.message_tracking_log_enabled, subjects, kept.tracking);
        self.tracking.move_to(places.tracking);
        self.legs.set(l.leg_log_enabled, kept.legs);
        self.legs.move_to(places.legs);
    }

    /// Waits until everything that was written so far would outlive this process. For the end of a clean stop.
    pub fn flush(&self) {
        self.tracking.flush();
        self.legs.flush();
        for log in [&self.connectivity, &self.smtp, &self.smtp_send, &self.imap, &self.pop3] {
            log.flush();
        }
    }
}

/// Where each log is by the settings.
struct Places {
    smtp: Where,
    smtp_send: Where,
    connectivity: Where,
    imap: Where,
    pop3: Where,
    tracking: Where,
    legs: Where,
}

impl Places {
    fn of(settings: &Settings, root: &Path) -> Places {
        let place = |folder: &Path, hourly: bool, file_bytes_max: u64| Where {
            folder: root.join(folder),
            hourly,
            file_bytes_max,
        };
        let by_hour = |roll: written::RollOver| roll == written::RollOver::Hourly;
        let (s, i, p, l) = (&settings.smtp, &settings.imap, &settings.pop, &settings.log);
        let (smtp_hourly, smtp_size) = (by_hour(s.log_file_roll_over_settings), s.log_per_file_size_quota.0);
        let file_max = l.message_tracking_log_max_file_size.0;
        Places {
            smtp: place(&s.log_file_location, smtp_hourly, smtp_size),
            smtp_send: place(&l.send_protocol_log_path, smtp_hourly, smtp_size),
            connectivity: place(&l.connectivity_log_path, false, smtp_size),
            imap: place(
                &i.log_file_location,
                by_hour(i.log_file_roll_over_settings),
                i.log_per_file_size_quota.0,
            ),
            pop3: place(
                &p.log_file_location,
                by_hour(p.log_file_roll_over_settings),
                p.log_per_file_size_quota.0,
            ),
            tracking: place(&l.message_tracking_log_path, true, file_max),
            legs: place(&l.leg_log_path, true, file_max),
        }
    }
}

struct Keeping {
    smtp: Kept,
    clients: Kept,
    tracking: Kept,
    legs: Kept,
}

impl Keeping {
    fn of(settings: &Settings) -> Keeping {
        let l = &settings.log;
        let age = |span: Span| Some(Duration::from_millis(span.0));
        Keeping {
            smtp: Kept { bytes: l.directory_size_max.0, age: age(l.protocol_log_max_age) },
            clients: Kept { bytes: l.directory_size_max.0, age: None },
            tracking: Kept {
                bytes: l.message_tracking_log_max_directory_size.0,
                age: age(l.message_tracking_log_max_age),
            },
            legs: Kept { bytes: l.leg_log_max_directory_size.0, age: age(l.leg_log_max_age) },
        }
    }
}
