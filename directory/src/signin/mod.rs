//! Signing in: answers to the questions of `waypost-sasl`, for every protocol alike.
//!
//! Laws:
//! - Wrong credentials, a sign-in that is not allowed, and "we could not tell" are three answers and never mixed up. That
//!   somebody is not allowed is said only to those who have proved who they are.
//! - An unknown user costs as much time as a wrong password.
//! - Nobody is locked out by others' guesses: failures are counted per name *and* client network, and a network from which
//!   the account has signed in lately is never refused ([`throttle`]).
//! - What somebody else has to tell us ([`Source`], [`TokenVerifier`]) and does not is "we could not tell".
//! - A password that was good some minutes ago is good by a hash in memory ([`verified`]), so that clients which open
//!   many connections do not each cost 20 ms of a core.

mod authority;
mod proved;
mod provide;
mod terms;
mod throttle;
mod verified;

use crate::change::Directory;
use crate::credential::{Credential, CredentialKind, Overloaded, random, verify_app};
use crate::error::ChangeError;
use crate::limits::{SOURCE_CHECKS_AT_ONCE, SOURCE_MILLIS};
use crate::model::{Account, Protocol, Right};
use crate::snapshot::Snapshot;
pub use authority::{Answering, Authority};
use provide::Checker;
pub use provide::{
    Certificates, Checked, Checking, Gss, NtlmSource, Providers, Source, Sources, TokenProof, TokenVerifier,
};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
pub use terms::{Line, LoginType, NotNow, Terms, is_loopback};
pub use throttle::Rules;
use throttle::{Throttle, Verdict};
use verified::{Known, Verified};
use waypost_base::metrics::{Counter, Figure, Kind};
use waypost_base::{AccountId, Clock};
use waypost_sasl::{Abilities, Answer, Bindings, Hash, Identity, Question, ScramKeys, Secret, Setup, Why};

/// The circumstances of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asking {
    pub protocol: Protocol,
    /// Who is at the other end; the client itself where a front end told us so.
    pub peer: IpAddr,
}

/// The accounts that were lent a password, and the directory in which they have it.
type Lent = (Arc<BTreeSet<AccountId>>, Arc<Snapshot>);

