//! Our client against our own server, without a socket between them: whatever the server can do, and in whatever pieces
//! the octets travel, the message that arrives is the one that was meant.

use proptest::prelude::*;
use std::sync::Arc;
use waypost_base::Timestamp;
use waypost_smtp::client::{self, Client, Delivery, Outcome, Outgoing, Recipient, Stage};
use waypost_smtp::{
    Answer, AuthStep, BodyKind, Config, Flavour, Mailbox, Mechanism, Out, Question, Reply, Session, Status,
    Tls,
};

const NOW: Timestamp = Timestamp(0);
const KEYWORDS: [&str; 5] = ["PIPELINING", "CHUNKING", "DSN", "SIZE", "ENHANCEDSTATUSCODES"];

/// The server, whose EHLO reply lacks the keywords that are `hidden`.
struct Server {
    session: Session,
    hidden: Vec<&'static str>,
    buffer: Vec<u8>,
    said: Vec<u8>,
    body: Vec<u8>,
    got: Vec<Vec<u8>>,
    recipients: Vec<String>,
    tls: bool,
    closed: bool,
}

impl Server {
    fn new(flavour: Flavour, hidden: Vec<&'static str>) -> Server {
        let mut config = Config::new(flavour, "b.example");
        config.starttls = true;
        config.auth = vec![Mechanism { name: "PLAIN", in_clear: false, binding: false }];
        Server {
            session: Session::new(Arc::new(config), None, NOW),
            hidden,
            buffer: Vec::new(),
            said: Vec::new(),
            body: Vec::new(),
            got: Vec::new(),
            recipients: Vec::new(),
            tls: false,
            closed: false,
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        loop {
            let buffer = std::mem::take(&mut self.buffer);
            self.drain(&buffer);
            let used = self.session.input(NOW, &buffer);
            self.drain(&buffer);
            self.buffer = buffer[used..].to_vec();
            if used == 0 {
                return;
            }
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let lines = text.lines().filter(|line| !self.hidden.iter().any(|word| line[4..].starts_with(word)));
        lines.for_each(|line| self.said.extend_from_slice(format!("{line}\r\n").as_bytes()));
    }

    fn drain(&mut self, buffer: &[u8]) {
        while let Some(out) = self.session.poll(NOW) {
            match out {
                Out::Send(bytes) => self.say(&bytes),
                Out::Ask(id, question) => {
                    let answer = self.answer(question);
                    self.session.reply(NOW, id, answer);
                }
                Out::Body(range) => self.body.extend_from_slice(&buffer[range]),
                Out::Reset => self.body.clear(),
                Out::StartTls => self.tls = true,
                Out::Close => self.closed = true,
                Out::Heard { .. } | Out::WakeAt(_) => {}
            }
        }
    }

    fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::Mail { from, .. } => {
                self.recipients.clear();
                match from {
                    Some(from) if from.local == "bad" => {
                        Answer::Refuse(Reply::new(550, Status(5, 7, 1), "Not you"))
                    }
                    _ => Answer::Ok,
                }
            }
            Question::Rcpt { to, .. } if to.local.starts_with("no") => {
                Answer::Refuse(Reply::new(550, Status(5, 1, 1), "No such user"))
            }
            Question::Rcpt { to, .. } => {
                self.recipients.push(to.local);
                Answer::Ok
            }
            Question::Begin => {
                self.body.clear();
                Answer::Ok
            }
            Question::Finish { .. } => {
                self.got.push(std::mem::take(&mut self.body));
                if *self.session_flavour() == Flavour::Lmtp {
                    let each = self.recipients.iter();
                    return Answer::Each(
                        each.map(|name| Reply::with(250, Status(2, 0, 0), name.clone())).collect(),
                    );
                }
                Answer::Ok
            }
            Question::Auth(AuthStep::Start { initial: Some(bytes), .. }) if bytes == b"\0ann\0pass" => {
                Answer::SignedIn("ann".to_owned())
            }
            _ => Answer::Refuse(Reply::new(535, Status(5, 7, 8), "No")),
        }
    }

    fn session_flavour(&self) -> &Flavour {
        if self.session.helo().is_some_and(|(name, _)| name == "lmtp.example") {
            &Flavour::Lmtp
        } else {
            &Flavour::Smtp
        }
    }
}

