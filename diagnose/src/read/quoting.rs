//! Lines as they were before somebody quoted them: without the marks of mail, forums and Markdown.

/// Spaces by which Markdown marks what is shown as it is.
const SHOWN: usize = 4;
/// Marks of quotation that are taken off one line.
const DEPTH_MAX: usize = 20;

/// The lines of a text: no line ends, no `> `, no common indentation; fences become empty. One for one with the text's own.
pub fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.split('\n').map(|line| line.trim_end_matches('\r')).collect();
    if lines.last() == Some(&"") {
        lines.pop();
    }
    if let Some(first) = lines.first_mut() {
        *first = first.trim_start_matches('\u{feff}');
    }
    for line in &mut lines {
        *line = unquoted(line);
        let bare = line.trim();
        if (bare.starts_with("```") || bare.starts_with("~~~"))
            && !bare.trim_matches(['`', '~']).contains(' ')
        {
            *line = "";
        }
        *line = untagged(line);
    }
    outdent(&mut lines, 1, true);
    outdent(&mut lines, SHOWN, false);
    lines
}

fn unquoted(line: &str) -> &str {
    let mut rest = line;
    for _ in 0..DEPTH_MAX {
        let Some(inner) = rest.trim_start_matches(' ').strip_prefix('>') else { break };
        rest = inner.strip_prefix(' ').unwrap_or(inner);
    }
    rest
}

/// Tags by which forums and trackers mark what is shown as it is, without their brackets.
const TAGS: &[&str] = &["code", "quote", "noformat", "pre", "panel", "spoiler", "cmd", "plain", "blockquote"];
/// Bytes of what a tag may say besides its name: a language, a title, who is quoted.
const TAG_MAX: usize = 80;

/// The line without such tags at its ends.
fn untagged(line: &str) -> &str {
    let mut rest = line;
    for _ in 0..DEPTH_MAX {
        let bare = rest.trim_end();
        let trimmed = rest.trim_start();
        if let Some(length) = tag_at_start(trimmed) {
            rest = trimmed.get(length..).unwrap_or_default();
        } else if let Some(start) = bare.rfind(['[', '{', '<']).filter(|start| {
            let tag = bare.get(*start..).unwrap_or_default();
            tag_at_start(tag) == Some(tag.len())
        }) {
            rest = bare.get(..start).unwrap_or_default();
        } else {
            break;
        }
    }
    rest
}

/// The length of the tag with which the text begins: `[code]`, `[/quote]`, `[quote="bob"]`, `{code:title=x}`, `<pre>`.
fn tag_at_start(text: &str) -> Option<usize> {
    let close = match text.bytes().next()? {
        b'[' => ']',
        b'{' => '}',
        b'<' => '>',
        _ => return None,
    };
    let end = text.find(close).filter(|end| *end <= TAG_MAX)?;
    let inner = text.get(1..end)?.trim_start_matches('/');
    let name = inner.bytes().take_while(u8::is_ascii_alphabetic).count();
    let after = inner.get(name..)?.chars().next();
    let known = TAGS.iter().any(|tag| inner.get(..name).is_some_and(|n| n.eq_ignore_ascii_case(tag)));
    (known && matches!(after, None | Some(':' | '=' | ' '))).then_some(end + 1)
}

fn indent(line: &str) -> usize {
    line.bytes().take_while(|b| matches!(b, b' ' | b'\t')).count()
}

/// Takes common indentation off: of the whole text, or of each part between empty lines that is indented as a whole.
fn outdent(lines: &mut [&str], least: usize, whole: bool) {
    let mut from = 0;
    while from < lines.len() {
        let rest = lines.get(from..).unwrap_or_default();
        let apart = |line: &&str| line.trim().is_empty();
        let len = if whole { rest.len() } else { run(rest, least) };
        let part = rest.get(..len).unwrap_or_default();
        let depth = part.iter().filter(|line| !apart(line)).map(|line| indent(line)).min().unwrap_or(0);
        let tabbed = part.iter().any(|line| line.starts_with('\t'));
        if depth >= least || depth > 0 && tabbed && !whole {
            for line in lines.iter_mut().skip(from).take(len) {
                *line = line.get(depth.min(indent(line))..).unwrap_or_default();
            }
        }
        let begin = from;
        from += len;
        // What follows a heading without an empty line between belongs to it.
        while !whole && lines.get(from).is_some_and(|line| indent(line) < least && !line.trim().is_empty()) {
            from += 1;
            while lines.get(from).is_some_and(|line| indent(line) > 0 && !line.trim().is_empty()) {
                from += 1;
            }
        }
        from = from.max(begin + 1);
    }
}

/// Lines from the first on that are indented or empty.
fn run(lines: &[&str], least: usize) -> usize {
    lines.iter().take_while(|line| line.trim().is_empty() || indent(line) >= least).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_forums_go() {
        let text = "[quote=\"bob\"]it says[/quote]\n[code]\nEvent ID: 1035\n[/code]\n{code:title=log}x{code}\n<pre>y</pre>\n{noformat}\nCodes : {1}\n[coded] <code@x.example>";
        assert_eq!(
            lines(text),
            ["it says", "", "Event ID: 1035", "", "x", "y", "", "Codes : {1}", "[coded] <code@x.example>"]
        );
    }

    #[test]
    fn marks_of_quotation_go_and_lines_stay() {
        let text = "Hi,\r\n> > it says\r\n> ```text\r\n>   LoginType : SecureLogin\r\n> ```\r\n\r\n    Name : MBX01\r\n      Inner : 1\r\n\r\nBye";
        let read = lines(text);
        assert_eq!(
            read,
            [
                "Hi,",
                "it says",
                "",
                "  LoginType : SecureLogin",
                "",
                "",
                "Name : MBX01",
                "  Inner : 1",
                "",
                "Bye"
            ]
        );
        assert_eq!(lines("   a\n     b\n\n   c"), ["a", "  b", "", "c"]);
        assert_eq!(
            lines("Subject:\n\tSecurity ID:\t\tNULL SID\n\nx"),
            ["Subject:", "\tSecurity ID:\t\tNULL SID", "", "x"]
        );
        assert_eq!(lines(""), Vec::<&str>::new());
        assert_eq!(lines("a\n\n"), ["a", ""]);
    }
}
