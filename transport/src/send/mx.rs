//! From a next hop to addresses, in the order in which they are tried (RFC 5321 §5.1, RFC 7505).
//!
//! Hosts come in groups of one preference. A group is resolved when those before it have been tried: a name server that
//! hangs over the third host holds up nobody who reaches the first. Within a group the order is by chance, and IPv6 and
//! IPv4 take turns. A group that we are in ends the list: whatever stands at our own preference or behind it would send
//! the mail back to us.

use super::Network;
use super::cause;
use crate::connector::SmartHost;
use crate::limits::{ADDRESSES, NAMES_MILLIS};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::time::timeout;
use waypost_base::explain::Cause;
use waypost_smtp::Status;
use waypost_trust::dns::{DnsError, Mx};

/// One address to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    /// The host's name, for TLS and for words; the address itself where there is no name.
    pub(crate) host: String,
    pub(crate) address: SocketAddr,
}

/// Why there is no address to try (any more).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) cause: Cause,
    pub(crate) status: Status,
    pub(crate) text: String,
    /// Asking later can help.
    pub(crate) retry: bool,
}

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Goal<'a> {
    /// By MX of this domain (lower-case ASCII), or an address literal in brackets.
    Domain { domain: &'a str, port: u16 },
    /// One of these.
    SmartHosts { hosts: &'a [SmartHost], port: u16 },
}

/// The addresses of a goal, found as they are asked for.
pub(crate) struct Hosts<'a> {
    network: &'a Network,
    /// Our own name: an MX of that name is us.
    own_name: &'a str,
    port: u16,
    /// Only addresses of this family can be reached from the connector's source address.
    source: Option<IpAddr>,
    by_mx: bool,
    groups: VecDeque<Vec<(String, u16)>>,
    ready: VecDeque<Stop>,
    left: usize,
    handed_out: bool,
    looped: bool,
    last: Option<Lost>,
    /// What was found, in a line, for the leg.
    pub(crate) note: String,
}

