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
mod digest;
pub mod fields;
pub mod html;
pub mod limits;
pub mod param;
mod preview;
mod render;
pub mod rfc2047;
pub mod rfc2231;
pub mod scan;
pub mod section;
pub mod subject;
pub mod summary;
mod summary_ref;
pub mod text;
pub mod thread;
mod tree;
mod wire;

mod fuzz;

pub use fuzz::fuzz_one;
pub use limits::Limits;
pub use scan::{Scanner, scan};
pub use summary::{
    AddressText, DecodeError, Encoding, Facts, Field, Part, PartKind, SentDate, Structure, Summary,
};
pub use summary_ref::{AddressRef, SummaryRef};
