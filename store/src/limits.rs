//! Every bound of the store, with its reason. All engines enforce the same ones, the smallest that any engine
//! that we mean to support can stand, so that data can be moved from one to another.

/// Longest key, bytes. LMDB stops at 511, PostgreSQL's index rows get slow beyond.
pub const KEY_BYTES: usize = 480;

/// Largest value, bytes. FoundationDB stops at 100 000.
pub const VALUE_BYTES: usize = 64 * 1024;

/// Largest batch, bytes of all keys and values together. A larger one would hold up the others in its group.
pub const BATCH_BYTES: usize = 1024 * 1024;

/// Most operations, preconditions and allocations in a batch together.
pub const BATCH_OPS: usize = 2_000;

/// Longest partition prefix, bytes: a tag and a 64-bit number at most, one to spare.
pub const PARTITION_BYTES: usize = 10;

/// Most keys in one [`get`](crate::Engine::get).
pub const GET_KEYS: usize = 4_096;

/// Most rows in a page of a scan. The bytes are the real bound; this one keeps pages of tiny rows short.
pub const PAGE_ROWS: u32 = 4_096;

/// Most bytes of keys and values in a page of a scan (a page always has one row at least, however large).
pub const PAGE_BYTES: u32 = 256 * 1024;

/// Most batches that share one transaction and one fsync.
pub const GROUP_BATCHES: usize = 256;

/// Most bytes that share one transaction and one fsync.
pub const GROUP_BYTES: usize = 4 * 1024 * 1024;

/// Most bytes of batches that wait for the committer. Beyond, commits are refused as [`Busy`](crate::CommitError::Busy),
/// so that a slow disk cannot fill the memory.
pub const WAITING_BYTES: usize = 32 * 1024 * 1024;

/// Most batches that wait for the committer.
pub const WAITING_BATCHES: usize = 16_384;

/// A token is remembered for at least this long, and at most twice as long.
pub const TOKEN_MILLIS: i64 = 60 * 60 * 1000;

/// Raw bytes of a chunk of a stored message. A ranged read decompresses at most this much too much at either end.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// A message whose compressed bytes are at most this long travels inside its batch: one fsync in all.
pub const INLINE_BYTES: usize = 16 * 1024;

/// Largest message, bytes: its chunk list must fit into one value.
pub const BLOB_BYTES: u64 = 256 * 1024 * 1024;

/// A segment file is closed when it has grown beyond this.
pub const SEGMENT_BYTES: u64 = 256 * 1024 * 1024;

/// A holder that does not hold after this time, in milliseconds, is garbage: its delivery never happened.
pub const HOLDER_GRACE_MILLIS: i64 = 60 * 60 * 1000;

/// Free bytes that the file system must keep: below, writes are refused as [`Full`](crate::CommitError::Full),
/// so that we meet the end of the disk before SQLite does, and deletions still have room for their own log.
pub const FREE_FLOOR: u64 = 64 * 1024 * 1024;
