//! Health sets and probes under Exchange's names, each with what it tests, its budget and what helps.
//!
//! For a protocol X: `X.Protocol` probes are about the home (does it answer, does a sign-in reach the store), `X.Proxy`
//! probes about the front end alone, and `X`, a customer touch point, goes the whole way. Which of the three fail says
//! where the fault is.

use crate::monitor::{AlertValue, MonitorState};
use waypost_base::Timestamp;

/// Exchange's groups of sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    CustomerTouchPoints,
    ServiceComponents,
    ServerComponents,
    KeyDependencies,
}

impl Group {
    pub const ALL: [Group; 4] = [
        Group::CustomerTouchPoints,
        Group::ServiceComponents,
        Group::ServerComponents,
        Group::KeyDependencies,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Group::CustomerTouchPoints => "Customer Touch Points",
            Group::ServiceComponents => "Service Components",
            Group::ServerComponents => "Server Components",
            Group::KeyDependencies => "Key Dependencies",
        }
    }
}

/// A health set.
#[derive(Clone, Copy, Debug)]
pub struct SetSpec {
    pub name: &'static str,
    pub group: Group,
    /// The component whose state decides whether it takes work (Get-ServerComponentState); empty: none.
    pub component: &'static str,
    pub about: &'static str,
}

/// A probe.
#[derive(Clone, Copy, Debug)]
pub struct ProbeSpec {
    pub set: &'static str,
    pub name: &'static str,
    /// Milliseconds after which a good answer is slow; 0: it has no budget.
    pub budget: u32,
    /// What it does, and by which way.
    pub about: &'static str,
    /// Where to look when it fails.
    pub help: &'static str,
}

/// The budget of a probe that is not in the table.
pub const BUDGET: u32 = 2_000;

const fn set(name: &'static str, group: Group, component: &'static str, about: &'static str) -> SetSpec {
    SetSpec { name, group, component, about }
}

use Group::{
    CustomerTouchPoints as Touch, KeyDependencies as Key, ServerComponents as Machine,
    ServiceComponents as Service,
};

/// Every set, in the order of Get-HealthReport.
pub const SETS: &[SetSpec] = &[
    set("IMAP", Touch, "", "IMAP as a person uses it: from the front end to the mailbox."),
    set("POP", Touch, "", "POP3 as a person uses it: from the front end to the mailbox."),
    set("SMTP", Touch, "", "Submission as a person uses it: from the front end into the hub."),
    set("IMAP.Protocol", Service, "", "IMAP at the server that holds the mailbox."),
    set("IMAP.Proxy", Service, "ImapProxy", "IMAP at the front end alone."),
    set("POP.Protocol", Service, "", "POP3 at the server that holds the mailbox."),
    set("POP.Proxy", Service, "PopProxy", "POP3 at the front end alone."),
    set("FrontendTransport", Service, "FrontendTransport", "The front end's doors for mail."),
    set("HubTransport", Service, "HubTransport", "The hub: its queue, its ways out."),
    set(
        "MailboxTransport",
        Service,
        "",
        "Between the hub and the mailboxes of this server: delivery into them, submission from them.",
    ),
    set("MailFlow", Service, "", "Messages from one account to another, in and out."),
    set("Store", Service, "", "The store: writing and reading back."),
    set("Antispam", Service, "", "Mail filters."),
    set("MSExchangeCertificateDeployment", Service, "", "Certificates that clients see, and inner ones."),
    set("Monitoring", Service, "Monitoring", "The probes themselves."),
    set("RemoteMonitoring", Service, "", "The other servers, as the keeper of the alerts sees them."),
    set("DiskSpace", Machine, "", "The disk of the data folder."),
    set("Memory", Machine, "", "Memory of the server's process and machine."),
    set("Clock", Machine, "", "The clock, beside those of the other servers."),
    set("AD", Key, "", "The directory: the server's copy of it and the sources that passwords are asked of."),
    set("Kerberos", Key, "", "Keytab, tickets and KDC."),
    set("Network", Key, "", "DNS, and the legs to the other servers."),
];

const fn spec(
    set: &'static str,
    name: &'static str,
    budget: u32,
    about: &'static str,
    help: &'static str,
) -> ProbeSpec {
    ProbeSpec { set, name, budget, about, help }
}

