//! ENVELOPE, BODY and BODYSTRUCTURE as they go on the wire (RFC 9051 §7.5.2).
//!
//! Two forms. For IMAP4rev1 a value with 8-bit bytes is a literal with those bytes as they are, which every client must be able
//! to read. For clients with UTF8=ACCEPT or IMAP4rev2 it is a quoted UTF-8 string; bytes that are not UTF-8 are taken for
//! windows-1252. Encoded words stay as they are in both. NUL, which no string can carry, is left out while unfolding.

use crate::addr::{self, Item, Mailbox};
use crate::charset;
use crate::limits::Limits;
use crate::summary::{PartKind, Structure};
use crate::tree::{Details, Head, Node};
use std::ops::Range;

/// An nstring.
fn nstring(value: Option<&[u8]>, utf8: bool, out: &mut Vec<u8>) {
    match value {
        Some(value) => string(value, utf8, out),
        None => out.extend_from_slice(b"NIL"),
    }
}

fn string(value: &[u8], utf8: bool, out: &mut Vec<u8>) {
    let simple = value.iter().all(|b| (b' '..127).contains(b) && !matches!(b, b'"' | b'\\'));
    if simple {
        out.push(b'"');
        out.extend_from_slice(value);
        out.push(b'"');
    } else if value.is_ascii() {
        quoted(value, out);
    } else if utf8 {
        quoted(charset::unlabelled(value).as_bytes(), out);
    } else {
        let length = value.iter().filter(|b| **b != 0).count();
        out.extend_from_slice(format!("{{{length}}}\r\n").as_bytes());
        out.extend(value.iter().filter(|b| **b != 0));
    }
}

fn quoted(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &b in value {
        match b {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
            b'\r' | b'\n' => out.push(b' '),
            0 => {}
            b => out.push(b),
        }
    }
    out.push(b'"');
}

/// The envelope, and whether something did not fit: about `cap` bytes.
pub(crate) fn envelope(head: &Head, utf8: bool, cap: usize, limits: &Limits) -> (Vec<u8>, bool) {
    let mut w = EnvelopeWriter {
        out: Vec::with_capacity(256),
        utf8,
        cap,
        addresses: limits.addresses,
        partial: false,
    };
    w.out.push(b'(');
    w.text(head.date.as_deref());
    w.text(head.subject.as_deref());
    let from = addr::parse(&head.from, limits.addresses);
    w.addresses(&from);
    for value in [&head.sender, &head.reply_to] {
        let own = addr::parse(value, limits.addresses);
        w.addresses(if own.0.is_empty() { &from } else { &own });
    }
    for value in [&head.to, &head.cc, &head.bcc] {
        let own = addr::parse(value, limits.addresses);
        w.addresses(&own);
    }
    w.text(head.in_reply_to.as_deref());
    w.text(head.message_id.as_deref());
    w.out.pop();
    w.out.push(b')');
    (w.out, w.partial)
}

struct EnvelopeWriter {
    out: Vec<u8>,
    utf8: bool,
    cap: usize,
    addresses: usize,
    partial: bool,
}

impl EnvelopeWriter {
    fn value(&mut self, value: Option<&[u8]>) {
        let longest = self.cap / 4;
        let cut = value.map(|v| v.get(..longest).unwrap_or(v));
        self.partial |= cut != value;
        nstring(cut, self.utf8, &mut self.out);
    }

    fn text(&mut self, value: Option<&[u8]>) {
        self.value(value);
        self.out.push(b' ');
    }

