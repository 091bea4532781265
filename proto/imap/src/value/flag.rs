//! Flags and keywords.

use std::fmt;

/// A flag as a client names it (RFC 9051 §2.3.2). System flags are read without regard to case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    Answered,
    Deleted,
    Draft,
    Flagged,
    Seen,
    /// Given by the server only; the parser refuses it in STORE and APPEND.
    Recent,
    Keyword(Keyword),
    /// `\Something` that no standard we know defines, without the backslash. To be ignored when stored.
    Extension(Box<str>),
}

impl Flag {
    /// Reads a flag as it stands on the wire. `None` if it is not an atom, or a backslash and an atom.
    pub fn from_wire(text: &[u8]) -> Option<Flag> {
        let Some((b'\\', name)) = text.split_first() else {
            return Keyword::new(text).map(Flag::Keyword);
        };
        const SYSTEM: [(&[u8], Flag); 6] = [
            (b"Answered", Flag::Answered),
            (b"Deleted", Flag::Deleted),
            (b"Draft", Flag::Draft),
            (b"Flagged", Flag::Flagged),
            (b"Seen", Flag::Seen),
            (b"Recent", Flag::Recent),
        ];
        if let Some((_, flag)) = SYSTEM.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)) {
            return Some(flag.clone());
        }
        Keyword::new(name).map(|k| Flag::Extension(k.0))
    }

    pub fn keyword(name: &str) -> Option<Flag> {
        Keyword::new(name.as_bytes()).map(Flag::Keyword)
    }

    /// As it stands on the wire, without the backslash that [`Flag::is_backslashed`] tells of.
    pub fn name(&self) -> &str {
        match self {
            Flag::Answered => "Answered",
            Flag::Deleted => "Deleted",
            Flag::Draft => "Draft",
            Flag::Flagged => "Flagged",
            Flag::Seen => "Seen",
            Flag::Recent => "Recent",
            Flag::Keyword(k) => k.as_str(),
            Flag::Extension(name) => name,
        }
    }

    pub fn is_backslashed(&self) -> bool {
        !matches!(self, Flag::Keyword(_))
    }
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_backslashed() {
            f.write_str("\\")?;
        }
        f.write_str(self.name())
    }
}

/// `flag-keyword`: an atom without backslash, at most [`crate::limits::KEYWORD_MAX`] bytes. Case is kept;
/// whether case distinguishes is the store's affair.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Keyword(Box<str>);

impl Keyword {
    pub fn new(text: &[u8]) -> Option<Keyword> {
        let fits = !text.is_empty() && text.len() <= crate::limits::KEYWORD_MAX;
        if !fits || !text.iter().all(|&b| crate::wire::is_atom_char(b)) {
            return None;
        }
        std::str::from_utf8(text).ok().map(|t| Keyword(t.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}
