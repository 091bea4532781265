//! Where this room's observations go: legs, and the lines of protocol logs.

use std::net::SocketAddr;
use waypost_base::Timestamp;
use waypost_base::explain::Leg;
use waypost_base::id::Correlation;

/// Takes the hops of messages.
pub trait LegSink: Send + Sync {
    /// A hop has ended. `message_id` is the Message-ID without angle brackets, empty where there is none (yet).
    fn leg(&self, message_id: &str, leg: Leg);
}

/// Takes the lines of SMTP conversations, without credentials.
pub trait ProtocolLog: Send + Sync {
    fn record(&self, record: &Record<'_>);
}

/// What kind of line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Connect,
    Disconnect,
    Sent,
    Received,
    Information,
}

impl Event {
    /// As the log shows it.
    pub const fn sign(self) -> &'static str {
        match self {
            Event::Connect => "+",
            Event::Disconnect => "-",
            Event::Sent => ">",
            Event::Received => "<",
            Event::Information => "*",
        }
    }
}

/// A line of the SMTP protocol log in Exchange's layout.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    pub time: Timestamp,
    /// `server\listener`
    pub connector: &'a str,
    pub session: Correlation,
    pub sequence: u32,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub event: Event,
    pub data: &'a str,
    pub context: &'a str,
}

impl Record<'_> {
    pub const LOG_TYPE: &'static str = "SMTP Receive Protocol Log";
    pub const FIELDS: &'static str =
        "date-time,connector-id,session-id,sequence-number,local-endpoint,remote-endpoint,event,data,context";

    /// The fields in the order of [`Record::FIELDS`].
    pub fn fields(&self) -> [String; 9] {
        [
            self.time.to_string(),
            self.connector.to_owned(),
            self.session.to_string(),
            self.sequence.to_string(),
            self.local.to_string(),
            self.remote.to_string(),
            self.event.sign().to_owned(),
            self.data.to_owned(),
            self.context.to_owned(),
        ]
    }
}
