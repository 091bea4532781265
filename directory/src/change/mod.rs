//! Changing the directory. One writer at a time in this process; preconditions guard against those elsewhere.
//!
//! Law: memory is changed only after the batch that says so is durable, and before the caller is answered.

mod account;
mod domain;
mod feed;
mod group;
mod invitation;
mod password;
mod server;
mod token;

pub use account::NewAccount;
pub use domain::NewDomain;
pub use feed::{end_copy, take_page};
pub use group::NewGroup;

use crate::address::Address;
use crate::credential::{Hasher, random};
use crate::error::{ChangeError, OpenError};
use crate::limits::{ADDRESSES_MAX, NAME_BYTES_MAX};
use crate::load::load;
use crate::replica::Mark;
use crate::resolve::{Expanded, Recipient, Sender};
use crate::rows;
use crate::snapshot::{Owner, Policy, Snapshot};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use waypost_base::{AccountId, Clock, Timestamp};
use waypost_store::{Batch, CommitError, Committed, Engine, Expect};

/// Attempts of a change that meets another server's change.
const ATTEMPTS: u32 = 4;

/// The directory of the organisation: lookups in memory, changes through the store. Shared as `Arc<Directory>`.
pub struct Directory {
    engine: Arc<dyn Engine>,
    clock: Clock,
    now: RwLock<Arc<Snapshot>>,
    /// Held from reading the snapshot until the change is in it.
    writer: tokio::sync::Mutex<()>,
    hasher: Hasher,
    /// NTLM is checked here, so that NT hashes of passwords are kept.
    keep_nt: std::sync::atomic::AtomicBool,
    disguise: [u8; 32],
    feed: feed::Feed,
    /// A copy of what another server keeps: it is changed by that one's feed only.
    copy: bool,
    /// Sign-ins not yet written, and those that were.
    last: Mutex<BTreeMap<AccountId, Last>>,
}

#[derive(Clone, Debug)]
struct Last {
    at: Timestamp,
    protocol: String,
    written: bool,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let now = self.snapshot();
        f.debug_struct("Directory")
            .field("accounts", &now.accounts.len())
            .field("groups", &now.groups.len())
            .finish_non_exhaustive()
    }
}

impl Directory {
    /// Reads everything. Makes the organisation's secret for disguising unknown users at the first start.
    pub async fn open(engine: Arc<dyn Engine>, clock: Clock) -> Result<Arc<Directory>, OpenError> {
        let mark = feed::first_mark(engine.as_ref()).await?;
        Directory::open_at(engine, clock, mark, false).await
    }

    /// A copy of the directory that another server keeps. Changes are refused here, except notes of sign-ins.
    pub async fn open_copy(engine: Arc<dyn Engine>, clock: Clock) -> Result<Arc<Directory>, OpenError> {
        let mark = feed::read_mark(engine.as_ref()).await?.unwrap_or_default();
        Directory::open_at(engine, clock, mark, true).await
    }

    async fn open_at(
        engine: Arc<dyn Engine>,
        clock: Clock,
        mark: Mark,
        copy: bool,
    ) -> Result<Arc<Directory>, OpenError> {
        let mut loaded = load(engine.as_ref(), Policy::default()).await?;
        let disguise = match loaded.disguise {
            Some(disguise) => disguise,
            None => make_disguise(engine.as_ref()).await?,
        };
        let last = std::mem::take(&mut loaded.last)
            .into_iter()
            .map(|(id, (at, protocol))| (id, Last { at, protocol, written: true }))
            .collect();
        Ok(Arc::new(Directory {
            engine,
            clock,
            now: RwLock::new(Arc::new(loaded.snapshot)),
            writer: tokio::sync::Mutex::new(()),
            hasher: Hasher::default(),
            keep_nt: std::sync::atomic::AtomicBool::new(false),
            disguise,
            feed: feed::Feed::at(mark),
            copy,
            last: Mutex::new(last),
        }))
    }

