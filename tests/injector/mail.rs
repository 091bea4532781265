//! What mail needs around a server: name servers, hosts that take it on, filters, room in the queue.

use super::site::Site;
use super::{Fault, inject};
use std::io::Write;
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use waypost_tests::knot::Knot;
use waypost_tests::line::Line;
use waypost_tests::organisation::Organisation;
use waypost_tests::rows;
use waypost_tests::sink::Sink;

const RECORDS: &str = "contoso.com. MX 10 mx.contoso.com.\nmx.contoso.com. A 127.0.0.1\n";

fn knot(site: &mut Site) -> &mut Knot {
    site.knot.as_mut().expect("this site has a name server")
}

/// A port that nobody listens on.
fn dead_port() -> String {
    waypost_tests::ports::free().to_string()
}

fn run(site: &mut Site, words: &[&str]) {
    site.run("server-1", words);
}

fn smart_host(site: &mut Site, port: &str, more: &[&str]) {
    let words = [
        "New-SendConnector",
        "broken",
        "-AddressSpaces",
        "*.broken.example",
        "-SmartHosts",
        "127.0.0.1",
        "-Port",
        port,
    ];
    run(site, &[&words[..], more].concat());
}

fn no_smart_host(site: &mut Site) {
    run(site, &["Remove-SendConnector", "broken", "-Confirm:$false"]);
}

fn knot_signal(site: &mut Site, name: &str) {
    let pid = knot(site).pid().to_string();
    let sent = Command::new("kill").args([name, &pid]).status();
    assert!(sent.is_ok_and(|s| s.success()), "kill {name} knotd");
}

/// A peer that takes connections, says this, and nothing more. It lives as long as the tests do.
fn peer(said: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port().to_string();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(said.as_bytes());
            held.push(stream);
            if held.len() > 50 {
                held.remove(0);
            }
        }
    });
    port
}

fn filter(site: &mut Site, port: &str) {
    let address = format!("inet:127.0.0.1@{port}");
    run(site, &["New-MailFilter", "away", "-Address", &address, "-FailureAction", "Accept"]);
}

fn no_filter(site: &mut Site) {
    run(site, &["Remove-MailFilter", "away", "-Confirm:$false"]);
}

/// Somebody whose mail goes on to addresses that differ from fault to fault.
const ONWARD: &str = "onward";

/// Takes a message from outside that is to leave for `to`, and waits until it is in `queue`.
fn leaves_for(site: &mut Site, to: &str, queue: &str) {
    run(site, &["Set-Mailbox", ONWARD, "-ForwardingSmtpAddress", to]);
    let mut line = Line::smtp_hello(site.o.address("server-1", "smtp")).expect("a conversation");
    let text = b"Subject: onward\r\n\r\nHello.\r\n";
    let reply = line.deliver("a@elsewhere.example", "onward@contoso.test", text).expect("a reply");
    assert!(reply.starts_with("250"), "{reply}");
    site.o.wait_for(&format!("a message in {queue}"), |o| waiting(o, queue) > 0);
}

fn waiting(o: &Organisation, queue: &str) -> usize {
    o.records("server-1", &["Get-Message", "-Queue", queue]).map_or(0, |all| all.len())
}

/// A connector to a host that is well and takes no recipient for now, so that what is sent there waits.
fn held(site: &mut Site) {
    let port = site.sink.as_ref().expect("a sink").port().to_string();
    let words =
        ["New-SendConnector", "held", "-AddressSpaces", "held.example", "-SmartHosts", "127.0.0.1", "-Port"];
    run(site, &[&words[..], &[port.as_str()]].concat());
    leaves_for(site, "later@held.example", "held");
    site.o.wait_for("a try", |o| {
        let queue = o.command("server-1", &["Get-Queue", "held"]).unwrap_or_default();
        queue["Status"] == "Retry" || queue["LastError"].as_str().is_some_and(|e| e.contains("later"))
    });
}

/// Nothing waits there any more.
fn without(site: &mut Site, queue: &str) {
    run(
        site,
        &[
            "Remove-Message",
            "-Queue",
            queue,
            "-Filter",
            "{Size -gt 0}",
            "-WithNDR",
            "false",
            "-Confirm:$false",
        ],
    );
}

fn no_held(site: &mut Site) {
    without(site, "held");
    run(site, &["Remove-SendConnector", "held", "-Confirm:$false"]);
}

/// While it is stopped, what the queue knows of a message becomes something that it does not understand.
fn poison(site: &mut Site) {
    held(site);
    site.o.server_mut("server-1").expect_error("queue item is damaged");
    site.o.stop("server-1");
    rows::forge(site.o.data("server-1"), "2004", "ff");
    site.o.begin("server-1");
}

