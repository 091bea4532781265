//! Why inner legs fail or are degraded, by codes that stay. Kerberos has its own in [`crate::kerberos`].

use waypost_base::explain::Cause;

const DOCS: &str = "docs/servers.md";

macro_rules! causes {
    ($($name:ident = $code:literal, $meaning:literal, $remedy:literal;)*) => {
        $(pub const $name: Cause = Cause { code: $code, meaning: $meaning, remedy: $remedy, reference: DOCS };)*
        /// All of this module.
        pub const ALL: &[Cause] = &[$($name),*];
    };
}

causes! {
    UNREACHABLE = "INNER-UNREACHABLE",
        "the other server's inner door cannot be reached",
        "Start the server, or mend the network or the address: Set-Server ID -InnerAddress HOST:PORT";
    TIMEOUT = "INNER-TIMEOUT",
        "the other server did not answer in time",
        "Look at the other server's load and log, and at the network between the two";
    TLS = "INNER-TLS",
        "the other end does not speak inner TLS",
        "See what listens at the address of the server: Get-Server ID";
    PROTOCOL = "INNER-PROTOCOL",
        "the other end broke off or spoke something else than the inner handshake",
        "Compare the versions of both servers: Get-Server";
    EXPIRED = "INNER-EXPIRED",
        "an inner certificate has expired",
        "Start the server of that certificate where it can reach the primary, so that it renews it; else join it anew";
    NOT_YET = "INNER-NOTYET",
        "an inner certificate is not valid yet",
        "Set the clocks of both servers right";
    REVOKED = "INNER-REVOKED",
        "the server, or its inner certificate, has been revoked",
        "If the server is yours: New-ServerToken on the primary, then `waypost join` on the server";
    OTHER_CA = "INNER-OTHER-CA",
        "an inner certificate is by a CA that is not trusted here",
        "Update-InnerAuthority on the primary shows the CAs; a server that missed a rotation joins anew";
    WRONG_SERVER = "INNER-WRONG-SERVER",
        "another server of the organisation answered, or called under another name",
        "Set the address of the server right: Set-Server ID -InnerAddress HOST:PORT";
    NO_CERTIFICATE = "INNER-NO-CERTIFICATE",
        "the other end has shown no inner certificate",
        "Only servers of the organisation may use the inner door: let it join, or keep strangers away from the port";
    UNKNOWN_SERVER = "INNER-UNKNOWN-SERVER",
        "the directory has no such server",
        "Get-Server shows those that there are; a server that has just joined is known everywhere within seconds";
    NOT_ALLOWED = "INNER-NOT-ALLOWED",
        "the roles of the server do not allow it this service",
        "If the server is to do this: Set-Server ID -Roles …, and restart it";
    CLOCK = "INNER-CLOCK",
        "the clocks of the two servers differ by more than five minutes",
        "Set the clock of the server that is wrong right (timedatectl set-ntp true)";
    POLICY = "INNER-POLICY",
        "the policy of the leg does not allow the mechanism",
        "Give both servers the same policy: Set-WaypostSetting legs.policy";
    NO_KERBEROS = "INNER-NO-KERBEROS",
        "the policy asks for Kerberos and this server has none set up",
        "Give the server a keytab and a principal (Set-Server ID -ServicePrincipals …), or change legs.policy";
    PRINCIPAL = "INNER-PRINCIPAL",
        "the ticket is not of the server that came with it",
        "Set-Server ID -ServicePrincipals with the principal that the server uses";
    NOT_SERVED = "INNER-NOT-SERVED",
        "this server does not offer the service",
        "See Get-Server for its roles, and whether it has finished starting";
    BUSY = "INNER-BUSY",
        "the inner door has too many connections",
        "Wait; if it stays, look at who opens them: Get-ServiceLeg";
    DENIED = "INNER-DENIED",
        "the service refused what it was asked for",
        "The text says why";
}

/// A cause by its code. What this version does not know is shown as [`DENIED`].
pub fn find(code: &str) -> Option<Cause> {
    ALL.iter().copied().find(|cause| cause.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique() {
        for (at, cause) in ALL.iter().enumerate() {
            assert!(ALL.iter().skip(at + 1).all(|other| other.code != cause.code), "{}", cause.code);
            assert_eq!(find(cause.code).map(|c| c.meaning), Some(cause.meaning));
        }
        assert_eq!(find("X"), None);
    }
}
