//! Messages checked against a name server of the test; signatures made by ourselves and by mail-auth.
#![allow(clippy::unwrap_used, reason = "a test that fails shall say where")]

mod dns;

use dns::{Answer, Server};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use waypost_base::Timestamp;
use waypost_mailauth::records::{self, Ours, RecordState};
use waypost_mailauth::{
    Authenticator, BodyHasher, BodyHashes, Input, KeyFolder, KeyState, Names, NamesOptions, Signer, Verdict,
    Word,
};
use waypost_trust::dns::{Dns, DnsError, Mx};

const PEER: &str = "192.0.2.10";

async fn check(server: &Server, mail_from: &str, message: &str) -> Verdict {
    check_from(server, PEER, mail_from, message).await
}

async fn check_from(server: &Server, peer: &str, mail_from: &str, message: &str) -> Verdict {
    let (header, body) = message.split_once("\r\n\r\n").unwrap();
    let header = format!("{header}\r\n");
    let mut hasher = BodyHasher::wanted(header.as_bytes());
    hasher.update(body.as_bytes());
    let input = Input {
        peer: peer.parse().unwrap(),
        helo: "out.b.example",
        mail_from,
        host: "mx.a.example",
        header: header.as_bytes(),
        body: hasher.finish(),
        limit: Duration::from_secs(2),
    };
    Authenticator::new(server.names.clone()).check(&input).await
}

fn records() -> Vec<(&'static str, Answer)> {
    vec![
        ("10.2.0.192.in-addr.arpa", Answer::Ptr("out.b.example")),
        ("out.b.example", Answer::A(PEER)),
        ("b.example", Answer::Txt("v=spf1 a:out.b.example -all")),
        ("b.example", Answer::Txt("unrelated")),
        ("_dmarc.b.example", Answer::Txt("v=DMARC1; p=reject; sp=quarantine")),
        ("twice.example", Answer::Txt("v=spf1 +all")),
        ("twice.example", Answer::Txt("v=spf1 -all")),
        ("broken.example", Answer::Servfail),
        ("_dmarc.broken.example", Answer::Servfail),
        ("silent.example", Answer::Silent),
        ("loop.example", Answer::Txt("v=spf1 include:loop.example -all")),
        ("sub.b.example", Answer::A("192.0.2.77")),
    ]
}

const PLAIN: &str = "From: Bob <bob@b.example>\r\nSubject: x\r\n\r\nHello\r\n";

#[tokio::test]
async fn spf_and_dmarc() {
    let server = Server::start(&records()).await;
    let v = check(&server, "bob@b.example", PLAIN).await;
    assert_eq!((v.iprev.word, v.iprev.name.as_deref()), (Word::Pass, Some("out.b.example")));
    assert_eq!((v.mail_from.word, v.helo.word), (Word::Pass, Word::None));
    assert_eq!(v.mail_from.record.unwrap().text, "v=spf1 a:out.b.example -all");
    assert_eq!((v.dmarc.word, v.dmarc.policy, v.dmarc.spf_aligned), (Word::Pass, "reject", true));
    assert_eq!(v.dmarc.record.unwrap().name, "_dmarc.b.example");

    let v = check_from(&server, "192.0.2.11", "bob@b.example", PLAIN).await;
    assert_eq!((v.mail_from.word, v.dmarc.word), (Word::Fail, Word::Fail));
    assert_eq!(v.mail_from.why, "b.example does not designate 192.0.2.11 as permitted sender");
    assert_eq!(v.dmarc.why, "SPF fail; no DKIM signature");
    assert_eq!(v.iprev.word, Word::Fail);

    let forged = "From: Bob <bob@sub.b.example>\r\n\r\nHello\r\n";
    let v = check_from(&server, "192.0.2.11", "x@other.example", forged).await;
    assert_eq!((v.mail_from.word, v.dmarc.word, v.dmarc.policy), (Word::None, Word::Fail, "quarantine"));
}

#[tokio::test]
async fn trouble_is_told_from_failure() {
    let server = Server::start(&records()).await;
    let v = check(&server, "a@broken.example", "From: a@broken.example\r\n\r\n\r\n").await;
    assert_eq!((v.mail_from.word, v.dmarc.word), (Word::TempError, Word::TempError));
    let v = check(&server, "a@silent.example", "From: a@silent.example\r\n\r\n\r\n").await;
    assert_eq!(v.mail_from.word, Word::TempError);
    for permanent in ["a@twice.example", "a@loop.example"] {
        let v = check(&server, permanent, PLAIN).await;
        assert_eq!(v.mail_from.word, Word::PermError, "{permanent}");
    }
    for odd in ["", "a@[192.0.2.1]", "a@b", "a@nothing.example"] {
        let v = check(&server, odd, "Subject: no author\r\n\r\n\r\n").await;
        assert_eq!((v.mail_from.word, v.dmarc.word), (Word::None, Word::PermError), "{odd}");
    }
}

