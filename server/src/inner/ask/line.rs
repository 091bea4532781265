//! A line to one server that answers questions: opened when there is one, kept while it is used.
//!
//! Answers come in any order and find their questions by number. When the line breaks, everybody who waits learns of it; a
//! question that met a line which had just gone is asked once more over a new one.

use super::wire::{self, Answered, Ask, Asked};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use waypost_base::id::Correlation;
use waypost_directory::Protocol;
use waypost_directory::signin::Asking;
use waypost_sasl::Answer;
use waypost_trust::channel::BoxStream;
use waypost_trust::leg::{Hello, Inner, Service};
use zeroize::Zeroizing;

/// A line on which nothing was said for so long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// How long opening may take before another server is asked.
const OPEN_MAX: Duration = Duration::from_secs(6);

/// Questions that wait to be written.
const WAITING: usize = 256;

/// A question that may be asked of several servers.
pub struct Prepared {
    protocol: Protocol,
    peer: std::net::IpAddr,
    ask: Ask,
}

impl Prepared {
    /// An error: it does not fit into a frame.
    pub fn new(ask: Ask, asking: &Asking) -> io::Result<Prepared> {
        let (protocol, peer) = (asking.protocol, asking.peer);
        let prepared = Prepared { protocol, peer, ask };
        prepared.frame(u64::MAX)?;
        Ok(prepared)
    }

    fn frame(&self, id: u64) -> io::Result<Zeroizing<Vec<u8>>> {
        wire::frame(&Asked { id, protocol: self.protocol, peer: self.peer, ask: &self.ask })
    }
}

struct Question {
    id: u64,
    frame: Zeroizing<Vec<u8>>,
    answer: oneshot::Sender<Answer>,
}

pub struct Line {
    server: String,
    /// The task that holds the stream, where there is one.
    open: tokio::sync::Mutex<Option<mpsc::Sender<Question>>>,
    next: AtomicU64,
}

impl Line {
    pub fn new(server: &str) -> Line {
        Line { server: server.to_owned(), open: tokio::sync::Mutex::default(), next: AtomicU64::new(1) }
    }

    /// The answer, or why there is none.
    pub async fn ask(
        &self,
        inner: &dyn Inner,
        prepared: &Prepared,
        session: Correlation,
    ) -> Result<Answer, String> {
        // The second time the line is new.
        for _ in 0..2 {
            let (sender, fresh) = self.sender(inner, session).await?;
            let id = self.next.fetch_add(1, Ordering::Relaxed);
            let frame = prepared.frame(id).map_err(|e| e.to_string())?;
            let (answer, answered) = oneshot::channel();
            let sent = sender.send(Question { id, frame, answer }).await.is_ok();
            if sent && let Ok(answer) = answered.await {
                return Ok(answer);
            }
            self.drop_line(&sender).await;
            if fresh {
                break;
            }
        }
        Err(format!("the line to {} broke", self.server))
    }

    async fn sender(
        &self,
        inner: &dyn Inner,
        session: Correlation,
    ) -> Result<(mpsc::Sender<Question>, bool), String> {
        // Whoever comes while it is being opened waits for it.
        let mut open = self.open.lock().await;
        if let Some(sender) = open.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok((sender.clone(), false));
        }
        let hello = Hello::new(Service::SignIn, session);
        let opened = match tokio::time::timeout(OPEN_MAX, inner.open(&self.server, hello)).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(failed)) => return Err(failed.to_string()),
            Err(_) => return Err(format!("{} cannot be reached in time", self.server)),
        };
        let (sender, questions) = mpsc::channel(WAITING);
        tokio::spawn(carry(opened.stream, questions));
        *open = Some(sender.clone());
        Ok((sender, true))
    }

    async fn drop_line(&self, broken: &mpsc::Sender<Question>) {
        let mut open = self.open.lock().await;
        if open.as_ref().is_some_and(|sender| sender.same_channel(broken)) {
            *open = None;
        }
    }
}

type Waiting = Arc<Mutex<BTreeMap<u64, oneshot::Sender<Answer>>>>;

/// Holds the stream until it breaks or nobody has used it for long. Then all who still wait are dropped, and so learn of it.
async fn carry(stream: BoxStream, questions: mpsc::Receiver<Question>) {
    let (reading, writing) = tokio::io::split(stream);
    let waiting = Waiting::default();
    tokio::select! {
        () = listen(reading, Arc::clone(&waiting)) => {}
        () = speak(writing, questions, Arc::clone(&waiting)) => {}
    }
    waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

async fn listen(mut stream: ReadHalf<BoxStream>, waiting: Waiting) {
    while let Ok(Some(Answered { id, reply })) = wire::read(&mut stream).await {
        let asker = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some(asker) = asker {
            // Whoever asked may have given up.
            let _ = asker.send(reply.answer());
        }
    }
}

async fn speak(mut stream: WriteHalf<BoxStream>, mut questions: mpsc::Receiver<Question>, waiting: Waiting) {
    loop {
        match tokio::time::timeout(IDLE, questions.recv()).await {
            Ok(Some(Question { id, frame, answer })) => {
                {
                    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                    waiting.retain(|_, asker| !asker.is_closed());
                    waiting.insert(id, answer);
                }
                if wire::write(&mut stream, &frame).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(_) => {
                let idle = waiting.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
                if idle {
                    // Those who come now find the line closed, and open another.
                    questions.close();
                    if questions.is_empty() {
                        return;
                    }
                }
            }
        }
    }
}
