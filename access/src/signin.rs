//! Signing in, the same for IMAP and POP3 (and for the web later).
//!
//! [`Entrance`] stands for a protocol: its policy, and who is inside. [`Caller`] stands for a connection: what its channel
//! allows, and how often it has failed. The directory answers the questions ([`Authority`]); it also delays guesses.
//!
//! Laws: a password is never looked at on a channel that policy does not trust with it; wrong credentials, a sign-in
//! that is not allowed, and "we could not tell" stay three things; whoever is inside holds a [`Place`], which is given
//! back however the session ends.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use waypost_base::AccountId;
use waypost_base::explain::Cause;
use waypost_base::metrics::{Counter, Figure, Kind};
use waypost_directory::Protocol;
use waypost_directory::signin::{Asking, Line, NotNow, Terms, is_loopback};
use waypost_sasl::{
    Answer, Bindings, Exchange, Failure, Identity, Mechanism, Protection, Question, Step, Why, prep,
};
use waypost_trust::channel::{Channel, TlsFacts};

/// What an administrator may set of signing in, per protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub login_type: LoginType,
    /// Whether a channel that does not leave the machine counts as secure.
    pub loopback_is_secure: bool,
    /// Mechanisms that may be used at all.
    pub mechanisms: Vec<Mechanism>,
    /// Whether GSSAPI, GSS-SPNEGO and NTLM have to be bound to TLS: ExtendedProtectionPolicy.
    pub protection: Protection,
    /// Sessions that one account may have at once (MaxConnectionsPerUser). Exchange's 16 is what phones and programs
    /// run into; a session costs us a few KiB, so that the bound only has to stop accidents.
    pub sessions_per_user_max: u32,
    /// Failures on one connection after which it is closed.
    pub failures_max: u32,
    /// Wait before a failure is told, times the failures so far, up to four times. The directory adds its own delays for guesses.
    pub failure_delay: Duration,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            login_type: LoginType::SecureLogin,
            loopback_is_secure: false,
            mechanisms: Terms::usual(),
            protection: Protection::None,
            sessions_per_user_max: 10_000,
            failures_max: 5,
            failure_delay: Duration::from_millis(500),
        }
    }
}

pub use waypost_directory::signin::{Answering, Authority, LoginType};

impl Policy {
    fn terms(&self) -> Terms {
        Terms {
            login_type: self.login_type,
            loopback_is_secure: self.loopback_is_secure,
            mechanisms: self.mechanisms.clone(),
            protection: self.protection,
        }
    }
}

/// The way in by one protocol. One for all its sessions.
pub struct Entrance {
    protocol: Protocol,
    authority: Arc<dyn Authority>,
    policy: Mutex<Arc<Policy>>,
    inside: Arc<Mutex<BTreeMap<AccountId, u32>>>,
    pub counts: Counts,
}

/// How sign-ins ended.
#[derive(Debug, Default)]
pub struct Counts {
    pub accepted: Counter,
    pub wrong: Counter,
    pub not_allowed: Counter,
    pub unavailable: Counter,
    pub malformed: Counter,
    pub binding: Counter,
}

impl Entrance {
    pub fn new(protocol: Protocol, authority: Arc<dyn Authority>, policy: Policy) -> Arc<Entrance> {
        Arc::new(Entrance {
            protocol,
            authority,
            policy: Mutex::new(Arc::new(policy)),
            inside: Arc::default(),
            counts: Counts::default(),
        })
    }

    /// Takes effect for sign-ins from now on.
    pub fn set_policy(&self, policy: Policy) {
        *lock(&self.policy) = Arc::new(policy);
    }

    pub fn policy(&self) -> Arc<Policy> {
        lock(&self.policy).clone()
    }

    /// Somebody who calls on this channel.
    pub fn caller(self: &Arc<Entrance>, channel: &Channel) -> Caller {
        let mut caller = Caller {
            entrance: self.clone(),
            peer: channel.peer,
            line: Line {
                loopback: is_loopback(channel.peer.ip()) && is_loopback(channel.local.ip()),
                ..Line::default()
            },
            certificate: None,
            failures: 0,
        };
        if let Some(facts) = &channel.tls {
            caller.secured(facts);
        }
        caller
    }

