//! The living queue. (Signatures first; the bodies follow.)

use crate::model::{
    Accepted, Change, Envelope, Fate, ItemState, MessageInfo, NewItem, NextHop, Priority, QueueInfo, Reason,
    Recovered, Rest, Route, Router, Target,
};
use crate::plan::RetryPlan;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::broadcast;
use waypost_base::metrics::Figure;
use waypost_base::{AccountId, Clock, Timestamp};
use waypost_store::{Blob, BlobError, CommitError, ReadError, Store};

/// Why the queue could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// It is in the poison queue now, with the evidence.
    #[error("queue item {item} is damaged: {what}")]
    Damaged { item: u64, what: String },
    #[error("there is no message {0} in the queues")]
    NoMessage(u64),
    #[error("there is no queue {0}")]
    NoQueue(String),
    /// It is being sent at this moment; ask again.
    #[error("message {0} is being sent at this moment; try again when it has ended")]
    Busy(u64),
}

/// See the crate. Commands on a stopped server use one without calling [`Queue::work`].
pub struct Queue {
    store: Store,
    changes: broadcast::Sender<Change>,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Queue")
    }
}

/// What is to be done next.
#[derive(Debug)]
pub enum Work {
    /// Open a connection to this next hop, and then ask the ticket for hops.
    Connect(Ticket),
    /// Deliver to mailboxes of this server.
    Deliver(Lease),
    /// Its time is over: settle the outstanding targets as failed (4.4.7), with a report.
    Expired(Lease),
    /// The sender is to be told of the delay: settle with [`Rest::Warned`] and a report.
    Warn(Lease),
    /// [`Queue::stop`] was called.
    Stop,
}

/// A connection's slot in its queue; given back when dropped.
#[derive(Debug)]
pub struct Ticket {
    hop: NextHop,
}

/// A hop that nobody else handles as long as this lives. Dropped without being settled it is available again; if its
/// holder panics, that is held against the item.
#[derive(Debug)]
pub struct Lease {
    item: u64,
    hop: u32,
    route: Route,
}

/// What a lease stands for.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub envelope: Envelope,
    pub blob: Blob,
    pub recipients: Vec<Accepted>,
    /// The outstanding ones, each with its index, by which it is settled.
    pub targets: Vec<(u32, Target)>,
    /// Attempts before this one.
    pub attempts: u32,
    /// Why the last one was put off.
    pub last_error: Option<Reason>,
}

/// The outcome of [`Queue::settle`], which is enqueued already. If it is an error, what has happened is kept in memory
/// and written as soon as the store takes it: the lease's targets are not tried again meanwhile.
#[must_use = "the outcome would be unknown; await it, or spawn it"]
#[derive(Debug)]
pub struct Settling {
    answer: Option<Result<(), CommitError>>,
}

impl Future for Settling {
    type Output = Result<(), CommitError>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(self.answer.take().unwrap_or(Ok(())))
    }
}

/// An accepted item.
#[derive(Debug)]
pub struct Submitted {
    pub id: u64,
    /// The hop to this server's mailboxes, if it was claimed and there is one.
    pub local: Option<Lease>,
}

/// What a recall has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recall {
    /// Targets that will not get the message.
    pub recalled: u64,
    /// Targets being sent to at this moment; what is put off of them is taken back.
    pub in_flight: u64,
}

/// A part of Get-Message's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub messages: Vec<MessageInfo>,
    /// Where to go on; `None` at the end.
    pub next: Option<u64>,
}

/// Which messages Get-Message looks at before anything is read. Further conditions are the caller's closure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Identity of a queue.
    pub queue: Option<String>,
    pub item: Option<u64>,
    pub owner: Option<AccountId>,
}

impl Ticket {
    pub fn next_hop(&self) -> &NextHop {
        &self.hop
    }

    /// The next hop of this queue that is due; `None` when there is nothing (more) for this connection.
    pub fn next(&self) -> Option<Lease> {
        None
    }

    /// The connection is good: others may be opened, and the queue leaves Retry.
    pub fn ok(&self) {}

    /// It could not be used; the queue waits (Retry), with this as its LastError.
    pub fn failed(&self, _reason: Reason) {}
}

impl Lease {
    pub fn item(&self) -> u64 {
        self.item
    }

    /// Number of the hop within its item.
    pub fn hop(&self) -> u32 {
        self.hop
    }

    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Everything that is needed to handle it. Call it before settling, except for a lease from [`Queue::submit`].
    pub async fn load(&mut self) -> Result<Loaded, QueueError> {
        Err(QueueError::NoMessage(self.item))
    }
}

impl Queue {
    pub fn new(store: Store, _clock: Clock, _plan: RetryPlan, _router: Arc<dyn Router>) -> Arc<Queue> {
        Arc::new(Queue { store, changes: broadcast::Sender::new(16) })
    }

    /// Replaces the routing table and re-keys every queue.
    pub fn reroute(&self, _router: Arc<dyn Router>) {}

    pub fn set_plan(&self, _plan: RetryPlan) {}

    pub fn plan(&self) -> RetryPlan {
        RetryPlan::default()
    }

