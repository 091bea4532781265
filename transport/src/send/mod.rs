//! The way out: what the queue holds for others goes over SMTP to the servers that take it.
//!
//! [`route`] chooses the connector of a domain from the settings of the moment; [`mx`] finds the addresses behind it;
//! the engine takes tickets from the queue, opens connections and settles what became of each recipient. Sockets, names
//! and TLS come from outside ([`Network`]), so that a test can be the whole internet.

mod cause;
#[cfg(test)]
pub(crate) mod fake;
pub mod log;
mod mx;
pub mod route;

use crate::hub::Hub;
use crate::sink::ProtocolLog;
use log::ConnectivityLog;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use waypost_trust::channel::{Dial, TlsConnect};
use waypost_trust::dns::Dns;

/// What sending needs of the world outside.
#[derive(Clone)]
pub struct Network {
    pub dns: Arc<dyn Dns>,
    pub dial: Arc<dyn Dial>,
    pub tls: Arc<dyn TlsConnect>,
    /// Random bits: the order of hosts that are equally good, and the numbers of sessions.
    pub random: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Where our own doors are. Mail that is routed by MX never goes there: it would come back. An unspecified address
    /// (`0.0.0.0`, `::`) stands for every address in `own_addresses` and loopback.
    pub own_listeners: Vec<SocketAddr>,
    /// Addresses of this machine.
    pub own_addresses: Vec<std::net::IpAddr>,
    /// The SMTP send protocol log: the same records as those of the receive log.
    pub log: Option<Arc<dyn ProtocolLog>>,
    pub connectivity: Option<Arc<dyn ConnectivityLog>>,
}

impl Network {
    /// `random` hands out random bits at each call.
    pub fn new(
        dns: Arc<dyn Dns>,
        dial: Arc<dyn Dial>,
        tls: Arc<dyn TlsConnect>,
        random: Arc<dyn Fn() -> u64 + Send + Sync>,
    ) -> Network {
        Network {
            dns,
            dial,
            tls,
            random,
            own_listeners: Vec::new(),
            own_addresses: Vec::new(),
            log: None,
            connectivity: None,
        }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("own_listeners", &self.own_listeners).finish_non_exhaustive()
    }
}

/// The engine: takes work from the queue and does it until the hub stops. Spawned once, beside the listeners.
pub async fn run(hub: Arc<Hub>) {
    let mut stopping = hub.stopping();
    // Fails only when the hub is gone, which ends the work too.
    let _ = stopping.wait_for(|stop| *stop).await;
}
