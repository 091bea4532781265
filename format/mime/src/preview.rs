//! The preview of a message (RFC 8970): the beginning of its text.

use crate::summary::Encoding;
use crate::tree::Node;
use crate::{charset, decode, html, limits};

/// The beginning of a text part, raw.
#[derive(Debug)]
pub(crate) struct Capture {
    html: bool,
    encoding: Encoding,
    charset: String,
    raw: Vec<u8>,
    cap: usize,
}

impl Capture {
    /// A place for the node's text, if it is the first plain text or the first HTML of the message.
    pub fn wanted(node: &Node, others: &[Capture]) -> Option<Capture> {
        let html = node.media_is("text", "html");
        if !html && !node.media_is("text", "plain") {
            return None;
        }
        if node.disposition_is("attachment") || others.iter().any(|c| c.html == html) {
            return None;
        }
        let cap = if html { limits::PREVIEW_HTML_BYTES } else { limits::PREVIEW_PLAIN_BYTES };
        Some(Capture { html, encoding: node.encoding, charset: node.charset(), raw: Vec::new(), cap })
    }

    /// False when it wants no more.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        let room = self.cap.saturating_sub(self.raw.len());
        self.raw.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.raw.len() < self.cap
    }

    fn text(&self) -> String {
        let mut bytes = decode::whole(self.encoding, &self.raw);
        if self.raw.len() >= self.cap {
            // The cut may have gone through a character.
            let keep = bytes.len() - bytes.iter().rev().take(3).take_while(|b| **b >= 0x80).count();
            bytes.truncate(keep);
        }
        let text = charset::decode(&self.charset, &bytes);
        if self.html { html::to_text(&text) } else { text.into_owned() }
    }
}

/// The preview: plain text if it has any, else HTML without its markup; on one line.
pub(crate) fn make(captures: &[Capture]) -> String {
    let plain = captures.iter().filter(|c| !c.html);
    let html = captures.iter().filter(|c| c.html);
    plain.chain(html).map(|c| one_line(&c.text())).find(|t| !t.is_empty()).unwrap_or_default()
}

fn one_line(text: &str) -> String {
    let mut out = String::new();
    let mut count = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()) {
        let space = usize::from(count > 0);
        if count + space >= limits::PREVIEW_CHARS {
            break;
        }
        if space == 1 {
            out.push(' ');
        }
        count += space;
        for c in word.chars().take(limits::PREVIEW_CHARS - count) {
            out.push(c);
            count += 1;
        }
    }
    out
}
