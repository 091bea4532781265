//! Running commands: what they work on, and where their output goes.

use crate::catalogue::{Catalogue, Command, Invocation, Value};
use crate::elsewhere::Elsewhere;
use crate::failure::{Category, Exit, Failure, Outcome};
use crate::output::{Event, Progress, Record};
use crate::rights::Rights;
use crate::settings::{Author, Rehearse, SettingsStore, Unlimited};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use tokio::sync::mpsc;
use waypost_base::Clock;
use waypost_directory::{Account, Directory, Group};
use waypost_mailbox::Mailboxes;
use waypost_queue::pressure::Meter;
use waypost_queue::{NullRouter, Queue, RetryPlan, Router};
use waypost_store::Store;

/// What commands work on.
#[derive(Clone)]
pub struct Context {
    /// The data folder.
    pub data: PathBuf,
    pub clock: Clock,
    /// Who runs the command: the user name of the peer, or of whoever started the program.
    pub caller: String,
    /// From where: `console`, or an address.
    pub from: String,
    /// What they may do.
    pub rights: Rights,
    /// True inside a running server.
    pub running: bool,
    /// `None` for commands that work on a stopped server's files.
    pub world: Option<World>,
}

/// The open rooms.
#[derive(Clone)]
pub struct World {
    pub store: Store,
    pub directory: Arc<Directory>,
    pub mailboxes: Mailboxes,
    pub settings: Arc<SettingsStore>,
    pub queue: QueueAt,
    /// `None` on a stopped server.
    pub hub: Option<Arc<dyn Hub>>,
    /// `None` on a stopped server.
    pub sources: Option<Arc<dyn Sources>>,
    /// Tries changes of the settings out. `None` on a stopped server: there is nobody whom a change could cut off.
    pub rehearse: Option<Arc<dyn Rehearse>>,
    /// `None` on a stopped server.
    pub services: Option<Arc<dyn Services>>,
    /// The way to the other servers of the organisation. `None` on a stopped server, and for commands that have come from
    /// another server.
    pub elsewhere: Option<Arc<dyn Elsewhere>>,
    /// Moves accounts between servers. `None` where the directory is not kept.
    pub moves: Option<Arc<dyn crate::moves::Moves>>,
    /// Says whether clients would accept a chain of certificates; `None` where there is no TLS library.
    pub chain_judge: Option<crate::certificates::ChainJudge>,
    /// What only the running server knows of itself.
    pub facts: Option<Arc<dyn crate::service::ServiceFacts>>,
    /// Probes, monitors and alerts. `None` on a stopped server.
    pub health: Option<Arc<dyn crate::health::Health>>,
}

/// Where the queue is.
#[derive(Clone)]
pub enum QueueAt {
    /// In the running hub.
    Live(Arc<Queue>),
    /// In the store alone. The routing table says what its queues are called.
    Rows(Arc<dyn Router>),
}

/// What the answer of a [`Hub`] comes as.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Outcome<T>> + Send + 'a>>;

/// The directory sources of a running server, for the commands.
pub trait Sources: Send + Sync {
    /// Asks a source, for somebody where one is named, and whether a password is theirs where one is given. What was
    /// found, as property and value.
    fn test<'a>(
        &'a self,
        source: &'a str,
        user: Option<&'a str>,
        password: Option<&'a str>,
    ) -> Answer<'a, Vec<(&'static str, String)>>;

    /// Makes accounts and groups as a source has them. What was done, line by line; nothing is done where it is only to
    /// be said.
    fn sync<'a>(&'a self, source: &'a str, only_say: bool) -> Answer<'a, Vec<String>>;
}

/// What only a running hub can do, for the commands.
pub trait Hub: Send + Sync {
    /// Gives up what of an item is not being sent at this moment, with a report to its sender. Says for how many
    /// recipients.
    fn give_up(&self, item: u64, by: &str) -> Answer<'_, u64>;

    /// What back pressure has measured last.
    fn pressure(&self) -> Vec<Meter>;
}

