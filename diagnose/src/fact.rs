//! What was seen: one fact, with its place, time, server and fields. A fact claims nothing beyond itself.

use std::borrow::Cow;
use std::sync::Arc;
use waypost_base::Timestamp;

/// A file of the evidence, by its number in [`Files`].
pub type FileId = u32;

/// Bytes of a fact's text that are kept: enough for the longest log line that says something.
pub const TEXT_MAX: usize = 2048;
/// Bytes of one field's value that are kept.
pub const VALUE_MAX: usize = 4096;
/// Fields of one fact.
pub const FIELDS_MAX: usize = 160;

/// Where something was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub file: FileId,
    /// From 1; 0 stands for the file as a whole.
    pub line: u32,
}

/// One thing that was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fact {
    /// `event`, `imap`, `object`, `ticket`…: what the fields mean.
    pub kind: Cow<'static, str>,
    pub at: Place,
    pub time: Option<Timestamp>,
    /// When the last of those was that it stands for, where that is later.
    pub until: Option<Timestamp>,
    /// Short upper-case name of the server that it was seen on.
    pub server: Option<Arc<str>>,
    /// Names in lower case, of letters and digits only.
    pub fields: Vec<(Cow<'static, str>, Box<str>)>,
    /// As it was seen.
    pub text: Box<str>,
    /// How many alike it stands for.
    pub count: u32,
}

impl Fact {
    pub fn new(kind: impl Into<Cow<'static, str>>, at: Place) -> Fact {
        Fact { kind: kind.into(), at, count: 1, ..Fact::default() }
    }

    /// Adds a field; its name is normalised, its value is cut to [`VALUE_MAX`]. Empty values are left out: absent and empty
    /// are the same to a rule.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl AsRef<str>) -> Fact {
        self.put(name, value);
        self
    }

    /// Like [`Fact::with`], in place.
    pub fn put(&mut self, name: impl Into<Cow<'static, str>>, value: impl AsRef<str>) {
        let value = value.as_ref().trim();
        if value.is_empty() || self.fields.len() >= FIELDS_MAX {
            return;
        }
        let name = plain(name.into());
        if !name.is_empty() {
            self.fields.push((name, cut(value, VALUE_MAX).into()));
        }
    }

    #[must_use]
    pub fn text(mut self, text: &str) -> Fact {
        self.text = cut(text, TEXT_MAX).into();
        self
    }

    #[must_use]
    pub fn time(mut self, time: Option<Timestamp>) -> Fact {
        self.time = time;
        self
    }

    /// When the last of what it stands for was seen.
    pub fn last(&self) -> Option<Timestamp> {
        self.time.max(self.until)
    }

    /// The field's value; names are looked up as they are kept: lower case, letters and digits.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| &**value)
    }

    /// Whether the field has this value, in any case of letters.
    pub fn is(&self, name: &str, value: &str) -> bool {
        self.get(name).is_some_and(|v| v.eq_ignore_ascii_case(value))
    }

    /// The field as a number: `10,485`, `12 %`, `0x1f`.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.get(name).and_then(crate::words::number)
    }

    /// Whether the text or a field has this in it, in any case of letters.
    pub fn mentions(&self, phrase: &str) -> bool {
        let found = |text: &str| crate::words::contains(text, phrase);
        found(&self.text) || self.fields.iter().any(|(_, value)| found(value))
    }
}

/// A name of letters and digits, in lower case.
pub fn plain(name: Cow<'static, str>) -> Cow<'static, str> {
    let good =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || (!c.is_ascii() && c.is_alphanumeric());
    if name.chars().all(good) {
        return name;
    }
    Cow::Owned(name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect())
}

/// At most so many bytes, whole characters.
pub fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// The short name of a server: `mbx01.corp.example` → `MBX01`; addresses stay as they are.
pub fn server_name(name: &str) -> Option<Arc<str>> {
    let name = name.trim().trim_end_matches('$').trim_start_matches("\\\\");
    let short = match name.parse::<std::net::IpAddr>() {
        Ok(_) => name,
        Err(_) => name.split(['.', '\\', '/']).next().unwrap_or_default(),
    };
    let good = !short.is_empty() && short.len() <= 63 && !short.contains(char::is_whitespace);
    good.then(|| short.to_uppercase().into())
}
