//! Delivery status notifications (RFC 3461, RFC 3464, RFC 6533).
//!
//! [`conclude`] says who is told what when a hop is settled, [`delayed`] when it waits long, [`expanded`] when a group was
//! opened. They answer queue items, which go into the same batch as the settling: each report exists once. [`paper`]
//! writes them, [`advice`] knows what a refusal means to a person, and [`reported`] recognises other servers' reports.

mod advice;
mod conclude;
mod incoming;
pub(crate) mod paper;
#[cfg(test)]
mod tests;
pub(crate) mod words;

pub(crate) use advice::advice;
pub(crate) use conclude::{conclude, delayed, expanded, header};
pub(crate) use incoming::reported;

use waypost_queue::Accepted;

/// Whether NOTIFY asks to be told of success.
pub(crate) fn wants_success(recipient: &Accepted) -> bool {
    recipient.params.notify.is_some_and(|notify| notify.success)
}
