//! COMPRESS=DEFLATE (RFC 4978) with little memory: raw deflate both ways.
//!
//! The compressor needs some 300 KiB while it works and nothing while the connection is idle. It can be thrown away
//! between replies because each reply ends at a byte boundary (a sync flush) and a deflate stream is a row of blocks:
//! a fresh compressor just never refers back to what the old one wrote. The decompressor has to keep its window of
//! 32 KiB, since the client may refer back.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use std::io;

/// Bytes decompressed at once: a small piece of compressed text must not become megabytes of commands before they are
/// looked at.
const PLAIN_AT_ONCE: usize = 32 * 1024;

pub(crate) struct Inflater {
    state: Decompress,
    /// What came from the client and is not decompressed yet, from `done` on.
    input: Vec<u8>,
    done: usize,
    output: Vec<u8>,
    /// The last call filled its output, so more may be waiting inside without further input.
    more: bool,
}

impl Inflater {
    pub fn new() -> Inflater {
        Inflater {
            state: Decompress::new(false),
            input: Vec::new(),
            done: 0,
            output: Vec::new(),
            more: false,
        }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    pub fn has_input(&self) -> bool {
        self.more || self.done < self.input.len()
    }

    /// Decompresses the next piece. Empty when more input is needed. Damage is an error, and the end of the connection.
    pub fn inflate(&mut self) -> io::Result<&[u8]> {
        let damaged = |_| io::Error::from(io::ErrorKind::InvalidData);
        self.output.clear();
        self.output.reserve_exact(PLAIN_AT_ONCE);
        let before = self.state.total_in();
        let rest = self.input.get(self.done..).unwrap_or_default();
        let status =
            self.state.decompress_vec(rest, &mut self.output, FlushDecompress::Sync).map_err(damaged)?;
        let used = (self.state.total_in() - before) as usize;
        self.done += used;
        self.more = self.output.len() >= PLAIN_AT_ONCE;
        if self.done >= self.input.len() {
            self.input.clear();
            self.done = 0;
        } else if used == 0 && self.output.is_empty() {
            // Neither side moves: after the stream's end, or on what only looks like deflate.
            return Err(io::ErrorKind::InvalidData.into());
        }
        if status == Status::StreamEnd && self.output.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(&self.output)
    }

    /// Forgets what the last call gave.
    pub fn release_output(&mut self) {
        self.output.clear();
    }

    pub fn release(&mut self) {
        self.output = Vec::new();
        if self.input.is_empty() {
            self.input = Vec::new();
        }
    }
}

pub(crate) struct Deflater {
    state: Option<Compress>,
}

impl Deflater {
    pub fn new() -> Deflater {
        Deflater { state: None }
    }

    /// Compresses a whole reply, to the byte.
    pub fn squeeze(&mut self, plain: &[u8]) -> io::Result<Vec<u8>> {
        let failed = |_| io::Error::from(io::ErrorKind::InvalidData);
        let state = self.state.get_or_insert_with(|| Compress::new(Compression::fast(), false));
        let mut out = Vec::with_capacity(plain.len() / 2 + 64);
        let start = state.total_in();
        loop {
            let done = (state.total_in() - start) as usize;
            let rest = plain.get(done..).unwrap_or_default();
            if out.capacity() - out.len() < 64 {
                out.reserve(plain.len() / 4 + 4096);
            }
            state.compress_vec(rest, &mut out, FlushCompress::Sync).map_err(failed)?;
            // A sync flush is complete when it leaves room in the output.
            if (state.total_in() - start) as usize == plain.len() && out.len() < out.capacity() {
                return Ok(out);
            }
        }
    }

    pub fn release(&mut self) {
        self.state = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_released_compressor_goes_on_with_the_same_stream() {
        let mut deflater = Deflater::new();
        let mut inflater = Inflater::new();
        let long = b"* 1 FETCH (FLAGS (\\Seen))\r\n".repeat(9000);
        let mut got = Vec::new();
        for text in [b"a OK done\r\n".as_slice(), &long, b"b OK done\r\n", b"", b"c"] {
            inflater.push(&deflater.squeeze(text).unwrap());
            deflater.release();
            while inflater.has_input() {
                let piece = inflater.inflate().unwrap();
                assert!(piece.len() <= 2 * PLAIN_AT_ONCE);
                got.extend_from_slice(piece);
            }
            inflater.release();
        }
        let want = [b"a OK done\r\n".as_slice(), &long, b"b OK done\r\nc"].concat();
        assert!(got == want);
    }

    #[test]
    fn garbage_is_an_error() {
        let mut inflater = Inflater::new();
        inflater.push(&[0xff; 300]);
        let mut outcome = Ok(());
        while inflater.has_input() && outcome.is_ok() {
            outcome = inflater.inflate().map(|_| ());
        }
        assert!(outcome.is_err());
    }
}
