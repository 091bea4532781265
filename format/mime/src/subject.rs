//! Base subjects (RFC 5256 §2.1).

/// A subject without `Re:`, `Fwd:` and list labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    pub text: String,
    /// A reply or forward marker was taken off.
    pub reply: bool,
}

/// The base subject of a decoded subject.
pub fn base(subject: &str) -> Base {
    let normal = collapse(subject);
    let mut text = normal.as_str();
    let mut reply = false;
    loop {
        // (2) trailers
        while let Some(rest) = trailer(text) {
            reply |= !text.ends_with(' ');
            text = rest;
        }
        // (3) to (5) leaders and blobs
        loop {
            if let Some(rest) = text.strip_prefix(' ') {
                text = rest;
            } else if let Some(rest) = leader(text) {
                reply = true;
                text = rest;
            } else if let Some(rest) = blob(text)
                && !rest.is_empty()
            {
                text = rest;
            } else {
                break;
            }
        }
        // (6) [Fwd: …]
        match forwarded(text) {
            Some(inner) => {
                reply = true;
                text = inner;
            }
            None => return Base { text: text.to_string(), reply },
        }
    }
}

fn collapse(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ' ' | '\t' | '\r' | '\n' if out.ends_with(' ') => {}
            ' ' | '\t' | '\r' | '\n' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn strip_prefix_no_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

/// subj-trailer = "(fwd)" / WSP
fn trailer(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_suffix(' ') {
        return Some(rest);
    }
    let at = text.len().checked_sub(5)?;
    text.get(at..)?.eq_ignore_ascii_case("(fwd)").then(|| &text[..at])
}

/// subj-blob = "[" *BLOBCHAR "]" *WSP
fn blob(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?;
    let end = inner.find(['[', ']'])?;
    Some(inner[end..].strip_prefix(']')?.trim_start_matches(' '))
}

/// subj-leader = *subj-blob subj-refwd; subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"
fn leader(text: &str) -> Option<&str> {
    let mut text = text;
    while let Some(rest) = blob(text) {
        text = rest;
    }
    let rest = strip_prefix_no_case(text, "re")
        .or_else(|| strip_prefix_no_case(text, "fwd"))
        .or_else(|| strip_prefix_no_case(text, "fw"))?;
    let rest = rest.trim_start_matches(' ');
    blob(rest).unwrap_or(rest).strip_prefix(':')
}

/// subj-fwd = "[fwd:" subject "]"
fn forwarded(text: &str) -> Option<&str> {
    strip_prefix_no_case(text, "[fwd:")?.strip_suffix(']')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn many_shapes() {
        for (raw, text, reply) in [
            ("hello", "hello", false),
            ("", "", false),
            ("Re: hello", "hello", true),
            ("re : hello", "hello", true),
            ("RE: Re: FWD: Fw: hello (fwd) (fwd)", "hello", true),
            ("Re[2]: hello", "hello", true),
            ("Re [2] : hello", "hello", true),
            ("[list] Re: hello", "hello", true),
            ("[list] hello", "hello", false),
            ("Re: [list] hello", "hello", true),
            ("[a][b] Re: [c] hello", "hello", true),
            ("[list]", "[list]", false),
            ("[a] [list]", "[list]", false),
            ("[Fwd: Re: hello]", "hello", true),
            ("[Fwd: [Fwd: hello] ]", "hello", true),
            ("hello\t  world  ", "hello world", false),
            ("regarding: x", "regarding: x", false),
            ("Re:", "", true),
            ("hello (fwd)", "hello", true),
            ("(fwd)", "", true),
            ("Ré: x", "Ré: x", false),
            ("é(fwd", "é(fwd", false),
        ] {
            assert_eq!(base(raw), Base { text: text.into(), reply }, "{raw:?}");
        }
    }

    proptest! {
        #[test]
        fn is_a_fixed_point(text in "([rR]e|[fF]wd?|[ \\[\\]:()x\u{e9}]|\\(fwd\\)){0,12}") {
            let once = base(&text);
            // A blob is kept when nothing would be left, so only what is not a lone blob is fixed.
            prop_assert_eq!(base(&once.text).text, once.text);
        }
    }
}
