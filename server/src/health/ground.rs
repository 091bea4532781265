//! What probes stand on: the running server as they see it, the mailboxes that they sign in to, and how a try is put into a
//! result.
//!
//! The password of health mailboxes is made up at the start and is nowhere but in memory: each server lends it to them for
//! its own doors. Their mail is removed for good, and lists, statistics and searches for people leave them out.

use super::cause;
use super::reach::Reach;
use crate::doors::Doors;
use crate::machine;
use crate::outbound::TlsClient;
use crate::probe::{Dialect, Done, Fault, Manner, Salts, Talk, Target, Who, dialect};
use crate::run::services::Services;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use waypost_base::Timestamp;
use waypost_base::explain::{Confidence, Evidence, Finding, Leg, Outcome, Party};
use waypost_directory::replica::Mark;
use waypost_directory::{Account, AccountKind, CredentialKind, NewAccount, Snapshot};
use waypost_health::Subject;
use waypost_mailbox::{AccountOptions, UidSet};

/// What mail programs would be called: the beginning of every health mailbox's name.
const NAME: &str = "HealthMailbox-";
/// Mail in a health mailbox that is older than this has been left behind by a probe that was broken off.
const LEFT_BEHIND_MILLIS: i64 = 120_000;

/// What a try came to, before it has a name and a time.
#[derive(Debug, Default)]
pub struct Tried {
    pub legs: Vec<Leg>,
    pub fault: Option<Finding>,
    /// It works, though not as it should.
    pub degraded: bool,
    pub subject: Vec<Subject>,
    pub culprit: Option<Subject>,
}

impl Tried {
    pub fn of(subject: Vec<Subject>) -> Tried {
        Tried { subject, ..Tried::default() }
    }

    /// With one more hop, and what was wrong with it.
    pub fn with(mut self, (leg, fault): (Leg, Option<Finding>)) -> Tried {
        self.legs.push(leg);
        self.fault = self.fault.or(fault);
        self
    }

    pub fn because(mut self, fault: Option<Finding>, culprit: Option<Subject>) -> Tried {
        if fault.is_some() && self.fault.is_none() {
            self.fault = fault;
            self.culprit = culprit;
        }
        self
    }
}

/// The running server.
pub struct Ground {
    pub services: Arc<Services>,
    pub doors: Arc<Doors>,
    pub tls: Arc<TlsClient>,
    password: String,
    /// What it is checked by: made once, since that takes time.
    kept: tokio::sync::OnceCell<CredentialKind>,
    /// Where the directory stood when the password was lent.
    lent: Mutex<Option<Mark>>,
    /// A maildrop is for one session at a time.
    pub pop: tokio::sync::Mutex<()>,
    salts: Salts,
    pub(super) reach: Reach,
    pub(super) out: super::out::Way,
}

impl Ground {
    pub fn new(services: Arc<Services>, doors: Arc<Doors>) -> Ground {
        Ground {
            services,
            doors,
            tls: Arc::default(),
            password: machine::password(),
            kept: tokio::sync::OnceCell::new(),
            lent: Mutex::default(),
            pop: tokio::sync::Mutex::default(),
            salts: Salts::default(),
            reach: Reach::default(),
            out: super::out::Way::default(),
        }
    }

    pub fn now(&self) -> Timestamp {
        self.services.organisation.clock.now()
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.services.organisation.directory.snapshot()
    }

    /// The id of this server.
    pub fn here(&self) -> String {
        let now = self.snapshot();
        let own = || self.services.settings.current().server.id.to_ascii_lowercase();
        now.here().map_or_else(own, str::to_owned)
    }

    pub fn leg(&self, operation: impl Into<String>, to: Party) -> Leg {
        Leg::start(operation.into(), Party::new("health probe", self.here()), to, self.now())
    }

    /// The health mailboxes that there are, each with the id of its home; homes that were revoked are left out.
    pub fn mailboxes(&self) -> Vec<(String, Arc<Account>)> {
        let now = self.snapshot();
        let homes = now.servers().filter(|s| s.roles.mailbox && s.revoked.is_none());
        let mut homes: Vec<String> = homes.map(|s| s.id.clone()).collect();
        if homes.is_empty() {
            homes.push(self.here());
        }
        let found = homes.into_iter().filter_map(|home| {
            let account = now.find_account(&format!("{NAME}{home}"))?;
            let fits = account.kind == AccountKind::Monitoring && now.home_of(account) == home;
            // A mailbox that was moved is no proof of the server that it is named after.
            fits.then(|| (home.clone(), Arc::clone(account)))
        });
        found.collect()
    }

