//! Diagnosis: evidence read from artefacts, rules over facts, findings with their evidence.
//!
//! Facts are what was seen ([`fact`]); rules are data, one file for each cause ([`rule`]); what joins facts is a typed check
//! ([`checks`]); the engine weighs ([`engine`]). Nothing here opens a socket or asks a clock.

pub mod case;
pub mod checks;
pub mod engine;
pub mod fact;
pub mod phrases;
pub mod read;
pub mod report;
pub mod rule;
pub mod sink;
pub mod source;
pub mod words;

pub use case::Case;
pub use fact::{Fact, FileId, Place};
pub use report::Report;
pub use sink::Sink;
