//! A saved message whose text is encoded for transport: its parts, decoded. Messages whose text stands as it is are read as any
//! other text, so that lines keep their numbers.

/// Parts within parts.
const DEPTH_MAX: usize = 5;
const PARTS_MAX: usize = 64;
/// Lines of headers that are looked at.
const HEADERS_MAX: usize = 500;

/// Headers by which a message is known; two of them.
const KNOWN: &[&str] = &[
    "received:",
    "from:",
    "to:",
    "subject:",
    "date:",
    "mime-version:",
    "message-id:",
    "content-type:",
    "return-path:",
];

/// Whether this is the beginning of a message that has encoded parts.
pub fn is_encoded(start: &str) -> bool {
    let mut lines = start.lines().take(HEADERS_MAX);
    let first = lines.next().unwrap_or_default();
    let named = first.split_once(':').is_some_and(|(name, _)| !name.is_empty() && !name.contains(' '));
    if !named {
        return false;
    }
    let headers = start.lines().take(HEADERS_MAX).take_while(|line| !line.trim().is_empty());
    let known = headers.filter(|line| {
        KNOWN.iter().any(|name| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))
    });
    let lower = start.to_ascii_lowercase();
    known.count() >= 2
        && ["quoted-printable", "base64"]
            .iter()
            .any(|e| lower.lines().any(|l| l.starts_with("content-transfer-encoding:") && l.contains(e)))
}

/// A decoded part.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// Of an attachment.
    pub name: Option<String>,
    pub bytes: Vec<u8>,
}

/// The parts of a message that may be evidence.
pub fn parts(message: &str) -> Vec<Part> {
    let mut out = Vec::new();
    part(message, 0, &mut out);
    out
}

fn part(text: &str, depth: usize, out: &mut Vec<Part>) {
    if depth > DEPTH_MAX || out.len() >= PARTS_MAX {
        return;
    }
    let (head, body) = cut_head(text);
    let kind = header(&head, "content-type").unwrap_or_default();
    let lower = kind.to_ascii_lowercase();
    if lower.starts_with("multipart/")
        && let Some(boundary) = parameter(&kind, "boundary")
    {
        let mut inner = Vec::new();
        for piece in between(body, &boundary) {
            part(piece, depth + 1, &mut inner);
        }
        out.extend(inner);
        return;
    }
    if lower.starts_with("message/rfc822") {
        return part(body, depth + 1, out);
    }
    let encoding = header(&head, "content-transfer-encoding").unwrap_or_default().to_ascii_lowercase();
    let name = parameter(&kind, "name")
        .or_else(|| header(&head, "content-disposition").and_then(|d| parameter(&d, "filename")));
    let text_like = lower.is_empty() || lower.starts_with("text/") || lower.starts_with("message/");
    if !text_like && name.is_none() || lower.starts_with("image/") {
        return;
    }
    let bytes = match encoding.trim() {
        "quoted-printable" => quoted_printable(body),
        "base64" => base64(body),
        _ => body.as_bytes().to_vec(),
    };
    out.push(Part { name, bytes });
}

/// Headers with their folded lines joined, and the body.
fn cut_head(text: &str) -> (Vec<String>, &str) {
    let mut head: Vec<String> = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n').take(HEADERS_MAX) {
        at += line.len();
        let bare = line.trim_end();
        if bare.is_empty() {
            break;
        }
        match head.last_mut() {
            Some(last) if bare.starts_with([' ', '\t']) => last.push_str(bare),
            _ => head.push(bare.to_owned()),
        }
    }
    (head, text.get(at..).unwrap_or_default())
}

fn header(head: &[String], name: &str) -> Option<String> {
    head.iter().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

fn parameter(value: &str, name: &str) -> Option<String> {
    value.split(';').skip(1).find_map(|part| {
        let (found, value) = part.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (found.trim().eq_ignore_ascii_case(name) && !value.is_empty()).then(|| value.to_owned())
    })
}

/// What stands between the lines of a boundary.
fn between<'a>(body: &'a str, boundary: &str) -> Vec<&'a str> {
    let mark = format!("--{boundary}");
    let (mut out, mut start, mut at) = (Vec::new(), None, 0);
    for line in body.split_inclusive('\n') {
        let here = at;
        at += line.len();
        if line.starts_with(&mark) {
            if let Some(start) = start {
                out.extend(body.get(start..here));
            }
            start = Some(at);
            if line.trim_end() == format!("{mark}--") {
                return out;
            }
        }
    }
    out.extend(start.and_then(|start| body.get(start..)));
    out
}

fn quoted_printable(body: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    for line in body.lines() {
        let (line, soft) = line.trim_end().strip_suffix('=').map_or((line, false), |line| (line, true));
        let mut rest = line.as_bytes();
        while let Some((byte, after)) = rest.split_first() {
            let code =
                (*byte == b'=').then(|| after.get(..2).and_then(|h| std::str::from_utf8(h).ok())).flatten();
            match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                Some(value) => {
                    out.push(value);
                    rest = after.get(2..).unwrap_or_default();
                }
                None => {
                    out.push(*byte);
                    rest = after;
                }
            }
        }
        if !soft {
            out.push(b'\n');
        }
    }
    out
}

/// Base64 without regard to line ends; ends at the first thing that is none.
pub fn base64(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0u32);
    for byte in text.bytes().filter(|b| !b.is_ascii_whitespace()) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => break,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(((bits >> count) & 0xFF) as u8);
            bits &= (1 << count) - 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_decoded() {
        let mail = "From: a@example.net\r\nTo: b@example.net\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n boundary=\"b1\"\r\n\r\nignored\r\n--b1\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nit says NO LOGIN=\r\n failed =E2=80=94 why=3F\r\n--b1\r\nContent-Type: application/octet-stream; name=\"klist.txt\"\r\nContent-Transfer-Encoding: base64\r\n\r\naGVs\r\nbG8=\r\n--b1\r\nContent-Type: image/png; name=x.png\r\n\r\nxx\r\n--b1--\r\n";
        assert!(is_encoded(mail));
        let parts = parts(mail);
        assert_eq!(parts.len(), 2, "{parts:?}");
        assert_eq!(std::str::from_utf8(&parts[0].bytes).unwrap(), "it says NO LOGIN failed — why?\n");
        assert_eq!(
            (parts[1].name.as_deref(), parts[1].bytes.as_slice()),
            (Some("klist.txt"), b"hello".as_slice())
        );
        for other in ["", "Hello\nContent-Transfer-Encoding: base64", "From: a\nTo: b\n\nplain text"] {
            assert!(!is_encoded(other), "{other}");
        }
    }

    #[test]
    fn hostile_nesting_ends() {
        let mut mail = String::from("From: a\nTo: b\n");
        for _ in 0..200 {
            mail.push_str("Content-Type: multipart/mixed; boundary=x\n\n--x\n");
        }
        assert!(parts(&mail).len() <= PARTS_MAX);
        assert_eq!(base64("!!"), b"");
        assert_eq!(quoted_printable("=\n=Z=4"), b"=Z=4\n");
    }
}
