//! Flags and keywords, and changing them (RFC 9051 §6.4.6, RFC 7162 §3.1.3).

use crate::account::Account;
use crate::changes::Changes;
use crate::error::AccountError;
use crate::uidset::UidSet;
use crate::view::Row;
use waypost_base::FolderId;

/// The system flags of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flags(pub u8);

impl Flags {
    pub const NONE: Flags = Flags(0);
    pub const SEEN: Flags = Flags(1);
    pub const ANSWERED: Flags = Flags(2);
    pub const FLAGGED: Flags = Flags(4);
    pub const DELETED: Flags = Flags(8);
    pub const DRAFT: Flags = Flags(16);
    /// All five, with their IMAP names, in the order that we print them.
    pub const NAMES: [(Flags, &'static str); 5] = [
        (Flags::ANSWERED, "\\Answered"),
        (Flags::FLAGGED, "\\Flagged"),
        (Flags::DELETED, "\\Deleted"),
        (Flags::SEEN, "\\Seen"),
        (Flags::DRAFT, "\\Draft"),
    ];

    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    pub const fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
    }
}

/// Flags and keywords together, keywords as bits of the account's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    pub flags: Flags,
    /// Bit n is keyword n of [`Keywords`].
    pub keywords: u64,
}

/// The account's table of keywords: names as first seen, compared without ASCII case. Only ever grows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keywords {
    names: Vec<String>,
}

impl Keywords {
    pub(crate) fn new(names: Vec<String>) -> Keywords {
        Keywords { names }
    }

    /// All names; the place is the bit.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn bit(&self, name: &str) -> Option<u32> {
        self.names.iter().position(|n| n.eq_ignore_ascii_case(name)).map(|i| i as u32)
    }

    /// The names of the bits that are set.
    pub fn of(&self, bits: u64) -> impl Iterator<Item = &str> {
        self.names.iter().enumerate().filter(move |(i, _)| bits & (1 << i) != 0).map(|(_, n)| n.as_str())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagOp {
    Add,
    Remove,
    Replace,
}

/// What a change of flags did.
#[derive(Debug)]
pub struct FlagOutcome {
    pub changes: Changes,
    /// The messages that were changed, as they are now, by ascending UID. Those that were so already are not in it.
    pub modified: Vec<Row>,
    /// Not changed since their modseq is above `unchanged_since`: `[MODIFIED …]`.
    pub failed: UidSet,
}

impl Account {
    /// The keyword table as it is now.
    pub fn keywords(&self) -> std::sync::Arc<Keywords> {
        todo!()
    }

    /// The mark for these flags and keywords; new keywords are put into the table first (a commit of its own).
    pub async fn mark(&self, flags: Flags, keywords: &[&str]) -> Result<Mark, AccountError> {
        let _ = (flags, keywords);
        todo!()
    }

    /// Changes flags of the messages in `uids` that exist. Chunks of [`crate::limits::FLAG_CHUNK`] are atomic each and
    /// committed in order. What is so already is left alone and keeps its modseq.
    pub async fn store_flags(
        &self,
        folder: FolderId,
        uids: &UidSet,
        op: FlagOp,
        mark: Mark,
        unchanged_since: Option<u64>,
    ) -> Result<FlagOutcome, AccountError> {
        let _ = (folder, uids, op, mark, unchanged_since);
        todo!()
    }
}
