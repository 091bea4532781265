//! Which receive connector a connection meets, and what it lets a peer do.
//!
//! The connector of a connection is, among those of its door, the one with the smallest range that holds the peer's
//! address. A door for which none is written has the one that Exchange makes.

use super::Kind;
use crate::connector::{Door, Permissions, ReceiveConnector};
use crate::hub::Settings;
use crate::limits::HOPS;
use std::net::IpAddr;
use std::time::Duration;

/// Strangers wait so long for a refusal. Exchange: TarpitInterval.
const TARPIT: Duration = Duration::from_secs(5);

/// What a session needs of its connector.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    pub(super) name: String,
    pub(super) permissions: Permissions,
    pub(super) require_tls: bool,
    /// AUTH is offered.
    pub(super) auth: bool,
    pub(super) max_message: Option<u64>,
    pub(super) max_recipients: Option<u32>,
    pub(super) max_hops: usize,
    pub(super) tarpit: Duration,
    /// Messages a minute from one address; 0 is no limit.
    pub(super) rate: u32,
    pub(super) log: bool,
}

impl Gate {
    fn of(connector: &ReceiveConnector) -> Gate {
        Gate {
            name: connector.name.clone(),
            permissions: connector.permissions,
            require_tls: connector.require_tls,
            auth: connector.auth && connector.permissions.users,
            max_message: connector.max_message_size,
            max_recipients: connector.max_recipients,
            max_hops: usize::try_from(connector.max_hops).unwrap_or(usize::MAX),
            tarpit: connector.tarpit,
            rate: connector.message_rate,
            log: connector.protocol_log,
        }
    }

    fn usual(name: &str, permissions: Permissions, tarpit: Duration) -> Gate {
        Gate {
            name: name.to_owned(),
            permissions,
            require_tls: false,
            auth: permissions.users,
            max_message: None,
            max_recipients: None,
            max_hops: HOPS,
            tarpit,
            rate: 0,
            log: true,
        }
    }

    /// `None`: no connector takes connections from there.
    pub(super) fn choose(settings: &Settings, kind: Kind, peer: IpAddr) -> Option<Gate> {
        let door = match kind {
            Kind::Smtp => Door::Smtp,
            Kind::Submission => Door::Submission,
            Kind::Submissions => Door::Submissions,
            Kind::Lmtp | Kind::Hub | Kind::Delivery => {
                let servers = Permissions { servers: true, ..Permissions::default() };
                let name = if kind == Kind::Hub { "Intra-Organization" } else { "Mailbox delivery" };
                return Some(Gate::usual(name, servers, Duration::ZERO));
            }
        };
        let mut here = settings.receive.iter().filter(|c| c.door == door).peekable();
        if here.peek().is_some() {
            let size = |c: &ReceiveConnector| {
                c.remote.iter().filter(|range| range.holds(peer)).map(crate::connector::IpRange::size).min()
            };
            let fitting = here.filter(|c| c.enabled).filter_map(|c| Some((size(c)?, &c.name, c)));
            return fitting.min_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1))).map(|(_, _, c)| Gate::of(c));
        }
        Some(match door {
            Door::Smtp => {
                let users = settings.auth_on_smtp;
                let permissions = Permissions { anonymous: true, users, ..Permissions::default() };
                Gate::usual("Default Frontend", permissions, TARPIT)
            }
            Door::Submission | Door::Submissions => {
                let permissions = Permissions { users: true, ..Permissions::default() };
                Gate::usual("Client Frontend", permissions, TARPIT)
            }
        })
    }

    /// Nobody may do anything here without signing in.
    pub(super) fn needs_sign_in(&self) -> bool {
        let Permissions { anonymous, users, servers, relay } = self.permissions;
        users && !anonymous && !servers && !relay
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::IpRange;

    fn connector(name: &str, range: &str) -> ReceiveConnector {
        ReceiveConnector {
            name: name.to_owned(),
            enabled: true,
            door: Door::Smtp,
            remote: vec![IpRange::parse(range).unwrap()],
            permissions: Permissions::default(),
            require_tls: false,
            auth: false,
            max_message_size: None,
            max_recipients: None,
            max_hops: 60,
            tarpit: Duration::ZERO,
            message_rate: 0,
            protocol_log: false,
        }
    }

    #[test]
    fn the_smallest_range_wins() {
        let mut settings = Settings::new("mx");
        settings.receive = vec![
            connector("world", "0.0.0.0/0"),
            connector("net", "192.0.2.0/24"),
            connector("one", "192.0.2.9"),
            ReceiveConnector { enabled: false, ..connector("off", "192.0.2.7") },
        ];
        let name =
            |peer: &str| Gate::choose(&settings, Kind::Smtp, peer.parse().unwrap()).map(|gate| gate.name);
        assert_eq!(name("192.0.2.9").as_deref(), Some("one"));
        assert_eq!(name("192.0.2.7").as_deref(), Some("net"));
        assert_eq!(name("198.51.100.1").as_deref(), Some("world"));
        assert_eq!(name("2001:db8::1"), None);
        let client = Gate::choose(&settings, Kind::Submission, "192.0.2.9".parse().unwrap()).unwrap();
        assert!(client.needs_sign_in() && client.auth);
    }
}
