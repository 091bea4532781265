//! SMTP sessions that are handed over from one server to another, both of them in memory.

use super::{Kind, resume};
use crate::state::ComponentState;
use crate::world::{Talk, World};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use waypost_base::explain::{Leg, Outcome, Party};
use waypost_base::{AccountId, Timestamp};
use waypost_trust::ServerId;
use waypost_trust::channel::BoxStream;
use waypost_trust::leg::{Arrived, Hello, Opened, Opening, Verdict, frame};
use waypost_trust::proxy::{FRONTEND_TRANSPORT, Home, Homes, UNAVAILABLE, not_opened};

/// base64 of `\0ann\0<PASSWORD>`
const ANN: &str = "AGFubgBjb3JyZWN0IGhvcnNlIGJhdHRlcnkgc3RhcGxl";
/// base64 of `\0ann\0wrong password`
const WRONG: &str = "AGFubgB3cm9uZyBwYXNzd29yZA==";

/// Other servers, by id. All accounts are at `home`.
#[derive(Default)]
struct Between {
    servers: BTreeMap<&'static str, Arc<World>>,
    hubs: Option<Vec<String>>,
    state: Mutex<Option<String>>,
    hellos: Mutex<Vec<(String, Hello)>>,
}

impl Homes for Between {
    fn home(&self, _: AccountId) -> Home {
        Home::There("home".into())
    }

    fn hubs(&self) -> Option<Vec<String>> {
        self.hubs.clone()
    }

    fn out_of_service(&self, component: &str) -> Option<String> {
        assert_eq!(component, FRONTEND_TRANSPORT);
        self.state.lock().unwrap().clone()
    }

    fn open<'a>(&'a self, to: &'a str, hello: Hello) -> Opening<'a> {
        self.hellos.lock().unwrap().push((to.to_owned(), hello.clone()));
        let world = self.servers.get(to).cloned();
        Box::pin(async move {
            let Some(world) = world else {
                let text = format!("{to} cannot be reached");
                return Err(not_opened(to, &hello, UNAVAILABLE, text, true));
            };
            let (near, far) = tokio::io::duplex(256 * 1024);
            let leg = Leg::start("inner.smtp", Party::new("", ""), Party::new("", to), Timestamp(1));
            let from = ServerId::parse("front").unwrap();
            let arrived = Arrived { stream: Box::new(far), from, hello: hello.clone(), leg: leg.clone() };
            tokio::spawn(resume(arrived, world.hub.clone()));
            let mut stream: BoxStream = Box::new(near);
            match frame::read(&mut stream).await.unwrap() {
                Verdict::Welcome { answer } => Ok(Opened { stream, answer, leg, finding: None }),
                Verdict::Refused(no) => {
                    let mut failed = not_opened(to, &hello, UNAVAILABLE, no.text, no.elsewhere);
                    failed.answer = no.answer;
                    Err(failed)
                }
            }
        })
    }
}

