//! SMTP sessions that another server of the organisation has begun, and that go on here: the submission of an account that
//! is at home here, or a stranger's mail at a hub.
//!
//! Everything that is asked about a session is asked about the client itself: its connector, its rate, its agents. That the
//! front end tells the truth follows from its being one of ours.

use super::driver;
use super::handover::{Detail, door};
use crate::hub::Hub;
use crate::state::ComponentState;
use std::sync::Arc;
use waypost_directory::{Protocol, Snapshot};
use waypost_trust::channel::Channel;
use waypost_trust::leg::{Arrived, Client};
use waypost_trust::proxy::{self, No};

/// A session as it arrives.
pub(super) struct Taken {
    pub(super) channel: Channel,
    pub(super) detail: Detail,
    /// The server that has handed it over.
    pub(super) from: String,
}

/// Takes over a session, and serves it to its end.
pub async fn resume(arrived: Arrived, hub: Arc<Hub>) {
    let session = arrived.hello.session;
    let (detail, client) = match look(&arrived, &hub) {
        Ok(found) => found,
        Err((no, text)) => {
            tracing::info!(%session, from = %arrived.from, %text, "session not taken over");
            return proxy::refuse(arrived, &no, &text).await;
        }
    };
    let from = arrived.from.to_string();
    let kind = door(&detail.door).unwrap_or(super::Kind::Smtp);
    // Where the front end has gone meanwhile there is nothing to be done.
    let Ok((stream, _)) = arrived.welcome(serde_json::Value::Null).await else { return };
    proxy::TAKEN_OVER.one();
    let channel = Channel {
        stream,
        local: client.local,
        peer: client.peer,
        tls: client.tls.as_ref().map(proxy::facts),
        upgrade: None,
    };
    Box::pin(driver::go_on(Taken { channel, detail, from }, hub.service(kind), session)).await;
}

/// What came, and whether it is for us.
fn look(arrived: &Arrived, hub: &Hub) -> Result<(Detail, Client), (No, String)> {
    let lasting = |text: String| (No::Unavailable { lasting: true }, text);
    let detail = serde_json::from_value::<Detail>(arrived.hello.detail.clone());
    let detail = detail.map_err(|e| lasting(format!("not understood: {e}")))?;
    let client = arrived.hello.client.clone().ok_or_else(|| lasting("no client was named".into()))?;
    if door(&detail.door).is_none() {
        return Err(lasting(format!("there is no door {}", detail.door)));
    }
    if hub.state() != ComponentState::Active {
        return Err((No::Unavailable { lasting: false }, format!("HubTransport is {}", hub.state())));
    }
    if let Some(signed) = &detail.signed {
        admit(&hub.directory.snapshot(), signed.account)?;
    }
    Ok((detail, client))
}

/// Whether an account may submit here.
fn admit(now: &Snapshot, id: waypost_base::AccountId) -> Result<(), (No, String)> {
    // A row that has not come here yet is no reason to send anybody away for good.
    let account = now
        .account(id)
        .ok_or_else(|| (No::Unavailable { lasting: false }, format!("account {id} is not known here")))?;
    let name = &account.primary;
    if !now.is_here(account) {
        let home = now.home_of(account).to_owned();
        return Err((No::Moved { to: Some(home.clone()) }, format!("{name} is at {home}")));
    }
    if !account.enabled {
        return Err((No::Disabled, format!("{name} is disabled")));
    }
    if !account.protocols.has(Protocol::Submission) {
        return Err((No::Protocol, format!("{name} may not submit mail")));
    }
    Ok(())
}
