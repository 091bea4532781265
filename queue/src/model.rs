//! The words of the queue: an item from the door to its last recipient, its hops and targets, and what becomes of them.

use crate::limits::{SUBJECT_CHARS, TEXT_BYTES};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use waypost_base::id::Correlation;
use waypost_base::{AccountId, Timestamp};
use waypost_smtp::{BodyKind, MailParams, Mailbox, RcptParams, Return, Status};
use waypost_store::{Blob, BlobId};

/// What MAIL said, as far as it matters later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    pub ret: Option<Return>,
    pub envid: Option<String>,
    /// SMTPUTF8 was asked for: a peer without it cannot take the message (RFC 6531 §3.4).
    pub utf8: bool,
    pub body: BodyKind,
}

impl From<&MailParams> for Params {
    fn from(params: &MailParams) -> Params {
        Params { ret: params.ret, envid: params.envid.clone(), utf8: params.utf8, body: params.body }
    }
}

/// Which goes first within a queue. Exchange: Get-Message Priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    High,
    #[default]
    Normal,
    Low,
}

/// What an item is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    #[default]
    Mail,
    /// Something that this server says about another item.
    Report,
}

/// Whoever brought the message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// `None` for what was made here.
    pub ip: Option<IpAddr>,
    pub helo: String,
    /// Name of the receive connector.
    pub connector: String,
}

/// Everything about an item but its bytes, recipients and hops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// `None` is the null sender.
    pub from: Option<Mailbox>,
    pub params: Params,
    /// The account that submitted it, if one did.
    pub owner: Option<AccountId>,
    pub accepted: Timestamp,
    pub session: Correlation,
    pub priority: Priority,
    /// Given up at this time. Far away is allowed.
    pub expires: Timestamp,
    /// Decoded; at most 200 characters are kept.
    pub subject: String,
    /// Without angle brackets; empty if there is none.
    pub message_id: String,
    /// The first address of From:, for those who look; empty if there is none.
    pub headers_from: String,
    pub client: Client,
    pub kind: Kind,
    /// Received fields that it had when it came.
    pub hops_seen: u32,
    /// What another server of ours called this delivery when it handed it over, so that it is the same one whoever
    /// brings it to its end. `None`: it began here.
    pub delivery: Option<DeliveryId>,
}

/// Names one delivery throughout the organisation: whatever servers it goes over, and however often one of them is
/// interrupted, an account takes it once. Begins with the hour in which it began (4 bytes, big-endian).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub [u8; 16]);

impl DeliveryId {
    /// Of an item of this server.
    pub fn of(server: &str, item: u64, blob: &BlobId) -> DeliveryId {
        let mut hasher = blake3::Hasher::new_derive_key("waypost 2026 delivery of a queue item");
        hasher.update(&(server.len() as u64).to_be_bytes());
        hasher.update(server.as_bytes());
        hasher.update(&item.to_be_bytes());
        hasher.update(&blob.0);
        // The upper bits of an item's number are its time in milliseconds.
        let hour = u32::try_from((item >> 20) / 3_600_000).unwrap_or(u32::MAX);
        DeliveryId::at(hour, &hasher)
    }

    /// Of the part of it that is for one account and place.
    pub fn part(&self, account: AccountId, place: Place) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_derive_key("waypost 2026 delivery to an account");
        hasher.update(&self.0);
        hasher.update(&account.0.to_be_bytes());
        hasher.update(&[match place {
            // The same, so that a change of mind about what is junk cannot deliver twice.
            Place::Inbox | Place::Junk => 0,
            Place::Sent => 1,
        }]);
        DeliveryId::at(self.hour(), &hasher).0
    }

    /// The hour since 1970 in which it began.
    pub fn hour(&self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }

    fn at(hour: u32, hasher: &blake3::Hasher) -> DeliveryId {
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        let (first, _) = id.split_at_mut(4);
        first.copy_from_slice(&hour.to_be_bytes());
        DeliveryId(id)
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for DeliveryId {
    type Err = ();

    fn from_str(text: &str) -> Result<DeliveryId, ()> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(());
        }
        u128::from_str_radix(text, 16).map(|n| DeliveryId(n.to_be_bytes())).map_err(|_| ())
    }
}

