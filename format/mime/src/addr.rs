//! Address lists (RFC 5322 §3.4, with §4.4's obsolete forms, groups, raw 8-bit and the usual mistakes).

use crate::{charset, rfc2047};

/// One entry of an address list, in the raw bytes of the header with quoting and comments taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    Mailbox(Mailbox),
    GroupStart(Vec<u8>),
    GroupEnd,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mailbox {
    /// Display name, encoded words untouched; the comment of `a@b (Name)` when there is no other.
    pub name: Option<Vec<u8>>,
    /// Obsolete source route: `@a,@b`.
    pub route: Option<Vec<u8>>,
    pub local: Vec<u8>,
    /// Empty when the address had none.
    pub host: Vec<u8>,
}

impl Mailbox {
    /// The display name as people read it.
    pub fn display_name(&self) -> Option<String> {
        self.name.as_ref().map(|n| rfc2047::decode(n)).filter(|n| !n.trim().is_empty())
    }

    /// `local@host`, or only the local part when there is no host.
    pub fn address(&self) -> String {
        let local = charset::unlabelled(&self.local);
        if self.host.is_empty() {
            return local.into_owned();
        }
        format!("{local}@{}", charset::unlabelled(&self.host))
    }
}

/// A list, and whether it was cut at `limit` entries.
pub fn parse(value: &[u8], limit: usize) -> (Vec<Item>, bool) {
    let mut parser = Parser { lex: Lexer { rest: value, comment: None }, items: Vec::new(), in_group: false };
    let whole = parser.list(limit);
    (parser.items, !whole)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// An atom, a dot, or whatever else is not special. True: white space stood before it.
    Word(Vec<u8>, bool),
    /// One of `<>@,:;`
    Special(u8),
}

struct Lexer<'a> {
    rest: &'a [u8],
    /// The last comment seen since it was cleared.
    comment: Option<Vec<u8>>,
}

impl Lexer<'_> {
    fn next(&mut self) -> Option<Token> {
        let mut space = false;
        loop {
            let (&b, tail) = self.rest.split_first()?;
            match b {
                b' ' | b'\t' | b'\r' | b'\n' | 0 => {
                    self.rest = tail;
                    space = true;
                }
                b'(' => {
                    self.rest = tail;
                    space = true;
                    let comment = self.comment();
                    if !comment.is_empty() {
                        self.comment = Some(comment);
                    }
                }
                b'<' | b'>' | b'@' | b',' | b':' | b';' => {
                    self.rest = tail;
                    return Some(Token::Special(b));
                }
                b'"' => {
                    self.rest = tail;
                    return Some(Token::Word(self.quoted(), space));
                }
                b'[' => return Some(Token::Word(self.literal(), space)),
                _ => return Some(Token::Word(self.atom(), space)),
            }
        }
    }

    fn atom(&mut self) -> Vec<u8> {
        let end = self
            .rest
            .iter()
            .position(|b| {
                matches!(
                    b,
                    b' ' | b'\t' | b'\r' | b'\n' | 0 | b'(' | b'<' | b'>' | b'@' | b',' | b':' | b';' | b'"'
                )
            })
            .unwrap_or(self.rest.len())
            .max(1);
        let (atom, tail) = self.rest.split_at(end);
        self.rest = tail;
        atom.to_vec()
    }

    fn quoted(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some((&b, tail)) = self.rest.split_first() {
            self.rest = tail;
            match b {
                b'"' => break,
                b'\\' => {
                    if let Some((&c, tail)) = self.rest.split_first() {
                        out.push(c);
                        self.rest = tail;
                    }
                }
                b'\r' | b'\n' | 0 => {}
                b => out.push(b),
            }
        }
        out
    }

    /// `[192.0.2.1]`, brackets kept; one without end is an atom.
    fn literal(&mut self) -> Vec<u8> {
        match memchr::memchr2(b']', b',', self.rest) {
            Some(end) if self.rest.get(end) == Some(&b']') => {
                let (literal, tail) = self.rest.split_at(end + 1);
                self.rest = tail;
                literal.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect()
            }
            _ => self.atom(),
        }
    }

    /// The rest of a comment; nested ones stay in its text.
    fn comment(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut depth = 1;
        while let Some((&b, tail)) = self.rest.split_first() {
            self.rest = tail;
            match b {
                b'\\' => {
                    if let Some((&c, tail)) = self.rest.split_first() {
                        out.push(c);
                        self.rest = tail;
                    }
                    continue;
                }
                b'(' => depth += 1,
                b')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            if !matches!(b, b'\r' | b'\n' | 0) {
                out.push(b);
            }
        }
        out.trim_ascii().to_vec()
    }
}

