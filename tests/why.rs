//! What became of a message, asked as administrators and users do: at the running server, over the network, and of the files
//! of a stopped or killed one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::process::{Command, Output};
use waypost_tests::line::Line;
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
