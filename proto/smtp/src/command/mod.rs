//! One file per command; here they are told apart.

pub(crate) mod auth;
pub(crate) mod bdat;
pub(crate) mod data;
pub(crate) mod ehlo;
pub(crate) mod expn;
pub(crate) mod help;
pub(crate) mod mail;
pub(crate) mod noop;
pub(crate) mod quit;
pub(crate) mod rcpt;
pub(crate) mod rset;
pub(crate) mod starttls;
pub(crate) mod vrfy;
pub(crate) mod xwhy;

use crate::reply::{Reply, Status};
use crate::session::Session;
use crate::types::Flavour;
use waypost_base::Timestamp;

const UNKNOWN: Reply = Reply::new(500, Status(5, 5, 2), "Command not recognised");
const NOT_IMPLEMENTED: Reply = Reply::new(502, Status(5, 5, 1), "Command not implemented");
pub(crate) const SYNTAX: Reply = Reply::new(501, Status(5, 5, 4), "Syntax error in parameters");
pub(crate) const NO_PARAMETERS: Reply = Reply::new(501, Status(5, 5, 4), "This command has no parameters");
pub(crate) const TLS_FIRST: Reply = Reply::new(530, Status(5, 7, 0), "Use STARTTLS first");

/// Splits a line into verb and what follows its space. Trailing spaces are tolerated (RFC 5321 §4.1.1).
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let line = line.trim_ascii_end();
    let at = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
    let (verb, rest) = line.split_at(at);
    (verb, rest.trim_ascii_start())
}

const VERBS: [&[u8]; 16] = [
    b"EHLO",
    b"HELO",
    b"LHLO",
    b"MAIL",
    b"RCPT",
    b"DATA",
    b"BDAT",
    b"RSET",
    b"NOOP",
    b"VRFY",
    b"EXPN",
    b"HELP",
    b"QUIT",
    b"AUTH",
    b"STARTTLS",
    b"XWHY",
];

/// Where in the line credentials begin, if it carries any: behind the mechanism's name. A client that did not wait to hear
/// that its AUTH is refused sends them as commands of their own, so what looks like base64 and is no verb is taken for some.
pub(crate) fn secret(line: &[u8]) -> Option<usize> {
    let (verb, rest) = split(line);
    if !verb.eq_ignore_ascii_case(b"AUTH") {
        let base64 = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
        let shaped =
            rest.is_empty() && !verb.is_empty() && verb.len().is_multiple_of(4) && verb.iter().all(base64);
        return (shaped && !VERBS.iter().any(|known| verb.eq_ignore_ascii_case(known))).then_some(0);
    }
    let begin = line.trim_ascii_end().len() - rest.len();
    let name = rest.iter().position(|b| *b == b' ')?;
    Some(begin + name + 1)
}

pub(crate) fn run(s: &mut Session, now: Timestamp, line: &[u8]) {
    let (verb, arg) = split(line);
    let Ok(arg) = std::str::from_utf8(arg) else {
        s.error(Reply::new(501, Status(5, 5, 2), "Not UTF-8"));
        return;
    };
    let mut upper = [0; 8];
    let Some(word) = upper.get_mut(..verb.len()) else {
        s.error(UNKNOWN);
        return;
    };
    word.copy_from_slice(verb);
    word.make_ascii_uppercase();
    let lmtp = s.config.flavour == Flavour::Lmtp;
    let word: &[u8] = word;
    let early = matches!(word, b"EHLO" | b"HELO" | b"LHLO" | b"NOOP" | b"RSET" | b"QUIT" | b"HELP");
    let known = matches!(word, b"MAIL" | b"RCPT" | b"DATA" | b"BDAT" | b"VRFY" | b"EXPN" | b"AUTH" | b"XWHY");
    if s.config.tls_required && s.tls.is_none() && known && !early && word != b"BDAT" {
        s.error(TLS_FIRST);
        return;
    }
    match word {
        b"EHLO" if !lmtp => ehlo::run(s, arg, true),
        b"HELO" if !lmtp => ehlo::run(s, arg, false),
        b"LHLO" if lmtp => ehlo::run(s, arg, true),
        b"EHLO" | b"HELO" => s.error(Reply::new(500, Status(5, 5, 1), "This is LMTP, use LHLO")),
        b"MAIL" => mail::run(s, now, arg),
        b"RCPT" => rcpt::run(s, arg),
        b"DATA" => data::run(s, arg),
        b"BDAT" => bdat::run(s, now, arg),
        b"RSET" => rset::run(s, arg),
        b"NOOP" => noop::run(s),
        b"VRFY" => vrfy::run(s, arg),
        b"EXPN" => expn::run(s, arg),
        b"XWHY" if s.config.why => xwhy::run(s, arg),
        b"HELP" => help::run(s),
        b"AUTH" => auth::run(s, arg),
        b"QUIT" => quit::run(s, arg),
        b"SEND" | b"SOML" | b"SAML" | b"TURN" | b"ETRN" | b"ATRN" => s.error(NOT_IMPLEMENTED),
        // A browser that was talked into speaking to us must not get a second line in.
        b"GET" | b"POST" | b"PUT" | b"CONNECT" | b"HEAD" => {
            s.abandon();
            s.say(Reply::new(421, Status(5, 5, 1), "This is not a web server"));
            s.close();
        }
        _ => s.error(UNKNOWN),
    }
}

#[cfg(test)]
mod tests {
    use super::secret;

    #[test]
    fn credentials_are_found_where_a_log_would_show_them() {
        for (line, wanted) in [
            ("AUTH PLAIN AGFubg==", Some(11)),
            ("auth login", None),
            ("YW5uQGNvbnRvc28udGVzdA==", Some(0)),
            ("bm8=", Some(0)),
            ("quit", None),
            ("STARTTLS ", None),
            ("NOOP", None),
            ("MAIL FROM:<a@b.example>", None),
            ("HELLO", None),
        ] {
            assert_eq!(secret(line.as_bytes()), wanted, "{line}");
        }
    }
}
