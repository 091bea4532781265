//! From the scanned tree and header to the summary: decoded texts, part table, and the whole within its size.

use crate::addr::{self, Item};
use crate::limits::{self, Limits};
use crate::preview::{self, Capture};
use crate::summary::{AddressText, Encoding, Facts, Part, PartKind, Structure, Summary};
use crate::tree::{Head, Node};
use crate::{date, render, rfc2047, subject};

/// Fills in what comes from the message's own header.
pub(crate) fn fill(out: &mut Summary, head: &Head, limits: &Limits, facts: &mut Facts) {
    let mut cut = head.cut;
    out.date = head.date.as_deref().and_then(date::parse);
    out.message_id = head.message_id.as_deref().and_then(|v| message_ids(v, 1).pop()).unwrap_or_default();
    out.in_reply_to = head.in_reply_to.as_deref().map(|v| message_ids(v, 4)).unwrap_or_default();
    out.references = head.references.as_deref().map(root_and_newest).unwrap_or_default();
    out.subject = head.subject.as_deref().map(rfc2047::decode).unwrap_or_default();
    cut |= shorten(&mut out.subject, limits::TEXT_BYTES);
    let base = subject::base(&out.subject);
    out.base_subject = base.text;
    if base.reply {
        facts.set_reply();
    }
    for (value, text) in [
        (&head.from, &mut out.from),
        (&head.to, &mut out.to),
        (&head.cc, &mut out.cc),
        (&head.bcc, &mut out.bcc),
    ] {
        let (items, short) = addr::parse(value, limits.addresses);
        let (made, more) = address_text(&items);
        *text = made;
        cut |= short || more;
    }
    if cut {
        facts.set_texts_partial();
    }
}

/// Cuts at a character; true when it had to.
fn shorten(text: &mut String, bytes: usize) -> bool {
    if text.len() <= bytes {
        return false;
    }
    text.truncate(text.floor_char_boundary(bytes));
    true
}

/// `Name <mailbox@host>, …`, and whether it was cut.
fn address_text(items: &[Item]) -> (AddressText, bool) {
    let mut out = AddressText::default();
    let mut fresh = true;
    for item in items {
        if out.text.len() > limits::TEXT_BYTES {
            break;
        }
        if !fresh && !matches!(item, Item::GroupEnd) {
            out.text.push_str(", ");
        }
        match item {
            Item::GroupStart(name) => {
                let first = out.text.is_empty();
                let start = out.text.len() as u32;
                out.text.push_str(&rfc2047::decode(name));
                if first {
                    out.mailbox = start..out.text.len() as u32;
                    out.display = out.mailbox.clone();
                }
                out.text.push_str(": ");
                fresh = true;
            }
            Item::GroupEnd => {
                out.text.push(';');
                fresh = false;
            }
            Item::Mailbox(m) => {
                push_mailbox(&mut out, m);
                fresh = false;
            }
        }
    }
    let cut = shorten(&mut out.text, limits::TEXT_BYTES);
    for range in [&mut out.mailbox, &mut out.display] {
        if out.text.get(range.start as usize..range.end as usize).is_none() {
            *range = 0..0;
        }
    }
    (out, cut)
}

fn push_mailbox(out: &mut AddressText, m: &addr::Mailbox) {
    let first = out.text.is_empty();
    let start = out.text.len() as u32;
    let name = m.display_name();
    if let Some(name) = &name {
        out.text.push_str(name);
        if first {
            out.display = start..out.text.len() as u32;
        }
        out.text.push_str(" <");
    }
    let at = out.text.len() as u32;
    let address = m.address();
    out.text.push_str(&address);
    if first {
        let host = address.len() - address.rfind('@').filter(|_| !m.host.is_empty()).unwrap_or(address.len());
        out.mailbox = at..out.text.len() as u32 - host as u32;
        if name.is_none() {
            out.display = at..out.text.len() as u32;
        }
    }
    if name.is_some() {
        out.text.push('>');
    }
}

