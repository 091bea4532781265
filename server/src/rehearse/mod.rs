//! Rehearsals: services are brought up beside the running ones with the settings that are to be tried, on private
//! loopback listeners, and are spoken to as clients would, up to a mailbox and to the recipient of a message.
//!
//! Laws: nobody's session is disturbed, and nothing is changed or sent; what tries to sign in is an account of its own,
//! with a password that is only in memory and that only the services on trial know; a rehearsal ends in
//! [`BUDGET`]. Clients are played as coming from a network, since loopback is trusted with more.

mod cause;
mod lent;

pub use lent::LentFirst;

use crate::doors::Doors;
use crate::listen::{self, Door, Guests};
use crate::logs::all::Logs;
use crate::machine;
use crate::outbound::TlsClient;
use crate::probe::{self as probes, Dialect, Done, Fault, Talk, Target, Way, Who, say};
use crate::run::services::{Makings, Services};
use crate::run::{has_door, is_implicit, settings as meant};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use waypost_access::signin::Policy;
use waypost_admin::settings::connector::{AuthMechanism, Listener};
use waypost_admin::settings::rehearse::{BUDGET, Rehearsing};
use waypost_admin::settings::{
    Candidate, Probe, Rehearse, Report, Settings, SettingsStore, Touched, Verdict,
};
use waypost_base::Timestamp;
use waypost_base::explain::{Confidence, Evidence, Finding, Leg, Outcome, Party};
use waypost_directory::{Account, AccountKind, CredentialKind, NewAccount};
use waypost_trust::public::PublicService;

/// Longest time of one probe.
const PROBE: Duration = Duration::from_secs(5);
/// Of the whole time, what the new settings may take; the rest is for a comparison with the running ones. What is not begun
/// by then is left out, and told of.
const FIRST_ACT: Duration = Duration::from_secs(4);
/// The comparison leaves this much for what it has begun.
const LAST_PROBE: Duration = Duration::from_secs(2);
/// How long a command waits until the roles have taken over a change.
const TAKEN_OVER: Duration = Duration::from_secs(20);
/// Where the clients of a rehearsal come from, unless a receive connector wants others (RFC 5737: nobody's network).
const PRETENDED: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// Sessions of the rehearsal's account at a time; the limit for people must not make it fail.
const SESSIONS: u32 = 16;

/// The running services, as a rehearsal sees them.
pub struct Stage {
    services: Arc<Services>,
    doors: Arc<Doors>,
    logs: Logs,
    tls: Arc<TlsClient>,
    /// Made up at the start, nowhere but here.
    password: String,
    /// What it is checked by: made once, since that takes time.
    kept: tokio::sync::OnceCell<CredentialKind>,
    turn: tokio::sync::Mutex<()>,
    taken: watch::Sender<Taken>,
}

#[derive(Clone, Default)]
struct Taken {
    settings: Option<Arc<Settings>>,
    troubles: Vec<String>,
}

impl Stage {
    pub fn new(services: Arc<Services>, doors: Arc<Doors>, logs: Logs) -> Stage {
        Stage {
            services,
            doors,
            logs,
            tls: Arc::default(),
            password: machine::password(),
            kept: tokio::sync::OnceCell::new(),
            turn: tokio::sync::Mutex::default(),
            taken: watch::Sender::default(),
        }
    }

    /// Word from whoever follows the settings: these hold now.
    pub fn took_over(&self, settings: Arc<Settings>, troubles: Vec<String>) {
        self.taken.send_replace(Taken { settings: Some(settings), troubles });
    }

    /// Looks whether everything works with the settings that hold, after somebody has changed them by hand; what does not
    /// is logged, with the way back.
    pub fn after_reload(self: &Arc<Self>, version: Option<u32>) {
        let Some(version) = version else { return };
        let stage = Arc::clone(self);
        tokio::spawn(async move {
            let _turn = stage.turn.lock().await;
            let settings = stage.services.settings.current();
            let until = Instant::now() + FIRST_ACT;
            let (probes, _) = stage.play(&settings, &Touched::CLIENTS, until).await;
            let report = Report { probes, ..Report::default() };
            match report.refusal().and_then(|p| p.fault.as_ref().map(|fault| (p, fault))) {
                Some((probe, (text, finding))) => tracing::error!(
                    code = finding.cause.code,
                    version,
                    "the settings that were changed by hand do not work: {}: {text}. `waypost settings undo` takes them back",
                    probe.name
                ),
                None => tracing::info!(version, "the settings that were changed by hand work"),
            }
        });
    }

