//! The parts of this server that can be taken out of service: each goes by this server's row in the directory.

use super::services::Services;
use super::transport as meant;
use std::sync::Arc;
use waypost_admin::settings::Settings;
use waypost_transport::ComponentState;

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
