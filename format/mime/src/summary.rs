//! What is remembered of a message, and its encoding.

use crate::wire;
use std::ops::Range;
use waypost_base::Timestamp;

/// Everything that is remembered of a message. Made by [`crate::Scanner::finish`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of the whole message.
    pub size: u64,
    pub facts: Facts,
    /// The Date field, if it could be read.
    pub date: Option<SentDate>,
    /// Message-ID without angle brackets; empty when there is none.
    pub message_id: String,
    /// In-Reply-To: message ids without angle brackets.
    pub in_reply_to: Vec<String>,
    /// References: message ids without angle brackets, oldest first, at most [`crate::limits::REFERENCES`].
    pub references: Vec<String>,
    /// Decoded, unfolded Subject.
    pub subject: String,
    /// RFC 5256 §2.1. See [`Facts::reply`] for whether a reply or forward was recognised.
    pub base_subject: String,
    pub from: AddressText,
    pub to: AddressText,
    pub cc: AddressText,
    pub bcc: AddressText,
    /// RFC 8970, at most 200 characters; empty when the message has no text.
    pub preview: String,
    /// `(…)` of RFC 9051 §7.5.2 in the form that is safe for IMAP4rev1: 8-bit values are literals with their raw bytes.
    pub envelope: Vec<u8>,
    /// The same for clients with UTF8=ACCEPT or IMAP4rev2: 8-bit values are quoted UTF-8 strings. None when it is the same.
    pub envelope_utf8: Option<Vec<u8>>,
    pub structure: Structure,
    pub structure_utf8: Option<Structure>,
    /// The tree of parts, parents before children; the first is the message itself.
    pub parts: Vec<Part>,
    /// The top-level header's fields in order. Incomplete when [`Facts::fields_partial`].
    pub fields: Vec<Field>,
}

/// Yes-or-no facts of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts(pub u32);

macro_rules! facts {
    ($($(#[$doc:meta])* $bit:literal $get:ident $set:ident;)*) => {
        impl Facts {
            $(
                $(#[$doc])*
                pub const fn $get(self) -> bool {
                    self.0 & (1 << $bit) != 0
                }
                pub(crate) fn $set(&mut self) {
                    self.0 |= 1 << $bit;
                }
            )*
        }
    };
}

facts! {
    /// A part is something to save rather than to read.
    0 attachments set_attachments;
    /// RFC 5256: the subject was that of a reply or a forward.
    1 reply set_reply;
    /// ENVELOPE left something out: render it from a scan with `Limits::full()`.
    2 envelope_partial set_envelope_partial;
    /// BODY, BODYSTRUCTURE or the part table left something out: scan with `Limits::full()`.
    3 structure_partial set_structure_partial;
    /// The index of header fields is not whole: read the header itself.
    4 fields_partial set_fields_partial;
    /// A decoded text (subject, addresses) was cut: search the header itself.
    5 texts_partial set_texts_partial;
    /// The message has a NUL byte somewhere: a literal cannot carry it, a literal8 can.
    6 has_nul set_has_nul;
    /// The message has bytes above 127 somewhere.
    7 has_8bit set_has_8bit;
    /// The top-level header has bytes above 127.
    8 header_8bit set_header_8bit;
}

/// The sent date: the moment, and the zone it was written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentDate {
    pub at: Timestamp,
    /// Minutes east of UTC.
    pub offset: i16,
}

impl SentDate {
    /// The civil day as the sender wrote it, disregarding time and zone, as SENTON wants: days since 1970-01-01.
    pub fn day(&self) -> i64 {
        (self.at.as_seconds() + i64::from(self.offset) * 60).div_euclid(86_400)
    }
}

/// A decoded list of addresses: `Name <mailbox@host>, mailbox@host`, with the sort keys of its first address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressText {
    pub text: String,
    /// Where in `text` the first address's local part is (RFC 5256 §3: keys FROM, TO, CC).
    pub mailbox: Range<u32>,
    /// Where in `text` the first address's display name is, or else its address (RFC 5957: DISPLAYFROM, DISPLAYTO).
    pub display: Range<u32>,
}

/// A rendered BODYSTRUCTURE, from which BODY is made by leaving pieces out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Structure {
    pub bytes: Vec<u8>,
    /// Pieces that BODY does not have: ascending, apart from each other.
    pub extensions: Vec<Range<u32>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// Bytes with a media type.
    Leaf,
    Multipart,
    /// message/rfc822 or message/global: has one child, the message within.
    Message,
}

/// Content-Transfer-Encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    #[default]
    SevenBit,
    EightBit,
    Binary,
    QuotedPrintable,
    Base64,
    /// One that we do not know: BINARY answers UNKNOWN-CTE.
    Unknown,
}

/// One node of the tree of parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Index of the parent in the table; None for the message itself.
    pub parent: Option<u32>,
    /// 1-based place among the parent's children.
    pub number: u32,
    pub kind: PartKind,
    pub encoding: Encoding,
    /// From the first byte of the header to the first of the body: with the blank line, if there is one.
    pub header: Range<u64>,
    pub body: Range<u64>,
    /// Line ends in the body.
    pub lines: u64,
    /// `text/plain`, in lower case.
    pub media: String,
    /// The charset parameter in lower case; empty when there is none.
    pub charset: String,
    /// Content-Disposition is `attachment`.
    pub attachment: bool,
}

/// A field of the top-level header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// As written, without the colon. Empty for a line that is no header field.
    pub name: String,
    /// The whole field with its line end.
    pub range: Range<u64>,
}

/// Why bytes are not a summary. They came from our own store: the row is damaged, or newer than this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("summary has version {0}, which this program does not know")]
    Version(u8),
    #[error("summary ends too early")]
    Short,
    #[error("summary is damaged at {0}")]
    Damaged(&'static str),
}

impl Summary {
    /// Whether anything was left out for its size.
    pub fn reparse(&self) -> bool {
        self.facts.envelope_partial() || self.facts.structure_partial()
    }

    /// Stored form; at most `Limits::summary_bytes`. See `wire.rs` for its layout.
    pub fn encode(&self) -> Vec<u8> {
        wire::encode(self)
    }

    pub fn decode(bytes: &[u8]) -> Result<Summary, DecodeError> {
        crate::SummaryRef::new(bytes)?.to_owned()
    }
}
