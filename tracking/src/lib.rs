//! What became of each message: events in Exchange's terms, written as they happen, read when somebody asks.
//!
//! An [`Event`] borrows all that it says, so that telling one costs its formatting and nothing more. Where it goes is
//! the affair of a [`TrackSink`]; the room that tells it never waits for a disk.
//!
//! This room has no sockets, no async runtime and no clock; files are opened only to be read.

pub mod event;
pub mod files;
pub mod layout;
pub mod legs;
pub mod protocol;
pub mod record;
pub mod search;
pub mod story;
pub mod trace;

pub use event::{Direction, Event, EventId, Message, NetworkId, Recipient, Source, TrackSink};
pub use layout::fuzz_one;
pub use record::Record;
pub use search::{Filter, Found};
