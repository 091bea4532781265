//! What stands in the rows, to the byte. Numbers are big-endian. Each row begins with a format byte, except mutable rows,
//! which begin with the eight-byte version that [`Expect::Version`](waypost_store::Expect) looks at.

use crate::error::AccountError;
use crate::flags::{Flags, Mark};
use crate::folders::Role;
use crate::quota::Quota;
use crate::uidset::UidSet;
use crate::view::Row;
use waypost_base::{FolderId, MessageId, ThreadId, Timestamp};
use waypost_store::{BlobId, Hex, Template};

const FORMAT: u8 = 1;

/// Reads a row from its front.
pub(crate) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor(bytes)
    }

    pub(crate) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_be_bytes)
    }

    fn time(&mut self) -> Option<Timestamp> {
        self.u64().map(|t| Timestamp(t as i64))
    }

    fn text(&mut self) -> Option<String> {
        let len = self.u16()?;
        String::from_utf8(self.take(usize::from(len))?.to_vec()).ok()
    }

    fn format(&mut self) -> Option<()> {
        (self.u8()? == FORMAT).then_some(())
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// For a row that does not decode.
pub(crate) fn damaged(key: &[u8]) -> AccountError {
    AccountError::Damaged(format!("row {}", Hex(key)))
}

/// A counter row: eight bytes, absent is 0.
pub(crate) fn counter(value: Option<&[u8]>) -> u64 {
    value.and_then(|v| v.get(..8)).and_then(|v| v.try_into().ok()).map_or(0, u64::from_be_bytes)
}

/// Bytes of an encoded flag row.
const ROW_LEN: usize = 46;

/// Flag row (kind 14), 46 bytes:
/// format u8 · message u64 (set when the message comes into the folder) · flags u8, keywords u64, modseq u64 (change with
/// every STORE) · internal date i64, save date i64, size u32 (set when it comes in).
/// The same without a folder's say is kept in recoverable items (kind 24).
pub(crate) fn decode_row(uid: u32, value: &[u8]) -> Option<Row> {
    let mut c = Cursor::new(value);
    c.format()?;
    Some(Row {
        message: MessageId(c.u64()?),
        flags: Flags(c.u8()?),
        keywords: c.u64()?,
        modseq: c.u64()?,
        internal: c.time()?,
        saved: c.time()?,
        size: c.u32()?,
        uid,
    })
}

fn row_bytes(row: &Row) -> Vec<u8> {
    let mut out = Vec::with_capacity(ROW_LEN);
    out.push(FORMAT);
    out.extend_from_slice(&row.message.0.to_be_bytes());
    out.push(row.flags.0);
    out.extend_from_slice(&row.keywords.to_be_bytes());
    out.extend_from_slice(&row.modseq.to_be_bytes());
    out.extend_from_slice(&row.internal.0.to_be_bytes());
    out.extend_from_slice(&row.saved.0.to_be_bytes());
    out.extend_from_slice(&row.size.to_be_bytes());
    out
}

/// As it is.
pub(crate) fn encode_row(row: &Row) -> Vec<u8> {
    row_bytes(row)
}

/// With the modseq that the commit gives, and its message id too when `message` says which.
pub(crate) fn new_row(row: &Row, modseq: u16, message: Option<(u16, u32)>) -> Template {
    let bytes = row_bytes(row);
    let mut t = Template::new(Vec::with_capacity(ROW_LEN)).push(&bytes[..1]);
    t = match message {
        Some((alloc, plus)) => t.slot8(alloc, plus),
        None => t.push(&bytes[1..9]),
    };
    t.push(&bytes[9..18]).slot8(modseq, 0).push(&bytes[26..])
}

/// One commit's changes to a folder (kind 15), written once:
/// format u8 · time i64 · sections, each a tag u8: 1 appended (first uid u32, count u32), 2 flags (n u32, then uid u32,
/// flags u8, keywords u64 each), 3 vanished (n u32, then first and last uid u32 each).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogRow {
    pub(crate) time: Timestamp,
    /// First UID and count.
    pub(crate) appended: Option<(u32, u32)>,
    pub(crate) flags: Vec<(u32, Mark)>,
    pub(crate) vanished: UidSet,
}

