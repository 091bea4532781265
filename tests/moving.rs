//! Move-Mailbox between servers while a client works in it and a sender sends: no message lost or doubled, UIDs stay.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use waypost_tests::line::Line;
use waypost_tests::organisation::Organisation;

type Account = (String, String);

fn two(name: &str) -> (Organisation, Account) {
    let mut o = Organisation::start(name, "all");
    o.add("server-2", "frontend,mailbox");
    o.command("server-1", &["Set-ImapSettings", "-LoginType", "PlainTextLogin"]).unwrap();
    for option in [
        "TransientFailureRetryInterval",
        "OutboundConnectionFailureRetryInterval",
        "MessageRetryInterval",
        "QueueGlitchRetryInterval",
    ] {
        o.command("server-1", &["Set-TransportService", &format!("-{option}"), "00:00:01"]).unwrap();
    }
    let amy = o.mailbox("amy", "server-1");
    o.wait_for_mailbox("server-2", &amy.0);
    (o, amy)
}

/// One message from outside.
fn deliver(smtp: SocketAddr, to: &str, subject: &str, padding: usize) -> io::Result<bool> {
    let mut line = Line::smtp_hello(smtp)?;
    let noise: String = (0..padding / 60)
        .map(|n| {
            format!("{:060x}\r\n", (n as u128 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835))
        })
        .collect();
    let text = format!("From: <pat@fabrikam.example>\r\nSubject: {subject}\r\n\r\n{noise}hello\r\n");
    Ok(line.deliver("pat@fabrikam.example", to, text.as_bytes())?.starts_with("250"))
}

/// UID → subject, and UIDVALIDITY.
fn inbox(imap: SocketAddr, account: &Account) -> io::Result<(String, BTreeMap<u32, String>)> {
    let mut line = Line::imap_login(imap, account)?;
    let selected = line.imap("s", "SELECT INBOX")?;
    let validity = selected.iter().find(|l| l.contains("UIDVALIDITY")).cloned().unwrap_or_default();
    let mut found = BTreeMap::new();
    let mut uid = 0;
    for said in line.imap("f", "UID FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")? {
        if let Some(at) = said.find("UID ") {
            let digits: String = said[at + 4..].chars().take_while(char::is_ascii_digit).collect();
            uid = digits.parse().unwrap_or(0);
        }
        if let Some(subject) = said.strip_prefix("Subject: ") {
            found.insert(uid, subject.to_owned());
        }
    }
    Ok((validity, found))
}

fn home(o: &Organisation) -> String {
    let mailbox = o.command("server-1", &["Get-Mailbox", "amy"]).unwrap();
    mailbox["ServerName"].as_str().unwrap_or_default().to_owned()
}

/// Sends until told to stop; the subjects that were accepted.
fn sender(smtp: SocketAddr, to: &str, stop: &Arc<AtomicBool>) -> thread::JoinHandle<Vec<String>> {
    let (to, stop) = (to.to_owned(), Arc::clone(stop));
    thread::spawn(move || {
        let mut accepted = Vec::new();
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let subject = format!("sent {number}");
            if deliver(smtp, &to, &subject, if number % 10 == 0 { 60_000 } else { 0 }).unwrap_or(false) {
                accepted.push(subject);
            }
            thread::sleep(Duration::from_millis(10));
        }
        accepted
    })
}

