//! HTML to the text in it, for previews and searching. No layout: blocks become line ends.

use memchr::{memchr, memchr2, memmem};

/// A tag or entity that has not ended is held for at most this long, then taken for text.
const HELD: usize = 8 * 1024;

/// Strips markup in pieces. Memory: a few KiB.
#[derive(Debug, Default)]
pub struct Stripper {
    held: String,
    /// Within `<script>` or `<style>`: passes all until its end tag.
    raw: Option<&'static str>,
}

/// All the text of an HTML document.
pub fn to_text(html: &str) -> String {
    let mut out = String::with_capacity(html.len() / 2);
    let mut stripper = Stripper::default();
    stripper.push(html, &mut out);
    stripper.finish(&mut out);
    out
}

impl Stripper {
    pub fn push(&mut self, piece: &str, out: &mut String) {
        if self.held.is_empty() {
            let rest = self.run(piece, out);
            self.held.push_str(rest);
            return;
        }
        let mut all = std::mem::take(&mut self.held);
        all.push_str(piece);
        let rest = self.run(&all, out);
        self.held = rest.to_string();
    }

    pub fn finish(&mut self, out: &mut String) {
        let held = std::mem::take(&mut self.held);
        if self.raw.is_none() && !held.starts_with('<') {
            out.push_str(&held);
        }
    }

    /// Strips as much as can be told; gives the rest, which is at most [`HELD`] bytes.
    fn run<'h>(&mut self, html: &'h str, out: &mut String) -> &'h str {
        let mut rest = html;
        loop {
            if let Some(end_tag) = self.raw {
                match find_no_case(rest, end_tag) {
                    Some(at) => {
                        self.raw = None;
                        rest = &rest[at..];
                    }
                    None => return tail(rest, end_tag.len()),
                }
            }
            let Some(at) = memchr2(b'<', b'&', rest.as_bytes()) else {
                out.push_str(rest);
                return "";
            };
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            let step = if rest.starts_with('<') { self.tag(rest, out) } else { entity(rest, out) };
            match step {
                Some(length) => rest = &rest[length..],
                None if rest.len() < HELD => return rest,
                None => {
                    out.push_str(&rest[..1]);
                    rest = &rest[1..];
                }
            }
        }
    }

    /// At `<`: the length of the tag or comment, or None when its end is not there yet.
    fn tag(&mut self, rest: &str, out: &mut String) -> Option<usize> {
        let bytes = rest.as_bytes();
        let after = *bytes.get(1)?;
        if !(after.is_ascii_alphabetic() || matches!(after, b'/' | b'!' | b'?')) {
            out.push('<');
            return Some(1);
        }
        if after == b'!' {
            if bytes.starts_with(b"<!--") {
                return memmem::find(&bytes[4..], b"-->").map(|at| at + 7);
            }
            if bytes.len() < 4 && b"<!--".starts_with(bytes) {
                return None;
            }
        }
        let end = tag_end(bytes)?;
        let closing = after == b'/';
        let name = &rest[1 + usize::from(closing)..end];
        let name = &name[..name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len())];
        match name.to_ascii_lowercase().as_str() {
            "script" if !closing => self.raw = Some("</script"),
            "style" if !closing => self.raw = Some("</style"),
            "title" if !closing => self.raw = Some("</title"),
            "br" | "p" | "div" | "tr" | "table" | "li" | "ul" | "ol" | "h1" | "h2" | "h3" | "h4" | "h5"
            | "h6" | "blockquote" | "pre" | "hr" | "section" | "article" | "header" | "footer" | "title"
            | "body"
                if !out.ends_with('\n') =>
            {
                out.push('\n');
            }
            "td" | "th" | "dt" | "dd" => out.push(' '),
            _ => {}
        }
        Some(end + 1)
    }
}

/// Where the `>` of a tag is, past quoted attribute values.
fn tag_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        let found = at + memchr::memchr3(b'>', b'"', b'\'', bytes.get(at..)?)?;
        if bytes[found] == b'>' {
            return Some(found);
        }
        // A quote only begins a value after an equals sign.
        let value = bytes[..found].trim_ascii_end().ends_with(b"=");
        match memchr(bytes[found], &bytes[found + 1..]) {
            Some(close) if value => at = found + close + 2,
            None if value => {
                return memchr(b'>', &bytes[found..]).filter(|_| bytes.len() >= HELD).map(|g| found + g);
            }
            _ => at = found + 1,
        }
    }
}

/// At `&`: writes the character and gives the length, or None when the end is not there yet.
fn entity(rest: &str, out: &mut String) -> Option<usize> {
    let bytes = rest.as_bytes();
    let end = bytes.iter().skip(1).take(32).position(|b| !(b.is_ascii_alphanumeric() || *b == b'#'));
    let Some(length) = end else {
        if bytes.len() <= 32 {
            return None;
        }
        out.push('&');
        return Some(1);
    };
    let name = &rest[1..=length];
    let semicolon = usize::from(bytes.get(length + 1) == Some(&b';'));
    match character(name) {
        Some(c) => {
            out.push(c);
            Some(1 + length + semicolon)
        }
        None => {
            out.push('&');
            Some(1)
        }
    }
}

