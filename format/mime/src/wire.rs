//! The stored form of a summary.
//!
//! Version 1. Numbers are LEB128 (little groups of seven bits first, at most ten bytes); signed numbers are zigzag. A *string* is
//! its length and its bytes. In this order:
//!
//! ```text
//! version       one byte, 1
//! facts, size   numbers
//! date          0, or 1 + signed seconds since 1970 + signed minutes east of UTC
//! envelope, envelope for UTF-8 (empty: the same)            strings
//! message id, subject          each: 0 + string, or 1 + place within the envelope + length
//! base subject                 0 + string, or 1 + place within the subject + length
//! from, to, cc, bcc            each: string, and when it is not empty: mailbox place, length, display place, length
//! preview                      string
//! structure, structure for UTF-8    each: string, string of its extensions: pairs (distance from the last end, length)
//! in-reply-to, references      each: string of strings
//! parts                        string of parts
//! fields                       string of fields
//! ```
//!
//! A part: a byte (bits 0-1 kind, 2-4 encoding, 5 attachment), parent + 1, header start, header length, body length, lines,
//! media name, charset name. A field: name, length; the first begins with the header and each where the last ended.
//! A name is 0 + string, or its number in one of the tables below, which may only grow at their ends.
//! Bytes after the fields are for later versions of this program, and are passed over.

use crate::summary::{AddressText, DecodeError, Encoding, Field, Part, PartKind, Structure, Summary};
use std::ops::Range;

pub(crate) const VERSION: u8 = 1;

pub(crate) static MEDIA: &[&str] = &[
    "text/plain",
    "text/html",
    "multipart/mixed",
    "multipart/alternative",
    "multipart/related",
    "multipart/signed",
    "multipart/report",
    "multipart/digest",
    "message/rfc822",
    "message/delivery-status",
    "application/octet-stream",
    "application/pdf",
    "image/jpeg",
    "image/png",
    "image/gif",
    "text/calendar",
    "application/pgp-signature",
    "text/rfc822-headers",
    "application/zip",
    "application/msword",
];

pub(crate) static CHARSETS: &[&str] = &[
    "",
    "utf-8",
    "us-ascii",
    "iso-8859-1",
    "windows-1252",
    "iso-8859-15",
    "iso-8859-2",
    "windows-1251",
    "gb2312",
    "koi8-r",
];

pub(crate) static NAMES: &[&str] = &[
    "Received",
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Return-Path",
    "Delivered-To",
    "Cc",
    "Bcc",
    "Reply-To",
    "Sender",
    "In-Reply-To",
    "References",
    "DKIM-Signature",
    "Authentication-Results",
    "Received-SPF",
    "X-Mailer",
    "User-Agent",
    "List-Id",
    "List-Unsubscribe",
    "List-Post",
    "List-Help",
    "List-Subscribe",
    "List-Archive",
    "Precedence",
    "Content-Disposition",
    "Content-Language",
    "Importance",
    "X-Priority",
    "Auto-Submitted",
    "ARC-Seal",
    "ARC-Message-Signature",
    "ARC-Authentication-Results",
    "Message-Id",
    "CC",
    "Mime-Version",
    "List-Unsubscribe-Post",
    "Feedback-ID",
    "X-Originating-IP",
    "Thread-Topic",
    "Thread-Index",
    "Errors-To",
    "X-Spam-Status",
    "Status",
    "X-Google-DKIM-Signature",
    "X-Received",
];

pub(crate) fn encode(s: &Summary) -> Vec<u8> {
    let mut w = Writer { out: Vec::with_capacity(1024) };
    w.out.push(VERSION);
    w.number(u64::from(s.facts.0));
    w.number(s.size);
    match s.date {
        None => w.number(0),
        Some(date) => {
            w.number(1);
            w.signed(date.at.as_seconds());
            w.signed(i64::from(date.offset));
        }
    }
    w.string(&s.envelope);
    w.string(s.envelope_utf8.as_deref().unwrap_or_default());
    w.within(s.message_id.as_bytes(), &s.envelope);
    w.within(s.subject.as_bytes(), &s.envelope);
    w.within(s.base_subject.as_bytes(), s.subject.as_bytes());
    for text in [&s.from, &s.to, &s.cc, &s.bcc] {
        w.address(text);
    }
    w.string(s.preview.as_bytes());
    let none = Structure::default();
    for structure in [&s.structure, s.structure_utf8.as_ref().unwrap_or(&none)] {
        w.string(&structure.bytes);
        w.nested(|w| w.extensions(&structure.extensions));
    }
    for list in [&s.in_reply_to, &s.references] {
        w.nested(|w| list.iter().for_each(|id| w.string(id.as_bytes())));
    }
    w.nested(|w| s.parts.iter().for_each(|p| w.part(p)));
    w.nested(|w| s.fields.iter().for_each(|f| w.field(f)));
    w.out
}

struct Writer {
    out: Vec<u8>,
}

impl Writer {
    fn number(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.out.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.out.push(n as u8);
    }

    fn signed(&mut self, n: i64) {
        self.number((n << 1 ^ n >> 63) as u64);
    }

