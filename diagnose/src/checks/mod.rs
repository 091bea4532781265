//! Typed checks: what a rule cannot say about one fact, since it joins several or counts.

mod certificates;
mod connectors;
mod directory;
mod kerberos;
mod limits;
mod monitoring;
mod network;
mod passing;
mod past;
mod queues;
mod resources;
mod services;
mod store;
mod tls;

use crate::case::Case;
use crate::fact::{Fact, Place};
use std::sync::Arc;
use waypost_base::Timestamp;

/// What a check found: evidence in one sentence, with its places.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hit {
    pub fact: String,
    pub at: Vec<Place>,
    pub time: Option<Timestamp>,
    pub server: Option<Arc<str>>,
}

impl Hit {
    /// A hit that rests on these facts.
    pub fn of(fact: impl Into<String>, seen: &[&Fact]) -> Hit {
        Hit {
            fact: fact.into(),
            at: seen.iter().map(|f| f.at).collect(),
            time: seen.iter().find_map(|f| f.time),
            server: seen.iter().find_map(|f| f.server.clone()),
        }
    }
}

/// Empty: it does not hold, or cannot be told.
pub type Check = fn(&Case) -> Vec<Hit>;

/// By the name that rules use.
pub fn find(name: &str) -> Option<Check> {
    let areas = [
        certificates::ALL,
        connectors::ALL,
        directory::ALL,
        kerberos::ALL,
        limits::ALL,
        monitoring::ALL,
        network::ALL,
        past::ALL,
        passing::ALL,
        queues::ALL,
        resources::ALL,
        services::ALL,
        store::ALL,
        tls::ALL,
    ];
    areas.into_iter().flatten().find(|(n, _)| *n == name).map(|(_, check)| *check)
}
