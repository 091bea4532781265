use super::*;
use std::sync::atomic::{AtomicU32, Ordering};
use waypost_base::explain::{Leg, Party};
use waypost_base::{AccountId, Clock, Timestamp};
use waypost_directory::{NewAccount, NewDomain, Protocol};
use waypost_sasl::{Hash, Identity, ScramKeys, Secret, Why};
use waypost_store::Model;
use waypost_trust::ServerId;
use waypost_trust::channel::BoxStream;
use waypost_trust::leg::{Arrived, Hello, Opened, Opening, Service, Verdict, frame};
use waypost_trust::proxy;

/// A home that knows ann, and says nothing to `slow` until it is told to.
#[derive(Default)]
struct Home {
    asked: AtomicU32,
}

impl Authority for Home {
    fn setup(&self, bindings: Bindings) -> Result<Setup, String> {
        Ok(Setup::new(bindings, [1; 18], [7; 32]))
    }

    fn answer<'a>(&'a self, question: Question, asking: &'a Asking) -> Answering<'a> {
        assert_eq!((asking.protocol, asking.peer), (Protocol::Imap, "192.0.2.7".parse().unwrap()));
        self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            match question {
                Question::CheckPassword { authcid, .. } if authcid == "slow" => std::future::pending().await,
                Question::CheckPassword { password, authcid, .. } => {
                    match (authcid.as_str(), password.expose()) {
                        (_, b"broken") => Answer::Unavailable("no store".into()),
                        ("off", _) => Answer::NotAllowed(Why::Disabled),
                        ("ann", b"pencil") => Answer::Accepted(Identity {
                            account: AccountId(1),
                            address: "ann@contoso.test".into(),
                            by: None,
                        }),
                        _ => Answer::Wrong,
                    }
                }
                Question::ScramKeys { authcid, .. } if authcid == "ann" => {
                    Answer::Keys(ScramKeys::derive("pencil", b"salt", 4096))
                }
                _ => Answer::Wrong,
            }
        })
    }
}

/// Servers by id; those that are absent cannot be reached.
struct Net {
    homes: BTreeMap<&'static str, Arc<Home>>,
    opened: AtomicU32,
}

impl Inner for Net {
    fn open<'a>(&'a self, to: &'a str, hello: Hello) -> Opening<'a> {
        assert_eq!(hello.service, Service::SignIn);
        self.opened.fetch_add(1, Ordering::Relaxed);
        let home = self.homes.get(to).cloned();
        Box::pin(async move {
            let Some(home) = home else {
                let text = format!("{to} cannot be reached");
                return Err(proxy::not_opened(to, &hello, proxy::UNAVAILABLE, text, true));
            };
            let (near, far) = tokio::io::duplex(4096);
            let leg = Leg::start("inner.signin", Party::new("", ""), Party::new("", to), Timestamp(1));
            let from = ServerId::parse("front").unwrap();
            let arrived = Arrived { stream: Box::new(far), from, hello, leg: leg.clone() };
            tokio::spawn(answer::answer(arrived, home));
            let mut stream: BoxStream = Box::new(near);
            match frame::read(&mut stream).await.unwrap() {
                Verdict::Welcome { answer } => Ok(Opened { stream, answer, leg, finding: None }),
                Verdict::Refused(refusal) => panic!("{refusal:?}"),
            }
        })
    }
}