    /// The directory as it is now. Cheap; hold it as long as one decision takes.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// [`Snapshot::resolve`] on the directory as it is now.
    pub fn resolve(&self, recipient: &str) -> Recipient {
        self.now.read().unwrap_or_else(PoisonError::into_inner).resolve(recipient)
    }

    /// [`Snapshot::expand`] on the directory as it is now.
    pub fn expand(&self, group: &crate::Group, sender: Sender<'_>) -> Expanded {
        self.snapshot().expand(group, sender)
    }

    /// What the settings say about lookups; takes effect at once.
    pub fn set_policy(&self, policy: Policy) {
        self.edit(|s| s.policy = policy);
    }

    /// Whether another server keeps the directory, and this is a copy.
    pub fn is_copy(&self) -> bool {
        self.copy
    }

    /// Says which server this process is.
    pub fn set_here(&self, id: &str) {
        self.edit(|s| s.here = Some(id.into()));
    }

    pub(crate) fn hasher(&self) -> &Hasher {
        &self.hasher
    }

    pub(crate) fn disguise(&self) -> [u8; 32] {
        self.disguise
    }

    /// Reads everything anew, for changes that another server made.
    pub async fn reload(&self) -> Result<(), OpenError> {
        let _writer = self.writer.lock().await;
        self.reread().await
    }

    async fn reread(&self) -> Result<(), OpenError> {
        let before = self.snapshot();
        let mut loaded = load(self.engine.as_ref(), before.policy).await?;
        loaded.snapshot.here.clone_from(&before.here);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded.snapshot);
        Ok(())
    }

    /// Changes the snapshot: in place where nobody holds it, else in a copy.
    fn edit<T>(&self, change: impl FnOnce(&mut Snapshot) -> T) -> T {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut now))
    }

    /// Commits; an unknown outcome is asked for again by the same token. A conflict rereads the directory.
    async fn commit(&self, mut batch: Batch) -> Result<Committed, ChangeError> {
        if self.copy {
            let keeper = self.snapshot().primary().map(|s| s.id.clone());
            return Err(ChangeError::Copy(keeper.unwrap_or_else(|| "the primary".into())));
        }
        batch.token(random()?);
        batch.add(rows::single(rows::NUMBER), 1);
        let mut answer = self.engine.commit(batch.clone()).await;
        for _ in 1..ATTEMPTS {
            if !matches!(answer, Err(CommitError::Unknown(_))) {
                break;
            }
            answer = self.engine.commit(batch.clone()).await;
        }
        match answer {
            Ok(committed) => {
                self.fed(batch, &committed).await;
                Ok(committed)
            }
            Err(CommitError::Conflict(_)) => {
                // Whether the reread works or not: the caller has to try again.
                let _ = self.reread().await;
                Err(ChangeError::Conflict)
            }
            Err(e) => Err(e.into()),
        }
    }

    /// When and by which protocol somebody signed in to this account last.
    pub fn last_sign_in(&self, id: AccountId) -> Option<(Timestamp, String)> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.get(&id).map(|l| (l.at, l.protocol.clone()))
    }

    /// Notes a sign-in in memory; [`flush_sign_ins`](Directory::flush_sign_ins) writes it some time.
    pub(crate) fn note_sign_in(&self, id: AccountId, at: Timestamp, protocol: &'static str) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.insert(id, Last { at, protocol: protocol.to_owned(), written: false });
    }

    /// Writes the sign-ins noted since the last call. A crash loses the newest, which is accepted for this.
    /// `server` calls it every minute and at the end.
    pub async fn flush_sign_ins(&self) -> Result<usize, CommitError> {
        let mut fresh: Vec<(AccountId, Timestamp, String)> = Vec::new();
        {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            for (id, l) in last.iter_mut().filter(|(_, l)| !l.written).take(1_000) {
                l.written = true;
                fresh.push((*id, l.at, l.protocol.clone()));
            }
        }
        if fresh.is_empty() {
            return Ok(0);
        }
        let mut batch = Batch::new(rows::PARTITION);
        for (id, at, protocol) in &fresh {
            let mut value = at.0.to_be_bytes().to_vec();
            value.extend_from_slice(protocol.as_bytes());
            batch.put(rows::number(rows::LAST, id.0), value);
        }
        self.engine.commit(batch).await?;
        Ok(fresh.len())
    }
}

