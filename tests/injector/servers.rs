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
const KERBEROS: &[&str] = &["INNER-NO-KERBEROS"];

macro_rules! of_policy {
    ($name:literal, $setting:literal, $leg:literal, $list:literal) => {
        Fault {
            name: $name,
            causes: KERBEROS,
            leg: &[$setting],
            breaks: |s| policy(s, $leg, $list),
            mends: |s| policy(s, $leg, r#"["mtls"]"#),
        }
    };
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
    of_policy!("IMAP's legs want Kerberos first", "legs.imap", "imap", r#"["kerberos", "mtls"]"#),
    of_policy!("POP's legs want Kerberos first", "legs.pop3", "pop3", r#"["kerberos", "mtls"]"#),
    of_policy!("submission's legs want Kerberos first", "legs.submission", "submission", r#"["kerberos", "mtls"]"#),
    of_policy!("legs to hubs want Kerberos first", "legs.hub", "hub", r#"["kerberos", "mtls"]"#),
    of_policy!("deliveries' legs want Kerberos first", "legs.delivery", "delivery", r#"["kerberos", "mtls"]"#),
    of_policy!("IMAP's legs want Kerberos alone", "legs.imap", "imap", r#"["kerberos"]"#),
    of_policy!("legs to hubs want Kerberos alone", "legs.hub", "hub", r#"["kerberos"]"#),
    of_policy!("deliveries' legs want Kerberos alone", "legs.delivery", "delivery", r#"["kerberos"]"#),
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
