//! Conversations about each rule: connectors, rights, forwarding, limits, agents, pressure, state. In memory, in virtual
//! time.

use super::Kind;
use crate::agent::{About, Agent, Stages, Verdict};
use crate::connector::{Door, IpRange, Permissions, ReceiveConnector};
use crate::draft::Draft;
use crate::pipeline::{Stage, Tracing};
use crate::state::ComponentState;
use crate::world::{NOW, Talk, World};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use waypost_directory::{Limit, Member, NewDomain, Permission, Right};
use waypost_queue::pressure::Resource;
use waypost_smtp::{Mailbox, Reply, Status};

/// base64 of `\0ann\0<PASSWORD>`
const ANN: &str = "AGFubgBjb3JyZWN0IGhvcnNlIGJhdHRlcnkgc3RhcGxl";

async fn signed_in(world: &World) -> Talk {
    let mut talk = world.connect_from(Kind::Submission, "127.0.0.1:4000");
    talk.hello().await;
    talk.script(&format!("C: AUTH PLAIN {ANN}\nS: 235 *")).await;
    talk
}

/// The routes of what waits, with the addresses on each.
async fn ways(world: &World) -> Vec<String> {
    let page = world.hub.queue.get_messages(&Default::default(), |_| true, None, 1000).await.unwrap();
    let mut ways = Vec::new();
    for message in page.messages {
        let to: Vec<String> = message.targets.iter().map(|(t, _)| t.to.to_string()).collect();
        ways.push(format!("{}: {}", message.queue, to.join(" ")));
    }
    ways.sort();
    ways
}

fn connector(name: &str, range: &str, permissions: Permissions) -> ReceiveConnector {
    ReceiveConnector {
        name: name.to_owned(),
        enabled: true,
        door: Door::Smtp,
        remote: vec![IpRange::parse(range).unwrap()],
        permissions,
        require_tls: false,
        auth: false,
        max_message_size: None,
        max_recipients: None,
        max_hops: 60,
        tarpit: Duration::ZERO,
        message_rate: 0,
        protocol_log: true,
    }
}

fn anonymous() -> Permissions {
    Permissions { anonymous: true, ..Permissions::default() }
}

