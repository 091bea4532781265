//! The seam where others look at messages on their way in: mail authentication, milters, signing; later rules, journaling
//! and moderation.
//!
//! An [`Agent`] is asked first whether it wants a message at all. Where none does, the message streams to the store as
//! it comes, and agents cost nothing. Where one does, the message becomes a [`Draft`], and the agents get it one after
//! the other, in the order of [`Parts::agents`](crate::Parts), each after the changes of those before. The first
//! verdict that ends the message ends it; `Junk` and `Quarantine` stay with it.

use crate::draft::Draft;
use std::net::SocketAddr;
use waypost_base::AccountId;
use waypost_base::id::Correlation;
use waypost_smtp::{MailParams, Mailbox, Reply};

/// Who sends what to whom, as far as it is known. Owned, so that an agent may keep it over an await or for ever.
#[derive(Clone, Debug)]
pub struct About {
    pub session: Correlation,
    /// `{session}-{number}`: names the message in Received, in the reply and in logs. Empty before MAIL.
    pub id: String,
    pub peer: SocketAddr,
    pub local: SocketAddr,
    /// Our name.
    pub host: String,
    /// As the peer called itself; empty before EHLO.
    pub helo: String,
    /// `TLSv1.3 TLS_AES_256_GCM_SHA384`
    pub tls: Option<String>,
    /// The receive connector's name.
    pub connector: String,
    /// The account that signed in, and its address.
    pub account: Option<(AccountId, String)>,
    /// How it signed in: `PLAIN`, `SCRAM-SHA-256`; empty where it did not.
    pub mechanism: &'static str,
    /// The connector takes the peer for a server of ours: who it says it is, is not looked at.
    pub trusted: bool,
    /// It came by a submission listener, or from somebody who signed in.
    pub submission: bool,
    /// The envelope's sender; `None` is the null sender. Meaningful from MAIL on.
    pub from: Option<Mailbox>,
    pub params: MailParams,
    /// As accepted so far.
    pub recipients: Vec<Mailbox>,
    /// Some of them are not on this server.
    pub has_remote: bool,
    pub now: waypost_base::Timestamp,
}

impl About {
    /// Nobody vouches for it: what mail authentication is for. That it came by a submission listener proves nothing: a
    /// connector may take mail from anybody there.
    pub fn is_foreign(&self) -> bool {
        !self.trusted && self.account.is_none()
    }
}

/// What an agent says about a message, or about a step on the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// Goes to the junk folder of local accounts.
    Junk {
        why: String,
    },
    /// Refused for good with this reply (5yz).
    Reject(Reply),
    /// Put off with this reply (4yz).
    Defer(Reply),
    /// Taken (250) and thrown away.
    Discard {
        why: String,
    },
    /// Taken, and kept where an administrator decides: as junk until there is such a place.
    Quarantine {
        why: String,
    },
}

impl Verdict {
    /// The message's way ends here.
    pub const fn ends(&self) -> bool {
        matches!(self, Verdict::Reject(_) | Verdict::Defer(_) | Verdict::Discard { .. })
    }
}

/// How early an agent wants to be asked. Those who only want whole messages cost nothing before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    pub connect: bool,
    pub mail: bool,
    pub rcpt: bool,
}

/// Looks at messages. What takes long must have a bound of its own: the peer waits. Faults are the agent's to settle,
/// as its administrator wants it: pass, or defer.
#[async_trait::async_trait]
pub trait Agent: Send + Sync {
    /// As it stands in tracking and in headers.
    fn name(&self) -> &'static str;

    /// Which of the steps before the message it wants to be asked at.
    fn stages(&self) -> Stages {
        Stages::default()
    }

    /// Whether it wants the message itself. All recipients are known.
    fn wants(&self, about: &About) -> bool;

    /// A connection, before the greeting. Only `Reject` and `Defer` mean something here and at the next two.
    async fn connect(&self, _about: &About) -> Verdict {
        Verdict::Pass
    }

    /// MAIL, otherwise accepted.
    async fn mail(&self, _about: &About) -> Verdict {
        Verdict::Pass
    }

    /// RCPT, otherwise accepted; not yet among `about.recipients`.
    async fn rcpt(&self, _about: &About, _to: &Mailbox) -> Verdict {
        Verdict::Pass
    }

    /// The message is whole. Changes go into the draft.
    async fn message(&self, about: &About, draft: &mut Draft) -> Verdict;

    /// A report of ours goes to somebody elsewhere. Gives fields to stand above it, with their line ends.
    fn vouch(&self, _report: &[u8], _now: waypost_base::Timestamp) -> String {
        String::new()
    }

    /// The transaction ended without a message (RSET, a new MAIL). Only told to agents that have stages.
    fn reset(&self, _session: Correlation) {}

    /// The connection ended. Only told to agents that have stages.
    fn disconnect(&self, _session: Correlation) {}
}