async fn front(homes: &[(&'static str, Arc<Home>)], servers: &[&str]) -> (RemoteSignIn, Arc<Net>) {
    let clock = Clock::fixed(Timestamp(1_772_525_720_000));
    let directory = Directory::open(Arc::new(Model::new(clock.clone())), clock).await.unwrap();
    directory.add_domain(NewDomain::new("contoso.test")).await.unwrap();
    for id in servers {
        directory.add_server(server(id)).await.unwrap();
    }
    let mut ann = NewAccount::new("ann");
    ann.home = servers.first().map(|_| "one".to_owned());
    directory.add_account(ann).await.unwrap();
    let net = Arc::new(Net { homes: homes.iter().cloned().collect(), opened: AtomicU32::new(0) });
    (RemoteSignIn::new(Arc::new(Home::default()), directory, net.clone()), net)
}

fn server(id: &str) -> waypost_directory::Server {
    waypost_directory::Server {
        version: 0,
        id: id.into(),
        inner: "192.0.2.1:444".into(),
        host: format!("{id}.contoso.test"),
        roles: waypost_directory::Roles { mailbox: true, ..waypost_directory::Roles::NONE },
        primary: id == "one",
        components: BTreeMap::new(),
        requesters: BTreeMap::new(),
        principals: Vec::new(),
        revoked: None,
        certificates_since: None,
        joined: Timestamp(1),
        changed: Timestamp(1),
    }
}

fn password(name: &str, password: &str) -> Question {
    Question::CheckPassword { authzid: None, authcid: name.into(), password: Secret::from(password) }
}

fn client() -> Asking {
    Asking { protocol: Protocol::Imap, peer: "192.0.2.7".parse().unwrap() }
}

#[tokio::test(start_paused = true)]
async fn every_answer_stays_what_it_is() {
    let home = Arc::new(Home::default());
    let (remote, net) = front(&[("one", home.clone())], &["one"]).await;
    let asking = client();
    assert!(matches!(remote.answer(password("ann", "pencil"), &asking).await, Answer::Accepted(_)));
    assert_eq!(remote.answer(password("ann", "pen"), &asking).await, Answer::Wrong);
    assert_eq!(remote.answer(password("nobody", "pen"), &asking).await, Answer::Wrong);
    assert_eq!(remote.answer(password("off", "x"), &asking).await, Answer::NotAllowed(Why::Disabled));
    assert!(matches!(remote.answer(password("ann", "broken"), &asking).await, Answer::Unavailable(_)));
    // Many at a time, over the same line.
    let mut all = tokio::task::JoinSet::new();
    let remote = Arc::new(remote);
    for _ in 0..100 {
        let remote = remote.clone();
        all.spawn(async move { remote.answer(password("ann", "pencil"), &client()).await });
    }
    while let Some(answer) = all.join_next().await {
        assert!(matches!(answer.unwrap(), Answer::Accepted(_)));
    }
    assert_eq!(net.opened.load(Ordering::Relaxed), 1, "a sign-in costs no handshake");
    assert_eq!(home.asked.load(Ordering::Relaxed), 105);
}

#[tokio::test(start_paused = true)]
async fn invented_keys_are_the_homes() {
    let home = Arc::new(Home::default());
    let (remote, _) = front(&[("one", home)], &["one"]).await;
    let ask = |name: &str| Question::ScramKeys { authcid: name.into(), hash: Hash::Sha256 };
    let expected = ScramKeys::invented(Hash::Sha256, "nobody", &[7; 32], waypost_sasl::limits::SCRAM_ROUNDS);
    assert_eq!(remote.answer(ask("nobody"), &client()).await, Answer::Keys(expected));
    let real = ScramKeys::derive("pencil", b"salt", 4096);
    assert_eq!(remote.answer(ask("ann"), &client()).await, Answer::Keys(real));
}

#[tokio::test(start_paused = true)]
async fn another_server_answers_where_the_home_is_down() {
    let two = Arc::new(Home::default());
    let (remote, net) = front(&[("two", two)], &["one", "two"]).await;
    for _ in 0..3 {
        assert!(matches!(remote.answer(password("ann", "pencil"), &client()).await, Answer::Accepted(_)));
    }
    // The home is not tried again at once.
    assert_eq!(net.opened.load(Ordering::Relaxed), 2);
    let (remote, _) = front(&[], &["one", "two"]).await;
    let answer = remote.answer(password("ann", "pencil"), &client()).await;
    assert!(matches!(&answer, Answer::Unavailable(why) if why.contains("cannot be reached")), "{answer:?}");
    let (remote, _) = front(&[], &[]).await;
    assert!(matches!(remote.answer(password("ann", "pencil"), &client()).await, Answer::Unavailable(_)));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_given_up() {
    let home = Arc::new(Home::default());
    let (remote, _) = front(&[("one", home)], &["one"]).await;
    let begun = Instant::now();
    assert!(matches!(remote.answer(password("slow", "x"), &client()).await, Answer::Unavailable(_)));
    assert_eq!(begun.elapsed(), ANSWER_MAX);
    // Others are answered meanwhile.
    assert_eq!(remote.answer(password("ann", "pen"), &client()).await, Answer::Wrong);
}

#[tokio::test(start_paused = true)]
async fn an_idle_line_is_closed_and_opened_again() {
    let home = Arc::new(Home::default());
    let (remote, net) = front(&[("one", home)], &["one"]).await;
    assert_eq!(remote.answer(password("ann", "pen"), &client()).await, Answer::Wrong);
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(remote.answer(password("ann", "pen"), &client()).await, Answer::Wrong);
    assert_eq!(net.opened.load(Ordering::Relaxed), 2);
}
