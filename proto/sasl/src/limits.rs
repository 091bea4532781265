//! Every bound of this crate, with its reason.

/// Bytes of one client message, after base64. Names and passwords are short; tickets of Kerberos for people in many
/// groups reach 48 KiB, which is also the most that Windows makes (MaxTokenSize).
pub const MESSAGE_BYTES_MAX: usize = 48 * 1024;

/// Bytes of a user name or an authorization identity: an address of RFC 5321 §4.5.3.1 (64 + 1 + 255) three times over,
/// since UTF-8 and domain prefixes are allowed.
pub const NAME_BYTES_MAX: usize = 1024;

/// Bytes of a password. Longer ones make the hash do work for nothing.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Bytes of the client's nonce. Clients send 16 to 64; it is stored and hashed until the exchange ends.
pub const NONCE_BYTES_MAX: usize = 512;

/// Rounds of PBKDF2 for new keys. RFC 7677 §4 asks for at least 4096; three times that still takes a phone a few milliseconds.
pub const SCRAM_ROUNDS: u32 = 12_288;

/// Fewest rounds that our client accepts from a server: RFC 7677 §4.
pub const SCRAM_ROUNDS_MIN: u32 = 4096;

/// Most rounds that our client accepts, and that we read from stored keys, so that nobody keeps a core busy for minutes.
pub const SCRAM_ROUNDS_MAX: u32 = 10_000_000;

/// Bytes of salt for new keys.
pub const SALT_BYTES: usize = 16;

/// Random bytes of the server's nonce: 144 bits, 24 characters.
pub const NONCE_RANDOM_BYTES: usize = 18;

/// Tokens that a client may send until a security context stands. Kerberos takes one, SPNEGO with a change of mind three.
pub const GSS_TOKENS_MAX: u32 = 8;

/// Pairs of attribute and value in a response of NTLM. Eleven kinds are defined, each of which comes once.
pub const NTLM_PAIRS_MAX: usize = 32;
