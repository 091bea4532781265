//! Every bound of the room, with its reason.

/// Characters of a subject that are kept for lists and reports, as Exchange's tracking shows about as many.
pub const SUBJECT_CHARS: usize = 200;
/// Bytes of a message-id, a first From: address, or a HELO name: RFC 5322's line length.
pub const TEXT_BYTES: usize = 998;
/// Bytes of a peer's words that are kept; a reply of many lines says everything in its first ones.
pub const REASON_BYTES: usize = 1000;
/// Targets of one hop; a larger one is divided, so that its state always fits into one row.
pub const TARGETS_PER_HOP: usize = 10_000;
/// Targets of one item: a group of groups, opened.
pub const TARGETS: usize = 200_000;
/// Bytes of recipients and hops that stand in the item's own row; more get pages. SQLite keeps rows over 800 bytes apart.
pub const PACKED: usize = 4 * 1024;
/// Bytes of one page of recipients or hops; the store takes 64 KiB.
pub const PAGE: usize = 32 * 1024;
/// Bytes of a batch that pages fill; the store takes 1 MiB.
pub const BATCH: usize = 700 * 1024;
/// Milliseconds after which an empty queue is forgotten, as in Exchange.
pub const IDLE_MILLIS: i64 = 3 * 60_000;
/// Expired or delayed hops that may be out at the same time, so that they do not crowd out sending.
pub const ALARMS_OUT: u32 = 32;
/// Unsuccessful ends (panics, crashes) of an item's handling after which it is poison.
pub const SUSPICIONS: u8 = 2;
/// Messages of one page of Get-Message at most.
pub const MESSAGES: usize = 1000;
/// Milliseconds between two tries to write down what has happened already, while the store refuses.
pub const UNSETTLED_MILLIS: i64 = 2_000;
/// Changes that a subscriber may lag behind before it is told that it has missed some.
pub const CHANGES: usize = 4096;
/// Outcomes that may wait for a store that refuses, before nothing new is begun.
pub const UNSETTLED: usize = 256;
/// Items told of when the state of their queue changes; those who listen may lag by more, but not by two such queues.
pub const TOLD: usize = 1000;
/// Milliseconds after a start until what was being handled when an earlier run crashed is tried again: the innocent first.
pub const SUSPECT_MILLIS: i64 = 5_000;
/// Milliseconds that a suspect waits at most until everything else that is being handled has ended, so that it is alone.
pub const ALONE_MILLIS: u64 = 10_000;
/// Milliseconds that others wait at most for a suspect that is tried.
pub const ASIDE_MILLIS: u64 = 2_000;
/// Rows of one batch that notes suspects.
pub const SUSPECTS: usize = 1_000;
/// Hours for which it is remembered that a delivery of another server was taken: longer than messages wait.
pub const TAKEN_HOURS: u32 = 8 * 24;
/// Milliseconds that a hop is left alone that could not be read, so that those behind it have their turn.
pub const UNREAD_MILLIS: i64 = 60_000;
