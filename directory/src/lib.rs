//! Who is who: accepted domains, accounts, groups, permissions and credentials of one organisation.
//!
//! The directory lives in the store's partition `0x30` ([`rows`]) and wholly in memory besides: lookups
//! ([`Directory::resolve`]) ask a [`Snapshot`], never the store, and neither wait nor fail. Changes are batches with
//! preconditions, so that two administrators who edit the same thing conflict instead of overwriting each other; an
//! address belongs to one owner because its row is put only where it was absent.
//!
//! [`signin`] answers the questions of `waypost-sasl`. [`import`] reads CSV files.

pub mod address;
mod change;
pub mod credential;
mod error;
pub mod import;
pub mod invitation;
pub mod limits;
mod load;
mod model;
pub mod replica;
mod resolve;
pub mod rows;
pub mod server;
pub mod signin;
mod snapshot;
pub mod token;

pub use address::{Address, AddressError};
pub use change::{Directory, NewAccount, NewDomain, NewGroup, end_copy, take_page};
pub use credential::{AppPassword, ClientCertificate, Credential, CredentialKind};
pub use error::{ChangeError, OpenError};
pub use model::{
    Account, AccountKind, Domain, DomainKind, Group, GroupId, Limit, Member, Origin, Permission, Protocol,
    Protocols, Quotas, Right, SizeLimits,
};
pub use resolve::{Expanded, How, Recipient, Refused, Sender, Skipped};
pub use server::{Roles, Server};
pub use snapshot::{Owner, Policy, Snapshot};
pub use token::ApiToken;