/// Works in the mailbox until told to stop, and signs in again whenever the session ends; gives the subjects of what was
/// appended with an OK, and how often it signed in.
fn worker(
    imap: SocketAddr,
    account: &Account,
    stop: &Arc<AtomicBool>,
) -> thread::JoinHandle<(Vec<String>, u32)> {
    let (account, stop) = (account.clone(), Arc::clone(stop));
    thread::spawn(move || {
        let (mut appended, mut sessions, mut number) = (Vec::new(), 0, 0);
        while !stop.load(Ordering::Relaxed) {
            let Ok(mut line) = Line::imap_login(imap, &account) else {
                thread::sleep(Duration::from_millis(20));
                continue;
            };
            sessions += 1;
            if line.imap("s", "SELECT INBOX").is_err() {
                continue;
            }
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                let subject = format!("appended {number}");
                let text = format!("Subject: {subject}\r\n\r\nx\r\n");
                let mut work = || -> io::Result<bool> {
                    line.send(format!("a APPEND INBOX {{{}+}}\r\n{text}\r\n", text.len()).as_bytes())?;
                    let put = line.imap_answer("a")?;
                    let ok = put.last().is_some_and(|l| l.starts_with("a OK"));
                    line.imap("u", "UID STORE 1:10 +FLAGS (\\Flagged)")?;
                    line.imap("v", "UID STORE 1:10 -FLAGS (\\Flagged)")?;
                    line.imap("f", "UID FETCH 1:5 (FLAGS)")?;
                    Ok(ok)
                };
                match work() {
                    Ok(true) => appended.push(subject),
                    // What was not answered may be there.
                    Ok(false) => thread::sleep(Duration::from_millis(5)),
                    Err(_) => break,
                }
            }
        }
        (appended, sessions)
    })
}

fn check(
    before: &(String, BTreeMap<u32, String>),
    after: &(String, BTreeMap<u32, String>),
    wanted: &[String],
) {
    assert_eq!(before.0, after.0, "UIDVALIDITY");
    for (uid, subject) in &before.1 {
        assert_eq!(after.1.get(uid), Some(subject), "UID {uid}");
    }
    let mut times: BTreeMap<&str, u32> = BTreeMap::new();
    for subject in after.1.values() {
        *times.entry(subject).or_default() += 1;
    }
    let doubled: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert!(doubled.is_empty(), "doubled: {doubled:?}");
    let lost: Vec<_> = wanted.iter().filter(|subject| !times.contains_key(subject.as_str())).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
}

#[test]
fn a_mailbox_moves_while_it_is_in_use() {
    let (o, amy) = two("moving-in-use");
    let smtp = o.address("server-1", "smtp");
    for n in 0..60 {
        assert!(deliver(smtp, &amy.0, &format!("before {n}"), if n % 5 == 0 { 100_000 } else { 0 }).unwrap());
    }
    let before = inbox(o.address("server-1", "imap"), &amy).unwrap();
    assert_eq!(before.1.len(), 60);
    let stop = Arc::new(AtomicBool::new(false));
    let sending = sender(smtp, &amy.0, &stop);
    // At a server that hands her over: wherever she is, she signs in there.
    let working = worker(o.address("server-1", "imap"), &amy, &stop);
    thread::sleep(Duration::from_millis(500));
    let moved =
        o.command("server-2", &["Move-Mailbox", "amy", "-TargetServer", "server-2", "-Confirm:$false"]);
    let moved = moved.unwrap();
    assert_eq!(
        (moved["Status"].as_str(), moved["PercentComplete"].as_u64()),
        (Some("Completed"), Some(100)),
        "{moved}"
    );
    thread::sleep(Duration::from_millis(1500));
    // And back, with all that has come meanwhile.
    let moved =
        o.command("server-1", &["Move-Mailbox", "amy", "-TargetServer", "server-1", "-Confirm:$false"]);
    assert_eq!(moved.unwrap()["Status"], "Completed");
    thread::sleep(Duration::from_millis(500));
    let moved =
        o.command("server-1", &["Move-Mailbox", "amy", "-TargetServer", "server-2", "-Confirm:$false"]);
    assert_eq!(moved.unwrap()["Status"], "Completed");
    thread::sleep(Duration::from_millis(500));
    stop.store(true, Ordering::Relaxed);
    let mut wanted = sending.join().unwrap();
    let (mut appended, sessions) = working.join().unwrap();
    assert!(wanted.len() > 20 && appended.len() > 20, "{} sent, {} appended", wanted.len(), appended.len());
    assert!(sessions >= 2, "{sessions} sessions");
    wanted.append(&mut appended);
    wanted.extend(before.1.values().cloned());
    o.wait_for("everything that was accepted", |o| {
        let Ok(now) = inbox(o.address("server-2", "imap"), &amy) else { return false };
        let there: Vec<&String> = now.1.values().collect();
        wanted.iter().all(|subject| there.contains(&subject))
    });
    check(&before, &inbox(o.address("server-2", "imap"), &amy).unwrap(), &wanted);
    let requests = o.records("server-2", &["Get-MoveRequest"]).unwrap();
    assert_eq!((requests.len(), requests[0]["Status"].as_str()), (1, Some("Completed")));
    o.command("server-2", &["Remove-MoveRequest", "amy", "-Confirm:$false"]).unwrap();
    assert!(o.records("server-1", &["Get-MoveRequest"]).unwrap().is_empty());
    let refused =
        o.command("server-1", &["Move-Mailbox", "amy", "-TargetServer", "server-2", "-Confirm:$false"]);
    assert!(refused.unwrap_err().contains("is on server-2 already"));
}

