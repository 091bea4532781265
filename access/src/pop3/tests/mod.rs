//! Conversations in memory and in virtual time, against drops that can break.

mod proxy;
mod signing_in;
mod speed;
mod store;
mod transaction;
mod trouble;

use super::source::{Item, Opened, Pending, Trouble};
use super::{Drop, Drops, Service, Settings, serve};
use crate::log::{LegSink, ProtocolLog, Record};
use crate::signin::{Answering, Authority, Entrance, LoginType, Policy};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
use waypost_base::explain::Leg;
use waypost_base::id::Correlation;
use waypost_base::{AccountId, Clock, MessageId, Timestamp};
use waypost_directory::Protocol;
use waypost_directory::signin::Asking;
use waypost_mailbox::{Fault, FaultKind, MessageBody, UidSet};
use waypost_sasl::{Answer, Bindings, Identity, Question, ScramKeys, Setup, Why};
use waypost_trust::channel::{Accepting, BoxStream, Channel, TlsAccept, TlsFacts};

/// Accounts by name: their number, with `pencil` for a password.
struct People;

fn person(name: &str) -> Option<Identity> {
    let account = match name {
        "adele" => AccountId(1),
        "alex" => AccountId(2),
        _ => return None,
    };
    Some(Identity { account, address: format!("{name}@contoso.test"), by: None })
}

impl Authority for People {
    fn setup(&self, bindings: Bindings) -> Result<Setup, String> {
        Ok(Setup::new(bindings, [1; 18], [2; 32]))
    }

    fn answer<'a>(&'a self, question: Question, asking: &'a Asking) -> Answering<'a> {
        assert_eq!(asking.protocol, Protocol::Pop);
        let wrong = |i: Option<Identity>| i.map_or(Answer::Wrong, Answer::Accepted);
        let answer = match question {
            Question::CheckPassword { authcid, .. } if authcid == "down" => {
                Answer::Unavailable("no store".into())
            }
            Question::CheckPassword { authcid, .. } if authcid == "off" => Answer::NotAllowed(Why::Protocol),
            Question::CheckPassword { authcid, password, .. } => {
                wrong(person(&authcid).filter(|_| password.expose() == b"pencil"))
            }
            Question::ScramKeys { authcid, .. } => match person(&authcid) {
                Some(_) => Answer::Keys(ScramKeys::derive("pencil", b"salt", 4096)),
                None => Answer::Wrong,
            },
            Question::Authorize { authcid, .. } => wrong(person(&authcid)),
            // No such mechanism is offered here.
            _ => Answer::Unavailable("not asked in these tests".into()),
        };
        Box::pin(std::future::ready(answer))
    }
}

/// Drops in memory, by account.
#[derive(Default)]
struct Boxes {
    messages: Mutex<BTreeMap<AccountId, BTreeMap<u32, Bytes>>>,
    /// What goes wrong.
    broken: Mutex<Broken>,
    /// Calls of `bodies`.
    reads: AtomicUsize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Broken {
    #[default]
    Nothing,
    Open,
    OpenForGood,
    Read,
    Damaged,
    Gone,
    Remove,
}

impl Boxes {
    fn with(account: u32, messages: &[&str]) -> Arc<Boxes> {
        let boxes = Boxes::default();
        let list = (1u32..).zip(messages).map(|(n, m)| (n * 10, Bytes::from((*m).to_owned()))).collect();
        boxes.messages.lock().unwrap().insert(AccountId(account), list);
        Arc::new(boxes)
    }

    fn uids(&self, account: u32) -> Vec<u32> {
        self.messages.lock().unwrap()[&AccountId(account)].keys().copied().collect()
    }

    fn broken(&self, broken: Broken) {
        *self.broken.lock().unwrap() = broken;
    }
}

struct Shared(Arc<Boxes>);

impl Drops for Shared {
    fn open(&self, account: AccountId) -> Pending<'_, Result<Opened, Trouble>> {
        let broken = *self.0.broken.lock().unwrap();
        let result = match broken {
            Broken::Open => Err(Trouble { retry: true, text: "the store is busy".into() }),
            Broken::OpenForGood => Err(Trouble { retry: false, text: "damaged row".into() }),
            _ => {
                let all = self.0.messages.lock().unwrap();
                let item = |(uid, bytes): (&u32, &Bytes)| Item {
                    uid: *uid,
                    message: MessageId(u64::from(*uid)),
                    octets: bytes.len() as u64,
                };
                let items = all.get(&account).into_iter().flatten().map(item).collect();
                Ok(Opened { validity: 7, items, drop: Box::new(One { boxes: self.0.clone(), account }) })
            }
        };
        Box::pin(std::future::ready(result))
    }
}

struct One {
    boxes: Arc<Boxes>,
    account: AccountId,
}

impl Drop for One {
    fn bodies<'a>(&'a self, ids: &'a [MessageId]) -> Pending<'a, Vec<Result<MessageBody, Fault>>> {
        assert!(ids.len() <= waypost_mailbox::limits::BODY_PAGE);
        self.boxes.reads.fetch_add(1, Ordering::Relaxed);
        let broken = *self.boxes.broken.lock().unwrap();
        let all = self.boxes.messages.lock().unwrap();
        let body = |id: &MessageId| {
            let kind = match broken {
                Broken::Read => FaultKind::Unavailable("disk".into()),
                Broken::Damaged => FaultKind::Damaged("checksum".into()),
                Broken::Gone => FaultKind::Gone,
                _ => return Ok(MessageBody::Small(all[&self.account][&(id.0 as u32)].clone())),
            };
            Err(Fault { message: *id, kind })
        };
        let bodies = ids.iter().map(body).collect();
        Box::pin(std::future::ready(bodies))
    }

