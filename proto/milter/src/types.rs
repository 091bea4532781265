//! What goes into a session and what comes out of it.

use std::net::SocketAddr;

/// The highest version of the protocol that there is; we speak it, and its elders down to 2.
pub const VERSION: u32 = 6;

/// What is asked of a filter, and allowed to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bits of [`crate::flags::action`] that a filter may use.
    pub actions: u32,
    /// Octets of a new body.
    pub body: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config { actions: crate::flags::action::ALL, body: 100 * 1024 * 1024 }
    }
}

/// Who connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin<'a> {
    Socket(SocketAddr),
    /// A socket in the file system.
    Local(&'a str),
    Unknown,
}

/// The step that a filter is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Negotiation,
    Connect,
    Helo,
    Mail,
    Rcpt,
    Data,
    Header,
    EndOfHeaders,
    Body,
    EndOfMessage,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Stage::Negotiation => "negotiation",
            Stage::Connect => "connect",
            Stage::Helo => "helo",
            Stage::Mail => "mail",
            Stage::Rcpt => "rcpt",
            Stage::Data => "data",
            Stage::Header => "header",
            Stage::EndOfHeaders => "end of headers",
            Stage::Body => "body",
            Stage::EndOfMessage => "end of message",
        })
    }
}

/// What to do after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// The filter does not want to know; nothing was written.
    Skipped,
    /// Written, and the filter will not answer.
    Silent,
    /// Written; the filter's verdict is to be read before anything else is said.
    Wait,
}

/// What came from the filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The answer to `negotiate`.
    Ready,
    /// The answer to the command before.
    Verdict(Verdict),
    /// At the end of the message, before the verdict. In the order in which they are to be made.
    Change(Change),
    /// The filter needs longer: time begins anew.
    Progress,
}

/// A filter's answer. At `connect` and `helo` it is about the connection, at `rcpt` `Reject`, `TempFail` and `Reply` are
/// about the recipient, otherwise about the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Continue,
    /// Nothing more is asked about this message (or connection).
    Accept,
    Reject,
    TempFail,
    /// Take it, and throw it away.
    Discard,
    /// Refuse in these words. 421 closes the connection.
    Reply(Reply),
    /// No more of the body is wanted.
    Skip,
    /// 421: the connection is to be closed.
    Shutdown,
    /// The filter cannot serve this connection.
    Unable,
}

/// A refusal in a filter's own words: 4yz or 5yz.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// RFC 3463.
    pub status: Option<(u8, u16, u16)>,
    /// Lines separated by LF, without control characters.
    pub text: String,
}

/// A change to the message or its envelope. Values of header fields have CRLF before continuation lines, no other line
/// ends, and the space behind the colon, if there is to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// At the end of the header.
    AddHeader {
        name: String,
        value: Vec<u8>,
    },
    /// Before the field at this position, counted from 1 in the header as the filter saw it; 0 is the same as 1.
    InsertHeader {
        index: u32,
        name: String,
        value: Vec<u8>,
    },
    /// The `index`-th field of this name, counted from 1. `None` removes it. Where there are not so many, it is added.
    ChangeHeader {
        index: u32,
        name: String,
        value: Option<Vec<u8>>,
    },
    /// An address, in brackets or not, as the filter gave it.
    AddRecipient {
        address: String,
        parameters: Option<String>,
    },
    RemoveRecipient {
        address: String,
    },
    ChangeFrom {
        address: String,
        parameters: Option<String>,
    },
    /// A piece of the new body; the first one takes the place of the old body, others follow it.
    ReplaceBody(Vec<u8>),
    Quarantine {
        reason: String,
    },
}

/// Why a filter cannot be understood. The connection to it is of no more use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("a packet of {0} octets; the limit is {max}", max = crate::limits::PACKET)]
    TooLong(usize),
    #[error("a packet without a command")]
    Empty,
    #[error("version {0} of the protocol; 2 to 6 are known")]
    Version(u32),
    #[error("it wants to speak in ways that were not offered ({0:#x})")]
    NotOffered(u32),
    #[error("{0:?} is no answer to {1}")]
    Unexpected(char, Stage),
    #[error("an answer to nothing ({0:?})")]
    Unasked(char),
    #[error("{0:?} is cut short or not well formed")]
    Malformed(char),
    #[error("more changes to a message than we take")]
    TooMuch,
}
