//! What waits to be delivered: durable, in order of due time, one queue for each next hop.

pub mod limits;
mod live;
mod model;
mod plan;

pub use live::{Filter, Lease, Loaded, Page, Queue, QueueError, Recall, Settling, Submitted, Ticket, Work};
pub use model::{
    Accepted, Change, Client, Counts, Done, Envelope, Fate, Hop, ItemState, Kind, Local, MessageInfo,
    MessageStatus, NewItem, NextHop, NullRouter, Params, Place, Priority, QueueInfo, QueueStatus, Reason,
    Recovered, Rest, Route, Router, State, Target, TargetState,
};
pub use plan::RetryPlan;

/// First byte of the queue's keys.
pub const QUEUE_PREFIX: u8 = 0x20;
/// Second byte of rows that are not the queue's own but live in its partition: `[0x20] F0 [account u32][item u64]`, empty,
/// says that the item is shown in the account's outbox. The queue leaves them alone.
pub const OUTBOX_ROWS: u8 = 0xF0;