    async fn run(&self, candidate: &Candidate) -> Report {
        let _turn = self.turn.lock().await;
        self.tend().await;
        let begun = Instant::now();
        let touched: Vec<Touched> = candidate.touched().into_iter().collect();
        let mut report = Report { probes: self.listening(candidate), ..Report::default() };
        let (probes, warnings) = self.play(&candidate.after, &touched, begun + FIRST_ACT).await;
        report.probes.extend(probes);
        report.warnings = warnings;
        if report.verdict() == Verdict::Failed {
            let until = begun + BUDGET.saturating_sub(LAST_PROBE);
            let (before, _) = self.play(&candidate.before, &failing(&report.probes, &touched), until).await;
            for probe in report.probes.iter_mut().filter(|p| p.fault.is_some()) {
                probe.failed_before = before.iter().any(|b| fails_alike(b, probe));
            }
        }
        report.millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(verdict = report.verdict().name(), millis = report.millis, "settings rehearsed");
        report
    }

    fn now(&self) -> Timestamp {
        self.services.organisation.clock.now()
    }

    fn leg(&self, operation: &'static str, acceptor: String) -> Leg {
        let id = self.services.settings.current().server.id.clone();
        Leg::start(operation, Party::new("rehearsal", id), Party::new("listener", acceptor), self.now())
    }

    /// Whether the listeners could be opened where they are to move.
    fn listening(&self, candidate: &Candidate) -> Vec<Probe> {
        let (old, new) = (meant::doors(&candidate.before), meant::doors(&candidate.after));
        let open = self.doors.addresses();
        let mut probes = Vec::new();
        for (name, wanted) in new.iter().filter(|(name, _)| has_door(self.services.roles, name)) {
            let before = old.get(name).map(Vec::as_slice).unwrap_or_default();
            for address in wanted.iter().filter(|a| !before.contains(a)) {
                if open.contains(&(*name, *address)) {
                    continue;
                }
                let done = match (beside(&new, name, *address), listen::bind(*address)) {
                    (Some((other, at)), _) => Err(Fault::new(
                        cause::LISTEN,
                        format!("{name} at {address} and {other} at {at} cannot both be open"),
                    )),
                    (None, Ok(_)) => Ok(()),
                    // Our own listener, which makes way for it.
                    (None, Err(_))
                        if open.iter().any(|(n, at)| n == name && crate::doors::collide(*at, *address)) =>
                    {
                        Ok(())
                    }
                    (None, Err(e)) => {
                        let text = crate::run::cannot_listen(name, *address, &e).to_string();
                        Err(Fault::new(cause::LISTEN, text).seen(format!("bind {address}: {e}")))
                    }
                };
                let leg = self.leg("rehearsal.listen", format!("{name} {address}"));
                probes.push(probe(format!("listener {name}"), leg, done, self.now()));
            }
        }
        probes
    }

