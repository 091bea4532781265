//! What became of a message, asked as administrators and users do: at the running server, over the network, and of the files
//! of a stopped or killed one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use waypost_tests::line::Line;
use waypost_tests::organisation::Organisation;
use waypost_tests::server::{Scratch, Server, binary};

const ID: &str = "why-1@test.example";

fn submit(server: &Server, from: usize, to: usize) {
    let ((address, password), (to, _)) = (server.account(from), server.account(to));
    let mut line = Line::smtp_hello(server.address("submission")).unwrap();
    let secret = STANDARD.encode(format!("\0{address}\0{password}"));
    assert!(line.smtp(&format!("AUTH PLAIN {secret}")).unwrap().starts_with("235"));
    let text =
        format!("From: <{address}>\r\nTo: <{to}>\r\nSubject: plans\r\nMessage-ID: <{ID}>\r\n\r\nHi.\r\n");
    assert!(line.deliver(&address, &to, text.as_bytes()).unwrap().starts_with("250"));
}

fn run(data: &std::path::Path, words: &[&str]) -> Output {
    Command::new(binary()).arg("--data").arg(data).args(words).output().unwrap()
}

fn text(out: &Output) -> String {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// The command line of a user who has no shell on the server: an empty data folder, a name and a password.
fn over_the_network(server: &Server, account: usize) -> Output {
    let (address, password) = server.account(account);
    let submission = server.address("submission").to_string();
    let words = ["why", ID, "-Server", &submission, "-Credential", &address, "-Password", &password];
    run(std::path::Path::new("/nonexistent"), &words)
}

#[test]
fn administrators_and_users_are_told() {
    let scratch = Scratch::new("why");
    let data = scratch.path().join("data");
    let server = Server::start_in(&data);
    submit(&server, 0, 1);
    let (amy, ben) = (server.account(0).0, server.account(1).0);
    let story = text(&run(server.data(), &["why", ID]));
    for part in ["plans", &amy, "delivered to the mailbox", "What was seen", "RECEIVE", "Legs", "smtp.submit"]
    {
        assert!(story.contains(part), "no {part:?} in {story}");
    }
    let whole = server.command(&["why", &format!("<{ID}>")]).unwrap();
    assert_eq!(whole["Passages"][0]["recipients"][0]["state"], Value::from("delivered"), "{whole}");

    for told in [text(&over_the_network(&server, 0)), text(&over_the_network(&server, 1))] {
        assert!(told.contains(&format!("{ben}: delivered to the mailbox")), "{told}");
        assert!(!told.contains("What was seen"), "{told}");
    }
    let stranger = over_the_network(&server, 2);
    assert_eq!(stranger.status.code(), Some(3), "{}", String::from_utf8_lossy(&stranger.stderr));
    assert!(!String::from_utf8_lossy(&stranger.stderr).contains(&amy));

    let trace = server.command(&["Get-MessageTrace", ID]).unwrap();
    assert_eq!(trace["Status"], Value::from("Delivered"), "{trace}");
    server.stop();
    let log = text(&run(&data, &["Get-MessageTrackingLog", ID, "--json"]));
    let events: Vec<Value> = log.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let names: Vec<&str> = events.iter().map(|e| e["EventId"].as_str().unwrap()).collect();
    assert_eq!(names, ["RECEIVE", "DELIVER"]);
    assert!(text(&run(&data, &["why", ID, "-As", &ben])).contains("delivered to the mailbox"));
}

/// A service is stopped, and the settings are changed: the tale of that time, of a session, an address and a server.
#[test]
fn times_sessions_addresses_and_servers_are_told() {
    let scratch = Scratch::new("why-time");
    let data = scratch.path().join("data");
    let server = Server::start_in(&data);
    let (amy, password) = server.account(0);
    submit(&server, 0, 1);
    let words = ["Set-ImapSettings", "-LoginType", "SecureLogin", "-Why", "an audit wants it"];
    server.command(&words).unwrap();
    server.command(&["Set-WaypostSetting", "sign_in.loopback_is_secure", "false"]).unwrap();
    // The client is refused from now on, again and again.
    for _ in 0..6 {
        let mut line = Line::connect(server.address("imap")).unwrap();
        line.line().unwrap();
        let answer = line.imap("a", &format!("LOGIN {amy} {password}")).unwrap();
        assert!(answer.last().unwrap().contains("NO"), "{answer:?}");
    }
    server.command(&["Stop-Service", "pop"]).unwrap();

    let now = server.command(&["why", "did", "mail", "stop", "right", "now?"]).unwrap();
    let follows = now["Follows"].to_string();
    assert!(follows.contains("[IMAP-NOTALLOWED] start TLS first"), "{now}");
    assert!(follows.contains("SERVICE-STOPPED"), "{now}");
    let suspected = now["Suspected"].to_string();
    for part in
        ["sign_in.loopback_is_secure", "an audit wants it", "Stop-Service -Name pop", "Undo-WaypostSetting"]
    {
        assert!(suspected.contains(part), "no {part:?} in {now}");
    }
    let whole = now["Text"].as_str().unwrap();
    for part in ["What follows", "What is only suspected", "Test: ", "What can be done", "What was seen"] {
        assert!(whole.contains(part), "no {part:?} in {whole}");
    }
    assert!(!whole.contains(&password), "{whole}");

    let of_amy = server.command(&["why", &amy]).unwrap();
    let summary = of_amy["Summary"].to_string();
    assert!(summary.contains("one message from "), "{of_amy}");
    let seen = of_amy["Seen"].as_array().unwrap();
    let line =
        seen.iter().find(|e| e["source"] == "IMAP4 protocol log").unwrap_or_else(|| panic!("{of_amy}"));
    let session = line["fact"].as_str().unwrap().split(' ').next().unwrap().to_owned();
    let of_session = text_of(&server, &["why", &session]);
    assert!(of_session.contains("IMAP4 session from 127.0.0.1"), "{of_session}");
    assert!(of_session.contains("The last thing that was refused: login"), "{of_session}");
    let of_server = text_of(&server, &["why", "server-1"]);
    assert!(of_server.starts_with("Server server-1"), "{of_server}");
    let unknown = run(&data, &["why", "nobody-knows-this"]);
    assert_eq!(unknown.status.code(), Some(3));

    // The same of the files of a stopped server, and where its store cannot be opened at all.
    server.stop();
    let stopped = text(&run(&data, &["why", "now"]));
    assert!(stopped.contains("[IMAP-NOTALLOWED] start TLS first"), "{stopped}");
    assert!(stopped.contains("The server is not running"), "{stopped}");
    for entry in std::fs::read_dir(data.join("store")).unwrap().flatten() {
        if entry.path().is_file() {
            std::fs::write(entry.path(), "this is no database").unwrap();
        }
    }
    let broken = run(&data, &["why", "now"]);
    assert!(String::from_utf8_lossy(&broken.stderr).contains("The store could not be opened"), "{broken:?}");
    assert!(text(&broken).contains("[IMAP-NOTALLOWED] start TLS first"));
    let message = run(&data, &["why", ID]);
    assert!(text(&message).contains("plans"), "{message:?}");
}

/// Mail to an alias and sessions under a short name are of the same account; what the directory and the mailbox say of it
/// explains what was refused.
#[test]
fn an_account_is_known_by_all_its_names() {
    let scratch = Scratch::new("why-names");
    let server = Server::start_in(&scratch.path().join("data"));
    let (amy, ben) = (server.account(0).0, server.account(1).0);
    let alias = format!("the.boss@{}", ben.split_once('@').unwrap().1);
    let add = format!("@{{Add=\"{alias}\"}}");
    server.command(&["Set-Mailbox", &ben, "-EmailAddresses", &add]).unwrap();
    let mut line = Line::smtp_hello(server.address("smtp")).unwrap();
    let text =
        format!("From: <{amy}>\r\nTo: <{alias}>\r\nSubject: x\r\nMessage-ID: <alias@x.test>\r\n\r\nx\r\n");
    assert!(line.deliver("eve@elsewhere.test", &alias, text.as_bytes()).unwrap().starts_with("250"));
    server.command(&["Set-Mailbox", &ben, "-ProhibitSendReceiveQuota", "50B"]).unwrap();
    server.command(&["Set-Mailbox", &ben, "-AccountDisabled", "true"]).unwrap();

    let of_ben = server.command(&["why", &ben]).unwrap();
    let (summary, seen) = (of_ben["Summary"].to_string(), of_ben["Seen"].to_string());
    assert!(summary.contains("the account's addresses, 1 to it delivered"), "{of_ben}");
    for part in [&format!("also <{alias}>"), "its mail is on server-1", "holds one message"] {
        assert!(seen.contains(part), "no {part:?} in {of_ben}");
    }
    let follows = of_ben["Follows"].to_string();
    assert!(follows.contains("is switched off: nobody signs in to it"), "{of_ben}");
    assert!(follows.contains("is full: nothing more is taken for it"), "{of_ben}");
    assert!(
        of_ben["Remedy"].to_string().contains(&format!("Set-Mailbox {ben} -AccountDisabled false")),
        "{of_ben}"
    );
    // Asked by the alias it is the same story.
    assert_eq!(server.command(&["why", &alias]).unwrap()["Follows"], of_ben["Follows"]);

    let nobody = format!("nobody@{}", ben.split_once('@').unwrap().1);
    let refused = line.deliver("eve@elsewhere.test", &nobody, b"Subject: x\r\n\r\nx\r\n");
    assert!(refused.unwrap().starts_with("550 5.1.1"));
    // Protocol logs are written a moment later.
    let asked = || server.command(&["why", &nobody]);
    let patience = Instant::now();
    let mut of_nobody = asked();
    while of_nobody.is_err() && patience.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(100));
        of_nobody = asked();
    }
    let of_nobody = of_nobody.unwrap();
    assert!(of_nobody["Follows"].to_string().contains("nobody here has the address"), "{of_nobody}");
}

fn text_of(server: &Server, words: &[&str]) -> String {
    server.command(words).unwrap()["Text"].as_str().unwrap().to_owned()
}

/// The other servers are asked too; one that is away is said to be.
#[test]
fn other_servers_are_asked() {
    let mut o = Organisation::start("why-others", "all");
    o.add("server-2", "all");
    o.wait_for("both know each other", |o| {
        o.records("server-2", &["Get-Server"]).is_ok_and(|s| s.len() == 2)
    });
    o.command("server-2", &["Stop-Service", "pop"]).unwrap();
    let told = o.command("server-1", &["why", "now"]).unwrap();
    assert!(told["Servers"]["server-2"]["Follows"].to_string().contains("SERVICE-STOPPED"), "{told}");
    assert!(told["Text"].as_str().unwrap().contains("On server-2"), "{told}");
    o.kill("server-2");
    let told = o.command("server-1", &["why", "now"]).unwrap();
    assert!(
        told["Text"].as_str().unwrap().contains("Servers that could not be asked\n  server-2: "),
        "{told}"
    );
}