impl LogRow {
    /// `uid`: the allocation that gives the appended messages' first UID.
    pub(crate) fn encode(&self, uid: Option<u16>) -> Template {
        let mut head = vec![FORMAT];
        head.extend_from_slice(&self.time.0.to_be_bytes());
        let mut tail = Vec::with_capacity(self.flags.len() * 13 + self.vanished.ranges().len() * 8 + 10);
        if !self.flags.is_empty() {
            tail.push(2);
            tail.extend_from_slice(&(self.flags.len() as u32).to_be_bytes());
            for (uid, mark) in &self.flags {
                tail.extend_from_slice(&uid.to_be_bytes());
                tail.push(mark.flags.0);
                tail.extend_from_slice(&mark.keywords.to_be_bytes());
            }
        }
        if !self.vanished.is_empty() {
            tail.push(3);
            tail.extend_from_slice(&(self.vanished.ranges().len() as u32).to_be_bytes());
            for (from, to) in self.vanished.ranges() {
                tail.extend_from_slice(&from.to_be_bytes());
                tail.extend_from_slice(&to.to_be_bytes());
            }
        }
        let mut t = Template::new(head);
        if let (Some((_, count)), Some(uid)) = (self.appended, uid) {
            t = t.push(&[1]).slot4(uid, 0).push(&count.to_be_bytes());
        }
        t.push(&tail)
    }

    pub(crate) fn decode(value: &[u8]) -> Option<LogRow> {
        let mut c = Cursor::new(value);
        c.format()?;
        let mut row = LogRow { time: c.time()?, ..LogRow::default() };
        while let Some(tag) = c.u8() {
            match tag {
                1 => row.appended = Some((c.u32()?, c.u32()?)),
                2 => {
                    for _ in 0..c.u32()? {
                        let uid = c.u32()?;
                        row.flags.push((uid, Mark { flags: Flags(c.u8()?), keywords: c.u64()? }));
                    }
                }
                3 => {
                    for _ in 0..c.u32()? {
                        row.vanished.push_range(c.u32()?, c.u32()?);
                    }
                }
                _ => return None,
            }
        }
        Some(row)
    }
}

/// Message row (kind 20), written once with the message:
/// format u8 · thread u64 · blob id 32 · size u64 · place u8 (0: bytes in row 21, 1: in segments) · encoded summary.
pub(crate) struct MessageRow<'a> {
    pub(crate) thread: ThreadId,
    pub(crate) blob: BlobId,
    pub(crate) size: u64,
    pub(crate) inline: bool,
    pub(crate) summary: &'a [u8],
}

/// Where the summary begins in a message row.
pub(crate) const MESSAGE_HEAD: usize = 50;

impl<'a> MessageRow<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MESSAGE_HEAD + self.summary.len());
        out.push(FORMAT);
        out.extend_from_slice(&self.thread.0.to_be_bytes());
        out.extend_from_slice(&self.blob.0);
        out.extend_from_slice(&self.size.to_be_bytes());
        out.push(u8::from(!self.inline));
        out.extend_from_slice(self.summary);
        out
    }

    pub(crate) fn decode(value: &'a [u8]) -> Option<MessageRow<'a>> {
        let mut c = Cursor::new(value);
        c.format()?;
        Some(MessageRow {
            thread: ThreadId(c.u64()?),
            blob: BlobId(c.take(32)?.try_into().ok()?),
            size: c.u64()?,
            inline: match c.u8()? {
                0 => true,
                1 => false,
                _ => return None,
            },
            summary: c.rest(),
        })
    }
}

/// Small bytes (kind 21), written once: format u8 · blob id 32 · size u64 · compressed bytes.
pub(crate) const SMALL_HEAD: usize = 41;

pub(crate) fn encode_small(blob: BlobId, size: u64, compressed: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(SMALL_HEAD + compressed.len());
    out.push(FORMAT);
    out.extend_from_slice(&blob.0);
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(compressed);
    out
}

/// Blob id and size; the compressed bytes begin at [`SMALL_HEAD`].
pub(crate) fn decode_small(value: &[u8]) -> Option<(BlobId, u64)> {
    let mut c = Cursor::new(value);
    c.format()?;
    Some((BlobId(c.take(32)?.try_into().ok()?), c.u64()?))
}

/// Account row (kind 01): version u64 (raised with every change to it or to the tree of folders) · state u8 (1 active,
/// 2 removed) · created i64 · last UIDVALIDITY given u32 · prohibit bytes, warn bytes, messages: u64 each, all ones for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccountRow {
    pub(crate) version: u64,
    pub(crate) removed: bool,
    pub(crate) created: Timestamp,
    pub(crate) uid_validity: u32,
    pub(crate) quota: Quota,
}

impl AccountRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.version.to_be_bytes().to_vec();
        out.push(if self.removed { 2 } else { 1 });
        out.extend_from_slice(&self.created.0.to_be_bytes());
        out.extend_from_slice(&self.uid_validity.to_be_bytes());
        for limit in [self.quota.prohibit_bytes, self.quota.warn_bytes, self.quota.messages] {
            out.extend_from_slice(&limit.unwrap_or(u64::MAX).to_be_bytes());
        }
        out
    }

    pub(crate) fn decode(value: &[u8]) -> Option<AccountRow> {
        let mut c = Cursor::new(value);
        let version = c.u64()?;
        let removed = match c.u8()? {
            1 => false,
            2 => true,
            _ => return None,
        };
        let created = c.time()?;
        let uid_validity = c.u32()?;
        let mut limit = || c.u64().map(|n| Some(n).filter(|n| *n != u64::MAX));
        let quota = Quota { prohibit_bytes: limit()?, warn_bytes: limit()?, messages: limit()? };
        Some(AccountRow { version, removed, created, uid_validity, quota })
    }
}