const PROXY_HELP: &str = "Only this and the customer touch point fail: look at the front end, its certificate and Get-ServerComponentState.";
const SELF_HELP: &str =
    "The home does not answer: look at its service (Get-Service), its listener and its certificate.";
const DEEP_HELP: &str = "The home answers and the sign-in does not reach the store: look at the sets Store and DiskSpace of that server.";
const CTP_HELP: &str = "If the .Protocol and .Proxy probes are well, the leg from the front end to the home is at fault: Get-ServiceLeg -FormatList.";

/// Every probe. The target of each is a listener, a login type, a server or whatever tells it apart.
pub const PROBES: &[ProbeSpec] = &[
    spec(
        "IMAP.Protocol",
        "ImapSelfTestProbe",
        500,
        "Connects to the home's IMAP, does TLS and asks for its capabilities.",
        SELF_HELP,
    ),
    spec("IMAP.Protocol", "ImapDeepTestProbe", 1_500, "Signs in at the home and opens the INBOX.", DEEP_HELP),
    spec(
        "IMAP.Proxy",
        "ImapProxyTestProbe",
        500,
        "Connects to the front end's IMAP, does TLS and asks for its capabilities.",
        PROXY_HELP,
    ),
    spec(
        "IMAP",
        "ImapCTPProbe",
        2_000,
        "Signs in at the front end, is handed over to the home and reads a message.",
        CTP_HELP,
    ),
    spec(
        "POP.Protocol",
        "PopSelfTestProbe",
        500,
        "Connects to the home's POP3, does TLS and asks for its capabilities.",
        SELF_HELP,
    ),
    spec(
        "POP.Protocol",
        "PopDeepTestProbe",
        1_500,
        "Signs in at the home and opens the maildrop.",
        DEEP_HELP,
    ),
    spec(
        "POP.Proxy",
        "PopProxyTestProbe",
        500,
        "Connects to the front end's POP3, does TLS and asks for its capabilities.",
        PROXY_HELP,
    ),
    spec(
        "POP",
        "PopCTPProbe",
        2_000,
        "Signs in at the front end, is handed over to the home and reads the maildrop.",
        CTP_HELP,
    ),
    spec(
        "SMTP",
        "SmtpCTPProbe",
        2_000,
        "Signs in at the front end's submission door and hands in a message to itself.",
        "If FrontendTransport and HubTransport are well, the leg between them is at fault: Get-ServiceLeg.",
    ),
    spec(
        "FrontendTransport",
        "OnPremisesSmtpClientSubmissionProbe",
        1_000,
        "Connects to a submission door, does TLS, and signs in by each kind that is offered.",
        "Look at the receive connector of the door (Get-ReceiveConnector) and its certificate.",
    ),
    spec(
        "FrontendTransport",
        "OnPremisesInboundProxyProbe",
        1_000,
        "Connects to the door for other servers' mail and goes as far as RCPT.",
        "Look at the receive connector, at back pressure (Get-TransportPressure) and at the hubs behind.",
    ),
    spec(
        "HubTransport",
        "HubAvailabilityProbe",
        1_000,
        "Asks the hub whether it takes a message.",
        "Get-ServerComponentState, Get-TransportPressure and Get-Service tell why it does not.",
    ),
    spec(
        "HubTransport",
        "SubmissionQueueProbe",
        0,
        "Looks for how long messages wait for their first try.",
        "Get-Queue shows where they wait.",
    ),
    spec(
        "HubTransport",
        "UnreachableQueueProbe",
        0,
        "Looks for messages that no connector takes.",
        "Get-Queue Unreachable -FormatList; Get-SendConnector.",
    ),
    spec(
        "HubTransport",
        "QueueMailboxRetryProbe",
        0,
        "Looks for deliveries to mailboxes that are put off.",
        "Get-Queue -Include Internal -FormatList: LastError.",
    ),
    spec(
        "HubTransport",
        "QueueInternalHubRetryProbe",
        0,
        "Looks for mail to other servers of the organisation that is put off.",
        "Get-Queue -Include Internal -FormatList: LastError; Get-ServiceLeg.",
    ),
    spec(
        "HubTransport",
        "TransportPoisonMessageProbe",
        0,
        "Looks for messages that broke the server.",
        "Get-Queue Poison; Get-Message -Queue Poison.",
    ),
    spec(
        "HubTransport",
        "TransportBackpressureProbe",
        0,
        "Looks at back pressure.",
        "Get-TransportPressure shows which resource is short.",
    ),
    spec(
        "MailboxTransport",
        "MailboxDeliveryAvailabilityProbe",
        5_000,
        "Puts a message into the queue for a mailbox of this server and waits for it there, without any listener.",
        "Get-Queue Mailbox -FormatList: LastError; Test-Store.",
    ),
    spec(
        "MailboxTransport",
        "Mapi.Submit.Probe",
        5_000,
        "Hands a message to the submission service as a mailbox of this server, in memory, and waits for it.",
        "If MailboxDeliveryAvailabilityProbe is well, the submission service refuses it: the error says why.",
    ),
    spec(
        "MailFlow",
        "MailflowLocalProbe",
        5_000,
        "Sends a message from one account of this server to another and waits for it.",
        "why MESSAGE-ID tells where it is.",
    ),
    spec(
        "MailFlow",
        "MailflowIntraOrgProbe",
        10_000,
        "Sends a message to an account of another server and waits for it.",
        "why MESSAGE-ID tells where it is; Get-ServiceLeg shows the leg.",
    ),
    spec(
        "MailFlow",
        "MailflowOutboundProbe",
        10_000,
        "Queues a message, which the send engine takes by a connector of its own, with TLS, to a peer of the probe's own.",
        "The error says at which step it stopped. Get-Queue, Get-ServerComponentState.",
    ),
    spec(
        "MailFlow",
        "MailflowInboundProbe",
        10_000,
        "Hands in a message from outside and waits for it.",
        "Get-ReceiveConnector, and the mail filters.",
    ),
    spec(
        "MailFlow",
        "SmartHostProbe",
        3_000,
        "Connects to the smart hosts of the send connectors, does TLS and signs in.",
        "Get-SendConnector NAME -FormatList: host, port, TLS, password.",
    ),
    spec(
        "Store",
        "ActiveDatabaseAvailabilityProbe",
        1_000,
        "Commits a row and reads it back.",
        "Test-Store; look at the set DiskSpace.",
    ),
    spec(
        "Store",
        "DatabaseIntegrityProbe",
        0,
        "Reads a piece of the store each time, rows and messages, until it has seen all, and begins again.",
        "Test-Store tells which rows are damaged; restore them from a backup.",
    ),
    spec(
        "Antispam",
        "MailFilterProbe",
        1_000,
        "Connects to each mail filter and agrees on its options.",
        "Get-MailFilter; start the filter.",
    ),
    spec(
        "MSExchangeCertificateDeployment",
        "ServerCertificateProbe",
        0,
        "Looks at each certificate that clients see: names, time, chain, key.",
        "Get-ExchangeCertificate, Test-ExchangeCertificate.",
    ),
    spec(
        "MSExchangeCertificateDeployment",
        "InnerCertificateProbe",
        0,
        "Looks at this server's inner certificate and the CAs that it believes.",
        "Get-InnerAuthority; a server that missed a rotation joins anew.",
    ),
    spec(
        "MSExchangeCertificateDeployment",
        "AcmeProbe",
        0,
        "Looks at certificates that are made by themselves.",
        "Get-HealthEvent -Source MSExchangeCertificateDeployment.",
    ),
    spec(
        "Monitoring",
        "HealthManagerHeartbeatProbe",
        0,
        "Looks whether the probes themselves are run in time.",
        "The server is overloaded: look at its machine.",
    ),
    spec(
        "Monitoring",
        "AdministrationListenerProbe",
        1_000,
        "Asks the HTTP interface and the page of figures for something.",
        "Get-Service shows whether they run; the log tells why not.",
    ),
    spec(
        "Monitoring",
        "HealthMailboxProbe",
        0,
        "Looks whether the health mailboxes are there and usable.",
        "Restart the server that keeps the directory.",
    ),
    spec(
        "RemoteMonitoring",
        "ServerReportProbe",
        0,
        "Asks another server how it is.",
        "See whether that server runs, and whether its inner door can be reached.",
    ),
    spec(
        "DiskSpace",
        "StorageLogicalDriveSpaceProbe",
        0,
        "Looks at the free room of the data folder and of the logs.",
        "Make room.",
    ),
    spec(
        "DiskSpace",
        "StorageWriteProbe",
        500,
        "Writes, syncs and removes a small file in the data folder.",
        "Look at the system's log for errors of the disk.",
    ),
    spec(
        "Memory",
        "ProcessMemoryProbe",
        0,
        "Looks at the memory of the process and its control group.",
        "Give the machine more memory.",
    ),
    spec(
        "Clock",
        "ClockProbe",
        0,
        "Compares the clock with those of the other servers and with its own past.",
        "timedatectl set-ntp true",
    ),
    spec(
        "AD",
        "ActiveDirectoryConnectivityProbe",
        1_000,
        "Asks the directory sources for somebody, and looks how fresh this server's copy is.",
        "Test-DirectorySource NAME; Get-Server -FormatList: DirectoryCopy.",
    ),
    spec(
        "AD",
        "DirectoryCopyProbe",
        0,
        "Looks whether this server's copy of the directory follows the primary.",
        "Get-ServiceLeg -Service directory.",
    ),
    spec(
        "Kerberos",
        "KerberosKeytabProbe",
        0,
        "Looks at the keytab: can it be read, has it keys of the right versions and types.",
        "Test-KerberosKeytab.",
    ),
    spec(
        "Kerberos",
        "KerberosTicketProbe",
        1_000,
        "Gets a ticket for this server and takes it as if it came by a leg.",
        "Test-KerberosKeytab; krb5.conf; the clock.",
    ),
    spec(
        "Network",
        "DnsHostRecordProbe",
        1_000,
        "Asks each name server for a record that must be there.",
        "dns.name_servers, /etc/resolv.conf.",
    ),
    spec(
        "Network",
        "InnerLegProbe",
        500,
        "Opens an inner leg to another server and does nothing with it.",
        "Get-ServiceLeg -FormatList shows both ends.",
    ),
];

