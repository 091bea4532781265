//! Why a rehearsal fails: the causes by name.

use crate::probe::Manner;
use waypost_base::explain::Cause;

const REFERENCE: &str = "docs/settings.md";

pub const LISTEN: Cause = Cause {
    code: "REHEARSAL-LISTEN",
    meaning: "A listener cannot be opened where the settings want it.",
    remedy: "Choose an address of this machine and a port that no other program has.",
    reference: REFERENCE,
};

pub const BUILD: Cause = Cause {
    code: "REHEARSAL-BUILD",
    meaning: "The services cannot be brought up with these settings.",
    remedy: "Look at the evidence: it names the part that cannot be made.",
    reference: REFERENCE,
};

pub const TLS: Cause = Cause {
    code: "REHEARSAL-TLS",
    meaning: "Clients would not get TLS: no certificate can be shown, or the handshake fails.",
    remedy: "Bind a certificate whose key belongs to it and can be read: Get-ExchangeCertificate shows what there is.",
    reference: REFERENCE,
};

pub const GREETING: Cause = Cause {
    code: "REHEARSAL-GREETING",
    meaning: "A service does not greet as its protocol wants it.",
    remedy: "Look at the evidence for what it said instead; a banner or limit may be wrong.",
    reference: REFERENCE,
};

pub const NO_WAY: Cause = Cause {
    code: "REHEARSAL-NOWAY",
    meaning: "Nobody could sign in: no way to do so is offered, not even under TLS.",
    remedy: "Allow at least one mechanism, and bind a certificate where passwords are taken over TLS only.",
    reference: REFERENCE,
};

pub const SIGN_IN: Cause = Cause {
    code: "REHEARSAL-SIGNIN",
    meaning: "A sign-in with the right password fails.",
    remedy: "Look at what the service said: unavailable means a part behind it, refused means a rule.",
    reference: REFERENCE,
};

pub const MAILBOX: Cause = Cause {
    code: "REHEARSAL-MAILBOX",
    meaning: "The sign-in works, but the mailbox cannot be used.",
    remedy: "Look at what the service said, and at the leg to the server that holds the mailbox.",
    reference: REFERENCE,
};

pub const SUBMIT: Cause = Cause {
    code: "REHEARSAL-SUBMIT",
    meaning: "A message would be refused that is taken with sound settings: a recipient of ours, a sender who has signed in.",
    remedy: "Look at what the service said: connectors, limits and the state of the hub decide it.",
    reference: REFERENCE,
};

pub const TIME: Cause = Cause {
    code: "REHEARSAL-TIMEOUT",
    meaning: "A service did not answer in the time that a rehearsal has.",
    remedy: "Look at the step that took so long; something behind it does not answer.",
    reference: REFERENCE,
};

/// How a rehearsal speaks to services.
pub static MANNER: Manner = Manner {
    name: "rehearsal.invalid",
    connect: GREETING,
    greeting: GREETING,
    tls: TLS,
    no_way: NO_WAY,
    sign_in: SIGN_IN,
    mailbox: MAILBOX,
    submit: SUBMIT,
    time: TIME,
};
