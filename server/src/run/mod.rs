//! Starting the roles of this process, keeping them running, stopping them without dropping anybody's work.

mod hub;
pub mod organisation;
pub mod services;
pub mod settings;
pub mod transport;

use crate::api::{self, Api};
use crate::legs::LegBook;
use crate::listen::{self, Door};
use crate::logs::all::Logs;
use crate::{control, inner, metrics, tls};
use organisation::Organisation;
use services::{Makings, Services};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use waypost_admin::run::QueueAt;
use waypost_admin::settings::{Settings, SettingsStore};
use waypost_directory::Roles;
use waypost_trust::channel::TlsAccept;

/// Sessions get so long to finish their message or command before the process ends anyway.
const GRACE: Duration = Duration::from_secs(30);
/// How often what expired is swept away, and what was only noted in memory is written.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

/// Segments are compacted once a day in this hour, UTC.
const QUIET_HOUR: u8 = 2;

/// Where to listen: name of the door → addresses. Port 0 takes whatever is free.
pub type Doors = BTreeMap<&'static str, Vec<SocketAddr>>;

/// Every door there is, as people list them.
pub const DOORS: [&str; 11] = [
    "smtp",
    "submission",
    "submissions",
    "lmtp",
    "imap",
    "imaps",
    "pop3",
    "pop3s",
    "inner",
    "api",
    "metrics",
];

/// Whether a server with these roles has this door. Front ends meet clients and strangers; LMTP is for those who have a
/// queue to put it into; the inner door and the figures are everybody's.
fn has_door(roles: Roles, door: &str) -> bool {
    match door {
        "inner" | "api" | "metrics" => true,
        "lmtp" => roles.transport,
        _ => roles.frontend,
    }
}

/// The running roles.
pub struct Running {
    addresses: Vec<(&'static str, SocketAddr)>,
    tasks: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    services: Arc<Services>,
    logs: Logs,
}

impl Running {
    /// Binds every door, then begins to serve. Nothing is served when one of them cannot be bound.
    pub async fn start(
        organisation: &Organisation,
        store: Arc<SettingsStore>,
        roles: Roles,
        doors: Doors,
    ) -> io::Result<Running> {
        let settings = store.current();
        let logs = Logs::start(&settings, organisation.place.root(), &organisation.clock)?;
        let public = &organisation.public;
        let public = Arc::new(tls::Public::new(public.chain_pem.as_bytes(), public.key_pem.as_bytes())?);
        let mut bound = Vec::new();
        let mut addresses = Vec::new();
        for (name, at) in doors.into_iter().filter(|(name, _)| has_door(roles, name)) {
            for address in at {
                let listener = listen::bind(address).map_err(|e| cannot_listen(name, address, &e))?;
                addresses.push((name, listener.local_addr()?));
                bound.push((name, listener));
            }
        }
        let control = control::listen(&organisation.place)?;
        let own = addresses.iter().map(|(_, address)| *address).collect();
        let makings = Makings { organisation, settings: &store, roles, public: &public, logs: &logs, own };
        let services = Arc::new(Services::new(makings)?);
        let stop = watch::Sender::new(false);
        let mut running = Running { addresses, tasks: Vec::new(), stop, services, logs };
        running.apply(&settings);
        let (api, bound): (Vec<_>, Vec<_>) = bound.into_iter().partition(|(name, _)| *name == "api");
        for (name, listener) in bound {
            running.open(name, listener, &settings);
        }
        running.follow_settings();
        let place = &organisation.place;
        let mut world = organisation.world(Arc::clone(&store));
        let hub = &running.services.works.hub;
        world.queue = QueueAt::Live(Arc::clone(hub.queue()));
        world.hub = Some(Arc::new(hub::Hand(Arc::clone(hub))));
        let context = control::context(place, organisation.clock.clone(), world);
        running.open_api(api.into_iter().map(|(_, listener)| listener), &context, &settings)?;
        running.tasks.push(tokio::spawn(control::serve(control, context, running.stop.subscribe())));
        running.tasks.extend(running.services.works.run(place.store()));
        running.keep_house();
        Ok(running)
    }

    fn open(&mut self, name: &'static str, listener: TcpListener, settings: &Settings) {
        let stop = self.stop.subscribe();
        if name == "metrics" {
            let services = Arc::clone(&self.services);
            let collect: metrics::Collect = Arc::new(move || services.figures());
            self.tasks.push(tokio::spawn(metrics::serve(listener, collect, stop)));
            return;
        }
        if name == "inner" {
            let handlers = self.services.handlers();
            self.tasks.push(tokio::spawn(inner::keep(listener, Arc::clone(&self.services), handlers, stop)));
            return;
        }
        let (connections_max, per_address_max) = settings::connections(settings, name);
        let door = Door {
            name,
            tls: (name != "lmtp").then(|| Arc::clone(&self.services.public) as Arc<dyn TlsAccept>),
            implicit: matches!(name, "submissions" | "imaps" | "pop3s"),
            connections_max,
            per_address_max,
            serve: self.services.serve(name),
        };
        self.tasks.push(tokio::spawn(listen::accept_until(listener, Arc::new(door), stop)));
    }

