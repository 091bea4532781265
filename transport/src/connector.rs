//! Connectors: by which way mail leaves (send), and who may do what at our doors (receive). Values only; they come from
//! the settings, and are chosen here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use waypost_trust::channel::Verify;

/// A way out for some addresses. Exchange: Set-SendConnector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendConnector {
    pub name: String,
    pub enabled: bool,
    pub address_spaces: Vec<AddressSpace>,
    /// Empty: by MX of the recipient's domain.
    pub smart_hosts: Vec<SmartHost>,
    /// For smart hosts that name none, and for MX hosts.
    pub port: u16,
    pub tls: TlsPolicy,
    /// How we call ourselves; the server's name if not given.
    pub fqdn: Option<String>,
    pub credentials: Option<Credentials>,
    /// Address of ours to send from.
    pub source: Option<IpAddr>,
    /// Octets; `None` leaves it to the peer's SIZE.
    pub max_message_size: Option<u64>,
    pub protocol_log: bool,
    /// Nothing said for so long ends the session.
    pub inactivity: Duration,
    /// Messages over one connection before it is closed; 0 is no limit.
    pub messages_per_connection: u32,
    /// Connections at a time to one next hop.
    pub connections_per_domain: u32,
}

impl SendConnector {
    /// By MX, for these address spaces, with everything else as Exchange has it.
    pub fn new(name: impl Into<String>, address_spaces: Vec<AddressSpace>) -> SendConnector {
        SendConnector {
            name: name.into(),
            enabled: true,
            address_spaces,
            smart_hosts: Vec::new(),
            port: 25,
            tls: TlsPolicy::default(),
            fqdn: None,
            credentials: None,
            source: None,
            max_message_size: None,
            protocol_log: false,
            inactivity: Duration::from_secs(600),
            messages_per_connection: 0,
            connections_per_domain: 20,
        }
    }
}

/// `*`, `example.net`, or `*.example.net` (which has `example.net` too, as in Exchange), and what it costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressSpace {
    /// Lower-case ASCII.
    pub pattern: String,
    pub cost: u8,
}

impl AddressSpace {
    pub fn new(pattern: impl Into<String>, cost: u8) -> AddressSpace {
        AddressSpace { pattern: pattern.into(), cost }
    }

    /// How well it fits: the longest pattern is the most particular. `None`: not at all.
    pub fn fits(&self, domain: &str) -> Option<usize> {
        if self.pattern == "*" {
            return Some(0);
        }
        if self.pattern == domain {
            return Some(usize::MAX);
        }
        let parent = self.pattern.strip_prefix("*.")?;
        let below = domain.strip_suffix(parent).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        below.then_some(parent.len())
    }
}

/// A server that takes our mail and brings it on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SmartHost {
    /// A name, or an address without brackets.
    pub host: String,
    pub port: Option<u16>,
}

/// What is asked of TLS on a way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPolicy {
    pub level: TlsLevel,
    /// Where a certificate must be of a certain name other than the host's. Exchange: TlsDomain.
    pub name: Option<String>,
    pub verify: Verify,
    // DANE and MTA-STS will stand here: each raises `level` and `verify` for one domain, and says by whose word.
}

impl Default for TlsPolicy {
    fn default() -> TlsPolicy {
        TlsPolicy { level: TlsLevel::Opportunistic, name: None, verify: Verify::Any }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsLevel {
    /// STARTTLS is not used even where it is offered. Exchange: IgnoreSTARTTLS.
    None,
    /// Used where it is offered; where the handshake fails, the message goes in clear on a new connection.
    Opportunistic,
    /// Without TLS nothing is sent. Exchange: RequireTLS.
    Required,
}

/// For a smart host that wants a sign-in.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Addresses from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpRange {
    pub from: IpAddr,
    pub to: IpAddr,
}

impl IpRange {
    /// Every address of IPv4, every address of IPv6.
    pub const ALL: [IpRange; 2] = [
        IpRange { from: IpAddr::V4(Ipv4Addr::UNSPECIFIED), to: IpAddr::V4(Ipv4Addr::BROADCAST) },
        IpRange { from: IpAddr::V6(Ipv6Addr::UNSPECIFIED), to: IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)) },
    ];

    /// `192.0.2.1`, `192.0.2.0/24` or `192.0.2.1-192.0.2.9`, and the same in IPv6.
    pub fn parse(text: &str) -> Option<IpRange> {
        let text = text.trim();
        if let Some((from, to)) = text.split_once('-') {
            let (from, to) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
            return IpRange::ordered(from, to);
        }
        let Some((address, bits)) = text.split_once('/') else {
            let one = text.parse().ok()?;
            return Some(IpRange { from: one, to: one });
        };
        let bits: u32 = bits.parse().ok()?;
        match address.parse().ok()? {
            IpAddr::V4(a) => {
                let host = u32::MAX.checked_shr(bits).unwrap_or(0);
                let from = u32::from(a) & !host;
                (bits <= 32)
                    .then(|| IpRange { from: IpAddr::V4(from.into()), to: IpAddr::V4((from | host).into()) })
            }
            IpAddr::V6(a) => {
                let host = u128::MAX.checked_shr(bits).unwrap_or(0);
                let from = u128::from(a) & !host;
                (bits <= 128)
                    .then(|| IpRange { from: IpAddr::V6(from.into()), to: IpAddr::V6((from | host).into()) })
            }
        }
    }

    fn ordered(from: IpAddr, to: IpAddr) -> Option<IpRange> {
        (from.is_ipv4() == to.is_ipv4() && from <= to).then_some(IpRange { from, to })
    }

    pub fn holds(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.from.is_ipv4() && (self.from..=self.to).contains(&address)
    }

    /// How many addresses it has, as a power of two: the smallest range that holds an address is the most particular.
    pub fn size(&self) -> u128 {
        match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => u128::from(u32::from(to) - u32::from(from)),
            (IpAddr::V6(from), IpAddr::V6(to)) => u128::from(to) - u128::from(from),
            _ => u128::MAX,
        }
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from == self.to { write!(f, "{}", self.from) } else { write!(f, "{}-{}", self.from, self.to) }
    }
}

