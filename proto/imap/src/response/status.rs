//! OK, NO, BAD, PREAUTH and BYE with their response codes.

use super::{CRLF, Responder, text};
use crate::value::Flag;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok,
    No,
    Bad,
    /// Untagged only.
    PreAuth,
    /// Untagged only.
    Bye,
}

/// What a program can read in the answer (RFC 9051 §7.1, RFC 5530 and others, as named).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code<'a> {
    Alert,
    AlreadyExists,
    /// RFC 4315 §3; the UIDs in the order of the messages.
    AppendUid {
        uid_validity: u32,
        uids: &'a [(u32, u32)],
    },
    AuthenticationFailed,
    AuthorizationFailed,
    /// Charsets that would do.
    BadCharset(&'a [&'a str]),
    Cannot,
    /// Names joined by spaces.
    Capability(&'a str),
    ClientBug,
    Closed,
    /// RFC 4978
    CompressionActive,
    ContactAdmin,
    /// RFC 4315 §3; both sets pair up in order.
    CopyUid {
        uid_validity: u32,
        from: &'a [(u32, u32)],
        to: &'a [(u32, u32)],
    },
    Corruption,
    Expired,
    ExpungeIssued,
    HasChildren,
    HighestModSeq(u64),
    InUse,
    Limit,
    /// RFC 8474: as it goes between the parentheses.
    MailboxId(&'a str),
    /// RFC 7162: message numbers or UIDs that STORE did not change.
    Modified(&'a [(u32, u32)]),
    NoModSeq,
    NonExistent,
    NoPerm,
    NotSaved,
    OverQuota,
    Parse,
    /// `any`: new keywords can be made, `\*`.
    PermanentFlags {
        flags: &'a [Flag],
        any: bool,
    },
    PrivacyRequired,
    ReadOnly,
    ReadWrite,
    ServerBug,
    /// RFC 7889: the largest message, in bytes, goes with APPENDLIMIT, not here.
    TooBig,
    TryCreate,
    UidNext(u32),
    UidNotSticky,
    UidValidity(u32),
    Unavailable,
    UnknownCte,
    /// The first unseen message's number (rev1).
    Unseen(u32),
    /// RFC 6154 §3
    UseAttr,
}

pub(crate) fn write(to: &mut Responder<'_>, status: Status, code: Option<&Code<'_>>, line: &str) {
    to.raw(match status {
        Status::Ok => b"OK ",
        Status::No => b"NO ",
        Status::Bad => b"BAD ",
        Status::PreAuth => b"PREAUTH ",
        Status::Bye => b"BYE ",
    });
    if let Some(code) = code {
        to.raw(b"[");
        write_code(to, code);
        to.raw(b"] ");
    }
    text::plain(to.out, if line.is_empty() { "Done" } else { line });
    to.raw(CRLF);
}

fn write_code(to: &mut Responder<'_>, code: &Code<'_>) {
    to.raw(name(code).as_bytes());
    match *code {
        Code::AppendUid { uid_validity, uids } => {
            to.raw(b" ");
            to.number(u64::from(uid_validity));
            to.raw(b" ");
            text::number_set(to.out, uids);
        }
        Code::CopyUid { uid_validity, from, to: copies } => {
            to.raw(b" ");
            to.number(u64::from(uid_validity));
            to.raw(b" ");
            text::number_set(to.out, from);
            to.raw(b" ");
            text::number_set(to.out, copies);
        }
        Code::BadCharset(charsets) => {
            for (i, charset) in charsets.iter().enumerate() {
                to.raw(if i == 0 { b" (" } else { b" " });
                to.astring(charset.as_bytes());
            }
            if !charsets.is_empty() {
                to.raw(b")");
            }
        }
        Code::Capability(names) => {
            to.raw(b" ");
            to.raw(names.as_bytes());
        }
        Code::HighestModSeq(n) => {
            to.raw(b" ");
            to.number(n);
        }
        Code::MailboxId(id) => {
            to.raw(b" (");
            to.raw(id.as_bytes());
            to.raw(b")");
        }
        Code::Modified(set) => {
            to.raw(b" ");
            text::number_set(to.out, set);
        }
        Code::PermanentFlags { flags, any } => {
            to.raw(b" ");
            text::flag_list(to.out, flags, any);
        }
        Code::UidNext(n) | Code::UidValidity(n) | Code::Unseen(n) => {
            to.raw(b" ");
            to.number(u64::from(n));
        }
        _ => {}
    }
}

fn name(code: &Code<'_>) -> &'static str {
    match code {
        Code::Alert => "ALERT",
        Code::AlreadyExists => "ALREADYEXISTS",
        Code::AppendUid { .. } => "APPENDUID",
        Code::AuthenticationFailed => "AUTHENTICATIONFAILED",
        Code::AuthorizationFailed => "AUTHORIZATIONFAILED",
        Code::BadCharset(_) => "BADCHARSET",
        Code::Cannot => "CANNOT",
        Code::Capability(_) => "CAPABILITY",
        Code::ClientBug => "CLIENTBUG",
        Code::Closed => "CLOSED",
        Code::CompressionActive => "COMPRESSIONACTIVE",
        Code::ContactAdmin => "CONTACTADMIN",
        Code::CopyUid { .. } => "COPYUID",
        Code::Corruption => "CORRUPTION",
        Code::Expired => "EXPIRED",
        Code::ExpungeIssued => "EXPUNGEISSUED",
        Code::HasChildren => "HASCHILDREN",
        Code::HighestModSeq(_) => "HIGHESTMODSEQ",
        Code::InUse => "INUSE",
        Code::Limit => "LIMIT",
        Code::MailboxId(_) => "MAILBOXID",
        Code::Modified(_) => "MODIFIED",
        Code::NoModSeq => "NOMODSEQ",
        Code::NonExistent => "NONEXISTENT",
        Code::NoPerm => "NOPERM",
        Code::NotSaved => "NOTSAVED",
        Code::OverQuota => "OVERQUOTA",
        Code::Parse => "PARSE",
        Code::PermanentFlags { .. } => "PERMANENTFLAGS",
        Code::PrivacyRequired => "PRIVACYREQUIRED",
        Code::ReadOnly => "READ-ONLY",
        Code::ReadWrite => "READ-WRITE",
        Code::ServerBug => "SERVERBUG",
        Code::TooBig => "TOOBIG",
        Code::TryCreate => "TRYCREATE",
        Code::UidNext(_) => "UIDNEXT",
        Code::UidNotSticky => "UIDNOTSTICKY",
        Code::UidValidity(_) => "UIDVALIDITY",
        Code::Unavailable => "UNAVAILABLE",
        Code::UnknownCte => "UNKNOWN-CTE",
        Code::Unseen(_) => "UNSEEN",
        Code::UseAttr => "USEATTR",
    }
}