/// A service of this server, as commands show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// By Exchange's name.
    pub name: &'static str,
    /// `imap`, `pop`, `transport`…
    pub short: &'static str,
    pub display_name: &'static str,
    pub running: bool,
    pub sessions: usize,
    /// Where it listens, as `imaps 0.0.0.0:993`.
    pub listeners: Vec<String>,
}

/// Starting and stopping one service of a running server; the others' sessions go on.
pub trait Services: Send + Sync {
    fn all(&self) -> Vec<Service>;

    /// Takes no more connections; sessions are ended in order. The listeners stay closed until the next start.
    fn stop<'a>(&'a self, short: &'a str) -> Answer<'a, ()>;

    fn start<'a>(&'a self, short: &'a str) -> Answer<'a, ()>;

    /// Ends the sessions in order. Connections that come meanwhile are served by the fresh one.
    fn restart<'a>(&'a self, short: &'a str) -> Answer<'a, ()>;
}

impl World {
    /// Of a stopped server; of a running one `queue` and `hub` are put in as well.
    pub fn new(
        store: Store,
        directory: Arc<Directory>,
        mailboxes: Mailboxes,
        settings: Arc<SettingsStore>,
    ) -> World {
        World {
            store,
            directory,
            mailboxes,
            settings,
            queue: QueueAt::Rows(Arc::new(NullRouter)),
            hub: None,
            sources: None,
            rehearse: None,
            services: None,
            elsewhere: None,
            moves: None,
            chain_judge: None,
            facts: None,
            health: None,
        }
    }
}

/// Where events go. When the reader is gone, sending does nothing and [`is_closed`](Sink::is_closed) says so, which long
/// commands look at.
#[derive(Clone, Debug)]
pub struct Sink {
    sender: mpsc::Sender<Event>,
    worst: Arc<AtomicU8>,
}

/// Events that may wait for a slow reader.
const WAITING_MAX: usize = 256;

impl Sink {
    pub fn new() -> (Sink, mpsc::Receiver<Event>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Sink { sender, worst: Arc::default() }, receiver)
    }

    pub async fn send(&self, event: Event) {
        if let Event::Error(failure) = &event {
            // Some of it went wrong and the command went on.
            let _ = failure;
            self.worst.store(Exit::PARTLY.0, Ordering::Relaxed);
        }
        let _ = self.sender.send(event).await;
    }

    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub(crate) fn exit(&self) -> Exit {
        Exit(self.worst.load(Ordering::Relaxed))
    }
}

/// One run of a command: its arguments and its surroundings.
pub struct Call<'a> {
    pub command: &'static Command,
    pub context: &'a Context,
    pub invocation: &'a Invocation,
    pub sink: &'a Sink,
    pub catalogue: &'a Catalogue,
}

