//! Every bound of the directory, with its reason.

/// Octets of a local part: RFC 5321 §4.5.3.1.1.
pub const LOCAL_BYTES_MAX: usize = 64;

/// Octets of a domain in its ASCII form: RFC 5321 §4.5.3.1.2.
pub const DOMAIN_BYTES_MAX: usize = 255;

/// Other addresses of one account or group. Each is a row of the batch that makes it.
pub const ADDRESSES_MAX: usize = 500;

/// Bytes of a name or display name. Exchange stops display names at 256 characters.
pub const NAME_BYTES_MAX: usize = 256;

/// Named app passwords of one account. Each is looked at in every sign-in with a wrong main password.
pub const APP_PASSWORDS_MAX: usize = 64;

/// Entries of a permission or accept-from list; they are kept in the row of their owner (64 KiB).
pub const LIST_MAX: usize = 1_000;

/// Accounts and external addresses that one message to a group can reach. Exchange's default for expansion.
pub const EXPANSION_MAX: usize = 100_000;

/// Forwardings that one message follows, from mailbox to mailbox. More are a mistake, or a loop.
pub const FORWARDS_MAX: usize = 10;

/// Fewest characters of a password that an administrator may set. NIST SP 800-63B §3.1.1 asks for 8 at least.
pub const PASSWORD_CHARS_MIN: usize = 8;

/// Bytes of a password; the same as `waypost-sasl` takes.
pub const PASSWORD_BYTES_MAX: usize = waypost_sasl::limits::PASSWORD_BYTES_MAX;

/// Bytes of a CSV file, which is read into memory.
pub const CSV_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Sign-ins that may wait for the password hash. More are told to come back: each waits for up to 30 ms of a core.
pub const HASHING_WAITING_MAX: usize = 512;

/// Tokens of the HTTP interface: programs that administer, each with one or two.
pub const API_TOKENS_MAX: usize = 1_000;

/// Password hashes computed at the same time: each takes 19 MiB and a core.
pub const HASHING_AT_ONCE: usize = 2;

/// Passwords remembered as good, at 40 bytes each.
pub const VERIFIED_MAX: usize = 16_384;

/// Milliseconds that a password is remembered as good.
pub const VERIFIED_MILLIS: i64 = 5 * 60 * 1000;

/// (name, network) pairs whose failures are counted, at about 100 bytes each.
pub const THROTTLE_ENTRIES_MAX: usize = 65_536;
