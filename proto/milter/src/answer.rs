//! What a filter's answers mean.

use crate::limits;
use crate::packet::Fields;
use crate::types::{Change, Error, Reply, Verdict};

/// A change, or a verdict, by its command and data. `None`: it is neither.
pub(crate) fn verdict(command: u8, data: &[u8]) -> Option<Result<Verdict, Error>> {
    Some(Ok(match command {
        b'c' => Verdict::Continue,
        b'a' => Verdict::Accept,
        b'r' => Verdict::Reject,
        b't' => Verdict::TempFail,
        b'd' => Verdict::Discard,
        b's' => Verdict::Skip,
        b'f' => Verdict::Unable,
        b'4' => Verdict::Shutdown,
        b'y' => return Some(reply(data).map(Verdict::Reply).ok_or(Error::Malformed('y'))),
        _ => return None,
    }))
}

pub(crate) fn change(command: u8, data: &[u8], leading_space: bool) -> Option<Result<Change, Error>> {
    let mut fields = Fields::new(data);
    let made = match command {
        b'h' => field(&mut fields, leading_space).map(|(name, value)| Change::AddHeader { name, value }),
        b'i' => fields.number().and_then(|index| {
            let (name, value) = field(&mut fields, leading_space)?;
            Some(Change::InsertHeader { index, name, value })
        }),
        b'm' => fields.number().and_then(|index| {
            let (name, value) = field(&mut fields, leading_space)?;
            let gone = value.trim_ascii().is_empty();
            Some(Change::ChangeHeader { index: index.max(1), name, value: (!gone).then_some(value) })
        }),
        b'+' => address(&mut fields).map(|address| Change::AddRecipient { address, parameters: None }),
        b'2' => address(&mut fields).map(|address| {
            let parameters = address_parameters(&mut fields);
            Change::AddRecipient { address, parameters }
        }),
        b'-' => address(&mut fields).map(|address| Change::RemoveRecipient { address }),
        b'e' => address(&mut fields).map(|address| {
            let parameters = address_parameters(&mut fields);
            Change::ChangeFrom { address, parameters }
        }),
        b'b' => Some(Change::ReplaceBody(data.to_vec())),
        b'q' => fields.string().map(|reason| Change::Quarantine { reason: shown(reason) }),
        _ => return None,
    };
    Some(made.ok_or(Error::Malformed(char::from(command))))
}

/// Name and value of a header field, such that neither can break out of its place.
fn field(fields: &mut Fields<'_>, leading_space: bool) -> Option<(String, Vec<u8>)> {
    let name = fields.string()?;
    let value = fields.string()?;
    let good = !name.is_empty() && name.iter().all(|b| b.is_ascii_graphic() && *b != b':');
    let name = good.then(|| String::from_utf8(name.to_vec()).ok())??;
    let mut clean = Vec::with_capacity(value.len() + 1);
    if !leading_space && !value.is_empty() {
        clean.push(b' ');
    }
    for line in value.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let blank = line.trim_ascii().is_empty();
        let first = clean.len() <= usize::from(!leading_space);
        if blank && !first {
            // A line of nothing would end the header for some readers.
            continue;
        }
        if !first {
            clean.extend_from_slice(b"\r\n");
            if !matches!(line.first(), Some(b' ' | b'\t')) {
                clean.push(b'\t');
            }
        }
        clean.extend(line.iter().map(|b| if *b == b'\r' { b' ' } else { *b }));
    }
    Some((name, clean))
}

fn address(fields: &mut Fields<'_>) -> Option<String> {
    let text = std::str::from_utf8(fields.string()?).ok()?;
    (!text.chars().any(char::is_control)).then(|| text.to_owned())
}

