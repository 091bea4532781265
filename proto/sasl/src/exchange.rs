//! The server's side of an exchange: steps out, answers in.
//!
//! Laws: nothing is asked after the exchange is over; a [`Step::Done`] comes only after an [`Answer::Accepted`]; every
//! path ends in `Done` or `Failed`, and from then on every call says `Failed` again.

use crate::binding::Bindings;
use crate::limits::{MESSAGE_BYTES_MAX, NONCE_RANDOM_BYTES, SCRAM_ROUNDS};
use crate::login::Login;
use crate::mechanism::Mechanism;
use crate::plain::Plain;
use crate::scram::{Hash, ScramKeys, ScramServer};
use crate::secret::Secret;
use waypost_base::AccountId;

/// What the exchange is handed, since it reads neither clock nor dice nor socket.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What the TLS channel under the session can be recognised by.
    pub bindings: Bindings,
    /// Whether the session offered a -PLUS mechanism to this client: a client that says it could bind but was not
    /// offered to (`y`) has then been lied to (RFC 5802 §6).
    pub plus_offered: bool,
    /// Fresh random bytes.
    pub nonce: [u8; NONCE_RANDOM_BYTES],
    /// A secret that stays the same over restarts, from which salts for unknown users are made, so that they cannot be
    /// told from real ones.
    pub disguise: [u8; 32],
    /// Rounds shown for unknown users: what the directory uses for new keys.
    pub rounds: u32,
}

impl Setup {
    pub fn new(bindings: Bindings, nonce: [u8; NONCE_RANDOM_BYTES], disguise: [u8; 32]) -> Setup {
        let plus_offered = !bindings.is_empty();
        Setup { bindings, plus_offered, nonce, disguise, rounds: SCRAM_ROUNDS }
    }
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this (base64 is the protocol's business) and hand in the client's response.
    Challenge(Vec<u8>),
    /// Ask the directory and hand in its answer.
    Ask(Question),
    Done(Identity),
    Failed(Failure),
}

/// What only the directory knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Is this the password (or an app password) of `authcid`, and may `authcid` act as `authzid`? Both names and the
    /// password are prepared as [`crate::prep`] says. Answer: `Accepted`, `Wrong`, `NotAllowed`, `Unavailable`.
    CheckPassword { authzid: Option<String>, authcid: String, password: Secret },
    /// The stored keys of `authcid`. Answer: `Keys`, or `Wrong` for unknown users and for users without such keys (the
    /// exchange then goes on with invented ones and fails at its end), or `Unavailable`. `NotAllowed` ends the
    /// exchange at once and tells the client that the user exists: give the keys instead and answer so to `Authorize`.
    ScramKeys { authcid: String, hash: Hash },
    /// `authcid` has proved itself; may it sign in, and act as `authzid`? Answer: `Accepted`, `NotAllowed`, `Unavailable`.
    Authorize { authzid: Option<String>, authcid: String },
}

/// What the directory says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Accepted(Identity),
    Wrong,
    NotAllowed(Why),
    /// We could not tell. The text is for the log.
    Unavailable(String),
    Keys(ScramKeys),
}

/// Whom the session serves from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub account: AccountId,
    /// Primary address, for logs and greetings.
    pub address: String,
    /// Who proved itself, where that was not the account's own main password: an app password's name, or the
    /// delegate who acts as this account.
    pub by: Option<String>,
}

/// Why good credentials are not enough.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// The account is switched off.
    Disabled,
    /// The account may not use this protocol.
    Protocol,
    /// The password has to be changed first.
    Expired,
    /// Too many failures; retry later.
    Locked,
    /// Too many sessions of this user at once.
    TooManySessions,
    /// The mechanism is not allowed on a channel that others can read: start TLS first.
    NeedsTls,
    /// The authenticated user may not act as the one that was asked for.
    Impersonation,
    /// Anything else, in words that the peer may see.
    Other(String),
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Why::Disabled => "the account is disabled",
            Why::Protocol => "the account may not use this protocol",
            Why::Expired => "the password has expired",
            Why::Locked => "too many failed attempts, try later",
            Why::TooManySessions => "too many sessions of this user",
            Why::NeedsTls => "start TLS first",
            Why::Impersonation => "may not act as that user",
            Why::Other(text) => text,
        })
    }
}

