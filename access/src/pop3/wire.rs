//! Lines in, gathered answers out, over whatever stream the channel has, with time limits on both.

use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use waypost_pop3::frame::{self, Frame};
use waypost_pop3::limits::AUTH_LINE_BYTES;
use waypost_trust::channel::BoxStream;

/// Answers are sent when this many bytes wait, even if more commands do. Large enough that a system call per flush is nothing.
const GATHER_BYTES: usize = 128 * 1024;

/// First read buffer: what an idle session holds.
const READ_BYTES: usize = 2 * 1024;

/// Later ones, when a client has filled one: it pipelines.
const READ_BYTES_EAGER: usize = 32 * 1024;

/// Bytes of one line that are skipped before we stop listening.
const SKIP_BYTES_MAX: u64 = 1024 * 1024;

/// A last word of TLS may wait this long for a client that does not listen any more.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A line, in the buffer that was handed in.
    Line,
    /// A line that is longer than the limit; it has been skipped.
    TooLong,
    /// The client has gone, or talks without end.
    Closed,
    /// The client was silent for too long, or took nothing.
    Timeout,
    /// We are to stop.
    Stopping,
}

pub(super) struct Wire {
    stream: BoxStream,
    input: Vec<u8>,
    /// Bytes of `input` that have been used.
    used: usize,
    /// The client sends more than a line at a time.
    eager: bool,
    /// Answers that wait to be sent.
    pub out: Vec<u8>,
    pub write_timeout: Duration,
    pub bytes_in: u64,
    sent: u64,
}

impl Wire {
    pub fn new(stream: BoxStream, write_timeout: Duration) -> Wire {
        Wire {
            stream,
            input: Vec::new(),
            used: 0,
            eager: false,
            out: Vec::new(),
            write_timeout,
            bytes_in: 0,
            sent: 0,
        }
    }

    /// A wire over a new stream under the same conversation, with its counts so far.
    pub fn resumed(stream: BoxStream, write_timeout: Duration, bytes_in: u64, sent: u64) -> Wire {
        Wire { bytes_in, sent, ..Wire::new(stream, write_timeout) }
    }

    /// Bytes of all answers, sent or waiting.
    pub fn answered(&self) -> u64 {
        self.sent + self.out.len() as u64
    }

    /// What the client has sent beyond the last line.
    pub fn pending(&self) -> &[u8] {
        self.input.get(self.used..).unwrap_or_default()
    }

    /// The next line into `line`. Sends what waits before it waits itself. All of it has to come
    /// within `idle`. `stop` ends the waiting.
    pub async fn line(
        &mut self,
        line: &mut Vec<u8>,
        limit: usize,
        idle: Duration,
        stop: impl Future<Output = ()>,
    ) -> Input {
        tokio::pin!(stop);
        let deadline = Instant::now() + idle;
        let mut skipped = 0u64;
        loop {
            // An initial response may hold a ticket or a token, whatever RFC 5034 §4 hopes for.
            let auth = self.pending().first_chunk::<5>().is_some_and(|w| w.eq_ignore_ascii_case(b"AUTH "));
            let limit = if auth { limit.max(AUTH_LINE_BYTES) } else { limit };
            match next(self.pending(), limit, skipped > 0) {
                Next::Line(start, used) => {
                    line.clear();
                    line.extend_from_slice(self.pending().get(..start).unwrap_or_default());
                    self.used += used;
                    return Input::Line;
                }
                Next::Skipped(used) => {
                    self.used += used;
                    return Input::TooLong;
                }
                Next::More(skip) => {
                    self.used += skip;
                    skipped += skip as u64;
                }
            }
            if skipped > SKIP_BYTES_MAX {
                return Input::Closed;
            }
            if let Err(e) = self.flush().await {
                return if e.kind() == io::ErrorKind::TimedOut { Input::Timeout } else { Input::Closed };
            }
            let read = tokio::select! {
                biased;
                read = timeout_at(deadline, self.fill()) => read,
                () = &mut stop => return Input::Stopping,
            };
            match read {
                Err(_) => return Input::Timeout,
                Ok(Err(_) | Ok(0)) => return Input::Closed,
                Ok(Ok(n)) => self.bytes_in += n as u64,
            }
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        if self.used > 0 {
            self.input.drain(..self.used);
            self.used = 0;
        }
        // A buffer that became large for nothing is given back.
        if self.input.is_empty() && !self.eager && self.input.capacity() > READ_BYTES {
            self.input = Vec::new();
        }
        self.input.reserve(if self.eager { READ_BYTES_EAGER } else { READ_BYTES });
        let read = self.stream.read_buf(&mut self.input).await?;
        self.eager = read >= READ_BYTES;
        Ok(read)
    }

    /// Sends what waits, if it is enough to be worth it.
    pub async fn flush_if_full(&mut self) -> io::Result<()> {
        if self.out.len() >= GATHER_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Sends what waits.
    pub async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let send = async {
            self.stream.write_all(&self.out).await?;
            self.stream.flush().await
        };
        timeout(self.write_timeout, send).await.map_err(|_| io::ErrorKind::TimedOut)??;
        self.sent += self.out.len() as u64;
        // Idle sessions hold no buffer for answers.
        if self.out.capacity() > 2 * GATHER_BYTES || self.pending().is_empty() {
            self.out = Vec::new();
        } else {
            self.out.clear();
        }
        Ok(())
    }

    /// Sends what waits and says that nothing follows.
    pub async fn close(&mut self) {
        if self.flush().await.is_ok() {
            let _ = timeout(CLOSE_TIMEOUT, self.stream.shutdown()).await;
        }
    }

    /// Takes the stream away for TLS. What the client sent after STLS was not protected and is forgotten (RFC 2595 §4).
    pub fn into_stream(self) -> BoxStream {
        self.stream
    }
}

enum Next {
    /// Length of the line and bytes with its end.
    Line(usize, usize),
    /// The end of a line that was too long.
    Skipped(usize),
    /// Read more, after dropping so many bytes of a line that is too long.
    More(usize),
}

fn next(pending: &[u8], limit: usize, skipping: bool) -> Next {
    if skipping {
        return match frame::skip(pending) {
            (used, true) => Next::Skipped(used),
            (used, false) => Next::More(used),
        };
    }
    match frame::next(pending, limit) {
        Frame::Line { line, used } => Next::Line(line.len(), used),
        Frame::TooLong { used, ended: true } => Next::Skipped(used),
        Frame::TooLong { used, ended: false } => Next::More(used),
        Frame::Incomplete => Next::More(0),
    }
}
