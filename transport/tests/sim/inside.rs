//! Several servers of one organisation, with legs between them that break anywhere and servers that crash: what was
//! accepted is in each mailbox once.

use crate::internet::{Names, Peers, network, random};
use crate::site::{BEGIN, Hands, Site, settings};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::task::AbortHandle;
use waypost_base::explain::{Cause, Confidence, Finding, Leg, Outcome, Party};
use waypost_base::{Clock, Timestamp};
use waypost_directory::{Directory, Member, NewAccount, NewDomain, NewGroup, Roles, Server};
use waypost_store::Model;
use waypost_transport::Hub;
use waypost_transport::accept::{Kind, serve_inner};
use waypost_trust::leg::{Hello, Inner, NotOpened, Opened, Opening, Service};

const ENCTYPE: Cause = Cause {
    code: "KRB-ENCTYPE-MISSING",
    meaning: "the keytab lacks the key that the ticket is encrypted with",
    remedy: "",
    reference: "",
};
const TICKET: &str = "the ticket for waypost/s2 is encrypted with aes256-cts kvno 3; the keytab of server-2/mailbox holds only arcfour-hmac kvno 3";

type Dice = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Legs in memory.
struct Wire {
    hubs: Mutex<BTreeMap<String, Arc<Hub>>>,
    legs: Mutex<Vec<(String, AbortHandle)>>,
    dice: Dice,
    /// Of a hundred legs, so many break somewhere.
    breaks: u64,
    /// Legs come about, but not as they should.
    degraded: bool,
    clock: Clock,
}

impl Wire {
    fn leg(&self, to: &str, service: Service) -> Leg {
        let (from, to) = (Party::new("server", "?"), Party::new("server", to));
        Leg::start(format!("inner.{service}"), from, to, self.clock.now())
    }

    fn finding(&self) -> Finding {
        Finding {
            cause: ENCTYPE,
            confidence: Confidence::Certain,
            evidence: Vec::new(),
            remedy: Vec::new(),
            untested: Vec::new(),
        }
    }

    /// Nothing that was said and not yet heard is heard any more.
    fn cut(&self, server: &str) {
        self.hubs.lock().unwrap().remove(server);
        self.legs.lock().unwrap().retain(|(to, task)| {
            if to == server {
                task.abort();
            }
            to != server
        });
    }
}

impl Inner for Wire {
    fn open<'a>(&'a self, to: &'a str, hello: Hello) -> Opening<'a> {
        let hub = self.hubs.lock().unwrap().get(to).cloned();
        let mut leg = self.leg(to, hello.service);
        Box::pin(async move {
            let Some(hub) = hub else {
                leg.outcome = Outcome::Failed { cause: ENCTYPE, text: TICKET.into(), retry: true };
                let (leg, finding) = (Box::new(leg), Box::new(self.finding()));
                let (text, answer) = (TICKET.to_owned(), serde_json::Value::Null);
                return Err(NotOpened { leg, finding, text, elsewhere: true, answer });
            };
            let kind = if hello.service == Service::Hub { Kind::Hub } else { Kind::Delivery };
            let (ours, near) = duplex(64 * 1024);
            let (far, theirs) = duplex(64 * 1024);
            let broken = (self.dice)() % 100 < self.breaks;
            let patience = if broken { (self.dice)() % 2500 } else { u64::MAX };
            let task = tokio::spawn(relay(near, far, patience)).abort_handle();
            self.legs.lock().unwrap().push((to.to_owned(), task));
            tokio::spawn(serve_inner((Box::new(theirs), leg.clone()), hub.service(kind), hello.session));
            leg.mechanism = "mtls".into();
            leg.outcome = Outcome::Ok;
            let mut finding = None;
            if self.degraded {
                leg.outcome = Outcome::Degraded { cause: ENCTYPE, text: TICKET.into() };
                finding = Some(self.finding());
            }
            Ok(Opened { stream: Box::new(ours), answer: serde_json::Value::Null, leg, finding })
        })
    }
}

