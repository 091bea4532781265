//! Protocol logs of the rooms, each joined to its file.

use super::csv::{CsvLog, Layout, join};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use waypost_access::log as access_log;
use waypost_base::Clock;
use waypost_transport as transport;

/// Bytes of one file, as Exchange's default for SMTP logs; and of all files of one log.
const FILE_BYTES: u64 = 10 << 20;
const FOLDER_BYTES: u64 = 250 << 20;

/// A log that can be switched while sessions run.
pub struct Switched {
    log: CsvLog,
    on: AtomicBool,
}

impl Switched {
    fn start(folder: PathBuf, prefix: &'static str, kind: (&'static str, &'static str), clock: Clock) -> io::Result<Switched> {
        let layout = Layout {
            folder,
            prefix,
            log_type: kind.0,
            fields: kind.1,
            hourly: true,
            file_bytes_max: FILE_BYTES,
            folder_bytes_max: FOLDER_BYTES,
        };
        Ok(Switched { log: CsvLog::start(layout, clock)?, on: AtomicBool::new(true) })
    }

    pub fn smtp(folder: PathBuf, clock: Clock) -> io::Result<Switched> {
        Switched::start(folder, "RECV", (transport::Record::LOG_TYPE, transport::Record::FIELDS), clock)
    }

    pub fn imap(folder: PathBuf, clock: Clock) -> io::Result<Switched> {
        let kind = (access_log::Record::IMAP4_LOG_TYPE, access_log::Record::FIELDS);
        Switched::start(folder, "IMAP4", kind, clock)
    }

    pub fn pop3(folder: PathBuf, clock: Clock) -> io::Result<Switched> {
        let kind = (access_log::Record::POP3_LOG_TYPE, access_log::Record::FIELDS);
        Switched::start(folder, "POP3", kind, clock)
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
