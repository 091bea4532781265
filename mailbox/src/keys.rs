//! The keys of an account, big-endian, so that its rows are neighbours:
//!
//! ```text
//! [0x10][account u32] 01 account row          02 on its way to or from another server
//!                     03 bytes used (counter)     04 last message id (counter)
//!                     05 last folder id        06 keyword table            07 messages (counter)
//!                     08 last sign-in          09 subscribed names without a folder
//!   10 [folder u32] folder row                 11 [folder] last UID (counter)
//!   12 [folder] highest modseq (counter)       13 [folder] writer counter
//!   14 [folder][uid u32] flag row              15 [folder][modseq u64] change-log row
//!   16 [folder] change-log floor               17 [folder] folder that is being deleted
//!   20 [message u64] message row               21 [message] small bytes
//!   22 [hash u64] Message-ID of a reply → thread
//!   23 [message] references beyond the first (counter, absent = 0)
//!   24 [deleted ms u64][folder][uid] recoverable item
//!   25 [token 16] a delivery that was made under this token
//!   32 [blob 32] references to stored bytes (counter)
//!   40 [change u64] kept free for the account's own change log
//! ```

use std::ops::Range;
use waypost_base::{AccountId, FolderId, MessageId, Timestamp};
use waypost_store::{BlobId, Key, Partition, Template, prefix_range};

/// First byte of all rows of this room.
pub(crate) const ACCOUNTS: u8 = 0x10;

pub(crate) const ACCOUNT: u8 = 0x01;
pub(crate) const MOVING: u8 = 0x02;
pub(crate) const BYTES: u8 = 0x03;
pub(crate) const MESSAGE_IDS: u8 = 0x04;
pub(crate) const FOLDER_IDS: u8 = 0x05;
pub(crate) const KEYWORDS: u8 = 0x06;
pub(crate) const MESSAGES: u8 = 0x07;
pub(crate) const SIGN_IN: u8 = 0x08;
pub(crate) const SUBSCRIBED: u8 = 0x09;
pub(crate) const FOLDER: u8 = 0x10;
pub(crate) const UID: u8 = 0x11;
pub(crate) const MODSEQ: u8 = 0x12;
pub(crate) const WRITER: u8 = 0x13;
pub(crate) const ROW: u8 = 0x14;
pub(crate) const LOG: u8 = 0x15;
pub(crate) const LOG_FLOOR: u8 = 0x16;
pub(crate) const DELETING: u8 = 0x17;
pub(crate) const MESSAGE: u8 = 0x20;
pub(crate) const SMALL: u8 = 0x21;
pub(crate) const THREAD: u8 = 0x22;
pub(crate) const REFS: u8 = 0x23;
pub(crate) const DELETED: u8 = 0x24;
pub(crate) const DELIVERED: u8 = 0x25;
pub(crate) const BLOB_REFS: u8 = 0x32;

/// Bytes before the kind byte of a key.
pub(crate) const PREFIX: usize = 5;

/// Makes the keys of one account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys(u32);

impl Keys {
    pub(crate) fn new(account: AccountId) -> Keys {
        Keys(account.0)
    }

    pub(crate) fn partition(self) -> Partition {
        Partition::numbered(ACCOUNTS, self.0)
    }

    fn start(self, kind: u8, room: usize) -> Key {
        let mut key = Vec::with_capacity(PREFIX + 1 + room);
        key.push(ACCOUNTS);
        key.extend_from_slice(&self.0.to_be_bytes());
        key.push(kind);
        key
    }

    /// A row that the account has once.
    pub(crate) fn one(self, kind: u8) -> Key {
        self.start(kind, 0)
    }

    /// A row that a folder has once.
    pub(crate) fn of_folder(self, kind: u8, folder: FolderId) -> Key {
        let mut key = self.start(kind, 12);
        key.extend_from_slice(&folder.0.to_be_bytes());
        key
    }

    pub(crate) fn row(self, folder: FolderId, uid: u32) -> Key {
        let mut key = self.of_folder(ROW, folder);
        key.extend_from_slice(&uid.to_be_bytes());
        key
    }

    /// The row of the message that gets the `plus`-th UID of an allocation.
    pub(crate) fn new_row(self, folder: FolderId, alloc: u16, plus: u32) -> Template {
        Template::from(self.of_folder(ROW, folder)).slot4(alloc, plus)
    }

    pub(crate) fn log(self, folder: FolderId, modseq: u64) -> Key {
        let mut key = self.of_folder(LOG, folder);
        key.extend_from_slice(&modseq.to_be_bytes());
        key
    }

    pub(crate) fn new_log(self, folder: FolderId, alloc: u16) -> Template {
        Template::from(self.of_folder(LOG, folder)).slot8(alloc, 0)
    }

    /// All rows of a kind of one folder.
    pub(crate) fn all_of_folder(self, kind: u8, folder: FolderId) -> Range<Key> {
        prefix_range(&self.of_folder(kind, folder))
    }

    /// All rows of a kind.
    pub(crate) fn all(self, kind: u8) -> Range<Key> {
        prefix_range(&self.one(kind))
    }

    pub(crate) fn message(self, kind: u8, id: MessageId) -> Key {
        let mut key = self.start(kind, 8);
        key.extend_from_slice(&id.0.to_be_bytes());
        key
    }

    pub(crate) fn new_message(self, kind: u8, alloc: u16, plus: u32) -> Template {
        Template::from(self.start(kind, 8)).slot8(alloc, plus)
    }

    /// What was delivered under a token. Tokens begin with the hour of their making.
    pub(crate) fn delivered(self, token: &[u8]) -> Key {
        let mut key = self.start(DELIVERED, 16);
        key.extend_from_slice(token);
        key
    }

    pub(crate) fn thread(self, hash: u64) -> Key {
        let mut key = self.start(THREAD, 8);
        key.extend_from_slice(&hash.to_be_bytes());
        key
    }

    pub(crate) fn deleted(self, at: Timestamp, folder: FolderId, uid: u32) -> Key {
        let mut key = self.deleted_until(at);
        key.extend_from_slice(&folder.0.to_be_bytes());
        key.extend_from_slice(&uid.to_be_bytes());
        key
    }

    /// Recoverable items from before `at` lie below this.
    pub(crate) fn deleted_until(self, at: Timestamp) -> Key {
        let mut key = self.start(DELETED, 16);
        // Times before 1970 do not happen to deletions; a clock that says so is taken as zero.
        key.extend_from_slice(&u64::try_from(at.0).unwrap_or(0).to_be_bytes());
        key
    }

    pub(crate) fn blob_refs(self, blob: BlobId) -> Key {
        let mut key = self.start(BLOB_REFS, 32);
        key.extend_from_slice(&blob.0);
        key
    }
}

/// The big-endian u32 at `at` of a key; 0 when the key is too short, which no row of ours is.
pub(crate) fn u32_at(key: &[u8], at: usize) -> u32 {
    key.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes)
}

pub(crate) fn u64_at(key: &[u8], at: usize) -> u64 {
    key.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_be_bytes)
}

/// The last four bytes: the UID of a flag row.
pub(crate) fn last_u32(key: &[u8]) -> u32 {
    u32_at(key, key.len().saturating_sub(4))
}

pub(crate) fn last_u64(key: &[u8]) -> u64 {
    u64_at(key, key.len().saturating_sub(8))
}
