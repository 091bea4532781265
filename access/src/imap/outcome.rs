//! How a command ends: done, refused, or with the end of the session. Errors of the rooms below become response codes
//! here and nowhere else, so that a failure of ours is never told as one of the client's.

use std::borrow::Cow;
use std::io;
use waypost_imap::response::Code;
use waypost_mailbox::{AccountError, DeliverError, Fault, FaultKind, FolderError, SearchError};
use waypost_store::{BlobError, CommitError};

/// A command that was carried out.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub code: DoneCode,
    pub text: Cow<'static, str>,
}

/// Response codes of success, with what they hold.
#[derive(Debug, Default)]
pub(crate) enum DoneCode {
    #[default]
    None,
    Plain(Code<'static>),
    AppendUid(u32, Vec<(u32, u32)>),
    CopyUid(u32, Vec<(u32, u32)>, Vec<(u32, u32)>),
    MailboxId(String),
    Modified(Vec<(u32, u32)>),
    Capability(String),
}

impl DoneCode {
    pub fn code(&self) -> Option<Code<'_>> {
        Some(match self {
            DoneCode::None => return None,
            DoneCode::Plain(code) => code.clone(),
            DoneCode::AppendUid(uid_validity, uids) => Code::AppendUid { uid_validity: *uid_validity, uids },
            DoneCode::CopyUid(uid_validity, from, to) => {
                Code::CopyUid { uid_validity: *uid_validity, from, to }
            }
            DoneCode::MailboxId(id) => Code::MailboxId(id),
            DoneCode::Modified(set) => Code::Modified(set),
            DoneCode::Capability(names) => Code::Capability(names),
        })
    }
}

impl Done {
    pub fn text(text: impl Into<Cow<'static, str>>) -> Done {
        Done { code: DoneCode::None, text: text.into() }
    }

    pub fn plain(code: Code<'static>, text: &'static str) -> Done {
        Done { code: DoneCode::Plain(code), text: text.into() }
    }

    pub fn with(code: DoneCode, text: &'static str) -> Done {
        Done { code, text: text.into() }
    }
}

/// A command that was not carried out, or a session that ends.
#[derive(Debug)]
pub(crate) enum Fail {
    /// The command was right, but cannot be done. `ours` holds what the log should know when the fault is ours.
    No {
        code: Option<Code<'static>>,
        text: Cow<'static, str>,
        ours: Option<String>,
    },
    /// The command was wrong.
    Bad(Cow<'static, str>),
    End(End),
}

/// Why a session ends.
#[derive(Debug)]
pub(crate) enum End {
    /// The client closed the connection or it broke.
    Gone(io::ErrorKind),
    /// LOGOUT; everything has been said.
    Logout,
    /// It goes on at another server: see [`super::session::Session::handed`].
    HandedOver,
    /// We end it, with this line.
    Bye(Cow<'static, str>),
}

impl Fail {
    pub fn no(code: Code<'static>, text: impl Into<Cow<'static, str>>) -> Fail {
        Fail::No { code: Some(code), text: text.into(), ours: None }
    }

    pub fn bad(text: impl Into<Cow<'static, str>>) -> Fail {
        Fail::Bad(text.into())
    }

    /// A failure of ours. The client learns that it may try again; the log learns why.
    pub fn unavailable(why: impl ToString) -> Fail {
        Fail::No {
            code: Some(Code::Unavailable),
            text: "Temporary failure of the server, try again later".into(),
            ours: Some(why.to_string()),
        }
    }

    /// A failure of ours that will not pass by itself.
    fn damaged(code: Code<'static>, text: &'static str, why: impl ToString) -> Fail {
        Fail::No { code: Some(code), text: text.into(), ours: Some(why.to_string()) }
    }
}

impl From<io::Error> for Fail {
    fn from(e: io::Error) -> Fail {
        Fail::End(End::from(e))
    }
}

impl From<io::Error> for End {
    fn from(e: io::Error) -> End {
        End::Gone(e.kind())
    }
}

impl From<End> for Fail {
    fn from(end: End) -> Fail {
        Fail::End(end)
    }
}

impl From<AccountError> for Fail {
    fn from(e: AccountError) -> Fail {
        match &e {
            AccountError::NoFolder(_) => Fail::no(Code::NonExistent, "The folder is gone"),
            AccountError::KeywordsFull(n) => {
                Fail::no(Code::Limit, format!("The account has {n} keywords already, no more fit"))
            }
            AccountError::BadKeyword(name) => Fail::no(Code::Cannot, format!("{name:?} cannot be a keyword")),
            AccountError::NoAccount(_) => Fail::no(Code::ContactAdmin, "The account has been removed"),
            AccountError::Damaged(_) => {
                Fail::damaged(Code::Corruption, "Damaged data, please tell your administrator", &e)
            }
            _ => Fail::unavailable(e),
        }
    }
}

impl From<DeliverError> for Fail {
    fn from(e: DeliverError) -> Fail {
        match e {
            DeliverError::OverQuota => Fail::no(Code::OverQuota, "The account is over its quota"),
            DeliverError::NoFolder(_) => Fail::no(Code::TryCreate, "No such folder"),
            e if e.disk_full() => {
                Fail::damaged(Code::Unavailable, "The server's disk is full, try later", &e)
            }
            DeliverError::Account(e) => e.into(),
            e => Fail::unavailable(e),
        }
    }
}

impl From<BlobError> for Fail {
    fn from(e: BlobError) -> Fail {
        DeliverError::from(e).into()
    }
}

impl From<CommitError> for Fail {
    fn from(e: CommitError) -> Fail {
        AccountError::from(e).into()
    }
}

impl From<FolderError> for Fail {
    fn from(e: FolderError) -> Fail {
        match e {
            FolderError::Exists => Fail::no(Code::AlreadyExists, "The folder exists already"),
            FolderError::NotFound => Fail::no(Code::NonExistent, "No such folder"),
            FolderError::BadName(why) => Fail::no(Code::Cannot, format!("The name cannot be used: {why}")),
            FolderError::TooMany => Fail::no(Code::Limit, "The account has too many folders"),
            FolderError::Forbidden(why) => Fail::no(Code::Cannot, format!("Not possible: {why}")),
            FolderError::HasChildren => {
                Fail::no(Code::HasChildren, "The name holds other folders, delete those first")
            }
            FolderError::RoleTaken => Fail::no(Code::UseAttr, "Another folder has this special use"),
            FolderError::Account(e) => e.into(),
            e => Fail::unavailable(e),
        }
    }
}

impl From<Fault> for Fail {
    fn from(fault: Fault) -> Fail {
        match fault.kind {
            FaultKind::Gone => Fail::no(Code::ExpungeIssued, "The message has been expunged"),
            FaultKind::Damaged(_) => Fail::damaged(
                Code::Corruption,
                "The message is damaged, please tell your administrator",
                fault,
            ),
            _ => Fail::unavailable(fault),
        }
    }
}

impl From<SearchError> for Fail {
    fn from(e: SearchError) -> Fail {
        match e {
            SearchError::Account(e) => e.into(),
            SearchError::Cancelled => Fail::End(End::Gone(io::ErrorKind::ConnectionAborted)),
        }
    }
}

pub(crate) type Outcome = Result<Done, Fail>;
