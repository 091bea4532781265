//! What became of each message: events in Exchange's terms, written as they happen, read when somebody asks.
//!
//! An [`Event`] borrows all that it says, so that telling one costs its formatting and nothing more. Where it goes is
//! the affair of a [`TrackSink`]; the room that tells it never waits for a disk.
//!
//! This room has no sockets, no async runtime and no clock; files are opened only to be read.

pub mod event;

pub use event::{Direction, Event, EventId, Message, NetworkId, Recipient, Source, TrackSink};