    fn read<'a>(&'a self, body: &'a MessageBody, range: Range<u64>) -> Pending<'a, Result<Bytes, Fault>> {
        let MessageBody::Small(bytes) = body else { panic!("all are small here") };
        let bytes = bytes.slice(range.start as usize..range.end as usize);
        Box::pin(std::future::ready(Ok(bytes)))
    }

    fn remove(&self, uids: UidSet) -> Pending<'_, Result<(), Trouble>> {
        let result = match *self.boxes.broken.lock().unwrap() {
            Broken::Remove => Err(Trouble { retry: true, text: "the disk is full".into() }),
            _ => {
                let mut all = self.boxes.messages.lock().unwrap();
                all.get_mut(&self.account).unwrap().retain(|uid, _| !uids.contains(*uid));
                Ok(())
            }
        };
        Box::pin(std::future::ready(result))
    }
}

/// TLS that changes nothing, and says that it is there.
struct NoTls;

fn facts() -> TlsFacts {
    TlsFacts {
        version: "TLSv1.3",
        cipher: "TLS_AES_128_GCM_SHA256",
        server_name: None,
        exporter: Some([4; 32]),
        end_point: None,
        client: None,
    }
}

impl TlsAccept for NoTls {
    fn accept(&self, plain: BoxStream) -> Accepting {
        Box::pin(std::future::ready(Ok((plain, facts()))))
    }
}

/// Remembers what it is told.
#[derive(Default)]
struct Ears {
    lines: Mutex<Vec<String>>,
    legs: Mutex<Vec<Leg>>,
}

impl ProtocolLog for Ears {
    fn record(&self, r: &Record<'_>) {
        let line = format!("{} {} {} {} {}", r.sequence, r.user, r.command, r.parameters, r.context);
        self.lines.lock().unwrap().push(line);
    }
}

impl LegSink for Ears {
    fn leg(&self, leg: Leg) {
        self.legs.lock().unwrap().push(leg);
    }
}

struct World {
    service: Arc<Service>,
    boxes: Arc<Boxes>,
    ears: Arc<Ears>,
}

fn world_with(boxes: Arc<Boxes>, settings: Settings, policy: Policy) -> World {
    let ears = Arc::new(Ears::default());
    let entrance = Entrance::new(Protocol::Pop, Arc::new(People), policy);
    let clock = Clock::fixed(Timestamp(0));
    let drops = Arc::new(Shared(boxes.clone()));
    let service =
        Service::new(settings, entrance, drops, clock).with_log(ears.clone()).with_legs(ears.clone());
    World { service: Arc::new(service), boxes, ears }
}

fn world(messages: &[&str]) -> World {
    let policy = Policy { login_type: LoginType::PlainTextLogin, ..Policy::default() };
    world_with(Boxes::with(1, messages), Settings::default(), policy)
}

impl World {
    /// A session over a channel without TLS, after the greeting.
    async fn call(&self) -> Client {
        let mut client = self.channel(None, None);
        client.talk("S: +OK Waypost POP3 service is ready.").await;
        client
    }

    fn channel(&self, tls: Option<TlsFacts>, upgrade: Option<Arc<dyn TlsAccept>>) -> Client {
        Client::call(&self.service, tls, upgrade)
    }

    /// A session that has signed in as adele.
    async fn inside(&self) -> Client {
        let mut client = self.call().await;
        client.talk("C: USER adele\nS: +OK\nC: PASS pencil\nS: +OK …").await;
        client
    }
}

struct Client(BufReader<DuplexStream>);

impl Client {
    fn call(service: &Arc<Service>, tls: Option<TlsFacts>, upgrade: Option<Arc<dyn TlsAccept>>) -> Client {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let channel = Channel {
            stream: Box::new(far),
            local: "192.0.2.1:110".parse().unwrap(),
            peer: "192.0.2.7:40000".parse().unwrap(),
            tls,
            upgrade,
        };
        tokio::spawn(serve(channel, service.clone(), Correlation(0x1a)));
        Client(BufReader::new(near))
    }

    /// `C:` lines are sent, `S:` lines have to come (without spaces at the end); `…` at the end stands for anything. `S: (closed)` is the end.
    async fn talk(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let (who, text) = line.split_once(':').unwrap_or_else(|| panic!("bad script: {line}"));
            let text = text.strip_prefix(' ').unwrap_or(text);
            match who {
                "C" => self.send(&format!("{text}\r\n")).await,
                "S" if text == "(closed)" => assert_eq!(self.line().await, ""),
                "S" => {
                    let came = self.line().await;
                    let came = came.strip_suffix("\r\n").unwrap_or_else(|| panic!("no line: {came:?}"));
                    match text.strip_suffix('…') {
                        Some(start) => assert!(came.starts_with(start), "wanted {text:?}, got {came:?}"),
                        None => assert_eq!(came.trim_end(), text),
                    }
                }
                _ => panic!("bad script: {line}"),
            }
        }
    }

    async fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        line
    }

    /// All that comes until the end.
    async fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).await.unwrap();
        rest
    }
}
