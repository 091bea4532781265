//! [`Dns`] by hickory: the system's name servers, or others.
//!
//! Answers are cached by TTL, bounded by [`limits::CACHED`]. Names are asked for as they are: no search domains. Where
//! there are no name servers every question fails at once.

use crate::limits;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError as Answered, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{ResolverBuilder, TokioResolver};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use waypost_trust::dns::{Asking, Dns, DnsError, Mx};

/// How names are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamesOptions {
    /// In this order; empty: the name servers of this machine.
    pub servers: Vec<SocketAddr>,
    /// For one try.
    pub timeout: Duration,
    pub attempts: u32,
    /// Answers.
    pub cache: u64,
}

impl Default for NamesOptions {
    fn default() -> NamesOptions {
        NamesOptions {
            servers: Vec::new(),
            timeout: limits::TRY,
            attempts: limits::TRIES,
            cache: limits::CACHED,
        }
    }
}

/// Clones share the name servers and the cache.
#[derive(Clone)]
pub struct Names {
    now: Arc<RwLock<Asked>>,
}

/// Who is asked at present, and how.
struct Asked {
    options: NamesOptions,
    resolver: TokioResolver,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

impl Names {
    /// Asks nobody yet. Where the machine has no name servers every question fails. Within a runtime only.
    pub fn open(options: &NamesOptions) -> Result<Names, NetError> {
        let asked = Asked { options: options.clone(), resolver: Names::resolver_of(options)? };
        Ok(Names { now: Arc::new(RwLock::new(asked)) })
    }

    /// Who is asked now, and how.
    pub fn options(&self) -> NamesOptions {
        self.now.read().unwrap_or_else(PoisonError::into_inner).options.clone()
    }

    /// Asks otherwise from now on, in all clones, with an empty cache; says whether anything is different. What is being
    /// asked is answered by those who were asked. On an error everything stays. Within a runtime only.
    pub fn set(&self, options: &NamesOptions) -> Result<bool, NetError> {
        if self.now.read().unwrap_or_else(PoisonError::into_inner).options == *options {
            return Ok(false);
        }
        let asked = Asked { options: options.clone(), resolver: Names::resolver_of(options)? };
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = asked;
        Ok(true)
    }

    fn resolver_of(options: &NamesOptions) -> Result<TokioResolver, NetError> {
        let mut builder = if options.servers.is_empty() {
            TokioResolver::builder_tokio().unwrap_or_else(|_| builder_with(Vec::new()))
        } else {
            builder_with(options.servers.iter().map(server).collect())
        };
        let chosen: &mut ResolverOpts = builder.options_mut();
        if !options.servers.is_empty() {
            chosen.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        }
        chosen.timeout = options.timeout;
        chosen.attempts = options.attempts as usize;
        chosen.cache_size = options.cache;
        chosen.positive_max_ttl = Some(limits::KEPT);
        chosen.negative_max_ttl = Some(limits::KEPT);
        chosen.max_active_requests = limits::ASKED_AT_ONCE;
        chosen.edns0 = true;
        builder.build()
    }

    pub(crate) fn resolver(&self) -> TokioResolver {
        self.now.read().unwrap_or_else(PoisonError::into_inner).resolver.clone()
    }

    /// Forgets what was cached, so that a change in the DNS is seen at once.
    pub fn forget(&self) {
        self.resolver().clear_cache();
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, DnsError> {
        let Some(full) = full(name) else { return Err(DnsError::NoName(name.to_owned())) };
        let asked = tokio::time::timeout(limits::ASKING, self.resolver().lookup(full, kind)).await;
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

fn server(at: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = at.port();
        connection
    });
    NameServerConfig::new(at.ip(), true, connections.into())
}

fn builder_with(servers: Vec<NameServerConfig>) -> ResolverBuilder<TokioRuntimeProvider> {
    let config = ResolverConfig::from_name_servers(servers);
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

/// A name as it is asked for; `None` where it is none. What is not ASCII becomes A-labels.
fn full(name: &str) -> Option<Name> {
    let text = format!("{}.", name.trim_end_matches('.'));
    if text.is_ascii() { Name::from_ascii(text).ok() } else { Name::from_utf8(text).ok() }
}

/// A domain in lower-case ASCII; as it was where that cannot be.
pub(crate) fn ascii(domain: &str) -> String {
    if domain.is_ascii() {
        return domain.to_ascii_lowercase();
    }
    full(domain).map_or_else(|| domain.to_owned(), |name| plain(&name))
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
