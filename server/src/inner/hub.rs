//! Mail that other servers of ours hand over: whole messages for this hub, and messages for accounts that are here.

use super::{Handlers, Handling};
use crate::run::services::Services;
use std::sync::Arc;
use waypost_base::explain::Cause;
use waypost_transport::accept::{self, Kind};
use waypost_transport::{ComponentState, Hub};
use waypost_trust::leg::{Arrived, Refusal, Service};

const NOT_ACTIVE: Cause = Cause {
    code: "HUB-NOT-ACTIVE",
    meaning: "the hub of another server takes no new messages: its component is out of service, and other hubs are asked",
    remedy: "Set-ServerComponentState ID -Component HubTransport -State Active -Requester Maintenance, when the maintenance is over",
    reference: "docs/servers.md",
};

/// Registers both. Who may use them is judged at the door.
pub fn register(handlers: &mut Handlers, services: &Arc<Services>) {
    for (service, kind) in [(Service::Hub, Kind::Hub), (Service::Delivery, Kind::Delivery)] {
        let hub = Arc::clone(&services.works.hub);
        handlers
            .on(service, move |arrived: Arrived| Box::pin(take(arrived, Arc::clone(&hub), kind)) as Handling);
    }
}

async fn take(arrived: Arrived, hub: Arc<Hub>, kind: Kind) {
    let session = arrived.hello.session;
    // Another hub takes it meanwhile; accounts have one home only, and take their mail whatever the hub does.
    if kind == Kind::Hub && hub.state() != ComponentState::Active {
        let refusal = Refusal {
            code: NOT_ACTIVE.code.into(),
            text: format!("the hub {} takes no new messages now", hub.settings().host),
            elsewhere: true,
            answer: serde_json::Value::Null,
        };
        if let Err(e) = arrived.refuse(refusal).await {
            tracing::debug!(error = %e, "an inner leg went away before it was refused");
        }
        return;
    }
    match arrived.welcome(serde_json::Value::Null).await {
        Ok(leg) => accept::serve_inner(leg, hub.service(kind), session).await,
        Err(e) => tracing::debug!(error = %e, "an inner leg went away before it was welcomed"),
    }
}
