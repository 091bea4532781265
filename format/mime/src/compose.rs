//! Building simple messages: text with UTF-8 headers, folded and encoded.

use waypost_base::Timestamp;

/// A message under construction. Lines end in CRLF whatever the text had.
#[derive(Clone, Debug, Default)]
pub struct Compose {
    fields: Vec<(String, String)>,
    text: String,
}

impl Compose {
    pub fn new() -> Compose {
        Compose::default()
    }

    /// An address field: From, To, Cc, Reply-To… May be called again to add one.
    pub fn address(mut self, field: &str, name: &str, address: &str) -> Self {
        self.fields.push((field.into(), format!("{name} <{address}>")));
        self
    }

    pub fn subject(self, subject: &str) -> Self {
        self.field("Subject", subject)
    }

    pub fn date(self, at: Timestamp) -> Self {
        self.field("Date", &at.civil().rfc5322())
    }

    /// `id` with or without angle brackets.
    pub fn message_id(self, id: &str) -> Self {
        self.field("Message-ID", &format!("<{}>", id.trim_matches(['<', '>'])))
    }

    /// Any other field; the value is text, and is encoded as its characters need.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    pub fn text(mut self, text: &str) -> Self {
        self.text = text.into();
        self
    }

    /// The message with CRLF line ends.
    pub fn build(&self) -> Vec<u8> {
        let mut out = String::new();
        for (n, v) in &self.fields {
            out.push_str(&format!("{n}: {v}\r\n"));
        }
        out.push_str("\r\n");
        out.push_str(&self.text);
        out.into_bytes()
    }
}
