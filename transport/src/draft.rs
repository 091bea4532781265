//! A message while agents have it: its header in memory, its body there too or, where it is large, in the store.
//!
//! Laws:
//! - What was not changed goes on octet for octet, also bad line ends and octets that mean nothing.
//! - Fields added by [`Draft::prepend`] stand above all that came, the last one added on top.
//! - A header that is not a header (the message began with its text) has no fields, and everything is body.

use crate::limits::DRAFT_MEMORY;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use waypost_smtp::Mailbox;
use waypost_store::{Blob, BlobError, BlobReader, BlobWriter, Blobs};

/// What stands behind the blank line.
#[derive(Clone, Debug)]
pub enum Body {
    Memory(Vec<u8>),
    /// More than [`DRAFT_MEMORY`].
    Stored(Blob),
}

impl Body {
    pub fn size(&self) -> u64 {
        match self {
            Body::Memory(bytes) => bytes.len() as u64,
            Body::Stored(blob) => blob.size,
        }
    }
}

/// What agents changed of the envelope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvelopeChanges {
    /// Another sender; `Some(None)` is the null sender.
    pub from: Option<Option<Mailbox>>,
    /// Recipients beside those that were accepted. They are not asked whether they exist.
    pub added: Vec<Mailbox>,
    /// Accepted recipients who are not to get the message; nobody is told.
    pub removed: Vec<Mailbox>,
}

/// A message that can be changed.
pub struct Draft {
    blobs: Blobs,
    /// With its line ends, without the blank line.
    header: Vec<u8>,
    /// The blank line as it came; empty where there was none.
    blank: Vec<u8>,
    body: Body,
    added: Vec<Vec<u8>>,
    note: Option<String>,
    changed: bool,
    envelope: EnvelopeChanges,
    _memory: Option<OwnedSemaphorePermit>,
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Draft({} octets)", self.size())
    }
}

/// A field as it stands in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    pub name: &'a [u8],
    /// Behind the colon, folded as it came, without the last line end.
    pub value: &'a [u8],
    /// All of it, with its line end.
    pub raw: &'a [u8],
    /// Where it begins in the header.
    pub start: usize,
}

impl Field<'_> {
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value on one line, without blanks around it; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        let text: Vec<u8> = self.value.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
        String::from_utf8_lossy(&text).trim().to_owned()
    }
}

impl Draft {
    /// A message that is in memory already. Tests of agents begin with it.
    pub fn new(blobs: Blobs, message: &[u8]) -> Draft {
        let end = header_end(message).unwrap_or_else(|| whole_header(message));
        let (header, rest) = message.split_at(end);
        let (blank, body) = rest.split_at(blank_length(rest));
        Draft {
            blobs,
            header: header.to_vec(),
            blank: blank.to_vec(),
            body: Body::Memory(body.to_vec()),
            added: Vec::new(),
            note: None,
            changed: false,
            envelope: EnvelopeChanges::default(),
            _memory: None,
        }
    }

