//! LIST, LSUB, STATUS and NAMESPACE.

use super::{CRLF, Responder};
use crate::command::SpecialUse;
use crate::value::FolderName;

/// `mbx-list-flags` (RFC 9051 §7.3.1, RFC 6154).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListAttribute {
    NonExistent,
    NoInferiors,
    NoSelect,
    HasChildren,
    HasNoChildren,
    Marked,
    Unmarked,
    Subscribed,
    Remote,
    Use(SpecialUse),
}

impl ListAttribute {
    pub fn as_str(self) -> &'static str {
        match self {
            ListAttribute::NonExistent => "\\NonExistent",
            ListAttribute::NoInferiors => "\\Noinferiors",
            ListAttribute::NoSelect => "\\Noselect",
            ListAttribute::HasChildren => "\\HasChildren",
            ListAttribute::HasNoChildren => "\\HasNoChildren",
            ListAttribute::Marked => "\\Marked",
            ListAttribute::Unmarked => "\\Unmarked",
            ListAttribute::Subscribed => "\\Subscribed",
            ListAttribute::Remote => "\\Remote",
            ListAttribute::Use(special) => special.as_str(),
        }
    }
}

/// One line of LIST.
#[derive(Clone, Debug)]
pub struct ListEntry<'a> {
    pub attributes: &'a [ListAttribute],
    /// `None`: NIL, a flat name.
    pub delimiter: Option<char>,
    pub name: &'a FolderName,
    /// The name under which the client asked or the folder was known before (RFC 9051 §6.3.9.7).
    pub old_name: Option<&'a FolderName>,
    /// CHILDINFO: children not listed themselves match SUBSCRIBED (RECURSIVEMATCH).
    pub child_subscribed: bool,
}

/// One figure of STATUS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatusValue<'a> {
    Messages(u32),
    Recent(u32),
    UidNext(u32),
    UidValidity(u32),
    Unseen(u32),
    Deleted(u32),
    Size(u64),
    HighestModSeq(u64),
    MailboxId(&'a str),
    /// `None`: NIL, no limit.
    AppendLimit(Option<u64>),
    DeletedStorage(u64),
}

/// One namespace: prefix and delimiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceEntry<'a> {
    pub prefix: &'a FolderName,
    pub delimiter: Option<char>,
}

impl Responder<'_> {
    /// `* LIST (\HasChildren) "/" name`
    pub fn list(&mut self, entry: &ListEntry<'_>) {
        self.list_line(b"* LIST (", entry);
        if entry.child_subscribed || entry.old_name.is_some() {
            self.raw(b" (");
            if entry.child_subscribed {
                self.raw(b"\"CHILDINFO\" (\"SUBSCRIBED\")");
            }
            if let Some(old) = entry.old_name {
                self.raw(if entry.child_subscribed { b" " } else { b"" });
                self.raw(b"\"OLDNAME\" (");
                self.folder(old);
                self.raw(b")");
            }
            self.raw(b")");
        }
        self.raw(CRLF);
    }

    /// `* LSUB (…) "/" name` (RFC 3501 §7.2.3); extended data is left out.
    pub fn lsub(&mut self, entry: &ListEntry<'_>) {
        self.list_line(b"* LSUB (", entry);
        self.raw(CRLF);
    }

    fn list_line(&mut self, start: &[u8], entry: &ListEntry<'_>) {
        self.raw(start);
        for (i, attribute) in entry.attributes.iter().enumerate() {
            self.raw(if i > 0 { b" " } else { b"" });
            self.raw(attribute.as_str().as_bytes());
        }
        self.raw(b") ");
        self.delimiter(entry.delimiter);
        self.raw(b" ");
        self.folder(entry.name);
    }

    fn delimiter(&mut self, delimiter: Option<char>) {
        match delimiter {
            None => self.raw(b"NIL"),
            Some(c) => self.string(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }

    /// `* STATUS name (MESSAGES 231 UIDNEXT 44292)`
    pub fn status(&mut self, folder: &FolderName, values: &[StatusValue<'_>]) {
        self.raw(b"* STATUS ");
        self.folder(folder);
        self.raw(b" (");
        for (i, value) in values.iter().enumerate() {
            self.raw(if i > 0 { b" " } else { b"" });
            self.status_value(value);
        }
        self.raw(b")\r\n");
    }

    fn status_value(&mut self, value: &StatusValue<'_>) {
        let (name, number): (&[u8], u64) = match *value {
            StatusValue::Messages(n) => (b"MESSAGES ", n.into()),
            StatusValue::Recent(n) => (b"RECENT ", n.into()),
            StatusValue::UidNext(n) => (b"UIDNEXT ", n.into()),
            StatusValue::UidValidity(n) => (b"UIDVALIDITY ", n.into()),
            StatusValue::Unseen(n) => (b"UNSEEN ", n.into()),
            StatusValue::Deleted(n) => (b"DELETED ", n.into()),
            StatusValue::Size(n) => (b"SIZE ", n),
            StatusValue::HighestModSeq(n) => (b"HIGHESTMODSEQ ", n),
            StatusValue::DeletedStorage(n) => (b"DELETED-STORAGE ", n),
            StatusValue::AppendLimit(Some(n)) => (b"APPENDLIMIT ", n),
            StatusValue::AppendLimit(None) => return self.raw(b"APPENDLIMIT NIL"),
            StatusValue::MailboxId(id) => {
                self.raw(b"MAILBOXID (");
                self.raw(id.as_bytes());
                return self.raw(b")");
            }
        };
        self.raw(name);
        self.number(number);
    }

    /// `* NAMESPACE personal others shared` (RFC 2342 §5); an empty list is NIL.
    pub fn namespace(
        &mut self,
        personal: &[NamespaceEntry<'_>],
        others: &[NamespaceEntry<'_>],
        shared: &[NamespaceEntry<'_>],
    ) {
        self.raw(b"* NAMESPACE");
        for entries in [personal, others, shared] {
            if entries.is_empty() {
                self.raw(b" NIL");
                continue;
            }
            self.raw(b" (");
            for entry in entries {
                self.raw(b"(");
                let prefix = entry.prefix.to_wire(self.utf8);
                self.string(prefix.as_bytes());
                self.raw(b" ");
                self.delimiter(entry.delimiter);
                self.raw(b")");
            }
            self.raw(b")");
        }
        self.raw(CRLF);
    }
}
