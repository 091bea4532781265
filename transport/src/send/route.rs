//! Which way a domain's mail takes, from the settings of the moment.
//!
//! A connector is chosen by its address spaces: the longest pattern that fits, then the lowest cost, then the name.
//! Connectors that are off are not there. Where none fits, the mail waits as unreachable until one does.

use crate::connector::SendConnector;
use std::sync::{Arc, PoisonError, RwLock};
use waypost_directory::Directory;
use waypost_queue::{NextHop, PROBE, Route, Router};

/// Items delivered to mailboxes of this server at a time.
const DELIVERIES: u32 = 64;

/// Inner legs to one server, or to all hubs together, at a time.
const INNER_CONNECTIONS: u32 = 8;

/// What Exchange says, so that people find the answer they know.
pub const NO_CONNECTOR: &str = "A matching connector cannot be found to route the external recipient";

/// The connectors, as they are now. Handed to the queue before the hub is there, and changed when the settings change;
/// after a change the queue has to be told to route anew.
#[derive(Debug, Default)]
pub struct RoutingTable {
    connectors: RwLock<Arc<Vec<Arc<SendConnector>>>>,
    /// The way of the server's own probes, to a peer of theirs.
    probe: RwLock<Option<Arc<SendConnector>>>,
    /// Which server this is.
    directory: Option<Arc<Directory>>,
}

impl RoutingTable {
    pub fn new(connectors: Vec<SendConnector>) -> RoutingTable {
        let table = RoutingTable::default();
        table.set(connectors);
        table
    }

    /// The table of the server that this directory is on.
    pub fn at(self, directory: &Arc<Directory>) -> RoutingTable {
        RoutingTable { directory: Some(Arc::clone(directory)), ..self }
    }

    fn is_here(&self, server: &str) -> bool {
        let directory = self.directory.as_ref().map(|directory| directory.snapshot());
        directory.is_some_and(|now| now.here().is_some_and(|here| here.eq_ignore_ascii_case(server)))
    }

    /// Answers whether anything changed.
    pub fn set(&self, connectors: Vec<SendConnector>) -> bool {
        let mut now = self.connectors.write().unwrap_or_else(PoisonError::into_inner);
        if now.len() == connectors.len() && now.iter().zip(&connectors).all(|(a, b)| **a == *b) {
            return false;
        }
        *now = Arc::new(connectors.into_iter().map(Arc::new).collect());
        true
    }

    /// Where the server's own probes go from now on ([`PROBE`]). Its name and its address spaces do not matter.
    pub fn set_probe(&self, connector: Option<SendConnector>) {
        let connector = connector.map(|c| Arc::new(SendConnector { name: PROBE.to_owned(), ..c }));
        *self.probe.write().unwrap_or_else(PoisonError::into_inner) = connector;
    }

    /// `domain`: lower-case ASCII.
    pub fn connector_for(&self, domain: &str) -> Option<Arc<SendConnector>> {
        choose(&self.all(), domain)
    }

    pub fn named(&self, name: &str) -> Option<Arc<SendConnector>> {
        if name == PROBE {
            return self.probe.read().unwrap_or_else(PoisonError::into_inner).clone();
        }
        self.all().iter().find(|c| c.name == name).cloned()
    }

