//! Responders at work on running servers: what hangs or dies is started again once, what cannot be helped is drained while
//! another server does the same, certificates are renewed, and nothing is touched where nobody has allowed it.
//!
//! A listener is killed from outside: its socket is taken from the process by the kernel's own means and shut down. A service
//! that hangs is another program that has got hold of the port, accepts and says nothing.

use crate::certificates::Pebble;
use rustix::net::Shutdown;
use rustix::process::{ForeignRawFd, Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use serde_json::Value;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;
use waypost_tests::line::Line;
use waypost_tests::organisation::Organisation;
use waypost_tests::pki;
use waypost_tests::server::{self, Scratch};

/// An unoptimised binary on a busy machine gets so long for what takes an interval or two.
const PATIENCE: Duration = Duration::from_secs(180);
const INTERVAL: &str = "00:00:05";

fn until<T>(what: &str, so: impl FnMut() -> Option<T>) -> T {
    server::until(PATIENCE, what, so)
}

fn set(o: &Organisation, key: &str, value: &str) {
    o.command("server-1", &["Set-WaypostSetting", key, value, "-Confirm:$false"]).unwrap();
}

/// One server or several, all of which are well.
fn watched(name: &str, others: &[(&str, &str)]) -> Organisation {
    let mut o = Organisation::start(name, "all");
    for (id, roles) in others {
        o.add(id, roles);
    }
    set(&o, "health.probe_interval", INTERVAL);
    calm(&o);
    o
}

fn calm(o: &Organisation) {
    until("all is well", || {
        let report = o.records("server-1", &["Get-HealthReport"]).ok().filter(|r| !r.is_empty())?;
        let bad = |set: &&Value| set["AlertValue"] != "Healthy" && set["AlertValue"] != "Degraded";
        (report.iter().filter(bad).count() == 0 && alerts(o).is_empty()).then_some(())
    });
}

fn alerts(o: &Organisation) -> Vec<Value> {
    o.records("server-1", &["Get-HealthAlert"]).unwrap_or_default()
}

/// A server that has only begun looks at what it knew a moment later.
fn alert(o: &Organisation, id: &str) -> Value {
    until("the alert is known", || o.command("server-1", &["Get-HealthAlert", id]).ok())
}

/// The open alert that has all these words.
fn open(o: &Organisation, words: &[&str]) -> Value {
    let has = |a: &Value| words.iter().all(|word| a.to_string().contains(word));
    until(&format!("an alert of {words:?}"), || alerts(o).into_iter().find(has))
}

fn actions(alert: &Value) -> Vec<String> {
    let list = alert["Actions"].as_array().cloned().unwrap_or_default();
    list.iter().map(|a| a.as_str().unwrap_or_default().to_owned()).collect()
}

/// Messages of responders' events, oldest first.
fn told(o: &Organisation) -> Vec<String> {
    let words = ["Get-HealthEvent", "-Source", "Responder", "-Newest", "1000"];
    let mut found: Vec<Value> = o.records("server-1", &words).unwrap();
    found.reverse();
    found.iter().map(|e| format!("{} {}", e["InstanceId"], e["Message"].as_str().unwrap())).collect()
}

fn id(alert: &Value) -> String {
    alert["Identity"].as_str().unwrap().to_owned()
}

/// The socket that listens at a port is shut down, as if the kernel had lost it.
fn kill_listener(pid: u32, at: SocketAddr) {
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    let place = format!(":{:04X}", at.port());
    let inode = table.lines().map(|l| l.split_whitespace().collect::<Vec<_>>());
    let inode = inode.filter(|f| f.len() > 9 && f[1].ends_with(&place) && f[3] == "0A").map(|f| f[9]).next();
    let link = format!("socket:[{}]", inode.unwrap_or_else(|| panic!("nobody listens at {at}")));
    let of = |entry: &fs::DirEntry| fs::read_link(entry.path()).is_ok_and(|to| to == Path::new(&link));
    let mut all = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().filter_map(Result::ok);
    let number: ForeignRawFd = all.find(of).unwrap().file_name().to_str().unwrap().parse().unwrap();
    let process = pidfd_open(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), PidfdFlags::empty());
    let socket = pidfd_getfd(process.unwrap(), number, PidfdGetfdFlags::empty()).unwrap();
    rustix::net::shutdown(&socket, Shutdown::Both).unwrap();
    assert!(TcpStream::connect(at).is_err(), "{at} is dead");
}

fn served(o: &Organisation, server: &str, door: &str, who: &(String, String)) -> Option<()> {
    Line::imap_login(o.address(server, door), who).ok().map(drop)
}

/// The same where TLS comes first.
fn shaken(o: &Organisation, server: &str) -> Option<()> {
    let said = pki::s_client(o.address(server, "imaps"), &["-showcerts"]);
    pki::text(&said.stdout).contains("BEGIN CERTIFICATE").then_some(())
}

