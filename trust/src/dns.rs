//! Names asked of the world: what routing and mail authentication need to know, whoever answers.
//!
//! `server` answers from real name servers; tests answer from tables, with every fault that a name server has.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

/// A host that takes mail for a domain (RFC 5321 §5).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mx {
    pub preference: u16,
    /// Lower case, without the final dot; empty for the null MX of RFC 7505.
    pub host: String,
}

/// Why there is no answer. The first two are answers too: the name server was sure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// NXDOMAIN.
    #[error("{0} does not exist")]
    NoName(String),
    /// The name exists and has no such record.
    #[error("{0} has no such record")]
    NoRecord(String),
    #[error("the name servers did not answer about {0} in time")]
    Timeout(String),
    /// SERVFAIL, REFUSED, or an answer that did not pass DNSSEC.
    #[error("the name servers could not answer about {0}: {1}")]
    Failed(String, String),
}

impl DnsError {
    /// Whether asking later can help.
    pub const fn retry(&self) -> bool {
        matches!(self, DnsError::Timeout(_) | DnsError::Failed(..))
    }
}

pub type Asking<'a, T> = Pin<Box<dyn Future<Output = Result<T, DnsError>> + Send + 'a>>;

/// Asks name servers. Answers may come from a cache that keeps to their TTL. Names are ASCII (A-labels).
pub trait Dns: Send + Sync + 'static {
    /// In no particular order. Never an empty list.
    fn mx<'a>(&'a self, domain: &'a str) -> Asking<'a, Vec<Mx>>;
    /// A and AAAA. Never an empty list.
    fn addresses<'a>(&'a self, host: &'a str) -> Asking<'a, Vec<IpAddr>>;
    /// The strings of each TXT record, joined.
    fn txt<'a>(&'a self, name: &'a str) -> Asking<'a, Vec<String>>;
    /// The names of an address (PTR).
    fn names(&self, address: IpAddr) -> Asking<'_, Vec<String>>;
}
