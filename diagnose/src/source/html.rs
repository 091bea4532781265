//! HTML as plain text: what a forum, a ticket or a mail program shows, in the order of reading. Nothing is fetched, and scripts and
//! styles are left out. Written for the kind of HTML that nobody has checked.

use super::page::Page;

/// Elements that begin and end a line of their own.
const BLOCKS: &[&str] = &[
    "p",
    "div",
    "pre",
    "blockquote",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "ul",
    "ol",
    "dl",
    "dt",
    "dd",
    "section",
    "article",
    "header",
    "footer",
    "body",
    "title",
    "hr",
    "form",
    "code-block",
];
/// Bytes of a tag's name and of an entity.
const NAME_MAX: usize = 16;

/// Whether a text is HTML.
pub fn is_html(start: &str) -> bool {
    let start = start.trim_start_matches('\u{feff}').trim_start();
    let start = start.get(..start.len().min(600)).unwrap_or_else(|| crate::fact::cut(start, 600));
    let lower = start.to_ascii_lowercase();
    lower.starts_with("<!doctype html")
        || lower.starts_with("<html")
        || lower.starts_with("<head")
        || lower.starts_with("<body")
}

/// Fills a page with what the HTML shows.
pub fn fill(html: &str, page: &mut Page) {
    let mut rest = html;
    let mut shown = Shown::default();
    // Behind the last one nothing is a tag; looking for its end again and again would take for ever.
    let last = html.rfind('>').unwrap_or(0);
    while let Some(at) = rest.find(['<', '&']) {
        let (before, from) = rest.split_at(at);
        shown.text(before, page);
        if from.starts_with('&') {
            let (text, len) = entity(from);
            shown.kept(text, page);
            rest = from.get(len..).unwrap_or_default();
            continue;
        }
        let open = html.len() - from.len() < last;
        rest = match if open { tag(from) } else { Tag::None } {
            Tag::Comment(after) => after,
            Tag::None => {
                shown.kept("<".to_owned(), page);
                from.get(1..).unwrap_or_default()
            }
            Tag::Named { name, closing, after } => {
                if !closing && matches!(name.as_str(), "script" | "style") {
                    past(after, &name)
                } else {
                    shown.tag(&name, closing, page);
                    after
                }
            }
        };
    }
    shown.text(rest, page);
}

#[derive(Default)]
struct Shown {
    /// `<pre>`s that are open: line ends count.
    pre: usize,
    /// The last thing was a space.
    spaced: bool,
}

impl Shown {
    fn text(&mut self, text: &str, page: &mut Page) {
        if self.pre > 0 {
            let mut lines = text.split('\n');
            page.text(lines.next().unwrap_or_default().trim_end_matches('\r'));
            for line in lines {
                page.end_line();
                page.text(line.trim_end_matches('\r'));
            }
            return;
        }
        for c in text.chars() {
            let space = c.is_ascii_whitespace();
            if !(space && self.spaced) {
                let c = if space { ' ' } else { c };
                page.text(c.encode_utf8(&mut [0; 4]));
            }
            self.spaced = space;
        }
    }

    fn kept(&mut self, text: String, page: &mut Page) {
        self.spaced = false;
        page.text(&text);
    }

    fn tag(&mut self, name: &str, closing: bool, page: &mut Page) {
        match (name, closing) {
            ("br", _) => page.end_line(),
            ("pre", false) => {
                page.fresh_line();
                self.pre = self.pre.saturating_add(1);
            }
            ("pre", true) => {
                page.fresh_line();
                self.pre = self.pre.saturating_sub(1);
            }
            ("table", false) => page.open_table(),
            ("table", true) => page.close_table(),
            ("tr", false) => page.row(),
            ("td" | "th", false) => page.cell(),
            ("td" | "th" | "tr", true) => page.end_cell(),
            ("li", _) => page.fresh_line(),
            (name, _) if BLOCKS.contains(&name) => page.fresh_line(),
            _ => return,
        }
        self.spaced = true;
    }
}

enum Tag<'a> {
    Comment(&'a str),
    Named {
        name: String,
        closing: bool,
        after: &'a str,
    },
    /// A `<` that stands for itself.
    None,
}

