//! What health itself can say is wrong, and how definite causes are: which of several findings about one fault is told.

use waypost_base::explain::Cause;

const DOCS: &str = "docs/health.md";

macro_rules! causes {
    ($($name:ident = $code:literal, $meaning:literal, $remedy:literal;)*) => {
        $(pub const $name: Cause = Cause { code: $code, meaning: $meaning, remedy: $remedy, reference: DOCS };)*
        /// All of this module.
        pub const ALL: &[Cause] = &[$($name),*];
    };
}

causes! {
    SLOW = "HEALTH-SLOW",
        "it works, but takes longer than its budget",
        "Look at the step that takes most of the time: Get-ServerHealth SERVER -HealthSet SET -FormatList";
    LOSSY = "HEALTH-LOSSY",
        "some tries fail and their repetitions succeed",
        "Look at the network between the two ends for lost packets, and at limits that are reached now and then";
    SILENT = "HEALTH-SERVER-SILENT",
        "a server of the organisation does not report",
        "See whether the server runs (systemctl status waypost) and whether its inner door can be reached: Get-ServiceLeg -To SERVER";
    LISTENER = "HEALTH-LISTENER-CLOSED",
        "nothing accepts connections where a service should listen",
        "Get-Service shows whether the service runs; start it, or free its port";
    MUTE = "HEALTH-LISTENER-MUTE",
        "a service accepts connections and does not speak",
        "Restart the service: Restart-Service NAME; look at what it waited for in Get-HealthEvent";
    DISK_FULL = "HEALTH-DISK-FULL",
        "the disk of the data folder is full or nearly so",
        "Make room, or move the data folder to a bigger disk; Get-TransportPressure shows the levels";
    DISK_READ_ONLY = "HEALTH-DISK-READONLY",
        "the data folder cannot be written to",
        "Look at the system's log for errors of the disk; mount it writable again after a check";
    DISK_SLOW = "HEALTH-DISK-SLOW",
        "writing to the disk takes far too long",
        "See what else uses the disk (iostat -x 1), and whether it is failing (smartctl -a)";
    MEMORY = "HEALTH-MEMORY",
        "the server uses nearly all the memory that it may have",
        "See Get-TransportPressure; give the machine more memory, or lower the limits of connections";
    CLOCK_OFF = "HEALTH-CLOCK-OFF",
        "the clock of a server differs from those of the others",
        "Set it right: timedatectl set-ntp true";
    CLOCK_JUMPED = "HEALTH-CLOCK-JUMPED",
        "the clock of a server was set by a large step",
        "See who sets the clock; two sources of time that disagree do this";
    DNS_SILENT = "HEALTH-DNS-SILENT",
        "no name server answers",
        "Look at dns.name_servers, /etc/resolv.conf and the network to the name servers";
    DNS_WRONG = "HEALTH-DNS-WRONG",
        "DNS does not give the answer that it should",
        "Compare the record with what the finding expected, and mend the zone or the name server";
    QUEUE_GROWS = "HEALTH-QUEUE-GROWS",
        "messages wait for longer than they should",
        "Get-Queue shows where they wait, and why: LastError";
    POISON = "HEALTH-POISON",
        "messages are held because handling them broke the server",
        "Get-Message -Queue Poison shows them; report what the evidence says before they are removed";
    MAIL_LATE = "HEALTH-MAIL-LATE",
        "a message from one of our accounts to another did not arrive in time",
        "why MESSAGE-ID tells where it is";
    MAIL_WRONG = "HEALTH-MAIL-CHANGED",
        "a message arrived, but not as it was sent",
        "Look at the mail filters and at what stands between the servers";
    NO_MAILBOX = "HEALTH-NO-MAILBOX",
        "the mailbox with which probes sign in is missing or cannot be used",
        "Restart the server that keeps the directory: it makes the mailboxes anew; look at Get-HealthEvent there";
    STORE_FAILED = "HEALTH-STORE",
        "the store does not read back what was written",
        "Test-Store; look at the disk and at the server's log";
    STORE_SLOW = "HEALTH-STORE-SLOW",
        "a commit of the store takes too long",
        "Look at the disk below the data folder: iostat -x 1";
    DIRECTORY_STALE = "HEALTH-DIRECTORY-STALE",
        "a server's copy of the directory is behind",
        "Get-Server SERVER -FormatList shows how far (DirectoryCopy); mend the leg to the server that keeps the directory: Get-ServiceLeg";
    SOURCE = "HEALTH-DIRECTORY-SOURCE",
        "the directory that passwords are asked of does not answer",
        "Test-DirectorySource NAME; look at the network to it, its certificate and the account that looks things up";
    FILTER = "HEALTH-FILTER",
        "a mail filter does not answer",
        "Start the filter, or set the address right: Get-MailFilter";
    BACK_PRESSURE = "HEALTH-BACK-PRESSURE",
        "the server takes less mail, so that what it has is safe",
        "Get-TransportPressure shows which resource is short";
    PROBE_STUCK = "HEALTH-PROBE-STUCK",
        "a probe did not end in its time and said nothing",
        "Look at the server's load; if it stays, restart the server and keep its log";
    PERMISSION = "HEALTH-PERMISSION",
        "the system denies the server a file that it needs",
        "Test-ServicePermission shows which and how to give it";
    ACCOUNT_LOCKED = "HEALTH-SIGN-IN-REFUSED",
        "the health mailbox is refused although its password is right",
        "Look at the account's protocols and state, and at the rules of sign-in: Get-CASMailbox HealthMailbox";
}

