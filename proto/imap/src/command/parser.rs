//! The cursor that all commands are read with: the words of RFC 9051 §9 that they share.

use super::{Dialect, Problem};
use crate::limits;
use crate::value::{Bound, Date, DateTime, Flag, FolderName, Range, SequenceSet};
use crate::wire::{is_astring_char, is_atom_char, is_list_char};
use memchr::memchr2;
use std::borrow::Cow;

pub(crate) type Result<T> = std::result::Result<T, Problem>;

#[derive(Debug)]
pub(crate) struct Parser<'a> {
    all: &'a [u8],
    at: usize,
    pub(crate) dialect: Dialect,
}

impl<'a> Parser<'a> {
    pub(crate) fn new(all: &'a [u8], dialect: Dialect) -> Parser<'a> {
        Parser { all, at: 0, dialect }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.all.get(self.at..).unwrap_or_default()
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.all.get(self.at).copied()
    }

    pub(crate) fn expected<T>(&self, expected: &'static str) -> Result<T> {
        Err(Problem::Syntax { expected, at: self.at })
    }

    pub(crate) fn too_large<T>(&self, what: &'static str) -> Result<T> {
        Err(Problem::TooLarge { what, at: self.at })
    }

    /// Takes the byte if it is next.
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    pub(crate) fn need(&mut self, byte: u8, name: &'static str) -> Result<()> {
        if self.eat(byte) { Ok(()) } else { self.expected(name) }
    }

    pub(crate) fn space(&mut self) -> Result<()> {
        self.need(b' ', "a space")
    }

    pub(crate) fn open(&mut self) -> Result<()> {
        self.need(b'(', "an opening parenthesis")
    }

    pub(crate) fn close(&mut self) -> Result<()> {
        self.need(b')', "a closing parenthesis")
    }

    pub(crate) fn end(&self) -> Result<()> {
        if self.at == self.all.len() { Ok(()) } else { self.expected("the end of the command") }
    }

    /// Takes the text if it is next, in any case. It need not end there.
    pub(crate) fn eat_text(&mut self, text: &str) -> bool {
        let is = self.rest().get(..text.len()).is_some_and(|t| t.eq_ignore_ascii_case(text.as_bytes()));
        self.at += if is { text.len() } else { 0 };
        is
    }

    pub(crate) fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let n = rest.iter().position(|&b| !accept(b)).unwrap_or(rest.len());
        self.at += n;
        rest.get(..n).unwrap_or_default()
    }

