//! The mail filter protocol (milter) in versions 2 to 6, the mail server's side, without IO.
//!
//! A [`Session`] is told what happens in an SMTP session, appends to a buffer what the filter is to hear, and says
//! whether an answer is to be waited for ([`Sent`]). What the filter says is handed to [`Session::input`], and comes out
//! of [`Session::event`] as verdicts and changes. One command at a time: after [`Sent::Wait`] nothing may be said until
//! the [`Event::Verdict`].
//!
//! ```text
//! negotiate → connect → helo → ( mail → rcpt… → data → header… → end_of_headers → body… → end_of_message | abort )… → quit
//! ```
//!
//! The filter chooses what it wants to see and to answer; the rest is skipped here, so the caller tells everything.
//! Nothing that a filter sends can end a header field early, grow without bound, or change what it was not allowed to.

pub mod flags;
pub mod limits;

mod answer;
mod fuzz;
mod packet;
mod session;
mod types;

pub use fuzz::fuzz_one;
pub use session::{Macros, Session};
pub use types::{Change, Config, Error, Event, Origin, Reply, Sent, Stage, VERSION, Verdict};