/// Who may do what at our doors. Exchange: Set-ReceiveConnector. The connector of a connection is, among those of its
/// door, the one with the smallest range that holds the peer's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiveConnector {
    pub name: String,
    pub enabled: bool,
    /// The listener that it stands at.
    pub door: Door,
    pub remote: Vec<IpRange>,
    pub permissions: Permissions,
    /// MAIL is refused without TLS.
    pub require_tls: bool,
    /// AUTH is offered.
    pub auth: bool,
    /// Octets; `None` is the server's own limit.
    pub max_message_size: Option<u64>,
    pub max_recipients: Option<u32>,
    /// Received fields beyond which a message goes round in circles.
    pub max_hops: u32,
    /// How long a refused recipient or command waits for its answer.
    pub tarpit: Duration,
    /// Messages a minute from one address; 0 is no limit.
    pub message_rate: u32,
    pub protocol_log: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    Smtp,
    Submission,
    Submissions,
}

/// What the peers of a connector may do. Exchange: PermissionGroups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// AnonymousUsers: strangers may send to our own recipients.
    pub anonymous: bool,
    /// ExchangeUsers: those who sign in may send to anybody, as themselves.
    pub users: bool,
    /// ExchangeServers: servers of ours, known by their address until they have certificates: any sender, any
    /// recipient, no checks of who they say they are.
    pub servers: bool,
    /// AnonymousUsers with the right to relay (Ms-Exch-SMTP-Accept-Any-Recipient), for printers and applications.
    pub relay: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_spaces() {
        let fits = |pattern: &str, domain: &str| AddressSpace::new(pattern, 1).fits(domain);
        assert_eq!(fits("*", "a.example"), Some(0));
        assert_eq!(fits("a.example", "a.example"), Some(usize::MAX));
        assert_eq!(fits("a.example", "b.a.example"), None);
        assert_eq!(fits("*.a.example", "b.a.example"), Some(9));
        assert_eq!(fits("*.a.example", "a.example"), Some(9));
        assert_eq!(fits("*.a.example", "ba.example"), None);
    }

    #[test]
    fn ranges() {
        let range = |text: &str| IpRange::parse(text).map(|r| r.to_string());
        assert_eq!(range("192.0.2.77/24").as_deref(), Some("192.0.2.0-192.0.2.255"));
        assert_eq!(range("0.0.0.0/0").as_deref(), Some("0.0.0.0-255.255.255.255"));
        assert_eq!(range("192.0.2.1 - 192.0.2.9").as_deref(), Some("192.0.2.1-192.0.2.9"));
        assert_eq!(range("::1").as_deref(), Some("::1"));
        assert_eq!(range("2001:db8::/127").as_deref(), Some("2001:db8::-2001:db8::1"));
        for bad in ["", "192.0.2.1/33", "192.0.2.9-192.0.2.1", "192.0.2.1-::1", "x"] {
            assert_eq!(range(bad), None, "{bad}");
        }
        let whole = IpRange::parse("192.0.2.0/24").unwrap();
        assert!(whole.holds("::ffff:192.0.2.4".parse().unwrap()));
        assert!(!whole.holds("192.0.3.4".parse().unwrap()));
    }
}
