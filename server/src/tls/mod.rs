//! TLS as the server side: what clients are shown, per service, by the name they ask for, replaced while connections
//! stand.
//!
//! One [`Publics`] per process. Nothing that is wrong with a public certificate stops anything but TLS with clients of the
//! services that it is bound to: such a service goes on with another certificate that it has, or without TLS, and says
//! so. Inner trust does not pass through here.

mod judge;
mod shelf;
mod signatures;
mod watch;

pub use judge::{chain_judge, said};
pub(crate) use signatures::signatures_by;

use rustls::ServerConfig;
use rustls::server::Acceptor;
use shelf::{Makings, Pair, Shelf};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio_rustls::LazyConfigAcceptor;
use waypost_admin::certificates::{bound, wanted_names};
use waypost_admin::settings::Settings;
use waypost_base::Clock;
use waypost_base::explain::{Cause, Finding};
use waypost_trust::certificate::Facts;
use waypost_trust::channel::{Accepting, BoxStream, TlsAccept, TlsFacts};
use waypost_trust::public::check::{self, Around, Problem};
use waypost_trust::public::seen::Seen;
use waypost_trust::public::{KeyFile, PublicService, PublicStore};

/// A client that has not finished its handshake by then is let go.
const HANDSHAKE_MAX: Duration = Duration::from_secs(30);
/// The protocol of ACME's challenge over TLS (RFC 8737 §6.2).
pub const ACME_ALPN: &[u8] = b"acme-tls/1";

/// The certificates that clients are shown, and the machinery around them. Cheap to clone.
#[derive(Clone)]
pub struct Publics(Arc<Inside>);

struct Inside {
    data: PathBuf,
    clock: Clock,
    /// This is only a trial: nothing is told, and nothing stands in for a certificate that cannot be used.
    trial: bool,
    store: PublicStore,
    state: RwLock<State>,
    /// Held from reading to replacing, so that what was read earlier never replaces what was read later.
    turn: Mutex<()>,
    seen: Mutex<Seen>,
    /// Answers to ACME's challenges, by name.
    challenges: RwLock<BTreeMap<String, Arc<ServerConfig>>>,
    /// What certificate authorities have said, by thumbprint.
    staples: Mutex<BTreeMap<String, Vec<u8>>>,
    /// What others have found to be wrong: the authority, ACME; by who says so.
    extras: Mutex<BTreeMap<String, Problem>>,
}

struct State {
    makings: Makings,
    shelves: BTreeMap<PublicService, Shelf>,
    problems: BTreeMap<PublicService, Vec<Problem>>,
    settings: Arc<Settings>,
}

impl fmt::Debug for Publics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publics").field("data", &self.0.data).finish_non_exhaustive()
    }
}

impl Publics {
    /// Loads what the settings bind. Whatever cannot be used is told of, not an error: everything else goes on.
    pub fn open(data: &Path, settings: &Settings, clock: &Clock) -> io::Result<Publics> {
        Publics::make(data, settings, clock, false)
    }

    fn make(data: &Path, settings: &Settings, clock: &Clock, trial: bool) -> io::Result<Publics> {
        let state = State {
            makings: Makings::new(settings.sign_in.client_certificates)?,
            shelves: BTreeMap::new(),
            problems: BTreeMap::new(),
            settings: Arc::new(settings.clone()),
        };
        let publics = Publics(Arc::new(Inside {
            data: data.to_owned(),
            clock: clock.clone(),
            trial,
            store: PublicStore::of(data),
            state: RwLock::new(state),
            turn: Mutex::default(),
            seen: Mutex::new(Seen::load(data)),
            challenges: RwLock::default(),
            staples: Mutex::default(),
            extras: Mutex::default(),
        }));
        publics.reload(settings);
        Ok(publics)
    }

    /// Another set with other settings, to be tried out: nothing that it does is seen by clients of this one. A bound
    /// certificate that cannot be used leaves its service without TLS, so that the trial shows it.
    pub fn rehearsal(&self, settings: &Settings) -> io::Result<Publics> {
        Publics::make(&self.0.data, settings, &self.0.clock, true)
    }

    /// What a door of this service needs for TLS.
    pub fn acceptor(&self, service: PublicService) -> Arc<dyn TlsAccept> {
        Arc::new(Door { publics: self.clone(), service })
    }

    /// Whether a service has a certificate to show at all.
    pub fn is_usable(&self, service: PublicService) -> bool {
        self.read(|state| state.shelves.get(&service).is_some_and(|s| !s.is_empty()))
    }

    /// Reads settings and files anew. What was loaded before and cannot be read now stays; sessions that stand go on.
    pub fn reload(&self, settings: &Settings) {
        let _turn = self.0.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.reload_in_turn(settings);
    }

