//! The requests of moves, and whoever works them off.

use super::wire::Remote;
use crate::inner::replicate;
use crate::machine;
use crate::run::services::Services;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use waypost_admin::moves::{MoveRequest, MoveStatus, Moves};
use waypost_admin::run::Answer;
use waypost_admin::{Category, Failure};
use waypost_base::AccountId;
use waypost_mailbox::moving::{self, End, MoveError, Stand, Stop};
use waypost_store::{Batch, Partition, prefix_range};
use waypost_trust::leg::{Hello, Service};

/// First byte of the requests' rows: `[0x41][account u32]`, JSON.
const PREFIX: u8 = 0x41;
/// Moves at the same time; others wait.
const AT_ONCE: usize = 2;
/// Milliseconds between attempts, at first and at most.
const AGAIN: (u64, u64) = (1_000, 30_000);
/// Attempts until a move is given up.
const ATTEMPTS: u32 = 200;

/// The moves of the server that keeps the directory.
#[derive(Default)]
pub struct Mover {
    services: Mutex<Weak<Services>>,
    moves: Mutex<BTreeMap<AccountId, Arc<Under>>>,
}

/// A move under way, or that was.
struct Under {
    request: watch::Sender<MoveRequest>,
    stop: Arc<AtomicBool>,
    stopped: Notify,
}

impl Under {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is whole after every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(account: AccountId) -> Vec<u8> {
    let mut key = vec![PREFIX];
    key.extend_from_slice(&account.0.to_be_bytes());
    key
}

/// Takes up what an earlier run has left, then works moves off until the server stops. Only where the directory is kept.
pub async fn keep(services: Arc<Services>) {
    if services.organisation.directory.is_copy() {
        return;
    }
    let mover = Arc::clone(&services.moving);
    *lock(&mover.services) = Arc::downgrade(&services);
    mover.load(&services).await;
    let mut stop = services.stopping();
    // An error says that the services are gone.
    let _ = stop.wait_for(|stop| *stop).await;
}

impl Mover {
    fn services(&self) -> Option<Arc<Services>> {
        lock(&self.services).upgrade()
    }

    async fn load(self: &Arc<Self>, services: &Arc<Services>) {
        let mut found = Vec::new();
        let read = services.organisation.store.each(prefix_range(&[PREFIX]), |_, value| {
            found.extend(serde_json::from_slice::<MoveRequest>(value).ok());
            true
        });
        if let Err(e) = read.await {
            tracing::error!(error = %e, "the requests of moves cannot be read");
        }
        for request in found {
            let over = request.status.is_over();
            let under = self.enter(request.clone());
            if !over {
                tracing::info!(mailbox = request.name, to = request.to, "a move goes on");
                tokio::spawn(Arc::clone(self).work(Arc::clone(services), under));
            }
        }
    }

    fn enter(&self, request: MoveRequest) -> Arc<Under> {
        let account = request.account;
        let under = Arc::new(Under {
            request: watch::Sender::new(request),
            stop: Arc::default(),
            stopped: Notify::new(),
        });
        lock(&self.moves).insert(account, Arc::clone(&under));
        under
    }

    /// Works one request off.
    async fn work(self: Arc<Self>, services: Arc<Services>, under: Arc<Under>) {
        let mut stopping = services.stopping();
        tokio::select! {
            () = self.attempts(&services, &under) => {}
            _ = stopping.wait_for(|stop| *stop) => {}
        }
    }

