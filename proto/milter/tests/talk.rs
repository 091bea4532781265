//! Conversations with filters. `A:` is what we do, `>` what goes to the filter (`command|string|string`), `<` what the filter
//! says, `*` what comes out of the session. Each is held twice: an answer at a time, and an octet at a time.

#![allow(clippy::unwrap_used)]

use waypost_milter::flags::{action, protocol};
use waypost_milter::{Config, Event, Origin, Sent, Session};

const MACROS: [(&str, &str); 4] =
    [("j", "b.example"), ("i", "x-1"), ("{mail_addr}", "ann@b.example"), ("{empty}", "")];

/// `#n` is a number, other words between bars are strings with their NUL; `~` goes before octets as they are.
fn packet(text: &str) -> Vec<u8> {
    let mut words = text.split('|');
    let mut data = words.next().unwrap().as_bytes().to_vec();
    for word in words {
        let word = word.replace("\\n", "\n").replace("\\r", "\r");
        match (word.strip_prefix('#'), word.strip_prefix('~')) {
            (Some(number), _) => data.extend_from_slice(&number.parse::<u32>().unwrap().to_be_bytes()),
            (_, Some(octets)) => data.extend_from_slice(octets.as_bytes()),
            _ => data.extend_from_slice(format!("{word}\0").as_bytes()),
        }
    }
    [&u32::try_from(data.len()).unwrap().to_be_bytes()[..], &data].concat()
}

fn shown(mut wire: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    while let Some((head, rest)) = wire.split_first_chunk::<4>() {
        let (data, rest) = rest.split_at(u32::from_be_bytes(*head) as usize);
        let text = String::from_utf8_lossy(data).replace('\0', "|").replace('\n', "\\n").replace('\r', "\\r");
        found.push(format!("> {}", text.trim_end_matches('|')));
        wire = rest;
    }
    assert!(wire.is_empty());
    found
}

fn act(session: &mut Session, action: &str, out: &mut Vec<u8>) -> Sent {
    let (verb, arg) = action.split_once(' ').unwrap_or((action, ""));
    let origin = Origin::Socket("192.0.2.1:8225".parse().unwrap());
    match verb {
        "connect" => session.connect("client.example", origin, &MACROS[..1], out),
        "six" => {
            session.connect("[2001:db8::1]", Origin::Socket("[2001:db8::1]:8225".parse().unwrap()), &[], out)
        }
        "unknown" => session.connect("x", Origin::Unknown, &[], out),
        "helo" => session.helo(arg, &[], out),
        "mail" => session.mail(arg, &["SIZE=5", "BODY=8BITMIME"], &MACROS, out),
        "rcpt" => session.rcpt(arg, &[], &[], out),
        "data" => session.data(&MACROS, out),
        "header" => {
            let (name, value) = arg.split_once(':').unwrap();
            session.header(name, value.replace("\\n", "\r\n").as_bytes(), out)
        }
        "eoh" => session.end_of_headers(&[], out),
        "body" => session.body(arg.as_bytes(), out),
        "eom" => session.end_of_message(&MACROS[1..2], out),
        "abort" => {
            session.abort(out);
            Sent::Silent
        }
        "keep" => {
            assert!(session.quit_keeping(out));
            Sent::Silent
        }
        "quit" => {
            session.quit(out);
            Sent::Silent
        }
        _ => panic!("{action}"),
    }
}

fn hold(actions: u32, flags: u32, script: &str, octets: bool) {
    let mut session = Session::new(Config { body: 100, ..Config::default() });
    let mut out = Vec::new();
    assert_eq!(session.negotiate(&mut out), Sent::Wait);
    assert_eq!(out[..], [0, 0, 0, 13, b'O', 0, 0, 0, 6, 0, 0, 1, 0xFF, 0, 0x1F, 0xF7, 0xFF]);
    session.input(&packet(&format!("O|#6|#{actions}|#{flags}")));
    assert_eq!(session.event(), Ok(Some(Event::Ready)));
    talk(&mut session, script, octets);
}

