//! What a server that we send to can make us hold, and how long we wait for it.

/// Octets of a reply line with its end. RFC 5321 §4.5.3.1.5 has 512; some servers put whole sentences with links there.
pub const REPLY_LINE: usize = 4096;
/// Lines of one reply. EHLO replies have a dozen, refusals with advice a few.
pub const REPLY_LINES: usize = 100;
/// Octets of one reply.
pub const REPLY: usize = 64 * 1024;
/// Replies that wait to be read before more recipients are sent: what they take fits into the peer's socket buffer, so
/// neither side can wait for the other for ever (RFC 2920 §3.1).
pub const WINDOW: usize = 100;
/// Octets of commands in one window.
pub const WINDOW_OCTETS: usize = 16 * 1024;
/// SASL mechanisms of an EHLO reply that are kept.
pub const MECHANISMS: usize = 32;
/// Octets of a message that goes along with its envelope by BDAT, before anything is known of the recipients. A refusal
/// costs so many octets; without it each message costs another round trip.
pub const EARLY_BODY: u64 = 64 * 1024;
/// Octets of an AUTH line (RFC 4954 §4).
pub const AUTH_LINE: usize = 12_288;

/// Milliseconds that we wait for the peer, by stage (RFC 5321 §4.5.3.2). The defaults are the RFC's least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the greeting.
    pub greeting: i64,
    /// EHLO, HELO, LHLO, STARTTLS, AUTH, RSET and NOOP; the RFC names none.
    pub command: i64,
    pub mail: i64,
    pub rcpt: i64,
    /// From DATA to its 354.
    pub data: i64,
    /// From one block of the message to the next, and for the reply to a BDAT chunk that is not the last.
    pub block: i64,
    /// From the final dot (or the last chunk) to the reply.
    pub last: i64,
    /// For the good-bye. Nothing depends on it.
    pub quit: i64,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            greeting: 5 * 60_000,
            command: 5 * 60_000,
            mail: 5 * 60_000,
            rcpt: 5 * 60_000,
            data: 2 * 60_000,
            block: 3 * 60_000,
            last: 10 * 60_000,
            quit: 10_000,
        }
    }
}
