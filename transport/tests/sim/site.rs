//! A server's hub over a store in memory, with contoso.test and its people.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use waypost_base::explain::Leg;
use waypost_base::id::Correlation;
use waypost_base::{Clock, Timestamp};
use waypost_directory::signin::{Rules, SignIn};
use waypost_directory::{Address, Directory, Member, NewAccount, NewDomain, NewGroup};
use waypost_mailbox::{Limits, Mailboxes};
use waypost_store::disk::Memory;
use waypost_store::{Engine, Options, Store};
use waypost_tracking::TrackSink;
use waypost_transport::accept::{Kind, serve};
use waypost_transport::connector::{
    AddressSpace, Door, IpRange, Permissions, ReceiveConnector, SendConnector,
};
use waypost_transport::send::Network;
use waypost_transport::{Hub, LegSink, Parts, ProtocolLog, Record, Settings};
use waypost_trust::channel::Channel;

pub const BEGIN: Timestamp = Timestamp(1_772_525_720_000);

/// A clock that goes with tokio's, and can be set; it may go on in another runtime where it stopped in the last.
#[derive(Clone)]
pub struct Hands {
    pub skew: Arc<AtomicI64>,
    going: Arc<Mutex<(Option<Instant>, Timestamp)>>,
}

impl Hands {
    pub fn new(base: Timestamp) -> Hands {
        let hands = Hands::stopped(base);
        hands.go(base);
        hands
    }

    pub fn stopped(base: Timestamp) -> Hands {
        Hands { skew: Arc::default(), going: Arc::new(Mutex::new((None, base))) }
    }

    pub fn reset(&self, base: Timestamp) {
        self.skew.store(0, Ordering::Relaxed);
        *self.going.lock().unwrap() = (None, base);
    }

    /// Goes on from there, by the runtime that this is called in.
    pub fn go(&self, base: Timestamp) {
        *self.going.lock().unwrap() = (Some(Instant::now()), base);
    }

    /// Stops and stands where it is now. To be called in the runtime that it goes by.
    pub fn stop(&self) {
        let now = self.straight();
        *self.going.lock().unwrap() = (None, now);
    }

    /// Without what was set.
    pub fn straight(&self) -> Timestamp {
        let (begun, base) = *self.going.lock().unwrap();
        let passed = begun.map_or(0, |begun| i64::try_from(begun.elapsed().as_millis()).unwrap());
        base.plus_millis(passed)
    }

    pub fn clock(&self) -> Clock {
        let hands = self.clone();
        Clock::new(move || hands.straight().plus_millis(hands.skew.load(Ordering::Relaxed)))
    }
}

/// What the hub told.
#[derive(Default)]
pub struct Seen {
    /// Events are told with their message's subject.
    pub subjects: bool,
    /// Events are not kept: there would be too many.
    pub silent: bool,
    pub events: Mutex<Vec<String>>,
    pub legs: Mutex<Vec<(String, Leg)>>,
    pub lines: Mutex<Vec<String>>,
}

