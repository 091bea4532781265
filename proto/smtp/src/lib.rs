//! The server's side of SMTP (RFC 5321), message submission (RFC 6409) and LMTP (RFC 2033), without IO.
//!
//! A [`Session`] is handed bytes and the time and hands out [`Out`] values: replies to send, questions that only
//! the caller can answer (is this recipient ours? is this message durable?), stretches of message body, the wish to
//! start TLS. It never blocks, reads a clock, or keeps more than a few hundred bytes between commands: lines and
//! bodies stay in the caller's buffer.
//!
//! ```text
//! loop {
//!     while let Some(out) = session.poll(now) { …do it; Body ranges point into the slice last given… }
//!     let used = session.input(now, &buffer);      // one command line, or one run of body
//!     if used == 0 && no question is open { read more into the buffer } else { drop the first `used` bytes }
//! }
//! ```
//!
//! Line ends are taken strictly: only CRLF ends a line and only `CRLF . CRLF` ends a message, so nothing that
//! another server takes for the end of a message is ever one here, or the other way round.

pub mod client;
pub mod limits;
pub mod path;
pub mod reply;
pub mod xtext;

mod begun;
mod body;
mod command;
mod fuzz;
mod param;
mod session;
mod types;

pub use begun::Begun;
pub use fuzz::fuzz_one;
pub use limits::Limits;
pub use path::Mailbox;
pub use reply::{Reply, Status};
pub use session::Session;
pub use types::{
    Answer, AskId, AuthStep, BareEnds, BodyKind, Config, Flavour, MailParams, Mechanism, Notify,
    OriginalRecipient, Out, Question, RcptParams, Return, Tls,
};
