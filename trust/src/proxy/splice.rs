//! Two streams joined: what one says the other hears, and nothing is looked at.
//!
//! Laws: while nothing moves, neither direction holds a buffer (what arrives is read into the stack of the poll); while
//! data flows, a direction holds at most [`AT_ONCE`] bytes that its reader has not taken; a side that takes nothing for
//! [`STALL`] ends both; the end of one direction is passed on and leaves the other open. How long anybody may be silent is
//! the affair of the server behind.

use crate::channel::BoxStream;
use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Bytes taken at once from a side: four records of TLS, so that each wake of a busy session moves much.
pub const AT_ONCE: usize = 64 * 1024;

/// How long a side may take nothing of what waits for it. As for direct sessions.
pub const STALL: Duration = Duration::from_secs(5 * 60);

/// How long the client may stay after the server has said all it has to say.
const PARTING: Duration = Duration::from_secs(10);

/// Pieces moved in one poll before others get their turn.
const ROUNDS: usize = 16;

/// What a splice has come to.
#[derive(Debug)]
pub struct Ended {
    pub to_server: u64,
    pub to_client: u64,
    pub end: End,
}

#[derive(Debug)]
pub enum End {
    /// Both have said all they wanted to.
    Done,
    /// The client's connection broke.
    Client(io::Error),
    /// The server's connection broke.
    Server(io::Error),
    /// We were asked to stop.
    Stopped,
}

/// Joins two streams until both have ended, one breaks, or `stop` resolves. `first` was read from the client already.
pub async fn splice(
    client: BoxStream,
    server: BoxStream,
    first: Vec<u8>,
    stop: impl Future<Output = ()> + Send,
) -> Ended {
    let mut pair = Pair {
        client,
        server,
        up: Half { held: first, ..Half::default() },
        down: Half::default(),
        timer: None,
    };
    let end = tokio::select! {
        end = &mut pair => end,
        () = stop => End::Stopped,
    };
    // Whoever is still there is told that nothing follows. After a broken server the client is not: that its session was
    // cut off must not look like its proper end.
    match &end {
        End::Done | End::Stopped => {
            let _ = tokio::time::timeout(PARTING, pair.client.shutdown()).await;
            let _ = tokio::time::timeout(PARTING, pair.server.shutdown()).await;
        }
        End::Client(_) => {
            let _ = tokio::time::timeout(PARTING, pair.server.shutdown()).await;
        }
        End::Server(_) => {}
    }
    Ended { to_server: pair.up.bytes, to_client: pair.down.bytes, end }
}

struct Pair {
    client: BoxStream,
    server: BoxStream,
    /// From the client to the server.
    up: Half,
    down: Half,
    /// Only while somebody keeps us waiting, and what each half had passed on when it was set.
    timer: Option<Box<Patience>>,
}

struct Patience {
    sleep: Pin<Box<Sleep>>,
    patience: Duration,
    seen: (u64, u64),
}

/// One direction.
#[derive(Default)]
struct Half {
    /// What was read and not yet taken by the other side; empty at almost all times.
    held: Vec<u8>,
    at: usize,
    bytes: u64,
    /// The reader of `held` may have more of ours in its own buffers.
    unflushed: bool,
    /// Why nothing more comes, once what came before has been passed on.
    broke: Option<io::Error>,
    /// Nothing more comes.
    over: bool,
    /// And the other side has been told.
    told: bool,
}

enum Broke {
    Reading(io::Error),
    Writing(io::Error),
}

/// Where a half is after a poll.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Now {
    /// Waits for bytes.
    Idle,
    /// Waits for the other side to take some.
    Blocked,
    Told,
}

impl Half {
    fn poll(&mut self, cx: &mut Context<'_>, from: &mut BoxStream, to: &mut BoxStream) -> Result<Now, Broke> {
        if self.told {
            return Ok(Now::Told);
        }
        for _ in 0..ROUNDS {
            if !self.poll_held(cx, to)? {
                return Ok(Now::Blocked);
            }
            if let Some(broke) = self.broke.take() {
                return Err(Broke::Reading(broke));
            }
            if self.over {
                return self.poll_farewell(cx, to);
            }
            if !self.poll_piece(cx, from, to)? {
                return if self.poll_flush(cx, to)? { Ok(Now::Idle) } else { Ok(Now::Blocked) };
            }
        }
        // There is more at once, but others want to be served too.
        cx.waker().wake_by_ref();
        Ok(Now::Idle)
    }