/// A set by name; case does not matter.
pub fn set_named(name: &str) -> Option<&'static SetSpec> {
    SETS.iter().find(|s| s.name.eq_ignore_ascii_case(name))
}

/// A probe by name; case does not matter.
pub fn probe(name: &str) -> Option<&'static ProbeSpec> {
    PROBES.iter().find(|p| p.name.eq_ignore_ascii_case(name))
}

/// A set of one server as Get-HealthReport shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct SetState {
    pub name: String,
    pub value: AlertValue,
    pub last_transition: Timestamp,
    pub monitors: Vec<MonitorState>,
}

/// Sets of a server: the worst monitor tells. In the order of [`SETS`], others after them by name.
pub fn roll_up(monitors: &[MonitorState]) -> Vec<SetState> {
    let mut sets: Vec<SetState> = Vec::new();
    for monitor in monitors {
        match sets.iter_mut().find(|s| s.name == monitor.probe.set) {
            Some(set) => {
                set.value = set.value.max(monitor.value);
                set.last_transition = set.last_transition.max(monitor.since);
                set.monitors.push(monitor.clone());
            }
            None => sets.push(SetState {
                name: monitor.probe.set.clone(),
                value: monitor.value,
                last_transition: monitor.since,
                monitors: vec![monitor.clone()],
            }),
        }
    }
    let place = |name: &str| SETS.iter().position(|s| s.name == name).unwrap_or(SETS.len());
    sets.sort_by(|a, b| (place(&a.name), &a.name).cmp(&(place(&b.name), &b.name)));
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_probe_has_its_set_and_names_are_unique() {
        for (at, p) in PROBES.iter().enumerate() {
            assert!(set_named(p.set).is_some(), "{}", p.name);
            assert!(PROBES.iter().skip(at + 1).all(|other| other.name != p.name), "{}", p.name);
            assert!(p.name.ends_with("Probe") && !p.about.is_empty() && !p.help.is_empty(), "{}", p.name);
        }
        for s in SETS {
            assert!(PROBES.iter().any(|p| p.set == s.name), "{} has no probe", s.name);
        }
        assert!(super::probe("imapctpprobe").is_some() && super::probe("X").is_none());
    }
}
