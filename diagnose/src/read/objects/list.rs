//! The list form: `Name : value`, one property on a line, long values wrapped and indented below.

use super::emit::{Object, PROPERTIES_MAX};
use crate::read::Doc;
use crate::read::scan;

/// Lines that one value may be wrapped into.
const WRAPPED_MAX: usize = 400;
/// Lines by which the width of the console is judged.
const WIDTH_LINES: usize = 120;

/// A property's line: name, value, the column of the colon.
fn property(line: &str) -> Option<(&str, &str, usize)> {
    let colon = line.find(':')?;
    let before = line.get(..colon)?;
    let value = line.get(colon + 1..)?;
    let spaced = before.ends_with([' ', '\t']) && (value.is_empty() || value.starts_with([' ', '\t']));
    if !spaced || !scan::is_name(before.trim()) {
        return None;
    }
    Some((before.trim(), value.trim(), before.chars().count()))
}

/// `Name: value` as people write it: a single word and a blank.
fn loose(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim().split_once(':')?;
    let one_word =
        name.len() >= 3 && name.chars().all(|c| c.is_alphanumeric()) && name.starts_with(char::is_alphabetic);
    (one_word && (value.is_empty() || value.starts_with([' ', '\t']))).then_some((name, value.trim()))
}

/// Objects in list form from this line on, and the line after them.
pub fn read(doc: &Doc<'_>, from: usize) -> Option<(Vec<Object>, usize)> {
    let (_, _, colon) = property(doc.free(from)?)?;
    let base = scan::indent(doc.free(from)?);
    let mut list = List {
        objects: Vec::new(),
        object: Object::new(doc.place(from)),
        begin: from,
        colon,
        wrapped: 0,
        full: console_width(doc, from, colon),
    };
    let mut at = from;
    let mut end = from;
    while let Some(line) = doc.free(at) {
        if line.trim().is_empty() {
            // An object ends, or a value with an empty line in it goes on.
            match next_after_blank(doc, at, list.colon) {
                Next::Continues => {}
                Next::Object(next) => {
                    list.finish(doc, at);
                    list.start(doc, next);
                    at = next;
                    continue;
                }
                Next::Ends => break,
            }
        } else if let Some((name, value, column)) = property(line)
            && (scan::indent(line) <= base + 1 || column == list.colon)
        {
            if list.object.has_printed(name) {
                list.finish(doc, at);
                list.start(doc, at);
            }
            list.colon = column;
            list.wrapped = 0;
            list.object.put(name, value);
        } else if !list.wrap(line, doc.lines.get(at.wrapping_sub(1)).copied().unwrap_or_default(), base) {
            break;
        }
        at += 1;
        end = at;
    }
    list.finish(doc, end);
    (!list.objects.is_empty()).then_some((list.objects, end))
}

enum Next {
    Continues,
    Object(usize),
    Ends,
}

fn next_after_blank(doc: &Doc<'_>, blank: usize, colon: usize) -> Next {
    for at in blank..blank + 6 {
        let Some(line) = doc.free(at) else { return Next::Ends };
        if line.trim().is_empty() {
            continue;
        }
        return match property(line) {
            Some(_) if scan::indent(line) < colon => Next::Object(at),
            _ if scan::indent(line) > colon => Next::Continues,
            _ => Next::Ends,
        };
    }
    Next::Ends
}

struct List {
    objects: Vec<Object>,
    object: Object,
    begin: usize,
    colon: usize,
    wrapped: usize,
    /// See [`console_width`].
    full: usize,
}

impl List {
    fn start(&mut self, doc: &Doc<'_>, at: usize) {
        self.object = Object::new(doc.place(at));
        (self.begin, self.wrapped) = (at, 0);
    }

    fn finish(&mut self, doc: &Doc<'_>, end: usize) {
        let mut object = std::mem::take(&mut self.object);
        if object.properties.is_empty() {
            return;
        }
        object.text = scan::join(doc.lines.get(self.begin..end).unwrap_or_default().iter().copied());
        self.objects.push(object);
    }

    /// Adds a line to the last value, if it is indented as one.
    fn wrap(&mut self, line: &str, above: &str, base: usize) -> bool {
        let deep = scan::indent(line);
        if deep <= base || deep + 2 < self.colon.min(base + 6) || self.wrapped >= WRAPPED_MAX {
            return false;
        }
        self.wrapped += 1;
        let Some((_, value)) = self.object.properties.last_mut() else { return false };
        let more = line.trim();
        let above = above.chars().count();
        let between = if above == self.full && self.full > 0 {
            // The line was cut where the console ends; a blank at the cut stands at the beginning of the next line.
            if deep > self.colon + 2 { " " } else { "" }
        } else {
            // A word that is longer than the column was broken at its end; all else was broken at a blank.
            let split = value.chars().rev().take_while(|c| !c.is_whitespace()).count()
                + more.chars().take_while(|c| !c.is_whitespace()).count();
            let column = 80_usize.saturating_sub(self.colon + 2).max(20);
            if split > column && !value.ends_with([',', ';']) { "" } else { " " }
        };
        scan::add(value, more, between);
        true
    }
}