    /// The health mailbox of a server.
    pub fn mailbox_of(&self, home: &str) -> Option<Arc<Account>> {
        self.mailboxes().into_iter().find(|(h, _)| h == home).map(|(_, account)| account)
    }

    /// The mailbox to begin with: this server's own, else any.
    pub fn any_mailbox(&self) -> Option<(String, Arc<Account>)> {
        let here = self.here();
        let all = self.mailboxes();
        all.iter().find(|(home, _)| *home == here).or_else(|| all.first()).cloned()
    }

    pub fn who(&self, account: &Account) -> Who {
        Who {
            address: account.primary.to_string(),
            password: self.password.clone(),
            host: self.services.settings.current().server.name.clone(),
        }
    }

    /// Sees to it that there are mailboxes to sign in to, and that the password is good for them. What could not be done is
    /// found by the probes.
    pub async fn tend(&self) {
        let organisation = &self.services.organisation;
        let host = self.services.settings.current().server.name.clone();
        if !super::around::is_local(&host)
            && self.doors.addresses().iter().any(|(_, at)| at.ip().is_unspecified())
        {
            self.reach.look_up(&host, Arc::new(self.services.works.mail_auth.names.clone()));
        }
        if organisation.is_primary() {
            self.make_mailboxes().await;
        }
        let (now, all) = (self.snapshot(), self.mailboxes());
        let ours: Vec<_> = all.iter().filter(|(_, account)| now.is_here(account)).collect();
        for (_, account) in &ours {
            if organisation.mailboxes.account(account.id).await.is_err()
                && let Err(e) =
                    organisation.mailboxes.create_account(account.id, AccountOptions::default()).await
            {
                tracing::debug!(error = %e, "a health mailbox was not made");
            }
        }
        organisation.mailboxes.keep_nothing_of(ours.iter().map(|(_, account)| account.id).collect());
        for (_, account) in &ours {
            self.clean(account).await;
        }
        self.lend(all.iter().map(|(_, account)| account.id).collect()).await;
    }

    async fn make_mailboxes(&self) {
        let directory = &self.services.organisation.directory;
        let (now, here) = (self.snapshot(), self.here());
        let mut homes: Vec<String> =
            now.servers().filter(|s| s.roles.mailbox && s.revoked.is_none()).map(|s| s.id.clone()).collect();
        if now.servers().next().is_none() && self.services.roles.mailbox {
            homes.push(here.clone());
        }
        for home in homes {
            let name = format!("{NAME}{home}");
            if now.find_account(&name).is_some() || now.default_domain().is_none() {
                continue;
            }
            let kind = Some(AccountKind::Monitoring);
            let new =
                NewAccount { kind, home: (home != here).then(|| home.clone()), ..NewAccount::new(name) };
            if let Err(e) = directory.add_account(new).await {
                tracing::warn!(server = home, error = %e, "a server has no mailbox for health probes");
            }
        }
    }

    /// After the directory has changed; else nothing is done.
    pub async fn lend_again(&self) {
        let mark = self.services.organisation.directory.mark();
        let lent = *self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        if lent.is_some_and(|lent| lent != mark) {
            self.lend(self.mailboxes().iter().map(|(_, account)| account.id).collect()).await;
        }
    }

    async fn lend(&self, accounts: BTreeSet<waypost_base::AccountId>) {
        let mark = self.services.organisation.directory.mark();
        if *self.lent.lock().unwrap_or_else(PoisonError::into_inner) == Some(mark) {
            return;
        }
        let kind = self.kept.get_or_try_init(|| self.services.lent.kind_of(&self.password)).await;
        match kind {
            Ok(kind) => {
                self.services.lent.lend_to(accounts, kind);
                *self.lent.lock().unwrap_or_else(PoisonError::into_inner) = Some(mark);
            }
            Err(e) => tracing::warn!(error = %e, "health mailboxes have no password: probes cannot sign in"),
        }
    }

    /// Removes what probes that were broken off have left.
    async fn clean(&self, account: &Account) {
        let Ok(mailbox) = self.services.organisation.mailboxes.account(account.id).await else { return };
        let before = self.now().plus_millis(-LEFT_BEHIND_MILLIS);
        for folder in mailbox.folders().iter() {
            let Ok(session) = mailbox.select(folder.id).await else { continue };
            let old: UidSet = session
                .rows(1, session.len())
                .filter(|(_, row)| row.saved < before)
                .map(|(_, row)| row.uid)
                .collect();
            drop(session);
            if !old.is_empty()
                && let Err(e) = mailbox.discard(folder.id, &old).await
            {
                tracing::debug!(error = %e, "a health mailbox was not cleaned");
            }
        }
    }