    /// Plain HTTP on loopback, HTTPS elsewhere.
    fn open_api(
        &mut self,
        listeners: impl Iterator<Item = TcpListener>,
        context: &waypost_admin::Context,
        settings: &Settings,
    ) -> io::Result<()> {
        let sign_in = Arc::clone(&self.services.sign_in);
        let api = Api::new(context.clone(), sign_in, api::here(), self.stop.subscribe());
        for listener in listeners {
            let implicit = !listener.local_addr()?.ip().is_loopback();
            let (connections_max, per_address_max) = settings::connections(settings, "api");
            let door = Door {
                name: "api",
                tls: implicit.then(|| Arc::clone(&self.services.public) as Arc<dyn TlsAccept>),
                implicit,
                connections_max,
                per_address_max,
                serve: api.serve(),
            };
            let stop = self.stop.subscribe();
            self.tasks.push(tokio::spawn(listen::accept_until(listener, Arc::new(door), stop)));
        }
        Ok(())
    }

    /// Settings that take effect without a restart.
    fn apply(&self, settings: &Settings) {
        settings::apply(settings, &self.services, &self.logs);
    }

    /// Name and address of each door, in the order of [`DOORS`].
    pub fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let place = |name: &str| DOORS.iter().position(|door| *door == name);
        let mut addresses = self.addresses.clone();
        addresses.sort_by_key(|(name, _)| place(name));
        addresses
    }

    pub fn legs(&self) -> &LegBook {
        &self.services.legs
    }

    /// Reads settings and certificate again. What cannot be used is logged, and the old stays.
    pub fn reload(&self) {
        // Whoever follows the settings hears of it by the store.
        if let Err(e) = self.services.settings.reload() {
            tracing::error!(error = %e, "settings not reloaded: the old ones stay");
        }
        let shown = organisation::shown_certificate(
            &self.services.organisation.place,
            &self.services.settings.current(),
        );
        match shown.and_then(|c| self.services.public.replace(c.chain_pem.as_bytes(), c.key_pem.as_bytes())) {
            Ok(()) => tracing::info!("settings and certificate reloaded"),
            Err(e) => tracing::error!(error = %e, "certificate not reloaded: the old one stays"),
        }
    }

    /// Takes over every change of the settings that needs no restart, whoever made it.
    fn follow_settings(&mut self) {
        let mut changes = self.services.settings.subscribe();
        let mut stop = self.stop.subscribe();
        let (services, logs) = (Arc::clone(&self.services), self.logs.clone());
        self.tasks.push(tokio::spawn(async move {
            loop {
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() { return },
                    _ = stop.wait_for(|stop| *stop) => return,
                }
                let now = changes.borrow_and_update().clone();
                settings::apply(&now, &services, &logs);
            }
        }));
    }

    /// Sweeps what has expired, from time to time.
    fn keep_house(&mut self) {
        let services = Arc::clone(&self.services);
        let mut stop = self.stop.subscribe();
        self.tasks.push(tokio::spawn(async move {
            let mut compacted = None;
            loop {
                tokio::select! {
                    () = tokio::time::sleep(HOUSEKEEPING) => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
                services.sweep().await;
                let now = services.organisation.clock.now().civil();
                let today = (now.year, now.month, now.day);
                if now.hour == QUIET_HOUR && compacted != Some(today) {
                    compacted = Some(today);
                    tokio::select! {
                        () = services.compact() => {}
                        _ = stop.wait_for(|stop| *stop) => return,
                    }
                }
            }
        }));
    }

    /// Closes the doors, lets sessions finish, and returns when all are gone or the grace is over.
    async fn stop(self) {
        self.stop.send_replace(true);
        self.services.works.hub.stop();
        self.services.imap.stop();
        self.services.pop3.stop();
        let finished = async {
            for task in self.tasks {
                // A task that panicked has been counted and logged.
                let _ = task.await;
            }
            while listen::OPEN.value() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            self.services.works.hub.idle().await;
        };
        if tokio::time::timeout(GRACE, finished).await.is_err() {
            tracing::warn!(sessions = listen::OPEN.value(), "stopping although sessions have not ended");
        }
        self.logs.flush();
    }
}

/// Says what to do about it, too, where that is known.
fn cannot_listen(name: &str, address: SocketAddr, error: &io::Error) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied if address.port() < 1024 => {
            "; ports below 1024 need the capability CAP_NET_BIND_SERVICE, which the systemd unit gives, or choose another \
             address with `waypost Set-WaypostSetting listeners."
        }
        io::ErrorKind::AddrInUse => {
            "; another program has it, or choose another address with `waypost Set-WaypostSetting listeners."
        }
        _ => return io::Error::new(error.kind(), format!("{name} cannot listen on {address}: {error}")),
    };
    let text = format!("{name} cannot listen on {address}: {error}{advice}{name} HOST:PORT`");
    io::Error::new(error.kind(), text)
}

/// Serves until SIGINT or SIGTERM, reloading at SIGHUP; then stops and closes the store.
pub async fn until_stopped(running: Running, organisation: Organisation) {
    use tokio::signal::unix::{SignalKind, signal};
    // Only a bad signal number could fail here.
    let [mut hang_up, mut terminate, mut interrupt] =
        [SignalKind::hangup(), SignalKind::terminate(), SignalKind::interrupt()]
            .map(|kind| signal(kind).expect("a signal that can be handled"));
    loop {
        tokio::select! {
            _ = hang_up.recv() => running.reload(),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!("stopping: sessions get {} seconds to finish", GRACE.as_secs());
    running.stop().await;
    organisation.close().await;
}
