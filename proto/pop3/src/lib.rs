//! POP3: what a client may say, when, and how the answers are written. No IO, no clock, no mail.
//!
//! RFC 1939 with CAPA (RFC 2449), STLS (RFC 2595), AUTH with initial responses (RFC 5034), response codes (RFC 2449 §8,
//! RFC 3206), PIPELINING, and UTF8 (RFC 6856). `access` reads lines with [`frame`], commands with [`command`], keeps
//! the state of a conversation in [`session`] and of the drop in [`maildrop`], and writes with [`reply`] and [`dot`].
//!
//! Absent on purpose: APOP (it needs the password itself on the server, and MD5), LANG (one language is spoken here),
//! LOGIN-DELAY (signing in is cheap). One departure, on purpose: RFC 6856 §5 wants messages with UTF-8 headers kept from
//! clients that did not say UTF8; they are sent as they are, since a client that shows a header badly is better off than
//! one that never sees the message.

pub mod command;
pub mod dot;
pub mod frame;
mod fuzz;
pub mod limits;
pub mod maildrop;
pub mod reply;
pub mod session;

pub use command::{Bad, Command};
pub use fuzz::fuzz_one;
pub use maildrop::{Maildrop, Message};
pub use session::{Refused, Session, State};