/// A cause of this module by its code.
pub fn find(code: &str) -> Option<Cause> {
    ALL.iter().copied().find(|cause| cause.code == code)
}

/// The kind of subject that a cause is about, as far as the code tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    Listener,
    Leg,
    Certificate,
    Kerberos,
    Peer,
    Filter,
    Queue,
    Directory,
    Store,
    Dns,
    Clock,
    Memory,
    Disk,
    Server,
}

/// How definite a cause is, 0 to 3. 0 says only that it does not work; 1 that somebody could not be reached; 2 which part
/// is at fault; 3 what is wrong with it. Unknown codes are 2: whoever gave it a name knew something.
pub fn rank(code: &str) -> u8 {
    best(code).map_or(2, |r| r.1)
}

fn best(code: &str) -> Option<&'static (&'static str, u8, &'static [About])> {
    RANKS.iter().filter(|(prefix, ..)| fits(code, prefix)).max_by_key(|(prefix, ..)| prefix.len())
}

/// What a cause is about; empty: the code does not tell.
pub fn about(code: &str) -> &'static [About] {
    best(code).map_or(&[], |r| r.2)
}

/// Whether a wrong clock can be behind it.
pub fn is_about_time(code: &str) -> bool {
    const TIME: &[&str] = &[
        "CERT-NOT-YET",
        "CERT-EXPIRED",
        "INNER-EXPIRED",
        "INNER-NOTYET",
        "INNER-CLOCK",
        "KRB-SKEW",
        "KRB-EXPIRED",
        "KRB-NOT-YET",
    ];
    TIME.contains(&code)
}

/// Whether a service that says so may be well after it is stopped and started: it is mute or gone. One that answers is
/// what its settings make of it, and its people would be sent away for nothing.
pub fn is_helped_by_restart(code: &str) -> bool {
    const HELPED: &[&str] = &["HEALTH-LISTENER-MUTE", "HEALTH-LISTENER-CLOSED", "HEALTH-TIMEOUT"];
    HELPED.contains(&code)
}

fn fits(code: &str, prefix: &str) -> bool {
    match prefix.strip_suffix('*') {
        Some(start) => code.starts_with(start),
        None => code == prefix,
    }
}

