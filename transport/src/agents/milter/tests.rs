use super::*;
use crate::world::{NOW, Seen};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use waypost_smtp::MailParams;
use waypost_store::Store;

/// What a filter does with a command: its answers, each a packet's payload. No answer: it hangs. `!`: it hangs up.
type Behaviour = fn(command: u8, data: &[u8]) -> Vec<&'static [u8]>;

#[derive(Clone)]
struct Filters {
    behaviour: BTreeMap<u16, Behaviour>,
    heard: Arc<Mutex<Vec<String>>>,
}

impl OpenMilter for Filters {
    fn open(&self, address: MilterAddress) -> Opening {
        let MilterAddress::Tcp { port, .. } = address else { panic!("{address}") };
        let found = self.behaviour.get(&port).copied();
        let heard = self.heard.clone();
        Box::pin(async move {
            let behaviour = found.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionRefused))?;
            let (ours, theirs) = tokio::io::duplex(4096);
            tokio::spawn(serve(theirs, port, behaviour, heard));
            Ok(Box::new(ours) as BoxStream)
        })
    }
}

async fn serve(mut stream: DuplexStream, port: u16, behaviour: Behaviour, heard: Arc<Mutex<Vec<String>>>) {
    while let Ok(length) = stream.read_u32().await {
        let mut packet = vec![0; length as usize];
        stream.read_exact(&mut packet).await.unwrap();
        let (command, data) = packet.split_first().unwrap();
        let shown: String = String::from_utf8_lossy(&packet).replace('\0', "|").chars().take(60).collect();
        heard.lock().unwrap().push(format!("{port} {}", shown.trim_end_matches('|').escape_debug()));
        for answer in behaviour(*command, data) {
            if answer == b"!" {
                return;
            }
            stream.write_u32(u32::try_from(answer.len()).unwrap()).await.unwrap();
            stream.write_all(answer).await.unwrap();
        }
    }
}

const AGREED: &[u8] = &[b'O', 0, 0, 0, 6, 0, 0, 1, 0xFF, 0, 0, 0, 0];
/// Nothing but the end of the message is wanted, and recipients.
const TERSE: &[u8] = &[b'O', 0, 0, 0, 6, 0, 0, 1, 0xFF, 0, 0, 0x03, 0x77];

fn plain(command: u8) -> Vec<&'static [u8]> {
    match command {
        b'O' => vec![AGREED],
        b'D' | b'Q' | b'A' => vec![],
        _ => vec![b"c"],
    }
}

fn agreeable(command: u8, _: &[u8]) -> Vec<&'static [u8]> {
    plain(command)
}

fn about() -> About {
    About {
        session: Correlation(7),
        id: "7-1".into(),
        peer: "192.0.2.1:4000".parse().unwrap(),
        local: "192.0.2.25:25".parse().unwrap(),
        host: "mx.contoso.test".into(),
        helo: "client.example".into(),
        tls: Some("TLSv1.3 TLS_AES_256_GCM_SHA384".into()),
        connector: "Default Frontend".into(),
        account: None,
        mechanism: "",
        trusted: false,
        submission: false,
        from: Some(Mailbox::new("x", "example.net")),
        params: MailParams::default(),
        recipients: vec![Mailbox::new("ann", "contoso.test"), Mailbox::new("ben", "contoso.test")],
        has_remote: false,
        now: NOW,
    }
}

struct World {
    agent: MilterAgent,
    filters: Filters,
    seen: Arc<Seen>,
    draft: Draft,
}

fn world(behaviour: &[Behaviour], change: fn(&mut MilterSettings)) -> World {
    let mut filters = Filters { behaviour: BTreeMap::new(), heard: Arc::default() };
    let mut settings = Vec::new();
    for (port, behaviour) in (1..).zip(behaviour) {
        filters.behaviour.insert(port, *behaviour);
        let mut one =
            MilterSettings::new(format!("f{port}"), MilterAddress::Tcp { host: "127.0.0.1".into(), port });
        change(&mut one);
        settings.push(one);
    }
    let seen = Arc::new(Seen::default());
    let agent = MilterAgent::new(settings, Arc::new(filters.clone()), Some(seen.clone()));
    let message = b"Subject: hi\r\nMessage-ID: <m@example.net>\r\nX-Old: 1\r\n\r\nHello\r\n";
    World { agent, filters, seen, draft: Draft::new(Store::memory().blobs().clone(), message) }
}

