//! What log a line is from, by its shape alone: a line in a mail, or in a file that has lost its header or its beginning.

use super::format::Format;
use super::row::{self, split};
use std::net::SocketAddr;

/// A line that was recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    pub format: Format,
    /// Columns of the usual list that are missing before the line's first field; a cut-off date is still a field.
    pub missing: usize,
    /// Whether the line has the columns of 2007 and 2010, where those differ.
    pub old: bool,
}

const SOURCES: &[&str] = &[
    "ADMIN",
    "AGENT",
    "APPROVAL",
    "BOOTLOADER",
    "DNS",
    "DSN",
    "GATEWAY",
    "MAILBOXRULE",
    "MEETINGMESSAGEPROCESSOR",
    "ORAR",
    "PICKUP",
    "POISONMESSAGE",
    "PUBLICFOLDER",
    "QUEUE",
    "REDUNDANCY",
    "RESOLVER",
    "ROUTING",
    "SAFETYNET",
    "SMTP",
    "STOREDRIVER",
    "AUTHENTICATION",
    "AGGREGATION",
];

pub fn of(line: &str) -> Option<Shape> {
    let line = line.trim();
    if line.starts_with("{\"") && line.ends_with('}') {
        return super::waypost::known(line).then_some(Shape {
            format: Format::Waypost,
            missing: 0,
            old: false,
        });
    }
    if line.starts_with('[') {
        return super::setup::take(line).map(|_| Shape { format: Format::Setup, missing: 0, old: false });
    }
    if memchr::memchr_iter(b',', line.as_bytes()).take(5).count() < 5 {
        return None;
    }
    let fields = split(line, b',');
    let get = |at: usize| fields.get(at).map_or("", |f| f.trim());
    // The column before the session's id is the date, whole or cut off, or it is gone.
    for at in 0..=1 {
        let older = matches!(get(at + 4), "+" | "-" | ">" | "<" | "*");
        if hex(get(at)) && digits(get(at + 1)) && endpoint(get(at + 2)) && endpoint(get(at + 3)) && !older {
            let format = client_protocol(get(at + 2), get(at + 8));
            return Some(Shape { format, missing: 1 - at, old: false });
        }
    }
    // Before it stands the connector as well, and both may be gone.
    for at in 0..=2 {
        let event = get(at + 4);
        if hex(get(at))
            && digits(get(at + 1))
            && endpoint(get(at + 2))
            && matches!(event, "+" | "-" | ">" | "<" | "*")
        {
            return Some(old_protocol(&get, at));
        }
        let direction = get(at + 3);
        if hex(get(at)) && matches!(direction, "+" | ">" | "-") && letters(get(at + 1)) {
            return Some(Shape {
                format: Format::Connectivity,
                missing: 1usize.saturating_sub(at),
                old: false,
            });
        }
    }
    row::time(get(0))?;
    if SOURCES.contains(&get(7)) && !get(8).is_empty() && get(8).bytes().all(|b| b.is_ascii_uppercase()) {
        let old = !guid(get(11)) && (get(11).contains('@') || guid(get(28)));
        return Some(Shape { format: Format::Tracking, missing: 0, old });
    }
    let version = (2..6).all(|at| digits(get(at)));
    (guid(get(1)) && version && fields.len() > 30).then_some(Shape {
        format: Format::HttpProxy,
        missing: 0,
        old: false,
    })
}

/// The layout that SMTP has, and that IMAP and POP had: the ports tell which it is.
fn old_protocol<'a>(get: &impl Fn(usize) -> &'a str, at: usize) -> Shape {
    let (local, remote) = (port(get(at + 2)), port(get(at + 3)));
    let (event, data) = (get(at + 4), get(at + 5));
    let listens = |p: Option<u16>| p.is_some_and(|p| matches!(p, 25 | 465 | 475 | 587 | 717 | 2525));
    let reply = data.len() > 3 && data.bytes().take(3).all(|b| b.is_ascii_digit());
    let format = match local {
        Some(143 | 993 | 1143 | 1993) => Format::Imap,
        Some(110 | 995 | 1110 | 1995) => Format::Pop,
        _ if listens(local) && !listens(remote) => Format::SmtpReceive,
        _ if listens(remote) => Format::SmtpSend,
        _ if event == "<" && reply || event == ">" && !reply => Format::SmtpSend,
        _ => Format::SmtpReceive,
    };
    Shape { format, missing: 2 - at, old: true }
}

