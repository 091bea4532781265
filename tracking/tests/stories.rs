//! Stories as people read them, kept under `golden/`; `UPDATE_GOLDEN=1` writes them anew.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail loudly")]

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use waypost_base::Timestamp;
use waypost_base::explain::{Cause, Leg, Outcome, Party};
use waypost_base::id::Correlation;
use waypost_tracking::legs::{self, PastLeg};
use waypost_tracking::story::{Facts, Queued, QueuedState, QueuedTarget, Story, Viewer, tell};
use waypost_tracking::{Event, EventId, Message, Recipient, Record, Source};

const START: i64 = 1_772_525_720_114;
const ITEM: u64 = 1_858_605_000_000_000_001;
const ID: &str = "q3-figures@contoso.test";

/// What happened to a message, told step by step; each step is a second after the last.
struct Happened {
    message: Message<'static>,
    facts: Facts,
    steps: i64,
}

impl Happened {
    /// Amy submits it.
    fn submitted(to: &[&str]) -> Happened {
        let message = Message {
            item: ITEM,
            message_id: ID,
            subject: "Figures of the third quarter",
            sender: "amy@contoso.test",
            return_path: "amy@contoso.test",
            size: 2113,
            originating: true,
            client_ip: Some(ip("198.51.100.20")),
        };
        Happened::begin(message, "submission", "laptop.example", to)
    }

    /// It comes from outside.
    fn received(to: &[&str]) -> Happened {
        let message = Message {
            item: ITEM,
            message_id: ID,
            subject: "You have won",
            sender: "offers@spam.example",
            return_path: "",
            size: 900,
            originating: false,
            client_ip: Some(ip("203.0.113.5")),
        };
        Happened::begin(message, "smtp", "mail.spam.example", to)
    }

    fn begin(message: Message<'static>, door: &'static str, host: &'static str, to: &[&str]) -> Happened {
        let facts = Facts { message_id: ID.into(), queue: Some(Vec::new()), ..Facts::default() };
        let mut happened = Happened { message, facts, steps: 0 };
        let session = Correlation(0x1A).to_string();
        let to: Vec<Recipient<'_>> = to.iter().map(|a| Recipient::new(a, "")).collect();
        let client = message.client_ip;
        happened.event(|m, t| Event::receive(t, m, &session, &to).client(client, host).connector(door));
        happened
    }

    fn now(&mut self) -> Timestamp {
        self.steps += 1;
        Timestamp(START + self.steps * 1000)
    }

    fn event<'a>(&mut self, make: impl FnOnce(&Message<'static>, Timestamp) -> Event<'a>) {
        let time = self.now();
        let message = self.message;
        self.facts.events.push(Record::from_event(&make(&message, time)).unwrap());
    }

    fn plain(&mut self, event: EventId, source: Source, to: &str, status: &str, context: &str) {
        let to = [Recipient::new(to, status)];
        self.event(|m, t| Event { source_context: context, ..Event::of(t, &own(m), source, event).to(&to) });
    }

    fn leg(&mut self, leg: Leg) {
        let mut line = Vec::new();
        legs::append(self.now(), ID, Some(ITEM), &leg, &mut line);
        self.facts.legs.push(serde_json::from_slice::<PastLeg>(&line).unwrap());
    }

    fn holds(&mut self, address: &str, queue: &str, state: QueuedState) {
        let target = QueuedTarget { address: address.into(), queue: queue.into(), state };
        let queued = Queued {
            item: ITEM,
            expires: Timestamp(START + 172_800_000),
            targets: vec![target],
            ..Queued::default()
        };
        self.facts.queue.get_or_insert_default().push(queued);
    }

    fn told(mut self) -> Facts {
        self.facts.now = self.now();
        self.facts
    }
}