fn talk(session: &mut Session, script: &str, octets: bool) {
    let mut made: std::collections::VecDeque<String> = Default::default();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(action) = line.strip_prefix("A: ") {
            assert_eq!(made, Vec::<String>::new(), "before {line} of {script}");
            let mut out = Vec::new();
            let sent = act(session, action, &mut out);
            made.extend(shown(&out));
            match sent {
                Sent::Skipped => made.push_back("* skipped".to_owned()),
                Sent::Silent => assert_eq!(session.waiting(), None),
                Sent::Wait => assert!(session.waiting().is_some()),
            }
        } else if let Some(text) = line.strip_prefix("< ") {
            assert_eq!(made, Vec::<String>::new(), "before {line} of {script}");
            let wire = packet(text);
            for piece in wire.chunks(if octets { 1 } else { wire.len() }) {
                session.input(piece);
                match session.event() {
                    Ok(None) => {}
                    Ok(Some(event)) => made.push_back(format!("* {event:?}")),
                    Err(error) => made.push_back(format!("* error: {error}")),
                }
            }
        } else {
            assert_eq!(made.pop_front().as_deref(), Some(line), "of {script}");
        }
    }
    assert_eq!(made, Vec::<String>::new(), "at the end of {script}");
}

fn both(actions: u32, flags: u32, script: &str) {
    hold(actions, flags, script, false);
    hold(actions, flags, script, true);
}

