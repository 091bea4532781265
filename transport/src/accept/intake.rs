//! The bytes of a message on their way in. Memory stays bounded.
//!
//! Two ways: straight to the store, trace fields first (only a submitted message's header is held back, until it is known
//! what it lacks and whom it says it is from); or into a draft, where an agent wants the message.

use super::authorship::Author;
use super::trace;
use crate::draft::{Draft, Drafting};
use crate::limits::HEADER;
use std::borrow::Cow;
use waypost_base::Timestamp;
use waypost_mailbox::{Content, Writer};
use waypost_smtp::{Reply, Status};
use waypost_store::BlobError;

pub(super) const HEADER_TOO_LARGE: Reply =
    Reply::new(552, Status(5, 3, 4), "Header size exceeds fixed maximum size");

pub(super) struct Intake {
    way: Way,
    held: Option<Held>,
    /// Octets as the peer sent them.
    pub(super) octets: u64,
    /// It will not be taken; what still comes is thrown away.
    refused: Option<Reply>,
    /// Submitted text gets the line ends that it should have.
    ends: Option<LineEnds>,
}

#[expect(
    clippy::large_enum_variant,
    reason = "the common way is the large one, and the message is boxed already"
)]
enum Way {
    Store(Writer),
    /// The trace fields, and the message so far.
    Draft(String, Box<Drafting>),
}

/// The header of a submitted message so far. In a draft, only what is to be done with it.
struct Held {
    header: Vec<u8>,
    completion: Completion,
}

/// What a missing field is made of, and who writes.
pub(super) struct Completion {
    pub(super) sender: String,
    pub(super) id: String,
    pub(super) host: String,
    pub(super) at: Timestamp,
    pub(super) author: Author,
}

/// What has come.
pub(super) enum Taken {
    Content(Content),
    /// For the agents; the text is the trace fields, which go before it at the end.
    Draft(String, Box<Draft>),
    Refused(Reply),
}

impl Intake {
    pub(super) async fn store(
        mut writer: Writer,
        trace: &str,
        completion: Option<Completion>,
        text: bool,
    ) -> Result<Intake, BlobError> {
        writer.write(trace.as_bytes()).await?;
        Ok(Intake::new(Way::Store(writer), completion, text))
    }

    pub(super) fn draft(
        drafting: Drafting,
        trace: String,
        completion: Option<Completion>,
        text: bool,
    ) -> Intake {
        Intake::new(Way::Draft(trace, Box::new(drafting)), completion, text)
    }

    fn new(way: Way, completion: Option<Completion>, text: bool) -> Intake {
        let ends = (text && completion.is_some()).then(LineEnds::default);
        let held = completion.map(|completion| Held { header: Vec::new(), completion });
        Intake { way, held, octets: 0, refused: None, ends }
    }

    pub(super) async fn take(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.octets += bytes.len() as u64;
        if self.refused.is_some() {
            return Ok(());
        }
        match &mut self.ends {
            Some(ends) => {
                let bytes = ends.mend(bytes);
                self.mended(&bytes).await
            }
            None => self.mended(bytes).await,
        }
    }

    async fn mended(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        let writer = match (&mut self.way, &self.held) {
            (Way::Store(writer), None) => writer,
            (Way::Store(_), Some(_)) => return self.hold(bytes).await,
            (Way::Draft(_, drafting), _) => {
                if drafting.header_size() > HEADER {
                    self.refused = Some(HEADER_TOO_LARGE);
                    return Ok(());
                }
                return drafting.take(bytes).await;
            }
        };
        writer.write(bytes).await
    }

    async fn hold(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        let Some(held) = &mut self.held else { return Ok(()) };
        let searched = held.header.len().saturating_sub(3);
        held.header.extend_from_slice(bytes);
        let ended = held.header.starts_with(b"\r\n")
            || memchr::memmem::find(held.header.get(searched..).unwrap_or_default(), b"\r\n\r\n").is_some();
        if ended {
            self.release().await
        } else if held.header.len() > HEADER {
            if !trace::present(&held.header).header {
                return self.release().await;
            }
            self.refused = Some(HEADER_TOO_LARGE);
            Ok(())
        } else {
            Ok(())
        }
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
        let fields = header.get(..end).unwrap_or_default();
        let present = trace::present(fields);
        if end > HEADER && present.header {
            self.refused = Some(HEADER_TOO_LARGE);
            return Ok(());
        }
        let shown = if present.header { fields } else { &[] };
        let behalf = match completion.author.check(shown) {
            Ok(behalf) => behalf,
            Err(reply) => {
                self.refused = Some(reply);
                return Ok(());
            }
        };
        let Completion { sender, id, host, at, .. } = completion;
        let additions = trace::additions(present, behalf.as_deref(), &sender, &id, &host, at);
        let Way::Store(writer) = &mut self.way else { return Ok(()) };
        if !additions.is_empty() {
            writer.write(additions.as_bytes()).await?;
        }
        writer.write(&header).await
    }

