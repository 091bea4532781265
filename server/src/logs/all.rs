//! All logs of the roles in one place: where each is by the settings, which are on, and how long each is kept.

use super::csv::{Kept, Layout};
use super::sinks::{Legs, Switched, Tracking};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use waypost_admin::settings::{self as written, Settings, Span};
use waypost_base::Clock;

/// Each can be switched while sessions run.
#[derive(Clone)]
pub struct Logs {
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
        let layout = |folder: &Path, prefix, hourly, size: u64, kept| Layout {
            folder: root.join(folder),
            prefix,
            log_type: "",
            fields: "",
            hourly,
            file_bytes_max: size,
            kept,
        };
        let by_hour = |roll: written::RollOver| roll == written::RollOver::Hourly;
        let (s, i, p, l) = (&settings.smtp, &settings.imap, &settings.pop, &settings.log);
        let kept = Keeping::of(settings);
        let smtp_hourly = by_hour(s.log_file_roll_over_settings);
        let smtp_size = s.log_per_file_size_quota.0;
        let smtp = layout(&s.log_file_location, "RECV", smtp_hourly, smtp_size, kept.smtp);
        let send = layout(&l.send_protocol_log_path, "SEND", smtp_hourly, smtp_size, kept.smtp);
        let connectivity = layout(&l.connectivity_log_path, "CONNECTLOG", false, smtp_size, kept.smtp);
        let (imap_hourly, pop_hourly) =
            (by_hour(i.log_file_roll_over_settings), by_hour(p.log_file_roll_over_settings));
        let imap =
            layout(&i.log_file_location, "IMAP4", imap_hourly, i.log_per_file_size_quota.0, kept.clients);
        let pop3 =
            layout(&p.log_file_location, "POP3", pop_hourly, p.log_per_file_size_quota.0, kept.clients);
        let file_max = l.message_tracking_log_max_file_size.0;
        let tracking = layout(&l.message_tracking_log_path, "", true, file_max, kept.tracking);
        let legs = layout(&l.leg_log_path, "", true, file_max, kept.legs);
        let logs = Logs {
            smtp: Arc::new(Switched::smtp(smtp, clock.clone())?),
            smtp_send: Arc::new(Switched::smtp_send(send, clock.clone())?),
            connectivity: Arc::new(Switched::connectivity(connectivity, clock.clone())?),
            imap: Arc::new(Switched::imap(imap, clock.clone())?),
            pop3: Arc::new(Switched::pop3(pop3, clock.clone())?),
            tracking: Arc::new(Tracking::start(tracking, clock.clone())?),
            legs: Arc::new(Legs::start(legs, clock.clone())?),
        };
        logs.apply(settings);
        Ok(logs)
    }

    /// What can be changed while they are written: which are on and how much is kept.
    pub fn apply(&self, settings: &Settings) {
        let kept = Keeping::of(settings);
        let l = &settings.log;
        // One connector is enough; each session asks its own.
        let verbose = |level| level == written::ProtocolLogging::Verbose;
        let receives = settings.receive_connectors.values().any(|c| verbose(c.protocol_logging_level));
        let sends = settings.send_connectors.values().any(|c| verbose(c.protocol_logging_level));
        for (log, on, kept) in [
            (&self.smtp, settings.smtp.protocol_log_enabled || receives, kept.smtp),
            (&self.smtp_send, l.send_protocol_log_enabled || sends, kept.smtp),
            (&self.connectivity, l.connectivity_log_enabled, kept.smtp),
            (&self.imap, settings.imap.protocol_log_enabled, kept.clients),
            (&self.pop3, settings.pop.protocol_log_enabled, kept.clients),
        ] {
            log.switch(on);
            log.keep(kept);
        }
        let subjects = l.message_tracking_log_subject_logging_enabled;
        self.tracking.set(l.message_tracking_log_enabled, subjects, kept.tracking);
        self.legs.set(l.leg_log_enabled, kept.legs);
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