/// Folder row (kind 10): version u64 (raised with every change) · parent u32 (0 at the top; changes with RENAME) · UIDVALIDITY
/// u32 (set at creation) · role u8 · bits u8 (1 subscribed, 2 selectable) · name u16 + UTF-8 (one level) · access list u16 + bytes,
/// kept free for sharing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FolderRow {
    pub(crate) version: u64,
    pub(crate) parent: FolderId,
    pub(crate) uid_validity: u32,
    pub(crate) role: Option<Role>,
    pub(crate) subscribed: bool,
    pub(crate) selectable: bool,
    pub(crate) name: String,
    pub(crate) access: Vec<u8>,
}

/// By their numbers on disk, from 1: only ever added to.
const ROLES: [Role; 8] = [
    Role::Inbox,
    Role::Drafts,
    Role::Sent,
    Role::Trash,
    Role::Junk,
    Role::Archive,
    Role::Important,
    Role::Outbox,
];

impl FolderRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.version.to_be_bytes().to_vec();
        out.extend_from_slice(&self.parent.0.to_be_bytes());
        out.extend_from_slice(&self.uid_validity.to_be_bytes());
        let role = self.role.and_then(|r| ROLES.iter().position(|x| *x == r)).map_or(0, |i| i as u8 + 1);
        out.push(role);
        out.push(u8::from(self.subscribed) | u8::from(self.selectable) << 1);
        put_text(&mut out, &self.name);
        out.extend_from_slice(&(self.access.len() as u16).to_be_bytes());
        out.extend_from_slice(&self.access);
        out
    }

    pub(crate) fn decode(value: &[u8]) -> Option<FolderRow> {
        let mut c = Cursor::new(value);
        let version = c.u64()?;
        let parent = FolderId(c.u32()?);
        let uid_validity = c.u32()?;
        let role = match c.u8()? {
            0 => None,
            n => Some(*ROLES.get(usize::from(n) - 1)?),
        };
        let bits = c.u8()?;
        let name = c.text()?;
        let len = c.u16()?;
        let access = c.take(usize::from(len))?.to_vec();
        let (subscribed, selectable) = (bits & 1 != 0, bits & 2 != 0);
        Some(FolderRow { version, parent, uid_validity, role, subscribed, selectable, name, access })
    }
}

/// Keyword table (kind 06) and subscribed names (kind 09): version u64 · texts, u16 + UTF-8 each.
pub(crate) fn encode_names(version: u64, names: &[String]) -> Vec<u8> {
    let mut out = version.to_be_bytes().to_vec();
    for name in names {
        put_text(&mut out, name);
    }
    out
}

pub(crate) fn decode_names(value: &[u8]) -> Option<(u64, Vec<String>)> {
    let mut c = Cursor::new(value);
    let version = c.u64()?;
    let mut names = Vec::new();
    while !c.0.is_empty() {
        names.push(c.text()?);
    }
    Some((version, names))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back() {
        let row = Row {
            message: MessageId(77),
            keywords: 5,
            modseq: 9,
            internal: Timestamp(-1),
            saved: Timestamp(3),
            uid: 8,
            size: 1234,
            flags: Flags::SEEN,
        };
        assert_eq!(decode_row(8, &encode_row(&row)), Some(row));
        assert_eq!(encode_row(&row).len(), ROW_LEN);
        let t = new_row(&row, 0, None);
        assert_eq!(t.bytes.len(), ROW_LEN);
        assert_eq!(t.slots[0].at, 18);
        let folder = FolderRow {
            version: 3,
            parent: FolderId(4),
            uid_validity: 5,
            role: Some(Role::Junk),
            subscribed: true,
            selectable: false,
            name: "Übung".into(),
            access: vec![1, 2],
        };
        assert_eq!(FolderRow::decode(&folder.encode()), Some(folder));
        let log = LogRow {
            time: Timestamp(7),
            appended: None,
            flags: vec![(3, Mark { flags: Flags::DRAFT, keywords: 1 << 63 })],
            vanished: UidSet::from_ranges([(1, 4), (9, 9)]),
        };
        assert_eq!(LogRow::decode(&log.encode(None).bytes), Some(log));
    }

    #[test]
    fn short_rows_are_damaged_not_fatal() {
        let folder = FolderRow::decode(&[0; 12]).is_none()
            && AccountRow::decode(&[1; 9]).is_none()
            && decode_row(1, &[1]).is_none();
        assert!(folder && MessageRow::decode(&[1; 20]).is_none() && LogRow::decode(&[1, 0]).is_none());
    }
}