    /// Reads files and answers of authorities anew, with the settings that hold when it is its turn.
    fn refresh(&self) {
        let _turn = self.0.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let settings = self.settings();
        self.reload_in_turn(&settings);
    }

    fn reload_in_turn(&self, settings: &Settings) {
        let inside = &self.0;
        let before =
            self.read(|state| (state.makings.clone(), state.shelves.clone(), state.problems.clone()));
        let (mut makings, old, told) = before;
        if makings.ask_clients != settings.sign_in.client_certificates {
            // Tickets of the one kind must not be redeemed for the other: a new ticketer.
            match Makings::new(settings.sign_in.client_certificates) {
                Ok(fresh) => makings = fresh,
                Err(e) => tracing::error!(error = %e, "client certificates: the setting is not taken over"),
            }
        }
        let mut loader = Loader { inside, settings, makings: &makings, loaded: BTreeMap::new() };
        let (default, fault) = loader.default_pair(&old);
        let (mut shelves, mut problems) = (BTreeMap::new(), BTreeMap::new());
        for service in PublicService::ALL {
            let (bound, mut found) = loader.bound(service, old.get(&service));
            found.extend(fault.clone().filter(|_| bound.is_empty()));
            let preferred = preferred(settings, service).to_owned();
            let broken = found.iter().any(|p| p.refuses);
            let stand_in = default.clone().filter(|_| !(inside.trial && broken));
            shelves.insert(service, Shelf { bound, default: stand_in, preferred });
            problems.insert(service, found);
        }
        if !inside.trial {
            watch::tell(&told, &problems, &shelves);
        }
        let mut state = inside.state.write().unwrap_or_else(PoisonError::into_inner);
        *state = State { makings, shelves, problems, settings: Arc::new(settings.clone()) };
    }

    /// What is wrong with the certificates that are bound, or would be without effect.
    pub fn problems(&self, service: PublicService) -> Vec<Problem> {
        self.read(|state| state.problems.get(&service).cloned().unwrap_or_default())
    }

    /// The same as findings, of all services, each once.
    pub fn findings(&self) -> Vec<Finding> {
        let now = self.0.clock.now();
        let mut all: Vec<Problem> = Vec::new();
        for problem in PublicService::ALL.into_iter().flat_map(|s| self.problems(s)) {
            if !all.contains(&problem) {
                all.push(problem);
            }
        }
        let extras = self.0.extras.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().chain(extras.values()).map(|p| p.finding(now)).collect()
    }

    /// Something that is wrong besides, by whoever found it; `None` when it is over.
    pub fn set_extra(&self, by: &str, problem: Option<Problem>) {
        let mut extras = self.0.extras.lock().unwrap_or_else(PoisonError::into_inner);
        match problem {
            Some(problem) => {
                if extras.get(by) != Some(&problem) {
                    tracing::warn!(
                        code = problem.cause.code,
                        remedy = problem.cause.remedy,
                        "certificate: {}",
                        problem.text
                    );
                }
                extras.insert(by.to_owned(), problem);
            }
            None => {
                extras.remove(by);
            }
        }
    }

    /// Answers ACME's challenge for a name from now on, on every door; `None` takes the answer away.
    pub fn answer_challenge(
        &self,
        name: &str,
        answer: Option<&waypost_trust::KeyedCertificate>,
    ) -> io::Result<()> {
        let name = name.to_ascii_lowercase();
        let mut challenges = self.0.challenges.write().unwrap_or_else(PoisonError::into_inner);
        let Some(answer) = answer else {
            challenges.remove(&name);
            return Ok(());
        };
        let makings = Makings::new(false)?;
        let config = makings.config(shelf::certified(answer, &makings)?, &[ACME_ALPN])?;
        challenges.insert(name, config);
        Ok(())
    }

    /// Shows this OCSP answer with the certificate from the next handshake on.
    pub fn staple(&self, thumbprint: &str, answer: Option<Vec<u8>>) {
        let mut staples = self.0.staples.lock().unwrap_or_else(PoisonError::into_inner);
        let same = match answer {
            Some(answer) => staples.insert(thumbprint.to_owned(), answer.clone()).as_ref() == Some(&answer),
            None => staples.remove(thumbprint).is_none(),
        };
        drop(staples);
        if !same {
            self.refresh();
        }
    }

    /// Every certificate that is shown to anybody: thumbprint and chain as DER, leaf first.
    pub fn shown(&self) -> BTreeMap<String, Vec<Vec<u8>>> {
        self.read(|state| {
            let pairs = state.shelves.values().flat_map(|s| s.bound.iter().chain(&s.default));
            let der = |pair: &Arc<Pair>| pair.key.cert.iter().map(|c| c.to_vec()).collect();
            pairs.map(|pair| (pair.facts.thumbprint.clone(), der(pair))).collect()
        })
    }

