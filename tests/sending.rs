//! Mail that leaves: connectors, the queue as an administrator sees it, the Outbox as the sender sees it, reports, and
//! other mail servers both ways.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use waypost_tests::line::Line;
use waypost_tests::peers::Peer;
use waypost_tests::server::{Scratch, Server};
use waypost_tests::sink::Sink;

fn submission(server: &Server, account: usize) -> Line {
    let (address, password) = server.account(account);
    let mut line = Line::smtp_hello(server.address("submission")).unwrap();
    let secret = STANDARD.encode(format!("\0{address}\0{password}"));
    let reply = line.smtp(&format!("AUTH PLAIN {secret}")).unwrap();
    assert!(reply.starts_with("235"), "{reply}");
    line
}

fn message(from: &str, to: &str, subject: &str) -> Vec<u8> {
    format!(
        "From: <{from}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nMessage-ID: <{subject}@test.example>\r\n\
         Date: Tue, 3 Mar 2026 08:15:20 +0000\r\n\r\nHello.\r\n.. two dots\r\nEnd.\r\n"
    )
    .into_bytes()
}

/// Submits as the account with this number; the message must be accepted.
fn submit(server: &Server, account: usize, to: &str, subject: &str) {
    let from = server.account(account).0;
    let mut line = submission(server, account);
    // The lines of dots are stuffed as a client does.
    let text = String::from_utf8(message(&from, to, subject)).unwrap().replace("\r\n.", "\r\n..");
    let reply = line.deliver(&from, to, text.as_bytes()).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
}

fn connector(server: &Server, name: &str, spaces: &str, to: SocketAddr) {
    let (host, port) = (to.ip().to_string(), to.port().to_string());
    let words =
        ["New-SendConnector", "-Name", name, "-AddressSpaces", spaces, "-SmartHosts", &host, "-Port", &port];
    server.command(&words).unwrap();
}

/// Tries again every second instead of every minute.
fn impatient(server: &Server) {
    server
        .command(&["Set-TransportService", "-TransientFailureRetryInterval", "00:00:01"])
        .and_then(|_| {
            server.command(&["Set-TransportService", "-OutboundConnectionFailureRetryInterval", "00:00:01"])
        })
        .and_then(|_| server.command(&["Set-TransportService", "-MessageRetryInterval", "00:00:01"]))
        .and_then(|_| server.command(&["Set-TransportService", "-QueueGlitchRetryInterval", "00:00:01"]))
        .unwrap();
}

fn rows(answer: Value) -> Vec<Value> {
    match answer {
        Value::Array(rows) => rows,
        one => vec![one],
    }
}

/// The objects of a command that may have none.
fn list(server: &Server, words: &[&str]) -> Vec<Value> {
    let out = Command::new(waypost_tests::server::binary())
        .arg("--data")
        .arg(server.data())
        .args(words)
        .arg("--json")
        .output()
        .unwrap();
    assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8_lossy(&out.stdout);
    text.lines()
        .filter(|l| !l.trim().is_empty())
        .flat_map(|l| rows(serde_json::from_str(l).unwrap()))
        .collect()
}

/// Asks again until the answer is there; fails after a minute.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "still not so after a minute: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Every message of a folder, whole; none if there is no such folder.
fn folder(server: &Server, account: usize, name: &str) -> Vec<String> {
    let mut imap = Line::imap_login(server.address("imap"), &server.account(account)).unwrap();
    let answer = imap.imap("s", &format!("SELECT {name}")).unwrap();
    if !answer.last().unwrap().starts_with("s OK") {
        return Vec::new();
    }
    let exists = answer.iter().find_map(|l| l.strip_prefix("* ")?.strip_suffix(" EXISTS")).unwrap_or("0");
    let mut all = Vec::new();
    for number in 1..=exists.parse::<u32>().unwrap() {
        all.push(imap.imap("f", &format!("FETCH {number} BODY.PEEK[]")).unwrap().join("\n"));
    }
    all
}