fn character(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code).filter(|c| *c != '\0');
    }
    NAMED.binary_search_by(|(n, _)| (*n).cmp(name)).ok().map(|i| NAMED[i].1)
}

/// The entities that mail uses, by name.
static NAMED: [(&str, char); 77] = [
    ("AMP", '&'),
    ("Aacute", 'Á'),
    ("Agrave", 'À'),
    ("Aring", 'Å'),
    ("Auml", 'Ä'),
    ("Ccedil", 'Ç'),
    ("Eacute", 'É'),
    ("Egrave", 'È'),
    ("GT", '>'),
    ("LT", '<'),
    ("Ntilde", 'Ñ'),
    ("Oacute", 'Ó'),
    ("Oslash", 'Ø'),
    ("Ouml", 'Ö'),
    ("QUOT", '"'),
    ("Uacute", 'Ú'),
    ("Uuml", 'Ü'),
    ("aacute", 'á'),
    ("acirc", 'â'),
    ("aelig", 'æ'),
    ("agrave", 'à'),
    ("amp", '&'),
    ("apos", '\''),
    ("aring", 'å'),
    ("atilde", 'ã'),
    ("auml", 'ä'),
    ("bull", '•'),
    ("ccedil", 'ç'),
    ("cent", '¢'),
    ("copy", '©'),
    ("deg", '°'),
    ("eacute", 'é'),
    ("ecirc", 'ê'),
    ("egrave", 'è'),
    ("emsp", ' '),
    ("ensp", ' '),
    ("euml", 'ë'),
    ("euro", '€'),
    ("frac12", '½'),
    ("gt", '>'),
    ("hellip", '…'),
    ("iacute", 'í'),
    ("icirc", 'î'),
    ("iexcl", '¡'),
    ("igrave", 'ì'),
    ("iquest", '¿'),
    ("iuml", 'ï'),
    ("laquo", '«'),
    ("ldquo", '“'),
    ("lsquo", '‘'),
    ("lt", '<'),
    ("mdash", '—'),
    ("middot", '·'),
    ("nbsp", ' '),
    ("ndash", '–'),
    ("ntilde", 'ñ'),
    ("oacute", 'ó'),
    ("ocirc", 'ô'),
    ("ograve", 'ò'),
    ("oslash", 'ø'),
    ("otilde", 'õ'),
    ("ouml", 'ö'),
    ("pound", '£'),
    ("quot", '"'),
    ("raquo", '»'),
    ("rdquo", '”'),
    ("reg", '®'),
    ("rsquo", '’'),
    ("sect", '§'),
    ("shy", '\u{ad}'),
    ("szlig", 'ß'),
    ("times", '×'),
    ("trade", '™'),
    ("uacute", 'ú'),
    ("ucirc", 'û'),
    ("ugrave", 'ù'),
    ("uuml", 'ü'),
];

fn find_no_case(text: &str, needle: &str) -> Option<usize> {
    let (bytes, needle) = (text.as_bytes(), needle.as_bytes());
    let mut at = 0;
    while let Some(lt) = memchr(b'<', bytes.get(at..)?) {
        at += lt;
        if bytes.get(at..at + needle.len()).is_some_and(|b| b.eq_ignore_ascii_case(needle)) {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// The end of a text that may be the beginning of an end tag.
fn tail(text: &str, length: usize) -> &str {
    let from = text.len().saturating_sub(length);
    match memchr(b'<', &text.as_bytes()[from..]) {
        Some(lt) => &text[from + lt..],
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strips() {
        for (html, text) in [
            ("plain", "plain"),
            ("<p>one</p><p>two</p>", "\none\ntwo\n"),
            ("a&amp;b&lt;c&nbsp;d&#233;&#xE9;&euro;", "a&b<c déé€"),
            ("<style>p { a > b }</style>x<SCRIPT>if (a<b) {}</SCRIPT >y", "xy"),
            ("<title>t</title>x", "\nx"),
            ("<!-- a > b -->x<!doctype html>y", "xy"),
            ("<a title=\"x > y\" href='z'>link</a>", "link"),
            ("1 < 2 & 3 &unknown; &", "1 < 2 & 3 &unknown; &"),
            ("don<b>'</b>t <i", "don't "),
            ("<p class=it's>x</p>", "\nx\n"),
            ("a<br/>b<td>c", "a\nb c"),
        ] {
            assert_eq!(to_text(html), text, "{html}");
        }
    }

    #[test]
    fn names_are_sorted() {
        assert!(NAMED.is_sorted_by_key(|n| n.0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn pieces_do_not_matter(html in "(<p>|</p>|<style>|</style>|<!--|-->|&amp;|&#23|;|<a b='|'>|\"|[<>&x é=-]){0,20}", cut in 1usize..5) {
            let mut out = String::new();
            let mut stripper = Stripper::default();
            let chars: Vec<char> = html.chars().collect();
            for piece in chars.chunks(cut) {
                stripper.push(&piece.iter().collect::<String>(), &mut out);
            }
            stripper.finish(&mut out);
            prop_assert_eq!(out, to_text(&html));
        }
    }
}
