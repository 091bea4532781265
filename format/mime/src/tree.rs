//! The tree of parts while a message is being scanned.

use crate::fields;
use crate::limits::{self, Limits};
use crate::param::{self, Parameterised};
use crate::summary::{Encoding, PartKind};

/// A node: a part, or the message itself.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub parent: Option<u32>,
    pub number: u32,
    pub children: u32,
    pub depth: usize,
    pub kind: Kind,
    pub header_start: u64,
    pub body_start: u64,
    pub end: u64,
    /// Line ends before the body, and then within it.
    pub lines_before: u64,
    pub lines: u64,
    /// Stands directly in a multipart/digest.
    pub in_digest: bool,
    pub encoding: Encoding,
    pub details: Option<Box<Details>>,
    /// The message's own header: fields that ENVELOPE needs, while the header is read.
    pub head: Option<Box<Head>>,
    /// The rendered envelope of a message within; None for parts and for the message itself.
    pub envelope: Option<Envelope>,
}

pub(crate) type Kind = Option<PartKind>;

/// Both renderings of an envelope; the second None when it is the same.
#[derive(Debug, Default)]
pub(crate) struct Envelope {
    pub rev1: Vec<u8>,
    pub utf8: Option<Vec<u8>>,
}

/// The Content- fields of a part.
#[derive(Debug, Default)]
pub(crate) struct Details {
    pub content_type: Option<Parameterised>,
    pub encoding: Option<Vec<u8>>,
    pub id: Option<Vec<u8>>,
    pub description: Option<Vec<u8>>,
    pub md5: Option<Vec<u8>>,
    pub disposition: Option<Parameterised>,
    pub languages: Vec<Vec<u8>>,
    pub location: Option<Vec<u8>>,
}

/// The fields of a message header that ENVELOPE, SORT and THREAD use; unfolded, otherwise raw.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pub date: Option<Vec<u8>>,
    pub subject: Option<Vec<u8>>,
    pub message_id: Option<Vec<u8>>,
    pub in_reply_to: Option<Vec<u8>>,
    pub references: Option<Vec<u8>>,
    pub from: Vec<u8>,
    pub sender: Vec<u8>,
    pub reply_to: Vec<u8>,
    pub to: Vec<u8>,
    pub cc: Vec<u8>,
    pub bcc: Vec<u8>,
    /// A field was cut or left out.
    pub cut: bool,
    /// Bytes kept: at most those of one field too many.
    pub bytes: usize,
}

impl Node {
    pub fn is_message(&self, parent: Option<&Node>) -> bool {
        parent.is_none_or(|p| p.kind == Some(PartKind::Message))
    }

    /// Type and subtype as written; what RFC 2045 §5.2 and RFC 2046 §5.1.5 say when there is no valid one.
    pub fn media(&self) -> (&[u8], &[u8]) {
        let written = self.details.as_ref().and_then(|d| d.content_type.as_ref()).map(|c| c.media());
        match written {
            Some(Some(media)) => media,
            None if self.in_digest => (b"MESSAGE", b"RFC822"),
            _ => (b"TEXT", b"PLAIN"),
        }
    }

    pub fn media_is(&self, kind: &str, sub: &str) -> bool {
        let (k, s) = self.media();
        k.eq_ignore_ascii_case(kind.as_bytes()) && (sub == "*" || s.eq_ignore_ascii_case(sub.as_bytes()))
    }

    /// Parameters of a valid Content-Type.
    pub fn params(&self) -> &[(Vec<u8>, Vec<u8>)] {
        match self.details.as_ref().and_then(|d| d.content_type.as_ref()) {
            Some(c) if c.media().is_some() => &c.params,
            _ => &[],
        }
    }