fn nobody_listens() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[test]
fn a_message_leaves_by_a_connector() {
    let server = Server::start("leaves");
    let sink = Sink::start();
    connector(&server, "sink", "*", sink.address());
    submit(&server, 0, "anyone@example.net", "straight");
    let taken = sink.wait(1);
    assert_eq!(taken[0].to, ["anyone@example.net"]);
    assert_eq!(taken[0].from, server.account(0).0);
    assert!(taken[0].text().contains("Subject: straight\r\n"), "{}", taken[0].text());
    assert!(taken[0].text().ends_with("\r\n\r\nHello.\r\n.. two dots\r\nEnd.\r\n"), "{}", taken[0].text());
    // Nothing is left anywhere.
    until("the queue is empty", || list(&server, &["Get-Message"]).is_empty().then_some(()));
    assert!(folder(&server, 0, "Outbox").is_empty());
    server.stop();
}

#[test]
fn the_sender_sees_what_waits_and_why() {
    let server = Server::start("waits");
    let at = nobody_listens();
    impatient(&server);
    connector(&server, "sink", "*", at);
    submit(&server, 0, "anyone@example.net", "patience");

    let queue = until("a queue in retry", || {
        let queues = list(&server, &["Get-Queue"]);
        queues.into_iter().find(|q| q["LastError"].as_str().is_some_and(|e| !e.is_empty()))
    });
    assert_eq!(queue["Status"], "Retry", "{queue}");
    let error = queue["LastError"].as_str().unwrap();
    assert!(error.contains(&at.port().to_string()) || error.contains("127.0.0.1"), "{error}");

    let item = until("an item in the Outbox", || folder(&server, 0, "Outbox").pop());
    for wanted in ["patience", "anyone@example.net", "127.0.0.1"] {
        assert!(item.contains(wanted), "{wanted} is missing in {item}");
    }
    let why = server.command(&["why", "patience@test.example"]).unwrap();
    assert!(why.to_string().contains("127.0.0.1"), "{why}");

    let sink = Sink::at(at);
    sink.wait(1);
    until("the Outbox is empty", || folder(&server, 0, "Outbox").is_empty().then_some(()));
    until("the queue is empty", || list(&server, &["Get-Message"]).is_empty().then_some(()));
    assert_eq!(sink.taken().len(), 1);
    server.stop();
}

#[test]
fn deleting_the_outbox_item_recalls_the_message() {
    let server = Server::start("recall");
    let at = nobody_listens();
    connector(&server, "sink", "*", at);
    submit(&server, 0, "anyone@example.net", "regret");
    until("an item in the Outbox", || folder(&server, 0, "Outbox").pop());
    let mut imap = Line::imap_login(server.address("imap"), &server.account(0)).unwrap();
    imap.imap("s", "SELECT Outbox").unwrap();
    imap.imap("d", "STORE 1 +FLAGS (\\Deleted)").unwrap();
    imap.imap("e", "EXPUNGE").unwrap();
    until("the queue is empty", || list(&server, &["Get-Message"]).is_empty().then_some(()));
    let sink = Sink::at(at);
    submit(&server, 0, "anyone@example.net", "kept");
    list(&server, &["Get-Queue"]);
    let _ = server.command(&["Retry-Queue", "-Filter", "{Status -eq \"Retry\"}"]);
    let taken = sink.wait(1);
    assert!(taken[0].text().contains("Subject: kept"), "{}", taken[0].text());
    server.stop();
}

#[test]
fn a_refusal_comes_back_as_a_report_that_a_person_understands() {
    let server = Server::start("refused");
    let sink = Sink::scripted(Arc::new(|line| {
        let gone = line.starts_with("RCPT") && line.contains("nobody@");
        gone.then(|| "550 5.1.1 <nobody@example.net>: no such person in this house".to_owned())
    }));
    connector(&server, "sink", "*", sink.address());
    submit(&server, 0, "nobody@example.net", "lost");
    let report =
        until("a report", || folder(&server, 0, "INBOX").into_iter().find(|m| m.contains("Undeliverable")));
    for wanted in [
        "no such person in this house",
        "Final-Recipient: rfc822; nobody@example.net",
        "Action: failed",
        "Status: 5.1.1",
        "Remote-MTA: dns;",
        "multipart/report",
    ] {
        assert!(report.contains(wanted), "{wanted} is missing in {report}");
    }
    assert_eq!(folder(&server, 0, "INBOX").iter().filter(|m| m.contains("Undeliverable")).count(), 1);
    let log = list(&server, &["Get-MessageTrackingLog", "-MessageId", "<lost@test.example>"]);
    let events: Vec<&str> = log.iter().filter_map(|e| e["EventId"].as_str()).collect();
    assert!(events.contains(&"RECEIVE") && events.contains(&"FAIL"), "{events:?}");
    server.stop();
}

