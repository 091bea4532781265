//! Certificates that come by themselves: an account with an ACME authority (RFC 8555), orders, challenges, renewal.
//!
//! A certificate is ordered when there is none for the names of the settings, and again when a third of its life is left.
//! It is looked at and rehearsed like any other before clients are shown it; until then, and whenever anything fails, what
//! was bound stays bound. Challenges are answered only while an order is open: by HTTP on port 80 (RFC 8555 §8.3), or by
//! TLS on port 443 (RFC 8737). What the authority said is a finding, in the log and in `public/acme.json`.

use crate::listen;
use crate::machine;
use crate::place::write_secret;
use crate::tls::Publics;
use axum::extract::Path as UrlPath;
use axum::http::StatusCode;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Error, Identifier, NewAccount, NewOrder,
    Order, OrderStatus, RetryPolicy,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use waypost_admin::certificates::{bound, wanted_names};
use waypost_admin::settings::{Acme, AcmeChallenge, Author, Edit, Rehearse, Scope, Settings, SettingsStore};
use waypost_base::explain::Cause;
use waypost_base::{Clock, Timestamp};
use waypost_directory::Directory;
use waypost_trust::certificate::Facts;
use waypost_trust::public::check::{self, Around, Problem};
use waypost_trust::public::make::{self, Wish};
use waypost_trust::public::{Entry, KeyFile, Note, PublicService, PublicStore};
use waypost_trust::{KeyedCertificate, files};

/// How often it is looked whether something is due.
const LOOK: Duration = Duration::from_secs(60);
/// The first wait after a failure; each further one is twice as long. Authorities count failures by the hour.
const RETRY_MILLIS: i64 = 60 * 1000;
const RETRY_MILLIS_MAX: i64 = 12 * 60 * 60 * 1000;
/// For an order from its beginning to the certificate.
const ORDER_MAX: Duration = Duration::from_secs(300);
/// Challenges that may wait for an answer at a time.
const TOKENS_MAX: usize = 100;

const FAILED: Cause = Cause {
    code: "ACME-FAILED",
    meaning: "No certificate could be got from the ACME authority.",
    remedy: "See that every name of acme.names leads to this server from outside, on port 80 (Http01) or 443 (TlsAlpn01).",
    reference: "RFC 8555 §8",
};
const NO_LISTENER: Cause = Cause {
    code: "ACME-LISTENER",
    meaning: "The challenges of the ACME authority cannot be answered: the port is taken or not ours to take.",
    remedy: "Free the port, give the capability CAP_NET_BIND_SERVICE, or set acme.http_listeners or acme.tls_listeners.",
    reference: "RFC 8555 §8.3",
};
const REFUSED: Cause = Cause {
    code: "ACME-REFUSED-HERE",
    meaning: "A certificate came, and was not bound since it was found wanting.",
    remedy: "Look at it with Test-ExchangeCertificate.",
    reference: "EXCHANGE.md §6.3 A",
};

/// What the task works with.
pub struct Authority {
    pub publics: Publics,
    pub settings: Arc<SettingsStore>,
    pub directory: Arc<Directory>,
    /// `None` where nothing can be tried out.
    pub rehearse: Option<Arc<dyn Rehearse>>,
    pub data: PathBuf,
    pub clock: Clock,
}

/// How it stands, for commands and health; in `public/acme.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    pub names: Vec<String>,
    pub directory: String,
    pub thumbprint: Option<String>,
    pub last_success: Option<Timestamp>,
    pub last_attempt: Option<Timestamp>,
    pub next_attempt: Option<Timestamp>,
    pub failures: u32,
    /// What went wrong last, in the authority's words where they are its.
    pub error: Option<String>,
    /// The thumbprint of a certificate that is to have a successor though it is not due: it was revoked, or ends too soon.
    pub renew: Option<String>,
}

/// Whether a certificate was got from an authority by this module.
pub fn came_by_itself(data: &std::path::Path, thumbprint: &str) -> bool {
    is_ours(&PublicStore::of(data), thumbprint)
}

