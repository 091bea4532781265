//! What commands and settings can do to the services of a front end and of the servers behind it.

use super::site::Site;
use super::{Fault, inject};
use waypost_tests::line::Line;

const FRONT: &str = "server-3";
const HEALTH: &str = "HealthMailbox-server-2";

fn component(site: &mut Site, server: &str, component: &str, state: &str) {
    let words = [
        "Set-ServerComponentState",
        server,
        "-Component",
        component,
        "-State",
        state,
        "-Requester",
        "Maintenance",
    ];
    site.run("server-1", &words);
}

/// A setting in spite of what its rehearsal says.
fn force(site: &mut Site, key: &str, value: &str) {
    site.run("server-1", &["Set-WaypostSetting", key, value, "-Force", "-Confirm:$false"]);
}

fn undo(site: &mut Site) {
    site.run("server-1", &["Undo-WaypostSetting", "-Force", "-Confirm:$false"]);
}

/// Holds so many connections at a door.
fn occupy(site: &mut Site, door: &str, count: usize) {
    for _ in 0..count {
        if let Ok(line) = Line::connect(site.o.address(FRONT, door)) {
            site.lines.push(line);
        }
    }
}

const INACTIVE: &[&str] = &["HEALTH-COMPONENT-INACTIVE"];
const STOPPED: &[&str] = &["HEALTH-SERVICE-STOPPED"];

static FAULTS: &[Fault] = &[
    Fault {
        name: "the front end's IMAP is inactive",
        causes: INACTIVE,
        leg: &["server-3", "ImapProxy"],
        breaks: |s| component(s, FRONT, "ImapProxy", "Inactive"),
        mends: |s| component(s, FRONT, "ImapProxy", "Active"),
    },
    Fault {
        name: "the front end's POP is inactive",
        causes: INACTIVE,
        leg: &["server-3", "PopProxy"],
        breaks: |s| component(s, FRONT, "PopProxy", "Inactive"),
        mends: |s| component(s, FRONT, "PopProxy", "Active"),
    },
    Fault {
        name: "the front end's transport is inactive",
        causes: INACTIVE,
        leg: &["server-3", "FrontendTransport"],
        breaks: |s| component(s, FRONT, "FrontendTransport", "Inactive"),
        mends: |s| component(s, FRONT, "FrontendTransport", "Active"),
    },
    Fault {
        name: "a hub is inactive",
        causes: INACTIVE,
        leg: &["server-2", "HubTransport"],
        breaks: |s| component(s, "server-2", "HubTransport", "Inactive"),
        mends: |s| component(s, "server-2", "HubTransport", "Active"),
    },
    Fault {
        name: "a hub is left draining",
        causes: INACTIVE,
        leg: &["server-2", "HubTransport"],
        breaks: |s| component(s, "server-2", "HubTransport", "Draining"),
        mends: |s| component(s, "server-2", "HubTransport", "Active"),
    },
    Fault {
        name: "IMAP is stopped",
        causes: STOPPED,
        leg: &["server-3", "imap"],
        breaks: |s| drop(s.run(FRONT, &["Stop-Service", "imap", "-Confirm:$false"])),
        mends: |s| drop(s.run(FRONT, &["Start-Service", "imap"])),
    },
    Fault {
        name: "POP is stopped",
        causes: STOPPED,
        leg: &["server-3", "pop"],
        breaks: |s| drop(s.run(FRONT, &["Stop-Service", "pop", "-Confirm:$false"])),
        mends: |s| drop(s.run(FRONT, &["Start-Service", "pop"])),
    },
    Fault {
        name: "transport is stopped",
        causes: STOPPED,
        leg: &["server-3", "transport"],
        breaks: |s| drop(s.run(FRONT, &["Stop-Service", "transport", "-Confirm:$false"])),
        mends: |s| drop(s.run(FRONT, &["Start-Service", "transport"])),
    },
    Fault {
        name: "connections of IMAP are used up",
        causes: &["HEALTH-CONNECTIONS-USED-UP"],
        leg: &["imap"],
        breaks: |s| {
            force(s, "imap.max_connections", "4");
            occupy(s, "imap", 8);
        },
        mends: |s| {
            s.lines.clear();
            undo(s);
        },
    },
    Fault {
        name: "connections of POP are used up",
        causes: &["HEALTH-CONNECTIONS-USED-UP"],
        leg: &["pop"],
        breaks: |s| {
            force(s, "pop.max_connections", "4");
            occupy(s, "pop3", 8);
        },
        mends: |s| {
            s.lines.clear();
            undo(s);
        },
    },
    Fault {
        name: "the health mailbox may not use IMAP",
        causes: &["HEALTH-SIGN-IN", "HEALTH-NO-MAILBOX"],
        leg: &["imap"],
        breaks: |s| drop(s.run("server-1", &["Set-CASMailbox", HEALTH, "-ImapEnabled", "$false"])),
        mends: |s| drop(s.run("server-1", &["Set-CASMailbox", HEALTH, "-ImapEnabled", "$true"])),
    },
    Fault {
        name: "the health mailbox may not use POP",
        causes: &["HEALTH-SIGN-IN", "HEALTH-NO-MAILBOX"],
        leg: &["pop"],
        breaks: |s| drop(s.run("server-1", &["Set-CASMailbox", HEALTH, "-PopEnabled", "$false"])),
        mends: |s| drop(s.run("server-1", &["Set-CASMailbox", HEALTH, "-PopEnabled", "$true"])),
    },
];

#[test]
fn faults_of_services() {
    let servers = [("server-1", "all"), ("server-2", "transport,mailbox"), ("server-3", "frontend")];
    let mut site = Site::new("inject-services", &servers);
    inject(&mut site, FAULTS);
}