    /// Brings the services up with these settings and tries every door of those that are touched.
    async fn play(
        &self,
        settings: &Arc<Settings>,
        touched: &[Touched],
        until: Instant,
    ) -> (Vec<Probe>, Vec<String>) {
        let mut warnings = Vec::new();
        let cast = match self.cast(settings) {
            Ok(cast) => Arc::new(cast),
            Err(e) => {
                let leg = self.leg("rehearsal.build", "services".into());
                let fault = Fault::new(cause::BUILD, format!("the services cannot be brought up: {e}"));
                return (vec![probe("services".into(), leg, Err(fault), self.now())], warnings);
            }
        };
        let who = match self.health(&cast).await {
            Ok(account) => Some(Who {
                address: account.primary.to_string(),
                password: self.password.clone(),
                host: settings.server.name.clone(),
            }),
            Err(text) => {
                warnings.push(format!("No sign-in was tried: {text}."));
                None
            }
        };
        let stop = watch::Sender::new(false);
        let mut acts = tokio::task::JoinSet::new();
        let mut names = Vec::new();
        for service in [Touched::Imap, Touched::Pop, Touched::Smtp] {
            if !touched.contains(&service) {
                continue;
            }
            let mut targets = Vec::new();
            for door in doors_of(service).iter().copied().filter(|d| self.is_wanted(settings, d)) {
                match self.private(&cast, settings, door, &stop) {
                    Ok(target) => targets.push(target),
                    Err(e) => warnings.push(format!("{door} was not tried: {e}.")),
                }
            }
            names.extend(targets.iter().map(|t| t.door));
            let (tls, who, clock) =
                (Arc::clone(&self.tls), who.clone(), self.services.organisation.clock.clone());
            let base = self.leg("rehearsal", String::new());
            // One after the other within a service: a maildrop is for one session at a time.
            acts.spawn(async move {
                let mut tour = Tour { who, tls, base, clock, until, tried: Vec::new(), left_out: Vec::new() };
                let mut done = Vec::new();
                for target in &targets {
                    done.extend(tour.door(target).await);
                }
                (done, tour.left_out)
            });
        }
        let mut probes = self.certificates(&cast, touched);
        while let Some(act) = acts.join_next().await {
            // A task that panicked has been counted and logged.
            let (done, left_out) = act.unwrap_or_default();
            probes.extend(done);
            if !left_out.is_empty() {
                warnings.push(format!("There was no time to try {}.", left_out.join(", ")));
            }
        }
        stop.send_replace(true);
        cast.works.hub.stop();
        cast.imap.stop();
        cast.pop3.stop();
        probes.sort_by_key(|p| names.iter().position(|n| p.name.split(' ').next() == Some(n)));
        (probes, warnings)
    }

    /// What is wrong with the certificates that are bound, and cannot be seen from outside at once.
    fn certificates(&self, cast: &Services, touched: &[Touched]) -> Vec<Probe> {
        let mut probes = Vec::new();
        for (service, public) in [
            (Touched::Imap, PublicService::Imap),
            (Touched::Pop, PublicService::Pop),
            (Touched::Smtp, PublicService::Smtp),
        ] {
            for problem in
                cast.public.problems(public).into_iter().filter(|p| p.refuses && touched.contains(&service))
            {
                let mut leg = self.leg("rehearsal.certificate", public.to_string());
                let (cause, text) = (problem.cause, problem.text.clone());
                leg.outcome = Outcome::Failed { cause, text: text.clone(), retry: false };
                let fault = Some((text, problem.finding(self.now())));
                probes.push(Probe {
                    name: format!("{public} certificate"),
                    leg,
                    fault,
                    failed_before: false,
                });
            }
        }
        probes
    }

    /// The services with other settings, over the same store and directory.
    fn cast(&self, settings: &Arc<Settings>) -> io::Result<Services> {
        let organisation = &self.services.organisation;
        let store = Arc::new(SettingsStore::holding(organisation.place.root(), Arc::clone(settings)));
        let public = self.services.public.rehearsal(settings)?;
        let cast = Services::new(Makings {
            organisation,
            settings: &store,
            roles: self.services.roles,
            public: &public,
            logs: &self.logs,
            own: Vec::new(),
        })?;
        for entrance in [&cast.imap_entrance, cast.pop3.entrance()] {
            let policy = Policy::clone(&entrance.policy());
            let sessions_per_user_max = policy.sessions_per_user_max.max(SESSIONS);
            entrance.set_policy(Policy { sessions_per_user_max, ..policy });
        }
        Ok(cast)
    }

