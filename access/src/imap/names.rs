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

/// Whether the log may show the arguments as they were sent: numbers, items and folders, but no secrets and no words that
/// somebody looks for in his mail.
pub(crate) fn arguments_are_harmless(body: &Body) -> bool {
    matches!(
        body,
        Body::Fetch(_)
            | Body::Store(_)
            | Body::Copy { .. }
            | Body::Move { .. }
            | Body::Expunge { .. }
            | Body::List(_)
            | Body::Lsub { .. }
            | Body::Status { .. }
            | Body::Enable(_)
            | Body::Compress(_)
    )
}

/// The command without its tag and name; `UID` stays. Long ones are cut.
pub(crate) fn arguments(command: &[u8]) -> String {
    const SHOWN: usize = 200;
    let text = String::from_utf8_lossy(command.get(..command.len().min(SHOWN)).unwrap_or_default());
    let mut words = text.splitn(3, ' ').skip(1);
    match (words.next(), words.next()) {
        (Some(name), Some(rest)) if name.eq_ignore_ascii_case("UID") => {
            format!("UID {}", rest.split_once(' ').map_or("", |(_, rest)| rest))
        }
        (_, rest) => rest.unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::arguments;

    #[test]
    fn what_the_log_shows() {
        assert_eq!(arguments(b"a FETCH 1:* (FLAGS)"), "1:* (FLAGS)");
        assert_eq!(arguments(b"a uid STORE 1 +FLAGS ()"), "UID 1 +FLAGS ()");
        assert_eq!(arguments(b"a EXPUNGE"), "");
        assert_eq!(arguments(&[b'x'; 5000]), "");
    }
}
