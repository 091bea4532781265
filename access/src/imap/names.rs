//! Facts of commands that do not depend on a session.

use waypost_imap::command::Body;

/// The command's name in capitals, as logs and counters have it.
pub(crate) fn name(body: &Body) -> &'static str {
    match body {
        Body::Capability => "CAPABILITY",
        Body::Noop => "NOOP",
        Body::Logout => "LOGOUT",
        Body::Id(_) => "ID",
        Body::StartTls => "STARTTLS",
        Body::Authenticate { .. } => "AUTHENTICATE",
        Body::Login { .. } => "LOGIN",
        Body::Enable(_) => "ENABLE",
        Body::Select(s) if s.read_only => "EXAMINE",
        Body::Select(_) => "SELECT",
        Body::Create { .. } => "CREATE",
        Body::Delete(_) => "DELETE",
        Body::Rename { .. } => "RENAME",
        Body::Subscribe(_) => "SUBSCRIBE",
        Body::Unsubscribe(_) => "UNSUBSCRIBE",
        Body::List(_) => "LIST",
        Body::Lsub { .. } => "LSUB",
        Body::Namespace => "NAMESPACE",
        Body::Status { .. } => "STATUS",
        Body::Idle => "IDLE",
        Body::GetQuota(_) => "GETQUOTA",
        Body::GetQuotaRoot(_) => "GETQUOTAROOT",
        Body::SetQuota { .. } => "SETQUOTA",
        Body::Compress(_) => "COMPRESS",
        Body::Check => "CHECK",
        Body::Close => "CLOSE",
        Body::Unselect => "UNSELECT",
        Body::Expunge { .. } => "EXPUNGE",
        Body::Search(_) => "SEARCH",
        Body::Sort(_) => "SORT",
        Body::Thread(_) => "THREAD",
        Body::Fetch(_) => "FETCH",
        Body::Store(_) => "STORE",
        Body::Copy { .. } => "COPY",
        Body::Move { .. } => "MOVE",
    }
}

/// Whether sequence numbers may change while this command is answered (RFC 9051 §7.5.1): not where the client may have
/// sent further commands with message numbers already.
pub(crate) fn expunges_allowed(body: &Body) -> bool {
    match body {
        Body::Fetch(f) => f.uid,
        Body::Store(s) => s.uid,
        Body::Search(s) => s.uid,
        Body::Sort(s) => s.uid,
        Body::Thread(t) => t.uid,
        _ => true,
    }
}