/// A front end with these servers behind it.
async fn front(servers: &[(&'static str, &Arc<World>)], hubs: Option<&[&str]>) -> (World, Arc<Between>) {
    let front = World::with_passwords().await;
    let between = Arc::new(Between {
        servers: servers.iter().map(|(id, world)| (*id, (*world).clone())).collect(),
        hubs: hubs.map(|hubs| hubs.iter().map(|id| (*id).to_owned()).collect()),
        ..Between::default()
    });
    front.hub.set_homes(between.clone());
    (front, between)
}

async fn greeted(world: &World, kind: Kind, peer: &str) -> Talk {
    let mut talk = world.connect_from(kind, peer);
    talk.line().await;
    talk.ehlo("EHLO").await;
    talk
}

#[tokio::test(start_paused = true)]
async fn submission_goes_on_at_the_home() {
    let home = Arc::new(World::with_passwords().await);
    let (world, between) = front(&[("home", &home)], Some(&[])).await;
    let mut talk = greeted(&world, Kind::Submissions, "198.51.100.7:4000").await;
    // What the client sends after AUTH without waiting is the home's.
    talk.send(
        format!(
            "AUTH PLAIN {WRONG}\r\nAUTH PLAIN {ANN}\r\nMAIL FROM:<ben@contoso.test>\r\nMAIL FROM:<ann@contoso.test>\r\n\
             RCPT TO:<ben@contoso.test>\r\nDATA\r\n"
        )
        .as_bytes(),
    )
    .await;
    talk.script(
        "
        S: 535 5.7.8 Authentication credentials invalid
        S: 235 2.7.0 Authentication successful
        S: 550 5.7.60 You may not send as this address
        S: 250 2.1.0 Sender OK
        S: 250 2.1.5 Recipient OK
        S: 354 *
        C: Subject: through the front
        C:
        C: text
        C: .
        S: 250 *
        C: AUTH PLAIN AGFubgB4
        S: 503 5.5.1 Authenticated already
        C: QUIT
        S: 221 2.0.0 Goodbye
    ",
    )
    .await;
    assert_eq!(talk.rest().await, "");
    talk.task.await.unwrap();
    let message = &home.inbox("ben").await[0];
    // The client's own address and TLS, not the front end's.
    assert!(message.contains("[198.51.100.7]") && message.contains("with ESMTPSA"), "{message}");
    assert!(world.inbox("ben").await.is_empty());
    let (to, hello) = between.hellos.lock().unwrap()[0].clone();
    assert_eq!((to.as_str(), hello.service.name()), ("home", "submission"));
    assert_eq!(hello.detail["helo"][0], "client.example");
    assert!(!hello.detail.to_string().contains("horse"), "no password goes along");
    let legs = world.seen.legs.lock().unwrap();
    let told: Vec<_> =
        legs.iter().map(|(_, leg)| (leg.operation.to_string(), leg.outcome == Outcome::Ok)).collect();
    assert_eq!(told, [("submission.proxy".to_owned(), true)]);
}

#[tokio::test(start_paused = true)]
async fn a_home_that_is_down_is_no_wrong_password() {
    let (world, _) = front(&[], Some(&[])).await;
    let mut talk = greeted(&world, Kind::Submissions, "198.51.100.7:4000").await;
    talk.script(&format!(
        "
        C: AUTH PLAIN {ANN}
        S: 454 4.7.0 Authentication is unavailable now, please try again later
        C: AUTH PLAIN {WRONG}
        S: 535 5.7.8 Authentication credentials invalid
        C: AUTH PLAIN {ANN}
        S: 454 4.7.0 *
        C: MAIL FROM:<ann@contoso.test>
        S: 530 5.7.0 Authentication required
    "
    ))
    .await;
    let home = Arc::new(World::with_passwords().await);
    home.hub.set_state(ComponentState::Draining);
    let (world, _) = front(&[("home", &home)], Some(&[])).await;
    let mut talk = greeted(&world, Kind::Submissions, "198.51.100.7:4000").await;
    talk.script(&format!("C: AUTH PLAIN {ANN}\nS: 454 4.7.0 *")).await;
    let legs = world.seen.legs.lock().unwrap();
    assert!(
        matches!(&legs[0].1.outcome, Outcome::Failed { text, .. } if text == "HubTransport is Draining"),
        "{legs:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn strangers_are_handed_to_a_hub_with_their_first_mail() {
    let (one, two) = (Arc::new(World::new().await), Arc::new(World::new().await));
    one.hub.set_state(ComponentState::Draining);
    let (world, between) = front(&[("one", &one), ("two", &two)], Some(&["none", "one", "two"])).await;
    let mut talk = greeted(&world, Kind::Smtp, "203.0.113.5:4000").await;
    assert!(between.hellos.lock().unwrap().is_empty(), "who sends nothing costs no leg");
    talk.send(
        b"NOOP\r\nVRFY ann\r\nRCPT TO:<ann@contoso.test>\r\nMAIL FROM:<pat@elsewhere.example> SIZE=10\r\n\
          RCPT TO:<ann@contoso.test>\r\nDATA\r\n",
    )
    .await;
    talk.script(
        "
        S: 250 *
        S: 252 *
        S: 503 *
        S: 250 2.1.0 Sender OK
        S: 250 2.1.5 Recipient OK
        S: 354 *
        C: Subject: hi
        C:
        C: text
        C: .
        S: 250 *
        C: MAIL FROM:<>
        S: 250 2.1.0 Sender OK
        C: QUIT
        S: 221 2.0.0 Goodbye
    ",
    )
    .await;
    assert_eq!(talk.rest().await, "");
    let message = &two.inbox("ann").await[0];
    assert!(message.contains("from client.example ([203.0.113.5])"), "{message}");
    let asked: Vec<String> = between.hellos.lock().unwrap().iter().map(|(to, _)| to.clone()).collect();
    assert_eq!(asked, ["none", "one", "two"]);
    assert_eq!(world.seen.legs.lock().unwrap()[0].1.operation, "smtp.proxy");
    let lines = two.seen.lines.lock().unwrap().join("\n");
    assert!(lines.contains("* Proxied session from front"), "{lines}");
}

#[tokio::test(start_paused = true)]
async fn without_a_hub_strangers_come_again() {
    let (world, _) = front(&[], Some(&["none"])).await;
    let mut talk = greeted(&world, Kind::Smtp, "203.0.113.5:4000").await;
    talk.script(
        "
        C: MAIL FROM:<pat@elsewhere.example>
        S: 451 4.3.2 No server takes mail at the moment, please try again later
        C: NOOP
        S: 250 *
        C: MAIL FROM:<pat@elsewhere.example>
        S: 451 4.3.2 *
        C: QUIT
        S: 221 *
    ",
    )
    .await;
    // A server that is a hub itself takes it.
    let (world, between) = front(&[], None).await;
    let mut talk = greeted(&world, Kind::Smtp, "203.0.113.5:4000").await;
    talk.script("C: MAIL FROM:<pat@elsewhere.example>\nS: 250 2.1.0 Sender OK").await;
    assert!(between.hellos.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_front_end_out_of_service_says_so() {
    let (world, between) = front(&[], Some(&[])).await;
    // It is no hub: that one's state does not matter here.
    world.hub.set_state(ComponentState::Inactive);
    greeted(&world, Kind::Smtp, "203.0.113.5:4000").await;
    *between.state.lock().unwrap() = Some("Draining".into());
    for kind in [Kind::Smtp, Kind::Submission, Kind::Submissions] {
        let mut talk = world.connect_from(kind, "203.0.113.5:4000");
        let line = talk.line().await;
        assert!(
            line.starts_with("421 4.3.2 mx.contoso.test")
                && line.ends_with("draining, please try another one"),
            "{line}"
        );
    }
}

/// There is no such thing at our doors as a client that speaks for another.
#[tokio::test(start_paused = true)]
async fn nobody_is_believed_from_outside() {
    let (world, _) = front(&[], None).await;
    for kind in [Kind::Smtp, Kind::Submission] {
        let mut talk = world.connect_from(kind, "127.0.0.1:4000");
        talk.line().await;
        talk.script(
            "
            C: PROXY TCP4 192.0.2.7 192.0.2.1 4000 25
            S: 500 5.5.2 *
            C: XCLIENT ADDR=192.0.2.7 LOGIN=ann
            S: 500 5.5.2 *
            C: XFORWARD ADDR=192.0.2.7
            S: 500 5.5.2 *
            C: XPROXYFROM SID=1 IP=192.0.2.7
            S: 500 5.5.2 *
        ",
        )
        .await;
    }
}
