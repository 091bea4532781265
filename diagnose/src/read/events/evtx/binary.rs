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

/// One record as it is read: what is left to spend on it, and how deep it is in.
struct Walk<'a> {
    bytes: &'a [u8],
    tokens: u32,
    text: usize,
    /// Elements about it.
    depth: usize,
    /// Templates about it, and XML that is a value.
    nested: usize,
}

impl<'a> Chunk<'a> {
    pub fn new(bytes: &'a [u8]) -> Chunk<'a> {
        Chunk { bytes }
    }

    /// The event whose binary XML begins here and ends before `end`.
    pub fn event(&self, at: usize, end: usize) -> Option<Node> {
        let mut walk = Walk { bytes: self.bytes, tokens: TOKENS_MAX, text: TEXT_MAX, depth: 0, nested: 0 };
        let mut root = Node::default();
        let mut cursor = Cursor { bytes: self.bytes, at, end };
        let whole = walk.content(&mut cursor, &[], &mut root);
        let event = root.children.into_iter().find(|c| c.name == "Event");
        // A record that breaks off after its head still tells which event it was.
        event.filter(|e| whole.is_some() || e.child("System").is_some())
    }
}

/// Nothing as an answer ends the record.
impl<'a> Walk<'a> {
    fn token(&mut self) -> Option<()> {
        self.tokens = self.tokens.checked_sub(1)?;
        Some(())
    }

    fn add(&mut self, node: &mut Node, text: &str) {
        if let Some(left) = self.text.checked_sub(text.len()) {
            self.text = left;
            node.text.push_str(text);
        }
    }

    /// Tokens up to the end of an element or of the fragment, added to `parent`.
    fn content(&mut self, cursor: &mut Cursor<'a>, slots: &[Slot<'a>], parent: &mut Node) -> Option<()> {
        while let Some(token) = cursor.peek() {
            self.token()?;
            cursor.at += 1;
            match token & 0x3f {
                // The end of the stream, of an element.
                0x00 | 0x04 => return Some(()),
                0x01 => {
                    let mut node = Node::default();
                    let result = self.element(cursor, token, slots, &mut node);
                    place(node, parent);
                    result?;
                }
                0x07 => {
                    let count = usize::from(cursor.short()?);
                    let text = value::utf16(cursor.take(count.checked_mul(2)?)?);
                    self.add(parent, &text);
                }
                0x0a => {
                    self.name(cursor)?;
                }
                0x0b => {
                    let count = usize::from(cursor.short()?);
                    cursor.take(count.checked_mul(2)?)?;
                }
                0x0c => self.template(cursor, parent)?,
                // The head of a fragment: its version and flags.
                0x0f => {
                    cursor.take(3)?;
                }
                token if self.piece(token, cursor, slots, parent)? => {}
                _ => return None,
            }
        }
        Some(())
    }

    /// A piece of text, such as stands in elements and in attributes; false: the token is none.
    fn piece(
        &mut self,
        token: u8,
        cursor: &mut Cursor<'a>,
        slots: &[Slot<'a>],
        into: &mut Node,
    ) -> Option<bool> {
        match token {
            0x05 => {
                let text = inline(cursor)?;
                self.add(into, &text);
            }
            0x08 => {
                let c = char::from_u32(u32::from(cursor.short()?)).unwrap_or(' ');
                self.add(into, c.encode_utf8(&mut [0; 4]));
            }
            0x09 => {
                let name = self.name(cursor)?;
                self.add(into, entity(&name));
            }
            0x0d | 0x0e => self.substitute(cursor, slots, into)?,
            _ => return Some(false),
        }
        Some(true)
    }

    fn element(
        &mut self,
        cursor: &mut Cursor<'a>,
        token: u8,
        slots: &[Slot<'a>],
        node: &mut Node,
    ) -> Option<()> {
        if self.depth >= DEPTH_MAX {
            return None;
        }
        // The number of what it depends on, and its size.
        cursor.short()?;
        cursor.long()?;
        node.name = self.name(cursor)?;
        if token & 0x40 != 0 {
            self.attributes(cursor, slots, node)?;
        }
        match cursor.byte()? {
            // Closed with content to come, or empty.
            0x02 => {
                self.depth += 1;
                self.content(cursor, slots, node)?;
                self.depth -= 1;
                Some(())
            }
            0x03 => Some(()),
            _ => None,
        }
    }

    fn attributes(&mut self, cursor: &mut Cursor<'a>, slots: &[Slot<'a>], node: &mut Node) -> Option<()> {
        cursor.long()?;
        while matches!(cursor.peek(), Some(0x06 | 0x46)) {
            self.token()?;
            cursor.at += 1;
            let name = self.name(cursor)?;
            let mut held = Node::default();
            while let Some(token) = cursor.peek() {
                self.token()?;
                let before = cursor.at;
                cursor.at += 1;
                if !self.piece(token & 0x3f, cursor, slots, &mut held)? {
                    cursor.at = before;
                    break;
                }
            }
            node.attributes.push((name, held.text));
        }
        Some(())
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

    fn template(&mut self, cursor: &mut Cursor<'a>, parent: &mut Node) -> Option<()> {
        if self.nested >= NESTED_MAX {
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
        let slots = slots(cursor)?;
        self.within(&mut body, &slots, parent)
    }

    /// What stands in a template or in a value, one deeper.
    fn within(&mut self, cursor: &mut Cursor<'a>, slots: &[Slot<'a>], parent: &mut Node) -> Option<()> {
        self.nested += 1;
        self.content(cursor, slots, parent)?;
        self.nested -= 1;
        Some(())
    }

    fn substitute(&mut self, cursor: &mut Cursor<'a>, slots: &[Slot<'a>], parent: &mut Node) -> Option<()> {
        let index = usize::from(cursor.short()?);
        cursor.byte()?;
        let Some(slot) = slots.get(index) else { return Some(()) };
        if slot.kind == value::BINXML {
            if self.nested >= NESTED_MAX {
                return None;
            }
            let mut inner = Cursor { bytes: self.bytes, at: slot.at, end: slot.at + slot.bytes.len() };
            return self.within(&mut inner, &[], parent);
        }
        let items = value::show(slot.kind, slot.bytes);
        match items.as_slice() {
            [] => {}
            [one] => self.add(parent, one),
            several => {
                for item in several {
                    self.token()?;
                    let mut node = Node::named(ITEM);
                    self.add(&mut node, item);
                    parent.children.push(node);
                }
            }
        }
        Some(())
    }
}

/// A value that stands in the XML itself.
fn inline(cursor: &mut Cursor<'_>) -> Option<String> {
    let kind = cursor.byte()?;
    let size = match kind {
        1 => usize::from(cursor.short()?).checked_mul(2)?,
        2 | 14 | 19 => usize::from(cursor.short()?),
        _ => value::width(kind)?,
    };
    Some(value::show(kind, cursor.take(size)?).concat())
}

fn slots<'a>(cursor: &mut Cursor<'a>) -> Option<Vec<Slot<'a>>> {
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

/// Puts an element into its parent; one whose value was an array stands there once for each item.
fn place(node: Node, parent: &mut Node) {
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
