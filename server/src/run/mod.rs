//! Starting the roles of this process, keeping them running, stopping them without dropping anybody's work.

mod components;
mod homes;
mod hub;
mod open;
pub mod organisation;
pub mod services;
pub mod settings;
pub mod transport;

pub use components::drained_for_health;
pub use hub::own_addresses;
pub use open::{hand, is_implicit, tls_of};

use crate::api::{self, Api};
use crate::doors;
use crate::health::{self, Health};
use crate::legs::LegBook;
use crate::listen;
use crate::logs::all::Logs;
use crate::rehearse::Stage;
use crate::{control, inner, ldap, tls};
use organisation::Organisation;
use services::{Makings, Services};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use waypost_admin::run::QueueAt;
use waypost_admin::settings::{Author, Settings, SettingsStore};
use waypost_directory::Roles;

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
pub fn has_door(roles: Roles, door: &str) -> bool {
    match door {
        "inner" | "api" | "metrics" => true,
        "lmtp" => roles.transport,
        _ => roles.frontend,
    }
}

/// The running roles.
pub struct Running {
    doors: Arc<doors::Doors>,
    tasks: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    services: Arc<Services>,
    stage: Arc<Stage>,
    logs: Logs,
    /// From before the first door is open: whoever sees it open may ask us to stop.
    signals: Option<[Signal; 3]>,
}

impl Running {
    /// Binds every door, then begins to serve. Nothing is served when one of them cannot be bound.
    pub async fn start(
        organisation: &Organisation,
        store: Arc<SettingsStore>,
        roles: Roles,
        doors: Doors,
    ) -> io::Result<Running> {
        let signals = Some(signals());
        let settings = store.current();
        let logs = Logs::start(&settings, organisation.place.root(), &organisation.clock)?;
        let public = tls::Publics::open(organisation.place.root(), &settings, &organisation.clock)?;
        let mut bound = Vec::new();
        for (name, at) in doors.into_iter().filter(|(name, _)| has_door(roles, name)) {
            for address in at {
                let listener = listen::bind(address).map_err(|e| cannot_listen(name, address, &e))?;
                bound.push((name, address, listener));
            }
        }
        let control = control::listen(&organisation.place)?;
        let own = bound.iter().map(|(_, _, listener)| listener.local_addr()).collect::<io::Result<_>>()?;
        let makings = Makings { organisation, settings: &store, roles, public: &public, logs: &logs, own };
        let services = Arc::new(Services::new(makings)?);
        let stop = watch::Sender::new(false);
        let doors = Arc::new(doors::Doors::default());
        let stage = Arc::new(Stage::new(Arc::clone(&services), Arc::clone(&doors), logs.clone()));
        let mut running = Running {
            doors: Arc::clone(&doors),
            tasks: Vec::new(),
            stop,
            services,
            stage: Arc::clone(&stage),
            logs,
            signals,
        };
        running.apply(&settings);
        let place = &organisation.place;
        let mut world = organisation.world(Arc::clone(&store));
        let hub = &running.services.works.hub;
        world.queue = QueueAt::Live(Arc::clone(hub.queue()));
        world.hub = Some(Arc::new(hub::Hand(Arc::clone(hub))));
        world.sources = Some(Arc::new(ldap::Hand {
            settings: Arc::clone(&store),
            directory: Arc::clone(&organisation.directory),
            data: place.root().to_owned(),
        }));
        world.rehearse = Some(stage.clone());
        let health = Health::new(Arc::clone(&running.services), Arc::clone(&doors))?;
        // It is set once, here.
        let _ = running.services.health.set(Arc::downgrade(&health));
        world.health = Some(Arc::new(health::Hand(Arc::clone(&health))));
        world.services = Some(Arc::new(open::Hand { services: Arc::clone(&running.services), doors }));
        let sender = inner::command::Sender(Arc::downgrade(&running.services));
        world.elsewhere = Some(Arc::new(sender));
        if !organisation.directory.is_copy() {
            world.moves = Some(Arc::clone(&running.services.moving) as Arc<dyn waypost_admin::moves::Moves>);
        }
        world.facts = Some(Arc::new(inner::identity::Facts(Arc::clone(&running.services.inside))));
        let context = control::context(place, organisation.clock.clone(), world);
        // It is set once, here.
        let _ = running.services.context.set(context.clone());
        let sign_in = Arc::clone(&running.services.sign_in);
        let api = Api::new(context.clone(), sign_in, api::here(), running.stop.subscribe());
        open::put_all(&running.doors, &running.services, &api, &settings);
        for (name, address, listener) in bound {
            running.doors.open(name, address, listener)?;
        }
        running.follow_settings(stage);
        running.tasks.push(tokio::spawn(control::serve(control, context, running.stop.subscribe())));
        running.tasks.extend(running.services.works.run(place.store()));
        running.keep_certificates();
        running.tasks.extend(running.services.tasks());
        running.tasks.extend(health.start());
        running.keep_house();
        let inner = running.addresses().into_iter().find(|(name, _)| *name == "inner").map(|(_, at)| at);
        if let Err(e) = organisation.take_note(roles, inner).await {
            tracing::warn!(error = %e, "the directory does not know what this server does");
        }
        Ok(running)
    }