    /// `atom = 1*ATOM-CHAR`
    pub(crate) fn atom(&mut self, name: &'static str) -> Result<&'a str> {
        let at = self.at;
        let atom = self.take_while(is_atom_char);
        match std::str::from_utf8(atom) {
            Ok(atom) if !atom.is_empty() => Ok(atom),
            _ => Err(Problem::Syntax { expected: name, at }),
        }
    }

    /// An atom in upper case, in a buffer for a `match`. Longer atoms than any word we know come out cut, and so match none.
    pub(crate) fn word(&mut self, name: &'static str) -> Result<Word> {
        let atom = self.atom(name)?;
        let mut word = Word { bytes: [0; WORD_MAX], length: 0 };
        for (to, from) in word.bytes.iter_mut().zip(atom.bytes()) {
            *to = from.to_ascii_uppercase();
            word.length += 1;
        }
        Ok(word)
    }

    /// `number64 = 1*DIGIT`, below 2^63.
    pub(crate) fn number64(&mut self) -> Result<u64> {
        let at = self.at;
        let digits = self.take_while(|b| b.is_ascii_digit());
        if digits.is_empty() {
            return self.expected("a number");
        }
        let n = digits.iter().try_fold(0u64, |n, b| n.checked_mul(10)?.checked_add(u64::from(b - b'0')));
        match n {
            Some(n) if n <= i64::MAX as u64 => Ok(n),
            _ => Err(Problem::TooLarge { what: "Number", at }),
        }
    }

    /// `number = 1*DIGIT`, below 2^32.
    pub(crate) fn number(&mut self) -> Result<u32> {
        let at = self.at;
        u32::try_from(self.number64()?).map_err(|_| Problem::TooLarge { what: "Number", at })
    }

    /// `nz-number = digit-nz *DIGIT`
    pub(crate) fn nz_number(&mut self) -> Result<u32> {
        let at = self.at;
        match self.number()? {
            0 => Err(Problem::Syntax { expected: "a number above 0", at }),
            n => Ok(n),
        }
    }

    /// ```abnf
    /// string  = quoted / literal
    /// quoted  = DQUOTE *QUOTED-CHAR DQUOTE
    /// literal = "{" number64 ["+"] "}" CRLF *CHAR8
    /// ```
    pub(crate) fn string(&mut self) -> Result<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal().map(Cow::Borrowed),
            _ => self.expected("a string"),
        }
    }

    fn quoted(&mut self) -> Result<Cow<'a, [u8]>> {
        self.need(b'"', "a quotation mark")?;
        let mut unescaped: Option<Vec<u8>> = None;
        loop {
            let rest = self.rest();
            let Some(at) = memchr2(b'"', b'\\', rest) else {
                return self.expected("the end of a quoted string");
            };
            let (plain, special) = rest.split_at(at);
            if plain.iter().any(|b| matches!(b, 0 | b'\r' | b'\n')) {
                return self.expected("a quoted string on one line");
            }
            self.at += at + 1;
            if special.first() == Some(&b'"') {
                return Ok(match unescaped {
                    None => Cow::Borrowed(plain),
                    Some(mut text) => {
                        text.extend_from_slice(plain);
                        Cow::Owned(text)
                    }
                });
            }
            let Some(escaped @ (b'"' | b'\\')) = self.peek() else {
                return self.expected("a quotation mark or backslash after a backslash");
            };
            self.at += 1;
            let text = unescaped.get_or_insert_default();
            text.extend_from_slice(plain);
            text.push(escaped);
        }
    }

    fn literal(&mut self) -> Result<&'a [u8]> {
        self.need(b'{', "a literal")?;
        let size = self.number64()?;
        self.eat(b'+');
        self.need(b'}', "the end of a literal's length")?;
        self.eat(b'\r');
        self.need(b'\n', "a literal's newline")?;
        let bytes = usize::try_from(size).ok().and_then(|n| self.rest().get(..n));
        let Some(bytes) = bytes else {
            return self.expected("a literal's bytes");
        };
        if memchr::memchr(0, bytes).is_some() {
            return self.expected("a literal without NUL");
        }
        self.at += bytes.len();
        Ok(bytes)
    }

    /// `astring = 1*ASTRING-CHAR / string`
    pub(crate) fn astring(&mut self) -> Result<Cow<'a, [u8]>> {
        self.chars_or_string(is_astring_char)
    }

    fn chars_or_string(&mut self, accept: fn(u8) -> bool) -> Result<Cow<'a, [u8]>> {
        if matches!(self.peek(), Some(b'"' | b'{')) {
            return self.string();
        }
        let atom = self.take_while(accept);
        if atom.is_empty() { self.expected("a string") } else { Ok(Cow::Borrowed(atom)) }
    }

    /// An astring that must be UTF-8. RFC 3501 wants a literal for eight-bit text; clients that quote it are understood.
    pub(crate) fn text(&mut self) -> Result<String> {
        let at = self.at;
        let bytes = self.astring()?.into_owned();
        String::from_utf8(bytes).map_err(|_| Problem::Syntax { expected: "text in UTF-8", at })
    }

    /// ```abnf
    /// mailbox = "INBOX" / astring
    /// ```
    pub(crate) fn folder(&mut self) -> Result<FolderName> {
        let at = self.at;
        let bytes = self.astring()?;
        self.folder_name(&bytes, at)
    }

    /// ```abnf
    /// list-mailbox = 1*list-char / string
    /// ```
    pub(crate) fn pattern(&mut self) -> Result<FolderName> {
        let at = self.at;
        let bytes = self.chars_or_string(is_list_char)?;
        self.folder_name(&bytes, at)
    }

    fn folder_name(&self, bytes: &[u8], at: usize) -> Result<FolderName> {
        if bytes.len() > limits::FOLDER_NAME_MAX * 4 {
            return Err(Problem::TooLarge { what: "Folder name", at });
        }
        FolderName::from_wire(bytes, self.dialect.utf8)
            .ok_or(Problem::Syntax { expected: "a folder name", at })
    }

    /// ```abnf
    /// sequence-set = (seq-number / seq-range) ["," sequence-set]
    /// sequence-set =/ seq-last-command        ; "$"
    /// seq-range    = seq-number ":" seq-number
    /// seq-number   = nz-number / "*"
    /// ```
    pub(crate) fn sequence_set(&mut self) -> Result<SequenceSet> {
        if self.eat(b'$') {
            return Ok(SequenceSet::Saved);
        }
        let mut ranges = Vec::new();
        loop {
            let start = self.bound()?;
            let end = if self.eat(b':') { self.bound()? } else { start };
            ranges.push(Range { start, end });
            if !self.eat(b',') {
                return Ok(SequenceSet::Ranges(ranges.into()));
            }
        }
    }

    fn bound(&mut self) -> Result<Bound> {
        if self.eat(b'*') {
            return Ok(Bound::STAR);
        }
        if !self.peek().is_some_and(|b| b.is_ascii_digit()) {
            return self.expected("a message number");
        }
        Ok(Bound::new(self.nz_number()?).unwrap_or(Bound::STAR))
    }

    /// ```abnf
    /// flag = "\Answered" / "\Flagged" / "\Deleted" / "\Seen" / "\Draft" / flag-keyword / flag-extension
    /// ```
    pub(crate) fn flag(&mut self) -> Result<Flag> {
        let at = self.at;
        let backslash = usize::from(self.eat(b'\\'));
        let name = self.take_while(is_atom_char);
        if name.len() > limits::KEYWORD_MAX {
            return Err(Problem::TooLarge { what: "Keyword", at });
        }
        let wire = self.all.get(at..at + backslash + name.len()).unwrap_or_default();
        match Flag::from_wire(wire) {
            None => Err(Problem::Syntax { expected: "a flag", at }),
            Some(Flag::Recent) => Err(Problem::Syntax { expected: "a flag other than \\Recent", at }),
            Some(flag) => Ok(flag),
        }
    }

    /// ```abnf
    /// flag-list = "(" [flag *(SP flag)] ")"
    /// ```
    pub(crate) fn flag_list(&mut self) -> Result<Vec<Flag>> {
        let mut flags = Vec::new();
        self.list_or_nothing(|p| {
            flags.push(p.flag()?);
            Ok(())
        })?;
        Ok(flags)
    }

    /// `"(" item *(SP item) ")"`
    pub(crate) fn list(&mut self, mut item: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.open()?;
        loop {
            item(self)?;
            if self.eat(b')') {
                return Ok(());
            }
            self.space()?;
        }
    }

    /// `"(" [item *(SP item)] ")"`
    pub(crate) fn list_or_nothing(&mut self, item: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        if self.rest().starts_with(b"()") {
            self.at += 2;
            return Ok(());
        }
        self.list(item)
    }

    /// ```abnf
    /// date = date-text / DQUOTE date-text DQUOTE
    /// ```
    pub(crate) fn date(&mut self) -> Result<Date> {
        let at = self.at;
        let text = self.astring()?;
        Date::from_wire(&text).ok_or(Problem::Syntax { expected: "a date such as 1-Feb-1994", at })
    }

    /// ```abnf
    /// date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE
    /// ```
    pub(crate) fn date_time(&mut self) -> Result<DateTime> {
        let at = self.at;
        let text = self.quoted()?;
        DateTime::from_wire(&text)
            .ok_or(Problem::Syntax { expected: "a date such as \"01-Feb-1994 21:52:25 -0800\"", at })
    }
}

/// The longest word that any command knows, with some room.
const WORD_MAX: usize = 24;

/// A short atom in upper case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    bytes: [u8; WORD_MAX],
    length: usize,
}

impl Word {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}
