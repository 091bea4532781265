//! What stands behind each door, and the services as commands start and stop them.

use super::services::Services;
use super::{DOORS, cannot_listen, components, has_door, settings};
use crate::api::Api;
use crate::doors::{Acceptor, Doors, Trouble};
use crate::listen::{self, Door, Guests, Serve, TlsNow};
use crate::{inner, metrics};
use std::sync::Arc;
use std::time::Duration;
use waypost_admin::failure::{Category, Failure};
use waypost_admin::run::{Answer, Service, Services as Commanded};
use waypost_admin::settings::Settings;
use waypost_trust::public::PublicService;

/// Sessions of a service that is stopped or started again get so long to end; the command does not wait longer.
const GRACE: Duration = Duration::from_secs(15);

/// Puts up every door that a server with these roles has; none is open yet.
pub fn put_all(doors: &Doors, services: &Arc<Services>, api: &Arc<Api>, chosen: &Settings) {
    let (imap, pop3) = (
        Guests::new(settings::connections(chosen, "imap")),
        Guests::new(settings::connections(chosen, "pop3")),
    );
    for name in DOORS.into_iter().filter(|name| has_door(services.roles, name)) {
        match name {
            "metrics" => doors.put(name, None, figures(services)),
            "inner" => doors.put(name, None, other_servers(services)),
            _ => {
                // MaxConnections counts both doors of a protocol.
                let guests = match name {
                    "imap" | "imaps" => Arc::clone(&imap),
                    "pop3" | "pop3s" => Arc::clone(&pop3),
                    _ => Guests::new(settings::connections(chosen, name)),
                };
                let serve = if name == "api" { api.serve() } else { services.serve(name) };
                let serve = components::guarded(services, name, serve);
                doors.put(name, Some(Arc::clone(&guests)), clients(name, services, guests, serve));
            }
        }
    }
}

/// A door for clients.
fn clients(name: &'static str, services: &Arc<Services>, guests: Arc<Guests>, serve: Serve) -> Acceptor {
    let services = Arc::clone(services);
    Arc::new(move |listener, stop| {
        // Plain HTTP on loopback, HTTPS elsewhere.
        let abroad = || listener.local_addr().is_ok_and(|at| !at.ip().is_loopback());
        let implicit = if name == "api" { abroad() } else { is_implicit(name) };
        let tls = if name == "api" && !implicit { None } else { tls_of(&services, name) };
        let guests = Arc::clone(&guests);
        let door = Door { name, tls, implicit, guests, pretended: None, serve: Arc::clone(&serve) };
        Box::pin(listen::accept_until(listener, Arc::new(door), stop))
    })
}

/// What a door shows for TLS; STARTTLS is offered only while there is a certificate to be shown.
pub fn tls_of(services: &Arc<Services>, door: &'static str) -> Option<TlsNow> {
    let service = PublicService::of_door(door)?;
    let public = services.public.clone();
    Some(Arc::new(move || {
        let usable = is_implicit(door) || public.is_usable(service);
        usable.then(|| public.acceptor(service))
    }))
}

/// TLS from the first byte.
pub fn is_implicit(door: &str) -> bool {
    matches!(door, "submissions" | "imaps" | "pop3s")
}

fn figures(services: &Arc<Services>) -> Acceptor {
    let services = Arc::clone(services);
    Arc::new(move |listener, stop| {
        let services = Arc::clone(&services);
        let collect: metrics::Collect = Arc::new(move || services.figures());
        Box::pin(metrics::serve(listener, collect, stop))
    })
}

fn other_servers(services: &Arc<Services>) -> Acceptor {
    let services = Arc::clone(services);
    Arc::new(move |listener, stop| {
        let handlers = services.handlers();
        Box::pin(inner::keep(listener, Arc::clone(&services), handlers, stop))
    })
}