#[test]
fn a_move_outlives_either_server() {
    let (mut o, amy) = two("moving-killed");
    let smtp = o.address("server-1", "smtp");
    for n in 0..200 {
        assert!(deliver(smtp, &amy.0, &format!("before {n}"), if n % 2 == 0 { 150_000 } else { 0 }).unwrap());
    }
    let before = inbox(o.address("server-1", "imap"), &amy).unwrap();
    o.command("server-1", &["New-MoveRequest", "amy", "-TargetServer", "server-2"]).unwrap();
    thread::sleep(Duration::from_millis(120));
    o.kill("server-2");
    thread::sleep(Duration::from_millis(300));
    o.begin("server-2");
    thread::sleep(Duration::from_millis(150));
    o.kill("server-1");
    o.begin("server-1");
    o.wait_for("the mailbox at its new home", |o| {
        o.command("server-1", &["Get-MoveRequest", "amy"]).is_ok_and(|r| r["Status"] == "Completed")
    });
    assert!(deliver(smtp, &amy.0, "after", 0).unwrap());
    o.wait_for("mail at the new home", |o| {
        inbox(o.address("server-2", "imap"), &amy).is_ok_and(|now| now.1.len() == 201)
    });
    let mut wanted: Vec<String> = before.1.values().cloned().collect();
    wanted.push("after".into());
    check(&before, &inbox(o.address("server-2", "imap"), &amy).unwrap(), &wanted);
    assert_eq!(home(&o), "server-2");
}

#[test]
fn a_move_can_be_taken_back() {
    let (mut o, amy) = two("moving-back");
    let smtp = o.address("server-1", "smtp");
    for n in 0..40 {
        assert!(deliver(smtp, &amy.0, &format!("before {n}"), 200_000).unwrap());
    }
    // The target is away: the move waits, and says why.
    o.kill("server-2");
    o.command("server-1", &["New-MoveRequest", "amy", "-TargetServer", "server-2"]).unwrap();
    o.wait_for("the reason", |o| {
        let request = o.command("server-1", &["Get-MoveRequest", "amy"]).unwrap();
        request["Message"]
            .as_str()
            .is_some_and(|m| m.contains("server-2 cannot be reached: [INNER-UNREACHABLE]"))
    });
    let other = o.command("server-1", &["New-MoveRequest", "amy", "-TargetServer", "server-9"]);
    assert!(other.is_err());
    o.command("server-1", &["Remove-MoveRequest", "amy", "-Confirm:$false"]).unwrap();
    assert!(o.records("server-1", &["Get-MoveRequest"]).unwrap().is_empty());
    assert_eq!(home(&o), "server-1");
    assert!(deliver(smtp, &amy.0, "after", 0).unwrap());
    assert_eq!(inbox(o.address("server-1", "imap"), &amy).unwrap().1.len(), 41);
    o.begin("server-2");
    o.wait_for_mailbox("server-2", &amy.0);
    let moved =
        o.command("server-1", &["Move-Mailbox", "amy", "-TargetServer", "server-2", "-Confirm:$false"]);
    assert_eq!(moved.unwrap()["Status"], "Completed");
    o.wait_for("everything", |o| inbox(o.address("server-2", "imap"), &amy).is_ok_and(|i| i.1.len() == 41));
}
