//! FETCH: its items, sections and modifiers.

use super::parser::{Parser, Result};
use super::printer::Printer;
use super::{Body, Fetch, FetchItem, Partial, Problem, Section, SectionText};
use crate::limits;
use crate::response::{write_part, write_section};

/// ```abnf
/// fetch     = "FETCH" SP sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")")
///             [SP "(" fetch-modifier *(SP fetch-modifier) ")"]
/// ```
pub(crate) fn fetch(p: &mut Parser<'_>, uid: bool) -> Result<Body> {
    p.space()?;
    let set = p.sequence_set()?;
    p.space()?;
    let mut items = Vec::new();
    if p.peek() == Some(b'(') {
        p.list(|p| {
            if items.len() == limits::FETCH_ITEMS {
                return p.too_large("List of items");
            }
            items.push(item(p)?);
            Ok(())
        })?;
    } else if !macros(p, &mut items) {
        items.push(item(p)?);
    }
    let mut fetch = Fetch { uid, set, items, changed_since: None, vanished: false };
    if p.eat(b' ') {
        modifiers(p, &mut fetch)?;
    }
    Ok(Body::Fetch(fetch))
}

/// RFC 9051 §6.4.5: a macro stands alone.
fn macros(p: &mut Parser<'_>, items: &mut Vec<FetchItem>) -> bool {
    let word = p.rest().split(|b| *b == b' ').next().unwrap_or_default();
    let expanded: &[FetchItem] = if word.eq_ignore_ascii_case(b"ALL") {
        &[FetchItem::Flags, FetchItem::InternalDate, FetchItem::Size, FetchItem::Envelope]
    } else if word.eq_ignore_ascii_case(b"FAST") {
        &[FetchItem::Flags, FetchItem::InternalDate, FetchItem::Size]
    } else if word.eq_ignore_ascii_case(b"FULL") {
        &[FetchItem::Flags, FetchItem::InternalDate, FetchItem::Size, FetchItem::Envelope, FetchItem::Body]
    } else {
        return false;
    };
    items.extend_from_slice(expanded);
    p.take_while(|b| b != b' ');
    true
}

/// ```abnf
/// fetch-modifier = "CHANGEDSINCE" SP mod-sequence-value / "VANISHED"       ; RFC 7162 §7
/// ```
fn modifiers(p: &mut Parser<'_>, fetch: &mut Fetch) -> Result<()> {
    p.list(|p| {
        match p.word("a FETCH modifier")?.as_bytes() {
            b"CHANGEDSINCE" => {
                p.space()?;
                fetch.changed_since = Some(p.number64()?);
            }
            b"VANISHED" => fetch.vanished = true,
            _ => return p.expected("a FETCH modifier"),
        }
        Ok(())
    })?;
    // RFC 7162 §3.2.6
    if fetch.vanished && (!fetch.uid || fetch.changed_since.is_none()) {
        return Err(Problem::Conflict("VANISHED needs UID FETCH and CHANGEDSINCE"));
    }
    Ok(())
}

