//! What waits to be delivered: durable, in order of due time, one queue for each next hop.
//!
//! - [`Queue`] is alive: rows, schedule and those who wait for work. [`Queue::submit`] makes an item durable,
//!   [`Queue::work`] says what is to be done, a [`Lease`] is the right to do it, [`Queue::settle`] enters what came of it,
//!   with the reports about it, in one batch.
//! - The schedule (`schedule`) is pure: time in, decisions out.
//! - [`pressure`] decides, from readings of disk, memory and queue length, whose mail is still taken.
//!
//! **Once:** a hop is leased to one holder; what it did is entered in one batch, that is in line before
//! [`Queue::settle`] returns. While the store refuses, the outcome is kept in memory and nothing is done twice; only a
//! crash between a peer's 250 and that batch sends again.

pub mod holders;
pub mod limits;
pub mod pressure;

mod admin;
mod codec;
mod fuzz;
mod lease;
mod live;
mod look;
mod model;
mod plan;
mod recover;
mod rows;
mod schedule;
mod settle;
mod verify;

pub use admin::Recall;
#[doc(hidden)]
pub use fuzz::fuzz_one;
pub use holders::QueueHolders;
pub use lease::{Lease, Loaded, Ticket};
pub use live::{Put, Queue, QueueError, Submitted, Work};
pub use look::{Filter, Page};
pub use model::{
    Accepted, Change, Client, Counts, DeliveryId, Done, Envelope, Fate, Hop, ItemState, Kind, Local,
    MessageInfo, MessageStatus, NewItem, NextHop, NullRouter, PROBE, Params, Place, Priority, QueueInfo,
    QueueStatus, Reason, Recovered, Rest, Route, Router, State, Target, TargetState,
};
pub use plan::RetryPlan;
pub use settle::Settling;
pub use verify::QueueCheck;

/// First byte of the queue's keys.
pub const QUEUE_PREFIX: u8 = 0x20;
/// Second byte of rows in the queue's partition that are transport's: `[20] F0 [account u32][item u64]`, empty, says that
/// the item is shown in the account's outbox. The queue leaves them alone.
pub const OUTBOX_ROWS: u8 = 0xF0;
