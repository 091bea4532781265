//! The answers, written into a buffer that the session sends when it has nothing more to answer.

use crate::maildrop::Maildrop;
use std::io::Write as _;

/// The response codes in use (RFC 2449 §8, RFC 3206).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Another session has the drop.
    InUse,
    /// Ours, and it will pass.
    SysTemp,
    /// Ours, and someone has to do something.
    SysPerm,
    /// The credentials.
    Auth,
}

impl Code {
    pub const fn text(self) -> &'static str {
        match self {
            Code::InUse => "[IN-USE]",
            Code::SysTemp => "[SYS/TEMP]",
            Code::SysPerm => "[SYS/PERM]",
            Code::Auth => "[AUTH]",
        }
    }
}

/// `+OK text`
pub fn ok(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"+OK");
    if !text.is_empty() {
        out.push(b' ');
        line_safe(out, text);
    }
    out.extend_from_slice(b"\r\n");
}

/// `-ERR text`
pub fn err(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"-ERR ");
    line_safe(out, text);
    out.extend_from_slice(b"\r\n");
}

/// `-ERR [CODE] text`
pub fn err_code(out: &mut Vec<u8>, code: Code, text: &str) {
    out.extend_from_slice(b"-ERR ");
    out.extend_from_slice(code.text().as_bytes());
    out.push(b' ');
    line_safe(out, text);
    out.extend_from_slice(b"\r\n");
}

/// `+ base64`: a challenge (RFC 5034 §4).
pub fn challenge(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(b"+ ");
    out.extend_from_slice(waypost_sasl::wire::challenge(data).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `+OK n octets`: STAT.
pub fn stat(out: &mut Vec<u8>, drop: &Maildrop) {
    let (count, octets) = drop.stat();
    put(out, format_args!("+OK {count} {octets}\r\n"));
}

/// One line of LIST, as the whole answer.
pub fn list_one(out: &mut Vec<u8>, number: u32, octets: u64) {
    put(out, format_args!("+OK {number} {octets}\r\n"));
}

/// One line of UIDL, as the whole answer.
pub fn uidl_one(out: &mut Vec<u8>, number: u32, unique: &str) {
    put(out, format_args!("+OK {number} {unique}\r\n"));
}

/// LIST of all that is live.
pub fn list(out: &mut Vec<u8>, drop: &Maildrop) {
    let (count, octets) = drop.stat();
    put(out, format_args!("+OK {count} messages ({octets} octets)\r\n"));
    for (number, message) in drop.live() {
        put(out, format_args!("{number} {}\r\n", message.octets));
    }
    end(out);
}

/// UIDL of all that is live.
pub fn uidl(out: &mut Vec<u8>, drop: &Maildrop) {
    out.extend_from_slice(b"+OK\r\n");
    let validity = drop.validity();
    for (number, message) in drop.live() {
        put(out, format_args!("{number} {validity}.{}\r\n", message.uid));
    }
    end(out);
}

/// The first line of RETR.
pub fn retr(out: &mut Vec<u8>, octets: u64) {
    put(out, format_args!("+OK {octets} octets\r\n"));
}

/// What CAPA tells, which depends on the state and on the channel.
#[derive(Clone, Debug)]
pub struct Capabilities<'a> {
    /// USER and PASS may be used now.
    pub user: bool,
    /// STLS may be used now.
    pub stls: bool,
    /// The mechanisms that may be used now.
    pub sasl: &'a [&'a str],
    /// Shown only to those who have signed in, so that strangers learn no version (RFC 2449 §6.9).
    pub implementation: Option<&'a str>,
}

/// CAPA (RFC 2449 §5).
pub fn capa(out: &mut Vec<u8>, capabilities: &Capabilities<'_>) {
    out.extend_from_slice(b"+OK Capability list follows\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nEXPIRE NEVER\r\nUTF8 USER\r\n");
    if capabilities.user {
        out.extend_from_slice(b"USER\r\n");
    }
    if capabilities.stls {
        out.extend_from_slice(b"STLS\r\n");
    }
    if !capabilities.sasl.is_empty() {
        out.extend_from_slice(b"SASL");
        for name in capabilities.sasl {
            out.push(b' ');
            line_safe(out, name);
        }
        out.extend_from_slice(b"\r\n");
    }
    if let Some(name) = capabilities.implementation {
        out.extend_from_slice(b"IMPLEMENTATION ");
        line_safe(out, name);
        out.extend_from_slice(b"\r\n");
    }
    end(out);
}

/// The mechanisms, one a line, for AUTH without arguments.
pub fn mechanisms(out: &mut Vec<u8>, names: &[&str]) {
    out.extend_from_slice(b"+OK\r\n");
    for name in names {
        line_safe(out, name);
        out.extend_from_slice(b"\r\n");
    }
    end(out);
}

/// The end of an answer of several lines.
pub fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b".\r\n");
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing into a Vec does not fail");
}

/// Texts may come from settings or from the peer: no line ends in them.
fn line_safe(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().map(|b| if b < b' ' || b == 0x7f { b' ' } else { b }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maildrop::Message;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn single_lines() {
        assert_eq!(written(|o| ok(o, "")), "+OK\r\n");
        assert_eq!(written(|o| ok(o, "a\r\nb")), "+OK a  b\r\n");
        assert_eq!(written(|o| err(o, "no")), "-ERR no\r\n");
        assert_eq!(written(|o| err_code(o, Code::InUse, "busy")), "-ERR [IN-USE] busy\r\n");
        assert_eq!(written(|o| challenge(o, b"")), "+ \r\n");
        assert_eq!(written(|o| challenge(o, b"test")), "+ dGVzdA==\r\n");
    }

    #[test]
    fn lists() {
        let messages = [(3, 120), (5, 200)].map(|(uid, octets)| Message { uid, octets });
        let mut drop = Maildrop::new(9, messages.to_vec());
        assert_eq!(written(|o| stat(o, &drop)), "+OK 2 320\r\n");
        drop.delete(1).unwrap();
        assert_eq!(written(|o| list(o, &drop)), "+OK 1 messages (200 octets)\r\n2 200\r\n.\r\n");
        assert_eq!(written(|o| uidl(o, &drop)), "+OK\r\n2 9.5\r\n.\r\n");
    }

    #[test]
    fn capabilities() {
        let all = Capabilities {
            user: true,
            stls: true,
            sasl: &["PLAIN", "LOGIN"],
            implementation: Some("Waypost"),
        };
        let text = written(|o| capa(o, &all));
        assert!(
            text.ends_with(
                "UTF8 USER\r\nUSER\r\nSTLS\r\nSASL PLAIN LOGIN\r\nIMPLEMENTATION Waypost\r\n.\r\n"
            )
        );
        let none = Capabilities { user: false, stls: false, sasl: &[], implementation: None };
        assert!(written(|o| capa(o, &none)).ends_with("UTF8 USER\r\n.\r\n"));
    }
}