    /// The account that tries, made at the first time, with the password that only `cast` knows.
    async fn health(&self, cast: &Services) -> Result<Arc<Account>, String> {
        let organisation = &self.services.organisation;
        let now = organisation.directory.snapshot();
        let id = &self.services.settings.current().server.id;
        // A server without mailboxes is tried with somebody else's: through to the server that holds it.
        let others = || now.accounts().find(|a| a.kind == AccountKind::Monitoring && !now.is_here(a));
        let account = match now.find_account(&health_name(id)) {
            _ if !self.services.roles.mailbox => {
                others().cloned().ok_or("no server with mailboxes has an account for it yet")?
            }
            Some(account) => Arc::clone(account),
            None => self.new_health(id).await?,
        };
        if now.is_here(&account) && organisation.mailboxes.account(account.id).await.is_err() {
            let options = waypost_mailbox::AccountOptions::default();
            organisation.mailboxes.create_account(account.id, options).await.map_err(|e| e.to_string())?;
        }
        let kept = self
            .kept
            .get_or_try_init(|| cast.sign_in.kind_of(&self.password))
            .await
            .map_err(|e| e.to_string())?;
        cast.sign_in.lend(account.id, kept.clone());
        Ok(account)
    }

    async fn new_health(&self, server: &str) -> Result<Arc<Account>, String> {
        let directory = &self.services.organisation.directory;
        let primary = directory.snapshot().primary().is_none_or(|p| p.id == server);
        let new = NewAccount {
            kind: Some(AccountKind::Monitoring),
            home: (!primary).then(|| server.to_owned()),
            ..NewAccount::new(health_name(server))
        };
        directory.add_account(new).await.map_err(|e| e.to_string())
    }

    /// The server that keeps the directory sees to it that each server with mailboxes has an account to be tried with.
    pub async fn tend(&self) {
        let now = self.services.organisation.directory.snapshot();
        let here = now.here();
        if now.servers().count() < 2 || now.primary().is_none_or(|p| here.is_none_or(|here| here != p.id)) {
            return;
        }
        for server in now.servers().filter(|s| s.roles.mailbox && s.revoked.is_none()) {
            if now.find_account(&health_name(&server.id)).is_none()
                && let Err(e) = self.new_health(&server.id).await
            {
                tracing::warn!(error = %e, server = server.id, "no account for rehearsals was made");
            }
        }
    }

    /// Whether the settings have this door at all, and this server, too.
    fn is_wanted(&self, settings: &Settings, door: &str) -> bool {
        let has = meant::doors(settings).get(door).is_some_and(|list| !list.is_empty());
        has && has_door(self.services.roles, door)
    }

    /// Opens a door of the cast on loopback.
    fn private(
        &self,
        cast: &Arc<Services>,
        settings: &Settings,
        door: &'static str,
        stop: &watch::Sender<bool>,
    ) -> io::Result<Target> {
        let peer = pretended(settings, door)
            .ok_or_else(|| io::Error::other("no receive connector that is enabled stands at it"))?;
        let listener = listen::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let at = listener.local_addr()?;
        let open = Door {
            name: door,
            tls: crate::run::tls_of(cast, door),
            implicit: is_implicit(door),
            guests: Guests::new((1_000, 0)),
            pretended: Some(peer),
            serve: cast.serve(door),
        };
        tokio::spawn(listen::accept_until(listener, Arc::new(open), stop.subscribe()));
        Ok(Target { door, at, wants_tls: wants_tls(settings, door) })
    }
}

/// Another listener of the same settings that this one cannot stand beside.
fn beside(doors: &crate::run::Doors, name: &str, address: SocketAddr) -> Option<(&'static str, SocketAddr)> {
    let all = doors.iter().flat_map(|(other, list)| list.iter().map(|at| (*other, *at)));
    let mut hits = all.filter(|(_, at)| crate::doors::collide(*at, address));
    // It collides with itself once.
    let mut own = false;
    hits.find(|found| {
        let is_own = *found == (name, address) && !own;
        own |= is_own;
        !is_own
    })
}

impl Rehearse for Stage {
    fn rehearse<'a>(&'a self, candidate: &'a Candidate) -> Rehearsing<'a, Report> {
        Box::pin(self.run(candidate))
    }

    fn taken_over(&self, settings: Arc<Settings>) -> Rehearsing<'_, Vec<String>> {
        Box::pin(async move {
            let mut taken = self.taken.subscribe();
            let there = taken.wait_for(|t| t.settings.as_ref().is_some_and(|s| **s == *settings));
            match tokio::time::timeout(TAKEN_OVER, there).await {
                Ok(Ok(taken)) => taken.troubles.clone(),
                Ok(Err(_)) => vec!["The server stops.".into()],
                Err(_) => vec!["The change is in place, but the roles have not taken it over yet.".into()],
            }
        })
    }
}

