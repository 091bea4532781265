//! Writes commands, for our own clients and the front end. Literals are non-synchronising (LITERAL+), so that a command can be
//! sent in one piece.

use super::Dialect;
use crate::response::decimal;
use crate::value::{Bound, Date, DateTime, Flag, FolderName, SequenceSet};
use crate::wire::{is_astring_char, is_list_char};
use waypost_base::time::{MONTHS, civil_from_days};

#[derive(Debug)]
pub(crate) struct Printer<'a> {
    pub(crate) out: &'a mut Vec<u8>,
    pub(crate) dialect: Dialect,
}

impl Printer<'_> {
    pub(crate) fn raw(&mut self, text: &str) -> &mut Self {
        self.out.extend_from_slice(text.as_bytes());
        self
    }

    pub(crate) fn number(&mut self, n: impl Into<u64>) -> &mut Self {
        decimal(self.out, n.into());
        self
    }

    pub(crate) fn string(&mut self, bytes: &[u8]) -> &mut Self {
        let ascii = bytes.iter().all(|b| matches!(b, 0x20..=0x7e));
        let text = !bytes.iter().any(|b| matches!(b, 0..=0x1f | 0x7f)) && std::str::from_utf8(bytes).is_ok();
        if bytes.len() <= 1000 && (ascii || (self.dialect.utf8 && text)) {
            self.out.push(b'"');
            for &b in bytes {
                if matches!(b, b'"' | b'\\') {
                    self.out.push(b'\\');
                }
                self.out.push(b);
            }
            self.out.push(b'"');
        } else {
            self.raw("{").number(bytes.len() as u64).raw("+}\r\n");
            self.out.extend_from_slice(bytes);
        }
        self
    }

    pub(crate) fn astring(&mut self, bytes: &[u8]) -> &mut Self {
        self.chars_or_string(bytes, is_astring_char)
    }

    fn chars_or_string(&mut self, bytes: &[u8], accept: fn(u8) -> bool) -> &mut Self {
        if bytes.is_empty() || bytes.len() > 1000 || !bytes.iter().all(|&b| accept(b)) {
            return self.string(bytes);
        }
        self.out.extend_from_slice(bytes);
        self
    }

    pub(crate) fn folder(&mut self, name: &FolderName) -> &mut Self {
        let wire = name.to_wire(self.dialect.utf8);
        self.astring(wire.as_bytes())
    }

    pub(crate) fn pattern(&mut self, name: &FolderName) -> &mut Self {
        let wire = name.to_wire(self.dialect.utf8);
        self.chars_or_string(wire.as_bytes(), is_list_char)
    }

    pub(crate) fn sequence_set(&mut self, set: &SequenceSet) -> &mut Self {
        let SequenceSet::Ranges(ranges) = set else {
            return self.raw("$");
        };
        for (i, range) in ranges.iter().enumerate() {
            self.raw(if i > 0 { "," } else { "" }).bound(range.start);
            if range.end != range.start {
                self.raw(":").bound(range.end);
            }
        }
        self
    }

    fn bound(&mut self, bound: Bound) {
        match bound.number() {
            Some(n) => self.number(n),
            None => self.raw("*"),
        };
    }

    pub(crate) fn flag(&mut self, flag: &Flag) {
        self.raw(if flag.is_backslashed() { "\\" } else { "" }).raw(flag.name());
    }

    pub(crate) fn flag_list(&mut self, flags: &[Flag]) -> &mut Self {
        self.list(flags, |p, flag| p.flag(flag))
    }

    /// `(item item)`
    pub(crate) fn list<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T)) -> &mut Self {
        self.raw("(");
        for (i, value) in items.iter().enumerate() {
            self.raw(if i > 0 { " " } else { "" });
            item(self, value);
        }
        self.raw(")")
    }

    /// The names of the options that are set, in parentheses.
    pub(crate) fn options(&mut self, options: &[(bool, &str)]) -> &mut Self {
        let names: Vec<&str> = options.iter().filter(|o| o.0).map(|o| o.1).collect();
        self.list(&names, |p, name| {
            p.raw(name);
        })
    }

    pub(crate) fn date(&mut self, date: Date) {
        let (year, month, day) = civil_from_days(date.0);
        let month = MONTHS.get(usize::from(month).wrapping_sub(1)).copied().unwrap_or("Jan");
        let text = format!("{day}-{month}-{:04}", year.clamp(0, 9999));
        self.raw(&text);
    }

    pub(crate) fn date_time(&mut self, date: DateTime) -> &mut Self {
        crate::response::date_time(self.out, date.at, date.zone_minutes);
        self
    }
}
