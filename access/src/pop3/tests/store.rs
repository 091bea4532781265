//! The same over the real rooms: directory, mailboxes and store, in memory.

use super::*;
use waypost_directory::signin::{Rules, SignIn};
use waypost_directory::{Directory, NewAccount, NewDomain};
use waypost_mailbox::{AccountOptions, Delivery, Limits, Mailboxes, NewMessage};
use waypost_store::Store;

struct Real {
    service: Arc<Service>,
    mailboxes: Mailboxes,
    adele: AccountId,
}

async fn real() -> Real {
    let clock = Clock::fixed(Timestamp(1_772_525_720_114));
    let store = Store::memory();
    let directory = Directory::open(store.engine().clone(), clock.clone()).await.unwrap();
    directory.add_domain(NewDomain::new("contoso.test")).await.unwrap();
    let mut adele = NewAccount::new("Adele");
    adele.password = Some("correct horse".into());
    let adele = directory.add_account(adele).await.unwrap().id;
    let mailboxes = Mailboxes::open(store, clock.clone(), Limits::default());
    let signin = Arc::new(SignIn::new(directory, clock.clone(), Rules::default()));
    let policy = Policy { login_type: LoginType::PlainTextLogin, ..Policy::default() };
    let entrance = Entrance::new(Protocol::Pop, signin, policy);
    let service = Service::new(Settings::default(), entrance, Arc::new(mailboxes.clone()), clock);
    Real { service: Arc::new(service), mailboxes, adele }
}

impl Real {
    async fn deliver(&self, message: &[u8]) {
        let account = match self.mailboxes.account(self.adele).await {
            Ok(account) => account,
            Err(_) => self.mailboxes.create_account(self.adele, AccountOptions::default()).await.unwrap(),
        };
        let mut writer = self.mailboxes.writer();
        for piece in message.chunks(50_000) {
            writer.write(piece).await.unwrap();
        }
        let message = NewMessage::new(writer.finish().await.unwrap());
        let folder = account.inbox();
        let delivery = Delivery { folder, message, token: None, ignore_quota: false };
        account.deliver(delivery).await.unwrap().announce();
    }

    async fn inside(&self) -> Client {
        let mut client = Client::call(&self.service, None, None);
        client.talk("S: +OK …\nC: USER adele@contoso.test\nS: +OK\nC: PASS correct horse\nS: +OK …").await;
        client
    }
}

async fn body(c: &mut Client) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let line = c.line().await;
        if line == ".\r\n" {
            return out;
        }
        assert!(!line.is_empty(), "the answer broke off");
        out.extend_from_slice(line.strip_prefix('.').unwrap_or(&line).as_bytes());
    }
}

#[tokio::test]
async fn an_account_without_mail_yet() {
    let real = real().await;
    let mut c = real.inside().await;
    c.talk("C: STAT\nS: +OK 0 0\nC: LIST\nS: +OK 0 messages (0 octets)\nS: .").await;
    c.talk("C: RETR 1\nS: -ERR No such message\nC: QUIT\nS: +OK Bye\nS: (closed)").await;
}

#[tokio::test]
async fn messages_come_back_byte_for_byte_and_go() {
    let real = real().await;
    let small = "Subject: small\r\n\r\n.dots\r\n..\r\n.\r\nend\r\n".to_owned();
    let line = "A line of sixty characters that stands here quite a few times.\r\n.\r\n";
    let large = format!("Subject: large\r\n\r\n{}", line.repeat(20_000));
    for message in [&small, &large, &small] {
        real.deliver(message.as_bytes()).await;
    }
    let mut c = real.inside().await;
    let octets = 2 * small.len() + large.len();
    c.talk(&format!("C: STAT\nS: +OK 3 {octets}")).await;
    c.send("RETR 1\r\nRETR 2\r\nRETR 3\r\nTOP 2 1\r\n").await;
    for message in [&small, &large, &small] {
        c.talk(&format!("S: +OK {} octets", message.len())).await;
        assert!(body(&mut c).await == message.as_bytes());
    }
    c.talk("S: +OK\nS: Subject: large\nS:\nS: A line …\nS: .").await;
    c.send("UIDL 2\r\n").await;
    let unique = c.line().await;
    c.talk("C: DELE 1\nS: +OK …\nC: DELE 3\nS: +OK …\nC: QUIT\nS: +OK Bye, 2 messages deleted\nS: (closed)")
        .await;
    let mut c = real.inside().await;
    c.talk("C: LIST\nS: +OK 1 messages …\nS: 1 …\nS: .\nC: UIDL 1").await;
    // The same message has the same unique id under another number.
    assert_eq!(c.line().await.split(' ').nth(2), unique.split(' ').nth(2));
    c.talk("C: QUIT\nS: +OK Bye\nS: (closed)").await;
    assert!(real.mailboxes.verify().await.is_clean());
}
