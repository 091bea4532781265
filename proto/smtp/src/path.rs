//! Paths of MAIL and RCPT (RFC 5321 §4.1.2, RFC 6531 §3.3): `<>`, `<user@domain>`, `<"odd user"@[192.0.2.1]>`.

use crate::limits;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// An address. Quoting is undone: `"a b"@example.org` has the local part `a b`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mailbox {
    pub local: String,
    /// As it was given; an address literal keeps its brackets. Empty only for the bare `<Postmaster>` of RCPT.
    pub domain: String,
}

impl Mailbox {
    pub fn new(local: impl Into<String>, domain: impl Into<String>) -> Mailbox {
        Mailbox { local: local.into(), domain: domain.into() }
    }

    /// Needs SMTPUTF8.
    pub fn is_international(&self) -> bool {
        !self.local.is_ascii() || !self.domain.is_ascii()
    }

    /// Reads `local@domain` without brackets.
    pub fn parse(text: &str) -> Option<Mailbox> {
        let (mailbox, rest) = mailbox(text)?;
        rest.is_empty().then_some(mailbox)
    }
}

/// As it goes over the wire, quoted where it must be.
impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_string(&self.local) {
            f.write_str(&self.local)?;
        } else {
            f.write_str("\"")?;
            for c in self.local.chars() {
                if c == '"' || c == '\\' {
                    f.write_str("\\")?;
                }
                write!(f, "{c}")?;
            }
            f.write_str("\"")?;
        }
        if self.domain.is_empty() { Ok(()) } else { write!(f, "@{}", self.domain) }
    }
}

/// What stood between the brackets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Path {
    Null,
    Mailbox(Mailbox),
    Postmaster,
}

/// Reads a path at the beginning of `text`; answers it and what follows.
pub(crate) fn path(text: &str) -> Option<(Path, &str)> {
    let inner = text.strip_prefix('<')?;
    if let Some(rest) = inner.strip_prefix('>') {
        return Some((Path::Null, rest));
    }
    let address = skip_source_route(inner)?;
    if let Some((word, rest)) = address.split_once('>')
        && word.eq_ignore_ascii_case("postmaster")
    {
        return Some((Path::Postmaster, rest));
    }
    let (mailbox, rest) = mailbox(address)?;
    let rest = rest.strip_prefix('>')?;
    (text.len() - rest.len() <= limits::PATH || address.len() < inner.len())
        .then_some((Path::Mailbox(mailbox), rest))
}

/// `@one,@two:` before the mailbox is accepted and thrown away (RFC 5321 §4.1.2, appendix C).
fn skip_source_route(text: &str) -> Option<&str> {
    if !text.starts_with('@') {
        return Some(text);
    }
    let (route, rest) = text.split_once(':')?;
    route
        .split(',')
        .all(|hop| hop.strip_prefix('@').is_some_and(|d| domain(d).is_some_and(|r| r.is_empty())))
        .then_some(rest)
}

fn mailbox(text: &str) -> Option<(Mailbox, &str)> {
    let (local, rest) = local_part(text)?;
    let rest = rest.strip_prefix('@')?;
    let after = domain(rest)?;
    let domain = rest.get(..rest.len() - after.len())?;
    if local.len() > limits::LOCAL_PART || domain.len() > limits::DOMAIN {
        return None;
    }
    Some((Mailbox { local, domain: domain.to_owned() }, after))
}

fn local_part(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| !(is_atext(c) || c == '.')).unwrap_or(text.len());
        let (local, rest) = text.split_at(end);
        return is_dot_string(local).then(|| (local.to_owned(), rest));
    };
    let mut local = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((local, quoted.get(at + 1..)?)),
            '\\' => local.push(chars.next().map(|(_, c)| c).filter(|c| (' '..='~').contains(c))?),
            c if c == ' ' || !c.is_ascii() || c.is_ascii_graphic() => local.push(c),
            _ => return None,
        }
    }
    None
}