    /// Passes on what is held. Whether all of it has gone.
    fn poll_held(&mut self, cx: &mut Context<'_>, to: &mut BoxStream) -> Result<bool, Broke> {
        while let Some(rest) = self.held.get(self.at..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut *to).poll_write(cx, rest) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(0)) => return Err(Broke::Writing(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    self.at += n;
                    self.bytes += n as u64;
                    self.unflushed = true;
                }
                Poll::Ready(Err(e)) => return Err(Broke::Writing(e)),
            }
        }
        if self.held.capacity() > 0 {
            self.held = Vec::new();
            self.at = 0;
        }
        Ok(true)
    }

    /// Reads what is there, as far as it fits, and passes it on. False: there is nothing now.
    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut BoxStream,
        to: &mut BoxStream,
    ) -> Result<bool, Broke> {
        let mut space = [const { MaybeUninit::<u8>::uninit() }; AT_ONCE];
        let mut buffer = ReadBuf::uninit(&mut space);
        while buffer.remaining() > 0 {
            let before = buffer.filled().len();
            match Pin::new(&mut *from).poll_read(cx, &mut buffer) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) if buffer.filled().len() == before => {
                    self.over = true;
                    break;
                }
                Poll::Ready(Ok(())) => {}
                // What came before the break is the other side's all the same.
                Poll::Ready(Err(e)) if before > 0 => {
                    self.broke = Some(e);
                    break;
                }
                Poll::Ready(Err(e)) => return Err(Broke::Reading(e)),
            }
        }
        let mut piece = buffer.filled();
        if piece.is_empty() {
            return Ok(self.over);
        }
        while !piece.is_empty() {
            match Pin::new(&mut *to).poll_write(cx, piece) {
                Poll::Pending => {
                    self.held = piece.to_vec();
                    self.at = 0;
                    break;
                }
                Poll::Ready(Ok(0)) => return Err(Broke::Writing(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    self.bytes += n as u64;
                    self.unflushed = true;
                    piece = piece.get(n..).unwrap_or_default();
                }
                Poll::Ready(Err(e)) => return Err(Broke::Writing(e)),
            }
        }
        Ok(true)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, to: &mut BoxStream) -> Result<bool, Broke> {
        if !self.unflushed {
            return Ok(true);
        }
        match Pin::new(to).poll_flush(cx) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(())) => {
                self.unflushed = false;
                Ok(true)
            }
            Poll::Ready(Err(e)) => Err(Broke::Writing(e)),
        }
    }

    fn poll_farewell(&mut self, cx: &mut Context<'_>, to: &mut BoxStream) -> Result<Now, Broke> {
        match Pin::new(to).poll_shutdown(cx) {
            Poll::Pending => Ok(Now::Blocked),
            // It may have closed both ways by itself already; then it knows.
            Poll::Ready(_) => {
                self.told = true;
                Ok(Now::Told)
            }
        }
    }
}

impl Future for Pair {
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let this = self.get_mut();
        let Pair { client, server, up, down, .. } = this;
        // What the server said last is for the client, even if the client has stopped listening to itself.
        let down = match down.poll(cx, server, client) {
            Ok(now) => now,
            Err(Broke::Reading(e)) => return Poll::Ready(End::Server(e)),
            Err(Broke::Writing(e)) => return Poll::Ready(End::Client(e)),
        };
        let up = match up.poll(cx, client, server) {
            Ok(now) => now,
            Err(Broke::Reading(e)) => return Poll::Ready(End::Client(e)),
            // The server may have closed after its last word, which the client still has to get.
            Err(Broke::Writing(_)) if down != Now::Idle => Now::Told,
            Err(Broke::Writing(e)) => return Poll::Ready(End::Server(e)),
        };
        match (up, down) {
            (Now::Told, Now::Told) => return Poll::Ready(End::Done),
            // The server is through, so there is nobody left to speak to.
            (Now::Idle | Now::Blocked, Now::Told) => this.wait(PARTING),
            (Now::Blocked, _) | (_, Now::Blocked) => this.wait(STALL),
            (Now::Idle | Now::Told, Now::Idle) => this.timer = None,
        }
        let Some(timer) = &mut this.timer else { return Poll::Pending };
        match timer.sleep.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) if down == Now::Told => Poll::Ready(End::Done),
            Poll::Ready(()) if down == Now::Blocked => {
                Poll::Ready(End::Client(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
            }
            Poll::Ready(()) => {
                Poll::Ready(End::Server(io::Error::new(io::ErrorKind::TimedOut, "the server takes nothing")))
            }
        }
    }
}

impl Pair {
    /// Sets the timer, or sets it back where something has moved since.
    fn wait(&mut self, patience: Duration) {
        let seen = (self.up.bytes, self.down.bytes);
        match &mut self.timer {
            Some(timer) if timer.seen == seen && timer.patience == patience => {}
            Some(timer) => {
                (timer.seen, timer.patience) = (seen, patience);
                timer.sleep.as_mut().reset(Instant::now() + patience);
            }
            None => {
                let sleep = Box::pin(tokio::time::sleep(patience));
                self.timer = Some(Box::new(Patience { sleep, patience, seen }));
            }
        }
    }
}
