//! The bounds of what is read, with their reasons. Beyond them a file is listed as unread.

/// How much evidence is taken in.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Files, those in archives counted too. A collection of one server has some ten thousand.
    pub files: usize,
    /// Folders within folders.
    pub depth: usize,
    /// Bytes of one archive, unpacked, all parts together.
    pub unpacked: u64,
    /// Unpacked bytes for each packed one, in parts of more than [`Limits::ratio_from`]: logs reach 30, bombs 1000.
    pub ratio: u64,
    /// Parts that are smaller than this may be packed as well as they like.
    pub ratio_from: u64,
    /// Bytes of a packed archive within an archive: it is held in memory.
    pub nested: u64,
    /// Bytes of a file that is only understood as a whole (XML, CLIXML, JSON).
    pub whole: u64,
    /// Bytes of one line; the rest of a longer one is passed over.
    pub line: usize,
    /// Threads that read.
    pub threads: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            files: 200_000,
            depth: 32,
            unpacked: 64 << 30,
            ratio: 300,
            ratio_from: 32 << 20,
            nested: 96 << 20,
            whole: 64 << 20,
            line: 64 << 10,
            threads: 2,
        }
    }
}