/// ESMTP parameters, which are there or not.
fn address_parameters(fields: &mut Fields<'_>) -> Option<String> {
    if fields.is_empty() {
        return None;
    }
    address(fields).filter(|text| !text.is_empty())
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// `550 5.7.1 text`, with `%%` for a per cent sign; several lines as in SMTP.
fn reply(data: &[u8]) -> Option<Reply> {
    let text = Fields::new(data).string()?;
    let mut reply: Option<Reply> = None;
    for line in text.split(|b| *b == b'\n').take(limits::REPLY_LINES) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() && reply.is_some() {
            continue;
        }
        let (digits, rest) = line.split_at_checked(3)?;
        let code =
            digits.iter().try_fold(0u16, |n, d| d.is_ascii_digit().then(|| n * 10 + u16::from(*d - b'0')))?;
        let rest = match rest.split_first() {
            None => rest,
            Some((b' ' | b'-', rest)) => rest,
            Some(_) => return None,
        };
        let rest = shown(rest).replace("%%", "%");
        let (status, rest) = enhanced(code, &rest);
        match &mut reply {
            None if (400..600).contains(&code) => reply = Some(Reply { code, status, text: rest.to_owned() }),
            None => return None,
            Some(reply) => {
                reply.text.push('\n');
                reply.text.push_str(rest);
            }
        }
    }
    reply
}

fn enhanced(code: u16, text: &str) -> (Option<(u8, u16, u16)>, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut parts = word.split('.');
    let mut number = || parts.next().filter(|part| part.len() <= 3).and_then(|part| part.parse::<u16>().ok());
    let (Some(class), Some(subject), Some(detail)) = (number(), number(), number()) else {
        return (None, text);
    };
    match u8::try_from(class) {
        Ok(small) if parts.next().is_none() && class == code / 100 => {
            (Some((small, subject, detail)), rest.trim_start())
        }
        _ => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Option<Reply> {
        reply(format!("{text}\0").as_bytes())
    }

    #[test]
    fn replies() {
        let one = |code, status, text: &str| Some(Reply { code, status, text: text.to_owned() });
        assert_eq!(said("550 5.7.1 100%% spam"), one(550, Some((5, 7, 1)), "100% spam"));
        assert_eq!(said("451 later"), one(451, None, "later"));
        assert_eq!(said("451 5.7.1 later"), one(451, None, "5.7.1 later"));
        assert_eq!(said("554-5.7.1 a\r\n554 5.7.1 b"), one(554, Some((5, 7, 1)), "a\nb"));
        assert_eq!(said("421"), one(421, None, ""));
        assert_eq!(said("550 5.7.1"), one(550, Some((5, 7, 1)), ""));
        assert_eq!(said("550 a\rb"), one(550, None, "a?b"));
        for bad in ["", "25", "250 fine", "abc", "5500 x", "354 go", "650 x"] {
            assert_eq!(said(bad), None, "{bad}");
        }
        assert_eq!(reply(b"550 x"), None, "the NUL is missing");
    }

    #[test]
    fn header_fields() {
        let read = |wire: &str, leading| field(&mut Fields::new(wire.as_bytes()), leading);
        let made = |name: &str, value: &str| Some((name.to_owned(), value.as_bytes().to_vec()));
        assert_eq!(read("X-A\0b\0", false), made("X-A", " b"));
        assert_eq!(read("X-A\0 b\0", true), made("X-A", " b"));
        assert_eq!(read("X-A\0a\n b\n\tc\0", false), made("X-A", " a\r\n b\r\n\tc"));
        assert_eq!(read("X-A\0a\r\nEvil: b\n\nbody\0", false), made("X-A", " a\r\n\tEvil: b\r\n\tbody"));
        assert_eq!(read("X-A\0\n\n\0", true), made("X-A", ""));
        assert_eq!(read("X-A\0\0", false), made("X-A", ""));
        assert_eq!(read("\0b\0", false), None);
        assert_eq!(read("X A\0b\0", false), None);
        assert_eq!(read("X:A\0b\0", false), None);
        assert_eq!(read("X-A\0b", false), None);
    }
}
