//! Bounds on what a message or a name server can make us do.

use std::time::Duration;

/// Everything about one message, name servers included. A sending server waits 10 minutes after the final dot (RFC 5321
/// §4.5.3.2.6), so this is for our own sake.
pub const CHECK: Duration = Duration::from_secs(20);
/// Signatures looked at (RFC 6376 §6.1 lets a verifier limit them); each costs a query and a verification.
pub const SIGNATURES: usize = 10;
/// One question to the name servers, with its repetitions.
pub const ASKING: Duration = Duration::from_secs(10);
/// One try of a question.
pub const TRY: Duration = Duration::from_secs(3);
pub const TRIES: u32 = 2;
/// Questions under way to one name server.
pub const ASKED_AT_ONCE: usize = 512;
/// Answers kept until their TTL ends; about 1 KiB each.
pub const CACHED: u64 = 8_192;
/// No answer is kept longer, whatever its TTL says.
pub const KEPT: Duration = Duration::from_secs(6 * 3600);
/// Records of one answer that are looked at.
pub const RECORDS: usize = 64;
/// Octets of text from a record or a message that go into a header field, a log or a reply.
pub const SHOWN: usize = 160;
/// Octets of header that are searched for fields; what is longer was refused before.
pub const HEADER: usize = 1024 * 1024;
/// Octets of a signature's list of fields. Real messages have a dozen of them.
pub const SIGNED_FIELDS: usize = 200;
/// Keys of one domain, retired ones included.
pub const KEYS: usize = 40;
/// Octets of a key file; 4096-bit keys have about 4 KiB.
pub const KEY_FILE: u64 = 64 * 1024;