impl<'a> Hosts<'a> {
    pub(crate) async fn find(
        network: &'a Network,
        own_name: &'a str,
        goal: Goal<'_>,
        source: Option<IpAddr>,
    ) -> Result<Hosts<'a>, Lost> {
        let (by_mx, port) = match goal {
            Goal::Domain { port, .. } => (true, port),
            Goal::SmartHosts { port, .. } => (false, port),
        };
        let mut hosts = Hosts {
            network,
            own_name,
            port,
            source,
            by_mx,
            groups: VecDeque::new(),
            ready: VecDeque::new(),
            left: ADDRESSES,
            handed_out: false,
            looped: false,
            last: None,
            note: String::new(),
        };
        match goal {
            Goal::Domain { domain, .. } => hosts.by_domain(domain).await?,
            Goal::SmartHosts { hosts: list, .. } => {
                let mut list: Vec<(String, u16)> =
                    list.iter().map(|h| (h.host.clone(), h.port.unwrap_or(port))).collect();
                shuffle(&mut list, network);
                hosts.note = words(list.iter().map(|(name, port)| format!("{name}:{port}")));
                hosts.groups = list.into_iter().map(|host| vec![host]).collect();
            }
        }
        Ok(hosts)
    }

    async fn by_domain(&mut self, domain: &str) -> Result<(), Lost> {
        if literal(domain).is_some() {
            domain.clone_into(&mut self.note);
            self.groups.push_back(vec![(domain.to_owned(), self.port)]);
            return Ok(());
        }
        match self.network.dns.mx(domain).await {
            Ok(mut list) => {
                let nowhere = list.iter().any(|mx| mx.host.is_empty() || mx.host == ".");
                list.retain(|mx| !mx.host.is_empty() && mx.host != ".");
                if list.is_empty() && nowhere {
                    return Err(Lost {
                        cause: cause::NO_MAIL,
                        status: Status(5, 1, 10),
                        text: format!("{domain} says that it takes no mail (null MX)"),
                        retry: false,
                    });
                }
                self.note = words(list.iter().map(|mx| format!("{} {}", mx.preference, mx.host)));
                self.grouped(list, domain)
            }
            Err(DnsError::NoRecord(_)) => {
                self.note = format!("no MX, so {domain} itself");
                self.groups.push_back(vec![(domain.to_owned(), self.port)]);
                Ok(())
            }
            Err(DnsError::NoName(_)) => Err(Lost {
                cause: cause::DNS,
                status: Status(5, 1, 2),
                text: format!("the domain {domain} does not exist"),
                retry: false,
            }),
            Err(e) => Err(unanswered(&e)),
        }
    }

    fn grouped(&mut self, mut list: Vec<Mx>, domain: &str) -> Result<(), Lost> {
        list.sort();
        list.dedup();
        let ours =
            list.iter().filter(|mx| mx.host.eq_ignore_ascii_case(self.own_name)).map(|mx| mx.preference);
        if let Some(ours) = ours.min() {
            list.retain(|mx| mx.preference < ours);
            self.looped = true;
            if list.is_empty() {
                return Err(looping(domain, self.own_name));
            }
        }
        for group in list.chunk_by(|a, b| a.preference == b.preference) {
            self.groups.push_back(group.iter().map(|mx| (mx.host.clone(), self.port)).collect());
        }
        Ok(())
    }

    /// The next address to try; `None` when there are no more.
    pub(crate) async fn next(&mut self) -> Option<Stop> {
        while self.ready.is_empty() && self.left > 0 {
            let group = self.groups.pop_front()?;
            self.resolve(group).await;
        }
        let stop = self.ready.pop_front()?;
        self.left = self.left.checked_sub(1)?;
        self.handed_out = true;
        Some(stop)
    }

    /// Why [`Hosts::next`] never handed out anything; `None` if it did.
    pub(crate) fn lost(&self, name: &str) -> Option<Lost> {
        if self.handed_out {
            return None;
        }
        let none = || Lost {
            cause: cause::DNS,
            status: if self.by_mx { Status(5, 4, 4) } else { Status(4, 4, 4) },
            text: format!("no address was found for {name}"),
            retry: !self.by_mx,
        };
        Some(self.last.clone().unwrap_or_else(none))
    }

    async fn resolve(&mut self, mut group: Vec<(String, u16)>) {
        shuffle(&mut group, self.network);
        let mut stops = Vec::new();
        let mut ours = None;
        for (host, port) in group {
            let found = match literal(&host) {
                Some(address) => Ok(vec![address]),
                None if host.eq_ignore_ascii_case("localhost") => {
                    Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
                }
                None => {
                    let asking = self.network.dns.addresses(&host);
                    let answer = timeout(Duration::from_millis(NAMES_MILLIS), asking).await;
                    answer.unwrap_or_else(|_| Err(DnsError::Timeout(host.clone())))
                }
            };
            match found {
                Ok(addresses) => {
                    let there = !addresses.is_empty();
                    let ordered = self.ordered(addresses);
                    if let (true, true, Some(source)) = (there, ordered.is_empty(), self.source) {
                        self.last = Some(out_of_reach(&host, source));
                    }
                    for address in ordered {
                        let address = SocketAddr::new(address, port);
                        if self.by_mx && self.is_ours(address) {
                            ours = Some(host.clone());
                        }
                        stops.push(Stop { host: host.clone(), address });
                    }
                }
                Err(e) => self.failed(&e),
            }
        }
        match ours {
            None => self.ready.extend(stops),
            Some(host) => {
                self.groups.clear();
                self.looped = true;
                if !self.handed_out {
                    self.last = Some(looping(&host, self.own_name));
                }
            }
        }
    }

    /// A name server that could not answer weighs more than one that was sure: the mail is kept.
    fn failed(&mut self, e: &DnsError) {
        let lost = if e.retry() {
            unanswered(e)
        } else {
            let retry = !self.by_mx;
            let class = if retry { 4 } else { 5 };
            Lost { cause: cause::DNS, status: Status(class, 4, 4), text: e.to_string(), retry }
        };
        if lost.retry || self.last.as_ref().is_none_or(|last| !last.retry) {
            self.last = Some(lost);
        }
    }

    fn ordered(&self, addresses: Vec<IpAddr>) -> Vec<IpAddr> {
        let fits = |a: &IpAddr| self.source.is_none_or(|source| source.is_ipv4() == a.is_ipv4());
        let (mut six, mut four): (Vec<IpAddr>, Vec<IpAddr>) =
            addresses.into_iter().map(|a| a.to_canonical()).filter(fits).partition(IpAddr::is_ipv6);
        shuffle(&mut six, self.network);
        shuffle(&mut four, self.network);
        let (mut six, mut four) = (six.into_iter(), four.into_iter());
        let mut out = Vec::new();
        loop {
            let pair = [six.next(), four.next()];
            if pair == [None, None] {
                return out;
            }
            out.extend(pair.into_iter().flatten());
        }
    }

    fn is_ours(&self, address: SocketAddr) -> bool {
        let ip = address.ip();
        let here = || ip.is_loopback() || ip.is_unspecified() || self.network.own_addresses.contains(&ip);
        self.network.own_listeners.iter().filter(|own| own.port() == address.port()).any(|own| {
            let own = own.ip().to_canonical();
            own == ip || ((own.is_unspecified() || ip.is_unspecified()) && here())
        })
    }
}

