//! Speaking to services as mail programs do: for rehearsals of settings and for probes of the running server.
//!
//! Nothing is changed by it but what a caller sends on purpose; every answer is bounded in time and size.

pub mod say;
pub mod talk;

pub use say::{Offer, Target, Way, Who, dialect};
pub use talk::{Dialect, Done, Fault, Salts, Talk, is_ours};

use waypost_base::explain::Cause;

/// What probes of one kind call themselves to servers, and what their faults are called.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// The name in EHLO, by which logs tell who it was.
    pub name: &'static str,
    /// No connection.
    pub connect: Cause,
    /// Not the greeting, or not the answer, that the protocol wants.
    pub greeting: Cause,
    pub tls: Cause,
    pub no_way: Cause,
    pub sign_in: Cause,
    pub mailbox: Cause,
    pub submit: Cause,
    pub time: Cause,
}
