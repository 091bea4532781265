//! How far reading is, for a sign of life. Counting costs an addition for each piece that is read; who watches is told some times a
//! second, and not from the threads that read.

use std::fmt;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two words to the watcher.
pub const PAUSE: Duration = Duration::from_millis(100);

/// How far reading is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that were read, as they are once unpacked where that is known.
    pub read: u64,
    /// Bytes that there are to read; it stays the same while files are read.
    pub total: u64,
    /// One of the files at hand.
    pub file: String,
}

/// Is told how far reading is, about ten times a second.
#[derive(Clone)]
pub struct Watcher(Arc<dyn Fn(&Progress) + Send + Sync>);

impl Watcher {
    pub fn new(tell: impl Fn(&Progress) + Send + Sync + 'static) -> Watcher {
        Watcher(Arc::new(tell))
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}

/// What the threads that read count with.
#[derive(Debug, Default)]
pub struct Gauge {
    read: AtomicU64,
    total: u64,
    file: Mutex<String>,
    watcher: Option<Watcher>,
    told: Mutex<Option<Instant>>,
}

impl Gauge {
    pub fn new(total: u64, watcher: Option<Watcher>) -> Gauge {
        Gauge { total, watcher, ..Gauge::default() }
    }

    pub fn is_watched(&self) -> bool {
        self.watcher.is_some()
    }

    /// A file of so many bytes is begun.
    pub fn begin(&self, name: &str, size: u64) -> Share<'_> {
        if self.is_watched() {
            name.clone_into(&mut self.file.lock().unwrap_or_else(PoisonError::into_inner));
        }
        Share { gauge: self, left: AtomicU64::new(size) }
    }

    /// Tells the watcher, if it is time.
    pub fn tell(&self) {
        let Some(Watcher(tell)) = &self.watcher else { return };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|told| told.elapsed() < PAUSE) {
            return;
        }
        *told = Some(Instant::now());
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner).clone();
        tell(&Progress { read: self.read.load(Ordering::Relaxed), total: self.total, file });
    }
}

/// What one file adds: its size in all, whatever its reader has asked for.
#[derive(Debug)]
pub struct Share<'a> {
    gauge: &'a Gauge,
    left: AtomicU64,
}

impl<'a> Share<'a> {
    fn add(&self, count: u64) {
        let left = self.left.load(Ordering::Relaxed);
        let count = count.min(left);
        self.left.store(left - count, Ordering::Relaxed);
        self.gauge.read.fetch_add(count, Ordering::Relaxed);
    }

    /// The stream, counted.
    pub fn counted<R: Read>(&'a self, input: R) -> Counted<'a, R> {
        Counted { input, share: self }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.add(u64::MAX);
    }
}

/// See [`Share::counted`].
pub struct Counted<'a, R> {
    input: R,
    share: &'a Share<'a>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(into)?;
        self.share.add(count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_counts_as_often_as_it_is_long() {
        let gauge = Gauge::new(100, Some(Watcher::new(|_| {})));
        for (size, len) in [(40, 10_usize), (60, 90)] {
            let share = gauge.begin("a.log", size);
            let bytes = vec![0; len];
            io::copy(&mut share.counted(bytes.as_slice()), &mut io::sink()).unwrap();
        }
        assert_eq!(gauge.read.load(Ordering::Relaxed), 100);
        gauge.tell();
        assert_eq!(gauge.file.lock().unwrap().as_str(), "a.log");
    }
}