impl Envelope {
    /// One with everything else empty, given up after two days.
    pub fn new(from: Option<Mailbox>, accepted: Timestamp, session: Correlation) -> Envelope {
        Envelope {
            from,
            params: Params::default(),
            owner: None,
            accepted,
            session,
            priority: Priority::Normal,
            expires: accepted.plus_millis(2 * 24 * 3_600_000),
            subject: String::new(),
            message_id: String::new(),
            headers_from: String::new(),
            client: Client::default(),
            kind: Kind::Mail,
            hops_seen: 0,
            delivery: None,
        }
    }

    /// Cuts what is longer than the queue keeps.
    pub(crate) fn trim(&mut self) {
        if let Some((at, _)) = self.subject.char_indices().nth(SUBJECT_CHARS) {
            self.subject.truncate(at);
        }
        for text in [&mut self.message_id, &mut self.headers_from, &mut self.client.helo] {
            cut(text, TEXT_BYTES);
        }
    }
}

/// Shortens a text to so many bytes, at a character's edge.
pub(crate) fn cut(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        let mut at = bytes;
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        text.truncate(at);
    }
}

/// A recipient as it was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub to: Mailbox,
    pub params: RcptParams,
}

/// Which folder of an account a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    Inbox,
    /// The sender's own copy of what was submitted, already seen.
    Sent,
    /// What policy marks.
    Junk,
}

/// An account that gets the message, and where in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Local {
    pub account: AccountId,
    pub place: Place,
}

/// One final address of a hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub to: Mailbox,
    /// Number of the accepted recipient that it comes from, from 0.
    pub of: u32,
    /// Set where it is an account of ours: on hops to the mailboxes of this server and of others.
    pub local: Option<Local>,
}

/// Where a hop leads, as categorised. By which connector is decided when it is sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    /// Mailboxes of this server.
    Mailbox,
    /// A domain elsewhere, in lower-case ASCII (A-labels), or an address literal in its brackets.
    Domain(String),
    /// A server that an administrator named (Redirect-Message, draining).
    Server { host: String, port: u16 },
    /// The server of ours with this id, which holds the targets' accounts.
    Home(String),
    /// Any server of ours with the transport role: the whole message, as it was accepted.
    Hub,
}

/// One way on, for some targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Unique within its item.
    pub number: u32,
    pub route: Route,
    pub targets: Vec<Target>,
}

/// What is handed to [`Queue::submit`](crate::Queue::submit).
#[derive(Clone, Debug)]
pub struct NewItem {
    /// From [`Queue::next_id`](crate::Queue::next_id): it must grow with time.
    pub id: u64,
    pub envelope: Envelope,
    pub blob: Blob,
    pub recipients: Vec<Accepted>,
    pub hops: Vec<Hop>,
}

/// The route of messages by which the server tries out its own way out. No address leads there: this is no domain's name, so
/// nobody's mail can take it.
pub const PROBE: &str = "!health-probe";

/// What one delivery queue is named by: computed from a [`Route`] and the routing table of the moment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NextHop {
    /// Mailboxes of this server.
    Mailbox,
    /// By MX: one queue for each domain. Through smart hosts: one queue for each connector, without domain.
    Connector {
        connector: String,
        domain: Option<String>,
    },
    Server {
        host: String,
        port: u16,
    },
    /// A server of ours that holds accounts, by its id.
    Home(String),
    /// The servers of ours that have the transport role, each of which may take a message.
    Hub,
    /// No connector leads there now.
    Unreachable,
    /// Suspected of bringing the server down, or damaged. Never leaves by itself.
    Poison,
}

impl NextHop {
    /// Whether only the server's own probes go there ([`PROBE`]). Lists for people leave it out.
    pub fn is_probe(&self) -> bool {
        match self {
            NextHop::Connector { connector, domain } => {
                connector == PROBE || domain.as_deref().is_some_and(|domain| domain == PROBE)
            }
            _ => false,
        }
    }
}

