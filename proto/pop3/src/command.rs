//! The commands, read from a line.

use crate::limits::NUMBER_DIGITS_MAX;
use memchr::memchr;
use std::fmt;

/// What a client can say. Message numbers are as sent: from 1, not yet checked against the drop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    User(&'a str),
    /// The rest of the line, spaces and all (RFC 1939 §7).
    Pass(&'a str),
    /// `None` lists the mechanisms, as clients did before CAPA. Arguments: mechanism, initial response in base64.
    Auth(Option<(&'a [u8], Option<&'a [u8]>)>),
    Stls,
    Utf8,
    Capa,
    Stat,
    List(Option<u32>),
    Uidl(Option<u32>),
    Retr(u32),
    Top {
        message: u32,
        lines: u32,
    },
    Dele(u32),
    Rset,
    Noop,
    Quit,
}

/// A line that is no command of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    Unknown,
    /// How the command is to be written.
    Usage(&'static str),
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bad::Unknown => f.write_str("Unknown command"),
            Bad::Usage(usage) => write!(f, "Usage: {usage}"),
        }
    }
}

impl<'a> Command<'a> {
    /// ```text
    /// command = keyword *(SP argument)      ; keywords in any case, RFC 1939 §3
    /// ```
    pub fn parse(line: &'a [u8]) -> Result<Command<'a>, Bad> {
        let (keyword, rest) = match memchr(b' ', line) {
            Some(at) => line.split_at_checked(at).unwrap_or((line, b"")),
            None => (line, &b""[..]),
        };
        let mut upper = [0u8; 4];
        let Some(word) = upper.get_mut(..keyword.len()) else { return Err(Bad::Unknown) };
        word.copy_from_slice(keyword);
        word.make_ascii_uppercase();
        // PASS and USER keep inner spaces; the others have arguments between them.
        let text = rest.strip_prefix(b" ").unwrap_or_default();
        match &*word {
            b"USER" => name(text).map(Command::User),
            b"PASS" => password(text).map(Command::Pass),
            b"AUTH" => auth(rest),
            b"STLS" => none(rest, "STLS", Command::Stls),
            b"UTF8" => none(rest, "UTF8", Command::Utf8),
            b"CAPA" => none(rest, "CAPA", Command::Capa),
            b"STAT" => none(rest, "STAT", Command::Stat),
            b"RSET" => none(rest, "RSET", Command::Rset),
            b"NOOP" => none(rest, "NOOP", Command::Noop),
            b"QUIT" => none(rest, "QUIT", Command::Quit),
            b"LIST" => optional(rest, "LIST [msg]").map(Command::List),
            b"UIDL" => optional(rest, "UIDL [msg]").map(Command::Uidl),
            b"RETR" => one(rest, "RETR msg").map(Command::Retr),
            b"DELE" => one(rest, "DELE msg").map(Command::Dele),
            b"TOP" => top(rest),
            _ => Err(Bad::Unknown),
        }
    }

    pub const fn name(&self) -> &'static str {
        match self {
            Command::User(_) => "user",
            Command::Pass(_) => "pass",
            Command::Auth(_) => "auth",
            Command::Stls => "stls",
            Command::Utf8 => "utf8",
            Command::Capa => "capa",
            Command::Stat => "stat",
            Command::List(_) => "list",
            Command::Uidl(_) => "uidl",
            Command::Retr(_) => "retr",
            Command::Top { .. } => "top",
            Command::Dele(_) => "dele",
            Command::Rset => "rset",
            Command::Noop => "noop",
            Command::Quit => "quit",
        }
    }

    /// The arguments as a protocol log may show them: never a password.
    pub fn parameters(&self) -> String {
        match self {
            Command::User(name) => (*name).to_owned(),
            Command::Pass(_) => "*****".to_owned(),
            Command::Auth(Some((mechanism, initial))) => {
                let hidden = if initial.is_some() { " *****" } else { "" };
                format!("{}{hidden}", String::from_utf8_lossy(mechanism))
            }
            Command::List(Some(n)) | Command::Uidl(Some(n)) | Command::Retr(n) | Command::Dele(n) => {
                n.to_string()
            }
            Command::Top { message, lines } => format!("{message} {lines}"),
            _ => String::new(),
        }
    }
}

/// Shows no password, as the protocol log does not.
impl fmt::Debug for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), self.parameters())
    }
}

/// Arguments between spaces; more than one space is forgiven.
fn arguments(rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    rest.split(|b| *b == b' ').filter(|a| !a.is_empty())
}

fn none<'a>(rest: &[u8], usage: &'static str, command: Command<'a>) -> Result<Command<'a>, Bad> {
    if arguments(rest).next().is_some() { Err(Bad::Usage(usage)) } else { Ok(command) }
}

fn optional(rest: &[u8], usage: &'static str) -> Result<Option<u32>, Bad> {
    let mut arguments = arguments(rest);
    match (arguments.next(), arguments.next()) {
        (None, _) => Ok(None),
        (Some(n), None) => number(n).map(Some).ok_or(Bad::Usage(usage)),
        _ => Err(Bad::Usage(usage)),
    }
}

