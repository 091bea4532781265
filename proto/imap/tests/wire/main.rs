//! The wire format from outside: what clients may send, cut anywhere; what we answer, read by someone else's parser.

mod commands;
mod frames;
mod generated;
mod responses;
