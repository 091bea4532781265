//! [`Dns`] by hickory: the system's name servers, or others.
//!
//! Answers are cached by TTL, bounded by [`limits::CACHED`]. Names are asked for as they are: no search domains. Where
//! there are no name servers every question fails at once.

use crate::limits;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError as Answered, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use waypost_trust::dns::{Asking, Dns, DnsError, Mx};

/// Clones share the cache.
#[derive(Clone)]
pub struct Names {
    resolver: TokioResolver,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

impl Names {
    /// The name servers and the hosts file of this machine. Without any, every question fails.
    pub fn system() -> Result<Names, NetError> {
        let builder = TokioResolver::builder_tokio()
            .unwrap_or_else(|_| builder_with(ResolverConfig::from_name_servers(Vec::new())));
        Names::build(builder)
    }

    /// These name servers, in this order.
    pub fn servers(servers: &[SocketAddr]) -> Result<Names, NetError> {
        let one = |server: &SocketAddr| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            let connections = connections.map(|mut connection| {
                connection.port = server.port();
                connection
            });
            NameServerConfig::new(server.ip(), true, connections.into())
        };
        let mut builder = builder_with(ResolverConfig::from_name_servers(servers.iter().map(one).collect()));
        builder.options_mut().server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        Names::build(builder)
    }

    fn build(
        mut builder: hickory_resolver::ResolverBuilder<TokioRuntimeProvider>,
    ) -> Result<Names, NetError> {
        let options: &mut ResolverOpts = builder.options_mut();
        options.timeout = limits::TRY;
        options.attempts = limits::TRIES;
        options.cache_size = limits::CACHED;
        options.positive_max_ttl = Some(limits::KEPT);
        options.negative_max_ttl = Some(limits::KEPT);
        options.max_active_requests = 512;
        options.edns0 = true;
        Ok(Names { resolver: builder.build()? })
    }

    pub(crate) fn resolver(&self) -> TokioResolver {
        self.resolver.clone()
    }

    /// Forgets what was cached, so that a change in the DNS is seen at once.
    pub fn forget(&self) {
        self.resolver.clear_cache();
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, DnsError> {
        let full = Name::from_ascii(format!("{}.", name.trim_end_matches('.')));
        let Ok(full) = full else { return Err(DnsError::NoName(name.to_owned())) };
        let asked = tokio::time::timeout(limits::ASKING, self.resolver.lookup(full, kind)).await;
        let lookup = match asked {
            Err(_) => return Err(DnsError::Timeout(name.to_owned())),
            Ok(Err(e)) => return Err(why(name, &e)),
            Ok(Ok(lookup)) => lookup,
        };
        let mut data: Vec<RData> = lookup
            .answers()
            .iter()
            .filter(|record| record.data.record_type() == kind)
            .map(|record| record.data.clone())
            .collect();
        data.truncate(limits::RECORDS);
        if data.is_empty() { Err(DnsError::NoRecord(name.to_owned())) } else { Ok(data) }
    }
}

fn builder_with(config: ResolverConfig) -> hickory_resolver::ResolverBuilder<TokioRuntimeProvider> {
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
}

fn why(name: &str, e: &NetError) -> DnsError {
    let name = name.to_owned();
    match e {
        NetError::Timeout => DnsError::Timeout(name),
        NetError::Dns(Answered::NoRecordsFound(none)) if none.response_code == ResponseCode::NXDomain => {
            DnsError::NoName(name)
        }
        NetError::Dns(Answered::NoRecordsFound(_)) => DnsError::NoRecord(name),
        NetError::Dns(Answered::ResponseCode(code)) => DnsError::Failed(name, code.to_string()),
        e => DnsError::Failed(name, e.to_string()),
    }
}

/// As names are written here: lower case, without the final dot.
fn plain(name: &Name) -> String {
    let mut text = name.to_lowercase().to_ascii();
    if text.ends_with('.') {
        text.pop();
    }
    text
}

impl Dns for Names {
    fn mx<'a>(&'a self, domain: &'a str) -> Asking<'a, Vec<Mx>> {
        Box::pin(async move {
            let data = self.ask(domain, RecordType::MX).await?;
            let one = |data: RData| match data {
                RData::MX(mx) => Some(Mx { preference: mx.preference, host: plain(&mx.exchange) }),
                _ => None,
            };
            Ok(data.into_iter().filter_map(one).collect())
        })
    }

    fn addresses<'a>(&'a self, host: &'a str) -> Asking<'a, Vec<IpAddr>> {
        Box::pin(async move {
            if let Ok(address) = host.parse() {
                return Ok(vec![address]);
            }
            let (four, six) = tokio::join!(self.ask(host, RecordType::A), self.ask(host, RecordType::AAAA));
            let mut found = Vec::new();
            for data in [&four, &six].into_iter().flatten().flatten() {
                match data {
                    RData::A(a) => found.push(IpAddr::V4(a.0)),
                    RData::AAAA(aaaa) => found.push(IpAddr::V6(aaaa.0)),
                    _ => {}
                }
            }
            if !found.is_empty() {
                return Ok(found);
            }
            // "There is none" is only sure when both were answered.
            Err(match (four, six) {
                (Err(e), _) | (_, Err(e)) if e.retry() => e,
                (_, Err(e)) | (Err(e), _) => e,
                _ => DnsError::NoRecord(host.to_owned()),
            })
        })
    }

    fn txt<'a>(&'a self, name: &'a str) -> Asking<'a, Vec<String>> {
        Box::pin(async move {
            let data = self.ask(name, RecordType::TXT).await?;
            let one = |data: RData| match data {
                RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
                _ => None,
            };
            Ok(data.into_iter().filter_map(one).collect())
        })
    }

    fn names(&self, address: IpAddr) -> Asking<'_, Vec<String>> {
        Box::pin(async move {
            let data = self.ask(&plain(&Name::from(address)), RecordType::PTR).await?;
            let one = |data: RData| match data {
                RData::PTR(name) => Some(plain(&name)),
                _ => None,
            };
            Ok(data.into_iter().filter_map(one).collect())
        })
    }
}
