//! Conversations with single servers.

use crate::internet::{Names, Peers, network};
use crate::site::{BEGIN, Hands, Seen, Site, populate, settings};
use std::sync::Arc;
use std::time::Duration;
use waypost_base::explain::Outcome;
use waypost_queue::QueueStatus;
use waypost_store::Model;
use waypost_transport::Settings;
use waypost_transport::connector::{Credentials, SmartHost, TlsLevel};
use waypost_trust::channel::Verify;

const HELLO: &str =
    "S: 220 mx.far.example ESMTP\nC: EHLO mx.contoso.test\nS: 250-mx.far.example|250 8BITMIME\n";
const BODY: &str = "C: DATA\nS: 354 go\nC: ...\nC: .\n";

struct World {
    site: Site,
    peers: Peers,
}

impl World {
    /// far.example is at 192.0.2.1.
    async fn new(change: impl FnOnce(&mut Settings)) -> World {
        let names = Names::default()
            .mx("far.example", &[(10, "mx.far.example")])
            .a("mx.far.example", &["192.0.2.1"])
            .mx("badtls.example", &[(10, "badtls.example")])
            .a("badtls.example", &["192.0.2.2"])
            .mx("badcert.example", &[(10, "badcert.example")])
            .a("badcert.example", &["192.0.2.3"])
            .mx("two.example", &[(10, "one.two.example"), (20, "two.two.example")])
            .a("one.two.example", &["192.0.2.4"])
            .a("two.two.example", &["192.0.2.5"])
            .mx("nomail.example", &[(0, "")]);
        World::with(names, change).await
    }

    async fn with(names: Names, change: impl FnOnce(&mut Settings)) -> World {
        let clock = Hands::new(BEGIN).clock();
        let model = Arc::new(Model::new(clock.clone()));
        populate(model.clone(), clock.clone()).await;
        let peers = Peers::default();
        let mut settings = settings();
        settings.send[0].protocol_log = true;
        change(&mut settings);
        let network = network(names, &peers);
        World { site: Site::start(model, Arc::default(), clock, network, settings, None).await, peers }
    }

    async fn send(&self, from: &str, to: &[&str]) {
        let text =
            format!("Message-ID: <m1@client.example>\r\nSubject: hi\r\nFrom: {from}\r\n\r\n..dot\r\nend");
        let (taken, answer) = self.site.connect().send(from, to, &text).await;
        assert_eq!((taken.len(), &answer[..3]), (to.len(), "250"), "{answer}");
    }

    /// Until nothing is in the queue, for at most so long.
    async fn drained(&self, within: Duration) {
        let done = async {
            while !self.site.hub.queue().is_empty() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
        };
        let done = tokio::time::timeout(within, done).await;
        self.scripts();
        let left = self.site.hub.queue().list_queues(|_| true);
        assert!(done.is_ok(), "left: {left:?}\nseen: {:?}", self.events());
    }

    fn scripts(&self) {
        assert_eq!(
            *self.peers.wrong.lock().unwrap(),
            Vec::<String>::new(),
            "{:?}",
            self.seen().lines.lock().unwrap()
        );
    }

    fn seen(&self) -> &Seen {
        &self.site.seen
    }

    fn events(&self) -> Vec<String> {
        self.seen().events.lock().unwrap().clone()
    }

    fn outcomes(&self) -> Vec<String> {
        let legs = self.seen().legs.lock().unwrap();
        legs.iter()
            .filter(|(_, leg)| leg.operation == "smtp.send")
            .map(|(_, leg)| leg.outcome.to_string())
            .collect()
    }

