//! What a probe of the running server can find, by codes that stay. Where a room knows the cause better (certificates,
//! inner legs, Kerberos), the probe's finding has that room's.

use crate::probe::Manner;
use waypost_base::explain::Cause;
pub use waypost_health::cause::{
    ACCOUNT_LOCKED as REFUSED, BACK_PRESSURE, CLOCK_JUMPED, CLOCK_OFF, DIRECTORY_STALE, DISK_FULL,
    DISK_READ_ONLY, DISK_SLOW, DNS_SILENT, DNS_WRONG, FILTER, LISTENER, MAIL_LATE, MEMORY, MUTE, NO_MAILBOX,
    PERMISSION, POISON, PROBE_STUCK, QUEUE_GROWS, SOURCE, STORE_FAILED,
};

const DOCS: &str = "docs/health.md";

macro_rules! causes {
    ($($name:ident = $code:literal, $meaning:literal, $remedy:literal;)*) => {
        $(pub const $name: Cause = Cause { code: $code, meaning: $meaning, remedy: $remedy, reference: DOCS };)*
        #[cfg(test)]
        const ALL: &[Cause] = &[$($name),*];
    };
}

causes! {
    STOPPED = "HEALTH-SERVICE-STOPPED",
        "a service has been stopped by command",
        "Start-Service NAME, if it was not meant to stay stopped";
    COMPONENT = "HEALTH-COMPONENT-INACTIVE",
        "a component has been taken out of service",
        "Set-ServerComponentState ID -Component NAME -State Active -Requester Maintenance, when the maintenance is over";
    CONNECTIONS = "HEALTH-CONNECTIONS-USED-UP",
        "a listener closes new connections at once: its limit of connections is reached",
        "See who has so many (Get-Service shows sessions); raise MaxConnections or the limit of one source";
    ANSWER = "HEALTH-ANSWER",
        "a service does not answer as its protocol wants it",
        "Look at the evidence for what it said instead, and at the log of the server";
    TIMEOUT = "HEALTH-TIMEOUT",
        "a service takes connections and does not answer in time",
        "Look at the step that took so long, and at the load of the server; something behind it does not answer";
    NO_TLS = "HEALTH-NO-TLS",
        "clients do not get TLS at a listener",
        "Bind a certificate that can be used: Get-ExchangeCertificate, Enable-ExchangeCertificate";
    NO_WAY = "HEALTH-NO-SIGN-IN",
        "nobody can sign in at a listener: no way to do so is offered, not even under TLS",
        "Allow at least one mechanism (LoginType, the settings of sign_in) and bind a certificate";
    SIGN_IN = "HEALTH-SIGN-IN",
        "a sign-in with the right password fails",
        "Look at what the service said: unavailable means a part behind it, refused means a rule";
    MAILBOX = "HEALTH-MAILBOX",
        "the sign-in works, but the mailbox cannot be used",
        "Look at what the service said, and at the leg to the server that holds the mailbox";
    SUBMIT = "HEALTH-SUBMIT",
        "a message is refused that ought to be taken: a recipient of ours, a sender who has signed in",
        "Look at what the service said: connectors, limits, filters and the state of the hub decide it";
    INBOUND = "HEALTH-INBOUND",
        "mail from outside for a recipient of ours is refused",
        "Look at what the service said: Get-ReceiveConnector shows who may send what";
    OTHER_CERTIFICATE = "HEALTH-OTHER-CERTIFICATE",
        "clients are shown another certificate than the one that is bound",
        "Look whether something ends TLS before this server, then Restart-Service NAME";
    SMART_HOST = "HEALTH-SMART-HOST",
        "a server that mail is to be sent by cannot be used",
        "Look at the smart host and the network to it, or name another: Set-SendConnector -SmartHosts";
    STORE_READ_ONLY = "HEALTH-STORE-READ-ONLY",
        "the store takes no changes any more after a fault of the disk",
        "Look at the disk and the log, then start the server again";
    STORE_FULL = "HEALTH-STORE-FULL",
        "the disk of the store is too full to write",
        "Make room on the disk of the store, or move it to a larger one";
    STORE_DAMAGED = "HEALTH-STORE-DAMAGED",
        "damaged rows were met in the store",
        "Test-Store tells which; restore them from a backup";
    ISSUER = "HEALTH-TOKEN-ISSUER",
        "the provider of sign-in tokens cannot be reached",
        "Look at the setting oauth.issuer, and at the network to it";
    DISK_INODES = "HEALTH-DISK-INODES",
        "a disk that this server writes to has almost no more room for files",
        "Remove files that nobody needs; their number counts, not their size";
    LOGS = "HEALTH-LOGS",
        "a folder of logs cannot be written",
        "Give the folder to the user that the server runs as";
    QUEUE_STUCK = "HEALTH-QUEUE-STUCK",
        "a queue does not move: its destination fails again and again",
        "Get-Queue shows the LastError; Retry-Queue when the destination is well again";
    UNREACHABLE = "HEALTH-QUEUE-UNREACHABLE",
        "mail waits because no send connector leads to where it is to go",
        "Get-Message -Queue Unreachable shows for whom it is; New-SendConnector NAME -AddressSpaces DOMAIN, or enable the connector that led there";
    QUEUE_SUSPENDED = "HEALTH-QUEUE-SUSPENDED",
        "a queue has been suspended by command",
        "Resume-Queue, when it is to go on";
    INNER_EXPIRES = "HEALTH-INNER-EXPIRES",
        "an inner certificate ends soon and is not renewed",
        "See that the server reaches the primary; its log tells why the renewal fails";
    INNER_FILES = "HEALTH-INNER-FILES",
        "the inner certificate of this server or the CAs that it believes cannot be loaded from disk",
        "Put the files of the folder trust back from a backup, or let the server join anew: New-ServerToken, `waypost join`";
    PEER = "HEALTH-PEER",
        "this server cannot hold an SMTP conversation with a peer on its own machine",
        "Look whether something filters connections of this machine to itself";
}

/// How probes speak to services.
pub static MANNER: Manner = Manner {
    name: "health.waypost.invalid",
    connect: LISTENER,
    greeting: ANSWER,
    tls: NO_TLS,
    no_way: NO_WAY,
    sign_in: SIGN_IN,
    mailbox: MAILBOX,
    submit: SUBMIT,
    time: TIMEOUT,
};

/// The same for whoever comes from outside.
pub static STRANGER: Manner = Manner { submit: INBOUND, ..MANNER };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique() {
        for (at, cause) in ALL.iter().enumerate() {
            assert!(ALL.iter().skip(at + 1).all(|other| other.code != cause.code), "{}", cause.code);
            assert!(cause.code.starts_with("HEALTH-"), "{}", cause.code);
        }
    }
}