/// The queue's identity, as Get-Queue shows it: `Mailbox`, `Unreachable`, `Poison`, `connector`, `connector/domain`,
/// `host:port`, `Home/server-2`, `Hubs`; `domain` alone when there is no routing table.
impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NextHop::Mailbox => f.write_str("Mailbox"),
            NextHop::Connector { connector, domain: None } => f.write_str(connector),
            NextHop::Connector { connector, domain: Some(domain) } if connector.is_empty() => {
                f.write_str(domain)
            }
            NextHop::Connector { connector, domain: Some(domain) } => write!(f, "{connector}/{domain}"),
            NextHop::Server { host, port } => write!(f, "{host}:{port}"),
            NextHop::Home(server) => write!(f, "Home/{server}"),
            NextHop::Hub => f.write_str("Hubs"),
            NextHop::Unreachable => f.write_str("Unreachable"),
            NextHop::Poison => f.write_str("Poison"),
        }
    }
}

/// Knows the routing table. Asked under a lock: it must answer from memory.
pub trait Router: Send + Sync {
    fn next_hop(&self, route: &Route) -> NextHop;

    /// Connections at a time to one next hop; at least 1. For [`NextHop::Mailbox`]: items delivered at a time.
    fn connections(&self, hop: &NextHop) -> u32 {
        if *hop == NextHop::Mailbox { 64 } else { 20 }
    }
}

/// For commands on a stopped server: one queue for each domain, whatever the connectors are.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullRouter;

impl Router for NullRouter {
    fn next_hop(&self, route: &Route) -> NextHop {
        match route {
            Route::Mailbox => NextHop::Mailbox,
            Route::Domain(domain) => {
                NextHop::Connector { connector: String::new(), domain: Some(domain.clone()) }
            }
            Route::Server { host, port } => NextHop::Server { host: host.clone(), port: *port },
            Route::Home(server) => NextHop::Home(server.clone()),
            Route::Hub => NextHop::Hub,
        }
    }
}

/// Why something did not work, in the words of whoever said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub status: Status,
    /// Of the peer's reply, where there was one.
    pub code: Option<u16>,
    /// The server concerned: `mx.example.net (192.0.2.1)`.
    pub server: Option<String>,
    /// The peer's or our own words; at most 1000 bytes are kept.
    pub text: String,
    /// Trying again may work.
    pub temporary: bool,
}

impl Reason {
    pub fn temporary(status: Status, text: impl Into<String>) -> Reason {
        Reason { status, code: None, server: None, text: text.into(), temporary: true }
    }

    pub fn permanent(status: Status, text: impl Into<String>) -> Reason {
        Reason { status, code: None, server: None, text: text.into(), temporary: false }
    }
}

/// `451 4.4.0 mx.example.net said: …`, as LastError shows it.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(code) = self.code {
            write!(f, "{code} ")?;
        }
        write!(f, "{} ", self.status)?;
        match &self.server {
            Some(server) => write!(f, "{server}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// What became of a target, for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// In a mailbox of this server; by which server or agent.
    Delivered {
        by: String,
    },
    /// Another server has it.
    Relayed {
        server: String,
        /// Its answer to the final dot.
        text: String,
        /// It understands DSN and was asked: reports are its business.
        dsn: bool,
    },
    /// A list that was opened; its members are other targets.
    Expanded,
    Failed(Reason),
    /// Taken away without a word, by an administrator or by policy.
    Dropped,
    /// Taken back by its sender.
    Recalled,
}

/// What becomes of targets that got no [`Fate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rest {
    /// There are none. (Should there be some, they stay, and are tried again: nothing is lost.)
    Done,
    /// Tried again; at that time, or when the plan says so.
    Retry { reason: Reason, at: Option<Timestamp> },
    /// Nothing was tried: the sender was told of the delay. For [`Work::Warn`](crate::Work::Warn).
    Warned,
    /// Back into the queue as it was; counts as no attempt.
    Back,
}

/// What may be done without a target's fate being known: how a settled target is remembered while its hop or item stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Done {
    Delivered,
    Relayed,
    Expanded,
    Failed,
    Dropped,
    Recalled,
}

