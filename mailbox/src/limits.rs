//! Every bound of the room, with its reason.

/// Most keywords of an account: they are bits of a u64 in each message's row.
pub const KEYWORDS: usize = 64;
/// Longest keyword, bytes. IMAP has no limit; Dovecot's is 50, Thunderbird's tags are under 40.
pub const KEYWORD_BYTES: usize = 100;
/// Longest name of a level of a folder's path, bytes of UTF-8, as file systems have it.
pub const NAME_BYTES: usize = 255;
/// Most levels of a path.
pub const DEPTH: usize = 32;
/// Most folders of an account.
pub const FOLDERS: usize = 10_000;
/// Most messages whose flags one batch changes: two rows of a batch's 2 000 operations each at worst.
pub const FLAG_CHUNK: usize = 1_000;
/// Most messages that one batch expunges: a delete and a recoverable row each.
pub const EXPUNGE_CHUNK: usize = 900;
/// Most messages that one batch copies or moves: two operations each.
pub const COPY_CHUNK: usize = 900;
/// Most messages of one batch of an import.
pub const APPEND_CHUNK: usize = 450;
/// Bytes of one batch that an import fills before it begins the next; the store's limit is 1 MiB.
pub const APPEND_BYTES: usize = 900 * 1024;
/// Batches of one import that wait for the disk at the same time: the next is made while the first is written.
pub const APPEND_WINDOW: usize = 3;
/// Tries of an operation that meets other writers' changes.
pub const RETRIES: usize = 8;
/// Messages in one read of summaries.
pub const SUMMARY_PAGE: usize = 512;
/// Messages in one read of small bodies; each is at most 16 KiB compressed.
pub const BODY_PAGE: usize = 64;
/// Raw bytes of a message that a search takes into memory as a whole; larger ones are searched in pieces.
pub const SEARCH_WHOLE: u64 = 4 * 1024 * 1024;
/// Searches that may read message bytes at the same time, so that they leave a core to the others.
pub const SEARCH_WORKERS: usize = 2;
/// How long a view waits for a change that is missing in the order before it reads it from the store, milliseconds.
pub const GAP_MILLIS: u64 = 20;

/// UIDs of a folder from which its view is read in parts at the same time: below, one read is two pages of rows at most.
pub const LOAD_PARTS_FROM: u32 = 8_192;

/// What an operator may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of views kept in memory. Views that sessions look at are kept regardless.
    pub view_bytes: usize,
    /// How long expunged messages can be restored, milliseconds.
    pub recoverable_millis: i64,
    /// How long the change log of a folder reaches back at least, milliseconds; older clients get a full list of UIDs.
    pub log_millis: i64,
    /// Accounts kept in memory without a session on them.
    pub accounts: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            view_bytes: 256 * 1024 * 1024,
            recoverable_millis: 14 * 86_400_000,
            log_millis: 30 * 86_400_000,
            accounts: 100_000,
        }
    }
}

/// Hours for which a delivery is known again by its token: longer than messages wait in queues.
pub const DELIVERED_HOURS: u32 = 8 * 24;
/// Rows and octets of one block of an account on its way to another server.
pub const BLOCK_ROWS: u32 = 256;
pub const BLOCK_BYTES: u64 = 256 * 1024;
/// Octets of a message's bytes that are handed over at a time.
pub const PIECE_BYTES: u64 = 256 * 1024;
/// Milliseconds for which what an account left behind stays, for a look at what went wrong.
pub const LEFT_MILLIS: i64 = 24 * 3_600_000;
