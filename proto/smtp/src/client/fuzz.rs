//! A whole client driven by arbitrary bytes: for fuzzing, and for the tests here.

use super::{Client, Config, Credentials, Out, Outcome, Outgoing, Recipient, StartTls};
use crate::path::Mailbox;
use crate::types::{BodyKind, Flavour};
use std::sync::Arc;
use waypost_base::Timestamp;

/// Drives a client with `data` as what the server says; the first two octets choose the settings and the message.
/// Panics only when an invariant of the client does not hold.
pub fn fuzz_one(data: &[u8]) {
    let Some((&[choice, shape], data)) = data.split_first_chunk::<2>() else { return };
    let flavour = if choice & 1 == 0 { Flavour::Smtp } else { Flavour::Lmtp };
    let mut config = Config::new(flavour, "me.example");
    config.starttls = match choice & 6 {
        0 => StartTls::Never,
        2 => StartTls::Required,
        _ => StartTls::IfOffered,
    };
    config.credentials =
        (choice & 8 != 0).then(|| Credentials { user: "ann".to_owned(), password: "xyzzy-plugh".to_owned() });
    config.auth_in_clear = true;
    config.chunking = choice & 16 != 0;
    config.log = true;
    let mut world = World {
        client: Client::new(Arc::new(config), false, Timestamp(0)),
        message: message(shape),
        begun: 0,
        done: 0,
        closed: 0,
    };
    let piece = usize::from(choice >> 5) * 8 + 1;
    let mut now = Timestamp(0);
    world.drain(now);
    for chunk in data.chunks(piece) {
        now = now.plus_millis(1);
        world.client.input(now, chunk);
        world.drain(now);
    }
    if choice & 64 != 0 {
        world.client.lost("end of stream");
    }
    world.drain(Timestamp(i64::MAX));
    assert!(world.client.is_closed() && world.closed == 1);
    assert_eq!(world.begun, world.done, "every message comes to an end");
}

fn message(shape: u8) -> Outgoing {
    let recipients = (0..shape & 3).map(|i| Recipient::new(Mailbox::new(format!("u{i}"), "b.example")));
    Outgoing {
        from: (shape & 4 == 0).then(|| Mailbox::new("ann", "me.example")),
        size: 10,
        body: if shape & 8 == 0 { BodyKind::SevenBit } else { BodyKind::EightBit },
        utf8: shape & 16 != 0,
        recipients: recipients.collect(),
        ..Outgoing::default()
    }
}

struct World {
    client: Client,
    message: Outgoing,
    begun: u32,
    done: u32,
    closed: u32,
}

impl World {
    fn drain(&mut self, now: Timestamp) {
        loop {
            while let Some(out) = self.client.poll(now) {
                assert_eq!(self.closed, 0, "nothing comes after Close");
                self.out(now, out);
            }
            if !self.client.wants_body() {
                return;
            }
            let mut wire = Vec::new();
            self.client.body(now, b".a\n.\rb", &mut wire);
            self.client.body(now, b"cdef", &mut wire);
            self.client.body_end(now, &mut wire);
            assert!(!wire.is_empty());
        }
    }

    fn out(&mut self, now: Timestamp, out: Out) {
        match out {
            Out::Send(bytes) => assert!(bytes.ends_with(b"\r\n") && !bytes.contains(&0)),
            Out::Heard(_) => {}
            Out::Said(line) => {
                assert!(!line.contains("xyzzy") && !line.contains("eHl6enk") && !line.contains("AGFub"));
            }
            Out::StartTls => self.client.tls_started(now),
            Out::Ready => self.next(now),
            Out::Done(delivery) => {
                self.done += 1;
                assert_eq!(delivery.outcomes.len(), self.message.recipients.len());
                let left = delivery.outcomes.iter().filter(|outcome| **outcome == Outcome::Left).count();
                assert!(left == 0 || left < delivery.outcomes.len(), "somebody is tried");
                self.next(now);
            }
            Out::Failed(_) => assert_eq!(self.begun, self.done),
            Out::WakeAt(at) => assert!(at > now),
            Out::Close => self.closed += 1,
        }
    }

    fn next(&mut self, now: Timestamp) {
        if !self.client.is_idle() {
            return;
        }
        if self.begun < 5 {
            self.begun += 1;
            self.client.send(now, self.message.clone());
        } else {
            self.client.quit(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn word() -> impl Strategy<Value = Vec<u8>> {
        let fixed: Vec<&'static [u8]> = vec![
            b"220 b.example\r\n",
            b"250 ok\r\n",
            b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n",
            b"250 ok\r\n250 ok\r\n",
            b"354 go\r\n",
            b"421 bye\r\n",
            b"450 later\r\n",
            b"550 5.1.1 no\r\n",
            b"235 ok\r\n",
            b"334 \r\n",
            b"250-b.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 100\r\n",
            b"250-b.example\r\n250-PIPELINING\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n",
            b"250-b.example\r\n250-CHUNKING\r\n250-AUTH PLAIN\r\n250 LIMITS RCPTMAX=1\r\n",
            b"250-b.example\r\n250-STARTTLS\r\n250 AUTH LOGIN\r\n",
            b"\r\n",
            b"25",
        ];
        prop_oneof![
            20 => proptest::sample::select(fixed).prop_map(<[u8]>::to_vec),
            1 => proptest::collection::vec(any::<u8>(), 0..6),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn words(choice in any::<[u8; 2]>(), words in proptest::collection::vec(word(), 0..30)) {
            let mut data = choice.to_vec();
            data.extend_from_slice(b"220 b.example\r\n");
            data.extend(words.concat());
            fuzz_one(&data);
        }

        #[test]
        fn garbage(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            fuzz_one(&data);
        }
    }
}