    /// Sessions of this account by this protocol.
    pub fn sessions_of(&self, account: AccountId) -> u32 {
        lock(&self.inside).get(&account).copied().unwrap_or_default()
    }

    /// A place for a session that another server has handed over; `None` where the account has as many as it may have.
    pub fn seat(&self, account: AccountId) -> Option<Place> {
        let max = self.policy().sessions_per_user_max;
        self.enter(account, max)
    }

    fn enter(&self, account: AccountId, max: u32) -> Option<Place> {
        let mut inside = lock(&self.inside);
        let count = inside.entry(account).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Place { account, inside: self.inside.clone() })
    }

    /// Figures under names of the protocol: `imap_signin_accepted_total`.
    pub fn figures(&self) -> Vec<Figure> {
        let c = &self.counts;
        let names: [&'static str; 6] = match self.protocol {
            Protocol::Imap => [
                "imap_signin_accepted_total",
                "imap_signin_wrong_total",
                "imap_signin_not_allowed_total",
                "imap_signin_unavailable_total",
                "imap_signin_malformed_total",
                "imap_signin_binding_total",
            ],
            Protocol::Pop => [
                "pop3_signin_accepted_total",
                "pop3_signin_wrong_total",
                "pop3_signin_not_allowed_total",
                "pop3_signin_unavailable_total",
                "pop3_signin_malformed_total",
                "pop3_signin_binding_total",
            ],
            Protocol::Submission | Protocol::Web => return Vec::new(),
        };
        let values = [
            (&c.accepted, "Sign-ins accepted"),
            (&c.wrong, "Sign-ins with wrong credentials"),
            (&c.not_allowed, "Sign-ins refused by policy"),
            (&c.unavailable, "Sign-ins that failed by our fault"),
            (&c.malformed, "Sign-ins that broke the mechanism's grammar"),
            (&c.binding, "Sign-ins over a channel that the client does not see"),
        ];
        let figure = |(name, (counter, help)): (&'static str, (&Counter, &'static str))| Figure {
            name,
            help,
            kind: Kind::Counter,
            value: counter.value() as f64,
        };
        names.into_iter().zip(values).map(figure).collect()
    }
}

impl std::fmt::Debug for Entrance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entrance").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

/// A session's place among those of its account. Given back when dropped.
pub struct Place {
    account: AccountId,
    inside: Arc<Mutex<BTreeMap<AccountId, u32>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = lock(&self.inside);
        if let Some(count) = inside.get_mut(&self.account) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                inside.remove(&self.account);
            }
        }
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Place({})", self.account)
    }
}

/// A session that has signed in. Keep it as long as the session lasts.
#[derive(Debug)]
pub struct SignedIn {
    pub account: AccountId,
    /// Primary address of the account.
    pub address: String,
    /// Name of an app password, or address of the delegate, where that was it.
    pub by: Option<String>,
    /// `SCRAM-SHA-256-PLUS`, `PLAIN`…, or `LOGIN` for passwords in the protocol's own command.
    pub mechanism: &'static str,
    pub place: Place,
}

/// Why somebody did not get in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub failure: Failure,
    /// Enough failures: answer, then close.
    pub close: bool,
}

/// Why a mechanism cannot be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMechanism {
    /// Unknown, switched off, or not possible on this channel.
    Unknown,
    /// Start TLS first.
    NeedsTls,
}

/// The next thing to send in an exchange.
#[derive(Debug)]
pub enum Turn {
    /// Not yet in base64.
    Challenge(Vec<u8>),
    Over(Result<SignedIn, Refused>),
}

/// One connection that may sign in.
#[derive(Debug)]
pub struct Caller {
    entrance: Arc<Entrance>,
    peer: SocketAddr,
    line: Line,
    certificate: Option<Arc<[u8]>>,
    failures: u32,
}

impl Caller {
    /// TLS stands now.
    pub fn secured(&mut self, facts: &TlsFacts) {
        self.line.tls = true;
        self.line.bindings = Bindings { exporter: facts.exporter, end_point: facts.end_point.clone() };
        self.certificate.clone_from(&facts.client);
        self.line.certificate = self.certificate.is_some();
    }

    /// Whether passwords may be sent in the protocol's own command (LOGIN, USER and PASS). Where not, IMAP says LOGINDISABLED.
    pub fn passwords_allowed(&self) -> bool {
        self.entrance.policy().terms().passwords_allowed(&self.line)
    }

