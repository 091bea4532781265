//! An organisation in memory, for tests: contoso.test with some people, and strangers who talk to it.

use crate::accept::{Kind, serve};
use crate::agent::Agent;
use crate::deliver::{self, Pass};
use crate::pipeline::{Copied, PipelineTrace, Stage};
use crate::{Hub, LegSink, Parts, ProtocolLog, Record, Settings};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::task::JoinHandle;
use waypost_base::explain::Leg;
use waypost_base::id::Correlation;
use waypost_base::{AccountId, Clock, Timestamp};
use waypost_directory::signin::{Rules, SignIn};
use waypost_directory::{Directory, Limit, Member, NewAccount, NewDomain, NewGroup, Quotas};
use waypost_mailbox::{Limits, Mailboxes, MessageBody};
use waypost_queue::Work;
use waypost_store::disk::Memory;
use waypost_store::{Model, Options, Store};
use waypost_tracking::{Event, TrackSink};
use waypost_trust::channel::{Accepting, BoxStream, Channel, TlsAccept, TlsFacts};

pub(crate) const NOW: Timestamp = Timestamp(1_772_525_720_114);
pub(crate) const PASSWORD: &str = "correct horse battery staple";

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) legs: Mutex<Vec<(String, Leg)>>,
    pub(crate) lines: Mutex<Vec<String>>,
    /// `SOURCE EVENT recipients <related> (status)`
    pub(crate) tracked: Mutex<Vec<String>>,
    pub(crate) copies: Mutex<Vec<Copy>>,
}

/// Stage, envelope, and the message where it was in memory.
type Copy = (Stage, String, Option<Vec<u8>>);

impl Seen {
    /// The events with this in them.
    pub(crate) fn events(&self, part: &str) -> Vec<String> {
        self.tracked.lock().unwrap().iter().filter(|e| e.contains(part)).cloned().collect()
    }
}

impl TrackSink for Seen {
    fn track(&self, event: &Event<'_>) {
        let to: Vec<&str> = event.recipients.iter().map(|r| r.address).collect();
        let mut line = format!("{} {} {}", event.source, event.event_id, to.join(","));
        if !event.related_recipient_address.is_empty() {
            line.push_str(&format!(" <{}>", event.related_recipient_address));
        }
        for said in [event.recipients.first().map_or("", |r| r.status), event.source_context] {
            if !said.is_empty() {
                line.push_str(&format!(" ({said})"));
            }
        }
        self.tracked.lock().unwrap().push(line);
    }
}

impl PipelineTrace for Seen {
    fn copy(&self, stage: Stage, _name: &str, envelope: String, bytes: Copied) {
        let bytes = match bytes {
            Copied::Memory(bytes) => Some(bytes),
            Copied::Stored(_) => None,
        };
        self.copies.lock().unwrap().push((stage, envelope, bytes));
    }
}

impl LegSink for Seen {
    fn leg(&self, message_id: &str, leg: Leg) {
        self.legs.lock().unwrap().push((message_id.to_owned(), leg));
    }
}

impl ProtocolLog for Seen {
    fn record(&self, record: &Record<'_>) {
        let line = format!("{} {}{}", record.event.sign(), record.data, record.context);
        self.lines.lock().unwrap().push(line.trim_end().to_owned());
    }
}

pub(crate) struct World {
    pub(crate) model: Arc<Model>,
    pub(crate) disk: Arc<Memory>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) seen: Arc<Seen>,
    /// Milliseconds that the clock has gone on.
    gone: Arc<AtomicI64>,
    sessions: AtomicU64,
}