fn unanswered(e: &DnsError) -> Lost {
    Lost { cause: cause::DNS, status: Status(4, 4, 3), text: e.to_string(), retry: true }
}

/// Our own settings are in the way: the mail waits until they are not.
fn out_of_reach(host: &str, source: IpAddr) -> Lost {
    Lost {
        cause: cause::CONNECT,
        status: Status(4, 4, 1),
        text: format!("{host} has no address that can be reached from the send connector's source {source}"),
        retry: true,
    }
}

fn looping(host: &str, own: &str) -> Lost {
    Lost {
        cause: cause::LOOP,
        status: Status(5, 4, 6),
        text: format!("mail loops back to myself: the best mail host of {host} is this server, {own}"),
        retry: false,
    }
}

/// An address, with or without the brackets of an address literal (RFC 5321 §4.1.3).
fn literal(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let tagged = inner.get(..5).is_some_and(|tag| tag.eq_ignore_ascii_case("IPv6:"));
    let inner = if tagged { inner.get(5..).unwrap_or_default() } else { inner };
    inner.parse::<IpAddr>().ok().map(|a| a.to_canonical())
}

fn words(names: impl Iterator<Item = String>) -> String {
    const SHOWN: usize = 5;
    let mut names: Vec<String> = names.take(SHOWN + 1).collect();
    if names.len() > SHOWN {
        names.truncate(SHOWN);
        names.push("…".to_owned());
    }
    names.join(", ")
}

