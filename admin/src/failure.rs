//! Errors as administrators see them: what, about whom, of which category, and the exit code that scripts go by.

use serde::{Deserialize, Serialize};
use std::fmt;
use waypost_directory::ChangeError;
use waypost_mailbox::{AccountError, DeliverError, Fault, FaultKind, FolderError};
use waypost_queue::QueueError;

/// What kind of error, by PowerShell's names as far as it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Category {
    /// The command line is wrong.
    SyntaxError,
    /// A value cannot be used.
    InvalidArgument,
    ObjectNotFound,
    ResourceExists,
    /// Something is in use or in a state that forbids it.
    InvalidOperation,
    PermissionDenied,
    /// The server is not running, or the store cannot be reached. Retry later.
    ResourceUnavailable,
    /// A quota or limit.
    LimitsExceeded,
    ReadError,
    WriteError,
    /// Some of it was done.
    OperationIncomplete,
}

/// The exit code of the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Exit(pub u8);

impl Exit {
    pub const OK: Exit = Exit(0);
    pub const FAILED: Exit = Exit(1);
    pub const USAGE: Exit = Exit(2);
    pub const NOT_FOUND: Exit = Exit(3);
    pub const UNAVAILABLE: Exit = Exit(4);
    pub const PARTLY: Exit = Exit(5);
}

impl Category {
    pub const fn exit(self) -> Exit {
        match self {
            Category::SyntaxError => Exit::USAGE,
            Category::ObjectNotFound => Exit::NOT_FOUND,
            Category::ResourceUnavailable => Exit::UNAVAILABLE,
            Category::OperationIncomplete => Exit::PARTLY,
            _ => Exit::FAILED,
        }
    }
}

/// An error record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    pub category: Category,
    pub message: String,
    /// What it is about: an identity, a path, a parameter.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// Filled in by whoever runs the command.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub command: String,
    /// Cause, evidence and remedy, where they are known: as `waypost_base::explain::Finding` is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<Box<serde_json::Value>>,
}

pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub fn new(category: Category, target: impl ToString, message: impl ToString) -> Failure {
        Failure {
            category,
            message: message.to_string(),
            target: target.to_string(),
            command: String::new(),
            finding: None,
        }
    }

    pub fn usage(target: impl ToString, message: impl ToString) -> Failure {
        Failure::new(Category::SyntaxError, target, message)
    }

    pub fn not_found(what: &str, name: impl ToString) -> Failure {
        let name = name.to_string();
        let message = format!("The {what} {name:?} couldn't be found.");
        Failure::new(Category::ObjectNotFound, name, message)
    }

    pub fn invalid(target: impl ToString, message: impl ToString) -> Failure {
        Failure::new(Category::InvalidArgument, target, message)
    }

    pub fn exit(&self) -> Exit {
        self.category.exit()
    }
}

/// The message, then category, target and command as PowerShell's error view has them.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.message)?;
        write!(f, "    + CategoryInfo : {:?}: ({}) [{}]", self.category, self.target, self.command)
    }
}

impl std::error::Error for Failure {}

impl From<ChangeError> for Failure {
    fn from(e: ChangeError) -> Failure {
        let (category, target) = match &e {
            ChangeError::NotFound { name, .. } => (Category::ObjectNotFound, name.clone()),
            ChangeError::Exists { name, .. } => (Category::ResourceExists, name.clone()),
            ChangeError::Invalid { field, .. } => (Category::InvalidArgument, (*field).to_owned()),
            ChangeError::InUse { what, .. } => (Category::InvalidOperation, what.clone()),
            e if e.retry() => (Category::ResourceUnavailable, "directory".into()),
            _ => (Category::WriteError, "directory".into()),
        };
        Failure::new(category, target, e)
    }
}

impl From<AccountError> for Failure {
    fn from(e: AccountError) -> Failure {
        let category = match &e {
            AccountError::NoAccount(_) | AccountError::NoFolder(_) => Category::ObjectNotFound,
            AccountError::Exists(_) => Category::ResourceExists,
            e if e.retry() => Category::ResourceUnavailable,
            _ => Category::ReadError,
        };
        Failure::new(category, "mailbox", e)
    }
}

impl From<DeliverError> for Failure {
    fn from(e: DeliverError) -> Failure {
        let category = match &e {
            DeliverError::OverQuota => Category::LimitsExceeded,
            DeliverError::NoFolder(_) => Category::ObjectNotFound,
            e if e.retry() => Category::ResourceUnavailable,
            _ => Category::WriteError,
        };
        Failure::new(category, "mailbox", e)
    }
}

impl From<QueueError> for Failure {
    fn from(e: QueueError) -> Failure {
        let (category, target) = match &e {
            QueueError::NoMessage(item) => (Category::ObjectNotFound, item.to_string()),
            QueueError::NoQueue(name) => (Category::ObjectNotFound, name.clone()),
            QueueError::Busy(item) => (Category::InvalidOperation, item.to_string()),
            QueueError::Damaged { item, .. } => (Category::ReadError, item.to_string()),
            QueueError::Read(_) | QueueError::Blob(_) => (Category::ReadError, "queue".to_owned()),
            _ => (Category::WriteError, "queue".to_owned()),
        };
        Failure::new(category, target, e)
    }
}

impl From<FolderError> for Failure {
    fn from(e: FolderError) -> Failure {
        let category = match &e {
            FolderError::Exists => Category::ResourceExists,
            FolderError::NotFound => Category::ObjectNotFound,
            FolderError::BadName(_) => Category::InvalidArgument,
            FolderError::Account(a) if a.retry() => Category::ResourceUnavailable,
            _ => Category::InvalidOperation,
        };
        Failure::new(category, "folder", e)
    }
}

impl From<Fault> for Failure {
    fn from(e: Fault) -> Failure {
        let category = match &e.kind {
            FaultKind::Gone => Category::ObjectNotFound,
            FaultKind::Unavailable(_) => Category::ResourceUnavailable,
            _ => Category::ReadError,
        };
        Failure::new(category, e.message, &e)
    }
}
