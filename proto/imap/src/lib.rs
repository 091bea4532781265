//! IMAP4rev2 (RFC 9051) and IMAP4rev1 (RFC 3501) on the wire, from the server's side, with the extensions that Waypost
//! offers. Sans-IO: bytes in, values out; values in, bytes out. No clock, no socket, no store.
//!
//! - [`frame`]: bytes → lines, literals and message streams, before any grammar.
//! - [`command`]: what the client asks, parsed and printed.
//! - [`state`]: what may be asked when.
//! - [`response`]: what the server answers.
//! - [`value`]: the words of both directions; [`limits`]: every bound with its reason.
//!
//! Reading responses (the client's side) is deliberately absent.

pub mod command;
pub mod frame;
pub mod fuzz;
pub mod limits;
pub mod response;
pub mod state;
pub mod value;
pub(crate) mod wire;

pub use fuzz::fuzz_one;
