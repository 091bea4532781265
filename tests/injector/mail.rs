//! What mail needs around a server: name servers, hosts that take it on, filters, room in the queue.

use super::site::Site;
use super::{Fault, inject};
use std::net::TcpListener;
use std::process::Command;
use waypost_tests::knot::Knot;
use waypost_tests::sink::Sink;

const RECORDS: &str = "contoso.test. MX 10 server-1.contoso.test.\nserver-1.contoso.test. A 127.0.0.1\n";

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

fn force(site: &mut Site, key: &str, value: &str) {
    run(site, &["Set-WaypostSetting", key, value, "-Force", "-Confirm:$false"]);
}

fn undo(site: &mut Site) {
    run(site, &["Undo-WaypostSetting", "-Force", "-Confirm:$false"]);
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

static FAULTS: &[Fault] = &[
    Fault {
        name: "the name server does not answer",
        causes: &["HEALTH-DNS-SILENT"],
        leg: &["dns"],
        breaks: |s| knot_signal(s, "-STOP"),
        mends: |s| knot_signal(s, "-CONT"),
    },
    Fault {
        name: "the server's own name is not in DNS",
        causes: &["HEALTH-DNS-WRONG"],
        leg: &["dns"],
        breaks: |s| knot(s).replace("contoso.test. MX 10 mx.contoso.test.\nmx.contoso.test. A 127.0.0.1\n"),
        mends: |s| knot(s).replace(RECORDS),
    },
    Fault {
        name: "the domain has no MX",
        causes: &["HEALTH-DNS-WRONG"],
        leg: &["dns"],
        breaks: |s| knot(s).replace("server-1.contoso.test. A 127.0.0.1\n"),
        mends: |s| knot(s).replace(RECORDS),
    },
    Fault {
        name: "a smart host is dead",
        causes: &["HEALTH-SMART-HOST", "SEND-CONNECT"],
        leg: &["broken"],
        breaks: |s| {
            let port = dead_port();
            smart_host(s, &port, &[]);
        },
        mends: no_smart_host,
    },
    Fault {
        name: "a smart host has not the TLS that is wanted",
        causes: &["HEALTH-SMART-HOST", "SEND-TLS", "SEND-NO-TLS"],
        leg: &["broken"],
        breaks: |s| {
            let port = s.sink.as_ref().expect("a sink").port().to_string();
            smart_host(s, &port, &["-RequireTLS", "$true"]);
        },
        mends: no_smart_host,
    },
    Fault {
        name: "a smart host takes connections and says nothing",
        causes: &["HEALTH-SMART-HOST", "HEALTH-TIMEOUT", "SEND-TIMEOUT"],
        leg: &["broken"],
        breaks: |s| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let port = listener.local_addr().expect("an address").port().to_string();
            // It lives as long as the tests do.
            std::mem::forget(listener);
            smart_host(s, &port, &[]);
        },
        mends: no_smart_host,
    },
    Fault {
        name: "a mail filter is away",
        causes: &["HEALTH-FILTER"],
        leg: &["filter"],
        breaks: |s| {
            let address = format!("inet:127.0.0.1@{}", dead_port());
            run(s, &["New-MailFilter", "away", "-Address", &address, "-FailureAction", "Accept"]);
        },
        mends: |s| run(s, &["Remove-MailFilter", "away", "-Confirm:$false"]),
    },
    Fault {
        name: "messages are refused by their size",
        causes: &["HEALTH-SUBMIT", "HEALTH-MAIL-LATE", "HEALTH-INBOUND"],
        leg: &["smtp"],
        breaks: |s| force(s, "smtp.max_message_size", "1 KB"),
        mends: undo,
    },
];

#[test]
fn faults_of_mail() {
    let mut site = Site::new("inject-mail", &[("server-1", "all")]);
    let knot = Knot::start(RECORDS);
    let servers = knot.setting();
    site.knot = Some(knot);
    site.sink = Some(Sink::start());
    site.run("server-1", &["Set-WaypostSetting", "dns.servers", &servers, "-Force", "-Confirm:$false"]);
    inject(&mut site, FAULTS);
}
