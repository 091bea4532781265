//! The reasons that legs of POP3 sessions name.

use waypost_base::explain::Cause;

pub(super) const IN_USE: Cause = Cause {
    code: "POP-INUSE",
    meaning: "another POP3 session has the mailbox",
    remedy: "end the other session, or wait until it is idle for too long",
    reference: "RFC 1939 §3, RFC 2449 §8.1.1",
};

pub(super) const DROP_UNAVAILABLE: Cause = Cause {
    code: "POP-NODROP",
    meaning: "the mailbox could not be opened",
    remedy: "look at the store's health; the text names what failed",
    reference: "RFC 3206 §4",
};

pub(super) const MESSAGE_UNAVAILABLE: Cause = Cause {
    code: "POP-NOMESSAGE",
    meaning: "a message could not be read from the store",
    remedy: "look at the store's health, and at the list of damaged messages",
    reference: "RFC 3206 §4",
};

pub(super) const NOT_REMOVED: Cause = Cause {
    code: "POP-NOTREMOVED",
    meaning: "messages that were marked deleted are still there, because the store did not commit",
    remedy: "look at the store's health; the client will fetch them again",
    reference: "RFC 1939 §6",
};

pub(super) const TLS_FAILED: Cause = Cause {
    code: "POP-TLS",
    meaning: "TLS was asked for and the handshake failed",
    remedy: "compare what the client accepts with the certificate that is bound to POP3",
    reference: "RFC 2595 §4",
};
