//! What commands and settings can do to the services of a front end and of the servers behind it.

use super::site::Site;
use super::{Fault, inject};

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

const INACTIVE: &[&str] = &["HEALTH-COMPONENT-INACTIVE"];
const STOPPED: &[&str] = &["HEALTH-SERVICE-STOPPED"];

macro_rules! out_of_service {
    ($name:literal, $server:literal, $component:literal, $state:literal) => {
        Fault {
            name: $name,
            causes: INACTIVE,
            leg: &[$server, $component],
            breaks: |s| component(s, $server, $component, $state),
            mends: |s| component(s, $server, $component, "Active"),
        }
    };
}

macro_rules! stopped {
    ($name:literal, $server:literal, $service:literal) => {
        Fault {
            name: $name,
            causes: STOPPED,
            leg: &[$server, $service],
            breaks: |s| drop(s.run($server, &["Stop-Service", $service, "-Confirm:$false"])),
            mends: |s| drop(s.run($server, &["Start-Service", $service])),
        }
    };
}

// One protocol after the other, one server after the other: a monitor that fails again soon takes longer to be believed.
static FAULTS: &[Fault] = &[
    out_of_service!("the front end's IMAP is inactive", "server-3", "ImapProxy", "Inactive"),
    out_of_service!("the front end's POP is inactive", "server-3", "PopProxy", "Inactive"),
    out_of_service!("the front end's transport is inactive", "server-3", "FrontendTransport", "Inactive"),
    out_of_service!("IMAP of the first server is inactive", "server-1", "ImapProxy", "Inactive"),
    out_of_service!("POP of the first server is draining", "server-1", "PopProxy", "Draining"),
    out_of_service!("a hub is inactive", "server-2", "HubTransport", "Inactive"),
    stopped!("IMAP is stopped", "server-3", "imap"),
    stopped!("POP is stopped", "server-3", "pop"),
    stopped!("transport is stopped", "server-3", "transport"),
    stopped!("IMAP of the first server is stopped", "server-1", "imap"),
    stopped!("POP of the first server is stopped", "server-1", "pop"),
    out_of_service!("a hub is left draining", "server-2", "HubTransport", "Draining"),
];

#[test]
fn faults_of_services() {
    let servers = [("server-1", "all"), ("server-2", "transport,mailbox"), ("server-3", "frontend")];
    let mut site = Site::new("inject-services", &servers);
    inject(&mut site, FAULTS);
}
