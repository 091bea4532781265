//! What a commit changed, to be announced to the sessions that wait.

use waypost_base::{FolderId, MessageId};

/// A message that came into a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub folder: FolderId,
    pub uid_validity: u32,
    pub uid: u32,
    pub message: MessageId,
}

/// What was committed. The views have it already; [`Changes::announce`] wakes the sessions that wait for it. A value that
/// is dropped announces itself, so forgetting loses nothing but the reader's ease.
#[must_use = "sessions in IDLE learn of it when it is announced"]
#[derive(Debug, Default)]
pub struct Changes {
    pub(crate) appended: Vec<Appended>,
    pub(crate) replayed: bool,
}

impl Changes {
    /// Wakes every session that waits on a folder that was changed.
    pub fn announce(self) {
        drop(self);
    }

    /// The messages that came in, in the order they were given.
    pub fn appended(&self) -> &[Appended] {
        &self.appended
    }

    /// The token had been seen before: nothing was done now, this is the first answer.
    pub fn replayed(&self) -> bool {
        self.replayed
    }
}
