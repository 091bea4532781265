//! Folder names as Unicode, whatever the session writes on the wire.

use super::utf7;
use std::fmt;

/// The full name of a folder, levels separated by the server's delimiter; or a LIST pattern or reference.
///
/// INBOX is read without regard to case and kept as `INBOX`, also as the first level of a longer name
/// (`inbox/x` and `INBOX/x` are one folder; RFC 9051 §5.1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FolderName(Box<str>);

impl FolderName {
    pub fn new(name: &str) -> FolderName {
        FolderName(name.into()).with_inbox_upper()
    }

    /// Decodes what stood on the wire: UTF-8 if `utf8`, else modified UTF-7 (RFC 3501 §5.1.3). `None` if it is neither
    /// valid nor harmless: control characters are refused, and so is a longer name than
    /// [`crate::limits::FOLDER_NAME_MAX`]. Under UTF-7, names that are not valid UTF-7 but plain UTF-8 are taken
    /// as they are, since clients send them (and a lone `&` is common).
    pub fn from_wire(bytes: &[u8], utf8: bool) -> Option<FolderName> {
        let text = if utf8 {
            std::str::from_utf8(bytes).ok()?.to_owned()
        } else {
            match utf7::decode(bytes) {
                Some(text) => text,
                None => std::str::from_utf8(bytes).ok()?.to_owned(),
            }
        };
        let fits = text.len() <= crate::limits::FOLDER_NAME_MAX;
        (fits && !text.chars().any(char::is_control)).then(|| FolderName::new(&text))
    }

    /// As it goes on the wire, before quoting.
    pub fn to_wire(&self, utf8: bool) -> std::borrow::Cow<'_, str> {
        if utf8 { (&*self.0).into() } else { utf7::encode(&self.0) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_inbox(&self) -> bool {
        &*self.0 == "INBOX"
    }

    fn with_inbox_upper(mut self) -> FolderName {
        if let Some((head, rest)) = self.0.split_at_checked(5)
            && head.eq_ignore_ascii_case("INBOX")
            && (rest.is_empty() || rest.starts_with('/'))
        {
            self.0.get_mut(..5).map(str::make_ascii_uppercase).unwrap_or_default();
        }
        self
    }
}

impl fmt::Debug for FolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FolderName({:?})", &self.0)
    }
}

impl fmt::Display for FolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