/// Has a successor of a certificate ordered at the next look, whenever that was to be.
pub fn renew(data: &std::path::Path, thumbprint: &str) -> io::Result<()> {
    let path = data.join("public/acme.json");
    let mut standing: Standing = serde_json::from_slice(&std::fs::read(&path)?).map_err(io::Error::other)?;
    standing.next_attempt = None;
    standing.renew = Some(thumbprint.to_owned());
    let text = serde_json::to_string_pretty(&standing).map_err(io::Error::other)?;
    files::write_public(&path, &text).map_err(io::Error::other)
}

/// Why there is no new certificate.
struct Fault {
    cause: Cause,
    text: String,
}

impl From<Error> for Fault {
    fn from(e: Error) -> Fault {
        let text = match &e {
            Error::Api(problem) => format!("the authority says: {}", said(problem)),
            other => other.to_string(),
        };
        Fault { cause: FAILED, text }
    }
}

fn failed(text: impl ToString) -> Fault {
    Fault { cause: FAILED, text: text.to_string() }
}

fn said(problem: &instant_acme::Problem) -> String {
    let kind = problem.r#type.as_deref().unwrap_or("about:blank");
    let mut text = format!("{} ({kind})", problem.detail.as_deref().unwrap_or("no detail"));
    for sub in problem.subproblems.iter().take(8) {
        text.push_str(&format!("; {sub}"));
    }
    text
}

