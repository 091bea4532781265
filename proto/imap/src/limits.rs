//! Every bound on what a client can send, with its reason.

/// A command line before sign-in, in bytes with its collected literals' text excluded. Long enough for a SASL initial
/// response with a Kerberos ticket in it goes in a continuation line, which has [`SASL_LINE_MAX`].
pub const LINE_BEFORE_LOGIN_MAX: usize = 8 * 1024;

/// A command line after sign-in. RFC 7162 §4 asks for at least 8192; long sequence sets need more.
pub const LINE_MAX: usize = 64 * 1024;

/// A line of SASL data or an initial response: Kerberos tickets with many groups reach 48 KiB, in base64 64 KiB.
pub const SASL_LINE_MAX: usize = 64 * 1024;

/// One collected literal (anything but a message) before sign-in: user names and passwords.
pub const LITERAL_BEFORE_LOGIN_MAX: u64 = 4 * 1024;

/// One collected literal after sign-in: folder names and search texts.
pub const LITERAL_MAX: u64 = 64 * 1024;

/// Collected literals in one command.
pub const LITERALS_PER_COMMAND: usize = 64;

/// A command with all of its collected literals; the most that one connection can make us hold.
pub const COMMAND_MAX: usize = 256 * 1024;

/// The largest non-synchronising literal before sign-in or over a limit that is skipped politely; a longer one ends the
/// connection, since reading it to throw it away serves nobody.
pub const SKIP_MAX: u64 = 1024 * 1024;

/// The same after sign-in: a refused message (too big, over quota) that is already on its way.
pub const SKIP_SIGNED_IN_MAX: u64 = 256 * 1024 * 1024;

/// LITERAL- (RFC 7888 §5) promises only this much for a non-synchronising literal; IMAP4rev2 includes it.
pub const LITERAL_MINUS_MAX: u64 = 4096;

/// Tags are a few letters and digits; some clients use a UUID.
pub const TAG_MAX: usize = 128;

/// A keyword, in bytes.
pub const KEYWORD_MAX: usize = 255;

/// A folder name with all its levels, in bytes of UTF-8.
pub const FOLDER_NAME_MAX: usize = 1000;

/// How deep SEARCH keys nest (parentheses, NOT and OR): the parser recurses once for each.
pub const SEARCH_DEPTH: usize = 64;

/// Part numbers in a section: nesting of MIME parts beyond this is not addressable.
pub const PART_DEPTH: usize = 64;

/// Fields of ID: RFC 2971 §3.3 allows 30.
pub const ID_FIELDS: usize = 30;

/// Patterns in one LIST: each is matched against every folder.
pub const LIST_PATTERNS: usize = 100;

/// There are nine keys, forward and reverse.
pub const SORT_CRITERIA: usize = 18;

/// Items in one FETCH: more sections than this are better fetched in pieces.
pub const FETCH_ITEMS: usize = 256;

/// Field names in one HEADER.FIELDS.
pub const HEADER_FIELDS: usize = 256;

/// Flags in one STORE.
pub const FLAGS_PER_COMMAND: usize = 256;

/// Resources in one SETQUOTA: RFC 9208 §5 knows four.
pub const QUOTA_RESOURCES: usize = 16;
