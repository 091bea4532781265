//! The sending side of SMTP and LMTP, without IO: a [`Client`] is handed bytes and the time and hands out [`Out`] values.
//!
//! ```text
//! let mut client = Client::new(config, tls_already, now);
//! loop {
//!     while let Some(out) = client.poll(now) { …Send: gather and write; StartTls: handshake, client.tls_started(now);
//!                                              Ready and Done: client.send(now, outgoing) or client.quit(now)… }
//!     if client.wants_body() {                       // at once, without waiting for the peer
//!         client.body(now, piece, &mut bytes);       // then write `bytes`; or, when there is no more:
//!         client.body_end(now, &mut bytes);
//!     } else {
//!         read until client.deadline()               // then client.input(now, data), or client.lost(now, why)
//!     }
//! }
//! ```
//!
//! While the message is being written, the peer may say that it has heard enough: what can be read should go to `input` as
//! well, and `wants_body` becomes false.
//!
//! Commands go out together where PIPELINING is offered (RFC 2920), with BDAT instead of DATA where CHUNKING is (RFC 3030).
//! What the peer lacks for a message is found before anything is sent. Behind DATA only CRLF ends lines, whatever the
//! message had, so nothing in it can be taken for its end.

mod dots;
mod extensions;
mod fuzz;
mod hello;
pub mod limits;
mod message;
mod needs;
mod replies;
mod session;
mod types;

pub use extensions::Extensions;
pub use fuzz::fuzz_one;
pub use limits::Timeouts;
pub use session::Client;
pub use types::{
    By, Config, Credentials, Delivery, Failure, Fault, Out, Outcome, Outgoing, Recipient, Stage, StartTls,
    Why,
};
