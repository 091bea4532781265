//! Bounds on what strangers and files can make us read.

/// Bytes of a token: a ticket with the largest PAC that Windows makes (48 KiB by default, 64 KiB at most).
pub const TOKEN_BYTES_MAX: usize = 96 * 1024;

/// Bytes of a keytab: one key is about 80 bytes; a thousand services with ten keys each are below this.
pub const KEYTAB_BYTES_MAX: u64 = 1024 * 1024;

/// Keys of a keytab.
pub const KEYTAB_ENTRIES_MAX: usize = 10_000;

/// Bytes of a credential cache: the initiator's tickets, one for each server and a few for realms on the way.
pub const CCACHE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Tickets of a credential cache.
pub const CCACHE_ENTRIES_MAX: usize = 10_000;

/// Parts of a principal's name; real ones have one to three.
pub const NAME_PARTS_MAX: usize = 16;

/// Bytes of one part of a name, and of a realm.
pub const NAME_BYTES_MAX: usize = 1024;

/// Threads that may be in the Kerberos library at a time. One that waits for a KDC that does not answer stays there for
/// as long as the library likes (15 s and more); when all do, further sign-ins are refused at once.
pub const THREADS_MAX: usize = 64;
