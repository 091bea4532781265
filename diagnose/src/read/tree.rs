//! XML by its elements, for files of any quality: only the wanted elements are built, each within limits, and what stands
//! before a fault is kept. Nothing outside the text is ever fetched, and only the five entities of XML are known.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// Elements of one tree: an object of PowerShell with all its nested ones has some thousands.
const NODES_MAX: usize = 100_000;
/// Elements in one another; deeper ones are left out.
const DEPTH_MAX: usize = 48;
/// Bytes of text of one element.
const TEXT_MAX: usize = 64 * 1024;

/// An element. Names are without their prefix.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    pub text: String,
    pub children: Vec<Node>,
}

impl Node {
    pub fn named(name: &str) -> Node {
        Node { name: name.to_owned(), ..Node::default() }
    }

    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|c| c.name.eq_ignore_ascii_case(name))
    }

    /// The text of a child, if there is any.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|c| c.text.trim()).filter(|t| !t.is_empty())
    }
}

/// How reading went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Wanted elements that were handed over.
    pub found: u64,
    /// Where the text stopped being XML, in bytes; elements that were open there were handed over as far as they went.
    pub broken: Option<usize>,
}

/// Hands over each outermost element that is wanted, with the byte at which it begins.
pub fn walk(text: &str, wanted: impl Fn(&str) -> bool, mut give: impl FnMut(Node, usize)) -> Walked {
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    let mut walked = Walked::default();
    let mut building = Building::default();
    loop {
        let at = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                if building.is_open() || wanted(start.local_name().as_ref()) {
                    building.open(&start, at);
                }
            }
            Ok(Event::Empty(start)) => {
                if building.is_open() || wanted(start.local_name().as_ref()) {
                    building.open(&start, at);
                    building.close(&mut give, &mut walked);
                }
            }
            Ok(Event::End(_)) => building.close(&mut give, &mut walked),
            Ok(Event::Text(more)) => building.text(&more.into_inner()),
            Ok(Event::CData(more)) => building.text(&more.into_inner()),
            Ok(Event::GeneralRef(entity)) => match entity.resolve_char_ref() {
                Ok(Some(c)) => building.text(c.encode_utf8(&mut [0; 4])),
                _ => building.text(entity_of(&entity.into_inner())),
            },
            Ok(Event::Eof) => break,
            Ok(_) => {}
            Err(_) => {
                walked.broken = Some(usize::try_from(reader.error_position()).unwrap_or(usize::MAX));
                break;
            }
        }
    }
    if building.is_open() && walked.broken.is_none() {
        walked.broken = Some(text.len());
    }
    while building.is_open() {
        building.close(&mut give, &mut walked);
    }
    walked
}

pub(crate) fn entity_of(name: &str) -> &'static str {
    match name {
        "lt" => "<",
        "gt" => ">",
        "amp" => "&",
        "quot" => "\"",
        "apos" => "'",
        "nbsp" => " ",
        _ => "",
    }
}

#[derive(Default)]
struct Building {
    stack: Vec<Node>,
    /// Elements below the deepest that is kept.
    skipped: usize,
    nodes: usize,
    begin: usize,
}

impl Building {
    fn is_open(&self) -> bool {
        !self.stack.is_empty()
    }

    fn open(&mut self, start: &BytesStart<'_>, at: usize) {
        if self.stack.is_empty() {
            (self.nodes, self.begin) = (0, at);
        }
        self.nodes += 1;
        if self.skipped > 0 || self.stack.len() >= DEPTH_MAX || self.nodes > NODES_MAX {
            self.skipped += 1;
            return;
        }
        let mut node = Node::named(start.local_name().as_ref());
        for attribute in start.attributes().with_checks(false).take(64).flatten() {
            let name = attribute.key.local_name().as_ref().to_owned();
            let value = match quick_xml::escape::unescape(&attribute.value) {
                Ok(value) => value.into_owned(),
                Err(_) => attribute.value.to_string(),
            };
            node.attributes.push((name, crate::fact::cut(&value, TEXT_MAX).to_owned()));
        }
        self.stack.push(node);
    }

    fn text(&mut self, more: &str) {
        if self.skipped == 0
            && let Some(node) = self.stack.last_mut()
            && node.text.len() < TEXT_MAX
        {
            node.text.push_str(crate::fact::cut(more, TEXT_MAX));
        }
    }

    fn close(&mut self, give: &mut impl FnMut(Node, usize), walked: &mut Walked) {
        if self.skipped > 0 {
            self.skipped -= 1;
            return;
        }
        let Some(node) = self.stack.pop() else { return };
        match self.stack.last_mut() {
            Some(parent) => parent.children.push(node),
            None => {
                walked.found += 1;
                give(node, self.begin);
            }
        }
    }
}

/// The line, from 1, in which a byte stands; asked in rising order.
#[derive(Debug)]
pub struct LineCount<'a> {
    text: &'a [u8],
    at: usize,
    line: u32,
}

impl<'a> LineCount<'a> {
    pub fn new(text: &'a str, first: u32) -> LineCount<'a> {
        LineCount { text: text.as_bytes(), at: 0, line: first }
    }

    pub fn of(&mut self, byte: usize) -> u32 {
        if let Some(between) = self.text.get(self.at..byte) {
            let more = memchr::memchr_iter(b'\n', between).count();
            self.line = self.line.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
            self.at = byte;
        }
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(text: &str, name: &str) -> (Vec<Node>, Walked) {
        let mut nodes = Vec::new();
        let walked = walk(text, |n| n == name, |node, _| nodes.push(node));
        (nodes, walked)
    }

    #[test]
    fn wanted_elements_wherever_they_stand() {
        let (nodes, walked) = all("<r><x:a k='1&amp;2'>b &lt; <c>d</c>&#65;</x:a><a/></r>", "a");
        assert_eq!(walked, Walked { found: 2, broken: None });
        assert_eq!(nodes[0].attribute("K"), Some("1&2"));
        assert_eq!(nodes[0].text, "b < A");
        assert_eq!(nodes[0].text_of("c"), Some("d"));
    }

    #[test]
    fn what_stands_before_a_cut_is_kept() {
        let (nodes, walked) = all("<r><a><c>d</c><e>f", "a");
        assert_eq!(nodes[0].text_of("c"), Some("d"));
        assert!(walked.broken.is_some());
    }

    #[test]
    fn depth_is_bounded() {
        let text = "<a>".repeat(10_000) + &"</a>".repeat(10_000);
        let (nodes, walked) = all(&text, "a");
        assert_eq!((nodes.len(), walked.broken), (1, None));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[<>/a-c &;#0-9'\"=!\\[\\]?-]{0,120}") {
            let _ = all(&text, "a");
        }
    }
}