fn is_dot_string(text: &str) -> bool {
    !text.is_empty() && text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// RFC 5322 §3.2.3 with RFC 6532 §3.2.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || "!#$%&'*+-/=?^_`{|}~".contains(c)
        || (!c.is_ascii() && !c.is_control() && !c.is_whitespace())
}

/// Answers what follows the domain or address literal. Underscores are let through: such names exist.
fn domain(text: &str) -> Option<&str> {
    if text.starts_with('[') {
        let end = text.find(']')?;
        return literal(text.get(1..end)?).then(|| text.get(end + 1..)).flatten();
    }
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c) || (!c.is_ascii() && is_atext(c))))
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let whole = !name.is_empty()
        && name
            .split('.')
            .all(|l| !l.is_empty() && l.len() <= 255 && !l.starts_with('-') && !l.ends_with('-'));
    whole.then_some(rest)
}

/// What stands between `[` and `]` (RFC 5321 §4.1.3).
fn literal(text: &str) -> bool {
    if let Some((tag, address)) = text.split_once(':')
        && tag.eq_ignore_ascii_case("IPv6")
    {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    text.parse::<Ipv4Addr>().is_ok()
}

/// The argument of HELO and EHLO: a domain or an address literal; and, since so many send them, any word of visible
/// ASCII (RFC 5321 §4.1.4 forbids refusing mail over a name that does not match).
pub(crate) fn is_helo_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= limits::DOMAIN
        && text.chars().all(|c| c.is_ascii_graphic() || !c.is_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Option<Mailbox> {
        match path(text)? {
            (Path::Mailbox(mailbox), "") => Some(mailbox),
            _ => None,
        }
    }

    #[test]
    fn accepts() {
        for (wire, local, domain, again) in [
            ("<a@b.example>", "a", "b.example", "a@b.example"),
            ("<a.b+c@b>", "a.b+c", "b", "a.b+c@b"),
            ("<\"a b\"@b>", "a b", "b", "\"a b\"@b"),
            ("<\"a\\\"\\\\\"@b>", "a\"\\", "b", "\"a\\\"\\\\\"@b"),
            ("<\"a>b@c\"@d>", "a>b@c", "d", "\"a>b@c\"@d"),
            ("<\"plain\"@d>", "plain", "d", "plain@d"),
            ("<a@[192.0.2.1]>", "a", "[192.0.2.1]", "a@[192.0.2.1]"),
            ("<a@[IPv6:2001:db8::1]>", "a", "[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]"),
            ("<@x.example,@y.example:a@b>", "a", "b", "a@b"),
            ("<håkon@blåbær.example>", "håkon", "blåbær.example", "håkon@blåbær.example"),
        ] {
            let mailbox = whole(wire).unwrap_or_else(|| panic!("{wire}"));
            assert_eq!((mailbox.local.as_str(), mailbox.domain.as_str()), (local, domain));
            assert_eq!(mailbox.to_string(), again);
        }
        assert_eq!(path("<>x"), Some((Path::Null, "x")));
        assert_eq!(path("<PostMaster>"), Some((Path::Postmaster, "")));
        let longest = format!("<{}@b>", "a".repeat(64));
        assert!(whole(&longest).is_some());
    }

    #[test]
    fn refuses() {
        for wire in [
            "a@b",
            "<a@b",
            "<a>",
            "<@b>",
            "<a@>",
            "<a..b@c>",
            "<.a@c>",
            "<a.@c>",
            "<a@b..c>",
            "<a@-b>",
            "<a@b->",
            "<a b@c>",
            "<\"a@c>",
            "<\"a\x01\"@c>",
            "<a@[1.2.3]>",
            "<a@[IPv6:zz]>",
            "<a@[1.2.3.4>",
            "<@x a@b>",
            "<a@b c>",
            "<a@b\">",
            "",
            "<",
            "<@:a@b>",
            "<<a@b>>",
        ] {
            assert_eq!(whole(wire), None, "{wire}");
        }
        assert!(whole(&format!("<{}@b>", "a".repeat(65))).is_none());
        assert!(whole(&format!("<a@{}.example>", "b.".repeat(130))).is_none());
    }
}
