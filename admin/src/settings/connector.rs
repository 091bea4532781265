//! Kinds of values that connectors have: address spaces, smart hosts, ranges of addresses.

use super::value::{Kind, choice};
use std::fmt;
use std::net::IpAddr;
use toml_edit::Value;
use waypost_directory::address::canonical_domain;
pub use waypost_transport::connector::IpRange;

/// `SMTP:*;1`: which addresses a send connector takes, and at what cost. The type and the cost may be left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressSpace {
    /// `*`, `example.net` or `*.example.net`; lower-case ASCII.
    pub pattern: String,
    /// 1 to 100; the lowest is taken.
    pub cost: u8,
}

impl AddressSpace {
    pub fn parse(text: &str) -> Option<AddressSpace> {
        let text = text.trim();
        let bare = match text.split_once(':') {
            Some((kind, rest)) if kind.trim().eq_ignore_ascii_case("smtp") => rest.trim(),
            Some(_) => return None,
            None => text,
        };
        let (pattern, cost) = match bare.split_once(';') {
            Some((pattern, cost)) => (pattern.trim(), cost.trim().parse().ok()?),
            None => (bare, 1),
        };
        if !(1..=100).contains(&cost) {
            return None;
        }
        let pattern = match pattern.strip_prefix("*.") {
            _ if pattern == "*" => "*".to_owned(),
            Some(parent) => format!("*.{}", canonical_domain(parent).ok()?),
            None => canonical_domain(pattern).ok()?.into_owned(),
        };
        Some(AddressSpace { pattern, cost })
    }
}

impl fmt::Display for AddressSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SMTP:{};{}", self.pattern, self.cost)
    }
}

/// A server that takes our mail: `relay.example.net`, `192.0.2.1`, `[192.0.2.1]:2525`, `[2001:db8::1]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmartHost {
    /// A name, or an address without brackets.
    pub host: String,
    /// The connector's, where it is not given.
    pub port: Option<u16>,
}

impl SmartHost {
    pub fn parse(text: &str) -> Option<SmartHost> {
        let text = text.trim();
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(SmartHost { host: address.to_string(), port: None });
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (inner, after) = rest.split_once(']')?;
                let inner = inner.strip_prefix("IPv6:").unwrap_or(inner);
                let address = inner.parse::<IpAddr>().ok()?;
                let port = match after.strip_prefix(':') {
                    Some(port) => Some(port),
                    None if after.is_empty() => None,
                    None => return None,
                };
                (address.to_string(), port)
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host.to_owned(), Some(port)),
                None => (text.to_owned(), None),
            },
        };
        let port = match port {
            Some(port) => Some(port.parse().ok().filter(|p| *p > 0)?),
            None => None,
        };
        let host = match host.parse::<IpAddr>() {
            Ok(address) => address.to_string(),
            Err(_) => canonical_domain(&host).ok()?.into_owned(),
        };
        Some(SmartHost { host, port })
    }
}

/// As Exchange prints it: addresses in brackets.
impl fmt::Display for SmartHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<IpAddr>() {
            Ok(_) => write!(f, "[{}]", self.host)?,
            Err(_) => f.write_str(&self.host)?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// Where a mail filter listens: `inet:HOST@PORT`-like forms and `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterAddress {
    Inet { host: String, port: u16 },
    Unix(String),
}

impl FilterAddress {
    /// `inet:host@port`, `inet:port@host` (as Sendmail writes it), `inet:host:port` (as Postfix does), `unix:/path`.
    pub fn parse(text: &str) -> Option<FilterAddress> {
        let (kind, rest) = text.trim().split_once(':')?;
        match kind.to_ascii_lowercase().as_str() {
            "unix" | "local" if rest.starts_with('/') && rest.len() <= 107 => {
                Some(FilterAddress::Unix(rest.to_owned()))
            }
            "inet" | "inet6" => {
                let (host, port) = match rest.split_once('@') {
                    Some((port, host)) if port.parse::<u16>().is_ok() => (host, port),
                    Some(both) => both,
                    None => rest.rsplit_once(':')?,
                };
                let port = port.parse().ok().filter(|p| *p > 0)?;
                let host = SmartHost::parse(host).filter(|h| h.port.is_none())?.host;
                Some(FilterAddress::Inet { host, port })
            }
            _ => None,
        }
    }
}