    fn all(&self) -> Arc<Vec<Arc<SendConnector>>> {
        self.connectors.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Router for RoutingTable {
    fn next_hop(&self, route: &Route) -> NextHop {
        match route {
            Route::Mailbox => NextHop::Mailbox,
            Route::Server { host, port } => NextHop::Server { host: host.clone(), port: *port },
            Route::Home(server) if self.is_here(server) => NextHop::Mailbox,
            Route::Home(server) => NextHop::Home(server.clone()),
            Route::Hub => NextHop::Hub,
            Route::Domain(domain) if domain == PROBE => {
                NextHop::Connector { connector: PROBE.to_owned(), domain: None }
            }
            Route::Domain(domain) => match self.connector_for(domain) {
                None => NextHop::Unreachable,
                Some(connector) => NextHop::Connector {
                    connector: connector.name.clone(),
                    domain: connector.smart_hosts.is_empty().then(|| domain.clone()),
                },
            },
        }
    }

    fn connections(&self, hop: &NextHop) -> u32 {
        let usual = SendConnector::new("", Vec::new()).connections_per_domain;
        match hop {
            NextHop::Mailbox => DELIVERIES,
            NextHop::Connector { connector, .. } => {
                self.named(connector).map_or(usual, |c| c.connections_per_domain).max(1)
            }
            NextHop::Server { .. } => usual,
            NextHop::Home(_) | NextHop::Hub => INNER_CONNECTIONS,
            NextHop::Unreachable | NextHop::Poison => 1,
        }
    }
}

fn choose(connectors: &[Arc<SendConnector>], domain: &str) -> Option<Arc<SendConnector>> {
    let fitting = connectors.iter().filter(|c| c.enabled).filter_map(|connector| {
        let best = connector
            .address_spaces
            .iter()
            .filter_map(|space| Some((std::cmp::Reverse(space.fits(domain)?), space.cost)))
            .min()?;
        Some((best, &connector.name, connector))
    });
    fitting.min_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1))).map(|(_, _, connector)| connector.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::AddressSpace;
    use waypost_directory::address::canonical_domain;

    fn connector(name: &str, spaces: &[(&str, u8)]) -> SendConnector {
        let spaces = spaces.iter().map(|(pattern, cost)| AddressSpace::new(*pattern, *cost)).collect();
        SendConnector::new(name, spaces)
    }

    #[test]
    fn the_most_particular_then_the_cheapest_then_the_first_by_name() {
        let mut off = connector("off", &[("a.example", 1)]);
        off.enabled = false;
        let table = RoutingTable::new(vec![
            connector("world", &[("*", 1)]),
            connector("dear", &[("*.example", 9)]),
            connector("cheap", &[("*.example", 5), ("b.test", 1)]),
            connector("also", &[("*.example", 5)]),
            connector("exact", &[("b.example", 99)]),
            off,
        ]);
        let name = |domain: &str| table.connector_for(domain).map(|c| c.name.clone());
        assert_eq!(name("a.example").as_deref(), Some("also"));
        assert_eq!(name("b.example").as_deref(), Some("exact"));
        assert_eq!(name("b.test").as_deref(), Some("cheap"));
        assert_eq!(name("c.test").as_deref(), Some("world"));
        let hop = |domain: &str| table.next_hop(&Route::Domain(domain.into())).to_string();
        assert_eq!(hop("b.example"), "exact/b.example");
        assert!(table.set(vec![connector("only", &[("x.test", 1)])]));
        assert!(!table.set(vec![connector("only", &[("x.test", 1)])]));
        assert_eq!(table.connector_for("c.test"), None);
        assert_eq!(table.next_hop(&Route::Domain("c.test".into())), NextHop::Unreachable);
        assert_eq!(table.named(PROBE), None);
        assert!(table.next_hop(&Route::Domain(PROBE.into())).is_probe(), "never unreachable");
        table.set_probe(Some(connector("any", &[])));
        assert_eq!(table.named(PROBE).map(|c| c.name.clone()).as_deref(), Some(PROBE));
        assert!(canonical_domain(PROBE).is_err(), "no address leads there");
        let mut smart = connector("smart", &[("*", 1)]);
        smart.smart_hosts = vec![crate::connector::SmartHost { host: "192.0.2.1".into(), port: None }];
        smart.connections_per_domain = 7;
        table.set(vec![smart]);
        let hop = table.next_hop(&Route::Domain("c.test".into()));
        assert_eq!((hop.to_string().as_str(), table.connections(&hop)), ("smart", 7));
    }
}
