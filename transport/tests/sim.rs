//! The hub as a whole, in virtual time, with an internet made of memory: single conversations as transcripts
//! ([`engine`]), and thousands of seeded lives with every fault that there is ([`lives`]).

#![allow(
    clippy::unwrap_used,
    clippy::await_holding_lock,
    reason = "tests on one thread, which may end with a panic"
)]

#[path = "sim/crash.rs"]
mod crash;
#[path = "sim/day.rs"]
mod day;
#[path = "sim/engine.rs"]
mod engine;
#[path = "sim/inside.rs"]
mod inside;
#[path = "sim/internet.rs"]
mod internet;
#[path = "sim/lives.rs"]
mod lives;
#[path = "sim/outside.rs"]
mod outside;
#[path = "sim/site.rs"]
mod site;
