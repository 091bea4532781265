//! Binary XML of one chunk. Everything in it is bounded: the depth, the tokens of a record, the text; an offset leads to a name
//! or a template, never back into what is being read.

use super::value;
use crate::read::tree::Node;

/// Tokens of one record, those of its templates included; a large one has some hundreds.
const TOKENS_MAX: u32 = 20_000;
/// Elements in one another.
const DEPTH_MAX: usize = 32;
/// Templates in one another: one for the record, one for what the provider puts into it.
const NESTED_MAX: usize = 6;
/// Values of one template.
const VALUES_MAX: usize = 1024;
/// Bytes of text of one record.
const TEXT_MAX: usize = 256 * 1024;

/// A chunk's bytes; offsets count from its beginning.
#[derive(Debug)]
pub struct Chunk<'a> {
    bytes: &'a [u8],
}

/// A place in the bytes.
#[derive(Clone, Copy, Debug)]
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let next = self.at.checked_add(count).filter(|next| *next <= self.end)?;
        let part = self.bytes.get(self.at..next)?;
        self.at = next;
        Some(part)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn short(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }

    fn long(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.take(4)?.try_into().ok()?)).ok()
    }

    fn peek(&self) -> Option<u8> {
        (self.at < self.end).then(|| self.bytes.get(self.at).copied()).flatten()
    }
}

/// A value that a template is filled with.
#[derive(Clone, Copy, Debug)]
struct Slot<'a> {
    kind: u8,
    bytes: &'a [u8],
    /// Where it begins in the chunk.
    at: usize,
}

/// What is spent on one record.
struct Budget {
    tokens: u32,
    text: usize,
}

impl Budget {
    fn token(&mut self) -> Option<()> {
        self.tokens = self.tokens.checked_sub(1)?;
        Some(())
    }

    fn text(&mut self, node: &mut Node, text: &str) {
        if let Some(left) = self.text.checked_sub(text.len()) {
            self.text = left;
            node.text.push_str(text);
        }
    }
}