impl Authority {
    /// Orders and renews until told to stop.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut changes = self.settings.subscribe();
        let mut before: Option<Acme> = None;
        loop {
            let settings = self.settings.current();
            if before.as_ref() != Some(&settings.acme) {
                // Somebody has changed something: what failed before may work now.
                let mut standing = self.standing();
                standing.next_attempt = None;
                standing.failures = 0;
                before = Some(settings.acme.clone());
                if settings.acme.enabled {
                    self.note(&standing);
                }
            }
            if settings.acme.enabled {
                let work = self.look(&settings);
                tokio::select! {
                    () = work => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
            } else {
                self.publics.set_extra("acme", None);
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                changed = changes.changed() => if changed.is_err() { return },
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    fn file(&self) -> PathBuf {
        self.data.join("public/acme.json")
    }

    fn standing(&self) -> Standing {
        let bytes = std::fs::read(self.file()).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    fn note(&self, standing: &Standing) {
        let text = serde_json::to_string_pretty(standing).unwrap_or_default();
        if let Err(e) = files::write_public(&self.file(), &text) {
            tracing::warn!(error = %e, "how it stands with ACME was not written down");
        }
    }

    /// Orders a certificate if one is due, and binds what is there and not bound.
    async fn look(&self, settings: &Settings) {
        let now = self.clock.now();
        let names = names(settings);
        let store = PublicStore::of(&self.data);
        let have = newest(&store, &settings.acme, &names);
        let mut standing = self.standing();
        if standing.next_attempt.is_some_and(|next| now < next) {
            return;
        }
        let asked = have.as_ref().is_some_and(|e| standing.renew.as_ref() == Some(&e.thumbprint));
        let due = asked || have.as_ref().and_then(|e| e.facts.as_ref()).is_none_or(|f| is_due(f, now));
        let unbound = have.as_ref().is_some_and(|e| !is_bound(settings, &e.thumbprint));
        if !due && !unbound {
            return;
        }
        standing.names.clone_from(&names);
        standing.directory.clone_from(&settings.acme.directory);
        standing.last_attempt = Some(now);
        let done = match have.filter(|_| !due) {
            Some(entry) => self.bind(settings, &entry.thumbprint).await.map(|()| entry.thumbprint),
            None => self.order(settings, &names).await,
        };
        match done {
            Ok(thumbprint) => {
                standing.thumbprint = Some(thumbprint);
                standing.last_success = Some(self.clock.now());
                standing.next_attempt = None;
                standing.failures = 0;
                standing.error = None;
                standing.renew = None;
                self.publics.set_extra("acme", None);
                self.clear_away(&store);
            }
            Err(fault) => {
                standing.failures = standing.failures.saturating_add(1);
                let wait = backoff(standing.failures);
                standing.next_attempt = Some(self.clock.now().plus_millis(wait));
                standing.error = Some(fault.text.clone());
                let text = format!("{} for {}: {}", settings.acme.directory, names.join(", "), fault.text);
                let problem = Problem { cause: fault.cause, text, refuses: false, source: "ACME".into() };
                self.publics.set_extra("acme", Some(problem));
            }
        }
        self.note(&standing);
    }

    /// From the account to the bound certificate. Gives its thumbprint.
    async fn order(&self, settings: &Settings, names: &[String]) -> Result<String, Fault> {
        let ordering = self.ordered(settings, names);
        let made = tokio::time::timeout(ORDER_MAX, ordering).await;
        let made = made.map_err(|_| failed(format!("no certificate within {} s", ORDER_MAX.as_secs())))??;
        let note = Note {
            friendly_name: format!("ACME {}", names.join(", ")),
            exportable: false,
            created: self.clock.now(),
            origin: origin(&settings.acme),
            names: names.to_vec(),
            ..Note::default()
        };
        let thumbprint = PublicStore::of(&self.data).add(&made, &note).map_err(failed)?;
        tracing::info!(
            thumbprint,
            names = names.join(", "),
            "a certificate came from {}",
            settings.acme.directory
        );
        self.bind(settings, &thumbprint).await?;
        Ok(thumbprint)
    }

    async fn ordered(&self, settings: &Settings, names: &[String]) -> Result<KeyedCertificate, Fault> {
        let account = self.account(&settings.acme).await?;
        let identifiers: Vec<Identifier> = names.iter().map(|n| Identifier::Dns(n.clone())).collect();
        let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
        let mut answers = Answers::open(&self.publics, &settings.acme).await?;
        let proved = prove(&mut order, &mut answers, &settings.acme, self.clock.now()).await;
        drop(answers);
        proved?;
        let wish = Wish { names: names.to_vec(), ..Wish::default() };
        let request = make::request(&wish).map_err(failed)?;
        order.finalize_csr(&request.csr_der).await?;
        let chain_pem = order.poll_certificate(&patience()).await?;
        Ok(KeyedCertificate { chain_pem, key_pem: request.key_pem })
    }

    /// The account with the authority of the settings, made at the first call. Its key stays in the folder of secrets.
    async fn account(&self, acme: &Acme) -> Result<Account, Fault> {
        #[derive(Serialize, Deserialize)]
        struct Kept {
            directory: String,
            credentials: AccountCredentials,
        }
        // The client for HTTPS takes the process's provider; another that is there already is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || match acme.ca_file.as_os_str().is_empty() {
            true => Account::builder(),
            false => Account::builder_with_root(self.data.join(&acme.ca_file)),
        };
        let path = self.data.join("secret/acme.json");
        if let Ok(bytes) = std::fs::read(&path)
            && let Ok(kept) = serde_json::from_slice::<Kept>(&bytes)
            && kept.directory == acme.directory
        {
            return Ok(builder()?.from_credentials(kept.credentials).await?);
        }
        let contact: Vec<String> = acme
            .contact
            .iter()
            .map(|c| match c.contains(':') {
                true => c.clone(),
                false => format!("mailto:{c}"),
            })
            .collect();
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let wanted =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let (account, credentials) = builder()?.create(&wanted, acme.directory.clone(), None).await?;
        let kept = Kept { directory: acme.directory.clone(), credentials };
        let bytes = serde_json::to_vec(&kept).map_err(failed)?;
        write_secret(&path, &bytes).map_err(|e| failed(format!("the account's key cannot be kept: {e}")))?;
        Ok(account)
    }

    /// Looks at a certificate that has come, rehearses its binding, and binds it to the services of the settings.
    async fn bind(&self, settings: &Settings, thumbprint: &str) -> Result<(), Fault> {
        let store = PublicStore::of(&self.data);
        let entry = store.get(thumbprint).map_err(failed)?;
        let services: Vec<PublicService> =
            settings.acme.services.iter().filter_map(|s| PublicService::parse(s)).collect();
        let key: KeyFile = store.key(thumbprint);
        let around = Around { now: self.clock.now(), names: &[], verdict: None };
        if let Some(problem) = check::check(&entry.pem, &key, around).into_iter().find(|p| p.refuses) {
            return Err(Fault { cause: REFUSED, text: problem.to_string() });
        }
        let edits: Vec<Edit> = services
            .iter()
            .filter(|service| !bound(settings, **service).iter().any(|t| t == thumbprint))
            .map(|service| {
                let others = bound(settings, *service).iter().filter(|t| !is_ours(&store, t)).cloned();
                let list: Vec<String> = std::iter::once(thumbprint.to_owned()).chain(others).collect();
                Edit::set(format!("certificates.{service}"), &list)
            })
            .collect();
        if edits.is_empty() {
            return Ok(());
        }
        let several = self.directory.snapshot().servers().count() > 1;
        let scope = if several { Scope::Server } else { Scope::Organisation };
        let _turn = self.settings.turn().await;
        let candidate = self.settings.plan(scope, &edits).map_err(failed)?;
        let mut author = Author {
            who: "acme".into(),
            when: self.clock.now(),
            why: Some(format!("a certificate from {}", settings.acme.directory)),
            command: format!("Enable-ExchangeCertificate {thumbprint}"),
            ..Author::default()
        };
        if let Some(stage) = &self.rehearse {
            let report = stage.rehearse(&candidate).await;
            if report.refusal().is_some() {
                return Err(Fault { cause: REFUSED, text: report.line() });
            }
            author.rehearsal = Some(report.line());
        }
        self.settings.put(&candidate, &author).map_err(failed)?;
        let missed: Vec<String> = services
            .iter()
            .flat_map(|s| wanted_names(settings, *s, Vec::new()))
            .filter(|w| entry.facts.as_ref().is_some_and(|f| !f.covers(&w.name)))
            .map(|w| w.name)
            .collect();
        if !missed.is_empty() {
            tracing::warn!(
                thumbprint,
                names = missed.join(", "),
                "the certificate lacks names that clients use: see acme.names"
            );
        }
        Ok(())
    }

    /// Certificates that came this way go when they have expired and nothing shows them.
    fn clear_away(&self, store: &PublicStore) {
        let (settings, now) = (self.settings.current(), self.clock.now());
        let Ok((entries, _)) = store.list() else { return };
        for entry in entries.iter().filter(|e| e.note.origin.starts_with("acme ")) {
            let over = entry.facts.as_ref().is_some_and(|f| f.not_after < now);
            if over
                && !is_bound_anywhere(&settings, &entry.thumbprint)
                && let Err(e) = store.remove(&entry.thumbprint)
            {
                tracing::warn!(error = %e, "an expired certificate was not removed");
            }
        }
    }
}

/// What the certificate is to hold.
fn names(settings: &Settings) -> Vec<String> {
    match settings.acme.names.as_slice() {
        [] => vec![settings.server.name.to_ascii_lowercase()],
        names => names.iter().map(|n| n.to_ascii_lowercase()).collect(),
    }
}

fn origin(acme: &Acme) -> String {
    format!("acme {}", acme.directory)
}

/// The newest certificate that came from this authority for exactly these names.
fn newest(store: &PublicStore, acme: &Acme, names: &[String]) -> Option<Entry> {
    let (entries, _) = store.list().ok()?;
    let fits = |e: &Entry| e.note.origin == origin(acme) && e.note.names == names;
    entries.into_iter().filter(fits).max_by_key(|e| e.facts.as_ref().map(|f| f.not_after))
}

fn is_ours(store: &PublicStore, thumbprint: &str) -> bool {
    store.get(thumbprint).is_ok_and(|e| e.note.origin.starts_with("acme "))
}

fn is_bound(settings: &Settings, thumbprint: &str) -> bool {
    let services = settings.acme.services.iter().filter_map(|s| PublicService::parse(s));
    services.into_iter().all(|s| bound(settings, s).iter().any(|t| t == thumbprint))
}

fn is_bound_anywhere(settings: &Settings, thumbprint: &str) -> bool {
    PublicService::ALL.into_iter().any(|s| bound(settings, s).iter().any(|t| t == thumbprint))
}

/// A third of its life is left, or up to a thirtieth more: not everybody's certificates are renewed in the same hour.
fn is_due(facts: &Facts, now: Timestamp) -> bool {
    let life = facts.not_after.since(facts.not_before);
    let spread = facts.fingerprint.bytes().fold(0i64, |n, b| (n * 31 + i64::from(b)) % 1_000);
    facts.not_after.since(now) <= life / 3 + life / 30 * spread / 1_000
}

/// How long to wait after so many failures in a row, give or take a fifth.
fn backoff(failures: u32) -> i64 {
    let whole = RETRY_MILLIS.saturating_mul(1 << failures.saturating_sub(1).min(12)).min(RETRY_MILLIS_MAX);
    let random = i64::from(u16::from_be_bytes(machine::random()));
    whole - whole / 5 + whole * 2 / 5 * random / i64::from(u16::MAX)
}

fn patience() -> RetryPolicy {
    RetryPolicy::new().timeout(Duration::from_secs(120))
}

/// Proves that every name of an order is ours.
async fn prove(order: &mut Order, answers: &mut Answers, acme: &Acme, now: Timestamp) -> Result<(), Fault> {
    let kind = || match acme.challenge {
        AcmeChallenge::Http01 => ChallengeType::Http01,
        AcmeChallenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
    };
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            other => return Err(failed(format!("an authorisation is {other:?}"))),
        }
        let mut challenge = authorization.challenge(kind()).ok_or_else(|| {
            failed(format!("the authority does not offer {} for this name", acme.challenge))
        })?;
        let name = challenge.identifier().to_string();
        let proof = challenge.key_authorization();
        answers.put(&name, &challenge.token, proof.as_str(), proof.digest().as_ref(), now)?;
        challenge.set_ready().await?;
    }
    let state = order.poll_ready(&patience()).await;
    let why = match state {
        Ok(OrderStatus::Ready | OrderStatus::Valid) => return Ok(()),
        Ok(other) => failed(format!("the order is {other:?}")),
        Err(e) => Fault::from(e),
    };
    // What it found when it looked stands with the challenge.
    let mut texts = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else { continue };
        let errors = state.challenges.iter().filter_map(|c| c.error.as_ref());
        texts.extend(errors.map(|p| format!("the authority says: {}", said(p))));
    }
    Err(if texts.is_empty() { why } else { failed(texts.join("; ")) })
}

