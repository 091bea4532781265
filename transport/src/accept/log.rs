//! The protocol log of one session.

use super::gate::Gate;
use crate::accept::Service;
use crate::sink::{Event, Record};
use std::net::SocketAddr;
use std::sync::Arc;
use waypost_base::id::Correlation;

/// Numbers the lines of a session. Costs nothing where nobody takes them.
pub(crate) struct Log {
    service: Arc<Service>,
    /// `server\\connector`; empty where nothing is logged.
    connector: String,
    session: Correlation,
    local: SocketAddr,
    remote: SocketAddr,
    sequence: u32,
    on: bool,
}

impl Log {
    pub(crate) fn new(
        service: Arc<Service>,
        host: &str,
        gate: &Gate,
        session: Correlation,
        (local, remote): (SocketAddr, SocketAddr),
    ) -> Log {
        let on = gate.log && service.hub.log.is_some();
        let connector = if on { format!("{host}\\{}", gate.name) } else { String::new() };
        Log { service, connector, session, local, remote, sequence: 0, on }
    }

    pub(crate) fn write(&mut self, event: Event, data: &str, context: &str) {
        let Some(log) = self.service.hub.log.as_ref().filter(|_| self.on) else { return };
        log.record(&Record {
            time: self.service.hub.clock.now(),
            connector: &self.connector,
            session: self.session,
            sequence: self.sequence,
            local: self.local,
            remote: self.remote,
            event,
            data,
            context,
        });
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// A command line; what stands behind `secret` is not shown.
    pub(crate) fn received(&mut self, line: &[u8], secret: Option<usize>) {
        let shown = String::from_utf8_lossy(line.get(..secret.unwrap_or(line.len())).unwrap_or_default());
        match secret {
            Some(_) => self.write(Event::Received, &format!("{shown}<hidden>"), ""),
            None => self.write(Event::Received, &shown, ""),
        }
    }

    /// Replies as they go out, one record for each; the lines of a longer one stand in a row, as Exchange has them.
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        if !self.on {
            return;
        }
        let mut reply = String::new();
        for line in bytes.split(|b| *b == b'\n') {
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
            let text = if reply.is_empty() { &line } else { line.get(4..).unwrap_or_default() };
            if !reply.is_empty() {
                reply.push(' ');
            }
            reply.push_str(text);
            if line.as_bytes().get(3) == Some(&b'-') {
                continue;
            }
            if !reply.is_empty() {
                let shown = if reply.starts_with("334 ") { "334 <authentication>" } else { &reply };
                self.write(Event::Sent, shown, "");
            }
            reply.clear();
        }
    }
}