impl fmt::Display for FilterAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilterAddress::Inet { host, port } => write!(f, "inet:{host}@{port}"),
            FilterAddress::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

macro_rules! text_kinds {
    ($($name:ident, $what:literal;)*) => { $(
        impl Kind for $name {
            const WHAT: &'static str = $what;
            fn read(value: &Value) -> Option<$name> {
                $name::parse(value.as_str()?)
            }
            fn write(&self) -> Value {
                Value::from(self.to_string())
            }
        }
    )* };
}
text_kinds! {
    AddressSpace, "an address space, such as \"*\", \"example.net\" or \"SMTP:*.example.net;5\"";
    SmartHost, "a host, such as \"relay.example.net\" or \"[192.0.2.1]:2525\"";
    IpRange, "addresses, such as \"192.0.2.0/24\" or \"192.0.2.1-192.0.2.9\"";
    FilterAddress, "\"inet:host@port\" or \"unix:/path\"";
}

choice! {
    /// How far the certificate of a peer is looked at.
    TlsAuthLevel {
        /// Whatever RequireTLS says.
        None = 0,
        /// Encrypted, whoever it is.
        EncryptionOnly = 1,
        /// The certificate is by an authority that this machine trusts, and in date.
        CertificateValidation = 2,
        /// The same, and for the right name.
        DomainValidation = 3,
    }
}

choice! {
    /// How we sign in at a smart host.
    SmartHostAuthMechanism {
        None = 0,
        /// Over TLS where it is there, else in clear.
        BasicAuth = 2,
        BasicAuthRequireTLS = 4,
    }
}

choice! {
    /// Whether what is said goes into a protocol log.
    ProtocolLogging { None = 0, Verbose = 1 }
}

choice! {
    /// Listeners that receive connectors stand at.
    Listener { Smtp = 1, Submission = 2, Submissions = 3 }
}

choice! {
    /// Who may do what.
    PermissionGroup {
        /// Strangers may send to our own recipients.
        AnonymousUsers = 1,
        /// Those who sign in may send to anybody, as themselves.
        ExchangeUsers = 2,
        /// Servers of ours, known by their address: any sender, any recipient.
        ExchangeServers = 4,
    }
}

choice! {
    /// What a door offers.
    AuthMechanism {
        None = 0,
        /// STARTTLS.
        Tls = 1,
        /// Kept for scripts; Kerberos and NTLM are not set up.
        Integrated = 2,
        BasicAuth = 4,
        BasicAuthRequireTLS = 8,
        /// Kept for scripts: servers of ours are known by PermissionGroups.
        ExchangeServer = 16,
        /// Whoever may connect is believed: as PermissionGroups ExchangeServers.
        ExternalAuthoritative = 32,
    }
}

choice! {
    /// What becomes of a message when a mail filter does not answer.
    FilterFailure {
        /// It is taken as if the filter had nothing against it.
        Accept = 1,
        /// It is put off (451).
        TempFail = 2,
        /// It is refused (550).
        Reject = 3,
    }
}

choice! {
    /// Which mail a filter sees.
    FilterScope {
        All = 0,
        /// What strangers and other servers bring.
        Inbound = 1,
        /// What our users submit.
        Outbound = 2,
    }
}

choice! {
    /// Whether a component serves.
    ComponentState {
        Inactive = 0,
        Active = 1,
        /// Nothing new is taken; what is there is brought on.
        Draining = 2,
    }
}

choice! {
    /// What becomes of mail that fails DMARC.
    DmarcMode {
        /// What the owner of the domain asks for.
        Honour = 0,
        /// Whatever would be rejected becomes junk.
        Quarantine = 1,
        /// It is only noted.
        Note = 2,
    }
}

choice! {
    /// What becomes of mail that fails SPF where DMARC says nothing.
    SpfFail { Note = 0, Junk = 1, Reject = 2 }
}