impl World {
    /// MAIL, both recipients, and the message.
    async fn whole(&mut self) -> Verdict {
        let about = about();
        let verdict = self.agent.mail(&about).await;
        if verdict != Verdict::Pass {
            return verdict;
        }
        for to in &about.recipients {
            let verdict = self.agent.rcpt(&about, to).await;
            if verdict != Verdict::Pass {
                return verdict;
            }
        }
        let verdict = self.agent.message(&about, &mut self.draft).await;
        // The filters read their good-bye.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        verdict
    }

    async fn text(&self) -> String {
        String::from_utf8(self.draft.read().collect().await.unwrap()).unwrap()
    }

    fn legs(&self) -> Vec<String> {
        let legs = self.seen.legs.lock().unwrap();
        legs.iter().map(|(id, leg)| format!("{id}: {} {}", leg.acceptor.name, leg.outcome)).collect()
    }
}

fn reply(verdict: Verdict) -> String {
    match verdict {
        Verdict::Reject(reply) | Verdict::Defer(reply) => reply.to_string(),
        verdict => panic!("{verdict:?}"),
    }
}

#[tokio::test]
async fn a_filter_hears_everything() {
    let mut w = world(&[agreeable], |_| {});
    assert_eq!(w.whole().await, Verdict::Pass);
    assert_eq!(w.legs(), ["m@example.net: f1 inet:127.0.0.1@1 ok"]);
    assert!(!w.draft.is_changed());
    let heard = w.filters.heard.lock().unwrap().clone();
    let commands: Vec<&str> = heard.iter().map(|line| &line[2..]).filter(|l| !l.starts_with('D')).collect();
    assert_eq!(
        commands[1..],
        [
            "C[192.0.2.1]|4\\u{f}\u{FFFD}192.0.2.1",
            "Hclient.example",
            "M<x@example.net>",
            "R<ann@contoso.test>",
            "R<ben@contoso.test>",
            "T",
            "LSubject|hi",
            "LMessage-ID|<m@example.net>",
            "LX-Old|1",
            "N",
            "BHello\\r\\n",
            "E",
            "Q"
        ]
    );
    assert!(
        heard.iter().any(|l| l.starts_with("1 DMi|7-1|{mail_addr}|x@example.net|{mail_host}|example.net")),
        "{heard:?}"
    );
    assert!(heard.iter().any(|l| l.contains("DH{tls_version}|TLSv1.3|{cipher}|TLS_AES_256")), "{heard:?}");
}

#[tokio::test]
async fn changes_are_made_and_the_next_filter_sees_them() {
    fn first(command: u8, _: &[u8]) -> Vec<&'static [u8]> {
        match command {
            b'E' => vec![
                b"hX-New\0one\n two\0",
                b"i\0\0\0\0X-Top\0t\0",
                b"m\0\0\0\x01X-Old\0\0",
                b"m\0\0\0\x01Subject\0bye\0",
                b"p",
                b"bNew ",
                b"bbody\r\n",
                b"+<eve@contoso.test>\0",
                b"-<ben@contoso.test>\0",
                b"e<y@example.net>\0",
                b"-<nobody>\0",
                b"c",
            ],
            _ => plain(command),
        }
    }
    fn second(command: u8, data: &[u8]) -> Vec<&'static [u8]> {
        match command {
            b'O' => vec![TERSE],
            b'E' => vec![b"hX-Spam\0Yes\0", b"a"],
            _ => agreeable(command, data),
        }
    }
    let mut w = world(&[first, second], |_| {});
    assert_eq!(w.whole().await, Verdict::Junk { why: "the mail filter f2 calls it spam".into() });
    assert_eq!(
        w.text().await,
        "X-Top: t\r\nSubject: bye\r\nMessage-ID: <m@example.net>\r\nX-New: one\r\n two\r\nX-Spam: Yes\r\n\r\nNew body\r\n"
    );
    let envelope = w.draft.envelope();
    assert_eq!(envelope.added, [Mailbox::new("eve", "contoso.test")]);
    assert_eq!(envelope.removed, [Mailbox::new("ben", "contoso.test")]);
    assert_eq!(envelope.from, Some(Some(Mailbox::new("y", "example.net"))));
    let heard = w.filters.heard.lock().unwrap();
    let second: Vec<&String> = heard.iter().filter(|l| l.starts_with('2') && !l.starts_with("2 D")).collect();
    assert_eq!(second[1..], ["2 R<ann@contoso.test>", "2 R<ben@contoso.test>", "2 E", "2 Q"]);
}

