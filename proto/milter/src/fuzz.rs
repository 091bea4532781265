//! A whole session driven by arbitrary octets of a filter: for fuzzing, and for the tests here.

use crate::types::{Change, Config, Event, Origin, Sent, Verdict};
use crate::{Session, flags::protocol, limits};

/// Drives a session with `data` as what the filter says; the first octets choose the negotiation and the size of the
/// pieces. Panics only when an invariant of the session does not hold.
pub fn fuzz_one(data: &[u8]) {
    let Some((&[size, low, middle, high], mut data)) = data.split_first_chunk::<4>() else { return };
    let mut session = Session::new(Config { body: 4096, ..Config::default() });
    let mut out = Vec::new();
    assert_eq!(session.negotiate(&mut out), Sent::Wait);
    let flags = u32::from_be_bytes([0, high, middle, low]) & protocol::OFFER;
    let mut reply = vec![0, 0, 0, 13, b'O', 0, 0, 0, 6, 0, 0, 1, 0xFF];
    reply.extend_from_slice(&flags.to_be_bytes());
    session.input(&reply);
    assert_eq!(session.event(), Ok(Some(Event::Ready)));
    let macros = [("i", "x-1"), ("{mail_addr}", "ann@b.example")];
    for step in 0..100u32 {
        out.clear();
        let sent = match step % 10 {
            0 => session.connect("b.example", Origin::Socket(([192, 0, 2, 1], 25).into()), &macros, &mut out),
            1 => session.helo("b.example", &[], &mut out),
            2 => session.mail("<ann@b.example>", &["SIZE=5"], &macros, &mut out),
            3 => session.rcpt("<bob@c.example>", &[], &macros, &mut out),
            4 => session.data(&macros, &mut out),
            5 => session.header("Subject", b" a\r\n b", &mut out),
            6 => session.end_of_headers(&macros, &mut out),
            7 => session.body(b"Hello\r\n", &mut out),
            8 => session.end_of_message(&macros, &mut out),
            _ => {
                session.abort(&mut out);
                Sent::Silent
            }
        };
        well_formed(&out, sent);
        while session.waiting().is_some() {
            match session.event() {
                Ok(Some(event)) => check(&event),
                Ok(None) if data.is_empty() => return,
                Ok(None) => {
                    let (now, later) = data.split_at(data.len().min(usize::from(size) + 1));
                    session.input(now);
                    data = later;
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    return;
                }
            }
        }
    }
}

fn well_formed(out: &[u8], sent: Sent) {
    assert_eq!(out.is_empty(), sent == Sent::Skipped);
    let mut rest = out;
    while let Some((head, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*head) as usize;
        assert!(length >= 1 && length <= after.len());
        rest = after.get(length..).unwrap_or_default();
    }
    assert!(rest.is_empty());
}

fn check(event: &Event) {
    match event {
        Event::Change(
            Change::AddHeader { name, value }
            | Change::InsertHeader { name, value, .. }
            | Change::ChangeHeader { name, value: Some(value), .. },
        ) => {
            assert!(!name.is_empty() && !name.contains([':', ' ', '\r', '\n']));
            let lines: Vec<&[u8]> = value.split(|b| *b == b'\n').collect();
            for (i, line) in lines.iter().enumerate() {
                let last = i + 1 == lines.len();
                assert!(last || line.ends_with(b"\r"));
                assert!(
                    i == 0 || (matches!(line.first(), Some(b' ' | b'\t')) && !line.trim_ascii().is_empty())
                );
                assert!(line.iter().filter(|b| **b == b'\r').count() == usize::from(!last));
            }
        }
        Event::Verdict(Verdict::Reply(reply)) => {
            assert!((400..600).contains(&reply.code) && !reply.text.contains('\r'));
            assert!(reply.text.split('\n').count() <= limits::REPLY_LINES);
        }
        Event::Change(Change::Quarantine { reason }) => assert!(!reason.contains(['\r', '\n'])),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::write;
    use proptest::prelude::*;

    fn packet() -> impl Strategy<Value = Vec<u8>> {
        let data = prop_oneof![
            Just(vec![]),
            proptest::sample::select(vec![
                &b"X-A\0b\n\0"[..],
                b"\0\0\0\x01X-A\0b\n c\n\n\0",
                b"<x@y>\0",
                b"550 5.7.1 no\0",
                b"why\0",
            ])
            .prop_map(<[u8]>::to_vec),
            proptest::collection::vec(any::<u8>(), 0..20),
        ];
        let command = prop_oneof![
            3 => Just(b'c'),
            1 => proptest::sample::select(b"artdsfpy4himbqe+-2".to_vec()),
        ];
        (command, data).prop_map(|(command, data)| {
            let mut out = Vec::new();
            write(&mut out, command, |out| out.extend_from_slice(&data));
            out
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn packets(head in any::<[u8; 4]>(), packets in proptest::collection::vec(packet(), 0..40)) {
            let mut data = head.to_vec();
            data.extend(packets.concat());
            fuzz_one(&data);
        }

        #[test]
        fn garbage(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            fuzz_one(&data);
        }
    }
}