    pub fn param(&self, name: &str) -> Option<&[u8]> {
        self.params().iter().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, v)| v.as_slice())
    }

    pub fn charset(&self) -> String {
        self.param("charset")
            .map(|c| String::from_utf8_lossy(c).trim().to_ascii_lowercase())
            .unwrap_or_default()
    }

    pub fn disposition_is(&self, kind: &str) -> bool {
        self.details
            .as_ref()
            .and_then(|d| d.disposition.as_ref())
            .is_some_and(|d| d.value.eq_ignore_ascii_case(kind.as_bytes()))
    }

    /// Something to save rather than to read with the text.
    pub fn is_attachment(&self) -> bool {
        if self.kind == Some(PartKind::Multipart) || self.parent.is_none() {
            return self.kind == Some(PartKind::Leaf) && self.disposition_is("attachment");
        }
        if self.disposition_is("attachment") {
            return true;
        }
        if self.kind == Some(PartKind::Message) {
            return true;
        }
        let details = self.details.as_ref();
        let named = self.param("name").is_some()
            || details
                .and_then(|d| d.disposition.as_ref())
                .is_some_and(|d| d.get("filename").is_some() || d.get("filename*").is_some());
        // Pictures of an HTML text and signatures are not what a reader calls an attachment.
        let inline = self.disposition_is("inline") || details.is_some_and(|d| d.id.is_some());
        let signature = self.media_is("application", "pgp-signature")
            || self.media_is("application", "pkcs7-signature")
            || self.media_is("application", "x-pkcs7-signature");
        named && !inline && !signature
    }

    /// The boundary of a multipart that has a usable one.
    pub fn boundary(&self) -> Option<&[u8]> {
        let boundary = self.param("boundary")?.trim_ascii_end();
        let usable = !boundary.is_empty() && boundary.len() <= limits::BOUNDARY_BYTES;
        (usable && self.media_is("multipart", "*")).then_some(boundary)
    }

    /// Takes in one field of the node's header. Gives how many bytes it keeps of it.
    pub fn field(
        &mut self,
        name: &[u8],
        value: &[u8],
        is_message: bool,
        cut: bool,
        limits: &Limits,
    ) -> usize {
        let mut lower = [0u8; 32];
        let Some(lower) = lower.get_mut(..name.len()) else { return 0 };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        if let Some(content) = lower.strip_prefix(b"content-") {
            return self.content_field(content, value);
        }
        if !is_message {
            return 0;
        }
        let head = self.head.get_or_insert_default();
        if head.bytes > limits.field_bytes {
            head.cut = true;
            return 0;
        }
        let first = |slot: &mut Option<Vec<u8>>| {
            let fresh = slot.is_none();
            if fresh {
                *slot = Some(fields::unfold(value));
            }
            fresh
        };
        let all = |slot: &mut Vec<u8>| {
            if !slot.is_empty() {
                slot.extend_from_slice(b", ");
            }
            slot.extend_from_slice(&fields::unfold(value));
        };
        match &*lower {
            b"date" => _ = first(&mut head.date),
            b"subject" => _ = first(&mut head.subject),
            b"message-id" => _ = first(&mut head.message_id),
            b"in-reply-to" => _ = first(&mut head.in_reply_to),
            b"references" => {
                first(&mut head.references);
                return 0;
            }
            b"from" => all(&mut head.from),
            b"sender" => all(&mut head.sender),
            b"reply-to" => all(&mut head.reply_to),
            b"to" => all(&mut head.to),
            b"cc" => all(&mut head.cc),
            b"bcc" => all(&mut head.bcc),
            _ => return 0,
        }
        head.bytes += value.len();
        head.cut |= cut;
        0
    }

    fn content_field(&mut self, name: &[u8], value: &[u8]) -> usize {
        let known: [&[u8]; 8] = [
            b"type",
            b"transfer-encoding",
            b"id",
            b"description",
            b"md5",
            b"disposition",
            b"language",
            b"location",
        ];
        if !known.contains(&name) {
            return 0;
        }
        let fresh = self.details.is_none();
        let details = self.details.get_or_insert_default();
        let value = fields::unfold(value);
        let cost = value.len() + 64 + if fresh { size_of::<Details>() } else { 0 };
        match name {
            b"type" => _ = details.content_type.get_or_insert_with(|| param::parse(&value)),
            b"transfer-encoding" => {
                if details.encoding.is_none() {
                    let token = encoding_token(&value);
                    self.encoding = encoding_of(&token);
                    details.encoding = Some(token);
                }
            }
            b"id" => _ = details.id.get_or_insert(value),
            b"description" => _ = details.description.get_or_insert(value),
            b"md5" => _ = details.md5.get_or_insert(value),
            b"disposition" => _ = details.disposition.get_or_insert_with(|| param::parse(&value)),
            b"language" => {
                let tags =
                    value.split(|b| *b == b',').map(|t| t.trim_ascii().to_vec()).filter(|t| !t.is_empty());
                details.languages = tags.take(32).collect();
            }
            _ => _ = details.location.get_or_insert(value),
        }
        cost
    }
}

/// The encoding's name, without comments and what else follows it.
fn encoding_token(value: &[u8]) -> Vec<u8> {
    let token = param::parse(value).value;
    token.split(u8::is_ascii_whitespace).next().unwrap_or_default().to_vec()
}

fn encoding_of(token: &[u8]) -> Encoding {
    match token.to_ascii_lowercase().as_slice() {
        b"7bit" | b"" | b"7-bit" => Encoding::SevenBit,
        b"8bit" | b"8-bit" => Encoding::EightBit,
        b"binary" => Encoding::Binary,
        b"quoted-printable" => Encoding::QuotedPrintable,
        b"base64" => Encoding::Base64,
        _ => Encoding::Unknown,
    }
}