/// The services of which something fails; all where it is not one of theirs.
fn failing(probes: &[Probe], touched: &[Touched]) -> Vec<Touched> {
    let door = |p: &Probe| p.name.split(' ').next().unwrap_or_default().to_owned();
    let failed: Vec<String> = probes.iter().filter(|p| p.fault.is_some()).map(door).collect();
    let theirs = |t: &Touched| doors_of(*t).iter().any(|d| failed.iter().any(|f| f == d));
    let some: Vec<Touched> = touched.iter().copied().filter(theirs).collect();
    if some.is_empty() { touched.to_vec() } else { some }
}

fn health_name(server: &str) -> String {
    format!("HealthMailbox-{server}")
}

/// The same probe, for the same reason.
fn fails_alike(before: &Probe, after: &Probe) -> bool {
    let code = |p: &Probe| p.fault.as_ref().map(|(_, finding)| finding.cause.code);
    before.fault.is_some() && before.name == after.name && code(before) == code(after)
}

fn doors_of(service: Touched) -> &'static [&'static str] {
    match service {
        Touched::Imap => &["imap", "imaps"],
        Touched::Pop => &["pop3", "pop3s"],
        Touched::Smtp => &["smtp", "submission", "submissions", "lmtp"],
        Touched::Inner => &[],
    }
}

fn listener_of(door: &str) -> Option<Listener> {
    match door {
        "smtp" => Some(Listener::Smtp),
        "submission" => Some(Listener::Submission),
        "submissions" => Some(Listener::Submissions),
        _ => None,
    }
}

/// From where the door is tried: from nowhere in particular, or from where its receive connectors let people come.
fn pretended(settings: &Settings, door: &str) -> Option<SocketAddr> {
    let Some(listener) = listener_of(door) else { return Some(SocketAddr::new(PRETENDED, 50_000)) };
    let connectors = settings.receive_connectors_in_force();
    let ranges = || {
        connectors.values().filter(|c| c.enabled && c.listener == listener).flat_map(|c| &c.remote_ip_ranges)
    };
    let from = match ranges().any(|r| r.holds(PRETENDED)) {
        true => PRETENDED,
        false => ranges().map(|r| r.from).next()?,
    };
    Some(SocketAddr::new(from, 50_000))
}

/// Whether clients are promised TLS at a door.
pub fn wants_tls(settings: &Settings, door: &str) -> bool {
    let Some(listener) = listener_of(door) else { return door != "lmtp" };
    let connectors = settings.receive_connectors_in_force();
    connectors
        .values()
        .any(|c| c.enabled && c.listener == listener && c.auth_mechanism.contains(&AuthMechanism::Tls))
}

/// Everything that is tried at the doors of one service.
struct Tour {
    who: Option<Who>,
    tls: Arc<TlsClient>,
    base: Leg,
    clock: waypost_base::Clock,
    until: Instant,
    /// Ways that work at one door are the same service's at the next; the first of each door is tried in any case.
    tried: Vec<(Way, bool)>,
    left_out: Vec<String>,
}

impl Tour {
    /// Whether there is time for one more.
    fn has_time(&mut self, name: &str) -> bool {
        let has = Instant::now() < self.until;
        if !has {
            self.left_out.push(name.to_owned());
        }
        has
    }