/// By the beginning of the code; the longest that fits holds.
const RANKS: &[(&str, u8, &[About])] = {
    use About::{
        Certificate, Clock, Directory, Disk, Dns, Filter, Kerberos, Leg, Listener, Memory, Peer, Queue,
        Server, Store,
    };
    &[
        ("OTHER", 0, &[]),
        ("HEALTH-SLOW", 0, &[]),
        ("HEALTH-LOSSY", 0, &[]),
        ("HEALTH-PROBE-STUCK", 0, &[]),
        ("HEALTH-MAIL-LATE", 0, &[]),
        ("HEALTH-MAIL-CHANGED", 2, &[]),
        ("HEALTH-QUEUE-GROWS", 0, &[]),
        ("HEALTH-BACK-PRESSURE", 3, &[Queue]),
        ("HEALTH-POISON", 3, &[Queue]),
        ("HEALTH-SERVER-SILENT", 1, &[Server, Leg]),
        ("HEALTH-LISTENER-MUTE", 1, &[Listener, Server]),
        ("HEALTH-LISTENER-CLOSED", 2, &[Listener, Server]),
        ("HEALTH-DISK-*", 3, &[Disk]),
        ("HEALTH-MEMORY", 3, &[Memory]),
        ("HEALTH-CLOCK-*", 3, &[Clock]),
        ("HEALTH-DNS-*", 3, &[Dns]),
        ("HEALTH-STORE-SLOW", 1, &[Store, Disk]),
        ("HEALTH-STORE", 2, &[Store, Disk]),
        ("HEALTH-DIRECTORY-STALE", 1, &[Directory, Leg]),
        ("HEALTH-DIRECTORY-SOURCE", 2, &[Peer, Directory]),
        ("HEALTH-FILTER", 2, &[Filter]),
        ("HEALTH-NO-MAILBOX", 2, &[Directory]),
        ("HEALTH-SIGN-IN-REFUSED", 2, &[]),
        ("HEALTH-PERMISSION", 3, &[]),
        ("HEALTH-SERVICE-STOPPED", 3, &[Listener]),
        ("HEALTH-COMPONENT-INACTIVE", 3, &[Listener, Queue]),
        ("HEALTH-CONNECTIONS-USED-UP", 2, &[Listener]),
        ("HEALTH-ANSWER", 0, &[]),
        ("HEALTH-TIMEOUT", 0, &[]),
        ("HEALTH-NO-TLS", 1, &[Certificate, Listener]),
        ("HEALTH-NO-SIGN-IN", 2, &[Listener]),
        ("HEALTH-SIGN-IN", 0, &[]),
        ("HEALTH-MAILBOX", 0, &[]),
        ("HEALTH-SUBMIT", 0, &[]),
        ("HEALTH-INBOUND", 0, &[]),
        ("HEALTH-OTHER-CERTIFICATE", 3, &[Listener, Certificate]),
        ("HEALTH-SMART-HOST", 2, &[Peer]),
        ("HEALTH-STORE-*", 3, &[Store, Disk]),
        ("HEALTH-TOKEN-ISSUER", 2, &[Peer]),
        ("HEALTH-LOGS", 3, &[Disk]),
        ("HEALTH-QUEUE-STUCK", 1, &[Queue, Peer, Leg]),
        ("HEALTH-QUEUE-SUSPENDED", 3, &[Queue]),
        ("HEALTH-QUEUE-UNREACHABLE", 3, &[Queue]),
        ("HEALTH-INNER-*", 3, &[Leg]),
        ("HEALTH-PEER", 1, &[Server]),
        ("REHEARSAL-*", 0, &[]),
        ("REHEARSAL-TLS", 1, &[Certificate, Listener]),
        ("REHEARSAL-NOWAY", 2, &[Listener]),
        ("REHEARSAL-LISTEN", 2, &[Listener]),
        ("PROBE-*", 0, &[]),
        ("PROBE-TLS", 1, &[Certificate, Listener]),
        ("SIGNIN-*", 2, &[]),
        ("SIGNIN-UNAVAILABLE", 0, &[]),
        ("IMAP-*", 0, &[]),
        ("POP-*", 0, &[]),
        ("SMTP-*", 0, &[]),
        ("DELIVER-*", 0, &[]),
        ("HOME-*", 0, &[]),
        ("HOME-NOT-ALLOWED", 2, &[]),
        ("HUB-NONE", 1, &[]),
        ("HUB-NOT-ACTIVE", 2, &[Queue]),
        ("SEND-*", 1, &[Peer, Dns, Leg]),
        ("SEND-INSIDE", 0, &[]),
        ("SEND-DNS", 1, &[Dns]),
        ("SEND-DEFERRED", 0, &[]),
        ("SEND-TLS", 2, &[Peer]),
        ("SEND-AUTH", 2, &[Peer]),
        ("SEND-NOROUTE", 2, &[Queue, Dns]),
        ("STORE-*", 2, &[Store, Disk]),
        ("STORE-UNAVAILABLE", 1, &[Store, Disk]),
        ("INNER-*", 3, &[Leg]),
        ("INNER-UNREACHABLE", 1, &[Leg, Server]),
        ("INNER-TIMEOUT", 1, &[Leg, Server]),
        // A server that dies ends handshakes, too.
        ("INNER-TLS", 1, &[Leg, Server]),
        ("INNER-DENIED", 1, &[Leg]),
        ("INNER-BUSY", 2, &[Leg]),
        ("INNER-PROTOCOL", 1, &[Leg]),
        ("KRB-*", 3, &[Kerberos, Leg]),
        ("KRB-OTHER", 2, &[Kerberos, Leg]),
        ("CERT-*", 3, &[Certificate]),
        ("ACME-*", 2, &[Certificate]),
        ("MILTER-*", 2, &[Filter]),
        ("LDAP-*", 2, &[Peer, Directory]),
        ("OAUTH-*", 2, &[Peer]),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_beginning_holds() {
        assert_eq!((rank("INNER-EXPIRED"), rank("INNER-UNREACHABLE"), rank("X-NEW")), (3, 1, 2));
        assert!(rank("CERT-EXPIRED") > rank("SIGNIN-UNAVAILABLE"));
        assert!(rank("KRB-ENCTYPE-MISSING") > rank("REHEARSAL-SIGNIN"));
        assert_eq!(about("SEND-DNS"), [About::Dns]);
        assert_eq!(about("X-NEW"), []);
    }

    #[test]
    fn no_rank_is_there_twice() {
        let mut seen = std::collections::BTreeSet::new();
        let twice: Vec<&str> = RANKS.iter().map(|r| r.0).filter(|prefix| !seen.insert(*prefix)).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }

    #[test]
    fn codes_are_unique() {
        for cause in ALL {
            assert_eq!(find(cause.code), Some(*cause));
        }
        assert_eq!(find("HEALTH"), None);
    }
}