/// Carries both ways, and hangs up on both when so many octets have come back.
async fn relay(near: DuplexStream, far: DuplexStream, patience: u64) {
    let ((mut near_in, mut near_out), (mut far_in, mut far_out)) = (split(near), split(far));
    let there = async {
        let _ = tokio::io::copy(&mut near_in, &mut far_out).await;
        let _ = far_out.shutdown().await;
        // The other direction may still have something to say.
        std::future::pending::<()>().await;
    };
    let back = async {
        let mut left = patience;
        let mut buffer = [0; 4096];
        loop {
            let read = far_in.read(&mut buffer).await.unwrap_or(0);
            let some = read.min(usize::try_from(left).unwrap_or(usize::MAX));
            if read == 0 || near_out.write_all(&buffer[..some]).await.is_err() || some < read {
                return;
            }
            left -= some as u64;
        }
    };
    tokio::select! { () = there => {}, () = back => {} }
}

struct Organisation {
    wire: Arc<Wire>,
    models: BTreeMap<&'static str, Arc<Model>>,
    sites: BTreeMap<&'static str, Site>,
    clock: Clock,
}

/// server-1 is a hub with mailboxes (ann), server-2 holds mailboxes alone (ben, cat), server-3 is a hub alone. The group
/// team is everybody, for those who have signed in or come from anywhere.
const SERVERS: [(&str, Roles); 3] = [
    ("server-1", Roles::ALL),
    ("server-2", Roles { frontend: true, transport: false, mailbox: true }),
    ("server-3", Roles { frontend: false, transport: true, mailbox: false }),
];

impl Organisation {
    async fn new(seed: u64, breaks: u64, degraded: bool) -> Organisation {
        let clock = Hands::new(BEGIN).clock();
        let wire = Arc::new(Wire {
            hubs: Mutex::default(),
            legs: Mutex::default(),
            dice: random(seed),
            breaks,
            degraded,
            clock: clock.clone(),
        });
        let mut o = Organisation { wire, models: BTreeMap::new(), sites: BTreeMap::new(), clock };
        for (id, _) in SERVERS {
            let model = Arc::new(Model::new(o.clock.clone()));
            o.populate(model.clone()).await;
            o.models.insert(id, model);
            o.start(id).await;
        }
        o
    }

    /// The same everywhere.
    async fn populate(&self, model: Arc<Model>) {
        let directory = Directory::open(model, self.clock.clone()).await.unwrap();
        directory.add_domain(NewDomain::new("contoso.test")).await.unwrap();
        for (id, roles) in SERVERS {
            let server = Server {
                version: 0,
                id: id.into(),
                inner: "127.0.0.1:444".into(),
                host: format!("{id}.contoso.test"),
                roles,
                primary: id == "server-1",
                components: BTreeMap::new(),
                requesters: BTreeMap::new(),
                principals: Vec::new(),
                revoked: None,
                certificates_since: None,
                joined: Timestamp(0),
                changed: Timestamp(0),
            };
            directory.add_server(server).await.unwrap();
        }
        let mut team = NewGroup::new("team");
        team.require_sender_authentication = Some(false);
        for (name, home) in [("ann", "server-1"), ("ben", "server-2"), ("cat", "server-2")] {
            let mut new = NewAccount::new(name);
            new.home = Some(home.into());
            team.members.push(Member::Account(directory.add_account(new).await.unwrap().id));
        }
        directory.add_group(team).await.unwrap();
    }

    async fn start(&mut self, id: &'static str) {
        let inner: Arc<dyn Inner> = self.wire.clone();
        let mut network = network(Names::default(), &Peers::default());
        network.inner = Some(inner);
        let mut settings = settings();
        settings.host = format!("{id}.contoso.test");
        settings.send.clear();
        settings.retry.glitch_millis = 1_000;
        let model = self.models[id].clone();
        let site = Site::start(model, Arc::default(), self.clock.clone(), network, settings, None).await;
        site.directory.set_here(id);
        self.wire.hubs.lock().unwrap().insert(id.into(), site.hub.clone());
        self.sites.insert(id, site);
    }