    /// Settings that take effect without a restart.
    fn apply(&self, settings: &Settings) {
        settings::apply(settings, &self.services, &self.logs);
    }

    /// Name and address of each door, in the order of [`DOORS`].
    pub fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let place = |name: &str| DOORS.iter().position(|door| *door == name);
        let mut addresses = self.doors.addresses();
        addresses.sort_by_key(|(name, _)| place(name));
        addresses
    }

    pub fn legs(&self) -> &LegBook {
        &self.services.legs
    }

    /// Reads settings and certificate again. What cannot be used is logged, and the old stays.
    pub fn reload(&self) {
        // Whoever follows the settings hears of it by the store.
        let author = Author {
            who: "file".into(),
            when: self.services.organisation.clock.now(),
            command: "changed by hand, read by SIGHUP".into(),
            ..Author::default()
        };
        match self.services.settings.reload_by(Some(&author)) {
            Ok(saved) => self.stage.after_reload(saved.version),
            Err(e) => tracing::error!(error = %e, "settings not reloaded: the old ones stay"),
        }
        self.services.public.reload(&self.services.settings.current());
        tracing::info!("settings and certificates read again");
    }

    /// Takes over every change of the settings, whoever made it.
    fn follow_settings(&mut self, stage: Arc<Stage>) {
        let mut changes = self.services.settings.subscribe();
        let mut stop = self.stop.subscribe();
        let (services, logs) = (Arc::clone(&self.services), self.logs.clone());
        let doors = Arc::clone(&self.doors);
        let mut before = self.services.settings.current();
        self.tasks.push(tokio::spawn(async move {
            loop {
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() { return },
                    _ = stop.wait_for(|stop| *stop) => return,
                }
                let now = changes.borrow_and_update().clone();
                settings::apply(&now, &services, &logs);
                services.public.reload(&now);
                let troubles = open::follow(&doors, &before, &now).await;
                stage.took_over(Arc::clone(&now), troubles);
                before = now;
            }
        }));
    }

    /// Watches what clients are shown, asks the authorities about it, and gets what is to come by itself.
    fn keep_certificates(&mut self) {
        let services = &self.services;
        let (public, organisation) = (services.public.clone(), &services.organisation);
        let (data, clock) = (organisation.place.root().to_owned(), organisation.clock.clone());
        self.tasks.push(tokio::spawn(public.clone().watch(self.stop.subscribe())));
        let stop = self.stop.subscribe();
        self.tasks.push(tokio::spawn(crate::ocsp::keep(public.clone(), data.clone(), clock.clone(), stop)));
        let authority = crate::acme::Authority {
            publics: public,
            settings: Arc::clone(&services.settings),
            directory: Arc::clone(&organisation.directory),
            rehearse: Some(self.stage.clone()),
            data,
            clock,
        };
        self.tasks.push(tokio::spawn(authority.run(self.stop.subscribe())));
    }

    /// Sweeps what has expired, from time to time.
    fn keep_house(&mut self) {
        let services = Arc::clone(&self.services);
        let stage = Arc::clone(&self.stage);
        let mut stop = self.stop.subscribe();
        self.tasks.push(tokio::spawn(async move {
            let mut compacted = None;
            loop {
                tokio::select! {
                    () = tokio::time::sleep(HOUSEKEEPING) => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
                services.sweep().await;
                stage.tend().await;
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
        self.services.stop.send_replace(true);
        self.services.works.hub.stop();
        self.services.imap.stop();
        self.services.pop3.stop();
        let finished = async {
            self.doors.close().await;
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
pub fn cannot_listen(name: &str, address: SocketAddr, error: &io::Error) -> io::Error {
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

/// SIGHUP, SIGTERM, SIGINT, heard from now on.
fn signals() -> [Signal; 3] {
    // Only a bad signal number could fail here.
    [SignalKind::hangup(), SignalKind::terminate(), SignalKind::interrupt()]
        .map(|kind| signal(kind).expect("a signal that can be handled"))
}

/// Serves until SIGINT or SIGTERM, reloading at SIGHUP; then stops and closes the store.
pub async fn until_stopped(running: Running, organisation: Organisation) {
    let mut running = running;
    let [mut hang_up, mut terminate, mut interrupt] = running.signals.take().unwrap_or_else(signals);
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
