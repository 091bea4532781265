//! Changes of the settings on a running server: rehearsed, refused with the finding, forced, undone; doors that move and
//! services that restart without dropping anybody else.

use serde_json::Value;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;
use waypost_tests::line::Line;
use waypost_tests::organisation::Organisation;
use waypost_tests::server::{Server, binary};

/// What a command said: records, one JSON object a line, and what went to standard error.
struct Said {
    good: bool,
    records: Vec<Value>,
    errors: String,
}

fn run(server: &Server, words: &[&str]) -> Said {
    let out =
        Command::new(binary()).arg("--data").arg(server.data()).args(words).arg("--json").output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    Said {
        good: out.status.success(),
        records: text.lines().map(|l| serde_json::from_str(l).unwrap()).collect(),
        errors: String::from_utf8(out.stderr).unwrap(),
    }
}

fn good(server: &Server, words: &[&str]) -> Said {
    let said = run(server, words);
    assert!(said.good, "{words:?}: {}", said.errors);
    said
}

fn history(server: &Server) -> Vec<Value> {
    good(server, &["settings", "history"]).records
}

fn free() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], waypost_tests::ports::free()))
}

fn until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what} did not happen in 10 s");
}

fn noop(line: &mut Line, tag: &str) -> bool {
    line.imap(tag, "NOOP")
        .is_ok_and(|lines| lines.last().is_some_and(|l| l.starts_with(&format!("{tag} OK"))))
}

#[test]
fn a_listener_that_cannot_be_is_refused_and_one_that_can_moves() {
    let server = Server::start("settings-listener");
    let amy = server.account(0);
    let mut session = Line::imap_login(server.address("imap"), &amy).unwrap();
    let before = history(&server).len();

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = run(&server, &["Set-ImapSettings", "-UnencryptedOrTLSBindings", &address]);
    assert!(!refused.good);
    assert!(refused.errors.contains("REHEARSAL-LISTEN"), "{}", refused.errors);
    assert!(refused.errors.contains("\"remedy\""), "the finding is there for programs: {}", refused.errors);
    assert_eq!(history(&server).len(), before, "nothing was put in place");

    // Nor two that the system does not let stand beside each other.
    let (one, other) = (free(), free());
    let both = format!("0.0.0.0:{},{one}", one.port());
    let refused = run(&server, &["Set-ImapSettings", "-UnencryptedOrTLSBindings", &both]);
    assert!(!refused.good && refused.errors.contains("cannot both be open"), "{}", refused.errors);

    good(
        &server,
        &["Set-ImapSettings", "-UnencryptedOrTLSBindings", &one.to_string(), "-Why", "moving house"],
    );
    Line::imap_login(one, &amy).unwrap();
    assert!(Line::connect(server.address("imap")).is_err(), "the old one is closed");
    good(&server, &["Set-ImapSettings", "-UnencryptedOrTLSBindings", &other.to_string()]);
    Line::imap_login(other, &amy).unwrap();
    good(&server, &["settings", "undo"]);
    Line::imap_login(one, &amy).unwrap();
    assert!(Line::connect(other).is_err());
    assert!(noop(&mut session, "n1"), "the session that stood all the time goes on");

    let why = good(&server, &["settings", "why", "listeners.imap"]).records;
    assert!(why[0]["Text"].as_str().unwrap().contains("Undo-WaypostSetting"), "{why:?}");
    let last = history(&server);
    assert!(last.iter().any(|v| v["Why"] == "moving house" && v["Forced"] == false), "{last:?}");
    assert!(last.last().unwrap()["Rehearsal"].as_str().unwrap().starts_with("passed"), "{last:?}");
}

#[test]
fn every_login_type_is_rehearsed_and_people_can_sign_in() {
    let server = Server::start("settings-login");
    let amy = server.account(0);
    for kind in ["PlainTextLogin", "PlainTextAuthentication", "SecureLogin"] {
        for command in ["Set-ImapSettings", "Set-PopSettings"] {
            good(&server, &[command, "-LoginType", kind]);
        }
        let last = history(&server).pop().unwrap();
        let told = last["Rehearsal"].as_str().unwrap_or_default().to_owned();
        assert!(told.is_empty() || told.starts_with("passed"), "{kind}: {last:?}");
        Line::imap_login(server.address("imap"), &amy).unwrap();
    }
    // Nobody is shown the account that tries.
    let all = good(&server, &["Get-Mailbox"]).records;
    assert!(all.iter().all(|m| !m["Name"].as_str().unwrap().starts_with("HealthMailbox")), "{all:?}");
    assert_eq!(good(&server, &["Get-Mailbox", "-Monitoring"]).records.len(), 1);
}

