//! Stopping, reloading, starting twice; what logs and figures say.

use serde_json::Value;
use std::fs;
use std::process::Command;
use std::time::Duration;
use waypost_tests::line::Line;
use waypost_tests::server::{Server, binary};

fn signal(server: &Server, name: &str) {
    let sent = Command::new("kill").args([name, &server.pid().to_string()]).status();
    assert!(sent.is_ok_and(|s| s.success()), "kill {name}");
}

/// Looks until it is so; servers take their time, tests must not depend on how much.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..500 {
        if so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what} did not happen in 5 s");
}

#[test]
fn a_stop_lets_sessions_finish() {
    let server = Server::start("stop");
    let amy = server.account(0);
    let mut sending = Line::smtp_hello(server.address("smtp")).unwrap();
    for command in ["MAIL FROM:<a@example.net>".to_owned(), format!("RCPT TO:<{}>", amy.0), "DATA".into()] {
        assert!(sending.smtp(&command).unwrap().starts_with(['2', '3']));
    }
    sending.send(b"Subject: half\r\n\r\n").unwrap();
    let mut waiting = Line::smtp_hello(server.address("smtp")).unwrap();
    let mut idle = Line::imap_login(server.address("imap"), &amy).unwrap();
    idle.imap("s", "SELECT INBOX").unwrap();
    idle.send(b"i IDLE\r\n").unwrap();
    assert!(idle.line().unwrap().starts_with('+'));
    signal(&server, "-TERM");
    assert!(waiting.reply().unwrap().starts_with("421"));
    assert!(idle.line().unwrap().starts_with("* BYE"));
    until("closing of the doors", || Line::connect(server.address("smtp")).is_err());
    sending.send(b"the other half\r\n.\r\n").unwrap();
    assert!(sending.reply().unwrap().starts_with("250"));
    assert!(sending.reply().unwrap().starts_with("421"));
}

