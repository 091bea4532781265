//! The servers of the organisation, as the directory knows them.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use waypost_base::Timestamp;

/// What a server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Roles {
    /// Meets clients and strangers, and hands them over to the servers behind. Keeps nothing.
    pub frontend: bool,
    /// The hub: queues, sends, delivers.
    pub transport: bool,
    /// Holds accounts.
    pub mailbox: bool,
}

impl Default for Roles {
    fn default() -> Roles {
        Roles::ALL
    }
}

impl Roles {
    pub const ALL: Roles = Roles { frontend: true, transport: true, mailbox: true };
    pub const NONE: Roles = Roles { frontend: false, transport: false, mailbox: false };

    pub const NAMES: [&'static str; 3] = ["frontend", "transport", "mailbox"];

    pub const fn has(&self, name: &str) -> bool {
        match name.as_bytes() {
            b"frontend" => self.frontend,
            b"transport" => self.transport,
            b"mailbox" => self.mailbox,
            _ => false,
        }
    }

    /// `frontend,transport`; an unknown name is handed back.
    pub fn parse(text: &str) -> Result<Roles, String> {
        let mut roles = Roles::NONE;
        for name in text.split(',').map(str::trim).filter(|n| !n.is_empty()) {
            match name.to_ascii_lowercase().as_str() {
                "frontend" | "clientaccess" => roles.frontend = true,
                "transport" | "hub" => roles.transport = true,
                "mailbox" => roles.mailbox = true,
                "all" => roles = Roles::ALL,
                _ => return Err(name.to_owned()),
            }
        }
        if roles == Roles::NONE { Err(text.to_owned()) } else { Ok(roles) }
    }
}

impl Roles {
    /// Whether a server with these roles has what people prove themselves by. Others ask a server that has it.
    pub const fn keep_credentials(&self) -> bool {
        self.mailbox
    }

    pub const fn extent(&self) -> crate::replica::Extent {
        if self.keep_credentials() { crate::replica::Extent::Full } else { crate::replica::Extent::Thin }
    }
}

impl std::fmt::Display for Roles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = Roles::NAMES.into_iter().filter(|name| self.has(name)).collect();
        f.write_str(&names.join(","))
    }
}

/// A server of the organisation. Its id is its row's key, and the name in its inner certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    #[serde(skip)]
    pub version: u64,
    #[serde(skip)]
    pub id: String,
    /// Where its inner door is: `HOST:PORT`, `[::1]:444`. A name is looked up at each use; trust does not rest on it.
    pub inner: String,
    /// The host name of its greetings, for people.
    pub host: String,
    pub roles: Roles,
    /// It keeps the directory, the settings and the inner CA. Exactly one does.
    #[serde(default)]
    pub primary: bool,
    /// What is not `Active`, by component: `HubTransport` → `Draining`. Others take note of it when they choose a server.
    #[serde(default)]
    pub components: BTreeMap<String, String>,
    /// Who wanted a component to be not `Active`, where that was said: `ImapProxy` → `HealthAPI`, which is a responder of health.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requesters: BTreeMap<String, String>,
    /// Its service principals, such as `waypost/mbx1.example.org@EXAMPLE.ORG`, for inner legs by Kerberos. The first one is
    /// what others ask a ticket for.
    #[serde(default)]
    pub principals: Vec<String>,
    /// Since when it may not do anything any more.
    #[serde(default)]
    pub revoked: Option<Timestamp>,
    /// Inner certificates made for it before this time are void: what a thief may have.
    #[serde(default)]
    pub certificates_since: Option<Timestamp>,
    pub joined: Timestamp,
    pub changed: Timestamp,
}

impl Server {
    /// Whether a component takes new work, as far as the directory knows.
    pub fn is_active(&self, component: &str) -> bool {
        self.revoked.is_none() && self.components.get(component).is_none_or(|state| state == "Active")
    }

    /// Whether a responder of health took a component out of service, and means to return it.
    pub fn is_drained_for_health(&self, component: &str) -> bool {
        let requester = self.requesters.get(component);
        !self.is_active(component) && requester.is_some_and(|who| who == Server::HEALTH)
    }

    /// As whom responders of health take components out of service.
    pub const HEALTH: &str = "HealthAPI";
}
