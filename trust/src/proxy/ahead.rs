//! A stream that reads further ahead than it is asked to, for a TLS library that asks for 4 KiB at a time.
//!
//! Law: what is held is given out before anything is read, and while there is nothing to read nothing is held.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes read at once: two records of TLS.
const AT_ONCE: usize = 32 * 1024;

/// Whoever wants so many bytes gets them without a stop in between.
const ENOUGH: usize = 16 * 1024;

pub struct Ahead<S> {
    inner: S,
    held: Vec<u8>,
    at: usize,
}

impl<S> Ahead<S> {
    pub fn new(inner: S) -> Ahead<S> {
        Ahead { inner, held: Vec::new(), at: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Ahead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(rest) = this.held.get(this.at..).filter(|rest| !rest.is_empty()) {
            let n = rest.len().min(buf.remaining());
            buf.put_slice(rest.get(..n).unwrap_or_default());
            this.at += n;
            return Poll::Ready(Ok(()));
        }
        if buf.remaining() >= ENOUGH {
            return Pin::new(&mut this.inner).poll_read(cx, buf);
        }
        let mut space = [const { MaybeUninit::<u8>::uninit() }; AT_ONCE];
        let mut more = ReadBuf::uninit(&mut space);
        let read = Pin::new(&mut this.inner).poll_read(cx, &mut more);
        if read.is_pending() {
            // The stream rests.
            (this.held, this.at) = (Vec::new(), 0);
        }
        ready!(read)?;
        let got = more.filled();
        let n = got.len().min(buf.remaining());
        let (now, later) = got.split_at_checked(n).unwrap_or((got, &[]));
        buf.put_slice(now);
        this.held.clear();
        this.held.extend_from_slice(later);
        this.at = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Ahead<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn every_byte_comes_once_and_in_order() {
        let story: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
        let (mut far, near) = tokio::io::duplex(100_000);
        let mut ahead = Ahead::new(near);
        let sent = story.clone();
        let writing = tokio::spawn(async move {
            far.write_all(&sent).await.unwrap();
        });
        let mut heard = Vec::new();
        for size in [1, 4096, 20_000].into_iter().cycle() {
            let mut piece = vec![0; size];
            match ahead.read(&mut piece).await.unwrap() {
                0 => break,
                n => heard.extend_from_slice(&piece[..n]),
            }
        }
        assert!(heard == story);
        writing.await.unwrap();
        assert_eq!(ahead.read(&mut [0; 10]).await.unwrap(), 0, "the end stays the end");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_held_at_rest() {
        let (mut far, near) = tokio::io::duplex(100_000);
        let mut ahead = Ahead::new(near);
        far.write_all(&[7; 10_000]).await.unwrap();
        let mut got = [0; 10_000];
        ahead.read_exact(&mut got).await.unwrap();
        let wait = std::time::Duration::from_secs(1);
        let mut small = [0; 16];
        assert!(tokio::time::timeout(wait, ahead.read(&mut small)).await.is_err());
        assert_eq!(ahead.held.capacity(), 0);
        far.write_all(b"more").await.unwrap();
        assert_eq!(ahead.read(&mut small).await.unwrap(), 4);
    }
}
