//! Why sending did not work, by codes that stay.

use waypost_base::explain::Cause;

pub(crate) const INSIDE: Cause = Cause {
    code: "SEND-INSIDE",
    meaning: "no server of the organisation can take the message now",
    remedy: "see Get-ExchangeServer, Get-ServerComponentState and Get-ServiceLeg for who should, and why it does not",
    reference: "docs/servers.md",
};
pub(crate) const DNS: Cause = Cause {
    code: "SEND-DNS",
    meaning: "the name servers gave no usable answer about the recipient's domain or its mail hosts",
    remedy: "look the domain's MX and addresses up by hand (dig MX, dig A); check this server's resolver",
    reference: "RFC 5321 §5.1",
};
pub(crate) const NO_MAIL: Cause = Cause {
    code: "SEND-NULLMX",
    meaning: "the domain publishes that it takes no mail",
    remedy: "correct the recipient's address",
    reference: "RFC 7505 §3",
};
pub(crate) const LOOP: Cause = Cause {
    code: "SEND-LOOP",
    meaning: "the way to the recipient leads back to this server, which does not know the recipient's domain",
    remedy: "make the domain an accepted domain here (New-AcceptedDomain), or correct its MX records",
    reference: "RFC 5321 §5.1",
};
pub(crate) const NO_ROUTE: Cause = Cause {
    code: "SEND-NOROUTE",
    meaning: "no enabled send connector has an address space that fits the recipient's domain",
    remedy: "add or enable a send connector: New-SendConnector -AddressSpaces \"*\"",
    reference: "docs/flow.md",
};
pub(crate) const CONNECT: Cause = Cause {
    code: "SEND-CONNECT",
    meaning: "no connection to the receiving server came about",
    remedy: "see whether its port answers from here (firewall, provider's block of port 25), and whether it is up",
    reference: "RFC 5321 §4.5.4.1",
};
pub(crate) const TIMEOUT: Cause = Cause {
    code: "SEND-TIMEOUT",
    meaning: "the receiving server did not answer in time",
    remedy: "tried again by itself; if it stays, ask its postmaster, or look for a firewall that inspects SMTP",
    reference: "RFC 5321 §4.5.3.2",
};
pub(crate) const LOST: Cause = Cause {
    code: "SEND-LOST",
    meaning: "the connection broke in the middle of the conversation",
    remedy: "tried again by itself; if it stays, compare with the receiving server's log at that time",
    reference: "RFC 5321 §4.5.4.1",
};
pub(crate) const TLS: Cause = Cause {
    code: "SEND-TLS",
    meaning: "TLS was required or wanted and did not come about",
    remedy: "look at the certificate's facts in the text; relax the connector's TLS settings only if you know the peer",
    reference: "RFC 3207 §4.1, RFC 7435",
};
pub(crate) const AUTH: Cause = Cause {
    code: "SEND-AUTH",
    meaning: "the smart host did not take our sign-in",
    remedy: "check the connector's user name and password (Set-SendConnector -AuthenticationCredential)",
    reference: "RFC 4954 §6",
};
pub(crate) const PUT_OFF: Cause = Cause {
    code: "SEND-DEFERRED",
    meaning: "the receiving server asked to try again later (4yz)",
    remedy: "tried again by itself; its words say why",
    reference: "RFC 5321 §4.2.1",
};
pub(crate) const REFUSED: Cause = Cause {
    code: "SEND-REFUSED",
    meaning: "the receiving server refused for good (5yz)",
    remedy: "its words say why; the sender gets a report",
    reference: "RFC 5321 §4.2.1",
};
pub(crate) const UNABLE: Cause = Cause {
    code: "SEND-UNABLE",
    meaning: "the receiving server lacks an extension that this message needs",
    remedy: "send it without international addresses or binary parts, or in a smaller size",
    reference: "RFC 6531 §3.2, RFC 3030, RFC 1870",
};
pub(crate) const IN_DOUBT: Cause = Cause {
    code: "SEND-IN-DOUBT",
    meaning: "the message was sent and the answer to it got lost: it is sent again, and may arrive twice",
    remedy: "none; the Message-ID tells the recipient's server that it is the same",
    reference: "RFC 5321 §4.5.3.2.6, RFC 1047",
};
