//! Protocol logs of the rooms, each joined to its file.

use super::csv::{CsvLog, Layout, join};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use waypost_access::log as access_log;
use waypost_base::Clock;
use waypost_transport as transport;

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

    pub fn imap(layout: Layout, clock: Clock) -> io::Result<Switched> {
        Switched::start(layout, access_log::Record::IMAP4_LOG_TYPE, access_log::Record::FIELDS, clock)
    }

    pub fn pop3(layout: Layout, clock: Clock) -> io::Result<Switched> {
        Switched::start(layout, access_log::Record::POP3_LOG_TYPE, access_log::Record::FIELDS, clock)
    }

    pub fn switch(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }
}

impl transport::ProtocolLog for Switched {
    fn record(&self, record: &transport::Record<'_>) {
        if self.is_on() {
            self.log.write(join(record.fields().iter().map(String::as_str)));
        }
    }
}

impl access_log::ProtocolLog for Switched {
    fn enabled(&self) -> bool {
        self.is_on()
    }

    fn record(&self, record: &access_log::Record<'_>) {
        self.log.write(join(record.fields().iter().map(String::as_str)));
    }
}
