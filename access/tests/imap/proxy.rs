//! Sessions that are handed over from one server to another, both of them in memory.

use crate::world::{World, facts, mail};
use std::sync::{Arc, Mutex};
use tokio::io::AsyncWriteExt;
use waypost_access::imap::{ImapSettings, resume};
use waypost_access::proxy::Detail;
use waypost_access::signin::{LoginType, Policy};
use waypost_base::explain::{Leg, Outcome, Party};
use waypost_base::{AccountId, Clock, Timestamp};
use waypost_directory::{Directory, NewAccount, NewDomain, Protocol, Protocols, Snapshot};
use waypost_mailbox::Quota;
use waypost_store::Model;
use waypost_trust::leg::{Arrived, Client as Peer, Hello, Opened, Opening, Refusal, Verdict, frame};
use waypost_trust::proxy::{Home, Homes, IMAP_PROXY, not_opened};
use waypost_trust::{ServerId, proxy};

/// How the way to the home is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Good,
    /// Nobody answers.
    Down,
    /// It is cut when the home has said so many lines.
    Dies,
}

/// All accounts are at `home`.
struct Between {
    home: Arc<World>,
    directory: Arc<Directory>,
    way: Mutex<Way>,
    state: Mutex<Option<String>>,
    hellos: Mutex<Vec<Hello>>,
}

impl Homes for Between {
    fn home(&self, _: AccountId) -> Home {
        Home::There("home".into())
    }

    fn hubs(&self) -> Option<Vec<String>> {
        None
    }

    fn out_of_service(&self, component: &str) -> Option<String> {
        assert_eq!(component, IMAP_PROXY);
        self.state.lock().unwrap().clone()
    }

    fn open<'a>(&'a self, to: &'a str, hello: Hello) -> Opening<'a> {
        assert_eq!(to, "home");
        self.hellos.lock().unwrap().push(hello.clone());
        let way = *self.way.lock().unwrap();
        Box::pin(async move {
            if way == Way::Down {
                let cause = proxy::UNAVAILABLE;
                return Err(not_opened(to, &hello, cause, "home cannot be reached".into(), true));
            }
            let (near, far) = tokio::io::duplex(64 * 1024);
            let leg = Leg::start(
                "inner.imap",
                Party::new("front end", "front"),
                Party::new("mailbox", to),
                Timestamp(1),
            );
            let from = ServerId::parse("front").unwrap();
            let arrived = Arrived { stream: Box::new(far), from, hello: hello.clone(), leg: leg.clone() };
            let snapshot = self.directory.snapshot();
            let task = tokio::spawn(resume(arrived, self.home.service.clone(), snapshot));
            let mut stream: waypost_trust::channel::BoxStream = Box::new(near);
            if way == Way::Dies {
                let (mut a, mut b) = (stream, tokio::io::duplex(64 * 1024));
                stream = Box::new(b.0);
                tokio::spawn(async move {
                    let dying = tokio::time::sleep(std::time::Duration::from_secs(5));
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut a, &mut b.1) => {}
                        () = dying => task.abort(),
                    }
                });
            }
            match frame::read::<_, Verdict>(&mut stream).await.unwrap() {
                Verdict::Welcome { answer } => Ok(Opened { stream, answer, leg, finding: None }),
                Verdict::Refused(Refusal { text, elsewhere, answer, .. }) => {
                    let mut failed = not_opened(to, &hello, proxy::NOT_ALLOWED, text, elsewhere);
                    failed.answer = answer;
                    Err(failed)
                }
            }
        })
    }
}

struct Two {
    front: World,
    between: Arc<Between>,
}