    /// The header as it is now, without what was prepended, without the blank line.
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// The blank line between header and body; empty where the message has no body or no header.
    pub fn blank(&self) -> &[u8] {
        &self.blank
    }

    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The fields in order.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        fields(&self.header)
    }

    /// The first field of this name, unfolded.
    pub fn field(&self, name: &str) -> Option<String> {
        self.fields().find(|f| f.is(name)).map(|f| f.text())
    }

    /// Octets of the message, with what was prepended.
    pub fn size(&self) -> u64 {
        let added: usize = self.added.iter().map(Vec::len).sum();
        (added + self.header.len() + self.blank.len()) as u64 + self.body.size()
    }

    /// Whether anything is different from what came.
    pub fn is_changed(&self) -> bool {
        self.changed || !self.added.is_empty()
    }

    /// What is to be different about sender and recipients.
    pub fn envelope(&self) -> &EnvelopeChanges {
        &self.envelope
    }

    pub fn envelope_mut(&mut self) -> &mut EnvelopeChanges {
        &mut self.envelope
    }

    /// Puts a field above all others. `value` may be folded (`\r\n\t`); it gets no further folds.
    pub fn prepend(&mut self, name: &str, value: &str) {
        self.added.push(line(name, value));
    }

    /// What the agent found, for tracking and the leg, whatever its verdict.
    pub fn note(&mut self, text: String) {
        self.note = Some(text);
    }

    pub(crate) fn take_note(&mut self) -> Option<String> {
        self.note.take()
    }

    /// What was prepended, topmost first.
    pub fn added(&self) -> impl Iterator<Item = &[u8]> {
        self.added.iter().rev().map(Vec::as_slice)
    }

    /// Puts a field below all others.
    pub fn append(&mut self, name: &str, value: &str) {
        if self.header.last().is_some_and(|last| *last != b'\n') {
            self.header.extend_from_slice(b"\r\n");
        }
        self.header.extend(line(name, value));
        if self.blank.is_empty() {
            self.blank = b"\r\n".to_vec();
        }
        self.changed = true;
    }

    /// Puts a field before the `at`-th (from 0) field of the header; beyond its end it is appended.
    pub fn insert(&mut self, at: usize, name: &str, value: &str) {
        let Some(start) = self.fields().nth(at).map(|f| f.start) else { return self.append(name, value) };
        self.header.splice(start..start, line(name, value));
        self.changed = true;
    }

    /// Replaces the `nth` (from 0) field of this name, or appends it where there is none. `None` removes it.
    pub fn replace(&mut self, name: &str, nth: usize, value: Option<&str>) {
        let found = self.fields().filter(|f| f.is(name)).nth(nth).map(|f| f.start..f.start + f.raw.len());
        match (found, value) {
            (Some(range), value) => {
                let new = value.map(|value| line(name, value)).unwrap_or_default();
                self.header.splice(range, new);
                self.changed = true;
            }
            (None, Some(value)) => self.append(name, value),
            (None, None) => {}
        }
    }

    /// Removes all fields of which `unwanted` says so.
    pub fn remove(&mut self, unwanted: impl Fn(&Field<'_>) -> bool) {
        let ranges: Vec<_> =
            self.fields().filter(|f| unwanted(f)).map(|f| f.start..f.start + f.raw.len()).collect();
        for range in ranges.into_iter().rev() {
            self.header.drain(range);
            self.changed = true;
        }
    }

    /// A new body. Beyond [`DRAFT_MEMORY`] it goes to the store.
    pub async fn replace_body(&mut self, body: Vec<u8>) -> Result<(), BlobError> {
        if self.blank.is_empty() {
            self.blank = b"\r\n".to_vec();
        }
        self.body = if body.len() > DRAFT_MEMORY {
            Body::Stored(self.blobs.write(&body).await?)
        } else {
            Body::Memory(body)
        };
        self.changed = true;
        Ok(())
    }

    /// The body in pieces.
    pub fn read_body(&self) -> Pieces<'_> {
        self.pieces(false)
    }

    /// The whole message in pieces, with what was prepended.
    pub fn read(&self) -> Pieces<'_> {
        self.pieces(true)
    }

    fn pieces(&self, all: bool) -> Pieces<'_> {
        let mut ready: Vec<&[u8]> = Vec::new();
        if all {
            ready.extend(self.added());
            ready.extend([self.header.as_slice(), &self.blank]);
        }
        let stored = match &self.body {
            Body::Memory(bytes) => {
                ready.push(bytes);
                None
            }
            Body::Stored(blob) => Some(self.blobs.reader(blob.clone(), 0..blob.size)),
        };
        ready.retain(|piece| !piece.is_empty());
        Pieces { ready: ready.into_iter(), stored }
    }
}

/// The bytes of a draft, piece by piece, each at most 64 KiB where they come from the store.
pub struct Pieces<'a> {
    ready: std::vec::IntoIter<&'a [u8]>,
    stored: Option<BlobReader>,
}

impl Pieces<'_> {
    pub async fn next(&mut self) -> Result<Option<bytes::Bytes>, BlobError> {
        if let Some(piece) = self.ready.next() {
            return Ok(Some(bytes::Bytes::copy_from_slice(piece)));
        }
        match &mut self.stored {
            Some(reader) => reader.next().await,
            None => Ok(None),
        }
    }

    /// Everything in one piece; for messages whose size was looked at.
    pub async fn collect(mut self) -> Result<Vec<u8>, BlobError> {
        let mut all = Vec::new();
        while let Some(piece) = self.next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }
}

/// Takes a message in pieces and makes a draft of it, within the memory that all drafts share.
pub(crate) struct Drafting {
    blobs: Blobs,
    budget: Arc<Semaphore>,
    memory: Option<OwnedSemaphorePermit>,
    header: Vec<u8>,
    /// The header has ended; what comes is body.
    split: bool,
    blank: Vec<u8>,
    body: Vec<u8>,
    spilled: Option<BlobWriter>,
}

/// Octets that one permit of the budget stands for.
pub(crate) const PERMIT: usize = 64 * 1024;