/// Sends `messages` over one connection, `size` octets at a time both ways.
fn exchange(
    flavour: Flavour,
    hidden: Vec<&'static str>,
    messages: &[(Outgoing, Vec<u8>)],
    size: usize,
) -> (Vec<Delivery>, Vec<Vec<u8>>) {
    let host = if flavour == Flavour::Lmtp { "lmtp.example" } else { "me.example" };
    let mut config = client::Config::new(flavour, host);
    config.credentials = Some(client::Credentials { user: "ann".into(), password: "pass".into() });
    let mut client = Client::new(Arc::new(config), false, NOW);
    let mut server = Server::new(flavour, hidden);
    let (mut wire, mut deliveries, mut next, mut at, mut closed) = (Vec::new(), Vec::new(), 0, 0, false);
    for _ in 0..1_000_000 {
        while let Some(out) = client.poll(NOW) {
            match out {
                client::Out::Send(bytes) => wire.extend_from_slice(&bytes),
                client::Out::StartTls => {
                    assert!(server.tls && server.said.is_empty() && wire.is_empty());
                    server.session.tls_started(NOW, Tls { binding: false });
                    client.tls_started(NOW);
                }
                client::Out::Failed(failure) => panic!("{failure}"),
                client::Out::Close => closed = true,
                client::Out::Ready => {}
                client::Out::Done(delivery) => deliveries.push(*delivery),
                client::Out::Said(_) | client::Out::Heard(_) | client::Out::WakeAt(_) => {}
            }
        }
        if closed {
            assert!(server.closed && wire.is_empty());
            return (deliveries, server.got);
        }
        if client.is_idle() {
            match messages.get(next) {
                Some((message, _)) => client.send(NOW, message.clone()),
                None => client.quit(NOW),
            }
            (next, at) = (next + 1, 0);
            continue;
        }
        if client.wants_body() {
            let body = &messages[next - 1].1;
            let end = (at + size).min(body.len());
            if at == end {
                client.body_end(NOW, &mut wire);
            } else {
                client.body(NOW, &body[at..end], &mut wire);
            }
            at = end;
        }
        let take = wire.len().min(size);
        let bytes: Vec<u8> = wire.drain(..take).collect();
        server.feed(&bytes);
        let take = server.said.len().min(size);
        let bytes: Vec<u8> = server.said.drain(..take).collect();
        client.input(NOW, &bytes);
    }
    panic!("it goes round in circles at {:?}", client.stage());
}

/// Every line with CRLF, the last one too.
fn normalised(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = message.iter().copied().peekable();
    while let Some(b) = bytes.next() {
        match b {
            b'\r' => {
                bytes.next_if_eq(&b'\n');
                out.extend_from_slice(b"\r\n");
            }
            b'\n' => out.extend_from_slice(b"\r\n"),
            b => out.push(b),
        }
    }
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn message(from: &str, names: &[&str], size: usize) -> Outgoing {
    Outgoing {
        from: Some(Mailbox::new(from, "me.example")),
        size: size as u64,
        body: BodyKind::EightBit,
        recipients: names.iter().map(|n| Recipient::new(Mailbox::new(*n, "b.example"))).collect(),
        ..Outgoing::default()
    }
}

fn check(flavour: Flavour, hidden: Vec<&'static str>, bodies: [&[u8]; 2], size: usize) {
    let chunked = !hidden.contains(&"CHUNKING");
    let make = |from: &str, names: &[&str], body: &[u8]| (message(from, names, body.len()), body.to_vec());
    let messages = [
        make("ann", &["x", "no1", "y"], bodies[0]),
        make("bad", &["x"], bodies[0]),
        make("ann", &["no1", "no2"], bodies[1]),
        make("ann", &["z"], bodies[1]),
    ];
    let (deliveries, got) = exchange(flavour, hidden, &messages, size);
    let wanted = |body: &[u8]| if chunked { body.to_vec() } else { normalised(body) };
    assert_eq!(got, [wanted(bodies[0]), wanted(bodies[1])]);
    let stages: Vec<Vec<Option<Stage>>> = deliveries
        .iter()
        .map(|delivery| {
            let stage = |outcome: &Outcome| match outcome {
                Outcome::Accepted { .. } => None,
                Outcome::Refused { stage, .. } => Some(*stage),
                outcome => panic!("{outcome:?}"),
            };
            delivery.outcomes.iter().map(stage).collect()
        })
        .collect();
    let (mail, rcpt) = (Some(Stage::Mail), Some(Stage::Rcpt));
    assert_eq!(stages, [vec![None, rcpt, None], vec![mail], vec![rcpt, rcpt], vec![None]]);
}

#[test]
fn all_combinations() {
    for flavour in [Flavour::Smtp, Flavour::Lmtp] {
        for mask in 0..1u32 << KEYWORDS.len() {
            let words = KEYWORDS.iter().enumerate().filter(|(i, _)| mask & (1 << i) != 0);
            let hidden: Vec<&str> = words.map(|(_, word)| *word).collect();
            for size in [1, 7, 100_000] {
                check(flavour, hidden.clone(), [b"Subject: x\r\n\r\n.\r\nHi\r\n", b""], size);
            }
        }
    }
}

#[test]
fn large_ones() {
    let body = b"Subject: many lines\r\n.and a dot\r\n".repeat(6000);
    for hidden in [vec![], vec!["CHUNKING"], vec!["PIPELINING"], vec!["PIPELINING", "CHUNKING"]] {
        check(Flavour::Smtp, hidden.clone(), [&body, b"x"], 10_000);
        check(Flavour::Lmtp, hidden, [&body, b"x"], 65_536);
    }
}

/// The chunks of a message whose sender is refused are on their way before that is known; the connection lives on.
#[test]
fn many_chunks_of_a_refused_message() {
    check(Flavour::Smtp, vec![], [&[b'.'; 200], b"x"], 1);
    check(Flavour::Lmtp, vec![], [&[b'.'; 200], b"x"], 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn any_message_arrives(
        body in proptest::collection::vec(prop_oneof![Just(b'.'), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..120),
        size in 1usize..40, mask in 0u32..32, lmtp in any::<bool>())
    {
        let words = KEYWORDS.iter().enumerate().filter(|(i, _)| mask & (1 << i) != 0);
        let hidden: Vec<&str> = words.map(|(_, word)| *word).collect();
        check(if lmtp { Flavour::Lmtp } else { Flavour::Smtp }, hidden, [&body, b".\r\n"], size);
    }
}
