//! A stored summary, read in place.

use crate::summary::{AddressText, DecodeError, Facts, Field, Part, SentDate, Structure, Summary};
use crate::wire::{self, Reader};
use std::ops::Range;
use waypost_base::Timestamp;

/// A stored summary, read in place. Making one costs a walk over some twenty lengths; nothing is copied.
#[derive(Clone, Copy, Debug)]
pub struct SummaryRef<'a> {
    /// Bytes of the whole message.
    pub size: u64,
    pub facts: Facts,
    pub date: Option<SentDate>,
    /// Without angle brackets; empty when there is none.
    pub message_id: &'a str,
    pub subject: &'a str,
    pub base_subject: &'a str,
    pub from: AddressRef<'a>,
    pub to: AddressRef<'a>,
    pub cc: AddressRef<'a>,
    pub bcc: AddressRef<'a>,
    pub preview: &'a str,
    envelope: &'a [u8],
    envelope_utf8: &'a [u8],
    structure: StructureRef<'a>,
    structure_utf8: StructureRef<'a>,
    in_reply_to: &'a [u8],
    references: &'a [u8],
    parts: &'a [u8],
    fields: &'a [u8],
    /// The header of the message ends here.
    header_end: u64,
}

#[derive(Clone, Copy, Debug)]
struct StructureRef<'a> {
    bytes: &'a [u8],
    extensions: &'a [u8],
}

/// [`AddressText`] in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressRef<'a> {
    pub text: &'a str,
    /// Local part of the first address: sort keys FROM, TO, CC.
    pub mailbox: &'a str,
    /// Display name of the first address, or else `mailbox@host`: sort keys DISPLAYFROM, DISPLAYTO.
    pub display: &'a str,
}

impl<'a> SummaryRef<'a> {
    pub fn new(bytes: &'a [u8]) -> Result<SummaryRef<'a>, DecodeError> {
        let mut r = Reader { rest: bytes };
        let version = r.byte()?;
        if version != wire::VERSION {
            return Err(DecodeError::Version(version));
        }
        let facts = Facts(r.number()? as u32);
        let size = r.number()?;
        let date = match r.number()? {
            0 => None,
            _ => Some(read_date(&mut r)?),
        };
        let envelope = r.string()?;
        let envelope_utf8 = r.string()?;
        let message_id = r.within(envelope)?;
        let subject = r.within(envelope)?;
        let base_subject = r.within(subject.as_bytes())?;
        let mut summary = SummaryRef {
            size,
            facts,
            date,
            message_id,
            subject,
            base_subject,
            from: read_address(&mut r)?,
            to: read_address(&mut r)?,
            cc: read_address(&mut r)?,
            bcc: read_address(&mut r)?,
            preview: r.text()?,
            envelope,
            envelope_utf8,
            structure: StructureRef { bytes: r.string()?, extensions: r.string()? },
            structure_utf8: StructureRef { bytes: r.string()?, extensions: r.string()? },
            in_reply_to: r.string()?,
            references: r.string()?,
            parts: r.string()?,
            fields: r.string()?,
            header_end: 0,
        };
        summary.header_end = Reader { rest: summary.parts }.part()?.header.end;
        if summary.header_end > size {
            return Err(DecodeError::Damaged("the header's end"));
        }
        Ok(summary)
    }

    /// A whole copy; finds all damage that reading in place passes over.
    pub fn to_owned(&self) -> Result<Summary, DecodeError> {
        let structure = |s: StructureRef<'_>| {
            let extensions = cuts(s.extensions).collect::<Result<Vec<_>, _>>()?;
            if extensions.last().is_some_and(|c| c.end as usize > s.bytes.len()) {
                return Err(DecodeError::Damaged("an extension"));
            }
            Ok(Structure { bytes: s.bytes.to_vec(), extensions })
        };
        let utf8 = structure(self.structure_utf8)?;
        Ok(Summary {
            size: self.size,
            facts: self.facts,
            date: self.date,
            message_id: self.message_id.into(),
            in_reply_to: texts(self.in_reply_to).map(|t| t.map(String::from)).collect::<Result<_, _>>()?,
            references: texts(self.references).map(|t| t.map(String::from)).collect::<Result<_, _>>()?,
            subject: self.subject.into(),
            base_subject: self.base_subject.into(),
            from: self.from.to_owned(),
            to: self.to.to_owned(),
            cc: self.cc.to_owned(),
            bcc: self.bcc.to_owned(),
            preview: self.preview.into(),
            envelope: self.envelope.to_vec(),
            envelope_utf8: (!self.envelope_utf8.is_empty()).then(|| self.envelope_utf8.to_vec()),
            structure: structure(self.structure)?,
            structure_utf8: (!utf8.bytes.is_empty()).then_some(utf8),
            parts: self.read_parts()?,
            fields: self.read_fields()?,
        })
    }

    /// Whether ENVELOPE, BODY or BODYSTRUCTURE left something out for its size: answer from a scan with `Limits::full()`.
    pub fn reparse(&self) -> bool {
        self.facts.envelope_partial() || self.facts.structure_partial()
    }

