//! Signing in: answers to the questions of `waypost-sasl`, for every protocol alike.
//!
//! Laws:
//! - Wrong credentials, a sign-in that is not allowed, and "we could not tell" are three answers and never mixed up. That
//!   somebody is not allowed is said only to those who have proved who they are.
//! - An unknown user costs as much time as a wrong password.
//! - Nobody is locked out by others' guesses: failures are counted per name *and* client network ([`throttle`]).
//! - A password that was good some minutes ago is good by a hash in memory ([`verified`]), so that clients which open
//!   many connections do not each cost 20 ms of a core.

mod authority;
mod throttle;
mod verified;

use crate::change::Directory;
use crate::credential::{Credential, CredentialKind, Overloaded, random, verify_app};
use crate::model::{Account, Protocol, Right};
use crate::snapshot::Snapshot;
pub use authority::{Answering, Authority};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
pub use throttle::Rules;
use throttle::{Throttle, Verdict};
use verified::Verified;
use waypost_base::Clock;
use waypost_base::metrics::{Counter, Figure, Kind};
use waypost_sasl::{Answer, Bindings, Hash, Identity, Question, ScramKeys, Secret, Setup, Why};

/// The circumstances of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asking {
    pub protocol: Protocol,
    /// Who is at the other end; the client itself where a front end told us so.
    pub peer: IpAddr,
}

/// Answers questions about sign-ins. One for the whole server, shared as `Arc<SignIn>`.
#[derive(Debug)]
pub struct SignIn {
    directory: Arc<Directory>,
    clock: Clock,
    throttle: Throttle,
    verified: Verified,
    pub counts: Counts,
}

/// Figures of the metrics page.
#[derive(Debug, Default)]
pub struct Counts {
    pub accepted: Counter,
    pub wrong: Counter,
    pub not_allowed: Counter,
    pub unavailable: Counter,
    /// Accepted because the password was good a moment ago.
    pub remembered: Counter,
    /// Delayed or refused because of too many guesses.
    pub throttled: Counter,
}

impl SignIn {
    pub fn new(directory: Arc<Directory>, clock: Clock, rules: Rules) -> SignIn {
        SignIn {
            directory,
            clock,
            throttle: Throttle::new(rules),
            verified: Verified::default(),
            counts: Counts::default(),
        }
    }

    /// What an exchange needs besides the client's messages. An error is ours (no random bytes): answer as unavailable.
    pub fn setup(&self, bindings: Bindings) -> Result<Setup, String> {
        let nonce = random().map_err(|e| e.to_string())?;
        Ok(Setup::new(bindings, nonce, self.directory.disguise()))
    }

    /// Answers a question. May wait for the password hash, or because of guesses; never longer than some seconds.
    pub async fn answer(&self, question: Question, asking: &Asking) -> Answer {
        let answer = match question {
            Question::CheckPassword { authzid, authcid, password } => {
                self.password(authzid.as_deref(), &authcid, password, asking).await
            }
            Question::ScramKeys { authcid, hash } => return self.scram_keys(&authcid, hash, asking).await,
            Question::Authorize { authzid, authcid } => {
                let now = self.directory.snapshot();
                match now.sign_in_account(&authcid) {
                    Some(account) => {
                        self.throttle.proved(&throttle_name(&now, &authcid), asking.peer);
                        self.authorize(&now, account, None, authzid.as_deref(), asking)
                    }
                    // It was there when its keys were asked for.
                    None => Answer::Wrong,
                }
            }
        };
        self.count(&answer);
        answer
    }

    /// LOGIN of IMAP, USER and PASS of POP3: name and password as the client sent them, unprepared.
    pub async fn check(&self, name: &str, password: &str, asking: &Asking) -> Answer {
        let question = Question::CheckPassword {
            authzid: None,
            authcid: waypost_sasl::prep::name(name),
            password: waypost_sasl::prep::password(password),
        };
        self.answer(question, asking).await
    }

    async fn password(
        &self,
        authzid: Option<&str>,
        authcid: &str,
        password: Secret,
        asking: &Asking,
    ) -> Answer {
        let now = self.directory.snapshot();
        let account = now.sign_in_account(authcid);
        let credentials = account.map(|a| now.credentials(a.id)).unwrap_or_default();
        let at = self.clock.now();
        if let Some(account) = account
            && let Some(known) = credentials.iter().find(|c| self.verified.knows(c, &password, at))
        {
            self.counts.remembered.one();
            return self.authorize(&now, account, Some(known), authzid, asking);
        }
        let name = throttle_name(&now, authcid);
        if !self.wait_turn(&name, asking).await {
            return Answer::Wrong;
        }
        let proved = match self.prove(credentials, &password).await {
            Ok(proved) => proved,
            Err(Overloaded) => {
                return Answer::Unavailable("too many sign-ins wait for the password hash".into());
            }
        };
        match (account, proved) {
            (Some(account), Some(credential)) => {
                self.throttle.proved(&name, asking.peer);
                self.verified.remember(credential, &password, self.clock.now());
                self.authorize(&now, account, Some(credential), authzid, asking)
            }
            _ => {
                self.throttle.failed(&name, asking.peer, self.clock.now());
                Answer::Wrong
            }
        }
    }

