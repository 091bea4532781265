//! What goes into a client and what comes out of it.

use super::limits::Timeouts;
use crate::path::Mailbox;
use crate::reply::{Reply, Status};
use crate::types::{BodyKind, Flavour, RcptParams, Return};
use std::fmt;
use waypost_base::Timestamp;

/// Whether STARTTLS is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum StartTls {
    Never,
    /// Where it is offered; a server that refuses it gets the mail in clear.
    #[default]
    IfOffered,
    /// Without TLS the session fails at [`Stage::StartTls`].
    Required,
}

/// For AUTH PLAIN or LOGIN. The password is in no `Debug` and no [`Out::Said`].
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What is the same for every connection to one next hop. Shared behind an `Arc`.
#[derive(Clone, Debug)]
pub struct Config {
    /// [`Flavour::Lmtp`] says LHLO and reads one reply for each recipient; the others are the same here.
    pub flavour: Flavour,
    /// What we call ourselves: a host name or an address literal.
    pub host: String,
    pub starttls: StartTls,
    /// Sign in before the first message; a server that has no AUTH for us fails the session at [`Stage::Auth`].
    pub credentials: Option<Credentials>,
    /// Credentials may go over a connection without TLS.
    pub auth_in_clear: bool,
    /// Use BDAT where CHUNKING is offered. Without it, BINARYMIME bodies cannot be sent.
    pub chunking: bool,
    /// Send 8-bit bodies even where 8BITMIME is not offered, instead of refusing them.
    pub eight_bit_anyway: bool,
    /// Hand out [`Out::Said`] and [`Out::Heard`], for a protocol log.
    pub log: bool,
    pub timeouts: Timeouts,
}

impl Config {
    pub fn new(flavour: Flavour, host: impl Into<String>) -> Config {
        Config {
            flavour,
            host: host.into(),
            starttls: StartTls::default(),
            credentials: None,
            auth_in_clear: false,
            chunking: true,
            eight_bit_anyway: false,
            log: false,
            timeouts: Timeouts::default(),
        }
    }
}

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Outgoing {
    pub from: Option<Mailbox>,
    /// Octets that will be handed over with [`super::Client::body`].
    pub size: u64,
    /// What the octets are, at most. Nothing else looks at them.
    pub body: BodyKind,
    /// The header has characters beyond ASCII, so that SMTPUTF8 is needed whatever the addresses are.
    pub utf8: bool,
    pub ret: Option<Return>,
    pub envid: Option<String>,
    /// For XWAYPOST, where the peer offers it: what one server of ours tells another about the message. That about a
    /// recipient stands in its parameters.
    pub inner: Option<String>,
    /// RFC 8689: only over TLS, and only to a server that promises the same.
    pub require_tls: bool,
    /// International domains with an ASCII local part are best written as A-labels: such an address needs no SMTPUTF8.
    pub recipients: Vec<Recipient>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    pub to: Mailbox,
    pub params: RcptParams,
}

impl Recipient {
    pub fn new(to: Mailbox) -> Recipient {
        Recipient { to, params: RcptParams::default() }
    }
}

/// What the caller is to do next, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    /// Bytes for the peer. Several may be gathered in one write.
    Send(Vec<u8>),
    /// A line that we send (its bytes come in `Send`), fit for a log: credentials are left out.
    Said(String),
    /// A reply as it was read, for a log; lines separated by LF.
    Heard(String),
    /// Send what is to be sent, do the handshake, then call `tls_started`; or close, if it fails.
    StartTls,
    /// Greeting, EHLO, TLS and AUTH are behind us: `send` may be called. Comes once.
    Ready,
    /// A message that was begun with `send` is over. If `is_idle` afterwards, another may follow.
    Done(Box<Delivery>),
    /// The connection is of no use, and no message was under way. `Close` follows.
    Failed(Failure),
    /// Call `poll` at this time at the latest, even if the peer says nothing. Replaces earlier ones.
    WakeAt(Timestamp),
    /// Send what is to be sent, then close.
    Close,
}

/// How far a session was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Until the greeting.
    Connect,
    /// EHLO, HELO, LHLO.
    Hello,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    /// From DATA to its 354.
    Data,
    /// The message is on its way; the end of it is not sent.
    Body,
    /// The final dot (or the last chunk) is sent.
    Final,
    /// Between messages, and at the end.
    Idle,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Connect => "greeting",
            Stage::Hello => "EHLO",
            Stage::StartTls => "STARTTLS",
            Stage::Auth => "AUTH",
            Stage::Mail => "MAIL FROM",
            Stage::Rcpt => "RCPT TO",
            Stage::Data => "DATA",
            Stage::Body => "message text",
            Stage::Final => "end of message",
            Stage::Idle => "between messages",
        })
    }
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// One for each recipient of the [`Outgoing`], in its order.
    pub outcomes: Vec<Outcome>,
    /// The peer offers DSN and was told what the sender wishes: reports about accepted recipients are its duty from now
    /// on, reports that mail was relayed to a server without DSN are not needed.
    pub dsn: bool,
}

/// What became of a message for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The peer has taken it.
    Accepted { reply: Reply },
    /// 4yz (try again) or 5yz (never): [`Reply::is_transient`] tells.
    Refused { stage: Stage, reply: Reply, by: By },
    /// No word about it. `in_doubt`: the end of the message was sent, so the peer may have it, and another attempt may be
    /// a duplicate; otherwise another attempt is safe.
    Broken { stage: Stage, fault: Fault, in_doubt: bool },
    /// The peer takes no more recipients at a time (its LIMITS of RFC 9422 say so, or `452 4.5.3` once it had taken some): for
    /// another `send`, at once.
    Left,
}

/// Whose word a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Peer,
    /// The peer lacks what the message needs, or the address cannot be said. The peer was not asked.
    Us,
}

/// What went wrong with a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Closed or broken, with what the operating system says.
    Lost(String),
    /// Nothing came for so many milliseconds.
    Timeout(i64),
    /// Something came that is not SMTP, or not now; what that was.
    Protocol(String),
    /// Our side could not hand over the message ([`super::Client::abort`]), and why.
    Source(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Lost(text) => write!(f, "connection lost: {text}"),
            Fault::Timeout(millis) => write!(f, "no answer within {} seconds", millis / 1000),
            Fault::Protocol(text) => write!(f, "the server does not keep to the protocol: {text}"),
            Fault::Source(text) => write!(f, "the message could not be read: {text}"),
        }
    }
}

/// Why a session is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub stage: Stage,
    pub why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The server's own words.
    Refused(Reply),
    /// It does not offer what we need: `STARTTLS`, or `AUTH` with a mechanism that we know and may use.
    Lacks(&'static str),
    Fault(Fault),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Why::Refused(reply) => write!(f, "refused at {}: {reply}", self.stage),
            Why::Lacks(what) => write!(f, "the server does not offer {what}"),
            Why::Fault(fault) => write!(f, "{fault} (at {})", self.stage),
        }
    }
}

impl Outcome {
    pub(crate) fn ours(stage: Stage, code: u16, status: Status, text: impl Into<String>) -> Outcome {
        Outcome::Refused { stage, reply: Reply::with(code, status, text), by: By::Us }
    }

    pub fn is_accepted(&self) -> bool {
        matches!(self, Outcome::Accepted { .. })
    }

    /// Trying again later may work.
    pub fn is_transient(&self) -> bool {
        match self {
            Outcome::Accepted { .. } => false,
            Outcome::Refused { reply, .. } => reply.is_transient(),
            Outcome::Broken { .. } | Outcome::Left => true,
        }
    }
}