    /// The settings that are in force for certificates.
    pub fn settings(&self) -> Arc<Settings> {
        self.read(|state| Arc::clone(&state.settings))
    }

    fn read<T>(&self, with: impl FnOnce(&State) -> T) -> T {
        with(&self.0.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn preferred(settings: &Settings, service: PublicService) -> &str {
    match service {
        PublicService::Imap => &settings.imap.x509_certificate_name,
        PublicService::Pop => &settings.pop.x509_certificate_name,
        PublicService::Smtp | PublicService::Web => "",
    }
}

/// Loads each certificate once for all services.
struct Loader<'a> {
    inside: &'a Inside,
    settings: &'a Settings,
    makings: &'a Makings,
    loaded: BTreeMap<String, io::Result<Arc<Pair>>>,
}

impl Loader<'_> {
    /// The pair of the section tls, and what is wrong with it. One that cannot be read now, but was before, stays.
    fn default_pair(&self, old: &BTreeMap<PublicService, Shelf>) -> (Option<Arc<Pair>>, Option<Problem>) {
        let tls = &self.settings.tls;
        let (chain, key) = (self.inside.data.join(&tls.certificate), self.inside.data.join(&tls.key));
        let e = match self.load(&chain, &KeyFile::look(&key)) {
            Ok(pair) => return (Some(pair), None),
            Err(e) => e,
        };
        let before = old.values().find_map(|shelf| shelf.default.as_ref());
        let kept = before.and_then(|pair| self.again(pair));
        if kept.is_some() && !self.inside.trial {
            tracing::warn!(error = %e, "the certificate of [tls] was not read again: the old one stays");
        }
        (kept, Some(problem(cause_of(&e), &chain, &e)))
    }

    /// The bound certificates that can be used, and everything that is wrong with the bound ones.
    fn bound(&mut self, service: PublicService, old: Option<&Shelf>) -> (Vec<Arc<Pair>>, Vec<Problem>) {
        let (mut pairs, mut problems) = (Vec::new(), Vec::new());
        let (now, store) = (self.inside.clock.now(), &self.inside.store);
        let seen = self.inside.seen.lock().unwrap_or_else(PoisonError::into_inner).used(service, now);
        let thumbprints = bound(self.settings, service);
        let pems: Vec<io::Result<String>> =
            thumbprints.iter().map(|t| std::fs::read_to_string(store.chain_file(t))).collect();
        let facts: Vec<Facts> = pems.iter().flatten().filter_map(|pem| Facts::of_pem(pem).ok()).collect();
        // With several bound, no single one has to hold every name: what all of them miss is the first one's.
        let mut missed = wanted_names(self.settings, service, seen);
        if facts.len() > 1 {
            missed.retain(|w| !facts.iter().any(|f| f.covers(&w.name)));
        }
        for (thumbprint, pem) in thumbprints.iter().zip(pems) {
            let chain = store.chain_file(thumbprint);
            let key = store.key(thumbprint);
            if !self.loaded.contains_key(thumbprint) {
                let loaded = self.load(&chain, &key);
                self.loaded.insert(thumbprint.clone(), loaded);
            }
            match pem {
                Ok(pem) => {
                    let names = std::mem::take(&mut missed);
                    problems.extend(check::check(&pem, &key, Around { now, names: &names, verdict: None }));
                }
                Err(e) => problems.push(problem(check::MISSING, &chain, &e)),
            }
            match self.loaded.get(thumbprint) {
                Some(Ok(pair)) => pairs.push(Arc::clone(pair)),
                _ => {
                    let before = old.and_then(|s| s.bound.iter().find(|p| p.facts.thumbprint == *thumbprint));
                    pairs.extend(before.and_then(|pair| self.again(pair)));
                }
            }
        }
        (pairs, problems)
    }

    fn load(&self, chain: &Path, key: &KeyFile) -> io::Result<Arc<Pair>> {
        let bytes = std::fs::read(chain)?;
        let key_pem = match key {
            KeyFile::Readable { pem, .. } => pem.as_bytes(),
            KeyFile::Missing(path) => {
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("{} is missing", path.display()),
                ));
            }
            KeyFile::Unreadable { path, error, .. } => {
                let text = format!("{}: {error}", path.display());
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
            }
        };
        let mut pair = Pair::load(&bytes, key_pem, None, self.makings)?;
        let staples = self.inside.staples.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(staple) = staples.get(&pair.facts.thumbprint) {
            pair = Pair::load(&bytes, key_pem, Some(staple.clone()), self.makings)?;
        }
        Ok(Arc::new(pair))
    }

    /// One that is in memory, with today's makings.
    fn again(&self, pair: &Arc<Pair>) -> Option<Arc<Pair>> {
        let config = self.makings.config(Arc::clone(&pair.key), &[]).ok()?;
        Some(Arc::new(Pair { config, ..Pair::clone(pair) }))
    }
}

