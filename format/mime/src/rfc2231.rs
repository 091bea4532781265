//! Parameter continuations, character sets and languages (RFC 2231).

use crate::charset;
use crate::decode::hex;

type Param = (Vec<u8>, Vec<u8>);

/// Joins `name*0`, `name*1`… into one parameter. It is called `name*`, with its value in the form `charset'language'text%20`,
/// when any piece was of that form; else `name`. Others stay as they are.
pub fn join(params: Vec<Param>) -> Vec<Param> {
    if !params.iter().any(|(n, _)| section(n).is_some()) {
        return params;
    }
    let mut out: Vec<Param> = Vec::with_capacity(params.len());
    let mut done: Vec<Vec<u8>> = Vec::new();
    for (name, value) in &params {
        let Some((base, _, _)) = section(name) else {
            out.push((name.clone(), value.clone()));
            continue;
        };
        let base = base.to_ascii_lowercase();
        if !done.contains(&base) {
            out.push(gather(&base, name, &params));
            done.push(base);
        }
    }
    out
}

fn gather(base: &[u8], first: &[u8], params: &[Param]) -> Param {
    let mut pieces: Vec<(u32, bool, &[u8])> = params
        .iter()
        .filter_map(|(n, v)| section(n).map(|(b, i, x)| (b, i, x, v.as_slice())))
        .filter(|(b, ..)| b.eq_ignore_ascii_case(base))
        .map(|(_, i, x, v)| (i, x, v))
        .collect();
    // Some mailers number them out of order; the sort is stable, so that a number twice keeps its order.
    pieces.sort_by_key(|p| p.0);
    let extended = pieces.iter().any(|p| p.1);
    let mut value = Vec::new();
    for (i, (_, x, v)) in pieces.iter().enumerate() {
        if extended && !x {
            if i == 0 {
                value.extend_from_slice(b"''");
            }
            v.iter().for_each(|b| percent(*b, &mut value));
        } else {
            value.extend_from_slice(v);
        }
    }
    let mut name = first.get(..base.len()).unwrap_or(base).to_vec();
    if extended {
        name.push(b'*');
    }
    (name, value)
}

fn percent(b: u8, out: &mut Vec<u8>) {
    if b.is_ascii_alphanumeric() || b"-._".contains(&b) {
        out.push(b);
    } else {
        out.extend_from_slice(format!("%{b:02X}").as_bytes());
    }
}

/// `name*3*` into name, number and whether it is extended; None for `name` and `name*`.
fn section(name: &[u8]) -> Option<(&[u8], u32, bool)> {
    let star = memchr::memchr(b'*', name)?;
    let rest = &name[star + 1..];
    let (digits, extended) = match rest.strip_suffix(b"*") {
        Some(d) => (d, true),
        None => (rest, false),
    };
    if digits.is_empty() || digits.len() > 4 || !digits.iter().all(u8::is_ascii_digit) || star == 0 {
        return None;
    }
    let number = digits.iter().fold(0, |n, d| n * 10 + u32::from(d - b'0'));
    Some((&name[..star], number, extended))
}

/// `charset'language'text%20` as text.
pub fn decode(value: &[u8]) -> String {
    let mut parts = value.splitn(3, |b| *b == b'\'');
    let (label, text) = match (parts.next(), parts.next(), parts.next()) {
        (Some(label), Some(_), Some(text)) => (label, text),
        _ => (&b""[..], value),
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&b, tail)) = rest.split_first() {
        rest = tail;
        match (b, tail) {
            (b'%', [x, y, more @ ..]) if hex(*x).is_some() && hex(*y).is_some() => {
                bytes.push(hex(*x).unwrap_or(0) << 4 | hex(*y).unwrap_or(0));
                rest = more;
            }
            _ => bytes.push(b),
        }
    }
    charset::decode(std::str::from_utf8(label).unwrap_or_default(), &bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::param::parse;

    #[test]
    fn examples_of_rfc_2231() {
        let p = parse(b"message/external-body; access-type=URL; URL*0=\"ftp://\"; URL*1=\"cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar\"");
        assert_eq!(p.get("url"), Some(&b"ftp://cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar"[..]));
        let p = parse(b"application/x-stuff; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A");
        assert_eq!(p.text("title").as_deref(), Some("This is ***fun***"));
        let p = parse(
            b"application/x-stuff; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2=\"isn't it!\"",
        );
        assert_eq!(p.text("title").as_deref(), Some("This is even more ***fun*** isn't it!"));
        assert_eq!(p.params.len(), 1);
        assert_eq!(p.params[0].0, b"title*");
    }

    #[test]
    fn nasty_ones() {
        let p = parse(b"x; a*1=two; A*0=one; a*x=three; *0=four; b*=x");
        let names: Vec<_> = p.params.iter().map(|(n, _)| String::from_utf8_lossy(n).into_owned()).collect();
        assert_eq!(names, ["a", "a*x", "*0", "b*"]);
        assert_eq!(p.get("a"), Some(&b"onetwo"[..]));
        assert_eq!(decode(b"'"), "'");
        assert_eq!(decode(b"utf-8''%zz%4"), "%zz%4");
        assert_eq!(decode(b"utf-8''%C3%A9"), "é");
    }
}