fn tag(from: &str) -> Tag<'_> {
    if let Some(comment) = from.strip_prefix("<!--") {
        return Tag::Comment(comment.split_once("-->").map_or("", |(_, after)| after));
    }
    let inner = from.get(1..).unwrap_or_default();
    let (closing, inner) = inner.strip_prefix('/').map_or((false, inner), |inner| (true, inner));
    let name: String = inner
        .chars()
        .take(NAME_MAX)
        .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '!' | '?' | ':' | '-'))
        .collect();
    if name.is_empty() || !name.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '!' | '?')) {
        return Tag::None;
    }
    // A `>` in quotes ends no tag; a tag that does not end soon is none.
    let mut quote = None;
    for (at, c) in inner.char_indices().take(16_384) {
        match (c, quote) {
            ('>', None) => {
                let after = inner.get(at + 1..).unwrap_or_default();
                return Tag::Named { name: name.to_ascii_lowercase(), closing, after };
            }
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            _ => {}
        }
    }
    match inner.find('>') {
        Some(at) => {
            let after = inner.get(at + 1..).unwrap_or_default();
            Tag::Named { name: name.to_ascii_lowercase(), closing, after }
        }
        None => Tag::None,
    }
}

/// What follows the end of an element whose content is not shown.
fn past<'a>(text: &'a str, name: &str) -> &'a str {
    let mut rest = text;
    while let Some(at) = rest.find("</") {
        rest = rest.get(at + 2..).unwrap_or_default();
        if rest.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name)) {
            return rest.find('>').and_then(|end| rest.get(end + 1..)).unwrap_or_default();
        }
    }
    ""
}

/// A character by its name or number, and the bytes that it takes here.
fn entity(from: &str) -> (String, usize) {
    let none = || ("&".to_owned(), 1);
    let bytes = from.as_bytes();
    let Some(end) = bytes.iter().take(NAME_MAX).position(|b| *b == b';') else { return none() };
    let Some(name) = from.get(1..end) else { return none() };
    let number = name.strip_prefix('#').map(|digits| match digits.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => digits.parse(),
    });
    let c = match number {
        Some(Ok(160)) => Some(' '),
        Some(number) => number.ok().and_then(char::from_u32).filter(|c| !c.is_control() || *c == '\t'),
        None => named(name),
    };
    c.map_or_else(none, |c| (c.to_string(), end + 1))
}

fn named(name: &str) -> Option<char> {
    Some(match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" => '"',
        "apos" | "rsquo" | "lsquo" => '\'',
        "nbsp" => ' ',
        "ldquo" | "rdquo" => '"',
        "ndash" => '–',
        "mdash" => '—',
        "hellip" => '…',
        "auml" => 'ä',
        "ouml" => 'ö',
        "uuml" => 'ü',
        "Auml" => 'Ä',
        "Ouml" => 'Ö',
        "Uuml" => 'Ü',
        "szlig" => 'ß',
        "eacute" => 'é',
        "egrave" => 'è',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(html: &str) -> String {
        let mut page = Page::new(100_000);
        fill(html, &mut page);
        page.finish()
    }

    #[test]
    fn what_a_browser_shows() {
        let html = "<!DOCTYPE html><html><head><title>Forum</title><style>p { x: 'NO LOGIN' }</style></head>\n<body class='a > b'>\n<p>It says\n <b>NO</b> LOGIN &lt;failed&gt;<br>Regards</p><script>if (a < b) {}</script><!-- no -->\n<pre>LoginType  : SecureLogin\r\nBanner     : x\n</pre><table><tr><th>Identity</th><th>Status</th><th>LastError</th></tr><tr><td>MBX01\\3</td><td>Retry</td><td>451 &#52;.4.0</td></tr></table>1 < 2 &unknown; x&nbsp;y</body>";
        assert!(is_html(html));
        assert_eq!(
            text(html),
            "Forum\nIt says NO LOGIN <failed>\nRegards\nLoginType  : SecureLogin\nBanner     : x\n\n\"Identity\",\"Status\",\"LastError\"\n\"MBX01\\3\",\"Retry\",\"451 4.4.0\"\n\n1 < 2 &unknown; x y\n"
        );
        assert!(!is_html("<Objs Version=\"1\">"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn never_panics(html in "[<>/!&;#x0-9a-z\"' \\-\n\u{e4}tdrpe]{0,200}") {
            let _ = text(&html);
        }
    }
}
