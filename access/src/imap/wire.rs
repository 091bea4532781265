//! The session's end of the byte stream: bytes in, replies out, TLS and compression in between.
//!
//! Laws: replies gather in [`Wire::out`] and are written once, when the session is about to wait for the client or when
//! 64 KiB have gathered; while nothing is under way the wire holds no buffer at all (what arrives is read into the
//! stack of the poll); a write that makes no progress for [`WRITE_STALL`] ends the connection, so that a client that
//! does not read cannot hold memory for ever.

use super::deflate::{Deflater, Inflater};
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use waypost_trust::channel::BoxStream;

/// Bytes of replies that may gather before they are written.
pub(crate) const FLUSH_AT: usize = 64 * 1024;

/// Bytes taken from the stream at once. They land on the stack, so an idle connection pays nothing for them.
const READ_AT_ONCE: usize = 32 * 1024;

/// How long one write may wait for a client that reads nothing.
const WRITE_STALL: Duration = Duration::from_secs(5 * 60);

pub(crate) struct Wire {
    /// `None` while TLS is being started, and for good when that failed.
    stream: Option<BoxStream>,
    inflate: Option<Box<Inflater>>,
    deflate: Option<Box<Deflater>>,
    /// What is to be written. Encoders append here.
    pub out: Vec<u8>,
    /// Bytes that the client sent, after decompression.
    pub bytes_in: u64,
    /// Bytes handed to the client, before compression.
    pub bytes_out: u64,
}

impl Wire {
    pub fn new(stream: BoxStream) -> Wire {
        Wire {
            stream: Some(stream),
            inflate: None,
            deflate: None,
            out: Vec::new(),
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// Waits for bytes and hands them to `sink`. 0 is the end of the stream. Cancel-safe.
    pub async fn read(&mut self, mut sink: impl FnMut(&[u8])) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, &mut sink)).await
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, sink: &mut impl FnMut(&[u8])) -> Poll<io::Result<usize>> {
        let mut space = [const { MaybeUninit::<u8>::uninit() }; READ_AT_ONCE];
        loop {
            if let Some(inflate) = &mut self.inflate
                && inflate.has_input()
            {
                let plain = inflate.inflate()?;
                if !plain.is_empty() {
                    self.bytes_in += plain.len() as u64;
                    sink(plain);
                    let n = plain.len();
                    inflate.release_output();
                    return Poll::Ready(Ok(n));
                }
            }
            let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(0)) };
            let mut buffer = ReadBuf::uninit(&mut space);
            ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
            let got = buffer.filled();
            match &mut self.inflate {
                Some(inflate) if !got.is_empty() => inflate.push(got),
                _ => {
                    self.bytes_in += got.len() as u64;
                    sink(got);
                    return Poll::Ready(Ok(got.len()));
                }
            }
        }
    }

    /// Whether enough has gathered to be written.
    pub fn full(&self) -> bool {
        self.out.len() >= FLUSH_AT
    }

    /// Writes what has gathered, if it is enough to be worth it.
    pub async fn flush_if_full(&mut self) -> io::Result<()> {
        if self.full() { self.flush().await } else { Ok(()) }
    }

    /// Writes all that has gathered.
    pub async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        self.bytes_out += self.out.len() as u64;
        let Some(stream) = &mut self.stream else {
            self.out.clear();
            return Err(io::ErrorKind::NotConnected.into());
        };
        let result = match &mut self.deflate {
            Some(deflate) => {
                let squeezed = deflate.squeeze(&self.out)?;
                write_whole(stream, &squeezed).await
            }
            None => write_whole(stream, &self.out).await,
        };
        self.out.clear();
        result
    }

    /// Writes what has gathered and `body` after it, without copying it when it is large.
    pub async fn flush_with(&mut self, body: &[u8]) -> io::Result<()> {
        if self.out.len() + body.len() <= FLUSH_AT || self.deflate.is_some() {
            for piece in body.chunks(FLUSH_AT) {
                self.out.extend_from_slice(piece);
                self.flush_if_full().await?;
            }
            return Ok(());
        }
        self.flush().await?;
        self.bytes_out += body.len() as u64;
        match &mut self.stream {
            Some(stream) => write_whole(stream, body).await,
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Gives back all memory that an idle connection does not need.
    pub fn release(&mut self) {
        if self.out.is_empty() {
            self.out = Vec::new();
        }
        self.deflate.iter_mut().for_each(|d| d.release());
        self.inflate.iter_mut().for_each(|i| i.release());
    }

    /// Takes the stream out, for TLS to be put around it. What was gathered must have been flushed.
    pub fn take_stream(&mut self) -> Option<BoxStream> {
        self.stream.take()
    }

    pub fn put_stream(&mut self, stream: BoxStream) {
        self.stream = Some(stream);
    }

    /// From here on both directions are compressed (RFC 4978). `rest` is what the client sent already after its command.
    pub fn start_deflate(&mut self, rest: &[u8]) {
        let mut inflater = Inflater::new();
        inflater.push(rest);
        self.inflate = Some(Box::new(inflater));
        self.deflate = Some(Box::new(Deflater::new()));
    }

    pub fn deflating(&self) -> bool {
        self.deflate.is_some()
    }

    /// Says goodbye to the transport. Errors do not matter any more.
    pub async fn close(&mut self) {
        let _ = self.flush().await;
        if let Some(mut stream) = self.stream.take() {
            let _ = tokio::time::timeout(Duration::from_secs(10), stream.shutdown()).await;
        }
    }
}

/// Writes all of `bytes`; each piece of progress starts the patience anew.
async fn write_whole(stream: &mut BoxStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let wrote = patient(poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, bytes))).await?;
        if wrote == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = bytes.get(wrote..).unwrap_or_default();
    }
    patient(poll_fn(|cx| Pin::new(&mut *stream).poll_flush(cx))).await
}

/// Most writes are ready at once: the timer is only made for those that are not.
async fn patient<T>(mut work: impl Future<Output = io::Result<T>> + Unpin) -> io::Result<T> {
    let at_once = poll_fn(|cx| match Pin::new(&mut work).poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    });
    match at_once.await {
        Some(done) => done,
        None => match tokio::time::timeout(WRITE_STALL, work).await {
            Ok(done) => done,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        },
    }
}