    /// As a power cut: what was not answered was not said.
    async fn crash(&mut self, id: &'static str) {
        self.wire.cut(id);
        let site = self.sites.remove(id).expect("a server that runs");
        site.running.abort();
        self.models.insert(id, Arc::new(self.models[id].copy()));
        site.hub.stop();
        self.start(id).await;
    }

    async fn send(&self, id: &str, to: &[&str], subject: &str) -> bool {
        let text = format!("Subject: {subject}\r\nFrom: pat@far.example\r\n\r\nhello");
        let (taken, answer) = self.sites[id].connect().send("pat@far.example", to, &text).await;
        taken.len() == to.len() && answer.starts_with("250")
    }

    async fn drained(&self) {
        let done = async {
            while self.sites.values().any(|site| !site.hub.queue().is_empty()) {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        let queues = || self.sites.values().map(|s| s.hub.queue().list_queues(|_| true)).collect::<Vec<_>>();
        assert!(tokio::time::timeout(Duration::from_secs(7200), done).await.is_ok(), "{:?}", queues());
    }

    /// Everybody has everything once.
    async fn once(&self, subjects: &[String]) {
        for (name, home) in [("ann", "server-1"), ("ben", "server-2"), ("cat", "server-2")] {
            let inbox = self.sites[home].inbox(name).await;
            for subject in subjects {
                let wanted = format!("Subject: {subject}\r\n");
                let times = inbox.iter().filter(|text| text.contains(&wanted)).count();
                assert_eq!(times, 1, "{subject} for {name}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn legs_that_break_anywhere_lose_and_double_nothing() {
    for seed in 0..12 {
        let o = Organisation::new(seed, 60, false).await;
        let mut subjects = Vec::new();
        for n in 0..12 {
            let subject = format!("number {n} of {seed}");
            let at = if n % 2 == 0 { "server-1" } else { "server-2" };
            assert!(o.send(at, &["team@contoso.test"], &subject).await, "{subject}");
            subjects.push(subject);
        }
        o.drained().await;
        o.once(&subjects).await;
    }
}

#[tokio::test(start_paused = true)]
async fn servers_that_crash_lose_and_double_nothing() {
    for seed in 100..112 {
        let mut o = Organisation::new(seed, 40, false).await;
        let dice = random(seed);
        let mut subjects = Vec::new();
        for n in 0..15 {
            let subject = format!("number {n} of {seed}");
            let at = if n % 2 == 0 { "server-1" } else { "server-2" };
            assert!(o.send(at, &["team@contoso.test"], &subject).await, "{subject}");
            subjects.push(subject);
            for _ in 0..dice() % 40 {
                tokio::task::yield_now().await;
            }
            let (id, _) = SERVERS[(dice() % 3) as usize];
            o.crash(id).await;
        }
        o.drained().await;
        o.once(&subjects).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_leg_that_fails_is_the_queues_reason_and_one_that_is_degraded_delivers() {
    let mut o = Organisation::new(1, 0, true).await;
    o.wire.cut("server-2");
    assert!(o.send("server-1", &["team@contoso.test"], "waits").await);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let queues = o.sites["server-1"].hub.queue().list_queues(|queue| queue.message_count > 0);
    let said: Vec<String> =
        queues.iter().filter_map(|q| q.last_error.as_ref()).map(ToString::to_string).collect();
    assert_eq!(said, [format!("4.4.1 server-2: [KRB-ENCTYPE-MISSING] {TICKET}")]);
    assert_eq!(queues[0].identity, "Home/server-2");
    o.crash("server-2").await;
    o.drained().await;
    o.once(&["waits".to_owned()]).await;
    let legs = o.sites["server-1"].seen.legs.lock().unwrap();
    let leg = legs.iter().map(|(_, leg)| leg).rfind(|leg| leg.acceptor.name == "server-2").unwrap();
    assert!(matches!(&leg.outcome, Outcome::Degraded { cause, .. } if cause.code == ENCTYPE.code), "{leg}");
}
