//! Pipeline tracing: copies of the messages of one sender at each stage of their way, for a limited time (Exchange:
//! PipelineTracingEnabled).
//!
//! This room opens no files: it hands each copy to a [`PipelineTrace`]. Copies hold the mail of people; whoever keeps
//! them keeps them from everybody but the administrators.

use crate::hub::Hub;
use std::fmt::Write;
use waypost_base::Timestamp;
use waypost_directory::Address;
use waypost_queue::Envelope;
use waypost_smtp::Mailbox;
use waypost_store::{Blob, BlobReader, Blobs};

/// Whose messages are copied. One sender at a time, as in Exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracing {
    /// The envelope's sender; `None` is the null sender, for reports.
    pub sender: Option<Address>,
    /// Copies end by themselves.
    pub until: Timestamp,
}

impl Tracing {
    /// Whether a message of this sender is copied now.
    pub fn wants(&self, from: Option<&Mailbox>, now: Timestamp) -> bool {
        if now >= self.until {
            return false;
        }
        match (&self.sender, from) {
            (None, None) => true,
            (Some(wanted), Some(from)) => Address::parse(&from.to_string()).is_ok_and(|a| a == *wanted),
            _ => false,
        }
    }
}

/// Where on its way a message was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// As it came, with what every submitted message gets.
    Received,
    /// As the agents left it.
    Agents,
    /// As it is durable: with Return-Path and Received.
    Queued,
    /// As an account got it.
    Delivered,
    /// As another server took it.
    Sent,
}

impl Stage {
    /// For names of files, in the order of the stages.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Received => "1-received",
            Stage::Agents => "2-agents",
            Stage::Queued => "3-queued",
            Stage::Delivered => "4-delivered",
            Stage::Sent => "5-sent",
        }
    }
}

/// The bytes of a copy, to be read in pieces. As long as it lives, they stay.
pub enum Copied {
    Memory(Vec<u8>),
    Stored(BlobReader),
}

impl Copied {
    pub(crate) fn stored(blobs: &Blobs, blob: &Blob) -> Copied {
        Copied::Stored(blobs.reader(blob.clone(), 0..blob.size))
    }
}

impl std::fmt::Debug for Copied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Copied")
    }
}

/// Keeps copies. Must not wait: it takes the bytes and reads them in a task of its own.
pub trait PipelineTrace: Send + Sync {
    /// `name` tells the message from others and stays the same at all stages. `envelope` is text for people.
    fn copy(&self, stage: Stage, name: &str, envelope: String, bytes: Copied);
}

/// What a message's copies are called.
pub fn name(item: u64) -> String {
    format!("{item}")
}

/// Copies a queue item's message, where its sender is traced.
pub(crate) fn copied<'a>(
    hub: &Hub,
    stage: Stage,
    item: u64,
    envelope: &Envelope,
    blob: &Blob,
    to: impl Iterator<Item = &'a Mailbox>,
) {
    let Some(tracing) = &hub.tracing else { return };
    let (settings, now) = (hub.settings(), hub.clock.now());
    if settings.tracing.as_ref().is_some_and(|wanted| wanted.wants(envelope.from.as_ref(), now)) {
        let text = self::envelope(now, envelope.from.as_ref(), to, "");
        tracing.copy(stage, &name(item), text, Copied::stored(hub.mailboxes.store().blobs(), blob));
    }
}

/// The envelope as the copy's companion shows it.
pub(crate) fn envelope<'a>(
    now: Timestamp,
    from: Option<&Mailbox>,
    to: impl Iterator<Item = &'a Mailbox>,
    notes: &str,
) -> String {
    let mut out = format!("Time: {now}\r\n");
    let _ = match from {
        Some(from) => write!(out, "X-Sender: {from}\r\n"),
        None => write!(out, "X-Sender: <>\r\n"),
    };
    for to in to {
        let _ = write!(out, "X-Receiver: {to}\r\n");
    }
    out.push_str(notes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sender_for_a_time() {
        let tracing = Tracing { sender: Address::parse("ann@contoso.test").ok(), until: Timestamp(10) };
        let ann = Mailbox::new("Ann", "contoso.TEST");
        assert!(tracing.wants(Some(&ann), Timestamp(9)));
        assert!(!tracing.wants(Some(&ann), Timestamp(10)));
        assert!(!tracing.wants(None, Timestamp(9)));
        assert!(Tracing { sender: None, ..tracing }.wants(None, Timestamp(9)));
    }
}
