//! The framer: what a client sends, whole, in single bytes, and too much of it.

use waypost_imap::frame::{Event, Framer, Reason};
use waypost_imap::limits;

/// What came out of a framer, one line for each event; data joined.
fn transcript(framer: &mut Framer, bytes: &[u8], step: usize) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut data = Vec::new();
    for piece in bytes.chunks(step) {
        let mut input = piece;
        while let Some(event) = framer.next(&mut input) {
            let mut accept = None;
            match event {
                Event::Command(text) => out.push(format!("command {}", text.escape_ascii())),
                Event::Continue => out.push("continue".into()),
                Event::Message(head) => {
                    let kind = if head.first { "message" } else { "next message" };
                    let sync = if head.synchronising { "waits" } else { "comes" };
                    out.push(format!("{kind} {} ({}, {sync})", head.text.escape_ascii(), head.size));
                    accept = Some(!head.text.windows(6).any(|w| w == b"REFUSE"));
                }
                Event::Data { bytes, last } => {
                    data.extend_from_slice(bytes);
                    if last {
                        out.push(format!("data {}", data.escape_ascii()));
                        data.clear();
                    }
                }
                Event::MessageTail(text) => out.push(format!("tail {}", text.escape_ascii())),
                Event::Line(text) => out.push(format!("line {}", text.escape_ascii())),
                Event::Refused(refusal) => {
                    let tag = refusal.tag.map_or("*".to_owned(), |t| t.to_string());
                    let close = if refusal.close { " BYE" } else { "" };
                    out.push(format!("refused {tag} {:?}{close}", refusal.reason));
                }
            }
            match accept {
                Some(true) => framer.accept(),
                Some(false) => assert!(framer.refuse()),
                None => {}
            }
        }
        assert!(input.is_empty());
    }
    out
}

/// The same for every way of cutting the bytes.
fn check(signed_in: bool, bytes: &[u8], expected: &[&str]) {
    for step in [bytes.len().max(1), 1, 2, 3, 7] {
        let mut framer = Framer::new();
        if signed_in {
            framer.signed_in();
        }
        assert_eq!(transcript(&mut framer, bytes, step), expected, "in pieces of {step}");
        assert_eq!(framer.held(), 0, "idle, in pieces of {step}");
    }
}

#[test]
fn lines() {
    check(false, b"a NOOP\r\nb NOOP\nc NOOP\r\n", &["command a NOOP", "command b NOOP", "command c NOOP"]);
    check(false, b"\r\n", &["command "]);
}

#[test]
fn literals() {
    check(
        false,
        b"a LOGIN {3}\r\njoe {4+}\r\nx\r\ny\r\nb NOOP\r\n",
        &["continue", "command a LOGIN {3}\\r\\njoe {4+}\\r\\nx\\r\\ny", "command b NOOP"],
    );
    check(false, b"a LOGIN {0}\r\n {0+}\r\n\r\n", &["continue", "command a LOGIN {0}\\r\\n {0+}\\r\\n"]);
    // What a literal holds is never an announcement.
    check(
        false,
        b"a LOGIN x {3+}\r\n{5}\r\nb NOOP\r\n",
        &["command a LOGIN x {3+}\\r\\n{5}", "command b NOOP"],
    );
    check(
        false,
        b"a LOGIN x {x}\r\nb X {-5}\r\nc X }\r\n",
        &["command a LOGIN x {x}", "command b X {-5}", "command c X }"],
    );
}

#[test]
fn messages() {
    check(
        true,
        b"a APPEND INBOX (\\Seen) {5}\r\nhello\r\nb NOOP\r\n",
        &["message a APPEND INBOX (\\\\Seen) {5} (5, waits)", "data hello", "tail ", "command b NOOP"],
    );
    check(
        true,
        b"a APPEND {5+}\r\nINBOX {2+}\r\nhi (\\Seen) ~{0+}\r\n\r\n",
        &[
            "message a APPEND {5+}\\r\\nINBOX {2+} (2, comes)",
            "data hi",
            "next message  (\\\\Seen) ~{0+} (0, comes)",
            "data ",
            "tail ",
        ],
    );
    check(
        true,
        b"a UID REPLACE 4 {1}\r\nx {1}\r\ny\r\nb append x UTF8 (~{1+}\r\nz)\r\n",
        &[
            "continue",
            "message a UID REPLACE 4 {1}\\r\\nx {1} (1, waits)",
            "data y",
            "tail ",
            "message b append x UTF8 (~{1+} (1, comes)",
            "data z",
            "tail )",
        ],
    );
}

