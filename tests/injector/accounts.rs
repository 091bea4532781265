//! One server: what its health mailbox may do, ways to sign in, limits.

use super::site::Site;
use super::{Fault, inject};
use waypost_tests::line::Line;

const HEALTH: &str = "HealthMailbox-server-1";

fn run(site: &mut Site, words: &[&str]) {
    site.run("server-1", words);
}

/// A setting in spite of what its rehearsal says.
fn force(site: &mut Site, key: &str, value: &str) {
    run(site, &["Set-WaypostSetting", key, value, "-Force", "-Confirm:$false"]);
}

fn undo(site: &mut Site) {
    run(site, &["Undo-WaypostSetting", "-Force", "-Confirm:$false"]);
}

/// Holds so many connections at a door, and lets no more in.
fn occupy(site: &mut Site, door: &str, setting: &str, count: usize) {
    for _ in 0..count {
        if let Ok(line) = Line::connect(site.o.address("server-1", door)) {
            site.lines.push(line);
        }
    }
    force(site, setting, &(count - 2).to_string());
}

fn free(site: &mut Site) {
    undo(site);
    site.lines.clear();
}

const REFUSED: &[&str] = &["HEALTH-SIGN-IN-REFUSED", "HEALTH-SIGN-IN", "HEALTH-NO-MAILBOX"];
const FULL: &[&str] = &["HEALTH-CONNECTIONS-USED-UP"];

macro_rules! protocol_off {
    ($name:literal, $leg:literal, $switch:literal) => {
        Fault {
            name: $name,
            causes: REFUSED,
            leg: &[$leg],
            breaks: |s| run(s, &["Set-CASMailbox", HEALTH, $switch, "$false"]),
            mends: |s| run(s, &["Set-CASMailbox", HEALTH, $switch, "$true"]),
        }
    };
}

macro_rules! setting {
    ($name:literal, $causes:expr, $leg:expr, $key:literal, $value:literal) => {
        Fault { name: $name, causes: $causes, leg: $leg, breaks: |s| force(s, $key, $value), mends: undo }
    };
}

static FAULTS: &[Fault] = &[
    protocol_off!("the health mailbox may not use IMAP", "imap", "-ImapEnabled"),
    protocol_off!("the health mailbox may not use POP", "pop", "-PopEnabled"),
    protocol_off!("the health mailbox may not submit", "submission", "-SmtpClientAuthenticationEnabled"),
    Fault {
        name: "connections of IMAP are used up",
        causes: FULL,
        leg: &["imap"],
        breaks: |s| occupy(s, "imap", "imap.max_connections", 6),
        mends: free,
    },
    Fault {
        name: "connections of POP are used up",
        causes: FULL,
        leg: &["pop"],
        breaks: |s| occupy(s, "pop3", "pop.max_connections", 6),
        mends: free,
    },
    Fault {
        name: "connections of SMTP are used up",
        causes: FULL,
        leg: &["transport"],
        breaks: |s| occupy(s, "smtp", "smtp.max_connections", 6),
        mends: free,
    },
    Fault {
        name: "connections of one address to IMAP are used up",
        causes: FULL,
        leg: &["imap"],
        breaks: |s| occupy(s, "imap", "imap.max_connection_from_single_ip", 6),
        mends: free,
    },
    Fault {
        name: "connections of one address to POP are used up",
        causes: FULL,
        leg: &["pop"],
        breaks: |s| occupy(s, "pop3", "pop.max_connection_from_single_ip", 6),
        mends: free,
    },
    Fault {
        name: "the health mailbox is switched off",
        causes: &["HEALTH-NO-MAILBOX"],
        leg: &["server-1"],
        breaks: |s| run(s, &["Set-Mailbox", HEALTH, "-AccountDisabled", "$true"]),
        mends: |s| run(s, &["Set-Mailbox", HEALTH, "-AccountDisabled", "$false"]),
    },
    setting!(
        "nobody may sign in to submit by any mechanism",
        &["HEALTH-NO-SIGN-IN"],
        &["submission"],
        "sign_in.mechanisms",
        "[]"
    ),
    Fault {
        name: "the health mailbox is full",
        causes: &["HEALTH-MAILBOX", "HEALTH-SUBMIT", "HEALTH-MAIL-LATE", "HEALTH-NO-MAILBOX"],
        leg: &["server-1"],
        breaks: |s| run(s, &["Set-Mailbox", HEALTH, "-ProhibitSendReceiveQuota", "1"]),
        mends: |s| run(s, &["Set-Mailbox", HEALTH, "-ProhibitSendReceiveQuota", "Unlimited"]),
    },
];

#[test]
fn faults_of_accounts() {
    let mut site = Site::new("inject-accounts", &[("server-1", "all")]);
    inject(&mut site, FAULTS);
}
