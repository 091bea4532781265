//! Get- and Set-ServerComponentState: taking parts of a server out of service and back.
//!
//! The state is in the server's row of the directory, so that the others go round it; the server itself goes by its own row.

use super::property::{apply, is_us};
use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::elsewhere::find_server;
use crate::failure::{Failure, Outcome};
use crate::output::Record;
use crate::run::Call;
use crate::settings::{ComponentState, Edit};
use std::sync::Arc;
use waypost_directory::Server;

const HUB: &str = "HubTransport";
const COMPONENTS: &[&str] = &[HUB, "FrontendTransport", "ImapProxy", "PopProxy"];
const STATES: &[&str] = &["Active", "Draining", "Inactive"];
const REQUESTERS: &[&str] = &["Maintenance", "Sidelined", "Functional", "Deployment", "HealthAPI"];
const COLUMNS: &[&str] = &["Server", "Component", "State"];

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Get",
        noun: "ServerComponentState",
        about: "Shows which parts of a server take work.",
        detail: "",
        params: &[
            Param::new(
                "Identity",
                Kind::Text,
                "Id or host name of a server; this one if not given, * for all.",
            )
            .at(0),
            Param::new("Component", Kind::Choice(COMPONENTS), "Only this component."),
        ],
        columns: COLUMNS,
        examples: &[],
        needs: Needs::Store,
        changes: false,
        confirm: false,
        run: |call| Box::pin(get(call)),
    },
    Command {
        verb: "Set",
        noun: "ServerComponentState",
        about: "Takes a part of a server out of service, and back.",
        detail: "HubTransport is the hub: Draining takes nothing new (421) and brings on what is there; when Get-Queue shows no \
                 messages the server can be stopped. Inactive takes nothing and sends nothing; what is there stays and goes on \
                 when it is Active again. FrontendTransport is the front end's door for mail, ImapProxy and PopProxy are its \
                 doors for clients: neither Draining nor Inactive ones take new sessions. Other servers use other hubs \
                 meanwhile. The state outlives a restart.",
        params: &[
            Param::new("Identity", Kind::Text, "Id or host name of a server; this one if not given.").at(0),
            Param::new("Component", Kind::Choice(COMPONENTS), "Which part.").mandatory().at(1),
            Param::new("State", Kind::Choice(STATES), "Active, Draining or Inactive.").mandatory(),
            Param::new("Requester", Kind::Choice(REQUESTERS), "Why."),
        ],
        columns: COLUMNS,
        examples: &[Example {
            line: "Set-ServerComponentState server-2 -Component HubTransport -State Draining -Requester Maintenance",
            about: "Before maintenance.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(set(call)),
    },
];

/// Before the first start there is no row of this server: its hub's state is a setting then.
fn without_row(call: &Call<'_>) -> Outcome<bool> {
    let now = call.directory()?.snapshot();
    let us = |name: &str| call.world().is_ok_and(|w| is_us(&w.settings.current(), name));
    Ok(now.servers().next().is_none() && call.text("Identity").is_none_or(us))
}

fn chosen(call: &Call<'_>) -> Outcome<Vec<Arc<Server>>> {
    let now = call.directory()?.snapshot();
    let name = match call.text("Identity") {
        Some("*") => return Ok(now.servers().cloned().collect()),
        // By what this server calls itself, whatever the directory calls it.
        Some(name) if !is_us(&call.world()?.settings.current(), name) => name,
        _ => now.here().unwrap_or_default(),
    };
    let found = find_server(&now, name).and_then(|id| now.server(&id).cloned());
    found.map(|server| vec![server]).ok_or_else(|| Failure::not_found("server", name))
}

/// What holds for a component: the server's row, and for its own hub the settings where the row says nothing.
fn state(call: &Call<'_>, server: &Server, component: &str) -> Outcome<String> {
    if let Some(state) = server.components.get(component) {
        return Ok(state.clone());
    }
    let here = call.directory()?.snapshot().here() == Some(server.id.as_str());
    let settings = call.world()?.settings.current();
    let own = (here && component == HUB).then(|| settings.transport.hub_transport_state.name());
    Ok(own.unwrap_or("Active").to_owned())
}

async fn get(call: &Call<'_>) -> Outcome {
    if without_row(call)? {
        let settings = call.world()?.settings.current();
        let record = Record::new()
            .with("Server", settings.server.id.as_str())
            .with("ServerFqdn", settings.server.name.as_str())
            .with("Component", HUB)
            .with("State", settings.transport.hub_transport_state.name());
        call.record(super::named::ending(record, &settings.server.id)).await;
        return Ok(());
    }
    for server in chosen(call)? {
        let wanted = call.text("Component");
        for component in COMPONENTS.iter().filter(|c| wanted.is_none_or(|w| w.eq_ignore_ascii_case(c))) {
            let record = Record::new()
                .with("Server", server.id.as_str())
                .with("ServerFqdn", server.host.as_str())
                .with("Component", *component)
                .with("State", state(call, &server, component)?)
                .with("Requester", server.requesters.get(*component).cloned().unwrap_or_default());
            call.record(super::named::ending(record, &server.id)).await;
        }
    }
    Ok(())
}

async fn set(call: &Call<'_>) -> Outcome {
    let state = ComponentState::parse(call.required("State")?)
        .ok_or_else(|| Failure::invalid("State", "One of Active, Draining, Inactive."))?;
    let wanted = call.required("Component")?;
    let component = COMPONENTS.iter().find(|c| c.eq_ignore_ascii_case(wanted)).copied().unwrap_or(HUB);
    if without_row(call)? {
        return apply(call, vec![Edit::set("transport.hub_transport_state", &state)]).await;
    }
    for server in chosen(call)? {
        let said = || format!("Setting {component} of server {} to {}.", server.id, state.name());
        if call.only_said(said).await {
            continue;
        }
        let requester = call.text("Requester").filter(|_| state != ComponentState::Active);
        let change = |s: &mut Server| {
            s.components.insert(component.to_owned(), state.name().to_owned());
            match requester {
                Some(who) => s.requesters.insert(component.to_owned(), who.to_owned()),
                None => s.requesters.remove(component),
            };
        };
        call.directory()?.update_server(&server.id, change).await?;
    }
    Ok(())
}
