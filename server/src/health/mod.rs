//! The health of the running server: probes over real sockets, what their monitors say, and the organisation's alerts.
//!
//! Every server runs its own probes ([`plan`]) and keeps their monitors ([`waypost_health::Watch`]). One of them, the keeper
//! ([`gather`]), asks all for their reports, folds what fails, tells people ([`tell`]) and does what settings allow ([`act`]).
//!
//! Laws: nothing of a probe is left in anybody's mailbox, nobody's queue is touched, every try is bounded in time, and
//! probes are spread over their interval, few at a time.

pub mod act;
pub mod around;
pub mod cause;
pub mod client;
pub mod flow;
pub mod gather;
pub mod ground;
pub mod hand;
pub mod inside;
pub mod integrity;
pub mod legs;
pub mod log;
pub mod machine;
pub mod mailbox;
pub mod memory;
pub mod out;
pub mod plan;
pub mod queue;
pub mod reach;
pub mod refine;
pub mod rounds;
pub mod tell;
pub mod trust;
pub mod web;

pub use hand::Hand;
pub use rounds::Health;