/// Lengthens nothing: the message's text is `'static` already.
fn own(message: &Message<'static>) -> Message<'static> {
    *message
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn sending(outcome: Outcome) -> Leg {
    let hub = Party::new("hub", "mail.contoso.test");
    let peer = Party::new("server", "mx.example.net [192.0.2.7]:25");
    let mut leg = Leg::start("smtp.send", hub, peer, Timestamp(START + 1500));
    leg.step("connect", 2100, None);
    leg.step("rcpt", 900, Some("451 4.3.0 come back later".into()));
    leg.outcome = outcome;
    leg.correlation = Some(Correlation(0x1B));
    leg
}

fn golden(name: &str, facts: &Facts, viewer: Viewer<'_>) -> Story {
    let story = tell(facts, viewer).expect("something to tell");
    let text = story.text();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, kept, "{name} differs; run with UPDATE_GOLDEN=1 and look at it");
    story
}

#[test]
fn delivered_locally() {
    let mut h = Happened::submitted(&["bob@contoso.test"]);
    h.plain(EventId::Deliver, Source::StoreDriver, "bob@contoso.test", "250 2.1.5 Ok", "");
    h.plain(EventId::Deliver, Source::StoreDriver, "amy@contoso.test", "", "");
    let story = golden("delivered", &h.told(), Viewer::Administrator);
    let json = serde_json::to_value(&story).unwrap();
    assert_eq!(json["passages"][0]["recipients"][0]["state"], "delivered");
    assert_eq!(json["passages"][0]["came"], "2026-03-03T08:15:21.114Z");
}

#[test]
fn sent() {
    let mut h = Happened::submitted(&["zoe@example.net"]);
    h.leg(sending(Outcome::Ok));
    let to = [Recipient::new("zoe@example.net", "250 2.0.0 Ok: queued as 4F")];
    let server = (Some(ip("192.0.2.7")), "mx.example.net");
    h.event(|m, t| Event::send(t, &own(m), "to the internet", server, &to));
    golden("sent", &h.told(), Viewer::Administrator);
}

fn deferred() -> Happened {
    let mut h = Happened::submitted(&["zoe@example.net"]);
    const LATER: Cause = Cause {
        code: "SMTP-4YZ",
        meaning: "The other server puts this mail off; the reason is on its side.",
        remedy: "Wait, or ask the other side's postmaster.",
        reference: "RFC 5321 §4.2.1",
    };
    h.leg(sending(Outcome::Failed { cause: LATER, text: "451 4.3.0 come back later".into(), retry: true }));
    let to = [Recipient::new("zoe@example.net", "451 4.3.0 come back later")];
    h.event(|m, t| {
        let event = Event::defer(t, &own(m), Source::Smtp, "2026-03-03T08:25:22.114Z", &to);
        event.server(Some(ip("192.0.2.7")), "mx.example.net").connector("to the internet")
    });
    h
}

#[test]
fn deferred_then_sent() {
    let mut h = deferred();
    let state = QueuedState::Deferred {
        reason: "451 4.3.0 come back later".into(),
        server: Some("mx.example.net [192.0.2.7]".into()),
        next: Timestamp(START + 600_000),
        attempts: 1,
    };
    h.holds("zoe@example.net", "server-1\\to the internet/example.net", state);
    let facts = Facts { now: Timestamp(START + 60_000), ..h.facts.clone() };
    golden("deferred", &facts, Viewer::Administrator);
    golden("deferred-sender", &facts, Viewer::User(&["Amy@contoso.test".into()]));
    assert!(tell(&facts, Viewer::User(&["eve@contoso.test".into()])).is_none());

    h.facts.queue = Some(Vec::new());
    let to = [Recipient::new("zoe@example.net", "250 2.0.0 Ok: queued as 50")];
    let server = (Some(ip("192.0.2.7")), "mx.example.net");
    h.event(|m, t| Event::send(t, &own(m), "to the internet", server, &to));
    golden("deferred-then-sent", &h.told(), Viewer::Administrator);
}

#[test]
fn returned_by_another_server() {
    let mut h = Happened::submitted(&["zoe@example.net"]);
    let to = [Recipient::new("zoe@example.net", "250 2.0.0 Ok: queued as 4F")];
    let server = (Some(ip("192.0.2.7")), "mx.example.net");
    h.event(|m, t| Event::send(t, &own(m), "to the internet", server, &to));
    let report = Message { item: ITEM + 9, message_id: "bounce@example.net", ..Message::default() };
    let back = [Recipient::new("amy@contoso.test", "")];
    h.event(|_, t| {
        let event = Event::receive(t, &report, "", &back).client(Some(ip("192.0.2.7")), "mx.example.net");
        event.reference(ID)
    });
    golden("returned", &h.told(), Viewer::Administrator);
}

#[test]
fn failed() {
    let mut h = Happened::submitted(&["nobody@example.net"]);
    let status = "550 5.1.1 <nobody@example.net>: no such user";
    let to = [Recipient::new("nobody@example.net", status)];
    h.event(|m, t| {
        Event::fail(t, &own(m), Source::Smtp, &to).server(Some(ip("192.0.2.7")), "mx.example.net")
    });
    let report = Message { item: ITEM + 1, message_id: "report-1@mail.contoso.test", ..Message::default() };
    let back = [Recipient::new("amy@contoso.test", "")];
    h.event(|_, t| Event::dsn(t, &report, ID, &back));
    golden("failed", &h.told(), Viewer::Administrator);
}

fn group() -> Happened {
    let mut h = Happened::submitted(&["team@contoso.test", "b.jones@contoso.test"]);
    let members = [Recipient::new("cid@contoso.test", ""), Recipient::new("dora@contoso.test", "")];
    h.event(|m, t| {
        Event::of(t, &own(m), Source::Resolver, EventId::Expand).to(&members).related("team@contoso.test")
    });
    let dora = [Recipient::new("dora@home.example", "")];
    h.event(|m, t| {
        Event::of(t, &own(m), Source::Resolver, EventId::Redirect).to(&dora).related("dora@contoso.test")
    });
    let bob = [Recipient::new("bob@contoso.test", "")];
    h.event(|m, t| {
        Event::of(t, &own(m), Source::Resolver, EventId::Resolve).to(&bob).related("b.jones@contoso.test")
    });
    let both = [Recipient::new("cid@contoso.test", ""), Recipient::new("bob@contoso.test", "")];
    h.event(|m, t| Event::deliver(t, &own(m), &both));
    h
}

#[test]
fn group_and_forward() {
    let mut h = group();
    h.holds("dora@home.example", "server-1\\Unreachable", QueuedState::Unreachable);
    let facts = h.told();
    golden("group-and-forward", &facts, Viewer::Administrator);
    let sender = golden("group-and-forward-sender", &facts, Viewer::User(&["amy@contoso.test".into()]));
    let text = format!("{} {}", sender.text(), serde_json::to_string(&sender).unwrap());
    for hidden in ["cid@", "dora", "home.example", "bob@"] {
        assert!(!text.contains(hidden), "the sender was told of {hidden}: {text}");
    }
    let member = golden("group-and-forward-member", &facts, Viewer::User(&["cid@contoso.test".into()]));
    let text = format!("{} {}", member.text(), serde_json::to_string(&member).unwrap());
    for hidden in ["bob@", "dora", "home.example", "jones"] {
        assert!(!text.contains(hidden), "a member was told of {hidden}: {text}");
    }
}

#[test]
fn quarantined() {
    let mut h = Happened::received(&["bob@contoso.test"]);
    let why = "virus-scanner: quarantine: Eicar-Test-Signature was found";
    h.plain(EventId::AgentInfo, Source::Agent, "bob@contoso.test", "", why);
    h.plain(EventId::Deliver, Source::StoreDriver, "bob@contoso.test", "", "");
    golden("quarantined", &h.told(), Viewer::Administrator);
    let mut h = Happened::received(&["bob@contoso.test"]);
    h.plain(EventId::AgentInfo, Source::Agent, "bob@contoso.test", "", "virus-scanner: discard: a worm");
    h.plain(EventId::Drop, Source::Agent, "bob@contoso.test", "", "");
    golden("dropped", &h.told(), Viewer::Administrator);
    let mut h = Happened::received(&["bob@contoso.test"]);
    h.plain(
        EventId::PoisonMessage,
        Source::PoisonMessage,
        "bob@contoso.test",
        "",
        "two crashes while it was sent",
    );
    h.holds(
        "bob@contoso.test",
        "server-1\\Poison",
        QueuedState::Poison("two crashes while it was sent".into()),
    );
    golden("poison", &h.told(), Viewer::Administrator);
}

#[test]
fn nothing_known_is_said_so() {
    let h = Happened::submitted(&["bob@contoso.test"]);
    let facts = Facts { since: Some(Timestamp(START)), ..h.told() };
    golden("vanished", &facts, Viewer::Administrator);
    let unread = Facts { queue: None, ..facts };
    golden("queue-unread", &unread, Viewer::Administrator);
    assert!(tell(&Facts::default(), Viewer::Administrator).is_none());
}

#[test]
fn forged_mail_tells_its_alleged_sender_nothing() {
    let mut h = Happened::received(&["bob@contoso.test"]);
    h.plain(EventId::Deliver, Source::StoreDriver, "bob@contoso.test", "", "");
    assert!(tell(&h.told(), Viewer::User(&["offers@spam.example".into()])).is_none());
}
