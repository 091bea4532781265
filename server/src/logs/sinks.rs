//! The logs of the rooms, each joined to its file.

use super::csv::{CsvLog, Kept, Layout, Where, join};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use waypost_access::log as access_log;
use waypost_base::Clock;
use waypost_base::explain::Leg;
use waypost_tracking::{Event, TrackSink, layout, legs};
use waypost_transport as transport;
use waypost_transport::send::log::{Connectivity as ConnectivityRecord, ConnectivityLog, SEND_LOG_TYPE};

/// A log that can be switched while sessions run.
pub struct Switched {
    log: CsvLog,
    on: AtomicBool,
}

impl Switched {
    fn start(
        layout: Layout,
        log_type: &'static str,
        fields: &'static str,
        clock: Clock,
    ) -> io::Result<Switched> {
        let layout = Layout { log_type, fields, ..layout };
        Ok(Switched { log: CsvLog::start(layout, clock)?, on: AtomicBool::new(true) })
    }

    pub fn smtp(layout: Layout, clock: Clock) -> io::Result<Switched> {
        Switched::start(layout, transport::Record::LOG_TYPE, transport::Record::FIELDS, clock)
    }

    /// `SENDyyyymmddhh-n.LOG`: the conversations with servers that we send to.
    pub fn smtp_send(layout: Layout, clock: Clock) -> io::Result<Switched> {
        Switched::start(layout, SEND_LOG_TYPE, transport::Record::FIELDS, clock)
    }

    /// `CONNECTLOGyyyymmdd-n.LOG`: what connections out were made, and what came of them.
    pub fn connectivity(layout: Layout, clock: Clock) -> io::Result<Switched> {
        Switched::start(layout, ConnectivityRecord::LOG_TYPE, ConnectivityRecord::FIELDS, clock)
    }

    pub fn imap(layout: Layout, clock: Clock) -> io::Result<Switched> {
        Switched::start(layout, access_log::Record::IMAP4_LOG_TYPE, access_log::Record::FIELDS, clock)
    }

    pub fn pop3(layout: Layout, clock: Clock) -> io::Result<Switched> {
        Switched::start(layout, access_log::Record::POP3_LOG_TYPE, access_log::Record::FIELDS, clock)
    }

    pub fn switch(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    pub fn keep(&self, kept: Kept) {
        self.log.keep(kept);
    }

    pub fn move_to(&self, place: Where) {
        self.log.move_to(place);
    }

    /// Waits until all lines so far are with the system.
    pub fn flush(&self) {
        self.log.flush();
    }

    fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    fn fields<const N: usize>(&self, fields: &[String; N]) {
        self.log.write(&join(fields.iter().map(String::as_str)));
    }
}

impl transport::ProtocolLog for Switched {
    fn record(&self, record: &transport::Record<'_>) {
        if self.is_on() {
            self.fields(&record.fields());
        }
    }
}

impl ConnectivityLog for Switched {
    fn record(&self, record: &ConnectivityRecord<'_>) {
        if self.is_on() {
            self.fields(&record.fields());
        }
    }
}

impl access_log::ProtocolLog for Switched {
    fn enabled(&self) -> bool {
        self.is_on()
    }

    fn record(&self, record: &access_log::Record<'_>) {
        self.fields(&record.fields());
    }
}

/// The message tracking log: `MSGTRKyyyymmddhh-n.LOG`.
pub struct Tracking {
    log: CsvLog,
    lines: Mutex<layout::Lines>,
    on: AtomicBool,
}

impl Tracking {
    pub fn start(layout: Layout, clock: Clock) -> io::Result<Tracking> {
        let seed = u64::try_from(clock.now().as_millis()).unwrap_or(0);
        let layout =
            Layout { prefix: layout::PREFIX, log_type: layout::LOG_TYPE, fields: layout::FIELDS, ..layout };
        let lines = Mutex::new(layout::Lines::new(true, seed));
        Ok(Tracking { log: CsvLog::start(layout, clock)?, lines, on: AtomicBool::new(true) })
    }

