//! An internet for tests: name servers that answer from a table, peers that follow a script over in-memory pipes, TLS
//! that is none.

use super::Network;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::DuplexStream;
use waypost_trust::channel::{
    BoxStream, Connecting, Dial, Dialed, Dialing, PeerCertificate, TlsConnect, TlsFacts, TlsWish,
};
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

type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;
type Service = Arc<dyn Fn(DuplexStream) -> Serving + Send + Sync>;

/// Who listens where. An address that is not here refuses.
#[derive(Clone, Default)]
pub(crate) struct Peers {
    services: Arc<Mutex<BTreeMap<SocketAddr, Service>>>,
    pub(crate) dialed: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Peers {
    pub(crate) fn listen<F>(&self, address: &str, service: impl Fn(DuplexStream) -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let service: Service = Arc::new(move |stream| Box::pin(service(stream)));
        self.services.lock().unwrap().insert(address.parse().unwrap(), service);
    }

    pub(crate) fn hang_up(&self, address: &str) {
        self.services.lock().unwrap().remove(&address.parse().unwrap());
    }
}

impl Dial for Peers {
    fn dial(&self, to: SocketAddr, _from: Option<IpAddr>) -> Dialing {
        self.dialed.lock().unwrap().push(to);
        let service = self.services.lock().unwrap().get(&to).cloned();
        Box::pin(async move {
            let service = service.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionRefused))?;
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            tokio::spawn(service(theirs));
            let local = SocketAddr::from(([192, 0, 2, 25], 40_000));
            Ok(Dialed { stream: Box::new(ours), local, peer: to })
        })
    }
}

/// Every handshake works, and changes nothing; hosts whose name begins with `badtls` refuse it, those with `badcert`
/// show a certificate for somebody else.
pub(crate) struct NoTls;

impl TlsConnect for NoTls {
    fn connect(&self, plain: BoxStream, wish: TlsWish) -> Connecting {
        Box::pin(async move {
            if wish.name.starts_with("badtls") {
                return Err(io::Error::other("handshake failure"));
            }
            let fault =
                wish.name.starts_with("badcert").then(|| "the certificate is for other.example".to_owned());
            if let Some(fault) = fault.as_ref().filter(|_| wish.verify > waypost_trust::channel::Verify::Any)
            {
                return Err(io::Error::other(fault.clone()));
            }
            let facts = TlsFacts {
                version: "TLSv1.3",
                cipher: "TLS_AES_256_GCM_SHA384",
                server_name: Some(wish.name.clone()),
                exporter: None,
                end_point: None,
            };
            let certificate = PeerCertificate {
                subject: format!("CN={}", wish.name),
                fingerprint: "ab".repeat(32),
                names: vec![wish.name],
                fault,
                ..PeerCertificate::default()
            };
            Ok((plain, facts, certificate))
        })
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
    Network::new(names, Arc::new(Peers::default()), Arc::new(NoTls), random(1))
}
