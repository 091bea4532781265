//! Where on this machine a probe knocks: as those who come over a network do, where there is one.
//!
//! What is allowed depends on where somebody comes from: sign-ins in clear, receive connectors, limits of one address. So a
//! listener that others can reach is asked at an address of this machine that is not loopback, from that same address.
//! Laws: a probe goes to no address but this machine's own; it does not come from where its answer would say nothing of
//! other people's: not where a receive connector has other plans for this machine's own address, counts its messages, or where
//! mail filters would judge a stranger. Then it comes by loopback, and what is behind the network's address is only greeted.

use super::ground::Ground;
use crate::probe::Target;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use waypost_transport::connector::{Door, IpRange, ReceiveConnector};
use waypost_trust::dns::Dns;

/// Interfaces come and go; so often it is looked.
const KEPT: Duration = Duration::from_secs(60);
/// The host's name is looked up at most so often, and given up after a moment.
const NAMED: Duration = Duration::from_secs(300);
const NAMED_MAX: Duration = Duration::from_secs(2);
/// Further listeners of one door that are looked at.
const FURTHER_MAX: usize = 7;
/// To see whether loopback answers where a network's address does not.
const COMPARED: Duration = Duration::from_secs(1);

/// What is known of this machine's addresses.
#[derive(Default)]
pub struct Reach {
    outside: Mutex<Option<(Instant, [Option<IpAddr>; 2])>>,
    /// Of the host's name, and when it was looked up.
    named: Arc<Mutex<(Option<Instant>, Vec<IpAddr>)>>,
}

/// How well an address of this machine stands for those of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Good,
    /// Its connections are taken, and treated otherwise than people's.
    Greets,
    Shut,
}

/// A listener, and where it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knock {
    pub listener: SocketAddr,
    pub at: SocketAddr,
}

impl Reach {
    /// The address that this machine has for others, of one family.
    fn outside(&self, six: bool) -> Option<IpAddr> {
        let mut known = self.outside.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match *known {
            Some((when, found)) if when.elapsed() < KEPT => found,
            _ => {
                let own = crate::run::own_addresses();
                let named = self.named.lock().unwrap_or_else(PoisonError::into_inner).1.clone();
                let found = [false, true].map(|six| best(&own, &named, leaving(six), six));
                *known = Some((Instant::now(), found));
                found
            }
        };
        let [four, sixth] = found;
        if six { sixth } else { four }
    }

    /// Looks up the host's name now and then; what it says is used from then on.
    pub fn look_up(&self, host: &str, names: Arc<dyn Dns>) {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if named.0.is_some_and(|when| when.elapsed() < NAMED) {
            return;
        }
        named.0 = Some(Instant::now());
        let (host, kept) = (host.to_owned(), Arc::clone(&self.named));
        tokio::spawn(async move {
            if let Ok(Ok(found)) = tokio::time::timeout(NAMED_MAX, names.addresses(&host)).await {
                kept.lock().unwrap_or_else(PoisonError::into_inner).1 = found;
            }
        });
    }
}

/// The host's own address by name, else the one that connections to the world would leave by, else any.
fn best(own: &[IpAddr], named: &[IpAddr], leaving: Option<IpAddr>, six: bool) -> Option<IpAddr> {
    let usable = |ip: &&IpAddr| {
        let local = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
            || matches!(ip, IpAddr::V4(v4) if v4.is_link_local());
        ip.is_ipv6() == six && !ip.is_loopback() && !ip.is_unspecified() && !local && own.contains(ip)
    };
    named.iter().chain(&leaving).chain(own).find(usable).copied()
}

