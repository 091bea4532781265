//! Calls of a library that blocks, with a bound on time and on threads.
//!
//! Each call has a thread of its own: a call that hangs (a KDC that does not answer) is left to itself, counted, and hurts
//! nobody else until [`THREADS_MAX`] of them do. The runtime's own pool is not used, since the runtime waits for it when
//! it ends.

use crate::kerberos::limits::THREADS_MAX;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};

#[derive(Clone, Debug)]
pub(super) struct Work {
    places: Arc<Semaphore>,
    left: Arc<AtomicUsize>,
}

/// Why a call brought nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// It did not come back in time.
    Hangs,
    /// No thread came free in time: the others hang.
    NoThread,
}

impl Work {
    pub(super) fn new() -> Work {
        Work { places: Arc::new(Semaphore::new(THREADS_MAX)), left: Arc::default() }
    }

    /// Calls that nobody waits for any more and that have not come back.
    pub(super) fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        limit: Duration,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Late> {
        let started = tokio::time::Instant::now();
        let place = tokio::time::timeout(limit, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(Late::NoThread) };
        let (answer, answered) = oneshot::channel();
        let left = Arc::clone(&self.left);
        let thread = std::thread::Builder::new().name("kerberos".into()).spawn(move || {
            let result = call();
            // Refused: it was given up, and counted.
            if answer.send(result).is_err() {
                left.fetch_sub(1, Ordering::Relaxed);
            }
            drop(place);
        });
        if thread.is_err() {
            return Err(Late::NoThread);
        }
        let mut waiting = Waiting { left: &self.left, answered };
        let until = started + limit;
        match tokio::time::timeout_at(until, &mut waiting.answered).await {
            Ok(Ok(result)) => Ok(result),
            _ => Err(Late::Hangs),
        }
    }
}

/// Counts the call as left when the waiting ends before the answer: by time, or because the caller went away.
struct Waiting<'a, T> {
    left: &'a AtomicUsize,
    answered: oneshot::Receiver<T>,
}

impl<T> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        if !self.answered.is_terminated() {
            self.left.fetch_add(1, Ordering::Relaxed);
            self.answered.close();
            // It came at the last moment after all.
            if self.answered.try_recv().is_ok() {
                self.left.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn what_hangs_is_left_and_counted() {
        let work = Work::new();
        assert_eq!(work.run(Duration::from_secs(600), || 7).await, Ok(7));
        let (release, wait) = mpsc::channel::<()>();
        // The threads are real, and so is the time.
        let hung = work.run(Duration::from_millis(5), move || wait.recv().is_ok());
        assert_eq!(hung.await, Err(Late::Hangs));
        assert_eq!(work.left(), 1);
        release.send(()).unwrap();
        while work.left() > 0 {
            std::thread::yield_now();
        }
    }
}