/// What kept a pair from being loaded.
fn cause_of(e: &io::Error) -> Cause {
    match e.kind() {
        io::ErrorKind::NotFound => check::MISSING,
        io::ErrorKind::PermissionDenied => check::KEY_UNREADABLE,
        _ => check::MALFORMED,
    }
}

fn problem(cause: Cause, path: &Path, e: &io::Error) -> Problem {
    let source = path.display().to_string();
    Problem { cause, text: format!("{source}: {e}"), refuses: true, source }
}

/// TLS at the doors of one service.
struct Door {
    publics: Publics,
    service: PublicService,
}

impl TlsAccept for Door {
    fn accept(&self, plain: BoxStream) -> Accepting {
        let (publics, service) = (self.publics.clone(), self.service);
        Box::pin(async move {
            let handshake = publics.handshake(service, plain);
            tokio::time::timeout(HANDSHAKE_MAX, handshake)
                .await
                .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "TLS handshake took too long"))?
        })
    }

    fn available(&self) -> bool {
        self.publics.is_usable(self.service)
    }
}

impl Publics {
    async fn handshake(&self, service: PublicService, plain: BoxStream) -> io::Result<(BoxStream, TlsFacts)> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), plain).await?;
        let hello = start.client_hello();
        let name = hello.server_name().map(str::to_ascii_lowercase);
        if hello.alpn().is_some_and(|mut offered| offered.any(|p| p == ACME_ALPN)) {
            let config = self.challenge(name.as_deref())?;
            let mut stream = start.into_stream(config).await?;
            tokio::io::AsyncWriteExt::shutdown(&mut stream).await?;
            // As a port scan: nobody has to be told.
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "an ACME challenge was answered"));
        }
        let now = self.0.clock.now();
        if let Some(name) = &name {
            self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).note(service, name, now);
        }
        let schemes = hello.signature_schemes();
        let pair = self.read(|state| state.shelves.get(&service)?.choose(name.as_deref(), schemes, now));
        let pair = pair.ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("{service} has no certificate that can be used"))
        })?;
        let stream = start.into_stream(Arc::clone(&pair.config)).await?;
        let facts = facts(stream.get_ref().1, pair.end_point.clone());
        Ok((Box::new(stream), facts))
    }

    fn challenge(&self, name: Option<&str>) -> io::Result<Arc<ServerConfig>> {
        let challenges = self.0.challenges.read().unwrap_or_else(PoisonError::into_inner);
        let found = name.and_then(|name| challenges.get(name)).cloned();
        found.ok_or_else(|| {
            io::Error::new(io::ErrorKind::UnexpectedEof, "no ACME challenge is open for this name")
        })
    }
}

/// Shows one certificate to whoever comes.
pub fn show_only(certificate: &waypost_trust::KeyedCertificate) -> io::Result<Arc<dyn TlsAccept>> {
    struct One(Pair);
    impl TlsAccept for One {
        fn accept(&self, plain: BoxStream) -> Accepting {
            let (config, end_point) = (Arc::clone(&self.0.config), self.0.end_point.clone());
            Box::pin(async move {
                let handshake = tokio_rustls::TlsAcceptor::from(config).accept(plain);
                let stream = tokio::time::timeout(HANDSHAKE_MAX, handshake)
                    .await
                    .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "TLS handshake took too long"))??;
                let facts = facts(stream.get_ref().1, end_point);
                Ok((Box::new(stream) as BoxStream, facts))
            })
        }
    }
    let (chain, key) = (certificate.chain_pem.as_bytes(), certificate.key_pem.as_bytes());
    Ok(Arc::new(One(Pair::load(chain, key, None, &Makings::new(false)?)?)))
}

fn facts(connection: &rustls::ServerConnection, end_point: Option<Vec<u8>>) -> TlsFacts {
    let version = connection.protocol_version();
    let exporter = match version {
        // RFC 9266 §3: only unique without the extended master secret from TLS 1.3 on.
        Some(rustls::ProtocolVersion::TLSv1_3) => {
            connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None).ok()
        }
        _ => None,
    };
    TlsFacts {
        version: match version {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        },
        cipher: connection.negotiated_cipher_suite().map_or("unknown", |s| cipher_name(s.suite())),
        server_name: connection.server_name().map(str::to_owned),
        exporter,
        end_point,
        client: connection
            .peer_certificates()
            .and_then(|chain| chain.first())
            .map(|leaf| leaf.as_ref().into()),
    }
}

/// Names of the IANA registry for the suites that rustls with ring offers.
pub fn cipher_name(suite: rustls::CipherSuite) -> &'static str {
    use rustls::CipherSuite as S;
    match suite {
        S::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        S::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        S::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        S::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        S::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        S::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        S::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        S::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        S::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        _ => "unknown",
    }
}
