//! The parts of this server that can be taken out of service: each goes by this server's row in the directory.

use super::services::Services;
use super::transport as meant;
use crate::listen::{Serve, Session};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use waypost_admin::settings::Settings;
use waypost_directory::Server;
use waypost_health::respond::Kind;
use waypost_transport::ComponentState;
use waypost_trust::channel::Channel;

/// Somebody who is sent away has so long to take the line that says so.
const GOODBYE_MAX: Duration = Duration::from_secs(5);

/// The component that a public door belongs to, and what whoever comes is told while it takes nobody.
fn part(door: &str) -> Option<(&'static str, &'static str)> {
    match door {
        "smtp" | "submission" | "submissions" => Some((
            "FrontendTransport",
            "421 4.3.2 This server is out of service for maintenance; try again later\r\n",
        )),
        "imap" | "imaps" => Some((
            "ImapProxy",
            "* BYE [UNAVAILABLE] This server is out of service for maintenance; try again later.\r\n",
        )),
        "pop3" | "pop3s" => Some((
            "PopProxy",
            "-ERR [SYS/TEMP] This server is out of service for maintenance; try again later.\r\n",
        )),
        _ => None,
    }
}

/// A door's service, behind a look at whether its component takes anybody at this moment. Sessions that stand go on.
pub fn guarded(services: &Arc<Services>, door: &str, serve: Serve) -> Serve {
    let Some((component, goodbye)) = part(door) else { return serve };
    let directory = Arc::clone(&services.organisation.directory);
    let settings = Arc::clone(&services.settings);
    Arc::new(move |channel, correlation| {
        let now = directory.snapshot();
        let own = now.here().and_then(|id| now.server(id));
        if own.and_then(|server| server.components.get(component)).is_none_or(|state| state == "Active") {
            return serve(channel, correlation);
        }
        let drained = own.is_some_and(|server| drained_for_health(server, component, &settings.current()));
        if drained && crate::probe::is_ours(channel.local, channel.peer) {
            return serve(channel, correlation);
        }
        Box::pin(turn_away(channel, goodbye)) as Session
    })
}

/// Whether a component was drained by a responder of health that will return it: probes are let in, to see when it is well.
/// Where responders may not drain any more it is as if an administrator had taken it out of service.
pub fn drained_for_health(server: &Server, component: &str, settings: &Settings) -> bool {
    server.is_drained_for_health(component) && settings.health.responders().may.contains(&Kind::Drain)
}

async fn turn_away(mut channel: Channel, goodbye: &'static str) {
    let said = async {
        channel.stream.write_all(goodbye.as_bytes()).await?;
        channel.stream.shutdown().await
    };
    // Whoever is gone already need not be told.
    let _ = tokio::time::timeout(GOODBYE_MAX, said).await;
}

/// Applies what the row says, or the settings where it says nothing.
pub fn apply(services: &Services, settings: &Settings) {
    let now = services.organisation.directory.snapshot();
    let own = now.here().and_then(|id| now.server(id));
    let state = own.and_then(|server| server.components.get("HubTransport"));
    let state = match state.map(String::as_str) {
        None => meant::state(settings),
        Some("Draining") => ComponentState::Draining,
        Some("Inactive") => ComponentState::Inactive,
        Some(_) => ComponentState::Active,
    };
    services.works.hub.set_state(state);
}

/// Applies every change until the server stops.
pub async fn keep(services: Arc<Services>) {
    let (mut marks, mut stop) = (services.organisation.directory.marks(), services.stopping());
    loop {
        apply(&services, &services.settings.current());
        tokio::select! {
            changed = marks.changed() => if changed.is_err() { return },
            _ = stop.wait_for(|stop| *stop) => return,
        }
        marks.borrow_and_update();
    }
}
