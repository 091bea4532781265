//! What the tracking log says about a message, gathered once. Nothing here is done where nobody listens.

use std::net::IpAddr;
use waypost_mime::{AddressText, Summary};
use waypost_queue::{Envelope, Kind};
use waypost_tracking::Message;

/// Owns what a [`Message`] borrows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) item: u64,
    pub(crate) message_id: String,
    pub(crate) subject: String,
    pub(crate) sender: String,
    pub(crate) return_path: String,
    pub(crate) size: u64,
    pub(crate) originating: bool,
    pub(crate) client_ip: Option<IpAddr>,
}

impl Facts {
    pub(crate) fn of(item: u64, size: u64, envelope: &Envelope) -> Facts {
        let return_path = envelope.from.as_ref().map(ToString::to_string).unwrap_or_default();
        let sender = &envelope.headers_from;
        Facts {
            item,
            message_id: envelope.message_id.clone(),
            subject: envelope.subject.clone(),
            sender: if sender.is_empty() { return_path.clone() } else { sender.clone() },
            return_path,
            size,
            originating: envelope.owner.is_some() || envelope.kind == Kind::Report,
            client_ip: envelope.client.ip,
        }
    }

    pub(crate) fn message(&self) -> Message<'_> {
        Message {
            item: self.item,
            message_id: &self.message_id,
            subject: &self.subject,
            sender: &self.sender,
            return_path: &self.return_path,
            size: self.size,
            originating: self.originating,
            client_ip: self.client_ip,
        }
    }
}

/// The first address of the From field; empty if there is none.
pub(crate) fn headers_from(summary: &Summary) -> String {
    first_address(&summary.from).to_owned()
}

fn first_address(text: &AddressText) -> &str {
    let rest =
        usize::try_from(text.mailbox.start).ok().and_then(|at| text.text.get(at..)).unwrap_or_default();
    let end = rest.find(['>', ',', ';', ':']).unwrap_or(rest.len());
    rest.get(..end).map(str::trim).filter(|a| a.contains('@')).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wrote_it() {
        let from = |header: &str| {
            let message = format!("From: {header}\r\n\r\n");
            headers_from(&waypost_mime::scan(message.as_bytes(), waypost_mime::Limits::stored()))
        };
        assert_eq!(from("\"Doe, J.\" <jd@x.example>, b@c"), "jd@x.example");
        assert_eq!(from("a@b"), "a@b");
        assert_eq!(from("G: a@b;"), "");
        assert_eq!(from("root"), "");
    }
}
