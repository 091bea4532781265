//! Sessions that are handed over from one server to another, both of them in memory.

use super::*;
use crate::pop3::resume;
use waypost_base::explain::{Outcome, Party};
use waypost_directory::{Directory, NewAccount, NewDomain, Protocols};
use waypost_store::Model;
use waypost_trust::ServerId;
use waypost_trust::leg::{Arrived, Hello, Opened as Standing, Opening, Verdict, frame};
use waypost_trust::proxy::{Home, Homes, POP_PROXY, UNAVAILABLE, not_opened};

struct Between {
    home: Arc<Service>,
    directory: Arc<Directory>,
    down: Mutex<bool>,
    draining: Mutex<bool>,
}

impl Homes for Between {
    fn home(&self, _: AccountId) -> Home {
        Home::There("home".into())
    }

    fn hubs(&self) -> Option<Vec<String>> {
        None
    }

    fn out_of_service(&self, component: &str) -> Option<String> {
        assert_eq!(component, POP_PROXY);
        self.draining.lock().unwrap().then(|| "Inactive".into())
    }

    fn open<'a>(&'a self, to: &'a str, hello: Hello) -> Opening<'a> {
        let down = *self.down.lock().unwrap();
        Box::pin(async move {
            if down {
                return Err(not_opened(to, &hello, UNAVAILABLE, "home cannot be reached".into(), true));
            }
            let (near, far) = tokio::io::duplex(64 * 1024);
            let leg = Leg::start("inner.pop3", Party::new("", ""), Party::new("mailbox", to), Timestamp(1));
            let from = ServerId::parse("front").unwrap();
            let arrived = Arrived { stream: Box::new(far), from, hello: hello.clone(), leg: leg.clone() };
            tokio::spawn(resume(arrived, self.home.clone(), self.directory.snapshot()));
            let mut stream: BoxStream = Box::new(near);
            match frame::read(&mut stream).await.unwrap() {
                Verdict::Welcome { answer } => Ok(Standing { stream, answer, leg, finding: None }),
                Verdict::Refused(no) => {
                    let mut failed = not_opened(to, &hello, UNAVAILABLE, no.text, no.elsewhere);
                    failed.answer = no.answer;
                    Err(failed)
                }
            }
        })
    }
}

struct Two {
    front: World,
    home: World,
    between: Arc<Between>,
}

async fn two(messages: &[&str], change: impl FnOnce(&mut NewAccount)) -> Two {
    let clock = Clock::fixed(Timestamp(0));
    let directory = Directory::open(Arc::new(Model::new(clock.clone())), clock).await.unwrap();
    directory.add_domain(NewDomain::new("contoso.test")).await.unwrap();
    let mut adele = NewAccount::new("adele");
    change(&mut adele);
    assert_eq!(directory.add_account(adele).await.unwrap().id, AccountId(1));
    let (front, home) = (world(&[]), world(messages));
    let between = Arc::new(Between {
        home: home.service.clone(),
        directory,
        down: Mutex::default(),
        draining: Mutex::default(),
    });
    front.service.set_homes(between.clone());
    Two { front, home, between }
}

#[tokio::test(start_paused = true)]
async fn the_home_answers_and_goes_on() {
    let two = two(&["a: b\r\n\r\none\r\n", "two\r\n"], |_| {}).await;
    let mut c = two.front.call().await;
    // In one piece; UTF8 was said before the sign-in, and counts after it.
    c.send("UTF8\r\nUSER adele\r\nPASS pencil\r\nSTAT\r\nRETR 2\r\nDELE 1\r\nQUIT\r\n").await;
    assert_eq!(
        c.rest().await,
        "+OK\r\n+OK\r\n+OK 2 messages (18 octets)\r\n+OK 2 18\r\n+OK 5 octets\r\ntwo\r\n.\r\n+OK Marked to be deleted\r\n\
         +OK Bye, 1 messages deleted\r\n"
    );
    assert_eq!(two.home.boxes.uids(1), [20]);
    let legs = two.front.ears.legs.lock().unwrap();
    let told: Vec<_> = legs.iter().map(|l| (l.operation.as_ref(), l.outcome == Outcome::Ok)).collect();
    assert_eq!(told, [("pop3.proxy", true), ("pop3.read", true)]);
    let lines = two.front.ears.lines.lock().unwrap().join("\n");
    assert!(
        lines.contains("pass ***** R=OK;Msg=\"Proxy:home;ProxySuccess\"") || lines.contains("ProxySuccess"),
        "{lines}"
    );
    let lines = two.home.ears.lines.lock().unwrap().join("\n");
    assert!(
        lines.contains("OpenSession  Msg=ProxiedBy:front") && lines.contains("adele@contoso.test retr 2"),
        "{lines}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_home_that_is_down_is_no_wrong_password() {
    let two = two(&[], |_| {}).await;
    *two.between.down.lock().unwrap() = true;
    let mut c = two.front.call().await;
    c.talk(
        "C: USER adele
         S: +OK
         C: PASS pencil
         S: -ERR [SYS/TEMP] The mailbox cannot be opened now
         C: USER adele
         S: +OK
         C: PASS guess
         S: -ERR [AUTH] Wrong name or password
         C: AUTH PLAIN AGFkZWxlAHBlbmNpbA==
         S: -ERR [SYS/TEMP] The mailbox cannot be opened now",
    )
    .await;
    *two.between.down.lock().unwrap() = false;
    c.talk(
        "C: AUTH PLAIN AGFkZWxlAHBlbmNpbA==\nS: +OK 0 messages (0 octets)\nC: QUIT\nS: +OK Bye\nS: (closed)",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_the_home_refuses() {
    let two_of = two(&[], |new| new.protocols = Protocols { pop: false, ..Protocols::default() }).await;
    let mut c = two_of.front.call().await;
    c.talk("C: USER adele\nS: +OK\nC: PASS pencil\nS: -ERR [AUTH] Not allowed: the account may not use this protocol")
        .await;
    let two_of = two(&[], |_| {}).await;
    let _direct = two_of.home.inside().await;
    let mut c = two_of.front.call().await;
    c.talk("C: USER adele\nS: +OK\nC: PASS pencil\nS: -ERR [IN-USE] Another session has this mailbox").await;
    let two_of = two(&[], |_| {}).await;
    two_of.home.boxes.broken(Broken::OpenForGood);
    let mut c = two_of.front.call().await;
    c.talk("C: USER adele\nS: +OK\nC: PASS pencil\nS: -ERR [SYS/PERM] The mailbox cannot be opened now")
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_front_end_out_of_service_says_so() {
    let two = two(&[], |_| {}).await;
    *two.between.draining.lock().unwrap() = true;
    let mut c = two.front.channel(None, None);
    c.talk("S: -ERR [SYS/TEMP] The server is out of service, please try another one\nS: (closed)").await;
    *two.between.draining.lock().unwrap() = false;
    let mut c = two.front.call().await;
    c.talk("C: PROXY TCP4 192.0.2.7 192.0.2.1 4000 110\nS: -ERR …\nC: XCLIENT ADDR=192.0.2.7\nS: -ERR …")
        .await;
}
