//! IMAP as conversations, in memory and in virtual time.

mod access;
mod append;
mod changes;
mod fetch;
mod folders;
mod limits;
mod search;
mod world;