/// Words of a phrase or a local part, joined as they stood.
#[derive(Default)]
struct Words {
    bytes: Vec<u8>,
    any: bool,
}

impl Words {
    fn push(&mut self, word: &[u8], space: bool) {
        if space && !self.bytes.is_empty() {
            self.bytes.push(b' ');
        }
        self.bytes.extend_from_slice(word);
        self.any = true;
    }

    fn take(&mut self) -> Vec<u8> {
        self.any = false;
        std::mem::take(&mut self.bytes)
    }
}

struct Parser<'a> {
    lex: Lexer<'a>,
    items: Vec<Item>,
    in_group: bool,
}

impl Parser<'_> {
    /// False when the limit was reached.
    fn list(&mut self, limit: usize) -> bool {
        let mut words = Words::default();
        loop {
            if self.items.len() >= limit {
                self.end_group();
                return self.lex.rest.trim_ascii().is_empty();
            }
            match self.lex.next() {
                None => {
                    self.bare(&mut words);
                    self.end_group();
                    return true;
                }
                Some(Token::Word(w, space)) => words.push(&w, space),
                Some(Token::Special(b',')) => self.bare(&mut words),
                Some(Token::Special(b';')) => {
                    self.bare(&mut words);
                    self.end_group();
                }
                Some(Token::Special(b':')) if !self.in_group => {
                    self.items.push(Item::GroupStart(words.take()));
                    self.lex.comment = None;
                    self.in_group = true;
                }
                Some(Token::Special(b'<')) => {
                    let name = words.any.then(|| words.take());
                    self.angle(name);
                }
                Some(Token::Special(b'@')) => self.spec(&mut words),
                Some(Token::Special(b)) => words.push(&[b], false),
            }
        }
    }

    fn end_group(&mut self) {
        if self.in_group {
            self.items.push(Item::GroupEnd);
            self.in_group = false;
        }
    }

    /// Words without an at sign: a local address, as old systems wrote it.
    fn bare(&mut self, words: &mut Words) {
        if words.any {
            let local = words.take();
            let name = self.lex.comment.take();
            self.items.push(Item::Mailbox(Mailbox { name, local, ..Mailbox::default() }));
        }
        self.lex.comment = None;
    }

    /// After `local@`.
    fn spec(&mut self, words: &mut Words) {
        let local = words.take();
        let mut host = Words::default();
        loop {
            let before = self.lex.rest;
            match self.lex.next() {
                Some(Token::Word(w, space)) => {
                    // `a@b.c d@e.f`: a comma was forgotten.
                    if space && host.any && !w.starts_with(b".") && !host.bytes.ends_with(b".") {
                        self.lex.rest = before;
                        break;
                    }
                    host.push(&w, false);
                }
                Some(Token::Special(b'<')) => {
                    // `a@b <a@b>`: the name is an address that should have been quoted.
                    let name = [local, b"@".to_vec(), host.take()].concat();
                    return self.angle(Some(name));
                }
                Some(Token::Special(b @ (b',' | b';'))) => {
                    self.lex.rest = if b == b';' { before } else { self.lex.rest };
                    break;
                }
                Some(Token::Special(b'@')) => host.push(b"@", false),
                Some(Token::Special(_)) => {}
                None => break,
            }
        }
        let name = self.lex.comment.take();
        self.items.push(Item::Mailbox(Mailbox { name, route: None, local, host: host.take() }));
    }

    /// After `Name <`.
    fn angle(&mut self, name: Option<Vec<u8>>) {
        let mut route = None;
        let mut local = Words::default();
        let mut host = Words::default();
        let mut at = false;
        let mut closed = true;
        loop {
            match self.lex.next() {
                None | Some(Token::Special(b'>')) => break,
                Some(Token::Special(b'@')) if at => {
                    // `<a@b@c>`: the last at sign is the one that counts.
                    let inner = [local.take(), b"@".to_vec(), host.take()].concat();
                    local.push(&inner, false);
                }
                Some(Token::Special(b'@')) => at = true,
                // `<@a,@b:c@d>`
                Some(Token::Special(b':')) if at && !local.any => {
                    route = Some([b"@".to_vec(), host.take()].concat());
                    at = false;
                }
                Some(Token::Special(b',')) if at && !local.any => {
                    host.push(b",", false);
                    if self.lex.rest.trim_ascii_start().first() == Some(&b'@') {
                        self.lex.next();
                        host.push(b"@", false);
                    }
                }
                // `<a@b, c@d>`: the bracket was forgotten.
                Some(Token::Special(b',')) => {
                    closed = false;
                    break;
                }
                Some(Token::Special(_)) => {}
                Some(Token::Word(w, _)) if at => host.push(&w, false),
                Some(Token::Word(w, space)) => local.push(&w, space),
            }
        }
        let name = name.or_else(|| self.lex.comment.take());
        self.lex.comment = None;
        self.items.push(Item::Mailbox(Mailbox { name, route, local: local.take(), host: host.take() }));
        if closed {
            self.skip_junk();
        }
    }

    /// What stands between `>` and the next comma belongs to nothing.
    fn skip_junk(&mut self) {
        loop {
            let before = self.lex.rest;
            if !matches!(self.lex.next(), Some(Token::Word(..) | Token::Special(b'>'))) {
                self.lex.rest = before;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn show(value: &str) -> String {
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        let (items, _) = parse(value.as_bytes(), 100);
        let shown: Vec<String> = items
            .iter()
            .map(|i| match i {
                Item::GroupStart(n) => format!("{}:", text(n)),
                Item::GroupEnd => ";".into(),
                Item::Mailbox(m) => format!(
                    "{}{}{}|{}",
                    m.name.as_ref().map(|n| text(n) + "|").unwrap_or_default(),
                    m.route.as_ref().map(|n| text(n) + "|").unwrap_or_default(),
                    text(&m.local),
                    text(&m.host)
                ),
            })
            .collect();
        shown.join("  ")
    }

    #[test]
    fn examples_of_rfc_5322() {
        for (raw, want) in [
            ("John Doe <jdoe@machine.example>", "John Doe|jdoe|machine.example"),
            ("\"Joe Q. Public\" <john.q.public@example.com>", "Joe Q. Public|john.q.public|example.com"),
            (
                "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
                "Mary Smith|mary|x.test  jdoe|example.org  Who?|one|y.test",
            ),
            (
                "<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
                "boss|nil.test  Giant; \"Big\" Box|sysservices|example.net",
            ),
            (
                "A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
                "A Group:  Ed Jones|c|a.test  joe|where.test  John|jdoe|one.test  ;",
            ),
            ("Undisclosed recipients:;", "Undisclosed recipients:  ;"),
            ("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "Pete|pete|silly.test"),
            (
                "A Group(Some people)\r\n     :Chris Jones <c@(Chris's host.)public.example>,\r\n joe@example.org,\r\n John <jdoe@one.test> (my dear friend); (the end of the group)",
                "A Group:  Chris Jones|c|public.example  joe|example.org  John|jdoe|one.test  ;",
            ),
            ("(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;", "Hidden recipients:  ;"),
            ("Joe Q. Public <john.q.public@example.com>", "Joe Q. Public|john.q.public|example.com"),
            (
                "Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
                "Mary Smith|@node.test|mary|example.net  jdoe|test.example",
            ),
            ("John Doe <jdoe@machine(comment).  example>", "John Doe|jdoe|machine.example"),
        ] {
            assert_eq!(show(raw), want, "{raw}");
        }
    }

    #[test]
    fn nasty_ones() {
        for (raw, want) in [
            ("", ""),
            (",, ,", ""),
            ("root", "root|"),
            ("user@host (Full Name)", "Full Name|user|host"),
            ("a@b <a@b>", "a@b|a|b"),
            ("<>", "|"),
            ("Name <", "Name||"),
            ("a@b c@d", "a|b  c|d"),
            ("Name <a@b", "Name|a|b"),
            ("Name <a@b, Other <c@d>", "Name|a|b  Other|c|d"),
            ("<@a,@b:c@d>", "@a,@b|c|d"),
            ("x <a@b@c>", "x|a@b|c"),
            ("\"a b\"@[192.0.2.1]", "a b|[192.0.2.1]"),
            ("G: a@b", "G:  a|b  ;"),
            ("\"never ends <a@b>", "never ends <a@b>|"),
            ("Grün <g@x>", "Grün|g|x"),
            ("=?utf-8?Q?A=2C_B?= <a@b>", "=?utf-8?Q?A=2C_B?=|a|b"),
            ("a@b;c@d", "a|b  c|d"),
            ("Dr. No <no@x> junk, b@c", "Dr. No|no|x  b|c"),
            ("[x, y@z", "[x|  y|z"),
        ] {
            assert_eq!(show(raw), want, "{raw}");
        }
        let (items, cut) = parse(b"a@b, c@d, e@f", 2);
        assert_eq!((items.len(), cut), (2, true));
    }

    proptest! {
        #[test]
        fn never_panics_and_never_spins(text in "[a-c@<>,:;()\"\\\\ .\\[\\]]{0,60}") {
            let (items, _) = parse(text.as_bytes(), 1000);
            prop_assert!(items.len() <= text.len() + 2);
        }
    }
}