fn one(rest: &[u8], usage: &'static str) -> Result<u32, Bad> {
    optional(rest, usage)?.ok_or(Bad::Usage(usage))
}

/// `TOP msg n`, RFC 1939 §7.
fn top<'a>(rest: &[u8]) -> Result<Command<'a>, Bad> {
    let mut arguments = arguments(rest);
    let (Some(message), Some(lines), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err(Bad::Usage("TOP msg lines"));
    };
    match (number(message), number(lines)) {
        (Some(message), Some(lines)) => Ok(Command::Top { message, lines }),
        _ => Err(Bad::Usage("TOP msg lines")),
    }
}

/// `AUTH [mechanism [initial-response]]`, RFC 5034 §4.
fn auth(rest: &[u8]) -> Result<Command<'_>, Bad> {
    let mut arguments = arguments(rest);
    match (arguments.next(), arguments.next(), arguments.next()) {
        (None, ..) => Ok(Command::Auth(None)),
        (Some(mechanism), initial, None) => Ok(Command::Auth(Some((mechanism, initial)))),
        _ => Err(Bad::Usage("AUTH mechanism [initial-response]")),
    }
}

fn name(text: &[u8]) -> Result<&str, Bad> {
    let name = std::str::from_utf8(text.trim_ascii()).ok().filter(|n| clean(n) && !n.is_empty());
    name.ok_or(Bad::Usage("USER name"))
}

fn password(text: &[u8]) -> Result<&str, Bad> {
    std::str::from_utf8(text).ok().filter(|p| clean(p) && !p.is_empty()).ok_or(Bad::Usage("PASS string"))
}

fn clean(text: &str) -> bool {
    !text.contains('\0')
}

fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > NUMBER_DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0u64, |n, d| n * 10 + u64::from(d - b'0'));
    u32::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command<'_>, Bad> {
        Command::parse(line.as_bytes())
    }

    #[test]
    fn reads_every_command() {
        assert_eq!(parse("USER a@contoso.test"), Ok(Command::User("a@contoso.test")));
        assert_eq!(parse("user имя "), Ok(Command::User("имя")));
        assert_eq!(parse("PASS a secret "), Ok(Command::Pass("a secret ")));
        assert_eq!(parse("PASS  x"), Ok(Command::Pass(" x")));
        assert_eq!(parse("AUTH"), Ok(Command::Auth(None)));
        assert_eq!(parse("AUTH PLAIN"), Ok(Command::Auth(Some((b"PLAIN", None)))));
        assert_eq!(parse("auth plain ="), Ok(Command::Auth(Some((b"plain", Some(b"="))))));
        assert_eq!(parse("STLS"), Ok(Command::Stls));
        assert_eq!(parse("utf8"), Ok(Command::Utf8));
        assert_eq!(parse("CAPA "), Ok(Command::Capa));
        assert_eq!(parse("STAT"), Ok(Command::Stat));
        assert_eq!(parse("LIST"), Ok(Command::List(None)));
        assert_eq!(parse("LIST 12"), Ok(Command::List(Some(12))));
        assert_eq!(parse("UIDL 1"), Ok(Command::Uidl(Some(1))));
        assert_eq!(parse("retr 4294967295"), Ok(Command::Retr(u32::MAX)));
        assert_eq!(parse("TOP 1 0"), Ok(Command::Top { message: 1, lines: 0 }));
        assert_eq!(parse("DELE 2"), Ok(Command::Dele(2)));
        assert_eq!(parse("RSET"), Ok(Command::Rset));
        assert_eq!(parse("NOOP"), Ok(Command::Noop));
        assert_eq!(parse("Quit"), Ok(Command::Quit));
    }

    #[test]
    fn refuses_the_rest() {
        for unknown in ["", " ", "APOP a b", "XTND", "TO", "RETRX 1", "QU\0T", "\u{ff}"] {
            assert_eq!(parse(unknown), Err(Bad::Unknown), "{unknown:?}");
        }
        for bad in [
            "USER",
            "USER ",
            "PASS",
            "PASS ",
            "RETR",
            "RETR x",
            "RETR 1 2",
            "RETR -1",
            "RETR 4294967296",
            "DELE",
            "TOP 1",
            "TOP 1 2 3",
            "TOP 1 -1",
            "LIST a",
            "STAT 1",
            "QUIT now",
            "AUTH A B C",
            "RETR 00000000001",
        ] {
            assert!(matches!(parse(bad), Err(Bad::Usage(_))), "{bad:?}");
        }
        assert!(Command::parse(b"PASS \xff").is_err());
    }

    #[test]
    fn logs_no_password() {
        assert_eq!(format!("{:?}", parse("PASS secret")), "Ok(pass(*****))");
        assert_eq!(format!("{:?}", parse("AUTH PLAIN AHgAeQ==")), "Ok(auth(PLAIN *****))");
    }
}
