//! Object ids of messages and threads as the client sees them (RFC 8474 §4): a letter and a number, unique in the account.

use waypost_base::{MessageId, ThreadId};

pub(crate) fn message(id: MessageId) -> String {
    format!("M{}", id.0)
}

pub(crate) fn thread(id: ThreadId) -> String {
    format!("T{}", id.0)
}

pub(crate) fn parse_message(text: &str) -> Option<MessageId> {
    text.strip_prefix('M')?.parse().ok().map(MessageId)
}

pub(crate) fn parse_thread(text: &str) -> Option<ThreadId> {
    text.strip_prefix('T')?.parse().ok().map(ThreadId)
}