type Tokens = Arc<Mutex<BTreeMap<String, String>>>;

/// The answers to challenges, while an order is open. Everything is closed again when this goes.
struct Answers {
    publics: Publics,
    tokens: Tokens,
    names: Vec<String>,
    /// Ends the listeners when dropped.
    _listeners: JoinSet<()>,
    challenge: AcmeChallenge,
}

impl Answers {
    async fn open(publics: &Publics, acme: &Acme) -> Result<Answers, Fault> {
        let tokens = Tokens::default();
        let mut listeners = JoinSet::new();
        let addresses = match acme.challenge {
            AcmeChallenge::Http01 => &acme.http_listeners,
            AcmeChallenge::TlsAlpn01 => &acme.tls_listeners,
        };
        let (mut open, mut troubles) = (0, Vec::new());
        for address in addresses {
            match listen::bind(*address) {
                Ok(listener) => {
                    open += 1;
                    match acme.challenge {
                        AcmeChallenge::Http01 => listeners.spawn(http(listener, Arc::clone(&tokens))),
                        AcmeChallenge::TlsAlpn01 => listeners.spawn(tls(listener, publics.clone())),
                    };
                }
                Err(e) => troubles.push(trouble(*address, &e)),
            }
        }
        // Our own HTTPS door answers challenges over TLS, too; and one of two address families may do.
        let taken = acme.challenge == AcmeChallenge::TlsAlpn01 && !troubles.is_empty();
        if open == 0 && !taken {
            let text =
                if troubles.is_empty() { "no listener is set".to_owned() } else { troubles.join("; ") };
            return Err(Fault { cause: NO_LISTENER, text });
        }
        for trouble in troubles {
            tracing::info!("ACME: {trouble}");
        }
        Ok(Answers {
            publics: publics.clone(),
            tokens,
            names: Vec::new(),
            _listeners: listeners,
            challenge: acme.challenge,
        })
    }

