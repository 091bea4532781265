//! The server's side of an exchange: steps out, answers in.
//!
//! Laws: nothing is asked after the exchange is over; a [`Step::Done`] comes only after an [`Answer::Accepted`]; every
//! path ends in `Done` or `Failed`, and from then on every call says `Failed` again.

use crate::bearer::{Bearer, Dialect};
use crate::binding::Bindings;
use crate::external::External;
use crate::gss::{Gssapi, Spnego};
use crate::limits::{MESSAGE_BYTES_MAX, NONCE_RANDOM_BYTES, SCRAM_ROUNDS};
use crate::login::Login;
use crate::mechanism::Mechanism;
use crate::ntlm::Ntlm;
use crate::plain::Plain;
use crate::scram::{Hash, ScramKeys, ScramServer};
use crate::secret::Secret;
use std::sync::Arc;
use waypost_base::{AccountId, Timestamp};

/// What the exchange is handed, since it reads neither clock nor dice nor socket.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What the TLS channel under the session can be recognised by.
    pub bindings: Bindings,
    /// Whether the session offered a -PLUS mechanism to this client: a client that says it could bind but was not
    /// offered to (`y`) has then been lied to (RFC 5802 §6).
    pub plus_offered: bool,
    /// TLS stands under the session, so that no mechanism has to protect what follows.
    pub tls: bool,
    /// Whether the mechanisms of Windows have to be bound to the channel.
    pub protection: Protection,
    /// The certificate (DER) that the client has shown in TLS.
    pub certificate: Option<Arc<[u8]>>,
    /// Fresh random bytes.
    pub nonce: [u8; NONCE_RANDOM_BYTES],
    /// A secret that stays the same over restarts, from which salts for unknown users are made, so that they cannot be
    /// told from real ones.
    pub disguise: [u8; 32],
    /// Rounds shown for unknown users: what the directory uses for new keys.
    pub rounds: u32,
    /// The time, which NTLM puts into its challenge.
    pub now: Timestamp,
    /// Our name, which NTLM shows to the client.
    pub host: String,
    /// Where clients learn how to get a token (RFC 7628 §3.2.2): address of the provider's configuration, and scopes.
    pub openid: Option<OpenId>,
}

/// What a client is told that came with a token that is not good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenId {
    /// `https://…/.well-known/openid-configuration`
    pub configuration: String,
    /// Names, separated by spaces.
    pub scope: String,
}

/// Exchange's ExtendedProtectionPolicy: what becomes of channel bindings in GSSAPI, GSS-SPNEGO and NTLM under TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protection {
    /// Not looked at.
    #[default]
    None,
    /// Wrong ones are refused, absent ones are not.
    Allow,
    /// Wrong and absent ones are refused. Without TLS the mechanisms cannot be used.
    Require,
}

impl Setup {
    pub fn new(bindings: Bindings, nonce: [u8; NONCE_RANDOM_BYTES], disguise: [u8; 32]) -> Setup {
        let plus_offered = !bindings.is_empty();
        Setup {
            tls: plus_offered,
            bindings,
            plus_offered,
            protection: Protection::None,
            certificate: None,
            nonce,
            disguise,
            rounds: SCRAM_ROUNDS,
            now: Timestamp(0),
            host: String::new(),
            openid: None,
        }
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
    /// Something for the Kerberos library of *this* server: it holds the context, so this question never goes to another
    /// server. Answers: see [`GssAsk`].
    Gss(GssAsk),
    /// A Kerberos principal (`user@REALM`) has proved itself. Whose account is it, and may it act as `authzid`? Answer:
    /// `Accepted`, `NotAllowed`, `Unavailable`; `Wrong` is not an answer, since nothing was guessed.
    Principal { authzid: Option<String>, principal: String },
    /// Does this NTLMv2 response fit the user's key? Answer: `Ntlm` with the session base key, `Wrong` (also for unknown
    /// users), `NotAllowed`, `Unavailable`. Whether the user may sign in is asked by `Authorize` afterwards.
    Ntlm(NtlmAsk),
    /// Whose is this bearer token, and may they act as `authzid`? Answer: `Accepted`, `Wrong` (expired, forged, another
    /// audience), `NotAllowed`, `Unavailable` (the provider's keys cannot be had).
    Token { authzid: Option<String>, token: Secret },
    /// The client holds the key of this certificate (DER). Whose is it, and may they act as `authzid`? Answer: `Accepted`,
    /// `NotAllowed`, `Unavailable`.
    Certificate { authzid: Option<String>, der: Vec<u8> },
}

impl Question {
    /// Whether only this very process can answer it, since it holds what the question speaks of.
    pub fn is_local(&self) -> bool {
        matches!(self, Question::Gss(_))
    }
}

/// Number of a security context, unique to an exchange: its nonce.
pub type ContextId = [u8; NONCE_RANDOM_BYTES];

/// What is asked of the Kerberos library. Whoever answers forgets a context that was not asked for during a minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GssAsk {
    /// The client's token, the first of which makes the context. Answer: `Gss`, or `NotAllowed` (the client's side: its
    /// ticket is too old, its clock is off), `Unavailable` (ours: no key, no library), `Binding`, `Malformed`.
    Accept {
        context: ContextId,
        /// SPNEGO is expected, and not bare Kerberos.
        spnego: bool,
        token: Vec<u8>,
        /// What the channel is called, each with its prefix (`tls-server-end-point:` and the hash), where bindings are
        /// to be checked: any of these is right, another one is not.
        bindings: Vec<Vec<u8>>,
        /// A client that binds to nothing is refused.
        required: bool,
    },
    /// Protects a message for its integrity only. Answer: `Octets`.
    Wrap { context: ContextId, message: Vec<u8> },
    /// Undoes the client's protection. Answer: `Octets`, or `Malformed`.
    Unwrap { context: ContextId, message: Vec<u8> },
}

