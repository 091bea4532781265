//! Mail between servers: whole messages to hubs, deliveries to homes; hubs that are drained, killed, and come back. What was
//! accepted is there once.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use waypost_tests::line::Line;
use waypost_tests::organisation::Organisation;
use waypost_tests::sink::Sink;

type Account = (String, String);

/// server-1 keeps the directory and is a hub; server-2 holds mailboxes and is none; server-3 is a hub alone.
fn three(name: &str) -> Organisation {
    let mut o = Organisation::start(name, "all");
    o.add("server-2", "frontend,mailbox");
    o.add("server-3", "transport");
    o.command("server-1", &["Set-ImapSettings", "-LoginType", "PlainTextLogin"]).unwrap();
    for option in
        ["TransientFailureRetryInterval", "OutboundConnectionFailureRetryInterval", "MessageRetryInterval"]
    {
        o.command("server-1", &["Set-TransportService", &format!("-{option}"), "00:00:01"]).unwrap();
    }
    o.command("server-1", &["Set-TransportService", "-QueueGlitchRetryInterval", "00:00:01"]).unwrap();
    for id in ["server-2", "server-3"] {
        o.wait_for("all servers are known", |o| {
            o.records(id, &["Get-Server"]).is_ok_and(|servers| servers.len() == 3)
        });
    }
    o
}

fn everybody_knows(o: &Organisation, ids: &[&str], accounts: &[&Account]) {
    for id in ids {
        for (address, _) in accounts {
            o.wait_for_mailbox(id, address);
        }
    }
}

/// A session that has signed in at a server's submission door.
fn submission(o: &Organisation, id: &str, (address, password): &Account) -> io::Result<Line> {
    let mut line = Line::smtp_hello(o.address(id, "submission"))?;
    let secret = STANDARD.encode(format!("\0{address}\0{password}"));
    let answer = line.smtp(&format!("AUTH PLAIN {secret}"))?;
    if answer.starts_with("235") { Ok(line) } else { Err(io::Error::other(answer)) }
}

fn message(from: &str, subject: &str) -> Vec<u8> {
    format!("From: <{from}>\r\nTo: somebody\r\nSubject: {subject}\r\n\r\nhello\r\n").into_bytes()
}

/// One message for several people; the answer to its final dot.
fn send(line: &mut Line, from: &str, to: &[&str], subject: &str) -> io::Result<String> {
    let reply = line.smtp(&format!("MAIL FROM:<{from}>"))?;
    if !reply.starts_with('2') {
        return Ok(reply);
    }
    for to in to {
        let reply = line.smtp(&format!("RCPT TO:<{to}>"))?;
        if !reply.starts_with('2') {
            return Ok(reply);
        }
    }
    line.smtp("DATA")?;
    line.send(&[&message(from, subject)[..], b".\r\n"].concat())?;
    line.reply()
}

/// The subjects in an inbox, each with how often it is there.
fn inbox(o: &Organisation, home: &str, account: &Account) -> BTreeMap<String, usize> {
    let mut subjects = BTreeMap::new();
    let Ok(mut imap) = Line::imap_login(o.address(home, "imap"), account) else { return subjects };
    imap.imap("s", "SELECT INBOX").unwrap();
    for line in imap.imap("f", "FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])").unwrap() {
        if let Some(subject) = line.strip_prefix("Subject: ") {
            *subjects.entry(subject.to_owned()).or_default() += 1;
        }
    }
    subjects
}

