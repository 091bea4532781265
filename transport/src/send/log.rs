//! The lines of the SMTP send protocol log and of the connectivity log, in Exchange's layout.

use crate::sink::{Event, ProtocolLog, Record};
use std::net::SocketAddr;
use std::sync::Arc;
use waypost_base::Timestamp;
use waypost_base::id::Correlation;

/// What the send protocol log calls itself; its fields are [`Record::FIELDS`].
pub const SEND_LOG_TYPE: &str = "SMTP Send Protocol Log";

/// Takes the lines of the connectivity log: a few for each connection, and none with anybody's words or secrets.
pub trait ConnectivityLog: Send + Sync {
    fn record(&self, record: &Connectivity<'_>);
}

/// Which of a connection's lines it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Begin,
    Note,
    End,
}

impl Direction {
    /// As the log shows it.
    pub const fn sign(self) -> &'static str {
        match self {
            Direction::Begin => "+",
            Direction::Note => ">",
            Direction::End => "-",
        }
    }
}

/// A line of the connectivity log.
#[derive(Clone, Debug)]
pub struct Connectivity<'a> {
    pub time: Timestamp,
    pub session: Correlation,
    /// Such as `SMTP`.
    pub source: &'a str,
    /// The next hop: a domain, a smart host, a mailbox store.
    pub destination: &'a str,
    pub direction: Direction,
    pub description: &'a str,
}

impl Connectivity<'_> {
    pub const LOG_TYPE: &'static str = "Transport Connectivity Log";
    pub const FIELDS: &'static str = "date-time,session,source,Destination,direction,description";

    /// The fields in the order of [`Connectivity::FIELDS`].
    pub fn fields(&self) -> [String; 6] {
        [
            self.time.to_string(),
            self.session.to_string(),
            self.source.to_owned(),
            self.destination.to_owned(),
            self.direction.sign().to_owned(),
            self.description.to_owned(),
        ]
    }
}

/// Numbers the lines of one outgoing session. Costs nothing where nobody takes them.
pub(crate) struct Lines {
    pub(crate) log: Option<Arc<dyn ProtocolLog>>,
    pub(crate) connector: String,
    pub(crate) session: Correlation,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) sequence: u32,
}

impl Lines {
    pub(crate) fn is_wanted(&self) -> bool {
        self.log.is_some()
    }

    pub(crate) fn write(&mut self, time: Timestamp, event: Event, data: &str, context: &str) {
        let Some(log) = &self.log else { return };
        log.record(&Record {
            time,
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
}