/// A front end and a home. `people` is what the home's directory knows: anna is account 1, ben 2.
async fn two(policy: Policy, change: impl FnOnce(&mut NewAccount)) -> Two {
    let clock = Clock::fixed(Timestamp(crate::world::NOW));
    let engine = Arc::new(Model::new(clock.clone()));
    let directory = Directory::open(engine, clock).await.unwrap();
    directory.add_domain(NewDomain::new("contoso.test")).await.unwrap();
    let mut anna = NewAccount::new("anna");
    change(&mut anna);
    let id = directory.add_account(anna).await.unwrap().id;
    assert_eq!(id, AccountId(1));
    let home = World::with(policy.clone(), ImapSettings::default(), Quota::default()).await;
    let front = World::with(policy, ImapSettings::default(), Quota::default()).await;
    let between = Arc::new(Between {
        home: Arc::new(home),
        directory,
        way: Mutex::new(Way::Good),
        state: Mutex::default(),
        hellos: Mutex::default(),
    });
    front.service.set_homes(between.clone());
    Two { front, between }
}

fn open_policy() -> Policy {
    Policy { login_type: LoginType::PlainTextLogin, ..Policy::default() }
}

#[tokio::test(start_paused = true)]
async fn a_proxied_session_is_like_a_direct_one() {
    let two = two(open_policy(), |_| {}).await;
    let home = two.between.home.clone();
    home.fill(&[&mail("one"), &mail("two")]).await;
    // Everything in one piece: what follows the sign-in goes on unread, literals and all.
    let commands = "a CAPABILITY\r\nb LOGIN anna secret\r\nc SELECT INBOX\r\nd FETCH 1:* (UID FLAGS RFC822.SIZE)\r\n\
                    e APPEND INBOX {5+}\r\nx: y\n\r\nf SEARCH ALL\r\ng COMPRESS DEFLATE2\r\nh LOGOUT\r\n";
    let mut stories = Vec::new();
    for world in [&two.front, home.as_ref()] {
        let mut client = world.client().await;
        client.send(commands).await;
        let mut story = Vec::new();
        while let Some(line) = client.line().await {
            story.push(line);
        }
        stories.push(story);
    }
    let same = |lines: &[String]| -> Vec<String> {
        // The second session has one message more, and other numbers with it.
        lines
            .iter()
            .filter(|l| !l.contains("EXISTS") && !l.contains("UIDNEXT") && !l.starts_with("* "))
            .cloned()
            .collect()
    };
    let tagged = |lines: &[String]| same(lines).iter().map(|l| l[..4].to_owned()).collect::<Vec<_>>();
    assert_eq!(tagged(&stories[0]), tagged(&stories[1]), "{stories:#?}");
    let signed_in = |lines: &[String]| lines.iter().find(|l| l.starts_with("b OK")).cloned();
    assert_eq!(signed_in(&stories[0]), signed_in(&stories[1]));
    assert!(signed_in(&stories[0]).unwrap().ends_with("] Signed in"), "{stories:#?}");

    let hello = two.between.hellos.lock().unwrap()[0].clone();
    assert_eq!(hello.client.as_ref().unwrap().peer, "127.0.0.1:51877".parse().unwrap());
    let detail: Detail = serde_json::from_value(hello.detail).unwrap();
    assert_eq!((detail.account, detail.address.as_str()), (AccountId(1), "anna@contoso.test"));
    assert_eq!((detail.tag.as_deref(), detail.mechanism.as_str()), (Some("b"), "LOGIN"));
    let operations = |world: &World| -> Vec<(String, bool)> {
        let legs = world.told.legs.lock().unwrap();
        legs.iter().map(|l| (l.operation.to_string(), l.outcome == Outcome::Ok)).collect()
    };
    assert_eq!(
        operations(&two.front),
        [("imap.sign-in".to_owned(), true), ("imap.proxy".to_owned(), true)],
        "what is read is the home's to tell"
    );
    let lines = two.front.told.lines.lock().unwrap().join("\n");
    assert!(
        lines.contains("login,anna *****,\"R=OK;Msg=\"\"Proxy:home;ProxySuccess\"\"\"")
            || lines.contains("Proxy:home;ProxySuccess"),
        "{lines}"
    );
    let lines = home.told.lines.lock().unwrap().join("\n");
    assert!(
        lines.contains("Msg=ProxiedBy:front") && lines.contains("127.0.0.1:51877,anna@contoso.test"),
        "{lines}"
    );
}