#[test]
fn a_certificate_that_cannot_be_shown_is_refused_forced_and_undone() {
    let mut server = Server::start("settings-certificate");
    let other = Server::start("settings-other");
    let amy = server.account(0);
    let mut session = Line::imap_login(server.address("imap"), &amy).unwrap();
    fs::copy(other.data().join("public/public.key"), server.data().join("public/wrong.key")).unwrap();

    let planned = run(&server, &["Set-WaypostSetting", "tls.key", "public/wrong.key", "-WhatIf"]);
    assert!(planned.errors.contains("would be refused"), "{}", planned.errors);
    let refused = run(&server, &["Set-WaypostSetting", "tls.key", "public/wrong.key"]);
    assert!(!refused.good);
    assert!(refused.errors.contains("[CERT-"), "{}", refused.errors);
    assert_eq!(server.command(&["Get-WaypostSetting", "tls.key"]).unwrap()["Value"], "\"public/public.key\"");

    server.expect_error("certificate");
    let forced = good(
        &server,
        &["Set-WaypostSetting", "tls.key", "public/wrong.key", "-Force", "-Why", "I know better"],
    );
    assert!(forced.errors.contains("Put in place by -Force"), "{}", forced.errors);
    let last = history(&server).pop().unwrap();
    assert_eq!(last["Forced"], true);
    assert!(last["Finding"].as_str().unwrap().contains("[CERT-"), "{last:?}");
    assert_eq!(last["Why"], "I know better");

    good(&server, &["settings", "undo"]);
    assert_eq!(server.command(&["Get-WaypostSetting", "tls.key"]).unwrap()["Value"], "\"public/public.key\"");
    assert!(noop(&mut session, "n"), "nobody was dropped");
    let last = history(&server).pop().unwrap();
    assert_eq!(
        (&last["Forced"], last["Rehearsal"].as_str().unwrap().starts_with("passed")),
        (&Value::Bool(false), true)
    );
}

#[test]
fn a_restart_ends_the_sessions_of_its_service_only() {
    let server = Server::start("settings-restart");
    let (amy, ben) = (server.account(0), server.account(1));
    let mut imap = Line::imap_login(server.address("imap"), &amy).unwrap();
    let mut pop = Line::connect(server.address("pop3")).unwrap();
    pop.line().unwrap();
    for command in [format!("USER {}", ben.0), format!("PASS {}", ben.1)] {
        pop.send(format!("{command}\r\n").as_bytes()).unwrap();
        assert!(pop.line().unwrap().starts_with("+OK"));
    }
    let mut smtp = Line::smtp_hello(server.address("smtp")).unwrap();

    good(&server, &["Restart-Service", "MSExchangeIMAP4"]);
    assert!(imap.line().unwrap().starts_with("* BYE"));
    assert!(smtp.smtp("NOOP").unwrap().starts_with("250"));
    pop.send(b"NOOP\r\n").unwrap();
    assert!(pop.line().unwrap().starts_with("+OK"));
    let mut imap = Line::imap_login(server.address("imap"), &amy).unwrap();

    good(&server, &["Restart-Service", "transport"]);
    assert!(smtp.reply().unwrap().starts_with("421"));
    assert!(noop(&mut imap, "n"));
    Line::smtp_hello(server.address("smtp")).unwrap();

    let at = server.address("pop3");
    good(&server, &["Stop-Service", "pop"]);
    assert!(Line::connect(at).is_err());
    let all = good(&server, &["Get-Service"]).records;
    let pop = all.iter().find(|s| s["Name"] == "MSExchangePOP3").unwrap();
    assert_eq!(pop["Status"], "Stopped");
    good(&server, &["Start-Service", "MSExchangePop3"]);
    Line::connect(at).unwrap();
    assert!(noop(&mut imap, "m"));
}