/// Fisher and Yates, with the network's randomness.
fn shuffle<T>(list: &mut [T], network: &Network) {
    for i in (1..list.len()).rev() {
        let bound = u64::try_from(i).unwrap_or(u64::MAX).saturating_add(1);
        let other = usize::try_from((network.random)() % bound).unwrap_or(0);
        list.swap(i, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::send::fake::{Names, network};
    use std::sync::Arc;

    async fn all(names: Names, domain: &str) -> Result<Vec<String>, Lost> {
        let mut network = network(Arc::new(names));
        network.own_listeners = vec!["0.0.0.0:25".parse().unwrap(), "[::]:587".parse().unwrap()];
        network.own_addresses = vec!["192.0.2.99".parse().unwrap()];
        let goal = Goal::Domain { domain, port: 25 };
        let mut hosts = Hosts::find(&network, "mx.contoso.test", goal, None).await?;
        let mut out = Vec::new();
        while let Some(stop) = hosts.next().await {
            out.push(format!("{} {}", stop.host, stop.address));
        }
        match hosts.lost(domain) {
            Some(lost) => Err(lost),
            None => Ok(out),
        }
    }

    fn lost<T: std::fmt::Debug>(answer: Result<T, Lost>) -> (String, bool, String) {
        let lost = answer.unwrap_err();
        (lost.status.to_string(), lost.retry, lost.text)
    }

    #[tokio::test]
    async fn by_preference_with_both_families() {
        let names = Names::default()
            .mx("a.example", &[(20, "b.mx"), (10, "a.mx")])
            .a("a.mx", &["192.0.2.1", "192.0.2.2", "2001:db8::1"])
            .a("b.mx", &["192.0.2.3"]);
        let list = all(names, "a.example").await.unwrap();
        assert_eq!(list[0], "a.mx [2001:db8::1]:25");
        assert_eq!(list[3], "b.mx 192.0.2.3:25");
        assert_eq!(list.len(), 4);
    }

    #[tokio::test]
    async fn without_mx() {
        let names = Names::default().a("a.example", &["192.0.2.1"]);
        assert_eq!(all(names, "a.example").await.unwrap(), ["a.example 192.0.2.1:25"]);
        assert_eq!(
            all(Names::default(), "[IPv6:2001:db8::2]").await.unwrap(),
            ["[IPv6:2001:db8::2] [2001:db8::2]:25"]
        );
        assert_eq!(
            lost(all(Names::default(), "a.example").await),
            ("5.1.2".into(), false, "the domain a.example does not exist".into())
        );
        let names = Names::default().mx("a.example", &[(0, "")]);
        assert_eq!(lost(all(names, "a.example").await).0, "5.1.10");
        let names = Names::default().txt("a.example", "x");
        assert_eq!(lost(all(names, "a.example").await).0, "5.4.4");
        let names = Names::default().mx("a.example", &[(0, "gone.example")]);
        assert_eq!(lost(all(names, "a.example").await).0, "5.4.4");
    }

    #[tokio::test]
    async fn what_may_be_there_later_is_waited_for() {
        let names = Names::default().broken("a.example");
        assert_eq!(lost(all(names, "a.example").await).0, "4.4.3");
        let names = Names::default().mx("a.example", &[(1, "broken.mx"), (2, "gone.mx")]).broken("broken.mx");
        let (status, retry, _) = lost(all(names, "a.example").await);
        assert_eq!((status.as_str(), retry), ("4.4.3", true));
        // One that can be reached is enough.
        let names = Names::default()
            .mx("a.example", &[(1, "broken.mx"), (2, "ok.mx")])
            .broken("broken.mx")
            .a("ok.mx", &["192.0.2.1"]);
        assert_eq!(all(names, "a.example").await.unwrap(), ["ok.mx 192.0.2.1:25"]);
    }

    #[tokio::test]
    async fn a_source_of_the_other_family_returns_nothing() {
        let names = Names::default().mx("a.example", &[(1, "six.mx")]).a("six.mx", &["2001:db8::1"]);
        let network = network(Arc::new(names));
        let goal = Goal::Domain { domain: "a.example", port: 25 };
        let source = Some("192.0.2.7".parse().unwrap());
        let mut hosts = Hosts::find(&network, "mx.contoso.test", goal, source).await.unwrap();
        assert_eq!(hosts.next().await, None);
        let lost = hosts.lost("a.example").unwrap();
        assert!(lost.retry, "{lost:?}");
        assert!(lost.text.contains("192.0.2.7"), "{lost:?}");
    }

    #[tokio::test]
    async fn we_are_not_our_own_next_hop() {
        let by_name = Names::default()
            .mx("a.example", &[(10, "better.mx"), (20, "MX.contoso.test"), (30, "worse.mx")])
            .a("better.mx", &["192.0.2.1"])
            .a("worse.mx", &["192.0.2.2"]);
        assert_eq!(all(by_name, "a.example").await.unwrap(), ["better.mx 192.0.2.1:25"]);
        let by_address = Names::default()
            .mx("a.example", &[(10, "better.mx"), (20, "alias.mx"), (20, "equal.mx"), (30, "worse.mx")])
            .a("better.mx", &["192.0.2.1"])
            .a("equal.mx", &["192.0.2.2"])
            .a("alias.mx", &["192.0.2.99"])
            .a("worse.mx", &["192.0.2.3"]);
        assert_eq!(all(by_address, "a.example").await.unwrap(), ["better.mx 192.0.2.1:25"]);
        for us in ["192.0.2.99", "127.0.0.1", "0.0.0.0"] {
            let only = Names::default().mx("a.example", &[(10, "alias.mx")]).a("alias.mx", &[us]);
            let (status, retry, text) = lost(all(only, "a.example").await);
            assert_eq!((status.as_str(), retry), ("5.4.6", false), "{us}");
            assert!(text.starts_with("mail loops back to myself"), "{text}");
        }
        let only = Names::default().mx("a.example", &[(10, "mx.contoso.test")]);
        assert_eq!(lost(all(only, "a.example").await).0, "5.4.6");
    }

    #[tokio::test]
    async fn smart_hosts() {
        let network = network(Arc::new(Names::default().a("smart.example", &["192.0.2.7"])));
        let list = [
            SmartHost { host: "smart.example".into(), port: Some(2525) },
            SmartHost { host: "127.0.0.1".into(), port: None },
        ];
        let goal = Goal::SmartHosts { hosts: &list, port: 25 };
        let mut hosts = Hosts::find(&network, "mx.contoso.test", goal, None).await.unwrap();
        let mut found = Vec::new();
        while let Some(stop) = hosts.next().await {
            found.push(stop.address.to_string());
        }
        found.sort();
        assert_eq!(found, ["127.0.0.1:25", "192.0.2.7:2525"]);
        let list = [SmartHost { host: "gone.example".into(), port: None }];
        let goal = Goal::SmartHosts { hosts: &list, port: 25 };
        let mut hosts = Hosts::find(&network, "mx.contoso.test", goal, None).await.unwrap();
        assert_eq!(hosts.next().await, None);
        // A wrong name in our settings is no fault of the recipients.
        assert!(hosts.lost("gone.example").unwrap().retry);
    }

    #[tokio::test]
    async fn a_bomb_of_addresses() {
        let many: Vec<String> = (0..200).map(|n| format!("192.0.2.{}", n % 98)).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let names = Names::default().mx("a.example", &[(1, "a.mx")]).a("a.mx", &many);
        assert_eq!(all(names, "a.example").await.unwrap().len(), ADDRESSES);
    }
}