    fn put(
        &mut self,
        name: &str,
        token: &str,
        proof: &str,
        digest: &[u8],
        now: Timestamp,
    ) -> Result<(), Fault> {
        match self.challenge {
            AcmeChallenge::Http01 => {
                let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
                if tokens.len() >= TOKENS_MAX {
                    return Err(failed("too many names in one certificate"));
                }
                tokens.insert(token.to_owned(), proof.to_owned());
            }
            AcmeChallenge::TlsAlpn01 => {
                let answer = make::challenge(name, digest, now).map_err(failed)?;
                self.publics.answer_challenge(name, Some(&answer)).map_err(failed)?;
                self.names.push(name.to_owned());
            }
        }
        Ok(())
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        for name in &self.names {
            // Taking an answer away cannot fail.
            let _ = self.publics.answer_challenge(name, None);
        }
    }
}

fn trouble(address: SocketAddr, e: &io::Error) -> String {
    format!("cannot listen on {address}: {e}")
}

/// Answers challenges, and nothing else.
async fn http(listener: TcpListener, tokens: Tokens) {
    let answer = move |UrlPath(token): UrlPath<String>| async move {
        let found = tokens.lock().unwrap_or_else(PoisonError::into_inner).get(&token).cloned();
        found.ok_or(StatusCode::NOT_FOUND)
    };
    let app = axum::Router::new().route("/.well-known/acme-challenge/{token}", axum::routing::get(answer));
    if let Err(e) = axum::serve(listener, app).await {
        tracing::warn!(error = %e, "the listener for ACME challenges ended");
    }
}