    /// The mechanisms to offer now, strongest first.
    pub fn offered(&self) -> Vec<Mechanism> {
        self.entrance.policy().terms().offered(&self.line, self.entrance.authority.abilities())
    }

    fn asking(&self) -> Asking {
        Asking { protocol: self.entrance.protocol, peer: self.peer.ip() }
    }

    /// Signs in by name and password of the protocol's own command.
    pub async fn password(&mut self, name: &str, password: &str) -> Result<SignedIn, Refused> {
        if !self.passwords_allowed() {
            return Err(self.refuse(Failure::NotAllowed(Why::NeedsTls)).await);
        }
        let question = Question::CheckPassword {
            authzid: None,
            authcid: prep::name(name),
            password: prep::password(password),
        };
        let answer = self.entrance.authority.answer(question, &self.asking()).await;
        let result = match answer {
            Answer::Accepted(identity) => Ok(identity),
            Answer::Wrong => Err(Failure::Wrong),
            Answer::NotAllowed(why) => Err(Failure::NotAllowed(why)),
            Answer::Unavailable(text) => Err(Failure::Unavailable(text)),
            _ => Err(Failure::Unavailable("the answer does not fit the question".into())),
        };
        self.conclude(result, Mechanism::Login.name()).await
    }

    /// Begins an exchange; go on with [`Conversation::begin`].
    pub fn begin(&mut self, mechanism: &[u8]) -> Result<Conversation<'_>, NoMechanism> {
        let policy = self.entrance.policy();
        let mechanism = Mechanism::parse(mechanism).ok_or(NoMechanism::Unknown)?;
        policy.terms().judge(mechanism, &self.line, self.entrance.authority.abilities()).map_err(
            |e| match e {
                NotNow::Never => NoMechanism::Unknown,
                NotNow::NeedsTls => NoMechanism::NeedsTls,
            },
        )?;
        let exchange = match self.entrance.authority.setup(self.line.bindings.clone()) {
            Ok(mut setup) => {
                setup.plus_offered = self.offered().iter().any(|m| m.binds_channel());
                setup.tls = self.line.tls;
                setup.protection = policy.protection;
                setup.certificate.clone_from(&self.certificate);
                Ok(Exchange::start(mechanism, setup).map_err(|_| NoMechanism::Unknown)?)
            }
            Err(text) => Err(text),
        };
        Ok(Conversation { caller: self, mechanism, exchange })
    }

    async fn conclude(
        &mut self,
        result: Result<Identity, Failure>,
        mechanism: &'static str,
    ) -> Result<SignedIn, Refused> {
        let identity = match result {
            Ok(identity) => identity,
            Err(failure) => return Err(self.refuse(failure).await),
        };
        let max = self.entrance.policy().sessions_per_user_max;
        match self.entrance.enter(identity.account, max) {
            Some(place) => {
                self.entrance.counts.accepted.one();
                self.failures = 0;
                Ok(SignedIn {
                    account: identity.account,
                    address: identity.address,
                    by: identity.by,
                    mechanism,
                    place,
                })
            }
            None => Err(self.refuse(Failure::NotAllowed(Why::TooManySessions)).await),
        }
    }

    /// Counts a failure and waits for it. Our own failures count for nothing and cost no wait.
    async fn refuse(&mut self, failure: Failure) -> Refused {
        let counts = &self.entrance.counts;
        match &failure {
            Failure::Wrong => counts.wrong.one(),
            Failure::NotAllowed(_) => counts.not_allowed.one(),
            Failure::Unavailable(_) => counts.unavailable.one(),
            Failure::Malformed(_) => counts.malformed.one(),
            Failure::Binding(_) => counts.binding.one(),
        }
        let policy = self.entrance.policy();
        if !matches!(failure, Failure::Unavailable(_)) {
            self.failures = self.failures.saturating_add(1);
        }
        if matches!(failure, Failure::Wrong | Failure::Binding(_)) {
            tokio::time::sleep(policy.failure_delay * self.failures.min(4)).await;
        }
        Refused { failure, close: self.failures >= policy.failures_max }
    }
}

