//! Files with others inside of them that are read in one go: saved messages with attachments, documents, archives in messages.
//! What is in them counts as the file itself, under a longer name.

use super::archive::Zip;
use super::at::At;
use super::magic::{Magic, magic};
use super::one::Reading;
use super::page::Page;
use super::{decode, html, mail, msg, office, walk};
use crate::sink::Sink;
use std::io::{Cursor, Read};
use std::sync::Arc;

/// Parts of an archive that is attached to a message, and sheets of a workbook.
const PARTS_MAX: usize = 2000;

impl Reading<'_> {
    /// A saved message whose parts are encoded; attachments are read as files of their own names.
    pub fn mail(
        &mut self,
        input: Box<dyn Read + '_>,
        depth: usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), String> {
        let bytes = self.all(input)?;
        let outer = sink.name();
        for part in mail::parts(&decode::text(&bytes)) {
            let name = part.name.map_or_else(|| outer.to_string(), |name| format!("{outer}!/{name}"));
            self.part(&name, part.bytes, depth, sink);
        }
        sink.set_name(&outer);
        Ok(())
    }

    /// A message of Outlook.
    pub fn compound(
        &mut self,
        input: Box<dyn Read + '_>,
        depth: usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), String> {
        let bytes = self.all(input)?;
        let Some(parts) = msg::parts(&bytes) else {
            return Err("an old Office document, or a damaged message of Outlook: save it as text".to_owned());
        };
        let outer = sink.name();
        for part in parts {
            match part {
                msg::Part::Text(text) => self.part(&outer, text.into_bytes(), depth, sink),
                msg::Part::Html(text) => {
                    let text = self.page(|page| html::fill(&text, page), sink);
                    self.part(&outer, text.into_bytes(), depth, sink);
                }
                msg::Part::Attachment { name, bytes } => {
                    self.part(&format!("{outer}!/{name}"), bytes, depth, sink);
                }
                msg::Part::Left(reason) => sink.trouble(reason),
            }
        }
        sink.set_name(&outer);
        Ok(())
    }

    /// A page of a browser, or a message's text as HTML.
    pub fn html(
        &mut self,
        input: Box<dyn Read + '_>,
        depth: usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), String> {
        let bytes = self.all(input)?;
        let text = decode::whole(&bytes).unwrap_or_default();
        let text = self.page(|page| html::fill(&text, page), sink);
        self.shown(text, depth, sink)
    }

    /// A document of Office.
    pub fn office(
        &mut self,
        zip: &Zip,
        kind: office::Kind,
        depth: usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), String> {
        let (parts, _) = zip.parts();
        let find = |name: &str| parts.iter().find(|part| part.name == name).map(|part| part.index);
        let text = |reading: &Self, name: &str| -> Result<String, String> {
            let index = find(name).ok_or_else(|| format!("{name} is missing in it"))?;
            let bytes = zip.read(index, reading.limits, |reader| reading.all(reader))??;
            Ok(decode::whole(&bytes).unwrap_or_default().into_owned())
        };
        if parts.iter().any(|part| part.name.contains("media/") || part.name.starts_with("Pictures/")) {
            sink.trouble("pictures in it were not looked at: text in pictures is not read, copy it as text");
        }
        match kind {
            office::Kind::Docx => {
                let xml = text(self, "word/document.xml")?;
                let shown = self.page(|page| office::docx(&xml, page), sink);
                self.shown(shown, depth, sink)
            }
            office::Kind::Odf => {
                let xml = text(self, "content.xml")?;
                let shown = self.page(|page| office::odf(&xml, page), sink);
                self.shown(shown, depth, sink)
            }
            office::Kind::Xlsx => {
                let shared =
                    text(self, "xl/sharedStrings.xml").map(|xml| office::shared(&xml)).unwrap_or_default();
                let dates = text(self, "xl/styles.xml").map(|xml| office::dates(&xml)).unwrap_or_default();
                let outer = sink.name();
                let sheets = parts.iter().filter(|part| part.name.starts_with("xl/worksheets/sheet"));
                for part in sheets.take(PARTS_MAX) {
                    let xml = text(self, &part.name)?;
                    let shown = self.page(|page| office::sheet(&xml, &shared, &dates, page), sink);
                    let sheet = part.name.rsplit('/').next().unwrap_or_default();
                    sink.set_name(&format!("{outer}!/{sheet}"));
                    self.shown(shown, depth, sink)?;
                }
                sink.set_name(&outer);
                Ok(())
            }
            office::Kind::Slides => Err("slides: save their text as a file".to_owned()),
        }
    }

    /// A part of a message; what is wrong with it is told.
    fn part(&mut self, name: &str, bytes: Vec<u8>, depth: usize, sink: &mut Sink<'_>) {
        let name = walk::shown(name);
        sink.set_name(&name);
        let size = bytes.len() as u64;
        let done = match magic(&bytes) {
            Magic::Zip if depth == 0 => self.zip(&name, bytes, sink),
            _ => self.stream(Box::new(Cursor::new(bytes)), size, depth + 1, sink),
        };
        if let Err(reason) = done {
            sink.trouble(format!("{name}: {reason}"));
        }
    }

    /// An archive or a document that is attached.
    fn zip(&mut self, name: &str, bytes: Vec<u8>, sink: &mut Sink<'_>) -> Result<(), String> {
        let zip = Zip::open(At::memory(Arc::from(bytes)), self.limits, Arc::default())?;
        let (parts, bad) = zip.parts();
        if let Some(kind) = office::kind(parts.iter().map(|part| part.name.as_str())) {
            return self.office(&zip, kind, 1, sink);
        }
        for (part, reason) in bad {
            sink.trouble(format!("{part}: {reason}"));
        }
        for part in parts.iter().take(PARTS_MAX) {
            let inner = format!("{name}!/{}", part.name);
            sink.set_name(&inner);
            let read = zip
                .read(part.index, self.limits, |reader| self.stream(Box::new(reader), part.packed, 1, sink));
            if let Err(reason) = read.and_then(|read| read) {
                sink.trouble(format!("{inner}: {reason}"));
            }
        }
        if parts.len() > PARTS_MAX {
            sink.trouble(format!("only {PARTS_MAX} parts of {name} were read: save it as a file of its own"));
        }
        Ok(())
    }

    /// All of a stream, which is held in memory.
    fn all(&self, input: impl Read) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        let limit = self.limits.whole;
        input.take(limit + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        if bytes.len() as u64 > limit {
            return Err(format!("longer than {} MiB: save what is of use in it as text", limit >> 20));
        }
        Ok(bytes)
    }

    fn page(&self, fill: impl FnOnce(&mut Page), sink: &mut Sink<'_>) -> String {
        let limit = self.limits.whole;
        let mut page = Page::new(usize::try_from(limit).unwrap_or(usize::MAX));
        fill(&mut page);
        if page.full {
            sink.trouble(format!("it has more than {} MiB of text: only those were read", limit >> 20));
        }
        page.finish()
    }

    /// The text of a document, read as a text of its own.
    fn shown(&mut self, text: String, depth: usize, sink: &mut Sink<'_>) -> Result<(), String> {
        let size = text.len() as u64;
        self.stream(Box::new(Cursor::new(text.into_bytes())), size, depth + 1, sink)
    }
}