#[tokio::test]
async fn refusals_at_each_step() {
    fn at_connect(command: u8, _: &[u8]) -> Vec<&'static [u8]> {
        if command == b'C' { vec![b"r"] } else { plain(command) }
    }
    fn at_mail(command: u8, _: &[u8]) -> Vec<&'static [u8]> {
        if command == b'M' { vec![b"y451 4.7.1 greylisted\0"] } else { plain(command) }
    }
    fn at_rcpt(command: u8, data: &[u8]) -> Vec<&'static [u8]> {
        if command == b'R' && data.starts_with(b"<ben") { vec![b"t"] } else { plain(command) }
    }
    fn at_header(command: u8, _: &[u8]) -> Vec<&'static [u8]> {
        if command == b'L' { vec![b"y550 5.7.1 100%% spam\0"] } else { plain(command) }
    }
    fn at_end(command: u8, _: &[u8]) -> Vec<&'static [u8]> {
        if command == b'E' { vec![b"hX-A\0b\0", b"r"] } else { plain(command) }
    }
    for (behaviour, text) in [
        (at_connect as Behaviour, "550 5.7.1 Refused by the mail filter f1"),
        (at_mail, "451 4.7.1 greylisted"),
        (at_rcpt, "451 4.7.1 The mail filter f1 asks to try again later"),
        (at_header, "550 5.7.1 100% spam"),
        (at_end, "550 5.7.1 Refused by the mail filter f1"),
    ] {
        let mut w = world(&[behaviour, agreeable], |_| {});
        assert_eq!(reply(w.whole().await), text);
        assert!(!w.draft.is_changed());
        // The same without having been told before.
        let w2 = world(&[behaviour, agreeable], |_| {});
        assert_eq!(reply(w2.agent.message(&about(), &mut w.draft).await), text);
        w.agent.disconnect(about().session);
        assert!(w.agent.talks().is_empty());
    }
}

#[tokio::test]
async fn other_verdicts() {
    fn discard(command: u8, _: &[u8]) -> Vec<&'static [u8]> {
        if command == b'M' { vec![b"d"] } else { plain(command) }
    }
    fn accept(command: u8, _: &[u8]) -> Vec<&'static [u8]> {
        if command == b'M' { vec![b"a"] } else { plain(command) }
    }
    fn quarantine(command: u8, _: &[u8]) -> Vec<&'static [u8]> {
        if command == b'E' { vec![b"qodd\0", b"c"] } else { plain(command) }
    }
    let why = "the mail filter f1 throws it away".to_owned();
    assert_eq!(world(&[discard, agreeable], |_| {}).whole().await, Verdict::Discard { why });
    let mut w = world(&[accept], |_| {});
    assert_eq!(w.whole().await, Verdict::Pass);
    assert!(!w.filters.heard.lock().unwrap().iter().any(|l| l.starts_with("1 R") || l.starts_with("1 E")));
    let why = "f1: odd".to_owned();
    assert_eq!(world(&[quarantine, agreeable], |_| {}).whole().await, Verdict::Quarantine { why });
}

#[tokio::test(start_paused = true)]
async fn filters_that_fail() {
    fn hangs(command: u8, _: &[u8]) -> Vec<&'static [u8]> {
        if command == b'E' { vec![] } else { plain(command) }
    }
    fn hangs_up(command: u8, _: &[u8]) -> Vec<&'static [u8]> {
        if command == b'R' { vec![b"!"] } else { plain(command) }
    }
    fn babbles(command: u8, _: &[u8]) -> Vec<&'static [u8]> {
        if command == b'M' { vec![b"hX-A\0b\0"] } else { plain(command) }
    }
    for (behaviour, said) in [
        (hangs as Behaviour, "no answer within 30 seconds"),
        (hangs_up, "connection lost"),
        (babbles, "does not keep to the protocol"),
    ] {
        let mut w = world(&[behaviour, agreeable], |_| {});
        assert_eq!(reply(w.whole().await), "451 4.7.1 Mail cannot be checked now, try again later");
        w.agent.disconnect(about().session);
        let mut w = world(&[behaviour, agreeable], |s| s.failure = FailureAction::Reject);
        assert_eq!(reply(w.whole().await), "550 5.7.1 Mail cannot be checked, and is refused");
        let mut w = world(&[behaviour, agreeable], |s| s.failure = FailureAction::Accept);
        assert_eq!(w.whole().await, Verdict::Pass);
        let legs = w.legs();
        assert_eq!(legs.len(), 2);
        assert!(
            legs[0].contains("f1") && legs[0].contains("MILTER-FAILED") && legs[0].contains(said),
            "{legs:?}"
        );
        assert_eq!(legs[1], "m@example.net: f2 inet:127.0.0.1@2 ok");
    }
    let w = world(&[], |_| {});
    w.agent
        .set_filters(vec![MilterSettings::new("gone", MilterAddress::Tcp { host: "::1".into(), port: 9 })]);
    assert!(w.agent.wants(&about()));
    assert_eq!(reply(w.agent.mail(&about()).await), "451 4.7.1 Mail cannot be checked now, try again later");
    assert!(
        w.legs()[0].contains("gone inet:::1@9 failed [MILTER-FAILED] cannot be reached"),
        "{:?}",
        w.legs()
    );
}