    /// A number for an item: greater than all before it.
    pub fn next_id(&self) -> u64 {
        0
    }

    /// Reads the rows that an earlier run has left; once, at start. Items may be submitted meanwhile.
    pub async fn recover(&self) -> Result<Recovered, QueueError> {
        Ok(Recovered::default())
    }

    /// Makes an item durable: `Ok` means that it may get its 250. With `claim_local` the hop to this server's mailboxes
    /// comes back leased.
    pub async fn submit(
        self: &Arc<Self>,
        item: NewItem,
        _claim_local: bool,
    ) -> Result<Submitted, CommitError> {
        Ok(Submitted { id: item.id, local: None })
    }

    /// Waits until there is something to do. Several tasks may wait.
    pub async fn work(self: &Arc<Self>) -> Work {
        Work::Stop
    }

    /// From now on [`Queue::work`] answers [`Work::Stop`] and tickets have no more.
    pub fn stop(&self) {}

    /// Enters what became of a lease's targets, and what is to be told about it, in one batch. In line when this
    /// returns. `fates` are by the indices of [`Loaded::targets`].
    pub fn settle(
        self: &Arc<Self>,
        _lease: Lease,
        _fates: Vec<(u32, Fate)>,
        _rest: Rest,
        _reports: Vec<NewItem>,
    ) -> Settling {
        Settling { answer: None }
    }

    /// Hops in all queues.
    pub fn len(&self) -> u64 {
        0
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn figures(&self) -> Vec<Figure> {
        Vec::new()
    }

    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Items that this account has submitted and that are still under way.
    pub fn items_of(&self, _owner: AccountId) -> Vec<u64> {
        Vec::new()
    }

    /// Accounts that have items under way: what the outbox begins with after a start, and after it has lagged behind.
    pub fn owners(&self) -> Vec<AccountId> {
        Vec::new()
    }

    /// Everything that is known of an item; `None` when it is not (or no more) in the queues.
    pub async fn story(&self, _item: u64) -> Result<Option<ItemState>, QueueError> {
        Ok(None)
    }

    pub fn list_queues(&self, _filter: impl Fn(&QueueInfo) -> bool) -> Vec<QueueInfo> {
        Vec::new()
    }

    /// Holds a queue: no new connections, none of its messages is sent. Durable.
    pub async fn suspend_queue(&self, identity: &str) -> Result<(), QueueError> {
        Err(QueueError::NoQueue(identity.into()))
    }

    pub async fn resume_queue(&self, identity: &str) -> Result<(), QueueError> {
        Err(QueueError::NoQueue(identity.into()))
    }

    /// Forgets that it could not connect, and makes its messages due now.
    pub async fn retry_queue(&self, identity: &str) -> Result<(), QueueError> {
        Err(QueueError::NoQueue(identity.into()))
    }

    /// At most `limit` messages from `after` on (excluded), oldest first, that fit both filters.
    pub async fn get_messages(
        &self,
        _filter: &Filter,
        _fits: impl Fn(&MessageInfo) -> bool + Send,
        _after: Option<u64>,
        _limit: usize,
    ) -> Result<Page, QueueError> {
        Ok(Page::default())
    }

    /// Holds all hops of an item; those being sent are held when they are put off. Gives how many are held at once.
    pub async fn suspend(&self, item: u64) -> Result<u64, QueueError> {
        Err(QueueError::NoMessage(item))
    }

    /// Lets suspended hops go on; also takes them out of the poison queue.
    pub async fn resume(&self, item: u64) -> Result<u64, QueueError> {
        Err(QueueError::NoMessage(item))
    }

    /// Makes all its hops due now.
    pub async fn retry(&self, item: u64) -> Result<u64, QueueError> {
        Err(QueueError::NoMessage(item))
    }

    pub async fn set_priority(&self, item: u64, _priority: Priority) -> Result<u64, QueueError> {
        Err(QueueError::NoMessage(item))
    }

    /// Sends all remote hops of an item to this server instead. `to` is [`Route::Server`] or a domain.
    pub async fn redirect(&self, item: u64, _to: Route) -> Result<u64, QueueError> {
        Err(QueueError::NoMessage(item))
    }

    /// Takes an item away without a report.
    pub async fn remove(&self, item: u64) -> Result<u64, QueueError> {
        Err(QueueError::NoMessage(item))
    }

    /// Leases all hops of an item that are not being sent, whatever their state: for removing with a report (settle
    /// them as failed).
    pub fn claim(self: &Arc<Self>, _item: u64) -> Vec<Lease> {
        Vec::new()
    }

    /// Takes back what has not been sent.
    pub async fn recall(&self, _item: u64) -> Result<Recall, QueueError> {
        Ok(Recall::default())
    }

    /// The message's bytes, for Export-Message; read them with [`waypost_store::Blobs::reader`].
    pub async fn export(&self, item: u64) -> Result<(Envelope, Blob), QueueError> {
        Err(QueueError::NoMessage(item))
    }

    /// When something is to be done next, as far as is known.
    pub fn next_due(&self) -> Option<Timestamp> {
        None
    }

    pub fn store(&self) -> &Store {
        &self.store
    }
}
