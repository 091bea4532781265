//! Why a command could not be read, and what to answer.

use crate::value::Tag;
use std::fmt;

/// A command that could not be read: the peer's fault, and pointless to repeat. The session goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Answer `tag BAD` (`tag NO` for [`Problem::BadCharset`]); without a tag, `* BAD`.
    pub tag: Option<Tag>,
    pub problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No tag, or not one.
    Tag,
    /// No such command.
    UnknownCommand,
    /// What was expected, in words, and at which byte of the command.
    Syntax { expected: &'static str, at: usize },
    /// A number, a nesting or a name over a limit.
    TooLarge { what: &'static str, at: usize },
    /// A charset that we cannot read: answer `NO [BADCHARSET (US-ASCII UTF-8)]`. With `saving`, the search was to be saved,
    /// and `$` is now empty (RFC 9051 §6.4.4.1).
    BadCharset { saving: bool },
    /// A special use that we do not know: answer `NO [USEATTR]` (RFC 6154 §3).
    UnknownUse,
    /// Forbidden combinations, such as VANISHED without UID.
    Conflict(&'static str),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Tag => f.write_str("A command begins with a tag"),
            Problem::UnknownCommand => f.write_str("Unknown command"),
            Problem::Syntax { expected, at } => write!(f, "Expected {expected} at byte {at}"),
            Problem::TooLarge { what, at } => write!(f, "{what} too large at byte {at}"),
            Problem::BadCharset { .. } => f.write_str("Charset not supported"),
            Problem::UnknownUse => f.write_str("Special use not supported"),
            Problem::Conflict(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for ParseError {}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}