#[test]
fn a_reload_shows_the_new_certificate_and_drops_nobody() {
    let server = Server::start("reload");
    let other = Server::start("reload-other");
    let shown = |server: &Server| {
        let script =
            format!("import ssl; print(ssl.get_server_certificate(('127.0.0.1', {})))", server.port("imaps"));
        let out = Command::new("python3").args(["-c", &script]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let (old, new) = (shown(&server), shown(&other));
    assert_ne!(old, new);
    let mut session = Line::imap_login(server.address("imap"), &server.account(0)).unwrap();
    for name in ["public.crt", "public.key"] {
        fs::copy(other.data().join("public").join(name), server.data().join("public").join(name)).unwrap();
    }
    signal(&server, "-HUP");
    until("the new certificate", || shown(&server) == new);
    assert!(session.imap("n", "NOOP").unwrap().last().unwrap().starts_with("n OK"));

    // One that cannot be used is refused, and the last good one stays.
    fs::write(server.data().join("public/public.crt"), "no certificate").unwrap();
    signal(&server, "-HUP");
    until("the complaint", || server.log_text().contains("was not read again: the old one stays"));
    assert_eq!(shown(&server), new);
}

#[test]
fn a_second_server_on_the_same_data_is_refused_with_the_reason() {
    let server = Server::start("second");
    for words in [&["serve"][..], &["quickstart", "--json", "--ports", "auto"]] {
        let out = Command::new(binary()).args(words).arg("--data").arg(server.data()).output().unwrap();
        assert_eq!(out.status.code(), Some(1));
        let text = String::from_utf8_lossy(&out.stderr);
        assert!(text.contains("in use by another process"), "{text}");
    }
    // The first one has lost nothing by it, not even its socket for commands.
    assert!(Line::imap_login(server.address("imap"), &server.account(0)).is_ok());
    assert_eq!(server.command(&["Get-StoreHealth"]).unwrap()["State"], "Healthy");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let server = Server::start("port");
    let data = server.data().with_file_name("second");
    let waypost =
        |words: &[&str]| Command::new(binary()).arg("--data").arg(&data).args(words).output().unwrap();
    assert!(waypost(&["init", "--domain", "example.org"]).status.success());
    let free = ["submission", "submissions", "lmtp", "imap", "imaps", "pop3", "pop3s", "metrics"];
    for door in free {
        assert!(
            waypost(&["Set-WaypostSetting", &format!("listeners.{door}"), "127.0.0.1:0"]).status.success()
        );
    }
    let taken = server.address("smtp").to_string();
    let set = waypost(&["Set-WaypostSetting", "listeners.smtp", &taken]);
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    let out = waypost(&["serve"]);
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(
        !out.status.success() && text.contains("cannot listen on") && text.contains("listeners.smtp"),
        "{text}"
    );
}

fn files(folder: &std::path::Path, all: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, all);
        } else {
            all.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn logs_and_figures_tell_what_happened_and_no_password() {
    let server = Server::start("figures");
    let amy = server.account(0);
    let mut imap = Line::imap_login(server.address("imap"), &amy).unwrap();
    imap.imap("x", "LOGOUT").unwrap();
    assert!(Line::imap_login(server.address("imap"), &(amy.0.clone(), "wrong-secret-word".into())).is_err());
    let mut smtp = Line::smtp_hello(server.address("smtp")).unwrap();
    let reply = smtp.deliver("a@example.net", &amy.0, b"Subject: f\r\n\r\nx\r\n").unwrap();
    assert!(reply.starts_with("250"));
    smtp.smtp("QUIT").unwrap();

    let mut http = Line::connect(server.address("metrics")).unwrap();
    http.send(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut page = Vec::new();
    while let Ok(line) = http.line() {
        page.push(line);
    }
    let start = page.iter().position(String::is_empty).unwrap();
    for line in page[start + 1..].iter().filter(|l| !l.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("waypost_") && value.parse::<f64>().is_ok(), "{line}");
    }
    let value = |name: &str| {
        let line = page.iter().find_map(|l| l.strip_prefix(&format!("waypost_{name} ")));
        line.unwrap_or_else(|| panic!("no figure {name}")).parse::<f64>().unwrap()
    };
    assert!(value("signin_accepted_total") >= 1.0 && value("signin_wrong_total") >= 1.0);
    assert!(value("smtp_messages_accepted_total") >= 1.0);
    assert_eq!(value("panics_total"), 0.0);

    // The correlation id of the connection is in the reply, in the log of the process and in the protocol log.
    let session = reply.rsplit(' ').next().and_then(|id| id.split('-').next()).unwrap().to_owned();
    until("the message's line", || server.log_text().contains(&format!("session={session}")));
    let logs = || {
        let mut all = String::new();
        files(&server.data().join("logs"), &mut all);
        all
    };
    until("the protocol log", || {
        logs().contains(&session) && logs().contains("LOGOUT") | logs().contains("logout")
    });
    for secret in [amy.1.as_str(), "wrong-secret-word"] {
        assert!(!logs().contains(secret) && !server.log_text().contains(secret), "a password was logged");
    }
    for kind in ["SMTP Receive Protocol Log", "IMAP4 Protocol Log", "POP3 Protocol Log"] {
        assert!(logs().contains(&format!("#Log-type: {kind}")), "{kind}");
    }
    let health: Value = server.command(&["Get-StoreHealth"]).unwrap();
    assert_eq!(health["CorruptRows"], 0);
}

/// The kernel takes 107 bytes for the name of a socket; folders may be deeper.
#[test]
fn a_deep_data_folder_takes_commands_too() {
    let scratch = waypost_tests::server::Scratch::new("deep");
    let deep =
        scratch.path().join("a-folder-with-quite-a-long-name/and-another-below-it-of-the-same-kind/data");
    fs::create_dir_all(deep.parent().unwrap()).unwrap();
    let server = Server::start_in(&deep);
    let first = server.command(&["Get-Mailbox", "amy@contoso.test"]).unwrap();
    assert!(first.to_string().contains("amy@contoso.test"), "{first}");
    server.stop();
}
