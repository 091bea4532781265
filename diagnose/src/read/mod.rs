//! Readers: each looks for its own artefacts in a document, wherever they stand, and emits facts.

mod asked;
pub mod conversation;
pub mod events;
pub mod fuzz;
pub mod logs;
pub mod objects;
pub mod prose;
mod quoting;
pub mod scan;
mod supposed;
pub mod tools;
pub mod tree;
pub mod when;

use crate::fact::{FileId, Place};
use crate::sink::Sink;

/// A text, or a piece of a long one, by its lines: without line ends, and without the marks by which mail and forums quote.
#[derive(Debug)]
pub struct Doc<'a> {
    pub file: FileId,
    pub lines: Vec<&'a str>,
    /// The number of the first line.
    pub first: u32,
    /// Lines that a reader has understood. Others leave them alone.
    pub claimed: Vec<bool>,
}

impl<'a> Doc<'a> {
    pub fn new(file: FileId, lines: Vec<&'a str>, first: u32) -> Doc<'a> {
        let claimed = vec![false; lines.len()];
        Doc { file, lines, first, claimed }
    }

    /// The lines of a text, without the marks of quotation. `first` is the number of its first line in the file.
    pub fn of_text(file: FileId, text: &'a str, first: u32) -> Doc<'a> {
        Doc::new(file, quoting::lines(text), first)
    }

    /// Where the line with this index stands.
    pub fn place(&self, index: usize) -> Place {
        Place { file: self.file, line: self.first.saturating_add(u32::try_from(index).unwrap_or(u32::MAX)) }
    }

    /// The line, if nobody has claimed it.
    pub fn free(&self, index: usize) -> Option<&'a str> {
        match self.claimed.get(index) {
            Some(false) => self.lines.get(index).copied(),
            _ => None,
        }
    }

    pub fn claim(&mut self, lines: std::ops::Range<usize>) {
        for index in lines {
            if let Some(claimed) = self.claimed.get_mut(index) {
                *claimed = true;
            }
        }
    }
}

/// Looks through the lines that are free, emits facts, claims what it understood.
pub type Reader = fn(&mut Doc<'_>, &mut Sink<'_>);

/// All readers: those that are sure of their form first, lists and tables of anything later, prose last.
pub const READERS: &[(&str, Reader)] = &[
    ("logs", logs::reader),
    ("conversation", conversation::reader),
    ("events as XML", events::xml::read_doc),
    ("events", events::text::read),
    ("PowerShell errors", objects::errors::read),
    ("Health Checker", objects::checker::read),
    ("tools", tools::read),
    ("objects", objects::read),
    ("suppositions", supposed::reader),
    ("events in sentences", events::read_prose),
    ("prose", prose::reader),
];
