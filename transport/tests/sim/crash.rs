//! An engine that dies at a chosen commit: before it is done, or after it is done and before anybody hears of it. A dead
//! engine never answers again; what it held is what the next life begins with.

use bytes::Bytes;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, oneshot};
use waypost_base::Timestamp;
use waypost_base::metrics::Figure;
use waypost_store::verify::Report;
use waypost_store::{
    BackupError, BackupInfo, Batch, CommitError, Committed, Engine, Health, Key, Limits, Model, Page,
    Pending, ReadError,
};

pub struct Mortal {
    pub inner: Arc<Model>,
    state: Mutex<State>,
    pub died: Notify,
}

#[derive(Default)]
struct State {
    commits: u64,
    /// At which commit, and whether it is done first.
    death: Option<(u64, bool)>,
    dead: bool,
    /// Those who wait for ever.
    waiting: Vec<oneshot::Sender<Result<Committed, CommitError>>>,
}

impl Mortal {
    pub fn new(inner: Arc<Model>, death: Option<(u64, bool)>) -> Mortal {
        Mortal { inner, state: Mutex::new(State { death, ..State::default() }), died: Notify::new() }
    }

    /// `None`: dead.
    fn step(&self, batch: Batch) -> Option<Pending> {
        let mut state = self.state.lock().unwrap();
        if state.dead {
            return None;
        }
        state.commits += 1;
        let death = state.death.filter(|(at, _)| *at == state.commits);
        let answer = match death {
            Some((_, false)) => None,
            _ => Some(self.inner.commit(batch)),
        };
        if death.is_some() {
            state.dead = true;
            self.died.notify_one();
            return None;
        }
        answer
    }

    fn never(&self) -> Pending {
        let (sender, receiver) = oneshot::channel();
        self.state.lock().unwrap().waiting.push(sender);
        Pending::waiting(receiver)
    }

    async fn alive(&self) {
        if self.state.lock().unwrap().dead {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait::async_trait]
impl Engine for Mortal {
    async fn get(&self, keys: Vec<Key>) -> Result<Vec<Option<Bytes>>, ReadError> {
        self.alive().await;
        self.inner.get(keys).await
    }

    async fn scan(&self, range: Range<Key>, rev: bool, rows: u32, bytes: u32) -> Result<Page, ReadError> {
        self.alive().await;
        self.inner.scan(range, rev, rows, bytes).await
    }

    fn commit(&self, batch: Batch) -> Pending {
        self.step(batch).unwrap_or_else(|| self.never())
    }

    fn commit_chain(&self, batches: Vec<Batch>) -> Pending {
        let mut last = Pending::ready(Ok(Committed::default()));
        for batch in batches {
            let Some(mut pending) = self.step(batch) else { return self.never() };
            // The model has answered when the call returns.
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let answer = match std::pin::Pin::new(&mut pending).poll(&mut context) {
                std::task::Poll::Ready(answer) => answer,
                std::task::Poll::Pending => return self.never(),
            };
            let failed = answer.is_err();
            last = Pending::ready(answer);
            if failed {
                break;
            }
        }
        last
    }

    async fn backup(&self, to: &Path) -> Result<BackupInfo, BackupError> {
        self.inner.backup(to).await
    }

    async fn verify(&self, report: &mut Report) {
        self.inner.verify(report).await;
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn clock(&self) -> Timestamp {
        self.inner.clock()
    }

    fn health(&self) -> Health {
        self.inner.health()
    }

    fn figures(&self) -> Vec<Figure> {
        Vec::new()
    }

    async fn close(&self) {}
}
