//! What a filter can make us hold.

/// Octets of one packet of a filter. The library that most filters use stops at 65 535 octets of data; some send more.
pub const PACKET: usize = 1024 * 1024;
/// Octets of body in one of our packets, which every filter takes.
pub const CHUNK: usize = 65_535;
/// Octets of a header field that we send in one packet; what is longer is cut for the filter's eyes.
pub const FIELD: usize = 65_000;
/// Changes to one message. A filter that wants more has gone wrong.
pub const CHANGES: u32 = 2000;
/// Octets of all changes to one message but for its body.
pub const CHANGE_OCTETS: usize = 1024 * 1024;
/// Lines of a reply in a filter's own words.
pub const REPLY_LINES: usize = 32;
/// Macros that a filter can name for one stage.
pub const MACROS: usize = 64;