/// No packet is sent: a datagram socket only looks for the route (RFC 5737, RFC 3849: nobody's addresses).
fn leaving(six: bool) -> Option<IpAddr> {
    let (from, to): (IpAddr, IpAddr) = if six {
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into())
    } else {
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(203, 0, 113, 1).into())
    };
    let socket = UdpSocket::bind((from, 0)).ok()?;
    socket.connect((to, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn loopback(of: IpAddr) -> IpAddr {
    if of.is_ipv6() { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() }
}

/// Where a door is used, and where else it is only greeted.
fn choose(
    listeners: &[SocketAddr],
    outside: impl Fn(bool) -> Option<IpAddr>,
    fit: impl Fn(IpAddr) -> Fit,
) -> (Option<Knock>, Vec<Knock>) {
    let mut all: Vec<Knock> = Vec::new();
    for listener in listeners {
        let knock = |ip| Knock { listener: *listener, at: SocketAddr::new(ip, listener.port()) };
        if !listener.ip().is_unspecified() {
            all.push(knock(listener.ip()));
            continue;
        }
        all.extend(outside(listener.is_ipv6()).map(knock));
        all.push(knock(loopback(listener.ip())));
    }
    let near = |k: &&Knock| k.at.ip().to_canonical().is_loopback();
    let used = |far: bool| all.iter().find(|k| near(k) != far && fit(k.at.ip()) == Fit::Good);
    let main = used(true).or_else(|| used(false)).or_else(|| all.iter().find(near)).or(all.first()).copied();
    let mut further: Vec<Knock> = Vec::new();
    // The network's address of a listener comes before its loopback one.
    for knock in all.iter().filter(|k| fit(k.at.ip()) != Fit::Shut) {
        let known = |k: &Knock| k.listener == knock.listener;
        let same = main.is_some_and(|m| m.listener == knock.listener && (m.at == knock.at || near(&knock)));
        if !same && !further.iter().any(known) && further.len() < FURTHER_MAX {
            further.push(*knock);
        }
    }
    (main, further)
}

/// By the receive connectors of a door: the smallest range that holds the address decides, as for everybody.
fn by_connectors(connectors: &[ReceiveConnector], door: Door, ip: IpAddr) -> Fit {
    let mut here = connectors.iter().filter(|c| c.door == door).peekable();
    if here.peek().is_none() {
        return Fit::Good;
    }
    let size = |c: &ReceiveConnector| c.remote.iter().filter(|r| r.holds(ip)).map(IpRange::size).min();
    let fitting = here.filter(|c| c.enabled).filter_map(|c| Some((size(c)?, &c.name, c)));
    let Some((_, _, found)) = fitting.min_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1))) else { return Fit::Shut };
    let people = match door {
        Door::Smtp => found.permissions.anonymous,
        Door::Submission | Door::Submissions => found.auth && found.permissions.users,
    };
    if people && found.message_rate == 0 { Fit::Good } else { Fit::Greets }
}

impl Ground {
    fn fit(&self, door: &str, ip: IpAddr) -> Fit {
        let asked = match door {
            "smtp" => Door::Smtp,
            "submission" => Door::Submission,
            "submissions" => Door::Submissions,
            // Spoken to by servers and front ends that are told where it is.
            "lmtp" | "inner" if !ip.is_loopback() => return Fit::Shut,
            _ => return Fit::Good,
        };
        let settings = self.services.settings.current();
        let judged = asked == Door::Smtp && settings.mail_filters.values().any(|f| f.enabled);
        let fit = by_connectors(&self.services.works.hub.settings().receive, asked, ip);
        if judged && !ip.is_loopback() { fit.max(Fit::Greets) } else { fit }
    }

    fn knocks(&self, door: &str) -> Option<(&'static str, Option<Knock>, Vec<Knock>)> {
        let open = self.doors.addresses();
        let name = open.iter().find(|(name, _)| *name == door)?.0;
        let listeners: Vec<SocketAddr> =
            open.into_iter().filter(|(name, _)| *name == door).map(|(_, at)| at).collect();
        let (main, further) = choose(&listeners, |six| self.reach.outside(six), |ip| self.fit(door, ip));
        Some((name, main, further))
    }

    fn at(&self, door: &'static str, knock: Knock) -> Target {
        let settings = self.services.settings.current();
        Target { door, at: knock.at, wants_tls: crate::rehearse::wants_tls(&settings, door) }
    }

    /// Where a door is used from this machine; `None`: it is not open.
    pub fn target(&self, door: &str) -> Option<Target> {
        let (door, main, _) = self.knocks(door)?;
        Some(self.at(door, main?))
    }

    /// The other listeners of a door, each with where it is greeted.
    pub fn further(&self, door: &str) -> Vec<SocketAddr> {
        self.knocks(door)
            .map(|(_, _, further)| further.iter().map(|k| k.listener).collect())
            .unwrap_or_default()
    }

    /// One of those.
    pub fn further_target(&self, door: &str, listener: SocketAddr) -> Option<Target> {
        let (door, _, further) = self.knocks(door)?;
        further.into_iter().find(|k| k.listener == listener).map(|knock| self.at(door, knock))
    }

    /// Whether a listener of this address and port is for this machine alone.
    pub fn is_near(&self, door: &str, at: SocketAddr) -> bool {
        at.ip().is_loopback()
            && self.doors.addresses().iter().any(|(name, open)| *name == door && *open == at)
    }