/// Answers challenges within the handshake; whoever wants anything else is let go after it.
async fn tls(listener: TcpListener, publics: Publics) {
    let mut visitors = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        while visitors.try_join_next().is_some() {}
        if visitors.len() >= TOKENS_MAX {
            continue;
        }
        let acceptor = publics.acceptor(PublicService::Web);
        visitors.spawn(async move {
            let _ = acceptor.accept(Box::new(stream)).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_trust::self_signed;

    const DAY: i64 = 24 * 60 * 60 * 1000;

    #[test]
    fn renewed_at_a_third() {
        let now = Timestamp(1_772_525_720_000);
        let made = self_signed(&["a.test"], 90, now).unwrap();
        let facts = Facts::of_pem(&made.chain_pem).unwrap();
        assert!(!is_due(&facts, now.plus_millis(55 * DAY)));
        assert!(is_due(&facts, now.plus_millis(61 * DAY)));
        assert!(is_due(&facts, now.plus_millis(91 * DAY)));
    }

    #[test]
    fn patience_grows_and_ends() {
        for (failures, least, most) in
            [(1, 48_000, 72_000), (2, 96_000, 144_000), (40, 34_560_000, 51_840_000)]
        {
            let wait = backoff(failures);
            assert!((least..=most).contains(&wait), "{failures}: {wait}");
        }
    }

    #[test]
    fn names_of_the_settings_or_of_the_server() {
        let mut settings = Settings::default();
        settings.server.name = "Mail.Contoso.test".into();
        assert_eq!(names(&settings), ["mail.contoso.test"]);
        settings.acme.names = vec!["imap.contoso.test".into()];
        assert_eq!(names(&settings), ["imap.contoso.test"]);
    }
}
