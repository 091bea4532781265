//! What the tests of this room share.
#![allow(dead_code)] // Each test file uses a part of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use waypost_base::{Clock, Timestamp};
use waypost_store::disk::Real;
use waypost_store::sqlite::SqliteOptions;
use waypost_store::{Options, Sqlite, Store};

/// A folder that goes when the test does.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("waypost-store-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn clock() -> Clock {
    Clock::fixed(Timestamp(1_772_525_720_114))
}

pub fn options() -> Options {
    Options { free_floor: 0, ..Options::new([3; 32], clock()) }
}

pub fn sqlite(folder: &Folder) -> Sqlite {
    let disk = Arc::new(Real::new(folder.path()).unwrap());
    let options = SqliteOptions { clock: clock(), disk, free_floor: 0, readers: 2, key_check: [1; 32] };
    Sqlite::open(folder.path(), options).unwrap()
}

pub fn store(path: &Path) -> Store {
    Store::open(path, options()).unwrap()
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        out.extend_from_slice(&x.to_le_bytes());
    }
    out.truncate(len);
    out
}