const SUSPENDED: &[&str] = &["HEALTH-QUEUE-SUSPENDED"];
const SMART_HOST: &[&str] = &["HEALTH-SMART-HOST"];
const DNS_WRONG: &[&str] = &["HEALTH-DNS-WRONG"];

macro_rules! dns {
    ($name:literal, $causes:expr, $records:literal) => {
        Fault {
            name: $name,
            causes: $causes,
            leg: &["dns"],
            breaks: |s| knot(s).replace($records),
            mends: |s| knot(s).replace(RECORDS),
        }
    };
}

static FAULTS: &[Fault] = &[
    Fault {
        name: "the name server does not answer",
        causes: &["HEALTH-DNS-SILENT"],
        leg: &["dns"],
        breaks: |s| knot_signal(s, "-STOP"),
        mends: |s| knot_signal(s, "-CONT"),
    },
    Fault {
        name: "a smart host is dead",
        causes: SMART_HOST,
        leg: &["127.0.0.1"],
        breaks: |s| {
            let port = dead_port();
            smart_host(s, &port, &[]);
        },
        mends: no_smart_host,
    },
    dns!("a domain has no MX", DNS_WRONG, "mx.contoso.com. A 127.0.0.1\n"),
    Fault {
        name: "a smart host has not the TLS that is wanted",
        causes: SMART_HOST,
        leg: &["127.0.0.1"],
        breaks: |s| {
            let port = s.sink.as_ref().expect("a sink").port().to_string();
            smart_host(s, &port, &["-RequireTLS", "$true"]);
        },
        mends: no_smart_host,
    },
    dns!(
        "the server's own name is not in DNS",
        DNS_WRONG,
        "contoso.com. MX 10 other.contoso.com.\nother.contoso.com. A 127.0.0.1\n"
    ),
    Fault {
        name: "a smart host takes connections and says nothing",
        causes: SMART_HOST,
        leg: &["127.0.0.1"],
        breaks: |s| {
            let port = peer("");
            smart_host(s, &port, &[]);
        },
        mends: no_smart_host,
    },
    Fault {
        name: "a mail filter is away",
        causes: &["HEALTH-FILTER"],
        leg: &["filter"],
        breaks: |s| {
            let port = dead_port();
            filter(s, &port);
        },
        mends: no_filter,
    },
    Fault {
        name: "a smart host refuses by its greeting",
        causes: SMART_HOST,
        leg: &["127.0.0.1"],
        breaks: |s| {
            let port = peer("554 5.7.1 not you\r\n");
            smart_host(s, &port, &[]);
        },
        mends: no_smart_host,
    },
    Fault {
        name: "mail waits for a domain that no connector leads to",
        causes: &["HEALTH-QUEUE-UNREACHABLE"],
        leg: &["queue"],
        breaks: |s| leaves_for(s, "nobody@nowhere.example", "Unreachable"),
        mends: |s| without(s, "Unreachable"),
    },
    Fault {
        name: "a queue with mail is suspended",
        causes: SUSPENDED,
        leg: &["queue"],
        breaks: |s| {
            held(s);
            run(s, &["Suspend-Queue", "held", "-Confirm:$false"]);
        },
        mends: |s| {
            run(s, &["Resume-Queue", "held"]);
            no_held(s);
        },
    },
    Fault {
        name: "a message is in the poison queue",
        causes: &["HEALTH-POISON"],
        leg: &["queue"],
        breaks: poison,
        mends: |s| {
            without(s, "Poison");
            run(s, &["Remove-SendConnector", "held", "-Confirm:$false"]);
        },
    },
];

#[test]
fn faults_of_mail() {
    let mut site = Site::new("inject-mail", &[("server-1", "all")]);
    let knot = Knot::start(RECORDS);
    let servers = knot.setting();
    site.knot = Some(knot);
    site.sink = Some(Sink::scripted(Arc::new(|line| {
        line.contains("@held.example").then(|| "451 4.3.0 later".to_owned())
    })));
    site.o.mailbox(ONWARD, "");
    site.run("server-1", &["Set-WaypostSetting", "dns.servers", &servers, "-Force", "-Confirm:$false"]);
    site.run("server-1", &["New-AcceptedDomain", "contoso.com"]);
    site.run(
        "server-1",
        &["Set-WaypostSetting", "server.name", "mx.contoso.com", "-Force", "-Confirm:$false"],
    );
    // Name servers are taken from the settings at the start.
    site.o.stop("server-1");
    site.o.begin("server-1");
    inject(&mut site, FAULTS);
}
