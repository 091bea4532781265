//! The main job: mail comes in by SMTP and is read by IMAP and POP3, also after a restart.

use waypost_tests::line::Line;
use waypost_tests::server::{Scratch, Server};

#[test]
fn a_message_arrives_and_survives_a_restart() {
    let scratch = Scratch::new("restart");
    let data = scratch.path().join("data");
    let server = Server::start_in(&data);
    let amy = server.account(0);
    let mut smtp = Line::smtp_hello(server.address("smtp")).unwrap();
    let message = b"From: a@example.net\r\nSubject: hello there\r\n\r\nbody\r\n";
    assert!(smtp.deliver("a@example.net", &amy.0, message).unwrap().starts_with("250"));
    server.stop();

    let server = Server::start_in(&data);
    assert_eq!(server.account(0), amy, "a second start finds its accounts");
    let mut imap = Line::imap_login(server.address("imap"), &amy).unwrap();
    imap.imap("s", "SELECT INBOX").unwrap();
    let found = imap.imap("f", "SEARCH SUBJECT \"hello there\"").unwrap();
    assert!(found[0].starts_with("* ") && found[0].ends_with(|c: char| c.is_ascii_digit()), "{found:?}");
}

#[test]
fn strangers_cannot_relay_and_our_users_are_told_why_it_must_wait() {
    let server = Server::start("relay");
    let mut smtp = Line::smtp_hello(server.address("smtp")).unwrap();
    assert!(smtp.smtp("MAIL FROM:<a@example.net>").unwrap().starts_with("250"));
    assert!(smtp.smtp("RCPT TO:<b@example.org>").unwrap().starts_with("550 5.7.1"));
    let amy = server.account(0).0;
    assert!(smtp.smtp(&format!("RCPT TO:<x{amy}>")).unwrap().starts_with("550 5.1.1"));
}
