//! What is remembered: ordered keys and values behind atomic, declarative batches, and the bytes of messages.
//! Knows nothing of mail. The on-disk format is in docs/store.md.
//!
//! Everything goes through a [`Store`]. What may be put in is bounded by [`limits`]; how a write looks is in
//! [`batch`]; the seam that engines fit into is [`Engine`].

pub mod batch;
pub mod blob;
pub mod disk;
pub mod engine;
pub mod error;
mod fuzz;
pub mod limits;
mod look;
pub mod model;
pub mod sqlite;
pub mod store;
pub mod verify;

pub use batch::{Batch, Committed, Expect, Hex, Key, Op, Partition, Slot, Template, Width, prefix_range};
pub use blob::{Blob, BlobId, BlobReader, BlobWriter, Blobs, Body, Chunk, Compacted, Holder, Holders};
pub use engine::{BackupInfo, Engine, Health, Limits, Page, Pending};
pub use error::{BackupError, BlobError, CommitError, OpenError, ReadError};
#[doc(hidden)]
pub use fuzz::fuzz_one;
pub use look::Looked;
pub use model::Model;
pub use sqlite::Sqlite;
pub use store::{Options, Store, restore};
pub use verify::{Check, Problem, Report};