impl<'a> Chunk<'a> {
    pub fn new(bytes: &'a [u8]) -> Chunk<'a> {
        Chunk { bytes }
    }

    /// The event whose binary XML begins here and ends before `end`.
    pub fn event(&self, at: usize, end: usize) -> Option<Node> {
        let mut budget = Budget { tokens: TOKENS_MAX, text: TEXT_MAX };
        let mut root = Node::default();
        let mut cursor = Cursor { bytes: self.bytes, at, end };
        let whole = self.content(&mut cursor, &[], &mut root, 0, 0, &mut budget);
        let event = root.children.into_iter().find(|c| c.name == "Event");
        // A record that breaks off after its head still tells which event it was.
        event.filter(|e| whole.is_some() || e.child("System").is_some())
    }

    /// Tokens up to the end of an element or of the fragment, added to `parent`.
    fn content(
        &self,
        cursor: &mut Cursor<'a>,
        slots: &[Slot<'a>],
        parent: &mut Node,
        depth: usize,
        nested: usize,
        budget: &mut Budget,
    ) -> Option<()> {
        while let Some(token) = cursor.peek() {
            budget.token()?;
            cursor.at += 1;
            match token & 0x3f {
                // The end of the stream, of an element.
                0x00 | 0x04 => return Some(()),
                0x01 => {
                    let mut node = Node::default();
                    let result = self.element(cursor, token, slots, &mut node, depth, nested, budget);
                    self.place(node, parent);
                    result?;
                }
                0x05 => {
                    let text = self.value(cursor)?;
                    budget.text(parent, &text);
                }
                0x07 => {
                    let count = usize::from(cursor.short()?);
                    let text = value::utf16(cursor.take(count.checked_mul(2)?)?);
                    budget.text(parent, &text);
                }
                0x08 => {
                    let c = char::from_u32(u32::from(cursor.short()?)).unwrap_or(' ');
                    budget.text(parent, c.encode_utf8(&mut [0; 4]));
                }
                0x09 => {
                    let name = self.name(cursor)?;
                    budget.text(parent, entity(&name));
                }
                0x0a => {
                    self.name(cursor)?;
                }
                0x0b => {
                    let count = usize::from(cursor.short()?);
                    cursor.take(count.checked_mul(2)?)?;
                }
                0x0c => self.template(cursor, parent, depth, nested, budget)?,
                0x0d | 0x0e => self.substitute(cursor, slots, parent, depth, nested, budget)?,
                // The head of a fragment: its version and flags.
                0x0f => {
                    cursor.take(3)?;
                }
                _ => return None,
            }
        }
        Some(())
    }

    /// Puts an element into its parent; one whose value was an array stands there once for each item.
    fn place(&self, node: Node, parent: &mut Node) {
        let only_items = !node.children.is_empty() && node.children.iter().all(|c| c.name == ITEM);
        if !only_items {
            return parent.children.push(node);
        }
        for item in &node.children {
            parent.children.push(Node {
                name: node.name.clone(),
                attributes: node.attributes.clone(),
                text: item.text.clone(),
                children: Vec::new(),
            });
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the state of one walk")]
    fn element(
        &self,
        cursor: &mut Cursor<'a>,
        token: u8,
        slots: &[Slot<'a>],
        node: &mut Node,
        depth: usize,
        nested: usize,
        budget: &mut Budget,
    ) -> Option<()> {
        if depth >= DEPTH_MAX {
            return None;
        }
        // The number of what it depends on, and its size.
        cursor.short()?;
        cursor.long()?;
        node.name = self.name(cursor)?;
        if token & 0x40 != 0 {
            self.attributes(cursor, slots, node, depth, nested, budget)?;
        }
        match cursor.byte()? {
            // Closed with content to come, or empty.
            0x02 => self.content(cursor, slots, node, depth + 1, nested, budget),
            0x03 => Some(()),
            _ => None,
        }
    }

    fn attributes(
        &self,
        cursor: &mut Cursor<'a>,
        slots: &[Slot<'a>],
        node: &mut Node,
        depth: usize,
        nested: usize,
        budget: &mut Budget,
    ) -> Option<()> {
        cursor.long()?;
        while matches!(cursor.peek(), Some(0x06 | 0x46)) {
            budget.token()?;
            cursor.at += 1;
            let name = self.name(cursor)?;
            let mut held = Node::default();
            while let Some(token) = cursor.peek() {
                budget.token()?;
                match token & 0x3f {
                    0x05 => {
                        cursor.at += 1;
                        let text = self.value(cursor)?;
                        budget.text(&mut held, &text);
                    }
                    0x0d | 0x0e => {
                        cursor.at += 1;
                        self.substitute(cursor, slots, &mut held, depth, nested, budget)?;
                    }
                    0x08 => {
                        cursor.at += 1;
                        let c = char::from_u32(u32::from(cursor.short()?)).unwrap_or(' ');
                        budget.text(&mut held, c.encode_utf8(&mut [0; 4]));
                    }
                    0x09 => {
                        cursor.at += 1;
                        let name = self.name(cursor)?;
                        budget.text(&mut held, entity(&name));
                    }
                    _ => break,
                }
            }
            node.attributes.push((name, held.text));
        }
        Some(())
    }

    /// A value that stands in the XML itself.
    fn value(&self, cursor: &mut Cursor<'a>) -> Option<String> {
        let kind = cursor.byte()?;
        let size = match kind {
            1 => usize::from(cursor.short()?).checked_mul(2)?,
            2 | 14 | 19 => usize::from(cursor.short()?),
            3 | 4 => 1,
            5 | 6 => 2,
            7 | 8 | 11 | 13 | 20 => 4,
            9 | 10 | 12 | 16 | 17 | 21 => 8,
            15 | 18 => 16,
            _ => return None,
        };
        Some(value::show(kind, cursor.take(size)?).concat())
    }

    /// A name: its offset, and the name itself if it stands here for the first time.
    fn name(&self, cursor: &mut Cursor<'a>) -> Option<String> {
        let offset = cursor.long()?;
        let here = offset == cursor.at;
        let mut there = Cursor { bytes: self.bytes, at: offset, end: self.bytes.len() };
        // The offset of the next of the same hash, and the hash.
        there.take(6)?;
        let count = usize::from(there.short()?);
        let text = value::utf16(there.take(count.checked_mul(2)?)?);
        there.take(2)?;
        if here {
            cursor.take(there.at - offset)?;
        }
        (text.len() <= 512).then_some(text)
    }

    fn template(
        &self,
        cursor: &mut Cursor<'a>,
        parent: &mut Node,
        depth: usize,
        nested: usize,
        budget: &mut Budget,
    ) -> Option<()> {
        if nested >= NESTED_MAX {
            return None;
        }
        cursor.take(1)?;
        cursor.long()?;
        let offset = cursor.long()?;
        let here = offset == cursor.at;
        let mut body = Cursor { bytes: self.bytes, at: offset, end: self.bytes.len() };
        // The next of the same hash and the template's own number.
        body.take(20)?;
        let size = body.long()?;
        let begin = body.at;
        body.end = begin.checked_add(size).filter(|end| *end <= self.bytes.len())?;
        if here {
            cursor.at = body.end;
            if cursor.at > cursor.end {
                return None;
            }
        }
        let slots = self.slots(cursor)?;
        self.content(&mut body, &slots, parent, depth, nested + 1, budget)
    }

    fn slots(&self, cursor: &mut Cursor<'a>) -> Option<Vec<Slot<'a>>> {
        let count = cursor.long().filter(|n| *n <= VALUES_MAX)?;
        let mut sizes = Vec::with_capacity(count);
        for _ in 0..count {
            let size = usize::from(cursor.short()?);
            let kind = cursor.byte()?;
            cursor.byte()?;
            sizes.push((size, kind));
        }
        sizes
            .into_iter()
            .map(|(size, kind)| {
                let at = cursor.at;
                Some(Slot { kind, bytes: cursor.take(size)?, at })
            })
            .collect()
    }

    fn substitute(
        &self,
        cursor: &mut Cursor<'a>,
        slots: &[Slot<'a>],
        parent: &mut Node,
        depth: usize,
        nested: usize,
        budget: &mut Budget,
    ) -> Option<()> {
        let index = usize::from(cursor.short()?);
        cursor.byte()?;
        let Some(slot) = slots.get(index) else { return Some(()) };
        if slot.kind == value::BINXML {
            if nested >= NESTED_MAX {
                return None;
            }
            let mut inner = Cursor { bytes: self.bytes, at: slot.at, end: slot.at + slot.bytes.len() };
            return self.content(&mut inner, &[], parent, depth, nested + 1, budget);
        }
        let items = value::show(slot.kind, slot.bytes);
        match items.as_slice() {
            [] => {}
            [one] => budget.text(parent, one),
            several => {
                for item in several {
                    budget.token()?;
                    let mut node = Node::named(ITEM);
                    budget.text(&mut node, item);
                    parent.children.push(node);
                }
            }
        }
        Some(())
    }
}

/// What items of an array are called until they are placed; no element can have this name.
const ITEM: &str = "\0";

fn entity(name: &str) -> &'static str {
    match name {
        "lt" => "<",
        "gt" => ">",
        "amp" => "&",
        "quot" => "\"",
        "apos" => "'",
        _ => "",
    }
}