#[tokio::test]
async fn whose_mail_is_seen() {
    let mut ours = about();
    ours.submission = true;
    for (scope, strangers, own) in [
        (MilterScope::All, true, true),
        (MilterScope::Inbound, true, false),
        (MilterScope::Outbound, false, true),
    ] {
        let w = world(&[], |_| {});
        assert_eq!(w.agent.stages(), Stages::default());
        let mut settings = MilterSettings::new("f", SocketAddr::from(([127, 0, 0, 1], 9)).into());
        settings.scope = scope;
        w.agent.set_filters(vec![settings]);
        assert_eq!((w.agent.wants(&about()), w.agent.wants(&ours)), (strangers, own));
    }
}

#[tokio::test]
async fn a_message_that_was_given_up_leaves_nothing() {
    let mut w = world(&[agreeable], |_| {});
    let about = about();
    assert_eq!(w.agent.mail(&about).await, Verdict::Pass);
    w.agent.reset(about.session);
    assert!(w.agent.talks().is_empty());
    assert_eq!(w.agent.rcpt(&about, &about.recipients[0]).await, Verdict::Pass);
    assert_eq!(w.agent.message(&about, &mut w.draft).await, Verdict::Pass);
    assert!(w.agent.talks().is_empty());
}

/// A whole conversation: the filter refuses one recipient, takes another one's place by a third, and marks spam.
#[tokio::test(start_paused = true)]
async fn over_smtp() {
    use crate::accept::Kind;
    fn filter(command: u8, data: &[u8]) -> Vec<&'static [u8]> {
        match command {
            b'R' if data.starts_with(b"<cat") => vec![b"y450 4.2.0 Greylisted\0"],
            b'E' => vec![
                b"-<ann@contoso.test>\0",
                b"+<ben@contoso.test>\0",
                b"+<nobody@contoso.test>\0",
                b"hX-Filter\0seen\0",
                b"c",
            ],
            _ => plain(command),
        }
    }
    let made = world(&[filter], |_| {});
    let agent = Arc::new(made.agent);
    let world = crate::world::World::with_agents(vec![agent.clone()]).await;
    let mut talk = world.connect(Kind::Smtp);
    talk.script("S: 220 mx.contoso.test ESMTP Waypost").await;
    talk.ehlo("EHLO").await;
    talk.script(
        "
        C: MAIL FROM:<pat@elsewhere.example>
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<cat@contoso.test>
        S: 450 4.2.0 Greylisted
        C: RCPT TO:<ann@contoso.test>
        S: 250 2.1.5 Recipient OK
        C: RSET
        S: 250 *
        C: MAIL FROM:<pat@elsewhere.example>
        S: 250 2.1.0 Sender OK
        C: RCPT TO:<ann@contoso.test>
        S: 250 2.1.5 Recipient OK
        C: DATA
        S: 354 *
        C: From: pat@elsewhere.example
        C: Subject: hi
        C:
        C: text
        C: .
        S: 250 *
        C: MAIL FROM:<pat@elsewhere.example>
        S: 250 2.1.0 Sender OK
        C: QUIT
        S: 221 2.0.0 Goodbye
    ",
    )
    .await;
    talk.task.await.unwrap();
    world.work().await;
    assert!(world.inbox("ann").await.is_empty());
    let got = world.inbox("ben").await;
    assert!(got.len() == 1 && got[0].contains("Subject: hi\r\nX-Filter: seen\r\n\r\ntext\r\n"), "{got:?}");
    assert!(agent.talks().is_empty(), "nothing is left of a session");
}