#[test]
fn what_is_changed_by_hand_is_kept_and_looked_at() {
    let mut server = Server::start("settings-hand");
    let path = server.data().join("settings.toml");
    let hang_up = |server: &Server| {
        let sent = Command::new("kill").args(["-HUP", &server.pid().to_string()]).status();
        assert!(sent.is_ok_and(|s| s.success()));
    };
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("[imap]\n", "[imap]\nbanner = \"By hand.\"\n")).unwrap();
    hang_up(&server);
    let greets = |server: &Server| Line::connect(server.address("imap")).unwrap().line().unwrap();
    until("the new greeting", || greets(&server).contains("By hand."));
    until("the look at it", || server.log_text().contains("changed by hand work"));
    let last = history(&server).pop().unwrap();
    assert_eq!(last["Who"], "file");
    let why = good(&server, &["settings", "why", "imap.banner"]).records;
    assert!(why[0]["Text"].as_str().unwrap().contains("by file"), "{why:?}");

    server.expect_error("settings not reloaded");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("By hand.", "By hand.\"\nlogin_type = \"Sometimes")).unwrap();
    hang_up(&server);
    until("the complaint", || server.log_text().contains("settings not reloaded"));
    assert!(greets(&server).contains("By hand."));
}

#[test]
fn a_plan_tells_key_by_key() {
    let server = Server::start("settings-plan");
    let text = fs::read_to_string(server.data().join("settings.toml")).unwrap();
    let new = server.data().join("new.toml");
    fs::write(&new, text.replace("[imap]\n", "[imap]\nbanner = \"Planned.\"\n")).unwrap();
    let new = new.to_str().unwrap();
    let plan = good(&server, &["settings", "plan", new]).records;
    assert_eq!((&plan[0]["Key"], &plan[0]["New"]), (&"imap.banner".into(), &"\"Planned.\"".into()));
    let last = plan.last().unwrap();
    assert_eq!(last["Rehearsal"], "passed", "{last:?}");
    assert_eq!(last["Services"][0], "MSExchangeIMAP4");
    assert!(last["Probes"].as_array().unwrap().iter().any(|p| p.as_str().unwrap().starts_with("imaps")));
    good(&server, &["settings", "apply", new]);
    assert!(Line::connect(server.address("imap")).unwrap().line().unwrap().contains("Planned."));
}

#[test]
fn what_was_changed_is_in_the_audit_log_with_what_was_before() {
    let server = Server::start("settings-audit");
    good(&server, &["Set-ImapSettings", "-Banner", "Audited.", "-Why", "a reason"]);
    good(&server, &["Set-Mailbox", &server.account(0).0, "-DisplayName", "Amy Ash"]);
    assert!(!run(&server, &["Set-ImapSettings", "-MaxCommandSize", "1"]).good);
    let found = good(&server, &["Search-AdminAuditLog"]).records;
    let one = |name: &str, good: bool| {
        let fits = |e: &&Value| e["CmdletName"] == name && e["Succeeded"] == good;
        found.iter().find(fits).unwrap_or_else(|| panic!("{name}: {found:#?}"))
    };
    let banner = one("Set-ImapSettings", true);
    assert_eq!(banner["Why"], "a reason");
    let key =
        banner["ModifiedProperties"].as_array().unwrap().iter().find(|m| m["Name"] == "imap.banner").unwrap();
    assert_eq!(key["NewValue"], "\"Audited.\"");
    let amy = one("Set-Mailbox", true);
    let name =
        amy["ModifiedProperties"].as_array().unwrap().iter().find(|m| m["Name"] == "DisplayName").unwrap();
    assert_eq!((&name["OldValue"], &name["NewValue"]), (&"Amy Alder".into(), &"Amy Ash".into()));
    assert!(one("Set-ImapSettings", false)["Error"].as_str().unwrap().contains("must be"));
    assert_eq!(good(&server, &["Search-AdminAuditLog", "-Cmdlets", "Set-Mail*"]).records.len(), 1);
}

/// Through the front end to the mailbox behind it.
#[test]
fn a_front_end_rehearses_the_whole_path() {
    let mut o = Organisation::start("settings-path", "transport,mailbox");
    o.add("server-2", "frontend");
    // The primary makes the account that a front end borrows.
    o.command("server-1", &["Set-ImapSettings", "-Banner", "One."]).unwrap();
    until("the account at the front end", || {
        o.command("server-2", &["Get-Mailbox", "HealthMailbox-server-1"]).is_ok()
    });
    o.command("server-2", &["Set-ImapSettings", "-Server", "server-2", "-Banner", "Two."]).unwrap();
    let mut line = Line::connect(o.address("server-2", "imap")).unwrap();
    assert!(line.line().unwrap().contains("Two."));
    let history =
        o.command("server-2", &["settings", "history", "-Server", "server-2", "-ResultSize", "1"]).unwrap();
    let told = history["Rehearsal"].as_str().unwrap_or_default();
    assert!(told.starts_with("passed") && told.contains("imaps"), "{history}");
    assert_eq!(o.command("server-1", &["Get-ImapSettings"]).unwrap()["Banner"], "One.");
}
