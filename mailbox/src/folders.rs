//! The tree of folders: names, roles, subscriptions (RFC 9051 §6.3.4–§6.3.8, RFC 6154, RFC 8474).

use crate::account::Account;
use crate::error::{AccountError, FolderError};
use std::collections::BTreeMap;
use std::sync::Arc;
use waypost_base::FolderId;

/// What a folder is for (RFC 6154, RFC 8457). At most one folder of an account has each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    Inbox,
    Drafts,
    Sent,
    Trash,
    Junk,
    Archive,
    /// \Flagged, \All and \Important are views in most servers; we let a client set \Important alone.
    Important,
}

impl Role {
    /// The attribute that LIST shows; INBOX has none.
    pub const fn attribute(self) -> Option<&'static str> {
        match self {
            Role::Inbox => None,
            Role::Drafts => Some("\\Drafts"),
            Role::Sent => Some("\\Sent"),
            Role::Trash => Some("\\Trash"),
            Role::Junk => Some("\\Junk"),
            Role::Archive => Some("\\Archive"),
            Role::Important => Some("\\Important"),
        }
    }

    /// From an attribute, without case.
    pub fn from_attribute(name: &str) -> Option<Role> {
        [Role::Drafts, Role::Sent, Role::Trash, Role::Junk, Role::Archive, Role::Important]
            .into_iter()
            .find(|r| r.attribute().is_some_and(|a| a.eq_ignore_ascii_case(name)))
    }
}

/// A folder as it is in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    pub id: FolderId,
    /// Levels joined by '/'; the inbox is `INBOX`.
    pub path: String,
    pub uid_validity: u32,
    pub role: Option<Role>,
    pub subscribed: bool,
    /// False for a name that only holds others (`\Noselect`): the folder was deleted while it had inferiors.
    pub selectable: bool,
    pub has_children: bool,
}

impl Folder {
    /// MAILBOXID (RFC 8474): stays through renames, never reused.
    pub fn object_id(&self) -> String {
        format!("F{}", self.id.0)
    }
}

/// The folders of an account as of one moment.
#[derive(Clone, Debug, Default)]
pub struct FolderTree {
    pub(crate) by_path: BTreeMap<String, Arc<Folder>>,
    pub(crate) by_id: BTreeMap<FolderId, Arc<Folder>>,
    /// Subscribed names that are no folders (any more); RFC 9051 §6.3.7 keeps them.
    pub(crate) subscribed_only: Vec<String>,
}

impl FolderTree {
    /// By path; INBOX in any case.
    pub fn find(&self, path: &str) -> Option<&Arc<Folder>> {
        let _ = path;
        todo!()
    }

    pub fn by_id(&self, id: FolderId) -> Option<&Arc<Folder>> {
        self.by_id.get(&id)
    }

    pub fn with_role(&self, role: Role) -> Option<&Arc<Folder>> {
        self.by_id.values().find(|f| f.role == Some(role))
    }

    /// All folders by path, parents before children.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Folder>> {
        self.by_path.values()
    }

    pub fn len(&self) -> usize {
        self.by_path.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }

    /// Subscribed names, with or without a folder, sorted.
    pub fn subscribed_only(&self) -> &[String] {
        &self.subscribed_only
    }
}

impl Account {
    /// The tree as it is now; from memory.
    pub fn folders(&self) -> Arc<FolderTree> {
        todo!()
    }

    /// Returns when the tree is no longer `seen`.
    pub async fn folders_changed(&self, seen: &Arc<FolderTree>) {
        let _ = seen;
        todo!()
    }

    /// The inbox.
    pub fn inbox(&self) -> FolderId {
        todo!()
    }

    /// Makes a folder, and the levels above that are missing. A trailing '/' is ignored.
    pub async fn create_folder(&self, path: &str, role: Option<Role>) -> Result<Arc<Folder>, FolderError> {
        let _ = (path, role);
        todo!()
    }

    /// Renames with all inferiors. Renaming INBOX moves its messages to a new folder and leaves it empty, inferiors stay
    /// (RFC 9051 §6.3.6).
    pub async fn rename_folder(&self, from: &str, to: &str) -> Result<(), FolderError> {
        let _ = (from, to);
        todo!()
    }

    /// Deletes a folder; its messages become recoverable items. With inferiors it stays as a name that cannot be selected.
    pub async fn delete_folder(&self, path: &str) -> Result<(), FolderError> {
        let _ = path;
        todo!()
    }

    /// Subscribes a name or takes the subscription away. The name need not exist.
    pub async fn subscribe(&self, path: &str, subscribed: bool) -> Result<(), FolderError> {
        let _ = (path, subscribed);
        todo!()
    }

    /// Gives a folder a role or takes it away.
    pub async fn set_role(&self, folder: FolderId, role: Option<Role>) -> Result<(), FolderError> {
        let _ = (folder, role);
        todo!()
    }

    /// The folder with this object id.
    pub fn folder(&self, id: FolderId) -> Result<Arc<Folder>, AccountError> {
        let _ = id;
        todo!()
    }
}