#[tokio::test(start_paused = true)]
async fn scram_compression_and_idle_through_the_front_end() {
    let two = two(open_policy(), |_| {}).await;
    let home = two.between.home.clone();
    let mut client = two.front.client().await;
    client.talk("C: a AUTHENTICATE PLAIN AGFubmEAc2VjcmV0\nS: a OK [CAPABILITY …] Signed in").await;
    client.talk("C: b LOGIN anna secret\nS: b BAD Already signed in").await;
    client.send("s SELECT INBOX\r\n").await;
    client.until("s OK [READ-WRITE]").await;
    client.talk("C: i IDLE\nS: + …").await;
    home.fill(&[&mail("news")]).await;
    client.talk("S: * 1 EXISTS").await;
    client.send("DONE\r\n").await;
    client.until("i OK").await;
    client.talk("C: z COMPRESS DEFLATE\nS: z OK …").await;
    drop(client);
    assert_eq!(proxy_errors(&two), 0);
}

fn proxy_errors(two: &Two) -> usize {
    let legs = two.front.told.legs.lock().unwrap();
    legs.iter().filter(|l| matches!(l.outcome, Outcome::Failed { .. })).count()
}

#[tokio::test(start_paused = true)]
async fn a_home_that_is_down_is_no_wrong_password() {
    let two = two(open_policy(), |_| {}).await;
    *two.between.way.lock().unwrap() = Way::Down;
    let mut client = two.front.client().await;
    client
        .talk(
            "C: a LOGIN anna secret
             S: a NO [UNAVAILABLE] …
             C: b LOGIN anna wrong
             S: b NO [AUTHENTICATIONFAILED] Wrong user name or password
             C: c AUTHENTICATE PLAIN AGFubmEAc2VjcmV0
             S: c NO [UNAVAILABLE] …
             C: d NOOP
             S: d OK …",
        )
        .await;
    // It comes up again, and the client gets in over the same connection.
    *two.between.way.lock().unwrap() = Way::Good;
    client
        .talk("C: e LOGIN anna secret\nS: e OK [CAPABILITY …] Signed in\nC: f LOGOUT\nS: * BYE …\nS: f OK …")
        .await;
    client.closed().await;
    let legs = two.front.told.legs.lock().unwrap();
    let failed = |operation: &str| {
        legs.iter()
            .filter(|l| l.operation == operation)
            .filter_map(|l| match &l.outcome {
                Outcome::Failed { cause, text, retry } => Some((cause.code, text.clone(), *retry)),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    let down = ("HOME-UNAVAILABLE", "home cannot be reached".to_owned(), true);
    assert_eq!(failed("imap.proxy"), [down.clone(), down.clone()]);
    assert_eq!(failed("imap.sign-in").len(), 3);
    assert_eq!(failed("imap.sign-in")[0], down);
}

#[tokio::test(start_paused = true)]
async fn a_home_that_dies_ends_the_connection() {
    let two = two(open_policy(), |_| {}).await;
    *two.between.way.lock().unwrap() = Way::Dies;
    let mut client = two.front.client().await;
    client.talk("C: a LOGIN anna secret\nS: a OK [CAPABILITY …] Signed in\nC: b NOOP\nS: b OK …").await;
    client.closed().await;
}

#[tokio::test(start_paused = true)]
async fn the_home_has_the_last_word_on_who_comes_in() {
    let off = |new: &mut NewAccount| new.enabled = Some(false);
    type Change = fn(&mut NewAccount);
    let cases: [(Change, &str); 2] = [
        (
            |new| new.protocols = Protocols { imap: false, ..Protocols::default() },
            "a NO [AUTHORIZATIONFAILED] …",
        ),
        (off, "a NO [CONTACTADMIN] …"),
    ];
    for (change, wanted) in cases {
        let two = two(open_policy(), change).await;
        let mut client = two.front.client().await;
        client.talk(&format!("C: a LOGIN anna secret\nS: {wanted}\nC: b NOOP\nS: b OK …")).await;
    }
    // ben signs in, but his row has not come to the home yet.
    let both = two(open_policy(), |_| {}).await;
    let mut client = both.front.client().await;
    client.talk("C: a LOGIN ben secret\nS: a NO [UNAVAILABLE] …").await;
    // As many sessions as she may have, counted where she is at home.
    let few = two(Policy { sessions_per_user_max: 1, ..open_policy() }, |_| {}).await;
    let mut direct = few.between.home.client().await;
    direct.talk("C: a LOGIN anna secret\nS: a OK …").await;
    let mut client = few.front.client().await;
    client.talk("C: a LOGIN anna secret\nS: a NO [LIMIT] …").await;
    direct.talk("C: b LOGOUT\nS: * BYE …\nS: b OK …").await;
    direct.closed().await;
    client.talk("C: c LOGIN anna secret\nS: c OK …").await;
}

#[tokio::test(start_paused = true)]
async fn a_front_end_out_of_service_says_so() {
    let two = two(open_policy(), |_| {}).await;
    *two.between.state.lock().unwrap() = Some("Draining".into());
    let mut client = two.front.connect();
    client.talk("S: * BYE [UNAVAILABLE] The server is draining, please try another one").await;
    client.closed().await;
}

/// There is no such thing at our doors as a client that speaks for another.
#[tokio::test(start_paused = true)]
async fn nobody_is_believed_from_outside() {
    let two = two(open_policy(), |_| {}).await;
    let mut client = two.front.connect();
    client
        .talk(
            "S: * OK …
             C: PROXY TCP4 192.0.2.7 192.0.2.1 4000 143
             S: PROXY BAD …
             C: x XCLIENT ADDR=192.0.2.7
             S: x BAD …",
        )
        .await;
    // Whoever says an account's name in the place of a leg, without a client, is not served.
    let (mut near, far) = tokio::io::duplex(4096);
    let hello = Hello::new(waypost_trust::leg::Service::Imap, waypost_base::id::Correlation(1));
    let leg = Leg::start("inner.imap", Party::new("", ""), Party::new("", ""), Timestamp(1));
    let arrived = Arrived { stream: Box::new(far), from: ServerId::parse("front").unwrap(), hello, leg };
    let snapshot: Arc<Snapshot> = two.between.directory.snapshot();
    tokio::spawn(resume(arrived, two.between.home.service.clone(), snapshot));
    let verdict: Verdict = frame::read(&mut near).await.unwrap();
    assert!(matches!(verdict, Verdict::Refused(_)));
    let _ = near.shutdown().await;
}

#[test]
fn the_hello_names_the_client() {
    let detail = Detail {
        account: AccountId(1),
        address: "anna@contoso.test".into(),
        by: None,
        mechanism: "SCRAM-SHA-256-PLUS".into(),
        tag: Some("a1".into()),
        utf8: false,
    };
    assert_eq!(detail.mechanism(), "SCRAM-SHA-256-PLUS");
    let tls = Some((&facts()).into());
    let client = Peer { peer: "192.0.2.7:1".parse().unwrap(), local: "192.0.2.1:993".parse().unwrap(), tls };
    let hello = detail.hello(waypost_trust::leg::Service::Imap, waypost_base::id::Correlation(7), client);
    assert_eq!(serde_json::from_value::<Detail>(hello.detail).unwrap(), detail);
    let unknown = Detail { mechanism: "X-NEW".into(), ..detail };
    assert_eq!(unknown.mechanism(), "LOGIN");
    let _ = Protocol::Imap;
}
