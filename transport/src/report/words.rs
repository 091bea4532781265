//! Text for people, said once and written twice: as plain text and as simple HTML.
//!
//! Whatever a peer said is shown as a quotation, without control characters, and escaped in HTML. The HTML has headings,
//! paragraphs, lists and quotations only, so that a screen reader and a text browser read it like anybody else.

use crate::limits::REPORT_ANSWER;
use std::fmt::Write;
use waypost_base::Timestamp;
use waypost_base::time::{MONTHS, WEEKDAYS};

/// A piece of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// What all of it is about, in a sentence.
    Title(String),
    /// A part of its own, such as one recipient.
    Heading(String),
    Text(String),
    /// Who answered, and their words.
    Says {
        who: String,
        words: String,
    },
    /// Names and values.
    Facts(Vec<(&'static str, String)>),
    List(Vec<String>),
}

pub(crate) fn text(text: impl Into<String>) -> Block {
    Block::Text(text.into())
}

/// Columns of plain text.
const WIDTH: usize = 76;

/// As plain text, with CRLF.
pub(crate) fn plain(blocks: &[Block]) -> String {
    let mut out = String::new();
    let mut indent = "";
    for block in blocks {
        match block {
            Block::Title(text) => wrap(&mut out, "", "", text),
            Block::Heading(text) => {
                wrap(&mut out, "", "", text);
                indent = "  ";
                continue;
            }
            Block::Text(text) => wrap(&mut out, indent, indent, text),
            Block::Says { who, words } => {
                wrap(&mut out, indent, indent, &format!("{who} answered:"));
                let quote = format!("{indent}> ");
                for line in lines(words) {
                    wrap(&mut out, &quote, &quote, &line);
                }
            }
            Block::Facts(facts) => {
                for (name, value) in facts {
                    wrap(&mut out, indent, &format!("{indent}  "), &format!("{name}: {}", one_line(value)));
                }
            }
            Block::List(items) => {
                for item in items {
                    wrap(&mut out, &format!("{indent}- "), &format!("{indent}  "), item);
                }
            }
        }
        out.push_str("\r\n");
    }
    out
}

/// As a page of HTML.
pub(crate) fn html(title: &str, blocks: &[Block]) -> String {
    let mut out = String::from(
        "<!DOCTYPE html>\r\n<html lang=\"en\">\r\n<head>\r\n<meta charset=\"utf-8\">\r\n<title>",
    );
    escape(&mut out, title);
    out.push_str("</title>\r\n</head>\r\n<body>\r\n");
    for block in blocks {
        match block {
            Block::Title(text) => element(&mut out, "h1", text),
            Block::Heading(text) => element(&mut out, "h2", text),
            Block::Text(text) => element(&mut out, "p", text),
            Block::Says { who, words } => {
                element(&mut out, "p", &format!("{who} answered:"));
                out.push_str("<blockquote>");
                for (number, line) in lines(words).iter().enumerate() {
                    if number > 0 {
                        out.push_str("<br>\r\n");
                    }
                    escape(&mut out, line);
                }
                out.push_str("</blockquote>\r\n");
            }
            Block::Facts(facts) => {
                out.push_str("<dl>\r\n");
                for (name, value) in facts {
                    out.push_str("<dt>");
                    escape(&mut out, name);
                    out.push_str("</dt><dd>");
                    escape(&mut out, &one_line(value));
                    out.push_str("</dd>\r\n");
                }
                out.push_str("</dl>\r\n");
            }
            Block::List(items) => {
                out.push_str("<ul>\r\n");
                items.iter().for_each(|item| element(&mut out, "li", item));
                out.push_str("</ul>\r\n");
            }
        }
    }
    out.push_str("</body>\r\n</html>\r\n");
    out
}

fn element(out: &mut String, name: &str, text: &str) {
    // Writing to a String cannot fail.
    let _ = write!(out, "<{name}>");
    escape(out, &one_line(text));
    let _ = write!(out, "</{name}>\r\n");
}

/// Text that HTML takes for nothing else, with breaks so that no line of the page is too long for mail.
fn escape(out: &mut String, text: &str) {
    let mut column = 0;
    for c in text.chars() {
        column += 1;
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            ' ' if column > WIDTH => {
                out.push_str("\r\n");
                column = 0;
            }
            c => out.push(c),
        }
    }
}

/// Words into lines of [`WIDTH`] columns; a word that is longer stays whole.
fn wrap(out: &mut String, first: &str, rest: &str, text: &str) {
    let text = one_line(text);
    out.push_str(first);
    let mut column = first.chars().count();
    let mut begin = true;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let length = word.chars().count();
        if !begin && column + 1 + length > WIDTH {
            out.push_str("\r\n");
            out.push_str(rest);
            column = rest.chars().count();
        } else if !begin {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
        begin = false;
    }
    out.push_str("\r\n");
}

/// The lines of a server's answer, as many as a person can be asked to read.
fn lines(words: &str) -> Vec<String> {
    cut(words).split('\n').map(one_line).filter(|line| !line.trim().is_empty()).collect()
}

/// The first [`REPORT_ANSWER`] octets of what a peer said.
pub(crate) fn cut(text: &str) -> &str {
    if text.len() <= REPORT_ANSWER {
        text
    } else {
        text.get(..text.floor_char_boundary(REPORT_ANSWER)).unwrap_or_default()
    }
}

/// Without control characters, nor those that turn the direction of text around or show as nothing.
pub(crate) fn one_line(text: &str) -> String {
    let plain = |c: char| {
        let odd = c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if odd { ' ' } else { c }
    };
    text.chars().map(plain).collect()
}

