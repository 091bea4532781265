//! What a response must look like, and what a client says: text with variables in it.

use std::collections::BTreeMap;

/// Names and their values.
pub type Variables = BTreeMap<String, Vec<u8>>;

/// See `tests/talk/README.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    pieces: Vec<Piece>,
    /// A client's line ends with CRLF, unless it was written with a backslash at its end.
    pub newline: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    /// `${name}`
    Variable(String),
    /// `${#name}`: the length in bytes.
    Length(String),
    /// `${*}`, `${#}`, `${_}`, or with a name `${name:=*}` and so on.
    Any(Kind, Option<String>),
    /// `$(a|b|c)`: all of them, in any order, a space between.
    AnyOrder(Vec<Pattern>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `*`: anything, also nothing.
    Anything,
    /// `#`: digits.
    Number,
    /// `_`: no space, parenthesis, bracket or quotation mark.
    Word,
}

impl Kind {
    fn parse(text: &str) -> Option<Kind> {
        match text {
            "*" => Some(Kind::Anything),
            "#" => Some(Kind::Number),
            "_" => Some(Kind::Word),
            _ => None,
        }
    }

    fn accepts(self, byte: u8) -> bool {
        match self {
            Kind::Anything => true,
            Kind::Number => byte.is_ascii_digit(),
            Kind::Word => !b" ()[]\"\r\n".contains(&byte),
        }
    }
}

impl Pattern {
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        let (text, newline) = match text.strip_suffix('\\') {
            Some(cut) if !cut.ends_with('\\') => (cut, false),
            _ => (text, true),
        };
        let mut reader = Reader { rest: text };
        let pieces = reader.pieces(false)?;
        if reader.rest.is_empty() {
            Ok(Pattern { pieces, newline })
        } else {
            Err("an unopened group ends".into())
        }
    }

    /// The text itself.
    ///
    /// # Errors
    /// A variable that has no value, or a piece that only makes sense in a server's line.
    pub fn fill(&self, variables: &Variables) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Variable(name) => out.extend_from_slice(value(variables, name)?),
                Piece::Length(name) => {
                    out.extend_from_slice(value(variables, name)?.len().to_string().as_bytes());
                }
                Piece::Any(..) | Piece::AnyOrder(_) => return Err("a client must know what it says".into()),
            }
        }
        Ok(out)
    }

    /// Whether all of `response` fits. Captured variables are added to `variables` if it does.
    ///
    /// # Errors
    /// A variable that has no value.
    pub fn matches(&self, response: &[u8], variables: &mut Variables) -> Result<bool, String> {
        let mut todo: Vec<&Piece> = self.pieces.iter().rev().collect();
        let mut captured = Variables::new();
        let fits = fit(&mut todo, response, variables, &mut captured)?;
        if fits {
            variables.append(&mut captured);
        }
        Ok(fits)
    }
}

fn value<'v>(variables: &'v Variables, name: &str) -> Result<&'v [u8], String> {
    variables.get(name).map(Vec::as_slice).ok_or_else(|| format!("${{{name}}} has no value"))
}

/// Whether the pieces, of which the last comes first, fit all of `rest`. Backtracks; lines are short.
fn fit(
    todo: &mut Vec<&Piece>,
    rest: &[u8],
    known: &Variables,
    captured: &mut Variables,
) -> Result<bool, String> {
    let Some(piece) = todo.pop() else { return Ok(rest.is_empty()) };
    let fits = match piece {
        Piece::Text(text) => match strip(rest, text) {
            Some(rest) => fit(todo, rest, known, captured)?,
            None => false,
        },
        Piece::Variable(name) => {
            let text = match captured.get(name) {
                Some(text) => text.clone(),
                None => value(known, name)?.to_vec(),
            };
            match strip(rest, &text) {
                Some(rest) => fit(todo, rest, known, captured)?,
                None => false,
            }
        }
        Piece::Length(name) => {
            let text = value(known, name)?.len().to_string();
            match strip(rest, text.as_bytes()) {
                Some(rest) => fit(todo, rest, known, captured)?,
                None => false,
            }
        }
        Piece::Any(kind, name) => {
            let most = rest.iter().position(|&b| !kind.accepts(b)).unwrap_or(rest.len());
            let least = usize::from(*kind != Kind::Anything);
            let mut fits = false;
            // The longest first: a number must not be cut in two.
            for length in (least..=most).rev() {
                let (text, after) = rest.split_at(length);
                if fit(&mut todo.clone(), after, known, captured)? {
                    if let Some(name) = name {
                        captured.insert(name.clone(), text.to_vec());
                    }
                    fits = true;
                    break;
                }
            }
            fits
        }
        Piece::AnyOrder(items) => {
            let mut fits = items.is_empty() && fit(&mut todo.clone(), rest, known, captured)?;
            for at in 0..items.len() {
                let mut others = items.clone();
                let first = others.remove(at);
                let space = Piece::Text(b" ".to_vec());
                let others = Piece::AnyOrder(others);
                let mut tail = todo.clone();
                if items.len() > 1 {
                    tail.push(&others);
                    tail.push(&space);
                }
                tail.extend(first.pieces.iter().rev());
                if fit(&mut tail, rest, known, captured)? {
                    fits = true;
                    break;
                }
            }
            fits
        }
    };
    Ok(fits)
}

/// Without regard to ASCII case: protocol words have none, and what must keep its case is captured or sent first.
fn strip<'r>(rest: &'r [u8], text: &[u8]) -> Option<&'r [u8]> {
    let (head, rest) = rest.split_at_checked(text.len())?;
    head.eq_ignore_ascii_case(text).then_some(rest)
}

struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    /// To the end, or in a group to `|` or `)`.
    fn pieces(&mut self, grouped: bool) -> Result<Vec<Piece>, String> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut text = Vec::new();
        // Parentheses of the text itself, so that a group ends at its own.
        let mut open = 0usize;
        while let Some(c) = self.rest.chars().next() {
            if grouped && open == 0 && matches!(c, '|' | ')') {
                break;
            }
            let special = if self.eat("${") {
                Some(self.variable()?)
            } else if self.eat("$(") {
                Some(self.group()?)
            } else {
                None
            };
            if let Some(piece) = special {
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(piece);
                continue;
            }
            self.rest = self.rest.get(c.len_utf8()..).unwrap_or_default();
            match c {
                '\\' => self.escape(&mut text)?,
                c => {
                    match c {
                        '(' => open += 1,
                        ')' => open = open.saturating_sub(1),
                        _ => {}
                    }
                    text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Ok(pieces)
    }

    /// `\r`, `\n`, `\0`, `\xff` and `\\`. A backslash before anything else is itself: IMAP's flags have one.
    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), String> {
        let simple = [("r\\n", &b"\r\n"[..]), ("0", b"\0"), ("\\", b"\\"), ("\"", b"\\\"")];
        for (name, bytes) in simple {
            if self.eat(name) {
                text.extend_from_slice(bytes);
                return Ok(());
            }
        }
        if self.eat("x") {
            let digits = self.rest.get(..2).ok_or("\\x wants two digits")?;
            let byte = u8::from_str_radix(digits, 16).map_err(|_| "\\x wants two hexadecimal digits")?;
            self.rest = self.rest.get(2..).unwrap_or_default();
            text.push(byte);
        } else {
            text.push(b'\\');
        }
        Ok(())
    }

    fn variable(&mut self) -> Result<Piece, String> {
        let end = self.rest.find('}').ok_or("${ without }")?;
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest.get(1..).unwrap_or_default();
        if let Some(kind) = Kind::parse(name) {
            return Ok(Piece::Any(kind, None));
        }
        if let Some((name, kind)) = name.split_once(":=") {
            let kind = Kind::parse(kind).ok_or_else(|| format!("unknown kind {kind:?}"))?;
            return Ok(Piece::Any(kind, Some(name.to_owned())));
        }
        Ok(match name.strip_prefix('#') {
            Some(name) => Piece::Length(name.to_owned()),
            None => Piece::Variable(name.to_owned()),
        })
    }

    fn group(&mut self) -> Result<Piece, String> {
        let mut items = Vec::new();
        loop {
            items.push(Pattern { pieces: self.pieces(true)?, newline: true });
            if self.eat(")") {
                return Ok(Piece::AnyOrder(items));
            }
            if !self.eat("|") {
                return Err("$( without )".into());
            }
        }
    }

    fn eat(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched(pattern: &str, response: &str) -> Option<Variables> {
        let mut variables = Variables::from([("user".to_owned(), b"joe".to_vec())]);
        let pattern = Pattern::parse(pattern).expect("a pattern");
        pattern.matches(response.as_bytes(), &mut variables).expect("known variables").then_some(variables)
    }

    #[test]
    fn patterns() {
        assert!(matched("* ${#} EXISTS", "* 17 exists").is_some());
        assert!(matched("* ${#} EXISTS", "* x EXISTS").is_none());
        assert!(matched("a OK ${*}", "a OK [READ-WRITE] done").is_some());
        assert!(matched("${user} ${_}", "joe b").is_some());
        let flags = "* 1 FETCH ($(UID 5|FLAGS ($(\\Seen|\\Deleted))))";
        assert!(matched(flags, "* 1 FETCH (FLAGS (\\Deleted \\Seen) UID 5)").is_some());
        assert!(matched(flags, "* 1 FETCH (UID 5 FLAGS (\\Seen \\Deleted))").is_some());
        assert!(matched(flags, "* 1 FETCH (UID 5 FLAGS (\\Seen))").is_none());
        assert!(matched(flags, "* 1 FETCH (UID 5 FLAGS (\\Seen \\Deleted) MODSEQ (1))").is_none());
        assert!(matched("{2}\\r\\n\\xff", "{2}\r\n\u{ff}").is_none());
        let captured = matched("a OK [APPENDUID ${v:=#} ${uid:=#}] ${*}", "a OK [APPENDUID 12 345] done");
        let captured = captured.expect("matches");
        assert_eq!((&captured["v"][..], &captured["uid"][..]), (&b"12"[..], &b"345"[..]));
        assert!(Pattern::parse("$(a").is_err() && Pattern::parse("${a").is_err());
    }

    #[test]
    fn sayings() {
        let variables = Variables::from([("m".to_owned(), b"hello".to_vec())]);
        let fill = |text: &str| {
            let pattern = Pattern::parse(text).expect("a pattern");
            (pattern.fill(&variables).map(|b| String::from_utf8_lossy(&b).into_owned()), pattern.newline)
        };
        assert_eq!(fill("a APPEND x (\\Seen) {${#m}}"), (Ok("a APPEND x (\\Seen) {5}".into()), true));
        assert_eq!(fill("${m}\\"), (Ok("hello".into()), false));
        assert_eq!(fill("\"a\\\\b\" \\\""), (Ok("\"a\\b\" \\\"".into()), true));
        assert!(fill("${x}").0.is_err() && fill("${*}").0.is_err());
    }
}
