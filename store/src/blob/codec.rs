//! zstd, level 1, with contexts that are used again: making one costs more than compressing a small message.

use crate::limits::CHUNK_BYTES;
use std::io;
use std::sync::{Mutex, PoisonError};
use zstd::bulk::{Compressor, Decompressor};

const LEVEL: i32 = 1;

/// Most idle contexts of each kind; beyond, they are dropped after use.
const IDLE: usize = 4;

#[derive(Default)]
pub(super) struct Codec {
    compressors: Mutex<Vec<Compressor<'static>>>,
    decompressors: Mutex<Vec<Decompressor<'static>>>,
}

fn take<T>(pool: &Mutex<Vec<T>>) -> Option<T> {
    pool.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

fn give<T>(pool: &Mutex<Vec<T>>, context: T) {
    let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
    if pool.len() < IDLE {
        pool.push(context);
    }
}

impl Codec {
    /// Fails only for want of memory.
    pub fn compress(&self, raw: &[u8]) -> io::Result<Vec<u8>> {
        let mut context = match take(&self.compressors) {
            Some(context) => context,
            None => Compressor::new(LEVEL)?,
        };
        let compressed = context.compress(raw)?;
        give(&self.compressors, context);
        Ok(compressed)
    }

    /// Fails if the bytes are not zstd, or not of this raw length (at most 64 KiB).
    pub fn decompress(&self, stored: &[u8], raw_len: usize) -> io::Result<Vec<u8>> {
        if raw_len > CHUNK_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut context = match take(&self.decompressors) {
            Some(context) => context,
            None => Decompressor::new()?,
        };
        let raw = context.decompress(stored, raw_len)?;
        give(&self.decompressors, context);
        if raw.len() == raw_len { Ok(raw) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}