    async fn door(&mut self, target: &Target) -> Vec<Probe> {
        if !self.has_time(target.door) {
            return Vec::new();
        }
        let nobody = Who { address: String::new(), password: String::new(), host: "localhost".into() };
        let tries = self.who.is_some();
        let who = self.who.clone().unwrap_or(nobody);
        let signs_in = !matches!(target.door, "smtp" | "lmtp");
        let mut offer = probes::Offer::default();
        let first = run(target, target.door.to_owned(), &self.base, &self.clock, async |talk: &mut Talk| {
            offer = say::reach(talk, target, &who, &*self.tls).await?;
            match offer.ways.first() {
                _ if !tries => Ok(()),
                _ if !signs_in => say::deliver(talk, &who).await,
                Some(way) => {
                    say::sign_in(talk, target.door, *way, &who).await?;
                    say::use_it(talk, target.door, &who).await
                }
                // A way that is only offered in clear is tried below.
                None if !offer.in_clear.is_empty() => Ok(()),
                None => Err(Fault::new(cause::NO_WAY, "no way to sign in is offered, not even under TLS")),
            }
        });
        let mut probes = vec![first.await];
        if !tries || !signs_in {
            return probes;
        }
        self.tried.extend(offer.ways.first().map(|way| (*way, true)));
        let dialect = probes::dialect(target.door);
        let under_tls = offer.ways.iter().skip(1).map(|way| (*way, true));
        let in_clear = offer.in_clear.iter().map(|way| (*way, false));
        for (way, private) in under_tls.chain(in_clear) {
            let name = match private {
                true => format!("{} {}", target.door, way.name(dialect)),
                false => format!("{} in clear {}", target.door, way.name(dialect)),
            };
            if self.tried.contains(&(way, private)) || !self.has_time(&name) {
                continue;
            }
            self.tried.push((way, private));
            let run = run(target, name, &self.base, &self.clock, async |talk: &mut Talk| {
                if private {
                    say::reach(talk, target, &who, &*self.tls).await?;
                } else {
                    say::reach_in_clear(talk, target).await?;
                }
                say::sign_in(talk, target.door, way, &who).await
            });
            probes.push(run.await);
        }
        probes
    }
}

/// One connection, from its beginning to its end.
async fn run(
    target: &Target,
    name: String,
    base: &Leg,
    clock: &waypost_base::Clock,
    work: impl AsyncFnOnce(&mut Talk) -> Done,
) -> Probe {
    let mut leg = Leg { started: clock.now(), ..base.clone() };
    leg.operation = format!("rehearsal.{}", target.door).into();
    leg.acceptor.name = format!("{} {}", target.door, target.at);
    let dialect: Dialect = probes::dialect(target.door);
    let mut talk = match Talk::connect(target.at, dialect, &cause::MANNER).await {
        Ok(talk) => talk,
        Err(fault) => return probe(name, leg, Err(fault), clock.now()),
    };
    let done = match tokio::time::timeout(PROBE, work(&mut talk)).await {
        Ok(done) => done,
        Err(_) => {
            let last = talk.steps.last().map_or("the connection", |s| s.name.as_ref()).to_owned();
            Err(Fault::new(cause::TIME, format!("nothing came after {last} in {} seconds", PROBE.as_secs())))
        }
    };
    talk.leave().await;
    leg.steps = std::mem::take(&mut talk.steps);
    if let Some(mechanism) = talk.mechanism.take() {
        leg.mechanism = mechanism.into();
    }
    let shown =
        talk.shown.as_ref().map(|c| format!("certificate shown: {}, until {}", c.subject, c.not_after));
    let done = done.map_err(|fault| match shown {
        Some(shown) => fault.seen(shown),
        None => fault,
    });
    probe(name, leg, done, clock.now())
}

fn probe(name: String, mut leg: Leg, done: Done, now: Timestamp) -> Probe {
    let fault = done.err().map(|fault| {
        let mut facts = vec![fault.text.clone()];
        facts.extend(leg.steps.iter().map(|s| match &s.note {
            Some(note) => format!("step {}: {note}", s.name),
            None => format!("step {}: done", s.name),
        }));
        facts.extend(fault.evidence.iter().cloned());
        facts.dedup();
        let evidence = facts.into_iter().map(|fact| Evidence {
            source: format!("rehearsal of {name}"),
            time: Some(now),
            fact,
        });
        let finding = Finding {
            cause: fault.cause,
            confidence: Confidence::Certain,
            evidence: evidence.collect(),
            remedy: vec![fault.cause.remedy.to_owned()],
            untested: Vec::new(),
        };
        (fault.text, finding)
    });
    leg.outcome = match &fault {
        None => Outcome::Ok,
        Some((text, finding)) => Outcome::Failed { cause: finding.cause, text: text.clone(), retry: false },
    };
    Probe { name, leg, fault, failed_before: false }
}