async fn make_disguise(engine: &dyn Engine) -> Result<[u8; 32], OpenError> {
    let key = rows::single(rows::DISGUISE);
    let fresh: [u8; 32] = random().map_err(|_| CommitError::Unavailable("no random bytes".into()))?;
    let mut batch = Batch::new(rows::PARTITION);
    batch.expect(key.clone(), Expect::Absent).put(key.clone(), fresh.to_vec());
    match engine.commit(batch).await {
        Ok(_) => Ok(fresh),
        // Another server was first: its secret is everybody's.
        Err(CommitError::Conflict(_)) => {
            let row = engine.get(vec![key]).await?.into_iter().next().flatten();
            row.and_then(|v| v.as_ref().try_into().ok())
                .ok_or_else(|| OpenError::Damaged { key: "3005".into(), why: "not 32 bytes".into() })
        }
        Err(e) => Err(e.into()),
    }
}

/// A name for people: not empty, not too long, on one line.
fn check_name(field: &'static str, name: &str) -> Result<(), ChangeError> {
    if name.trim().is_empty() {
        return Err(ChangeError::invalid(field, "must not be empty"));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(ChangeError::invalid(field, format!("at most {NAME_BYTES_MAX} bytes")));
    }
    if name.chars().any(char::is_control) {
        return Err(ChangeError::invalid(field, "must not hold control characters"));
    }
    Ok(())
}

/// Addresses must be in domains that we take mail for, and belong to nobody else.
fn check_addresses(now: &Snapshot, wanted: &[&Address], own: Option<Owner>) -> Result<(), ChangeError> {
    if wanted.len() > ADDRESSES_MAX {
        return Err(ChangeError::invalid("addresses", format!("at most {ADDRESSES_MAX}")));
    }
    for address in wanted {
        if !now.domains.contains_key(address.domain()) {
            return Err(ChangeError::invalid(
                "address",
                format!("{} is not an accepted domain (of <{address}>)", address.domain()),
            ));
        }
        if let Some(owner) = now.addresses.get(address.as_str()).filter(|o| Some(**o) != own) {
            return Err(exists(now, "the address", address.as_str(), *owner));
        }
    }
    Ok(())
}

fn check_unique_name(now: &Snapshot, name: &str, own: Option<Owner>) -> Result<(), ChangeError> {
    match now.names.get(name.to_lowercase().as_str()).filter(|o| Some(**o) != own) {
        Some(owner) => Err(exists(now, "the name", name, *owner)),
        None => Ok(()),
    }
}

fn exists(now: &Snapshot, what: &'static str, name: &str, owner: Owner) -> ChangeError {
    ChangeError::Exists { what, name: name.to_owned(), owner: now.call(owner) }
}

/// Adds to the batch what moves the address and name rows of one owner from what they were to what they shall be.
fn move_rows(batch: &mut Batch, owner: Owner, old: (&str, Vec<&Address>), new: (&str, Vec<&Address>)) {
    let olds: BTreeSet<&Address> = old.1.into_iter().collect();
    let news: BTreeSet<&Address> = new.1.into_iter().collect();
    for gone in olds.difference(&news) {
        batch.del(rows::text(rows::ADDRESS, gone.as_str()));
    }
    for fresh in news.difference(&olds) {
        let key = rows::text(rows::ADDRESS, fresh.as_str());
        batch.expect(key.clone(), Expect::Absent).put(key, rows::owner(owner));
    }
    let (old_name, new_name) = (old.0.to_lowercase(), new.0.to_lowercase());
    if old_name != new_name {
        let key = rows::text(rows::NAME, &new_name);
        batch.expect(key.clone(), Expect::Absent).put(key, rows::owner(owner));
        batch.del(rows::text(rows::NAME, &old_name));
    }
}