#[test]
fn queues_and_messages_in_the_hands_of_an_administrator() {
    let server = Server::start("hands");
    let at = nobody_listens();
    connector(&server, "sink", "*", at);
    for n in 0..4 {
        submit(&server, 0, &format!("r{n}@example.net"), &format!("hand{n}"));
    }
    let messages = until("four messages", || Some(list(&server, &["Get-Message"])).filter(|m| m.len() == 4));
    let identity = |subject: &str| {
        let found =
            messages.iter().find(|m| m["Subject"] == subject).unwrap_or_else(|| panic!("{messages:?}"));
        found["Identity"].as_str().unwrap().to_owned()
    };
    server.command(&["Suspend-Message", "-Identity", &identity("hand0"), "-Confirm:$false"]).unwrap();
    server
        .command(&[
            "Remove-Message",
            "-Identity",
            &identity("hand1"),
            "-WithNDR",
            "$false",
            "-Confirm:$false",
        ])
        .unwrap();
    server.command(&["Remove-Message", "-Identity", &identity("hand2"), "-Confirm:$false"]).unwrap();
    let exported = Command::new(waypost_tests::server::binary())
        .arg("--data")
        .arg(server.data())
        .args(["Export-Message", "-Identity", &identity("hand3")])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&exported.stdout).contains("Subject: hand3"), "{exported:?}");

    let sink = Sink::at(at);
    let queue = list(&server, &["Get-Queue"])
        .into_iter()
        .find(|q| q["MessageCount"].as_u64().is_some_and(|n| n > 0))
        .unwrap();
    server.command(&["Retry-Queue", "-Identity", queue["Identity"].as_str().unwrap()]).unwrap();
    let taken = sink.wait(1);
    assert!(taken[0].text().contains("Subject: hand3"), "{}", taken[0].text());
    server.command(&["Resume-Message", "-Identity", &identity("hand0")]).unwrap();
    let taken = sink.wait(2);
    assert!(taken[1].text().contains("Subject: hand0"), "{}", taken[1].text());
    // One was removed without a word, the other with a report.
    until("a report", || folder(&server, 0, "INBOX").into_iter().find(|m| m.contains("hand2")));
    assert!(!folder(&server, 0, "INBOX").iter().any(|m| m.contains("hand1")));
    assert!(list(&server, &["Get-Message"]).is_empty());
    server.stop();
}

#[test]
fn other_servers_both_ways() {
    let server = Server::start("peers");
    impatient(&server);
    let ours = server.account(0).0;
    for start in [Peer::postfix, Peer::exim, Peer::opensmtpd] {
        let peer = start(server.address("smtp"));
        connector(&server, peer.name, peer.domain, peer.address());
        // From us to it.
        let subject = format!("to-{}", peer.name);
        submit(&server, 0, &format!("bob@{}", peer.domain), &subject);
        let got = peer.wait_for(&format!("Subject: {subject}"));
        assert!(got.replace("\r\n", "\n").contains("Hello.\n.. two dots\nEnd.\n"), "{}: {got}", peer.name);
        // Large ones, of many pieces.
        let mut line = submission(&server, 0);
        let big = big_message(&ours, 3_000_000, &format!("big-{}", peer.name));
        assert!(line.deliver(&ours, &format!("bob@{}", peer.domain), &big).unwrap().starts_with("250"));
        let got = peer.wait_for(&format!("Subject: big-{}", peer.name)).replace("\r\n", "\n");
        let sent = String::from_utf8(big).unwrap().replace("\r\n", "\n");
        let body = sent.split_once("\n\n").unwrap().1;
        assert!(got.contains(body.trim_end()), "{}: the large body came otherwise", peer.name);
        // From it to us.
        let mut line = Line::smtp_hello(peer.address()).unwrap();
        let subject = format!("from-{}", peer.name);
        let from = format!("bob@{}", peer.domain);
        let text = message(&from, &ours, &subject);
        let text = String::from_utf8(text).unwrap().replace("\r\n.", "\r\n..");
        let reply = line.deliver(&from, &ours, text.as_bytes()).unwrap();
        assert!(reply.starts_with("250"), "{}: {reply}", peer.name);
        let got = until(&subject, || {
            folder(&server, 0, "INBOX").into_iter().find(|m| m.contains(&format!("Subject: {subject}")))
        });
        assert!(got.contains("Hello.\n.. two dots\nEnd."), "{}: {got}", peer.name);
    }
    server.stop();
}