    async fn attempts(&self, services: &Arc<Services>, under: &Under) {
        let mut pause = AGAIN.0;
        loop {
            self.turn(under).await;
            under.request.send_modify(|request| {
                request.attempts += 1;
                request.status = MoveStatus::InProgress;
            });
            let done = attempt(services, under).await;
            let (status, message) = match done {
                Ok(()) => (MoveStatus::Completed, None),
                Err(MoveError::Stopped) => (MoveStatus::Cancelled, None),
                Err(e) => {
                    let tries = under.request.borrow().attempts;
                    tracing::warn!(mailbox = under.request.borrow().name, error = %e, tries, "a move was interrupted");
                    let status =
                        if e.retry() && tries < ATTEMPTS { MoveStatus::Queued } else { MoveStatus::Failed };
                    (status, Some(e.to_string()))
                }
            };
            let now = services.organisation.clock.now();
            under.request.send_modify(|request| {
                request.status = status;
                request.message = message;
                request.ended = status.is_over().then_some(now);
            });
            let request = under.request.borrow().clone();
            if status == MoveStatus::Completed {
                tracing::info!(
                    mailbox = request.name,
                    from = request.from,
                    to = request.to,
                    rows = request.rows,
                    frozen_millis = request.frozen_millis,
                    "a mailbox has moved"
                );
            }
            if let Err(e) = write(services, &request).await {
                tracing::warn!(error = %e, "a move's request could not be written");
            }
            if status.is_over() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(pause)) => {}
                () = under.stopped.notified() => {}
            }
            pause = (pause * 2).min(AGAIN.1);
        }
    }

    /// Waits until few enough others are under way.
    async fn turn(&self, under: &Under) {
        loop {
            let busy = |other: &Arc<Under>| {
                matches!(
                    other.request.borrow().status,
                    MoveStatus::InProgress | MoveStatus::CompletionInProgress
                )
            };
            let under_way = lock(&self.moves).values().filter(|other| busy(other)).count();
            if under_way < AT_ONCE || under.is_stopped() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

async fn write(services: &Services, request: &MoveRequest) -> Result<(), String> {
    let mut batch = Batch::new(Partition::tag(PREFIX));
    batch.put(key(request.account), serde_json::to_vec(request).map_err(|e| e.to_string())?);
    services.organisation.store.commit(batch).await.map(drop).map_err(|e| e.to_string())
}

/// One end of a move: ours, or that of another server.
async fn end(services: &Services, server: &str, account: AccountId) -> Result<Box<dyn End>, MoveError> {
    let organisation = &services.organisation;
    if organisation.directory.snapshot().here().is_none_or(|here| here == server) {
        return Ok(Box::new(organisation.mailboxes.end_of_move(account)));
    }
    let mut hello = Hello::new(Service::Move, machine::correlation());
    hello.detail = serde_json::json!({ "account": account.0 });
    match services.inner.open(server, hello).await {
        Ok(opened) => Ok(Box::new(Remote::new(opened.stream, server.to_owned()))),
        Err(e) => Err(MoveError::Peer(format!("{server} cannot be reached: {e}"))),
    }
}

/// Where the directory says that the account is.
fn home(services: &Services, account: AccountId) -> Option<String> {
    let now = services.organisation.directory.snapshot();
    now.account(account).map(|account| now.home_of(account).to_owned())
}

async fn attempt(services: &Arc<Services>, under: &Under) -> Result<(), MoveError> {
    let request = under.request.borrow().clone();
    let (account, from, to) = (request.account, request.from.as_str(), request.to.as_str());
    if under.is_stopped() && home(services, account).is_some_and(|home| home.eq_ignore_ascii_case(from)) {
        take_back(services, &request).await;
        return Err(MoveError::Stopped);
    }
    let mut source = end(services, from, account).await?;
    match home(services, account) {
        None => return Err(waypost_mailbox::AccountError::NoAccount(account).into()),
        // Switched before a crash: what is left is to let go.
        Some(home) if home.eq_ignore_ascii_case(to) => return source.leave(to).await,
        // An earlier attempt may have sealed it.
        Some(home) if home.eq_ignore_ascii_case(from) => source.unseal().await?,
        Some(home) => return Err(MoveError::Switch(format!("it is on {home} by now"))),
    }
    let mut target = end(services, to, account).await?;
    let begun = Instant::now();
    let frozen: Arc<Mutex<Option<Instant>>> = Arc::default();
    let stop = Stop { stop: Arc::clone(&under.stop), tell: teller(under, &frozen) };
    let switch = || replicate::move_home(services, account.0, from, to);
    let done = moving::run((&mut *source, from), (&mut *target, to), &stop, switch).await;
    let frozen_millis = lock(&frozen).map_or(0, |since| millis(since.elapsed()));
    under.request.send_modify(|request| request.frozen_millis = frozen_millis);
    match done {
        Ok(stand) => {
            tracing::debug!(
                passes = stand.pass,
                micros = begun.elapsed().as_micros(),
                "both ends are the same"
            );
            Ok(())
        }
        // The directory's word decides: it has moved, and the next attempt tells the source.
        Err(e) if home(services, account).is_some_and(|home| home.eq_ignore_ascii_case(to)) => {
            Err(MoveError::Peer(e.to_string()))
        }
        Err(wrong) if !wrong.retry() => {
            if let Err(e) = target.abandon().await {
                tracing::warn!(error = %e, "what a move has copied that is given up stays for now");
            }
            Err(wrong)
        }
        Err(e) => Err(e),
    }
}

/// Lets go at both ends, as far as they can be reached: the account stays where it is. A target that cannot be told keeps a
/// copy that nobody is served, until the account comes there.
async fn take_back(services: &Services, request: &MoveRequest) {
    let source = async {
        let mut source = end(services, &request.from, request.account).await?;
        source.unseal().await
    };
    let target = async {
        let mut target = end(services, &request.to, request.account).await?;
        target.abandon().await
    };
    for (server, done) in [(&request.from, source.await), (&request.to, target.await)] {
        if let Err(e) = done {
            tracing::warn!(mailbox = request.name, server, error = %e, "a move that was taken back leaves something");
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn teller(under: &Under, frozen: &Arc<Mutex<Option<Instant>>>) -> Arc<dyn Fn(&Stand) + Send + Sync> {
    let (request, frozen) = (under.request.clone(), Arc::clone(frozen));
    Arc::new(move |stand: &Stand| {
        if stand.frozen {
            lock(&frozen).get_or_insert_with(Instant::now);
        }
        request.send_modify(|request| {
            if stand.frozen {
                request.status = MoveStatus::CompletionInProgress;
            }
            request.pass = stand.pass;
            request.rows = stand.rows;
            request.rows_done = stand.rows_done;
            request.bytes_copied = stand.bytes_copied;
        });
    })
}

impl Moves for Mover {
    fn begin(&self, account: AccountId, to: String, by: String) -> Answer<'_, watch::Receiver<MoveRequest>> {
        Box::pin(async move {
            let gone =
                || Failure::new(Category::ResourceUnavailable, "server", "The server is about to stop.");
            let services = self.services().ok_or_else(gone)?;
            let known = lock(&self.moves).get(&account).cloned();
            if let Some(known) = known.filter(|known| !known.request.borrow().status.is_over()) {
                let now = known.request.borrow().clone();
                if now.to == to {
                    return Ok(known.request.subscribe());
                }
                let text = format!("The mailbox <{}> is on its way to {} already.", now.name, now.to);
                return Err(Failure::new(Category::InvalidOperation, now.name.as_str(), text));
            }
            let directory = services.organisation.directory.snapshot();
            let found = directory
                .account(account)
                .ok_or_else(|| Failure::not_found("mailbox", account.to_string()))?;
            let request = MoveRequest {
                account,
                name: found.primary.to_string(),
                from: directory.home_of(found).to_owned(),
                to,
                status: MoveStatus::Queued,
                by,
                started: services.organisation.clock.now(),
                ended: None,
                rows: 0,
                rows_done: 0,
                bytes_copied: 0,
                pass: 0,
                frozen_millis: 0,
                message: None,
                attempts: 0,
            };
            let unwritten = |e: String| {
                Failure::new(Category::WriteError, "store", format!("The move cannot be noted: {e}."))
            };
            write(&services, &request).await.map_err(unwritten)?;
            let under = self.enter(request);
            let watched = under.request.subscribe();
            let mover = Arc::clone(&services.moving);
            tokio::spawn(mover.work(services, under));
            Ok(watched)
        })
    }

    fn list(&self) -> Vec<MoveRequest> {
        lock(&self.moves).values().map(|under| under.request.borrow().clone()).collect()
    }

    fn remove(&self, account: AccountId) -> Answer<'_, ()> {
        Box::pin(async move {
            let under = lock(&self.moves).get(&account).cloned();
            let under = under.ok_or_else(|| Failure::not_found("move request", account.to_string()))?;
            under.stop.store(true, Ordering::Relaxed);
            under.stopped.notify_one();
            let mut request = under.request.subscribe();
            // Fails only when the move is gone.
            let ended = request.wait_for(|request| request.status.is_over()).await;
            let done = ended.is_ok_and(|request| request.status == MoveStatus::Completed);
            lock(&self.moves).remove(&account);
            if let Some(services) = self.services() {
                let mut batch = Batch::new(Partition::tag(PREFIX));
                batch.del(key(account));
                let gone = services.organisation.store.commit(batch).await;
                gone.map_err(|e| Failure::new(Category::WriteError, "store", format!("{e}.")))?;
            }
            if done {
                tracing::info!(%account, "the move had ended before it was stopped");
            }
            Ok(())
        })
    }
}