fn client_protocol(server: &str, command: &str) -> Format {
    match port(server) {
        Some(110 | 995 | 1110 | 1995) => Format::Pop,
        Some(143 | 993 | 1143 | 1993) => Format::Imap,
        _ if matches!(
            command.to_ascii_lowercase().as_str(),
            "user" | "pass" | "stat" | "retr" | "dele" | "uidl" | "quit"
        ) =>
        {
            Format::Pop
        }
        _ => Format::Imap,
    }
}

fn hex(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn digits(text: &str) -> bool {
    (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

fn letters(text: &str) -> bool {
    (2..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// `10.0.0.1:993`, `[::1]:993`, or a name with a port where addresses were taken out.
fn endpoint(text: &str) -> bool {
    if text.parse::<SocketAddr>().is_ok() {
        return true;
    }
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && !host.contains(char::is_whitespace)
            && digits(port)
            && port.len() <= 5
            && host.len() < 100
    })
}

/// The port of an endpoint.
pub fn port(text: &str) -> Option<u16> {
    text.rsplit_once(':').and_then(|(_, port)| port.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_without_their_header() {
        let shape = |line: &str| of(line).map(|s| (s.format, s.missing));
        let imap = "2026-03-03T08:15:20.114Z,000000000000001A,0,10.20.0.11:993,10.20.9.40:51877,,2,0,53,OpenSession,,,";
        assert_eq!(shape(imap), Some((Format::Imap, 0)));
        assert_eq!(shape(imap.trim_start_matches("2026-03-")), Some((Format::Imap, 0)), "the date cut off");
        assert_eq!(
            shape(imap.split_once(',').map_or("", |(_, rest)| rest)),
            Some((Format::Imap, 1)),
            "without date"
        );
        assert_eq!(shape(&imap.replace(":993", ":1995")), Some((Format::Pop, 0)));
        let smtp = "2026-03-03T10:40:02.118Z,MBX01\\Default MBX01,08DE5A1100000021,0,10.20.0.11:2525,10.20.0.12:33190,+,,";
        assert_eq!(shape(smtp), Some((Format::SmtpReceive, 0)));
        let send = "2026-03-03T10:40:02.118Z,Internet,08DE5A1100000021,3,10.20.0.11:33190,203.0.113.5:25,<,220 mx.example.net,";
        assert_eq!(shape(send), Some((Format::SmtpSend, 0)));
        let connect = "2026-03-03T10:39:57.500Z,08DE5A1100000AA1,SMTP,internalproxy,>,Established connection to 10.20.0.11";
        assert_eq!(shape(connect), Some((Format::Connectivity, 0)));
        let tracking = "2026-03-03T10:41:12.902Z,10.20.9.40,app01,10.20.0.11,MBX01,x;y,MBX01\\Default,SMTP,FAIL,44,<m7@a>,77e0aaaa-0000-4000-8000-1112223334bb,nosuch@example.net,550 5.1.10,2048,1,,,Alert,app@example.net,app@example.net,,Incoming,,,,,Email,5c9e,15";
        assert_eq!(shape(tracking), Some((Format::Tracking, 0)));
        for prose in [
            "a, b, c, d, e, f, g",
            "2026-03-03T10:41:12.902Z,1,2,3,4,5,6,7,8,9",
            ",,,,,,,,",
            "[1] note",
            "{\"a\":1}",
        ] {
            assert_eq!(shape(prose), None, "{prose}");
        }
    }
}