impl Drafting {
    pub(crate) fn new(blobs: Blobs, budget: Arc<Semaphore>) -> Drafting {
        Drafting {
            blobs,
            budget,
            memory: None,
            header: Vec::new(),
            split: false,
            blank: Vec::new(),
            body: Vec::new(),
            spilled: None,
        }
    }

    /// Octets of header so far.
    pub(crate) fn header_size(&self) -> usize {
        self.header.len()
    }

    pub(crate) async fn take(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        if self.split {
            return self.take_body(bytes).await;
        }
        // The blank line may lie across two pieces.
        let from = self.header.len().saturating_sub(3);
        self.header.extend_from_slice(bytes);
        // What begins with its text has no header that it would be worth waiting for.
        let text = memchr::memchr(b'\n', &self.header).is_some() && !looks_like_header(&self.header);
        let end = if text { Some(0) } else { header_end_from(&self.header, from) };
        let Some(end) = end else { return Ok(()) };
        let rest = self.header.split_off(end);
        let (blank, body) = rest.split_at(blank_length(&rest));
        self.blank = blank.to_vec();
        self.split = true;
        self.take_body(body).await
    }

    async fn take_body(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        if let Some(writer) = &mut self.spilled {
            return writer.write(bytes).await;
        }
        let wanted = self.body.len() + bytes.len();
        if wanted > DRAFT_MEMORY || !self.afford(wanted) {
            let mut writer = self.blobs.writer();
            writer.write(&self.body).await?;
            writer.write(bytes).await?;
            self.body = Vec::new();
            self.memory = None;
            self.spilled = Some(writer);
            return Ok(());
        }
        self.body.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes a share of the memory of all drafts; `false` where there is none left, and the body goes to the store.
    fn afford(&mut self, bytes: usize) -> bool {
        let needed = bytes.div_ceil(PERMIT);
        let have = self.memory.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Ok(more) = u32::try_from(needed.saturating_sub(have)) else { return false };
        if more == 0 {
            return true;
        }
        let Ok(permit) = self.budget.clone().try_acquire_many_owned(more) else { return false };
        match &mut self.memory {
            Some(memory) => memory.merge(permit),
            None => self.memory = Some(permit),
        }
        true
    }

    pub(crate) async fn finish(mut self) -> Result<Draft, BlobError> {
        if !self.split && !self.header.is_empty() {
            // No blank line: it is all header, or all text.
            let end = whole_header(&self.header);
            self.body = self.header.split_off(end);
        }
        let body = match self.spilled {
            Some(writer) => Body::Stored(writer.finish().await?),
            None => Body::Memory(self.body),
        };
        Ok(Draft {
            blobs: self.blobs,
            header: self.header,
            blank: self.blank,
            body,
            added: Vec::new(),
            note: None,
            changed: false,
            envelope: EnvelopeChanges::default(),
            _memory: self.memory,
        })
    }
}

fn line(name: &str, value: &str) -> Vec<u8> {
    format!("{name}: {value}\r\n").into_bytes()
}

/// Where the header ends: behind the line end of its last field. `None`: there is no blank line yet.
pub(crate) fn header_end(message: &[u8]) -> Option<usize> {
    header_end_from(message, 0)
}

fn header_end_from(message: &[u8], from: usize) -> Option<usize> {
    if message.starts_with(b"\r\n") || message.starts_with(b"\n") {
        return Some(0);
    }
    let begin = message.get(from..)?;
    for at in memchr::memchr_iter(b'\n', begin) {
        let rest = begin.get(at + 1..).unwrap_or_default();
        if rest.starts_with(b"\r\n") || rest.starts_with(b"\n") {
            let end = from + at + 1;
            // A message that begins with its text has no header before the blank line.
            return Some(if looks_like_header(message) { end } else { 0 });
        }
    }
    None
}

/// A message without a blank line: all of it is header if it begins like one.
fn whole_header(message: &[u8]) -> usize {
    if looks_like_header(message) { message.len() } else { 0 }
}

fn looks_like_header(message: &[u8]) -> bool {
    let line = memchr::memchr(b'\n', message).map_or(message, |end| message.get(..end).unwrap_or_default());
    let name = memchr::memchr(b':', line).and_then(|at| line.get(..at)).unwrap_or_default();
    let name = name.trim_ascii_end();
    // Octets beyond ASCII are wrong there, but they begin a field for everybody who reads it.
    !name.is_empty() && name.iter().all(|b| *b > b' ' && *b != 0x7F)
}

fn blank_length(rest: &[u8]) -> usize {
    if rest.starts_with(b"\r\n") { 2 } else { usize::from(rest.starts_with(b"\n")) }
}

/// The fields of a header. Lines that are no field and continue none belong to the field before.
pub(crate) fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = header.get(at..).filter(|rest| !rest.is_empty())?;
        let mut end = next_line(rest, 0);
        while let Some(line) = rest.get(end..).filter(|line| !line.is_empty()) {
            if looks_like_header(line) && !line.starts_with(b" ") && !line.starts_with(b"\t") {
                break;
            }
            end = next_line(rest, end);
        }
        let raw = rest.get(..end).unwrap_or_default();
        let colon = memchr::memchr(b':', raw).unwrap_or(raw.len());
        let value = raw.get(colon + 1..).unwrap_or_default();
        let value = value.strip_suffix(b"\n").unwrap_or(value);
        let value = value.strip_suffix(b"\r").unwrap_or(value);
        let field =
            Field { name: raw.get(..colon).unwrap_or_default().trim_ascii_end(), value, raw, start: at };
        at += end;
        Some(field)
    })
}