    fn string(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    fn nested(&mut self, write: impl FnOnce(&mut Writer)) {
        let mut inner = Writer { out: Vec::new() };
        write(&mut inner);
        self.string(&inner.out);
    }

    fn within(&mut self, text: &[u8], whole: &[u8]) {
        match memchr::memmem::find(whole, text).filter(|_| text.len() > 3) {
            Some(at) => {
                self.number(1);
                self.number(at as u64);
                self.number(text.len() as u64);
            }
            None => {
                self.number(0);
                self.string(text);
            }
        }
    }

    fn address(&mut self, a: &AddressText) {
        self.string(a.text.as_bytes());
        if !a.text.is_empty() {
            for range in [&a.mailbox, &a.display] {
                self.number(u64::from(range.start));
                self.number(u64::from(range.end.saturating_sub(range.start)));
            }
        }
    }

    fn extensions(&mut self, cuts: &[Range<u32>]) {
        let mut last = 0;
        for cut in cuts {
            self.number(u64::from(cut.start.saturating_sub(last)));
            self.number(u64::from(cut.end.saturating_sub(cut.start)));
            last = cut.end;
        }
    }

    fn name(&mut self, name: &str, table: &[&str]) {
        match table.iter().position(|n| *n == name) {
            Some(i) => self.number(i as u64 + 1),
            None => {
                self.number(0);
                self.string(name.as_bytes());
            }
        }
    }

    fn part(&mut self, p: &Part) {
        let kind = match p.kind {
            PartKind::Leaf => 0,
            PartKind::Multipart => 1,
            PartKind::Message => 2,
        };
        let encoding = match p.encoding {
            Encoding::SevenBit => 0,
            Encoding::EightBit => 1,
            Encoding::Binary => 2,
            Encoding::QuotedPrintable => 3,
            Encoding::Base64 => 4,
            Encoding::Unknown => 5,
        };
        self.out.push(kind | encoding << 2 | u8::from(p.attachment) << 5);
        self.number(p.parent.map_or(0, |i| u64::from(i) + 1));
        self.number(p.header.start);
        self.number(p.header.end.saturating_sub(p.header.start));
        self.number(p.body.end.saturating_sub(p.body.start));
        self.number(p.lines);
        self.name(&p.media, MEDIA);
        self.name(&p.charset, CHARSETS);
    }

    fn field(&mut self, f: &Field) {
        self.name(&f.name, NAMES);
        self.number(f.range.end.saturating_sub(f.range.start));
    }
}

/// Reads stored bytes from their front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    pub rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        let (&b, tail) = self.rest.split_first().ok_or(DecodeError::Short)?;
        self.rest = tail;
        Ok(b)
    }

    pub fn number(&mut self) -> Result<u64, DecodeError> {
        let mut n = 0u64;
        for shift in (0..70).step_by(7) {
            let b = self.byte()?;
            let bits = u64::from(b & 0x7F);
            if shift == 63 && bits > 1 {
                break;
            }
            n |= bits << shift;
            if b < 0x80 {
                return Ok(n);
            }
        }
        Err(DecodeError::Damaged("a number"))
    }

    pub fn signed(&mut self) -> Result<i64, DecodeError> {
        let n = self.number()?;
        Ok((n >> 1) as i64 ^ -((n & 1) as i64))
    }

    pub fn string(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(self.number()?).map_err(|_| DecodeError::Short)?;
        let (head, tail) = self.rest.split_at_checked(length).ok_or(DecodeError::Short)?;
        self.rest = tail;
        Ok(head)
    }

    pub fn text(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.string()?).map_err(|_| DecodeError::Damaged("a text"))
    }

    pub fn within(&mut self, whole: &'a [u8]) -> Result<&'a str, DecodeError> {
        if self.number()? == 0 {
            return self.text();
        }
        let (at, length) = (self.number()?, self.number()?);
        let end = at.checked_add(length).ok_or(DecodeError::Damaged("a place"))?;
        let bytes = whole.get(at as usize..end as usize).ok_or(DecodeError::Damaged("a place"))?;
        std::str::from_utf8(bytes).map_err(|_| DecodeError::Damaged("a text"))
    }

    pub fn range(&mut self) -> Result<Range<u32>, DecodeError> {
        let (at, length) = (self.number()?, self.number()?);
        let end = at
            .checked_add(length)
            .and_then(|e| u32::try_from(e).ok())
            .ok_or(DecodeError::Damaged("a range"))?;
        Ok(at as u32..end)
    }

    fn name(&mut self, table: &[&'static str]) -> Result<&'a str, DecodeError> {
        match self.number()? {
            0 => self.text(),
            n => table.get(n as usize - 1).copied().ok_or(DecodeError::Damaged("a name")),
        }
    }

    pub fn part(&mut self) -> Result<Part, DecodeError> {
        let bits = self.byte()?;
        let kind = match bits & 3 {
            0 => PartKind::Leaf,
            1 => PartKind::Multipart,
            2 => PartKind::Message,
            _ => return Err(DecodeError::Damaged("a part's kind")),
        };
        let encoding = match bits >> 2 & 7 {
            0 => Encoding::SevenBit,
            1 => Encoding::EightBit,
            2 => Encoding::Binary,
            3 => Encoding::QuotedPrintable,
            4 => Encoding::Base64,
            _ => Encoding::Unknown,
        };
        let parent = match self.number()? {
            0 => None,
            n => Some(u32::try_from(n - 1).map_err(|_| DecodeError::Damaged("a part's parent"))?),
        };
        let start = self.number()?;
        let sum = |a: u64, b: u64| a.checked_add(b).ok_or(DecodeError::Damaged("a part's place"));
        let body = sum(start, self.number()?)?;
        let end = sum(body, self.number()?)?;
        let lines = self.number()?;
        let media = self.name(MEDIA)?.to_string();
        let charset = self.name(CHARSETS)?.to_string();
        Ok(Part {
            parent,
            number: 0,
            kind,
            encoding,
            header: start..body,
            body: body..end,
            lines,
            media,
            charset,
            attachment: bits & 0x20 != 0,
        })
    }

    /// A field's name and length.
    pub fn field(&mut self) -> Result<(&'a str, u64), DecodeError> {
        Ok((self.name(NAMES)?, self.number()?))
    }
}
