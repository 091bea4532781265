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
/// Addresses in the From field of a submitted message, each of which is looked up.
pub const AUTHORS: usize = 100;
/// Received fields beyond which a message is taken to go round in circles; RFC 5321 §6.3 asks for at least 100.
pub const HOPS: usize = 100;
/// Messages for several recipients that may be under way to their accounts at once. More wait before their 250.
pub const DELIVERING: usize = 256;
/// Accounts of one message delivered at the same time.
pub const FAN_OUT: usize = 64;
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
/// Milliseconds before a queue item that could not be read is looked at again.
pub const UNREADABLE_MILLIS: u64 = 5_000;
/// Recipients that one line of the tracking log names. More get further lines.
pub const EVENT_RECIPIENTS: usize = 1000;
/// Octets that our own trace fields may add to a message before it is too large for its recipient.
pub const TRACE_ROOM: u64 = 8 * 1024;
/// Received fields with our own name beyond which a message keeps coming back. Exchange: MaxLocalHopCount.
pub const LOCAL_HOPS: usize = 12;
/// Addresses whose rate of messages is counted at a time.
pub const RATES: usize = 65_536;
/// Milliseconds that sessions get to finish their messages when the server stops.
pub const GRACE_MILLIS: u64 = 30_000;
/// Milliseconds and octets for which a closed session still listens, so that its last reply is not lost.
pub const LINGER_MILLIS: u64 = 2_000;
pub const LINGER_BYTES: usize = 64 * 1024;
/// Milliseconds that a reply may take to be written, so that a peer who does not read holds nothing.
pub const WRITE_MILLIS: u64 = 5 * 60_000;
/// Milliseconds for an inner leg to come about.
pub const INNER_OPEN_MILLIS: u64 = 30_000;
/// Milliseconds after which mail is tried again for a mailbox that is on its way to another server: a move holds it up for
/// a moment only.
pub const MOVING_MILLIS: i64 = 2_000;
/// Milliseconds for which a message waits for the hub that may have taken it, before another gets it.
pub const IN_DOUBT_MILLIS: i64 = 10 * 60_000;
/// Addresses of one next hop that are tried for one connection.
pub const ADDRESSES: usize = 20;
/// Milliseconds until an address that does not answer is given up.
pub const CONNECT_MILLIS: u64 = 30_000;
/// Milliseconds after which no further address of a next hop is tried: some that hang at their greeting (five minutes
/// each, RFC 5321 §4.5.3.2.1) leave time for the next.
pub const CONNECT_ALL_MILLIS: u64 = 1_200_000;
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
/// Milliseconds between two looks whether there is something to say on such a connection.
pub const IDLE_LOOK_MILLIS: u64 = 10;
/// Recipients of one message to a server that names no limit; RFC 5321 §4.5.3.1.8 has it take 100.
pub const RECIPIENTS_AT_ONCE: usize = 100;
/// Results of one connection that may be on their way to the disk.
pub const SETTLING: usize = 32;
/// Milliseconds that a message has waited when it appears in its sender's outbox, unless it was put off before: most
/// have left by then, and cost nothing.
pub const OUTBOX_AFTER_MILLIS: u64 = 10_000;
/// Milliseconds that an outbox item stays as it is at least, so that readers do not see it flicker.
pub const OUTBOX_KEEP_MILLIS: u64 = 60_000;
/// Milliseconds after which what an outbox shows is looked at again, even if nobody told of a change.
pub const OUTBOX_LOOK_MILLIS: u64 = 5 * 60_000;
/// Messages that an outbox shows; the last item says how many more there are.
pub const OUTBOX_ITEMS: usize = 500;
/// Octets of a message that is attached whole to its outbox item; of a larger one, the header.
pub const OUTBOX_WHOLE: u64 = 1024 * 1024;
/// Octets of messages that one outbox has attached, so that it takes little of the account's quota.
pub const OUTBOX_BYTES: u64 = 16 * 1024 * 1024;
/// Fresh messages whose outboxes are not looked at yet. Beyond that the accounts are asked for them later.
pub const OUTBOX_FRESH: usize = 100_000;
/// Outboxes written to at the same time.
pub const OUTBOX_WRITERS: usize = 8;