impl From<DmarcMode> for waypost_mailauth::DmarcMode {
    fn from(mode: DmarcMode) -> waypost_mailauth::DmarcMode {
        match mode {
            DmarcMode::Honour => waypost_mailauth::DmarcMode::Honour,
            DmarcMode::Quarantine => waypost_mailauth::DmarcMode::Quarantine,
            DmarcMode::Note => waypost_mailauth::DmarcMode::Note,
        }
    }
}

impl From<SpfFail> for waypost_mailauth::SpfFail {
    fn from(mode: SpfFail) -> waypost_mailauth::SpfFail {
        match mode {
            SpfFail::Note => waypost_mailauth::SpfFail::Note,
            SpfFail::Junk => waypost_mailauth::SpfFail::Junk,
            SpfFail::Reject => waypost_mailauth::SpfFail::Reject,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_spaces() {
        let read = |text: &str| AddressSpace::parse(text).map(|a| a.to_string());
        for (text, shown) in [
            ("*", "SMTP:*;1"),
            ("SMTP:*;1", "SMTP:*;1"),
            ("smtp: *.Example.NET ; 20", "SMTP:*.example.net;20"),
            ("bücher.example", "SMTP:xn--bcher-kva.example;1"),
        ] {
            assert_eq!(read(text).as_deref(), Some(shown), "{text}");
        }
        for bad in ["", "X400:*;1", "*;0", "*;101", "*;x", "a b", "*.*"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn hosts() {
        let read = |text: &str| SmartHost::parse(text).map(|h| h.to_string());
        for (text, shown) in [
            ("127.0.0.1", "[127.0.0.1]"),
            ("[127.0.0.1]:2525", "[127.0.0.1]:2525"),
            ("127.0.0.1:2525", "[127.0.0.1]:2525"),
            ("[2001:db8::1]:25", "[2001:db8::1]:25"),
            ("[IPv6:2001:db8::1]", "[2001:db8::1]"),
            ("2001:db8::1", "[2001:db8::1]"),
            ("Relay.Example.net:587", "relay.example.net:587"),
        ] {
            assert_eq!(read(text).as_deref(), Some(shown), "{text}");
        }
        for bad in ["", "a b", "host:0", "host:99999", "[host]", "[::1]25", "[::1"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn ranges() {
        let read = |text: &str| IpRange::parse(text).map(|r| r.to_string());
        assert_eq!(read("192.0.2.77/24").as_deref(), Some("192.0.2.0-192.0.2.255"));
        assert_eq!(read("0.0.0.0/0"), Some(IpRange::ALL[0].to_string()));
        assert_eq!(read("::/0"), Some(IpRange::ALL[1].to_string()));
        assert_eq!(read("192.0.2.1 - 192.0.2.9").as_deref(), Some("192.0.2.1-192.0.2.9"));
        for bad in ["", "192.0.2.1/33", "192.0.2.9-192.0.2.1", "192.0.2.1-::1", "x", "1.2.3.4/-1"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn filters() {
        let read = |text: &str| FilterAddress::parse(text).map(|a| a.to_string());
        for text in ["inet:127.0.0.1@11332", "inet:11332@127.0.0.1", "inet:127.0.0.1:11332"] {
            assert_eq!(read(text).as_deref(), Some("inet:127.0.0.1@11332"), "{text}");
        }
        assert_eq!(read("unix:/run/filter.sock").as_deref(), Some("unix:/run/filter.sock"));
        for bad in ["", "inet:", "inet:host", "unix:relative", "tcp:1@x", "inet:0@host"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(text in "(SMTP:|inet:|unix:/)?[\\[\\]a-z0-9.:@;/*-]{0,24}") {
            if let Some(a) = AddressSpace::parse(&text) {
                proptest::prop_assert_eq!(AddressSpace::parse(&a.to_string()), Some(a));
            }
            if let Some(h) = SmartHost::parse(&text) {
                proptest::prop_assert_eq!(SmartHost::parse(&h.to_string()), Some(h));
            }
            if let Some(r) = IpRange::parse(&text) {
                proptest::prop_assert_eq!(IpRange::parse(&r.to_string()), Some(r));
            }
            if let Some(f) = FilterAddress::parse(&text) {
                proptest::prop_assert_eq!(FilterAddress::parse(&f.to_string()), Some(f));
            }
        }
    }
}
