//! What the bytes of a message mean.
//!
//! [`Scanner`] reads a message once, in pieces of any size, in memory that does not grow with it, and gives a [`Summary`]:
//! everything that FETCH, SEARCH, SORT and THREAD need later, so that the message is never parsed again.
//! [`SummaryRef`] reads a stored summary in place. [`section`] turns IMAP section names into byte ranges; [`text`] searches
//! decoded text. Nothing in here fails on bad mail: what cannot be understood is opaque. Nothing in here does IO.

pub mod addr;
pub mod charset;
pub mod collate;
pub mod compose;
pub mod date;
pub mod decode;
pub mod fields;
pub mod html;
pub mod limits;
pub mod param;
mod render;
pub mod rfc2047;
pub mod rfc2231;
pub mod scan;
pub mod section;
pub mod subject;
pub mod summary;
pub mod text;
pub mod thread;

mod fuzz;

pub use fuzz::fuzz_one;
pub use limits::Limits;
pub use scan::{Scanner, scan};
pub use summary::{DecodeError, Encoding, Field, Part, PartKind, SentDate, Summary, SummaryRef};