impl World {
    /// ann, ben, cat (almost no quota), dan (disabled); the groups staff (ann, ben, all; not for strangers) and all
    /// (ann, ben, staff).
    pub(crate) async fn new() -> World {
        World::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> World {
        let model = Arc::new(Model::new(Clock::fixed(NOW)));
        World::populate(World::over(model, Arc::default(), change).await).await
    }

    async fn populate(world: World) -> World {
        let directory = &world.directory;
        directory.add_domain(NewDomain::new("contoso.test")).await.unwrap();
        let mut ids = Vec::new();
        for name in ["ann", "ben", "cat", "dan"] {
            let mut new = NewAccount::new(name);
            new.enabled = Some(name != "dan");
            if name == "cat" {
                new.quotas = Quotas { prohibit_send_receive: Limit::At(2000), ..Quotas::default() };
            }
            ids.push(directory.add_account(new).await.unwrap().id);
        }
        let mut staff = NewGroup::new("staff");
        staff.members = ids.iter().take(2).map(|id| Member::Account(*id)).collect();
        let staff = directory.add_group(staff).await.unwrap();
        let mut all = NewGroup::new("all");
        all.members = vec![Member::Group(staff.id), Member::Account(ids[0]), Member::Account(ids[1])];
        all.require_sender_authentication = Some(false);
        let all = directory.add_group(all).await.unwrap();
        directory.add_member(staff.id, Member::Group(all.id)).await.unwrap();
        world
    }

    /// Passwords as those of [`World::with_passwords`].
    pub(crate) async fn and_passwords(self) -> World {
        for name in ["ann", "dan"] {
            self.directory.set_password(self.account(name), PASSWORD).await.unwrap();
        }
        self
    }

    /// The same, with passwords for ann and dan. Hashing takes its time, so only where it is needed.
    pub(crate) async fn with_passwords() -> World {
        World::new().await.and_passwords().await
    }

    /// What is there after a restart.
    pub(crate) async fn restart(&self) -> World {
        let world = World::over(Arc::new(self.model.copy()), self.disk.clone(), |_| {}).await;
        world.hub.queue.recover().await.unwrap();
        world
    }

    /// The same, with agents.
    pub(crate) async fn with_agents(agents: Vec<Arc<dyn Agent>>) -> World {
        let model = Arc::new(Model::new(Clock::fixed(NOW)));
        let disk: Arc<Memory> = Arc::default();
        let store =
            Store::assemble(model.clone(), disk.clone(), Options::new([7; 32], Clock::fixed(NOW))).unwrap();
        World::populate(World::assemble(model, disk, store, true, agents, |_| {}).await).await
    }

    /// The clock goes on.
    pub(crate) fn later(&self, millis: i64) {
        self.gone.fetch_add(millis, Ordering::Relaxed);
    }

    /// Does what is due at the mailboxes now, and what comes of that.
    pub(crate) async fn work(&self) -> Pass {
        let mut all = Pass::default();
        loop {
            let next = tokio::time::timeout(Duration::from_millis(20), self.hub.queue.work());
            match next.await {
                Ok(Work::Deliver(lease)) => {
                    let pass = deliver::lease(self.hub.clone(), lease).await;
                    all.delivered += pass.delivered;
                    all.deferred += pass.deferred;
                    all.failed += pass.failed;
                }
                Ok(_) => {}
                Err(_) => return all,
            }
        }
    }

    async fn over(model: Arc<Model>, disk: Arc<Memory>, change: impl FnOnce(&mut Settings)) -> World {
        let clock = Clock::fixed(NOW);
        let options = Options::new([7; 32], clock.clone());
        let store = Store::assemble(model.clone(), disk.clone(), options).unwrap();
        World::assemble(model, disk, store, true, Vec::new(), change).await
    }

    async fn assemble(
        model: Arc<Model>,
        disk: Arc<Memory>,
        store: Store,
        sinks: bool,
        agents: Vec<Arc<dyn Agent>>,
        change: impl FnOnce(&mut Settings),
    ) -> World {
        let gone = Arc::new(AtomicI64::new(0));
        let clock = {
            let gone = gone.clone();
            Clock::new(move || NOW.plus_millis(gone.load(Ordering::Relaxed)))
        };
        let directory = Directory::open(store.engine().clone(), clock.clone()).await.unwrap();
        let seen = Arc::new(Seen::default());
        let mut settings = Settings::new("mx.contoso.test");
        settings.terms.loopback_is_secure = true;
        change(&mut settings);
        let sign_in = Arc::new(SignIn::new(directory.clone(), clock.clone(), Rules::default()));
        let mailboxes = Mailboxes::open(store, clock.clone(), Limits::default());
        let mut parts = Parts::new(directory.clone(), sign_in, mailboxes, clock, settings);
        parts.legs = sinks.then(|| seen.clone() as Arc<dyn LegSink>);
        parts.log = sinks.then(|| seen.clone() as Arc<dyn ProtocolLog>);
        parts.tracking = sinks.then(|| seen.clone() as Arc<dyn TrackSink>);
        parts.tracing = sinks.then(|| seen.clone() as Arc<dyn PipelineTrace>);
        parts.agents = agents;
        let hub = Hub::new(parts);
        World { model, disk, directory, hub, seen, gone, sessions: AtomicU64::new(1) }
    }

    pub(crate) fn account(&self, name: &str) -> AccountId {
        self.directory.snapshot().find_account(name).expect("an account of the tests").id
    }

    /// All messages in somebody's inbox.
    pub(crate) async fn inbox(&self, name: &str) -> Vec<String> {
        let account = self.hub.mailbox(self.account(name)).await.unwrap();
        let session = account.select(account.inbox()).await.unwrap();
        let mut messages = Vec::new();
        for (_, row) in session.rows(1, session.len()).collect::<Vec<_>>() {
            let body: MessageBody = account.body(row.message).await.unwrap();
            let bytes = account.read(&body, 0..body.size()).await.unwrap();
            messages.push(String::from_utf8_lossy(&bytes).into_owned());
        }
        messages
    }

    pub(crate) fn connect(&self, kind: Kind) -> Talk {
        self.connect_from(kind, "192.0.2.1:4000")
    }

    pub(crate) fn connect_from(&self, kind: Kind, peer: &str) -> Talk {
        let (ours, theirs) = tokio::io::duplex(256 * 1024);
        let tls = (kind == Kind::Submissions).then(facts);
        let channel = Channel {
            stream: Box::new(theirs),
            local: SocketAddr::from((
                if peer.starts_with("127.") { [127, 0, 0, 1] } else { [192, 0, 2, 25] },
                25,
            )),
            peer: peer.parse().unwrap(),
            upgrade: tls.is_none().then(|| Arc::new(NoTls) as Arc<dyn TlsAccept>),
            tls,
        };
        let service = self.hub.service(kind);
        let session = Correlation(self.sessions.fetch_add(1, Ordering::Relaxed));
        Talk { stream: BufReader::new(ours), task: tokio::spawn(serve(channel, service, session)) }
    }
}

fn facts() -> TlsFacts {
    TlsFacts {
        version: "TLSv1.3",
        cipher: "TLS_AES_256_GCM_SHA384",
        server_name: None,
        exporter: Some([9; 32]),
        end_point: None,
        client: None,
    }
}

/// A handshake that is not one.
struct NoTls;

impl TlsAccept for NoTls {
    fn accept(&self, plain: BoxStream) -> Accepting {
        Box::pin(async move { Ok((plain, facts())) })
    }
}

/// The peer's side of a conversation.
pub(crate) struct Talk {
    stream: BufReader<DuplexStream>,
    pub(crate) task: JoinHandle<()>,
}

impl Talk {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        // The other side may have hung up; what it says is looked at, not whether it listens.
        let _ = self.stream.get_mut().write_all(bytes).await;
    }

    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.unwrap();
        line.trim_end_matches("\r\n").to_owned()
    }

    /// Says no more, and hears out what is still said.
    pub(crate) async fn close(mut self) -> (JoinHandle<()>, String) {
        // It may be closed already.
        let _ = self.stream.get_mut().shutdown().await;
        let heard = self.rest().await;
        (self.task, heard)
    }

    /// What is still said until the connection is closed.
    pub(crate) async fn rest(&mut self) -> String {
        let mut text = String::new();
        self.stream.read_to_string(&mut text).await.unwrap();
        text
    }

    /// Sends `C:` lines, and wants to hear the `S:` lines; `*` at the end stands for anything.
    pub(crate) async fn script(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
            if let Some(said) = line.strip_prefix("C:") {
                self.send(format!("{}\r\n", said.strip_prefix(' ').unwrap_or(said)).as_bytes()).await;
            } else if let Some(wanted) = line.strip_prefix("S: ") {
                let heard = self.line().await;
                let fits = match wanted.strip_suffix('*') {
                    Some(begin) => heard.starts_with(begin),
                    None => heard == wanted,
                };
                assert!(fits, "wanted {wanted:?}, heard {heard:?}");
            } else {
                panic!("not a line of a script: {line}");
            }
        }
    }

    /// Greeting and hello.
    pub(crate) async fn hello(&mut self) {
        self.line().await;
        self.ehlo("EHLO").await;
    }

    pub(crate) async fn ehlo(&mut self, verb: &str) -> Vec<String> {
        self.send(format!("{verb} client.example\r\n").as_bytes()).await;
        let mut lines = Vec::new();
        loop {
            let line = self.line().await;
            assert!(line.starts_with("250"), "{line}");
            let last = line.as_bytes().get(3) == Some(&b' ');
            lines.push(line);
            if last {
                return lines;
            }
        }
    }
}