    /// What loopback says where a network's address of the same listener takes no connection.
    pub async fn compared(&self, target: &Target) -> Option<String> {
        let everywhere = |(name, at): &(&str, SocketAddr)| {
            *name == target.door && at.port() == target.at.port() && at.ip().is_unspecified()
        };
        if target.at.ip().is_loopback() || !self.doors.addresses().iter().any(everywhere) {
            return None;
        }
        let near = SocketAddr::new(loopback(target.at.ip()), target.at.port());
        let tried = tokio::time::timeout(COMPARED, tokio::net::TcpStream::connect(near)).await;
        tried.is_ok_and(|tried| tried.is_ok()).then(|| {
            format!("{near} takes a connection: a packet filter or a route of this machine keeps others out")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_transport::connector::Permissions;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn chosen(listeners: &[&str], fit: impl Fn(IpAddr) -> Fit) -> (Option<String>, Vec<String>) {
        let listeners: Vec<SocketAddr> = listeners.iter().map(|l| at(l)).collect();
        let (main, further) = choose(&listeners, |six| (!six).then(|| ip("192.0.2.7")), fit);
        (main.map(|k| k.at.to_string()), further.iter().map(|k| k.at.to_string()).collect())
    }

    #[test]
    fn a_listener_for_others_is_asked_at_their_address() {
        let good = |_: IpAddr| Fit::Good;
        let text = |main: &str, further: &[&str]| {
            (Some(main.to_owned()), further.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(chosen(&["127.0.0.1:143"], good), text("127.0.0.1:143", &[]));
        assert_eq!(chosen(&["0.0.0.0:143"], good), text("192.0.2.7:143", &[]));
        // This machine has no address of IPv6 for others.
        assert_eq!(chosen(&["[::]:143"], good), text("[::1]:143", &[]));
        assert_eq!(chosen(&["[::]:143", "0.0.0.0:143"], good), text("192.0.2.7:143", &["[::1]:143"]));
        assert_eq!(
            chosen(&["127.0.0.1:143", "192.0.2.9:143"], good),
            text("192.0.2.9:143", &["127.0.0.1:143"])
        );
        assert_eq!(chosen(&[], good), (None, Vec::new()));
    }

    #[test]
    fn where_others_are_treated_otherwise_it_comes_by_loopback() {
        let near = |otherwise: Fit| move |ip: IpAddr| if ip.is_loopback() { Fit::Good } else { otherwise };
        let (main, further) = chosen(&["0.0.0.0:25"], near(Fit::Greets));
        assert_eq!(
            (main.as_deref(), further.as_slice()),
            (Some("127.0.0.1:25"), &["192.0.2.7:25".to_owned()][..])
        );
        let (main, further) = chosen(&["0.0.0.0:25"], near(Fit::Shut));
        assert_eq!((main.as_deref(), further.len()), (Some("127.0.0.1:25"), 0));
        // Nowhere good: as if there were no network.
        assert_eq!(chosen(&["0.0.0.0:25"], |_| Fit::Shut).0.as_deref(), Some("127.0.0.1:25"));
    }

    #[test]
    fn connectors_decide_as_for_everybody() {
        let connector = |name: &str, range: &str, users: bool, rate: u32| ReceiveConnector {
            name: name.into(),
            enabled: true,
            door: Door::Submission,
            remote: vec![IpRange::parse(range).unwrap()],
            permissions: Permissions { users, ..Permissions::default() },
            require_tls: false,
            auth: users,
            max_message_size: None,
            max_recipients: None,
            max_hops: 60,
            tarpit: Duration::ZERO,
            message_rate: rate,
            protocol_log: false,
        };
        let fit = |all: &[ReceiveConnector], from: &str| by_connectors(all, Door::Submission, ip(from));
        assert_eq!(fit(&[], "192.0.2.7"), Fit::Good);
        let all =
            [connector("people", "0.0.0.0/0", true, 0), connector("printers", "192.0.2.0/24", false, 0)];
        assert_eq!(fit(&all, "192.0.2.7"), Fit::Greets);
        assert_eq!(fit(&all, "127.0.0.1"), Fit::Good);
        assert_eq!(fit(&all, "2001:db8::7"), Fit::Shut);
        assert_eq!(fit(&[connector("slow", "0.0.0.0/0", true, 5)], "192.0.2.7"), Fit::Greets);
    }

    #[test]
    fn the_best_address() {
        let own = [ip("127.0.0.1"), ip("192.0.2.7"), ip("198.51.100.1"), ip("fe80::1"), ip("2001:db8::7")];
        assert_eq!(best(&own, &[ip("198.51.100.1")], Some(ip("192.0.2.7")), false), Some(ip("198.51.100.1")));
        assert_eq!(best(&own, &[ip("203.0.113.5")], Some(ip("192.0.2.7")), false), Some(ip("192.0.2.7")));
        assert_eq!(best(&own, &[], None, false), Some(ip("192.0.2.7")));
        assert_eq!(best(&own, &[], None, true), Some(ip("2001:db8::7")));
        assert_eq!(best(&[ip("127.0.0.1"), ip("fe80::1")], &[], None, true), None);
    }
}
