//! SCRAM (RFC 5802) over SHA-256 (RFC 7677) and SHA-1: keys, messages, and the two sides.

mod client;
mod keys;
mod message;
mod server;
#[cfg(test)]
mod tests;

pub use client::Salted;
pub(crate) use client::ScramClient;
pub use keys::{Hash, KeysError, ScramKeys};
pub(crate) use server::ScramServer;
