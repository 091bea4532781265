//! Get- and Set-ServerComponentState: taking a server's hub out of service and back.

use super::property::{apply, is_us};
use crate::catalogue::{Command, Example, Kind, Needs, Param};
use crate::failure::{Failure, Outcome};
use crate::output::Record;
use crate::run::Call;
use crate::settings::{ComponentState, Edit};

const COMPONENT: &str = "HubTransport";
const COMPONENTS: &[&str] = &[COMPONENT];
const STATES: &[&str] = &["Active", "Draining", "Inactive"];
const REQUESTERS: &[&str] = &["Maintenance", "Sidelined", "Functional", "Deployment", "HealthAPI"];
const COLUMNS: &[&str] = &["Server", "Component", "State"];

pub(super) static COMMANDS: &[Command] = &[
    Command {
        verb: "Get",
        noun: "ServerComponentState",
        about: "Shows whether the hub of this server takes and sends mail.",
        detail: "",
        params: &[
            Param::new("Identity", Kind::Text, "This server; others cannot be reached from here.").at(0),
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
        about: "Takes the hub of this server out of service, and back.",
        detail: "Draining: nothing new is taken (421), what is there is brought on; when Get-Queue shows no messages the server \
                 can be stopped. Inactive: nothing is taken and nothing is sent; what is there stays and goes on when it is \
                 Active again. The state outlives a restart.",
        params: &[
            Param::new("Identity", Kind::Text, "This server; others cannot be reached from here.").at(0),
            Param::new("Component", Kind::Choice(COMPONENTS), "HubTransport.").mandatory().at(1),
            Param::new("State", Kind::Choice(STATES), "Active, Draining or Inactive.").mandatory(),
            Param::new(
                "Requester",
                Kind::Choice(REQUESTERS),
                "Why; it is noted in the history of the settings.",
            )
            .mandatory(),
        ],
        columns: COLUMNS,
        examples: &[Example {
            line: "Set-ServerComponentState -Component HubTransport -State Draining -Requester Maintenance",
            about: "Before maintenance.",
        }],
        needs: Needs::Store,
        changes: true,
        confirm: false,
        run: |call| Box::pin(set(call)),
    },
];

fn this_server(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    match call.text("Identity") {
        Some(name) if !is_us(&settings, name) => Err(Failure::not_found("server", name)),
        _ => Ok(()),
    }
}

async fn get(call: &Call<'_>) -> Outcome {
    this_server(call)?;
    let settings = call.world()?.settings.current();
    let record = Record::new()
        .with("Server", settings.server.id.as_str())
        .with("ServerFqdn", settings.server.name.as_str())
        .with("Component", COMPONENT)
        .with("State", settings.transport.hub_transport_state.name());
    call.record(super::named::ending(record, &settings.server.id)).await;
    Ok(())
}

async fn set(call: &Call<'_>) -> Outcome {
    this_server(call)?;
    let state = ComponentState::parse(call.required("State")?)
        .ok_or_else(|| Failure::invalid("State", "One of Active, Draining, Inactive."))?;
    apply(call, vec![Edit::set("transport.hub_transport_state", &state)]).await
}