    /// The message is whole. What goes to segments is durable when this returns.
    pub(super) async fn finish(mut self) -> Result<Taken, BlobError> {
        if let Some(rest) = self.ends.as_mut().and_then(LineEnds::end)
            && self.refused.is_none()
        {
            self.mended(rest).await?;
        }
        if matches!(self.way, Way::Store(_)) {
            self.release().await?;
        }
        if let Some(reply) = self.refused {
            return Ok(Taken::Refused(reply));
        }
        match self.way {
            Way::Store(writer) => Ok(Taken::Content(writer.finish().await?)),
            Way::Draft(trace, drafting) => {
                let mut draft = drafting.finish().await?;
                if draft.header().len() > HEADER {
                    return Ok(Taken::Refused(HEADER_TOO_LARGE));
                }
                if let Some(held) = self.held
                    && let Err(reply) = complete(&mut draft, held.completion)
                {
                    return Ok(Taken::Refused(reply));
                }
                Ok(Taken::Draft(trace, Box::new(draft)))
            }
        }
    }
}

/// Adds what a submitted message lacks, and looks whom it says it is from.
fn complete(draft: &mut Draft, completion: Completion) -> Result<(), Reply> {
    let behalf = completion.author.check(draft.header())?;
    let missing = |name: &str| !draft.fields().any(|field| field.is(name));
    let mut add = Vec::new();
    if let Some(sender) = behalf {
        add.push(("Sender", format!("<{sender}>")));
    }
    if missing("from") {
        add.push(("From", format!("<{}>", completion.sender)));
    }
    if missing("date") {
        add.push(("Date", completion.at.civil().rfc5322()));
    }
    if missing("message-id") {
        add.push(("Message-ID", format!("<{}@{}>", completion.id, completion.host)));
    }
    for (name, value) in add.iter().rev() {
        draft.insert(0, name, value);
    }
    Ok(())
}

/// Makes every line end CRLF: bare LF and bare CR would be refused or misread by the next server (RFC 5321 §2.3.8).
#[derive(Debug, Default)]
struct LineEnds {
    /// A CR has come, and it is not known yet what follows.
    pending: bool,
}

impl LineEnds {
    fn mend<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if !self.pending && is_clean(bytes) {
            return Cow::Borrowed(bytes);
        }
        let mut out = Vec::with_capacity(bytes.len() + 16);
        for &byte in bytes {
            match (std::mem::take(&mut self.pending), byte) {
                (true, b'\n') => out.extend_from_slice(b"\r\n"),
                (true, b'\r') => {
                    out.extend_from_slice(b"\r\n");
                    self.pending = true;
                }
                (true, byte) => {
                    out.extend_from_slice(b"\r\n");
                    out.push(byte);
                }
                (false, b'\r') => self.pending = true,
                (false, b'\n') => out.extend_from_slice(b"\r\n"),
                (false, byte) => out.push(byte),
            }
        }
        Cow::Owned(out)
    }

    fn end(&mut self) -> Option<&'static [u8]> {
        std::mem::take(&mut self.pending).then_some(b"\r\n".as_slice())
    }
}

/// Every CR is followed by its LF, and every LF follows its CR.
fn is_clean(bytes: &[u8]) -> bool {
    let mut expected = None;
    for at in memchr::memchr2_iter(b'\r', b'\n', bytes) {
        match (bytes.get(at), expected.take()) {
            (Some(b'\r'), None) => expected = Some(at + 1),
            (Some(b'\n'), Some(wanted)) if wanted == at => {}
            _ => return false,
        }
    }
    expected.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_are_mended_in_whatever_pieces_they_come() {
        for (given, wanted) in [
            ("", ""),
            ("a\r\nb\r\n", "a\r\nb\r\n"),
            ("a\nb\rc\r\nd", "a\r\nb\r\nc\r\nd"),
            ("\r\r\n\n\r", "\r\n\r\n\r\n\r\n"),
            ("a\r", "a\r\n"),
        ] {
            for size in 1..=given.len().max(1) {
                let mut ends = LineEnds::default();
                let mut out = Vec::new();
                for piece in given.as_bytes().chunks(size) {
                    out.extend_from_slice(&ends.mend(piece));
                }
                out.extend_from_slice(ends.end().unwrap_or_default());
                assert_eq!(String::from_utf8(out).unwrap(), wanted, "{given:?} by {size}");
            }
        }
    }
}
