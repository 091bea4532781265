//! Name servers that answer from a table, peers behind in-memory pipes, TLS that is none.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};
use waypost_transport::send::Network;
use waypost_trust::channel::{
    Connecting, Dial, Dialed, Dialing, PeerCertificate, TlsConnect, TlsFacts, TlsWish, Verify,
};
use waypost_trust::dns::{Asking, Dns, DnsError, Mx};

pub type Random = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The same numbers for the same seed.
pub fn random(seed: u64) -> Random {
    let state = AtomicU64::new(seed.wrapping_mul(0x2545_F491_4F6C_DD1D));
    Arc::new(move || {
        let x = state.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    })
}

/// What the name servers know.
#[derive(Default)]
pub struct Names {
    pub mx: BTreeMap<String, Vec<Mx>>,
    pub addresses: BTreeMap<String, Vec<IpAddr>>,
}

impl Names {
    pub fn mx(mut self, domain: &str, hosts: &[(u16, &str)]) -> Names {
        let mx = |(preference, host): &(u16, &str)| Mx { preference: *preference, host: (*host).into() };
        self.mx.insert(domain.into(), hosts.iter().map(mx).collect());
        self
    }

    pub fn a(mut self, host: &str, addresses: &[&str]) -> Names {
        self.addresses.insert(host.into(), addresses.iter().map(|a| a.parse().unwrap()).collect());
        self
    }

    fn answer<T: Clone>(&self, table: &BTreeMap<String, Vec<T>>, name: &str) -> Result<Vec<T>, DnsError> {
        let known = self.mx.contains_key(name) || self.addresses.contains_key(name);
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
        Box::pin(async move { Err(DnsError::NoName(name.into())) })
    }

    fn names(&self, address: IpAddr) -> Asking<'_, Vec<String>> {
        Box::pin(async move { Err(DnsError::NoName(address.to_string())) })
    }
}

type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;
pub type Service = Arc<dyn Fn(DuplexStream) -> Serving + Send + Sync>;

/// Who listens where. Nobody: refused.
#[derive(Clone, Default)]
pub struct Peers {
    services: Arc<Mutex<BTreeMap<SocketAddr, Service>>>,
    /// What went wrong with scripts, and connections as they were opened.
    pub wrong: Arc<Mutex<Vec<String>>>,
    pub dialed: Arc<Mutex<Vec<String>>>,
}

impl Peers {
    pub fn listen(&self, address: &str, service: Service) {
        self.services.lock().unwrap().insert(address.parse().unwrap(), service);
    }

    pub fn gone(&self, address: &str) {
        self.services.lock().unwrap().remove(&address.parse().unwrap());
    }

    /// One script for each connection, in order; afterwards nobody is there.
    pub fn script(&self, address: &str, scripts: &[&str]) {
        let waiting = Mutex::new(scripts.iter().map(|s| (*s).to_owned()).collect::<VecDeque<String>>());
        let peers = self.clone();
        let address_text = address.to_owned();
        self.listen(
            address,
            Arc::new(move |stream| {
                let mut waiting = waiting.lock().unwrap();
                let script = waiting.pop_front().unwrap_or_default();
                if waiting.is_empty() {
                    peers.gone(&address_text);
                }
                let wrong = peers.wrong.clone();
                Box::pin(async move {
                    if let Err(what) = play(stream, &script).await {
                        wrong.lock().unwrap().push(what);
                    }
                })
            }),
        );
    }
}

/// `S:` lines are said, `C:` lines are to be heard; `*` at the end stands for anything, `C: ...` for all lines up to
/// the next that fits. `hang` says nothing any more. At the end the connection is closed.
async fn play(stream: DuplexStream, script: &str) -> Result<(), String> {
    let mut stream = BufReader::new(stream);
    let mut skipping = false;
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if let Some(said) = line.strip_prefix("S: ") {
            let said = said.replace('|', "\r\n");
            let _ = stream.get_mut().write_all(format!("{said}\r\n").as_bytes()).await;
        } else if line == "C: ..." {
            skipping = true;
        } else if let Some(wanted) = line.strip_prefix("C:") {
            let wanted = wanted.strip_prefix(' ').unwrap_or(wanted);
            loop {
                let mut heard = String::new();
                stream.read_line(&mut heard).await.map_err(|e| e.to_string())?;
                let heard_line = heard.trim_end_matches("\r\n");
                let fits = match wanted.strip_suffix('*') {
                    Some(begin) => heard_line.starts_with(begin),
                    None => heard_line == wanted,
                };
                if fits {
                    skipping = false;
                    break;
                }
                if !skipping || heard.is_empty() {
                    return Err(format!("wanted {wanted:?}, heard {heard_line:?}"));
                }
            }
        } else if line == "hang" {
            std::future::pending::<()>().await;
        } else {
            return Err(format!("not a line of a script: {line}"));
        }
    }
    Ok(())
}

impl Dial for Peers {
    fn dial(&self, to: SocketAddr, _from: Option<IpAddr>) -> Dialing {
        self.dialed.lock().unwrap().push(to.to_string());
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
pub struct NoTls;

impl TlsConnect for NoTls {
    fn connect(&self, plain: waypost_trust::channel::BoxStream, wish: TlsWish) -> Connecting {
        Box::pin(async move {
            if wish.name.starts_with("badtls") {
                return Err(io::Error::other("handshake failure"));
            }
            let fault = wish.name.starts_with("badcert").then(|| "it is for other.example".to_owned());
            if let Some(fault) = fault.as_ref().filter(|_| wish.verify > Verify::Any) {
                return Err(io::Error::other(format!("the certificate was not accepted: {fault}")));
            }
            Ok((plain, tls_facts(&wish.name), certificate(&wish.name, fault)))
        })
    }
}

pub fn tls_facts(name: &str) -> TlsFacts {
    TlsFacts {
        version: "TLSv1.3",
        cipher: "TLS_AES_256_GCM_SHA384",
        server_name: Some(name.to_owned()),
        exporter: None,
        end_point: None,
        client: None,
    }
}

pub fn certificate(name: &str, fault: Option<String>) -> PeerCertificate {
    PeerCertificate {
        subject: format!("CN={name}"),
        fingerprint: "ab".repeat(32),
        names: vec![name.to_owned()],
        fault,
        ..PeerCertificate::default()
    }
}

pub fn network(names: Names, peers: &Peers) -> Network {
    Network::new(Arc::new(names), Arc::new(peers.clone()), Arc::new(NoTls), random(1))
}