/// ```abnf
/// fetch-att = "ENVELOPE" / "FLAGS" / "INTERNALDATE" / "RFC822.SIZE" / "BODY" ["STRUCTURE"] / "UID"
///             / "BODY" section ["<" number64 "." nz-number64 ">"] / "BODY.PEEK" section [partial]
///             / "BINARY" [".PEEK"] section-binary [partial] / "BINARY.SIZE" section-binary
/// fetch-att =/ "RFC822" [".HEADER" / ".TEXT"]      ; RFC 3501
/// fetch-att =/ "MODSEQ" / "EMAILID" / "THREADID" / "SAVEDATE" / "PREVIEW" [SP "(" "LAZY" ")"]
/// ```
fn item(p: &mut Parser<'_>) -> Result<FetchItem> {
    let name = p.take_while(|b| b.is_ascii_alphanumeric() || b == b'.').to_ascii_uppercase();
    Ok(match name.as_slice() {
        b"FLAGS" => FetchItem::Flags,
        b"UID" => FetchItem::Uid,
        b"INTERNALDATE" => FetchItem::InternalDate,
        b"RFC822.SIZE" => FetchItem::Size,
        b"ENVELOPE" => FetchItem::Envelope,
        b"BODYSTRUCTURE" => FetchItem::BodyStructure,
        b"BODY" if p.peek() != Some(b'[') => FetchItem::Body,
        b"BODY" | b"BODY.PEEK" => {
            let peek = name.len() > 4;
            let section = section(p)?;
            FetchItem::Section { peek, section, partial: partial(p)? }
        }
        b"RFC822" => FetchItem::Rfc822,
        b"RFC822.HEADER" => FetchItem::Rfc822Header,
        b"RFC822.TEXT" => FetchItem::Rfc822Text,
        b"BINARY" | b"BINARY.PEEK" => {
            let peek = name.len() > 6;
            let part = section_binary(p)?;
            FetchItem::Binary { peek, part, partial: partial(p)? }
        }
        b"BINARY.SIZE" => FetchItem::BinarySize { part: section_binary(p)? },
        b"MODSEQ" => FetchItem::ModSeq,
        b"EMAILID" => FetchItem::EmailId,
        b"THREADID" => FetchItem::ThreadId,
        b"SAVEDATE" => FetchItem::SaveDate,
        b"PREVIEW" => FetchItem::Preview { lazy: lazy(p)? },
        _ => return p.expected("a FETCH item"),
    })
}

/// RFC 8970 §3.1 gives one modifier; `(` after a space can otherwise only begin the modifiers of FETCH itself.
fn lazy(p: &mut Parser<'_>) -> Result<bool> {
    if p.eat_text(" (LAZY)") {
        return Ok(true);
    }
    Ok(false)
}

/// ```abnf
/// section         = "[" [section-spec] "]"
/// section-spec    = section-msgtext / (section-part ["." section-text])
/// section-msgtext = "HEADER" / "HEADER.FIELDS" [".NOT"] SP header-list / "TEXT"
/// section-text    = section-msgtext / "MIME"
/// ```
fn section(p: &mut Parser<'_>) -> Result<Section> {
    p.need(b'[', "a section")?;
    let part = section_part(p)?;
    let text = if p.peek() == Some(b']') && !p.rest().is_empty() {
        SectionText::Whole
    } else {
        if !part.is_empty() {
            p.need(b'.', "a dot or the end of a section")?;
        }
        section_text(p, !part.is_empty())?
    };
    p.need(b']', "the end of a section")?;
    Ok(Section { part, text })
}

/// ```abnf
/// section-part = nz-number *("." nz-number)
/// ```
fn section_part(p: &mut Parser<'_>) -> Result<Vec<u32>> {
    let mut part = Vec::new();
    while p.peek().is_some_and(|b| b.is_ascii_digit()) {
        if part.len() == limits::PART_DEPTH {
            return p.too_large("Part number");
        }
        part.push(p.nz_number()?);
        // The dot belongs to the part number only if a digit follows.
        match p.rest() {
            [b'.', b'0'..=b'9', ..] => p.need(b'.', "a dot")?,
            _ => break,
        }
    }
    Ok(part)
}

fn section_text(p: &mut Parser<'_>, in_part: bool) -> Result<SectionText> {
    let name = p.take_while(|b| b.is_ascii_alphabetic() || b == b'.').to_ascii_uppercase();
    Ok(match name.as_slice() {
        b"HEADER" => SectionText::Header,
        b"TEXT" => SectionText::Text,
        b"MIME" if in_part => SectionText::Mime,
        b"HEADER.FIELDS" => SectionText::HeaderFields(header_list(p)?),
        b"HEADER.FIELDS.NOT" => SectionText::HeaderFieldsNot(header_list(p)?),
        _ => return p.expected("the name of a section"),
    })
}

