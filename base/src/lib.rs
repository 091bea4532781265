//! Words that every room uses: identifiers, time, limits, correlation, and the vocabulary of explanation.
//!
//! Nothing in here reads a clock, opens a file or knows a protocol. Any room may use it; it uses none of ours.

pub mod denials;
pub mod explain;
pub mod id;
pub mod known;
pub mod metrics;
pub mod time;

pub use id::{AccountId, FolderId, MessageId, ThreadId};
pub use time::{Clock, Timestamp};