fn big_message(from: &str, size: usize, subject: &str) -> Vec<u8> {
    let mut text = format!("From: <{from}>\r\nTo: <x@example.net>\r\nSubject: {subject}\r\n\r\n");
    let mut n = 0;
    while text.len() < size {
        n += 1;
        text.push_str(&format!("line {n} of a long message, with nothing in it that matters to anybody\r\n"));
    }
    text.into_bytes()
}

/// The number that a message carries in its subject.
fn number(text: &str) -> Option<u64> {
    text.lines().find_map(|l| l.strip_prefix("Subject: n"))?.trim().parse().ok()
}

#[test]
fn kill_nine_while_mail_leaves() {
    let scratch = Scratch::new("leaving");
    let data = scratch.path().join("data");
    let sink = Sink::start();
    let mut accepted = Vec::new();
    let mut next = 0u64;
    for round in 0..12u64 {
        let server = Server::start_in(&data);
        if round == 0 {
            impatient(&server);
            connector(&server, "sink", "*", sink.address());
        }
        let stop = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicU64::new(0));
        let mut senders = Vec::new();
        for sender in 0..4 {
            let (account, to) = (server.account(sender), server.address("submission"));
            let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
            let first = next + sender as u64 * 1_000_000;
            senders.push(std::thread::spawn(move || submit_until_dead(&account, to, first, &stop, &count)));
        }
        // At another moment each time, but never before there is something to lose.
        until("some are accepted", || (count.load(Ordering::Relaxed) > 20 + round * 7 % 30).then_some(()));
        server.kill();
        stop.store(true, Ordering::Relaxed);
        for sender in senders {
            accepted.extend(sender.join().unwrap());
        }
        next += 1000;
    }
    let server = Server::start_in(&data);
    until("the queue is empty", || {
        list(&server, &["Get-Message", "-ResultSize", "1"]).is_empty().then_some(())
    });
    server.stop();
    let mut times: BTreeMap<u64, u32> = BTreeMap::new();
    for taken in sink.taken().iter() {
        *times.entry(number(&taken.text()).unwrap()).or_default() += 1;
    }
    for number in &accepted {
        assert!(times.contains_key(number), "message {number} was accepted and never left");
    }
    // Taken by the sink, and killed before that could be written down: at most one for each open connection at each kill.
    let doubled: u32 = times.values().map(|n| n - 1).sum();
    assert!(doubled <= 12 * 20, "{doubled} duplicates");
    println!("{} accepted, {} taken, {doubled} twice, over 12 kills", accepted.len(), times.len());
    assert!(
        accepted.len() > 200,
        "only {} messages were accepted: the test proves too little",
        accepted.len()
    );
}

