//! The health of the running server, for the commands: what they ask of it. The server runs the probes, keeps the monitors
//! and knows the keeper of the organisation's alerts.

use crate::run::Answer;
use waypost_health::{Alert, Event, EventQuery, MonitorState, ProbeId, ProbeResult};

/// A probe that this server runs from time to time.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub probe: ProbeId,
    /// Milliseconds from one run to the next, of a try at most, and of a good answer that is not yet slow (0: any).
    pub recurrence: u64,
    pub timeout: u64,
    pub budget: u32,
    /// False while an override switches it off.
    pub enabled: bool,
}

/// How a client protects its connection, in Exchange's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConnectionType {
    Plaintext,
    /// TLS from the first byte.
    Ssl,
    /// STARTTLS, STLS.
    Tls,
}

impl ConnectionType {
    pub const ALL: [ConnectionType; 3] =
        [ConnectionType::Plaintext, ConnectionType::Ssl, ConnectionType::Tls];

    pub const fn name(self) -> &'static str {
        match self {
            ConnectionType::Plaintext => "Plaintext",
            ConnectionType::Ssl => "Ssl",
            ConnectionType::Tls => "Tls",
        }
    }

    pub fn parse(text: &str) -> Option<ConnectionType> {
        ConnectionType::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(text))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadProtocol {
    Imap,
    Pop,
}

/// Test-ImapConnectivity and Test-PopConnectivity: a client's session at this server's doors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connectivity {
    pub protocol: ReadProtocol,
    /// Only connections of this kind; all that the server offers where it is not given.
    pub connection: Option<ConnectionType>,
    /// Only this port.
    pub port: Option<u16>,
    /// Only mailboxes at this server, by id; one at each server with mailboxes where it is not given.
    pub mailbox_server: Option<String>,
    /// Sign in as this person, by password, and not as a health mailbox.
    pub credential: Option<(String, String)>,
    /// Sign in, and look at nothing.
    pub light: bool,
    /// Take any certificate.
    pub trust_any: bool,
    /// Milliseconds for one connection, and for all of it.
    pub per_connection: Option<u64>,
    pub timeout: Option<u64>,
}

/// One session that was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Connected {
    /// Ids of the server whose door it was and of the one that holds the mailbox.
    pub server: String,
    pub mailbox_server: String,
    pub connection: ConnectionType,
    pub port: u16,
    /// As whom.
    pub user: String,
    /// Why it was not tried.
    pub skipped: Option<String>,
    pub result: ProbeResult,
}

/// Test-SmtpConnectivity: one address of a receive connector.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    pub server: String,
    pub connector: String,
    /// `0.0.0.0:25` as set, and the address that was connected to.
    pub binding: String,
    pub endpoint: String,
    pub result: ProbeResult,
    /// The code with which the connection was refused, where it was.
    pub code: Option<u16>,
}

/// Test-Mailflow: a message that is sent and waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mailflow {
    /// To the health mailbox of this server, by id.
    pub server: Option<String>,
    /// To this address. One of ours is waited for; of another only that it was taken.
    pub address: Option<String>,
    /// Milliseconds after which it is late, and after which it is given up.
    pub error_latency: Option<u64>,
    pub timeout: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Flown {
    /// The server that it was to reach, or the address.
    pub target: String,
    /// To another server than this one.
    pub remote: bool,
    /// Milliseconds until it was there.
    pub latency: Option<u64>,
    pub message_id: String,
    pub result: ProbeResult,
}

/// Test-ServiceAuthentication: a leg that was opened to prove who is who.
#[derive(Clone, Debug, PartialEq)]
pub struct Authenticated {
    pub from: String,
    pub to: String,
    pub service: String,
    pub result: ProbeResult,
}

/// Filled in by the running server.
pub trait Health: Send + Sync {
    /// Every probe of this server, by set, name and target.
    fn items(&self) -> Vec<Item>;

    /// Every monitor of this server.
    fn monitors(&self) -> Vec<MonitorState>;

    /// Runs the probes that are meant at once; their monitors hear of it, too. Nothing fits: an empty list.
    fn run<'a>(&'a self, asked: &'a ProbeId) -> Answer<'a, Vec<ProbeResult>>;

    /// Open alerts of the organisation, as the keeper tells them; with `past` also those that are over.
    fn alerts(&self, past: bool) -> Answer<'_, Vec<Alert>>;

    /// Events of this server, newest first.
    fn events(&self, query: &EventQuery) -> Vec<Event>;

    /// Shows what is bad in a set as Repairing, or no longer.
    fn repairing(&self, set: &str, on: bool);

    fn connectivity<'a>(&'a self, asked: &'a Connectivity) -> Answer<'a, Vec<Connected>>;

    /// Every address of every receive connector of this server.
    fn smtp(&self) -> Answer<'_, Vec<Bound>>;

    fn mailflow<'a>(&'a self, asked: &'a Mailflow) -> Answer<'a, Vec<Flown>>;

    /// Opens a leg from this server to another one, for one service or for each that the other offers.
    fn authenticate<'a>(&'a self, to: &'a str, service: Option<&'a str>) -> Answer<'a, Vec<Authenticated>>;
}