#[test]
fn a_listener_that_dies_is_started_again_once_and_only_where_that_is_allowed() {
    let o = watched("responders-restart", &[]);
    let who = o.mailbox("amy", "");
    let (pid, imap, imaps) =
        (o.server("server-1").pid(), o.address("server-1", "imap"), o.address("server-1", "imaps"));

    // By default people are told, and nothing is touched.
    kill_listener(pid, imap);
    let first = open(&o, &["listener imap of server-1"]);
    std::thread::sleep(Duration::from_secs(15));
    assert_eq!(actions(&alert(&o, &id(&first))), Vec::<String>::new());
    assert_eq!(told(&o), Vec::<String>::new());
    assert!(TcpStream::connect(imap).is_err());

    set(&o, "health.responders", "mend");
    until("people are served again", || served(&o, "server-1", "imap", &who));
    let first = id(&first);
    let done = until("what came of it", || {
        let done = actions(&alert(&o, &first));
        done.first().is_some_and(|a| a.ends_with("imap was stopped and started")).then_some(done)
    });
    assert_eq!(done.len(), 1, "{done:?}");
    calm(&o);
    let events = told(&o);
    let decided: Vec<&String> = events.iter().filter(|e| e.contains("Decided: ")).collect();
    assert_eq!(decided.len(), 1, "{events:?}");
    assert!(
        decided[0].contains("restart imap of server-1, because of Error: ")
            && decided[0].contains("[HEALTH-"),
        "{events:?}"
    );
    assert!(events.iter().any(|e| e.contains("restart imap of server-1: imap was stopped and started")));

    // Another listener of it dies soon after: the pause holds.
    kill_listener(pid, imaps);
    let second = open(&o, &["listener imaps of server-1"]);
    until("it is held back", || told(&o).into_iter().find(|e| e.contains("health.action_pause")));
    std::thread::sleep(Duration::from_secs(12));
    let second = alert(&o, &id(&second));
    assert_eq!(actions(&second), Vec::<String>::new(), "{second:#}");
    assert_eq!(told(&o).iter().filter(|e| e.contains("Decided: ")).count(), 1);
    // And nobody drains the only server that there is.
    let states = o.records("server-1", &["Get-ServerComponentState"]).unwrap();
    assert!(states.iter().all(|s| s["State"] == "Active"), "{states:?}");
    // A person may do at any time what the responder may not.
    o.command("server-1", &["Stop-Service", "imap", "-Confirm:$false"]).unwrap();
    o.command("server-1", &["Start-Service", "imap"]).unwrap();
    until("people are served again", || shaken(&o, "server-1"));
    calm(&o);
}

#[test]
fn a_front_end_that_cannot_be_helped_is_drained_and_returns() {
    let mut o = watched("responders-drain", &[("server-2", "frontend")]);
    o.server_mut("server-2").expect_error("cannot listen");
    let who = o.mailbox("amy", "server-1");
    until("the other front end knows her", || served(&o, "server-2", "imap", &who));
    set(&o, "health.responders", "mend");
    let at = o.address("server-2", "imaps");
    let state = || o.command("server-2", &["Get-ServerComponentState", "-Component", "ImapProxy"]).unwrap();

    // Another program has got hold of the port: whoever connects hears nothing, and a restart does not help.
    kill_listener(o.server("server-2").pid(), at);
    let squatter = TcpListener::bind(at).unwrap();
    let told_of = open(&o, &["listener imaps of server-2"]);
    let drained = until("it is drained", || Some(state()).filter(|s| s["State"] == "Draining"));
    assert_eq!(drained["Requester"], "HealthAPI");
    let done = until("both steps are done", || {
        let done = actions(&alert(&o, &id(&told_of)));
        (done.len() == 2 && !done[1].ends_with("under way")).then_some(done)
    });
    assert!(
        done[0].contains("restart imap of server-2: failed: ") && done[0].contains("cannot listen"),
        "{done:?}"
    );
    assert!(
        done[1].contains("drain imap of server-2: ImapProxy of server-2 takes nothing new; server-1 does"),
        "{done:?}"
    );
    let said = Line::connect(o.address("server-2", "imap")).unwrap().line().unwrap();
    assert!(said.starts_with("* BYE [UNAVAILABLE]"), "{said}");
    shaken(&o, "server-1").expect("the other one serves");
    let inactive = |a: &Value| a["Cause"].to_string().contains("HEALTH-COMPONENT-INACTIVE");
    assert!(!alerts(&o).iter().any(inactive), "what is drained is no second alert: {:#?}", alerts(&o));

    drop(squatter);
    until("it returns", || Some(state()).filter(|s| s["State"] == "Active"));
    until("people are served there again", || shaken(&o, "server-2"));
    served(&o, "server-2", "imap", &who).expect("at both doors");
    calm(&o);
    let done = actions(&alert(&o, &id(&told_of)));
    assert!(done.last().unwrap().contains("ImapProxy of server-2 takes new work again"), "{done:?}");
    assert!(
        told(&o).iter().any(|e| e.contains("Decided: return imap of server-2 to service")),
        "{:?}",
        told(&o)
    );
    assert_eq!(state()["Requester"], "");
}