fn submit_until_dead(
    account: &(String, String),
    to: SocketAddr,
    first: u64,
    stop: &AtomicBool,
    count: &AtomicU64,
) -> Vec<u64> {
    let mut accepted = Vec::new();
    let mut number = first;
    let mut talk = || -> std::io::Result<()> {
        let mut line = Line::smtp_hello(to)?;
        let secret = STANDARD.encode(format!("\0{}\0{}", account.0, account.1));
        line.smtp(&format!("AUTH PLAIN {secret}"))?;
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            let text =
                format!("From: <{}>\r\nTo: <x@example.net>\r\nSubject: n{number}\r\n\r\nx\r\n", account.0);
            if line.deliver(&account.0, "x@example.net", text.as_bytes())?.starts_with("250") {
                accepted.push(number);
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    };
    // It ends with the server.
    let _ = talk();
    accepted
}

/// Postfix's server for tests, which counts.
struct SmtpSink {
    child: Child,
    address: SocketAddr,
    counts: std::path::PathBuf,
}

impl SmtpSink {
    fn start(at: SocketAddr, folder: &Scratch) -> SmtpSink {
        let counts = folder.path().join("counts");
        let file = std::fs::File::create(&counts).unwrap();
        let child = Command::new("smtp-sink")
            .args(["-u", "nobody", "-c", &at.to_string(), "256"])
            .stdin(Stdio::null())
            .stdout(file)
            .spawn()
            .expect("smtp-sink starts");
        until("smtp-sink listens", || std::net::TcpStream::connect(at).ok());
        SmtpSink { child, address: at, counts }
    }

    fn messages(&self) -> u64 {
        let text = std::fs::read_to_string(&self.counts).unwrap();
        let last = text.rsplit("mesg=").next().filter(|_| text.contains("mesg=")).unwrap_or("0");
        last.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_relay_between_the_programs_of_postfix() {
    let server = Server::start("relay");
    let folder = Scratch::new("smtp-sink");
    let sink = SmtpSink::start(nobody_listens(), &folder);
    server
        .command(&[
            "New-ReceiveConnector",
            "-Name",
            "Applications",
            "-RemoteIPRanges",
            "127.0.0.0/8",
            "-PermissionGroups",
            "AnonymousUsers",
            "-AllowAnonymousRelay",
            "$true",
        ])
        .unwrap();
    connector(&server, "sink", "*", sink.address);
    let out = Command::new("smtp-source")
        .args(["-s", "20", "-m", "2000", "-l", "2000", "-f", "printer@example.org", "-t", "x@example.net"])
        .arg(server.address("smtp").to_string())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    until("all have come", || (sink.messages() >= 2000).then_some(()));
    until("the queue is empty", || list(&server, &["Get-Message"]).is_empty().then_some(()));
    assert_eq!(sink.messages(), 2000);
    server.stop();
}

/// swaks at the submission port, as the account with this number; what it said.
fn swaks(server: &Server, account: usize, to: &str, words: &[&str]) -> String {
    let (address, password) = server.account(account);
    let out = Command::new("swaks")
        .args(["--server", "127.0.0.1", "--port", &server.port("submission").to_string()])
        .args(["--from", &address, "--to", to, "--auth", "PLAIN"])
        .args(["--auth-user", &address, "--auth-password", &password])
        .args(words)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{words:?}: {text}");
    text
}

#[test]
fn swaks_to_the_world() {
    let server = Server::start("swaks-out");
    let sink = Sink::start();
    connector(&server, "sink", "*", sink.address());
    swaks(&server, 0, "plain@example.net", &["--header", "Subject: plain"]);
    assert!(sink.wait(1)[0].text().contains("Subject: plain\r\n"));
    swaks(&server, 0, "tls@example.net", &["--tls", "--header", "Subject: by TLS"]);
    assert!(sink.wait(2)[1].text().contains("Subject: by TLS\r\n"));
    swaks(&server, 0, "eight@example.net", &["--body", "Grüße aus Köln"]);
    assert!(sink.wait(3)[2].text().contains("Grüße aus Köln"), "{}", sink.taken()[2].text());

    let folder = Scratch::new("attachment");
    let file = folder.path().join("large.bin");
    let bytes: Vec<u8> = (0..1_048_576u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(&file, &bytes).unwrap();
    swaks(&server, 0, "large@example.net", &["--attach", &format!("@{}", file.display())]);
    let text: String = sink.wait(4)[3].text().split_whitespace().collect();
    let encoded = STANDARD.encode(&bytes);
    assert!(text.contains(&encoded), "the attachment came otherwise");

    // A sender who asks is told that it was relayed: the sink does not know of reports.
    let mut line = submission(&server, 0);
    let (from, to) = (server.account(0).0, "asked@example.net");
    for command in
        [format!("MAIL FROM:<{from}> RET=HDRS ENVID=QQ314"), format!("RCPT TO:<{to}> NOTIFY=SUCCESS")]
    {
        let reply = line.smtp(&command).unwrap();
        assert!(reply.starts_with("250"), "{command}: {reply}");
    }
    assert!(line.smtp("DATA").unwrap().starts_with("354"));
    line.send(b"Subject: asked\r\n\r\nhello\r\n.\r\n").unwrap();
    assert!(line.reply().unwrap().starts_with("250"));
    let report = until("a report", || {
        folder_of_reports(&server).into_iter().find(|m| m.contains("Final-Recipient: rfc822; asked@"))
    });
    for wanted in ["Action: relayed", "Original-Envelope-Id: QQ314", "Status: 2."] {
        assert!(report.contains(wanted), "{wanted} is missing in {report}");
    }
    server.stop();
}

fn folder_of_reports(server: &Server) -> Vec<String> {
    folder(server, 0, "INBOX").into_iter().filter(|m| m.contains("multipart/report")).collect()
}

#[test]
fn a_recipient_in_another_script_where_the_peer_cannot() {
    let server = Server::start("utf8");
    let sink = Sink::scripted(Arc::new(|line| {
        line.starts_with("EHLO").then(|| "250-old.test\r\n250-8BITMIME\r\n250 SIZE 10000000".to_owned())
    }));
    connector(&server, "sink", "*", sink.address());
    let mut line = submission(&server, 0);
    let from = server.account(0).0;
    for command in [format!("MAIL FROM:<{from}> SMTPUTF8"), "RCPT TO:<jörg@example.net>".to_owned()] {
        let reply = line.smtp(&command).unwrap();
        assert!(reply.starts_with("250"), "{command}: {reply}");
    }
    assert!(line.smtp("DATA").unwrap().starts_with("354"));
    line.send("Subject: für dich\r\n\r\nhallo\r\n.\r\n".as_bytes()).unwrap();
    assert!(line.reply().unwrap().starts_with("250"));
    let report =
        until("a report", || folder_of_reports(&server).into_iter().find(|m| m.contains("Action: failed")));
    for wanted in ["Status: 5.6.7", "jörg@example.net"] {
        assert!(report.contains(wanted), "{wanted} is missing in {report}");
    }
    assert!(sink.taken().is_empty());
    until("the queue is empty", || list(&server, &["Get-Message"]).is_empty().then_some(()));
    server.stop();
}

#[test]
fn a_draining_server_takes_nothing_and_sends_what_it_has() {
    let server = Server::start("draining");
    impatient(&server);
    let at = nobody_listens();
    connector(&server, "sink", "*", at);
    submit(&server, 0, "x@example.net", "before");
    let state = |state: &str| {
        let words = ["Set-ServerComponentState", "-Component", "HubTransport", "-State", state];
        server.command(&[&words[..], &["-Requester", "Maintenance"]].concat()).unwrap();
    };
    state("Draining");
    for door in ["smtp", "submission"] {
        let refused = until("a refusal", || {
            let mut line = Line::connect(server.address(door)).ok()?;
            let greeting = line.reply().ok()?;
            if greeting.starts_with("421") {
                return Some(greeting);
            }
            line.smtp("EHLO test.example").ok()?;
            let reply = line.smtp("MAIL FROM:<x@example.org>").ok()?;
            reply.starts_with("421").then_some(reply)
        });
        assert!(refused.starts_with("421 4.3.2"), "{refused}");
    }
    let sink = Sink::at(at);
    assert!(sink.wait(1)[0].text().contains("Subject: before\r\n"));
    until("the queue is empty", || list(&server, &["Get-Message"]).is_empty().then_some(()));
    state("Active");
    until("it takes mail again", || {
        let reply = Line::connect(server.address("submission")).ok()?.reply().ok()?;
        reply.starts_with("220").then_some(())
    });
    submit(&server, 0, "x@example.net", "after");
    assert!(sink.wait(2)[1].text().contains("Subject: after\r\n"));
    server.stop();
}