#[tokio::test(start_paused = true)]
async fn mail_for_elsewhere_waits_in_the_queue() {
    let world = World::with_passwords().await;
    let mut talk = signed_in(&world).await;
    talk.script(
        "
        C: MAIL FROM:<ann@contoso.test>
        S: 250 *
        C: RCPT TO:<pat@Elsewhere.example>
        S: 250 *
        C: RCPT TO:<kim@elsewhere.example>
        S: 250 *
        C: RCPT TO:<x@[192.0.2.7]>
        S: 250 *
        C: RCPT TO:<ben@contoso.test>
        S: 250 *
        C: RCPT TO:<x@-bad.example>
        S: 5*
        C: DATA
        S: 354 *
        C: Subject: out
        C:
        C: .
        S: 250 *
    ",
    )
    .await;
    world.hub.idle().await;
    assert_eq!(world.inbox("ben").await.len(), 1);
    let state =
        world.hub.queue.story(world.hub.queue.items_of(world.account("ann"))[0]).await.unwrap().unwrap();
    assert_eq!(
        (state.envelope.subject.as_str(), state.envelope.headers_from.as_str()),
        ("out", "ann@contoso.test")
    );
    assert_eq!(
        ways(&world).await,
        ["Unreachable: pat@Elsewhere.example kim@elsewhere.example", "Unreachable: x@[192.0.2.7]"]
    );
    let events = world.seen.tracked.lock().unwrap().clone();
    assert!(events[0].starts_with("SMTP RECEIVE pat@Elsewhere.example,"), "{events:?}");
    assert!(events.contains(&"STOREDRIVER DELIVER ben@contoso.test".to_owned()), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn the_three_kinds_of_domains() {
    let world = World::new().await;
    for (name, kind) in [
        ("inner.test", waypost_directory::DomainKind::InternalRelay),
        ("outer.test", waypost_directory::DomainKind::ExternalRelay),
    ] {
        world.directory.add_domain(NewDomain { kind, ..NewDomain::new(name) }).await.unwrap();
    }
    let mut talk = world.connect(Kind::Smtp);
    talk.hello().await;
    talk.script(
        "
        C: MAIL FROM:<pat@elsewhere.example>
        S: 250 *
        C: RCPT TO:<any@inner.test>
        S: 250 *
        C: RCPT TO:<any@outer.test>
        S: 250 *
        C: RCPT TO:<any@third.test>
        S: 550 5.7.1 Unable to relay recipient in non-accepted domain
        C: BDAT 0 LAST
        S: 250 *
    ",
    )
    .await;
    assert_eq!(ways(&world).await, ["Unreachable: any@inner.test", "Unreachable: any@outer.test"]);
}

#[tokio::test(start_paused = true)]
async fn who_may_relay_is_the_connectors_affair() {
    let relay = Permissions { relay: true, ..anonymous() };
    let servers = Permissions { servers: true, ..Permissions::default() };
    let world = World::with(|settings| {
        settings.receive = vec![
            connector("World", "0.0.0.0/0", anonymous()),
            connector("Printers", "192.0.2.0/24", relay),
            connector("Servers", "192.0.2.9", servers),
            connector("Nobody", "192.0.2.8", Permissions::default()),
        ];
    })
    .await;
    for (peer, elsewhere, staff) in [
        ("198.51.100.1:4000", "550 5.7.1 *", "550 5.7.1 *"),
        ("192.0.2.1:4000", "250 *", "550 5.7.1 *"),
        // A server of ours vouches for its senders.
        ("192.0.2.9:4000", "250 *", "250 *"),
    ] {
        let mut talk = world.connect_from(Kind::Smtp, peer);
        talk.hello().await;
        talk.script(&format!(
            "C: MAIL FROM:<ann@contoso.test>\nS: 250 *\nC: RCPT TO:<pat@elsewhere.example>\nS: {elsewhere}\n\
             C: RCPT TO:<staff@contoso.test>\nS: {staff}"
        ))
        .await;
    }
    let mut talk = world.connect_from(Kind::Smtp, "192.0.2.8:4000");
    talk.hello().await;
    talk.script("C: MAIL FROM:<ann@contoso.test>\nS: 530 5.7.1 *").await;
    let mut talk = world.connect_from(Kind::Smtp, "[2001:db8::1]:4000");
    assert!(talk.rest().await.starts_with("421 4.3.2 mx.contoso.test Service not available"));
}

#[tokio::test(start_paused = true)]
async fn a_connectors_limits() {
    let world = World::with(|settings| {
        let one = connector("Tight", "0.0.0.0/0", anonymous());
        settings.receive = vec![ReceiveConnector {
            max_message_size: Some(1000),
            max_recipients: Some(1),
            message_rate: 2,
            max_hops: 3,
            tarpit: Duration::from_secs(5),
            protocol_log: false,
            ..one
        }];
    })
    .await;
    let mut talk = world.connect(Kind::Smtp);
    talk.line().await;
    assert!(talk.ehlo("EHLO").await.iter().any(|line| line.contains("SIZE 1000")));
    let begun = Instant::now();
    talk.script(
        "
        C: MAIL FROM:<a@b.example> SIZE=1001
        S: 552 5.3.4 *
        C: MAIL FROM:<a@b.example>
        S: 250 *
    ",
    )
    .await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    talk.script("C: RCPT TO:<nobody@contoso.test>\nS: 550 5.1.1 *").await;
    assert!(begun.elapsed() >= Duration::from_secs(5), "guessing takes its time");
    talk.script("C: RCPT TO:<ann@contoso.test>\nS: 250 *\nC: RCPT TO:<ben@contoso.test>\nS: 452 4.5.3 *\nC: DATA\nS: 354 *")
        .await;
    talk.send("Received: from a by b.example; x\r\n".repeat(4).as_bytes()).await;
    talk.script(
        "
        C:
        C: .
        S: 554 5.4.6 Too many hops, this message goes round in circles: mx.contoso.test, b.example
        C: MAIL FROM:<a@b.example>
        S: 250 *
        C: RSET
        S: 250 *
        C: MAIL FROM:<a@b.example>
        S: 451 4.4.2 Message submission rate*
    ",
    )
    .await;
    assert!(world.seen.lines.lock().unwrap().is_empty(), "its log is off");
}

#[tokio::test(start_paused = true)]
async fn tls_where_the_connector_wants_it() {
    let world = World::with(|settings| {
        let one = connector("Secure", "0.0.0.0/0", anonymous());
        settings.receive = vec![ReceiveConnector { require_tls: true, ..one }];
    })
    .await;
    let mut talk = world.connect(Kind::Smtp);
    talk.hello().await;
    talk.script("C: MAIL FROM:<a@b.example>\nS: 530 5.7.0 *\nC: STARTTLS\nS: 220 *").await;
    talk.ehlo("EHLO").await;
    talk.script("C: MAIL FROM:<a@b.example>\nS: 250 *").await;
}

#[tokio::test(start_paused = true)]
async fn what_keeps_coming_back_to_us_is_cut_early_and_forged_traces_are_only_counted() {
    let world = World::new().await;
    let mut talk = world.connect(Kind::Smtp);
    talk.hello().await;
    for (field, times, wanted) in [
        ("Received: from x by mx.contoso.test; now\r\n", 13, "554 5.4.6 *: mx.contoso.test"),
        ("Received: by mx.contoso.test\r\n", 12, "250 *"),
        ("Received: mx.contoso.test\r\n", 50, "250 *"),
        ("Received: from x by elsewhere.example\r\n", 101, "554 5.4.6 *"),
    ] {
        talk.script("C: MAIL FROM:<>\nS: 250 *\nC: RCPT TO:<ann@contoso.test>\nS: 250 *\nC: DATA\nS: 354 *")
            .await;
        talk.send(field.repeat(times).as_bytes()).await;
        let wanted = wanted.split_once('*').map_or(wanted.to_owned(), |(begin, _)| format!("{begin}*"));
        talk.script(&format!("C:\nC: .\nS: {wanted}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn header_bombs() {
    let world = World::with_passwords().await;
    let mut stranger = world.connect(Kind::Smtp);
    stranger.hello().await;
    let mut ours = signed_in(&world).await;
    for (talk, from) in [(&mut stranger, "pat@elsewhere.example"), (&mut ours, "ann@contoso.test")] {
        talk.script(&format!(
            "C: MAIL FROM:<{from}>\nS: 250 *\nC: RCPT TO:<ben@contoso.test>\nS: 250 *\nC: DATA\nS: 354 *"
        ))
        .await;
        let address = "Cc: somebody@somewhere.example, \r\n";
        talk.send(address.repeat(10_000).as_bytes()).await;
        talk.script("C:\nC: .\nS: 552 5.3.4 Header size exceeds fixed maximum size").await;
        // What is odd but small is taken.
        talk.script(&format!(
            "C: MAIL FROM:<{from}>\nS: 250 *\nC: RCPT TO:<ben@contoso.test>\nS: 250 *\nC: DATA\nS: 354 *"
        ))
        .await;
        talk.send(b"From: <ann@contoso.test>\r\nX-\xFF: \0\x80\r\n\r\nbody\0\r\n.\r\n").await;
        talk.script("S: 250 *").await;
    }
    // Much text without any header is no header bomb.
    ours.script("C: MAIL FROM:<ann@contoso.test>\nS: 250 *\nC: RCPT TO:<ben@contoso.test>\nS: 250 *\nC: DATA\nS: 354 *")
        .await;
    ours.send("just a long text\r\n".repeat(20_000).as_bytes()).await;
    ours.script("C: .\nS: 250 *").await;
    assert_eq!(world.inbox("ben").await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn in_whose_name_users_write() {
    let world = World::with_passwords().await;
    for (whose, right) in [("ben", Right::SendAs), ("cat", Right::SendOnBehalf)] {
        let grant = Permission { who: world.account("ann"), right };
        world.directory.update_account(world.account(whose), |a| a.permissions.push(grant)).await.unwrap();
    }
    let mut talk = signed_in(&world).await;
    for (envelope, header, wanted) in [
        ("ann@contoso.test", "From: boss@elsewhere.example", "550 5.7.60 You may not send as this address"),
        ("ann@contoso.test", "From: ben@contoso.test", "250 *"),
        ("cat@contoso.test", "From: Cat <cat@contoso.test>", "250 *"),
        ("", "From: ann@contoso.test", "550 5.7.60 Only receipts*"),
        ("", "Content-Type: multipart/report; report-type=disposition-notification", "250 *"),
    ] {
        talk.script(&format!(
            "
            C: MAIL FROM:<{envelope}>
            S: 250 *
            C: RCPT TO:<ben@contoso.test>
            S: 250 *
            C: DATA
            S: 354 *
            C: {header}
            C:
            C: .
            S: {wanted}
        "
        ))
        .await;
    }
    let inbox = world.inbox("ben").await;
    assert_eq!(inbox.len(), 3);
    assert!(!inbox[0].contains("Sender:"), "{}", inbox[0]);
    assert!(inbox[1].contains("\r\nSender: <ann@contoso.test>\r\n"), "{}", inbox[1]);
    // The administrator may leave it to people.
    let mut settings = (*world.hub.settings()).clone();
    settings.any_header_from = true;
    world.hub.set_settings(settings);
    let mut talk = signed_in(&world).await;
    talk.script("C: MAIL FROM:<ann@contoso.test>\nS: 250 *\nC: RCPT TO:<ben@contoso.test>\nS: 250 *\nC: DATA\nS: 354 *\nC: From: x@y.example\nC:\nC: .\nS: 250 *")
        .await;
}

#[tokio::test(start_paused = true)]
async fn who_is_over_the_sending_quota_may_still_receive() {
    let world = World::with_passwords().await;
    let ann = world.account("ann");
    let receive = "C: MAIL FROM:<ann@contoso.test>\nS: 250 *\nC: RCPT TO:<ann@contoso.test>\nS: 250 *\nC: BDAT 0 LAST\nS: 250 *";
    signed_in(&world).await.script(receive).await;
    world.directory.update_account(ann, |a| a.quotas.prohibit_send = Limit::At(100)).await.unwrap();
    signed_in(&world)
        .await
        .script("C: MAIL FROM:<ann@contoso.test>\nS: 552 5.2.2 Your mailbox is full*")
        .await;
    let mut talk = world.connect(Kind::Smtp);
    talk.hello().await;
    talk.script(receive).await;
}

#[tokio::test(start_paused = true)]
async fn strangers_who_say_they_are_ours() {
    for refuse in [false, true] {
        let world = World::with(|settings| settings.refuse_own_senders_from_outside = refuse).await;
        let mut talk = world.connect(Kind::Smtp);
        talk.hello().await;
        let wanted = if refuse { "550 5.7.1 *" } else { "250 *" };
        talk.script(&format!("C: MAIL FROM:<ann@contoso.test>\nS: {wanted}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_switched_off_since_signing_in_sends_nothing() {
    let world = World::with_passwords().await;
    let mut talk = signed_in(&world).await;
    world.directory.update_account(world.account("ann"), |a| a.enabled = false).await.unwrap();
    talk.script("C: MAIL FROM:<>\nS: 535 5.7.1 *\nC: MAIL FROM:<ann@contoso.test>\nS: 550 5.7.60 *").await;
}

#[tokio::test(start_paused = true)]
async fn forwarding_over_the_queue() {
    let world = World::new().await;
    let to = "pat@elsewhere.example".parse().unwrap();
    let change = |a: &mut waypost_directory::Account| {
        a.forward_to = Some(to);
        a.deliver_and_forward = true;
    };
    world.directory.update_account(world.account("ann"), change).await.unwrap();
    let group = world.directory.snapshot().find_group("all").unwrap().id;
    let external = Member::External("kim@third.example".parse().unwrap());
    world.directory.add_member(group, external).await.unwrap();
    let mut talk = world.connect(Kind::Smtp);
    talk.hello().await;
    talk.script("C: MAIL FROM:<x@b.example>\nS: 250 *\nC: RCPT TO:<all@contoso.test>\nS: 250 *\nC: BDAT 0 LAST\nS: 250 *")
        .await;
    world.hub.idle().await;
    assert_eq!((world.inbox("ann").await.len(), world.inbox("ben").await.len()), (1, 1));
    assert_eq!(ways(&world).await, ["Unreachable: kim@third.example", "Unreachable: pat@elsewhere.example"]);
    assert_eq!(world.seen.events("REDIRECT"), ["RESOLVER REDIRECT pat@elsewhere.example <ann@contoso.test>"]);
    assert_eq!(world.seen.events("RESOLVER EXPAND").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_recipients() {
    let world = World::with(|settings| settings.limits.recipients = 20_000).await;
    let mut talk = world.connect_from(Kind::Lmtp, "127.0.0.1:1");
    talk.line().await;
    talk.ehlo("LHLO").await;
    drop(talk);
    let relay = Permissions { relay: true, ..anonymous() };
    let mut settings = (*world.hub.settings()).clone();
    settings.receive = vec![connector("Relay", "0.0.0.0/0", relay)];
    world.hub.set_settings(settings);
    let mut talk = world.connect(Kind::Smtp);
    talk.hello().await;
    talk.script("C: MAIL FROM:<x@b.example>\nS: 250 *").await;
    for some in 0..100 {
        let commands: String = (0..100).map(|n| format!("RCPT TO:<r{some}-{n}@d{n}.example>\r\n")).collect();
        talk.send(commands.as_bytes()).await;
        for _ in 0..100 {
            assert_eq!(talk.line().await, "250 2.1.5 Recipient OK");
        }
    }
    talk.script("C: BDAT 0 LAST\nS: 250 *").await;
    assert_eq!(world.hub.queue.len(), 100, "a hop for each domain");
}

#[tokio::test(start_paused = true)]
async fn a_message_too_large_for_some_is_reported_for_them() {
    let world = World::new().await;
    let limit = |a: &mut waypost_directory::Account| a.limits.receive_bytes = Limit::At(1000);
    world.directory.update_account(world.account("ben"), limit).await.unwrap();
    let mut talk = world.connect(Kind::Smtp);
    talk.hello().await;
    let body = "x".repeat(70) + "\r\n";
    for (to, wanted) in [("ben", "552 5.3.4 *"), ("all", "250 *")] {
        talk.script(&format!(
            "C: MAIL FROM:<pat@elsewhere.example>\nS: 250 *\nC: RCPT TO:<{to}@contoso.test>\nS: 250 *\nC: DATA\nS: 354 *"
        ))
        .await;
        talk.send(body.repeat(200).as_bytes()).await;
        talk.script(&format!("C: .\nS: {wanted}")).await;
    }
    world.hub.idle().await;
    assert_eq!((world.inbox("ann").await.len(), world.inbox("ben").await.len()), (1, 0));
    assert_eq!(ways(&world).await, ["Unreachable: pat@elsewhere.example"], "the report");
}

#[tokio::test(start_paused = true)]
async fn back_pressure() {
    let world = World::with_passwords().await;
    let mut stranger = world.connect(Kind::Smtp);
    stranger.hello().await;
    let mut ours = signed_in(&world).await;
    world.hub.measured(&[(Resource::UsedDiskSpace, 95)]);
    stranger
        .script(
            "C: MAIL FROM:<a@b.example>\nS: 452 4.3.1 Insufficient system resources (UsedDiskSpace[store])*",
        )
        .await;
    let begun = Instant::now();
    ours.script("C: MAIL FROM:<ann@contoso.test>\nS: 250 *\nC: RSET\nS: 250 *").await;
    assert!(begun.elapsed() >= Duration::from_secs(10), "slowly");
    world.hub.measured(&[(Resource::UsedDiskSpace, 100)]);
    ours.script("C: MAIL FROM:<ann@contoso.test>\nS: 452 4.3.1 *").await;
    world.hub.measured(&[(Resource::UsedDiskSpace, 10)]);
    stranger.script("C: MAIL FROM:<a@b.example>\nS: 250 *").await;
}

#[tokio::test(start_paused = true)]
async fn draining_takes_nothing_new_and_finishes_what_has_begun() {
    let world = World::new().await;
    let mut busy = world.connect(Kind::Smtp);
    busy.hello().await;
    busy.script(
        "C: MAIL FROM:<a@b.example>\nS: 250 *\nC: RCPT TO:<ann@contoso.test>\nS: 250 *\nC: DATA\nS: 354 *",
    )
    .await;
    world.hub.set_state(ComponentState::Draining);
    let mut late = world.connect(Kind::Smtp);
    assert_eq!(
        late.rest().await,
        "421 4.3.2 mx.contoso.test Service not available: the server is draining, please try another one\r\n"
    );
    busy.script("C: x\nC: .\nS: 250 *\nC: MAIL FROM:<a@b.example>\nS: 421 4.3.2 The server is draining*")
        .await;
    assert_eq!(busy.rest().await, "");
    assert_eq!(world.inbox("ann").await.len(), 1);
    world.hub.set_state(ComponentState::Active);
    world.connect(Kind::Smtp).hello().await;
}

/// Says what it is told to say about every message.
struct Judge {
    verdict: Verdict,
    heard: Mutex<Vec<String>>,
    stages: Stages,
}

impl Judge {
    fn new(verdict: Verdict) -> Arc<Judge> {
        Arc::new(Judge { verdict, heard: Mutex::default(), stages: Stages::default() })
    }

    fn hear(&self, what: String) {
        self.heard.lock().unwrap().push(what);
    }
}

#[async_trait::async_trait]
impl Agent for Judge {
    fn name(&self) -> &'static str {
        "judge"
    }

    fn stages(&self) -> Stages {
        self.stages
    }

    fn wants(&self, about: &About) -> bool {
        about.from.as_ref().is_none_or(|from| from.local != "plain")
    }

    async fn connect(&self, about: &About) -> Verdict {
        self.hear(format!("connect {}", about.peer));
        self.verdict_if(about.peer.port() == 666)
    }

    async fn mail(&self, about: &About) -> Verdict {
        self.hear(format!("mail {}", about.helo));
        self.verdict_if(about.from.as_ref().is_some_and(|f| f.local == "evil"))
    }

    async fn rcpt(&self, about: &About, to: &Mailbox) -> Verdict {
        self.hear(format!("rcpt {to} after {}", about.recipients.len()));
        self.verdict_if(to.local == "ben")
    }

    async fn message(&self, about: &About, draft: &mut Draft) -> Verdict {
        self.hear(format!("message {} of {} octets", about.id, draft.size()));
        draft.prepend("X-Judge", "seen");
        draft.replace("Subject", 0, Some("changed"));
        self.verdict_if(true)
    }

    fn disconnect(&self, _: waypost_base::id::Correlation) {
        self.hear("disconnect".to_owned());
    }
}

impl Judge {
    fn verdict_if(&self, yes: bool) -> Verdict {
        if yes { self.verdict.clone() } else { Verdict::Pass }
    }
}

async fn one_message(world: &World, from: &str, to: &str) -> String {
    let mut talk = world.connect(Kind::Smtp);
    talk.hello().await;
    talk.script(&format!("C: MAIL FROM:<{from}@b.example>\nS: 250 *\nC: RCPT TO:<{to}@contoso.test>\nS: 250 *\nC: DATA\nS: 354 *"))
        .await;
    talk.script("C: From: pat@b.example\nC: Subject: first\nC: X-Spam-Flag: NO\nC: Message-ID: <m@b.example>\nC:\nC: body\nC: .").await;
    talk.line().await
}

#[tokio::test(start_paused = true)]
async fn agents_change_and_judge() {
    let why = || "too loud".to_owned();
    let no = Reply::new(550, Status(5, 7, 1), "No, thanks");
    let later = Reply::new(451, Status(4, 7, 1), "Later");
    for (verdict, reply, inbox, junk) in [
        (Verdict::Pass, "250 ", 1, 0),
        (Verdict::Junk { why: why() }, "250 ", 0, 1),
        (Verdict::Quarantine { why: why() }, "250 ", 0, 1),
        (Verdict::Discard { why: why() }, "250 ", 0, 0),
        (Verdict::Reject(no), "550 5.7.1 No, thanks", 0, 0),
        (Verdict::Defer(later), "451 4.7.1 Later", 0, 0),
    ] {
        for to in ["ann", "all"] {
            let judge = Judge::new(verdict.clone());
            let world = World::with_agents(vec![judge.clone()]).await;
            let answer = one_message(&world, "pat", to).await;
            assert!(answer.starts_with(reply), "{answer}");
            world.hub.idle().await;
            assert_eq!(world.inbox("ann").await.len(), inbox, "{verdict:?}");
            let ann = world.hub.mailbox(world.account("ann")).await.unwrap();
            let folder = ann.folders().with_role(waypost_mailbox::Role::Junk).unwrap().id;
            assert_eq!(ann.status(folder).await.unwrap().messages, junk, "{verdict:?}");
            let said = world.seen.events("AGENTINFO").len();
            assert_eq!(said, usize::from(verdict != Verdict::Pass));
            if verdict == Verdict::Pass {
                let message = world.inbox("ann").await.remove(0);
                let begin =
                    message.find("X-Judge: seen\r\nFrom: pat@b.example\r\nSubject: changed\r\nMessage-ID:");
                assert!(
                    begin.is_some_and(|at| message[..at].contains("Received: from client.example")),
                    "{message}"
                );
                assert!(message.starts_with("Return-Path: <pat@b.example>\r\n"));
            }
            if matches!(verdict, Verdict::Discard { .. }) {
                assert_eq!(world.seen.events("DROP").len(), 1);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn agents_that_do_not_want_a_message_do_not_see_it() {
    let judge = Judge::new(Verdict::Pass);
    let world = World::with_agents(vec![judge.clone()]).await;
    one_message(&world, "plain", "ann").await;
    assert!(world.inbox("ann").await[0].contains("Subject: first"));
    assert!(judge.heard.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn agents_at_each_step() {
    let no = Verdict::Reject(Reply::new(554, Status(5, 7, 1), "No"));
    let stages = Stages { connect: true, mail: true, rcpt: true };
    let judge = Arc::new(Judge { verdict: no, heard: Mutex::default(), stages });
    let world = World::with_agents(vec![judge.clone()]).await;
    let mut bad = world.connect_from(Kind::Smtp, "192.0.2.1:666");
    assert_eq!(bad.rest().await, "554 5.7.1 No\r\n");
    let mut talk = world.connect(Kind::Smtp);
    talk.hello().await;
    talk.script(
        "
        C: MAIL FROM:<evil@b.example>
        S: 554 5.7.1 No
        C: MAIL FROM:<good@b.example>
        S: 250 *
        C: RCPT TO:<ann@contoso.test>
        S: 250 *
        C: RCPT TO:<ben@contoso.test>
        S: 554 5.7.1 No
        C: QUIT
        S: 221 *
    ",
    )
    .await;
    talk.rest().await;
    talk.task.await.unwrap();
    let heard = judge.heard.lock().unwrap();
    assert_eq!(
        heard[..],
        [
            "connect 192.0.2.1:666",
            "disconnect",
            "connect 192.0.2.1:4000",
            "mail client.example",
            "mail client.example",
            "rcpt ann@contoso.test after 0",
            "rcpt ben@contoso.test after 1",
            "disconnect"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_submitted_message_is_whole_before_agents_see_it() {
    let judge = Judge::new(Verdict::Pass);
    let world = World::with_agents(vec![judge]).await.and_passwords().await;
    let mut talk = signed_in(&world).await;
    let envelope = "C: MAIL FROM:<ann@contoso.test>\nS: 250 *\nC: RCPT TO:<ben@contoso.test>\nS: 250 *";
    talk.script(envelope).await;
    talk.send(b"BDAT 26 LAST\r\nSubject: bare\n\nline\nend\r\n.").await;
    talk.script("S: 250 *").await;
    talk.script(&format!(
        "{envelope}\nC: DATA\nS: 354 *\nC: From: dan@contoso.test\nC:\nC: .\nS: 550 5.7.60 *"
    ))
    .await;
    let message = world.inbox("ben").await.remove(0);
    let wanted = "X-Judge: seen\r\nFrom: <ann@contoso.test>\r\nDate: Tue, 3 Mar 2026 08:15:20 +0000\r\n\
                  Message-ID: <1772525720114.0000000000000001-1@mx.contoso.test>\r\nSubject: changed\r\n\r\nline\r\nend\r\n.";
    assert!(message.ends_with(wanted), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_traced_sender_leaves_copies_at_each_stage() {
    let world = World::with(|settings| {
        let sender = "pat@b.example".parse().ok();
        settings.tracing = Some(Tracing { sender, until: NOW.plus_millis(1000) });
    })
    .await;
    one_message(&world, "kim", "ann").await;
    assert!(world.seen.copies.lock().unwrap().is_empty());
    one_message(&world, "pat", "ann").await;
    world.hub.idle().await;
    {
        let copies = world.seen.copies.lock().unwrap();
        let stages: Vec<Stage> = copies.iter().map(|(stage, ..)| *stage).collect();
        assert_eq!(stages, [Stage::Received, Stage::Queued, Stage::Delivered]);
        assert!(
            copies[0].1.contains("X-Sender: pat@b.example\r\nX-Receiver: ann@contoso.test\r\n"),
            "{}",
            copies[0].1
        );
        assert!(copies[0].2.as_ref().unwrap().starts_with(b"From: pat@b.example\r\n"));
    }
    assert_eq!(world.inbox("ann").await.len(), 2);
    world.later(2000);
    one_message(&world, "pat", "ann").await;
    assert_eq!(world.seen.copies.lock().unwrap().len(), 3, "its time is over");
}
