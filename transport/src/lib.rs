//! The way of a message: accepted, categorized, queued where it must be, delivered.
//!
//! [`accept::serve`] speaks SMTP, submission or LMTP on a channel. A message gets its 250 when it is durable: a single
//! local recipient by the very batch that delivers it, several by the [`queue`] rows, from which [`deliver`] puts it
//! into each account, once each, also over a restart. [`categorize`] turns addresses into accounts.
//!
//! Every hop is told to the [`LegSink`], every line to the [`ProtocolLog`]; no passwords reach either.

pub mod accept;
pub mod agent;
pub mod agents;
pub mod categorize;
pub mod connector;
pub mod deliver;
pub mod draft;
mod holders;
mod hub;
pub mod limits;
mod metrics;
pub mod pipeline;
pub mod queue;
mod report;
pub mod send;
mod sink;
mod state;
#[cfg(test)]
mod world;

pub use holders::QueueHolders;
pub use hub::{Hub, Parts, Settings};
pub use sink::{Event, LegSink, ProtocolLog, Record};
pub use state::ComponentState;
