//! The seam to the disk: a flat folder of files that only grow. Segments go through it whole; the SQLite engine asks
//! it for free space and for leave to commit, so that tests can fill the disk or break an fsync.
//!
//! Three bodies: [`Real`] folder, [`Memory`], and [`Crashing`], which knows what a power cut would leave.

mod crashing;
mod memory;
mod real;

pub use crashing::Crashing;
pub use memory::Memory;
pub use real::Real;
pub(crate) use real::{make_dir, sync_dir};

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

/// A folder.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Names of all files, sorted.
    fn list(&self) -> io::Result<Vec<String>>;
    /// A new, empty file; it must not exist. Its name is durable after [`Disk::sync_names`].
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations and removals durable.
    fn sync_names(&self) -> io::Result<()>;
    /// Bytes that may still be written.
    fn free(&self) -> io::Result<u64>;
    /// Asked right before the engine commits; an error counts as an I/O error of that commit.
    fn may_commit(&self) -> io::Result<()> {
        Ok(())
    }
    /// Whether calls may wait for hardware, and so do not belong on a thread that runs tasks.
    fn waits(&self) -> bool;
}

/// A file.
pub trait DiskFile: Debug + Send + Sync {
    fn size(&self) -> io::Result<u64>;
    /// Fills `buf` from `offset`, or fails with `UnexpectedEof`.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`. After an error, any part of them may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything written so far durable.
    fn sync(&self) -> io::Result<()>;
    fn truncate(&self, size: u64) -> io::Result<()>;
}

/// Whether an error means that there is no room, rather than that the disk is broken.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
