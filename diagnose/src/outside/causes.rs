//! Every cause that a look from outside can name: its code, what it means, what to do, and where a standard says so.
//!
//! They are no faults of a server of ours, so they are kept apart from the causes that rooms have.

/// A cause, for reports and for its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutsideCause {
    /// Stays the same for ever.
    pub code: &'static str,
    pub title: &'static str,
    /// What is wrong, and how people notice it.
    pub meaning: &'static str,
    pub remedy: &'static [&'static str],
    pub reference: &'static str,
}

impl OutsideCause {
    /// The page in Markdown, for people who have the fault.
    pub fn page(&self) -> String {
        let mut page = format!("# {}\n\n`{}`", self.title, self.code);
        page.push_str(" · seen from outside, at any mail server\n\n");
        page.push_str(self.meaning);
        page.push_str("\n\n## What to do\n\n");
        for (n, step) in self.remedy.iter().enumerate() {
            page.push_str(&format!("{}. {step}\n", n + 1));
        }
        page.push_str(&format!(
            "\n## How to look again\n\n`waypost diagnose {}`\n\n## More\n\n{}\n",
            self.again(),
            self.reference
        ));
        page
    }

    /// What shows it, by its code.
    fn again(&self) -> &'static str {
        let code = self.code.strip_prefix("OUTSIDE-").unwrap_or(self.code);
        match code {
            "AUTODISCOVER-CERT" | "AUTODISCOVER-WEBSITE" | "AUTODISCOVER-REDIRECT" | "AUTODISCOVER-NONE" => {
                "autodiscover DOMAIN"
            }
            "MX-BROKEN" | "NULL-MX" | "OPEN-RELAY" | "REVERSE" | "GREETING-NAME" => "smtp DOMAIN",
            _ if code.starts_with("DANE") || code.starts_with("DNSSEC") || code.starts_with("MTA-STS") => {
                "smtp DOMAIN"
            }
            "PASSWORD-CLEAR" | "NO-SIGN-IN" | "SIGN-IN" => "imap HOST --user NAME",
            "HTTP-ERROR" => "web HOST",
            "UNREACHABLE" | "ONE-ADDRESS-DEAD" | "GREETING" | "NO-STARTTLS" | "NO-ADDRESS" => "imap HOST",
            _ if code.starts_with("TLS-") || code.starts_with("CERT-") => "imap HOST",
            _ => "mail DOMAIN",
        }
    }
}

macro_rules! causes {
    ($($name:ident $code:literal $title:literal, $meaning:literal, [$($remedy:literal),*], $reference:literal;)*) => {
        $(pub static $name: OutsideCause = OutsideCause {
            code: $code, title: $title, meaning: $meaning, remedy: &[$($remedy),*], reference: $reference,
        };)*
        /// All of them.
        pub static ALL: &[&OutsideCause] = &[$(&$name),*];
    };
}

/// The cause with this code, in any case of letters.
pub fn find(code: &str) -> Option<&'static OutsideCause> {
    ALL.iter().find(|c| c.code.eq_ignore_ascii_case(code)).copied()
}