impl TrackSink for Seen {
    fn track(&self, event: &waypost_tracking::Event<'_>) {
        if self.silent {
            return;
        }
        let to: Vec<String> = event
            .recipients
            .iter()
            .map(|r| format!("{} {}", r.address, r.status).trim().to_owned())
            .collect();
        let line = format!("{} {} {}", event.source, event.event_id, to.join("; "));
        let line = if self.subjects { format!("{line} ({})", event.message_subject) } else { line };
        self.events.lock().unwrap().push(line);
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

pub struct Site {
    pub hub: Arc<Hub>,
    pub directory: Arc<Directory>,
    pub mailboxes: Mailboxes,
    pub seen: Arc<Seen>,
    pub running: JoinHandle<()>,
    sessions: AtomicU64,
}

/// People of contoso.test: ann, ben; fay forwards to f@far.example, kim forwards there and keeps a copy; the group
/// team is ann, ben and x@far.example.
pub async fn populate(engine: Arc<dyn Engine>, clock: Clock) {
    let directory = Directory::open(engine, clock).await.unwrap();
    directory.add_domain(NewDomain::new("contoso.test")).await.unwrap();
    let mut ids = Vec::new();
    for name in ["ann", "ben", "fay", "kim"] {
        ids.push(directory.add_account(NewAccount::new(name)).await.unwrap().id);
    }
    for (id, keeps, to) in [(ids[2], false, "f@far.example"), (ids[3], true, "k@far.example")] {
        let change = |account: &mut waypost_directory::Account| {
            account.forward_to = Some(Address::parse(to).unwrap());
            account.deliver_and_forward = keeps;
        };
        directory.update_account(id, change).await.unwrap();
    }
    let mut team = NewGroup::new("team");
    team.require_sender_authentication = Some(false);
    team.members = vec![
        Member::Account(ids[0]),
        Member::Account(ids[1]),
        Member::External(Address::parse("x@far.example").unwrap()),
    ];
    directory.add_group(team).await.unwrap();
}

/// Anybody may send anywhere from 10.0.0.0/8; one send connector by MX for everything.
pub fn settings() -> Settings {
    let mut settings = Settings::new("mx.contoso.test");
    settings.receive = vec![ReceiveConnector {
        name: "Relay".into(),
        enabled: true,
        door: Door::Smtp,
        remote: vec![IpRange::parse("10.0.0.0/8").unwrap()],
        permissions: Permissions { anonymous: true, relay: true, ..Permissions::default() },
        require_tls: false,
        auth: false,
        max_message_size: None,
        max_recipients: None,
        max_hops: 30,
        tarpit: Duration::ZERO,
        message_rate: 0,
        protocol_log: false,
    }];
    settings.send = vec![SendConnector::new("Internet", vec![AddressSpace::new("*", 1)])];
    settings
}

impl Site {
    /// Starts the hub over what the engine and the disk hold. With `seen`, only events are told, and there.
    pub async fn start(
        engine: Arc<dyn Engine>,
        disk: Arc<Memory>,
        clock: Clock,
        network: Network,
        settings: Settings,
        seen: Option<Arc<Seen>>,
    ) -> Site {
        let store = Store::assemble(engine, disk, Options::new([7; 32], clock.clone())).unwrap();
        let directory = Directory::open(store.engine().clone(), clock.clone()).await.unwrap();
        let sign_in = Arc::new(SignIn::new(directory.clone(), clock.clone(), Rules::default()));
        let mailboxes = Mailboxes::open(store.clone(), clock.clone(), Limits::default());
        let telling = seen.is_none();
        let seen = seen.unwrap_or_default();
        let mut parts = Parts::new(directory.clone(), sign_in, mailboxes.clone(), clock, settings);
        parts.network = Some(Network { log: telling.then(|| seen.clone() as _), ..network });
        parts.tracking = Some(seen.clone());
        parts.legs = telling.then(|| seen.clone() as _);
        let hub = Hub::new(parts);
        hub.queue().recover().await.unwrap();
        let running = tokio::spawn(waypost_transport::send::run(hub.clone()));
        Site { hub, directory, mailboxes, seen, running, sessions: AtomicU64::new(1) }
    }

    /// A client's connection to port 25.
    pub fn connect(&self) -> Client {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let channel = Channel {
            stream: Box::new(theirs),
            local: SocketAddr::from(([192, 0, 2, 25], 25)),
            peer: SocketAddr::from(([10, 0, 0, 1], 4000)),
            tls: None,
            upgrade: None,
        };
        let session = Correlation(self.sessions.fetch_add(1, Ordering::Relaxed));
        tokio::spawn(serve(channel, self.hub.service(Kind::Smtp), session));
        Client { stream: BufReader::new(ours) }
    }

    /// Everything in somebody's inbox.
    pub async fn inbox(&self, name: &str) -> Vec<String> {
        let id = self.directory.snapshot().find_account(name).expect("an account of the tests").id;
        let Ok(account) = self.mailboxes.account(id).await else { return Vec::new() };
        let session = account.select(account.inbox()).await.unwrap();
        let mut messages = Vec::new();
        for (_, row) in session.rows(1, session.len()).collect::<Vec<_>>() {
            let body = account.body(row.message).await.unwrap();
            let bytes = account.read(&body, 0..body.size()).await.unwrap();
            messages.push(String::from_utf8_lossy(&bytes).into_owned());
        }
        messages
    }
}

pub struct Client {
    stream: BufReader<DuplexStream>,
}

impl Client {
    /// One reply, its lines separated by LF; empty at the end.
    pub async fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return reply;
            }
            reply.push_str(line.trim_end());
            if line.as_bytes().get(3) != Some(&b'-') {
                return reply;
            }
            reply.push('\n');
        }
    }

    pub async fn say(&mut self, line: &str) -> String {
        let _ = self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).await;
        self.reply().await
    }

    /// Sends a message; gives the recipients that were taken, and the answer to the final dot.
    pub async fn send(&mut self, from: &str, to: &[&str], text: &str) -> (Vec<String>, String) {
        self.reply().await;
        self.say("EHLO client.example").await;
        let answer = self.say(&format!("MAIL FROM:<{from}>")).await;
        if !answer.starts_with('2') {
            return (Vec::new(), answer);
        }
        let mut taken = Vec::new();
        let mut last = String::new();
        for to in to {
            last = self.say(&format!("RCPT TO:<{to}>")).await;
            if last.starts_with('2') {
                taken.push((*to).to_owned());
            }
        }
        if taken.is_empty() {
            return (taken, last);
        }
        let answer = self.say("DATA").await;
        if !answer.starts_with('3') {
            return (Vec::new(), answer);
        }
        let answer = self.say(&format!("{text}\r\n.")).await;
        (taken, answer)
    }

    #[allow(dead_code, reason = "for those who want to hear the end")]
    pub async fn rest(&mut self) -> String {
        let mut text = String::new();
        let _ = self.stream.read_to_string(&mut text).await;
        text
    }
}
