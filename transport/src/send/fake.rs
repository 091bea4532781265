//! Name servers for tests, which answer from a table.

use super::Network;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use waypost_trust::channel::{BoxStream, Connecting, Dial, Dialing, TlsConnect, TlsWish};
use waypost_trust::dns::{Asking, Dns, DnsError, Mx};

/// What the name servers know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    mx: BTreeMap<String, Vec<Mx>>,
    addresses: BTreeMap<String, Vec<IpAddr>>,
    texts: BTreeMap<String, Vec<String>>,
    broken: Vec<String>,
}

impl Names {
    pub(crate) fn mx(mut self, domain: &str, hosts: &[(u16, &str)]) -> Names {
        let hosts =
            hosts.iter().map(|(preference, host)| Mx { preference: *preference, host: (*host).into() });
        self.mx.insert(domain.into(), hosts.collect());
        self
    }

    pub(crate) fn a(mut self, host: &str, addresses: &[&str]) -> Names {
        self.addresses.insert(host.into(), addresses.iter().map(|a| a.parse().unwrap()).collect());
        self
    }

    pub(crate) fn txt(mut self, name: &str, text: &str) -> Names {
        self.texts.entry(name.into()).or_default().push(text.into());
        self
    }

    /// SERVFAIL for this name.
    pub(crate) fn broken(mut self, name: &str) -> Names {
        self.broken.push(name.into());
        self
    }

    fn answer<T: Clone>(&self, table: &BTreeMap<String, Vec<T>>, name: &str) -> Result<Vec<T>, DnsError> {
        if self.broken.iter().any(|b| b == name) {
            return Err(DnsError::Failed(name.into(), "SERVFAIL".into()));
        }
        let known =
            self.mx.contains_key(name) || self.addresses.contains_key(name) || self.texts.contains_key(name);
        match table.get(name) {
            Some(found) => Ok(found.clone()),
            None if known => Err(DnsError::NoRecord(name.into())),
            None => Err(DnsError::NoName(name.into())),
        }
    }
}

impl Dns for Names {
    fn mx<'a>(&'a self, domain: &'a str) -> Asking<'a, Vec<Mx>> {
        Box::pin(async move { self.answer(&self.mx, domain) })
    }

    fn addresses<'a>(&'a self, host: &'a str) -> Asking<'a, Vec<IpAddr>> {
        Box::pin(async move { self.answer(&self.addresses, host) })
    }

    fn txt<'a>(&'a self, name: &'a str) -> Asking<'a, Vec<String>> {
        Box::pin(async move { self.answer(&self.texts, name) })
    }

    fn names(&self, address: IpAddr) -> Asking<'_, Vec<String>> {
        Box::pin(async move { Err(DnsError::NoName(address.to_string())) })
    }
}

/// Nobody listens anywhere.
struct Nobody;

impl Dial for Nobody {
    fn dial(&self, _to: SocketAddr, _from: Option<IpAddr>) -> Dialing {
        Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
    }
}

/// No handshake works.
struct NoTls;

impl TlsConnect for NoTls {
    fn connect(&self, _plain: BoxStream, _wish: TlsWish) -> Connecting {
        Box::pin(async { Err(io::Error::other("handshake failure")) })
    }
}

/// The same numbers at each run.
pub(crate) fn random(seed: u64) -> Arc<dyn Fn() -> u64 + Send + Sync> {
    let state = AtomicU64::new(seed);
    Arc::new(move || {
        let x = state.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    })
}

/// Names, and nobody who listens.
pub(crate) fn network(names: Arc<Names>) -> Network {
    Network::new(names, Arc::new(Nobody), Arc::new(NoTls), random(1))
}