/// `Tuesday, 3 Mar 2026, 08:15 UTC`
pub(crate) fn when(at: Timestamp) -> String {
    let c = at.civil();
    let day = match WEEKDAYS.get(usize::from(c.weekday)).copied().unwrap_or_default() {
        "Tue" => "Tuesday",
        "Wed" => "Wednesday",
        "Thu" => "Thursday",
        "Fri" => "Friday",
        "Sat" => "Saturday",
        "Sun" => "Sunday",
        _ => "Monday",
    };
    let month = MONTHS.get(usize::from(c.month).saturating_sub(1)).copied().unwrap_or_default();
    format!("{day}, {} {month} {}, {:02}:{:02} UTC", c.day, c.year, c.hour, c.minute)
}

/// A span of time in its two largest units: `2 days 4 hours`.
pub(crate) fn span(millis: i64) -> String {
    let minutes = millis.max(0) / 60_000;
    if minutes == 0 {
        return counted(millis.max(0) / 1000, "second");
    }
    let parts = [(minutes / 1440, "day"), (minutes / 60 % 24, "hour"), (minutes % 60, "minute")];
    let shown: Vec<String> = parts
        .iter()
        .skip_while(|(n, _)| *n == 0)
        .take(2)
        .filter(|(n, _)| *n > 0)
        .map(|(n, unit)| counted(*n, unit))
        .collect();
    shown.join(" ")
}

/// `1 day`, `2 days`
pub(crate) fn counted(n: i64, unit: &str) -> String {
    if n == 1 { format!("1 {unit}") } else { format!("{n} {unit}s") }
}

/// A text part with its header: as it is where it is ASCII with short lines, else quoted-printable.
pub(crate) fn part(out: &mut Vec<u8>, kind: &str, body: &[u8]) {
    let plain =
        body.is_ascii() && body.split(|b| *b == b'\n').all(|line| line.len() <= 998) && !body.contains(&0);
    let encoding = if plain { "7bit" } else { "quoted-printable" };
    out.extend_from_slice(
        format!("Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n").as_bytes(),
    );
    if plain { out.extend_from_slice(body) } else { quoted_printable(out, body) }
}

/// RFC 2045 §6.7, with CRLF kept as line ends.
fn quoted_printable(out: &mut Vec<u8>, body: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut column = 0;
    let mut bytes = body.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte == b'\r' && bytes.peek() == Some(&b'\n') {
            bytes.next();
            out.extend_from_slice(b"\r\n");
            column = 0;
            continue;
        }
        let last = matches!(bytes.peek(), None | Some(b'\r' | b'\n'));
        let literal = matches!(byte, 33..=60 | 62..=126) || (matches!(byte, b' ' | b'\t') && !last);
        let width = if literal { 1 } else { 3 };
        if column + width > 75 {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        if literal {
            out.push(byte);
        } else {
            let digit = |n: u8| HEX.get(usize::from(n)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[b'=', digit(byte >> 4), digit(byte & 15)]);
        }
        column += width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_times_are_said_as_people_say_them() {
        assert_eq!(span(0), "0 seconds");
        assert_eq!(span(1_000), "1 second");
        assert_eq!(span(61_000), "1 minute");
        assert_eq!(span(3_600_000), "1 hour");
        assert_eq!(span(3_660_000), "1 hour 1 minute");
        assert_eq!(span(2 * 86_400_000 + 3 * 60_000), "2 days");
        assert_eq!(span(-5), "0 seconds");
        assert_eq!(when(Timestamp(1_772_525_720_114)), "Tuesday, 3 Mar 2026, 08:15 UTC");
    }

    #[test]
    fn what_a_peer_says_stays_a_quotation() {
        let blocks = [
            Block::Title("Not <delivered>".into()),
            Block::Heading("b@x.example".into()),
            Block::Says {
                who: "mx.x.example".into(),
                words: "550 <script>alert(1)</script>\r\n\u{1b}[31m\u{202e}txt & more".into(),
            },
            Block::List(vec!["one".into()]),
            Block::Facts(vec![("Code", "550\r\nBcc: x".into())]),
        ];
        assert_eq!(
            plain(&blocks),
            "Not <delivered>\r\n\r\nb@x.example\r\n  mx.x.example answered:\r\n  > 550 <script>alert(1)</script>\r\n  \
             > [31m txt & more\r\n\r\n  - one\r\n\r\n  Code: 550 Bcc: x\r\n\r\n"
        );
        let page = html("T", &blocks);
        assert!(page.contains("<h1>Not &lt;delivered&gt;</h1>"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
        assert!(
            !page.contains("<script") && !page.contains('\u{202e}') && !page.contains('\u{1b}'),
            "{page}"
        );
        assert!(page.contains("<dt>Code</dt><dd>550  Bcc: x</dd>"), "{page}");
    }

    #[test]
    fn long_texts_are_wrapped_and_others_encoded() {
        let long = plain(&[text("word ".repeat(100))]);
        assert!(long.lines().all(|line| line.len() <= WIDTH), "{long}");
        let mut out = Vec::new();
        part(&mut out, "text/plain; charset=utf-8", "Grüße = \r\nx".as_bytes());
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe =3D=20\r\nx"), "{text}");
        let mut out = Vec::new();
        quoted_printable(&mut out, "é".repeat(100).as_bytes());
        assert!(String::from_utf8(out).unwrap().lines().all(|line| line.len() <= 76));
        let mut out = Vec::new();
        part(&mut out, "text/plain", b"plain\r\n");
        assert!(out.ends_with(b"7bit\r\n\r\nplain\r\n"));
    }

    #[test]
    fn an_answer_is_cut_at_a_character() {
        let long = "é".repeat(5_000);
        assert!(cut(&long).len() <= REPORT_ANSWER);
    }
}
