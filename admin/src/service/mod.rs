//! Whom the roles of a server run as, what they may touch, and how their inner legs stand.
//!
//! What the system knows is read from `/proc` and from the files themselves; what only the running server knows comes through
//! [`ServiceFacts`]. Without a running server everything is judged for the user who owns the data folder.

pub mod access;
pub mod identity;
pub mod permission;
pub mod process;

use std::path::PathBuf;
use waypost_base::Timestamp;
use waypost_base::explain::{Finding, Leg};

/// What a running server knows of itself.
pub trait ServiceFacts: Send + Sync {
    /// The state of every pair of servers and service that had a leg from or to this server.
    fn legs(&self) -> Vec<LegState>;

    /// The latest faults of inner legs, newest first.
    fn faults(&self) -> Vec<LegState>;

    /// What the system denied this process lately.
    fn denials(&self) -> Vec<Denial>;
}

/// How the last leg went, and since when it is so.
#[derive(Clone, Debug)]
pub struct LegState {
    pub from: String,
    pub to: String,
    pub service: String,
    pub leg: Leg,
    pub finding: Option<Finding>,
    pub since: Timestamp,
    /// Legs since then.
    pub legs: u64,
    /// Legs that were well, and that were not, since the server started.
    pub well: u64,
    pub unwell: u64,
}

/// As whom a role takes part in Kerberos.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KerberosIdentity {
    pub role: String,
    pub keytab: PathBuf,
    /// Its ticket cache.
    pub cache: Option<PathBuf>,
}

/// A path that the system did not let the process have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    pub path: PathBuf,
    pub operation: &'static str,
    pub first: Timestamp,
    pub last: Timestamp,
    pub times: u64,
}
