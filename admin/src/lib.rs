//! Administration: the catalogue of commands, the settings document, and how both are carried to a running server.
//!
//! An operation is defined once ([`catalogue::Command`], in [`commands`]); command lines in two forms, help, completions,
//! man pages and the wire form ([`wire`]) come from that definition. It runs against a [`run::Context`]: in the server
//! that is up, or in the command itself while the server is stopped.

pub mod audit;
pub mod catalogue;
pub mod certificates;
pub mod commands;
pub mod elsewhere;
pub mod failure;
pub mod filter;
pub mod health;
pub mod mail;
pub mod moves;
pub mod output;
pub mod rights;
pub mod run;
pub mod service;
pub mod settings;
pub mod wire;
pub mod words;

pub use catalogue::{Catalogue, Invocation, Needs, Parsed, Source};
pub use commands::{RESTORED, why};
pub use failure::{Category, Exit, Failure};
pub use output::{Event, Format, Layout, Record, Renderer};
pub use run::{Context, Sink, World};
