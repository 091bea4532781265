//! What this room counts.

use waypost_base::metrics::{Counter, Figure, Gauge, Kind};

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) sessions: Counter,
    pub(crate) sessions_open: Gauge,
    pub(crate) accepted: Counter,
    pub(crate) refused: Counter,
    pub(crate) deferred: Counter,
    pub(crate) bytes: Counter,
    pub(crate) recipients_refused: Counter,
    pub(crate) sign_ins: Counter,
    pub(crate) sign_in_wrong: Counter,
    pub(crate) sign_in_not_allowed: Counter,
    pub(crate) sign_in_unavailable: Counter,
    pub(crate) delivered: Counter,
    pub(crate) delivery_deferred: Counter,
    pub(crate) delivery_failed: Counter,
    pub(crate) connections: Counter,
    pub(crate) connections_open: Gauge,
    pub(crate) connections_failed: Counter,
    pub(crate) sent: Counter,
    pub(crate) send_deferred: Counter,
    pub(crate) send_failed: Counter,
    pub(crate) in_doubt: Counter,
    pub(crate) sent_in_clear: Counter,
}

impl Metrics {
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let counter =
            |name, help, c: &Counter| Figure { name, help, kind: Kind::Counter, value: c.value() as f64 };
        let gauge = |name, help, g: &Gauge| Figure { name, help, kind: Kind::Gauge, value: g.value() as f64 };
        vec![
            counter("smtp_sessions_total", "SMTP, submission and LMTP sessions begun", &self.sessions),
            gauge("smtp_sessions_open", "Sessions that are open now", &self.sessions_open),
            counter("smtp_messages_accepted_total", "Messages that got their 250", &self.accepted),
            counter("smtp_messages_refused_total", "Messages refused for good (5yz)", &self.refused),
            counter("smtp_messages_deferred_total", "Messages put off (4yz)", &self.deferred),
            counter("smtp_bytes_received_total", "Octets of accepted messages as received", &self.bytes),
            counter("smtp_recipients_refused_total", "RCPT commands refused", &self.recipients_refused),
            counter("smtp_sign_ins_total", "Successful sign-ins by AUTH", &self.sign_ins),
            counter("smtp_sign_in_wrong_total", "Sign-ins with wrong credentials", &self.sign_in_wrong),
            counter(
                "smtp_sign_in_not_allowed_total",
                "Sign-ins that policy forbids",
                &self.sign_in_not_allowed,
            ),
            counter(
                "smtp_sign_in_unavailable_total",
                "Sign-ins that could not be decided",
                &self.sign_in_unavailable,
            ),
            counter("deliveries_total", "Deliveries into accounts", &self.delivered),
            counter("deliveries_deferred_total", "Deliveries put off", &self.delivery_deferred),
            counter("deliveries_failed_total", "Deliveries that failed for good", &self.delivery_failed),
            counter("smtp_out_connections_total", "Connections opened to other servers", &self.connections),
            gauge(
                "smtp_out_connections_open",
                "Connections to other servers open now",
                &self.connections_open,
            ),
            counter(
                "smtp_out_connections_failed_total",
                "Connections to other servers that did not come to a message",
                &self.connections_failed,
            ),
            counter("smtp_sent_total", "Recipients that other servers have taken", &self.sent),
            counter(
                "smtp_send_deferred_total",
                "Recipients put off by other servers (4yz)",
                &self.send_deferred,
            ),
            counter("smtp_send_failed_total", "Recipients refused by other servers (5yz)", &self.send_failed),
            counter(
                "smtp_in_doubt_total",
                "Messages sent whose answer got lost: they are sent again and may arrive twice",
                &self.in_doubt,
            ),
            counter(
                "smtp_sent_in_clear_total",
                "Connections without TLS after a handshake that failed",
                &self.sent_in_clear,
            ),
        ]
    }
}
