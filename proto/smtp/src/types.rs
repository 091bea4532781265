//! What goes into a session and what comes out of it.

use crate::limits::Limits;
use crate::path::Mailbox;
use crate::reply::Reply;
use std::ops::Range;
use waypost_base::Timestamp;

/// Which of the three protocols is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// RFC 5321, from other servers.
    Smtp,
    /// RFC 6409, from our own people's programs. The same commands; the name is for the greeting and for traces.
    Submission,
    /// RFC 2033: LHLO, and one reply for each accepted recipient after the message.
    Lmtp,
}

/// What is done about a CR or LF that stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BareEnds {
    /// A command gets 500, a message 550 5.6.11. What closes the door to smuggling for everybody behind us too.
    #[default]
    Refuse,
    /// Lines of commands may end with LF; in messages lone CR and LF are kept as they came. Still, only
    /// `CRLF . CRLF` ends a message.
    Keep,
}

/// A SASL mechanism that the caller can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mechanism {
    /// Upper-case IANA name, such as `SCRAM-SHA-256-PLUS`.
    pub name: &'static str,
    /// May be used without TLS.
    pub in_clear: bool,
    /// Needs a channel binding, so is offered only where TLS gave one.
    pub binding: bool,
}

/// What is the same for every session of a listener. Shared behind an `Arc`.
#[derive(Clone, Debug)]
pub struct Config {
    pub flavour: Flavour,
    /// Our host name, first word of the greeting and of the EHLO reply.
    pub host: String,
    /// STARTTLS is offered (and a certificate is there).
    pub starttls: bool,
    /// Nothing but EHLO, STARTTLS, NOOP, RSET and QUIT works without TLS (`530 5.7.0`).
    pub tls_required: bool,
    /// MAIL needs a signed-in user (`530 5.7.0`).
    pub auth_required: bool,
    /// Empty: AUTH is not offered.
    pub auth: Vec<Mechanism>,
    pub bare_ends: BareEnds,
    /// Hand out [`Out::Heard`] for every command line, for a protocol log.
    pub heard: bool,
    /// XWAYPOST is offered: [`MailParams::inner`] and [`RcptParams::inner`]. Only where the peer is known to be a server of
    /// ours; never at a door for others.
    pub inner: bool,
    /// XWHY is offered to those who have signed in, and [`Question::Why`] asked.
    pub why: bool,
    pub limits: Limits,
}

impl Config {
    pub fn new(flavour: Flavour, host: impl Into<String>) -> Config {
        Config {
            flavour,
            host: host.into(),
            starttls: false,
            tls_required: false,
            auth_required: false,
            auth: Vec::new(),
            bare_ends: BareEnds::Refuse,
            heard: false,
            inner: false,
            why: false,
            limits: Limits::default(),
        }
    }
}

/// What the session has to know of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The connection has a channel binding, so mechanisms that need one can be offered.
    pub binding: bool,
}

/// Names one question of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskId(pub u64);

/// What the caller is to do next, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    /// Bytes for the peer. Several may be gathered in one write, as long as they go out before more is read.
    Send(Vec<u8>),
    /// Answer with [`crate::Session::reply`]; nothing more is read from the peer's bytes until then.
    Ask(AskId, Question),
    /// A stretch of the message, unstuffed: a range of the slice last given to `input`.
    Body(Range<usize>),
    /// A command line (without its CRLF) as a range of the slice last given to `input`. `secret`: it carries
    /// credentials from this offset of the line on.
    Heard { line: Range<usize>, secret: Option<usize> },
    /// Whatever was begun is off: drop the body, if any, and the envelope.
    Reset,
    /// Send what is to be sent, then do the handshake, then call `tls_started` or close. Bytes that the peer sent
    /// before the handshake are dropped already (RFC 3207 §4.2).
    StartTls,
    /// Call `poll` at this time at the latest, even if the peer says nothing. Replaces earlier ones.
    WakeAt(Timestamp),
    /// Send what is to be sent, then close.
    Close,
}

/// What only the caller knows.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// A transaction begins. [`Answer::Ok`] or [`Answer::Refuse`].
    Mail { from: Option<Mailbox>, params: Box<MailParams> },
    /// One more recipient. [`Answer::Ok`] or [`Answer::Refuse`].
    Rcpt { to: Mailbox, params: Box<RcptParams> },
    /// The message is about to come. After [`Answer::Ok`] `Body` stretches follow, then `Finish`.
    Begin,
    /// The message is whole: `size` octets. [`Answer::Ok`] or [`Answer::Accept`] only when it is durable;
    /// [`Answer::Refuse`]; for LMTP [`Answer::Each`] with one reply for each accepted recipient, in order.
    Finish { size: u64 },
    /// A step of a SASL exchange. [`Answer::Challenge`], [`Answer::SignedIn`] or [`Answer::Refuse`].
    Auth(AuthStep),
    /// VRFY (RFC 5321 §3.5.1). [`Answer::Accept`] or [`Answer::Refuse`]; with [`Answer::Ok`] the session says 252.
    Verify(String),
    /// EXPN, likewise.
    Expand(String),
    /// XWHY: what became of the message with this Message-ID (without angle brackets)? [`Answer::Accept`] with the story,
    /// [`Answer::Refuse`], or [`Answer::Ok`] when nothing is known that the user may know.
    Why(String),
}

/// One message of a SASL exchange, decoded from base64. Its `Debug` shows nothing of the client's bytes.
#[derive(Clone, PartialEq, Eq)]
pub enum AuthStep {
    Start { mechanism: &'static str, initial: Option<Vec<u8>> },
    Next(Vec<u8>),
}

impl std::fmt::Debug for AuthStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AuthStep::Start { mechanism, .. } => write!(f, "Start({mechanism})"),
            AuthStep::Next(_) => f.write_str("Next"),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Yes, in the session's own words.
    Ok,
    /// Yes, in these words.
    Accept(Reply),
    /// No, in these words.
    Refuse(Reply),
    /// LMTP: for each accepted recipient its own reply.
    Each(Vec<Reply>),
    /// AUTH: send this challenge and read the next response.
    Challenge(Vec<u8>),
    /// AUTH: done; this is who it is.
    SignedIn(String),
}

/// RFC 1652, RFC 3030.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BodyKind {
    #[default]
    SevenBit,
    EightBit,
    Binary,
}

/// RET of RFC 3461 §4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    Full,
    Headers,
}

#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MailParams {
    /// As declared; 0 when it was not.
    pub size: u64,
    pub body: BodyKind,
    pub utf8: bool,
    pub ret: Option<Return>,
    /// Decoded; at most 100 characters.
    pub envid: Option<String>,
    /// `AUTH=` of RFC 4954 §5: who submitted it first; `Some(None)` for `AUTH=<>`.
    pub auth: Option<Option<String>>,
    /// What a server of ours says about the message besides, decoded; for the caller to read.
    pub inner: Option<String>,
}

/// NOTIFY of RFC 3461 §4.1. All false: NEVER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Notify {
    pub success: bool,
    pub failure: bool,
    pub delay: bool,
}

/// ORCPT of RFC 3461 §4.2, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginalRecipient {
    /// Such as `rfc822` or `utf-8`, in lower case.
    pub kind: String,
    pub address: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RcptParams {
    pub notify: Option<Notify>,
    pub orcpt: Option<OriginalRecipient>,
    /// What a server of ours says about the recipient besides, decoded; for the caller to read.
    pub inner: Option<String>,
}
