//! The outbox: each sender's folder of what is still under way, with the reason, the server and the next attempt in words.
//!
//! Derived from the queue, never the other way round, but for one thing: an item that its owner deletes is recalled.
//!
//! Laws:
//! - A message that leaves at once costs nothing here: an outbox is written to only when a message was put off, held up,
//!   or has waited for ten seconds.
//! - What is shown is true within a minute or so: items are replaced (the new one first, then the old one goes), not changed,
//!   since messages in a folder never change.
//! - After a crash the folder is compared with the queue: copies of what has left go, what waits is shown again, and what
//!   the owner deleted is recalled ([`rows`] tells the two apart).
//! - At most [`crate::limits::OUTBOX_ITEMS`] are shown, however many wait.

mod account;
mod item;
mod rows;
#[cfg(test)]
mod tests;

use crate::hub::Hub;
use crate::limits::{OUTBOX_AFTER_MILLIS, OUTBOX_FRESH, OUTBOX_ITEMS, OUTBOX_WRITERS};
use account::Outbox;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;
use waypost_base::AccountId;
use waypost_queue::Change;

/// Milliseconds after which an outbox is tried again that could not be opened or written.
const AGAIN_MILLIS: u64 = 30_000;

/// Keeps all outboxes until the hub stops. Run it beside [`crate::send::run`], when the queue has recovered.
pub async fn keep(hub: Arc<Hub>) {
    let mut changes = hub.queue.subscribe();
    let mut stopping = hub.stopping();
    let keeper =
        Arc::new(Keeper { hub, writers: Arc::new(Semaphore::new(OUTBOX_WRITERS)), live: Mutex::default() });
    let mut fresh = Fresh::default();
    // When everything is looked at, since something was missed.
    let mut again: Option<Instant> = None;
    keeper.begin().await;
    loop {
        let due = fresh.next();
        tokio::select! {
            biased;
            () = stopped(&mut stopping) => return,
            change = changes.recv() => match change {
                Ok(Change { owner: Some(owner), item }) => keeper.changed(&mut fresh, owner, item).await,
                Ok(Change { owner: None, .. }) => {}
                Err(RecvError::Lagged(missed)) => {
                    tracing::debug!(missed, "the outbox looks at everything again soon");
                    again.get_or_insert(Instant::now() + Duration::from_millis(OUTBOX_AFTER_MILLIS));
                }
                Err(RecvError::Closed) => return,
            },
            () = sleep_until(due) => {
                for (owner, item) in fresh.due() {
                    keeper.look(owner, item);
                }
            }
            () = sleep_until(again) => {
                again = None;
                keeper.all();
            }
        }
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error says that the hub is gone.
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Messages that came a moment ago, of accounts whose outbox is empty.
#[derive(Default)]
struct Fresh {
    owners: BTreeMap<u64, AccountId>,
    /// In the order in which they came; those that are not in `owners` any more have left.
    line: VecDeque<(Instant, u64)>,
}

impl Fresh {
    fn next(&self) -> Option<Instant> {
        self.line.front().map(|(due, _)| *due)
    }

    fn add(&mut self, item: u64, owner: AccountId) {
        let due = Instant::now() + Duration::from_millis(OUTBOX_AFTER_MILLIS);
        self.owners.insert(item, owner);
        self.line.push_back((due, item));
    }

    fn due(&mut self) -> Vec<(AccountId, u64)> {
        let now = Instant::now();
        let mut found = Vec::new();
        while let Some((_, item)) = self.line.front().copied().filter(|(due, _)| *due <= now) {
            self.line.pop_front();
            found.extend(self.owners.remove(&item).map(|owner| (owner, item)));
        }
        found
    }
}

/// What an account's task is told when it begins.
#[derive(Default)]
struct News {
    items: Vec<u64>,
    /// Where everything is told: how many items there are. Else 0, and the items have waited long enough.
    all: u64,
}

impl News {
    fn of(item: u64) -> News {
        News { items: vec![item], all: 0 }
    }
}

struct Keeper {
    hub: Arc<Hub>,
    writers: Arc<Semaphore>,
    /// The accounts whose outbox has something in it, each kept by a task.
    live: Mutex<BTreeMap<AccountId, mpsc::UnboundedSender<u64>>>,
}

impl Keeper {
    fn live(&self) -> MutexGuard<'_, BTreeMap<AccountId, mpsc::UnboundedSender<u64>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After a start: the outboxes that have something, and those that should.
    async fn begin(self: &Arc<Self>) {
        loop {
            match rows::all(self.hub.mailboxes.store()).await {
                Ok(shown) => {
                    let accounts: BTreeSet<AccountId> = shown.into_keys().collect();
                    accounts.into_iter().for_each(|account| self.wake(account, News::default()));
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, "the outboxes cannot be read yet");
                    tokio::time::sleep(Duration::from_millis(AGAIN_MILLIS)).await;
                }
            }
        }
        self.all();
    }

    /// Everything that anybody waits for.
    fn all(self: &Arc<Self>) {
        for (owner, (items, all)) in self.hub.queue.owners(OUTBOX_ITEMS) {
            self.wake(owner, News { items, all });
        }
    }

    async fn changed(self: &Arc<Self>, fresh: &mut Fresh, owner: AccountId, item: u64) {
        let told = self.live().get(&owner).is_some_and(|live| live.send(item).is_ok());
        if told {
            return;
        }
        if !self.hub.queue.has(item) {
            fresh.owners.remove(&item);
            return;
        }
        if !fresh.owners.contains_key(&item) {
            if fresh.line.len() < OUTBOX_FRESH {
                fresh.add(item, owner);
            } else {
                self.wake(owner, News::of(item));
            }
            return;
        }
        match self.hub.queue.story(item).await {
            Ok(Some(state)) if item::is_held_up(&state) => {
                fresh.owners.remove(&item);
                self.wake(owner, News::of(item));
            }
            // Looked at when its time has come.
            Ok(_) | Err(_) => {}
        }
    }

    /// A message has waited for a while.
    fn look(self: &Arc<Self>, owner: AccountId, item: u64) {
        if self.hub.queue.has(item) {
            self.wake(owner, News::of(item));
        }
    }

    /// Tells the task of an account what has changed; or begins one.
    fn wake(self: &Arc<Self>, account: AccountId, news: News) {
        let directory = self.hub.directory.snapshot();
        if directory.account(account).is_some_and(|account| !directory.is_here(account)) {
            // The server that holds it shows what is under way from there.
            return;
        }
        let mut live = self.live();
        if let Some(live) = live.get(&account) {
            // It ends only when the map does not have it any more, unless it has panicked.
            let all = (news.all > 0).then_some(&0);
            if news.items.iter().chain(all).all(|item| live.send(*item).is_ok()) {
                return;
            }
        }
        let (tell, told) = mpsc::unbounded_channel();
        live.insert(account, tell);
        tokio::spawn(self.clone().tend(account, news, told));
    }

    /// An account's task: ends when its outbox is empty.
    async fn tend(
        self: Arc<Self>,
        account: AccountId,
        mut first: News,
        mut news: mpsc::UnboundedReceiver<u64>,
    ) {
        let mut stopping = self.hub.stopping();
        loop {
            let kept = tokio::select! {
                kept = self.keep_one(account, std::mem::take(&mut first), &mut news) => kept,
                () = stopped(&mut stopping) => return,
            };
            if let Err(error) = kept {
                let directory = self.hub.directory.snapshot();
                if directory.account(account).is_none_or(|account| !directory.is_here(account)) {
                    self.live().remove(&account);
                    return;
                }
                tracing::warn!(%account, %error, "an outbox could not be kept");
                tokio::time::sleep(Duration::from_millis(AGAIN_MILLIS)).await;
                // What was told meanwhile, and what it had taken up, is asked for again.
                first = News { items: self.hub.queue.items_of(account), all: 0 };
                first.all = u64::try_from(first.items.len()).unwrap_or(u64::MAX);
                first.items.truncate(OUTBOX_ITEMS);
                continue;
            }
            let mut live = self.live();
            // Nobody can add to it while the map is held.
            match news.try_recv() {
                Ok(item) => first.items.extend((item != 0).then_some(item)),
                Err(_) => {
                    live.remove(&account);
                    return;
                }
            }
        }
    }

    async fn keep_one(
        &self,
        account: AccountId,
        first: News,
        news: &mut mpsc::UnboundedReceiver<u64>,
    ) -> Result<(), account::OutboxError> {
        let mut outbox = Outbox::open(self.hub.clone(), account, self.writers.clone()).await?;
        let wait = if first.all > 0 { OUTBOX_AFTER_MILLIS } else { 0 };
        outbox.take_up(&first.items, first.all, Instant::now() + Duration::from_millis(wait));
        outbox.keep(news).await
    }
}
