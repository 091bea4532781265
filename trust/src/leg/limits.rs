//! Bounds of the inner handshake.

use std::time::Duration;

/// For a connection to the other server's inner door: within a data centre it is there at once or not at all, and somebody
/// waits for it.
pub const CONNECT_MAX: Duration = Duration::from_secs(5);
/// For TLS on it.
pub const TLS_MAX: Duration = Duration::from_secs(5);
/// For one frame of the handshake, and for what the other end has to do for it.
pub const FRAME_MAX: Duration = Duration::from_secs(10);
/// For a ticket from a KDC that may be far away or gone. Below [`FRAME_MAX`], since the acceptor waits meanwhile.
pub const KERBEROS_MAX: Duration = Duration::from_secs(7);
/// For the service's answer: opening an account of some GB after a start takes seconds.
pub const VERDICT_MAX: Duration = Duration::from_secs(60);
/// Clocks that differ by more are told of. Kerberos refuses at the same difference by default (RFC 4120 §8.2).
pub const CLOCK_SKEW_MAX_MILLIS: i64 = 5 * 60 * 1000;
/// Differences above this are evidence where something else is wrong.
pub const CLOCK_SKEW_TOLD_MILLIS: i64 = 60 * 1000;
/// Attempts on one connection: one for each mechanism.
pub const ATTEMPTS_MAX: usize = 2;
/// Pieces of evidence and remedies that are taken from the other end.
pub const EVIDENCE_MAX: usize = 24;
pub const REMEDIES_MAX: usize = 8;
/// Characters of a line that is taken from the other end.
pub const TEXT_MAX: usize = 1000;
/// Octets of a Kerberos token: a ticket with a large PAC has 64 KiB.
pub const TOKEN_BYTES_MAX: usize = 64 * 1024;
