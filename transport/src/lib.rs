//! The way of a message: accepted, categorized, queued where it must be, delivered.
//!
//! [`accept::serve`] speaks SMTP, submission or LMTP on a channel. A message gets its 250 when it is durable: a single
//! local recipient by the very batch that delivers it, others by the rows of the queue (`waypost_queue`), from which
//! [`deliver`] puts it into each account, once each, also over a restart, and [`send`] gives it to other servers.
//! [`categorize`] turns addresses into accounts and domains; [`agent`] is where others look at messages.
//!
//! Every hop is told to the [`LegSink`], every line to the [`ProtocolLog`]; no passwords reach either.

pub mod accept;
pub mod agent;
pub mod agents;
pub mod categorize;
pub mod connector;
pub mod deliver;
pub mod draft;
mod hub;
pub mod limits;
mod metrics;
pub mod outbox;
pub mod pipeline;
mod report;
pub mod send;
mod sink;
mod state;
mod track;
#[cfg(test)]
mod world;

pub use hub::{Hub, Parts, Settings};
pub use sink::{Event, LegSink, ProtocolLog, Record};
pub use state::ComponentState;
pub use waypost_queue::QueueHolders;