    fn addresses(&mut self, (items, cut): &(Vec<Item>, bool)) {
        self.partial |= *cut && items.len() >= self.addresses;
        if items.is_empty() {
            self.out.extend_from_slice(b"NIL ");
            return;
        }
        self.out.push(b'(');
        let mut in_group = false;
        for item in items {
            if self.out.len() > self.cap {
                self.partial = true;
                break;
            }
            match item {
                Item::GroupStart(name) => {
                    in_group = true;
                    self.out.extend_from_slice(b"(NIL NIL ");
                    self.value(Some(name));
                    self.out.extend_from_slice(b" NIL)");
                }
                Item::GroupEnd => {
                    in_group = false;
                    self.out.extend_from_slice(b"(NIL NIL NIL NIL)");
                }
                Item::Mailbox(m) => self.mailbox(m),
            }
        }
        if in_group {
            self.out.extend_from_slice(b"(NIL NIL NIL NIL)");
        }
        if self.out.ends_with(b" (") {
            // Nothing fitted: an address list has at least one address.
            self.out.truncate(self.out.len() - 1);
            self.out.extend_from_slice(b"NIL ");
        } else {
            self.out.extend_from_slice(b") ");
        }
    }

    /// A host that is missing is an empty string: NIL would begin a group.
    fn mailbox(&mut self, m: &Mailbox) {
        self.out.push(b'(');
        for value in [m.name.as_deref(), m.route.as_deref(), Some(&m.local[..]), Some(&m.host[..])] {
            self.value(value);
            self.out.push(b' ');
        }
        self.out.pop();
        self.out.push(b')');
    }
}

/// BODYSTRUCTURE of the whole tree.
pub(crate) fn structure(nodes: &[Node], utf8: bool) -> Structure {
    let mut children = vec![Vec::new(); nodes.len()];
    for (i, node) in nodes.iter().enumerate() {
        if let Some(list) = node.parent.and_then(|p| children.get_mut(p as usize)) {
            list.push(i);
        }
    }
    let mut w =
        BodyWriter { nodes, children: &children, utf8, out: Vec::with_capacity(256), cuts: Vec::new() };
    w.node(0);
    Structure { bytes: w.out, extensions: w.cuts }
}

/// What stands for a multipart without parts, since the grammar wants at least one.
const EMPTY_PART: &[u8] = b"(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 0 0";
const EMPTY_EXTENSION: &[u8] = b" NIL NIL NIL NIL";
const EMPTY_ENVELOPE: &[u8] = b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)";

struct BodyWriter<'n> {
    nodes: &'n [Node],
    children: &'n [Vec<usize>],
    utf8: bool,
    out: Vec<u8>,
    cuts: Vec<Range<u32>>,
}

