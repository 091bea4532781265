//! The bytes of a message on their way to the store: trace fields first, then what comes. Memory stays bounded; only
//! a submitted message's header is held back, until it is known what it lacks.

use super::trace;
use crate::limits::HEADER;
use waypost_base::Timestamp;
use waypost_mailbox::{Content, Writer};
use waypost_store::BlobError;

pub(super) struct Intake {
    writer: Writer,
    held: Option<Held>,
    /// Octets as the peer sent them.
    pub(super) octets: u64,
}

/// The header of a submitted message so far.
struct Held {
    header: Vec<u8>,
    completion: Completion,
}

/// What a missing field is made of.
pub(super) struct Completion {
    pub(super) sender: String,
    pub(super) id: String,
    pub(super) host: String,
    pub(super) at: Timestamp,
}

impl Intake {
    pub(super) async fn begin(
        mut writer: Writer,
        trace: &str,
        completion: Option<Completion>,
    ) -> Result<Intake, BlobError> {
        writer.write(trace.as_bytes()).await?;
        let held = completion.map(|completion| Held { header: Vec::new(), completion });
        Ok(Intake { writer, held, octets: 0 })
    }

    pub(super) async fn take(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.octets += bytes.len() as u64;
        let Some(held) = &mut self.held else {
            return self.writer.write(bytes).await;
        };
        let searched = held.header.len().saturating_sub(3);
        held.header.extend_from_slice(bytes);
        let ended = held.header.starts_with(b"\r\n")
            || memchr::memmem::find(held.header.get(searched..).unwrap_or_default(), b"\r\n\r\n").is_some();
        if ended || held.header.len() > HEADER { self.release().await } else { Ok(()) }
    }

    /// Lets the header go on, with what was missing before it.
    async fn release(&mut self) -> Result<(), BlobError> {
        let Some(Held { header, completion }) = self.held.take() else { return Ok(()) };
        // Behind the first blank line no field is meant.
        let end = if header.starts_with(b"\r\n") {
            0
        } else {
            memchr::memmem::find(&header, b"\r\n\r\n").map_or(header.len(), |at| at + 2)
        };
        let present = trace::present(header.get(..end).unwrap_or_default());
        let Completion { sender, id, host, at } = completion;
        let additions = trace::additions(present, &sender, &id, &host, at);
        if !additions.is_empty() {
            self.writer.write(additions.as_bytes()).await?;
        }
        self.writer.write(&header).await
    }

    /// The message is whole. What goes to segments is durable when this returns.
    pub(super) async fn finish(mut self) -> Result<Content, BlobError> {
        self.release().await?;
        self.writer.finish().await
    }
}
