//! The tracking log as other programs read it, kept under `golden/`; `UPDATE_GOLDEN=1` writes it anew.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::fs;
use std::path::Path;
use waypost_base::Timestamp;
use waypost_tracking::layout::{Columns, FIELDS, Lines};
use waypost_tracking::{Event, EventId, Message, Recipient, Source};

#[test]
fn the_csv() {
    let message = Message {
        item: 1_858_605_000_000_000_001,
        message_id: "q3@contoso.test",
        subject: "Figures, \"final\"",
        sender: "amy@contoso.test",
        return_path: "amy@contoso.test",
        size: 2113,
        originating: true,
        client_ip: "::ffff:192.0.2.20".parse().ok(),
    };
    let report = Message { message_id: "<dsn@mail>", return_path: "", ..Message::default() };
    let at = |n: i64| Timestamp(1_772_525_720_114 + n);
    let both = [Recipient::new("bob@contoso.test", ""), Recipient::new("zoe@example.net", "")];
    let bob = [Recipient::new("bob@contoso.test", "")];
    let two = [
        Recipient::new("a@example.net", "550 5.1.1 no; such, user"),
        Recipient::new("b@example.net", "550 5.7.1 \u{7}no"),
    ];
    let server = ("2001:db8::7".parse().ok(), "mx.example.net");
    let events = [
        Event::receive(at(0), &message, "000000000000001A", &both)
            .client("192.0.2.20".parse().ok(), "laptop.example")
            .connector("submission"),
        Event::deliver(at(1), &message, &bob).info("2026-03-03T08:15:20.114Z"),
        Event::send(at(2), &message, "out", server, &both[1..]),
        Event::defer(at(3), &message, Source::Smtp, "2026-03-03T08:20:20.114Z", &both[1..]),
        Event::fail(at(4), &message, Source::Smtp, &two).server(server.0, server.1),
        Event::of(at(5), &message, Source::Resolver, EventId::Expand).to(&bob).related("all@contoso.test"),
        Event::dsn(at(6), &report, "<q3@contoso.test>", &bob),
    ];
    let mut out = format!("#Fields: {FIELDS}\r\n").into_bytes();
    let mut lines = Lines::new(true, 7);
    events.iter().for_each(|event| lines.append(event, &mut out));
    let text = String::from_utf8(out).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/MSGTRK.log");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert_eq!(
        text,
        fs::read_to_string(&path).unwrap_or_default(),
        "run with UPDATE_GOLDEN=1 and look at it"
    );
    let columns = Columns::of(FIELDS);
    let read: Vec<_> = text.lines().skip(1).map(|line| columns.read(line).unwrap()).collect();
    assert_eq!(read.len(), events.len());
    assert_eq!(read[4].recipient_status, ["550 5.1.1 no, such, user", "550 5.7.1  no"]);
    assert_eq!(read[0].message_subject, "Figures, \"final\"");
}