impl BodyWriter<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn string(&mut self, value: &[u8]) {
        string(value, self.utf8, &mut self.out);
    }

    fn nstring(&mut self, value: Option<&Vec<u8>>) {
        nstring(value.map(Vec::as_slice), self.utf8, &mut self.out);
    }

    fn number(&mut self, n: u64) {
        self.put(n.to_string().as_bytes());
    }

    /// Recursion goes as deep as the tree, which [`Limits::depth`] bounds.
    fn node(&mut self, index: usize) {
        let Some(node) = self.nodes.get(index) else { return };
        match node.kind {
            Some(PartKind::Multipart) => self.multipart(index, node),
            Some(PartKind::Message) => {
                self.single(node, self.children.get(index).and_then(|c| c.first()).copied())
            }
            _ => self.single(node, None),
        }
    }

    fn multipart(&mut self, index: usize, node: &Node) {
        self.put(b"(");
        let children = self.children.get(index).map(Vec::as_slice).unwrap_or_default();
        for child in children {
            self.node(*child);
        }
        if children.is_empty() {
            self.put(EMPTY_PART);
            self.extension(|w| w.put(EMPTY_EXTENSION));
            self.put(b")");
        }
        self.put(b" ");
        self.string(node.media().1);
        let empty = Details::default();
        let details = node.details.as_deref().unwrap_or(&empty);
        self.extension(|w| {
            w.put(b" ");
            w.params(node.params());
            w.shared_extension(details);
        });
        self.put(b")");
    }

    fn single(&mut self, node: &Node, within: Option<usize>) {
        let empty = Details::default();
        let details = node.details.as_deref().unwrap_or(&empty);
        let text = node.media_is("text", "*");
        // IMAP4rev1 knows message/rfc822 only: to its clients message/global is some other type.
        let within = within.filter(|_| self.utf8 || node.media_is("message", "rfc822"));
        let composite = node.media_is("multipart", "*") || node.media_is("message", "rfc822");
        self.put(b"(");
        if composite && within.is_none() {
            // One that could not be taken apart; its own type would promise what does not follow.
            self.put(b"\"APPLICATION\" \"OCTET-STREAM\"");
        } else {
            let (kind, sub) = node.media();
            self.string(kind);
            self.put(b" ");
            self.string(sub);
        }
        self.put(b" ");
        if text && node.param("charset").is_none() {
            self.text_params(node.params());
        } else {
            self.params(node.params());
        }
        self.put(b" ");
        self.nstring(details.id.as_ref());
        self.put(b" ");
        self.nstring(details.description.as_ref());
        self.put(b" ");
        self.string(details.encoding.as_deref().filter(|e| !e.is_empty()).unwrap_or(b"7BIT"));
        self.put(b" ");
        self.number(node.end.saturating_sub(node.body_start));
        if let Some(child) = within {
            self.put(b" ");
            self.envelope_of(child);
            self.put(b" ");
            self.node(child);
        }
        if within.is_some() || text {
            self.put(b" ");
            self.number(node.lines);
        }
        self.extension(|w| {
            w.put(b" ");
            w.nstring(details.md5.as_ref());
            w.shared_extension(details);
        });
        self.put(b")");
    }

    fn envelope_of(&mut self, child: usize) {
        let envelope = self.nodes.get(child).and_then(|n| n.envelope.as_ref());
        let bytes = match envelope {
            Some(e) if self.utf8 => e.utf8.as_ref().unwrap_or(&e.rev1).as_slice(),
            Some(e) => e.rev1.as_slice(),
            None => EMPTY_ENVELOPE,
        };
        self.put(bytes);
    }

    /// What `write` appends is extension data.
    fn extension(&mut self, write: impl FnOnce(&mut Self)) {
        let start = self.out.len() as u32;
        write(self);
        self.cuts.push(start..self.out.len() as u32);
    }

    /// Disposition, language, location.
    fn shared_extension(&mut self, details: &Details) {
        self.put(b" ");
        match details.disposition.as_ref().filter(|d| !d.value.is_empty()) {
            Some(d) => {
                self.put(b"(");
                self.string(&d.value);
                self.put(b" ");
                self.params(&d.params);
                self.put(b")");
            }
            None => self.put(b"NIL"),
        }
        self.put(b" ");
        match details.languages.as_slice() {
            [] => self.put(b"NIL"),
            [one] => self.string(one),
            many => {
                for (i, tag) in many.iter().enumerate() {
                    self.put(if i == 0 { b"(" } else { b" " });
                    self.string(tag);
                }
                self.put(b")");
            }
        }
        self.put(b" ");
        self.nstring(details.location.as_ref());
    }

    fn params(&mut self, params: &[(Vec<u8>, Vec<u8>)]) {
        if params.is_empty() {
            self.put(b"NIL");
            return;
        }
        for (i, (name, value)) in params.iter().enumerate() {
            self.put(if i == 0 { b"(" } else { b" " });
            self.string(name);
            self.put(b" ");
            self.string(value);
        }
        self.put(b")");
    }

    /// Text without a charset is US-ASCII (RFC 2046 §4.1.2).
    fn text_params(&mut self, params: &[(Vec<u8>, Vec<u8>)]) {
        self.put(b"(\"CHARSET\" \"US-ASCII\"");
        for (name, value) in params {
            self.put(b" ");
            self.string(name);
            self.put(b" ");
            self.string(value);
        }
        self.put(b")");
    }
}
