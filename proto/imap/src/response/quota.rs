//! QUOTA, QUOTAROOT and ID.

use super::{CRLF, Responder};
use crate::value::FolderName;

/// One resource of a quota root (RFC 9208 §5): STORAGE counts units of 1024 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource<'a> {
    pub name: &'a str,
    pub usage: u64,
    pub limit: u64,
}

impl Responder<'_> {
    /// `* QUOTA "" (STORAGE 10 512)`
    pub fn quota(&mut self, root: &str, resources: &[Resource<'_>]) {
        self.raw(b"* QUOTA ");
        self.string(root.as_bytes());
        self.raw(b" (");
        for (i, resource) in resources.iter().enumerate() {
            self.raw(if i > 0 { b" " } else { b"" });
            self.raw(resource.name.as_bytes());
            self.raw(b" ");
            self.number(resource.usage);
            self.raw(b" ");
            self.number(resource.limit);
        }
        self.raw(b")\r\n");
    }

    /// `* QUOTAROOT INBOX ""`
    pub fn quota_root(&mut self, folder: &FolderName, roots: &[&str]) {
        self.raw(b"* QUOTAROOT ");
        self.folder(folder);
        for root in roots {
            self.raw(b" ");
            self.string(root.as_bytes());
        }
        self.raw(CRLF);
    }

    /// `* ID ("name" "Waypost")`, or NIL without fields (RFC 2971 §3.2).
    pub fn id(&mut self, fields: &[(&str, Option<&str>)]) {
        self.raw(b"* ID ");
        if fields.is_empty() {
            return self.raw(b"NIL\r\n");
        }
        for (i, (name, value)) in fields.iter().enumerate() {
            self.raw(if i > 0 { b" " } else { b"(" });
            self.string(name.as_bytes());
            self.raw(b" ");
            self.nstring(value.map(str::as_bytes));
        }
        self.raw(b")\r\n");
    }
}
