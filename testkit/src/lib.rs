//! The imitated world that tests stand on. Never part of the server.

pub mod talk;