/// Answers questions about sign-ins. One for the whole server, shared as `Arc<SignIn>`.
#[derive(Debug)]
pub struct SignIn {
    directory: Arc<Directory>,
    clock: Clock,
    throttle: Throttle,
    verified: Verified,
    providers: Mutex<Arc<Providers>>,
    /// Checks by sources elsewhere that may run at a time.
    checks: tokio::sync::Semaphore,
    /// The directory with a password that only this one knows; see [`SignIn::lend`].
    lent: Mutex<Option<Lent>>,
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
            providers: Mutex::default(),
            checks: tokio::sync::Semaphore::new(SOURCE_CHECKS_AT_ONCE),
            lent: Mutex::default(),
            counts: Counts::default(),
        }
    }

    /// What is behind the seams from now on. Exchanges under way go on with what they began with.
    pub fn provide(&self, providers: Providers) {
        self.directory.keep_nt_hashes(providers.ntlm_hashes);
        *self.providers.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(providers);
    }

    /// What a password would be kept as, for [`lend`](SignIn::lend).
    pub async fn kind_of(&self, password: &str) -> Result<CredentialKind, ChangeError> {
        let nt = self.providers().ntlm_hashes;
        self.directory.hasher().main(waypost_sasl::prep::password(password), nt).await
    }

    /// Gives an account a password that is nowhere but in this value's memory, for a rehearsal: whoever else signs in
    /// elsewhere knows nothing of it. What it looks accounts up in is the directory as it was at this moment.
    pub fn lend(&self, account: AccountId, kind: CredentialKind) {
        self.lend_to(BTreeSet::from([account]), &kind);
    }

    /// The same for several accounts, which all have the same password; those of an earlier call have none any more.
    pub fn lend_to(&self, accounts: BTreeSet<AccountId>, kind: &CredentialKind) {
        let mut picture = Snapshot::clone(&self.directory.snapshot());
        let created = self.clock.now();
        for account in &accounts {
            let lent = Credential { id: u32::MAX, version: 1, kind: kind.clone(), created };
            picture.put_credential(*account, lent);
        }
        let lent = Some((Arc::new(accounts), Arc::new(picture)));
        *self.lent.lock().unwrap_or_else(PoisonError::into_inner) = lent;
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        let lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        lent.map_or_else(|| self.directory.snapshot(), |(_, picture)| picture)
    }

    /// Whether a question is about the account that was lent a password.
    pub fn has_lent(&self, question: &Question) -> bool {
        let lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((accounts, picture)) = lent else { return false };
        let (Question::CheckPassword { authcid, .. }
        | Question::ScramKeys { authcid, .. }
        | Question::Authorize { authcid, .. }) = question
        else {
            return false;
        };
        picture.sign_in_account(authcid).is_some_and(|a| accounts.contains(&a.id))
    }

    pub(crate) fn providers(&self) -> Arc<Providers> {
        self.providers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Which mechanisms can be answered for now.
    pub fn abilities(&self) -> Abilities {
        let providers = self.providers();
        Abilities {
            kerberos: providers.gss.as_ref().is_some_and(|gss| gss.ready()),
            ntlm: providers.ntlm.is_some() || providers.ntlm_hashes,
            tokens: providers.tokens.is_some(),
            certificates: providers.certificates.is_some(),
            scram_sha1: self.snapshot().all_have_scram1(),
        }
    }

    /// What an exchange needs besides the client's messages. An error is ours (no random bytes): answer as unavailable.
    pub fn setup(&self, bindings: Bindings) -> Result<Setup, String> {
        let nonce = random().map_err(|e| e.to_string())?;
        let providers = self.providers();
        let mut setup = Setup::new(bindings, nonce, self.directory.disguise());
        setup.now = self.clock.now();
        setup.host.clone_from(&providers.host);
        setup.openid = providers.tokens.as_ref().map(|tokens| tokens.openid());
        Ok(setup)
    }

    /// Answers a question. May wait for the password hash, for a server elsewhere, or because of guesses; never longer
    /// than some seconds.
    pub async fn answer(&self, question: Question, asking: &Asking) -> Answer {
        let answer = match question {
            Question::CheckPassword { authzid, authcid, password } => {
                self.password(authzid.as_deref(), &authcid, password, asking).await
            }
            Question::ScramKeys { authcid, hash } => self.scram_keys(&authcid, hash, asking).await,
            Question::Authorize { authzid, authcid } => {
                let now = self.snapshot();
                match now.sign_in_account(&authcid) {
                    Some(account) => {
                        let name = throttle_name(&now, &authcid);
                        self.throttle.proved(&name, asking.peer, self.clock.now());
                        self.authorize(&now, account, None, authzid.as_deref(), asking)
                    }
                    // It was there when its keys were asked for, or NTLM's source knows people that we do not.
                    None => Answer::NotAllowed(Why::NoAccount),
                }
            }
            Question::Gss(ask) => match self.providers().gss.clone() {
                Some(gss) => gss.answer(ask).await,
                None => Answer::Unavailable("Kerberos is not set up here".into()),
            },
            Question::Principal { authzid, principal } => {
                self.principal(authzid.as_deref(), &principal, asking)
            }
            Question::Ntlm(ask) => self.ntlm(&ask, asking).await,
            Question::Token { authzid, token } => self.token(authzid.as_deref(), &token, asking).await,
            Question::Certificate { authzid, der } => self.certificate(authzid.as_deref(), &der, asking),
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
        let now = self.snapshot();
        let account = now.sign_in_account(authcid);
        let credentials = account.map(|a| now.credentials(a.id)).unwrap_or_default();
        let at = self.clock.now();
        if let Some(account) = account
            && let Some(known) =
                credentials.iter().find(|c| self.verified.knows(&Known::of(c), &password, at))
        {
            self.counts.remembered.one();
            self.throttle.seen(&account.primary.to_string(), asking.peer, at);
            return self.authorize(&now, account, Some(known), authzid, asking);
        }
        let name = throttle_name(&now, authcid);
        if !self.wait_turn(&name, asking).await {
            return Answer::NotAllowed(Why::Locked);
        }
        let Some(_place) = self.throttle.enter(asking.peer) else {
            return Answer::Unavailable("too many sign-ins at once from that network".into());
        };
        let providers = self.providers();
        let elsewhere = match account.map(|account| (account, providers.sources.checker(account))) {
            Some((_, Checker::Missing(source))) => {
                return Answer::Unavailable(format!(
                    "the source {source:?} that checks the passwords of {name} is not set up"
                ));
            }
            Some((account, Checker::Elsewhere(source, checker))) => Some((account, source, checker)),
            Some((_, Checker::Ourselves)) | None => None,
        };
        let proved = match self.prove(credentials, &password, elsewhere.is_none()).await {
            Ok(proved) => proved,
            Err(Overloaded) => {
                return Answer::Unavailable("too many sign-ins wait for the password hash".into());
            }
        };
        let at = self.clock.now();
        if let (Some(account), Some(credential)) = (account, proved) {
            self.throttle.proved(&name, asking.peer, at);
            self.verified.remember(&Known::of(credential), &password, at);
            self.directory.refresh_main(account.id, credential, &password);
            return self.authorize(&now, account, Some(credential), authzid, asking);
        }
        if let Some((account, source, checker)) = elsewhere {
            let known = Known::elsewhere(account.id);
            if self.verified.knows(&known, &password, at) {
                self.counts.remembered.one();
                return self.authorize(&now, account, None, authzid, asking);
            }
            let checked = self.check_elsewhere(source, checker.as_ref(), authcid, account, &password).await;
            match checked {
                Checked::Wrong => {}
                Checked::Unavailable(text) => return Answer::Unavailable(text),
                Checked::NotAllowed(why) => return Answer::NotAllowed(why),
                Checked::Correct => {
                    let at = self.clock.now();
                    self.throttle.proved(&name, asking.peer, at);
                    self.verified.remember(&known, &password, at);
                    return self.authorize(&now, account, None, authzid, asking);
                }
            }
        }
        self.throttle.failed(&name, asking.peer, self.clock.now());
        Answer::Wrong
    }

    /// A source that is slow, dead or asked too much is one that could not tell.
    async fn check_elsewhere(
        &self,
        source: &str,
        checker: &dyn Source,
        name: &str,
        account: &Account,
        password: &Secret,
    ) -> Checked {
        let asked = async {
            match self.checks.acquire().await {
                Ok(_place) => checker.check(name, account, password).await,
                Err(_) => Checked::Unavailable("the server stops".into()),
            }
        };
        let most = Duration::from_millis(SOURCE_MILLIS);
        tokio::time::timeout(most, asked).await.unwrap_or_else(|_| {
            Checked::Unavailable(format!("{source} did not answer within {} seconds", SOURCE_MILLIS / 1000))
        })
    }

    /// Which credential the password fits; `main`: the account's own password is ours to check. Costs one Argon2 hash for every wrong password, whoever is meant.
    async fn prove<'a>(
        &self,
        credentials: &'a [Credential],
        password: &Secret,
        main: bool,
    ) -> Result<Option<&'a Credential>, Overloaded> {
        let fits = |c: &&Credential| matches!(&c.kind, CredentialKind::App { hash, .. } if verify_app(hash, password));
        if let Some(app) = credentials.iter().find(fits) {
            return Ok(Some(app));
        }
        if !main {
            return Ok(None);
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
        let now = self.snapshot();
        let name = throttle_name(&now, authcid);
        if !self.wait_turn(&name, asking).await {
            return Answer::NotAllowed(Why::Locked);
        }
        // The proof is checked inside the exchange, and a failure there is not told to us: so this is an open guess
        // until `Authorize` follows.
        self.throttle.opened(&name, asking.peer, self.clock.now());
        let Some(account) = now.sign_in_account(authcid) else { return Answer::Wrong };
        if !matches!(self.providers().sources.checker(account), Checker::Ourselves) {
            // The right password would look like a wrong one.
            return Answer::NotAllowed(Why::Mechanism);
        }
        let main = now.credentials(account.id).iter().find(|c| c.is_main());
        let keys = main.and_then(|c| c.kind.scram_keys(hash)).and_then(|text| ScramKeys::parse(text).ok());
        match keys.filter(|k| k.hash == hash) {
            Some(keys) => Answer::Keys(keys),
            // A password there is, but set before such keys were kept, or brought along as a hash.
            None if main.is_some() => Answer::NotAllowed(Why::Mechanism),
            None => Answer::Wrong,
        }
    }

    /// Waits as long as earlier failures ask for. False: too many, nothing is looked at for now.
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
            CredentialKind::App { name, protocols, .. } => Some((name, protocols.as_slice())),
            // Good for whatever its account may use.
            CredentialKind::Certificate { name, .. } => Some((name, [].as_slice())),
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
            // Not the end of a sign-in.
            Answer::Keys(_)
            | Answer::Gss(_)
            | Answer::Octets(_)
            | Answer::Ntlm(_)
            | Answer::Binding
            | Answer::Malformed => {}
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
