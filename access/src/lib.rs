//! IMAP and POP3 sessions joined to mailboxes: who signs in, what they see, what is logged of it.
//!
//! Sessions get a [`waypost_trust::channel::Channel`] and know neither sockets nor TLS libraries. Only tokio's io
//! traits, channels and time are used, so that a whole conversation runs inside one test in virtual time.

pub mod imap;
pub mod log;
pub mod pop3;
pub mod proxy;
pub mod signin;
