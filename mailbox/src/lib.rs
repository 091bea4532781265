//! Accounts, folders, messages, flags, changes, quota and search, over the store's declarative batches.
//!
//! [`Mailboxes`] is the room's handle; [`Account`] is where everything happens; [`Session`] is one client's look at one
//! folder. Message bytes come in through [`Writer`] and go out through [`Account::bodies`].
//!
//! Laws that span the files:
//! - Every commit to a folder takes exactly one modseq of it and writes one change-log row under that number, so a
//!   view that lacks one can see the gap and read the row. Views apply changes strictly in that order.
//! - UIDs are given inside the commit. Deliveries take no lock and read nothing.
//! - Flag changes and expunges of one folder are serialised in process by a lock, and between processes by the
//!   folder's writer counter, which each of their batches expects and raises.
//! - A view holds what is durable, never more.

pub mod account;
pub mod body;
pub mod changes;
pub mod copy;
pub mod deliver;
pub mod error;
pub mod expunge;
pub mod flags;
pub mod folders;
mod keys;
pub mod limits;
pub mod message;
pub mod moving;
mod qresync;
pub mod quota;
mod recover;
mod rows;
pub mod search;
pub mod session;
mod snapshot;
pub mod statistics;
pub mod uidset;
mod verify;
pub mod view;
mod writing;

pub use account::{Account, AccountOptions, Mailboxes};
pub use body::{BodyReader, MessageBody};
pub use changes::{Appended, Changes};
pub use copy::Copied;
pub use deliver::{Content, Delivery, NewMessage, Writer};
pub use error::{AccountError, DeliverError, Fault, FaultKind, FolderError};
pub use expunge::Expunged;
pub use flags::{FlagOp, FlagOutcome, Flags, Keywords, Mark};
pub use folders::{Folder, FolderTree, Role};
pub use limits::Limits;
pub use message::Stored;
pub use qresync::Since;
pub use quota::{Quota, Usage};
pub use recover::Recoverable;
pub use search::{Cancel, Query, SearchError, SortKey, SortOrder, ThreadKind};
pub use session::{Delta, Session};
pub use statistics::{AccountStatistics, FolderStatistics, Swept};
pub use uidset::UidSet;
pub use view::{Row, Status};