    async fn seconds(&self, n: u64) {
        tokio::time::sleep(Duration::from_secs(n)).await;
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn a_message_goes_out() {
    let world = World::new(|_| {}).await;
    let peer = format!(
        "{HELLO}C: MAIL FROM:<ann@contoso.test>*\nS: 250 ok\nC: RCPT TO:<pat@far.example>*\nS: 250 ok\n\
         C: DATA\nS: 354 go\nC: Received: from client.example*\nC: ...\nC: Subject: hi\nC: ...\nC: ..dot\nC: end\nC: .\n\
         S: 250 2.0.0 queued as 77\nC: QUIT\nS: 221 bye"
    );
    world.peers.script("192.0.2.1:25", &[&peer]);
    world.send("ann@contoso.test", &["pat@far.example"]).await;
    world.drained(HOUR).await;
    assert_eq!(
        world.events(),
        ["SMTP RECEIVE pat@far.example", "SMTP SEND pat@far.example 250 2.0.0 queued as 77"]
    );
    let legs = world.seen().legs.lock().unwrap();
    let (id, leg) = legs.last().unwrap();
    assert_eq!(
        (id.as_str(), leg.acceptor.name.as_str()),
        ("m1@client.example", "mx.far.example[192.0.2.1]:25")
    );
    let steps: Vec<&str> = leg.steps.iter().map(|s| s.name.as_ref()).collect();
    assert_eq!(steps, ["dns", "connect", "greeting", "ehlo", "mail", "rcpt", "data"]);
    assert_eq!((&leg.outcome, leg.mechanism.as_ref()), (&Outcome::Ok, "anonymous"));
    let lines = world.seen().lines.lock().unwrap();
    assert_eq!(lines[..3], ["+", "< 220 mx.far.example ESMTP", "> EHLO mx.contoso.test"]);
    assert_eq!(lines.last().unwrap(), "- Local");
    assert!(world.site.inbox("ann").await.is_empty(), "no report");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_is_waited_for() {
    let world = World::new(|s| {
        s.send[0].smart_hosts = vec![SmartHost { host: "127.0.0.1".into(), port: Some(2526) }];
    })
    .await;
    world.send("ann@contoso.test", &["pat@far.example", "sue@other.example"]).await;
    world.seconds(5).await;
    let queues = world.site.hub.queue().list_queues(|_| true);
    let [queue] = &queues[..] else { panic!("{queues:?}") };
    assert_eq!(
        (queue.identity.as_str(), queue.status, queue.message_count),
        ("Internet", QueueStatus::Retry, 2)
    );
    let error = queue.last_error.as_ref().unwrap().to_string();
    assert_eq!(error, "4.4.1 127.0.0.1:2526: no connection: connection refused");
    let one = |to: &str| format!("C: MAIL*\nS: 250 ok\nC: RCPT TO:<{to}>*\nS: 250 ok\n{BODY}S: 250 ok\n");
    let peer = format!("{HELLO}{}{}C: QUIT\nS: 221 bye", one("pat@far.example"), one("sue@other.example"));
    world.peers.script("127.0.0.1:2526", &[&peer]);
    world.drained(HOUR).await;
    assert_eq!(world.outcomes().last().unwrap(), "ok");
    // Both went over one connection.
    assert!(world.outcomes()[0].starts_with("failed [SEND-CONNECT]"), "{:?}", world.outcomes());
}

#[tokio::test(start_paused = true)]
async fn refused_recipients_are_reported_and_others_get_it() {
    let world = World::new(|_| {}).await;
    let peer = format!(
        "{HELLO}C: MAIL*\nS: 250 ok\nC: RCPT TO:<pat@far.example>*\nS: 250 ok\nC: RCPT TO:<nobody@far.example>*\n\
         S: 550 5.1.1 no such user\n{BODY}S: 250 ok\nC: QUIT\nS: 221 bye"
    );
    world.peers.script("192.0.2.1:25", &[&peer]);
    world.send("ann@contoso.test", &["pat@far.example", "nobody@far.example"]).await;
    world.drained(HOUR).await;
    let inbox = world.site.inbox("ann").await;
    assert_eq!(inbox.len(), 1);
    for part in
        ["Final-Recipient: rfc822; nobody@far.example", "Action: failed", "Status: 5.1.1", "no such user"]
    {
        assert!(inbox[0].contains(part), "{part} in {}", inbox[0]);
    }
    assert!(!inbox[0].contains("Final-Recipient: rfc822; pat@far.example"));
    let fail = "SMTP FAIL nobody@far.example 550 5.1.1 mx.far.example (192.0.2.1): no such user";
    assert!(world.events().contains(&fail.to_owned()), "{:?}", world.events());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_known_is_sent_again_and_counted() {
    let world = World::new(|_| {}).await;
    let first = format!("{HELLO}C: MAIL*\nS: 250 ok\nC: RCPT*\nS: 250 ok\n{BODY}");
    let second = format!("{first}S: 250 again\nC: QUIT\nS: 221 bye");
    world.peers.script("192.0.2.1:25", &[&first, &second]);
    world.send("ann@contoso.test", &["pat@far.example"]).await;
    world.drained(HOUR).await;
    let figure = world.site.hub.figures().into_iter().find(|f| f.name == "smtp_in_doubt_total").unwrap();
    assert_eq!(figure.value as u64, 1);
    assert!(world.outcomes()[0].starts_with("failed [SEND-IN-DOUBT]"), "{:?}", world.outcomes());
    assert_eq!(world.outcomes()[1], "ok");
}

#[tokio::test(start_paused = true)]
async fn tls_where_it_works_and_clear_where_it_is_no_must() {
    let world = World::new(|_| {}).await;
    let tls = "S: 220 hi\nC: EHLO*\nS: 250-x|250 STARTTLS\nC: STARTTLS\nS: 220 go\n";
    let mail = format!(
        "C: EHLO*\nS: 250 x\nC: MAIL*\nS: 250 ok\nC: RCPT*\nS: 250 ok\n{BODY}S: 250 ok\nC: QUIT\nS: 221 x"
    );
    world.peers.script("192.0.2.1:25", &[&format!("{tls}{mail}")]);
    world.peers.script("192.0.2.2:25", &[tls, &format!("S: 220 hi\n{mail}")]);
    world.peers.script("192.0.2.3:25", &[&format!("{tls}{mail}")]);
    for to in ["a@far.example", "a@badtls.example", "a@badcert.example"] {
        world.send("ann@contoso.test", &[to]).await;
        world.drained(HOUR).await;
    }
    let outcomes = world.outcomes();
    assert_eq!(outcomes[0], "ok");
    assert!(outcomes[1].starts_with("failed [SEND-TLS]"), "{outcomes:?}");
    assert!(outcomes[2].starts_with("degraded [SEND-TLS] sent in clear"), "{outcomes:?}");
    assert_eq!(outcomes[3], "ok");
    assert!(
        world.seen().lines.lock().unwrap().contains(&"* CN=mx.far.exampleCertificate subject".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn without_required_tls_nothing_is_sent() {
    let world = World::new(|s| {
        s.send[0].tls.level = TlsLevel::Required;
        s.send[0].tls.verify = Verify::Name;
    })
    .await;
    let tls = "S: 220 hi\nC: EHLO*\nS: 250-x|250 STARTTLS\nC: STARTTLS\nS: 220 go\n";
    world.peers.script("192.0.2.3:25", &[tls]);
    world.peers.script("192.0.2.1:25", &[&format!("{HELLO}C: QUIT")]);
    world.send("ann@contoso.test", &["a@badcert.example", "a@far.example"]).await;
    world.seconds(10).await;
    world.scripts();
    let queues = world.site.hub.queue().list_queues(|q| q.status == QueueStatus::Retry);
    let errors: Vec<String> = queues.iter().map(|q| q.last_error.as_ref().unwrap().to_string()).collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors.iter().any(|e| e.contains("it is for other.example")), "{errors:?}");
    assert!(errors.iter().any(|e| e.contains("does not offer STARTTLS")), "{errors:?}");
}

#[tokio::test(start_paused = true)]
async fn the_next_host_when_the_first_does_not_want_us() {
    let world = World::new(|_| {}).await;
    let ok = format!("{HELLO}C: MAIL*\nS: 250 ok\nC: RCPT*\nS: 250 ok\n{BODY}S: 250 ok\nC: QUIT\nS: 221 x");
    world.peers.script("192.0.2.4:25", &["S: 554 no service here\nC: QUIT"]);
    world.peers.script("192.0.2.5:25", &[&ok]);
    world.send("ann@contoso.test", &["a@two.example"]).await;
    world.drained(HOUR).await;
    assert!(world.outcomes()[0].starts_with("failed [SEND-REFUSED]"), "{:?}", world.outcomes());
    assert_eq!(*world.peers.dialed.lock().unwrap(), ["192.0.2.4:25", "192.0.2.5:25"]);
}

#[tokio::test(start_paused = true)]
async fn domains_that_take_no_mail() {
    let world = World::new(|_| {}).await;
    world.send("ann@contoso.test", &["a@nomail.example", "b@gone.example"]).await;
    world.drained(HOUR).await;
    let inbox = world.site.inbox("ann").await.join("\n");
    assert!(inbox.contains("Status: 5.1.10") && inbox.contains("Status: 5.1.2"), "{inbox}");
    assert!(world.peers.dialed.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_way_that_appears_later() {
    let world = World::new(|s| s.send[0].enabled = false).await;
    world.send("ann@contoso.test", &["a@far.example"]).await;
    world.seconds(60).await;
    let queues = world.site.hub.queue().list_queues(|_| true);
    assert_eq!(queues[0].identity, "Unreachable");
    let ok = format!("{HELLO}C: MAIL*\nS: 250 ok\nC: RCPT*\nS: 250 ok\n{BODY}S: 250 ok\nC: QUIT\nS: 221 x");
    world.peers.script("192.0.2.1:25", &[&ok]);
    world.site.hub.set_settings(settings());
    world.drained(HOUR).await;
    assert_eq!(world.outcomes(), ["ok"]);
}

#[tokio::test(start_paused = true)]
async fn signing_in_to_a_smart_host() {
    let world = World::new(|s| {
        s.send[0].smart_hosts = vec![SmartHost { host: "127.0.0.1".into(), port: None }];
        s.send[0].credentials = Some(Credentials { user: "u".into(), password: "secret".into() });
    })
    .await;
    let ok = format!(
        "S: 220 hi\nC: EHLO*\nS: 250-x|250 AUTH PLAIN\nC: AUTH PLAIN AHUAc2VjcmV0\nS: 235 ok\nC: MAIL*\nS: 250 ok\n\
         C: RCPT*\nS: 250 ok\n{BODY}S: 250 ok\nC: QUIT\nS: 221 x"
    );
    world.peers.script(
        "127.0.0.1:25",
        &["S: 220 hi\nC: EHLO*\nS: 250-x|250 AUTH PLAIN\nC: AUTH*\nS: 535 no\nC: QUIT", &ok],
    );
    world.send("ann@contoso.test", &["a@far.example"]).await;
    world.seconds(20).await;
    let queues = world.site.hub.queue().list_queues(|_| true);
    assert_eq!(queues[0].last_error.as_ref().unwrap().to_string(), "535 5.0.0 127.0.0.1: no");
    world.drained(HOUR).await;
    let legs = world.seen().legs.lock().unwrap();
    assert_eq!(legs.last().unwrap().1.mechanism, "PLAIN");
    assert!(
        !world.seen().lines.lock().unwrap().iter().any(|l| l.contains("c2VjcmV0")),
        "no password in the log"
    );
}

#[tokio::test(start_paused = true)]
async fn too_many_recipients_for_one_message() {
    let world = World::new(|_| {}).await;
    let peer = format!(
        "{HELLO}C: MAIL*\nS: 250 ok\nC: RCPT TO:<a@far.example>\nS: 250 ok\nC: RCPT TO:<b@far.example>\n\
         S: 452 4.5.3 too many\n{BODY}S: 250 ok\nC: MAIL*\nS: 250 ok\nC: RCPT TO:<b@far.example>\nS: 250 ok\n{BODY}S: 250 ok\n\
         C: QUIT\nS: 221 x"
    );
    world.peers.script("192.0.2.1:25", &[&peer]);
    world.send("ann@contoso.test", &["a@far.example", "b@far.example"]).await;
    world.drained(HOUR).await;
    assert_eq!(world.outcomes(), ["ok", "ok"]);
}

#[tokio::test(start_paused = true)]
async fn what_expires_is_returned_with_what_stood_in_the_way() {
    let world = World::new(|s| {
        s.retry.expiration_millis = 6 * 3_600_000;
    })
    .await;
    world.send("ann@contoso.test", &["a@far.example"]).await;
    world.drained(8 * HOUR).await;
    let inbox = world.site.inbox("ann").await;
    assert_eq!(inbox.len(), 2, "a notice of the delay, and the return");
    assert!(inbox[0].contains("Action: delayed") && inbox[1].contains("Action: failed"), "{inbox:?}");
    assert!(inbox[1].contains("connection refused"), "{}", inbox[1]);
    let events = world.events();
    assert!(events.iter().any(|e| e.starts_with("QUEUE FAIL a@far.example 4.4.7")), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn an_inactive_hub_sends_nothing_and_a_draining_one_goes_on() {
    use waypost_transport::ComponentState;
    let world = World::new(|_| {}).await;
    world.send("ann@contoso.test", &["a@far.example"]).await;
    world.site.hub.set_state(ComponentState::Inactive);
    let ok = format!("{HELLO}C: MAIL*\nS: 250 ok\nC: RCPT*\nS: 250 ok\n{BODY}S: 250 ok\nC: QUIT\nS: 221 x");
    world.peers.script("192.0.2.1:25", &[&ok]);
    world.seconds(7200).await;
    assert_eq!(world.outcomes().iter().filter(|o| *o == "ok").count(), 0);
    world.site.hub.set_state(ComponentState::Draining);
    world.drained(HOUR).await;
    assert_eq!(world.outcomes().last().unwrap(), "ok");
    world.site.hub.stop();
    tokio::time::timeout(HOUR, world.site.running).await.unwrap().unwrap();
}