/// ```abnf
/// header-list = "(" header-fld-name *(SP header-fld-name) ")"
/// ```
fn header_list(p: &mut Parser<'_>) -> Result<Vec<String>> {
    p.space()?;
    let mut fields = Vec::new();
    p.list(|p| {
        if fields.len() == limits::HEADER_FIELDS {
            return p.too_large("List of header fields");
        }
        fields.push(p.text()?);
        Ok(())
    })?;
    Ok(fields)
}

/// ```abnf
/// section-binary = "[" [section-part] "]"
/// ```
fn section_binary(p: &mut Parser<'_>) -> Result<Vec<u32>> {
    p.need(b'[', "a section")?;
    let part = section_part(p)?;
    p.need(b']', "the end of a section")?;
    Ok(part)
}

/// ```abnf
/// partial = "<" number64 "." nz-number64 ">"
/// ```
fn partial(p: &mut Parser<'_>) -> Result<Option<Partial>> {
    if !p.eat(b'<') {
        return Ok(None);
    }
    let offset = p.number64()?;
    p.need(b'.', "a dot")?;
    let length = p.number64()?;
    if length == 0 {
        return p.expected("a length above 0");
    }
    p.need(b'>', "the end of a partial range")?;
    Ok(Some(Partial { offset, length }))
}

impl FetchItem {
    /// Whether fetching it sets \Seen (RFC 9051 §6.4.5).
    pub fn marks_seen(&self) -> bool {
        match self {
            FetchItem::Section { peek, .. } | FetchItem::Binary { peek, .. } => !peek,
            FetchItem::Rfc822 | FetchItem::Rfc822Text => true,
            _ => false,
        }
    }
}

pub(crate) fn print_fetch(p: &mut Printer<'_>, fetch: &Fetch) {
    p.raw("FETCH ").sequence_set(&fetch.set).raw(" ");
    p.list(&fetch.items, print_item);
    if fetch.changed_since.is_none() && !fetch.vanished {
        return;
    }
    p.raw(" (");
    if let Some(n) = fetch.changed_since {
        p.raw("CHANGEDSINCE ").number(n);
    }
    p.raw(if fetch.vanished { " VANISHED)" } else { ")" });
}

fn print_item(p: &mut Printer<'_>, item: &FetchItem) {
    let name = match item {
        FetchItem::Flags => "FLAGS",
        FetchItem::Uid => "UID",
        FetchItem::InternalDate => "INTERNALDATE",
        FetchItem::Size => "RFC822.SIZE",
        FetchItem::Envelope => "ENVELOPE",
        FetchItem::Body => "BODY",
        FetchItem::BodyStructure => "BODYSTRUCTURE",
        FetchItem::Rfc822 => "RFC822",
        FetchItem::Rfc822Header => "RFC822.HEADER",
        FetchItem::Rfc822Text => "RFC822.TEXT",
        FetchItem::ModSeq => "MODSEQ",
        FetchItem::EmailId => "EMAILID",
        FetchItem::ThreadId => "THREADID",
        FetchItem::SaveDate => "SAVEDATE",
        FetchItem::Preview { lazy: false } => "PREVIEW",
        FetchItem::Preview { lazy: true } => "PREVIEW (LAZY)",
        FetchItem::Section { peek, section, partial } => {
            p.raw(if *peek { "BODY.PEEK[" } else { "BODY[" });
            write_section(p.out, section);
            p.raw("]");
            return print_partial(p, *partial);
        }
        FetchItem::Binary { peek, part, partial } => {
            p.raw(if *peek { "BINARY.PEEK[" } else { "BINARY[" });
            write_part(p.out, part);
            p.raw("]");
            return print_partial(p, *partial);
        }
        FetchItem::BinarySize { part } => {
            p.raw("BINARY.SIZE[");
            write_part(p.out, part);
            "]"
        }
    };
    p.raw(name);
}

fn print_partial(p: &mut Printer<'_>, partial: Option<Partial>) {
    if let Some(partial) = partial {
        p.raw("<").number(partial.offset).raw(".").number(partial.length).raw(">");
    }
}
