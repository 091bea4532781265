//! A whole session driven by arbitrary bytes: for fuzzing, and for the tests here.

use crate::reply::{Reply, Status};
use crate::types::{Answer, AuthStep, BareEnds, Config, Flavour, Mechanism, Out, Question, Tls};
use crate::{Limits, Session};
use std::sync::Arc;
use waypost_base::Timestamp;

/// Drives a session with `data`; the first octet chooses flavour, settings and the size of the pieces. Panics only
/// when an invariant of the session does not hold.
pub fn fuzz_one(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else { return };
    let flavour = match choice & 3 {
        0 => Flavour::Lmtp,
        1 => Flavour::Submission,
        _ => Flavour::Smtp,
    };
    let mut config = Config::new(flavour, "mx.example.org");
    config.starttls = choice & 4 != 0;
    config.heard = true;
    config.auth = vec![Mechanism { name: "PLAIN", in_clear: true, binding: false }];
    config.bare_ends = if choice & 8 != 0 { BareEnds::Keep } else { BareEnds::Refuse };
    config.limits = Limits { message: 4096, recipients: 3, errors: 1000, ..Limits::default() };
    let mut session = Session::new(Arc::new(config), None, Timestamp(0));
    let piece = usize::from(choice >> 4) * 16 + 1;
    let (mut buffer, mut now, mut body) = (Vec::new(), Timestamp(0), 0u64);
    for chunk in data.chunks(piece) {
        buffer.extend_from_slice(chunk);
        loop {
            let used = session.input(now, &buffer);
            assert!(used <= buffer.len());
            now = now.plus_millis(1);
            drain(&mut session, now, &buffer, used, &mut body);
            if used == 0 {
                break;
            }
            buffer.drain(..used);
        }
        assert!(
            buffer.len() <= 65_552 + 256 || session.is_closed(),
            "input is taken or the session is closed"
        );
    }
    drain(&mut session, Timestamp(i64::MAX), &[], 0, &mut body);
    assert!(session.is_closed());
}

fn drain(session: &mut Session, now: Timestamp, buffer: &[u8], used: usize, body: &mut u64) {
    while let Some(out) = session.poll(now) {
        match out {
            Out::Send(bytes) => {
                assert!(bytes.ends_with(b"\r\n"));
                assert!(
                    bytes.iter().filter(|b| **b == b'\n').count()
                        == bytes.iter().filter(|b| **b == b'\r').count()
                );
            }
            Out::Body(range) => {
                assert!(range.start < range.end && range.end <= used && used <= buffer.len());
                *body += range.len() as u64;
            }
            Out::Heard { line, secret } => {
                assert!(line.end < used && secret.is_none_or(|at| at <= line.len()));
            }
            Out::Ask(id, question) => session.reply(now, id, answer(question, body)),
            Out::StartTls => session.tls_started(now, Tls { binding: false }),
            Out::Reset => *body = 0,
            Out::WakeAt(at) => assert!(at > now),
            Out::Close => assert!(session.is_closed()),
        }
    }
}

fn answer(question: Question, body: &mut u64) -> Answer {
    match question {
        Question::Rcpt { to, .. } if to.local.starts_with('x') => {
            Answer::Refuse(Reply::with(550, Status(5, 1, 1), format!("No {to} here")))
        }
        Question::Begin => {
            *body = 0;
            Answer::Ok
        }
        Question::Finish { size } => {
            assert_eq!(size, *body, "every octet is handed out once");
            Answer::Ok
        }
        Question::Auth(AuthStep::Start { initial: None, .. }) => Answer::Challenge(Vec::new()),
        Question::Auth(AuthStep::Start { initial: Some(bytes), .. } | AuthStep::Next(bytes)) => {
            if bytes.is_empty() { Answer::Ok } else { Answer::SignedIn("x".to_owned()) }
        }
        _ => Answer::Ok,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn word() -> impl Strategy<Value = Vec<u8>> {
        let fixed: Vec<&'static [u8]> = vec![
            b"EHLO x\r\n",
            b"LHLO x\r\n",
            b"HELO x\r\n",
            b"MAIL FROM:<a@b>\r\n",
            b"MAIL FROM:<> SIZE=5\r\n",
            b"RCPT TO:<c@d>\r\n",
            b"RCPT TO:<x@d>\r\n",
            b"DATA\r\n",
            b".\r\n",
            b"\r\n",
            b"\n",
            b"\r",
            b"..\r\n",
            b"BDAT 5\r\n",
            b"BDAT 3 LAST\r\n",
            b"BDAT 9000\r\n",
            b"abc",
            b"RSET\r\n",
            b"NOOP\r\n",
            b"STARTTLS\r\n",
            b"AUTH PLAIN\r\n",
            b"AUTH PLAIN AGEAYg==\r\n",
            b"*\r\n",
            b"QUIT\r\n",
            b"VRFY x\r\n",
            b"HELP\r\n",
        ];
        prop_oneof![
            8 => proptest::sample::select(fixed).prop_map(<[u8]>::to_vec),
            1 => proptest::collection::vec(any::<u8>(), 0..20),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn words(choice in any::<u8>(), words in proptest::collection::vec(word(), 0..60)) {
            let mut data = vec![choice];
            data.extend(words.concat());
            fuzz_one(&data);
        }

        #[test]
        fn garbage(data in proptest::collection::vec(any::<u8>(), 0..400)) {
            fuzz_one(&data);
        }
    }

    #[test]
    fn endless_lines() {
        for verb in ["AUTH ", "MAIL ", "EHLO x\r\nMAIL ", "EHLO x\r\nAUTH PLAIN\r\n"] {
            for choice in [0x02, 0xF2] {
                let mut data = vec![choice];
                data.extend_from_slice(verb.as_bytes());
                data.extend(std::iter::repeat_n(b'A', 40_000));
                fuzz_one(&data);
            }
        }
    }
}
