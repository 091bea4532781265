//! Every bound of this crate, with its reason.

/// Bytes of a command line with its end. RFC 2449 §4 says 255; Exchange's MaxCommandSize is 512 by default.
pub const COMMAND_BYTES: usize = 512;

/// What the setting may be, as in Exchange. 40 is what RFC 1939 §3 implies (4 + 1 + 40 for an argument, less what nobody uses).
pub const COMMAND_BYTES_MIN: usize = 40;
pub const COMMAND_BYTES_MAX: usize = 1024;

/// Bytes of a line inside an AUTH exchange: what the largest message of a mechanism takes in base64.
pub const AUTH_LINE_BYTES: usize = waypost_sasl::limits::MESSAGE_BYTES_MAX / 3 * 4 + 16;

/// Bad commands in a row after which the session is closed: whoever speaks another protocol does not learn from replies.
pub const BAD_COMMANDS_MAX: u32 = 10;

/// Digits of a message number: that of `u32`.
pub const NUMBER_DIGITS_MAX: usize = 10;