/// Message ids of a field, without brackets, quoting and white space (RFC 5256 §3 asks to compare them so).
fn message_ids(value: &[u8], most: usize) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = value;
    while let Some(open) = memchr::memchr(b'<', rest) {
        let inner = &rest[open + 1..];
        let Some(close) = memchr::memchr(b'>', inner) else { break };
        // `<a <b@c>`: the inner one counts.
        let id = &inner[..close];
        let id = id.rsplit(|b| *b == b'<').next().unwrap_or(id);
        push_id(id, &mut out);
        rest = &inner[close + 1..];
        if out.len() >= most {
            return out;
        }
    }
    if out.is_empty() {
        for word in value.split(u8::is_ascii_whitespace).filter(|w| w.contains(&b'@')) {
            push_id(word, &mut out);
            if out.len() >= most {
                break;
            }
        }
    }
    out
}

fn push_id(raw: &[u8], out: &mut Vec<String>) {
    let clean: Vec<u8> = raw
        .iter()
        .copied()
        .filter(|b| !b.is_ascii_whitespace() && !matches!(b, b'"' | b'\\' | b'<' | b'>'))
        .collect();
    if !clean.is_empty() && clean.len() <= limits::MESSAGE_ID_BYTES {
        out.push(String::from_utf8_lossy(&clean).into_owned());
    }
}

/// All references up to the limit; of more, the root and the newest.
fn root_and_newest(value: &[u8]) -> Vec<String> {
    let mut ids = message_ids(value, 4000);
    if ids.len() > limits::REFERENCES {
        ids.drain(1..ids.len() + 1 - limits::REFERENCES);
    }
    ids
}

/// Puts the scanned parts in.
pub(crate) fn finish(
    mut out: Summary,
    nodes: &[Node],
    captures: &[Capture],
    shown_8bit: bool,
    limits: &Limits,
) -> Summary {
    out.preview = preview::make(captures);
    out.parts = nodes.iter().map(part).collect();
    out.structure = render::structure(nodes, false);
    if shown_8bit || nodes.iter().any(|n| n.media_is("message", "global")) {
        out.structure_utf8 = Some(render::structure(nodes, true)).filter(|s| *s != out.structure);
    }
    if nodes.iter().any(Node::is_attachment) {
        out.facts.set_attachments();
    }
    fit(&mut out, limits);
    out
}

fn part(node: &Node) -> Part {
    let (kind, sub) = node.media();
    let mut media = String::from_utf8_lossy(&[kind, b"/", sub].concat()).to_ascii_lowercase();
    let mut charset = node.charset();
    // Names this long are nobody's; the table is read often.
    shorten(&mut media, 100);
    shorten(&mut charset, 60);
    Part {
        parent: node.parent,
        number: node.number,
        kind: node.kind.unwrap_or(PartKind::Leaf),
        encoding: if node.kind == Some(PartKind::Leaf) { node.encoding } else { Encoding::Binary },
        header: node.header_start..node.body_start,
        body: node.body_start..node.end,
        lines: node.lines,
        media,
        charset,
        attachment: node.disposition_is("attachment"),
    }
}