impl Fate {
    pub fn done(&self) -> Done {
        match self {
            Fate::Delivered { .. } => Done::Delivered,
            Fate::Relayed { .. } => Done::Relayed,
            Fate::Expanded => Done::Expanded,
            Fate::Failed(_) => Done::Failed,
            Fate::Dropped => Done::Dropped,
            Fate::Recalled => Done::Recalled,
        }
    }
}

/// Something about an item has changed: it came, was put off, or is gone. Look with [`Queue::story`](crate::Queue::story).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub owner: Option<AccountId>,
    pub item: u64,
}

/// What the queue knows of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemState {
    pub id: u64,
    pub size: u64,
    pub envelope: Envelope,
    pub recipients: Vec<Accepted>,
    /// Every target of every hop, settled or not.
    pub targets: Vec<TargetState>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetState {
    pub hop: u32,
    /// Index within its hop.
    pub index: u32,
    pub target: Target,
    /// Identity of the queue that its hop is in.
    pub queue: String,
    pub state: State,
}

/// Where a target stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Its turn comes, or it is being sent at this moment.
    Waiting {
        active: bool,
    },
    /// Tried (or its queue could not connect), and waiting for the next attempt.
    Deferred {
        reason: Reason,
        next: Timestamp,
        attempts: u32,
    },
    Suspended,
    /// No connector leads there.
    Unreachable,
    /// With the evidence.
    Poison(String),
    /// For good. A failure's reason, where it is known.
    Settled(Done, Option<Reason>),
}

/// Status of a queue, in Exchange's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QueueStatus {
    Active,
    Connecting,
    Ready,
    Retry,
    Suspended,
}

/// A queue, as Get-Queue shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueInfo {
    /// See [`NextHop`]'s Display.
    pub identity: String,
    pub next_hop: NextHop,
    pub status: QueueStatus,
    /// Hops in it.
    pub message_count: u64,
    /// Of these, those that were tried and put off.
    pub deferred_count: u64,
    /// Of these, those that are suspended themselves.
    pub suspended_count: u64,
    /// Of these, those being sent at this moment.
    pub locked_count: u64,
    pub count_per_priority: [u64; 3],
    pub connections: u32,
    pub last_error: Option<Reason>,
    pub first_retry: Option<Timestamp>,
    pub last_retry: Option<Timestamp>,
    pub next_retry: Option<Timestamp>,
    pub retry_count: u32,
    /// Messages a second over the last minutes.
    pub incoming_rate: f64,
    pub outgoing_rate: f64,
    /// When the oldest hop in it was accepted.
    pub oldest: Option<Timestamp>,
}

impl QueueInfo {
    /// Exchange's Velocity: strongly negative with a large count means that it does not drain.
    pub fn velocity(&self) -> f64 {
        self.outgoing_rate - self.incoming_rate
    }
}

/// Status of a message in a queue, in Exchange's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageStatus {
    Active,
    PendingRemove,
    PendingSuspend,
    Ready,
    Retry,
    Suspended,
}

/// A hop of a message, as Get-Message shows it: a message with hops in several queues appears in each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageInfo {
    pub id: u64,
    pub hop: u32,
    /// Identity of its queue.
    pub queue: String,
    pub next_hop: NextHop,
    pub status: MessageStatus,
    pub size: u64,
    /// `None` when the item's row is damaged; then `last_error` has the evidence.
    pub envelope: Option<Envelope>,
    /// Its targets and where each stands.
    pub targets: Vec<(Target, Option<Done>)>,
    pub priority: Priority,
    pub retry_count: u32,
    pub next_retry: Option<Timestamp>,
    /// In words; for a poisoned one the evidence.
    pub last_error: Option<String>,
}

impl MessageInfo {
    /// `queue\number`, as `-Identity` takes it.
    pub fn identity(&self) -> String {
        format!("{}\\{}", self.queue, self.id)
    }
}

/// What the first look at the rows found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    pub items: u64,
    pub hops: u64,
    /// Items whose rows are damaged, by number; they are in the poison queue with the evidence.
    pub damaged: Vec<u64>,
    /// Items that were settled but not yet taken away, or half of a write that never ended; gone now.
    pub cleaned: u64,
}

/// The counts of hops by queue, for digests.
pub type Counts = BTreeMap<NextHop, u64>;
