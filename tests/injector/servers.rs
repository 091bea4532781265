//! Servers that die, hang, lose their clocks or their rights; legs between them whose policy cannot be met.

use super::site::Site;
use super::{Fault, inject};
use std::process::Command;

fn signal(site: &Site, server: &str, name: &str) {
    let pid = site.o.server(server).pid().to_string();
    let sent = Command::new("kill").args([name, &pid]).status();
    assert!(sent.is_ok_and(|s| s.success()), "kill {name} {server}");
}

fn policy(site: &mut Site, leg: &str, list: &str) {
    let key = format!("legs.{leg}");
    site.run("server-1", &["Set-WaypostSetting", &key, list, "-Force", "-Confirm:$false"]);
}

const GONE: &[&str] = &["INNER-UNREACHABLE", "HEALTH-SERVER-SILENT"];
const HANGS: &[&str] = &["INNER-TIMEOUT", "INNER-UNREACHABLE", "HEALTH-SERVER-SILENT"];

/// A leg's policy asks for Kerberos, which nobody has.
macro_rules! of_policy {
    ($name:literal, $leg:literal, $list:literal) => {
        Fault {
            name: $name,
            causes: &["INNER-NO-KERBEROS"],
            leg: &[concat!("legs.", $leg)],
            breaks: |s| policy(s, $leg, $list),
            mends: |s| policy(s, $leg, r#"["mtls"]"#),
        }
    };
}

/// Starts a server again with its clock set wrong, timers as they are.
fn other_clock(site: &mut Site, server: &str, by: &str) {
    site.o.stop(server);
    let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH);
    let mut command = Command::new(waypost_tests::server::binary());
    command.env("LD_PRELOAD", library).env("FAKETIME", by).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    site.o.begin_by(server, command);
}

fn right_clock(site: &mut Site, server: &str) {
    site.o.stop(server);
    site.o.begin(server);
}

static FAULTS: &[Fault] = &[
    Fault {
        name: "a mailbox server dies",
        causes: GONE,
        leg: &["server-2"],
        breaks: |s| s.o.kill("server-2"),
        mends: |s| s.o.begin("server-2"),
    },
    Fault {
        name: "a mailbox server hangs",
        causes: HANGS,
        leg: &["server-2"],
        breaks: |s| signal(s, "server-2", "-STOP"),
        mends: |s| signal(s, "server-2", "-CONT"),
    },
    Fault {
        name: "the front end dies",
        causes: GONE,
        leg: &["server-3"],
        breaks: |s| s.o.kill("server-3"),
        mends: |s| s.o.begin("server-3"),
    },
    Fault {
        name: "the front end hangs",
        causes: HANGS,
        leg: &["server-3"],
        breaks: |s| signal(s, "server-3", "-STOP"),
        mends: |s| signal(s, "server-3", "-CONT"),
    },
    of_policy!("IMAP's legs want Kerberos first", "imap", r#"["kerberos", "mtls"]"#),
    of_policy!("POP's legs want Kerberos first", "pop3", r#"["kerberos", "mtls"]"#),
    of_policy!("submission's legs want Kerberos first", "submission", r#"["kerberos", "mtls"]"#),
    of_policy!("legs to hubs want Kerberos first", "hub", r#"["kerberos", "mtls"]"#),
    of_policy!("deliveries' legs want Kerberos first", "delivery", r#"["kerberos", "mtls"]"#),
    Fault {
        name: "the clock of a mailbox server is ten minutes ahead",
        causes: &["HEALTH-CLOCK-OFF"],
        leg: &["clock", "server-2"],
        breaks: |s| other_clock(s, "server-2", "+10m"),
        mends: |s| right_clock(s, "server-2"),
    },
    Fault {
        name: "the clock of the front end is ten minutes behind",
        causes: &["HEALTH-CLOCK-OFF"],
        leg: &["clock", "server-3"],
        breaks: |s| other_clock(s, "server-3", "-10m"),
        mends: |s| right_clock(s, "server-3"),
    },
    of_policy!("IMAP's legs want Kerberos alone", "imap", r#"["kerberos"]"#),
    of_policy!("legs to hubs want Kerberos alone", "hub", r#"["kerberos"]"#),
    of_policy!("deliveries' legs want Kerberos alone", "delivery", r#"["kerberos"]"#),
    Fault {
        name: "the primary dies",
        causes: GONE,
        leg: &["server-1"],
        breaks: |s| {
            s.keeper = "server-2";
            s.o.kill("server-1");
        },
        mends: |s| {
            s.o.begin("server-1");
            s.keeper = "server-1";
        },
    },
    Fault {
        name: "the primary hangs",
        causes: HANGS,
        leg: &["server-1"],
        breaks: |s| {
            s.keeper = "server-2";
            signal(s, "server-1", "-STOP");
        },
        mends: |s| {
            signal(s, "server-1", "-CONT");
            s.keeper = "server-1";
        },
    },
];

#[test]
fn faults_of_servers() {
    let servers =
        [("server-1", "transport,mailbox"), ("server-2", "transport,mailbox"), ("server-3", "frontend")];
    let mut site = Site::new("inject-servers", &servers);
    for server in ["server-1", "server-2", "server-3"] {
        site.o.server_mut(server).expect_error("INNER-");
    }
    inject(&mut site, FAULTS);
}
