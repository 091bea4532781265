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

/// Passwords checked by sources elsewhere at a time. A directory server that hangs holds so many for [`SOURCE_MILLIS`], and the rest
/// wait for their turn, within the same time.
pub const SOURCE_CHECKS_AT_ONCE: usize = 32;

/// Milliseconds that a source elsewhere has, the wait for its turn included. Clients give up after 10 to 60 seconds.
pub const SOURCE_MILLIS: u64 = 8_000;

/// Passwords of one network that may be under way at a time: half of [`HASHING_WAITING_MAX`], so that one network that
/// guesses leaves room for the others.
pub const CHECKS_PER_NETWORK_MAX: u32 = 256;

/// Networks remembered per name as those that it signs in from: office, home, telephone, and some travels.
pub const HOME_NETWORKS_MAX: usize = 16;

/// Names whose networks are remembered, at about 400 bytes each at most.
pub const HOMES_MAX: usize = 65_536;

/// Milliseconds that a network is remembered after the last sign-in from there: two weeks, a holiday.
pub const HOME_MILLIS: i64 = 14 * 24 * 60 * 60 * 1000;

/// Certificates of one account.
pub const CERTIFICATES_MAX: usize = 16;

/// Bytes of a certificate. Those of RSA with 4096 bits and many names have some KiB.
pub const CERTIFICATE_BYTES_MAX: usize = 64 * 1024;