/// The end of the line that begins at `from`.
fn next_line(text: &[u8], from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    memchr::memchr(b'\n', rest).map_or(text.len(), |end| from + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_store::Store;

    fn draft(text: &str) -> Draft {
        Draft::new(Store::memory().blobs().clone(), text.as_bytes())
    }

    async fn text(draft: &Draft) -> String {
        String::from_utf8(draft.read().collect().await.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn fields_come_and_go() {
        let mut d = draft("From: a\r\nX-A: 1\r\n\tfolded\r\nx-a: 2\r\n\r\nbody\r\n");
        assert_eq!(d.field("x-A").as_deref(), Some("1\tfolded"));
        assert!(!d.is_changed());
        d.replace("X-A", 1, Some("two"));
        d.replace("X-A", 0, None);
        d.prepend("Low", "1");
        d.prepend("High", "2");
        d.append("Last", "3");
        d.insert(0, "First", "0");
        assert_eq!(
            text(&d).await,
            "High: 2\r\nLow: 1\r\nFirst: 0\r\nFrom: a\r\nX-A: two\r\nLast: 3\r\n\r\nbody\r\n"
        );
        d.remove(|f| f.is("x-a") || f.is("first"));
        d.replace_body(b"new".to_vec()).await.unwrap();
        assert_eq!(text(&d).await, "High: 2\r\nLow: 1\r\nFrom: a\r\nLast: 3\r\n\r\nnew");
        assert_eq!(d.size(), text(&d).await.len() as u64);
    }

    #[tokio::test]
    async fn odd_messages_stay_as_they_are() {
        for (given, header) in [
            ("", ""),
            ("\r\n", ""),
            ("\r\nbody", ""),
            ("just text\r\n", ""),
            ("just text\r\n\r\nmore: text\r\n", ""),
            ("A: 1\r\n", "A: 1\r\n"),
            ("A: 1", "A: 1"),
            ("A: 1\n\nbody", "A: 1\n"),
            ("A: 1\r\nno field\r\nB: 2\r\n\r\n", "A: 1\r\nno field\r\nB: 2\r\n"),
        ] {
            let d = draft(given);
            assert_eq!(text(&d).await, given);
            assert_eq!(d.header(), header.as_bytes(), "{given:?}");
            for size in 1..4 {
                let budget = Arc::new(Semaphore::new(1));
                let mut drafting = Drafting::new(Store::memory().blobs().clone(), budget);
                for piece in given.as_bytes().chunks(size) {
                    drafting.take(piece).await.unwrap();
                }
                let d = drafting.finish().await.unwrap();
                assert_eq!(text(&d).await, given);
                assert_eq!(d.header(), header.as_bytes(), "{given:?} in pieces of {size}");
            }
        }
    }

    #[tokio::test]
    async fn without_memory_the_body_goes_to_the_store() {
        let store = Store::memory();
        let budget = Arc::new(Semaphore::new(1));
        let body = "x".repeat(3 * PERMIT);
        let message = format!("A: 1\r\n\r\n{body}");
        let mut drafting = Drafting::new(store.blobs().clone(), budget.clone());
        for piece in message.as_bytes().chunks(50_000) {
            drafting.take(piece).await.unwrap();
        }
        let d = drafting.finish().await.unwrap();
        assert!(matches!(d.body(), Body::Stored(_)));
        assert_eq!(budget.available_permits(), 1, "what is in the store takes no memory");
        assert_eq!(text(&d).await, message);
    }
}
