//! Values that cannot hold what the grammar forbids: tags, flags, folder names, sequence sets, dates.

mod date;
mod flag;
mod folder;
mod sequence;
mod tag;
pub(crate) mod utf7;

pub use date::{Date, DateTime};
pub use flag::{Flag, Keyword};
pub use folder::FolderName;
pub use sequence::{Bound, Range, SequenceSet};
pub use tag::Tag;

use std::fmt;

/// Octets that must not reach a log: a password or a SASL response. Its `Debug` shows the length only.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(pub Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}
