//! Everything that a peer can make us hold or do, and how much of it.

/// Octets, counts and milliseconds. The defaults are what we ship.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a command line with its CRLF before EHLO (RFC 5321 §4.5.3.1.4).
    pub line: usize,
    /// The same once extensions are in use: parameters of MAIL and RCPT add to it (DSN alone allows 500 for ORCPT).
    pub line_extended: usize,
    /// Octets of an AUTH line. RFC 4954 §4 asks for 12,288; tickets of people in many groups reach 48 KiB, in base64 64.
    pub line_auth: usize,
    /// Octets of a message.
    pub message: u64,
    /// Recipients of a message; RFC 5321 §4.5.3.1.8 asks for at least 100. Announced as RCPTMAX.
    pub recipients: u32,
    /// Messages of a connection, so that load balancing gets its chance. Announced as MAILMAX.
    pub messages: u32,
    /// Different domains among the recipients of a message, announced as RCPTDOMAINMAX; `None`: no limit.
    pub recipient_domains: Option<u32>,
    /// Syntax errors, refused recipients and commands out of place of a connection, before it is closed with 421.
    pub errors: u32,
    /// Commands that do nothing (NOOP, RSET, VRFY…) in a row without a message; more count as errors.
    pub idle_commands: u32,
    /// Failed sign-ins of a connection, so that guessing costs connections.
    pub auth_failures: u32,
    /// Milliseconds without a command (RFC 5321 §4.5.3.2.7: at least 5 minutes).
    pub command_millis: i64,
    /// Milliseconds without an octet of the message (RFC 5321 §4.5.3.2.5 has 3 minutes for a block of data).
    pub data_millis: i64,
    /// Milliseconds for the whole of a message, so that a drip of octets does not hold a session for ever.
    pub transfer_millis: i64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            line: 512,
            line_extended: 2048,
            line_auth: 65_552,
            message: 100 * 1024 * 1024,
            recipients: 1000,
            messages: 10_000,
            recipient_domains: None,
            errors: 50,
            idle_commands: 100,
            auth_failures: 3,
            command_millis: 5 * 60_000,
            data_millis: 3 * 60_000,
            transfer_millis: 2 * 3_600_000,
        }
    }
}

/// Refused chunks of one message that count as one error: a message of the greatest size in chunks of 16 KiB.
pub const REFUSED_CHUNKS: u32 = 6400;
/// Octets of a local part; RFC 5321 §4.5.3.1.1.
pub const LOCAL_PART: usize = 64;
/// Octets of a domain; RFC 5321 §4.5.3.1.2.
pub const DOMAIN: usize = 255;
/// Octets of a path with its brackets; RFC 5321 §4.5.3.1.3.
pub const PATH: usize = 256;
/// Characters of a decoded ENVID; RFC 3461 §4.4.
pub const ENVID: usize = 100;
/// Characters of an ORCPT value; RFC 3461 §4.2.
pub const ORCPT: usize = 500;
/// Characters of a decoded XWAYPOST value; encoded, it and the rest must fit into [`Limits::line_extended`].
pub const INNER: usize = 1000;
/// Parameters of one MAIL or RCPT, far above what there are.
pub const PARAMS: usize = 16;
/// Body ranges handed out by one `input`; each dot-stuffed line begins another.
pub const RANGES: usize = 16;
/// Octets of a line that we send (RFC 5321 §4.5.3.1.5), CRLF included.
pub const REPLY_LINE: usize = 512;
