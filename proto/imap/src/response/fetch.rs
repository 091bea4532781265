//! FETCH, piece by piece: the hottest writer of all.

use super::{Responder, number, text};
use crate::command::{Section, SectionText};
use crate::value::Flag;
use waypost_base::Timestamp;

/// `FLAGS (…)` in wire form. Messages with the same flags share one, so that writing it is a copy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlagList(Box<[u8]>);

impl FlagList {
    pub fn new<'f>(flags: impl IntoIterator<Item = &'f Flag>) -> FlagList {
        let mut wire = b"FLAGS ".to_vec();
        text::flag_list(&mut wire, flags, false);
        FlagList(wire.into())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// One FETCH response under way. Each method writes one item; [`FetchLine::finish`] closes the line.
#[must_use = "the response is complete only after finish()"]
#[derive(Debug)]
pub struct FetchLine<'r> {
    out: &'r mut Vec<u8>,
    utf8: bool,
    first: bool,
}

impl Responder<'_> {
    /// `* n FETCH (`
    pub fn fetch(&mut self, sequence: u32) -> FetchLine<'_> {
        self.out.extend_from_slice(b"* ");
        number::decimal(self.out, u64::from(sequence));
        self.out.extend_from_slice(b" FETCH (");
        FetchLine { out: self.out, utf8: self.utf8, first: true }
    }

    /// `* n UIDFETCH (` is of RFC 9586 and not offered; this goes on with a line whose earlier part has been sent, after the
    /// bytes of a [`FetchLine::section_head`].
    pub fn fetch_resume(&mut self) -> FetchLine<'_> {
        FetchLine { out: self.out, utf8: self.utf8, first: false }
    }
}