    /// Doors that the settings want open and this server has.
    pub fn wanted_doors(&self) -> Vec<&'static str> {
        let settings = self.services.settings.current();
        let open = self.doors.addresses();
        let wanted = crate::run::settings::doors(&settings);
        let has = |door: &&'static str| {
            let asked = wanted.get(*door).is_some_and(|list| !list.is_empty());
            crate::run::has_door(self.services.roles, door)
                && (asked || open.iter().any(|(name, _)| name == door))
        };
        crate::run::DOORS.into_iter().filter(has).collect()
    }

    /// The finding of a fault that this server itself has seen.
    pub fn finding(&self, leg: &Leg, fault: &Fault) -> Finding {
        let here = self.here();
        let now = Some(self.now());
        let seen =
            |fact: String| Evidence { source: format!("{here}: probe {}", leg.operation), time: now, fact };
        let mut evidence = vec![seen(fault.text.clone())];
        let steps = leg.steps.iter().filter(|s| s.note.as_ref() != Some(&fault.text));
        let said = steps.map(|s| match &s.note {
            Some(note) => format!("step {}: {note} ({:.1} ms)", s.name, s.micros as f64 / 1000.0),
            None => format!("step {}: done ({:.1} ms)", s.name, s.micros as f64 / 1000.0),
        });
        evidence.extend(said.chain(fault.evidence.iter().cloned()).map(seen));
        Finding {
            cause: fault.cause,
            confidence: Confidence::Certain,
            evidence,
            remedy: vec![fault.cause.remedy.to_owned()],
            untested: Vec::new(),
        }
    }

    /// A leg with its end, and the finding where it failed.
    pub fn closed<T>(&self, mut leg: Leg, done: Done<T>) -> (Leg, Option<Finding>) {
        match done {
            Ok(_) => {
                leg.outcome = Outcome::Ok;
                (leg, None)
            }
            Err(fault) => {
                let finding = self.finding(&leg, &fault);
                leg.outcome = Outcome::Failed { cause: fault.cause, text: fault.text, retry: true };
                (leg, Some(finding))
            }
        }
    }

    /// A check that is no conversation: one step, which took this long.
    pub fn looked(&self, operation: &str, to: Party, begun: Instant, done: Done) -> (Leg, Option<Finding>) {
        let mut leg = self.leg(operation, to);
        leg.mechanism = "in-process".into();
        leg.step("look", micros(begun), done.as_ref().err().map(|f| f.text.clone()));
        self.closed(leg, done)
    }

    /// One connection to a door, from its beginning to its end.
    pub async fn converse(
        &self,
        target: &Target,
        manner: &'static Manner,
        operation: &str,
        limit: Duration,
        work: impl AsyncFnOnce(&mut Talk) -> Done,
    ) -> Spoken {
        let mut leg = self.leg(operation, Party::new("listener", format!("{} {}", target.door, target.at)));
        let dialect: Dialect = dialect(target.door);
        let begun = Instant::now();
        let mut talk = match Talk::connect(target.at, dialect, manner).await {
            Ok(talk) => talk,
            Err(fault) => {
                leg.step("connect", micros(begun), Some(fault.text.clone()));
                let fault = match self.compared(target).await {
                    Some(seen) => fault.seen(seen),
                    None => fault,
                };
                return Spoken { leg, done: Err(fault), shown: None };
            }
        };
        talk.salts = Some(Arc::clone(&self.salts));
        let done = match tokio::time::timeout(limit, work(&mut talk)).await {
            Ok(done) => done,
            Err(_) => {
                let last = talk.steps.last().map_or("the connection", |s| s.name.as_ref()).to_owned();
                let text = format!("nothing came after {last} in {:.1} seconds", limit.as_secs_f64());
                Err(Fault::new(manner.time, text))
            }
        };
        talk.leave().await;
        leg.steps = std::mem::take(&mut talk.steps);
        if let Some(mechanism) = talk.mechanism.take() {
            leg.mechanism = mechanism.into();
        }
        Spoken { leg, done, shown: talk.shown.take() }
    }
}

/// What became of a conversation.
pub struct Spoken {
    pub leg: Leg,
    pub done: Done,
    pub shown: Option<waypost_trust::channel::PeerCertificate>,
}

pub fn micros(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// A fault where there is no health mailbox.
pub fn nobody() -> Fault {
    Fault::new(cause::NO_MAILBOX, "the directory has no health mailbox whose server takes part")
}