#[tokio::test]
async fn a_name_server_that_is_not_there() {
    let servers = vec!["127.0.0.1:9".parse().unwrap()];
    let timeout = Duration::from_millis(50);
    let names =
        Names::open(&NamesOptions { servers, timeout, attempts: 1, ..NamesOptions::default() }).unwrap();
    assert!(names.txt("a.example").await.unwrap_err().retry());
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("waypost-mailauth-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const MESSAGE: &str = "From: Al <al@a.example>\r\nTo: bob@b.example\r\nSubject:  two  blanks\r\n\tand a fold\r\n\
    Date: Mon, 02 Mar 2026 10:00:00 +0000\r\nMessage-ID: <1@a.example>\r\n\r\nBody \t text  \r\n\r\n\r\n";

fn now() -> Timestamp {
    Timestamp::from_seconds(1_772_445_600)
}

#[tokio::test]
async fn signatures_come_with_their_keys() {
    let data = Folder::new("keys");
    let folder = KeyFolder::new(&data.0);
    let made = folder.make("a.example", 2048, None, now()).unwrap();
    let signer = Signer::open(folder.clone());
    assert_eq!(
        signer.sign_message(MESSAGE.as_bytes(), now()),
        "",
        "nothing is signed before the DNS has the keys"
    );

    let server = Server::start(&[("_dmarc.a.example", Answer::Txt("v=DMARC1; p=reject"))]).await;
    assert!(!records::turn_over(&folder, &server.names, now()).await.unwrap());
    for key in &made {
        server.put(&key.name("a.example"), Answer::Text(key.record()));
    }
    server.names.forget();
    assert!(records::turn_over(&folder, &server.names, now()).await.unwrap());
    signer.reload();
    let signed = signer.sign_message(MESSAGE.as_bytes(), now());
    assert_eq!(signed.matches("DKIM-Signature: v=1; a=").count(), 2);
    assert!(signed.lines().all(|line| line.len() <= 78), "{signed}");
    let whole = format!("{signed}{MESSAGE}");

    let v = check(&server, "x@other.example", &whole).await;
    let found: Vec<_> = v.dkim.iter().map(|d| (d.word, d.algorithm, d.domain.as_str())).collect();
    let expected = [(Word::Pass, "rsa-sha256", "a.example"), (Word::Pass, "ed25519-sha256", "a.example")];
    assert_eq!(found, expected, "{v:?}");
    assert!(v.dmarc.dkim_aligned && v.dmarc.word == Word::Pass);
    assert!(v.dkim[0].record.as_ref().unwrap().text.starts_with("v=DKIM1; k=rsa; p="));

    // What a reader sees cannot be changed, added to or taken away.
    for (what, changed) in [
        ("subject", whole.replace("two  blanks", "three")),
        ("second From", whole.replace("From: Al", "From: <x@evil.example>\r\nFrom: Al")),
        ("reply-to", whole.replace("Date:", "Reply-To: x@evil.example\r\nDate:")),
        ("body", whole.replace("Body", "Buddy")),
    ] {
        let v = check(&server, "x@other.example", &changed).await;
        assert!(v.dkim.iter().all(|d| d.word == Word::Fail), "{what}: {:?}", v.dkim);
    }
    // What does not matter may change.
    let relaxed = whole
        .replace("Subject:  two  blanks\r\n\tand", "SUBJECT: two blanks and")
        .replace("Body \t", "Body ");
    let v = check(&server, "x@other.example", &relaxed).await;
    assert!(v.dkim.iter().all(|d| d.word == Word::Pass), "{:?}", v.dkim);

    // DNS trouble is not the signature's.
    for key in &made {
        server.put(&key.name("a.example"), Answer::Servfail);
    }
    server.names.forget();
    let v = check(&server, "x@other.example", &whole).await;
    assert!(v.dkim.iter().all(|d| d.word == Word::TempError));
    assert_eq!(v.dmarc.word, Word::TempError);
    for key in &made {
        server.put(&key.name("a.example"), Answer::Txt("v=DKIM1; p="));
    }
    server.names.forget();
    let v = check(&server, "x@other.example", &whole).await;
    assert!(v.dkim.iter().all(|d| d.word == Word::PermError), "{:?}", v.dkim);
}

#[tokio::test]
async fn keys_turn_over() {
    let data = Folder::new("rotation");
    let folder = KeyFolder::new(&data.0);
    let server = Server::start(&[]).await;
    let publish = |keys: &[waypost_mailauth::KeyInfo]| {
        for key in keys {
            server.put(&key.name("a.example"), Answer::Text(key.record()));
        }
        server.names.forget();
    };
    publish(&folder.make("a.example", 2048, Some("one"), now()).unwrap());
    records::turn_over(&folder, &server.names, now()).await.unwrap();
    let next = folder.make("a.example", 2048, Some("two"), now()).unwrap();
    records::turn_over(&folder, &server.names, now()).await.unwrap();
    let states = || -> Vec<(String, KeyState)> {
        let all = folder.domain("a.example").unwrap().unwrap().keys;
        all.into_iter().map(|k| (k.selector, k.state)).collect()
    };
    let expect = |states: [KeyState; 4]| {
        ["one-e", "one-r", "two-e", "two-r"].iter().map(|s| (*s).to_owned()).zip(states).collect::<Vec<_>>()
    };
    use KeyState::{Active, Pending, Retired, Retiring};
    assert_eq!(states(), expect([Active, Active, Pending, Pending]));
    publish(&next);
    records::turn_over(&folder, &server.names, now()).await.unwrap();
    assert_eq!(states(), expect([Retiring, Retiring, Active, Active]));
    let later = now().plus_millis((records::RETIRING_DAYS + 1) * 86_400_000);
    records::turn_over(&folder, &server.names, later).await.unwrap();
    assert_eq!(states(), expect([Retired, Retired, Active, Active]));
}

#[tokio::test]
async fn forbidden_signatures() {
    let server = Server::start(&records()).await;
    let signature =
        |tags: &str| format!("DKIM-Signature: v=1; d=b.example; s=s; bh=AAAA; b=AAAA; {tags}\r\n{PLAIN}");
    for (tags, why) in [
        ("a=rsa-sha1; h=from", "SHA-1"),
        ("a=rsa-sha256; h=subject", "From"),
        ("a=rsa-sha256; h=from; l=5", "part of the body"),
    ] {
        let v = check(&server, "bob@b.example", &signature(tags)).await;
        assert_eq!(v.dkim.len(), 1);
        assert_eq!(v.dkim[0].word, Word::Policy, "{tags}");
        assert!(v.dkim[0].why.contains(why), "{:?}", v.dkim[0]);
    }
    let many = "DKIM-Signature: v=1; a=rsa-sha256; d=x.example; s=s; h=from; bh=AAAA; b=AAAA\r\n".repeat(30);
    let v = check(&server, "bob@b.example", &format!("{many}{PLAIN}")).await;
    assert_eq!((v.dkim.len(), v.dkim_more), (10, 20));
    let two = format!("From: other@evil.example\r\n{PLAIN}");
    assert_eq!(check(&server, "bob@b.example", &two).await.from_fields, 2);
}

#[tokio::test]
async fn no_single_author() {
    let server = Server::start(&records()).await;
    for (header, why) in [
        ("From: bob@b.example\r\nFrom: bob@b.example\r\n", "2 From fields"),
        ("From: bob@b.example, ceo@bank.example\r\n", "several domains"),
        ("From: ceo@bank.example, bob@b.example\r\n", "several domains"),
        ("From: The bank <>\r\n", "no address"),
        ("From: bank:;\r\n", "no address"),
        ("From:\r\n", "no address"),
        ("Subject: x\r\n", "no address"),
    ] {
        let v = check(&server, "bob@b.example", &format!("{header}\r\n")).await;
        assert_eq!(v.dmarc.word, Word::PermError, "{header:?} {:?}", v.dmarc);
        assert!(v.dmarc.why.contains(why), "{header:?} {:?}", v.dmarc);
    }
}

#[tokio::test]
async fn what_the_dns_should_show() {
    let data = Folder::new("records");
    let folder = KeyFolder::new(&data.0);
    folder.make("a.example", 2048, Some("s"), now()).unwrap();
    let keys = folder.domain("a.example").unwrap().unwrap();
    let server = Server::start(&[]).await;
    let authenticator = Authenticator::new(server.names.clone());
    let addresses: [IpAddr; 1] = ["192.0.2.1".parse().unwrap()];
    let ours = Ours { domain: "a.example", host: "mx.a.example", addresses: &addresses, keys: Some(&keys) };
    let states = async || -> Vec<(&'static str, RecordState)> {
        server.names.forget();
        let lines = records::state(&authenticator, ours).await;
        lines.into_iter().map(|l| (l.purpose, l.state)).collect()
    };
    use RecordState::{Advice, Missing, Ok, Unknown, Wrong};
    let expect = |states: [RecordState; 5]| {
        ["MX", "SPF", "DKIM", "DKIM", "DMARC"].into_iter().zip(states).collect::<Vec<_>>()
    };
    assert_eq!(states().await, expect([Missing; 5]));
    server.put("_dmarc.a.example", Answer::Txt("v=DMARC1; p=none"));
    server.put("a.example", Answer::Txt("v=spf1 mx -all"));
    server.put("s-r._domainkey.a.example", Answer::Txt("v=DKIM1; p=AAAA"));
    server.put("s-e._domainkey.a.example", Answer::Servfail);
    assert_eq!(states().await, expect([Missing, Wrong, Unknown, Wrong, Advice]));
    server.put("_dmarc.a.example", Answer::Txt("v=DMARC1; p=reject"));
    for key in &keys.keys {
        server.put(&key.name("a.example"), Answer::Text(key.record()));
    }
    let both = vec![Answer::Txt("v=spf1 mx -all"), Answer::Mx(5, "mx.a.example")];
    server.table.lock().unwrap().insert("a.example".into(), both);
    server.put("mx.a.example", Answer::A("192.0.2.1"));
    assert_eq!(states().await, expect([Ok; 5]));
}

#[tokio::test]
async fn names() {
    let server = Server::start(&[
        ("a.example", Answer::Mx(20, "B.a.example")),
        ("a.example", Answer::Mx(10, "a.a.example")),
        ("a.a.example", Answer::A("192.0.2.1")),
        ("a.a.example", Answer::Aaaa("2001:db8::1")),
        ("b.a.example", Answer::Servfail),
        (
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
            Answer::Ptr("A.a.example"),
        ),
        ("null.example", Answer::Mx(0, "")),
    ])
    .await;
    let names = &server.names;
    let mut mx = names.mx("A.example.").await.unwrap();
    mx.sort();
    let host = |preference, host: &str| Mx { preference, host: host.into() };
    assert_eq!(mx, [host(10, "a.a.example"), host(20, "b.a.example")]);
    assert_eq!(names.mx("null.example").await.unwrap(), [host(0, "")]);
    let both: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    assert_eq!(names.addresses("a.a.example").await.unwrap(), both);
    assert_eq!(names.addresses("192.0.2.9").await.unwrap(), ["192.0.2.9".parse::<IpAddr>().unwrap()]);
    assert_eq!(names.names(both[1]).await.unwrap(), ["a.a.example"]);
    assert!(matches!(names.addresses("b.a.example").await, Err(DnsError::Failed(..))));
    assert!(matches!(names.addresses("c.a.example").await, Err(DnsError::NoName(_))));
    assert!(matches!(names.txt("a.a.example").await, Err(DnsError::NoRecord(_))));
    assert!(matches!(names.txt("not a name").await, Err(DnsError::NoName(_))));
    // The second question is answered from the cache.
    let before = server.asked.lock().unwrap().len();
    names.mx("a.example").await.unwrap();
    assert_eq!(server.asked.lock().unwrap().len(), before);
}

#[test]
fn hashes_of_nothing() {
    assert_eq!(BodyHasher::wanted(b"From: a\r\n").finish(), BodyHashes::default());
}

/// Other name servers are asked from the next question on, by everybody who has these names, with nothing remembered of the
/// old ones' answers.
#[tokio::test]
async fn other_name_servers_are_asked_at_once() {
    let old = Server::start(&[("mx.example", Answer::A("192.0.2.1"))]).await;
    let new = Server::start(&[("mx.example", Answer::A("192.0.2.2"))]).await;
    let names = old.names.clone();
    let first: Vec<std::net::IpAddr> = vec!["192.0.2.1".parse().unwrap()];
    assert_eq!(names.addresses("mx.example").await.unwrap(), first);
    let options = new.names.options();
    assert!(names.set(&options).unwrap());
    assert!(!names.set(&options).unwrap(), "that is so already");
    let second: Vec<std::net::IpAddr> = vec!["192.0.2.2".parse().unwrap()];
    assert_eq!(old.names.addresses("mx.example").await.unwrap(), second, "clones ask the same");
    let authenticator = Authenticator::new(old.names.clone());
    let asked = new.asked.lock().unwrap().len();
    authenticator.spf_of("192.0.2.9".parse().unwrap(), "spf.example", "mx.us.test").await;
    assert!(new.asked.lock().unwrap().len() > asked, "checks of mail ask them, too");
}
