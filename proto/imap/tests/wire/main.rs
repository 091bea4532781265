//! The wire format from outside: what clients may send, cut anywhere; what we answer, read by someone else's parser.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod commands;
mod frames;
mod generated;
mod responses;