/// How long lines are that were cut where the console ends, without regard to words; 0: lines were broken at blanks.
fn console_width(doc: &Doc<'_>, from: usize, colon: usize) -> usize {
    /// Columns of consoles; the last one stays free.
    const USUAL: [usize; 16] = [80, 90, 100, 110, 120, 130, 132, 140, 150, 160, 170, 180, 200, 220, 237, 240];
    let lines = doc.lines.get(from..).unwrap_or_default();
    let wraps = |next: &str| !next.trim().is_empty() && scan::indent(next) >= colon + 2;
    let lengths: Vec<usize> = lines
        .iter()
        .zip(lines.iter().skip(1))
        .take(WIDTH_LINES)
        .filter(|(_, next)| wraps(next))
        .map(|(line, _)| line.chars().count())
        .collect();
    let width = lengths.iter().copied().max().unwrap_or(0);
    let alike = lengths.iter().filter(|length| **length == width).count();
    let cut =
        alike >= 2 && alike * 3 >= lengths.len() * 2 || lengths.len() == 1 && USUAL.contains(&(width + 1));
    if cut { width } else { 0 }
}

impl Object {
    /// Whether a property of this very name is there.
    fn has_printed(&self, name: &str) -> bool {
        self.properties.len() < PROPERTIES_MAX
            && self.properties.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
    }
}

/// Lines such as `LoginType: PlainTextLogin`, as people write down a few properties; the caller tells whether they are any.
pub fn read_loose(doc: &Doc<'_>, from: usize) -> Option<(Object, usize)> {
    let mut object = Object::new(doc.place(from));
    let mut at = from;
    while let Some((name, value)) = doc.free(at).and_then(loose) {
        if object.has_printed(name) {
            break;
        }
        object.put(name, value);
        at += 1;
    }
    object.text = scan::join(doc.lines.get(from..at).unwrap_or_default().iter().copied());
    (!object.properties.is_empty()).then_some((object, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(text: &str) -> Vec<Object> {
        let doc = Doc::new(0, text.lines().collect(), 1);
        let from = doc.lines.iter().position(|l| property(l).is_some()).unwrap_or(0);
        read(&doc, from).map(|(o, _)| o).unwrap_or_default()
    }

    #[test]
    fn lists_with_wrapped_values_and_several_objects() {
        let found = objects(
            "Name                : Default MBX01\nBindings            : {0.0.0.0:2525, \n                      [::]:2525}\nFqdn                :\n\n\nName                : Client\nEnabled             : True\n\nThanks : no, this is prose: really\n",
        );
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].get("bindings"), Some("{0.0.0.0:2525, [::]:2525}"));
        assert_eq!(found[0].get("fqdn"), None);
        assert_eq!(found[1].get("enabled"), Some("True"));
        assert_eq!(found[1].at.line, 7);
    }

    #[test]
    fn a_repeated_name_begins_another_object() {
        let found =
            objects("Component : ImapProxy\nState : Inactive\nComponent : PopProxy\nState : Active\n");
        assert_eq!(
            found.iter().map(|o| o.get("state")).collect::<Vec<_>>(),
            [Some("Inactive"), Some("Active")]
        );
    }

    #[test]
    fn lines_cut_where_the_console_ends() {
        let text = "CertificateDomains : {mail.example.net, autodiscover.exa\n                     mple.net, imap.example.net, pop.exa\n                     mple.net}\nServices           : IMAP, POP, IIS and some more words,\n                      here\n";
        let found = objects(text);
        assert_eq!(
            found[0].get("certificatedomains"),
            Some("{mail.example.net, autodiscover.example.net, imap.example.net, pop.example.net}")
        );
        assert_eq!(found[0].get("services"), Some("IMAP, POP, IIS and some more words, here"));
    }

    #[test]
    fn a_long_word_is_put_together_again() {
        let text = format!(
            "Error                         : {}\n                                {} next words\n",
            "a".repeat(48),
            "b".repeat(20)
        );
        let found = objects(&text);
        assert_eq!(
            found[0].get("error"),
            Some(format!("{}{} next words", "a".repeat(48), "b".repeat(20)).as_str())
        );
    }
}