fn once(subjects: &BTreeMap<String, usize>, wanted: &[String]) {
    let doubled: Vec<_> = subjects.iter().filter(|(_, times)| **times != 1).collect();
    assert!(doubled.is_empty(), "doubled: {doubled:?}");
    let lost: Vec<_> = wanted.iter().filter(|subject| !subjects.contains_key(*subject)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert_eq!(subjects.len(), wanted.len(), "{subjects:?}");
}

fn to_the_sink(o: &Organisation, sink: &Sink) {
    let port = sink.port().to_string();
    o.command(
        "server-1",
        &[
            "New-SendConnector",
            "sink",
            "-AddressSpaces",
            "*.example",
            "-SmartHosts",
            "127.0.0.1",
            "-Port",
            &port,
        ],
    )
    .unwrap();
    o.wait_for("the connector", |o| o.command("server-3", &["Get-SendConnector", "sink"]).is_ok());
}

#[test]
fn everybody_gets_it_wherever_they_are() {
    let sink = Sink::start();
    let o = three("hubs-everybody");
    to_the_sink(&o, &sink);
    let (ann, ben, cat) =
        (o.mailbox("ann", "server-2"), o.mailbox("ben", "server-1"), o.mailbox("cat", "server-2"));
    o.command("server-1", &["New-DistributionGroup", "staff", "-Members", "ben,cat"]).unwrap();
    everybody_knows(&o, &["server-1", "server-2", "server-3"], &[&ann, &ben, &cat]);
    o.wait_for("the group", |o| o.command("server-3", &["Get-DistributionGroup", "staff"]).is_ok());
    // From a server that is no hub, to people here and there, a group that wants senders to have signed in, and elsewhere.
    let mut line = submission(&o, "server-2", &ann).unwrap();
    let to = ["staff@contoso.test", "pat@fabrikam.example"];
    let reply = send(&mut line, &ann.0, &to, "to all").unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    // From outside, by the hub that meets strangers.
    let mut line = Line::smtp_hello(o.address("server-1", "smtp")).unwrap();
    let reply =
        line.deliver("pat@fabrikam.example", &cat.0, &message("pat@fabrikam.example", "from outside"));
    assert!(reply.unwrap().starts_with("250"));
    let (one, two) = (vec!["to all".to_owned()], vec!["from outside".to_owned(), "to all".to_owned()]);
    o.wait_for("mail for ben", |o| inbox(o, "server-1", &ben).len() == 1);
    o.wait_for("mail for cat", |o| inbox(o, "server-2", &cat).len() == 2);
    once(&inbox(&o, "server-1", &ben), &one);
    once(&inbox(&o, "server-2", &cat), &two);
    let taken = sink.wait(1);
    assert_eq!((taken.len(), taken[0].from.as_str()), (1, "ann@contoso.test"));
    let text = taken[0].text();
    // Each server that it went over has left its name, and no address of the inside.
    assert!(text.contains("by server-2.contoso.test") && !text.contains("0.0.0.0"), "{text}");
    for id in ["server-1", "server-2", "server-3"] {
        o.wait_for("nothing waits", |o| {
            o.records(id, &["Get-Queue", "-Filter", "{MessageCount -gt 0}"]).is_ok_and(|q| q.is_empty())
        });
    }
}

#[test]
fn what_nobody_takes_waits_with_the_reason() {
    let mut o = three("hubs-waits");
    let (ann, ben) = (o.mailbox("ann", "server-2"), o.mailbox("ben", "server-1"));
    everybody_knows(&o, &["server-1", "server-2"], &[&ann, &ben]);
    for id in ["server-1", "server-3"] {
        let words = ["Set-ServerComponentState", id, "-Component", "HubTransport", "-State", "Draining"];
        o.command("server-1", &words).unwrap();
    }
    o.wait_for("server-2 knows that nobody is active", |o| {
        o.records("server-2", &["Get-ServerComponentState", "*", "-Component", "HubTransport"])
            .is_ok_and(|all| all.iter().filter(|s| s["State"] == "Draining").count() == 2)
    });
    let mut line = submission(&o, "server-2", &ann).unwrap();
    assert!(send(&mut line, &ann.0, &[&ben.0], "waits").unwrap().starts_with("250"));
    o.wait_for("a queue with its reason", |o| {
        let queues = o.records("server-2", &["Get-Queue", "Hubs"]).unwrap_or_default();
        queues.iter().any(|queue| {
            queue["DeliveryType"] == "SmtpRelayToServers"
                && queue["NextHopDomain"] == "hubs"
                && queue["LastError"]
                    .as_str()
                    .is_some_and(|e| e.contains("[SEND-INSIDE] no server with the transport role is active"))
        })
    });
    let words = ["Set-ServerComponentState", "server-3", "-Component", "HubTransport", "-State", "Active"];
    o.command("server-1", &words).unwrap();
    o.wait_for("mail for ben", |o| inbox(o, "server-1", &ben).len() == 1);
    // A home that is away.
    let words = ["Set-ServerComponentState", "server-1", "-Component", "HubTransport", "-State", "Active"];
    o.command("server-1", &words).unwrap();
    o.kill("server-2");
    let mut line = Line::smtp_hello(o.address("server-1", "smtp")).unwrap();
    let reply =
        line.deliver("pat@fabrikam.example", &ann.0, &message("pat@fabrikam.example", "home is away"));
    assert!(reply.unwrap().starts_with("250"));
    o.wait_for("a queue for the home", |o| {
        let queues = o.records("server-1", &["Get-Queue", "server-2"]).unwrap_or_default();
        queues.iter().any(|queue| {
            queue["Identity"] == "server-1\\Home/server-2"
                && queue["DeliveryType"] == "SmtpDeliveryToMailbox"
                && queue["LastError"].as_str().is_some_and(|e| e.contains("[INNER-UNREACHABLE]"))
        })
    });
    o.begin("server-2");
    o.wait_for("mail for ann", |o| inbox(o, "server-2", &ann).len() == 1);
}

/// Sends until told to stop, over as many sessions as it takes; gives the subjects that were accepted.
fn keep_sending(
    o: &Organisation,
    id: &str,
    from: &Account,
    to: Vec<String>,
    name: &'static str,
    stop: &Arc<AtomicBool>,
) -> thread::JoinHandle<Vec<String>> {
    let door = o.address(id, "submission");
    let (from, stop) = (from.clone(), Arc::clone(stop));
    thread::spawn(move || {
        let mut accepted = Vec::new();
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            let attempt = || -> io::Result<Line> {
                let mut line = Line::smtp_hello(door)?;
                let secret = STANDARD.encode(format!("\0{}\0{}", from.0, from.1));
                let answer = line.smtp(&format!("AUTH PLAIN {secret}"))?;
                if answer.starts_with("235") { Ok(line) } else { Err(io::Error::other(answer)) }
            };
            let Ok(mut line) = attempt() else {
                thread::sleep(Duration::from_millis(50));
                continue;
            };
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                let subject = format!("{name} {number}");
                let to: Vec<&str> = to.iter().map(String::as_str).collect();
                match send(&mut line, &from.0, &to, &subject) {
                    Ok(reply) if reply.starts_with("250") => accepted.push(subject),
                    _ => break,
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        accepted
    })
}

#[test]
fn hubs_and_homes_are_killed_and_nothing_is_lost_or_doubled() {
    let mut o = three("hubs-killed");
    let (ann, ben, cat) =
        (o.mailbox("ann", "server-2"), o.mailbox("ben", "server-1"), o.mailbox("cat", "server-2"));
    everybody_knows(&o, &["server-1", "server-2", "server-3"], &[&ann, &ben, &cat]);
    let stop = Arc::new(AtomicBool::new(false));
    let to = || vec![ben.0.clone(), cat.0.clone()];
    let sender = keep_sending(&o, "server-2", &ann, to(), "by ann", &stop);
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(700));
        o.kill("server-3");
        thread::sleep(Duration::from_millis(400));
        o.begin("server-3");
    }
    stop.store(true, Ordering::Relaxed);
    let mut accepted = sender.join().unwrap();
    // The server that submits, and is home of one of them, too.
    let stop = Arc::new(AtomicBool::new(false));
    let sender = keep_sending(&o, "server-2", &ann, to(), "again by ann", &stop);
    for _ in 0..3 {
        thread::sleep(Duration::from_millis(700));
        o.kill("server-2");
        o.begin("server-2");
    }
    stop.store(true, Ordering::Relaxed);
    accepted.append(&mut sender.join().unwrap());
    assert!(accepted.len() > 100, "{}", accepted.len());
    let all_there = |o: &Organisation, home: &str, who: &Account| {
        let there = inbox(o, home, who);
        accepted.iter().all(|subject| there.contains_key(subject))
    };
    o.wait_for("mail for ben", |o| all_there(o, "server-1", &ben));
    o.wait_for("mail for cat", |o| all_there(o, "server-2", &cat));
    for id in ["server-1", "server-2", "server-3"] {
        o.wait_for("nothing waits", |o| {
            o.records(id, &["Get-Queue", "-Filter", "{MessageCount -gt 0}"]).is_ok_and(|q| q.is_empty())
        });
    }
    for (home, who) in [("server-1", &ben), ("server-2", &cat)] {
        let there = inbox(&o, home, who);
        let doubled: Vec<_> = there.iter().filter(|(_, times)| **times != 1).collect();
        assert!(doubled.is_empty(), "doubled for {}: {doubled:?}", who.0);
        // What was not answered may be there; what was answered is.
        assert!(accepted.iter().all(|subject| there.contains_key(subject)));
    }
}