/// Leaves out, in the order of how cheap it is to do without, until the encoded summary fits.
fn fit(out: &mut Summary, limits: &Limits) {
    let texts = [&out.from, &out.to, &out.cc, &out.bcc].map(|t| t.text.len() + 20).iter().sum::<usize>();
    let ids = [&out.in_reply_to, &out.references].map(|l| l.iter().map(|i| i.len() + 3).sum::<usize>());
    let rendered = out.envelope.len() * 2 + out.structure.bytes.len() * 3;
    let tables = out.parts.len() * 220 + out.fields.iter().map(|f| f.name.len() + 8).sum::<usize>();
    let own = out.subject.len() * 2 + out.message_id.len() + out.preview.len() + 200;
    // Far too high for any message, so that nearly all are spared the exact answer.
    if texts + ids[0] + ids[1] + rendered * 2 + tables + own < limits.summary_bytes {
        return;
    }
    for step in 0..8 {
        if out.encode().len() <= limits.summary_bytes {
            return;
        }
        match step {
            0 => {
                out.fields.clear();
                out.facts.set_fields_partial();
            }
            1 => out.structure_utf8 = None,
            2 => opaque_structure(out),
            3 => out.envelope_utf8 = None,
            4 => {
                if out.references.len() > 9 {
                    out.references.drain(1..out.references.len() - 8);
                }
            }
            5 => {
                for text in [&mut out.from, &mut out.to, &mut out.cc, &mut out.bcc] {
                    *text = AddressText::default();
                }
                out.facts.set_texts_partial();
            }
            6 => {
                out.envelope = b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)".to_vec();
                out.facts.set_envelope_partial();
            }
            _ => {
                out.subject.clear();
                out.base_subject.clear();
                out.references.clear();
                out.in_reply_to.clear();
                out.facts.set_texts_partial();
            }
        }
    }
}

/// The message as one opaque part.
fn opaque_structure(out: &mut Summary) {
    out.facts.set_structure_partial();
    out.parts.truncate(1);
    if let Some(root) = out.parts.first_mut() {
        root.kind = PartKind::Leaf;
        root.encoding = Encoding::Binary;
        let size = root.body.end.saturating_sub(root.body.start);
        let bytes =
            format!("(\"APPLICATION\" \"OCTET-STREAM\" NIL NIL NIL \"BINARY\" {size} NIL NIL NIL NIL)");
        let cut = bytes.len() as u32 - 17..bytes.len() as u32 - 1;
        out.structure = Structure { bytes: bytes.into_bytes(), extensions: vec![cut] };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        assert_eq!(message_ids(b"<a@b> junk <c @d>\t<\"e\"@f>", 9), ["a@b", "c@d", "e@f"]);
        assert_eq!(message_ids(b"a@b", 9), ["a@b"]);
        assert_eq!(message_ids(b"Your message of Monday", 9), [""; 0]);
        assert_eq!(message_ids(b"<<x@y>>", 9), ["x@y"]);
        assert_eq!(message_ids(b"<never", 9), [""; 0]);
    }

    #[test]
    fn long_references_keep_root_and_newest() {
        let value: String = (0..100).map(|i| format!("<{i}@x> ")).collect();
        let ids = root_and_newest(value.as_bytes());
        assert_eq!(ids.len(), limits::REFERENCES);
        assert_eq!((ids[0].as_str(), ids[1].as_str(), ids[39].as_str()), ("0@x", "61@x", "99@x"));
    }

    fn text(value: &str) -> (String, String, String) {
        let (t, _) = address_text(&addr::parse(value.as_bytes(), 10).0);
        let get = |r: &std::ops::Range<u32>| t.text[r.start as usize..r.end as usize].to_string();
        (t.text.clone(), get(&t.mailbox), get(&t.display))
    }

    #[test]
    fn address_texts() {
        let s = |a: &str, b: &str, c: &str| (a.to_string(), b.to_string(), c.to_string());
        assert_eq!(
            text("\"Doe, J.\" <jd@x.example>, b@c"),
            s("Doe, J. <jd@x.example>, b@c", "jd", "Doe, J.")
        );
        assert_eq!(text("a@b"), s("a@b", "a", "a@b"));
        assert_eq!(text("=?utf-8?Q?=C3=89ric?= <e@f>"), s("Éric <e@f>", "e", "Éric"));
        assert_eq!(text("G: a@b, c@d; , e@f"), s("G: a@b, c@d;, e@f", "G", "G"));
        assert_eq!(text("root"), s("root", "root", "root"));
        assert_eq!(text(""), s("", "", ""));
    }
}