/// How far the library has come with a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GssReply {
    /// For the client, where there is something.
    pub token: Option<Vec<u8>>,
    /// The context stands; `None`: another token of the client has to come.
    pub done: Option<GssDone>,
}

/// A context that stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GssDone {
    /// `user@REALM`
    pub principal: String,
    /// The client asked for sealing or signing (GSS_C_CONF_FLAG, GSS_C_INTEG_FLAG).
    pub layer: bool,
    /// The client sent the right channel bindings (flag 0x800 of MIT); mere success does not say so.
    pub bound: bool,
}

/// What is to be checked of NTLM: `proof` must be HMAC-MD5 of the server's challenge and `blob` by the user's key
/// (MS-NLMP §3.3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NtlmAsk {
    /// As the client wrote it: its capitals count when the key is made.
    pub user: String,
    pub domain: String,
    pub challenge: [u8; 8],
    pub proof: [u8; 16],
    pub blob: Vec<u8>,
}

impl NtlmAsk {
    /// The name under which the account is looked for: `user` where it is an address or no domain is given, else
    /// `user@domain` where the domain looks like one of mail, else `user`.
    pub fn name(&self) -> String {
        if self.user.contains('@') || !self.domain.contains('.') {
            return self.user.clone();
        }
        format!("{}@{}", self.user, self.domain)
    }
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
    Gss(GssReply),
    /// Bytes that were wrapped or unwrapped.
    Octets(Vec<u8>),
    /// The session base key of NTLM: 16 bytes.
    Ntlm(Secret),
    /// The client is at the end of another TLS channel.
    Binding,
    /// The client's token cannot be read.
    Malformed,
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
    /// No account belongs to whoever proved themselves (a principal, a certificate, a token's subject).
    NoAccount,
    /// Nothing is kept of this account that the mechanism could be checked with; another one may do.
    Mechanism,
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
            Why::NoAccount => "no mailbox here belongs to that identity",
            Why::Mechanism => {
                "this mechanism cannot be used for this account; sign in with the password over TLS"
            }
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
    /// in between. Nothing is said of the password by it: the peer is told what it is.
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
        let protected = setup.protection != Protection::Require || !setup.bindings.is_empty();
        if (mechanism.binds_channel() && setup.bindings.is_empty())
            || (mechanism.may_bind_channel() && !protected)
            || (mechanism == Mechanism::External && setup.certificate.is_none())
        {
            return Err(NotOffered);
        }
        Ok(Exchange::custom(match mechanism {
            Mechanism::Plain => Box::new(Plain),
            Mechanism::Login => Box::new(Login::default()),
            Mechanism::ScramSha256 => Box::new(ScramServer::new(Hash::Sha256, false, setup)),
            Mechanism::ScramSha256Plus => Box::new(ScramServer::new(Hash::Sha256, true, setup)),
            Mechanism::ScramSha1 => Box::new(ScramServer::new(Hash::Sha1, false, setup)),
            Mechanism::ScramSha1Plus => Box::new(ScramServer::new(Hash::Sha1, true, setup)),
            Mechanism::Gssapi => Box::new(Gssapi::new(setup)),
            Mechanism::GssSpnego => Box::new(Spnego::new(setup)),
            Mechanism::Ntlm => Box::new(Ntlm::new(setup)),
            Mechanism::External => Box::new(External::new(setup)),
            Mechanism::OAuthBearer => Box::new(Bearer::new(Dialect::OAuthBearer, setup)),
            Mechanism::XOAuth2 => Box::new(Bearer::new(Dialect::XOAuth2, setup)),
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

/// The end of mechanisms that ask the directory one question, and how all fail.
pub(crate) fn conclude(answer: Answer) -> Step {
    match answer {
        Answer::Accepted(identity) => Step::Done(identity),
        other => Step::Failed(failure(other)),
    }
}

/// What an answer means that is not the one hoped for.
pub(crate) fn failure(answer: Answer) -> Failure {
    match answer {
        Answer::Wrong => Failure::Wrong,
        Answer::NotAllowed(why) => Failure::NotAllowed(why),
        Answer::Unavailable(text) => Failure::Unavailable(text),
        Answer::Binding => Failure::Binding("the client is at the end of another channel"),
        Answer::Malformed => Failure::Malformed("token that cannot be read"),
        Answer::Accepted(_) | Answer::Keys(_) | Answer::Gss(_) | Answer::Octets(_) | Answer::Ntlm(_) => {
            Failure::Unavailable("the answer does not fit the question".into())
        }
    }
}