/// How an exchange fails. The kinds are never mixed up, and the session says each in its protocol's own way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Unknown user or wrong password; which of them is told to nobody.
    Wrong,
    /// The credentials are good, but policy says no.
    NotAllowed(Why),
    /// Ours; the client should retry. The text is for the log, never for the peer.
    Unavailable(String),
    /// The client broke the grammar of the mechanism (BAD, 501, -ERR).
    Malformed(&'static str),
    /// The channel is not the one that the client sees, or the client was told less than we offered: someone may sit
    /// in between. To the peer it is like `Wrong`; the log says more.
    Binding(&'static str),
}

/// The mechanism cannot be used on this channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOffered;

/// The server's side of one mechanism. [`Exchange`] guards the calls: sizes, order, and the end.
pub trait ServerMechanism: Send {
    /// The first call, with the initial response where the client sent one.
    fn begin(&mut self, initial: Option<&[u8]>) -> Step;
    /// The client's response to the last challenge.
    fn step(&mut self, response: &[u8]) -> Step;
    /// The answer to the last question.
    fn answer(&mut self, answer: Answer) -> Step;
}

/// What the exchange waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    Begin,
    Response,
    Answer,
    Nothing,
}

/// One sign-in attempt.
pub struct Exchange {
    mechanism: Box<dyn ServerMechanism>,
    waits: Waits,
}

impl Exchange {
    /// `NotOffered` where the mechanism needs a channel binding and there is none.
    pub fn start(mechanism: Mechanism, setup: Setup) -> Result<Exchange, NotOffered> {
        if mechanism.binds_channel() && setup.bindings.is_empty() {
            return Err(NotOffered);
        }
        Ok(Exchange::custom(match mechanism {
            Mechanism::Plain => Box::new(Plain),
            Mechanism::Login => Box::new(Login::default()),
            Mechanism::ScramSha256 => Box::new(ScramServer::new(Hash::Sha256, false, setup)),
            Mechanism::ScramSha256Plus => Box::new(ScramServer::new(Hash::Sha256, true, setup)),
        }))
    }

    /// An exchange by a mechanism from elsewhere.
    pub fn custom(mechanism: Box<dyn ServerMechanism>) -> Exchange {
        Exchange { mechanism, waits: Waits::Begin }
    }

    /// Begins, with the initial response where the client sent one (`=` on the wire is `Some(b"")`).
    pub fn begin(&mut self, initial: Option<&[u8]>) -> Step {
        if self.waits != Waits::Begin {
            return self.misused();
        }
        if initial.is_some_and(|i| i.len() > MESSAGE_BYTES_MAX) {
            return self.note(Step::Failed(Failure::Malformed("response too long")));
        }
        let step = self.mechanism.begin(initial);
        self.note(step)
    }

    /// Hands in the client's response to a challenge, decoded.
    pub fn step(&mut self, response: &[u8]) -> Step {
        if self.waits != Waits::Response {
            return self.misused();
        }
        if response.len() > MESSAGE_BYTES_MAX {
            return self.note(Step::Failed(Failure::Malformed("response too long")));
        }
        let step = self.mechanism.step(response);
        self.note(step)
    }

    /// Hands in the directory's answer to a question.
    pub fn answer(&mut self, answer: Answer) -> Step {
        if self.waits != Waits::Answer {
            return self.misused();
        }
        let step = self.mechanism.answer(answer);
        self.note(step)
    }

    fn note(&mut self, step: Step) -> Step {
        self.waits = match step {
            Step::Challenge(_) => Waits::Response,
            Step::Ask(_) => Waits::Answer,
            Step::Done(_) | Step::Failed(_) => Waits::Nothing,
        };
        step
    }

    fn misused(&mut self) -> Step {
        self.note(Step::Failed(Failure::Malformed("out of turn")))
    }
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("waits", &self.waits).finish_non_exhaustive()
    }
}

/// The end of mechanisms that ask the directory one question.
pub(crate) fn conclude(answer: Answer) -> Step {
    match answer {
        Answer::Accepted(identity) => Step::Done(identity),
        Answer::Wrong => Step::Failed(Failure::Wrong),
        Answer::NotAllowed(why) => Step::Failed(Failure::NotAllowed(why)),
        Answer::Unavailable(text) => Step::Failed(Failure::Unavailable(text)),
        Answer::Keys(_) => Step::Failed(Failure::Unavailable("keys in answer to another question".into())),
    }
}