#[test]
fn a_keeper_that_is_killed_amid_a_repair_goes_on_and_does_not_begin_again() {
    let mut o = watched("responders-killed", &[]);
    o.server_mut("server-1").expect_error("cannot listen");
    let who = o.mailbox("amy", "");
    let at = o.address("server-1", "imaps");
    set(&o, "health.responders", "mend");
    o.command("server-1", &["Set-ServerMonitor", "Store", "-Repairing", "$true"]).unwrap();
    // A session that does not end: a literal of which the rest never comes.
    let mut stuck = Line::imap_login(o.address("server-1", "imap"), &who).unwrap();
    stuck.send(b"a APPEND INBOX {100000}\r\n").unwrap();
    assert!(stuck.line().unwrap().starts_with('+'));
    stuck.send(b"Subject: the rest").unwrap();

    kill_listener(o.server("server-1").pid(), at);
    let told_of = id(&open(&o, &["listener imaps of server-1"]));
    until("a repair is under way", || Some(actions(&alert(&o, &told_of))).filter(|a| !a.is_empty()));
    o.kill("server-1");
    drop(stuck);
    o.begin("server-1");
    let again = alert(&o, &told_of);
    assert_eq!(actions(&again).len(), 1, "{again:#}");
    // It dies once more: the same alert, and no second restart.
    kill_listener(o.server("server-1").pid(), at);
    std::thread::sleep(Duration::from_secs(20));
    let of_it = |all: Vec<Value>| -> Vec<Value> {
        all.into_iter().filter(|a| a["Subject"] == "listener imaps of server-1").collect()
    };
    let now = of_it(alerts(&o));
    assert_eq!(now.len(), 1, "{now:#?}");
    assert_eq!(id(&now[0]), told_of);
    assert_eq!(actions(&now[0]).len(), 1, "{:#}", now[0]);
    assert!(TcpStream::connect(at).is_err());
    let raised = of_it(o.records("server-1", &["Get-HealthAlert", "-All"]).unwrap());
    assert_eq!(raised.len(), 1, "{raised:#?}");

    o.kill("server-1");
    o.begin("server-1");
    until("it is over", || (alert(&o, &told_of)["State"] == "Over").then_some(()));
    // What somebody repairs is repaired still.
    let path = o.data("server-1").join("health/state.json");
    let kept: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert_eq!(kept["repairing"], serde_json::json!(["store"]));
}

#[test]
fn a_certificate_that_ends_soon_is_renewed() {
    let scratch = Scratch::new("responders-pebble");
    let pebble = Pebble::start_for(scratch.path(), 3_600);
    let o = watched("responders-certificate", &[]);
    set(&o, "health.responders", "mend");
    for (key, value) in [
        ("acme.directory", pebble.directory.as_str()),
        ("acme.ca_file", pebble.root.to_str().unwrap()),
        ("acme.contact", "postmaster@contoso.test"),
        ("acme.names", r#"["mail.contoso.test"]"#),
        ("acme.services", r#"["imap", "pop", "smtp"]"#),
        ("acme.http_listeners", &format!("127.0.0.1:{}", pebble.http)),
        ("acme.enabled", "true"),
    ] {
        set(&o, key, value);
    }
    let known = || -> Vec<String> {
        let words = ["Get-ExchangeCertificate", "-DomainName", "mail.contoso.test"];
        let all = o.records("server-1", &words).unwrap_or_default();
        all.iter().map(|r| r["Thumbprint"].as_str().unwrap().to_owned()).collect()
    };
    let bound = || {
        let words = ["Get-ExchangeCertificate", "-DomainName", "mail.contoso.test"];
        let all = o.records("server-1", &words).unwrap_or_default();
        let of = all.iter().filter(|r| r["Services"] == "IPS");
        of.map(|r| r["Thumbprint"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let first = until("the first one", || bound().first().cloned());
    let what =
        format!("renew certificate {first} of server-1: the authority is asked for a successor of {first}");
    until("a successor is asked for", || told(&o).into_iter().find(|e| e.contains(&what)));
    // Whether it is bound goes by a rehearsal, for which a busy machine may be too slow.
    until("the successor has come", || known().into_iter().find(|other| *other != first));
}
