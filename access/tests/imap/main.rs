//! IMAP as conversations, in memory and in virtual time.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod access;
mod agree;
mod append;
mod changes;
mod fetch;
mod folders;
mod garbage;
mod idle;
mod limits;
mod proxy;
mod search;
mod world;