#[test]
fn a_whole_message() {
    both(
        action::ALL,
        0,
        "A: connect
         > DCj|b.example
         > Cclient.example|4 !192.0.2.1
         < c
         * Verdict(Continue)
         A: helo client.example
         > Hclient.example
         < c
         * Verdict(Continue)
         A: mail <ann@b.example>
         > DMj|b.example|i|x-1|{mail_addr}|ann@b.example
         > M<ann@b.example>|SIZE=5|BODY=8BITMIME
         < c
         * Verdict(Continue)
         A: rcpt <nobody@c.example>
         > R<nobody@c.example>
         < y|550 5.1.1 No such user
         * Verdict(Reply(Reply { code: 550, status: Some((5, 1, 1)), text: \"No such user\" }))
         A: rcpt <bob@c.example>
         > R<bob@c.example>
         < c
         * Verdict(Continue)
         A: data
         > DTj|b.example|i|x-1|{mail_addr}|ann@b.example
         > T
         < c
         * Verdict(Continue)
         A: header Subject: Hello\\n world
         > LSubject|Hello\\n world
         < c
         * Verdict(Continue)
         A: eoh
         > N
         < c
         * Verdict(Continue)
         A: body one
         > Bone
         < s
         * Verdict(Skip)
         A: body two
         * skipped
         A: eom
         > DEi|x-1
         > E
         < p
         * Progress
         < h|X-A|b\\nc
         * Change(AddHeader { name: \"X-A\", value: [32, 98, 13, 10, 9, 99] })
         < i|#0|X-B|b
         * Change(InsertHeader { index: 0, name: \"X-B\", value: [32, 98] })
         < m|#2|X-C|
         * Change(ChangeHeader { index: 2, name: \"X-C\", value: None })
         < m|#0|X-C|c
         * Change(ChangeHeader { index: 1, name: \"X-C\", value: Some([32, 99]) })
         < +|<eve@c.example>
         * Change(AddRecipient { address: \"<eve@c.example>\", parameters: None })
         < 2|<eve@c.example>|NOTIFY=NEVER
         * Change(AddRecipient { address: \"<eve@c.example>\", parameters: Some(\"NOTIFY=NEVER\") })
         < -|<bob@c.example>
         * Change(RemoveRecipient { address: \"<bob@c.example>\" })
         < e|<ann2@b.example>
         * Change(ChangeFrom { address: \"<ann2@b.example>\", parameters: None })
         < b|~new
         * Change(ReplaceBody([110, 101, 119]))
         < q|for a look
         * Change(Quarantine { reason: \"for a look\" })
         < a
         * Verdict(Accept)
         A: mail <>
         > DMj|b.example|i|x-1|{mail_addr}|ann@b.example
         > M<>|SIZE=5|BODY=8BITMIME
         < d
         * Verdict(Discard)
         A: rcpt <bob@c.example>
         * skipped
         A: eom
         * skipped
         A: abort
         > A
         A: quit
         > Q",
    );
}

#[test]
fn what_is_not_wanted_is_not_told() {
    let everything = 0x7F | protocol::NO_DATA;
    both(
        0,
        everything,
        "A: connect
         * skipped
         A: helo x
         * skipped
         A: mail <>
         * skipped
         A: rcpt <x@y>
         * skipped
         A: data
         * skipped
         A: header a: b
         * skipped
         A: eoh
         * skipped
         A: body x
         * skipped
         A: eom
         > DEi|x-1
         > E
         < c
         * Verdict(Continue)
         A: keep
         > K",
    );
    let silent = protocol::OFFER & !(0x7F | protocol::NO_DATA | protocol::NO_UNKNOWN);
    both(
        0,
        silent,
        "A: six
         > C[2001:db8::1]|6 !2001:db8::1
         A: unknown
         > Cx|U
         A: helo x
         > Hx
         A: mail <>
         > DMj|b.example|i|x-1|{mail_addr}|ann@b.example
         > M<>|SIZE=5|BODY=8BITMIME
         A: rcpt <x@y>
         > R<x@y>
         A: header a: b
         > La| b
         A: eoh
         > N
         A: body x
         > Bx
         A: eom
         > DEi|x-1
         > E
         < c
         * Verdict(Continue)",
    );
}

#[test]
fn a_filter_names_its_macros() {
    for octets in [false, true] {
        let mut session = Session::new(Config::default());
        let _ = session.negotiate(&mut Vec::new());
        session.input(&packet("O|#6|#256|#0|#2|i {unknown}, mail_addr|#0|"));
        assert_eq!(session.event(), Ok(Some(Event::Ready)));
        talk(
            &mut session,
            "A: connect
             > Cclient.example|4 !192.0.2.1
             < c
             * Verdict(Continue)
             A: mail <>
             > DMi|x-1|{mail_addr}|ann@b.example
             > M<>|SIZE=5|BODY=8BITMIME",
            octets,
        );
    }
}

#[test]
fn refusals_of_a_connection_stay() {
    for (word, verdict) in
        [("r", "Reject"), ("t", "TempFail"), ("a", "Accept"), ("4", "Shutdown"), ("f", "Unable")]
    {
        both(
            0,
            0,
            &format!(
                "A: unknown
                 > Cx|U
                 < {word}
                 * Verdict({verdict})
                 A: mail <>
                 * skipped
                 A: eom
                 * skipped"
            ),
        );
    }
}

#[test]
fn what_a_filter_may_not_do() {
    let at_end = "A: eom\n> DEi|x-1\n> E\n";
    for (actions, said, error) in [
        (0, "h|X-A|b", "'h' is no answer to end of message"),
        (action::ALL & !action::CHANGE_BODY, "b|~x", "'b' is no answer to end of message"),
        (action::ALL, &format!("b|~{}", "x".repeat(101)), "more changes to a message than we take"),
        (action::ALL, "s", "'s' is no answer to end of message"),
        (action::ALL, "O|#6|#0|#0", "'O' is no answer to end of message"),
        (action::ALL, "h|X-A", "'h' is cut short or not well formed"),
        (action::ALL, "h|X A|b", "'h' is cut short or not well formed"),
        (action::ALL, "y|250 fine", "'y' is cut short or not well formed"),
        (action::ALL, "+|a\\nb", "'+' is cut short or not well formed"),
        (action::ALL, "z", "'z' is no answer to end of message"),
    ] {
        both(actions, 0, &format!("{at_end}< {said}\n* error: {error}"));
    }
    both(action::ALL, 0, "A: unknown\n> Cx|U\n< h|X-A|b\n* error: 'h' is no answer to connect");
    both(action::ALL, 0, "< c\n* error: an answer to nothing ('c')");
    let mut session = Session::new(Config::default());
    let _ = session.negotiate(&mut Vec::new());
    session.input(&packet("O|#6|#1|#0|#1"));
    assert!(session.event().is_err());
    for (reply, error) in [
        ("O|#7|#0|#0", "version 7 of the protocol; 2 to 6 are known"),
        ("O|#6|#0|#268435456", "it wants to speak in ways that were not offered (0x10000000)"),
        ("O|#6|#0", "'O' is cut short or not well formed"),
        ("c", "'c' is no answer to negotiation"),
    ] {
        let mut session = Session::new(Config::default());
        let _ = session.negotiate(&mut Vec::new());
        session.input(&packet(reply));
        assert_eq!(session.event().map_err(|e| e.to_string()), Err(error.to_owned()));
    }
}