causes! {
    NO_ADDRESS "OUTSIDE-NO-ADDRESS" "The name leads nowhere",
        "The name has no address record (A, AAAA), or does not exist. Whoever uses it cannot even begin: clients say that the server was not found, and other servers keep mail until they give up.",
        ["Add an A (and AAAA) record for the name, or correct the record that names it", "Ask again: dig +short NAME A; dig +short NAME AAAA"],
        "RFC 5321 section 5.1; RFC 1034";
    DNS_FAILS "OUTSIDE-DNS-FAILS" "The name servers do not answer for the name",
        "The name servers answered with an error or not at all. That is not the same as a name that does not exist: others may get an answer at times, so mail and clients fail now and then.",
        ["Ask each name server of the zone in turn: dig NS DOMAIN, then dig @NAMESERVER NAME", "Where DNSSEC is used, test the chain: a signature that has expired looks like this (SERVFAIL)"],
        "RFC 2308 section 7; RFC 4035 section 5.5";
    MX_BROKEN "OUTSIDE-MX-BROKEN" "An MX record names a host that cannot take mail",
        "The host of an MX record has to have address records of its own. One without, one that is an alias (CNAME), or an address in place of a name makes senders fall back to other hosts, or keep the mail.",
        ["Let the MX record name a host that has A or AAAA records of its own"],
        "RFC 5321 section 5.1; RFC 2181 section 10.3";
    NULL_MX "OUTSIDE-NULL-MX" "The domain says that it takes no mail",
        "Its only MX record names the root (a null MX): other servers refuse to send there at once.",
        ["If the domain is to take mail: replace the MX record 0 . by the name of the mail server"],
        "RFC 7505";
    SRV_BROKEN "OUTSIDE-SRV-BROKEN" "A service record names a server that is not there",
        "Clients that set themselves up follow the SRV records of the domain. One that names a host without an address, or a port that nobody listens at, gives them settings that do not work.",
        ["Correct the SRV record: priority, weight, port and host of the server that people are to use"],
        "RFC 6186; RFC 8314 section 5";
    AUTOCONFIG "OUTSIDE-AUTOCONFIG" "The settings offered to clients name a server that is not there",
        "Clients fetch the file for automatic configuration and take the hosts from it. A host without an address makes setting up an account fail, although the server itself is well.",
        ["Correct the host names in the configuration file"],
        "docs/diagnose.md";
    AUTODISCOVER_CERT "OUTSIDE-AUTODISCOVER-CERT" "Outlook warns of the certificate where it looks for settings",
        "Outlook and telephones ask a fixed host for the settings of the domain (autodiscover.DOMAIN, or the one that a record or a redirect names). The certificate that they meet there is not good for that name, has ended, or is not trusted: people see a warning again and again, or setting up an account fails.",
        ["Have a certificate made that holds the name autodiscover.DOMAIN too, and bind it to the web site", "Or take the address record of autodiscover.DOMAIN away and let an SRV record _autodiscover._tcp.DOMAIN name a host whose certificate is good", "With many domains on one server: let port 80 of autodiscover.DOMAIN alone answer, with a redirect to the one name that the certificate holds"],
        "RFC 9525; Microsoft: Autodiscover service in Exchange Server";
    AUTODISCOVER_WEBSITE "OUTSIDE-AUTODISCOVER-WEBSITE" "A web site for people answers where Outlook looks for settings",
        "Outlook asks the web server of the domain itself first. It should answer with 404, or not at all; here it answers every address with a page and status 200. Clients try to read the page as settings, wait, ask for a password, or stop there.",
        ["Let the web site answer /autodiscover/ with 404, or lead it to the mail server", "Where the web site belongs to somebody else: ExcludeHttpsRootDomain keeps Outlook from asking it"],
        "Microsoft: Autodiscover for Exchange, providers and order of the ways";
    AUTODISCOVER_REDIRECT "OUTSIDE-AUTODISCOVER-REDIRECT" "Redirects on the way to the settings lead nowhere",
        "Clients follow a redirect to the settings. This one goes round, goes on for too long, leads to a host that is not there, or leaves TLS, which clients refuse.",
        ["Let the redirect lead at once to https://HOST/autodiscover/autodiscover.xml, with the host that the certificate holds", "See each step: curl -sIL http://autodiscover.DOMAIN/autodiscover/autodiscover.xml"],
        "RFC 9110 section 15.4";
    AUTODISCOVER_NONE "OUTSIDE-AUTODISCOVER-NONE" "Clients find no settings for the domain",
        "None of the ways by which Outlook, telephones and Thunderbird look for settings leads to any. People have to enter names of servers by hand, and Outlook cannot be set up for Exchange at all.",
        ["Give autodiscover.DOMAIN an address record (or an alias) that leads to the mail server, with a certificate for that name", "For IMAP clients: SRV records _imaps._tcp and _submissions._tcp, or the file at autoconfig.DOMAIN", "Ask again: waypost diagnose autodiscover DOMAIN"],
        "RFC 6186; RFC 8314 section 5; Microsoft: Autodiscover service in Exchange Server";
    UNREACHABLE "OUTSIDE-UNREACHABLE" "Nobody answers at the port",
        "No connection came about. Refused at once: nothing listens there, or a firewall says so. No answer in time: a firewall drops packets, the address is wrong, or the machine is down.",
        ["On the server: does the service run and listen? ss -ltn", "From the server itself: connect to its own public address and port", "On the way: does each firewall let the port through, from outside?"],
        "docs/diagnose.md";
    ONE_ADDRESS_DEAD "OUTSIDE-ONE-ADDRESS-DEAD" "One of several addresses does not answer",
        "The name has several addresses and one of them takes no connection. Clients that choose it wait until they give up on it: everything works, slowly, and not always. Often it is an AAAA record of a machine that has no IPv6.",
        ["Take the dead address out of the DNS, or let the server listen there"],
        "RFC 8305";
    GREETING "OUTSIDE-GREETING" "What answers does not speak the protocol",
        "A connection came about, but the greeting was none of this protocol, refused service, or did not come. A proxy or a firewall may stand before a server that is down, or another service has the port.",
        ["Look at the log of the service at this time", "See what stands before it: a load balancer whose servers are all down answers, and hangs up"],
        "RFC 5321 section 3.1; RFC 9051 section 7.1.5; RFC 1939 section 4";
    GREETING_NAME "OUTSIDE-GREETING-NAME" "The server greets with a name that is not its own",
        "In SMTP the greeting has the server's full name. One that is no full name or does not exist in the DNS lowers what others think of its mail and misleads whoever reads their logs.",
        ["Set the name of the connector or of the server to the name that the DNS has for its address"],
        "RFC 5321 section 4.1.1.1 and 4.1.3";
    REVERSE "OUTSIDE-REVERSE" "The address of the server has no name of its own",
        "The address of the mail server has no PTR record, or one whose name does not lead back to it. It takes mail all the same, but if it also sends from this address, large providers refuse or suspect that mail.",
        ["Ask whoever owns the address (the provider) for a PTR record with the server's name, which has this address"],
        "RFC 1912 section 2.1; RFC 8601 section 2.7.3";
    NO_STARTTLS "OUTSIDE-NO-STARTTLS" "The server offers no TLS",
        "The connection begins in the clear and the server does not offer to begin TLS. Everything that is sent can be read on the way, passwords too; servers that insist on TLS do not deliver at all. After a change of certificates this is how a binding that was lost looks.",
        ["See whether a certificate is bound to the service: Get-ExchangeCertificate | Format-List Thumbprint,Services,NotAfter,Status", "Bind one: Enable-ExchangeCertificate -Thumbprint … -Services IMAP,POP,SMTP, then restart the service"],
        "RFC 3207; RFC 2595; RFC 8314 section 3";
    TLS_FAILS "OUTSIDE-TLS-FAILS" "The TLS handshake fails",
        "TLS was to begin and no handshake came about: the two have no version or cipher in common, the server has no certificate to show or cannot use its key, or something on the way disturbs it.",
        ["Look at it closely: openssl s_client -connect HOST:PORT -servername HOST (-starttls imap|pop3|smtp)", "On the server: may the service read the private key of its certificate?"],
        "RFC 8446 section 6; RFC 8996";
    TLS_OLD "OUTSIDE-TLS-OLD" "Versions of TLS that are no longer safe are accepted",
        "TLS 1.0 and 1.1 are no longer to be used. A server that still takes them lets somebody on the way push clients down to them.",
        ["Switch TLS 1.0 and 1.1 off (on Windows under SCHANNEL\\Protocols, elsewhere in the service's settings)"],
        "RFC 8996";
    EXPIRED "OUTSIDE-CERT-EXPIRED" "The certificate's time is over",
        "The certificate that the server shows is no longer valid. Clients warn or refuse to connect; servers that check certificates keep their mail.",
        ["Renew the certificate, bind the new one to this service, and restart the service", "See that a renewed one is really shown: waypost diagnose again"],
        "RFC 5280 section 4.1.2.5";
    EXPIRES_SOON "OUTSIDE-CERT-EXPIRES-SOON" "The certificate's time is over soon",
        "It is still valid, for a few days only. What renews it by itself should have done so by now.",
        ["Renew it and bind the new one before it ends", "If it is renewed by itself: read the log of what renews it, and see whether the service loads new files"],
        "RFC 5280 section 4.1.2.5";
    NOT_YET "OUTSIDE-CERT-NOT-YET" "The certificate's time has not begun",
        "The certificate is valid from a time that has not come. Either it was bound too early, or the clock of the machine that made it, or of this one, is wrong.",
        ["Compare the clocks of both machines", "Bind the certificate of before until then"],
        "RFC 5280 section 4.1.2.5";
    NAME "OUTSIDE-CERT-NAME" "The certificate is for other names",
        "None of the names in the certificate is the one that was asked for. Clients that use this name warn or refuse to connect.",
        ["Have a certificate made with this name too, and bind it", "Or let people use a name that the certificate holds"],
        "RFC 9525; RFC 6125";
    SELF_SIGNED "OUTSIDE-CERT-SELF-SIGNED" "The certificate is signed by itself",
        "Nobody stands behind the certificate but the server itself: everybody could make one like it. Clients warn their users, and servers that check certificates do not deliver.",
        ["Bind a certificate from a certificate authority that clients trust"],
        "RFC 5280 section 6";
    CHAIN "OUTSIDE-CERT-CHAIN" "The server leaves certificates of its chain out",
        "The server shows its own certificate without the ones between it and the root. Browsers often find the missing ones by themselves; mail clients, telephones and other servers do not. So it works for some.",
        ["Send the whole chain: append the issuer's certificates to the file, or install them in the store of intermediate authorities", "See what is sent: openssl s_client -connect HOST:PORT -showcerts"],
        "RFC 8446 section 4.4.2; RFC 5246 section 7.4.2";
    UNTRUSTED "OUTSIDE-CERT-UNTRUSTED" "The certificate comes from an authority that this machine does not trust",
        "The chain is there, but it ends in an authority that is not among those that this machine trusts: one of the organisation's own, one that was withdrawn, or a firewall that opens TLS on the way.",
        ["If it is your own authority: repeat with --ca FILE; clients need it too", "If it is none that you know: compare the issuer from another network, to find out who opens TLS on the way"],
        "RFC 5280 section 6";
    WEAK "OUTSIDE-CERT-WEAK" "The certificate's key or signature is too weak",
        "Its key is too short or its signature made with a method that is no longer safe. Clients of today refuse it.",
        ["Have it made with ECDSA P-256 or RSA of 2048 bits or more, signed with SHA-256"],
        "RFC 8301; CA/Browser Forum Baseline Requirements section 6.1.5";
    PASSWORD_CLEAR "OUTSIDE-PASSWORD-CLEAR" "Passwords are taken in the clear",
        "Before TLS has begun the server offers sign-ins that send the password as it is. A client that is set up that way gives the password to everybody on the way, and nobody notices.",
        ["Let passwords be taken over TLS only: Set-ImapSettings -LoginType SecureLogin; Set-PopSettings -LoginType SecureLogin; BasicAuthRequireTLS for receive connectors", "Restart the service"],
        "RFC 8314 section 3; RFC 9051 section 6.2.3; RFC 4954 section 4";
    NO_SIGN_IN "OUTSIDE-NO-SIGN-IN" "Nobody can sign in",
        "Although TLS stands, the server offers no way to sign in. People cannot read or send their mail here.",
        ["Allow a kind of sign-in for this service: BasicAuthTLS for connectors, LoginType for IMAP and POP3", "See that this is the port meant for clients: mail between servers comes to port 25"],
        "RFC 4954; RFC 9051 section 6.2.3";
    SIGN_IN "OUTSIDE-SIGN-IN" "The sign-in was refused",
        "The server took the name and the password and refused them. Its words are in the evidence; only where it says so is it the password.",
        ["Try the same account at another service of the same organisation", "On the server: read the log of the service for this account and time"],
        "RFC 5530; RFC 4954 section 6";
    OPEN_RELAY "OUTSIDE-OPEN-RELAY" "The server takes mail from everybody to everybody",
        "Without a sign-in it accepted a recipient of a domain that is not its own, from a sender that is not its own. Spam will be sent through it, and its address gets onto block lists.",
        ["Take the right to relay from anonymous senders: Get-ReceiveConnector | Get-ADPermission -User 'NT AUTHORITY\\ANONYMOUS LOGON' (ms-Exch-SMTP-Accept-Any-Recipient)", "Limit RemoteIPRanges of connectors that may relay"],
        "RFC 5321 section 7.8";
    HTTP_ERROR "OUTSIDE-HTTP-ERROR" "The web server answers with an error",
        "The port, TLS and certificate are well, but the server answers with an error of its own. Often the front end is up and what stands behind it is not.",
        ["Look at the log of the web server at this time", "Ask the server behind directly, without the load balancer"],
        "RFC 9110 section 15.6";
    MTA_STS_SYNTAX "OUTSIDE-MTA-STS-SYNTAX" "The MTA-STS record or policy cannot be read",
        "The domain announces a policy for TLS between servers, but the record or the policy's file is not written as the standard has it. Others go on as if there were none, or keep to the policy of before.",
        ["Write the record as v=STSv1; id=NUMBER and the file with version, mode, mx and max_age, a line each"],
        "RFC 8461 section 3";
    MTA_STS_FETCH "OUTSIDE-MTA-STS-FETCH" "The MTA-STS policy cannot be fetched",
        "The record in the DNS announces a policy, but it cannot be fetched from the web server that has to hold it, by HTTPS with a valid certificate. Others go on as if there were none.",
        ["See that https://mta-sts.DOMAIN/.well-known/mta-sts.txt answers with status 200, without a redirect, with a certificate for mta-sts.DOMAIN"],
        "RFC 8461 section 3.3";
    MTA_STS_MISMATCH "OUTSIDE-MTA-STS-MISMATCH" "The MTA-STS policy does not name a server of the MX records",
        "A mail server that the MX records name is not in the policy. Under the mode enforce, senders that keep to MTA-STS do not deliver there.",
        ["Add the server to the policy (mx: NAME) and change the id of the record in the DNS"],
        "RFC 8461 section 4.1";
    MTA_STS_BROKEN "OUTSIDE-MTA-STS-BROKEN" "The server does not keep what the MTA-STS policy promises",
        "The policy promises TLS with a valid certificate at each MX, and this server does not have it. Under the mode enforce, senders that keep to MTA-STS do not deliver.",
        ["Bind a valid certificate for the name of the MX, or set the policy's mode to testing until then"],
        "RFC 8461 section 4.2";
    DANE_MISMATCH "OUTSIDE-DANE-MISMATCH" "The certificate does not fit the TLSA record",
        "The domain promises by DNSSEC which certificate or key its server has (DANE), and the server shows another. Senders that keep to DANE do not deliver. It happens when a certificate is renewed with a new key and the record is not.",
        ["Publish a TLSA record for the new key beside the old one, wait for its time to live, then bind the certificate", "TLSA 3 1 1 stays true for as long as the key is kept"],
        "RFC 7672 section 3; RFC 6698";
    DANE_INSECURE "OUTSIDE-DANE-INSECURE" "TLSA records without DNSSEC have no effect",
        "There are TLSA records, but no chain of signatures leads from the root to them: the zone is not signed, or the zone above has no DS record of it. Senders ignore the records then.",
        ["Sign the zone, and give the registrar its DS record", "See where the chain ends: delv _25._tcp.HOST TLSA"],
        "RFC 7672 section 2.1; RFC 4035 section 5.2";
    DANE_UNUSABLE "OUTSIDE-DANE-UNUSABLE" "No sender can use the TLSA records",
        "The TLSA records are proved, but each is of a kind that is not used between mail servers (usage 0 and 1), or has a selector or a matching type that nobody knows. Senders go on with TLS that proves nothing.",
        ["Publish TLSA 3 1 1 with the SHA-256 of the server's public key, or 2 1 1 with that of its authority"],
        "RFC 7672 section 3.1; RFC 7671 section 5";
    DNSSEC_BOGUS "OUTSIDE-DNSSEC-BOGUS" "DNSSEC is broken: whoever checks gets no answer",
        "The zone above says that this one is signed, and a signature or key on the way is missing, has expired or does not fit. Name servers that check DNSSEC answer SERVFAIL: for a part of the world the domain is gone, and mail to it waits and comes back; for those who do not check, all is well.",
        ["Where a signature has expired: see why the zone is not signed anew (the signer stopped, its clock, a secondary that has an old copy), and sign it", "Where keys do not fit the DS record: give the registrar the DS record of the key in use, or take the old one away until then", "Ask again: delv +rtrace NAME TYPE"],
        "RFC 4035 section 5; RFC 6840";
    SPF_MISSING "OUTSIDE-SPF-MISSING" "The domain has no SPF record",
        "Nothing says which servers may send in the domain's name. Large providers take less of its mail, and others can send in its name more easily.",
        ["Add a TXT record such as v=spf1 mx -all, with everything that sends for the domain"],
        "RFC 7208 section 4.5";
    SPF_INVALID "OUTSIDE-SPF-INVALID" "The SPF record cannot be used",
        "There are several records, one has a mistake, or it takes more than ten further questions. The result is permerror: receivers treat the mail as if there were no SPF, or refuse it.",
        ["Keep one record only, and at most ten of include, a, mx, ptr, exists and redirect, those of included records counted too"],
        "RFC 7208 section 4.5 and 4.6.4";
    SPF_OPEN "OUTSIDE-SPF-OPEN" "The SPF record lets everybody send",
        "The record ends in +all: every server in the world may send in the domain's name.",
        ["End the record in -all, or ~all while you find out who sends"],
        "RFC 7208 section 5.1";
    DKIM_KEY "OUTSIDE-DKIM-KEY" "The DKIM key is not there or cannot be used",
        "The record of the selector is missing, has been withdrawn (an empty p=), or its key is too short or not readable. Signatures made with it fail everywhere.",
        ["Publish the record of the selector that the server signs with: Get-DkimSigningConfig", "Use RSA of 2048 bits, or Ed25519 beside it"],
        "RFC 6376 section 3.6.1; RFC 8301";
    DMARC_MISSING "OUTSIDE-DMARC-MISSING" "The domain has no DMARC record",
        "Nothing says what is to be done with mail in the domain's name that is not proved, and nobody reports it. Large providers want one from those who send much.",
        ["Add _dmarc.DOMAIN TXT v=DMARC1; p=none; rua=mailto:…, read the reports, then go to quarantine or reject"],
        "RFC 7489 section 6.3";
    DMARC_INVALID "OUTSIDE-DMARC-INVALID" "The DMARC record cannot be used",
        "There are several records or one has a mistake: receivers go on as if there were none.",
        ["Keep one record only, beginning with v=DMARC1; and then p="],
        "RFC 7489 section 6.3 and 6.6.3";
    TLSRPT_INVALID "OUTSIDE-TLSRPT-INVALID" "The record for TLS reports cannot be used",
        "The record at _smtp._tls is not written as the standard has it, so nobody reports failed TLS to the domain.",
        ["Write it as v=TLSRPTv1; rua=mailto:… or https:…"],
        "RFC 8460 section 3";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_unique_and_found() {
        let codes: BTreeSet<&str> = ALL.iter().map(|c| c.code).collect();
        assert_eq!(codes.len(), ALL.len());
        for cause in ALL {
            assert!(cause.code.starts_with("OUTSIDE-"), "{}", cause.code);
            assert!(!cause.remedy.is_empty() && cause.meaning.len() > 60, "{}", cause.code);
            assert_eq!(find(&cause.code.to_lowercase()), Some(*cause));
        }
        assert_eq!(find("OUTSIDE-NOTHING"), None);
    }
}