impl FetchLine<'_> {
    /// `UID n`
    pub fn uid(&mut self, uid: u32) -> &mut Self {
        self.item(b"UID ");
        number::decimal(self.out, u64::from(uid));
        self
    }

    pub fn flags(&mut self, flags: &FlagList) -> &mut Self {
        self.item(&flags.0);
        self
    }

    /// `INTERNALDATE "…"`
    pub fn internal_date(&mut self, at: Timestamp, zone_minutes: i16) -> &mut Self {
        self.item(b"INTERNALDATE ");
        number::date_time(self.out, at, zone_minutes);
        self
    }

    /// `RFC822.SIZE n`
    pub fn size(&mut self, bytes: u64) -> &mut Self {
        self.item(b"RFC822.SIZE ");
        number::decimal(self.out, bytes);
        self
    }

    /// `MODSEQ (n)`
    pub fn mod_seq(&mut self, n: u64) -> &mut Self {
        self.item(b"MODSEQ (");
        number::decimal(self.out, n);
        self.out.push(b')');
        self
    }

    /// `EMAILID (id)`
    pub fn email_id(&mut self, id: &str) -> &mut Self {
        self.parenthesised(b"EMAILID (", id)
    }

    /// `THREADID (id)`; NIL if there is none.
    pub fn thread_id(&mut self, id: Option<&str>) -> &mut Self {
        match id {
            Some(id) => self.parenthesised(b"THREADID (", id),
            None => self.item(b"THREADID NIL"),
        }
    }

    /// `SAVEDATE "…"`; NIL if unknown.
    pub fn save_date(&mut self, at: Option<(Timestamp, i16)>) -> &mut Self {
        match at {
            Some((at, zone_minutes)) => {
                self.item(b"SAVEDATE ");
                number::date_time(self.out, at, zone_minutes);
                self
            }
            None => self.item(b"SAVEDATE NIL"),
        }
    }

    /// `PREVIEW "…"`; NIL if it was asked for lazily and is not there.
    pub fn preview(&mut self, preview: Option<&str>) -> &mut Self {
        match preview {
            Some(preview) => {
                self.item(b"PREVIEW ");
                text::string(self.out, preview.as_bytes(), self.utf8);
                self
            }
            None => self.item(b"PREVIEW NIL"),
        }
    }

    /// `ENVELOPE (…)`, the parenthesised list in wire form.
    pub fn envelope(&mut self, wire: &[u8]) -> &mut Self {
        self.item(b"ENVELOPE ");
        self.raw(wire)
    }

    /// `BODYSTRUCTURE (…)`, in wire form.
    pub fn body_structure(&mut self, wire: &[u8]) -> &mut Self {
        self.item(b"BODYSTRUCTURE ");
        self.raw(wire)
    }

    /// `BODY (…)`, in wire form and without extension data.
    pub fn body(&mut self, wire: &[u8]) -> &mut Self {
        self.item(b"BODY ");
        self.raw(wire)
    }

    /// `BODY[section]<origin> "…"`, or NIL for a part that does not exist.
    pub fn section(&mut self, section: &Section, origin: Option<u64>, bytes: Option<&[u8]>) -> &mut Self {
        match bytes {
            Some(bytes) => {
                self.section_head(section, origin, bytes.len() as u64);
                self.raw(bytes)
            }
            None => {
                self.section_name(section, origin);
                self.raw(b" NIL")
            }
        }
    }

    /// `BODY[section]<origin> {length}`: exactly `length` bytes must follow, written by the caller, before the next item.
    pub fn section_head(&mut self, section: &Section, origin: Option<u64>, length: u64) -> &mut Self {
        self.section_name(section, origin);
        self.literal_head(b" {", length)
    }

    fn section_name(&mut self, section: &Section, origin: Option<u64>) {
        self.item(b"BODY[");
        write_section(self.out, section);
        self.out.push(b']');
        self.origin(origin);
    }

    /// `RFC822 {length}`, `RFC822.HEADER {length}` or `RFC822.TEXT {length}` of rev1; `length` bytes must follow.
    pub fn rfc822_head(&mut self, suffix: &str, length: u64) -> &mut Self {
        self.item(b"RFC822");
        self.raw(suffix.as_bytes());
        self.literal_head(b" {", length)
    }

    /// `BINARY[part]<origin> ~{length}` (RFC 3516 §4.3): `length` bytes must follow. A literal8 only if `nul`, the decoded
    /// bytes hold NUL: some clients know the plain form better.
    pub fn binary_head(&mut self, part: &[u32], origin: Option<u64>, length: u64, nul: bool) -> &mut Self {
        self.binary_name(part, origin);
        self.literal_head(if nul { b" ~{" } else { b" {" }, length)
    }

    /// `BINARY[part] NIL`: no such part.
    pub fn binary_nil(&mut self, part: &[u32], origin: Option<u64>) -> &mut Self {
        self.binary_name(part, origin);
        self.raw(b" NIL")
    }

    fn binary_name(&mut self, part: &[u32], origin: Option<u64>) {
        self.item(b"BINARY[");
        write_part(self.out, part);
        self.out.push(b']');
        self.origin(origin);
    }

    /// `BINARY.SIZE[part] n`
    pub fn binary_size(&mut self, part: &[u32], bytes: u64) -> &mut Self {
        self.item(b"BINARY.SIZE[");
        write_part(self.out, part);
        self.out.extend_from_slice(b"] ");
        number::decimal(self.out, bytes);
        self
    }

    /// Bytes as they are: an item in wire form after [`FetchLine::item`], or what a head has announced.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend_from_slice(bytes);
        self
    }

    /// Begins an item: the space before it, and its name.
    pub fn item(&mut self, name: &[u8]) -> &mut Self {
        if !std::mem::take(&mut self.first) {
            self.out.push(b' ');
        }
        self.out.extend_from_slice(name);
        self
    }

    /// The buffer, to append announced bytes to without a copy between.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// `)`
    pub fn finish(self) {
        self.out.extend_from_slice(b")\r\n");
    }

    fn parenthesised(&mut self, name: &[u8], value: &str) -> &mut Self {
        self.item(name);
        self.out.extend_from_slice(value.as_bytes());
        self.out.push(b')');
        self
    }

    fn origin(&mut self, origin: Option<u64>) {
        if let Some(n) = origin {
            self.out.push(b'<');
            number::decimal(self.out, n);
            self.out.push(b'>');
        }
    }

    fn literal_head(&mut self, open: &[u8], length: u64) -> &mut Self {
        self.out.extend_from_slice(open);
        number::decimal(self.out, length);
        self.out.extend_from_slice(b"}\r\n");
        self
    }
}

/// `1.2.HEADER.FIELDS (From To)`, without the brackets.
pub(crate) fn write_section(out: &mut Vec<u8>, section: &Section) {
    write_part(out, &section.part);
    let (name, fields): (&[u8], &[String]) = match &section.text {
        SectionText::Whole => return,
        SectionText::Header => (b"HEADER", &[]),
        SectionText::Text => (b"TEXT", &[]),
        SectionText::Mime => (b"MIME", &[]),
        SectionText::HeaderFields(fields) => (b"HEADER.FIELDS", fields),
        SectionText::HeaderFieldsNot(fields) => (b"HEADER.FIELDS.NOT", fields),
    };
    if !section.part.is_empty() {
        out.push(b'.');
    }
    out.extend_from_slice(name);
    for (i, field) in fields.iter().enumerate() {
        out.extend_from_slice(if i == 0 { b" (" } else { b" " });
        text::astring(out, field.as_bytes(), false);
    }
    if !fields.is_empty() {
        out.push(b')');
    }
}

pub(crate) fn write_part(out: &mut Vec<u8>, part: &[u32]) {
    for (i, n) in part.iter().enumerate() {
        if i > 0 {
            out.push(b'.');
        }
        number::decimal(out, u64::from(*n));
    }
}
