//! Why Kerberos fails, by codes that stay. The library's own codes do not tell half of these apart.

use waypost_base::explain::Cause;

macro_rules! causes {
    ($($name:ident = $code:literal, $reference:literal, $meaning:literal, $remedy:literal;)*) => {
        $(pub const $name: Cause =
            Cause { code: $code, meaning: $meaning, remedy: $remedy, reference: $reference };)*
        /// All of this module.
        pub const ALL: &[Cause] = &[$($name),*];
    };
}

causes! {
    ENCTYPE_MISSING = "KRB-ENCTYPE-MISSING", "RFC 4120 §7.5.9 (45, 44)",
        "the service holds no key of the encryption type that its ticket is encrypted with",
        "Export the keytab again with all encryption types that the KDC has for the principal";
    KEYTAB_STALE = "KRB-KEYTAB-STALE", "RFC 4120 §7.5.9 (44)",
        "the KDC has a newer key of the service than its keytab",
        "Export the keytab again";
    TICKET_OLD = "KRB-TICKET-OLD", "RFC 4120 §7.5.9 (44)",
        "the initiator uses a ticket from before the service got its new key",
        "Clear-KerberosTicket on the initiator; it gets a new ticket by itself";
    KEY_MISMATCH = "KRB-KEY-MISMATCH", "RFC 4120 §7.5.9 (31)",
        "the service's key has the version of the ticket's, and is another",
        "Look for a second account with the same service name; then export the keytab again";
    NO_PRINCIPAL = "KRB-NO-PRINCIPAL", "RFC 4120 §7.5.9 (35)",
        "the keytab has no key of the principal that the ticket is for",
        "Export the keys of that principal into the keytab";
    KEYTAB_UNREADABLE = "KRB-KEYTAB-UNREADABLE", "RFC 4120 §1.5.3",
        "the keytab is there and cannot be read by the role",
        "Give the keytab to the user that the role runs as, with mode 0400";
    KEYTAB_MISSING = "KRB-KEYTAB-MISSING", "RFC 4120 §1.5.3",
        "there is no keytab, or none with a key in it",
        "Export the keytab from the KDC, or set kerberos.keytab to where it is";
    ENCTYPE_FORBIDDEN = "KRB-ENCTYPE-FORBIDDEN", "RFC 4120 §7.5.9 (14)",
        "the configuration of Kerberos forbids an encryption type that is in use",
        "Allow the type in krb5.conf (permitted_enctypes, allow_rc4), or better: give the service keys of a newer type";
    SKEW = "KRB-SKEW", "RFC 4120 §7.5.9 (37)",
        "the clocks of the two ends differ by more than Kerberos bears",
        "Set the clock that is wrong right: timedatectl set-ntp true";
    REPLAY = "KRB-REPLAY", "RFC 4120 §7.5.9 (34)",
        "the same request came a second time",
        "If no relay or network repeats what it carries, somebody has recorded the exchange: look at where it came from";
    EXPIRED = "KRB-EXPIRED", "RFC 4120 §7.5.9 (32)",
        "the ticket's time is over",
        "Clear-KerberosTicket on the initiator; it gets a new ticket by itself";
    SPN_UNKNOWN = "KRB-SPN-UNKNOWN", "RFC 4120 §7.5.9 (7)",
        "the KDC does not know the service",
        "Make the principal in the KDC (setspn, addprinc), or set the server's principals right: Set-ExchangeServer ID -ServicePrincipals";
    KDC_UNREACHABLE = "KRB-KDC-UNREACHABLE", "RFC 4120 §7.2",
        "no KDC of the realm answers",
        "Look at krb5.conf, DNS and the network to the KDC (port 88)";
    BINDING = "KRB-BINDING", "RFC 5056; RFC 4121 §4.1.1.2",
        "the ticket was presented on another TLS channel than the one that it came by",
        "Somebody stands between the two ends and ends TLS: take the intermediary away";
    BINDING_ABSENT = "KRB-BINDING-ABSENT", "RFC 5056; RFC 4121 §4.1.1.2",
        "channel binding is demanded and the initiator sent none",
        "Let the client bind to the channel, or do not demand it";
    NO_LIBRARY = "KRB-NO-LIBRARY", "RFC 2744",
        "the system has no Kerberos library",
        "apt-get install libgssapi-krb5-2, then restart the server";
    NO_CREDENTIALS = "KRB-NO-CREDENTIALS", "RFC 4120 §7.5.9 (6, 24)",
        "the initiator has no ticket and can get none with its key",
        "Export the initiator's keytab again, or set kerberos.principal to a principal that is in it";
    TOKEN = "KRB-TOKEN", "RFC 4121 §4.1",
        "what came is no token of Kerberos",
        "Look at how the client is set up: it may have sent NTLM because it got no ticket";
    OTHER = "KRB-OTHER", "RFC 2744 §3.9.1",
        "the Kerberos library refused for a reason of its own",
        "Read what the library said";
}

/// A cause by its code.
pub fn find(code: &str) -> Option<Cause> {
    ALL.iter().copied().find(|cause| cause.code == code)
}

#[cfg(test)]
mod tests {
    #[test]
    fn codes_are_unique() {
        for cause in super::ALL {
            assert_eq!(super::find(cause.code), Some(*cause));
        }
        assert_eq!(super::find("KRB"), None);
    }
}
