//! What the POP3 service counts of itself.

use waypost_base::metrics::{Counter, Figure, Gauge, Kind};

#[derive(Debug, Default)]
pub struct Figures {
    pub sessions: Gauge,
    pub sessions_total: Counter,
    pub commands: Counter,
    pub errors: Counter,
    /// Answers that say that the fault is ours.
    pub unavailable: Counter,
    pub in_use: Counter,
    pub retrieved: Counter,
    pub removed: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    /// Sessions that ended because the client was silent or took nothing.
    pub timeouts: Counter,
}

impl Figures {
    pub fn figures(&self) -> Vec<Figure> {
        let counter =
            |name, help, c: &Counter| Figure { name, help, kind: Kind::Counter, value: c.value() as f64 };
        vec![
            Figure {
                name: "pop3_sessions",
                help: "POP3 sessions open now",
                kind: Kind::Gauge,
                value: self.sessions.value() as f64,
            },
            counter("pop3_sessions_total", "POP3 sessions since the start", &self.sessions_total),
            counter("pop3_commands_total", "POP3 commands", &self.commands),
            counter("pop3_errors_total", "POP3 commands answered -ERR", &self.errors),
            counter("pop3_unavailable_total", "POP3 commands that failed by our fault", &self.unavailable),
            counter("pop3_in_use_total", "POP3 sign-ins refused because the drop was in use", &self.in_use),
            counter("pop3_retrieved_total", "Messages sent by RETR", &self.retrieved),
            counter("pop3_removed_total", "Messages removed at QUIT", &self.removed),
            counter("pop3_bytes_in_total", "Bytes read from POP3 clients", &self.bytes_in),
            counter("pop3_bytes_out_total", "Bytes written to POP3 clients", &self.bytes_out),
            counter("pop3_timeouts_total", "POP3 sessions ended by a timeout", &self.timeouts),
        ]
    }
}