/// An exchange under way.
#[derive(Debug)]
pub struct Conversation<'a> {
    caller: &'a mut Caller,
    mechanism: Mechanism,
    /// Or why we could not set one up.
    exchange: Result<Exchange, String>,
}

impl Conversation<'_> {
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// The first turn, with the decoded initial response where there was one.
    pub async fn begin(&mut self, initial: Option<&[u8]>) -> Turn {
        let step = match &mut self.exchange {
            Ok(exchange) => exchange.begin(initial),
            Err(text) => Step::Failed(Failure::Unavailable(text.clone())),
        };
        self.follow(step).await
    }

    /// The client's decoded response to a challenge.
    pub async fn respond(&mut self, response: &[u8]) -> Turn {
        let step = match &mut self.exchange {
            Ok(exchange) => exchange.step(response),
            Err(text) => Step::Failed(Failure::Unavailable(text.clone())),
        };
        self.follow(step).await
    }

    /// The client cancelled, which betrays nothing and guesses nothing: it may begin again as often as it likes.
    pub fn cancelled(&mut self) -> Refused {
        self.caller.entrance.counts.malformed.one();
        Refused { failure: Failure::Malformed("cancelled"), close: false }
    }

    /// The client sent something that is not base64: counts as a failure.
    pub async fn malformed(&mut self, why: &'static str) -> Refused {
        self.caller.refuse(Failure::Malformed(why)).await
    }

    async fn follow(&mut self, mut step: Step) -> Turn {
        loop {
            step = match (step, &mut self.exchange) {
                (Step::Challenge(challenge), _) => return Turn::Challenge(challenge),
                (Step::Ask(question), Ok(exchange)) => {
                    let asking = self.caller.asking();
                    exchange.answer(self.caller.entrance.authority.answer(question, &asking).await)
                }
                (Step::Ask(_), Err(text)) => Step::Failed(Failure::Unavailable(text.clone())),
                (Step::Done(identity), _) => {
                    return Turn::Over(self.caller.conclude(Ok(identity), self.mechanism.name()).await);
                }
                (Step::Failed(failure), _) => return Turn::Over(Err(self.caller.refuse(failure).await)),
            }
        }
    }
}

const WRONG: Cause = Cause {
    code: "SIGNIN-WRONG",
    meaning: "no such user, or not the password",
    remedy: "check the name and set the password anew; Get-Mailbox shows whether the account exists",
    reference: "RFC 5530 AUTHENTICATIONFAILED, RFC 3206 §4",
};
const NOT_ALLOWED: Cause = Cause {
    code: "SIGNIN-NOTALLOWED",
    meaning: "the credentials are good, but the account, the protocol or the channel is not allowed",
    remedy: "the text says what; Get-Mailbox and the protocol's settings show the switches",
    reference: "RFC 5530 AUTHORIZATIONFAILED, RFC 3206 §4",
};
const UNAVAILABLE: Cause = Cause {
    code: "SIGNIN-UNAVAILABLE",
    meaning: "we could not tell whether the credentials are good",
    remedy: "look at the directory and the store's health; the client's password is not at fault",
    reference: "RFC 5530 UNAVAILABLE, RFC 3206 §4",
};
const MALFORMED: Cause = Cause {
    code: "SIGNIN-MALFORMED",
    meaning: "the client broke the grammar of the mechanism, or cancelled",
    remedy: "a defect of the client, or something that alters what it sends",
    reference: "RFC 4422 §3",
};
const BINDING: Cause = Cause {
    code: "SIGNIN-BINDING",
    meaning: "client and server do not see the same TLS channel",
    remedy: "look for a proxy that ends TLS in between; without one, this is an attack",
    reference: "RFC 5802 §6, RFC 9266",
};

/// The reason to name on a leg, and whether trying again may help.
pub fn cause(failure: &Failure) -> (Cause, bool) {
    match failure {
        Failure::Wrong => (WRONG, false),
        Failure::NotAllowed(Why::Locked | Why::TooManySessions) => (NOT_ALLOWED, true),
        Failure::NotAllowed(_) => (NOT_ALLOWED, false),
        Failure::Unavailable(_) => (UNAVAILABLE, true),
        Failure::Malformed(_) => (MALFORMED, false),
        Failure::Binding(_) => (BINDING, false),
    }
}

/// A panic elsewhere must not lock everybody out; each of these maps is whole between statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