    /// `subjects` says whether subjects are written.
    pub fn set(&self, on: bool, subjects: bool, kept: Kept) {
        self.on.store(on, Ordering::Relaxed);
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).subjects = subjects;
        self.log.keep(kept);
    }

    pub fn move_to(&self, place: Where) {
        self.log.move_to(place);
    }

    /// Waits until all events so far are with the system.
    pub fn flush(&self) {
        self.log.flush();
    }
}

impl TrackSink for Tracking {
    fn track(&self, event: &Event<'_>) {
        if self.on.load(Ordering::Relaxed) {
            self.log.append(|out| {
                self.lines.lock().unwrap_or_else(PoisonError::into_inner).append(event, out);
            });
        }
    }
}

/// The legs log: `LEGSyyyymmddhh-n.LOG`, a JSON object a line.
pub struct Legs {
    log: CsvLog,
    clock: Clock,
    on: AtomicBool,
}

impl Legs {
    pub fn start(layout: Layout, clock: Clock) -> io::Result<Legs> {
        let layout = Layout { prefix: legs::PREFIX, log_type: "", fields: "", ..layout };
        Ok(Legs { log: CsvLog::start(layout, clock.clone())?, clock, on: AtomicBool::new(true) })
    }

    pub fn set(&self, on: bool, kept: Kept) {
        self.on.store(on, Ordering::Relaxed);
        self.log.keep(kept);
    }

    /// `message_id` is without angle brackets, empty where the leg carried no message.
    pub fn note(&self, message_id: &str, leg: &Leg) {
        if self.on.load(Ordering::Relaxed) {
            let now = self.clock.now();
            self.log.append(|out| legs::append(now, message_id, None, leg, out));
        }
    }

    pub fn move_to(&self, place: Where) {
        self.log.move_to(place);
    }

    /// Waits until all legs so far are with the system.
    pub fn flush(&self) {
        self.log.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use waypost_base::Timestamp;
    use waypost_base::explain::Party;
    use waypost_tracking::{Filter, Message, Recipient};

    #[test]
    fn what_is_tracked_can_be_found() {
        let folder = std::env::temp_dir().join(format!("waypost-track-{}", std::process::id()));
        let layout = Layout {
            folder: folder.clone(),
            prefix: "",
            log_type: "",
            fields: "",
            hourly: true,
            file_bytes_max: 0,
            kept: Kept { bytes: u64::MAX, age: None },
        };
        let clock = Clock::fixed(Timestamp(1_772_525_720_114));
        let tracking = Tracking::start(layout.clone(), clock.clone()).unwrap();
        let legs = Legs::start(layout, clock.clone()).unwrap();
        let message = Message { item: 5, message_id: "m@x", subject: "secret plan", ..Message::default() };
        let to = [Recipient::new("amy@contoso.test", "250 2.1.5 Ok")];
        tracking.track(&Event::deliver(clock.now(), &message, &to));
        tracking.set(true, false, Kept { bytes: u64::MAX, age: None });
        tracking.track(&Event::deliver(clock.now(), &message, &to));
        tracking.set(false, false, Kept { bytes: u64::MAX, age: None });
        tracking.track(&Event::deliver(clock.now(), &message, &to));
        let hub = Party::new("hub", "a");
        legs.note("m@x", &Leg::start("deliver", hub.clone(), hub, clock.now()));
        tracking.flush();
        legs.flush();
        let found = waypost_tracking::search::newest(&folder, &Filter::message("m@x"), 10).unwrap();
        let subjects: Vec<&str> = found.records.iter().map(|r| r.message_subject.as_str()).collect();
        assert_eq!(subjects, ["secret plan", ""]);
        assert_ne!(found.records[0].log_id, found.records[1].log_id);
        let wanted = legs::Wanted { message_ids: vec!["m@x".into()], ..Default::default() };
        assert_eq!(legs::find(&folder, &wanted, 10).unwrap().len(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }
}