#[test]
fn refused_messages() {
    // A client that waits sends its next command instead.
    check(
        true,
        b"a APPEND REFUSE {5}\r\nb NOOP\r\n",
        &["message a APPEND REFUSE {5} (5, waits)", "command b NOOP"],
    );
    // One that does not has sent it all already, further messages too.
    check(
        true,
        b"a APPEND REFUSE {5+}\r\nhello (\\Seen) {2+}\r\nhi\r\nb NOOP\r\n",
        &["message a APPEND REFUSE {5+} (5, comes)", "command b NOOP"],
    );
    let mut framer = Framer::new();
    let mut input = &b"a APPEND x {99999999+}\r\nhello"[..];
    assert!(matches!(framer.next(&mut input), Some(Event::Message(_))));
    assert!(!framer.refuse(), "a stranger's hundred megabytes are not skipped");
    assert_eq!(framer.next(&mut input), None);
}

#[test]
fn given_up_messages() {
    let mut framer = Framer::new();
    framer.signed_in();
    let mut input = &b"a APPEND x {10+}\r\nhello"[..];
    assert!(matches!(framer.next(&mut input), Some(Event::Message(_))));
    framer.accept();
    assert_eq!(framer.next(&mut input), Some(Event::Data { bytes: b"hello", last: false }));
    assert!(framer.refuse());
    let mut input = &b"world {1+}\r\nx\r\nb NOOP\r\n"[..];
    assert_eq!(framer.next(&mut input), Some(Event::Command(b"b NOOP")));
}

#[test]
fn bare_lines() {
    for step in [1, 100] {
        let mut framer = Framer::new();
        framer.expect_line();
        let lines = transcript(&mut framer, b"DONE {5}\r\na NOOP\r\n", step);
        assert_eq!(lines, ["line DONE {5}", "command a NOOP"]);
    }
}

#[test]
fn long_lines() {
    let mut long = b"a LOGIN ".to_vec();
    long.resize(limits::LINE_BEFORE_LOGIN_MAX + 100, b'x');
    long.extend_from_slice(b"\r\nb NOOP\r\n");
    check(false, &long, &["refused a LineTooLong", "command b NOOP"]);
    let all = String::from_utf8(long.clone()).unwrap().replace("\r\nb NOOP\r\n", "");
    check(true, &long, &[&format!("command {all}"), "command b NOOP"]);
    // What the long line announces belongs to it.
    let with_literal = long.windows(2).position(|w| w == b"\r\n").unwrap();
    long.splice(with_literal..with_literal, *b" {4+}\r\nc X\n x");
    check(false, &long, &["refused a LineTooLong", "command b NOOP"]);
    // A Kerberos ticket as the initial response is let through.
    let ticket = format!("a AUTHENTICATE GSSAPI {}", "x".repeat(40_000));
    check(false, format!("{ticket}\r\n").as_bytes(), &[&format!("command {ticket}")]);
}

#[test]
fn endless_lines() {
    let mut framer = Framer::new();
    let piece = vec![b'x'; 64 * 1024];
    let mut refusals = Vec::new();
    for _ in 0..64 {
        let mut input = &piece[..];
        while let Some(event) = framer.next(&mut input) {
            let Event::Refused(refusal) = event else { panic!("{event:?}") };
            refusals.push((refusal.reason, refusal.close));
        }
        assert!(framer.held() <= 1024, "{}", framer.held());
    }
    assert_eq!(refusals, [(Reason::LineTooLong, false), (Reason::LineTooLong, true)]);
}

#[test]
fn large_literals() {
    check(false, b"a LOGIN {5000}\r\nb NOOP\r\n", &["refused a LiteralTooLarge", "command b NOOP"]);
    let mut coming = b"a LOGIN {5000+}\r\n".to_vec();
    coming.extend_from_slice(&[b'x'; 5000]);
    coming.extend_from_slice(b" y\r\nb NOOP\r\n");
    check(false, &coming, &["refused a LiteralTooLarge", "command b NOOP"]);
    check(
        true,
        b"a LOGIN {99999999999999999999999}\r\nb NOOP\r\n",
        &["refused a LiteralTooLarge", "command b NOOP"],
    );
    check(false, b"a LOGIN {9999999+}\r\nb NOOP\r\n", &["refused a LiteralTooLarge BYE"]);
    let many = format!("a X{}\r\nb NOOP\r\n", " {1+}\r\nx".repeat(limits::LITERALS_PER_COMMAND + 2));
    check(true, many.as_bytes(), &["refused a TooManyLiterals", "command b NOOP"]);
}
