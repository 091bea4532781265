//! Conversation scripts: what clients say, and what a server must answer.
//!
//! A script is written from the standard, not from the server. It runs over any stream: in memory against a session, or
//! against a server's sockets. `tests/talk/README.md` describes the format.
//!
//! - [`Script::parse`]: the text of a script → steps.
//! - [`pattern`]: what a response must look like, with captured variables.
//! - [`run`]: plays a script, gives each response to an observer (an oracle), and says where it went wrong.

mod pattern;
mod run;
mod script;

pub use pattern::{Pattern, Variables};
pub use run::{BoxStream, Failure, Stream, run};
pub use script::{Protocol, Script, ScriptError};
