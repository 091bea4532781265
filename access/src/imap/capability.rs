//! CAPABILITY (RFC 9051 §6.1.1): what is offered, in this state and on this channel. Only what works is named.

use super::outcome::{Done, Outcome};
use super::session::Session;
use waypost_imap::response::Responder;
use waypost_sasl::Mechanism;

/// Offered in every state, besides what depends on settings: many clients ask once, before they sign in, and take it for
/// good. LITERAL+ takes the place of LITERAL- after sign-in: a server must not offer both (RFC 7888 §6), and before it
/// nobody should send more than 4 KiB unasked.
const ALWAYS: &str = "IMAP4rev2 IMAP4rev1 SASL-IR ID ENABLE IDLE NAMESPACE UIDPLUS MOVE UNSELECT CHILDREN \
ESEARCH SEARCHRES WITHIN CONDSTORE QRESYNC LIST-EXTENDED LIST-STATUS SPECIAL-USE CREATE-SPECIAL-USE STATUS=SIZE SORT \
SORT=DISPLAY ESORT THREAD=REFERENCES THREAD=ORDEREDSUBJECT MULTIAPPEND BINARY QUOTA QUOTA=RES-STORAGE \
QUOTA=RES-MESSAGE OBJECTID SAVEDATE PREVIEW UTF8=ACCEPT";

impl Session {
    /// The names, joined by spaces.
    pub(crate) fn capabilities(&self) -> String {
        let settings = self.settings();
        if self.login.is_some() {
            let mut names = format!("{ALWAYS} LITERAL+ APPENDLIMIT={}", settings.append_max);
            if settings.compress && !self.wire.deflating() {
                names.push_str(" COMPRESS=DEFLATE");
            }
            return names;
        }
        let mut names = format!("{ALWAYS} LITERAL-");
        if self.tls.is_none() && self.upgrade.is_some() {
            names.push_str(" STARTTLS");
        }
        let Some(caller) = &self.caller else { return names };
        if !caller.passwords_allowed() {
            names.push_str(" LOGINDISABLED");
        }
        for mechanism in caller.offered() {
            // LOGIN as a SASL mechanism is an SMTP habit; IMAP has its own command for it.
            if mechanism != Mechanism::Login {
                names.push_str(" AUTH=");
                names.push_str(mechanism.name());
            }
        }
        names
    }

    pub(crate) fn capability(&mut self) -> Outcome {
        let names = self.capabilities();
        self.reply().capability(&names);
        Ok(Done::text("Capabilities listed"))
    }

    /// A writer of responses into the output, in the session's encoding.
    pub(crate) fn reply(&mut self) -> Responder<'_> {
        Responder::new(&mut self.wire.out, self.enabled.utf8())
    }
}