impl<'a> Call<'a> {
    pub fn world(&self) -> Outcome<&'a World> {
        self.context
            .world
            .as_ref()
            .ok_or_else(|| Failure::new(Category::ResourceUnavailable, "store", "The store is not open."))
    }

    pub fn directory(&self) -> Outcome<&'a Arc<Directory>> {
        Ok(&self.world()?.directory)
    }

    pub fn value(&self, name: &str) -> Option<&'a Value> {
        debug_assert!(self.command.param(name).is_some(), "{name} is not a parameter of {:?}", self.command);
        self.invocation.args.get(name)
    }

    pub fn text(&self, name: &str) -> Option<&'a str> {
        match self.value(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Of a mandatory parameter.
    pub fn required(&self, name: &str) -> Outcome<&'a str> {
        self.text(name).ok_or_else(|| Failure::usage(name, format!("-{name} is missing.")))
    }

    pub fn path(&self, name: &str) -> Option<&'a Path> {
        self.text(name).map(Path::new)
    }

    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.value(name) {
            Some(Value::Flag(on)) => Some(*on),
            _ => None,
        }
    }

    /// Of a switch: given and not switched off.
    pub fn switch(&self, name: &str) -> bool {
        self.flag(name) == Some(true)
    }

    pub fn int(&self, name: &str) -> Option<i64> {
        match self.value(name) {
            Some(Value::Int(n)) => Some(*n),
            _ => None,
        }
    }

    pub fn size(&self, name: &str) -> Option<Unlimited> {
        self.value(name).and_then(Value::size)
    }

    /// Milliseconds.
    pub fn span(&self, name: &str) -> Option<u64> {
        match self.value(name) {
            Some(Value::Span(millis)) => Some(*millis),
            _ => None,
        }
    }

    pub fn list(&self, name: &str) -> Option<&'a [String]> {
        match self.value(name) {
            Some(Value::List(items)) => Some(items),
            _ => None,
        }
    }

    /// Under -WhatIf says what would be done and gives true: the caller returns.
    pub async fn only_said(&self, what: impl FnOnce() -> String) -> bool {
        if self.invocation.what_if {
            let text = format!("What if: Performing the operation {:?}: {}", self.command.name(), what());
            self.sink.send(Event::WhatIf(text)).await;
        }
        self.invocation.what_if
    }

    pub async fn record(&self, record: Record) {
        self.sink.send(Event::Record(record)).await;
    }

    pub async fn warn(&self, text: impl Into<String>) {
        self.sink.send(Event::Warning(text.into())).await;
    }

    /// One thing failed; the command goes on and ends with the exit code for "partly".
    pub async fn error(&self, failure: Failure) {
        let failure = Failure { command: self.command.name(), ..failure };
        self.sink.send(Event::Error(failure)).await;
    }

    pub async fn progress(&self, activity: &str, done: u64, total: Option<u64>, unit: &str) {
        let progress = Progress { activity: activity.into(), done, total, unit: unit.into() };
        self.sink.send(Event::Progress(progress)).await;
    }

    /// The queue: the running hub's, or one made of the rows.
    pub async fn queue(&self) -> Outcome<Arc<Queue>> {
        let world = self.world()?;
        match &world.queue {
            QueueAt::Live(queue) => Ok(queue.clone()),
            QueueAt::Rows(router) => {
                let clock = self.context.clock.clone();
                let queue = Queue::new(world.store.clone(), clock, RetryPlan::default(), router.clone());
                queue.recover().await?;
                Ok(queue)
            }
        }
    }

    /// The account that an identity means.
    pub fn account(&self, identity: &str) -> Outcome<Arc<Account>> {
        let now = self.directory()?.snapshot();
        now.find_account(identity).cloned().ok_or_else(|| Failure::not_found("mailbox", identity))
    }

    /// The group that an identity means.
    pub fn group(&self, identity: &str) -> Outcome<Arc<Group>> {
        let now = self.directory()?.snapshot();
        now.find_group(identity).cloned().ok_or_else(|| Failure::not_found("group", identity))
    }

    /// Whether this server holds the mail of an account.
    pub fn is_here(&self, account: &Account) -> Outcome<bool> {
        Ok(self.directory()?.snapshot().is_here(account))
    }

    /// The mailbox of an account, made if it has none yet.
    pub async fn mailbox(&self, account: &Account) -> Outcome<waypost_mailbox::Account> {
        let now = self.directory()?.snapshot();
        if !now.is_here(account) {
            let text = format!("The mailbox <{}> is on {}.", account.primary, now.home_of(account));
            return Err(Failure::new(Category::InvalidOperation, account.primary.as_str(), text));
        }
        if !self.is_here(account)? {
            let home = self.directory()?.snapshot().home_of(account).to_owned();
            let text = format!("The mail of <{}> is at {home}.", account.primary);
            return Err(Failure::new(Category::InvalidOperation, &account.name, text));
        }
        let mailboxes = &self.world()?.mailboxes;
        match mailboxes.account(account.id).await {
            Ok(found) => Ok(found),
            Err(waypost_mailbox::AccountError::NoAccount(_)) => {
                let quota = crate::commands::mailbox::quota_of(account, &self.world()?.settings.current());
                let options = waypost_mailbox::AccountOptions { quota };
                Ok(mailboxes.create_account(account.id, options).await?)
            }
            Err(e) => Err(e.into()),
        }
    }

    pub fn author(&self) -> Author {
        Author {
            who: self.context.caller.clone(),
            when: self.context.clock.now(),
            why: self.invocation.why.clone(),
            command: self.invocation.line.clone(),
            ..Author::default()
        }
    }
}