    /// `(…)` as it goes on the wire. `utf8`: the client enabled UTF8=ACCEPT or IMAP4rev2.
    pub fn envelope(&self, utf8: bool) -> &'a [u8] {
        if utf8 && !self.envelope_utf8.is_empty() { self.envelope_utf8 } else { self.envelope }
    }

    fn structure(&self, utf8: bool) -> StructureRef<'a> {
        if utf8 && !self.structure_utf8.bytes.is_empty() { self.structure_utf8 } else { self.structure }
    }

    /// BODYSTRUCTURE as it goes on the wire.
    pub fn body_structure(&self, utf8: bool) -> &'a [u8] {
        self.structure(utf8).bytes
    }

    /// Appends BODY (without extension data) as it goes on the wire.
    pub fn write_body(&self, utf8: bool, out: &mut Vec<u8>) {
        let structure = self.structure(utf8);
        let mut at = 0;
        for cut in cuts(structure.extensions).map_while(Result::ok) {
            out.extend_from_slice(structure.bytes.get(at..cut.start as usize).unwrap_or_default());
            at = cut.end as usize;
        }
        out.extend_from_slice(structure.bytes.get(at..).unwrap_or_default());
    }

    /// Message ids of In-Reply-To.
    pub fn in_reply_to(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        texts(self.in_reply_to).map_while(Result::ok)
    }

    /// Message ids of References, oldest first.
    pub fn references(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        texts(self.references).map_while(Result::ok)
    }

    /// What THREAD=REFERENCES goes by: References, or else the first id of In-Reply-To (RFC 5256 §3).
    pub fn thread_references(&self) -> Vec<&'a str> {
        let references: Vec<_> = self.references().collect();
        if references.is_empty() { self.in_reply_to().take(1).collect() } else { references }
    }

    /// The top-level header with its blank line.
    pub fn header(&self) -> Range<u64> {
        0..self.header_end
    }

    /// The part table, parents before children. Only sections other than BODY[], HEADER and TEXT need it.
    pub fn parts(&self) -> Vec<Part> {
        self.read_parts().unwrap_or_default()
    }

    fn read_parts(&self) -> Result<Vec<Part>, DecodeError> {
        let mut r = Reader { rest: self.parts };
        let mut parts: Vec<Part> = Vec::new();
        let mut children: Vec<u32> = Vec::new();
        while !r.rest.is_empty() {
            let mut part = r.part()?;
            let known = match part.parent {
                None => parts.is_empty(),
                Some(p) => (p as usize) < parts.len(),
            };
            if !known || part.body.end > self.size {
                return Err(DecodeError::Damaged("a part's place"));
            }
            part.number = match part.parent.and_then(|p| children.get_mut(p as usize)) {
                Some(count) => {
                    *count += 1;
                    *count
                }
                None => 1,
            };
            parts.push(part);
            children.push(0);
        }
        Ok(parts)
    }

    /// Names and ranges of the top-level header's fields, in order.
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, Range<u64>)> + use<'a> {
        field_ranges(self.fields, self.header_end).map_while(Result::ok)
    }

    fn read_fields(&self) -> Result<Vec<Field>, DecodeError> {
        field_ranges(self.fields, self.header_end)
            .map(|f| f.map(|(name, range)| Field { name: name.to_string(), range }))
            .collect()
    }
}

impl AddressRef<'_> {
    fn to_owned(self) -> AddressText {
        // The pieces are slices of the text, unless someone made this by hand; those get lost, not looked for.
        let place = |piece: &str| {
            let start = (piece.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
            match self.text.get(start..start.wrapping_add(piece.len())) {
                Some(same) if same == piece => start as u32..(start + piece.len()) as u32,
                _ => 0..0,
            }
        };
        AddressText { text: self.text.into(), mailbox: place(self.mailbox), display: place(self.display) }
    }
}

fn read_date(r: &mut Reader<'_>) -> Result<SentDate, DecodeError> {
    let seconds = r.signed()?;
    let offset = r.signed()?;
    let offset = i16::try_from(offset).map_err(|_| DecodeError::Damaged("the date"))?;
    let millis = seconds.checked_mul(1000).ok_or(DecodeError::Damaged("the date"))?;
    Ok(SentDate { at: Timestamp(millis), offset })
}

fn read_address<'a>(r: &mut Reader<'a>) -> Result<AddressRef<'a>, DecodeError> {
    let text = r.text()?;
    if text.is_empty() {
        return Ok(AddressRef { text, mailbox: text, display: text });
    }
    let mut piece = || {
        let range = r.range()?;
        text.get(range.start as usize..range.end as usize).ok_or(DecodeError::Damaged("an address"))
    };
    Ok(AddressRef { text, mailbox: piece()?, display: piece()? })
}

/// Reads items until the bytes end or one is damaged.
fn items<'a, T>(
    bytes: &'a [u8],
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> impl Iterator<Item = Result<T, DecodeError>> {
    let mut r = Reader { rest: bytes };
    std::iter::from_fn(move || {
        if r.rest.is_empty() {
            return None;
        }
        let item = read(&mut r);
        if item.is_err() {
            r.rest = &[];
        }
        Some(item)
    })
}

fn texts(bytes: &[u8]) -> impl Iterator<Item = Result<&str, DecodeError>> {
    items(bytes, |r| r.text())
}

fn cuts(bytes: &[u8]) -> impl Iterator<Item = Result<Range<u32>, DecodeError>> {
    let mut last = 0u32;
    items(bytes, move |r| {
        let cut = r.range()?;
        let damaged = DecodeError::Damaged("an extension");
        let start = last.checked_add(cut.start).ok_or(damaged)?;
        let end = last.checked_add(cut.end).ok_or(damaged)?;
        last = end;
        Ok(start..end)
    })
}

fn field_ranges(
    bytes: &[u8],
    header_end: u64,
) -> impl Iterator<Item = Result<(&str, Range<u64>), DecodeError>> {
    let mut at = 0u64;
    items(bytes, move |r| {
        let (name, length) = r.field()?;
        let end =
            at.checked_add(length).filter(|e| *e <= header_end).ok_or(DecodeError::Damaged("a field"))?;
        let range = at..end;
        at = end;
        Ok((name, range))
    })
}
