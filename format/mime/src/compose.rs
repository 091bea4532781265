//! Building simple messages: text with UTF-8 headers, folded (RFC 5322 §2.2.3) and encoded (RFC 2047).

use crate::rfc2047;
use waypost_base::Timestamp;

/// The length that lines should not pass (RFC 5322 §2.1.1).
const LINE: usize = 78;

/// A message under construction. Lines end in CRLF whatever the text had.
#[derive(Clone, Debug, Default)]
pub struct Compose {
    /// Names, and values ready for folding at their spaces.
    fields: Vec<(String, String)>,
    text: String,
}

impl Compose {
    pub fn new() -> Compose {
        Compose::default()
    }

    /// An address field: From, To, Cc, Reply-To… Called again, it adds an address to the same field.
    pub fn address(mut self, field: &str, name: &str, address: &str) -> Self {
        let address: String =
            address.chars().filter(|c| !c.is_control() && !matches!(c, '<' | '>')).collect();
        let value = match phrase(name.trim()) {
            name if name.is_empty() => address,
            name => format!("{name} <{address}>"),
        };
        match self.fields.iter_mut().find(|(n, _)| n.eq_ignore_ascii_case(field)) {
            Some((_, list)) => {
                list.push_str(", ");
                list.push_str(&value);
                self
            }
            None => self.ready(field, value),
        }
    }

    pub fn subject(self, subject: &str) -> Self {
        self.field("Subject", subject)
    }

    pub fn date(self, at: Timestamp) -> Self {
        self.ready("Date", at.civil().rfc5322())
    }

    /// `id` with or without angle brackets.
    pub fn message_id(self, id: &str) -> Self {
        let id: String = id.chars().filter(|c| c.is_ascii_graphic() && !matches!(c, '<' | '>')).collect();
        self.ready("Message-ID", format!("<{id}>"))
    }

    /// Any other field; the value is text, and is encoded as its characters need.
    pub fn field(self, name: &str, value: &str) -> Self {
        let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.ready(name, rfc2047::encode(value.trim()))
    }

    /// A field whose value is already as a header wants it; line ends and 8-bit are taken out.
    fn ready(mut self, name: &str, value: String) -> Self {
        let name: String = name.chars().filter(|c| c.is_ascii_graphic() && *c != ':').collect();
        let value = value.chars().filter(|c| !c.is_control()).collect();
        self.fields.push((name, value));
        self
    }

    pub fn text(mut self, text: &str) -> Self {
        self.text = text.into();
        self
    }

    /// The message with CRLF line ends: `text/plain`, as it is when it is ASCII with short lines, else quoted-printable.
    pub fn build(&self) -> Vec<u8> {
        let mut out = String::new();
        for (name, value) in &self.fields {
            fold(name, value, &mut out);
        }
        let simple = self.text.bytes().all(|b| matches!(b, b' '..=126 | b'\t' | b'\r' | b'\n'))
            && self.text.lines().all(|l| l.len() <= LINE);
        let encoding = if simple { "7bit" } else { "quoted-printable" };
        out.push_str(
            "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: ",
        );
        out.push_str(encoding);
        out.push_str("\r\n\r\n");
        for line in self.text.lines() {
            if simple {
                out.push_str(line);
            } else {
                quoted_printable(line, &mut out);
            }
            out.push_str("\r\n");
        }
        out.into_bytes()
    }
}

/// A display name: atoms as they are, other ASCII quoted, all else encoded.
fn phrase(name: &str) -> String {
    if !name.bytes().all(|b| (b' '..127).contains(&b)) || name.contains("=?") {
        let clean: String = name.chars().filter(|c| !c.is_control()).collect();
        return rfc2047::encode(&clean);
    }
    if name.bytes().all(|b| b.is_ascii_alphanumeric() || b" !#$%&'*+-/=?^_`{|}~".contains(&b)) {
        return name.to_string();
    }
    let mut out = String::from("\"");
    for c in name.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// Breaks at spaces, so that lines stay short where that is possible.
fn fold(name: &str, value: &str, out: &mut String) {
    out.push_str(name);
    out.push(':');
    let mut length = name.len() + 1;
    for word in value.split(' ') {
        if length + 1 + word.len() > LINE && length > name.len() + 1 && !word.is_empty() {
            out.push_str("\r\n");
            length = 0;
        }
        out.push(' ');
        out.push_str(word);
        length += 1 + word.len();
    }
    out.push_str("\r\n");
}

fn quoted_printable(line: &str, out: &mut String) {
    let mut length = 0;
    let bytes = line.as_bytes();
    for (i, &b) in bytes.iter().enumerate() {
        let last = i + 1 == bytes.len();
        let plain = match b {
            b'=' => false,
            b' ' | b'\t' => !last,
            // A dot alone, and "From " at the start of a line, are left to no one's mercy.
            b'.' => i > 0,
            b'F' => i > 0,
            b => (33..127).contains(&b),
        };
        let width = if plain { 1 } else { 3 };
        if length + width > 75 {
            out.push_str("=\r\n");
            length = 0;
        }
        if plain {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("={b:02X}"));
        }
        length += width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, scan};
    use proptest::prelude::*;

    #[test]
    fn a_simple_message() {
        let message = Compose::new()
            .address("From", "Ada Lovelace", "ada@contoso.test")
            .address("To", "Grün, Jörg", "joerg@fabrikam.test")
            .address("To", "O. \"Q\"", "q@fabrikam.test")
            .subject("Grüße")
            .date(Timestamp(1_772_525_720_114))
            .message_id("<1@contoso.test>")
            .text("Hello,\n\nworld.")
            .build();
        let want = "From: Ada Lovelace <ada@contoso.test>\r\n\
            To: =?utf-8?Q?Gr=C3=BCn=2C_J=C3=B6rg?= <joerg@fabrikam.test>, \"O. \\\"Q\\\"\"\r\n \
            <q@fabrikam.test>\r\n\
            Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n\
            Date: Tue, 3 Mar 2026 08:15:20 +0000\r\n\
            Message-ID: <1@contoso.test>\r\n\
            MIME-Version: 1.0\r\n\
            Content-Type: text/plain; charset=utf-8\r\n\
            Content-Transfer-Encoding: 7bit\r\n\r\n\
            Hello,\r\n\r\nworld.\r\n";
        assert_eq!(String::from_utf8(message).unwrap(), want);
    }

    #[test]
    fn nothing_can_be_smuggled_in() {
        let message = Compose::new()
            .address("From", "a\r\nBcc: x", "a@b\r\nBcc: y")
            .field("X-Y\r\n", "1\r\nBcc: z")
            .subject("s\nBcc: q")
            .build();
        let text = String::from_utf8(message).unwrap();
        assert!(!text.contains("\nBcc"), "{text}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn reads_back(subject in "[ -~é€]{0,120}", text in "[ -~é\n.=]{0,300}", name in "[ -~é]{0,60}") {
            let message = Compose::new().subject(&subject).address("From", &name, "a@b").text(&text).build();
            prop_assert!(message.is_ascii());
            prop_assert!(message.split(|b| *b == b'\n').all(|l| l.len() < 200));
            let summary = scan(&message, Limits::stored());
            let words = |s: &str| s.split_whitespace().collect::<Vec<_>>().join(" ");
            prop_assert_eq!(words(&summary.subject), words(&subject));
            let body = crate::decode::whole(summary.parts[0].encoding, &message[summary.parts[0].body.start as usize..]);
            let lines: String = text.lines().map(|l| format!("{l}\r\n")).collect();
            prop_assert_eq!(String::from_utf8(body).unwrap(), lines);
        }
    }
}