/// Opens and closes what a change of the settings says, and takes over the limits of connections. What could not be done
/// comes back as texts. Doors that the settings do not speak about differently stay as they are, wherever they are.
pub async fn follow(doors: &Doors, before: &Settings, now: &Settings) -> Vec<String> {
    doors.limit(|name| settings::connections(now, name));
    let (old, new) = (settings::doors(before), settings::doors(now));
    let mut troubles = Vec::new();
    for (name, addresses) in new {
        if old.get(name) != Some(&addresses) {
            troubles.extend(doors.follow(name, &addresses).await.iter().map(told));
        }
    }
    troubles
}

fn told(trouble: &Trouble) -> String {
    let text = cannot_listen(trouble.door, trouble.address, &trouble.error).to_string();
    tracing::error!("{text}");
    text
}

/// The services by Exchange's names, with the doors of each. The others are none that come and go.
const SERVICES: [(&str, &str, &str, &[&str]); 4] = [
    ("MSExchangeIMAP4", "imap", "Waypost IMAP4", &["imap", "imaps"]),
    ("MSExchangePOP3", "pop", "Waypost POP3", &["pop3", "pop3s"]),
    ("MSExchangeTransport", "transport", "Waypost Transport", &["smtp", "submission", "submissions", "lmtp"]),
    ("WaypostApi", "api", "Waypost HTTP interface", &["api"]),
];

/// Starting and stopping for commands.
pub struct Hand {
    pub services: Arc<Services>,
    pub doors: Arc<Doors>,
}

/// The services in somebody's hand.
pub fn hand(services: &Arc<Services>, doors: &Arc<Doors>) -> Hand {
    Hand { services: Arc::clone(services), doors: Arc::clone(doors) }
}

impl Hand {
    fn doors_of(&self, short: &str) -> Result<&'static [&'static str], Failure> {
        let found = SERVICES.iter().find(|(_, s, ..)| *s == short);
        found.map(|(.., doors)| *doors).ok_or_else(|| Failure::not_found("service", short))
    }

    fn end_sessions(&self, short: &str) {
        match short {
            "imap" => self.services.imap.restart(),
            "pop" => self.services.pop3.restart(),
            "transport" => self.services.works.hub.end_sessions(),
            // Requests of HTTP are over in a moment.
            _ => {}
        }
    }

    /// Until the sessions are gone, or the grace is over.
    async fn until_gone(&self, names: &[&str]) -> Result<(), Failure> {
        let gone = async {
            while self.doors.guests(names) > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(GRACE, gone).await {
            Ok(()) => Ok(()),
            Err(_) => {
                let text = format!(
                    "{} sessions have not ended in {} seconds; they end with what they are doing.",
                    self.doors.guests(names),
                    GRACE.as_secs()
                );
                Err(Failure::new(Category::OperationIncomplete, "sessions", text))
            }
        }
    }
}

impl Commanded for Hand {
    fn all(&self) -> Vec<Service> {
        let addresses = self.doors.addresses();
        let of = |doors: &[&str]| {
            let here = addresses.iter().filter(|(name, _)| doors.contains(name));
            here.map(|(name, at)| format!("{name} {at}")).collect()
        };
        SERVICES
            .into_iter()
            .filter(|(.., doors)| doors.iter().any(|d| has_door(self.services.roles, d)))
            .map(|(name, short, display_name, doors)| Service {
                name,
                short,
                display_name,
                running: doors.iter().any(|d| self.doors.is_open(d)),
                sessions: self.doors.guests(doors),
                listeners: of(doors),
            })
            .collect()
    }

    fn stop<'a>(&'a self, short: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let names = self.doors_of(short)?;
            for name in names {
                self.doors.stop(name).await;
            }
            self.end_sessions(short);
            self.until_gone(names).await
        })
    }

    fn start<'a>(&'a self, short: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut troubles = Vec::new();
            for name in self.doors_of(short)? {
                troubles.extend(self.doors.start(name).await.iter().map(told));
            }
            if troubles.is_empty() {
                return Ok(());
            }
            Err(Failure::new(Category::ResourceUnavailable, short, troubles.join("; ")))
        })
    }

    fn restart<'a>(&'a self, short: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            self.doors_of(short)?;
            // The doors stay open: whoever comes now is served by what is fresh.
            self.end_sessions(short);
            self.start(short).await
        })
    }
}
