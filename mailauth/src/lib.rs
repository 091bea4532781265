//! What a message proves about its sender, and what ours prove.
//!
//! [`check`] asks SPF, DKIM, DMARC, ARC and iprev, and keeps the evidence: which record was read, what it said.
//! [`policy`] decides what follows. [`results`] writes Authentication-Results, and finds the forged ones.
//! [`keys`] keeps the signing keys in files, [`sign`] signs with them, [`records`] says what the DNS should show and
//! what it shows. [`names`] asks name servers; [`body`] hashes bodies piece by piece, so that none is held in memory.
//!
//! DNS trouble is never held against a message: it is `temperror`, and is told apart from `fail` everywhere.

pub mod body;
pub mod check;
mod fuzz;
pub mod keys;
pub mod limits;
pub mod names;
pub mod policy;
pub mod records;
pub mod results;
pub mod sign;

pub use body::{BodyHasher, BodyHashes};
pub use check::{Authenticator, Dkim, Dmarc, Input, Iprev, Seals, Spf, Verdict, Word};
pub use fuzz::fuzz_one;
pub use keys::{DomainKeys, KeyAlgorithm, KeyError, KeyFolder, KeyInfo, KeyState, rsa_key};
pub use names::{Names, NamesOptions};
pub use policy::{Action, AuthSettings, DmarcMode, SpfFail};
pub use sign::Signer;
