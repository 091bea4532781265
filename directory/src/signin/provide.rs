//! What signing in can be helped by: other directories that check passwords, providers of tokens, a Kerberos library.
//!
//! All of these are seams: `server` puts something behind them, by [`SignIn::provide`](super::SignIn::provide). Whatever
//! fails behind a seam is "we could not tell", never "wrong password".

use super::Answering;
use crate::model::Account;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use waypost_sasl::{GssAsk, NtlmAsk, OpenId, Secret, Why};

/// What becomes of a password that somebody else checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    Correct,
    Wrong,
    /// Good, but of no use: switched off there, expired, locked.
    NotAllowed(Why),
    /// We could not tell: why, with what it takes to mend it. For the log and for administrators.
    Unavailable(String),
}

pub type Checking<'a> = Pin<Box<dyn Future<Output = Checked> + Send + 'a>>;

/// Checks passwords elsewhere, such as by a simple bind at an LDAP server. [`super::SignIn`] bounds how many run at a time and how
/// long each takes ([`crate::limits::SOURCE_CHECKS_AT_ONCE`]); dropping the future gives up.
pub trait Source: Send + Sync + 'static {
    /// `name` is what the user typed, `account` whom it means. The password is prepared.
    fn check<'a>(&'a self, name: &'a str, account: &'a Account, password: &'a Secret) -> Checking<'a>;
}

/// What a token proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenProof {
    /// It is good; these are the names that its subject goes by, the best first: addresses, or names of accounts.
    Subject(Vec<String>),
    /// Expired, forged, or made for somebody else. The text is for the log.
    Wrong(String),
    /// Good, but without a scope that lets it in here.
    NotAllowed(Why),
    /// The provider's keys cannot be had.
    Unavailable(String),
}

/// Checks bearer tokens.
pub trait TokenVerifier: Send + Sync + 'static {
    fn verify<'a>(&'a self, token: &'a Secret) -> Pin<Box<dyn Future<Output = TokenProof> + Send + 'a>>;

    /// Where clients get a token.
    fn openid(&self) -> OpenId;
}

/// The Kerberos library of this machine, with its keytab.
pub trait Gss: Send + Sync + 'static {
    /// Whether tickets can be accepted now: there is a library, and a keytab with a key.
    fn ready(&self) -> bool;

    /// See [`GssAsk`] for the answers.
    fn answer<'a>(&'a self, ask: GssAsk) -> Answering<'a>;
}

/// Checks NTLM responses elsewhere, such as by a domain controller.
pub trait NtlmSource: Send + Sync + 'static {
    /// `Ntlm`, `Wrong`, `NotAllowed` or `Unavailable`.
    fn answer<'a>(&'a self, ask: &'a NtlmAsk) -> Answering<'a>;
}

/// Reads certificates of clients.
pub trait Certificates: Send + Sync + 'static {
    /// The names in a certificate: mail addresses and principal names. Only where it was issued by an authority
    /// that administrators named; empty where not. An error where the certificate may not be used at all: out of date, or not for
    /// clients.
    fn names(&self, der: &[u8]) -> Result<Vec<String>, Why>;
}

/// All that is behind the seams.
#[derive(Clone, Default)]
pub struct Providers {
    pub gss: Option<Arc<dyn Gss>>,
    pub tokens: Option<Arc<dyn TokenVerifier>>,
    /// `None` while [`ntlm_hashes`](Providers::ntlm_hashes): the directory's own hashes are asked.
    pub ntlm: Option<Arc<dyn NtlmSource>>,
    /// Keep NT hashes of passwords, and check NTLM by them. Whoever reads such a hash can sign in by NTLM.
    pub ntlm_hashes: bool,
    /// `None`: certificates are not looked at.
    pub certificates: Option<Arc<dyn Certificates>>,
    pub sources: Sources,
    /// Realm of Kerberos, in lower case, to the mail domain of its users.
    pub realms: BTreeMap<String, String>,
    /// Our name, for NTLM.
    pub host: String,
}

impl std::fmt::Debug for Providers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Providers")
            .field("gss", &self.gss.is_some())
            .field("tokens", &self.tokens.is_some())
            .field("ntlm", &(self.ntlm.is_some() || self.ntlm_hashes))
            .field("certificates", &self.certificates.is_some())
            .field("sources", &self.sources.named.len())
            .finish()
    }
}

/// Which source checks whose passwords. Who is not mentioned has a password of our own.
#[derive(Clone, Default)]
pub struct Sources {
    /// By name.
    pub named: BTreeMap<String, Arc<dyn Source>>,
    /// Address of an account, or domain, or `*`, in lower case, to the name of a source; `local` is ourselves.
    pub whose: BTreeMap<String, String>,
}

/// Who checks the password of an account.
pub(super) enum Checker<'a> {
    Ourselves,
    Elsewhere(&'a str, &'a Arc<dyn Source>),
    /// The settings name a source that is not there.
    Missing(&'a str),
}

impl Sources {
    /// Address first, then domain, then `*`.
    pub(super) fn checker(&self, account: &Account) -> Checker<'_> {
        let name = self
            .whose
            .get(account.primary.as_str())
            .or_else(|| self.whose.get(account.primary.domain()))
            .or_else(|| self.whose.get("*"));
        match name {
            None => Checker::Ourselves,
            Some(name) if name.eq_ignore_ascii_case("local") => Checker::Ourselves,
            Some(name) => {
                self.named.get(name).map_or(Checker::Missing(name), |s| Checker::Elsewhere(name, s))
            }
        }
    }
}
