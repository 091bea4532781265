//! What the server answers, written straight into a buffer that the session keeps and sends.
//!
//! Contract: each method of [`Responder`] appends one complete response, or a named piece of one, and never fails; text
//! that cannot stand on the wire (CR, LF, NUL in a human-readable line) is made harmless. Nothing here allocates but the
//! buffer's growth, and numbers are written without the formatting machinery: a FETCH of a hundred thousand messages
//! spends its time elsewhere.

mod fetch;
mod list;
mod number;
mod quota;
mod search;
mod status;
mod text;

pub use fetch::{FetchLine, FlagList};
pub use list::{ListAttribute, ListEntry, NamespaceEntry, StatusValue};
pub use quota::Resource;
pub use search::{EsearchReply, ThreadNode};
pub use status::{Code, Status};
pub use text::ranges;

pub(crate) use fetch::{write_part, write_section};
pub(crate) use number::{date_time, decimal};

use crate::value::{Flag, FolderName, Tag};

/// The newline of every response.
pub(crate) const CRLF: &[u8] = b"\r\n";

/// Appends responses to a buffer. Made anew for each use; it costs nothing.
#[derive(Debug)]
pub struct Responder<'a> {
    pub(crate) out: &'a mut Vec<u8>,
    pub(crate) utf8: bool,
}

impl<'a> Responder<'a> {
    /// `utf8`: as in [`crate::command::Dialect`]; folder names are written as UTF-8 and strings may be quoted UTF-8.
    pub fn new(out: &'a mut Vec<u8>, utf8: bool) -> Responder<'a> {
        Responder { out, utf8 }
    }

    /// Bytes that are already a response in wire form, or a part of one.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// `* CAPABILITY …`; the names joined by spaces, prepared by the caller since they are the same for many sessions.
    pub fn capability(&mut self, names: &str) {
        self.line(&[b"* CAPABILITY ", names.as_bytes()]);
    }

    /// `* ENABLED …` (RFC 9051 §7.2.1); empty when nothing new was enabled.
    pub fn enabled(&mut self, names: &[&str]) {
        self.raw(b"* ENABLED");
        for name in names {
            self.raw(b" ");
            self.raw(name.as_bytes());
        }
        self.raw(CRLF);
    }

    /// `* n EXISTS`
    pub fn exists(&mut self, count: u32) {
        self.numbered(count, b" EXISTS\r\n");
    }

    /// `* n RECENT`, for rev1 clients only.
    pub fn recent(&mut self, count: u32) {
        self.numbered(count, b" RECENT\r\n");
    }

    /// `* n EXPUNGE`
    pub fn expunge(&mut self, sequence: u32) {
        self.numbered(sequence, b" EXPUNGE\r\n");
    }

    /// `* VANISHED …` or `* VANISHED (EARLIER) …` (RFC 7162 §3.2.10). Ranges are ascending; nothing is written for none.
    pub fn vanished(&mut self, earlier: bool, uids: &[(u32, u32)]) {
        if uids.is_empty() {
            return;
        }
        self.raw(if earlier { b"* VANISHED (EARLIER) " } else { b"* VANISHED " });
        text::number_set(self.out, uids);
        self.raw(CRLF);
    }

    /// `* FLAGS (…)`
    pub fn flags<'f>(&mut self, flags: impl IntoIterator<Item = &'f Flag>) {
        self.raw(b"* FLAGS ");
        text::flag_list(self.out, flags, false);
        self.raw(CRLF);
    }

    /// `+ text`. The text may be empty, as it is before a SASL exchange's first response.
    pub fn continuation(&mut self, text: &str) {
        self.raw(b"+ ");
        text::plain(self.out, text);
        self.raw(CRLF);
    }

    /// `+ base64`: a SASL challenge.
    pub fn challenge(&mut self, octets: &[u8]) {
        use base64::Engine;
        self.raw(b"+ ");
        let encoded = base64::engine::general_purpose::STANDARD.encode(octets);
        self.raw(encoded.as_bytes());
        self.raw(CRLF);
    }

    /// `tag OK|NO|BAD [code] text`. An empty text becomes a word, since the grammar wants one.
    pub fn tagged(&mut self, tag: &Tag, status: Status, code: Option<&Code<'_>>, text: &str) {
        self.raw(tag.as_str().as_bytes());
        self.raw(b" ");
        status::write(self, status, code, text);
    }

    /// `* OK|NO|BAD|PREAUTH|BYE [code] text`
    pub fn untagged(&mut self, status: Status, code: Option<&Code<'_>>, text: &str) {
        self.raw(b"* ");
        status::write(self, status, code, text);
    }

    /// A string in the shortest form that can hold it: quoted, or a literal.
    pub fn string(&mut self, bytes: &[u8]) {
        text::string(self.out, bytes, self.utf8);
    }

    /// A string, or NIL.
    pub fn nstring(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.string(bytes),
            None => self.raw(b"NIL"),
        }
    }

    /// An atom if it can be one, else as [`Responder::string`].
    pub fn astring(&mut self, bytes: &[u8]) {
        text::astring(self.out, bytes, self.utf8);
    }

    /// A folder's name in the session's encoding.
    pub fn folder(&mut self, name: &FolderName) {
        let wire = name.to_wire(self.utf8);
        text::astring(self.out, wire.as_bytes(), self.utf8);
    }

    /// A number in decimal.
    pub fn number(&mut self, n: u64) {
        number::decimal(self.out, n);
    }

    fn numbered(&mut self, n: u32, rest: &[u8]) {
        self.raw(b"* ");
        number::decimal(self.out, u64::from(n));
        self.raw(rest);
    }

    fn line(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.raw(part);
        }
        self.raw(CRLF);
    }
}