    /// Which credential the password fits. Costs one Argon2 hash for every wrong password, whoever is meant.
    async fn prove<'a>(
        &self,
        credentials: &'a [Credential],
        password: &Secret,
    ) -> Result<Option<&'a Credential>, Overloaded> {
        let fits = |c: &&Credential| matches!(&c.kind, CredentialKind::App { hash, .. } if verify_app(hash, password));
        if let Some(app) = credentials.iter().find(fits) {
            return Ok(Some(app));
        }
        for credential in credentials {
            if let CredentialKind::Main { argon2, .. } = &credential.kind {
                let fits = self.directory.hasher().verify(argon2.clone(), password.clone()).await?;
                return Ok(fits.then_some(credential));
            }
        }
        self.directory.hasher().pretend(password.clone()).await?;
        Ok(None)
    }

    async fn scram_keys(&self, authcid: &str, hash: Hash, asking: &Asking) -> Answer {
        let now = self.directory.snapshot();
        let name = throttle_name(&now, authcid);
        if !self.wait_turn(&name, asking).await {
            return Answer::Wrong;
        }
        // The proof is checked inside the exchange, and a failure there is not told to us: so this is an open guess
        // until `Authorize` follows.
        self.throttle.opened(&name, asking.peer, self.clock.now());
        let main =
            now.sign_in_account(authcid).and_then(|a| now.credentials(a.id).iter().find(|c| c.is_main()));
        let keys = main.and_then(|c| match &c.kind {
            CredentialKind::Main { scram: Some(text), .. } => ScramKeys::parse(text).ok(),
            _ => None,
        });
        keys.filter(|k| k.hash == hash).map_or(Answer::Wrong, Answer::Keys)
    }

    /// Waits as long as earlier failures ask for. False: too many, the answer is "wrong" whatever is sent.
    async fn wait_turn(&self, name: &str, asking: &Asking) -> bool {
        match self.throttle.verdict(name, asking.peer, self.clock.now()) {
            Verdict::Go => true,
            Verdict::Wait(millis) => {
                self.counts.throttled.one();
                tokio::time::sleep(Duration::from_millis(millis)).await;
                true
            }
            Verdict::Refuse(millis) => {
                self.counts.throttled.one();
                tokio::time::sleep(Duration::from_millis(millis)).await;
                false
            }
        }
    }

    /// Somebody has proved to be `account`: may they come in by this protocol, and as `authzid`?
    fn authorize(
        &self,
        now: &Snapshot,
        account: &Arc<Account>,
        by: Option<&Credential>,
        authzid: Option<&str>,
        asking: &Asking,
    ) -> Answer {
        let app = by.and_then(|c| match &c.kind {
            CredentialKind::App { name, protocols, .. } => Some((name, protocols)),
            CredentialKind::Main { .. } => None,
        });
        let app_allows = app.is_none_or(|(_, p)| p.is_empty() || p.contains(&asking.protocol));
        if let Err(why) = may_enter(account, asking.protocol) {
            return Answer::NotAllowed(why);
        }
        if !app_allows {
            return Answer::NotAllowed(Why::Protocol);
        }
        let wanted = authzid.map(str::trim).filter(|z| !z.is_empty());
        let target = match wanted {
            Some(name) => match now.sign_in_account(name) {
                Some(target) => target,
                None => return Answer::NotAllowed(Why::Impersonation),
            },
            None => account,
        };
        let mut by = app.map(|(name, _)| name.clone());
        if target.id != account.id {
            if !target.permits(account.id, Right::FullAccess) {
                return Answer::NotAllowed(Why::Impersonation);
            }
            if !target.enabled {
                return Answer::NotAllowed(Why::Disabled);
            }
            if !target.protocols.has(asking.protocol) {
                return Answer::NotAllowed(Why::Protocol);
            }
            by = Some(account.primary.to_string());
        }
        self.directory.note_sign_in(target.id, self.clock.now(), asking.protocol.name());
        Answer::Accepted(Identity { account: target.id, address: target.primary.to_string(), by })
    }

    /// For the metrics page.
    pub fn figures(&self) -> Vec<Figure> {
        let c = &self.counts;
        let figure = |name, help, counter: &Counter| Figure {
            name,
            help,
            kind: Kind::Counter,
            value: counter.value() as f64,
        };
        vec![
            figure("signin_accepted_total", "Sign-ins accepted.", &c.accepted),
            figure("signin_wrong_total", "Sign-ins with wrong credentials.", &c.wrong),
            figure(
                "signin_not_allowed_total",
                "Sign-ins with good credentials that policy refused.",
                &c.not_allowed,
            ),
            figure("signin_unavailable_total", "Sign-ins that could not be decided.", &c.unavailable),
            figure(
                "signin_remembered_total",
                "Sign-ins whose password was good a moment ago.",
                &c.remembered,
            ),
            figure(
                "signin_throttled_total",
                "Sign-ins delayed or refused after too many guesses.",
                &c.throttled,
            ),
        ]
    }

    fn count(&self, answer: &Answer) {
        match answer {
            Answer::Accepted(_) => self.counts.accepted.one(),
            Answer::Wrong => self.counts.wrong.one(),
            Answer::NotAllowed(_) => self.counts.not_allowed.one(),
            Answer::Unavailable(_) => self.counts.unavailable.one(),
            Answer::Keys(_) => {}
        }
    }
}

fn may_enter(account: &Account, protocol: Protocol) -> Result<(), Why> {
    if !account.enabled {
        return Err(Why::Disabled);
    }
    if !account.signs_in() {
        return Err(Why::Other("shared mailboxes, rooms and equipment have no sign-in of their own".into()));
    }
    if !account.protocols.has(protocol) {
        return Err(Why::Protocol);
    }
    Ok(())
}

/// All names of one account are throttled together; unknown names each for themselves.
fn throttle_name(now: &Snapshot, authcid: &str) -> String {
    match now.sign_in_account(authcid) {
        Some(account) => account.primary.to_string(),
        None => authcid.to_lowercase(),
    }
}

#[cfg(test)]
mod tests;
