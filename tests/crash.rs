//! kill -9 under load: what was acknowledged is there afterwards, once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use waypost_tests::line::Line;
use waypost_tests::server::{Scratch, Server};

const ROUNDS: u32 = 50;

/// What clients were promised: numbers of messages by account, and of those the ones whose flag was acknowledged.
#[derive(Default)]
struct Promised {
    delivered: Mutex<BTreeMap<u64, usize>>,
    flagged: Mutex<Vec<u64>>,
    next: AtomicU64,
}

fn message(number: u64, size: usize) -> Vec<u8> {
    let mut text =
        format!("From: c@example.net\r\nSubject: n{number}\r\nX-Number: {number}\r\n\r\n").into_bytes();
    while text.len() < size {
        text.extend_from_slice(format!("line {} of {number}\r\n", text.len()).as_bytes());
    }
    text
}

fn deliver_until_dead(to: SocketAddr, accounts: Vec<(usize, String)>, promised: &Promised) -> Option<()> {
    let mut smtp = Line::smtp_hello(to).ok()?;
    loop {
        let number = promised.next.fetch_add(1, Ordering::Relaxed);
        let (account, address) = &accounts[number as usize % accounts.len()];
        // One in sixteen is too large for the database and goes to the segments.
        let size = if number.is_multiple_of(16) { 200_000 } else { 1500 };
        if smtp.deliver("c@example.net", address, &message(number, size)).ok()?.starts_with("250") {
            promised.delivered.lock().unwrap().insert(number, *account);
        }
    }
}

fn append_until_dead(to: SocketAddr, who: (usize, (String, String)), promised: &Promised) -> Option<()> {
    let mut imap = Line::imap_login(to, &who.1).ok()?;
    imap.imap("s", "SELECT INBOX").ok()?;
    loop {
        let number = promised.next.fetch_add(1, Ordering::Relaxed);
        let text = message(number, 900);
        imap.send(format!("a APPEND INBOX {{{}+}}\r\n", text.len()).as_bytes()).ok()?;
        imap.send(&[&text[..], b"\r\n"].concat()).ok()?;
        let answer = imap.imap_answer("a").ok()?;
        let done = answer.last()?;
        if !done.starts_with("a OK") {
            continue;
        }
        promised.delivered.lock().unwrap().insert(number, who.0);
        // [APPENDUID validity uid]
        let uid = done.split(['[', ']', ' ']).nth(5)?;
        let stored = imap.imap("f", &format!("UID STORE {uid} +FLAGS.SILENT (\\Flagged)")).ok()?;
        if stored.last()?.starts_with("f OK") {
            promised.flagged.lock().unwrap().push(number);
        }
    }
}

/// Number of the message → how often it is there and whether it is flagged.
fn present(server: &Server, account: usize) -> BTreeMap<u64, (u32, bool)> {
    let mut imap = Line::imap_login(server.address("imap"), &server.account(account)).unwrap();
    imap.imap("s", "SELECT INBOX").unwrap();
    let lines = imap.imap("f", "FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (X-Number)])").unwrap();
    let mut found: BTreeMap<u64, (u32, bool)> = BTreeMap::new();
    let mut flagged = false;
    for line in lines {
        if line.starts_with("* ") {
            flagged = line.contains("\\Flagged");
        } else if let Some(number) = line.strip_prefix("X-Number: ") {
            let entry = found.entry(number.parse().unwrap()).or_default();
            entry.0 += 1;
            entry.1 |= flagged;
        }
    }
    found
}

fn check(server: &Server, promised: &Promised) {
    let there: Vec<_> = (0..4).map(|a| present(server, a)).collect();
    for (number, account) in promised.delivered.lock().unwrap().iter() {
        let count = there[*account].get(number).map_or(0, |f| f.0);
        assert_eq!(
            count, 1,
            "message {number} of account {account} was acknowledged and is there {count} times"
        );
    }
    for number in promised.flagged.lock().unwrap().iter() {
        assert!(there.iter().any(|t| t.get(number).is_some_and(|f| f.1)), "message {number} lost its flag");
    }
    for (number, (count, _)) in there.iter().flatten() {
        assert_eq!(*count, 1, "message {number} is there {count} times");
    }
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled() {
    let scratch = Scratch::new("crash");
    let data = scratch.path().join("data");
    let promised = Arc::new(Promised::default());
    for round in 0..ROUNDS {
        let server = Server::start_in(&data);
        if round % 5 == 4 {
            check(&server, &promised);
        }
        let accounts: Vec<_> = (0..4).map(|n| (n, server.account(n))).collect();
        let addresses: Vec<_> = accounts.iter().map(|(n, a)| (*n, a.0.clone())).collect();
        let mut workers = Vec::new();
        for account in &accounts {
            let (to, addresses, shared) = (server.address("smtp"), addresses.clone(), Arc::clone(&promised));
            workers.push(std::thread::spawn(move || deliver_until_dead(to, addresses, &shared)));
            let (to, who, shared) = (server.address("imap"), account.clone(), Arc::clone(&promised));
            workers.push(std::thread::spawn(move || append_until_dead(to, who, &shared)));
        }
        // From "hardly begun" to "in full swing".
        std::thread::sleep(Duration::from_millis(30 + u64::from(round) * 37 % 300));
        server.kill();
        for worker in workers {
            worker.join().unwrap();
        }
    }
    let server = Server::start_in(&data);
    check(&server, &promised);
    let delivered = promised.delivered.lock().unwrap().len();
    assert!(delivered > 500, "only {delivered} messages were acknowledged: the test proves too little");
    println!("{delivered} acknowledged messages over {ROUNDS} kills");
    server.stop();
}
