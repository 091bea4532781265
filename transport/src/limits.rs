//! What a message or a peer can make this room hold. What a session may say is bounded in `waypost_smtp::limits`.

/// Most octets read at once, for those who send much. (Some less than 64 KiB, beyond which the allocator tidies up at
/// each release.)
pub const READ_BUFFER: usize = 60 * 1024;
/// Octets of buffer during a message, and after one: the typical message in one read.
pub const MESSAGE_BUFFER: usize = 8 * 1024;
/// Octets of buffer of a session that has not begun a message, so that ten thousand idle ones cost 40 MiB.
pub const IDLE_BUFFER: usize = 4 * 1024;
/// Octets of replies gathered before they are written, however much the peer has pipelined.
pub const WRITE_BUFFER: usize = 16 * 1024;
/// Octets of a submitted message's header held back until it is known which fields are missing.
pub const HEADER: usize = 256 * 1024;
/// Received fields beyond which a message is taken to go round in circles; RFC 5321 §6.3 asks for at least 100.
pub const HOPS: usize = 100;
/// Messages for several recipients that may be under way to their accounts at once. More wait before their 250.
pub const DELIVERING: usize = 256;
/// Accounts of one message delivered at the same time.
pub const FAN_OUT: usize = 64;
/// Octets of one row of recipients in the queue; the store takes 64 KiB.
pub const QUEUE_PAGE: usize = 32 * 1024;
/// Octets of a failed message returned whole in a report, where the sender asked for it.
pub const REPORT_FULL: u64 = 1024 * 1024;
/// Octets of a header returned in a report.
pub const REPORT_HEADER: u64 = 64 * 1024;
/// Octets of a failed message of our own people's returned whole in a report when they did not say what they want.
pub const REPORT_DEFAULT: u64 = 64 * 1024;
/// Recipients that a report names in words; its status part names all.
pub const REPORT_PEOPLE: usize = 50;
/// Octets of what a server answered that are told to a person: some ten lines.
pub const REPORT_ANSWER: usize = 1_500;
/// Milliseconds between two looks at what was put off.
pub const RETRY_MILLIS: u64 = 60_000;
/// Milliseconds that sessions get to finish their messages when the server stops.
pub const GRACE_MILLIS: u64 = 30_000;
/// Milliseconds and octets for which a closed session still listens, so that its last reply is not lost.
pub const LINGER_MILLIS: u64 = 2_000;
pub const LINGER_BYTES: usize = 64 * 1024;
/// Milliseconds that a reply may take to be written, so that a peer who does not read holds nothing.
pub const WRITE_MILLIS: u64 = 5 * 60_000;
/// Addresses of one next hop that are tried for one connection.
pub const ADDRESSES: usize = 20;
/// Milliseconds until an address that does not answer is given up.
pub const CONNECT_MILLIS: u64 = 30_000;
/// Milliseconds for all addresses of a next hop together.
pub const CONNECT_ALL_MILLIS: u64 = 180_000;
/// Milliseconds that the names of a next hop may take to be found.
pub const NAMES_MILLIS: u64 = 60_000;
/// Milliseconds for a TLS handshake.
pub const HANDSHAKE_MILLIS: u64 = 60_000;
/// Milliseconds that a connection without work is kept for more.
pub const IDLE_CONNECTION_MILLIS: u64 = 2_000;
/// Octets of a body that an agent gets in memory; larger ones lie in the store.
pub const DRAFT_MEMORY: usize = 1024 * 1024;
/// Octets of memory for all bodies that agents have at one time. When it is used up, the next ones lie in the store.
pub const DRAFTS_MEMORY: usize = 256 * 1024 * 1024;
